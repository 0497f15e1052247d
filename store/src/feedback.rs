//! Feedback and its calls: what waits, where its call was counted, and the join as one transaction.

use std::collections::{HashMap, HashSet};

use leeway_core::call_key::CallKey;
use leeway_core::clock::Micros;
use leeway_core::labels::{Labels, Level, SeriesId};

use crate::flush::{key16, touch};
use crate::{Lease, PaneRow, Row, Store, StoreError, args, postgres, sqlite};

/// Feedback that is not joined in its present form.
#[derive(Debug, Clone)]
pub struct Waiting {
    pub tenant: String,
    pub id: String,
    pub name: String,
    pub source: String,
    pub target: CallKey,
    /// The trace of a target that is a span.
    pub trace: Option<CallKey>,
    pub given: bool,
    pub micro: Option<i64>,
    pub revision: i64,
    pub received_at: Micros,
    /// Series and minute of its call, once it was found.
    pub place: Option<(SeriesId, Micros)>,
    /// What an earlier form added there.
    pub applied: Option<Option<i64>>,
}

/// What becomes of it.
#[derive(Debug, Clone)]
pub struct Joined {
    pub waiting: Waiting,
    /// Series and minute that it was added to; `None`: its call did not come.
    pub place: Option<(SeriesId, Micros)>,
    /// No call came within the waiting time.
    pub orphan: bool,
    /// Otherwise: when to look again.
    pub next_try_at: Micros,
}

/// Which labels' delays; an empty app is every app.
#[derive(Debug, Clone, Copy)]
pub struct DelayQuestion<'a> {
    pub tenant: &'a str,
    pub app: &'a str,
    pub name: &'a str,
    pub from: Micros,
    pub to: Micros,
    /// Of a window.
    pub width: Micros,
}

impl Store {
    /// Feedback whose turn it is, longest due first.
    pub async fn waiting_feedback(&self, now: Micros, limit: i64) -> Result<Vec<Waiting>, StoreError> {
        let sql = "SELECT tenant, id, name, source, target, given, micro, revision, received_at, applied, applied_micro, series_id, minute, trace \
                   FROM feedback WHERE state = 'pending' AND target IS NOT NULL AND next_try_at <= $1 ORDER BY next_try_at LIMIT $2";
        let rows = self.conn().await?.query(sql, args![now, limit]).await?;
        rows.iter().map(waiting).collect()
    }

    /// Where calls were counted, by any of their names.
    pub async fn find_calls(
        &self,
        tenant: &str,
        keys: &[CallKey],
    ) -> Result<HashMap<CallKey, (SeriesId, Micros)>, StoreError> {
        let select = "SELECT call_key, series_id, minute, facet FROM call_index \
                      WHERE tenant = $1 AND facet IN ('call', 'join') AND series_id IS NOT NULL";
        let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
        let rows = self.conn().await?.query_among(select, args![tenant], "call_key", &keys).await?;
        let mut found = HashMap::new();
        for row in rows {
            let (key, place) = (key16(&row.bytes(0)?)?, (key16(&row.bytes(1)?)?, row.int(2)?));
            // A call of that name before one that is only also called so.
            if row.text(3)? == "call" {
                found.insert(key, place);
            } else {
                found.entry(key).or_insert(place);
            }
        }
        Ok(found)
    }

    /// Labels of series of one tenant; parents that a cap folded are not among them.
    pub async fn series_labels(
        &self,
        tenant: &str,
        ids: &HashSet<SeriesId>,
    ) -> Result<HashMap<SeriesId, Labels>, StoreError> {
        let mut found = HashMap::new();
        let mut conn = self.conn().await?;
        for id in ids {
            let sql = "SELECT labels, level FROM series WHERE tenant = $1 AND series_id = $2";
            let Some(row) = conn.query_one(sql, args![tenant, id]).await? else { continue };
            let (json, level) = (row.text(0)?, row.text(1)?);
            let level = Level::ALL.into_iter().find(|known| known.name() == level);
            let labels = level.and_then(|level| Labels::parse(level, &json));
            found.insert(*id, labels.ok_or_else(|| StoreError::Unreadable(format!("labels {json}")))?);
        }
        Ok(found)
    }

