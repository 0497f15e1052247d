//! Telemetry by HTTP: a real OpenTelemetry client, Leeway's own events, with Kafka and without it.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value as Json, json};

use crate::harness::{Database, Node, address, call, get, now_us, root, topic, variable, wait_for};

/// Status, and the answer as JSON where it is one.
pub fn post(url: &str, kind: &str, body: &[u8]) -> (u16, Json) {
    let path = std::env::temp_dir().join(crate::harness::unique("body"));
    std::fs::write(&path, body).unwrap();
    let done = Command::new("curl")
        .args(["-s", "-m", "60", "-w", "\n%{http_code}", "-H", &format!("content-type: {kind}"), "--data-binary"])
        .arg(format!("@{}", path.display()))
        .arg(url)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let (answer, status) = text.rsplit_once('\n').unwrap_or(("", "0"));
    (status.parse().unwrap_or(0), serde_json::from_str(answer).unwrap_or(Json::Null))
}

fn otel_client(address: &str, count: usize, compression: &str) {
    let done = Command::new(variable("LEEWAY_TEST_PYTHON"))
        .arg(root().join("tests/tools/otel_client.py"))
        .args([address, &count.to_string(), compression])
        .output()
        .unwrap();
    let (said, trouble) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(said.trim() == "exported" && trouble.is_empty(), "{said}{trouble}");
}

const LEAVES: &str =
    "SELECT COALESCE(sum(n), 0) FROM pane_delta d JOIN series s USING (tenant, series_id) WHERE s.level = 'leaf'";

/// A single-node install without Kafka or Postgres.
fn alone() -> Node {
    let mut node = Node::new(&Database { url: String::new() }, "unused");
    node.variables = vec![("LEEWAY_KAFKA__BROKERS".into(), String::new())];
    node
}

/// Columns of a query on the single node's file, by Python's sqlite3.
fn sqlite(node: &Node, sql: &str) -> Result<i64, String> {
    let script = "import sqlite3,sys\nprint(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchone()[0])";
    let file: PathBuf = node.folder.join("leeway.sqlite");
    let done = Command::new(variable("LEEWAY_TEST_PYTHON")).args(["-c", script]).arg(file).arg(sql).output().unwrap();
    let text = String::from_utf8_lossy(&done.stdout).trim().to_owned();
    text.parse().map_err(|_| format!("{text}{}", String::from_utf8_lossy(&done.stderr)))
}

#[test]
fn a_real_client_by_way_of_kafka() {
    let (database, topic) = (Database::new(), topic(2));
    let process = Node::new(&database, &topic).start();
    let address = address(&process);
    otel_client(&address, 40, "none");
    otel_client(&address, 40, "gzip");
    // The second run's responses have the first one's ids, its spans their own: the numbers agree, so it is copies.
    database.wait_number("every call", 60, LEAVES, 40);
    let app = "SELECT sum(input_tokens) FROM pane_delta d JOIN series s USING (tenant, series_id) \
               WHERE s.level = 'leaf' AND s.labels::json->>'app' = 'otel-app' AND s.labels::json->>'release' = '7'";
    database.wait_number("its tokens", 10, app, 400);
    let seen = "SELECT sum(merged + duplicate) FROM ledger";
    database.wait_number("span and log record of each, twice", 60, seen, 3 * 40);
}

