//! Drift rules that hold the newest version of an app beside the one before it.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use anyhow::{Context, Result};
use leeway_alerts::rule::Rule;
use leeway_core::alert::{AlertLabels, State, Versions};
use leeway_core::clock::{DAY, HOUR, MINUTE, Micros, day_of};
use leeway_core::drift::Test;
use leeway_core::pane::Pane;
use leeway_detectors::drift;
use leeway_store::{AlertRow, Running};

use crate::beside::{Held, Panes, References, span};
use crate::evaluate::Evaluator;

/// Days before a version came whose same hours it is held beside.
const DAYS: i64 = 7;
/// Days from its coming on for which a version is new.
const NEW: i64 = 14;
/// What runs is looked at again at most this often: a version that the cap folded stays unknown.
const LOOK_AGAIN: Micros = 2 * MINUTE;
/// A version with a smaller share of the last hour's calls no longer runs: who still has it is late.
const RUNS: f64 = 0.01;
/// Calls that say no version are told from this share on.
const TOLD: f64 = 0.01;

/// When a version came.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Came {
    /// The day of its first call, as far as days are kept.
    day: i64,
    /// When it was first heard of.
    seen: Micros,
    version: String,
}

impl Ord for Came {
    /// By time; what came at once by the numbers in its name, 2.9 before 2.10.
    fn cmp(&self, other: &Self) -> Ordering {
        let time = |came: &Self| (came.day, came.seen);
        time(self)
            .cmp(&time(other))
            .then_with(|| natural(&self.version).cmp(&natural(&other.version)))
            .then_with(|| self.version.cmp(&other.version))
    }
}

impl PartialOrd for Came {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The numbers in a name.
fn natural(version: &str) -> Vec<u64> {
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// What a rule's instances run, as it was when the newest series was of this time, and at which window it was looked at.
#[derive(Debug, Default)]
pub(crate) struct Ran {
    as_of: Micros,
    at: Micros,
    came: BTreeMap<AlertLabels, BTreeMap<String, Came>>,
}

impl Ran {
    fn take(&mut self, rule: &Rule, label: &str, series: &[Running]) {
        let named =
            |series: &Running| series.labels.get(label).filter(|version| !version.is_empty()).map(str::to_owned);
        for series in series.iter().filter(|series| rule.matches(&series.labels)) {
            let Some(version) = named(series) else { continue };
            let came = Came { day: series.first_day, seen: series.first_seen_at, version: version.clone() };
            let versions = self.came.entry(rule.instance(&series.labels)).or_default();
            let known = versions.entry(version).or_insert_with(|| came.clone());
            (known.day, known.seen) = (known.day.min(came.day), known.seen.min(came.seen));
        }
    }
}

/// Past windows of a rule that were read, by the day before which they lie; until the hour turns.
#[derive(Debug, Default)]
pub(crate) struct Past {
    hours: (Micros, Micros),
    days: BTreeMap<i64, BTreeMap<AlertLabels, (Pane, usize)>>,
}

/// What of an instance is looked at.
#[derive(Debug, PartialEq, Eq)]
enum Choice<'a> {
    /// A version, and what it is held beside where that is settled.
    Newest(&'a Came, Option<&'a str>),
    /// What an open alert is about no longer runs.
    Gone(&'a Versions),
    /// It has no calls at the moment.
    Waits(&'a Versions),
    /// No call says a version that is known.
    None,
}

/// What an open alert is about.
#[derive(Clone, Copy)]
struct Open<'a> {
    versions: &'a Versions,
    /// When its newer version came.
    own: Option<&'a Came>,
    /// Whether that one still runs.
    runs: bool,
}

/// The newest version that has enough calls; some calls of one that nobody else uses yet are not what runs. An open alert keeps its versions
/// until a newer one has enough, or its own no longer runs.
fn choose<'a>(running: &[(&'a Came, bool)], open: Option<Open<'a>>) -> Choice<'a> {
    let best = running.iter().max_by(|a, b| (a.1, a.0).cmp(&(b.1, b.0))).copied();
    match (open, best) {
        (Some(open), _) if !open.runs => Choice::Gone(open.versions),
        (Some(open), Some((newest, true))) if open.own.is_none_or(|own| newest > own) => Choice::Newest(newest, None),
        (Some(open), _) => match running.iter().find(|(came, _)| came.version == open.versions.now) {
            Some((own, _)) => Choice::Newest(own, Some(&open.versions.before)),
            None => Choice::Waits(open.versions),
        },
        (None, Some((newest, _))) => Choice::Newest(newest, None),
        (None, None) => Choice::None,
    }
}

