//! Measures: what a rule, a page or a report asks of a pane. Their ids are public for ever.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::interval::{self, Interval, LEVEL};
use crate::money::{group_digits, readable_usd};
use crate::pane::{Counter, LabelSum, Pane, Shape};
use crate::scan::{Marker, Origin};
use crate::sketch::Sketch;

/// A question that every pane can answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Measure {
    Calls,
    Errors,
    ErrorRate,
    /// Of calls that did not fail.
    Duration,
    /// Time to first token, of calls that did not fail.
    Ttft,
    InputTokens,
    OutputTokens,
    Cost,
    UnpricedCalls,
    /// Answers with text that declined, of answers with text.
    RefusalRate,
    /// Values in answers that none of their complete inputs explains.
    PiiLeaks,
    /// Answers with such a value, of answers with text.
    PiiLeakRate,
    /// Calls with a raised upstream moderation label, of calls with any label.
    SafetyRate,
    /// Calls whose answer's text was seen.
    TextCoverage,
    Score(String),
    /// Mean of feedback of one name, from people and code.
    Feedback(String),
    /// Values in answers, by origin.
    Pii(Origin),
    /// Examined calls whose texts show a mark.
    Mark(Marker),
}

/// The fixed ids, in the order in which pages list them; `score.NAME` comes beside them.
pub const IDS: [(&str, Measure); 14] = [
    ("calls", Measure::Calls),
    ("errors", Measure::Errors),
    ("error_rate", Measure::ErrorRate),
    ("duration_ms", Measure::Duration),
    ("ttft_ms", Measure::Ttft),
    ("input_tokens", Measure::InputTokens),
    ("output_tokens", Measure::OutputTokens),
    ("cost_usd", Measure::Cost),
    ("unpriced_calls", Measure::UnpricedCalls),
    ("refusal_rate", Measure::RefusalRate),
    ("pii_leaks", Measure::PiiLeaks),
    ("pii_leak_rate", Measure::PiiLeakRate),
    ("safety_rate", Measure::SafetyRate),
    ("text_coverage", Measure::TextCoverage),
];

#[derive(Debug, Error, PartialEq, Eq)]
#[error("unknown measure `{0}`; valid are {names}, score.NAME, feedback.NAME, pii.ORIGIN (echo, retrieved, system, unexplained, unattributed), mark.NAME ({marks})", marks = Marker::ALL.map(Marker::name).join(", "), names = IDS.map(|(id, _)| id).join(", "))]
pub struct UnknownMeasure(pub String);

/// A measured number: how much, how sure, from how many.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    pub value: f64,
    /// At [`LEVEL`]; both bounds missing where the number is an exact count.
    pub interval: Interval,
    /// Observations behind it.
    pub n: u64,
}

/// What the number is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Count,
    Share,
    Milliseconds,
    Tokens,
    Usd,
    Score,
    /// Population stability index.
    Psi,
    /// Between distributions, without a unit.
    Distance,
    /// Standard deviations of a reference.
    Deviations,
}

impl Measure {
    pub fn parse(id: &str) -> Result<Self, UnknownMeasure> {
        if let Some(name) = id.strip_prefix("score.").filter(|name| !name.is_empty()) {
            return Ok(Self::Score(name.to_owned()));
        }
        if let Some(name) = id.strip_prefix("feedback.").filter(|name| !name.is_empty()) {
            return Ok(Self::Feedback(name.to_owned()));
        }
        let origin = id.strip_prefix("pii.").and_then(|name| Origin::ALL.iter().find(|origin| origin.name() == name));
        if let Some(origin) = origin {
            return Ok(Self::Pii(*origin));
        }
        let mark = id.strip_prefix("mark.").and_then(|name| Marker::ALL.iter().find(|mark| mark.name() == name));
        if let Some(mark) = mark {
            return Ok(Self::Mark(*mark));
        }
        let known = IDS.iter().find(|(known, _)| *known == id);
        known.map(|(_, measure)| measure.clone()).ok_or_else(|| UnknownMeasure(id.to_owned()))
    }

    pub fn unit(&self) -> Unit {
        match self {
            Self::Calls | Self::Errors | Self::UnpricedCalls | Self::PiiLeaks | Self::Pii(_) => Unit::Count,
            Self::ErrorRate
            | Self::RefusalRate
            | Self::PiiLeakRate
            | Self::SafetyRate
            | Self::TextCoverage
            | Self::Mark(_) => Unit::Share,
            Self::Duration | Self::Ttft => Unit::Milliseconds,
            Self::InputTokens | Self::OutputTokens => Unit::Tokens,
            Self::Cost => Unit::Usd,
            Self::Score(_) | Self::Feedback(_) => Unit::Score,
        }
    }

    /// Whether a quantile of single calls can be asked for; without one it is a sum, count, rate or mean.
    pub fn takes_quantile(&self) -> bool {
        self.shape().is_some()
    }

    /// Latency has no meaningful sum.
    pub fn needs_quantile(&self) -> bool {
        matches!(self, Self::Duration | Self::Ttft)
    }

