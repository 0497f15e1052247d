//! What is usual of the streams of anomaly rules: each past day is read once into blocks, and baselines are made anew
//! each day from four weeks of them, which end a day before.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context, Result};
use leeway_alerts::rule::Rule;
use leeway_core::alert::{AlertLabels, Finding, State, fingerprint};
use leeway_core::clock::{DAY, HOUR, Micros, day_of};
use leeway_core::measure::Measure;
use leeway_core::pane::Pane;
use leeway_core::sketch::Sketch;
use leeway_detectors::stream::{Baseline, Block, Edges, Kind, Season, Untestable, decode, encode};
use leeway_store::{Store, StreamRow};
use sha2::{Digest, Sha256};

/// Days that a baseline is made of.
const DAYS: i64 = 28;
/// Days before a day that its baselines leave out: a change that began there may have yet to be told, and must not be learnt meanwhile.
const GUARD: i64 = 1;
/// What fires for longer has become usual.
const INCIDENT: Micros = 7 * DAY;
/// Values on its first day from which a stream's bins are cut.
const EDGES_FROM: u64 = 200;

/// The streams of a rule, as known on a day.
#[derive(Debug, Clone)]
pub struct Usual {
    pub day: i64,
    pub streams: BTreeMap<AlertLabels, Known>,
}

impl Usual {
    /// Streams that can be tested, and those that cannot.
    pub fn counted(&self) -> (usize, usize) {
        let tested = self.streams.values().filter(|known| known.baseline.is_ok()).count();
        (tested, self.streams.len() - tested)
    }
}

#[derive(Debug, Clone)]
pub struct Known {
    pub edges: Edges,
    pub baseline: Result<Baseline, Untestable>,
}

