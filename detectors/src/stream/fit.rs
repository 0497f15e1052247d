//! Cells from blocks: rounds of weighing, drawing in and shrinking.

use std::ops::Range;

use leeway_core::clock::{DAY, Micros};

use super::baseline::Season;
use super::block::Block;
use super::stretch::{Hour, lasting};

/// Deviations beyond which an observation is drawn in.
const CUT: f64 = 4.0;
/// The normal law's 90 % point: of variances.
pub(super) const NINETY: f64 = 1.281_551_565_544_600_4;
/// More dependence than this is a walk.
pub(super) const WALK: f64 = 0.95;
const ROUNDS: usize = 4;

/// The estimate of one cell.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Estimate {
    pub(super) mean: f64,
    pub(super) variance: f64,
}

/// Observations of one group: the sum of their weights, and their weighted mean.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Group {
    pub(super) weight: f64,
    pub(super) sum: f64,
}

impl Group {
    fn mean(&self) -> f64 {
        if self.weight > 0.0 { self.sum / self.weight } else { 0.0 }
    }
}

/// What the rounds settle.
pub(super) struct Fit {
    pub(super) cells: Vec<Estimate>,
    pub(super) between: f64,
    pub(super) dependence: f64,
    /// Neighbours that it is of.
    pub(super) pairs: f64,
    /// The variance of the mean of many blocks beside that of independent ones, by what neighbours have in common: an upper limit.
    pub(super) neighbours: f64,
    /// The same by what whole stretches have in common, where that is more.
    pub(super) inflation: f64,
    /// Numbers that the cells took from the observations.
    pub(super) taken: f64,
    /// Sum of squared standardised residuals.
    pub(super) squares: f64,
    /// Standard deviation of whole days beyond that of their blocks, its 90 % upper limit, and how many days there were.
    pub(super) days: (f64, f64),
    /// What each day has beyond its cells.
    pub(super) shared: Vec<f64>,
}

/// Blocks by column: what the rounds read again and again.
pub(super) struct Columns {
    pub(super) at: Vec<Micros>,
    pub(super) mean: Vec<f64>,
    pub(super) n: Vec<f64>,
    pub(super) cell: Vec<usize>,
    /// Number of the block's day among the days that have any; and of each of these the day of the week.
    pub(super) day: Vec<usize>,
    pub(super) weekday: Vec<usize>,
    /// Whether the block before is its neighbour in time.
    pub(super) follows: Vec<bool>,
    /// Places of the blocks of each hour.
    pub(super) hours: Vec<Range<usize>>,
}

impl Columns {
    pub(super) fn of(season: Season, blocks: &[&Block]) -> Self {
        let at: Vec<Micros> = blocks.iter().map(|block| block.at).collect();
        let gaps = || at.windows(2).map(|pair| pair[1] - pair[0]);
        let step = gaps().min().unwrap_or(0);
        let follows = std::iter::once(false).chain(gaps().map(|gap| gap == step)).collect();
        let (mut day, mut days) = (Vec::with_capacity(at.len()), Vec::new());
        for at in &at {
            let of = at.div_euclid(DAY);
            if days.last() != Some(&of) {
                days.push(of);
            }
            day.push(days.len() - 1);
        }
        let cell: Vec<usize> = at.iter().map(|at| season.cell(*at)).collect();
        let (mut hours, mut start) = (Vec::new(), 0);
        for place in 1..=at.len() {
            if place == at.len() || cell[place] != cell[start] || day[place] != day[start] {
                hours.push(start..place);
                start = place;
            }
        }
        Self {
            mean: blocks.iter().map(|block| block.mean).collect(),
            n: blocks.iter().map(|block| block.n).collect(),
            cell,
            weekday: days.into_iter().map(|day: i64| day.rem_euclid(7) as usize).collect(),
            day,
            follows,
            hours,
            at,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.at.len()
    }

    /// Sums of weights and of weighted observations by group.
    fn grouped(group: &[usize], groups: usize, observed: impl Iterator<Item = f64>, weights: &[f64]) -> Vec<Group> {
        let mut found = vec![Group::default(); groups];
        for ((group, value), weight) in group.iter().zip(observed).zip(weights) {
            let group = &mut found[*group];
            group.weight += weight;
            group.sum += weight * value;
        }
        found
    }
}

impl Fit {
    pub(super) fn of(season: Season, blocks: &Columns, within: f64) -> Self {
        let n = blocks.len() as f64;
        let whole: f64 = blocks.mean.iter().sum::<f64>() / n;
        let spread = blocks.mean.iter().map(|mean| (mean - whole).powi(2)).sum::<f64>() / n;
        // Weights stay finite where a cell explains all.
        let least = 1e-12 * (spread + within);
        let sampling: Vec<f64> = blocks.n.iter().map(|n| within / n).collect();
        let (sampled, per_value) = (sampling.iter().sum::<f64>(), 1.0 / within.max(f64::MIN_POSITIVE));
        let mut drawn = blocks.mean.clone();
        // Without values' own variance, blocks' spread is all there is to weigh them by.
        let mut fit = Self {
            cells: Vec::new(),
            between: if within > 0.0 { 0.0 } else { spread },
            dependence: 0.0,
            pairs: 0.0,
            neighbours: 1.0,
            inflation: 1.0,
            taken: 1.0,
            squares: 0.0,
            days: (0.0, 1.0),
            shared: vec![0.0; blocks.weekday.len()],
        };
        let mut residuals = vec![0.0; blocks.len()];
        let (mut precisions, mut weights) = (vec![0.0; blocks.len()], vec![0.0; blocks.len()]);
        for _ in 0..ROUNDS {
            let independent = (1.0 - fit.dependence) / (1.0 + fit.dependence);
            let variance = |sampling: f64| (fit.between + sampling).max(least);
            for ((precise, weight), sampling) in precisions.iter_mut().zip(&mut weights).zip(&sampling) {
                *precise = 1.0 / variance(*sampling);
                *weight = independent * *precise;
            }
            fit.cells = cells(season, blocks, &drawn, &weights);
            (fit.taken, fit.squares) = (0.0, 0.0);
            let mut beyond = 0.0;
            for place in 0..blocks.len() {
                let cell = fit.cells[blocks.cell[place]];
                let sharp = precisions[place].sqrt();
                let deviation = 1.0 / sharp;
                let middle = cell.mean + fit.shared[blocks.day[place]];
                let off = (blocks.mean[place] - middle).clamp(-CUT * deviation, CUT * deviation);
                drawn[place] = middle + off;
                residuals[place] = off * sharp;
                fit.taken += (cell.variance * precisions[place]).min(1.0);
                fit.squares += off * off * blocks.n[place] * per_value;
                beyond += off * off;
            }
            let freedom = (n - fit.taken).max(1.0);
            fit.between = (beyond / freedom - sampled / n).max(0.0);
            (fit.dependence, fit.pairs) = dependence(&residuals, &blocks.follows);
            if season == Season::Week {
                (fit.days, fit.shared) = days(season, blocks, &drawn, &fit.cells, &weights);
            }
        }
        fit.settle(season, blocks, &drawn, &mut precisions);
        fit
    }

