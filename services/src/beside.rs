//! Drift rules: what a window is held beside, and what that says.
//!
//! A reference is a time, another slice, the version before the newest, or the newest run of a golden set.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use leeway_alerts::reference::Reference;
use leeway_alerts::rule::{Drift, Rule};
use leeway_alerts::state::Verdict;
use leeway_core::alert::{AlertLabels, DriftEvidence, Evidence, State, Uncovered, Versions};
use leeway_core::clock::{DAY, HOUR, MINUTE, Micros};
use leeway_core::drift::Direction;
use leeway_core::measure::{Measure, Sample};
use leeway_core::pane::Pane;
use leeway_detectors::drift;
use leeway_store::SeriesPane;

use crate::evaluate::{Evaluator, Subject, bare, by_instance, silent};
use crate::golden::Golden;
use crate::inventory::{self, Item, WATCHED};

/// Days before a version came whose same hours it is held beside.
const DAYS: i64 = 7;
/// What runs is looked at again after this time, where a version stays unknown: one that the cap folded always does.
const LOOK_AGAIN: Micros = 10 * MINUTE;

/// What an instance's window is held beside.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held {
    /// What it has of the rule's measure; `None`: nothing.
    sample: Option<Sample>,
    /// What it is made of, where that is calls.
    pane: Option<Pane>,
    /// From the beginning of its first window to the end of its last.
    times: (Micros, Micros),
    /// What it is, where its times do not say all.
    words: String,
    versions: Option<Versions>,
    uncovered: Vec<Uncovered>,
}

impl Held {
    fn of(rule: &Rule, pane: Pane, times: (Micros, Micros), words: String) -> Self {
        Self { sample: rule.measure.sample(&pane), pane: Some(pane), times, words, ..Self::default() }
    }
}

pub(crate) type References = BTreeMap<AlertLabels, Held>;
/// Label sets with their calls.
type Panes = BTreeMap<AlertLabels, Pane>;

impl Evaluator {
    /// A drift rule's instances at a window, and what each is held beside.
    pub(crate) async fn held_beside(
        &mut self,
        rule: &Rule,
        reference: Reference,
        end: Micros,
    ) -> Result<(Panes, References)> {
        match reference {
            Reference::Previous(label) => self.versions(rule, label, end).await,
            Reference::GoldenSet => self.golden_set(rule, end).await,
            _ => Ok((self.instances(rule, end - rule.window, end).await?, self.times(rule, reference, end).await?)),
        }
    }

    /// Other times, or another slice. A fixed reference that lies behind is read once and remembered.
    async fn times(&mut self, rule: &Rule, reference: Reference, end: Micros) -> Result<References> {
        let key = (rule.id.clone(), rule.version.clone());
        if let Some(known) = self.memory.references.get(&key) {
            return Ok(known.clone());
        }
        let windows = reference.windows(end - rule.window, end);
        let held = self.over(&rule.of_reference(), &windows).await?;
        let of = |(labels, (pane, held))| (labels, Held::of(rule, pane, span(&windows), rule.reference_words(held)));
        let held: References = held.into_iter().map(of).collect();
        if let Reference::Fixed { to, .. } = reference
            && to < end - DAY
        {
            self.memory.references.insert(key, held.clone());
        }
        Ok(held)
    }

    /// A rule's instances over windows together, and in how many of them each was.
    async fn over(&self, rule: &Rule, windows: &[(Micros, Micros)]) -> Result<BTreeMap<AlertLabels, (Pane, usize)>> {
        let mut merged: BTreeMap<AlertLabels, (Pane, usize)> = BTreeMap::new();
        for (from, to) in windows {
            let (mut window, mut start) = (Panes::new(), *from);
            while start < *to {
                let stop = (start + DAY).min(*to);
                // Hours hold what their minutes held, and are kept for longer.
                let panes = self.store.hours(rule.level(), rule.tenant(), start, stop).await?;
                for (labels, pane) in by_instance(rule, panes) {
                    window.entry(labels).or_default().merge(&pane);
                }
                start = stop;
            }
            for (labels, pane) in window {
                let (all, held) = merged.entry(labels).or_default();
                all.merge(&pane);
                *held += usize::from(pane.calls() > 0);
            }
        }
        Ok(merged)
    }

