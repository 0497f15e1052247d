//! What is kept of the calls of one series in one window: counters, sums and sketches, all integers.

use std::collections::BTreeMap;

use crate::embedding::{Embeddings, Features};
use crate::event::{
    Brings, Call, ERROR_CLASSES, FINISH_REASONS, HEADLINE_OPERATIONS, Score, Status, TextState, Tokens,
};
use crate::hazard::{self, Hazard, Judged, Moderated, Moderator};
use crate::money::NanoDollars;
use crate::quality::{Quality, QualitySum};
use crate::scan::{Hits, Marker, Origin, Scanned};
use crate::sketch::Sketch;
use crate::table;
use crate::varint::{self, Corrupt, Reader};
use crate::words::{Of, Places, Words};

/// A weight of one call: its inverse sampling probability, in millionths.
pub const UNIT_WEIGHT: u64 = 1_000_000;
/// Score names beyond this many (that are not declared in the settings) are counted as `other`.
pub const MAX_SCORE_NAMES: usize = 32;
/// Written; version 1 (14 counters, nothing after the scores) is still read. Version 6 is 5 with finish reasons.
const VERSION: u8 = 6;
const SKETCHES_VERSION: u8 = 1;
/// With words, which version 1 has not: a pane without any stays what it was.
const WORDS_VERSION: u8 = 2;
/// With embeddings.
const EMBEDDINGS_VERSION: u8 = 3;
/// Tags of words, after those of sketches.
const FIRST_WORDS: u8 = 64;
/// Tag of an embedding space's name and features.
const SPACE: u8 = 128;
/// Raised labels beyond this many names are counted as `other`.
const MAX_FLAGS: usize = 64;
/// Moderation sources beyond this many are counted as `other`.
const MAX_MODERATORS: usize = 16;

/// What is counted; the discriminant is stored, so it never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Counter {
    Calls = 0,
    /// Status error or timeout.
    Errors = 1,
    Ok = 2,
    Error = 3,
    Timeout = 4,
    Cancelled = 5,
    Blocked = 6,
    Unknown = 7,
    /// No reported cost, and no price for the model.
    Unpriced = 8,
    /// Neither input nor output tokens known.
    NoTokens = 9,
    NoDuration = 10,
    Fallback = 11,
    Late = 12,
    CutLabels = 13,
    /// Answers whose text was scanned.
    Scanned = 14,
    Refused = 15,
    /// Answers with a value that none of their complete inputs explains.
    Leaking = 16,
    /// Calls with an upstream moderation label, raised or not.
    Moderated = 17,
    Raised = 18,
    ModerationBlocked = 19,
    /// Calls whose texts were examined for marks: of many calls a sample.
    Examined = 20,
    Refusal = 21,
    Jailbreak = 22,
    PromptLeak = 23,
    Invisible = 24,
    Homoglyph = 25,
    Exfiltration = 26,
    Encoded = 27,
    Repetition = 28,
    Truncation = 29,
    Escape = 30,
    PartialRefusal = 31,
    Instruction = 32,
    /// Calls with a value or a hazard that the policy calls severe.
    Severe = 33,
    /// Calls whose texts were withheld from the telemetry.
    TextRedacted = 34,
    /// Calls whose texts were cut before they came.
    TextTruncated = 35,
    /// A sum: values in answers that the policy counts as leaks.
    Leaks = 36,
    /// A sum: bytes of texts.
    BytesSeen = 37,
    /// A sum: those that were scanned.
    BytesScanned = 38,
    /// Calls whose telemetry itself holds a value.
    TelemetryHeld = 39,
}

impl Counter {
    /// What counts a mark.
    pub fn of(marker: Marker) -> Self {
        match marker {
            Marker::Refusal => Self::Refusal,
            Marker::Jailbreak => Self::Jailbreak,
            Marker::PromptLeak => Self::PromptLeak,
            Marker::Invisible => Self::Invisible,
            Marker::Homoglyph => Self::Homoglyph,
            Marker::Exfiltration => Self::Exfiltration,
            Marker::Encoded => Self::Encoded,
            Marker::Repetition => Self::Repetition,
            Marker::Truncation => Self::Truncation,
            Marker::Escape => Self::Escape,
            Marker::PartialRefusal => Self::PartialRefusal,
            Marker::Instruction => Self::Instruction,
        }
    }
}

/// Counters that every pane has room for; the others are rare, and kept where they are not zero.
const COUNTERS: usize = 20;
const LAST_COUNTER: u8 = Counter::TelemetryHeld as u8;
/// Calls by finish reason are counted from here on.
const FIRST_FINISH: u8 = 48;
const LAST_FINISH: u8 = FIRST_FINISH + FINISH_REASONS.len() as u8 - 1;
/// Calls by hazard are counted from here on.
const FIRST_HAZARD: u8 = 64;
const COUNTERS_V1: usize = 14;
const CLASSES: usize = ERROR_CLASSES.len();
const TOKEN_KINDS: usize = Tokens::NAMES.len();

/// Plain and weighted count: rates use the weighted one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    pub n: u64,
    /// Σ 1/sample_probability, in millionths.
    pub weight_micro: u64,
}

impl Count {
    /// So many, each for one.
    pub fn plain(n: u64) -> Self {
        Self { n, weight_micro: n.saturating_mul(UNIT_WEIGHT) }
    }

    fn add(&mut self, weight_micro: u64) {
        self.n += 1;
        self.weight_micro = self.weight_micro.saturating_add(weight_micro);
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.n += other.n;
        self.weight_micro = self.weight_micro.saturating_add(other.weight_micro);
    }

    /// What the weights are more than one each: zero where calls were not sampled.
    fn extra(&self) -> i128 {
        i128::from(self.weight_micro) - i128::from(self.n) * i128::from(UNIT_WEIGHT)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let n = reader.count()?;
        let extra = varint::unzigzag(reader.wide()?);
        if n == 0 {
            // Of nothing there is no weight.
            return Ok(Self::default());
        }
        let weight = (i128::from(n) * i128::from(UNIT_WEIGHT)).checked_add(extra).ok_or(Corrupt::Overflow)?;
        Ok(Self { n, weight_micro: u64::try_from(weight).map_err(|_| Corrupt::Overflow)? })
    }

    /// With so many more, of weight one.
    #[must_use]
    pub fn plus(mut self, n: u64) -> Self {
        self.merge(Self { n, weight_micro: n.saturating_mul(UNIT_WEIGHT) });
        self
    }

    pub fn weight(&self) -> f64 {
        self.weight_micro as f64 / UNIT_WEIGHT as f64
    }
}

/// Sums of one named inline score; values in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScoreSum {
    pub n: u64,
    /// Those whose value is summed: declared, and in range.
    pub valued: u64,
    pub sum_micro: i128,
    pub sum_squares_micro: u128,
}

