//! The list of alert instances, and one of them with its evidence and deliveries.

use askama::Template;
use leeway_core::alert::{Evidence, Finding, State};
use leeway_core::clock::{Micros, readable, readable_span};
use leeway_core::moved::Moved;

use crate::{Frame, RenderError};

/// An instance as the pages show it.
#[derive(Debug, Clone)]
pub struct Alert {
    pub fingerprint: String,
    pub rule: String,
    pub rule_version: String,
    pub severity: &'static str,
    pub labels: Vec<(String, String)>,
    pub state: State,
    pub active_at: Option<Micros>,
    pub fired_at: Option<Micros>,
    pub resolved_at: Option<Micros>,
    pub keep_firing_since: Option<Micros>,
    pub last_at: Micros,
    pub evidence: Evidence,
}

#[derive(Debug, Clone)]
pub struct Delivery {
    pub receiver: String,
    pub status: String,
    pub attempt: i64,
    pub at: Micros,
    pub outcome: String,
    pub code: Option<i64>,
    pub latency_ms: i64,
    pub detail: String,
    pub notice: String,
}

#[derive(Debug, Clone)]
pub struct Waiting {
    pub receiver: String,
    pub status: String,
    pub attempts: u64,
    pub next_attempt_at: Micros,
}

/// A rule, with what its file says.
#[derive(Debug, Clone)]
pub struct RuleLine {
    pub id: String,
    pub what: String,
    pub hold: String,
    pub receivers: String,
}

impl Alert {
    /// `acme / checkout`, or all traffic.
    pub fn scope(&self) -> String {
        let values: Vec<&str> =
            self.labels.iter().map(|(_, value)| value.as_str()).filter(|value| !value.is_empty()).collect();
        if values.is_empty() { "all traffic".to_owned() } else { values.join(" / ") }
    }

    /// A sign and a word: colour is never the only cue.
    pub fn badge(&self) -> (&'static str, &'static str, &'static str) {
        match self.state {
            State::Firing if self.keep_firing_since.is_some() => ("firing", "▲", "firing (kept)"),
            State::Firing => ("firing", "▲", "firing"),
            State::Pending => ("pending", "◐", "pending"),
            State::Resolved => ("resolved", "✓", "resolved"),
            State::NoData => ("nodata", "∅", "no data"),
            State::InsufficientData => ("nodata", "?", "too little data"),
            State::Error => ("firing", "!", "error"),
            State::Inactive => ("inactive", "·", "inactive"),
        }
    }

    pub fn since(&self) -> String {
        let at = match self.state {
            State::Resolved => self.resolved_at,
            State::Firing => self.fired_at,
            _ => self.active_at,
        };
        at.map_or_else(String::new, readable)
    }
}

#[derive(Template)]
#[template(path = "alerts.html")]
struct List<'a> {
    frame: &'a Frame,
    live: String,
    rules: &'a [RuleLine],
}

#[derive(Template)]
#[template(path = "alerts_live.html")]
struct ListLive<'a> {
    alerts: &'a [Alert],
}

#[derive(Template)]
#[template(path = "alert.html")]
struct One<'a> {
    frame: &'a Frame,
    alert: &'a Alert,
    live: String,
}

#[derive(Template)]
#[template(path = "alert_live.html")]
struct OneLive<'a> {
    alert: &'a Alert,
    facts: Vec<(&'static str, String)>,
    findings: &'a [Finding],
    deliveries: &'a [Delivery],
    waiting: &'a [Waiting],
}

pub fn list(frame: &Frame, alerts: &[Alert], rules: &[RuleLine]) -> Result<String, RenderError> {
    Ok(List { frame, live: list_live(alerts)?, rules }.render()?)
}

pub fn list_live(alerts: &[Alert]) -> Result<String, RenderError> {
    Ok(ListLive { alerts }.render()?)
}

/// One alert with all that is known of it.
#[derive(Debug)]
pub struct Detail<'a> {
    pub alert: &'a Alert,
    pub findings: &'a [Finding],
    pub deliveries: &'a [Delivery],
    pub waiting: &'a [Waiting],
}

pub fn one(frame: &Frame, detail: &Detail<'_>) -> Result<String, RenderError> {
    Ok(One { frame, alert: detail.alert, live: one_live(detail)? }.render()?)
}

pub fn one_live(detail: &Detail<'_>) -> Result<String, RenderError> {
    let Detail { alert, findings, deliveries, waiting } = *detail;
    Ok(OneLive { alert, facts: facts(alert), findings, deliveries, waiting }.render()?)
}

fn facts(alert: &Alert) -> Vec<(&'static str, String)> {
    let e = &alert.evidence;
    let mut facts = vec![("Value", format!("{} = {}", e.what(), e.shown_value()))];
    let interval = e.shown_interval();
    if e.value.is_some() {
        facts.push(("95 % interval", if interval.is_empty() { "exact".to_owned() } else { interval }));
    }
    if e.sketch_error > 0.0 {
        facts.push(("Sketch error", format!("at most {:.2} % of the value", e.sketch_error * 100.0)));
    }
    facts.push(("Bound", e.shown_threshold()));
    facts.extend(e.shown_words().map(|words| ("Words", words)));
    facts.extend(e.shown_shares().map(|shares| ("Shares", shares)));
    facts.extend(e.shown_test().map(|test| ("Test", test)));
    facts.extend(e.moved.iter().flat_map(Moved::shown));
    facts.push(("Observations", e.shown_observations()));
    facts.push(("Window", format!("{} to {}", readable(e.window_start), readable(e.window_end))));
    facts.push(("Coverage", format!("{:.0} % of the partitions had reported", e.coverage * 100.0)));
    for (name, at) in [
        ("Active since", alert.active_at),
        ("Fired at", alert.fired_at),
        ("Keep-firing since", alert.keep_firing_since),
        ("Resolved at", alert.resolved_at),
    ] {
        if let Some(at) = at {
            facts.push((name, readable(at)));
        }
    }
    if let (Some(fired), Some(resolved)) = (alert.fired_at, alert.resolved_at) {
        facts.push(("Fired for", readable_span(resolved - fired)));
    }
    facts.push(("Last evaluated", readable(alert.last_at)));
    facts.push(("Rule", format!("{} (version {})", alert.rule, alert.rule_version)));
    facts
}
