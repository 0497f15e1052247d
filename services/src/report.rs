//! The weekly report: reads two weeks and more, compares, and says what could not be compared.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use anyhow::{Context, Result};
use leeway_core::alert::{AlertLabels, Evidence, Finding, MovedShare, State};
use leeway_core::clock::{DAY, HOUR, Micros, week, week_of};
use leeway_core::drift::Test;
use leeway_core::interval::Interval;
use leeway_core::kpi::{ALL, Kpi, Reading};
use leeway_core::labels::Level;
use leeway_core::measure::{Measure, Sample, Unit};
use leeway_core::moved::Moved;
use leeway_core::pane::{Counter, Pane};
use leeway_core::special::normal_tail;
use leeway_core::table::Table;
use leeway_core::words::Vocabulary;
use leeway_dashboards::report::{
    AlertLine, ChangeLine, CreepRow, Data, DriftRow, KpiRow, Outcome, Report, Verdict, WordsRow,
};
use leeway_detectors::drift::{self, Inconclusive};
use leeway_store::{Store, headline};

use crate::beside::shares;
use crate::creep;
use crate::periods::{self, Scope};
use crate::why::Cells;
use crate::wording;

const WEEK: Micros = 7 * DAY;
/// Weeks before, shown beside each figure.
const EARLIER: i64 = 4;
/// False discoveries of the whole report.
const LEVEL: f64 = 0.05;
/// A debiased PSI that matters in a report.
const MIN_PSI: f64 = 0.05;
/// Apps whose distributions are compared: those with most calls.
const APPS: usize = 20;
const MAX_FINDINGS: i64 = 10_000;
const MAX_CHANGES: i64 = 200;
const MEASURES: [Measure; 5] =
    [Measure::Duration, Measure::Ttft, Measure::InputTokens, Measure::OutputTokens, Measure::Cost];

/// What the settings say of a report.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub targets: BTreeMap<String, f64>,
    /// The words that are counted; `None` where none are.
    pub words: Option<Arc<Vocabulary>>,
}

/// The report of an ISO week.
pub async fn make(store: &Store, name: &str, now: Micros, wanted: &Wanted) -> Result<Report> {
    let (from, end) = week(name).with_context(|| format!("`{name}` is no ISO week such as 2026-W46"))?;
    // Where earlier weeks are kept by the hour alone, this one is compared with them up to a full hour.
    let by_hour = store.minutes_since().await?.is_some_and(|since| since > from - EARLIER * WEEK);
    let until = if by_hour { now.div_euclid(HOUR) * HOUR } else { now };
    let to = end.min(until.max(from));
    let partial = to < end;
    let all = Scope::default();
    // An unfinished week is compared with the same part of the one before.
    let span = to - from;
    let mut earlier = Vec::new();
    for back in 1..=EARLIER {
        let start = from - back * WEEK;
        earlier.push((week_of(start), periods::whole(store, &all, start, start + span.max(1)).await?));
    }
    let this = if span > 0 { periods::whole(store, &all, from, to).await? } else { Pane::default() };
    let before = earlier.first().map(|(_, pane)| pane.clone()).unwrap_or_default();
    let mut kpis = kpi_rows(&this, &before, &earlier, &wanted.targets);
    let Compared { mut drift, mut words, mut blind } =
        compared(store, (from, to.max(from + 1)), wanted.words.as_deref()).await?;
    let mut creep = crept(store, &drift, to, &mut blind).await?;
    adjust((&mut kpis, &mut drift), (&mut creep, &mut words));
    let creep_tested = creep.len();
    creep.retain(|row| creep::told(row, LEVEL));
    let changes = store.changes(from, to, MAX_CHANGES).await?;
    explain(store, (from, to), &mut kpis, &changes).await?;
    let findings = store.findings_between(from, to, MAX_FINDINGS).await?;
    let mut alerts = alert_lines(store, &findings, &changes).await?;
    alerts.extend(lasting(store, from, &findings).await?);
    alerts.sort_by_key(|line| line.fired_at);
    if findings.len() as i64 == MAX_FINDINGS || changes.len() as i64 == MAX_CHANGES {
        blind.push(format!("More than {MAX_FINDINGS} findings or {MAX_CHANGES} changes: the later ones are left out."));
    }
    blind.extend(blind_spots(&kpis, &this, &findings));
    let notes = store.imported(from - EARLIER * WEEK, to).await?;
    let data = data(store, &this, now).await?;
    Ok(Report {
        schema: 2,
        week: name.to_owned(),
        from,
        to: to.max(from + 1),
        made_at: now,
        partial,
        verdict: verdict(&kpis, &drift, &words),
        data,
        weeks: earlier.into_iter().map(|(week, _)| week).collect(),
        kpis,
        drift,
        words,
        creep,
        creep_tested,
        alerts,
        changes: changes.iter().map(change_line).collect(),
        blind,
        methods: methods(),
        imported: (!notes.is_empty()).then(|| notes.join(" ")),
    })
}

