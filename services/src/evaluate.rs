//! The evaluator: every rule once per closed minute, in order of event time, under a lease.
//!
//! States, findings, notices and the rule's progress are one transaction, so a kill at any point repeats a window or
//! does not; after a stop, missed windows are evaluated in order and an alert gets the event time it would have had.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use leeway_alerts::notify::{Change, notices};
use leeway_alerts::rule::{Kind, NoData, Rule};
use leeway_alerts::state::{Holds, Instance, Verdict, step};
use leeway_core::alert::{AlertLabels, Evidence, Finding, Notice, State, Versions, fingerprint, notice_id};
use leeway_core::clock::{Clock, DAY, HOUR, MINUTE, Micros, SECOND, minute_of};
use leeway_core::measure::Measure;
use leeway_core::pane::Pane;
use leeway_core::sketch::RELATIVE_ERROR;
use leeway_core::words::Vocabulary;
use leeway_detectors::threshold;
use leeway_store::{AlertRow, EvaluationWrite, Lease, PartitionRow, RuleProgress, SeriesPane, Store};
use tokio::task::JoinSet;

use crate::beside::{Held, References, Slices, compared};
use crate::metrics::Metrics;
use crate::moved;
use crate::tasks::Stop;
use crate::usual::Usual;
use crate::versions::{Past, Ran};
use crate::weigh::Watches;

/// A partition whose watermark stood still for this long holds nothing back.
const STALLED: Micros = 2 * MINUTE;
const EVERY: Duration = Duration::from_millis(250);
/// A database that says nothing for this long is gone; the tick is tried again.
const TICK_WITHIN: Duration = Duration::from_secs(90);
const LEASE: &str = "evaluate";
const LEASE_FOR: Micros = 15 * SECOND;
/// An instance without events is remembered this long.
const REMEMBERED: Micros = DAY;
/// Event time that one tick covers for a rule at most.
const STEP: Micros = 30 * MINUTE;
/// `last_seen_at` is written at most this often while nothing else changes.
const SEEN_STEP: Micros = 5 * MINUTE;

#[derive(Debug)]
pub struct Evaluator {
    pub store: Store,
    pub rules: Vec<Rule>,
    pub clock: Clock,
    pub owner: String,
    pub external_url: String,
    pub simulated: bool,
    pub metrics: Arc<Metrics>,
    /// False pages a week that all anomaly rules together may cost.
    pub false_pages_a_week: f64,
    /// Streams that are tested at most.
    pub streams: usize,
    /// Names of words.
    pub words: Vocabulary,
    pub memory: Memory,
}

/// What an evaluator remembers between ticks; all of it can be read from the store again.
#[derive(Debug, Default)]
pub struct Memory {
    /// Watermark by partition, and when (event time's clock) it was seen to move.
    moved: HashMap<(String, String, i64), (Micros, Micros)>,
    progress: HashMap<String, RuleProgress>,
    /// Fixed references by rule id and version.
    pub(crate) references: HashMap<(String, String), References>,
    /// What instances run, and what was read of their past, by rule id.
    pub(crate) ran: HashMap<String, Ran>,
    pub(crate) earlier: HashMap<String, Past>,
    /// What instances' calls are about, at the end of a time, by rule id.
    pub(crate) slices: HashMap<String, (Micros, Arc<BTreeMap<AlertLabels, Slices>>)>,
    /// What is usual of an anomaly rule's streams, and what their detectors hold, by rule id.
    pub(crate) usual: HashMap<String, Usual>,
    pub(crate) watches: HashMap<String, Watches>,
    /// Baselines under way, of one rule at a time.
    pub(crate) learning: JoinSet<Result<(String, Usual)>>,
    held: Option<Lease>,
    /// What is looked at is past: all of it is there.
    past: bool,
    /// A finding is looked at again: its evidence alone, and the versions that it is about.
    again: bool,
    pub(crate) pinned: Option<Versions>,
    /// In a backtest: what it found so far, in the place of what the store has.
    pub(crate) replayed: Option<Vec<Finding>>,
}

impl Memory {
    /// Of a backtest of a rule, whose detectors hold nothing yet.
    pub(crate) fn replay(rule: &Rule) -> Self {
        let watches = HashMap::from([(rule.id.clone(), Watches::new(rule))]);
        Self { watches, past: true, replayed: Some(Vec::new()), ..Self::default() }
    }

