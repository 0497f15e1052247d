//! Wasserstein's distance of order one, in standard deviations of the reference.
//!
//! W = ∫|F − G| dx. Null: both windows are independent values of one law; then √(nm/(n + m)) W is near ∫|B(H(x))| dx, B
//! a Brownian bridge and H the pooled distribution (del Barrio, Giné and Matrán, Ann. Probab. 27, 1999), which is drawn
//! [`DRAWS`] times with a fixed seed: the p-value is the share of draws at least as large, and never below 1/(draws + 1).
//! The effect has the null's mean taken off; its interval comes from as many draws of both windows' counts around
//! themselves.

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
        let mean = cells.iter().map(|cell| cell.reference as f64 * cell.value).sum::<f64>() / n;
        let squares: f64 = cells.iter().map(|cell| cell.reference as f64 * (cell.value - mean).powi(2)).sum();
        let deviation = (squares / (n - 1.0)).sqrt();
        if deviation == 0.0 {
            return Err(Inconclusive::Alike);
        }
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
        let null = draws(|| (n.recip() + m.recip()).sqrt() * bridge(&gaps, |gap| gap.pooled, &mut rng, |_, b| b.abs()));
        let (rare, expected) =
            (null.iter().filter(|draw| **draw >= seen).count(), null.iter().sum::<f64>() / DRAWS as f64);
        let mut other = ChaCha8Rng::seed_from_u64(SEED + 1);
        let around = draws(|| {
            let before = walk(&gaps, |gap| gap.f, &mut rng);
            let now = walk(&gaps, |gap| gap.g, &mut other);
            let moved = gaps.iter().zip(before.iter().zip(now));
            moved.map(|(gap, (b, c))| gap.width * (gap.f - gap.g + b / n.sqrt() - c / m.sqrt()).abs()).sum()
        });
        // The draws scatter around the distance by as much as it scatters around the truth.
        let (low, high) = (around[DRAWS / 40], around[DRAWS - 1 - DRAWS / 40]);
        let bound = |value: f64| (value / deviation).max(0.0);
        Ok(Verdict {
            effect: bound(seen - expected),
            interval: Interval::between(bound(2.0 * seen - high - expected), bound(2.0 * seen - low)),
            statistic: seen,
            p: (rare + 1) as f64 / (DRAWS + 1) as f64,
        })
    }
}

struct Gap {
    width: f64,
    f: f64,
    g: f64,
    pooled: f64,
}

/// Ascending.
fn draws(mut draw: impl FnMut() -> f64) -> Vec<f64> {
    let mut all: Vec<f64> = (0..DRAWS).map(|_| draw()).collect();
    all.sort_by(f64::total_cmp);
    all
}

/// A Brownian bridge at the shares of all gaps.
fn walk(gaps: &[Gap], share: impl Fn(&Gap) -> f64, rng: &mut ChaCha8Rng) -> Vec<f64> {
    let (mut at, mut height) = (0.0, 0.0);
    let mut path: Vec<f64> = gaps
        .iter()
        .map(|gap| {
            height += (share(gap) - at).max(0.0).sqrt() * normal(rng);
            at = share(gap);
            height
        })
        .collect();
    let end = height + (1.0 - at).max(0.0).sqrt() * normal(rng);
    path.iter_mut().zip(gaps).for_each(|(height, gap)| *height -= share(gap) * end);
    path
}

fn bridge(gaps: &[Gap], share: impl Fn(&Gap) -> f64, rng: &mut ChaCha8Rng, take: impl Fn(&Gap, f64) -> f64) -> f64 {
    walk(gaps, share, rng).into_iter().zip(gaps).map(|(height, gap)| gap.width * take(gap, height)).sum()
}

/// Box and Muller.
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (u, v): (f64, f64) = (rng.random::<f64>().max(f64::MIN_POSITIVE), rng.random());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}
