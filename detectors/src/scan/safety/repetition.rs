//! Answers that go round: a stretch of text with a short period, several times over.

/// Bytes of an answer's end that are looked at.
const TAIL: usize = 4 << 10;
/// Times that a unit must come, and bytes that it must fill.
const TIMES: usize = 5;
const FILLS: usize = 60;
/// Of a short unit.
const OFTEN: usize = 8;
const SHORT: usize = 24;
/// Times that one letter must come.
const LETTERS: usize = 12;
/// Bytes that are looked for before the end.
const PROBE: usize = 12;
/// Longest unit.
const UNIT: usize = 512;

/// Whether the text ends, or nearly ends, in one unit over and over.
pub fn loops(text: &str) -> bool {
    let bytes = text.trim_end().as_bytes();
    let tail = &bytes[bytes.len().saturating_sub(TAIL)..];
    let reversed: Vec<u8> = tail.iter().rev().copied().collect();
    if letter(tail) {
        return true;
    }
    // In a loop whatever stands before the end came shortly before it too.
    let near = |cut: usize| {
        let end = tail.len().saturating_sub(cut);
        let probe = &tail[end.saturating_sub(PROBE)..end];
        let before = &tail[end.saturating_sub(PROBE + UNIT)..end.saturating_sub(1)];
        probe.len() == PROBE && memchr::memmem::find(before, probe).is_some()
    };
    if !near(0) && !near(90) {
        return false;
    }
    // Where a loop was cut in its middle the last few bytes may belong to none: look from some places on.
    [0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89]
        .iter()
        .filter(|from| **from < reversed.len())
        .any(|from| period(&reversed[*from..]))
}

/// Whether a text ends in one letter over and over.
fn letter(text: &[u8]) -> bool {
    let Some(last) = text.last().filter(|last| last.is_ascii_alphabetic()) else { return false };
    text.iter().rev().take_while(|byte| *byte == last).count() >= LETTERS
}

/// Whether a text begins with a unit that comes often enough: the prefix function of Knuth, Morris and Pratt tells the
/// shortest period of every prefix.
fn period(text: &[u8]) -> bool {
    let mut borders = vec![0usize; text.len()];
    for at in 1..text.len() {
        let mut border = borders[at - 1];
        while border > 0 && text[border] != text[at] {
            border = borders[border - 1];
        }
        borders[at] = border + usize::from(text[border] == text[at]);
        let (length, unit) = (at + 1, at + 1 - borders[at]);
        let often = length >= FILLS && length >= unit * TIMES || length >= SHORT && length >= unit * OFTEN;
        if often && unit <= UNIT && said(&text[..unit]) {
            return true;
        }
    }
    false
}

/// Rules, rows of numbers, markup and indents are no loop.
fn said(unit: &[u8]) -> bool {
    !unit.contains(&b'<') && unit.iter().any(|byte| byte.is_ascii_alphabetic() || *byte >= 0x80)
}
