//! The texts of a call, wherever its convention puts them.

use std::borrow::Cow;
use std::collections::HashMap;

use leeway_core::event::{Call, Part, Text, TextState};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::span::Event as SpanEvent;

use super::attributes::Attributes;
use super::conventions::{DETAILS_EVENT, Field, HIDDEN, MESSAGE_EVENTS, TEXT_EVENTS};
use super::text_of;
use crate::Scratch;
use crate::cursor::Value;
use crate::moderation;

/// What a role's text is to the scan: a tool's answer is something that was retrieved.
fn part(role: &str) -> Part {
    match role {
        "system" | "developer" => Part::System,
        "assistant" | "model" => Part::History,
        "tool" | "function" => Part::Document,
        _ => Part::Input,
    }
}

fn push<'a>(call: &mut Call<'a>, part: Part, text: impl Into<Cow<'a, str>>) {
    let text = text.into();
    if text == HIDDEN {
        (call.incomplete, call.text_state) = (true, TextState::Redacted);
    } else if !text.is_empty() {
        call.texts.push(Text::new(part, text));
    }
}

/// Texts of a span or of a log record with a whole call.
pub fn of_attributes<'a>(attributes: &Attributes<'a>, call: &mut Call<'a>, scratch: &mut Scratch) {
    let lists = [
        (Field::SystemInstructions, Some(Part::System)),
        (Field::InputMessages, None),
        (Field::OutputMessages, Some(Part::Output)),
    ];
    for (field, fixed) in lists {
        match attributes.value(field).and_then(|value| value.value.as_ref()) {
            Some(any_value::Value::StringValue(json)) => from_json(json, fixed, call, scratch),
            Some(any_value::Value::ArrayValue(list)) => {
                list.values.iter().for_each(|item| from_value(item, fixed, call))
            }
            _ => {}
        }
    }
    call.incomplete |= attributes.cut;
    for json in &attributes.filters {
        // What is no JSON is no verdict.
        let _ = scratch.parse(json.as_bytes(), |tape, _| moderation::azure_attribute(call, Value(&tape.0)));
    }
    if !attributes.flat.is_empty() {
        flattened(attributes, call);
    } else if call.texts.is_empty() {
        for (field, part) in [(Field::InputValue, Part::Input), (Field::OutputValue, Part::Output)] {
            if let Some(text) = text_of(attributes.value(field)) {
                push(call, part, text);
            }
        }
    }
}

fn flattened<'a>(attributes: &Attributes<'a>, call: &mut Call<'a>) {
    let roles = attributes.flat.iter().filter(|(_, _, what, _)| *what == "role");
    let roles: HashMap<(bool, usize), &str> =
        roles.map(|(answer, number, _, role)| ((*answer, *number), *role)).collect();
    for (answer, number, what, text) in &attributes.flat {
        if *what != "content" {
            continue;
        }
        let role = roles.get(&(*answer, *number)).copied().unwrap_or("user");
        let part = if *answer { Part::Output } else { part(role) };
        push(call, part, *text);
    }
}

/// Messages as JSON text: `[{role, parts: [{type, content}]}]`, the parts alone, or one of them; or a text as it is.
fn from_json<'a>(json: &'a str, fixed: Option<Part>, call: &mut Call<'a>, scratch: &mut Scratch) {
    if !json.trim_start().starts_with(['[', '{', '"']) {
        push(call, fixed.unwrap_or(Part::Input), json);
        return;
    }
    let parsed = scratch.parse(json.as_bytes(), |tape, _| {
        let (mut found, mut whole, value) = (Vec::new(), true, Value(&tape.0));
        if let Some(text) = value.prose() {
            found.push((fixed.unwrap_or(Part::Input), text.to_owned()));
        } else if value.fields().is_some() {
            whole &= json_message(value, fixed, &mut found);
        }
        // A whole request, or the messages alone.
        let within = value.fields().into_iter().flatten().find(|(key, _)| *key == "messages");
        let messages = within.map_or(value, |(_, messages)| messages);
        for message in messages.items().into_iter().flatten() {
            whole &= json_message(message, fixed, &mut found);
        }
        (found, whole)
    });
    match parsed {
        Ok((found, whole)) => {
            call.incomplete |= !whole;
            found.into_iter().for_each(|(part, text)| push(call, part, text));
        }
        // Cut JSON is still text of that part; what was cut off is not there to explain anything.
        Err(_) => {
            (call.incomplete, call.text_state) = (true, TextState::Truncated);
            push(call, fixed.unwrap_or(Part::Input), json.to_owned());
        }
    }
}

