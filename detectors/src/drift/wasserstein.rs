//! Wasserstein's distance of order one, in standard deviations of the reference.
//!
//! W = ∫|F − G| dx. Null: both windows are independent values of one law; then √(nm/(n + m)) W is near ∫|B(H(x))| dx, B
//! a Brownian bridge and H the pooled distribution (del Barrio, Giné and Matrán, Ann. Probab. 27, 1999), which is drawn
//! [`DRAWS`] times with a fixed seed: the p-value is the share of draws at least as large, and never below 1/(draws + 1).
//! The effect has the null's mean taken off; it has no interval (one from draws around the windows covered four times in
//! five, not nineteen in twenty).

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
        let mut rng = ChaCha8Rng::seed_from_u64(SEED);
        let (coarse, unit) = (coarse(&gaps), (n.recip() + m.recip()).sqrt());
        let null: Vec<f64> = (0..DRAWS).map(|_| unit * bridge(&coarse, &mut rng)).collect();
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

/// ∫|B(H(x))| dx of one Brownian bridge.
fn bridge(gaps: &[Gap], rng: &mut ChaCha8Rng) -> f64 {
    let (mut at, mut height) = (0.0, 0.0);
    let mut path = Vec::with_capacity(gaps.len());
    for gap in gaps {
        height += (gap.pooled - at).max(0.0).sqrt() * normal(rng);
        at = gap.pooled;
        path.push(height);
    }
    let end = height + (1.0 - at).max(0.0).sqrt() * normal(rng);
    path.iter().zip(gaps).map(|(height, gap)| gap.width * (height - gap.pooled * end).abs()).sum()
}

/// Box and Muller.
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (u, v): (f64, f64) = (rng.random::<f64>().max(f64::MIN_POSITIVE), rng.random());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}
