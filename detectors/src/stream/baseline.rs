//! What is usual: hour-of-week cells learnt from past blocks.
//!
//! Each block gives one observation y of its cell with variance σ² + s²/n: s² among the block's own values, σ² from block to block beyond
//! that (by moments from the residuals). Cells are shrunk to their hour of the day and hours to the whole by empirical
//! Bayes, with the spread between cells by DerSimonian and Laird's moments (Controlled Clinical Trials 7, 1986): where hours do not differ, all
//! blocks speak for each. Observations further than [`CUT`] deviations from their cell's mean are drawn in to that (Huber), so that an incident inside
//! the reference moves little; known incidents are left out by their times. The band around a cell is as wide as its 95 % limits on either side (of
//! rates Clopper and Pearson's with the cell's effective number), or as the least change that matters, whichever is wider; the variance used is
//! its 90 % upper limit, and so is the correlation of neighbouring blocks where there surely is one.

use leeway_core::clock::{DAY, HOUR, Micros};
use statrs::function::beta::{beta_reg, ln_beta};

use super::block::{BINS, Block, Way};
use super::{Kind, Untestable};

/// Deviations beyond which an observation is drawn in.
const CUT: f64 = 4.0;
/// The normal law's 97.5 %, 95 % and 90 % points: of intervals that are shown, of bands, of variances.
pub(super) const SURE: f64 = 1.959_963_984_540_054;
pub(super) const LIMIT: f64 = 1.644_853_626_951_472_2;
const NINETY: f64 = 1.281_551_565_544_600_4;
const LEAST_EVENTS: u64 = 200;
/// Where fewer than one call in a hundred is a hit, or fewer than [`LEAST_HITS`] are.
const LEAST_RARE: u64 = 1_000;
const LEAST_HITS: f64 = 10.0;
const LEAST_BLOCKS: u64 = 12;
/// Values of all hours that each hour's shares of the bins are mixed with.
const MIXED: f64 = 500.0;
/// More dependence than this is a walk.
const WALK: f64 = 0.95;
const ROUNDS: usize = 4;

/// Whether hours differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Season {
    /// One cell for all time: streams without a clock.
    None,
    /// 168 cells; which hour the week begins with does not matter.
    Week,
}

impl Season {
    fn cells(self) -> usize {
        match self {
            Self::None => 1,
            Self::Week => 168,
        }
    }

    fn hours(self) -> usize {
        self.cells().min(24)
    }

    fn cell(self, at: Micros) -> usize {
        at.div_euclid(HOUR).rem_euclid(self.cells() as i64) as usize
    }
}

/// One cell: what is expected, and between which limits.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Cell {
    mean: f64,
    low: f64,
    high: f64,
    /// Half the width of the mean's own interval.
    error: f64,
    /// Whether any block of the reference was of this cell.
    seen: bool,
}

/// Shares of the bins at one hour of the day.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Shape {
    shares: [f64; BINS],
    /// Values behind them.
    sample: f64,
    /// Upper limits of the shares of the last two bins together, and of the last.
    beyond: [f64; 2],
}

/// A frozen baseline. The same blocks in the same order give the same bits.
#[derive(Debug, Clone, PartialEq)]
pub struct Baseline {
    kind: Kind,
    season: Season,
    cells: Vec<Cell>,
    shapes: Vec<Shape>,
    /// Variance of a value in its block, and of blocks beyond that: upper limits.
    within: f64,
    between: f64,
    /// Correlation of neighbouring blocks.
    dependence: f64,
    /// How much more than a multinomial's the bins' counts vary, in each way.
    dispersion: [f64; Way::ALL.len()],
    /// How far whole days lie along each way, in deviations of a value: its standard deviation, the upper limit.
    wander: [f64; Way::ALL.len()],
    /// Of a number of calls: effective calls by call.
    thinning: f64,
    /// The least change that matters, as a factor.
    least: f64,
    pub events: f64,
    pub blocks: u64,
}

