//! Pearson's χ² and the likelihood-ratio G, both of homogeneity, on a table of counts.
//!
//! Null: both windows fall into the cells with the same probabilities, which are estimated from both together (taking
//! the reference's shares as known would reject far too often). Under it either statistic is χ² with cells − 1 degrees
//! of freedom, where each cell expects about five or more on each side: rarer cells are first joined with their
//! neighbours by the reader of the result, not here. The effect is Cramér's V; its interval comes from the non-central
//! χ² law.

use leeway_core::interval::Interval;
use statrs::function::gamma::gamma_ur;

use super::psi::noncentrality;
use super::{Cell, Inconclusive, Verdict, WindowTest, totals};

pub(super) struct ChiSquare;
pub(super) struct GTest;

const NEEDS: u64 = 20;

impl WindowTest for ChiSquare {
    fn needs(&self) -> u64 {
        NEEDS
    }

    fn measure(&self, cells: &[Cell]) -> Result<Verdict, Inconclusive> {
        judge(cells, |seen, expected| (seen - expected).powi(2) / expected)
    }
}

impl WindowTest for GTest {
    fn needs(&self) -> u64 {
        NEEDS
    }

    fn measure(&self, cells: &[Cell]) -> Result<Verdict, Inconclusive> {
        // Less the parts that cancel in the sum: each term is small where seen and expected are near.
        judge(cells, |seen, expected| if seen > 0.0 { 2.0 * seen * (seen / expected).ln() } else { 0.0 })
    }
}

fn judge(cells: &[Cell], term: impl Fn(f64, f64) -> f64) -> Result<Verdict, Inconclusive> {
    let (n, m) = totals(cells);
    let (n, m) = (n as f64, m as f64);
    let all = n + m;
    let cell = |cell: &Cell| {
        let both = (cell.reference + cell.current) as f64;
        term(cell.reference as f64, both * n / all) + term(cell.current as f64, both * m / all)
    };
    let statistic = cells.iter().map(cell).sum::<f64>().max(0.0);
    let freedom = (cells.len() - 1) as f64;
    let p = if statistic > 0.0 { gamma_ur(freedom / 2.0, statistic / 2.0) } else { 1.0 };
    let bound = |level: f64| (noncentrality(statistic, freedom, level) / all).sqrt();
    let interval = Interval::between(bound(0.975), bound(0.025));
    Ok(Verdict { effect: (statistic / all).sqrt(), interval, statistic, p })
}
