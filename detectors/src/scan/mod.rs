//! The scan: texts of a call → counts of what the answer gives away, and where that came from.
//!
//! One pass over a text: a gate finds the places where a value may begin, automata walk from there over all shapes of
//! all kinds, within a bound, so hostile text takes linear time; checks and the words beside give evidence in bits.
//! The inputs are read only when the answer holds something whose origin is to be told. Nothing that leaves this module
//! holds any text.
//!
//! What is known is what the shapes know: a value in a form that none of them has is not counted, so a count is a lower
//! bound. Published examples (test cards, void numbers, example domains) are not counted.

mod automaton;
mod candidate;
mod check;
mod email;
mod evidence;
mod find;
pub mod fingerprint;
mod gate;
mod kinds;
pub mod linear;
pub mod provenance;
mod refusal;
pub mod safety;
mod secret;
mod test_values;

use aho_corasick::AhoCorasick;
use leeway_core::event::{Call, Part};
use leeway_core::scan::{Entity, Marker, Origin, Scanned};

pub use find::{ALERT_BITS, Finding, REVIEW_BITS, find};
use find::{Value, Values};

/// Longest part of a text that is read; what follows is cut, and origins are not told from a cut text.
pub const MAX_TEXT: usize = 1 << 20;

fn cut(text: &str) -> &[u8] {
    &text.as_bytes()[..text.len().min(MAX_TEXT)]
}

/// Values of an answer that the texts of one part may have held: in any spelling, and secrets as they are.
fn explained<'t>(texts: impl Iterator<Item = &'t str>, wanted: &Values) -> Values {
    let mut held = Values::default();
    let secrets: Vec<&Value> =
        wanted.iter().filter(|(kind, _)| matches!(kind, Entity::Secret | Entity::Jwt | Entity::UrlCred)).collect();
    let exact = (!secrets.is_empty()).then(|| AhoCorasick::new(secrets.iter().map(|(_, value)| value)).ok()).flatten();
    for text in texts.map(cut) {
        held.extend(find::held(text, wanted));
        if let Some(exact) = &exact {
            held.extend(exact.find_overlapping_iter(text).map(|hit| secrets[hit.pattern().as_usize()].clone()));
        }
    }
    held
}

fn sampled(call: &Call<'_>, every: u32) -> bool {
    let name = [call.id, call.trace_id, call.span_id, call.response_id];
    let bytes = name.iter().flatten().flat_map(|part| part.bytes()).chain(call.time.to_le_bytes());
    // FNV-1a: the same on every machine.
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (hash ^ hash >> 32).is_multiple_of(u64::from(every))
}

/// Marks of a call's texts, as bits.
fn marks(call: &Call<'_>) -> u16 {
    let of = |part: Part| {
        let texts = call.texts.iter().filter(move |text| text.part == part).map(|text| &*text.text);
        texts.map(|text| &text[..text.floor_char_boundary(MAX_TEXT)])
    };
    // Together, and their beginning alone: a prompt in a thousand parts costs what one costs.
    let together = |part: Part| {
        let mut all = String::new();
        of(part).for_each(|text| {
            let room = safety::PROMPT.saturating_sub(all.len());
            all.push_str(&text[..text.floor_char_boundary(room)]);
        });
        all
    };
    let leaks = safety::leaks_prompt(&together(Part::System), &together(Part::Output));
    let leaked = if leaks { Marker::PromptLeak.bit() } else { 0 };
    let found = of(Part::Output).flat_map(safety::answer).chain(of(Part::Input).flat_map(safety::input));
    let marks = found.fold(leaked, |marks, marker| marks | marker.bit());
    // What the telemetry cut was not cut by the model.
    if call.incomplete { marks & !Marker::Truncation.bit() } else { marks }
}

/// Scans a call's texts; `None` where there is no answer to look at. One call in `every` is examined for marks, by its
/// name: whoever reads it again examines the same ones; zero examines none.
pub fn scan(call: &Call<'_>, every: u32) -> Option<Scanned> {
    let of = |part: Part| {
        call.texts.iter().filter(move |text| text.part == part && !text.text.is_empty()).map(|text| &*text.text)
    };
    of(Part::Output).next()?;
    let mut scanned = Scanned::default();
    let mut given: Vec<Value> = Vec::new();
    for answer in of(Part::Output) {
        scanned.refused |= refusal::refused(answer);
        let counted = find(cut(answer)).into_iter().filter(Finding::counts);
        given.extend(counted.map(|finding| (finding.entity, finding.canonical)));
    }
    if every > 0 && sampled(call, every) {
        scanned.marks = Some(marks(call));
    }
    if given.is_empty() {
        return Some(scanned);
    }
    let wanted: Values = given.iter().cloned().collect();
    let [input, documents, system, earlier] =
        [Part::Input, Part::Document, Part::System, Part::History].map(|part| explained(of(part), &wanted));
    let whole = call.texts.iter().all(|text| text.text.len() <= MAX_TEXT);
    let complete = whole && !call.incomplete && of(Part::Input).next().is_some();
    for value in given {
        let origin = if input.contains(&value) {
            Origin::Echo
        } else if documents.contains(&value) {
            Origin::Retrieved
        } else if system.contains(&value) {
            Origin::System
        } else if complete && !earlier.contains(&value) {
            Origin::Unexplained
        } else {
            // What an earlier answer said has the origin that it had then.
            Origin::Unattributed
        };
        scanned.hits.add(value.0, origin, 1);
    }
    Some(scanned)
}

#[cfg(test)]
mod tests;
