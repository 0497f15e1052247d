//! Alert states, findings and notices: the words between the evaluator, the notifier and the couriers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::clock::Micros;
use crate::drift::Test;
use crate::measure::Unit;
use crate::money::group_digits;
use crate::moved::Moved;

/// The state of one alert instance (one rule, one set of labels).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Inactive,
    Pending,
    Firing,
    Resolved,
    /// An instance seen in the last 24 h has no events in a window that is complete.
    NoData,
    /// Some events, fewer than the rule's `min_events`: never "all is well".
    InsufficientData,
    Error,
}

impl State {
    pub const ALL: [Self; 7] = [
        Self::Firing,
        Self::Pending,
        Self::Error,
        Self::InsufficientData,
        Self::NoData,
        Self::Resolved,
        Self::Inactive,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Resolved => "resolved",
            Self::NoData => "no_data",
            Self::InsufficientData => "insufficient_data",
            Self::Error => "error",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Page,
    Ticket,
    Info,
}

impl Severity {
    pub fn name(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Ticket => "ticket",
            Self::Info => "info",
        }
    }
}

/// Labels of an alert instance, sorted: its identity beside the rule's id.
pub type AlertLabels = BTreeMap<String, String>;

/// 16 hex digits that name an instance in every store and every notice.
pub fn fingerprint(rule: &str, labels: &AlertLabels) -> String {
    let text = format!("v1:{rule}:{}", serde_json::to_string(labels).unwrap_or_default());
    Sha256::digest(text.as_bytes())[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The evidence of one evaluation: enough to compute it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    pub measure: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantile: Option<f64>,
    pub unit: Unit,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// 95 % interval; a missing bound is one that the data do not give.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
    /// Largest relative error by the sketch's buckets; 0 for counts and sums.
    pub sketch_error: f64,
    pub n: u64,
    /// `above` or `below`.
    pub direction: String,
    pub threshold: f64,
    pub min_events: u64,
    pub window_start: Micros,
    pub window_end: Micros,
    /// Share of partitions whose watermark had passed the window's end.
    pub coverage: f64,
    /// Of a comparison with a reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftEvidence>,
    /// Of a comparison with what is usual at that hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usual: Option<UsualEvidence>,
    /// Where it moved, from the moment on at which it fired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<Moved>,
}

/// What an anomaly rule weighed; `value` of the evidence is the change relative to what is usual, of a shape the share of values
/// that moved, of a score or another mean the difference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UsualEvidence {
    /// `rate`, `level`, `shape` or `tail`.
    pub detector: String,
    /// The e-detector's value, and the one from which it speaks.
    pub evidence: f64,
    pub bar: f64,
    /// False pages a week that this bar allows the stream.
    pub false_pages_a_week: f64,
    /// Usual and present level, in `level_unit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<f64>,
    pub level_unit: Unit,
    /// When the change began, as estimated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Micros>,
    /// Beginning of the first block whose evidence is in `evidence`.
    #[serde(default)]
    pub weighed_from: Micros,
    /// The change that the alert was opened for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened: Option<f64>,
    /// The day for which the baseline was made, and what it was made of.
    pub baseline_day: i64,
    pub baseline_events: f64,
    pub baseline_blocks: u64,
    /// The rise that would be told within an hour in nine cases of ten, relative to what is usual or in a mean's own unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sees: Option<f64>,
    #[serde(default = "change")]
    pub sees_unit: Unit,
    /// Why nothing can be tested; empty where it can.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub untestable: String,
    /// Streams of the rule that are affected now, the strongest first, and how many they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub affected: Vec<AlertLabels>,
    #[serde(default)]
    pub affected_count: usize,
}

impl UsualEvidence {
    /// One line for people.
    fn shown(&self) -> String {
        if !self.untestable.is_empty() {
            return format!("cannot be tested: {}", self.untestable);
        }
        let level = |level: Option<f64>| level.map_or_else(String::new, |level| self.level_unit.show(level));
        let levels = match (self.before, self.now) {
            (Some(_), Some(_)) => format!("; {} where {} is usual", level(self.now), level(self.before)),
            (Some(_), None) => format!("; {} is usual", level(self.before)),
            _ => String::new(),
        };
        let since = self.since.map_or_else(String::new, |at| format!(", since about {}", crate::clock::readable(at)));
        let affected = match self.affected_count {
            0 | 1 => String::new(),
            count => {
                let name = |labels: &AlertLabels| labels.values().cloned().collect::<Vec<_>>().join(" / ");
                let names: Vec<String> = self.affected.iter().map(name).collect();
                format!("; {count} affected: {}", names.join(", "))
            }
        };
        let sees = match self.sees {
            Some(rise) => {
                format!("; would tell a rise of {} within an hour, in nine cases of ten", self.sees_unit.show(rise))
            }
            None => String::new(),
        };
        format!(
            "e-detector `{}`: evidence {:.2e}, speaks from {:.2e} ({:.2e} false pages a week){levels}{since}{affected}{sees}; usual by {} blocks with {:.0} events",
            self.detector, self.evidence, self.bar, self.false_pages_a_week, self.baseline_blocks, self.baseline_events
        )
    }
}

