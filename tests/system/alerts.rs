//! Alerts end to end: states, one notice under one key, a real webhook library, a real mail server, kill -9.

use std::path::PathBuf;

use leeway_core::alert::{AlertLabels, Evidence, Notice, Severity, State, notice_id};
use leeway_core::measure::Unit;

use crate::harness::{
    Database, KEY, Node, Process, Tool, block, call, json_lines, now_us, produce, topic, unique, wait_for,
};
use crate::traces::database_ready;

const MINUTE: i64 = 60_000_000;

const RULE: &str = r#"
[[rule]]
id = "slow"
kind = "threshold"
measure = "duration_ms"
quantile = 0.95
by = ["app"]
window = "1m"
above = 1000
for = "3m"
min_events = 10
severity = "page"
receivers = ["hook"]
annotations = { summary = "answers are slow", runbook = "https://example.com/slow" }
"#;

fn log() -> PathBuf {
    std::env::temp_dir().join(unique("log"))
}

fn hook_receiver(url: &str) -> String {
    format!("[[receiver]]\nname = \"hook\"\nwebhook = {{ url = \"{url}\", signing_key = \"{KEY}\" }}\n")
}

/// One minute of calls in both partitions; 30 s more move the watermark past the minute's end.
fn minute(topic: &str, start: i64, number: i64, slow: bool) {
    let from = start + number * MINUTE;
    let duration = if slow { 5000.0 } else { 20.0 };
    let calls: Vec<(i32, i64, String)> = (0..60)
        .map(|i| {
            (
                i as i32 % 2,
                from + i * 1_000_000,
                call(&format!("m{number}-{i}"), from + i * 1_000_000, "shop", duration),
            )
        })
        .collect();
    produce(topic, calls.iter().map(|(partition, at, text)| (*partition, *at, text.as_bytes())));
}

fn state(database: &Database) -> Result<Vec<String>, String> {
    let rows = database.query("SELECT state, COALESCE(active_at, 0), COALESCE(fired_at, 0), COALESCE(resolved_at, 0), last_at FROM alert WHERE rule = 'slow'")?;
    rows.into_iter().next().ok_or_else(|| "no instance".to_owned())
}

fn wait_state(database: &Database, expected: &str) -> Vec<String> {
    wait_for(expected, 60, || {
        state(database).and_then(|row| if row[0] == expected { Ok(row) } else { Err(format!("{row:?}")) })
    })
}

fn wait_through(database: &Database, at: i64) {
    wait_for("the evaluation", 60, || {
        let rows = database.query("SELECT through FROM rule_progress WHERE rule = 'slow'")?;
        let through: i64 = rows.first().and_then(|row| row[0].parse().ok()).unwrap_or(0);
        if through >= at { Ok(()) } else { Err(format!("through {through}, waiting for {at}")) }
    });
}

/// Tells one incident to a running Leeway, killing it while the alert is pending if asked.
fn incident(kill: bool) -> (Vec<String>, Vec<serde_json::Value>) {
    let (database, topic, log) = (Database::new(), topic(2), log());
    let hook = Tool::start("webhook.py", &[KEY, log.to_str().unwrap(), "204"]);
    let mut node = Node::new(&database, &topic);
    node.rules = RULE.into();
    node.extra = hook_receiver(&hook.says);
    // The same minutes relative to a fixed start, so both stories have the same event times.
    let start = (now_us() - 40 * MINUTE) / (30 * MINUTE) * (30 * MINUTE);
    node.variables = vec![("LEEWAY_TEST_FAULT".into(), "clock=off".into())];
    let mut process: Process = node.start();
    database_ready(&database);
    minute(&topic, start, 0, false);
    wait_for("the first evaluation", 60, || {
        database
            .query("SELECT through FROM rule_progress")
            .and_then(|rows| rows.first().map(|_| ()).ok_or_else(|| "none".into()))
    });
    for number in 1..4 {
        minute(&topic, start, number, number == 3);
    }
    minute(&topic, start, 4, true);
    wait_state(&database, "pending");
    if kill {
        process.kill();
        process = node.start();
    }
    for number in 5..9 {
        minute(&topic, start, number, true);
    }
    let fired = wait_state(&database, "firing");
    for number in 9..12 {
        minute(&topic, start, number, false);
    }
    wait_state(&database, "resolved");
    wait_through(&database, start + 11 * MINUTE);
    let requests = wait_for("the webhooks", 30, || {
        let lines = json_lines(&log);
        if lines.len() >= 2 { Ok(lines) } else { Err(format!("{lines:?}")) }
    });
    assert!(process.interrupt());
    let row = state(&database).unwrap();
    assert_eq!(fired[1..3], row[1..3]);
    let relative: Vec<String> =
        row[1..4].iter().map(|at| ((at.parse::<i64>().unwrap() - start) / MINUTE).to_string()).collect();
    (relative, requests)
}

