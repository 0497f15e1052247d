//! One measure of one label set, block of time by block, against what is usual at that hour of the week.
//!
//! A [`Baseline`] is learnt from past blocks and frozen; [`Watch`] weighs new blocks against it with Shiryaev–Roberts
//! e-detectors (Shin, Ramdas and Rinaldo, 2022, arXiv 2203.03532). Null: in each block, given the past, the measure lies
//! within a band around the baseline that holds the baseline's own error and a tolerance. Guarantee: under the null the
//! expected number of blocks until the evidence reaches A is at least A, whatever the blocks' dependence through the
//! band; [`fleet`] turns that into false pages a week. Assumptions beyond the null: within their band, values are at most as dispersed and
//! as dependent from block to block as those of the reference, whose upper limits are used; blocks' means of logarithms are normal.

mod baseline;
mod beta;
mod block;
mod cells;
mod change;
mod codes;
pub mod fast;
mod fit;
pub mod fleet;
mod level;
mod power;
mod rate;
mod shape;
mod shapes;
mod sr;
mod stretch;
mod tail;

pub use baseline::{Baseline, Season};
pub use block::{BINS, Block, Edges, decode, encode};
pub use change::{Asked, Change, change, explain};
use leeway_core::drift::Direction;
pub use power::sees;
use thiserror::Error;

/// Why a stream cannot be tested; never a quiet "nothing unusual".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Untestable {
    #[error("there is nothing to learn from yet")]
    NoReference,
    #[error("the reference has {events} values; {needed} are needed")]
    TooFew { events: u64, needed: u64 },
    #[error("the reference has {blocks} blocks with values; {needed} are needed")]
    TooFewBlocks { blocks: u64, needed: u64 },
    #[error("the reference spans {hours} hours; a day is needed to know the hours apart")]
    TooYoung { hours: u64 },
    #[error("a value of the reference is not a finite number")]
    NotFinite,
    #[error("all values of the reference are alike")]
    Alike,
    #[error("there are more streams than are tested; the busiest {most} of the rule are")]
    TooMany { most: u64 },
    #[error("not all partitions have reported, so a number of calls is not known yet")]
    Incomplete,
    #[error("this hour of the week was never seen before")]
    UnseenHour,
    #[error("blocks follow one another like a walk: there is no usual level")]
    Walk,
}

/// What a stream is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// So many of so many.
    Rate,
    /// Values, as logarithms.
    Values,
    /// Values as they are, of which no more is known than number, mean and variance.
    Means,
    /// Such values that are all 0 or 1: what the blocks of [`Kind::Means`] are then taken for. A rate, whose changes are differences.
    YesNo,
    /// How many events came, as a logarithm.
    Volume,
}

/// Which detector speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    Rate,
    Level,
    Shape,
    Tail,
}

impl Speaker {
    pub fn parse(id: &str) -> Option<Self> {
        [Self::Rate, Self::Level, Self::Shape, Self::Tail].into_iter().find(|speaker| speaker.id() == id)
    }

    /// The one that a stream of this kind always has.
    pub fn first(kind: Kind) -> Self {
        if matches!(kind, Kind::Rate | Kind::YesNo) { Self::Rate } else { Self::Level }
    }

    /// Whether streams of this kind have it.
    pub fn suits(self, kind: Kind) -> bool {
        kind == Kind::Values && self != Self::Rate || self == Self::first(kind)
    }

    pub fn id(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Level => "level",
            Self::Shape => "shape",
            Self::Tail => "tail",
        }
    }
}

/// The evidence of a stream, and which of its detectors has most of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// The mean of the detectors' values, an e-detector itself.
    pub value: f64,
    pub speaker: Speaker,
}

/// The state of one stream: what its detectors hold against the present.
#[derive(Debug, Clone, PartialEq)]
pub struct Watch {
    rate: rate::Rate,
    level: level::Level,
    shape: shape::Shape,
    tail: tail::Tail,
}

impl Watch {
    pub fn new() -> Self {
        Self {
            rate: rate::Rate::new(),
            level: level::Level::new(),
            shape: shape::Shape::new(),
            tail: tail::Tail::new(),
        }
    }

    /// Weighs one block; an empty one says nothing, nor does one of an hour of the week that the baseline never saw.
    pub fn step(&mut self, block: &Block, baseline: &Baseline) {
        if !baseline.knows(block.at) {
            return;
        }
        match baseline.kind() {
            Kind::Rate | Kind::YesNo => self.rate.step(block, baseline),
            Kind::Volume | Kind::Means => self.level.step(block, baseline),
            Kind::Values => {
                self.level.step(block, baseline);
                self.shape.step(block, baseline);
                self.tail.step(block, baseline);
            }
        }
    }

    /// The evidence for changes in a direction. The shape has none, and speaks where both are asked for.
    pub fn evidence(&self, kind: Kind, direction: Direction) -> Evidence {
        let all: &[(Speaker, f64)] = &match (kind, direction) {
            (Kind::Rate | Kind::YesNo, _) => vec![(Speaker::Rate, self.rate.value(direction))],
            (Kind::Values, Direction::Down) | (Kind::Volume | Kind::Means, _) => {
                vec![(Speaker::Level, self.level.value(direction))]
            }
            (Kind::Values, Direction::Up) => {
                vec![(Speaker::Level, self.level.value(direction)), (Speaker::Tail, self.tail.value())]
            }
            (Kind::Values, Direction::Both) => vec![
                (Speaker::Level, self.level.value(direction)),
                (Speaker::Tail, self.tail.value()),
                (Speaker::Shape, self.shape.value()),
            ],
        };
        let value = all.iter().map(|(_, value)| value).sum::<f64>() / all.len() as f64;
        let loudest = all.iter().max_by(|a, b| a.1.total_cmp(&b.1));
        Evidence { value, speaker: loudest.map_or(Speaker::Level, |(speaker, _)| *speaker) }
    }

    /// Forgets the evidence: after an alarm, or with a new baseline's other meaning.
    pub fn calm(&mut self) {
        *self = Self::new();
    }

    fn numbers(&self) -> [&[f64]; 4] {
        [&self.rate.0.0, &self.level.0.0, &self.shape.0.0, &self.tail.0.0]
    }

    fn numbers_mut(&mut self) -> [&mut [f64]; 4] {
        [&mut self.rate.0.0, &mut self.level.0.0, &mut self.shape.0.0, &mut self.tail.0.0]
    }

    /// Little-endian doubles, always as many.
    pub fn encode(&self) -> Vec<u8> {
        self.numbers().concat().into_iter().flat_map(f64::to_le_bytes).collect()
    }

    /// What [`Self::encode`] wrote; `None` where it is of another length or holds what no evidence is.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (chunks, rest) = bytes.as_chunks::<8>();
        let mut numbers = chunks.iter().map(|chunk| f64::from_le_bytes(*chunk));
        let mut watch = Self::new();
        for sums in watch.numbers_mut() {
            for sum in sums {
                *sum = numbers.next().filter(|number| number.is_finite() && *number >= 0.0)?;
            }
        }
        (rest.is_empty() && numbers.next().is_none()).then_some(watch)
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
