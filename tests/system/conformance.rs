//! One suite over both engines: what the store promises, Postgres and SQLite keep alike.

use leeway_core::event::{Label, Record, RecordKind, Status};
use leeway_core::labels::{Labels, Level};
use leeway_core::ledger::Ledger;
use leeway_core::pane::{Numbers, Pane, UNIT_WEIGHT};
use leeway_store::{
    CallClaim, DeadLetter, EvaluationWrite, Facet, LedgerRow, Location, LogRange, PaneRow, PartWrite, PartitionKey,
    RuleProgress, SeriesRef, Store, StoreError,
};

use crate::harness::{Database, block, unique};

const MINUTE: i64 = 60_000_000;
pub const T: i64 = 1_795_225_500_000_000;

pub fn both(test: impl AsyncFn(Store)) {
    let sqlite = std::env::temp_dir().join(unique("conformance")).join("leeway.sqlite");
    for location in [Location::Postgres(Database::new().url), Location::Sqlite(sqlite)] {
        println!("  on {}", if matches!(location, Location::Postgres(_)) { "Postgres" } else { "SQLite" });
        block(async {
            let store = Store::open(&location).await.unwrap();
            test(store.clone()).await;
            store.close().await;
        });
    }
}

pub fn key(partition: i32) -> PartitionKey {
    PartitionKey { source: "kafka".into(), topic: "t".into(), incarnation: "c/1".into(), partition }
}

pub fn log(low: i64, high: i64) -> LogRange {
    LogRange { low, high, first: low }
}

pub fn write(partition: i32, epoch: i64, from: i64, to: i64) -> PartWrite {
    PartWrite { key: key(partition), epoch, from, to, watermark: T, newest_at: T, high: to, attempts: 0 }
}

pub fn labels(app: &str) -> Labels {
    let pairs = [("operation", "chat"), ("served", "true"), ("tenant", "acme"), ("app", app), ("model", "m")];
    Labels { level: Level::Leaf, values: pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect() }
}

pub fn pane(calls: usize) -> Pane {
    let mut pane = Pane::default();
    for i in 0..calls {
        pane.add(&Numbers {
            status: Status::Ok,
            duration_us: Some(1000 + i as u64),
            weight_micro: UNIT_WEIGHT,
            ..Numbers::default()
        });
    }
    pane
}

fn row(labels: &Labels, minute: i64, pane: &Pane) -> PaneRow {
    PaneRow::of(labels.tenant(), labels.id(), minute, pane)
}

async fn flush(store: &Store, id: i64, part: PartWrite, calls: usize) -> Result<(), Vec<usize>> {
    flush_into(store, id, part, calls, T).await
}

pub async fn flush_into(store: &Store, id: i64, part: PartWrite, calls: usize, window: i64) -> Result<(), Vec<usize>> {
    let mut tx = store.begin_flush(id, "me", &[part], T).await.unwrap()?;
    let labels = labels("shop");
    let wanted = [SeriesRef { id: labels.id(), day: 1, labels: labels.clone() }];
    tx.admit(&wanted, 100, T).await.unwrap();
    let rows = [row(&labels, window, &pane(calls))];
    tx.panes(&rows).await.unwrap();
    tx.touch_windows(&rows).await.unwrap();
    tx.commit().await.unwrap();
    Ok(())
}

#[test]
fn offsets_move_by_compare_and_set_alone() {
    both(async |store| {
        let first = store.acquire(&key(0), "a", log(5, 50), T).await.unwrap();
        assert_eq!((first.next_offset, first.epoch, first.lost), (5, 1, 0));
        flush(&store, 1, write(0, 1, 5, 20), 3).await.unwrap();
        assert_eq!(flush(&store, 2, write(0, 1, 5, 20), 3).await, Err(vec![0]), "the same range again");
        let second = store.acquire(&key(0), "b", log(5, 50), T).await.unwrap();
        assert_eq!((second.next_offset, second.epoch), (20, 2));
        assert_eq!(flush(&store, 3, write(0, 1, 20, 30), 3).await, Err(vec![0]), "the old owner");
        flush(&store, 4, write(0, 2, 20, 30), 4).await.unwrap();
        assert!(store.flushed(4).await.unwrap() && !store.flushed(3).await.unwrap());
        let panes = store.panes(Level::Leaf, Some("acme"), T, T + MINUTE).await.unwrap();
        assert_eq!(panes.iter().map(|p| p.pane.calls()).sum::<u64>(), 7);
    });
}

