//! Where the figure of an alert that fires moved: by which label's values, how much of it is mix, and what was changed there.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use leeway_alerts::rule::{Bound, Kind, Rule};
use leeway_core::alert::{AlertLabels, Finding, State};
use leeway_core::clock::{DAY, HOUR, MINUTE, Micros, day_of};
use leeway_core::drift::Direction;
use leeway_core::embedding::{Embeddings, FEATURES};
use leeway_core::event::RecordKind;
use leeway_core::interval::{LEVEL, z};
use leeway_core::labels::{Labels, Level};
use leeway_core::measure::{Measure, Unit};
use leeway_core::moved::{Carrier, Changed, Moved, Part};
use leeway_core::pane::Pane;
use leeway_core::sketch::middle;
use leeway_core::table::Table;
use leeway_core::words::Of;
use leeway_detectors::decompose::{self, Side, Slice, decompose};
use leeway_detectors::drift::mmd;
use leeway_store::{EvaluationWrite, Kept, SeriesPane, Store, Which};

use crate::report::change_line;
use crate::versions::windows_of;
use crate::why::side_of;

/// Alerts of one rule that are taken apart at one moment.
const MOST: usize = 20;
/// What is held beside the present needs so many calls.
const LEAST: u64 = 30;
/// The present of a change that began earlier is its last hours.
const PRESENT: Micros = 3 * HOUR;
/// Finest series of a day up to which they are read; beyond, those by tenant, app and model are.
const FINEST: u64 = 5_000;
/// Values of a label that are told apart, the busiest; the rest are one.
const VALUES: usize = 100;
/// A value is told if its part of the change is more than its share of the calls by so much.
const LIFT: f64 = 0.15;
const TOLD: usize = 3;
/// A value is told if what it adds is so many of its own deviations: by chance one of some hundreds is.
const SURE: f64 = 3.0;
/// How far the slices may miss the figure, as a part of its change: beyond it they are not its parts.
const MISSES: f64 = 0.05;
/// Changes so long before the present, or what it is held beside, may have caused it.
const LEAD: Micros = 2 * HOUR;
const CHANGES: i64 = 5_000;
/// A page does not wait for its explanation: what takes longer is told as that.
const WITHIN: Duration = Duration::from_secs(5);

