//! OTLP, protobuf or JSON: spans and log records of the GenAI conventions, to calls.
//!
//! A span is a call only if it is a leaf of its kind: an outer model span with an inner one in the same message is
//! not. A span brings the call, its timing and (where captured) its texts; a log record brings the call and its
//! texts, or (generation A) texts alone; the call index makes one call of them.

mod attributes;
mod budget;
mod conventions;
mod family;
mod inside;
mod json;
mod texts;

use std::collections::BTreeMap;
use std::sync::Arc;

use leeway_core::clock::{Micros, parse_rfc3339};
use leeway_core::event::{
    Brings, Call, ERROR_CLASSES, Event, Part, Record, Reject, Status, Text, Tokens, finish_reason,
};
use leeway_core::money::parse_decimal;
use leeway_core::pane::UNIT_WEIGHT;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, LogsData, ScopeLogs};
use opentelemetry_proto::tonic::trace::v1::TracesData;
use prost::Message;
use serde_json::{Value as Json, json};

use crate::cursor::Value;
use crate::leeway_json::{MAX_CHOICES, MAX_LABEL, MAX_MODEL, MAX_TOKENS, classify, cut};
use crate::moderation;
use crate::records::{Told, feedback};
use crate::{Format, Scratch, Sink};
use attributes::Attributes;
use conventions::{DETAILS_EVENT, EVALUATION_EVENT, FIRST_PIECES, Field, MESSAGE_EVENTS, SPLIT_SPANS_CALL};
use family::{Told as Spanned, operation};
use inside::Inside;

/// Spans or log records of one message; more make the whole message too large.
const MAX_RECORDS: usize = 10_000;
/// Longest id that a producer may give.
const MAX_ID: usize = 256;
/// Longest duration, µs; a longer one is a clock that was not set.
pub const YEAR: u64 = 366 * 86_400_000_000;
/// A time to first token that is so many times the whole call has another unit.
const FAR: u64 = 20;
/// Status code ERROR of a span.
const FAILED: i32 = 2;

#[derive(Debug)]
pub struct OtlpTraces;

#[derive(Debug)]
pub struct OtlpLogs;

impl Format for OtlpTraces {
    fn id(&self) -> &'static str {
        "otlp-traces"
    }

    fn decode(&self, message: &[u8], scratch: &mut Scratch, sink: &mut dyn Sink) -> Result<(), Reject> {
        match parse::<TracesData>(message, scratch) {
            Err(Reject::Undecodable) if json(message) => {
                let (data, bad) = parse_json(message, scratch, json::traces)?;
                traces(&data, scratch, sink)?;
                reject(bad, sink)
            }
            data => traces(&data?, scratch, sink),
        }
    }
}

impl Format for OtlpLogs {
    fn id(&self) -> &'static str {
        "otlp-logs"
    }

    fn decode(&self, message: &[u8], scratch: &mut Scratch, sink: &mut dyn Sink) -> Result<(), Reject> {
        match parse::<LogsData>(message, scratch) {
            Err(Reject::Undecodable) if json(message) => {
                let (data, bad) = parse_json(message, scratch, json::logs)?;
                logs(&data, scratch, sink)?;
                reject(bad, sink)
            }
            data => logs(&data?, scratch, sink),
        }
    }
}

pub use inside::{member, text, usage};
pub use json::is_otlp;
pub use texts::json_message;

/// Records that cannot be read reject themselves alone.
fn reject(bad: Vec<(u32, Reject)>, sink: &mut dyn Sink) -> Result<(), Reject> {
    bad.into_iter().for_each(|(index, reason)| sink.record(index, Err(reason)));
    Ok(())
}

/// Whether a message that is no protobuf may be JSON. (A protobuf may look like JSON: 0x0A is its first tag and a line
/// feed, and the length after it may be the code of a brace. So it is tried first.)
fn json(message: &[u8]) -> bool {
    message.trim_ascii_start().first() == Some(&b'{')
}

fn parse_json<T>(
    message: &[u8],
    scratch: &mut Scratch,
    read: impl FnOnce(Value<'_, '_>) -> Result<T, Reject>,
) -> Result<T, Reject> {
    if message.len() > scratch.options.max_message_bytes {
        return Err(Reject::TooLarge);
    }
    scratch.parse(message, |tape, _| read(Value(&tape.0)))?
}

