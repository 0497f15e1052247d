//! `tail`: whether more values than usual lie beyond the reference's 95 % and 99 % points: a few calls that became much slower.
//!
//! Null, guarantee and assumptions are those of `rate`, of the share of values beyond each point.

use super::block::Way;
use super::rate::gains;
use super::sr::Mixture;
use super::{BINS, Baseline, Block};

/// Bins from which each tail counts: beyond the 95 % point, beyond the 99 % point.
const FROM: [usize; 2] = [BINS - 2, BINS - 1];
const EACH: usize = 6;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tail(pub Mixture<{ FROM.len() * EACH }>);

impl Tail {
    pub fn new() -> Self {
        Self(Mixture::new())
    }

    pub fn step(&mut self, block: &Block, baseline: &Baseline) {
        let n: f64 = block.bins.iter().sum();
        if n <= 0.0 {
            return;
        }
        let of = |from: usize| {
            let (hits, far) = (block.bins[from..].iter().sum(), from == BINS - 1);
            let share = baseline.shape_share(if far { Way::FarTail } else { Way::Tail });
            gains(baseline.beyond(block.at, far), hits, n, share)
        };
        self.0.step(FROM.into_iter().flat_map(of));
    }

    pub fn value(&self) -> f64 {
        self.0.mean(0..FROM.len() * EACH)
    }
}