#[test]
fn a_dropped_flush_leaves_nothing() {
    both(async |store| {
        store.acquire(&key(0), "a", log(0, 50), T).await.unwrap();
        let mut tx = store.begin_flush(1, "me", &[write(0, 1, 0, 9)], T).await.unwrap().unwrap();
        tx.panes(&[row(&labels("x"), T, &pane(2))]).await.unwrap();
        drop(tx);
        assert_eq!(store.acquire(&key(0), "a", log(0, 50), T).await.unwrap().next_offset, 0);
        assert!(!store.flushed(1).await.unwrap());
    });
}

#[test]
fn a_gap_is_written_down_and_a_foreign_log_refused() {
    both(async |store| {
        store.acquire(&key(0), "a", log(0, 50), T).await.unwrap();
        let later = store.acquire(&key(0), "a", log(30, 50), T).await.unwrap();
        assert_eq!((later.next_offset, later.lost), (30, 30));
        assert_eq!(store.ledger_since(0).await.unwrap().lost, 30);
        let refused = store.acquire(&key(0), "a", log(0, 10), T).await;
        assert!(matches!(refused, Err(StoreError::OutOfRange { stored: 30, high: 10, .. })), "{refused:?}");
    });
}

#[test]
fn the_breaker_counts_deaths_at_one_offset() {
    both(async |store| {
        for attempt in 1..=3 {
            let acquired = store.acquire(&key(0), "a", log(0, 9), T).await.unwrap();
            assert_eq!(acquired.attempts, attempt);
        }
        assert!(store.mark(&key(0), 3, Some(4), false).await.unwrap());
        assert!(!store.mark(&key(0), 2, Some(4), false).await.unwrap(), "an old epoch");
        assert_eq!(store.acquire(&key(0), "a", log(0, 9), T).await.unwrap().marker_hits, 1);
        assert!(store.mark(&key(0), 4, None, false).await.unwrap());
        for (epoch, hits) in [(4, 1), (5, 2)] {
            assert!(store.mark(&key(0), epoch, Some(4), false).await.unwrap());
            assert!(store.mark(&key(0), epoch, Some(4), true).await.unwrap(), "its answer was lost");
            let next = store.acquire(&key(0), "a", log(0, 9), T).await.unwrap();
            assert_eq!((next.marker, next.marker_hits), (Some(4), hits));
        }
        // An owner that dies before it marks says nothing of the message.
        let seventh = store.acquire(&key(0), "a", log(0, 9), T).await.unwrap();
        assert_eq!((seventh.epoch, seventh.marker, seventh.marker_hits), (7, Some(4), 2));
        flush(&store, 1, PartWrite { high: 9, ..write(0, 7, 0, 5) }, 1).await.unwrap();
        let calm = store.acquire(&key(0), "a", log(0, 9), T).await.unwrap();
        assert_eq!((calm.attempts, calm.marker), (1, None), "progress clears the breaker");
        store.release(&key(0), 8).await.unwrap();
        assert_eq!(store.acquire(&key(0), "a", log(0, 9), T).await.unwrap().attempts, 1);
    });
}

#[test]
fn a_call_is_claimed_once_and_a_contradiction_is_seen() {
    both(async |store| {
        store.acquire(&key(0), "a", log(0, 50), T).await.unwrap();
        let part = |n: u8, facet, digest| CallClaim {
            tenant: "acme".into(),
            key: [n; 16],
            facet,
            day: 1,
            digest,
            whole: n != 1,
            series: [9; 16],
            minute: T,
        };
        let claim = |n: u8, digest| part(n, Facet::Call, digest);
        let mut tx = store.begin_flush(1, "me", &[write(0, 1, 0, 9)], T).await.unwrap().unwrap();
        let first = tx.claim_calls(&[claim(1, 7), claim(2, 7)]).await.unwrap();
        assert_eq!((first.fresh.len(), first.counted.len()), (2, 0));
        tx.commit().await.unwrap();
        let mut tx = store.begin_flush(2, "me", &[write(0, 1, 9, 12)], T).await.unwrap().unwrap();
        let again = [claim(3, 7), claim(2, 8), claim(1, 7), part(1, Facet::Timing, 7)];
        let again = tx.claim_calls(&again).await.unwrap();
        let fresh = [("acme".to_owned(), [1; 16], Facet::Timing), ("acme".to_owned(), [3; 16], Facet::Call)];
        assert_eq!(again.fresh, fresh.into());
        let counted = [(("acme".to_owned(), [1; 16]), (7, false)), (("acme".to_owned(), [2; 16]), (7, true))];
        assert_eq!(again.counted, counted.into(), "what was counted, not what came again");
        tx.commit().await.unwrap();
        assert_eq!(store.find_calls("acme", &[[2; 16], [7; 16]]).await.unwrap(), [([2; 16], ([9; 16], T))].into());
        assert_eq!((store.expire_call_index(1).await.unwrap(), store.expire_call_index(2).await.unwrap()), (0, 4));
    });
}

