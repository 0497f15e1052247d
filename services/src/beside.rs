//! Drift rules: what a window is held beside, and what that says.
//!
//! A reference is a time, another slice, the version before the newest (`versions.rs`), or the newest run of a golden set (`golden.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use leeway_alerts::reference::Reference;
use leeway_alerts::rule::{Drift, Rule};
use leeway_alerts::state::Verdict;
use leeway_core::alert::{AlertLabels, DriftEvidence, Evidence, MovedShare, MovedWords, State, Uncovered, Versions};
use leeway_core::clock::{DAY, HOUR, Micros};
use leeway_core::drift::{Direction, Test};
use leeway_core::measure::{Measure, Sample};
use leeway_core::pane::Pane;
use leeway_core::table::Table;
use leeway_core::words::{Of, Vocabulary, Words};
use leeway_detectors::drift;
use leeway_detectors::drift::classifier;
use leeway_detectors::drift::words::Gates;
use leeway_store::{AlertRow, SeriesPane};

use crate::evaluate::{Evaluator, Subject, bare, by_instance, silent};
use crate::golden::Golden;
use crate::wording;

/// Windows whose words are read by the minute, so that there are stretches enough; of longer ones by the hour, and where minutes are no longer kept.
const MINUTES: Micros = 17 * HOUR;
/// Stretches of time whose words are told apart before they are joined to some with about as many texts.
const STEPS: Micros = 64;

/// What an instance's window is held beside.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held {
    /// What it has of the rule's measure; `None`: nothing.
    pub sample: Option<Sample>,
    /// What it is made of, where that is calls.
    pub pane: Option<Pane>,
    /// Its words and the present's by stretches of time, where a classifier asks for them.
    pub stretches: [Vec<Words>; 2],
    /// From the beginning of its first window to the end of its last.
    pub times: (Micros, Micros),
    /// What it is, where its times do not say all.
    pub words: String,
    pub versions: Option<Versions>,
    pub uncovered: Vec<Uncovered>,
    /// The question is closed: the version is old, or no longer runs.
    pub closed: bool,
    /// There is nothing to hold it beside, and never will be.
    pub gone: bool,
}

impl Held {
    pub fn of(rule: &Rule, pane: Pane, times: (Micros, Micros), words: String) -> Self {
        Self { sample: rule.measure.sample(&pane), pane: Some(pane), times, words, ..Self::default() }
    }

    /// A reference that has nothing of an instance.
    fn nothing((rule, asked): (&Rule, Drift), end: Micros) -> Self {
        let windows = asked.reference.windows(end - rule.window, end);
        Self { times: span(&windows), words: rule.reference_words(0), ..Self::default() }
    }
}

/// Words by the step of a window's time.
type Tables = BTreeMap<AlertLabels, BTreeMap<Micros, Words>>;
pub(crate) type References = BTreeMap<AlertLabels, Held>;
/// Label sets with their calls.
pub(crate) type Panes = BTreeMap<AlertLabels, Pane>;

impl Evaluator {
    /// A drift rule's instances at a window, and what each is held beside.
    pub(crate) async fn held_beside(
        &mut self,
        (rule, asked): (&Rule, Drift),
        end: Micros,
        before: &BTreeMap<String, AlertRow>,
    ) -> Result<(Panes, References)> {
        let reference = asked.reference;
        match reference {
            Reference::Previous(label) => self.versions((rule, asked.test, label), end, before).await,
            Reference::GoldenSet => self.golden_set((rule, asked), end).await,
            _ => {
                let mut held = self.times((rule, asked), end).await?;
                let window = (end - rule.window, end);
                if let (Test::Classifier, Measure::Words(of)) = (asked.test, &rule.measure) {
                    for (labels, now) in self.stretches((rule, *of), &[window]).await? {
                        held.entry(labels).or_insert_with(|| Held::nothing((rule, asked), end)).stretches[1] = now;
                    }
                }
                Ok((self.instances(rule, window.0, end).await?, held))
            }
        }
    }

