//! Anomaly rules: each block of each stream is weighed against what is usual, and speaks from the bar on that the fleet's
//! budget of false pages leaves it.

use std::collections::{BTreeMap, HashSet};

use anyhow::{Context, Result};
use leeway_alerts::rule::{Anomaly, Kind, Rule};
use leeway_alerts::state::Verdict;
use leeway_core::alert::{AlertLabels, Evidence, State, UsualEvidence};
use leeway_core::clock::{DAY, HOUR, Micros, day_of};
use leeway_core::drift::Direction;
use leeway_core::measure::{Measure, Unit};
use leeway_core::varint::{self, Corrupt, Reader};
use leeway_detectors::stream::{
    self, Asked, Baseline, Block, Change, Edges, Speaker, Untestable, Watch, change, explain, fleet, sees,
};
use leeway_store::{AlertRow, DetectorState};

use crate::evaluate::{Evaluator, Subject, bare, silent};
use crate::usual::{self, Known, Usual};

const WEEK: Micros = 7 * DAY;
/// How far back is looked: for a change a day, and a week where it seems to be older than that; for the present of an open
/// alert as short as can tell.
const LOOK: [Micros; 4] = [HOUR, 6 * HOUR, DAY, WEEK];
/// What fires goes on while the last hours show this part of the least change.
const GOES_ON: f64 = 0.5;
/// Or this part of what the alert was opened for, where it is not surely there.
const GOES_ON_UNSURE: f64 = 0.2;
/// Evidence this many times the bar is asked about once an hour: the change is there, and its size is what is too small.
const PLAIN: f64 = 1e12;
/// The false discovery rate, per week waited, of the streams that are told as affected.
const DISCOVERIES: f64 = 0.05;
/// Streams that are told by name.
const TOLD: usize = 10;

/// What the detectors of a rule's streams hold, by fingerprint.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watches {
    basis: String,
    held: BTreeMap<String, Held>,
}

#[derive(Debug, Clone)]
struct Held {
    /// Beginning of the first block that is in it.
    from: Micros,
    watch: Watch,
}

impl Watches {
    pub(crate) fn new(rule: &Rule) -> Self {
        Self { basis: usual::basis(rule), held: BTreeMap::new() }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        varint::write(&mut out, self.held.len() as u128);
        for (stream, held) in &self.held {
            varint::write_text(&mut out, stream);
            varint::write(&mut out, varint::zigzag(held.from.into()));
            let numbers = held.watch.encode();
            varint::write(&mut out, numbers.len() as u128);
            out.extend(numbers);
        }
        out
    }

    fn decode(basis: String, bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut reader = Reader(bytes);
        let mut held = BTreeMap::new();
        for _ in 0..reader.number()? {
            let stream = reader.text()?.to_owned();
            let from = i64::try_from(varint::unzigzag(reader.wide()?)).map_err(|_| Corrupt::Overflow)?;
            let length = reader.number()? as usize;
            let watch = Watch::decode(reader.bytes(length)?).ok_or(Corrupt::Truncated)?;
            held.insert(stream, Held { from, watch });
        }
        Ok(Self { basis, held })
    }
}

/// One stream at one block.
struct Weighed<'a> {
    known: Result<&'a Known, Untestable>,
    block: Option<Block>,
    /// What the detectors hold now, and which speaks.
    value: f64,
    /// Since which block.
    from: Micros,
    speaker: Speaker,
    /// An alert is open: nothing is weighed until it is over.
    open: Option<Opened>,
}

/// What an open alert was opened with.
#[derive(Clone, Copy)]
struct Opened {
    since: Micros,
    /// Since which block its evidence was weighed.
    from: Micros,
    effect: f64,
    evidence: f64,
    /// The side that it is about.
    direction: Direction,
}

impl Opened {
    fn of(row: &AlertRow, asked: Direction) -> Option<Self> {
        if !matches!(row.state, State::Firing | State::Pending) {
            return None;
        }
        let usual = row.evidence.usual.as_ref();
        let effect = usual.and_then(|usual| usual.opened).unwrap_or(0.0);
        let side = if effect < 0.0 { Direction::Down } else { Direction::Up };
        let direction = if asked == Direction::Both { side } else { asked };
        let since = usual.and_then(|usual| usual.since).unwrap_or(row.active_at.unwrap_or_default());
        let from = usual.map_or(since, |usual| usual.weighed_from);
        Some(Self { since, from, effect, evidence: usual.map_or(0.0, |usual| usual.evidence), direction })
    }

