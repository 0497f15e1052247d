//! Records as the serializers of schema registries and CloudEvents make them, on one topic, with other people's fields.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use serde_json::Value as Json;

use crate::harness::{
    Database, Node, Tool, address, get, json_lines, kafka, leeway, now_us, produce, root, topic, unique, wait_for,
};

fn folder() -> PathBuf {
    root().join("tests/data/otlp/envelopes")
}

fn records() -> Vec<Json> {
    json_lines(&folder().join("records.jsonl"))
}

fn bytes(value: &Json) -> Option<Vec<u8>> {
    value.as_str().map(|text| STANDARD.decode(text).unwrap())
}

/// Produces the captured records with their headers: those that need a registry to partition 1, the others to 0.
fn send(topic: &str) -> usize {
    let mut config = rdkafka::config::ClientConfig::new();
    let producer: ThreadedProducer<DefaultProducerContext> = config.set("bootstrap.servers", kafka()).create().unwrap();
    let records = records();
    for record in &records {
        let mut headers = OwnedHeaders::new();
        for header in record["headers"].as_array().unwrap() {
            headers = headers.insert(Header { key: header[0].as_str().unwrap(), value: bytes(&header[1]).as_ref() });
        }
        let framed = record["topic"].as_str().unwrap().starts_with("llm.inference.");
        let value = bytes(&record["value_b64"]);
        // All were made within this hour.
        let mut message = BaseRecord::<(), Vec<u8>>::to(topic).partition(i32::from(framed)).headers(headers);
        message = message.timestamp(1_795_215_600_000);
        if let Some(value) = &value {
            message = message.payload(value);
        }
        producer.send(message).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();
    records.len()
}

#[test]
fn a_partition_waits_for_its_registry_and_everything_counts_once() {
    let (database, topic) = (Database::new(), topic(2));
    let switch = std::env::temp_dir().join(unique("registry-switch"));
    let registry =
        Tool::start("registry.py", &[folder().join("schemas.json").to_str().unwrap(), switch.to_str().unwrap()]);
    let mut node = Node::new(&database, &topic);
    node.extra = format!("[kafka.registry]\nurl = {:?}\n", registry.says);
    let mapping = root().join("docs/examples/mapping.toml");
    node.variables.push(("LEEWAY_KAFKA__MAPPING".into(), mapping.to_str().unwrap().into()));
    let sent = send(&topic);
    let process = node.start();
    let of = |part: i32| format!("SELECT COALESCE(sum(consumed), 0) FROM ledger WHERE part = {part}");
    let framed =
        records().iter().filter(|record| record["topic"].as_str().unwrap().starts_with("llm.inference.")).count();
    database.wait_number("what needs no registry", 60, &of(0), (sent - framed) as i64);
    // Long enough for two attempts: nothing of the partition is taken, nothing is a dead letter.
    std::thread::sleep(Duration::from_secs(7));
    assert_eq!(database.number(&of(1)), 0);
    assert!(process.log().contains("does not answer; its messages wait"), "{}", process.log());
    let waiting = || get(&format!("{}/metrics", address(&process))).contains("\nleeway_partitions_waiting 1\n");
    wait_for("the gauge", 10, || if waiting() { Ok(()) } else { Err("no partition waits".to_owned()) });
    std::fs::write(&switch, "").unwrap();
    database.wait_number("what waited", 60, &of(1), framed as i64);
    wait_for("the gauge", 10, || if waiting() { Err("a partition waits".to_owned()) } else { Ok(()) });
    let sum = |column: &str| database.number(&format!("SELECT sum({column}) FROM ledger"));
    // The CloudEvent in two modes, the repeat, and its contradiction with another end are each one call.
    let again = sum("duplicate") + sum("merged");
    assert_eq!((sum("on_time") + sum("late"), again, sum("conflicting")), (12, 3, 1));
    assert_eq!((sum("undecodable"), sum("dead_lettered"), sum("future"), sum("skipped")), (5, 2, 1, 1));
    let reasons = database.query("SELECT reason, count(*) FROM dead_letter GROUP BY reason ORDER BY reason").unwrap();
    let reasons: Vec<String> = reasons.iter().map(|row| row.join(" ")).collect();
    assert_eq!(reasons, ["negative_count 1", "no_time 1", "time_out_of_range 1", "undecodable 4", "unknown_schema 1"]);
}

/// Runs `leeway ingest …` with a node's settings and more variables.
fn ingest(node: &Node, words: &[&str]) -> String {
    let config = node.folder.join("leeway.toml");
    let mut command = std::process::Command::new(leeway());
    command.arg("ingest").args(words).arg("--config").arg(config).envs(node.variables.clone());
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

#[test]
fn dead_letters_are_listed_and_replayed_once_their_cause_is_mended() {
    let (database, topic) = (Database::new(), topic(1));
    let switch = std::env::temp_dir().join(unique("registry-switch"));
    std::fs::write(&switch, "").unwrap();
    let registry =
        Tool::start("registry.py", &[folder().join("schemas.json").to_str().unwrap(), switch.to_str().unwrap()]);
    let mut node = Node::new(&database, &topic);
    let mapping = root().join("docs/examples/mapping.toml");
    node.variables.push(("LEEWAY_KAFKA__MAPPING".into(), mapping.to_str().unwrap().into()));
    let at = now_us() - 60_000_000;
    let framed: Vec<Vec<u8>> = ["confluent-avro", "confluent-json", "confluent-protobuf"]
        .iter()
        .map(|name| bytes(&records().iter().find(|record| record["name"] == *name).unwrap()["value_b64"]).unwrap())
        .collect();
    let named = format!(r#"[{{"event_id":"n1","end_unix_nanos":{at}000}},{{"event_id":"n2"}}]"#);
    let nameless = format!(r#"[{{"end_unix_nanos":{at}000}},{{"input_tokens":5}}]"#);
    let messages: Vec<&[u8]> =
        framed.iter().map(|value| &value[..]).chain([named.as_bytes(), nameless.as_bytes(), b"junk"]).collect();
    produce(&topic, messages.iter().map(|value| (0, at, *value)));
    let mut process = node.start();
    database.wait_number("every message", 60, "SELECT sum(consumed) FROM ledger", 6);
    let listed = ingest(&node, &["dead-letters"]);
    assert!(listed.ends_with("2 no_time, 1 undecodable, 3 unknown_schema\n"), "{listed}");
    assert!(listed.contains("record 1") && listed.contains("message, 4 bytes: undecodable"), "{listed}");
    let json = ingest(&node, &["dead-letters", "--json", "--reason", "no_time"]);
    assert_eq!((json.lines().count(), json.contains("\"whole_message\":false")), (2, true), "{json}");
    process.kill();
    // The cause is mended: there is a registry now.
    node.variables.push(("LEEWAY_KAFKA__REGISTRY__URL".into(), registry.says.clone()));
    let said = ingest(&node, &["replay", "--dry-run"]);
    assert!(said.contains("3 would be sent again\n") && said.contains("1 still refused: undecodable"), "{said}");
    assert!(said.contains("1 still refused: some of its records are as they were"), "{said}");
    assert!(said.contains("1 left: its other records were taken"), "{said}");
    let _process = node.start();
    assert!(ingest(&node, &["replay", "--reason", "unknown_schema"]).contains("3 sent again"));
    database.wait_number("what was replayed", 60, "SELECT sum(on_time) + sum(late) FROM ledger", 5);
    assert_eq!(ingest(&node, &["replay", "--reason", "unknown_schema"]), "nothing to replay\n");
    assert_eq!(ingest(&node, &["dead-letters"]).matches("unknown_schema, replayed").count(), 3);
}

#[test]
fn explain_reads_as_the_topic_is_read() {
    let switch = std::env::temp_dir().join(unique("registry-switch"));
    let registry =
        Tool::start("registry.py", &[folder().join("schemas.json").to_str().unwrap(), switch.to_str().unwrap()]);
    let (config, value) = (std::env::temp_dir().join(unique("config")), std::env::temp_dir().join(unique("value")));
    let mapping = root().join("docs/examples/mapping.toml");
    let text = format!(
        "[kafka]\nsources = [{{ topic = \"theirs\", mapping = {mapping:?} }}]\n[kafka.registry]\nurl = {:?}\n",
        registry.says
    );
    std::fs::write(&config, text).unwrap();
    let records = records();
    let record = records.iter().find(|record| record["name"] == "confluent-avro-header-guid").unwrap();
    std::fs::write(&value, bytes(&record["value_b64"]).unwrap()).unwrap();
    let explain = |header: &str| {
        let mut command = std::process::Command::new(leeway());
        command.args(["ingest", "explain", "--json", "--topic", "theirs", "--header", header, "--config"]);
        command.args([&config, &value]).output().unwrap()
    };
    let header = "__value_schema_id=8c49e278-db4a-4d97-a19e-70d1c4d29a4f";
    let away = explain(header);
    assert!(!away.status.success() && String::from_utf8_lossy(&away.stderr).contains("does not answer"), "{away:?}");
    std::fs::write(&switch, "").unwrap();
    for header in [header, "__value_schema_id=AYxJ4njbSk2XoZ5w0cTSmk8=", "__value_schema_id=5"] {
        let told = explain(header);
        let first: Json = serde_json::from_slice(told.stdout.split(|byte| *byte == b'\n').next().unwrap()).unwrap();
        assert_eq!((&first["tokens"]["input"], &first["counted"]), (&2702.into(), &true.into()), "{told:?}");
    }
    let wrong = explain("__value_schema_id=x");
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("takes a GUID, a number"), "{wrong:?}");
}
