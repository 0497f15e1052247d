//! OTLP as JSON, in every spelling that clients send: names in camel or snake case, ids in hex or base64, enums by
//! number or name, 64-bit integers as text, doubles as `"NaN"`, nulls, empty lists.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use leeway_core::event::Reject;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, LogsData, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, TracesData, span};
use simd_json::{Node, StaticNode};

use super::{FAILED, MAX_RECORDS};
use crate::cursor::Value;

/// Deepest attribute value; a deeper one is none.
const MAX_NESTED: usize = 32;

type Read<T> = Result<T, Reject>;

/// Whether a JSON message is OTLP: its first key is one of the protocol's.
pub fn is_otlp(message: &[u8]) -> bool {
    let Some(rest) = message.trim_ascii_start().strip_prefix(b"{") else { return false };
    let Some(key) = rest.trim_ascii_start().strip_prefix(b"\"") else { return false };
    let key: Vec<u8> = key.iter().take(20).take_while(|byte| **byte != b'"').copied().collect();
    ["resourcespans", "resourcelogs", "resourcemetrics"].iter().any(|name| is(&String::from_utf8_lossy(&key), name))
}

/// Nodes of one message: more make structs that are many times its size.
const MAX_NODES: usize = 2_000_000;

/// Records that cannot be read: their number, and why.
type Bad = Vec<(u32, Reject)>;

pub fn traces(value: Value<'_, '_>) -> Read<(TracesData, Bad)> {
    bounded(value)?;
    let (mut count, mut bad) = (0, Bad::new());
    let resource_spans = list(value, "resourcespans", |group| {
        let scope_spans = list(group, "scopespans", |scope| {
            let spans = list(scope, "spans", |value| one(value, span, &mut count, &mut bad))?;
            let spans = spans.into_iter().flatten().collect();
            Ok(ScopeSpans { scope: named(scope), spans, ..ScopeSpans::default() })
        })?;
        Ok(ResourceSpans { resource: resource(group)?, scope_spans, ..ResourceSpans::default() })
    })?;
    Ok((TracesData { resource_spans }, bad))
}

pub fn logs(value: Value<'_, '_>) -> Read<(LogsData, Bad)> {
    bounded(value)?;
    let (mut count, mut bad) = (0, Bad::new());
    let resource_logs = list(value, "resourcelogs", |group| {
        let scope_logs = list(group, "scopelogs", |scope| {
            let log_records = list(scope, "logrecords", |value| one(value, record, &mut count, &mut bad))?;
            let log_records = log_records.into_iter().flatten().collect();
            Ok(ScopeLogs { scope: named(scope), log_records, ..ScopeLogs::default() })
        })?;
        Ok(ResourceLogs { resource: resource(group)?, scope_logs, ..ResourceLogs::default() })
    })?;
    Ok((LogsData { resource_logs }, bad))
}

fn bounded(value: Value<'_, '_>) -> Read<()> {
    if value.0.len() > MAX_NODES { Err(Reject::TooLarge) } else { Ok(()) }
}

/// One record, or its reason to be none.
fn one<T>(
    value: Value<'_, '_>,
    read: fn(Value<'_, '_>) -> Read<T>,
    count: &mut usize,
    bad: &mut Bad,
) -> Read<Option<T>> {
    *count += 1;
    if *count > MAX_RECORDS {
        return Err(Reject::TooLarge);
    }
    match read(value) {
        Ok(record) => Ok(Some(record)),
        Err(reason) => {
            bad.push((*count as u32 - 1, reason));
            Ok(None)
        }
    }
}

fn span(value: Value<'_, '_>) -> Read<Span> {
    let status = member(value, "status").map(|status| -> Read<Status> {
        let code = match member(status, "code") {
            Some(code) if text(code).is_some_and(|name| name.ends_with("ERROR")) => FAILED,
            Some(code) if text(code).is_some_and(|name| name.starts_with("STATUS")) => 0,
            code => number(code)? as i32,
        };
        let message = member(status, "message").and_then(text).unwrap_or_default().to_owned();
        Ok(Status { code, message })
    });
    Ok(Span {
        trace_id: id(value, "traceid", 16)?,
        span_id: id(value, "spanid", 8)?,
        parent_span_id: id(value, "parentspanid", 8)?,
        name: member(value, "name").and_then(text).unwrap_or_default().to_owned(),
        start_time_unix_nano: number(member(value, "starttimeunixnano"))?,
        end_time_unix_nano: number(member(value, "endtimeunixnano"))?,
        attributes: attributes(value, 0)?,
        dropped_attributes_count: number(member(value, "droppedattributescount"))? as u32,
        events: list(value, "events", |event| {
            Ok(span::Event {
                time_unix_nano: number(member(event, "timeunixnano"))?,
                name: member(event, "name").and_then(text).unwrap_or_default().to_owned(),
                attributes: attributes(event, 0)?,
                ..span::Event::default()
            })
        })?,
        status: status.transpose()?,
        ..Span::default()
    })
}

fn record(value: Value<'_, '_>) -> Read<LogRecord> {
    Ok(LogRecord {
        time_unix_nano: number(member(value, "timeunixnano"))?,
        observed_time_unix_nano: number(member(value, "observedtimeunixnano"))?,
        body: member(value, "body").map(|body| any(body, 0)).transpose()?,
        attributes: attributes(value, 0)?,
        dropped_attributes_count: number(member(value, "droppedattributescount"))? as u32,
        trace_id: id(value, "traceid", 16)?,
        span_id: id(value, "spanid", 8)?,
        event_name: member(value, "eventname").and_then(text).unwrap_or_default().to_owned(),
        ..LogRecord::default()
    })
}

