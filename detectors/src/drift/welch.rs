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
        let (before, now) = moments(cells);
        between(before, now)
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
    let half = quantile(freedom) * error;
    Ok(Verdict { effect, interval: Interval::between(effect - half, effect + half), statistic, p })
}

/// Where Student's t leaves 2.5 % above: beyond 300 degrees of freedom by Fisher and Cornish's series to 10⁻¹¹
/// (Abramowitz and Stegun 26.7.5), since the law's inverse takes most of the test's time there.
fn quantile(freedom: f64) -> f64 {
    if freedom < 300.0 {
        return StudentsT::new(0.0, 1.0, freedom).map_or(Z, |law| law.inverse_cdf(0.975));
    }
    let (z, squared) = (Z, Z * Z);
    let terms = [
        (1.0 + squared) / 4.0,
        (3.0 + squared * (16.0 + squared * 5.0)) / 96.0,
        (-15.0 + squared * (17.0 + squared * (19.0 + squared * 3.0))) / 384.0,
        (-945.0 + squared * (-1920.0 + squared * (1482.0 + squared * (776.0 + squared * 79.0)))) / 92_160.0,
    ];
    z * terms.iter().rev().fold(0.0, |sum, term| (sum + term) / freedom) + z
}

/// The moments of both sides; both at once, since each addition waits for the one before it.
fn moments(cells: &[Cell]) -> (Moments, Moments) {
    let (mut n, mut sum) = ([0.0; 2], [0.0; 2]);
    for (count, value) in cells.iter().map(counts) {
        for side in 0..2 {
            n[side] += count[side];
            sum[side] += count[side] * value;
        }
    }
    let (mean, mut squares) = ([sum[0] / n[0], sum[1] / n[1]], [0.0; 2]);
    for (count, value) in cells.iter().map(counts) {
        for side in 0..2 {
            squares[side] += count[side] * (value - mean[side]).powi(2);
        }
    }
    let of = |side: usize| Moments { n: n[side], mean: mean[side], squares: squares[side] };
    (of(0), of(1))
}

fn counts(cell: &Cell) -> ([f64; 2], f64) {
    ([cell.reference as f64, cell.current as f64], cell.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_is_the_law_s_inverse() {
        for freedom in [300.0, 517.3, 2_000.0, 40_000.0] {
            let law = StudentsT::new(0.0, 1.0, freedom).unwrap().inverse_cdf(0.975);
            let series = quantile(freedom);
            assert!((series / law - 1.0).abs() < 1e-10, "{freedom}: {series} and {law}");
        }
        // scipy.stats.t.ppf(0.975, 1e6)
        assert!((quantile(1e6) - 1.959_966_356_814_107).abs() < 1e-12);
    }
}
