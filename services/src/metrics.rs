//! Leeway's own numbers, in the Prometheus text format at `/metrics`.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::thread::ThreadId;

use hdrhistogram::Histogram;
use leeway_core::clock::{MILLISECOND, Micros, SECOND};

use crate::flush::PartBatch;

/// Counters of one process. They are read by people and never by the pipeline.
#[derive(Debug)]
pub struct Metrics {
    messages: AtomicU64,
    flushes: AtomicU64,
    flush_failures: AtomicU64,
    fenced: AtomicU64,
    rows: AtomicU64,
    restarts: AtomicU64,
    uncovered: AtomicI64,
    /// Partitions that wait for a schema registry, by consumer thread.
    waiting: Mutex<HashMap<ThreadId, usize>>,
    last_flush_at: AtomicI64,
    evaluations: AtomicU64,
    joined: AtomicU64,
    orphans: AtomicU64,
    deliveries: [AtomicU64; 4],
    /// Rows, or hours of rows, that were dropped for their age.
    expired: Mutex<BTreeMap<&'static str, u64>>,
    store_bytes: AtomicU64,
    /// Streams of anomaly rules by rule: tested, and such as cannot be.
    streams: Mutex<BTreeMap<String, [usize; 2]>>,
    /// Milliseconds from the end of a window to its evaluation.
    evaluation_lag_ms: Mutex<Histogram<u64>>,
}

impl Default for Metrics {
    fn default() -> Self {
        // 1 ms to 1 day at 2 digits; the bounds are constants that always fit.
        let histogram =
            Histogram::new_with_bounds(1, 86_400_000, 2).unwrap_or_else(|_| unreachable!("constant bounds"));
        Self {
            messages: AtomicU64::new(0),
            flushes: AtomicU64::new(0),
            flush_failures: AtomicU64::new(0),
            fenced: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            uncovered: AtomicI64::new(0),
            waiting: Mutex::default(),
            last_flush_at: AtomicI64::new(0),
            evaluations: AtomicU64::new(0),
            joined: AtomicU64::new(0),
            orphans: AtomicU64::new(0),
            deliveries: Default::default(),
            expired: Mutex::default(),
            store_bytes: AtomicU64::new(0),
            streams: Mutex::default(),
            evaluation_lag_ms: Mutex::new(histogram),
        }
    }
}

pub const OUTCOMES: [&str; 4] = ["accepted", "retry", "refused", "gone"];

impl Metrics {
    pub fn flushed(&self, parts: &[PartBatch], wall: Micros) {
        let consumed: u64 =
            parts.iter().flat_map(|part| part.buffer.ledger.values()).map(|ledger| ledger.consumed).sum();
        self.messages.fetch_add(consumed, Relaxed);
        self.flushes.fetch_add(1, Relaxed);
        self.last_flush_at.store(wall, Relaxed);
    }
    pub fn flush_failed(&self) {
        self.flush_failures.fetch_add(1, Relaxed);
    }
    pub fn fenced(&self) {
        self.fenced.fetch_add(1, Relaxed);
    }
    pub fn rows(&self, rows: usize) {
        self.rows.fetch_add(rows as u64, Relaxed);
    }
    pub fn restarted(&self) {
        self.restarts.fetch_add(1, Relaxed);
    }
    pub fn uncovered(&self, partitions: usize) {
        self.uncovered.store(partitions as i64, Relaxed);
    }
    /// Of the calling consumer thread.
    pub fn waiting(&self, partitions: usize) {
        if let Ok(mut waiting) = self.waiting.lock() {
            waiting.insert(std::thread::current().id(), partitions);
        }
    }
    pub fn evaluated(&self, lag: Micros) {
        self.evaluations.fetch_add(1, Relaxed);
        if let Ok(mut histogram) = self.evaluation_lag_ms.lock() {
            histogram.saturating_record((lag / MILLISECOND).max(1) as u64);
        }
    }
    pub fn streams(&self, rule: &str, tested: usize, untestable: usize) {
        if let Ok(mut streams) = self.streams.lock() {
            streams.insert(rule.to_owned(), [tested, untestable]);
        }
    }
    pub fn joined(&self, joined: usize, orphans: usize) {
        self.joined.fetch_add(joined as u64, Relaxed);
        self.orphans.fetch_add(orphans as u64, Relaxed);
    }
    pub fn delivered(&self, outcome: &str) {
        if let Some(place) = OUTCOMES.iter().position(|known| *known == outcome) {
            self.deliveries[place].fetch_add(1, Relaxed);
        }
    }

    pub fn expired(&self, what: &'static str, dropped: u64) {
        if let Ok(mut expired) = self.expired.lock() {
            *expired.entry(what).or_default() += dropped;
        }
    }
    pub fn store_bytes(&self, bytes: u64) {
        self.store_bytes.store(bytes, Relaxed);
    }

