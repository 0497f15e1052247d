//! Names of attributes, by convention: data, not code. Of several names of one field the first listed wins.

use std::collections::HashMap;
use std::sync::LazyLock;

/// What an attribute says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Field {
    Operation,
    /// OpenInference's kind of span.
    SpanKind,
    /// Vercel's operation.
    OperationId,
    /// OpenLLMetry's kind of request, before it had operations.
    RequestType,
    /// Langfuse's kind of observation.
    Observation,
    Provider,
    /// Provider and API, split by a dot.
    ModelProvider,
    RequestModel,
    ResponseModel,
    /// JSON with the request's settings.
    Parameters,
    Stream,
    FinishReasons,
    InputTokens,
    OutputTokens,
    CacheRead,
    CacheWrite,
    Reasoning,
    AudioIn,
    AudioOut,
    /// JSON with counts by free names.
    Usage,
    /// The same, with the cached part inside the input.
    UsageWhole,
    /// JSON by provider, with counts or a usage inside.
    ProviderUsage,
    /// Input and output, and what else was billed.
    TotalTokens,
    /// The remote procedure that was called.
    Method,
    /// What a span is to a client that writes two for a stream.
    SplitKind,
    /// Seconds that such a client measured itself.
    Duration,
    ResponseId,
    /// Or session.
    Conversation,
    User,
    ErrorType,
    ErrorMessage,
    HttpStatus,
    /// `ERROR` where the call failed.
    Level,
    /// Seconds.
    Ttft,
    /// Seconds, as a server told it: it has one of whole answers too.
    ServerTtft,
    /// Milliseconds.
    TtftMs,
    /// When the answer began, as JSON text.
    FirstAt,
    Tenant,
    Route,
    PromptVersion,
    Region,
    Cost,
    /// JSON with dollars by part.
    Costs,
    App,
    Release,
    Environment,
    /// JSON with more fields inside.
    Metadata,
    InputMessages,
    OutputMessages,
    SystemInstructions,
    InputValue,
    OutputValue,
    EventName,
    EvaluationName,
    EvaluationValue,
    EvaluationLabel,
    /// Tells two evaluations of one name apart.
    EvaluationKey,
    /// The model that judged.
    Judge,
}

pub const FIELDS: usize = Field::Judge as usize + 1;

