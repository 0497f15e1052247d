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
    /// It is another instrumentation's record of a response that this flush counts.
    copy: bool,
    /// It tells from outside of a call that is counted, or from inside.
    nested: bool,
    conflicting: bool,
}

/// What became of a record of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is what counts the call.
    Counted,
    /// It went into a call that another record counts.
    Merged,
    /// Another instrumentation's record of a response that is counted.
    Copy,
    /// All of it was told before.
    Duplicate,
}

impl Contribution {
    /// Whether a digest that was counted under this call's name says otherwise than it.
    fn contradicts(&self, digest: i64) -> bool {
        digest != self.digest && digest != self.copy_digest
    }
}

impl Candidate<'_> {
    /// One call by two spans, one around the other: where the other one is counted, this one is left out.
    fn leave_if_nested(&mut self, around: impl Fn(CallKey) -> bool, counted: impl Fn(CallKey) -> bool) -> bool {
        let contribution = self.contribution;
        let part = self.left.call && !self.left.whole;
        if part && (around(contribution.name) || contribution.parent.is_some_and(counted)) {
            (self.left, self.merged, self.nested) = (NONE, true, true);
        }
        self.nested
    }

    /// Whether what was told of this response, by digest and wholeness, is this call. Two whole records are two calls: an
    /// answer from a cache has the id of the one that it was made for.
    fn copies(&self, (digest, whole): (i64, bool)) -> bool {
        digest == self.contribution.copy_digest && !(whole && self.contribution.numbers.brings.whole)
    }

    pub fn verdict(&self) -> Verdict {
        if self.left.call {
            Verdict::Counted
        } else if self.copy || self.nested {
            Verdict::Copy
        } else if self.contribution.numbers.brings.whole {
            Verdict::Duplicate
        } else {
            Verdict::Merged
        }
    }
}

/// Every part of a call, each for itself.
const PARTS: Brings = Brings { call: true, timing: true, text: true, whole: false };
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
            copy: false,
            nested: false,
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
        Facet::Join | Facet::Below => {}
    }
}

/// Leaves each part of a call to the fullest record that brings it.
pub fn within(candidates: &mut [Candidate<'_>]) {
    // Digest of the winner and whether it is whole, by (tenant, name) and facet.
    let mut taken: HashMap<(String, CallKey, Facet), (i64, bool)> = HashMap::new();
    for candidate in candidates {
        let contribution = candidate.contribution;
        // A record without text has no text to claim.
        candidate.left.text &= contribution.numbers.brings.whole || contribution.numbers.scanned.is_some();
        let tenant = candidate.tenant.clone();
        let has = |facet| {
            let (taken, tenant) = (&taken, &tenant);
            move |name| taken.contains_key(&(tenant.clone(), name, facet))
        };
        if candidate.leave_if_nested(has(Facet::Below), has(Facet::Call)) {
            continue;
        }
        let key = |name: CallKey, facet| (tenant.clone(), name, facet);
        let mut left = candidate.left;
        let own = taken.get(&key(contribution.name, Facet::Call)).copied();
        for facet in facets(candidate.left) {
            if taken.contains_key(&key(contribution.name, facet)) {
                drop_facet(&mut left, facet);
            }
        }
        if let Some((digest, whole)) = own {
            candidate.merged = true;
            candidate.conflicting = candidate.left.call && contribution.contradicts(digest);
            if whole {
                left = NONE;
            }
        } else if contribution
            .copy_name
            .is_some_and(|name| taken.get(&key(name, Facet::Call)).is_some_and(|told| candidate.copies(*told)))
        {
            // Another instrumentation's record of the same response: all of it was told.
            (left, candidate.merged, candidate.copy) = (NONE, true, true);
        }
        for facet in facets(if candidate.copy { PARTS } else { left }) {
            taken.entry(key(contribution.name, facet)).or_insert((contribution.digest, left.whole));
        }
        if let Some(name) = contribution.copy_name.filter(|_| left.call) {
            taken.entry(key(name, Facet::Call)).or_insert((contribution.copy_digest, left.whole));
        }
        if let Some(parent) = contribution.parent.filter(|_| left.call) {
            taken.entry(key(parent, Facet::Below)).or_insert((0, false));
        }
        candidate.left = left;
    }
}

/// What is left, as claims for the index, and further names for feedback. A copy's name is claimed whole, so that
/// nothing that comes under it later counts again.
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
        claims.extend(
            facets(if candidate.copy { PARTS } else { candidate.left }).map(|facet| claim(contribution.name, facet)),
        );
        if candidate.left.call {
            let copy = |name| CallClaim { digest: contribution.copy_digest, ..claim(name, Facet::Call) };
            claims.extend(contribution.copy_name.map(copy));
            claims.extend(contribution.aliases.iter().map(|name| claim(*name, Facet::Join)));
            claims.extend(contribution.parent.map(|name| claim(name, Facet::Below)));
        }
    }
    // Two calls of one trace share its name; the first one has it.
    let mut seen = std::collections::HashSet::with_capacity(claims.len());
    claims.retain(|claim: &CallClaim| seen.insert((claim.tenant.clone(), claim.key, claim.facet)));
    claims
}

