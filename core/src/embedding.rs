//! Embeddings of texts: of each vector a few features that add up, so that two windows' distributions can be compared. A vector goes no further.
//!
//! Random Fourier features (Rahimi and Recht, NIPS 2007) of the Gaussian kernel of width 1 on vectors of length 1: cosine and sine of [`WAVES`] fixed random
//! directions, orthogonal to one another (Yu et al., NIPS 2016). Vectors are first folded to [`FOLDED`] numbers with random signs, which keeps inner products
//! up to chance. Features are whole numbers of 1/[`FULL`]: sums of them and of their products are exact in any order.

use std::sync::LazyLock;

use crate::varint::{self, Corrupt, Reader};

/// Directions.
const WAVES: usize = 16;
/// Features of a vector.
pub const FEATURES: usize = 2 * WAVES;
/// Numbers that a vector is folded to.
const FOLDED: usize = 128;
/// What a feature of 1 is stored as.
const FULL: i8 = 127;
/// Products of two features, each pair once.
const PRODUCTS: usize = FEATURES * (FEATURES + 1) / 2;
const TERMS: usize = FEATURES + PRODUCTS;
/// The longest vector.
pub const LONGEST: usize = 16_384;
/// Of vectors of different lengths under one name.
const MIXED: u32 = u32::MAX;

/// The directions, and the signs with which vectors are folded. The same in every process, for ever: what is stored was made with them.
static BASIS: LazyLock<Basis> = LazyLock::new(Basis::new);

struct Basis {
    waves: Box<[[f32; FOLDED]; WAVES]>,
    signs: Vec<f32>,
}

/// Numbers of a fixed sequence (SplitMix64; Steele, Lea and Flood, OOPSLA 2014).
struct Draw(u64);

impl Draw {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In (0, 1).
    fn uniform(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Standard normal, by Box and Muller; of `libm`, so that no machine's library makes it otherwise.
    fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(self.uniform()));
        radius * libm::cos(std::f64::consts::TAU * self.uniform())
    }
}

impl Basis {
    fn new() -> Self {
        let mut draw = Draw(0x6c65_6577_6179);
        let mut rows: Vec<[f64; FOLDED]> = Vec::with_capacity(WAVES);
        while rows.len() < WAVES {
            let mut row = [0.0; FOLDED];
            row.iter_mut().for_each(|number| *number = draw.normal());
            for other in &rows {
                let along = dot(&row, other);
                row.iter_mut().zip(other).for_each(|(number, other)| *number -= along * other);
            }
            let length = libm::sqrt(dot(&row, &row));
            row.iter_mut().for_each(|number| *number /= length);
            rows.push(row);
        }
        let mut waves = Box::new([[0.0; FOLDED]; WAVES]);
        for (wave, row) in waves.iter_mut().zip(rows) {
            // As long as a vector of normal numbers would be.
            let length = libm::sqrt((0..FOLDED).map(|_| draw.normal()).map(|number| number * number).sum());
            wave.iter_mut().zip(row).for_each(|(number, row)| *number = (row * length) as f32);
        }
        let signs = (0..LONGEST).map(|_| if draw.bits() >> 63 == 0 { 1.0 } else { -1.0 }).collect();
        Self { waves, signs }
    }
}

fn dot(a: &[f64; FOLDED], b: &[f64; FOLDED]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The features of one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// Numbers that the vector had.
    length: u32,
    of: [i8; FEATURES],
}

impl Features {
    /// Of a vector of any length but 0; `None` of none, of one that is too long, and of what is not finite.
    pub fn of(vector: &[f32]) -> Option<Self> {
        if vector.is_empty() || vector.len() > LONGEST || vector.iter().any(|number| !number.is_finite()) {
            return None;
        }
        let basis = &*BASIS;
        let mut folded = [0.0f32; FOLDED];
        // Before anything is squared: what is huge stays finite.
        let largest = vector.iter().fold(0.0f32, |largest, number| largest.max(number.abs()));
        let scale = if largest > 0.0 { 1.0 / f64::from(largest) } else { 0.0 };
        let mut squares = 0.0f64;
        for (part, signs) in vector.chunks(FOLDED).zip(basis.signs.chunks(FOLDED)) {
            for ((into, number), sign) in folded.iter_mut().zip(part).zip(signs) {
                let number = (f64::from(*number) * scale) as f32;
                squares += f64::from(number * number);
                *into += number * sign;
            }
        }
        // A vector of nothing but zeros stays where it is, apart from all others.
        let shrink = if squares > 0.0 { (1.0 / libm::sqrt(squares)) as f32 } else { 0.0 };
        let mut of = [0; FEATURES];
        for (wave, pair) in basis.waves.iter().zip(of.chunks_exact_mut(2)) {
            let angle = product(wave, &folded) * shrink;
            let (sine, cosine) = libm::sincosf(angle);
            pair[0] = libm::roundf(cosine * f32::from(FULL)) as i8;
            pair[1] = libm::roundf(sine * f32::from(FULL)) as i8;
        }
        Some(Self { length: vector.len() as u32, of })
    }
}

