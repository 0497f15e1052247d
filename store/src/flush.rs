//! The flush: one transaction for offsets, series, call index, panes, ledger, dead letters and rows.
//!
//! The compare-and-set of every partition's offset comes first: its row locks serialise a zombie behind its
//! successor, and a mismatch throws the partition's buffer away. All else in the transaction is additive.

use std::collections::{BTreeSet, HashMap, HashSet};

use leeway_core::call_key::CallKey;
use leeway_core::clock::Micros;
use leeway_core::event::{Label, Record};
use leeway_core::labels::{Labels, Level, SeriesId};
use leeway_core::ledger::Ledger;
use leeway_core::pane::{Counter, Pane, Shape};

use crate::conn::Param;
use crate::{PartitionKey, Store, StoreError, Tx, args, postgres, sqlite};

/// What one flush knows of one partition.
#[derive(Debug, Clone)]
pub struct PartWrite {
    pub key: PartitionKey,
    pub epoch: i64,
    pub from: i64,
    pub to: i64,
    pub watermark: Micros,
    /// Newest accepted event time; 0 = none yet.
    pub newest_at: Micros,
    /// The broker's end of log, as last seen.
    pub high: i64,
    /// How many owners the next offset is held to have outlived, unless it is the end: 0, more while danger is near.
    pub attempts: i64,
}

/// What of a call is claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Facet {
    /// Count, status, tokens, cost; of a whole record everything.
    Call,
    Timing,
    Text,
    /// A further name, under which feedback may find the call.
    Join,
    /// The span around the call: what is told under its name is the same call from outside.
    Below,
}

impl Facet {
    fn name(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Timing => "timing",
            Self::Text => "text",
            Self::Join => "join",
            Self::Below => "below",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Call, Self::Timing, Self::Text, Self::Join, Self::Below].into_iter().find(|facet| facet.name() == name)
    }
}

/// A call's claim to be counted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallClaim {
    pub tenant: String,
    pub key: CallKey,
    pub facet: Facet,
    pub day: i64,
    /// Of what is counted; tells a copy from a contradiction.
    pub digest: i64,
    /// The record says everything of its call.
    pub whole: bool,
    /// Where the call is counted; feedback goes there too.
    pub series: SeriesId,
    pub minute: Micros,
}

/// What the index answered.
#[derive(Debug, Default)]
pub struct Counted {
    /// Claims that were new.
    pub fresh: HashSet<(String, CallKey, Facet)>,
    /// Calls that were counted before: their digest, and whether by a whole record.
    pub counted: HashMap<(String, CallKey), (i64, bool)>,
    /// Names of spans below which a call is counted.
    pub around: HashSet<(String, CallKey)>,
}

/// A series that a flush wants to write on a day.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SeriesRef {
    pub id: SeriesId,
    pub day: i64,
    pub labels: Labels,
}

/// One pane of one series, ready to be stored.
#[derive(Debug, Clone)]
pub struct PaneRow {
    pub tenant: String,
    pub series_id: SeriesId,
    pub window_start: Micros,
    pub n: i64,
    pub errors: i64,
    pub input_tokens: i64,
    pub output_tokens: i64,
    pub cost_nano: i64,
    pub counts: Vec<u8>,
    pub sketches: Vec<u8>,
    /// p50, p95 and p99 of the latency, milliseconds: of a folded window alone.
    pub percentiles: [Option<f64>; 3],
}

impl PaneRow {
    /// A part of a window.
    pub fn of(tenant: &str, series_id: SeriesId, window_start: Micros, pane: &Pane) -> Self {
        let int = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        Self {
            tenant: tenant.to_owned(),
            series_id,
            window_start,
            n: int(pane.calls()),
            errors: int(pane.get(Counter::Errors).n),
            input_tokens: int(pane.token_sum(0)),
            output_tokens: int(pane.token_sum(1)),
            cost_nano: i64::try_from(pane.cost).unwrap_or(i64::MAX),
            counts: pane.encode_counts(),
            sketches: pane.encode_sketches(),
            percentiles: [None; 3],
        }
    }

