//! Anomaly rules through the whole system: what is usual is learnt from the store, a change is told once with its time and
//! size, and whoever dies meanwhile changes no bit of it.

use std::io::Write;
use std::path::{Path, PathBuf};

use leeway_core::clock::rfc3339;
use serde_json::Value;

use crate::harness::{Database, Node, call, get, kafka, leeway, now_us, produce, topic, unique, wait_for};
use crate::traces::database_ready;

const MINUTE: i64 = 60_000_000;
const BLOCK: i64 = 15 * MINUTE;
const DAY: i64 = 24 * 60 * MINUTE;
/// Calls of an app in a block.
const EACH: usize = 30;
/// Every hour of the week was seen, the day before left out.
const HISTORY: i64 = 9 * DAY;

/// So long before the end all calls of an app fail, for three blocks.
const SUDDEN: i64 = 8 * BLOCK;

/// A number in [0, 1) by its place (SplitMix64).
fn chance(seed: u64) -> f64 {
    let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

/// One block of one app: lognormal durations with a daily wave, a share of failures.
fn block(app: &str, (now, at): (i64, i64), failing: f64, slower: f64) -> Vec<(i64, String)> {
    let wave = 0.2 * (std::f64::consts::TAU * (at as f64 / (24.0 * 60.0 * MINUTE as f64))).sin();
    let one = |i: usize| {
        // The same numbers whenever the test runs.
        let seed = ((now - at) / BLOCK) as u64 * 1_000 + i as u64 * 7 + app.len() as u64 * 1_000_003;
        let (u, v, w) = (chance(seed), chance(seed + 1), chance(seed + 2));
        let normal = (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos();
        let time = at + i as i64 * (BLOCK / EACH as i64);
        let text = call(&format!("{app}-{at}-{i}"), time, app, slower * 400.0 * (wave + 0.5 * normal).exp());
        // What is slower is worse by a tenth.
        let score = 0.7 + 0.25 * chance(seed + 3) - if slower > 1.0 { 0.1 } else { 0.0 };
        let scores = format!("\"scores\":[{{\"name\":\"grounded\",\"value\":{score:.4},\"source\":\"model\"}}],");
        let text = text.replacen("\"status\"", &format!("{scores}\"status\""), 1);
        let failed = w < failing;
        (
            time,
            if failed {
                text.replace("\"status\":\"ok\"", "\"status\":\"error\",\"error_type\":\"timeout\"")
            } else {
                text
            },
        )
    };
    (0..EACH).map(one).collect()
}

/// Into the topic, and into a file as well.
fn write((topic, file): (&str, &Path), mut calls: Vec<(i64, String)>) {
    calls.sort();
    let mut lines = std::fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
    let text: Vec<&str> = calls.iter().map(|(_, text)| text.as_str()).collect();
    lines.write_all((text.join("\n") + "\n").as_bytes()).unwrap();
    produce(topic, calls.iter().enumerate().map(|(i, (at, text))| ((i % 2) as i32, *at, text.as_bytes())));
}

fn traffic(now: i64, (from, to): (i64, i64), failing: f64, slower: f64) -> Vec<(i64, String)> {
    let starts = (from / BLOCK..to / BLOCK).map(|number| number * BLOCK);
    starts
        .flat_map(|at| {
            let sick = (now - SUDDEN..now - SUDDEN + 3 * BLOCK).contains(&at);
            let mut calls = block("steady", (now, at), if sick { 1.0 } else { 0.04 }, 1.0);
            calls.extend(block("broken", (now, at), failing, 1.0));
            calls.extend(block("slowing", (now, at), 0.04, slower));
            calls
        })
        .collect()
}

const RULES: &str = r#"
[[rule]]
id = "failures"
kind = "anomaly"
measure = "error_rate"
by = ["app"]
window = "15m"
direction = "up"
severity = "page"

[[rule]]
id = "durations"
kind = "anomaly"
measure = "duration_ms"
by = ["app"]
window = "15m"
severity = "ticket"

[[rule]]
id = "volume"
kind = "anomaly"
measure = "calls"
by = ["app"]
window = "15m"
direction = "down"
severity = "ticket"

[[rule]]
id = "quality"
kind = "anomaly"
measure = "score.grounded"
by = ["app"]
window = "15m"
direction = "down"
min_effect = 0.03
severity = "page"
"#;
/// What the score may be.
const SCORES: &str = "[scores]\ngrounded = { type = \"number\", min = 0.0, max = 1.0 }\n";

/// (rule, app, state, evidence) of the first finding that fired, in order.
fn fired(database: &Database) -> Result<Vec<Value>, String> {
    let rows = database.query("SELECT body FROM finding ORDER BY id")?;
    let read = |row: &Vec<String>| serde_json::from_str::<Value>(&row.join("|")).map_err(|error| error.to_string());
    let all: Result<Vec<Value>, String> = rows.iter().map(read).collect();
    Ok(all?.into_iter().filter(|finding| finding["to"] == "firing").collect())
}

/// What was written, and what was found in it.
struct Ran {
    database: Database,
    topic: String,
    file: PathBuf,
    found: Vec<Value>,
    /// Where the rules began.
    began: i64,
}

/// Reads nine days, then the change; `deaths`: how often the process is killed on the way.
fn run(deaths: usize, now: i64) -> Ran {
    let (database, topic) = (Database::new(), topic(2));
    let file = std::env::temp_dir().join(unique("events.jsonl"));
    let into = (topic.as_str(), file.as_path());
    let (start, changed) = (now - 8 * 60 * MINUTE, now - 6 * 60 * MINUTE);
    let mut node = Node::new(&database, &topic);
    // What is read is hours old, and silence after it no news.
    node.variables = vec![("LEEWAY_TEST_FAULT".into(), "clock=off".into())];
    node.extra = SCORES.to_owned();
    let history = traffic(now, (start - HISTORY, start), 0.04, 1.0);
    let calls = history.len();
    write(into, history);
    let mut process = node.start();
    database_ready(&database);
    database.wait_number("the history", 120, "SELECT COALESCE(sum(on_time + late), 0) FROM ledger", calls as i64);
    process.kill();
    // Rules begin where the calls end, in every run.
    node.rules = RULES.to_owned();
    let mut process = node.start();
    database.wait_number("rules", 60, "SELECT count(*) FROM rule_progress", 4);
    process.kill();
    let began = database.number("SELECT min(through) FROM rule_progress");
    write(into, traffic(now, (start, changed), 0.04, 1.0));
    // Three hours of it, and three as before.
    let over = changed + 3 * 60 * MINUTE;
    write(into, traffic(now, (changed, over), 0.24, 1.5));
    write(into, traffic(now, (over, now), 0.04, 1.0));
    let progress = format!("SELECT COALESCE(min(through), 0) / {MINUTE} FROM rule_progress");
    let mut process = node.start();
    for death in 1..=deaths as i64 {
        let until = (start + death * (now - start) / (deaths as i64 + 2)) / MINUTE;
        wait_for("progress", 120, || {
            let through = database.number(&progress);
            if through >= until { Ok(()) } else { Err(format!("{through} of {until}")) }
        });
        process.kill();
        process = node.start();
    }
    let sql = format!("SELECT count(*) FROM rule_progress WHERE through >= {}", now - BLOCK);
    database.wait_number("every window", 120, &sql, 4);
    let url = crate::harness::address(&process);
    let metrics = get(&format!("{url}/metrics"));
    // Who came last may have had nothing left to judge, and then knows of no streams.
    for rule in ["failures", "durations", "volume", "quality"].iter().filter(|_| deaths == 0) {
        assert!(metrics.contains(&format!("leeway_streams{{rule=\"{rule}\",state=\"tested\"}} 3")), "{metrics}");
    }
    let found = fired(&database).unwrap();
    for finding in &found {
        let page = get(&format!("{url}/alerts/{}", finding["fingerprint"].as_str().unwrap()));
        assert!(page.contains("unusual ") && page.contains("e-detector") && page.contains("is usual"), "{page}");
    }
    Ran { database, topic, file, found, began }
}

#[test]
fn a_change_is_told_once_with_its_time_and_size_whoever_dies() {
    // Midnight falls into the change, whenever the test runs: what is not told yet is not learnt as usual.
    let now = now_us() / DAY * DAY - (18 * 60 + 45) * MINUTE;
    let ran = run(0, now);
    let (database, found) = (&ran.database, &ran.found);
    let told: Vec<(&str, &str)> = found
        .iter()
        .map(|finding| (finding["rule"].as_str().unwrap(), finding["evidence"]["usual"]["detector"].as_str().unwrap()))
        .collect();
    println!("  {told:?}");
    let held = || database.query("SELECT labels, state, evidence FROM alert WHERE rule = 'failures'");
    assert_eq!(told.len(), 4, "{:?}", held());
    let changed = now - 6 * 60 * MINUTE;
    let (sudden, lasting): (Vec<&Value>, Vec<&Value>) =
        found.iter().partition(|finding| finding["at"].as_i64().unwrap() > now - SUDDEN);
    // What is plain does not wait for its block's end.
    let after = (sudden[0]["at"].as_i64().unwrap() - (now - SUDDEN)) / MINUTE;
    println!("  a sudden failure: after {after} minutes, {}", sudden[0]["evidence"]["usual"]["evidence"]);
    assert!(sudden.len() == 1 && sudden[0]["rule"] == "failures" && after < 15, "{sudden:?}");
    assert_eq!(sudden[0]["evidence"]["window_start"], now - SUDDEN);
    for finding in lasting {
        let (evidence, usual) = (&finding["evidence"], &finding["evidence"]["usual"]);
        let number = |value: &Value| value.as_f64().unwrap();
        let (truth, unit, speaker) = match finding["rule"].as_str().unwrap() {
            "failures" => (5.0, "change", "rate"),
            "quality" => (-0.1, "score", "level"),
            _ => (0.5, "change", "level"),
        };
        assert_eq!(evidence["unit"], unit);
        assert_eq!(usual["detector"], speaker);
        assert!(number(&evidence["low"]) < truth && truth < number(&evidence["high"]), "{evidence:#}");
        assert!(number(&usual["evidence"]) >= number(&usual["bar"]), "{usual:#}");
        let off = (usual["since"].as_i64().unwrap() - changed).abs();
        assert!(off <= 2 * BLOCK, "{} minutes off", off / MINUTE);
        let delay = (finding["at"].as_i64().unwrap() - changed) / MINUTE;
        println!("  {}: after {delay} minutes, {} to {}", finding["rule"], evidence["low"], evidence["high"]);
        assert!((15..=120).contains(&delay), "{delay}");
        // e-d-BH asks for more evidence than this fleet's bar, and names nobody wrongly.
        assert!(usual["affected_count"].as_u64().unwrap() <= 1, "{usual:#}");
        assert!(usual["affected"].as_array().is_none_or(|labels| labels.len() <= 1));
    }
    // What is over is over, and was told once.
    let open = database.query("SELECT rule, labels, evidence FROM alert WHERE state = 'firing'").unwrap();
    assert!(open.is_empty(), "{open:?}");
    looked_back_at(&ran);
    assert_eq!(run(2, now).found, *found);
}

/// The same rules over the same time in a backtest: the same alarms, to the same bits.
fn looked_back_at(ran: &Ran) {
    let Ran { database, found, began, .. } = ran;
    let file = std::env::temp_dir().join(unique("rules"));
    std::fs::write(&file, RULES).unwrap();
    let backtest = |more: &[&str]| {
        let mut command = std::process::Command::new(leeway());
        command.arg("backtest").arg("--rules").arg(&file).args(more).env("LEEWAY_STORE__URL", &database.url);
        command.output().unwrap()
    };
    let output = backtest(&["--from", &rfc3339(*began), "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let alarms: Vec<&Value> =
        said["rules"].as_array().unwrap().iter().flat_map(|rule| rule["alarms"].as_array().unwrap()).collect();
    assert_eq!(alarms.len(), found.len(), "{said:#}");
    for finding in found {
        let at = Value::from(rfc3339(finding["at"].as_i64().unwrap()));
        let same = |alarm: &&&Value| alarm["at"] == at;
        let of_measure = |alarm: &&&Value| alarm["evidence"]["measure"] == finding["evidence"]["measure"];
        let alike = alarms.iter().filter(same).find(of_measure).unwrap();
        assert_eq!((&alike["evidence"], &alike["at"]), (&finding["evidence"], &at));
    }
    let budget: f64 = said["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| rule["false_alarms_a_week_at_most"].as_f64().unwrap())
        .sum();
    assert!((budget - 1.0).abs() < 1e-9, "{budget}");
    of_events(ran, &said);
    let output = backtest(&["--rule", "failures", "--from", &rfc3339(*began)]);
    let text = String::from_utf8(output.stdout).unwrap();
    println!("{text}");
    assert!(text.contains("failures: 2 alarms in") && !text.contains("still firing at the end"), "{text}");
    verified(database, &file, found);
    for (more, says) in [
        (["--rule", "nobody"], "there are failures, durations, volume, quality"),
        (["--from", "yesterday"], "is no time such as"),
        (["--value", "x"], "cannot be used with"),
    ] {
        let error = String::from_utf8(backtest(&more).stderr).unwrap();
        assert!(error.contains(says), "{more:?}: {error}");
    }
}

/// The same of the topic and of a file of its events, where no store has them.
fn of_events(ran: &Ran, in_store: &Value) {
    let file = std::env::temp_dir().join(unique("rules"));
    std::fs::write(&file, RULES).unwrap();
    let settings = std::env::temp_dir().join(unique("leeway.toml"));
    std::fs::write(&settings, SCORES).unwrap();
    let text = std::fs::read_to_string(&ran.file).unwrap();
    let lines = text.lines().count();
    // Nothing is written where the service would keep its store.
    let folder = std::env::temp_dir().join(unique("nothing"));
    let backtest = |more: &[&str]| {
        let mut command = std::process::Command::new(leeway());
        command.arg("backtest").arg("--rules").arg(&file).args(more).arg("--config").arg(&settings);
        command.args(["--from", &rfc3339(ran.began), "--to", in_store["to"].as_str().unwrap(), "--json"]);
        command.env("LEEWAY_STORE__DATA_DIR", &folder);
        command.env("LEEWAY_KAFKA__BROKERS", kafka()).env("LEEWAY_KAFKA__TOPIC", &ran.topic);
        command.output().unwrap()
    };
    let events = ran.file.to_str().unwrap();
    // A file twice is no more than once: its calls have names.
    for (more, calls, before) in
        [(&["--kafka"][..], lines, 0), (&["--events", events], lines, 0), (&["--events", events, events], lines, lines)]
    {
        let output = backtest(more);
        assert!(output.status.success(), "{more:?}: {}", String::from_utf8_lossy(&output.stderr));
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(said["rules"], in_store["rules"], "{more:?}");
        assert_eq!(said["events"]["calls"], calls, "{more:?}: {}", said["events"]);
        assert_eq!(said["events"]["told_before"], before, "{more:?}");
    }
    assert!(!folder.exists());
    let odd = std::env::temp_dir().join(unique("odd.jsonl"));
    std::fs::write(&odd, "{\"kind\":\"call\"\nnothing\n").unwrap();
    let error = |more: &[&str]| String::from_utf8(backtest(more).stderr).unwrap();
    let said = error(&["--events", odd.to_str().unwrap()]);
    assert!(said.contains("not one of its 1 messages could be read"), "{said}");
    // One line that is cut is a dead letter.
    std::fs::write(&odd, format!("\"cut\n{text}")).unwrap();
    let told: Value = serde_json::from_slice(&backtest(&["--events", odd.to_str().unwrap()]).stdout).unwrap();
    assert_eq!((&told["events"]["calls"], &told["events"]["refused"]["undecodable"]), (&lines.into(), &1.into()));
    interrupted(&file);
    let said = error(&["--events", "/nowhere"]);
    assert!(said.contains("read /nowhere"), "{said}");
    let said = error(&["--kafka", "--since", "2999-01-01T00:00:00Z"]);
    assert!(said.contains("no event was counted: 0 records"), "{said}");
}

/// Ctrl-C, while more events are waited for, leaves nothing behind.
fn interrupted(rules: &Path) {
    let folder = std::env::temp_dir().join(unique("interrupted"));
    std::fs::create_dir(&folder).unwrap();
    let mut command = std::process::Command::new(leeway());
    command.args(["backtest", "--events", "-", "--rules"]).arg(rules).env("TMPDIR", &folder);
    command.stdin(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut process = command.spawn().unwrap();
    // It stays open.
    let input = process.stdin.take();
    let held = || std::fs::read_dir(&folder).unwrap().count();
    wait_for("its own store", 30, || if held() > 0 { Ok(()) } else { Err("none".to_owned()) });
    let signalled = std::process::Command::new("kill").args(["-INT", &process.id().to_string()]).status().unwrap();
    let output = process.wait_with_output().unwrap();
    drop(input);
    assert!(signalled.success() && !output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("interrupted"), "{output:?}");
    assert_eq!(held(), 0);
}

/// Findings, those that ended an alert as well, come out the same from what the store holds; of other rules' text they do not.
fn verified(database: &Database, rules: &std::path::Path, found: &[Value]) {
    let verify = |id: &str, rules: &std::path::Path| {
        let mut command = std::process::Command::new(leeway());
        command.args(["finding", "verify", id, "--rules"]).arg(rules).env("LEEWAY_STORE__URL", &database.url);
        command.output().unwrap()
    };
    let ended = database.query("SELECT id FROM finding WHERE body LIKE '%\"to\":\"resolved\"%'").unwrap();
    assert!(!ended.is_empty());
    let ids = found.iter().map(|finding| finding["id"].as_str().unwrap().to_owned()).chain(ended.into_iter().flatten());
    for id in ids {
        let output = verify(&id, rules);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("the same again"),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let failures = found.iter().find(|finding| finding["rule"] == "failures").unwrap();
    let other = std::env::temp_dir().join(unique("other-rules"));
    std::fs::write(&other, RULES.replace("severity = \"page\"", "severity = \"ticket\"")).unwrap();
    let changed = verify(failures["id"].as_str().unwrap(), &other);
    let error = String::from_utf8_lossy(&changed.stderr);
    assert!(!changed.status.success() && error.contains("give the file as it was"), "{error}");
    let unknown = verify("0000000000000000-1", rules);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("there is no finding"));
}
