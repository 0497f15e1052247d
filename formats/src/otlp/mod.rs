//! OTLP protobuf: spans and log records of the GenAI conventions, to calls.
//!
//! A span is a call only if it is a leaf of its kind: an outer model span with an inner one in the same message is
//! not. A span brings the call, its timing and (where captured) its texts; a log record brings the call and its
//! texts, or (generation A) texts alone; the call index makes one call of them.

mod attributes;
mod conventions;
mod texts;

use std::collections::{BTreeMap, HashMap, HashSet};

use leeway_core::clock::Micros;
use leeway_core::event::{Brings, Call, Event, Reject, Status, Tokens};
use leeway_core::money::parse_decimal;
use leeway_core::pane::UNIT_WEIGHT;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, LogsData};
use opentelemetry_proto::tonic::trace::v1::{Span, TracesData};
use prost::Message;

use crate::leeway_json::{MAX_LABEL, MAX_MODEL, MAX_TOKENS, classify, cut};
use crate::{Format, Scratch, Sink};
use attributes::Attributes;
use conventions::{DETAILS_EVENT, Field, MESSAGE_EVENTS, OPERATIONS};

/// Spans or log records of one message; more make the whole message too large.
const MAX_RECORDS: usize = 10_000;
/// Longest id that a producer may give.
const MAX_ID: usize = 256;
/// Longest duration, µs; a longer one is a clock that was not set.
const YEAR: u64 = 366 * 86_400_000_000;
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
        traces(&parse::<TracesData>(message, scratch)?, scratch, sink)
    }
}

impl Format for OtlpLogs {
    fn id(&self) -> &'static str {
        "otlp-logs"
    }

    fn decode(&self, message: &[u8], scratch: &mut Scratch, sink: &mut dyn Sink) -> Result<(), Reject> {
        logs(&parse::<LogsData>(message, scratch)?, scratch, sink)
    }
}

/// Spans, else log records: the first field of a span is bytes and of a log record a number, so one of the two fails.
pub fn either(message: &[u8], scratch: &mut Scratch, sink: &mut dyn Sink) -> Result<(), Reject> {
    match parse::<TracesData>(message, scratch) {
        Ok(data) => traces(&data, scratch, sink),
        Err(_) => OtlpLogs.decode(message, scratch, sink),
    }
}

fn parse<M: Message + Default>(message: &[u8], scratch: &Scratch) -> Result<M, Reject> {
    // Counted before they are made: an empty span takes two bytes here and hundreds in memory.
    if message.len() > scratch.options.max_message_bytes || records(message, &[1, 2, 2]) > MAX_RECORDS {
        return Err(Reject::TooLarge);
    }
    M::decode(message).map_err(|_| Reject::Undecodable)
}

/// How many messages lie at the end of a path of fields; spans and log records have one path.
fn records(mut message: &[u8], path: &[u32]) -> usize {
    let Some((field, rest)) = path.split_first() else { return 1 };
    let mut found = 0;
    while let Ok((tag, wire)) = prost::encoding::decode_key(&mut message) {
        if wire == prost::encoding::WireType::LengthDelimited {
            let length =
                prost::encoding::decode_varint(&mut message).ok().and_then(|length| usize::try_from(length).ok());
            let Some((inner, after)) = length.and_then(|length| message.split_at_checked(length)) else { break };
            if tag == *field {
                found += records(inner, rest);
            }
            message = after;
        } else if prost::encoding::skip_field(wire, tag, &mut message, prost::encoding::DecodeContext::default())
            .is_err()
        {
            break;
        }
    }
    found
}

