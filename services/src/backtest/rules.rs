//! Rules over what the store holds: each window of a time is judged with the whole state machine, from what it holds and
//! what lies before it; nothing is written but the blocks that baselines are made of, and nobody is told.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use leeway_alerts::rule::{Kind, Rule};
use leeway_core::alert::{Evidence, Finding, State};
use leeway_core::clock::{Clock, DAY, MINUTE, Micros, minute_of, parse_rfc3339, readable, readable_span, rfc3339};
use leeway_store::{AlertRow, Store};
use serde_json::{Value as Json, json};

use super::events::{self, Events, From};
use super::{Args, Incidents, judged};
use crate::evaluate::{Evaluator, Memory};
use crate::metrics::Metrics;
use crate::settings::Settings;

/// How far back is looked where nothing is said.
const BACK: Micros = 7 * DAY;
const SAY: Duration = Duration::from_secs(5);

/// One alert's time.
struct Alarm {
    fired: Finding,
    until: Option<Micros>,
    labels: String,
}

/// What one rule would have done.
struct Past {
    rule: Rule,
    windows: u64,
    alarms: Vec<Alarm>,
    /// Expected false alarms a week at most; `None` where the kind promises nothing.
    false_alarms: Option<f64>,
    /// Streams that could be tested on the last day, and those that could not; `None` of other kinds.
    streams: Option<(usize, usize)>,
}

pub async fn run(args: &Args, file: &Path) -> Result<()> {
    let began = Instant::now();
    let mut settings = Settings::load(args.config.as_deref())?;
    file.clone_into(&mut settings.rules.file);
    let rules: Vec<Rule> = settings.rules()?;
    let known: Vec<&str> = rules.iter().map(|rule| rule.id.as_str()).collect();
    if let Some(wanted) = args.rule.as_ref().filter(|wanted| !known.contains(&wanted.as_str())) {
        bail!("there is no rule `{wanted}` in {}; there are {}", file.display(), known.join(", "));
    }
    let events = match source(args)? {
        Some(from) => Some(events::read(&settings, from).await?),
        None => None,
    };
    let store = match &events {
        Some(events) => events.store.clone(),
        None => Store::open(&settings.location()).await.context("open the store (store.url)")?,
    };
    let (from, to) = span(args, &store, events.as_ref().map(|events| events.from)).await?;
    let mut pasts = Vec::new();
    for rule in rules.iter().filter(|rule| args.rule.as_ref().is_none_or(|wanted| *wanted == rule.id)) {
        pasts.push(replay(&store, &settings, &rules, rule, (from, to)).await?);
    }
    let starts: Vec<Micros> = pasts.iter().flat_map(|past| past.alarms.iter().map(|alarm| alarm.fired.at)).collect();
    let incidents = args.incidents.as_deref().map(|path| judged(path, None, &starts)).transpose()?;
    let seconds = began.elapsed().as_secs_f64();
    let told = if args.json {
        let mut told = json((from, to), &pasts, incidents.as_ref(), seconds);
        told["events"] = events.as_ref().map_or(Json::Null, Events::json);
        format!("{told}\n")
    } else {
        let read = events.as_ref().map_or_else(String::new, |events| format!("{}\n", events.text()));
        read + &text((from, to), &pasts, incidents.as_ref(), seconds)
    };
    std::io::stdout().lock().write_all(told.as_bytes()).context("print")
}

/// A time of the command line.
fn time(name: &str, text: Option<&String>) -> Result<Option<Micros>> {
    let read = |text: &String| {
        parse_rfc3339(text).with_context(|| format!("--{name}: `{text}` is no time such as 2026-11-01T00:00:00Z"))
    };
    text.map(read).transpose()
}

/// What is read in the place of the store.
fn source(args: &Args) -> Result<Option<From<'_>>> {
    if args.kafka {
        let (since, to) = (time("since", args.since.as_ref())?, time("to", args.to.as_ref())?);
        return Ok(Some(From::Topics { since, to }));
    }
    Ok((!args.events.is_empty()).then_some(From::Files { files: &args.events, format: args.format.as_deref() }))
}

