//! What is usual of the streams of anomaly rules: each past day is read once into blocks, and baselines are made anew
//! each day from four weeks of them.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result};
use leeway_alerts::rule::Rule;
use leeway_core::alert::{AlertLabels, Finding, State, fingerprint};
use leeway_core::clock::{DAY, HOUR, Micros};
use leeway_core::measure::Measure;
use leeway_core::pane::Pane;
use leeway_core::sketch::Sketch;
use leeway_detectors::stream::{Baseline, Block, Edges, Kind, Season, Untestable, decode, encode};
use leeway_store::{Store, StreamRow};
use sha2::{Digest, Sha256};

/// Days that a baseline is made of.
const DAYS: i64 = 28;
/// What fires for longer has become usual.
const INCIDENT: Micros = 7 * DAY;
/// Values on its first day from which a stream's bins are cut.
const EDGES_FROM: u64 = 200;
/// State changes that are looked through for incidents.
const FINDINGS: i64 = 100_000;

/// The streams of a rule, as known on a day.
#[derive(Debug, Clone)]
pub struct Usual {
    pub day: i64,
    pub streams: BTreeMap<AlertLabels, Known>,
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
    let tenant = rule.matches.get("tenant").filter(|values| values.len() == 1).map(|values| values[0].as_str());
    let mut found: BTreeMap<AlertLabels, BTreeMap<Micros, Pane>> = BTreeMap::new();
    for series in store.panes(rule.level(), tenant, from, to).await? {
        if rule.matches(&series.labels) {
            let block = series.window_start.div_euclid(rule.window) * rule.window;
            found.entry(rule.instance(&series.labels)).or_default().entry(block).or_default().merge(&series.pane);
        }
    }
    Ok(found)
}

/// Reads the days that nobody read yet, and makes the baselines for `day`. A backtest brings its own findings.
pub async fn learn(store: &Store, rule: &Rule, day: i64, replayed: Option<Vec<Finding>>) -> Result<Usual> {
    let (basis, oldest) = (basis(rule), day - DAYS);
    let first = store.first_pane_day().await?.map_or(day, |first| first.max(oldest));
    let read = store.stream_days(&basis, oldest).await?;
    for past in (first..day).filter(|past| !read.contains(past)) {
        read_day(store, rule, &basis, past).await.with_context(|| format!("read day {past} into blocks"))?;
    }
    let findings = match replayed {
        Some(replayed) => replayed,
        None => {
            store.forget_streams(&basis, oldest).await?;
            store.findings_between(oldest * DAY, day * DAY, FINDINGS).await?
        }
    };
    let incidents = incidents(rule, findings);
    let mut streams = BTreeMap::new();
    for row in store.streams(&basis).await? {
        let labels: AlertLabels = serde_json::from_str(&row.labels).context("read stored labels")?;
        let edges = Edges::decode(&row.edges).with_context(|| format!("edges of stream {}", row.stream))?;
        let mut blocks = Vec::new();
        for (past, body) in store.stream_blocks(&basis, &row.stream, oldest, day).await? {
            blocks.extend(decode(&body, past * DAY).with_context(|| format!("blocks of stream {}", row.stream))?);
        }
        let excluded = incidents.get(&fingerprint(&rule.id, &labels)).map_or(&[][..], Vec::as_slice);
        let baseline = Baseline::learn(kind(&rule.measure), Season::Week, &blocks, excluded);
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
    if !unknown.is_empty() {
        let mut cut = HashMap::new();
        for (labels, pane) in &unknown {
            if let Some(found) = edges_of(&rule.measure, pane) {
                let stream = fingerprint(basis, labels);
                let labels = serde_json::to_string(labels).context("write labels")?;
                new.push(StreamRow { stream: stream.clone(), labels, edges: found.encode() });
                cut.insert(stream, found);
            }
        }
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

/// When the rule's alerts fired, by instance, a week each at most.
fn incidents(rule: &Rule, findings: Vec<Finding>) -> HashMap<String, Vec<(Micros, Micros)>> {
    let mut found: HashMap<String, Vec<(Micros, Micros)>> = HashMap::new();
    for finding in findings {
        if finding.rule != rule.id {
            continue;
        }
        let began = finding.evidence.usual.as_ref().and_then(|usual| usual.since).unwrap_or(finding.at);
        let spans = found.entry(finding.fingerprint).or_default();
        match (finding.to, spans.last_mut()) {
            (State::Firing, _) => spans.push((began, began + INCIDENT)),
            (_, Some(last)) if finding.from == State::Firing => last.1 = last.1.min(finding.at),
            _ => {}
        }
    }
    found
}