    /// The newest version of each instance that has enough calls, beside the newest before it that had enough at the
    /// same hours of the days before.
    async fn versions(&mut self, rule: &Rule, label: &'static str, end: Micros) -> Result<(Panes, References)> {
        let wide = Rule { by: rule.by.iter().cloned().chain([label.to_owned()]).collect(), ..rule.clone() };
        let from = end - rule.window;
        let mut now: BTreeMap<AlertLabels, BTreeMap<String, Pane>> = BTreeMap::new();
        for (mut labels, pane) in self.instances(&wide, from, end).await? {
            let version = labels.remove(label).unwrap_or_default();
            now.entry(labels).or_default().insert(version, pane);
        }
        self.know((rule, label), &now, end).await?;
        let enough = |pane: &Pane| Measure::events(&rule.measure, pane, None) >= rule.min_events;
        let mut newest: BTreeMap<AlertLabels, (Order, Pane)> = BTreeMap::new();
        let (mut present, mut held) = (Panes::new(), References::new());
        for (labels, versions) in now {
            let orders = self.orders(rule, label, &labels);
            let known = versions.iter().filter_map(|(version, pane)| {
                let order = orders.iter().find(|order| order.version == *version)?;
                Some((enough(pane), order, pane))
            });
            // Some calls of a version that nobody else uses yet are not what runs.
            match known.max_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1))) {
                Some((_, order, pane)) => _ = newest.insert(labels, (order.clone(), pane.clone())),
                None => {
                    let mut all = Pane::default();
                    versions.values().for_each(|pane| all.merge(pane));
                    present.insert(labels.clone(), all);
                    let words = format!("no call says a {label} that is known");
                    held.insert(labels, Held { times: (from, end), words, ..Held::default() });
                }
            }
        }
        // Instances whose version came on the same day are held beside the same windows.
        let days: BTreeSet<i64> = newest.values().map(|(order, _)| order.first_day).collect();
        for day in days {
            let windows = before(day, (from, end));
            let past = self.over(&wide, &windows).await?;
            for (labels, (order, _)) in newest.iter().filter(|(_, (order, _))| order.first_day == day) {
                let pane = |version: &str| {
                    let mut labels = labels.clone();
                    labels.insert(label.to_owned(), version.to_owned());
                    past.get(&labels).cloned().unwrap_or_default()
                };
                let mut earlier: Vec<Order> = self.orders(rule, label, labels);
                earlier.retain(|other| other < order);
                earlier.sort_by(|a, b| b.cmp(a));
                let first = earlier.iter().find(|order| enough(&pane(&order.version).0)).or(earlier.first());
                held.insert(labels.clone(), earlier_held(rule, (label, order, first), &windows, pane));
            }
        }
        present.extend(newest.into_iter().map(|(labels, (_, pane))| (labels, pane)));
        Ok((present, held))
    }

    /// Looks again at what runs, where an instance shows a version that was not known: once series are new, or a while after.
    async fn know(
        &mut self,
        (rule, label): (&Rule, &'static str),
        now: &BTreeMap<AlertLabels, BTreeMap<String, Pane>>,
        end: Micros,
    ) -> Result<()> {
        let knows = |(labels, versions): (&AlertLabels, &BTreeMap<String, Pane>)| {
            let orders = self.orders(rule, label, labels);
            versions.keys().all(|version| version.is_empty() || orders.iter().any(|order| order.version == *version))
        };
        if now.iter().all(knows) {
            return Ok(());
        }
        let (newest, Running { as_of, at, .. }) = (self.store.newest_series().await?, &self.memory.running);
        if newest != *as_of || end - at >= LOOK_AGAIN {
            let items = inventory::read(&self.store, i64::MAX).await?;
            self.memory.running = Running { as_of: newest, at: end, items };
        }
        Ok(())
    }

    /// The versions of an instance's app, as they came.
    fn orders(&self, rule: &Rule, label: &'static str, labels: &AlertLabels) -> Vec<Order> {
        let one = |name: &str| {
            let named = rule.matches.get(name).filter(|values| values.len() == 1).map(|values| &values[0]);
            labels.get(name).or(named)
        };
        let (app, tenant) = (one("app"), one("tenant"));
        let mut orders: BTreeMap<&str, Order> = BTreeMap::new();
        let fits = |item: &&Item| {
            item.kind == kind(label)
                && app.is_none_or(|app| *app == item.app)
                && tenant.is_none_or(|tenant| *tenant == item.tenant)
        };
        for item in self.memory.running.items.iter().filter(fits) {
            let order =
                Order { first_day: item.first_day, first_seen_at: item.first_seen_at, version: item.value.clone() };
            let known = orders.entry(&item.value).or_insert_with(|| order.clone());
            if order < *known {
                *known = order;
            }
        }
        orders.into_values().collect()
    }

    /// The newest run of the rule's suite, of each instance's tenant and app.
    async fn golden_set(&mut self, rule: &Rule, end: Micros) -> Result<(Panes, References)> {
        let runs: Vec<Golden> =
            self.store.suite_runs(&rule.suite, end, Golden::RUNS).await?.iter().filter_map(Golden::of).collect();
        let panes = self.store.panes(leeway_core::labels::Level::Leaf, rule.tenant(), end - rule.window, end).await?;
        let mut slices: BTreeMap<AlertLabels, Slices> = BTreeMap::new();
        for series in panes.iter().filter(|series| rule.matches(&series.labels)) {
            take(slices.entry(rule.instance(&series.labels)).or_default(), series);
        }
        let present = by_instance(rule, panes);
        let mut held = References::new();
        for labels in present.keys() {
            let scope: BTreeMap<&str, &str> = rule
                .matches
                .iter()
                .filter(|(_, values)| values.len() == 1)
                .map(|(name, values)| (name.as_str(), values[0].as_str()))
                .chain(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())))
                .collect();
            let Some(run) = runs.iter().find(|run| run.is_of(&scope)) else {
                let words = format!("no run of the golden set {} is known", rule.suite);
                held.insert(labels.clone(), Held { times: (end, end), words, ..Held::default() });
                continue;
            };
            let (sample, words) = run.sample(&rule.measure, &scope);
            let empty = Slices::new();
            let (uncovered, unknown) = run.uncovered(slices.get(labels).unwrap_or(&empty));
            let words = format!("golden set {}{words}{unknown}", run.name);
            held.insert(labels.clone(), Held { sample, times: run.times, words, uncovered, ..Held::default() });
        }
        Ok((present, held))
    }
}