/// What of a pane is taken apart.
enum Figure<'a> {
    /// The share of values beyond a bound, in the sketch's numbers.
    Beyond(&'a Measure, Bound),
    /// The mean logarithm of the values.
    Logarithm(&'a Measure),
    /// A mean: a rate, a score.
    Mean(&'a Measure),
    /// A number: of calls, of leaks, of dollars.
    Number(&'a Measure),
    /// The share of a table's category that moved furthest.
    Share(Measure),
    /// The share of texts that have the word at a place, and what it is called.
    Word(Of, u16, String),
    /// How far embeddings of a space lie on the way from where they were to where they are.
    Way(&'a str, Option<Box<Way>>),
}

/// From the middle of what was to the middle of what is.
struct Way {
    from: [f64; FEATURES],
    /// Of length 1.
    along: [f64; FEATURES],
    /// Standard deviation of all features.
    spread: f64,
}

impl Way {
    fn between(before: &Embeddings, now: &Embeddings) -> Option<Self> {
        let (from, away) = (before.mean(), mmd::away(before, now));
        let length = away.iter().map(|part| part * part).sum::<f64>().sqrt();
        let spread = mmd::spread(before, now);
        (length > 0.0).then(|| Self { from, along: away.map(|part| part / length), spread })
    }

    /// The mean of some, and its variance; in deviations from where they were. Few vectors, which may be alike, tell of their variance as if one more lay as
    /// far off as vectors do.
    fn of(&self, some: &Embeddings) -> (f64, Option<f64>) {
        let (mean, covariance) = (some.mean(), some.covariance());
        let dot = |row: &[f64; FEATURES]| row.iter().zip(&self.along).map(|(a, b)| a * b).sum::<f64>();
        let level = dot(&std::array::from_fn(|place| mean[place] - self.from[place]));
        let (n, variance) = (some.n() as f64, dot(&covariance.map(|row| dot(&row))) / self.spread.powi(2));
        (level / self.spread, (n > 1.0).then(|| (variance * n + 1.0) / (n + 1.0) / n))
    }
}

impl<'a> Figure<'a> {
    fn of(rule: &'a Rule, finding: &Finding) -> Self {
        let measure = &rule.measure;
        let drift = finding.evidence.drift.as_ref();
        let words = drift.and_then(|drift| drift.words.as_ref());
        let category = drift.and_then(|drift| drift.shares.first());
        match (rule.kind, measure) {
            (_, Measure::Words(of)) if let Some(word) = words.and_then(|words| words.moved.first()) => {
                Self::Word(*of, word.place, format!("share of {measure} with `{}`", word.word))
            }
            (_, Measure::Table(table)) if let Some(place) = category.and_then(|moved| table.place(&moved.category)) => {
                Self::Share(Measure::Category(*table, place))
            }
            (_, Measure::Embedding(space)) => Self::Way(space, None),
            (Kind::Threshold, _) if rule.quantile.is_some() => Self::Beyond(measure, rule.bound),
            (Kind::Drift(_) | Kind::Anomaly(_), _) if measure.takes_quantile() => Self::Logarithm(measure),
            _ if measure.is_rate() || measure.is_mean() || matches!(measure.unit(), Unit::Share | Unit::Score) => {
                Self::Mean(measure)
            }
            _ => Self::Number(measure),
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Beyond(measure, bound) => {
                format!("share of {measure} {} {}", bound.name(), measure.unit().show(bound.limit()))
            }
            Self::Logarithm(measure) => format!("geometric mean of {measure}"),
            Self::Mean(measure) | Self::Number(measure) => measure.to_string(),
            Self::Share(measure) => measure.to_string(),
            Self::Word(_, _, words) => words.clone(),
            Self::Way(space, _) => format!("mean of embedding.{space}, on the way from what was to what is"),
        }
    }

    /// Of levels, and of parts.
    fn units(&self) -> (Unit, Unit) {
        match self {
            Self::Beyond(..) | Self::Word(..) | Self::Share(_) => (Unit::Share, Unit::Share),
            Self::Way(..) => (Unit::Deviations, Unit::Deviations),
            Self::Logarithm(measure) => (measure.unit(), Unit::Change),
            Self::Mean(measure) | Self::Number(measure) => (measure.unit(), measure.unit()),
        }
    }

    /// What a pane counts and its level; of a number the level is the number itself.
    fn side(&self, pane: &Pane) -> Side {
        match self {
            Self::Beyond(measure, bound) => {
                let Some(sketch) = measure.sketch(pane).filter(|sketch| sketch.n() > 0) else { return Side::default() };
                let n = sketch.n() as f64;
                let (below, _) = sketch.at_most((bound.limit() / measure.scale()).max(0.0).round() as u64);
                let below = below as f64 / n;
                let share = if matches!(bound, Bound::Above(_)) { 1.0 - below } else { below };
                Side { n, level: Some(share), variance: Some(share * (1.0 - share) / n) }
            }
            Self::Logarithm(measure) => {
                let Some(sketch) = measure.sketch(pane).filter(|sketch| sketch.n() > 0) else { return Side::default() };
                let buckets = sketch.buckets();
                let logarithm = |bucket: u16| middle(bucket).max(0.5).ln();
                let n = sketch.n() as f64;
                let mean = buckets.iter().map(|(bucket, count)| logarithm(*bucket) * *count as f64).sum::<f64>() / n;
                let off = |(bucket, count): &(u16, u64)| (logarithm(*bucket) - mean).powi(2) * *count as f64;
                let variance = (n > 1.0).then(|| buckets.iter().map(off).sum::<f64>() / (n - 1.0) / n);
                Side { n, level: Some(mean), variance }
            }
            Self::Mean(measure) => measure.of(pane, None).map(side_of).unwrap_or_default(),
            Self::Share(measure) => measure.of(pane, None).map(side_of).unwrap_or_default(),
            Self::Word(of, place, _) => {
                let Some(words) = pane.words(*of) else { return Side::default() };
                let (n, hits) = (words.texts() as f64, words.of(*place) as f64);
                // Agresti and Coull's share: of few texts all with a word, or none, is not certain.
                let near = (hits + 2.0) / (n + 4.0);
                Side { n, level: Some(hits / n), variance: Some(near * (1.0 - near) / n) }
            }
            Self::Way(space, way) => {
                let Some((some, way)) = pane.embeddings().get(*space).zip(way.as_ref()) else { return Side::default() };
                let (level, variance) = way.of(some);
                Side { n: some.n() as f64, level: Some(level), variance }
            }
            Self::Number(measure) => {
                let level = measure.of(pane, None).map(|estimate| estimate.value);
                Side { n: pane.calls() as f64, level, variance: None }
            }
        }
    }

    fn level(&self, level: f64) -> f64 {
        match self {
            Self::Logarithm(measure) => level.exp() * measure.scale(),
            _ => level,
        }
    }

    fn part(&self, part: f64) -> f64 {
        if matches!(self, Self::Logarithm(_)) { part.exp_m1() } else { part }
    }

    /// Finds the way, which both sides tell.
    fn aim(&mut self, sliced: &Sliced) {
        if let Self::Way(space, way) = self {
            let of = |side: usize| sliced.whole[side].embeddings().get(*space);
            *way = of(BEFORE).zip(of(NOW)).and_then(|(before, now)| Way::between(before, now)).map(Box::new);
        }
    }

    fn is_number(&self) -> bool {
        matches!(self, Self::Number(_))
    }
}

/// The panes of an instance by label and value: the present, and what it is held beside.
#[derive(Default)]
struct Sliced {
    slices: BTreeMap<String, BTreeMap<String, [Pane; 2]>>,
    whole: [Pane; 2],
    tenants: BTreeSet<String>,
}

const NOW: usize = 0;
const BEFORE: usize = 1;

impl Sliced {
    fn take(&mut self, labels: &Labels, fixed: &BTreeSet<&str>, side: usize, pane: &Pane) {
        self.whole[side].merge(pane);
        self.tenants.insert(labels.tenant().to_owned());
        let folded = labels.get("overflow").is_some();
        for (name, value) in
            labels.values.iter().filter(|(name, _)| !fixed.contains(name.as_str()) && *name != "overflow")
        {
            let value = if folded && value.is_empty() { "(folded)" } else { value };
            let values = self.slices.entry(name.clone()).or_default();
            if let Some(panes) = values.get_mut(value) {
                panes[side].merge(pane);
            } else {
                values.entry(value.to_owned()).or_default()[side].merge(pane);
            }
        }
    }
}

/// When an alert that fires is looked at, and beside what.
struct Times {
    now: (Micros, Micros),
    /// The first of these that has enough is taken, all of its windows together.
    before: Vec<Vec<(Micros, Micros)>>,
    /// When the change began, as far as is known.
    since: Micros,
}

impl Times {
    fn of(rule: &Rule, finding: &Finding, active_at: Micros) -> Self {
        let end = finding.at;
        let now = (end - rule.window, end);
        match rule.kind {
            Kind::Drift(drift) => {
                // Of a long reference its last day.
                let last = |(from, to): (Micros, Micros)| (from.max(to - DAY), to);
                let held = finding.evidence.drift.as_ref().filter(|drift| drift.versions.is_some());
                let windows = held.map_or_else(
                    || drift.reference.windows(now.0, now.1),
                    |held| windows_of((held.reference_from, held.reference_to)),
                );
                let before = windows.into_iter().map(last).collect();
                Self { now, before: vec![before], since: now.0 }
            }
            Kind::Anomaly(_) => {
                let since = finding.evidence.usual.as_ref().and_then(|usual| usual.since).unwrap_or(now.0);
                let since = since.div_euclid(MINUTE) * MINUTE;
                let now = (since.max(end - PRESENT).min(now.0), end);
                let first = since.min(now.0);
                let back = |by: Micros| (now.0 - by, now.1 - by);
                let just = (first - (now.1 - now.0), first);
                // What had begun to change is no "before".
                let before = [back(7 * DAY), back(DAY), just].into_iter().filter(|(_, to)| *to <= first);
                Self { now, before: before.map(|window| vec![window]).collect(), since }
            }
            Kind::Threshold => {
                // The first window that was over the bound ended when the alert became active.
                let first = (active_at - rule.window).min(now.0);
                let back = (now.0 - DAY, now.1 - DAY);
                let before = vec![vec![(first - rule.window, first)], vec![back]];
                Self { now, before, since: first }
            }
        }
    }
}

/// What was read, by tenant and window: alerts that fire together read it once.
type Read = HashMap<(Option<String>, Level, Micros, Micros), Arc<Vec<SeriesPane>>>;

/// Tells of each alert that fires where its figure moved.
pub async fn explain(store: &Store, rule: &Rule, write: &mut EvaluationWrite) -> Result<()> {
    let fires = |finding: &&mut Finding| finding.to == State::Firing;
    let (mut read, until) = (Read::new(), tokio::time::Instant::now() + WITHIN);
    for (place, finding) in write.findings.iter_mut().filter(fires).enumerate() {
        let row = write.alerts.iter_mut().find(|row| row.fingerprint == finding.fingerprint);
        let Some(row) = row else { continue };
        let times = Times::of(rule, finding, row.active_at.unwrap_or(finding.at));
        let labels: AlertLabels = serde_json::from_str(&row.labels).context("read an alert's labels")?;
        let untold = |reason: &str| Moved::untold(reason, times.now, times.now);
        let moved = if place < MOST {
            let rule = pinned(rule, finding);
            match tokio::time::timeout_at(until, moved(store, (&rule, finding), (&labels, &times), &mut read)).await {
                Ok(Ok(moved)) => moved,
                // The alert matters more than where it is.
                Ok(Err(error)) => {
                    tracing::warn!(rule = rule.id, "where an alert's figure moved is not told: {error:#}");
                    untold("the store did not answer")
                }
                Err(_) => untold("reading it took too long"),
            }
        } else {
            untold(&format!("more than {MOST} alerts of the rule fired at once"))
        };
        let notices = write.notices.iter_mut().filter(|notice| notice.fingerprint == finding.fingerprint);
        notices.for_each(|notice| notice.evidence.moved = Some(moved.clone()));
        finding.evidence.moved = Some(moved.clone());
        row.evidence.moved = Some(moved);
    }
    Ok(())
}

/// A rule that chooses versions, with those that it chose.
fn pinned<'r>(rule: &'r Rule, finding: &Finding) -> Cow<'r, Rule> {
    let mut rule = Cow::Borrowed(rule);
    if let Some(versions) = finding.evidence.drift.as_ref().and_then(|drift| drift.versions.as_ref()) {
        let pinned = rule.to_mut();
        pinned.matches.insert(versions.label.clone(), vec![versions.now.clone()]);
        pinned.against.insert(versions.label.clone(), vec![versions.before.clone()]);
    }
    rule
}

async fn moved(
    store: &Store,
    (rule, finding): (&Rule, &Finding),
    (labels, times): (&AlertLabels, &Times),
    read: &mut Read,
) -> Result<Moved> {
    let mut figure = Figure::of(rule, finding);
    let tenant = rule.tenant().or_else(|| labels.get("tenant").map(String::as_str));
    let level = level(store, rule, tenant, times).await?;
    let scope = Scope { rule, labels, tenant, level };
    let mut sliced = Sliced::default();
    scope.read(store, read, (&mut sliced, NOW), times.now).await?;
    let mut held = times.now;
    for windows in &times.before {
        sliced.whole[BEFORE] = Pane::default();
        sliced.slices.values_mut().flat_map(BTreeMap::values_mut).for_each(|panes| panes[BEFORE] = Pane::default());
        for window in windows {
            scope.read(store, read, (&mut sliced, BEFORE), *window).await?;
        }
        held = windows.first().zip(windows.last()).map_or(held, |(first, last)| (first.0, last.1));
        if sliced.whole[BEFORE].calls() >= LEAST {
            break;
        }
    }
    figure.aim(&sliced);
    let mut moved = if sliced.whole[BEFORE].calls() < LEAST {
        let reason = if rule.suite.is_empty() {
            format!("there are fewer than {LEAST} calls of an earlier time to hold it beside")
        } else {
            "a golden set has no calls to hold it beside".to_owned()
        };
        Moved::untold(&reason, times.now, held)
    } else {
        apart(&figure, &sliced, times.now, held)
    };
    if let (Some(was), Some(is)) = (moved.level_before, moved.level_now)
        && !wanted(rule, is - was)
    {
        let words = moved.level_unit.show(was);
        let reason = format!("it was {words} in what it is held beside ({}), no better than now", figure.words());
        moved = Moved::untold(&reason, times.now, held);
    }
    moved.failures = failures(&rule.measure, &sliced);
    (moved.changes, moved.more_changes) = changes(store, &scope, &sliced, (&moved, times.since)).await?;
    Ok(moved)
}

/// Of a figure of failed calls: the classes that it is made of, what grew most first.
fn failures(measure: &Measure, sliced: &Sliced) -> Vec<Carrier> {
    if !matches!(measure, Measure::ErrorRate | Measure::Errors | Measure::Table(Table::Error)) {
        return Vec::new();
    }
    let [now, before] = [NOW, BEFORE].map(|side| &sliced.whole[side]);
    let level = |measure: &Measure, pane: &Pane| measure.of(pane, None).map(|found| found.value);
    let earlier = (before.calls() >= LEAST).then_some(before);
    let of = |measure: &Measure| (level(measure, now).unwrap_or(0.0), earlier.and_then(|pane| level(measure, pane)));
    let (is, was) = of(&Measure::ErrorRate);
    let change = is - was.unwrap_or(0.0);
    let class = |place: u8| {
        let (now, before) = of(&Measure::Category(Table::Error, place));
        let part = if change == 0.0 { 0.0 } else { (now - before.unwrap_or(0.0)) / change };
        let value = Table::Error.category(place).to_owned();
        Carrier { value, before, now: Some(now), share: if is > 0.0 { now / is } else { 0.0 }, part }
    };
    let mut classes: Vec<Carrier> = (0..Table::Error.categories().len() as u8).map(class).collect();
    classes.retain(|class| class.now > Some(0.0) || class.before > Some(0.0));
    let grew = |class: &Carrier| class.now.unwrap_or(0.0) - class.before.unwrap_or(0.0);
    classes.sort_by(|a, b| grew(b).abs().total_cmp(&grew(a).abs()));
    classes.truncate(TOLD);
    classes
}

/// Whether a change goes where the rule looks.
fn wanted(rule: &Rule, change: f64) -> bool {
    let direction = match (rule.kind, rule.bound) {
        (Kind::Threshold, Bound::Above(_)) => Direction::Up,
        (Kind::Threshold, Bound::Below(_)) => Direction::Down,
        (Kind::Drift(drift), _) => drift.direction,
        (Kind::Anomaly(asked), _) => asked.direction,
    };
    direction.size(change) > 0.0
}

/// The finest series, where there are not too many to read on any of the days.
async fn level(store: &Store, rule: &Rule, tenant: Option<&str>, times: &Times) -> Result<Level> {
    let windows = times.before.iter().flatten().chain([&times.now]);
    let days: BTreeSet<i64> = windows.flat_map(|(from, to)| [day_of(*from), day_of(*to - 1)]).collect();
    let mut most = 0;
    for day in days {
        most = most.max(store.series_on(tenant, day).await?);
    }
    Ok(if most <= FINEST { Level::Leaf } else { rule.level().max(Level::Model) })
}

/// Whose series are read.
struct Scope<'a> {
    rule: &'a Rule,
    labels: &'a AlertLabels,
    tenant: Option<&'a str>,
    level: Level,
}

impl Scope<'_> {
    async fn read(
        &self,
        store: &Store,
        read: &mut Read,
        (into, side): (&mut Sliced, usize),
        (from, to): (Micros, Micros),
    ) -> Result<()> {
        let rule = if side == BEFORE { self.rule.of_reference() } else { self.rule.clone() };
        let single = |(_, values): &(&String, &Vec<String>)| values.len() == 1;
        let set = self.rule.matches.iter().filter(single).map(|(name, _)| name.as_str());
        // What the rule compares is no slice of the comparison.
        let compared = self.rule.by.iter().chain(self.rule.against.keys()).map(String::as_str);
        let fixed = compared.chain(set).collect();
        let mut start = from;
        while start < to {
            let end = (start.div_euclid(HOUR) * HOUR + HOUR).min(to);
            let key = (self.tenant.map(str::to_owned), self.level, start, end);
            let panes = match read.get(&key) {
                Some(panes) => Arc::clone(panes),
                None => {
                    let panes = Arc::new(store.hours(self.level, self.tenant, start, end).await?);
                    read.insert(key, Arc::clone(&panes));
                    panes
                }
            };
            for series in panes.iter() {
                if rule.matches(&series.labels) && rule.instance(&series.labels) == *self.labels {
                    into.take(&series.labels, &fixed, side, &series.pane);
                }
            }
            start = end;
        }
        Ok(())
    }
}

