//! Where an alert's figure moved, and what was changed there: told once, when it fires. It tells where, not why.

use serde::{Deserialize, Serialize};

use crate::clock::{Micros, readable, readable_span};
use crate::interval::Interval;
use crate::measure::Unit;

/// The figure at present beside what it was, taken apart by the values of one label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Moved {
    /// Why nothing could be told; empty where it could.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The present, and what it is held beside.
    pub now: (Micros, Micros),
    pub before: (Micros, Micros),
    /// What is taken apart, in words: a share, a mean.
    #[serde(default)]
    pub figure: String,
    /// What levels are in.
    pub level_unit: Unit,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level_before: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level_now: Option<f64>,
    /// What parts are in: the levels' unit, or parts of the level before.
    pub part_unit: Unit,
    /// By how much it moved since slices grew or shrank, and since they behave otherwise; of a number of calls there is neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mix: Option<Part>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behaviour: Option<Part>,
    /// The label whose values tell most; empty where there is none.
    #[serde(default)]
    pub label: String,
    /// Its values that carry more of the change than their share of the calls, most first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub carriers: Vec<Carrier>,
    /// Of failed calls: by error class, as shares of all calls; `share` is of the failed ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Carrier>,
    /// Labels that were looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub looked_at: Vec<String>,
    /// What was changed in this scope, the likeliest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Changed>,
    /// How many more there were.
    #[serde(default)]
    pub more_changes: usize,
}

/// A part of a change with its 95 % interval, where levels are estimates.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Part {
    pub value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
}

/// A value of the label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Carrier {
    pub value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<f64>,
    /// Its share at present of what the figure counts: calls, answers, labels.
    pub share: f64,
    /// Its part of the change; above 1 where others moved the other way.
    pub part: f64,
}

/// A change that somebody made, or that traffic shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    pub at: Micros,
    pub scope: String,
    pub what: String,
    /// It names what carries the figure's change.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub names_carrier: bool,
}

impl Moved {
    /// Nothing of it, and why.
    pub fn untold(reason: &str, now: (Micros, Micros), before: (Micros, Micros)) -> Self {
        Self {
            reason: reason.to_owned(),
            now,
            before,
            figure: String::new(),
            level_unit: Unit::Count,
            level_before: None,
            level_now: None,
            part_unit: Unit::Count,
            mix: None,
            behaviour: None,
            label: String::new(),
            carriers: Vec::new(),
            failures: Vec::new(),
            looked_at: Vec::new(),
            changes: Vec::new(),
            more_changes: 0,
        }
    }

    /// Lines for people: label and content.
    pub fn shown(&self) -> Vec<(&'static str, String)> {
        if !self.reason.is_empty() {
            let mut lines = vec![("Where", format!("cannot be told: {}", self.reason))];
            lines.extend(self.shown_failures().map(|failures| ("Failures", failures)));
            lines.push(("Changed", self.shown_changes()));
            return lines;
        }
        let mut lines = vec![("Where", self.shown_where())];
        lines.extend(self.shown_failures().map(|failures| ("Failures", failures)));
        let parts: Vec<String> = [("mix", self.mix), ("behaviour", self.behaviour)]
            .into_iter()
            .filter_map(|(name, part)| Some(format!("{name} {}", self.shown_part(part?))))
            .collect();
        if !parts.is_empty() {
            lines.push(("How it moved", format!("{} (95 % intervals in brackets)", parts.join(", "))));
        }
        lines.push(("When it fired", self.shown_levels()));
        lines.push(("Changed", self.shown_changes()));
        lines
    }

    /// The slices that carry it; `None` where none does.
    pub fn place(&self) -> Option<String> {
        (!self.carriers.is_empty()).then(|| self.shown_where())
    }

    fn shown_where(&self) -> String {
        if self.carriers.is_empty() {
            return match &self.looked_at[..] {
                [] => "no label has more than one value".to_owned(),
                labels => format!("everywhere alike, by {}", labels.join(", ")),
            };
        }
        let one = |carrier: &Carrier| {
            format!(
                "{} = {}: {} where it was {}, {:.0} % of the change with {:.0} % of what is counted",
                self.label,
                if carrier.value.is_empty() { "(none)" } else { &carrier.value },
                self.shown_level(carrier.now),
                self.shown_level(carrier.before),
                carrier.part * 100.0,
                carrier.share * 100.0
            )
        };
        self.carriers.iter().map(one).collect::<Vec<_>>().join("; ")
    }

    /// Which failures they are; `None` where the figure is of none.
    fn shown_failures(&self) -> Option<String> {
        let one = |class: &Carrier| {
            let (now, of) = (Unit::Share.show(class.now.unwrap_or(0.0)), class.share * 100.0);
            let was =
                class.before.map_or_else(String::new, |before| format!(" where it was {}", Unit::Share.show(before)));
            format!("{}: {now} of calls{was}, {of:.0} % of the failed ones", class.value)
        };
        (!self.failures.is_empty()).then(|| self.failures.iter().map(one).collect::<Vec<_>>().join("; "))
    }

    fn shown_level(&self, level: Option<f64>) -> String {
        level.map_or_else(|| "nothing".to_owned(), |level| self.level_unit.show(level))
    }

    fn shown_part(&self, part: Part) -> String {
        let sign = if part.value >= 0.0 && self.part_unit != Unit::Change { "+" } else { "" };
        let interval = self.part_unit.show_interval(Interval { low: part.low, high: part.high });
        let interval = if interval.is_empty() { interval } else { format!(" ({interval})") };
        format!("{sign}{}{interval}", self.part_unit.show(part.value))
    }

    fn shown_levels(&self) -> String {
        format!(
            "{}: {} from {} to {}, {} from {} to {}",
            self.figure,
            self.shown_level(self.level_before),
            readable(self.before.0),
            readable(self.before.1),
            self.shown_level(self.level_now),
            readable(self.now.0),
            readable(self.now.1)
        )
    }

    fn shown_changes(&self) -> String {
        if self.changes.is_empty() {
            return "nothing that was registered or seen, from the time held beside on".to_owned();
        }
        let one = |change: &Changed| {
            let apart = change.at - self.now.0;
            let when = if apart < 0 {
                format!("{} before", readable_span(-apart))
            } else {
                format!("{} after", readable_span(apart))
            };
            let scope = if change.scope.is_empty() { String::new() } else { format!(", {}", change.scope) };
            format!("{} ({when} the present window began{scope})", change.what)
        };
        let more = if self.more_changes > 0 { format!("; and {} more", self.more_changes) } else { String::new() };
        self.changes.iter().map(one).collect::<Vec<_>>().join("; ") + &more
    }
}
