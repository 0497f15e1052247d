//! Values behind a schema registry's id (Confluent wire format): Avro, JSON, Protobuf, to JSON.

use std::sync::Arc;

use leeway_core::event::Reject;
use serde_json::Value as Json;

use crate::Options;

/// How a message names its schema.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SchemaId {
    Number(u32),
    /// As the registry writes it, in lower-case hex with dashes.
    Guid(String),
}

/// What is to be read, and by which schema.
#[derive(Debug)]
pub struct Framed<'m> {
    pub id: SchemaId,
    /// What follows the id: for Protobuf the message's place comes first, unless the header has it.
    rest: &'m [u8],
    /// The place in the header, behind the id.
    place: Option<&'m [u8]>,
}

impl<'m> Framed<'m> {
    /// The header is 0x01 and a GUID, or 0x00 and a number; without one the value begins with 0x00 and a number.
    pub fn read(value: &'m [u8], header: Option<&'m [u8]>) -> Result<Self, Reject> {
        let from = header.unwrap_or(value);
        let (id, behind) = match from.split_first() {
            Some((0, rest)) => {
                let (number, behind) = rest.split_first_chunk::<4>().ok_or(Reject::Undecodable)?;
                (SchemaId::Number(u32::from_be_bytes(*number)), behind)
            }
            Some((1, rest)) if header.is_some() => {
                let (guid, behind) = rest.split_first_chunk::<16>().ok_or(Reject::Undecodable)?;
                (SchemaId::Guid(dashed(guid)), behind)
            }
            _ => return Err(Reject::Undecodable),
        };
        Ok(match header {
            Some(_) => Self { id, rest: value, place: Some(behind) },
            None => Self { id, rest: behind, place: None },
        })
    }
}

fn dashed(guid: &[u8; 16]) -> String {
    let hex: String = guid.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// Answers for schema ids.
pub trait Schemas: Send + Sync + std::fmt::Debug {
    /// `NoSchema` where the registry has none, `RegistryAway` where it does not answer.
    fn get(&self, id: &SchemaId) -> Result<Arc<Schema>, Reject>;
}

/// A registry's answer, made ready to read values.
#[derive(Debug)]
pub enum Schema {
    Json,
    #[cfg(feature = "registry")]
    Avro(Box<avro::Reader>),
    #[cfg(feature = "registry")]
    Protobuf(protobuf::Reader),
}

/// A schema's text, and those it refers to by name.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// `AVRO`, `JSON` or `PROTOBUF`.
    pub kind: String,
    pub text: String,
    pub references: Vec<(String, String)>,
}

/// Why a schema cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("schemas of type {0} are not read")]
    Kind(String),
    #[error("{0}")]
    Text(String),
    #[error("`{0}` contains itself, so its values could nest without end")]
    Recursive(String),
}

impl Schema {
    pub fn new(source: &Source) -> Result<Self, SchemaError> {
        match source.kind.as_str() {
            "JSON" => Ok(Self::Json),
            #[cfg(feature = "registry")]
            "AVRO" => Ok(Self::Avro(Box::new(avro::Reader::new(source)?))),
            #[cfg(feature = "registry")]
            "PROTOBUF" => Ok(Self::Protobuf(protobuf::Reader::new(source)?)),
            other => Err(SchemaError::Kind(other.to_owned())),
        }
    }

    pub(crate) fn decode(&self, framed: &Framed<'_>, options: &Options) -> Result<Json, Reject> {
        if framed.rest.len() > options.max_message_bytes {
            return Err(Reject::TooLarge);
        }
        match self {
            Self::Json => serde_json::from_slice(framed.rest).map_err(|_| Reject::Undecodable),
            #[cfg(feature = "registry")]
            Self::Avro(reader) => reader.decode(framed.rest),
            #[cfg(feature = "registry")]
            Self::Protobuf(reader) => reader.decode(framed),
        }
    }
}

#[cfg(feature = "registry")]
mod avro {
    //! Avro 1.12 binary values.

    use std::collections::HashSet;

    use apache_avro::Schema;
    use apache_avro::reader::datum::GenericDatumReader;
    use apache_avro::schema::ResolvedSchema;
    use apache_avro::types::Value;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use leeway_core::event::Reject;
    use serde_json::Value as Json;

