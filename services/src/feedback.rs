//! The resolver: joins feedback with the call it is about, whichever came first, and adds it to the call's window.
//!
//! A correction takes back what the earlier form added, in the same transaction that adds the new one, so a pane
//! always holds the latest word and no other. One process resolves at a time, under a lease.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use leeway_core::call_key::CallKey;
use leeway_core::clock::{Clock, MINUTE, Micros, SECOND};
use leeway_core::labels::{Labels, Level, SeriesId};
use leeway_core::pane::{LabelSum, Pane};
use leeway_store::{Joined, Lease, PaneRow, Store, StoreError, Waiting};

use crate::flush::random_id;
use crate::metrics::Metrics;
use crate::tasks::Stop;

const LEASE: &str = "feedback";
const LEASE_FOR: Micros = 15 * SECOND;
const EVERY: Duration = Duration::from_millis(500);
/// A database that says nothing for this long is gone; the round is tried again.
const ROUND_WITHIN: Duration = Duration::from_secs(60);
/// Rows of one transaction.
const BATCH: i64 = 1_000;
/// A call that is not there yet is looked for again after a tenth of the feedback's age, within these.
const SOONEST: Micros = 2 * SECOND;
const LATEST: Micros = 5 * MINUTE;
/// A span that is no call (a judgement often hangs on the one around it) stands for its trace's first call after this.
const TRACE_AFTER: Micros = 10 * MINUTE;

#[derive(Debug)]
pub struct Resolver {
    pub store: Store,
    pub owner: String,
    pub clock: Clock,
    /// How long feedback waits for its call before it is an orphan.
    pub wait: Micros,
    /// Declared scores: feedback of these names is summed beside the fixed ones.
    pub names: BTreeSet<String>,
    pub metrics: Arc<Metrics>,
}

type Place = (SeriesId, Micros);

impl Resolver {
    pub async fn run(self, mut stop: Stop) -> Result<()> {
        loop {
            let round = tokio::time::timeout(ROUND_WITHIN, self.round()).await;
            match round.unwrap_or_else(|_| Err(StoreError::silent().into())) {
                // A full batch: there is more.
                Ok(found) if found == BATCH as usize && !stop.stopped() => continue,
                Ok(_) => {}
                Err(error) => {
                    let passing = error
                        .downcast_ref::<StoreError>()
                        .is_some_and(|error| error.passing() || matches!(error, StoreError::Fenced(_)));
                    if !passing {
                        return Err(error);
                    }
                    tracing::warn!("joining feedback failed and is tried again: {error:#}");
                }
            }
            if stop.within(EVERY).await {
                return Ok(());
            }
        }
    }

    /// Joins one batch; answers how many rows it looked at. Public so that tests can step it.
    pub async fn round(&self) -> Result<usize> {
        let wall = self.clock.wall();
        let Some(lease) = self.store.lease(LEASE, &self.owner, wall, wall + LEASE_FOR).await? else { return Ok(0) };
        let now = self.clock.now();
        let waiting = self.store.waiting_feedback(now, BATCH).await?;
        if waiting.is_empty() {
            return Ok(0);
        }
        let looked_at = waiting.len();
        let mut by_tenant: BTreeMap<String, Vec<Waiting>> = BTreeMap::new();
        for waiting in waiting {
            by_tenant.entry(waiting.tenant.clone()).or_default().push(waiting);
        }
        for (tenant, waiting) in by_tenant {
            self.join(&lease, &tenant, waiting, now).await?;
        }
        Ok(looked_at)
    }

    async fn join(&self, lease: &Lease, tenant: &str, waiting: Vec<Waiting>, now: Micros) -> Result<()> {
        let keys: HashSet<CallKey> =
            waiting.iter().flat_map(|waiting| [Some(waiting.target), waiting.trace]).flatten().collect();
        let found = self.store.find_calls(tenant, &keys.into_iter().collect::<Vec<_>>()).await?;
        let joined: Vec<Joined> = waiting.into_iter().map(|waiting| self.place(waiting, &found, now)).collect();
        if !self.write(lease, tenant, &joined).await? {
            // Somebody corrects one of them right now: the others do not wait for him.
            for one in joined {
                self.write(lease, tenant, &[one]).await?;
            }
        }
        Ok(())
    }

    /// `false`: some of it was corrected meanwhile, and nothing was written.
    async fn write(&self, lease: &Lease, tenant: &str, joined: &[Joined]) -> Result<bool> {
        let panes = deltas(joined, &self.names);
        let ids = panes.keys().map(|(series, _)| *series).collect();
        let rows = self.rows(tenant, &ids, panes).await?;
        let orphans = joined.iter().filter(|join| join.orphan).count();
        let written = self.store.join_feedback(lease, random_id()?, joined, &rows).await?;
        if written {
            self.metrics.joined(joined.iter().filter(|join| join.place.is_some()).count(), orphans);
        }
        Ok(written)
    }

    fn place(&self, waiting: Waiting, found: &HashMap<CallKey, Place>, now: Micros) -> Joined {
        // What was joined once stays with its call, whatever the index has forgotten since.
        let age = now - waiting.received_at;
        let of_trace = || waiting.trace.filter(|_| age >= TRACE_AFTER).and_then(|trace| found.get(&trace).copied());
        let place = waiting.place.or_else(|| found.get(&waiting.target).copied()).or_else(of_trace);
        let next_try_at = now + (age / 10).clamp(SOONEST, LATEST);
        Joined { place, orphan: place.is_none() && age >= self.wait, next_try_at, waiting }
    }

