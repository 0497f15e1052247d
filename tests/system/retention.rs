//! What is old goes, and nothing that counts goes with it: hours are their minutes, before and after these are dropped,
//! whatever comes late, whoever dies.

use leeway_core::labels::Level;
use leeway_core::pane::Pane;
use leeway_store::retain::{LEDGER, RECORDS};
use leeway_store::{DeadLetter, Location, Store, StoreError};

use crate::conformance::{T, both, flush_into, key, log, pane, write};
use crate::harness::{Database, Node, block, call, now_us, produce, topic, wait_for};

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

type Whole = (u64, Vec<u8>, Vec<u8>);

fn whole(panes: impl IntoIterator<Item = Pane>) -> Whole {
    let mut all = Pane::default();
    panes.into_iter().for_each(|pane| all.merge(&pane));
    (all.calls(), all.encode_counts(), all.encode_sketches())
}

async fn by_hour(store: &Store, from: i64, to: i64) -> Whole {
    let panes = store.hours(Level::Leaf, Some("acme"), from, to).await.unwrap();
    whole(panes.into_iter().map(|one| one.pane))
}

async fn number(store: &Store, sql: &str) -> i64 {
    store.conn().await.unwrap().query_one(sql, &[]).await.unwrap().unwrap().int(0).unwrap()
}

#[test]
fn an_hour_without_its_minutes_is_the_same_and_takes_what_comes_late() {
    both(async |store| {
        let hour = T.div_euclid(HOUR) * HOUR;
        let (end, minutes) = (hour + 2 * HOUR, "SELECT COUNT(*) FROM pane_delta");
        store.acquire(&key(0), "a", log(0, 50), T).await.unwrap();
        let mut told = Vec::new();
        for (i, minute) in [1, 2, 59, 61].into_iter().enumerate() {
            let (i, window) = (i as i64, hour + minute * MINUTE);
            flush_into(&store, i + 1, write(0, 1, i, i + 1), 3 + i as usize, window).await.unwrap();
            told.push(pane(3 + i as usize));
        }
        let lease = store.lease("upkeep", "me", T, T + MINUTE).await.unwrap().unwrap();
        assert_eq!(store.thin(&lease, end).await.unwrap(), 0, "no hour holds them yet");
        store.compact(&lease, end).await.unwrap();
        assert_eq!(store.roll(&lease, end).await.unwrap(), 2);
        assert_eq!(store.thin(&lease, hour + 2 * HOUR - 1).await.unwrap(), 1, "of the first hour alone");
        assert_eq!(store.thin(&lease, hour + 2 * HOUR - 1).await.unwrap(), 0);
        assert_eq!(number(&store, minutes).await, 1);
        assert_eq!(store.minutes_since().await.unwrap(), Some(hour + HOUR));
        assert_eq!(by_hour(&store, hour, end).await, whole(told.clone()));
        // Late: at once, folded, and taken in; twice.
        for (flush, window) in [(8, hour + 2 * MINUTE), (9, hour + 30 * MINUTE)] {
            flush_into(&store, flush, write(0, 1, flush - 4, flush - 3), 2, window).await.unwrap();
            told.push(pane(2));
            assert_eq!(by_hour(&store, hour, end).await, whole(told.clone()), "while its window is open");
            assert_eq!(store.roll(&lease, end).await.unwrap(), 0, "its window is open");
            assert_eq!(store.compact(&lease, end).await.unwrap(), 1);
            assert_eq!(by_hour(&store, hour, end).await, whole(told.clone()), "while it stands beside its hour");
            assert_eq!(store.roll(&lease, end).await.unwrap(), 1);
            assert_eq!(by_hour(&store, hour, end).await, whole(told.clone()), "in its hour");
            assert_eq!(number(&store, minutes).await, 1);
        }
        // A window of a whole hour that is open again keeps that hour's minutes.
        flush_into(&store, 10, write(0, 1, 6, 7), 1, hour + 70 * MINUTE).await.unwrap();
        told.push(pane(1));
        assert_eq!(store.thin(&lease, end).await.unwrap(), 0);
        store.compact(&lease, end).await.unwrap();
        assert_eq!(store.thin(&lease, end).await.unwrap(), 0, "its hour is to be rolled anew");
        store.roll(&lease, end).await.unwrap();
        assert_eq!((store.thin(&lease, end).await.unwrap(), number(&store, minutes).await), (1, 0));
        assert_eq!(by_hour(&store, hour, end).await, whole(told));
        let successor = store.lease("upkeep", "you", T + 2 * MINUTE, T + 9 * MINUTE).await.unwrap().unwrap();
        assert!(matches!(store.thin(&lease, end).await, Err(StoreError::Fenced(_))));
        assert_eq!(store.expire_hours(&successor, hour + HOUR).await.unwrap(), 1);
        assert_eq!(by_hour(&store, hour, end).await.0, 6 + 1, "the younger hour stays");
    });
}

#[test]
fn a_flush_between_look_and_drop_is_kept() {
    both(async |store| {
        let hour = T.div_euclid(HOUR) * HOUR;
        store.acquire(&key(0), "a", log(0, 50), T).await.unwrap();
        flush_into(&store, 1, write(0, 1, 0, 1), 3, hour).await.unwrap();
        let lease = store.lease("upkeep", "me", T, T + MINUTE).await.unwrap().unwrap();
        store.compact(&lease, hour + HOUR).await.unwrap();
        store.roll(&lease, hour + HOUR).await.unwrap();
        // What a flush writes that commits right after the look for open windows: its rows without their mark.
        flush_into(&store, 2, write(0, 1, 1, 2), 4, hour).await.unwrap();
        let mut tx = store.begin().await.unwrap();
        tx.conn().unwrap().run("DELETE FROM open_window", &[]).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.thin(&lease, hour + HOUR).await.unwrap(), 1);
        assert_eq!(by_hour(&store, hour, hour + HOUR).await, whole([pane(3), pane(4)]));
    });
}

