//! Evidence in bits: words beside a value say what it is, or what it is not.

use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::dfa::DFA;
use aho_corasick::{Anchored, MatchKind, StartKind};

use super::gate;
use super::kinds::KINDS;

/// Bytes before and after a value in which a word counts.
const BEFORE: usize = 44;
const AFTER: usize = 28;
const _: () = assert!(BEFORE < gate::PART && AFTER < gate::PART);

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
    /// A bit for each three letters with which a word begins: most places of a text are passed by with one look at 4 KB.
    begins: Box<[u64; HEADS / 64]>,
    /// The words, from their first letter on.
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
}

impl Letters {
    fn of(word: &str) -> Self {
        Self { ascii: word.is_ascii(), capitals: word.bytes().all(|byte| !byte.is_ascii_lowercase()) }
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
    let mut begins = Box::new([0; HEADS / 64]);
    for spelling in &spellings {
        let first = spelling.as_bytes()[0];
        assert!(first.is_ascii_alphanumeric() || !first.is_ascii(), "{spelling} begins with a sign");
        // Of two letters the third may be any.
        for third in 0..32 {
            let third = spelling.as_bytes().get(2).copied().unwrap_or(third);
            let head = head(spelling.as_bytes()[0], spelling.as_bytes()[1], third);
            begins[head / 64] |= 1 << (head % 64);
        }
    }
    let search = DFA::builder()
        .ascii_case_insensitive(true)
        .match_kind(MatchKind::Standard)
        .start_kind(StartKind::Anchored)
        .build(&spellings)
        .unwrap_or_else(|error| unreachable!("words are constants that a test compiles: {error}"));
    let start = search
        .start_state(Anchored::Yes)
        .unwrap_or_else(|error| unreachable!("built for searches that are anchored: {error}"));
    let letters = words.iter().map(|word| Letters::of(word)).collect();
    Words { begins, search, start, kinds, words, letters }
});

/// Five bits of each of three letters, whatever their case.
const HEADS: usize = 1 << 15;

fn head(first: u8, second: u8, third: u8) -> usize {
    let five = |byte: u8| usize::from(byte & 31);
    five(first) << 10 | five(second) << 5 | five(third)
}

impl Words {
    /// Calls `hit` with each word that stands in a part of a text: its place and its range.
    fn each(&self, text: &[u8], part: Range<usize>, mut hit: impl FnMut(usize, Range<usize>)) {
        let mut begins = gate::words(text, part.clone());
        while begins != 0 {
            let at = part.start + begins.trailing_zeros() as usize;
            begins &= begins - 1;
            let letter = |more: usize| if at + more < part.end { text[at + more] } else { 0 };
            let head = head(text[at], letter(1), letter(2));
            if self.begins[head / 64] >> (head % 64) & 1 == 1 {
                self.from(text, at..part.end, &mut hit);
            }
        }
    }

    /// Every word that begins at a place.
    fn from(&self, text: &[u8], part: Range<usize>, hit: &mut impl FnMut(usize, Range<usize>)) {
        let mut state = self.start;
        for (n, byte) in text[part.clone()].iter().enumerate() {
            state = self.search.next_state(Anchored::Yes, state, *byte);
            if self.search.is_dead(state) {
                return;
            }
            if self.search.is_match(state) {
                let range = part.start..part.start + n + 1;
                for place in 0..self.search.match_len(state) {
                    let place = self.search.match_pattern(state, place);
                    // It tells words too that begin within this one.
                    if self.search.pattern_len(place) == range.len()
                        && word(text, range.clone(), self.letters[place.as_usize()])
                    {
                        hit(place.as_usize(), range.clone());
                    }
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

/// Whether the bytes at a range, where a word begins, are all of it; capitals as capitals, or as a key.
fn word(text: &[u8], range: Range<usize>, letters: Letters) -> bool {
    let before = range.start.checked_sub(1).map(|place| text[place]);
    let after = text.get(range.end).copied();
    let raw = &text[range];
    if !letters.ascii {
        return true;
    }
    let plural = after == Some(b's') && raw.len() > 3;
    let right = plural || !after.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let key = matches!(before, Some(b'"' | b'_' | b'\'' | b'&' | b'?'))
        || matches!(after, Some(b'"' | b'_' | b'=' | b':' | b'\''));
    right && (!letters.capitals || key || raw.iter().all(|byte| !byte.is_ascii_lowercase()))
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
        words.each(text, from..at, |place, range| {
            let gap = at - range.end;
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
        words.each(text, at..to, |place, range| {
            if !words.kinds[place].is_empty() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::sample;

    fn spellings() -> Vec<String> {
        let kinds = KINDS.iter().flat_map(|kind| kind.words.iter());
        kinds.chain(OTHERS).flat_map(|word| spelled(word)).collect()
    }

    /// Each word at each place.
    fn plain(text: &[u8], part: Range<usize>) -> Vec<(usize, usize)> {
        let begins = |at: usize| {
            let (before, byte) = (at.checked_sub(1).map_or(b' ', |place| text[place]), text[at]);
            let camel = before.is_ascii_lowercase() && byte.is_ascii_uppercase();
            !byte.is_ascii() || byte.is_ascii_alphanumeric() && (camel || !before.is_ascii_alphanumeric())
        };
        let mut found = Vec::new();
        for spelling in spellings() {
            for at in part.clone().filter(|at| begins(*at) && at + spelling.len() <= part.end) {
                let range = at..at + spelling.len();
                if text[range.clone()].eq_ignore_ascii_case(spelling.as_bytes())
                    && word(text, range.clone(), Letters::of(&spelling))
                {
                    found.push((range.start, range.end));
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn words_are_found_where_a_look_at_each_place_finds_them(
            words in proptest::collection::vec((sample::select(spellings()), "[ _.:é0-9a-zA-Z]{0,3}", any::<bool>()), 1..6),
            from in 0usize..60,
        ) {
            let mut text = String::new();
            for (word, between, capitals) in words {
                text += &if capitals { word.to_uppercase() } else { word };
                text += &between;
            }
            let text = text.as_bytes();
            let part = from.min(text.len())..text.len().min(from + BEFORE);
            let part = part.start.min(part.end)..part.end;
            let mut found = Vec::new();
            WORDS.each(text, part.clone(), |_, range| found.push((range.start, range.end)));
            found.sort_unstable();
            found.dedup();
            prop_assert_eq!(found, plain(text, part), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn a_word_within_another_says_nothing() {
        let mut beside = Beside::NOTHING;
        let text = "les donn\u{e9}es du ".as_bytes();
        beside.before(text, text.len());
        assert_eq!(beside.best, 0.0);
        let text = "n\u{e9}e le ".as_bytes();
        beside.before(text, text.len());
        assert!(beside.best > 12.0, "{}", beside.best);
    }
}