/// `false`: some of it is no text, so it cannot be searched.
pub fn json_message(message: Value<'_, '_>, fixed: Option<Part>, found: &mut Vec<(Part, String)>) -> bool {
    let mut whole = true;
    let mut text = |of: Value<'_, '_>, name: &str| -> Option<String> {
        let (_, value) = of.fields()?.find(|(key, _)| *key == name)?;
        whole &= value.prose().is_some() || value.null();
        value.prose().map(str::to_owned)
    };
    let part = fixed.unwrap_or_else(|| part(text(message, "role").as_deref().unwrap_or("user")));
    let list = |name: &str| {
        let member = message.fields().into_iter().flatten().find(|(key, _)| *key == name);
        member.and_then(|(_, value)| value.items()).into_iter().flatten()
    };
    // A content is a text, or a list of pieces as `parts` is.
    if list("content").next().is_none() {
        found.extend(text(message, "content").or_else(|| text(message, "text")).map(|text| (part, text)));
    }
    for piece in list("parts").chain(list("content")) {
        found.extend(text(piece, "content").or_else(|| text(piece, "text")).map(|text| (part, text)));
        // What a tool answered, as a part of its own type.
        let answered = text(piece, "response").or_else(|| text(piece, "result"));
        found.extend(answered.map(|text| (Part::Document, text)));
    }
    whole
}

fn member<'a>(pairs: &'a [KeyValue], name: &str) -> Option<&'a AnyValue> {
    pairs.iter().find(|pair| pair.key == name).and_then(|pair| pair.value.as_ref())
}

fn pairs(value: &AnyValue) -> &[KeyValue] {
    match &value.value {
        Some(any_value::Value::KvlistValue(list)) => &list.values,
        _ => &[],
    }
}

/// A message as a structured value.
fn from_value<'a>(message: &'a AnyValue, fixed: Option<Part>, call: &mut Call<'a>) {
    let fields = pairs(message);
    let part = fixed.unwrap_or_else(|| part(text_of(member(fields, "role")).unwrap_or("user")));
    if let Some(text) = text_of(member(fields, "content")) {
        push(call, part, text);
    }
    let Some(any_value::Value::ArrayValue(parts)) = member(fields, "parts").and_then(|parts| parts.value.as_ref())
    else {
        return;
    };
    for piece in parts.values.iter().map(pairs) {
        if let Some(text) = text_of(member(piece, "content")) {
            push(call, part, text);
        }
        let answered = member(piece, "response").or_else(|| member(piece, "result"));
        match (text_of(answered), answered) {
            (Some(text), _) => push(call, Part::Document, text),
            (None, Some(_)) => call.incomplete = true,
            _ => {}
        }
    }
}

/// Texts of a span's events: messages of generation A, a whole call's details, and a client's own form.
pub fn of_events<'a>(events: &'a [SpanEvent], call: &mut Call<'a>, scratch: &mut Scratch) {
    for event in events {
        if let Some((_, role)) = MESSAGE_EVENTS.iter().find(|(name, _)| *name == event.name) {
            let part = if *role == "choice" { Part::Output } else { part(role) };
            let text = ["content", "message"].into_iter().find_map(|name| text_of(member(&event.attributes, name)));
            if let Some(text) = text {
                from_json(text, Some(part), call, scratch);
            }
        } else if event.name == DETAILS_EVENT {
            let said = Attributes::read(&event.attributes, &Attributes::default());
            of_attributes(&said, call, scratch);
        } else if let Some((_, name, answer)) = TEXT_EVENTS.iter().find(|(known, ..)| *known == event.name)
            && let Some(text) = text_of(member(&event.attributes, name))
        {
            push(call, if *answer { Part::Output } else { Part::Input }, text);
        }
    }
}

/// Why the answer ended, where an event of its span says so.
pub fn ends(events: &[SpanEvent]) -> impl Iterator<Item = &str> {
    let choices = events.iter().filter(|event| event.name == "gen_ai.choice");
    choices.filter_map(|event| text_of(member(&event.attributes, "finish_reason")))
}

/// The text of a generation A event: its body is a map with `content`, a choice's has it inside `message`; some clients
/// write the map as JSON.
pub fn of_message<'a>(role: &str, body: Option<&'a AnyValue>, call: &mut Call<'a>, scratch: &mut Scratch) {
    if let Some(json) = text_of(body) {
        let fixed = if role == "choice" { Part::Output } else { part(role) };
        return from_json(json, Some(fixed), call, scratch);
    }
    let Some(fields) = body.map(pairs) else { return };
    let (fields, part) = match role {
        "choice" => (member(fields, "message").map(pairs).unwrap_or_default(), Part::Output),
        _ => (fields, part(role)),
    };
    let content = member(fields, "content");
    if let Some(text) = text_of(content) {
        push(call, part, text);
    }
    if let Some(any_value::Value::ArrayValue(pieces)) = content.and_then(|content| content.value.as_ref()) {
        for piece in pieces.values.iter().map(pairs) {
            if let Some(text) = text_of(member(piece, "text")).or_else(|| text_of(member(piece, "content"))) {
                push(call, part, text);
            }
        }
    }
}