/// Calls by label and value.
pub(crate) type Slices = BTreeMap<String, BTreeMap<String, u64>>;

fn take(slices: &mut Slices, series: &SeriesPane) {
    for (label, value) in &series.labels.values {
        *slices.entry(label.clone()).or_default().entry(value.clone()).or_default() += series.pane.calls();
    }
}

/// What each app runs, as it was when the newest series was of this time, and at which window it was looked at.
#[derive(Debug, Default)]
pub(crate) struct Running {
    as_of: Micros,
    at: Micros,
    items: Vec<Item>,
}

/// When a version came.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Order {
    /// The day of its first call, as far as days are kept.
    first_day: i64,
    /// When it was first heard of.
    first_seen_at: Micros,
    version: String,
}

/// The inventory's word for a label.
fn kind(label: &str) -> &'static str {
    WATCHED.iter().find(|(name, _)| *name == label).map_or("", |(_, kind)| kind)
}

/// The hours of a window on each of the last days before one.
fn before(day: i64, (from, to): (Micros, Micros)) -> Vec<(Micros, Micros)> {
    let (from, to) = (from.div_euclid(HOUR) * HOUR, (to + HOUR - 1).div_euclid(HOUR) * HOUR);
    let first = (to - day * DAY + DAY - 1).div_euclid(DAY).max(1);
    (first..first + DAYS).rev().map(|back| (from - back * DAY, to - back * DAY)).collect()
}

/// These windows again, from the beginning of the first to the end of the last.
pub(crate) fn windows_of((from, to): (Micros, Micros)) -> Vec<(Micros, Micros)> {
    (0..DAYS).map(|day| (from + day * DAY, to - (DAYS - 1 - day) * DAY)).collect()
}

fn span(windows: &[(Micros, Micros)]) -> (Micros, Micros) {
    windows.first().zip(windows.last()).map_or((0, 0), |((from, _), (_, to))| (*from, *to))
}

