//! Runs of digits with separators between their groups.

/// Longest run looked at, bytes.
const LONGEST: usize = 40;

/// Most digits and groups of a run; what goes on beyond is no number that is looked for.
const DIGITS: usize = 24;
const GROUPS: usize = 12;

/// Digits of a run, where each ends, and how they were separated; no heap.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    start: usize,
    digits: [u8; DIGITS],
    /// End of each digit, from the start.
    ends: [u8; DIGITS],
    n: usize,
    groups: [u8; GROUPS],
    group_n: usize,
    /// The first separator.
    pub separator: Option<u8>,
    /// They are not all alike.
    pub mixed: bool,
}

/// Whether a byte before a digit makes both part of something else.
pub fn inner(before: u8) -> bool {
    before.is_ascii_alphanumeric() || matches!(before, b'_' | b'/' | b'#' | b'=' | b'\\') || before >= 0x80
}

/// Whether `at` begins a number: nothing that could belong to it stands before it.
pub fn begins(text: &[u8], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).map(|before| text[before]) else { return true };
    // `1.5`, `-5`: the digit before decides.
    let joined = matches!(before, b'.' | b'-' | b',' | b':') && at >= 2 && text[at - 2].is_ascii_alphanumeric();
    !inner(before) && !joined
}

/// Whether a run from `at` on has so many digits: most numbers of a text are short, and end this at once.
pub fn long(text: &[u8], at: usize, least: usize) -> bool {
    let (mut digits, mut place) = (0, at);
    while digits < least {
        match text.get(place) {
            Some(byte) if byte.is_ascii_digit() => digits += 1,
            Some(b' ' | b'-' | b'.') if text.get(place + 1).is_some_and(u8::is_ascii_digit) => {}
            _ => return false,
        }
        place += 1;
    }
    true
}

impl Run {
    /// The run from `at` on: digits, with one blank, dash or full stop between groups. `None`: too long for a number.
    pub fn read(text: &[u8], at: usize) -> Option<Self> {
        let mut run = Self {
            start: at,
            digits: [0; DIGITS],
            ends: [0; DIGITS],
            n: 0,
            groups: [0; GROUPS],
            group_n: 1,
            separator: None,
            mixed: false,
        };
        let end = text.len().min(at + LONGEST);
        for place in at..end {
            let byte = text[place];
            if byte.is_ascii_digit() {
                if run.n == DIGITS {
                    return None;
                }
                run.digits[run.n] = byte - b'0';
                run.ends[run.n] = (place + 1 - at) as u8;
                run.n += 1;
                run.groups[run.group_n - 1] += 1;
            } else if matches!(byte, b' ' | b'-' | b'.') && text.get(place + 1).is_some_and(u8::is_ascii_digit) {
                if run.group_n == GROUPS {
                    return None;
                }
                run.mixed |= run.separator.is_some_and(|known| known != byte);
                run.separator = run.separator.or(Some(byte));
                run.group_n += 1;
            } else {
                break;
            }
        }
        Some(run)
    }

    pub fn digits(&self) -> &[u8] {
        &self.digits[..self.n]
    }

    /// Lengths of the groups.
    pub fn groups(&self) -> &[u8] {
        &self.groups[..self.group_n]
    }

    /// End of the first `n` digits, if a number can end there: no letter or digit follows.
    pub fn end(&self, text: &[u8], n: usize) -> Option<usize> {
        let last = n.checked_sub(1).filter(|last| *last < self.n)?;
        let end = self.start + usize::from(self.ends[last]);
        let follows = text.get(end).copied().unwrap_or(b' ');
        let decimal = matches!(follows, b'.' | b',') && text.get(end + 1).is_some_and(u8::is_ascii_digit);
        (!follows.is_ascii_alphanumeric() && follows != b'_' && follows < 0x80 && !decimal).then_some(end)
    }

    /// The first `n` digits as text.
    pub fn text(&self, n: usize) -> String {
        self.digits().iter().take(n).map(|digit| char::from(b'0' + digit)).collect()
    }
}

/// Whether one of the words stands in the 40 bytes before `at`, as a word.
pub fn context(text: &[u8], at: usize, words: &[&str]) -> bool {
    let before = text[at.saturating_sub(40)..at].to_ascii_lowercase();
    words.iter().any(|word| {
        before.windows(word.len()).enumerate().any(|(place, window)| {
            let left = place.checked_sub(1).is_none_or(|left| !before[left].is_ascii_alphanumeric());
            let right = before.get(place + word.len()).is_none_or(|right| !right.is_ascii_alphanumeric());
            window == word.as_bytes() && left && right
        })
    })
}