fn kpi_rows(this: &Pane, before: &Pane, earlier: &[(String, Pane)], targets: &BTreeMap<String, f64>) -> Vec<KpiRow> {
    let row = |kpi: &Kpi| {
        let reading = kpi.read(this, before, targets.get(kpi.id).copied().or(kpi.target));
        let p = reading.z().map(|z| 2.0 * normal_tail(z.abs()));
        KpiRow {
            sees: sees(&reading),
            p_adjusted: p,
            outcome: Outcome::NotAssessable,
            why: None,
            earlier: earlier.iter().map(|(_, pane)| kpi.of(pane).ok().map(|e| e.value)).collect(),
            reading,
        }
    };
    ALL.iter().map(row).collect()
}

/// The least change that the two intervals would have shown with 80 % at 5 %.
fn sees(reading: &Reading) -> Option<f64> {
    let half = |low: Option<f64>, high: Option<f64>| Some((high? - low?) / (2.0 * 1.959_963_984_540_054));
    let spread = half(reading.low, reading.high)?.hypot(half(reading.before_low, reading.before_high)?);
    Some(2.801_585_2 * spread)
}

/// Slow change of all traffic and of the apps that were compared.
async fn crept(store: &Store, drift: &[DriftRow], to: Micros, blind: &mut Vec<String>) -> Result<Vec<CreepRow>> {
    let creep = creep::rows(store, &apps_of(drift), to).await?;
    if creep.is_empty() {
        blind.push(
            "Slow change over five weeks was not looked for: no figure has values on 20 days of four weeks or more."
                .to_owned(),
        );
    }
    Ok(creep)
}

/// What the busiest apps' weeks have of distributions and words.
struct Compared {
    drift: Vec<DriftRow>,
    words: Vec<WordsRow>,
    blind: Vec<String>,
}

/// Distributions and words of the busiest apps, this week against the one before.
async fn compared(store: &Store, (from, to): (Micros, Micros), vocabulary: Option<&Vocabulary>) -> Result<Compared> {
    let (now, mut before) = (by_app(store, from, to).await?, by_app(store, from - WEEK, to - WEEK).await?);
    let total: u64 = now.values().map(Pane::calls).sum();
    let mut apps: Vec<(&Scope, &Pane)> = now.iter().collect();
    apps.sort_by_key(|(scope, pane)| (std::cmp::Reverse(pane.calls()), *scope));
    let mut blind = Vec::new();
    if apps.len() > APPS {
        blind.push(format!("{} apps with fewer calls than the busiest {APPS} were not compared.", apps.len() - APPS));
    }
    let (mut rows, mut words) = (Vec::new(), Vec::new());
    for (scope, pane) in apps.into_iter().take(APPS) {
        let earlier = before.remove(scope).unwrap_or_default();
        for measure in &MEASURES {
            rows.extend(drift_row(scope, measure, pane, &earlier, total));
        }
        rows.extend(embedding_rows(scope, pane, &earlier, total));
        rows.extend(table_rows(scope, pane, &earlier, total));
        // Without the list there are no names to tell.
        words.extend(vocabulary.into_iter().flat_map(|words| wording::rows(scope, (&earlier, pane), words)));
    }
    for scope in before.keys().filter(|scope| !now.contains_key(scope)) {
        blind.push(format!("{} / {} had calls the week before and none in this one.", scope.tenant, scope.app));
    }
    for row in rows.iter().filter(|row: &&DriftRow| row.effect.is_none()) {
        blind.push(format!("{} of {} / {} could not be compared: {}.", row.measure, row.tenant, row.app, row.untested));
    }
    if words.is_empty() {
        let why = if vocabulary.is_some() { "none were counted" } else { "they are not counted (scan.words)" };
        blind.push(format!("The words of what is asked, answered and failed were not compared: {why}."));
    }
    for row in words.iter().filter(|row: &&WordsRow| row.effect.is_none()) {
        blind.push(format!(
            "{} in {} / {} could not be compared by its words: {}.",
            row.of.title(),
            row.tenant,
            row.app,
            row.untested
        ));
    }
    Ok(Compared { drift: rows, words, blind })
}