    /// Other times, or another slice. A fixed reference that lies behind is read once and remembered.
    async fn times(&mut self, (rule, asked): (&Rule, Drift), end: Micros) -> Result<References> {
        let reference = asked.reference;
        let key = (rule.id.clone(), rule.version.clone());
        if let Some(known) = self.memory.references.get(&key) {
            return Ok(known.clone());
        }
        let windows = reference.windows(end - rule.window, end);
        let held = self.over(&rule.of_reference(), &windows).await?;
        let of = |(labels, (pane, held))| (labels, Held::of(rule, pane, span(&windows), rule.reference_words(held)));
        let mut held: References = held.into_iter().map(of).collect();
        if let (Test::Classifier, Measure::Words(of)) = (asked.test, &rule.measure) {
            for (labels, before) in self.stretches((&rule.of_reference(), *of), &windows).await? {
                held.entry(labels).or_insert_with(|| Held::nothing((rule, asked), end)).stretches[0] = before;
            }
        }
        if let Reference::Fixed { to, .. } = reference
            && to < end - DAY
        {
            self.memory.references.insert(key, held.clone());
        }
        Ok(held)
    }

    /// A rule's instances over windows together, and in how many of them each was.
    pub(crate) async fn over(
        &self,
        rule: &Rule,
        windows: &[(Micros, Micros)],
    ) -> Result<BTreeMap<AlertLabels, (Pane, usize)>> {
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

    /// The words of a rule's instances by stretches of windows' time.
    async fn stretches(
        &self,
        (rule, words): (&Rule, Of),
        windows: &[(Micros, Micros)],
    ) -> Result<BTreeMap<AlertLabels, Vec<Words>>> {
        let span: Micros = windows.iter().map(|(from, to)| to - from).sum();
        let mut tables = Tables::new();
        if span <= MINUTES {
            tables = self.tables((rule, words), windows, true).await?;
        }
        if tables.is_empty() {
            tables = self.tables((rule, words), windows, false).await?;
        }
        Ok(tables.into_iter().map(|(labels, tables)| (labels, classifier::stretches(tables.into_values()))).collect())
    }

    async fn tables(&self, (rule, words): (&Rule, Of), windows: &[(Micros, Micros)], minutes: bool) -> Result<Tables> {
        let span: Micros = windows.iter().map(|(from, to)| to - from).sum();
        let (step, mut tables, mut passed) = ((span / STEPS).max(1), Tables::new(), 0);
        for (from, to) in windows {
            let mut start = *from;
            while start < *to {
                let stop = (start + DAY).min(*to);
                let panes = if minutes {
                    self.store.steps(rule.level(), rule.tenant(), start..stop, step).await?
                } else {
                    self.store.hours(rule.level(), rule.tenant(), start, stop).await?
                };
                for series in panes.iter().filter(|series| rule.matches(&series.labels)) {
                    let Some(words) = series.pane.words(words) else { continue };
                    let place = (passed + series.window_start - from) / step;
                    let instance = tables.entry(rule.instance(&series.labels)).or_default();
                    instance.entry(place).or_default().merge(words);
                }
                start = stop;
            }
            passed += to - from;
        }
        Ok(tables)
    }

    /// The newest run of the rule's suite that is of each instance's tenant, app and of what it runs.
    async fn golden_set(&mut self, (rule, asked): (&Rule, Drift), end: Micros) -> Result<(Panes, References)> {
        let rows = self.store.suite_runs(&rule.suite, rule.tenant(), end, Golden::RUNS).await?;
        let runs: Vec<Golden> = rows.iter().filter_map(Golden::of).collect();
        let present = self.instances(rule, end - rule.window, end).await?;
        let slices = self.slices(rule, end).await?;
        let needed = rule.min_events.max(drift::of(asked.test).needs());
        let (mut held, none) = (References::new(), Slices::new());
        for labels in present.keys() {
            let named = rule.matches.iter().filter(|(_, values)| values.len() == 1);
            let scope: BTreeMap<&str, &str> = named
                .map(|(name, values)| (name.as_str(), values[0].as_str()))
                .chain(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())))
                .collect();
            held.insert(
                labels.clone(),
                beside_golden(rule, &runs, (&scope, slices.get(labels).unwrap_or(&none)), (needed, end)),
            );
        }
        Ok((present, held))
    }

    /// What the instances' calls are about: in the window, of a window beyond an hour in its last whole hour with calls.
    async fn slices(&mut self, rule: &Rule, end: Micros) -> Result<Arc<BTreeMap<AlertLabels, Slices>>> {
        let (hour, short) = (end.div_euclid(HOUR) * HOUR, rule.window <= HOUR);
        let (mut from, mut to) = if short { (end - rule.window, end) } else { (hour - HOUR, hour) };
        if let Some((of, known)) = self.memory.slices.get(&rule.id)
            && *of == to
        {
            return Ok(Arc::clone(known));
        }
        let (of, mut slices) = (to, BTreeMap::<AlertLabels, Slices>::new());
        while slices.is_empty() && from >= end - rule.window {
            let panes = self.store.hours(leeway_core::labels::Level::Leaf, rule.tenant(), from, to).await?;
            for series in panes.iter().filter(|series| rule.matches(&series.labels)) {
                take(slices.entry(rule.instance(&series.labels)).or_default(), series);
            }
            (from, to) = (from - HOUR, to - HOUR);
        }
        let slices = Arc::new(slices);
        self.memory.slices.insert(rule.id.clone(), (of, Arc::clone(&slices)));
        Ok(slices)
    }
}