/// What a drift rule compared with, and how sure it is; `value` of the evidence is the debiased effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriftEvidence {
    pub reference_from: Micros,
    pub reference_to: Micros,
    /// What the reference is, where its time does not say all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reference_words: String,
    pub reference_n: u64,
    /// `None` where there was too little to compare.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p: Option<f64>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub untested: String,
    /// Id of the test; `psi` in what was stored before there were others.
    #[serde(default = "psi")]
    pub test: String,
    /// The level that `p` is held against.
    pub alpha: f64,
    /// Per bin: reference and present counts.
    pub bins: Vec<(u64, u64)>,
    /// Of a comparison of versions: which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<Versions>,
    /// Of a comparison with a golden set: slices of the present that it has nothing of, the busiest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uncovered: Vec<Uncovered>,
    /// Of a comparison of words: which differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<MovedWords>,
    /// Of a comparison of tables: categories whose shares differ, furthest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<MovedShare>,
}

/// A category's shares of two windows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MovedShare {
    pub category: String,
    pub before: f64,
    pub now: f64,
}

impl MovedShare {
    /// In words: length 9.41 % (was 2.10 %), stop 88.00 % (97.20 %).
    pub fn shown(shares: &[Self]) -> String {
        let one = |(place, moved): (usize, &Self)| {
            let was = if place == 0 { "was " } else { "" };
            format!("{} {} ({was}{})", moved.category, Unit::Share.show(moved.now), Unit::Share.show(moved.before))
        };
        shares.iter().enumerate().map(one).collect::<Vec<_>>().join(", ")
    }
}

/// Words whose shares of the texts differ between two windows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MovedWords {
    /// Words that were in enough of the texts to be tested.
    pub tested: u64,
    /// Those that differ surely and by as much as matters, what surely went furthest first; where none does, the one that comes nearest.
    pub moved: Vec<MovedWord>,
    /// How many more do.
    pub more: u64,
    /// Whether they do; of a classifier whether it does.
    pub passed: bool,
    /// The words were learnt together, by a classifier: what tells the windows apart most comes first.
    #[serde(default)]
    pub together: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MovedWord {
    /// The number that the word is counted under.
    pub place: u16,
    pub word: String,
    /// Shares of the texts that have it.
    pub before: f64,
    pub now: f64,
}

impl MovedWords {
    /// In words: `refund` in 12.0 % of the texts (was 2.1 %), `invoice` 4.0 % (2.0 %).
    pub fn shown(&self) -> String {
        let one = |(place, moved): (usize, &MovedWord)| {
            let (word, now, before) = (&moved.word, moved.now * 100.0, moved.before * 100.0);
            if place == 0 {
                format!("`{word}` in {now:.1} % of the texts (was {before:.1} %)")
            } else {
                format!("`{word}` {now:.1} % ({before:.1} %)")
            }
        };
        let mut told: Vec<String> = self.moved.iter().enumerate().map(one).collect();
        if self.more > 0 {
            told.push(format!("{} more", self.more));
        }
        let nearest = match (self.passed, self.together) {
            (true, false) => "",
            (true, true) => "told apart most by ",
            (false, false) => "none surely moved by as much as matters, nearest is ",
            (false, true) if told.is_empty() => "no word tells the windows apart",
            (false, true) => "not surely told apart by as much as matters, most by ",
        };
        let tested = group_digits(&self.tested.to_string());
        format!("{nearest}{}; {tested} words tested together", told.join(", "))
    }
}

/// Two versions of a label that were held beside one another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    pub label: String,
    pub before: String,
    pub now: String,
}

/// A slice of the present that a reference has nothing of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Uncovered {
    pub label: String,
    pub value: String,
    /// Of the present's calls.
    pub share: f64,
}

fn change() -> Unit {
    Unit::Change
}

fn psi() -> String {
    Test::Psi.id().to_owned()
}

impl Evidence {
    /// `p95 of duration_ms`, `error_rate`.
    pub fn what(&self) -> String {
        match self.quantile {
            _ if self.drift.is_some() => format!("drift of {}", self.measure),
            _ if self.usual.is_some() => format!("unusual {}", self.measure),
            Some(q) => format!("p{} of {}", trim(q * 100.0), self.measure),
            None => self.measure.clone(),
        }
    }

    pub fn shown_value(&self) -> String {
        match (self.value, &self.usual) {
            (Some(value), _) => self.unit.show(value),
            (None, Some(usual)) if usual.untestable.is_empty() && self.n > 0 => "nothing unusual".to_owned(),
            _ => "no data".to_owned(),
        }
    }

