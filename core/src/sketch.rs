//! A distribution as counts in fixed log-linear buckets.
//!
//! Buckets are fixed in advance: values below 128 are exact, every power of two above is cut into 64 equal
//! parts (the layout of HdrHistogram with 7 significant bits). A bucket is at most 1/64 of its lower edge wide,
//! so its midpoint is off by at most 1/128 = 0.78 %. Because no boundary ever moves, merging is integer
//! addition: associative, commutative, exact, and the same bits in any order.
//!
//! Few values are kept as a short list of bucket numbers (raw-first); a dense run of counts starts at the 25th.

use crate::varint::{self, Corrupt, Reader};

/// Half the relative width of a bucket: the largest relative error of a quantile's value.
pub const RELATIVE_ERROR: f64 = 1.0 / 128.0;

const SUB_BITS: u32 = 6;
const EXACT_BELOW: u64 = 1 << (SUB_BITS + 1);
const BUCKETS: u16 = ((63 - SUB_BITS as u16) << SUB_BITS) + EXACT_BELOW as u16;
const SMALL: usize = 24;
const VERSION: u8 = 1;

/// The bucket of `value`.
fn bucket(value: u64) -> u16 {
    if value < EXACT_BELOW {
        return value as u16;
    }
    let shift = 63 - value.leading_zeros() - SUB_BITS;
    ((shift as u16) << SUB_BITS) + (value >> shift) as u16
}

/// The middle of a bucket's values.
pub fn middle(bucket: u16) -> f64 {
    let (low, high) = edges(bucket);
    low as f64 + (high - low) as f64 / 2.0
}

/// Lowest and highest value of a bucket.
fn edges(bucket: u16) -> (u64, u64) {
    if u64::from(bucket) < EXACT_BELOW {
        return (bucket.into(), bucket.into());
    }
    let shift = (bucket >> SUB_BITS) - 1;
    let low = (u64::from(bucket) - (u64::from(shift) << SUB_BITS)) << shift;
    (low, low + ((1u64 << shift) - 1))
}

#[derive(Debug, Clone)]
enum Counts {
    /// Bucket numbers in arrival order.
    Small { length: u8, buckets: [u16; SMALL] },
    /// `counts[i]` belongs to bucket `first + i`.
    Dense { first: u16, counts: Vec<u64> },
}

/// A mergeable distribution of `u64` values (µs, tokens, nano-dollars).
#[derive(Debug, Clone)]
pub struct Sketch {
    n: u64,
    sum: u128,
    min: u64,
    max: u64,
    counts: Counts,
}

/// A quantile with the bounds that the bucket width leaves: the true order statistic lies in `low..=high`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantile {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

impl Default for Sketch {
    fn default() -> Self {
        Self { n: 0, sum: 0, min: u64::MAX, max: 0, counts: Counts::Small { length: 0, buckets: [0; SMALL] } }
    }
}

impl PartialEq for Sketch {
    fn eq(&self, other: &Self) -> bool {
        (self.n, self.sum, self.min, self.max) == (other.n, other.sum, other.min, other.max)
            && self.buckets() == other.buckets()
    }
}

impl Sketch {
    pub fn push(&mut self, value: u64) {
        self.n += 1;
        self.sum += u128::from(value);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.add(bucket(value), 1);
    }

    pub fn merge(&mut self, other: &Self) {
        if other.n == 0 {
            return;
        }
        self.n += other.n;
        self.sum = self.sum.saturating_add(other.sum);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        match &other.counts {
            Counts::Small { length, buckets } => {
                for &bucket in &buckets[..usize::from(*length)] {
                    self.add(bucket, 1);
                }
            }
            Counts::Dense { first, counts } => {
                for (offset, &count) in counts.iter().enumerate().filter(|(_, c)| **c > 0) {
                    self.add(first + offset as u16, count);
                }
            }
        }
    }

    pub fn n(&self) -> u64 {
        self.n
    }

    pub fn sum(&self) -> u128 {
        self.sum
    }

    pub fn mean(&self) -> Option<f64> {
        (self.n > 0).then(|| self.sum as f64 / self.n as f64)
    }

    pub fn min(&self) -> Option<u64> {
        (self.n > 0).then_some(self.min)
    }

    pub fn max(&self) -> Option<u64> {
        (self.n > 0).then_some(self.max)
    }

