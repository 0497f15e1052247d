//! One telemetry event, as every format decodes to it; names, types and units are those of the wire schema.
//!
//! Strings are borrowed from the message. Texts end in the scan: nothing that is made from a call holds any.

use std::borrow::Cow;

use crate::call_key::{CallKey, Name};
use crate::clock::Micros;
use crate::embedding::Features;
use crate::money::NanoDollars;

/// Why an event was rejected; the public codes of dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reject {
    Undecodable,
    NoTime,
    TimeOutOfRange,
    Future,
    NegativeCount,
    WrongType(&'static str),
    TooLarge,
    TooDeep,
    UnknownKind,
    NoTarget,
    UnknownSchema,
    /// No registry knows the schema of a value.
    NoSchema,
    /// Neither topic nor headers say what it is, and its bytes may not.
    UnknownFormat,
    /// The schema registry did not answer; nothing that the message did, and never a dead letter.
    RegistryAway,
    /// The message stopped the process twice.
    Quarantined,
}

impl Reject {
    pub fn code(&self) -> &'static str {
        match self {
            Self::Undecodable => "undecodable",
            Self::NoTime => "no_time",
            Self::TimeOutOfRange | Self::Future => "time_out_of_range",
            Self::NegativeCount => "negative_count",
            Self::WrongType(_) => "wrong_type",
            Self::TooLarge => "too_large",
            Self::TooDeep => "too_deep",
            Self::UnknownKind => "unknown_kind",
            Self::NoTarget => "no_target",
            Self::UnknownSchema | Self::NoSchema => "unknown_schema",
            Self::UnknownFormat => "unknown_format",
            Self::RegistryAway => "registry_away",
            Self::Quarantined => "quarantined",
        }
    }

    /// The field at fault, where there is one.
    pub fn field(&self) -> &'static str {
        match self {
            Self::WrongType(field) => field,
            Self::NoTime | Self::TimeOutOfRange | Self::Future => "time",
            Self::NoTarget => "target",
            Self::UnknownKind => "kind",
            Self::UnknownSchema => "v",
            _ => "",
        }
    }
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Status {
    Ok,
    Error,
    Timeout,
    Cancelled,
    Blocked,
    #[default]
    Unknown,
}

impl Status {
    pub const NAMES: [(&'static str, Self); 6] = [
        ("ok", Self::Ok),
        ("error", Self::Error),
        ("timeout", Self::Timeout),
        ("cancelled", Self::Cancelled),
        ("blocked", Self::Blocked),
        ("unknown", Self::Unknown),
    ];

    /// Errors of the headline rate: status error or timeout.
    pub fn failed(self) -> bool {
        matches!(self, Self::Error | Self::Timeout)
    }
}

/// Classes of errors, in the order of their counters.
pub const ERROR_CLASSES: [&str; 9] =
    ["rate_limit", "timeout", "server", "client", "auth", "context_length", "content_filter", "connection", "other"];

/// Why a model stopped, folded from the providers' words.
pub const FINISH_REASONS: [&str; 6] = ["stop", "length", "tool_call", "content_filter", "error", "other"];

/// Index into [`FINISH_REASONS`] of a provider's word.
pub fn finish_reason(word: &str) -> u8 {
    // Enumerations come with their name: `FinishReason.STOP`.
    let word = word.rsplit('.').next().unwrap_or(word).as_bytes();
    let mut plain = [0; 32];
    let Some(plain) = plain.get_mut(..word.len()) else { return 5 };
    for (to, from) in plain.iter_mut().zip(word) {
        *to = if *from == b'-' { b'_' } else { from.to_ascii_lowercase() };
    }
    match &*plain {
        b"stop" | b"end_turn" | b"stop_sequence" | b"completed" | b"complete" | b"finish" | b"finished" | b"eos" => 0,
        b"length" | b"max_tokens" | b"max_output_tokens" | b"model_length" | b"incomplete" | b"max_length" => 1,
        b"tool_call" | b"tool_calls" | b"tool_use" | b"function_call" => 2,
        b"content_filter"
        | b"content_filtered"
        | b"safety"
        | b"refusal"
        | b"guardrail_intervened"
        | b"recitation"
        | b"blocklist"
        | b"prohibited_content"
        | b"spii" => 3,
        b"error" | b"failed" | b"malformed_function_call" => 4,
        _ => 5,
    }
}

pub const OPERATIONS: [&str; 8] =
    ["chat", "completion", "embeddings", "rerank", "retrieval", "tool", "agent", "guardrail"];
/// Operations that bear tokens and cost; headline figures take these, served.
pub const HEADLINE_OPERATIONS: [&str; 4] = ["chat", "completion", "embeddings", "rerank"];

/// Token counts; totals include their sub-counts, `None` is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tokens {
    pub input: Option<u64>,
    pub output: Option<u64>,
    pub cache_read: Option<u64>,
    pub cache_write: Option<u64>,
    pub reasoning: Option<u64>,
    pub audio_in: Option<u64>,
    pub audio_out: Option<u64>,
    pub image_in: Option<u64>,
}

