//! All shapes of all kinds in three automata, by what a shape needs: a walk from a place tells every shape that begins
//! there.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use foldhash::fast::RandomState;
use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, MatchKind};

use super::gate::{EARLY, Sites};
use super::kinds::{KINDS, Kind};
use super::secret;

/// Memory that the automaton's states may take in each thread, bytes; beyond it the states are made anew.
const CACHE: usize = 8 << 20;

/// Most bytes of one walk: what is longer is told by its beginning.
pub(super) const WALK: usize = 1_024;

/// One shape in the automaton.
pub(super) struct Entry {
    pub kind: &'static Kind,
    /// Place of the kind in the list.
    pub place: usize,
    /// Evidence of the shape, bits.
    pub prior: f32,
    /// Name of the shape, where a kind has many issuers.
    pub name: Option<&'static str>,
}

pub(super) struct Automaton {
    dfa: DFA,
    /// Of each byte the column of the tables.
    columns: [u8; 256],
    pub entries: Vec<Entry>,
}

/// What a thread has learnt of an automaton: its states, and of those that were met a table small enough for the processor's cache.
pub(super) struct Learnt {
    cache: Cache,
    /// By state and column: the next state, [`DEAD`], [`UNKNOWN`], and [`TELLS`] set where a shape ended before this byte.
    next: Vec<u16>,
    states: Vec<LazyStateID>,
    ids: HashMap<LazyStateID, u16, RandomState>,
    /// Of each state the shapes that it tells.
    told: Vec<Range<usize>>,
    entries: Vec<u16>,
    /// Where walks begin; [`DEAD`] while nobody asked.
    start: u16,
    /// How often the table was begun anew.
    anew: usize,
    /// Most states in it.
    room: usize,
}

const DEAD: u16 = 0;
const UNKNOWN: u16 = u16::MAX;
const TELLS: u16 = 1 << 15;
/// Columns of a table; the last is the end of the text.
const WIDTH: usize = 128;
const END: usize = WIDTH - 1;
/// States in a table, 2 MB of transitions at most: beyond it the table is begun anew.
const STATES: usize = 1 << 13;
/// Bytes that values are made of stand in neighbouring columns.
const FIRST: &[u8] = b"0123456789 -./:,\n()+@_etaoinsrhldcumfpgwybvkxjqzABCDEFGHIJKLMNOPQRSTUVWXYZ";

impl Learnt {
    fn new(dfa: &DFA) -> Self {
        Self {
            cache: dfa.create_cache(),
            next: Vec::new(),
            states: Vec::new(),
            ids: HashMap::default(),
            told: Vec::new(),
            entries: Vec::new(),
            start: DEAD,
            anew: 0,
            room: STATES,
        }
    }

    /// The number of a state that the automaton has now; `clears` is how often its states were made anew before.
    fn number(&mut self, automaton: &Automaton, state: LazyStateID, clears: usize) -> u16 {
        if state.is_dead() {
            return DEAD;
        }
        let cleared = self.cache.clear_count() != clears;
        if let Some(known) = self.ids.get(&state).filter(|_| !cleared) {
            return *known;
        }
        if cleared || self.states.len() >= self.room {
            for kept in [&mut self.next, &mut self.entries] {
                kept.clear();
            }
            self.states.clear();
            self.ids.clear();
            self.told.clear();
            self.start = DEAD;
            self.anew += 1;
        }
        if self.states.is_empty() {
            self.add(automaton, state, 0);
        }
        let told = if state.is_match() { automaton.dfa.match_len(&self.cache, state) } else { 0 };
        self.add(automaton, state, told)
    }

    fn add(&mut self, automaton: &Automaton, state: LazyStateID, told: usize) -> u16 {
        // The first place is the dead state's, whatever stands there.
        let id = self.states.len() as u16;
        let first = self.entries.len();
        for place in 0..told {
            self.entries.push(automaton.dfa.match_pattern(&self.cache, state, place).as_usize() as u16);
        }
        self.told.push(first..self.entries.len());
        self.states.push(state);
        self.next.resize(self.next.len() + WIDTH, UNKNOWN);
        let id = if told > 0 { id | TELLS } else { id };
        if id != DEAD {
            self.ids.insert(state, id);
        }
        id
    }

