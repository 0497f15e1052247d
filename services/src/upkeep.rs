//! The store's upkeep: closed windows are folded, hours rolled, and what is old goes. One process at a time does it.

use std::time::{Duration, Instant};

use anyhow::Result;
use leeway_core::clock::{Clock, DAY, HOUR, MINUTE, Micros, SECOND, day_of};
use leeway_store::retain::{Aging, LEDGER, RECORDS};
use leeway_store::{Lease, Store, StoreError};

use crate::metrics::Metrics;
use crate::settings::Retention;
use crate::tasks::Stop;

const EVERY: Duration = Duration::from_secs(5);
/// A window is folded so long after its beginning.
const CLOSED: Micros = 3 * MINUTE;
const LEASE: Micros = 30 * SECOND;
/// How often what is old is looked for.
const EXPIRE_EVERY: Micros = HOUR;
/// One kind of what is old holds the others, and the folding of windows, up for no longer than this.
const EXPIRE_AT_ONCE: Duration = Duration::from_secs(10);
/// A rule that is further behind than this is of nobody's settings any more.
const BEHIND_DAYS: i64 = 30;
/// How far back a rule reads minutes: its window, and the same of the day before.
const READ_BACK_DAYS: i64 = 2;
/// Days for which fingerprints of values are compared, where the store keeps them.
const MENTIONS_DAYS: i64 = 3;

#[derive(Debug)]
pub struct Upkeep {
    pub store: Store,
    pub clock: Clock,
    pub owner: String,
    pub index_days: i64,
    pub retention: Retention,
    pub metrics: std::sync::Arc<Metrics>,
}

impl Upkeep {
    pub async fn run(self, mut stop: Stop) -> Result<()> {
        let (mut expired_at, mut derived) = (0, (0, 0));
        loop {
            let done = self.round(&mut expired_at, &mut derived, &stop).await;
            match done {
                Ok(()) => {}
                Err(error) if error.passing() || matches!(error, StoreError::Fenced(_)) => {
                    tracing::warn!(%error, "upkeep failed and is tried again")
                }
                Err(error) => return Err(error.into()),
            }
            if stop.within(EVERY).await {
                return Ok(());
            }
        }
    }

    async fn lease(&self) -> Result<Option<Lease>, StoreError> {
        let wall = self.clock.wall();
        self.store.lease("upkeep", &self.owner, wall, wall + LEASE).await
    }

    async fn round(&self, expired_at: &mut Micros, derived: &mut (Micros, u32), stop: &Stop) -> Result<(), StoreError> {
        let now = self.clock.now();
        while let Some(lease) = self.lease().await? {
            if self.store.compact(&lease, now - CLOSED).await? == 0 || stop.stopped() {
                break;
            }
        }
        while let Some(lease) = self.lease().await? {
            if self.store.roll(&lease, now - CLOSED).await? == 0 || stop.stopped() {
                break;
            }
        }
        if self.lease().await?.is_some() {
            crate::inventory::derive(&self.store, derived).await?;
        }
        if now - *expired_at > EXPIRE_EVERY && self.lease().await?.is_some() && self.expire(now, stop).await? {
            self.metrics.store_bytes(self.store.bytes().await?);
            *expired_at = now;
        }
        Ok(())
    }

    /// Drops what is old; `false` where more of it is left.
    async fn expire(&self, now: Micros, stop: &Stop) -> Result<bool, StoreError> {
        // Back from the newest call: a clock that runs ahead drops nothing.
        let Some(newest) = self.store.newest_pane_day().await? else { return Ok(true) };
        let today = day_of(now).min(newest);
        // Rules that are behind still read the minutes; one that nobody evaluates holds nothing for ever.
        let read = self.store.rule_progress().await?.into_iter().map(|rule| day_of(rule.through));
        let read = read.filter(|day| *day > today - BEHIND_DAYS).min().unwrap_or(today);
        let mut all = true;
        for old in self.old(today, read - READ_BACK_DAYS) {
            let (mut dropped, until) = (0, Instant::now() + EXPIRE_AT_ONCE);
            let done = loop {
                if Instant::now() > until || stop.stopped() {
                    break false;
                }
                let Some(lease) = self.lease().await? else { break false };
                match old.drop_some(&self.store, &lease).await {
                    Ok(0) => break true,
                    Ok(some) => dropped += some,
                    // What is too much for the store now holds nothing else up.
                    Err(error) if error.passing() => {
                        tracing::warn!(what = old.what(), %error, "old rows stay for now");
                        break false;
                    }
                    Err(error) => return Err(error),
                }
            };
            if dropped > 0 {
                self.metrics.expired(old.what(), dropped);
                tracing::info!(what = old.what(), dropped, more = !done, "old rows are gone");
            }
            all &= done;
        }
        Ok(all)
    }

    fn old(&self, today: i64, read: i64) -> Vec<Old> {
        let Retention { minutes_days, hours_days, records_days, ledger_days } = self.retention;
        let mut all = vec![Old::Calls(today - self.index_days), Old::Mentions(today - MENTIONS_DAYS)];
        if minutes_days != 0 {
            all.push(Old::Minutes((today - minutes_days).min(read) * DAY));
        }
        if hours_days != 0 {
            let day = today - hours_days;
            all.extend([Old::Hours(day * DAY), Old::Days(day)]);
        }
        for (tables, days) in [(&RECORDS[..], records_days), (&LEDGER[..], ledger_days)] {
            let rows = tables.iter().filter(|_| days != 0).map(|aging| Old::Rows(*aging, (today - days) * DAY));
            all.extend(rows);
        }
        all
    }
}

/// What goes, and since when it is old: a time, or a day.
#[derive(Debug, Clone, Copy)]
enum Old {
    Calls(i64),
    Mentions(i64),
    Minutes(Micros),
    Hours(Micros),
    Days(i64),
    Rows(Aging, Micros),
}

impl Old {
    fn what(self) -> &'static str {
        match self {
            Self::Calls(_) => "call_index",
            Self::Mentions(_) => "mention",
            Self::Minutes(_) => "hours of pane_delta",
            Self::Hours(_) => "hours of pane_hour",
            Self::Days(_) => "series_day",
            Self::Rows(aging, _) => aging.table,
        }
    }

    /// Drops a bounded part of it; 0: there is none.
    async fn drop_some(self, store: &Store, lease: &Lease) -> Result<u64, StoreError> {
        match self {
            Self::Calls(day) => store.expire_call_index(day).await,
            Self::Mentions(day) => store.forget_mentions(day).await,
            Self::Minutes(before) => store.thin(lease, before).await,
            Self::Hours(before) => store.expire_hours(lease, before).await,
            Self::Days(day) => store.expire_day(lease, day).await,
            Self::Rows(aging, before) => store.expire(lease, aging, before).await,
        }
    }
}
