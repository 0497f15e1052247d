//! The overview: is it healthy, now, and can these numbers be trusted?

use std::collections::BTreeMap;

use askama::Template;
use leeway_core::clock::{HOUR, MINUTE, Micros, readable, readable_span};
use leeway_core::ledger::Ledger;
use leeway_core::measure::{Measure, Unit};
use leeway_core::money::{group_digits, readable_usd};
use leeway_core::pane::{Counter, Pane, Shape};
use leeway_core::sketch::RELATIVE_ERROR;
use leeway_core::table::Table;

use crate::{Frame, RenderError};

/// The trailing window of the tiles and the table.
pub const RECENT: Micros = 15 * MINUTE;
/// The width of the charts.
pub const SPAN: Micros = HOUR;

/// What the page is made from.
#[derive(Debug, Clone)]
pub struct Input {
    pub now: Micros,
    /// Least watermark of the partitions; `None` = none yet.
    pub watermark: Option<Micros>,
    /// Headline panes by minute over the last hour.
    pub minutes: BTreeMap<Micros, Pane>,
    /// Tenant, app, model and their pane over the recent window.
    pub slices: Vec<(String, String, String, Pane)>,
    pub ledger: Ledger,
    pub lost: u64,
    pub partitions: Vec<Partition>,
    pub reasons: Vec<(String, u64)>,
    /// Tenants by their series today, most first.
    pub loads: Vec<Load>,
    pub series_cap: u64,
    pub firing: Vec<(String, String, Micros)>,
    pub undelivered: u64,
    pub disabled_receivers: Vec<String>,
}

/// A tenant's series on this UTC day.
#[derive(Debug, Clone)]
pub struct Load {
    pub tenant: String,
    pub series: u64,
    /// Calls that went into `other`.
    pub folded: u64,
    /// The label with most values, of tenants that use much of their cap.
    pub widest: Option<(String, u64)>,
}

/// From this share of its cap on, a tenant is told of.
pub const NEARLY_FULL: f64 = 0.8;

impl Load {
    /// Share of the cap, if it is much.
    pub fn nearly_full(&self, cap: u64) -> Option<u64> {
        let share = self.series as f64 / cap.max(1) as f64;
        (share >= NEARLY_FULL).then_some((share * 100.0) as u64)
    }
}

#[derive(Debug, Clone)]
pub struct Partition {
    pub source: String,
    pub topic: String,
    pub partition: i64,
    pub next_offset: i64,
    pub lag: i64,
    pub watermark: Micros,
    pub owner: String,
}

/// A number with what it takes to judge it.
struct Tile {
    name: &'static str,
    value: String,
    /// Interval or error bound.
    sure: String,
    /// What it is, over what, from how many.
    about: String,
}

struct Slice {
    tenant: String,
    app: String,
    model: String,
    calls: String,
    error_rate: String,
    error_interval: String,
    p95: String,
    tokens: String,
    cost: String,
}