/// The time to look at, in whole minutes: what is asked for, else all of what was read, or the last week of the minutes that are stored.
async fn span(args: &Args, store: &Store, read: Option<Micros>) -> Result<(Micros, Micros)> {
    let newest = store.partitions().await?.into_iter().map(|row| row.watermark).max().unwrap_or_default();
    let to = minute_of(time("to", args.to.as_ref())?.unwrap_or(newest));
    // Rules read minutes, as far back as these are kept.
    let since = store.minutes_since().await?.unwrap_or(Micros::MIN);
    let from = minute_of(time("from", args.from.as_ref())?.unwrap_or(read.unwrap_or((to - BACK).max(since))));
    if newest == 0 {
        bail!("the store is empty: there is nothing to look back at");
    }
    if from >= to {
        bail!("--from lies before --to: {} and {}", rfc3339(from), rfc3339(to));
    }
    if from < since {
        bail!(
            "--from is {}, and figures before {} are kept by the hour alone (retention.minutes_days): begin later",
            rfc3339(from),
            rfc3339(since)
        );
    }
    Ok((from, to))
}

/// Nobody is told.
fn quiet(rule: &Rule) -> Rule {
    Rule { receivers: Vec::new(), ..rule.clone() }
}

fn evaluator(store: &Store, settings: &Settings, rules: &[Rule], memory: Memory) -> Evaluator {
    Evaluator {
        store: store.clone(),
        rules: rules.iter().map(quiet).collect(),
        clock: Clock::System,
        owner: String::new(),
        external_url: String::new(),
        simulated: false,
        metrics: Arc::new(Metrics::default()),
        false_pages_a_week: settings.rules.false_pages_a_week,
        streams: settings.rules.streams,
        words: settings.names(),
        memory,
    }
}

