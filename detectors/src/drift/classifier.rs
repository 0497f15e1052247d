//! Two times' texts told apart by a classifier of their words, which says which words tell them apart.
//!
//! Each window is cut into stretches of time with about as many texts each. From the first half of both windows a linear classifier is learnt, by nearest
//! shrunken centroids (Tibshirani, Hastie, Narasimhan and Chu, PNAS 99, 2002: a word's difference counts as far as it is beyond [`SHRUNK`] deviations of chance);
//! the stretches of the second half are scored by it, and then the other way round. A stretch's mean score is a sum over its table of words, so no text is kept.
//!
//! Null: the mean score of a stretch has one expectation in both windows, which it has where texts are of one law. Welch's statistic of the stretches' scores, to
//! the one side to which the classifier points, against Student's t with the degrees of freedom of the window with fewer stretches, which keeps the level whatever
//! the variances (Mickey and Brown, Ann. Math. Statist. 37, 1966); p of the better half doubled. Texts of one stretch may depend on one another. Where the scores of
//! neighbouring stretches go together, the variance of a mean is taken for as many times as large as their first two autocorrelations say, with as many fewer degrees of
//! freedom: right in the limit for autoregression of order one, with noise of each stretch's own. Means of stretches are taken as near normal.
//!
//! Effect: the difference of the scores, of the classifier that was learnt from half the texts, in deviations of a text's score (Cohen's d; of scores that are near
//! normal the area under the ROC curve is Φ(d/√2)). What a text's score varies is taken from the means of stretches, or as it would of words that are independent of
//! one another, whichever is more: where texts of a stretch resemble each other the difference is larger than told, where they are dealt out more evenly than chance
//! would it is smaller.

use leeway_core::interval::Interval;
use leeway_core::measure::Moments;
use leeway_core::words::Words;
use statrs::distribution::{ContinuousCDF, StudentsT};
use statrs::function::beta::beta_reg;

use super::{Cell, Inconclusive, Verdict, WindowTest, Z, enough, fisher::Fisher};

pub(super) struct Classifier;

/// Stretches into which a window is cut at most, and that it needs: half of them are learnt from.
const MOST: usize = 32;
const LEAST: usize = 16;
/// Texts that each side needs.
const TEXTS: u64 = 100;
/// Texts that are learnt from and have a word which counts.
const COMMON: u64 = 10;
/// Of stretches without a break: half a window each.
const RUNS: f64 = 4.0;
/// Deviations by which differences are shrunk.
const SHRUNK: f64 = 1.0;

/// A word that tells the windows apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Telling {
    pub place: u16,
    /// Its part of the difference of the scores.
    pub share: f64,
}

/// What a comparison says.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// How many words were looked at.
    pub tested: usize,
    pub verdict: Verdict,
    /// Words that tell the windows apart, the one that does the most first.
    pub words: Vec<Telling>,
}

impl WindowTest for Classifier {
    fn needs(&self) -> u64 {
        TEXTS
    }

    /// Of one word: texts without it, and with it.
    fn measure(&self, cells: &[Cell]) -> Result<Verdict, Inconclusive> {
        Fisher.measure(cells)
    }
}

/// Tables of a window, in the order of their times, as stretches with about as many texts each.
pub fn stretches(tables: impl IntoIterator<Item = Words>) -> Vec<Words> {
    let tables: Vec<Words> = tables.into_iter().filter(|table| table.texts() > 0).collect();
    let least = tables.iter().map(Words::texts).sum::<u64>().div_ceil(MOST as u64);
    let mut stretches: Vec<Words> = Vec::new();
    for table in tables {
        match stretches.last_mut().filter(|last| last.texts() < least) {
            Some(last) => last.merge(&table),
            None => stretches.push(table),
        }
    }
    // The last one has what was left.
    if let Some(last) = stretches.pop_if(|last| 2 * last.texts() < least) {
        match stretches.last_mut() {
            Some(before) => before.merge(&last),
            None => stretches.push(last),
        }
    }
    stretches
}

