//! Walks through the automata: what a thread has learnt of their states stands in one table, close together, since a walk
//! waits for the memory at every byte.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use foldhash::fast::RandomState;
use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::Cache;

use super::automaton::{AUTOMATA, Automata, Automaton, Entry, end, start, step};
use super::evidence::Around;

/// Most bytes of one walk: what is longer is told by its beginning.
pub(super) const WALK: usize = 1_024;

/// Where a walk begins, and through which automaton it goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    pub automaton: usize,
    pub at: usize,
}

/// A shape that a walk met.
pub(super) struct Told<'a> {
    /// Place of the walk among those that were asked for.
    pub walk: usize,
    pub entry: &'a Entry,
    /// Where in the text it ends.
    pub end: usize,
}

/// A state of the table, [`UNKNOWN`] or [`DEAD`]; [`TELLS`] is set where a shape may have ended before the byte that leads there.
type State = u16;
const UNKNOWN: State = 0;
const DEAD: State = 1;
const TELLS: State = 1 << 15;
/// States in the table, 5 MB of transitions at most: beyond it the table is begun anew.
const STATES: usize = 1 << 14;
const _: () = assert!(STATES <= TELLS as usize);

/// Columns of the table: kinds of bytes that the automata tell apart; the last is the end of the text.
const WIDTH: usize = 160;
const END: usize = WIDTH - 1;
/// Columns of a state that stand together: two states, which mostly follow one another, in a line of the processor's cache.
const LINE: usize = 16;
const CACHE_LINE: usize = 64;
/// Bytes that values are made of stand in neighbouring columns.
const FIRST: &[u8] = b"0123456789 -./:,\n()+@_etaoinsrhldcumfpgwybvkxjqzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// Of each byte where its column stands in the table.
pub(super) struct Columns([u32; 256]);

impl Columns {
    /// Bytes share a column that no automaton tells apart, and that are letters and digits or are not.
    pub fn of(automata: &[Automaton]) -> Self {
        let mut columns = [0; 256];
        let mut of: HashMap<Vec<u8>, usize, RandomState> = HashMap::default();
        for byte in FIRST.iter().copied().chain(0..=u8::MAX) {
            let column = of.len();
            let classes = automata.iter().map(|automaton| automaton.dfa.byte_classes().get(byte));
            let classes = classes.chain([u8::from(byte.is_ascii_alphanumeric())]).collect();
            columns[usize::from(byte)] = offset(*of.entry(classes).or_insert(column)) as u32;
        }
        assert!(of.len() < WIDTH, "{} kinds of bytes need a wider table", of.len());
        Self(columns)
    }

    /// Of a byte, or of the end of the text.
    fn at(&self, byte: Option<u8>) -> usize {
        byte.map_or(offset(END), |byte| self.0[usize::from(byte)] as usize)
    }
}

/// What a thread has learnt of the automata.
pub(super) struct Learnt {
    caches: Vec<Cache>,
    /// The next state by column and state: some neighbouring columns of all states, then the next.
    next: Vec<State>,
    /// Where in it a line of the processor's cache begins.
    first: usize,
    /// Of each state its automaton and its name there.
    states: Vec<(usize, LazyStateID)>,
    ids: HashMap<(usize, LazyStateID), State, RandomState>,
    /// Of each state the shapes that it tells.
    told: Vec<Range<usize>>,
    entries: Vec<u16>,
    /// Where the walks of each automaton begin; [`UNKNOWN`] while nobody asked.
    starts: Vec<State>,
    /// How often the table was begun anew.
    anew: usize,
    /// Most states in it.
    room: usize,
}

fn row(state: State) -> usize {
    usize::from(state) * LINE
}

/// Where a column stands in the table.
const fn offset(column: usize) -> usize {
    column / LINE * STATES * LINE + column % LINE
}

impl Learnt {
    fn new(automata: &Automata) -> Self {
        // Zeros: the system gives memory where it is written to.
        let next = vec![UNKNOWN; WIDTH * STATES + CACHE_LINE / size_of::<State>()];
        let first = next.as_ptr().align_offset(CACHE_LINE).min(CACHE_LINE / size_of::<State>());
        let mut learnt = Self {
            caches: automata.all.iter().map(|automaton| automaton.dfa.create_cache()).collect(),
            next,
            first,
            states: Vec::new(),
            ids: HashMap::default(),
            told: Vec::new(),
            entries: Vec::new(),
            starts: vec![UNKNOWN; automata.all.len()],
            anew: 0,
            room: STATES,
        };
        learnt.clear();
        learnt
    }

    /// Forgets every state.
    fn clear(&mut self) {
        for plane in 0..WIDTH / LINE {
            let from = self.first + plane * STATES * LINE;
            self.next[from..from + self.states.len() * LINE].fill(UNKNOWN);
        }
        self.states.clear();
        self.ids.clear();
        self.told.clear();
        self.entries.clear();
        self.starts.fill(UNKNOWN);
        // The places of the two that are none.
        self.states.resize(usize::from(DEAD) + 1, Default::default());
        self.told.resize(usize::from(DEAD) + 1, 0..0);
    }

