//! Which words texts use: of each word the number of texts that have it, for tests of what is asked, answered and said of failures.
//!
//! A word of the list in `words.txt`, or of `scan.own_words`, has a place of its own and can be named; any other word shares one of
//! [`OTHERS`] places and cannot. Nothing else of a text is kept, neither its order nor how often it says a word.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use crate::varint::{self, Corrupt, Reader};

/// The list; a word's number is its place in it.
const LIST: &str = include_str!("words.txt");
/// Places of words that are not in the list, after those that are.
const FIRST_OTHER: u16 = 8_192;
const OTHERS: u64 = 1_024;
/// Places of the settings' own words.
const FIRST_OWN: u16 = 32_768;
const OWN: u64 = 32_768;
/// The longest word; what is longer is none.
const LONGEST: usize = 32;
/// Bytes of a text that are read.
const READ: usize = 16 << 10;

static NUMBERS: LazyLock<HashMap<&'static str, u16>> =
    LazyLock::new(|| listed().enumerate().map(|(place, word)| (word, place as u16)).collect());

fn listed() -> impl Iterator<Item = &'static str> {
    LIST.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace)
}

/// FNV-1a: the same on every machine.
fn hash(word: &str) -> u64 {
    let hash = word
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    hash ^ hash >> 32
}

/// Texts of a call whose words are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Of {
    /// What is asked: the user's text.
    Input,
    /// What is answered.
    Output,
    /// What the telemetry says of a failed call: its error's type and text.
    Failure,
}

impl Of {
    pub const ALL: [Self; 3] = [Self::Input, Self::Output, Self::Failure];

    pub fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
            Self::Failure => "failure",
        }
    }

    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|of| of.name() == name)
    }
}

/// The words that have names: those of the list, and an operator's own.
#[derive(Debug, Clone, Default)]
pub struct Vocabulary {
    own: HashMap<u16, String>,
}

impl Vocabulary {
    /// With words beside those of the list; `Err` says which of them cannot be, and why.
    pub fn new(own: &[String]) -> Result<Self, String> {
        let mut known: HashMap<u16, String> = HashMap::new();
        for word in own {
            let mut parts = Vec::new();
            words(word, |part| parts.push(part.to_owned()));
            let [lower] = &parts[..] else {
                return Err(format!("`{word}` is not one word of 2 to {LONGEST} bytes, letters alone"));
            };
            if NUMBERS.contains_key(lower.as_str()) {
                continue;
            }
            let place = FIRST_OWN + (hash(lower) % OWN) as u16;
            if let Some(other) = known.get(&place).filter(|other| *other != lower) {
                return Err(format!("`{lower}` and `{other}` share a place: leave one of them out"));
            }
            known.insert(place, lower.clone());
        }
        Ok(Self { own: known })
    }

    /// The places of the words of texts, ascending, each once; of the beginning of each text alone.
    pub fn places<'t>(&self, texts: impl Iterator<Item = &'t str>) -> Vec<u16> {
        let mut places = Vec::new();
        for text in texts {
            words(&text[..text.floor_char_boundary(READ)], |word| places.push(self.place(word)));
        }
        places.sort_unstable();
        places.dedup();
        places
    }

    fn place(&self, word: &str) -> u16 {
        if let Some(number) = NUMBERS.get(word) {
            return *number;
        }
        let hash = hash(word);
        let own = FIRST_OWN + (hash % OWN) as u16;
        if self.own.get(&own).is_some_and(|known| known == word) { own } else { FIRST_OTHER + (hash % OTHERS) as u16 }
    }

    /// The word of a place; `None` of one that words without a name share.
    pub fn name(&self, place: u16) -> Option<&str> {
        match place {
            ..FIRST_OTHER => listed().nth(place.into()),
            FIRST_OWN.. => self.own.get(&place).map(String::as_str),
            _ => None,
        }
    }
}

/// The words of a text, in lower case: runs of letters, of scripts without spaces each two neighbours.
fn words(text: &str, mut each: impl FnMut(&str)) {
    let mut tell = |word: &str| {
        let lower: Cow<'_, str> =
            if word.bytes().any(|byte| !byte.is_ascii_lowercase()) { word.to_lowercase().into() } else { word.into() };
        if (2..=LONGEST).contains(&lower.len()) {
            each(&lower);
        }
    };
    for run in text.split(|c: char| !c.is_alphabetic()).filter(|run| !run.is_empty()) {
        let mut rest = run;
        while let Some(start) = rest.find(dense) {
            tell(&rest[..start]);
            let end = rest[start..].find(|c| !dense(c)).map_or(rest.len(), |end| start + end);
            let pair: Vec<(usize, char)> = rest[start..end].char_indices().collect();
            for two in pair.windows(2) {
                tell(&rest[start + two[0].0..start + two[1].0 + two[1].1.len_utf8()]);
            }
            if pair.len() == 1 {
                tell(&rest[start..end]);
            }
            rest = &rest[end..];
        }
        tell(rest);
    }
}

/// Of a script that puts no spaces between words: kana, Han, Hangul, Thai.
fn dense(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{e7f}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}')
}

/// Of how many texts each word is. Merging adds exactly, in any order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    texts: u64,
    /// Place and number of texts, ascending.
    counts: Vec<(u16, u64)>,
}

impl Words {
    pub fn texts(&self) -> u64 {
        self.texts
    }

    pub fn counts(&self) -> &[(u16, u64)] {
        &self.counts
    }

