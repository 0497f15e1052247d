//! Drift rules through the whole system, with three processes at once: one alert, told once, with its reference.

use leeway_core::clock::rfc3339;

use crate::harness::{Database, KEY, Node, Process, Tool, call, json_lines, now_us, produce, topic, unique, wait_for};

const MINUTE: i64 = 60_000_000;

/// Calls of an app and its release at a minute, with durations that spread like latencies do.
fn calls((app, release): (&str, u8), at: i64, n: usize, scale: f64) -> Vec<String> {
    let duration = |i: usize| scale * (1.0 / (1.0 - ((i as f64 + 0.5) * 0.618_033_988_75).fract() * 0.99)).powf(0.7);
    // What is slower is worse too.
    let score = |i: usize| (if scale > 150.0 { 0.6 } else { 0.8 }) + (i % 5) as f64 / 25.0;
    let scored = |i: usize, text: String| {
        let scores = format!("\"scores\":[{{\"name\":\"grounded\",\"value\":{},\"source\":\"model\"}}],", score(i));
        let route = if i.is_multiple_of(4) { "legal" } else { "billing" };
        let labels = format!("\"release\":\"{release}\",\"route\":\"{route}\",");
        text.replacen("\"status\"", &format!("{scores}{labels}\"status\""), 1)
    };
    let one = |i: usize| call(&format!("{app}-{at}-{i}"), at + i as i64 * 10_000, app, duration(i));
    (0..n).map(|i| scored(i, one(i))).collect()
}

fn send(topic: &str, at: i64, calls: &[String]) {
    produce(topic, calls.iter().enumerate().map(|(i, text)| ((i % 2) as i32, at, text.as_bytes())));
}

/// One rule by the index, and the same windows by other tests: each with its own effect, and those that are about the
/// other direction silent.
fn rules(start: i64) -> String {
    let reference = format!("{{ from = \"{}\", to = \"{}\" }}", rfc3339(start - 10 * MINUTE), rfc3339(start));
    let rule = |id: &str, measure: &str, more: &str| {
        format!(
            "[[rule]]\nid = \"{id}\"\nkind = \"drift\"\nmeasure = \"{measure}\"\nby = [\"app\"]\nwindow = \"5m\"\nmin_events = 200\n\
             reference = {reference}\nseverity = \"ticket\"\n{more}\n"
        )
    };
    [
        rule("moved", "duration_ms", "min_effect = 0.1\nreceivers = [\"hook\"]"),
        rule("shape", "duration_ms", "test = \"ks\""),
        rule("slower", "duration_ms", "test = \"mann_whitney\"\nmin_effect = 10\ndirection = \"up\""),
        rule("faster", "duration_ms", "test = \"mann_whitney\"\nmin_effect = 10\ndirection = \"down\""),
        rule("failing", "error_rate", "direction = \"up\""),
        rule("worse", "score.grounded", "direction = \"down\"\nmin_effect = 0.05"),
        rule("weeks", "duration_ms", "test = \"ks\"").replace(&reference, "{ weeks = 2 }"),
        rule("release", "duration_ms", "test = \"mann_whitney\"\nmin_effect = 10\ndirection = \"up\"")
            .replace(&reference, "\"previous_release\""),
        rule("golden", "score.grounded", "direction = \"down\"\nmin_effect = 0.05")
            .replace(&reference, "{ golden_set = \"support\" }"),
        beside("beside", "moved"),
        beside("twins", "twin"),
    ]
    .concat()
}

/// An app beside another one, in the same window.
fn beside(id: &str, app: &str) -> String {
    format!(
        "[[rule]]\nid = \"{id}\"\nkind = \"drift\"\nmeasure = \"duration_ms\"\nwindow = \"5m\"\nmin_events = 200\n\
         test = \"mann_whitney\"\nmin_effect = 10\ndirection = \"up\"\nseverity = \"ticket\"\n\
         where = {{ app = \"{app}\" }}\nreference = {{ where = {{ app = \"same\" }} }}\n"
    )
}

