//! Other people's fields as Leeway's: a table of rows, data and not code.

use std::collections::{BTreeMap, BTreeSet};

use leeway_core::event::{Event, Reject, Tokens};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use crate::{Format, LeewayJson, Options, Scratch, Sink, UserKey};

/// Where one field comes from.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum From {
    Path(String),
    Rule(Rule),
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    /// Path of their field, its parts split by dots.
    #[serde(default)]
    from: Option<String>,
    /// Their number times this is ours.
    #[serde(default)]
    times: Option<f64>,
    /// Their words and ours; others stay as they are.
    #[serde(default)]
    words: BTreeMap<String, String>,
    /// What it always is, where they have no field for it.
    #[serde(default)]
    value: Option<Json>,
}

/// Leeway's fields (paths like `tokens.input`) by their source.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct Rows(BTreeMap<String, From>);

/// Rows that were checked.
#[derive(Debug, Clone)]
pub struct Mapping {
    rows: Vec<(Vec<String>, Rule)>,
    /// First parts of the paths that rows read.
    read: BTreeSet<String>,
}

/// What is wrong with a mapping.
#[derive(Debug, thiserror::Error)]
pub enum MappingError {
    #[error("`{0}` is no field of Leeway's events (docs/events.md lists them)")]
    UnknownField(String),
    #[error("`{0}` needs `from`, the path of the source's field, or `value`")]
    NoSource(String),
}

impl Mapping {
    pub fn new(rows: Rows) -> Result<Self, MappingError> {
        let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        let (mut checked, mut read) = (Vec::new(), BTreeSet::new());
        for (target, from) in rows.0 {
            let rule = match from {
                From::Path(from) => Rule { from: Some(from), ..Rule::default() },
                From::Rule(rule) => rule,
            };
            match &rule.from {
                Some(from) => drop(read.insert(path(from).swap_remove(0))),
                None if rule.value.is_none() => return Err(MappingError::NoSource(target)),
                None => {}
            }
            let target_path = path(&target);
            let inside = |names: &[&str]| target_path.len() == 2 && names.contains(&target_path[1].as_str());
            let right = match target_path[0].as_str() {
                "tokens" => inside(&Tokens::NAMES),
                "text" => inside(&["input", "output", "system", "history", "documents"]),
                _ => known(&target_path[0]),
            };
            if !right {
                return Err(MappingError::UnknownField(target));
            }
            checked.push((target_path, rule));
        }
        Ok(Self { rows: checked, read })
    }

    /// The record in Leeway's words, and how many of its fields no row reads.
    pub fn apply(&self, record: &Json) -> (Json, u32) {
        let mut mapped = Map::new();
        for (target, rule) in &self.rows {
            let found = rule.from.as_deref().and_then(|from| at(record, from)).filter(|found| !found.is_null());
            let value = match found {
                Some(found) => Some(turned(found, rule, target)),
                None => rule.value.clone(),
            };
            if let Some(value) = value {
                put(&mut mapped, target, value);
            }
        }
        let fields = record.as_object().into_iter().flat_map(Map::keys);
        let unknown = fields.filter(|field| !self.read.contains(*field)).count();
        (Json::Object(mapped), unknown as u32)
    }
}

/// Follows a path; a name that has dots in itself is found too.
fn at<'j>(record: &'j Json, path: &str) -> Option<&'j Json> {
    if let Some(found) = record.get(path) {
        return Some(found);
    }
    path.match_indices('.').find_map(|(dot, _)| at(record.get(&path[..dot])?, &path[dot + 1..]))
}

fn put(object: &mut Map<String, Json>, path: &[String], value: Json) {
    let [name, rest @ ..] = path else { return };
    if rest.is_empty() {
        object.insert(name.clone(), value);
        return;
    }
    let inner = object.entry(name.clone()).or_insert_with(|| Json::Object(Map::new()));
    if let Json::Object(inner) = inner {
        put(inner, rest, value);
    }
}

