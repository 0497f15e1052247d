//! Where the values of an answer came from, told over a stream of calls: what the call's own texts explain, and of the
//! rest what another tenant had within a day.

use leeway_core::clock::Micros;

use super::explained;
use super::find::{Finding, Values, find};
use super::fingerprint::Keyring;
use super::memory::{Holder, Memory, Seen};

/// Where a value of an answer came from; of several the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provenance {
    Echo,
    Retrieved,
    System,
    /// In none of the call's texts, and another tenant had it within the window.
    CrossTenant,
    /// In none of the call's texts, and in nobody's.
    Novel,
}

impl Provenance {
    pub fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Retrieved => "retrieved",
            Self::System => "system",
            Self::CrossTenant => "cross_tenant",
            Self::Novel => "novel",
        }
    }
}

/// The texts of one call.
#[derive(Debug, Clone, Copy)]
pub struct Exchange<'t> {
    pub tenant: &'t str,
    pub at: Micros,
    pub input: &'t str,
    pub documents: &'t str,
    pub system: &'t str,
    pub answer: &'t str,
}

fn certain(text: &str) -> Vec<Finding> {
    find(text.as_bytes()).into_iter().filter(|finding| finding.bits() >= super::ALERT_BITS).collect()
}

/// The values of an answer with their provenance, published examples too; remembers the values of the call.
pub fn tell(keys: &Keyring, memory: &mut Memory, call: &Exchange<'_>) -> Vec<(Finding, Provenance)> {
    let (keys, who) = (keys.at(call.at), Holder { tenant: call.tenant, user: 0, session: 0 });
    let print = |finding: &Finding| keys.print(finding.entity, &finding.canonical);
    let answer = certain(call.answer);
    let wanted: Values = answer.iter().map(|finding| (finding.entity, finding.canonical.clone())).collect();
    let own =
        [(Provenance::Echo, call.input), (Provenance::Retrieved, call.documents), (Provenance::System, call.system)]
            .map(|(provenance, text)| (provenance, explained(std::iter::once(text), &wanted)));
    let told = answer.into_iter().map(|finding| {
        let value = (finding.entity, finding.canonical.clone());
        let own = own.iter().find(|(_, held)| held.contains(&value)).map(|(provenance, _)| *provenance);
        let seen = memory.seen(&who, call.at, print(&finding));
        let others = if foreign(seen) && !finding.test { Provenance::CrossTenant } else { Provenance::Novel };
        (finding, own.unwrap_or(others))
    });
    let told: Vec<(Finding, Provenance)> = told.collect();
    // The deployer's own text is nobody's secret: what it holds is not remembered as a tenant's.
    let given = [certain(call.input), certain(call.documents)];
    for finding in told.iter().map(|(finding, _)| finding).chain(given.iter().flatten()) {
        memory.keep(&who, call.at, print(finding), finding.entity);
    }
    told
}

/// Whether a value that nothing of its call explains is another tenant's.
pub fn foreign(seen: Seen) -> bool {
    seen.elsewhere && !seen.common
}