/// Attribute names of spans, log records and resources: OpenTelemetry GenAI generations A, B and C, OpenInference,
/// OpenLLMetry old and new, Langfuse, Vercel, LiteLLM, OpenLIT, pydantic-ai, Anthropic.
const ATTRIBUTES: &[(&str, Field)] = &[
    ("gen_ai.operation.name", Field::Operation),
    ("openinference.span.kind", Field::SpanKind),
    ("mlflow.spanType", Field::SpanKind),
    ("ai.operationId", Field::OperationId),
    ("llm.request.type", Field::RequestType),
    ("langfuse.observation.type", Field::Observation),
    ("gen_ai.provider.name", Field::Provider),
    ("gen_ai.system", Field::Provider),
    ("llm.provider", Field::Provider),
    ("llm.system", Field::Provider),
    ("mlflow.llm.provider", Field::Provider),
    ("ai.model.provider", Field::ModelProvider),
    ("gen_ai.request.model", Field::RequestModel),
    ("ai.model.id", Field::RequestModel),
    ("mlflow.llm.model", Field::RequestModel),
    ("gen_ai.response.model", Field::ResponseModel),
    ("llm.model_name", Field::ResponseModel),
    ("embedding.model_name", Field::ResponseModel),
    ("ai.response.model", Field::ResponseModel),
    ("langfuse.observation.model.name", Field::ResponseModel),
    ("llm.invocation_parameters", Field::Parameters),
    ("gen_ai.request.stream", Field::Stream),
    ("gen_ai.is_streaming", Field::Stream),
    ("llm.is_streaming", Field::Stream),
    ("gen_ai.request.is_stream", Field::Stream),
    ("stream", Field::Stream),
    ("gen_ai.response.finish_reasons", Field::FinishReasons),
    ("gen_ai.response.finish_reason", Field::FinishReasons),
    ("llm.finish_reason", Field::FinishReasons),
    ("langfuse.observation.metadata.finish_reason", Field::FinishReasons),
    ("ai.response.finishReason", Field::FinishReasons),
    ("anthropic.message.stop_reason", Field::FinishReasons),
    ("gen_ai.usage.input_tokens", Field::InputTokens),
    ("gen_ai.usage.prompt_tokens", Field::InputTokens),
    ("llm.token_count.prompt", Field::InputTokens),
    ("ai.usage.inputTokens", Field::InputTokens),
    ("ai.usage.promptTokens", Field::InputTokens),
    ("ai.usage.tokens", Field::InputTokens),
    ("gen_ai.usage.output_tokens", Field::OutputTokens),
    ("gen_ai.usage.completion_tokens", Field::OutputTokens),
    ("llm.token_count.completion", Field::OutputTokens),
    ("ai.usage.outputTokens", Field::OutputTokens),
    ("ai.usage.completionTokens", Field::OutputTokens),
    ("gen_ai.usage.cache_read.input_tokens", Field::CacheRead),
    ("gen_ai.usage.cache_read_input_tokens", Field::CacheRead),
    ("gen_ai.usage.details.cache_read_tokens", Field::CacheRead),
    ("gen_ai.usage.details.cache_read_input_tokens", Field::CacheRead),
    ("gen_ai.usage.details.cached_tokens", Field::CacheRead),
    ("llm.token_count.prompt_details.cache_read", Field::CacheRead),
    ("ai.usage.cachedInputTokens", Field::CacheRead),
    ("ai.usage.inputTokenDetails.cacheReadTokens", Field::CacheRead),
    ("gen_ai.usage.cache_write.input_tokens", Field::CacheWrite),
    ("gen_ai.usage.cache_creation.input_tokens", Field::CacheWrite),
    ("gen_ai.usage.cache_creation_input_tokens", Field::CacheWrite),
    ("gen_ai.usage.details.cache_write_tokens", Field::CacheWrite),
    ("gen_ai.usage.details.cache_creation_input_tokens", Field::CacheWrite),
    ("llm.token_count.prompt_details.cache_write", Field::CacheWrite),
    ("ai.usage.inputTokenDetails.cacheWriteTokens", Field::CacheWrite),
    ("gen_ai.usage.reasoning.output_tokens", Field::Reasoning),
    ("gen_ai.usage.reasoning_tokens", Field::Reasoning),
    ("gen_ai.usage.details.reasoning_tokens", Field::Reasoning),
    ("llm.usage.reasoning_tokens", Field::Reasoning),
    ("llm.token_count.completion_details.reasoning", Field::Reasoning),
    ("ai.usage.reasoningTokens", Field::Reasoning),
    ("ai.usage.outputTokenDetails.reasoningTokens", Field::Reasoning),
    ("gen_ai.usage.audio.input_tokens", Field::AudioIn),
    ("llm.token_count.prompt_details.audio", Field::AudioIn),
    ("gen_ai.usage.audio.output_tokens", Field::AudioOut),
    ("llm.token_count.completion_details.audio", Field::AudioOut),
    ("langfuse.observation.usage_details", Field::Usage),
    ("gen_ai.usage.raw", Field::Usage),
    ("metadata.usage_object", Field::Usage),
    ("mlflow.chat.tokenUsage", Field::UsageWhole),
    ("ai.response.providerMetadata", Field::ProviderUsage),
    ("gen_ai.usage.total_tokens", Field::TotalTokens),
    ("llm.usage.total_tokens", Field::TotalTokens),
    ("rpc.method", Field::Method),
    ("logfire.span_type", Field::SplitKind),
    ("duration", Field::Duration),
    ("gen_ai.response.id", Field::ResponseId),
    ("ai.response.id", Field::ResponseId),
    ("enduser.id", Field::User),
    ("user.id", Field::User),
    ("gen_ai.request.user", Field::User),
    ("gen_ai.user", Field::User),
    ("traceloop.association.properties.user_id", Field::User),
    ("langfuse.user.id", Field::User),
    ("ai.telemetry.metadata.userId", Field::User),
    ("gen_ai.conversation.id", Field::Conversation),
    ("session.id", Field::Conversation),
    ("langfuse.session.id", Field::Conversation),
    ("traceloop.association.properties.session_id", Field::Conversation),
    ("ai.telemetry.metadata.sessionId", Field::Conversation),
    ("error.type", Field::ErrorType),
    ("exception.type", Field::ErrorType),
    ("exception.message", Field::ErrorMessage),
    ("langfuse.observation.status_message", Field::ErrorMessage),
    ("http.response.status_code", Field::HttpStatus),
    ("http.status_code", Field::HttpStatus),
    ("langfuse.observation.level", Field::Level),
    ("gen_ai.response.time_to_first_chunk", Field::Ttft),
    ("gen_ai.client.operation.time_to_first_chunk", Field::Ttft),
    ("gen_ai.server.time_to_first_token", Field::ServerTtft),
    ("gen_ai.latency.time_to_first_token", Field::ServerTtft),
    ("ai.response.msToFirstChunk", Field::TtftMs),
    ("langfuse.observation.completion_start_time", Field::FirstAt),
    ("leeway.tenant", Field::Tenant),
    ("tenant.id", Field::Tenant),
    ("traceloop.association.properties.tenant", Field::Tenant),
    ("ai.telemetry.metadata.tenant", Field::Tenant),
    ("langfuse.trace.metadata.tenant", Field::Tenant),
    ("gen_ai.prompt.name", Field::Route),
    ("langfuse.observation.prompt.name", Field::Route),
    ("traceloop.workflow.name", Field::Route),
    ("ai.telemetry.functionId", Field::Route),
    ("gen_ai.agent.name", Field::Route),
    ("gen_ai.prompt.version", Field::PromptVersion),
    ("langfuse.observation.prompt.version", Field::PromptVersion),
    ("cloud.region", Field::Region),
    ("operation.cost", Field::Cost),
    ("litellm.cost.total", Field::Cost),
    ("gen_ai.cost.total_cost", Field::Cost),
    ("gen_ai.usage.cost", Field::Cost),
    ("langfuse.observation.cost_details", Field::Costs),
    ("service.name", Field::App),
    ("langfuse.release", Field::Release),
    ("service.version", Field::Release),
    ("langfuse.environment", Field::Environment),
    ("deployment.environment.name", Field::Environment),
    ("deployment.environment", Field::Environment),
    ("metadata", Field::Metadata),
    ("gen_ai.input.messages", Field::InputMessages),
    ("ai.prompt.messages", Field::InputMessages),
    ("langfuse.observation.input", Field::InputMessages),
    ("gen_ai.output.messages", Field::OutputMessages),
    ("ai.response.text", Field::OutputMessages),
    ("langfuse.observation.output", Field::OutputMessages),
    ("gen_ai.system_instructions", Field::SystemInstructions),
    ("input.value", Field::InputValue),
    ("mlflow.spanInputs", Field::InputValue),
    ("output.value", Field::OutputValue),
    ("mlflow.spanOutputs", Field::OutputValue),
    ("event.name", Field::EventName),
    ("gen_ai.evaluation.name", Field::EvaluationName),
    ("gen_ai.evaluation.score.value", Field::EvaluationValue),
    ("gen_ai.evaluation.score.label", Field::EvaluationLabel),
    ("openlit.score.idempotency_key", Field::EvaluationKey),
    ("evaluator", Field::Judge),
];