/// Compares two windows' stretches; every refusal has its reason.
pub fn compare(reference: &[Words], current: &[Words], min_events: u64) -> Result<Compared, Inconclusive> {
    let texts = |side: &[Words]| side.iter().map(Words::texts).sum::<u64>();
    enough(&Classifier, (texts(reference), texts(current)), min_events)?;
    if reference.len() < LEAST || current.len() < LEAST {
        let (reference, current) = (reference.len() as u64, current.len() as u64);
        return Err(Inconclusive::FewStretches { reference, current, needed: LEAST as u64 });
    }
    let scored = [0, 1].map(|half| Scored::of((reference, current), half));
    let together = Together::of(&scored);
    let halves = scored.each_ref().map(|scored| Half::of(scored, together));
    let tested = halves.iter().map(|half| half.tested).max().unwrap_or(0);
    if tested == 0 {
        return Err(Inconclusive::NoWords { needed: COMMON });
    }
    let mean = |of: fn(&Half) -> f64| halves.iter().map(of).sum::<f64>() / halves.len() as f64;
    let p = halves.iter().map(|half| half.p).fold(1.0, f64::min);
    let verdict = Verdict {
        // A classifier that points the wrong way tells nothing apart.
        effect: mean(|half| half.effect).max(0.0),
        // Of estimates that may go together the mean is no worse known than they are in the mean.
        interval: Interval::between(mean(|half| half.low), mean(|half| half.high)),
        statistic: mean(|half| half.statistic),
        p: (p * halves.len() as f64).min(1.0),
    };
    let mut words: Vec<Telling> = Vec::new();
    for told in halves.iter().flat_map(|half| &half.words) {
        let share = told.share / halves.len() as f64;
        match words.iter_mut().find(|known| known.place == told.place) {
            Some(known) => known.share += share,
            None => words.push(Telling { share, ..*told }),
        }
    }
    words.retain(|word| word.share > 0.0);
    words.sort_by(|a, b| b.share.total_cmp(&a.share).then(b.place.cmp(&a.place)));
    Ok(Compared { tested, verdict, words })
}

/// Stretches of both windows and what a classifier says of them that was learnt from the others.
struct Scored<'a> {
    tested: usize,
    weights: Vec<(u16, f64)>,
    before: &'a [Words],
    now: &'a [Words],
    /// Mean scores, in the order of time.
    was: Vec<f64>,
    is: Vec<f64>,
}

impl<'a> Scored<'a> {
    fn of((reference, current): (&'a [Words], &'a [Words]), half: usize) -> Self {
        // Halves of the time: what is learnt from has one stretch alone beside those that are scored.
        let side = |side: &'a [Words], which: usize| {
            let (early, late) = side.split_at(side.len() / 2);
            if which == 0 { early } else { late }
        };
        let (tested, weights) = learn(&all(side(reference, half)), &all(side(current, half)));
        let (before, now) = (side(reference, 1 - half), side(current, 1 - half));
        let (was, is) = (scores(&weights, before), scores(&weights, now));
        Self { tested, weights, before, now, was, is }
    }
}

/// How many times the variance of a mean is as large since neighbouring stretches go together.
#[derive(Clone, Copy)]
struct Together(f64);

