//! The window tests beside scipy, on windows that no file holds: another seed, other windows.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use leeway_core::drift::Test;
use leeway_detectors::drift::{Cell, Inconclusive, compare, raw};
use serde_json::Value as Json;

use crate::harness::{leeway, root, unique, variable};

fn differs(test: &str, cells: &[Cell], theirs: &Json) -> Option<String> {
    let (Some(statistic), p) = (theirs[0].as_f64(), theirs[1].as_f64()) else { return None };
    let ours = match compare(Test::parse(test).unwrap(), cells, 0) {
        Ok(ours) => ours,
        Err(Inconclusive::TooLittle { .. } | Inconclusive::Alike | Inconclusive::Sparse) => return None,
        Err(error) => return Some(format!("{test}: {error}")),
    };
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * b.abs() || (a - b).abs() <= 1e-12;
    // Near p = 1 the logarithm is all rounding; where scipy takes 1 − cdf its digits end at 10⁻¹⁵.
    let same = |p: f64| (ours.p.ln() - p.ln()).abs() <= 1e-9 * p.ln().abs().max(1.0) || (ours.p - p).abs() <= 1e-14;
    // scipy's p of tied windows rejects what has not changed; the statistic is the same.
    let mut values: Vec<u64> = cells.iter().map(|cell| cell.value.to_bits()).collect();
    values.sort_unstable();
    let tied = test == "cvm" && values.windows(2).any(|pair| pair[0] == pair[1]);
    let p = p.filter(|_| !tied);
    // Of a distance that is the root of a difference near zero the digits end with the difference's.
    let root = matches!(test, "hellinger" | "jensen_shannon");
    let rounded = root && (ours.statistic.powi(2) - statistic.powi(2)).abs() <= 1e-14;
    if !(near(ours.statistic, statistic) || rounded) || p.is_some_and(|p| p > 1e-300 && !same(p)) {
        return Some(format!("{test}: {ours:?}, scipy {theirs}"));
    }
    None
}

/// A few cells of the grid, drawn by numpy: no more false alarms than asked for, each change found, and sketches decide as values do.
#[test]
fn a_small_grid_stays_within_its_bounds() {
    let folder = std::env::temp_dir().join(unique("grid"));
    let output = Command::new(variable("LEEWAY_TEST_PYTHON"))
        .arg(root().join("tests/tools/grid.py"))
        .arg(leeway().with_file_name("leeway-grid"))
        .args(["--small", "--workers", "2", "--out"])
        .arg(&folder)
        .output()
        .unwrap();
    println!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn window_tests_equal_scipy_on_fresh_windows() {
    let long = std::env::var_os("LEEWAY_TEST_LONG").is_some();
    let (seed, count) = (u64::from(std::process::id()), if long { 100_000 } else { 2_000 });
    println!("  seed {seed}, {count} pairs");
    let mut tool = Command::new(variable("LEEWAY_TEST_PYTHON"))
        .arg(root().join("tests/tools/two_windows.py"))
        .args([seed.to_string(), count.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut pairs, mut compared, mut wrong) = (0, 0, Vec::new());
    for line in BufReader::new(tool.stdout.take().unwrap()).lines() {
        let case: Json = serde_json::from_str(&line.unwrap()).unwrap();
        let numbers =
            |name: &str| -> Vec<f64> { case[name].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect() };
        let row = |place: usize| case["table"][place].as_array().unwrap().iter().map(|v| v.as_u64().unwrap());
        let values = raw(&numbers("x"), &numbers("y"));
        let cell = |(place, (reference, current))| Cell { value: f64::from(place), reference, current };
        let table: Vec<Cell> = (0u32..).zip(row(0).zip(row(1))).map(cell).collect();
        for (cells, told) in [(&values, &case["values"]), (&table, &case["tables"])] {
            for (test, theirs) in told.as_object().unwrap() {
                compared += 1;
                wrong.extend(differs(test, cells, theirs).map(|said| format!("{}: {said}", case["name"])));
            }
        }
        pairs += 1;
    }
    assert!(tool.wait().unwrap().success());
    println!("  {compared} comparisons of {pairs} pairs, {} differ", wrong.len());
    assert!(pairs == count && wrong.is_empty(), "{}", wrong.iter().take(20).cloned().collect::<Vec<_>>().join("\n"));
}
