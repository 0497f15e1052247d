//! What runs, by the series that were written, and the rows of rare kinds.

use leeway_core::clock::Micros;
use leeway_core::event::{Record, RecordKind};
use leeway_core::labels::{Labels, Level};

use crate::conn::Param;
use crate::{Row, Store, StoreError, args};

/// A leaf series: what runs, since when, and how much of late.
#[derive(Debug, Clone)]
pub struct Running {
    pub tenant: String,
    pub labels: Labels,
    pub first_seen_at: Micros,
    /// Day numbers of its oldest and newest panes, as far as they are kept.
    pub first_day: i64,
    pub last_day: i64,
    /// Calls since the asked time.
    pub calls: u64,
}

/// A row of a rare kind.
#[derive(Debug, Clone)]
pub struct Kept {
    pub tenant: String,
    pub id: String,
    pub time: Micros,
    pub app: String,
    pub name: String,
    /// JSON.
    pub body: String,
}

/// Which rows of a rare kind; empty: any.
#[derive(Debug, Clone, Copy)]
pub struct Which<'a> {
    pub tenant: &'a str,
    pub app: &'a str,
    pub from: Micros,
    pub to: Micros,
    pub limit: i64,
}

impl Store {
    /// When the newest series was first seen; 0: there is none.
    pub async fn newest_series(&self) -> Result<Micros, StoreError> {
        let sql = "SELECT COALESCE(MAX(first_seen_at), 0) FROM series WHERE level = 'leaf'";
        self.conn().await?.query_one(sql, &[]).await?.map_or(Ok(0), |row| row.int(0))
    }

    /// The tenants that have series.
    pub async fn with_series(&self) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT DISTINCT tenant FROM series WHERE level = 'leaf' ORDER BY tenant";
        self.conn().await?.query(sql, &[]).await?.iter().map(|row| row.text(0)).collect()
    }

    /// Every leaf series of a tenant that no cap folded, with its calls since a time.
    pub async fn running(&self, tenant: &str, since: Micros) -> Result<Vec<Running>, StoreError> {
        let sql = "SELECT s.tenant, s.labels, s.first_seen_at, \
                   (SELECT COALESCE(MIN(d.day), 0) FROM series_day d WHERE d.tenant = s.tenant AND d.series_id = s.series_id), \
                   (SELECT COALESCE(MAX(d.day), 0) FROM series_day d WHERE d.tenant = s.tenant AND d.series_id = s.series_id), \
                   COALESCE(p.calls, 0) FROM series s LEFT JOIN (SELECT tenant, series_id, CAST(SUM(n) AS BIGINT) AS calls \
                   FROM pane_delta WHERE tenant = $1 AND window_start >= $2 GROUP BY tenant, series_id) p \
                   ON p.tenant = s.tenant AND p.series_id = s.series_id WHERE s.tenant = $1 AND s.level = 'leaf' AND s.overflow = 0";
        let mut found = Vec::new();
        for row in self.conn().await?.query(sql, args![tenant, since]).await? {
            let json = row.text(1)?;
            let labels = Labels::parse(Level::Leaf, &json);
            found.push(Running {
                tenant: row.text(0)?,
                labels: labels.ok_or_else(|| StoreError::Unreadable(format!("labels {json}")))?,
                first_seen_at: row.int(2)?,
                first_day: row.int(3)?,
                last_day: row.int(4)?,
                calls: row.count(5)?,
            });
        }
        Ok(found)
    }

    /// Rows of a kind, newest first.
    pub async fn kept(&self, kind: RecordKind, which: Which<'_>) -> Result<Vec<Kept>, StoreError> {
        let sql = format!(
            "SELECT tenant, id, time, app, name, body FROM {} WHERE time >= $1 AND time < $2 \
             AND ($3 = '' OR tenant = $3) AND ($4 = '' OR app = $4) ORDER BY time DESC, tenant, id LIMIT $5",
            kind.name()
        );
        let params = args![which.from, which.to, which.tenant, which.app, which.limit];
        let rows = self.conn().await?.query(&sql, params).await?;
        rows.iter().map(kept).collect()
    }

    /// The newest runs of an offline suite up to a time, so many of each tenant and app; newest first.
    pub async fn suite_runs(
        &self,
        suite: &str,
        tenant: Option<&str>,
        to: Micros,
        each: i64,
    ) -> Result<Vec<Kept>, StoreError> {
        let sql = "SELECT e.tenant, e.id, e.time, e.app, e.name, e.body FROM evaluation e JOIN (SELECT tenant, id, \
                   ROW_NUMBER() OVER (PARTITION BY tenant, app ORDER BY time DESC, id) AS place FROM evaluation \
                   WHERE name = $1 AND time <= $2 AND ($3 = '' OR tenant = $3)) r ON r.tenant = e.tenant AND r.id = e.id \
                   WHERE r.place <= $4 ORDER BY e.time DESC, e.tenant, e.id";
        let rows = self.conn().await?.query(sql, args![suite, to, tenant.unwrap_or(""), each]).await?;
        rows.iter().map(kept).collect()
    }

    /// Changes of these types, whenever they were.
    pub async fn changes_of<const N: usize>(&self, types: [&str; N]) -> Result<Vec<Kept>, StoreError> {
        let places: Vec<String> = (1..=N).map(|place| format!("${place}")).collect();
        let sql = format!("SELECT tenant, id, time, app, name, body FROM change WHERE name IN ({})", places.join(", "));
        let params = types.map(Param::from);
        let rows = self.conn().await?.query(&sql, &params).await?;
        rows.iter().map(kept).collect()
    }

    /// Writes derived changes, and drops those that somebody registered meanwhile.
    pub async fn derive_changes(&self, new: &[Record], gone: &[(String, String)]) -> Result<(), StoreError> {
        if new.is_empty() && gone.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        let conn = tx.conn()?;
        let mut params: Vec<Param<'_>> = Vec::with_capacity(new.len() * 6);
        for record in new {
            let Record { tenant, id, time, app, name, body, .. } = record;
            params.extend_from_slice(args![tenant, id, *time, app, name, body]);
        }
        let head = "INSERT INTO change (tenant, id, time, app, name, body)";
        conn.insert(head, 6, &params, "ON CONFLICT DO NOTHING").await?;
        for (tenant, id) in gone {
            conn.run("DELETE FROM change WHERE tenant = $1 AND id = $2", args![tenant, id]).await?;
        }
        tx.commit().await
    }
}

fn kept(row: &Row) -> Result<Kept, StoreError> {
    Ok(Kept {
        tenant: row.text(0)?,
        id: row.text(1)?,
        time: row.int(2)?,
        app: row.text(3)?,
        name: row.text(4)?,
        body: row.text(5)?,
    })
}
