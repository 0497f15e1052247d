//! What pages and metrics read of ingest: ledger, partitions, dead letters, series load.

use leeway_core::clock::Micros;
use leeway_core::ledger::Ledger;

use crate::{MENTIONS, Store, StoreError, args};

#[derive(Debug, Clone)]
pub struct PartitionRow {
    pub source: String,
    pub topic: String,
    pub partition: i64,
    pub next_offset: i64,
    pub high: i64,
    pub watermark: Micros,
    pub owner: String,
    pub flushed_at: Micros,
}

impl PartitionRow {
    /// Messages behind the broker's end of log, as last seen.
    pub fn lag(&self) -> i64 {
        (self.high - self.next_offset).max(0)
    }
}

/// The ledger since some time, and whether it adds up.
#[derive(Debug, Clone, Copy, Default)]
pub struct LedgerTotals {
    pub ledger: Ledger,
    /// Messages that the broker had dropped before they were read.
    pub lost: u64,
}

#[derive(Debug, Clone)]
pub struct TenantLoad {
    pub tenant: String,
    pub series: u64,
    pub folded_calls: u64,
}

/// Panes of the past.
#[derive(Debug, Clone, Copy)]
pub struct Import<'a> {
    /// Names the import: it is done once.
    pub id: &'a str,
    /// What pages say of it.
    pub note: &'a str,
    pub series: &'a [crate::SeriesRef],
    pub rows: &'a [crate::PaneRow],
}

impl Store {
    /// (tenant, app) of every app that has series, `limit` at most.
    pub async fn apps(&self, limit: i64) -> Result<Vec<(String, String)>, StoreError> {
        self.apps_where("overflow = 0", limit).await
    }

    /// As `apps`, of those that had headline calls which no user saw.
    pub async fn unserved_apps(&self, limit: i64) -> Result<Vec<(String, String)>, StoreError> {
        let operations = leeway_core::event::HEADLINE_OPERATIONS.map(|name| format!("'{name}'")).join(", ");
        self.apps_where(&format!("overflow = 0 AND served = 0 AND operation IN ({operations})"), limit).await
    }

    async fn apps_where(&self, condition: &str, limit: i64) -> Result<Vec<(String, String)>, StoreError> {
        let sql = format!(
            "SELECT DISTINCT tenant, labels FROM series WHERE level = 'app' AND {condition} ORDER BY tenant, labels LIMIT $1"
        );
        // An app has a row for each operation, served or not.
        let rows = self.conn().await?.query(&sql, args![limit * 16]).await?;
        let mut apps = Vec::new();
        for row in rows {
            let labels = leeway_core::labels::Labels::parse(leeway_core::labels::Level::App, &row.text(1)?);
            let app = labels.and_then(|labels| labels.get("app").map(str::to_owned)).unwrap_or_default();
            apps.push((row.text(0)?, app));
        }
        apps.sort();
        apps.dedup();
        apps.truncate(usize::try_from(limit).unwrap_or(0));
        Ok(apps)
    }

    /// Changes that were registered for `[from, to)`: time, tenant, app, type, body.
    pub async fn changes(
        &self,
        from: Micros,
        to: Micros,
        limit: i64,
    ) -> Result<Vec<(Micros, String, String, String, String)>, StoreError> {
        let sql =
            "SELECT time, tenant, app, name, body FROM change WHERE time >= $1 AND time < $2 ORDER BY time LIMIT $3";
        let rows = self.conn().await?.query(sql, args![from, to, limit]).await?;
        rows.iter().map(|row| Ok((row.int(0)?, row.text(1)?, row.text(2)?, row.text(3)?, row.text(4)?))).collect()
    }

    /// Brings in panes of the past; a second call with the same id changes nothing. `false`: it was there.
    pub async fn import(&self, import: &Import<'_>, now: Micros) -> Result<bool, StoreError> {
        let Import { id, note, series, rows } = *import;
        let starts = || rows.iter().map(|row| row.window_start);
        let (Some(from), Some(to)) = (starts().min(), starts().max()) else { return Ok(false) };
        let mut tx = self.begin().await?;
        let conn = tx.conn()?;
        let sql = "INSERT INTO imported (id, from_at, to_at, simulated, note, imported_at) VALUES ($1, $2, $3, 1, $4, $5) ON CONFLICT DO NOTHING";
        if conn.run(sql, args![id, from, to + leeway_core::clock::HOUR, note, now]).await? != 1 {
            return Ok(false);
        }
        crate::flush::enlist(conn, series, now).await?;
        // Not 0: these rows are not folded, and so in no hour yet.
        let flush_id = -now;
        if conn.postgres() {
            crate::postgres::copy_panes(conn, flush_id, rows).await?;
        } else {
            crate::sqlite::insert_panes(conn, flush_id, rows).await?;
        }
        // Hours that were rolled without them are hidden until they are rolled anew.
        crate::flush::touch(conn, rows).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Notes of what was imported into `[from, to)`.
    pub async fn imported(&self, from: Micros, to: Micros) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT note FROM imported WHERE from_at < $2 AND to_at > $1 ORDER BY imported_at";
        let rows = self.conn().await?.query(sql, args![from, to]).await?;
        rows.iter().map(|row| row.text(0)).collect()
    }

