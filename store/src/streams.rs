//! What is usual of streams: their blocks by day, and what their detectors hold.

use crate::{Store, StoreError, args};

/// A stream and where its values are cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRow {
    pub stream: String,
    /// Labels as sorted JSON.
    pub labels: String,
    pub edges: Vec<u8>,
}

/// The state of a rule's detectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetectorState {
    pub basis: String,
    pub body: Vec<u8>,
}

/// The stream whose row says that a day was read.
const READ: &str = "";

impl Store {
    pub async fn streams(&self, basis: &str) -> Result<Vec<StreamRow>, StoreError> {
        let sql = "SELECT stream, labels, edges FROM stream WHERE basis = $1 ORDER BY stream";
        let rows = self.conn().await?.query(sql, args![basis]).await?;
        rows.iter()
            .map(|row| Ok(StreamRow { stream: row.text(0)?, labels: row.text(1)?, edges: row.bytes(2)? }))
            .collect()
    }

    /// Days of a basis, from `first` on, whose panes were read into blocks.
    pub async fn stream_days(&self, basis: &str, first: i64) -> Result<Vec<i64>, StoreError> {
        let sql = "SELECT day FROM stream_day WHERE basis = $1 AND stream = $2 AND day >= $3 ORDER BY day";
        let rows = self.conn().await?.query(sql, args![basis, READ, first]).await?;
        rows.iter().map(|row| row.int(0)).collect()
    }

    /// A stream's days from `first` to before `end`, in order.
    pub async fn stream_blocks(
        &self,
        basis: &str,
        stream: &str,
        first: i64,
        end: i64,
    ) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
        let sql = "SELECT day, blocks FROM stream_day WHERE basis = $1 AND stream = $2 AND day >= $3 AND day < $4 ORDER BY day";
        let rows = self.conn().await?.query(sql, args![basis, stream, first, end]).await?;
        rows.iter().map(|row| Ok((row.int(0)?, row.bytes(1)?))).collect()
    }

    /// Writes a day's blocks with the streams that are new. A second writer of the day changes nothing.
    pub async fn write_stream_day(
        &self,
        (basis, day): (&str, i64),
        new: &[StreamRow],
        blocks: &[(String, Vec<u8>)],
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let conn = tx.conn()?;
        for row in new {
            let sql =
                "INSERT INTO stream (basis, stream, labels, edges) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
            conn.run(sql, args![basis, &row.stream, &row.labels, &row.edges]).await?;
        }
        let mark = (READ.to_owned(), Vec::new());
        for (stream, body) in blocks.iter().chain([&mark]) {
            let sql =
                "INSERT INTO stream_day (basis, stream, day, blocks) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
            conn.run(sql, args![basis, stream, day, body]).await?;
        }
        tx.commit().await
    }

    /// Forgets what was before a day: blocks, and streams that have none left.
    pub async fn forget_streams(&self, basis: &str, oldest: i64) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let conn = tx.conn()?;
        conn.run("DELETE FROM stream_day WHERE basis = $1 AND day < $2", args![basis, oldest]).await?;
        let sql = "DELETE FROM stream WHERE basis = $1 AND NOT EXISTS (SELECT 1 FROM stream_day d \
                   WHERE d.basis = stream.basis AND d.stream = stream.stream)";
        conn.run(sql, args![basis]).await?;
        tx.commit().await
    }

    /// Forgets what no rule of these measures any more.
    pub async fn keep_streams(&self, bases: &[String], rules: &[String]) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let conn = tx.conn()?;
        for (table, column, kept) in
            [("stream_day", "basis", bases), ("stream", "basis", bases), ("detector_state", "rule", rules)]
        {
            let found = conn.query(&format!("SELECT DISTINCT {column} FROM {table}"), &[]).await?;
            for row in found {
                let name = row.text(0)?;
                if !kept.contains(&name) {
                    conn.run(&format!("DELETE FROM {table} WHERE {column} = $1"), args![&name]).await?;
                }
            }
        }
        tx.commit().await
    }

    /// The oldest day with calls.
    pub async fn first_pane_day(&self) -> Result<Option<i64>, StoreError> {
        let row = self.conn().await?.query_one("SELECT MIN(day) FROM tenant_day", &[]).await?;
        row.map_or(Ok(None), |row| row.maybe_int(0))
    }

    /// The newest day with calls.
    pub async fn newest_pane_day(&self) -> Result<Option<i64>, StoreError> {
        let row = self.conn().await?.query_one("SELECT MAX(day) FROM tenant_day", &[]).await?;
        row.map_or(Ok(None), |row| row.maybe_int(0))
    }

    pub async fn detector_state(&self, rule: &str) -> Result<Option<DetectorState>, StoreError> {
        let sql = "SELECT basis, body FROM detector_state WHERE rule = $1";
        let row = self.conn().await?.query_one(sql, args![rule]).await?;
        row.map(|row| Ok(DetectorState { basis: row.text(0)?, body: row.bytes(1)? })).transpose()
    }
}

/// The evaluation's part: the state beside the rule's progress.
pub(crate) async fn write_state(conn: &mut crate::Conn, rule: &str, state: &DetectorState) -> Result<(), StoreError> {
    let sql = "INSERT INTO detector_state (rule, basis, body) VALUES ($1, $2, $3) ON CONFLICT (rule) DO UPDATE SET \
               basis = excluded.basis, body = excluded.body";
    conn.run(sql, args![rule, &state.basis, &state.body]).await.map(|_| ())
}
