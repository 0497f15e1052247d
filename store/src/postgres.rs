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
                    cost_nano, counts, sketches, p50_ms, p95_ms, p99_ms) FROM STDIN (FORMAT binary)";

/// Bytes that go to the server at once: it takes rows in while the next ones are encoded.
const AT_ONCE: usize = 256 << 10;

/// Appends pane rows by binary COPY.
pub async fn copy_panes(conn: &mut Conn, flush_id: i64, rows: &[PaneRow]) -> Result<(), StoreError> {
    let Conn::Pg(conn) = conn else { return Err(StoreError::Unreadable("COPY needs Postgres".into())) };
    let mut copy = conn.copy_in_raw(COPY).await?;
    let mut bytes = HEAD.to_vec();
    for row in rows {
        encode_row(&mut bytes, flush_id, row);
        if bytes.len() >= AT_ONCE {
            copy.send(&bytes[..]).await?;
            bytes.clear();
        }
    }
    bytes.extend_from_slice(&TAIL);
    copy.send(bytes).await?;
    copy.finish().await?;
    Ok(())
}

/// The binary COPY format of Postgres: signature, flags and no extension; rows; minus one.
const HEAD: [u8; 19] = *b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TAIL: [u8; 2] = (-1i16).to_be_bytes();

/// Rows as one text of that format.
pub fn encode(flush_id: i64, rows: &[PaneRow]) -> Vec<u8> {
    let mut out = HEAD.to_vec();
    rows.iter().for_each(|row| encode_row(&mut out, flush_id, row));
    out.extend_from_slice(&TAIL);
    out
}

/// A field count and length-prefixed fields.
fn encode_row(out: &mut Vec<u8>, flush_id: i64, row: &PaneRow) {
    out.extend_from_slice(&14i16.to_be_bytes());
    field(out, row.tenant.as_bytes());
    field(out, &row.series_id);
    for number in [row.window_start, flush_id, row.n, row.errors, row.input_tokens, row.output_tokens, row.cost_nano] {
        field(out, &number.to_be_bytes());
    }
    field(out, &row.counts);
    field(out, &row.sketches);
    for percentile in row.percentiles {
        match percentile {
            Some(value) => field(out, &value.to_be_bytes()),
            None => out.extend_from_slice(&(-1i32).to_be_bytes()),
        }
    }
}

fn field(out: &mut Vec<u8>, bytes: &[u8]) {
    // A field is far below 2 GiB: messages are bounded at megabytes.
    out.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
    out.extend_from_slice(bytes);
}
