//! Marks of a text that a person should know of: each a file of its own, and a line here.

mod encoded;
mod exfiltration;
mod homoglyph;
mod instruction;
mod invisible;
mod jailbreak;
mod partial;
mod prompt_leak;
mod repetition;
mod truncation;

use leeway_core::scan::Marker;

use super::linear::Linear;

pub use prompt_leak::{READ as PROMPT, leaks as leaks_prompt};

static REFUSAL: Linear = model(include_bytes!("../models/refusal.bin"));
static JAILBREAK: Linear = model(include_bytes!("../models/jailbreak.bin"));

/// Read while the program is compiled: a file that is no model fails there.
const fn model(file: &'static [u8]) -> Linear {
    match Linear::read(file) {
        Some(model) => model,
        None => unreachable!(),
    }
}

/// Whether an answer declines, wholly or in part: it opens as refusals do, or has their words.
pub fn refuses(answer: &str) -> bool {
    super::refusal::refused(answer) || REFUSAL.says(answer)
}

/// A check of one text.
type Check = fn(&str) -> bool;

/// What is looked for in answers.
const ANSWER: &[(Marker, Check)] = &[
    (Marker::Invisible, invisible::hides),
    (Marker::Homoglyph, homoglyph::mixes),
    (Marker::Encoded, encoded::hides),
    (Marker::Repetition, repetition::loops),
    (Marker::Truncation, truncation::cut),
    (Marker::Escape, |text| text.contains("\u{1b}[") || text.contains("\u{1b}]")),
];

/// What is looked for in what the user wrote.
const INPUT: &[(Marker, Check)] = &[
    (Marker::Jailbreak, jailbreak::tries),
    (Marker::Invisible, invisible::hides),
    (Marker::Homoglyph, homoglyph::mixes),
];

/// What is looked for in what was retrieved.
const DOCUMENT: &[(Marker, Check)] =
    &[(Marker::Instruction, |text| instruction::commands(text) || JAILBREAK.says(text))];

fn of(checks: &'static [(Marker, Check)], text: &str) -> impl Iterator<Item = Marker> {
    checks.iter().filter(move |(_, check)| check(text)).map(|(marker, _)| *marker)
}

/// Marks of an answer's text; addresses of `hosts` may carry anything.
pub fn answer(text: &str, hosts: &[String]) -> impl Iterator<Item = Marker> {
    let sends = exfiltration::sends(text, hosts).then_some(Marker::Exfiltration);
    let refused = refuses(text);
    let partly = refused && partial::goes_on(text);
    let declines = [(refused, Marker::Refusal), (partly, Marker::PartialRefusal)];
    let declines = declines.into_iter().filter(|(does, _)| *does).map(|(_, marker)| marker);
    declines.chain(of(ANSWER, text)).chain(sends)
}

/// Marks of a document's text.
pub fn document(text: &str) -> impl Iterator<Item = Marker> {
    of(DOCUMENT, text)
}

/// Marks of a user's text.
pub fn input(text: &str) -> impl Iterator<Item = Marker> {
    of(INPUT, text)
}

#[cfg(test)]
mod tests;