impl Tokens {
    pub const NAMES: [&'static str; 8] =
        ["input", "output", "cache_read", "cache_write", "reasoning", "audio_in", "audio_out", "image_in"];

    pub fn by_index(&self) -> [Option<u64>; 8] {
        [
            self.input,
            self.output,
            self.cache_read,
            self.cache_write,
            self.reasoning,
            self.audio_in,
            self.audio_out,
            self.image_in,
        ]
    }

    pub fn slot(&mut self, name: &str) -> Option<&mut Option<u64>> {
        Some(match name {
            "input" => &mut self.input,
            "output" => &mut self.output,
            "cache_read" => &mut self.cache_read,
            "cache_write" => &mut self.cache_write,
            "reasoning" => &mut self.reasoning,
            "audio_in" => &mut self.audio_in,
            "audio_out" => &mut self.audio_out,
            "image_in" => &mut self.image_in,
            _ => return None,
        })
    }
}

/// An inline evaluation of a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score<'a> {
    pub name: &'a str,
    /// Millionths; `None` for a label.
    pub micro: Option<i64>,
}

/// Which text of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Input,
    Output,
    System,
    Document,
    /// Earlier turns of the same conversation.
    History,
    /// No text of the call: what its telemetry says of it in free words, error texts first.
    Telemetry,
}

/// What the telemetry did with a call's texts before it sent them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TextState {
    /// Nothing, as far as it says.
    #[default]
    Unsaid,
    /// They were taken out.
    Redacted,
    /// They were cut.
    Truncated,
}

/// A text of a call. It cannot be printed.
#[derive(Clone, PartialEq)]
pub struct Text<'a> {
    pub part: Part,
    pub text: Cow<'a, str>,
    /// Of a document: whose it is, where the producer says; else empty.
    pub owner: &'a str,
    /// Of a document: its id, where the producer says; else empty.
    pub id: &'a str,
}

impl<'a> Text<'a> {
    pub fn new(part: Part, text: impl Into<Cow<'a, str>>) -> Self {
        Self { part, text: text.into(), owner: "", id: "" }
    }
}

impl std::fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}: {} bytes", self.part, self.text.len())
    }
}

/// An upstream moderation label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moderation<'a> {
    pub source: &'a str,
    /// Of the source: another one judges otherwise.
    pub version: &'a str,
    pub category: &'a str,
    pub raised: bool,
    pub blocked: bool,
}

/// What a record says of its call. A whole record says everything; a span and a log record of one call each say a
/// part, and each part is counted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Brings {
    /// Count, status, tokens, cost, scores, moderation.
    pub call: bool,
    /// Duration and time to first token.
    pub timing: bool,
    /// Findings of the texts.
    pub text: bool,
    /// No other record of this call is expected: the parts are claimed as one.
    pub whole: bool,
}

impl Default for Brings {
    fn default() -> Self {
        Self { call: true, timing: true, text: true, whole: true }
    }
}

