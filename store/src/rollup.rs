//! Hours: the panes of an hour's minutes, merged, so that weeks need not be read by the minute.
//!
//! An hour counts only while it is marked as rolled and none of its windows is open. Whoever writes a delta opens its
//! window in the same transaction, and the compactor withdraws the mark when it folds the window; so a reader finds
//! either an hour that holds everything, or no hour, and reads the minutes.

use std::collections::BTreeMap;

use leeway_core::clock::{HOUR, Micros};
use leeway_core::labels::{Labels, Level};
use leeway_core::pane::Pane;

use crate::conn::Param;
use crate::{Conn, Lease, SeriesPane, Store, StoreError, args};

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
        let tenants = {
            let mut conn = self.conn().await?;
            crate::panes::asked(&mut conn, level, tenant, from, to).await?
        };
        let mut found = Vec::new();
        for tenant in &tenants {
            let (rolled, panes) = self.rolled(level, tenant, from, to).await?;
            found.extend(panes);
            // What lies between rolled hours, by the minute.
            let mut start = from;
            for hour in rolled.into_iter().chain([to]) {
                if start < hour {
                    found.extend(self.panes(level, Some(tenant), start, hour).await?);
                }
                start = hour + HOUR;
            }
        }
        Ok(found)
    }

    /// A tenant's rolled hours within `[from, to)`: their starts, in order, and their panes. One statement, so that the marks
    /// and the panes are of one moment.
    async fn rolled(&self, level: Level, tenant: &str, from: Micros, to: Micros) -> Result<Rolled, StoreError> {
        let sql = "SELECT r.hour_start, s.labels, h.counts, h.sketches FROM rolled_hour r \
                   LEFT JOIN pane_hour h ON h.tenant = r.tenant AND h.hour_start = r.hour_start AND h.level = $4 \
                   LEFT JOIN series s ON s.tenant = h.tenant AND s.series_id = h.series_id \
                   WHERE r.tenant = $1 AND r.hour_start >= $2 AND r.hour_start <= $3 AND NOT EXISTS \
                   (SELECT 1 FROM open_window w WHERE w.tenant = r.tenant AND w.window_start >= r.hour_start \
                   AND w.window_start < r.hour_start + $5) ORDER BY r.hour_start";
        let (mut rolled, mut found) = (Vec::new(), Vec::new());
        let params = args![tenant, from, to - HOUR, level.name(), HOUR];
        for row in self.conn().await?.query(sql, params).await? {
            let window_start = row.int(0)?;
            if rolled.last() != Some(&window_start) {
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
}

async fn roll(conn: &mut Conn, tenant: &str, hour: Micros) -> Result<(), StoreError> {
    let mut merged: BTreeMap<(Vec<u8>, String), Pane> = BTreeMap::new();
    let sql = "SELECT d.series_id, s.level, d.counts, d.sketches FROM pane_delta d \
               JOIN series s ON s.tenant = d.tenant AND s.series_id = d.series_id \
               WHERE d.tenant = $1 AND d.window_start >= $2 AND d.window_start < $3";
    for row in conn.query(sql, args![tenant, hour, hour + HOUR]).await? {
        let pane = Pane::decode(&row.bytes(2)?, &row.bytes(3)?)?;
        merged.entry((row.bytes(0)?, row.text(1)?)).or_default().merge(&pane);
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
    conn.run("DELETE FROM rolled_hour WHERE tenant = $1 AND hour_start = $2", args![tenant, hour]).await?;
    let again = "INSERT INTO unrolled_hour (tenant, hour_start) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    conn.run(again, args![tenant, hour]).await?;
    Ok(())
}
