//! From a message with its headers to the bytes of a format: gzip, CloudEvents, schema registries, other people's
//! fields. In order: what the topic is said to carry, what the headers say, what the bytes look like.

use std::borrow::Cow;
use std::io::Read;
use std::sync::{Arc, LazyLock};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use flate2::read::MultiGzDecoder;
use leeway_core::event::Reject;
use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::Value as Json;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::leeway_json::{MAX_ID, MAX_RECORDS};
use crate::mapping::Mapping;
use crate::schema::{Framed, Schemas};
use crate::{
    Format, LangfuseScores, LeewayJson, LiteLlm, Options, Scratch, Sink, langfuse, leeway_json, litellm, otlp,
};

/// What headers say of a message, as far as it is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Headers<'m> {
    /// Without its parameters.
    pub content_type: Option<&'m str>,
    /// Confluent's `__value_schema_id`.
    pub schema: Option<&'m [u8]>,
    /// CloudEvents' `ce_specversion` is there: the value is the event's data.
    pub cloud_event: bool,
    pub ce_id: Option<&'m str>,
    pub ce_source: Option<&'m str>,
    pub ce_time: Option<&'m str>,
}

impl<'m> Headers<'m> {
    /// Takes one header; names differ in case by client, and binary values are no texts.
    pub fn take(&mut self, name: &str, value: &'m [u8]) {
        let text = || std::str::from_utf8(value).ok().map(str::trim).filter(|text| !text.is_empty());
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("content-type") || is("content_type") || is("ce_datacontenttype") {
            let kind = text().map(|text| text.split(';').next().unwrap_or_default().trim());
            self.content_type = self.content_type.or(kind);
        } else if is("__value_schema_id") {
            self.schema = Some(value);
        } else if is("ce_specversion") {
            self.cloud_event = true;
        } else if is("ce_id") {
            self.ce_id = text();
        } else if is("ce_source") {
            self.ce_source = text();
        } else if is("ce_time") {
            self.ce_time = text();
        }
    }

    /// Whether the content type is one of JSON's: `application/json`, `…/x-ndjson`, `…/jsonl`, `…+json`.
    fn says_json(&self) -> bool {
        let kind = self.content_type.unwrap_or_default().to_ascii_lowercase();
        ["json", "jsonl", "jsonlines"].iter().any(|end| kind.ends_with(end))
    }

    fn kind_is(&self, prefix: &str) -> bool {
        let kind = self.content_type.unwrap_or_default().as_bytes();
        kind.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix.as_bytes()))
    }
}

/// How the messages of one topic are read.
#[derive(Debug, Clone)]
pub struct Reader {
    /// `None`: headers and bytes tell.
    pub format: Option<&'static dyn Format>,
    /// Whether bytes may tell where headers do not.
    pub sniff: bool,
    pub mapping: Option<Arc<Mapping>>,
    /// Answers for schema ids; `None` where no registry is set.
    pub schemas: Option<Arc<dyn Schemas>>,
}

impl Reader {
    /// Reads messages of one format without any envelope but gzip.
    pub fn of(format: &'static dyn Format) -> Self {
        Self { format: Some(format), ..Self::default() }
    }