/// A database of the first schema, with what it held then.
#[test]
fn the_first_schema_goes_forward_with_its_rows() {
    let database = Database::new();
    let sql = std::fs::read_to_string(crate::harness::root().join("store/src/migrations/0001.sql")).unwrap();
    let run = |sql: &str| database.query(sql).unwrap_or_else(|error| panic!("{error}"));
    run(&sql);
    run("CREATE TABLE schema_version (version BIGINT PRIMARY KEY, applied_at BIGINT NOT NULL)");
    run("INSERT INTO schema_version VALUES (1, 0)");
    run("INSERT INTO feedback VALUES ('acme', 'f', 5, 'a', 'success', '{}')");
    run("INSERT INTO call_index VALUES ('acme', decode(repeat('07', 16), 'hex'), 'call', 1, 9)");
    block(async {
        let store = Store::open(&Location::Postgres(database.url.clone())).await.unwrap();
        store.acquire(&key(0), "a", log(0, 50), T).await.unwrap();
        let mut tx = store.begin_flush(1, "me", &[write(0, 1, 0, 9)], T).await.unwrap().unwrap();
        // What the first schema counted was whole: no part of it counts again.
        let claim = CallClaim {
            tenant: "acme".into(),
            key: [7; 16],
            facet: Facet::Text,
            day: 1,
            digest: 9,
            whole: false,
            series: [9; 16],
            minute: T,
        };
        assert_eq!(tx.claim_calls(&[claim]).await.unwrap().counted[&("acme".to_owned(), [7; 16])], (9, true));
        let label = Label { target: Some([7; 16]), trace: None, source: "user".into(), given: true, micro: Some(0) };
        let record = Record {
            kind: RecordKind::Feedback,
            tenant: "acme".into(),
            id: "f".into(),
            time: 6,
            app: "a".into(),
            name: "success".into(),
            body: "{\"value\":false}".into(),
            label: Some(label),
        };
        tx.records(&[record], T).await.unwrap();
        tx.commit().await.unwrap();
        let waiting = store.waiting_feedback(T, 10).await.unwrap();
        assert_eq!((waiting.len(), waiting[0].target, waiting[0].received_at), (1, [7; 16], T));
        store.close().await;
    });
}

#[test]
fn the_cap_folds_alike_for_everybody() {
    both(async |store| {
        store.acquire(&key(0), "a", log(0, 50), T).await.unwrap();
        let wanted: Vec<SeriesRef> =
            (0..5).map(|i| labels(&format!("app{i}"))).map(|l| SeriesRef { id: l.id(), day: 1, labels: l }).collect();
        let mut tx = store.begin_flush(1, "me", &[write(0, 1, 0, 9)], T).await.unwrap().unwrap();
        let folded = tx.admit(&wanted, 3, T).await.unwrap();
        assert_eq!(folded.len(), 2);
        tx.commit().await.unwrap();
        let mut tx = store.begin_flush(2, "you", &[write(0, 1, 9, 10)], T).await.unwrap().unwrap();
        assert_eq!(tx.admit(&wanted, 3, T).await.unwrap(), folded, "another worker, the same answer");
        tx.fold(&[], &[("acme".into(), 1, 8)], T).await.unwrap();
        tx.commit().await.unwrap();
        let load = &store.tenant_loads(1).await.unwrap()[0];
        assert_eq!((load.series, load.folded_calls), (3, 8));
    });
}

