//! Secrets without a form of their own: letters and digits of high entropy to which a word before them gives the name
//! of a secret.

use std::sync::LazyLock;

use aho_corasick::packed::Searcher;
use aho_corasick::{AhoCorasick, AhoCorasickKind};
use leeway_core::scan::Entity;
use memchr::memmem;

use super::super::find::Finding;
use super::{entropy, placeholder};

/// Shortest and longest value looked at, and bytes before it in which a word counts.
const SHORTEST: usize = 12;
const LONGEST: usize = 256;
const BEFORE: usize = 56;

/// Words that name a secret. The last letters count: `api_key`, `clientSecret`.
const WORDS: [&str; 36] = [
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "apikey",
    "api key",
    "api-key",
    "api_key",
    "access key",
    "access_key",
    "accesskey",
    "bearer",
    "credential",
    "credentials",
    "auth",
    "private key",
    "client id",
    "client_id",
    "key",
    "passwort",
    "kennwort",
    "schlüssel",
    "mot de passe",
    "clé",
    "contraseña",
    "clave",
    "senha",
    "wachtwoord",
    "parola",
    "hasło",
    "密钥",
    "密码",
    "пароль",
    "login",
];
/// Words right before a key that make it no secret.
const OPEN: [&str; 23] = [
    "public",
    "primary",
    "foreign",
    "cache",
    "partition",
    "idempotency",
    "sort",
    "object",
    "routing",
    "dedup",
    "composite",
    "unique",
    "hash",
    "row",
    "candidate",
    "registry",
    "map",
    "index",
    "bucket",
    "license",
    "licence",
    "product",
    "activation",
];
/// Words after `clave` that make it a person's number.
const PERSONAL: [&str; 5] = ["curp", "nica", "fiscal", "elector", "registro"];
/// Bytes before the word in which those stand.
const NEAR: usize = 14;
/// Words that an assignment may have between its name and its value.
const VERBS: [&str; 14] = [
    "value",
    "default",
    "is",
    "was",
    "are",
    "ist",
    "lautet",
    "est",
    "es",
    "login",
    "password",
    "equals",
    "to",
    "default_value",
];

static SEARCH: LazyLock<AhoCorasick> = LazyLock::new(|| {
    AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .kind(Some(AhoCorasickKind::DFA))
        .build(WORDS)
        .unwrap_or_else(|error| unreachable!("words are constants: {error}"))
});

/// What every word that names a secret has in it: found with vector instructions, and more than those words.
const HINTS: [&str; 23] = [
    "token",
    "secret",
    "passw",
    "passph",
    "pwd",
    "key",
    "bearer",
    "credential",
    "auth",
    "client",
    "login",
    "kennwort",
    "schl",
    "mot de",
    "clé",
    "contrase",
    "clave",
    "senha",
    "wachtwoord",
    "parola",
    "hasł",
    "密",
    "пароль",
];
static HINTED: LazyLock<Option<Searcher>> = LazyLock::new(|| Searcher::new(HINTS));

/// Bytes of a text that are looked at together, and those of them that are looked at again.
const TOGETHER: usize = 256;
const AGAIN: usize = 16;

/// Whether a text may hold a word that names a secret.
fn hinted(text: &[u8]) -> bool {
    // Not every processor has the instructions.
    let Some(hinted) = &*HINTED else { return SEARCH.is_match(text) };
    let mut small = [0; TOGETHER];
    (0..text.len()).step_by(TOGETHER - AGAIN).any(|from| {
        let part = &text[from..text.len().min(from + TOGETHER)];
        small[..part.len()].copy_from_slice(part);
        small.make_ascii_lowercase();
        hinted.find(&small[..part.len()]).is_some()
    })
}

/// Bytes of which a value is made.
const PARTS: [bool; 256] = {
    let mut parts = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        parts[byte] = (byte as u8).is_ascii_alphanumeric()
            || matches!(byte as u8, b'_' | b'-' | b'=' | b'+' | b'/' | b'.' | b'~' | b'!' | b'^' | b'%' | b':' | b'|');
        byte += 1;
    }
    parts
};

fn part(byte: u8) -> bool {
    PARTS[usize::from(byte)]
}