    /// The number of a state that an automaton has now; `clears` is how often its states were made anew before.
    fn number(&mut self, (n, automaton): (usize, &Automaton), state: LazyStateID, clears: usize) -> State {
        if state.is_dead() {
            return DEAD;
        }
        let cleared = self.caches[n].clear_count() != clears;
        if let Some(known) = self.ids.get(&(n, state)).filter(|_| !cleared) {
            return *known;
        }
        if cleared || self.states.len() >= self.room {
            self.clear();
            self.anew += 1;
        }
        let cache = &self.caches[n];
        let told = if state.is_match() { automaton.dfa.match_len(cache, state) } else { 0 };
        let first = self.entries.len();
        self.entries.extend((0..told).map(|place| automaton.dfa.match_pattern(cache, state, place).as_usize() as u16));
        self.told.push(first..self.entries.len());
        let id = self.states.len() as State | if told > 0 { TELLS } else { 0 };
        self.states.push((n, state));
        self.ids.insert((n, state), id);
        id
    }

    /// Where walks through an automaton begin.
    fn start(&mut self, automata: &Automata, n: usize) -> State {
        if self.starts[n] == UNKNOWN {
            let automaton = &automata.all[n];
            let clears = self.caches[n].clear_count();
            let state = start(&automaton.dfa, &mut self.caches[n]);
            self.starts[n] = self.number((n, automaton), state, clears) & !TELLS;
        }
        self.starts[n]
    }

    /// The state after one, by its automaton: `None` is the end of the text.
    fn learn(&mut self, automata: &Automata, state: State, byte: Option<u8>) -> State {
        let (n, known) = self.states[usize::from(state)];
        let automaton = &automata.all[n];
        let (clears, anew) = (self.caches[n].clear_count(), self.anew);
        let next = match byte {
            Some(byte) => step(&automaton.dfa, &mut self.caches[n], known, byte),
            None => end(&automaton.dfa, &mut self.caches[n], known),
        };
        let mut id = self.number((n, automaton), next, clears);
        // A letter or a digit makes a word another one, and ends none.
        if byte.is_some_and(|byte| byte.is_ascii_alphanumeric()) {
            id &= !TELLS;
        }
        // Begun anew it knows no state but the next.
        if self.anew == anew {
            self.next[self.first + automata.columns.at(byte) + row(state)] = id;
        }
        id
    }

    /// Tells each shape that begins at one of some places, by place, shorter ones first.
    pub fn walks<'a>(&mut self, automata: &'a Automata, text: &[u8], starts: &[Start], told: &mut Vec<Told<'a>>) {
        for (walk, Start { automaton, at }) in starts.iter().enumerate() {
            let end = text.len().min(at + WALK);
            let (mut state, mut place) = (self.start(automata, *automaton), *at);
            if state == DEAD {
                continue;
            }
            loop {
                let next = self.on(automata, &text[..end], &mut state, &mut place);
                if next == DEAD {
                    break;
                }
                let byte = text[..end].get(place).copied();
                let next = if next == UNKNOWN { self.learn(automata, state, byte) } else { next };
                // A match is told one byte late: that byte ends the word; but `_value_` is emphasis, `value_more` another word.
                let goes_on = byte == Some(b'_') && text.get(place + 1).is_some_and(u8::is_ascii_alphanumeric);
                if next > TELLS && !goes_on {
                    let (n, _) = self.states[usize::from(next & !TELLS)];
                    let entries = &self.entries[self.told[usize::from(next & !TELLS)].clone()];
                    for entry in entries {
                        told.push(Told { walk, entry: &automata.all[n].entries[usize::from(*entry)], end: place });
                    }
                }
                if byte.is_none() || next == DEAD {
                    break;
                }
                (state, place) = (next & !TELLS, place + 1);
            }
        }
    }

    /// Goes on to the first byte that is not just another one: what the table says of it.
    fn on(&self, automata: &Automata, text: &[u8], state: &mut State, place: &mut usize) -> State {
        let table = &self.next[self.first..];
        for byte in &text[*place..] {
            let next = table[automata.columns.at(Some(*byte)) + row(*state)];
            if next <= DEAD || next >= TELLS {
                return next;
            }
            *state = next;
            *place += 1;
        }
        table[automata.columns.at(None) + row(*state)]
    }
}

/// What a thread keeps from text to text.
pub(super) struct Kept {
    pub walks: Walks,
    pub around: Around,
}

pub(super) struct Walks {
    pub learnt: Learnt,
    pub starts: Vec<Start>,
    pub told: Vec<Told<'static>>,
}

thread_local! {
    static KEPT: RefCell<Option<Kept>> = const { RefCell::new(None) };
}