#[test]
fn rows_go_by_their_age_and_series_with_their_last_day() {
    both(async |store| {
        store.acquire(&key(0), "a", log(0, 50), T).await.unwrap();
        for (flush, at) in [(1, T - 40 * DAY), (2, T)] {
            let mut tx = store.begin_flush(flush, "me", &[write(0, 1, flush - 1, flush)], at).await.unwrap().unwrap();
            let letter = DeadLetter {
                part: 0,
                offset: flush,
                record: 0,
                whole: true,
                reason: "no_time",
                field: "time",
                bytes: 5,
                received_at: at,
            };
            tx.dead_letters(&[write(0, 1, flush - 1, flush)], &[letter]).await.unwrap();
            tx.commit().await.unwrap();
        }
        let lease = store.lease("upkeep", "me", T, T + MINUTE).await.unwrap().unwrap();
        for aging in LEDGER.iter().chain(&RECORDS) {
            let old = matches!(aging.table, "flush_range" | "dead_letter");
            for expected in [u64::from(old), 0] {
                assert_eq!(store.expire(&lease, *aging, T - DAY).await.unwrap(), expected, "{}", aging.table);
            }
        }
        assert_eq!(number(&store, "SELECT MIN(from_offset) FROM flush_range").await, 1);
        assert_eq!(number(&store, "SELECT MIN(received_at) FROM dead_letter").await, T);
        // The series has day 1 alone, and was first seen at T.
        flush_into(&store, 9, write(0, 1, 2, 3), 1, T).await.unwrap();
        let today = T.div_euclid(DAY);
        assert_eq!(store.newest_pane_day().await.unwrap(), Some(1));
        assert_eq!(store.expire_series(&lease, today + 1).await.unwrap(), 0, "a kept day has it");
        assert_eq!(store.expire_days(&lease, 1).await.unwrap(), 0);
        assert_eq!(store.expire_days(&lease, 2).await.unwrap(), 2, "the tenant's day and its series'");
        assert_eq!(store.expire_series(&lease, today).await.unwrap(), 0, "it is younger");
        assert_eq!(store.expire_series(&lease, today + 1).await.unwrap(), 1);
        assert!(store.bytes().await.unwrap() > 10_000);
    });
}

/// A real process drops the minutes of an hour ten days ago; killed, it goes on; calls that come late are counted there.
#[test]
fn a_process_keeps_old_hours_whole_while_their_minutes_go() {
    let (database, topic) = (Database::new(), topic(3));
    let mut node = Node::new(&database, &topic);
    node.extra = "[retention]\nminutes_days = 2\n".into();
    let now = now_us();
    let old = (now - 10 * DAY).div_euclid(HOUR) * HOUR;
    let mut told = 0;
    let mut tell = |name: &str, n: usize, start: i64| {
        let text = |i: usize| call(&format!("{name}{i}"), start + i as i64 * 1_000, "a", 5.0);
        let calls: Vec<_> = (0..n).map(|i| ((i % 3) as i32, start, text(i))).collect();
        produce(&topic, calls.iter().map(|(partition, at, text)| (*partition, *at, text.as_bytes())));
        told += n;
        told as i64
    };
    let consumed =
        |all: i64| database.wait_number("all calls", 60, "SELECT COALESCE(sum(consumed), 0) FROM ledger", all);
    let totals = || {
        block(async {
            let store = Store::open(&Location::Postgres(database.url.clone())).await.unwrap();
            let panes = store.hours(Level::All, None, now - 20 * DAY, now + HOUR).await.unwrap();
            store.close().await;
            panes.iter().map(|one| one.pane.calls()).sum::<u64>() as i64
        })
    };
    let rolled = || {
        let sql = format!("SELECT count(*) FROM unrolled_hour WHERE hour_start = {old}");
        wait_for("the old hour to be rolled", 60, || match database.number(&sql) {
            0 => Ok(()),
            n => Err(format!("{n} to roll")),
        });
    };
    let minutes = format!("SELECT count(*) FROM pane_delta WHERE window_start < {}", old + HOUR);
    let mut process = node.start();
    crate::traces::database_ready(&database);
    tell("old", 900, old);
    consumed(tell("new", 300, now - 5 * MINUTE));
    rolled();
    assert_eq!(totals(), 1_200);
    process.kill();
    // What is old is looked for at the start, then once an hour.
    let process = node.start();
    database.wait_number("the minutes to go", 60, &minutes, 0);
    assert_eq!(totals(), 1_200);
    assert!(database.number("SELECT count(*) FROM pane_delta") > 0, "young minutes stay");
    consumed(tell("late", 60, old + 7 * MINUTE));
    assert_eq!(totals(), 1_260, "as soon as they are counted");
    wait_for("the late calls to be taken in", 60, || match database.number(&minutes) {
        0 if totals() == 1_260 => Ok(()),
        rows => Err(format!("{rows} rows, {} calls", totals())),
    });
    let text = crate::harness::get(&format!("{}/metrics", crate::harness::address(&process)));
    assert!(text.contains("leeway_expired_total{what=\"hours of pane_delta\"}"), "{text}");
    assert!(text.contains("leeway_store_bytes "), "{text}");
}