/// The estimate of one cell.
#[derive(Debug, Clone, Copy, Default)]
struct Estimate {
    mean: f64,
    variance: f64,
}

/// Observations of one group: the sum of their weights, and their weighted mean.
#[derive(Debug, Clone, Copy, Default)]
struct Group {
    weight: f64,
    sum: f64,
}

impl Group {
    fn mean(&self) -> f64 {
        if self.weight > 0.0 { self.sum / self.weight } else { 0.0 }
    }
}

/// What the rounds settle.
struct Fit {
    cells: Vec<Estimate>,
    between: f64,
    dependence: f64,
    /// Neighbours that it is of.
    pairs: f64,
    /// Numbers that the cells took from the observations.
    taken: f64,
    /// Sum of squared standardised residuals.
    squares: f64,
    /// Standard deviation of whole days beyond that of their blocks, its 90 % upper limit, and how many days there were.
    days: (f64, f64),
}

impl Baseline {
    /// Learns from blocks in order of time; those that begin within an excluded stretch are left out. Changes up to `least`,
    /// relative to what is usual (of [`Kind::Means`] in their own unit), are within the band.
    pub fn learn(
        kind: Kind,
        season: Season,
        least: f64,
        blocks: &[Block],
        excluded: &[(Micros, Micros)],
    ) -> Result<Self, Untestable> {
        let counts =
            |block: &&Block| block.n > 0.0 && !excluded.iter().any(|(from, to)| (*from..*to).contains(&block.at));
        let mut blocks: Vec<Block> = blocks.iter().filter(counts).copied().collect();
        let (events, within) = suffices(kind, season, &blocks)?;
        let came: f64 = blocks.iter().map(|block| block.mean.exp()).sum();
        if kind == Kind::Volume {
            // Weighed by what is expected: by what came, quiet blocks would count for less.
            let usual = events / blocks.len() as f64;
            blocks.iter_mut().for_each(|block| block.n = usual);
        }
        let blocks: Vec<&Block> = blocks.iter().collect();
        let fit = Fit::of(season, &blocks, within);
        if fit.dependence >= WALK {
            return Err(Untestable::Walk);
        }
        let n = blocks.len() as f64;
        let freedom = (n - fit.taken).max(1.0);
        // Where blocks vary no more than their values make them, there are as many witnesses as values.
        let plain = fit.squares <= chi_square(freedom, NINETY) && events > 2.0 * n;
        let witnesses = if plain { events - n } else { freedom };
        let upper = witnesses / chi_square(witnesses, -NINETY);
        let (mut within, mut between) = (within, if plain { 0.0 } else { fit.between });
        let mut seen = vec![false; season.cells()];
        blocks.iter().for_each(|block| seen[season.cell(block.at)] = true);
        let band = Band { kind, within, days: fit.days, least };
        let cells = fit.cells.iter().zip(seen).map(|(cell, seen)| Cell { seen, ..band.limits(*cell) }).collect();
        if kind != Kind::Rate {
            (within, between) = (within * upper, between * upper);
        }
        let mut baseline = Self {
            kind,
            season,
            cells,
            shapes: Vec::new(),
            within,
            between,
            dependence: surely_dependent(fit.dependence, fit.pairs),
            dispersion: [1.0; Way::ALL.len()],
            wander: [0.0; Way::ALL.len()],
            thinning: if kind == Kind::Volume { (events / came).min(1.0) } else { 1.0 },
            least: 1.0 + least,
            events,
            blocks: blocks.len() as u64,
        };
        if kind == Kind::Values {
            baseline.bins(&blocks);
        }
        Ok(baseline)
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    fn cell(&self, at: Micros) -> &Cell {
        &self.cells[self.season.cell(at)]
    }

    /// Whether this hour was ever seen: another is not held against anything.
    pub fn knows(&self, at: Micros) -> bool {
        self.cell(at).seen
    }

    /// Bytes that it takes.
    pub fn size(&self) -> usize {
        size_of::<Self>() + size_of_val(&self.cells[..]) + size_of_val(&self.shapes[..])
    }

    /// What is expected of a block, and the half width of its 95 % interval.
    pub fn usual(&self, at: Micros) -> (f64, f64) {
        let cell = self.cell(at);
        (cell.mean, cell.error)
    }

    /// Levels that are nothing unusual.
    pub fn band(&self, at: Micros) -> (f64, f64) {
        let cell = self.cell(at);
        (cell.low, cell.high)
    }

    /// Standard deviation of the block's mean; of a number of events it is that of what is expected.
    pub fn deviation(&self, block: &Block) -> f64 {
        let n =
            if self.kind == Kind::Volume { (self.cell(block.at).mean.exp() * self.thinning).max(0.5) } else { block.n };
        (self.between + self.within / n).sqrt()
    }

    /// By how much logarithms of likelihood ratios shrink for the dependence of blocks.
    pub fn independent(&self) -> f64 {
        (1.0 - self.dependence) / (1.0 + self.dependence)
    }

    /// The same of a block of calls, whose hits also vary more than a binomial's.
    pub fn share(&self, block: &Block) -> f64 {
        self.independent() / (1.0 + self.between * block.n / self.within)
    }

    /// The same of a block's bins, in one way.
    pub fn shape_share(&self, way: Way) -> f64 {
        self.independent() / self.dispersion[way as usize]
    }

    /// How far along a way whole days lie, in deviations of a value.
    pub fn wander(&self, way: Way) -> f64 {
        self.wander[way as usize]
    }

    /// Shares of the bins, and how many values they come from.
    pub fn shares(&self, at: Micros) -> (&[f64; BINS], f64) {
        let shape = self.shape(at);
        (&shape.shares, shape.sample)
    }

    /// Upper limit of the share of values in the last two bins, or in the last one.
    pub fn beyond(&self, at: Micros, last: bool) -> f64 {
        self.shape(at).beyond[usize::from(last)]
    }

    fn shape(&self, at: Micros) -> &Shape {
        &self.shapes[self.season.cell(at) % self.season.hours()]
    }

    /// Shares of the bins by hour of the day, and how much more than by chance blocks differ in them.
    fn bins(&mut self, blocks: &[&Block]) {
        let hours = self.season.hours();
        let mut counts = vec![[0.0; BINS]; hours];
        let mut all = [0.0; BINS];
        for block in blocks {
            let hour = &mut counts[self.season.cell(block.at) % hours];
            for ((hour, all), count) in hour.iter_mut().zip(&mut all).zip(&block.bins) {
                *hour += count;
                *all += count;
            }
        }
        let total: f64 = all.iter().sum();
        let overall = all.map(|count| (count + 0.5) / (total + 0.5 * BINS as f64));
        let mixed = MIXED.min(total);
        let shares = |counts: &[f64; BINS]| {
            let n: f64 = counts.iter().sum();
            let mut shares = [0.0; BINS];
            for ((share, count), overall) in shares.iter_mut().zip(counts).zip(&overall) {
                *share = (count + mixed * overall) / (n + mixed).max(1.0);
            }
            let sample = if hours == 1 { total } else { (n + mixed).min(total) };
            (if hours == 1 { overall } else { shares }, sample.max(1.0))
        };
        let known: Vec<([f64; BINS], f64)> = counts.iter().map(shares).collect();
        let scores = |way: Way| -> Vec<(Micros, f64, f64)> {
            let hour = |block: &Block| &known[self.season.cell(block.at) % hours].0;
            let score = |block: &&Block| way.score(&block.bins, hour(block)).map(|(sum, n)| (block.at, sum, n));
            blocks.iter().filter_map(score).collect()
        };
        let scores = Way::ALL.map(scores);
        let excesses = dispersions(&scores);
        for ((way, scores), excess) in Way::ALL.into_iter().zip(&scores).zip(excesses) {
            self.dispersion[way as usize] = excess;
            self.wander[way as usize] = if self.season == Season::Week { wander(scores, excess) } else { 0.0 };
        }
        let shape = |(shares, sample): ([f64; BINS], f64)| {
            let upper = |way: Way, from: usize| {
                let share: f64 = shares[from..].iter().sum();
                let sample = sample * self.independent() / self.dispersion[way as usize];
                let day = 2.0 * self.wander[way as usize] * (share * (1.0 - share)).sqrt();
                let upper = beta_quantile(share * sample + 1.0, (1.0 - share) * sample, LIMIT) + day;
                upper.max(share * self.least).min(0.999)
            };
            Shape { shares, sample, beyond: [upper(Way::Tail, BINS - 2), upper(Way::FarTail, BINS - 1)] }
        };
        self.shapes = known.into_iter().map(shape).collect();
    }
}

/// Whether the reference can be learnt from; its number of values and their variance within blocks.
fn suffices(kind: Kind, season: Season, blocks: &[Block]) -> Result<(f64, f64), Untestable> {
    let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else { return Err(Untestable::NoReference) };
    let finite = |block: &Block| block.n.is_finite() && block.mean.is_finite() && block.squares.is_finite();
    if !blocks.iter().all(finite) {
        return Err(Untestable::NotFinite);
    }
    let events: f64 = blocks.iter().map(|block| block.n).sum();
    let hits: f64 = blocks.iter().map(|block| block.n * block.mean).sum();
    let rare = kind == Kind::Rate && hits.min(events - hits) < LEAST_HITS.max(0.01 * events);
    let needed = if rare { LEAST_RARE } else { LEAST_EVENTS };
    if events < needed as f64 {
        return Err(Untestable::TooFew { events: events as u64, needed });
    }
    if (blocks.len() as u64) < LEAST_BLOCKS {
        return Err(Untestable::TooFewBlocks { blocks: blocks.len() as u64, needed: LEAST_BLOCKS });
    }
    let hours = (last.at - first.at) / HOUR;
    if season == Season::Week && hours < 23 {
        return Err(Untestable::TooYoung { hours: hours as u64 });
    }
    if matches!(kind, Kind::Values | Kind::Means)
        && blocks.iter().all(|block| block.squares == 0.0 && block.mean == first.mean)
    {
        return Err(Untestable::Alike);
    }
    let within = match kind {
        Kind::Rate => {
            let p = (hits + 0.5) / (events + 1.0);
            p * (1.0 - p)
        }
        Kind::Volume => 1.0,
        Kind::Values | Kind::Means => {
            let (squares, freedom) = blocks.iter().fold((0.0, 0.0), |(squares, freedom), block| {
                (squares + block.squares, freedom + (block.n - 1.0).max(0.0))
            });
            if freedom > 0.0 { squares / freedom } else { 0.0 }
        }
    };
    Ok((events, within))
}

impl Fit {
    fn of(season: Season, blocks: &[&Block], within: f64) -> Self {
        let n = blocks.len() as f64;
        let whole: f64 = blocks.iter().map(|block| block.mean).sum::<f64>() / n;
        let spread = blocks.iter().map(|block| (block.mean - whole).powi(2)).sum::<f64>() / n;
        // Weights stay finite where a cell explains all.
        let least = 1e-12 * (spread + within);
        let mut drawn: Vec<f64> = blocks.iter().map(|block| block.mean).collect();
        // Without values' own variance, blocks' spread is all there is to weigh them by.
        let mut fit = Self {
            cells: Vec::new(),
            between: if within > 0.0 { 0.0 } else { spread },
            dependence: 0.0,
            pairs: 0.0,
            taken: 1.0,
            squares: 0.0,
            days: (0.0, 1.0),
        };
        // What each block's day has beyond its cells.
        let mut shared = vec![0.0; blocks.len()];
        for _ in 0..ROUNDS {
            let variance = |block: &Block, between: f64| (between + within / block.n).max(least);
            let independent = (1.0 - fit.dependence) / (1.0 + fit.dependence);
            let weights: Vec<f64> = blocks.iter().map(|block| independent / variance(block, fit.between)).collect();
            fit.cells = cells(season, blocks, &drawn, &weights);
            let mut residuals = Vec::with_capacity(blocks.len());
            (fit.taken, fit.squares) = (0.0, 0.0);
            let (mut beyond, mut sampling) = (0.0, 0.0);
            for (((block, drawn), weight), shared) in blocks.iter().zip(&mut drawn).zip(&weights).zip(&shared) {
                let cell = fit.cells[season.cell(block.at)];
                let deviation = variance(block, fit.between).sqrt();
                let middle = cell.mean + shared;
                *drawn = block.mean.clamp(middle - CUT * deviation, middle + CUT * deviation);
                let off = *drawn - middle;
                residuals.push((block.at, off / deviation));
                fit.taken += (cell.variance * weight / independent).min(1.0);
                fit.squares += off * off * block.n / within.max(f64::MIN_POSITIVE);
                beyond += off * off;
                sampling += within / block.n;
            }
            let freedom = (n - fit.taken).max(1.0);
            fit.between = (beyond / freedom - sampling / n).max(0.0);
            (fit.dependence, fit.pairs) = dependence(&residuals);
            if season == Season::Week {
                (fit.days, shared) = days(season, blocks, &drawn, &fit.cells, &weights);
            }
        }
        fit
    }
}

/// Cells from observations: shrunk to hours, those to the whole.
fn cells(season: Season, blocks: &[&Block], observed: &[f64], weights: &[f64]) -> Vec<Estimate> {
    let mut groups = vec![Group::default(); season.cells()];
    for ((block, value), weight) in blocks.iter().zip(observed).zip(weights) {
        let group = &mut groups[season.cell(block.at)];
        group.weight += weight;
        group.sum += weight * value;
    }
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
fn spread<'g>(groups: impl Iterator<Item = (&'g Group, f64)>, taken: usize) -> f64 {
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

/// How much whole days differ beyond their blocks: the deviation's upper limit with the number of days, and what each block's day has
/// beyond its cells. Days are held against the same days of other weeks; where these are too few to tell, a difference of weekdays
/// counts as one of days.
fn days(
    season: Season,
    blocks: &[&Block],
    drawn: &[f64],
    cells: &[Estimate],
    weights: &[f64],
) -> ((f64, f64), Vec<f64>) {
    let by_day = |off: &dyn Fn(usize) -> f64| {
        let mut groups: Vec<(i64, Group)> = Vec::new();
        for (place, (block, weight)) in blocks.iter().zip(weights).enumerate() {
            let day = block.at.div_euclid(DAY);
            if groups.last().is_none_or(|(last, _)| *last != day) {
                groups.push((day, Group::default()));
            }
            if let Some((_, group)) = groups.last_mut() {
                group.weight += weight;
                group.sum += weight * off(place);
            }
        }
        groups
    };
    let groups = by_day(&|place| drawn[place] - cells[season.cell(blocks[place].at)].mean);
    let n = groups.len() as f64;
    let mut weekdays = [Group::default(); 7];
    let weekday = |day: i64| day.rem_euclid(7) as usize;
    for (day, group) in &groups {
        weekdays[weekday(*day)].weight += group.weight;
        weekdays[weekday(*day)].sum += group.sum;
    }
    let repeated = weekdays.iter().filter(|group| group.weight > 0.0).count();
    let mut freedom = n - repeated as f64;
    let variance = if freedom >= 5.0 {
        spread(groups.iter().map(|(day, group)| (group, weekdays[weekday(*day)].mean())), repeated)
    } else {
        let mut hours = vec![Group::default(); season.hours()];
        let hour = |at: Micros| season.cell(at) % season.hours();
        for ((block, value), weight) in blocks.iter().zip(drawn).zip(weights) {
            hours[hour(block.at)].weight += weight;
            hours[hour(block.at)].sum += weight * value;
        }
        freedom = n - 1.0;
        spread(
            by_day(&|place| drawn[place] - hours[hour(blocks[place].at)].mean()).iter().map(|(_, group)| (group, 0.0)),
            1,
        )
    };
    let variance = if variance.is_finite() && freedom >= 1.0 { variance } else { 0.0 };
    let upper = (variance * freedom.max(1.0) / chi_square(freedom.max(1.0), -NINETY)).sqrt();
    let of = |group: &Group| group.mean() * variance / (variance + 1.0 / group.weight);
    let mut place = 0;
    let shared = blocks.iter().map(|block| {
        while groups[place].0 != block.at.div_euclid(DAY) {
            place += 1;
        }
        of(&groups[place].1)
    });
    ((upper, n), shared.collect())
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
fn dependence(residuals: &[(Micros, f64)]) -> (f64, f64) {
    let step = residuals.windows(2).map(|pair| pair[1].0 - pair[0].0).min().unwrap_or(0);
    let (mut products, mut squares, mut n) = (0.0, 0.0, 0.0f64);
    for pair in residuals.windows(2).filter(|pair| pair[1].0 - pair[0].0 == step) {
        products += pair[0].1 * pair[1].1;
        squares += (pair[0].1.powi(2) + pair[1].1.powi(2)) / 2.0;
        n += 1.0;
    }
    // Rounding is no dependence.
    let found = if squares > 1e-9 * n { products / squares } else { 0.0 };
    (if found > NINETY / n.max(1.0).sqrt() { found.min(1.0) } else { 0.0 }, n)
}

/// The 90 % upper limit of a correlation of so many pairs (Fisher 1921); none is none.
fn surely_dependent(correlation: f64, n: f64) -> f64 {
    if correlation <= 0.0 { 0.0 } else { (correlation.atanh() + NINETY / (n - 3.0).max(1.0).sqrt()).tanh().min(WALK) }
}

/// What the bands of all cells have in common.
struct Band {
    kind: Kind,
    within: f64,
    /// The deviation of whole days, and how many there were.
    days: (f64, f64),
    least: f64,
}

impl Band {
    /// The band of a cell. A day's own level is within it: twice the deviation of days.
    fn limits(&self, cell: Estimate) -> Cell {
        let (day, days) = self.days;
        let variance = cell.variance + day * day / (days / 7.0).max(1.0);
        let (mean, error) = (cell.mean, SURE * variance.sqrt());
        let (up, down) = (1.0 + self.least, 1.0 - self.least);
        match self.kind {
            Kind::Values | Kind::Volume => {
                let unsure = LIMIT * variance.sqrt() + 2.0 * day;
                // Nothing falls by more than all of it.
                let fall = if down > 0.0 { -down.ln() } else { f64::INFINITY };
                Cell { mean, low: mean - unsure.max(fall), high: mean + unsure.max(up.ln()), error, seen: false }
            }
            Kind::Means => {
                let beyond = (LIMIT * variance.sqrt() + 2.0 * day).max(self.least);
                Cell { mean, low: mean - beyond, high: mean + beyond, error, seen: false }
            }
            Kind::Rate => {
                let mean = mean.clamp(0.0, 1.0);
                let n = self.within / variance;
                let hits = mean * n;
                let high = beta_quantile(hits + 1.0, (n - hits).max(1e-9), LIMIT) + 2.0 * day;
                let low = if hits < 1e-9 { 0.0 } else { beta_quantile(hits, n - hits + 1.0, -LIMIT) - 2.0 * day };
                // The least change is one of hits, and of misses where these are the rarer ones.
                let most = (mean * up).min(1.0 - (1.0 - mean) / up);
                let least = (mean * down).max(1.0 - (1.0 - mean) / down.max(1e-9));
                Cell {
                    mean,
                    low: low.min(least).clamp(1e-12, 1.0 - 1e-9),
                    high: high.max(most).clamp(1e-9, 1.0 - 1e-12),
                    error,
                    seen: false,
                }
            }
        }
    }
}

/// How much more than a multinomial's the scores of each way vary: upper limits. Where none surely does, none does; where one does, what makes
/// it vary (values that depend on one another) may be in all.
fn dispersions(scores: &[Vec<(Micros, f64, f64)>; Way::ALL.len()]) -> [f64; Way::ALL.len()] {
    let squares = scores.each_ref().map(|scores| {
        scores.iter().fold((0.0, 0.0), |(sum, n): (f64, f64), (_, score, of)| (sum + score * score / of, n + 1.0))
    });
    if squares.iter().any(|(sum, n)| *n > 0.0 && *sum > chi_square(*n, NINETY)) {
        squares.map(|(sum, n)| (sum / chi_square(n.max(1.0), -NINETY)).max(1.0))
    } else {
        [1.0; Way::ALL.len()]
    }
}

/// The deviation of whole days' mean scores beyond that of their blocks, its upper limit; 0 where there are too few days.
fn wander(scores: &[(Micros, f64, f64)], excess: f64) -> f64 {
    let mut groups: Vec<(i64, Group)> = Vec::new();
    for (at, sum, n) in scores {
        let day = at.div_euclid(DAY);
        if groups.last().is_none_or(|(last, _)| *last != day) {
            groups.push((day, Group::default()));
        }
        if let Some((_, group)) = groups.last_mut() {
            group.weight += n / excess;
            group.sum += sum / excess;
        }
    }
    let freedom = groups.len() as f64 - 1.0;
    let variance = spread(groups.iter().map(|(_, group)| (group, 0.0)), 1);
    if freedom < 1.0 || !variance.is_finite() {
        0.0
    } else {
        (variance * freedom / chi_square(freedom, -NINETY)).sqrt()
    }
}

/// The quantile of χ² at the normal point `z` (Wilson and Hilferty 1931).
fn chi_square(freedom: f64, z: f64) -> f64 {
    let ninth = 2.0 / (9.0 * freedom);
    freedom * (1.0 - ninth + z * ninth.sqrt()).max(1e-3).powi(3)
}

/// The quantile of Beta(a, b) at the normal point `z`: Abramowitz and Stegun 26.5.22, then Newton's steps.
fn beta_quantile(a: f64, b: f64, z: f64) -> f64 {
    let target = 1.0 - leeway_core::special::normal_tail(z);
    let mut x = if a > 1.0 && b > 1.0 {
        let (lambda, ta, tb) = ((z * z - 3.0) / 6.0, 1.0 / (2.0 * a - 1.0), 1.0 / (2.0 * b - 1.0));
        let h = 2.0 / (ta + tb);
        let w = z * (h + lambda).max(0.0).sqrt() / h - (tb - ta) * (lambda + 5.0 / 6.0 - 2.0 / (3.0 * h));
        // The book's w is of the upper point.
        a / (a + b * (-2.0 * w).exp())
    } else {
        a / (a + b)
    };
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        x = x.clamp(1e-300, 1.0 - 1e-16);
        let off = beta_reg(a, b, x) - target;
        if off > 0.0 {
            high = x
        } else {
            low = x
        }
        let density = ((a - 1.0) * x.ln() + (b - 1.0) * (-x).ln_1p() - ln_beta(a, b)).exp();
        let next = x - off / density;
        let next = if next > low && next < high { next } else { (low + high) / 2.0 };
        if (next - x).abs() <= 1e-12 * x {
            return next;
        }
        x = next;
    }
    x
}
