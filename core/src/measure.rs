//! Measures: what a rule, a page or a report asks of a pane. Their ids are public for ever.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::embedding::Embeddings;
use crate::hazard::Hazard;
use crate::interval::{self, Interval, LEVEL};
use crate::money::{group_digits, readable_usd};
use crate::pane::{Count, Counter, LabelSum, Pane, Shape};
use crate::quality::Quality;
use crate::scan::{Entity, Marker, Origin};
use crate::sketch::Sketch;
use crate::table::Table;
use crate::words::{Of, Words};

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
    /// Values in answers that the policy counts as leaks: where it says nothing, those that none of the answer's complete
    /// inputs explains.
    PiiLeaks,
    /// Answers with such a value, of answers with text.
    PiiLeakRate,
    /// Calls with a value or a hazard that the policy calls severe.
    SevereRate,
    /// Of the bytes of texts, those that were scanned.
    ScanCoverage,
    /// Calls whose telemetry itself holds a value.
    TelemetryHeldRate,
    /// Calls with a raised upstream moderation label, of calls with any label.
    SafetyRate,
    /// Calls that an upstream moderation judged.
    ModerationCoverage,
    /// Calls whose answer's text was seen.
    TextCoverage,
    /// Calls whose texts were withheld from the telemetry.
    TextRedactedRate,
    /// Calls whose texts were cut before they came.
    TextTruncatedRate,
    Score(String),
    /// Mean of feedback of one name, from people and code.
    Feedback(String),
    /// Values in answers, by origin.
    Pii(Origin),
    /// Unexplained values that were looked up and found nowhere.
    PiiNovel,
    /// Values of another tenant that are not alike by chance, and are not published: secrets, bank accounts.
    PiiCrossTenantCertain,
    /// Values of another tenant beyond those that chance would find.
    PiiCrossTenantExcess,
    /// A quality of texts, its mean over calls.
    Quality(Quality),
    /// Calls in which moderation raised a hazard, of those that it judged: any source, or the one that is named.
    Hazard(Hazard, Option<String>),
    /// Examined calls whose texts show a mark.
    Mark(Marker),
    /// Of calls that told how they ended, those in one category; of all calls, those that failed in one way.
    Category(Table, u8),
    /// All categories of a table: compared, and no number.
    Table(Table),
    /// Words that are asked, answered, or said of failures: nothing but a comparison can be asked of them.
    Words(Of),
    /// Embeddings of one space: compared, and no number either.
    Embedding(String),
}

/// The fixed ids, in the order in which pages list them; `score.NAME` comes beside them.
pub const IDS: [(&str, Measure); 25] = [
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
    ("pii.novel", Measure::PiiNovel),
    ("pii.cross_tenant_certain", Measure::PiiCrossTenantCertain),
    ("pii.cross_tenant_excess", Measure::PiiCrossTenantExcess),
    ("severe_rate", Measure::SevereRate),
    ("telemetry_held_rate", Measure::TelemetryHeldRate),
    ("scan_coverage", Measure::ScanCoverage),
    ("safety_rate", Measure::SafetyRate),
    ("moderation_coverage", Measure::ModerationCoverage),
    ("text_coverage", Measure::TextCoverage),
    ("text_redacted_rate", Measure::TextRedactedRate),
    ("text_truncated_rate", Measure::TextTruncatedRate),
    ("finish_reasons", Measure::Table(Table::Finish)),
    ("error_classes", Measure::Table(Table::Error)),
];

#[derive(Debug, Error, PartialEq, Eq)]
#[error("unknown measure `{0}`; valid are {names}, score.NAME, feedback.NAME, pii.ORIGIN ({origins}), mark.NAME ({marks}), text.NAME ({texts}), words.NAME ({words}), embedding.SPACE, finish.REASON ({reasons}), error.CLASS ({classes}), hazard.NAME or hazard.NAME@SOURCE ({hazards})", reasons = Table::Finish.categories().join(", "), classes = Table::Error.categories().join(", "), origins = Origin::ALL.map(Origin::name).join(", "), marks = Marker::ALL.map(Marker::name).join(", "), texts = Quality::ALL.map(Quality::name).join(", "), words = Of::ALL.map(Of::name).join(", "), hazards = Hazard::ALL.map(Hazard::name).join(", "), names = IDS.map(|(id, _)| id).join(", "))]
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

