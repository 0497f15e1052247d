//! Which words of a list texts use: of each the number of texts that have it, for tests of what is asked, answered and said of failures.
//!
//! Counted are the words of `words.txt` and those of `scan.own_words`. No other word is kept in any form, neither the order of words nor how
//! often a text says one.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use serde::Serialize;

use crate::fnv;
use crate::varint::{self, Corrupt, Reader};

/// The list; a word's number is its place in it.
const LIST: &str = include_str!("words.txt");
/// Places of the settings' own words.
const FIRST_OWN: u16 = 32_768;
const OWN: u64 = 32_768;
/// The longest word; what is longer is none.
const LONGEST: usize = 32;
/// Bytes of a call's texts of one side that are read.
const READ: usize = 16 << 10;
/// Of tables that were counted with different own words.
const MIXED: u64 = u64::MAX;

static NUMBERS: LazyLock<HashMap<&'static str, u16>> =
    LazyLock::new(|| listed().enumerate().map(|(place, word)| (word, place as u16)).collect());

fn listed() -> impl Iterator<Item = &'static str> {
    LIST.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace)
}

/// Texts of a call whose words are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Of {
    /// What is asked: the user's text.
    Input,
    /// What is answered.
    Output,
    /// The type and text of a failed call's error.
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

    /// What texts these are, for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Input => "What is asked",
            Self::Output => "What is answered",
            Self::Failure => "What failures say",
        }
    }

    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|of| of.name() == name)
    }
}

/// The words that are counted: those of the list, and an operator's own.
#[derive(Debug, Clone, Default)]
pub struct Vocabulary {
    own: HashMap<u16, String>,
    /// Names the set of own words; 0 of none.
    digest: u64,
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
            let place = own_place(lower);
            if let Some(other) = known.get(&place).filter(|other| *other != lower) {
                return Err(format!("`{lower}` and `{other}` share a place: leave one of them out"));
            }
            known.insert(place, lower.clone());
        }
        let mut all: Vec<&str> = known.values().map(String::as_str).collect();
        all.sort_unstable();
        // Neither of the two numbers that mean something else.
        let digest = if all.is_empty() { 0 } else { fnv::hash(all.join(" ").bytes()).clamp(1, MIXED - 1) };
        Ok(Self { own: known, digest })
    }

    /// The places of the words of texts; of their beginning together.
    pub fn places<'t>(&self, texts: impl Iterator<Item = &'t str>) -> Places {
        let (mut places, mut room) = (Vec::new(), READ);
        for text in texts {
            let text = &text[..text.floor_char_boundary(room)];
            room -= text.len();
            words(text, |word| places.extend(self.place(word)));
        }
        Places { own: self.digest, ..places.into_iter().collect() }
    }

    fn place(&self, word: &str) -> Option<u16> {
        NUMBERS.get(word).copied().or_else(|| {
            let own = own_place(word);
            self.own.get(&own).is_some_and(|known| known == word).then_some(own)
        })
    }

    /// The word of a place; `None` of one that was another's own.
    pub fn name(&self, place: u16) -> Option<&str> {
        if place < FIRST_OWN { listed().nth(place.into()) } else { self.own.get(&place).map(String::as_str) }
    }
}

fn own_place(word: &str) -> u16 {
    FIRST_OWN + (fnv::hash(word.bytes()) % OWN) as u16
}

/// The words of a call's texts of one side.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// Ascending, each once.
    places: Box<[u16]>,
    own: u64,
}

impl FromIterator<u16> for Places {
    /// Of words of the list.
    fn from_iter<I: IntoIterator<Item = u16>>(places: I) -> Self {
        let mut places: Vec<u16> = places.into_iter().collect();
        places.sort_unstable();
        places.dedup();
        Self { places: places.into(), own: 0 }
    }
}

impl Places {
    /// Bytes on the heap.
    pub fn size(&self) -> usize {
        size_of_val(&*self.places)
    }
}

/// The words of a text, in lower case: runs of letters.
fn words(text: &str, mut each: impl FnMut(&str)) {
    for run in text.split(|c: char| !c.is_alphabetic()).filter(|run| run.len() >= 2) {
        let plain = run.bytes().all(|byte| byte.is_ascii_lowercase());
        let lower: Cow<'_, str> = if plain { run.into() } else { run.to_lowercase().into() };
        if lower.len() <= LONGEST {
            each(&lower);
        }
    }
}

/// Of how many texts each word is. Merging adds exactly, in any order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    texts: u64,
    /// Words that the shortest list had that was counted with.
    listed: u16,
    /// Which own words were counted.
    own: u64,
    /// Place and number of texts, ascending.
    counts: Vec<(u16, u64)>,
}

impl Default for Words {
    fn default() -> Self {
        Self { texts: 0, listed: u16::MAX, own: 0, counts: Vec::new() }
    }
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

    /// Whether the word of a place was looked for in all texts of both: an own word that came later, or a later list's, was not.
    pub fn both_know(&self, other: &Self, place: u16) -> bool {
        match place {
            FIRST_OWN.. => self.own == other.own && self.own != MIXED,
            _ => place < self.listed.min(other.listed),
        }
    }

    /// One text.
    pub fn add(&mut self, text: &Places) {
        self.counted(1, NUMBERS.len() as u16, text.own);
        for place in &text.places {
            self.slot(*place, 1);
        }
    }

    pub fn merge(&mut self, other: &Self) {
        if other.texts > 0 {
            self.counted(other.texts, other.listed, other.own);
        }
        for (place, n) in &other.counts {
            self.slot(*place, *n);
        }
    }