/// Drops what an earlier flush counted. Answers the claims to give back: a span around a call that is counted is none
/// itself, or the other calls below it would be taken for parts of it.
pub fn across(candidates: &mut [Candidate<'_>], claimed: &Counted) -> Vec<(String, CallKey)> {
    let mut outer = Vec::new();
    for candidate in candidates {
        let contribution = candidate.contribution;
        let tenant = candidate.tenant.clone();
        let known = |name: CallKey| claimed.counted.get(&(tenant.clone(), name)).copied();
        let around = |name| claimed.around.contains(&(tenant.clone(), name));
        let fresh = |facet| claimed.fresh.contains(&(tenant.clone(), contribution.name, facet));
        // One that an earlier record of this flush left nothing of claims nothing.
        let claims = candidate.left.call;
        if candidate.leave_if_nested(around, |name| known(name).is_some()) {
            if claims && fresh(Facet::Call) && around(contribution.name) {
                outer.push((tenant, contribution.name));
            }
            continue;
        }
        let mut left = candidate.left;
        for facet in facets(candidate.left) {
            if !fresh(facet) {
                drop_facet(&mut left, facet);
            }
        }
        if let Some((digest, whole)) = known(contribution.name) {
            candidate.conflicting |= candidate.left.call && contribution.contradicts(digest);
            if whole {
                left = NONE;
            }
        } else if left.call && contribution.copy_name.and_then(known).is_some_and(|told| candidate.copies(told)) {
            left = NONE;
        }
        candidate.left = left;
    }
    outer
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
        } else if any || candidate.merged || !candidate.contribution.numbers.brings.call {
            // It went into a call that another record tells of.
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

#[cfg(test)]
mod tests {
    use super::*;
    use leeway_core::pane::Numbers;
    use leeway_core::scan::Scanned;

    fn record(name: u8, copy: Option<u8>, digest: i64, brings: Brings, known: u64) -> Contribution {
        let numbers = Numbers {
            brings,
            duration_us: (known > 1).then_some(1),
            ttft_us: (known > 2).then_some(1),
            scanned: brings.text.then(|| Box::new(Scanned::default())),
            ..Numbers::default()
        };
        let copy_name = copy.map(|name| [name; 16]);
        Contribution {
            name: [name; 16],
            copy_name,
            parent: None,
            aliases: Vec::new(),
            digest,
            copy_digest: digest,
            series: 0,
            minute: 0,
            received: 0,
            numbers,
        }
    }

    fn waiting(contributions: &[Contribution]) -> Vec<Candidate<'_>> {
        let candidate = |contribution| Candidate {
            place: 0,
            contribution,
            tenant: "t".into(),
            series: [0; 16],
            left: contribution.numbers.brings,
            merged: false,
            copy: false,
            nested: false,
            conflicting: false,
        };
        contributions.iter().map(candidate).collect()
    }

    /// Counts records flush by flush against an index kept here, as the store keeps it.
    fn calls(flushes: &[&[Contribution]]) -> (usize, usize, usize) {
        let mut index: HashMap<(CallKey, Facet), (i64, bool)> = HashMap::new();
        let (mut calls, mut timings, mut texts) = (0, 0, 0);
        for flush in flushes {
            let mut candidates = waiting(flush);
            within(&mut candidates);
            let mut answer = Counted::default();
            for claim in claims(&candidates, 1) {
                let fresh = !index.contains_key(&(claim.key, claim.facet));
                if fresh {
                    answer.fresh.insert(("t".to_owned(), claim.key, claim.facet));
                }
                if index.contains_key(&(claim.key, Facet::Below)) {
                    answer.around.insert(("t".to_owned(), claim.key));
                }
                if let Some(known) = index.get(&(claim.key, Facet::Call)) {
                    answer.counted.insert(("t".to_owned(), claim.key), *known);
                }
                index.entry((claim.key, claim.facet)).or_insert((claim.digest, claim.whole));
            }
            // What this flush inserted itself is not what was counted before.
            answer.counted.retain(|(tenant, key), _| !answer.fresh.contains(&(tenant.clone(), *key, Facet::Call)));
            for (_, name) in across(&mut candidates, &answer) {
                assert!(index.remove(&(name, Facet::Call)).is_some());
            }
            for candidate in candidates {
                let (left, numbers) = (candidate.left, &candidate.contribution.numbers);
                calls += usize::from(left.call);
                timings += usize::from(left.timing && numbers.duration_us.is_some());
                texts += usize::from(left.text && numbers.scanned.is_some());
            }
        }
        (calls, timings, texts)
    }

    #[test]
    fn parts_whole_records_and_copies_count_once_in_any_split() {
        let part = |call, timing, text| Brings { call, timing, text, whole: false };
        let span = || record(1, Some(9), 5, part(true, true, false), 3);
        let log = || record(1, Some(9), 5, part(true, false, true), 1);
        let copy = || record(2, Some(9), 5, part(true, true, true), 2);
        let words = || record(1, None, 0, part(false, false, true), 1);
        assert_eq!(calls(&[&[span(), log()]]), (1, 1, 1));
        assert_eq!(calls(&[&[span()], &[log()]]), (1, 1, 1));
        assert_eq!(calls(&[&[log()], &[span()]]), (1, 1, 1));
        assert_eq!(calls(&[&[span(), log(), span()], &[log(), words()], &[span()]]), (1, 1, 1));
        assert_eq!(calls(&[&[words()], &[span()]]), (1, 1, 1));
        // Two instrumentations of one response, together and apart, and what follows under the copy's name.
        let under_copy = || record(2, None, 0, part(false, false, true), 1);
        assert_eq!(calls(&[&[span(), copy()], &[under_copy()]]).0, 1);
        assert_eq!(calls(&[&[span(), copy()], &[under_copy()]]).2, 0, "the copy was told whole");
        assert_eq!(calls(&[&[span()], &[copy()]]).0, 1);
        // A server that counts its response ids up again: other numbers, another call.
        let other = || record(3, Some(9), 6, part(true, true, false), 2);
        assert_eq!(calls(&[&[span(), other()]]).0, 2);
        assert_eq!(calls(&[&[span()], &[other()]]).0, 2);
        // A whole record under the same name stands for all parts.
        let whole = || record(1, None, 5, Brings::default(), 3);
        assert_eq!(calls(&[&[whole()], &[span(), log()], &[words()]]), (1, 1, 1));
        assert_eq!(calls(&[&[whole()], &[words()]]), (1, 1, 1));
        assert_eq!(calls(&[&[whole(), words()], &[whole()]]), (1, 1, 1));
    }

    #[test]
    fn two_spans_of_one_call_one_around_the_other_are_one_call_in_any_split() {
        let span = |name: u8, parent: Option<u8>, known| Contribution {
            parent: parent.map(|name| [name; 16]),
            ..record(name, None, i64::from(name), Brings { text: false, whole: false, ..PARTS }, known)
        };
        // 1 is around 2, and 9, which is no call, around both pairs.
        let (outer, inner) = (|| span(1, Some(9), 1), || span(2, Some(1), 3));
        assert_eq!(calls(&[&[inner(), outer()]]).0, 1, "in one flush");
        assert_eq!(calls(&[&[inner()], &[outer()]]).0, 1, "in two");
        assert_eq!(calls(&[&[outer()], &[inner()]]).0, 1, "the other way round");
        assert_eq!(calls(&[&[inner()], &[outer(), inner()], &[outer()]]).0, 1, "and again");
        // Two calls below one span that is none, and two below one that is.
        assert_eq!(calls(&[&[span(3, Some(9), 1), span(4, Some(9), 1)], &[span(5, Some(9), 1)]]).0, 3);
        assert_eq!(calls(&[&[inner(), span(6, Some(1), 2)], &[outer()]]).0, 2);
        assert_eq!(
            calls(&[&[inner()], &[outer()], &[span(6, Some(1), 2)], &[outer()]]).0,
            2,
            "the outer one came between"
        );
        assert_eq!(
            calls(&[&[outer()], &[inner()], &[span(6, Some(1), 2)], &[outer()]]).0,
            1,
            "the outer one was counted"
        );
    }

    #[test]
    fn a_whole_record_and_a_span_of_one_response_are_one_call_and_two_whole_records_are_two() {
        let whole = Brings { whole: true, ..PARTS };
        let span = Brings { text: false, ..PARTS };
        let record = |name, brings| record(name, Some(9), 5, brings, 1);
        for pair in [[record(1, whole), record(2, span)], [record(2, span), record(1, whole)]] {
            assert_eq!(calls(&[&pair]).0, 1, "in one flush");
            assert_eq!(calls(&[&pair[..1], &pair[1..]]).0, 1, "in two");
        }
        // An answer from a cache has the id of the one that it was made for.
        let pair = [record(1, whole), record(2, whole)];
        assert_eq!((calls(&[&pair]).0, calls(&[&pair[..1], &pair[1..]]).0), (2, 2));
    }
}