/// The apps that were compared.
fn apps_of(drift: &[DriftRow]) -> Vec<Scope> {
    let mut apps: Vec<Scope> = Vec::new();
    for row in drift {
        let scope = Scope { tenant: row.tenant.clone(), app: row.app.clone() };
        if !apps.contains(&scope) {
            apps.push(scope);
        }
    }
    apps
}

async fn by_app(store: &Store, from: Micros, to: Micros) -> Result<BTreeMap<Scope, Pane>> {
    let mut found: BTreeMap<Scope, Pane> = BTreeMap::new();
    let mut start = from;
    while start < to {
        let end = (start + DAY).min(to);
        for series in store.hours(Level::App, None, start, end).await? {
            if headline(&series.labels) && series.labels.get("overflow").is_none() {
                let app = series.labels.get("app").unwrap_or("").to_owned();
                let scope = Scope { tenant: series.labels.tenant().to_owned(), app };
                found.entry(scope).or_default().merge(&series.pane);
            }
        }
        start = end;
    }
    Ok(found)
}

fn drift_row(scope: &Scope, measure: &Measure, now: &Pane, before: &Pane, total: u64) -> Option<DriftRow> {
    let (present, reference) = (measure.sketch(now)?, measure.sketch(before)?);
    if present.n() == 0 && reference.n() == 0 {
        return None;
    }
    let psi = match drift::psi::judge(reference, present, drift::psi::MIN_EVENTS) {
        drift::psi::Judged::Measured(psi) => Some(psi),
        _ => None,
    };
    let median = |pane: &Pane| {
        measure.of(pane, Some(0.5)).map_or_else(|| "none".to_owned(), |found| measure.unit().show(found.value))
    };
    Some(DriftRow {
        tenant: scope.tenant.clone(),
        app: scope.app.clone(),
        measure: measure.to_string(),
        outcome: Outcome::NotAssessable,
        effect: psi.as_ref().map(|psi| psi.effect),
        unit: Unit::Psi,
        matters: MIN_PSI,
        low: psi.as_ref().and_then(|psi| psi.interval.low),
        high: psi.as_ref().and_then(|psi| psi.interval.high),
        p_adjusted: psi.as_ref().map(|psi| psi.p),
        n: present.n(),
        n_before: reference.n(),
        medians: format!("{} and {}", median(now), median(before)),
        shares: String::new(),
        untested: format!("{} values now, {} before", present.n(), reference.n()),
        share: now.calls() as f64 / total.max(1) as f64,
    })
}

/// Embeddings of each space that either week has.
fn embedding_rows<'a>(
    scope: &'a Scope,
    now: &'a Pane,
    before: &'a Pane,
    total: u64,
) -> impl Iterator<Item = DriftRow> + 'a {
    let spaces: BTreeSet<&String> = now.embeddings().keys().chain(before.embeddings().keys()).collect();
    let row = move |space: &String| {
        compared_row(scope, (Measure::Embedding(space.clone()), Test::Discrepancy), (now, before), total)
    };
    spaces.into_iter().map(row)
}

/// How answers ended and how calls failed, where either week has some.
fn table_rows<'a>(
    scope: &'a Scope,
    now: &'a Pane,
    before: &'a Pane,
    total: u64,
) -> impl Iterator<Item = DriftRow> + 'a {
    let told = move |table: &Table| table.whole(now).n + table.whole(before).n > 0;
    Table::ALL.into_iter().filter(told).map(move |table| {
        let measure = Measure::Table(table);
        let [was, is] = [before, now].map(|pane| Sample::Table(table.counts(pane)));
        let shares = MovedShare::shown(&shares(table, Some(&was), &is));
        DriftRow { shares, ..compared_row(scope, (measure, Test::TotalVariation), (now, before), total) }
    })
}