#[test]
fn a_real_client_without_kafka_and_kill_nine_after_the_answer() {
    let node = alone();
    let mut process = node.start();
    otel_client(&address(&process), 30, "gzip");
    process.kill();
    assert_eq!(sqlite(&node, LEAVES), Ok(30), "an answer is a commit");
    let process = node.start();
    let url = address(&process);
    // The same once more, as a client does that heard no answer.
    let events: Vec<Json> =
        (0..20).map(|i| serde_json::from_str(&call(&format!("h{i}"), now_us(), "web", 5.0)).unwrap()).collect();
    let body = Json::Array(events).to_string();
    for _ in 0..2 {
        let (status, answer) = post(&format!("{url}/v1/events"), "application/json", body.as_bytes());
        assert_eq!((status, &answer["accepted"], &answer["rejected"]), (200, &20.into(), &0.into()));
    }
    assert_eq!(sqlite(&node, LEAVES), Ok(50));
    let chain = "SELECT count(*) FROM flush_range WHERE source = 'http' AND to_offset <= from_offset";
    assert_eq!(sqlite(&node, chain), Ok(0));
    let told = json!({"time": now_us(), "tenant": "acme", "target": {"id": "h1"}, "name": "thumbs", "value": true});
    let (status, _) = post(&format!("{url}/v1/feedback"), "application/json", told.to_string().as_bytes());
    assert_eq!(status, 200);
    let change = json!({"time": now_us(), "tenant": "acme", "app": "web", "type": "release", "to": "8"});
    let (status, _) = post(&format!("{url}/v1/changes"), "application/json", change.to_string().as_bytes());
    assert_eq!(status, 200);
    assert_eq!(sqlite(&node, "SELECT count(*) FROM change"), Ok(1));
    wait_for("the feedback's call", 30, || {
        match sqlite(&node, "SELECT count(*) FROM feedback WHERE state = 'applied'") {
            Ok(1) => Ok(()),
            seen => Err(format!("{seen:?}")),
        }
    });
    let overview: Json = serde_json::from_str(&get(&format!("{url}/api/v1/overview"))).unwrap();
    assert_eq!(
        (&overview["measures"][0]["measure"], &overview["measures"][0]["value"]),
        (&"calls".into(), &50.0.into())
    );
}

/// From the command line, as a deployment does it.
#[test]
fn every_kind_is_sent_by_command_line_and_refusals_are_told() {
    let node = alone();
    let process = node.start();
    let url = address(&process);
    let send = |words: &[&str]| {
        let done = Command::new(crate::harness::leeway()).args(["ingest", "send", "--url", &url]).args(words).output();
        let done = done.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (done.status.success(), text(&done.stdout), text(&done.stderr))
    };
    let (sent, said, trouble) = send(&[
        "--kind",
        "change",
        "--set",
        "type=release",
        "--set",
        "app=web",
        "--set",
        "to=2.10",
        "--set",
        "author=ann",
        "--set",
        "ticket=OPS-1",
        "--set",
        "approver=bob",
    ]);
    assert!(sent && said == "--set: 1 taken, 0 refused\n", "{said}{trouble}");
    let told: Json = serde_json::from_str(&get(&format!("{url}/api/v1/changes"))).unwrap();
    let body = &told["changes"][0]["body"];
    assert_eq!((&body["to"], &body["ticket"], &body["type"]), (&"2.10".into(), &"OPS-1".into(), &"release".into()));
    assert!(
        !told.to_string().contains("\"ann\"") && !told.to_string().contains("\"bob\""),
        "people are hashed: {told}"
    );
    let file = std::env::temp_dir().join(crate::harness::unique("events"));
    let incident = json!({"kind": "incident", "time": now_us(), "class": "latency", "severity": 2});
    let figure = json!({"time": now_us(), "name": "eligible_users", "value": 12, "kind": "figure"});
    std::fs::write(&file, format!("{incident}\n{figure}\n{{\"kind\":\"figure\"}}\n")).unwrap();
    let (sent, said, trouble) = send(&[file.to_str().unwrap()]);
    assert!(!sent && said.contains("2 taken, 1 refused\n  record 2: no_time"), "{said}{trouble}");
    assert!(trouble.contains("1 events were refused"), "{trouble}");
    let (sent, _, trouble) = send(&["--set", "nothing"]);
    assert!(!sent && trouble.contains("FIELD=VALUE"), "{trouble}");
    drop(process);
    let (sent, _, trouble) = send(&["--set", "name=x"]);
    assert!(!sent && trouble.contains("no service answers"), "{trouble}");
}

