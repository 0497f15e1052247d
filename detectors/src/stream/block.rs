//! What a stream did in one block of time.

use leeway_core::clock::{MINUTE, Micros};
use leeway_core::measure::{Measure, Moments};
use leeway_core::pane::Pane;
use leeway_core::sketch::{Sketch, middle};
use leeway_core::varint::{self, Corrupt, Reader};

/// Reference quantiles at which bins end; the last bin has no end.
pub const QUANTILES: [f64; BINS - 1] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99];
/// Bins of a stream's values.
pub const BINS: usize = 12;

/// In which the bins' counts are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the right or to the left.
    Place,
    /// Apart or together.
    Spread,
    /// In the last two bins.
    Tail,
    /// In the last one.
    FarTail,
}

impl Way {
    pub const ALL: [Self; 4] = [Self::Place, Self::Spread, Self::Tail, Self::FarTail];

    /// How far along the way each bin lies, by the middle of its ranks in the shares.
    pub fn along(self, shares: &[f64; BINS]) -> [f64; BINS] {
        let (mut along, mut below) = ([0.0; BINS], 0.0);
        for (bin, share) in shares.iter().enumerate() {
            let rank = 2.0 * (below + share / 2.0) - 1.0;
            below += share;
            along[bin] = match self {
                Self::Place => rank,
                Self::Spread => 2.0 * rank.abs() - 1.0,
                Self::Tail => f64::from(u8::from(bin >= BINS - 2)),
                Self::FarTail => f64::from(u8::from(bin == BINS - 1)),
            };
        }
        along
    }

    /// How far each bin lies from the shares' mean along the way, in standard deviations of one count; 0 where all lie alike.
    fn scale(self, shares: &[f64; BINS]) -> [f64; BINS] {
        let along = self.along(shares);
        let expected: f64 = shares.iter().zip(&along).map(|(share, along)| share * along).sum();
        let off = along.map(|along| along - expected);
        let variance: f64 = shares.iter().zip(&off).map(|(share, off)| share * off * off).sum();
        if variance > 0.0 { off.map(|off| off / variance.sqrt()) } else { [0.0; BINS] }
    }
}

pub const WAYS: usize = Way::ALL.len();

/// Where each bin lies, in all ways, in deviations of a count.
#[derive(Debug, Clone, Copy)]
pub struct Scales([[f64; WAYS]; BINS]);

impl Scales {
    pub fn of(shares: &[f64; BINS]) -> Self {
        let scales = Way::ALL.map(|way| way.scale(shares));
        Self(std::array::from_fn(|bin| scales.map(|scale| scale[bin])))
    }

    /// The sums of how far counts lie, with their number: of a multinomial's counts each has mean 0 and the number for its variance.
    pub fn score(&self, counts: &[f64; BINS]) -> ([f64; WAYS], f64) {
        let (mut sums, mut n) = ([0.0; WAYS], 0.0);
        for (count, off) in counts.iter().zip(&self.0) {
            n += count;
            for (sum, off) in sums.iter_mut().zip(off) {
                *sum += count * off;
            }
        }
        (sums, n)
    }
}

/// Where bins end, ascending; a value belongs to the first bin that does not end below it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Edges(pub [f64; BINS - 1]);

impl Edges {
    /// At the quantiles of a sketch, in its own units.
    pub fn of(sketch: &Sketch) -> Self {
        Self(QUANTILES.map(|q| sketch.quantile(q).map_or(0.0, |quantile| quantile.high)))
    }

    /// At the quantiles of values.
    pub fn of_values(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        Self(QUANTILES.map(|q| sorted.get((q * last as f64).round() as usize).copied().unwrap_or(0.0)))
    }

    pub fn encode(&self) -> Vec<u8> {
        self.0.iter().flat_map(|edge| edge.to_le_bytes()).collect()
    }

    /// What [`Self::encode`] wrote; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (chunks, rest) = bytes.as_chunks::<8>();
        let edges: Vec<f64> = chunks.iter().map(|chunk| f64::from_le_bytes(*chunk)).collect();
        if !rest.is_empty() || !edges.is_sorted() {
            return None;
        }
        edges.try_into().ok().map(Self)
    }

    pub fn bin(&self, value: f64) -> usize {
        self.0.partition_point(|edge| *edge < value)
    }
}

/// A block: of a rate the share of hits among calls, of values the mean of their logarithms, or of themselves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block {
    /// Its beginning.
    pub at: Micros,
    /// Calls or values; of sampled ones Kish's effective number.
    pub n: f64,
    pub mean: f64,
    /// Sum of squared distances from the mean.
    pub squares: f64,
    /// Values by bin.
    pub bins: [f64; BINS],
}

