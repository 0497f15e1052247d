//! One column of numbers, watched row by row: forecasts, strange rows, lasting changes, and one alarm for one cause.

use leeway_core::clock::Micros;
use leeway_core::interval::Interval;

use super::anomaly::{Anomaly, Judged, OPENS};
use super::level::Level;
use super::outlook::Outlook;

/// Half the width of an alarm's interval in usual errors: a normal law's 97.5 % point in mean absolute deviations.
const USUAL: f64 = 2.456_5;

/// An alarm lasts if its last strange row is among so many last ones.
const LASTS: u64 = 10;

/// Which detectors may raise alarms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    Both,
    Anomaly,
    Level,
}

/// Public names, and what each looks for.
pub const DETECTORS: [(&str, &str); 2] =
    [("anomaly", "rows that are rare for this column's past"), ("level", "lasting changes of the column's level")];

impl Watch {
    pub fn parse(id: &str) -> Option<Self> {
        match id {
            "anomaly" => Some(Self::Anomaly),
            "level" => Some(Self::Level),
            _ => None,
        }
    }
}

/// Something happened, and until when it lasted; rows count from 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Alarm {
    /// The row that told it.
    pub at: u64,
    /// The last strange row; `None` while it lasts.
    pub until: Option<u64>,
    pub detector: &'static str,
    /// In units of the column: the new level less the old one, or the strangest row less its forecast.
    pub effect: f64,
    pub interval: Interval,
    /// The first row of the new level, where there is one.
    pub change_estimated_at: Option<u64>,
    /// −log₁₀ of the probability, or log₁₀ of the e-value.
    pub evidence: f64,
}

/// What a row led to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Step {
    pub expected: Option<f64>,
    pub evidence: f64,
    /// 0 to 1, from this row and those before it.
    pub score: f64,
    /// The detector whose alarm began with this row.
    pub opened: Option<&'static str>,
    /// Alarms that are over.
    pub closed: Vec<Alarm>,
}

/// The state of one column.
#[derive(Debug, Clone)]
pub struct Column {
    watch: Watch,
    /// Mean number of rows between false alarms.
    bar: f64,
    outlook: Outlook,
    anomaly: Anomaly,
    level: Level,
    /// Whether the level is that of the departures from the season's profile.
    seasonal: bool,
    rows: u64,
    /// The alarm that lasts, and its last strange row.
    open: Option<(Alarm, u64)>,
}

impl Column {
    /// `bar`: rows between false alarms, at least 2. Without a clock, times say nothing of days and weeks.
    pub fn new(watch: Watch, bar: f64, clock: bool) -> Self {
        let (outlook, anomaly, level) = (Outlook::new(clock), Anomaly::default(), Level::default());
        Self { watch, bar, outlook, anomaly, level, seasonal: false, rows: 0, open: None }
    }

    /// Judges a row from the rows before it, then learns it; `value` is finite.
    pub fn step(&mut self, at: Micros, value: f64) -> Step {
        let row = self.rows;
        self.rows += 1;
        let Some(expected) = self.outlook.expect(at) else {
            self.outlook.push(at, value);
            return Step::default();
        };
        let judged = self.anomaly.step(value, &expected, self.outlook.quiet());
        let mut step =
            Step { expected: Some(expected.next), evidence: judged.evidence, score: judged.score, ..Step::default() };
        if !judged.in_incident {
            step.closed.extend(self.close());
        }
        if self.watch != Watch::Level && judged.speaks && judged.evidence >= self.bar.log10() {
            self.strange(row, value - expected.next, &judged, &mut step);
        }
        self.outlook.push(at, value);
        if self.watch != Watch::Anomaly {
            self.lasting(row, value, expected.profile, &mut step);
        }
        if let Some((_, last)) = self.open.as_mut().filter(|_| judged.evidence >= OPENS) {
            *last = row;
        }
        step
    }

    fn strange(&mut self, row: u64, effect: f64, judged: &Judged, step: &mut Step) {
        let half = judged.usual * USUAL;
        let (interval, evidence) = (Interval::between(effect - half, effect + half), judged.evidence);
        match &mut self.open {
            Some((alarm, _)) if alarm.change_estimated_at.is_some() || alarm.evidence >= evidence => {}
            Some((alarm, _)) => (alarm.effect, alarm.interval, alarm.evidence) = (effect, interval, evidence),
            None => {
                step.opened = Some("anomaly");
                let (until, change_estimated_at) = (None, None);
                let alarm =
                    Alarm { at: row, until, detector: "anomaly", effect, interval, change_estimated_at, evidence };
                self.open = Some((alarm, row));
            }
        }
    }

    /// A change of level becomes part of the alarm that its beginning raised, else an alarm of its own.
    fn lasting(&mut self, row: u64, value: f64, profile: Option<f64>, step: &mut Step) {
        if self.seasonal != profile.is_some() {
            self.seasonal = profile.is_some();
            self.level = Level::default();
        }
        let Some(change) = self.level.step(value - profile.unwrap_or(0.0), self.bar) else { return };
        let (effect, interval) = (change.effect, change.interval);
        if interval.low.is_none_or(|low| low <= 0.0) && interval.high.is_none_or(|high| high >= 0.0) {
            // Evidence of something, and not of a change of level: the second gate.
            self.level.calm();
            return;
        }
        let since = Some(row + 1 - change.rows as u64);
        match &mut self.open {
            Some((alarm, _)) if alarm.change_estimated_at.is_none() => {
                (alarm.effect, alarm.interval, alarm.change_estimated_at) = (effect, interval, since);
            }
            _ => {
                step.opened = Some("level");
                let evidence = change.evidence;
                let (until, change_estimated_at) = (Some(row), since);
                step.closed.push(Alarm {
                    at: row,
                    until,
                    detector: "level",
                    effect,
                    interval,
                    change_estimated_at,
                    evidence,
                });
            }
        }
        if self.seasonal {
            self.outlook.shift(effect);
        }
        self.level.restart(change.rows, if self.seasonal { effect } else { 0.0 });
    }

    fn close(&mut self) -> Option<Alarm> {
        self.open.take().map(|(alarm, last)| Alarm { until: Some(last), ..alarm })
    }

    /// The alarm that has not ended, after the last row; it lasts if one of the last rows was strange.
    pub fn finish(self) -> Option<Alarm> {
        let rows = self.rows;
        self.open.map(|(alarm, last)| Alarm { until: (last + LASTS < rows).then_some(last), ..alarm })
    }
}
