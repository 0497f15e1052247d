//! The scan: texts of a call → counts of what the answer gives away, and where that came from.
//!
//! One pass over a text: a gate finds the bytes that some pattern needs, a table says which, and a pattern looks at the
//! text only there, within a bound, so hostile text takes linear time. The inputs are read only when the answer holds
//! something whose origin is to be told. Nothing that leaves this module holds any text.
//!
//! What is known is what the patterns know: a value in a shape that none of them has is not counted, so a count is a
//! lower bound. Well-known test values (documentation cards, void numbers, example domains) are not counted.

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

use std::collections::HashSet;

use foldhash::fast::RandomState;
use leeway_core::event::{Call, Part};
use leeway_core::scan::{Entity, Marker, Origin, Scanned};

pub use find::{ALERT_BITS, Finding, REVIEW_BITS, find};

/// Longest part of a text that is read; what follows is cut, and origins are not told from a cut text.
pub const MAX_TEXT: usize = 1 << 20;

/// Every shape that is looked for, as regular expressions over bytes.
pub fn shapes() -> Vec<&'static str> {
    automaton::shapes().into_iter().map(|(_, pattern)| pattern).collect()
}

/// A value found, in its canonical form: two spellings of one value are equal.
struct Value {
    entity: Entity,
    canonical: String,
}

/// Calls `found` with every value of the text that counts.
fn values(text: &[u8], mut found: impl FnMut(Value)) {
    for finding in find(text).into_iter().filter(Finding::counts) {
        found(Value { entity: finding.entity, canonical: finding.canonical });
    }
}

fn cut(text: &str) -> &[u8] {
    &text.as_bytes()[..text.len().min(MAX_TEXT)]
}

/// What a part of a call may have held.
pub(crate) struct Known<'t> {
    values: HashSet<(Entity, String), RandomState>,
    texts: Vec<&'t str>,
}

impl<'t> Known<'t> {
    pub(crate) fn new(texts: impl Iterator<Item = &'t str>) -> Self {
        let texts: Vec<&str> = texts.collect();
        let values = texts.iter().flat_map(|text| find::possible(cut(text))).collect();
        Self { values, texts }
    }

    /// Whether the value stood there: in any spelling, and a secret as it is.
    pub(crate) fn explains(&self, entity: Entity, canonical: &str) -> bool {
        let exact = matches!(entity, Entity::Secret | Entity::Jwt | Entity::UrlCred);
        self.values.contains(&(entity, canonical.to_owned()))
            || exact
                && self.texts.iter().any(|text| memchr::memmem::find(text.as_bytes(), canonical.as_bytes()).is_some())
    }
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
    let of = |part: Part| call.texts.iter().filter(move |text| text.part == part).map(|text| &*text.text);
    let answers = of(Part::Output).flat_map(safety::answer);
    let inputs = of(Part::Input).flat_map(safety::input);
    let leaks = of(Part::System).any(|system| of(Part::Output).any(|answer| safety::leaks_prompt(system, answer)));
    let leaked = if leaks { Marker::PromptLeak.bit() } else { 0 };
    answers.chain(inputs).fold(leaked, |marks, marker| marks | marker.bit())
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
        values(cut(answer), |value| given.push(value));
    }
    if every > 0 && sampled(call, every) {
        scanned.marks = Some(marks(call));
    }
    if given.is_empty() {
        return Some(scanned);
    }
    let [input, documents, system, earlier] =
        [Part::Input, Part::Document, Part::System, Part::History].map(|part| Known::new(of(part)));
    let whole = call.texts.iter().all(|text| text.text.len() <= MAX_TEXT);
    let complete = whole && !call.incomplete && of(Part::Input).next().is_some();
    for value in given {
        let explains = |known: &Known<'_>| known.explains(value.entity, &value.canonical);
        let origin = if explains(&input) {
            Origin::Echo
        } else if explains(&documents) {
            Origin::Retrieved
        } else if explains(&system) {
            Origin::System
        } else if complete && !explains(&earlier) {
            Origin::Unexplained
        } else {
            // What an earlier answer said has the origin that it had then.
            Origin::Unattributed
        };
        scanned.hits.add(value.entity, origin, 1);
    }
    Some(scanned)
}

#[cfg(test)]
mod tests;
