//! Leeway JSON: one object, an array of them, or one on each line.

use std::borrow::Cow;

use leeway_core::embedding::Features;
use leeway_core::event::{
    Call, ERROR_CLASSES, Event, Moderation, OPERATIONS, Part, Reject, Score, Status, Text, TextState, finish_reason,
};
use leeway_core::pane::UNIT_WEIGHT;

use crate::cursor::Value;
use crate::moderation;
use crate::{Format, Options, Scratch, Sink, records};

/// Longest id; a longer one rejects the event.
pub const MAX_ID: usize = 256;
/// Longest label, bytes; a longer one is cut and counted.
pub const MAX_LABEL: usize = 128;
pub const MAX_MODEL: usize = 256;
const MAX_DIMS: usize = 16;
/// Records of one message; more make the whole message too large.
pub const MAX_RECORDS: usize = 100_000;
/// No call has more; a larger count is a mistake that would drown every sum.
pub const MAX_TOKENS: u64 = 1_000_000_000_000;
const MAX_SCORES: usize = 256;

/// Schema versions that this program reads.
const NEWEST: u64 = 1;

#[derive(Debug)]
pub struct LeewayJson;

impl Format for LeewayJson {
    fn id(&self) -> &'static str {
        "leeway-json"
    }

    fn decode(&self, message: &[u8], scratch: &mut Scratch, sink: &mut dyn Sink) -> Result<(), Reject> {
        each(message, scratch, sink, record)
    }
}

/// Reads one value as a record.
pub type ReadRecord = fn(Value<'_, '_>, u32, &Options, &mut dyn Sink);

/// Reads every record of a JSON message: one object, an array of them, or one on each line.
pub fn each(message: &[u8], scratch: &mut Scratch, sink: &mut dyn Sink, read: ReadRecord) -> Result<(), Reject> {
    if message.len() > scratch.options.max_message_bytes {
        return Err(Reject::TooLarge);
    }
    if !one_per_line(message) {
        return scratch.parse(message, |tape, options| whole(Value(&tape.0), options, sink, read))?;
    }
    if message.iter().filter(|byte| **byte == b'\n').count() > MAX_RECORDS {
        return Err(Reject::TooLarge);
    }
    for (index, line) in message.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).enumerate() {
        let index = index as u32;
        let parsed = scratch.parse(line, |tape, options| read(Value(&tape.0), index, options, sink));
        if let Err(reason) = parsed {
            sink.record(index, Err(reason));
        }
    }
    Ok(())
}

/// Reads one object as the record with that number.
pub fn one(object: &[u8], index: u32, scratch: &mut Scratch, sink: &mut dyn Sink) -> Result<(), Reject> {
    scratch.parse(object, |tape, options| record(Value(&tape.0), index, options, sink))
}

/// Whether the message is NDJSON: its first line closes an object and something follows that cannot continue it.
/// (A raw line feed cannot stand inside a JSON string, so it is white space or a separator.)
pub fn one_per_line(message: &[u8]) -> bool {
    let message = message.trim_ascii();
    let Some(end) = memchr::memchr(b'\n', message) else { return false };
    let (first, rest) = (message[..end].trim_ascii_end(), message[end..].trim_ascii_start());
    let continues = matches!(rest.first(), Some(b'}' | b']' | b',' | b':'));
    first.starts_with(b"{") && first.ends_with(b"}") && !continues
}

fn whole(value: Value<'_, '_>, options: &Options, sink: &mut dyn Sink, read: ReadRecord) -> Result<(), Reject> {
    match value.items() {
        None if value.fields().is_none() => Err(Reject::Undecodable),
        None => {
            read(value, 0, options, sink);
            Ok(())
        }
        Some(items) if items.clone().nth(MAX_RECORDS).is_some() => Err(Reject::TooLarge),
        Some(items) => {
            for (index, item) in items.enumerate() {
                read(item, index as u32, options, sink);
            }
            Ok(())
        }
    }
}

fn record(value: Value<'_, '_>, index: u32, options: &Options, sink: &mut dyn Sink) {
    let mut unknown = 0;
    let decoded = match kind(value) {
        Ok("call") => call(value, options, &mut unknown).map(Event::Call),
        Ok(kind) => records::record(kind, value, options, &mut unknown).map(Event::Record),
        Err(reason) => Err(reason),
    };
    if unknown > 0 {
        sink.unknown_fields(unknown);
    }
    sink.record(index, decoded);
}

