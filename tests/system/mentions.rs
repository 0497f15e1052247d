//! Values that nothing of their call explains are told by who else had them: over Kafka and in the store, and whoever
//! dies in between.

use leeway_core::measure::Measure;
use leeway_core::pane::Pane;
use leeway_core::scan::{Entity, Origin};
use leeway_store::Location;

use crate::calls::{all, all_at};
use crate::harness::{Database, Node, address, create_topic, now_us, produce, topic, unique};
use crate::traces::{chains_whole, database_ready};

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;

/// Values of each fate.
const EACH: usize = 25;

struct Call {
    tenant: String,
    user: &'static str,
    conversation: &'static str,
    input: String,
    output: String,
}

impl Call {
    fn json(&self, id: &str, at: i64) -> String {
        let Self { tenant, user, conversation, input, output } = self;
        format!(
            r#"{{"id":"{id}","time":{at},"tenant":"{tenant}","user":"{user}","conversation":"{conversation}","status":"ok","text":{{"input":"{input}","output":"{output}"}}}}"#
        )
    }
}

fn call(tenant: &str, user: &'static str, conversation: &'static str, input: &str, output: &str) -> Call {
    let (tenant, input, output) = (tenant.to_owned(), input.to_owned(), output.to_owned());
    Call { tenant, user, conversation, input, output }
}

fn mail(fate: &str, n: usize) -> String {
    format!("write to {fate}{n}.person@mail{n}.acme-industries.io")
}

/// Calls of the day before, which say since when the memory knows: of every group of values some.
fn earlier() -> Vec<Call> {
    (0..1_600).map(|n| call("seed", "s", "s", &mail("seed", n), "ok")).collect()
}

/// Calls that held the values first.
fn givers() -> Vec<Call> {
    let mut calls = Vec::new();
    for n in 0..EACH {
        calls.push(call("a", "ann", "c-a", &mail("tenant", n), "noted"));
        calls.push(call("b", "ben", "c-b", &mail("user", n), "noted"));
        calls.push(call("b", "bob", "c-own", &mail("own", n), "noted"));
        calls.extend(["a", "c", "d"].map(|tenant| call(tenant, "x", "x", &mail("common", n), "noted")));
    }
    calls
}

/// Calls whose answers hold a value that none of their inputs does.
fn takers() -> Vec<Call> {
    let mut calls = Vec::new();
    for n in 0..EACH {
        for fate in ["tenant", "user", "common", "novel"] {
            calls.push(call("b", "bob", "c-b2", "who?", &mail(fate, n)));
        }
        calls.push(call("b", "bob", "c-own", "who was it?", &mail("own", n)));
        // An echo is looked up nowhere. It is of a conversation of its own: partitions are read in any order, and one
        // that had the value before would explain the other call's.
        calls.push(call("b", "bob", "c-echo", &mail("tenant", n), &mail("tenant", n)));
    }
    calls
}

fn json(calls: &[Call], name: &str, start: i64) -> Vec<(i32, i64, String)> {
    let call = |(n, call): (usize, &Call)| ((n % 3) as i32, start, call.json(&format!("{name}-{n}"), start));
    calls.iter().enumerate().map(call).collect()
}

fn write(topic: &str, calls: &[(i32, i64, String)]) {
    produce(topic, calls.iter().map(|(partition, at, text)| (*partition, *at, text.as_bytes())));
}

fn hits(pane: &Pane) -> [u64; 6] {
    [Origin::Unexplained, Origin::Traced, Origin::CrossTenant, Origin::CrossUser, Origin::Recalled, Origin::Echo]
        .map(|origin| pane.hits.get(Entity::Email, origin))
}

fn expected() -> [u64; 6] {
    [5, 5, 1, 1, 1, 1].map(|n| n * EACH as u64)
}

/// Everything written is consumed, and then everything that was said of it.
pub fn compared(database: &Database, topics: [&str; 2]) {
    use rdkafka::consumer::{BaseConsumer, Consumer};
    let consumer: BaseConsumer =
        rdkafka::ClientConfig::new().set("bootstrap.servers", crate::harness::kafka()).create().unwrap();
    for topic in topics {
        let wait = std::time::Duration::from_secs(10);
        let metadata = consumer.fetch_metadata(Some(topic), wait).unwrap();
        let parts = metadata.topics()[0].partitions().len() as i32;
        let end: i64 = (0..parts).map(|part| consumer.fetch_watermarks(topic, part, wait).unwrap().1).sum();
        let sql = format!("SELECT COALESCE(sum(next_offset), 0) FROM source_partition WHERE topic = '{topic}'");
        database.wait_number(&format!("the end of {topic}"), 90, &sql, end);
    }
}