    /// Texts that have the word of a place.
    pub fn of(&self, place: u16) -> u64 {
        self.counts.binary_search_by_key(&place, |(known, _)| *known).map_or(0, |at| self.counts[at].1)
    }

    /// One text, whose places are ascending and each once.
    pub fn add(&mut self, places: &[u16]) {
        self.texts += 1;
        self.fold(places.iter().map(|place| (*place, 1)));
    }

    pub fn merge(&mut self, other: &Self) {
        self.texts += other.texts;
        self.fold(other.counts.iter().copied());
    }

    fn fold(&mut self, theirs: impl Iterator<Item = (u16, u64)>) {
        let mine = std::mem::take(&mut self.counts);
        let (mut mine, mut theirs) = (mine.into_iter().peekable(), theirs.peekable());
        self.counts = std::iter::from_fn(|| match (mine.peek(), theirs.peek()) {
            (Some(a), Some(b)) if a.0 == b.0 => Some((a.0, mine.next()?.1 + theirs.next()?.1)),
            (Some(a), Some(b)) if b.0 < a.0 => theirs.next(),
            (None, _) => theirs.next(),
            _ => mine.next(),
        })
        .collect();
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        varint::write(out, self.texts.into());
        varint::write(out, self.counts.len() as u128);
        let mut last = 0;
        for (place, n) in &self.counts {
            varint::write(out, (place - last).into());
            varint::write(out, (*n).into());
            last = *place;
        }
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let (texts, length) = (reader.count()?, reader.number()?);
        let mut words = Self { texts, counts: Vec::new() };
        let mut last = 0u16;
        for first in (0..length).map(|index| index == 0) {
            let step = reader.number()?;
            let place = u16::try_from(step).ok().and_then(|step| last.checked_add(step));
            last = place.filter(|_| first || step > 0).ok_or(Corrupt::Tag(step))?;
            words.counts.push((last, reader.count()?));
        }
        Ok(words)
    }

    /// Bytes on the heap.
    pub fn size(&self) -> usize {
        self.counts.capacity() * size_of::<(u16, u64)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        let mut told = Vec::new();
        words(text, |word| told.push(word.to_owned()));
        told
    }

    #[test]
    fn the_list_has_each_word_once_as_texts_say_it() {
        let all: Vec<&str> = listed().collect();
        assert!(all.len() == NUMBERS.len() && all.len() < usize::from(FIRST_OTHER), "{}", all.len());
        for word in &all {
            assert_eq!(told(word), [*word], "{word}");
        }
        // Numbers stay: what is stored counts by them.
        let place = |word: &str| Vocabulary::default().places([word].into_iter());
        assert_eq!((place("the"), place("refund"), place("timeout")), (vec![0], vec![364], vec![1_104]));
    }

    #[test]
    fn words_are_runs_of_letters_and_pairs_of_signs() {
        assert_eq!(told("Context_Length exceeded: 4096 tokens!"), ["context", "length", "exceeded", "tokens"]);
        assert_eq!(told("Überweisung, née; don't"), ["überweisung", "née", "don"]);
        assert_eq!(told("払い戻しabc"), ["払い", "い戻", "戻し", "abc"]);
        assert!(told(&"a".repeat(40)).is_empty() && told("4711 — ?").is_empty());
    }

    #[test]
    fn what_is_not_in_the_list_has_no_name_unless_it_is_ones_own() {
        let plain = Vocabulary::default();
        let acme = Vocabulary::new(&["Acme".to_owned(), "refund".to_owned()]).unwrap();
        let places = |vocabulary: &Vocabulary| vocabulary.places(["acme refund Refund xyzzy"].into_iter());
        let names = |vocabulary: &Vocabulary| -> Vec<Option<String>> {
            places(vocabulary).into_iter().map(|place| vocabulary.name(place).map(str::to_owned)).collect()
        };
        assert_eq!(names(&plain), [Some("refund".to_owned()), None, None]);
        assert_eq!(names(&acme), [Some("refund".to_owned()), None, Some("acme".to_owned())]);
        for wrong in ["two words", "x", "42", ""] {
            assert!(Vocabulary::new(&[wrong.to_owned()]).unwrap_err().contains("not one word"), "{wrong}");
        }
    }

    #[test]
    fn tables_merge_in_any_order_and_come_back() {
        let mut tables: Vec<Words> = Vec::new();
        for texts in [&[&[1u16, 5, 9][..], &[5]][..], &[&[0, 5, 40_000]], &[&[]]] {
            let mut words = Words::default();
            texts.iter().for_each(|places| words.add(places));
            tables.push(words);
        }
        let merged = |order: [usize; 3]| {
            let mut all = Words::default();
            order.into_iter().for_each(|place| all.merge(&tables[place]));
            all
        };
        let all = merged([0, 1, 2]);
        assert_eq!(all, merged([2, 1, 0]));
        assert_eq!((all.texts(), all.counts()), (4, &[(0, 1), (1, 1), (5, 3), (9, 1), (40_000, 1)][..]));
        let mut bytes = Vec::new();
        all.encode(&mut bytes);
        assert_eq!(Words::decode(&mut Reader(&bytes)).unwrap(), all);
        for cut in 0..bytes.len() {
            assert!(Words::decode(&mut Reader(&bytes[..cut])).is_err(), "{cut}");
        }
        // A place twice, one beyond the last.
        for wrong in [[1, 2, 5, 1, 0, 1].as_slice(), &[1, 1, 0x80, 0x80, 0x04, 1]] {
            assert!(Words::decode(&mut Reader(wrong)).is_err());
        }
    }
}
