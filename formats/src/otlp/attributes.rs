//! The attributes of one record, looked up once.

use leeway_core::event::Reject;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::conventions::{FIELDS, FLAT, Field, known};
use super::text_of;

/// Attributes of one record beyond this many are not looked at.
const MAX_ATTRIBUTES: usize = 1_000;

/// What a resource may say of all its records; never texts, ids or numbers of a call.
const OF_RESOURCE: [Field; 5] = [Field::App, Field::Release, Field::Environment, Field::Region, Field::Tenant];

/// The known attributes of a record and of its resource; the record's own win.
pub struct Attributes<'a> {
    /// Rank (place in the table) and value of each field.
    found: [Option<(usize, &'a AnyValue)>; FIELDS],
    /// Some were not looked at.
    pub cut: bool,
    /// Flattened messages: whether they are the answer's, their number, `role`, `content` or `finish_reason`, text.
    pub flat: Vec<(bool, usize, &'a str, &'a str)>,
    /// Short texts of the record that no table knows.
    pub others: Vec<&'a str>,
    /// What Azure's content filter said, as JSON.
    pub filters: Vec<&'a str>,
    /// Attributes that the settings name, with the dimension that each is.
    names: &'a [(String, String)],
    /// Their values, by the place of their name.
    named: Vec<(usize, String)>,
}

impl Default for Attributes<'_> {
    fn default() -> Self {
        Self {
            found: [None; FIELDS],
            cut: false,
            flat: Vec::new(),
            others: Vec::new(),
            filters: Vec::new(),
            names: &[],
            named: Vec::new(),
        }
    }
}

/// Words of the telemetry's own, as far as one can tell: not an empty one, no structure, no text of a call.
fn free(text: &str) -> bool {
    const LONGEST: usize = 512;
    (5..=LONGEST).contains(&text.len()) && !text.starts_with(['{', '['])
}

impl<'a> Attributes<'a> {
    pub fn of_resource(resource: Option<&'a Resource>, names: &'a [(String, String)]) -> Self {
        let mut read = Self { names, ..Self::default() };
        for pair in resource.into_iter().flat_map(|resource| &resource.attributes).take(MAX_ATTRIBUTES) {
            read.take(pair, |field| OF_RESOURCE.contains(&field));
        }
        read
    }

    pub fn read(own: &'a [KeyValue], resource: &Self) -> Self {
        let mut read = Self { cut: own.len() > MAX_ATTRIBUTES, names: resource.names, ..Self::default() };
        for pair in own.iter().take(MAX_ATTRIBUTES) {
            if !read.take(pair, |_| true)
                && let Some(value) = &pair.value
            {
                if FLAT.iter().any(|(prefix, ..)| pair.key.starts_with(prefix)) {
                    read.flat(&pair.key, value);
                } else {
                    read.others.extend(text_of(Some(value)).filter(|text| free(text)));
                }
            }
        }
        for (mine, theirs) in read.found.iter_mut().zip(&resource.found) {
            *mine = mine.or(*theirs);
        }
        for (place, text) in &resource.named {
            read.name(*place, Some(text.clone()));
        }
        read
    }