fn compared_row(
    scope: &Scope,
    (measure, test): (Measure, Test),
    (now, before): (&Pane, &Pane),
    total: u64,
) -> DriftRow {
    let sample = |pane: &Pane| measure.sample(pane).unwrap_or(Sample::Means(None));
    let (reference, present) = (sample(before), sample(now));
    let (found, _) = drift::compare_samples(test, (Some(&reference), &present), 1.0, 0);
    // One text, the same in both weeks.
    let same = drift::Verdict { effect: 0.0, interval: Interval::between(0.0, 0.0), statistic: 0.0, p: 1.0 };
    let found = found.or_else(|reason| if reason == Inconclusive::Alike { Ok(same) } else { Err(reason) });
    let verdict = found.as_ref().ok();
    DriftRow {
        tenant: scope.tenant.clone(),
        app: scope.app.clone(),
        measure: measure.to_string(),
        outcome: Outcome::NotAssessable,
        effect: verdict.map(|verdict| verdict.effect),
        unit: test.unit(&measure),
        matters: test.least_effect(&measure).unwrap_or(0.0),
        low: verdict.and_then(|verdict| verdict.interval.low),
        high: verdict.and_then(|verdict| verdict.interval.high),
        p_adjusted: verdict.map(|verdict| verdict.p),
        n: present.n(),
        n_before: reference.n(),
        medians: String::new(),
        shares: String::new(),
        untested: found.err().map_or_else(String::new, |reason| reason.to_string()),
        share: now.calls() as f64 / total.max(1) as f64,
    }
}

/// Benjamini–Hochberg over the whole family of the report; then the outcomes.
fn adjust((kpis, drift): (&mut [KpiRow], &mut [DriftRow]), (creep, words): (&mut [CreepRow], &mut [WordsRow])) {
    let mut raw: Vec<&mut f64> = kpis.iter_mut().filter_map(|row| row.p_adjusted.as_mut()).collect();
    raw.extend(drift.iter_mut().filter_map(|row| row.p_adjusted.as_mut()));
    raw.extend(creep.iter_mut().map(|row| &mut row.p_adjusted));
    raw.extend(words.iter_mut().filter_map(|row| row.p_adjusted.as_mut()));
    benjamini_hochberg(&mut raw);
    for row in kpis {
        let (reading, sure) = (&row.reading, row.p_adjusted.map(|p| p < LEVEL));
        row.outcome = match (reading.value, reading.before, sure) {
            (None, ..) | (_, None, _) => Outcome::NotAssessable,
            // An exact figure needs no test; without a good side it is news, not a verdict.
            (.., None) if !reading.exact => Outcome::NotAssessable,
            (.., None) if reading.matters() && reading.better != leeway_core::kpi::Better::Neither => Outcome::Material,
            (.., Some(true)) if reading.matters() => Outcome::Material,
            (..) if reading.matters() => Outcome::Watch,
            // However sure: too small to matter.
            _ => Outcome::Stable,
        };
    }
    for row in drift.iter_mut() {
        row.outcome = match (row.effect, row.p_adjusted) {
            (Some(effect), Some(p)) if p < LEVEL && effect >= row.matters => Outcome::Material,
            (Some(effect), Some(_)) if effect >= row.matters => Outcome::Watch,
            (Some(_), Some(_)) => Outcome::Stable,
            _ => Outcome::NotAssessable,
        };
    }
    words.iter_mut().for_each(|row| row.outcome = wording::outcome(row, LEVEL));
    // What needs reading comes first; the order of the apps stays within.
    drift.sort_by_key(|row| row.outcome);
}

/// Adjusted p-values in place: the least level at which each is a discovery (Benjamini and Hochberg 1995).
fn benjamini_hochberg(p: &mut [&mut f64]) {
    let family = p.len() as f64;
    p.sort_by(|a, b| a.total_cmp(b));
    let mut least: f64 = 1.0;
    for (rank, value) in p.iter_mut().enumerate().rev() {
        least = least.min(**value * family / (rank + 1) as f64);
        **value = least;
    }
}

/// Where the figures that moved did so.
async fn explain(store: &Store, (from, to): (Micros, Micros), kpis: &mut [KpiRow], changes: &[Change]) -> Result<()> {
    let mean = |id: &str| Kpi::find(id).is_some_and(Kpi::is_mean);
    let mut moved: Vec<&mut KpiRow> =
        kpis.iter_mut().filter(|row| row.outcome == Outcome::Material && mean(row.reading.id)).collect();
    if moved.is_empty() {
        return Ok(());
    }
    let cells = Cells::read(store, [(from, to), (from - WEEK, to - WEEK)]).await?;
    for row in &mut moved {
        row.why = cells.why(&row.reading, changes);
    }
    Ok(())
}

