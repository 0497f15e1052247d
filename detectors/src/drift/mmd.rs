//! Maximum mean discrepancy of embeddings (Gretton et al., JMLR 13, 2012) by their random Fourier features.
//!
//! Null: vectors of both windows have one distribution, as far as the features tell ([`leeway_core::embedding`]). Vectors are taken as independent of one
//! another, and of one weight. The statistic is the squared distance of the mean features, M² = ‖μ − ν‖². The mean of many vectors is near normal, so under the
//! null M² is near (1/n + 1/m) Σ λᵢ χ²₁ with the eigenvalues λᵢ of the features' covariance, that of both windows as one sample. Its tail is Kuonen's saddlepoint
//! approximation (Biometrika 86, 1999), whose relative error stays below a sixth however far out, on the safe side there. Where nearly all texts are one, means are not near
//! normal: the smaller window must have room for [`APART`] vectors that lie apart from the rest.
//!
//! Effect: the distance without what chance makes of it, in deviations: √(M² − tr S/n − tr T/m) / √((tr S + tr T)/2 + M²/4), whose denominator is the spread of all
//! features, were the windows of one size, and [`LEAST_SPREAD`] at least; so it lies between 0 and 2. A share s of texts about a topic that is as far off as topics are from one another makes about 0.75 s, and of texts that were nearly all one about 4.5 s. Interval: by the triangle inequality
//! ‖μ − ν‖ is within q of its true value, where q² is the 95 % point of Σ λᵢ χ²₁ of S/n + T/m, or of what both windows as one sample have where that is more; the spread is taken as known.

use leeway_core::embedding::{Embeddings, FEATURES};
use leeway_core::interval::{Interval, LEVEL};
use leeway_core::special::normal_tail;
use nalgebra::{SMatrix, SVector};

use super::{Cell, Inconclusive, Verdict, WindowTest, enough};

pub(super) struct Discrepancy;

/// Vectors that each side needs: the law is one of means.
const VECTORS: u64 = 100;
/// Vectors at a distance of 1 from all others that the smaller window would have, were the two one sample; or has, where it is apart as a whole.
const APART: f64 = 20.0;
/// Half of what embeddings of texts have that differ little.
const LEAST_SPREAD: f64 = 0.25;
/// Steps of a search by halves.
const HALVES: usize = 200;

type Matrix = SMatrix<f64, FEATURES, FEATURES>;

impl WindowTest for Discrepancy {
    fn needs(&self) -> u64 {
        VECTORS
    }

    /// Counts at values are no embeddings.
    fn measure(&self, _: &[Cell]) -> Result<Verdict, Inconclusive> {
        Err(Inconclusive::OtherSource)
    }
}

/// Compares; every refusal has its reason.
pub(super) fn compare(reference: &Embeddings, current: &Embeddings, min_events: u64) -> Result<Verdict, Inconclusive> {
    enough(&Discrepancy, (reference.n(), current.n()), min_events)?;
    if !reference.comparable(current) {
        return Err(Inconclusive::OtherSource);
    }
    let (n, m) = (reference.n() as f64, current.n() as f64);
    let (s, t) = (Matrix::from(reference.covariance()), Matrix::from(current.covariance()));
    let way = SVector::<f64, FEATURES>::from(away(reference, current));
    let square = way.norm_squared();
    // Both as one sample.
    let all = (s * (n - 1.0) + t * (m - 1.0) + way * way.transpose() * (n * m / (n + m))) / (n + m - 1.0);
    let varies = all.trace();
    // What rounding leaves of nothing.
    if varies.is_nan() || varies < 1e-12 {
        return Err(Inconclusive::Alike);
    }
    if n.min(m) * varies.max(square) < APART {
        return Err(Inconclusive::NearlyAlike { needed: APART as u64 });
    }
    let whole = Law::of(all * (1.0 / n + 1.0 / m));
    let chance = s / n + t / m;
    let point = whole.point(1.0 - LEVEL).max(Law::of(chance).point(1.0 - LEVEL));
    let (distance, off, spread) = (square.sqrt(), point.sqrt(), spread_of((s.trace(), t.trace()), square));
    Ok(Verdict {
        effect: (square - chance.trace()).max(0.0).sqrt() / spread,
        interval: Interval::between((distance - off).max(0.0) / spread, (distance + off) / spread),
        statistic: square,
        p: whole.tail(square),
    })
}