/// The instrumentation's name.
fn named(group: Value<'_, '_>) -> Option<InstrumentationScope> {
    let name = text(member(member(group, "scope")?, "name")?)?;
    Some(InstrumentationScope { name: name.to_owned(), ..InstrumentationScope::default() })
}

fn resource(group: Value<'_, '_>) -> Read<Option<Resource>> {
    let resource = member(group, "resource");
    resource.map(|value| Ok(Resource { attributes: attributes(value, 0)?, ..Resource::default() })).transpose()
}

fn attributes(of: Value<'_, '_>, depth: usize) -> Read<Vec<KeyValue>> {
    list(of, "attributes", |pair| key_value(pair, depth))
}

fn key_value(pair: Value<'_, '_>, depth: usize) -> Read<KeyValue> {
    let key = member(pair, "key").and_then(text).unwrap_or_default().to_owned();
    let value = member(pair, "value").map(|value| any(value, depth)).transpose()?;
    Ok(KeyValue { key, value, ..KeyValue::default() })
}

fn any(value: Value<'_, '_>, depth: usize) -> Read<AnyValue> {
    let Some((key, inner)) = value.fields().and_then(|mut fields| fields.find(|(_, inner)| !inner.null())) else {
        return Ok(AnyValue::default());
    };
    if depth > MAX_NESTED {
        return Err(Reject::TooDeep);
    }
    let found = if is(key, "stringvalue") {
        text(inner).map(|text| any_value::Value::StringValue(text.to_owned()))
    } else if is(key, "boolvalue") {
        inner.bool("attributes")?.map(any_value::Value::BoolValue)
    } else if is(key, "intvalue") {
        signed(inner)?.map(any_value::Value::IntValue)
    } else if is(key, "doublevalue") {
        Some(any_value::Value::DoubleValue(double(inner)?))
    } else if is(key, "arrayvalue") {
        let values = list(inner, "values", |item| any(item, depth + 1))?;
        Some(any_value::Value::ArrayValue(ArrayValue { values }))
    } else if is(key, "kvlistvalue") {
        let values = list(inner, "values", |pair| key_value(pair, depth + 1))?;
        Some(any_value::Value::KvlistValue(KeyValueList { values }))
    } else {
        // Bytes are no text and no number: nobody reads them.
        None
    };
    Ok(AnyValue { value: found })
}

/// Whether a key is this name, which is given in lower case without underscores.
fn is(key: &str, name: &str) -> bool {
    let plain = key.bytes().filter(|byte| *byte != b'_').map(|byte| byte.to_ascii_lowercase());
    plain.eq(name.bytes())
}

fn member<'t, 'i>(value: Value<'t, 'i>, name: &str) -> Option<Value<'t, 'i>> {
    value.fields()?.find(|(key, value)| is(key, name) && !value.null()).map(|(_, value)| value)
}

/// Elements of a member that is a list; none where it is missing.
fn list<'t, 'i, T>(of: Value<'t, 'i>, name: &str, read: impl FnMut(Value<'t, 'i>) -> Read<T>) -> Read<Vec<T>> {
    match member(of, name) {
        None => Ok(Vec::new()),
        Some(value) => value.items().ok_or(Reject::Undecodable)?.map(read).collect(),
    }
}

fn text<'i>(value: Value<'_, 'i>) -> Option<&'i str> {
    value.prose()
}

/// An unsigned number, also as text; 0 where it is missing.
fn number(value: Option<Value<'_, '_>>) -> Read<u64> {
    match value.map(Value::node) {
        None => Ok(0),
        Some(Node::Static(StaticNode::U64(number))) => Ok(number),
        Some(Node::String("")) => Ok(0),
        Some(Node::String(text)) => text.parse().map_err(|_| Reject::Undecodable),
        Some(Node::Static(StaticNode::I64(_))) => Err(Reject::NegativeCount),
        _ => Err(Reject::Undecodable),
    }
}

fn signed(value: Value<'_, '_>) -> Read<Option<i64>> {
    match value.node() {
        Node::Static(StaticNode::I64(number)) => Ok(Some(number)),
        Node::Static(StaticNode::U64(number)) => i64::try_from(number).map(Some).map_err(|_| Reject::Undecodable),
        Node::String(text) => text.parse().map(Some).map_err(|_| Reject::Undecodable),
        _ => Err(Reject::Undecodable),
    }
}

fn double(value: Value<'_, '_>) -> Read<f64> {
    match value.node() {
        Node::String("NaN") => Ok(f64::NAN),
        Node::String("Infinity") => Ok(f64::INFINITY),
        Node::String("-Infinity") => Ok(f64::NEG_INFINITY),
        Node::String(text) => text.parse().map_err(|_| Reject::Undecodable),
        _ => value.number("attributes")?.ok_or(Reject::Undecodable),
    }
}

/// An id of so many bytes, in hex or base64; empty where it is unset.
fn id(value: Value<'_, '_>, name: &str, bytes: usize) -> Read<Vec<u8>> {
    let text = member(value, name).and_then(text).unwrap_or_default();
    if text.len() == 2 * bytes
        && let Some(id) = unhex(text)
    {
        return Ok(id);
    }
    if text.is_empty() {
        return Ok(Vec::new());
    }
    STANDARD.decode(text).ok().filter(|id| id.len() == bytes).ok_or(Reject::Undecodable)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}