/// Single values by their number, mean, and sum of squared distances from it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    pub n: f64,
    pub mean: f64,
    pub squares: f64,
}

impl Moments {
    /// Of values; `None` of none.
    pub fn of_values(values: &[f64]) -> Option<Self> {
        let n = Some(values.len() as f64).filter(|n| *n > 0.0)?;
        let mean = values.iter().sum::<f64>() / n;
        Some(Self { n, mean, squares: values.iter().map(|value| (value - mean).powi(2)).sum() })
    }

    /// From sums in millionths; `None` of no values.
    fn of(n: u64, sum_micro: f64, sum_squares_micro: f64) -> Option<Self> {
        let count = Some(n as f64).filter(|n| *n > 0.0)?;
        let mean = sum_micro / 1e6 / count;
        let squares = sum_squares_micro / 1e6 - count * mean * mean;
        // Each square was cut at its last millionth: what that may have taken is given back.
        Some(Self { n: count, mean, squares: squares.max(0.0) + 1e-6 * count })
    }

    /// The mean as an estimate, with Student's interval.
    fn estimate(self) -> Estimate {
        let variance = self.squares / (self.n - 1.0).max(1.0);
        let n = self.n as u64;
        Estimate { value: self.mean, interval: interval::mean(self.mean, variance, n, LEVEL), n }
    }
}

/// What a window has of a measure, for tests.
#[derive(Debug, Clone, PartialEq)]
pub enum Sample {
    /// A distribution's values.
    Values(Sketch),
    /// Calls that are counted, and all that could be.
    Rate(u64, u64),
    /// Counts by category.
    Table(Vec<u64>),
    /// Moments; `None` of no values.
    Means(Option<Moments>),
    /// Texts by their words.
    Words(Words),
    /// Texts by their embeddings.
    Embeddings(Embeddings),
}

impl Sample {
    /// Values, or calls that could be counted.
    pub fn n(&self) -> u64 {
        match self {
            Self::Values(sketch) => sketch.n(),
            Self::Rate(_, n) => *n,
            Self::Table(counts) => counts.iter().sum(),
            Self::Means(moments) => moments.map_or(0, |moments| moments.n as u64),
            Self::Words(words) => words.texts(),
            Self::Embeddings(embeddings) => embeddings.n(),
        }
    }
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
    /// A change relative to what it was: 0.25 is a quarter more.
    Change,
}

impl Measure {
    pub fn parse(id: &str) -> Result<Self, UnknownMeasure> {
        if let Some(name) = id.strip_prefix("score.").filter(|name| !name.is_empty()) {
            return Ok(Self::Score(name.to_owned()));
        }
        if let Some(name) = id.strip_prefix("feedback.").filter(|name| !name.is_empty()) {
            return Ok(Self::Feedback(name.to_owned()));
        }
        if let Some(space) = id.strip_prefix("embedding.").filter(|space| !space.is_empty()) {
            return Ok(Self::Embedding(space.to_owned()));
        }
        if let Some((_, known)) = IDS.iter().find(|(known, _)| *known == id) {
            return Ok(known.clone());
        }
        let named = match id.split_once('.') {
            Some(("pii", name)) => Origin::find(name).map(Self::Pii),
            Some(("mark", name)) => Marker::ALL.into_iter().find(|mark| mark.name() == name).map(Self::Mark),
            Some(("text", name)) => Quality::find(name).map(Self::Quality),
            Some(("words", name)) => Of::find(name).map(Self::Words),
            Some((table, category)) if Table::find(table).is_some() => {
                Table::find(table).and_then(|table| Some(Self::Category(table, table.place(category)?)))
            }
            Some(("hazard", name)) => {
                let (name, source) = name.split_once('@').map_or((name, None), |(name, source)| (name, Some(source)));
                Hazard::find(name).map(|hazard| Self::Hazard(hazard, source.map(str::to_owned)))
            }
            _ => None,
        };
        named.ok_or_else(|| UnknownMeasure(id.to_owned()))
    }