    /// What the time since `from` shows, as far as it is the alert's; and whether a longer time is needed to tell.
    fn goes_on(self, blocks: &[Block], baseline: &Baseline, speaker: Speaker, from: Micros) -> (Option<Change>, bool) {
        let start = blocks.partition_point(|block| block.at < self.since.max(from));
        let found = change(&blocks[start..], baseline, speaker, self.direction, true);
        let half = found.and_then(|found| Some((found.interval.high? - found.interval.low?) / 2.0));
        let vague = half.is_none_or(|half| half > self.effect.abs() / 2.0);
        (found, vague && from > self.since)
    }

    /// Whether a change is still the alert's: half of the least, and if it is not surely there a part of what the alert was opened for. What was
    /// twenty times as much is not still there when chance makes a tenth more of what is usual.
    fn still(self, change: Change, least: f64) -> bool {
        let (size, at_least) = change.size(self.direction);
        size > GOES_ON * least && (at_least > 0.0 || size > GOES_ON_UNSURE * self.effect.abs())
    }
}

impl Weighed<'_> {
    /// What the stream can see within so many blocks like this one.
    fn sees(&self, bar: f64, blocks: f64) -> Option<f64> {
        let baseline = self.known.as_ref().ok()?.baseline.as_ref().ok()?;
        sees(self.block.as_ref()?, baseline, bar, blocks)
    }

    fn asks(&self, bar: f64, end: Micros, glance: bool) -> bool {
        let plain = self.value >= PLAIN * bar && end % HOUR != 0;
        // What is open goes on until its block's end.
        (self.open.is_some() && !glance) || (self.open.is_none() && self.value >= bar && !plain)
    }
}