    use super::{SchemaError, Source};

    /// Most memory that one value's declared lengths may ask for, bytes.
    const MOST: usize = 64 << 20;

    #[derive(Debug)]
    pub struct Reader {
        schema: Schema,
        others: Vec<Schema>,
    }

    impl Reader {
        pub fn new(source: &Source) -> Result<Self, SchemaError> {
            apache_avro::util::max_allocation_bytes(MOST);
            let texts: Vec<&str> = source.references.iter().map(|(_, text)| text.as_str()).collect();
            let (schema, others) = Schema::parse_str_with_list(&source.text, texts)
                .map_err(|error| SchemaError::Text(error.to_string()))?;
            acyclic(&schema, &others, &mut Vec::new(), &mut HashSet::new())?;
            Ok(Self { schema, others })
        }

        pub fn decode(&self, mut bytes: &[u8]) -> Result<Json, Reject> {
            let all: Vec<&Schema> = std::iter::once(&self.schema).chain(&self.others).collect();
            let resolved = ResolvedSchema::try_from(all).map_err(|_| Reject::NoSchema)?;
            let reader = GenericDatumReader::builder(&self.schema).resolved_writer_schemata(resolved).build();
            let value = reader.map_err(|_| Reject::NoSchema)?.read_value(&mut bytes);
            let value = value.map_err(|_| Reject::Undecodable)?;
            // What is left over was written by another schema.
            if bytes.is_empty() { Ok(json(value)) } else { Err(Reject::Undecodable) }
        }
    }

