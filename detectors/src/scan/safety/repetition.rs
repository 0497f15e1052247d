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
        .filter_map(|cut| tail.len().checked_sub(*cut))
        .any(|end| period(&tail[..end]))
}

/// Whether a text ends in one letter over and over.
fn letter(text: &[u8]) -> bool {
    let Some(last) = text.last().filter(|last| last.is_ascii_alphabetic()) else { return false };
    text.iter().rev().take_while(|byte| *byte == last).count() >= LETTERS
}

/// Whether a text ends with a unit that comes often enough. Of a unit that does the last bytes come again one unit before: each place where
/// they do is tried.
fn period(text: &[u8]) -> bool {
    let Some((before, probe)) = text.split_last_chunk::<PROBE>() else { return false };
    // Rules, rows of numbers, markup and indents are no loop: a unit has a letter, and no sign of markup.
    let back = |is: fn(&u8) -> bool| text.iter().rev().take(UNIT).position(is).map(|place| place + 1);
    let Some(least) = back(|byte| byte.is_ascii_alphabetic() || *byte >= 0x80) else { return false };
    let most = back(|byte| *byte == b'<').map_or(UNIT, |markup| markup - 1).min(before.len());
    let end = text.len();
    (least..=most).any(|unit| {
        let place = end - PROBE - unit;
        if text[place..place + PROBE] != *probe {
            return false;
        }
        // So many bytes must be those of one unit before.
        let again = |length: usize| {
            let again = length - unit;
            length <= end && text[end - length..end - length + again] == text[end - again..]
        };
        again(FILLS.max(unit * TIMES)) || again(SHORT.max(unit * OFTEN))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The prefix function of Knuth, Morris and Pratt tells the shortest period of every prefix, here from the end on.
    fn by_prefixes(text: &[u8]) -> bool {
        let text: Vec<u8> = text.iter().rev().copied().collect();
        let mut borders = vec![0; text.len()];
        for at in 1..text.len() {
            let mut border: usize = borders[at - 1];
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

    proptest! {
        #[test]
        fn a_loop_is_one_whichever_way_it_is_looked_for(
            begins in ".{0,8}", unit in "[ab<1 .]{1,20}", times in 1..12usize, part in 0..20usize, ends in "[ab1]{0,2}",
        ) {
            let text = format!("{begins}{}{}{ends}", unit.repeat(times), &unit[..part.min(unit.len())]);
            prop_assert_eq!(period(text.as_bytes()), by_prefixes(text.as_bytes()), "{}", text);
        }
    }
}