    /// Where walks begin.
    fn start(&mut self, automaton: &Automaton) -> u16 {
        if self.start == DEAD {
            let clears = self.cache.clear_count();
            let state = start(&automaton.dfa, &mut self.cache);
            self.start = self.number(automaton, state, clears);
        }
        self.start
    }

    /// The state after one, by the automaton: `None` is the end of the text.
    fn learn(&mut self, automaton: &Automaton, state: u16, byte: Option<u8>) -> u16 {
        let (row, clears, anew) = (usize::from(state & !TELLS), self.cache.clear_count(), self.anew);
        let next = match byte {
            Some(byte) => step(&automaton.dfa, &mut self.cache, self.states[row], byte),
            None => end(&automaton.dfa, &mut self.cache, self.states[row]),
        };
        let id = self.number(automaton, next, clears);
        // Begun anew it knows no state but the next.
        if self.anew == anew {
            let column = byte.map_or(END, |byte| usize::from(automaton.columns[usize::from(byte)]));
            self.next[row * WIDTH + column] = id;
        }
        id
    }
}

const DEPTH: usize = 3;

/// Classes of bytes: one of two letters, small or capital, or what it is otherwise.
const CLASS: usize = 32;
const CLASSES: [u8; 256] = {
    let mut classes = [31; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'a'..=b'z' => (byte as u8 - b'a') / 2,
            b'A'..=b'Z' => 13 + (byte as u8 - b'A') / 2,
            b'0'..=b'9' => 26,
            b'-' | b'_' => 27,
            b'.' | b':' | b'/' => 28,
            b' ' | b'\n' => 29,
            b'+' | b'=' | b'(' => 30,
            _ => 31,
        };
        byte += 1;
    }
    classes
};

fn class(byte: u8) -> usize {
    usize::from(CLASSES[usize::from(byte)])
}

/// What every text of a shape has, and so where the shape is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// A digit among its first bytes.
    Digit,
    /// A long word at its beginning.
    Long,
    Nothing,
}

/// Shapes by what they need.
pub(super) struct Automata {
    pub numbers: Automaton,
    pub long: Automaton,
    pub words: Automaton,
    beginnings: Beginnings,
}

/// Of each three classes of bytes whether they may stand where a shape begins, one byte later, and two: a bit for each automaton.
struct Beginnings(Box<[u16; CLASS * CLASS * CLASS]>);

impl Automata {
    /// Where in a text a shape of each automaton may begin, of the places of a block.
    pub fn may_begin(&self, text: &[u8], sites: &Sites) -> [u64; 3] {
        let Beginnings(table) = &self.beginnings;
        let (mut may, mut left) = ([0; 3], sites.numbers | sites.words);
        while left != 0 {
            let place = left.trailing_zeros() as usize;
            left &= left - 1;
            // Without branches: most words are none, and nobody can foresee which.
            let those = text[sites.start + place..].first_chunk().map_or(7, |bytes: &[u8; DEPTH + 2]| {
                let [a, b, c, d, e] = bytes.map(class);
                let at = |a: usize, b: usize, c: usize| table[((a * CLASS + b) * CLASS + c) % table.len()];
                at(a, b, c) & at(b, c, d) >> 3 & at(c, d, e) >> 6
            });
            for (n, may) in may.iter_mut().enumerate() {
                *may |= u64::from(those >> n & 1) << place;
            }
        }
        [may[0] & sites.numbers, may[1] & sites.long, may[2] & sites.words]
    }
}

