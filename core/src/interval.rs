//! Confidence intervals, two-sided, for the numbers that people see.

use statrs::distribution::{Beta, Binomial, ContinuousCDF, DiscreteCDF, Gamma, Normal};

use crate::sketch::Sketch;

/// Coverage of every interval that Leeway shows.
pub const LEVEL: f64 = 0.95;

/// Bounds of a number; a missing bound is one that the data do not give.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Interval {
    pub low: Option<f64>,
    pub high: Option<f64>,
}

impl Interval {
    pub fn between(low: f64, high: f64) -> Self {
        Self { low: Some(low), high: Some(high) }
    }
}

/// The standard normal quantile of a two-sided interval.
pub fn z(level: f64) -> f64 {
    Normal::standard().inverse_cdf(0.5 + level / 2.0)
}

/// Wilson's score interval for `hits` of `n` (Wilson, 1927); `n` may be an effective, fractional number.
/// Assumes independent calls of one rate. Of nothing it knows nothing: 0 to 1.
pub fn wilson(hits: f64, n: f64, level: f64) -> Interval {
    if n <= 0.0 {
        return Interval::between(0.0, 1.0);
    }
    let (p, z) = (hits / n, z(level));
    let z2 = z * z;
    let centre = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = z / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).max(0.0).sqrt();
    // At the ends the bound is exact; rounding would leave a bound of 1e-17 beside a rate of 0.
    let low = if hits <= 0.0 { 0.0 } else { (centre - half).max(0.0) };
    let high = if hits >= n { 1.0 } else { (centre + half).min(1.0) };
    Interval::between(low, high)
}

/// Clopper and Pearson's exact interval (1934): covers at least `level`, whatever the rate.
pub fn clopper_pearson(hits: u64, n: u64, level: f64) -> Interval {
    let alpha = 1.0 - level;
    let (k, m) = (hits as f64, n as f64);
    let quantile = |a: f64, b: f64, p: f64| Beta::new(a, b).map(|beta| beta.inverse_cdf(p)).ok();
    let low = if hits == 0 { Some(0.0) } else { quantile(k, m - k + 1.0, alpha / 2.0) };
    let high = if hits >= n { Some(1.0) } else { quantile(k + 1.0, m - k, 1.0 - alpha / 2.0) };
    Interval { low, high }
}

/// Garwood's exact interval (1936) of a Poisson mean of which `n` were seen: covers at least `level`.
pub fn poisson(n: u64, level: f64) -> Interval {
    let half = (1.0 - level) / 2.0;
    let quantile = |shape: f64, p: f64| Gamma::new(shape, 1.0).map(|gamma| gamma.inverse_cdf(p)).ok();
    let low = if n == 0 { Some(0.0) } else { quantile(n as f64, half) };
    Interval { low, high: quantile(n as f64 + 1.0, 1.0 - half) }
}

/// The two-sided normal mixture boundary (Robbins 1970; Howard, Ramdas, McAuliffe and Sekhon, Ann. Statist. 49, 2021,
/// section 3.2): a sum of independent sub-Gaussian terms with intrinsic time `v` (their variances' sum) ever leaves
/// ±bound with probability at most `alpha`. Narrowest near `v = best`, both in the same unit.
pub fn normal_mixture(v: f64, best: f64, alpha: f64) -> f64 {
    let log = 2.0 * (1.0 / alpha).ln();
    let rho = best / (log + log.ln_1p());
    ((v + rho) * ((v / rho).ln_1p() + 2.0 * (1.0 / alpha).ln())).sqrt()
}

/// The distribution-free interval of the `q`-quantile from order statistics (Hahn and Meeker, 1991, 5.2),
/// widened by the sketch's buckets. Assumes independent values; covers at least `level`.
pub fn quantile(sketch: &Sketch, q: f64, level: f64) -> Interval {
    let n = sketch.n();
    let Ok(ranks) = Binomial::new(q.clamp(0.0, 1.0), n) else { return Interval::default() };
    let alpha = 1.0 - level;
    let lower = ranks.inverse_cdf(alpha / 2.0);
    let upper = ranks.inverse_cdf(1.0 - alpha / 2.0) + 1;
    let low = if lower == 0 { None } else { sketch.at_rank(lower).map(|v| v.low) };
    let high = if upper > n { None } else { sketch.at_rank(upper).map(|v| v.high) };
    Interval { low, high }
}