/// One model call.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Call<'a> {
    pub brings: Brings,
    pub texts: Vec<Text<'a>>,
    /// Type and text of its error.
    pub failure: [Cow<'a, str>; 2],
    /// An input text is missing or cut: origins of what the answer holds cannot be told.
    pub incomplete: bool,
    pub text_state: TextState,
    /// Whose call it is, as the producer names them; compared under a key, never kept.
    pub user: Option<&'a str>,
    /// The application checked the answer against its schema.
    pub schema_valid: Option<bool>,
    pub moderation: Vec<Moderation<'a>>,
    pub id: Option<&'a str>,
    pub time: Micros,
    pub tenant: &'a str,
    pub app: &'a str,
    pub environment: &'a str,
    pub region: &'a str,
    pub dims: Vec<(&'a str, &'a str)>,
    pub operation: &'a str,
    pub served: bool,
    pub route: &'a str,
    pub release: &'a str,
    pub prompt_version: &'a str,
    /// Of what was retrieved from.
    pub index_version: &'a str,
    pub provider: &'a str,
    pub request_model: &'a str,
    pub response_model: &'a str,
    pub trace_id: Option<&'a str>,
    pub span_id: Option<&'a str>,
    /// Of a span: the one around it.
    pub parent_span_id: Option<&'a str>,
    pub response_id: Option<&'a str>,
    /// Or session: feedback may be about it as a whole.
    pub conversation: Option<&'a str>,
    /// A whole record whose response other telemetry may tell of too, under another name.
    pub told_elsewhere: bool,
    pub status: Status,
    /// Index into [`ERROR_CLASSES`].
    pub error_class: Option<u8>,
    pub fallback: bool,
    pub stream: Option<bool>,
    /// One a choice; indexes into [`FINISH_REASONS`].
    pub finish_reasons: Vec<u8>,
    pub tokens: Tokens,
    pub duration_us: Option<u64>,
    pub ttft_us: Option<u64>,
    /// As reported by the producer.
    pub cost: Option<NanoDollars>,
    pub scores: Vec<Score<'a>>,
    /// The space of its embedding, and the features of the vector, which goes no further.
    pub embedding: Option<(&'a str, Features)>,
    /// 1 / `sample_probability`, in millionths.
    pub weight_micro: u64,
    /// Labels that were longer than their limit and were cut.
    pub cut_labels: u32,
}

impl<'a> Call<'a> {
    /// `request_model`, else `response_model`: failed calls have no response model.
    pub fn model(&self) -> &'a str {
        if self.request_model.is_empty() { self.response_model } else { self.request_model }
    }

    /// The model that answered, for prices.
    pub fn billed_model(&self) -> &'a str {
        if self.response_model.is_empty() { self.request_model } else { self.response_model }
    }

    /// The name under which the call is counted once: its own id, its span, or (without either) its response.
    pub fn name(&self) -> Option<CallKey> {
        let span = self.trace_id.zip(self.span_id).map(|(trace, span)| Name::Span(trace, span));
        let name = self.id.map(Name::Id).or(span).or_else(|| self.response());
        name.map(Name::key)
    }

    /// A further name of a part of a call: another instrumentation may tell of the same response.
    pub fn copy_name(&self) -> Option<CallKey> {
        let part = !self.brings.whole && self.brings.call && self.id.is_none();
        let part = part && self.trace_id.is_some() && self.span_id.is_some();
        self.response().filter(|_| part || self.told_elsewhere).map(Name::key)
    }

    /// The name of the span around a part of a call: another instrumentation may tell of the call from there.
    pub fn parent_name(&self) -> Option<CallKey> {
        let around = self.trace_id.zip(self.parent_span_id).filter(|_| self.brings.call && !self.brings.whole);
        around.map(|(trace, span)| Name::Span(trace, span).key())
    }

    fn response(&self) -> Option<Name<'a>> {
        self.response_id.map(|id| Name::Response(self.provider, id))
    }

    /// Further names under which feedback may find the call.
    pub fn aliases(&self) -> impl Iterator<Item = CallKey> {
        let span = self.trace_id.zip(self.span_id).map(|(trace, span)| Name::Span(trace, span));
        let names = [
            span.filter(|_| self.id.is_some()),
            self.response_id.map(Name::ResponseId),
            self.trace_id.map(Name::Trace),
            self.conversation.map(Name::Conversation),
        ];
        names.into_iter().flatten().map(Name::key)
    }

    /// Texts of the call itself.
    pub fn own_texts(&self) -> impl Iterator<Item = &Text<'a>> {
        self.texts.iter().filter(|text| text.part != Part::Telemetry)
    }

    pub fn dimension(&self, name: &str) -> &'a str {
        match name {
            "tenant" => self.tenant,
            "app" => self.app,
            "route" => self.route,
            "provider" => self.provider,
            "model" => self.model(),
            "release" => self.release,
            "environment" => self.environment,
            "prompt_version" => self.prompt_version,
            "index_version" => self.index_version,
            "region" => self.region,
            "operation" => self.operation,
            other => {
                let wanted = other.strip_prefix("dims.").unwrap_or(other);
                self.dims.iter().find(|(key, _)| *key == wanted).map_or("", |(_, value)| value)
            }
        }
    }
}

/// The six kinds that are kept as rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKind {
    Feedback,
    Change,
    Evaluation,
    Incident,
    Experiment,
    Figure,
}

impl RecordKind {
    pub const ALL: [Self; 6] =
        [Self::Feedback, Self::Change, Self::Evaluation, Self::Incident, Self::Experiment, Self::Figure];

    pub fn name(self) -> &'static str {
        match self {
            Self::Feedback => "feedback",
            Self::Change => "change",
            Self::Evaluation => "evaluation",
            Self::Incident => "incident",
            Self::Experiment => "experiment",
            Self::Figure => "figure",
        }
    }
}

/// A feedback, change, evaluation, incident, experiment or figure; rare, so owned.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub kind: RecordKind,
    pub tenant: String,
    /// The upsert key: the producer's id, or what the schema derives it from.
    pub id: String,
    pub time: Micros,
    pub app: String,
    /// Feedback name, change type, suite, incident class, experiment name, figure name.
    pub name: String,
    /// The checked fields as a JSON object.
    pub body: String,
    /// Of feedback: what it says, and about which call.
    pub label: Option<Label>,
}

/// The part of feedback that is joined with its call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// `None`: the target is a task, which no call index knows.
    pub target: Option<CallKey>,
    /// The trace of a target that is a span: a judgement may hang on the span around the call.
    pub trace: Option<CallKey>,
    /// human, user, model or code; "" where the producer gave none.
    pub source: String,
    /// The feedback carries a value; one without retracts what was said before.
    pub given: bool,
    /// Millionths; `None` for a word.
    pub micro: Option<i64>,
}

/// What one decoded event is.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "a call is the common case and must not be boxed on the hot path")]
pub enum Event<'a> {
    Call(Call<'a>),
    Record(Record),
}