impl ScoreSum {
    fn merge(&mut self, other: Self) {
        self.n += other.n;
        self.valued += other.valued;
        self.sum_micro = self.sum_micro.saturating_add(other.sum_micro);
        self.sum_squares_micro = self.sum_squares_micro.saturating_add(other.sum_squares_micro);
    }
}

/// Feedback of one name and source: a sum of signed deltas, so that a correction takes back what it corrects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LabelSum {
    pub n: i64,
    /// Those with a number or a yes or no.
    pub valued: i64,
    pub sum_micro: i128,
    pub sum_squares_micro: i128,
}

impl LabelSum {
    /// One label, `sign` = 1 to count it and -1 to take it back.
    pub fn of(micro: Option<i64>, sign: i64) -> Self {
        let value = i128::from(micro.unwrap_or(0));
        Self {
            n: sign,
            valued: if micro.is_some() { sign } else { 0 },
            sum_micro: value * i128::from(sign),
            sum_squares_micro: value * value / i128::from(UNIT_WEIGHT) * i128::from(sign),
        }
    }

    pub fn merge(&mut self, other: Self) {
        self.n += other.n;
        self.valued += other.valued;
        self.sum_micro = self.sum_micro.saturating_add(other.sum_micro);
        self.sum_squares_micro = self.sum_squares_micro.saturating_add(other.sum_squares_micro);
    }
}

/// Which distribution; the discriminant is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Shape {
    /// µs, calls that ended ok.
    DurationOk = 0,
    /// µs, calls that failed.
    DurationFailed = 1,
    TtftOk = 2,
    TtftFailed = 3,
    InputTokens = 4,
    OutputTokens = 5,
    /// Nano-dollars: reported, else computed.
    Cost = 6,
}

const SHAPES: usize = 7;

/// The numbers of one series in one window.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pane {
    counts: [Count; COUNTERS],
    /// Counters from [`COUNTERS`] on, in their order.
    rare: Vec<(u8, Count)>,
    classes: [Count; CLASSES],
    tokens: [u64; TOKEN_KINDS],
    /// Nano-dollars.
    pub reported_cost: i128,
    /// Nano-dollars.
    pub computed_cost: i128,
    /// Nano-dollars: reported, else computed.
    pub cost: i128,
    /// Σ weight², in millionths squared: Kish's effective number of calls needs it.
    weight_squares: u128,
    sketches: [Sketch; SHAPES],
    scores: BTreeMap<String, ScoreSum>,
    /// PII and secrets in answers.
    pub hits: Hits,
    /// Raised moderation labels by `source:category`.
    flags: BTreeMap<String, u64>,
    /// What each moderation source said, by `source@version`.
    moderators: BTreeMap<String, Moderator>,
    /// Qualities of texts that are not zero, in their order.
    qualities: Vec<(Quality, QualitySum)>,
    /// Feedback by `name/source`.
    labels: BTreeMap<String, LabelSum>,
    /// By [`Of`]; `None` where no words are counted.
    words: Option<Box<[Words; Of::ALL.len()]>>,
    /// By space.
    embeddings: BTreeMap<String, Embeddings>,
}

/// The numbers of one call, without a borrow from its message: what a buffer keeps until the flush.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Numbers {
    pub status: Status,
    /// Index into [`ERROR_CLASSES`].
    pub error_class: Option<u8>,
    /// Index into [`FINISH_REASONS`].
    pub finish: Option<u8>,
    pub fallback: bool,
    pub late: bool,
    pub cut_labels: bool,
    /// Whether the operation bears tokens and cost, so that a missing price is a gap.
    pub billable: bool,
    pub tokens: Tokens,
    pub duration_us: Option<u64>,
    pub ttft_us: Option<u64>,
    pub reported_cost: Option<NanoDollars>,
    /// By the price book, `None` where it has no price.
    pub computed_cost: Option<NanoDollars>,
    pub weight_micro: u64,
    /// Name and value in millionths; `None` where only the name is counted.
    pub scores: Vec<(Box<str>, Option<i64>)>,
    pub brings: Brings,
    /// Of the answer's text, where there was one.
    pub scanned: Option<Box<Scanned>>,
    pub moderated: Option<Box<Moderated>>,
    /// Withheld or cut texts.
    pub text_state: TextState,
    /// What was found beside the answer's text.
    pub beside: Option<Box<Beside>>,
    /// Space and features of its embedding.
    pub embedding: Option<Box<(Box<str>, Features)>>,
}

/// What a call tells beside its answer's text: it is counted with the call, whoever tells of the text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Beside {
    /// Values in attributes, labels and error texts.
    pub hits: Hits,
    /// The policy calls one of them, or a hazard, severe.
    pub severe: bool,
    /// In millionths.
    pub qualities: Vec<(Quality, u64)>,
    /// Words of the call's failure.
    pub words: Option<Places>,
}

impl Numbers {
    /// `sums` says whether a score name is declared: values of others are not summed.
    pub fn of(call: &Call<'_>, computed_cost: Option<NanoDollars>, late: bool, sums: impl Fn(&str) -> bool) -> Self {
        let score = |score: &Score<'_>| (score.name.into(), score.micro.filter(|_| sums(score.name)));
        Self {
            status: call.status,
            error_class: call.error_class,
            finish: table::foremost(&call.finish_reasons),
            fallback: call.fallback,
            late,
            cut_labels: call.cut_labels > 0,
            billable: HEADLINE_OPERATIONS.contains(&call.operation),
            tokens: call.tokens,
            duration_us: call.duration_us,
            ttft_us: call.ttft_us,
            reported_cost: call.cost,
            computed_cost,
            weight_micro: call.weight_micro,
            scores: call.scores.iter().map(score).collect(),
            brings: call.brings,
            scanned: None,
            moderated: moderated(call),
            text_state: call.text_state,
            beside: None,
            embedding: call.embedding.map(|(space, features)| Box::new((space.into(), features))),
        }
    }

    /// Fields that are known: of two records of one call, the fuller one is counted.
    pub fn known(&self) -> usize {
        let tokens = self.tokens.by_index().iter().flatten().count();
        let timings = [self.duration_us, self.ttft_us].iter().flatten().count();
        tokens
            + timings
            + usize::from(self.reported_cost.is_some())
            + usize::from(self.status != Status::Unknown)
            + usize::from(self.scanned.is_some())
            + usize::from(self.embedding.is_some())
            + usize::from(self.finish.is_some())
            + self.scores.len()
    }
}

impl Pane {
    /// Counts what `call.brings` says that it brings.
    pub fn add(&mut self, call: &Numbers) {
        if call.brings.call {
            self.add_call(call);
        }
        if call.brings.timing {
            self.add_timing(call);
        }
        if call.brings.text
            && let Some(scanned) = &call.scanned
        {
            self.add_scanned(scanned, call.weight_micro);
        }
    }

