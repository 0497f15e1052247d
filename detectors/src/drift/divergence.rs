//! Jensen and Shannon's, Hellinger's and the total variation distance between tables of counts.
//!
//! Null: both windows fall into the cells with the same probabilities. For small differences 8 JSD (in nats) and 8 H²
//! are the population stability index, so over 1/n + 1/m they are near χ² with cells − 1 degrees of freedom where each
//! cell expects about five; the total variation has no such law, and takes G's p-value. Effects have what chance alone
//! adds taken off; the intervals of the first two come from the non-central χ² law, that of the third from how far the
//! largest of many normal variables strays. The statistics are as the formulas
//! give them: √JSD in bits, H, and ½ Σ |p − q| (Lin, IEEE Trans. Inf. Theory 37, 1991; Le Cam, 1986).

use leeway_core::interval::Interval;
use leeway_core::special::normal_tail;
use statrs::function::gamma::gamma_ur;

use super::psi::noncentrality;
use super::{Cell, Inconclusive, Verdict, WindowTest, Z, chi_square, totals};

pub(super) struct JensenShannon;
pub(super) struct Hellinger;
pub(super) struct TotalVariation;

const NEEDS: u64 = 50;

impl WindowTest for JensenShannon {
    fn needs(&self) -> u64 {
        NEEDS
    }

    fn measure(&self, cells: &[Cell]) -> Result<Verdict, Inconclusive> {
        let part = |p: f64, q: f64| if p > 0.0 { p * (2.0 * p / (p + q)).ln() / 2.0 } else { 0.0 };
        Ok(judge(cells, |p, q| part(p, q) + part(q, p), |square| (square / std::f64::consts::LN_2).sqrt()))
    }
}

impl WindowTest for Hellinger {
    fn needs(&self) -> u64 {
        NEEDS
    }

    fn measure(&self, cells: &[Cell]) -> Result<Verdict, Inconclusive> {
        Ok(judge(cells, |p, q| (p.sqrt() - q.sqrt()).powi(2) / 2.0, f64::sqrt))
    }
}

impl WindowTest for TotalVariation {
    fn needs(&self) -> u64 {
        NEEDS
    }

    fn measure(&self, cells: &[Cell]) -> Result<Verdict, Inconclusive> {
        total_variation(cells)
    }
}

/// `term`: of both shares of a cell, summing to a square of which χ² is 8 over 1/n + 1/m; `distance`: of such a square.
fn judge(cells: &[Cell], term: impl Fn(f64, f64) -> f64, distance: fn(f64) -> f64) -> Verdict {
    let (n, m) = totals(cells);
    let (n, m) = (n as f64, m as f64);
    let square: f64 = cells.iter().map(|cell| term(cell.reference as f64 / n, cell.current as f64 / m)).sum();
    let (square, scale, freedom) = (square.max(0.0), 1.0 / n + 1.0 / m, (cells.len() - 1) as f64);
    let chi = 8.0 * square / scale;
    let bound = |level: f64| distance(noncentrality(chi, freedom, level) * scale / 8.0).min(1.0);
    Verdict {
        effect: distance((square - freedom * scale / 8.0).max(0.0)),
        interval: Interval::between(bound(0.975), bound(0.025)),
        statistic: distance(square),
        p: if chi > 0.0 { gamma_ur(freedom / 2.0, chi / 2.0) } else { 1.0 },
    }
}

fn total_variation(cells: &[Cell]) -> Result<Verdict, Inconclusive> {
    let (n, m) = totals(cells);
    let (n, m) = (n as f64, m as f64);
    let (mut statistic, mut added, mut most_added) = (0.0, 0.0, 0.0);
    for cell in cells {
        let (p, q) = (cell.reference as f64 / n, cell.current as f64 / m);
        let (apart, deviation) = ((p - q).abs(), (p * (1.0 - p) / n + q * (1.0 - q) / m).sqrt());
        statistic += apart / 2.0;
        added += folded(apart, deviation) / 2.0;
        most_added += folded(0.0, deviation) / 2.0;
    }
    let p = chi_square::GTest.measure(cells)?.p;
    let stray = Z * deviation(cells, n, m);
    // Its median is the distance at least, and what chance adds at most more than it.
    let interval = Interval::between((statistic - most_added - stray).max(0.0), (statistic + stray).min(1.0));
    Ok(Verdict { effect: (statistic - added).max(0.0), interval, statistic, p })
}

/// What chance adds to the size of a difference: E|N(d, σ²)| − d.
fn folded(apart: f64, deviation: f64) -> f64 {
    if deviation <= 0.0 {
        return 0.0;
    }
    let z = apart / deviation;
    deviation * ((2.0 / std::f64::consts::PI).sqrt() * (-z * z / 2.0).exp() - 2.0 * z * normal_tail(z))
}

/// The total variation is the largest difference of the shares of any set of cells, each near normal: it is further than zσ from its median with a
/// probability of 2Φ(−z) at most, σ the largest deviation of such a difference (Borell, Invent. Math. 30, 1975). The median lies
/// between the distance and the mean (Kwapień, 1994).
fn deviation(cells: &[Cell], n: f64, m: f64) -> f64 {
    let variance = |count: fn(&Cell) -> u64, of: f64| {
        // With one cell of more than half, the others together are the set of largest variance; few values, all in one, are not certain of it.
        let most = cells.iter().map(count).max().unwrap_or(0) as f64;
        let share = ((most + 2.0) / (of + 4.0)).max(0.5);
        share * (1.0 - share) / of
    };
    (variance(|cell| cell.reference, n) + variance(|cell| cell.current, m)).sqrt()
}