    /// What neighbours and stretches have in common; where stretches have more, cells are as much less sure.
    fn settle(&mut self, season: Season, blocks: &Columns, drawn: &[f64], precisions: &mut [f64]) {
        self.neighbours = inflation(surely_dependent(self.dependence, self.pairs));
        self.inflation = self.neighbours;
        if season == Season::Week {
            let hours = around(blocks, drawn, precisions);
            [self.inflation] = lasting(&hours, blocks.weekday.len(), [self.neighbours]);
            if self.inflation > self.neighbours {
                precisions.iter_mut().for_each(|precise| *precise /= self.inflation);
                self.cells = cells(season, blocks, drawn, precisions);
            }
        }
    }
}

/// Cells from observations: shrunk to hours, those to the whole.
fn cells(season: Season, blocks: &Columns, observed: &[f64], weights: &[f64]) -> Vec<Estimate> {
    let groups = Columns::grouped(&blocks.cell, season.cells(), observed.iter().copied(), weights);
    let sum = |of: &mut dyn Iterator<Item = &Group>| {
        of.fold(Group::default(), |all, group| Group { weight: all.weight + group.weight, sum: all.sum + group.sum })
    };
    let whole = sum(&mut groups.iter());
    let whole = Estimate { mean: whole.mean(), variance: 1.0 / whole.weight };
    if season == Season::None {
        return vec![whole];
    }
    let hours: Vec<Group> = (0..24).map(|hour| sum(&mut groups.iter().skip(hour).step_by(24))).collect();
    let hours = shrunk(&hours, &[whole]);
    shrunk(&groups, &hours)
}

/// The variance between groups beyond what their weights tell (DerSimonian and Laird), around means of which so many were taken from them.
pub(super) fn spread<'g>(groups: impl Iterator<Item = (&'g Group, f64)>, taken: usize) -> f64 {
    let (mut q, mut weight, mut squares, mut present) = (0.0, 0.0, 0.0, 0.0);
    for (group, around) in groups.filter(|(group, _)| group.weight > 0.0) {
        q += group.weight * (group.mean() - around).powi(2);
        weight += group.weight;
        squares += group.weight * group.weight;
        present += 1.0;
    }
    let freedom = (present - taken as f64).max(1.0);
    ((q - freedom) / (weight - squares / weight)).max(0.0)
}

