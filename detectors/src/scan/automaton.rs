//! All shapes of all kinds in three automata, by what a shape needs: a walk from a place tells every shape that begins
//! there.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, MatchKind};

use super::gate::EARLY;
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
    pub entries: Vec<Entry>,
    /// A bit for each three bytes with which a shape may begin, and for those one and two bytes later.
    beginnings: [Box<[u64; 4096]>; DEPTH],
}

/// The state at which a walk begins; it is another one once the automaton's states were made anew.
#[derive(Clone, Copy)]
pub(super) struct Start {
    state: LazyStateID,
    clears: usize,
}

const DEPTH: usize = 3;

/// A letter, or what it is otherwise: one of 64.
const CLASSES: [u8; 256] = {
    let mut classes = [63; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'a'..=b'z' => byte as u8 - b'a',
            b'A'..=b'Z' => byte as u8 - b'A' + 26,
            b'0'..=b'9' => 52,
            b'-' => 53,
            b'_' => 54,
            b'.' => 55,
            b':' => 56,
            b'/' => 57,
            b' ' => 58,
            b'+' => 59,
            b'=' => 60,
            b'\n' => 61,
            0x80..=0xff => 62,
            _ => 63,
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
}

pub(super) static AUTOMATA: LazyLock<Automata> = LazyLock::new(|| {
    let mut shapes: Vec<(Need, Entry, &'static str)> =
        shapes().into_iter().map(|(entry, pattern)| (need(pattern), entry, pattern)).collect();
    let mut of = |wanted: Need| {
        Automaton::new(shapes.extract_if(.., |(need, ..)| *need == wanted).map(|(_, entry, pattern)| (entry, pattern)))
    };
    Automata { numbers: of(Need::Digit), long: of(Need::Long), words: of(Need::Nothing) }
});

/// What the automata learnt, in each thread.
pub(super) struct Caches {
    pub numbers: Cache,
    pub long: Cache,
    pub words: Cache,
}

thread_local! {
    static CACHES: RefCell<Option<Caches>> = const { RefCell::new(None) };
}

/// Calls `with` with the caches of this thread.
pub(super) fn caches<T>(with: impl FnOnce(&mut Caches) -> T) -> T {
    let Automata { numbers, long, words } = &*AUTOMATA;
    let make = || Caches {
        numbers: numbers.dfa.create_cache(),
        long: long.dfa.create_cache(),
        words: words.dfa.create_cache(),
    };
    CACHES.with_borrow_mut(|caches| {
        let caches = caches.get_or_insert_with(make);
        let cleared = |caches: &Caches| [&caches.numbers, &caches.long, &caches.words].map(Cache::clear_count);
        let before = cleared(caches);
        let told = with(caches);
        let anew: usize = cleared(caches).iter().zip(before).map(|(now, before)| now - before).sum();
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

fn build(patterns: &[&str]) -> DFA {
    let syntax = syntax::Config::new().unicode(false).utf8(false);
    let thompson = thompson::Config::new().utf8(false).shrink(false);
    DFA::builder()
        .configure(DFA::config().match_kind(MatchKind::All).cache_capacity(CACHE).skip_cache_capacity_check(true))
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
        let dfa = build(&[pattern]);
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

/// Which three classes may follow each other from the first, second and third byte of a shape on.
fn beginnings(dfa: &DFA) -> [Box<[u64; 4096]>; DEPTH] {
    let mut cache = dfa.create_cache();
    // One byte for all that the automaton does not tell apart within a class.
    let mut bytes: Vec<u8> = (0..=u8::MAX).collect();
    bytes.sort_by_key(|byte| (class(*byte), dfa.byte_classes().get(*byte)));
    bytes.dedup_by_key(|byte| (class(*byte), dfa.byte_classes().get(*byte)));
    // By state, the classes of the two bytes before it: a row for the first, a bit for the second.
    let mut before: BTreeMap<LazyStateID, [u64; 64]> = BTreeMap::new();
    let first = start(dfa, &mut cache);
    for one in &bytes {
        let state = step(dfa, &mut cache, first, *one);
        for two in bytes.iter().filter(|_| !state.is_dead()) {
            let next = step(dfa, &mut cache, state, *two);
            before.entry(next).or_insert([0; 64])[class(*one)] |= 1 << class(*two);
        }
    }
    let mut tables = [(); DEPTH].map(|()| Box::new([0u64; 4096]));
    for table in &mut tables {
        let mut after: BTreeMap<LazyStateID, [u64; 64]> = BTreeMap::new();
        for (state, rows) in before.iter().filter(|(state, _)| !state.is_dead()) {
            let second = rows.iter().fold(0, |all, row| all | row);
            let mut alive = 0;
            for three in &bytes {
                let next = step(dfa, &mut cache, *state, *three);
                if !next.is_dead() {
                    alive |= 1 << class(*three);
                    let rows = after.entry(next).or_insert([0; 64]);
                    bits(second).for_each(|two| rows[two] |= 1 << class(*three));
                }
            }
            for (one, row) in rows.iter().enumerate() {
                bits(*row).for_each(|two| table[one << 6 | two] |= alive);
            }
        }
        before = after;
    }
    tables
}

/// Places of the bits of a word.
fn bits(word: u64) -> impl Iterator<Item = usize> {
    (0..64).filter(move |place| word >> place & 1 == 1)
}

impl Automaton {
    fn new(shapes: impl Iterator<Item = (Entry, &'static str)>) -> Self {
        let (entries, patterns): (Vec<_>, Vec<_>) = shapes.unzip();
        let dfa = build(&patterns);
        let beginnings = beginnings(&dfa);
        Self { dfa, entries, beginnings }
    }

    /// Whether a shape may begin at a place.
    pub fn may_begin(&self, text: &[u8], at: usize) -> bool {
        let Some([a, b, c, d, e]) = text[at..].first_chunk().map(|bytes: &[u8; DEPTH + 2]| bytes.map(class)) else {
            return true;
        };
        let [first, second, third] = &self.beginnings;
        let may = |table: &[u64; 4096], a: usize, b: usize, c: usize| table[(a << 6 | b) & 4095] >> c;
        // Without branches: most words are none, and nobody can foresee which.
        may(first, a, b, c) & may(second, b, c, d) & may(third, c, d, e) & 1 == 1
    }

    /// Where walks begin, as long as the states are not made anew.
    pub fn start(&self, cache: &mut Cache) -> Start {
        Start { state: start(&self.dfa, cache), clears: cache.clear_count() }
    }

    /// Calls `found` with each shape that begins at a place, and where it ends; shorter ones first.
    pub fn walk<'a>(
        &'a self,
        cache: &mut Cache,
        from: &mut Start,
        (text, at): (&[u8], usize),
        mut found: impl FnMut(&'a Entry, usize),
    ) {
        if from.clears != cache.clear_count() {
            *from = self.start(cache);
        }
        let mut state = from.state;
        let end = text.len().min(at + WALK);
        for (place, byte) in text[at..end].iter().enumerate() {
            state = step(&self.dfa, cache, state, *byte);
            // A match is told one byte late: that byte ends the word or makes it another.
            if state.is_tagged() {
                if state.is_dead() {
                    return;
                }
                if byte.is_ascii_alphanumeric() {
                    continue;
                }
                // `_value_` is emphasis, `value_more` another word.
                let on = *byte == b'_' && text.get(at + place + 1).is_some_and(u8::is_ascii_alphanumeric);
                if state.is_match() && !on {
                    self.tell(cache, state, at + place, &mut found);
                }
            }
        }
        if let Ok(last) = self.dfa.next_eoi_state(cache, state)
            && last.is_match()
        {
            self.tell(cache, last, end, &mut found);
        }
    }

    fn tell<'a>(&'a self, cache: &Cache, state: LazyStateID, end: usize, found: &mut impl FnMut(&'a Entry, usize)) {
        for place in 0..self.dfa.match_len(cache, state) {
            found(&self.entries[self.dfa.match_pattern(cache, state, place).as_usize()], end);
        }
    }
}
