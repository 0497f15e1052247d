//! Values in a text: places from the gate, shapes from the automaton, checks, words beside; of those that overlap, the
//! one with the most evidence.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use foldhash::fast::RandomState;
use leeway_core::scan::Entity;

use super::automaton::{AUTOMATA, Entry};
use super::candidate::Candidate;
use super::email;
use super::evidence::{Around, BEFORE_BITS, probability};
use super::gate::Gate;
use super::kinds::Edges;
use super::secret;
use super::test_values;
use super::walk::{self, Kept, Walks};

/// Least evidence of a value that is told at all: even odds.
pub const REVIEW_BITS: f32 = 0.0;
/// Least evidence of a value that counts: odds of nine to one.
pub const ALERT_BITS: f32 = 3.17;

/// A value in a text; printing it for a log says everything but the value.
#[derive(Clone, PartialEq)]
pub struct Finding {
    pub entity: Entity,
    /// Bytes of the text.
    pub range: Range<usize>,
    /// One form for all spellings.
    pub canonical: String,
    /// Evidence in bits: of the shape, of the check, of the words beside it.
    pub shape: f32,
    pub check: f32,
    pub words: f32,
    /// The word that added the most, and the issuer's name of a secret.
    pub word: &'static str,
    pub name: Option<&'static str>,
    /// A published test or example value, or one that is nobody's.
    pub test: bool,
}

impl std::fmt::Debug for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} at {:?}: {:+.1} {:+.1} {:+.1} bits",
            self.entity.name(),
            self.range,
            self.shape,
            self.check,
            self.words
        )
    }
}

impl Finding {
    pub fn bits(&self) -> f32 {
        self.shape + self.check + self.words
    }

    /// Probability that it is what it is called.
    pub fn probability(&self) -> f32 {
        probability(self.bits())
    }

    /// Whether it counts.
    pub fn counts(&self) -> bool {
        self.bits() >= ALERT_BITS && !self.test
    }
}

/// Bits lost by a number that goes on before or after with the same separator, or that hangs on a word by a dash.
const GOES_ON: f32 = -4.0;
const HANGS: f32 = -3.0;
/// Bits lost where the word right before belongs to another kind, whose form the value has, or that may have some number.
const CLAIMED: f32 = -4.0;
/// Bytes between such a word and a value of that form, and between it and any number.
const CLAIMS: f32 = 17.0;
const CLAIMS_ANY: f32 = 6.0;
/// Bits of a form and its check that no word of another kind takes away, and that none of a thing does.
const SURE: f32 = 5.0;
const SURER: f32 = 5.5;

/// Every value of a text with at least even odds, in order; none overlaps another.
pub fn find(text: &[u8]) -> Vec<Finding> {
    let (found, _) = Finder::all(&lines(text), u64::MAX, None);
    best(found)
}

/// A value, in its canonical form: two spellings of one value are equal.
pub(super) type Value = (Entity, String);
pub(super) type Values = HashSet<Value, RandomState>;

/// Which of the wanted values the text may hold: those that a form and its check allow, whatever stands beside them.
pub(super) fn held(text: &[u8], wanted: &Values) -> Values {
    let kinds = wanted.iter().fold(0, |kinds, (kind, _)| kinds | 1 << *kind as u64);
    let (found, held) = Finder::all(&lines(text), kinds, Some((wanted, Values::default())));
    let found = found.into_iter().map(|finding| (finding.entity, finding.canonical));
    let held = held.into_iter().flatten();
    found.filter(|value| wanted.contains(value)).chain(held).collect()
}

/// A text of which no line ends, but whose line ends are written with two signs, as within JSON, in lines; paths of Windows are none.
fn lines(text: &[u8]) -> Cow<'_, [u8]> {
    let written =
        |at: &usize| matches!(text.get(at + 1), Some(b'n' | b't' | b'r')) && (*at == 0 || text[at - 1] != b'\\');
    let mut places = memchr::memchr_iter(b'\\', text).filter(written).peekable();
    let none = |part: &[u8]| memchr::memmem::find(text, part).is_none();
    // One letter before the colon names a drive.
    let alone = |at: usize| at == 0 || !text[at - 1].is_ascii_alphanumeric();
    let drive = |at: usize| at > 0 && text[at - 1].is_ascii_alphabetic() && alone(at - 1);
    let drives = || memchr::memmem::find_iter(text, b":\\").any(drive);
    if places.peek().is_none() || memchr::memchr(b'\n', text).is_some() || none(b"\\n") || drives() {
        return Cow::Borrowed(text);
    }
    let mut lines = text.to_vec();
    for at in places {
        (lines[at], lines[at + 1]) = (b' ', if text[at + 1] == b'n' { b'\n' } else { b' ' });
    }
    Cow::Owned(lines)
}