    /// Of a finding that is looked at again: as a backtest, with what was known then.
    pub(crate) fn again(rule: &Rule, finding: &Finding) -> Self {
        let pinned = finding.evidence.drift.as_ref().and_then(|drift| drift.versions.clone());
        Self { replayed: None, again: true, pinned, ..Self::replay(rule) }
    }

    pub(crate) fn remember(&mut self, finding: Finding) {
        if let Some(replayed) = &mut self.replayed {
            replayed.push(finding);
        }
    }
}

/// How far event time has come.
#[derive(Debug, Clone, Copy)]
struct Horizon {
    /// Windows that end here or earlier can be evaluated.
    ready: Micros,
    known: bool,
}

impl Evaluator {
    pub async fn run(mut self, mut stop: Stop) -> Result<()> {
        loop {
            let ticked = tokio::time::timeout(TICK_WITHIN, self.tick()).await;
            if let Err(error) = ticked.unwrap_or_else(|_| Err(leeway_store::StoreError::silent().into())) {
                let passing = error
                    .downcast_ref::<leeway_store::StoreError>()
                    .is_some_and(|e| e.passing() || matches!(e, leeway_store::StoreError::Fenced(_)));
                if !passing {
                    return Err(error);
                }
                tracing::warn!("evaluation failed and is tried again: {error:#}");
                self.memory.held = None;
            }
            if stop.within(EVERY).await {
                break;
            }
        }
        if let Some(lease) = &self.memory.held {
            // It runs out by itself; the work is done.
            if let Err(error) = self.store.release_lease(lease).await {
                tracing::warn!(%error, "release the evaluator's lease");
            }
        }
        Ok(())
    }

    /// Evaluates every window that is due. Public so that tests can step it.
    pub async fn tick(&mut self) -> Result<()> {
        let wall = self.clock.wall();
        let lease = self.store.lease(LEASE, &self.owner, wall, wall + LEASE_FOR).await?;
        let Some(lease) = lease else {
            self.memory.held = None;
            return Ok(());
        };
        if self.memory.held.as_ref() != Some(&lease) {
            self.memory.progress = self.store.rule_progress().await?.into_iter().map(|p| (p.rule.clone(), p)).collect();
            self.memory.moved.clear();
            // Another owner's evaluations may lie between.
            self.memory.watches.clear();
            self.retire(&lease).await?;
            self.keep_streams().await?;
        }
        self.memory.held = Some(lease.clone());
        let horizon = self.horizon().await?;
        if !horizon.known {
            return Ok(());
        }
        for rule in self.rules.clone() {
            // A rule that nobody evaluated yet starts where the data are, not at the beginning of history.
            let start = minute_of(horizon.ready);
            let through = self.memory.progress.get(&rule.id).map_or(start, |progress| progress.through);
            if !self.memory.progress.contains_key(&rule.id) {
                self.save(&lease, &rule, start, EvaluationWrite::default()).await?;
            }
            let mut end = through + MINUTE;
            // A long way behind is walked in steps, between which the lease is prolonged.
            let last = horizon.ready.min(through + STEP);
            while end <= last {
                // Until its baselines are made the rule waits, and the others go on.
                if !self.knows(&rule, rule.begin(end)).await? {
                    break;
                }
                let before = self.store.alerts_of_rule(&rule.id).await?;
                let write =
                    self.evaluate(&rule, end, before).await.with_context(|| format!("evaluate rule {}", rule.id))?;
                self.save(&lease, &rule, end, write).await?;
                self.metrics.evaluated(self.clock.now() - end);
                end += MINUTE;
            }
        }
        Ok(())
    }

    /// Resolves what fires for rules that the file no longer has, or has with other labels: nobody would ever see to it.
    async fn retire(&mut self, lease: &Lease) -> Result<()> {
        let rows = self.store.open_alerts().await?;
        for row in rows {
            let labels: AlertLabels = serde_json::from_str(&row.labels).context("read stored labels")?;
            let same = |rule: &&Rule| {
                let mut by: Vec<&String> = rule.by.iter().collect();
                by.sort();
                rule.id == row.rule && by.into_iter().eq(labels.keys())
            };
            if self.rules.iter().find(same).is_some() {
                continue;
            }
            tracing::warn!(
                rule = row.rule,
                fingerprint = row.fingerprint,
                "the rule is gone or has other labels; its alert is resolved"
            );
            let write = self.retired(row).await?;
            // The rule's own progress stays what it is.
            let rule = &write.alerts[0].rule;
            let progress = self.memory.progress.get(rule).cloned();
            let none = RuleProgress { rule: rule.clone(), version: String::new(), through: write.alerts[0].last_at };
            self.store.write_evaluation(lease, &progress.unwrap_or(none), &write, self.clock.wall()).await?;
        }
        Ok(())
    }