/// What a JSON message of OTLP holds: spans, log records, or metrics, which are none of Leeway's business.
pub fn either_json(message: &[u8], scratch: &mut Scratch, sink: &mut dyn Sink) -> Result<(), Reject> {
    let read = |value: Value<'_, '_>| Ok((json::traces(value)?, json::logs(value)?));
    let ((spans, bad_spans), (records, bad_records)) = parse_json(message, scratch, read)?;
    if spans.resource_spans.is_empty() && records.resource_logs.is_empty() {
        sink.skipped(1);
    }
    traces(&spans, scratch, sink)?;
    logs(&records, scratch, sink)?;
    reject(bad_spans, sink)?;
    reject(bad_records, sink)
}

/// Spans, else log records: the first field of a span is bytes and of a log record a number, so one of the two fails.
pub fn either(message: &[u8], scratch: &mut Scratch, sink: &mut dyn Sink) -> Result<(), Reject> {
    match parse::<TracesData>(message, scratch) {
        Ok(data) => traces(&data, scratch, sink),
        Err(_) => logs(&parse::<LogsData>(message, scratch)?, scratch, sink),
    }
}

fn parse<M: Message + Default>(message: &[u8], scratch: &Scratch) -> Result<M, Reject> {
    // Counted before they are made: an empty span takes two bytes here and hundreds in memory.
    if message.len() > scratch.options.max_message_bytes || budget::too_many(message) {
        return Err(Reject::TooLarge);
    }
    M::decode(message).map_err(|_| Reject::Undecodable)
}

fn traces(data: &TracesData, scratch: &mut Scratch, sink: &mut dyn Sink) -> Result<(), Reject> {
    let names = Arc::clone(&scratch.options.attributes);
    let mut spans: Vec<Spanned<'_>> = Vec::new();
    for (number, group) in data.resource_spans.iter().enumerate() {
        let resource = Attributes::of_resource(group.resource.as_ref(), &names);
        for scope in &group.scope_spans {
            let name = scope.scope.as_ref().map_or("", |scope| scope.name.as_str());
            for span in &scope.spans {
                spans.push(Spanned::new(Attributes::read(&span.attributes, &resource), span, number, name));
            }
        }
    }
    let calls = family::calls(&spans);
    let (mut skipped, mut told) = (0, spans.len() as u32);
    for (index, (spanned, (counts, more))) in spans.iter().zip(calls).enumerate() {
        let Spanned { attributes, span, .. } = spanned;
        if counts {
            let inside = inside(spanned, scratch);
            let beside = more.map(|place| (&spans[place], self::inside(&spans[place], scratch)));
            let made = span_call(spanned, &inside, scratch).map(|mut call| {
                // What cannot be read of the other span is not told.
                if let Some((other, inside)) = &beside
                    && let Ok(more) = span_call(other, inside, scratch)
                {
                    fill(&mut call, more);
                }
                call
            });
            sink.record(index as u32, made.map(Event::Call));
        } else {
            skipped += 1;
        }
        for event in span.events.iter().filter(|event| event.name == EVALUATION_EVENT) {
            let said = Attributes::read(&event.attributes, attributes);
            let inside = Inside::of(&said, &span.trace_id, &span.span_id, scratch);
            sink.record(told, evaluation(&said, event.time_unix_nano, inside).map(Event::Record));
            told += 1;
        }
    }
    if skipped > 0 {
        sink.skipped(skipped);
    }
    Ok(())
}

