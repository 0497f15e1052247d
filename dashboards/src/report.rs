//! The weekly drift report: one model, three renderings (page and file, Markdown, mail), JSON by its fields.

use std::fmt::Write;

use askama::Template;
use leeway_core::alert::MovedWords;
use leeway_core::clock::{Micros, readable, readable_span};
use leeway_core::interval::Interval;
use leeway_core::kpi::Reading;
use leeway_core::measure::Unit;
use leeway_core::words::Of;
use serde::Serialize;

use crate::{Frame, RenderError};

/// A week in numbers, as sure as they are.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub schema: u32,
    pub week: String,
    pub from: Micros,
    pub to: Micros,
    pub made_at: Micros,
    /// The week is not over: compared with the same part of the week before.
    pub partial: bool,
    pub verdict: Verdict,
    pub data: Data,
    /// Every key figure of the week beside the week before.
    pub kpis: Vec<KpiRow>,
    /// Earlier weeks, newest first.
    pub weeks: Vec<String>,
    pub drift: Vec<DriftRow>,
    /// Words of the busiest apps.
    pub words: Vec<WordsRow>,
    /// What moved slowly, and surely, and by as much as matters.
    pub creep: Vec<CreepRow>,
    /// Figures of a scope that have days enough to be looked at.
    pub creep_tested: usize,
    pub alerts: Vec<AlertLine>,
    /// Changes that were registered for the week.
    pub changes: Vec<ChangeLine>,
    /// What could not be tested or seen, and why.
    pub blind: Vec<String>,
    pub methods: Vec<String>,
    /// Set where numbers were imported or simulated.
    pub imported: Option<String>,
}

/// How a comparison came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Sure, and large enough to matter.
    Material,
    /// Large enough to matter, and not sure.
    Watch,
    NotAssessable,
    /// Too small to matter, or none.
    Stable,
}

impl Outcome {
    pub fn words(self) -> &'static str {
        match self {
            Self::Material => "material change",
            Self::Watch => "watch",
            Self::Stable => "stable",
            Self::NotAssessable => "not assessable",
        }
    }

    fn badge(self) -> &'static str {
        match self {
            Self::Material => "firing",
            Self::Watch => "pending",
            Self::Stable => "resolved",
            Self::NotAssessable => "none",
        }
    }
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct Verdict {
    pub material: usize,
    pub watch: usize,
    pub stable: usize,
    pub not_assessable: usize,
}

#[derive(Debug, Clone, Serialize)]
pub struct Data {
    pub calls: u64,
    pub text_coverage: Option<f64>,
    pub labels: u64,
    /// Share of calls with a known outcome.
    pub label_coverage: Option<f64>,
    pub feedback_waiting: u64,
    pub feedback_orphans: u64,
    pub unpriced: u64,
    /// Least watermark of the live partitions when the report was made.
    pub watermark: Option<Micros>,
}

#[derive(Debug, Clone, Serialize)]
pub struct KpiRow {
    #[serde(flatten)]
    pub reading: Reading,
    pub outcome: Outcome,
    /// Where it moved; `None` where it did not, or has no parts.
    pub why: Option<Why>,
    /// Of the change, adjusted over the family; `None` where the number is exact or missing.
    pub p_adjusted: Option<f64>,
    /// Least change that would have been seen with 80 % at 5 %.
    pub sees: Option<f64>,
    /// The same figure in the weeks before, newest first.
    pub earlier: Vec<Option<f64>>,
}

/// Where a figure moved, in its unit: the parts add up to the change.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Why {
    /// Slices that grew or shrank.
    pub mix: Share,
    /// Slices that behave differently.
    pub behaviour: Share,
    /// Those that carry most of it, the largest first.
    pub carriers: Vec<Carrier>,
    /// What was changed there.
    pub changes: Vec<String>,
}

/// A part of a change with its 95 % interval, where it is an estimate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Share {
    pub value: f64,
    pub low: Option<f64>,
    pub high: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Carrier {
    /// Tenant, app and model.
    pub slice: String,
    pub part: f64,
    pub before: Option<f64>,
    pub now: Option<f64>,
    /// Share of what the figure counts now.
    pub share: f64,
}