    /// A whole window.
    pub fn folded(tenant: &str, series_id: SeriesId, window_start: Micros, pane: &Pane) -> Self {
        let durations = pane.sketch(Shape::DurationOk);
        let percentile = |q: f64| durations.quantile(q).map(|found| found.value / 1e3);
        Self { percentiles: [0.5, 0.95, 0.99].map(percentile), ..Self::of(tenant, series_id, window_start, pane) }
    }
}

#[derive(Debug, Clone)]
pub struct LedgerRow {
    /// Place in the flush's list of partitions.
    pub part: usize,
    pub minute: Micros,
    pub ledger: Ledger,
}

/// An event that could not be used: where it lies, and why; never what it holds.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    pub part: usize,
    pub offset: i64,
    pub record: u32,
    /// Nothing of the message was taken.
    pub whole: bool,
    pub reason: &'static str,
    pub field: &'static str,
    pub bytes: usize,
    pub received_at: Micros,
}

/// Names in one statement.
const GIVEN_BACK: usize = 500;

/// The transaction of one flush.
#[derive(Debug)]
pub struct FlushTx {
    tx: Tx,
    flush_id: i64,
}

/// For the fault run that shows what the compare-and-set is for; never in a release build.
fn compare_and_set_off() -> bool {
    let off = |faults: String| faults.split(',').any(|fault| fault == "compare_and_set=off");
    cfg!(debug_assertions) && std::env::var("LEEWAY_TEST_FAULT").is_ok_and(off)
}

impl Store {
    /// Opens a flush and moves the offsets. `Err(places)` names the partitions that another owner holds: nothing
    /// was written, and the flush starts again without them.
    pub async fn begin_flush(
        &self,
        flush_id: i64,
        owner: &str,
        parts: &[PartWrite],
        now: Micros,
    ) -> Result<Result<FlushTx, Vec<usize>>, StoreError> {
        let mut tx = self.begin().await?;
        let conn = tx.conn()?;
        let unguarded = compare_and_set_off();
        let mut fenced = Vec::new();
        for (place, part) in parts.iter().enumerate() {
            let unless_taken = if unguarded { "$10 = $10 AND $11 = $11" } else { "next_offset = $10 AND epoch = $11" };
            let sql = format!(
                "UPDATE source_partition SET next_offset = $5, watermark = CASE WHEN watermark > $6 THEN watermark ELSE $6 END, \
                       newest_at = CASE WHEN newest_at > $7 THEN newest_at ELSE $7 END, high_offset = $8, flushed_at = $9, \
                       attempts = CASE WHEN $8 <= $5 THEN 0 WHEN next_offset < $5 THEN $12 ELSE attempts END, \
                       marker = CASE WHEN next_offset < $5 THEN NULL ELSE marker END, \
                       marker_hits = CASE WHEN next_offset < $5 THEN 0 ELSE marker_hits END \
                       WHERE source = $1 AND topic = $2 AND incarnation = $3 AND part = $4 AND {unless_taken}"
            );
            let key = &part.key;
            let params = args![
                &key.source,
                &key.topic,
                &key.incarnation,
                i64::from(key.partition),
                part.to,
                part.watermark,
                part.newest_at,
                part.high,
                now,
                part.from,
                part.epoch,
                part.attempts
            ];
            if conn.run(&sql, params).await? != 1 {
                fenced.push(place);
            }
        }
        if !fenced.is_empty() {
            tx.rollback().await?;
            return Ok(Err(fenced));
        }
        let ranges: Vec<_> = parts.iter().filter(|part| part.from < part.to).collect();
        let mut params: Vec<Param<'_>> = Vec::with_capacity(ranges.len() * 11);
        for part in ranges {
            let key = &part.key;
            params.extend_from_slice(args![
                &key.source,
                &key.topic,
                &key.incarnation,
                i64::from(key.partition),
                part.from,
                part.to,
                flush_id,
                part.epoch,
                owner,
                now,
                0i64
            ]);
        }
        let head = "INSERT INTO flush_range (source, topic, incarnation, part, from_offset, to_offset, flush_id, epoch, owner, flushed_at, gap)";
        // The key of a range is its first offset: a second guard, which falls with the first.
        conn.insert(head, 11, &params, if unguarded { "ON CONFLICT DO NOTHING" } else { "" }).await?;
        Ok(Ok(FlushTx { tx, flush_id }))
    }
}

