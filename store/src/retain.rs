//! What is kept how long. Minutes go once their hour holds them; hours, days and rows go by their age. Everything goes
//! in small transactions, of some rows or of one tenant's hour or day, so that a kill at any point loses nothing else.

use leeway_core::clock::{HOUR, Micros};

use crate::{Conn, Lease, Row, Store, StoreError, args};

/// Rows of one transaction.
const ROWS: i64 = 5_000;

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
        gone: "last_at < $1 AND last_seen_at < $1 AND state NOT IN ('firing', 'pending') \
               AND NOT EXISTS (SELECT 1 FROM notice n WHERE n.fingerprint = alert.fingerprint)",
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

    /// Drops the minutes of a tenant's hour before `before` that holds them; answers how many hours. What comes late for
    /// such an hour is added to it.
    pub async fn thin(&self, lease: &Lease, before: Micros) -> Result<u64, StoreError> {
        let mut tx = self.begin().await?;
        let conn = tx.conn()?;
        lease.check(conn).await?;
        patient(conn).await?;
        let sql = "SELECT tenant, hour_start FROM rolled_hour r WHERE thin = 0 AND hour_start <= $1 AND NOT EXISTS \
                   (SELECT 1 FROM open_window w WHERE w.tenant = r.tenant AND w.window_start >= r.hour_start \
                   AND w.window_start < r.hour_start + $2) ORDER BY hour_start, tenant LIMIT 1";
        let Some(row) = conn.query_one(sql, args![before - HOUR, HOUR]).await? else {
            return tx.commit().await.map(|()| 0);
        };
        let (tenant, hour) = (row.text(0)?, row.int(1)?);
        // What a flush or an import wrote since the look above is no part of the hour yet; folded rows are.
        let sql =
            "DELETE FROM pane_delta WHERE tenant = $1 AND window_start >= $2 AND window_start < $3 AND flush_id = 0";
        conn.run(sql, args![&tenant, hour, hour + HOUR]).await?;
        conn.run("UPDATE rolled_hour SET thin = 1 WHERE tenant = $1 AND hour_start = $2", args![&tenant, hour]).await?;
        tx.commit().await?;
        Ok(1)
    }

    /// Drops a tenant's hour before `before` whose minutes are gone; answers how many.
    pub async fn expire_hours(&self, lease: &Lease, before: Micros) -> Result<u64, StoreError> {
        let mut tx = self.begin().await?;
        let conn = tx.conn()?;
        lease.check(conn).await?;
        patient(conn).await?;
        let sql = "SELECT tenant, hour_start FROM rolled_hour r WHERE thin = 1 AND hour_start <= $1 AND NOT EXISTS \
                   (SELECT 1 FROM unrolled_hour u WHERE u.tenant = r.tenant AND u.hour_start = r.hour_start) \
                   ORDER BY hour_start, tenant LIMIT 1";
        let Some(row) = conn.query_one(sql, args![before - HOUR]).await? else { return tx.commit().await.map(|()| 0) };
        let (tenant, hour) = (row.text(0)?, row.int(1)?);
        for table in ["pane_hour", "rolled_hour"] {
            let sql = format!("DELETE FROM {table} WHERE tenant = $1 AND hour_start = $2");
            conn.run(&sql, args![&tenant, hour]).await?;
        }
        tx.commit().await?;
        Ok(1)
    }

    /// Drops a tenant's day before one: what series it had, and those of them that no other day has. Answers how many
    /// rows.
    pub async fn expire_day(&self, lease: &Lease, before: i64) -> Result<u64, StoreError> {
        let mut tx = self.begin().await?;
        let conn = tx.conn()?;
        lease.check(conn).await?;
        patient(conn).await?;
        let sql = "SELECT tenant, day FROM tenant_day WHERE day < $1 ORDER BY day, tenant LIMIT 1";
        let Some(row) = conn.query_one(sql, args![before]).await? else { return tx.commit().await.map(|()| 0) };
        let (tenant, day) = (row.text(0)?, row.int(1)?);
        // Whoever registers series of that day holds this row.
        let mut dropped =
            conn.run("DELETE FROM tenant_day WHERE tenant = $1 AND day = $2", args![&tenant, day]).await?;
        let sql = "DELETE FROM series_day WHERE tenant = $1 AND day = $2 RETURNING series_id";
        let series = first_column(&conn.query(sql, args![&tenant, day]).await?)?;
        dropped += series.len() as u64;
        let last = "tenant = $1 AND NOT EXISTS (SELECT 1 FROM series_day d WHERE d.tenant = series.tenant \
                    AND d.series_id = series.series_id)";
        let series: Vec<&[u8]> = series.iter().map(Vec::as_slice).collect();
        let sql = format!("SELECT series_id FROM series WHERE {last}");
        let dead = first_column(&conn.query_among(&sql, args![&tenant], "series_id", &series).await?)?;
        if !dead.is_empty() {
            if conn.postgres() {
                // Who registers a series that comes back finds it, or writes it anew: never a day of one that is going.
                conn.run("LOCK TABLE series IN SHARE ROW EXCLUSIVE MODE", &[]).await?;
            }
            let dead: Vec<&[u8]> = dead.iter().map(Vec::as_slice).collect();
            let sql = format!("DELETE FROM series WHERE {last}");
            conn.query_among(&sql, args![&tenant], "series_id", &dead).await?;
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

fn first_column(rows: &[Row]) -> Result<Vec<Vec<u8>>, StoreError> {
    rows.iter().map(|row| row.bytes(0)).collect()
}

/// An hour or a day of many series takes as long as it takes.
async fn patient(conn: &mut Conn) -> Result<(), StoreError> {
    if conn.postgres() {
        conn.run("SET LOCAL statement_timeout = '600s'", &[]).await?;
    }
    Ok(())
}