#[test]
fn bad_bodies_are_answered_with_what_to_correct() {
    let node = alone();
    let process = node.start();
    let url = address(&process);
    let check = |path: &str, kind: &str, body: &[u8], status: u16, words: &str| {
        let (seen, answer) = post(&format!("{url}{path}"), kind, body);
        assert_eq!(seen, status, "{path}: {answer}");
        assert!(
            if kind.contains("protobuf") { answer.is_null() } else { answer.to_string().contains(words) },
            "{path}: {answer}"
        );
    };
    check("/v1/events", "text/plain", b"{}", 415, "application/json");
    check("/v1/feedback", "application/json", &vec![b' '; 2 << 20], 413, "too large");
    check("/v1/events", "application/json", b"{\"time\":", 400, "undecodable");
    check("/v1/events", "application/json", b"{\"id\":\"a\"}", 400, "no_time");
    check("/v1/traces", "application/json", b"[]", 400, "undecodable");
    check("/v1/traces", "application/x-protobuf", b"{", 400, "");
    check("/v1/logs", "application/x-protobuf", b"\xff\xff", 400, "");
    check("/v1/feedback", "application/json", b"{\"kind\":\"call\"}", 400, "unknown_kind");
    check("/v1/feedback", "Application/JSON; charset=utf-8", b"7", 400, "undecodable");
    let old = call("old", now_us() - 40 * 86_400_000_000, "web", 5.0);
    check("/v1/events", "application/json", old.as_bytes(), 400, "time_out_of_range");
    check("/v1/traces", "application/json", b"{}", 200, "");
    let mixed = format!("[{}, {{\"id\": \"x\"}}]", call("good", now_us(), "web", 5.0));
    let (status, answer) = post(&format!("{url}/v1/events"), "application/json", mixed.as_bytes());
    assert_eq!((status, &answer["accepted"], &answer["rejected"]), (200, &1.into(), &1.into()));
    assert_eq!(answer["rejections"][0], json!({"record": 1, "reason": "no_time", "field": "time"}));
    let span = json!({"resourceSpans": [{"scopeSpans": [{"spans": [
        {"traceId": "00000000000000000000000000000001", "spanId": "0000000000000001", "endTimeUnixNano": (now_us() * 1000).to_string(),
         "attributes": [{"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
                        {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "-4"}}]}]}]}]});
    let (status, answer) = post(&format!("{url}/v1/traces"), "application/json", span.to_string().as_bytes());
    assert_eq!((status, &answer["partialSuccess"]["rejectedSpans"]), (200, &"1".into()), "{answer}");
    assert_eq!(sqlite(&node, LEAVES), Ok(1));
    let big = vec![b' '; 17 << 20];
    assert_eq!(post(&format!("{url}/v1/events"), "application/json", &big).0, 413);
    let reasons = sqlite(&node, "SELECT count(*) FROM dead_letter");
    assert_eq!(reasons, Ok(6), "without a time alone and beside a good one, of two wrong kinds, too old, a span");
}

