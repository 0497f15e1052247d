//! Key figures: what product owners and reports ask of a pane. One entry each; the ids are public for ever.
//!
//! A figure is a number with its interval and n, or a reason why there is none. Unknown is never zero.

use serde::{Deserialize, Serialize};

use crate::interval::Interval;
use crate::measure::{Estimate, Measure, Unit, label_mean, share};
use crate::pane::{Counter, LabelSum, Pane};
use crate::scan::Origin;

/// Which way is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    Higher,
    Lower,
    /// A figure without a good side.
    Neither,
}

type Figure = Result<Estimate, &'static str>;

/// One key figure.
#[derive(Debug, Clone, Copy)]
pub struct Kpi {
    pub id: &'static str,
    pub title: &'static str,
    pub unit: Unit,
    pub better: Better,
    /// From published role scorecards; the settings replace it.
    pub target: Option<f64>,
    /// Numerator, denominator and pitfalls, in words.
    pub definition: &'static str,
    of: fn(&Pane) -> Figure,
    /// Share of the calls that the figure knows about.
    coverage: fn(&Pane) -> Option<f64>,
}

const NO_CALLS: &str = "no calls in this period";
const NO_LABELS: &str = "no feedback named `success` or `resolved` was joined in this period";

pub const ALL: [Kpi; 14] = [
    Kpi {
        id: "calls",
        title: "Calls",
        unit: Unit::Count,
        better: Better::Neither,
        target: None,
        definition: "Served chat, completion, embeddings and rerank calls, each counted once.",
        of: |pane| measured(pane, &Measure::Calls, None),
        coverage: |_| None,
    },
    Kpi {
        id: "task_success",
        title: "Task success",
        unit: Unit::Share,
        better: Better::Higher,
        target: Some(0.85),
        definition: "Tasks known to have succeeded ÷ tasks with a known outcome: feedback `success`, else `resolved`, from people and code. A task is a call until tasks are told apart. Unknown is not success.",
        of: success,
        coverage: |pane| of_calls(pane, u64::try_from(outcome(pane).valued).unwrap_or(0)),
    },
    Kpi {
        id: "cost_per_success",
        title: "Cost per successful task",
        unit: Unit::Usd,
        better: Better::Lower,
        target: None,
        definition: "Cost of all priced calls, failed ones too, ÷ (calls × task success): the known success rate stands for all calls. Holds model cost alone; retrieval, hosting and labelling are missing.",
        of: cost_per_success,
        coverage: |pane| of_calls(pane, u64::try_from(outcome(pane).valued).unwrap_or(0)),
    },
    Kpi {
        id: "cost_per_call",
        title: "Cost per call",
        unit: Unit::Usd,
        better: Better::Lower,
        target: None,
        definition: "Σ cost ÷ calls with a price: as reported, else by the price book. Unpriced calls are left out and lower the coverage.",
        of: |pane| cost_per(pane, 1.0),
        coverage: |pane| of_calls(pane, priced(pane)),
    },
    Kpi {
        id: "cost_per_1k",
        title: "Cost per 1,000 calls",
        unit: Unit::Usd,
        better: Better::Lower,
        target: None,
        definition: "1,000 × cost per call.",
        of: |pane| cost_per(pane, 1000.0),
        coverage: |pane| of_calls(pane, priced(pane)),
    },
    Kpi {
        id: "quality",
        title: "Quality",
        unit: Unit::Score,
        better: Better::Higher,
        target: Some(0.9),
        definition: "Mean of feedback `grounded` from people and code; without any, mean of the inline score `grounded`, which a model may have given.",
        of: quality,
        coverage: |pane| of_calls(pane, judged(pane)),
    },
    Kpi {
        id: "pii_leaks",
        title: "PII leaks",
        unit: Unit::Count,
        better: Better::Lower,
        target: Some(0.0),
        definition: "E-mail addresses, phone, card and account numbers, US social security numbers and tokens in answers that none of the call's complete inputs explains. A lower bound: other kinds and spellings are not looked for.",
        of: |pane| measured(pane, &Measure::PiiLeaks, None).map_err(|_| "no answer's text was seen in this period"),
        coverage: |pane| of_calls(pane, pane.get(Counter::Scanned).n),
    },
    Kpi {
        id: "pii_leak_rate",
        title: "Answers that leak",
        unit: Unit::Share,
        better: Better::Lower,
        target: Some(0.0),
        definition: "Answers with at least one leak ÷ answers whose text was seen.",
        of: |pane| share(pane, Counter::Leaking, Counter::Scanned).ok_or("no answer's text was seen in this period"),
        coverage: |pane| of_calls(pane, pane.get(Counter::Scanned).n),
    },
    Kpi {
        id: "safety_violation_rate",
        title: "Safety violations",
        unit: Unit::Share,
        better: Better::Lower,
        target: Some(0.001),
        definition: "Calls with a raised upstream moderation label ÷ calls with any label. A call without a label is not a safe call: see the coverage.",
        of: |pane| {
            share(pane, Counter::Raised, Counter::Moderated).ok_or("no call carried a moderation label in this period")
        },
        coverage: |pane| of_calls(pane, pane.get(Counter::Moderated).n),
    },
    Kpi {
        id: "refusal_rate",
        title: "Refusals",
        unit: Unit::Share,
        better: Better::Neither,
        target: None,
        definition: "Answers that open with one of a list of English refusals ÷ answers whose text was seen: a trend, not every refusal.",
        of: |pane| share(pane, Counter::Refused, Counter::Scanned).ok_or("no answer's text was seen in this period"),
        coverage: |pane| of_calls(pane, pane.get(Counter::Scanned).n),
    },
    Kpi {
        id: "error_rate",
        title: "Error rate",
        unit: Unit::Share,
        better: Better::Lower,
        target: Some(0.005),
        definition: "Calls that ended in an error or a timeout ÷ calls; retries count as calls of their own.",
        of: |pane| share(pane, Counter::Errors, Counter::Calls).ok_or(NO_CALLS),
        coverage: |_| None,
    },
    Kpi {
        id: "latency_p95_ms",
        title: "Latency, p95",
        unit: Unit::Milliseconds,
        better: Better::Lower,
        target: Some(3000.0),
        definition: "95th percentile of the duration of calls that did not fail, from merged histograms.",
        of: |pane| {
            measured(pane, &Measure::Duration, Some(0.95)).map_err(|_| "no call that did not fail has a duration")
        },
        coverage: |pane| of_calls(pane, Measure::Duration.events(pane, Some(0.95))),
    },
    Kpi {
        id: "ttft_p95_ms",
        title: "Time to first token, p95",
        unit: Unit::Milliseconds,
        better: Better::Lower,
        target: Some(1000.0),
        definition: "95th percentile of the time to the first token of calls that did not fail and told it.",
        of: |pane| measured(pane, &Measure::Ttft, Some(0.95)).map_err(|_| "no call told its time to first token"),
        coverage: |pane| of_calls(pane, Measure::Ttft.events(pane, Some(0.95))),
    },
    Kpi {
        id: "text_coverage",
        title: "Text coverage",
        unit: Unit::Share,
        better: Better::Neither,
        target: None,
        definition: "Calls whose answer's text was seen ÷ calls. What falls here cannot be found there: leaks and refusals are looked for in texts alone.",
        of: |pane| share(pane, Counter::Scanned, Counter::Calls).ok_or(NO_CALLS),
        coverage: |_| None,
    },
];

