//! Where in a text a value may begin: blocks are compared with ranges of bytes by vector instructions.

use std::ops::Range;

use wide::u8x16;

/// Bytes of a block, one bit each.
pub(super) const BLOCK: usize = 64;

/// No value that needs a digit has its first one later than this.
pub(super) const EARLY: usize = 12;

/// Bytes of a part whose words are looked for, with the one before it.
pub(super) const PART: usize = 48;

/// A part of a text, with small letters for its capitals, and where in it words begin.
pub(super) struct Words {
    /// A bit for each place of the part: at a letter or digit after what is neither, at a capital after a small letter,
    /// and at each byte of other writing.
    pub begins: u64,
    small: [u8; PART + ROOM],
    /// Where in `small` the part begins.
    first: usize,
}

/// Bytes that are seen at once, of a part and beyond its end, where nothing stands.
pub(super) const ROOM: usize = 16;
const PLACES: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

impl Words {
    pub fn of(text: &[u8], part: Range<usize>) -> Self {
        let from = part.start.saturating_sub(1);
        // The text goes on beyond the part: what is read of that is put out again.
        let read = text[from..].first_chunk().copied().unwrap_or_else(|| {
            let mut read = [0; PART];
            read[..part.end - from].copy_from_slice(&text[from..part.end]);
            read
        });
        let end = u8x16::splat((part.end - from) as u8);
        let mut all = [0; PART + ROOM];
        let (mut words, mut small, mut capital, mut other) = (0, 0, 0, 0);
        for (place, part) in read.as_chunks::<16>().0.iter().enumerate() {
            let places = u8x16::new(PLACES) + u8x16::splat(16 * place as u8);
            let part = u8x16::new(*part) & !places.min(end).simd_eq(end);
            let bit = |mask: u8x16| u64::from(mask.to_bitmask()) << (16 * place);
            let (smalls, capitals) = (range(part, b'a', 25), range(part, b'A', 25));
            small |= bit(smalls);
            capital |= bit(capitals);
            words |= bit(smalls | capitals | range(part, b'0', 9));
            other |= bit(range(part, 0x80, 0x7f));
            let folded = part | (capitals & u8x16::splat(0x20));
            all[16 * place..16 * (place + 1)].copy_from_slice(&folded.to_array());
        }
        let begins = words & !(words << 1) | capital & small << 1 | other;
        let first = part.start - from;
        Self { begins: begins >> first, small: all, first }
    }

    /// Sixteen bytes from a place of the part on, in small letters; beyond the part nothing.
    pub fn at(&self, place: usize) -> [u8; ROOM] {
        let from = (self.first + place).min(PART);
        self.small[from..].first_chunk().copied().unwrap_or_default()
    }
}

/// Bytes of a range.
fn range(part: u8x16, first: u8, more: u8) -> u8x16 {
    let from = part - u8x16::splat(first);
    from.min(u8x16::splat(more)).simd_eq(from)
}

/// What the bytes of one block are, a bit for each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Bytes {
    words: u64,
    /// Underscores: part of a long word, and a beginning of none.
    joined: u64,
    digits: u64,
    signs: u64,
    ats: u64,
}

impl Bytes {
    fn read(text: &[u8], start: usize) -> Self {
        let rest = text.get(start..).unwrap_or_default();
        match rest.first_chunk::<BLOCK>() {
            Some(block) => Self::of(block),
            None if rest.is_empty() => Self::default(),
            None => {
                let mut block = [0; BLOCK];
                block[..rest.len()].copy_from_slice(rest);
                Self::of(&block)
            }
        }
    }

    fn of(block: &[u8; BLOCK]) -> Self {
        let mut bytes = Self::default();
        for (place, part) in block.as_chunks::<16>().0.iter().enumerate() {
            let part = u8x16::new(*part);
            let digits = range(part, b'0', 9);
            let letters = range(part | u8x16::splat(0x20), b'a', 25);
            let equal = |byte: u8| part.simd_eq(u8x16::splat(byte));
            let bit = |mask: u8x16| u64::from(mask.to_bitmask()) << (16 * place);
            bytes.words |= bit(digits | letters);
            bytes.joined |= bit(equal(b'_'));
            bytes.digits |= bit(digits);
            bytes.signs |= bit(equal(b'+') | equal(b'('));
            bytes.ats |= bit(equal(b'@'));
        }
        bytes
    }
}

/// Places of one block at which something is to be looked at, a bit for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sites {
    /// Where the block begins.
    pub start: usize,
    /// A word or a sign begins here, with a digit near.
    pub numbers: u64,
    /// A word begins here.
    pub words: u64,
    /// A long word begins here.
    pub long: u64,
    /// One of both, with a digit in this block or the next.
    pub tokens: u64,
    pub ats: u64,
}

