//! All shapes of all kinds in two automata, one of them of those that need no digit: a walk from a place tells every shape that begins
//! there.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, MatchKind};

use super::gate::{BLOCK, EARLY, Sites};
use super::kinds::{Edges, KINDS, Kind};
use super::secret;
use super::walk::{Columns, Start};

/// Memory that an automaton's states may take in each thread, bytes; beyond it the states are made anew. Twenty megabytes of ever new values fill 7.
const CACHE: usize = 16 << 20;

/// One shape in the automaton.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub kind: &'static Kind,
    /// Place of the kind in the list.
    pub place: usize,
    /// What may stand beside its values; here too, since it is asked of every shape that is told.
    pub edges: Edges,
    /// Evidence of the shape, bits.
    pub prior: f32,
    /// Name of the shape, where a kind has many issuers.
    pub name: Option<&'static str>,
}

pub(super) struct Automaton {
    pub dfa: DFA,
    pub entries: Vec<Entry>,
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

/// What every text of a shape has, and so where the shape is looked for: a digit near, any word, a long one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// A digit among its first bytes.
    Digit,
    Nothing,
    /// A long word at its beginning.
    Long,
}

/// What is not known of places two bytes after the first: there is no room for it.
const LATE: u8 = 1 << Need::Long as u8;

/// Shapes by what they need.
pub(super) struct Automata {
    /// Of all shapes, for places with a digit near; and of those that need none.
    pub all: [Automaton; 2],
    pub columns: Columns,
    beginnings: Beginnings,
}

/// Classes of three bytes.
const THREE: usize = CLASS * CLASS * CLASS;

fn three(a: usize, b: usize, c: usize) -> usize {
    ((a * CLASS + b) * CLASS + c) % THREE
}

struct Beginnings {
    /// Of each three classes of bytes whether they may stand where a shape begins, one byte later, and two: a bit for each need, as far
    /// as eight bits have room.
    all: Box<[u8; THREE]>,
    /// A bit for each three that may stand where a shape begins that needs nothing: in a small place what most words ask.
    plain: Box<[u8; THREE / 8]>,
}

impl Automata {
    pub fn of(shapes: Vec<(Entry, &'static str)>, memory: usize) -> Self {
        let needs: Vec<Need> = shapes.iter().map(|(_, pattern)| need(pattern)).collect();
        let mut beginnings = Beginnings { all: Box::new([0; THREE]), plain: Box::new([0; THREE / 8]) };
        for (n, wanted) in [Need::Digit, Need::Nothing, Need::Long].into_iter().enumerate() {
            let those = shapes.iter().zip(&needs).filter(|(_, need)| **need == wanted);
            let patterns: Vec<&str> = those.map(|((_, pattern), _)| *pattern).collect();
            beginnings.add(n, &build(&patterns, CACHE));
        }
        for (place, needs) in beginnings.all.iter().enumerate() {
            beginnings.plain[place / 8] |= (needs >> Need::Nothing as u8 & 1) << (place % 8);
        }
        let digitless = shapes.iter().zip(&needs).filter(|(_, need)| **need != Need::Digit).map(|(shape, _)| *shape);
        let digitless = Automaton::new(digitless.collect(), memory);
        let all = [Automaton::new(shapes, memory), digitless];
        Self { columns: Columns::of(&all), all, beginnings }
    }

    /// Adds where in a text a shape may begin, of the places of a block, with the automaton of those that may.
    pub fn may_begin(&self, text: &[u8], sites: &Sites, starts: &mut Vec<Start>) {
        let Beginnings { all, plain } = &self.beginnings;
        let (mut left, mut words) = (sites.numbers | sites.long, sites.words & !sites.numbers);
        while words != 0 {
            let place = words.trailing_zeros() as usize;
            words &= words - 1;
            let may = text[sites.start + place..].first_chunk().map_or(1, |bytes: &[u8; DEPTH]| {
                let three = three(class(bytes[0]), class(bytes[1]), class(bytes[2]));
                plain[three / 8] >> (three % 8) & 1
            });
            left |= u64::from(may) << place;
        }
        let (mut may, mut n) = ([0; BLOCK], 0);
        while left != 0 {
            let place = left.trailing_zeros() as usize;
            left &= left - 1;
            // Without branches: most words are none, and nobody can foresee which.
            let those = text[sites.start + place..].first_chunk().map_or(u8::MAX, |bytes: &[u8; DEPTH + 2]| {
                let [a, b, c, d, e] = [bytes[0], bytes[1], bytes[2], bytes[3], bytes[4]].map(class);
                all[three(a, b, c)] & (all[three(b, c, d)] >> 3) & (all[three(c, d, e)] >> 6 | LATE)
            });
            let here = (sites.numbers >> place & 1) | (sites.words >> place & 1) << 1 | (sites.long >> place & 1) << 2;
            may[n % BLOCK] = place as u8;
            n += usize::from(u64::from(those) & here != 0);
        }
        starts.extend(may[..n].iter().map(|place| {
            let at = usize::from(*place);
            Start { automaton: usize::from(sites.numbers >> at & 1 == 0), at: sites.start + at }
        }));
    }
}

pub(super) static AUTOMATA: LazyLock<Automata> = LazyLock::new(|| Automata::of(shapes(), CACHE));

/// Every pattern, for a comparison.
pub fn patterns() -> Vec<&'static str> {
    shapes().into_iter().map(|(_, pattern)| pattern).collect()
}