    fn add_call(&mut self, call: &Numbers) {
        let weight = call.weight_micro;
        self.count(Counter::Calls, weight);
        self.weight_squares = self.weight_squares.saturating_add(u128::from(weight) * u128::from(weight));
        self.count(status_counter(call.status), weight);
        let failed = call.status.failed();
        if failed {
            self.count(Counter::Errors, weight);
            let class = call.error_class.map_or(CLASSES - 1, usize::from).min(CLASSES - 1);
            self.classes[class].add(weight);
        }
        if let Some(finish) = call.finish.filter(|finish| usize::from(*finish) < FINISH_REASONS.len()) {
            self.rare(FIRST_FINISH + finish).add(weight);
        }
        for (sum, tokens) in self.tokens.iter_mut().zip(call.tokens.by_index()) {
            *sum = sum.saturating_add(tokens.unwrap_or(0));
        }
        for (shape, value) in [(Shape::InputTokens, call.tokens.input), (Shape::OutputTokens, call.tokens.output)] {
            if let Some(value) = value {
                self.sketches[shape as usize].push(value);
            }
        }
        self.add_cost(call);
        let flags = [
            (Counter::NoTokens, call.tokens.input.is_none() && call.tokens.output.is_none()),
            (Counter::NoDuration, call.duration_us.is_none()),
            (Counter::Fallback, call.fallback),
            (Counter::Late, call.late),
            (Counter::CutLabels, call.cut_labels),
            (Counter::TextRedacted, call.text_state == TextState::Redacted),
            (Counter::TextTruncated, call.text_state == TextState::Truncated),
        ];
        for (counter, _) in flags.into_iter().filter(|(_, set)| *set) {
            self.count(counter, weight);
        }
        for (name, micro) in &call.scores {
            self.score(name, *micro);
        }
        if let Some(moderated) = &call.moderated {
            self.add_moderated(moderated, weight);
        }
        if let Some(beside) = &call.beside {
            self.add_beside(beside, weight);
        }
        if let Some(embedding) = &call.embedding {
            let (space, features) = &**embedding;
            if let Some(known) = self.embeddings.get_mut(&**space) {
                known.add(features);
            } else {
                self.embeddings.entry(space.to_string()).or_default().add(features);
            }
        }
    }

    fn add_beside(&mut self, beside: &Beside, weight: u64) {
        if beside.severe {
            self.count(Counter::Severe, weight);
        }
        if beside.hits.of_origin(Origin::Telemetry) > 0 {
            self.count(Counter::TelemetryHeld, weight);
        }
        self.hits.merge(&beside.hits);
        self.add_qualities(&beside.qualities);
        if let Some(places) = &beside.words {
            self.words_mut(Of::Failure).add(places);
        }
    }

    fn add_qualities(&mut self, qualities: &[(Quality, u64)]) {
        for (quality, micro) in qualities {
            self.quality_slot(*quality).add(*micro);
        }
    }

    fn words_mut(&mut self, of: Of) -> &mut Words {
        &mut self.words.get_or_insert_default()[of as usize]
    }

    fn quality_slot(&mut self, quality: Quality) -> &mut QualitySum {
        let at = self.qualities.binary_search_by_key(&quality, |(known, _)| *known).unwrap_or_else(|at| {
            self.qualities.insert(at, (quality, QualitySum::default()));
            at
        });
        &mut self.qualities[at].1
    }

    /// Adds to a counter that is a sum.
    fn sum(&mut self, counter: Counter, n: u64) {
        if n > 0 {
            let slot = self.rare(counter as u8);
            *slot = slot.plus(n);
        }
    }

    fn add_timing(&mut self, call: &Numbers) {
        let pick = |ok, bad| if call.status.failed() { bad } else { ok };
        let values = [
            (pick(Shape::DurationOk, Shape::DurationFailed), call.duration_us),
            (pick(Shape::TtftOk, Shape::TtftFailed), call.ttft_us),
        ];
        for (shape, value) in values {
            if let Some(value) = value {
                self.sketches[shape as usize].push(value);
            }
        }
    }

    fn add_scanned(&mut self, scanned: &Scanned, weight: u64) {
        self.count(Counter::Scanned, weight);
        if scanned.refused {
            self.count(Counter::Refused, weight);
        }
        if scanned.leaks > 0 {
            self.count(Counter::Leaking, weight);
        }
        if scanned.severe {
            self.count(Counter::Severe, weight);
        }
        self.sum(Counter::Leaks, scanned.leaks);
        self.sum(Counter::BytesSeen, scanned.bytes.0);
        self.sum(Counter::BytesScanned, scanned.bytes.1);
        self.hits.merge(&scanned.hits);
        self.add_qualities(&scanned.qualities);
        for (of, places) in [Of::Input, Of::Output].into_iter().zip(scanned.words.iter().flat_map(|words| words.iter()))
        {
            if let Some(places) = places {
                self.words_mut(of).add(places);
            }
        }
        if let Some(marks) = scanned.marks {
            self.count(Counter::Examined, weight);
            for marker in Marker::ALL.into_iter().filter(|marker| marks & marker.bit() != 0) {
                self.count(Counter::of(marker), weight);
            }
        }
    }

    fn add_moderated(&mut self, moderated: &Moderated, weight: u64) {
        self.count(Counter::Moderated, weight);
        if moderated.blocked() {
            self.count(Counter::ModerationBlocked, weight);
        }
        let hazards = moderated.hazards();
        for hazard in Hazard::ALL.into_iter().filter(|hazard| hazards & hazard.bit() != 0) {
            self.rare(FIRST_HAZARD + hazard as u8).add(weight);
        }
        for judged in &moderated.judged {
            self.add_judged(judged);
        }
        if moderated.raised() {
            self.count(Counter::Raised, weight);
        }
        for name in &moderated.raised {
            *slot(&mut self.flags, name, MAX_FLAGS) += 1;
        }
    }

    fn add_judged(&mut self, judged: &Judged) {
        let slot = slot(&mut self.moderators, &judged.source, MAX_MODERATORS);
        slot.calls += 1;
        slot.flagged += u64::from(judged.flagged);
        slot.blocked += u64::from(judged.blocked);
        for hazard in Hazard::ALL.into_iter().filter(|hazard| judged.hazards & !judged.allowed & hazard.bit() != 0) {
            slot.hazards[hazard as usize] += 1;
        }
    }

    /// Adds or takes back one label of feedback. The caller bounds the names: what adds and what takes back must agree.
    pub fn label(&mut self, name: &str, source: &str, sum: LabelSum) {
        self.labels.entry(format!("{name}/{source}")).or_default().merge(sum);
    }

    fn add_cost(&mut self, call: &Numbers) {
        self.reported_cost += i128::from(call.reported_cost.unwrap_or(0));
        self.computed_cost += i128::from(call.computed_cost.unwrap_or(0));
        match call.reported_cost.or(call.computed_cost) {
            Some(cost) => {
                self.cost += i128::from(cost);
                self.sketches[Shape::Cost as usize].push(cost.max(0).unsigned_abs());
            }
            None if call.billable => self.count(Counter::Unpriced, call.weight_micro),
            None => {}
        }
    }