fn verdict(kpis: &[KpiRow], drift: &[DriftRow], words: &[WordsRow]) -> Verdict {
    let count = |outcome: Outcome| {
        kpis.iter().filter(|row| row.outcome == outcome).count()
            + drift.iter().filter(|row| row.outcome == outcome).count()
            + words.iter().filter(|row| row.outcome == outcome).count()
    };
    Verdict {
        material: count(Outcome::Material),
        watch: count(Outcome::Watch),
        stable: count(Outcome::Stable),
        not_assessable: count(Outcome::NotAssessable),
    }
}

pub type Change = (Micros, String, String, String, String);

async fn alert_lines(store: &Store, findings: &[Finding], changes: &[Change]) -> Result<Vec<AlertLine>> {
    let mut open: HashMap<&str, usize> = HashMap::new();
    let mut lines: Vec<AlertLine> = Vec::new();
    for finding in findings {
        match finding.to {
            State::Firing => {
                let row = store.alert(&finding.fingerprint).await?;
                let labels: AlertLabels =
                    row.as_ref().and_then(|row| serde_json::from_str(&row.labels).ok()).unwrap_or_default();
                let scope: Vec<String> = labels.iter().map(|(name, value)| format!("{name} = {value}")).collect();
                open.insert(&finding.fingerprint, lines.len());
                let evidence = &finding.evidence;
                lines.push(AlertLine {
                    rule: finding.rule.clone(),
                    scope: if scope.is_empty() { "all traffic".to_owned() } else { scope.join(", ") },
                    severity: row.map_or_else(String::new, |row| row.severity.name().to_owned()),
                    fired_at: finding.at,
                    resolved_at: None,
                    what: fired_by(evidence),
                    coincides: coinciding(&labels, finding.at, changes),
                });
            }
            State::Resolved => {
                if let Some(line) = open.remove(finding.fingerprint.as_str()).and_then(|place| lines.get_mut(place)) {
                    line.resolved_at = Some(finding.at);
                }
            }
            _ => {}
        }
    }
    Ok(lines)
}

/// What fired an alert, and where it moved.
fn fired_by(evidence: &Evidence) -> String {
    let place = evidence.moved.as_ref().and_then(Moved::place);
    let place = place.map_or_else(String::new, |place| format!("; {place}"));
    format!("{} was {}, {}{place}", evidence.what(), evidence.shown_value(), evidence.shown_threshold())
}

/// Alerts that fired before the week and still did when it began.
async fn lasting(store: &Store, from: Micros, findings: &[Finding]) -> Result<Vec<AlertLine>> {
    let mut first: BTreeMap<&str, &Finding> = BTreeMap::new();
    for finding in findings.iter().filter(|finding| matches!(finding.to, State::Firing | State::Resolved)) {
        first.entry(&finding.fingerprint).or_insert(finding);
    }
    let resolved = first.values().filter(|finding| finding.to == State::Resolved);
    let mut rows = Vec::new();
    for finding in resolved {
        rows.extend(store.alert(&finding.fingerprint).await?.map(|row| (row, Some(finding.at))));
    }
    let open = store.open_alerts().await?.into_iter();
    rows.extend(
        open.filter(|row| row.state == State::Firing && !first.contains_key(row.fingerprint.as_str()))
            .map(|row| (row, None)),
    );
    let mut lines = Vec::new();
    for (row, resolved_at) in rows {
        // The row holds the newest episode; of an older one only the end is known.
        let fired_at = row.fired_at.filter(|at| *at < from);
        let labels: AlertLabels = serde_json::from_str(&row.labels).unwrap_or_default();
        let scope: Vec<String> = labels.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        let Some(fired_at) = fired_at.or(resolved_at.map(|_| from)) else { continue };
        lines.push(AlertLine {
            rule: row.rule,
            scope: if scope.is_empty() { "all traffic".to_owned() } else { scope.join(", ") },
            severity: row.severity.name().to_owned(),
            fired_at,
            resolved_at,
            what: "it fired before this week".to_owned(),
            coincides: None,
        });
    }
    Ok(lines)
}