/// A judgement of a span, of its trace, or of a response.
fn evaluation(attributes: &Attributes<'_>, nanos: u64, inside: Inside) -> Result<Record, Reject> {
    let Inside { trace, span, tenant, dimensions, .. } = inside;
    let app = dimensions
        .into_iter()
        .find(|(dimension, _)| dimension == "app")
        .map(|(_, app)| cut(&app, MAX_LABEL).to_owned());
    let tenant = tenant.or_else(|| attributes.text(Field::Tenant).map(str::to_owned));
    let target = match (attributes.text(Field::ResponseId), trace.is_empty(), span.is_empty()) {
        (_, false, false) => json!({"trace_id": trace, "span_id": span}),
        (Some(response), ..) => json!({ "response_id": response }),
        (None, false, true) => json!({ "trace_id": trace }),
        _ => return Err(Reject::NoTarget),
    };
    // A truth beside its number is the truth.
    let value = match (attributes.text(Field::EvaluationLabel), attributes.number(Field::EvaluationValue)?) {
        (Some("true" | "True"), _) => json!(true),
        (Some("false" | "False"), _) => json!(false),
        (_, Some(number)) => json!(number),
        (Some(label), None) => json!(cut(label, MAX_LABEL)),
        (None, None) => Json::Null,
    };
    feedback(Told {
        tenant: tenant.filter(|tenant| !tenant.is_empty()).unwrap_or_else(|| "default".to_owned()),
        app: app.unwrap_or_else(|| attributes.text(Field::App).unwrap_or_default().to_owned()),
        time: micros(nanos).ok_or(Reject::NoTime)?,
        name: attributes.text(Field::EvaluationName).ok_or(Reject::WrongType("name"))?.to_owned(),
        value,
        source: if attributes.text(Field::Judge).is_some() { "model" } else { "" },
        target,
        identifier: attributes.text(Field::EvaluationKey).map(str::to_owned),
    })
}

fn inside(spanned: &Spanned<'_>, scratch: &mut Scratch) -> Inside {
    let Spanned { attributes, span, scope, .. } = spanned;
    let mut inside = Inside::of(attributes, &span.trace_id, &span.span_id, scratch);
    inside.of_scope(attributes, scope);
    inside.parent = hex(&span.parent_span_id);
    inside
}

/// What the other span of the same call says more of it.
fn fill<'a>(call: &mut Call<'a>, mut more: Call<'a>) {
    if call.tokens.input.is_none() && call.tokens.output.is_none() {
        call.tokens = more.tokens;
    }
    if call.own_texts().next().is_none() {
        call.texts.append(&mut more.texts);
        call.incomplete = more.incomplete;
        call.text_state = more.text_state;
    }
    if call.finish_reasons.is_empty() {
        call.finish_reasons = std::mem::take(&mut more.finish_reasons);
    }
    if call.error_class.is_some_and(vague) && more.error_class.is_some_and(|class| class != OTHER) {
        (call.status, call.error_class) = (more.status, more.error_class);
    }
    call.stream = call.stream.or(more.stream);
    call.ttft_us = call.ttft_us.or(more.ttft_us.filter(|_| call.stream != Some(false)));
    call.cost = call.cost.or(more.cost);
    call.response_id = call.response_id.or(more.response_id);
    let text = |mine: &mut &'a str, theirs: &'a str| {
        if mine.is_empty() {
            *mine = theirs;
        }
    };
    text(&mut call.provider, more.provider);
    text(&mut call.request_model, more.request_model);
    text(&mut call.response_model, more.response_model);
}

