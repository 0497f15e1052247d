//! The only crate that knows SQL: Postgres for production, SQLite as the embedded default, one SQL text.
//!
//! Only BIGINT, DOUBLE PRECISION, TEXT and bytes are used; instants are BIGINT µs. What differs between the
//! engines (COPY, claims, sessions, column types) stands in `postgres.rs` and `sqlite.rs`.

mod alerts;
mod conn;
mod feedback;
mod flush;
mod inventory;
mod lease;
mod letters;
mod mentions;
mod migrate;
mod panes;
mod partition;
mod postgres;
mod read;
pub mod retain;
mod rollup;
mod sqlite;
mod streams;

use std::path::PathBuf;

use thiserror::Error;

pub use alerts::{AlertRow, Claimed, DeliveryRow, EvaluationWrite, NoticeRow, Outcome, RuleProgress};
pub use conn::{Conn, Param, Row, Tx};
pub use feedback::{DelayQuestion, Joined, Waiting};
pub use flush::{CallClaim, Counted, DeadLetter, Facet, FlushTx, LedgerRow, PaneRow, PartWrite, SeriesRef};
pub use inventory::{Kept, Running, Which};
pub use lease::Lease;
pub use letters::{DeadLetterRow, LetterFilter};
pub use mentions::MentionRow;
pub use panes::{SeriesPane, headline};
pub use partition::{Acquired, LogRange, PartitionKey};
pub use postgres::encode as copy_bytes;
pub use read::{Import, LedgerTotals, PartitionRow, TenantLoad};
pub use streams::{DetectorState, StreamRow};

/// The source name of the topic of mentions: what it says was counted as telemetry before.
pub const MENTIONS: &str = "mentions";

/// Which database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// `postgres://user:password@host/database`
    Postgres(String),
    /// A file.
    Sqlite(PathBuf),
}

#[derive(Debug, Error)]
pub enum StoreError {
    #[error("{0}")]
    Url(String),
    #[error("cannot reach the database: {0}")]
    Connect(sqlx::Error),
    #[error("database: {0}")]
    Sql(#[from] sqlx::Error),
    #[error("stored data: {0}")]
    Corrupt(#[from] leeway_core::varint::Corrupt),
    #[error("stored data: {0}")]
    Unreadable(String),
    #[error("the database has schema version {found}, this program knows up to {known}: use a newer program")]
    Newer { found: i64, known: i64 },
    #[error(
        "partition {topic}/{partition}: the stored offset {stored} lies outside what the broker keeps ({low} to {high})"
    )]
    OutOfRange { topic: String, partition: i32, stored: i64, low: i64, high: i64 },
    #[error("{0} was taken over by another process")]
    Fenced(String),
    /// What must be done before the commit could not be done now.
    #[error("{0}")]
    Beside(String),
}

impl StoreError {
    /// The database said nothing for too long.
    pub fn silent() -> Self {
        Self::Sql(sqlx::Error::PoolTimedOut)
    }

    /// Whether the same request may succeed later.
    pub fn passing(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Beside(_) => true,
            Self::Sql(error) => match error {
                sqlx::Error::Database(inner) => {
                    // Serialization, deadlock, lock and idle time-outs, shutdown, disk full and overload pass.
                    let code = inner.code().unwrap_or_default();
                    ["40", "53", "55", "57", "08", "25"].iter().any(|class| code.starts_with(class))
                        || code == "5"
                        || code == "13"
                }
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::Protocol(_)
                | sqlx::Error::WorkerCrashed => true,
                _ => false,
            },
            _ => false,
        }
    }
}

/// A pool of connections to one database.
#[derive(Debug, Clone)]
pub struct Store {
    pool: Pool,
}

#[derive(Debug, Clone)]
enum Pool {
    Pg(sqlx::PgPool),
    Lite { write: sqlx::SqlitePool, read: sqlx::SqlitePool },
}

impl Store {
    /// Connects and migrates to the newest schema.
    pub async fn open(location: &Location) -> Result<Self, StoreError> {
        let pool = match location {
            Location::Postgres(url) => Pool::Pg(postgres::connect(url).await?),
            Location::Sqlite(path) => {
                let (write, read) = sqlite::connect(path).await?;
                Pool::Lite { write, read }
            }
        };
        let store = Self { pool };
        migrate::run(&store).await?;
        Ok(store)
    }

    /// A connection to read from.
    pub async fn conn(&self) -> Result<Conn, StoreError> {
        Ok(match &self.pool {
            Pool::Pg(pool) => Conn::Pg(pool.acquire().await.map_err(StoreError::Connect)?),
            Pool::Lite { read, .. } => Conn::Lite(read.acquire().await?),
        })
    }

    /// A transaction; dropping it without commit rolls back.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        let mut conn = match &self.pool {
            Pool::Pg(pool) => Conn::Pg(pool.acquire().await.map_err(StoreError::Connect)?),
            Pool::Lite { write, .. } => Conn::Lite(write.acquire().await?),
        };
        let begin = if conn.postgres() { "BEGIN" } else { "BEGIN IMMEDIATE" };
        conn.run(begin, &[]).await?;
        Ok(Tx::new(conn))
    }

    /// A transaction that reads one moment of the store. It ends with `commit`; dropped, its connection is closed.
    pub async fn snapshot(&self) -> Result<Tx, StoreError> {
        let mut tx = Tx::new(self.conn().await?);
        let conn = tx.conn()?;
        let begin = if conn.postgres() { "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY" } else { "BEGIN" };
        conn.run(begin, &[]).await?;
        if conn.postgres() {
            // It locks no row that anybody waits for, and what it reads is decoded in between.
            conn.run("SET LOCAL idle_in_transaction_session_timeout = '60s'", &[]).await?;
        }
        Ok(tx)
    }

    /// Closes every connection, after what runs on them.
    pub async fn close(&self) {
        match &self.pool {
            Pool::Pg(pool) => pool.close().await,
            Pool::Lite { write, read } => {
                read.close().await;
                write.close().await;
            }
        }
    }
}
