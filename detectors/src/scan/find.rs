//! Values in a text: places from the gate, shapes from the automaton, checks, words beside; of those that overlap, the
//! one with the most evidence.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use foldhash::fast::RandomState;
use leeway_core::scan::Entity;

use super::automaton::{self, AUTOMATA, Automaton, Entry, Learnt};
use super::candidate::Candidate;
use super::email;
use super::evidence::{BEFORE_BITS, Beside, probability};
use super::gate::Gate;
use super::kinds::Edges;
use super::secret;
use super::test_values;

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
/// Bits lost where the word right before belongs to another kind.
const CLAIMED: f32 = -4.0;

/// Every value of a text with at least even odds, in order; none overlaps another.
pub fn find(text: &[u8]) -> Vec<Finding> {
    let mut finder = Finder::new(text);
    finder.all();
    best(finder.found)
}

/// A value, in its canonical form: two spellings of one value are equal.
pub(super) type Value = (Entity, String);
pub(super) type Values = HashSet<Value, RandomState>;

/// Which of the wanted values the text may hold: those that a form and its check allow, whatever stands beside them.
pub(super) fn held(text: &[u8], wanted: &Values) -> Values {
    let kinds = wanted.iter().fold(0, |kinds, (kind, _)| kinds | 1 << *kind as u64);
    let mut finder = Finder { wanted: Some((wanted, Values::default())), kinds, ..Finder::new(text) };
    finder.all();
    let found = finder.found.into_iter().map(|finding| (finding.entity, finding.canonical));
    let held = finder.wanted.map(|(_, held)| held).unwrap_or_default();
    found.filter(|value| wanted.contains(value)).chain(held).collect()
}

/// Whether two phone numbers differ by a prefix alone.
fn same_line(one: &str, other: &str) -> bool {
    const LEAST: usize = 7;
    let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
    short.len() >= LEAST && long.ends_with(short)
}

fn places(start: usize, mut bits: u64, mut look: impl FnMut(usize)) {
    while bits != 0 {
        look(start + bits.trailing_zeros() as usize);
        bits &= bits - 1;
    }
}

struct Finder<'t> {
    text: &'t [u8],
    /// What was looked up last: where a value began and what stands before it, where one ended and what stands after it.
    before: (usize, Beside),
    after: (usize, Beside),
    /// The stretch that was checked last.
    candidate: Candidate<'t>,
    found: Vec<Finding>,
    /// What lies before was looked at as a secret without a shape.
    token: usize,
    /// Whether any word of the text may name a secret, once somebody asked.
    names: Option<bool>,
    /// Where certain values are wanted, and nothing else: those, and which of them the text may hold.
    wanted: Option<(&'t Values, Values)>,
    /// A bit for each kind that is looked for.
    kinds: u64,
}

impl<'t> Finder<'t> {
    fn new(text: &'t [u8]) -> Self {
        let (before, after) = ((usize::MAX, Beside::NOTHING), (usize::MAX, Beside::NOTHING));
        Self {
            text,
            before,
            after,
            candidate: Candidate::none(text),
            found: Vec::new(),
            token: 0,
            names: None,
            wanted: None,
            kinds: u64::MAX,
        }
    }

    /// Looks at the whole text.
    fn all(&mut self) {
        let text = self.text;
        let automata = &*AUTOMATA;
        automaton::caches(|caches| {
            for sites in Gate::new(text) {
                let start = sites.start;
                places(start, sites.ats, |at| self.found.extend(email::at(text, at)));
                let [numbers, long, words] = automata.may_begin(text, &sites);
                places(start, numbers, |at| self.walk(&automata.numbers, &mut caches.numbers, at));
                places(start, long, |at| self.walk(&automata.long, &mut caches.long, at));
                places(start, words, |at| self.walk(&automata.words, &mut caches.words, at));
                places(sites.start, sites.tokens, |at| self.token(at));
            }
        });
    }

