//! The KPI page: each figure with its interval, target, trend, coverage and definition.

use std::fmt::Write;

use askama::Template;
use leeway_core::clock::{Micros, readable};
use leeway_core::kpi::{ALL, Kpi, Reading, Standing, hits};
use leeway_core::pane::Pane;

use crate::texts::{self, Texts};
use crate::{Frame, RenderError};

/// What the page is made from.
#[derive(Debug, Clone)]
pub struct Input {
    pub now: Micros,
    /// Length of the period, and of the one before it.
    /// Where the period begins: its length before `now`, or up to an hour earlier, on the hour.
    pub from: Micros,
    pub window: Micros,
    /// Tenant and app; empty = all.
    pub tenant: String,
    pub app: String,
    /// Every (tenant, app) of both periods, for the choice.
    pub scopes: Vec<(String, String)>,
    /// Parts of the period in order of time: start and pane.
    pub parts: Vec<(Micros, Pane)>,
    pub before: Pane,
    /// Figure id → target; what is missing has the default.
    pub targets: std::collections::BTreeMap<String, f64>,
    /// Feedback that waits for its call, and that found none.
    pub waiting: u64,
    pub orphans: u64,
    /// Set where some of the period was imported: what and from where.
    pub imported: Option<String>,
}

#[derive(Template)]
#[template(path = "kpis.html")]
struct Page<'a> {
    frame: &'a Frame,
    input: &'a Input,
    cards: Vec<Card>,
    texts: String,
    period: String,
    windows: [(&'static str, &'static str, bool); 3],
    scopes: Vec<(String, String, bool)>,
    query: String,
    window: &'static str,
}

struct Card {
    reading: Reading,
    badge: (&'static str, &'static str),
    coverage: String,
    target: String,
    target_from: &'static str,
    /// Points of the trend line in a 120 × 28 box, by unbroken piece.
    lines: Vec<String>,
    trend: String,
}

/// Windows that can be asked for.
pub const WINDOWS: [(&str, &str, Micros); 3] = [
    ("1h", "last hour", leeway_core::clock::HOUR),
    ("24h", "last 24 hours", leeway_core::clock::DAY),
    ("7d", "last 7 days", 7 * leeway_core::clock::DAY),
];

impl Input {
    pub fn pane(&self) -> Pane {
        let mut all = Pane::default();
        self.parts.iter().for_each(|(_, pane)| all.merge(pane));
        all
    }

    /// A figure's target and whether the settings gave it.
    fn target(&self, kpi: &Kpi) -> (Option<f64>, bool) {
        match self.targets.get(kpi.id) {
            Some(target) => (Some(*target), true),
            None => (kpi.target, false),
        }
    }

    pub fn readings(&self) -> Vec<Reading> {
        let now = self.pane();
        ALL.iter().map(|kpi| kpi.read(&now, &self.before, self.target(kpi).0)).collect()
    }

    fn window_id(&self) -> &'static str {
        WINDOWS.iter().find(|(.., span)| *span == self.window).map_or("", |(id, ..)| id)
    }
}

pub fn page(frame: &Frame, input: &Input) -> Result<String, RenderError> {
    let now = input.pane();
    let cards = ALL.iter().zip(input.readings()).map(|(kpi, reading)| card(kpi, reading, input)).collect();
    let scope = |(tenant, app): &(String, String)| {
        let here = *tenant == input.tenant && *app == input.app;
        (format!("tenant={}&app={}", escape(tenant), escape(app)), format!("{tenant} / {app}"), here)
    };
    let page = Page {
        frame,
        input,
        cards,
        texts: Texts::of(&now).render()?,
        period: format!("{} to {}", readable(input.from), readable(input.now)),
        windows: WINDOWS.map(|(id, name, span)| (id, name, span == input.window)),
        scopes: input.scopes.iter().map(scope).collect(),
        window: input.window_id(),
        query: format!("window={}&tenant={}&app={}", input.window_id(), escape(&input.tenant), escape(&input.app)),
    };
    Ok(page.render()?)
}

/// As part of a query.
pub(crate) fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

fn card(kpi: &Kpi, reading: Reading, input: &Input) -> Card {
    let badge = match reading.standing {
        Standing::Met => ("ok", "✓"),
        Standing::Missed => ("firing", "✕"),
        Standing::Unsure => ("pending", "≈"),
        Standing::NoTarget => ("none", "·"),
        Standing::Unknown => ("none", "?"),
    };
    let (target, own) = input.target(kpi);
    let values: Vec<Option<f64>> = input.parts.iter().map(|(_, pane)| kpi.of(pane).ok().map(|e| e.value)).collect();
    Card {
        badge,
        coverage: reading.coverage.map_or_else(String::new, |share| format!("{:.1} % of the calls", share * 100.0)),
        target: target.map_or_else(|| "none".to_owned(), |target| reading.unit.show(target)),
        target_from: if own { "set" } else { "default" },
        lines: lines(&values),
        trend: trend(&values, &reading),
        reading,
    }
}