/// Place in the table and field of an attribute's name.
pub fn known(name: &str) -> Option<(usize, Field)> {
    static TABLE: LazyLock<HashMap<&str, (usize, Field)>> =
        LazyLock::new(|| ATTRIBUTES.iter().enumerate().map(|(rank, (name, field))| (*name, (rank, *field))).collect());
    TABLE.get(name).copied()
}

/// What tells of a model call, with Leeway's word for it. The first of these fields that a record has decides.
pub const OPERATIONS: &[(Field, &[(&str, &str)])] = &[
    (
        Field::Operation,
        &[
            ("chat", "chat"),
            ("text_completion", "completion"),
            ("generate_content", "chat"),
            ("embeddings", "embeddings"),
            // LiteLLM's own words.
            ("completion", "chat"),
            ("acompletion", "chat"),
            ("embedding", "embeddings"),
            ("aembedding", "embeddings"),
            ("responses", "chat"),
            ("aresponses", "chat"),
        ],
    ),
    (Field::SpanKind, &[("LLM", "chat"), ("CHAT_MODEL", "chat"), ("EMBEDDING", "embeddings")]),
    (
        Field::OperationId,
        &[
            ("ai.generateText.doGenerate", "chat"),
            ("ai.streamText.doStream", "chat"),
            ("ai.generateObject.doGenerate", "chat"),
            ("ai.streamObject.doStream", "chat"),
            ("ai.embed.doEmbed", "embeddings"),
            ("ai.embedMany.doEmbed", "embeddings"),
        ],
    ),
    (
        Field::RequestType,
        &[("chat", "chat"), ("completion", "completion"), ("embedding", "embeddings"), ("rerank", "rerank")],
    ),
    (Field::Observation, &[("generation", "chat"), ("embedding", "embeddings")]),
];