/// Every window of one rule, in order: the states at the end, and each finding as it comes.
async fn walk(
    evaluator: &mut Evaluator,
    rule: &Rule,
    (from, to): (Micros, Micros),
    mut found: impl FnMut(&Finding, &BTreeMap<String, AlertRow>),
) -> Result<BTreeMap<String, AlertRow>> {
    let rule = quiet(rule);
    let mut rows: BTreeMap<String, AlertRow> = BTreeMap::new();
    let (mut end, mut said) = (from + MINUTE, Instant::now());
    while end <= to {
        while !evaluator.knows(&rule, rule.begin(end)).await? {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let before = rows.values().cloned().collect();
        let write =
            evaluator.evaluate(&rule, end, before).await.with_context(|| format!("evaluate rule {}", rule.id))?;
        rows.extend(write.alerts.into_iter().map(|row| (row.fingerprint.clone(), row)));
        for finding in write.findings {
            found(&finding, &rows);
            evaluator.memory.remember(finding);
        }
        if said.elapsed() > SAY {
            // Nobody to tell is no reason to stop.
            let _ = writeln!(std::io::stderr(), "{}: at {}", rule.id, readable(end));
            said = Instant::now();
        }
        end += MINUTE;
    }
    Ok(rows)
}

async fn replay(
    store: &Store,
    settings: &Settings,
    rules: &[Rule],
    rule: &Rule,
    span: (Micros, Micros),
) -> Result<Past> {
    let mut evaluator = evaluator(store, settings, rules, Memory::replay(rule));
    let step = if matches!(rule.kind, Kind::Anomaly(_)) { rule.window } else { MINUTE };
    let windows = (span.1.div_euclid(step) - span.0.div_euclid(step)).max(0).cast_unsigned();
    let mut past =
        Past { rule: rule.clone(), windows, alarms: Vec::new(), false_alarms: evaluator.budget(rule), streams: None };
    walk(&mut evaluator, rule, span, |finding, rows| past.take(finding, rows)).await?;
    past.streams = evaluator.memory.usual.get(&rule.id).map(crate::usual::Usual::counted);
    Ok(past)
}

/// The evidence of one alert at the end of a time, with what was known then; `None` where nothing of it is left.
pub(super) async fn again(
    store: &Store,
    settings: &Settings,
    rules: &[Rule],
    finding: &Finding,
    from: Micros,
) -> Result<Option<Evidence>> {
    let Some(rule) = rules.iter().find(|rule| rule.id == finding.rule) else { return Ok(None) };
    let mut evaluator = evaluator(store, settings, rules, Memory::again(rule, finding));
    let mut rows = walk(&mut evaluator, rule, (from, finding.at), |_, _| ()).await?;
    Ok(rows.remove(&finding.fingerprint).filter(|row| row.last_at == finding.at).map(|row| row.evidence))
}

impl Past {
    fn take(&mut self, finding: &Finding, rows: &BTreeMap<String, AlertRow>) {
        let labels = rows.get(&finding.fingerprint).map_or_else(String::new, |row| row.labels.clone());
        if finding.to == State::Firing {
            self.alarms.push(Alarm { fired: finding.clone(), until: None, labels });
        } else if finding.from == State::Firing {
            let open = |alarm: &&mut Alarm| alarm.fired.fingerprint == finding.fingerprint && alarm.until.is_none();
            if let Some(alarm) = self.alarms.iter_mut().find(open) {
                alarm.until = Some(finding.at);
            }
        }
    }
}

fn json((from, to): (Micros, Micros), pasts: &[Past], incidents: Option<&Incidents>, seconds: f64) -> Json {
    let alarm = |alarm: &Alarm| {
        let (evidence, labels) = (&alarm.fired.evidence, serde_json::from_str::<Json>(&alarm.labels));
        let usual = evidence.usual.as_ref();
        let test = evidence.drift.as_ref().map(|drift| drift.test.clone());
        json!({
            "at": rfc3339(alarm.fired.at),
            "until": alarm.until.map(rfc3339),
            "labels": labels.unwrap_or_default(),
            "detector": usual.map(|usual| usual.detector.clone()).or(test).unwrap_or_else(|| "threshold".into()),
            "effect": evidence.value,
            "interval": { "low": evidence.low, "high": evidence.high },
            "change_estimated_at": usual.and_then(|usual| usual.since).map(rfc3339),
            "evidence": evidence,
        })
    };
    let rule = |past: &Past| {
        json!({
            "rule": past.rule.id,
            "version": past.rule.version,
            "windows": past.windows,
            "false_alarms_a_week_at_most": past.false_alarms,
            "streams_tested": past.streams.map(|(tested, _)| tested),
            "streams_untestable": past.streams.map(|(_, untestable)| untestable),
            "alarms": past.alarms.iter().map(alarm).collect::<Vec<_>>(),
        })
    };
    json!({
        "from": rfc3339(from),
        "to": rfc3339(to),
        "rules": pasts.iter().map(rule).collect::<Vec<_>>(),
        "incidents": incidents.map_or(Json::Null, Incidents::json),
        "seconds": seconds,
    })
}

fn text((from, to): (Micros, Micros), pasts: &[Past], incidents: Option<&Incidents>, seconds: f64) -> String {
    let weeks = (to - from) as f64 / (7 * DAY) as f64;
    let mut lines = vec![format!("{} to {}, in {seconds:.1} s", readable(from), readable(to))];
    for past in pasts {
        let promise = match past.false_alarms {
            Some(most) => format!("at most {most:.3} false ones a week expected"),
            None => "false ones are not bounded for this kind of rule".to_owned(),
        };
        lines.push(String::new());
        let promise = match past.streams {
            Some((tested, untestable)) => {
                format!("{promise}; {tested} streams tested, {untestable} untestable, on the last day")
            }
            None => promise,
        };
        lines.push(format!(
            "{}: {} alarm{} in {} windows, {:.1} a week; {promise}",
            past.rule.id,
            past.alarms.len(),
            if past.alarms.len() == 1 { "" } else { "s" },
            past.windows,
            past.alarms.len() as f64 / weeks
        ));
        for alarm in &past.alarms {
            let evidence = &alarm.fired.evidence;
            let lasted = alarm.until.map_or_else(
                || "still firing at the end".to_owned(),
                |until| format!("for {}", readable_span(until - alarm.fired.at)),
            );
            let sure = evidence.shown_interval();
            let sure = if sure.is_empty() { sure } else { format!(" ({sure})") };
            lines.push(format!(
                "  {} {lasted}: {} {} was {}{sure}, {}",
                readable(alarm.fired.at),
                alarm.labels,
                evidence.what(),
                evidence.shown_value(),
                evidence.shown_threshold()
            ));
        }
    }
    if let Some(incidents) = incidents {
        lines.push(String::new());
        lines.push(incidents.text());
    }
    lines.join("\n") + "\n"
}
