//! Drift of words through the whole system: what is asked and what is said of failures is told by its words, and no other text is kept.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use crate::harness::{
    Database, Node, address, call, get, kafka, leeway, now_us, produce, refused, topic, two_windows, unique,
};

const MINUTE: i64 = 60_000_000;
/// In no list.
const UNLISTED: &str = "zirkonquast";

/// Calls that ask what people ask; of every hundred `refunds` ask for money back, all on one route, and `long` fail since they are too long.
fn calls(at: impl Fn(usize) -> i64, (name, n): (&str, usize), (refunds, long): (usize, usize)) -> Vec<String> {
    const ASKED: [&str; 5] = [
        "When will my order arrive at the new address?",
        "Please reset the password of my account, thanks!",
        "How do I change the date of my flight to Berlin?",
        "The invoice of last month shows the wrong total.",
        "Explain this function: it returns a list of integers.",
    ];
    let one = |i: usize| {
        // Spread over the hundred.
        let place = i * 37 % 100;
        let refund = place < refunds;
        let asked = if refund {
            format!("I want a refund for the damaged Acme {UNLISTED} that I bought")
        } else {
            ASKED[i % ASKED.len()].to_owned()
        };
        let route = if refund { "returns" } else { "chat" };
        let call = call(&format!("{name}-{i}"), at(i), "shop", 100.0);
        let text = serde_json::json!({"input": asked, "output": "Of course, I can help you with that question today."});
        let call = call.replacen("\"status\"", &format!("\"route\":\"{route}\",\"text\":{text},\"status\""), 1);
        let failure = match i * 53 % 100 {
            failing if failing < long => "context_length_exceeded: too many tokens",
            failing if failing < 20 => "rate limit: retry later",
            _ => return call,
        };
        call.replacen("\"status\":\"ok\"", &format!("\"status\":\"error\",\"error_type\":\"{failure}\""), 1)
    };
    (0..n).map(one).collect()
}

fn rules(start: i64) -> String {
    let time = |at: i64| leeway_core::clock::rfc3339(at);
    let reference = format!("{{ from = \"{}\", to = \"{}\" }}", time(start - 10 * MINUTE), time(start));
    ["input", "output", "failure"]
        .map(|of| {
            format!(
                "[[rule]]\nid = \"{of}\"\nkind = \"drift\"\nmeasure = \"words.{of}\"\nby = [\"app\"]\nwindow = \"5m\"\nreference = {reference}\nseverity = \"ticket\"\n\n"
            )
        })
        .concat()
}

#[test]
fn what_is_asked_and_what_fails_is_told_by_its_words() {
    kafka();
    let (database, topic) = (Database::new(), topic(2));
    let start = (now_us() - 120 * MINUTE) / MINUTE * MINUTE;
    let mut node = Node::new(&database, &topic);
    node.rules = rules(start);
    node.variables = vec![("LEEWAY_TEST_FAULT".into(), "clock=off".into())];
    node.extra = "[scan]\nexamine_every = 1\nwords = true\nown_words = [\"Acme\"]\n".into();
    let process = node.start();
    // Of what asks for money back and what is too long.
    let of_hundred = |name: &str, present: bool| match (present, name) {
        (true, _) => (30, 15),
        (false, "before") => (4, 2),
        _ => (0, 0),
    };
    two_windows(
        (&database, &topic, 3),
        start,
        |at, of, present| calls(|i| at + i as i64 * 20_000, of, of_hundred(of.0, present)),
        600,
    );
    let asked = database.evidence("input", "firing");
    let (drift, words) = (&asked["drift"], &asked["drift"]["words"]);
    let named = |words: &Value| -> Vec<String> {
        words["moved"].as_array().unwrap().iter().map(|word| word["word"].as_str().unwrap().to_owned()).collect()
    };
    println!("  {}", serde_json::to_string(words).unwrap());
    let told = named(words);
    for word in ["refund", "acme", "damaged", "bought"] {
        assert!(told.iter().any(|told| told == word), "{word}: {told:?}");
    }
    assert!(words["passed"] == true && told[0] == "acme", "{words}");
    let (low, high) = (asked["low"].as_f64().unwrap(), asked["high"].as_f64().unwrap());
    assert!(low > 0.05 && low < 0.26 && 0.26 < high && drift["p"].as_f64().unwrap() < 1e-6, "{asked:#}");
    assert_eq!((&drift["reference_n"], &asked["unit"]), (&600.into(), &"share".into()));
    // Where they come from.
    assert_eq!(asked["moved"]["label"], "route", "{asked:#}");
    let failing = database.evidence("failure", "firing");
    assert!(named(&failing["drift"]["words"]).iter().any(|word| word == "exceeded"), "{failing:#}");
    assert_eq!(failing["n"], 120);
    let answered = database.evidence("output", "inactive");
    assert_eq!(answered["drift"]["words"]["passed"], false);
    told_to_people(&address(&process), &database);
    // Neither the text nor a word outside the list is kept anywhere.
    for table in ["pane_hour", "pane_delta", "alert", "finding", "notice", "series"] {
        let rows = database.query(&format!("SELECT * FROM {table}")).unwrap();
        let all = rows.concat().join("|");
        let hex: String = UNLISTED.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert!(!all.contains(UNLISTED) && !all.contains(&hex), "{table}");
    }
}

