//! `level`: whether the mean logarithm of the values has risen or fallen.
//!
//! Null: given the past, a block's mean logarithm is normal around a level within the baseline's band, with at most the
//! baseline's variance. With z the block's distance from the band's edge in deviations, exp(λz − λ²/2) has an expectation of at most 1 for
//! each tilt λ. Of a number of events it is the logarithm of the number, with Poisson's variance at least. A distance counts up to [`CUT`] deviations, which only lowers it. Where neighbouring blocks depend on one another with
//! correlation ρ, logarithms are divided by (1 + ρ)/(1 − ρ), the ratio of the long-run variance to the variance.

use leeway_core::drift::Direction;

use super::sr::Mixture;
use super::{Baseline, Block};

/// Tilts, in deviations of a block.
pub(super) const TILTS: [f64; 7] = [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2];
const SIDE: usize = TILTS.len();
/// One block counts for at most so many deviations: it may be an outlier.
pub(super) const CUT: f64 = 4.0;

/// Upward, then downward.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Level(pub Mixture<{ 2 * SIDE }>);

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
            let z = (beyond / deviation).min(CUT);
            TILTS.into_iter().map(move |tilt| share * (tilt * z - tilt * tilt / 2.0))
        };
        self.0.step(side(block.mean - high).chain(side(low - block.mean)));
    }

    pub fn value(&self, direction: Direction) -> f64 {
        self.0.sided(direction)
    }
}