#[test]
fn unexplained_values_are_told_by_who_else_had_them_whoever_dies() {
    let (database, topic, mentions) = (Database::new(), topic(3), unique("leeway-mentions").replace('_', "-"));
    create_topic(&mentions, 4);
    let mut node = Node::new(&database, &topic);
    let variable = ("LEEWAY_KAFKA__MENTIONS_TOPIC".to_owned(), mentions.clone());
    let now = now_us() / MINUTE * MINUTE;
    // Each call is told twice, and what a dying flush said is said again.
    let (seeds, given, taken) = (
        json(&earlier(), "e", now - 50 * HOUR),
        json(&givers(), "g", now - 2 * HOUR),
        json(&takers(), "t", now - HOUR),
    );
    let faults = ["after_told=abort", "before_commit=abort", "after_commit=abort", ""];
    for (stage, calls) in [&seeds, &given, &taken].into_iter().enumerate() {
        for (round, fault) in faults.into_iter().enumerate() {
            let part: Vec<_> = calls.iter().skip(round).step_by(faults.len()).cloned().collect();
            let again = part.iter().map(|(partition, at, text)| ((partition + 1) % 3, *at, text.clone()));
            write(&topic, &part.iter().cloned().chain(again).collect::<Vec<_>>());
            node.variables = vec![variable.clone(), ("LEEWAY_TEST_FAULT".into(), fault.into())];
            let mut process = node.start();
            if fault.is_empty() {
                database_ready(&database);
                compared(&database, [&topic, &mentions]);
            } else {
                process.ended(60);
            }
        }
        assert!(stage < 2 || hits(&all(&database))[0] == expected()[0], "{:?}", hits(&all(&database)));
    }
    assert_eq!(hits(&all(&database)), expected());
    let pane = all(&database);
    let of = |id: &str| Measure::parse(id).unwrap().of(&pane, None).map(|estimate| estimate.value);
    // A value that three tenants have is nobody's; one that nobody had is novel.
    assert_eq!([of("pii.novel"), of("pii.cross_tenant"), of("pii.cross_tenant_certain")], [50.0, 25.0, 0.0].map(Some));
    // Addresses that nobody chose at random: chance finds next to none of these.
    let excess = of("pii.cross_tenant_excess").unwrap();
    assert!(excess < 25.0 && excess > 24.0, "{excess}");
    chains_whole(&database);
    // What was said holds no value, in any form.
    let said = String::from_utf8_lossy(&messages(&mentions, 4)).into_owned();
    assert!(said.len() > 10_000 && !said.contains("acme-industries") && !said.contains("person"));
}

/// All bytes of a topic.
pub fn messages(topic: &str, parts: i32) -> Vec<u8> {
    use rdkafka::Message;
    use rdkafka::consumer::{BaseConsumer, Consumer};
    let consumer: BaseConsumer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", crate::harness::kafka())
        .set("group.id", unique("reader"))
        .set("auto.offset.reset", "earliest")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let mut list = rdkafka::TopicPartitionList::new();
    (0..parts).for_each(|part| list.add_partition_offset(topic, part, rdkafka::Offset::Beginning).unwrap());
    consumer.assign(&list).unwrap();
    let (mut bytes, mut ends) = (Vec::new(), 0);
    while ends < parts {
        match consumer.poll(std::time::Duration::from_secs(30)) {
            Some(Ok(message)) => bytes.extend_from_slice(message.payload().unwrap()),
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => ends += 1,
            other => panic!("{other:?}"),
        }
    }
    bytes
}

#[test]
fn without_kafka_the_store_remembers() {
    let postgres = Database::new();
    let node = Node::new(&postgres, "none");
    remembers(node, &Location::Postgres(postgres.url.clone()));
    let node = Node::new(&Database { url: String::new() }, "none");
    let file = node.folder.join("leeway.sqlite");
    remembers(node, &Location::Sqlite(file));
}

fn remembers(mut node: Node, location: &Location) {
    node.variables = vec![("LEEWAY_KAFKA__BROKERS".to_owned(), String::new())];
    let now = now_us() / MINUTE * MINUTE;
    let stories = [(earlier(), "e", now - 50 * HOUR), (givers(), "g", now - 2 * HOUR), (takers(), "t", now - HOUR)];
    for (calls, name, at) in stories {
        // Each part by another process: nothing is remembered in memory alone.
        let process = node.start();
        let body = json(&calls, name, at).into_iter().map(|(_, _, text)| text).collect::<Vec<_>>().join("\n");
        let url = format!("{}/v1/events", address(&process));
        let (status, said) = crate::intake::post(&url, "application/x-ndjson", body.as_bytes());
        assert_eq!(status, 200, "{said}");
    }
    let pane = all_at(location);
    assert_eq!(hits(&pane), expected());
    let compared = pane.hits.compared();
    assert!(
        compared.n == 125 && compared.foreign == 25 && compared.chance > 0.0 && compared.chance < 1.0,
        "{compared:?}"
    );
}
