//! Quantiles of the beta law: limits of rates, hundreds for each baseline.

use statrs::function::beta::ln_beta;

/// The quantile of Beta(a, b) at the normal point `z`, to a millionth of its standard deviation: Abramowitz and Stegun 26.5.22, then Halley's steps.
pub(super) fn quantile(a: f64, b: f64, z: f64) -> f64 {
    let target = 1.0 - leeway_core::special::normal_tail(z);
    let mut x = if a > 1.0 && b > 1.0 {
        let (lambda, ta, tb) = ((z * z - 3.0) / 6.0, 1.0 / (2.0 * a - 1.0), 1.0 / (2.0 * b - 1.0));
        let h = 2.0 / (ta + tb);
        let w = z * (h + lambda).max(0.0).sqrt() / h - (tb - ta) * (lambda + 5.0 / 6.0 - 2.0 / (3.0 * h));
        // The book's w is of the upper point.
        a / (a + b * (-2.0 * w).exp())
    } else {
        a / (a + b)
    };
    let (mut low, mut high, whole) = (0.0, 1.0, ln_beta(a, b));
    let deviation = (a * b / (a + b + 1.0)).sqrt() / (a + b);
    for _ in 0..60 {
        x = x.clamp(1e-300, 1.0 - 1e-16);
        let off = regularized((a, b), whole, x) - target;
        if off > 0.0 {
            high = x
        } else {
            low = x
        }
        let density = ((a - 1.0) * x.ln() + (b - 1.0) * (-x).ln_1p() - whole).exp();
        let newton = off / density;
        let bend = newton * ((a - 1.0) / x - (b - 1.0) / (1.0 - x)) / 2.0;
        let next = x - newton / (1.0 - bend.clamp(-0.5, 0.5));
        let next = if next > low && next < high { next } else { (low + high) / 2.0 };
        // A step's error is of the order of its cube, in deviations.
        if (next - x).abs() <= (1.5e-2 * deviation).min(0.05 * x) {
            return next;
        }
        x = next;
    }
    x
}

/// I_x(a, b) by its continued fraction (Abramowitz and Stegun 26.5.8, evaluated after Lentz 1976); `whole` is ln B(a, b), which
/// is the same for every x; to seven digits.
fn regularized((a, b): (f64, f64), whole: f64, x: f64) -> f64 {
    let front = (a * x.ln() + b * (-x).ln_1p() - whole).exp();
    if x < (a + 1.0) / (a + b + 2.0) {
        front * fraction(a, b, x) / a
    } else {
        1.0 - front * fraction(b, a, 1.0 - x) / b
    }
}

fn fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let kept = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut d = 1.0 / kept(1.0 - (a + b) * x / (a + 1.0));
    let (mut c, mut value) = (1.0, d);
    for m in 1..10_000 {
        let m = f64::from(m);
        for term in [
            m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0)),
        ] {
            d = 1.0 / kept(1.0 + term * d);
            c = kept(1.0 + term / c);
            value *= c * d;
        }
        if (c * d - 1.0).abs() < 1e-8 {
            break;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use statrs::function::beta::beta_reg;

    use super::*;

    #[test]
    fn limits_of_rates_are_quantiles_of_beta() {
        for hits in [0.3f64, 1.0, 2.5, 10.0, 47.0, 800.0, 20_000.0] {
            for n in [30.0f64, 200.0, 5_000.0, 1e6].into_iter().filter(|n| *n > hits) {
                for z in [-1.644_853_626_951_472_2f64, 1.644_853_626_951_472_2] {
                    let (a, b) = (hits + 0.7, n - hits + 0.3);
                    let found = quantile(a, b, z);
                    let target = 1.0 - leeway_core::special::normal_tail(z);
                    let error = beta_reg(a, b, found) - target;
                    assert!(error.abs() <= 1e-6, "{a} {b} {z}: {found} is off by {error}");
                    let own = regularized((a, b), ln_beta(a, b), found);
                    assert!((own - beta_reg(a, b, found)).abs() <= 1e-7, "{a} {b} {found}: {own}");
                }
            }
        }
        // Clopper and Pearson of none of a million: 1 - 0.05^(1/n).
        let none = quantile(1.0, 1e6, 1.644_853_626_951_472_2);
        assert!((none / 2.995_727_785_6e-6 - 1.0).abs() < 1e-6, "{none}");
    }
}
