//! What is said of a call, by whom, when and where: spans and log records, feedback, texts. Counted once, joined,
//! and the texts gone.

use std::path::PathBuf;
use std::process::Command;

use leeway_core::pane::{Counter, Pane, Shape};
use leeway_core::scan::{Entity, Origin};
use leeway_store::{Location, Store};

use crate::harness::{
    Database, Node, Process, Tool, address, block, call, get, json_lines, now_us, produce, root, topic, wait_for,
};

/// All headline calls of a store, merged.
pub fn all(database: &Database) -> Pane {
    all_at(&Location::Postgres(database.url.clone()))
}

pub fn all_at(location: &Location) -> Pane {
    block(async {
        let store = Store::open(location).await.unwrap();
        let mut all = Pane::default();
        store.headline(0, i64::MAX).await.unwrap().values().for_each(|pane| all.merge(pane));
        store.close().await;
        all
    })
}

/// Captured messages of a signal, with the time of what they tell.
fn captured(folder: &str, signal: &str) -> Vec<(i64, Vec<u8>)> {
    let folder = root().join("tests/data/otlp").join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.to_string_lossy().ends_with(&format!(".{signal}.pb")));
    files.sort();
    // All captures were made within this hour.
    files.iter().map(|path| (1_795_215_600_000_000, std::fs::read(path).unwrap())).collect()
}

fn send(topic: &str, messages: &[(i64, Vec<u8>)]) {
    produce(topic, messages.iter().enumerate().map(|(i, (at, bytes))| ((i % 2) as i32, *at, &bytes[..])));
}

fn otlp(database: &Database, spans: &str, logs: &str) -> Node {
    let mut node = Node::new(database, spans);
    node.variables.push(("LEEWAY_KAFKA__FORMAT".into(), "otlp-traces".into()));
    let sources = format!("[{{ topic = {logs:?}, format = \"otlp-logs\" }}]");
    node.variables.push(("LEEWAY_KAFKA__SOURCES".into(), sources));
    node
}

fn consumed(database: &Database, messages: usize) {
    database.wait_number("every message", 60, "SELECT sum(consumed) FROM ledger", messages as i64);
}

/// Span and log record of each call come by two topics, one kind after the other, with a kill between them.
fn two_topics(spans_first: bool) -> Pane {
    let (database, topics) = (Database::new(), [topic(2), topic(2)]);
    let node = otlp(&database, &topics[0], &topics[1]);
    let halves = [captured("genai-openai/exp_both", "traces"), captured("genai-openai/exp_both", "logs")];
    let (first, second) = if spans_first { (0, 1) } else { (1, 0) };
    send(&topics[first], &halves[first]);
    let mut process = node.start();
    consumed(&database, halves[first].len());
    process.kill();
    send(&topics[second], &halves[second]);
    let _process = node.start();
    consumed(&database, halves[0].len() + halves[1].len());
    let unbalanced = "SELECT count(*) FROM ledger WHERE consumed <> decoded + undecodable OR \
                      seen <> on_time + late + kept + future + duplicate + merged + skipped + dead_lettered";
    assert_eq!(database.number(unbalanced), 0);
    assert_eq!(database.number("SELECT sum(undecodable) + sum(dead_lettered) + sum(conflicting) FROM ledger"), 0);
    all(&database)
}

/// Of the captures in `genai-openai/exp_both`: calls, their input tokens and those that failed; and how many are chats.
pub fn truth() -> ((u64, u64, u64), u64) {
    let truth: serde_json::Value =
        serde_json::from_slice(&std::fs::read(root().join("tests/data/otlp/TRUTH.json")).unwrap()).unwrap();
    let folder = root().join("tests/data/otlp/genai-openai/exp_both");
    let ((mut calls, mut input, mut failed), mut answered) = ((0, 0, 0), 0);
    for (name, truth) in truth.as_object().unwrap() {
        if folder.join(format!("{name}.traces.pb")).exists() {
            let number = |field: &str| truth[field].as_u64().unwrap_or(0);
            calls += number("provider_calls");
            input += number("input_tokens");
            failed += u64::from(truth["status"] == "error");
            answered += number("provider_calls") * u64::from(truth["operation"] == "chat");
        }
    }
    ((calls, input, failed), answered)
}

