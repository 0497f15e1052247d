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

use super::block::{BINS, Block, Scales, WAYS, Way};
use super::codes::{Codes, Round};
use super::level::Excess;
use super::{Kind, Untestable, beta};

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

/// What is expected in each cell, and between which limits.
#[derive(Debug, Clone, PartialEq)]
struct Cells {
    mean: Codes<u16>,
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

/// Shares of the bins by hour of the day, each as a multiple of the share at all hours.
#[derive(Debug, Clone, PartialEq)]
struct Shapes {
    all: [f32; BINS],
    /// Logarithms: what the step takes from a share is the same part of each.
    multiples: Codes<u16>,
    /// The logarithm of the number of values behind the shares of an hour, rounded down.
    sample: Codes<u16>,
    /// Upper limits of the shares of the last two bins together, and of the last.
    beyond: Codes<u16>,
}

/// A frozen baseline. The same blocks in the same order give the same bits.
#[derive(Debug, Clone, PartialEq)]
pub struct Baseline {
    kind: Kind,
    season: Season,
    cells: Cells,
    /// Of values alone.
    shapes: Option<Shapes>,
    /// Of means: by how much each tilt of `level` pays more than by the normal law.
    excess: Option<Box<Excess>>,
    /// Variance of a value in its block, and of blocks beyond that: upper limits.
    within: f64,
    between: f64,
    /// Correlation of neighbouring blocks.
    dependence: f64,
    /// How much more than a multinomial's the bins' counts vary, in each way.
    dispersion: [f64; WAYS],
    /// How far whole days lie along each way, in deviations of a value: its standard deviation, the upper limit.
    wander: [f64; WAYS],
    /// Of a number of calls: effective calls by call.
    thinning: f64,
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
    /// What each day has beyond its cells.
    shared: Vec<f64>,
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
        let blocks: Vec<&Block> = blocks.iter().filter(counts).collect();
        let sums = Sums::of(&blocks);
        let kind = if kind == Kind::Means && sums.yes_or_no { Kind::YesNo } else { kind };
        let (events, within) = (sums.events, sums.suffice(kind, season, &blocks)?);
        let mut columns = Columns::of(season, &blocks);
        let (n, mut thinning) = (blocks.len() as f64, 1.0);
        if kind == Kind::Volume {
            let came: f64 = blocks.iter().map(|block| block.mean.exp()).sum();
            thinning = (events / came).min(1.0);
            // Weighed by what is expected: by what came, quiet blocks would count for less.
            columns.n.fill(events / n);
        }
        let fit = Fit::of(season, &columns, within);
        if fit.dependence >= WALK {
            return Err(Untestable::Walk);
        }
        let freedom = (n - fit.taken).max(1.0);
        // Where blocks vary no more than their values make them, there are as many witnesses as values.
        let plain = fit.squares <= chi_square(freedom, NINETY) && events > 2.0 * n;
        let witnesses = if plain { events - n } else { freedom };
        let upper = witnesses / chi_square(witnesses, -NINETY);
        let (mut within, mut between) = (within, if plain { 0.0 } else { fit.between });
        let cells = Cells::of(kind, &fit.cells, &columns.cell, (within, least), fit.days);
        if !matches!(kind, Kind::Rate | Kind::YesNo) {
            (within, between) = (within * upper, between * upper);
        }
        let mut baseline = Self {
            kind,
            season,
            cells,
            shapes: None,
            excess: None,
            within,
            between,
            dependence: surely_dependent(fit.dependence, fit.pairs),
            dispersion: [1.0; WAYS],
            wander: [0.0; WAYS],
            thinning,
            events,
            blocks: blocks.len() as u64,
        };
        if kind == Kind::Values {
            baseline.bins(&blocks, &columns, least);
        }
        if kind == Kind::Means {
            baseline.excess = Some(Box::new(super::level::excess(&blocks, &columns.day, &fit.shared, &baseline)));
        }
        Ok(baseline)
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether this hour was ever seen: another is not held against anything.
    pub fn knows(&self, at: Micros) -> bool {
        self.cells.seen(self.season.cell(at))
    }

    /// Bytes that it takes.
    pub fn size(&self) -> usize {
        let excess = self.excess.as_ref().map_or(0, |_| size_of::<Excess>());
        size_of::<Self>() + self.cells.size() + self.shapes.as_ref().map_or(0, Shapes::size) + excess
    }

    /// What is expected of a block, and the half width of its 95 % interval.
    pub fn usual(&self, at: Micros) -> (f64, f64) {
        let cell = self.season.cell(at);
        (self.cells.mean.get(cell), self.cells.error(cell))
    }

