//! Values of which a part is shown: `**** 4242`, `XXX-XX-1234`, `j***@acme.io`, "ending in 4242". They are no leak, and say that the
//! whole is known somewhere.

use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use leeway_core::scan::Entity;

use super::evidence::{BEFORE_BITS, Beside};
use super::kinds::KINDS;

/// Signs that stand for what is hidden; a bullet has three bytes.
const MASKS: [&[u8]; 5] = [b"*", b"x", b"X", "•".as_bytes(), "●".as_bytes()];
/// Hidden characters at least: two are emphasis.
const HIDDEN: usize = 3;
/// Digits that are shown.
const SHOWN: std::ops::RangeInclusive<usize> = 2..=6;
/// Bytes between words like "ending in" and the digits.
const BETWEEN: usize = 28;

static BEGINNINGS: LazyLock<AhoCorasick> = LazyLock::new(|| {
    let words = [
        "***",
        "xxx",
        "•••",
        "●●●",
        "ending in",
        "ending with",
        "ends in",
        "ends with",
        "last four digits",
        "last 4 digits",
        "last four of",
        "last 4 of",
    ];
    AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .build(words)
        .unwrap_or_else(|error| unreachable!("words are constants: {error}"))
});

/// A sign that hides a character, in bytes.
fn mask(text: &[u8]) -> Option<usize> {
    MASKS.iter().find(|mask| text.starts_with(mask)).map(|mask| mask.len())
}

fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// Whether a text begins with nothing that goes on.
fn ends(text: &[u8]) -> bool {
    !text.first().is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'*' | b'_' | b'-'))
}

/// Every value of which a part is shown, of kinds that the words before it or its form tell.
pub fn partial(text: &[u8]) -> Vec<(Entity, Range<usize>)> {
    let (mut found, mut done) = (Vec::new(), 0);
    for hit in BEGINNINGS.find_iter(text) {
        if hit.start() < done {
            continue;
        }
        // Each run of signs is looked at once, whatever comes of it.
        let told = if mask(&text[hit.start()..]).is_some() {
            let run = Run::read(text, hit.start());
            done = run.end;
            run.told(text)
        } else {
            spoken(text, hit.end())
        };
        if let Some((entity, range)) = told {
            done = range.end;
            found.push((entity, range));
        }
    }
    found
}

/// Hidden characters, in groups with one sign between them.
struct Run {
    start: usize,
    end: usize,
    /// Characters of the first groups, and of all.
    groups: [usize; Self::GROUPS],
    n: usize,
    hidden: usize,
}

impl Run {
    /// No value has more.
    const GROUPS: usize = 6;

    fn read(text: &[u8], start: usize) -> Self {
        let mut run = Self { start, end: start, groups: [0; Self::GROUPS], n: 1, hidden: 0 };
        while let Some(length) = mask(&text[run.end..]) {
            run.end += length;
            run.hidden += 1;
            if let Some(group) = run.groups.get_mut(run.n - 1) {
                *group += 1;
            }
            if let [b' ' | b'-' | b'.', rest @ ..] = &text[run.end..]
                && mask(rest).is_some()
            {
                run.end += 1;
                run.n += 1;
            }
        }
        run
    }

    /// The value that it hides, with what is shown after it.
    fn told(&self, text: &[u8]) -> Option<(Entity, Range<usize>)> {
        if let Some(range) = self.mail(text) {
            return Some((Entity::Email, range));
        }
        let alone = self.start == 0 || !text[self.start - 1].is_ascii_alphanumeric();
        let gap = usize::from(matches!(text.get(self.end), Some(b' ' | b'-' | b'.')));
        let shown = digits(&text[self.end + gap..]);
        let range = self.start..self.end + gap + shown;
        if self.hidden < HIDDEN || !alone || !SHOWN.contains(&shown) || !ends(&text[range.end..]) {
            return None;
        }
        let form = match (self.groups.get(..self.n).unwrap_or_default(), shown) {
            ([3, 2], 4) => Some(Entity::UsSsn),
            ([4, 4, 4] | [4, 6] | [12], 3..=5) => Some(Entity::Card),
            ([3, 3], 4) => Some(Entity::Phone),
            _ => None,
        };
        named(text, self.start).or(form).map(|entity| (entity, range))
    }

