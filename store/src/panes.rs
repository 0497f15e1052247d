//! Reading panes back, and folding the deltas of closed windows into one row.

use std::collections::BTreeMap;
use std::ops::Range;

use leeway_core::clock::Micros;
use leeway_core::event::HEADLINE_OPERATIONS;
use leeway_core::labels::{Labels, Level};
use leeway_core::pane::Pane;

use crate::{Conn, Lease, PaneRow, Row, Store, StoreError, args};

/// A series and its merged pane over what was asked.
#[derive(Debug, Clone)]
pub struct SeriesPane {
    pub labels: Labels,
    pub window_start: Micros,
    pub pane: Pane,
}

/// Rows that are written at once.
const ROWS: usize = 2_000;
/// (Tenant, window) pairs that one compaction folds at most.
const COMPACT_BATCH: i64 = 20;

impl Store {
    /// Every series of `level` with its pane per minute in `[from, to)`, deltas merged. `tenant` = `None` asks all.
    pub async fn panes(
        &self,
        level: Level,
        tenant: Option<&str>,
        from: Micros,
        to: Micros,
    ) -> Result<Vec<SeriesPane>, StoreError> {
        self.read(level, tenant, from..to, |minute| minute).await
    }

    /// As `panes`, with one pane of all of `[from, to)`: of a long window panes of each minute are many.
    pub async fn whole(
        &self,
        level: Level,
        tenant: Option<&str>,
        from: Micros,
        to: Micros,
    ) -> Result<Vec<SeriesPane>, StoreError> {
        self.read(level, tenant, from..to, |_| from).await
    }

    /// As `panes`, with one pane a step of `of`.
    pub async fn steps(
        &self,
        level: Level,
        tenant: Option<&str>,
        of: Range<Micros>,
        step: Micros,
    ) -> Result<Vec<SeriesPane>, StoreError> {
        let from = of.start;
        self.read(level, tenant, of, |minute| from + (minute - from) / step * step).await
    }

    async fn read(
        &self,
        level: Level,
        tenant: Option<&str>,
        of: Range<Micros>,
        window: impl Fn(Micros) -> Micros,
    ) -> Result<Vec<SeriesPane>, StoreError> {
        let mut conn = self.conn().await?;
        let tenants = asked(&mut conn, level, tenant, of.start, of.end).await?;
        merged(&mut conn, level, &tenants, of, window).await
    }

    /// Headline panes (served chat, completion, embeddings, rerank) of everything, by minute, in `[from, to)`.
    pub async fn headline(&self, from: Micros, to: Micros) -> Result<BTreeMap<Micros, Pane>, StoreError> {
        let mut by_minute: BTreeMap<Micros, Pane> = BTreeMap::new();
        for series in self.panes(Level::All, None, from, to).await? {
            if headline(&series.labels) {
                by_minute.entry(series.window_start).or_default().merge(&series.pane);
            }
        }
        Ok(by_minute)
    }

    /// Folds the deltas of windows that started before `before` into one row a series, with its percentiles; answers how
    /// many (tenant, window) pairs it folded. Readers see either the deltas or the fold, never both.
    pub async fn compact(&self, lease: &Lease, before: Micros) -> Result<usize, StoreError> {
        let mut tx = self.begin().await?;
        let conn = tx.conn()?;
        lease.check(conn).await?;
        // A flush that touches the window meanwhile waits here, and opens it anew after the fold.
        let sql = "DELETE FROM open_window WHERE (tenant, window_start) IN (SELECT tenant, window_start FROM open_window \
                   WHERE window_start < $1 ORDER BY window_start, tenant LIMIT $2) RETURNING tenant, window_start";
        let windows = conn.query(sql, args![before, COMPACT_BATCH]).await?;
        for window in &windows {
            let (tenant, start) = (window.text(0)?, window.int(1)?);
            let sql =
                "DELETE FROM pane_delta WHERE tenant = $1 AND window_start = $2 RETURNING series_id, counts, sketches";
            let mut folded: BTreeMap<Vec<u8>, Pane> = BTreeMap::new();
            for row in conn.query(sql, args![&tenant, start]).await? {
                let pane = Pane::decode(&row.bytes(1)?, &row.bytes(2)?)?;
                folded.entry(row.bytes(0)?).or_default().merge(&pane);
            }
            let mut folded = folded.into_iter().peekable();
            while folded.peek().is_some() {
                let mut rows = Vec::new();
                for (series, pane) in folded.by_ref().take(ROWS) {
                    rows.push(PaneRow::folded(&tenant, crate::flush::key16(&series)?, start, &pane));
                }
                // As a flush that no flush has.
                crate::flush::panes(conn, 0, &rows).await?;
            }
            crate::rollup::unroll(conn, &tenant, start).await?;
        }
        let folded = windows.len();
        tx.commit().await?;
        Ok(folded)
    }
}

/// The panes of some tenants by the minute.
pub async fn minutes(
    conn: &mut Conn,
    level: Level,
    tenants: &[String],
    of: Range<Micros>,
) -> Result<Vec<SeriesPane>, StoreError> {
    merged(conn, level, tenants, of, |minute| minute).await
}

/// The panes of some tenants, minutes of one window together.
async fn merged(
    conn: &mut Conn,
    level: Level,
    tenants: &[String],
    of: Range<Micros>,
    window: impl Fn(Micros) -> Micros,
) -> Result<Vec<SeriesPane>, StoreError> {
    let sql = "SELECT s.labels, d.window_start, d.counts, d.sketches FROM pane_delta d \
               JOIN series s ON s.tenant = d.tenant AND s.series_id = d.series_id \
               WHERE d.tenant = $1 AND d.window_start >= $2 AND d.window_start < $3 AND s.level = $4";
    let mut merged: BTreeMap<(Micros, String), Pane> = BTreeMap::new();
    for tenant in tenants {
        for row in conn.query(sql, args![tenant, of.start, of.end, level.name()]).await? {
            let pane = Pane::decode(&row.bytes(2)?, &row.bytes(3)?)?;
            merged.entry((window(row.int(1)?), row.text(0)?)).or_default().merge(&pane);
        }
    }
    let parse = |((window_start, json), pane): ((Micros, String), Pane)| {
        let labels = Labels::parse(level, &json).ok_or_else(|| StoreError::Unreadable(format!("labels {json}")))?;
        Ok(SeriesPane { labels, window_start, pane })
    };
    merged.into_iter().map(parse).collect()
}

/// Whether a series counts in headline figures.
pub fn headline(labels: &Labels) -> bool {
    let operation = labels.get("operation").unwrap_or("");
    labels.get("served") == Some("true") && HEADLINE_OPERATIONS.contains(&operation)
}

/// The tenants whose panes hold what is asked; series of everything belong to none.
pub async fn asked(
    conn: &mut Conn,
    level: Level,
    tenant: Option<&str>,
    from: Micros,
    to: Micros,
) -> Result<Vec<String>, StoreError> {
    match (level, tenant) {
        (Level::All, _) => Ok(vec![String::new()]),
        (_, Some(tenant)) => Ok(vec![tenant.to_owned()]),
        (_, None) => tenants(conn, from, to).await,
    }
}

async fn tenants(conn: &mut Conn, from: Micros, to: Micros) -> Result<Vec<String>, StoreError> {
    use leeway_core::clock::day_of;
    let sql = "SELECT DISTINCT tenant FROM tenant_day WHERE day >= $1 AND day <= $2 AND tenant <> '' ORDER BY tenant";
    let rows = conn.query(sql, args![day_of(from), day_of(to)]).await?;
    rows.iter().map(|row: &Row| row.text(0)).collect()
}