fn span_call<'a>(spanned: &Spanned<'a>, inside: &'a Inside, scratch: &mut Scratch) -> Result<Call<'a>, Reject> {
    let Spanned { attributes, span, operation, .. } = spanned;
    let (start, end) = (micros(span.start_time_unix_nano), micros(span.end_time_unix_nano));
    let time = end.or(start).ok_or(Reject::NoTime)?;
    let mut call = call(attributes, operation.unwrap_or("chat"), inside)?;
    call.time = time;
    if call.request_model.is_empty()
        && let Some(model) = spanned.named_model()
    {
        call.request_model = cut(model, MAX_MODEL);
    }
    call.brings = Brings { call: true, timing: true, text: true, whole: false };
    call.duration_us = start.zip(end).and_then(|(start, end)| u64::try_from(end - start).ok());
    // A span that tells of a stream when it is over has measured it itself.
    if attributes.text(Field::SplitKind) == Some(SPLIT_SPANS_CALL) {
        (call.duration_us, call.stream) = (attributes.duration(Field::Duration, 1e6)?, Some(true));
    }
    if call.duration_us.is_some_and(|duration| duration > YEAR) {
        return Err(Reject::WrongType("duration_ms"));
    }
    // Streams name themselves in Vercel's operation, and in the procedures of some services.
    let operation_id = attributes.text(Field::OperationId).unwrap_or_default();
    let method = attributes.text(Field::Method).unwrap_or_default();
    let streams = operation_id.ends_with(".doStream") || method.ends_with("Stream");
    call.stream = call.stream.or_else(|| (streams || operation_id.ends_with(".doGenerate")).then_some(streams));
    if call.ttft_us.is_none() {
        let pieces = span.events.iter().filter(|event| FIRST_PIECES.contains(&event.name.as_str()));
        let told = attributes.text(Field::FirstAt).and_then(parse_rfc3339);
        let at = told.or_else(|| pieces.filter_map(|event| micros(event.time_unix_nano)).min());
        call.ttft_us = at.zip(start).and_then(|(at, start)| u64::try_from(at - start).ok());
    }
    // A client sees a first piece of streams alone; a server tells of one for whole answers too.
    call.stream = call.stream.or(call.ttft_us.map(|_| true));
    if call.ttft_us.is_none() {
        let told = attributes.duration(Field::ServerTtft, 1e6)?;
        // Far longer than the whole call: it was told in milliseconds.
        let far = told.zip(call.duration_us).is_some_and(|(ttft, duration)| ttft > duration.saturating_mul(FAR));
        call.ttft_us = if far { told.map(|ttft| ttft / 1000) } else { told };
    }
    // The type of an error may stand in the event of its exception alone.
    let exception = span.events.iter().find(|event| event.name == "exception");
    let raised = exception.map(|event| Attributes::read(&event.attributes, &Attributes::default()));
    let either =
        |field: Field| attributes.text(field).or_else(|| raised.as_ref().and_then(|raised| raised.text(field)));
    let status = span.status.as_ref();
    let failure = Failure {
        // An exception that was caught on the way is no failure of the call.
        failed: attributes.text(Field::ErrorType).is_some_and(|kind| !kind.is_empty())
            || status.is_some_and(|status| status.code == FAILED)
            || attributes.text(Field::Level) == Some("ERROR"),
        kind: either(Field::ErrorType).unwrap_or_default(),
        message: either(Field::ErrorMessage).or(status.map(|status| status.message.as_str())).unwrap_or_default(),
        http_status: attributes.count(Field::HttpStatus)?,
    };
    failure.end(&mut call);
    texts::of_attributes(attributes, &mut call, scratch);
    if call.texts.is_empty() {
        texts::of_events(&span.events, &mut call, scratch);
    }
    if call.finish_reasons.is_empty() {
        call.finish_reasons = texts::ends(&span.events).take(MAX_CHOICES).map(finish_reason).collect();
    }
    call.incomplete |= span.dropped_attributes_count > 0;
    call.failure = [failure.kind.into(), failure.message.into()];
    telemetry(&mut call, failure.message, attributes);
    moderation::of_guard(&mut call);
    Ok(call)
}

/// What the telemetry says in words of its own.
fn telemetry<'a>(call: &mut Call<'a>, message: &'a str, attributes: &Attributes<'a>) {
    let words = std::iter::once(message).chain(attributes.others.iter().copied());
    call.texts.extend(words.filter(|words| !words.is_empty()).map(|words| Text::new(Part::Telemetry, words)));
}

/// The class of what nobody can tell more of.
const OTHER: u8 = ERROR_CLASSES.len() as u8 - 1;

/// Whether a closer look may tell more than that class.
fn vague(class: u8) -> bool {
    matches!(ERROR_CLASSES[usize::from(class)], "client" | "other")
}

/// How a call failed, in its client's words; they are read here and go no further.
struct Failure<'a> {
    failed: bool,
    kind: &'a str,
    message: &'a str,
    http_status: Option<u64>,
}

