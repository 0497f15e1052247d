//! `rate`: whether hits among calls have become more, or fewer, than usual.
//!
//! Null: given the past, a call is a hit with a probability within the baseline's band. For a probability p0 at the band's
//! edge and an alternative q beyond it the likelihood ratio of k hits of n is (q/p0)^k·((1 − q)/(1 − p0))^(n − k), whose expectation
//! is at most 1 for every probability on the null's side. Blocks whose hits vary more than a binomial's, or with their neighbours, as
//! in the reference, have their logarithm divided by that excess (quasi-likelihood).

use leeway_core::drift::Direction;

use super::sr::Mixture;
use super::{Baseline, Block};

/// Alternatives, as multiples of the band's edge.
pub(super) const FACTORS: [f64; 6] = [1.25, 1.5, 2.0, 3.0, 5.0, 10.0];
const SIDE: usize = FACTORS.len();

/// Upward, then downward.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rate(pub Mixture<{ 2 * SIDE }>);

/// From a half on it is the misses that become rarer by the factor.
pub(super) fn alternative(p0: f64, factor: f64) -> f64 {
    if p0 * factor < 0.5 { p0 * factor } else { 1.0 - (1.0 - p0) / factor }
}

/// ln of the likelihood ratio of each alternative above `p0`, of `hits` among `n`.
pub(super) fn gains(p0: f64, hits: f64, n: f64, share: f64) -> impl Iterator<Item = f64> {
    FACTORS.into_iter().map(move |factor| {
        let q = alternative(p0, factor);
        share * (hits * (q / p0).ln() + (n - hits) * ((1.0 - q) / (1.0 - p0)).ln())
    })
}

impl Rate {
    pub fn new() -> Self {
        Self(Mixture::new())
    }

    pub fn step(&mut self, block: &Block, baseline: &Baseline) {
        if block.n <= 0.0 {
            return;
        }
        let (low, high) = baseline.band(block.at);
        // A score that was yes or no and no longer is counts as far as it goes.
        let (hits, share) = (block.mean.clamp(0.0, 1.0) * block.n, baseline.share(block));
        let up = gains(high, hits, block.n, share);
        let down = gains(1.0 - low, block.n - hits, block.n, share);
        self.0.step(up.chain(down));
    }

    pub fn value(&self, direction: Direction) -> f64 {
        self.0.sided(direction)
    }
}