    pub fn shown_interval(&self) -> String {
        self.unit.show_interval(crate::interval::Interval { low: self.low, high: self.high })
    }

    /// The test's answer and its reference; `None` where nothing was compared.
    pub fn shown_test(&self) -> Option<String> {
        if let Some(usual) = &self.usual {
            return Some(usual.shown());
        }
        let drift = self.drift.as_ref()?;
        let title: &str = Test::parse(&drift.test).map_or(&drift.test, |test| test.title());
        let answer = match drift.p {
            Some(p) if p < 1e-12 => format!("p < 1e-12 (level {})", drift.alpha),
            Some(p) => format!("p = {p:.2e} (level {})", drift.alpha),
            None if drift.untested.is_empty() => "too little data to compare".to_owned(),
            None => format!("cannot be compared: {}", drift.untested),
        };
        let time = |at: Micros| crate::clock::rfc3339(at)[..16].replace('T', " ");
        let (from, to) = (time(drift.reference_from), time(drift.reference_to));
        let words = &drift.reference_words;
        let words = if words.is_empty() { String::new() } else { format!(" ({words})") };
        let slice =
            |slice: &Uncovered| format!("{} = {} ({:.1} % of calls)", slice.label, slice.value, slice.share * 100.0);
        let uncovered: Vec<String> = drift.uncovered.iter().map(slice).collect();
        let uncovered =
            if uncovered.is_empty() { String::new() } else { format!("; not in it: {}", uncovered.join(", ")) };
        // Of what is not there no time is known.
        let times = if drift.reference_to == 0 { "nothing".to_owned() } else { format!("{from} to {to} UTC") };
        Some(format!("{title}: {answer}, against {times}{words} with n = {}{uncovered}", drift.reference_n))
    }

    /// The words that differ; `None` where none were compared.
    pub fn shown_words(&self) -> Option<String> {
        Some(self.drift.as_ref()?.words.as_ref()?.shown())
    }

    /// The categories whose shares differ; `None` where no tables were compared.
    pub fn shown_shares(&self) -> Option<String> {
        let shares = &self.drift.as_ref()?.shares;
        (!shares.is_empty()).then(|| MovedShare::shown(shares))
    }

    /// How many single observations (calls, labels, examined texts, as the measure has it) the number is of, and how many the rule asks for.
    pub fn shown_observations(&self) -> String {
        let asked =
            if self.min_events > 0 { format!(" (the rule asks for {})", self.min_events) } else { String::new() };
        format!("{}{asked}", self.n)
    }

    pub fn shown_threshold(&self) -> String {
        format!("{} {}", self.direction, self.unit.show(self.threshold))
    }
}

/// A number without needless digits: 99.9, 95.
fn trim(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A change of an instance's state, with its evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    pub id: String,
    pub rule: String,
    pub rule_version: String,
    pub fingerprint: String,
    pub from: State,
    pub to: State,
    /// Event time: the end of the window that decided.
    pub at: Micros,
    pub evidence: Evidence,
}

/// What a channel tells its receiver. Rendered once, sent under one id until it is accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// Deterministic per (group, receiver, sequence): every copy carries the same.
    pub id: String,
    /// The same for all notices of a group: mails thread under it.
    pub group_key: String,
    pub receiver: String,
    pub sequence: u64,
    pub status: State,
    pub reason: String,
    pub severity: Severity,
    pub title: String,
    pub rule: String,
    pub rule_version: String,
    pub fingerprint: String,
    pub labels: AlertLabels,
    pub annotations: BTreeMap<String, String>,
    /// Event time at which the condition became true.
    pub active_at: Micros,
    /// Event time at which it fired.
    pub fired_at: Micros,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<Micros>,
    /// Clock time of the decision.
    pub detected_at: Micros,
    pub evidence: Evidence,
    pub links: BTreeMap<String, String>,
    /// Set where the events were made by a simulator.
    pub simulated: bool,
    /// The id of the episode's first notice to this receiver, which a later mail answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replies_to: Option<String>,
}

/// The id of a notice; contains no full stop, as Standard Webhooks asks.
pub fn notice_id(group_key: &str, receiver: &str, sequence: u64) -> String {
    let digest = Sha256::digest(format!("v1:{group_key}:{receiver}:{sequence}").as_bytes());
    let hex: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("msg_{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_depend_on_every_part_and_hold_no_full_stop() {
        let id = notice_id("g", "r", 1);
        assert!(!id.contains('.'));
        for other in [notice_id("h", "r", 1), notice_id("g", "s", 1), notice_id("g", "r", 2)] {
            assert_ne!(id, other);
        }
        assert_eq!(fingerprint("a", &AlertLabels::new()).len(), 16);
    }

    #[test]
    fn state_names_read_back() {
        for state in State::ALL {
            assert_eq!(State::parse(state.name()), Some(state));
        }
    }
}