    /// Writes what became of feedback and the deltas that follow from it. `false`: some of it was corrected meanwhile,
    /// nothing was written, and it is read again.
    pub async fn join_feedback(
        &self,
        lease: &Lease,
        flush_id: i64,
        joined: &[Joined],
        rows: &[PaneRow],
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let conn = tx.conn()?;
        lease.check(conn).await?;
        for join in joined {
            let waiting = &join.waiting;
            let applied = join.place.is_some() && waiting.given;
            let state = match (join.place, join.orphan) {
                (Some(_), _) => "applied",
                (None, true) => "orphan",
                (None, false) => "pending",
            };
            let sql = "UPDATE feedback SET state = $4, applied = $5, applied_micro = $6, series_id = $7, minute = $8, next_try_at = $9 \
                       WHERE tenant = $1 AND id = $2 AND revision = $3";
            let series = join.place.as_ref().map(|(series, _)| &series[..]);
            let params = args![
                &waiting.tenant,
                &waiting.id,
                waiting.revision,
                state,
                i64::from(applied),
                waiting.micro.filter(|_| applied),
                series,
                join.place.map(|(_, minute)| minute),
                join.next_try_at
            ];
            if conn.run(sql, params).await? != 1 {
                tx.rollback().await?;
                return Ok(false);
            }
        }
        if !rows.is_empty() {
            if conn.postgres() {
                postgres::copy_panes(conn, flush_id, rows).await?;
            } else {
                sqlite::insert_panes(conn, flush_id, rows).await?;
            }
            touch(conn, rows).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Labels of one name by window of their calls (`width` µs wide) and class of their delay (place in `bounds`, the
    /// upper ends; later ones are left out): how many. A delay is from the call's minute to the label's first arrival.
    pub async fn label_delays(
        &self,
        asked: &DelayQuestion<'_>,
        bounds: &[Micros],
    ) -> Result<Vec<(Micros, usize, u64)>, StoreError> {
        let mut conn = self.conn().await?;
        let app = if conn.postgres() { "s.labels::json->>'app'" } else { "json_extract(s.labels, '$.app')" };
        let classes: String = bounds
            .iter()
            .enumerate()
            .map(|(class, bound)| format!("WHEN f.received_at - f.minute <= {bound} THEN {class} "))
            .collect();
        let sql = format!(
            "SELECT f.minute - f.minute % $6, CAST(CASE {classes}ELSE -1 END AS BIGINT), COUNT(*) FROM feedback f \
             JOIN series s ON s.tenant = f.tenant AND s.series_id = f.series_id \
             WHERE f.tenant = $1 AND ($2 = '' OR {app} = $2) AND f.name = $3 AND f.applied = 1 AND f.minute >= $4 \
             AND f.minute < $5 GROUP BY 1, 2"
        );
        let params = args![asked.tenant, asked.app, asked.name, asked.from, asked.to, asked.width];
        let rows = conn.query(&sql, params).await?;
        let counts = rows.iter().map(|row| Ok((row.int(0)?, row.int(1)?, row.count(2)?)));
        let counts: Vec<(Micros, i64, u64)> = counts.collect::<Result<_, StoreError>>()?;
        let known = |(cell, class, n): (Micros, i64, u64)| usize::try_from(class).ok().map(|class| (cell, class, n));
        Ok(counts.into_iter().filter_map(known).collect())
    }

    /// Feedback by state.
    pub async fn feedback_counts(&self) -> Result<HashMap<String, u64>, StoreError> {
        let sql = "SELECT state, COUNT(*) FROM feedback GROUP BY state";
        let rows = self.conn().await?.query(sql, &[]).await?;
        rows.iter().map(|row| Ok((row.text(0)?, row.count(1)?))).collect()
    }
}

fn waiting(row: &Row) -> Result<Waiting, StoreError> {
    let place = match (row.maybe_bytes(11)?, row.maybe_int(12)?) {
        (Some(series), Some(minute)) => Some((key16(&series)?, minute)),
        _ => None,
    };
    let micro = row.maybe_int(10)?;
    let trace = row.maybe_bytes(13)?;
    Ok(Waiting {
        trace: trace.map(|key| key16(&key)).transpose()?,
        tenant: row.text(0)?,
        id: row.text(1)?,
        name: row.text(2)?,
        source: row.text(3)?,
        target: key16(&row.bytes(4)?)?,
        given: row.int(5)? == 1,
        micro: row.maybe_int(6)?,
        revision: row.int(7)?,
        received_at: row.int(8)?,
        applied: (row.int(9)? == 1).then_some(micro),
        place,
    })
}