    fn score(&mut self, name: &str, micro: Option<i64>) {
        let name = if self.scores.contains_key(name) || self.scores.len() < MAX_SCORE_NAMES { name } else { "other" };
        if !self.scores.contains_key(name) {
            self.scores.insert(name.to_owned(), ScoreSum::default());
        }
        let Some(sum) = self.scores.get_mut(name) else { return };
        sum.n += 1;
        if let Some(micro) = micro {
            sum.valued += 1;
            sum.sum_micro += i128::from(micro);
            sum.sum_squares_micro += u128::from(micro.unsigned_abs()).pow(2) / u128::from(UNIT_WEIGHT);
        }
    }

    fn count(&mut self, counter: Counter, weight: u64) {
        match self.counts.get_mut(counter as usize) {
            Some(count) => count.add(weight),
            None => self.rare(counter as u8).add(weight),
        }
    }

    /// A rare counter's place, made where there is none.
    fn rare(&mut self, counter: u8) -> &mut Count {
        let at = self.rare.binary_search_by_key(&counter, |(known, _)| *known).unwrap_or_else(|at| {
            self.rare.insert(at, (counter, Count::default()));
            at
        });
        &mut self.rare[at].1
    }

    pub fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(mine, theirs)| mine.merge(theirs));
        for (counter, theirs) in &other.rare {
            self.rare(*counter).merge(*theirs);
        }
        self.classes.iter_mut().zip(other.classes).for_each(|(mine, theirs)| mine.merge(theirs));
        self.tokens.iter_mut().zip(other.tokens).for_each(|(mine, theirs)| *mine = mine.saturating_add(theirs));
        self.reported_cost = self.reported_cost.saturating_add(other.reported_cost);
        self.computed_cost = self.computed_cost.saturating_add(other.computed_cost);
        self.cost = self.cost.saturating_add(other.cost);
        self.weight_squares = self.weight_squares.saturating_add(other.weight_squares);
        self.sketches.iter_mut().zip(&other.sketches).for_each(|(mine, theirs)| mine.merge(theirs));
        for (name, theirs) in &other.scores {
            self.scores.entry(name.clone()).or_default().merge(*theirs);
        }
        self.hits.merge(&other.hits);
        for (name, theirs) in &other.flags {
            *slot(&mut self.flags, name, MAX_FLAGS) += theirs;
        }
        for (name, theirs) in &other.moderators {
            slot(&mut self.moderators, name, MAX_MODERATORS).merge(theirs);
        }
        for (quality, theirs) in &other.qualities {
            self.quality_slot(*quality).merge(*theirs);
        }
        for (name, theirs) in &other.labels {
            self.labels.entry(name.clone()).or_default().merge(*theirs);
        }
        for (of, theirs) in Of::ALL.into_iter().zip(other.words.iter().flat_map(|words| words.iter())) {
            if theirs.texts() > 0 {
                self.words_mut(of).merge(theirs);
            }
        }
        for (space, theirs) in &other.embeddings {
            self.embeddings.entry(space.clone()).or_default().merge(theirs);
        }
    }

    pub fn get(&self, counter: Counter) -> Count {
        self.counts.get(counter as usize).copied().unwrap_or_else(|| self.get_rare(counter as u8))
    }

    fn get_rare(&self, counter: u8) -> Count {
        self.rare.iter().find(|(known, _)| *known == counter).map(|(_, count)| *count).unwrap_or_default()
    }

    /// Calls in which any source raised a hazard.
    pub fn hazard(&self, hazard: Hazard) -> Count {
        self.get_rare(FIRST_HAZARD + hazard as u8)
    }

    /// What each moderation source said, by `source` or `source@version`.
    pub fn moderators(&self) -> &BTreeMap<String, Moderator> {
        &self.moderators
    }

    pub fn quality(&self, quality: Quality) -> QualitySum {
        self.qualities.iter().find(|(known, _)| *known == quality).map(|(_, sum)| *sum).unwrap_or_default()
    }

    /// Bytes that words and embeddings take.
    pub fn size_of_texts(&self) -> usize {
        let words =
            self.words.as_ref().map(|words| size_of_val(&**words) + words.iter().map(Words::size).sum::<usize>());
        let space = |(name, of): (&String, &Embeddings)| name.len() + of.size() + size_of::<Embeddings>() + 64;
        words.unwrap_or(0) + self.embeddings.iter().map(space).sum::<usize>()
    }

    /// Words of what was asked, answered or failed; `None` where none are counted.
    pub fn words(&self, of: Of) -> Option<&Words> {
        self.words.as_ref().map(|words| &words[of as usize]).filter(|words| words.texts() > 0)
    }

    /// By space.
    pub fn embeddings(&self) -> &BTreeMap<String, Embeddings> {
        &self.embeddings
    }

    pub fn calls(&self) -> u64 {
        self.counts[Counter::Calls as usize].n
    }

    /// Calls that ended for a reason, by its place in [`FINISH_REASONS`].
    pub fn finish(&self, index: u8) -> Count {
        FINISH_REASONS.get(usize::from(index)).map(|_| self.get_rare(FIRST_FINISH + index)).unwrap_or_default()
    }

    pub fn class(&self, index: usize) -> Count {
        self.classes.get(index).copied().unwrap_or_default()
    }

    /// The sum of one kind of tokens, by its place in [`Tokens::NAMES`].
    pub fn token_sum(&self, index: usize) -> u64 {
        self.tokens.get(index).copied().unwrap_or(0)
    }

    pub fn sketch(&self, shape: Shape) -> &Sketch {
        &self.sketches[shape as usize]
    }

    pub fn scores(&self) -> &BTreeMap<String, ScoreSum> {
        &self.scores
    }

    pub fn flags(&self) -> &BTreeMap<String, u64> {
        &self.flags
    }

    pub fn labels(&self) -> &BTreeMap<String, LabelSum> {
        &self.labels
    }

    /// Feedback of one name from people and code; what a model judged is never mixed in.
    pub fn outcome(&self, name: &str) -> LabelSum {
        let mut sum = LabelSum::default();
        for (key, theirs) in &self.labels {
            if key
                .rsplit_once('/')
                .is_some_and(|(named, source)| named == name && matches!(source, "human" | "user" | "code"))
            {
                sum.merge(*theirs);
            }
        }
        sum
    }

    /// Kish's effective number of calls, (Σw)² / Σw²; equals the plain number when all were sampled alike.
    pub fn effective_calls(&self) -> f64 {
        if self.weight_squares == 0 {
            return 0.0;
        }
        let sum = self.counts[Counter::Calls as usize].weight_micro as f64;
        sum * sum / self.weight_squares as f64
    }

    /// Everything but the sketches.
    pub fn encode_counts(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        let counts = self.counts.iter().chain(&self.classes);
        for (tag, count) in counts.enumerate().filter(|(_, count)| count.n > 0) {
            varint::write(&mut out, tag as u128 + 1);
            varint::write(&mut out, count.n.into());
            varint::write(&mut out, varint::zigzag(count.extra()));
        }
        varint::write(&mut out, 0);
        for sum in self.tokens {
            varint::write(&mut out, sum.into());
        }
        for money in [self.reported_cost, self.computed_cost, self.cost] {
            varint::write(&mut out, varint::zigzag(money));
        }
        varint::write(&mut out, self.weight_squares);
        varint::write(&mut out, self.scores.len() as u128);
        for (name, sum) in &self.scores {
            varint::write_text(&mut out, name);
            varint::write(&mut out, sum.n.into());
            varint::write(&mut out, sum.valued.into());
            varint::write(&mut out, varint::zigzag(sum.sum_micro));
            varint::write(&mut out, sum.sum_squares_micro);
        }
        let hits: Vec<(usize, u64)> = self.hits.entries().collect();
        varint::write(&mut out, hits.len() as u128);
        for (place, n) in hits {
            varint::write(&mut out, place as u128);
            varint::write(&mut out, n.into());
        }
        varint::write(&mut out, self.flags.len() as u128);
        for (name, n) in &self.flags {
            varint::write_text(&mut out, name);
            varint::write(&mut out, (*n).into());
        }
        self.encode_rare(&mut out);
        varint::write(&mut out, self.labels.len() as u128);
        for (name, sum) in &self.labels {
            varint::write_text(&mut out, name);
            for value in [sum.n.into(), sum.valued.into(), sum.sum_micro, sum.sum_squares_micro] {
                varint::write(&mut out, varint::zigzag(value));
            }
        }
        out
    }

    /// What most panes have little of: rare counters, qualities, moderation sources.
    fn encode_rare(&self, out: &mut Vec<u8>) {
        let rare: Vec<&(u8, Count)> = self.rare.iter().filter(|(_, count)| count.n > 0).collect();
        varint::write(out, rare.len() as u128);
        for (counter, count) in rare {
            varint::write(out, (*counter).into());
            varint::write(out, count.n.into());
            varint::write(out, varint::zigzag(count.extra()));
        }
        varint::write(out, self.qualities.len() as u128);
        for (quality, sum) in &self.qualities {
            varint::write(out, *quality as u128);
            varint::write(out, sum.n.into());
            varint::write(out, sum.sum_micro);
            varint::write(out, sum.sum_squares_micro);
        }
        varint::write(out, self.moderators.len() as u128);
        for (name, said) in &self.moderators {
            varint::write_text(out, name);
            let counts = [said.calls, said.flagged, said.blocked].into_iter().chain(said.hazards);
            counts.for_each(|n| varint::write(out, n.into()));
        }
    }

    pub fn encode_sketches(&self) -> Vec<u8> {
        let words = || Of::ALL.into_iter().filter_map(|of| Some((of, self.words(of)?)));
        let version = match (self.embeddings.is_empty(), words().next()) {
            (false, _) => EMBEDDINGS_VERSION,
            (true, Some(_)) => WORDS_VERSION,
            (true, None) => SKETCHES_VERSION,
        };
        let mut out = vec![version];
        for (tag, sketch) in self.sketches.iter().enumerate().filter(|(_, sketch)| sketch.n() > 0) {
            out.push(tag as u8);
            sketch.encode(&mut out);
        }
        for (of, words) in words() {
            out.push(FIRST_WORDS + of as u8);
            words.encode(&mut out);
        }
        for (space, embeddings) in &self.embeddings {
            out.push(SPACE);
            varint::write_text(&mut out, space);
            embeddings.encode(&mut out);
        }
        out
    }

    pub fn decode(counts: &[u8], sketches: &[u8]) -> Result<Self, Corrupt> {
        let mut pane = Self::default();
        let mut reader = Reader(counts);
        let version = reader.version(VERSION)?;
        pane.decode_counts(&mut reader, if version == 1 { COUNTERS_V1 } else { COUNTERS })?;
        if version > 1 {
            pane.decode_findings(&mut reader, version)?;
        }
        let mut reader = Reader(sketches);
        let version = reader.version(EMBEDDINGS_VERSION)?;
        while !reader.done() {
            let tag = usize::from(reader.bytes(1)?[0]);
            let of = tag.checked_sub(FIRST_WORDS.into()).and_then(|of| Of::ALL.get(of));
            if let Some(of) = of.filter(|_| version >= WORDS_VERSION) {
                let words = Words::decode(&mut reader)?;
                if words.texts() > 0 {
                    *pane.words_mut(*of) = words;
                }
                continue;
            }
            if tag == usize::from(SPACE) && version >= EMBEDDINGS_VERSION {
                let space = reader.text()?.to_owned();
                let embeddings = Embeddings::decode(&mut reader)?;
                if embeddings.n() > 0 {
                    pane.embeddings.entry(space).or_default().merge(&embeddings);
                }
                continue;
            }
            let sketch = Sketch::decode(&mut reader)?;
            let slot = pane.sketches.get_mut(tag).ok_or(Corrupt::Tag(tag as u64))?;
            // One of nothing says nothing, whatever else it says.
            if sketch.n() > 0 {
                *slot = sketch;
            }
        }
        Ok(pane)
    }

    /// `counters` is how many the version had: classes of errors follow them.
    fn decode_counts(&mut self, reader: &mut Reader<'_>, counters: usize) -> Result<(), Corrupt> {
        loop {
            let tag = reader.number()?;
            if tag == 0 {
                break;
            }
            let index = tag as usize - 1;
            let count = Count::read(reader)?;
            let slot =
                if index < counters { self.counts.get_mut(index) } else { self.classes.get_mut(index - counters) };
            *slot.ok_or(Corrupt::Tag(tag))? = count;
        }
        for sum in &mut self.tokens {
            *sum = reader.number()?;
        }
        self.reported_cost = varint::unzigzag(reader.wide()?);
        self.computed_cost = varint::unzigzag(reader.wide()?);
        self.cost = varint::unzigzag(reader.wide()?);
        self.weight_squares = reader.wide()?;
        for _ in 0..reader.number()? {
            let name = reader.text()?.to_owned();
            let n = reader.count()?;
            // Version 1 did not tell them apart.
            let valued = if counters == COUNTERS_V1 { n } else { reader.count()? };
            let sum_micro = varint::unzigzag(reader.wide()?);
            let sum_squares_micro = reader.wide()?;
            self.scores.insert(name, ScoreSum { n, valued, sum_micro, sum_squares_micro });
        }
        Ok(())
    }

    fn decode_findings(&mut self, reader: &mut Reader<'_>, version: u8) -> Result<(), Corrupt> {
        for _ in 0..reader.number()? {
            let place = reader.number()?;
            let n = reader.count()?;
            let known =
                if version > 3 { self.hits.set(place as usize, n) } else { self.hits.set_old(place as usize, n) };
            if !known {
                return Err(Corrupt::Tag(place));
            }
        }
        for _ in 0..reader.number()? {
            let name = reader.text()?.to_owned();
            self.flags.insert(name, reader.count()?);
        }
        // Version 2 had no rare counters.
        for _ in 0..if version > 2 { reader.number()? } else { 0 } {
            let counter = reader.number()?;
            const LAST_HAZARD: u8 = FIRST_HAZARD + Hazard::ALL.len() as u8 - 1;
            let known = u8::try_from(counter).ok().filter(
                |known| matches!(known, 20..=LAST_COUNTER | FIRST_FINISH..=LAST_FINISH | FIRST_HAZARD..=LAST_HAZARD),
            );
            let (known, count) = (known.ok_or(Corrupt::Tag(counter))?, Count::read(reader)?);
            if count.n > 0 {
                *self.rare(known) = count;
            }
        }
        if version > 3 {
            self.decode_qualities(reader)?;
            self.decode_moderators(reader)?;
        } else {
            // Every unexplained value was a leak before there were policies.
            self.sum(Counter::Leaks, self.hits.of_origin(Origin::Unexplained));
        }
        for _ in 0..reader.number()? {
            let name = reader.text()?.to_owned();
            let mut signed = || Ok(varint::unzigzag(reader.wide()?));
            let (n, valued, sum_micro, sum_squares_micro) = (signed()?, signed()?, signed()?, signed()?);
            let small = |value: i128| {
                let value = i64::try_from(value).map_err(|_| Corrupt::Overflow)?;
                varint::counted(value.unsigned_abs()).map(|_| value)
            };
            let sum = LabelSum { n: small(n)?, valued: small(valued)?, sum_micro, sum_squares_micro };
            self.labels.insert(name, sum);
        }
        Ok(())
    }

    fn decode_qualities(&mut self, reader: &mut Reader<'_>) -> Result<(), Corrupt> {
        for _ in 0..reader.number()? {
            let place = reader.number()?;
            let quality = Quality::ALL.get(usize::try_from(place).unwrap_or(usize::MAX));
            let sum = QualitySum { n: reader.count()?, sum_micro: reader.wide()?, sum_squares_micro: reader.wide()? };
            *self.quality_slot(*quality.ok_or(Corrupt::Tag(place))?) = sum;
        }
        Ok(())
    }

    fn decode_moderators(&mut self, reader: &mut Reader<'_>) -> Result<(), Corrupt> {
        for _ in 0..reader.number()? {
            let name = reader.text()?.to_owned();
            let mut said = Moderator {
                calls: reader.count()?,
                flagged: reader.count()?,
                blocked: reader.count()?,
                ..Moderator::default()
            };
            for n in &mut said.hazards {
                *n = reader.count()?;
            }
            self.moderators.insert(name, said);
        }
        Ok(())
    }

    /// Heap and inline bytes, for the memory bound.
    pub fn size(&self) -> usize {
        let sketches: usize = self.sketches.iter().map(|sketch| sketch.size() - size_of::<Sketch>()).sum();
        let scores: usize = self.scores.keys().map(|name| name.len() + size_of::<ScoreSum>() + 64).sum();
        let flags: usize = self.flags.keys().map(|name| name.len() + 64).sum();
        let labels: usize = self.labels.keys().map(|name| name.len() + size_of::<LabelSum>() + 64).sum();
        let moderators: usize = self.moderators.keys().map(|name| name.len() + size_of::<Moderator>() + 64).sum();
        let rare = self.rare.capacity() * size_of::<(u8, Count)>();
        let qualities = self.qualities.capacity() * size_of::<(Quality, QualitySum)>();
        let names = scores + flags + labels + moderators;
        size_of::<Self>() + sketches + names + rare + qualities + self.hits.bytes() + self.size_of_texts()
    }
}

