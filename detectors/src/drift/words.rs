//! Words of texts: which are in more of them, or in fewer.
//!
//! Null: each word has one probability of being in a text in both windows. Texts are taken as independent of one another, and of one weight; the words of a text
//! may depend on one another. Each word that [`LEAST`] texts of both windows together have is tested by Fisher's exact test, which holds these totals fixed, so
//! that the choice of words tells nothing of where they came (where all four counts are [`MANY`] or more by the pooled z test, whose law is then as good). p-values are
//! times their number (Bonferroni), intervals of the differences hold together for all words at 95 %: Newcombe's (Statist. Med. 17, 1998, method 10) from Clopper and
//! Pearson's limits of each side.

use leeway_core::drift::Direction;
use leeway_core::interval::{self, Interval, LEVEL};
use leeway_core::words::Words;

use super::fisher::Fisher;
use super::two_proportions::TwoProportions;
use super::{Cell, Inconclusive, Verdict, WindowTest, enough, rates};

pub(super) struct ByWord;

/// Texts of both windows that have a word which is tested.
const LEAST: u64 = 10;
/// Texts that each side needs.
const TEXTS: u64 = 30;
/// Deviations from which on a word's p-value is computed; below it is taken for 1.
const NEAR: f64 = 2.0;
/// Texts with and without a word, on either side, from which on the normal law will do.
const MANY: u64 = 1_000;

/// What is asked of a word that is told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gates {
    /// For all words together.
    pub alpha: f64,
    /// The least change of a word's share of the texts.
    pub least: f64,
    pub direction: Direction,
}

/// A word whose share of the texts differs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moved {
    pub place: u16,
    /// Texts that have it.
    pub reference: u64,
    pub current: u64,
    /// Share of the present less that of the reference; its interval holds together with those of all words.
    pub effect: f64,
    pub interval: Interval,
    /// Times the number of words that were tested.
    pub p: f64,
}

/// What a comparison says.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// How many words were tested.
    pub tested: usize,
    /// Of the first of the words.
    pub verdict: Verdict,
    /// Words that pass the gates, what surely went furthest first; where none does, the one that surely went furthest.
    pub words: Vec<Moved>,
    /// Whether they pass.
    pub passed: bool,
}

impl Gates {
    fn pass(&self, moved: &Moved) -> bool {
        moved.p <= self.alpha && self.direction.size(moved.effect) > self.least
    }
}

impl Moved {
    /// How far it surely went.
    fn surely(&self) -> f64 {
        self.interval.low.unwrap_or(-1.0).max(-self.interval.high.unwrap_or(1.0)).max(0.0)
    }
}

impl WindowTest for ByWord {
    fn needs(&self) -> u64 {
        TEXTS
    }

    /// Of one word: texts without it, and with it.
    fn measure(&self, cells: &[Cell]) -> Result<Verdict, Inconclusive> {
        Fisher.measure(cells)
    }
}

/// Compares; every refusal has its reason.
pub fn compare(reference: &Words, current: &Words, min_events: u64, gates: Gates) -> Result<Compared, Inconclusive> {
    enough(&ByWord, (reference.texts(), current.texts()), min_events)?;
    let (tested, mut words) = moved(reference, current)?;
    let passed = words.iter().any(|word| gates.pass(word));
    words.retain(|word| gates.pass(word) || !passed);
    words.truncate(if passed { words.len() } else { 1 });
    let Moved { effect, interval, p, .. } = words.first().copied().ok_or(Inconclusive::NoWords { needed: LEAST })?;
    Ok(Compared { tested, verdict: Verdict { effect, interval, statistic: tested as f64, p }, words, passed })
}

