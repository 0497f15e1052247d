//! `leeway scan`: one text with its evidence, and labelled files with their gates.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value as Json;

use crate::harness::{leeway, root, shared, variable};

/// Whether it went well, what it printed, and what it said was wrong.
fn scan(args: &[&str], input: &[u8]) -> (bool, String, String) {
    let mut child = Command::new(leeway())
        .args(["scan"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(input);
    let done = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (done.status.success(), text(&done.stdout), text(&done.stderr))
}

#[test]
fn a_text_is_read_with_its_evidence_and_masked() {
    let text = "Her SSN is 536-22-8726.\nMail jane.roe@acme.io, card 4111 1111 1111 1111";
    let (_, told, _) = scan(&["-"], text.as_bytes());
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines[0].starts_with("1:12 us_ssn ***-**-**26: counts, p = 1.000; bits: form +2.5, check +0.2"), "{told}");
    assert!(lines[1].starts_with("2:6 email ") && lines[2].contains(": test value"), "{told}");
    assert!(!told.contains("536-22") && !told.contains("jane"), "masked: {told}");
    let (_, told, _) = scan(&["-", "--json", "--unmask"], text.as_bytes());
    let first: Json = serde_json::from_str(told.lines().next().unwrap()).unwrap();
    assert_eq!((first["value"].as_str(), first["start"].as_u64()), (Some("536-22-8726"), Some(11)));
    assert_eq!(scan(&["-"], b"nothing here").1, "nothing found\n");
}

#[test]
fn what_cannot_be_read_is_told() {
    let (fine, _, told) = scan(&["/nowhere/at/all"], b"");
    assert!(!fine && told.contains("cannot read /nowhere/at/all"), "{told}");
    let (fine, _, told) = scan(&["--jsonl", "-"], b"{\"id\": 1}\n");
    assert!(!fine && told.contains("line 1") && told.contains("none of the fields text"), "{told}");
    // A row that cannot be read does not hold up the others.
    let mixed = b"{\n{\"id\": 2, \"text\": \"my SSN: 536-22-8726\"}\n";
    let (fine, printed, told) = scan(&["--jsonl", "-"], mixed);
    assert!(!fine && told.contains("1 of the rows could not be read; the first is line 1: not JSON"), "{told}");
    assert!(printed.contains("US_SSN"), "{printed}");
    // Bytes that are no text are read all the same.
    assert!(scan(&["-"], b"\xff\xfe SSN 536-22-8726 \xc3").1.contains("us_ssn"));
}

#[test]
fn labelled_files_meet_their_gates() {
    let Some(data) = shared("pii-safety/score.py") else { return };
    let data = data.parent().unwrap().to_owned();
    let tool = root().join("tests/tools/eval_scan.py");
    let python = variable("LEEWAY_TEST_PYTHON");
    let done = Command::new(python).arg(tool).arg(leeway()).arg(data).arg("--json").output().unwrap();
    let table: Vec<Json> = serde_json::from_slice(&done.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&done.stderr)));
    let missed: Vec<&Json> = table.iter().filter(|row| row["met"] != true).collect();
    assert!(table.len() >= 25 && missed.is_empty(), "{missed:#?}");
}