pub(super) fn build(patterns: &[&str], memory: usize) -> DFA {
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
            all.push((Entry { kind, place, edges: kind.edges, prior: shape.1, name: None }, shape.0));
        }
        if kind.entity == leeway_core::scan::Entity::Secret {
            for (name, pattern) in secret::SHAPES {
                let edges = kind.edges;
                all.push((Entry { kind, place, edges, prior: secret::PRIOR, name: Some(name) }, *pattern));
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

pub(super) fn start(dfa: &DFA, cache: &mut Cache) -> LazyStateID {
    let input = Input::new(b"").anchored(Anchored::Yes);
    dfa.start_state_forward(cache, &input)
        .unwrap_or_else(|error| unreachable!("no look-around, no quit bytes: {error}"))
}

pub(super) fn step(dfa: &DFA, cache: &mut Cache, state: LazyStateID, byte: u8) -> LazyStateID {
    dfa.next_state(cache, state, byte)
        .unwrap_or_else(|error| unreachable!("the cache is cleared without limit: {error}"))
}

pub(super) fn end(dfa: &DFA, cache: &mut Cache, state: LazyStateID) -> LazyStateID {
    dfa.next_eoi_state(cache, state).unwrap_or_else(|error| unreachable!("the cache is cleared without limit: {error}"))
}

impl Beginnings {
    /// Adds which three classes may follow each other from the first, second and third byte of the shapes with a need on.
    fn add(&mut self, need: usize, dfa: &DFA) {
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
                    // A match is told one byte late; after a short shape's anything may stand.
                    let next = step(dfa, &mut cache, *state, *three);
                    let next = if next.is_dead() && state.is_match() { *state } else { next };
                    if !next.is_dead() {
                        alive |= 1 << class(*three);
                        let rows = after.entry(next).or_insert([0; CLASS]);
                        bits(second).for_each(|two| rows[two] |= 1 << class(*three));
                    }
                }
                for (one, row) in rows.iter().enumerate() {
                    for (two, three) in bits(*row).flat_map(|two| bits(alive).map(move |three| (two, three))) {
                        self.all[self::three(one, two, three)] |=
                            1u8.checked_shl((3 * depth + need) as u32).unwrap_or(0);
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
    fn new(shapes: Vec<(Entry, &'static str)>, memory: usize) -> Self {
        let (entries, patterns): (Vec<_>, Vec<_>) = shapes.into_iter().unzip();
        Self { dfa: build(&patterns, memory), entries }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Hostile text makes states as fast as it is read, if a shape has room for them.
    #[test]
    fn no_shape_has_more_states_than_the_memory_takes() {
        const MOST: usize = 5_000;
        for (_, pattern) in shapes() {
            let dfa = build(&[pattern], usize::MAX >> 8);
            let mut cache = dfa.create_cache();
            let mut bytes: Vec<u8> = (0..=u8::MAX).collect();
            bytes.dedup_by_key(|byte| dfa.byte_classes().get(*byte));
            let mut known: HashSet<LazyStateID> = HashSet::new();
            let mut left = vec![start(&dfa, &mut cache)];
            while let Some(state) = left.pop() {
                for byte in &bytes {
                    let next = step(&dfa, &mut cache, state, *byte);
                    if !next.is_dead() && known.insert(next) {
                        left.push(next);
                    }
                }
                assert!(known.len() < MOST, "{pattern}");
            }
        }
    }
}