    pub fn unit(&self) -> Unit {
        match self {
            Self::Calls
            | Self::Errors
            | Self::UnpricedCalls
            | Self::PiiLeaks
            | Self::Pii(_)
            | Self::PiiNovel
            | Self::PiiCrossTenantCertain
            | Self::PiiCrossTenantExcess
            | Self::Quality(Quality::Length) => Unit::Count,
            Self::ErrorRate
            | Self::RefusalRate
            | Self::PiiLeakRate
            | Self::SevereRate
            | Self::TelemetryHeldRate
            | Self::ScanCoverage
            | Self::SafetyRate
            | Self::ModerationCoverage
            | Self::TextCoverage
            | Self::TextRedactedRate
            | Self::TextTruncatedRate
            | Self::Quality(_)
            | Self::Hazard(..)
            | Self::Mark(_)
            | Self::Category(..)
            | Self::Table(_)
            | Self::Words(_) => Unit::Share,
            Self::Duration | Self::Ttft => Unit::Milliseconds,
            Self::InputTokens | Self::OutputTokens => Unit::Tokens,
            Self::Cost => Unit::Usd,
            Self::Score(_) | Self::Feedback(_) => Unit::Score,
            Self::Embedding(_) => Unit::Deviations,
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
        let (part, whole) = self.parts(pane)?;
        let found = share_of(pane, part, whole)?;
        let n = (pane.effective_calls() * found.n as f64 / pane.calls().max(1) as f64).round();
        Some(((found.value * n).round() as u64, n as u64))
    }

    /// Whether it is a share of calls.
    pub fn is_rate(&self) -> bool {
        self.parts(&Pane::default()).is_some()
    }

    /// Whether it is a mean of single values whose moments are kept, and no more of them.
    pub fn is_mean(&self) -> bool {
        matches!(self, Self::Score(_)) || matches!(self, Self::Quality(quality) if !quality.yes_or_no())
    }

    /// Of such a mean: its values' moments; `None` where there are none.
    pub fn moments(&self, pane: &Pane) -> Option<Moments> {
        match self {
            Self::Score(name) => {
                let sum = pane.scores().get(name)?;
                Moments::of(sum.valued, sum.sum_micro as f64, sum.sum_squares_micro as f64)
            }
            Self::Quality(quality) => {
                let sum = pane.quality(*quality);
                Moments::of(sum.n, sum.sum_micro as f64, sum.sum_squares_micro as f64)
            }
            _ => None,
        }
    }

    /// What a pane has of it; of counts and sums `None`: they have nothing that tests compare.
    pub fn sample(&self, pane: &Pane) -> Option<Sample> {
        if let Some(sketch) = self.sketch(pane) {
            return Some(Sample::Values(sketch.clone()));
        }
        if self.is_mean() {
            return Some(Sample::Means(self.moments(pane)));
        }
        if let Self::Table(table) = self {
            return Some(Sample::Table(table.counts(pane)));
        }
        if let Self::Words(of) = self {
            return Some(Sample::Words(pane.words(*of).cloned().unwrap_or_default()));
        }
        if let Self::Embedding(space) = self {
            return Some(Sample::Embeddings(pane.embeddings().get(space).cloned().unwrap_or_default()));
        }
        let (hits, n) = self.counts(pane).unwrap_or((0, 0));
        self.is_rate().then_some(Sample::Rate(hits, n))
    }

    /// Of a rate: calls that are counted, and all that could be.
    fn parts(&self, pane: &Pane) -> Option<(Count, Count)> {
        let (part, whole) = match self {
            Self::ErrorRate => (Counter::Errors, Counter::Calls),
            Self::RefusalRate => (Counter::Refused, Counter::Scanned),
            Self::PiiLeakRate => (Counter::Leaking, Counter::Scanned),
            Self::SevereRate => (Counter::Severe, Counter::Calls),
            Self::TelemetryHeldRate => (Counter::TelemetryHeld, Counter::Calls),
            Self::SafetyRate => (Counter::Raised, Counter::Moderated),
            Self::ModerationCoverage => (Counter::Moderated, Counter::Calls),
            Self::TextCoverage => (Counter::Scanned, Counter::Calls),
            Self::TextRedactedRate => (Counter::TextRedacted, Counter::Calls),
            Self::TextTruncatedRate => (Counter::TextTruncated, Counter::Calls),
            Self::Mark(marker) => (Counter::of(*marker), Counter::Examined),
            Self::Category(Table::Error, class) => {
                return Some((pane.class((*class).into()), pane.get(Counter::Calls)));
            }
            Self::Category(table, place) => return Some((table.count(pane, *place), table.whole(pane))),
            Self::Hazard(hazard, None) => return Some((pane.hazard(*hazard), pane.get(Counter::Moderated))),
            Self::Hazard(hazard, Some(source)) => return Some(hazard_of(pane, *hazard, source)),
            Self::Quality(quality) if quality.yes_or_no() => {
                let (sum, plain) = (pane.quality(*quality), Count::plain);
                return Some((plain(u64::try_from(sum.sum_micro / 1_000_000).unwrap_or(u64::MAX)), plain(sum.n)));
            }
            _ => return None,
        };
        Some((pane.get(part), pane.get(whole)))
    }

    /// Whether two panes were measured alike. A rate over moderation labels whose sources, or their versions, are others
    /// than before is another measurement.
    pub fn comparable(&self, before: &Pane, now: &Pane) -> bool {
        let (before, now) = (self.sources(before), self.sources(now));
        before.is_empty() || now.is_empty() || before == now
    }

    /// Of a rate over moderation labels: the sources behind it, with their versions.
    fn sources<'p>(&self, pane: &'p Pane) -> Vec<&'p str> {
        let named = |name: &str| match self {
            Self::SafetyRate | Self::Hazard(_, None) => true,
            Self::Hazard(_, Some(source)) => of_source(name, source),
            _ => false,
        };
        pane.moderators().keys().map(String::as_str).filter(|name| named(name)).collect()
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
        if let Some((part, whole)) = self.parts(pane) {
            return share_of(pane, part, whole);
        }
        match self {
            Self::PiiLeaks => return exact_hits(pane.get(Counter::Leaks).n),
            Self::Pii(Origin::Telemetry) => {
                let n = pane.hits.of_origin(Origin::Telemetry);
                return (calls.n > 0).then_some(Estimate {
                    value: n as f64,
                    interval: Interval::default(),
                    n: calls.n,
                });
            }
            Self::Pii(_) | Self::PiiNovel | Self::PiiCrossTenantCertain => {
                let told = exact_hits(self.hits(pane)?)?;
                return Some(Estimate { interval: self.untold(pane, told.value), ..told });
            }
            Self::PiiCrossTenantExcess => return excess(pane),
            Self::Quality(_) => return self.moments(pane).map(Moments::estimate),
            Self::ScanCoverage => {
                let (seen, read) = (pane.get(Counter::BytesSeen).n, pane.get(Counter::BytesScanned).n);
                let value = read as f64 / seen as f64;
                let n = pane.get(Counter::Scanned).n;
                return (seen > 0).then_some(Estimate { value, interval: Interval::default(), n });
            }
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
            Self::Score(_) => self.moments(pane).map(Moments::estimate),
            _ => None,
        }
    }

    /// Values of an origin. What is told by looking around is `None` where there was something to look up and nothing
    /// was: not looked up is not clean.
    fn hits(&self, pane: &Pane) -> Option<u64> {
        let of = |origin| pane.hits.of_origin(origin);
        let (traced, found) =
            (of(Origin::Traced), of(Origin::CrossTenant) + of(Origin::CrossUser) + of(Origin::Recalled));
        let told = traced > 0 || of(Origin::Unexplained) == 0;
        match self {
            Self::PiiNovel => told.then(|| traced.saturating_sub(found)),
            Self::PiiCrossTenantCertain => told.then(|| pane.hits.of(Origin::CrossTenant, Entity::unmistakable)),
            Self::Pii(origin @ (Origin::Traced | Origin::CrossTenant | Origin::CrossUser | Origin::Recalled)) => {
                told.then(|| of(*origin))
            }
            Self::Pii(origin) => Some(of(*origin)),
            _ => None,
        }
    }

    /// Of what is told by looking around: what was not looked up may be anything.
    fn untold(&self, pane: &Pane, value: f64) -> Interval {
        let around = match self {
            Self::PiiNovel | Self::PiiCrossTenantCertain => true,
            Self::Pii(origin) => matches!(origin, Origin::CrossTenant | Origin::CrossUser | Origin::Recalled),
            _ => false,
        };
        let [unexplained, traced] = [Origin::Unexplained, Origin::Traced].map(|origin| pane.hits.of_origin(origin));
        let untold = unexplained.saturating_sub(traced) as f64;
        if around && untold > 0.0 {
            Interval { low: Some(value), high: Some(value + untold) }
        } else {
            Interval::default()
        }
    }

    /// Observations that the measure has, which `min_events` is compared with.
    pub fn events(&self, pane: &Pane, quantile: Option<f64>) -> u64 {
        match (self, quantile) {
            (Self::Pii(Origin::Telemetry), _) => pane.calls(),
            (Self::Score(name), _) => pane.scores().get(name).map_or(0, |sum| sum.valued),
            (Self::Feedback(name), _) => u64::try_from(pane.outcome(name).valued).unwrap_or(0),
            (
                Self::RefusalRate
                | Self::PiiLeakRate
                | Self::PiiLeaks
                | Self::Pii(_)
                | Self::PiiNovel
                | Self::PiiCrossTenantCertain
                | Self::ScanCoverage,
                _,
            ) => pane.get(Counter::Scanned).n,
            (Self::PiiCrossTenantExcess, _) => pane.hits.compared().n,
            (Self::Quality(quality), _) => pane.quality(*quality).n,
            (Self::SafetyRate | Self::Hazard(_, None), _) => pane.get(Counter::Moderated).n,
            (Self::Hazard(hazard, Some(source)), _) => hazard_of(pane, *hazard, source).1.n,
            (Self::Table(table) | Self::Category(table @ Table::Finish, _), _) => table.whole(pane).n,
            (Self::Mark(_), _) => pane.get(Counter::Examined).n,
            (Self::Words(of), _) => pane.words(*of).map_or(0, Words::texts),
            (Self::Embedding(space), _) => pane.embeddings().get(space).map_or(0, Embeddings::n),
            (_, Some(_)) => self.shape().map_or(0, |(shape, _)| pane.sketch(shape).n()),
            _ => pane.calls(),
        }
    }
}

