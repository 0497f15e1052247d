//! Hours: the panes of an hour's minutes, merged, so that weeks need not be read by the minute.
//!
//! An hour counts only while it is marked as rolled and none of its windows is open. Whoever writes a delta opens its
//! window in the same transaction, and the compactor withdraws the mark when it folds the window; so a reader finds
//! either an hour that holds everything, or no hour, and reads the minutes.
//!
//! An hour whose minutes were dropped is thin: it keeps its mark, minutes that come late stand beside it, and rolling
//! it again adds them and drops them.

use std::collections::BTreeMap;
use std::ops::Range;

use leeway_core::clock::{HOUR, Micros};
use leeway_core::labels::{Labels, Level};
use leeway_core::pane::Pane;

use crate::conn::Param;
use crate::{Conn, Lease, Row, SeriesPane, Store, StoreError, args};

type Rolled = (Vec<Micros>, Vec<SeriesPane>);

/// Hours of one transaction.
const ROLL_BATCH: i64 = 10;

impl Store {
    /// Rolls hours that ended before `before` and have no open window; answers how many.
    pub async fn roll(&self, lease: &Lease, before: Micros) -> Result<usize, StoreError> {
        let mut tx = self.begin().await?;
        let conn = tx.conn()?;
        lease.check(conn).await?;
        let sql = "SELECT tenant, hour_start FROM unrolled_hour u WHERE hour_start <= $1 AND NOT EXISTS \
                   (SELECT 1 FROM open_window w WHERE w.tenant = u.tenant AND w.window_start >= u.hour_start \
                   AND w.window_start < u.hour_start + $3) ORDER BY hour_start, tenant LIMIT $2";
        let hours = conn.query(sql, args![before - HOUR, ROLL_BATCH, HOUR]).await?;
        for hour in &hours {
            roll(conn, &hour.text(0)?, hour.int(1)?).await?;
        }
        let rolled = hours.len();
        tx.commit().await?;
        Ok(rolled)
    }

    /// As `panes`, with one pane an hour where an hour is rolled, and one a minute elsewhere.
    pub async fn hours(
        &self,
        level: Level,
        tenant: Option<&str>,
        from: Micros,
        to: Micros,
    ) -> Result<Vec<SeriesPane>, StoreError> {
        // Of one moment: an hour is rolled, thinned and added to while it is read.
        let mut tx = self.snapshot().await?;
        let conn = tx.conn()?;
        let mut found = Vec::new();
        for tenant in crate::panes::asked(conn, level, tenant, from, to).await? {
            let (rolled, panes) = rolled(conn, level, &tenant, from..to).await?;
            found.extend(panes);
            let tenant = [tenant];
            // What lies between rolled hours, by the minute.
            let mut start = from;
            for hour in rolled.into_iter().chain([to]) {
                if start < hour {
                    found.extend(crate::panes::minutes(conn, level, &tenant, start..hour).await?);
                }
                start = hour + HOUR;
            }
        }
        tx.commit().await?;
        Ok(found)
    }
}

/// A tenant's rolled hours within a range: the starts, in order, of those beside which no minute counts, and the panes
/// of all.
async fn rolled(conn: &mut Conn, level: Level, tenant: &str, of: Range<Micros>) -> Result<Rolled, StoreError> {
    let sql = "SELECT r.hour_start, s.labels, h.counts, h.sketches, r.thin FROM rolled_hour r \
                   LEFT JOIN pane_hour h ON h.tenant = r.tenant AND h.hour_start = r.hour_start AND h.level = $4 \
                   LEFT JOIN series s ON s.tenant = h.tenant AND s.series_id = h.series_id \
                   WHERE r.tenant = $1 AND r.hour_start >= $2 AND r.hour_start <= $3 AND (r.thin = 1 OR NOT EXISTS \
                   (SELECT 1 FROM open_window w WHERE w.tenant = r.tenant AND w.window_start >= r.hour_start \
                   AND w.window_start < r.hour_start + $5)) ORDER BY r.hour_start";
    let (mut rolled, mut found) = (Vec::new(), Vec::new());
    let params = args![tenant, of.start, of.end - HOUR, level.name(), HOUR];
    for row in conn.query(sql, params).await? {
        let window_start = row.int(0)?;
        if row.int(4)? == 0 && rolled.last() != Some(&window_start) {
            rolled.push(window_start);
        }
        let Some(json) = row.maybe_text(1)? else { continue };
        let labels = Labels::parse(level, &json);
        let labels = labels.ok_or_else(|| StoreError::Unreadable(format!("labels {json}")))?;
        let pane = Pane::decode(&row.bytes(2)?, &row.bytes(3)?)?;
        found.push(SeriesPane { labels, window_start, pane });
    }
    Ok((rolled, found))
}