impl Store {
    /// Whether a flush whose commit got no answer is there all the same.
    pub async fn flushed(&self, flush_id: i64) -> Result<bool, StoreError> {
        let sql = "SELECT COUNT(*) FROM flush_range WHERE flush_id = $1";
        let row = self.conn().await?.query_one(sql, args![flush_id]).await?;
        row.map_or(Ok(false), |row| Ok(row.int(0)? > 0))
    }
}

impl FlushTx {
    pub(crate) fn conn(&mut self) -> Result<&mut crate::conn::Conn, StoreError> {
        self.tx.conn()
    }

    /// Claims facets of calls.
    pub async fn claim_calls(&mut self, claims: &[CallClaim]) -> Result<Counted, StoreError> {
        let conn = self.tx.conn()?;
        let mut sorted: Vec<&CallClaim> = claims.iter().collect();
        // Sorted keys: two flushes lock in one order and cannot deadlock.
        sorted.sort();
        let mut params: Vec<Param<'_>> = Vec::with_capacity(sorted.len() * 8);
        for claim in &sorted {
            params.extend_from_slice(args![
                &claim.tenant,
                &claim.key,
                claim.facet.name(),
                claim.day,
                claim.digest,
                i64::from(claim.whole),
                &claim.series,
                claim.minute
            ]);
        }
        let head = "INSERT INTO call_index (tenant, call_key, facet, first_seen_day, digest, whole, series_id, minute)";
        let tail = "ON CONFLICT DO NOTHING RETURNING tenant, call_key, facet";
        let mut claimed = Counted::default();
        for row in conn.insert_returning(head, 8, &params, tail).await? {
            let facet = row.text(2)?;
            let facet = Facet::parse(&facet).ok_or_else(|| StoreError::Unreadable(format!("facet `{facet}`")))?;
            claimed.fresh.insert((row.text(0)?, key16(&row.bytes(1)?)?, facet));
        }
        // Also for a part alone: a whole record may have told all of its call; and for each new part of a call, since a
        // span below it may have.
        let known = |claim: &&CallClaim| {
            let fresh = claimed.fresh.contains(&(claim.tenant.clone(), claim.key, Facet::Call));
            claim.facet != Facet::Join && (!fresh || (claim.facet == Facet::Call && !claim.whole))
        };
        let asked: Vec<&CallClaim> = sorted.into_iter().filter(known).collect();
        told(conn, &asked, &mut claimed).await?;
        Ok(claimed)
    }

    /// Takes claims of this flush back: another record turned out to count the call.
    pub async fn give_back(&mut self, names: &[(String, CallKey)]) -> Result<(), StoreError> {
        let conn = self.tx.conn()?;
        for group in names.chunk_by(|a, b| a.0 == b.0) {
            let keys: Vec<&[u8]> = group.iter().map(|(_, key)| &key[..]).collect();
            for keys in keys.chunks(GIVEN_BACK) {
                let places: Vec<String> = (2..2 + keys.len()).map(|place| format!("${place}")).collect();
                let sql = format!(
                    "DELETE FROM call_index WHERE tenant = $1 AND facet = 'call' AND call_key IN ({})",
                    places.join(",")
                );
                let params: Vec<Param<'_>> =
                    args![&group[0].0].iter().copied().chain(keys.iter().map(|key| Param::from(*key))).collect();
                conn.run(&sql, &params).await?;
            }
        }
        Ok(())
    }

