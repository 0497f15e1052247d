//! Text in another dress: base 64 and 32, hexadecimal, numbers of letters, percent signs, ROT13, back to front; decoded, and read again.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::super::find::{REVIEW_BITS, find};
use super::super::split::runs;

/// Most bytes of a text that are decoded, and how deep.
const MOST: usize = 64 << 10;
const DEEP: usize = 2;
/// Shortest run in each dress.
const BASE64: usize = 12;
const HEX: usize = 24;
const PERCENT: usize = 8;

/// Words of instructions and of secrets: what is worth hiding.
const WORDS: [&str; 49] = [
    "forget",
    "guidelines",
    "jailbreak",
    "unrestricted",
    "restrictions",
    "debug mode",
    "forward ",
    "do not tell",
    "without asking",
    "reply with",
    "pretend",
    "act as",
    "answer as",
    "say nothing",
    "outside address",
    "ignore",
    "previous",
    "instruction",
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
    "prompt",
    "rules",
    "delete",
    "http://",
    "https://",
    "curl ",
    "hidden",
    "above",
    "bypass",
    "exfiltrate",
];
/// Words of which it takes two.
const TWO: [&str; 11] = [
    "customer",
    "upload",
    "backup",
    "transfer",
    "login",
    "leak",
    "refund",
    "every message",
    "thread",
    "list to",
    "without",
];
/// Common words: text that has them only when it is turned or read backwards is in disguise. In order.
const COMMON: [&str; 96] = [
    "about",
    "above",
    "account",
    "admin",
    "after",
    "again",
    "all",
    "and",
    "any",
    "api",
    "are",
    "attacker",
    "because",
    "before",
    "but",
    "by",
    "call",
    "can",
    "card",
    "chat",
    "code",
    "conversation",
    "customer",
    "data",
    "delete",
    "developer",
    "disregard",
    "do",
    "email",
    "every",
    "everything",
    "execute",
    "file",
    "files",
    "follow",
    "for",
    "forget",
    "from",
    "give",
    "have",
    "hidden",
    "history",
    "ignore",
    "in",
    "instruction",
    "instructions",
    "is",
    "it",
    "key",
    "mail",
    "mode",
    "my",
    "name",
    "never",
    "new",
    "not",
    "now",
    "of",
    "on",
    "order",
    "other",
    "out",
    "override",
    "password",
    "please",
    "previous",
    "print",
    "private",
    "prompt",
    "reveal",
    "rule",
    "rules",
    "run",
    "say",
    "secret",
    "send",
    "show",
    "system",
    "tell",
    "text",
    "that",
    "the",
    "their",
    "them",
    "then",
    "this",
    "to",
    "token",
    "user",
    "what",
    "when",
    "will",
    "with",
    "write",
    "you",
    "your",
];

/// Whether part of the text is readable text in another dress.
pub fn hides(text: &str) -> bool {
    let text = &text[..text.floor_char_boundary(MOST)];
    runs(text, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'='))
        .any(|run| run.len() >= BASE64 && plain(run).is_some_and(|text| matters(&text)))
        || percent(text)
        || escaped(text)
        || spaced(text)
        || disguised(text)
}

/// Whether a run of letters and digits decodes to readable text.
pub(super) fn readable(run: &str) -> bool {
    plain(run).is_some()
}

/// The readable text that a run of letters and digits decodes to.
fn plain(run: &str) -> Option<String> {
    let mut run = run.to_owned();
    let mut found = None;
    for _ in 0..DEEP {
        let Some(text) = decoded(&run) else { break };
        run = text.trim().to_owned();
        found = Some(text);
    }
    found
}

fn decoded(run: &str) -> Option<String> {
    let trimmed = run.trim_end_matches('=');
    if trimmed.len() < BASE64 {
        return None;
    }
    let hex =
        trimmed.len() >= HEX && trimmed.len().is_multiple_of(2) && trimmed.bytes().all(|byte| byte.is_ascii_hexdigit());
    if hex {
        let pair =
            |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).unwrap_or_default(), 16).unwrap_or_default();
        return words(trimmed.as_bytes().chunks(2).map(pair).collect());
    }
    let base64 =
        || [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD].iter().find_map(|engine| engine.decode(trimmed).ok().and_then(words));
    base32(trimmed).and_then(words).or_else(base64)
}

/// Bytes of base 32 (RFC 4648), which has capitals and the digits 2 to 7 alone.
fn base32(run: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0u32, 0);
    for letter in run.bytes() {
        let five = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'2'..=b'7' => letter - b'2' + 26,
            _ => return None,
        };
        (bits, held) = (bits << 5 | u32::from(five), held + 5);
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    Some(bytes)
}