/// Whether a version has a part of an instance's calls, or by itself as many as can be told of; a time without calls tells nothing.
fn runs((label, version): (&str, &str), labels: &AlertLabels, calls: &Panes, enough: impl Fn(&Pane) -> bool) -> bool {
    let (mut all, mut own) = (0, Pane::default());
    for (of, pane) in calls {
        if labels.iter().all(|(name, value)| of.get(name) == Some(value)) {
            all += pane.calls();
            if of.get(label).is_some_and(|of| of == version) {
                own.merge(pane);
            }
        }
    }
    all == 0 || own.calls() as f64 >= RUNS * all as f64 || enough(&own)
}

/// A version of an instance, and what came before it.
struct Asked<'a> {
    /// The rule, by version.
    wide: &'a Rule,
    label: &'static str,
    labels: &'a AlertLabels,
    came: &'a Came,
    /// The newest first.
    earlier: Vec<&'a Came>,
    /// Which of them it is held beside, where that is settled.
    settled: Option<&'a str>,
    /// Values that each side needs.
    needed: u64,
}

/// Whether a pane has as many values as a side needs.
fn enough(rule: &Rule, needed: u64, pane: &Pane) -> bool {
    rule.measure.sample(pane).is_some_and(|sample| sample.n() >= needed)
}

/// How many values a version has in an hour, or in a longer window, whose windows have half of what is needed in the mean: in some of them it has
/// enough.
fn often(needed: u64, window: Micros) -> u64 {
    (needed * (HOUR / window).max(1) as u64).div_ceil(2)
}

impl Asked<'_> {
    /// Beside the newest version that had enough in the windows.
    fn held(&self, past: &BTreeMap<AlertLabels, (Pane, usize)>, windows: &[(Micros, Micros)]) -> Held {
        let Self { label, came, .. } = self;
        let pane = |version: &str| {
            let mut labels = self.labels.clone();
            labels.insert((*label).to_owned(), version.to_owned());
            past.get(&labels).cloned().unwrap_or_default()
        };
        let versions = || self.earlier.iter().map(|came| came.version.as_str());
        let enough = || versions().find(|version| enough(self.wide, self.needed, &pane(version).0));
        let Some(before) = self.settled.or_else(enough).or_else(|| versions().next()) else {
            let words = format!("no {label} before {} is known", came.version);
            return Held { times: span(windows), words, gone: true, ..Held::default() };
        };
        let (pane, held) = pane(before);
        let words = format!(
            "{label} {} beside {before}, the same hours of the {DAYS} days before it came; {held} of them have data",
            came.version
        );
        let (before, now) = (before.to_owned(), came.version.clone());
        let versions = Some(Versions { label: (*label).to_owned(), before, now });
        Held { versions, ..Held::of(self.wide, pane, span(windows), words) }
    }
}

/// An instance's calls by version; those that say none are under the empty name.
type ByVersion<'a> = BTreeMap<&'a str, &'a Pane>;

