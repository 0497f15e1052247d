//! Key figures, the weekly report and its mail, as their readers get them.

use std::process::Command;

use crate::harness::{
    Database, Node, Process, Tool, call, json_lines, leeway, now_us, produce, topic, unique, wait_for,
};

fn address(process: &Process) -> String {
    wait_for("the address", 30, || {
        let log = process.log();
        log.lines().find_map(|line| line.split("pages at ").nth(1)).map(|a| a.trim().to_owned()).ok_or(log)
    })
}

fn get(address: &str, path: &str) -> (u32, String) {
    let done = Command::new("curl").args(["-s", "-w", "\n%{http_code}", &format!("{address}{path}")]).output().unwrap();
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let (body, code) = text.rsplit_once('\n').unwrap();
    (code.parse().unwrap(), body.to_owned())
}

/// 100 calls of one app with known costs, 4 errors, 3 flags of 50 labels, and the success of 40 told.
fn week_of_calls(topic: &str, at: i64) {
    let one = |i: usize| {
        let id = format!("f{i}");
        let mut event = call(&id, at + i as i64, "shop", 1000.0 + i as f64);
        if i < 4 {
            event = event.replace(r#""status":"ok""#, r#""status":"error""#);
        }
        let action = if i < 3 { "flag" } else { "none" };
        let label = format!(r#"{{"moderation":[{{"source":"m","category":"hate","action":"{action}"}}],"#);
        if i < 50 { event.replacen('{', &label, 1) } else { event }.replacen('{', r#"{"cost_usd":0.01,"#, 1)
    };
    let told = |i: usize| {
        format!(
            r#"{{"kind":"feedback","time":{},"tenant":"acme","target":{{"id":"f{i}"}},"name":"success","source":"user","value":{}}}"#,
            at + 1_000_000,
            i < 30
        )
    };
    let change = format!(
        r#"{{"kind":"change","id":"c","time":{at},"tenant":"acme","app":"shop","type":"prompt","from":"v1","to":"v2"}}"#
    );
    let events: Vec<String> = (0..100).map(one).chain((0..40).map(told)).chain([change]).collect();
    produce(topic, events.iter().map(|event| (0, at, event.as_bytes())));
}

#[test]
fn key_figures_and_the_report_equal_a_recount() {
    let (database, topic) = (Database::new(), topic(1));
    let mut node = Node::new(&database, &topic);
    node.extra = "[targets]\nerror_rate = 0.05\n".into();
    let process = node.start();
    let at = now_us() - 600_000_000;
    week_of_calls(&topic, at);
    database.wait_number("the joins", 60, "SELECT count(*) FROM feedback WHERE state = 'applied'", 40);
    let address = address(&process);
    let (code, body) = get(&address, "/api/v1/kpis?window=24h&tenant=acme&app=shop");
    assert_eq!(code, 200, "{body}");
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    let kpi = |id: &str| answer["kpis"].as_array().unwrap().iter().find(|kpi| kpi["id"] == id).unwrap().clone();
    let close = |id: &str, expected: f64| {
        let seen = kpi(id)["value"].as_f64().unwrap_or_else(|| panic!("{id}: {}", kpi(id)));
        assert!((seen - expected).abs() < 1e-9 * expected.abs().max(1.0), "{id}: {seen}");
    };
    close("calls", 100.0);
    close("error_rate", 0.04);
    close("task_success", 0.75);
    close("cost_per_call", 0.01);
    close("cost_per_1k", 10.0);
    close("cost_per_success", 0.01 / 0.75);
    close("safety_violation_rate", 3.0 / 50.0);
    assert_eq!(
        (kpi("safety_violation_rate")["coverage"].as_f64(), kpi("task_success")["n"].as_u64()),
        (Some(0.5), Some(40))
    );
    // scipy.stats.binomtest(30, 40).proportion_ci(method="wilson")
    assert!((kpi("task_success")["low"].as_f64().unwrap() - 0.598_06).abs() < 1e-4, "{}", kpi("task_success"));
    assert_eq!(
        (kpi("error_rate")["target"].as_f64(), kpi("error_rate")["target_source"].as_str()),
        (Some(0.05), Some("settings"))
    );
    assert!(kpi("quality")["value"].is_null() && kpi("quality")["reason"].as_str().unwrap().contains("grounded"));
    assert!(kpi("pii_leaks")["value"].is_null(), "no text was seen: that is not no leak");
    assert_eq!(get(&address, "/kpis?window=24h&tenant=acme&app=shop").0, 200);
    assert!(get(&address, "/kpis?tenant=nobody&app=x").1.contains("not computable"));
    assert_eq!(get(&address, "/kpis?window=9y").0, 404);
    assert!(get(&address, "/kpis.csv?window=24h").1.contains("error_rate,0.04,"));
    reports_equal(&node, at);
}

/// The same numbers by `leeway report`.
fn reports_equal(node: &Node, at: i64) {
    let report = |args: &[&str]| {
        Command::new(leeway())
            .args(["report", "--config"])
            .arg(node.folder.join("leeway.toml"))
            .args(args)
            .output()
            .unwrap()
    };
    let week = leeway_core::clock::week_of(at);
    let json: serde_json::Value =
        serde_json::from_slice(&report(&["--week", &week, "--format", "json"]).stdout).unwrap();
    assert_eq!((json["data"]["calls"].as_u64(), json["data"]["labels"].as_u64()), (Some(100), Some(40)));
    let row = json["kpis"].as_array().unwrap().iter().find(|row| row["id"] == "task_success").unwrap();
    assert_eq!((row["value"].as_f64(), row["outcome"].as_str()), (Some(0.75), Some("not_assessable")));
    assert_eq!(json["changes"][0]["what"], "prompt change from v1 to v2");
    let blind = json["blind"].to_string();
    assert!(blind.contains("Quality") && blind.contains("the week before has no such figure"), "{blind}");
    let markdown = String::from_utf8(report(&["--week", &week, "--format", "md"]).stdout).unwrap();
    assert!(markdown.contains("| Task success | 75.00 % |"), "{markdown}");
    let file = node.folder.join("report.html");
    assert!(report(&["--week", &week, "--out", file.to_str().unwrap()]).status.success());
    let html = std::fs::read_to_string(file).unwrap();
    assert!(html.contains("<style>") && !html.contains("src=") && html.contains("75.00 %"));
    let empty = String::from_utf8(report(&["--week", "2020-W07", "--format", "md"]).stdout).unwrap();
    assert!(empty.contains("No calls were seen in 2020-W07"), "{empty}");
    let wrong = report(&["--week", "2026-99"]);
    assert!(!wrong.status.success() && String::from_utf8_lossy(&wrong.stderr).contains("no ISO week such as"));
}

/// A model tried on traffic that no user saw fails more: it stands beside what was served, and in no key figure.
#[test]
fn what_no_user_saw_is_compared_and_counts_in_no_key_figure() {
    let (database, topic) = (Database::new(), topic(1));
    let node = Node::new(&database, &topic);
    let process = node.start();
    let address = address(&process);
    assert!(get(&address, "/shadow").1.contains("No such calls yet"));
    let at = now_us() - 600_000_000;
    let one = |i: usize| {
        let event = call(&format!("s{i}"), at + i as i64, "shop", 1000.0);
        // 10 of 200 that were served fail, and 35 of 200 that were not.
        let failed = !(10..365).contains(&i);
        let event = if failed { event.replace(r#""status":"ok""#, r#""status":"error""#) } else { event };
        let served = i < 200;
        let more = if served { r#"{"cost_usd":0.02,"# } else { r#"{"cost_usd":0.01,"served":false,"# };
        event.replacen('{', more, 1).replace("gpt-4o", if served { "gpt-4o" } else { "gpt-tried" })
    };
    let events: Vec<String> = (0..400).map(one).collect();
    produce(&topic, events.iter().map(|event| (0, at, event.as_bytes())));
    database.wait_number("the calls", 60, "SELECT COALESCE(sum(on_time + late), 0) FROM ledger", 400);
    let (code, body) = get(&address, "/api/v1/shadow?window=24h&tenant=acme&app=shop");
    assert_eq!(code, 200, "{body}");
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    let figures = answer["models"][0]["figures"].as_array().unwrap();
    let figure = |id: &str| figures.iter().find(|figure| figure["id"] == id).unwrap();
    let values = |id: &str| ["served", "unserved"].map(|side| figure(id)[side]["value"].as_f64().unwrap());
    assert_eq!(values("calls"), [200.0, 200.0]);
    assert_eq!(values("error_rate"), [0.05, 0.175]);
    assert_eq!(figure("error_rate")["verdict"], "differs");
    assert_eq!((answer["models"].as_array().unwrap().len(), &answer["models"][0]["model"]), (1, &"gpt-tried".into()));
    assert_eq!(answer["models"][0]["operation"], "chat");
    // MOVER from scipy's Wilson intervals of 10 and 35 of 200.
    let difference = |end: &str| figure("error_rate")["difference"][end].as_f64().unwrap();
    assert!((difference("low") - 0.064_017).abs() < 1e-6, "{}", figure("error_rate"));
    assert!((difference("high") - 0.187_855).abs() < 1e-6, "{}", figure("error_rate"));
    let cost = values("cost_per_call");
    assert!((cost[0] - 0.02).abs() < 1e-12 && (cost[1] - 0.01).abs() < 1e-12, "{cost:?}");
    let kpis: serde_json::Value =
        serde_json::from_str(&get(&address, "/api/v1/kpis?window=24h&tenant=acme&app=shop").1).unwrap();
    assert_eq!(kpis["kpis"][0]["value"], 200.0);
    let page = get(&address, "/shadow?window=1h").1;
    assert!(page.contains("acme / shop") && page.contains("17.50 %"), "{page}");
    assert_eq!((get(&address, "/shadow?window=9y").0, get(&address, "/api/v1/shadow?app=shop").0), (404, 404));
}

#[test]
fn the_weekly_report_is_mailed_once_by_whoever_runs() {
    let (database, topic) = (Database::new(), topic(1));
    let log = std::env::temp_dir().join(unique("weekly-mail"));
    let smtp = Tool::start("smtp.py", &[log.to_str().unwrap()]);
    let now = now_us();
    let (monday, _) = leeway_core::clock::week(&leeway_core::clock::week_of(now)).unwrap();
    let node = || {
        let mut node = Node::new(&database, &topic);
        node.extra = format!(
            "[report]\nreceivers = [\"leads\"]\nhours_after_monday = {}\n[smtp]\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\n\
             from = \"Leeway <leeway@example.com>\"\n[[receiver]]\nname = \"leads\"\nemail = {{ to = [\"leads@example.com\"] }}\n",
            (now - monday) / 3_600_000_000,
            smtp.says
        );
        node
    };
    let (mut first, _second) = (node().start(), node().start());
    // The server turns the first copy away; the second goes through.
    let mails = wait_for("the mail", 120, || {
        let mails = json_lines(&log);
        if mails.is_empty() { Err("no mail".to_owned()) } else { Ok(mails) }
    });
    let week = leeway_core::clock::week_of(now - 7 * 86_400_000_000);
    assert!(mails[0]["headers"]["Subject"].as_str().unwrap().contains(&week), "{:?}", mails[0]["headers"]);
    assert!(mails[0]["text"].as_str().unwrap().contains("What this report cannot tell"));
    assert!(mails[0]["html"].as_str().unwrap().contains("<style>"));
    database.wait_number("a note of it", 30, "SELECT count(*) FROM report", 1);
    first.kill();
    let _third = node().start();
    std::thread::sleep(std::time::Duration::from_secs(25));
    assert_eq!(json_lines(&log).len(), 1, "once");
}
