//! LiteLLM's StandardLoggingPayload, as its generic HTTP callback writes it: an object, an array, or one on each line.

use std::sync::LazyLock;

use leeway_core::clock::Micros;
use leeway_core::event::{Call, Event, Part, Reject, Status, Text, TextState, Tokens, finish_reason};
use leeway_core::money::parse_decimal;
use leeway_core::pane::UNIT_WEIGHT;
use memchr::memmem::Finder;

use crate::cursor::Value;
use crate::leeway_json::{MAX_CHOICES, MAX_LABEL, MAX_MODEL, MAX_TOKENS, classify, cut, each, id};
use crate::moderation;
use crate::otlp::{YEAR, json_message, member, text, usage};
use crate::{Format, Options, Scratch, Sink};

/// Kinds of calls that bear tokens; images, speech and files do not count as model calls.
const CALL_TYPES: &[(&str, &str)] = &[
    ("completion", "chat"),
    ("acompletion", "chat"),
    ("responses", "chat"),
    ("aresponses", "chat"),
    ("anthropic_messages", "chat"),
    ("generate_content", "chat"),
    ("agenerate_content", "chat"),
    ("text_completion", "completion"),
    ("atext_completion", "completion"),
    ("embedding", "embeddings"),
    ("aembedding", "embeddings"),
    ("rerank", "rerank"),
    ("arerank", "rerank"),
];

#[derive(Debug)]
pub struct LiteLlm;

impl Format for LiteLlm {
    fn id(&self) -> &'static str {
        "litellm"
    }

    fn decode(&self, message: &[u8], scratch: &mut Scratch, sink: &mut dyn Sink) -> Result<(), Reject> {
        each(message, scratch, sink, record)
    }
}

static CALL_ID: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"litellm_call_id\""));

/// Whether a JSON message begins as LiteLLM's do.
pub fn recognised(head: &[u8]) -> bool {
    CALL_ID.find(head).is_some()
}

fn record(value: Value<'_, '_>, index: u32, _: &Options, sink: &mut dyn Sink) {
    let kind = text(value, "call_type").unwrap_or_default();
    match CALL_TYPES.iter().find(|(known, _)| *known == kind) {
        Some((_, operation)) => sink.record(index, call(value, operation).map(Event::Call)),
        None if kind.is_empty() => sink.record(index, Err(Reject::UnknownKind)),
        None => sink.skipped(1),
    }
}

fn call<'i>(value: Value<'_, 'i>, operation: &'static str) -> Result<Call<'i>, Reject> {
    let (start, end) = (seconds(value, "startTime")?, seconds(value, "endTime")?);
    let label = |path: &str, limit: usize| cut(text(value, path).unwrap_or_default(), limit);
    let failed = text(value, "status") == Some("failure");
    let stream = member(value, "stream").and_then(|value| value.bool("stream").ok().flatten());
    let mut call = Call {
        time: end.or(start).ok_or(Reject::NoTime)?,
        tenant: text(value, "metadata.requester_metadata.tenant").map_or("default", |text| cut(text, MAX_LABEL)),
        app: text(value, "metadata.user_api_key_team_alias").map_or("unknown", |text| cut(text, MAX_LABEL)),
        operation,
        served: true,
        provider: label("custom_llm_provider", MAX_MODEL),
        request_model: label("model", MAX_MODEL),
        response_model: label("response.model", MAX_MODEL),
        stream,
        weight_micro: UNIT_WEIGHT,
        ..Call::default()
    };
    let own_id = |name: &str| member(value, name).map_or(Ok(None), |value| id(value, "id"));
    call.id = own_id("litellm_call_id")?;
    // The response names a call that OpenTelemetry may tell of too; a failed call has none.
    call.response_id = if failed { None } else { own_id("id")? };
    // An answer from LiteLLM's cache has the id of the one that it was made for, and is a call of its own.
    let cached = member(value, "cache_hit").and_then(|value| value.bool("").ok().flatten()) == Some(true);
    call.told_elsewhere = call.response_id.is_some() && !cached;
    call.trace_id = own_id("trace_id")?;
    call.duration_us = start.zip(end).and_then(|(start, end)| u64::try_from(end - start).ok());
    if call.duration_us.is_some_and(|duration| duration > YEAR) {
        return Err(Reject::WrongType("duration_ms"));
    }
    let first = seconds(value, "completionStartTime")?.filter(|_| stream == Some(true) && !failed);
    call.ttft_us = start.zip(first).and_then(|(start, first)| u64::try_from(first - start).ok());
    call.tokens = tokens(value, failed)?;
    let cost = member(value, "response_cost").map_or(Ok(None), |value| value.number("cost_usd"))?;
    call.cost = cost.filter(|cost| *cost > 0.0).and_then(|cost| parse_decimal(&format!("{cost}"), 9));
    end_of(&mut call, value, failed);
    texts(&mut call, value);
    let places = ["guardrail_information", "metadata.guardrail_information"];
    if let Some(ran) = places.into_iter().find_map(|path| member(value, path)) {
        moderation::guardrails(&mut call, ran);
    }
    if let Some(response) = member(value, "response") {
        moderation::azure(&mut call, response);
    }
    moderation::of_guard(&mut call);
    Ok(call)
}

