//! Evidence in bits: words beside a value say what it is, or what it is not.

use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use super::kinds::KINDS;

/// Bytes before and after a value in which a word counts.
const BEFORE: usize = 44;
const AFTER: usize = 28;

/// Most bits that a word before a value adds, and one after it.
pub(super) const BEFORE_BITS: f32 = 14.0;
pub(super) const AFTER_BITS: f32 = 7.0;

/// Words after which a number names a thing, not a person.
const OTHERS: &[&str] = &[
    "order",
    "tracking",
    "sha",
    "trace",
    "epoch",
    "version",
    "offset",
    "commit",
    "invoice",
    "ticket",
    "build",
    "nonce",
    "span",
    "block",
    "height",
    "isbn",
    "doi",
    "sku",
    "serial",
    "lag",
    "rows",
    "frame",
    "ts",
    "timestamp",
    "time",
    "line",
    "port",
    "pid",
    "seed",
    "issn",
    "arxiv",
    "release",
    "revision",
    "rev",
    "oid",
    "section",
    "chapter",
    "uuid",
    "guid",
    "hash",
    "etag",
    "checksum",
    "crc",
    "digest",
    "case",
    "chromosome",
    "album",
    "part",
    "model",
    "size",
    "length",
    "bytes",
    "uid",
    "gid",
    "elapsed",
    "duration",
    "latency",
    "bitrate",
    "parcel",
    "shipment",
    "batch",
    "lot",
    "request",
    "session",
    "sequence",
    "seq",
    "step",
    "iteration",
    "row",
    "node",
    "rfc",
    "issue",
    "pr",
    "bug",
    "price",
    "amount",
    "total",
    "sum",
    "product",
    "article",
    "catalog",
    "asin",
    "ean",
    "upc",
    "gtin",
    "parse",
    "test",
    "random",
    "value",
    "lease",
];
/// Units: a number before one is a measurement.
const UNITS: &[&str] = &[
    "bytes",
    "byte",
    "ms",
    "us",
    "ns",
    "s",
    "sec",
    "seconds",
    "kb",
    "mb",
    "gb",
    "kbit",
    "kbits",
    "mbit",
    "px",
    "rows",
    "records",
    "messages",
    "events",
    "requests",
    "tokens",
    "times",
    "iterations",
    "hz",
    "khz",
    "mhz",
    "km",
    "kg",
    "mm",
    "cm",
    "usd",
    "eur",
    "items",
    "users",
    "lines",
    "steps",
    "blocks",
    "hits",
    "ops",
];
/// What joins a value to the word after it.
const SAID: [&str; 16] = [
    " is my ",
    " is his ",
    " is her ",
    " is their ",
    " is the ",
    " is our ",
    " is your ",
    " (",
    " as my ",
    " as the ",
    " was my ",
    " is a ",
    " is an ",
    ", my ",
    " - my ",
    " = ",
];
const OTHER_BITS: f32 = -6.0;
/// Bits lost where digits stand between the word and the value.
const BETWEEN: f32 = -5.0;

struct Words {
    search: AhoCorasick,
    /// For each word: the kinds of whose values it speaks; none for words that speak against numbers.
    kinds: Vec<Vec<usize>>,
    words: Vec<&'static str>,
}

static WORDS: LazyLock<Words> = LazyLock::new(|| {
    let mut words: Vec<&'static str> = Vec::new();
    let mut spellings: Vec<String> = Vec::new();
    let mut kinds: Vec<Vec<usize>> = Vec::new();
    let mut add = |word: &'static str, kind: Option<usize>| {
        for spelling in spelled(word) {
            let place = spellings.iter().position(|known| *known == spelling).unwrap_or_else(|| {
                words.push(word);
                spellings.push(spelling);
                kinds.push(Vec::new());
                spellings.len() - 1
            });
            kinds[place].extend(kind);
        }
    };
    for (place, kind) in KINDS.iter().enumerate() {
        kind.words.iter().for_each(|word| add(word, Some(place)));
    }
    OTHERS.iter().for_each(|word| add(word, None));
    let search = AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .match_kind(MatchKind::Standard)
        .kind(Some(AhoCorasickKind::DFA))
        .build(&spellings)
        .unwrap_or_else(|error| unreachable!("words are constants that a test compiles: {error}"));
    Words { search, kinds, words }
});

/// Words that are written with full stops too.
const ABBREVIATED: [&str; 22] = [
    "ssn", "dni", "nif", "nie", "pesel", "abn", "tfn", "SIN", "itin", "vin", "nhs", "swift", "bic", "rut", "cpf",
    "cnpj", "cuit", "npi", "mbi", "bsn", "NIR", "imei",
];

