//! More processes on one group: same totals.

use std::time::Duration;

use crate::harness::{Database, Node, Process, call, now_us, produce, topic, wait_for};
use crate::traces::chains_whole;

const LEAVES: &str =
    "SELECT COALESCE(sum(n), 0) FROM pane_delta d JOIN series s USING (tenant, series_id) WHERE s.level = 'leaf'";

fn batch(prefix: &str, n: usize, partitions: i32) -> Vec<(i32, i64, String)> {
    let now = now_us() - 120_000_000;
    (0..n)
        .map(|i| {
            let at = now + i as i64 * 1_000;
            (i as i32 % partitions, at, call(&format!("{prefix}{i}"), at, &format!("app{}", i % 7), 5.0))
        })
        .collect()
}

/// What a number of processes count of the same calls, with half of them joining midway.
fn totals(processes: usize) -> Vec<Vec<String>> {
    let (database, topic) = (Database::new(), topic(12));
    let calls = batch("s", 9_000, 12);
    let write = |part: &[(i32, i64, String)]| {
        produce(&topic, part.iter().map(|(partition, at, text)| (*partition, *at, text.as_bytes())));
    };
    write(&calls[..4_000]);
    let mut running: Vec<Process> = Vec::new();
    for number in 0..processes {
        running.push(Node::new(&database, &topic).start());
        if number == 0 {
            database.wait_number("a start", 60, "SELECT CAST(count(*) > 0 AS int) FROM ledger", 1);
        }
    }
    // Duplicates too: whoever reads the copy must find what another process counted.
    write(&calls[4_000..]);
    write(&calls[..500]);
    database.wait_number("every call", 90, LEAVES, calls.len() as i64);
    database.wait_number("every copy", 60, "SELECT sum(duplicate) + sum(merged) FROM ledger", 500);
    chains_whole(&database);
    let sums = "SELECT s.labels, sum(n), sum(errors), sum(input_tokens), sum(cost_nano) FROM pane_delta d JOIN series s \
                USING (tenant, series_id) WHERE s.level = 'app' GROUP BY s.labels ORDER BY s.labels";
    let rows = database.query(sums).unwrap();
    if processes > 1 {
        let owners = "SELECT count(DISTINCT owner) FROM flush_range";
        wait_for("shared work", 60, || match database.number(owners) {
            owners if owners >= processes as i64 => Ok(()),
            owners => {
                write(&batch(&format!("more{}-", now_us()), 60, 12));
                std::thread::sleep(Duration::from_secs(1));
                Err(format!("{owners} owners"))
            }
        });
    }
    for process in &mut running {
        assert!(process.running(), "{}", process.log());
    }
    rows
}

#[test]
fn one_two_and_three_processes_count_the_same() {
    let one = totals(1);
    assert_eq!(one.len(), 7);
    let calls: i64 = one.iter().map(|row| row[1].parse::<i64>().unwrap()).sum();
    assert_eq!(calls, 9_000);
    assert_eq!(totals(2), one);
    assert_eq!(totals(3), one);
}
