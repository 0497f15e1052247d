//! One connection of either engine, with plain parameters and rows.

use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Postgres, Row as _, Sqlite};

use crate::StoreError;

/// Rows of one statement for Postgres, where a column is one parameter: an array.
const ROWS: usize = 20_000;
/// Rows × columns of one statement for SQLite, which looks each `$1` up by name, one by one: 30,000 took seconds.
const MAX_PARAMS: usize = 1_000;

#[derive(Debug)]
pub enum Conn {
    Pg(PoolConnection<Postgres>),
    Lite(PoolConnection<Sqlite>),
}

/// A bound value; nulls are typed.
#[derive(Debug, Clone, Copy)]
pub enum Param<'a> {
    Int(Option<i64>),
    Float(Option<f64>),
    Text(Option<&'a str>),
    Bytes(Option<&'a [u8]>),
}

impl From<i64> for Param<'_> {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}
impl From<Option<i64>> for Param<'_> {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}
impl From<u64> for Param<'_> {
    /// Counts: a number beyond 2⁶³ cannot be reached by counting.
    fn from(value: u64) -> Self {
        Self::Int(Some(i64::try_from(value).unwrap_or(i64::MAX)))
    }
}
impl From<i32> for Param<'_> {
    fn from(value: i32) -> Self {
        Self::Int(Some(value.into()))
    }
}
impl<'a> From<&'a str> for Param<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(Some(value))
    }
}
impl<'a> From<&'a String> for Param<'a> {
    fn from(value: &'a String) -> Self {
        Self::Text(Some(value))
    }
}
impl<'a> From<Option<&'a str>> for Param<'a> {
    fn from(value: Option<&'a str>) -> Self {
        Self::Text(value)
    }
}
impl<'a> From<Option<&'a [u8]>> for Param<'a> {
    fn from(value: Option<&'a [u8]>) -> Self {
        Self::Bytes(value)
    }
}
impl<'a> From<&'a [u8]> for Param<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::Bytes(Some(value))
    }
}
impl<'a> From<&'a Vec<u8>> for Param<'a> {
    fn from(value: &'a Vec<u8>) -> Self {
        Self::Bytes(Some(value))
    }
}
impl<'a> From<&'a [u8; 16]> for Param<'a> {
    fn from(value: &'a [u8; 16]) -> Self {
        Self::Bytes(Some(value))
    }
}

/// `args![a, b]` binds each by its type.
#[macro_export]
macro_rules! args {
    ($($value:expr),* $(,)?) => { &[$($crate::Param::from($value)),*] };
}

#[derive(Debug)]
pub enum Row {
    Pg(sqlx::postgres::PgRow),
    Lite(sqlx::sqlite::SqliteRow),
}

macro_rules! getter {
    ($name:ident, $type:ty) => {
        pub fn $name(&self, column: usize) -> Result<$type, StoreError> {
            Ok(match self {
                Self::Pg(row) => row.try_get_unchecked(column)?,
                Self::Lite(row) => row.try_get_unchecked(column)?,
            })
        }
    };
}

impl Row {
    getter!(int, i64);
    getter!(maybe_int, Option<i64>);
    getter!(float, f64);
    getter!(maybe_float, Option<f64>);
    getter!(text, String);
    getter!(maybe_text, Option<String>);
    getter!(bytes, Vec<u8>);
    getter!(maybe_bytes, Option<Vec<u8>>);

    /// A count, stored as BIGINT.
    pub fn count(&self, column: usize) -> Result<u64, StoreError> {
        u64::try_from(self.int(column)?).map_err(|_| StoreError::Unreadable("a count is negative".into()))
    }
}

macro_rules! bind {
    ($sql:expr, $params:expr, $persistent:expr) => {{
        let mut query = sqlx::query(AssertSqlSafe($sql)).persistent($persistent);
        for param in $params {
            query = match *param {
                Param::Int(value) => query.bind(value),
                Param::Float(value) => query.bind(value),
                Param::Text(value) => query.bind(value),
                Param::Bytes(value) => query.bind(value),
            };
        }
        query
    }};
}

impl Conn {
    pub fn postgres(&self) -> bool {
        matches!(self, Self::Pg(_))
    }