/// Reads a text block by block.
pub(super) struct Gate<'t> {
    text: &'t [u8],
    start: usize,
    next: Bytes,
    /// The last byte of the block before belongs to a word.
    inside: bool,
}

impl<'t> Gate<'t> {
    pub fn new(text: &'t [u8]) -> Self {
        Self { text, start: 0, next: Bytes::read(text, 0), inside: false }
    }
}

impl Iterator for Gate<'_> {
    type Item = Sites;

    fn next(&mut self) -> Option<Sites> {
        if self.start >= self.text.len() {
            return None;
        }
        let (start, now) = (self.start, self.next);
        self.start += BLOCK;
        self.next = Bytes::read(self.text, self.start);
        let words = now.words & !(now.words << 1 | u64::from(self.inside));
        self.inside = now.words >> 63 == 1;
        // Whether a digit is among the next twelve bytes.
        let digits = u128::from(now.digits) | u128::from(self.next.digits) << 64;
        let two = digits | digits >> 1;
        let four = two | two >> 2;
        let near = (four | four >> 4 | four >> 8) as u64;
        let run = u128::from(now.words | now.joined) | u128::from(self.next.words | self.next.joined) << 64;
        let two = run & run >> 1;
        let four = two & two >> 2;
        let long = words & (four & four >> 4 & four >> 8) as u64;
        // Up to the last digit.
        let before = if self.next.digits != 0 {
            u64::MAX
        } else {
            u64::MAX.checked_shr(now.digits.leading_zeros()).unwrap_or(0)
        };
        let numbers = (words | now.signs) & near;
        Some(Sites { start, long, tokens: (numbers | long) & before, numbers, words, ats: now.ats })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::sample;

    /// The ends of ranges, and what is just beyond them.
    const ENDS: &[u8] = b"azAZ09`{@[/:_+(. \n\x7f\x80\xff";

    proptest! {
        #[test]
        fn words_begin_where_a_look_at_each_byte_says(
            text in proptest::collection::vec(prop_oneof![any::<u8>(), sample::select(ENDS)], 1..80),
            from in 0usize..80,
        ) {
            let text = &text[..];
            let part = from.min(text.len() - 1)..text.len().min(from + PART - 1);
            let words = Words::of(text, part.clone());
            let found = words.begins;
            for at in part.clone() {
                let (before, byte) = (at.checked_sub(1).map_or(b' ', |place| text[place]), text[at]);
                let camel = before.is_ascii_lowercase() && byte.is_ascii_uppercase();
                let begins = byte.is_ascii_alphanumeric() && (!before.is_ascii_alphanumeric() || camel) || !byte.is_ascii();
                prop_assert_eq!(found >> (at - part.start) & 1 == 1, begins);
                let small = text[at..part.end].iter().map(u8::to_ascii_lowercase).chain(std::iter::repeat(0)).take(ROOM);
                prop_assert!(small.eq(words.at(at - part.start)));
            }
            prop_assert_eq!(found.checked_shr(part.len() as u32).unwrap_or(0), 0);
        }

        #[test]
        fn the_gate_finds_what_a_look_at_each_byte_finds(
            text in proptest::collection::vec(prop_oneof![sample::select(&b"abc0 @"[..]), sample::select(ENDS)], 0..300),
        ) {
            let text = &text[..];
            let word = |at: usize| text[at].is_ascii_alphanumeric();
            let near = |at: usize| text[at..text.len().min(at + EARLY)].iter().any(u8::is_ascii_digit);
            let begins = |at: usize| word(at) && (at == 0 || !word(at - 1));
            let found: Vec<Sites> = Gate::new(text).collect();
            for at in 0..text.len() {
                let sites = found[at / BLOCK];
                let bit = |bits: u64| bits >> (at % BLOCK) & 1 == 1;
                prop_assert_eq!(bit(sites.words), begins(at));
                let long = at + EARLY <= text.len() && (at..at + EARLY).all(|at| word(at) || text[at] == b'_');
                prop_assert_eq!(bit(sites.long), begins(at) && long);
                let digit = text[at..text.len().min((at / BLOCK + 2) * BLOCK)].iter().any(u8::is_ascii_digit);
                prop_assert_eq!(bit(sites.tokens), (bit(sites.numbers) || bit(sites.long)) && digit);
                prop_assert_eq!(bit(sites.ats), text[at] == b'@');
                prop_assert_eq!(bit(sites.numbers), near(at) && (begins(at) || matches!(text[at], b'+' | b'(')));
            }
        }
    }
}
