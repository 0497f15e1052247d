//! Hostile bytes at every entrance, in every format: each message is accounted for, nothing stops, memory has a bound.

use std::io::Write;
use std::process::Command;

use serde_json::{Value as Json, json};

use crate::harness::{Database, Node, Process, address, call, now_us, produce, root, shared, topic, unique};
use crate::traces::{chains_whole, database_ready};

/// What a process may have at most, whatever comes: buffers of two consumers, one message at its largest in each form.
const MEMORY: u64 = 512 << 20;

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gz.write_all(bytes).unwrap();
    gz.finish().unwrap()
}

/// Texts that break naive readers; the list of naughty strings where it is there.
fn texts() -> Vec<String> {
    let own = [
        "\u{0}",
        "\u{202E}abc",
        "\u{FEFF}",
        "'; DROP TABLE series; --",
        "<script>alert(1)</script>",
        "\u{1F469}\u{200D}\u{1F467}",
    ];
    let mut texts: Vec<String> = own.iter().map(|text| (*text).to_owned()).collect();
    if let Some(path) = shared("corpora/blns.json") {
        texts.extend(serde_json::from_str::<Vec<String>>(&std::fs::read_to_string(path).unwrap()).unwrap());
    }
    texts
}

/// One text in every text field of a call, of feedback, of a span, of a gateway's payload and of a score.
fn everywhere(text: &str, number: usize, now: i64) -> Vec<Vec<u8>> {
    let id = format!("h{number}");
    let nanos = (now * 1000).to_string();
    let names = [
        "gen_ai.request.model",
        "gen_ai.response.model",
        "gen_ai.provider.name",
        "gen_ai.response.id",
        "error.type",
        "gen_ai.input.messages",
        "gen_ai.output.messages",
        "gen_ai.conversation.id",
        "leeway.tenant",
        "gen_ai.prompt.name",
        "llm.invocation_parameters",
        "langfuse.observation.usage_details",
        "input.value",
        "output.value",
        "metadata",
    ];
    let mut attributes: Vec<Json> =
        names.iter().map(|name| json!({"key": name, "value": {"stringValue": text}})).collect();
    attributes.push(json!({"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}));
    let resource = json!({"attributes": [{"key": "service.name", "value": {"stringValue": text}}]});
    let span = json!({"traceId": format!("{number:032x}"), "spanId": format!("{:016x}", number + 1), "name": text,
        "startTimeUnixNano": nanos, "endTimeUnixNano": nanos, "attributes": attributes,
        "status": {"code": 2, "message": text}, "events": [{"name": text, "attributes": [{"key": text, "value": {"stringValue": text}}]}]});
    let whole = json!({"id": id, "time": now, "tenant": text, "app": text, "route": text, "release": text, "provider": text,
        "request_model": text, "response_model": text, "environment": text, "region": text, "prompt_version": text,
        "conversation": text, "trace_id": text, "error_type": text, "status": "error", "dims": {text: text},
        "finish_reasons": [text], "scores": [{"name": text, "value": text}],
        "text": {"input": text, "output": text, "system": text, "history": [text], "documents": [{"id": "d", "text": text}]}});
    let told = json!({"kind": "feedback", "time": now, "tenant": text, "app": text, "name": text, "value": text,
        "source": "user", "author": text, "identifier": text, "target": {"id": text}});
    let change = json!({"kind": "change", "time": now, "type": "release", "app": text, "from": text, "to": text, "ticket": text});
    let gateway = json!({"litellm_call_id": id, "call_type": "completion", "id": text, "model": text, "startTime": now as f64 / 1e6,
        "endTime": now as f64 / 1e6, "status": "success", "custom_llm_provider": text, "error_str": text,
        "messages": [{"role": text, "content": text}], "response": text, "metadata": {"user_api_key_alias": text}});
    let score =
        json!({"name": text, "traceId": text, "value": text, "dataType": text, "timestamp": "2026-11-20T23:10:00Z"});
    let event =
        json!({"specversion": "1.0", "id": text, "source": text, "type": text, "data": {"time": now, "app": text}});
    let spans =
        json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": text}, "spans": [span]}]}]});
    [whole, told, change, gateway, score, event, spans].iter().map(|json| json.to_string().into_bytes()).collect()
}

/// Shapes that are hostile by their size or their structure.
fn shapes(now: i64) -> Vec<Vec<u8>> {
    let keys: String = (0..100_000).map(|i| format!("\"k{i}\":{i},")).collect();
    let twice = format!(
        "{{\"time\":{now},\"time\":{now},\"tokens\":{{\"input\":1,\"input\":2}},\"id\":\"twice\",\"id\":\"again\"}}"
    );
    let huge = |field: &str| format!("{{\"time\":{now},\"id\":\"huge-{field}\",\"{field}\":1e308}}");
    let attributes: Vec<Json> = (0..5_000).map(|i| json!({"key": format!("a{i}"), "value": {"intValue": i}})).collect();
    let deep = (0..500).fold(json!({"stringValue": "x"}), |inner, _| json!({"arrayValue": {"values": [inner]}}));
    let span = |attributes: Json| {
        json!({"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "s", "attributes": attributes}]}]}]}).to_string()
    };
    let mut shapes = vec![
        "[".repeat(1_000_000).into_bytes(),
        "{\"a\":".repeat(1_000_000).into_bytes(),
        format!("{{{keys}\"time\":{now},\"id\":\"keys\"}}").into_bytes(),
        twice.into_bytes(),
        span(json!(attributes)).into_bytes(),
        span(json!([{"key": "gen_ai.input.messages", "value": deep}])).into_bytes(),
        packed(&vec![b' '; 64 << 20]),
        packed(&packed(b"{}")),
        format!("{{\"time\":{now},\"text\":{{\"output\":\"{}\"}}}}", "1 ".repeat(4 << 20)).into_bytes(),
        vec![b'x'; 15 << 20],
        vec![0x0A; 1 << 20],
        vec![0; 100],
        [&[0, 0, 0, 0, 7][..], b"anything"].concat(),
        b"\xEF\xBB\xBF{}".to_vec(),
        b"{\"time\":\"\xff\xfe\"}".to_vec(),
    ];
    shapes.extend(["duration_ms", "ttft_ms", "cost_usd", "time", "http_status"].map(|field| huge(field).into_bytes()));
    shapes
}

/// Every capture, cut at many places.
fn cut() -> Vec<Vec<u8>> {
    let folder = root().join("tests/data/otlp/openllmetry/on");
    let mut cut = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        cut.extend((1..24).map(|part| bytes[..bytes.len() * part / 24].to_vec()));
    }
    cut
}

fn all(now: i64) -> Vec<Vec<u8>> {
    let mut payloads = shapes(now);
    payloads.extend(cut());
    payloads.extend(texts().iter().enumerate().flat_map(|(number, text)| everywhere(text, number + 1, now)));
    if let Some(folder) = shared("corpora/json-test-suite/test_parsing") {
        payloads.extend(std::fs::read_dir(folder).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap()));
    }
    payloads
}

fn still_well(process: &mut Process) {
    assert!(process.running(), "{}", process.log());
    let peak = process.peak_memory();
    println!("  at most {} MB", peak >> 20);
    assert!(peak < MEMORY, "{} MB", peak >> 20);
}

#[test]
fn every_hostile_message_of_every_format_is_accounted_for() {
    let now = now_us() - 1_000_000;
    let payloads = all(now);
    for format in ["auto", "leeway-json", "otlp-traces", "otlp-logs", "litellm", "langfuse-scores"] {
        let (database, topic) = (Database::new(), topic(2));
        produce(&topic, payloads.iter().enumerate().map(|(i, payload)| ((i % 2) as i32, now, payload.as_slice())));
        let mut node = Node::new(&database, &topic);
        node.variables.push(("LEEWAY_KAFKA__FORMAT".into(), format.into()));
        let mut process = node.start();
        database_ready(&database);
        database.wait_number(format, 120, "SELECT COALESCE(sum(consumed), 0) FROM ledger", payloads.len() as i64);
        chains_whole(&database);
        let letters =
            "SELECT sum(undecodable + dead_lettered + future) - (SELECT count(*) FROM dead_letter) FROM ledger";
        assert_eq!(database.number(letters), 0, "{format}: each refusal has its letter");
        assert_eq!(database.number("SELECT count(*) FROM dead_letter WHERE reason = 'quarantined'"), 0);
        // What is good after all of it is counted.
        produce(&topic, [(0, now, call("after", now, "after", 5.0).as_bytes())]);
        database.wait_number(
            "one more",
            30,
            "SELECT COALESCE(sum(consumed), 0) FROM ledger",
            payloads.len() as i64 + 1,
        );
        still_well(&mut process);
    }
}

#[test]
fn hostile_bodies_are_answered_and_stop_nothing() {
    let (database, topic) = (Database::new(), topic(2));
    let mut process = Node::new(&database, &topic).start();
    let url = address(&process);
    let mut payloads = shapes(now_us() - 1_000_000);
    // Too large for any broker.
    payloads.push(vec![b'['; 100 << 20]);
    for (path, kind) in [
        ("/v1/events", "application/json"),
        ("/v1/traces", "application/x-protobuf"),
        ("/v1/traces", "application/json"),
        ("/v1/logs", "application/x-protobuf"),
        ("/v1/feedback", "application/x-ndjson"),
    ] {
        for payload in &payloads {
            let file = std::env::temp_dir().join(unique("body"));
            std::fs::write(&file, payload).unwrap();
            let done = Command::new("curl")
                .args([
                    "-s",
                    "-m",
                    "60",
                    "-o",
                    "/dev/null",
                    "-w",
                    "%{http_code}",
                    "-H",
                    &format!("content-type: {kind}"),
                ])
                .args(["--data-binary", &format!("@{}", file.display()), &format!("{url}{path}")])
                .output()
                .unwrap();
            std::fs::remove_file(file).unwrap();
            let status = String::from_utf8_lossy(&done.stdout).into_owned();
            let known = ["200", "400", "413", "429", "503"];
            assert!(known.contains(&status.as_str()), "{path} {kind}: {status} for {} bytes", payload.len());
        }
    }
    still_well(&mut process);
}
