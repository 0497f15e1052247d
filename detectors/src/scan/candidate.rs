//! A stretch of text that has the form of some kind, with its letters and digits read once for all checks.

use std::ops::Range;

/// Letters and digits of a candidate that are kept; a longer one is checked on the text itself.
const LONGEST: usize = 48;

pub(super) struct Candidate<'t> {
    pub text: &'t [u8],
    /// Name of the form, where a kind has many issuers.
    pub form: Option<&'static str>,
    pub range: Range<usize>,
    /// Letters (as capitals) and digits, without separators.
    bytes: [u8; LONGEST],
    n: usize,
    /// The same, digits as values; what a letter has here means nothing.
    values: [u8; LONGEST],
    digits: usize,
}

impl<'t> Candidate<'t> {
    pub fn new(text: &'t [u8], range: &Range<usize>) -> Self {
        let mut candidate = Self::none(text);
        candidate.read(range);
        candidate
    }

    /// None yet.
    pub fn none(text: &'t [u8]) -> Self {
        Self { text, form: None, range: 0..0, bytes: [0; LONGEST], n: 0, values: [0; LONGEST], digits: 0 }
    }

    /// Reads a stretch of the text, unless it was read last.
    pub fn read(&mut self, range: &Range<usize>) {
        if self.range == *range {
            return;
        }
        // One that is longer goes on where the last one ended.
        let longer = self.range.start == range.start && self.range.end < range.end && self.n < LONGEST;
        let (from, mut n, mut digits) =
            if longer { (self.range.end, self.n, self.digits) } else { (range.start, 0, 0) };
        self.range = range.clone();
        for byte in &self.text[from..range.end] {
            // What is neither is written over by the next one: no branch that nobody can foresee.
            let value = byte.wrapping_sub(b'0');
            let (digit, letter) = (value < 10, byte.is_ascii_alphabetic());
            self.bytes[n] = if letter { byte & !0x20 } else { *byte };
            self.values[n] = value;
            digits += usize::from(digit);
            n += usize::from(digit | letter);
            if n == LONGEST {
                break;
            }
        }
        (self.n, self.digits) = (n, digits);
    }

    /// As it stands in the text.
    pub fn raw(&self) -> &'t [u8] {
        &self.text[self.range.clone()]
    }

    /// Letters as capitals and digits, without separators; at most 48.
    pub fn compact(&self) -> &[u8] {
        &self.bytes[..self.n]
    }

    pub fn compact_text(&self) -> String {
        // Letters and digits of ASCII alone.
        String::from_utf8(self.compact().to_vec()).unwrap_or_default()
    }

    /// Digits as values, where there are only digits and separators.
    pub fn digits(&self) -> Option<&[u8]> {
        (self.digits == self.n).then_some(&self.values[..self.n])
    }

    /// Values of a part that are all digits.
    pub fn digits_of(&self, part: Range<usize>) -> Option<&[u8]> {
        let all = self.bytes.get(part.clone())?.iter().all(u8::is_ascii_digit);
        (all && part.end <= self.n).then(|| &self.values[part])
    }

    pub fn has_digit(&self) -> bool {
        self.digits > 0
    }

    /// Whether some letter stands beside the digits.
    pub fn has_letter(&self) -> bool {
        self.digits < self.n
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_longer_stretch_goes_on_as_if_read_at_once(
            text in "[0-9A-Za-z. -]{1,90}",
            ranges in proptest::collection::vec((0usize..3, 0usize..90), 1..6),
        ) {
            let text = text.as_bytes();
            let mut candidate = Candidate::none(text);
            for (start, end) in ranges {
                let start = start.min(text.len());
                let range = start..end.min(text.len()).max(start);
                candidate.read(&range);
                let anew = Candidate::new(text, &range);
                prop_assert_eq!(candidate.compact(), anew.compact());
                prop_assert_eq!(candidate.digits(), anew.digits());
                prop_assert_eq!((candidate.has_digit(), candidate.raw()), (anew.has_digit(), anew.raw()));
            }
        }
    }
}