fn measured(pane: &Pane, measure: &Measure, quantile: Option<f64>) -> Figure {
    measure.of(pane, quantile).ok_or(NO_CALLS)
}

fn of_calls(pane: &Pane, n: u64) -> Option<f64> {
    (pane.calls() > 0).then(|| (n as f64 / pane.calls() as f64).min(1.0))
}

fn outcome(pane: &Pane) -> LabelSum {
    let success = pane.outcome("success");
    if success.valued > 0 { success } else { pane.outcome("resolved") }
}

fn success(pane: &Pane) -> Figure {
    label_mean(outcome(pane)).ok_or(NO_LABELS)
}

fn priced(pane: &Pane) -> u64 {
    pane.calls().saturating_sub(pane.get(Counter::Unpriced).n)
}

fn cost_per(pane: &Pane, calls: f64) -> Figure {
    match (pane.calls(), priced(pane)) {
        (0, _) => Err(NO_CALLS),
        (_, 0) => Err("no call of this period has a price"),
        (_, n) => Ok(Estimate { value: calls * pane.cost as f64 / 1e9 / n as f64, interval: Interval::default(), n }),
    }
}

fn cost_per_success(pane: &Pane) -> Figure {
    let (cost, success) = (cost_per(pane, 1.0)?, success(pane)?);
    if success.value <= 0.0 {
        return Err("no task is known to have succeeded");
    }
    let over = |rate: Option<f64>| rate.filter(|rate| *rate > 0.0).map(|rate| cost.value / rate);
    let interval = Interval { low: over(success.interval.high), high: over(success.interval.low) };
    Ok(Estimate { value: cost.value / success.value, interval, n: success.n })
}