/// The slot of a name in a bounded map: names beyond the bound share `other`.
fn slot<'m, T: Default>(map: &'m mut BTreeMap<String, T>, name: &str, most: usize) -> &'m mut T {
    let name = if map.contains_key(name) || map.len() < most { name } else { "other" };
    map.entry(name.to_owned()).or_default()
}

fn moderated(call: &Call<'_>) -> Option<Box<Moderated>> {
    if call.moderation.is_empty() {
        return None;
    }
    let raised = call.moderation.iter().filter(|label| label.raised || label.blocked);
    let raised = raised.map(|label| format!("{}:{}", label.source, label.category).into()).collect();
    let mut judged: Vec<Judged> = Vec::new();
    for label in &call.moderation {
        let name = if label.version.is_empty() {
            label.source.to_owned()
        } else {
            format!("{}@{}", label.source, label.version)
        };
        let at = judged.iter().position(|judged| *judged.source == *name).unwrap_or_else(|| {
            judged.push(Judged { source: name.into(), flagged: false, blocked: false, hazards: 0, allowed: 0 });
            judged.len() - 1
        });
        let flagged = label.raised || label.blocked;
        judged[at].flagged |= flagged;
        judged[at].blocked |= label.blocked;
        judged[at].hazards |= if flagged { hazard::of(label.source, label.category) } else { 0 };
    }
    Some(Box::new(Moderated { raised, judged }))
}