impl Together {
    /// From the scores of each half in the order of time, in deviations of their own.
    fn of(scored: &[Scored<'_>; 2]) -> Self {
        let (mut lags, mut squares, mut stretches) = ([0.0; 2], 0.0, 0.0);
        for scores in scored.iter().flat_map(|scored| [&scored.was, &scored.is]) {
            let of = moments(scores);
            let deviation = (of.squares / of.n).sqrt().max(f64::MIN_POSITIVE);
            let off: Vec<f64> = scores.iter().map(|score| (score - of.mean) / deviation).collect();
            for (lag, sum) in lags.iter_mut().enumerate() {
                *sum += off.iter().zip(&off[lag + 1..]).map(|(one, next)| one * next).sum::<f64>();
            }
            squares += off.iter().map(|score| score * score).sum::<f64>();
            stretches += of.n;
        }
        // From few stretches they come out too small (Kendall, Biometrika 41, 1954), in each of the four runs.
        let [r, next] = lags.map(|sum| {
            let told = if squares > 0.0 { sum / squares } else { 0.0 };
            told + (1.0 + 3.0 * told) * RUNS / stretches
        });
        // Chance of a stretch's own thins them out; how they fade does not depend on it.
        let sure = r > 2.0 / f64::sqrt(stretches);
        let fades = if sure { (next / r).clamp(r.min(0.95), 0.95) } else { r.clamp(0.0, 0.95) };
        Self(1.0 + 2.0 * r.max(0.0) / (1.0 - fades))
    }
}

/// What a classifier that was learnt from one half says of the other.
struct Half {
    tested: usize,
    effect: f64,
    low: f64,
    high: f64,
    statistic: f64,
    p: f64,
    words: Vec<Telling>,
}

impl Half {
    fn of(scored: &Scored<'_>, Together(times): Together) -> Self {
        let Scored { tested, weights, before, now, was, is } = scored;
        // As good as a coin.
        let coin =
            Self { tested: *tested, effect: 0.0, low: 0.0, high: 0.0, statistic: 0.0, p: 1.0, words: Vec::new() };
        let (was, is) = (moments(was), moments(is));
        let away = is.mean - was.mean;
        if away == 0.0 {
            return coin;
        }
        let (spread, spread_now) = (variance(was, before, away), variance(is, now, away));
        let (before, now) = (all(before), all(now));
        let error = (times * (spread / before.texts() as f64 + spread_now / now.texts() as f64)).sqrt();
        let (statistic, freedom) = (away / error, (was.n.min(is.n) / times - 1.0).max(1.0));
        let tail = beta_reg(freedom / 2.0, 0.5, freedom / (freedom + statistic * statistic)) / 2.0;
        let point = StudentsT::new(0.0, 1.0, freedom).map_or(f64::INFINITY, |law| law.inverse_cdf(0.975));
        let words = f64::midpoint(of_words(weights, &before), of_words(weights, &now));
        let deviation = f64::midpoint(spread, spread_now).max(words).sqrt();
        // What scores vary is known from so few stretches, too.
        let off = error * point / deviation;
        let off = off.hypot(Z * away / deviation / (2.0 * (was.n + is.n - 2.0)).sqrt());
        let part = |(place, weight): &(u16, f64)| {
            let moved = now.of(*place) as f64 / now.texts() as f64 - before.of(*place) as f64 / before.texts() as f64;
            Telling { place: *place, share: weight * moved / away }
        };
        let right = away > 0.0;
        Self {
            effect: away / deviation,
            low: away / deviation - off,
            high: away / deviation + off,
            statistic,
            p: if right { tail } else { 1.0 - tail },
            words: weights.iter().filter(|_| right).map(part).collect(),
            ..coin
        }
    }
}

fn moments(scores: &[f64]) -> Moments {
    Moments::of_values(scores).unwrap_or(Moments { n: 0.0, mean: 0.0, squares: 0.0 })
}

fn all(stretches: &[Words]) -> Words {
    let mut all = Words::default();
    stretches.iter().for_each(|words| all.merge(words));
    all
}

/// How many words were looked at, and the weight of each that counts for a text's being of the present.
fn learn(reference: &Words, current: &Words) -> (usize, Vec<(u16, f64)>) {
    let (n, m) = (reference.texts() as f64, current.texts() as f64);
    let error = (1.0 / n + 1.0 / m).sqrt();
    let mut both = reference.clone();
    both.merge(current);
    let known = |(place, texts): &&(u16, u64)| *texts >= COMMON && reference.both_know(current, *place);
    let tested: Vec<(u16, u64)> = both.counts().iter().filter(known).copied().collect();
    let weight = |(place, texts): &(u16, u64)| {
        let share = *texts as f64 / (n + m);
        let deviation = (share * (1.0 - share)).sqrt();
        let away = current.of(*place) as f64 / m - reference.of(*place) as f64 / n;
        let off = away / (deviation * error);
        (off.abs() > SHRUNK).then(|| (*place, (off.abs() - SHRUNK).copysign(off) * error / deviation))
    };
    (tested.len(), tested.iter().filter_map(weight).collect())
}

/// The mean scores of stretches' texts.
fn scores(weights: &[(u16, f64)], stretches: &[Words]) -> Vec<f64> {
    let score = |words: &Words| {
        weights.iter().map(|(place, weight)| weight * words.of(*place) as f64).sum::<f64>() / words.texts() as f64
    };
    stretches.iter().map(score).collect()
}

/// Of a text's score, by those of stretches; texts that are all alike vary as if one of them were of the other window, so far `away`.
fn variance(scores: Moments, stretches: &[Words], away: f64) -> f64 {
    let texts: f64 = stretches.iter().map(|words| words.texts() as f64).sum();
    (scores.squares / (scores.n - 1.0) * texts / scores.n).max(away * away / texts)
}

/// Of a text's score, were its words independent of one another.
fn of_words(weights: &[(u16, f64)], texts: &Words) -> f64 {
    let share = |place: u16| texts.of(place) as f64 / texts.texts() as f64;
    weights.iter().map(|(place, weight)| weight * weight * share(*place) * (1.0 - share(*place))).sum()
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Words of a text, about 24 of 500 by Zipf's law; of every other of those that are not the most common so many times as often, of every fifth by a mood.
    fn text(rng: &mut ChaCha8Rng, often: f64, mood: f64) -> Vec<u16> {
        let share = |place: u16| {
            let often = if place >= 30 && place.is_multiple_of(2) { often } else { 1.0 };
            let mood = if place.is_multiple_of(5) { mood } else { 1.0 };
            often * mood * 3.0 / f64::from(place + 4)
        };
        (0..500u16).filter(|place| rng.random::<f64>() < share(*place)).collect()
    }

    /// Stretches of texts; in each `tossed` to this side or that of what they are, together.
    fn window(seed: u64, (stretches, texts): (usize, usize), often: f64, tossed: f64) -> Vec<Words> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut stretch = || {
            let mut words = Words::default();
            let mood = 1.0 + tossed * (rng.random::<f64>() - 0.5);
            (0..texts).for_each(|_| words.add(&text(&mut rng, often, mood).into_iter().collect()));
            words
        };
        (0..stretches).map(|_| stretch()).collect()
    }

