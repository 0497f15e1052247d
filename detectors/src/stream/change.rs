//! When a stream changed, by how much, and how sure that is: asked once something speaks.

use leeway_core::clock::Micros;
use leeway_core::drift::Direction;
use leeway_core::interval::{Interval, normal_mixture};

use super::block::Way;
use super::{BINS, Baseline, Block, Kind, Speaker};

/// Of the intervals: they hold whenever they are looked at, given the split.
const ALPHA: f64 = 0.05;
/// Intervals are narrowest where a change is so many blocks old.
const BLOCKS: f64 = 12.0;

/// A lasting change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// Beginning of its first block, as estimated: the split that explains the blocks best.
    pub at: Micros,
    /// Relative to what is usual; of a shape the share of values that moved, of values as they are the difference.
    pub effect: f64,
    pub interval: Interval,
    /// Usual and present level since then: of a rate and a tail a share, of values the mean, as the blocks have it.
    pub usual: f64,
    pub now: f64,
    /// Calls or values since then.
    pub n: f64,
}

impl Change {
    /// How far the change goes in a direction, and how far at least.
    pub fn size(&self, direction: Direction) -> (f64, f64) {
        let (low, high) = (self.interval.low.unwrap_or(f64::NEG_INFINITY), self.interval.high.unwrap_or(f64::INFINITY));
        match direction {
            Direction::Up => (self.effect, low),
            Direction::Down => (-self.effect, -high),
            Direction::Both => (self.effect.abs(), low.max(-high).max(0.0)),
        }
    }
}

/// What is asked of a change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Asked {
    pub direction: Direction,
    /// The least that matters.
    pub least: f64,
}

/// What a stream's evidence says in the simplest words: the first of level, tail and shape that surely changed by more than the
/// least; where none did, what the loudest detector saw.
pub fn explain(blocks: &[Block], baseline: &Baseline, asked: Asked, loudest: Speaker) -> Option<(Speaker, Change)> {
    let speakers: &[Speaker] = match (baseline.kind(), asked.direction) {
        (Kind::Rate | Kind::YesNo, _) => &[Speaker::Rate],
        (Kind::Values, Direction::Down) | (Kind::Volume | Kind::Means, _) => &[Speaker::Level],
        (Kind::Values, Direction::Up) => &[Speaker::Level, Speaker::Tail],
        (Kind::Values, Direction::Both) => &[Speaker::Level, Speaker::Tail, Speaker::Shape],
    };
    let of =
        |speaker: Speaker| change(blocks, baseline, speaker, asked.direction, false).map(|change| (speaker, change));
    let sure = |(_, change): &(Speaker, Change)| change.size(asked.direction).1 > asked.least;
    speakers.iter().filter_map(|speaker| of(*speaker)).find(sure).or_else(|| of(loudest))
}

/// The change that explains the blocks best; `whole`: it began with the first of them. `None` where they are empty.
pub fn change(
    blocks: &[Block],
    baseline: &Baseline,
    speaker: Speaker,
    direction: Direction,
    whole: bool,
) -> Option<Change> {
    let blocks: Vec<&Block> = blocks.iter().filter(|block| block.n > 0.0).collect();
    match speaker {
        Speaker::Shape => moved(&blocks, baseline, whole),
        Speaker::Tail => shifted(&blocks, baseline, Of::Tail, Direction::Up, whole),
        Speaker::Rate | Speaker::Level => shifted(&blocks, baseline, Of::Mean, direction, whole),
    }
}

/// What of a block is held against what is usual.
#[derive(Clone, Copy)]
enum Of {
    Mean,
    Tail,
}

/// One block: its distance from what is usual, what is usual, how sure that is, and the distance's weight.
struct Seen {
    at: Micros,
    off: f64,
    usual: f64,
    error: f64,
    weight: f64,
    n: f64,
}

fn seen(block: &Block, baseline: &Baseline, of: Of) -> Seen {
    match of {
        Of::Mean => {
            let (usual, error) = baseline.usual(block.at);
            let weight = baseline.deviation(block).powi(-2);
            Seen { at: block.at, off: block.mean - usual, usual, error, weight, n: block.n }
        }
        Of::Tail => {
            let (shares, sample) = baseline.shares(block.at);
            let usual: f64 = shares[BINS - 2..].iter().sum();
            let n: f64 = block.bins.iter().sum::<f64>().max(1.0);
            let share = block.bins[BINS - 2..].iter().sum::<f64>() / n;
            let variance = usual * (1.0 - usual);
            let error = super::cells::SURE * (variance / sample).sqrt();
            let weight = n * baseline.shape_share(Way::Tail) / (baseline.independent() * variance);
            Seen { at: block.at, off: share - usual, usual, error, weight, n }
        }
    }
}