/// In a fixed order of adding, eight side by side.
fn product(a: &[f32; FOLDED], b: &[f32; FOLDED]) -> f32 {
    let mut sums = [0.0f32; 8];
    for (a, b) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum()
}

/// Features of many vectors of one space: their number, sums, and sums of products. Merging adds exactly, in any order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Embeddings {
    n: u64,
    length: u32,
    /// Sums of features, then of products by rows of the upper triangle.
    terms: Box<[i64; TERMS]>,
}

impl Default for Embeddings {
    fn default() -> Self {
        Self { n: 0, length: 0, terms: Box::new([0; TERMS]) }
    }
}

impl Embeddings {
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Whether vectors of both have one length, so that they may be of one model.
    pub fn comparable(&self, other: &Self) -> bool {
        self.length == other.length && self.length != MIXED
    }

    pub fn add(&mut self, one: &Features) {
        self.counted(1, one.length);
        let (sums, products) = self.terms.split_at_mut(FEATURES);
        let mut products = products.iter_mut();
        for (place, (sum, feature)) in sums.iter_mut().zip(one.of).enumerate() {
            *sum += i64::from(feature);
            for (other, slot) in one.of[place..].iter().zip(products.by_ref()) {
                *slot += i64::from(i16::from(feature) * i16::from(*other));
            }
        }
    }

    pub fn merge(&mut self, other: &Self) {
        if other.n > 0 {
            self.counted(other.n, other.length);
            self.terms.iter_mut().zip(&*other.terms).for_each(|(mine, theirs)| *mine = mine.saturating_add(*theirs));
        }
    }

    fn counted(&mut self, n: u64, length: u32) {
        self.length = if self.n == 0 || self.length == length { length } else { MIXED };
        self.n += n;
    }

    /// The mean of the features, each vector's of length 1.
    pub fn mean(&self) -> [f64; FEATURES] {
        let scale = 1.0 / (f64::from(FULL) * (WAVES as f64).sqrt() * self.n.max(1) as f64);
        std::array::from_fn(|place| self.terms[place] as f64 * scale)
    }

    /// The covariance of the features, unbiased; of fewer than two vectors nothing but zeros.
    pub fn covariance(&self) -> [[f64; FEATURES]; FEATURES] {
        let mut found = [[0.0; FEATURES]; FEATURES];
        if self.n < 2 {
            return found;
        }
        let full = f64::from(FULL) * f64::from(FULL) * WAVES as f64;
        let pairs = (0..FEATURES).flat_map(|row| (row..FEATURES).map(move |column| (row, column)));
        for ((row, column), product) in pairs.zip(&self.terms[FEATURES..]) {
            // n Σxy − Σx Σy in whole numbers: nothing is lost where they are alike.
            let sums = i128::from(self.terms[row]) * i128::from(self.terms[column]);
            let apart = i128::from(self.n) * i128::from(*product) - sums;
            found[row][column] = apart as f64 / (self.n as f64 * (self.n - 1) as f64 * full);
            found[column][row] = found[row][column];
        }
        found
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        varint::write(out, self.n.into());
        varint::write(out, self.length.into());
        self.terms.iter().for_each(|term| varint::write(out, varint::zigzag((*term).into())));
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let n = reader.count()?;
        let length = u32::try_from(reader.number()?).map_err(|_| Corrupt::Overflow)?;
        let mut found = Self { n, length, ..Self::default() };
        let most = u128::from(n) * u128::from(FULL.unsigned_abs()).pow(2);
        for term in found.terms.iter_mut() {
            let value = varint::unzigzag(reader.wide()?);
            *term = i64::try_from(value).ok().filter(|_| value.unsigned_abs() <= most).ok_or(Corrupt::Overflow)?;
        }
        Ok(found)
    }