    #[test]
    fn without_a_change_few_comparisons_of_a_hundred_find_one() {
        const RUNS: u64 = 400;
        for (stretches, tossed) in [((32, 16), 0.0), ((16, 40), 0.0), ((16, 24), 1.0)] {
            let (mut found, mut effects) = (0, 0.0);
            for seed in 0..RUNS {
                let (reference, current) =
                    (window(2 * seed, (32, 24), 1.0, tossed), window(2 * seed + 1, stretches, 1.0, tossed));
                let told = compare(&reference, &current, 0).unwrap();
                found += usize::from(told.verdict.p <= 0.05);
                effects += told.verdict.effect / RUNS as f64;
            }
            println!("  {stretches:?}, tossed {tossed}: {found} of {RUNS} with p ≤ 0.05, mean effect {effects:.3}");
            assert!(found <= RUNS as usize * 8 / 100, "{found}");
            assert!(effects.abs() < 0.05, "{effects}");
        }
    }

    /// The mood of a stretch is mostly that of the one before it, and all words are in it.
    #[test]
    fn where_stretches_go_together_a_comparison_is_careful() {
        const RUNS: u64 = 200;
        for (rho, stretches, texts, most) in
            [(0.5f64, 32, 24, [0.10, 0.005]), (0.8, 32, 24, [0.22, 0.025]), (0.8, 16, 40, [0.3, 0.03])]
        {
            let mut found = [0, 0];
            for seed in 0..RUNS {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                let mut window = || -> Vec<Words> {
                    let mut moods: [f64; 5] = std::array::from_fn(|_| rng.random::<f64>() - 0.5);
                    let mut window = Vec::new();
                    for _ in 0..stretches {
                        moods = moods.map(|mood| rho * mood + (1.0 - rho * rho).sqrt() * (rng.random::<f64>() - 0.5));
                        let share = |place: u16| (1.0 + moods[usize::from(place % 5)]) * 3.0 / f64::from(place + 4);
                        let mut words = Words::default();
                        for _ in 0..texts {
                            words.add(&(0..300u16).filter(|place| rng.random::<f64>() < share(*place)).collect());
                        }
                        window.push(words);
                    }
                    window
                };
                let p = compare(&window(), &window(), 0).unwrap().verdict.p;
                found[0] += usize::from(p <= 0.05);
                found[1] += usize::from(p <= 0.001);
            }
            println!("  rho {rho}, {stretches} stretches of {texts}: {found:?} of {RUNS} with p ≤ 0.05 and 0.001");
            assert!(found.iter().zip(most).all(|(found, most)| *found as f64 <= most * RUNS as f64), "{found:?}");
        }
    }

