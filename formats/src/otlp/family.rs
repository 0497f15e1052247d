//! Which of a message's spans are calls: one call may have several spans, inside one another or side by side.

use std::collections::{HashMap, HashSet};

use opentelemetry_proto::tonic::trace::v1::Span;

use super::attributes::Attributes;
use super::conventions::{ERROR_SPANS, Field, NO_CALLS, OPERATIONS, SPLIT_SPANS, SPLIT_SPANS_CALL};

/// Spans of one message that are compared with each other; more are each their own.
const MAX_COMPARED: usize = 2_000;

/// One span, with what was read of it.
pub struct Told<'a> {
    pub attributes: Attributes<'a>,
    pub span: &'a Span,
    /// Name of the instrumentation.
    pub scope: &'a str,
    /// The model call that it tells of.
    pub operation: Option<&'static str>,
}

impl<'a> Told<'a> {
    pub fn new(attributes: Attributes<'a>, span: &'a Span, scope: &'a str) -> Self {
        let mut told = Self { attributes, span, scope, operation: None };
        told.operation = told.judge();
        told
    }

    fn judge(&self) -> Option<&'static str> {
        let name = self.span.name.as_str();
        if NO_CALLS.iter().any(|end| name.ends_with(end)) {
            return None;
        }
        let attributes = &self.attributes;
        let operation = operation(attributes).or_else(|| self.nameless())?;
        // A client that writes what came of a stream as a span of its own: the first one holds only the question.
        let split = SPLIT_SPANS.iter().any(|scope| self.scope.starts_with(scope));
        let answered = attributes.value(Field::InputTokens).or_else(|| attributes.value(Field::ResponseId)).is_some();
        let ended = attributes.text(Field::SplitKind) == Some(SPLIT_SPANS_CALL);
        (!split || answered || ended || self.failed()).then_some(operation)
    }

    /// A call of a client that names no operation: who was asked for which model, and what it took.
    fn nameless(&self) -> Option<&'static str> {
        let attributes = &self.attributes;
        if OPERATIONS.iter().any(|(field, _)| attributes.value(*field).is_some()) {
            return None;
        }
        let told = attributes.text(Field::RequestModel).is_some();
        let measured = attributes.value(Field::Duration).is_some() || self.failed();
        if told && attributes.text(Field::SplitKind).is_some() && measured {
            return Some("chat");
        }
        if told && attributes.value(Field::Provider).is_some() {
            let took = [Field::InputTokens, Field::OutputTokens, Field::InputMessages, Field::OutputMessages];
            let told = took.into_iter().any(|field| attributes.value(field).is_some()) || !attributes.flat.is_empty();
            return told.then_some(if self.span.name.to_ascii_lowercase().contains("embed") {
                "embeddings"
            } else {
                "chat"
            });
        }
        // Some clients end a failed call's span before they write its attributes.
        let (word, _) = self.span.name.split_once(' ')?;
        let silent = self.failed() && ERROR_SPANS.iter().any(|scope| self.scope.starts_with(scope));
        let words = OPERATIONS[0].1.iter().filter(|_| silent);
        words.into_iter().find(|(known, _)| *known == word).map(|(_, operation)| *operation)
    }

    pub fn failed(&self) -> bool {
        self.span.status.as_ref().is_some_and(|status| status.code == super::FAILED)
    }

    /// The model in the name of a span without attributes.
    pub fn named_model(&self) -> Option<&'a str> {
        let nothing =
            self.attributes.value(Field::RequestModel).or_else(|| self.attributes.value(Field::ResponseModel));
        self.span.name.split_once(' ').map(|(_, model)| model).filter(|_| nothing.is_none() && self.failed())
    }

    /// Two spans of two instrumentations tell of one call: same family, same model, one within the other, and nothing
    /// that they both say differs.
    fn twin(&self, other: &Self) -> bool {
        let (mine, theirs) = (self.span, other.span);
        let within = |inner: &Span, outer: &Span| {
            inner.start_time_unix_nano >= outer.start_time_unix_nano
                && inner.end_time_unix_nano <= outer.end_time_unix_nano
        };
        let agree = |field: Field| {
            let (mine, theirs) = (self.attributes.text(field), other.attributes.text(field));
            mine.is_none() || theirs.is_none() || mine == theirs
        };
        let counts = |field: Field| {
            let count = |told: &Self| told.attributes.count(field).ok().flatten();
            count(self).is_none() || count(other).is_none() || count(self) == count(other)
        };
        // Side by side in one trace, or each the whole of its own: some clients' spans are in nobody's context.
        let roots = mine.parent_span_id.is_empty() && theirs.parent_span_id.is_empty();
        let siblings = mine.trace_id == theirs.trace_id && mine.parent_span_id == theirs.parent_span_id;
        self.operation == other.operation
            && self.scope != other.scope
            && (roots || siblings)
            && mine.end_time_unix_nano > 0
            && (within(mine, theirs) || within(theirs, mine))
            && self.models(other)
            && agree(Field::ResponseId)
            && counts(Field::InputTokens)
    }

    /// The same model; what answers may say its version too.
    fn models(&self, other: &Self) -> bool {
        let model = |told: &Self| {
            let asked = told.attributes.text(Field::RequestModel).filter(|model| !model.is_empty());
            asked.or_else(|| told.attributes.text(Field::ResponseModel)).filter(|model| !model.is_empty())
        };
        let (Some(mine), Some(theirs)) = (model(self), model(other)) else { return false };
        mine.starts_with(theirs) || theirs.starts_with(mine)
    }

    /// How much it says; of two spans of one call the fuller one counts it.
    fn weight(&self) -> usize {
        [Field::InputTokens, Field::OutputTokens, Field::ResponseId, Field::FinishReasons, Field::Ttft, Field::Stream]
            .into_iter()
            .filter(|field| self.attributes.value(*field).is_some())
            .count()
    }
}