pub(super) static AUTOMATA: LazyLock<Automata> = LazyLock::new(|| {
    let mut shapes: Vec<(Need, Entry, &'static str)> =
        shapes().into_iter().map(|(entry, pattern)| (need(pattern), entry, pattern)).collect();
    let mut of = |wanted: Need| {
        Automaton::new(shapes.extract_if(.., |(need, ..)| *need == wanted).map(|(_, entry, pattern)| (entry, pattern)))
    };
    let [numbers, long, words] = [Need::Digit, Need::Long, Need::Nothing].map(&mut of);
    let mut beginnings = Beginnings(Box::new([0; CLASS * CLASS * CLASS]));
    for (n, automaton) in [&numbers, &long, &words].into_iter().enumerate() {
        beginnings.add(n, &automaton.dfa);
    }
    Automata { numbers, long, words, beginnings }
});

/// What the automata learnt, in each thread.
pub(super) struct Caches {
    pub numbers: Learnt,
    pub long: Learnt,
    pub words: Learnt,
}

thread_local! {
    static CACHES: RefCell<Option<Caches>> = const { RefCell::new(None) };
}

/// Calls `with` with the caches of this thread.
pub(super) fn caches<T>(with: impl FnOnce(&mut Caches) -> T) -> T {
    let Automata { numbers, long, words, .. } = &*AUTOMATA;
    let make =
        || Caches { numbers: Learnt::new(&numbers.dfa), long: Learnt::new(&long.dfa), words: Learnt::new(&words.dfa) };
    CACHES.with_borrow_mut(|caches| {
        let caches = caches.get_or_insert_with(make);
        let begun = |caches: &Caches| caches.numbers.anew + caches.long.anew + caches.words.anew;
        let before = begun(caches);
        let told = with(caches);
        let anew = begun(caches) - before;
        if anew > 0 {
            CLEARED.fetch_add(anew as u64, Relaxed);
        }
        told
    })
}

static CLEARED: AtomicU64 = AtomicU64::new(0);

/// How often text was so strange that an automaton's states did not fit, and were made anew: slow, and no less right.
pub fn cleared() -> u64 {
    CLEARED.load(Relaxed)
}

/// Every pattern, for a comparison.
pub fn patterns() -> Vec<&'static str> {
    shapes().into_iter().map(|(_, pattern)| pattern).collect()
}

fn build(patterns: &[&str], memory: usize) -> DFA {
    let syntax = syntax::Config::new().unicode(false).utf8(false);
    let thompson = thompson::Config::new().utf8(false).shrink(false);
    DFA::builder()
        .configure(DFA::config().match_kind(MatchKind::All).cache_capacity(memory).skip_cache_capacity_check(true))
        .syntax(syntax)
        .thompson(thompson)
        .build_many(patterns)
        .unwrap_or_else(|error| unreachable!("{patterns:?} are constants that a test compiles: {error}"))
}

/// Every entry that exists, with its pattern.
pub(super) fn shapes() -> Vec<(Entry, &'static str)> {
    let mut all = Vec::new();
    for (place, kind) in KINDS.iter().enumerate() {
        for shape in kind.shapes {
            all.push((Entry { kind, place, prior: shape.1, name: None }, shape.0));
        }
        if kind.entity == leeway_core::scan::Entity::Secret {
            for (name, pattern) in secret::SHAPES {
                all.push((Entry { kind, place, prior: secret::PRIOR, name: Some(name) }, *pattern));
            }
        }
    }
    all
}

/// What a pattern needs: no walk over bytes other than those stays alive.
fn need(pattern: &str) -> Need {
    let dies = |without: fn(u8) -> bool, at_any_step: bool| {
        let dfa = build(&[pattern], CACHE);
        let mut cache = dfa.create_cache();
        let mut states = vec![start(&dfa, &mut cache)];
        for _ in 0..EARLY {
            let mut after: Vec<LazyStateID> = Vec::new();
            for (state, byte) in states.iter().flat_map(|state| (0..=u8::MAX).map(move |byte| (*state, byte))) {
                let next = step(&dfa, &mut cache, state, byte);
                if without(byte) {
                    if next.is_match() || at_any_step && !next.is_dead() {
                        return false;
                    }
                    if at_any_step {
                        continue;
                    }
                } else if !at_any_step {
                    continue;
                }
                if !next.is_dead() && !after.contains(&next) {
                    after.push(next);
                }
            }
            states = after;
        }
        at_any_step || states.is_empty()
    };
    let word = |byte: u8| !(byte.is_ascii_alphanumeric() || byte == b'_');
    if dies(|byte| !byte.is_ascii_digit(), false) {
        Need::Digit
    } else if dies(word, true) {
        Need::Long
    } else {
        Need::Nothing
    }
}

fn start(dfa: &DFA, cache: &mut Cache) -> LazyStateID {
    let input = Input::new(b"").anchored(Anchored::Yes);
    dfa.start_state_forward(cache, &input)
        .unwrap_or_else(|error| unreachable!("no look-around, no quit bytes: {error}"))
}

fn step(dfa: &DFA, cache: &mut Cache, state: LazyStateID, byte: u8) -> LazyStateID {
    dfa.next_state(cache, state, byte)
        .unwrap_or_else(|error| unreachable!("the cache is cleared without limit: {error}"))
}