/// Looks ahead for `kind` and `v`: they decide how the rest is read.
fn kind<'i>(value: Value<'_, 'i>) -> Result<&'i str, Reject> {
    let mut kind = "call";
    for (key, value) in value.fields().ok_or(Reject::Undecodable)? {
        match key {
            "kind" => kind = value.text("kind")?.unwrap_or("call"),
            "v" if value.count("v")?.unwrap_or(1) != NEWEST => return Err(Reject::UnknownSchema),
            _ => {}
        }
    }
    Ok(kind)
}

fn call<'i>(value: Value<'_, 'i>, options: &Options, unknown: &mut u32) -> Result<Call<'i>, Reject> {
    let mut call = Call {
        tenant: "default",
        app: "unknown",
        operation: "chat",
        served: true,
        weight_micro: UNIT_WEIGHT,
        ..Call::default()
    };
    let mut seen = Seen::default();
    for (key, value) in value.fields().ok_or(Reject::Undecodable)? {
        if !field(&mut call, &mut seen, key, value)? {
            *unknown += 1;
        }
    }
    call.time = match (seen.time, seen.started_at) {
        (Some(time), _) => time,
        // The start alone: the end is start + duration, or the start where that is unknown.
        (None, Some(start)) => start.saturating_add(call.duration_us.unwrap_or(0) as i64),
        (None, None) => return Err(Reject::NoTime),
    };
    let no_documents = seen.retrieved && !call.texts.iter().any(|text| text.part == Part::Document);
    call.incomplete |= seen.no_texts || call.text_state != TextState::Unsaid || no_documents;
    moderation::of_guard(&mut call);
    if let Some(value) = seen.embedding.filter(|_| !options.spaces.is_empty()) {
        match embedding(value, &options.spaces) {
            Ok(found) => call.embedding = found,
            Err(_) => *unknown += 1,
        }
    }
    if !seen.error_type.is_empty() {
        call.texts.push(Text::new(Part::Telemetry, seen.error_type));
        call.failure[0] = seen.error_type.into();
    }
    if call.status.failed() && call.error_class.is_none() {
        call.error_class = Some(classify(call.status, seen.http_status, seen.error_type));
    }
    Ok(call)
}

/// Fields that other fields are derived from.
#[derive(Default)]
struct Seen<'t, 'i> {
    time: Option<i64>,
    started_at: Option<i64>,
    http_status: Option<u64>,
    error_type: &'i str,
    /// The producer says that texts are absent or elsewhere.
    no_texts: bool,
    /// Something was retrieved.
    retrieved: bool,
    embedding: Option<Value<'t, 'i>>,
}