/// How many bytes of a value stand at the beginning, as far as it matters.
fn ahead(text: &[u8]) -> usize {
    let Some(first) = text.first_chunk::<SHORTEST>() else {
        return text.iter().take_while(|byte| part(**byte)).count();
    };
    // Without branches: words end anywhere.
    let parts = first.iter().enumerate().fold(0, |parts: u32, (place, byte)| parts | u32::from(part(*byte)) << place);
    parts.trailing_ones() as usize
}

/// Looks at the value to which the word at a place belongs: where the look ended, and the secret. `names` keeps whether any word of
/// the text may name a secret, once that was asked.
pub(in crate::scan) fn token(text: &[u8], at: usize, names: &mut Option<bool>) -> (usize, Option<Finding>) {
    let ahead = ahead(&text[at..]);
    let joined = at > 0 && part(text[at - 1]) && !matches!(text[at - 1], b'=' | b':');
    if ahead < SHORTEST && !joined {
        return (at + ahead, None);
    }
    if !*names.get_or_insert_with(|| hinted(text)) {
        return (text.len(), None);
    }
    let back = text[at.saturating_sub(24)..at]
        .iter()
        .rev()
        .take_while(|byte| part(**byte) && !matches!(byte, b'=' | b':'))
        .count();
    let mut start = at - back;
    let end = start + text[start..].iter().take(LONGEST).take_while(|byte| part(**byte)).count();
    // `name=value` in one word: the value alone.
    let mut value = &text[start..end];
    while let Some(place) = value.iter().position(|byte| matches!(byte, b'=' | b':')) {
        let name = &value[..place];
        if name.iter().any(u8::is_ascii_digit) && !SEARCH.is_match(name) {
            break;
        }
        start += place + 1;
        value = &text[start..end];
    }
    while let [rest @ .., b'.' | b':' | b'!'] = value {
        value = rest;
    }
    let end_of_value = start + value.len();
    let looked = end.max(at + 1);
    if value.len() < SHORTEST || value.len() == LONGEST || !random(value) {
        return (looked, None);
    }
    let Some((gap, word)) = named(text, start) else { return (looked, None) };
    let entropy = entropy(value);
    let digits = value.iter().all(u8::is_ascii_digit);
    // A short or a simple value must be assigned; a long one may be spoken of.
    let tight = gap == Gap::Assigned;
    let enough = match (digits, tight) {
        (true, true) => value.len() >= 15 && entropy >= 2.5,
        (true, false) => false,
        (false, true) => entropy >= if value.len() >= 20 { 2.7 } else { 3.0 },
        (false, false) => value.len() >= 14 && entropy >= 3.2,
    };
    if !enough || placeholder(value) {
        return (looked, None);
    }
    let finding = Finding {
        entity: Entity::Secret,
        range: start..end_of_value,
        canonical: String::from_utf8_lossy(value).into_owned(),
        shape: entropy - 4.0,
        check: 0.0,
        words: if tight { 7.0 } else { 6.0 },
        word,
        name: Some("assigned"),
        test: false,
    };
    (looked, Some(finding))
}

#[derive(Debug, PartialEq, Eq)]
enum Gap {
    /// Only signs of an assignment between the word and the value.
    Assigned,
    /// A few words between them.
    Spoken,
}