    /// The nearest-rank quantile (the ⌈q·n⌉-th smallest), `None` where there are no values.
    pub fn quantile(&self, q: f64) -> Option<Quantile> {
        let rank = (q.clamp(0.0, 1.0) * self.n as f64).ceil() as u64;
        self.at_rank(rank)
    }

    /// The `rank`-th smallest value, counted from 1 and clamped to what there is.
    pub fn at_rank(&self, rank: u64) -> Option<Quantile> {
        if self.n == 0 {
            return None;
        }
        let rank = rank.clamp(1, self.n);
        let mut seen = 0;
        for (bucket, count) in self.buckets() {
            seen += count;
            if seen >= rank {
                let (low, high) = edges(bucket);
                let (low, high) = (low.max(self.min), high.min(self.max));
                let value = (low as f64 + high as f64) / 2.0;
                return Some(Quantile { value, low: low as f64, high: high as f64 });
            }
        }
        None
    }

    /// Values in buckets wholly at or below `limit`, and in buckets that it cuts: the truth lies between the
    /// first and the sum of both.
    pub fn at_most(&self, limit: u64) -> (u64, u64) {
        let (mut below, mut cut) = (0, 0);
        for (bucket, count) in self.buckets() {
            let (low, high) = edges(bucket);
            if high <= limit {
                below += count;
            } else if low <= limit {
                cut += count;
            }
        }
        (below, cut)
    }

    /// Ascending (bucket, count), without empty buckets.
    pub fn buckets(&self) -> Vec<(u16, u64)> {
        match &self.counts {
            Counts::Small { length, buckets } => {
                let mut sorted = buckets[..usize::from(*length)].to_vec();
                sorted.sort_unstable();
                let runs = sorted.chunk_by(|a, b| a == b);
                runs.map(|run| (run[0], run.len() as u64)).collect()
            }
            Counts::Dense { first, counts } => {
                let filled = counts.iter().enumerate().filter(|(_, count)| **count > 0);
                filled.map(|(offset, &count)| (first + offset as u16, count)).collect()
            }
        }
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        let buckets = self.buckets();
        varint::write(out, buckets.len() as u128);
        if buckets.is_empty() {
            return;
        }
        varint::write(out, self.sum);
        varint::write(out, self.min.into());
        varint::write(out, (self.max - self.min).into());
        let mut previous = 0;
        for (bucket, count) in buckets {
            varint::write(out, u128::from(bucket - previous));
            varint::write(out, count.into());
            previous = bucket;
        }
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        reader.version(VERSION)?;
        let mut sketch = Self::default();
        let length = reader.number()?;
        if length == 0 {
            return Ok(sketch);
        }
        sketch.sum = reader.wide()?;
        sketch.min = reader.number()?;
        sketch.max = sketch.min.checked_add(reader.number()?).ok_or(Corrupt::Overflow)?;
        let mut bucket = 0u64;
        for _ in 0..length {
            bucket = bucket.checked_add(reader.number()?).ok_or(Corrupt::Overflow)?;
            let count = reader.count()?;
            let index = u16::try_from(bucket).ok().filter(|b| *b < BUCKETS).ok_or(Corrupt::Overflow)?;
            sketch.n += count;
            sketch.add(index, count);
        }
        varint::counted(sketch.n)?;
        Ok(sketch)
    }

    /// Heap and inline bytes, for the memory bound.
    pub fn size(&self) -> usize {
        let heap = match &self.counts {
            Counts::Small { .. } => 0,
            Counts::Dense { counts, .. } => counts.capacity() * 8,
        };
        size_of::<Self>() + heap
    }

    fn add(&mut self, bucket: u16, count: u64) {
        if let Counts::Small { length, buckets } = &mut self.counts {
            let used = usize::from(*length);
            if count <= (SMALL - used) as u64 {
                for slot in &mut buckets[used..used + count as usize] {
                    *slot = bucket;
                }
                *length += count as u8;
                return;
            }
            self.spill();
        }
        if let Counts::Dense { first, counts } = &mut self.counts {
            grow(first, counts, bucket);
            counts[usize::from(bucket - *first)] += count;
        }
    }

