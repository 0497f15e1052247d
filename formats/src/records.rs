//! The six kinds that are kept as rows: each a table of fields, checked, and an upsert key.

use leeway_core::call_key::{CallKey, Name};
use leeway_core::clock::Micros;
use leeway_core::event::{Label as FeedbackLabel, Record, RecordKind, Reject};
use serde_json::{Map, Value as Json};
use sha2::{Digest, Sha256};

use crate::Options;
use crate::cursor::Value;
use crate::leeway_json::{cut, id};

const MAX_LABEL: usize = 128;
/// Longest value of a free label, bytes: rows are no place for prompts.
const MAX_TEXT: usize = 1024;

/// What a field may hold.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    /// Kept as a keyed hash.
    Person,
    Bool,
    Number,
    Count,
    Probability,
    Time,
    List,
    Map,
    /// Bool, number, label or null.
    Label,
    OneOf(&'static [&'static str]),
}

struct Schema {
    kind: RecordKind,
    /// The field that names the record; required where `required` holds it.
    name: &'static str,
    required: &'static [&'static str],
    fields: &'static [(&'static str, Kind)],
}

use Kind::{Bool, Count, Label, List, Map as MapOf, Number, OneOf, Person, Probability, Text, Time};

const CHANGE_TYPES: &[&str] = &[
    "release",
    "prompt",
    "model",
    "price",
    "retrieval_index",
    "retrieval_config",
    "embedding_model",
    "feature_flag",
    "guardrail",
    "routing_policy",
    "dataset",
    "judge",
    "pipeline",
    "data_policy",
    "other",
];
const SUITE_TYPES: &[&str] = &["benchmark", "regression", "redteam", "pii_audit", "fairness", "golden_set"];
const INCIDENT_CLASSES: &[&str] =
    &["quality", "safety", "privacy", "cost", "latency", "availability", "data", "provider"];

const SCHEMAS: [Schema; 6] = [
    Schema {
        kind: RecordKind::Feedback,
        name: "name",
        required: &["name"],
        fields: &[
            ("target", MapOf),
            ("name", Text),
            ("value", Label),
            ("source", OneOf(&["human", "user", "model", "code"])),
            ("author", Person),
            ("rubric", Text),
            ("judge", Text),
            ("judge_version", Text),
            ("failure_class", Text),
            ("sample_probability", Probability),
            ("adjudicates", Text),
            ("identifier", Text),
        ],
    },
    Schema {
        kind: RecordKind::Change,
        name: "type",
        required: &["type"],
        fields: &[
            ("type", OneOf(CHANGE_TYPES)),
            ("route", Text),
            ("from", Text),
            ("to", Text),
            ("author", Person),
            ("approver", Person),
            ("ticket", Text),
            ("url", Text),
            ("rollback_of", Text),
            ("planned", Bool),
        ],
    },
    Schema {
        kind: RecordKind::Evaluation,
        name: "suite",
        required: &["suite", "type"],
        fields: &[
            ("suite", Text),
            ("suite_version", Text),
            ("type", OneOf(SUITE_TYPES)),
            ("release", Text),
            ("model", Text),
            ("prompt_version", Text),
            ("config_hash", Text),
            ("status", OneOf(&["passed", "failed", "error", "missed"])),
            ("ended_at", Time),
            ("cost_usd", Number),
            ("items", List),
            ("summary", List),
            ("baseline_run", Text),
        ],
    },
    Schema {
        kind: RecordKind::Incident,
        name: "class",
        required: &[],
        fields: &[
            ("class", OneOf(INCIDENT_CLASSES)),
            ("severity", Count),
            ("detected_at", Time),
            ("acknowledged_at", Time),
            ("mitigated_at", Time),
            ("resolved_at", Time),
            ("cause_change", Text),
            ("alerts", List),
            ("status_note", Text),
            ("actions", List),
            ("drill", Bool),
        ],
    },
    Schema {
        kind: RecordKind::Experiment,
        name: "name",
        required: &["name"],
        fields: &[
            ("name", Text),
            ("arms", List),
            ("unit", OneOf(&["user", "session", "task"])),
            ("primary", Text),
            ("guardrails", List),
            ("mde", Number),
            ("planned_n", Count),
            ("ended_at", Time),
            ("decision", OneOf(&["ship", "iterate", "rollback", "none"])),
        ],
    },
    Schema {
        kind: RecordKind::Figure,
        name: "name",
        required: &["name", "value"],
        fields: &[
            ("name", Text),
            ("value", Number),
            ("unit", Text),
            ("from", Time),
            ("to", Time),
            ("scope", MapOf),
            ("allocation", OneOf(&["calls", "tokens", "users", "even"])),
            ("n", Count),
            ("source", Text),
            ("line", Text),
            ("kpi", Text),
            ("status", Text),
        ],
    },
];