/// Bytes that are words: random ones are hardly ever all letters, digits and common signs.
fn words(bytes: Vec<u8>) -> Option<String> {
    let text = String::from_utf8(bytes).ok()?;
    let common = |byte: &u8| byte.is_ascii_alphanumeric() || b" .,@-_:/'!?\n\"={}+".contains(byte);
    let most = text.bytes().filter(common).count() * 20 >= text.len() * 19;
    (text.len() >= 8 && text.is_ascii() && most).then_some(text)
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

/// Whether decoded text is worth hiding: it has words of instructions or of secrets, or a value.
fn matters(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    WORDS.iter().any(|word| lower.contains(word))
        || TWO.iter().filter(|word| lower.contains(**word)).count() >= 2
        || find(text.as_bytes()).iter().any(|finding| finding.bits() >= REVIEW_BITS)
}

/// Letters written by their number: `\x61`, `\u0061`, `&#97;`, `&#x61;`.
fn escaped(text: &str) -> bool {
    let mut plain = String::new();
    for start in ["\\x", "\\u", "&#x", "&#"] {
        if text.matches(start).take(PERCENT).count() < PERCENT {
            continue;
        }
        let radix = if start == "&#" { 10 } else { 16 };
        for part in text.split(start).skip(1) {
            let digits = part
                .find(|letter: char| !letter.is_digit(radix))
                .unwrap_or(part.len())
                .min(if start == "\\x" { 2 } else { 4 });
            plain.extend(u32::from_str_radix(&part[..digits], radix).ok().and_then(char::from_u32));
        }
    }
    plain.len() >= PERCENT && matters(&plain)
}

/// Bytes written one by one in hexadecimal or binary, or as numbers, with blanks or colons between.
fn spaced(text: &str) -> bool {
    let signs = [' ', ':', ',', '\n', '[', ']', '(', ')', '{', '}'];
    let told = |bytes: &mut Vec<u8>| {
        let found = bytes.len() >= BASE64 && std::str::from_utf8(bytes).is_ok_and(matters);
        bytes.clear();
        found
    };
    // In digits of two or sixteen, and of ten.
    let mut runs: [Vec<u8>; 2] = Default::default();
    for part in text.split(signs).filter(|part| !part.is_empty()) {
        let digits = part.strip_prefix("0x").unwrap_or(part);
        let short = match digits.len() {
            2 => u8::from_str_radix(digits, 16).ok(),
            8 => u8::from_str_radix(digits, 2).ok(),
            _ => None,
        };
        let number = if digits.len() <= 3 { digits.parse().ok() } else { None };
        for (bytes, byte) in runs.iter_mut().zip([short, number]) {
            match byte.filter(|byte| matches!(byte, b' '..=b'~' | b'\n')) {
                Some(byte) => bytes.push(byte),
                None if told(bytes) => return true,
                None => {}
            }
        }
    }
    runs.iter_mut().any(told)
}

fn turn(letter: u8) -> u8 {
    match letter {
        b'a'..=b'm' => letter + 13,
        b'n'..=b'z' => letter - 13,
        _ => letter,
    }
}

/// The lengths of common words by their first and last letters, a bit for each.
const ENDS: [u16; 26 * 26] = {
    let mut ends = [0; 26 * 26];
    let mut place = 0;
    while place < COMMON.len() {
        let word = COMMON[place].as_bytes();
        ends[(word[0] - b'a') as usize * 26 + (word[word.len() - 1] - b'a') as usize] |= 1 << word.len();
        place += 1;
    }
    ends
};

/// ROT13, and back to front: in some stretch the other reading has common words, and this one has hardly any.
fn disguised(text: &str) -> bool {
    let known = |word: &[u8]| {
        let ends = usize::from(word[0] - b'a') * 26 + usize::from(word[word.len() - 1] - b'a');
        ENDS[ends] >> word.len() & 1 == 1 && COMMON.binary_search_by(|known| known.as_bytes().cmp(word)).is_ok()
    };
    let mut stretches = [Stretch::default(); 2];
    for word in text.as_bytes().split(|byte| !byte.is_ascii_alphabetic()).filter(|word| (2..=14).contains(&word.len()))
    {
        let mut letters = [0; 14];
        let letters = &mut letters[..word.len()];
        letters.copy_from_slice(word);
        letters.make_ascii_lowercase();
        let plain = known(letters);
        letters.reverse();
        let reversed = known(letters);
        letters.reverse();
        letters.iter_mut().for_each(|letter| *letter = turn(*letter));
        let turned = known(letters);
        for (stretch, other) in stretches.iter_mut().zip([turned, reversed]) {
            if stretch.add(word.len(), plain, other) {
                return true;
            }
        }
    }
    false
}

/// The best stretch that ends in the word before: words of the other reading less words of this one.
#[derive(Debug, Clone, Copy, Default)]
struct Stretch {
    score: f32,
    hits: u32,
    long: bool,
}

impl Stretch {
    /// Whether the stretch says enough with one word more.
    fn add(&mut self, letters: usize, plain: bool, other: bool) -> bool {
        let worth = match (plain, other) {
            (true, _) => -2.0,
            (_, true) if letters > 2 => 1.0,
            (_, true) => 0.5,
            _ => -0.3,
        };
        self.score += worth;
        if self.score <= 0.0 {
            *self = Self::default();
            return false;
        }
        self.hits += u32::from(other);
        self.long |= other && letters >= 4;
        self.hits >= 2 && self.long && self.score >= 1.6
    }
}