#[test]
fn span_and_log_record_make_one_call_in_either_order_across_a_crash() {
    let (spans, logs) = (two_topics(true), two_topics(false));
    let (truth, answered) = truth();
    for pane in [&spans, &logs] {
        assert_eq!((pane.calls(), pane.token_sum(0), pane.get(Counter::Errors).n), truth);
        // The duration comes from the span alone, the text from either: each is there once.
        let timed = pane.sketch(Shape::DurationOk).n() + pane.sketch(Shape::DurationFailed).n();
        assert_eq!(timed, truth.0);
        let scanned = pane.get(Counter::Scanned).n;
        assert!(scanned > 0 && scanned <= answered, "{scanned} of {answered}");
    }
    assert_eq!(spans.get(Counter::Scanned), logs.get(Counter::Scanned));
    assert_eq!(spans.hits, logs.hits);
}

#[test]
fn two_instrumentations_of_one_call_count_it_once() {
    let (database, topics) = (Database::new(), [topic(2), topic(2)]);
    let messages = captured("anthropic-genai/on", "traces");
    send(&topics[0], &messages);
    send(&topics[0], &messages);
    let _process = otlp(&database, &topics[0], &topics[1]).start();
    consumed(&database, messages.len() * 2);
    let pane = all(&database);
    assert_eq!((pane.calls(), pane.token_sum(0), pane.token_sum(2)), (2, 3630, 3000));
    assert_eq!(pane.sketch(Shape::DurationOk).n(), 2, "one duration a call, though both its spans have one");
}

fn feedback(target: &str, name: &str, source: &str, value: &str, at: i64) -> String {
    format!(
        r#"{{"kind":"feedback","time":{at},"tenant":"acme","target":{target},"name":"{name}","source":"{source}","value":{value}}}"#
    )
}

fn say(topic: &str, at: i64, events: &[String]) {
    produce(topic, events.iter().map(|event| (0, at, event.as_bytes())));
}