#[test]
fn ledger_dead_letters_and_rows_add_up() {
    both(async |store| {
        store.acquire(&key(0), "a", log(0, 50), T).await.unwrap();
        let ledger =
            Ledger { consumed: 3, decoded: 2, undecodable: 1, seen: 2, on_time: 1, kept: 1, ..Ledger::default() };
        let record = |time, body: &str| Record {
            kind: RecordKind::Change,
            tenant: "acme".into(),
            id: "c1".into(),
            time,
            app: "a".into(),
            name: "release".into(),
            body: body.into(),
            label: None,
        };
        for (id, from) in [(1, 0), (2, 9)] {
            let parts = [write(0, 1, from, from + 9)];
            let mut tx = store.begin_flush(id, "me", &parts, T).await.unwrap().unwrap();
            tx.ledger(&parts, &[LedgerRow { part: 0, minute: T, ledger }]).await.unwrap();
            let letter = DeadLetter {
                part: 0,
                offset: from,
                whole: false,
                record: 0,
                reason: "no_time",
                field: "time",
                bytes: 9,
                received_at: T,
            };
            tx.dead_letters(&parts, &[letter.clone(), letter]).await.unwrap();
            tx.records(&[record(T - id, "{}")], T).await.unwrap();
            tx.commit().await.unwrap();
        }
        let totals = store.ledger_since(0).await.unwrap();
        assert!(totals.ledger.balanced() && totals.ledger.consumed == 6);
        assert_eq!(store.dead_letter_reasons(0).await.unwrap(), [("no_time".to_owned(), 2)]);
        let letters = store.unexported_dead_letters(9).await.unwrap();
        store.mark_exported(&letters).await.unwrap();
        assert!(store.unexported_dead_letters(9).await.unwrap().is_empty());
        let sql = "SELECT time FROM change WHERE tenant = 'acme'";
        assert_eq!(
            store.conn().await.unwrap().query_one(sql, &[]).await.unwrap().unwrap().int(0).unwrap(),
            T - 1,
            "the older record does not win"
        );
    });
}

#[test]
fn compaction_changes_no_bit_of_a_merged_pane() {
    both(async |store| {
        store.acquire(&key(0), "a", log(0, 50), T).await.unwrap();
        for i in 0..5 {
            flush(&store, i + 1, write(0, 1, i * 2, i * 2 + 2), 7 + i as usize).await.unwrap();
        }
        let lease = store.lease("upkeep", "me", T, T + MINUTE).await.unwrap().unwrap();
        let read = async || store.panes(Level::Leaf, Some("acme"), T, T + MINUTE).await.unwrap().remove(0).pane;
        let before = read().await;
        assert_eq!(store.compact(&lease, T).await.unwrap(), 0, "an open window stays");
        assert_eq!(store.compact(&lease, T + MINUTE).await.unwrap(), 1);
        let after = read().await;
        assert_eq!(
            (before.encode_counts(), before.encode_sketches()),
            (after.encode_counts(), after.encode_sketches())
        );
        let sql = "SELECT COUNT(*), MAX(p95_ms) FROM pane_delta";
        let closed = store.conn().await.unwrap().query_one(sql, &[]).await.unwrap().unwrap();
        assert_eq!(closed.int(0).unwrap(), 1);
        assert!(closed.float(1).unwrap() > 1.0);
        flush(&store, 99, write(0, 1, 10, 12), 1).await.unwrap();
        assert_eq!(read().await.calls(), before.calls() + 1, "late data revise a closed window");
        assert_eq!(store.compact(&lease, T + MINUTE).await.unwrap(), 1);
        assert_eq!(read().await.calls(), before.calls() + 1);
    });
}

