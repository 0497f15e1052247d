//! `leeway demo` as its viewer sees it: in a real browser, and for what each incident fires.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{leeway, out, root, unique, variable};

struct Demo {
    child: Child,
    address: String,
    folder: PathBuf,
    started: Instant,
}

impl Demo {
    fn start(args: &[&str], work: &Path) -> Self {
        let folder = work.join("data");
        let log = std::fs::File::create(work.join("log")).unwrap();
        let mut child = Command::new(leeway())
            .arg("demo")
            .args(args)
            .args(["--bind", "127.0.0.1:18470", "--data-dir"])
            .arg(&folder)
            .current_dir(work)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line
            .split_whitespace()
            .find(|word| word.starts_with("http://"))
            .unwrap_or_else(|| panic!("one line with the address, not {line:?}"));
        Self { address: address.trim_end_matches('/').to_owned(), child, folder, started: Instant::now() }
    }

    /// Rule → states that its instances went through, read from the store by Python's sqlite3.
    fn findings(&self) -> Vec<(String, String)> {
        let script = "import sqlite3,sys,json\nfor b, in sqlite3.connect(sys.argv[1]).execute('select body from finding order by at'):\n d=json.loads(b); print(d['rule'],d['to'])";
        let done = Command::new(variable("LEEWAY_TEST_PYTHON"))
            .args(["-c", script])
            .arg(self.folder.join("leeway.sqlite"))
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        text.lines().filter_map(|line| line.split_once(' ')).map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
    }

    fn wait_until(&self, seconds: u64) {
        std::thread::sleep(Duration::from_secs(seconds).saturating_sub(self.started.elapsed()));
    }

    /// Ctrl-C; it ends well and leaves nothing outside its folder.
    fn stop(mut self, work: &Path) {
        let sent = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let status = self.child.wait().unwrap();
        assert!(
            status.success(),
            "Ctrl-C: {status}\n{}",
            std::fs::read_to_string(work.join("log")).unwrap_or_default()
        );
        let mut left: Vec<String> = std::fs::read_dir(work)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        left.sort();
        assert_eq!(left, ["data", "log"]);
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

fn work() -> PathBuf {
    let folder = std::env::temp_dir().join(unique("leeway-demo"));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Firings and resolutions, in order.
fn told(demo: &Demo) -> Vec<(String, String)> {
    demo.findings().into_iter().filter(|(_, to)| to == "firing" || to == "resolved").collect()
}

fn story(rule: &str) -> [(String, String); 2] {
    [(rule.to_owned(), "firing".to_owned()), (rule.to_owned(), "resolved".to_owned())]
}

#[test]
fn the_demo_tells_its_story_in_two_minutes() {
    let folder = work();
    let demo = Demo::start(&["--seed", "1"], &folder);
    let browser = Command::new("node")
        .arg(root().join("tests/tools/browser.js"))
        .args([&demo.address, out().to_str().unwrap()])
        .env("NODE_PATH", variable("LEEWAY_TEST_NODE_PATH"))
        .output()
        .unwrap();
    println!("{}{}", String::from_utf8_lossy(&browser.stdout), String::from_utf8_lossy(&browser.stderr));
    let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    assert!(browser.status.success(), "the demo's log:\n{log}");
    demo.wait_until(120);
    assert_eq!(told(&demo), story("latency"));
    demo.stop(&folder);
    // A second start over the first one's folder works, and begins empty.
    let again = Demo::start(&["--incident", "none"], &folder);
    assert_eq!(again.findings(), []);
    again.stop(&folder);
}

/// Minutes of event time after which every incident has come and gone.
const STORY_MINUTES: f64 = 37.0;
const SPEED: f64 = 60.0;

/// Runs a demo fast and tells what fired and resolved.
fn fast(incident: &str, seed: u64) -> Vec<(String, String)> {
    let folder = work();
    let demo =
        Demo::start(&["--incident", incident, "--seed", &seed.to_string(), "--speed", &SPEED.to_string()], &folder);
    std::thread::sleep(Duration::from_secs_f64(STORY_MINUTES * 60.0 / SPEED));
    // A busy machine evaluates later in wall time; event time is the same.
    let wanted = if incident == "none" { 0 } else { 2 };
    for _ in 0..60 {
        if told(&demo).len() >= wanted {
            break;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    let told = told(&demo);
    demo.stop(&folder);
    told
}

/// Demos that run side by side; each takes a seventh of a core at this speed.
const AT_ONCE: usize = 5;

/// Every incident fires its own rule and no other, for any seed.
#[test]
fn each_incident_fires_its_own_rule_and_calm_fires_none() {
    let seeds = if std::env::var_os("LEEWAY_TEST_LONG").is_some() { 1..=50 } else { 1..=3 };
    let incidents = ["latency", "quality", "pii", "cost", "none"];
    let runs: Vec<(&str, u64)> = seeds.flat_map(|seed| incidents.map(|incident| (incident, seed))).collect();
    let mut wrong = Vec::new();
    for some in runs.chunks(AT_ONCE) {
        let told: Vec<_> = std::thread::scope(|scope| {
            let running: Vec<_> = some.iter().map(|(incident, seed)| scope.spawn(|| fast(incident, *seed))).collect();
            running.into_iter().map(|run| run.join().unwrap()).collect()
        });
        for ((incident, seed), told) in some.iter().zip(told) {
            let expected = if *incident == "none" { Vec::new() } else { story(incident).to_vec() };
            if told != expected {
                wrong.push(format!("incident {incident}, seed {seed}: {told:?}"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn the_demo_replays_a_real_trace_and_spares_foreign_folders() {
    let foreign = work();
    std::fs::write(foreign.join("precious"), "x").unwrap();
    let refused = Command::new(leeway()).args(["demo", "--data-dir"]).arg(&foreign).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("was not made by a demo"));
    assert!(foreign.join("precious").exists());
    let Some(trace) = crate::harness::shared("traces/mooncake-fast25/conversation.jsonl.gz") else { return };
    let folder = work();
    let demo = Demo::start(&["--incident", "none", "--trace", trace.to_str().unwrap()], &folder);
    crate::harness::wait_for("calls of the trace", 40, || {
        let script = "import sqlite3,sys\nprint(sqlite3.connect(sys.argv[1]).execute(\"select count(*) from series where labels like '%mooncake%'\").fetchone()[0])";
        let done = Command::new(variable("LEEWAY_TEST_PYTHON"))
            .args(["-c", script])
            .arg(demo.folder.join("leeway.sqlite"))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&done.stdout).trim().to_owned();
        if text.parse::<u32>().unwrap_or(0) > 0 { Ok(()) } else { Err(text) }
    });
    demo.stop(&folder);
}