    /// Runs a statement; answers the number of rows that it touched.
    pub async fn run(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, StoreError> {
        self.run_with(sql, params, true).await
    }

    async fn run_with(&mut self, sql: &str, params: &[Param<'_>], persistent: bool) -> Result<u64, StoreError> {
        Ok(match self {
            Self::Pg(conn) => bind!(sql, params, persistent).execute(&mut **conn).await?.rows_affected(),
            Self::Lite(conn) => bind!(sql, params, persistent).execute(&mut **conn).await?.rows_affected(),
        })
    }

    pub async fn query(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        self.query_with(sql, params, true).await
    }

    async fn query_with(&mut self, sql: &str, params: &[Param<'_>], persistent: bool) -> Result<Vec<Row>, StoreError> {
        Ok(match self {
            Self::Pg(conn) => {
                let rows = bind!(sql, params, persistent).fetch_all(&mut **conn).await?;
                rows.into_iter().map(Row::Pg).collect()
            }
            Self::Lite(conn) => {
                let rows = bind!(sql, params, persistent).fetch_all(&mut **conn).await?;
                rows.into_iter().map(Row::Lite).collect()
            }
        })
    }

    pub async fn query_one(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Option<Row>, StoreError> {
        Ok(self.query(sql, params).await?.into_iter().next())
    }

    /// Inserts rows of `columns` parameters each, in chunks; `head` is `INSERT INTO table (columns)`, `tail` follows the rows.
    pub async fn insert(
        &mut self,
        head: &str,
        columns: usize,
        params: &[Param<'_>],
        tail: &str,
    ) -> Result<(), StoreError> {
        self.insert_returning(head, columns, params, tail).await.map(drop)
    }

    /// As `insert`, with the rows that `tail` returns.
    pub async fn insert_returning(
        &mut self,
        head: &str,
        columns: usize,
        params: &[Param<'_>],
        tail: &str,
    ) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::new();
        match self {
            Self::Pg(conn) => {
                for chunk in params.chunks(ROWS * columns) {
                    let sql = arrays(head, columns, chunk, tail);
                    let mut query = sqlx::query(AssertSqlSafe(sql));
                    for column in 0..columns {
                        query = bind_column(query, chunk, column, columns);
                    }
                    rows.extend(query.fetch_all(&mut **conn).await?.into_iter().map(Row::Pg));
                }
            }
            Self::Lite(_) => {
                for chunk in params.chunks(MAX_PARAMS / columns * columns) {
                    let sql = format!("{head} VALUES {} {tail}", placeholders(chunk.len() / columns, columns));
                    rows.extend(self.query_with(&sql, chunk, chunk.len() == columns).await?);
                }
            }
        }
        Ok(rows)
    }

    /// Rows of `select` whose `column` is one of `keys`; `select` ends in a condition with the `fixed` parameters.
    pub async fn query_among(
        &mut self,
        select: &str,
        fixed: &[Param<'_>],
        column: &str,
        keys: &[&[u8]],
    ) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::new();
        for chunk in keys.chunks(if self.postgres() { ROWS } else { MAX_PARAMS - fixed.len() }) {
            let next = fixed.len() + 1;
            match self {
                Self::Pg(conn) => {
                    let sql = format!("{select} AND {column} = ANY(${next})");
                    let query = bind!(sql, fixed, true).bind(chunk);
                    rows.extend(query.fetch_all(&mut **conn).await?.into_iter().map(Row::Pg));
                }
                Self::Lite(_) => {
                    let places: Vec<String> = (next..next + chunk.len()).map(|place| format!("${place}")).collect();
                    let sql = format!("{select} AND {column} IN ({})", places.join(","));
                    let keys = chunk.iter().map(|key| Param::from(*key));
                    let params: Vec<Param<'_>> = fixed.iter().copied().chain(keys).collect();
                    rows.extend(self.query_with(&sql, &params, false).await?);
                }
            }
        }
        Ok(rows)
    }

    fn close_on_drop(&mut self) {
        match self {
            Self::Pg(conn) => conn.close_on_drop(),
            Self::Lite(conn) => conn.close_on_drop(),
        }
    }
}

/// An insert from one array a column: many times faster than a list of rows, and the same text for any number of them.
fn arrays(head: &str, columns: usize, params: &[Param<'_>], tail: &str) -> String {
    let types = params.iter().take(columns).map(|param| match param {
        Param::Int(_) => "int8[]",
        Param::Float(_) => "float8[]",
        Param::Text(_) => "text[]",
        Param::Bytes(_) => "bytea[]",
    });
    let arrays: Vec<String> = types.enumerate().map(|(place, name)| format!("${}::{name}", place + 1)).collect();
    format!("{head} SELECT * FROM UNNEST({}) {tail}", arrays.join(", "))
}

type PgQuery<'q> = sqlx::query::Query<'q, Postgres, sqlx::postgres::PgArguments>;

/// Binds one column of rows; its type is that of the first row's parameter.
fn bind_column<'q>(query: PgQuery<'q>, params: &[Param<'q>], column: usize, columns: usize) -> PgQuery<'q> {
    let values = params.iter().skip(column).step_by(columns);
    let kind = params.get(column).map(std::mem::discriminant);
    debug_assert!(values.clone().all(|param| Some(std::mem::discriminant(param)) == kind), "a column of one type");
    macro_rules! array {
        ($kind:path) => {
            query.bind(values.map(|param| if let $kind(value) = param { *value } else { None }).collect::<Vec<_>>())
        };
    }
    match params.get(column) {
        Some(Param::Float(_)) => array!(Param::Float),
        Some(Param::Text(_)) => array!(Param::Text),
        Some(Param::Bytes(_)) => array!(Param::Bytes),
        Some(Param::Int(_)) | None => array!(Param::Int),
    }
}

fn placeholders(rows: usize, columns: usize) -> String {
    let mut out = String::with_capacity(rows * columns * 6);
    for row in 0..rows {
        out.push_str(if row == 0 { "(" } else { ",(" });
        for column in 1..=columns {
            if column > 1 {
                out.push(',');
            }
            out.push('$');
            out.push_str(&(row * columns + column).to_string());
        }
        out.push(')');
    }
    out
}

/// An open transaction. Dropped without commit, its connection is closed, which rolls back.
#[derive(Debug)]
pub struct Tx {
    conn: Option<Conn>,
}

impl Tx {
    pub(crate) fn new(conn: Conn) -> Self {
        Self { conn: Some(conn) }
    }

    pub fn conn(&mut self) -> Result<&mut Conn, StoreError> {
        self.conn.as_mut().ok_or_else(|| StoreError::Unreadable("the transaction is over".into()))
    }

    pub async fn commit(mut self) -> Result<(), StoreError> {
        self.conn()?.run("COMMIT", &[]).await?;
        self.conn = None;
        Ok(())
    }

    pub async fn rollback(mut self) -> Result<(), StoreError> {
        self.conn()?.run("ROLLBACK", &[]).await?;
        self.conn = None;
        Ok(())
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        if let Some(conn) = &mut self.conn {
            conn.close_on_drop();
        }
    }
}