/// Whether two phone numbers differ by a prefix alone.
fn same_line(one: &str, other: &str) -> bool {
    const LEAST: usize = 7;
    let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
    short.len() >= LEAST && long.ends_with(short)
}

/// Shapes of a block's walks that are kept room for.
const KEPT: usize = 1_024;

fn places(start: usize, mut bits: u64, mut look: impl FnMut(usize)) {
    while bits != 0 {
        look(start + bits.trailing_zeros() as usize);
        bits &= bits - 1;
    }
}

/// Values that are wanted, and which of them a text may hold.
type Wanted<'t> = (&'t Values, Values);

struct Finder<'t> {
    text: &'t [u8],
    around: &'t mut Around,
    /// The stretch that was read last.
    candidate: Candidate<'t>,
    /// What was said last of the edges of a stretch.
    edge: (Range<usize>, Edges, Option<f32>),
    found: Vec<Finding>,
    /// What lies before was looked at as a secret without a shape.
    token: usize,
    /// Whether any word of the text may name a secret, once somebody asked.
    names: Option<bool>,
    /// Where certain values are wanted, and nothing else.
    wanted: Option<Wanted<'t>>,
    /// A bit for each kind that is looked for.
    kinds: u64,
    /// Forms of one walk of which the longest was looked at.
    longest: Vec<&'static Entry>,
}

impl<'t> Finder<'t> {
    fn new(text: &'t [u8], around: &'t mut Around) -> Self {
        around.forget();
        Self {
            text,
            around,
            candidate: Candidate::none(text),
            edge: (0..0, Edges::Token, Some(0.0)),
            found: Vec::new(),
            token: 0,
            names: None,
            wanted: None,
            kinds: u64::MAX,
            longest: Vec::new(),
        }
    }

    /// Looks at the whole text for some kinds of values: what was found, and what is held of what is wanted.
    fn all(text: &[u8], kinds: u64, wanted: Option<Wanted<'_>>) -> (Vec<Finding>, Option<Values>) {
        walk::kept(|Kept { walks, around }| {
            let mut finder = Finder { wanted, kinds, ..Finder::new(text, around) };
            for sites in Gate::new(text) {
                places(sites.start, sites.ats, |at| finder.found.extend(email::at(text, at)));
                places(sites.start, sites.tokens, |at| finder.token(at));
                AUTOMATA.may_begin(text, &sites, &mut walks.starts);
                if !walks.starts.is_empty() {
                    finder.walks(walks);
                }
            }
            (finder.found, finder.wanted.map(|(_, held)| held))
        })
    }

    /// Looks at every shape that begins at one of some places.
    fn walks(&mut self, walks: &mut Walks) {
        let Walks { learnt, starts, told } = walks;
        learnt.walks(&AUTOMATA, self.text, starts, told);
        for told in told.chunk_by(|one, other| one.walk == other.walk) {
            let at = starts[told[0].walk].at;
            // A bit for each kind of whose form something begins there.
            let forms = || told.iter().fold(0, |forms, told| forms | 1 << told.entry.place);
            let mut tokens = false;
            for told in told {
                if told.entry.edges == Edges::Token {
                    tokens = true;
                } else {
                    self.candidate(told.entry, at..told.end, &forms);
                }
            }
            if !tokens {
                continue;
            }
            // Of forms that have many ends the longest of each alone; of equals the one that stands last in the list.
            self.longest.clear();
            for told in told.iter().rev().filter(|told| told.entry.edges == Edges::Token) {
                if !self.longest.iter().any(|known| std::ptr::eq(*known, told.entry)) {
                    self.longest.push(told.entry);
                    self.candidate(told.entry, at..told.end, &forms);
                }
            }
        }
        starts.clear();
        told.clear();
        // What a strange text needed is not kept.
        told.shrink_to(KEPT);
    }