#[test]
fn a_kill_while_pending_changes_neither_the_alert_nor_its_time() {
    let (calm, calm_requests) = incident(false);
    let (killed, killed_requests) = incident(true);
    // Slow from minute 3 on, so the window that ends at minute 4 is the first bad one; `for = 3m` fires at 7; calm from 9.
    assert_eq!(calm, ["4", "7", "10"]);
    assert_eq!(killed, calm);
    for requests in [calm_requests, killed_requests] {
        let kinds: Vec<&str> = requests.iter().map(|r| r["body"]["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["leeway.alert.firing", "leeway.alert.resolved"], "one notice each");
        assert!(requests.iter().all(|r| r["verified"] == true), "{requests:?}");
        let evidence = &requests[0]["body"]["data"]["evidence"];
        assert!(evidence["value"].as_f64().unwrap() > 4900.0 && evidence["n"] == 60, "{evidence}");
        assert_eq!(requests[0]["body"]["data"]["links"]["runbook"], "https://example.com/slow");
    }
}

#[test]
fn an_alert_whose_rule_is_removed_is_resolved_for_its_receiver() {
    let (database, topic, log) = (Database::new(), topic(2), log());
    let hook = Tool::start("webhook.py", &[KEY, log.to_str().unwrap(), "204"]);
    let mut node = Node::new(&database, &topic);
    node.rules = RULE.replace("\"3m\"", "\"0s\"");
    node.extra = hook_receiver(&hook.says);
    let start = (now_us() - 40 * MINUTE) / (30 * MINUTE) * (30 * MINUTE);
    node.variables = vec![("LEEWAY_TEST_FAULT".into(), "clock=off".into())];
    let mut process = node.start();
    database_ready(&database);
    minute(&topic, start, 0, false);
    wait_for("the first evaluation", 60, || {
        database
            .query("SELECT through FROM rule_progress")
            .and_then(|rows| rows.first().map(|_| ()).ok_or_else(|| "none".into()))
    });
    (1..4).for_each(|number| minute(&topic, start, number, true));
    wait_state(&database, "firing");
    assert!(process.interrupt());
    node.rules = String::new();
    let _without = node.start();
    wait_state(&database, "resolved");
    let kinds = wait_for("both notices", 30, || {
        let lines = json_lines(&log);
        if lines.len() == 2 { Ok(lines[1]["body"]["type"].clone()) } else { Err(format!("{}", lines.len())) }
    });
    assert_eq!(kinds, "leeway.alert.resolved");
}

#[test]
fn a_process_that_dies_between_post_and_mark_sends_the_same_key_again() {
    let (database, log) = (Database::new(), log());
    let topic = topic(1);
    let hook = Tool::start("webhook.py", &[KEY, log.to_str().unwrap(), "204"]);
    let mut node = Node::new(&database, &topic);
    node.extra = hook_receiver(&hook.says);
    node.variables = vec![("LEEWAY_TEST_FAULT".into(), "after_post=abort".into())];
    let mut dying = node.start();
    database_ready(&database);
    post(&database, &notice("hook", 1, State::Firing), now_us());
    dying.ended(30);
    assert_eq!(json_lines(&log).len(), 1);
    // The dead courier's claim runs out after a minute; the test lets it run out now.
    database.query("UPDATE notice SET claimed_until = 0").unwrap();
    node.variables.clear();
    let _process = node.start();
    let lines =
        wait_for("the second post", 60, || Some(json_lines(&log)).filter(|l| l.len() == 2).ok_or_else(|| "one".into()));
    assert_eq!(lines[0]["id"], lines[1]["id"]);
    wait_for("the mark", 20, || {
        database
            .query("SELECT state FROM notice")
            .and_then(|r| if r[0][0] == "sent" { Ok(()) } else { Err(format!("{r:?}")) })
    });
}

fn notice(receiver: &str, sequence: u64, status: State) -> Notice {
    let at = 1_795_225_500_000_000;
    let evidence = Evidence {
        measure: "duration_ms".into(),
        quantile: Some(0.95),
        unit: Unit::Milliseconds,
        value: Some(8200.0),
        low: Some(7900.0),
        high: Some(8600.0),
        sketch_error: 0.0078,
        n: 812,
        direction: "above".into(),
        threshold: 4000.0,
        min_events: 100,
        window_start: at - 5 * MINUTE,
        window_end: at,
        coverage: 1.0,
        drift: None,
        usual: None,
        moved: None,
    };
    Notice {
        id: notice_id("g:abc", receiver, sequence),
        group_key: "g:abc".into(),
        receiver: receiver.into(),
        sequence,
        status,
        reason: "test".into(),
        severity: Severity::Page,
        title: "acme / shop: answers are slow ünï".into(),
        rule: "slow".into(),
        rule_version: "1".into(),
        fingerprint: "abc".into(),
        labels: AlertLabels::from([("app".into(), "shop".into())]),
        annotations: Default::default(),
        active_at: at,
        fired_at: at,
        resolved_at: (status == State::Resolved).then_some(at + MINUTE),
        detected_at: at,
        evidence,
        links: [("alert".to_owned(), "http://127.0.0.1/alerts/abc".to_owned())].into(),
        simulated: false,
        replies_to: (sequence > 1).then(|| notice_id("g:abc", receiver, 1)),
    }
}

fn post(database: &Database, notice: &Notice, created_at: i64) {
    block(async {
        let store = leeway_store::Store::open(&leeway_store::Location::Postgres(database.url.clone())).await.unwrap();
        store.post(notice, created_at).await.unwrap();
        store.close().await;
    });
}

#[test]
fn an_old_notice_is_stamped_anew_and_every_attempt_carries_one_key() {
    let (database, log) = (Database::new(), log());
    let topic = topic(1);
    // Busy, then asks to wait 2 s, then accepts.
    let hook = Tool::start("webhook.py", &[KEY, log.to_str().unwrap(), "503,429:2,204"]);
    let mut node = Node::new(&database, &topic);
    node.extra = hook_receiver(&hook.says);
    let _process = node.start();
    database_ready(&database);
    post(&database, &notice("hook", 1, State::Firing), now_us() - 10 * MINUTE);
    let lines = wait_for("three attempts", 60, || {
        Some(json_lines(&log)).filter(|l| l.len() == 3).ok_or_else(|| format!("{:?}", json_lines(&log)))
    });
    assert!(
        lines.iter().all(|line| line["verified"] == true),
        "PyPI standardwebhooks accepts a notice made ten minutes ago: {lines:?}"
    );
    assert!(lines.iter().all(|line| line["id"] == lines[0]["id"]));
    let stamp = |i: usize| lines[i]["timestamp"].as_i64().unwrap();
    assert!((now_us() / 1_000_000 - stamp(2)).abs() < 60);
    assert!(stamp(2) - stamp(1) >= 2, "Retry-After is obeyed: {} then {}", stamp(1), stamp(2));
    assert!(lines[0]["user_agent"].as_str().unwrap().starts_with("Leeway/"));
    let outcomes = wait_for("the log", 20, || {
        database
            .query("SELECT outcome, code FROM delivery ORDER BY attempt")
            .and_then(|rows| if rows.len() == 3 { Ok(rows) } else { Err(format!("{rows:?}")) })
    });
    assert_eq!(outcomes, [["retry", "503"], ["retry", "429"], ["accepted", "204"]]);
}

#[test]
fn gone_and_refused_receivers_are_left_alone() {
    let (database, log) = (Database::new(), log());
    let topic = topic(1);
    let hook = Tool::start("webhook.py", &[KEY, log.to_str().unwrap(), "400,410"]);
    let mut node = Node::new(&database, &topic);
    node.extra = hook_receiver(&hook.says);
    let _process = node.start();
    database_ready(&database);
    for sequence in 1..4 {
        post(&database, &notice("hook", sequence, State::Firing), now_us());
    }
    wait_for("the refusals", 30, || {
        let rows = database.query("SELECT state FROM notice ORDER BY sequence")?;
        if rows == [["failed"], ["failed"], ["waiting"]] { Ok(()) } else { Err(format!("{rows:?}")) }
    });
    assert_eq!(
        database.query("SELECT receiver FROM receiver_state WHERE disabled_at IS NOT NULL").unwrap(),
        [["hook"]]
    );
    assert_eq!(json_lines(&log).len(), 2, "400 is not retried, and after 410 nothing is sent");
}

#[test]
fn mails_are_read_back_from_a_real_server_and_thread() {
    let (database, log) = (Database::new(), log());
    let topic = topic(1);
    let smtp = Tool::start("smtp.py", &[log.to_str().unwrap()]);
    let mut node = Node::new(&database, &topic);
    node.extra = format!(
        "[smtp]\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nfrom = \"Leeway <leeway@example.com>\"\n\
         [[receiver]]\nname = \"mail\"\nemail = {{ to = [\"ops@example.com\", \"lead@example.com\"] }}\n",
        smtp.says
    );
    let _process = node.start();
    database_ready(&database);
    post(&database, &notice("mail", 1, State::Firing), now_us());
    post(&database, &notice("mail", 2, State::Resolved), now_us());
    let mails = wait_for("two mails", 60, || {
        Some(json_lines(&log)).filter(|l| l.len() == 2).ok_or_else(|| format!("{:?}", json_lines(&log)))
    });
    let header = |i: usize, name: &str| mails[i]["headers"][name].as_str().unwrap_or("").to_owned();
    assert_eq!(header(0, "Message-ID"), format!("<{}@example.com>", notice_id("g:abc", "mail", 1)));
    assert_eq!(
        header(1, "In-Reply-To"),
        header(0, "Message-ID"),
        "the resolve, sent second, threads under its trigger"
    );
    assert!(header(1, "References").contains(&header(0, "Message-ID")));
    assert_eq!(header(0, "Subject"), header(1, "Subject"));
    assert!(header(0, "Subject").contains("answers are slow ünï"), "{}", header(0, "Subject"));
    assert_eq!(
        (mails[0]["type"].as_str(), header(0, "Auto-Submitted").as_str()),
        (Some("multipart/alternative"), "auto-generated")
    );
    assert_eq!(mails[0]["to"], serde_json::json!(["ops@example.com", "lead@example.com"]));
    for part in ["text", "html"] {
        let text = mails[1][part].as_str().unwrap();
        for fact in ["8.20 s", "7.90 s to 8.60 s", "812 (the rule asks for", "app = shop", "Resolved at"] {
            assert!(text.contains(fact), "{part} lacks {fact}: {text}");
        }
    }
    let attempts = database.query("SELECT outcome, code FROM delivery ORDER BY at, attempt").unwrap();
    assert_eq!(attempts[0], ["retry", "451"], "the server's 451 was retried");
}
