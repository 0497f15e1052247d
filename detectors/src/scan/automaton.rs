//! All shapes of all kinds in three automata, by what a shape needs: a walk from a place tells every shape that begins
//! there.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::LazyLock;

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
    /// A bit for each pair of bytes with which a shape may begin, and for those one and two bytes later.
    pairs: [Box<[u64; 1024]>; DEPTH],
}

const DEPTH: usize = 3;

/// Word and bit of a pair of bytes.
fn pair(one: u8, two: u8) -> (usize, u64) {
    (usize::from(one) << 2 | usize::from(two >> 6), 1 << (two & 63))
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
    CACHES.with_borrow_mut(|caches| with(caches.get_or_insert_with(make)))
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

impl Automaton {
    fn new(shapes: impl Iterator<Item = (Entry, &'static str)>) -> Self {
        let (entries, patterns): (Vec<_>, Vec<_>) = shapes.unzip();
        let dfa = build(&patterns);
        let mut cache = dfa.create_cache();
        let mut pairs = [(); DEPTH].map(|()| Box::new([0u64; 1024]));
        let mut before: BTreeSet<(LazyStateID, u8)> = BTreeSet::new();
        let first = start(&dfa, &mut cache);
        before.extend((0..=u8::MAX).map(|byte| (step(&dfa, &mut cache, first, byte), byte)));
        for pairs in &mut pairs {
            let mut after = BTreeSet::new();
            for (state, one) in before.into_iter().filter(|(state, _)| !state.is_dead()) {
                for two in 0..=u8::MAX {
                    let next = step(&dfa, &mut cache, state, two);
                    if !next.is_dead() {
                        let (place, bit) = pair(one, two);
                        pairs[place] |= bit;
                        after.insert((next, two));
                    }
                }
            }
            before = after;
        }
        Self { dfa, entries, pairs }
    }

    /// Whether a shape may begin at a place.
    pub fn may_begin(&self, text: &[u8], at: usize) -> bool {
        let Some(bytes) = text.get(at..=at + DEPTH) else { return true };
        bytes.windows(2).zip(&self.pairs).all(|(two, pairs)| {
            let (place, bit) = pair(two[0], two[1]);
            pairs[place] & bit != 0
        })
    }

    /// Calls `found` with each shape that begins at a place, and where it ends; shorter ones first.
    pub fn walk<'a>(&'a self, cache: &mut Cache, text: &[u8], at: usize, mut found: impl FnMut(&'a Entry, usize)) {
        let mut state = start(&self.dfa, cache);
        let end = text.len().min(at + WALK);
        for (place, byte) in text[at..end].iter().enumerate() {
            state = step(&self.dfa, cache, state, *byte);
            // A match is told one byte late: that byte ends the word or makes it another.
            if state.is_tagged() {
                if state.is_dead() {
                    return;
                }
                // `_value_` is emphasis, `value_more` another word.
                let on = *byte == b'_' && text.get(at + place + 1).is_some_and(u8::is_ascii_alphanumeric);
                if state.is_match() && !byte.is_ascii_alphanumeric() && !on {
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
