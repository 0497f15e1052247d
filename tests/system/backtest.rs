//! `leeway backtest --csv`: any column of numbers, with no other set-up.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value as Json;

use crate::harness::{leeway, unique};

fn backtest(args: &[&str], input: &str) -> Result<String, String> {
    let mut child = Command::new(leeway())
        .args(["backtest", "--csv", "-"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The process may refuse its arguments before it reads.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let done = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if done.status.success() { Ok(text(&done.stdout)) } else { Err(text(&done.stderr)) }
}

fn json(args: &[&str], input: &str) -> Json {
    let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
    serde_json::from_str(&backtest(&args, input).unwrap()).unwrap()
}

const SPIKE: usize = 700;

/// Hours with a cycle of a day, something like noise, a spike at row 700 and a gap at row 300.
fn hours() -> String {
    let mut text = String::from("timestamp,value\n");
    for row in 0..1_000usize {
        let (day, hour) = (row / 24, row % 24);
        let noise = ((row * 7_919) % 101) as f64 / 50.0 - 1.0;
        let value = 100.0 + 30.0 * (hour as f64 / 24.0 * std::f64::consts::TAU).sin() + 3.0 * noise;
        let value = if row == SPIKE { value + 150.0 } else { value };
        let value = if row == 300 { String::new() } else { format!("{value:.3}") };
        text += &format!("2026-{:02}-{:02} {hour:02}:00:00,{value}\n", 3 + day / 28, 1 + day % 28);
    }
    text
}

#[test]
fn a_column_is_watched_without_any_set_up() {
    let folder = std::env::temp_dir().join(unique("backtest"));
    std::fs::create_dir_all(&folder).unwrap();
    let (scores, incidents) = (folder.join("scores.csv"), folder.join("incidents.csv"));
    let input = hours();
    let lines: Vec<&str> = input.lines().collect();
    let spike = lines[SPIKE + 1].split(',').next().unwrap();
    std::fs::write(&incidents, format!("start,end\n{spike},{spike}\n2026-03-05 00:00:00,2026-03-05 12:00:00\n"))
        .unwrap();
    let (scores, incidents) = (scores.to_str().unwrap(), incidents.to_str().unwrap());
    let report = json(&["--scores", scores, "--incidents", incidents], &input);
    assert_eq!((report["rows"].as_u64(), report["missing"].as_u64()), (Some(1_000), Some(1)));
    let alarms = report["alarms"].as_array().unwrap();
    let [alarm] = &alarms[..] else { panic!("{report}") };
    assert_eq!((alarm["at"].as_str(), alarm["detector"].as_str()), (Some(spike), Some("anomaly")));
    let (effect, low, high) = (&alarm["effect"], &alarm["interval"][0], &alarm["interval"][1]);
    assert!((140.0..160.0).contains(&effect.as_f64().unwrap()), "{report}");
    assert!(low.as_f64() < effect.as_f64() && effect.as_f64() < high.as_f64());
    assert_eq!(alarm["change_estimated_at"], Json::Null);
    assert!(report["seconds"].as_f64().is_some());
    let known = &report["incidents"];
    assert_eq!((known["recall"].as_f64(), known["precision"].as_f64()), (Some(0.5), Some(1.0)));
    assert_eq!(known["known"][0]["delay_s"].as_f64(), Some(0.0));
    // One line of scores for each row, its time and value as they were, the spike the highest.
    let scores = std::fs::read_to_string(scores).unwrap();
    let scores: Vec<Vec<&str>> = scores.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!((scores.len(), scores[0].join(",")), (1_001, "timestamp,value,anomaly_score".to_owned()));
    for (scored, line) in scores.iter().zip(&lines).skip(1) {
        assert_eq!(scored[..2].join(","), *line);
    }
    let score = |row: usize| scores[row + 1][2].parse::<f64>().unwrap();
    assert!((0..1_000).all(|row| (0.0..=1.0).contains(&score(row)) && (row == SPIKE || score(row) < score(SPIKE))));
    assert_eq!(score(300), 0.0);
    // What comes later changes nothing of what was said before.
    let half = lines[..600].join("\n");
    let path = folder.join("half.csv");
    backtest(&["--scores", path.to_str().unwrap()], &half).unwrap();
    let half = std::fs::read_to_string(path).unwrap();
    assert!(half.lines().eq(scores[..600].iter().map(|row| row.join(","))), "the past of a score is its own");
}

#[test]
fn shapes_of_files_that_people_have() {
    let changed = |head: &str, row: &dyn Fn(usize, f64) -> String| {
        let values =
            (0..200usize).map(|at| (at, if at < 120 { 10.0 } else { 14.0 } + ((at * 7_919) % 101) as f64 / 50.0));
        head.to_owned() + &values.map(|(at, value)| row(at, value)).collect::<Vec<_>>().join("\n")
    };
    let day = |at: usize| format!("2026-{:02}-{:02}", 1 + at / 28, 1 + at % 28);
    let cases = [
        (
            "mean",
            changed("timestamp,count,sum\n", &|at, value| format!("{},50,{}", day(at), value * 50.0)),
            "sum/count",
            day(120),
        ),
        ("named", changed("\u{feff}ds,label,y\n", &|at, value| format!("{at},a,{value}")), "y", "120".into()),
        ("semicolons", changed("time;reading\n", &|at, value| format!("{};{value}", day(at))), "reading", day(120)),
        (
            "no names",
            changed("", &|at, value| format!("{},{value}", 1_700_000_000 + at * 60)),
            "column 2",
            (1_700_000_000 + 120 * 60).to_string(),
        ),
        ("bytes", changed("host,bytes\n", &|_, value| format!("a,{:.0}", value * 1e8)), "bytes", "120".into()),
        ("pandas", changed(",date,sales\n", &|at, value| format!("{at},{},{value}", day(at))), "sales", day(120)),
        ("no times", changed("value\n", &|_, value| value.to_string()), "value", "120".into()),
        (
            "quoted",
            changed("\"Date\",\"Value\"\n", &|at, value| format!("\"{}\",\"{value}\"", day(at))),
            "Value",
            day(120),
        ),
    ];
    for (name, input, column, changed_at) in cases {
        let report = json(&["--detector", "level"], &input);
        assert_eq!(report["column"], column, "{name}");
        let alarms = report["alarms"].as_array().unwrap();
        assert_eq!(alarms.len(), 1, "{name}: {report}");
        assert_eq!(alarms[0]["change_estimated_at"], changed_at, "{name}: {report}");
    }
}

#[test]
fn what_cannot_be_read_is_said() {
    for (args, input, wanted) in [
        (&[][..], "", "is empty"),
        (&["--value", "nope"], "timestamp,value\n2026-01-01,1\n", "no column `nope`"),
        (&["--detector", "nope"], "timestamp,value\n2026-01-01,1\n", "anomaly: rows that are rare"),
        (&[], "timestamp,name\n2026-01-01,a\n", "no column of numbers"),
        (&[], "timestamp,value\n2026-01-01,yes\n2026-01-02,no\n", "holds no numbers in its first rows"),
        (&["--time", "when"], "when,value\nyesterday,2\n", "`yesterday` is no time"),
        (&["--false-alarm-every", "0"], "value\n1\n", "from 2 to 10^12"),
    ] {
        let error = backtest(args, input).unwrap_err();
        assert!(error.contains(wanted), "{args:?}: {error}");
    }
    let odd = "timestamp,value\n2026-01-01,1\n2026-01-02,\"1,050\"\nTotal,1051\n";
    let odd = backtest(&[], odd).unwrap();
    assert!(odd.contains("1 rows have no time that can be read") && odd.contains("line 4, `Total`"), "{odd}");
    let path = std::env::temp_dir().join(unique("backtest.csv"));
    std::fs::write(&path, "value\n1\n").unwrap();
    let path = path.to_str().unwrap();
    let done = Command::new(leeway()).args(["backtest", "--csv", path, "--scores", path]).output().unwrap();
    assert!(!done.status.success() && String::from_utf8_lossy(&done.stderr).contains("would write over"));
    let few = backtest(&[], "timestamp,value\n2026-01-01,1\n2026-01-02,NaN\n2026-01-02,inf\n").unwrap();
    assert!(
        few.contains("too little data") && few.contains("2 rows have no number") && few.contains("no alarm"),
        "{few}"
    );
    assert!(few.contains("1 rows are not later"), "{few}");
}
