//! Answers that give the system prompt away: letters of the prompt in a row, whatever the case, the blanks, the list
//! signs; as they stand, decoded from base 64, or back to front.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use foldhash::fast::RandomState;

/// Letters of a stretch that is compared, and letters in common that make a leak.
const STRETCH: usize = 16;
const COMMON: usize = 36;
/// Bytes of each text that are read.
pub const READ: usize = 64 << 10;

/// Whether the answer holds a long part of the system prompt.
pub fn leaks(system: &str, answer: &str) -> bool {
    let prompt = letters(system);
    if prompt.len() < COMMON {
        return false;
    }
    let known: HashSet<&[u8], RandomState> = prompt.windows(STRETCH).collect();
    let mut views = vec![letters(answer)];
    for run in answer.split(|letter: char| !(letter.is_ascii_alphanumeric() || matches!(letter, '+' | '/' | '='))) {
        let run = run.trim_end_matches('=');
        if run.len() >= COMMON
            && let Ok(bytes) = STANDARD_NO_PAD.decode(run)
        {
            views.push(letters(&String::from_utf8_lossy(&bytes)));
        }
    }
    let reversed: Vec<u8> = views[0].iter().rev().copied().collect();
    views.push(reversed);
    views.iter().any(|view| common(view, &known) >= COMMON)
}

/// Small letters and digits alone.
fn letters(text: &str) -> Vec<u8> {
    let text = &text[..text.floor_char_boundary(READ)];
    text.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>().into_bytes()
}

/// The longest part of a view that is made of known stretches, one letter after the other.
fn common(view: &[u8], known: &HashSet<&[u8], RandomState>) -> usize {
    let (mut run, mut most) = (0, 0);
    for stretch in view.windows(STRETCH) {
        run = if known.contains(stretch) { run + 1 } else { 0 };
        most = most.max(run);
    }
    if most == 0 { 0 } else { most + STRETCH - 1 }
}