fn traces(data: &TracesData, scratch: &mut Scratch, sink: &mut dyn Sink) -> Result<(), Reject> {
    let mut spans: Vec<(Attributes<'_>, &Span)> = Vec::new();
    for group in &data.resource_spans {
        let resource = Attributes::of_resource(group.resource.as_ref());
        for span in group.scope_spans.iter().flat_map(|scope| &scope.spans) {
            spans.push((Attributes::read(&span.attributes, &resource), span));
        }
    }
    let outer = outer(&spans);
    let mut skipped = 0;
    for (index, (attributes, span)) in spans.iter().enumerate() {
        match operation(attributes) {
            Some(operation) if !outer.contains(&span.span_id[..]) => {
                let names = Names::of(attributes, &span.trace_id, &span.span_id, scratch);
                let made = span_call(attributes, span, operation, &names, scratch);
                sink.record(index as u32, made.map(Event::Call));
            }
            _ => skipped += 1,
        }
    }
    if skipped > 0 {
        sink.skipped(skipped);
    }
    Ok(())
}

/// Ids of model spans that have another model span below them in this message.
fn outer<'s>(spans: &'s [(Attributes<'_>, &Span)]) -> HashSet<&'s [u8]> {
    let parents: HashMap<&[u8], &[u8]> =
        spans.iter().map(|(_, span)| (&span.span_id[..], &span.parent_span_id[..])).collect();
    let mut outer: HashSet<&[u8]> = HashSet::new();
    for (_, span) in spans.iter().filter(|(attributes, _)| operation(attributes).is_some()) {
        let mut above = &span.parent_span_id[..];
        // An id that was seen has its own ancestors marked already; this also ends a circle.
        while !above.is_empty() && above != &span.span_id[..] && outer.insert(above) {
            above = parents.get(above).copied().unwrap_or_default();
        }
    }
    outer
}

/// Leeway's word for the model call that the attributes tell of; `None` where they tell of none.
fn operation(attributes: &Attributes<'_>) -> Option<&'static str> {
    let name = attributes.text(Field::Operation).or_else(|| attributes.text(Field::SpanKind))?;
    OPERATIONS.iter().find(|(known, _)| *known == name).map(|(_, operation)| *operation)
}

fn span_call<'a>(
    attributes: &Attributes<'a>,
    span: &'a Span,
    operation: &'static str,
    names: &'a Names,
    scratch: &mut Scratch,
) -> Result<Call<'a>, Reject> {
    let (start, end) = (micros(span.start_time_unix_nano), micros(span.end_time_unix_nano));
    let time = end.or(start).ok_or(Reject::NoTime)?;
    let mut call = call(attributes, operation, names)?;
    call.time = time;
    call.brings = Brings { call: true, timing: true, text: true, whole: false };
    call.duration_us = start.zip(end).and_then(|(start, end)| u64::try_from(end - start).ok());
    if call.duration_us.is_some_and(|duration| duration > YEAR) {
        return Err(Reject::WrongType("duration_ms"));
    }
    if call.ttft_us.is_none() {
        let first = span.events.iter().find(|event| event.name == "First Token Stream Event");
        let at = first.and_then(|event| micros(event.time_unix_nano));
        call.ttft_us = at.zip(start).and_then(|(at, start)| u64::try_from(at - start).ok());
    }
    // The type of an error may stand in the event of its exception alone.
    let exception = span.events.iter().find(|event| event.name == "exception");
    let raised = exception.map(|event| Attributes::read(&event.attributes, &Attributes::default()));
    let error = attributes.text(Field::ErrorType).or_else(|| raised.and_then(|raised| raised.text(Field::ErrorType)));
    let failed = error.is_some() || span.status.as_ref().is_some_and(|status| status.code == FAILED);
    end_of(&mut call, failed, error.unwrap_or_default(), attributes.count(Field::HttpStatus)?);
    texts::of_attributes(attributes, &mut call, scratch);
    call.incomplete |= span.dropped_attributes_count > 0;
    Ok(call)
}

fn end_of(call: &mut Call<'_>, failed: bool, error: &str, http_status: Option<u64>) {
    let slow = error.to_ascii_lowercase().contains("timeout");
    call.status = match (failed, slow) {
        (true, true) => Status::Timeout,
        (true, false) => Status::Error,
        _ => Status::Ok,
    };
    if failed {
        // Some libraries give the HTTP status as the type.
        let http_status = http_status.or_else(|| error.parse().ok());
        call.error_class = Some(classify(call.status, http_status, error));
    }
}

/// What a call is called, where the message holds it in another form.
struct Names {
    trace: String,
    span: String,
    /// From a JSON map.
    tenant: Option<String>,
}

impl Names {
    fn of(attributes: &Attributes<'_>, trace: &[u8], span: &[u8], scratch: &mut Scratch) -> Self {
        let named = attributes.text(Field::Tenant).is_some_and(|tenant| !tenant.is_empty());
        let metadata = attributes.text(Field::Metadata).filter(|_| !named);
        Self { trace: hex(trace), span: hex(span), tenant: metadata.and_then(|json| texts::tenant_of(json, scratch)) }
    }
}

/// What spans and log records have in common.
fn call<'a>(attributes: &Attributes<'a>, operation: &'static str, names: &'a Names) -> Result<Call<'a>, Reject> {
    let mut cut_labels = 0;
    let mut label = |field: Field, limit: usize| {
        let text = attributes.text(field).unwrap_or_default();
        cut_labels += u32::from(text.len() > limit);
        cut(text, limit)
    };
    let tenant = label(Field::Tenant, MAX_LABEL);
    let app = label(Field::App, MAX_LABEL);
    let mut call = Call {
        tenant: names.tenant.as_deref().unwrap_or(if tenant.is_empty() { "default" } else { tenant }),
        app: if app.is_empty() { "unknown" } else { app },
        environment: label(Field::Environment, MAX_LABEL),
        region: label(Field::Region, MAX_LABEL),
        route: label(Field::Route, MAX_LABEL),
        release: label(Field::Release, MAX_LABEL),
        prompt_version: label(Field::PromptVersion, MAX_LABEL),
        provider: label(Field::Provider, MAX_MODEL),
        request_model: label(Field::RequestModel, MAX_MODEL),
        response_model: label(Field::ResponseModel, MAX_MODEL),
        operation,
        served: true,
        weight_micro: UNIT_WEIGHT,
        ..Call::default()
    };
    call.cut_labels = cut_labels;
    let given = |id: &'a String| Some(id.as_str()).filter(|id| !id.is_empty());
    (call.trace_id, call.span_id) = (given(&names.trace), given(&names.span));
    call.response_id = attributes.text(Field::ResponseId).filter(|id| !id.is_empty());
    if call.response_id.is_some_and(|id| id.len() > MAX_ID) {
        return Err(Reject::TooLarge);
    }
    let tokens = |field: Field| match attributes.count(field)? {
        Some(count) if count > MAX_TOKENS => Err(Reject::WrongType("tokens")),
        count => Ok(count),
    };
    call.tokens = Tokens {
        input: tokens(Field::InputTokens)?,
        output: tokens(Field::OutputTokens)?,
        cache_read: tokens(Field::CacheRead)?,
        cache_write: tokens(Field::CacheWrite)?,
        reasoning: tokens(Field::Reasoning)?,
        audio_in: tokens(Field::AudioIn)?,
        audio_out: tokens(Field::AudioOut)?,
        image_in: None,
    };
    call.ttft_us = attributes.seconds(Field::Ttft)?;
    // Libraries write 0 where they have no price.
    let cost = attributes.number(Field::Cost)?.filter(|cost| *cost > 0.0);
    call.cost = cost.and_then(|cost| parse_decimal(&format!("{cost}"), 9));
    Ok(call)
}

