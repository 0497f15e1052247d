//! Secrets: those with a form of their issuer, and those that only the words before them give away. A secret is never
//! verified with its issuer, stored or logged.

mod context;
mod password;
mod shapes;

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use leeway_core::scan::Entity;
use memchr::memmem;

use super::candidate::Candidate;
use super::kinds::{Edges, Kind};

pub(super) use context::token;
pub(super) use shapes::SHAPES;

/// Evidence of an issuer's form, bits.
pub(super) const PRIOR: f32 = 7.0;

pub(super) static KINDS: &[Kind] = &[
    Kind {
        entity: Entity::Secret,
        shapes: &[],
        words: &["token", "secret", "key", "bearer", "password", "credential", "authorization", "api_key", "apikey"],
        check,
        canonical: |candidate| String::from_utf8_lossy(candidate.raw()).into_owned(),
        edges: Edges::Token,
        ..Kind::NUMBER
    },
    password::KIND,
];

/// Texts that stand in the place of a secret.
static PLACEHOLDERS: LazyLock<AhoCorasick> = LazyLock::new(|| {
    let words = [
        "example",
        "xxxx",
        "your",
        "placeholder",
        "changeme",
        "redacted",
        "dummy",
        "insert",
        "<",
        "${",
        "{{",
        "process.env",
        "getenv",
        "****",
        "....",
        "todo",
        "abcdef",
        "012345",
        "123456",
        "1234-",
        "secret_here",
        "fake",
        "sample",
        "replace",
        "randomstring",
        "abc123",
        "hello",
        "qwerty",
        "foobar",
        "deadbeef",
        "987654",
        "username",
        "user:pass",
        "####",
        "env.",
        "secrets.",
        "vault:",
        "not_real",
        "notreal",
        "test-key",
        "testkey",
        "put_",
        "here",
        "supersecret",
        "super_secret",
        "password1",
        "changethis",
        "change_me",
        "undefined",
        "my_",
        "api_key",
        "apikey",
    ];
    AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .build(words)
        .unwrap_or_else(|error| unreachable!("words are constants: {error}"))
});

fn placeholder(text: &[u8]) -> bool {
    PLACEHOLDERS.is_match(text)
}

/// Shannon entropy of the bytes, bits per byte.
fn entropy(text: &[u8]) -> f32 {
    let mut counts = [0u16; 256];
    text.iter().for_each(|byte| counts[usize::from(*byte)] = counts[usize::from(*byte)].saturating_add(1));
    let n = text.len() as f32;
    counts.iter().filter(|count| **count > 0).map(|count| f32::from(*count) / n).map(|p| -p * p.log2()).sum()
}

/// What the issuer puts into a token, as far as one can check it, and that it is no placeholder.
fn check(candidate: &Candidate<'_>) -> Option<f32> {
    let raw = candidate.raw();
    if raw.starts_with(b"BEGIN") {
        return key_block(candidate);
    }
    // Thirty characters, and six that are their CRC-32 in base 62.
    let prefixes: [&[u8]; 6] = [b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"npm_"];
    let checked = raw.len() == 40 && prefixes.iter().any(|prefix| raw.starts_with(prefix));
    if checked && base62(crc32fast::hash(&raw[4..34])) == raw[34..] {
        return Some(25.0);
    }
    let body =
        raw.iter().rposition(|byte| matches!(byte, b'_' | b'-' | b'.' | b':')).map_or(raw, |place| &raw[place + 1..]);
    let body = if body.len() < 12 { raw } else { body };
    // One letter and a full stop are little of a form: the rest has digits.
    if raw.starts_with(b"s.") && body.iter().filter(|byte| byte.is_ascii_digit()).count() < 2 {
        return None;
    }
    if placeholder(raw) || entropy(body) < 2.5 || !belongs(candidate) {
        return None;
    }
    // A token that fails its check is at least doubtful.
    Some(if checked { -2.0 } else { 0.0 })
}

/// What a form that says little itself has in it or about it.
fn belongs(candidate: &Candidate<'_>) -> bool {
    match candidate.form {
        Some("openai") => {
            let raw = candidate.raw();
            memmem::find(raw, b"T3BlbkFJ").is_some_and(|at| at >= 23 && raw.len() >= at + 28)
        }
        Some("kubernetes-secret") => of_secret(candidate),
        Some("curl-user") => {
            const LINE: usize = 120;
            let start = candidate.range.start;
            let line = &candidate.text[start.saturating_sub(LINE)..start];
            let line = &line[memchr::memrchr(b'\n', line).map_or(0, |at| at + 1)..];
            line.ends_with(b"-") && memmem::find(line, b"curl ").is_some()
        }
        _ => true,
    }
}

/// Whether the object about a value says that it is a secret.
fn of_secret(candidate: &Candidate<'_>) -> bool {
    const OBJECT: usize = 600;
    let (text, range) = (candidate.text, &candidate.range);
    let before = &text[range.start.saturating_sub(OBJECT)..range.start];
    let after = &text[range.end..text.len().min(range.end + OBJECT)];
    // A stream of objects has a line of signs between them.
    fn lines(text: &[u8]) -> impl Iterator<Item = usize> {
        memmem::find_iter(text, b"\n---").filter(|at| text.get(at + 4) != Some(&b'-'))
    }
    let (first, last) = (lines(before).last().unwrap_or(0), lines(after).next().unwrap_or(after.len()));
    says_secret(&before[first..]) || says_secret(&after[..last])
}

/// Whether an object's text has `kind: Secret`, in YAML or JSON.
fn says_secret(text: &[u8]) -> bool {
    memmem::find_iter(text, b"kind").any(|at| {
        let sign = |byte: &u8| matches!(byte, b'"' | b'\'' | b' ');
        let rest = &text[at + 4..text.len().min(at + 4 + 16)];
        let Some(colon) = rest.iter().position(|byte| !sign(byte)).filter(|place| rest[*place] == b':') else {
            return false;
        };
        let value = &rest[colon + 1..];
        let value = &value[value.iter().position(|byte| !sign(byte)).unwrap_or(value.len())..];
        value.starts_with(b"Secret") && !value.get(6).is_some_and(u8::is_ascii_alphanumeric)
    })
}

fn base62(mut n: u32) -> [u8; 6] {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = [b'0'; 6];
    for digit in text.iter_mut().rev() {
        *digit = DIGITS[(n % 62) as usize];
        n /= 62;
    }
    text
}

/// A private key in PEM: at least 64 characters of base 64 after its first line.
fn key_block(candidate: &Candidate<'_>) -> Option<f32> {
    const BODY: usize = 400;
    let text = &candidate.text[candidate.range.end..];
    let dashes = candidate.text[..candidate.range.start].ends_with(b"-----");
    let mut body = 0;
    // Headers of an old key, and line ends written as two characters, are part of it.
    for byte in text.iter().take(BODY) {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' | b'=' => body += 1,
            b'\r' | b'\n' | b'\\' | b' ' | b':' | b',' | b'-' | b'.' | b'"' | b'>' => {}
            _ => break,
        }
        if body >= 64 {
            break;
        }
    }
    (dashes && body >= 64 && !placeholder(&text[..text.len().min(80)])).then_some(10.0)
}

#[cfg(test)]
pub(super) fn github(body: &[u8; 30]) -> String {
    let check = base62(crc32fast::hash(body));
    format!("ghp_{}{}", String::from_utf8_lossy(body), String::from_utf8_lossy(&check))
}