/// Reads one field; `false` where the schema does not know it. Every known field is checked, also those that no
/// page reads yet.
fn field<'t, 'i>(
    call: &mut Call<'i>,
    seen: &mut Seen<'t, 'i>,
    key: &str,
    value: Value<'t, 'i>,
) -> Result<bool, Reject> {
    match key {
        "v" | "kind" => {}
        "id" => call.id = id(value, "id")?,
        "time" => seen.time = value.time("time")?,
        "started_at" => seen.started_at = value.time("started_at")?,
        "tenant" => label(call, value, "tenant", MAX_LABEL, |call, text| call.tenant = text)?,
        "app" => label(call, value, "app", MAX_LABEL, |call, text| call.app = text)?,
        "environment" => label(call, value, "environment", MAX_LABEL, |call, text| call.environment = text)?,
        "region" => label(call, value, "region", MAX_LABEL, |call, text| call.region = text)?,
        "route" => label(call, value, "route", MAX_LABEL, |call, text| call.route = text)?,
        "release" => label(call, value, "release", MAX_LABEL, |call, text| call.release = text)?,
        "prompt_version" => label(call, value, "prompt_version", MAX_LABEL, |call, text| call.prompt_version = text)?,
        "index_version" => label(call, value, "index_version", MAX_LABEL, |call, text| call.index_version = text)?,
        "provider" => label(call, value, "provider", MAX_MODEL, |call, text| call.provider = text)?,
        "request_model" => label(call, value, "request_model", MAX_MODEL, |call, text| call.request_model = text)?,
        "response_model" => label(call, value, "response_model", MAX_MODEL, |call, text| call.response_model = text)?,
        "dims" => dims(call, value)?,
        "operation" => {
            if let Some(text) = value.text("operation")? {
                call.operation =
                    OPERATIONS.iter().find(|known| **known == text).ok_or(Reject::WrongType("operation"))?;
            }
        }
        "served" => call.served = value.bool("served")?.unwrap_or(true),
        "trace_id" => call.trace_id = id(value, "trace_id")?,
        "span_id" => call.span_id = id(value, "span_id")?,
        "response_id" => call.response_id = id(value, "response_id")?,
        "conversation" => call.conversation = id(value, "conversation")?.or(call.conversation),
        "session" => call.conversation = call.conversation.or(id(value, "session")?),
        "status" => call.status = one_of(value, "status", &Status::NAMES)?.unwrap_or_default(),
        "error_type" => seen.error_type = value.text("error_type")?.unwrap_or(""),
        "error_class" => {
            if let Some(text) = value.text("error_class")? {
                let index =
                    ERROR_CLASSES.iter().position(|known| *known == text).ok_or(Reject::WrongType("error_class"))?;
                call.error_class = Some(index as u8);
            }
        }
        "stream" => call.stream = value.bool("stream")?,
        "finish_reasons" => call.finish_reasons = finish_reasons(value)?,
        "http_status" => seen.http_status = value.count("http_status")?,
        "fallback" => call.fallback = value.bool("fallback")?.unwrap_or(false),
        "tokens" => tokens(call, value)?,
        "duration_ms" => call.duration_us = value.duration("duration_ms")?,
        "ttft_ms" => call.ttft_us = value.duration("ttft_ms")?,
        "cost_usd" => call.cost = value.money("cost_usd")?,
        "scores" => scores(call, value)?,
        "sample_probability" => call.weight_micro = weight(value)?,
        "text" => texts(call, value)?,
        "text_state" => (call.text_state, seen.no_texts) = text_state(value)?,
        "user" => call.user = id(value, "user")?,
        "schema_valid" => call.schema_valid = value.bool("schema_valid")?,
        "moderation" => labels(call, value)?,
        "embedding" if value.null() => {}
        "embedding" if value.fields().is_none() => return Err(Reject::WrongType("embedding")),
        "embedding" => seen.embedding = Some(value),
        "retrieval" => seen.retrieved = retrieved(value)?,
        _ => return checked_only(key, value),
    }
    Ok(true)
}

/// Known fields whose readers are later steps: their type is checked here, their content goes no further.
fn checked_only(key: &str, value: Value<'_, '_>) -> Result<bool, Reject> {
    match key {
        "prompt" | "policy_version" | "tokens_source" | "routed_by" | "fallback_from" => {
            value.text(known(key))?;
        }
        "parent_span_id" | "call_id" | "task" => {
            id(value, known(key))?;
        }
        "explored" => {
            value.bool(known(key))?;
        }
        "attempt" => {
            value.count("attempt")?;
        }
        "queue_ms" | "retrieval_ms" | "guardrail_ms" => {
            value.duration(known(key))?;
        }
        "confidence" => {
            let confidence = value.number("confidence")?;
            if confidence.is_some_and(|c| !(0.0..=1.0).contains(&c)) {
                return Err(Reject::WrongType("confidence"));
            }
        }
        "cache" if !value.null() && value.items().is_none() => {
            return Err(Reject::WrongType(known(key)));
        }
        "citations" | "claims" | "tool" | "features" | "links" if !value.null() && value.fields().is_none() => {
            return Err(Reject::WrongType(known(key)));
        }
        "cache" | "citations" | "claims" | "tool" | "features" | "links" => {}
        _ => return Ok(false),
    }
    Ok(true)
}

/// The schema's own copy of a field name, for errors that outlive the message.
fn known(key: &str) -> &'static str {
    const NAMES: [&str; 18] = [
        "prompt",
        "policy_version",
        "tokens_source",
        "routed_by",
        "fallback_from",
        "parent_span_id",
        "call_id",
        "task",
        "explored",
        "queue_ms",
        "retrieval_ms",
        "guardrail_ms",
        "cache",
        "citations",
        "claims",
        "tool",
        "features",
        "links",
    ];
    NAMES.iter().find(|name| **name == key).copied().unwrap_or("")
}