impl Failure<'_> {
    fn end(&self, call: &mut Call<'_>) {
        // The first piece of an answer that came whole is its end.
        call.ttft_us = call.ttft_us.filter(|_| call.stream != Some(false));
        call.status = if self.failed { Status::Error } else { Status::Ok };
        if !self.failed {
            return;
        }
        // Some libraries give the HTTP status as the type.
        let http_status = self.http_status.filter(|status| *status >= 400).or_else(|| self.kind.parse().ok());
        let slow = self.kind.to_ascii_lowercase().contains("timeout");
        let class = classify(if slow { Status::Timeout } else { call.status }, http_status, self.kind);
        let told = classify(call.status, http_status, self.message);
        let class = if vague(class) && told != OTHER { told } else { class };
        if ERROR_CLASSES[usize::from(class)] == "timeout" {
            call.status = Status::Timeout;
        }
        call.error_class = Some(class);
    }
}

/// Puts a value where the settings say that it belongs.
fn set<'a>(call: &mut Call<'a>, dimension: &'a str, value: &'a str) {
    let place = match dimension {
        "app" => &mut call.app,
        "route" => &mut call.route,
        "release" => &mut call.release,
        "environment" => &mut call.environment,
        "prompt_version" => &mut call.prompt_version,
        "index_version" => &mut call.index_version,
        "region" => &mut call.region,
        other => return call.dims.push((other.strip_prefix("dims.").unwrap_or(other), value)),
    };
    *place = value;
}

/// What spans and log records have in common.
fn call<'a>(attributes: &Attributes<'a>, operation: &'static str, inside: &'a Inside) -> Result<Call<'a>, Reject> {
    let mut cut_labels = 0;
    let mut label = |field: Field, limit: usize| {
        let text = attributes.text(field).unwrap_or_default();
        cut_labels += u32::from(text.len() > limit);
        cut(text, limit)
    };
    let tenant = label(Field::Tenant, MAX_LABEL);
    let app = label(Field::App, MAX_LABEL);
    let mut call = Call {
        tenant: inside.tenant.as_deref().unwrap_or(if tenant.is_empty() { "default" } else { tenant }),
        app: if app.is_empty() { "unknown" } else { app },
        environment: label(Field::Environment, MAX_LABEL),
        region: label(Field::Region, MAX_LABEL),
        route: label(Field::Route, MAX_LABEL),
        release: label(Field::Release, MAX_LABEL),
        prompt_version: label(Field::PromptVersion, MAX_LABEL),
        provider: inside.provider.as_deref().unwrap_or(label(Field::Provider, MAX_MODEL)),
        request_model: Some(label(Field::RequestModel, MAX_MODEL))
            .filter(|model| !model.is_empty())
            .or(inside.request_model.as_deref())
            .unwrap_or_default(),
        response_model: label(Field::ResponseModel, MAX_MODEL),
        operation,
        served: true,
        weight_micro: UNIT_WEIGHT,
        ..Call::default()
    };
    call.cut_labels = cut_labels;
    for (dimension, value) in &inside.dimensions {
        call.cut_labels += u32::from(value.len() > MAX_LABEL);
        set(&mut call, dimension, cut(value, MAX_LABEL));
    }
    let given = |id: &'a String| Some(id.as_str()).filter(|id| !id.is_empty());
    (call.trace_id, call.span_id) = (given(&inside.trace), given(&inside.span));
    call.parent_span_id = given(&inside.parent);
    call.response_id = attributes.text(Field::ResponseId).or(inside.response_id.as_deref()).filter(|id| !id.is_empty());
    call.user = attributes.text(Field::User).filter(|id| !id.is_empty() && id.len() <= MAX_ID);
    call.conversation = attributes.text(Field::Conversation).filter(|id| !id.is_empty() && id.len() <= MAX_ID);
    if call.response_id.is_some_and(|id| id.len() > MAX_ID) {
        return Err(Reject::TooLarge);
    }
    call.tokens = tokens(attributes, inside)?;
    call.stream = attributes.flag(Field::Stream).or(inside.stream);
    let reasons = attributes.words(Field::FinishReasons).into_iter();
    let flat = attributes.flat.iter().filter(|(answer, _, what, _)| *answer && *what == "finish_reason");
    let reasons = reasons.chain(flat.map(|(.., word)| *word)).take(MAX_CHOICES);
    call.finish_reasons = reasons.map(finish_reason).collect();
    if call.finish_reasons.is_empty() {
        call.finish_reasons.clone_from(&inside.finish_reasons);
    }
    call.ttft_us = match attributes.duration(Field::Ttft, 1e6)? {
        None => attributes.duration(Field::TtftMs, 1e3)?,
        ttft => ttft,
    };
    // Libraries write 0 where they have no price.
    let cost = attributes.number(Field::Cost)?.filter(|cost| *cost > 0.0);
    call.cost = cost.and_then(|cost| parse_decimal(&format!("{cost}"), 9)).or(inside.cost);
    Ok(call)
}