    /// Registers series, parents first, until the tenant's day is full; answers those that must be folded.
    ///
    /// The tenant's row is locked first, so all workers see one order and fold alike.
    pub async fn admit(
        &mut self,
        wanted: &[SeriesRef],
        cap: u64,
        now: Micros,
    ) -> Result<HashSet<(SeriesId, i64)>, StoreError> {
        let conn = self.tx.conn()?;
        let mut groups: Vec<(&str, i64, Vec<&SeriesRef>)> = Vec::new();
        let mut sorted: Vec<&SeriesRef> = wanted.iter().collect();
        sorted.sort_by_key(|series| (series.labels.tenant(), series.day, series.labels.level, series.id));
        for series in sorted {
            match groups.last_mut() {
                Some((tenant, day, group)) if *tenant == series.labels.tenant() && *day == series.day => {
                    group.push(series)
                }
                _ => groups.push((series.labels.tenant(), series.day, vec![series])),
            }
        }
        let mut folded = HashSet::new();
        for (tenant, day, group) in groups {
            let lock = "INSERT INTO tenant_day (tenant, day, series, folded_calls) VALUES ($1, $2, 0, 0) \
                        ON CONFLICT (tenant, day) DO UPDATE SET series = tenant_day.series RETURNING series";
            let row = conn.query_one(lock, args![tenant, day]).await?;
            let mut count = row.map_or(Ok(0), |row| row.count(0))?;
            let select = "SELECT series_id FROM series_day WHERE tenant = $1 AND day = $2";
            let ids: Vec<&[u8]> = group.iter().map(|series| &series.id[..]).collect();
            let mut known = HashSet::new();
            for row in conn.query_among(select, args![tenant, day], "series_id", &ids).await? {
                known.insert(row.bytes(0)?);
            }
            let mut new = Vec::new();
            for series in group.into_iter().filter(|series| !known.contains(&series.id[..])) {
                let always = matches!(series.labels.level, Level::All | Level::Tenant);
                if always || count < cap {
                    count += u64::from(!always);
                    new.push(series);
                } else {
                    folded.insert((series.id, series.day));
                }
            }
            register(conn, tenant, day, &new, now).await?;
            conn.run("UPDATE tenant_day SET series = $3 WHERE tenant = $1 AND day = $2", args![tenant, day, count])
                .await?;
        }
        Ok(folded)
    }

    /// Writes the overflow series themselves, which no cap applies to, and counts what was folded into them.
    pub async fn fold(
        &mut self,
        overflow: &[SeriesRef],
        calls: &[(String, i64, u64)],
        now: Micros,
    ) -> Result<(), StoreError> {
        let conn = self.tx.conn()?;
        for series in overflow {
            register(conn, series.labels.tenant(), series.day, &[series], now).await?;
        }
        for (tenant, day, count) in calls {
            let sql = "UPDATE tenant_day SET folded_calls = folded_calls + $3 WHERE tenant = $1 AND day = $2";
            conn.run(sql, args![tenant, *day, *count]).await?;
        }
        Ok(())
    }

    pub async fn panes(&mut self, rows: &[PaneRow]) -> Result<(), StoreError> {
        panes(self.tx.conn()?, self.flush_id, rows).await
    }

    pub async fn ledger(&mut self, parts: &[PartWrite], rows: &[LedgerRow]) -> Result<(), StoreError> {
        let mut params: Vec<Param<'_>> = Vec::new();
        for row in rows {
            let key = &parts[row.part].key;
            params.extend_from_slice(args![
                &key.source,
                &key.topic,
                &key.incarnation,
                i64::from(key.partition),
                row.minute
            ]);
            params.extend(row.ledger.values().map(Param::from));
        }
        let names = Ledger::NAMES;
        let sums: Vec<String> = names.iter().map(|name| format!("{name} = ledger.{name} + excluded.{name}")).collect();
        let head = format!("INSERT INTO ledger (source, topic, incarnation, part, minute, {})", names.join(", "));
        let tail = format!("ON CONFLICT (source, topic, incarnation, part, minute) DO UPDATE SET {}", sums.join(", "));
        self.tx.conn()?.insert(&head, 5 + names.len(), &params, &tail).await
    }