    /// Evidence of what stands directly beside; where values are wanted, whatever it is.
    fn edge(&mut self, range: &Range<usize>, wanted: Edges) -> Option<f32> {
        if self.wanted.is_some() {
            return Some(0.0);
        }
        // Kinds of one form are told one after the other.
        if self.edge.0 != *range || self.edge.1 != wanted {
            self.edge = (range.clone(), wanted, edges(self.text, range, wanted));
        }
        self.edge.2
    }

    fn candidate(&mut self, entry: &Entry, range: Range<usize>, forms: &dyn Fn() -> u64) {
        if self.kinds >> entry.kind.entity as u64 & 1 == 0 {
            return;
        }
        if let Some(named) = entry.kind.named {
            self.found.extend(named(self.text, &range));
            return;
        }
        let Some(edge) = self.edge(&range, entry.edges) else { return };
        self.candidate.read(&range);
        self.candidate.form = entry.name;
        let candidate = &self.candidate;
        let Some(check) = (entry.kind.check)(candidate) else { return };
        if let Some((wanted, held)) = &mut self.wanted {
            let value = (entry.kind.entity, (entry.kind.canonical)(candidate));
            if value.0 == Entity::Phone {
                // A number with its country, and the same without.
                let same = |known: &&Value| known.0 == Entity::Phone && same_line(&known.1, &value.1);
                held.extend(wanted.iter().filter(same).cloned().collect::<Vec<_>>());
            } else if wanted.contains(&value) {
                held.insert(value);
            }
            return;
        }
        let alone = entry.prior + check + edge;
        // Of words before and after those that say more count.
        if alone + BEFORE_BITS < REVIEW_BITS {
            return;
        }
        let (words, word) = self.words(entry, &range, alone, forms);
        let (entity, shape) = (entry.kind.entity, entry.prior + edge);
        if shape + check + words >= REVIEW_BITS {
            let canonical = (entry.kind.canonical)(&self.candidate);
            let test = test_values::known(entity, &canonical);
            self.found.push(Finding { entity, range, canonical, shape, check, words, word, name: entry.name, test });
        }
    }

    /// Evidence of the words beside a value, and the word that says the most; `alone` is that of the value by itself.
    fn words(
        &mut self,
        entry: &Entry,
        range: &Range<usize>,
        alone: f32,
        forms: &dyn Fn() -> u64,
    ) -> (f32, &'static str) {
        let bare = self.candidate.digits().is_some();
        let before = self.around.before(self.text, range.start);
        let (mut words, mut word) = before.of(entry.place);
        // A label right before names something else.
        let claims = words == 0.0
            && alone < SURE
            && before.nearest <= CLAIMS
            && (bare && before.nearest <= CLAIMS_ANY || before.said & forms() != 0);
        let mut claimed = if claims { CLAIMED } else { 0.0 };
        let mut other = if bare && alone < SURER && (words < BEFORE_BITS - 4.0 || words <= before.thing) {
            before.other
        } else {
            0.0
        };
        if words < BEFORE_BITS - 6.0 && alone + words + other + claimed + BEFORE_BITS >= REVIEW_BITS {
            let after = self.around.after(self.text, range.end);
            let (bits, said) = after.of(entry.place);
            if bits > words {
                (words, word) = (bits, said);
            }
            if bare && alone < SURER {
                other = other.min(after.other);
            }
        }
        if alone + words + other + claimed < ALERT_BITS && alone + BEFORE_BITS >= ALERT_BITS {
            let (bits, said) = self.around.above(self.text, range.start).of(entry.place);
            if bits > words {
                (words, word, claimed) = (bits, said, 0.0);
            }
        }
        if alone + words + other + claimed < ALERT_BITS
            && alone + BEFORE_BITS >= ALERT_BITS
            && let Some((bits, said)) = self.listed(entry.kind.entity, range)
            && bits > words
        {
            (words, word, claimed) = (bits, said, 0.0);
        }
        (words + other + claimed, word)
    }

    /// What names the value before it in a list names the next one, too.
    fn listed(&self, entity: Entity, range: &Range<usize>) -> Option<(f32, &'static str)> {
        let near = |end: usize| end < range.start && range.start - end <= BETWEEN;
        let before = |finding: &&Finding| finding.entity == entity && near(finding.range.end);
        let last = self.found.iter().rev().take(LOOKED_BACK).find(before)?;
        let named = last.bits() >= ALERT_BITS && last.words > 0.0;
        let listed = named && lists(&self.text[last.range.end..range.start]) && ended(&self.text[range.end..]);
        listed.then_some((last.words - ONE_ON, last.word))
    }