/// One label's values as slices.
struct Cut<'a> {
    label: &'a str,
    values: Vec<(&'a str, Slice)>,
    /// How much more the told values carry than their calls would let expect.
    lift: f64,
    carriers: Vec<Carrier>,
}

/// Takes a change apart by the label that tells most.
fn apart(figure: &Figure<'_>, sliced: &Sliced, now: (Micros, Micros), before: (Micros, Micros)) -> Moved {
    let whole = Slice { before: figure.side(&sliced.whole[BEFORE]), now: figure.side(&sliced.whole[NOW]) };
    let (Some(was), Some(is)) = (whole.before.level, whole.now.level) else {
        return Moved::untold("the figure is not there on both sides", now, before);
    };
    let mut cuts: Vec<Cut<'_>> =
        sliced.slices.iter().filter_map(|(label, values)| cut(figure, label, values)).collect();
    let looked_at = cuts.iter().map(|cut| cut.label.to_owned()).collect();
    cuts.sort_by(|a, b| b.lift.total_cmp(&a.lift).then_with(|| a.label.cmp(b.label)));
    let best = cuts.first().filter(|cut| !cut.carriers.is_empty());
    // Where no label tells more than the others, the mix is that of the models.
    let told = best.or_else(|| cuts.iter().find(|cut| cut.label == "model")).or_else(|| cuts.first());
    let slices: Vec<Slice> =
        told.map_or_else(|| vec![whole], |cut| cut.values.iter().map(|(_, slice)| *slice).collect());
    // One slice has no mix.
    let found = if figure.is_number() || slices.len() < 2 { None } else { decompose(&slices) };
    let near = |own: f64, told: f64| (own - told).abs() <= MISSES * (is - was).abs();
    if found.as_ref().is_some_and(|found| !near(found.before, was) || !near(found.now, is)) {
        return Moved::untold("slices do not add up to the figure: calls are sampled, or lack a label", now, before);
    }
    let (level_unit, part_unit) = figure.units();
    Moved {
        figure: figure.words(),
        level_unit,
        level_before: Some(figure.level(was)),
        level_now: Some(figure.level(is)),
        part_unit,
        mix: found.as_ref().map(|found| part(figure, found.mix)),
        behaviour: found.as_ref().map(|found| part(figure, found.behaviour)),
        label: best.map_or_else(String::new, |cut| cut.label.to_owned()),
        carriers: best.map_or_else(Vec::new, |cut| cut.carriers.clone()),
        looked_at,
        ..Moved::untold("", now, before)
    }
}

