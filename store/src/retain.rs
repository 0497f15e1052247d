//! What is kept how long. Minutes go once their hour holds them; hours, days and rows go by their age. Everything goes
//! a bounded number of rows at a time, each in a transaction of its own, so that a kill at any point loses nothing else.

use leeway_core::clock::{DAY, HOUR, Micros};

use crate::{Lease, Store, StoreError, args};

/// Rows of one transaction.
const ROWS: i64 = 5_000;
/// Hours of one transaction.
const HOURS: i64 = 20;
/// Days of one tenant in one transaction.
const DAYS: i64 = 5;
/// Series of one transaction: nobody registers one meanwhile.
const SERIES: i64 = 500;

/// Rows that go by their age.
#[derive(Debug, Clone, Copy)]
pub struct Aging {
    pub table: &'static str,
    key: &'static str,
    /// With `$1`, the oldest time that stays.
    gone: &'static str,
}

/// What tells how messages were counted.
pub const LEDGER: [Aging; 3] = [
    Aging { table: "ledger", key: "source, topic, incarnation, part, minute", gone: "minute < $1" },
    Aging { table: "flush_range", key: "source, topic, incarnation, part, from_offset", gone: "flushed_at < $1" },
    Aging {
        table: "dead_letter",
        key: "source, topic, incarnation, part, source_offset, record",
        gone: "received_at < $1",
    },
];

/// What tells who said what when. An alert's notices go before it: their numbers begin anew with it.
pub const RECORDS: [Aging; 5] = [
    Aging { table: "feedback", key: "tenant, id", gone: "time < $1" },
    Aging { table: "delivery", key: "notice, attempt", gone: "at < $1" },
    Aging { table: "notice", key: "id", gone: "created_at < $1 AND state <> 'waiting'" },
    Aging { table: "finding", key: "id", gone: "at < $1" },
    Aging {
        table: "alert",
        key: "fingerprint",
        gone: "last_at < $1 AND last_seen_at < $1 AND state NOT IN ('firing', 'pending')",
    },
];

impl Store {
    /// Drops rows of a table that are older than `before`, a bounded number of them; answers how many.
    pub async fn expire(&self, lease: &Lease, aging: Aging, before: Micros) -> Result<u64, StoreError> {
        let Aging { table, key, gone } = aging;
        let mut tx = self.begin().await?;
        let conn = tx.conn()?;
        lease.check(conn).await?;
        let sql = format!("DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE {gone} LIMIT $2)");
        let dropped = conn.run(&sql, args![before, ROWS]).await?;
        tx.commit().await?;
        Ok(dropped)
    }

    /// Drops the minutes of hours before `before` that hold them, some hours of them; answers how many hours. What comes
    /// late for such an hour is added to it.
    pub async fn thin(&self, lease: &Lease, before: Micros) -> Result<u64, StoreError> {
        let mut tx = self.begin().await?;
        let conn = tx.conn()?;
        lease.check(conn).await?;
        let sql = "SELECT tenant, hour_start FROM rolled_hour r WHERE thin = 0 AND hour_start <= $1 AND NOT EXISTS \
                   (SELECT 1 FROM open_window w WHERE w.tenant = r.tenant AND w.window_start >= r.hour_start \
                   AND w.window_start < r.hour_start + $3) ORDER BY hour_start, tenant LIMIT $2";
        let hours = conn.query(sql, args![before - HOUR, HOURS, HOUR]).await?;
        for row in &hours {
            let (tenant, hour) = (row.text(0)?, row.int(1)?);
            // What a flush wrote since the look above is no part of the hour yet; folded rows are.
            let sql = "DELETE FROM pane_delta WHERE tenant = $1 AND window_start >= $2 AND window_start < $3 AND flush_id = 0";
            conn.run(sql, args![&tenant, hour, hour + HOUR]).await?;
            let sql = "UPDATE rolled_hour SET thin = 1 WHERE tenant = $1 AND hour_start = $2";
            conn.run(sql, args![&tenant, hour]).await?;
        }
        tx.commit().await?;
        Ok(hours.len() as u64)
    }

