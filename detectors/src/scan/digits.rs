//! Runs of digits with separators between their groups.

/// Longest run looked at, bytes.
const LONGEST: usize = 40;

/// Digits of a run, where each begins, and how they were separated.
#[derive(Debug)]
pub struct Run {
    pub digits: Vec<u8>,
    /// End of each digit in the text.
    ends: Vec<usize>,
    /// Lengths of the groups.
    pub groups: Vec<usize>,
    /// The separators are all alike and one of these, or there are none.
    pub separator: Option<u8>,
    pub mixed: bool,
}

/// Whether `at` begins a number: nothing that could belong to it stands before it.
pub fn begins(text: &[u8], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).map(|before| text[before]) else { return true };
    let inner = before.is_ascii_alphanumeric() || matches!(before, b'_' | b'/' | b'#' | b'=' | b'\\') || before >= 0x80;
    // `1.5`, `-5`: the digit before decides.
    let joined = matches!(before, b'.' | b'-' | b',' | b':') && at >= 2 && text[at - 2].is_ascii_alphanumeric();
    !inner && !joined
}

impl Run {
    /// The run from `at` on: digits, with one separator byte between groups.
    pub fn read(text: &[u8], at: usize, separators: &[u8]) -> Self {
        let mut run = Self { digits: Vec::new(), ends: Vec::new(), groups: vec![0], separator: None, mixed: false };
        let mut place = at;
        let end = text.len().min(at + LONGEST);
        while place < end {
            let byte = text[place];
            if byte.is_ascii_digit() {
                run.digits.push(byte - b'0');
                run.ends.push(place + 1);
                if let Some(group) = run.groups.last_mut() {
                    *group += 1;
                }
            } else if separators.contains(&byte) && text.get(place + 1).is_some_and(u8::is_ascii_digit) {
                run.mixed |= run.separator.is_some_and(|known| known != byte);
                run.separator = Some(byte);
                run.groups.push(0);
            } else {
                break;
            }
            place += 1;
        }
        run
    }

    /// End of the first `n` digits, if a number can end there: no letter or digit follows.
    pub fn end(&self, text: &[u8], n: usize) -> Option<usize> {
        let end = *self.ends.get(n.checked_sub(1)?)?;
        let follows = text.get(end).copied().unwrap_or(b' ');
        let decimal = matches!(follows, b'.' | b',') && text.get(end + 1).is_some_and(u8::is_ascii_digit);
        (!follows.is_ascii_alphanumeric() && follows != b'_' && follows < 0x80 && !decimal).then_some(end)
    }

    /// The first `n` digits as text.
    pub fn text(&self, n: usize) -> String {
        self.digits.iter().take(n).map(|digit| char::from(b'0' + digit)).collect()
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
