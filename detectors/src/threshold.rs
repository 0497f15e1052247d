//! A measured value against a fixed bound.
//!
//! No hypothesis is tested: the bound is the user's, and the point estimate decides, as in every threshold rule. What
//! keeps it honest is the minimum of events, below which the answer is "too little data" and never "all is well",
//! and the interval that goes with the number wherever it is shown.

use leeway_core::measure::{Estimate, Measure};
use leeway_core::pane::Pane;

/// What a pane says on a measure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Judged {
    /// No events at all.
    NoData,
    /// Some events, fewer than asked for; the number is shown, and decides nothing.
    TooLittle(Option<Estimate>),
    Measured(Estimate),
}

impl Judged {
    pub fn estimate(&self) -> Option<Estimate> {
        match self {
            Self::NoData => None,
            Self::TooLittle(estimate) => *estimate,
            Self::Measured(estimate) => Some(*estimate),
        }
    }
}

/// Measures a pane; `min_events` counts the observations that the measure has (scored calls, not all calls).
pub fn judge(pane: &Pane, measure: &Measure, quantile: Option<f64>, min_events: u64) -> Judged {
    let events = measure.events(pane, quantile);
    let estimate = measure.of(pane, quantile);
    match estimate {
        _ if events == 0 => Judged::NoData,
        Some(estimate) if events >= min_events => Judged::Measured(estimate),
        estimate => Judged::TooLittle(estimate),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leeway_core::event::Status;
    use leeway_core::pane::{Numbers, UNIT_WEIGHT};

    fn pane(calls: usize) -> Pane {
        let mut pane = Pane::default();
        for i in 0..calls {
            let status = if i % 4 == 0 { Status::Error } else { Status::Ok };
            pane.add(&Numbers {
                status,
                weight_micro: UNIT_WEIGHT,
                duration_us: Some(1000 * i as u64),
                ..Numbers::default()
            });
        }
        pane
    }

    #[test]
    fn a_handful_of_events_proves_nothing() {
        assert_eq!(judge(&pane(0), &Measure::ErrorRate, None, 10), Judged::NoData);
        assert!(matches!(judge(&pane(9), &Measure::ErrorRate, None, 10), Judged::TooLittle(Some(_))));
        assert!(matches!(judge(&pane(12), &Measure::ErrorRate, None, 10), Judged::Measured(e) if e.value == 0.25));
    }

    #[test]
    fn only_observations_of_the_measure_count() {
        // 12 calls, 9 of which did not fail and have a duration of success.
        assert!(matches!(judge(&pane(12), &Measure::Duration, Some(0.5), 10), Judged::TooLittle(_)));
        assert_eq!(judge(&pane(12), &Measure::Score("grounded".into()), None, 1), Judged::NoData);
    }
}
