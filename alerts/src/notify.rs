//! From a state change to notices: one for each receiver of the rule.
//!
//! Until routing exists every instance is its own group with no wait, so the id of a notice is already final:
//! (group, receiver, sequence).

use std::collections::BTreeMap;

use leeway_core::alert::{AlertLabels, Evidence, Notice, State, notice_id};
use leeway_core::clock::Micros;

use crate::rule::Rule;
use crate::state::Instance;

/// What a notice is made of.
#[derive(Debug)]
pub struct Change<'a> {
    pub rule: &'a Rule,
    pub fingerprint: &'a str,
    pub labels: &'a AlertLabels,
    pub instance: Instance,
    pub evidence: &'a Evidence,
    /// Of this notice, and of the one that opened the episode.
    pub sequence: u64,
    pub episode: u64,
    pub detected_at: Micros,
    /// Where people look, for example `http://127.0.0.1:8470`.
    pub external_url: &'a str,
    pub simulated: bool,
}

/// The notices of a change; none unless it fired or resolved.
pub fn notices(change: &Change<'_>) -> Vec<Notice> {
    let status = change.instance.state;
    if !matches!(status, State::Firing | State::Resolved) {
        return Vec::new();
    }
    change.rule.receivers.iter().map(|receiver| notice(change, receiver, status)).collect()
}

fn notice(change: &Change<'_>, receiver: &str, status: State) -> Notice {
    let (rule, instance) = (change.rule, change.instance);
    let group_key = format!("{}:{}", rule.id, change.fingerprint);
    let mut links =
        BTreeMap::from([("alert".to_owned(), format!("{}/alerts/{}", change.external_url, change.fingerprint))]);
    if let Some(runbook) = rule.annotations.get("runbook") {
        links.insert("runbook".to_owned(), runbook.clone());
    }
    let reason =
        if status == State::Firing { "the condition held long enough" } else { "the condition no longer holds" };
    Notice {
        id: notice_id(&group_key, receiver, change.sequence),
        receiver: receiver.to_owned(),
        sequence: change.sequence,
        status,
        reason: reason.to_owned(),
        severity: rule.severity,
        title: title(rule, change.labels, change.evidence),
        rule: rule.id.clone(),
        rule_version: rule.version.clone(),
        fingerprint: change.fingerprint.to_owned(),
        labels: change.labels.clone(),
        annotations: rule.annotations.clone(),
        active_at: instance.active_at.unwrap_or_default(),
        fired_at: instance.fired_at.unwrap_or_default(),
        resolved_at: instance.resolved_at,
        detected_at: change.detected_at,
        evidence: change.evidence.clone(),
        links,
        simulated: change.simulated,
        replies_to: (change.sequence != change.episode).then(|| notice_id(&group_key, receiver, change.episode)),
        group_key,
    }
}

/// Stable over an episode: mail clients thread by it.
fn title(rule: &Rule, labels: &AlertLabels, evidence: &Evidence) -> String {
    let scope: Vec<&str> = labels.values().map(String::as_str).filter(|value| !value.is_empty()).collect();
    let scope = if scope.is_empty() { "all traffic".to_owned() } else { scope.join(" / ") };
    let summary = rule.annotations.get("summary").cloned();
    let what = summary.unwrap_or_else(|| format!("{} {}", evidence.what(), evidence.shown_threshold()));
    format!("{scope}: {what}")
}