/// State and evidence of an instance.
fn of(database: &Database, rule: &str, labels: &str) -> Result<(String, serde_json::Value), String> {
    let sql = format!("SELECT state, evidence FROM alert WHERE rule = '{rule}' AND labels = '{labels}'");
    let rows = database.query(&sql)?;
    let row = rows.first().ok_or("no instance")?;
    Ok((row[0].clone(), serde_json::from_str(&row[1..].join("|")).unwrap()))
}

/// A release beside the one before it, and live calls beside a golden set.
fn releases_and_golden_sets(database: &Database) {
    for (rule, app, expected, words) in [
        ("release", "moved", "firing", "release 2 beside 1, the same hours of the 7 days before it came; 1 of them"),
        ("release", "same", "inactive", "release 2 beside 1"),
        ("release", "new", "insufficient_data", "release 2 beside 1"),
        ("release", "twin", "insufficient_data", "no release before 2 is known"),
        ("golden", "moved", "firing", "golden set support 3"),
        ("golden", "same", "inactive", "golden set support 4"),
        ("golden", "twin", "insufficient_data", "no finished run of the golden set support is known"),
    ] {
        let labels = format!("{{\"app\":\"{app}\"}}");
        let (_, evidence) = wait_for(rule, 60, || match of(database, rule, &labels)? {
            found if found.0 == expected => Ok(found),
            found => Err(format!("{app}: {found:?}")),
        });
        let drift = &evidence["drift"];
        assert!(drift["reference_words"].as_str().unwrap().contains(words), "{evidence}");
        match (rule, expected) {
            ("release", "firing") => {
                assert_eq!(drift["versions"], serde_json::json!({"label": "release", "before": "1", "now": "2"}));
                assert_eq!((&drift["reference_n"], &evidence["n"]), (&600.into(), &600.into()));
                let moved = &evidence["moved"];
                let (was, is) = (moved["level_before"].as_f64().unwrap(), moved["level_now"].as_f64().unwrap());
                assert!((is / was - 1.6).abs() < 0.05, "{moved}");
            }
            ("golden", "firing") => {
                let uncovered = &drift["uncovered"];
                assert_eq!(uncovered, &serde_json::json!([{"label": "route", "value": "legal", "share": 0.25}]));
                assert_eq!((&drift["test"], &drift["reference_n"]), (&"welch".into(), &300.into()));
            }
            _ => {}
        }
    }
}

/// A run of the golden set, whose items are all about billing.
fn golden(topic: &str, app: &str, version: u8, at: i64) {
    let item = |i: usize| {
        let value = 0.8 + (i % 5) as f64 / 25.0;
        serde_json::json!({"id": format!("i{i}"), "slice": "route=billing", "metric": "grounded", "value": value})
    };
    let run = serde_json::json!({
        "kind": "evaluation", "id": format!("run-{app}"), "time": at, "tenant": "acme", "app": app, "suite": "support",
        "suite_version": version.to_string(), "type": "golden_set", "status": "passed", "items": (0..300).map(item).collect::<Vec<_>>(),
    });
    send(topic, at, &[run.to_string()]);
}