/// `source` names a moderator of any version, or one with its version.
fn of_source(name: &str, source: &str) -> bool {
    name == source || name.split_once('@').is_some_and(|(bare, _)| bare == source)
}

/// What one source raised, and what it judged. It keeps plain counts: of sampled calls the sampled ones.
fn hazard_of(pane: &Pane, hazard: Hazard, source: &str) -> (Count, Count) {
    let mut sums = (Count::default(), Count::default());
    for (_, said) in pane.moderators().iter().filter(|(name, _)| of_source(name, source)) {
        sums = (sums.0.plus(said.hazards[hazard as usize]), sums.1.plus(said.calls));
    }
    sums
}

/// Values of another tenant less what chance would find, each once a call. The low end is Garwood's of a Poisson number less chance,
/// which is rather too high; the high end takes nothing off for it. Assumes that values which are made up are so one by one.
fn excess(pane: &Pane) -> Option<Estimate> {
    let found = pane.hits.compared();
    let bounds = interval::poisson(found.foreign, LEVEL);
    let interval = Interval { low: bounds.low.map(|low| low - found.chance), high: bounds.high };
    (found.n > 0).then_some(Estimate { value: found.foreign as f64 - found.chance, interval, n: found.n })
}

/// A weighted share with Wilson's interval on Kish's effective number.
pub fn share(pane: &Pane, part: Counter, whole: Counter) -> Option<Estimate> {
    share_of(pane, pane.get(part), pane.get(whole))
}

