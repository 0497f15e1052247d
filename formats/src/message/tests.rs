use std::collections::BTreeMap;

use super::*;
use crate::leeway_json::MAX_RECORDS;
use crate::{Rows, Schema, SchemaError, SchemaId, SchemaSource, UserKey};
use leeway_core::event::Event;
use proptest::prelude::*;
use serde_json::json;

const TELEMETRY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/otlp/envelopes");
const MAPPING: &str = include_str!("../../../docs/examples/mapping.toml");

/// What the sink was told: calls by id, input tokens and time to first token, rejections, skipped records.
#[derive(Debug, Default, PartialEq)]
struct Told {
    calls: Vec<(String, Option<u64>, Option<u64>)>,
    rejected: Vec<Reject>,
    records: usize,
    skipped: u32,
    unknown: u32,
}

impl Sink for Told {
    fn record(&mut self, _: u32, decoded: Result<Event<'_>, Reject>) {
        match decoded {
            Ok(Event::Call(call)) => {
                self.calls.push((call.id.unwrap_or_default().to_owned(), call.tokens.input, call.ttft_us));
            }
            Ok(Event::Record(_)) => self.records += 1,
            Err(reason) => self.rejected.push(reason),
        }
    }
    fn unknown_fields(&mut self, fields: u32) {
        self.unknown += fields;
    }
    fn skipped(&mut self, records: u32) {
        self.skipped += records;
    }
}

fn scratch() -> Scratch {
    Scratch::new(Options::new(1 << 20, 64, UserKey::new([0; 32])))
}

/// A registry's answers, from a file; `None` does not answer.
#[derive(Debug)]
struct Answers(Option<BTreeMap<String, SchemaSource>>);

impl Schemas for Answers {
    fn get(&self, id: &SchemaId) -> Result<Arc<Schema>, Reject> {
        let answers = self.0.as_ref().ok_or(Reject::RegistryAway)?;
        let id = match id {
            SchemaId::Number(number) => number.to_string(),
            SchemaId::Guid(guid) => guid.clone(),
        };
        let source = answers.get(&id).ok_or(Reject::NoSchema)?;
        Ok(Arc::new(Schema::new(source).unwrap()))
    }
}

fn answers() -> Answers {
    let text = std::fs::read_to_string(format!("{TELEMETRY}/schemas.json")).unwrap();
    let schemas: BTreeMap<String, Json> = serde_json::from_str(&text).unwrap();
    let mut answers = BTreeMap::new();
    for schema in schemas.values() {
        let text = |name: &str| schema[name].as_str().unwrap().to_owned();
        let source = SchemaSource { kind: text("type"), text: text("schema"), references: Vec::new() };
        answers.insert(schema["schema_id"].to_string(), source.clone());
        answers.insert(text("guid"), source);
    }
    Answers(Some(answers))
}

fn reader() -> Reader {
    let rows: Rows = toml::from_str(MAPPING).unwrap();
    let mapping = Some(Arc::new(Mapping::new(rows).unwrap()));
    Reader { mapping, schemas: Some(Arc::new(answers())), ..Reader::default() }
}

fn read(reader: &Reader, value: &[u8], headers: &[(&str, &[u8])]) -> Result<Told, Reject> {
    let (mut told, mut taken) = (Told::default(), Headers::default());
    headers.iter().for_each(|(name, value)| taken.take(name, value));
    reader.decode(value, &taken, &mut scratch(), &mut told)?;
    Ok(told)
}