    pub async fn dead_letters(&mut self, parts: &[PartWrite], letters: &[DeadLetter]) -> Result<(), StoreError> {
        let mut params: Vec<Param<'_>> = Vec::new();
        for letter in letters {
            let key = &parts[letter.part].key;
            params.extend_from_slice(args![
                &key.source,
                &key.topic,
                &key.incarnation,
                i64::from(key.partition),
                letter.offset,
                i64::from(letter.record),
                letter.reason,
                letter.field,
                letter.bytes as u64,
                letter.received_at,
                0i64,
                i64::from(letter.whole)
            ]);
        }
        let head = "INSERT INTO dead_letter (source, topic, incarnation, part, source_offset, record, reason, field, bytes, received_at, exported, whole)";
        // A quarantined message may be read again after a takeover; its row stays the first one.
        self.tx.conn()?.insert(head, 12, &params, "ON CONFLICT DO NOTHING").await
    }

    /// Upserts; the record with the newest event time wins, so that a replay cannot undo a correction.
    pub async fn records(&mut self, records: &[Record], now: Micros) -> Result<(), StoreError> {
        for record in records {
            if let Some(label) = &record.label {
                self.feedback(record, label, now).await?;
                continue;
            }
            let sql = format!(
                "INSERT INTO {table} (tenant, id, time, app, name, body) VALUES ($1, $2, $3, $4, $5, $6) \
                 ON CONFLICT (tenant, id) DO UPDATE SET time = excluded.time, app = excluded.app, name = excluded.name, \
                 body = excluded.body WHERE excluded.time >= {table}.time",
                table = record.kind.name()
            );
            let params = args![&record.tenant, &record.id, record.time, &record.app, &record.name, &record.body];
            self.tx.conn()?.run(&sql, params).await?;
        }
        Ok(())
    }

    /// Feedback waits for the resolver, which joins it with its call; a correction makes it wait again.
    async fn feedback(&mut self, record: &Record, label: &Label, now: Micros) -> Result<(), StoreError> {
        let sql = "INSERT INTO feedback (tenant, id, time, app, name, body, target, source, given, micro, state, revision, received_at, next_try_at, applied, trace) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 1, $12, $12, 0, $13) \
                   ON CONFLICT (tenant, id) DO UPDATE SET time = excluded.time, app = excluded.app, body = excluded.body, \
                   target = excluded.target, source = excluded.source, given = excluded.given, micro = excluded.micro, \
                   trace = excluded.trace, state = excluded.state, revision = feedback.revision + 1, next_try_at = excluded.next_try_at, \
                   received_at = CASE WHEN feedback.received_at = 0 THEN excluded.received_at ELSE feedback.received_at END \
                   WHERE excluded.time >= feedback.time AND (excluded.time <> feedback.time OR excluded.body <> feedback.body)";
        let state = if label.target.is_some() { "pending" } else { "unjoined" };
        let target = label.target.as_ref().map(|key| &key[..]);
        let params = args![
            &record.tenant,
            &record.id,
            record.time,
            &record.app,
            &record.name,
            &record.body,
            target,
            &label.source,
            i64::from(label.given),
            label.micro,
            state,
            now,
            label.trace.as_ref().map(|key| &key[..])
        ];
        self.tx.conn()?.run(sql, params).await.map(drop)
    }

    /// Notes which windows got deltas, for the compactor; last before the commit, for its rows are shared by all workers.
    pub async fn touch_windows(&mut self, rows: &[PaneRow]) -> Result<(), StoreError> {
        touch(self.tx.conn()?, rows).await
    }

    pub async fn commit(self) -> Result<(), StoreError> {
        self.tx.commit().await
    }
}

/// Registers series without a cap.
pub async fn enlist(conn: &mut crate::Conn, series: &[SeriesRef], now: Micros) -> Result<(), StoreError> {
    let days: BTreeSet<(&str, i64)> = series.iter().map(|series| (series.labels.tenant(), series.day)).collect();
    for (tenant, day) in days {
        let sql =
            "INSERT INTO tenant_day (tenant, day, series, folded_calls) VALUES ($1, $2, 0, 0) ON CONFLICT DO NOTHING";
        conn.run(sql, args![tenant, day]).await?;
        let mine: Vec<&SeriesRef> =
            series.iter().filter(|series| series.labels.tenant() == tenant && series.day == day).collect();
        register(conn, tenant, day, &mine, now).await?;
    }
    Ok(())
}