    /// Looks at every shape that begins at a place.
    fn walk(&mut self, automaton: &Automaton, learnt: &mut Learnt, at: usize) {
        let text = self.text;
        // Of a form that has many ends the longest alone.
        let mut longest: Option<(&Entry, usize)> = None;
        automaton.walk(learnt, (text, at), |entry, end| match entry.kind.edges {
            Edges::Token => longest = Some((entry, end)),
            _ => self.candidate(entry, at..end),
        });
        if let Some((entry, end)) = longest {
            self.candidate(entry, at..end);
        }
    }

    /// Evidence of what stands directly beside; where values are wanted, whatever it is.
    fn edge(&self, range: &Range<usize>, entry: &Entry) -> Option<f32> {
        if self.wanted.is_some() { Some(0.0) } else { edges(self.text, range, entry.kind.edges) }
    }

    fn candidate(&mut self, entry: &Entry, range: Range<usize>) {
        if self.kinds >> entry.kind.entity as u64 & 1 == 0 {
            return;
        }
        let Some(edge) = self.edge(&range, entry) else { return };
        // Kinds of one form are told one after the other.
        self.candidate.read(&range);
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
        let bare = candidate.digits().is_some();
        let before = self.before(range.start);
        let (mut words, mut word) = before.of(entry.place);
        // A label right before names something else.
        let claimed = if words == 0.0 && before.best >= BEFORE_BITS - 2.5 { CLAIMED } else { 0.0 };
        let mut other = if bare && words < BEFORE_BITS - 4.0 { before.other } else { 0.0 };
        if words < BEFORE_BITS - 6.0 && alone + words + other + claimed + BEFORE_BITS >= REVIEW_BITS {
            let after = self.after(range.end);
            let (bits, said) = after.of(entry.place);
            if bits > words {
                (words, word) = (bits, said);
            }
            if bare {
                other = other.min(after.other);
            }
        }
        let (entity, shape, words) = (entry.kind.entity, entry.prior + edge, words + other + claimed);
        if shape + check + words >= REVIEW_BITS {
            let canonical = (entry.kind.canonical)(&self.candidate);
            let test = test_values::known(entity, &canonical);
            self.found.push(Finding { entity, range, canonical, shape, check, words, word, name: entry.name, test });
        }
    }

    fn before(&mut self, start: usize) -> &Beside {
        if self.before.0 != start {
            self.before.0 = start;
            self.before.1.before(self.text, start);
        }
        &self.before.1
    }

