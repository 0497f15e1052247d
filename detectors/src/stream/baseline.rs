//! What is usual: hour-of-week cells learnt from past blocks.
//!
//! Each block gives one observation y of its cell with variance σ² + s²/n: s² among the block's own values, σ² from block to block beyond
//! that (by moments from the residuals). Cells are shrunk to their hour of the day and hours to the whole by empirical
//! Bayes, with the spread between cells by DerSimonian and Laird's moments (Controlled Clinical Trials 7, 1986): where hours do not differ, all
//! blocks speak for each. Observations further than four deviations from their cell's mean are drawn in to that (Huber), so that an incident inside
//! the reference moves little; known incidents are left out by their times. The band around a cell is as wide as its 95 % limits on either side (of
//! rates Clopper and Pearson's with the cell's effective number), or as the least change that matters, whichever is wider; the variance used is
//! its 90 % upper limit, and so is the correlation of neighbouring blocks where there surely is one.

use leeway_core::clock::{HOUR, Micros};

use super::block::{BINS, Block, Way};
use super::cells::Cells;
use super::fit::{Columns, Fit, NINETY, WALK, chi_square};
use super::level::Excess;
use super::shapes::Shapes;
use super::{Kind, Untestable};

const LEAST_EVENTS: u64 = 200;
/// Where fewer than one call in a hundred is a hit, or fewer than [`LEAST_HITS`] are.
const LEAST_RARE: u64 = 1_000;
const LEAST_HITS: f64 = 10.0;
const LEAST_BLOCKS: u64 = 12;

/// Whether hours differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Season {
    /// One cell for all time: streams without a clock.
    None,
    /// 168 cells; which hour the week begins with does not matter.
    Week,
}

impl Season {
    pub(super) fn cells(self) -> usize {
        match self {
            Self::None => 1,
            Self::Week => 168,
        }
    }

    pub(super) fn hours(self) -> usize {
        self.cells().min(24)
    }

    pub(super) fn cell(self, at: Micros) -> usize {
        at.div_euclid(HOUR).rem_euclid(self.cells() as i64) as usize
    }
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
    /// The variance of the mean of many blocks beside that of independent ones: an upper limit.
    inflation: f64,
    /// Of a number of calls: effective calls by call.
    thinning: f64,
    pub events: f64,
    pub blocks: u64,
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
            inflation: fit.inflation,
            thinning,
            events,
            blocks: blocks.len() as u64,
        };
        if kind == Kind::Values {
            baseline.shapes = Some(Shapes::learn(season, &blocks, &columns, fit.neighbours, least));
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
        1.0 / self.inflation
    }

    /// The same of a block of calls, whose hits also vary more than a binomial's.
    pub fn share(&self, block: &Block) -> f64 {
        self.independent() / (1.0 + self.between * block.n / self.within)
    }

    /// The same of a block's bins, in one way.
    pub fn shape_share(&self, way: Way) -> f64 {
        self.shapes.as_ref().map_or(1.0, |shapes| shapes.quasi(way))
    }

    /// How far along a way whole days lie, in deviations of a value.
    pub fn wander(&self, way: Way) -> f64 {
        self.shapes.as_ref().map_or(0.0, |shapes| shapes.wander(way))
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
        self.shapes.as_ref().map_or(0.0, Shapes::grain)
    }

    /// Upper limit of the share of values in the last two bins, or in the last one.
    pub fn beyond(&self, at: Micros, last: bool) -> f64 {
        self.shapes.as_ref().map_or(1.0, |shapes| shapes.beyond(self.hour(at), last))
    }

    fn hour(&self, at: Micros) -> usize {
        self.season.cell(at) % self.season.hours()
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