    /// Takes the text of a named attribute, the first one; `false` where there is none.
    fn name(&mut self, place: usize, text: Option<String>) -> bool {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return false };
        if self.named.iter().all(|(named, _)| *named != place) {
            self.named.push((place, text));
        }
        true
    }

    /// Dimensions that the settings name, with their values.
    pub fn dimensions(&self) -> impl Iterator<Item = (&str, &str)> {
        self.named.iter().map(|(place, text)| (self.names[*place].1.as_str(), text.as_str()))
    }

    /// Takes an attribute that the table knows and `wanted` wants.
    fn take(&mut self, pair: &'a KeyValue, wanted: impl Fn(Field) -> bool) -> bool {
        let place = self.names.iter().position(|(key, _)| *key == pair.key);
        let named = place.is_some_and(|place| self.name(place, pair.value.as_ref().and_then(label)));
        let Some((rank, field)) = known(&pair.key) else { return named };
        if let Some(value) = pair.value.as_ref().filter(|_| wanted(field)) {
            let slot = &mut self.found[field as usize];
            if slot.is_none_or(|(best, _)| rank < best) {
                *slot = Some((rank, value));
            }
        }
        true
    }

    fn flat(&mut self, key: &'a str, value: &'a AnyValue) {
        let Some((rest, inner, answer)) =
            FLAT.iter().find_map(|(prefix, inner, answer)| Some((key.strip_prefix(prefix)?, inner, answer)))
        else {
            return;
        };
        if key.ends_with("_filter_results") {
            self.filters.extend(text_of(Some(value)));
            return;
        }
        let Some((number, what)) = rest.split_once('.') else { return };
        let what = what.strip_prefix(inner).unwrap_or_default();
        // A content in pieces, each a text of its own.
        let piece = what.strip_prefix("contents.").and_then(|rest| rest.split_once('.'));
        let what = if piece.is_some_and(|(_, what)| what == "message_content.text") { "content" } else { what };
        let told = (number.parse(), text_of(Some(value)), what);
        if let (Ok(number), Some(text), "role" | "content" | "finish_reason") = told {
            self.flat.push((*answer, number, what, text));
        }
    }

    pub fn value(&self, field: Field) -> Option<&'a AnyValue> {
        self.found[field as usize].map(|(_, value)| value)
    }

    /// A text without NUL, which no label has; some clients write words as JSON, with their quotes.
    pub fn text(&self, field: Field) -> Option<&'a str> {
        let text = text_of(self.value(field)).filter(|text| !text.as_bytes().contains(&0))?;
        Some(text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text))
    }

    /// A number, also where a client wrote it as text.
    pub fn number(&self, field: Field) -> Result<Option<f64>, Reject> {
        let wrong = Err(Reject::WrongType(name(field)));
        match self.value(field).and_then(|value| value.value.as_ref()) {
            None => Ok(None),
            Some(any_value::Value::IntValue(value)) => Ok(Some(*value as f64)),
            Some(any_value::Value::DoubleValue(value)) if value.is_finite() => Ok(Some(*value)),
            Some(any_value::Value::StringValue(text)) if text.is_empty() => Ok(None),
            Some(any_value::Value::StringValue(text)) => match text.parse::<f64>() {
                Ok(value) if value.is_finite() => Ok(Some(value)),
                _ => wrong,
            },
            _ => wrong,
        }
    }

    /// Yes or no, also where a client wrote it as text.
    pub fn flag(&self, field: Field) -> Option<bool> {
        match self.value(field)?.value.as_ref()? {
            any_value::Value::BoolValue(value) => Some(*value),
            any_value::Value::StringValue(text) => match text.as_str() {
                "true" | "True" => Some(true),
                "false" | "False" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    /// Words of a list, of a list as JSON text, or of a text alone.
    pub fn words(&self, field: Field) -> Vec<&'a str> {
        match self.value(field).and_then(|value| value.value.as_ref()) {
            Some(any_value::Value::ArrayValue(list)) => {
                list.values.iter().filter_map(|item| text_of(Some(item))).collect()
            }
            Some(any_value::Value::StringValue(text)) if text.starts_with('[') => {
                let inner = text.trim_start_matches('[').trim_end_matches(']').split(',');
                inner.map(|word| word.trim().trim_matches(['"', '\''])).filter(|word| !word.is_empty()).collect()
            }
            Some(any_value::Value::StringValue(text)) if !text.is_empty() => vec![text],
            _ => Vec::new(),
        }
    }

    pub fn count(&self, field: Field) -> Result<Option<u64>, Reject> {
        match self.number(field)? {
            Some(value) if value < 0.0 => Err(Reject::NegativeCount),
            Some(value) if value.fract() != 0.0 || value > 9e15 => Err(Reject::WrongType(name(field))),
            value => Ok(value.map(|value| value as u64)),
        }
    }

    /// A duration in units of so many µs, as µs.
    pub fn duration(&self, field: Field, unit: f64) -> Result<Option<u64>, Reject> {
        match self.number(field)?.map(|value| value * unit) {
            Some(value) if value < 0.0 => Err(Reject::NegativeCount),
            Some(value) if value > 366.0 * 86_400.0 * 1e6 => Err(Reject::WrongType(name(field))),
            value => Ok(value.map(|value| value.round() as u64)),
        }
    }
}

/// A value as a label; a list or a structure is none.
fn label(value: &AnyValue) -> Option<String> {
    match value.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text.replace('\0', "")),
        any_value::Value::IntValue(value) => Some(value.to_string()),
        any_value::Value::BoolValue(value) => Some(value.to_string()),
        any_value::Value::DoubleValue(value) => Some(value.to_string()),
        _ => None,
    }
}

/// The wire schema's word for a field, for dead letters.
fn name(field: Field) -> &'static str {
    match field {
        Field::Ttft | Field::ServerTtft | Field::TtftMs => "ttft_ms",
        Field::Duration => "duration_ms",
        Field::Cost => "cost_usd",
        Field::HttpStatus => "http_status",
        _ => "tokens",
    }
}