/// An hour is its minutes to the bit, holds late data as soon as they are committed, and is rolled anew after them.
#[test]
fn hours_are_their_minutes_whatever_comes_late() {
    const HOUR: i64 = 60 * MINUTE;
    both(async |store| {
        let hour = T.div_euclid(HOUR) * HOUR;
        store.acquire(&key(0), "a", log(0, 50), T).await.unwrap();
        for (i, minute) in [1, 2, 59, 61].into_iter().enumerate() {
            let (i, window) = (i as i64, hour + minute * MINUTE);
            flush_into(&store, i + 1, write(0, 1, i, i + 1), 3 + i as usize, window).await.unwrap();
        }
        let merge = |panes: Vec<leeway_store::SeriesPane>| {
            let mut all = Pane::default();
            panes.iter().for_each(|one| all.merge(&one.pane));
            (panes.len(), all.calls(), all.encode_counts(), all.encode_sketches())
        };
        let by_hour =
            async |from: i64| merge(store.hours(Level::Leaf, Some("acme"), from, hour + 2 * HOUR).await.unwrap());
        let by_minute =
            async |from: i64| merge(store.panes(Level::Leaf, Some("acme"), from, hour + 2 * HOUR).await.unwrap());
        let lease = store.lease("upkeep", "me", T, T + MINUTE).await.unwrap().unwrap();
        assert_eq!(store.roll(&lease, hour + 2 * HOUR).await.unwrap(), 0, "open windows");
        assert_eq!(by_hour(hour).await, by_minute(hour).await);
        assert_eq!(store.compact(&lease, hour + 2 * HOUR).await.unwrap(), 4);
        assert_eq!(store.roll(&lease, hour + HOUR).await.unwrap(), 1, "the second hour is not over");
        let (panes, calls, counts, sketches) = by_hour(hour).await;
        let (minutes, same, minute_counts, minute_sketches) = by_minute(hour).await;
        assert_eq!((panes, minutes, calls), (2, 4, same));
        assert_eq!((counts, sketches), (minute_counts, minute_sketches));
        assert_eq!(by_hour(hour + MINUTE).await, by_minute(hour + MINUTE).await, "part of an hour is its minutes");
        // Late data: at once, while their window is open, after it was folded, and after the hour was rolled anew.
        flush_into(&store, 9, write(0, 1, 4, 5), 1, hour + 2 * MINUTE).await.unwrap();
        assert_eq!((by_hour(hour).await.0, by_hour(hour).await.1), (4, calls + 1));
        assert_eq!(store.roll(&lease, hour + HOUR).await.unwrap(), 0, "its window is open");
        assert_eq!(store.compact(&lease, hour + HOUR).await.unwrap(), 1);
        assert_eq!((by_hour(hour).await.0, by_hour(hour).await.1), (4, calls + 1));
        assert_eq!(store.roll(&lease, hour + HOUR).await.unwrap(), 1);
        let rolled = by_hour(hour).await;
        assert_eq!((rolled.0, rolled.1), (2, calls + 1));
        assert_eq!(rolled.2, by_minute(hour).await.2);
        let other = store.hours(Level::App, Some("acme"), hour, hour + 2 * HOUR).await.unwrap();
        assert!(other.is_empty(), "no series of that level, and no hour is lost for it");
        let usurper = store.lease("upkeep", "you", T + 2 * MINUTE, T + 9 * MINUTE).await.unwrap().unwrap();
        assert!(matches!(store.roll(&lease, hour + HOUR).await, Err(StoreError::Fenced(_))));
        assert_eq!(store.roll(&usurper, hour + HOUR).await.unwrap(), 0);
    });
}

/// A source whose process is gone holds nothing back; a process that only slept is fenced and takes its own again.
#[test]
fn a_silent_source_is_retired_and_goes_on_where_it_stood() {
    both(async |store| {
        store.acquire(&key(0), "a", log(0, 0), T).await.unwrap();
        flush(&store, 1, write(0, 1, 0, 2), 3).await.unwrap();
        store.retire("kafka", T).await.unwrap();
        assert_eq!(store.partitions().await.unwrap().len(), 1, "not silent yet");
        store.retire("http", T + 1).await.unwrap();
        store.retire("kafka", T + 1).await.unwrap();
        assert!(store.partitions().await.unwrap().is_empty());
        assert!(flush(&store, 2, write(0, 1, 2, 3), 1).await.is_err(), "it slept and is fenced");
        assert_eq!(store.next_offset(&key(0)).await.unwrap(), 2);
        let again = store.acquire(&key(0), "a", log(0, 2), T).await.unwrap();
        assert_eq!((again.next_offset, again.lost), (2, 0));
        flush(&store, 3, write(0, again.epoch, 2, 3), 1).await.unwrap();
        assert_eq!(store.partitions().await.unwrap().len(), 1);
    });
}

