//! Cramér and von Mises' two-sample test.
//!
//! Null: both windows are independent values of one continuous law. T = U/(nm(n + m)) − (4nm − 1)/(6(n + m)), with U
//! from the ranks in the pooled window (Anderson, Ann. Math. Stat. 33, 1962); ties have middle ranks in T, and half of
//! each tie on either side in what is judged: scipy's p-value of tied windows of different size is near 0 under the
//! null. The p-value is
//! that of the limit law at T standardised by its exact mean and variance. The effect is √(∫(F − G)² dH), with H the
//! pooled distribution.

use leeway_core::interval::Interval;
use statrs::function::gamma::ln_gamma;

use super::{Cell, Inconclusive, Verdict, WindowTest, totals};

pub(super) struct CramerVonMises;

impl WindowTest for CramerVonMises {
    fn needs(&self) -> u64 {
        10
    }

    fn measure(&self, cells: &[Cell]) -> Result<Verdict, Inconclusive> {
        let (n, m) = totals(cells);
        let (n, m) = (n as f64, m as f64);
        let (all, pairs) = (n + m, n * m);
        let (mut before, mut before_now, mut u, mut apart, mut tied) = (0.0, 0.0, 0.0, 0.0, false);
        for cell in cells {
            let (a, b) = (cell.reference as f64, cell.current as f64);
            let rank = before + before_now + (a + b + 1.0) / 2.0;
            apart += (a + b) * ((before + a / 2.0) / n - (before_now + b / 2.0) / m).powi(2);
            tied |= a + b > 1.0;
            u += n * squares(rank - before, a) + m * squares(rank - before_now, b);
            (before, before_now) = (before + a, before_now + b);
        }
        let t = u / (pairs * all) - (4.0 * pairs - 1.0) / (6.0 * all);
        let mean = (1.0 + 1.0 / all) / 6.0;
        let variance =
            (all + 1.0) * (4.0 * pairs * all - 3.0 * (n * n + m * m) - 2.0 * pairs) / (45.0 * all * all * 4.0 * pairs);
        // With ties T grows with the windows even where nothing changed, so p and effect come from the distance at the
        // middle of each tie, which without ties is T.
        let distance = if tied { pairs / (all * all) * apart } else { t };
        let standard = 1.0 / 6.0 + (distance - mean) / (45.0 * variance).sqrt();
        let p = if standard < 0.003 { 1.0 } else { (1.0 - limit(standard)).max(f64::MIN_POSITIVE) };
        let effect = (distance * all / pairs).max(0.0).sqrt();
        Ok(Verdict { effect, interval: Interval::default(), statistic: t, p })
    }
}

/// Σ (offset − i)² for i = 1 … count.
fn squares(offset: f64, count: f64) -> f64 {
    let (first, second) = (count * (count + 1.0) / 2.0, count * (count + 1.0) * (2.0 * count + 1.0) / 6.0);
    count * offset * offset - 2.0 * offset * first + second
}

/// The series is left where scipy leaves it, so that the numbers are the same: with an error of up to 10⁻⁸. A smaller
/// p-value of this test says no more than that.
const LAST_TERM: f64 = 1e-7;

/// The limit law's distribution function (Csörgő and Faraway, J. R. Statist. Soc. B 58, 1996, eq. 1.3).
fn limit(x: f64) -> f64 {
    let term = |k: u32| {
        let k = f64::from(k);
        let y = 4.0 * k + 1.0;
        let q = y * y / (16.0 * x);
        let u = (ln_gamma(k + 0.5) - ln_gamma(k + 1.0)).exp() / (std::f64::consts::PI.powf(1.5) * x.sqrt());
        u * y.sqrt() * bessel_with_exp(q)
    };
    let mut sum = 0.0;
    for k in 0..200 {
        let next = term(k);
        sum += next;
        if next < LAST_TERM {
            break;
        }
    }
    sum.min(1.0)
}

/// e^−q · K₁⁄₄(q), by the trapezoidal rule on K_ν(q) = ∫₀^∞ exp(−q cosh t) cosh νt dt, whose error falls exponentially.
fn bessel_with_exp(q: f64) -> f64 {
    let step = 1.0 / 64.0;
    let at = |t: f64| (-q * (1.0 + t.cosh())).exp() * (t / 4.0).cosh();
    let mut sum = at(0.0) / 2.0;
    for place in 1..4_000 {
        let next = at(f64::from(place) * step);
        sum += next;
        if next < sum * 1e-18 {
            break;
        }
    }
    sum * step
}
