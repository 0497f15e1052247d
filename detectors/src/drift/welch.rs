//! Welch's test of two means.
//!
//! Null: both windows have one mean. Their variances may differ; the values are independent, and their means near
//! normal, which a few hundred values of any law with a variance make them. Student's t with Welch and Satterthwaite's
//! degrees of freedom (Biometrika 34, 1947).

use leeway_core::interval::Interval;
use statrs::distribution::{ContinuousCDF, StudentsT};
use statrs::function::beta::beta_reg;

use super::{Cell, Inconclusive, Verdict, WindowTest, Z};

pub(super) struct Welch;

impl WindowTest for Welch {
    fn needs(&self) -> u64 {
        10
    }

    fn measure(&self, cells: &[Cell]) -> Result<Verdict, Inconclusive> {
        let (n, before, v) = moments(cells, |cell| cell.reference as f64);
        let (m, now, w) = moments(cells, |cell| cell.current as f64);
        let (v, w) = (v / n, w / m);
        let error = (v + w).sqrt();
        if error == 0.0 {
            // Two constants: cells that differ are at hand, so the means do.
            let effect = now - before;
            return Ok(Verdict {
                effect,
                interval: Interval::between(effect, effect),
                statistic: -effect.signum() * f64::INFINITY,
                p: 0.0,
            });
        }
        let freedom = (v + w).powi(2) / (v * v / (n - 1.0) + w * w / (m - 1.0));
        let effect = now - before;
        let statistic = -effect / error;
        // Both tails at once, without the loss of 1 − p.
        let p = beta_reg(freedom / 2.0, 0.5, freedom / (freedom + statistic * statistic));
        // Far out the law is normal, and its inverse is no longer found in time.
        let law = StudentsT::new(0.0, 1.0, freedom).ok().filter(|_| freedom < 1e5);
        let half = law.map_or(Z, |law| law.inverse_cdf(0.975)) * error;
        Ok(Verdict { effect, interval: Interval::between(effect - half, effect + half), statistic, p })
    }
}

/// Count, mean and variance of one side.
fn moments(cells: &[Cell], count: impl Fn(&Cell) -> f64) -> (f64, f64, f64) {
    let n: f64 = cells.iter().map(&count).sum();
    let mean = cells.iter().map(|cell| count(cell) * cell.value).sum::<f64>() / n;
    let squares: f64 = cells.iter().map(|cell| count(cell) * (cell.value - mean).powi(2)).sum();
    (n, mean, squares / (n - 1.0))
}
