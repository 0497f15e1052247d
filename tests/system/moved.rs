//! Where an alert's figure moved: the slice that carries it, mix beside behaviour, and what was changed there, in the finding, the
//! webhook and the page.

use serde_json::Value;

use crate::harness::{
    Database, KEY, Node, Tool, address, call, get, json_lines, leeway, now_us, produce, topic, unique, wait_for,
};
use crate::traces::database_ready;

const MINUTE: i64 = 60_000_000;
const RULES: &str = r#"
[[rule]]
id = "failing"
kind = "threshold"
measure = "error_rate"
by = ["tenant", "app"]
window = "2m"
above = 0.1
min_events = 50
severity = "page"
receivers = ["hook"]

[[rule]]
id = "slow"
kind = "threshold"
measure = "duration_ms"
quantile = 0.9
by = ["tenant", "app"]
window = "2m"
above = 100
min_events = 50
severity = "ticket"

[[rule]]
id = "busy"
kind = "threshold"
measure = "calls"
by = ["tenant", "app"]
window = "2m"
above = 500
min_events = 50
severity = "ticket"
"#;

/// A minute of an app: three of ten calls are of `small`, of which so many of 60 fail; all are as slow as is said.
fn minute(topic: &str, (app, at): (&str, i64), failing: usize, (n, duration): (usize, f64)) {
    let one = |i: usize| {
        let text = call(&format!("{app}-{at}-{i}"), at + i as i64 * 100_000, app, duration);
        let small = i % 10 < 3;
        let text = if small { text.replace("gpt-4o", "small") } else { text };
        // Each model's calls have a number of their own; one in sixty of the others fails as ever.
        let number = i / 10 * 3 + i % 10;
        let fails = if small { number < failing } else { i % 60 == 5 };
        let status = "\"status\":\"error\",\"error_type\":\"timeout\"";
        if fails { text.replace("\"status\":\"ok\"", status) } else { text }
    };
    let calls: Vec<String> = (0..n).map(one).collect();
    produce(topic, calls.iter().enumerate().map(|(i, text)| ((i % 2) as i32, at, text.as_bytes())));
}

fn fired(database: &Database, rule: &str) -> Value {
    wait_for(rule, 60, || {
        let rows = database.query(&format!("SELECT body FROM finding WHERE rule = '{rule}' ORDER BY id"))?;
        let firing = rows.into_iter().map(|row| row.join("|")).find(|body| body.contains("\"to\":\"firing\""));
        serde_json::from_str(&firing.ok_or("none yet")?).map_err(|error| error.to_string())
    })
}

fn change(id: &str, app: &str, to: &str, at: i64) -> String {
    format!(
        r#"{{"kind":"change","id":"{id}","time":{at},"tenant":"acme","app":"{app}","type":"prompt","from":"v6","to":"{to}"}}"#
    )
}

/// Of what is slow everywhere, and of what is a number; answers the first.
fn elsewhere(database: &Database) -> Value {
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    // All of mail is slow: no label tells more than another.
    let slow = fired(database, "slow");
    let moved = &slow["evidence"]["moved"];
    assert!(moved["carriers"].is_null() && moved["label"] == "", "{moved:#}");
    assert!(number(&moved["level_now"]) > 0.4 && number(&moved["level_before"]) == 0.0, "{moved:#}");
    // A number has no mix.
    let busy = fired(database, "busy");
    assert!(busy["evidence"]["moved"]["mix"].is_null() && number(&busy["evidence"]["moved"]["level_before"]) < 500.0);
    slow
}

#[test]
fn an_alert_says_where_its_figure_moved_and_what_was_changed_there() {
    let (database, topic) = (Database::new(), topic(2));
    let log = std::env::temp_dir().join(unique("log"));
    let hook = Tool::start("webhook.py", &[KEY, log.to_str().unwrap(), "204"]);
    let mut node = Node::new(&database, &topic);
    node.rules = RULES.into();
    node.extra =
        format!("[[receiver]]\nname = \"hook\"\nwebhook = {{ url = \"{}\", signing_key = \"{KEY}\" }}\n", hook.says);
    node.variables = vec![("LEEWAY_TEST_FAULT".into(), "clock=off".into())];
    let start = (now_us() - 30 * MINUTE) / MINUTE * MINUTE;
    let process = node.start();
    database_ready(&database);
    minute(&topic, ("shop", start), 1, (200, 20.0));
    database.wait_number("rules", 60, "SELECT count(*) FROM rule_progress", 3);
    for number in 1..6 {
        minute(&topic, ("shop", start + number * MINUTE), 1, (200, 20.0));
        minute(&topic, ("mail", start + number * MINUTE), 1, (200, 20.0));
    }
    let changed = start + 6 * MINUTE;
    let changes = [change("c1", "shop", "v7", changed - MINUTE / 2), change("c2", "mail", "v9", changed - MINUTE / 2)];
    produce(&topic, changes.iter().map(|text| (0, changed, text.as_bytes())));
    database.wait_number("changes", 60, "SELECT count(*) FROM change WHERE id IN ('c1', 'c2')", 2);
    for number in 6..12 {
        // Half of the small model's calls fail; mail is slow everywhere, and then busy.
        minute(&topic, ("shop", start + number * MINUTE), 30, (200, 20.0));
        minute(&topic, ("mail", start + number * MINUTE), 1, (if number > 7 { 400 } else { 200 }, 400.0));
    }
    let failing = fired(&database, "failing");
    let moved = &failing["evidence"]["moved"];
    println!("{moved:#}");
    assert_eq!((moved["label"].as_str(), moved["carriers"][0]["value"].as_str()), (Some("model"), Some("small")));
    let carrier = &moved["carriers"][0];
    let number = |value: &Value| value.as_f64().unwrap();
    assert!(number(&carrier["part"]) > 0.99 && (number(&carrier["share"]) - 0.3).abs() < 1e-9, "{moved:#}");
    assert!(number(&carrier["now"]) > 0.2 && number(&carrier["before"]) < 0.05, "{moved:#}");
    assert!(number(&moved["behaviour"]["low"]) > 0.03 && number(&moved["mix"]["value"]).abs() < 0.01, "{moved:#}");
    assert_eq!(moved["carriers"].as_array().unwrap().len(), 1);
    let near: Vec<&str> = moved["changes"].as_array().unwrap().iter().map(|c| c["what"].as_str().unwrap()).collect();
    assert!(near.contains(&"prompt change from v6 to v7") && near.iter().all(|what| !what.contains("v9")), "{near:?}");
    let slow = elsewhere(&database);
    let told = wait_for("the webhook", 30, || json_lines(&log).into_iter().next().ok_or_else(|| "none".to_owned()));
    assert_eq!(told["body"]["data"]["evidence"]["moved"]["carriers"][0]["value"], "small", "{told:#}");
    let url = format!("{}/alerts/{}", address(&process), failing["fingerprint"].as_str().unwrap());
    let page = get(&url);
    for said in
        ["model = small", "of the change with 30 % of what is counted", "prompt change from v6 to v7", "behaviour +"]
    {
        assert!(page.contains(said), "{said}: {page}");
    }
    // The same again from the store, whatever was told of its surroundings.
    let rules = std::env::temp_dir().join(unique("rules"));
    // The one with a receiver asks for the settings that define it.
    std::fs::write(&rules, RULES.split_once("\n\n").unwrap().1).unwrap();
    let mut command = std::process::Command::new(leeway());
    command.args(["finding", "verify", slow["id"].as_str().unwrap(), "--rules"]).arg(&rules);
    let output = command.env("LEEWAY_STORE__URL", &database.url).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