impl Why {
    /// `Of it -0.02 points are mix …; acme / chat carries …`
    fn sentence(&self, unit: Unit) -> String {
        let signed = |value: f64| match unit {
            Unit::Share => format!("{:+.2} points", value * 100.0),
            _ => format!("{}{}", if value < 0.0 { "-" } else { "+" }, unit.show(value.abs())),
        };
        let part = |part: &Share| match (part.low, part.high) {
            (Some(low), Some(high)) => format!("{} ({} to {})", signed(part.value), signed(low), signed(high)),
            _ => signed(part.value),
        };
        let level = |level: Option<f64>| level.map_or_else(|| "nothing".to_owned(), |level| unit.show(level));
        let carries = |carrier: &Carrier| {
            let Carrier { slice, part, before, now, share } = carrier;
            let (before, now) = (level(*before), level(*now));
            format!("{slice} carries {} ({before} to {now}, {:.1} % of what is counted)", signed(*part), share * 100.0)
        };
        let mut said = format!(
            "Of it {} lies in how slices behave and {} in which slices there are.",
            part(&self.behaviour),
            part(&self.mix)
        );
        if !self.carriers.is_empty() {
            let carriers: Vec<String> = self.carriers.iter().map(carries).collect();
            let _ = write!(said, " {}.", carriers.join("; "));
        }
        if !self.changes.is_empty() {
            let _ = write!(said, " Changed there: {}.", self.changes.join(", "));
        }
        said
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct DriftRow {
    pub tenant: String,
    pub app: String,
    pub measure: String,
    pub outcome: Outcome,
    /// How far it moved, without what chance makes of it, with its 95 % interval: PSI of a distribution, deviations of embeddings.
    pub effect: Option<f64>,
    pub unit: Unit,
    /// From which effect on it matters.
    pub matters: f64,
    pub low: Option<f64>,
    pub high: Option<f64>,
    pub p_adjusted: Option<f64>,
    pub n: u64,
    pub n_before: u64,
    /// Medians of this week and the week before, with their unit; empty where there are none.
    pub medians: String,
    /// Of a table: the categories whose shares differ, this week and the week before; empty of what has none.
    #[serde(default)]
    pub shares: String,
    /// Why it could not be compared.
    pub untested: String,
    /// Share of the week's calls.
    pub share: f64,
}

impl DriftRow {
    fn shown_interval(&self) -> String {
        let (low, high) = (self.low.unwrap_or(0.0), self.high.unwrap_or(0.0));
        match self.unit {
            Unit::Share => self.unit.show_interval(Interval { low: self.low, high: self.high }),
            // Its unit stands with the effect.
            _ => format!("{low:.3} to {high:.3}"),
        }
    }
}

/// The words of an app's texts, this week beside the one before.
#[derive(Debug, Clone, Serialize)]
pub struct WordsRow {
    pub tenant: String,
    pub app: String,
    pub of: Of,
    pub outcome: Outcome,
    /// `None` where they could not be compared.
    pub words: Option<MovedWords>,
    /// Change of the share of texts, of the word that went furthest for sure.
    pub effect: Option<f64>,
    pub p_adjusted: Option<f64>,
    /// Why they could not be compared.
    pub untested: String,
    /// Texts.
    pub n: u64,
    pub n_before: u64,
}

impl WordsRow {
    fn sentence(&self) -> String {
        let words = self.words.as_ref().map_or_else(String::new, MovedWords::shown);
        let p = self.p_adjusted.map_or_else(|| "unknown".to_owned(), show_p);
        format!(
            "{} in {} / {} has other words: {words}; adjusted p {p}, {} texts beside {}.",
            self.of.title(),
            self.tenant,
            self.app,
            self.n,
            self.n_before
        )
    }
}

/// A figure that moved slowly over the last weeks.
#[derive(Debug, Clone, Serialize)]
pub struct CreepRow {
    /// All traffic, or a tenant's app.
    pub scope: String,
    pub title: &'static str,
    pub unit: Unit,
    /// By week, with its 95 % interval.
    pub slope: f64,
    pub low: f64,
    pub high: f64,
    /// Medians of the days of the first and the last week.
    pub first: f64,
    pub last: f64,
    /// Days that have a value, and the weeks from the first to the last.
    pub days: usize,
    pub weeks: i64,
    pub p_adjusted: f64,
    /// The week by which most of it had come, where it was one.
    pub step: Option<String>,
}

impl CreepRow {
    fn sentence(&self) -> String {
        let show = |value: f64| {
            let sign = if value > 0.0 { "+" } else { "" };
            format!("{sign}{}", self.unit.show(value))
        };
        let step = self.step.as_ref().map_or_else(String::new, |week| format!(" Most of it came with {week}."));
        format!(
            "{} of {}: {} a week (95 % interval {} to {}), from {} to {} by the medians of the first and the last of {} weeks; {} days, adjusted p {}.{step}",
            self.title,
            self.scope,
            show(self.slope),
            show(self.low),
            show(self.high),
            self.unit.show(self.first),
            self.unit.show(self.last),
            self.weeks,
            self.days,
            show_p(self.p_adjusted)
        )
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct AlertLine {
    pub rule: String,
    pub scope: String,
    pub severity: String,
    pub fired_at: Micros,
    pub resolved_at: Option<Micros>,
    /// What fired it.
    pub what: String,
    /// A registered change of the same app within the hour before.
    pub coincides: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct ChangeLine {
    pub at: Micros,
    pub scope: String,
    pub what: String,
}

impl Report {
    /// The one line that a reader may stop at.
    pub fn line(&self) -> String {
        let Verdict { material, watch, stable, not_assessable } = self.verdict;
        if self.data.calls == 0 {
            return format!("No calls were seen in {}: nothing can be said", self.week);
        }
        let s = |n: usize| if n == 1 { "" } else { "s" };
        format!(
            "{material} material change{}, {watch} to watch, {stable} stable, {not_assessable} not assessable",
            s(material)
        )
    }

    fn period(&self) -> String {
        let until = if self.partial { ", which is not over" } else { "" };
        format!("{} ({} to {}{until})", self.week, &readable(self.from)[..10], &readable(self.to - 1)[..10])
    }

    /// What changed, in sentences: what, how sure, who, what coincides, what to do.
    fn sentences(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        for row in self.kpis.iter().filter(|row| row.outcome == Outcome::Material) {
            let r = &row.reading;
            let before = r.before.map_or_else(|| "nothing".to_owned(), |value| r.unit.show(value));
            let sure = match (row.p_adjusted, r.low) {
                (Some(p), _) => format!("95 % interval {}, adjusted p {}", r.shown_interval(), show_p(p)),
                _ => "an exact figure".to_owned(),
            };
            let what =
                format!("{} went from {before} to {} ({}); {sure}, n = {}.", r.title, r.shown(), r.shown_change(), r.n);
            let why = row.why.as_ref().map_or_else(String::new, |why| format!(" {}", why.sentence(r.unit)));
            sentences.push(what + &why);
        }
        for row in self.drift.iter().filter(|row| row.outcome == Outcome::Material) {
            let (scope, measure) = (format!("{} / {}", row.tenant, row.app), &row.measure);
            let medians = if row.medians.is_empty() { String::new() } else { format!(", medians {}", row.medians) };
            let shares = if row.shares.is_empty() { String::new() } else { format!("{}; in all ", row.shares) };
            let what = match row.unit {
                Unit::Deviations => {
                    format!("Texts of {scope} are in part about something else than the week before ({measure})")
                }
                Unit::Share => format!("{measure} of {scope} are others than the week before"),
                _ => format!("{measure} of {scope} is distributed differently"),
            };
            sentences.push(format!(
                "{what}: {shares}{} (95 % interval {}, adjusted p {}){medians}; {:.1} % of the calls.",
                row.unit.show(row.effect.unwrap_or(0.0)),
                row.shown_interval(),
                row.p_adjusted.map_or_else(|| "unknown".to_owned(), show_p),
                row.share * 100.0
            ));
        }
        sentences.extend(self.words.iter().filter(|row| row.outcome == Outcome::Material).map(WordsRow::sentence));
        sentences
    }

    /// What stands where nothing crept.
    fn no_creep(&self) -> String {
        match self.creep_tested {
            0 => "It could not be looked for: no figure has values on 20 days of four weeks or more.".to_owned(),
            n => format!(
                "None of {n} figures of all traffic and of the busiest apps moved slowly over the last five weeks, surely and by as much as matters."
            ),
        }
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let d = &self.data;
        let share =
            |share: Option<f64>| share.map_or_else(|| "unknown".to_owned(), |share| format!("{:.1} %", share * 100.0));
        vec![
            ("Calls", leeway_core::money::group_digits(&d.calls.to_string())),
            ("Outcome known", format!("{} of the calls ({} labels)", share(d.label_coverage), d.labels)),
            ("Text seen", format!("{} of the calls", share(d.text_coverage))),
            ("Unpriced", format!("{} calls", d.unpriced)),
            (
                "Feedback, of all time",
                format!("{} waiting for their call, {} without one", d.feedback_waiting, d.feedback_orphans),
            ),
            ("Complete up to", d.watermark.map_or_else(|| "unknown: nothing is being read".to_owned(), readable)),
            ("Made", readable(self.made_at)),
        ]
    }
}

/// A p-value, never as zero.
pub fn show_p(p: f64) -> String {
    if p < 1e-6 { "< 0.000001".to_owned() } else { format!("{p:.2e}") }
}

struct Row {
    title: String,
    value: String,
    sure: String,
    change: String,
    earlier: String,
    target: String,
    outcome: Outcome,
    sees: String,
}

fn kpi_row(row: &KpiRow) -> Row {
    let r = &row.reading;
    let earlier: Vec<String> =
        row.earlier.iter().map(|value| value.map_or_else(|| "–".to_owned(), |value| r.unit.show(value))).collect();
    Row {
        title: r.title.to_owned(),
        value: r.shown(),
        sure: r.shown_interval(),
        change: r.shown_change(),
        earlier: earlier.join(", "),
        target: r
            .target
            .map_or_else(|| "none".to_owned(), |target| format!("{}: {}", r.unit.show(target), r.standing.words())),
        outcome: row.outcome,
        sees: row.sees.map_or_else(|| "–".to_owned(), |least| r.unit.show(least)),
    }
}

struct Drift<'a> {
    row: &'a DriftRow,
    effect: String,
    p: String,
    /// What the effect is made of.
    middle: &'a str,
}

fn drift_row(row: &DriftRow) -> Drift<'_> {
    let effect = match (row.effect, row.low, row.high) {
        (Some(effect), Some(_), Some(_)) => format!("{} ({})", row.unit.show(effect), row.shown_interval()),
        _ => row.untested.clone(),
    };
    let middle = [&row.medians, &row.shares].into_iter().find(|text| !text.is_empty());
    let middle = middle.map_or("–", String::as_str);
    Drift { row, effect, middle, p: row.p_adjusted.map_or_else(|| "–".to_owned(), show_p) }
}

struct Line {
    text: String,
    when: String,
}

fn alert_line(line: &AlertLine) -> Line {
    let became = line.resolved_at.map_or_else(
        || "still open at the end of the week".to_owned(),
        |at| format!("resolved after {}", readable_span(at - line.fired_at)),
    );
    let coincides = line.coincides.as_ref().map_or_else(String::new, |change| format!("; coincides with {change}"));
    let text = format!("{} ({}) for {}: {}; {became}{coincides}", line.rule, line.severity, line.scope, line.what);
    Line { text, when: readable(line.fired_at) }
}

#[derive(Template)]
#[template(path = "report_body.html")]
struct Body<'a> {
    report: &'a Report,
    line: String,
    period: String,
    sentences: Vec<String>,
    creep: Vec<String>,
    no_creep: String,
    facts: Vec<(&'static str, String)>,
    kpis: Vec<Row>,
    drift: Vec<Drift<'a>>,
    stable: Vec<Drift<'a>>,
    alerts: Vec<Line>,
    changes: Vec<(String, &'a ChangeLine)>,
}

#[derive(Template)]
#[template(path = "report_page.html")]
struct Page<'a> {
    frame: &'a Frame,
    week: &'a str,
    body: String,
}

#[derive(Template)]
#[template(path = "report_file.html")]
struct File<'a> {
    week: &'a str,
    css: &'static str,
    body: String,
}

#[derive(Template)]
#[template(path = "reports.html")]
struct List<'a> {
    frame: &'a Frame,
    weeks: &'a [String],
}

fn body(report: &Report) -> Result<String, RenderError> {
    let body = Body {
        report,
        line: report.line(),
        period: report.period(),
        sentences: report.sentences(),
        creep: report.creep.iter().map(CreepRow::sentence).collect(),
        no_creep: report.no_creep(),
        facts: report.facts(),
        kpis: report.kpis.iter().map(kpi_row).collect(),
        drift: report.drift.iter().filter(|row| row.outcome != Outcome::Stable).map(drift_row).collect(),
        stable: report.drift.iter().filter(|row| row.outcome == Outcome::Stable).map(drift_row).collect(),
        alerts: report.alerts.iter().map(alert_line).collect(),
        changes: report.changes.iter().map(|change| (readable(change.at), change)).collect(),
    };
    Ok(body.render()?)
}

/// The report inside Leeway's pages.
pub fn page(frame: &Frame, report: &Report) -> Result<String, RenderError> {
    Ok(Page { frame, week: &report.week, body: body(report)? }.render()?)
}

/// The report as one file that needs nothing else.
pub fn file(report: &Report) -> Result<String, RenderError> {
    Ok(File { week: &report.week, css: include_str!("../assets/leeway.css"), body: body(report)? }.render()?)
}

/// The choice of weeks.
pub fn list(frame: &Frame, weeks: &[String]) -> Result<String, RenderError> {
    Ok(List { frame, weeks }.render()?)
}

/// The report for wikis and mails.
pub fn markdown(report: &Report) -> String {
    let mut out = format!("# Leeway weekly report {}\n\n**{}.**\n\n{}\n", report.week, report.line(), report.period());
    if let Some(note) = &report.imported {
        let _ = write!(out, "\n> {note}\n");
    }
    let list = |out: &mut String, title: &str, lines: Vec<String>, none: &str| {
        let _ = write!(out, "\n## {title}\n\n");
        if lines.is_empty() {
            let _ = writeln!(out, "{none}");
        }
        for line in lines {
            let _ = writeln!(out, "- {line}");
        }
    };
    list(&mut out, "What changed", report.sentences(), "Nothing that is both sure and large enough to matter.");
    list(&mut out, "Slow change", report.creep.iter().map(CreepRow::sentence).collect(), &report.no_creep());
    let _ = write!(
        out,
        "\n## Key figures\n\n| Figure | Value | 95 % interval | Change | Weeks before | Target | Outcome |\n|---|---|---|---|---|---|---|\n"
    );
    for row in report.kpis.iter().map(kpi_row) {
        let cells = [&row.title, &row.value, &row.sure, &row.change, &row.earlier, &row.target]
            .map(|cell| cell.replace('|', "\\|"));
        let _ = writeln!(out, "| {} | {} |", cells.join(" | "), row.outcome.words());
    }
    let drift = report.drift.iter().filter(|row| row.outcome != Outcome::Stable).map(drift_row);
    let drift = drift.map(|d| {
        format!(
            "{} / {} {}: {}, adjusted p {}, {} ({})",
            d.row.tenant,
            d.row.app,
            d.row.measure,
            d.effect,
            d.p,
            d.middle,
            d.row.outcome.words()
        )
    });
    list(&mut out, "Drift", drift.collect(), "No distribution moved.");
    let alerts = report.alerts.iter().map(alert_line).map(|line| format!("{}: {}", line.when, line.text));
    list(&mut out, "Alerts", alerts.collect(), "No alert fired.");
    let changes =
        report.changes.iter().map(|change| format!("{}: {} {}", readable(change.at), change.scope, change.what));
    list(&mut out, "Registered changes", changes.collect(), "None was registered.");
    list(&mut out, "What this report cannot tell", report.blind.clone(), "Nothing was left out.");
    list(&mut out, "Methods", report.methods.clone(), "");
    list(&mut out, "Data", report.facts().into_iter().map(|(name, fact)| format!("{name}: {fact}")).collect(), "");
    out
}