/// From the reference's mean features to the present's.
pub fn away(reference: &Embeddings, current: &Embeddings) -> [f64; FEATURES] {
    let (from, to) = (reference.mean(), current.mean());
    std::array::from_fn(|place| to[place] - from[place])
}

/// Standard deviation of the features of both, were they of one size; what is nearly constant has [`LEAST_SPREAD`].
pub fn spread(reference: &Embeddings, current: &Embeddings) -> f64 {
    let within = |side: &Embeddings| Matrix::from(side.covariance()).trace();
    let square = away(reference, current).iter().map(|part| part * part).sum();
    spread_of((within(reference), within(current)), square)
}

fn spread_of((before, now): (f64, f64), square: f64) -> f64 {
    (f64::midpoint(before, now) + square / 4.0).max(0.0).sqrt().max(LEAST_SPREAD)
}

/// The law of Σ λᵢ χ²₁, independent of one another.
struct Law(Vec<f64>);

impl Law {
    /// With the eigenvalues of a covariance.
    fn of(covariance: Matrix) -> Self {
        let mut values: Vec<f64> = covariance.symmetric_eigenvalues().iter().copied().collect();
        values.sort_by(|a, b| b.total_cmp(a));
        let least = values.first().map_or(0.0, |largest| largest * 1e-12);
        values.retain(|value| *value > least);
        Self(values)
    }

    fn mean(&self) -> f64 {
        self.0.iter().sum()
    }

    /// P(Σ λᵢ χ²₁ > x).
    fn tail(&self, x: f64) -> f64 {
        let Some(largest) = self.0.first() else { return if x > 0.0 { 0.0 } else { 1.0 } };
        if x <= 0.0 {
            return 1.0;
        }
        // Cumulants' sums: K'(t), K''(t), and K'''(0).
        let first = |t: f64| self.0.iter().map(|l| l / (1.0 - 2.0 * t * l)).sum::<f64>();
        let second = |t: f64| self.0.iter().map(|l| 2.0 * (l / (1.0 - 2.0 * t * l)).powi(2)).sum::<f64>();
        let third = self.0.iter().map(|l| 8.0 * l.powi(3)).sum::<f64>();
        // Where K'(t) = x: between what makes all terms small and the pole of the largest.
        let (mut low, mut high) = (-(self.0.len() as f64) / (2.0 * x), 0.5 / largest);
        for _ in 0..HALVES {
            let middle = f64::midpoint(low, high);
            if first(middle) < x { low = middle } else { high = middle }
        }
        let t = low;
        let grown: f64 = self.0.iter().map(|l| -0.5 * (-2.0 * t * l).ln_1p()).sum();
        let w = t.signum() * (2.0 * (t * x - grown)).max(0.0).sqrt();
        let v = t * second(t).sqrt();
        // Near the mean the two are one, and what stands beside w is its limit.
        let beside = if w.abs() < 1e-4 { third / (6.0 * second(0.0).powf(1.5)) } else { (v / w).ln() / w };
        normal_tail(w + beside)
    }

    /// The value that is exceeded with probability `p`.
    fn point(&self, p: f64) -> f64 {
        let (mut low, mut high) = (0.0, self.mean());
        // Of nothing there is nothing beyond 0; numbers end before the doubling does.
        while self.tail(high) > p && high.is_normal() {
            (low, high) = (high, high * 2.0);
        }
        for _ in 0..HALVES {
            let middle = f64::midpoint(low, high);
            if self.tail(middle) > p { low = middle } else { high = middle }
        }
        f64::midpoint(low, high)
    }
}

#[cfg(test)]
mod tests {
    use leeway_core::embedding::Features;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const LENGTH: usize = 48;

    /// Texts about 30 topics by Zipf's law; of a share of them the topic is one more that is as far off as the others are.
    struct Texts {
        rng: ChaCha8Rng,
        topics: Vec<Vec<f32>>,
    }

    impl Texts {
        fn new(seed: u64) -> Self {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut topic = || (0..LENGTH).map(|_| noise(&mut rng)).collect();
            Self { topics: (0..31).map(|_| topic()).collect(), rng }
        }

