//! Leases: one evaluator and one compactor at a time, over any number of processes.

use leeway_core::clock::Micros;

use crate::{Conn, Store, StoreError, args};

/// A held lease; its epoch fences whoever held it before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub name: String,
    pub owner: String,
    pub epoch: i64,
}

impl Store {
    /// Takes or prolongs a lease until `until`; `None` while another owner's has not run out.
    pub async fn lease(
        &self,
        name: &str,
        owner: &str,
        now: Micros,
        until: Micros,
    ) -> Result<Option<Lease>, StoreError> {
        let mut tx = self.begin().await?;
        let sql = "INSERT INTO lease (name, owner, epoch, until_at) VALUES ($1, $2, 1, $4) ON CONFLICT (name) DO UPDATE \
                   SET epoch = CASE WHEN lease.owner = excluded.owner THEN lease.epoch ELSE lease.epoch + 1 END, \
                   owner = excluded.owner, until_at = excluded.until_at WHERE lease.owner = $2 OR lease.until_at < $3 RETURNING epoch";
        let row = tx.conn()?.query_one(sql, args![name, owner, now, until]).await?;
        tx.commit().await?;
        row.map(|row| Ok(Lease { name: name.to_owned(), owner: owner.to_owned(), epoch: row.int(0)? })).transpose()
    }

    /// Gives a lease back, so that a successor need not wait.
    pub async fn release_lease(&self, lease: &Lease) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let sql = "UPDATE lease SET until_at = 0 WHERE name = $1 AND owner = $2 AND epoch = $3";
        tx.conn()?.run(sql, args![&lease.name, &lease.owner, lease.epoch]).await?;
        tx.commit().await
    }
}

impl Lease {
    /// Fails the transaction of an owner that was replaced.
    pub async fn check(&self, conn: &mut Conn) -> Result<(), StoreError> {
        let sql = "UPDATE lease SET epoch = epoch WHERE name = $1 AND owner = $2 AND epoch = $3";
        match conn.run(sql, args![&self.name, &self.owner, self.epoch]).await? {
            1 => Ok(()),
            _ => Err(StoreError::Fenced(format!("lease {}", self.name))),
        }
    }
}
