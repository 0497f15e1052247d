//! Phone numbers: international with `+`, North American in its usual forms, others in groups after a word that says
//! so. Fictional numbers (555-01xx) are none.

use leeway_core::scan::Entity;

use super::digits::{Run, context};
use super::{Found, Pattern, Site};

pub(super) struct Phone;

const WORDS: [&str; 9] = ["phone", "tel", "telephone", "call", "cell", "mobile", "whatsapp", "fax", "telefon"];

impl Pattern for Phone {
    fn entity(&self) -> Entity {
        Entity::Phone
    }

    fn needs(&self, byte: u8) -> bool {
        byte.is_ascii_digit() || byte == b'+' || byte == b'('
    }

    fn of_numbers(&self) -> bool {
        true
    }

    fn parse(&self, site: &Site<'_>) -> Option<Found> {
        let Site { text, at, from, .. } = *site;
        match text[at] {
            _ if at < from => None,
            b'+' => international(text, at),
            b'(' => bracketed(text, at),
            _ if at == 0 || text[at - 1] != b'+' => national(text, at, site.run()?),
            _ => None,
        }
    }
}

fn international(text: &[u8], at: usize) -> Option<Found> {
    if at > 0 && text[at - 1].is_ascii_alphanumeric() {
        return None;
    }
    let run = Run::read(text, at + 1)?;
    // A sum or a time zone is no number of a phone.
    let n = run.digits().len();
    if !(8..=15).contains(&n) || run.digits()[0] == 0 {
        return None;
    }
    if run.digits()[0] == 1 && !(n == 11 && dialled(&run.digits()[1..])) {
        return None;
    }
    Some(Found { end: run.end(text, n)?, canonical: run.text(n) })
}

/// `(212) 736-5000`
fn bracketed(text: &[u8], at: usize) -> Option<Found> {
    let area = text.get(at + 1..at + 4).filter(|area| area.iter().all(u8::is_ascii_digit))?;
    if text.get(at + 4) != Some(&b')') {
        return None;
    }
    let rest = at + 5 + usize::from(matches!(text.get(at + 5), Some(b' ' | b'-')));
    let run = Run::read(text, rest)?;
    let digits: Vec<u8> = area.iter().map(|byte| byte - b'0').chain(run.digits().iter().copied().take(7)).collect();
    let fits = run.groups().starts_with(&[3, 4]) && dialled(&digits);
    let end = run.end(text, 7)?;
    fits.then(|| Found { end, canonical: north_american(&digits) })
}

fn national(text: &[u8], at: usize, run: &Run) -> Option<Found> {
    let (n, groups) = (run.digits().len(), run.groups());
    let american = groups == [3, 3, 4] || groups == [1, 3, 3, 4];
    if american && !run.mixed {
        let digits = &run.digits()[n - 10..];
        let country = n == 10 || run.digits()[0] == 1;
        return (country && dialled(digits))
            .then_some(())
            .and_then(|()| Some(Found { end: run.end(text, n)?, canonical: north_american(digits) }));
    }
    let told = (9..=12).contains(&n) && context(text, at, &WORDS);
    if told && n == 10 && dialled(run.digits()) {
        return Some(Found { end: run.end(text, n)?, canonical: north_american(run.digits()) });
    }
    // A trunk prefix marks a number of another country's plan.
    (told && run.digits()[0] == 0)
        .then_some(())
        .and_then(|()| Some(Found { end: run.end(text, n)?, canonical: run.text(n) }))
}

/// Area and exchange begin with 2 to 9; 555-01xx is for films.
fn dialled(digits: &[u8]) -> bool {
    digits.len() == 10 && digits[0] >= 2 && digits[3] >= 2 && digits[3..8] != [5, 5, 5, 0, 1]
}

fn north_american(digits: &[u8]) -> String {
    std::iter::once('1').chain(digits.iter().map(|digit| char::from(b'0' + digit))).collect()
}
