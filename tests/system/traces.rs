//! Real traces through real Kafka into real Postgres, recounted by psql against the manifest and the file itself.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::process::Command;

use crate::harness::{Database, Node, kafka, leeway, shared, topic, unique, wait_for};

fn loadgen(topic: &str, args: &[&str]) -> serde_json::Value {
    let manifest = std::env::temp_dir().join(unique("manifest"));
    let done = Command::new(leeway())
        .args(["loadgen", "--brokers", &kafka(), "--topic", topic, "--manifest"])
        .arg(&manifest)
        .args(args)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_str(&std::fs::read_to_string(manifest).unwrap()).unwrap()
}

/// Minute and labels → calls, errors, input and output tokens.
pub type Counts = BTreeMap<(i64, Vec<String>), [i64; 4]>;

const LABELS: [&str; 7] = ["tenant", "app", "route", "provider", "model", "release", "environment"];

pub fn manifest_counts(manifest: &serde_json::Value) -> Counts {
    let number = |row: &serde_json::Value, name: &str| row[name].as_i64().unwrap();
    let row = |row: &serde_json::Value| {
        let labels = LABELS.iter().map(|name| row["labels"][name].as_str().unwrap().to_owned()).collect();
        let counts = ["calls", "errors", "input_tokens", "output_tokens"].map(|name| number(row, name));
        ((number(row, "minute_us"), labels), counts)
    };
    manifest["minutes"].as_array().unwrap().iter().map(row).collect()
}

pub fn stored_counts(database: &Database) -> Counts {
    let labels = LABELS.map(|name| format!("s.labels::json->>'{name}'")).join(", ");
    let sql = format!(
        "SELECT d.window_start, sum(d.n), sum(d.errors), sum(d.input_tokens), sum(d.output_tokens), {labels} FROM pane_delta d \
         JOIN series s ON s.tenant = d.tenant AND s.series_id = d.series_id WHERE s.level = 'leaf' \
         GROUP BY d.window_start, s.labels"
    );
    let rows = database.query(&sql).unwrap();
    let parse = |row: Vec<String>| {
        let counts = [1, 2, 3, 4].map(|column: usize| row[column].parse().unwrap());
        ((row[0].parse().unwrap(), row[5..].to_vec()), counts)
    };
    rows.into_iter().map(parse).collect()
}

fn recount(database: &Database, manifest: &serde_json::Value) {
    let expected = manifest_counts(manifest);
    let stored = stored_counts(database);
    for (key, counts) in &expected {
        assert_eq!(stored.get(key), Some(counts), "{key:?}");
    }
    assert_eq!(stored.len(), expected.len());
    // Parents carry the same totals.
    let sums = "SELECT DISTINCT sum(n) || ' ' || sum(input_tokens) || ' ' || sum(output_tokens) FROM pane_delta d \
                JOIN series s ON s.tenant = d.tenant AND s.series_id = d.series_id GROUP BY s.level";
    assert_eq!(database.query(sums).unwrap().len(), 1, "levels disagree");
    chains_whole(database);
}

/// Offset ranges of every partition join without gap or overlap, from the first to the stored offset.
pub fn chains_whole(database: &Database) {
    assert_eq!(chains(database), Ok(()));
}

/// As `chains_whole`, with what is wrong.
pub fn chains(database: &Database) -> Result<(), String> {
    let broken = "SELECT count(*) FROM (SELECT from_offset, lag(to_offset) OVER (PARTITION BY topic, incarnation, part ORDER BY from_offset) AS before \
                  FROM flush_range) r WHERE before IS NOT NULL AND before <> from_offset";
    if database.number(broken) != 0 {
        return Err("offset ranges have a gap or overlap".into());
    }
    let unbalanced = "SELECT count(*) FROM ledger WHERE consumed <> decoded + undecodable OR seen <> on_time + late + kept + future + \
                      duplicate + merged + skipped + dead_lettered";
    if database.number(unbalanced) != 0 {
        return Err("the ledger does not add up".into());
    }
    Ok(())
}

