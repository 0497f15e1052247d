//! What only Postgres does: sessions with time-outs, binary COPY, typed columns.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, PgPool};

use crate::flush::PaneRow;
use crate::{Conn, StoreError};

pub async fn connect(url: &str) -> Result<PgPool, StoreError> {
    let expected = "expected postgres://user:password@host:port/database, or nothing for a SQLite file";
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(StoreError::Url(format!("store.url is no Postgres URL; {expected}")));
    }
    let options = PgConnectOptions::from_str(url)
        .map_err(|error| StoreError::Url(format!("store.url is no Postgres URL ({error}); {expected}")))?
        .application_name("leeway")
        // A stopped process must not hold row locks that its successor waits for.
        .options([("idle_in_transaction_session_timeout", "3s"), ("lock_timeout", "5s"), ("statement_timeout", "60s")])
        .options([("tcp_keepalives_idle", "10"), ("tcp_keepalives_interval", "3"), ("tcp_keepalives_count", "3")])
        .disable_statement_logging();
    let pool = PgPoolOptions::new().max_connections(16).acquire_timeout(Duration::from_secs(10));
    pool.connect_with(options).await.map_err(StoreError::Connect)
}

const COPY: &str = "COPY pane_delta (tenant, series_id, window_start, flush_id, n, errors, input_tokens, output_tokens, \
                    cost_nano, counts, sketches) FROM STDIN (FORMAT binary)";

/// Appends pane rows by binary COPY.
pub async fn copy_panes(conn: &mut Conn, flush_id: i64, rows: &[PaneRow]) -> Result<(), StoreError> {
    let Conn::Pg(conn) = conn else { return Err(StoreError::Unreadable("COPY needs Postgres".into())) };
    let bytes = encode(flush_id, rows);
    let mut copy = conn.copy_in_raw(COPY).await?;
    copy.send(bytes).await?;
    copy.finish().await?;
    Ok(())
}

/// The binary COPY format of Postgres: signature, flags, then per row a field count and length-prefixed fields.
pub fn encode(flush_id: i64, rows: &[PaneRow]) -> Vec<u8> {
    let mut out =
        Vec::with_capacity(rows.iter().map(|row| 160 + row.counts.len() + row.sketches.len()).sum::<usize>() + 32);
    out.extend_from_slice(b"PGCOPY\n\xff\r\n\0");
    out.extend_from_slice(&[0; 8]);
    for row in rows {
        out.extend_from_slice(&11i16.to_be_bytes());
        field(&mut out, row.tenant.as_bytes());
        field(&mut out, &row.series_id);
        for number in
            [row.window_start, flush_id, row.n, row.errors, row.input_tokens, row.output_tokens, row.cost_nano]
        {
            field(&mut out, &number.to_be_bytes());
        }
        field(&mut out, &row.counts);
        field(&mut out, &row.sketches);
    }
    out.extend_from_slice(&(-1i16).to_be_bytes());
    out
}

fn field(out: &mut Vec<u8>, bytes: &[u8]) {
    // A field is far below 2 GiB: messages are bounded at megabytes.
    out.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
    out.extend_from_slice(bytes);
}
