//! How much of the labels of a window has come: the distribution of their delays, from windows of different ages.
//!
//! Labels come late, and of a young window only the quick ones are there: their delays are truncated from the right. The
//! estimate is the product limit in reversed time (Lagakos, Barraj and De Gruttola 1988, Biometrika 75:515): a delay
//! class is compared with the shorter ones in those windows alone that are old enough to show it.
//!
//! Assumes that delays are alike in all windows. What comes later than the oldest window can show is not foreseen: all
//! shares are of labels that come within that time. Intervals are 95 %, by Greenwood's sum on the log scale.

use leeway_core::clock::{DAY, HOUR, MINUTE, Micros};

/// Upper ends of the classes of delays; a label that takes longer is in none.
pub const BOUNDS: [Micros; 13] = [
    MINUTE,
    5 * MINUTE,
    15 * MINUTE,
    HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    3 * DAY,
    7 * DAY,
    14 * DAY,
    30 * DAY,
];
/// Fewer labels than this say nothing of their delays.
pub const LEAST: u64 = 30;
/// Two-sided 95 % of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// The labels of one window by their delay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cohort {
    /// Since the window's end.
    pub age: Micros,
    pub labels: [u64; BOUNDS.len()],
}

/// Share of the labels that has come after some time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    pub within: Micros,
    pub share: f64,
    pub low: f64,
    pub high: f64,
    /// Labels that the step to the next class is judged by.
    pub n: u64,
}

/// The shares by delay, up to the longest that a window can show; `None` where fewer than [`LEAST`] labels are there.
pub fn curve(cohorts: &[Cohort]) -> Option<Vec<Share>> {
    let labels = |upto: usize| -> (u64, u64) {
        let old = cohorts.iter().filter(|cohort| cohort.age >= BOUNDS[upto]);
        old.fold((0, 0), |(own, all), cohort| {
            (own + cohort.labels[upto], all + cohort.labels[..=upto].iter().sum::<u64>())
        })
    };
    let longest = (0..BOUNDS.len()).rev().find(|upto| labels(*upto).1 > 0)?;
    if labels(longest).1 < LEAST {
        return None;
    }
    let mut shares = Vec::with_capacity(longest + 1);
    let (mut share, mut variance) = (1.0, 0.0);
    for class in (0..=longest).rev() {
        let (own, all) = labels(class);
        let spread = Z * f64::sqrt(variance);
        let (low, high) = (share * f64::exp(-spread), f64::min(1.0, share * f64::exp(spread)));
        shares.push(Share { within: BOUNDS[class], share, low, high, n: all });
        // The share before this class: what was there of what is there now.
        let hazard = if all == 0 { 0.0 } else { own as f64 / all as f64 };
        share *= 1.0 - hazard;
        if hazard < 1.0 && all > 0 {
            variance += hazard / (all as f64 * (1.0 - hazard));
        }
    }
    shares.reverse();
    Some(shares)
}

/// The share that a window of this age has; `None` where it is younger than the first class.
pub fn at(curve: &[Share], age: Micros) -> Option<Share> {
    curve.iter().rev().find(|share| share.within <= age).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Hourly windows of the last days, with exponential delays of which only those are seen that have come.
    fn simulated(seed: u64, hours: i64, per_hour: usize, mean: Micros) -> Vec<Cohort> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let cohort = |hour: i64| {
            let mut cohort = Cohort { age: hour * HOUR, ..Cohort::default() };
            for _ in 0..per_hour {
                let uniform: f64 = random.random();
                let delay = (-(1.0 - uniform).ln() * mean as f64) as Micros;
                if let Some(class) = BOUNDS.iter().position(|bound| delay <= *bound).filter(|_| delay <= cohort.age) {
                    cohort.labels[class] += 1;
                }
            }
            cohort
        };
        (0..hours).map(cohort).collect()
    }

    #[test]
    fn the_curve_is_that_of_the_delays_although_young_windows_show_quick_labels_alone() {
        let mean = 8 * HOUR;
        let cohorts = simulated(1, 24 * 8, 40, mean);
        let shares = curve(&cohorts).unwrap();
        let truth = |within: Micros| 1.0 - f64::exp(-(within as f64) / mean as f64);
        for share in &shares {
            let expected = truth(share.within) / truth(shares.last().unwrap().within);
            assert!((share.share - expected).abs() < 0.03, "{share:?}, truth {expected}");
        }
        // What naive counting would say of the first three hours is far off.
        let all: u64 = cohorts.iter().flat_map(|cohort| cohort.labels).sum();
        let quick: u64 = cohorts.iter().flat_map(|cohort| cohort.labels[..5].iter().copied()).sum();
        assert!((quick as f64 / all as f64 - truth(3 * HOUR)).abs() > 0.005);
        assert_eq!(at(&shares, 4 * HOUR).unwrap().within, 3 * HOUR);
        assert_eq!(at(&shares, MINUTE - 1), None);
    }

    #[test]
    fn the_interval_holds_the_truth_about_as_often_as_it_says() {
        let (mean, runs) = (8 * HOUR, 400);
        let held = (0..runs)
            .filter(|seed| {
                let shares = curve(&simulated(*seed, 24 * 4, 6, mean)).unwrap();
                let truth = |within: Micros| 1.0 - f64::exp(-(within as f64) / mean as f64);
                let share = at(&shares, 3 * HOUR).unwrap();
                let expected = truth(share.within) / truth(shares.last().unwrap().within);
                (share.low..=share.high).contains(&expected)
            })
            .count();
        // 95 % of 400 is 380; six standard deviations below are 354.
        assert!(held >= 354, "{held} of {runs}");
    }

    #[test]
    fn little_and_nothing_are_no_curve() {
        assert_eq!(curve(&[]), None);
        let mut cohort = Cohort { age: 30 * DAY, ..Cohort::default() };
        cohort.labels[0] = LEAST - 1;
        assert_eq!(curve(std::slice::from_ref(&cohort)), None);
        cohort.labels[0] = LEAST;
        let shares = curve(&[cohort]).unwrap();
        assert!(shares.iter().all(|share| share.share == 1.0 && share.n == LEAST));
    }
}
