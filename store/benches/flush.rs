//! Rows a second of a whole flush (fence, series, panes, ledger, commit) ÷ raw COPY of the same bytes into a table
//! without index, in interleaved pairs on one Postgres with fsync on. `LEEWAY_TEST_DATABASE_URL` names an empty database.

use std::io::Write;
use std::time::Instant;

use leeway_core::clock::Clock;
use leeway_core::event::{Status, Tokens};
use leeway_core::labels::{Labels, Level};
use leeway_core::ledger::Ledger;
use leeway_core::pane::{Numbers, Pane, UNIT_WEIGHT};
use leeway_store::{
    CallClaim, Facet, LedgerRow, Location, LogRange, PaneRow, PartWrite, PartitionKey, SeriesRef, Store,
};
use sqlx::Connection;

const ROWS: usize = 20_000;
const PAIRS: usize = 9;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn rows() -> (Vec<SeriesRef>, Vec<PaneRow>) {
    let (mut series, mut rows) = (Vec::new(), Vec::new());
    for i in 0..ROWS {
        let app = format!("app-{i}");
        let pairs =
            [("operation", "chat"), ("served", "true"), ("tenant", "acme"), ("app", app.as_str()), ("model", "gpt-4o")];
        let values = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let labels = Labels { level: Level::Leaf, values };
        let mut pane = Pane::default();
        for call in 0..12u64 {
            let value = 1_000 + (i as u64 * 7919 + call * 104_729) % 5_000_000;
            let tokens = Tokens { input: Some(value % 4000), output: Some(value % 500), ..Tokens::default() };
            pane.add(&Numbers {
                status: Status::Ok,
                tokens,
                duration_us: Some(value),
                ttft_us: Some(value / 5),
                reported_cost: Some(value as i64),
                weight_micro: UNIT_WEIGHT,
                ..Numbers::default()
            });
        }
        rows.push(PaneRow::of("acme", labels.id(), 0, &pane));
        series.push(SeriesRef { id: labels.id(), day: 1, labels });
    }
    (series, rows)
}

/// One claim a row: as many calls as panes, each with one name.
fn claims(id: i64, rows: &[PaneRow]) -> Vec<CallClaim> {
    let claim = |(i, row): (usize, &PaneRow)| {
        let mut key = row.series_id;
        key[..8].copy_from_slice(
            &(id * ROWS as i64 + i as i64).wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64).to_le_bytes(),
        );
        CallClaim {
            tenant: row.tenant.clone(),
            key,
            facet: Facet::Call,
            day: 1,
            digest: id,
            whole: true,
            series: row.series_id,
            minute: row.window_start,
        }
    };
    rows.iter().enumerate().map(claim).collect()
}

async fn flush(store: &Store, id: i64, series: &[SeriesRef], rows: &[PaneRow], claims: &[CallClaim]) -> Outcome<f64> {
    let at = Clock::System.wall();
    let key = PartitionKey { source: "bench".into(), topic: "t".into(), incarnation: "i".into(), partition: 0 };
    let rows: Vec<PaneRow> = rows.iter().map(|row| PaneRow { window_start: id * 60_000_000, ..row.clone() }).collect();
    let started = Instant::now();
    let part = [PartWrite { key, epoch: 1, from: id - 1, to: id, watermark: at, newest_at: at, high: id, attempts: 0 }];
    let mut tx = store.begin_flush(id, "bench", &part, at).await?.map_err(|_| "fenced")?;
    tx.admit(series, 1_000_000, at).await?;
    if !claims.is_empty() && tx.claim_calls(claims).await?.fresh.len() != claims.len() {
        return Err("a new call was taken for a known one".into());
    }
    tx.panes(&rows).await?;
    tx.touch_windows(&rows).await?;
    let ledger = Ledger { consumed: 1, decoded: 1, ..Ledger::default() };
    tx.ledger(&part, &[LedgerRow { part: 0, minute: id * 60_000_000, ledger }]).await?;
    tx.commit().await?;
    Ok(started.elapsed().as_secs_f64())
}

async fn raw_copy(raw: &mut sqlx::PgConnection, bytes: &[u8]) -> Outcome<f64> {
    let started = Instant::now();
    let mut copy = raw
        .copy_in_raw("COPY raw_pane (tenant, series_id, window_start, flush_id, n, errors, input_tokens, output_tokens, cost_nano, counts, sketches, p50_ms, p95_ms, p99_ms) FROM STDIN (FORMAT binary)")
        .await?;
    copy.send(bytes).await?;
    copy.finish().await?;
    Ok(started.elapsed().as_secs_f64())
}