    /// What the upkeep knows; nothing in a process that does none.
    fn upkeep_text(&self, out: &mut String) {
        let name = "leeway_expired_total";
        let _ = write!(out, "# HELP {name} Rows, or hours of them, dropped for their age.\n# TYPE {name} counter\n");
        for (what, dropped) in self.expired.lock().iter().flat_map(|expired| expired.iter()) {
            let _ = writeln!(out, "{name}{{what=\"{what}\"}} {dropped}");
        }
        let (name, bytes) = ("leeway_store_bytes", self.store_bytes.load(Relaxed));
        if bytes > 0 {
            let help = "Bytes of the database on its disk, looked at once an hour.";
            let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {bytes}\n");
        }
    }

    fn streams_text(&self, out: &mut String) {
        let name = "leeway_streams";
        let _ =
            write!(out, "# HELP {name} Streams of anomaly rules, tested and such as cannot be.\n# TYPE {name} gauge\n");
        for (rule, counts) in self.streams.lock().iter().flat_map(|streams| streams.iter()) {
            for (state, count) in ["tested", "untestable"].iter().zip(counts) {
                let _ = writeln!(out, "{name}{{rule=\"{rule}\",state=\"{state}\"}} {count}");
            }
        }
    }

    /// The text format, with `extra` gauges read from the store.
    pub fn text(&self, extra: &[(&str, &str, f64)]) -> String {
        let mut out = String::new();
        let counters = [
            ("leeway_messages_total", "Kafka messages and HTTP requests whose flush is committed.", &self.messages),
            ("leeway_flushes_total", "Committed flushes.", &self.flushes),
            ("leeway_flush_failures_total", "Flush attempts that failed and were tried again.", &self.flush_failures),
            (
                "leeway_partitions_fenced_total",
                "Buffers dropped because another owner had the partition.",
                &self.fenced,
            ),
            ("leeway_pane_rows_total", "Pane rows written.", &self.rows),
            ("leeway_consumer_restarts_total", "Consumers made anew by the watchdog.", &self.restarts),
            ("leeway_evaluations_total", "Rule evaluations.", &self.evaluations),
            ("leeway_feedback_joined_total", "Feedback joined with its call.", &self.joined),
            ("leeway_feedback_orphans_total", "Feedback whose call did not come in time.", &self.orphans),
        ];
        for (name, help, counter) in counters {
            let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {}\n", counter.load(Relaxed));
        }
        let name = "leeway_notifications_total";
        let _ = write!(out, "# HELP {name} Delivery attempts by outcome.\n# TYPE {name} counter\n");
        for (outcome, counter) in OUTCOMES.iter().zip(&self.deliveries) {
            let _ = writeln!(out, "{name}{{outcome=\"{outcome}\"}} {}", counter.load(Relaxed));
        }
        let _ = write!(
            out,
            "# HELP leeway_partitions_uncovered Partitions without an owner or a recent flush.\n# TYPE leeway_partitions_uncovered gauge\nleeway_partitions_uncovered {}\n",
            self.uncovered.load(Relaxed)
        );
        let waiting: usize = self.waiting.lock().map_or(0, |waiting| waiting.values().sum());
        let name = "leeway_partitions_waiting";
        let help = "Partitions that wait for an answer of the schema registry.";
        let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {waiting}\n");
        self.streams_text(&mut out);
        self.upkeep_text(&mut out);
        let name = "leeway_scan_states_made_anew_total";
        let help = "How often texts were so strange that the states of a scan's automaton did not fit.";
        let cleared = leeway_detectors::scan::cleared();
        let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {cleared}\n");
        let last = self.last_flush_at.load(Relaxed) / SECOND;
        let _ = write!(
            out,
            "# HELP leeway_last_flush_timestamp_seconds Wall time of the last committed flush; 0 = none.\n# TYPE leeway_last_flush_timestamp_seconds gauge\nleeway_last_flush_timestamp_seconds {last}\n"
        );
        if let Ok(histogram) = self.evaluation_lag_ms.lock() {
            let name = "leeway_evaluation_lag_seconds";
            let _ = write!(out, "# HELP {name} From the end of a window to its evaluation.\n# TYPE {name} summary\n");
            for q in [0.5, 0.95, 0.99] {
                let _ = writeln!(out, "{name}{{quantile=\"{q}\"}} {}", histogram.value_at_quantile(q) as f64 / 1e3);
            }
            let _ = writeln!(out, "{name}_count {}", histogram.len());
        }
        for (name, help, value) in extra {
            let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n");
        }
        out
    }
}