    /// A secret without a shape of its own, known by what is written before it.
    fn token(&mut self, at: usize) {
        if at >= self.token {
            let (looked, found) = secret::token(self.text, at, &mut self.names);
            self.token = looked;
            self.found.extend(found);
        }
    }
}

/// Findings among which the one before a value is looked for: several kinds may claim one place.
const LOOKED_BACK: usize = 16;
/// Bits that a name loses from one value of a list to the next.
const ONE_ON: f32 = 0.25;

/// Bytes between two values of a list.
const BETWEEN: usize = 12;
/// Words between two values of a list.
const AND: [&[u8]; 10] = [b"and", b"or", b"und", b"oder", b"et", b"ou", b"y", b"e", b"o", b"then"];

/// Whether two values with this between them, of at most `BETWEEN` bytes, are of one list: a comma, a word, or a line with a bullet.
fn lists(between: &[u8]) -> bool {
    let other = |byte: &u8| {
        byte.is_ascii_whitespace() || matches!(byte, b',' | b';' | b'&' | b'"' | b'\'' | b'`' | b'-' | b'*' | b'#')
    };
    let line = between.contains(&b'\n') && between.iter().any(|byte| matches!(byte, b'-' | b'*'));
    let sign = line || between.iter().any(|byte| matches!(byte, b',' | b';' | b'&'));
    let mut words = between.split(other).filter(|word| !word.is_empty());
    let word = words.next();
    words.next().is_none() && word.map_or(sign, |word| AND.contains(&&*word.to_ascii_lowercase()))
}

/// Whether a list may go on or end here: what goes on in words, or in a time of day, is about something else.
fn ended(rest: &[u8]) -> bool {
    let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let word = &rest[blanks..];
    let letters = word.iter().take_while(|byte| byte.is_ascii_alphanumeric() || !byte.is_ascii()).count();
    letters == 0 && !word.starts_with(b":") || blanks > 0 && AND.contains(&&*word[..letters].to_ascii_lowercase())
}

/// What a byte is, a bit for each.
const DIGIT: u8 = 1;
const LETTER: u8 = 2;
const SMALL: u8 = 4;
const SOLID: u8 = 8;
const ANY: u8 = 16;
/// Set where a number or a word is looked for.
const NUMBER: u8 = 32;
const WORD: u8 = 64;

const WHAT: [u8; 256] = {
    let mut what = [ANY; 256];
    let mut byte = 0;
    while byte < 256 {
        let is = byte as u8;
        what[byte] |= if is.is_ascii_digit() { DIGIT } else { 0 }
            | if is.is_ascii_alphabetic() { LETTER } else { 0 }
            | if is.is_ascii_lowercase() { SMALL } else { 0 }
            | if is.is_ascii_whitespace() { 0 } else { SOLID };
        byte += 1;
    }
    what
};

/// What a byte beside a range says, where the next one is one of those.
#[derive(Clone, Copy)]
struct Side {
    /// The range is a part of something else.
    part: u8,
    /// It is seldom what it looks like.
    seldom: u8,
    /// A number of groups goes on.
    on: u8,
}

const fn sides(of: &[(&str, Side)]) -> [Side; 256] {
    let mut sides = [NOTHING; 256];
    let mut row = 0;
    while row < of.len() {
        let (bytes, mut place) = (of[row].0.as_bytes(), 0);
        while place < bytes.len() {
            sides[bytes[place] as usize] = of[row].1;
            place += 1;
        }
        row += 1;
    }
    sides
}

