//! Words that differ between two times: which have a name, and the report's rows of them.

use leeway_core::alert::{MovedWord, MovedWords};
use leeway_core::measure::Measure;
use leeway_core::pane::Pane;
use leeway_core::words::{Of, Vocabulary, Words};
use leeway_dashboards::report::{Outcome, WordsRow};
use leeway_detectors::drift::{Inconclusive, words};

use crate::periods::Scope;

/// Words that are told, and the level of all their tests together.
const TOLD: usize = 8;
const LEVEL: f64 = 0.05;
/// Texts of each week that a report compares.
const LEAST: u64 = 100;
/// A share of texts that matters in a report, if it came or went.
const MATTERS: f64 = 0.02;

/// Words that differ by all tests together; without a name, only how many.
pub(crate) fn told(before: &Words, now: &Words, vocabulary: Option<&Vocabulary>) -> Option<MovedWords> {
    let (tested, found) = words::moved(before, now).ok()?;
    let word = |moved: &words::Moved| MovedWord {
        place: moved.place,
        word: vocabulary.and_then(|vocabulary| vocabulary.name(moved.place)).unwrap_or_default().to_owned(),
        before: moved.reference as f64 / before.texts() as f64,
        now: moved.current as f64 / now.texts() as f64,
    };
    let (mut named, mut others): (Vec<MovedWord>, Vec<MovedWord>) =
        found.iter().filter(|moved| moved.p <= LEVEL).map(word).partition(|moved| !moved.word.is_empty());
    let (more, unlisted) = (named.len().saturating_sub(TOLD) as u64, others.len() as u64);
    named.truncate(TOLD);
    others.truncate(usize::from(named.is_empty()));
    named.append(&mut others);
    Some(MovedWords { tested: tested as u64, moved: named, more, unlisted })
}

/// An app's words of two weeks; nothing of what neither has any. `p_adjusted` is not adjusted yet.
pub(crate) fn rows<'a>(
    scope: &'a Scope,
    (before, now): (&'a Pane, &'a Pane),
    vocabulary: Option<&'a Vocabulary>,
) -> impl Iterator<Item = WordsRow> + 'a {
    Of::ALL.into_iter().filter_map(move |of| {
        let none = Words::default();
        let (was, is) = (before.words(of).unwrap_or(&none), now.words(of).unwrap_or(&none));
        if was.texts() + is.texts() == 0 {
            return None;
        }
        let enough = was.texts().min(is.texts()) >= LEAST;
        let found = if enough { words::verdict(was, is) } else { Err(Inconclusive::NoData) };
        Some(WordsRow {
            tenant: scope.tenant.clone(),
            app: scope.app.clone(),
            measure: Measure::Words(of).to_string(),
            outcome: Outcome::NotAssessable,
            words: found.is_ok().then(|| told(was, is, vocabulary)).flatten(),
            effect: found.as_ref().ok().map(|found| found.effect),
            p_adjusted: found.as_ref().ok().map(|found| found.p),
            n: is.texts(),
            n_before: was.texts(),
        })
    })
}

/// How a row came out, once its p-value is adjusted.
pub(crate) fn outcome(row: &WordsRow, level: f64) -> Outcome {
    match (row.effect, row.p_adjusted) {
        (Some(effect), Some(p)) if effect.abs() >= MATTERS && p < level => Outcome::Material,
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
        let rows =
            |before: &Pane, now: &Pane| -> Vec<WordsRow> { rows(&scope, (before, now), Some(&vocabulary)).collect() };
        let found = rows(&pane(&vocabulary, 400, 8), &pane(&vocabulary, 400, 80));
        let [row] = &found[..] else { panic!("{found:?}") };
        assert_eq!((row.measure.as_str(), row.n, outcome(row, 0.05)), ("words.input", 400, Outcome::Material));
        let words = row.words.as_ref().unwrap();
        let first = &words.moved[0];
        assert_eq!((first.word.as_str(), first.before, first.now), ("refund", 0.02, 0.2));
        assert!(words.unlisted == 1 && words.moved.iter().any(|word| word.word == "parcel" && word.now < word.before));
        let few = rows(&pane(&vocabulary, 60, 1), &pane(&vocabulary, 400, 80));
        assert_eq!((few[0].n_before, outcome(&few[0], 0.05)), (60, Outcome::NotAssessable));
        assert!(rows(&Pane::default(), &Pane::default()).is_empty());
        let same = rows(&pane(&vocabulary, 400, 80), &pane(&vocabulary, 400, 82));
        assert_eq!(outcome(&same[0], 0.05), Outcome::Stable);
    }
}
