//! Simulated calls as OpenTelemetry clients send them (GenAI conventions, generation C): a span and a log record.

use leeway_core::clock::Micros;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, LogsData, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, TracesData};

use super::{ENVIRONMENT, RELEASE, Simulated};

/// Status code ERROR of a span.
const FAILED: i32 = 2;

/// The two messages of one call. `sequence` makes its ids.
pub fn pair(call: &Simulated, seed: u64, sequence: u64) -> (TracesData, LogsData) {
    let trace_id = [seed.to_be_bytes(), (sequence + 1).to_be_bytes()].concat();
    let span_id = (sequence + 1).to_be_bytes().to_vec();
    let failed = call.status != "ok";
    let end = nanos(call.time);
    let span = Span {
        trace_id: trace_id.clone(),
        span_id: span_id.clone(),
        name: format!("chat {}", call.arrival.model),
        start_time_unix_nano: end - (call.duration_ms * 1e6) as u64,
        end_time_unix_nano: end,
        attributes: attributes(call),
        status: Some(Status { code: if failed { FAILED } else { 0 }, ..Status::default() }),
        ..Span::default()
    };
    let record = LogRecord {
        trace_id,
        span_id,
        time_unix_nano: end,
        event_name: "gen_ai.client.inference.operation.details".to_owned(),
        attributes: attributes(call),
        ..LogRecord::default()
    };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    let spans = ResourceSpans { resource: Some(resource(call)), scope_spans, ..ResourceSpans::default() };
    let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
    let logs = ResourceLogs { resource: Some(resource(call)), scope_logs, ..ResourceLogs::default() };
    (TracesData { resource_spans: vec![spans] }, LogsData { resource_logs: vec![logs] })
}

fn resource(call: &Simulated) -> Resource {
    let attributes = vec![
        text("leeway.tenant", &call.arrival.tenant),
        text("service.name", &call.arrival.app),
        text("service.version", RELEASE),
        text("deployment.environment.name", ENVIRONMENT),
    ];
    Resource { attributes, ..Resource::default() }
}

fn attributes(call: &Simulated) -> Vec<KeyValue> {
    let a = &call.arrival;
    let mut attributes = vec![
        text("gen_ai.operation.name", "chat"),
        text("gen_ai.provider.name", a.provider),
        text("gen_ai.request.model", a.model),
        text("gen_ai.prompt.name", &a.route),
        count("gen_ai.usage.input_tokens", a.input_tokens),
        count("gen_ai.usage.output_tokens", a.output_tokens),
    ];
    attributes.extend(call.error_class.map(|class| text("error.type", class)));
    attributes
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn count(key: &str, value: u64) -> KeyValue {
    attribute(key, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn nanos(at: Micros) -> u64 {
    u64::try_from(at).unwrap_or_default().saturating_mul(1000)
}