fn share_of(pane: &Pane, part: Count, whole: Count) -> Option<Estimate> {
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

impl Unit {
    /// The number with its unit, short: `4.3 s`, `2.31 %`, `$0.0012`.
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Count if value <= -0.5 => format!("-{}", group_digits(&format!("{:.0}", -value))),
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
            Self::Change => format!("{:+.1} %", value * 100.0),
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
        match self {
            Self::Embedding(space) => return write!(f, "embedding.{space}"),
            Self::Pii(origin) => return write!(f, "pii.{}", origin.name()),
            Self::Category(table, place) => return write!(f, "{}.{}", table.name(), table.category(*place)),
            Self::Mark(marker) => return write!(f, "mark.{}", marker.name()),
            Self::Words(of) => return write!(f, "words.{}", of.name()),
            Self::Quality(quality) => return write!(f, "text.{}", quality.name()),
            Self::Hazard(hazard, None) => return write!(f, "hazard.{}", hazard.name()),
            Self::Hazard(hazard, Some(source)) => return write!(f, "hazard.{}@{source}", hazard.name()),
            _ => {}
        }
        let id = IDS.iter().find(|(_, measure)| measure == self).map_or("", |(id, _)| id);
        f.write_str(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Status;
    use crate::hazard::{Judged, Moderated};
    use crate::pane::{Numbers, UNIT_WEIGHT};
    use crate::scan::Scanned;

    #[test]
    fn ids_survive_a_round_trip_and_an_unknown_one_names_the_valid() {
        for (id, measure) in IDS {
            assert_eq!(Measure::parse(id), Ok(measure.clone()));
            assert_eq!(measure.to_string(), id);
        }
        let marks = Marker::ALL.map(|mark| format!("mark.{}", mark.name()));
        let texts = Quality::ALL.map(|quality| format!("text.{}", quality.name()));
        let origins = Origin::ALL.map(|origin| format!("pii.{}", origin.name()));
        let hazards = Hazard::ALL.map(|hazard| format!("hazard.{}", hazard.name()));
        let others = ["score.grounded", "feedback.thumbs", "hazard.hate@openai", "hazard.hate@openai@2026-01"];
        let shares = Table::ALL
            .into_iter()
            .flat_map(|table| table.categories().iter().map(move |category| format!("{}.{category}", table.name())));
        let others = others.map(str::to_owned).into_iter().chain(hazards).chain(shares);
        for id in marks.into_iter().chain(texts).chain(origins).chain(others) {
            assert_eq!(Measure::parse(&id).unwrap().to_string(), id);
        }
        let error = Measure::parse("latency").unwrap_err().to_string();
        assert!(error.contains("`latency`") && error.contains("duration_ms"), "{error}");
        assert!(Measure::parse("finish.lenght").is_err() && Measure::parse("error.").is_err());
    }

    #[test]
    fn shares_of_tables_are_of_what_was_told() {
        let mut pane = Pane::default();
        let call = |finish, error_class: Option<u8>, weight| {
            let status = if error_class.is_some() { Status::Error } else { Status::Ok };
            Numbers { status, finish, error_class, weight_micro: weight * UNIT_WEIGHT, ..Numbers::default() }
        };
        // Two ended by themselves, one (for three) was cut, one told nothing; one failed at a limit, one somehow.
        for (finish, class, weight) in [
            (Some(0), None, 1),
            (Some(0), None, 1),
            (Some(1), None, 3),
            (None, None, 1),
            (None, Some(0), 1),
            (None, Some(8), 1),
        ] {
            pane.add(&call(finish, class, weight));
        }
        let of = |id: &str| Measure::parse(id).unwrap().of(&pane, None).map(|found| (found.value, found.n));
        assert_eq!((of("finish.length"), of("finish.content_filter")), (Some((0.6, 3)), Some((0.0, 3))));
        assert_eq!((of("error.rate_limit"), of("error.other")), (Some((0.125, 6)), Some((0.125, 6))));
        assert_eq!((of("finish_reasons"), of("error_classes")), (None, None), "a table is no number");
        // 64/14 effective calls of weight 8: 5 of 8 of them told an end.
        let Some(Sample::Table(ends)) = Measure::Table(Table::Finish).sample(&pane) else { panic!("no table") };
        assert_eq!(ends, [1, 2, 0, 0, 0, 0]);
        assert_eq!(Measure::Table(Table::Error).events(&pane, None), 2);
        let (mut twice, stored) = (pane.clone(), (pane.encode_counts(), pane.encode_sketches()));
        assert_eq!(Pane::decode(&stored.0, &stored.1), Ok(pane.clone()));
        twice.merge(&pane);
        assert_eq!((Table::Finish.whole(&twice).n, twice.finish(1).weight()), (6, 6.0));
    }

    #[test]
    fn an_empty_pane_measures_nothing() {
        for (_, measure) in IDS {
            assert_eq!(measure.of(&Pane::default(), None), None);
            assert_eq!(measure.of(&Pane::default(), Some(0.95)), None);
        }
    }

    #[test]
    fn another_version_of_a_moderation_is_another_measurement() {
        let judged = |source: &str| {
            let judged = Judged {
                source: source.into(),
                flagged: true,
                blocked: false,
                hazards: Hazard::Hate.bit(),
                allowed: 0,
            };
            let moderated = Some(Box::new(Moderated { raised: Vec::new(), judged: vec![judged] }));
            let mut pane = Pane::default();
            pane.add(&Numbers { moderated, weight_micro: UNIT_WEIGHT, ..Numbers::default() });
            pane
        };
        let (old, new) = (judged("openai@1"), judged("openai@2"));
        let of = |id: &str| Measure::parse(id).unwrap();
        for id in ["safety_rate", "hazard.hate", "hazard.hate@openai"] {
            assert!(!of(id).comparable(&old, &new) && of(id).comparable(&old, &old), "{id}");
            assert!(of(id).comparable(&old, &Pane::default()), "{id}: nothing was judged");
        }
        assert!(of("error_rate").comparable(&old, &new));
        let mut both = old.clone();
        both.merge(&new);
        let share = |id: &str| of(id).of(&both, None).map(|estimate| (estimate.value, estimate.n));
        assert_eq!(share("hazard.hate@openai"), Some((1.0, 2)), "of both versions");
        assert_eq!((share("hazard.hate@openai@2"), share("hazard.privacy")), (Some((1.0, 1)), Some((0.0, 2))));
        assert_eq!(share("hazard.hate@azure"), None, "it judged nothing");
    }

    #[test]
    fn what_was_not_looked_up_is_not_clean() {
        let mut pane = Pane::default();
        let mut scanned = Scanned::default();
        scanned.hits.add(Entity::Email, Origin::Unexplained, 5);
        pane.add(&Numbers { scanned: Some(Box::new(scanned)), weight_micro: UNIT_WEIGHT, ..Numbers::default() });
        let of = |pane: &Pane, id: &str| Measure::parse(id).unwrap().of(pane, None).map(|estimate| estimate.value);
        assert_eq!(
            [of(&pane, "pii.unexplained"), of(&pane, "pii.cross_tenant"), of(&pane, "pii.novel")],
            [Some(5.0), None, None]
        );
        pane.hits.add(Entity::Email, Origin::Traced, 4);
        pane.hits.add(Entity::Email, Origin::CrossTenant, 1);
        assert_eq!([of(&pane, "pii.cross_tenant"), of(&pane, "pii.novel")], [Some(1.0), Some(3.0)]);
        let novel = Measure::PiiNovel.of(&pane, None).unwrap().interval;
        assert_eq!((novel.low, novel.high), (Some(3.0), Some(4.0)), "one was not looked up");
        assert_eq!(of(&pane, "pii.cross_tenant_certain"), Some(0.0), "addresses may be known to both");
        // Three that another tenant had are news where chance finds two; of birthdays they are none.
        assert_eq!(Measure::PiiCrossTenantExcess.of(&pane, None), None, "compared by a process that told no chance");
        for n in 0..1_000 {
            pane.hits.compare(Entity::Email, n < 3, 0.002);
            pane.hits.compare(Entity::Dob, n < 500, 0.5);
        }
        let excess = Measure::PiiCrossTenantExcess.of(&pane, None).unwrap();
        // scipy.stats.chi2.ppf([.025, .975], [6, 8]) / 2
        let (low, high) = (0.618_672_122_5 - 2.0, 8.767_273_069_7);
        assert!((excess.value - 1.0).abs() < 1e-6 && excess.n == 1_000, "{excess:?}");
        assert!((excess.interval.low.unwrap() - low).abs() < 1e-6, "{excess:?}");
        assert!((excess.interval.high.unwrap() - high).abs() < 1e-6, "{excess:?}");
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
