//! Values behind a registry's ids, and a mapping: the first byte chooses the schema.
#![no_main]
use std::sync::{Arc, LazyLock};

use leeway_core::event::Reject;
use leeway_formats::{Headers, Mapping, Reader, Schema, SchemaId, SchemaSource, Schemas};

const AVRO: &str = r#"{"type":"record","name":"E","fields":[{"name":"event_id","type":"string"},
    {"name":"end_unix_nanos","type":"long"},{"name":"input_tokens","type":["null","long"]},
    {"name":"ttft_seconds","type":["null","double"]},{"name":"finish_reasons","type":{"type":"array","items":"string"}},
    {"name":"dims","type":{"type":"map","values":"string"}},{"name":"raw","type":"bytes"},
    {"name":"k","type":{"type":"enum","name":"K","symbols":["a","b"]}},{"name":"input_text","type":["null","string"]}]}"#;
const PROTO: &str = r#"syntax = "proto3"; message E { string event_id = 1; int64 end_unix_nanos = 3; E inner = 4;
    optional int64 input_tokens = 12; optional double ttft_seconds = 17; repeated string finish_reasons = 18;
    map<string, string> dims = 24; optional string input_text = 25; bytes raw = 26; }"#;

#[derive(Debug)]
struct Fixed([Arc<Schema>; 3]);

impl Schemas for Fixed {
    fn get(&self, id: &SchemaId) -> Result<Arc<Schema>, Reject> {
        let SchemaId::Number(number) = id else { return Err(Reject::NoSchema) };
        self.0.get(*number as usize).cloned().ok_or(Reject::NoSchema)
    }
}

static READER: LazyLock<Reader> = LazyLock::new(|| {
    let schema = |kind: &str, text: &str| {
        let source = SchemaSource { kind: kind.into(), text: text.into(), references: Vec::new() };
        Arc::new(Schema::new(&source).unwrap())
    };
    let rows = [("id", "event_id"), ("time", "end_unix_nanos"), ("tokens.input", "input_tokens"), ("text.input", "input_text")];
    let rows: serde_json::Value = rows.iter().map(|(to, from)| (to.to_string(), (*from).into())).collect::<serde_json::Map<_, _>>().into();
    Reader {
        mapping: Some(Arc::new(Mapping::new(serde_json::from_value(rows).unwrap()).unwrap())),
        schemas: Some(Arc::new(Fixed([schema("AVRO", AVRO), schema("PROTOBUF", PROTO), schema("JSON", "{}")]))),
        ..Reader::default()
    }
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let framed = [&[0, 0, 0, 0, first % 3][..], bytes].concat();
    let _ = READER.decode(&framed, &Headers::default(), &mut leeway_fuzz::scratch(), &mut leeway_fuzz::Use::default());
});