    /// `j***@acme.io`: what is hidden of an address, with its host. Letters hide nothing here: they are letters of addresses.
    fn mail(&self, text: &[u8]) -> Option<Range<usize>> {
        const LONGEST: usize = 64;
        if text[self.start..self.end].iter().any(u8::is_ascii_alphabetic) {
            return None;
        }
        let part = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let after = text[self.end..].iter().take(LONGEST).take_while(part).count();
        let host = text[self.end + after..].strip_prefix(b"@")?;
        let mut host = &host[..host.iter().take(LONGEST).take_while(part).count()];
        while let [rest @ .., b'.' | b'-'] = host {
            host = rest;
        }
        let top = host.rsplit(|byte| *byte == b'.').next()?;
        if !host.contains(&b'.') || top.len() < 2 || !top.iter().all(u8::is_ascii_alphabetic) {
            return None;
        }
        let before = text[self.start.saturating_sub(LONGEST)..self.start].iter().rev().take_while(part).count();
        Some(self.start - before..self.end + after + 1 + host.len())
    }
}

/// Digits that words call the end of a value.
fn spoken(text: &[u8], end: usize) -> Option<(Entity, Range<usize>)> {
    let rest = &text[end..text.len().min(end + BETWEEN)];
    let gap = rest.iter().take_while(|byte| !byte.is_ascii_digit() && !matches!(byte, b'\n' | b'.' | b'?')).count();
    let start = end + gap;
    let shown = digits(&text[start..]);
    let range = start..start + shown;
    let apart = start > end && !text[start - 1].is_ascii_alphanumeric();
    // `ending in 4242 4242 4242 4242` shows all of it.
    let on = matches!(&text[range.end..], [b' ' | b'-', digit, ..] if digit.is_ascii_digit());
    if !apart || on || !(3..=*SHOWN.end()).contains(&shown) || !ends(&text[range.end..]) {
        return None;
    }
    named(text, start).map(|entity| (entity, range))
}

/// The kind of which the words before a place speak most.
fn named(text: &[u8], at: usize) -> Option<Entity> {
    let mut beside = Beside::NOTHING;
    beside.before(text, at);
    let told = KINDS.iter().enumerate().map(|(place, kind)| (beside.of(place).0, kind.entity));
    let most = told.fold((0.0, None), |most, (bits, entity)| if bits > most.0 { (bits, Some(entity)) } else { most });
    most.1.filter(|entity| most.0 >= BEFORE_BITS - 6.0 && entity.personal())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<(Entity, &str)> {
        partial(text.as_bytes()).into_iter().map(|(entity, range)| (entity, &text[range])).collect()
    }

    /// A search that looked at a run again from each of its signs would not end here.
    #[test]
    fn a_megabyte_of_signs_is_read_once() {
        for unit in ["*", "x", "•", "***-", "* ", "x@", "last four digits "] {
            assert_eq!(of(&unit.repeat(1_000_000 / unit.len())), []);
        }
    }

    #[test]
    fn a_part_of_a_value_is_told_by_its_form_or_its_words() {
        for (text, entity, shown) in [
            ("It was charged to **** **** **** 4242 today.", Entity::Card, "**** **** **** 4242"),
            ("Your card ending in 4242 was declined.", Entity::Card, "4242"),
            ("Visa card: the last four digits are 1881.", Entity::Card, "1881"),
            ("SSN XXX-XX-6789 is on file", Entity::UsSsn, "XXX-XX-6789"),
            ("on file: xxx-xx-6789", Entity::UsSsn, "xxx-xx-6789"),
            ("we will call your phone •••••12 now", Entity::Phone, "•••••12"),
            ("IBAN ****************3000 is yours", Entity::Iban, "****************3000"),
            ("sent to j***@acme.io.", Entity::Email, "j***@acme.io"),
            ("jane***@acme.io", Entity::Email, "jane***@acme.io"),
            ("sent to ja****oe@mail.acme.co", Entity::Email, "ja****oe@mail.acme.co"),
        ] {
            assert_eq!(of(text), [(entity, shown)], "{text}");
        }
        for text in [
            "***2024*** was a good year",
            "a list ending in 4242",
            "the season ends in 2024",
            "xxx 12 xxx",
            "maxxx1234",
            "*** 1234567 rows",
            "The number 42 ends with 2",
            "card ending in 42424242",
            "***@",
            "write to maxxx@acme.io or xxx@acme.io",
            "Your phone bill over the last four months was 120 dollars",
            "card ending in 4242 4242 4242 4242",
            "card ***************",
            "***-***-**-1234",
            "",
        ] {
            assert_eq!(of(text), [], "{text}");
        }
    }
}