    /// The distribution that the measure is taken from.
    pub fn sketch<'p>(&self, pane: &'p Pane) -> Option<&'p Sketch> {
        self.shape().map(|(shape, _)| pane.sketch(shape))
    }

    fn shape(&self) -> Option<(Shape, f64)> {
        match self {
            Self::Duration => Some((Shape::DurationOk, 1e-3)),
            Self::Ttft => Some((Shape::TtftOk, 1e-3)),
            Self::InputTokens => Some((Shape::InputTokens, 1.0)),
            Self::OutputTokens => Some((Shape::OutputTokens, 1.0)),
            Self::Cost => Some((Shape::Cost, 1e-9)),
            _ => None,
        }
    }

    /// What the distribution's numbers are times in the measure's unit.
    pub fn scale(&self) -> f64 {
        self.shape().map_or(1.0, |(_, scale)| scale)
    }

    /// Of a rate: calls that are counted and all that could be, in effective numbers where calls were sampled.
    pub fn counts(&self, pane: &Pane) -> Option<(u64, u64)> {
        let (part, whole) = self.parts()?;
        let found = share(pane, part, whole)?;
        let n = (pane.effective_calls() * found.n as f64 / pane.calls().max(1) as f64).round();
        Some(((found.value * n).round() as u64, n as u64))
    }

    /// Whether it is a share of calls.
    pub fn is_rate(&self) -> bool {
        self.parts().is_some()
    }

    fn parts(&self) -> Option<(Counter, Counter)> {
        match self {
            Self::ErrorRate => Some((Counter::Errors, Counter::Calls)),
            Self::RefusalRate => Some((Counter::Refused, Counter::Scanned)),
            Self::PiiLeakRate => Some((Counter::Leaking, Counter::Scanned)),
            Self::SafetyRate => Some((Counter::Raised, Counter::Moderated)),
            Self::TextCoverage => Some((Counter::Scanned, Counter::Calls)),
            Self::Mark(marker) => Some((Counter::of(*marker), Counter::Examined)),
            _ => None,
        }
    }

    /// The number, `None` where the pane has nothing to say: no data is not zero.
    pub fn of(&self, pane: &Pane, quantile: Option<f64>) -> Option<Estimate> {
        if let (Some(q), Some((shape, scale))) = (quantile, self.shape()) {
            let sketch = pane.sketch(shape);
            let scaled = |bound: Option<f64>| bound.map(|b| b * scale);
            let found = sketch.quantile(q)?;
            let bounds = interval::quantile(sketch, q, LEVEL);
            let interval = Interval { low: scaled(bounds.low), high: scaled(bounds.high) };
            return Some(Estimate { value: found.value * scale, interval, n: sketch.n() });
        }
        if let Self::Feedback(name) = self {
            return label_mean(pane.outcome(name));
        }
        let calls = pane.get(Counter::Calls);
        let exact_hits = |n: u64| {
            let scanned = pane.get(Counter::Scanned).n;
            (scanned > 0).then_some(Estimate { value: n as f64, interval: Interval::default(), n: scanned })
        };
        if let Some((part, whole)) = self.parts() {
            return share(pane, part, whole);
        }
        match self {
            Self::PiiLeaks => return exact_hits(pane.hits.of_origin(Origin::Unexplained)),
            Self::Pii(origin) => return exact_hits(pane.hits.of_origin(*origin)),
            _ => {}
        }
        if calls.n == 0 {
            return None;
        }
        let exact = |value: f64| Some(Estimate { value, interval: Interval::default(), n: calls.n });
        match self {
            Self::Calls => exact(calls.weight()),
            Self::Errors => exact(pane.get(Counter::Errors).weight()),
            Self::UnpricedCalls => exact(pane.get(Counter::Unpriced).weight()),
            Self::InputTokens => exact(pane.token_sum(0) as f64),
            Self::OutputTokens => exact(pane.token_sum(1) as f64),
            Self::Cost => exact(pane.cost as f64 / 1e9),
            Self::Score(name) => score_mean(pane, name),
            _ => None,
        }
    }

    /// Observations that the measure has, which `min_events` is compared with.
    pub fn events(&self, pane: &Pane, quantile: Option<f64>) -> u64 {
        match (self, quantile) {
            (Self::Score(name), _) => pane.scores().get(name).map_or(0, |sum| sum.valued),
            (Self::Feedback(name), _) => u64::try_from(pane.outcome(name).valued).unwrap_or(0),
            (Self::RefusalRate | Self::PiiLeakRate | Self::PiiLeaks | Self::Pii(_), _) => pane.get(Counter::Scanned).n,
            (Self::SafetyRate, _) => pane.get(Counter::Moderated).n,
            (_, Some(_)) => self.shape().map_or(0, |(shape, _)| pane.sketch(shape).n()),
            _ => pane.calls(),
        }
    }
}

