//! Evidence in bits: words beside a value say what it is, or what it is not.

use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::dfa::DFA;
use aho_corasick::{Anchored, MatchKind, StartKind};

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
    search: DFA,
    start: StateID,
    /// For each word: the kinds of whose values it speaks; none for words that speak against numbers.
    kinds: Vec<Vec<usize>>,
    words: Vec<&'static str>,
    /// Of each word: what it is written in.
    letters: Vec<Letters>,
}

#[derive(Clone, Copy)]
struct Letters {
    ascii: bool,
    capitals: bool,
    /// It begins with a letter or a digit.
    begins: bool,
}

impl Letters {
    fn of(word: &str) -> Self {
        Self {
            ascii: word.is_ascii(),
            capitals: word.bytes().all(|byte| !byte.is_ascii_lowercase()),
            begins: word.as_bytes()[0].is_ascii_alphanumeric(),
        }
    }
}

static WORDS: LazyLock<Words> = LazyLock::new(|| {
    assert!(KINDS.len() <= ROOM, "{} kinds need more room than {ROOM}", KINDS.len());
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
    let search = DFA::builder()
        .ascii_case_insensitive(true)
        .match_kind(MatchKind::Standard)
        .start_kind(StartKind::Unanchored)
        .build(&spellings)
        .unwrap_or_else(|error| unreachable!("words are constants that a test compiles: {error}"));
    let start = search
        .start_state(Anchored::No)
        .unwrap_or_else(|error| unreachable!("built for searches that are not anchored: {error}"));
    let letters = words.iter().map(|word| Letters::of(word)).collect();
    Words { search, start, kinds, words, letters }
});

impl Words {
    /// Calls `hit` with each word that is somewhere in a short text, also within another one: its place and its range.
    fn each(&self, text: &[u8], mut hit: impl FnMut(usize, Range<usize>)) {
        let mut state = self.start;
        for (at, byte) in text.iter().enumerate() {
            state = self.search.next_state(Anchored::No, state, *byte);
            if self.search.is_match(state) {
                for n in 0..self.search.match_len(state) {
                    let word = self.search.match_pattern(state, n);
                    hit(word.as_usize(), at + 1 - self.search.pattern_len(word)..at + 1);
                }
            }
        }
    }
}

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
fn word(text: &[u8], range: Range<usize>, letters: Letters) -> bool {
    let before = range.start.checked_sub(1).map(|place| text[place]);
    let after = text.get(range.end).copied();
    let raw = &text[range];
    if !letters.ascii {
        return true;
    }
    let camel = before.is_some_and(|byte| byte.is_ascii_lowercase()) && raw[0].is_ascii_uppercase();
    let left = camel || !before.is_some_and(|byte| byte.is_ascii_alphanumeric()) || !letters.begins;
    let plural = after == Some(b's') && raw.len() > 3;
    let right = plural || !after.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let key = matches!(before, Some(b'"' | b'_' | b'\'' | b'&' | b'?'))
        || matches!(after, Some(b'"' | b'_' | b'=' | b':' | b'\''));
    left && right && (!letters.capitals || key || raw.iter().all(|byte| !byte.is_ascii_lowercase()))
}

/// Room for the bits of each kind.
const ROOM: usize = 64;

/// What stands beside one place of a text: bits for each kind, and the place of the word that says so.
pub(super) struct Beside {
    bits: [f32; ROOM],
    word: [u16; ROOM],
    /// Bits against any bare number.
    pub other: f32,
    /// Most bits of any kind.
    pub best: f32,
}

impl Beside {
    pub const NOTHING: Self = Self { bits: [0.0; ROOM], word: [0; ROOM], other: 0.0, best: 0.0 };

    /// Words before a value that begins at `at`.
    pub fn before(&mut self, text: &[u8], at: usize) {
        let from = at.saturating_sub(BEFORE);
        self.clear();
        let words = &*WORDS;
        words.each(&text[from..at], |place, range| {
            let range = from + range.start..from + range.end;
            let gap = at - range.end;
            if !word(text, range.clone(), words.letters[place]) {
                return;
            }
            if words.kinds[place].is_empty() {
                if gap <= 14 {
                    self.other = OTHER_BITS;
                }
                return;
            }
            let digit = |byte: &&u8| byte.is_ascii_digit();
            let apart = gap >= 4 && text[range.end..at].iter().filter(digit).count() >= 4;
            let bits = BEFORE_BITS - gap as f32 / 7.0 + if apart { BETWEEN } else { 0.0 };
            self.add(place, bits);
        });
    }

    /// Words after a value that ends at `at`.
    pub fn after(&mut self, text: &[u8], at: usize) {
        let to = text.len().min(at + AFTER);
        self.clear();
        let words = &*WORDS;
        let unit = text[at..to].trim_ascii_start();
        let letters = unit.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        let unit = &unit[..letters];
        if letters > 0 && UNITS.iter().any(|known| unit.eq_ignore_ascii_case(known.as_bytes())) {
            self.other = OTHER_BITS;
        }
        words.each(&text[at..to], |place, range| {
            let range = at + range.start..at + range.end;
            if !words.kinds[place].is_empty() && word(text, range.clone(), words.letters[place]) {
                let between = &text[at..range.start];
                let said = SAID.iter().any(|said| between.starts_with(said.as_bytes()));
                let most = if said { BEFORE_BITS } else { AFTER_BITS };
                self.add(place, most - (range.start - at) as f32 / if said { 8.0 } else { 4.0 });
            }
        });
    }

    fn clear(&mut self) {
        self.bits.fill(0.0);
        (self.other, self.best) = (0.0, 0.0);
    }

    fn add(&mut self, place: usize, bits: f32) {
        let words = &*WORDS;
        self.best = self.best.max(bits);
        for kind in &words.kinds[place] {
            if bits > self.bits[*kind] {
                (self.bits[*kind], self.word[*kind]) = (bits, place as u16);
            }
        }
    }

    /// Bits for a kind, and the word that says so.
    pub fn of(&self, kind: usize) -> (f32, &'static str) {
        let bits = self.bits[kind];
        (bits, if bits > 0.0 { WORDS.words[usize::from(self.word[kind])] } else { "" })
    }
}

/// Probability of what has so many bits (log2 of the odds).
pub fn probability(bits: f32) -> f32 {
    1.0 / (1.0 + (-bits).exp2())
}