/// Texts that hold numbers become them where Leeway has a number.
fn turned(found: &Json, rule: &Rule, target: &[String]) -> Json {
    if let Some(word) = found.as_str().and_then(|word| rule.words.get(word)) {
        return word.as_str().into();
    }
    let time = matches!(target[0].as_str(), "time" | "started_at");
    let number = rule.times.is_some() || time || numeric(target);
    let read = match found {
        Json::String(text) if number => text.trim().parse::<serde_json::Number>().ok().map(Json::Number),
        _ => None,
    };
    let found = read.as_ref().unwrap_or(found);
    match (rule.times, found.as_f64()) {
        (Some(times), Some(number)) if time => ((number * times).round() as i64).into(),
        (Some(times), Some(number)) => (number * times).into(),
        _ => found.clone(),
    }
}

fn numeric(target: &[String]) -> bool {
    let name = target[0].as_str();
    name.ends_with("_ms")
        || matches!(name, "tokens" | "http_status" | "attempt" | "sample_probability" | "confidence" | "cost_usd")
}

/// Whether a kind of event has that field: its decoder is asked.
fn known(name: &str) -> bool {
    struct Unknown(u32);
    impl Sink for Unknown {
        fn record(&mut self, _: u32, _: Result<Event<'_>, Reject>) {}
        fn unknown_fields(&mut self, fields: u32) {
            self.0 += fields;
        }
        fn skipped(&mut self, _: u32) {}
    }
    ["call", "feedback", "change", "evaluation", "incident", "experiment", "figure"].into_iter().any(|kind| {
        let mut probe = serde_json::json!({"time": 0, "kind": kind});
        if let Json::Object(fields) = &mut probe {
            fields.entry(name).or_insert(Json::Null);
        }
        let options = Options::new(1 << 16, 8, UserKey::new([0; 32]));
        let mut unknown = Unknown(0);
        let decoded = LeewayJson.decode(probe.to_string().as_bytes(), &mut Scratch::new(options), &mut unknown);
        decoded.is_ok() && unknown.0 == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn mapping(rows: Json) -> Result<Mapping, MappingError> {
        Mapping::new(serde_json::from_value(rows).unwrap())
    }

    #[test]
    fn paths_factors_words_and_constants() {
        let rows = json!({
            "id": "event_id",
            "time": "end",
            "started_at": {"from": "begin_s", "times": 1e6},
            "tokens.input": "usage.prompt",
            "ttft_ms": {"from": "ttft_seconds", "times": 1000.0},
            "status": {"from": "outcome", "words": {"OK": "ok", "KO": "error"}},
            "environment": {"value": "production"},
            "region": {"from": "zone", "value": "eu"},
            "dims.team": "labels.a.team",
        });
        let record = json!({
            "event_id": "e1", "end": "1795215004468000000", "begin_s": 1795215003.25, "usage": {"prompt": "12"},
            "ttft_seconds": "0.25", "outcome": "KO", "labels": {"a.team": "red"}, "more": 1, "zone": null,
        });
        let (mapped, unknown) = mapping(rows).unwrap().apply(&record);
        let expected = json!({
            "id": "e1", "time": 1_795_215_004_468_000_000_u64, "started_at": 1_795_215_003_250_000_u64,
            "tokens": {"input": 12}, "ttft_ms": 250.0, "status": "error", "environment": "production", "region": "eu",
            "dims": {"team": "red"},
        });
        assert_eq!((mapped, unknown), (expected, 1));
    }

    #[test]
    fn wrong_rows_say_what_to_correct() {
        for wrong in ["tokns.input", "tokens.inptu", "tokens", "text.answer"] {
            let error = mapping(json!({wrong: "a"})).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{wrong}` is no field")), "{error}");
        }
        let error = mapping(json!({"time": {"times": 2.0}})).unwrap_err().to_string();
        assert!(error.contains("needs `from`"), "{error}");
    }
}