/// A weighted share with Wilson's interval on Kish's effective number.
pub fn share(pane: &Pane, part: Counter, whole: Counter) -> Option<Estimate> {
    let (part, whole) = (pane.get(part), pane.get(whole));
    if whole.n == 0 {
        return None;
    }
    let value = part.weight() / whole.weight();
    // The same share of the calls' effective number: weights do not differ by what is counted.
    let n = pane.effective_calls() * whole.n as f64 / pane.calls().max(1) as f64;
    Some(Estimate { value, interval: interval::wilson(value * n, n, LEVEL), n: whole.n })
}

/// Mean of feedback: Wilson's interval where every value is 0 or 1, Student's otherwise.
pub fn label_mean(sum: LabelSum) -> Option<Estimate> {
    let n = u64::try_from(sum.valued).ok().filter(|n| *n > 0)?;
    let count = n as f64;
    let value = sum.sum_micro as f64 / 1e6 / count;
    let squares = sum.sum_squares_micro as f64 / 1e6;
    let binary = (sum.sum_micro as f64 / 1e6 - squares).abs() < 1e-9 && (0.0..=1.0).contains(&value);
    let interval = if binary {
        interval::wilson(value * count, count, LEVEL)
    } else {
        interval::mean(value, (squares - count * value * value) / (count - 1.0).max(1.0), n, LEVEL)
    };
    Some(Estimate { value, interval, n })
}

fn score_mean(pane: &Pane, name: &str) -> Option<Estimate> {
    let sum = pane.scores().get(name).filter(|sum| sum.valued > 0)?;
    let n = sum.valued as f64;
    let value = sum.sum_micro as f64 / 1e6 / n;
    let variance = (sum.sum_squares_micro as f64 / 1e6 - n * value * value) / (n - 1.0).max(1.0);
    Some(Estimate { value, interval: interval::mean(value, variance, sum.valued, LEVEL), n: sum.valued })
}

impl Unit {
    /// The number with its unit, short: `4.3 s`, `2.31 %`, `$0.0012`.
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Count => group_digits(&format!("{:.0}", value.abs())),
            Self::Share => format!("{:.2} %", value * 100.0),
            Self::Milliseconds if value.abs() >= 10_000.0 => format!("{:.1} s", value / 1000.0),
            Self::Milliseconds if value.abs() >= 1_000.0 => format!("{:.2} s", value / 1000.0),
            Self::Milliseconds => format!("{value:.0} ms"),
            Self::Tokens => format!("{} tokens", group_digits(&format!("{value:.0}"))),
            Self::Usd => readable_usd(value * 1e9),
            Self::Score => format!("{value:.3}"),
            Self::Psi => format!("PSI {value:.3}"),
            Self::Distance => format!("{value:.3}"),
            Self::Deviations => format!("{value:.2} sd"),
        }
    }

    /// `4.1 s to 4.5 s`; empty where the number is exact.
    pub fn show_interval(self, interval: Interval) -> String {
        match (interval.low, interval.high) {
            (Some(low), Some(high)) => format!("{} to {}", self.show(low), self.show(high)),
            (Some(low), None) => format!("at least {}", self.show(low)),
            (None, Some(high)) => format!("at most {}", self.show(high)),
            (None, None) => String::new(),
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Score(name) = self {
            return write!(f, "score.{name}");
        }
        if let Self::Feedback(name) = self {
            return write!(f, "feedback.{name}");
        }
        if let Self::Pii(origin) = self {
            return write!(f, "pii.{}", origin.name());
        }
        let id = IDS.iter().find(|(_, measure)| measure == self).map_or("", |(id, _)| id);
        f.write_str(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Status;
    use crate::pane::{Numbers, UNIT_WEIGHT};

    #[test]
    fn ids_survive_a_round_trip_and_an_unknown_one_names_the_valid() {
        for (id, measure) in IDS {
            assert_eq!(Measure::parse(id), Ok(measure.clone()));
            assert_eq!(measure.to_string(), id);
        }
        assert_eq!(Measure::parse("score.grounded").unwrap().to_string(), "score.grounded");
        let error = Measure::parse("latency").unwrap_err().to_string();
        assert!(error.contains("`latency`") && error.contains("duration_ms"), "{error}");
    }

    #[test]
    fn an_empty_pane_measures_nothing() {
        for (_, measure) in IDS {
            assert_eq!(measure.of(&Pane::default(), None), None);
            assert_eq!(measure.of(&Pane::default(), Some(0.95)), None);
        }
    }

    #[test]
    fn rates_weigh_sampled_calls() {
        let mut pane = Pane::default();
        let call = |status, weight_micro| Numbers { status, weight_micro, ..Numbers::default() };
        pane.add(&call(Status::Error, UNIT_WEIGHT));
        pane.add(&call(Status::Ok, 9 * UNIT_WEIGHT));
        let rate = Measure::ErrorRate.of(&pane, None).unwrap();
        assert!((rate.value - 0.1).abs() < 1e-12);
        assert_eq!((Measure::Calls.of(&pane, None).unwrap().value, rate.n), (10.0, 2));
        assert!(rate.interval.high.unwrap() > 0.8, "two calls prove little");
    }
}