const NOTHING: Side = Side { part: 0, seldom: 0, on: 0 };
/// `#12`, `a/12`, `1,12` and what hangs on a word are seldom what they look like.
static BEFORE: [Side; 256] = sides(&[
    ("_", Side { part: LETTER | DIGIT, ..NOTHING }),
    ("$^%", Side { part: ANY, ..NOTHING }),
    ("+", Side { part: NUMBER, ..NOTHING }),
    (":", Side { part: DIGIT, ..NOTHING }),
    (".-", Side { part: DIGIT, seldom: LETTER, ..NOTHING }),
    ("#", Side { seldom: ANY, ..NOTHING }),
    ("/\\@", Side { seldom: SOLID, ..NOTHING }),
    (",", Side { seldom: DIGIT, ..NOTHING }),
    (" ", Side { on: DIGIT, ..NOTHING }),
]);
/// A part of a longer number, of a version, of a sum: nothing of this is a number of its own.
static AFTER: [Side; 256] = sides(&[
    (".:", Side { part: DIGIT, ..NOTHING }),
    ("-", Side { part: DIGIT | SMALL, ..NOTHING }),
    ("/", Side { seldom: LETTER | DIGIT, ..NOTHING }),
    (",", Side { seldom: DIGIT, ..NOTHING }),
    ("=", Side { seldom: WORD, ..NOTHING }),
    ("@%+", Side { seldom: ANY, ..NOTHING }),
    (" ", Side { on: DIGIT, ..NOTHING }),
]);

/// Evidence of what stands directly beside a range; `None` where it is part of something else.
fn edges(text: &[u8], range: &Range<usize>, edges: Edges) -> Option<f32> {
    let wanted = match edges {
        Edges::Token => return Some(0.0),
        Edges::Number => NUMBER,
        Edges::Word => WORD,
    };
    // Tables instead of branches: nobody can foresee what stands beside a value.
    let byte = |place: usize| usize::from(text.get(place).copied().unwrap_or(b' '));
    let (before, beyond) = (byte(range.start.wrapping_sub(1)), byte(range.start.wrapping_sub(2)));
    let (before, beyond) = (BEFORE[before], WHAT[beyond] | wanted);
    let (after, further) = (AFTER[byte(range.end)], WHAT[byte(range.end.saturating_add(1))] | wanted);
    let [part, goes_on] = [(before.part, after.part), (before.on, after.on)]
        .map(|(before, after)| before & beyond | after & further != 0);
    if part {
        return None;
    }
    let goes_on = goes_on && text[range.clone()].contains(&b' ');
    let seldom = |side: u8, next: u8, bits: f32| if side & next == 0 { 0.0 } else { bits };
    let lost = seldom(before.seldom, beyond, HANGS) + seldom(after.seldom, further, HANGS);
    Some(lost + if goes_on { GOES_ON } else { 0.0 })
}

/// Of findings that overlap the one with the most evidence; of equals the longest, of these the first.
fn best(mut found: Vec<Finding>) -> Vec<Finding> {
    if found.len() < 2 {
        return found;
    }
    found.sort_by_key(|finding| finding.range.start);
    let (mut lost, mut first) = (Vec::new(), 0);
    while first < found.len() {
        // A group that no other one touches.
        let (mut end, mut next) = (found[first].range.end, first + 1);
        while let Some(finding) = found.get(next).filter(|finding| finding.range.start < end) {
            (end, next) = (end.max(finding.range.end), next + 1);
        }
        if next - first > 1 {
            let mut group: Vec<usize> = (first..next).collect();
            let rank = |place: &usize| (found[*place].bits(), found[*place].range.len());
            group.sort_by(|a, b| rank(b).0.total_cmp(&rank(a).0).then(rank(b).1.cmp(&rank(a).1)));
            let mut taken = Taken::default();
            lost.extend(group.into_iter().filter(|place| !taken.take(&found[*place].range)));
        }
        first = next;
    }
    if !lost.is_empty() {
        lost.sort_unstable();
        let (mut lost, mut place) = (lost.into_iter().peekable(), 0);
        found.retain(|_| {
            place += 1;
            lost.next_if_eq(&(place - 1)).is_none()
        });
    }
    found
}

/// Ranges of which none overlaps another: few in a line of a few, or by their beginnings.
#[derive(Default)]
struct Taken {
    few: [(usize, usize); Self::FEW],
    n: usize,
    more: BTreeMap<usize, usize>,
}

impl Taken {
    const FEW: usize = 8;