/// What rules measure alike have one history.
pub fn basis(rule: &Rule) -> String {
    let mut by = rule.by.clone();
    by.sort();
    let matches: BTreeMap<&String, &Vec<String>> = rule.matches.iter().collect();
    let text = format!("v1|{}|{by:?}|{matches:?}|{}", rule.measure, rule.window);
    Sha256::digest(text.as_bytes())[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn kind(measure: &Measure) -> Kind {
    match measure {
        Measure::Calls => Kind::Volume,
        _ if measure.is_rate() => Kind::Rate,
        _ if measure.is_mean() => Kind::Means,
        _ => Kind::Values,
    }
}

/// The rule's streams over `[from, to)`, their panes by block.
pub async fn blocks(
    store: &Store,
    rule: &Rule,
    from: Micros,
    to: Micros,
) -> Result<BTreeMap<AlertLabels, BTreeMap<Micros, Pane>>> {
    let mut found: BTreeMap<AlertLabels, BTreeMap<Micros, Pane>> = BTreeMap::new();
    let panes = if rule.window == HOUR {
        store.hours(rule.level(), rule.tenant(), from, to).await?
    } else {
        store.panes(rule.level(), rule.tenant(), from, to).await?
    };
    for series in panes {
        if rule.matches(&series.labels) {
            let block = series.window_start.div_euclid(rule.window) * rule.window;
            found.entry(rule.instance(&series.labels)).or_default().entry(block).or_default().merge(&series.pane);
        }
    }
    Ok(found)
}

/// Reads the days that nobody read yet, and makes the baselines for `day`. A backtest brings its own findings.
pub async fn learn(store: &Store, rule: &Rule, day: i64, replayed: Option<Vec<Finding>>) -> Result<Usual> {
    let (basis, oldest) = (basis(rule), day - DAYS - GUARD);
    let mut first = store.first_pane_day().await?.map_or(day, |first| first.max(oldest));
    // Blocks within an hour are made of minutes, as far as these are kept.
    if let Some(since) = store.minutes_since().await?.filter(|_| rule.window != HOUR) {
        first = first.max(day_of(since + DAY - 1));
    }
    let read = store.stream_days(&basis, oldest).await?;
    for past in (first..day).filter(|past| !read.contains(past)) {
        read_day(store, rule, &basis, past).await.with_context(|| format!("read day {past} into blocks"))?;
    }
    let findings = match replayed {
        Some(replayed) => replayed,
        None => {
            store.forget_streams(&basis, oldest).await?;
            store.findings_of_rule(&rule.id, oldest * DAY, day * DAY).await?
        }
    };
    let incidents = incidents(rule, findings, day * DAY);
    let mut streams = BTreeMap::new();
    for row in store.streams(&basis).await? {
        let labels: AlertLabels = serde_json::from_str(&row.labels).context("read stored labels")?;
        let edges = Edges::decode(&row.edges).with_context(|| format!("edges of stream {}", row.stream))?;
        let mut blocks = Vec::new();
        for (past, body) in store.stream_blocks(&basis, &row.stream, oldest, day - GUARD).await? {
            blocks.extend(decode(&body, past * DAY).with_context(|| format!("blocks of stream {}", row.stream))?);
        }
        if kind(&rule.measure) == Kind::Volume {
            fill(&mut blocks, rule.window, (day - GUARD) * DAY);
        }
        let excluded = incidents.get(&fingerprint(&rule.id, &labels)).map_or(&[][..], Vec::as_slice);
        let baseline = Baseline::learn(kind(&rule.measure), Season::Week, rule.bound.limit(), &blocks, excluded);
        streams.insert(labels, Known { edges, baseline });
    }
    tracing::info!(rule = rule.id, day, streams = streams.len(), "baselines are made");
    Ok(Usual { day, streams })
}

/// One past day: known streams first; new ones need their day's values before they can be cut into bins.
async fn read_day(store: &Store, rule: &Rule, basis: &str, day: i64) -> Result<()> {
    let mut edges: HashMap<String, Edges> = HashMap::new();
    for row in store.streams(basis).await? {
        edges.extend(Edges::decode(&row.edges).map(|known| (row.stream, known)));
    }
    let (mut made, mut new) = (BTreeMap::new(), Vec::new());
    let unknown = take_day(store, rule, (basis, day), &edges, &mut made).await?;
    let mut cut = HashMap::new();
    for (labels, pane) in &unknown {
        if let Some(found) = edges_of(&rule.measure, pane) {
            let stream = fingerprint(basis, labels);
            let labels = serde_json::to_string(labels).context("write labels")?;
            new.push(StreamRow { stream: stream.clone(), labels, edges: found.encode() });
            cut.insert(stream, found);
        }
    }
    if !cut.is_empty() {
        // Known streams are not among the cut ones, and are not taken twice.
        take_day(store, rule, (basis, day), &cut, &mut made).await?;
    }
    let bodies: Vec<(String, Vec<u8>)> =
        made.into_iter().map(|(stream, blocks)| (stream, encode(&blocks, day * DAY))).collect();
    Ok(store.write_stream_day((basis, day), &new, &bodies).await?)
}

/// The day's blocks of the streams whose edges are given, hour by hour; the others' panes, merged.
async fn take_day(
    store: &Store,
    rule: &Rule,
    (basis, day): (&str, i64),
    edges: &HashMap<String, Edges>,
    made: &mut BTreeMap<String, Vec<Block>>,
) -> Result<BTreeMap<AlertLabels, Pane>> {
    let mut unknown: BTreeMap<AlertLabels, Pane> = BTreeMap::new();
    for hour in 0..24 {
        let from = day * DAY + hour * HOUR;
        for (labels, panes) in blocks(store, rule, from, from + HOUR).await? {
            let stream = fingerprint(basis, &labels);
            if let Some(edges) = edges.get(&stream) {
                let block = |(at, pane): (&Micros, &Pane)| Block::of(*at, &rule.measure, pane, edges);
                made.entry(stream).or_default().extend(panes.iter().filter_map(block));
            } else {
                let merged = unknown.entry(labels).or_default();
                panes.values().for_each(|pane| merged.merge(pane));
            }
        }
    }
    Ok(unknown)
}

/// Where a stream's values are cut; `None` while it has too few to tell. A rate has no bins.
fn edges_of(measure: &Measure, pane: &Pane) -> Option<Edges> {
    if !measure.takes_quantile() {
        return Some(Edges::of(&Sketch::default()));
    }
    measure.sketch(pane).filter(|sketch| sketch.n() >= EDGES_FROM).map(Edges::of)
}

/// Blocks in which nothing came leave no pane, and are news of a number of calls: from a stream's first block on they count as none.
fn fill(blocks: &mut Vec<Block>, window: Micros, end: Micros) {
    let Some(first) = blocks.first().map(|block| block.at) else { return };
    let there: BTreeSet<Micros> = blocks.iter().map(|block| block.at).collect();
    let starts = (first / window..end / window).map(|number| number * window);
    blocks.extend(starts.filter(|at| !there.contains(at)).map(|at| Block::volume(at, 0.0, 0.0)));
    blocks.sort_by_key(|block| block.at);
}

/// When the rule's alerts fired, by instance. What still fires after a week has become usual: there it is the time before that is left out.
fn incidents(rule: &Rule, findings: Vec<Finding>, end: Micros) -> HashMap<String, Vec<(Micros, Micros)>> {
    let mut found: HashMap<String, Vec<(Micros, Micros)>> = HashMap::new();
    for finding in findings {
        if finding.rule != rule.id {
            continue;
        }
        let began = finding.evidence.usual.as_ref().and_then(|usual| usual.since).unwrap_or(finding.at);
        let spans = found.entry(finding.fingerprint).or_default();
        match (finding.to, spans.last_mut()) {
            (State::Firing, _) => spans.push((began, Micros::MAX)),
            (_, Some(last)) if finding.from == State::Firing => last.1 = finding.at,
            _ => {}
        }
    }
    for span in found.values_mut().flatten() {
        if span.1 == Micros::MAX && end - span.0 > INCIDENT {
            *span = (Micros::MIN, span.0);
        }
    }
    found
}

/// A stream's blocks since a time: of past days as they were read, of the rest from the panes, an hour at a time.
pub async fn since(
    store: &Store,
    rule: &Rule,
    asked: &BTreeMap<AlertLabels, Edges>,
    (from, end): (Micros, Micros),
) -> Result<BTreeMap<AlertLabels, Vec<Block>>> {
    let (basis, today) = (basis(rule), day_of(end - 1));
    let read = store.stream_days(&basis, day_of(from)).await?;
    let first = (day_of(from)..today).find(|day| !read.contains(day)).unwrap_or(today);
    let mut found: BTreeMap<AlertLabels, Vec<Block>> = BTreeMap::new();
    for labels in asked.keys() {
        let blocks = found.entry(labels.clone()).or_default();
        for (day, body) in store.stream_blocks(&basis, &fingerprint(&basis, labels), day_of(from), first).await? {
            blocks.extend(decode(&body, day * DAY).context("read stored blocks")?);
        }
        blocks.retain(|block| block.at >= from);
    }
    let mut start = from.max(first * DAY);
    while start < end {
        let stop = (start.div_euclid(HOUR) * HOUR + HOUR).min(end);
        for (labels, panes) in blocks(store, rule, start, stop).await? {
            if let Some(edges) = asked.get(&labels) {
                let made = panes.iter().filter_map(|(at, pane)| Block::of(*at, &rule.measure, pane, edges));
                found.entry(labels).or_default().extend(made);
            }
        }
        start = stop;
    }
    if kind(&rule.measure) == Kind::Volume {
        for blocks in found.values_mut() {
            let start = from.div_euclid(rule.window) * rule.window;
            if blocks.first().is_none_or(|block| block.at > start) {
                blocks.insert(0, Block::volume(start, 0.0, 0.0));
            }
            fill(blocks, rule.window, end);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use leeway_core::clock::MINUTE;

    use super::*;

    #[test]
    fn silence_counts_from_the_first_call_on() {
        let window = 5 * MINUTE;
        let mut blocks = vec![Block::volume(2 * window, 7.0, 7.0), Block::volume(5 * window, 3.0, 3.0)];
        fill(&mut blocks, window, 8 * window);
        let starts: Vec<i64> = blocks.iter().map(|block| block.at / window).collect();
        assert_eq!(starts, [2, 3, 4, 5, 6, 7]);
        assert_eq!(blocks.iter().filter(|block| block.n <= 0.5).count(), 4);
        let mut none = Vec::new();
        fill(&mut none, window, 8 * window);
        assert!(none.is_empty());
    }

    #[test]
    fn incidents_are_left_out_until_they_have_become_usual() {
        let rule = |id: &str| {
            let text =
                format!("[[rule]]\nid = \"{id}\"\nkind = \"anomaly\"\nmeasure = \"calls\"\nseverity = \"page\"\n");
            let dimensions = leeway_core::labels::Dimensions::default();
            leeway_alerts::rule::parse("rules", &text, &dimensions, &std::collections::BTreeSet::new())
                .unwrap()
                .remove(0)
        };
        let finding = |rule: &str, print: &str, from: State, to: State, at: Micros| {
            let json = serde_json::json!({
                "id": at.to_string(), "rule": rule, "rule_version": "", "fingerprint": print, "from": from, "to": to, "at": at,
                "evidence": { "measure": "calls", "unit": "count", "sketch_error": 0.0, "n": 0, "direction": "", "threshold": 0.0,
                    "min_events": 0, "window_start": at, "window_end": at, "coverage": 1.0 },
            });
            serde_json::from_value::<Finding>(json).unwrap()
        };
        let (fired, over) = (State::Firing, State::Resolved);
        let findings = vec![
            finding("a", "x", State::Inactive, fired, DAY),
            finding("b", "x", State::Inactive, fired, DAY),
            finding("a", "y", State::Inactive, fired, 2 * DAY),
            finding("a", "x", fired, over, 3 * DAY),
            finding("a", "x", over, State::Inactive, 4 * DAY),
        ];
        let of = |end: i64| incidents(&rule("a"), findings.clone(), end * DAY);
        assert_eq!(of(5)["x"], [(DAY, 3 * DAY)]);
        assert_eq!(of(5)["y"], [(2 * DAY, Micros::MAX)]);
        // Still firing after a week: what was before is no longer what is usual.
        assert_eq!(of(10)["y"], [(Micros::MIN, 2 * DAY)]);
        assert_eq!(basis(&rule("a")), basis(&rule("b")));
    }
}
