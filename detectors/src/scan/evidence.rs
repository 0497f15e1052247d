//! Evidence in bits: words beside a value say what it is, or what it is not.

use std::ops::Range;
use std::sync::LazyLock;

use super::gate;
use super::kinds::KINDS;
use super::table;

/// Bytes before and after a value in which a word counts.
const BEFORE: usize = 44;
const AFTER: usize = 28;
const _: () = assert!(BEFORE < gate::PART && AFTER < gate::PART);

/// Most bits that a word before a value adds, and one after it.
pub(super) const BEFORE_BITS: f32 = 14.0;
const AFTER_BITS: f32 = 7.0;
/// Of a word that is the name of a table's column, and of one in it.
const NAMED_BITS: f32 = 13.0;
const PARTLY_BITS: f32 = 11.5;

/// Words after which a number names a thing, not a person.
const OTHERS: &[&str] = &[
    "order",
    "tracking",
    "sha",
    "trace",
    "epoch",
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
    "serial",
    "lag",
    "rows",
    "frame",
    "ts",
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
    "crc",
    "digest",
    "case",
    "chromosome",
    "album",
    "part",
    "model",
    "size",
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
/// What names a thing although a word of a kind is part of it or stands before it: its own number follows, nobody's.
const THINGS: &[&str] = &[
    "call id",
    "call stack",
    "call count",
    "call depth",
    "call site",
    "card id",
    "memory card",
    "sd card",
    "graphics card",
    "phone case",
    "contact id",
    "text id",
    "sku",
    "count",
    "counter",
    "text length",
    "length",
    "social media",
    "social score",
    "social graph",
    "social network",
    "social reach",
    "depth",
    "units",
    "reach",
    "score",
    "order id",
    "order no",
    "order number",
    "tracking number",
    "tracking no",
    "invoice no",
    "invoice number",
    "part no",
    "part number",
    "model no",
    "model number",
    "version",
    "timestamp",
    "checksum",
    "offset",
    "firmware",
    "colour",
    "color",
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
/// Whether what stands between a value and a word after it joins them: ` is my `, ` as the Polish `, ` (`.
fn joins(between: &[u8]) -> bool {
    /// Words of a joint, and one more.
    const WORDS: usize = 4;
    let own = |word: &[u8]| matches!(word, b"my" | b"his" | b"her" | b"their" | b"our" | b"your" | b"the");
    if between.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).count() > WORDS {
        return false;
    }
    let mut words = between.split(|byte| *byte == b' ');
    let (first, second, third) = (words.next(), words.next(), words.next());
    let (Some(first), Some(second)) = (first, second) else { return false };
    match (first, second) {
        (b"", b"is" | b"was") => {
            third.is_some_and(|word| own(word) || matches!(word, b"a" | b"an" | b"also" | b"indeed"))
        }
        (b"", b"as" | b"a" | b"looking" | b"really" | b"=") => third.is_some(),
        (b"", b"-") | (b",", _) => third.is_some() && (own(second) || second == b"is" || third == Some(b"my")),
        (b"", word) => word.starts_with(b"(") || own(word) && third.is_some(),
        _ => false,
    }
}

/// Whether a word that ends at a place is no part of another thing's name: `PESEL of`, not `mobile users`.
fn ends(rest: &[u8]) -> bool {
    let Some(rest) = rest.strip_prefix(b" ") else { return true };
    let word = &rest[..rest.iter().position(|byte| !byte.is_ascii_lowercase()).unwrap_or(rest.len())];
    const ON: [&[u8]; 26] = [
        b"", b"no", b"number", b"num", b"nr", b"id", b"code", b"of", b"in", b"for", b"on", b"and", b"or", b"is",
        b"was", b"that", b"card", b"to", b"with", b"but", b"from", b"at", b"by", b"please", b"when", b"because",
    ];
    ON.contains(&word)
}
const OTHER_BITS: f32 = -6.0;
/// Bits lost where digits stand between the word and the value.
const BETWEEN: f32 = -5.0;

struct Words {
    /// A bit for each three letters with which a word begins: most places of a text are passed by with one look at 4 KB.
    begins: Box<[u64; HEADS / 64]>,
    /// Of each three letters the beginnings of spellings that begin with them.
    heads: Vec<Range<u16>>,
    beginnings: Vec<Beginning>,
    /// By their beginnings; of those with one the shorter first.
    spellings: Vec<Spelling>,
    /// Of each spelling the word.
    words: Vec<&'static str>,
}

/// The first bytes of spellings, eight at most, in small letters, which of eight they are, and those spellings.
struct Beginning {
    first: u64,
    mask: u64,
    spellings: Range<u16>,
}

/// One way in which a word is written.
struct Spelling {
    /// Its first sixteen bytes in small letters, and which of sixteen they are.
    first: u128,
    mask: u128,
    /// What follows those.
    rest: Box<[u8]>,
    /// A bit for each kind of whose values it speaks; none for words that speak against numbers.
    kinds: u64,
    len: u8,
    letters: Letters,
    /// It names a thing, whatever word stands before it.
    thing: bool,
}

impl Spelling {
    fn new(spelling: &str, kinds: u64, thing: bool) -> Self {
        let small = spelling.to_ascii_lowercase().into_bytes();
        let (first, rest) = small.split_at(small.len().min(16));
        let padded = |fill: &dyn Fn(u8) -> u8| {
            let mut all = [0; 16];
            all.iter_mut().zip(first).for_each(|(place, byte)| *place = fill(*byte));
            u128::from_le_bytes(all)
        };
        let (len, letters) = (small.len() as u8, Letters::of(spelling));
        Self { first: padded(&|byte| byte), mask: padded(&|_| u8::MAX), rest: rest.into(), kinds, len, letters, thing }
    }

    /// Where it ends, where it begins at a place of a text and ends before another.
    fn at(&self, text: &[u8], at: usize, end: usize, small: u128) -> Option<usize> {
        let to = at + usize::from(self.len);
        let rest = || to <= end && text[at + 16..to].eq_ignore_ascii_case(&self.rest);
        (small & self.mask == self.first && (self.rest.is_empty() || rest())).then_some(to)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
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
    let mut words: Vec<(String, &'static str, u64)> = Vec::new();
    let mut add = |word: &'static str, kind: u64| {
        for spelling in spelled(word) {
            match words.iter_mut().find(|(known, ..)| *known == spelling) {
                Some((.., kinds)) => *kinds |= kind,
                None => words.push((spelling, word, kind)),
            }
        }
    };
    for (place, kind) in KINDS.iter().enumerate() {
        kind.words.iter().for_each(|word| add(word, 1 << place));
    }
    OTHERS.iter().chain(THINGS).for_each(|word| add(word, 0));
    let mut by_head: Vec<(usize, &(String, &'static str, u64))> = Vec::new();
    for word in &words {
        let bytes = word.0.as_bytes();
        assert!(bytes[0].is_ascii_alphanumeric() || !bytes[0].is_ascii(), "{} begins with a sign", word.0);
        // Of two letters the third may be any.
        let third = bytes.get(2).map_or(0..32, |third| *third..third + 1);
        by_head.extend(third.map(|third| (head(bytes[0], bytes[1], third), word)));
    }
    by_head.sort_by_cached_key(|(head, word)| (*head, beginning(&word.0), word.0.len()));
    let mut begins = Box::new([0; HEADS / 64]);
    let mut heads = vec![0..0; HEADS];
    let mut beginnings: Vec<Beginning> = Vec::new();
    for (place, (head, (spelling, ..))) in by_head.iter().enumerate() {
        let (first, mask) = beginning(spelling);
        let to = place as u16 + 1;
        let same = begins[head / 64] >> (head % 64) & 1 == 1;
        match beginnings.last_mut().filter(|last| same && (last.first, last.mask) == (first, mask)) {
            Some(last) => last.spellings.end = to,
            None => {
                let n = beginnings.len() as u16;
                heads[*head] = if same { heads[*head].start } else { n }..n + 1;
                beginnings.push(Beginning { first, mask, spellings: place as u16..to });
            }
        }
        begins[head / 64] |= 1 << (head % 64);
    }
    let spelling =
        |(spelling, word, kinds): &(String, &'static str, u64)| Spelling::new(spelling, *kinds, THINGS.contains(word));
    let spellings = by_head.iter().map(|(_, word)| spelling(word)).collect();
    Words { begins, heads, beginnings, spellings, words: by_head.iter().map(|(_, (_, word, _))| *word).collect() }
});

/// The first eight bytes of a spelling in small letters, and which of eight they are.
fn beginning(spelling: &str) -> (u64, u64) {
    let (mut first, mut mask) = ([0; 8], [0; 8]);
    for (place, byte) in spelling.bytes().take(8).enumerate() {
        (first[place], mask[place]) = (byte.to_ascii_lowercase(), u8::MAX);
    }
    (u64::from_le_bytes(first), u64::from_le_bytes(mask))
}

/// Five bits of each of three letters, whatever their case.
const HEADS: usize = 1 << 15;

fn head(first: u8, second: u8, third: u8) -> usize {
    let five = |byte: u8| usize::from(byte & 31);
    five(first) << 10 | five(second) << 5 | five(third)
}

impl Words {
    /// Calls `hit` with each word that stands in a part of a text: the place of its spelling and its range.
    fn each(&self, text: &[u8], part: Range<usize>, mut hit: impl FnMut(usize, Range<usize>)) {
        let words = gate::Words::of(text, part.clone());
        let head = |small: [u8; gate::ROOM]| head(small[0], small[1], small[2]);
        // Without branches: nobody can foresee which word is one of these.
        let (mut places, mut n, mut begins) = ([0u8; gate::PART], 0, words.begins);
        while begins != 0 {
            let place = begins.trailing_zeros();
            begins &= begins - 1;
            let head = head(words.at(place as usize));
            places[n % gate::PART] = place as u8;
            n += usize::from(self.begins[head / 64] >> (head % 64) & 1 == 1);
        }
        for place in places[..n].iter().map(|place| usize::from(*place)) {
            let small = words.at(place);
            let head = head(small);
            let (at, small) = (part.start + place, u128::from_le_bytes(small));
            let beginnings = &self.beginnings[usize::from(self.heads[head].start)..usize::from(self.heads[head].end)];
            let begun = beginnings.iter().filter(|beginning| small as u64 & beginning.mask == beginning.first);
            for place in begun.flat_map(|beginning| beginning.spellings.clone()).map(usize::from) {
                let spelling = &self.spellings[place];
                if let Some(end) = spelling.at(text, at, part.end, small)
                    && word(text, at..end, spelling.letters)
                {
                    hit(place, at..end);
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
        all.extend(["_", "-"].map(|between| word.replace(' ', between)));
        let joined = word.replace(' ', "");
        // `SA ID` is not said.
        if joined.len() > 4 {
            all.push(joined);
        }
    }
    all
}

/// Whether the bytes at a range, where a word begins, are all of it; capitals as capitals, or as a key.
fn word(text: &[u8], range: Range<usize>, letters: Letters) -> bool {
    let before = range.start.checked_sub(1).map(|place| text[place]);
    let after = text.get(range.end).copied();
    let (raw, end) = (&text[range.clone()], range.end);
    if !letters.ascii {
        return true;
    }
    // `SSNs`; but `tins` and `ruts` are other things.
    let plural = after == Some(b's') && (raw.len() > 3 || raw.iter().all(u8::is_ascii_uppercase));
    let right = plural || !after.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let assigned = || matches!(text[end..], [b' ', b'=', b' ', b'"' | b'\'', ..]);
    let key = || {
        assigned()
            || matches!(before, Some(b'"' | b'_' | b'\'' | b'&' | b'?'))
            || matches!(after, Some(b'"' | b'_' | b'=' | b':' | b'\''))
    };
    right && (!letters.capitals || key() || raw.iter().all(|byte| !byte.is_ascii_lowercase()))
}

/// Room for the bits of each kind.
const ROOM: usize = 64;

/// What stands beside one place of a text: bits for each kind, and the place of the word that says so.
pub(super) struct Beside {
    /// A bit for each kind of which some word speaks; of the others nothing is known.
    pub said: u64,
    bits: [f32; ROOM],
    word: [u16; ROOM],
    /// Bits against any bare number.
    pub other: f32,
    /// Bits that the nearest name of a thing would add, were it of a kind.
    pub thing: f32,
    /// Bytes to the nearest word of any kind.
    pub nearest: f32,
}

impl Beside {
    pub const NOTHING: Self =
        Self { said: 0, bits: [0.0; ROOM], word: [0; ROOM], other: 0.0, thing: 0.0, nearest: f32::INFINITY };

    /// Words before a value that begins at `at`.
    pub fn before(&mut self, text: &[u8], at: usize) {
        let from = at.saturating_sub(BEFORE);
        self.clear();
        let words = &*WORDS;
        words.each(text, from..at, |place, range| {
            let gap = at - range.end;
            if words.spellings[place].kinds == 0 {
                // One that has a number of its own says nothing of the next.
                let own = text[range.end..at].iter().filter(|byte| byte.is_ascii_digit()).count() >= 4;
                if gap <= 14 && !own {
                    self.other = OTHER_BITS;
                    if words.spellings[place].thing {
                        self.thing = self.thing.max(BEFORE_BITS - gap as f32 / 7.0);
                    }
                }
                return;
            }
            let digit = |byte: &&u8| byte.is_ascii_digit();
            let apart = gap >= 4 && text[range.end..at].iter().filter(digit).count() >= 4;
            let bits = BEFORE_BITS - gap as f32 / 7.0 + if apart { BETWEEN } else { 0.0 };
            if !apart {
                self.nearest = self.nearest.min(gap as f32);
            }
            self.add(place, bits);
        });
    }

    /// Words of a name, as of a table's column.
    pub fn named(&mut self, text: &[u8], name: Range<usize>) {
        self.clear();
        let words = &*WORDS;
        let name = name.end.saturating_sub(BEFORE).max(name.start)..name.end;
        let mut thing = false;
        words.each(text, name.clone(), |place, range| {
            thing |= words.spellings[place].kinds == 0;
            // `calls` is no number to call.
            let all = range == name;
            self.add(place, if all { NAMED_BITS } else { PARTLY_BITS - (name.end - range.end) as f32 / 7.0 });
        });
        if thing {
            self.clear();
        }
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
            if words.spellings[place].kinds != 0 {
                let between = &text[at..range.start];
                let said = joins(between) && ends(&text[range.end..]);
                let most = if said { BEFORE_BITS } else { AFTER_BITS };
                self.add(place, most - (range.start - at) as f32 / if said { 8.0 } else { 4.0 });
            }
        });
    }

    pub fn clear(&mut self) {
        self.said = 0;
        (self.other, self.thing, self.nearest) = (0.0, 0.0, f32::INFINITY);
    }

    fn add(&mut self, place: usize, bits: f32) {
        let mut kinds = WORDS.spellings[place].kinds;
        while kinds != 0 {
            let kind = kinds.trailing_zeros() as usize;
            let more = (self.said >> kind & 1 == 0) | (bits > self.bits[kind]);
            self.bits[kind] = if more { bits } else { self.bits[kind] };
            self.word[kind] = if more { place as u16 } else { self.word[kind] };
            kinds &= kinds - 1;
        }
        self.said |= WORDS.spellings[place].kinds;
    }

    /// Bits for a kind, and the word that says so.
    pub fn of(&self, kind: usize) -> (f32, &'static str) {
        if self.said >> kind & 1 == 0 {
            return (0.0, "");
        }
        (self.bits[kind], WORDS.words[usize::from(self.word[kind])])
    }
}

/// What was looked up last: where a value began and what stands before it and in its column's first row, where one ended and what
/// stands after it.
pub(super) struct Around {
    before: (usize, Beside),
    after: (usize, Beside),
    above: (usize, Beside),
}

impl Around {
    const NOWHERE: (usize, Beside) = (usize::MAX, Beside::NOTHING);
    pub const NOTHING: Self = Self { before: Self::NOWHERE, after: Self::NOWHERE, above: Self::NOWHERE };

    /// Nothing was looked up of another text.
    pub fn forget(&mut self) {
        for known in [&mut self.before, &mut self.after, &mut self.above] {
            known.0 = usize::MAX;
        }
    }

    pub fn before(&mut self, text: &[u8], start: usize) -> &Beside {
        let (known, beside) = &mut self.before;
        if *known != start {
            *known = start;
            beside.before(text, start);
        }
        beside
    }

    pub fn after(&mut self, text: &[u8], end: usize) -> &Beside {
        let (known, beside) = &mut self.after;
        if *known != end {
            *known = end;
            beside.after(text, end);
        }
        beside
    }

    pub fn above(&mut self, text: &[u8], start: usize) -> &Beside {
        let (known, beside) = &mut self.above;
        if *known != start {
            *known = start;
            beside.clear();
            if let Some(cell) = table::header(text, start) {
                beside.named(text, cell);
            }
        }
        beside
    }
}

/// Probability of what has so many bits (log2 of the odds).
pub fn probability(bits: f32) -> f32 {
    1.0 / (1.0 + (-bits).exp2())
}

#[cfg(test)]
mod tests {
    use super::super::kinds::Kind;
    use super::*;
    use proptest::prelude::*;
    use proptest::sample;

    fn spellings() -> Vec<String> {
        let kinds = KINDS.iter().flat_map(|kind| kind.words.iter());
        kinds.chain(OTHERS).chain(THINGS).flat_map(|word| spelled(word)).collect()
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
            WORDS.each(text, part.clone(), |place, range| {
                // It speaks of the kinds that have the word, in the spelling that stands there.
                let said = text[range.clone()].to_ascii_lowercase();
                let spelled = |word: &&str| spelled(word).iter().any(|way| way.to_ascii_lowercase().as_bytes() == said);
                let of = |kind: &Kind| kind.words.iter().any(|word| spelled(word) && Letters::of(word) == WORDS.spellings[place].letters);
                let kinds = KINDS.iter().enumerate().filter(|(_, kind)| of(kind)).fold(0, |kinds, (n, _)| kinds | 1 << n);
                assert!(spelled(&WORDS.words[place]) && WORDS.spellings[place].kinds == kinds, "{}", WORDS.words[place]);
                found.push((range.start, range.end));
            });
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
        assert_eq!(beside.said, 0);
        let text = "n\u{e9}e le ".as_bytes();
        beside.before(text, text.len());
        assert!(beside.said != 0 && beside.nearest == 1.0, "{}", beside.nearest);
    }
}