    fn counted(&mut self, texts: u64, listed: u16, own: u64) {
        self.own = if self.texts == 0 || self.own == own { own } else { MIXED };
        self.listed = self.listed.min(listed);
        self.texts += texts;
    }

    fn slot(&mut self, place: u16, n: u64) {
        match self.counts.binary_search_by_key(&place, |(known, _)| *known) {
            Ok(at) => self.counts[at].1 += n,
            Err(at) => self.counts.insert(at, (place, n)),
        }
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        for number in [self.texts, self.listed.into(), self.own, self.counts.len() as u64] {
            varint::write(out, number.into());
        }
        let mut last = 0;
        for (place, n) in &self.counts {
            varint::write(out, (place - last).into());
            varint::write(out, (*n).into());
            last = *place;
        }
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let (texts, listed, own, length) = (reader.count()?, reader.number()?, reader.number()?, reader.number()?);
        let listed = u16::try_from(listed).map_err(|_| Corrupt::Overflow)?;
        let mut words = Self { texts, listed, own, counts: Vec::new() };
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
        assert!(all.len() == NUMBERS.len() && all.len() < usize::from(FIRST_OWN), "{}", all.len());
        for word in &all {
            assert_eq!(told(word), [*word], "{word}");
        }
        // Numbers stay: what is stored counts by them.
        assert_eq!(["the", "refund", "timeout"].map(|word| NUMBERS[word]), [0, 364, 1_104]);
    }

    #[test]
    fn words_are_runs_of_letters() {
        assert_eq!(told("Context_Length exceeded: 4096 tokens!"), ["context", "length", "exceeded", "tokens"]);
        assert_eq!(told("Überweisung, née; don't"), ["überweisung", "née", "don"]);
        assert!(told(&"a".repeat(40)).is_empty() && told("4711 — ?").is_empty());
    }

    #[test]
    fn words_outside_the_list_are_not_counted_unless_they_are_ones_own() {
        let plain = Vocabulary::default();
        let acme = Vocabulary::new(&["Acme".to_owned(), "refund".to_owned()]).unwrap();
        let names = |vocabulary: &Vocabulary| -> Vec<String> {
            let places = vocabulary.places(["acme refund Refund xyzzy"].into_iter()).places;
            places.iter().map(|place| vocabulary.name(*place).unwrap().to_owned()).collect()
        };
        assert_eq!(names(&plain), ["refund"]);
        assert_eq!(names(&acme), ["refund", "acme"]);
        for wrong in ["two words", "x", "42", ""] {
            assert!(Vocabulary::new(&[wrong.to_owned()]).unwrap_err().contains("not one word"), "{wrong}");
        }
        // A side's texts are read together, to a bound.
        let long = "refund ".repeat(READ);
        assert_eq!(plain.places([long.as_str(), "parcel"].into_iter()), plain.places(["refund"].into_iter()));
    }

    #[test]
    fn own_words_are_compared_only_where_both_sides_counted_them() {
        let [plain, acme, other] = [&[][..], &["acme"], &["other"]].map(|own: &[&str]| {
            let own: Vec<String> = own.iter().map(|word| (*word).to_owned()).collect();
            let mut words = Words::default();
            words.add(&Vocabulary::new(&own).unwrap().places(["acme refund"].into_iter()));
            words
        });
        let (place, refund) = (own_place("acme"), NUMBERS["refund"]);
        assert!(acme.both_know(&acme, place) && !acme.both_know(&plain, place) && !acme.both_know(&other, place));
        assert!(acme.both_know(&plain, refund) && !acme.both_know(&plain, NUMBERS.len() as u16));
        let mut both = acme.clone();
        both.merge(&other);
        assert!(!both.both_know(&both, place) && both.both_know(&both, refund));
        // Of no texts nothing is said.
        let mut none = Words::default();
        none.merge(&acme);
        assert_eq!(none, acme);
    }

    #[test]
    fn tables_merge_in_any_order_and_come_back() {
        let mut tables: Vec<Words> = Vec::new();
        for (own, texts) in [(0, &[&[1u16, 5, 9][..], &[5]][..]), (0, &[&[0, 5]]), (7, &[&[], &[40_000]])] {
            let mut words = Words::default();
            texts.iter().for_each(|places| words.add(&Places { places: (*places).into(), own }));
            tables.push(words);
        }
        let merged = |order: [usize; 3]| {
            let mut all = Words::default();
            order.into_iter().for_each(|place| all.merge(&tables[place]));
            all
        };
        let all = merged([0, 1, 2]);
        for order in [[2, 1, 0], [1, 2, 0], [0, 2, 1]] {
            assert_eq!(all, merged(order));
        }
        assert_eq!((all.texts(), all.counts()), (5, &[(0, 1), (1, 1), (5, 3), (9, 1), (40_000, 1)][..]));
        let mut bytes = Vec::new();
        all.encode(&mut bytes);
        assert_eq!(Words::decode(&mut Reader(&bytes)).unwrap(), all);
        for cut in 0..bytes.len() {
            assert!(Words::decode(&mut Reader(&bytes[..cut])).is_err(), "{cut}");
        }
        // A place twice, one beyond the last.
        for wrong in [[1, 9, 0, 2, 5, 1, 0, 1].as_slice(), &[1, 9, 0, 1, 0x80, 0x80, 0x04, 1]] {
            assert!(Words::decode(&mut Reader(wrong)).is_err());
        }
    }
}