/// Twenty minutes of calls beside twenty others: how far a classifier tells them apart, and by which words.
#[test]
fn a_classifier_says_how_far_two_times_are_told_apart_and_by_which_words() {
    const CALLS: usize = 1_000;
    kafka();
    let (database, topic) = (Database::new(), topic(2));
    let start = (now_us() - 120 * MINUTE) / MINUTE * MINUTE;
    let mut node = Node::new(&database, &topic);
    let time = |at: i64| leeway_core::clock::rfc3339(at);
    let reference = format!("{{ from = \"{}\", to = \"{}\" }}", time(start - 20 * MINUTE), time(start));
    let rule = |of: &str| {
        format!(
            "[[rule]]\nid = \"{of}\"\nkind = \"drift\"\ntest = \"classifier\"\nalpha = 0.05\nmeasure = \"words.{of}\"\nby = [\"app\"]\nwindow = \"20m\"\nreference = {reference}\nseverity = \"ticket\"\n\n"
        )
    };
    node.rules = ["input", "output"].map(rule).concat();
    node.variables = vec![("LEEWAY_TEST_FAULT".into(), "clock=off".into())];
    node.extra = "[scan]\nexamine_every = 1\nwords = true\n".into();
    let process = node.start();
    // By chance around when they are sent: dealt out evenly minutes would be more alike than chance makes them.
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let tossed: Vec<i64> = (0..CALLS).map(|_| rng.random_range(-5 * MINUTE..5 * MINUTE)).collect();
    let spread = |at: i64, of: (&str, usize), present: bool| match of.0 {
        // Of the present half comes later; what was before began earlier.
        "before" => calls(|i| at + tossed[i] * 2 - 5 * MINUTE, of, (4, 0)),
        "now" | "later" => calls(|i| at + tossed[i], of, (30, if present { 2 } else { 0 })),
        _ => calls(|_| at, of, (0, 0)),
    };
    two_windows((&database, &topic, 2), start, spread, CALLS);
    let later = spread(start + 16 * MINUTE, ("later", CALLS), true);
    let sent = start + 16 * MINUTE;
    produce(&topic, later.iter().enumerate().map(|(i, call)| ((i % 2) as i32, sent, call.as_bytes())));
    for at in [22, 23].map(|minutes| start + minutes * MINUTE) {
        let last = calls(|_| at, (&format!("last-{at}"), 2), (0, 0));
        produce(&topic, last.iter().enumerate().map(|(i, call)| (i as i32, at, call.as_bytes())));
    }
    let asked = database.evidence("input", "firing");
    let (drift, words) = (&asked["drift"], &asked["drift"]["words"]);
    let told: Vec<&str> = words["moved"].as_array().unwrap().iter().filter_map(|word| word["word"].as_str()).collect();
    println!("  {} {} {} {words}", asked["value"], asked["low"], drift["p"]);
    // A quarter of the texts is of another kind: 0.26 in deviations of what is asked of in 4 to 30 of a hundred is 0.74; less in a window that holds some of before.
    let (effect, low) = (asked["value"].as_f64().unwrap(), asked["low"].as_f64().unwrap());
    assert!((0.2..1.6).contains(&effect) && low < 0.74, "{asked:#}");
    assert!(drift["p"].as_f64().unwrap() <= 0.05 && words["passed"] == true, "{asked:#}");
    assert!(["refund", "damaged", "bought"].iter().all(|word| told.contains(word)), "{told:?}");
    assert_eq!((&drift["test"], &asked["moved"]["label"]), (&"classifier".into(), &"route".into()), "{asked:#}");
    // What is answered is always the same.
    let answered = database.evidence("output", "inactive");
    assert_eq!((&answered["value"], &answered["drift"]["p"]), (&0.0.into(), &1.0.into()), "{answered:#}");
    let print = database.query("SELECT fingerprint FROM alert WHERE rule = 'input'").unwrap()[0][0].clone();
    let page = get(&format!("{}/alerts/{print}", address(&process)));
    // From the store it comes out the same, bit by bit.
    let id = database.query("SELECT id FROM finding WHERE rule = 'input'").unwrap()[0][0].clone();
    let rules = std::env::temp_dir().join(unique("rules"));
    std::fs::write(&rules, &node.rules).unwrap();
    let mut command = std::process::Command::new(leeway());
    command.args(["finding", "verify", &id, "--rules"]).arg(&rules).env("LEEWAY_STORE__URL", &database.url);
    let output = command.env("LEEWAY_SCAN__WORDS", "true").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::write(std::path::Path::new(&std::env::var("LEEWAY_TEST_OUT").unwrap()).join("classifier.html"), &page)
        .unwrap();
    assert!(page.contains("domain classifier of words") && page.contains("told apart most by `"), "{page}");
}

/// The alert's page says the words.
fn told_to_people(url: &str, database: &Database) {
    let print = database.query("SELECT fingerprint FROM alert WHERE rule = 'input'").unwrap()[0][0].clone();
    let page = get(&format!("{url}/alerts/{print}"));
    assert!(page.contains("`refund` 30.0 % (4.0 %)"), "{page}");
    std::fs::write(std::path::Path::new(&std::env::var("LEEWAY_TEST_OUT").unwrap()).join("words.html"), page).unwrap();
}

#[test]
fn words_are_counted_only_where_the_settings_say_so() {
    for (scan, says) in [
        ("", "rule input: `words.input` is counted only where the settings say scan.words = true"),
        (
            "[scan]\nwords = true\nexamine_every = 0\n",
            "`words.input` is counted only where the settings say scan.examine_every of 1 or more",
        ),
        ("[scan]\nwords = true\ncontent_free = true\n", "which scan.content_free forbids"),
        ("[scan]\nwords = true\nown_words = [\"two words\"]\n", "scan.own_words: `two words` is not one word"),
    ] {
        let error = refused(&rules(now_us()), scan);
        assert!(error.contains(says), "{scan}: {error}");
    }
}