    /// Bytes on the heap.
    pub fn size(&self) -> usize {
        size_of_val(&*self.terms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(seed: u64, length: usize) -> Vec<f32> {
        let mut draw = Draw(seed);
        (0..length).map(|_| draw.normal() as f32).collect()
    }

    /// What the features make of the kernel.
    fn kernel(a: &Features, b: &Features) -> f64 {
        let sum: i64 = a.of.iter().zip(b.of).map(|(a, b)| i64::from(*a) * i64::from(b)).sum();
        sum as f64 / (f64::from(FULL).powi(2) * WAVES as f64)
    }

    #[test]
    fn features_are_those_of_the_gaussian_kernel_up_to_chance() {
        for length in [16, 128, 384, 1_536, 3_072] {
            let mut off = 0.0;
            for seed in 0..100 {
                let (a, b) = (vector(seed, length), vector(1_000 + seed, length));
                // From near to as far as two directions at random are.
                let part = seed as f32 / 100.0;
                let near: Vec<f32> = a.iter().zip(&b).map(|(a, b)| (1.0 - part) * a + part * b).collect();
                let norm = |v: &[f32]| v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
                let (first, second) = (norm(&a), norm(&near));
                let apart: f64 =
                    a.iter().zip(&near).map(|(a, b)| (f64::from(*a) / first - f64::from(*b) / second).powi(2)).sum();
                let found = kernel(&Features::of(&a).unwrap(), &Features::of(&near).unwrap());
                off += (found - (-apart / 2.0).exp()).abs();
            }
            // The error of 16 waves: at most √(1/32), less for what is near.
            assert!(off / 100.0 < 0.12, "{length}: {}", off / 100.0);
        }
    }

    #[test]
    fn a_vector_counts_by_its_direction_and_nothing_breaks_it() {
        let one = vector(7, 300);
        let many: Vec<f32> = one.iter().map(|number| number * 1e30).collect();
        let little: Vec<f32> = one.iter().map(|number| number * 1e-30).collect();
        let features = Features::of(&one).unwrap();
        for other in [many, little] {
            let other = Features::of(&other).unwrap();
            assert!(features.of.iter().zip(other.of).all(|(a, b)| (a - b).abs() <= 1), "{other:?}");
        }
        assert_eq!(Features::of(&[0.0; 5]).unwrap().of[..2], [FULL, 0]);
        for wrong in [&[][..], &[1.0, f32::NAN], &[f32::INFINITY], &vec![0.5; LONGEST + 1]] {
            assert_eq!(Features::of(wrong), None);
        }
        // For ever the same: what is stored was made with them.
        let mark = |features: Features| crate::fnv::hash(features.of.iter().map(|feature| *feature as u8));
        assert_eq!(mark(Features::of(&vector(1, 1_536)).unwrap()), 5_154_857_519_515_276_778);
    }

    #[test]
    fn sums_are_exact_in_any_order_and_read_back() {
        let features: Vec<Features> = (0..50).map(|seed| Features::of(&vector(seed, 64)).unwrap()).collect();
        let of = |some: &[Features]| {
            let mut all = Embeddings::default();
            some.iter().for_each(|one| all.add(one));
            all
        };
        let all = of(&features);
        let (mut left, mut right) = (of(&features[30..]), Embeddings::default());
        left.merge(&of(&features[..30]));
        right.merge(&all);
        assert!(left == all && right == all);
        let mut bytes = Vec::new();
        all.encode(&mut bytes);
        assert_eq!(Embeddings::decode(&mut Reader(&bytes)), Ok(all.clone()));
        assert_eq!(Embeddings::decode(&mut Reader(&bytes[..bytes.len() - 1])), Err(Corrupt::Truncated));
        // Mean and covariance against their definitions.
        let (mean, covariance) = (all.mean(), all.covariance());
        let plain = |one: &Features, place: usize| f64::from(one.of[place]) / (127.0 * 4.0);
        for (i, j) in [(0, 0), (3, 17), (31, 31)] {
            let average = |place: usize| features.iter().map(|one| plain(one, place)).sum::<f64>() / 50.0;
            let together = |one: &Features| (plain(one, i) - average(i)) * (plain(one, j) - average(j));
            let expected = features.iter().map(together).sum::<f64>() / 49.0;
            assert!((mean[i] - average(i)).abs() < 1e-12 && (covariance[i][j] - expected).abs() < 1e-12);
        }
        // Another length is another model.
        let mut mixed = all.clone();
        mixed.add(&Features::of(&vector(1, 65)).unwrap());
        assert!(all.comparable(&all) && !mixed.comparable(&all) && !mixed.comparable(&mixed));
    }
}