/// Choices of one call; more are not looked at.
pub const MAX_CHOICES: usize = 16;

fn finish_reasons(value: Value<'_, '_>) -> Result<Vec<u8>, Reject> {
    let Some(items) = value.items() else {
        return if value.null() { Ok(Vec::new()) } else { Err(Reject::WrongType("finish_reasons")) };
    };
    items.take(MAX_CHOICES).map(|item| Ok(finish_reason(item.text("finish_reasons")?.unwrap_or_default()))).collect()
}

pub fn id<'i>(value: Value<'_, 'i>, field: &'static str) -> Result<Option<&'i str>, Reject> {
    match value.text(field)? {
        Some(text) if text.len() > MAX_ID => Err(Reject::TooLarge),
        Some("") => Ok(None),
        text => Ok(text),
    }
}

pub fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

fn label<'i>(
    call: &mut Call<'i>,
    value: Value<'_, 'i>,
    field: &'static str,
    limit: usize,
    set: impl FnOnce(&mut Call<'i>, &'i str),
) -> Result<(), Reject> {
    match value.text(field)? {
        // An empty tenant or app is a missing one.
        None | Some("") => {}
        Some(text) if text.len() <= limit => set(call, text),
        Some(text) => {
            call.cut_labels += 1;
            set(call, cut(text, limit));
        }
    }
    Ok(())
}

fn dims<'i>(call: &mut Call<'i>, value: Value<'_, 'i>) -> Result<(), Reject> {
    if value.null() {
        return Ok(());
    }
    for (key, value) in value.fields().ok_or(Reject::WrongType("dims"))?.take(MAX_DIMS) {
        if let Some(text) = value.text("dims")? {
            call.cut_labels += u32::from(text.len() > MAX_LABEL);
            call.dims.push((key, cut(text, MAX_LABEL)));
        }
    }
    Ok(())
}

fn one_of<T: Copy>(value: Value<'_, '_>, field: &'static str, names: &[(&str, T)]) -> Result<Option<T>, Reject> {
    let Some(text) = value.text(field)? else { return Ok(None) };
    let found = names.iter().find(|(name, _)| *name == text);
    found.map(|(_, it)| Some(*it)).ok_or(Reject::WrongType(field))
}

fn tokens(call: &mut Call<'_>, value: Value<'_, '_>) -> Result<(), Reject> {
    if value.null() {
        return Ok(());
    }
    for (key, value) in value.fields().ok_or(Reject::WrongType("tokens"))? {
        if let Some(slot) = call.tokens.slot(key) {
            *slot = value.count("tokens")?;
            if slot.is_some_and(|count| count > MAX_TOKENS) {
                return Err(Reject::WrongType("tokens"));
            }
        }
    }
    Ok(())
}

fn scores<'i>(call: &mut Call<'i>, value: Value<'_, 'i>) -> Result<(), Reject> {
    if value.null() {
        return Ok(());
    }
    for item in value.items().ok_or(Reject::WrongType("scores"))?.take(MAX_SCORES) {
        let (mut name, mut micro) = (None, None);
        for (key, value) in item.fields().ok_or(Reject::WrongType("scores"))? {
            match key {
                "name" => name = value.text("scores")?,
                "value" => micro = value.score("scores")?,
                _ => {}
            }
        }
        let name = name.filter(|name| !name.is_empty()).ok_or(Reject::WrongType("scores"))?;
        call.scores.push(Score { name: cut(name, MAX_LABEL), micro });
    }
    Ok(())
}

/// Of an embedding of a space that is counted the features of its vector; `Err` of one that is none of that space: the call is counted
/// without it.
fn embedding<'i>(value: Value<'_, 'i>, spaces: &[(String, usize)]) -> Result<Option<(&'i str, Features)>, Reject> {
    const WRONG: Reject = Reject::WrongType("embedding");
    let member = |name: &str| value.fields().and_then(|mut fields| fields.find(|(key, _)| *key == name));
    let Some((_, space)) = member("space") else { return Err(WRONG) };
    let space = space.text("embedding")?.ok_or(WRONG)?;
    let Some((_, length)) = spaces.iter().find(|(known, _)| known == space) else { return Ok(None) };
    let items = member("vector").and_then(|(_, vector)| vector.items()).ok_or(WRONG)?;
    let mut vector = Vec::with_capacity(*length);
    for number in items {
        if vector.len() == *length {
            return Err(WRONG);
        }
        vector.push(number.number("embedding")?.ok_or(WRONG)? as f32);
    }
    let whole = vector.len() == *length;
    Features::of(&vector).filter(|_| whole).map(|features| Some((space, features))).ok_or(WRONG)
}