    /// Whether a week's report went to a receiver.
    pub async fn report_sent(&self, week: &str, receiver: &str) -> Result<bool, StoreError> {
        let sql = "SELECT COUNT(*) FROM report WHERE week = $1 AND receiver = $2";
        let row = self.conn().await?.query_one(sql, args![week, receiver]).await?;
        row.map_or(Ok(false), |row| Ok(row.int(0)? > 0))
    }

    pub async fn mark_report(&self, week: &str, receiver: &str, now: Micros) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let sql = "INSERT INTO report (week, receiver, sent_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        tx.conn()?.run(sql, args![week, receiver, now]).await?;
        tx.commit().await
    }

    pub async fn partitions(&self) -> Result<Vec<PartitionRow>, StoreError> {
        let sql = "SELECT source, topic, part, next_offset, high_offset, watermark, owner, flushed_at FROM source_partition \
                   WHERE owner <> '' ORDER BY source, topic, incarnation, part";
        let rows = self.conn().await?.query(sql, &[]).await?;
        let read = |row: &crate::Row| {
            Ok(PartitionRow {
                source: row.text(0)?,
                topic: row.text(1)?,
                partition: row.int(2)?,
                next_offset: row.int(3)?,
                high: row.int(4)?,
                watermark: row.int(5)?,
                owner: row.text(6)?,
                flushed_at: row.int(7)?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Sums of the ledger's minutes from `from` on.
    pub async fn ledger_since(&self, from: Micros) -> Result<LedgerTotals, StoreError> {
        let sums: Vec<String> =
            Ledger::NAMES.iter().map(|name| format!("COALESCE(CAST(SUM({name}) AS BIGINT), 0)")).collect();
        let sql = format!("SELECT {} FROM ledger WHERE minute >= $1 AND source <> '{MENTIONS}'", sums.join(", "));
        let mut conn = self.conn().await?;
        let mut values = [0; 15];
        if let Some(row) = conn.query_one(&sql, args![from]).await? {
            for (place, value) in values.iter_mut().enumerate() {
                *value = row.count(place)?;
            }
        }
        let sql = "SELECT COALESCE(CAST(SUM(to_offset - from_offset) AS BIGINT), 0) FROM flush_range WHERE gap = 1 AND flushed_at >= $1";
        let lost = conn.query_one(sql, args![from]).await?.map_or(Ok(0), |row| row.count(0))?;
        Ok(LedgerTotals { ledger: Ledger::from_values(values), lost })
    }

    /// Series and folded calls by tenant on one UTC day, most series first.
    pub async fn tenant_loads(&self, day: i64) -> Result<Vec<TenantLoad>, StoreError> {
        let sql = "SELECT tenant, series, folded_calls FROM tenant_day WHERE day = $1 AND tenant <> '' ORDER BY series DESC, tenant LIMIT 50";
        let rows = self.conn().await?.query(sql, args![day]).await?;
        rows.iter()
            .map(|row| Ok(TenantLoad { tenant: row.text(0)?, series: row.count(1)?, folded_calls: row.count(2)? }))
            .collect()
    }

    /// Finest series of a UTC day, of a tenant or of all.
    pub async fn series_on(&self, tenant: Option<&str>, day: i64) -> Result<u64, StoreError> {
        let sql = "SELECT COALESCE(CAST(SUM(series) AS BIGINT), 0) FROM tenant_day WHERE day = $1 AND tenant <> '' AND ($2 = '' OR tenant = $2)";
        let row = self.conn().await?.query_one(sql, args![day, tenant.unwrap_or("")]).await?;
        row.map_or(Ok(0), |row| row.count(0))
    }

    /// How many values each label of a tenant's finest series has on one UTC day, most first.
    pub async fn label_spread(&self, tenant: &str, day: i64) -> Result<Vec<(String, u64)>, StoreError> {
        let mut conn = self.conn().await?;
        let each = if conn.postgres() { "json_each_text(s.labels::json)" } else { "json_each(s.labels)" };
        let sql = format!(
            "SELECT label.key, COUNT(DISTINCT label.value) FROM series_day d JOIN series s ON s.tenant = d.tenant AND \
             s.series_id = d.series_id CROSS JOIN {each} AS label WHERE d.tenant = $1 AND d.day = $2 AND s.level = 'leaf' \
             GROUP BY label.key ORDER BY 2 DESC, 1"
        );
        let rows = conn.query(&sql, args![tenant, day]).await?;
        rows.iter().map(|row| Ok((row.text(0)?, row.count(1)?))).collect()
    }

    /// Drops call-index rows first seen before `day`, a bounded number at a time; answers how many.
    pub async fn expire_call_index(&self, day: i64) -> Result<u64, StoreError> {
        let mut tx = self.begin().await?;
        let sql = "DELETE FROM call_index WHERE (tenant, call_key, facet) IN \
                   (SELECT tenant, call_key, facet FROM call_index WHERE first_seen_day < $1 LIMIT 20000)";
        let gone = tx.conn()?.run(sql, args![day]).await?;
        tx.commit().await?;
        Ok(gone)
    }

    /// A cheap question, for health checks.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.conn().await?.query("SELECT 1", &[]).await.map(|_| ())
    }
}
