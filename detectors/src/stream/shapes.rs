//! How values spread over their bins by hour of the day, and how much more than by chance blocks and days differ in it.

use super::baseline::Season;
use super::beta;
use super::block::{BINS, Block, Scales, WAYS, Way};
use super::cells::LIMIT;
use super::codes::{Codes, Round};
use super::fit::{Columns, Group, NINETY, chi_square, spread};
use super::stretch::{Hour, lasting};

/// Values of all hours that each hour's shares of the bins are mixed with.
const MIXED: f64 = 500.0;

/// Shares of the bins by hour of the day, each as a multiple of the share at all hours.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shapes {
    all: [f32; BINS],
    /// Logarithms: what the step takes from a share is the same part of each.
    multiples: Codes<u16>,
    /// The logarithm of the number of values behind the shares of an hour, rounded down.
    sample: Codes<u16>,
    /// Upper limits of the shares of the last two bins together, and of the last.
    beyond: Codes<u16>,
    /// What logarithms of likelihood ratios shrink by in each way, as far as counts vary more than a multinomial's, blocks depend on their neighbours or whole
    /// stretches differ.
    quasi: [f64; WAYS],
    /// How far whole days lie along each way, in deviations of a value: its standard deviation, the upper limit.
    wander: [f64; WAYS],
}

impl Shapes {
    /// Of blocks whose neighbours' dependence makes the variance of their mean so many times as large; changes up to `least` of a share are within
    /// the limits.
    pub(super) fn learn(season: Season, blocks: &[&Block], columns: &Columns, neighbours: f64, least: f64) -> Self {
        let hours = season.hours();
        let mut counts = vec![[0.0; BINS]; hours];
        for (block, cell) in blocks.iter().zip(&columns.cell) {
            let hour = &mut counts[cell % hours];
            hour.iter_mut().zip(&block.bins).for_each(|(hour, count)| *hour += count);
        }
        let mut all = [0.0; BINS];
        for hour in &counts {
            all.iter_mut().zip(hour).for_each(|(all, count)| *all += count);
        }
        let total: f64 = all.iter().sum();
        let overall = all.map(|count| (count + 0.5) / (total + 0.5 * BINS as f64));
        let (all, mixed) = (overall.map(|share| share as f32), MIXED.min(total));
        let of = |counts: &[f64; BINS]| {
            let n: f64 = counts.iter().sum();
            let mut shares = overall;
            if hours > 1 {
                for ((share, count), overall) in shares.iter_mut().zip(counts).zip(&overall) {
                    *share = (count + mixed * overall) / (n + mixed).max(1.0);
                }
            }
            let sample = if hours == 1 { total } else { (n + mixed).min(total) };
            (shares, sample.max(1.0))
        };
        let (shares, samples): (Vec<[f64; BINS]>, Vec<f64>) = counts.iter().map(of).unzip();
        let scores = Scores::of(blocks, columns, &shares);
        let dispersion = scores.dispersion();
        let blocks = dispersion.map(|dispersion| dispersion * neighbours);
        let quasi = lasting(&scores.hours, columns.weekday.len(), blocks).map(f64::recip);
        let wander = match season {
            Season::None => [0.0; WAYS],
            Season::Week => Way::ALL.map(|way| scores.wander(way, dispersion[way as usize])),
        };
        let mut beyond = Vec::with_capacity(2 * hours);
        for (shares, sample) in shares.iter().zip(&samples) {
            for (way, from) in [(Way::Tail, BINS - 2), (Way::FarTail, BINS - 1)] {
                let share: f64 = shares[from..].iter().sum();
                let sample = sample * quasi[way as usize];
                let day = 2.0 * wander[way as usize] * (share * (1.0 - share)).sqrt();
                let upper = beta::quantile(share * sample + 1.0, (1.0 - share) * sample, LIMIT) + day;
                beyond.push(upper.max(share * (1.0 + least)).min(0.999));
            }
        }
        let multiples: Vec<f64> = shares
            .iter()
            .flat_map(|shares| std::array::from_fn::<f64, BINS, _>(|bin| (shares[bin] / f64::from(all[bin])).ln()))
            .collect();
        Self {
            all,
            multiples: Codes::of(&multiples, Round::Nearest),
            sample: Codes::of(&samples.iter().map(|sample| sample.ln()).collect::<Vec<_>>(), Round::Down),
            beyond: Codes::of(&beyond, Round::Up),
            quasi,
            wander,
        }
    }