/// Counts of the attributes, and what else is known.
fn tokens(attributes: &Attributes<'_>, inside: &Inside) -> Result<Tokens, Reject> {
    let told = |field: Field, inside: Option<u64>| match attributes.count(field)? {
        Some(count) if count > MAX_TOKENS => Err(Reject::WrongType("tokens")),
        count => Ok(count.or(inside)),
    };
    let raw = &inside.tokens;
    let mut tokens = Tokens {
        input: told(Field::InputTokens, raw.input)?,
        output: told(Field::OutputTokens, raw.output)?,
        cache_read: told(Field::CacheRead, raw.cache_read)?,
        cache_write: told(Field::CacheWrite, raw.cache_write)?,
        reasoning: told(Field::Reasoning, raw.reasoning)?,
        audio_in: told(Field::AudioIn, None)?,
        audio_out: told(Field::AudioOut, None)?,
        image_in: None,
    };
    let cached = tokens.cache_read.unwrap_or(0).saturating_add(tokens.cache_write.unwrap_or(0));
    if let Some(input) = tokens.input {
        // Input without its cached part: the client is known for it, or more is cached than there is input, or the
        // provider's own words beside it say so.
        let whole = input.saturating_add(cached).min(MAX_TOKENS);
        let beside = inside.cache_beside || cached > input || raw.input == Some(whole);
        tokens.input = Some(if beside { whole } else { input });
    }
    if let (true, Some(input), Some(output)) = (inside.thinking_beside, tokens.input, tokens.output) {
        let total = attributes.count(Field::TotalTokens)?.filter(|total| *total <= MAX_TOKENS);
        tokens.output = total.and_then(|total| total.checked_sub(input)).filter(|all| *all > output).or(Some(output));
    }
    // Nothing asked and nothing answered is what a client writes that was told no counts.
    if (tokens.input, tokens.output) == (Some(0), Some(0)) {
        tokens = Tokens::default();
    }
    Ok(tokens)
}

/// Number of the first of one call's message events, and all of them by role.
type Messages<'a> = (u32, Vec<(&'static str, &'a LogRecord)>);

/// Whether a details event tells of a model call; some clients name no operation there.
fn called(attributes: &Attributes<'_>) -> bool {
    let nameless = attributes.value(Field::Operation).is_none();
    let texts =
        [Field::InputMessages, Field::OutputMessages].into_iter().any(|field| attributes.value(field).is_some());
    operation(attributes).is_some() || (nameless && texts)
}