/// The newest of the runs that goes with a scope, has enough of the measure, and is of what runs; without one that has enough the newest of the others.
fn beside_golden(
    rule: &Rule,
    runs: &[Golden],
    (scope, live): (&BTreeMap<&str, &str>, &Slices),
    (needed, end): (u64, Micros),
) -> Held {
    let fitting: Vec<&Golden> = runs.iter().filter(|run| run.is_of(scope)).collect();
    let mut words = format!("no finished run of the golden set {} is known", rule.suite);
    let mut best: Option<(&Golden, Sample)> = None;
    for (place, run) in fitting.iter().enumerate() {
        let (sample, why) = match run.elsewhere(live) {
            Some(elsewhere) => (None, format!(": {elsewhere}")),
            None => run.sample(&rule.measure, scope),
        };
        if place == 0 {
            words = format!("golden set {}{why}", run.name);
        }
        let Some(sample) = sample else { continue };
        let enough = sample.n() >= needed;
        if enough || best.is_none() {
            best = Some((run, sample));
        }
        if enough {
            break;
        }
    }
    let Some((run, sample)) = best else {
        return Held { times: (end, end), words, gone: fitting.is_empty(), ..Held::default() };
    };
    let (uncovered, unknown) = run.uncovered(&rule.measure, live);
    let words = format!("golden set {}{unknown}", run.name);
    Held { sample: Some(sample), times: run.times, words, uncovered, ..Held::default() }
}

/// Calls by label and value.
pub(crate) type Slices = BTreeMap<String, BTreeMap<String, u64>>;

fn take(slices: &mut Slices, series: &SeriesPane) {
    for (label, value) in &series.labels.values {
        *slices.entry(label.clone()).or_default().entry(value.clone()).or_default() += series.pane.calls();
    }
}

pub(crate) fn span(windows: &[(Micros, Micros)]) -> (Micros, Micros) {
    windows.first().zip(windows.last()).map_or((0, 0), |((from, _), (_, to))| (*from, *to))
}

