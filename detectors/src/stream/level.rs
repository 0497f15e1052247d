//! `level`: whether the mean logarithm of the values has risen or fallen.
//!
//! Null: given the past, a block's mean logarithm is normal around a level within the baseline's band, with at most the
//! baseline's variance. With z the block's distance from the band's edge in deviations, exp(λz − λ²/2) has an expectation of at most 1 for
//! each tilt λ. Means of scores may be far from normal (a rare failure among five): there each tilt's gain is divided by what it paid on the reference's own blocks, an unseen
//! block that pays most among them, where that is more than 1; of one new block, exchangeable with those of the reference, the expectation is then at most 1 whatever the law. Of a number of events it is the logarithm of the number, with Poisson's variance at least. A distance counts up to [`CUT`] deviations, which only lowers it. Where blocks depend on one another
//! logarithms are divided by the ratio of the long-run variance to the variance: (1 + ρ)/(1 − ρ) with ρ the correlation of neighbours, or what stretches of hours show (`stretch.rs`), where that is more.

use leeway_core::clock::HOUR;
use leeway_core::drift::Direction;

use super::sr::Mixture;
use super::{Baseline, Block};

/// Tilts, in deviations of a block.
pub(super) const TILTS: [f64; 7] = [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2];
const SIDE: usize = TILTS.len();
/// Logarithms by which tilts pay too much, upward, then downward.
pub(super) type Excess = [f64; 2 * SIDE];
/// One block counts for at most so many deviations: it may be an outlier.
pub(super) const CUT: f64 = 4.0;

/// Upward, then downward.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Level(pub Mixture<{ 2 * SIDE }>);

/// What a block at a distance of so many deviations pays, as a logarithm.
fn gain(tilt: f64, z: f64, share: f64) -> f64 {
    share * (tilt * z.min(CUT) - tilt * tilt / 2.0)
}

/// What the reference's blocks paid each tilt beyond the normal law, around their own cells and days: at all hours together, and in the hour
/// of the day in which they paid most.
pub(super) fn excess(blocks: &[&Block], day: &[usize], shared: &[f64], baseline: &Baseline) -> Excess {
    let share = baseline.independent();
    let mut hours = [(0.0, [0.0; 2 * SIDE]); 24];
    for (block, day) in blocks.iter().zip(day) {
        let off = block.mean - baseline.usual(block.at).0 - shared[*day];
        // Where nothing varies nothing is paid.
        let z = if off == 0.0 { 0.0 } else { off / baseline.deviation(block) };
        let (blocks, sums) = &mut hours[block.at.div_euclid(HOUR).rem_euclid(24) as usize];
        *blocks += 1.0;
        for (place, sum) in sums.iter_mut().enumerate() {
            *sum += gain(TILTS[place % SIDE], if place < SIDE { z } else { -z }, share).exp();
        }
    }
    std::array::from_fn(|place| {
        let unseen = gain(TILTS[place % SIDE], CUT, share).exp();
        let sum: f64 = hours.iter().map(|(_, sums)| sums[place]).sum();
        let together = (sum + unseen) / (blocks.len() as f64 + 1.0);
        // An hour of few blocks tells more of chance than of itself.
        let enough = hours.iter().filter(|(blocks, _)| *blocks >= 100.0);
        enough.map(|(blocks, sums)| sums[place] / blocks).fold(together, f64::max).ln().max(0.0)
    })
}

impl Level {
    pub fn new() -> Self {
        Self(Mixture::new())
    }

    pub fn step(&mut self, block: &Block, baseline: &Baseline) {
        if block.n <= 0.0 {
            return;
        }
        let (low, high) = baseline.band(block.at);
        let (deviation, share) = (baseline.deviation(block), baseline.independent());
        let side = |beyond: f64| {
            let z = beyond / deviation;
            TILTS.into_iter().map(move |tilt| gain(tilt, z, share))
        };
        let gains = side(block.mean - high).chain(side(low - block.mean)).enumerate();
        self.0.step(gains.map(|(place, gain)| gain - baseline.excess(place)));
    }

    pub fn value(&self, direction: Direction) -> f64 {
        self.0.sided(direction)
    }
}