/// Messages that are flattened into attributes: `PREFIX` N `.` and then a name; whether they are answers.
pub const FLAT: &[(&str, &str, bool)] = &[
    ("llm.input_messages.", "message.", false),
    ("llm.output_messages.", "message.", true),
    ("gen_ai.prompt.", "", false),
    ("gen_ai.completion.", "", true),
];

/// Span events that mark the first piece of an answer.
pub const FIRST_PIECES: &[&str] = &[
    "First Token Stream Event",
    "gen_ai.content.completion.chunk",
    "llm.content.completion.chunk",
    "ai.stream.firstChunk",
];

/// Names of counts in a JSON of usage; of several names of one field the first listed wins. A total that is told
/// without its cached part (`input`) is made whole with it.
pub const USAGE: &[(&str, Field)] = &[
    ("prompt_tokens", Field::InputTokens),
    ("input_tokens", Field::InputTokens),
    ("completion_tokens", Field::OutputTokens),
    ("output_tokens", Field::OutputTokens),
    ("output", Field::OutputTokens),
    ("prompt_tokens_details.cached_tokens", Field::CacheRead),
    ("input_tokens_details.cached_tokens", Field::CacheRead),
    ("cache_read_input_tokens", Field::CacheRead),
    ("input_cache_read", Field::CacheRead),
    ("cache_creation_input_tokens", Field::CacheWrite),
    ("input_cache_creation", Field::CacheWrite),
    ("completion_tokens_details.reasoning_tokens", Field::Reasoning),
    ("output_tokens_details.reasoning_tokens", Field::Reasoning),
    ("output_reasoning", Field::Reasoning),
    (USAGE_BESIDE_OUTPUT, Field::Reasoning),
    ("input_cached_tokens", Field::CacheRead),
    ("cachedPromptTokens", Field::CacheRead),
    ("cacheCreationInputTokens", Field::CacheWrite),
    ("reasoningTokens", Field::Reasoning),
];
/// Input without what came from the cache.
pub const USAGE_UNCACHED: &str = "input";
/// What was thought, where it stands beside the output and not inside it.
pub const USAGE_BESIDE_OUTPUT: &str = "output_reasoning_tokens";

/// Instrumentations whose input tokens are without the cached ones, and of which provider ("" of each).
pub const CACHE_BESIDE: &[(&str, &str)] = &[
    ("opentelemetry.instrumentation.bedrock", ""),
    ("opentelemetry.instrumentation.botocore", ""),
    ("openlit.instrumentation", "anthropic"),
];
/// Instrumentations whose output tokens are without the thinking, which the total has.
pub const THINKING_BESIDE: &[&str] = &["opentelemetry.instrumentation.google_generativeai"];
/// Instrumentations that write what came of a stream as a span of its own, of this kind.
pub const SPLIT_SPANS: &[&str] = &["logfire."];
pub const SPLIT_SPANS_CALL: &str = "log";
/// Instrumentations whose failed calls are spans without attributes, named by operation and model.
pub const ERROR_SPANS: &[&str] = &["openlit"];
/// Ends of the names of spans that look like calls and ask no model.
pub const NO_CALLS: &[&str] = &["._prepare_chat_with_tools"];
/// What stands before the provider in the name of an instrumentation.
pub const SCOPES_OF_PROVIDERS: &[&str] = &["openlit.instrumentation.", "logfire."];

/// The log event that carries a whole call (generations B and C).
pub const DETAILS_EVENT: &str = "gen_ai.client.inference.operation.details";
/// The event of a span, or the log record, that carries a judgement.
pub const EVALUATION_EVENT: &str = "gen_ai.evaluation.result";
/// The log events that carry one message each (generation A), with the role of their text.
pub const MESSAGE_EVENTS: &[(&str, &str)] = &[
    ("gen_ai.system.message", "system"),
    ("gen_ai.user.message", "user"),
    ("gen_ai.assistant.message", "assistant"),
    ("gen_ai.tool.message", "tool"),
    ("gen_ai.choice", "choice"),
];

/// Events of a span that carry a text: name, attribute, and whether it is the answer.
pub const TEXT_EVENTS: &[(&str, &str, bool)] =
    &[("gen_ai.content.prompt", "gen_ai.prompt", false), ("gen_ai.content.completion", "gen_ai.completion", true)];

/// What hides a text that was not to be sent.
pub const HIDDEN: &str = "__REDACTED__";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_stands_once() {
        let mut names: Vec<_> = ATTRIBUTES.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        let before = names.len();
        names.dedup();
        assert_eq!(names.len(), before);
    }
}