    /// Public name of what is read.
    pub fn id(&self) -> &'static str {
        self.format.map_or("auto", Format::id)
    }

    /// Whether the message's schema, if it has one, need not be waited for.
    pub fn ready(&self, value: &[u8], headers: &Headers<'_>) -> bool {
        let framed = headers.schema.is_some() || value.first() == Some(&0);
        let id = if framed { Framed::read(value, headers.schema).ok() } else { None };
        let schema = id.zip(self.schemas.as_ref()).map(|(framed, schemas)| schemas.get(&framed.id));
        !matches!(schema, Some(Err(Reject::RegistryAway)))
    }

    /// Feeds `sink`; an error means that the message as a whole is none that can be read. `RegistryAway` alone is
    /// nothing that the message did: nothing was fed, and later the same bytes may be read.
    pub fn decode(
        &self,
        value: &[u8],
        headers: &Headers<'_>,
        scratch: &mut Scratch,
        sink: &mut dyn Sink,
    ) -> Result<(), Reject> {
        if headers.schema.is_some() {
            // Bare bytes of the schema's format, which may begin as gzip does.
            return self.framed(value, headers, scratch, sink);
        }
        let value = &*unpacked(value, &scratch.options)?;
        if value.first() == Some(&0) {
            return self.framed(value, headers, scratch, sink);
        }
        if headers.kind_is("application/cloudevents") || (self.format.is_none() && self.sniff && enveloped(value)) {
            return self.enveloped(value, scratch, sink);
        }
        if headers.kind_is("application/avro") || headers.kind_is("avro/") {
            // Without its schema's id nobody can read it.
            return Err(Reject::NoSchema);
        }
        let event = CloudEvent::of(headers);
        match self.format {
            Some(format) if self.mapping.is_none() && (event.is_none() || format.id() != LeewayJson.id()) => {
                format.decode(value, scratch, sink)
            }
            Some(_) => self.foreign(value, event.as_ref(), scratch, sink),
            None => self.told(value, headers, scratch, sink),
        }
    }

    /// By content type, else by the bytes.
    fn told(
        &self,
        value: &[u8],
        headers: &Headers<'_>,
        scratch: &mut Scratch,
        sink: &mut dyn Sink,
    ) -> Result<(), Reject> {
        if headers.kind_is("application/x-protobuf") || headers.kind_is("application/protobuf") {
            return otlp::either(value, scratch, sink);
        }
        let says_json = headers.says_json();
        if !self.sniff && !says_json {
            return Err(Reject::UnknownFormat);
        }
        let json = value.trim_ascii_start().first().is_some_and(|byte| matches!(byte, b'{' | b'['));
        if value.first() == Some(&0x0A) && !says_json {
            // Protobuf's first tag is a line feed too, and the length after it may be the code of a brace.
            match otlp::either(value, scratch, sink) {
                Err(Reject::Undecodable) if json => {}
                done => return done,
            }
        }
        let event = CloudEvent::of(headers);
        if self.mapping.is_some() {
            return self.foreign(value, event.as_ref(), scratch, sink);
        }
        if json && otlp::is_otlp(value) {
            return otlp::either_json(value, scratch, sink);
        }
        let format = by_head(&value[..value.len().min(HEAD)]);
        if event.is_some() && format.id() == LeewayJson.id() {
            return self.foreign(value, event.as_ref(), scratch, sink);
        }
        format.decode(value, scratch, sink)
    }

    /// A value behind a schema's id.
    fn framed(
        &self,
        value: &[u8],
        headers: &Headers<'_>,
        scratch: &mut Scratch,
        sink: &mut dyn Sink,
    ) -> Result<(), Reject> {
        let framed = Framed::read(value, headers.schema)?;
        let schemas = self.schemas.as_ref().ok_or(Reject::NoSchema)?;
        let record = schemas.get(&framed.id)?.decode(&framed, &scratch.options)?;
        self.record((0, &record), CloudEvent::of(headers).as_ref(), scratch, sink);
        Ok(())
    }

    /// An event whose data stand inside its envelope.
    fn enveloped(&self, value: &[u8], scratch: &mut Scratch, sink: &mut dyn Sink) -> Result<(), Reject> {
        if value.len() > scratch.options.max_message_bytes {
            return Err(Reject::TooLarge);
        }
        let envelope: Envelope<'_> = serde_json::from_slice(value).map_err(|_| Reject::Undecodable)?;
        let data = match (envelope.data, &envelope.data_base64) {
            (Some(data), _) => Cow::Borrowed(data.get().as_bytes()),
            (None, Some(text)) => Cow::Owned(STANDARD.decode(&**text).map_err(|_| Reject::Undecodable)?),
            (None, None) => {
                sink.skipped(1);
                return Ok(());
            }
        };
        let kind = envelope.datacontenttype.as_deref().map(|kind| kind.split(';').next().unwrap_or_default().trim());
        let headers = Headers {
            // The data of an envelope in JSON are JSON where it says nothing else.
            content_type: kind.or(envelope.data.map(|_| "application/json")),
            cloud_event: true,
            ce_id: Some(&*envelope.id),
            ce_source: envelope.source.as_deref(),
            ce_time: envelope.time.as_deref(),
            schema: None,
        };
        let data = unpacked(&data, &scratch.options)?;
        if headers.kind_is("application/cloudevents") || enveloped(&data) || data.starts_with(&GZIP) {
            // One envelope is enough; more would be a way to nest without end.
            return Err(Reject::TooDeep);
        }
        self.decode(&data, &headers, scratch, sink)
    }

    /// JSON whose fields are other people's, or lack what their envelope says.
    fn foreign(
        &self,
        value: &[u8],
        event: Option<&CloudEvent<'_>>,
        scratch: &mut Scratch,
        sink: &mut dyn Sink,
    ) -> Result<(), Reject> {
        if value.len() > scratch.options.max_message_bytes {
            return Err(Reject::TooLarge);
        }
        let read = |json: &[u8]| serde_json::from_slice::<Json>(json).map_err(|_| Reject::Undecodable);
        if !leeway_json::one_per_line(value) {
            match read(value)? {
                Json::Array(records) if records.len() > MAX_RECORDS => return Err(Reject::TooLarge),
                Json::Array(records) => {
                    (0..).zip(&records).for_each(|numbered| self.record(numbered, event, scratch, sink));
                }
                record @ Json::Object(_) => self.record((0, &record), event, scratch, sink),
                _ => return Err(Reject::Undecodable),
            }
            return Ok(());
        }
        if memchr::memchr_iter(b'\n', value).count() > MAX_RECORDS {
            return Err(Reject::TooLarge);
        }
        let lines = value.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
        for (line, index) in lines.zip(0..) {
            match read(line) {
                Ok(record) => self.record((index, &record), event, scratch, sink),
                Err(reason) => sink.record(index, Err(reason)),
            }
        }
        Ok(())
    }

    fn record(
        &self,
        (index, record): (u32, &Json),
        event: Option<&CloudEvent<'_>>,
        scratch: &mut Scratch,
        sink: &mut dyn Sink,
    ) {
        let (mut mapped, unknown) = match &self.mapping {
            Some(mapping) if record.is_object() => mapping.apply(record),
            _ => (record.clone(), 0),
        };
        if unknown > 0 {
            sink.unknown_fields(unknown);
        }
        if let (Some(event), Some(fields)) = (event, mapped.as_object_mut()) {
            event.fill(index, fields);
        }
        let bytes = mapped.to_string();
        if let Err(reason) = leeway_json::one(bytes.as_bytes(), index, scratch, sink) {
            sink.record(index, Err(reason));
        }
    }
}

