//! What a convention hides inside texts: ids in another form, and fields in JSON.

use leeway_core::event::{Tokens, finish_reason};
use leeway_core::money::{NanoDollars, parse_decimal};

use super::attributes::Attributes;
use super::conventions::{
    CACHE_BESIDE, Field, SCOPES_OF_PROVIDERS, THINKING_BESIDE, USAGE, USAGE_BESIDE_OUTPUT, USAGE_UNCACHED,
};
use super::hex;
use crate::Scratch;
use crate::cursor::Value;
use crate::leeway_json::{MAX_CHOICES, MAX_LABEL, MAX_MODEL, MAX_TOKENS, cut};

/// What the attributes of one record say between the lines.
#[derive(Debug, Default)]
pub struct Inside {
    pub trace: String,
    pub span: String,
    /// The span around it.
    pub parent: String,
    pub tenant: Option<String>,
    pub provider: Option<String>,
    pub request_model: Option<String>,
    pub response_id: Option<String>,
    pub stream: Option<bool>,
    pub tokens: Tokens,
    /// Why the answer's messages ended, where the attributes do not say it.
    pub finish_reasons: Vec<u8>,
    pub cost: Option<NanoDollars>,
    /// Dimensions that the settings find in attributes.
    pub dimensions: Vec<(String, String)>,
    /// The client's input tokens are without the cached ones.
    pub cache_beside: bool,
    /// The client's output tokens are without the thinking.
    pub thinking_beside: bool,
}

impl Inside {
    pub fn of(attributes: &Attributes<'_>, trace: &[u8], span: &[u8], scratch: &mut Scratch) -> Self {
        let mut inside = Self { trace: hex(trace), span: hex(span), ..Self::default() };
        inside.named(attributes);
        inside.tenant = inside.tenant.or_else(|| tenant(attributes, scratch));
        inside.provider = provider(attributes);
        if let Some(json) = attributes.text(Field::Parameters) {
            read(json, scratch, |value| {
                let model = text(value, "model").or_else(|| text(value, "model_name"));
                inside.request_model = model.map(|model| cut(model, MAX_MODEL).to_owned());
                inside.stream = member(value, "stream").and_then(|value| value.bool("stream").ok().flatten());
            });
        }
        // An answer that was kept as it came names itself, and says what it took.
        if let Some(json) = attributes.text(Field::OutputValue) {
            read(json, scratch, |value| {
                inside.response_id = text(value, "id").map(str::to_owned);
                inside.tokens = member(value, "usage").map(usage).unwrap_or_default();
            });
        }
        for field in [Field::UsageWhole, Field::Usage] {
            if let Some(json) = attributes.text(field) {
                read(json, scratch, |value| {
                    inside.tokens = usage(value);
                    if field == Field::UsageWhole {
                        inside.tokens.input = member(value, "input_tokens").and_then(|count| count.count("").ok()?);
                    }
                });
            }
        }
        if let Some(json) = attributes.text(Field::ProviderUsage) {
            read(json, scratch, |value| {
                let (_, told) = value.fields().into_iter().flatten().next().unwrap_or(("", value));
                inside.tokens = member(told, "usage").map_or_else(|| usage(told), usage);
            });
        }
        if attributes.value(Field::FinishReasons).is_none()
            && let Some(json) = attributes.text(Field::OutputMessages)
        {
            let reasons = &mut inside.finish_reasons;
            read(json, scratch, |value| {
                for message in value.items().into_iter().flatten().take(MAX_CHOICES) {
                    reasons.extend(text(message, "finish_reason").map(finish_reason));
                }
            });
        }
        if let Some(json) = attributes.text(Field::Costs) {
            read(json, scratch, |value| inside.cost = cost(value));
        }
        inside
    }
}

impl Inside {
    /// What attributes say that the settings name.
    pub fn named(&mut self, attributes: &Attributes<'_>) {
        for (dimension, value) in attributes.dimensions() {
            if dimension == "tenant" {
                self.tenant = Some(cut(value, MAX_LABEL).to_owned());
            } else {
                self.dimensions.push((dimension.to_owned(), value.to_owned()));
            }
        }
    }

