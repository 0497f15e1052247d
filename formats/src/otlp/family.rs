//! Which of a message's spans are calls: one call may have several spans, inside one another or side by side.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use opentelemetry_proto::tonic::trace::v1::Span;

use super::attributes::Attributes;
use super::conventions::{ERROR_SPANS, Field, NO_CALLS, OPERATIONS, SPLIT_SPANS, SPLIT_SPANS_CALL};

/// Spans of one message that are compared with each other; more are each their own.
const MAX_COMPARED: usize = 500;
/// Two spans of one call begin and end within so much of each other: what an instrumentation does before and after.
const NEAR_NANOS: u64 = 10_000_000;

/// One span, with what was read of it.
pub struct Told<'a> {
    pub attributes: Attributes<'a>,
    pub span: &'a Span,
    /// Name of the instrumentation.
    pub scope: &'a str,
    /// Place of its resource in the message: spans of two services are of two calls.
    pub group: usize,
    /// The model call that it tells of.
    pub operation: Option<&'static str>,
}

impl<'a> Told<'a> {
    pub fn new(attributes: Attributes<'a>, span: &'a Span, group: usize, scope: &'a str) -> Self {
        let mut told = Self { attributes, span, scope, group, operation: None };
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

    /// Two spans of two instrumentations of one service tell of one call: the same model, one within the other, nothing
    /// that both say differs, and either they agree on what only one call can have, or they begin and end as one.
    fn twin(&self, other: &Self) -> bool {
        let (mine, theirs) = (self.span, other.span);
        // Side by side in one trace, or each the whole of its own: some clients' spans are in nobody's context.
        let roots = mine.parent_span_id.is_empty() && theirs.parent_span_id.is_empty();
        let siblings = mine.trace_id == theirs.trace_id && mine.parent_span_id == theirs.parent_span_id;
        let placed = self.group == other.group && self.scope != other.scope && (roots || siblings);
        if !placed || self.operation != other.operation || mine.end_time_unix_nano == 0 {
            return false;
        }
        let within = |inner: &Span, outer: &Span| {
            inner.start_time_unix_nano >= outer.start_time_unix_nano
                && inner.end_time_unix_nano <= outer.end_time_unix_nano
        };
        let near = |a: u64, b: u64| a.abs_diff(b) <= NEAR_NANOS;
        let as_one = near(mine.start_time_unix_nano, theirs.start_time_unix_nano)
            && near(mine.end_time_unix_nano, theirs.end_time_unix_nano);
        let id = |told: &Self| told.attributes.text(Field::ResponseId);
        let count = |told: &Self, field: Field| told.attributes.count(field).ok().flatten();
        let counts = |field: Field| count(self, field).zip(count(other, field));
        let (input, output) = (counts(Field::InputTokens), counts(Field::OutputTokens));
        let equal = |pair: Option<(u64, u64)>| pair.is_some_and(|(mine, theirs)| mine == theirs);
        let ids = id(self).zip(id(other));
        let differ =
            ids.is_some_and(|(mine, theirs)| mine != theirs) || input.is_some_and(|(mine, theirs)| mine != theirs);
        let agree = ids.is_some_and(|(mine, theirs)| mine == theirs) || (equal(input) && equal(output));
        (within(mine, theirs) || within(theirs, mine)) && !differ && (agree || as_one) && self.models(other)
    }

    /// The same model; what answers may say its version too.
    fn models(&self, other: &Self) -> bool {
        let said = |told: &Self, field: Field| told.attributes.text(field).filter(|model| !model.is_empty());
        let model = |told: &Self| said(told, Field::RequestModel).or_else(|| said(told, Field::ResponseModel));
        let (Some(mine), Some(theirs)) = (model(self), model(other)) else { return false };
        let (short, long) = if mine.len() < theirs.len() { (mine, theirs) } else { (theirs, mine) };
        let Some(rest) = long.strip_prefix(short) else { return false };
        let version = rest.strip_prefix(['-', '@']).and_then(|rest| rest.bytes().next());
        rest.is_empty() || version.is_some_and(|byte| byte.is_ascii_digit())
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
    // Of each span above a model span: the one model span that leads to it, `None` for several.
    let mut below: HashMap<usize, Option<usize>> = HashMap::new();
    for place in (0..spans.len()).filter(|place| spans[*place].operation.is_some()) {
        let mut at = place;
        while let Some(next) = above(at) {
            match below.entry(next) {
                Entry::Vacant(entry) => drop(entry.insert(Some(place))),
                // It is known to have several, and so is all above it; or this is a circle.
                Entry::Occupied(entry) if entry.get().is_none() || *entry.get() == Some(place) => break,
                Entry::Occupied(mut entry) => drop(entry.insert(None)),
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

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, TracesData};
    use prost::Message;

    use super::*;
    use crate::{Headers, Options, Reader, Scratch, Sink, UserKey};
    use leeway_core::event::{Event, Reject};

    /// A span of 10 s + `at` ms: scope, trace, parent, model, start and end in ms, tokens in and out.
    struct Sketch(&'static str, u8, u8, &'static str, u64, u64, Option<(i64, i64)>);

    fn pair(key: &str, value: any_value::Value) -> KeyValue {
        KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
    }

    fn span(number: u8, sketch: &Sketch) -> (String, Span) {
        let Sketch(scope, trace, parent, model, start, end, tokens) = sketch;
        let text = |key: &str, value: &str| pair(key, any_value::Value::StringValue(value.into()));
        let mut attributes = vec![
            text("gen_ai.operation.name", if model.is_empty() { "invoke_agent" } else { "chat" }),
            text("gen_ai.request.model", model),
        ];
        for (key, count) in tokens.iter().flat_map(|(input, output)| [("input", *input), ("output", *output)]) {
            attributes.push(pair(&format!("gen_ai.usage.{key}_tokens"), any_value::Value::IntValue(count)));
        }
        let nanos = |at: u64| 1_795_215_000_000_000_000 + at * 1_000_000;
        let span = Span {
            trace_id: vec![*trace; 16],
            span_id: vec![number; 8],
            parent_span_id: if *parent == 0 { Vec::new() } else { vec![*parent; 8] },
            name: "s".into(),
            start_time_unix_nano: nanos(*start),
            end_time_unix_nano: nanos(*end),
            attributes,
            ..Span::default()
        };
        ((*scope).to_owned(), span)
    }

    #[derive(Default)]
    struct Counted(usize, u64, usize);

    impl Sink for Counted {
        fn record(&mut self, _: u32, decoded: Result<Event<'_>, Reject>) {
            match decoded {
                Ok(Event::Call(call)) => {
                    self.0 += 1;
                    self.1 += call.tokens.input.unwrap_or(0);
                }
                _ => self.2 += 1,
            }
        }
        fn unknown_fields(&mut self, _: u32) {}
        fn skipped(&mut self, _: u32) {}
    }

    /// Calls and their input tokens, of spans by service; spans are numbered from 1.
    fn calls(services: &[&[Sketch]]) -> (usize, u64) {
        let mut number = 0;
        let mut groups = Vec::new();
        for service in services {
            let mut scope_spans = Vec::new();
            for sketch in *service {
                number += 1;
                let (name, span) = span(number, sketch);
                let scope = Some(InstrumentationScope { name, ..InstrumentationScope::default() });
                scope_spans.push(ScopeSpans { scope, spans: vec![span], ..ScopeSpans::default() });
            }
            groups.push(ResourceSpans { resource: Some(Resource::default()), scope_spans, ..ResourceSpans::default() });
        }
        let bytes = TracesData { resource_spans: groups }.encode_to_vec();
        let options = Options::new(1 << 20, 64, UserKey::new([0; 32]));
        let mut counted = Counted::default();
        Reader::default().decode(&bytes, &Headers::default(), &mut Scratch::new(options), &mut counted).unwrap();
        assert_eq!(counted.2, 0);
        (counted.0, counted.1)
    }

    #[test]
    fn two_instrumentations_of_one_call_are_one_and_whatever_may_be_two_stays_two() {
        let two = |a: Sketch, b: Sketch| calls(&[&[a, b]]).0;
        let none = None;
        // Side by side in one trace, or both roots: they begin and end as one, or agree on their tokens.
        assert_eq!(two(Sketch("a", 1, 9, "m", 0, 100, none), Sketch("b", 1, 9, "m", 1, 99, Some((5, 6)))), 1);
        assert_eq!(
            two(Sketch("a", 1, 0, "m", 0, 300, Some((5, 6))), Sketch("b", 2, 0, "m", 100, 200, Some((5, 6)))),
            1
        );
        assert_eq!(two(Sketch("a", 1, 9, "m", 0, 100, none), Sketch("b", 1, 9, "m-2024-07-18", 1, 99, none)), 1);
        // One within the other is not enough, nor a like name, nor one scope, nor other counts, nor another place.
        assert_eq!(two(Sketch("a", 1, 0, "m", 0, 3000, none), Sketch("b", 2, 0, "m", 1000, 2000, Some((50, 5)))), 2);
        assert_eq!(two(Sketch("a", 1, 9, "gpt-4", 0, 100, none), Sketch("b", 1, 9, "gpt-4o-mini", 1, 99, none)), 2);
        assert_eq!(two(Sketch("a", 1, 9, "o1", 0, 100, none), Sketch("b", 1, 9, "o1-mini", 1, 99, none)), 2);
        assert_eq!(two(Sketch("a", 1, 9, "m", 0, 100, none), Sketch("a", 1, 9, "m", 1, 99, none)), 2);
        assert_eq!(two(Sketch("a", 1, 9, "m", 0, 100, Some((5, 6))), Sketch("b", 1, 9, "m", 1, 99, Some((7, 6)))), 2);
        assert_eq!(two(Sketch("a", 1, 9, "m", 0, 100, none), Sketch("b", 1, 8, "m", 1, 99, none)), 2);
        // Two services of one batch of a Collector.
        let services = [&[Sketch("a", 1, 0, "m", 0, 100, none)][..], &[Sketch("b", 2, 0, "m", 1, 99, none)][..]];
        assert_eq!(calls(&services).0, 2);
    }

    #[test]
    fn an_outer_span_gives_its_tokens_to_one_inner_call_and_to_none_of_several() {
        let outer = || Sketch("a", 1, 0, "m", 0, 100, Some((100, 20)));
        assert_eq!(calls(&[&[outer(), Sketch("b", 1, 1, "m", 1, 99, None)]]), (1, 100));
        // 1 outer, 2 a step, 3 a failed try, 4 the one that answered.
        let step = Sketch("a", 1, 1, "", 1, 99, None);
        let tries = [Sketch("b", 1, 2, "m", 1, 10, None), Sketch("b", 1, 2, "m", 20, 99, Some((100, 20)))];
        let [first, second] = tries;
        assert_eq!(calls(&[&[outer(), step, first, second]]), (2, 100));
    }
}