fn status_counter(status: Status) -> Counter {
    match status {
        Status::Ok => Counter::Ok,
        Status::Error => Counter::Error,
        Status::Timeout => Counter::Timeout,
        Status::Cancelled => Counter::Cancelled,
        Status::Blocked => Counter::Blocked,
        Status::Unknown => Counter::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Moderation;
    use crate::scan::Entity;
    use proptest::prelude::*;

    fn pane(durations: &[u32]) -> Pane {
        let mut pane = Pane::default();
        for (i, &duration) in durations.iter().enumerate() {
            let status = if duration % 5 == 0 { Status::Timeout } else { Status::Ok };
            let tokens = Tokens { input: Some(duration.into()), ..Tokens::default() };
            let scores = vec![("grounded".into(), Some(i64::from(duration) - 500))];
            pane.add(&Numbers {
                billable: true,
                status,
                tokens,
                scores,
                duration_us: (i % 3 > 0).then_some(duration.into()),
                weight_micro: UNIT_WEIGHT * (1 + u64::from(duration) % 3),
                computed_cost: (duration % 2 == 0).then_some(7),
                ..Numbers::default()
            });
        }
        pane
    }

    #[test]
    fn forged_counts_are_corrupt_and_the_largest_ones_still_add_up() {
        let forged = |n: u128| {
            let mut counts = vec![VERSION, 1];
            [n, 0, 0].iter().for_each(|number| varint::write(&mut counts, *number));
            [u64::MAX; TOKEN_KINDS].iter().for_each(|sum| varint::write(&mut counts, u128::from(*sum)));
            [u128::MAX; 4].iter().for_each(|sum| varint::write(&mut counts, *sum));
            counts.extend([0; 7]);
            // One value in each of two buckets: version and length, sum, least, spread, then bucket and count.
            let mut sketches = vec![SKETCHES_VERSION, 0, 1, 2];
            [u128::MAX, 1, 1, 1, n / 2, 1, n / 2].iter().for_each(|number| varint::write(&mut sketches, *number));
            Pane::decode(&counts, &[SKETCHES_VERSION]).and(Pane::decode(&counts, &sketches))
        };
        let mut most = forged((1 << 44) - 1).unwrap();
        let other = most.clone();
        (0..100).for_each(|_| most.merge(&other));
        assert_eq!(most.calls(), 101 * ((1 << 44) - 1));
        for n in [1 << 48, 1 << 63, u128::from(u64::MAX)] {
            assert_eq!(forged(n).unwrap_err(), Corrupt::Overflow, "{n}");
        }
        let sketch = |count: u128| {
            let mut sketches = vec![SKETCHES_VERSION, 0, 1, 2];
            [1, 1, 1, 1, count, 1, count].iter().for_each(|number| varint::write(&mut sketches, *number));
            Pane::decode(&pane(&[1]).encode_counts(), &sketches)
        };
        assert!(sketch((1 << 47) - 1).is_ok());
        assert_eq!(sketch(1 << 47).unwrap_err(), Corrupt::Overflow, "together too many");
    }

    fn bytes(pane: &Pane) -> (Vec<u8>, Vec<u8>) {
        (pane.encode_counts(), pane.encode_sketches())
    }

    #[test]
    fn a_pane_without_rare_counters_is_read_as_it_was_written() {
        let pane = pane(&[1, 2]);
        let (mut counts, sketches) = bytes(&pane);
        assert_eq!((counts[0], counts[counts.len() - 4..].to_vec()), (VERSION, vec![0; 4]), "all lists are empty");
        counts.truncate(counts.len() - 3);
        counts[0] = 2;
        assert_eq!(Pane::decode(&counts, &sketches), Ok(pane));
    }

    #[test]
    fn counts_know_errors_prices_and_weights() {
        let pane = pane(&[1, 2, 5, 10]);
        assert_eq!(pane.calls(), 4);
        assert_eq!(pane.get(Counter::Errors).n, 2);
        assert_eq!(pane.class(8).n, 2, "errors without a class are `other`");
        assert_eq!(pane.get(Counter::Unpriced).n, 2);
        assert_eq!(pane.cost, 14);
        assert_eq!(pane.get(Counter::Calls).weight_micro, 10 * UNIT_WEIGHT);
        assert!((pane.effective_calls() - 100.0 / 26.0).abs() < 1e-9);
        assert_eq!(pane.scores()["grounded"].sum_micro, 18 - 2000);
    }

    #[test]
    fn stored_panes_of_version_one_stay_readable() {
        let counts =
            [1, 1, 1, 0, 3, 1, 0, 15, 2, 0, 0, 7, 2, 0, 0, 0, 0, 0, 0, 0, 0, 10, 128, 160, 148, 165, 141, 29, 0];
        let sketches = [1, 0, 1, 1, 100, 100, 0, 100, 1];
        let pane = Pane::decode(&counts, &sketches).unwrap();
        assert_eq!((pane.calls(), pane.class(0).n, pane.token_sum(0), pane.cost), (1, 2, 7, 5));
        assert_eq!(pane.sketch(Shape::DurationOk).max(), Some(100));
        assert_eq!(bytes(&pane).1, sketches.to_vec());
        let (counts, sketches) = bytes(&pane);
        assert_eq!(Pane::decode(&counts, &sketches).unwrap(), pane);
    }

    #[test]
    fn parts_of_a_call_add_up_to_the_whole() {
        let mut hits = Hits::default();
        hits.add(Entity::Card, Origin::Unexplained, 2);
        let whole = Numbers {
            status: Status::Ok,
            duration_us: Some(7),
            weight_micro: UNIT_WEIGHT,
            scanned: Some(Box::new(Scanned {
                hits,
                refused: true,
                leaks: 2,
                marks: Some(Marker::Encoded.bit() | Marker::Escape.bit()),
                qualities: vec![(Quality::Length, 5_000_000)],
                bytes: (7, 6),
                ..Scanned::default()
            })),
            moderated: moderated(&Call {
                moderation: vec![
                    Moderation { source: "openai", version: "2", category: "hate", raised: true, blocked: false },
                    Moderation { source: "azure", version: "", category: "sexual", raised: false, blocked: false },
                ],
                ..Call::default()
            }),
            text_state: TextState::Redacted,
            beside: Some(Box::new(Beside { qualities: vec![(Quality::Empty, 0)], ..Beside::default() })),
            ..Numbers::default()
        };
        let mut expected = Pane::default();
        expected.add(&whole);
        let none = Brings { call: false, timing: false, text: false, whole: false };
        let mut sum = Pane::default();
        for brings in [Brings { text: true, ..none }, Brings { call: true, ..none }, Brings { timing: true, ..none }] {
            sum.add(&Numbers { brings, ..whole.clone() });
        }
        assert_eq!(sum, expected);
        assert_eq!(
            [Counter::Examined, Counter::Encoded, Counter::Escape, Counter::Jailbreak].map(|of| sum.get(of).n),
            [1, 1, 1, 0]
        );
        assert_eq!((sum.get(Counter::Leaking).n, sum.hits.get(Entity::Card, Origin::Unexplained)), (1, 2));
        assert_eq!(sum.flags()["openai:hate"], 1);
        let said = |name: &str| (sum.moderators()[name].calls, sum.moderators()[name].flagged);
        assert_eq!((said("openai@2"), said("azure"), sum.hazard(Hazard::Hate).n), ((1, 1), (1, 0), 1));
        assert_eq!([Counter::Leaks, Counter::BytesSeen, Counter::BytesScanned].map(|of| sum.get(of).n), [2, 7, 6]);
        assert_eq!([Counter::TextRedacted, Counter::TextTruncated].map(|of| sum.get(of).n), [1, 0]);
        assert_eq!((sum.quality(Quality::Length).sum_micro, sum.quality(Quality::Empty).n), (5_000_000, 1));
        let (counts, sketches) = bytes(&sum);
        assert_eq!(Pane::decode(&counts, &sketches).unwrap(), sum, "all of it is stored");
    }

    #[test]
    fn written_zeros_are_read_as_nothing() {
        let (mut counts, sketches) = bytes(&Pane::default());
        // Hits, flags, rare counters, qualities, moderators, labels: one hit and one rare counter of none.
        counts.truncate(counts.len() - 6);
        counts.extend([1, 0, 0, 0, 1, Counter::Severe as u8, 0, 0, 0, 0, 0]);
        assert_eq!(Pane::decode(&counts, &sketches), Ok(Pane::default()));
    }

    #[test]
    fn hits_and_leaks_of_version_3_are_read() {
        let mut pane = Pane::default();
        pane.hits.add(Entity::Phone, Origin::Unexplained, 4);
        let (mut counts, sketches) = bytes(&pane);
        // Version 4 has two lists more before the labels, and another place for each hit.
        counts[0] = 3;
        let place = counts.iter().rposition(|byte| *byte == 4).unwrap() - 1;
        assert_eq!(counts[place], Entity::Phone as u8 * 16 + Origin::Unexplained as u8);
        counts[place] = Entity::Phone as u8 * 5 + Origin::Unexplained as u8;
        counts.truncate(counts.len() - 2);
        let mut forged = counts.clone();
        forged.splice(place..=place, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
        assert!(matches!(Pane::decode(&forged, &sketches), Err(Corrupt::Tag(_))));
        let read = Pane::decode(&counts, &sketches).unwrap();
        assert_eq!((read.hits.get(Entity::Phone, Origin::Unexplained), read.get(Counter::Leaks).n), (4, 4));
    }

    #[test]
    fn panes_of_version_4_are_read_and_what_was_compared_survives() {
        let mut pane = Pane::default();
        pane.hits.add(Entity::Phone, Origin::CrossTenant, 4);
        let (mut counts, sketches) = bytes(&pane);
        counts[0] = 4;
        assert_eq!(Pane::decode(&counts, &sketches), Ok(pane.clone()));
        pane.hits.compare(Entity::Phone, true, 0.25);
        let (counts, sketches) = bytes(&pane);
        let read = Pane::decode(&counts, &sketches).unwrap();
        assert_eq!(read, pane);
        let told: Vec<_> = read.hits.values().collect();
        assert_eq!(told, [(Entity::Phone, Origin::CrossTenant, 4)], "what was compared is no hit");
    }

    #[test]
    fn a_corrected_label_leaves_no_trace_of_the_old_one() {
        let mut pane = Pane::default();
        pane.label("success", "human", LabelSum::of(Some(1_000_000), 1));
        let mut delta = Pane::default();
        delta.label("success", "human", LabelSum::of(Some(1_000_000), -1));
        delta.label("success", "human", LabelSum::of(Some(0), 1));
        delta.label("success", "model", LabelSum::of(Some(1_000_000), 1));
        let (counts, sketches) = bytes(&delta);
        pane.merge(&Pane::decode(&counts, &sketches).unwrap());
        assert_eq!(pane.outcome("success"), LabelSum::of(Some(0), 1));
    }

    #[test]
    fn score_names_are_bounded() {
        let mut pane = Pane::default();
        for i in 0..100 {
            pane.score(&format!("s{i}"), None);
        }
        assert_eq!(pane.scores().len(), MAX_SCORE_NAMES + 1);
        assert_eq!(pane.scores()["other"].n, 100 - MAX_SCORE_NAMES as u64);
    }

    proptest! {
        #[test]
        fn merging_is_exact_in_any_order(a in prop::collection::vec(0u32..9999, 0..40), b in prop::collection::vec(0u32..9999, 0..40)) {
            let (pa, pb) = (pane(&a), pane(&b));
            let (mut left, mut right) = (pa.clone(), pb.clone());
            left.merge(&pb);
            right.merge(&pa);
            prop_assert_eq!(bytes(&left), bytes(&right));
            let (counts, sketches) = bytes(&left);
            prop_assert_eq!(Pane::decode(&counts, &sketches).unwrap(), left);
        }

        #[test]
        fn random_bytes_never_panic(a in prop::collection::vec(any::<u8>(), 0..64), b in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Pane::decode(&a, &b);
        }
    }

    #[test]
    fn words_are_kept_beside_sketches_and_a_pane_without_any_is_what_it_was() {
        let places = |places: &[u16]| places.iter().copied().collect::<Places>();
        let call = |words: Option<[Option<Places>; 2]>, failure: Option<Places>| Numbers {
            brings: Brings { call: true, text: true, ..Brings::default() },
            scanned: Some(Box::new(Scanned { words: words.map(Box::new), ..Scanned::default() })),
            beside: Some(Box::new(Beside { words: failure, ..Beside::default() })),
            ..Numbers::default()
        };
        let (mut pane, mut plain) = (Pane::default(), Pane::default());
        pane.add(&call(Some([Some(places(&[3, 1])), None]), Some(places(&[7]))));
        pane.add(&call(Some([Some(places(&[3])), Some(places(&[]))]), None));
        plain.add(&call(None, None));
        let texts = |pane: &Pane| Of::ALL.map(|of| pane.words(of).map_or(0, Words::texts));
        assert_eq!((texts(&pane), texts(&plain)), ([2, 1, 1], [0, 0, 0]));
        assert_eq!(pane.words(Of::Input).map(|words| (words.of(3), words.of(1))), Some((2, 1)));
        let (counts, sketches) = (pane.encode_counts(), pane.encode_sketches());
        assert_eq!(Pane::decode(&counts, &sketches), Ok(pane.clone()));
        assert_eq!((sketches[0], plain.encode_sketches()), (WORDS_VERSION, vec![SKETCHES_VERSION]));
        // Version 1 had no words.
        let old: Vec<u8> = std::iter::once(SKETCHES_VERSION).chain(sketches[1..].iter().copied()).collect();
        assert!(Pane::decode(&counts, &old).is_err());
        let mut both = plain.clone();
        both.merge(&pane);
        assert_eq!((texts(&both), both.size_of_texts() > 0), ([2, 1, 1], true));
    }

    #[test]
    fn embeddings_are_kept_by_space_and_no_vector_is() {
        let call = |space: &str, vector: &[f32]| Numbers {
            embedding: Features::of(vector).map(|features| Box::new((space.into(), features))),
            ..Numbers::default()
        };
        let mut pane = Pane::default();
        for i in 0..6u8 {
            pane.add(&call("e5", &[1.0, f32::from(i), 3.0]));
        }
        pane.add(&call("ada", &[0.5, 0.5]));
        // The part of a call that another record told is not counted again.
        let part = Brings { call: false, ..Brings::default() };
        pane.add(&Numbers { brings: part, ..call("ada", &[0.5, 0.5]) });
        let n = |pane: &Pane| pane.embeddings().iter().map(|(space, of)| (space.clone(), of.n())).collect::<Vec<_>>();
        assert_eq!(n(&pane), [("ada".to_owned(), 1), ("e5".to_owned(), 6)]);
        let (counts, sketches) = (pane.encode_counts(), pane.encode_sketches());
        assert_eq!(sketches[0], EMBEDDINGS_VERSION);
        assert_eq!(Pane::decode(&counts, &sketches), Ok(pane.clone()));
        // A program that knows no embeddings says so, and reads nothing else instead.
        let old: Vec<u8> = std::iter::once(WORDS_VERSION).chain(sketches[1..].iter().copied()).collect();
        assert!(Pane::decode(&counts, &old).is_err());
        let mut both = Pane::default();
        both.merge(&pane);
        both.merge(&pane);
        assert_eq!(n(&both), [("ada".to_owned(), 2), ("e5".to_owned(), 12)]);
        assert!(both.size() > Pane::default().size() + 2 * 4_000);
        assert!(pane.size_of_texts() > 2 * 4_000);
    }
}