impl Block {
    pub fn rate(at: Micros, hits: f64, n: f64) -> Self {
        let mean = if n > 0.0 { hits / n } else { 0.0 };
        Self { at, n, mean, squares: n * mean * (1.0 - mean), bins: [0.0; BINS] }
    }

    /// A number of events: its logarithm; of sampled ones `effective` says how many they are worth.
    pub fn volume(at: Micros, events: f64, effective: f64) -> Self {
        // None is news too.
        Self { at, n: effective.max(0.5), mean: (events + 0.5).ln(), squares: 0.0, bins: [0.0; BINS] }
    }

    pub fn values(at: Micros, values: &[f64], edges: &Edges) -> Self {
        let n = values.len() as f64;
        let mean = if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / n };
        let squares = values.iter().map(|value| (value - mean).powi(2)).sum();
        let mut bins = [0.0; BINS];
        values.iter().for_each(|value| bins[edges.bin(*value)] += 1.0);
        Self { at, n, mean, squares, bins }
    }

    /// Of values whose moments are known, and no more of them.
    pub fn means(at: Micros, moments: Option<Moments>) -> Self {
        let Moments { n, mean, squares } = moments.unwrap_or(Moments { n: 0.0, mean: 0.0, squares: 0.0 });
        Self { at, n, mean, squares, bins: [0.0; BINS] }
    }

    /// Of a sketch; values of 0 count as half of the unit.
    pub fn sketch(at: Micros, sketch: &Sketch, edges: &Edges) -> Self {
        let buckets = sketch.buckets();
        let n: f64 = buckets.iter().map(|(_, count)| *count as f64).sum();
        let logarithm = |bucket: u16| middle(bucket).max(0.5).ln();
        let sum: f64 = buckets.iter().map(|(bucket, count)| logarithm(*bucket) * *count as f64).sum();
        let mean = if n > 0.0 { sum / n } else { 0.0 };
        let squares = buckets.iter().map(|(bucket, count)| (logarithm(*bucket) - mean).powi(2) * *count as f64).sum();
        let mut bins = [0.0; BINS];
        buckets.iter().for_each(|(bucket, count)| bins[edges.bin(middle(*bucket))] += *count as f64);
        Self { at, n, mean, squares, bins }
    }

    /// What a measure says of a pane; `None` for measures that are neither a rate, nor values, nor a mean, nor a number of calls.
    pub fn of(at: Micros, measure: &Measure, pane: &Pane, edges: &Edges) -> Option<Self> {
        if measure.takes_quantile() {
            let empty = Sketch::default();
            return Some(Self::sketch(at, measure.sketch(pane).unwrap_or(&empty), edges));
        }
        if matches!(measure, Measure::Calls) {
            let weight = measure.of(pane, None).map_or(0.0, |estimate| estimate.value);
            return Some(Self::volume(at, weight, pane.effective_calls()));
        }
        if measure.is_mean() {
            return Some(Self::means(at, measure.moments(pane)));
        }
        let (hits, n) = measure.counts(pane).unwrap_or((0, 0));
        measure.is_rate().then(|| Self::rate(at, hits as f64, n as f64))
    }
}

/// A day's blocks: minutes since the day's beginning, numbers, doubles, bins.
pub fn encode(blocks: &[Block], day: Micros) -> Vec<u8> {
    let mut out = Vec::with_capacity(blocks.len() * 32);
    varint::write(&mut out, blocks.len() as u128);
    for block in blocks {
        varint::write(&mut out, ((block.at - day) / MINUTE).max(0).cast_unsigned().into());
        for number in [block.n, block.mean, block.squares] {
            out.extend(number.to_le_bytes());
        }
        let used = BINS - block.bins.iter().rev().take_while(|count| **count == 0.0).count();
        varint::write(&mut out, used as u128);
        block.bins[..used].iter().for_each(|count| varint::write(&mut out, *count as u128));
    }
    out
}

/// What [`encode`] wrote.
pub fn decode(bytes: &[u8], day: Micros) -> Result<Vec<Block>, Corrupt> {
    let mut reader = Reader(bytes);
    let count = reader.number()?;
    let mut blocks = Vec::with_capacity(count.min(1_440) as usize);
    for _ in 0..count {
        let minute = reader.number()?.min(1_440).cast_signed();
        let mut double = || reader.bytes(8)?.try_into().map(f64::from_le_bytes).map_err(|_| Corrupt::Truncated);
        let (n, mean, squares) = (double()?, double()?, double()?);
        let mut bins = [0.0; BINS];
        let used = reader.number()? as usize;
        for bin in bins.get_mut(..used).ok_or(Corrupt::Truncated)? {
            *bin = reader.number()? as f64;
        }
        blocks.push(Block { at: day + minute * MINUTE, n, mean, squares, bins });
    }
    if reader.done() { Ok(blocks) } else { Err(Corrupt::Truncated) }
}
