//! How answers end and how calls fail, through the whole system: tables against other times, single shares against bounds, and which failures an
//! alert about failures is made of.

use crate::harness::{Database, Node, address, call, get, kafka, leeway, now_us, refused, topic, two_windows, unique};

const MINUTE: i64 = 60_000_000;

/// Calls of which nine in a hundred meet a rate limit; of those of the present eleven more time out, and ten are cut on the route that sums up.
fn calls(at: i64, (name, n): (&str, usize), present: bool) -> Vec<String> {
    let one = |i: usize| {
        // Spread over the hundred.
        let (failing, ending) = (i * 53 % 100, i * 37 % 100);
        let (reason, route) = match ending {
            // Gemini's word for it.
            0..10 if present => ("FinishReason.MAX_TOKENS", "summary"),
            0..2 => ("length", "chat"),
            2..30 => ("tool_use", "chat"),
            _ => ("stop", "chat"),
        };
        let call = call(&format!("{name}-{i}"), at + i as i64 * 20_000, "shop", 100.0);
        let failure = match failing {
            0..9 => "rate_limit",
            9..20 if present => "timeout",
            _ => {
                let told = format!("\"route\":\"{route}\",\"finish_reasons\":[\"{reason}\"],\"status\"");
                return call.replacen("\"status\"", &told, 1);
            }
        };
        call.replacen(
            "\"status\":\"ok\"",
            &format!("\"route\":\"chat\",\"status\":\"error\",\"error_class\":\"{failure}\""),
            1,
        )
    };
    (0..n).map(one).collect()
}

fn rules(start: i64) -> String {
    let time = |at: i64| leeway_core::clock::rfc3339(at);
    let reference = format!("{{ from = \"{}\", to = \"{}\" }}", time(start - 10 * MINUTE), time(start));
    let drift = |table: &str, more: &str| {
        format!(
            "[[rule]]\nid = \"{table}\"\nkind = \"drift\"\nmeasure = \"{table}\"\nby = [\"app\"]\nwindow = \"5m\"\nreference = {reference}\nseverity = \"ticket\"\n{more}\n\n"
        )
    };
    let bound = |id: &str, measure: &str, bound: &str| {
        format!(
            "[[rule]]\nid = \"{id}\"\nkind = \"threshold\"\nmeasure = \"{measure}\"\nby = [\"app\"]\nwindow = \"5m\"\n{bound}\nseverity = \"page\"\n\n"
        )
    };
    [
        drift("finish_reasons", ""),
        drift("error_classes", "test = \"g\"\nmin_events = 50"),
        bound("cut", "finish.length", "above = 0.05"),
        bound("timeouts", "error.timeout", "above = 0.05"),
        bound("failures", "error_rate", "above = 0.15"),
        bound("filtered", "finish.content_filter", "above = 0.001"),
    ]
    .concat()
}