/// Panes that are imported into an hour that was rolled are seen at once.
#[test]
fn an_import_opens_the_hours_that_it_falls_into() {
    const HOUR: i64 = 60 * MINUTE;
    both(async |store| {
        let hour = T.div_euclid(HOUR) * HOUR;
        store.acquire(&key(0), "a", log(0, 50), T).await.unwrap();
        flush_into(&store, 1, write(0, 1, 0, 1), 3, hour).await.unwrap();
        let lease = store.lease("upkeep", "me", T, T + MINUTE).await.unwrap().unwrap();
        store.compact(&lease, hour + HOUR).await.unwrap();
        assert_eq!(store.roll(&lease, hour + HOUR).await.unwrap(), 1);
        let labels = labels("shop");
        let series = [SeriesRef { id: labels.id(), day: 1, labels: labels.clone() }];
        let rows = [row(&labels, hour + 5 * MINUTE, &pane(4))];
        let import = leeway_store::Import { id: "i", note: "n", series: &series, rows: &rows };
        assert!(store.import(&import, T).await.unwrap());
        let calls = async || {
            let panes = store.hours(Level::Leaf, Some("acme"), hour, hour + HOUR).await.unwrap();
            panes.iter().map(|one| one.pane.calls()).sum::<u64>()
        };
        assert_eq!(calls().await, 7);
        store.compact(&lease, hour + HOUR).await.unwrap();
        assert_eq!(store.roll(&lease, hour + HOUR).await.unwrap(), 1);
        assert_eq!(calls().await, 7);
    });
}

#[test]
fn a_lost_lease_fences_its_evaluation() {
    both(async |store| {
        let mine = store.lease("evaluate", "me", T, T + 10).await.unwrap().unwrap();
        assert_eq!(store.lease("evaluate", "you", T + 5, T + 20).await.unwrap(), None);
        assert_eq!(store.lease("evaluate", "me", T + 5, T + 20).await.unwrap().unwrap(), mine);
        let yours = store.lease("evaluate", "you", T + 30, T + 50).await.unwrap().unwrap();
        assert_eq!(yours.epoch, mine.epoch + 1);
        let progress = RuleProgress { rule: "r".into(), version: "1".into(), through: T };
        let refused = store.write_evaluation(&mine, &progress, &EvaluationWrite::default(), T).await;
        assert!(matches!(refused, Err(StoreError::Fenced(_))));
        store.write_evaluation(&yours, &progress, &EvaluationWrite::default(), T).await.unwrap();
        assert_eq!(store.rule_progress().await.unwrap(), [progress]);
        store.release_lease(&yours).await.unwrap();
        assert!(store.lease("evaluate", "me", T + 31, T + 60).await.unwrap().is_some());
    });
}

#[test]
fn many_rows_of_awkward_text_survive() {
    both(async |store| {
        store.acquire(&key(0), "a", log(0, 50), T).await.unwrap();
        let parts = [write(0, 1, 0, 9)];
        let mut tx = store.begin_flush(1, "me", &parts, T).await.unwrap().unwrap();
        let all: Vec<Labels> = (0..4000).map(|i| labels(&format!("app'{i}\"\\ünï\u{1F600}$1"))).collect();
        let wanted: Vec<SeriesRef> = all
            .iter()
            .map(|l| SeriesRef { id: l.id(), day: leeway_core::clock::day_of(T), labels: l.clone() })
            .collect();
        assert!(tx.admit(&wanted, 100_000, T).await.unwrap().is_empty());
        tx.panes(&all.iter().map(|l| row(l, T, &pane(1))).collect::<Vec<_>>()).await.unwrap();
        tx.commit().await.unwrap();
        let read = store.panes(Level::Leaf, None, T, T + MINUTE).await.unwrap();
        let mut read: Vec<_> = read.into_iter().map(|p| p.labels).collect();
        let mut all = all;
        read.sort();
        all.sort();
        assert_eq!(read, all);
    });
}

#[test]
fn a_newer_schema_is_refused_with_words() {
    let path = std::env::temp_dir().join(unique("newer")).join("leeway.sqlite");
    block(async {
        let store = Store::open(&Location::Sqlite(path.clone())).await.unwrap();
        let mut tx = store.begin().await.unwrap();
        tx.conn().unwrap().run("INSERT INTO schema_version (version, applied_at) VALUES (999, 0)", &[]).await.unwrap();
        tx.commit().await.unwrap();
        store.close().await;
        let error = Store::open(&Location::Sqlite(path)).await.unwrap_err().to_string();
        assert!(error.contains("version 999") && error.contains("newer program"), "{error}");
    });
}