fn part(figure: &Figure<'_>, part: decompose::Part) -> Part {
    let half = part.deviation.map(|deviation| z(LEVEL) * deviation);
    Part {
        value: figure.part(part.value),
        low: half.map(|half| figure.part(part.value - half)),
        high: half.map(|half| figure.part(part.value + half)),
    }
}

/// `None` of a label that has one value alone.
fn cut<'a>(figure: &Figure<'_>, label: &'a str, values: &'a BTreeMap<String, [Pane; 2]>) -> Option<Cut<'a>> {
    if values.len() < 2 {
        return None;
    }
    let mut busiest: Vec<(&str, u64)> =
        values.iter().map(|(value, panes)| (value.as_str(), panes[NOW].calls() + panes[BEFORE].calls())).collect();
    busiest.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    let told: BTreeSet<&str> = busiest.iter().take(VALUES).map(|(value, _)| *value).collect();
    let mut panes: BTreeMap<&str, [Pane; 2]> = BTreeMap::new();
    for (value, sides) in values {
        let slot = panes.entry(if told.contains(value.as_str()) { value } else { "(others)" }).or_default();
        slot[NOW].merge(&sides[NOW]);
        slot[BEFORE].merge(&sides[BEFORE]);
    }
    let values: Vec<(&str, Slice)> = panes
        .iter()
        .map(|(value, sides)| (*value, Slice { before: figure.side(&sides[BEFORE]), now: figure.side(&sides[NOW]) }))
        .collect();
    let (parts, change) = parts(figure, &values)?;
    let sure = |slice: &Slice, (before, now): (f64, f64), moved: f64| {
        let variance = match figure {
            // Numbers of events are Poisson's at least; of dollars and tokens none is known.
            Figure::Number(measure) if measure.unit() == Unit::Count => {
                slice.before.level.unwrap_or(0.0) + slice.now.level.unwrap_or(0.0)
            }
            Figure::Number(_) => 0.0,
            _ => {
                let of = |side: Side| side.variance.unwrap_or(0.0);
                ((slice.before.n / before + slice.now.n / now) / 2.0).powi(2) * (of(slice.before) + of(slice.now))
            }
        };
        moved * moved > SURE * SURE * variance
    };
    let total = |side: fn(&Slice) -> Side| values.iter().map(|(_, slice)| side(slice).n).sum::<f64>().max(1.0);
    let (all_before, all_now) = (total(|slice| slice.before), total(|slice| slice.now));
    let mut carriers: Vec<(f64, Carrier)> = Vec::new();
    for ((value, slice), moved) in values.iter().zip(parts) {
        let (share, part) = (slice.now.n / all_now, moved / change);
        let lift = part - (share + slice.before.n / all_before) / 2.0;
        if lift >= LIFT && part > 0.0 && sure(slice, (all_before, all_now), moved) {
            let level = |side: Side| side.level.map(|level| figure.level(level));
            let value = (*value).to_owned();
            carriers.push((lift, Carrier { value, before: level(slice.before), now: level(slice.now), share, part }));
        }
    }
    carriers.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.value.cmp(&b.1.value)));
    carriers.truncate(TOLD);
    let lift = carriers.iter().map(|(lift, _)| lift).sum();
    Some(Cut { label, values, lift, carriers: carriers.into_iter().map(|(_, carrier)| carrier).collect() })
}

