//! Three processes under fire: killed, stopped and woken at random while events come, with copies, pairs of span and
//! log record, late and poisoned ones. Afterwards every window and app is recounted against what was written.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::calls::captured;
use crate::harness::{Database, Node, Process, call, now_us, produce, topic, wait_for};
use crate::traces::chains_whole;

const MINUTE: i64 = 60_000_000;
const PARTITIONS: i32 = 6;

/// A small generator with a seed that is printed: the same seed is the same run of faults.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        // xorshift64*, Vigna 2016.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }
}

/// (window, app) → calls that must be counted.
type Expected = BTreeMap<(i64, String), i64>;

/// Writes paced batches until `rounds` are through; answers what must be counted, and how many messages were written.
fn write(topic: &str, start: i64, rounds: usize, size: usize) -> (Expected, i64, i64) {
    let (mut expected, mut messages, mut poison) = (Expected::new(), 0, 0);
    for round in 0..rounds {
        let mut batch: Vec<(i32, i64, Vec<u8>)> = Vec::new();
        for i in 0..size {
            // Every tenth call is late by some minutes.
            let late = if i % 10 == 9 { 7 * MINUTE } else { 0 };
            let at = start + round as i64 * 2_000_000 + i as i64 * 1_000 - late;
            let app = format!("app{}", i % 5);
            let event = call(&format!("x{round}-{i}"), at, &app, 5.0).into_bytes();
            *expected.entry((at.div_euclid(MINUTE) * MINUTE, app)).or_default() += 1;
            batch.push(((i % PARTITIONS as usize) as i32, at + late, event.clone()));
            if i % 25 == 0 {
                // A copy on another partition, which another process may own.
                batch.push((((i + 3) % PARTITIONS as usize) as i32, at + late, event));
            }
            if i % 100 == 50 {
                batch.push(((i % PARTITIONS as usize) as i32, at + late, b"{\"time\":".to_vec()));
                poison += 1;
            }
        }
        messages += batch.len() as i64;
        produce(topic, batch.iter().map(|(partition, at, event)| (*partition, *at, &event[..])));
        std::thread::sleep(Duration::from_millis(400));
    }
    (expected, messages, poison)
}

/// Three processes that read one topic of calls, one of spans and one of log records.
fn nodes(database: &Database, topics: &[String; 3]) -> Vec<Node> {
    (0..3)
        .map(|_| {
            let mut node = Node::new(database, &topics[0]);
            let source = |topic: &str, format: &str| format!("{{ topic = {topic:?}, format = {format:?} }}");
            let sources = [source(&topics[1], "otlp-traces"), source(&topics[2], "otlp-logs")].join(", ");
            node.variables.push(("LEEWAY_KAFKA__SOURCES".into(), format!("[{sources}]")));
            node.variables.push(("LEEWAY_KAFKA__THREADS".into(), "1".into()));
            node
        })
        .collect()
}

#[test]
fn three_processes_under_fire_count_what_was_written() {
    let long = std::env::var_os("LEEWAY_TEST_LONG").is_some();
    let (rounds, size) = if long { (500, 200) } else { (80, 200) };
    let (database, topics) = (Database::new(), [topic(PARTITIONS), topic(2), topic(2)]);
    let nodes = nodes(&database, &topics);
    let seed = now_us() as u64;
    println!("  seed {seed}");
    let mut dice = Dice(seed | 1);
    let start = now_us() - 20 * MINUTE;
    let (mut kills, mut stops) = (0, 0);
    let (expected, messages, poison) = std::thread::scope(|scope| {
        let main = topics[0].clone();
        let writer = scope.spawn(move || write(&main, start, rounds, size));
        let mut processes: Vec<Process> = nodes.iter().map(Node::start).collect();
        for (topic, signal) in
            [(&topics[1], "traces"), (&topics[2], "logs"), (&topics[1], "traces"), (&topics[2], "logs")]
        {
            let pairs = captured("genai-openai/exp_both", signal);
            produce(topic, pairs.iter().enumerate().map(|(i, (at, bytes))| ((i % 2) as i32, *at, &bytes[..])));
        }
        while !writer.is_finished() {
            std::thread::sleep(Duration::from_millis(400 + dice.below(1_500)));
            let place = dice.below(3) as usize;
            if (kills + stops) % 5 == 4 {
                // Stopped for longer than its session: another one takes over, and it wakes up as a zombie.
                processes[place].signal(libc::SIGSTOP);
                std::thread::sleep(Duration::from_millis(3_500 + dice.below(1_500)));
                processes[place].signal(libc::SIGCONT);
                stops += 1;
            } else {
                processes[place].kill();
                kills += 1;
            }
            for (process, node) in processes.iter_mut().zip(&nodes) {
                if !process.running() {
                    *process = node.start();
                }
            }
        }
        let written = writer.join().unwrap();
        let deadline = Instant::now() + Duration::from_secs(120);
        let calls: i64 = written.0.values().sum();
        wait_for("every call", 120, || {
            for (process, node) in processes.iter_mut().zip(&nodes) {
                if !process.running() && Instant::now() < deadline {
                    *process = node.start();
                }
            }
            let sql = "SELECT COALESCE(sum(n), 0) FROM pane_delta d JOIN series s USING (tenant, series_id) \
                       WHERE s.level = 'leaf' AND s.labels::json->>'app' LIKE 'app%'";
            let seen: i64 = database.query(sql)?[0][0].parse().unwrap_or(0);
            if seen == calls { Ok(()) } else { Err(format!("{seen} of {calls}")) }
        });
        let sql = format!("SELECT sum(consumed) FROM ledger WHERE topic = '{}'", topics[0]);
        database.wait_number("every message", 60, &sql, written.1);
        written
    });
    println!("  {messages} messages, {kills} kills, {stops} stops");
    recount(&database, &topics[0], &expected, (messages, poison));
    assert!(kills >= if long { 30 } else { 5 }, "{kills} kills");
}

/// What was written, by psql.
fn recount(database: &Database, topic: &str, expected: &Expected, (messages, poison): (i64, i64)) {
    let rows = "SELECT window_start, s.labels::json->>'app', sum(n) FROM pane_delta d JOIN series s USING (tenant, series_id) \
                WHERE s.level = 'leaf' AND s.labels::json->>'app' LIKE 'app%' GROUP BY 1, 2";
    let counted: Expected = database
        .query(rows)
        .unwrap()
        .into_iter()
        .map(|row| ((row[0].parse().unwrap(), row[1].clone()), row[2].parse().unwrap()))
        .collect();
    assert_eq!(&counted, expected, "every window and app");
    chains_whole(database);
    let ledger = |column: &str| {
        database.number(&format!("SELECT COALESCE(sum({column}), 0) FROM ledger WHERE topic = '{}'", topic))
    };
    assert_eq!((ledger("undecodable"), ledger("conflicting")), (poison, 0));
    assert_eq!(ledger("duplicate") + ledger("merged"), messages - poison - expected.values().sum::<i64>());
    assert_eq!(
        database.number("SELECT count(*) FROM dead_letter WHERE reason = 'quarantined'"),
        0,
        "nothing good is quarantined"
    );
    // Span and log record of each captured call, each sent twice, made one call.
    let pairs = "SELECT sum(n) FROM pane_delta d JOIN series s USING (tenant, series_id) WHERE s.level = 'app' \
                 AND s.labels::json->>'app' = 'support-bot'";
    assert_eq!(database.number(pairs), crate::calls::captured_calls());
}