fn end(dfa: &DFA, cache: &mut Cache, state: LazyStateID) -> LazyStateID {
    dfa.next_eoi_state(cache, state).unwrap_or_else(|error| unreachable!("the cache is cleared without limit: {error}"))
}

/// The column of each byte: bytes that the automaton does not tell apart share one.
fn columns(dfa: &DFA) -> [u8; 256] {
    let mut columns = [0; 256];
    let mut of: HashMap<u8, u8, RandomState> = HashMap::default();
    for byte in FIRST.iter().copied().chain(0..=u8::MAX) {
        let column = of.len() as u8;
        columns[usize::from(byte)] = *of.entry(dfa.byte_classes().get(byte)).or_insert(column);
    }
    assert!(of.len() < WIDTH, "{} kinds of bytes need wider tables", of.len());
    columns
}

impl Beginnings {
    /// Adds which three classes may follow each other from the first, second and third byte of an automaton's shapes on.
    fn add(&mut self, automaton: usize, dfa: &DFA) {
        let mut cache = dfa.create_cache();
        // One byte for all that the automaton does not tell apart within a class.
        let mut bytes: Vec<u8> = (0..=u8::MAX).collect();
        bytes.sort_by_key(|byte| (class(*byte), dfa.byte_classes().get(*byte)));
        bytes.dedup_by_key(|byte| (class(*byte), dfa.byte_classes().get(*byte)));
        // By state, the classes of the two bytes before it: a row for the first, a bit for the second.
        let mut before: BTreeMap<LazyStateID, [u32; CLASS]> = BTreeMap::new();
        let first = start(dfa, &mut cache);
        for one in &bytes {
            let state = step(dfa, &mut cache, first, *one);
            for two in bytes.iter().filter(|_| !state.is_dead()) {
                let next = step(dfa, &mut cache, state, *two);
                before.entry(next).or_insert([0; CLASS])[class(*one)] |= 1 << class(*two);
            }
        }
        for depth in 0..DEPTH {
            let mut after: BTreeMap<LazyStateID, [u32; CLASS]> = BTreeMap::new();
            for (state, rows) in before.iter().filter(|(state, _)| !state.is_dead()) {
                let second = rows.iter().fold(0, |all, row| all | row);
                let mut alive = 0;
                for three in &bytes {
                    let next = step(dfa, &mut cache, *state, *three);
                    if !next.is_dead() {
                        alive |= 1 << class(*three);
                        let rows = after.entry(next).or_insert([0; CLASS]);
                        bits(second).for_each(|two| rows[two] |= 1 << class(*three));
                    }
                }
                for (one, row) in rows.iter().enumerate() {
                    for (two, three) in bits(*row).flat_map(|two| bits(alive).map(move |three| (two, three))) {
                        self.0[(one * CLASS + two) * CLASS + three] |= 1 << (3 * depth + automaton);
                    }
                }
            }
            before = after;
        }
    }
}

/// Places of the bits of a word.
fn bits(word: u32) -> impl Iterator<Item = usize> {
    (0..CLASS).filter(move |place| word >> place & 1 == 1)
}

