//! Every captured message of every client against what its server saw.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use leeway_core::event::{ERROR_CLASSES, Event, FINISH_REASONS, Reject, Status, Tokens};
use serde_json::Value as Json;

use crate::{Headers, Options, Reader, Scratch, Sink, UserKey};

#[derive(Debug, Default)]
struct Seen {
    calls: Vec<Told>,
    feedback: Vec<(String, Json)>,
    rejects: Vec<Reject>,
}

/// One call, with the fields of all its records.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    names: Vec<[u8; 16]>,
    operation: String,
    provider: String,
    models: (String, String),
    stream: Option<bool>,
    status: Status,
    class: Option<u8>,
    finish: Vec<&'static str>,
    tokens: Tokens,
    timed: bool,
    first: bool,
    counts: bool,
}

impl Sink for Seen {
    fn record(&mut self, _: u32, decoded: Result<Event<'_>, Reject>) {
        match decoded {
            Ok(Event::Call(call)) => self.calls.push(Told {
                names: call.name().into_iter().chain(call.copy_name()).collect(),
                operation: call.operation.to_owned(),
                provider: call.provider.to_owned(),
                models: (call.request_model.to_owned(), call.response_model.to_owned()),
                stream: call.stream,
                status: call.status,
                class: call.error_class,
                finish: call.finish_reasons.iter().map(|reason| FINISH_REASONS[usize::from(*reason)]).collect(),
                tokens: call.tokens,
                timed: call.duration_us.is_some(),
                first: call.ttft_us.is_some(),
                counts: call.brings.call,
            }),
            Ok(Event::Record(record)) => {
                let body: Json = serde_json::from_str(&record.body).unwrap();
                if !self.feedback.iter().any(|(id, _)| *id == record.id) {
                    self.feedback.push((record.id, body));
                }
            }
            Err(reason) => self.rejects.push(reason),
        }
    }
    fn unknown_fields(&mut self, _: u32) {}
    fn skipped(&mut self, _: u32) {}
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/otlp")
}

fn truth() -> BTreeMap<String, Json> {
    serde_json::from_slice(&std::fs::read(root().join("TRUTH.json")).unwrap()).unwrap()
}

fn read(path: &Path, seen: &mut Seen) {
    let mut scratch = Scratch::new(Options::new(16 << 20, 64, UserKey::new([0; 32])));
    let bytes = std::fs::read(path).unwrap();
    Reader::default()
        .decode(&bytes, &Headers::default(), &mut scratch, seen)
        .unwrap_or_else(|reason| panic!("{}: {reason:?}", path.display()));
}