/// The word before a value that names it a secret.
fn named(text: &[u8], start: usize) -> Option<(Gap, &'static str)> {
    let from = start.saturating_sub(BEFORE);
    let before = &text[from..start];
    // Another statement ends before the value's.
    let line = before.iter().rposition(|byte| matches!(byte, b';' | b'}')).map_or(0, |place| place + 1);
    let hit = SEARCH.find_iter(&before[line..]).last()?;
    let (begin, end) = (line + hit.start(), line + hit.end());
    let word = WORDS[hit.pattern().as_usize()];
    let opens = &before[..begin];
    let head = opens.iter().rposition(|byte| matches!(byte, b'\n' | b',' | b';')).map_or(0, |place| place + 1);
    let head = head.max(opens.len().saturating_sub(NEAR));
    let opens = opens[head..].to_ascii_lowercase();
    let alone = |place: usize| place.checked_sub(1).is_none_or(|before| !opens[before].is_ascii_alphanumeric());
    let stands = |open: &&str| {
        let mut windows = opens.windows(open.len()).enumerate();
        windows.any(|(place, window)| window == open.as_bytes() && alone(place))
    };
    let open = OPEN.iter().any(stands);
    let left = begin == 0
        || !before[begin - 1].is_ascii_lowercase()
        || word != "key" && word != "auth"
        || before[begin].is_ascii_uppercase();
    let between = &before[end..];
    // `SECRET_KEY_BASE`, `APIKEY_PRIVATE` name one still.
    let still = [&b"s"[..], b"_base", b"_BASE", b"_private", b"_PRIVATE"];
    let between = still.iter().find_map(|end| between.strip_prefix(*end)).unwrap_or(between);
    // `key_name`, `token_type`, `credentialsId` name something else.
    let other = between.first().is_some_and(|byte| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'_' | b'-' | b'.') && between.len() > 1 && between[1].is_ascii_alphabetic()
    });
    if open || !left || other {
        return None;
    }
    let lower = between.to_ascii_lowercase();
    // `clave CURP` is no key.
    if word == "clave" && PERSONAL.iter().any(|other| memmem::find(&lower, other.as_bytes()).is_some()) {
        return None;
    }
    let sign = |byte: u8| byte.is_ascii_whitespace() || b"\"'`=:>([{@\\])|*,?-~<".contains(&byte);
    let verbs = lower.split(|byte| sign(*byte)).filter(|part| !part.is_empty());
    let signs = verbs.clone().all(|verb| VERBS.iter().any(|known| known.as_bytes() == verb));
    let only_blanks = between.iter().all(|byte| matches!(byte, b' ' | b'\t'));
    let sure = between.iter().any(|byte| b"=:>(|".contains(byte)) || verbs.count() > 0 || word == "bearer";
    // `ENV NAME_TOKEN value`, `--token value`: a blank assigns where the word is part of a name.
    let named = begin > 0 && matches!(before[begin - 1], b'_' | b'-');
    if signs && !between.is_empty() && (sure || only_blanks && named) {
        return Some((Gap::Assigned, word));
    }
    let spoken = lower.len() <= 32
        && lower.iter().all(|byte| {
            byte.is_ascii_alphabetic() || matches!(byte, b' ' | b':' | b'"' | b'\'' | b'`' | b'=' | b',' | b'\n' | b'-')
        });
    let ends = (lower.trim_ascii_end().ends_with(b":") || lower.ends_with(b"="))
        || lower.windows(4).any(|window| window == b" is ");
    (spoken && ends || signs && word != "key").then_some((Gap::Spoken, word))
}

/// Whether letters and digits are mixed as in no word, path or name.
fn random(value: &[u8]) -> bool {
    let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
    if digits == value.len() {
        return true;
    }
    // Capitals and small letters by turns are no name either.
    let rises = value.windows(2).filter(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase()).count();
    let capitals = value.windows(2).filter(|pair| pair.iter().all(u8::is_ascii_uppercase)).count();
    let turns = value.len() >= 16 && digits == 1 && rises * 6 >= value.len() && capitals >= 2;
    if digits < 2 && !turns || value.contains(&b'/') && value.windows(3).any(|three| three == b"://") {
        return false;
    }
    // Parts that are words, years or versions make a name.
    let words: usize = value
        .split(|byte| !byte.is_ascii_alphanumeric())
        .filter(|part| !part.is_empty())
        .map(|part| {
            let letters = part.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
            let wordy = letters == part.len() || part.len() - letters == part.len() || part.len() <= 3;
            if wordy && part.len() < 12 { part.len() } else { 0 }
        })
        .sum();
    let uuid = value.len() == 36 && value.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'-');
    uuid || words * 2 < value.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_names_a_secret_is_hinted_at_wherever_it_stands() {
        assert!(HINTED.is_some() && HINTS.iter().all(|hint| hint.len() <= AGAIN));
        let blanks = |n| " ".repeat(n);
        for word in WORDS {
            for before in [0, 1, 230, 236, 239, 240, 241, 250, 256, 480, 1_000] {
                for word in [word.to_owned(), word.to_ascii_uppercase()] {
                    let text = format!("{}{word}{}", blanks(before), blanks(300));
                    assert!(hinted(text.as_bytes()), "{word} after {before}");
                }
            }
        }
        assert!(!hinted(blanks(1_000).as_bytes()));
    }
}