/// Many clients at once: nobody is lost, whoever is told to come back may.
#[test]
fn clients_at_once_are_each_counted_or_told_to_come_back() {
    let node = alone();
    let process = node.start();
    let url = address(&process);
    let taken: u64 = std::thread::scope(|scope| {
        let client = |client: usize| {
            let url = format!("{url}/v1/events");
            scope.spawn(move || {
                let mut taken = 0;
                for round in 0..5 {
                    let events: Vec<String> =
                        (0..50).map(|i| call(&format!("c{client}-{round}-{i}"), now_us(), "many", 5.0)).collect();
                    let body = events.join("\n");
                    taken += wait_for("room", 60, || match post(&url, "application/x-ndjson", body.as_bytes()) {
                        (200, answer) => answer["accepted"].as_u64().ok_or_else(|| answer.to_string()),
                        (429 | 503, answer) => Err(answer.to_string()),
                        (status, answer) => panic!("{status} {answer}"),
                    });
                }
                taken
            })
        };
        let clients: Vec<_> = (0..16).map(client).collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    assert_eq!(taken, 16 * 5 * 50);
    assert_eq!(sqlite(&node, LEAVES), Ok(taken as i64));
}

/// A release that nobody registered becomes a change; what runs is told with its share.
#[test]
fn an_unregistered_release_is_a_change_and_the_inventory_tells_what_runs() {
    let (database, topic) = (Database::new(), topic(2));
    let process = Node::new(&database, &topic).start();
    let url = address(&process);
    let send = |release: &str, n: usize| {
        let events: Vec<String> = (0..n)
            .map(|i| {
                let call = call(&format!("{release}-{i}"), now_us(), "shop", 5.0);
                call.replace("\"app\":", &format!("\"release\":\"{release}\",\"app\":"))
            })
            .collect();
        let (status, answer) =
            post(&format!("{url}/v1/events"), "application/json", format!("[{}]", events.join(",")).as_bytes());
        assert_eq!((status, &answer["accepted"]), (200, &n.into()), "{answer}");
    };
    send("1", 30);
    database.wait_number("the first release", 60, LEAVES, 30);
    // As if the app were an hour old.
    database.query("UPDATE series SET first_seen_at = first_seen_at - 3600000000").unwrap();
    send("2", 10);
    let changes = wait_for("the derived change", 60, || {
        let answer: Json = serde_json::from_str(&get(&format!("{url}/api/v1/changes?tenant=acme&app=shop"))).unwrap();
        if answer["changes"].as_array().is_some_and(|rows| !rows.is_empty()) {
            Ok(answer)
        } else {
            Err(answer.to_string())
        }
    });
    let change = &changes["changes"][0];
    assert_eq!((&change["name"], &changes["more"]), (&"release".into(), &false.into()));
    assert_eq!(change["body"], json!({"type": "release", "from": "1", "to": "2", "unregistered": true}));
    let inventory: Json = serde_json::from_str(&get(&format!("{url}/api/v1/inventory?app=shop"))).unwrap();
    let shares: Vec<(&Json, &Json)> = inventory["inventory"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (&item["value"], &item["share_last_hour"]))
        .collect();
    assert_eq!(shares, [(&"gpt-4o".into(), &1.0.into()), (&"1".into(), &0.75.into()), (&"2".into(), &0.25.into())]);
    for (kind, told) in [
        ("incident", json!({"id": "i1", "class": "quality", "severity": 2})),
        ("experiment", json!({"name": "e1", "arms": ["a", "b"]})),
        ("figure", json!({"name": "eligible_users", "value": 1200})),
        ("evaluation", json!({"suite": "golden", "type": "golden_set", "status": "passed"})),
    ] {
        let mut told = told;
        told["kind"] = kind.into();
        told["time"] = now_us().into();
        let (status, answer) = post(&format!("{url}/v1/events"), "application/json", told.to_string().as_bytes());
        assert_eq!(status, 200, "{answer}");
        wait_for(kind, 30, || {
            let answer: Json = serde_json::from_str(&get(&format!("{url}/api/v1/{kind}s?limit=1"))).unwrap();
            if answer[format!("{kind}s")].as_array().is_some_and(|rows| rows.len() == 1) {
                Ok(())
            } else {
                Err(answer.to_string())
            }
        });
    }
    assert!(get(&format!("{url}/api/v1/changes?from=yesterday")).contains("RFC 3339"));
    assert!(get(&format!("{url}/api/v1/changes?limit=0")).contains("1 to 1000"));
    assert!(get(&format!("{url}/api/v1/wishes")).contains("inventory"));
}

/// LiteLLM's own log and its span tell of one call under two names; whichever comes first, it counts once.
#[test]
fn a_payload_and_a_span_of_one_response_are_one_call_in_either_order() {
    let now = now_us();
    let payload = |id: usize| {
        json!({"litellm_call_id": format!("c{id}"), "id": format!("resp-{id}"), "call_type": "acompletion", "status": "success",
               "custom_llm_provider": "openai", "model": "gpt-4o", "startTime": now as f64 / 1e6 - 1.0, "endTime": now as f64 / 1e6,
               "prompt_tokens": 10 + id, "completion_tokens": 3, "response_cost": 0.001})
    };
    let span = |id: usize| {
        let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
        let count = |key: &str, value: usize| json!({"key": key, "value": {"intValue": value.to_string()}});
        json!({"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": format!("{:032x}", id + 1), "spanId": format!("{:016x}", id + 1),
            "endTimeUnixNano": (now * 1000).to_string(), "attributes": [
                text("gen_ai.operation.name", "chat"), text("gen_ai.provider.name", "openai"), text("gen_ai.request.model", "gpt-4o"),
                text("gen_ai.response.id", &format!("resp-{id}")), count("gen_ai.usage.input_tokens", 10 + id),
                count("gen_ai.usage.output_tokens", 3)]}]}]}]})
    };
    let (database, topic) = (Database::new(), topic(1));
    let _consumer = Node::new(&database, &topic).start();
    crate::traces::database_ready(&database);
    let send = |message: Json| {
        crate::harness::produce(&topic, [(0, now, message.to_string().as_bytes())]);
    };
    for id in 0..6 {
        let pair = if id % 2 == 0 { [payload(id), span(id)] } else { [span(id), payload(id)] };
        for message in pair {
            send(message);
            std::thread::sleep(std::time::Duration::from_millis(if id < 4 { 450 } else { 0 }));
        }
    }
    database.wait_number("every message", 60, "SELECT COALESCE(sum(consumed), 0) FROM ledger", 12);
    assert_eq!(database.number(LEAVES), 6);
    assert_eq!(database.number("SELECT sum(conflicting) FROM ledger"), 0);
}