/// The last change of the alert's app within the hour before it fired.
fn coinciding(labels: &AlertLabels, at: Micros, changes: &[Change]) -> Option<String> {
    let fits = |label: &str, value: &str| labels.get(label).is_none_or(|own| value.is_empty() || own == value);
    let mut near = changes.iter().rev().filter(|(time, tenant, app, ..)| {
        (at - HOUR..=at).contains(time) && fits("tenant", tenant) && fits("app", app)
    });
    near.next().map(|change| change_line(change).what)
}

pub fn change_line((at, tenant, app, kind, body): &Change) -> ChangeLine {
    let body: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let part = |name: &str| body.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    let (from, to, ticket) = (part("from"), part("to"), part("ticket"));
    let mut what = format!("{kind} change");
    if !to.is_empty() {
        what += &if from.is_empty() { format!(" to {to}") } else { format!(" from {from} to {to}") };
    }
    if !ticket.is_empty() {
        what += &format!(" ({ticket})");
    }
    if body["unregistered"] == true {
        what += ", first seen in traffic and registered by nobody";
    }
    let scope = if app.is_empty() { tenant.clone() } else { format!("{tenant} / {app}") };
    ChangeLine { at: *at, scope, what }
}

fn blind_spots(kpis: &[KpiRow], this: &Pane, findings: &[Finding]) -> Vec<String> {
    let mut blind = Vec::new();
    for row in kpis {
        let reading = &row.reading;
        match (reading.reason, reading.before) {
            (Some(reason), _) => blind.push(format!("{}: {reason}.", reading.title)),
            (None, None) => {
                blind.push(format!("{}: the week before has no such figure to compare with.", reading.title))
            }
            _ => {}
        }
    }
    let unseen = this.calls().saturating_sub(this.get(Counter::Scanned).n);
    if unseen > 0 && this.calls() > 0 {
        let share = unseen as f64 / this.calls() as f64 * 100.0;
        blind.push(format!(
            "{share:.1} % of the calls came without their answer's text: leaks and refusals in them were not seen."
        ));
    }
    let starved: std::collections::BTreeSet<&str> = findings
        .iter()
        .filter(|finding| finding.to == State::InsufficientData)
        .map(|finding| finding.rule.as_str())
        .collect();
    if !starved.is_empty() {
        let rules: Vec<&str> = starved.into_iter().collect();
        blind.push(format!("At times these rules had too few events to judge by: {}.", rules.join(", ")));
    }
    blind
}

fn methods() -> Vec<String> {
    vec![
        "Figures: intervals at 95 %, Wilson's for shares, order statistics for percentiles, the normal law's for means; sums and counts are exact.".to_owned(),
        "Change of a figure: the difference over the root of both periods' variances, as their intervals give them, against the normal law. Calls are taken as independent; sessions and tenants that call in bursts make it eager.".to_owned(),
        "Drift: population stability index over the deciles of the week before, debiased, tested against χ². Of embeddings: maximum mean discrepancy by random Fourier features, in deviations of the features, tested against its law of weighted χ²; calls are taken as independent. Of finish reasons and error classes: total variation distance, the share of calls that ended or failed otherwise, debiased, tested by G.".to_owned(),
        format!("All p-values of the report are one family, adjusted by Benjamini–Hochberg at {LEVEL}; a material change also passes a least effect (PSI {MIN_PSI}; 0.1 deviations of embeddings; three points of how answers ended and calls failed; 10 % of a time or price; a quarter and 0.2 points of a share)."),
        "Why a mean moved: Kitagawa's decomposition over tenants, apps and models (95 % by the normal law); slices that carry a tenth of the change or more, three at most. Percentiles, sums and cost per success have no such parts.".to_owned(),
        "Slow change: the seasonal Kendall test over the days of five weeks, weekdays as seasons, of all traffic and of the busiest apps; the slope is the median of all within weekdays. Days are taken as independent: what a whole week shares makes it eager.".to_owned(),
        "Words: Fisher's exact test of each word that ten texts or more have, times their number; told are those under 5 % that came or went by two points of the texts, if the first of them is sure in the report's family too. Texts are taken as independent: conversations that say the same again make it eager.".to_owned(),
        "Changes that coincide with an alert, or were made where a figure moved, are named; that they caused it is not claimed.".to_owned(),
    ]
}