/// A window against its reference: both gates, evidence and effect.
pub(crate) fn compared(subject: &Subject<'_>, asked: Drift, vocabulary: &Vocabulary) -> (Verdict, Evidence) {
    let (rule, measure) = (subject.rule, &subject.rule.measure);
    let nothing = Held::nothing((rule, asked), subject.end);
    let held = subject.held.unwrap_or(&nothing);
    let now = measure.sample(subject.pane).unwrap_or(Sample::Means(None));
    let alike = held.pane.as_ref().is_none_or(|before| measure.comparable(before, subject.pane));
    let Said { outcome, cells, words, shares } = say((rule, asked), held, &now, vocabulary);
    let outcome = if alike { outcome } else { Err(drift::Inconclusive::OtherSource) };
    let untested = outcome.as_ref().err().map_or_else(String::new, ToString::to_string);
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
    // Of what is gone nothing can be said any more; what it told must not fire for ever.
    let gone = match asked.reference {
        Reference::Slice => matches!(verdict, Verdict::NoData | Verdict::Insufficient),
        Reference::Previous(_) | Reference::GoldenSet => held.gone && verdict == Verdict::Insufficient,
        _ => false,
    };
    let gone = gone && subject.before.is_some_and(|row| row.state == State::Firing);
    let verdict = if gone || held.closed { Verdict::Clear } else { verdict };
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
            untested,
            test: asked.test.id().to_owned(),
            alpha: asked.alpha,
            bins: found.map(|_| drift::psi::deciles(&cells)).unwrap_or_default(),
            // An open alert is about its versions, whatever can be said of them at the moment.
            versions: held.versions.clone().or_else(|| told_of(subject)),
            uncovered: held.uncovered.clone(),
            words,
            shares,
        }),
        ..bare(subject)
    };
    (verdict, evidence)
}

/// What the test says of two windows.
struct Said {
    outcome: Result<drift::Verdict, drift::Inconclusive>,
    cells: Vec<drift::Cell>,
    words: Option<MovedWords>,
    shares: Vec<MovedShare>,
}

/// Categories that are told.
const CATEGORIES: usize = 3;

/// Which categories' shares differ.
pub(crate) fn shares(table: Table, before: Option<&Sample>, now: &Sample) -> Vec<MovedShare> {
    let (Some(Sample::Table(before)), Sample::Table(now)) = (before, now) else { return Vec::new() };
    let named = |moved: drift::tables::Moved| MovedShare {
        category: table.category(moved.place as u8).to_owned(),
        before: moved.before,
        now: moved.now,
    };
    drift::tables::moved(before, now).into_iter().take(CATEGORIES).map(named).collect()
}

fn say((rule, asked): (&Rule, Drift), held: &Held, now: &Sample, vocabulary: &Vocabulary) -> Said {
    let (before, [was, is]) = (held.sample.as_ref(), &held.stretches);
    let Sample::Words(now) = now else {
        let (outcome, cells) = drift::compare_samples(asked.test, (before, now), rule.measure.scale(), rule.min_events);
        let shares = if let Measure::Table(table) = rule.measure { shares(table, before, now) } else { Vec::new() };
        return Said { outcome, cells, words: None, shares };
    };
    let none = Words::default();
    let before = if let Some(Sample::Words(before)) = before { before } else { &none };
    let gates = Gates { alpha: asked.alpha, least: rule.bound.limit(), direction: asked.direction };
    let said = if asked.test == Test::Classifier {
        wording::classified((was, is), rule.min_events, gates, vocabulary)
    } else {
        wording::compared((before, now), rule.min_events, gates, vocabulary)
    };
    let (outcome, words) = match said {
        Ok((verdict, words)) => (Ok(verdict), Some(words)),
        Err(reason) => (Err(reason), None),
    };
    Said { outcome, cells: Vec::new(), words, shares: Vec::new() }
}

/// The versions that an open alert is about.
fn told_of(subject: &Subject<'_>) -> Option<Versions> {
    let open = subject.before.filter(|row| matches!(row.state, State::Firing | State::Pending));
    open.and_then(|row| row.evidence.drift.as_ref()).and_then(|drift| drift.versions.clone())
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