        fn some(&mut self, n: usize, novel: f64) -> Embeddings {
            let mut all = Embeddings::default();
            for _ in 0..n {
                let mut pick = self.rng.random::<f64>() * (1..=30).map(|rank| 1.0 / f64::from(rank)).sum::<f64>();
                let mut topic = 0;
                while topic < 29 && pick > 1.0 / (topic + 1) as f64 {
                    pick -= 1.0 / (topic + 1) as f64;
                    topic += 1;
                }
                let topic = if self.rng.random::<f64>() < novel { 30 } else { topic };
                let vector: Vec<f32> =
                    self.topics[topic].iter().map(|middle| 0.5 + middle + 0.8 * noise(&mut self.rng)).collect();
                all.add(&Features::of(&vector).unwrap());
            }
            all
        }
    }

    /// Of variance 1.
    fn noise(rng: &mut ChaCha8Rng) -> f32 {
        ((0..3).map(|_| rng.random::<f32>()).sum::<f32>() - 1.5) * 2.0
    }

    #[test]
    fn the_law_is_that_of_imhof() {
        // Imhof's inversion (Biometrika 48, 1961) by scipy.integrate.quad.
        let falling: Vec<f64> = (0..32).map(|place| 1.0 - 0.03 * f64::from(place)).collect();
        // Eigenvalues, then values and their tails.
        type Known = (Vec<f64>, &'static [(f64, f64)]);
        let laws: [Known; 3] = [
            (
                vec![0.5, 0.3, 0.1, 0.05, 0.05],
                &[
                    (0.3, 0.847_315_832),
                    (1.0, 0.371_571_454),
                    (2.0, 0.109_259_460),
                    (4.0, 0.010_615_097),
                    (8.0, 1.335_129_7e-4),
                ],
            ),
            (vec![0.2; 5], &[(0.5, 0.776_495_071), (1.0, 0.415_880_187), (2.0, 0.075_235_246), (4.0, 1.249_726e-3)]),
            (falling, &[(10.0, 0.954_252_109), (17.0, 0.468_240_642), (30.0, 0.012_084_913), (45.0, 2.823_525e-5)]),
        ];
        for (values, tails) in laws {
            let law = Law(values);
            for (x, expected) in tails {
                let found = law.tail(*x);
                assert!((found / expected - 1.0).abs() < 0.07, "{x}: {found} {expected}");
                assert!((law.point(found) / x - 1.0).abs() < 1e-3, "{x}");
            }
            // Through the mean without a step.
            let mean = law.mean();
            let near: Vec<f64> = (-50..=50).map(|step| law.tail(mean * (1.0 + 1e-6 * f64::from(step)))).collect();
            assert!(near.windows(2).all(|pair| pair[0] >= pair[1] - 1e-7 && pair[0] - pair[1] < 1e-5), "{near:?}");
        }
    }

    #[test]
    fn without_a_change_p_is_uniform_and_with_one_it_is_found_and_as_large_as_it_is() {
        const RUNS: usize = 300;
        for (n, m) in [(2_000, 300), (300, 300), (100, 100)] {
            let (mut twentieth, mut hundredth, mut missed) = (0, 0, 0);
            for seed in 0..RUNS as u64 {
                let mut texts = Texts::new(seed);
                let found = compare(&texts.some(n, 0.0), &texts.some(m, 0.0), 0).unwrap();
                twentieth += usize::from(found.p <= 0.05);
                hundredth += usize::from(found.p <= 0.01);
                missed += usize::from(found.interval.low.unwrap() > 0.0);
            }
            println!("  {n} and {m}: {twentieth} of {RUNS} with p ≤ 0.05, {hundredth} ≤ 0.01, {missed} intervals miss");
            assert!(
                (5..=24).contains(&twentieth) && hundredth <= 9 && missed <= 20,
                "{twentieth} {hundredth} {missed}"
            );
        }
        for (novel, least) in [(0.1, 0.3), (0.2, 0.9), (0.4, 1.0)] {
            let (mut found, mut effects) = (0, 0.0);
            for seed in 0..50 {
                let mut texts = Texts::new(seed);
                let verdict = compare(&texts.some(2_000, 0.0), &texts.some(300, novel), 0).unwrap();
                found += usize::from(verdict.p <= 1e-3);
                effects += verdict.effect / 50.0;
                assert!(
                    verdict.interval.low.unwrap() <= verdict.effect && verdict.effect <= verdict.interval.high.unwrap()
                );
            }
            println!("  {novel} of the texts novel: {found} of 50 found with p ≤ 0.001, effect {effects:.2}");
            assert!(found as f64 >= least * 50.0 && (0.5 * novel..1.5 * novel).contains(&effects), "{found} {effects}");
        }
    }

    #[test]
    fn where_nearly_all_texts_are_one_chance_is_no_change() {
        const RUNS: u64 = 150;
        for (n, m, rare) in [(2_000, 2_000, 0.02), (4_000, 600, 0.05), (5_000, 3_000, 0.01)] {
            let (mut thousandth, mut missed, mut refused) = (0, 0, 0);
            for seed in 0..RUNS {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                let texts: Vec<Features> = (0..11)
                    .map(|_| (0..LENGTH).map(|_| noise(&mut rng)).collect::<Vec<f32>>())
                    .map(|vector| Features::of(&vector).unwrap())
                    .collect();
                let mut some = |n: usize| {
                    let mut all = Embeddings::default();
                    for _ in 0..n {
                        let place = if rng.random::<f64>() < rare { rng.random_range(1..11) } else { 0 };
                        all.add(&texts[place]);
                    }
                    all
                };
                match compare(&some(n), &some(m), 0) {
                    Ok(found) => {
                        thousandth += usize::from(found.p <= 1e-3);
                        missed += usize::from(found.interval.low.unwrap() > 0.0);
                    }
                    Err(reason) => {
                        assert_eq!(reason, Inconclusive::NearlyAlike { needed: 20 });
                        refused += 1;
                    }
                }
            }
            println!(
                "  {rare} of {n} and {m}: {thousandth} of {RUNS} with p ≤ 0.001, {missed} intervals miss, {refused} refused"
            );
            assert!(thousandth <= 2 && missed <= 15 && refused < RUNS / 2, "{thousandth} {missed} {refused}");
        }
    }

    #[test]
    fn what_cannot_be_compared_says_why() {
        let of = |n: usize, vector: &[f32]| {
            let mut all = Embeddings::default();
            (0..n).for_each(|_| all.add(&Features::of(vector).unwrap()));
            all
        };
        let (one, other) = (of(200, &[1.0, 0.0, 0.0]), of(200, &[0.0, 1.0, 0.0]));
        let said = |reference: &Embeddings, current: &Embeddings| compare(reference, current, 0).unwrap_err();
        assert_eq!(said(&one, &Embeddings::default()), Inconclusive::NoData);
        let little = Inconclusive::TooLittle { reference: 0, current: 200, needed: 100 };
        assert_eq!(said(&Embeddings::default(), &one), little);
        assert_eq!(said(&one, &one), Inconclusive::Alike);
        // Of another length: another model's.
        assert_eq!(said(&one, &of(200, &[1.0, 0.0])), Inconclusive::OtherSource);
        // One text for ever, then another.
        let moved = compare(&one, &other, 0).unwrap();
        assert!(moved.p < 1e-20 && (moved.effect - 2.0).abs() < 1e-9, "{moved:?}");
        for (n, m) in [(2_000, 150), (100, 3_000), (1_000, 100)] {
            let moved = compare(&of(n, &[1.0, 0.0, 0.0]), &of(m, &[0.0, 0.0, 0.0]), 0).unwrap();
            assert!(moved.p < 1e-9 && moved.interval.low.unwrap() > 1.0, "{n} {m}: {moved:?}");
            assert_eq!(said(&of(n, &[1.0, 0.0, 0.0]), &of(m, &[1.0, 0.0, 0.0])), Inconclusive::Alike, "{n} {m}");
        }
        // The same text, printed otherwise.
        let rounded = compare(&of(200, &[1.0, 0.0, 0.001]), &of(200, &[1.0, 0.0, -0.001]), 0);
        assert!(
            rounded.as_ref().is_err_and(|reason| *reason == Inconclusive::NearlyAlike { needed: 20 }),
            "{rounded:?}"
        );
    }
}