    /// The resolution of an alert without a rule, to whoever was told that it fires.
    async fn retired(&self, row: AlertRow) -> Result<EvaluationWrite> {
        let (now, fired) = (self.clock.now(), row.state == State::Firing);
        let told = self.store.notices(&row.fingerprint).await?;
        let opening = told.into_iter().map(|told| told.notice).filter(|notice| fired && notice.sequence == row.episode);
        let sequence = row.sequence + 1;
        let resolve = |notice: Notice| Notice {
            id: notice_id(&notice.group_key, &notice.receiver, sequence),
            sequence,
            status: State::Resolved,
            reason: "the rule was removed or changed its labels".to_owned(),
            resolved_at: Some(now),
            detected_at: now,
            replies_to: Some(notice.id.clone()),
            ..notice
        };
        let notices: Vec<Notice> = opening.map(resolve).collect();
        let state = if fired { State::Resolved } else { State::Inactive };
        let sequence = if notices.is_empty() { row.sequence } else { sequence };
        let resolved_at = fired.then_some(now);
        let alert = AlertRow { state, sequence, resolved_at, keep_firing_since: None, ..row };
        Ok(EvaluationWrite { alerts: vec![alert], notices, ..EvaluationWrite::default() })
    }

    async fn save(&mut self, lease: &Lease, rule: &Rule, through: Micros, write: EvaluationWrite) -> Result<()> {
        let progress = RuleProgress { rule: rule.id.clone(), version: rule.version.clone(), through };
        self.store.write_evaluation(lease, &progress, &write, self.clock.wall()).await?;
        self.memory.progress.insert(rule.id.clone(), progress);
        crate::faults::point("after_evaluation");
        Ok(())
    }

    /// The least watermark of partitions that move; a stalled one holds windows back for two minutes, no longer.
    ///
    /// The two minutes count from the last move, not from the window's end: a consumer that catches up after a stop
    /// is behind, and not stalled.
    async fn horizon(&mut self) -> Result<Horizon> {
        let now = self.clock.now();
        let (mut live, mut newest, mut stalled) = (None, 0, false);
        for row in self.live_partitions().await? {
            let key = (row.source.clone(), row.topic.clone(), row.partition);
            let seen = self.memory.moved.entry(key).or_insert((row.watermark, now));
            if row.watermark > seen.0 {
                *seen = (row.watermark, now);
            }
            newest = newest.max(row.watermark);
            if now - seen.1 < STALLED {
                live = Some(live.map_or(row.watermark, |least: Micros| least.min(row.watermark)));
            } else {
                stalled = true;
            }
        }
        // With nobody alive time stands still: the backlog is still to come. With some alive, the others had their wait.
        let ready = match live {
            Some(least) if stalled => least.min(now - STALLED),
            Some(least) => least.min(now),
            None => newest,
        };
        Ok(Horizon { ready, known: ready > 0 })
    }

    /// Partitions that some owner flushed within the last hour; a renamed topic's old ones hold nothing back.
    async fn live_partitions(&self) -> Result<Vec<PartitionRow>> {
        let oldest = self.clock.now() - HOUR;
        let rows = self.store.partitions().await?;
        Ok(rows.into_iter().filter(|row| row.flushed_at >= oldest).collect())
    }

    async fn coverage(&self, end: Micros) -> Result<f64> {
        let rows = self.live_partitions().await?;
        let passed = rows.iter().filter(|row| row.watermark >= end).count();
        Ok(if rows.is_empty() { 0.0 } else { passed as f64 / rows.len() as f64 })
    }