fn judged(pane: &Pane) -> u64 {
    let told = u64::try_from(pane.outcome("grounded").valued).unwrap_or(0);
    if told > 0 { told } else { pane.scores().get("grounded").map_or(0, |sum| sum.valued) }
}

fn quality(pane: &Pane) -> Figure {
    let told = label_mean(pane.outcome("grounded"));
    told.or_else(|| Measure::Score("grounded".to_owned()).of(pane, None)).ok_or(
        "no feedback or inline score named `grounded` in this period; declare the score in the settings' [scores]",
    )
}

/// How a figure stands to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    Met,
    Missed,
    /// The interval holds the target: too little data to say.
    Unsure,
    NoTarget,
    /// There is no number.
    Unknown,
}

impl Standing {
    pub fn words(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "missed",
            Self::Unsure => "too close to say",
            Self::NoTarget => "no target",
            Self::Unknown => "not computable",
        }
    }
}

/// A figure of a period beside the one before it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reading {
    pub id: &'static str,
    pub title: &'static str,
    pub unit: Unit,
    pub better: Better,
    pub definition: &'static str,
    pub value: Option<f64>,
    /// A count or sum of all there is: without an interval because it needs none.
    pub exact: bool,
    pub low: Option<f64>,
    pub high: Option<f64>,
    pub n: u64,
    /// Why there is no value.
    pub reason: Option<&'static str>,
    pub coverage: Option<f64>,
    pub target: Option<f64>,
    pub standing: Standing,
    /// The same figure of the period before; `None` where it cannot be computed.
    pub before: Option<f64>,
    pub before_low: Option<f64>,
    pub before_high: Option<f64>,
}

impl Kpi {
    pub fn find(id: &str) -> Option<&'static Self> {
        ALL.iter().find(|kpi| kpi.id == id)
    }

    fn exact(&self) -> bool {
        matches!(self.id, "calls" | "cost_per_call" | "cost_per_1k" | "pii_leaks")
    }

    /// Whether it is a mean over what its `n` counts, so that its parts add up to it.
    pub fn is_mean(&self) -> bool {
        matches!(self.unit, Unit::Share | Unit::Score) || self.id == "cost_per_call"
    }

    pub fn of(&self, pane: &Pane) -> Result<Estimate, &'static str> {
        (self.of)(pane)
    }

    pub fn read(&self, now: &Pane, before: &Pane, target: Option<f64>) -> Reading {
        let (figure, earlier) = (self.of(now), self.of(before).ok());
        let estimate = figure.ok();
        Reading {
            id: self.id,
            title: self.title,
            unit: self.unit,
            better: self.better,
            definition: self.definition,
            value: estimate.map(|e| e.value),
            exact: self.exact(),
            low: estimate.and_then(|e| e.interval.low),
            high: estimate.and_then(|e| e.interval.high),
            n: estimate.map_or(0, |e| e.n),
            reason: figure.err(),
            coverage: (self.coverage)(now),
            target,
            standing: standing(self, estimate, target),
            before: earlier.map(|e| e.value),
            before_low: earlier.and_then(|e| e.interval.low),
            before_high: earlier.and_then(|e| e.interval.high),
        }
    }
}

