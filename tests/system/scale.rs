//! More processes on one group, and services that die: same totals, one evaluator, one mail.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::harness::{
    Database, Node, Process, call, create_topic_at, now_us, produce, produce_to, root, topic, unique, wait_for,
};
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
    let (database, topic) = (Database::new(), topic(6));
    let calls = batch("s", 9_000, 6);
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
                write(&batch(&format!("more{}-", now_us()), 60, 6));
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

/// A broker or database of its own, killed without a word and started again.
struct Service {
    script: PathBuf,
    folder: PathBuf,
    address: String,
}

impl Service {
    fn start(script: &str) -> Self {
        // Postgres' own user must reach the folder.
        let folder = Path::new("/tmp").join(unique("leeway-service"));
        let mut service = Self { script: root().join("scripts").join(script), folder, address: String::new() };
        service.address = service.run("start");
        service
    }

    fn run(&self, what: &str) -> String {
        // The services of the other tests are named by variables that these must not see.
        let done = Command::new(&self.script).args([what]).arg(&self.folder).output().unwrap();
        assert!(done.status.success(), "{what}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }

    fn kill(&self) {
        let how = if self.script.ends_with("postgres.sh") { "kill" } else { "stop" };
        self.run(how);
    }

    fn restart(&self) {
        wait_for("the service to come back", 60, || {
            let done = Command::new(&self.script).arg("start").arg(&self.folder).output().unwrap();
            if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
        });
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = Command::new(&self.script).arg("stop").arg(&self.folder).output();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_killed_broker_and_a_killed_database_change_no_count() {
    let (kafka, postgres) = (Service::start("kafka.sh"), Service::start("postgres.sh"));
    let database = Database { url: postgres.address.clone() };
    create_topic_at(&kafka.address, "events", 3);
    let mut node = Node::new(&database, "events");
    node.variables.push(("LEEWAY_KAFKA__BROKERS".into(), kafka.address.clone()));
    let mut process = node.start();
    let total = 12 * 500;
    std::thread::scope(|scope| {
        let brokers = kafka.address.clone();
        let writer = scope.spawn(move || {
            for round in 0..12 {
                let calls = batch(&format!("k{round}-"), 500, 3);
                produce_to(&brokers, "events", calls.iter().map(|(p, at, text)| (*p, *at, text.as_bytes())));
                std::thread::sleep(Duration::from_millis(700));
            }
        });
        for round in 0..2 {
            std::thread::sleep(Duration::from_millis(1_500 + 400 * round));
            kafka.kill();
            std::thread::sleep(Duration::from_millis(500));
            kafka.restart();
            std::thread::sleep(Duration::from_millis(1_500));
            postgres.kill();
            std::thread::sleep(Duration::from_millis(500));
            postgres.restart();
        }
        writer.join().unwrap();
    });
    wait_for("every call", 120, || {
        // A process that gave up is started again by whoever watches it.
        if !process.running() {
            process = node.start();
        }
        let seen = database.query(LEAVES)?[0][0].clone();
        if seen == total.to_string() { Ok(()) } else { Err(seen) }
    });
    chains_whole(&database);
}
