//! How rare a value is, given the values before it: peaks over a threshold.
//!
//! Beyond the 95 % point of the past the excesses follow a generalised Pareto law (Pickands 1975; Balkema and de Haan
//! 1974), so that a value beyond all that was seen still has a probability. The law's shape is fitted by
//! probability-weighted moments (Hosking and Wallis, Technometrics 29, 1987) and drawn towards [`PRIOR_SHAPE`], since a
//! few dozen excesses say little about it. Excesses that follow each other within `gap` rows are one peak.
//!
//! Guarantee: none in finite samples. With many past values from one law, of which peaks come independently, the
//! probability is right in the limit; with few of them Student's t with [`PRIOR_FREEDOM`] degrees of freedom has the
//! larger say.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// Largest values kept.
const KEPT: usize = 48;
/// Share of the past that counts as peaks.
const PEAKS: f64 = 0.03;
/// Fewer peaks than this fit nothing.
const LEAST: usize = 8;
/// Rows after which a peak is forgotten.
const MEMORY: u64 = 10_000;
/// Shape of the law where nothing is known: heavier than exponential.
const PRIOR_SHAPE: f64 = 0.15;
/// Peaks that the prior shape counts for.
const PRIOR_PEAKS: f64 = 20.0;
/// Rows that the prior law counts for.
const PRIOR_ROWS: f64 = 150.0;
const PRIOR_FREEDOM: f64 = 6.0;
/// Smaller probabilities are all the same to a reader.
const LEAST_LN: f64 = -27.631_021_115_928_547;

/// The upper tail of a standardised quantity; the lower one is the tail of its negative.
#[derive(Debug, Clone)]
pub struct Tail {
    /// Largest first, with the row.
    peaks: Vec<(f64, u64)>,
    rows: u64,
    gap: u64,
}

impl Tail {
    /// `gap`: rows over which the quantity depends on itself.
    pub fn new(gap: u64) -> Self {
        Self { peaks: Vec::with_capacity(KEPT + 1), rows: 0, gap: gap.max(1) }
    }

    /// Natural logarithm of the probability of `value` or more in a row.
    pub fn ln_p(&self, value: f64) -> f64 {
        if !value.is_finite() {
            return 0.0;
        }
        let ln_prior = StudentsT::new(0.0, 1.0, PRIOR_FREEDOM).map_or(0.0, |law| law.sf(value).max(1e-300).ln());
        // Peaks are counted once in a gap, so rows are counted in gaps too.
        let rows = (self.rows.min(MEMORY) / self.gap) as f64;
        let count = ((rows * PEAKS).ceil() as usize).clamp(LEAST, KEPT);
        let ln_seen = match self.peaks.get(count) {
            Some(&(threshold, _)) => (count as f64 / rows).ln().min(0.0) + self.beyond(value, threshold, count),
            None => return ln_prior.max(LEAST_LN),
        };
        ((rows * ln_seen + PRIOR_ROWS * ln_prior) / (rows + PRIOR_ROWS)).max(LEAST_LN)
    }

    /// ln P(value or more | above the threshold).
    fn beyond(&self, value: f64, threshold: f64, count: usize) -> f64 {
        if value <= threshold {
            return 0.0;
        }
        let n = count as f64;
        let excess = self.peaks[..count].iter().map(|(peak, _)| peak - threshold);
        let mean = excess.clone().sum::<f64>() / n;
        // The second moment weighs each excess by the share of those above it.
        let weighted = excess.enumerate().map(|(above, excess)| excess * (above as f64 + 0.35) / n).sum::<f64>() / n;
        let fitted = if mean > 2.0 * weighted && weighted > 0.0 { 2.0 - mean / (mean - 2.0 * weighted) } else { 0.0 };
        let shape = ((n * fitted + PRIOR_PEAKS * PRIOR_SHAPE) / (n + PRIOR_PEAKS)).clamp(0.01, 0.8);
        let scale = (mean * (1.0 - shape)).max(0.02);
        -(1.0 + shape * (value - threshold) / scale).ln() / shape
    }

    /// Remembers a value.
    pub fn push(&mut self, value: f64) {
        self.rows += 1;
        if self.rows.is_multiple_of(1_000) {
            let oldest = self.rows.saturating_sub(MEMORY);
            self.peaks.retain(|(_, row)| *row > oldest);
        }
        let lowest = if self.peaks.len() == KEPT { self.peaks[KEPT - 1].0 } else { f64::NEG_INFINITY };
        if value <= lowest || !value.is_finite() {
            return;
        }
        if let Some(place) = self.peaks.iter().position(|(_, row)| self.rows - row < self.gap) {
            if self.peaks[place].0 >= value {
                return;
            }
            self.peaks.remove(place);
        }
        let place = self.peaks.partition_point(|(peak, _)| *peak >= value);
        self.peaks.insert(place, (value, self.rows));
        self.peaks.truncate(KEPT);
    }
}