    fn spill(&mut self) {
        let runs = self.buckets();
        let (Some(low), Some(high)) = (runs.first(), runs.last()) else {
            self.counts = Counts::Dense { first: 0, counts: Vec::new() };
            return;
        };
        let mut counts = vec![0; usize::from(high.0 - low.0) + 1];
        for (bucket, count) in &runs {
            counts[usize::from(bucket - low.0)] = *count;
        }
        self.counts = Counts::Dense { first: low.0, counts };
    }
}

fn grow(first: &mut u16, counts: &mut Vec<u64>, bucket: u16) {
    if counts.is_empty() {
        *first = bucket;
    }
    if bucket < *first {
        // Room for a few more below, or a falling run of values would move the counts each time.
        let room = (*first - bucket).saturating_add(16).min(*first);
        counts.splice(0..0, std::iter::repeat_n(0, room.into()));
        *first -= room;
    }
    let needed = usize::from(bucket - *first) + 1;
    if counts.len() < needed {
        counts.resize(needed, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sketch(values: &[u64]) -> Sketch {
        let mut sketch = Sketch::default();
        values.iter().for_each(|&value| sketch.push(value));
        sketch
    }

    fn bytes(sketch: &Sketch) -> Vec<u8> {
        let mut out = Vec::new();
        sketch.encode(&mut out);
        out
    }

    #[test]
    fn buckets_cover_every_value_without_gap() {
        for bucket_number in 0..BUCKETS - 1 {
            let (low, high) = edges(bucket_number);
            assert_eq!((bucket(low), bucket(high)), (bucket_number, bucket_number));
            assert_eq!(edges(bucket_number + 1).0, high + 1);
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert_eq!(edges(BUCKETS - 1).1, u64::MAX);
    }

    #[test]
    fn stored_bytes_of_version_one_stay_readable() {
        // The fixture of version 1: 5, 5, 300, 1_000_000. It must decode for ever.
        let fixture = [1, 3, 246, 134, 61, 5, 187, 132, 61, 5, 2, 198, 1, 1, 239, 5, 1];
        let decoded = Sketch::decode(&mut Reader(&fixture)).unwrap();
        assert_eq!(decoded, sketch(&[5, 5, 300, 1_000_000]));
        assert_eq!(bytes(&decoded), fixture);
    }

    #[test]
    fn foreign_bytes_are_errors_not_panics() {
        assert_eq!(Sketch::decode(&mut Reader(&[9])), Err(Corrupt::Version(9, 1)));
        assert_eq!(Sketch::decode(&mut Reader(&[1, 200])), Err(Corrupt::Truncated));
    }

    #[test]
    fn a_quiet_series_stays_small() {
        let quiet = sketch(&[1_000_000; 24]);
        assert!(quiet.size() <= 128, "{}", quiet.size());
    }

    proptest! {
        #[test]
        fn quantiles_keep_their_error_bound(mut values in prop::collection::vec(0u64..1 << 40, 1..200), q in 0.0..1.0f64) {
            let got = sketch(&values).quantile(q).unwrap();
            values.sort_unstable();
            let rank = ((q * values.len() as f64).ceil() as usize).max(1);
            let truth = values[rank - 1] as f64;
            prop_assert!(got.low <= truth && truth <= got.high);
            prop_assert!((got.value - truth).abs() <= truth * RELATIVE_ERROR);
        }

        #[test]
        fn merging_is_exact_in_any_order(a in prop::collection::vec(any::<u64>(), 0..60), b in prop::collection::vec(0u64..5000, 0..60), c in prop::collection::vec(any::<u64>(), 0..9)) {
            let (sa, sb, sc) = (sketch(&a), sketch(&b), sketch(&c));
            let all: Vec<u64> = [c.clone(), a.clone(), b.clone()].concat();
            let mut left = sa.clone();
            left.merge(&sb);
            left.merge(&sc);
            let mut right = sc.clone();
            right.merge(&sb);
            right.merge(&sa);
            prop_assert_eq!(bytes(&left), bytes(&right));
            prop_assert_eq!(bytes(&left), bytes(&sketch(&all)));
            let mut same = sa.clone();
            same.merge(&Sketch::default());
            prop_assert_eq!(&same, &sa);
        }

        #[test]
        fn sketches_survive_encoding(values in prop::collection::vec(any::<u64>(), 0..100)) {
            let before = sketch(&values);
            let after = Sketch::decode(&mut Reader(&bytes(&before))).unwrap();
            prop_assert_eq!(before, after);
        }

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Sketch::decode(&mut Reader(&bytes));
        }
    }
}