/// Calls `with` with what this thread keeps.
pub(super) fn kept<T>(with: impl FnOnce(&mut Kept) -> T) -> T {
    let make = || Kept {
        walks: Walks { learnt: Learnt::new(&AUTOMATA), starts: Vec::new(), told: Vec::new() },
        around: Around::NOTHING,
    };
    KEPT.with_borrow_mut(|kept| {
        let kept = kept.get_or_insert_with(make);
        // Whatever a panic may have left.
        kept.walks.starts.clear();
        kept.walks.told.clear();
        let before = kept.walks.learnt.anew;
        let told = with(kept);
        let anew = kept.walks.learnt.anew - before;
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

#[cfg(test)]
mod tests {
    use super::super::automaton::shapes;
    use super::*;
    use proptest::prelude::*;

    /// A walk by the automaton itself: the place of each shape that it tells, and its end.
    fn plain(automaton: &Automaton, text: &[u8], at: usize) -> Vec<(usize, usize)> {
        let mut cache = automaton.dfa.create_cache();
        let mut state = start(&automaton.dfa, &mut cache);
        let mut found = Vec::new();
        let mut told = |cache: &Cache, state, end| {
            let count = automaton.dfa.match_len(cache, state);
            found.extend((0..count).map(|n| (automaton.dfa.match_pattern(cache, state, n).as_usize(), end)));
        };
        for (place, byte) in text.iter().enumerate().skip(at).take(WALK) {
            state = step(&automaton.dfa, &mut cache, state, *byte);
            let on = *byte == b'_' && text.get(place + 1).is_some_and(u8::is_ascii_alphanumeric);
            if state.is_match() && !byte.is_ascii_alphanumeric() && !on {
                told(&cache, state, place);
            }
        }
        let last = end(&automaton.dfa, &mut cache, state);
        if last.is_match() {
            told(&cache, last, text.len().min(at + WALK));
        }
        found
    }

    /// Walks from every place of a text through every automaton are what the automata say; how many shapes were told.
    fn same(automata: &Automata, learnt: &mut Learnt, text: &[u8]) -> usize {
        let all = 0..automata.all.len();
        let starts: Vec<Start> =
            (0..text.len()).flat_map(|at| all.clone().map(move |automaton| Start { automaton, at })).collect();
        let mut told = Vec::new();
        learnt.walks(automata, text, &starts, &mut told);
        let mut left = told.iter().peekable();
        for (n, start) in starts.iter().enumerate() {
            let automaton = &automata.all[start.automaton];
            let mut found = Vec::new();
            while let Some(told) = left.next_if(|told| told.walk == n) {
                let place = automaton.entries.iter().position(|known| std::ptr::eq(known, told.entry)).unwrap();
                found.push((place, told.end));
            }
            assert_eq!(found, plain(automaton, text, start.at), "{start:?} of {:?}", String::from_utf8_lossy(text));
        }
        assert!(left.next().is_none());
        told.len()
    }

    #[test]
    fn what_was_learnt_is_forgotten_with_the_automatons_states() {
        // Room for a few states alone.
        let automata = Automata::of(shapes().into_iter().take(60).collect(), 0);
        let mut learnt = Learnt::new(&automata);
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
        let told: usize = texts.repeat(3).iter().map(|text| same(&automata, &mut learnt, text.as_bytes())).sum();
        let cleared: usize = learnt.caches.iter().map(Cache::clear_count).sum();
        assert!(told > 0 && cleared > 3 && learnt.anew >= cleared, "{told} {cleared} {}", learnt.anew);
    }

    #[test]
    fn a_walk_ends_where_it_may_not_go_on() {
        let mut learnt = Learnt::new(&AUTOMATA);
        let mut walk = |text: &str| {
            let mut told = Vec::new();
            learnt.walks(&AUTOMATA, text.as_bytes(), &[Start { automaton: 0, at: 4 }], &mut told);
            told.iter().map(|told| told.end).max()
        };
        // A token of 2,000 characters at most is told by as many as are read; beyond them the word may go on.
        let token = |length: usize| format!("key k8s-aws-v1.{} end", "Ab9xQ2mK7v".repeat(length / 10));
        assert_eq!(walk(&token(500)), Some(4 + 11 + 500));
        assert_eq!(walk(&token(1_500)), Some(4 + WALK));
        for text in [token(1_010), token(1_020)] {
            same(&AUTOMATA, &mut learnt, text.as_bytes());
        }
    }

    proptest! {
        #[test]
        fn what_was_learnt_says_what_the_automaton_says(
            texts in proptest::collection::vec(
                "[0-9]{3,6}[ .-]?[0-9]{2,9}[_ -]?[0-9A-Z]{0,6}|[A-Z]{2,6}[0-9]{2}[ A-Z0-9]{4,30}|(sk|gh[op]|eyJ)[-_][a-zA-Z0-9]{4,40}|.{0,40}", 1..8),
            room in prop_oneof![Just(2), Just(9), Just(60), Just(STATES)],
        ) {
            let mut learnt = Learnt { room, ..Learnt::new(&AUTOMATA) };
            for text in &texts {
                same(&AUTOMATA, &mut learnt, text.as_bytes());
                // Beside the two that are none at least one has room.
                prop_assert!(learnt.states.len() <= room.max(3), "{} states", learnt.states.len());
            }
        }
    }
}
