//! Welch's test of two means.
//!
//! Null: both windows have one mean. Their variances may differ; the values are independent, and their means near
//! normal, which a few hundred values of any law with a variance make them. Student's t with Welch and Satterthwaite's
//! degrees of freedom (Biometrika 34, 1947).

use leeway_core::interval::Interval;
use statrs::distribution::{ContinuousCDF, StudentsT};
use statrs::function::beta::beta_reg;

use leeway_core::measure::Moments;

use super::{Cell, Inconclusive, Verdict, WindowTest, Z};

pub(super) struct Welch;

impl WindowTest for Welch {
    fn needs(&self) -> u64 {
        10
    }

    fn measure(&self, cells: &[Cell]) -> Result<Verdict, Inconclusive> {
        between(moments(cells, |cell| cell.reference as f64), moments(cells, |cell| cell.current as f64))
    }
}

/// Of two sides by their moments alone, each of two values at least.
pub(super) fn between(before: Moments, now: Moments) -> Result<Verdict, Inconclusive> {
    let error_of = |side: Moments| side.squares / (side.n - 1.0) / side.n;
    let (v, w, effect) = (error_of(before), error_of(now), now.mean - before.mean);
    let error = (v + w).sqrt();
    if error == 0.0 && effect == 0.0 {
        return Err(Inconclusive::Alike);
    }
    if error == 0.0 {
        // Two constants.
        let (interval, statistic) = (Interval::between(effect, effect), -effect.signum() * f64::INFINITY);
        return Ok(Verdict { effect, interval, statistic, p: 0.0 });
    }
    let freedom = (v + w).powi(2) / (v * v / (before.n - 1.0) + w * w / (now.n - 1.0));
    let statistic = -effect / error;
    // Both tails at once, without the loss of 1 − p.
    let p = beta_reg(freedom / 2.0, 0.5, freedom / (freedom + statistic * statistic));
    // Far out the law is normal, and its inverse is no longer found in time.
    let law = StudentsT::new(0.0, 1.0, freedom).ok().filter(|_| freedom < 1e5);
    let half = law.map_or(Z, |law| law.inverse_cdf(0.975)) * error;
    Ok(Verdict { effect, interval: Interval::between(effect - half, effect + half), statistic, p })
}

/// The moments of one side.
fn moments(cells: &[Cell], count: impl Fn(&Cell) -> f64) -> Moments {
    let n: f64 = cells.iter().map(&count).sum();
    let mean = cells.iter().map(|cell| count(cell) * cell.value).sum::<f64>() / n;
    let squares = cells.iter().map(|cell| count(cell) * (cell.value - mean).powi(2)).sum();
    Moments { n, mean, squares }
}