/// How much whole days differ beyond their blocks: the deviation's upper limit with the number of days, and what each day has
/// beyond its cells. Days are held against the same days of other weeks; where these are too few to tell, a difference of weekdays
/// counts as one of days.
fn days(
    season: Season,
    blocks: &Columns,
    drawn: &[f64],
    cells: &[Estimate],
    weights: &[f64],
) -> ((f64, f64), Vec<f64>) {
    let off = |of: &dyn Fn(usize) -> f64| -> Vec<Group> {
        let observed = drawn.iter().zip(&blocks.cell).map(|(drawn, cell)| drawn - of(*cell));
        Columns::grouped(&blocks.day, blocks.weekday.len(), observed, weights)
    };
    let groups = off(&|cell| cells[cell].mean);
    let n = groups.len() as f64;
    let mut weekdays = [Group::default(); 7];
    for (weekday, group) in blocks.weekday.iter().zip(&groups) {
        weekdays[*weekday].weight += group.weight;
        weekdays[*weekday].sum += group.sum;
    }
    let repeated = weekdays.iter().filter(|group| group.weight > 0.0).count();
    let mut freedom = n - repeated as f64;
    let variance = if freedom >= 5.0 {
        let around = blocks.weekday.iter().map(|weekday| weekdays[*weekday].mean());
        spread(groups.iter().zip(around), repeated)
    } else {
        let hour: Vec<usize> = blocks.cell.iter().map(|cell| cell % season.hours()).collect();
        let hours = Columns::grouped(&hour, season.hours(), drawn.iter().copied(), weights);
        freedom = n - 1.0;
        spread(off(&|cell| hours[cell % season.hours()].mean()).iter().map(|group| (group, 0.0)), 1)
    };
    let variance = if variance.is_finite() && freedom >= 1.0 { variance } else { 0.0 };
    let upper = (variance * freedom.max(1.0) / chi_square(freedom.max(1.0), -NINETY)).sqrt();
    let shared = groups.iter().map(|group| group.mean() * variance / (variance + 1.0 / group.weight)).collect();
    ((upper, n), shared)
}

/// Hours with what is off their centre: the same hour of all weeks, with fewer than two weeks that of all days.
fn around(blocks: &Columns, observed: &[f64], weights: &[f64]) -> Vec<Hour<1>> {
    let groups = if blocks.weekday.len() >= 14 { 168 } else { 24 };
    let sum = |places: &Range<usize>| {
        let weights = &weights[places.clone()];
        let sum = weights.iter().zip(&observed[places.clone()]).map(|(weight, observed)| weight * observed).sum();
        Group { weight: weights.iter().sum(), sum }
    };
    let own: Vec<Group> = blocks.hours.iter().map(sum).collect();
    let mut centres = vec![Group::default(); groups];
    for (places, own) in blocks.hours.iter().zip(&own) {
        let centre = &mut centres[blocks.cell[places.start] % groups];
        centre.weight += own.weight;
        centre.sum += own.sum;
    }
    let hour = |(places, own): (&Range<usize>, &Group)| {
        let centre = &centres[blocks.cell[places.start] % groups];
        let (at, day) = (blocks.at[places.start], blocks.day[places.start]);
        let sums = [own.sum - own.weight * centre.mean()];
        Hour { at, day, weight: own.weight, taken: own.weight / centre.weight, sums }
    };
    blocks.hours.iter().zip(&own).map(hour).collect()
}

/// Groups drawn towards their parents, as far as groups do not differ.
fn shrunk(groups: &[Group], parents: &[Estimate]) -> Vec<Estimate> {
    let parent = |index: usize| parents[index % parents.len()];
    let spread = spread(groups.iter().enumerate().map(|(index, group)| (group, parent(index).mean)), parents.len());
    let estimate = |(index, group): (usize, &Group)| {
        let parent = parent(index);
        if spread <= 0.0 || !spread.is_finite() {
            return parent;
        }
        let own = group.weight / (group.weight + 1.0 / spread);
        Estimate {
            mean: own * group.mean() + (1.0 - own) * parent.mean,
            variance: 1.0 / (group.weight + 1.0 / spread) + (1.0 - own).powi(2) * parent.variance,
        }
    };
    groups.iter().enumerate().map(estimate).collect()
}

/// Correlation of neighbours in time; what chance makes of none in nine cases of ten is none.
/// With the number of pairs.
fn dependence(residuals: &[f64], follows: &[bool]) -> (f64, f64) {
    let (mut products, mut squares, mut n) = (0.0, 0.0, 0.0f64);
    for (pair, follows) in residuals.windows(2).zip(&follows[1..]) {
        if *follows {
            products += pair[0] * pair[1];
            squares += (pair[0] * pair[0] + pair[1] * pair[1]) / 2.0;
            n += 1.0;
        }
    }
    // Rounding is no dependence.
    let found = if squares > 1e-9 * n { products / squares } else { 0.0 };
    (if found > NINETY / n.max(1.0).sqrt() { found.min(1.0) } else { 0.0 }, n)
}

/// The variance of the mean of many blocks of which neighbours have a correlation, beside that of independent ones.
fn inflation(correlation: f64) -> f64 {
    (1.0 + correlation) / (1.0 - correlation)
}

/// The 90 % upper limit of a correlation of so many pairs (Fisher 1921); none is none.
fn surely_dependent(correlation: f64, n: f64) -> f64 {
    if correlation <= 0.0 { 0.0 } else { (correlation.atanh() + NINETY / (n - 3.0).max(1.0).sqrt()).tanh().min(WALK) }
}

/// The quantile of χ² at the normal point `z` (Wilson and Hilferty 1931).
pub(super) fn chi_square(freedom: f64, z: f64) -> f64 {
    let ninth = 2.0 / (9.0 * freedom);
    freedom * (1.0 - ninth + z * ninth.sqrt()).max(1e-3).powi(3)
}
