//! Every kind of bad input gets its reason, and stops nothing.

use std::collections::BTreeMap;
use std::process::Command;

use crate::harness::{
    Database, Node, address, call, create_topic, get, kafka, leeway, now_us, produce, shared, topic, unique,
};
use crate::traces::{chains_whole, database_ready};

const DAY: i64 = 86_400_000_000;

/// One message for each way to be wrong, with its reason code.
fn poison(now: i64) -> Vec<(Vec<u8>, &'static str)> {
    let at = |time: i64| call(&format!("t{time}"), time, "a", 5.0);
    let bomb = "[".repeat(100_000);
    let deep = format!("{{\"time\":{now},\"links\":{}1{}}}", "[".repeat(200), "]".repeat(200));
    let long_id = call(&"x".repeat(300), now, "a", 5.0);
    let giant = format!("{{\"time\":{now},\"text\":{{\"output\":\"{}\"}}}}", "x".repeat(17 * 1024 * 1024));
    vec![
        (b"\xff\xfe\x00garbage".to_vec(), "undecodable"),
        (b"{\"time\":".to_vec(), "undecodable"),
        (Vec::new(), "undecodable"),
        (format!("{{\"time\":{now},\"app\":7}}").into(), "wrong_type"),
        (format!("{{\"time\":{now},\"tokens\":{{\"input\":-1}}}}").into(), "negative_count"),
        (b"{\"id\":\"x\"}".to_vec(), "no_time"),
        (at(now - 31 * DAY).into(), "time_out_of_range"),
        (at(now + 3_600_000_000).into(), "time_out_of_range"),
        (long_id.into(), "too_large"),
        (giant.into(), "too_large"),
        (bomb.into(), "too_deep"),
        (deep.into(), "too_deep"),
        (format!("{{\"time\":{now},\"kind\":\"banana\"}}").into(), "unknown_kind"),
        (format!("{{\"time\":{now},\"kind\":\"feedback\",\"name\":\"thumbs\"}}").into(), "no_target"),
        (format!("{{\"time\":{now},\"v\":9}}").into(), "unknown_schema"),
    ]
}

#[test]
fn poison_is_counted_with_its_reason_and_nothing_stops() {
    let (database, topic) = (Database::new(), topic(1));
    let letters = format!("{topic}-dlq");
    create_topic(&letters, 1);
    let now = now_us();
    let good = |id: &str| call(id, now - 1_000_000, "a", 5.0);
    let mut messages = poison(now);
    let mut expected: BTreeMap<String, i64> = BTreeMap::new();
    messages.iter().for_each(|(_, reason)| *expected.entry((*reason).to_owned()).or_default() += 1);
    // A batch with bad ones inside: each rejects itself alone.
    messages.push((format!("[{},{{\"no\":1}},{}]", good("b1"), good("b2")).into_bytes(), ""));
    *expected.entry("no_time".to_owned()).or_default() += 1;
    let bad = messages.len();
    let mut all: Vec<(i32, i64, &[u8])> = Vec::new();
    let goods: Vec<String> = (0..bad).map(|i| good(&format!("g{i}"))).collect();
    for ((payload, _), good) in messages.iter().zip(&goods) {
        all.push((0, now, payload));
        all.push((0, now, good.as_bytes()));
    }
    produce(&topic, all);
    let mut node = Node::new(&database, &topic);
    node.variables = vec![("LEEWAY_KAFKA__DEAD_LETTER_TOPIC".into(), letters.clone())];
    let mut process = node.start();
    database_ready(&database);
    database.wait_number("all messages", 60, "SELECT COALESCE(sum(consumed), 0) FROM ledger", 2 * bad as i64);
    let reasons: BTreeMap<String, i64> = database
        .query("SELECT reason, count(*) FROM dead_letter GROUP BY reason")
        .unwrap()
        .into_iter()
        .map(|row| (row[0].clone(), row[1].parse().unwrap()))
        .collect();
    assert_eq!(reasons, expected);
    assert_eq!(database.number("SELECT sum(on_time + late) FROM ledger"), bad as i64 + 2);
    assert_eq!(database.number("SELECT sum(future) FROM ledger"), 1);
    chains_whole(&database);
    assert!(process.running());
    let dump = database.query("SELECT * FROM dead_letter").unwrap();
    assert!(!format!("{dump:?}").contains("garbage"), "a dead letter holds no payload");
    // The topic is a copy of the table.
    let total: i64 = expected.values().sum();
    database.wait_number("the export", 30, "SELECT count(*) FROM dead_letter WHERE exported = 1", total);
    let probe: rdkafka::consumer::BaseConsumer =
        rdkafka::config::ClientConfig::new().set("bootstrap.servers", kafka()).create().unwrap();
    let (_, high) =
        rdkafka::consumer::Consumer::fetch_watermarks(&probe, &letters, 0, std::time::Duration::from_secs(10)).unwrap();
    assert!(high >= total, "{high} of {total} dead letters in the topic");
}