    /// Rows of the deltas: the leaf's and its parents'.
    async fn rows(
        &self,
        tenant: &str,
        ids: &HashSet<SeriesId>,
        panes: BTreeMap<Place, Pane>,
    ) -> Result<Vec<PaneRow>, StoreError> {
        let labels = self.store.series_labels(tenant, ids).await?;
        let mut parents: HashMap<String, HashSet<SeriesId>> = HashMap::new();
        for labels in labels.values().flat_map(family) {
            parents.entry(labels.tenant().to_owned()).or_default().insert(labels.id());
        }
        let mut registered = HashSet::new();
        for (tenant, ids) in &parents {
            registered.extend(self.store.series_labels(tenant, ids).await?.into_keys());
        }
        let mut merged: BTreeMap<(String, SeriesId, Micros), Pane> = BTreeMap::new();
        for ((series, minute), pane) in &panes {
            let Some(leaf) = labels.get(series) else {
                // Its call's day, and then its series, went by retention.hours_days: there is no figure that it could move.
                tracing::warn!(tenant, "feedback for a call whose series is no longer kept moves no figure");
                continue;
            };
            let mut within = Level::All;
            for labels in family(leaf) {
                let mut id = labels.id();
                if registered.contains(&id) {
                    within = labels.level;
                } else {
                    // A parent that the cap folded has its numbers in the overflow series of its level.
                    id = labels.overflow(within).id();
                }
                merged.entry((labels.tenant().to_owned(), id, *minute)).or_default().merge(pane);
            }
        }
        Ok(merged.into_iter().map(|((tenant, id, minute), pane)| PaneRow::of(&tenant, id, minute, &pane)).collect())
    }
}

/// A series and its parents: the index names the finest series of a call that the cap admitted, which may be a parent.
fn family(own: &Labels) -> Vec<Labels> {
    let at = |level: &Level| if *level == own.level { own.clone() } else { own.at(*level) };
    Level::ALL.iter().filter(|level| **level <= own.level).map(at).collect()
}

/// Names with a fixed meaning; they and the declared scores are summed by name, others together as `other`.
const NAMES: [&str; 13] = [
    "success",
    "resolved",
    "escalated",
    "abandoned",
    "thumbs",
    "rating",
    "complaint",
    "grounded",
    "correct",
    "relevant",
    "violation",
    "pii_confirmed",
    "clicked",
];

/// What changes in which pane: − what was said before, + what is said now.
fn deltas(joined: &[Joined], declared: &BTreeSet<String>) -> BTreeMap<Place, Pane> {
    let mut panes: BTreeMap<Place, Pane> = BTreeMap::new();
    for join in joined {
        let waiting = &join.waiting;
        let Some(place) = join.place else { continue };
        let known = NAMES.contains(&waiting.name.as_str()) || declared.contains(&waiting.name);
        let name = if known { &waiting.name } else { "other" };
        let mut add = |place: Place, sum: LabelSum| {
            panes.entry(place).or_default().label(name, &waiting.source, sum);
        };
        if let Some(micro) = waiting.applied {
            add(place, LabelSum::of(micro, -1));
        }
        if waiting.given {
            add(place, LabelSum::of(waiting.micro, 1));
        }
    }
    panes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(given: bool, micro: Option<i64>, applied: Option<Option<i64>>) -> Joined {
        let waiting = Waiting {
            trace: None,
            tenant: "t".into(),
            id: "i".into(),
            name: "success".into(),
            source: "user".into(),
            target: [1; 16],
            given,
            micro,
            revision: 1,
            received_at: 0,
            place: applied.map(|_| ([2; 16], MINUTE)),
            applied,
        };
        Joined { waiting, place: Some(([2; 16], MINUTE)), orphan: false, next_try_at: 0 }
    }

    fn sum(joined: &[Joined]) -> LabelSum {
        let mut all = LabelSum::default();
        deltas(joined, &BTreeSet::new()).values().for_each(|pane| all.merge(pane.outcome("success")));
        all
    }

    #[test]
    fn feedback_of_a_folded_call_counts_once_at_each_level_that_is_left() {
        let pairs =
            [("operation", "chat"), ("served", "true"), ("tenant", "t"), ("app", "a"), ("model", "m"), ("route", "r")];
        let values = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let leaf = Labels { level: Level::Leaf, values };
        for (own, levels) in [(leaf.clone(), 5), (leaf.at(Level::Model), 4), (leaf.at(Level::Tenant), 2)] {
            let ids: HashSet<SeriesId> = family(&own).iter().map(Labels::id).collect();
            assert_eq!((family(&own).len(), ids.len()), (levels, levels));
        }
    }

    #[test]
    fn a_correction_moves_the_sum_and_a_retraction_empties_it() {
        let (yes, no) = (Some(1_000_000), Some(0));
        let first = sum(&[joined(true, yes, None)]);
        assert_eq!((first.n, first.sum_micro), (1, 1_000_000));
        let corrected = sum(&[joined(true, no, Some(yes))]);
        assert_eq!((corrected.n, corrected.sum_micro), (0, -1_000_000));
        let retracted = sum(&[joined(false, None, Some(no))]);
        assert_eq!((retracted.n, retracted.valued), (-1, -1));
        assert_eq!(sum(&[joined(false, None, None)]), LabelSum::default());
    }
}