impl Evaluator {
    /// The newest version of each instance, beside the newest before it that had enough calls at the same hours of the days before.
    pub(crate) async fn versions(
        &mut self,
        (rule, test, label): (&Rule, Test, &'static str),
        end: Micros,
        before: &BTreeMap<String, AlertRow>,
    ) -> Result<(Panes, References)> {
        let wide = Rule { by: rule.by.iter().cloned().chain([label.to_owned()]).collect(), ..rule.clone() };
        let window = self.instances(&wide, end - rule.window, end).await?;
        let mut now: BTreeMap<AlertLabels, ByVersion<'_>> = BTreeMap::new();
        for (labels, pane) in &window {
            let version = labels.get(label).map_or("", String::as_str);
            let mut labels = labels.clone();
            labels.remove(label);
            now.entry(labels).or_default().insert(version, pane);
        }
        self.know((rule, label), &now, end).await?;
        let (open, needed) = (open(before, label)?, rule.min_events.max(drift::of(test).needs()));
        // Whether a version still runs its last hour says: a small one may have no call in a window.
        let pinned = self.memory.pinned.clone();
        let asks = rule.window < HOUR && !(open.is_empty() && pinned.is_none());
        let hour = if asks { Some(self.instances(&wide, end - HOUR, end).await?) } else { None };
        let hour = hour.as_ref().unwrap_or(&window);
        let often = |pane: &Pane| enough(rule, often(needed, rule.window), pane);
        let enough = |pane: &Pane| enough(rule, needed, pane);
        let ran = self.memory.ran.remove(&rule.id).unwrap_or_default();
        let (none, mut present, mut held) = (BTreeMap::new(), Panes::new(), References::new());
        // A rule over all traffic always has its one instance.
        if rule.by.is_empty() {
            now.entry(AlertLabels::new()).or_default();
        }
        for (labels, versions) in now {
            let came = ran.came.get(&labels).unwrap_or(&none);
            let asked = |newest, settled| {
                let mut earlier: Vec<&Came> = came.values().filter(|other| *other < newest).collect();
                earlier.sort_by(|a, b| b.cmp(a));
                Asked { wide: &wide, label, labels: &labels, came: newest, earlier, settled, needed }
            };
            let running: Vec<(&Came, bool)> =
                versions.iter().filter_map(|(version, pane)| Some((came.get(*version)?, enough(pane)))).collect();
            let said = |words: String, closed: bool| Held { words, closed, ..Held::default() };
            let open = open.get(&labels).or(pinned.as_ref()).map(|versions| Open {
                versions,
                own: came.get(&versions.now),
                runs: runs((label, &versions.now), &labels, hour, often),
            });
            let (pane, mut beside) = match choose(&running, open) {
                Choice::Newest(newest, settled) => {
                    let pane = versions.get(newest.version.as_str()).map_or_else(Pane::default, |pane| (*pane).clone());
                    (pane, self.earlier(&asked(newest, settled), end).await?)
                }
                Choice::Gone(gone) => (all(&versions), said(format!("{label} {} no longer runs", gone.now), true)),
                Choice::Waits(open) => {
                    let words = format!("{label} {} has no calls at the moment", open.now);
                    (Pane::default(), Held { versions: Some(open.clone()), ..said(words, false) })
                }
                Choice::None => (all(&versions), said(format!("no call says a {label} that is known"), false)),
            };
            if beside.versions.is_some() {
                beside.words += &unknown(label, &versions, came);
            }
            present.insert(labels.clone(), pane);
            held.insert(labels, beside);
        }
        self.memory.ran.insert(rule.id.clone(), ran);
        Ok((present, held))
    }

    async fn earlier(&mut self, asked: &Asked<'_>, end: Micros) -> Result<Held> {
        let (rule, day) = (asked.wide, asked.came.day);
        if day_of(end - 1) - day >= NEW {
            let words = format!("{} {} came more than {NEW} days ago", asked.label, asked.came.version);
            return Ok(Held { words, closed: true, ..Held::default() });
        }
        let window = (end - rule.window, end);
        let (windows, hours) = (before_day(day, window), aligned(window));
        let known = self.memory.earlier.remove(&rule.id).filter(|past| past.hours == hours);
        let mut past = known.unwrap_or_else(|| Past { hours, ..Past::default() });
        let held = match past.days.entry(day) {
            Entry::Occupied(read) => asked.held(read.get(), &windows),
            Entry::Vacant(unread) => asked.held(unread.insert(self.over(rule, &windows).await?), &windows),
        };
        self.memory.earlier.insert(rule.id.clone(), past);
        Ok(held)
    }

    /// Looks again at what runs, where an instance shows a version that was not known.
    async fn know(
        &mut self,
        (rule, label): (&Rule, &'static str),
        now: &BTreeMap<AlertLabels, ByVersion<'_>>,
        end: Micros,
    ) -> Result<()> {
        let none = Ran::default();
        let ran = self.memory.ran.get(&rule.id).unwrap_or(&none);
        let known = |labels: &AlertLabels, version: &str| {
            version.is_empty() || ran.came.get(labels).is_some_and(|versions| versions.contains_key(version))
        };
        let all = now.iter().all(|(labels, versions)| versions.keys().all(|version| known(labels, version)));
        // A version that the cap folded stays unknown, and series come all the time.
        if all || (ran.at..ran.at + LOOK_AGAIN).contains(&end) {
            return Ok(());
        }
        let newest = self.store.newest_series().await?;
        if newest == ran.as_of && (ran.at..ran.at + HOUR).contains(&end) {
            return Ok(());
        }
        let mut ran = Ran { as_of: newest, at: end, ..Ran::default() };
        let tenants = match rule.tenant() {
            Some(tenant) => vec![tenant.to_owned()],
            None => self.store.with_series().await?,
        };
        for tenant in tenants {
            ran.take(rule, label, &self.store.running(&tenant, i64::MAX).await?);
        }
        self.memory.ran.insert(rule.id.clone(), ran);
        Ok(())
    }
}

fn all(versions: &ByVersion<'_>) -> Pane {
    let mut all = Pane::default();
    versions.values().for_each(|pane| all.merge(pane));
    all
}

/// How many of the calls say no version that is known, in words; nothing where these are few.
fn unknown(label: &str, versions: &ByVersion<'_>, came: &BTreeMap<String, Came>) -> String {
    let calls = |known: bool| -> u64 {
        versions
            .iter()
            .filter(|(version, _)| known || !came.contains_key(**version))
            .map(|(_, pane)| pane.calls())
            .sum()
    };
    let share = calls(false) as f64 / calls(true).max(1) as f64;
    if share < TOLD {
        String::new()
    } else {
        format!("; {:.0} % of the calls say no {label} that is known", share * 100.0)
    }
}

/// The versions of a label that open alerts are about.
fn open(before: &BTreeMap<String, AlertRow>, label: &str) -> Result<BTreeMap<AlertLabels, Versions>> {
    let mut found = BTreeMap::new();
    for row in before.values().filter(|row| matches!(row.state, State::Firing | State::Pending)) {
        let versions = row.evidence.drift.as_ref().and_then(|drift| drift.versions.clone());
        if let Some(versions) = versions.filter(|versions| versions.label == label) {
            found.insert(serde_json::from_str(&row.labels).context("read stored labels")?, versions);
        }
    }
    Ok(found)
}

/// The whole hours that a window lies in, a day at most.
fn aligned((from, to): (Micros, Micros)) -> (Micros, Micros) {
    let to = (to + HOUR - 1).div_euclid(HOUR) * HOUR;
    ((from.div_euclid(HOUR) * HOUR).max(to - DAY), to)
}

/// The hours of a window on each of the last days before one.
fn before_day(day: i64, window: (Micros, Micros)) -> Vec<(Micros, Micros)> {
    let (from, to) = aligned(window);
    let first = (to - day * DAY + DAY - 1).div_euclid(DAY).max(1);
    (first..first + DAYS).rev().map(|back| (from - back * DAY, to - back * DAY)).collect()
}

/// These windows again, from the beginning of the first to the end of the last.
pub(crate) fn windows_of((from, to): (Micros, Micros)) -> Vec<(Micros, Micros)> {
    (0..DAYS).map(|day| (from + day * DAY, to - (DAYS - 1 - day) * DAY)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn came(day: i64, seen: Micros, version: &str) -> Came {
        Came { day, seen, version: version.to_owned() }
    }

    #[test]
    fn a_version_is_held_beside_the_same_hours_of_the_days_before_it_came() {
        // It came on day 10; ten past three on that day, and two days later.
        for now in [10, 12] {
            let end = now * DAY + 3 * HOUR + 10 * MINUTE;
            let windows = before_day(10, (end - 5 * MINUTE, end));
            let expected: Vec<_> = (3..10).map(|day| (day * DAY + 3 * HOUR, day * DAY + 4 * HOUR)).collect();
            assert_eq!(windows, expected);
            assert_eq!(windows_of(span(&windows)), expected);
        }
        // A window over midnight ends before the day as well, and a day's windows never overlap.
        let windows = before_day(10, (10 * DAY - HOUR, 10 * DAY + HOUR));
        assert_eq!((windows.len(), windows[6]), (7, (9 * DAY - HOUR, 9 * DAY + HOUR)));
        let end = 10 * DAY + 12 * HOUR + 10 * MINUTE;
        let windows = before_day(10, (end - DAY, end));
        assert!(windows.windows(2).all(|pair| pair[0].1 == pair[1].0), "{windows:?}");
    }

    #[test]
    fn the_newest_with_enough_is_looked_at_and_an_open_alert_keeps_its_own() {
        let (old, new, canary) = (came(1, 0, "1"), came(5, 0, "2"), came(7, 0, "3"));
        assert_eq!(choose(&[(&old, true), (&new, true), (&canary, false)], None), Choice::Newest(&new, None));
        assert_eq!(choose(&[(&old, false), (&new, false)], None), Choice::Newest(&new, None));
        assert_eq!(choose(&[], None), Choice::None);
        let versions = Versions { label: "release".into(), before: "2".into(), now: "3".into() };
        let open = |runs| Some(Open { versions: &versions, own: Some(&canary), runs });
        // Fewer calls at night, or none in a window, do not change the question.
        assert_eq!(choose(&[(&new, true), (&canary, false)], open(true)), Choice::Newest(&canary, Some("2")));
        assert_eq!(choose(&[(&new, true)], open(true)), Choice::Waits(&versions));
        assert_eq!(choose(&[(&new, true), (&canary, false)], open(false)), Choice::Gone(&versions), "rolled back");
        let next = came(8, 0, "4");
        assert_eq!(choose(&[(&canary, true), (&next, true)], open(true)), Choice::Newest(&next, None));
        assert_eq!(choose(&[(&canary, true), (&next, false)], open(true)), Choice::Newest(&canary, Some("2")));
    }

    #[test]
    fn a_version_runs_while_it_has_a_part_of_the_calls() {
        let pane = |calls: usize| {
            let mut pane = Pane::default();
            (0..calls).for_each(|_| pane.add(&leeway_core::pane::Numbers::default()));
            pane
        };
        let of = |app: &str, release: &str| {
            AlertLabels::from([("app".into(), app.into()), ("release".into(), release.into())])
        };
        let calls = Panes::from([
            (of("a", "2"), pane(982)),
            (of("a", "3"), pane(10)),
            (of("a", "4"), pane(8)),
            (of("b", "3"), pane(1)),
        ]);
        let app = |app: &str| AlertLabels::from([("app".into(), app.into())]);
        let runs = |release: &str, labels: &str, needed: u64| {
            runs(("release", release), &app(labels), &calls, |pane| pane.calls() >= needed)
        };
        assert!(runs("3", "a", 50) && runs("3", "b", 50));
        assert!(!runs("1", "a", 50) && runs("1", "c", 50));
        // A small part of many calls is enough to be told of, and would be told anew if it were called gone.
        assert!(!runs("4", "a", 9) && runs("4", "a", 8));
        // Of sixty calls an hour no window of five minutes has fifty.
        assert_eq!([5 * MINUTE, HOUR, DAY].map(|window| often(50, window)), [300, 25, 25]);
    }

    #[test]
    fn what_came_at_once_is_ordered_by_its_numbers() {
        assert!(came(3, 5, "2.9") < came(3, 5, "2.10") && came(3, 5, "v10") < came(3, 6, "v9"));
        assert!(came(2, 9, "b") < came(3, 0, "a") && came(3, 5, "a") < came(3, 5, "b"));
    }

    #[test]
    fn calls_without_a_known_version_are_told() {
        let mut pane = Pane::default();
        pane.add(&leeway_core::pane::Numbers::default());
        let versions = ByVersion::from([("1", &pane), ("other", &pane)]);
        let known = BTreeMap::from([("1".to_owned(), came(1, 0, "1"))]);
        assert_eq!(unknown("release", &versions, &known), "; 50 % of the calls say no release that is known");
        assert_eq!(unknown("release", &ByVersion::from([("1", &Pane::default())]), &known), "");
    }
}