/// The forms that a feedback target may have: all keys of one of them.
const TARGETS: [&[&str]; 7] =
    [&["id"], &["trace_id", "span_id"], &["trace_id"], &["response_id"], &["conversation"], &["session"], &["task"]];

pub fn record(kind: &str, value: Value<'_, '_>, options: &Options, unknown: &mut u32) -> Result<Record, Reject> {
    let schema = SCHEMAS.iter().find(|schema| schema.kind.name() == kind).ok_or(Reject::UnknownKind)?;
    let mut record = Record {
        kind: schema.kind,
        tenant: "default".into(),
        id: String::new(),
        time: 0,
        app: String::new(),
        name: String::new(),
        body: String::new(),
        label: None,
    };
    let (mut time, mut own_id, mut body) = (None, None, Map::new());
    for (key, value) in value.fields().ok_or(Reject::Undecodable)? {
        match key {
            "v" | "kind" => {}
            "id" => own_id = id(value, "id")?,
            "time" => time = value.time("time")?,
            "tenant" => set_label(&mut record.tenant, value, "tenant")?,
            "app" => set_label(&mut record.app, value, "app")?,
            "environment" | "region" => {
                keep(&mut body, key, value.text("environment")?.map(|t| cut(t, MAX_LABEL).into()))
            }
            "started_at" => keep(&mut body, key, value.time("started_at")?.map(Json::from)),
            "dims" => keep(&mut body, key, checked(value, MapOf, "dims", options)?),
            _ => match schema.fields.iter().find(|(name, _)| *name == key) {
                Some((name, kind)) => keep(&mut body, name, checked(value, *kind, name, options)?),
                None => *unknown += 1,
            },
        }
    }
    record.time = time.ok_or(Reject::NoTime)?;
    if schema.kind == RecordKind::Feedback && !body.get("target").is_some_and(targeted) {
        return Err(Reject::NoTarget);
    }
    if let Some(missing) = schema.required.iter().find(|name| !body.contains_key(**name)) {
        return Err(Reject::WrongType(missing));
    }
    record.name = cut(body.get(schema.name).and_then(Json::as_str).unwrap_or_default(), MAX_LABEL).to_owned();
    record.label = (schema.kind == RecordKind::Feedback).then(|| feedback_label(&body));
    record.body = Json::Object(body.clone()).to_string();
    record.id = key(schema.kind, own_id, &record, &body);
    Ok(record)
}

/// Feedback of another system, in the wire schema's words.
pub struct Told {
    pub tenant: String,
    pub app: String,
    pub time: Micros,
    pub name: String,
    /// Bool, number or label.
    pub value: Json,
    /// human, user, model or code; "" where nobody says.
    pub source: &'static str,
    /// One of the forms of a target.
    pub target: Json,
    /// What tells two words of one source on one target apart.
    pub identifier: Option<String>,
}

pub fn feedback(told: Told) -> Result<Record, Reject> {
    if !targeted(&told.target) {
        return Err(Reject::NoTarget);
    }
    let mut body = Map::new();
    keep(&mut body, "target", Some(told.target));
    keep(&mut body, "name", Some(cut(&told.name, MAX_LABEL).into()));
    keep(&mut body, "value", Some(told.value).filter(|value| !value.is_null()));
    keep(&mut body, "source", Some(told.source).filter(|source| !source.is_empty()).map(Json::from));
    keep(&mut body, "identifier", told.identifier.as_deref().map(|text| cut(text, MAX_TEXT).into()));
    let mut record = Record {
        kind: RecordKind::Feedback,
        tenant: cut(&told.tenant, MAX_LABEL).to_owned(),
        id: String::new(),
        time: told.time,
        app: cut(&told.app, MAX_LABEL).to_owned(),
        name: cut(&told.name, MAX_LABEL).to_owned(),
        body: Json::Object(body.clone()).to_string(),
        label: Some(feedback_label(&body)),
    };
    record.id = key(RecordKind::Feedback, None, &record, &body);
    Ok(record)
}

fn set_label(label: &mut String, value: Value<'_, '_>, field: &'static str) -> Result<(), Reject> {
    if let Some(text) = value.text(field)?.filter(|text| !text.is_empty()) {
        cut(text, MAX_LABEL).clone_into(label);
    }
    Ok(())
}

fn keep(body: &mut Map<String, Json>, key: &str, value: Option<Json>) {
    if let Some(value) = value {
        body.insert(key.to_owned(), value);
    }
}