/// What the index of calls costs, from so many claims in flushes that hold nothing else.
async fn index_cost(store: &Store, raw: &mut sqlx::PgConnection, rows: &[PaneRow], first: i64) -> Outcome<()> {
    const FLUSHES: i64 = 15;
    let one = |sql: &'static str| sqlx::query_scalar::<_, i64>(sql);
    let size = "SELECT pg_total_relation_size('call_index')::bigint";
    let log = "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint";
    let (before, written) = (one(size).fetch_one(&mut *raw).await?, one(log).fetch_one(&mut *raw).await?);
    let (busy, began) = (server_cpu(raw).await?, Instant::now());
    for id in first..first + FLUSHES {
        flush(store, id, &[], &[], &claims(id, rows)).await?;
    }
    let seconds = began.elapsed().as_secs_f64();
    let n = (FLUSHES * ROWS as i64) as f64;
    let bytes = (one(size).fetch_one(&mut *raw).await? - before) as f64 / n;
    let wal = (one(log).fetch_one(&mut *raw).await? - written) as f64 / n;
    let cpu = busy.zip(server_cpu(raw).await?).map(|(before, after)| (after - before) / n * 1e4 * 100.0);
    let cpu = cpu.map_or_else(|| "unknown (the server is elsewhere)".to_owned(), |share| format!("{share:.0} %"));
    writeln!(
        std::io::stdout(),
        "index of calls, {n:.0} claims in flushes of {ROWS}: one row and {bytes:.0} bytes a call with its keys, {wal:.0} bytes of log; at \
         10,000 calls/s {cpu} of a core in Postgres, {:.0} % of the time of one flusher, {:.1} GB a day",
        seconds / n * 1e4 * 100.0,
        bytes * 1e4 * 86_400.0 / 1e9,
    )?;
    Ok(())
}

/// CPU seconds of all processes of a server on this machine.
async fn server_cpu(raw: &mut sqlx::PgConnection) -> Outcome<Option<f64>> {
    let pids: Vec<i32> = sqlx::query_scalar("SELECT pid FROM pg_stat_activity").fetch_all(raw).await?;
    let cpu = |pid: &i32| -> Option<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        Some((fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?) / 100.0)
    };
    Ok(pids.iter().map(cpu).sum())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> Outcome<()> {
    let Ok(url) = std::env::var("LEEWAY_TEST_DATABASE_URL") else {
        writeln!(std::io::stdout(), "SKIPPED: LEEWAY_TEST_DATABASE_URL is not set; run `make bench`")?;
        return Ok(());
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = Store::open(&Location::Postgres(url.clone())).await?;
        let mut raw = sqlx::PgConnection::connect(&url).await?;
        sqlx::raw_sql("DROP TABLE IF EXISTS raw_pane; CREATE TABLE raw_pane (LIKE pane_delta)")
            .execute(&mut raw)
            .await?;
        let (series, rows) = rows();
        let bytes = leeway_store::copy_bytes(1, &rows);
        let now = Clock::System.wall();
        let key = PartitionKey { source: "bench".into(), topic: "t".into(), incarnation: "i".into(), partition: 0 };
        store.acquire(&key, "bench", LogRange { low: 0, high: 1_000, first: 0 }, now).await?;
        let (mut new, mut known, mut copies, mut ratios) = (0.0, Vec::new(), Vec::new(), Vec::new());
        let (mut indexed, mut indexed_ratios) = (Vec::new(), Vec::new());
        for pair in 0..=PAIRS {
            // The first flush registers its series; the others find them, as a running worker does.
            let wanted = if pair == 0 { &series[..] } else { &[] };
            let id = 2 * pair as i64 + 1;
            let flushed = flush(&store, id, wanted, &rows, &[]).await?;
            let copied = raw_copy(&mut raw, &bytes).await?;
            let with_index = flush(&store, id + 1, &[], &rows, &claims(id, &rows)).await?;
            if pair == 0 {
                new = flushed;
            } else {
                ratios.push(copied / flushed);
                known.push(flushed);
                copies.push(copied);
                indexed.push(with_index);
                indexed_ratios.push(copied / with_index);
            }
        }
        let per_second = |seconds: f64| ROWS as f64 / seconds;
        let out = &mut std::io::stdout();
        writeln!(
            out,
            "flush of {ROWS} rows ({} bytes): median {:.0} rows/s; raw COPY: median {:.0} rows/s",
            bytes.len(),
            per_second(median(known)),
            per_second(median(copies))
        )?;
        writeln!(out, "ratio, median of {PAIRS} pairs: {:.2} (goal 0.60)", median(ratios))?;
        writeln!(
            out,
            "with {ROWS} calls claimed in the index: median {:.0} rows/s, ratio {:.2}",
            per_second(median(indexed)),
            median(indexed_ratios)
        )?;
        writeln!(out, "first flush, {ROWS} new series: {:.0} rows/s", per_second(new))?;
        index_cost(&store, &mut raw, &rows, 2 * PAIRS as i64 + 3).await?;
        Ok(())
    })
}
