//! What is expected in each hour of the week, and the band around it in which nothing has changed.

use super::codes::{Codes, Round};
use super::fit::Estimate;
use super::{Kind, beta};

/// The normal law's 97.5 % and 95 % points: of intervals that are shown, of bands.
pub(super) const SURE: f64 = 1.959_963_984_540_054;
pub(super) const LIMIT: f64 = 1.644_853_626_951_472_2;

/// What is expected in each cell, and between which limits.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cells {
    pub(super) mean: Codes<u16>,
    /// The logarithm of half the width of the mean's own interval, rounded up.
    error: Codes<u8>,
    /// Whether any block of the reference was of the cell, by bit.
    seen: [u64; 3],
    band: Band,
}

/// Levels that are nothing unusual: a day's own level is among them, by twice the deviation of days.
#[derive(Debug, Clone, PartialEq)]
enum Band {
    /// So far around the mean: beyond what the mean's error makes unsure by twice the deviation of days, and at least so far down and up.
    Around { day: f64, down: f64, up: f64 },
    /// Of rates, whose limits are Clopper and Pearson's.
    Between { low: Codes<u16>, high: Codes<u16> },
}

impl Cells {
    /// `days`: the deviation of whole days, and how many there were.
    pub(super) fn of(
        kind: Kind,
        estimates: &[Estimate],
        seen: &[usize],
        (within, least): (f64, f64),
        days: (f64, f64),
    ) -> Self {
        let (day, weeks) = (days.0, (days.1 / 7.0).max(1.0));
        let variance = |cell: &Estimate| cell.variance + day * day / weeks;
        let errors: Vec<f64> = estimates.iter().map(|cell| SURE * variance(cell).sqrt()).collect();
        // A cell that is far surer than the others is taken for no more than that.
        let least_error = (errors.iter().copied().fold(0.0, f64::max) * 1e-3).max(f64::MIN_POSITIVE);
        let errors: Vec<f64> = errors.into_iter().map(|error| error.max(least_error).ln()).collect();
        let share = |mean: f64| if matches!(kind, Kind::Rate | Kind::YesNo) { mean.clamp(0.0, 1.0) } else { mean };
        let means: Vec<f64> = estimates.iter().map(|cell| share(cell.mean)).collect();
        let band = match kind {
            // Nothing falls by more than all of it.
            Kind::Values | Kind::Volume => {
                let down = if least < 1.0 { -(1.0 - least).ln() } else { f64::INFINITY };
                Band::Around { day, down, up: (1.0 + least).ln() }
            }
            Kind::Means => Band::Around { day, down: least, up: least },
            Kind::Rate | Kind::YesNo => {
                let nothing = |mean: f64| {
                    if kind == Kind::YesNo { (mean - least, mean + least) } else { relative(mean, least) }
                };
                let mut known: Option<(f64, f64, (f64, f64))> = None;
                let limits = means.iter().zip(estimates).map(|(mean, cell)| {
                    // Hours that do not differ have one limit.
                    let variance = variance(cell);
                    let limits = match known {
                        Some((of, with, limits)) if (of, with) == (*mean, variance) => limits,
                        _ => limits(*mean, within / variance, day, nothing(*mean)),
                    };
                    known = Some((*mean, variance, limits));
                    limits
                });
                let (low, high): (Vec<f64>, Vec<f64>) = limits.unzip();
                Band::Between { low: Codes::of(&low, Round::Down), high: Codes::of(&high, Round::Up) }
            }
        };
        let mut bits = [0; 3];
        seen.iter().for_each(|cell| bits[cell / 64] |= 1 << (cell % 64));
        Self { mean: Codes::of(&means, Round::Nearest), error: Codes::of(&errors, Round::Up), seen: bits, band }
    }

    pub(super) fn seen(&self, cell: usize) -> bool {
        self.seen[cell / 64] & (1 << (cell % 64)) != 0
    }

    pub(super) fn error(&self, cell: usize) -> f64 {
        self.error.get(cell).exp()
    }

    pub(super) fn band(&self, cell: usize) -> (f64, f64) {
        match &self.band {
            Band::Around { day, down, up } => {
                let (mean, unsure) = (self.mean.get(cell), LIMIT / SURE * self.error(cell) + 2.0 * day);
                (mean - unsure.max(*down), mean + unsure.max(*up))
            }
            Band::Between { low, high } => (low.get(cell).max(1e-12), high.get(cell).min(1.0 - 1e-12)),
        }
    }

    pub(super) fn size(&self) -> usize {
        let band = if let Band::Between { low, high } = &self.band { low.size() + high.size() } else { 0 };
        self.mean.size() + self.error.size() + band
    }
}

/// Between which rates nothing has changed that matters: the least change is one of hits, and of misses where these are the rarer ones.
fn relative(mean: f64, least: f64) -> (f64, f64) {
    let (up, down) = (1.0 + least, 1.0 - least);
    let most = (mean * up).min(1.0 - (1.0 - mean) / up);
    ((mean * down).max(1.0 - (1.0 - mean) / down.max(1e-9)), most)
}

/// The band of a rate of so many effective calls, which holds `nothing` whatever the reference can tell.
fn limits(mean: f64, n: f64, day: f64, nothing: (f64, f64)) -> (f64, f64) {
    let hits = mean * n;
    let high = beta::quantile(hits + 1.0, (n - hits).max(1e-9), LIMIT) + 2.0 * day;
    let low = if hits < 1e-9 { 0.0 } else { beta::quantile(hits, n - hits + 1.0, -LIMIT) - 2.0 * day };
    (low.min(nothing.0).clamp(1e-12, 1.0 - 1e-9), high.max(nothing.1).clamp(1e-9, 1.0 - 1e-12))
}
