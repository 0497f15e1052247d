//! Fisher's exact test of a table of two by two.
//!
//! Null: the second category has one probability in both windows. Given the table's margins the count is
//! hypergeometric; the p-value is the sum of all tables that are at most as probable as this one. Exact for any size,
//! and conservative, since the law is discrete.

use super::two_proportions::{TwoProportions, difference};
use super::{Cell, Inconclusive, Verdict, WindowTest, totals};

pub(super) struct Fisher;

impl WindowTest for Fisher {
    fn needs(&self) -> u64 {
        1
    }

    fn measure(&self, cells: &[Cell]) -> Result<Verdict, Inconclusive> {
        let [first, second] = cells else { return Err(Inconclusive::NotTwo(cells.len())) };
        let (n, m) = totals(cells);
        let (n, m) = (n as f64, m as f64);
        let odds = second.current as f64 * first.reference as f64 / (second.reference as f64 * first.current as f64);
        let (before, now) = (second.reference as f64 / n, second.current as f64 / m);
        let (row, column) = (first.reference + first.current, first.reference + second.reference);
        let all = row + second.reference + second.current;
        let possible = row.min(column) - (row + column).saturating_sub(all);
        if possible > MOST_TABLES {
            return TwoProportions.measure(cells);
        }
        Ok(Verdict {
            effect: now - before,
            interval: difference(second, n, m),
            statistic: odds,
            p: p_value(first, second),
        })
    }
}

/// With more tables than this, millions of either kind, the normal limit is as good.
const MOST_TABLES: u64 = 5_000_000;

/// Tables this much more probable than the observed one still count as equal: rounding.
const EQUAL: f64 = 1.0 + 1e-7;

fn p_value(first: &Cell, second: &Cell) -> f64 {
    // The count in the corner, with its margins, runs from `low` to `high`.
    let (row, column) = (first.reference + first.current, first.reference + second.reference);
    let all = row + second.reference + second.current;
    let (low, high) = ((row + column).saturating_sub(all), row.min(column));
    // Probabilities relative to the first one's, as logarithms, by their ratios.
    let mut logs = Vec::with_capacity((high - low) as usize + 1);
    let mut log = 0.0f64;
    for count in low..=high {
        logs.push(log);
        let (k, rest) = (count as f64, (all + count) as f64 - (row + column) as f64);
        log += ((row - count) as f64).ln() + ((column - count) as f64).ln() - (k + 1.0).ln() - (rest + 1.0).ln();
    }
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let seen = logs[(first.reference - low) as usize];
    let weight = |log: &f64| (log - most).exp();
    let whole: f64 = logs.iter().map(weight).sum();
    let rare: f64 = logs.iter().filter(|log| **log <= seen + EQUAL.ln()).map(weight).sum();
    (rare / whole).min(1.0)
}
