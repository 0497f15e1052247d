//! `POST /v1/…`: OTLP over HTTP, and Leeway's own events.

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
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

/// Bodies of one kind are small: they are read as a whole.
const MOST_OF_KIND: usize = 1 << 20;

pub async fn traces(State(app): State<App>, request: Request) -> Response {
    otlp(&app, request, Signal::Traces).await
}

pub async fn logs(State(app): State<App>, request: Request) -> Response {
    otlp(&app, request, Signal::Logs).await
}

async fn otlp(app: &App, request: Request, signal: Signal) -> Response {
    let kind = match content_type(request.headers()).as_str() {
        PROTOBUF => PROTOBUF,
        JSON => JSON,
        _ => return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, JSON, &format!("send {PROTOBUF} or {JSON}")),
    };
    if let Some(refusal) = encoding(request.headers(), kind) {
        return refusal;
    }
    match take(app, signal, request, usize::MAX, Ok).await {
        Ok(taken) => exported(signal, kind, &taken),
        Err(refused) => refusal(refused, kind),
    }
}

pub async fn events(State(app): State<App>, request: Request) -> Response {
    own(&app, request, usize::MAX, Ok).await
}

pub async fn feedback(State(app): State<App>, request: Request) -> Response {
    of_kind(&app, request, "feedback").await
}

pub async fn changes(State(app): State<App>, request: Request) -> Response {
    of_kind(&app, request, "change").await
}

/// Leeway JSON whose records are of one kind, said or not.
async fn of_kind(app: &App, request: Request, kind: &'static str) -> Response {
    let Some(intake) = &app.0.intake else { return refusal(nowhere(), JSON) };
    let options = intake.options();
    own(app, request, MOST_OF_KIND, |body| with_kind(&unpacked(&body, options).map_err(Refused::Body)?, kind)).await
}

/// Gives each record its kind; one of another kind, or that is no object, rejects itself.
fn with_kind(body: &[u8], kind: &str) -> Result<Bytes, Refused> {
    let read: Result<Vec<Json>, _> = serde_json::Deserializer::from_slice(body).into_iter().collect();
    let mut records = read.map_err(|_| Refused::Body(Reject::Undecodable))?;
    if let [Json::Array(list)] = &mut records[..] {
        records = std::mem::take(list);
    }
    for record in &mut records {
        if let Some(fields) = record.as_object_mut()
            && *fields.entry("kind").or_insert_with(|| kind.into()) != kind
        {
            fields.insert("kind".into(), format!("no {kind}").into());
        }
    }
    Ok(Bytes::from(Json::Array(records).to_string()))
}

async fn own(
    app: &App,
    request: Request,
    most: usize,
    change: impl FnOnce(Bytes) -> Result<Bytes, Refused>,
) -> Response {
    let kind = content_type(request.headers());
    if kind != JSON && kind != NDJSON {
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, JSON, &format!("send {JSON} or {NDJSON}"));
    }
    if let Some(refusal) = encoding(request.headers(), JSON) {
        return refusal;
    }
    match take(app, Signal::Events, request, most, change).await {
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

/// Reads the body, once there is room for it, and hands it in.
async fn take(
    app: &App,
    signal: Signal,
    request: Request,
    most: usize,
    change: impl FnOnce(Bytes) -> Result<Bytes, Refused>,
) -> Result<Taken, Refused> {
    let intake = app.0.intake.as_ref().ok_or_else(nowhere)?;
    let most = most.min(intake.options().max_message_bytes);
    let (parts, body) = request.into_parts();
    let header = |name| parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let packed = header(header::CONTENT_ENCODING).is_some_and(|said| said.eq_ignore_ascii_case("gzip"));
    // A body of unknown length may be of any.
    let length = header(header::CONTENT_LENGTH).and_then(|length| length.parse().ok()).unwrap_or(most);
    if length > most {
        return Err(Refused::Body(Reject::TooLarge));
    }
    let room = intake.room(length, packed)?;
    let body = axum::body::to_bytes(body, length).await;
    let body = body.map_err(|_| Refused::Body(Reject::TooLarge))?;
    intake.take(signal, change(body)?, room).await
}

fn nowhere() -> Refused {
    Refused::Nowhere("this process takes no events: set kafka.brokers, or start it with the role ingest".into())
}

fn content_type(headers: &HeaderMap) -> String {
    let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Gzip is told by its bytes; other encodings are refused.
fn encoding(headers: &HeaderMap, kind: &str) -> Option<Response> {
    let said = headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("identity");
    let known = ["gzip", "identity", ""].iter().any(|known| said.eq_ignore_ascii_case(known));
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
        Refused::Body(Reject::Quarantined) => {
            (StatusCode::BAD_REQUEST, "the store refuses what the body says; it is a dead letter".to_owned())
        }
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
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