/// What was compared with other weeks, and with another app.
fn other_references(database: &Database, present: i64) {
    for (rule, app, expected) in [
        ("weeks", r#"{"app":"moved"}"#, "firing"),
        ("weeks", r#"{"app":"same"}"#, "inactive"),
        ("weeks", r#"{"app":"new"}"#, "insufficient_data"),
        ("beside", "{}", "firing"),
        ("twins", "{}", "inactive"),
    ] {
        let (_, evidence) = wait_for(rule, 60, || match of(database, rule, app)? {
            found if found.0 == expected => Ok(found),
            found => Err(format!("{found:?}")),
        });
        let drift = &evidence["drift"];
        match (rule, expected) {
            ("weeks", "firing") => {
                assert_eq!(drift["reference_words"], "the same time of 2 weeks, together; 2 of them have data");
                assert_eq!(drift["reference_n"], 1_200, "both weeks: {evidence}");
                let from = drift["reference_from"].as_i64().unwrap();
                assert!((present - from - 14 * 24 * 60 * MINUTE).abs() <= 5 * MINUTE, "{evidence}");
            }
            ("beside", _) => {
                assert_eq!((&drift["reference_words"], &drift["reference_n"]), (&"app = same".into(), &600.into()));
            }
            _ => {}
        }
    }
}

/// Two gates: nothing moved. The windows are long past, so the first may be judged before its last calls are in.
/// Too little in its reference: a state that the page shows, not "no drift".
fn settled(database: &Database) {
    for (app, expected) in [("same", "inactive"), ("new", "insufficient_data")] {
        let sql = format!("SELECT state FROM alert WHERE rule = 'moved' AND labels::json->>'app' = '{app}'");
        wait_for(app, 30, || match database.query(&sql)?.first() {
            Some(row) if row[0] == expected => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }
}

fn other_tests(database: &Database) {
    let by = |rule: &str, app: &str| {
        let sql = format!("SELECT state, evidence FROM alert WHERE rule = '{rule}' AND labels::json->>'app' = '{app}'");
        let rows = database.query(&sql).unwrap();
        let evidence: serde_json::Value = serde_json::from_str(&rows[0][1..].join("|")).unwrap();
        (rows[0][0].clone(), evidence)
    };
    for (rule, moved) in [
        ("shape", "firing"),
        ("slower", "firing"),
        ("faster", "inactive"),
        ("failing", "inactive"),
        ("worse", "firing"),
    ] {
        let expected = [moved, "inactive", "insufficient_data"];
        wait_for(rule, 30, || {
            let states = ["moved", "same", "new"].map(|app| by(rule, app).0);
            if states == expected { Ok(()) } else { Err(format!("{states:?}")) }
        });
    }
    let (_, slower) = by("slower", "moved");
    assert_eq!(
        (slower["unit"].as_str(), slower["drift"]["test"].as_str()),
        (Some("milliseconds"), Some("mann_whitney"))
    );
    let (_, worse) = by("worse", "moved");
    let (low, high) = (worse["low"].as_f64().unwrap(), worse["high"].as_f64().unwrap());
    assert!(low < -0.2 && -0.2 < high && worse["unit"] == "score" && worse["n"] == 600, "{worse}");
    assert_eq!((&worse["drift"]["test"], &worse["drift"]["reference_n"]), (&"welch".into(), &2_000.into()));
    // 1.6 times a median of some 160 ms.
    let (low, effect, high) = (slower["low"].as_f64(), slower["value"].as_f64().unwrap(), slower["high"].as_f64());
    assert!((50.0..150.0).contains(&effect) && low.unwrap() < effect && effect < high.unwrap(), "{slower}");
}

/// Both slices end: what was told of them resolves. Of one that ends beside a fixed reference silence proves nothing.
fn ended(database: &Database, topic: &str, start: i64) {
    for minute in 8..14 {
        send(topic, start + minute * MINUTE, &calls(("marker", 1), start + minute * MINUTE, 2, 1.0));
    }
    // The release is rolled back for an hour, which changes no figure.
    send(topic, start + 70 * MINUTE, &calls(("moved", 1), start + 70 * MINUTE, 600, 160.0));
    for minute in 71..78 {
        send(topic, start + minute * MINUTE, &calls(("marker", 1), start + minute * MINUTE, 2, 1.0));
    }
    for rule in ["beside", "release"] {
        let resolved =
            format!("SELECT count(*) FROM finding WHERE rule = '{rule}' AND body LIKE '%\"to\":\"resolved\"%'");
        database.wait_number(rule, 60, &resolved, 1);
    }
    let sql = "SELECT count(*) FROM alert WHERE rule = 'slower' AND state = 'firing'";
    assert_eq!(database.number(sql), 1);
}

/// What the rules compare with: minutes before, and the same minute of two weeks.
fn references(topic: &str, start: i64, present: i64) {
    let week = 7 * 24 * 60 * MINUTE;
    for (at, n) in [(start - 5 * MINUTE, 2_000), (present - week, 600), (present - 2 * week, 600)] {
        for (app, n) in [("moved", n), ("same", n), ("new", 20)] {
            send(topic, at, &calls((app, 1), at, n, 100.0));
        }
    }
}

#[test]
fn a_moved_distribution_is_one_alert_of_three_processes_and_too_little_is_a_state() {
    let (database, topic) = (Database::new(), topic(2));
    let log = std::env::temp_dir().join(unique("drift-hooks"));
    let hook = Tool::start("webhook.py", &[KEY, log.to_str().unwrap(), "204"]);
    // A whole minute, two hours ago: the reference lies before it.
    let start = (now_us() - 120 * MINUTE) / MINUTE * MINUTE;
    let rules = rules(start);
    let processes: Vec<Process> = (0..3)
        .map(|_| {
            let mut node = Node::new(&database, &topic);
            node.rules = rules.clone();
            // The windows are two hours past: by the clock they would be closed before their calls are written.
            node.variables = vec![("LEEWAY_TEST_FAULT".into(), "clock=off".into())];
            node.extra = format!(
                "[scores]\ngrounded = {{ type = \"number\", min = 0.0, max = 1.0 }}\n[[receiver]]\nname = \"hook\"\nwebhook = {{ url = \"{}\", signing_key = \"{KEY}\" }}\n",
                hook.says
            );
            node.start()
        })
        .collect();
    let present = start + 2 * MINUTE;
    references(&topic, start, present);
    golden(&topic, "moved", 3, start - 10 * MINUTE);
    golden(&topic, "same", 4, start - 10 * MINUTE);
    send(&topic, start, &calls(("marker", 1), start, 2, 1.0));
    database.wait_number("a first evaluation", 90, "SELECT count(*) FROM rule_progress", 11);
    for (app, scale) in [("moved", 160.0), ("same", 100.0), ("new", 100.0), ("twin", 100.0)] {
        send(&topic, present, &calls((app, 2), present, 600, scale));
    }
    // Both partitions' watermarks pass the windows that hold the minute.
    for minute in 3..8 {
        send(&topic, start + minute * MINUTE, &calls(("marker", 1), start + minute * MINUTE, 2, 1.0));
    }
    let seen = |app: &str| {
        let sql = format!("SELECT state, evidence FROM alert WHERE rule = 'moved' AND labels::json->>'app' = '{app}'");
        let rows = database.query(&sql)?;
        rows.first().map(|row| (row[0].clone(), row[1..].join("|"))).ok_or_else(|| "no instance".to_owned())
    };
    let hooks = wait_for("the alert", 90, || match json_lines(&log) {
        hooks if hooks.is_empty() => Err(format!("{:?} {:?}", seen("moved"), seen("new"))),
        hooks => Ok(hooks),
    });
    let evidence = &hooks[0]["body"]["data"]["evidence"];
    assert_eq!(evidence["measure"], "duration_ms");
    let (effect, p) = (evidence["value"].as_f64().unwrap(), evidence["drift"]["p"].as_f64().unwrap());
    assert!(effect > 0.1 && p < 1e-6, "{evidence}");
    assert!(evidence["interval_95"]["low"].as_f64().unwrap() < effect, "{evidence}");
    assert_eq!(evidence["drift"]["reference_n"], 2_000);
    settled(&database);
    other_tests(&database);
    other_references(&database, present);
    releases_and_golden_sets(&database);
    ended(&database, &topic, start);
    // Three evaluators and three couriers, one alert: told once, found once.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let told = json_lines(&log).iter().filter(|hook| hook["body"]["data"]["status"] == "firing").count();
    assert_eq!(
        (
            told,
            database.number("SELECT count(*) FROM finding WHERE rule = 'moved' AND body LIKE '%\"to\":\"firing\"%'")
        ),
        (1, 1)
    );
    assert_eq!(database.number("SELECT count(DISTINCT name) FROM lease WHERE name = 'evaluate'"), 1);
    drop(processes);
}
