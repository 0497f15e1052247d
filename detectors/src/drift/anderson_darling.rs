//! Anderson and Darling's test for two windows.
//!
//! Null: both windows are independent values of one law. The statistic is Scholz and Stephens' A²akN with middle ranks
//! (J. Am. Statist. Assoc. 82, 1987, eq. 7), standardised by its exact mean and variance. The p-value is interpolated
//! in their table; outside it, it is the table's end: 0.25 means "at least", 0.001 "at most".

use leeway_core::interval::Interval;

use super::{Cell, Inconclusive, Verdict, WindowTest, totals};

pub(super) struct AndersonDarling;

/// Levels of the table, and the standardised statistic there for two samples.
const LEVELS: [f64; 7] = [0.25, 0.1, 0.05, 0.025, 0.01, 0.005, 0.001];
const POINTS: [f64; 7] = [
    0.675 - 0.245 - 0.105,
    1.281 + 0.25 - 0.305,
    1.645 + 0.678 - 0.362,
    1.96 + 1.149 - 0.391,
    2.326 + 1.822 - 0.396,
    2.573 + 2.364 - 0.345,
    3.085 + 3.615 - 0.154,
];

impl WindowTest for AndersonDarling {
    fn needs(&self) -> u64 {
        10
    }

    fn measure(&self, cells: &[Cell]) -> Result<Verdict, Inconclusive> {
        let (n, m) = totals(cells);
        let sides = [n as f64, m as f64];
        let all = sides[0] + sides[1];
        let (mut below, mut sums) = ([0.0, 0.0], [0.0, 0.0]);
        for cell in cells {
            let here = [cell.reference as f64, cell.current as f64];
            let ties = here[0] + here[1];
            let middle = below[0] + below[1] + ties / 2.0;
            for side in 0..2 {
                let own = below[side] + here[side] / 2.0;
                let weight = middle * (all - middle) - all * ties / 4.0;
                if weight > 0.0 {
                    sums[side] += ties / all * (all * own - middle * sides[side]).powi(2) / weight;
                }
                below[side] += here[side];
            }
        }
        let raw = (sums[0] / sides[0] + sums[1] / sides[1]) * (all - 1.0) / all;
        let statistic = (raw - 1.0) / variance(sides[0], sides[1]).sqrt();
        Ok(Verdict { effect: statistic, interval: Interval::default(), statistic, p: p_value(statistic) })
    }
}

/// Euler's constant.
const EULER: f64 = 0.577_215_664_901_532_9;

/// Σ 1/i and Σ 1/i² up to `n`: beyond 64 by Euler and Maclaurin's series, whose first term left out is below 10⁻¹⁶.
fn harmonic(n: f64) -> (f64, f64) {
    if n <= 64.0 {
        return (1..=n as u64).rev().fold((0.0, 0.0), |(one, two), i| {
            let part = 1.0 / i as f64;
            (one + part, two + part * part)
        });
    }
    let (x, square) = (1.0 / n, 1.0 / (n * n));
    let one = n.ln() + EULER + x / 2.0 - square / 12.0 + square.powi(2) / 120.0 - square.powi(3) / 252.0;
    let two = std::f64::consts::PI.powi(2) / 6.0
        - x * (1.0 - x / 2.0 + square / 6.0 - square.powi(2) / 30.0 + square.powi(3) / 42.0);
    (one, two)
}

/// The statistic's variance under the null (Scholz and Stephens, eq. 4), for two samples.
fn variance(n: f64, m: f64) -> f64 {
    let all = n + m;
    let inverse = 1.0 / n + 1.0 / m;
    // h = Σ 1/i, and g = ΣΣ 1/((N − i) j), which is Σ 1/i² − 2 h/N by Σ H(k)/(n − k) = H(n)² − Σ 1/i².
    let (h, squares) = harmonic(all - 1.0);
    let g = squares - 2.0 * h / all;
    let a = 4.0 * g - 6.0 + (10.0 - 6.0 * g) * inverse;
    let b = 4.0 * (2.0 * g - 4.0) + 16.0 * h + (2.0 * g - 14.0 * h - 4.0) * inverse - 8.0 * h + 4.0 * g - 6.0;
    let c = 4.0 * (6.0 * h + 2.0 * g - 2.0) + 2.0 * (4.0 * h - 4.0 * g + 6.0) + (2.0 * h - 6.0) * inverse + 4.0 * h;
    let d = 4.0 * (2.0 * h + 6.0) - 8.0 * h;
    (((a * all + b) * all + c) * all + d) / ((all - 1.0) * (all - 2.0) * (all - 3.0))
}

/// By the parabola through the logarithms of the levels, by least squares.
fn p_value(statistic: f64) -> f64 {
    if statistic < POINTS[0] {
        return LEVELS[0];
    }
    if statistic > POINTS[6] {
        return LEVELS[6];
    }
    // Normal equations of a centred parabola.
    let centre = POINTS.iter().sum::<f64>() / 7.0;
    let mut matrix = [[0.0f64; 4]; 3];
    for (point, level) in POINTS.iter().zip(LEVELS) {
        let x = point - centre;
        let powers = [1.0, x, x * x];
        for (row, left) in matrix.iter_mut().zip(powers) {
            row.iter_mut().zip(powers).for_each(|(sum, right)| *sum += left * right);
            row[3] += left * level.ln();
        }
    }
    for pivot in 0..3 {
        for row in 0..3 {
            if row != pivot {
                let factor = matrix[row][pivot] / matrix[pivot][pivot];
                let source = matrix[pivot];
                matrix[row].iter_mut().zip(source).for_each(|(value, from)| *value -= factor * from);
            }
        }
    }
    let x = statistic - centre;
    let [a, b, c] = [0, 1, 2].map(|row| matrix[row][3] / matrix[row][row]);
    (a + b * x + c * x * x).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variances_sums_are_what_they_stand_for() {
        for n in [4u64, 5, 20, 64, 65, 66, 200, 5_000] {
            let (h, squares) = harmonic((n - 1) as f64);
            let (mut inner, mut g) = (0.0, 0.0);
            for i in (1..n - 1).rev() {
                inner += 1.0 / (i + 1) as f64;
                g += inner / (n - i) as f64;
            }
            let all: f64 = (1..n).rev().map(|i| 1.0 / i as f64).sum();
            assert!((h / all - 1.0).abs() < 1e-14, "{n}: {h} {all}");
            let ours = squares - 2.0 * h / n as f64;
            assert!((ours / g - 1.0).abs() < 1e-12, "{n}: {ours} {g}");
        }
    }
}
