//! Partitions: who owns them, and where each goes on. The store's offset is the only one that counts.

use leeway_core::clock::Micros;

use crate::{Conn, Row, Store, StoreError, args};

/// A partition of one life of one topic: a recreated topic is another incarnation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionKey {
    pub source: String,
    pub topic: String,
    /// Cluster id and topic id.
    pub incarnation: String,
    pub partition: i32,
}

/// What an owner gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acquired {
    pub next_offset: i64,
    pub epoch: i64,
    pub watermark: Micros,
    /// Times in a row that an owner started at this offset and did not get past it.
    pub attempts: i64,
    /// The message that was being processed alone when the process died, and how often that happened.
    pub marker: Option<i64>,
    pub marker_hits: i64,
    /// Offsets before `next_offset` that the broker no longer had.
    pub lost: i64,
}

/// Where the broker's log begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRange {
    pub low: i64,
    pub high: i64,
    /// Where a partition starts that nobody has read.
    pub first: i64,
}

const WHERE: &str = "source = $1 AND topic = $2 AND incarnation = $3 AND part = $4";

impl Store {
    /// Takes a partition: epoch + 1, so that every older owner is fenced.
    ///
    /// A stored offset below what the broker keeps is a gap: it is written down as lost coverage and passed. One
    /// above is an error: the log is not the one that was read.
    pub async fn acquire(
        &self,
        key: &PartitionKey,
        owner: &str,
        log: LogRange,
        now: Micros,
    ) -> Result<Acquired, StoreError> {
        let mut tx = self.begin().await?;
        let conn = tx.conn()?;
        let part = i64::from(key.partition);
        let insert = "INSERT INTO source_partition (source, topic, incarnation, part, next_offset, epoch, owner, watermark, \
                      newest_at, high_offset, attempts, marker, marker_hits, flushed_at) \
                      VALUES ($1, $2, $3, $4, $5, 0, '', 0, 0, 0, 0, NULL, 0, $6) ON CONFLICT DO NOTHING";
        conn.run(insert, args![&key.source, &key.topic, &key.incarnation, part, log.first, now]).await?;
        let update = format!(
            "UPDATE source_partition SET epoch = epoch + 1, owner = $5, attempts = attempts + 1, high_offset = $6, flushed_at = $7 \
             WHERE {WHERE} RETURNING next_offset, epoch, watermark, attempts, marker, marker_hits"
        );
        let params = args![&key.source, &key.topic, &key.incarnation, part, owner, log.high, now];
        let row = conn.query_one(&update, params).await?;
        let row = row.ok_or_else(|| StoreError::Unreadable("the partition row vanished".into()))?;
        let mut acquired = acquired(&row)?;
        reopen(conn, key, acquired.next_offset).await?;
        if acquired.next_offset > log.high {
            let (topic, partition, stored) = (key.topic.clone(), key.partition, acquired.next_offset);
            return Err(StoreError::OutOfRange { topic, partition, stored, low: log.low, high: log.high });
        }
        if acquired.next_offset < log.low {
            acquired.lost = log.low - acquired.next_offset;
            let sql = "INSERT INTO flush_range (source, topic, incarnation, part, from_offset, to_offset, flush_id, epoch, owner, \
                       flushed_at, gap) VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8, $9, 1)";
            let params = args![
                &key.source,
                &key.topic,
                &key.incarnation,
                part,
                acquired.next_offset,
                log.low,
                acquired.epoch,
                owner,
                now
            ];
            conn.run(sql, params).await?;
            let sql = format!("UPDATE source_partition SET next_offset = $5 WHERE {WHERE}");
            conn.run(&sql, args![&key.source, &key.topic, &key.incarnation, part, log.low]).await?;
            acquired.next_offset = log.low;
        }
        end_other_lives(conn, key, now).await?;
        tx.commit().await?;
        Ok(acquired)
    }

    /// Writes down the one message that is about to be processed alone; `false` where another owner has the partition.
    /// `again`: the answer to the same request was lost, and the mark that stands may be its own.
    pub async fn mark(
        &self,
        key: &PartitionKey,
        epoch: i64,
        offset: Option<i64>,
        again: bool,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        // A mark that stands was left by an owner that died or was fenced: one that ended before it set its own counts for nothing.
        let sql = format!(
            "UPDATE source_partition SET marker_hits = CASE WHEN marker = $5 THEN marker_hits + $7 WHEN $5 IS NULL THEN 0 ELSE 1 END, marker = $5 \
             WHERE {WHERE} AND epoch = $6"
        );
        let params = args![
            &key.source,
            &key.topic,
            &key.incarnation,
            i64::from(key.partition),
            offset,
            epoch,
            i64::from(!again)
        ];
        let touched = tx.conn()?.run(&sql, params).await?;
        tx.commit().await?;
        Ok(touched == 1)
    }