fn shifted(blocks: &[&Block], baseline: &Baseline, of: Of, direction: Direction, whole: bool) -> Option<Change> {
    let all: Vec<Seen> = blocks.iter().map(|block| seen(block, baseline, of)).collect();
    let (mut sum, mut weight, mut best, mut split) = (0.0, 0.0, f64::NEG_INFINITY, 0);
    for (index, seen) in all.iter().enumerate().rev() {
        sum += seen.weight * seen.off;
        weight += seen.weight;
        let side = direction == Direction::Both || direction.size(sum) > 0.0;
        let gain = if side { sum * sum / weight } else { 0.0 };
        if gain > best {
            (best, split) = (gain, index);
        }
    }
    let since = all.get(if whole { 0 } else { split }..).filter(|since| !since.is_empty())?;
    let total: f64 = since.iter().map(|seen| seen.weight).sum();
    let mean = |of: &dyn Fn(&Seen) -> f64| since.iter().map(|seen| seen.weight * of(seen)).sum::<f64>() / total;
    let (off, usual, error) = (mean(&|seen| seen.off), mean(&|seen| seen.usual), mean(&|seen| seen.error));
    // A share varies by what it is now, where that is more than by what was usual.
    let variance = |share: f64| (share * (1.0 - share)).max(0.0);
    let now = match (baseline.kind(), of) {
        // Weights were made of the variance of all hours.
        (Kind::Rate | Kind::YesNo, _) => (baseline.within() / variance(usual + off).max(1e-12)).min(1.0),
        (_, Of::Tail) => (variance(usual) / variance(usual + off).max(1e-12)).min(1.0),
        _ => 1.0,
    };
    let time = total * baseline.independent() * now;
    let half = normal_mixture(time, time * BLOCKS / since.len() as f64, ALPHA) / time + error;
    let relative = |off: f64| match (baseline.kind(), of) {
        (Kind::Values | Kind::Volume, Of::Mean) => off.exp_m1(),
        (Kind::Means | Kind::YesNo, _) => off,
        // What never came is held against a part of what it may be.
        // Nothing falls by more than all of it.
        _ => (off / usual.max((usual + error) / 4.0)).max(-1.0),
    };
    Some(Change {
        at: since[0].at,
        effect: relative(off),
        interval: Interval::between(relative(off - half), relative(off + half)),
        usual,
        now: usual + off,
        n: since.iter().map(|seen| seen.n).sum(),
    })
}

/// The split at which the bins' counts since are least like the usual shares; the effect is the total variation distance, its interval
/// McDiarmid's, less what chance alone makes of it.
fn moved(blocks: &[&Block], baseline: &Baseline, whole: bool) -> Option<Change> {
    let (mut counts, mut expected) = ([0.0; BINS], [0.0; BINS]);
    let (mut best, mut split, mut found) = (f64::NEG_INFINITY, 0, None);
    for (index, block) in blocks.iter().enumerate().rev() {
        let (shares, sample) = baseline.shares(block.at);
        let n: f64 = block.bins.iter().sum();
        for bin in 0..BINS {
            counts[bin] += block.bins[bin];
            expected[bin] += n * shares[bin];
        }
        let total: f64 = counts.iter().sum();
        let term = |(count, expected): (&f64, &f64)| if *count > 0.0 { count * (count / expected).ln() } else { 0.0 };
        let gain: f64 = counts.iter().zip(&expected).map(term).sum();
        if total > 0.0 && ((!whole && gain > best) || (whole && index == 0)) {
            (best, split) = (gain, index);
            let distance = counts.iter().zip(&expected).map(|(count, expected)| (count - expected).abs()).sum::<f64>()
                / (2.0 * total);
            found = Some((distance, total, sample));
        }
    }
    let (distance, n, sample) = found?;
    let effective = 1.0
        / (1.0 / (n * Way::ALL.map(|way| baseline.shape_share(way)).into_iter().fold(1.0, f64::min)) + 1.0 / sample);
    let chance = ((BINS - 1) as f64 / effective).sqrt() / 2.0;
    let half = ((2.0 / ALPHA).ln() / (2.0 * effective)).sqrt();
    let effect = (distance - chance).max(0.0);
    let interval = Interval::between((effect - half).max(0.0), (distance + half).min(1.0));
    Some(Change { at: blocks.get(split)?.at, effect, interval, usual: 0.0, now: distance, n })
}
