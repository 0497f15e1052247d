//! `POST /v1/…`: OTLP over HTTP, and Leeway's own events.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use leeway_core::event::Reject;
use leeway_formats::unpacked;
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
use prost::Message;
use serde_json::{Value as Json, json};

use super::App;
use crate::receive::{Refused, Signal, Taken};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";
/// Rejected records that an answer lists; the count says how many there are.
const LISTED: usize = 100;

pub async fn traces(state: State<App>, headers: HeaderMap, body: Bytes) -> Response {
    otlp(state, &headers, body, Signal::Traces).await
}

pub async fn logs(state: State<App>, headers: HeaderMap, body: Bytes) -> Response {
    otlp(state, &headers, body, Signal::Logs).await
}

async fn otlp(State(app): State<App>, headers: &HeaderMap, body: Bytes, signal: Signal) -> Response {
    let kind = content_type(headers);
    if kind != PROTOBUF && kind != JSON {
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, JSON, &format!("send {PROTOBUF} or {JSON}"));
    }
    if let Some(refusal) = encoding(headers, kind) {
        return refusal;
    }
    match take(&app, signal, body).await {
        Ok(taken) => exported(signal, kind, &taken),
        Err(refused) => refusal(refused, kind),
    }
}

pub async fn events(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Response {
    own(&app, &headers, body).await
}

pub async fn feedback(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Response {
    of_kind(&app, &headers, &body, "feedback").await
}

pub async fn changes(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Response {
    of_kind(&app, &headers, &body, "change").await
}

/// Leeway JSON whose records are of one kind, said or not.
async fn of_kind(app: &App, headers: &HeaderMap, body: &[u8], kind: &str) -> Response {
    let body = match app.0.intake.as_ref().map(|intake| unpacked(body, intake.options())) {
        None => return refusal(nowhere(), JSON),
        Some(Err(reason)) => return refusal(Refused::Body(reason), JSON),
        Some(Ok(body)) => body,
    };
    let mut records: Vec<Json> = match serde_json::Deserializer::from_slice(&body).into_iter().collect::<Result<_, _>>()
    {
        Ok(records) => records,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, JSON, &format!("no JSON: {error}")),
    };
    if let [Json::Array(list)] = &mut records[..] {
        records = std::mem::take(list);
    }
    for (index, record) in records.iter_mut().enumerate() {
        let Some(fields) = record.as_object_mut() else {
            return refuse(StatusCode::BAD_REQUEST, JSON, &format!("record {index} is no object"));
        };
        let said = fields.entry("kind").or_insert_with(|| kind.into());
        if said != kind {
            let text = format!("record {index} has kind {said}: this address takes `{kind}`, /v1/events takes all");
            return refuse(StatusCode::BAD_REQUEST, JSON, &text);
        }
    }
    own(app, headers, Bytes::from(Json::Array(records).to_string())).await
}

async fn own(app: &App, headers: &HeaderMap, body: Bytes) -> Response {
    let kind = content_type(headers);
    if kind != JSON && kind != NDJSON {
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, JSON, &format!("send {JSON} or {NDJSON}"));
    }
    if let Some(refusal) = encoding(headers, JSON) {
        return refusal;
    }
    match take(app, Signal::Events, body).await {
        Ok(taken) => {
            let listed = taken.rejected.iter().take(LISTED);
            let rejected: Vec<Json> = listed
                .map(|(index, reason)| json!({"record": index, "reason": reason.code(), "field": reason.field()}))
                .collect();
            let answer = json!({"accepted": taken.accepted, "rejected": taken.rejected.len(), "rejections": rejected});
            let nothing = taken.accepted == 0 && !taken.rejected.is_empty();
            let status = if nothing { StatusCode::BAD_REQUEST } else { StatusCode::OK };
            (status, [(header::CONTENT_TYPE, JSON)], answer.to_string()).into_response()
        }
        Err(refused) => refusal(refused, JSON),
    }
}

async fn take(app: &App, signal: Signal, body: Bytes) -> Result<Taken, Refused> {
    match &app.0.intake {
        Some(intake) => intake.take(signal, body).await,
        None => Err(nowhere()),
    }
}

fn nowhere() -> Refused {
    Refused::Nowhere("this process takes no events: set kafka.brokers, or start it with the role ingest".into())
}

fn content_type(headers: &HeaderMap) -> &str {
    let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    said.split(';').next().unwrap_or_default().trim()
}

/// Gzip is told by its bytes; other encodings are refused.
fn encoding(headers: &HeaderMap, kind: &str) -> Option<Response> {
    let said = headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("identity");
    let known = ["gzip", "identity", ""].contains(&said);
    (!known).then(|| refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, kind, "send gzip or no content-encoding"))
}

/// The protocol's answer to what was taken; rejected records are its partial success.
fn exported(signal: Signal, kind: &str, taken: &Taken) -> Response {
    let rejected = taken.rejected.len() as i64;
    let message = taken.rejected.first().map_or(String::new(), |(index, reason)| {
        let field = reason.field();
        let at = if field.is_empty() { String::new() } else { format!(" (field {field})") };
        format!("record {index}: {}{at}; rejected records are dead letters", reason.code())
    });
    if kind == JSON {
        let name = if signal == Signal::Traces { "rejectedSpans" } else { "rejectedLogRecords" };
        let partial = json!({"partialSuccess": {name: rejected.to_string(), "errorMessage": message}});
        let answer = if rejected > 0 { partial } else { json!({}) };
        return ([(header::CONTENT_TYPE, JSON)], answer.to_string()).into_response();
    }
    let bytes = if signal == Signal::Traces {
        let partial = ExportTracePartialSuccess { rejected_spans: rejected, error_message: message };
        ExportTraceServiceResponse { partial_success: (rejected > 0).then_some(partial) }.encode_to_vec()
    } else {
        let partial = ExportLogsPartialSuccess { rejected_log_records: rejected, error_message: message };
        ExportLogsServiceResponse { partial_success: (rejected > 0).then_some(partial) }.encode_to_vec()
    };
    ([(header::CONTENT_TYPE, PROTOBUF)], bytes).into_response()
}

fn refusal(refused: Refused, kind: &str) -> Response {
    let (status, text) = match refused {
        Refused::Body(Reject::TooLarge) => (StatusCode::PAYLOAD_TOO_LARGE, "the body is too large".to_owned()),
        Refused::Body(reason) => {
            (StatusCode::BAD_REQUEST, format!("the body is none of its format: {}", reason.code()))
        }
        Refused::Busy => (StatusCode::TOO_MANY_REQUESTS, "too much is under way: send again later".to_owned()),
        Refused::Nowhere(text) => (StatusCode::NOT_FOUND, text),
        Refused::Away(text) => {
            tracing::warn!("a request was not taken: {text}");
            (StatusCode::SERVICE_UNAVAILABLE, format!("{text}: send again later"))
        }
    };
    refuse(status, kind, &text)
}

/// An error in the request's own encoding: google.rpc.Status, as the protocol asks.
fn refuse(status: StatusCode, kind: &str, text: &str) -> Response {
    let mut response = if kind == PROTOBUF {
        let mut bytes = Vec::new();
        prost::encoding::string::encode(2, &text.to_owned(), &mut bytes);
        (status, [(header::CONTENT_TYPE, PROTOBUF)], bytes).into_response()
    } else {
        (status, [(header::CONTENT_TYPE, JSON)], json!({ "message": text }).to_string()).into_response()
    };
    if [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&status) {
        response.headers_mut().insert(header::RETRY_AFTER, axum::http::HeaderValue::from_static("1"));
    }
    response
}
