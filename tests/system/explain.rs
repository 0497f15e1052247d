//! `leeway ingest explain` on captured telemetry: what counts, what does not and why; never a word of the texts.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::harness::{leeway, root};

fn fixture(path: &str) -> PathBuf {
    root().join("tests/data/otlp").join(path)
}

fn explain(args: &[&str], files: &[PathBuf], input: Option<&[u8]>) -> Result<String, String> {
    let mut child = Command::new(leeway())
        .args(["ingest", "explain"])
        .args(args)
        .args(files)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.unwrap_or_default()).unwrap();
    let done = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if done.status.success() { Ok(text(&done.stdout)) } else { Err(text(&done.stderr)) }
}

fn lines(output: &str) -> Vec<serde_json::Value> {
    output.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn several_files_are_one_stream_and_the_counted_line_knows_all() {
    let files = [fixture("genai-openai/exp_both/chat.logs.pb"), fixture("genai-openai/exp_both/chat.traces.json")];
    let lines = lines(&explain(&["--json"], &files, None).unwrap());
    assert_eq!(lines.len(), 3);
    let counted: Vec<_> = lines[..2].iter().filter(|line| line["counted"] == true).collect();
    let [call] = counted[..] else { panic!("{lines:?}") };
    assert_eq!(call["tokens"]["input"], 52);
    assert!(call["duration_ms"].as_f64().unwrap() > 0.0 && call["dropped_because"].is_null());
    assert_eq!((&call["finish_reasons"], &call["text_state"]), (&serde_json::json!(["stop"]), &"present".into()));
    let totals = &lines[2];
    assert_eq!(
        (&totals["calls"], &totals["not_counted"], &totals["tokens"]["output"]),
        (&1.into(), &1.into(), &41.into())
    );
}

#[test]
fn every_client_is_recognised_and_no_text_is_shown() {
    let folders =
        ["openllmetry/on", "openinference/on", "langfuse/on", "litellm/generic_api", "vercel-ai-json/on", "openlit/on"];
    for folder in folders {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(fixture(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|end| end == "json"));
        files.sort();
        for args in [&["--json"][..], &[]] {
            let output = explain(args, &files, None).unwrap();
            for word in ["refund", "Paris", "policy", "user-1042"] {
                assert!(!output.contains(word), "{folder} shows {word}");
            }
        }
        let lines = lines(&explain(&["--json"], &files, None).unwrap());
        let totals = lines.last().unwrap();
        assert!(totals["calls"].as_u64().unwrap() > 0 && totals["rejected"] == 0, "{folder}: {totals}");
    }
}

/// Captures of clients beyond those of `tests/data/otlp`; what a client does not tell stands beside the truth as a gap.
#[test]
fn other_clients_are_counted_to_the_truth_but_for_what_they_do_not_tell() {
    let folder = root().join("tests/data/clients");
    let captures: Vec<serde_json::Value> =
        serde_json::from_slice(&std::fs::read(folder.join("TRUTH.json")).unwrap()).unwrap();
    for capture in &captures {
        let names = capture["files"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
        let files: Vec<PathBuf> = names.map(|name| folder.join(name)).collect();
        let told = lines(&explain(&["--json"], &files, None).unwrap());
        let calls: Vec<_> = told.iter().filter(|line| line["kind"] == "call" && line["counted"] == true).collect();
        let tokens = |kind: &str| calls.iter().filter_map(|call| call["tokens"][kind].as_u64()).sum::<u64>();
        let failed: Vec<_> =
            calls.iter().filter(|call| call["status"] != "ok").map(|call| &call["error_class"]).collect();
        let seen = serde_json::json!({
            "calls": calls.len(),
            "input": tokens("input"),
            "output": tokens("output"),
            "cache_read": tokens("cache_read"),
            "cache_write": tokens("cache_write"),
            "reasoning": tokens("reasoning"),
            "failed": failed,
            "texts": calls.iter().any(|call| call["text_state"] != "absent"),
        });
        let mut expected = capture["truth"].clone();
        for (field, told) in capture["gaps"].as_object().unwrap() {
            expected[field] = told.clone();
        }
        assert_eq!(seen, expected, "{}", capture["files"]);
    }
    assert!(captures.len() > 20);
}

#[test]
fn gzip_and_standard_input_are_read_and_the_rest_is_refused_with_words() {
    let plain = std::fs::read(fixture("openllmetry/on/chat.traces.pb")).unwrap();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(&plain).unwrap();
    let packed = packed.finish().unwrap();
    let stdin = [PathBuf::from("-")];
    for input in [&plain, &packed] {
        let totals = lines(&explain(&["--json"], &stdin, Some(input)).unwrap()).pop().unwrap();
        assert_eq!((&totals["calls"], &totals["tokens"]["input"]), (&1.into(), &52.into()));
    }
    let bomb = {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packed.write_all(&vec![b' '; 64 << 20]).unwrap();
        packed.finish().unwrap()
    };
    let rejected = lines(&explain(&["--json"], &stdin, Some(&bomb)).unwrap());
    assert_eq!(
        (&rejected[0]["kind"], &rejected[0]["dropped_because"]),
        (&serde_json::Value::Null, &"too_large".into())
    );
    let unknown = lines(&explain(&["--json", "--header", "__value_schema_id=7"], &stdin, Some(&plain)).unwrap());
    assert!(unknown[0]["dropped_because"].as_str().unwrap().starts_with("unknown_schema: "), "{unknown:?}");
    let refused = explain(&["--format", "jaeger"], &stdin, Some(&plain)).unwrap_err();
    assert!(
        refused.contains("valid are auto, leeway-json, otlp-traces, otlp-logs, litellm, langfuse-scores"),
        "{refused}"
    );
}