    /// One rule at one window: reads panes, judges each instance, steps its state from what it was before.
    pub(crate) async fn evaluate(
        &mut self,
        rule: &Rule,
        end: Micros,
        before: Vec<AlertRow>,
    ) -> Result<EvaluationWrite> {
        if !rule.judges(end) {
            return Ok(EvaluationWrite::default());
        }
        let coverage = if self.memory.past { 1.0 } else { self.coverage(end).await? };
        let known: BTreeMap<String, AlertRow> = before.into_iter().map(|row| (row.fingerprint.clone(), row)).collect();
        let (panes, held) = match rule.kind {
            Kind::Drift(asked) => self.held_beside((rule, asked), end, &known).await?,
            _ => (self.instances(rule, rule.begin(end), end).await?, References::new()),
        };
        let mut subjects: BTreeMap<String, (AlertLabels, Pane)> = BTreeMap::new();
        for (labels, pane) in panes {
            subjects.insert(fingerprint(&rule.id, &labels), (labels, pane));
        }
        for (print, row) in &known {
            let firing = matches!(row.state, State::Firing | State::Pending);
            if firing || end - row.last_seen_at <= REMEMBERED {
                let labels: AlertLabels = serde_json::from_str(&row.labels).context("read stored labels")?;
                subjects.entry(print.clone()).or_insert((labels, Pane::default()));
            }
        }
        let subjects: Vec<Subject<'_>> = subjects
            .iter()
            .map(|(print, (labels, pane))| {
                let (held, before) = (held.get(labels), known.get(print));
                Subject { rule, print, labels, pane, held, before, start: rule.begin(end), end, coverage }
            })
            .collect();
        let mut write = EvaluationWrite::default();
        let found = match rule.kind {
            Kind::Threshold => subjects.iter().map(measured).collect(),
            Kind::Drift(asked) => subjects.iter().map(|subject| compared(subject, asked, &self.words)).collect(),
            Kind::Anomaly(asked) => {
                let (found, state) = self.weigh(rule, asked, &subjects).await?;
                write.state = state;
                found
            }
        };
        for (subject, (verdict, evidence)) in subjects.iter().zip(found) {
            // What an open block does not tell its end may.
            if subject.glance() && verdict != Verdict::Breach {
                continue;
            }
            self.judge(subject, verdict, &evidence, &mut write);
        }
        if !self.memory.again {
            moved::explain(&self.store, rule, &mut write).await?;
        }
        Ok(write)
    }

    /// Label sets of the rule with their merged panes over `[from, to)`.
    pub(crate) async fn instances(&self, rule: &Rule, from: Micros, to: Micros) -> Result<BTreeMap<AlertLabels, Pane>> {
        Ok(by_instance(rule, self.store.whole(rule.level(), rule.tenant(), from, to).await?))
    }

    fn judge(&self, subject: &Subject<'_>, verdict: Verdict, evidence: &Evidence, write: &mut EvaluationWrite) {
        let (rule, end) = (subject.rule, subject.end);
        let before = subject.before.map_or_else(Instance::default, instance);
        let holds = Holds { hold: rule.hold, keep_firing: rule.keep_firing };
        let after = step(before, verdict, end, subject.coverage >= 1.0, holds);
        let changed = after.state != before.state;
        let alive = subject.pane.calls() > 0;
        let last_seen_at = if alive { end } else { subject.before.map_or(0, |row| row.last_seen_at) };
        let fresh = subject.before.is_some_and(|row| last_seen_at - row.last_seen_at < SEEN_STEP);
        let quiet = !changed && after == before && !matches!(after.state, State::Firing | State::Pending);
        if quiet && (fresh || (subject.before.is_none() && !alive)) {
            return;
        }
        let mut row = subject.row(after, last_seen_at, evidence);
        if changed {
            write.findings.push(finding(subject, before.state, after.state, evidence));
            let told = matches!(after.state, State::Firing | State::Resolved);
            if told && !rule.receivers.is_empty() {
                row.sequence += 1;
                if after.state == State::Firing {
                    row.episode = row.sequence;
                }
                write.notices.extend(notices(&Change {
                    rule,
                    fingerprint: subject.print,
                    labels: subject.labels,
                    instance: after,
                    evidence,
                    sequence: row.sequence,
                    episode: row.episode,
                    detected_at: self.clock.now(),
                    external_url: &self.external_url,
                    simulated: self.simulated,
                }));
            }
        }
        write.alerts.push(row);
    }
}

/// One instance at one window.
pub(crate) struct Subject<'a> {
    pub rule: &'a Rule,
    pub print: &'a str,
    pub labels: &'a AlertLabels,
    pub pane: &'a Pane,
    /// Of a drift rule: what it is held beside.
    pub held: Option<&'a Held>,
    pub before: Option<&'a AlertRow>,
    pub start: Micros,
    pub end: Micros,
    pub coverage: f64,
}