fn logs<'a>(data: &'a LogsData, scratch: &mut Scratch, sink: &mut dyn Sink) -> Result<(), Reject> {
    let names = Arc::clone(&scratch.options.attributes);
    let (mut index, mut skipped) = (0, 0);
    for group in &data.resource_logs {
        let resource = Attributes::of_resource(group.resource.as_ref(), &names);
        // The messages of one call, which only together tell where a value came from.
        let mut calls: BTreeMap<(&[u8], &[u8]), Messages<'_>> = BTreeMap::new();
        let named = |scope: &'a ScopeLogs| scope.scope.as_ref().map_or("", |scope| scope.name.as_str());
        let records =
            group.scope_logs.iter().flat_map(|scope| scope.log_records.iter().map(move |one| (named(scope), one)));
        for (scope, record) in records {
            index += 1;
            let attributes = Attributes::read(&record.attributes, &resource);
            let event = Some(record.event_name.as_str()).filter(|name| !name.is_empty());
            let event = event.or_else(|| attributes.text(Field::EventName)).unwrap_or_default();
            if let Some((_, role)) = MESSAGE_EVENTS.iter().find(|(name, _)| *name == event) {
                // Without a span nobody can say whose message it is.
                if hex(&record.span_id).is_empty() {
                    skipped += 1;
                    continue;
                }
                let first = (index as u32 - 1, Vec::new());
                calls.entry((&record.trace_id, &record.span_id)).or_insert(first).1.push((role, record));
            } else if event == DETAILS_EVENT && called(&attributes) {
                let mut inside = Inside::of(&attributes, &record.trace_id, &record.span_id, scratch);
                inside.of_scope(&attributes, scope);
                let made = log_call(&attributes, record, &inside, scratch);
                sink.record(index as u32 - 1, made.map(Event::Call));
            } else if event == EVALUATION_EVENT {
                let at = if record.time_unix_nano > 0 { record.time_unix_nano } else { record.observed_time_unix_nano };
                let inside = Inside::of(&attributes, &record.trace_id, &record.span_id, scratch);
                let told = evaluation(&attributes, at, inside);
                sink.record(index as u32 - 1, told.map(Event::Record));
            } else {
                skipped += 1;
            }
        }
        for ((trace, span), (first, messages)) in calls {
            let mut inside = Inside { trace: hex(trace), span: hex(span), ..Inside::default() };
            if let Some((_, newest)) = messages.last() {
                inside.named(&Attributes::read(&newest.attributes, &resource));
            }
            let number = messages.len() as u32;
            let made = message_call(&resource, &messages, &inside, scratch);
            sink.record(first, made.map(Event::Call));
            // One call's messages are one record, the others went into it.
            skipped += number - 1;
        }
    }
    if skipped > 0 {
        sink.skipped(skipped);
    }
    Ok(())
}

fn logged_at(record: &LogRecord) -> Result<Micros, Reject> {
    micros(record.time_unix_nano).or_else(|| micros(record.observed_time_unix_nano)).ok_or(Reject::NoTime)
}

fn log_call<'a>(
    attributes: &Attributes<'a>,
    record: &'a LogRecord,
    inside: &'a Inside,
    scratch: &mut Scratch,
) -> Result<Call<'a>, Reject> {
    let operation = operation(attributes).unwrap_or("chat");
    let mut call = call(attributes, operation, inside)?;
    call.time = logged_at(record)?;
    call.brings = Brings { call: true, timing: false, text: true, whole: false };
    let error = attributes.text(Field::ErrorType).filter(|kind| !kind.is_empty());
    let failure = Failure {
        failed: error.is_some(),
        kind: error.unwrap_or_default(),
        message: attributes.text(Field::ErrorMessage).unwrap_or_default(),
        http_status: attributes.count(Field::HttpStatus)?,
    };
    failure.end(&mut call);
    texts::of_attributes(attributes, &mut call, scratch);
    call.incomplete |= record.dropped_attributes_count > 0;
    call.failure = [failure.kind.into(), failure.message.into()];
    telemetry(&mut call, failure.message, attributes);
    Ok(call)
}

/// Texts of one call from its message events: they say nothing else of it.
fn message_call<'a>(
    resource: &Attributes<'a>,
    messages: &[(&'static str, &'a LogRecord)],
    inside: &'a Inside,
    scratch: &mut Scratch,
) -> Result<Call<'a>, Reject> {
    let newest = messages.last().ok_or(Reject::Undecodable)?.1;
    let attributes = Attributes::read(&newest.attributes, resource);
    let mut call = call(&attributes, "chat", inside)?;
    call.time = logged_at(newest)?;
    call.brings = Brings { call: false, timing: false, text: true, whole: false };
    for (role, record) in messages {
        texts::of_message(role, record.body.as_ref(), &mut call, scratch);
    }
    Ok(call)
}

fn micros(nanos: u64) -> Option<Micros> {
    (nanos > 0).then(|| i64::try_from(nanos / 1000).unwrap_or(i64::MAX))
}

/// An id of zeros alone is none, by the protocol's own word.
fn hex(bytes: &[u8]) -> String {
    if bytes.iter().all(|byte| *byte == 0) {
        return String::new();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The text of a value, where it is one.
fn text_of(value: Option<&AnyValue>) -> Option<&str> {
    match value?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod truth;