/// Calls and token sums of a trace file, without any of Leeway's code.
fn file_totals(path: &Path) -> [i64; 3] {
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    let mut totals = [0; 3];
    for line in text.lines() {
        let tokens = match serde_json::from_str::<serde_json::Value>(line) {
            Ok(json) => Some((json["input_tokens"].as_i64().unwrap(), json["output_tokens"].as_i64().unwrap())),
            Err(_) => {
                let fields: Vec<&str> = line.split(',').collect();
                fields[1].parse().ok().zip(fields[2].parse().ok())
            }
        };
        if let Some((input, output)) = tokens {
            totals = [totals[0] + 1, totals[1] + input, totals[2] + output];
        }
    }
    totals
}

#[test]
fn whole_real_traces_are_counted_exactly() {
    let files = [
        "traces/azure2023/code.csv.gz",
        "traces/azure2023/conv.csv.gz",
        "traces/mooncake-fast25/conversation.jsonl.gz",
    ];
    let mut rows = 0;
    for file in files {
        let Some(path) = shared(file) else { return };
        let (database, topic) = (Database::new(), topic(4));
        let manifest = loadgen(&topic, &["--trace", path.to_str().unwrap()]);
        let totals = file_totals(&path);
        let _process = Node::new(&database, &topic).start();
        let sum = "SELECT COALESCE(sum(on_time + late), 0) FROM ledger";
        database_ready(&database);
        database.wait_number("all calls", 60, sum, totals[0]);
        recount(&database, &manifest);
        let stored = database.query("SELECT sum(n), sum(input_tokens), sum(output_tokens) FROM pane_delta d JOIN series s ON s.tenant = d.tenant AND s.series_id = d.series_id WHERE s.level = 'all'").unwrap();
        let stored: Vec<i64> = stored[0].iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(stored, totals, "{file}: the file's own totals");
        rows += totals[0];
    }
    assert_eq!(rows, 26_342);
}

#[test]
fn half_an_hour_of_servegen_is_counted_exactly() {
    let mut models = vec![("deepseek-r1", "30")];
    if std::env::var_os("LEEWAY_TEST_LONG").is_some() {
        models.push(("m-large", "30"));
    }
    for (model, minutes) in models {
        let Some(path) = shared(&format!("traces/servegen/{model}-rates.csv.gz")) else { return };
        let (database, topic) = (Database::new(), topic(4));
        let manifest = loadgen(&topic, &["--trace", path.to_str().unwrap(), "--minutes", minutes, "--seed", "11"]);
        let calls = manifest["calls"].as_i64().unwrap();
        assert!(calls > 5_000, "{model}: {calls} calls");
        let _process = Node::new(&database, &topic).start();
        database_ready(&database);
        database.wait_number("all calls", 300, "SELECT COALESCE(sum(on_time + late), 0) FROM ledger", calls);
        recount(&database, &manifest);
    }
}

/// The figures' traffic has failures, so errors are recounted too; and three ways of writing twice count once.
#[test]
fn duplicates_count_once_and_failures_count() {
    let (database, topic) = (Database::new(), topic(3));
    let args = [
        "--count",
        "4000",
        "--seed",
        "5",
        "--shift-to",
        &leeway_core::clock::rfc3339(crate::harness::now_us() - 60_000_000),
    ];
    let manifest = loadgen(&topic, &args);
    let _process = Node::new(&database, &topic).start();
    database_ready(&database);
    database.wait_number("all calls", 60, "SELECT COALESCE(sum(on_time + late), 0) FROM ledger", 4000);
    loadgen(&topic, &args);
    database.wait_number("all records", 60, "SELECT COALESCE(sum(seen), 0) FROM ledger", 8000);
    assert_eq!(database.number("SELECT sum(duplicate + merged) FROM ledger"), 4000);
    assert_eq!(database.number("SELECT sum(conflicting) FROM ledger"), 0);
    let errors: i64 = manifest["minutes"].as_array().unwrap().iter().map(|row| row["errors"].as_i64().unwrap()).sum();
    assert!(errors > 5);
    recount(&database, &manifest);
}

pub fn database_ready(database: &Database) {
    wait_for("the schema", 30, || database.query("SELECT count(*) FROM ledger").map(|_| ()));
}