/// Appends pane rows.
pub async fn panes(conn: &mut crate::Conn, flush_id: i64, rows: &[PaneRow]) -> Result<(), StoreError> {
    if rows.is_empty() {
        Ok(())
    } else if conn.postgres() {
        postgres::copy_panes(conn, flush_id, rows).await
    } else {
        sqlite::insert_panes(conn, flush_id, rows).await
    }
}

/// Opens the windows of rows for the compactor.
pub async fn touch(conn: &mut crate::Conn, rows: &[PaneRow]) -> Result<(), StoreError> {
    let windows: BTreeSet<(&str, Micros)> = rows.iter().map(|row| (row.tenant.as_str(), row.window_start)).collect();
    let mut params: Vec<Param<'_>> = Vec::with_capacity(windows.len() * 3);
    for (tenant, start) in windows {
        params.extend_from_slice(args![tenant, start, 1i64]);
    }
    let tail = "ON CONFLICT (tenant, window_start) DO UPDATE SET flushes = open_window.flushes + 1";
    conn.insert("INSERT INTO open_window (tenant, window_start, flushes)", 3, &params, tail).await
}

pub fn key16(bytes: &[u8]) -> Result<[u8; 16], StoreError> {
    bytes.try_into().map_err(|_| StoreError::Unreadable("a key is not 16 bytes".into()))
}

/// What was counted for calls that came again.
/// What earlier flushes counted under the names of these claims, and below them.
async fn told(conn: &mut crate::Conn, claims: &[&CallClaim], claimed: &mut Counted) -> Result<(), StoreError> {
    for group in claims.chunk_by(|a, b| a.tenant == b.tenant) {
        let select =
            "SELECT call_key, digest, whole, facet FROM call_index WHERE tenant = $1 AND facet IN ('call', 'below')";
        let keys: Vec<&[u8]> = group.iter().map(|claim| &claim.key[..]).collect();
        for row in conn.query_among(select, args![&group[0].tenant], "call_key", &keys).await? {
            let name = (group[0].tenant.clone(), key16(&row.bytes(0)?)?);
            if row.text(3)? == "below" {
                claimed.around.insert(name);
            } else if !claimed.fresh.contains(&(name.0.clone(), name.1, Facet::Call)) {
                claimed.counted.insert(name, (row.int(1)?, row.int(2)? == 1));
            }
        }
    }
    Ok(())
}

async fn register(
    conn: &mut crate::Conn,
    tenant: &str,
    day: i64,
    new: &[&SeriesRef],
    now: Micros,
) -> Result<(), StoreError> {
    let mut days: Vec<Param<'_>> = Vec::with_capacity(new.len() * 3);
    let texts: Vec<String> = new.iter().map(|series| series.labels.json()).collect();
    let mut rows: Vec<Param<'_>> = Vec::with_capacity(new.len() * 8);
    for (series, labels) in new.iter().zip(&texts) {
        days.extend_from_slice(args![tenant, day, &series.id]);
        let served = i64::from(series.labels.get("served") == Some("true"));
        let overflow = i64::from(series.labels.get("overflow").is_some());
        let operation = series.labels.get("operation").unwrap_or("");
        rows.extend_from_slice(args![
            tenant,
            &series.id,
            series.labels.level.name(),
            labels,
            operation,
            served,
            overflow,
            now
        ]);
    }
    conn.insert("INSERT INTO series_day (tenant, day, series_id)", 3, &days, "ON CONFLICT DO NOTHING").await?;
    let head = "INSERT INTO series (tenant, series_id, level, labels, operation, served, overflow, first_seen_at)";
    conn.insert(head, 8, &rows, "ON CONFLICT DO NOTHING").await
}
