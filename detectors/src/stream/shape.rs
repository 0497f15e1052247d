//! `shape`: whether values spread otherwise over the reference's bins.
//!
//! Null: given the past, the shares of the bins lie near the baseline's, as near as a sample of the baseline's size tells them. For shares
//! p of the baseline and tilted shares q the likelihood ratio of counts c is Π(q/p)^c. Its expectation under the shares p' is
//! (Σ p'q/p)^n, which is 1 for p' = p; for p' in the band it is at most 1 + s with s from the sampling error of Σ p'q/p (and from the sixteen bits that p is kept in), and the ratio is
//! divided by (1 + s)^n. Dispersion beyond a multinomial's and dependence are treated as in `rate`.

use super::block::Way;
use super::cells::LIMIT;
use super::sr::Mixture;
use super::{BINS, Baseline, Block};

/// ln of the factor by which the ends of a tilt differ from the middle.
const SIZES: [f64; 3] = [0.25, 0.5, 1.0];
/// Tilts: to the right, to the left, apart, together.
const WAYS: [(Way, f64); 4] = [(Way::Place, 1.0), (Way::Place, -1.0), (Way::Spread, 1.0), (Way::Spread, -1.0)];
const TILTS: usize = WAYS.len() * SIZES.len();

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shape(pub Mixture<TILTS>);

impl Shape {
    pub fn new() -> Self {
        Self(Mixture::new())
    }

    pub fn step(&mut self, block: &Block, baseline: &Baseline) {
        let n: f64 = block.bins.iter().sum();
        if n <= 0.0 {
            return;
        }
        let (shares, sample) = baseline.shares(block.at);
        let gain = |(way, sign): (Way, f64), size: f64| {
            let along = way.along(&shares).map(|along| sign * size * along);
            let raised = along.map(f64::exp);
            let total: f64 = shares.iter().zip(&raised).map(|(share, raised)| share * raised).sum();
            let (mut gain, mut square) = (0.0, 0.0);
            for bin in 0..BINS {
                gain += block.bins[bin] * (along[bin] - total.ln());
                square += shares[bin] * (raised[bin] / total).powi(2);
            }
            let quasi = baseline.shape_share(way);
            let slack = (LIMIT / (sample * quasi).sqrt() + 2.0 * baseline.wander(way)) * (square - 1.0).max(0.0).sqrt()
                + baseline.grain();
            quasi * (gain - n * slack.ln_1p())
        };
        self.0.step(WAYS.into_iter().flat_map(|way| SIZES.map(|size| gain(way, size))));
    }

    pub fn value(&self) -> f64 {
        self.0.mean(0..TILTS)
    }
}