/// Number of the first of one call's message events, and all of them by role.
type Messages<'a> = (u32, Vec<(&'static str, &'a LogRecord)>);

fn logs(data: &LogsData, scratch: &mut Scratch, sink: &mut dyn Sink) -> Result<(), Reject> {
    let (mut index, mut skipped) = (0, 0);
    for group in &data.resource_logs {
        let resource = Attributes::of_resource(group.resource.as_ref());
        // The messages of one call, which only together tell where a value came from.
        let mut calls: BTreeMap<(&[u8], &[u8]), Messages<'_>> = BTreeMap::new();
        for record in group.scope_logs.iter().flat_map(|scope| &scope.log_records) {
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
            } else if event == DETAILS_EVENT && operation(&attributes).is_some() {
                let names = Names::of(&attributes, &record.trace_id, &record.span_id, scratch);
                let made = log_call(&attributes, record, &names, scratch);
                sink.record(index as u32 - 1, made.map(Event::Call));
            } else {
                skipped += 1;
            }
        }
        for ((trace, span), (first, messages)) in calls {
            let names = Names { trace: hex(trace), span: hex(span), tenant: None };
            let number = messages.len() as u32;
            let made = message_call(&resource, &messages, &names);
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
    names: &'a Names,
    scratch: &mut Scratch,
) -> Result<Call<'a>, Reject> {
    let operation = operation(attributes).unwrap_or("chat");
    let mut call = call(attributes, operation, names)?;
    call.time = logged_at(record)?;
    call.brings = Brings { call: true, timing: false, text: true, whole: false };
    let error = attributes.text(Field::ErrorType);
    end_of(&mut call, error.is_some(), error.unwrap_or_default(), attributes.count(Field::HttpStatus)?);
    texts::of_attributes(attributes, &mut call, scratch);
    call.incomplete |= record.dropped_attributes_count > 0;
    Ok(call)
}

/// Texts of one call from its message events: they say nothing else of it.
fn message_call<'a>(
    resource: &Attributes<'a>,
    messages: &[(&'static str, &'a LogRecord)],
    names: &'a Names,
) -> Result<Call<'a>, Reject> {
    let newest = messages.last().ok_or(Reject::Undecodable)?.1;
    let attributes = Attributes::read(&newest.attributes, resource);
    let mut call = call(&attributes, "chat", names)?;
    call.time = logged_at(newest)?;
    call.brings = Brings { call: false, timing: false, text: true, whole: false };
    for (role, record) in messages {
        texts::of_message(role, record.body.as_ref(), &mut call);
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