/// What each value adds to the change, and the change; `None` where nothing moved.
fn parts(figure: &Figure<'_>, values: &[(&str, Slice)]) -> Option<(Vec<f64>, f64)> {
    let (parts, change) = if figure.is_number() {
        let of = |side: Side| side.level.unwrap_or(0.0);
        let parts: Vec<f64> = values.iter().map(|(_, slice)| of(slice.now) - of(slice.before)).collect();
        let change = parts.iter().sum();
        (parts, change)
    } else {
        let slices: Vec<Slice> = values.iter().map(|(_, slice)| *slice).collect();
        let found = decompose(&slices)?;
        (found.slices, found.now - found.before)
    };
    (change != 0.0).then_some((parts, change))
}

/// What was changed in the scope since what the present is held beside, and how much more there is: what names the carrier first,
/// then what is nearest to the change's beginning.
async fn changes(
    store: &Store,
    scope: &Scope<'_>,
    sliced: &Sliced,
    (moved, since): (&Moved, Micros),
) -> Result<(Vec<Changed>, usize)> {
    let tenant = scope.tenant.unwrap_or("");
    let from = moved.before.1.min(since) - LEAD;
    let which = Which { tenant, app: "", from, to: moved.now.1, limit: CHANGES };
    let named = scope.labels.get("app").into_iter().chain(scope.rule.matches.get("app").into_iter().flatten());
    let apps: Vec<&String> = named.collect();
    let fits = |kept: &Kept| {
        (kept.tenant.is_empty() || sliced.tenants.contains(&kept.tenant))
            && (kept.app.is_empty() || apps.is_empty() || apps.contains(&&kept.app))
    };
    let mut all = store.kept(RecordKind::Change, which).await?;
    if !tenant.is_empty() {
        // What was changed for all tenants.
        let every = store.kept(RecordKind::Change, Which { tenant: "", ..which }).await?;
        all.extend(every.into_iter().filter(|kept| kept.tenant.is_empty()));
    }
    let mut found: Vec<Changed> = all
        .into_iter()
        .filter(fits)
        .map(|kept| {
            let body: serde_json::Value = serde_json::from_str(&kept.body).unwrap_or_default();
            let named = |carrier: &Carrier| !carrier.value.is_empty() && body["to"].as_str() == Some(&carrier.value);
            let names_carrier = moved.carriers.iter().any(named);
            let line = change_line(&(kept.time, kept.tenant, kept.app, kept.name, kept.body));
            Changed { at: kept.time, scope: line.scope, what: line.what, names_carrier }
        })
        .collect();
    found.sort_by_key(|change| (!change.names_carrier, (change.at - since).abs(), change.what.clone()));
    let more = found.len().saturating_sub(TOLD);
    found.truncate(TOLD);
    Ok((found, more))
}