/// Leeway's word for the model call that the attributes tell of; `None` where they tell of none.
pub fn operation(attributes: &Attributes<'_>) -> Option<&'static str> {
    let (words, said) = OPERATIONS.iter().find_map(|(field, words)| Some((words, attributes.text(*field)?)))?;
    words.iter().find(|(known, _)| *known == said).map(|(_, operation)| *operation)
}

/// For each span of a message whether it is a call, and the other span of the same call that says more of it.
pub fn calls(spans: &[Told<'_>]) -> Vec<(bool, Option<usize>)> {
    let mut calls: Vec<(bool, Option<usize>)> = spans.iter().map(|told| (told.operation.is_some(), None)).collect();
    nested(spans, &mut calls);
    twins(spans, &mut calls);
    calls
}

/// A model span with another one below it is none; where it has one only, it tells more of that one.
fn nested(spans: &[Told<'_>], calls: &mut [(bool, Option<usize>)]) {
    let places: HashMap<&[u8], usize> =
        spans.iter().enumerate().map(|(place, told)| (&told.span.span_id[..], place)).collect();
    let above = |place: usize| {
        let parent = &spans[place].span.parent_span_id[..];
        places.get(parent).copied().filter(|above| *above != place && !parent.is_empty())
    };
    // Of each span above a model span: the one model span that was seen to lead to it, `None` for several.
    let mut below: HashMap<usize, Option<usize>> = HashMap::new();
    let mut seen: HashSet<usize> = HashSet::new();
    for place in (0..spans.len()).filter(|place| spans[*place].operation.is_some()) {
        let mut at = place;
        while let Some(next) = above(at) {
            below.entry(next).and_modify(|one| *one = None).or_insert(Some(place));
            // What was seen has its own ancestors marked already; this also ends a circle.
            if !seen.insert(next) {
                break;
            }
            at = next;
        }
    }
    for (outer, inner) in below {
        if spans[outer].operation.is_none() {
            continue;
        }
        calls[outer].0 = false;
        if let Some(inner) = inner.filter(|inner| calls[*inner].0) {
            calls[inner].1 = Some(outer);
        }
    }
}

/// Of two spans side by side that tell of one call, the fuller counts.
fn twins(spans: &[Told<'_>], calls: &mut [(bool, Option<usize>)]) {
    let mut places: Vec<usize> = (0..spans.len()).filter(|place| calls[*place].0).collect();
    let scopes: HashSet<&str> = places.iter().map(|place| spans[*place].scope).collect();
    if scopes.len() < 2 || places.len() > MAX_COMPARED {
        return;
    }
    // Fullest first, so that what is left over is left over for the fullest.
    places.sort_by_key(|place| std::cmp::Reverse(spans[*place].weight()));
    for (n, kept) in places.iter().enumerate() {
        if !calls[*kept].0 || calls[*kept].1.is_some() {
            continue;
        }
        let twin = places[n + 1..].iter().find(|other| calls[**other].0 && spans[*kept].twin(&spans[**other]));
        if let Some(twin) = twin {
            calls[*twin].0 = false;
            calls[*kept].1 = Some(*twin);
        }
    }
}