/// The texts of a call, borrowed; they end in the scan.
fn texts<'i>(call: &mut Call<'i>, value: Value<'_, 'i>) -> Result<(), Reject> {
    const WRONG: Reject = Reject::WrongType("text");
    if value.null() {
        return Ok(());
    }
    for (key, value) in value.fields().ok_or(WRONG)? {
        let part = match key {
            "input" => Part::Input,
            "output" => Part::Output,
            "system" => Part::System,
            "documents" => Part::Document,
            "history" => Part::History,
            _ => continue,
        };
        if value.null() {
            continue;
        }
        match (part, value.items()) {
            (Part::Document | Part::History, Some(items)) => {
                for item in items {
                    let own = |(key, _): &(&str, Value<'_, '_>)| matches!(*key, "text" | "content");
                    let inner = item.fields().and_then(|mut fields| fields.find(own)).map_or(item, |(_, value)| value);
                    let said = |name: &str| {
                        let member = item.fields().and_then(|mut fields| fields.find(|(key, _)| *key == name));
                        member.and_then(|(_, value)| value.prose()).unwrap_or_default()
                    };
                    // A document may be told by its id alone.
                    match inner.prose() {
                        Some(text) => {
                            let (owner, id) = (said("tenant"), said("id"));
                            call.texts.push(Text { part, text: Cow::Borrowed(text), owner, id });
                        }
                        None if item.fields().is_some() => call.incomplete = true,
                        None => return Err(WRONG),
                    }
                }
            }
            _ => call.texts.push(Text::new(part, value.prose().ok_or(WRONG)?)),
        }
    }
    Ok(())
}

/// Whether texts are hidden or cut, and whether they are not there at all.
fn text_state(value: Value<'_, '_>) -> Result<(TextState, bool), Reject> {
    match value.text("text_state")? {
        None | Some("present") => Ok((TextState::Unsaid, false)),
        Some("redacted") => Ok((TextState::Redacted, false)),
        Some("truncated") => Ok((TextState::Truncated, false)),
        Some("absent" | "external") => Ok((TextState::Unsaid, true)),
        Some(_) => Err(Reject::WrongType("text_state")),
    }
}

/// Whether something was retrieved, so that documents belong to the texts.
fn retrieved(value: Value<'_, '_>) -> Result<bool, Reject> {
    if value.null() {
        return Ok(false);
    }
    let mut any = false;
    for (key, value) in value.fields().ok_or(Reject::WrongType("retrieval"))? {
        any |= match key {
            "k" => value.count("retrieval")?.is_some_and(|k| k > 0),
            "ids" => value.items().is_some_and(|mut items| items.next().is_some()),
            _ => false,
        };
    }
    Ok(any)
}

/// Moderation as the schema has it, or one service's answer.
fn labels<'i>(call: &mut Call<'i>, value: Value<'_, 'i>) -> Result<(), Reject> {
    const WRONG: Reject = Reject::WrongType("moderation");
    if value.null() {
        return Ok(());
    }
    if value.fields().is_some() {
        // A service's answer, as it gave it.
        return if moderation::answer(call, value) { Ok(()) } else { Err(WRONG) };
    }
    for item in value.items().ok_or(WRONG)?.take(MAX_SCORES) {
        let mut label =
            Moderation { source: "unknown", version: "", category: "unknown", raised: false, blocked: false };
        for (key, value) in item.fields().ok_or(WRONG)? {
            match key {
                "source" => label.source = cut(value.text("moderation")?.unwrap_or("unknown"), 64),
                "source_version" => label.version = cut(value.text("moderation")?.unwrap_or_default(), 64),
                "category" => label.category = cut(value.text("moderation")?.unwrap_or("unknown"), 64),
                "action" => match value.text("moderation")? {
                    None | Some("none") => {}
                    Some("flag") => label.raised = true,
                    Some("block") => (label.raised, label.blocked) = (true, true),
                    Some(_) => return Err(WRONG),
                },
                _ => {}
            }
        }
        call.moderation.push(label);
    }
    Ok(())
}

