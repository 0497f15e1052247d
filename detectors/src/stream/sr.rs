//! A mixture of Shiryaev–Roberts e-detectors: M ← (1 + M)·L for each alternative, and their mean.

use leeway_core::drift::Direction;

/// Evidence beyond this is no more than this: far above every bar, far below what a double holds.
const MOST: f64 = 1e280;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mixture<const N: usize>(pub [f64; N]);

impl<const N: usize> Mixture<N> {
    pub fn new() -> Self {
        Self([0.0; N])
    }

    /// One block: the logarithm of each alternative's likelihood ratio.
    pub fn step(&mut self, gains: impl IntoIterator<Item = f64>) {
        for (sum, gain) in self.0.iter_mut().zip(gains) {
            *sum = ((1.0 + *sum) * gain.exp()).min(MOST);
        }
    }

    /// The first half is of rises, the second of falls.
    pub fn sided(&self, direction: Direction) -> f64 {
        match direction {
            Direction::Up => self.mean(0..N / 2),
            Direction::Down => self.mean(N / 2..N),
            Direction::Both => self.mean(0..N),
        }
    }

    pub fn mean(&self, of: std::ops::Range<usize>) -> f64 {
        let n = of.len();
        self.0[of].iter().sum::<f64>() / n as f64
    }
}
