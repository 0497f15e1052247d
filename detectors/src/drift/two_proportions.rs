//! Two shares, by the pooled z test.
//!
//! Null: the second category has one probability in both windows. The statistic is near normal where each side has ten
//! of each category; below that Fisher's exact test is the one to take. The interval of the difference is Newcombe's
//! from Wilson's scores (Statist. Med. 17, 1998, method 10).

use leeway_core::interval::{self, Interval, LEVEL, wilson};

use super::{Cell, Inconclusive, Verdict, WindowTest, totals, two_sided};

pub(super) struct TwoProportions;

/// Of either category on each side.
const LEAST: u64 = 10;

impl WindowTest for TwoProportions {
    fn needs(&self) -> u64 {
        2 * LEAST
    }

    fn measure(&self, cells: &[Cell]) -> Result<Verdict, Inconclusive> {
        let [first, second] = cells else { return Err(Inconclusive::NotTwo(cells.len())) };
        let rarest = [first.reference, first.current, second.reference, second.current].into_iter().min();
        if rarest.unwrap_or(0) < LEAST {
            let (reference, current) = (first.reference.min(second.reference), first.current.min(second.current));
            return Err(Inconclusive::TooLittle { reference, current, needed: LEAST });
        }
        let (n, m) = totals(cells);
        let (n, m) = (n as f64, m as f64);
        let (before, now) = (second.reference as f64 / n, second.current as f64 / m);
        let pooled = (second.reference + second.current) as f64 / (n + m);
        let statistic = (now - before) / (pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)).sqrt();
        Ok(Verdict { effect: now - before, interval: difference(second, n, m), statistic, p: two_sided(statistic) })
    }
}

/// Newcombe's interval of the present's share less the reference's.
pub(super) fn difference(second: &Cell, n: f64, m: f64) -> Interval {
    let (a, b) = (second.reference as f64, second.current as f64);
    interval::difference((b / m, wilson(b, m, LEVEL)), (a / n, wilson(a, n, LEVEL)))
}