/// A word, and where it has blanks the spellings of keys: `tax id`, `tax_id`, `tax-id`, `taxId`.
fn spelled(word: &str) -> Vec<String> {
    let mut all = vec![word.to_owned()];
    // `D.N.I.`
    if (2..=5).contains(&word.len())
        && word.bytes().all(|byte| byte.is_ascii_alphabetic())
        && ABBREVIATED.contains(&word)
    {
        all.push(word.chars().map(String::from).collect::<Vec<_>>().join("."));
    }
    if word.contains(' ') {
        all.extend(["_", "-", ""].map(|between| word.replace(' ', between)));
    }
    all
}

/// Whether the bytes at a range stand as a word of their own; capitals as capitals, or as a key.
fn word(text: &[u8], range: Range<usize>, word: &str) -> bool {
    let before = range.start.checked_sub(1).map(|place| text[place]);
    let after = text.get(range.end).copied();
    let raw = &text[range];
    if !word.is_ascii() {
        return true;
    }
    let camel = before.is_some_and(|byte| byte.is_ascii_lowercase()) && raw[0].is_ascii_uppercase();
    let left = camel
        || !before.is_some_and(|byte| byte.is_ascii_alphanumeric())
        || !word.as_bytes()[0].is_ascii_alphanumeric();
    let plural = after == Some(b's') && raw.len() > 3;
    let right = plural || !after.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let key = matches!(before, Some(b'"' | b'_' | b'\'' | b'&' | b'?'))
        || matches!(after, Some(b'"' | b'_' | b'=' | b':' | b'\''));
    let capitals = word.bytes().all(|byte| !byte.is_ascii_lowercase());
    left && right && (!capitals || key || raw.iter().all(|byte| !byte.is_ascii_lowercase()))
}

/// What stands beside one place of a text: bits for each kind.
#[derive(Default)]
pub(super) struct Beside {
    /// Kind, bits, word.
    bits: Vec<(usize, f32, &'static str)>,
    /// Bits against any bare number.
    pub other: f32,
    /// Most bits of any kind.
    pub best: f32,
}

impl Beside {
    /// Words before a value that begins at `at`.
    pub fn before(text: &[u8], at: usize) -> Self {
        let from = at.saturating_sub(BEFORE);
        let mut beside = Self::default();
        let words = &*WORDS;
        for hit in words.search.find_overlapping_iter(&text[from..at]) {
            let range = from + hit.start()..from + hit.end();
            let gap = at - range.end;
            let place = hit.pattern().as_usize();
            if !word(text, range.clone(), words.words[place]) {
                continue;
            }
            if words.kinds[place].is_empty() {
                if gap <= 14 {
                    beside.other = OTHER_BITS;
                }
                continue;
            }
            let digits = text[range.end..at].iter().filter(|byte| byte.is_ascii_digit()).count();
            let bits = BEFORE_BITS - gap as f32 / 7.0 + if digits >= 4 { BETWEEN } else { 0.0 };
            beside.add(place, bits);
        }
        beside
    }

    /// Words after a value that ends at `at`.
    pub fn after(text: &[u8], at: usize) -> Self {
        let to = text.len().min(at + AFTER);
        let mut beside = Self::default();
        let words = &*WORDS;
        let unit = text[at..to].trim_ascii_start();
        let letters = unit.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        let unit = &unit[..letters];
        if UNITS.iter().any(|known| unit.eq_ignore_ascii_case(known.as_bytes())) {
            beside.other = OTHER_BITS;
        }
        for hit in words.search.find_overlapping_iter(&text[at..to]) {
            let range = at + hit.start()..at + hit.end();
            let place = hit.pattern().as_usize();
            if !words.kinds[place].is_empty() && word(text, range.clone(), words.words[place]) {
                let between = &text[at..range.start];
                let said = SAID.iter().any(|said| between.starts_with(said.as_bytes()));
                let most = if said { BEFORE_BITS } else { AFTER_BITS };
                beside.add(place, most - (range.start - at) as f32 / if said { 8.0 } else { 4.0 });
            }
        }
        beside
    }

    fn add(&mut self, place: usize, bits: f32) {
        let words = &*WORDS;
        self.best = self.best.max(bits);
        self.bits.extend(words.kinds[place].iter().map(|kind| (*kind, bits, words.words[place])));
    }

    /// Bits for a kind, and the word that says so.
    pub fn of(&self, kind: usize) -> (f32, &'static str) {
        let of = self.bits.iter().filter(|(of, ..)| *of == kind).map(|(_, bits, word)| (*bits, *word));
        of.fold((0.0, ""), |most, one| if one.0 > most.0 { one } else { most })
    }
}

/// Probability of what has so many bits (log2 of the odds).
pub fn probability(bits: f32) -> f32 {
    1.0 / (1.0 + (-bits).exp2())
}
