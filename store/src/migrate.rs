//! Migrations: forward only, each in one transaction, guarded against two processes at once.

use crate::{Store, StoreError, args};

/// One text for both engines (SQLite takes BYTEA as a name like any other). Never edit one that has landed.
const MIGRATIONS: [&str; 9] = [
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
    include_str!("migrations/0005.sql"),
    include_str!("migrations/0006.sql"),
    include_str!("migrations/0007.sql"),
    include_str!("migrations/0008.sql"),
    include_str!("migrations/0009.sql"),
];
/// How a statement begins that SQLite does without: it cannot drop a key.
const POSTGRES: &str = "-- Postgres alone";
/// Any constant number: the advisory lock of migrations.
const LOCK: i64 = 0x1ee_3a1;

pub async fn run(store: &Store) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    let conn = tx.conn()?;
    if conn.postgres() {
        // An index of a large table takes as long as it takes, and so does another process that makes it.
        conn.run("SET LOCAL statement_timeout = 0", &[]).await?;
        conn.run("SET LOCAL lock_timeout = 0", &[]).await?;
        conn.run("SELECT pg_advisory_xact_lock($1)", args![LOCK]).await?;
    }
    conn.run("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT PRIMARY KEY, applied_at BIGINT NOT NULL)", &[])
        .await?;
    let row = conn.query_one("SELECT COALESCE(MAX(version), 0) FROM schema_version", &[]).await?;
    let found = row.map_or(Ok(0), |row| row.int(0))?;
    let known = MIGRATIONS.len() as i64;
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    for (index, text) in MIGRATIONS.iter().enumerate().skip(found as usize) {
        for statement in text.split(";\n").filter(|statement| !statement.trim().is_empty()) {
            if conn.postgres() || !statement.trim_start().starts_with(POSTGRES) {
                conn.run(statement, &[]).await?;
            }
        }
        let now = leeway_core::clock::Clock::System.wall();
        conn.run("INSERT INTO schema_version (version, applied_at) VALUES ($1, $2)", args![index as i64 + 1, now])
            .await?;
    }
    tx.commit().await
}