/// How many words are tested, and those that are far from the other window, what surely went furthest first; where none is far, the one that is furthest.
fn moved(reference: &Words, current: &Words) -> Result<(usize, Vec<Moved>), Inconclusive> {
    let (n, m) = (reference.texts(), current.texts());
    let mut both = reference.clone();
    both.merge(current);
    let known = |(place, texts): &&(u16, u64)| *texts >= LEAST && reference.both_know(current, *place);
    let tested: Vec<u16> = both.counts().iter().filter(known).map(|(place, _)| *place).collect();
    if tested.is_empty() {
        return Err(Inconclusive::NoWords { needed: LEAST });
    }
    let off = |place: &u16| {
        let (before, now) = (reference.of(*place), current.of(*place));
        (deviations((before, n), (now, m)), *place, before, now)
    };
    let mut far: Vec<(f64, u16, u64, u64)> = tested.iter().map(off).collect();
    far.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let near = far.iter().position(|(off, ..)| *off < NEAR).unwrap_or(far.len()).max(1);
    let level = 1.0 - (1.0 - LEVEL) / tested.len() as f64;
    let mut found = Vec::new();
    for (_, place, before, now) in far.into_iter().take(near) {
        let side = |hits: u64, of: u64| (hits as f64 / of as f64, interval::clopper_pearson(hits, of, level));
        let (was, is) = (side(before, n), side(now, m));
        found.push(Moved {
            place,
            reference: before,
            current: now,
            effect: is.0 - was.0,
            interval: interval::difference(is, was),
            p: (alone((before, n), (now, m))? * tested.len() as f64).min(1.0),
        });
    }
    // Of words that are alike in all this the rarer, which stand further back in the list, say more.
    found.sort_by(|a, b| b.surely().total_cmp(&a.surely()).then(a.p.total_cmp(&b.p)).then(b.place.cmp(&a.place)));
    Ok((tested.len(), found))
}

/// The p-value of one word by itself.
fn alone((before, n): (u64, u64), (now, m): (u64, u64)) -> Result<f64, Inconclusive> {
    let cells = rates((before, n), (now, m));
    let rarest = cells.iter().flat_map(|cell| [cell.reference, cell.current]).min();
    // Of what every text has there is one category.
    if cells[0].reference + cells[0].current == 0 {
        return Ok(1.0);
    }
    let test: &dyn WindowTest = if rarest.is_some_and(|rarest| rarest >= MANY) { &TwoProportions } else { &Fisher };
    Ok(test.measure(&cells)?.p)
}

