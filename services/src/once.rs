//! Each part of a call is counted once: within a flush, and against the index of what earlier flushes counted.

use std::collections::{BTreeMap, HashMap};

use leeway_core::call_key::CallKey;
use leeway_core::clock::Micros;
use leeway_core::event::Brings;
use leeway_core::labels::SeriesId;
use leeway_core::ledger::Ledger;
use leeway_store::{CallClaim, Counted, Facet};

use crate::accumulate::{Contribution, count_accepted};
use crate::flush::PartBatch;

/// A record of a call that waits for the index.
#[derive(Debug)]
pub struct Candidate<'a> {
    /// Place of its partition in the flush.
    pub place: usize,
    pub contribution: &'a Contribution,
    pub tenant: String,
    /// Where it would be counted.
    pub series: SeriesId,
    /// What of it still counts.
    left: Brings,
    /// A fuller record of this flush has its call.
    merged: bool,
    conflicting: bool,
}

const NONE: Brings = Brings { call: false, timing: false, text: false, whole: false };

/// The records of all partitions, fullest first: they win within a flush.
pub fn candidates(parts: &[PartBatch]) -> Vec<Candidate<'_>> {
    let mut candidates: Vec<Candidate<'_>> = Vec::new();
    for (place, part) in parts.iter().enumerate() {
        candidates.extend(part.buffer.contributions.iter().map(|contribution| Candidate {
            place,
            contribution,
            tenant: String::new(),
            series: [0; 16],
            left: contribution.numbers.brings,
            merged: false,
            conflicting: false,
        }));
    }
    candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.contribution.numbers.known()));
    candidates
}

/// Facets that a record claims; a whole record claims its call alone, which stands for all.
fn facets(brings: Brings) -> impl Iterator<Item = Facet> {
    let parts = [
        (Facet::Call, brings.call),
        (Facet::Timing, brings.timing && !brings.whole),
        (Facet::Text, brings.text && !brings.whole),
    ];
    parts.into_iter().filter(|(_, brings)| *brings).map(|(facet, _)| facet)
}

fn drop_facet(left: &mut Brings, facet: Facet) {
    match facet {
        Facet::Call if left.whole => *left = NONE,
        Facet::Call => left.call = false,
        Facet::Timing => left.timing = false,
        Facet::Text => left.text = false,
        Facet::Join => {}
    }
}

/// Leaves each part of a call to the fullest record that brings it.
pub fn within(candidates: &mut [Candidate<'_>]) {
    // Digest of the call's winner and whether it is whole, by (tenant, name) and facet.
    let mut taken: HashMap<(String, CallKey, Facet), (i64, bool)> = HashMap::new();
    for candidate in candidates {
        let contribution = candidate.contribution;
        // A record without text has no text to claim.
        candidate.left.text &= contribution.numbers.brings.whole || contribution.numbers.scanned.is_some();
        let key = |name: &CallKey, facet| (candidate.tenant.clone(), *name, facet);
        let mut left = candidate.left;
        for facet in facets(candidate.left) {
            let winner = contribution.names.iter().find_map(|name| taken.get(&key(name, facet)));
            if let Some((digest, _)) = winner {
                drop_facet(&mut left, facet);
                if facet == Facet::Call {
                    candidate.merged = true;
                    candidate.conflicting = *digest != contribution.digest;
                }
            }
        }
        let whole = contribution.names.iter().find_map(|name| taken.get(&key(name, Facet::Call)));
        if whole.is_some_and(|(_, whole)| *whole) {
            left = NONE;
            candidate.merged = true;
        }
        for facet in facets(left) {
            for name in &contribution.names {
                taken.entry(key(name, facet)).or_insert((contribution.digest, left.whole));
            }
        }
        candidate.left = left;
    }
}

/// What is left, as claims for the index: every name for every part, and further names for feedback.
pub fn claims(candidates: &[Candidate<'_>], day: i64) -> Vec<CallClaim> {
    let mut claims = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let contribution = candidate.contribution;
        let claim = |key: CallKey, facet: Facet| CallClaim {
            tenant: candidate.tenant.clone(),
            key,
            facet,
            day,
            digest: contribution.digest,
            whole: candidate.left.whole,
            series: candidate.series,
            minute: contribution.minute,
        };
        for facet in facets(candidate.left) {
            claims.extend(contribution.names.iter().map(|name| claim(*name, facet)));
        }
        if candidate.left.call {
            claims.extend(contribution.aliases.iter().map(|name| claim(*name, Facet::Join)));
        }
    }
    // Two calls of one trace share its name; the first one has it.
    let mut seen = std::collections::HashSet::with_capacity(claims.len());
    claims.retain(|claim: &CallClaim| seen.insert((claim.tenant.clone(), claim.key, claim.facet)));
    claims
}

/// Drops what an earlier flush counted.
pub fn across(candidates: &mut [Candidate<'_>], claimed: &Counted) {
    for candidate in candidates {
        let names = &candidate.contribution.names;
        let key = |name: &CallKey| (candidate.tenant.clone(), *name);
        let mut left = candidate.left;
        for facet in facets(candidate.left) {
            let fresh = |name: &CallKey| {
                let (tenant, name) = key(name);
                claimed.fresh.contains(&(tenant, name, facet))
            };
            if !names.iter().all(fresh) {
                drop_facet(&mut left, facet);
            }
        }
        for (digest, whole) in names.iter().filter_map(|name| claimed.counted.get(&key(name))) {
            candidate.conflicting |= candidate.left.call && *digest != candidate.contribution.digest;
            if *whole {
                left = NONE;
            }
        }
        candidate.left = left;
    }
}

/// Books every record in its ledger; answers what counts.
pub fn count<'a>(
    candidates: Vec<Candidate<'a>>,
    ledgers: &mut [BTreeMap<Micros, Ledger>],
) -> Vec<(usize, &'a Contribution, Brings)> {
    let mut counted = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let ledger = ledgers[candidate.place].entry(candidate.contribution.received).or_default();
        ledger.conflicting += u64::from(candidate.conflicting);
        let (left, any) = (candidate.left, facets(candidate.left).next().is_some());
        if left.call {
            count_accepted(ledger, candidate.contribution.numbers.late);
        } else if any || candidate.merged {
            ledger.merged += 1;
        } else {
            ledger.duplicate += 1;
        }
        if any {
            counted.push((candidate.place, candidate.contribution, left));
        }
    }
    counted
}
