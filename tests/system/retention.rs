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
fn rows_go_by_their_age() {
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
        rows(&store, T - 40 * DAY, "old").await;
        rows(&store, T, "new").await;
        let lease = store.lease("upkeep", "me", T, T + MINUTE).await.unwrap().unwrap();
        let mut kept = Vec::new();
        for aging in LEDGER.iter().chain(&RECORDS) {
            for expected in [1, 0] {
                assert_eq!(store.expire(&lease, *aging, T - DAY).await.unwrap(), expected, "{}", aging.table);
            }
            kept.push(number(&store, &format!("SELECT COUNT(*) FROM {}", aging.table)).await);
        }
        // What fires, and what waits for its receiver, stays however old it is, and so does an alert that has notices.
        assert_eq!(kept, [1, 1, 1, 1, 1, 2, 1, 3]);
        assert_eq!(number(&store, "SELECT MIN(from_offset) FROM flush_range").await, 1);
        assert_eq!(number(&store, "SELECT MIN(time) FROM feedback").await, T);
        assert!(store.bytes().await.unwrap() > 10_000);
    });
}

/// A row of each kind that goes by its age; with the old ones a firing alert, and one whose notice still waits.
async fn rows(store: &Store, at: i64, name: &str) {
    let mut all = vec![
        format!(
            "INSERT INTO ledger VALUES ('kafka', 't', 'c/1', 0, {at}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)"
        ),
        format!(
            "INSERT INTO feedback (tenant, id, time, app, name, body) VALUES ('acme', '{name}', {at}, '', 'thumbs', '')"
        ),
        format!("INSERT INTO finding VALUES ('{name}', '{name}', 'r', {at}, '')"),
        format!("INSERT INTO delivery VALUES ('{name}', 1, {at}, 'accepted', 200, 5, '')"),
    ];
    let alert = |fingerprint: &str, state: &str| {
        format!(
            "INSERT INTO alert VALUES ('{fingerprint}', 'r', '1', 'page', '{{}}', '{state}', NULL, NULL, NULL, NULL, {at}, {at}, 1, 1, '')"
        )
    };
    let notice = |fingerprint: &str, state: &str| {
        format!(
            "INSERT INTO notice VALUES ('{fingerprint}', 'g', 'oncall', 1, '{fingerprint}', 'firing', '', {at}, '{state}', 1, 0, '', 0, NULL)"
        )
    };
    all.extend([alert(name, "resolved"), notice(name, "done")]);
    if name == "old" {
        all.extend([alert("fires", "firing"), alert("waits", "resolved"), notice("waits", "waiting")]);
    }
    let mut tx = store.begin().await.unwrap();
    for sql in all {
        tx.conn().unwrap().run(&sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    tx.commit().await.unwrap();
}

#[test]
fn series_go_with_their_last_day() {
    both(async |store| {
        store.acquire(&key(0), "a", log(0, 50), T).await.unwrap();
        let lease = store.lease("upkeep", "me", T, T + MINUTE).await.unwrap().unwrap();
        // Both days of the one series; the tenant and everything have no series here.
        for (flush, day) in [(1, 1), (2, 7)] {
            let mut tx = store.begin_flush(flush, "me", &[write(0, 1, flush - 1, flush)], T).await.unwrap().unwrap();
            let labels = crate::conformance::labels("shop");
            let wanted = [leeway_store::SeriesRef { id: labels.id(), day, labels: labels.clone() }];
            tx.admit(&wanted, 100, T).await.unwrap();
            tx.commit().await.unwrap();
        }
        assert_eq!(store.newest_pane_day().await.unwrap(), Some(7));
        let series = "SELECT COUNT(*) FROM series";
        for (before, dropped, left) in [(1, 0, 1), (7, 2, 1), (7, 0, 1), (8, 2, 0), (8, 0, 0)] {
            assert_eq!(store.expire_day(&lease, before).await.unwrap(), dropped, "{before}");
            assert_eq!(number(&store, series).await, left, "{before}");
        }
    });
}

/// Flushes beside an upkeep that folds, rolls and thins without a pause: no moment shows less than was committed before
/// it, and in the end all is there.
#[test]
fn nothing_is_lost_between_flushes_and_upkeep() {
    both(async |store| {
        const FLUSHES: i64 = 150;
        let hour = T.div_euclid(HOUR) * HOUR;
        let end = hour + 3 * HOUR;
        store.acquire(&key(0), "a", log(0, FLUSHES), T).await.unwrap();
        let (committed, over) = (std::sync::atomic::AtomicU64::new(0), std::sync::atomic::AtomicBool::new(false));
        use std::sync::atomic::Ordering::SeqCst;
        let flushes = async {
            for i in 0..FLUSHES {
                let window = hour + (i * 37 % 180) * MINUTE;
                flush_into(&store, i + 1, write(0, 1, i, i + 1), 2, window).await.unwrap();
                committed.fetch_add(2, SeqCst);
            }
            over.store(true, SeqCst);
        };
        let upkeep = async {
            let lease = store.lease("upkeep", "me", T, T + HOUR).await.unwrap().unwrap();
            let (mut thinned, mut last) = (0, false);
            while !last {
                last = over.load(SeqCst);
                while store.compact(&lease, end).await.unwrap() > 0 {}
                while store.roll(&lease, end).await.unwrap() > 0 {}
                while store.thin(&lease, end).await.unwrap() > 0 {
                    thinned += 1;
                }
            }
            thinned
        };
        let reads = async {
            while !over.load(SeqCst) {
                let before = committed.load(SeqCst);
                let seen = by_hour(&store, hour, end).await.0;
                let after = committed.load(SeqCst);
                // One more flush may be committed and not yet told.
                assert!((before..=after + 2).contains(&seen), "{seen} of {before} to {after}");
            }
        };
        let ((), thinned, ()) = tokio::join!(flushes, upkeep, reads);
        assert_eq!(thinned, 3);
        assert_eq!(by_hour(&store, hour, end).await, whole((0..FLUSHES).map(|_| pane(2))));
        assert_eq!(number(&store, "SELECT COUNT(*) FROM pane_delta").await, 0);
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
        let sql = format!("SELECT count(*) FROM rolled_hour WHERE hour_start = {old} AND tenant <> ''");
        database.wait_number("the old hour to be rolled", 60, &sql, 1);
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
    process = node.start();
    database.wait_number("the minutes to go", 60, &minutes, 0);
    assert_eq!(totals(), 1_200);
    let text = crate::harness::get(&format!("{}/metrics", crate::harness::address(&process)));
    assert!(text.contains("leeway_expired_total{what=\"hours of pane_delta\"}"), "{text}");
    assert!(text.contains("leeway_store_bytes "), "{text}");
    process.kill();
    let _process = node.start();
    assert!(database.number("SELECT count(*) FROM pane_delta") > 0, "young minutes stay");
    consumed(tell("late", 60, old + 7 * MINUTE));
    assert_eq!(totals(), 1_260, "as soon as they are counted");
    wait_for("the late calls to be taken in", 60, || match database.number(&minutes) {
        0 if totals() == 1_260 => Ok(()),
        rows => Err(format!("{rows} rows, {} calls", totals())),
    });
}