/// Unix seconds with a fraction.
fn seconds(value: Value<'_, '_>, name: &'static str) -> Result<Option<Micros>, Reject> {
    let seconds = member(value, name).map_or(Ok(None), |value| value.number("time"))?;
    Ok(seconds.filter(|seconds| *seconds > 0.0 && *seconds < 1e11).map(|seconds| (seconds * 1e6).round() as Micros))
}

/// The usage as the provider told it, else LiteLLM's own totals; a failed call's zeros are unknown.
fn tokens(value: Value<'_, '_>, failed: bool) -> Result<Tokens, Reject> {
    if failed {
        return Ok(Tokens::default());
    }
    let told = member(value, "metadata.usage_object").map(usage).unwrap_or_default();
    let own = |name: &str| match member(value, name).map_or(Ok(None), |value| value.count("tokens"))? {
        Some(count) if count > MAX_TOKENS => Err(Reject::WrongType("tokens")),
        count => Ok(count),
    };
    Ok(Tokens {
        input: told.input.or(own("prompt_tokens")?),
        output: told.output.or(own("completion_tokens")?),
        ..told
    })
}

fn end_of<'i>(call: &mut Call<'i>, value: Value<'_, 'i>, failed: bool) {
    let choices = member(value, "response.choices").and_then(Value::items).into_iter().flatten();
    let reasons = choices.filter_map(|choice| text(choice, "finish_reason"));
    call.finish_reasons = reasons.take(MAX_CHOICES).map(finish_reason).collect();
    call.status = Status::Ok;
    if failed {
        let class = text(value, "error_information.error_class").unwrap_or_default();
        call.failure[0] = class.into();
        let code = text(value, "error_information.error_code").and_then(|code| code.parse().ok());
        let slow = class.to_ascii_lowercase().contains("timeout");
        call.status = if slow { Status::Timeout } else { Status::Error };
        call.error_class = Some(classify(call.status, code, class));
    }
}

fn texts<'i>(call: &mut Call<'i>, value: Value<'_, 'i>) {
    let mut found: Vec<(Part, String)> = Vec::new();
    let mut whole = true;
    for message in member(value, "messages").and_then(Value::items).into_iter().flatten() {
        whole &= json_message(message, None, &mut found);
    }
    for choice in member(value, "response.choices").and_then(Value::items).into_iter().flatten() {
        if let Some(message) = member(choice, "message") {
            whole &= json_message(message, Some(Part::Output), &mut found);
        }
    }
    // LiteLLM's word for a text that was not to be logged.
    let hidden = |text: &String| text == "redacted-by-litellm";
    let found_hidden = found.iter().any(|(_, text)| hidden(text));
    call.incomplete |= !whole || found_hidden;
    let kept = found.into_iter().filter(|(_, text)| !text.is_empty() && !hidden(text));
    if found_hidden {
        call.text_state = TextState::Redacted;
    }
    call.texts.extend(kept.map(|(part, text)| Text::new(part, text)));
    let message = text(value, "error_information.error_message").or_else(|| text(value, "error_str"));
    call.failure[1] = message.unwrap_or_default().into();
    call.texts.extend(message.map(|text| Text::new(Part::Telemetry, text)));
}

#[cfg(test)]
mod tests;