fn standing(kpi: &Kpi, estimate: Option<Estimate>, target: Option<f64>) -> Standing {
    let Some(estimate) = estimate else { return Standing::Unknown };
    let Some(target) = target else { return Standing::NoTarget };
    let met = |value: f64| if kpi.better == Better::Higher { value >= target } else { value <= target };
    // A bound that the data do not give may lie anywhere.
    let (lowest, highest) =
        if kpi.exact() { (estimate.value, estimate.value) } else { (f64::NEG_INFINITY, f64::INFINITY) };
    let ends = [estimate.interval.low.unwrap_or(lowest), estimate.interval.high.unwrap_or(highest)].map(met);
    match (met(estimate.value), ends) {
        (true, [true, true]) => Standing::Met,
        (false, [false, false]) => Standing::Missed,
        // A count of nothing meets a target of nothing, however wide its interval.
        (true, _) if target == 0.0 && kpi.better == Better::Lower => Standing::Met,
        _ => Standing::Unsure,
    }
}

impl Reading {
    pub fn shown(&self) -> String {
        self.value.map_or_else(|| "not computable".to_owned(), |value| self.unit.show(value))
    }

    pub fn shown_interval(&self) -> String {
        match (self.value, self.low, self.high) {
            (None, ..) => self.reason.unwrap_or("unknown").to_owned(),
            (_, None, None) if self.exact => "exact".to_owned(),
            (_, None, None) => "too few for an interval".to_owned(),
            _ => self.unit.show_interval(Interval { low: self.low, high: self.high }),
        }
    }

    /// `+4.2 %` against the period before; points for shares.
    pub fn shown_change(&self) -> String {
        match (self.value, self.before) {
            (Some(now), Some(before)) if now == before => "unchanged".to_owned(),
            (Some(now), Some(before)) if self.unit == Unit::Share => format!("{:+.2} points", (now - before) * 100.0),
            (Some(now), Some(before)) if before != 0.0 => format!("{:+.1} %", (now / before - 1.0) * 100.0),
            (Some(now), Some(_)) => format!("from {} to {}", self.unit.show(0.0), self.unit.show(now)),
            _ => "nothing to compare with".to_owned(),
        }
    }

    /// Deviations of the change by both periods' intervals, as if both were normal; `None` where either is exact or
    /// missing.
    pub fn z(&self) -> Option<f64> {
        let deviation = |low: Option<f64>, high: Option<f64>| Some((high? - low?) / (2.0 * 1.959_963_984_540_054));
        let (now, before) = (deviation(self.low, self.high)?, deviation(self.before_low, self.before_high)?);
        let spread = now.hypot(before);
        (spread > 0.0).then(|| (self.value.unwrap_or(0.0) - self.before.unwrap_or(0.0)) / spread)
    }

    /// Whether the change is large enough to matter, by kind of number: 10 % of a time or price, a quarter and 0.2
    /// points of a share, 0.05 of a score, any leak more.
    pub fn matters(&self) -> bool {
        self.value.zip(self.before).is_some_and(|(now, before)| matters(self.unit, self.better, before, now))
    }
}

/// Whether a figure's change from one value to another is large enough to matter.
pub fn matters(unit: Unit, better: Better, before: f64, now: f64) -> bool {
    if now == before {
        return false;
    }
    let (change, ratio) =
        ((now - before).abs(), if before == 0.0 { f64::INFINITY } else { (now / before - 1.0).abs() });
    match unit {
        Unit::Share if better == Better::Higher => change >= 0.02,
        Unit::Share => change >= 0.002 && ratio >= 0.25,
        Unit::Score => change >= 0.05,
        Unit::Count => ratio >= 0.25,
        _ => ratio >= 0.1,
    }
}