    /// What the instrumentation's name tells.
    pub fn of_scope(&mut self, attributes: &Attributes<'_>, scope: &str) {
        let told = self.provider.as_deref().or(attributes.text(Field::Provider)).unwrap_or_default();
        if told.is_empty() {
            let named = SCOPES_OF_PROVIDERS.iter().find_map(|prefix| scope.strip_prefix(prefix));
            self.provider = named.map(|name| cut(name, MAX_MODEL).to_owned());
        }
        let provider = self.provider.as_deref().or(attributes.text(Field::Provider)).unwrap_or_default();
        self.cache_beside = CACHE_BESIDE
            .iter()
            .any(|(prefix, of)| scope.starts_with(prefix) && (of.is_empty() || provider.eq_ignore_ascii_case(of)));
        self.thinking_beside = THINKING_BESIDE.iter().any(|prefix| scope.starts_with(prefix));
    }
}

/// Shows a JSON object or list to `see`; anything else says nothing.
fn read(json: &str, scratch: &mut Scratch, see: impl FnOnce(Value<'_, '_>)) {
    if json.starts_with(['{', '[']) {
        // What is no JSON after all has nothing inside.
        let _ = scratch.parse(json.as_bytes(), |tape, _| see(Value(&tape.0)));
    }
}

/// A member by its path, split at dots.
pub fn member<'t, 'i>(value: Value<'t, 'i>, path: &str) -> Option<Value<'t, 'i>> {
    path.split('.').try_fold(value, |value, name| {
        value.fields()?.find(|(key, _)| *key == name).map(|(_, value)| value).filter(|value| !value.null())
    })
}

pub fn text<'i>(value: Value<'_, 'i>, path: &str) -> Option<&'i str> {
    member(value, path)?.text("").ok().flatten().filter(|text| !text.is_empty())
}

fn tenant(attributes: &Attributes<'_>, scratch: &mut Scratch) -> Option<String> {
    match attributes.text(Field::Tenant) {
        Some(named) if !named.is_empty() => None,
        _ => {
            let mut tenant = None;
            if let Some(json) = attributes.text(Field::Metadata) {
                read(json, scratch, |value| tenant = text(value, "tenant").map(|text| cut(text, MAX_LABEL).to_owned()));
            }
            tenant
        }
    }
}

/// A provider in lower case; where a client names provider and API together, the provider.
fn provider(attributes: &Attributes<'_>) -> Option<String> {
    let joined = attributes.text(Field::ModelProvider).filter(|name| !name.is_empty());
    let name = match joined {
        Some(joined) => joined.split('.').next().unwrap_or(joined),
        None => attributes.text(Field::Provider)?,
    };
    let other = joined.is_some() || name.bytes().any(|byte| byte.is_ascii_uppercase());
    other.then(|| cut(name, MAX_MODEL).to_ascii_lowercase())
}

/// Counts by the names of [`USAGE`].
pub fn usage(value: Value<'_, '_>) -> Tokens {
    let count = |path: &str| member(value, path)?.count("tokens").ok().flatten().filter(|count| *count <= MAX_TOKENS);
    let first = |field: Field| USAGE.iter().filter(|(_, of)| *of == field).find_map(|(path, _)| count(path));
    let (cache_read, cache_write) = (first(Field::CacheRead), first(Field::CacheWrite));
    let beside = |input: u64| input.checked_add(cache_read.unwrap_or(0))?.checked_add(cache_write.unwrap_or(0));
    // Anthropic's own usage tells the cache beside the input, not inside it.
    let outside = count("prompt_tokens").is_none() && member(value, "input_tokens_details").is_none();
    let input = match count("input_tokens").filter(|_| outside) {
        Some(input) => beside(input),
        None => first(Field::InputTokens).or_else(|| count(USAGE_UNCACHED).and_then(beside)),
    };
    let output = first(Field::OutputTokens);
    Tokens {
        input,
        output: output.map(|output| output.saturating_add(count(USAGE_BESIDE_OUTPUT).unwrap_or(0))),
        cache_read,
        cache_write,
        reasoning: first(Field::Reasoning),
        ..Tokens::default()
    }
}

/// Dollars: the total, or the sum of the parts.
fn cost(value: Value<'_, '_>) -> Option<NanoDollars> {
    let dollars = |value: Value<'_, '_>| value.number("cost_usd").ok().flatten().filter(|dollars| *dollars >= 0.0);
    let total = member(value, "total").and_then(dollars);
    let total =
        total.unwrap_or_else(|| value.fields().into_iter().flatten().filter_map(|(_, part)| dollars(part)).sum());
    if total > 0.0 { parse_decimal(&format!("{total}"), 9) } else { None }
}