    /// 235 words are each a little more frequent: no word alone shows it.
    #[test]
    fn a_little_of_many_words_is_told_where_no_word_alone_is_sure() {
        const RUNS: u64 = 40;
        let gates =
            super::super::words::Gates { alpha: 0.001, least: 0.0, direction: leeway_core::drift::Direction::Both };
        let (mut together, mut alone) = (0, 0);
        for seed in 0..RUNS {
            let (reference, current) =
                (window(7 + 2 * seed, (32, 60), 1.0, 0.0), window(8 + 2 * seed, (32, 20), 1.4, 0.0));
            together += usize::from(compare(&reference, &current, 0).unwrap().verdict.p <= 0.001);
            let words = super::super::words::compare(&all(&reference), &all(&current), 0, gates).unwrap();
            alone += usize::from(words.passed);
        }
        println!("  of {RUNS}: {together} by all words together, {alone} by some word alone");
        assert!(together >= 30 && alone <= 20 && together >= alone + 15, "{together} {alone}");
    }

    /// The difference is that of the learnt scores of the texts themselves.
    #[test]
    fn the_effect_is_what_the_texts_themselves_have() {
        const RUNS: u64 = 40;
        let (mut held, mut told_effects, mut effects) = (0, 0.0, 0.0);
        for seed in 0..RUNS {
            let (reference, current) = (window(2 * seed, (32, 40), 1.0, 0.0), window(2 * seed + 1, (32, 40), 1.6, 0.0));
            let told = compare(&reference, &current, 0).unwrap();
            // Scores of new texts, by both classifiers.
            let effect = [0, 1].map(|half| {
                let every = |side: &[Words]| all(&side[half * side.len() / 2..][..side.len() / 2]);
                let (_, weights) = learn(&every(&reference), &every(&current));
                let new = |seed: u64, often: f64| {
                    moments(&scores(&weights, &window(1_000_000 + seed, (1_000, 1), often, 0.0)))
                };
                let (was, is) = (new(2 * seed, 1.0), new(2 * seed + 1, 1.6));
                (is.mean - was.mean) / ((was.squares + is.squares) / (was.n + is.n - 2.0)).sqrt()
            });
            let effect = f64::midpoint(effect[0], effect[1]);
            let (low, high) = (told.verdict.interval.low.unwrap(), told.verdict.interval.high.unwrap());
            held += usize::from(low <= effect && effect <= high);
            told_effects += told.verdict.effect / RUNS as f64;
            effects += effect / RUNS as f64;
        }
        println!("  effect told {told_effects:.3}, of new texts {effects:.3}; {held} of {RUNS} intervals hold it");
        assert!((told_effects / effects - 1.0).abs() < 0.1 && held >= 37, "{told_effects} {effects} {held}");
    }

