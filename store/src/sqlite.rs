//! What only SQLite does: WAL, one writer, multi-row inserts where Postgres copies.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, SqlitePool};

use crate::flush::PaneRow;
use crate::{Conn, Param, StoreError};

/// One writing connection and a few that read.
pub async fn connect(path: &Path) -> Result<(SqlitePool, SqlitePool), StoreError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|error| StoreError::Url(format!("cannot create the data folder {}: {error}", folder.display())))?;
    }
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // Exactly-once needs the commit on disk before the offset counts.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(10))
        .disable_statement_logging();
    let write =
        SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await.map_err(StoreError::Connect)?;
    let read = SqlitePoolOptions::new().max_connections(4).connect_with(options).await.map_err(StoreError::Connect)?;
    Ok((write, read))
}

const INSERT: &str = "INSERT INTO pane_delta (tenant, series_id, window_start, flush_id, n, errors, input_tokens, \
                      output_tokens, cost_nano, counts, sketches, p50_ms, p95_ms, p99_ms)";

const COLUMNS: usize = 14;

pub async fn insert_panes(conn: &mut Conn, flush_id: i64, rows: &[PaneRow]) -> Result<(), StoreError> {
    let mut params: Vec<Param<'_>> = Vec::with_capacity(rows.len() * COLUMNS);
    for row in rows {
        params.extend([
            Param::from(&row.tenant),
            Param::from(&row.series_id),
            row.window_start.into(),
            flush_id.into(),
        ]);
        params.extend([row.n, row.errors, row.input_tokens, row.output_tokens, row.cost_nano].map(Param::from));
        params.extend([Param::from(&row.counts), Param::from(&row.sketches)]);
        params.extend(row.percentiles.map(Param::Float));
    }
    conn.insert(INSERT, COLUMNS, &params, "").await
}