/// What a version is held beside: the one before it, if there is one.
fn earlier_held(
    rule: &Rule,
    (label, now, before): (&str, &Order, Option<&Order>),
    windows: &[(Micros, Micros)],
    pane: impl Fn(&str) -> (Pane, usize),
) -> Held {
    let Some(before) = before else {
        let words = format!("no {label} before {} is known", now.version);
        return Held { times: span(windows), words, ..Held::default() };
    };
    let (pane, held) = pane(&before.version);
    let words = format!(
        "{label} {} beside {}, the same hours of the {DAYS} days before it came; {held} of them have data",
        now.version, before.version
    );
    let (before, now) = (before.version.clone(), now.version.clone());
    let versions = Some(Versions { label: label.to_owned(), before, now });
    Held { versions, ..Held::of(rule, pane, span(windows), words) }
}

/// A window against its reference: both gates, evidence and effect.
pub(crate) fn compared(subject: &Subject<'_>, asked: Drift) -> (Verdict, Evidence) {
    let (rule, measure) = (subject.rule, &subject.rule.measure);
    let windows = asked.reference.windows(subject.end - rule.window, subject.end);
    let nothing = Held { times: span(&windows), words: rule.reference_words(0), ..Held::default() };
    let held = subject.held.unwrap_or(&nothing);
    let now = measure.sample(subject.pane).unwrap_or(Sample::Means(None));
    let alike = held.pane.as_ref().is_none_or(|before| measure.comparable(before, subject.pane));
    let (outcome, cells) =
        drift::compare_samples(asked.test, (held.sample.as_ref(), &now), measure.scale(), rule.min_events);
    let outcome = if alike { outcome } else { Err(drift::Inconclusive::OtherSource) };
    let (verdict, found) = match outcome {
        Ok(found) if found.p <= asked.alpha && rule.bound.breached(asked.direction.size(found.effect)) => {
            (Verdict::Breach, Some(found))
        }
        Ok(found) => (Verdict::Clear, Some(found)),
        Err(drift::Inconclusive::NoData) => (silent(rule), None),
        // One value, the same in both windows.
        Err(drift::Inconclusive::Alike) => (Verdict::Clear, None),
        Err(_) => (Verdict::Insufficient, None),
    };
    // Of a slice that is gone nothing can be said any more; what it told must not fire for ever.
    let gone = matches!(asked.reference, Reference::Slice)
        && subject.before.is_some_and(|row| row.state == State::Firing)
        && matches!(verdict, Verdict::NoData | Verdict::Insufficient);
    let verdict = if gone { Verdict::Clear } else { verdict };
    let evidence = Evidence {
        unit: asked.test.unit(measure),
        value: found.map(|found| found.effect),
        low: found.and_then(|found| found.interval.low),
        high: found.and_then(|found| found.interval.high),
        n: now.n(),
        direction: direction(asked),
        drift: Some(DriftEvidence {
            reference_from: held.times.0,
            reference_to: held.times.1,
            reference_words: held.words.clone(),
            reference_n: held.sample.as_ref().map_or(0, Sample::n),
            p: found.map(|found| found.p),
            test: asked.test.id().to_owned(),
            alpha: asked.alpha,
            bins: found.map(|_| drift::psi::deciles(&cells)).unwrap_or_default(),
            versions: held.versions.clone(),
            uncovered: held.uncovered.clone(),
        }),
        ..bare(subject)
    };
    (verdict, evidence)
}

/// Which effects the rule is about, in words.
fn direction(asked: Drift) -> String {
    match asked.direction {
        Direction::Up => "up by more than",
        Direction::Down => "down by more than",
        Direction::Both if asked.test.signed() => "off by more than",
        Direction::Both => "above",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_held_beside_the_same_hours_of_the_days_before_it_came() {
        // It came on day 10; ten past three on that day, and two days later.
        for now in [10, 12] {
            let end = now * DAY + 3 * HOUR + 10 * MINUTE;
            let windows = before(10, (end - 5 * MINUTE, end));
            let expected: Vec<_> = (3..10).map(|day| (day * DAY + 3 * HOUR, day * DAY + 4 * HOUR)).collect();
            assert_eq!(windows, expected);
            assert_eq!(windows_of(span(&windows)), expected);
        }
        // A window over midnight ends before the day as well.
        let windows = before(10, (10 * DAY - HOUR, 10 * DAY + HOUR));
        assert_eq!((windows.len(), windows[6]), (7, (9 * DAY - HOUR, 9 * DAY + HOUR)));
    }
}
