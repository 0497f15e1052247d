//! Dead letters: where each refused record lies and why it was refused, never what it holds.

use leeway_core::clock::Micros;

use crate::{Store, StoreError, args};

#[derive(Debug, Clone)]
pub struct DeadLetterRow {
    pub source: String,
    pub topic: String,
    pub incarnation: String,
    pub partition: i64,
    pub offset: i64,
    pub record: i64,
    /// Nothing of the message was taken.
    pub whole: bool,
    pub reason: String,
    pub field: String,
    pub bytes: i64,
    pub received_at: Micros,
    pub replayed_at: Option<Micros>,
}

/// Which dead letters; empty fields stand for all.
#[derive(Debug, Clone, Default)]
pub struct LetterFilter {
    pub topic: String,
    pub reason: String,
    pub since: Micros,
    pub not_replayed: bool,
    pub limit: i64,
}

const DEAD_LETTER: &str = "SELECT source, topic, incarnation, part, source_offset, record, reason, field, bytes, received_at, whole, replayed_at FROM dead_letter";

impl Store {
    /// The newest dead letters.
    pub async fn dead_letters(&self, limit: i64) -> Result<Vec<DeadLetterRow>, StoreError> {
        self.letters(&LetterFilter { limit, ..LetterFilter::default() }).await
    }

    /// Dead letters, newest first.
    pub async fn letters(&self, filter: &LetterFilter) -> Result<Vec<DeadLetterRow>, StoreError> {
        let sql = format!(
            "{DEAD_LETTER} WHERE ($2 = '' OR topic = $2) AND ($3 = '' OR reason = $3) AND received_at >= $4 \
             AND ($5 = 0 OR replayed_at IS NULL) ORDER BY received_at DESC, source_offset DESC, record DESC LIMIT $1"
        );
        let params = args![filter.limit, &filter.topic, &filter.reason, filter.since, i64::from(filter.not_replayed)];
        let rows = self.conn().await?.query(&sql, params).await?;
        rows.iter().map(dead_letter).collect()
    }

    /// Marks every letter of one message as sent again.
    pub async fn mark_replayed(&self, letter: &DeadLetterRow, at: Micros) -> Result<(), StoreError> {
        let sql = "UPDATE dead_letter SET replayed_at = $6 WHERE source = $1 AND topic = $2 AND incarnation = $3 \
                   AND part = $4 AND source_offset = $5";
        let params = args![&letter.source, &letter.topic, &letter.incarnation, letter.partition, letter.offset, at];
        self.conn().await?.run(sql, params).await.map(|_| ())
    }

    /// Dead letters by reason since some time.
    pub async fn dead_letter_reasons(&self, from: Micros) -> Result<Vec<(String, u64)>, StoreError> {
        let sql = "SELECT reason, COUNT(*) FROM dead_letter WHERE received_at >= $1 GROUP BY reason ORDER BY 2 DESC, 1";
        let rows = self.conn().await?.query(sql, args![from]).await?;
        rows.iter().map(|row| Ok((row.text(0)?, row.count(1)?))).collect()
    }

    /// Oldest dead letters that the dead-letter topic does not hold yet.
    pub async fn unexported_dead_letters(&self, limit: i64) -> Result<Vec<DeadLetterRow>, StoreError> {
        let sql = format!("{DEAD_LETTER} WHERE exported = 0 ORDER BY received_at LIMIT $1");
        let rows = self.conn().await?.query(&sql, args![limit]).await?;
        rows.iter().map(dead_letter).collect()
    }

    pub async fn mark_exported(&self, letters: &[DeadLetterRow]) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        for letter in letters {
            let sql = "UPDATE dead_letter SET exported = 1 WHERE source = $1 AND topic = $2 AND incarnation = $3 AND part = $4 \
                       AND source_offset = $5 AND record = $6";
            let params = args![
                &letter.source,
                &letter.topic,
                &letter.incarnation,
                letter.partition,
                letter.offset,
                letter.record
            ];
            tx.conn()?.run(sql, params).await?;
        }
        tx.commit().await
    }
}

fn dead_letter(row: &crate::Row) -> Result<DeadLetterRow, StoreError> {
    Ok(DeadLetterRow {
        source: row.text(0)?,
        topic: row.text(1)?,
        incarnation: row.text(2)?,
        partition: row.int(3)?,
        offset: row.int(4)?,
        record: row.int(5)?,
        reason: row.text(6)?,
        field: row.text(7)?,
        bytes: row.int(8)?,
        received_at: row.int(9)?,
        whole: row.int(10)? == 1,
        replayed_at: row.maybe_int(11)?,
    })
}
