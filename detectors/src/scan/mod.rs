//! The scan: texts of a call → counts of what the answer gives away, and where that came from.
//!
//! One pass over a text: a gate finds the places where a value may begin, automata walk from there over all shapes of
//! all kinds, within a bound, so hostile text takes linear time; checks and the words beside give evidence in bits.
//! The inputs are read when the answer holds something whose origin is to be told, and where calls are compared with each
//! other. Nothing that leaves this module
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
pub mod memory;
mod partial;
pub mod provenance;
pub mod quality;
mod refusal;
pub mod safety;
mod secret;
mod split;
mod table;
mod test_values;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aho_corasick::AhoCorasick;
use leeway_core::event::{Call, Part, Text};
use leeway_core::fnv;
use leeway_core::quality::Quality;
use leeway_core::scan::{Hits, Marker, Mention, Origin, Scanned};
use leeway_core::words::{Places, Vocabulary};

pub use automaton::patterns;
pub use partial::partial;

pub use walk::cleared;

pub use find::{ALERT_BITS, Finding, REVIEW_BITS, find};
use find::{Value, Values};
use fingerprint::Keyring;

/// Longest part of a text that is read; what follows is cut, and origins are not told from a cut text.
pub const MAX_TEXT: usize = 1 << 20;

/// Values of an answer that the texts of one part may have held: in any spelling, and secrets as they are.
fn explained<'t>(texts: impl Iterator<Item = &'t str>, wanted: &Values) -> Values {
    let mut held = Values::default();
    let secrets: Vec<&Value> = wanted.iter().filter(|(kind, _)| kind.opens()).collect();
    let exact = (!secrets.is_empty()).then(|| AhoCorasick::new(secrets.iter().map(|(_, value)| value)).ok()).flatten();
    for text in texts.map(|text| &text.as_bytes()[..text.len().min(MAX_TEXT)]) {
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
    fnv::hash(bytes).is_multiple_of(u64::from(every))
}

/// Texts of one part of a call that are not empty, as far as they are read.
fn texts<'c>(call: &'c Call<'_>, part: Part) -> impl Iterator<Item = &'c str> {
    let of = call.texts.iter().filter(move |text| text.part == part && !text.text.is_empty());
    of.map(|text| &text.text[..text.text.floor_char_boundary(MAX_TEXT)])
}

/// One examined call in so many has its languages told.
const LANGUAGES: u32 = 4;

/// What a scan does beside looking for values.
#[derive(Debug, Clone, Default)]
pub struct Scanner {
    /// One call in so many is examined for marks and qualities, by its name: whoever reads it again examines the same
    /// ones; zero examines none.
    pub examine_every: u32,
    /// Fingerprints are made of what a call holds, where there are keys.
    pub keys: Option<Keyring>,
    /// Hosts whose addresses may carry anything.
    pub hosts: Vec<String>,
    /// Words of examined calls are counted, where there is a list.
    pub words: Option<Arc<Vocabulary>>,
}

impl Scanner {
    /// Scans a call's texts; `None` where there is no answer to look at.
    pub fn scan(&self, call: &Call<'_>) -> Option<Scanned> {
        texts(call, Part::Output).next()?;
        let mut scanned = Scanned { bytes: bytes(call), ..Scanned::default() };
        let mut given: Vec<Value> = Vec::new();
        for answer in texts(call, Part::Output) {
            scanned.refused |= refusal::refused(answer);
            given.extend(values(answer));
            for (entity, _) in partial(answer.as_bytes()) {
                scanned.hits.add(entity, Origin::Partial, 1);
            }
        }
        if self.examine_every > 0 && sampled(call, self.examine_every) {
            scanned.marks = Some(self.marks(call));
            scanned.qualities = quality::measure(call, sampled(call, self.examine_every.saturating_mul(LANGUAGES)));
            scanned.words = self.words.as_ref().map(|vocabulary| {
                let of = |part: Part| texts(call, part).next().map(|_| vocabulary.places(texts(call, part)));
                Box::new([of(Part::Input), of(Part::Output)])
            });
        }
        scanned.qualities.push((Quality::Length, length(call)));
        scanned.qualities.sort_unstable_by_key(|(quality, _)| *quality);
        let origins = origins(call, &given);
        let foreign = foreign(call, &given);
        for (value, origin) in given.iter().zip(&origins) {
            scanned.hits.add(value.0, *origin, 1);
            if *origin == Origin::Retrieved && foreign.contains(value) {
                scanned.hits.add(value.0, Origin::ForeignDocument, 1);
            }
        }
        if let Some(keys) = &self.keys {
            remember(keys, call, &given, &origins, &mut scanned);
        }
        Some(scanned)
    }

    /// Words of a failed call's error; `None` where nothing is said of it, or none are counted.
    pub fn failure(&self, call: &Call<'_>) -> Option<Places> {
        let vocabulary = self.words.as_ref().filter(|_| call.status.failed())?;
        let said = || call.failure.iter().map(|text| &**text).filter(|text| !text.is_empty());
        said().next().map(|_| vocabulary.places(said()))
    }

    /// Marks of a call's texts, as bits.
    fn marks(&self, call: &Call<'_>) -> u16 {
        // Together, and their beginning alone: a prompt in a thousand parts costs what one costs.
        let together = |part: Part| {
            let mut all = String::new();
            texts(call, part).for_each(|text| {
                let room = safety::PROMPT.saturating_sub(all.len());
                all.push_str(&text[..text.floor_char_boundary(room)]);
            });
            all
        };
        let leaks = safety::leaks_prompt(&together(Part::System), &together(Part::Output));
        let leaked = if leaks { Marker::PromptLeak.bit() } else { 0 };
        let answers = texts(call, Part::Output).flat_map(|text| safety::answer(text, &self.hosts));
        let inputs = texts(call, Part::Input).flat_map(safety::input);
        let documents = texts(call, Part::Document).flat_map(safety::document);
        let found = answers.chain(inputs).chain(documents);
        let marks = found.fold(leaked, |marks, marker| marks | marker.bit());
        // What the telemetry cut was not cut by the model.
        if call.incomplete { marks & !Marker::Truncation.bit() } else { marks }
    }
}

/// Values that a text gives away, in their order.
fn values(text: &str) -> impl Iterator<Item = Value> {
    let counted = find(text.as_bytes()).into_iter().filter(Finding::counts);
    counted.map(|finding| (finding.entity, finding.canonical))
}

/// Values in what the telemetry itself says of a call: labels, attributes, error texts.
pub fn held_beside(text: &str) -> Hits {
    let mut hits = Hits::default();
    values(text).for_each(|(entity, _)| hits.add(entity, Origin::Telemetry, 1));
    hits
}

/// Bytes of a call's texts, and how many of them are read.
fn bytes(call: &Call<'_>) -> (u64, u64) {
    let all = call.texts.iter().filter(|text| text.part != Part::Telemetry).map(|text| text.text.len() as u64);
    all.fold((0, 0), |(seen, read), n| (seen + n, read + n.min(MAX_TEXT as u64)))
}

/// Characters of the answer, in millionths.
fn length(call: &Call<'_>) -> u64 {
    texts(call, Part::Output).map(|text| text.chars().count() as u64).sum::<u64>() * 1_000_000
}

/// Where each value of the answer came from, as far as the call's own texts tell.
fn origins(call: &Call<'_>, given: &[Value]) -> Vec<Origin> {
    if given.is_empty() {
        return Vec::new();
    }
    let wanted: Values = given.iter().cloned().collect();
    let own = [
        (Origin::Echo, Part::Input),
        (Origin::Retrieved, Part::Document),
        (Origin::System, Part::System),
        (Origin::History, Part::History),
    ]
    .map(|(origin, part)| (origin, explained(texts(call, part), &wanted)));
    let whole = call.texts.iter().all(|text| text.text.len() <= MAX_TEXT);
    let complete = whole && !call.incomplete && texts(call, Part::Input).next().is_some();
    let rest = if complete { Origin::Unexplained } else { Origin::Unattributed };
    let of = |value: &Value| own.iter().find(|(_, held)| held.contains(value)).map_or(rest, |(origin, _)| *origin);
    given.iter().map(of).collect()
}

/// Values that a document of another tenant holds, and none of the call's own does.
fn foreign(call: &Call<'_>, given: &[Value]) -> Values {
    let others = |text: &&Text<'_>| !text.owner.is_empty() && text.owner != call.tenant;
    let (theirs, ours): (Vec<&Text<'_>>, _) =
        call.texts.iter().filter(|text| text.part == Part::Document).partition(others);
    if theirs.is_empty() || given.is_empty() {
        return Values::default();
    }
    let wanted: Values = given.iter().cloned().collect();
    let held = |texts: Vec<&Text<'_>>| explained(texts.iter().map(|text| &*text.text), &wanted);
    let own = held(ours);
    held(theirs).into_iter().filter(|value| !own.contains(value)).collect()
}

/// Most values of one call that are compared with other calls'.
const MENTIONS: usize = 1_000;

/// Fingerprints of what the answer, the inputs and the documents hold. The deployer's own text is nobody's secret.
fn remember(keys: &Keyring, call: &Call<'_>, given: &[Value], origins: &[Origin], scanned: &mut Scanned) {
    let mut times: BTreeMap<&Value, (u16, bool)> = BTreeMap::new();
    for (value, origin) in given.iter().zip(origins) {
        let (n, unexplained) = times.entry(value).or_default();
        (*n, *unexplained) = (n.saturating_add(1), *origin == Origin::Unexplained);
    }
    let inputs = texts(call, Part::Input).chain(texts(call, Part::Document));
    let held: BTreeSet<Value> = inputs.flat_map(values).collect();
    if times.is_empty() && held.is_empty() {
        return;
    }
    let day = keys.at(call.time);
    let mention = |value: &Value, unexplained, n| Mention {
        print: day.print(value.0, &value.1),
        entity: value.0,
        unexplained,
        n,
    };
    scanned.mentions.extend(times.iter().map(|(value, (n, unexplained))| mention(value, *unexplained, *n)));
    let others = held.iter().filter(|value| !times.contains_key(value));
    scanned.mentions.extend(others.map(|value| mention(value, false, 1)));
    // Those of the answer come first.
    scanned.mentions.truncate(MENTIONS);
    (scanned.user, scanned.session) = (keys.holder(call.user), keys.holder(call.conversation));
}

#[cfg(test)]
mod tests;