    fn after(&mut self, end: usize) -> &Beside {
        if self.after.0 != end {
            self.after.0 = end;
            self.after.1.after(self.text, end);
        }
        &self.after.1
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

/// Evidence of what stands directly beside a range; `None` where it is part of something else.
fn edges(text: &[u8], range: &Range<usize>, edges: Edges) -> Option<f32> {
    let before = range.start.checked_sub(1).map_or(b' ', |place| text[place]);
    let beyond = range.start.checked_sub(2).map_or(b' ', |place| text[place]);
    let after = text.get(range.end).copied().unwrap_or(b' ');
    let further = text.get(range.end + 1).copied().unwrap_or(b' ');
    if edges == Edges::Token {
        return Some(0.0);
    }
    let inside = match before {
        b'_' => beyond.is_ascii_alphanumeric(),
        b'$' | b'^' | b'%' => true,
        b'+' => edges == Edges::Number,
        b'.' | b'-' | b':' => beyond.is_ascii_digit(),
        _ => false,
    };
    let on = match after {
        b'.' | b',' | b':' => further.is_ascii_digit(),
        b'-' | b'/' => further.is_ascii_alphanumeric(),
        b'=' => edges == Edges::Word,
        _ => false,
    };
    // A part of a longer number, of a version, of a sum: nothing of this is a number of its own.
    let longer = match after {
        b'.' | b':' => on,
        b'-' => further.is_ascii_digit() || further.is_ascii_lowercase(),
        _ => false,
    };
    if inside || longer {
        return None;
    }
    // `#12`, `a/12`, `1,12` and what hangs on a word are seldom what they look like.
    let hangs = match before {
        b'#' => true,
        b'/' | b'\\' | b'@' => !beyond.is_ascii_whitespace(),
        b',' => beyond.is_ascii_digit(),
        b'-' | b'.' => beyond.is_ascii_alphabetic(),
        _ => false,
    };
    let joined = matches!(after, b'/' | b',' | b'=') && on || matches!(after, b'@' | b'%' | b'+');
    let beside = before == b' ' && beyond.is_ascii_digit() || after == b' ' && further.is_ascii_digit();
    let goes_on = beside && text[range.clone()].contains(&b' ');
    let lost = [(hangs, HANGS), (joined, HANGS), (goes_on, GOES_ON)];
    Some(lost.iter().filter(|(is, _)| *is).map(|(_, bits)| bits).sum())
}

/// Of findings that overlap the one with the most evidence; of equals the longest.
fn best(mut found: Vec<Finding>) -> Vec<Finding> {
    if found.len() > 1 {
        found.sort_by(|a, b| b.bits().total_cmp(&a.bits()).then(b.range.len().cmp(&a.range.len())));
        let mut taken = Taken::default();
        found.retain(|finding| taken.take(&finding.range));
        found.sort_by_key(|finding| finding.range.start);
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
    use super::super::automaton::Automata;
    use super::*;
    use proptest::prelude::*;

    /// Without gates: every shape is tried wherever a word or a sign begins.
    fn everywhere(text: &[u8]) -> Vec<Finding> {
        let mut finder = Finder::new(text);
        let Automata { numbers, long, words, .. } = &*AUTOMATA;
        let word = |at: usize| text[at].is_ascii_alphanumeric();
        automaton::caches(|caches| {
            for sites in Gate::new(text) {
                places(sites.start, sites.ats, |at| finder.found.extend(email::at(text, at)));
                let begins = |at: &usize| word(*at) && (*at == 0 || !word(at - 1)) || matches!(text[*at], b'+' | b'(');
                for at in (sites.start..text.len().min(sites.start + 64)).filter(begins) {
                    for (automaton, learnt) in
                        [(numbers, &mut caches.numbers), (long, &mut caches.long), (words, &mut caches.words)]
                    {
                        finder.walk(automaton, learnt, at);
                    }
                }
                places(sites.start, sites.tokens, |at| finder.token(at));
            }
        });
        best(finder.found)
    }

    fn same(text: &str) -> Result<(), TestCaseError> {
        let key = |findings: Vec<Finding>| {
            findings.into_iter().map(|finding| (finding.range.clone(), finding.entity)).collect::<Vec<_>>()
        };
        prop_assert_eq!(key(find(text.as_bytes())), key(everywhere(text.as_bytes())), "{}", text);
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]
        #[test]
        fn the_gates_lose_nothing(
            words in prop::collection::vec(prop::sample::select(vec![
                "SSN", "536-22-8726", "+44 20 7183 8750", "(857) 788-2923", "IBAN", "NL91ABNA0417164300", "jane@acme.io",
                "DEUTDEFF", "BIC:", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "PESEL", "44051401458", "SK 37 91 96 C",
                "NINO", "born on", "October 14, 1944", "passport no", "L5814836", "0x", "1Z5353009039948903", "v1.2.3",
                "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", "api_key =", "chiiihzhntxm9cu6dnkg", "4539 1488 0343 6467",
                "2600:fc5d:bd58:9d1e::b847", "9d:e8:cb:67:03:42", "VIN", "2T1KUSFN2HH378031", "身份证", "the", "of", "12",
            ]), 1..9),
            between in prop::sample::select(vec![" ", ", ", ": ", "\n", "\"", "; ", ""]),
        ) {
            same(&words.join(between))?;
        }

        #[test]
        fn the_gates_lose_nothing_of_any_text(text in "([ a-z,.:@_]{0,9}[0-9A-Z+(]{0,4}[-. 0-9A-Za-z/]{0,24}){1,6}") {
            same(&text)?;
        }
    }
}