async fn data(store: &Store, this: &Pane, now: Micros) -> Result<Data> {
    let counts = store.feedback_counts().await?;
    let count = |state: &str| counts.get(state).copied().unwrap_or(0);
    let share = |n: u64| (this.calls() > 0).then(|| (n as f64 / this.calls() as f64).min(1.0));
    let labels = u64::try_from(this.outcome("success").valued).unwrap_or(0);
    let partitions = store.partitions().await?;
    let live = partitions.iter().filter(|row| row.flushed_at >= now - HOUR && row.watermark > 0);
    Ok(Data {
        calls: this.calls(),
        text_coverage: share(this.get(Counter::Scanned).n),
        labels,
        label_coverage: share(labels),
        feedback_waiting: count("pending"),
        feedback_orphans: count("orphan"),
        unpriced: this.get(Counter::Unpriced).n,
        watermark: live.map(|row| row.watermark).min(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjusted_p_values_equal_scipy() {
        // scipy.stats.false_discovery_control([0.01, 0.04, 0.03, 0.5, 0.002])
        let mut p = [0.01, 0.04, 0.03, 0.5, 0.002];
        benjamini_hochberg(&mut p.iter_mut().collect::<Vec<_>>());
        for (ours, scipy) in p.iter().zip([0.025, 0.05, 0.05, 0.5, 0.01]) {
            assert!((ours - scipy).abs() < 1e-12, "{ours} {scipy}");
        }
    }

    #[test]
    fn a_change_within_the_hour_before_an_alert_of_its_app_coincides() {
        let body = r#"{"from":"v1","to":"v2"}"#.to_owned();
        let change = |at, app: &str| (at, "acme".to_owned(), app.to_owned(), "prompt".to_owned(), body.clone());
        let changes = [change(0, "a"), change(HOUR, "a"), change(HOUR, "b")];
        let labels = AlertLabels::from([("app".to_owned(), "a".to_owned())]);
        assert_eq!(coinciding(&labels, HOUR + 5, &changes).as_deref(), Some("prompt change from v1 to v2"));
        assert_eq!(coinciding(&labels, 3 * HOUR, &changes), None);
    }

    #[test]
    fn a_week_says_whether_texts_are_about_something_else() {
        use leeway_core::embedding::Features;
        use leeway_core::pane::Numbers;
        // Texts about two things at equal parts, or of which some are about a third.
        let pane = |space: &str, n: usize, novel: usize| {
            let mut pane = Pane::default();
            for i in 0..n {
                let mut vector = [0.1, 0.1, 0.1, (i % 7) as f32 / 20.0];
                vector[if i < novel { 2 } else { i % 2 }] = 1.0;
                let embedding = Features::of(&vector).map(|features| Box::new((space.into(), features)));
                pane.add(&Numbers { embedding, ..Numbers::default() });
            }
            pane
        };
        let scope = Scope { tenant: "acme".into(), app: "shop".into() };
        let rows = |before: &Pane, now: &Pane| {
            let mut rows: Vec<DriftRow> = embedding_rows(&scope, now, before, now.calls()).collect();
            adjust((&mut [], &mut rows), (&mut [], &mut []));
            rows
        };
        let told = |before: &Pane, now: &Pane| rows(before, now).remove(0);
        let moved = told(&pane("e5", 600, 0), &pane("e5", 600, 150));
        assert_eq!((moved.outcome, moved.measure.as_str(), moved.n_before), (Outcome::Material, "embedding.e5", 600));
        assert_eq!(told(&pane("e5", 600, 0), &pane("e5", 500, 0)).outcome, Outcome::Stable);
        // One text, the same in both weeks.
        let one = |n: usize| {
            let mut pane = Pane::default();
            let features = Features::of(&[1.0, 2.0]).map(|features| Box::new(("e5".into(), features)));
            (0..n).for_each(|_| pane.add(&Numbers { embedding: features.clone(), ..Numbers::default() }));
            pane
        };
        assert_eq!(told(&one(300), &one(200)).outcome, Outcome::Stable);
        let other = rows(&pane("ada", 600, 0), &pane("e5", 600, 0));
        assert!(other.len() == 2 && other.iter().all(|row| row.outcome == Outcome::NotAssessable), "{other:?}");
        assert!(other.iter().any(|row| row.untested.contains("the reference has 0 values")), "{other:?}");
        assert!(rows(&Pane::default(), &Pane::default()).is_empty());
    }
}
