//! What calls held, as keyed hashes, where no Kafka keeps it: looked up and written by the flush that counts the calls.

use std::collections::BTreeMap;

use leeway_core::clock::Micros;

use crate::conn::Param;
use crate::flush::FlushTx;
use crate::{Store, StoreError, args};

/// Somebody had a value on a day.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MentionRow {
    /// Days since the epoch.
    pub day: i64,
    /// Under the key of that day.
    pub print: u64,
    pub tenant: String,
    pub user: u64,
    pub session: u64,
    /// The last time.
    pub at: Micros,
}

/// Holders of one value that are told, the last ones: what more have is nobody's.
const HOLDERS: usize = 200;
/// Rows that are forgotten at once.
const FORGOTTEN: i64 = 20_000;

impl FlushTx {
    /// Says something, so that the database does not give the transaction up.
    pub async fn alive(&mut self) -> Result<(), StoreError> {
        self.conn()?.query_one("SELECT 1", &[]).await.map(|_| ())
    }

    /// Who had any of the values on their days.
    pub async fn mentions(&mut self, day: i64, prints: &[u64]) -> Result<Vec<MentionRow>, StoreError> {
        let conn = self.conn()?;
        let mut found = Vec::new();
        for prints in prints.chunks(500) {
            let places: Vec<String> = (2..2 + prints.len()).map(|place| format!("${place}")).collect();
            let sql = format!(
                "SELECT print, tenant, user_print, session_print, at FROM ( \
                 SELECT m.*, ROW_NUMBER() OVER (PARTITION BY print ORDER BY at DESC) AS place FROM mention m \
                 WHERE day = $1 AND print IN ({})) recent WHERE place <= {HOLDERS}",
                places.join(",")
            );
            let mut params: Vec<Param<'_>> = vec![Param::from(day)];
            params.extend(prints.iter().map(|print| Param::from(print.cast_signed())));
            for row in conn.query(&sql, &params).await? {
                let print = |place| row.int(place).map(i64::cast_unsigned);
                let (user, session) = (print(2)?, print(3)?);
                found.push(MentionRow { day, print: print(0)?, tenant: row.text(1)?, user, session, at: row.int(4)? });
            }
        }
        Ok(found)
    }

    /// The oldest day of which anything is kept.
    pub async fn first_mention_day(&mut self) -> Result<Option<i64>, StoreError> {
        let row = self.conn()?.query_one("SELECT COALESCE(MIN(day), -1) FROM mention", &[]).await?;
        let day = row.map_or(Ok(-1), |row| row.int(0))?;
        Ok((day >= 0).then_some(day))
    }

    /// Values that somebody had since a day, those of several holders more than once; `None` where they are too many to be counted at
    /// each flush.
    pub async fn mentions_since(&mut self, day: i64) -> Result<Option<u64>, StoreError> {
        const MOST: u64 = 100_000;
        let sql = format!("SELECT COUNT(*) FROM (SELECT 1 FROM mention WHERE day >= $1 LIMIT {MOST}) AS kept");
        let row = self.conn()?.query_one(&sql, args![day]).await?;
        let n = u64::try_from(row.map_or(Ok(0), |row| row.int(0))?).unwrap_or_default();
        Ok((n < MOST).then_some(n))
    }

    /// Remembers who had what; of one holder the last time.
    pub async fn keep_mentions(&mut self, rows: &[MentionRow]) -> Result<(), StoreError> {
        let mut latest: BTreeMap<_, Micros> = BTreeMap::new();
        for row in rows {
            let at = latest.entry((row.day, row.print, &row.tenant, row.user, row.session)).or_insert(row.at);
            *at = row.at.max(*at);
        }
        let mut params: Vec<Param<'_>> = Vec::with_capacity(latest.len() * 6);
        for ((day, print, tenant, user, session), at) in &latest {
            let (print, user, session) = (print.cast_signed(), user.cast_signed(), session.cast_signed());
            params.extend_from_slice(args![*day, print, *tenant, user, session, *at]);
        }
        let head = "INSERT INTO mention (day, print, tenant, user_print, session_print, at)";
        let tail = "ON CONFLICT (day, print, tenant, user_print, session_print) DO UPDATE \
                    SET at = CASE WHEN mention.at > excluded.at THEN mention.at ELSE excluded.at END";
        self.conn()?.insert(head, 6, &params, tail).await
    }
}

impl Store {
    /// Forgets some of the days before one; how much it was.
    pub async fn forget_mentions(&self, before: i64) -> Result<u64, StoreError> {
        let sql = "DELETE FROM mention WHERE (day, print, tenant, user_print, session_print) IN \
                   (SELECT day, print, tenant, user_print, session_print FROM mention WHERE day < $1 LIMIT $2)";
        self.conn().await?.run(sql, args![before, FORGOTTEN]).await
    }
}