fn weight(value: Value<'_, '_>) -> Result<u64, Reject> {
    match value.number("sample_probability")? {
        None => Ok(UNIT_WEIGHT),
        // One in a million is the rarest sample whose weight still fits a week of sums.
        Some(p) if (1e-6..=1.0).contains(&p) => Ok((UNIT_WEIGHT as f64 / p).round() as u64),
        Some(_) => Err(Reject::WrongType("sample_probability")),
    }
}

/// Words of error types and messages, lower case, with their class; the first that a text holds decides.
const ERROR_WORDS: &[(&str, &str)] = &[
    ("context_length", "context_length"),
    ("context length", "context_length"),
    ("contextwindow", "context_length"),
    ("context window", "context_length"),
    ("prompt is too long", "context_length"),
    ("input is too long", "context_length"),
    ("maximum number of tokens", "context_length"),
    ("content_filter", "content_filter"),
    ("content filter", "content_filter"),
    ("contentpolicy", "content_filter"),
    ("content management policy", "content_filter"),
    ("ratelimit", "rate_limit"),
    ("rate_limit", "rate_limit"),
    ("rate limit", "rate_limit"),
    ("too many requests", "rate_limit"),
    ("throttl", "rate_limit"),
    ("resource_exhausted", "rate_limit"),
    ("resourceexhausted", "rate_limit"),
    ("timeout", "timeout"),
    ("timed out", "timeout"),
    ("deadline exceeded", "timeout"),
    ("deadline_exceeded", "timeout"),
    ("auth", "auth"),
    ("permission", "auth"),
    ("access denied", "auth"),
    ("accessdenied", "auth"),
    ("api key", "auth"),
    ("api-key", "auth"),
    ("api_key", "auth"),
    ("connection", "connection"),
    ("connect error", "connection"),
    ("server", "server"),
    ("overloaded", "server"),
    ("unavailable", "server"),
    ("badrequest", "client"),
    ("bad request", "client"),
    ("invalid_request", "client"),
    ("invalid_argument", "client"),
    ("validationexception", "client"),
];

/// The class of an error, by HTTP status and the provider's own type or message, where the producer gave none.
pub fn classify(status: Status, http_status: Option<u64>, told: &str) -> u8 {
    let told = told.to_ascii_lowercase();
    let word = ERROR_WORDS.iter().find(|(word, _)| told.contains(word)).map(|(_, class)| *class);
    let class = match http_status.or_else(|| status_in(&told)) {
        _ if status == Status::Timeout => "timeout",
        Some(429) => "rate_limit",
        Some(401 | 403) => "auth",
        Some(408 | 504) => "timeout",
        Some(500..=599) => "server",
        // What was wrong with a request, its words may say.
        Some(400..=499) => word.filter(|word| matches!(*word, "context_length" | "content_filter")).unwrap_or("client"),
        _ => word.unwrap_or("other"),
    };
    ERROR_CLASSES.iter().position(|known| *known == class).unwrap_or(ERROR_CLASSES.len() - 1) as u8
}

/// An HTTP status of failure in a lower-case message: `error code: 429 - …`, `(status code: 503)`, `429 resource_…`.
fn status_in(told: &str) -> Option<u64> {
    let bytes = told.as_bytes();
    let number = |at: usize| {
        let digits = bytes.get(at..at + 3)?;
        let ends = !bytes.get(at + 3).is_some_and(u8::is_ascii_alphanumeric);
        let begins = at == 0 || !bytes[at - 1].is_ascii_alphanumeric();
        let failure = matches!(digits[0], b'4' | b'5') && digits.iter().all(u8::is_ascii_digit);
        (failure && ends && begins).then(|| digits.iter().fold(0, |n, digit| n * 10 + u64::from(digit - b'0')))
    };
    // At the start, or right after a word that says what it is.
    number(0).or_else(|| {
        ["code", "status", "http"].iter().find_map(|word| {
            told.match_indices(word).take(8).find_map(|(at, _)| (at + word.len()..at + word.len() + 4).find_map(number))
        })
    })
}

#[cfg(test)]
mod tests;