/// Folders that hold captures, with the ending of the files to read.
fn folders(ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    for library in std::fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path()) {
        for mode in std::fs::read_dir(&library).into_iter().flatten().map(|entry| entry.unwrap().path()) {
            let holds = std::fs::read_dir(&mode).into_iter().flatten().any(|entry| {
                let name = entry.unwrap().file_name().to_string_lossy().into_owned();
                name.ends_with(ending) && (name.contains(".traces.") || name.contains(".logs."))
            });
            if holds {
                found.push(mode.strip_prefix(root()).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

/// Scenario → what its messages say, each call once.
fn scenarios(folder: &str, ending: &str) -> BTreeMap<String, Seen> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut found: BTreeMap<String, Seen> = BTreeMap::new();
    for path in files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.ends_with(ending) {
            read(&path, found.entry(name.split('.').next().unwrap().to_owned()).or_default());
        }
    }
    for seen in found.values_mut() {
        seen.calls = merged(std::mem::take(&mut seen.calls));
    }
    found
}

fn merged(calls: Vec<Told>) -> Vec<Told> {
    let mut merged: Vec<Told> = Vec::new();
    for call in calls.into_iter().filter(|call| call.counts) {
        match merged.iter_mut().find(|known| known.names.iter().any(|name| call.names.contains(name))) {
            None => merged.push(call),
            Some(known) => {
                known.names.extend(call.names);
                if known.finish.is_empty() {
                    known.finish = call.finish;
                }
                if known.tokens.input.is_none() {
                    known.tokens = call.tokens;
                }
                if known.provider.is_empty() {
                    known.provider = call.provider;
                }
                known.stream = known.stream.or(call.stream);
                known.timed |= call.timed;
                known.first |= call.first;
                // A log record has no message that would say more than `client`.
                let vague = |class: u8| matches!(ERROR_CLASSES[usize::from(class)], "client" | "other");
                known.class = known.class.filter(|class| !vague(*class)).or(call.class).or(known.class);
            }
        }
    }
    merged
}

/// What a library does not say, or says otherwise than it was: folder, scenario, field, reason. `*`: every scenario.
const DIFFERENCES: &[(&str, &str, &str, &str)] = &[
    ("openai-v2", "long", "cache_read", "reports no cached tokens"),
    ("openai-v2", "reason", "reasoning", "reports no reasoning tokens"),
    ("openai-v2", "stream", "stream", "does not say that it streams"),
    ("openai-v2", "stream", "first", "no time to first token"),
    ("openai-v2", "stream", "finish", "no finish reason of a stream"),
    ("openai-v2", "stream_abandon", "stream", "as above"),
    ("openai-v2", "stream_abandon", "first", "as above"),
    ("openai-v2", "stream_abandon", "finish", "as above"),
    ("openai-v2", "stream_nousage", "stream", "as above"),
    ("openai-v2", "stream_nousage", "first", "as above"),
    ("openai-v2", "stream_nousage", "finish", "as above"),
    ("openai-v2", "stream_tool", "stream", "as above"),
    ("openai-v2", "stream_tool", "first", "as above"),
    ("openai-v2", "stream_tool", "finish", "as above"),
    ("genai-openai", "stream_abandon", "finish", "gives `error` for a stream that its caller abandoned"),
    ("openinference", "stream_abandon", "finish", "the caller left before the reason came"),
    ("openinference", "responses", "finish", "no finish reason of the Responses API"),
    ("openllmetry", "stream_abandon", "finish", "the caller left before the reason came"),
    ("vercel-ai", "*", "input", "this capture asked its own, shorter question"),
    ("langfuse", "*", "provider", "names no provider"),
    ("langfuse", "chat", "calls", "the capture holds a second, hand-made generation of 184 and 30 tokens, 64 cached"),
    ("langfuse", "chat", "input", "as above"),
    ("langfuse", "chat", "output", "as above"),
    ("langfuse", "chat", "cache_read", "as above"),
    ("langfuse", "chat", "finish", "no finish reason"),
];

fn differs(folder: &str, scenario: &str, field: &str) -> bool {
    DIFFERENCES.iter().any(|(library, which, what, _)| {
        folder.starts_with(library) && (*which == "*" || *which == scenario) && *what == field
    })
}

/// (field, told, true) of each difference of one scenario.
fn compare(seen: &Seen, truth: &Json) -> Vec<(&'static str, String, String)> {
    let mut wrong = Vec::new();
    let mut check = |field, told: String, truth: String| {
        if told != truth {
            wrong.push((field, told, truth));
        }
    };
    let calls = &seen.calls;
    check("rejects", format!("{:?}", seen.rejects), "[]".into());
    check("calls", calls.len().to_string(), truth["provider_calls"].to_string());
    let number = |field: &str| truth[field].as_u64().unwrap_or(0).to_string();
    let sum =
        |of: fn(&Tokens) -> Option<u64>| calls.iter().filter_map(|call| of(&call.tokens)).sum::<u64>().to_string();
    check("input", sum(|t| t.input), number("input_tokens"));
    check("output", sum(|t| t.output), number("output_tokens"));
    check("cache_read", sum(|t| t.cache_read), number("cache_read_input_tokens"));
    check("reasoning", sum(|t| t.reasoning), number("reasoning_output_tokens"));
    let known = calls.iter().any(|call| call.tokens.input.is_some());
    check("usage", known.to_string(), truth["usage_reported"].to_string());
    let failed = calls.iter().any(|call| call.status.failed());
    check("status", if failed { "error" } else { "ok" }.into(), truth["status"].as_str().unwrap().into());
    for call in calls {
        check("operation", call.operation.clone(), truth["operation"].as_str().unwrap().into());
        check("stream", call.stream.unwrap_or(false).to_string(), truth["stream"].to_string());
        check("timed", call.timed.to_string(), "true".into());
        let streamed = truth["stream"] == true && truth["status"] == "ok";
        check("first", call.first.to_string(), streamed.to_string());
        check("provider", call.provider.clone(), "openai".into());
    }
    let mut finish: Vec<&str> = calls.iter().flat_map(|call| call.finish.iter().copied()).collect();
    finish.sort_unstable();
    finish.dedup();
    let mut expected: Vec<&str> =
        truth["finish_reasons"].as_array().into_iter().flatten().map(|word| word.as_str().unwrap()).collect();
    expected.iter_mut().for_each(|word| *word = if *word == "tool_calls" { "tool_call" } else { word });
    expected.sort_unstable();
    expected.dedup();
    check("finish", format!("{finish:?}"), format!("{expected:?}"));
    let class = calls.iter().find_map(|call| call.class).map_or("", |class| ERROR_CLASSES[usize::from(class)]);
    let expected = match truth["error"].as_str().unwrap_or_default() {
        "500 server_error" => "server",
        "429 rate_limit" => "rate_limit",
        "400 context_length_exceeded" => "context_length",
        "timeout" => "timeout",
        "connection refused" => "connection",
        "" => "",
        _ => class,
    };
    check("class", class.into(), expected.into());
    wrong
}

fn sums(calls: &[Told]) -> [u64; 5] {
    let of = |of: fn(&Tokens) -> Option<u64>| calls.iter().filter_map(|call| of(&call.tokens)).sum::<u64>();
    [of(|t| t.input), of(|t| t.output), of(|t| t.cache_read), of(|t| t.cache_write), of(|t| t.reasoning)]
}

/// Anthropic's own span and an instrumentation's tell of one call; its input holds what the cache gave and took.
#[test]
fn two_spans_of_one_answer_are_one_call_with_the_cache_inside() {
    for folder in ["anthropic-genai/on", "anthropic-openinference/on"] {
        for (name, seen) in scenarios(folder, ".pb") {
            assert_eq!((seen.calls.len(), &seen.rejects[..]), (1, &[][..]), "{folder}/{name}: {:?}", seen.calls);
            assert_eq!(sums(&seen.calls), [1815, 41, 1500, 300, 0], "{folder}/{name}");
            assert_eq!(seen.calls[0].provider, "anthropic");
        }
    }
}

#[test]
fn judgements_come_as_span_event_and_log_record_and_are_told_once() {
    let seen = &scenarios("openlit/on", ".pb")["score"];
    let told: Vec<(&str, &Json)> =
        seen.feedback.iter().map(|(_, body)| (body["name"].as_str().unwrap(), &body["value"])).collect();
    for truth in truth()["_openlit score"]["feedback"].as_array().unwrap() {
        let of: Vec<&Json> = told.iter().filter(|(name, _)| *name == truth[0]).map(|(_, value)| *value).collect();
        let equal = |told: &Json| *told == truth[1] || told.as_f64().is_some() && told.as_f64() == truth[1].as_f64();
        assert!(of.len() == 1 && equal(of[0]), "{truth}: {of:?}");
    }
    assert_eq!(told.len(), 4);
}

#[test]
fn every_capture_equals_the_truth_but_for_listed_differences() {
    let truth = truth();
    let (mut wrong, mut compared, mut met) = (Vec::new(), 0, std::collections::BTreeSet::new());
    for ending in [".pb", ".json"] {
        for folder in folders(ending) {
            for (name, seen) in scenarios(&folder, ending) {
                let Some(truth) = truth.get(&name).filter(|_| !folder.starts_with("anthropic")) else { continue };
                compared += 1;
                for (field, told, truth) in compare(&seen, truth) {
                    if differs(&folder, &name, field) {
                        met.insert((folder.clone(), name.clone(), field));
                    } else {
                        wrong.push(format!("{folder}/{name} {ending} {field}: told {told}, true {truth}"));
                    }
                }
            }
        }
    }
    for (library, which, field, reason) in DIFFERENCES {
        let one = |(folder, name, what): &(String, String, &str)| {
            folder.starts_with(library) && (*which == "*" || name == which) && what == field
        };
        if !met.iter().any(one) {
            wrong.push(format!("{library}/{which} {field}: no longer differs ({reason})"));
        }
    }
    println!("{compared} scenarios, {} known differences met", met.len());
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}