/// Records that real serializers made: Confluent's, CloudEvents', and plain ones.
#[test]
fn every_captured_envelope_is_read_or_refused_with_its_reason() {
    let mut outcomes: BTreeMap<String, Json> = BTreeMap::new();
    for line in std::fs::read_to_string(format!("{TELEMETRY}/records.jsonl")).unwrap().lines() {
        let record: Json = serde_json::from_str(line).unwrap();
        let bytes = |value: &Json| STANDARD.decode(value.as_str().unwrap_or_default()).unwrap();
        let headers: Vec<(String, Vec<u8>)> = record["headers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|header| (header[0].as_str().unwrap().to_owned(), bytes(&header[1])))
            .collect();
        let headers: Vec<(&str, &[u8])> = headers.iter().map(|(name, value)| (name.as_str(), &value[..])).collect();
        if record["value_b64"].is_null() {
            continue;
        }
        let outcome = match read(&reader(), &bytes(&record["value_b64"]), &headers) {
            Ok(told) if told.rejected.is_empty() => {
                let tokens: Vec<_> = told.calls.iter().map(|(_, input, ttft)| json!([input, ttft])).collect();
                assert!(told.calls.iter().all(|(id, ..)| id.len() == 36), "{told:?}");
                json!(tokens)
            }
            Ok(told) => json!(told.rejected[0].code()),
            Err(reason) => json!(reason.code()),
        };
        outcomes.insert(record["name"].as_str().unwrap().to_owned(), outcome);
    }
    let expected = json!({
        "confluent-avro": [[3219, 452_000]],
        "confluent-avro-evolved": [[2482, 372_000]],
        "confluent-json": [[3046, 650_000]],
        "confluent-protobuf": [[3207, 326_000]],
        "confluent-avro-header-guid": [[2702, 407_000]],
        "cloudevents-binary": [[141, 563_000]],
        "cloudevents-structured": [[141, 563_000]],
        "plain-json": [[894, 927_000]],
        "duplicate-of-plain-json": [[894, 927_000]],
        "plain-json-array": [[2784, 337_000], [64, 465_000]],
        "plain-ndjson": [[1737, 384_000], [3644, 211_000]],
        "plain-json-nulls-and-extra": [[null, 250_000]],
        "bad-truncated-avro": "undecodable",
        "bad-unknown-schema-id": "unknown_schema",
        "bad-utf8-json": "undecodable",
        "bad-json-truncated": "undecodable",
        "bad-empty-value": "undecodable",
        "bad-no-id-no-time": "no_time",
        // The future is the caller's business.
        "bad-future-time": [[3911, 882_000]],
        "bad-end-before-start": [[894, 927_000]],
        "bad-negative-tokens": "negative_count",
    });
    assert_eq!(json!(outcomes), expected);
}

#[test]
fn a_silent_registry_is_no_fault_of_the_message() {
    let silent = Reader { schemas: Some(Arc::new(Answers(None))), ..reader() };
    assert_eq!(read(&silent, &[0, 0, 0, 0, 1, 2], &[]), Err(Reject::RegistryAway));
    let none = Reader { schemas: None, ..reader() };
    assert_eq!(read(&none, &[0, 0, 0, 0, 1, 2], &[]), Err(Reject::NoSchema));
    assert_eq!(read(&reader(), &[0, 0, 0], &[]), Err(Reject::Undecodable));
    assert_eq!(read(&reader(), b"{}", &[("__value_schema_id", &[9, 9])]), Err(Reject::Undecodable));
}

#[test]
fn headers_tell_and_sniffing_can_be_switched_off() {
    let event = br#"{"id":"a","time":1795225535}"#;
    let strict = Reader { sniff: false, ..Reader::default() };
    assert_eq!(read(&strict, event, &[]), Err(Reject::UnknownFormat));
    assert_eq!(read(&strict, event, &[("Content-Type", b"application/json; charset=utf-8")]).unwrap().calls.len(), 1);
    assert_eq!(read(&strict, &[], &[("content-type", b"application/x-protobuf")]), Ok(Told::default()));
    assert_eq!(read(&strict, b"junk", &[("content-type", b"application/x-protobuf")]), Err(Reject::Undecodable));
    assert_eq!(read(&Reader::default(), b"x", &[("content-type", b"application/avro")]), Err(Reject::NoSchema));
    assert_eq!(read(&Reader::of(&LeewayJson), event, &[]).unwrap().calls.len(), 1);
}

#[test]
fn a_content_type_that_tells_nothing_leaves_it_to_the_bytes() {
    let spans = std::fs::read(format!("{TELEMETRY}/../openai-v2/off/chat.traces.pb")).unwrap();
    let calls =
        |reader: &Reader, kind: &[u8]| read(reader, &spans, &[("content-type", kind)]).map(|told| told.calls.len());
    let (sniffing, strict) = (Reader::default(), Reader { sniff: false, ..Reader::default() });
    let truth = calls(&sniffing, b"application/x-protobuf").unwrap();
    assert!(truth > 0);
    for kind in [&b"application/octet-stream"[..], b"application/x-something", b"", b"binary/octet-stream"] {
        assert_eq!(calls(&sniffing, kind), Ok(truth));
        assert_eq!(calls(&strict, kind), Err(Reject::UnknownFormat));
    }
    let event = br#"{"id":"a","time":1795225535}"#;
    for kind in ["application/x-ndjson", "application/vnd.acme.call+json", "text/json", "application/jsonl"] {
        assert_eq!(read(&strict, event, &[("content-type", kind.as_bytes())]).unwrap().calls.len(), 1, "{kind}");
    }
}

#[test]
fn a_bare_value_of_a_schema_may_begin_as_gzip_does() {
    let source = SchemaSource {
        kind: "PROTOBUF".into(),
        text: "syntax = \"proto3\"; message E { string id = 1; }".into(),
        references: Vec::new(),
    };
    let schemas = Answers(Some(BTreeMap::from([("7".to_owned(), source)])));
    let reader = Reader { schemas: Some(Arc::new(schemas)), ..Reader::default() };
    // Message indexes [15, −70], which no schema has: read as a schema's value, not unpacked.
    let read = read(&reader, &[0x1F, 0x8B, 0x01, 0x02], &[("__value_schema_id", &[0, 0, 0, 0, 7])]);
    assert_eq!(read.map(|told| told.calls.len()), Err(Reject::Undecodable));
}

#[test]
fn an_envelope_with_a_long_source_still_names_its_event() {
    let source = format!("https://example.com/{}", "a".repeat(400));
    let event = |id: &str| {
        json!({"specversion": "1.0", "id": id, "source": source, "time": "2026-11-20T23:10:00Z",
        "data": {"tokens": {"input": 1}}})
        .to_string()
    };
    let id = |name: &str| read(&Reader::default(), event(name).as_bytes(), &[]).unwrap().calls[0].0.clone();
    assert_eq!((id("7"), id("7").len()), (id("7"), 50));
    assert_ne!(id("7"), id("8"));
}

#[test]
fn an_event_has_its_envelopes_id_and_time_where_it_has_none() {
    let headers: [(&str, &[u8]); 5] = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"7"),
        ("ce_source", b"/gateway"),
        ("ce_time", b"2026-11-20T23:10:00Z"),
        ("content-type", b"application/json"),
    ];
    let told = read(&Reader::default(), br#"{"tokens":{"input":5}}"#, &headers).unwrap();
    assert_eq!(told.calls, [("/gateway 7".to_owned(), Some(5), None)]);
    let told = read(&Reader::default(), br#"{"id":"own","time":1795225535}"#, &headers).unwrap();
    assert_eq!(told.calls[0].0, "own");
    let inside = br#"{"specversion":"1.0","id":"7","source":"/gateway","type":"x","time":"2026-11-20T23:10:00Z",
        "datacontenttype":"application/json","data_base64":"eyJ0b2tlbnMiOnsiaW5wdXQiOjV9fQ=="}"#;
    let told = read(&Reader::default(), inside, &[("content-type", b"application/cloudevents+json")]).unwrap();
    assert_eq!(told.calls, [("/gateway 7".to_owned(), Some(5), None)]);
    let empty = br#"{"specversion":"1.0","id":"7","source":"s","type":"t"}"#;
    assert_eq!(read(&Reader::default(), empty, &[]).unwrap().skipped, 1);
    let twice = json!({"specversion": "1.0", "id": "1", "data": {"specversion": "1.0", "id": "2", "data": {}}});
    assert_eq!(read(&Reader::default(), twice.to_string().as_bytes(), &[]), Err(Reject::TooDeep));
}

