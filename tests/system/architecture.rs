//! The arrows between crates and the doors to the outside, from `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use crate::harness::root;

const MIDDLE: [&str; 5] = ["leeway-formats", "leeway-detectors", "leeway-store", "leeway-alerts", "leeway-dashboards"];

fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let names = |package: &serde_json::Value| {
        let normal = package["dependencies"].as_array().unwrap().iter().filter(|d| d["kind"].is_null());
        normal.map(|d| d["name"].as_str().unwrap().to_owned()).collect()
    };
    let packages = metadata["packages"].as_array().unwrap();
    packages.iter().map(|package| (package["name"].as_str().unwrap().to_owned(), names(package))).collect()
}

#[test]
fn arrows_point_one_way() {
    let dependencies = dependencies();
    let ours = |name: &str| -> BTreeSet<String> {
        dependencies[name].iter().filter(|d| d.starts_with("leeway")).cloned().collect()
    };
    assert!(ours("leeway-core").is_empty());
    for middle in MIDDLE {
        assert_eq!(ours(middle), BTreeSet::from(["leeway-core".to_owned()]), "{middle} may know core alone");
    }
    assert_eq!(dependencies.len(), 8, "a new crate needs a place in ARCHITECTURE.md and in this test");
}

#[test]
fn doors_open_only_where_they_should() {
    let doors: [(&str, &[&str]); 8] = [
        ("sqlx", &["leeway-store"]),
        ("rdkafka", &["leeway", "leeway-tests"]),
        ("axum", &["leeway"]),
        ("lettre", &["leeway-alerts"]),
        ("reqwest", &["leeway", "leeway-alerts"]),
        ("statrs", &["leeway-core", "leeway-detectors"]),
        ("hdrhistogram", &["leeway"]),
        ("askama", &["leeway-dashboards"]),
    ];
    for (package, dependencies) in dependencies() {
        for (door, allowed) in doors {
            assert!(!dependencies.contains(door) || allowed.contains(&package.as_str()), "{package} uses {door}");
        }
    }
}

#[test]
fn only_the_clock_reads_the_clock_and_only_the_store_speaks_sql() {
    let mut seen = 0;
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !["target", ".git", ".deps"].contains(&name.as_str()) {
                folders.push(path);
            } else if name.ends_with(".rs") && !name.starts_with("tests/") {
                seen += 1;
                let text = std::fs::read_to_string(&path).unwrap();
                assert!(name == "core/src/clock.rs" || !text.contains("SystemTime::now"), "{name} reads the clock");
                assert!(name.starts_with("store/") || !text.contains("INSERT INTO"), "{name} speaks SQL");
            }
        }
    }
    assert!(seen > 40);
}