    /// Drops hours before `before` whose minutes are gone; answers how many.
    pub async fn expire_hours(&self, lease: &Lease, before: Micros) -> Result<u64, StoreError> {
        let mut tx = self.begin().await?;
        let conn = tx.conn()?;
        lease.check(conn).await?;
        let sql = "SELECT tenant, hour_start FROM rolled_hour r WHERE thin = 1 AND hour_start <= $1 AND NOT EXISTS \
                   (SELECT 1 FROM unrolled_hour u WHERE u.tenant = r.tenant AND u.hour_start = r.hour_start) \
                   ORDER BY hour_start, tenant LIMIT $2";
        let hours = conn.query(sql, args![before - HOUR, HOURS]).await?;
        for row in &hours {
            let (tenant, hour) = (row.text(0)?, row.int(1)?);
            for table in ["pane_hour", "rolled_hour"] {
                let sql = format!("DELETE FROM {table} WHERE tenant = $1 AND hour_start = $2");
                conn.run(&sql, args![&tenant, hour]).await?;
            }
        }
        tx.commit().await?;
        Ok(hours.len() as u64)
    }

    /// Drops what series there were on days before one; answers how many rows.
    pub async fn expire_days(&self, lease: &Lease, before: i64) -> Result<u64, StoreError> {
        let mut tx = self.begin().await?;
        let conn = tx.conn()?;
        lease.check(conn).await?;
        let sql = "SELECT tenant, day FROM tenant_day WHERE day < $1 ORDER BY day, tenant LIMIT $2";
        let mut dropped = 0;
        for row in conn.query(sql, args![before, DAYS]).await? {
            let (tenant, day) = (row.text(0)?, row.int(1)?);
            for table in ["series_day", "tenant_day"] {
                let sql = format!("DELETE FROM {table} WHERE tenant = $1 AND day = $2");
                dropped += conn.run(&sql, args![&tenant, day]).await?;
            }
        }
        tx.commit().await?;
        Ok(dropped)
    }

    /// Drops series that no kept day has, and that were known before a day; answers how many.
    pub async fn expire_series(&self, lease: &Lease, before: i64) -> Result<u64, StoreError> {
        let alive =
            "EXISTS (SELECT 1 FROM series_day d WHERE d.tenant = series.tenant AND d.series_id = series.series_id)";
        let sql = format!("SELECT tenant, series_id FROM series WHERE first_seen_at < $1 AND NOT {alive} LIMIT $2");
        let gone = self.conn().await?.query(&sql, args![before * DAY, SERIES]).await?;
        if gone.is_empty() {
            return Ok(0);
        }
        let mut tx = self.begin().await?;
        let conn = tx.conn()?;
        lease.check(conn).await?;
        if conn.postgres() {
            // Who registers a series that comes back finds it, or writes it anew: never a day of one that is going.
            conn.run("LOCK TABLE series IN SHARE ROW EXCLUSIVE MODE", &[]).await?;
        }
        let mut dropped = 0;
        for row in &gone {
            let sql = format!("DELETE FROM series WHERE tenant = $1 AND series_id = $2 AND NOT {alive}");
            dropped += conn.run(&sql, args![&row.text(0)?, &row.bytes(1)?]).await?;
        }
        tx.commit().await?;
        Ok(dropped)
    }

    /// When the youngest hour whose minutes are gone ended; `None`: all are kept.
    pub async fn minutes_since(&self) -> Result<Option<Micros>, StoreError> {
        let sql = "SELECT MAX(hour_start) FROM rolled_hour WHERE thin = 1";
        let row = self.conn().await?.query_one(sql, &[]).await?;
        Ok(row.map_or(Ok(None), |row| row.maybe_int(0))?.map(|hour| hour + HOUR))
    }

    /// Bytes that the database takes on its disk.
    pub async fn bytes(&self) -> Result<u64, StoreError> {
        let mut conn = self.conn().await?;
        let sql = if conn.postgres() {
            "SELECT pg_database_size(current_database())"
        } else {
            "SELECT c.page_count * s.page_size FROM pragma_page_count AS c, pragma_page_size AS s"
        };
        conn.query_one(sql, &[]).await?.map_or(Ok(0), |row| row.count(0))
    }
}
