//! Kolmogorov and Smirnov's two-sample test.
//!
//! Null: both windows are independent values of one law. D = sup |F − G|. For small windows the p-value is exact for a
//! continuous law (Hodges, Ark. Mat. 3, 1958), by counting the paths from (0, 0) to (n, m) that leave the band, as the
//! probability of leaving it so that small ones keep their digits; with ties it is conservative. Beyond that it is the
//! law of the one-sample statistic at n·m/(n + m) (Simard and L'Ecuyer, J. Stat. Softw. 39, 2011). The interval of D is
//! Dvoretzky, Kiefer and Wolfowitz's with Massart's constant, for both windows together: wide, and valid for any law.

use leeway_core::interval::Interval;
use statrs::function::gamma::ln_gamma;

use super::{Cell, Inconclusive, Verdict, WindowTest, totals};

/// Paths are counted where n·m is at most this.
const EXACT: f64 = 4e6;

pub(super) struct KolmogorovSmirnov;

impl WindowTest for KolmogorovSmirnov {
    fn needs(&self) -> u64 {
        5
    }

    fn measure(&self, cells: &[Cell]) -> Result<Verdict, Inconclusive> {
        let (n, m) = totals(cells);
        let (mut seen, mut seen_now, mut apart) = (0u64, 0u64, 0u128);
        for cell in cells {
            (seen, seen_now) = (seen + cell.reference, seen_now + cell.current);
            // n·m·|F − G|, in whole numbers.
            let (f, g) = (u128::from(seen) * u128::from(m), u128::from(seen_now) * u128::from(n));
            apart = apart.max(f.abs_diff(g));
        }
        let (nf, mf) = (n as f64, m as f64);
        let d = apart as f64 / nf / mf;
        let p = if nf * mf <= EXACT { leaves(n, m, apart) } else { one_sample((nf * mf / (nf + mf)).round(), d) };
        let half = ((4.0f64 / 0.05).ln() / 2.0).sqrt() * (nf.recip().sqrt() + mf.recip().sqrt());
        let interval = Interval::between((d - half).max(0.0), (d + half).min(1.0));
        Ok(Verdict { effect: d, interval, statistic: d, p: p.clamp(0.0, 1.0) })
    }
}

/// The probability that a random path to (n, m) meets |i·m − j·n| ≥ `apart`.
fn leaves(n: u64, m: u64, apart: u128) -> f64 {
    if apart == 0 {
        return 1.0;
    }
    let outside = |i: u64, j: u64| (u128::from(i) * u128::from(m)).abs_diff(u128::from(j) * u128::from(n)) >= apart;
    // The last step to (i, j) came from (i − 1, j) with probability i/(i + j).
    let mut row: Vec<f64> = Vec::with_capacity(m as usize + 1);
    for i in 0..=n {
        for j in 0..=m {
            let place = j as usize;
            let value = if outside(i, j) {
                1.0
            } else {
                let steps = (i + j).max(1) as f64;
                let below = if i > 0 { row[place] * i as f64 } else { 0.0 };
                let left = if j > 0 { row[place - 1] * j as f64 } else { 0.0 };
                (below + left) / steps
            };
            if i == 0 { row.push(value) } else { row[place] = value }
        }
    }
    row[m as usize]
}

/// P(D ≥ d) of the one-sample statistic for `n` values, two-sided.
fn one_sample(n: f64, d: f64) -> f64 {
    let square = n * d * d;
    if n * d <= 0.5 {
        1.0
    } else if d >= 1.0 {
        0.0
    } else if d >= 0.5 || square >= if n <= 140.0 { 4.0 } else { 2.2 } {
        2.0 * smirnov(n, d)
    } else if n <= 140.0 {
        1.0 - marsaglia(n as usize, d)
    } else {
        1.0 - pelz_good(n, d)
    }
}

/// P(D⁺ ≥ d) (Birnbaum and Tingey, Ann. Math. Stat. 22, 1951); beyond 100,000 values Smirnov's limit, corrected by 1/6.
///
/// The sum over j of binomial probabilities of j at d + j/n, times d over d + j/n. For many values they are smooth in j
/// and vanish at both ends, so that every k-th of them, times k, sums to the same: the trapezoid rule's error falls
/// exponentially. With 256 of them, and sixteen where they rise and fall once, it is below 10⁻¹² (against scipy.special.smirnov).
fn smirnov(n: f64, d: f64) -> f64 {
    const SMOOTH: f64 = 2_000.0;
    if n > 1e5 {
        return (-(6.0 * n * d + 1.0).powi(2) / (18.0 * n)).exp();
    }
    let (last, points) = (n * (1.0 - d), (16.0 * n.sqrt() * d).max(256.0));
    let stride = if n >= SMOOTH { (last / points).floor().max(1.0) } else { 1.0 };
    let (mut sum, mut j) = (0.0, 0.0);
    while j < last {
        sum += binomial(n, j, n * d) / (d + j / n);
        j += stride;
    }
    d * stride * sum
}

/// Probability of `j` of `n` where `j` and `more` are expected: by deviances, without loss for many (Loader, Fast and
/// accurate computation of binomial probabilities, 2000).
fn binomial(n: f64, j: f64, more: f64) -> f64 {
    if j == 0.0 {
        return (n * (-more / n).ln_1p()).exp();
    }
    let rest = n - j;
    let log = stirling(n) - stirling(j) - stirling(rest) - deviance(j, -more) - deviance(rest, more);
    log.exp() * (n / (std::f64::consts::TAU * j * rest)).sqrt()
}

