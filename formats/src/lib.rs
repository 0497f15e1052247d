//! Bytes to events.
//!
//! A format parses one message and hands each of its records to a sink, borrowed: an event, or the reason why it is
//! none. One bad record rejects itself alone. Nothing here does I/O, and nothing keeps text.

mod cursor;
mod keyed;
mod langfuse;
mod leeway_json;
mod litellm;
mod mapping;
mod message;
mod moderation;
mod otlp;
mod records;
mod schema;

use std::sync::Arc;

use leeway_core::event::{Event, Reject};
use simd_json::{Buffers, ErrorType, Tape};

pub use keyed::UserKey;
pub use langfuse::LangfuseScores;
pub use leeway_json::LeewayJson;
pub use litellm::LiteLlm;
pub use mapping::{Mapping, MappingError, Rows};
pub use message::{Headers, Reader, unpacked};
pub use otlp::{OtlpLogs, OtlpTraces};
pub use schema::{Schema, SchemaError, SchemaId, Schemas, Source as SchemaSource};

/// Bounds and keys of decoding.
#[derive(Debug, Clone)]
pub struct Options {
    /// Largest message, bytes.
    pub max_message_bytes: usize,
    /// Deepest nesting of a message.
    pub max_depth: usize,
    /// Hashes users and authors.
    pub user_key: UserKey,
    /// OpenTelemetry attributes that are fields of a call: the attribute's key, and the dimension.
    pub attributes: Arc<[(String, String)]>,
    /// Spaces of embeddings that are counted, and the numbers of their vectors.
    pub spaces: Arc<[(String, usize)]>,
}

impl Options {
    pub fn new(max_message_bytes: usize, max_depth: usize, user_key: UserKey) -> Self {
        Self { max_message_bytes, max_depth, user_key, attributes: Arc::default(), spaces: Arc::default() }
    }
}

/// Takes the records of one message.
pub trait Sink {
    /// The record with number `index` in its message.
    fn record(&mut self, index: u32, decoded: Result<Event<'_>, Reject>);
    /// Fields that the schema does not know; they are ignored.
    fn unknown_fields(&mut self, fields: u32);
    /// Records that are none of Leeway's business: spans of databases, agents, workflows.
    fn skipped(&mut self, records: u32);
}

/// One wire format.
pub trait Format: Sync + std::fmt::Debug {
    /// Public name, used in settings.
    fn id(&self) -> &'static str;
    /// Feeds `sink`; an error means that the message as a whole is none of this format.
    fn decode(&self, message: &[u8], scratch: &mut Scratch, sink: &mut dyn Sink) -> Result<(), Reject>;
}

/// Every format; one entry each.
pub const ALL: [&dyn Format; 5] = [&LeewayJson, &OtlpTraces, &OtlpLogs, &LiteLlm, &LangfuseScores];

/// The format with that id; `auto` is none.
pub fn find(id: &str) -> Option<&'static dyn Format> {
    ALL.into_iter().find(|format| format.id() == id)
}

/// Buffers that are used again for every message of a thread.
pub struct Scratch {
    pub options: Options,
    bytes: Vec<u8>,
    buffers: Buffers,
    tape: Vec<Tape<'static>>,
}

impl Scratch {
    pub fn new(options: Options) -> Self {
        let buffers = Buffers::with_max_depth(64 * 1024, options.max_depth);
        Self { options, bytes: Vec::new(), buffers, tape: vec![Tape::null()] }
    }

    /// Parses JSON and shows its tape to `read`.
    fn parse<T>(&mut self, json: &[u8], read: impl FnOnce(&Tape<'_>, &Options) -> T) -> Result<T, Reject> {
        self.bytes.clear();
        self.bytes.extend_from_slice(json);
        self.bytes.resize(json.len() + simd_json::INPUT_PADDING, 0);
        let mut tape = self.tape.pop().unwrap_or_else(Tape::null).reset();
        let parsed = simd_json::fill_tape_padded(&mut self.bytes, json.len(), &mut self.buffers, &mut tape);
        let outcome = match parsed {
            Ok(()) => Ok(read(&tape, &self.options)),
            Err(error) if matches!(error.error(), ErrorType::DepthLimitExceeded) => Err(Reject::TooDeep),
            Err(_) => Err(Reject::Undecodable),
        };
        self.tape.push(tape.reset());
        outcome
    }
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch").field("options", &self.options).finish_non_exhaustive()
    }
}