/// A table of counts.
struct Endings {
    id: &'static str,
    title: &'static str,
    /// Of how many; where there is nothing, that.
    about: String,
    /// Category, share, its interval, count.
    rows: Vec<(&'static str, String, String, String)>,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct Page<'a> {
    frame: &'a Frame,
    live: String,
    tables: String,
    chart: String,
}

#[derive(Template)]
#[template(path = "overview_live.html")]
struct Live<'a> {
    input: &'a Input,
    tiles: Vec<Tile>,
    watermark: String,
    firing: Vec<(&'a str, &'a str, String)>,
    window: String,
}

#[derive(Template)]
#[template(path = "overview_tables.html")]
struct Tables<'a> {
    input: &'a Input,
    slices: Vec<Slice>,
    endings: Vec<Endings>,
    ledger: Vec<(&'static str, String, &'static str)>,
    balanced: bool,
    partitions: Vec<(&'a Partition, String, String)>,
    window: String,
}

/// The whole page.
pub fn page(frame: &Frame, input: &Input) -> Result<String, RenderError> {
    let page = Page { frame, live: live(input)?, tables: tables(input)?, chart: chart_json(input) };
    Ok(page.render()?)
}

/// What fires and the tiles: replaced while the page is open.
pub fn live(input: &Input) -> Result<String, RenderError> {
    let behind = |at: Micros| format!("{} ({} behind the clock)", readable(at), readable_span(input.now - at));
    let live = Live {
        input,
        tiles: tiles(&recent(input), input),
        watermark: input.watermark.map_or_else(|| "no events yet".to_owned(), behind),
        firing: input.firing.iter().map(|(print, title, at)| (print.as_str(), title.as_str(), readable(*at))).collect(),
        window: format!("last {}", readable_span(RECENT)),
    };
    Ok(live.render()?)
}

/// Slices, ledger and partitions: replaced while the page is open.
pub fn tables(input: &Input) -> Result<String, RenderError> {
    let span = |at: Micros| if at == 0 { "none yet".to_owned() } else { readable_span(input.now - at) };
    let tables = Tables {
        input,
        slices: input.slices.iter().map(slice).collect(),
        endings: Table::ALL.map(|table| endings(table, &recent(input))).into(),
        ledger: ledger_lines(&input.ledger, input.lost),
        balanced: input.ledger.balanced(),
        partitions: input
            .partitions
            .iter()
            .map(|p| (p, span(p.watermark), group_digits(&p.next_offset.to_string())))
            .collect(),
        window: format!("last {}", readable_span(RECENT)),
    };
    Ok(tables.render()?)
}

/// Minutes that end by the watermark, at most the recent window.
fn recent(input: &Input) -> Pane {
    let from = input.now - RECENT;
    let mut sum = Pane::default();
    for (_, pane) in input.minutes.range(from..) {
        sum.merge(pane);
    }
    sum
}

fn tiles(pane: &Pane, input: &Input) -> Vec<Tile> {
    let n = group_digits(&pane.calls().to_string());
    let window = readable_span(RECENT);
    let none = || ("no data".to_owned(), String::new(), format!("last {window}"));
    let rate = if pane.calls() == 0 {
        none()
    } else {
        let covered = input.minutes.range(input.now - RECENT..).count().max(1) as f64 * 60.0;
        let value = format!("{:.1}/s", pane.calls() as f64 / covered);
        (value, "exact count".to_owned(), format!("{n} calls in the last {window}"))
    };
    let of = |measure: &Measure, quantile: Option<f64>| match measure.of(pane, quantile) {
        None => none(),
        Some(e) => {
            let unit = measure.unit();
            let interval = unit.show_interval(e.interval);
            let sketch =
                if quantile.is_some() { format!(", buckets ±{:.2} %", RELATIVE_ERROR * 100.0) } else { String::new() };
            let sure = if interval.is_empty() { "exact sum".to_owned() } else { format!("95 %: {interval}{sketch}") };
            // The tile's name says that these are tokens.
            let value = if unit == Unit::Tokens { Unit::Count.show(e.value) } else { unit.show(e.value) };
            (value, sure, format!("n = {}, last {window}", group_digits(&e.n.to_string())))
        }
    };
    let tile = |name, (value, sure, about)| Tile { name, value, sure, about };
    let unpriced = pane.get(Counter::Unpriced).n;
    let (cost, mut cost_sure, cost_about) = of(&Measure::Cost, None);
    if unpriced > 0 {
        cost_sure = format!("{} calls have no price and are not in it", group_digits(&unpriced.to_string()));
    }
    vec![
        tile("Calls", rate),
        tile("Error rate", of(&Measure::ErrorRate, None)),
        tile("Latency p50", of(&Measure::Duration, Some(0.5))),
        tile("Latency p95", of(&Measure::Duration, Some(0.95))),
        tile("Latency p99", of(&Measure::Duration, Some(0.99))),
        tile("Input tokens", of(&Measure::InputTokens, None)),
        tile("Output tokens", of(&Measure::OutputTokens, None)),
        tile("Cost", (cost, cost_sure, cost_about)),
    ]
}

fn endings(table: Table, pane: &Pane) -> Endings {
    let whole = table.whole(pane);
    let row = |place: u8| {
        let (count, share) = (table.count(pane, place), Measure::Category(table, place).of(pane, None)?);
        let shown = (Unit::Share.show(share.value), Unit::Share.show_interval(share.interval));
        (count.n > 0).then(|| (count.n, table.category(place), shown))
    };
    let mut rows: Vec<_> = (0..table.categories().len() as u8).filter_map(row).collect();
    rows.sort_by_key(|(n, ..)| std::cmp::Reverse(*n));
    let n = group_digits(&whole.n.to_string());
    let (title, about) = match table {
        Table::Finish if whole.n == 0 => ("How answers ended", "No call told a finish reason.".to_owned()),
        Table::Finish => ("How answers ended", format!("Of the {n} calls that told a finish reason.")),
        Table::Error if whole.n == 0 => ("How calls failed", "No call failed.".to_owned()),
        Table::Error => ("How calls failed", format!("{n} calls failed; shares are of all calls.")),
    };
    let shown = |(n, name, (share, interval)): (u64, _, _)| (name, share, interval, group_digits(&n.to_string()));
    Endings { id: table.id(), title, about, rows: rows.into_iter().map(shown).collect() }
}

fn slice((tenant, app, model, pane): &(String, String, String, Pane)) -> Slice {
    let show = |measure: Measure, quantile| {
        measure.of(pane, quantile).map_or_else(|| "no data".to_owned(), |e| measure.unit().show(e.value))
    };
    let error = Measure::ErrorRate.of(pane, None);
    Slice {
        tenant: tenant.clone(),
        app: app.clone(),
        model: model.clone(),
        calls: group_digits(&pane.calls().to_string()),
        error_rate: error.map_or_else(|| "no data".to_owned(), |e| Unit::Share.show(e.value)),
        error_interval: error.map_or_else(String::new, |e| Unit::Share.show_interval(e.interval)),
        p95: show(Measure::Duration, Some(0.95)),
        tokens: group_digits(&(pane.token_sum(0) + pane.token_sum(1)).to_string()),
        cost: readable_usd(pane.cost as f64),
    }
}

fn ledger_lines(ledger: &Ledger, lost: u64) -> Vec<(&'static str, String, &'static str)> {
    let show = |value: u64| group_digits(&value.to_string());
    vec![
        ("Messages consumed", show(ledger.consumed), "decoded + undecodable"),
        ("Messages undecodable", show(ledger.undecodable), "in the dead letters"),
        ("Records seen", show(ledger.seen), "all of the following"),
        ("Calls on time", show(ledger.on_time), "counted"),
        ("Calls late", show(ledger.late), "counted in their own window, more than 30 s after it closed"),
        ("Rows kept", show(ledger.kept), "feedback, changes, evaluations, incidents, experiments, figures"),
        ("Duplicates", show(ledger.duplicate + ledger.merged), "the same call came again; counted once"),
        ("Dead-lettered", show(ledger.dead_lettered + ledger.future), "refused with a reason"),
        (
            "Not de-duplicated",
            show(ledger.unindexed),
            "counted, but nothing names the call, or it is older than the index",
        ),
        ("Contradicting duplicates", show(ledger.conflicting), "came again with other numbers; the first is counted"),
        ("Unknown fields", show(ledger.unknown_fields), "ignored; not in the wire schema"),
        ("Lost before reading", show(lost), "dropped by the broker's retention"),
    ]
}

/// Column-wise chart data: seconds, calls, error share, p50, p95, p99 (ms), cost ($). Gaps are null.
pub fn chart_json(input: &Input) -> String {
    let to = leeway_core::clock::minute_of(input.now);
    let from = to - SPAN;
    let mut columns: [Vec<serde_json::Value>; 7] = Default::default();
    let mut at = from;
    while at <= to {
        let pane = input.minutes.get(&at);
        let number = |value: Option<f64>| value.map_or(serde_json::Value::Null, serde_json::Value::from);
        let q = |q: f64| pane.and_then(|p| p.sketch(Shape::DurationOk).quantile(q)).map(|found| found.value / 1e3);
        let row = [
            Some(at as f64 / 1e6),
            pane.map(|p| p.calls() as f64),
            pane.and_then(|p| Measure::ErrorRate.of(p, None)).map(|e| e.value * 100.0),
            q(0.5),
            q(0.95),
            q(0.99),
            pane.map(|p| p.cost as f64 / 1e9),
        ];
        columns.iter_mut().zip(row).for_each(|(column, value)| column.push(number(value)));
        at += MINUTE;
    }
    serde_json::to_string(&columns).unwrap_or_default()
}

/// The charts as CSV, one line a minute.
pub fn chart_csv(input: &Input) -> String {
    let mut out = String::from(
        "minute_utc,calls,errors,error_rate,p50_ms,p95_ms,p99_ms,input_tokens,output_tokens,cost_usd,unpriced_calls\n",
    );
    for (at, pane) in &input.minutes {
        let q = |q: f64| {
            pane.sketch(Shape::DurationOk)
                .quantile(q)
                .map_or_else(String::new, |found| format!("{:.3}", found.value / 1e3))
        };
        let rate = Measure::ErrorRate.of(pane, None).map_or_else(String::new, |e| format!("{:.6}", e.value));
        out.push_str(&format!(
            "{},{},{},{rate},{},{},{},{},{},{:.9},{}\n",
            leeway_core::clock::rfc3339(*at),
            pane.calls(),
            pane.get(Counter::Errors).n,
            q(0.5),
            q(0.95),
            q(0.99),
            pane.token_sum(0),
            pane.token_sum(1),
            pane.cost as f64 / 1e9,
            pane.get(Counter::Unpriced).n,
        ));
    }
    out
}

/// The numbers of the tiles, for programs.
pub fn json(input: &Input) -> serde_json::Value {
    let pane = recent(input);
    let number = |measure: Measure, quantile: Option<f64>| {
        let estimate = measure.of(&pane, quantile);
        serde_json::json!({
            "measure": measure.to_string(), "quantile": quantile, "unit": measure.unit(),
            "value": estimate.map(|e| e.value), "n": estimate.map_or(0, |e| e.n),
            "interval_95": estimate.map(|e| [e.interval.low, e.interval.high]),
            "sketch_relative_error": if quantile.is_some() { RELATIVE_ERROR } else { 0.0 },
        })
    };
    let measures = [
        number(Measure::Calls, None),
        number(Measure::ErrorRate, None),
        number(Measure::Duration, Some(0.5)),
        number(Measure::Duration, Some(0.95)),
        number(Measure::Duration, Some(0.99)),
        number(Measure::Ttft, Some(0.95)),
        number(Measure::InputTokens, None),
        number(Measure::OutputTokens, None),
        number(Measure::Cost, None),
        number(Measure::UnpricedCalls, None),
    ];
    let told = |table: Table| {
        let shares = (0..table.categories().len() as u8).map(move |place| Measure::Category(table, place));
        shares.filter(|share| share.of(&pane, None).is_some_and(|share| share.value > 0.0))
    };
    let shares = Table::ALL.into_iter().flat_map(told).map(|share| number(share, None));
    let measures: Vec<serde_json::Value> = measures.into_iter().chain(shares).collect();
    let ledger: serde_json::Map<String, serde_json::Value> = Ledger::NAMES
        .iter()
        .zip(input.ledger.values())
        .map(|(name, value)| ((*name).to_owned(), value.into()))
        .collect();
    serde_json::json!({
        "now": leeway_core::clock::rfc3339(input.now),
        "watermark": input.watermark.map(leeway_core::clock::rfc3339),
        "window_s": RECENT / 1_000_000,
        "measures": measures,
        "ledger_last_hour": ledger,
        "ledger_balanced": input.ledger.balanced(),
        "lost_messages": input.lost,
        "firing": input.firing.len(),
    })
}