    /// Levels that are nothing unusual.
    pub fn band(&self, at: Micros) -> (f64, f64) {
        self.cells.band(self.season.cell(at))
    }

    /// Standard deviation of the block's mean; of a number of events it is that of what is expected.
    pub fn deviation(&self, block: &Block) -> f64 {
        let n =
            if self.kind == Kind::Volume { (self.usual(block.at).0.exp() * self.thinning).max(0.5) } else { block.n };
        (self.between + self.within / n).sqrt()
    }

    /// Variance of a value in its block.
    pub fn within(&self) -> f64 {
        self.within
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

    /// By how much a tilt of `level` pays more than by the normal law, as a logarithm.
    pub fn excess(&self, tilt: usize) -> f64 {
        self.excess.as_ref().map_or(0.0, |excess| excess[tilt])
    }

    /// Shares of the bins, and how many values they come from.
    pub fn shares(&self, at: Micros) -> ([f64; BINS], f64) {
        self.shapes.as_ref().map_or(([1.0 / BINS as f64; BINS], 1.0), |shapes| shapes.shares(self.hour(at)))
    }

    /// By how much a share may be off, as a part of it, since it is kept in sixteen bits.
    pub fn grain(&self) -> f64 {
        self.shapes.as_ref().map_or(0.0, |shapes| (shapes.multiples.step() / 2.0).exp_m1())
    }

    /// Upper limit of the share of values in the last two bins, or in the last one.
    pub fn beyond(&self, at: Micros, last: bool) -> f64 {
        self.shapes.as_ref().map_or(1.0, |shapes| shapes.beyond.get(2 * self.hour(at) + usize::from(last)))
    }

    fn hour(&self, at: Micros) -> usize {
        self.season.cell(at) % self.season.hours()
    }

    /// Shares of the bins by hour of the day, and how much more than by chance blocks differ in them.
    fn bins(&mut self, blocks: &[&Block], columns: &Columns, least: f64) {
        let hours = self.season.hours();
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
        self.dispersion = scores.dispersion();
        if self.season == Season::Week {
            self.wander = Way::ALL.map(|way| scores.wander(way, self.dispersion[way as usize]));
        }
        let mut beyond = Vec::with_capacity(2 * hours);
        for (shares, sample) in shares.iter().zip(&samples) {
            for (way, from) in [(Way::Tail, BINS - 2), (Way::FarTail, BINS - 1)] {
                let share: f64 = shares[from..].iter().sum();
                let sample = sample * self.independent() / self.dispersion[way as usize];
                let day = 2.0 * self.wander[way as usize] * (share * (1.0 - share)).sqrt();
                let upper = beta::quantile(share * sample + 1.0, (1.0 - share) * sample, LIMIT) + day;
                beyond.push(upper.max(share * (1.0 + least)).min(0.999));
            }
        }
        let multiples: Vec<f64> = shares
            .iter()
            .flat_map(|shares| std::array::from_fn::<f64, BINS, _>(|bin| (shares[bin] / f64::from(all[bin])).ln()))
            .collect();
        self.shapes = Some(Shapes {
            all,
            multiples: Codes::of(&multiples, Round::Nearest),
            sample: Codes::of(&samples.iter().map(|sample| sample.ln()).collect::<Vec<_>>(), Round::Down),
            beyond: Codes::of(&beyond, Round::Up),
        });
    }
}

/// What blocks add up to.
#[derive(Default)]
struct Sums {
    finite: bool,
    /// Every block has one and the same value.
    alike: bool,
    /// Every value is 0 or 1: then squares are what the mean says.
    yes_or_no: bool,
    events: f64,
    hits: f64,
    squares: f64,
    freedom: f64,
}

impl Sums {
    fn of(blocks: &[&Block]) -> Self {
        let first = blocks.first().map_or(0.0, |block| block.mean);
        let mut sums = Self { finite: true, alike: true, yes_or_no: true, ..Self::default() };
        for Block { n, mean, squares, .. } in blocks {
            sums.finite &= (n + mean + squares).is_finite();
            sums.alike &= *squares == 0.0 && *mean == first;
            // Sums are kept in millionths.
            sums.yes_or_no &= (squares - n * mean * (1.0 - mean)).abs() <= 3e-6 * n && (0.0..=1.0).contains(mean);
            sums.events += n;
            sums.hits += n * mean;
            sums.squares += squares;
            sums.freedom += (n - 1.0).max(0.0);
        }
        sums
    }