#[test]
fn records_of_one_envelope_have_names_of_their_own_and_packed_envelopes_do_not_nest() {
    let event = json!({"specversion": "1.0", "id": "7", "source": "/g", "time": "2026-11-20T23:10:00Z",
        "data": [{"tokens": {"input": 1}}, {"tokens": {"input": 2}}]});
    let told = read(&Reader::default(), event.to_string().as_bytes(), &[]).unwrap();
    let ids: Vec<&str> = told.calls.iter().map(|(id, ..)| id.as_str()).collect();
    assert_eq!(ids, ["/g 7", "/g 7 1"]);
    let packed = |bytes: &[u8]| {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut gz, bytes).unwrap();
        STANDARD.encode(gz.finish().unwrap())
    };
    let wrap = |data: String| json!({"specversion": "1.0", "id": "8", "data_base64": data}).to_string();
    let once = wrap(packed(br#"{"time":1795225535}"#));
    assert_eq!(read(&Reader::default(), once.as_bytes(), &[]).unwrap().calls.len(), 1);
    let twice = wrap(packed(once.as_bytes()));
    assert_eq!(read(&Reader::default(), twice.as_bytes(), &[]), Err(Reject::TooDeep));
    let strict = Reader { sniff: false, ..Reader::default() };
    let kind: [(&str, &[u8]); 1] = [("content-type", b"application/cloudevents+json")];
    assert_eq!(read(&strict, event.to_string().as_bytes(), &kind).unwrap().calls.len(), 2);
    let many = format!("[{}0]", "0,".repeat(MAX_RECORDS));
    assert_eq!(read(&reader(), many.as_bytes(), &[]), Err(Reject::TooLarge));
}

/// OTLP stands in a CloudEvent as it stands alone.
#[test]
fn other_formats_stand_in_an_envelope_too() {
    let file = format!("{TELEMETRY}/../openai-v2/off/chat.traces.pb");
    let Ok(span) = std::fs::read(file) else { panic!("the capture is gone") };
    let alone = read(&Reader::default(), &span, &[]).unwrap();
    assert_eq!(alone.calls.len(), 1);
    let event = json!({
        "specversion": "1.0", "id": "1", "source": "s", "type": "t", "datacontenttype": "application/x-protobuf",
        "data_base64": STANDARD.encode(&span),
    });
    assert_eq!(read(&Reader::default(), event.to_string().as_bytes(), &[]).unwrap(), alone);
}

#[test]
fn schemas_that_nest_without_end_are_refused_and_the_nth_message_is_found() {
    let source = |kind: &str, text: &str| SchemaSource { kind: kind.into(), text: text.into(), references: Vec::new() };
    let tree = r#"{"type":"record","name":"T","fields":[{"name":"c","type":{"type":"array","items":"T"}}]}"#;
    assert!(matches!(Schema::new(&source("AVRO", tree)), Err(SchemaError::Recursive(_))));
    assert!(matches!(Schema::new(&source("XML", "")), Err(SchemaError::Kind(_))));
    let proto = r#"syntax = "proto3"; import "other.proto"; message A { string id = 1; }
        message B { message C { string id = 1; Other other = 2; int64 time = 3; } }"#;
    let mut nested = source("PROTOBUF", proto);
    nested.references = vec![("other.proto".into(), r#"syntax = "proto3"; message Other { int64 n = 1; }"#.into())];
    let schemas = Answers(Some(BTreeMap::from([("3".to_owned(), nested)])));
    let reader = Reader { schemas: Some(Arc::new(schemas)), ..Reader::default() };
    // Place [1, 0]: two, zig-zag, then 1 and 0; then id "x" and time 1795225535.
    let value = [&[0, 0, 0, 0, 3, 4, 2, 0][..], &[0x0A, 1, b'x', 0x18, 0xBF, 0xDC, 0x83, 0xD8, 0x06]].concat();
    let told = read(&reader, &value, &[]).unwrap();
    assert_eq!(told.calls.iter().map(|(id, ..)| id.as_str()).collect::<Vec<_>>(), ["x"], "{told:?}");
}

proptest! {
    #[test]
    fn no_bytes_behind_any_envelope_stop_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..200), id in 1u8..6, kind in 0usize..5) {
        let reader = reader();
        let kinds = ["", "application/json", "application/x-protobuf", "application/cloudevents+json", "application/avro"];
        let framed = [&[0, 0, 0, 0, id][..], &bytes].concat();
        let _ = read(&reader, &framed, &[]);
        let _ = read(&reader, &bytes, &[("content-type", kinds[kind].as_bytes())]);
        let _ = read(&reader, &bytes, &[("__value_schema_id", &framed)]);
        let event = json!({"specversion": "1.0", "id": "1", "data": String::from_utf8_lossy(&bytes)});
        let _ = read(&reader, event.to_string().as_bytes(), &[]);
    }
}