impl Subject<'_> {
    /// Whether its block is still open.
    pub fn glance(&self) -> bool {
        self.end - self.start < self.rule.window
    }

    fn row(&self, after: Instance, last_seen_at: Micros, evidence: &Evidence) -> AlertRow {
        let told = matches!(after.state, State::Firing | State::Resolved);
        AlertRow {
            fingerprint: self.print.to_owned(),
            rule: self.rule.id.clone(),
            rule_version: self.rule.version.clone(),
            severity: self.rule.severity,
            labels: serde_json::to_string(self.labels).unwrap_or_default(),
            state: after.state,
            active_at: after.active_at,
            fired_at: after.fired_at,
            resolved_at: after.resolved_at,
            keep_firing_since: after.keep_firing_since,
            last_at: self.end,
            last_seen_at,
            sequence: self.before.map_or(0, |row| row.sequence),
            episode: self.before.map_or(0, |row| row.episode),
            // Where it moved is told once, and kept.
            evidence: Evidence {
                moved: self.before.filter(|_| told).and_then(|row| row.evidence.moved.clone()),
                ..evidence.clone()
            },
        }
    }
}

fn instance(row: &AlertRow) -> Instance {
    Instance {
        state: row.state,
        active_at: row.active_at,
        fired_at: row.fired_at,
        resolved_at: row.resolved_at,
        keep_firing_since: row.keep_firing_since,
    }
}

pub(crate) fn silent(rule: &Rule) -> Verdict {
    match rule.no_data {
        NoData::Show => Verdict::NoData,
        NoData::Alert => Verdict::Breach,
        NoData::Ok => Verdict::Clear,
    }
}

fn measured(subject: &Subject<'_>) -> (Verdict, Evidence) {
    let rule = subject.rule;
    let judged = threshold::judge(subject.pane, &rule.measure, rule.quantile, rule.min_events);
    let verdict = match &judged {
        threshold::Judged::NoData => silent(rule),
        threshold::Judged::TooLittle(_) => Verdict::Insufficient,
        threshold::Judged::Measured(estimate) if rule.bound.breached(estimate.value) => Verdict::Breach,
        threshold::Judged::Measured(_) => Verdict::Clear,
    };
    let estimate = judged.estimate();
    let evidence = Evidence {
        value: estimate.map(|e| e.value),
        low: estimate.and_then(|e| e.interval.low),
        high: estimate.and_then(|e| e.interval.high),
        sketch_error: if rule.quantile.is_some() { RELATIVE_ERROR } else { 0.0 },
        ..bare(subject)
    };
    (verdict, evidence)
}

/// Evidence without a value.
pub(crate) fn bare(subject: &Subject<'_>) -> Evidence {
    let rule = subject.rule;
    Evidence {
        measure: rule.measure.to_string(),
        quantile: rule.quantile,
        unit: rule.measure.unit(),
        value: None,
        low: None,
        high: None,
        sketch_error: 0.0,
        n: Measure::events(&rule.measure, subject.pane, rule.quantile),
        direction: rule.bound.name().to_owned(),
        threshold: rule.bound.limit(),
        min_events: rule.min_events,
        window_start: subject.start,
        window_end: subject.end,
        coverage: subject.coverage,
        drift: None,
        usual: None,
        moved: None,
    }
}

fn finding(subject: &Subject<'_>, from: State, to: State, evidence: &Evidence) -> Finding {
    Finding {
        id: format!("{}-{}", subject.print, subject.end / SECOND),
        rule: subject.rule.id.clone(),
        rule_version: subject.rule.version.clone(),
        fingerprint: subject.print.to_owned(),
        from,
        to,
        at: subject.end,
        evidence: evidence.clone(),
    }
}

/// Label sets of the rule with the merged panes of their series.
pub(crate) fn by_instance(rule: &Rule, panes: Vec<SeriesPane>) -> BTreeMap<AlertLabels, Pane> {
    let mut merged: BTreeMap<AlertLabels, Pane> = BTreeMap::new();
    for series in panes {
        if rule.matches(&series.labels) {
            merged.entry(rule.instance(&series.labels)).or_default().merge(&series.pane);
        }
    }
    // A rule over all traffic always has its one instance.
    if rule.by.is_empty() {
        merged.entry(AlertLabels::new()).or_default();
    }
    merged
}