impl Default for Reader {
    fn default() -> Self {
        Self { format: None, sniff: true, mapping: None, schemas: None }
    }
}

/// What a CloudEvent's envelope says of the event inside (CloudEvents 1.0.2).
#[derive(Debug)]
struct CloudEvent<'m> {
    id: &'m str,
    source: &'m str,
    time: Option<&'m str>,
}

#[derive(Deserialize)]
struct Envelope<'m> {
    #[serde(borrow)]
    specversion: Cow<'m, str>,
    #[serde(borrow)]
    id: Cow<'m, str>,
    #[serde(borrow, default)]
    source: Option<Cow<'m, str>>,
    #[serde(borrow, default)]
    time: Option<Cow<'m, str>>,
    #[serde(borrow, default)]
    datacontenttype: Option<Cow<'m, str>>,
    #[serde(borrow, default)]
    data: Option<&'m RawValue>,
    #[serde(borrow, default)]
    data_base64: Option<Cow<'m, str>>,
}

impl<'m> CloudEvent<'m> {
    fn of(headers: &Headers<'m>) -> Option<Self> {
        let id = headers.ce_id.filter(|_| headers.cloud_event)?;
        Some(Self { id, source: headers.ce_source.unwrap_or_default(), time: headers.ce_time })
    }

    /// An event without id or time of its own has its envelope's; source, id and place inside together name it.
    fn fill(&self, index: u32, fields: &mut serde_json::Map<String, Json>) {
        let missing = |fields: &serde_json::Map<String, Json>, name: &str| fields.get(name).is_none_or(Json::is_null);
        if missing(fields, "id") {
            let place = if index == 0 { String::new() } else { format!(" {index}") };
            let mut id = format!("{} {}{place}", self.source, self.id).trim().to_owned();
            if id.len() > MAX_ID {
                // Sources are URIs, which may be longer than an id.
                id = format!("sha256:{}", URL_SAFE_NO_PAD.encode(Sha256::digest(&id)));
            }
            fields.insert("id".into(), id.into());
        }
        if let Some(time) = self.time.filter(|_| missing(fields, "time") && missing(fields, "started_at")) {
            fields.insert("time".into(), time.into());
        }
    }
}

/// Whether a JSON message is a CloudEvent: no event of Leeway's has that field.
fn enveloped(value: &[u8]) -> bool {
    let (head, tail) = (&value[..value.len().min(HEAD)], &value[value.len().saturating_sub(HEAD)..]);
    let has = |part: &[u8]| SPECVERSION.find(part).is_some();
    value.trim_ascii_start().first() == Some(&b'{')
        && (has(head) || has(tail))
        && serde_json::from_slice::<Envelope<'_>>(value).is_ok_and(|envelope| envelope.specversion.starts_with("1."))
}

static SPECVERSION: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"specversion\""));

/// Bytes that tell the formats of JSON apart.
const HEAD: usize = 512;

fn by_head(head: &[u8]) -> &'static dyn Format {
    if litellm::recognised(head) {
        &LiteLlm
    } else if langfuse::recognised(head) {
        &LangfuseScores
    } else {
        &LeewayJson
    }
}

/// Small messages may unpack to this much, whatever their ratio.
const UNPACKED_FREE: usize = 1 << 20;
/// Beyond that, gzip that unpacks to more times its size is a bomb.
const UNPACKED_RATIO: usize = 20;

const GZIP: [u8; 2] = [0x1F, 0x8B];

/// A message as it was before gzip, where it is gzip: no format's messages begin as gzip does.
pub fn unpacked<'m>(message: &'m [u8], options: &Options) -> Result<Cow<'m, [u8]>, Reject> {
    if !message.starts_with(&GZIP) {
        return Ok(Cow::Borrowed(message));
    }
    let limit = message.len().saturating_mul(UNPACKED_RATIO).max(UNPACKED_FREE).min(options.max_message_bytes);
    let mut bytes = Vec::new();
    let mut reader = MultiGzDecoder::new(message).take(limit as u64 + 1);
    reader.read_to_end(&mut bytes).map_err(|_| Reject::Undecodable)?;
    if bytes.len() > limit { Err(Reject::TooLarge) } else { Ok(Cow::Owned(bytes)) }
}

#[cfg(test)]
mod tests;
