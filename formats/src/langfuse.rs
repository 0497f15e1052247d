//! Langfuse's scores, as its clients post them: an array, one object, or one on each line.

use leeway_core::event::{Event, Record, Reject};
use std::sync::LazyLock;

use memchr::memmem;
use serde_json::{Value as Json, json};

use crate::cursor::Value;
use crate::leeway_json::{MAX_LABEL, cut, each};
use crate::otlp::{member, text};
use crate::records::{Told, feedback};
use crate::{Format, Options, Scratch, Sink};

#[derive(Debug)]
pub struct LangfuseScores;

impl Format for LangfuseScores {
    fn id(&self) -> &'static str {
        "langfuse-scores"
    }

    fn decode(&self, message: &[u8], scratch: &mut Scratch, sink: &mut dyn Sink) -> Result<(), Reject> {
        each(message, scratch, sink, record)
    }
}

static NAME: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(b"\"name\""));

/// Whether a JSON message begins as Langfuse's scores do.
pub fn recognised(head: &[u8]) -> bool {
    // Leeway's own names are in snake case, so none of these begins one of its events.
    let target = |name: &[u8]| memmem::find(head, name).is_some();
    NAME.find(head).is_some() && [&b"\"traceId\""[..], b"\"observationId\"", b"\"sessionId\""].into_iter().any(target)
}

fn record(value: Value<'_, '_>, index: u32, _: &Options, sink: &mut dyn Sink) {
    sink.record(index, score(value).map(Event::Record));
}

fn score(value: Value<'_, '_>) -> Result<Record, Reject> {
    let part = |name: &str| text(value, name);
    let target = match (part("traceId"), part("observationId"), part("sessionId")) {
        (Some(trace), Some(span), _) => json!({"trace_id": trace, "span_id": span}),
        (Some(trace), None, _) => json!({ "trace_id": trace }),
        (None, _, Some(session)) => json!({ "session": session }),
        _ => return Err(Reject::NoTarget),
    };
    let told = member(value, "value").map_or(Json::Null, Value::to_json);
    let told = match (part("dataType"), &told) {
        (Some("BOOLEAN"), Json::Number(number)) => json!(number.as_f64() != Some(0.0)),
        (Some("CATEGORICAL"), Json::String(label)) => json!(cut(label, MAX_LABEL)),
        // A text of somebody's own, a corrected answer for one, is no label and is not kept.
        (_, Json::String(_)) => return Err(Reject::WrongType("value")),
        (_, Json::Bool(_) | Json::Number(_) | Json::Null) => told,
        _ => return Err(Reject::WrongType("value")),
    };
    let time = member(value, "timestamp").map_or(Ok(None), |value| value.time("time"))?;
    feedback(Told {
        tenant: "default".to_owned(),
        app: String::new(),
        time: time.ok_or(Reject::NoTime)?,
        name: part("name").ok_or(Reject::WrongType("name"))?.to_owned(),
        value: told,
        source: match part("source") {
            Some("ANNOTATION") => "human",
            Some("EVAL") => "model",
            _ => "",
        },
        target,
        identifier: part("id").map(str::to_owned),
    })
}