/// Deviations of the pooled z test.
fn deviations((before, n): (u64, u64), (now, m): (u64, u64)) -> f64 {
    let (n, m) = (n as f64, m as f64);
    let pooled = (before + now) as f64 / (n + m);
    let variance = pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m);
    if variance > 0.0 { (now as f64 / m - before as f64 / n).abs() / variance.sqrt() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const ANY: Gates = Gates { alpha: 1.0, least: 0.0, direction: Direction::Both };

    /// Texts of about 24 of 600 words by Zipf's law, half of which are about one of ten topics with words of its own: words of a text go together.
    fn texts(rng: &mut ChaCha8Rng, n: usize, refunds: f64) -> Words {
        let mut words = Words::default();
        for _ in 0..n {
            let topic = rng.random_range(0..20u16);
            let mut places: Vec<u16> =
                (0..500u16).filter(|place| rng.random::<f64>() < 3.0 / f64::from(place + 3)).collect();
            if topic < 10 {
                places.extend((500 + 10 * topic..510 + 10 * topic).filter(|_| rng.random::<f64>() < 0.7));
            }
            if rng.random::<f64>() < refunds {
                places.push(1_000);
            }
            words.add(&places.into_iter().collect());
        }
        words
    }

    #[test]
    fn without_a_change_few_comparisons_of_a_hundred_find_one_and_intervals_hold_together() {
        const RUNS: usize = 400;
        let (mut found, mut missed) = (0, 0);
        for seed in 0..RUNS as u64 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let (reference, current) = (texts(&mut rng, 400, 0.02), texts(&mut rng, 60, 0.02));
            let (tested, words) = moved(&reference, &current).unwrap();
            assert!((50..602).contains(&tested), "{tested}");
            found += usize::from(words.iter().any(|word| word.p <= 0.05));
            // Nothing differs, so each interval holds 0 or misses.
            missed += usize::from(words.iter().any(|word| word.surely() > 0.0));
        }
        println!("  {found} of {RUNS} with p ≤ 0.05, {missed} with an interval that misses");
        assert!(found <= RUNS / 20 && missed <= RUNS / 20, "{found} {missed}");
    }

    #[test]
    fn the_word_that_came_up_is_told_with_its_size() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let (reference, current) = (texts(&mut rng, 2_000, 0.02), texts(&mut rng, 200, 0.2));
        let (_, words) = moved(&reference, &current).unwrap();
        let first = words[0];
        assert_eq!(first.place, 1_000);
        assert!(
            first.interval.low.unwrap() < 0.18 && 0.18 < first.interval.high.unwrap() && first.p < 1e-6,
            "{first:?}"
        );
        let found = compare(&reference, &current, 0, ANY).unwrap();
        assert_eq!((found.verdict.effect, found.verdict.p, found.passed), (first.effect, first.p, true));
        // The other way round it went away.
        let (_, back) = moved(&current, &reference).unwrap();
        assert!(back[0].place == 1_000 && (back[0].effect + first.effect).abs() < 1e-12);
    }

    #[test]
    fn each_words_p_is_fishers_times_the_number_of_words() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let (reference, current) = (texts(&mut rng, 100, 0.1), texts(&mut rng, 100, 0.5));
        let (tested, words) = moved(&reference, &current).unwrap();
        for word in words {
            let alone = super::super::compare(
                leeway_core::drift::Test::Fisher,
                &rates((word.reference, 100), (word.current, 100)),
                0,
            );
            assert_eq!(word.p, (alone.unwrap().p * tested as f64).min(1.0));
        }
    }

    /// A word that most surely went, and one that went further than matters: the second is told, where the first is too small.
    #[test]
    fn a_word_that_passes_both_gates_is_not_hidden_by_one_that_is_surer() {
        let window = |rare: u64, common: u64| {
            let mut words = Words::default();
            for text in 0..2_000u64 {
                let places = [(1, text < rare), (2, text < common), (3, text % 2 == 0)];
                words.add(&places.into_iter().filter(|(_, has)| *has).map(|(place, _)| place).collect());
            }
            words
        };
        let (reference, current) = (window(2, 1_000), window(90, 1_160));
        let gates = |alpha, least, direction| Gates { alpha, least, direction };
        let told = |gates| {
            let found = compare(&reference, &current, 0, gates).unwrap();
            (found.words.iter().map(|word| word.place).collect::<Vec<_>>(), found.passed)
        };
        assert_eq!(told(gates(0.001, 0.05, Direction::Both)), (vec![2], true));
        assert_eq!(told(gates(0.001, 0.01, Direction::Both)), (vec![2, 1], true));
        assert!(!told(gates(0.001, 0.01, Direction::Down)).1);
        assert_eq!(told(gates(0.001, 0.5, Direction::Both)).0.len(), 1);
    }

    #[test]
    fn large_windows_are_no_slower_and_no_word_voids_the_others() {
        let many = |hits: u64, n: u64| alone((hits, n), (hits + hits / 50, n)).unwrap();
        assert!(many(4_000_000, 100_000_000) < 1e-100);
        let new = alone((0, 20_000_000), (9, 20_000_000)).unwrap();
        assert!((new / 2f64.powi(-8) - 1.0).abs() < 1e-3, "{new}");
    }

    #[test]
    fn too_few_texts_or_no_word_say_so() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let few = texts(&mut rng, 9, 0.0);
        let told = |reference: &Words, current: &Words| compare(reference, current, 0, ANY).map(|found| found.verdict);
        assert_eq!(told(&few, &Words::default()), Err(Inconclusive::NoData));
        assert_eq!(told(&few, &few), Err(Inconclusive::TooLittle { reference: 9, current: 9, needed: TEXTS }));
        let mut silent = Words::default();
        (0..50).for_each(|_| silent.add(&Default::default()));
        assert_eq!(told(&silent, &silent), Err(Inconclusive::NoWords { needed: LEAST }));
        // What all texts have differs by nothing.
        let mut all = Words::default();
        (0..50).for_each(|_| all.add(&[1].into_iter().collect()));
        let same = told(&all, &all).unwrap();
        assert_eq!((same.effect, same.p), (0.0, 1.0));
    }
}