/// The panes of an hour by series and level, all that there is of each.
async fn parts(conn: &mut Conn, tenant: &str, hour: Micros) -> Result<Vec<Row>, StoreError> {
    let sql = "SELECT thin FROM rolled_hour WHERE tenant = $1 AND hour_start = $2";
    let thin = conn.query_one(sql, args![tenant, hour]).await?.map_or(Ok(0), |row| row.int(0))?;
    if thin == 0 {
        let sql = "SELECT d.series_id, s.level, d.counts, d.sketches FROM pane_delta d \
                   JOIN series s ON s.tenant = d.tenant AND s.series_id = d.series_id \
                   WHERE d.tenant = $1 AND d.window_start >= $2 AND d.window_start < $3";
        return conn.query(sql, args![tenant, hour, hour + HOUR]).await;
    }
    // What is added goes: exactly these rows.
    let sql = "DELETE FROM pane_delta WHERE tenant = $1 AND window_start >= $2 AND window_start < $3 RETURNING series_id, \
               (SELECT level FROM series s WHERE s.tenant = pane_delta.tenant AND s.series_id = pane_delta.series_id), \
               counts, sketches";
    let mut rows = conn.query(sql, args![tenant, hour, hour + HOUR]).await?;
    let sql = "SELECT series_id, level, counts, sketches FROM pane_hour WHERE tenant = $1 AND hour_start = $2";
    rows.extend(conn.query(sql, args![tenant, hour]).await?);
    Ok(rows)
}

async fn roll(conn: &mut Conn, tenant: &str, hour: Micros) -> Result<(), StoreError> {
    let mut merged: BTreeMap<(Vec<u8>, String), Pane> = BTreeMap::new();
    for row in parts(conn, tenant, hour).await? {
        // Without its series a pane has no labels, and nobody could read it.
        let Some(level) = row.maybe_text(1)? else { continue };
        let pane = Pane::decode(&row.bytes(2)?, &row.bytes(3)?)?;
        merged.entry((row.bytes(0)?, level)).or_default().merge(&pane);
    }
    conn.run("DELETE FROM pane_hour WHERE tenant = $1 AND hour_start = $2", args![tenant, hour]).await?;
    let encoded: Vec<(Vec<u8>, Vec<u8>)> =
        merged.values().map(|pane| (pane.encode_counts(), pane.encode_sketches())).collect();
    let mut params: Vec<Param<'_>> = Vec::with_capacity(merged.len() * 6);
    for ((series, level), (counts, sketches)) in merged.keys().zip(&encoded) {
        params.extend_from_slice(args![tenant, series, hour, level, counts, sketches]);
    }
    let head = "INSERT INTO pane_hour (tenant, series_id, hour_start, level, counts, sketches)";
    conn.insert(head, 6, &params, "").await?;
    let mark = "INSERT INTO rolled_hour (tenant, hour_start) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    conn.run(mark, args![tenant, hour]).await?;
    conn.run("DELETE FROM unrolled_hour WHERE tenant = $1 AND hour_start = $2", args![tenant, hour]).await?;
    Ok(())
}

/// Withdraws the mark of an hour whose window was folded anew, and lets it be rolled again.
pub async fn unroll(conn: &mut Conn, tenant: &str, window: Micros) -> Result<(), StoreError> {
    let hour = window.div_euclid(HOUR) * HOUR;
    let sql = "DELETE FROM rolled_hour WHERE tenant = $1 AND hour_start = $2 AND thin = 0";
    conn.run(sql, args![tenant, hour]).await?;
    let again = "INSERT INTO unrolled_hour (tenant, hour_start) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    conn.run(again, args![tenant, hour]).await?;
    Ok(())
}
