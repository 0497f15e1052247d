//! The scan: texts of a call → counts of what the answer gives away, and where that came from.
//!
//! One pass over a text: a gate finds the bytes that some pattern needs, a table says which, and a pattern looks at the
//! text only there, within a bound, so hostile text takes linear time. The inputs are read only when the answer holds
//! something whose origin is to be told. Nothing that leaves this module holds any text.
//!
//! What is known is what the patterns know: a value in a shape that none of them has is not counted, so a count is a
//! lower bound. Well-known test values (documentation cards, void numbers, example domains) are not counted.

mod card;
mod digits;
mod email;
mod gate;
mod iban;
mod phone;
mod refusal;
mod secret;
mod ssn;

use std::collections::HashSet;
use std::sync::LazyLock;

use foldhash::fast::RandomState;
use leeway_core::event::{Call, Part};
use leeway_core::scan::{Entity, Origin, Scanned};

use digits::Run;
use gate::Gate;

/// Longest part of a text that is read; what follows is cut, and origins are not told from a cut text.
pub const MAX_TEXT: usize = 1 << 20;

/// A value found, in its canonical form: two spellings of one value are equal.
#[derive(PartialEq, Eq, Hash)]
struct Value {
    entity: Entity,
    canonical: String,
}

/// Where a pattern found a value.
struct Found {
    end: usize,
    canonical: String,
}

/// One kind of value.
trait Pattern: Sync {
    fn entity(&self) -> Entity;
    /// Whether a value may be recognised by this byte.
    fn needs(&self, byte: u8) -> bool;
    /// Whether a value may be recognised right after this byte.
    fn after(&self, before: u8) -> bool {
        let _ = before;
        true
    }
    /// Whether a digit means something to it only where a long number begins.
    fn of_numbers(&self) -> bool {
        false
    }
    /// The value recognised by the byte at `site.at` and starting at `site.from` or later; it passed its check.
    fn parse(&self, site: &Site<'_>) -> Option<Found>;
}

/// A place in a text that patterns look at.
struct Site<'t> {
    text: &'t [u8],
    at: usize,
    /// What lies before belongs to another value.
    from: usize,
    /// The number that begins here, read once for all patterns; `None` where none begins, or a short one.
    run: Option<Run>,
}

impl<'t> Site<'t> {
    fn new(text: &'t [u8], at: usize, from: usize, number: bool) -> Self {
        let run = if number && digits::begins(text, at) { Run::read(text, at) } else { None };
        let run = run.filter(|run| run.digits().len() >= SHORTEST);
        Self { text, at, from, run }
    }

    fn run(&self) -> Option<&Run> {
        self.run.as_ref()
    }
}

/// No number that is looked for has fewer digits.
const SHORTEST: usize = 9;

/// Every pattern; of two that match at one place the first wins.
const PATTERNS: [&dyn Pattern; 6] =
    [&secret::Secret, &email::Email, &iban::Iban, &card::Card, &ssn::Ssn, &phone::Phone];

/// For each byte, a bit for each pattern that needs it.
static NEEDS: LazyLock<[u8; 256]> = LazyLock::new(|| {
    let mut table = [0; 256];
    for (byte, bits) in table.iter_mut().enumerate() {
        for (place, pattern) in PATTERNS.iter().enumerate() {
            *bits |= u8::from(pattern.needs(byte as u8)) << place;
        }
    }
    table
});

/// For each byte, a bit for each pattern that may recognise something right after it.
static AFTER: LazyLock<[u8; 256]> = LazyLock::new(|| {
    let mut table = [0; 256];
    for (byte, bits) in table.iter_mut().enumerate() {
        for (place, pattern) in PATTERNS.iter().enumerate() {
            *bits |= u8::from(pattern.after(byte as u8)) << place;
        }
    }
    table
});

/// Patterns that recognise a digit only as the first of a whole number.
static OF_NUMBERS: LazyLock<u8> = LazyLock::new(|| {
    PATTERNS.iter().enumerate().fold(0, |bits, (place, pattern)| bits | u8::from(pattern.of_numbers()) << place)
});

/// What the first of these patterns recognises, and where it ends.
fn look(site: &Site<'_>, mut bits: u8) -> Option<(usize, Value)> {
    while bits != 0 {
        let pattern = PATTERNS[bits.trailing_zeros() as usize];
        bits &= bits - 1;
        if let Some(Found { end, canonical }) = pattern.parse(site) {
            return Some((end, Value { entity: pattern.entity(), canonical }));
        }
    }
    None
}

/// Calls `found` with every value of the text.
fn values(text: &[u8], mut found: impl FnMut(Value)) {
    let (needs, after, of_numbers, mut gate) = (&*NEEDS, &*AFTER, *OF_NUMBERS, Gate::new(text));
    let (mut at, mut from) = (0, 0);
    while let Some(found_at) = gate.next(at) {
        at = found_at;
        let digit = text[at].is_ascii_digit();
        let mut bits = needs[usize::from(text[at])];
        if at > 0 {
            bits &= after[usize::from(text[at - 1])];
        }
        let number = digit && bits & of_numbers != 0;
        if number && !(at >= from && digits::long(text, at, SHORTEST)) {
            bits &= !of_numbers;
        }
        let mut next = at + 1;
        // Most places end here: a short number, a bracket.
        if bits != 0
            && let Some((end, value)) = look(&Site::new(text, at, from, number), bits)
        {
            found(value);
            next = end.max(next);
            from = next;
        }
        // Every number is looked at from its first digit: the others begin none.
        if digit {
            next += text[next..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        }
        at = next;
    }
}

fn cut(text: &str) -> &[u8] {
    &text.as_bytes()[..text.len().min(MAX_TEXT)]
}

/// Scans a call's texts; `None` where there is no answer to look at.
pub fn scan(call: &Call<'_>) -> Option<Scanned> {
    let of = |part: Part| call.texts.iter().filter(move |text| text.part == part && !text.text.is_empty());
    of(Part::Output).next()?;
    let mut scanned = Scanned::default();
    let mut given: Vec<Value> = Vec::new();
    for answer in of(Part::Output) {
        scanned.refused |= refusal::refused(&answer.text);
        values(cut(&answer.text), |value| given.push(value));
    }
    if given.is_empty() {
        return Some(scanned);
    }
    let known = |part: Part| {
        let mut known = HashSet::with_hasher(RandomState::default());
        let mut keep = |value| {
            known.insert(value);
        };
        of(part).for_each(|text| values(cut(&text.text), &mut keep));
        known
    };
    let (input, documents, system) = (known(Part::Input), known(Part::Document), known(Part::System));
    let earlier = known(Part::History);
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
        scanned.hits.add(value.entity, origin, 1);
    }
    Some(scanned)
}

#[cfg(test)]
mod tests;