    /// The shares of an hour, and how many values they come from.
    pub(super) fn shares(&self, hour: usize) -> ([f64; BINS], f64) {
        let share = |bin: usize| f64::from(self.all[bin]) * self.multiples.get(hour * BINS + bin).exp();
        (std::array::from_fn(share), self.sample.get(hour).exp())
    }

    /// Upper limit of the share of values in the last two bins of an hour, or in the last one.
    pub(super) fn beyond(&self, hour: usize, last: bool) -> f64 {
        self.beyond.get(2 * hour + usize::from(last))
    }

    pub(super) fn quasi(&self, way: Way) -> f64 {
        self.quasi[way as usize]
    }

    pub(super) fn wander(&self, way: Way) -> f64 {
        self.wander[way as usize]
    }

    /// By how much a share may be off, as a part of it, since it is kept in sixteen bits.
    pub(super) fn grain(&self) -> f64 {
        (self.multiples.step() / 2.0).exp_m1()
    }

    pub(super) fn size(&self) -> usize {
        self.multiples.size() + self.sample.size() + self.beyond.size()
    }
}

/// What blocks' scores add up to, in each way.
struct Scores {
    /// Sums of squared scores, each by its number, which a multinomial makes as many as there are blocks.
    squares: [f64; WAYS],
    blocks: f64,
    /// Of each day the number of values, and the sums of the scores.
    days: Vec<(f64, [f64; WAYS])>,
    /// The same of hours.
    hours: Vec<Hour<WAYS>>,
}

impl Scores {
    fn of(blocks: &[&Block], columns: &Columns, shares: &[[f64; BINS]]) -> Self {
        let scales: Vec<Scales> = shares.iter().map(Scales::of).collect();
        let days = vec![(0.0, [0.0; WAYS]); columns.weekday.len()];
        let mut scores = Self { squares: [0.0; WAYS], blocks: 0.0, days, hours: Vec::new() };
        for places in &columns.hours {
            let (cell, day) = (columns.cell[places.start], columns.day[places.start]);
            let mut hour = Hour { at: columns.at[places.start], day, weight: 0.0, taken: 0.0, sums: [0.0; WAYS] };
            for block in &blocks[places.clone()] {
                let (sums, n) = scales[cell % shares.len()].score(&block.bins);
                if n <= 0.0 {
                    continue;
                }
                scores.blocks += 1.0;
                hour.weight += n;
                let one = 1.0 / n;
                for ((squares, of_hour), sum) in scores.squares.iter_mut().zip(&mut hour.sums).zip(sums) {
                    *squares += sum * sum * one;
                    *of_hour += sum;
                }
            }
            let (weight, of_day) = &mut scores.days[day];
            *weight += hour.weight;
            of_day.iter_mut().zip(&hour.sums).for_each(|(all, sum)| *all += sum);
            if hour.weight > 0.0 {
                scores.hours.push(hour);
            }
        }
        scores
    }

    /// How much more than a multinomial's the scores vary: upper limits. Where none surely does, none does; where one does, what makes
    /// it vary (values that depend on one another) may be in all.
    fn dispersion(&self) -> [f64; WAYS] {
        if self.blocks > 0.0 && self.squares.iter().any(|squares| *squares > chi_square(self.blocks, NINETY)) {
            self.squares.map(|squares| (squares / chi_square(self.blocks, -NINETY)).max(1.0))
        } else {
            [1.0; WAYS]
        }
    }

    /// The deviation of whole days' mean scores beyond that of their blocks, its upper limit; 0 where there are too few days.
    fn wander(&self, way: Way, excess: f64) -> f64 {
        let there = self.days.iter().filter(|(weight, _)| *weight > 0.0);
        let group =
            |(weight, sums): &(f64, [f64; WAYS])| Group { weight: weight / excess, sum: sums[way as usize] / excess };
        let days: Vec<Group> = there.map(group).collect();
        let freedom = days.len() as f64 - 1.0;
        let variance = spread(days.iter().map(|group| (group, 0.0)), 1);
        if freedom < 1.0 || !variance.is_finite() {
            0.0
        } else {
            (variance * freedom / chi_square(freedom, -NINETY)).sqrt()
        }
    }
}
