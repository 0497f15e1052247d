//! Words that differ between two times by their names, and the report's rows of them.

use leeway_core::alert::{MovedWord, MovedWords};
use leeway_core::drift::Direction;
use leeway_core::pane::Pane;
use leeway_core::words::{Of, Vocabulary, Words};
use leeway_dashboards::report::{Outcome, WordsRow};
use leeway_detectors::drift::words::{self, Gates};
use leeway_detectors::drift::{Inconclusive, Verdict, classifier};

use crate::periods::Scope;

/// Words that are told.
const TOLD: usize = 8;
/// The level of a report's comparison, for all its words together.
const LEVEL: f64 = 0.05;
/// Texts of each week that a report compares.
const LEAST: u64 = 100;
/// A share of texts that matters in a report, if it came or went.
const MATTERS: f64 = 0.02;

/// Where an own word was counted that the settings no longer name.
const UNNAMED: &str = "(an own word that is no longer named)";

/// What a comparison says, and its words by name.
pub(crate) fn compared(
    (before, now): (&Words, &Words),
    min_events: u64,
    gates: Gates,
    vocabulary: &Vocabulary,
) -> Result<(Verdict, MovedWords), Inconclusive> {
    let found = words::compare(before, now, min_events, gates)?;
    let share = |hits: u64, of: &Words| hits as f64 / of.texts() as f64;
    let moved =
        found.words.iter().map(|moved| (moved.place, share(moved.reference, before), share(moved.current, now)));
    let words = MovedWords { tested: found.tested as u64, passed: found.passed, ..named(moved, vocabulary) };
    Ok((found.verdict, words))
}

/// The first of some words, each with its shares before and now.
fn named(words: impl Iterator<Item = (u16, f64, f64)>, vocabulary: &Vocabulary) -> MovedWords {
    let name = |place: u16| vocabulary.name(place).unwrap_or(UNNAMED).to_owned();
    let mut moved: Vec<MovedWord> =
        words.map(|(place, before, now)| MovedWord { place, word: name(place), before, now }).collect();
    let more = moved.len().saturating_sub(TOLD) as u64;
    moved.truncate(TOLD);
    MovedWords { tested: 0, moved, more, passed: false, together: false }
}

/// What a classifier of two windows' stretches says, and the words by which it tells them apart.
pub(crate) fn classified(
    (before, now): (&[Words], &[Words]),
    min_events: u64,
    gates: Gates,
    vocabulary: &Vocabulary,
) -> Result<(Verdict, MovedWords), Inconclusive> {
    let found = classifier::compare(before, now, min_events)?;
    let share = |side: &[Words], place: u16| {
        let texts: u64 = side.iter().map(Words::texts).sum();
        side.iter().map(|words| words.of(place)).sum::<u64>() as f64 / texts as f64
    };
    let moved = found.words.iter().map(|word| (word.place, share(before, word.place), share(now, word.place)));
    let passed = found.verdict.p <= gates.alpha && found.verdict.effect > gates.least;
    let words = MovedWords { tested: found.tested as u64, passed, together: true, ..named(moved, vocabulary) };
    Ok((found.verdict, words))
}

/// An app's words of two weeks; nothing of what neither has any. `p_adjusted` is not adjusted yet.
pub(crate) fn rows<'a>(
    scope: &'a Scope,
    (before, now): (&'a Pane, &'a Pane),
    vocabulary: &'a Vocabulary,
) -> impl Iterator<Item = WordsRow> + 'a {
    Of::ALL.into_iter().filter_map(move |of| {
        let none = Words::default();
        let (was, is) = (before.words(of).unwrap_or(&none), now.words(of).unwrap_or(&none));
        if was.texts() + is.texts() == 0 {
            return None;
        }
        let gates = Gates { alpha: LEVEL, least: MATTERS, direction: Direction::Both };
        let found = compared((was, is), LEAST, gates, vocabulary);
        Some(WordsRow {
            tenant: scope.tenant.clone(),
            app: scope.app.clone(),
            of,
            outcome: Outcome::NotAssessable,
            effect: found.as_ref().ok().map(|(verdict, _)| verdict.effect),
            p_adjusted: found.as_ref().ok().map(|(verdict, _)| verdict.p),
            untested: found.as_ref().err().map_or_else(String::new, ToString::to_string),
            words: found.ok().map(|(_, words)| words),
            n: is.texts(),
            n_before: was.texts(),
        })
    })
}

/// How a row came out, once its p-value is adjusted.
pub(crate) fn outcome(row: &WordsRow, level: f64) -> Outcome {
    match (&row.words, row.p_adjusted) {
        (Some(words), Some(p)) if words.passed && p < level => Outcome::Material,
        (Some(_), Some(_)) => Outcome::Stable,
        _ => Outcome::NotAssessable,
    }
}

#[cfg(test)]
mod tests {
    use leeway_core::event::Brings;
    use leeway_core::pane::Numbers;
    use leeway_core::scan::Scanned;

    use super::*;

    fn pane(vocabulary: &Vocabulary, n: usize, refunds: usize) -> Pane {
        let mut pane = Pane::default();
        for i in 0..n {
            let text = if i < refunds { "a refund for the zirkon" } else { "where is the parcel?" };
            let words = Some(Box::new([Some(vocabulary.places([text].into_iter())), None]));
            let scanned = Some(Box::new(Scanned { words, ..Scanned::default() }));
            let brings = Brings { call: true, text: true, ..Brings::default() };
            pane.add(&Numbers { scanned, brings, ..Numbers::default() });
        }
        pane
    }

    #[test]
    fn a_week_says_which_words_came_up_and_which_texts_were_too_few() {
        let vocabulary = Vocabulary::default();
        let scope = Scope { tenant: "acme".into(), app: "shop".into() };
        let rows = |before: &Pane, now: &Pane| -> Vec<WordsRow> { rows(&scope, (before, now), &vocabulary).collect() };
        let found = rows(&pane(&vocabulary, 400, 8), &pane(&vocabulary, 400, 80));
        let [row] = &found[..] else { panic!("{found:?}") };
        assert_eq!((row.of, row.n, outcome(row, 0.05)), (Of::Input, 400, Outcome::Material));
        let words = row.words.as_ref().unwrap();
        let refund = words.moved.iter().find(|moved| moved.word == "refund").unwrap();
        assert_eq!((refund.before, refund.now), (0.02, 0.2));
        assert!(words.passed && words.moved.iter().any(|word| word.word == "parcel" && word.now < word.before));
        let few = rows(&pane(&vocabulary, 60, 1), &pane(&vocabulary, 400, 80));
        assert_eq!((few[0].n_before, outcome(&few[0], 0.05)), (60, Outcome::NotAssessable));
        assert!(rows(&Pane::default(), &Pane::default()).is_empty());
        let same = rows(&pane(&vocabulary, 400, 80), &pane(&vocabulary, 400, 82));
        assert_eq!(outcome(&same[0], 0.05), Outcome::Stable);
        // Where no word passes, the report's family does not make one of it.
        let mut none = row.clone();
        none.words.as_mut().unwrap().passed = false;
        assert_eq!(outcome(&none, 0.05), Outcome::Stable);
    }
}