impl Evaluator {
    /// One block of all streams of a rule, or what there is of it: verdicts and evidence in the order of the subjects, and the state to
    /// write, where it changed.
    pub(crate) async fn weigh(
        &mut self,
        rule: &Rule,
        asked: Anomaly,
        subjects: &[Subject<'_>],
    ) -> Result<(Vec<(Verdict, Evidence)>, Option<DetectorState>)> {
        let mut watches = self.watches(rule).await?;
        let streams = self.memory.usual.get(&rule.id).map(|usual| &usual.streams);
        let share = asked.weight / self.weights();
        let weight = fleet::weight(share, streams.map_or(0, BTreeMap::len));
        let glance = subjects.first().is_some_and(Subject::glance);
        let bar = if glance { fleet::glance_bar } else { fleet::bar };
        let bar = bar((WEEK / rule.window) as f64, self.false_pages_a_week, weight, rule.glances());
        let mut weighed = Vec::new();
        for subject in subjects {
            let known = streams.and_then(|streams| streams.get(subject.labels));
            weighed.push(weigh(subject, asked, known, &mut watches));
        }
        let wanted = Asked { direction: asked.direction, least: rule.bound.limit() };
        let changes = self.changes(rule, wanted, bar, (&mut weighed, subjects)).await?;
        // What is open was told before, and counts by what it was told with.
        let value = |weighed: &Weighed<'_>| weighed.open.map_or(weighed.value, |opened| opened.evidence);
        let values: Vec<f64> = weighed.iter().map(value).collect();
        let ranked = fleet::affected(&values, DISCOVERIES, (WEEK / rule.window) as f64);
        let affected: Vec<AlertLabels> =
            ranked.iter().take(TOLD).map(|place| subjects[*place].labels.clone()).collect();
        let mut found = Vec::new();
        for ((subject, weighed), change) in subjects.iter().zip(&weighed).zip(&changes) {
            let verdict = match change {
                // An open block without calls, or with few, says nothing yet.
                None if glance => Verdict::Clear,
                _ => verdict(subject, asked, weighed, *change),
            };
            let mut usual = told(subject, weighed, *change);
            (usual.bar, usual.false_pages_a_week) = (bar, self.false_pages_a_week * weight);
            usual.sees = weighed.sees(bar, (HOUR / rule.window) as f64).filter(|_| !glance);
            if verdict == Verdict::Breach {
                (usual.affected, usual.affected_count) = (affected.clone(), ranked.len());
                // An alarm uses its evidence up.
                watches.held.remove(subject.print);
            }
            found.push((verdict, evidence(subject, asked, *change, usual)));
        }
        // Who was forgotten by the alerts is forgotten here.
        let prints: HashSet<&str> = subjects.iter().map(|subject| subject.print).collect();
        watches.held.retain(|stream, _| glance || prints.contains(stream.as_str()));
        let changed = !glance || found.iter().any(|(verdict, _)| *verdict == Verdict::Breach);
        let state = changed.then(|| DetectorState { basis: watches.basis.clone(), body: watches.encode() });
        self.memory.watches.insert(rule.id.clone(), watches);
        Ok((found, state))
    }

    /// Whether the baselines of the day in which a block begins are at hand; where they are not they are made meanwhile.
    pub(crate) async fn knows(&mut self, rule: &Rule, start: Micros) -> Result<bool> {
        let day = day_of(start);
        let known = self.memory.usual.get(&rule.id).is_some_and(|usual| usual.day == day);
        if known || !matches!(rule.kind, Kind::Anomaly(_)) {
            return Ok(true);
        }
        if let Some(learnt) = self.memory.learning.try_join_next() {
            let (of, learnt) = learnt.context("the making of baselines ended")??;
            self.learnt(of, learnt);
        } else if self.memory.learning.is_empty() {
            let (store, learner, replayed) = (self.store.clone(), rule.clone(), self.memory.replayed.clone());
            self.memory.learning.spawn(async move {
                let learnt = usual::learn(&store, &learner, day, replayed).await?;
                Ok((learner.id, learnt))
            });
        }
        Ok(self.memory.usual.get(&rule.id).is_some_and(|usual| usual.day == day))
    }

    /// Takes new baselines; of more streams than are tested the busiest.
    fn learnt(&mut self, rule: String, mut learnt: Usual) {
        let rules = self.rules.iter().filter(|rule| matches!(rule.kind, Kind::Anomaly(_))).count().max(1);
        let most = (self.streams / rules).max(1);
        let mut busiest: Vec<(f64, AlertLabels)> = Vec::new();
        for (labels, known) in &learnt.streams {
            busiest.extend(known.baseline.as_ref().ok().map(|baseline| (baseline.events, labels.clone())));
        }
        busiest.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        for (_, labels) in busiest.iter().skip(most) {
            if let Some(known) = learnt.streams.get_mut(labels) {
                known.baseline = Err(Untestable::TooMany { most: most as u64 });
            }
        }
        let untestable = learnt.streams.values().filter(|known| known.baseline.is_err()).count();
        self.metrics.streams(&rule, learnt.streams.len() - untestable, untestable);
        self.memory.usual.insert(rule, learnt);
    }

    /// What the rule's detectors held after the last block; nothing where the rule measures something else since.
    async fn watches(&mut self, rule: &Rule) -> Result<Watches> {
        let basis = usual::basis(rule);
        if let Some(watches) = self.memory.watches.remove(&rule.id) {
            return Ok(watches);
        }
        let stored = self.store.detector_state(&rule.id).await?.filter(|stored| stored.basis == basis);
        let Some(stored) = stored else { return Ok(Watches::new(rule)) };
        Watches::decode(basis, &stored.body).with_context(|| format!("state of rule {}", rule.id))
    }

    /// False alarms a week that the budget leaves a rule; `None` of kinds that promise nothing.
    pub(crate) fn budget(&self, rule: &Rule) -> Option<f64> {
        let Kind::Anomaly(asked) = rule.kind else { return None };
        Some(self.false_pages_a_week * asked.weight / self.weights())
    }

    /// The weights of all anomaly rules.
    fn weights(&self) -> f64 {
        let weight = |rule: &Rule| if let Kind::Anomaly(asked) = rule.kind { asked.weight } else { 0.0 };
        self.rules.iter().map(weight).sum()
    }

    /// Of streams that speak: since when, and by how much; of those with an open alert what the last hours show.
    async fn changes(
        &self,
        rule: &Rule,
        wanted: Asked,
        bar: f64,
        streams: (&mut [Weighed<'_>], &[Subject<'_>]),
    ) -> Result<Vec<Option<Change>>> {
        let (weighed, subjects) = streams;
        let (end, glance) = subjects.first().map_or((0, false), |subject| (subject.end, subject.glance()));
        let mut changes: Vec<Option<Change>> = vec![None; weighed.len()];
        let mut waiting: Vec<usize> =
            (0..weighed.len()).filter(|place| weighed[*place].asks(bar, end, glance)).collect();
        for span in LOOK {
            // The hours before are asked about open alerts alone: a new change is looked for in a day at once.
            let now = |place: &&usize| span >= DAY || weighed[**place].open.is_some();
            let asked: BTreeMap<AlertLabels, Edges> = waiting
                .iter()
                .filter(now)
                .filter_map(|place| Some((subjects[*place].labels.clone(), weighed[*place].known.ok()?.edges)))
                .collect();
            if asked.is_empty() {
                continue;
            }
            let from = (end - span).div_euclid(rule.window) * rule.window;
            let found = usual::since(&self.store, rule, &asked, (from, end)).await?;
            for place in std::mem::take(&mut waiting) {
                let weighed = &mut weighed[place];
                let Ok(Known { baseline: Ok(baseline), .. }) = weighed.known else { continue };
                let blocks = found.get(subjects[place].labels).map_or(&[][..], Vec::as_slice);
                let (answer, more) = match weighed.open {
                    Some(opened) => opened.goes_on(blocks, baseline, weighed.speaker, from),
                    None if span < DAY => (None, true),
                    None => {
                        let found = explain(blocks, baseline, wanted, weighed.speaker);
                        weighed.speaker = found.map_or(weighed.speaker, |(speaker, _)| speaker);
                        (found.map(|(_, change)| change), found.is_some_and(|(_, change)| change.at == from))
                    }
                };
                changes[place] = answer;
                if more {
                    waiting.push(place);
                }
            }
        }
        Ok(changes)
    }

    /// Forgets streams and states that no rule has any more.
    pub(crate) async fn keep_streams(&self) -> Result<()> {
        let rules = || self.rules.iter().filter(|rule| matches!(rule.kind, Kind::Anomaly(_)));
        let (bases, ids): (Vec<String>, Vec<String>) =
            rules().map(|rule| (usual::basis(rule), rule.id.clone())).unzip();
        Ok(self.store.keep_streams(&bases, &ids).await?)
    }
}

/// Weighs one block of one stream.
fn weigh<'a>(subject: &Subject<'_>, asked: Anomaly, known: Option<&'a Known>, watches: &mut Watches) -> Weighed<'a> {
    let rule = subject.rule;
    let open = subject.before.and_then(|row| Opened::of(row, asked.direction));
    let mut weighed = Weighed {
        known: known.ok_or(Untestable::NoReference),
        block: None,
        value: 0.0,
        from: open.map_or(subject.start, |opened| opened.from),
        speaker: Speaker::first(usual::kind(&rule.measure)),
        open,
    };
    let Some(known) = known else { return weighed };
    let start = subject.start;
    weighed.block = Block::of(start, &rule.measure, subject.pane, &known.edges);
    let (baseline, block) = match (&known.baseline, &weighed.block) {
        (Ok(baseline), Some(block)) => (baseline, block),
        (Err(reason), _) => {
            weighed.known = Err(*reason);
            return weighed;
        }
        _ => return weighed,
    };
    if !baseline.knows(start) {
        weighed.known = Err(Untestable::UnseenHour);
    } else if baseline.kind() == stream::Kind::Volume && subject.coverage < 1.0 {
        // What is still to come is no drop.
        weighed.known = Err(Untestable::Incomplete);
    } else if open.is_some() {
        let stored = subject.before.and_then(|row| row.evidence.usual.as_ref());
        let speaker = stored.and_then(|usual| Speaker::parse(&usual.detector));
        weighed.speaker = speaker.filter(|speaker| speaker.suits(baseline.kind())).unwrap_or(weighed.speaker);
    } else {
        let new = || Held { from: start, watch: Watch::new() };
        let mut held = watches.held.get(subject.print).cloned().unwrap_or_else(new);
        held.watch.step(block, baseline);
        weighed.from = held.from;
        let evidence = held.watch.evidence(baseline.kind(), asked.direction);
        if !subject.glance() {
            watches.held.insert(subject.print.to_owned(), held);
        }
        (weighed.value, weighed.speaker) = (evidence.value, evidence.speaker);
    }
    weighed
}

/// Both gates: evidence, and a change that is surely larger than the least.
fn verdict(subject: &Subject<'_>, asked: Anomaly, weighed: &Weighed<'_>, change: Option<Change>) -> Verdict {
    let least = subject.rule.bound.limit();
    match (&weighed.known, change) {
        // An open alert whose stream can no longer be tested is kept by the state as it is.
        (Err(_), _) if subject.pane.calls() == 0 => silent(subject.rule),
        (Err(_), _) => Verdict::Insufficient,
        (Ok(_), Some(change)) => {
            let breach = match weighed.open {
                Some(opened) => opened.still(change, least),
                None => change.size(asked.direction).1 > least,
            };
            if breach { Verdict::Breach } else { Verdict::Clear }
        }
        _ if weighed.block.is_none_or(|block| block.n <= 0.0) => silent(subject.rule),
        _ => Verdict::Clear,
    }
}

/// What is usual of a stream's level at its block, in the blocks' own numbers.
fn usual_level(weighed: &Weighed<'_>) -> Option<f64> {
    let (known, block) = (weighed.known.as_ref().ok()?, weighed.block.as_ref()?);
    known.baseline.as_ref().ok().map(|baseline| baseline.usual(block.at).0)
}

fn told(subject: &Subject<'_>, weighed: &Weighed<'_>, change: Option<Change>) -> UsualEvidence {
    let rule = subject.rule;
    // Where nothing changed it is the level that is told, whichever detector has most of the little evidence.
    let changed = change.map(|_| weighed.speaker);
    let shape = changed == Some(Speaker::Shape);
    let share = changed == Some(Speaker::Tail) || rule.measure.is_rate();
    let level = |mean: f64| match rule.measure {
        _ if share => mean,
        Measure::Calls => mean.exp() - 0.5,
        _ if rule.measure.is_mean() => mean,
        _ => mean.exp() * rule.measure.scale(),
    };
    let baseline = weighed.known.as_ref().ok().and_then(|known| known.baseline.as_ref().ok());
    let levels = change.filter(|_| !shape).map(|change| (level(change.usual), level(change.now)));
    UsualEvidence {
        detector: weighed.speaker.id().to_owned(),
        evidence: weighed.open.map_or(weighed.value, |opened| opened.evidence),
        bar: 0.0,
        false_pages_a_week: 0.0,
        before: levels
            .map(|(before, _)| before)
            .or_else(|| usual_level(weighed).filter(|_| change.is_none()).map(level)),
        now: levels.map(|(_, now)| now),
        level_unit: if share { Unit::Share } else { rule.measure.unit() },
        since: weighed.open.map_or(change.map(|change| change.at), |opened| Some(opened.since)),
        weighed_from: weighed.from,
        opened: weighed.open.map_or(change.map(|change| change.effect), |opened| Some(opened.effect)),
        baseline_day: baseline.map_or(0, |_| weighed.block.map_or(0, |block| day_of(block.at))),
        baseline_events: baseline.map_or(0.0, |baseline| baseline.events),
        baseline_blocks: baseline.map_or(0, |baseline| baseline.blocks),
        sees: None,
        sees_unit: if rule.measure.is_mean() { rule.measure.unit() } else { Unit::Change },
        untestable: weighed.known.as_ref().err().map_or_else(String::new, ToString::to_string),
        affected: Vec::new(),
        affected_count: 0,
    }
}

fn evidence(subject: &Subject<'_>, asked: Anomaly, change: Option<Change>, usual: UsualEvidence) -> Evidence {
    let direction = match asked.direction {
        Direction::Up => "up by more than",
        Direction::Down => "down by more than",
        Direction::Both => "off by more than",
    };
    Evidence {
        unit: match &subject.rule.measure {
            measure if measure.is_mean() => measure.unit(),
            _ if usual.detector == Speaker::Shape.id() => Unit::Share,
            _ => Unit::Change,
        },
        value: change.map(|change| change.effect),
        low: change.and_then(|change| change.interval.low),
        high: change.and_then(|change| change.interval.high),
        n: change.map_or_else(|| subject.pane.calls(), |change| change.n as u64),
        direction: direction.to_owned(),
        usual: Some(usual),
        ..bare(subject)
    }
}

#[cfg(test)]
mod tests {
    use leeway_core::interval::Interval;

    use super::*;

    #[test]
    fn an_open_alert_goes_on_while_its_change_is_there() {
        let opened = |effect| Opened { since: 0, from: 0, effect, evidence: 0.0, direction: Direction::Up };
        let now = |effect: f64, half: f64| {
            let interval = Interval { low: Some(effect - half), high: Some(effect + half) };
            Change { at: 0, effect, interval, usual: 0.0, now: 0.0, n: 0.0 }
        };
        // The least is a fifth; opened for twice as much.
        assert!(opened(0.4).still(now(0.11, 0.05), 0.2), "surely there, and more than half of the least");
        assert!(!opened(0.4).still(now(0.09, 0.05), 0.2), "under half of the least");
        assert!(opened(0.4).still(now(0.11, 0.5), 0.2), "not surely, but a fourth of what it was");
        assert!(!opened(4.0).still(now(0.11, 0.5), 0.2), "what chance makes after twenty times the least");
        assert!(opened(4.0).still(now(0.11, 0.05), 0.2), "surely there, however much it was");
        assert!(!opened(0.4).still(now(-0.4, 0.1), 0.2), "the other side is another alert");
    }
}