    #[test]
    fn the_words_that_tell_the_windows_apart_are_told() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut window = |refunds: f64| -> Vec<Words> {
            let mut texts = || {
                let mut words = Words::default();
                for _ in 0..40 {
                    let mut places = text(&mut rng, 1.0, 1.0);
                    places.extend([900, 901].iter().filter(|_| rng.random::<f64>() < refunds));
                    words.add(&places.into_iter().collect());
                }
                words
            };
            (0..16).map(|_| texts()).collect()
        };
        let (reference, current) = (window(0.01), window(0.2));
        let told = compare(&reference, &current, 0).unwrap();
        assert!(told.verdict.p < 0.01 && told.verdict.effect > 0.4, "{:?}", told.verdict);
        let first: Vec<u16> = told.words.iter().take(2).map(|word| word.place).collect();
        assert!(first.contains(&900) && first.contains(&901), "{:?}", told.words);
        let sum: f64 = told.words.iter().map(|word| word.share).sum();
        assert!(sum > 0.9, "{sum}");
    }

    #[test]
    fn stretches_have_about_as_many_texts_and_lose_none() {
        let table = |texts: usize| {
            let mut words = Words::default();
            (0..texts).for_each(|_| words.add(&[1].into_iter().collect()));
            words
        };
        for sizes in [vec![], vec![0, 0], vec![1], vec![5; 60], (0..200).collect(), vec![1_000, 1, 1, 1]] {
            let cut = stretches(sizes.iter().map(|texts| table(*texts)));
            assert!(cut.len() <= MOST && cut.iter().all(|words| words.texts() > 0), "{sizes:?}");
            let texts: u64 = cut.iter().map(Words::texts).sum();
            assert_eq!(texts, sizes.iter().sum::<usize>() as u64);
        }
        assert_eq!(stretches((0..60).map(|_| table(5))).len(), 30);
    }

    #[test]
    fn too_little_is_said() {
        let few = window(1, (16, 2), 1.0, 0.0);
        assert_eq!(compare(&few, &few, 0), Err(Inconclusive::TooLittle { reference: 32, current: 32, needed: TEXTS }));
        assert_eq!(compare(&few, &[], 0), Err(Inconclusive::NoData));
        let (short, long) = (window(1, (15, 40), 1.0, 0.0), window(1, (16, 40), 1.0, 0.0));
        assert_eq!(
            compare(&long, &short, 0),
            Err(Inconclusive::FewStretches { reference: 16, current: 15, needed: LEAST as u64 })
        );
        let mut silent = Words::default();
        (0..50).for_each(|_| silent.add(&Default::default()));
        let silent = vec![silent; 16];
        assert_eq!(compare(&silent, &silent, 0), Err(Inconclusive::NoWords { needed: COMMON }));
        // What all texts have differs by nothing.
        let mut same = Words::default();
        (0..50).for_each(|_| same.add(&[1].into_iter().collect()));
        let told = compare(&vec![same.clone(); 16], &vec![same; 16], 0).unwrap();
        assert_eq!((told.verdict.effect, told.verdict.p), (0.0, 1.0));
        // All texts are others, and each like the other.
        let window = |place: u16| {
            let mut words = Words::default();
            (0..50).for_each(|_| words.add(&[place].into_iter().collect()));
            vec![words; 16]
        };
        let told = compare(&window(1), &window(2), 0).unwrap();
        assert!(told.verdict.effect > 3.0 && told.verdict.p < 1e-3, "{:?}", told.verdict);
    }
}