#[test]
fn hostile_json_files_stop_nothing() {
    let Some(folder) = shared("corpora/json-test-suite/test_parsing") else { return };
    let (database, topic) = (Database::new(), topic(2));
    let now = now_us();
    let mut payloads: Vec<Vec<u8>> =
        std::fs::read_dir(folder).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect();
    if let Some(path) = shared("corpora/blns.json") {
        let strings: Vec<String> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        for (i, text) in strings.iter().enumerate() {
            let event = serde_json::json!({"id": format!("n{i}"), "time": now, "tenant": text, "app": text, "route": text, "release": text,
                "provider": text, "request_model": text, "environment": text, "status": "ok"});
            payloads.push(event.to_string().into_bytes());
        }
    }
    produce(&topic, payloads.iter().enumerate().map(|(i, payload)| ((i % 2) as i32, now, payload.as_slice())));
    let mut process = Node::new(&database, &topic).start();
    database_ready(&database);
    database.wait_number("all messages", 60, "SELECT COALESCE(sum(consumed), 0) FROM ledger", payloads.len() as i64);
    chains_whole(&database);
    assert!(process.running());
    assert!(database.number("SELECT sum(on_time) FROM ledger") >= 500, "naughty labels are labels");
}

#[test]
fn all_seven_kinds_are_kept_where_they_belong() {
    let (database, topic) = (Database::new(), topic(1));
    let now = now_us();
    let later = now + 1;
    let messages = [
        call("c1", now, "a", 5.0),
        format!(
            r#"{{"kind":"feedback","time":{now},"target":{{"id":"c1"}},"name":"thumbs","value":false,"source":"user","author":"ann@example.com"}}"#
        ),
        format!(
            r#"{{"kind":"feedback","time":{later},"target":{{"id":"c1"}},"name":"thumbs","value":true,"source":"user"}}"#
        ),
        format!(r#"{{"kind":"change","time":{now},"id":"c","type":"release","from":"1","to":"2","app":"a"}}"#),
        format!(r#"{{"kind":"evaluation","time":{now},"id":"e","suite":"s","type":"regression"}}"#),
        format!(r#"{{"kind":"incident","time":{now},"id":"i","class":"latency","severity":2}}"#),
        format!(r#"{{"kind":"experiment","time":{now},"id":"x","name":"n","arms":["a","b"]}}"#),
        format!(r#"{{"kind":"figure","time":{now},"id":"f","name":"eligible_users","value":12}}"#),
    ];
    produce(&topic, messages.iter().map(|message| (0, now, message.as_bytes())));
    let _process = Node::new(&database, &topic).start();
    database_ready(&database);
    database.wait_number("all records", 30, "SELECT COALESCE(sum(kept + on_time), 0) FROM ledger", 8);
    for table in ["feedback", "change", "evaluation", "incident", "experiment", "figure"] {
        assert_eq!(database.number(&format!("SELECT count(*) FROM {table}")), 1, "{table}");
    }
    let thumbs = database.query("SELECT body::json->>'value', body FROM feedback").unwrap();
    assert_eq!(thumbs[0][0], "true", "the newer feedback wins");
    assert!(!thumbs[0][1].contains("ann@example.com"));
}

fn fails(args: &[&str], variables: &[(&str, &str)]) -> String {
    let folder = std::env::temp_dir().join(unique("leeway-bad"));
    let mut command = Command::new(leeway());
    command.args(args).env("LEEWAY_STORE__DATA_DIR", folder).env("RUST_LOG", "error").env("RUST_BACKTRACE", "0");
    let answer = command.envs(variables.iter().copied()).output().unwrap();
    assert!(!answer.status.success(), "{args:?} {variables:?} should fail");
    String::from_utf8_lossy(&answer.stderr).into_owned()
}

#[test]
fn wrong_settings_say_what_to_correct() {
    let rules = std::env::temp_dir().join(unique("rules"));
    let rule = |text: &str| {
        std::fs::write(&rules, format!("[[rule]]\nid = \"r\"\nkind = \"threshold\"\nseverity = \"page\"\n{text}\n"))
            .unwrap();
        fails(&["check"], &[("LEEWAY_RULES__FILE", rules.to_str().unwrap())])
    };
    let unknown = rule("measure = \"calls\"\nabove = 1\nthreshhold = 7");
    assert!(unknown.contains("threshhold") && unknown.contains("keep_firing_for"), "{unknown}");
    let measure = rule("measure = \"latency\"\nabove = 1");
    assert!(measure.contains("`latency`") && measure.contains("duration_ms"), "{measure}");
    let setting = fails(&["check"], &[("LEEWAY_KAFKA__BROKER", "x")]);
    assert!(setting.contains("broker") && setting.contains("brokers"), "{setting}");
    let url = fails(&["migrate"], &[("LEEWAY_STORE__URL", "postgres://nobody@127.0.0.1:1/x")]);
    assert!(url.contains("store.url") && url.contains("cannot reach the database"), "{url}");
    let scheme = fails(&["migrate"], &[("LEEWAY_STORE__URL", "mysql://x")]);
    assert!(scheme.contains("postgres://user:password@host"), "{scheme}");
    let broker = fails(&["run"], &[("LEEWAY_KAFKA__BROKERS", "127.0.0.1:1")]);
    assert!(broker.contains("cannot reach Kafka at kafka.brokers = `127.0.0.1:1`"), "{broker}");
    let none = fails(&["run", "--roles", "ingest"], &[]);
    assert!(none.contains("LEEWAY_KAFKA__BROKERS"), "{none}");
    let public = fails(&["run"], &[("LEEWAY_WEB__BIND", "0.0.0.0:0")]);
    assert!(public.contains("--insecure"), "{public}");
    let session = fails(&["run"], &[("LEEWAY_KAFKA__BROKERS", &kafka()), ("LEEWAY_KAFKA__SESSION_TIMEOUT_MS", "10")]);
    assert!(session.contains("group.min.session.timeout.ms"), "{session}");
    let database = Database::new();
    let key = fails(&["run"], &[("LEEWAY_STORE__URL", &database.url), ("LEEWAY_KAFKA__BROKERS", &kafka())]);
    assert!(key.contains("LEEWAY_INGEST__USER_KEY_FILE"), "{key}");
    let secret = fails(&["migrate"], &[("LEEWAY_STORE__URL", "postgres://u:hunter2@127.0.0.1:1/x")]);
    assert!(!secret.contains("hunter2"), "{secret}");
}

#[test]
fn series_beyond_the_cap_fold_and_totals_stay_exact() {
    let (database, topic) = (Database::new(), topic(2));
    let now = now_us();
    let messages: Vec<String> =
        (0..600).map(|i| call(&format!("c{i}"), now - 1_000_000, &format!("app{}", i % 300), 5.0)).collect();
    produce(&topic, messages.iter().enumerate().map(|(i, message)| ((i % 2) as i32, now, message.as_bytes())));
    let mut node = Node::new(&database, &topic);
    node.variables = vec![("LEEWAY_INGEST__MAX_SERIES_PER_TENANT".into(), "90".into())];
    let process = node.start();
    database_ready(&database);
    database.wait_number("all calls", 30, "SELECT COALESCE(sum(on_time), 0) FROM ledger", 600);
    let level = |level: &str| {
        database.number(&format!("SELECT sum(n) FROM pane_delta d JOIN series s ON s.tenant = d.tenant AND s.series_id = d.series_id WHERE s.level = '{level}'"))
    };
    for name in ["all", "tenant", "app", "model", "leaf"] {
        assert_eq!(level(name), 600, "{name}");
    }
    assert_eq!(database.number("SELECT series FROM tenant_day WHERE tenant = 'acme'"), 90);
    let folded = database.number("SELECT folded_calls FROM tenant_day WHERE tenant = 'acme'");
    let other = database.number("SELECT sum(n) FROM pane_delta d JOIN series s ON s.tenant = d.tenant AND s.series_id = d.series_id WHERE s.level = 'leaf' AND s.overflow = 1");
    assert!(folded > 0 && folded == other, "{folded} folded, {other} in `other`");
    // What is folded stays with the finest of its parents that there was room for.
    let labels = "SELECT DISTINCT s.labels FROM series s WHERE s.level = 'leaf' AND s.overflow = 1";
    let others: Vec<String> = database.query(labels).unwrap().into_iter().map(|row| row[0].clone()).collect();
    let known =
        |label: &str| others.iter().filter(|labels| !labels.contains(&format!("\"{label}\":\"other\""))).count();
    assert!(known("app") > 0 && known("tenant") == others.len() && known("route") == 0, "{others:?}");
    // The label that does it is named, on the page and in the metrics.
    let url = address(&process);
    let page = get(&format!("{url}/"));
    assert!(page.contains("has 90 of 90 series today (100 %)") && page.contains("<code>app</code> has"), "{page}");
    assert!(get(&format!("{url}/metrics")).contains("leeway_series_cap_used_ratio 1\n"));
}