    /// Refuses a record that is within itself; each referenced schema is looked into once.
    fn acyclic<'s>(
        schema: &'s Schema,
        others: &'s [Schema],
        within: &mut Vec<String>,
        seen: &mut HashSet<String>,
    ) -> Result<(), SchemaError> {
        match schema {
            Schema::Record(record) => {
                within.push(record.name.fullname(None));
                let fields = record.fields.iter();
                fields.map(|field| &field.schema).try_for_each(|inner| acyclic(inner, others, within, seen))?;
                within.pop();
                Ok(())
            }
            Schema::Array(array) => acyclic(&array.items, others, within, seen),
            Schema::Map(map) => acyclic(&map.types, others, within, seen),
            Schema::Union(union) => union.variants().iter().try_for_each(|inner| acyclic(inner, others, within, seen)),
            Schema::Ref { name } if within.contains(&name.fullname(None)) => {
                Err(SchemaError::Recursive(name.fullname(None)))
            }
            Schema::Ref { name } => {
                let other = others.iter().find(|other| other.name() == Some(name));
                match other.filter(|_| seen.insert(name.fullname(None))) {
                    Some(other) => acyclic(other, others, within, seen),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn json(value: Value) -> Json {
        let nothing = |number: f64| serde_json::Number::from_f64(number).map_or(Json::Null, Json::Number);
        match value {
            Value::Null => Json::Null,
            Value::Boolean(truth) => truth.into(),
            Value::Int(number) | Value::Date(number) | Value::TimeMillis(number) => number.into(),
            Value::Long(number)
            | Value::TimeMicros(number)
            | Value::TimestampMillis(number)
            | Value::TimestampMicros(number)
            | Value::TimestampNanos(number)
            | Value::LocalTimestampMillis(number)
            | Value::LocalTimestampMicros(number)
            | Value::LocalTimestampNanos(number) => number.into(),
            Value::Float(number) => nothing(f64::from(number)),
            Value::Double(number) => nothing(number),
            Value::Bytes(bytes) | Value::Fixed(_, bytes) => STANDARD.encode(bytes).into(),
            Value::String(text) | Value::Enum(_, text) => text.into(),
            Value::Uuid(uuid) => uuid.to_string().into(),
            Value::BigDecimal(number) => number.to_string().into(),
            Value::Union(_, inner) => json(*inner),
            Value::Array(items) => items.into_iter().map(json).collect(),
            Value::Map(entries) => entries.into_iter().map(|(key, value)| (key, json(value))).collect(),
            Value::Record(fields) => fields.into_iter().map(|(key, value)| (key, json(value))).collect(),
            // A decimal's scale stands in its schema, a duration is three numbers: neither is a field of an event.
            Value::Decimal(_) | Value::Duration(_) => Json::Null,
        }
    }
}

#[cfg(feature = "registry")]
mod protobuf {
    //! Protobuf values by a schema that comes as text.

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use leeway_core::event::Reject;
    use prost::Message;
    use prost_reflect::prost_types::FileDescriptorProto;
    use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
    use protox::Compiler;
    use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
    use serde_json::Value as Json;

    use super::{Framed, SchemaError, Source};

    /// The name under which the schema itself is compiled.
    const ROOT: &str = "leeway-registry-root.proto";
    /// Deepest nesting of message types.
    const DEEPEST: usize = 16;

    #[derive(Debug)]
    pub struct Reader {
        pool: DescriptorPool,
    }

    struct Texts(Vec<(String, String)>);

    impl FileResolver for Texts {
        fn open_file(&self, name: &str) -> Result<File, protox::Error> {
            let found = self.0.iter().find(|(known, _)| known == name);
            let (_, text) = found.ok_or_else(|| protox::Error::file_not_found(name))?;
            // Some clients register the descriptor itself.
            let bytes = STANDARD.decode(text.trim()).unwrap_or_default();
            if let (false, Ok(mut file)) = (bytes.is_empty(), FileDescriptorProto::decode(&bytes[..])) {
                file.name = Some(name.to_owned());
                return Ok(File::from_file_descriptor_proto(file));
            }
            File::from_source(name, text)
        }
    }

    impl Reader {
        pub fn new(source: &Source) -> Result<Self, SchemaError> {
            let wrong = |error: &dyn std::fmt::Display| SchemaError::Text(error.to_string());
            let mut texts = source.references.clone();
            texts.push((ROOT.to_owned(), source.text.clone()));
            let mut resolver = ChainFileResolver::new();
            resolver.add(Texts(texts));
            resolver.add(GoogleFileResolver::new());
            let mut compiler = Compiler::with_file_resolver(resolver);
            compiler.include_imports(true).open_file(ROOT).map_err(|error| wrong(&error))?;
            let pool = DescriptorPool::from_file_descriptor_set(compiler.file_descriptor_set())
                .map_err(|error| wrong(&error))?;
            Ok(Self { pool })
        }

        pub fn decode(&self, framed: &Framed<'_>) -> Result<Json, Reject> {
            let (place, body) = match framed.place {
                Some(place) => (place_of(place)?.0, framed.rest),
                None => place_of(framed.rest)?,
            };
            let kind = self.message(&place).ok_or(Reject::NoSchema)?;
            let message = DynamicMessage::decode(kind, body).map_err(|_| Reject::Undecodable)?;
            // A field that is not there is unknown, not 0.
            let options = SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false);
            message
                .serialize_with_options(serde_json::value::Serializer, &options.skip_default_fields(true))
                .map_err(|_| Reject::Undecodable)
        }

        fn message(&self, place: &[usize]) -> Option<MessageDescriptor> {
            let file = self.pool.get_file_by_name(ROOT)?;
            let (first, rest) = place.split_first()?;
            let mut found = file.messages().nth(*first)?;
            for index in rest {
                let inner = found.child_messages().nth(*index)?;
                found = inner;
            }
            Some(found)
        }
    }

    /// The message's place among the schema's messages, and what follows: a zig-zag count and so many zig-zag indexes; a
    /// lone 0, or nothing, is the first message.
    fn place_of(bytes: &[u8]) -> Result<(Vec<usize>, &[u8]), Reject> {
        if bytes.is_empty() {
            return Ok((vec![0], bytes));
        }
        let mut rest = bytes;
        let mut next = || {
            let raw = prost::encoding::decode_varint(&mut rest).map_err(|_| Reject::Undecodable)?;
            // Indexes are not negative, so zig-zag is a factor of two.
            Ok(if raw.is_multiple_of(2) { (raw / 2) as usize } else { usize::MAX })
        };
        let count = next()?;
        if count > DEEPEST {
            return Err(Reject::Undecodable);
        }
        let place = if count == 0 { vec![0] } else { (0..count).map(|_| next()).collect::<Result<_, _>>()? };
        Ok((place, rest))
    }
}
