//! Wasserstein's distance of order one, in standard deviations of the reference.
//!
//! W = ∫|F − G| dx. Null: both windows are independent values of one law; then √(nm/(n + m)) W is near ∫|B(H(x))| dx, B
//! a Brownian bridge and H the pooled distribution (del Barrio, Giné and Matrán, Ann. Probab. 27, 1999), which is drawn
//! [`DRAWS`] times with a fixed seed: the p-value is the share of draws at least as large, and never below 1/(draws + 1).
//! The effect has the null's mean taken off; it has no interval (one from draws around the windows covered four times in
//! five, not nineteen in twenty).

use std::sync::LazyLock;

use leeway_core::interval::Interval;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Cell, Inconclusive, Verdict, WindowTest, totals};

pub(super) struct Wasserstein;

const DRAWS: usize = 999;
const SEED: u64 = 20_261_121;

impl WindowTest for Wasserstein {
    fn needs(&self) -> u64 {
        50
    }

    fn measure(&self, cells: &[Cell]) -> Result<Verdict, Inconclusive> {
        let (n, m) = totals(cells);
        let (n, m) = (n as f64, m as f64);
        let deviation = deviation(cells, |cell| cell.reference as f64)
            .or_else(|| deviation(cells, |cell| (cell.reference + cell.current) as f64))
            .ok_or(Inconclusive::Alike)?;
        let (mut f, mut g) = (0.0, 0.0);
        // For each gap between cells: its width, F − G there, and the shares below it of both windows and of the pool.
        let gaps: Vec<Gap> = cells
            .windows(2)
            .map(|pair| {
                (f, g) = (f + pair[0].reference as f64 / n, g + pair[0].current as f64 / m);
                let pooled = (f * n + g * m) / (n + m);
                Gap { width: pair[1].value - pair[0].value, f, g, pooled }
            })
            .collect();
        let seen: f64 = gaps.iter().map(|gap| gap.width * (gap.f - gap.g).abs()).sum();
        let unit = (n.recip() + m.recip()).sqrt();
        let null: Vec<f64> = bridges(&coarse(&gaps)).into_iter().map(|bridge| unit * bridge).collect();
        let (rare, expected) =
            (null.iter().filter(|draw| **draw >= seen).count(), null.iter().sum::<f64>() / DRAWS as f64);
        Ok(Verdict {
            effect: ((seen - expected) / deviation).max(0.0),
            interval: Interval::default(),
            statistic: seen,
            p: (rare + 1) as f64 / (DRAWS + 1) as f64,
        })
    }
}

/// Of the counted values; `None` where they are all the same.
fn deviation(cells: &[Cell], count: impl Fn(&Cell) -> f64) -> Option<f64> {
    let n: f64 = cells.iter().map(&count).sum();
    let mean = cells.iter().map(|cell| count(cell) * cell.value).sum::<f64>() / n;
    let squares: f64 = cells.iter().map(|cell| count(cell) * (cell.value - mean).powi(2)).sum();
    Some((squares / (n - 1.0)).sqrt()).filter(|deviation| *deviation > 0.0)
}

/// Gaps that bridges are drawn over.
const DRAWN: usize = 256;

/// Neighbouring gaps joined, so that a draw costs the same whatever the windows hold.
fn coarse(gaps: &[Gap]) -> Vec<Gap> {
    let joined = |gaps: &[Gap]| {
        let middle = gaps[gaps.len() / 2];
        Gap { width: gaps.iter().map(|gap| gap.width).sum(), ..middle }
    };
    gaps.chunks(gaps.len().div_ceil(DRAWN)).map(joined).collect()
}

#[derive(Clone, Copy)]
struct Gap {
    width: f64,
    f: f64,
    g: f64,
    /// Share of both windows below it.
    pooled: f64,
}

/// Bridges that are drawn beside each other, so that none waits for the sum of another.
const BESIDE: usize = 9;
const _: () = assert!(DRAWS.is_multiple_of(BESIDE));

/// Standard normal numbers for all draws: the seed is fixed, so they are the same in every test (2 MB).
static NORMALS: LazyLock<Vec<f64>> = LazyLock::new(|| {
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    (0..DRAWS * (DRAWN + 1)).map(|_| normal(&mut rng)).collect()
});

/// ∫|B(H(x))| dx of [`DRAWS`] Brownian bridges.
fn bridges(gaps: &[Gap]) -> Vec<f64> {
    let mut at = 0.0;
    let mut steps: Vec<f64> = Vec::with_capacity(gaps.len() + 1);
    for pooled in gaps.iter().map(|gap| gap.pooled).chain([1.0]) {
        steps.push((pooled - at).max(0.0).sqrt());
        at = pooled;
    }
    let mut path = vec![[0.0; BESIDE]; gaps.len()];
    let drawn = NORMALS.chunks(steps.len() * BESIDE).take(DRAWS / BESIDE);
    drawn.flat_map(|normals| beside(gaps, &steps, normals, &mut path)).collect()
}

/// ∫|B(H(x))| dx of a few bridges, whose normal numbers stand one bridge after the other.
fn beside(gaps: &[Gap], steps: &[f64], normals: &[f64], path: &mut [[f64; BESIDE]]) -> [f64; BESIDE] {
    let mut height = [0.0; BESIDE];
    let mut step = |place: usize| {
        for (n, height) in height.iter_mut().enumerate() {
            *height += steps[place] * normals[n * steps.len() + place];
        }
        height
    };
    path.iter_mut().enumerate().for_each(|(place, heights)| *heights = step(place));
    let end = step(gaps.len());
    let mut area = [0.0; BESIDE];
    for (heights, gap) in path.iter().zip(gaps) {
        for (n, area) in area.iter_mut().enumerate() {
            *area += gap.width * (heights[n] - gap.pooled * end[n]).abs();
        }
    }
    area
}

/// Box and Muller.
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (u, v): (f64, f64) = (rng.random::<f64>().max(f64::MIN_POSITIVE), rng.random());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One bridge after the other, as their normal numbers come.
    fn plain(gaps: &[Gap]) -> Vec<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(SEED);
        let mut bridge = || {
            let (mut at, mut height) = (0.0, 0.0);
            let mut path = Vec::new();
            for gap in gaps {
                height += (gap.pooled - at).sqrt() * normal(&mut rng);
                at = gap.pooled;
                path.push(height);
            }
            let end = height + (1.0 - at).sqrt() * normal(&mut rng);
            path.iter().zip(gaps).map(|(height, gap)| gap.width * (height - gap.pooled * end).abs()).sum()
        };
        (0..DRAWS).map(|_| bridge()).collect()
    }

    #[test]
    fn bridges_beside_each_other_are_those_one_after_the_other() {
        for count in [1, 2, 7, 100, DRAWN] {
            let gap = |place: usize| {
                let pooled = (place + 1) as f64 / (count + 1) as f64;
                Gap { width: 1.0 + place as f64 / 3.0, f: 0.0, g: 0.0, pooled: pooled * pooled }
            };
            let gaps: Vec<Gap> = (0..count).map(gap).collect();
            assert_eq!(bridges(&gaps), plain(&gaps), "{count} gaps");
        }
    }
}
