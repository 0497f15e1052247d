//! Jensen and Shannon's, Hellinger's and the total variation distance between tables of counts.
//!
//! Null: both windows fall into the cells with the same probabilities. For small differences 8 JSD (in nats) and 8 H²
//! are the population stability index, so over 1/n + 1/m they are near χ² with cells − 1 degrees of freedom where each
//! cell expects about five; the total variation has no such law, and takes G's p-value. Effects have what chance alone
//! adds taken off; the intervals of the first two come from the non-central χ² law. The statistics are as the formulas
//! give them: √JSD in bits, H, and ½ Σ |p − q| (Lin, IEEE Trans. Inf. Theory 37, 1991; Le Cam, 1986).

use leeway_core::interval::Interval;
use statrs::function::gamma::gamma_ur;

use super::psi::noncentrality;
use super::{Cell, Inconclusive, Verdict, WindowTest, chi_square, totals};

#[derive(Clone, Copy)]
enum Kind {
    JensenShannon,
    Hellinger,
    TotalVariation,
}

pub(super) struct Divergence(Kind);

pub(super) static JENSEN_SHANNON: Divergence = Divergence(Kind::JensenShannon);
pub(super) static HELLINGER: Divergence = Divergence(Kind::Hellinger);
pub(super) static TOTAL_VARIATION: Divergence = Divergence(Kind::TotalVariation);

impl WindowTest for Divergence {
    fn id(&self) -> &'static str {
        match self.0 {
            Kind::JensenShannon => "jensen_shannon",
            Kind::Hellinger => "hellinger",
            Kind::TotalVariation => "total_variation",
        }
    }

    fn title(&self) -> &'static str {
        match self.0 {
            Kind::JensenShannon => "Jensen–Shannon distance",
            Kind::Hellinger => "Hellinger distance",
            Kind::TotalVariation => "total variation distance",
        }
    }

    fn effect(&self) -> &'static str {
        "distance, 0 to 1, less what chance adds"
    }

    fn needs(&self) -> u64 {
        50
    }

    fn measure(&self, cells: &[Cell]) -> Result<Verdict, Inconclusive> {
        let (n, m) = totals(cells);
        let (n, m) = (n as f64, m as f64);
        let sum = |term: &dyn Fn(f64, f64) -> f64| -> f64 {
            cells.iter().map(|cell| term(cell.reference as f64 / n, cell.current as f64 / m)).sum()
        };
        let (scale, freedom) = (1.0 / n + 1.0 / m, (cells.len() - 1) as f64);
        // The squared distance in a unit in which χ² is 8 times it over the scale, and the distance of such a square.
        let (square, distance): (f64, fn(f64) -> f64) = match self.0 {
            Kind::JensenShannon => {
                let part = |p: f64, q: f64| if p > 0.0 { p * (2.0 * p / (p + q)).ln() / 2.0 } else { 0.0 };
                (sum(&|p, q| part(p, q) + part(q, p)), |square| (square / std::f64::consts::LN_2).sqrt())
            }
            Kind::Hellinger => (sum(&|p, q| (p.sqrt() - q.sqrt()).powi(2) / 2.0), f64::sqrt),
            Kind::TotalVariation => return total_variation(cells, sum(&|p, q| (p - q).abs() / 2.0)),
        };
        let square = square.max(0.0);
        let chi = 8.0 * square / scale;
        let p = if chi > 0.0 { gamma_ur(freedom / 2.0, chi / 2.0) } else { 1.0 };
        let bound = |level: f64| distance(noncentrality(chi, freedom, level) * scale / 8.0).min(1.0);
        Ok(Verdict {
            effect: distance((square - freedom * scale / 8.0).max(0.0)),
            interval: Interval::between(bound(0.975), bound(0.025)),
            statistic: distance(square),
            p,
        })
    }
}

fn total_variation(cells: &[Cell], statistic: f64) -> Result<Verdict, Inconclusive> {
    let (n, m) = totals(cells);
    let (n, m) = (n as f64, m as f64);
    let deviation = |cell: &Cell| {
        let share = (cell.reference + cell.current) as f64 / (n + m);
        (share * (1.0 - share) * (1.0 / n + 1.0 / m) * 2.0 / std::f64::consts::PI).sqrt()
    };
    // The mean of ½ Σ |N(0, σ²)|.
    let chance: f64 = cells.iter().map(deviation).sum::<f64>() / 2.0;
    let p = chi_square::GTest.measure(cells)?.p;
    Ok(Verdict { effect: (statistic - chance).max(0.0), interval: Interval::default(), statistic, p })
}