fn checked(value: Value<'_, '_>, kind: Kind, field: &'static str, options: &Options) -> Result<Option<Json>, Reject> {
    let wrong = || Reject::WrongType(field);
    let short = |text: &str| if text.len() > MAX_TEXT { Err(Reject::TooLarge) } else { Ok(Json::from(text)) };
    if value.null() {
        return Ok(None);
    }
    let json = match kind {
        Text => short(value.text(field)?.ok_or_else(wrong)?)?,
        Person => options.user_key.hash(value.text(field)?.ok_or_else(wrong)?).into(),
        Bool => value.bool(field)?.ok_or_else(wrong)?.into(),
        Number => value.number(field)?.ok_or_else(wrong)?.into(),
        Count => value.count(field)?.ok_or_else(wrong)?.into(),
        Probability => value.number(field)?.filter(|p| *p > 0.0 && *p <= 1.0).ok_or_else(wrong)?.into(),
        Time => value.time(field)?.ok_or_else(wrong)?.into(),
        List if value.items().is_some() => value.to_json(),
        MapOf if value.fields().is_some() => value.to_json(),
        List | MapOf => return Err(wrong()),
        OneOf(names) => {
            let text = value.text(field)?.ok_or_else(wrong)?;
            names.iter().find(|name| **name == text).map(|name| Json::from(*name)).ok_or_else(wrong)?
        }
        Label => match value.to_json() {
            Json::String(text) => short(&text)?,
            label @ (Json::Bool(_) | Json::Number(_)) => label,
            _ => return Err(wrong()),
        },
    };
    Ok(Some(json))
}

fn targeted(target: &Json) -> bool {
    let holds = |key: &&str| target.get(key).and_then(Json::as_str).is_some_and(|text| !text.is_empty());
    TARGETS.iter().any(|form| form.iter().all(holds))
}

/// What feedback says, in millionths, and the call that it is about.
fn feedback_label(body: &Map<String, Json>) -> FeedbackLabel {
    let source = body.get("source").and_then(Json::as_str).unwrap_or_default().to_owned();
    let value = body.get("value");
    FeedbackLabel {
        target: body.get("target").and_then(call_key),
        trace: body.get("target").and_then(trace_key),
        source,
        given: value.is_some(),
        micro: value.and_then(micro),
    }
}

fn call_key(target: &Json) -> Option<CallKey> {
    let part = |key: &str| target.get(key).and_then(Json::as_str).filter(|text| !text.is_empty());
    let name = match (part("id"), part("trace_id"), part("span_id"), part("response_id")) {
        (Some(id), ..) => Name::Id(id),
        (_, Some(trace), Some(span), _) => Name::Span(trace, span),
        (_, Some(trace), None, _) => Name::Trace(trace),
        (.., Some(response)) => Name::ResponseId(response),
        _ => Name::Conversation(part("conversation").or_else(|| part("session"))?),
    };
    Some(name.key())
}

/// The trace, where a span of it is the target.
fn trace_key(target: &Json) -> Option<CallKey> {
    let part = |key: &str| target.get(key).and_then(Json::as_str).filter(|text| !text.is_empty());
    match (part("id"), part("trace_id"), part("span_id")) {
        (None, Some(trace), Some(_)) => Some(Name::Trace(trace).key()),
        _ => None,
    }
}

/// Words that mean yes or no; every other word is a label without a number.
const YES: [&str; 9] = ["yes", "true", "up", "thumbs_up", "pass", "passed", "success", "good", "correct"];
const NO: [&str; 10] = ["no", "false", "down", "thumbs_down", "fail", "failed", "failure", "bad", "incorrect", "wrong"];

fn micro(value: &Json) -> Option<i64> {
    match value {
        Json::Bool(yes) => Some(i64::from(*yes) * 1_000_000),
        // Beyond this a sum of squares would overflow within a year of calls.
        Json::Number(number) => number.as_f64().map(|x| x * 1e6).filter(|x| x.abs() < 1e15).map(|x| x.round() as i64),
        Json::String(word) => {
            let word = word.to_ascii_lowercase();
            if YES.contains(&word.as_str()) { Some(1_000_000) } else { NO.contains(&word.as_str()).then_some(0) }
        }
        _ => None,
    }
}

/// Longest upsert key, bytes; a longer one is hashed, so that any key fits a database's index.
const MAX_KEY: usize = 512;

/// Feedback is one row per (target, name, source, identifier); other kinds per id, or per what tells them apart.
fn key(kind: RecordKind, own_id: Option<&str>, record: &Record, body: &Map<String, Json>) -> String {
    let part = |name: &str| body.get(name).map(Json::to_string).unwrap_or_default();
    let key = match (kind, own_id) {
        (RecordKind::Feedback, _) => {
            format!("{}|{}|{}|{}", part("target"), record.name, part("source"), part("identifier"))
        }
        (_, Some(id)) => id.to_owned(),
        _ => format!("{}|{}|{}|{}", record.app, record.name, record.time, part("to")),
    };
    if key.len() <= MAX_KEY {
        return key;
    }
    Sha256::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