/// ln x! less Stirling's approximation of it.
fn stirling(x: f64) -> f64 {
    if x <= 15.0 {
        return ln_gamma(x + 1.0) - (x + 0.5) * x.ln() + x - std::f64::consts::TAU.ln() / 2.0;
    }
    let (one, square) = (x.recip(), (x * x).recip());
    one * (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square * (1.0 / 1680.0 - square / 1188.0))))
}

/// x ln(x/m) + m − x, where x is `apart` more than m.
fn deviance(x: f64, apart: f64) -> f64 {
    let m = x - apart;
    if apart.abs() >= 0.1 * (x + m) {
        return x * (x / m).ln() - apart;
    }
    let share = apart / (x + m);
    let (mut sum, mut power, mut odd) = (apart * share, 2.0 * x * share, 1.0);
    loop {
        power *= share * share;
        odd += 2.0;
        let next = sum + power / odd;
        if next == sum {
            return sum;
        }
        sum = next;
    }
}

/// P(D < d), exactly (Marsaglia, Tsang and Wang, J. Stat. Softw. 8, 2003).
fn marsaglia(n: usize, d: f64) -> f64 {
    let k = (n as f64 * d).floor() as usize + 1;
    let (size, h) = (2 * k - 1, k as f64 - n as f64 * d);
    let mut matrix: Vec<Vec<f64>> =
        (0..size).map(|i| (0..size).map(|j| if i + 1 >= j { 1.0 } else { 0.0 }).collect()).collect();
    matrix.iter_mut().zip(1..).for_each(|(row, power)| row[0] -= h.powi(power));
    matrix[size - 1].iter_mut().rev().zip(1..).for_each(|(value, power)| *value -= h.powi(power));
    matrix[size - 1][0] += if 2.0 * h > 1.0 { (2.0 * h - 1.0).powi(size as i32) } else { 0.0 };
    for (i, row) in matrix.iter_mut().enumerate() {
        for (j, value) in row.iter_mut().enumerate().take(i + 2) {
            (1..=(i + 1 - j.min(i + 1))).for_each(|g| *value /= g as f64);
        }
    }
    let times = |a: &[Vec<f64>], b: &[Vec<f64>]| -> Vec<Vec<f64>> {
        a.iter().map(|row| (0..size).map(|j| (0..size).map(|l| row[l] * b[l][j]).sum()).collect()).collect()
    };
    // n ≤ 140: neither the power nor n!/nⁿ leaves a double's range.
    let mut power: Option<Vec<Vec<f64>>> = None;
    let (mut base, mut left) = (matrix, n);
    while left > 0 {
        if left % 2 == 1 {
            power = Some(power.map_or_else(|| base.clone(), |power| times(&power, &base)));
        }
        base = times(&base, &base);
        left /= 2;
    }
    let power = power.map_or(0.0, |power| power[k - 1][k - 1]);
    (1..=n).fold(power, |product, i| product * i as f64 / n as f64)
}

/// P(D < d) (Pelz and Good, J. R. Statist. Soc. B 38, 1976), as Simard and L'Ecuyer write it.
fn pelz_good(n: f64, d: f64) -> f64 {
    use std::f64::consts::{FRAC_PI_2, PI};
    let z = n.sqrt() * d;
    let (z2, p2) = (z * z, PI * PI);
    let (z4, z6) = (z2 * z2, z2 * z2 * z2);
    let root = FRAC_PI_2.sqrt();
    let (mut k0, mut k1, mut k2, mut k2b, mut k3, mut k3b) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
    for k in 0..200 {
        // Half-odd numbers, twice each for both signs; whole numbers likewise, where 0 adds nothing.
        let half = (f64::from(k) + 0.5).powi(2) * p2;
        let e = 2.0 * (-half / (2.0 * z2)).exp();
        k0 += e;
        k1 += e * (half - z2);
        k2 += e * (6.0 * z6 + 2.0 * z4 + half * (2.0 * z4 - 5.0 * z2) + half * half * (1.0 - 2.0 * z2));
        k3 += e
            * (half.powi(3) * (5.0 - 30.0 * z2)
                + half * half * (212.0 * z4 - 60.0 * z2)
                + half * (135.0 * z4 - 96.0 * z6)
                - 30.0 * z6
                - 90.0 * z6 * z2);
        let whole = f64::from(k).powi(2) * p2;
        let e = 2.0 * (-whole / (2.0 * z2)).exp();
        k2b += e * whole;
        k3b += e * (3.0 * whole * z2 - whole * whole);
    }
    let terms = [
        k0 * root / z,
        k1 * root / (6.0 * z4) / n.sqrt(),
        (k2 * root / (72.0 * z6 * z) - k2b * root / (36.0 * z * z2)) / n,
        (k3 * root / (6480.0 * z6 * z4) + k3b * root / (108.0 * z6)) / (n * n.sqrt()),
    ];
    terms.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_so_many_terms_sum_to_what_all_of_them_do() {
        // scipy.special.smirnov 1.17.1.
        for (n, d, scipy) in [
            (150.0, 0.2, 4.902683022946278e-06),
            (1_999.0, 0.05, 4.393472598000076e-05),
            (8_333.0, 0.02, 0.0012555899591418502),
            (100_000.0, 0.01, 2.046639011774627e-09),
            (8_333.0, 0.15, 1.91667003082074e-164),
            (50_000.0, 0.05, 2.2489273571268234e-109),
        ] {
            let ours = smirnov(n, d);
            assert!((ours / scipy - 1.0).abs() < 1e-11, "{n} {d}: {ours} {scipy}");
        }
    }
}