#[test]
fn how_answers_end_and_calls_fail_is_told() {
    kafka();
    let (database, topic) = (Database::new(), topic(2));
    let start = (now_us() - 120 * MINUTE) / MINUTE * MINUTE;
    let mut node = Node::new(&database, &topic);
    node.rules = rules(start);
    node.variables = vec![("LEEWAY_TEST_FAULT".into(), "clock=off".into())];
    let process = node.start();
    two_windows((&database, &topic, 6), start, calls, 1_000);

    let ended = database.evidence("finish_reasons", "firing");
    // Of the calls that did not fail: 1.1 % were cut off, and 8.75 % are now.
    let (value, low, high) = (&ended["value"], ended["low"].as_f64().unwrap(), ended["high"].as_f64().unwrap());
    assert!((0.06..0.08).contains(&value.as_f64().unwrap()) && 0.0 < low && low < 0.06 && 0.09 < high, "{ended:#}");
    assert_eq!((&ended["unit"], &ended["drift"]["test"]), (&"share".into(), &"total_variation".into()));
    let share = &ended["drift"]["shares"][0];
    assert_eq!(share["category"], "length", "{ended:#}");
    assert_eq!((&ended["moved"]["label"], &ended["moved"]["figure"]), (&"route".into(), &"finish.length".into()));
    let failed = database.evidence("error_classes", "firing");
    assert_eq!((&failed["n"], &failed["drift"]["reference_n"]), (&200.into(), &90.into()), "{failed:#}");
    assert_eq!(failed["drift"]["test"], "g");

    let timeouts = database.evidence("timeouts", "firing");
    assert_eq!((&timeouts["value"], &timeouts["n"]), (&0.11.into(), &1_000.into()), "{timeouts:#}");
    assert!(database.evidence("cut", "firing")["n"].as_u64().unwrap() < 1_000, "of those that told a reason");
    let filtered = database.evidence("filtered", "inactive");
    assert_eq!((&filtered["value"], filtered["high"].as_f64().map(|high| high < 0.01)), (&0.0.into(), Some(true)));
    let rate = database.evidence("failures", "firing");
    let classes: Vec<(&str, f64)> = rate["moved"]["failures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|class| (class["value"].as_str().unwrap(), class["now"].as_f64().unwrap()))
        .collect();
    assert_eq!(classes, [("timeout", 0.11), ("rate_limit", 0.09)], "{rate:#}");

    let url = address(&process);
    let page = |rule: &str| {
        let print =
            database.query(&format!("SELECT fingerprint FROM alert WHERE rule = '{rule}'")).unwrap()[0][0].clone();
        let page = get(&format!("{url}/alerts/{print}"));
        std::fs::write(
            std::path::Path::new(&std::env::var("LEEWAY_TEST_OUT").unwrap()).join(format!("tables-{rule}.html")),
            &page,
        )
        .unwrap();
        page
    };
    assert!(page("finish_reasons").contains("length 8.75 % (was 1.10 %)"));
    let shown = page("failures");
    assert!(shown.contains("timeout: 11.00 % of calls") && shown.contains("55 % of the failed ones"), "{shown}");
    let overview = get(&format!("{url}/api/v1/overview"));
    assert!(!overview.contains("finish.error"), "nothing ended so: {overview}");
    verified(&database, &node);
}

/// From the store the findings come out the same, bit by bit.
fn verified(database: &Database, node: &Node) {
    let rules = std::env::temp_dir().join(unique("rules"));
    std::fs::write(&rules, &node.rules).unwrap();
    for rule in ["finish_reasons", "error_classes", "cut"] {
        let id = database.query(&format!("SELECT id FROM finding WHERE rule = '{rule}'")).unwrap()[0][0].clone();
        let mut command = std::process::Command::new(leeway());
        command.args(["finding", "verify", &id, "--rules"]).arg(&rules).env("LEEWAY_STORE__URL", &database.url);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn what_a_table_cannot_be_asked_is_said() {
    let rule = |more: &str| format!("[[rule]]\nid = \"r\"\nmeasure = \"finish_reasons\"\nseverity = \"page\"\n{more}");
    for (text, says) in [
        (rule("kind = \"threshold\"\nabove = 0.1\n"), "measure `finish_reasons` goes with rules of kind `drift` alone"),
        (rule("kind = \"anomaly\"\n"), "measure `finish_reasons` goes with rules of kind `drift` alone"),
        (
            rule("kind = \"drift\"\nreference = \"previous_week\"\ntest = \"fisher\"\n"),
            "chi_square, g, jensen_shannon, hellinger, total_variation",
        ),
        (
            rule("kind = \"drift\"\nreference = \"previous_week\"\ndirection = \"up\"\n"),
            "`direction` goes with tests whose effect has a sign",
        ),
        (
            "[[rule]]\nid = \"r\"\nmeasure = \"finish.lenght\"\nkind = \"threshold\"\nseverity = \"page\"\nabove = 1\n"
                .to_owned(),
            "tool_call, content_filter",
        ),
        (
            "[[rule]]\nid = \"r\"\nmeasure = \"error.429\"\nkind = \"threshold\"\nseverity = \"page\"\nabove = 1\n"
                .to_owned(),
            "rate_limit, timeout",
        ),
    ] {
        let error = refused(&text, "");
        assert!(error.contains(says), "{text}: {error}");
    }
}