impl Automaton {
    fn new(shapes: impl Iterator<Item = (Entry, &'static str)>) -> Self {
        let (entries, patterns): (Vec<_>, Vec<_>) = shapes.unzip();
        let dfa = build(&patterns, CACHE);
        let columns = columns(&dfa);
        Self { dfa, columns, entries }
    }

    /// Calls `found` with each shape that begins at a place, and where it ends; shorter ones first.
    pub fn walk<'a>(
        &'a self,
        learnt: &mut Learnt,
        (text, at): (&[u8], usize),
        mut found: impl FnMut(&'a Entry, usize),
    ) {
        let mut state = learnt.start(self);
        let end = text.len().min(at + WALK);
        for (place, byte) in text[at..end].iter().enumerate() {
            let column = usize::from(self.columns[usize::from(*byte)]);
            let mut next = learnt.next[usize::from(state & !TELLS) * WIDTH + column];
            if (1..TELLS).contains(&next) {
                state = next;
                continue;
            }
            if next == UNKNOWN {
                next = learnt.learn(self, state, Some(*byte));
            }
            if next == DEAD {
                return;
            }
            state = next;
            // A match is told one byte late: that byte ends the word or makes it another; `_value_` is emphasis, `value_more` another word.
            let on = *byte == b'_' && text.get(at + place + 1).is_some_and(u8::is_ascii_alphanumeric);
            if state > TELLS && !byte.is_ascii_alphanumeric() && !on {
                self.tell(learnt, state, at + place, &mut found);
            }
        }
        let mut last = learnt.next[usize::from(state & !TELLS) * WIDTH + END];
        if last == UNKNOWN {
            last = learnt.learn(self, state, None);
        }
        if last > TELLS {
            self.tell(learnt, last, end, &mut found);
        }
    }

    fn tell<'a>(&'a self, learnt: &Learnt, state: u16, end: usize, found: &mut impl FnMut(&'a Entry, usize)) {
        for entry in &learnt.entries[learnt.told[usize::from(state & !TELLS)].clone()] {
            found(&self.entries[usize::from(*entry)], end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A walk by the automaton itself: what it tells, byte by byte.
    fn plain(automaton: &Automaton, text: &[u8]) -> Vec<(usize, usize)> {
        let mut cache = automaton.dfa.create_cache();
        let mut state = start(&automaton.dfa, &mut cache);
        let mut found = Vec::new();
        let mut told = |cache: &Cache, state, end| {
            let count = automaton.dfa.match_len(cache, state);
            found.extend((0..count).map(|n| (automaton.dfa.match_pattern(cache, state, n).as_usize(), end)));
        };
        for (place, byte) in text.iter().enumerate() {
            state = step(&automaton.dfa, &mut cache, state, *byte);
            let on = *byte == b'_' && text.get(place + 1).is_some_and(u8::is_ascii_alphanumeric);
            if state.is_match() && !byte.is_ascii_alphanumeric() && !on {
                told(&cache, state, place);
            }
        }
        let last = end(&automaton.dfa, &mut cache, state);
        if last.is_match() {
            told(&cache, last, text.len());
        }
        found
    }

    #[test]
    fn what_was_learnt_is_forgotten_with_the_automatons_states() {
        let (entries, patterns): (Vec<_>, Vec<_>) = shapes().into_iter().take(60).unzip();
        // Room for a few states alone.
        let dfa = build(&patterns, 0);
        let columns = columns(&dfa);
        let automaton = Automaton { dfa, columns, entries };
        let mut learnt = Learnt::new(&automaton.dfa);
        let mut told = 0;
        let texts = [
            "4111 1111 1111 1111 ",
            "+44 20 7183 8750",
            "DE89370400440532013000,",
            "943 476 5870",
            "378-22-4631 ",
            "GB82 WEST 1234 5698 7654 32",
            "12/03/1984",
            "490154203237518",
            "(415) 555-2671 ",
        ];
        for text in texts.repeat(3) {
            let mut found = Vec::new();
            automaton.walk(&mut learnt, (text.as_bytes(), 0), |entry, end| {
                found.push((automaton.entries.iter().position(|known| std::ptr::eq(known, entry)).unwrap(), end));
            });
            assert_eq!(found, plain(&automaton, text.as_bytes()), "{text}");
            told += found.len();
        }
        assert!(told > 0 && learnt.cache.clear_count() > 3, "{told} {}", learnt.cache.clear_count());
    }

    proptest! {
        #[test]
        fn what_was_learnt_says_what_the_automaton_says(
            texts in proptest::collection::vec(
                "[0-9]{3,6}[ .-]?[0-9]{2,9}[_ -]?[0-9A-Z]{0,6}|[A-Z]{2,6}[0-9]{2}[ A-Z0-9]{4,30}|(sk|gh[op]|eyJ)[-_][a-zA-Z0-9]{4,40}|.{0,40}", 1..8),
            room in prop_oneof![Just(2), Just(9), Just(60), Just(STATES)],
        ) {
            let Automata { numbers, long, words, .. } = &*AUTOMATA;
            for automaton in [numbers, long, words] {
                let mut learnt = Learnt { room, ..Learnt::new(&automaton.dfa) };
                for text in texts.iter().map(|text| text.as_bytes()) {
                    let mut found = Vec::new();
                    automaton.walk(&mut learnt, (text, 0), |entry, end| {
                        found.push((automaton.entries.iter().position(|known| std::ptr::eq(known, entry)).unwrap(), end));
                    });
                    prop_assert_eq!(&found, &plain(automaton, text), "{:?}", String::from_utf8_lossy(text));
                    prop_assert!(learnt.states.len() <= room.max(3), "{} states", learnt.states.len());
                }
            }
        }
    }
}
