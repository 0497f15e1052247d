//! Names of attributes, by convention: data, not code. Of several names of one field the first listed wins.

/// What an attribute says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Field {
    Operation,
    /// OpenInference's kind of span.
    SpanKind,
    Provider,
    RequestModel,
    ResponseModel,
    InputTokens,
    OutputTokens,
    CacheRead,
    CacheWrite,
    Reasoning,
    AudioIn,
    AudioOut,
    ResponseId,
    ErrorType,
    HttpStatus,
    /// Seconds.
    Ttft,
    Tenant,
    Route,
    PromptVersion,
    Region,
    Cost,
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
}

pub const FIELDS: usize = Field::EventName as usize + 1;

/// Attribute names of spans, log records and resources: OpenTelemetry GenAI generations A, B and C, OpenInference.
pub const ATTRIBUTES: &[(&str, Field)] = &[
    ("gen_ai.operation.name", Field::Operation),
    ("openinference.span.kind", Field::SpanKind),
    ("gen_ai.provider.name", Field::Provider),
    ("gen_ai.system", Field::Provider),
    ("llm.provider", Field::Provider),
    ("llm.system", Field::Provider),
    ("gen_ai.request.model", Field::RequestModel),
    ("gen_ai.response.model", Field::ResponseModel),
    ("llm.model_name", Field::ResponseModel),
    ("embedding.model_name", Field::ResponseModel),
    ("gen_ai.usage.input_tokens", Field::InputTokens),
    ("gen_ai.usage.prompt_tokens", Field::InputTokens),
    ("llm.token_count.prompt", Field::InputTokens),
    ("gen_ai.usage.output_tokens", Field::OutputTokens),
    ("gen_ai.usage.completion_tokens", Field::OutputTokens),
    ("llm.token_count.completion", Field::OutputTokens),
    ("gen_ai.usage.cache_read.input_tokens", Field::CacheRead),
    ("llm.token_count.prompt_details.cache_read", Field::CacheRead),
    ("gen_ai.usage.cache_write.input_tokens", Field::CacheWrite),
    ("gen_ai.usage.cache_creation.input_tokens", Field::CacheWrite),
    ("llm.token_count.prompt_details.cache_write", Field::CacheWrite),
    ("gen_ai.usage.reasoning.output_tokens", Field::Reasoning),
    ("llm.token_count.completion_details.reasoning", Field::Reasoning),
    ("gen_ai.usage.audio.input_tokens", Field::AudioIn),
    ("llm.token_count.prompt_details.audio", Field::AudioIn),
    ("gen_ai.usage.audio.output_tokens", Field::AudioOut),
    ("llm.token_count.completion_details.audio", Field::AudioOut),
    ("gen_ai.response.id", Field::ResponseId),
    ("error.type", Field::ErrorType),
    ("exception.type", Field::ErrorType),
    ("http.response.status_code", Field::HttpStatus),
    ("gen_ai.response.time_to_first_chunk", Field::Ttft),
    ("gen_ai.server.time_to_first_token", Field::Ttft),
    ("leeway.tenant", Field::Tenant),
    ("tenant.id", Field::Tenant),
    ("traceloop.association.properties.tenant", Field::Tenant),
    ("gen_ai.prompt.name", Field::Route),
    ("gen_ai.agent.name", Field::Route),
    ("gen_ai.prompt.version", Field::PromptVersion),
    ("cloud.region", Field::Region),
    ("operation.cost", Field::Cost),
    ("gen_ai.usage.cost", Field::Cost),
    ("service.name", Field::App),
    ("service.version", Field::Release),
    ("deployment.environment.name", Field::Environment),
    ("deployment.environment", Field::Environment),
    ("metadata", Field::Metadata),
    ("gen_ai.input.messages", Field::InputMessages),
    ("gen_ai.output.messages", Field::OutputMessages),
    ("gen_ai.system_instructions", Field::SystemInstructions),
    ("input.value", Field::InputValue),
    ("output.value", Field::OutputValue),
    ("event.name", Field::EventName),
];

/// Values of the operation that name a model call, with Leeway's word for it.
pub const OPERATIONS: &[(&str, &str)] = &[
    ("chat", "chat"),
    ("text_completion", "completion"),
    ("generate_content", "chat"),
    ("embeddings", "embeddings"),
    ("LLM", "chat"),
    ("EMBEDDING", "embeddings"),
];

/// OpenInference's flattened messages: `PREFIX.N.message.role` and `.content`.
pub const FLAT_INPUT: &str = "llm.input_messages.";
pub const FLAT_OUTPUT: &str = "llm.output_messages.";

/// The log event that carries a whole call (generations B and C).
pub const DETAILS_EVENT: &str = "gen_ai.client.inference.operation.details";
/// The log events that carry one message each (generation A), with the role of their text.
pub const MESSAGE_EVENTS: &[(&str, &str)] = &[
    ("gen_ai.system.message", "system"),
    ("gen_ai.user.message", "user"),
    ("gen_ai.assistant.message", "assistant"),
    ("gen_ai.tool.message", "tool"),
    ("gen_ai.choice", "choice"),
];

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