/// The mean's interval by the normal approximation: mean ± z·s/√n.
pub fn mean(mean: f64, variance: f64, n: u64, level: f64) -> Interval {
    if n < 2 {
        return Interval::default();
    }
    let half = z(level) * (variance.max(0.0) / n as f64).sqrt();
    Interval::between(mean - half, mean + half)
}

/// The interval of `a - b` for two independent numbers, from theirs (MOVER: Zou and Donner, Statist. Med. 27, 2008); of two
/// shares with Wilson's intervals it is Newcombe's (1998, method 10). Without both intervals there is none.
pub fn difference((a, of_a): (f64, Interval), (b, of_b): (f64, Interval)) -> Interval {
    let reach = |up: Option<f64>, down: Option<f64>| Some((up? - a).hypot(down? - b));
    Interval {
        low: reach(of_a.low, of_b.high).map(|reach| a - b - reach),
        high: reach(of_a.high, of_b.low).map(|reach| a - b + reach),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Newcombe 1998, table II: 56 of 70 against 48 of 80 by method 10.
    #[test]
    fn the_difference_of_shares_is_newcombes() {
        let found = difference((0.8, wilson(56.0, 70.0, LEVEL)), (0.6, wilson(48.0, 80.0, LEVEL)));
        let rounded = [found.low, found.high].map(|bound| (bound.unwrap() * 1e4).round() / 1e4);
        assert_eq!(rounded, [0.0524, 0.3339]);
        assert_eq!(difference((1.0, Interval::default()), (0.5, wilson(1.0, 2.0, LEVEL))), Interval::default());
    }

    fn close(got: Interval, low: f64, high: f64) {
        let (l, h) = (got.low.unwrap(), got.high.unwrap());
        assert!((l - low).abs() < 1e-9 && (h - high).abs() < 1e-9, "{got:?} is not {low} to {high}");
    }

    #[test]
    fn the_normal_mixture_is_confseqs() {
        // confseq's own unit test, then random ones: v, v_opt, alpha, bound.
        for (v, best, alpha, bound) in [
            (100.0, 100.0, 0.05, 30.352_09),
            (3189.25648581931, 810.3151375785878, 0.001, 241.46634032868144),
            (2756.554902421257, 332.22820424321975, 0.001, 228.12827995655798),
            (3054.0157952848135, 144.87678483111873, 0.05, 184.8107061838759),
        ] {
            let ours = normal_mixture(v, best, alpha);
            let digits = if bound == 30.352_09 { 1e-7 } else { 1e-12 };
            assert!((ours / bound - 1.0).abs() < digits, "{v} {best} {alpha}: {ours} {bound}");
        }
    }

    #[test]
    fn intervals_agree_with_scipy() {
        // scipy.stats.binomtest(k, n).proportion_ci(0.95, method="wilson" | "exact"), scipy 1.17
        close(wilson(7.0, 120.0, 0.95), 0.028_541_010_000_220, 0.115_525_920_336_301);
        close(wilson(0.0, 30.0, 0.95), 0.0, 0.113_513_393_173_969);
        close(clopper_pearson(7, 120, 0.95), 0.023_772_023_790_517, 0.116_498_379_646_584);
        close(clopper_pearson(0, 30, 0.95), 0.0, 0.115_703_308_222_027);
    }

    #[test]
    fn a_quantile_that_the_data_cannot_bound_says_so() {
        let mut sketch = Sketch::default();
        (1..=50).for_each(|value| sketch.push(value));
        let p99 = quantile(&sketch, 0.99, 0.95);
        assert_eq!((p99.low, p99.high), (Some(48.0), None));
        let median = quantile(&sketch, 0.5, 0.95);
        // scipy.stats.binom(50, 0.5).ppf([.025, .975]) = 18, 32
        assert_eq!((median.low, median.high), (Some(18.0), Some(33.0)));
        assert_eq!(quantile(&Sketch::default(), 0.5, 0.95), Interval::default());
    }
}