fn named(id: &str, at: i64) -> String {
    let names = format!(
        r#""trace_id":"t-{id}","span_id":"s-{id}","response_id":"r-{id}","conversation":"v-{id}","tenant":"acme""#
    );
    call(id, at, "app", 100.0).replace(r#""tenant":"acme""#, &names)
}

fn joined(database: &Database, applied: i64) {
    database.wait_number("the join", 30, "SELECT count(*) FROM feedback WHERE state = 'applied'", applied);
}

#[test]
fn feedback_finds_its_call_by_any_name_before_and_after_it() {
    let (database, topic) = (Database::new(), topic(1));
    let now = now_us() - 60_000_000;
    let process = Node::new(&database, &topic).start();
    // By five names, before the call and after it; each adds to the minute of its call.
    let target = |kind: &str, id: &str| match kind {
        "id" => format!(r#"{{"id":"{id}"}}"#),
        "span" => format!(r#"{{"trace_id":"T-{id}","span_id":"s-{id}"}}"#),
        "trace" => format!(r#"{{"trace_id":"t-{id}"}}"#),
        "conversation" => format!(r#"{{"conversation":"v-{id}"}}"#),
        _ => format!(r#"{{"response_id":"r-{id}"}}"#),
    };
    let kinds = ["id", "span", "conversation", "response"];
    let words = |ids: std::ops::Range<usize>, value: &str, at: i64| -> Vec<String> {
        ids.map(|i| feedback(&target(kinds[i % 4], &format!("c{i}")), "success", "user", value, at)).collect()
    };
    say(&topic, now, &words(0..4, "true", now));
    database.wait_number("feedback that waits", 30, "SELECT count(*) FROM feedback WHERE state = 'pending'", 4);
    let calls: Vec<String> = (0..8).map(|i| named(&format!("c{i}"), now - 600_000_000)).collect();
    say(&topic, now, &calls);
    say(&topic, now, &words(4..8, "false", now));
    joined(&database, 8);
    let success = |database: &Database| {
        let sum = all(database).outcome("success");
        (sum.n, sum.sum_micro / 1_000_000)
    };
    assert_eq!(success(&database), (8, 4));
    // A correction, the same word again, an older word, a retraction.
    let mut more = words(4..6, "true", now + 1);
    more.extend(words(0..1, "true", now));
    more.extend(words(1..2, "false", now - 5));
    more.extend(words(2..3, "null", now + 1));
    say(&topic, now, &more);
    wait_for("the corrections", 30, || match success(&database) {
        (7, 5) => Ok(()),
        seen => Err(format!("{seen:?}")),
    });
    // Words that contradict each other stay side by side by source; a model's never mix with people's.
    let others = [
        feedback(&target("id", "c0"), "success", "human", "false", now),
        feedback(&target("id", "c0"), "success", "model", "false", now),
    ];
    say(&topic, now, &others);
    joined(&database, 10);
    assert_eq!(success(&database), (8, 5));
    assert_eq!(all(&database).labels()["success/model"].n, 1);
    // Parents hold the same.
    let levels = "SELECT count(DISTINCT level) FROM pane_delta d JOIN series s USING (tenant, series_id) WHERE n = 0";
    assert_eq!(database.number(levels), 5);
    say(&topic, now, &[feedback(&target("trace", "c7"), "success", "human", "true", now)]);
    joined(&database, 11);
    // How much of it is in, window by window; so few labels say nothing of their delays.
    let url = format!("{}/api/v1/maturity?tenant=acme&name=success&window=hour", address(&process));
    let told: serde_json::Value = serde_json::from_str(&get(&url)).unwrap();
    let windows = told["windows"].as_array().unwrap();
    let sum = |field: &str| windows.iter().map(|window| window[field].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("calls"), sum("labels")), (8, 10), "{told}");
    assert!(told["curve"].is_null() && told["too_little"].as_str().unwrap().contains("fewer than 30"), "{told}");
    assert!(get(&format!("{url}&from=yesterday")).contains("RFC 3339"));
    // What no index knows is kept and says so.
    say(&topic, now, &[feedback(r#"{"task":"s1"}"#, "thumbs", "user", "\"up\"", now)]);
    database.wait_number("a row", 30, "SELECT count(*) FROM feedback WHERE state = 'unjoined'", 1);
}

#[test]
fn feedback_without_a_call_is_an_orphan_after_its_wait() {
    let (database, topic) = (Database::new(), topic(1));
    let mut node = Node::new(&database, &topic);
    node.variables.push(("LEEWAY_INGEST__FEEDBACK_WAIT_HOURS".into(), "0".into()));
    let process = node.start();
    let now = now_us();
    say(&topic, now, &[feedback(r#"{"id":"nobody"}"#, "success", "user", "true", now)]);
    database.wait_number("an orphan", 30, "SELECT count(*) FROM feedback WHERE state = 'orphan'", 1);
    assert_eq!(database.number("SELECT count(*) FROM pane_delta"), 0);
    drop(process);
}

/// What must be nowhere, and what stands for it.
struct Canary {
    value: &'static str,
    entity: Entity,
    origin: Origin,
}

fn canaries() -> Vec<Canary> {
    let canary = |value, entity, origin| Canary { value, entity, origin };
    vec![
        canary("zoe.canary@postbox.io", Entity::Email, Origin::Echo),
        canary("+44 20 7946 4321", Entity::Phone, Origin::Retrieved),
        canary("4539 1488 0343 6467", Entity::Card, Origin::Unexplained),
        canary("NL91ABNA0417164300", Entity::Iban, Origin::System),
        canary("536-22-8726", Entity::UsSsn, Origin::Unexplained),
    ]
}

fn texts() -> String {
    let of = |origin: Origin| -> String {
        canaries()
            .iter()
            .filter(|canary| canary.origin == origin)
            .map(|canary| format!("note {} down. ", canary.value))
            .collect()
    };
    let everything: String = canaries()
        .iter()
        .map(|canary| {
            // A number without a check needs the word beside it.
            let word = if canary.entity == Entity::UsSsn { "SSN" } else { "here" };
            format!("{word}: {}. ", canary.value)
        })
        .collect();
    serde_json::json!({
        "input": format!("CANARYPROMPT {}", of(Origin::Echo)),
        "system": of(Origin::System),
        "documents": [{"id": "d1", "text": of(Origin::Retrieved)}],
        "history": ["CANARYHISTORY"],
        "output": format!("CANARYANSWER \u{1b}[1m{everything}"),
    })
    .to_string()
}

/// Everything that the process wrote: database, data folder, logs, pages, notices.
pub fn everything(database: &Database, node: &Node, process: &Process, receiver: &[serde_json::Value]) -> String {
    let dump = Command::new("pg_dump").args(["--dbname", &database.url, "--inserts"]).output().unwrap();
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let mut text = String::from_utf8_lossy(&dump.stdout).into_owned();
    for entry in std::fs::read_dir(&node.folder).unwrap() {
        text += &String::from_utf8_lossy(&std::fs::read(entry.unwrap().path()).unwrap_or_default());
    }
    let log = process.log();
    let address = log.lines().find_map(|line| line.split("pages at ").nth(1)).unwrap().trim().to_owned();
    for page in [
        "/",
        "/alerts",
        "/kpis",
        "/api/v1/kpis",
        "/reports/2026-W47",
        "/api/v1/overview",
        "/api/v1/alerts",
        "/metrics",
        "/overview.csv",
    ] {
        let page = Command::new("curl").args(["-sf", &format!("{address}{page}")]).output().unwrap();
        assert!(page.status.success());
        text += &String::from_utf8_lossy(&page.stdout);
    }
    text + &serde_json::to_string(receiver).unwrap()
}

/// No canary, in any form that a careless program might keep.
fn nowhere(text: &str) {
    use base64::Engine;
    use sha2::Digest;
    assert!(text.contains("pii_leaks"), "the alert is among what was searched");
    for value in canaries().iter().map(|canary| canary.value).chain(["CANARYPROMPT", "CANARYHISTORY", "CANARYANSWER"]) {
        let bare: String = value.chars().filter(char::is_ascii_alphanumeric).collect();
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let encoded = base64::engine::general_purpose::STANDARD_NO_PAD.encode(value);
        for form in [
            value.to_owned(),
            bare.clone(),
            hex(value.as_bytes()),
            encoded,
            hex(&sha2::Sha256::digest(value)),
            hex(&sha2::Sha256::digest(&bare)),
        ] {
            assert!(!text.contains(&form), "{value} was found as {form}");
        }
    }
}

#[test]
fn texts_end_in_the_scan_and_leaks_are_told_by_origin() {
    let (database, topic) = (Database::new(), topic(1));
    let hooks = std::env::temp_dir().join(crate::harness::unique("canary-hooks"));
    let tool = Tool::start("webhook.py", &[crate::harness::KEY, hooks.to_str().unwrap(), "204"]);
    let mut node = Node::new(&database, &topic);
    node.rules = "[[rule]]\nid = \"leak\"\nkind = \"threshold\"\nmeasure = \"pii_leaks\"\nabove = 0\nmin_events = 1\n\
                  severity = \"page\"\nreceivers = [\"hook\", \"mail\"]\nwindow = \"1m\"\n"
        .into();
    let key = crate::harness::KEY;
    let mails = std::env::temp_dir().join(crate::harness::unique("canary-mails"));
    let smtp = Tool::start("smtp.py", &[mails.to_str().unwrap()]);
    node.extra = format!(
        "[scan]\nexamine_every = 1\n[smtp]\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nfrom = \"Leeway <leeway@example.com>\"\n\
         [[receiver]]\nname = \"hook\"\nwebhook = {{ url = \"{}\", signing_key = \"{key}\" }}\n\
         [[receiver]]\nname = \"mail\"\nemail = {{ to = [\"oncall@example.com\"] }}\n",
        smtp.says, tool.says
    );
    node.variables.push(("RUST_LOG".into(), "debug".into()));
    let process = node.start();
    // An evaluator begins where the data are.
    say(&topic, now_us() - 600_000_000, &[call("first", now_us() - 600_000_000, "app", 1.0)]);
    database.wait_number("a first evaluation", 60, "SELECT count(*) FROM rule_progress", 1);
    let now = now_us() - 300_000_000;
    let with_text = |id: &str| call(id, now, "app", 1.0).replacen('{', &format!("{{\"text\":{},", texts()), 1);
    let moderation = r#"{"moderation":[{"source":"nobody-knows","category":"x","action":"flag"}],"#;
    let events = [
        with_text("a"),
        call("b", now, "app", 1.0),
        call("c", now, "app", 1.0).replacen('{', moderation, 1),
        // Bad ones: their texts must not end in a dead letter either.
        with_text("d").replace("\"status\":\"ok\"", "\"status\":7"),
        with_text("e").replace("\"output\":10", "\"output\":-10"),
        with_text("f")[..400].to_owned(),
    ];
    say(&topic, now, &events);
    say(&topic, now_us(), &[call("last", now_us(), "app", 1.0)]);
    consumed(&database, events.len() + 2);
    let pane = all(&database);
    assert_eq!((pane.calls(), pane.get(Counter::Scanned).n, pane.get(Counter::Leaking).n), (5, 1, 1));
    for canary in canaries() {
        assert_eq!(pane.hits.get(canary.entity, canary.origin), 1, "{}: {:?}", canary.value, pane.hits);
    }
    // The system prompt is a name of an account alone: nothing to leak. Terminal codes are.
    assert_eq!([Counter::Examined, Counter::Escape, Counter::PromptLeak].map(|of| pane.get(of).n), [1, 1, 0]);
    assert_eq!((pane.get(Counter::Moderated).n, pane.flags()["nobody-knows:x"]), (1, 1));
    // The alert says how many, not what.
    let hooks = wait_for("the alert", 60, || {
        let seen = json_lines(&hooks);
        if seen.is_empty() { Err("nothing".to_owned()) } else { Ok(seen) }
    });
    let mails = wait_for("its mail", 90, || {
        let seen = json_lines(&mails);
        if seen.is_empty() { Err("no mail".to_owned()) } else { Ok(seen) }
    });
    let told: Vec<serde_json::Value> = hooks.into_iter().chain(mails).collect();
    nowhere(&everything(&database, &node, &process, &told));
}

/// The same calls as protobuf, as JSON and packed: a mixed topic that nobody named a format for.
#[test]
fn json_and_packed_messages_are_the_calls_of_the_protobuf_ones() {
    let (database, topic) = (Database::new(), topic(2));
    let node = Node::new(&database, &topic);
    let folder = root().join("tests/data/otlp/openllmetry/on");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut messages = Vec::new();
    for (i, path) in files.iter().filter(|path| path.to_string_lossy().contains(".traces.")).enumerate() {
        let mut bytes = std::fs::read(path).unwrap();
        if i % 3 == 0 {
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            std::io::Write::write_all(&mut packed, &bytes).unwrap();
            bytes = packed.finish().unwrap();
        }
        messages.push((1_795_215_600_000_000, bytes));
    }
    send(&topic, &messages);
    let _process = node.start();
    crate::traces::database_ready(&database);
    consumed(&database, messages.len());
    // Each file stands there twice, as .pb and .json.
    let sums = "SELECT sum(on_time + late), sum(merged + duplicate), sum(undecodable + dead_lettered + conflicting) FROM ledger";
    let sums: Vec<i64> = database.query(sums).unwrap()[0].iter().map(|text| text.parse().unwrap()).collect();
    assert!(sums[0] > 20 && sums[0] == sums[1] && sums[2] == 0, "{sums:?}");
}

/// A judgement on the span around a call, which is no call itself, is of its trace's call; span event and log record of
/// one judgement are one.
#[test]
fn a_judgement_of_the_span_around_a_call_finds_the_call() {
    let (database, topic) = (Database::new(), topic(2));
    let folder = root().join("tests/data/otlp/openlit/on");
    let files = ["score.2.logs.pb", "score.logs.pb", "score.traces.pb"];
    let messages: Vec<(i64, Vec<u8>)> =
        files.iter().map(|file| (1_795_215_600_000_000, std::fs::read(folder.join(file)).unwrap())).collect();
    send(&topic, &messages);
    let _process = Node::new(&database, &topic).start();
    crate::traces::database_ready(&database);
    database.wait_number("four judgements", 60, "SELECT count(*) FROM feedback WHERE state = 'pending'", 4);
    // As if they had waited for a call of their span: the time is long, so that one that is late is not passed over.
    database.query("UPDATE feedback SET received_at = received_at - 660000000, next_try_at = 0").unwrap();
    database.wait_number("four joins", 60, "SELECT count(*) FROM feedback WHERE state = 'applied'", 4);
    assert_eq!(database.number("SELECT count(*) FROM feedback"), 4);
}