    /// Takes a range that overlaps none that was taken.
    fn take(&mut self, range: &Range<usize>) -> bool {
        let apart = |(start, end): &(usize, usize)| range.end <= *start || *end <= range.start;
        let before = self.more.range(..range.end).next_back();
        let free = self.few[..self.n].iter().all(apart) && before.is_none_or(|(_, end)| *end <= range.start);
        match self.few.get_mut(self.n) {
            _ if !free => {}
            Some(few) => {
                *few = (range.start, range.end);
                self.n += 1;
            }
            None => {
                self.more.insert(range.start, range.end);
            }
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::super::automaton::{end, start, step};
    use super::*;
    use proptest::prelude::*;

    /// Shapes that the automaton itself tells from a place, without anything that was learnt: of forms with many ends the longest of each.
    fn told(text: &[u8], at: usize) -> Vec<(&'static Entry, usize)> {
        let automaton = &AUTOMATA.all[0];
        thread_local! {
            static CACHE: std::cell::RefCell<regex_automata::hybrid::dfa::Cache> = AUTOMATA.all[0].dfa.create_cache().into();
        }
        let mut found: Vec<(&'static Entry, usize)> = Vec::new();
        CACHE.with_borrow_mut(|cache| {
            let mut state = start(&automaton.dfa, cache);
            for place in at..=text.len() {
                let byte = text.get(place);
                state = match byte {
                    Some(byte) => step(&automaton.dfa, cache, state, *byte),
                    None => end(&automaton.dfa, cache, state),
                };
                let on = byte == Some(&b'_') && text.get(place + 1).is_some_and(u8::is_ascii_alphanumeric);
                if state.is_match() && !on && !byte.is_some_and(u8::is_ascii_alphanumeric) {
                    for n in 0..automaton.dfa.match_len(cache, state) {
                        let entry = &automaton.entries[automaton.dfa.match_pattern(cache, state, n).as_usize()];
                        found.retain(|(known, _)| entry.kind.edges != Edges::Token || !std::ptr::eq(*known, entry));
                        found.push((entry, place));
                    }
                }
                if state.is_dead() {
                    break;
                }
            }
        });
        found
    }

    /// Without gates and tables: every shape is tried wherever a word or a sign begins.
    fn everywhere(text: &[u8]) -> Vec<Finding> {
        let text = &*lines(text);
        let mut around = Around::NOTHING;
        let mut finder = Finder::new(text, &mut around);
        let word = |at: usize| text[at].is_ascii_alphanumeric();
        for sites in Gate::new(text) {
            places(sites.start, sites.ats, |at| finder.found.extend(email::at(text, at)));
            let begins = |at: &usize| word(*at) && (*at == 0 || !word(at - 1)) || matches!(text[*at], b'+' | b'(');
            places(sites.start, sites.tokens, |at| finder.token(at));
            for at in (sites.start..text.len().min(sites.start + 64)).filter(begins) {
                let told = told(text, at);
                let forms = || told.iter().fold(0, |forms, (entry, _)| forms | 1 << entry.place);
                told.iter().for_each(|(entry, end)| finder.candidate(entry, at..*end, &forms));
            }
        }
        best(finder.found)
    }

    fn same(text: &str) -> Result<(), TestCaseError> {
        let key = |findings: Vec<Finding>| {
            findings.into_iter().map(|finding| (finding.range.clone(), finding.entity)).collect::<Vec<_>>()
        };
        prop_assert_eq!(key(find(text.as_bytes())), key(everywhere(text.as_bytes())), "{}", text);
        Ok(())
    }

    #[test]
    fn what_stands_beside_a_value_says_whether_it_is_a_part_of_more() {
        let bits = |before: &str, after: &str, of: Edges| {
            let text = format!("{before}12 34{after}");
            edges(text.as_bytes(), &(before.len()..before.len() + 5), of)
        };
        for (before, after, number, word) in [
            ("", "", Some(0.0), Some(0.0)),
            ("a_", "", None, None),
            (" _", "_ ", Some(0.0), Some(0.0)),
            ("$", "", None, None),
            ("+", "", None, Some(0.0)),
            ("1.", "", None, None),
            ("1:", "", None, None),
            ("a:", "", Some(0.0), Some(0.0)),
            ("a.", "", Some(HANGS), Some(HANGS)),
            ("1-", "", None, None),
            ("a-", "", Some(HANGS), Some(HANGS)),
            ("#", "", Some(HANGS), Some(HANGS)),
            ("a/", "", Some(HANGS), Some(HANGS)),
            ("\t/", "", Some(0.0), Some(0.0)),
            (" @", "", Some(0.0), Some(0.0)),
            ("1,", "", Some(HANGS), Some(HANGS)),
            ("a,", "", Some(0.0), Some(0.0)),
            ("1 ", "", Some(GOES_ON), Some(GOES_ON)),
            ("a ", " b", Some(0.0), Some(0.0)),
            ("", " 1", Some(GOES_ON), Some(GOES_ON)),
            ("1 ", " 1", Some(GOES_ON), Some(GOES_ON)),
            ("", ".5", None, None),
            ("", ".", Some(0.0), Some(0.0)),
            ("", ".a", Some(0.0), Some(0.0)),
            ("", ":5", None, None),
            ("", "-5", None, None),
            ("", "-a", None, None),
            ("", "-A", Some(0.0), Some(0.0)),
            ("", "/a", Some(HANGS), Some(HANGS)),
            ("", "/ ", Some(0.0), Some(0.0)),
            ("", ",5", Some(HANGS), Some(HANGS)),
            ("", ", ", Some(0.0), Some(0.0)),
            ("", "=", Some(0.0), Some(HANGS)),
            ("", "@", Some(HANGS), Some(HANGS)),
            ("", "%", Some(HANGS), Some(HANGS)),
            ("", "+", Some(HANGS), Some(HANGS)),
            ("#", "%", Some(2.0 * HANGS), Some(2.0 * HANGS)),
        ] {
            assert_eq!(bits(before, after, Edges::Number), number, "{before}…{after}");
            assert_eq!(bits(before, after, Edges::Word), word, "{before}…{after}");
            assert_eq!(bits(before, after, Edges::Token), Some(0.0), "{before}…{after}");
        }
        // One group does not go on.
        assert_eq!(edges(b"1 12", &(2..4), Edges::Number), Some(0.0));
    }

    #[test]
    fn what_names_the_first_of_a_list_names_the_rest() {
        let count = |text: &str| {
            let counts = |finding: &&Finding| finding.bits() >= ALERT_BITS;
            find(text.as_bytes()).iter().filter(counts).count()
        };
        for (text, n) in [
            ("Passport numbers: C01X00T47, C01X00T48 and C01X00T49", 3),
            ("MRNs:\n- 4839201\n- 4839202\n- 4839203\n", 3),
            ("His SSNs are 536221845 and 536221846.", 2),
            ("{\"ssns\": [\"536221845\", \"536221846\"]}", 2),
            ("born 1984-03-02 and 1986-05-06", 2),
            // What is not of one list.
            ("MRN 4839201 beside 4839202", 1),
            ("born 1984-03-02; we met on 1986-05-06", 1),
            ("born 1984-03-02 1986-05-06", 1),
            ("1984-03-02, 1986-05-06", 0),
            ("| Name | DOB | Visit |\n|---|---|---|\n| Bob | 1984-03-02 | 2024-05-06 |", 1),
            ("dob=1984-03-02\n2024-05-06T10:00:00 INFO next line", 1),
            ("MRN 4839201\n4521897 units were sold", 1),
            ("Employee born 1984-03-02, 2010-05-06 hired", 1),
            ("passport C01X00T47, X12345678 is the part number", 1),
        ] {
            assert_eq!(count(text), n, "{text}");
        }
    }

    #[test]
    fn of_secrets_that_begin_at_one_place_the_one_that_passes_its_check_is_told_by_its_issuers_name() {
        let name = |text: &str| find(text.as_bytes()).first().and_then(|finding| finding.name);
        assert_eq!(name("sk_live_4eC39HqLyjWDarjtT1z-todo"), Some("stripe"));
        assert_eq!(name("00a1b2c3d4e5f60718293a4b5c6d7e8f-us12-here"), Some("mailchimp"));
        let openai = format!("sk-proj-{}T3BlbkFJ{}", "Ab9xQ2mK7vLp4RtZ".repeat(4), "c8WnE5yHs1UdG6oJ".repeat(4));
        assert_eq!(name(&openai), Some("openai-project"));
        assert_eq!(name("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"), Some("openai"));
        assert_eq!(name("sk-Ab9xQ2mK7vLp4RtZw3XyQ3BlbkFJc8WnE5yHs1UdG6oJq0Vb"), None);
        let clerk = format!("sk_live_{}", "Ab9xQ2mK7vLp4RtZw3XyT3BlbkFJc8WnE5yHs1UdG6oJ");
        assert_eq!(name(&clerk), Some("clerk"));
        // What the form says little of is told by what stands about it.
        let object = "apiVersion: v1\ndata:\n  user: YWRtaW4=\n  password: cTJtSzd2THA0UnRadzNYeQ==\nkind: Secret\n";
        assert_eq!(name(object), Some("kubernetes-secret"));
        for (from, to) in [
            ("user: YWRtaW4=", "user: \"\""),
            ("password:", "\"password\":"),
            ("  user: YWRtaW4=\n", "  a: YQ==\n  b: Yg==\n  c: Yw==\n  d: ZA==\n  user: YWRtaW4=\n"),
            ("  ", "              "),
            (
                "data:\n  user: YWRtaW4=\n  password: cTJtSzd2THA0UnRadzNYeQ==",
                "data: {password: cTJtSzd2THA0UnRadzNYeQ==}",
            ),
            ("kind: Secret", "kind:  'Secret'"),
        ] {
            assert_eq!(name(&object.replace(from, to)), Some("kubernetes-secret"), "{from} {to}");
        }
        // Whoever has a certificate beside it has a line of signs too, which ends no object.
        let beside =
            object.replace("password", "blob").replace("kind", "stringData:\n  pem: |\n    -----BEGIN A-----\nkind");
        assert_eq!(name(&beside), Some("kubernetes-secret"));
        // One object before it is a secret, and has a certificate; it is none.
        let other = format!("kind: Secret\n---\npem:\n-----BEGIN A-----\n{}", beside.replace("Secret", "ConfigMap"));
        assert_ne!(name(&other), Some("kubernetes-secret"));
        let json = r#"{"apiVersion":"v1","data":{"password":"cTJtSzd2THA0UnRadzNYeQ=="},"kind":"Secret"}"#;
        assert_eq!(name(json), Some("kubernetes-secret"));
        for other in [
            object.replace("Secret", "ConfigMap"),
            object.replace("Secret", "SecretStore"),
            "data:\n  root: /usr/share/nginx/html/static\n---\napiVersion: v1\nkind: Secret\n".to_owned(),
        ] {
            assert_ne!(name(&other), Some("kubernetes-secret"), "{other}");
        }
        assert_eq!(name("sk-ant-design-pro-layout-sidebar-menu-item-selected-active"), None);
        assert_eq!(name("curl -s -u admin:q9XmK7vLp4R https://x.io"), Some("curl-user"));
        assert_eq!(name("curl --user 'admin:q9XmK7vLp4R' https://x.io"), Some("curl-user"));
        assert_eq!(name("wget -u admin:q9XmK7vLp4R https://x.io"), None);
        assert_eq!(name("curl x\nmenu u admin:q9XmK7vLp4R"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]
        #[test]
        fn the_gates_lose_nothing(
            words in prop::collection::vec(prop::sample::select(vec![
                "SSN", "536-22-8726", "+44 20 7183 8750", "(857) 788-2923", "IBAN", "NL91ABNA0417164300", "jane@acme.io",
                "DEUTDEFF", "BIC:", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "PESEL", "44051401458", "SK 37 91 96 C",
                "NINO", "born on", "October 14, 1944", "passport no", "L5814836", "0x", "1Z5353009039948903", "v1.2.3",
                "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", "api_key =", "chiiihzhntxm9cu6dnkg", "sk_live_4eC39HqLyjWDarjtT1z-todo", "00a1b2c3d4e5f60718293a4b5c6d7e8f-us12-here", "4539 1488 0343 6467",
                "2600:fc5d:bd58:9d1e::b847", "9d:e8:cb:67:03:42", "VIN", "2T1KUSFN2HH378031", "身份证", "the", "of", "12",
                "L5814837", "and", "password", "Zx9!kk2P", "is", "pwd", "mdp", "new",
            ]), 1..9),
            between in prop::sample::select(vec![" ", ", ", ": ", " = ", "='", "\n", "\"", "; ", ""]),
        ) {
            same(&words.join(between))?;
        }

        #[test]
        fn the_gates_lose_nothing_of_any_text(text in "([ a-z,.:@_]{0,9}[0-9A-Z+(]{0,4}[-. 0-9A-Za-z/]{0,24}){1,6}") {
            same(&text)?;
        }
    }
}