    /// A graceful end: nobody died at this offset.
    pub async fn release(&self, key: &PartitionKey, epoch: i64) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let sql = format!(
            "UPDATE source_partition SET attempts = 0, marker = NULL, marker_hits = 0 WHERE {WHERE} AND epoch = $5"
        );
        let params = args![&key.source, &key.topic, &key.incarnation, i64::from(key.partition), epoch];
        tx.conn()?.run(&sql, params).await?;
        tx.commit().await
    }

    /// Where a partition stands, owned or not; 0: nobody has read it.
    pub async fn next_offset(&self, key: &PartitionKey) -> Result<i64, StoreError> {
        let sql = format!("SELECT next_offset FROM source_partition WHERE {WHERE}");
        let params = args![&key.source, &key.topic, &key.incarnation, i64::from(key.partition)];
        self.conn().await?.query_one(&sql, params).await?.map_or(Ok(0), |row| row.int(0))
    }

    /// Disowns partitions of a source that nobody can take over, once they were silent since `before`: a process that is
    /// gone for good holds back nothing. One that only slept is fenced, and takes its own again.
    pub async fn retire(&self, source: &str, before: Micros) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let sql = "UPDATE source_partition SET owner = '', epoch = epoch + 1 WHERE source = $1 AND flushed_at < $2 AND owner <> ''";
        tx.conn()?.run(sql, args![source, before]).await?;
        tx.commit().await
    }

    /// Incarnations of a topic that have been read before.
    pub async fn incarnations(&self, source: &str, topic: &str) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT DISTINCT incarnation FROM source_partition WHERE source = $1 AND topic = $2";
        let rows = self.conn().await?.query(sql, args![source, topic]).await?;
        rows.iter().map(|row| row.text(0)).collect()
    }
}

/// A recreated topic is another log: partitions of its other lives hold nothing back any more. Those of the same cluster
/// are over: no owner's flush counts there, and what was seen and not read is a gap. (Another cluster's may come
/// back; its offsets stay as they are.)
async fn end_other_lives(conn: &mut Conn, key: &PartitionKey, now: Micros) -> Result<(), StoreError> {
    const OF_LIFE: &str = "source = $1 AND topic = $2 AND part = $3 AND incarnation = $4";
    let part = i64::from(key.partition);
    let sql = "SELECT incarnation, next_offset, high_offset, epoch, owner FROM source_partition \
               WHERE source = $1 AND topic = $2 AND part = $3 AND incarnation <> $4 AND owner <> ''";
    let cluster = |incarnation: &str| incarnation.split('/').next().unwrap_or_default().to_owned();
    for row in conn.query(sql, args![&key.source, &key.topic, part, &key.incarnation]).await? {
        let (incarnation, next, high, owner) = (row.text(0)?, row.int(1)?, row.int(2)?, row.text(4)?);
        let over = cluster(&incarnation) == cluster(&key.incarnation);
        if over && next < high {
            let sql = "INSERT INTO flush_range (source, topic, incarnation, part, from_offset, to_offset, flush_id, epoch, owner, \
                       flushed_at, gap) VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8, $9, 1)";
            let gap = args![&key.source, &key.topic, &incarnation, part, next, high, row.int(3)?, &owner, now];
            conn.run(sql, gap).await?;
        }
        let sql = format!("UPDATE source_partition SET owner = '', epoch = epoch + $5 WHERE {OF_LIFE}");
        conn.run(&sql, args![&key.source, &key.topic, part, &incarnation, i64::from(over)]).await?;
    }
    Ok(())
}

/// A life that was thought over and is not goes on where it stood: nothing of it is lost.
async fn reopen(conn: &mut Conn, key: &PartitionKey, next_offset: i64) -> Result<(), StoreError> {
    let sql = format!("DELETE FROM flush_range WHERE {WHERE} AND gap = 1 AND from_offset >= $5");
    let part = i64::from(key.partition);
    conn.run(&sql, args![&key.source, &key.topic, &key.incarnation, part, next_offset]).await?;
    Ok(())
}

fn acquired(row: &Row) -> Result<Acquired, StoreError> {
    Ok(Acquired {
        next_offset: row.int(0)?,
        epoch: row.int(1)?,
        watermark: row.int(2)?,
        attempts: row.int(3)?,
        marker: row.maybe_int(4)?,
        marker_hits: row.int(5)?,
        lost: 0,
    })
}