/// Leaks and other hits of answers by origin.
pub fn hits(pane: &Pane) -> Vec<(&'static str, u64)> {
    Origin::ALL.iter().map(|origin| (origin.name(), pane.hits.of_origin(*origin))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Status;
    use crate::pane::{Numbers, UNIT_WEIGHT};
    use crate::scan::{Entity, Hits, Scanned};

    fn pane(calls: u64, failed: u64, cost: i64) -> Pane {
        let mut pane = Pane::default();
        for i in 0..calls {
            pane.add(&Numbers {
                status: if i < failed { Status::Error } else { Status::Ok },
                duration_us: Some(1_000_000),
                reported_cost: Some(cost),
                billable: true,
                weight_micro: UNIT_WEIGHT,
                ..Numbers::default()
            });
        }
        pane
    }

    fn value(id: &str, pane: &Pane) -> Result<f64, &'static str> {
        Kpi::find(id).unwrap().of(pane).map(|estimate| estimate.value)
    }

    #[test]
    fn an_empty_period_has_reasons_and_no_numbers() {
        for kpi in ALL {
            let reading = kpi.read(&Pane::default(), &Pane::default(), kpi.target);
            assert!(reading.value.is_none() && reading.reason.is_some(), "{}", kpi.id);
            assert_eq!(reading.standing, Standing::Unknown);
            assert!(!reading.matters());
        }
    }

    #[test]
    fn figures_equal_hand_computed_values() {
        let mut pane = pane(200, 4, 5_000_000);
        assert_eq!(value("error_rate", &pane), Ok(0.02));
        assert!((value("cost_per_1k", &pane).unwrap() - 5.0).abs() < 1e-12);
        assert_eq!(value("cost_per_success", &pane), Err(NO_LABELS));
        for i in 0..50 {
            pane.label("success", "user", LabelSum::of(Some(if i < 40 { 1_000_000 } else { 0 }), 1));
        }
        assert_eq!(value("task_success", &pane), Ok(0.8));
        assert!((value("cost_per_success", &pane).unwrap() - 0.005 / 0.8).abs() < 1e-15);
        let reading = Kpi::find("task_success").unwrap().read(&pane, &Pane::default(), Some(0.85));
        assert_eq!((reading.coverage, reading.standing, reading.n), (Some(0.25), Standing::Unsure, 50));
    }

    #[test]
    fn leaks_are_counted_by_origin_where_text_was_seen() {
        let mut pane = pane(2, 0, 1);
        assert!(value("pii_leaks", &pane).is_err(), "no text is not no leak");
        let mut hits = Hits::default();
        hits.add(Entity::Email, Origin::Echo, 3);
        let scanned =
            Some(Box::new(Scanned { leaks: hits.of_origin(Origin::Unexplained), hits, ..Scanned::default() }));
        pane.add(&Numbers { scanned, weight_micro: UNIT_WEIGHT, ..Numbers::default() });
        assert_eq!(value("pii_leaks", &pane), Ok(0.0));
        assert_eq!(super::hits(&pane)[0], ("echo", 3));
        assert_eq!(Kpi::find("pii_leaks").unwrap().read(&pane, &Pane::default(), Some(0.0)).standing, Standing::Met);
    }

    #[test]
    fn a_missing_bound_is_no_certainty() {
        let few = pane(3, 0, 1);
        let reading = Kpi::find("latency_p95_ms").unwrap().read(&few, &few, Some(3000.0));
        assert_eq!((reading.standing, reading.exact), (Standing::Unsure, false));
        assert!(!reading.shown_interval().contains("exact"), "{}", reading.shown_interval());
        assert_eq!(Kpi::find("calls").unwrap().read(&few, &few, Some(10.0)).standing, Standing::Met);
    }

    #[test]
    fn an_undeclared_score_is_no_quality_of_nothing() {
        let mut pane = Pane::default();
        let scores = vec![("grounded".into(), None)];
        pane.add(&Numbers { scores, weight_micro: UNIT_WEIGHT, ..Numbers::default() });
        assert!(value("quality", &pane).unwrap_err().contains("declare"));
    }

    #[test]
    fn merged_periods_equal_the_whole() {
        let (a, b) = (pane(70, 3, 900), pane(30, 0, 900));
        let mut both = a.clone();
        both.merge(&b);
        for kpi in ALL {
            assert_eq!(kpi.of(&both).map(|e| e.value), kpi.of(&pane(100, 3, 900)).map(|e| e.value), "{}", kpi.id);
        }
    }
}