    /// Whether the reference can be learnt from; its values' variance within blocks.
    fn suffice(&self, kind: Kind, season: Season, blocks: &[&Block]) -> Result<f64, Untestable> {
        let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else { return Err(Untestable::NoReference) };
        if !self.finite {
            return Err(Untestable::NotFinite);
        }
        let Self { events, hits, .. } = *self;
        let share = matches!(kind, Kind::Rate | Kind::YesNo);
        let rare = share && hits.min(events - hits) < LEAST_HITS.max(0.01 * events);
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
        if matches!(kind, Kind::Values | Kind::Means) && self.alike {
            return Err(Untestable::Alike);
        }
        Ok(match kind {
            Kind::Rate | Kind::YesNo => {
                let p = (hits + 0.5) / (events + 1.0);
                p * (1.0 - p)
            }
            Kind::Volume => 1.0,
            Kind::Values | Kind::Means if self.freedom > 0.0 => self.squares / self.freedom,
            Kind::Values | Kind::Means => 0.0,
        })
    }
}

/// Blocks by column: what the rounds read again and again.
struct Columns {
    at: Vec<Micros>,
    mean: Vec<f64>,
    n: Vec<f64>,
    cell: Vec<usize>,
    /// Number of the block's day among the days that have any; and of each of these the day of the week.
    day: Vec<usize>,
    weekday: Vec<usize>,
    /// Whether the block before is its neighbour in time.
    follows: Vec<bool>,
}

impl Columns {
    fn of(season: Season, blocks: &[&Block]) -> Self {
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
        Self {
            mean: blocks.iter().map(|block| block.mean).collect(),
            n: blocks.iter().map(|block| block.n).collect(),
            cell: at.iter().map(|at| season.cell(*at)).collect(),
            weekday: days.into_iter().map(|day: i64| day.rem_euclid(7) as usize).collect(),
            day,
            follows,
            at,
        }
    }

    fn len(&self) -> usize {
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
    fn of(season: Season, blocks: &Columns, within: f64) -> Self {
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
        fit
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

/// The 90 % upper limit of a correlation of so many pairs (Fisher 1921); none is none.
fn surely_dependent(correlation: f64, n: f64) -> f64 {
    if correlation <= 0.0 { 0.0 } else { (correlation.atanh() + NINETY / (n - 3.0).max(1.0).sqrt()).tanh().min(WALK) }
}

impl Cells {
    /// `days`: the deviation of whole days, and how many there were.
    fn of(kind: Kind, estimates: &[Estimate], seen: &[usize], (within, least): (f64, f64), days: (f64, f64)) -> Self {
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

    fn seen(&self, cell: usize) -> bool {
        self.seen[cell / 64] & (1 << (cell % 64)) != 0
    }

    fn error(&self, cell: usize) -> f64 {
        self.error.get(cell).exp()
    }

    fn band(&self, cell: usize) -> (f64, f64) {
        match &self.band {
            Band::Around { day, down, up } => {
                let (mean, unsure) = (self.mean.get(cell), LIMIT / SURE * self.error(cell) + 2.0 * day);
                (mean - unsure.max(*down), mean + unsure.max(*up))
            }
            Band::Between { low, high } => (low.get(cell).max(1e-12), high.get(cell).min(1.0 - 1e-12)),
        }
    }

    fn size(&self) -> usize {
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

impl Shapes {
    /// The shares of an hour, and how many values they come from.
    fn shares(&self, hour: usize) -> ([f64; BINS], f64) {
        let share = |bin: usize| f64::from(self.all[bin]) * self.multiples.get(hour * BINS + bin).exp();
        (std::array::from_fn(share), self.sample.get(hour).exp())
    }

    fn size(&self) -> usize {
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
}

impl Scores {
    fn of(blocks: &[&Block], columns: &Columns, shares: &[[f64; BINS]]) -> Self {
        let scales: Vec<Scales> = shares.iter().map(Scales::of).collect();
        let days = vec![(0.0, [0.0; WAYS]); columns.weekday.len()];
        let mut scores = Self { squares: [0.0; WAYS], blocks: 0.0, days };
        for ((block, cell), day) in blocks.iter().zip(&columns.cell).zip(&columns.day) {
            let (sums, n) = scales[cell % shares.len()].score(&block.bins);
            if n <= 0.0 {
                continue;
            }
            scores.blocks += 1.0;
            let ((weight, of_day), one) = (&mut scores.days[*day], 1.0 / n);
            *weight += n;
            for way in 0..WAYS {
                scores.squares[way] += sums[way] * sums[way] * one;
                of_day[way] += sums[way];
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

/// The quantile of χ² at the normal point `z` (Wilson and Hilferty 1931).
fn chi_square(freedom: f64, z: f64) -> f64 {
    let ninth = 2.0 / (9.0 * freedom);
    freedom * (1.0 - ninth + z * ninth.sqrt()).max(1e-3).powi(3)
}
