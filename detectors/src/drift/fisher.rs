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

/// By the ratios of neighbouring tables, outwards from the most probable one: probabilities relative to its own.
fn p_value(first: &Cell, second: &Cell) -> f64 {
    // The count in the corner, with its margins, runs from `low` to `high`.
    let (row, column) = (first.reference + first.current, first.reference + second.reference);
    let all = row + second.reference + second.current;
    let (low, high) = ((row + column).saturating_sub(all), row.min(column));
    // Of a count's successor to its own.
    let ratio = |k: u64| {
        let rest = all + k + 1 - row - column;
        (row - k) as f64 * (column - k) as f64 / ((k + 1) as f64 * rest as f64)
    };
    let mode = (u128::from(row + 1) * u128::from(column + 1) / u128::from(all + 2)) as u64;
    let mode = mode.clamp(low, high);
    let seen: f64 = if first.reference >= mode {
        (mode..first.reference).map(ratio).product()
    } else {
        (first.reference..mode).map(ratio).product::<f64>().recip()
    };
    let (mut whole, mut rare) = (0.0, 0.0);
    // Whether the tables beyond matter beside the one seen.
    let mut add = |weight: f64, beyond: u64| {
        whole += weight;
        rare += if weight <= seen * EQUAL { weight } else { 0.0 };
        weight * beyond as f64 > seen * 1e-14
    };
    let mut weight = 1.0;
    add(weight, 0);
    for k in mode..high {
        weight *= ratio(k);
        if !add(weight, high - k) {
            break;
        }
    }
    weight = 1.0;
    for k in (low..mode).rev() {
        weight /= ratio(k);
        if !add(weight, k - low) {
            break;
        }
    }
    (rare / whole).min(1.0)
}
