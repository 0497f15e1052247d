//! What lasts for hours: how much more the means of stretches of time vary than their blocks explain. A level that stays for half a day and then is
//! another is no change, and neighbouring blocks do not show it.

use leeway_core::clock::{HOUR, Micros};

use super::fit::{NINETY, chi_square};

/// How long stretches are; each divides the day.
const LENGTHS: [Micros; 3] = [3 * HOUR, 6 * HOUR, 12 * HOUR];
/// The normal law's 99.9 % point: from there on stretches surely vary more.
const SURELY: f64 = 3.090_232_306_167_813_5;
/// With fewer degrees of freedom nothing is said.
const LEAST: f64 = 5.0;

/// What one hour of the reference adds up to, in each of `N` ways.
pub(super) struct Hour<const N: usize> {
    pub(super) at: Micros,
    /// Number of its day.
    pub(super) day: usize,
    pub(super) weight: f64,
    /// The part of its own variance that its centre took from it.
    pub(super) taken: f64,
    /// Sums of what is off its centre, each with a variance of its weight where blocks are independent.
    pub(super) sums: [f64; N],
}

/// The variance of stretches' means beside that of independent blocks, in each way: what `blocks` by themselves explain, or, at the length at which it is
/// most, the 90 % upper limit of what stretches show beyond their days, where that is surely more. Squares have as many degrees of freedom as
/// centres and days leave.
pub(super) fn lasting<const N: usize>(hours: &[Hour<N>], days: usize, blocks: [f64; N]) -> [f64; N] {
    let mut whole = vec![(0.0, [0.0; N]); days];
    for hour in hours {
        let (weight, sums) = &mut whole[hour.day];
        *weight += hour.weight;
        sums.iter_mut().zip(&hour.sums).for_each(|(all, sum)| *all += sum);
    }
    let mut most = blocks;
    for length in LENGTHS {
        let (mut squares, mut freedom) = ([0.0; N], 0.0);
        for stretch in hours.chunk_by(|a, b| a.at.div_euclid(length) == b.at.div_euclid(length)) {
            let (of_day, day) = &whole[stretch[0].day];
            let (mut weight, mut taken, mut sums) = (0.0, 0.0, [0.0; N]);
            for hour in stretch {
                weight += hour.weight;
                taken += hour.weight * hour.taken;
                sums.iter_mut().zip(&hour.sums).for_each(|(all, sum)| *all += sum);
            }
            let part = weight / of_day;
            freedom += (1.0 - taken / weight).max(0.0) * (1.0 - part);
            for (square, (sum, day)) in squares.iter_mut().zip(sums.iter().zip(day)) {
                *square += (sum - part * day).powi(2) / weight;
            }
        }
        if freedom >= LEAST {
            let (surely, least) = (chi_square(freedom, SURELY), chi_square(freedom, -NINETY));
            for (most, (square, blocks)) in most.iter_mut().zip(squares.into_iter().zip(blocks)) {
                if square > blocks * surely {
                    *most = most.max(square / least);
                }
            }
        }
    }
    most
}
