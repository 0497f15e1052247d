//! Text in another dress: base 64, hexadecimal, percent signs, ROT13, back to front; decoded, and read again.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Most bytes of a text that are decoded, and how deep.
const MOST: usize = 64 << 10;
const DEEP: usize = 2;
/// Shortest run in each dress.
const BASE64: usize = 12;
const HEX: usize = 24;
const PERCENT: usize = 8;

/// Words of instructions and of secrets: what is worth hiding.
const WORDS: [&str; 24] = [
    "ignore",
    "previous",
    "instructions",
    "system prompt",
    "password",
    "secret",
    "reveal",
    "developer mode",
    "you are now",
    "send the",
    "conversation",
    "attacker",
    "api key",
    "token",
    "card ",
    "account",
    "disregard",
    "override",
    "execute",
    "private",
    "confidential",
    "admin",
    "credential",
    "ssn",
];

/// Whether part of the text is readable text in another dress.
pub fn hides(text: &str) -> bool {
    let text = &text[..text.floor_char_boundary(MOST)];
    runs(text, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=')).any(readable)
        || percent(text)
        || disguised(text)
}

fn runs<'t>(text: &'t str, part: impl Fn(u8) -> bool + 't) -> impl Iterator<Item = &'t str> {
    text.split(move |letter: char| !letter.is_ascii() || !part(letter as u8)).filter(|run| run.len() >= BASE64)
}

/// Whether a run of letters and digits decodes to readable text.
pub(super) fn readable(run: &str) -> bool {
    decoded(run, DEEP)
}

fn decoded(run: &str, deep: usize) -> bool {
    let trimmed = run.trim_end_matches('=');
    if trimmed.len() < BASE64 || deep == 0 {
        return false;
    }
    let hex =
        trimmed.len() >= HEX && trimmed.len().is_multiple_of(2) && trimmed.bytes().all(|byte| byte.is_ascii_hexdigit());
    if hex {
        let pair =
            |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).unwrap_or_default(), 16).unwrap_or_default();
        let bytes: Vec<u8> = trimmed.as_bytes().chunks(2).map(pair).collect();
        return text(&bytes, deep);
    }
    [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD]
        .iter()
        .any(|engine| engine.decode(trimmed).is_ok_and(|bytes| text(&bytes, deep)))
}

/// Bytes that are words: random ones are hardly ever all letters, digits and common signs.
fn text(bytes: &[u8], deep: usize) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let common = |letter: char| {
        letter.is_alphanumeric()
            || matches!(
                letter,
                ' ' | '.' | ',' | '@' | '-' | '_' | ':' | '/' | '\'' | '!' | '?' | '\n' | '"' | '=' | '{' | '}' | '+'
            )
    };
    let n = text.chars().count();
    if n >= 8 && text.chars().filter(|letter| common(*letter)).count() * 20 >= n * 19 && text.is_ascii() {
        return true;
    }
    decoded(text.trim(), deep - 1)
}

fn percent(text: &str) -> bool {
    let mut n = 0;
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let triplet = *first == b'%' && tail.len() >= 2 && tail[..2].iter().all(u8::is_ascii_hexdigit);
        // Letters need no percent signs: whoever writes them so hides them.
        let letter = triplet && matches!(tail[0], b'4'..=b'7');
        n = if letter {
            n + 1
        } else if triplet {
            n
        } else {
            0
        };
        if n >= PERCENT {
            return true;
        }
        rest = if triplet { &tail[2..] } else { tail };
    }
    false
}

/// The words as they are, turned by thirteen letters, and back to front.
static DRESSES: LazyLock<AhoCorasick> = LazyLock::new(|| {
    let turned = |word: &&str| word.chars().map(turn).collect::<String>();
    let reversed = |word: &&str| word.chars().rev().collect::<String>();
    let plain = WORDS.iter().map(|word| (*word).to_owned());
    AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .build(plain.chain(WORDS.iter().map(turned)).chain(WORDS.iter().map(reversed)))
        .unwrap_or_else(|error| unreachable!("words are constants: {error}"))
});

fn turn(letter: char) -> char {
    match letter {
        'a'..='m' => (letter as u8 + 13) as char,
        'n'..='z' => (letter as u8 - 13) as char,
        _ => letter,
    }
}

/// ROT13, and back to front: the other reading has the words, this one has hardly any.
fn disguised(text: &str) -> bool {
    let mut seen = [0u32; 3];
    for hit in DRESSES.find_overlapping_iter(text) {
        let place = hit.pattern().as_usize();
        seen[place / WORDS.len()] |= 1 << (place % WORDS.len());
    }
    let [plain, turned, reversed] = seen.map(u32::count_ones);
    [turned, reversed].iter().any(|other| *other >= 2 && *other > 2 * plain)
}