/// Pieces of a line through the values, broken where there is none.
fn lines(values: &[Option<f64>]) -> Vec<String> {
    let known: Vec<f64> = values.iter().flatten().copied().collect();
    let (low, high) = known.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
    let place = |i: usize| 2.0 + 116.0 * i as f64 / (values.len().max(2) - 1) as f64;
    let height = |v: f64| if high > low { 26.0 - 24.0 * (v - low) / (high - low) } else { 14.0 };
    let mut pieces = vec![String::new()];
    for (i, value) in values.iter().enumerate() {
        match (value, pieces.last_mut()) {
            (Some(value), Some(piece)) => {
                let _ = write!(piece, "{:.1},{:.1} ", place(i), height(*value));
            }
            (None, Some(piece)) if !piece.is_empty() => pieces.push(String::new()),
            _ => {}
        }
    }
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

/// The line in words.
fn trend(values: &[Option<f64>], reading: &Reading) -> String {
    let known: Vec<f64> = values.iter().flatten().copied().collect();
    let (Some(first), Some(last)) = (known.first(), known.last()) else { return "no trend: no data".to_owned() };
    let (low, high) = known.iter().fold((*first, *first), |(l, h), v| (l.min(*v), h.max(*v)));
    let show = |value: f64| reading.unit.show(value);
    format!("from {} to {}, lowest {}, highest {}", show(*first), show(*last), show(low), show(high))
}

/// The API's answer.
pub fn json(input: &Input) -> serde_json::Value {
    let rfc = leeway_core::clock::rfc3339;
    let now = input.pane();
    let trend = |kpi: &Kpi| -> Vec<serde_json::Value> {
        let point = |(at, pane): &(Micros, Pane)| serde_json::json!([rfc(*at), kpi.of(pane).ok().map(|e| e.value)]);
        input.parts.iter().map(point).collect()
    };
    let figure = |(kpi, reading): (&Kpi, Reading)| {
        let mut figure = serde_json::to_value(&reading).unwrap_or_default();
        figure["trend"] = trend(kpi).into();
        figure["target_source"] = if input.target(kpi).1 { "settings" } else { "default" }.into();
        figure
    };
    serde_json::json!({
        "schema": 1,
        "from": rfc(input.from), "to": rfc(input.now), "window": input.window_id(),
        "tenant": input.tenant, "app": input.app, "interval_level": leeway_core::interval::LEVEL,
        "kpis": ALL.iter().zip(input.readings()).map(figure).collect::<Vec<_>>(),
        "pii_by_origin": hits(&now).into_iter().map(|(name, n)| (name.to_owned(), n.into())).collect::<serde_json::Map<_, _>>(),
        "moderation_raised": now.flags(),
        "texts": texts::json(&now),
        "feedback": { "waiting": input.waiting, "orphans": input.orphans },
        "imported": input.imported,
    })
}

/// One line a figure, for spreadsheets.
pub fn csv(input: &Input) -> String {
    let mut out = String::from("id,value,low,high,n,coverage,target,standing,before,reason\n");
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    for reading in input.readings() {
        let _ = writeln!(
            out,
            "{},{},{},{},{},{},{},{},{},{}",
            reading.id,
            number(reading.value),
            number(reading.low),
            number(reading.high),
            reading.n,
            number(reading.coverage),
            number(reading.target),
            reading.standing.words(),
            number(reading.before),
            reading.reason.map_or_else(String::new, |reason| format!("\"{}\"", reason.replace('"', "'"))),
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_period_says_so_everywhere() {
        let input = Input {
            now: 1_795_225_535_000_000,
            from: 1_795_225_535_000_000 - WINDOWS[1].2,
            window: WINDOWS[1].2,
            tenant: String::new(),
            app: String::new(),
            scopes: Vec::new(),
            parts: vec![(0, Pane::default()), (1, Pane::default())],
            before: Pane::default(),
            targets: std::collections::BTreeMap::new(),
            waiting: 0,
            orphans: 0,
            imported: None,
        };
        let frame = Frame { here: "kpis", demo: false, now: String::new() };
        let html = page(&frame, &input).unwrap();
        assert_eq!(html.matches("not computable").count(), 2 * ALL.len());
        assert_eq!(json(&input)["kpis"][1]["value"], serde_json::Value::Null);
        assert_eq!(csv(&input).lines().count(), ALL.len() + 1);
    }

    #[test]
    fn a_line_is_broken_where_there_is_no_value() {
        assert_eq!(lines(&[Some(1.0), Some(2.0), None, Some(1.5)]).len(), 2);
        assert_eq!(lines(&[None, None]), Vec::<String>::new());
        assert_eq!(escape("a b&c"), "a%20b%26c");
    }
}
