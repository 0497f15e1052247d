use super::*;
use crate::{Headers, Options, Reader, UserKey};
use leeway_core::event::Part;
use opentelemetry_proto::tonic::trace::v1::Span;

/// What a message says, owned.
#[derive(Debug, Default)]
struct Seen {
    calls: Vec<Owned>,
    rejects: Vec<Reject>,
    skipped: u32,
}

#[derive(Debug)]
struct Owned {
    names: Vec<[u8; 16]>,
    brings: Brings,
    tenant: String,
    model: String,
    class: Option<u8>,
    failure: [String; 2],
    tokens: Tokens,
    texts: Vec<(Part, String)>,
    incomplete: bool,
}

impl Sink for Seen {
    fn record(&mut self, _: u32, decoded: Result<Event<'_>, Reject>) {
        match decoded {
            Ok(Event::Call(call)) => self.calls.push(Owned {
                names: call.name().into_iter().chain(call.copy_name()).collect(),
                brings: call.brings,
                tenant: call.tenant.to_owned(),
                model: call.model().to_owned(),
                class: call.error_class,
                failure: call.failure.clone().map(|text| text.into_owned()),
                tokens: call.tokens,
                incomplete: call.incomplete,
                texts: call.texts.iter().map(|text| (text.part, text.text.clone().into_owned())).collect(),
            }),
            Ok(Event::Record(_)) => panic!("OTLP has no such record"),
            Err(reason) => self.rejects.push(reason),
        }
    }
    fn unknown_fields(&mut self, _: u32) {}
    fn skipped(&mut self, records: u32) {
        self.skipped += records;
    }
}

fn scratch() -> Scratch {
    Scratch::new(Options::new(16 << 20, 64, UserKey::new([0; 32])))
}

fn read(message: &[u8]) -> Result<Seen, Reject> {
    let mut seen = Seen::default();
    Reader::default().decode(message, &Headers::default(), &mut scratch(), &mut seen).map(|()| seen)
}

fn fixtures() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/otlp")
}

fn fixture(path: &str) -> Seen {
    let bytes = std::fs::read(fixtures().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    read(&bytes).unwrap()
}

/// Which texts a call has, beside the words of its telemetry.
fn parts(call: &Owned) -> Vec<Part> {
    call.texts.iter().map(|(part, _)| *part).filter(|part| *part != Part::Telemetry).collect()
}

#[test]
fn span_and_log_record_have_one_name_and_bring_their_parts() {
    let span = &fixture("genai-openai/exp_both/chat.traces.pb").calls[0];
    let log = &fixture("genai-openai/exp_both/chat.logs.pb").calls[0];
    assert_eq!(span.names, log.names);
    assert_eq!(span.names.len(), 2, "the span and the response name it");
    assert!(span.brings.timing && !log.brings.timing && log.brings.call && log.brings.text);
    assert_eq!(span.texts, log.texts);
    assert_eq!(parts(span), [Part::System, Part::Input, Part::Output]);
    assert!(parts(&fixture("genai-openai/off/chat.traces.pb").calls[0]).is_empty());
}

#[test]
fn generation_a_events_bring_texts_alone() {
    let seen = fixture("openai-v2/on/chat.logs.pb");
    let [call] = &seen.calls[..] else { panic!("{seen:?}") };
    assert!(!call.brings.call && call.brings.text);
    assert_eq!(parts(call), [Part::System, Part::Input, Part::Output]);
    assert_eq!(fixture("openai-v2/on/chat.traces.pb").calls[0].names[0], call.names[0]);
}

#[test]
fn openinference_metadata_names_the_tenant_and_flat_messages_are_texts() {
    let seen = fixture("openinference/on/chat.traces.pb");
    let call = &seen.calls[0];
    assert_eq!((call.tenant.as_str(), call.model.as_str()), ("acme", "gpt-4o-mini"));
    assert_eq!(parts(call), [Part::System, Part::Input, Part::Output]);
    let error = &fixture("openinference/on/err500.traces.pb").calls[0];
    assert_eq!(error.class.map(|class| leeway_core::event::ERROR_CLASSES[usize::from(class)]), Some("server"));
}

fn attribute(key: &str, value: any_value::Value) -> opentelemetry_proto::tonic::common::v1::KeyValue {
    opentelemetry_proto::tonic::common::v1::KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..Default::default()
    }
}

fn spans(spans: Vec<Span>) -> Vec<u8> {
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
    let scope = ScopeSpans { spans, ..Default::default() };
    TracesData { resource_spans: vec![ResourceSpans { scope_spans: vec![scope], ..Default::default() }] }
        .encode_to_vec()
}

fn span(id: u8, parent: u8, extra: Vec<(&str, any_value::Value)>) -> Span {
    let chat = ("gen_ai.operation.name", any_value::Value::StringValue("chat".into()));
    Span {
        trace_id: vec![1; 16],
        span_id: vec![id; 8],
        parent_span_id: if parent == 0 { Vec::new() } else { vec![parent; 8] },
        end_time_unix_nano: 1_795_213_948_000_000_000,
        attributes: std::iter::once(chat).chain(extra).map(|(key, value)| attribute(key, value)).collect(),
        ..Default::default()
    }
}

#[test]
fn an_outer_model_span_gives_way_to_the_inner_one() {
    let seen =
        read(&spans(vec![span(1, 0, vec![]), span(2, 1, vec![]), span(3, 9, vec![]), span(4, 4, vec![])])).unwrap();
    assert_eq!((seen.calls.len(), seen.skipped), (3, 1), "the outer one of two, a stranger's child, its own parent");
}

/// What calls say of some dimensions.
struct Dimensions(Vec<[String; 4]>);

impl Sink for Dimensions {
    fn record(&mut self, _: u32, decoded: Result<Event<'_>, Reject>) {
        let Ok(Event::Call(call)) = decoded else { panic!("{decoded:?}") };
        self.0.push(["tenant", "app", "dims.team", "dims.tier"].map(|name| call.dimension(name).to_owned()));
    }
    fn unknown_fields(&mut self, _: u32) {}
    fn skipped(&mut self, _: u32) {}
}

#[test]
fn attributes_that_the_settings_name_are_dimensions() {
    use any_value::Value::{ArrayValue, IntValue, StringValue};
    use opentelemetry_proto::tonic::logs::v1::{ResourceLogs, ScopeLogs};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
    let text = |text: &str| StringValue(text.to_owned());
    let own = span(1, 0, vec![("app.team", text("search")), ("customer.id", text("acme")), ("tier", IntValue(3))]);
    let long = span(2, 0, vec![("tier", text(&"x".repeat(300))), ("app.team", ArrayValue(Default::default()))]);
    let attributes = vec![
        attribute("app.team", text("of the resource")),
        attribute("k8s.deployment.name", text("shop")),
        attribute("service.name", text("service")),
    ];
    let resource = Some(Resource { attributes, ..Default::default() });
    let scope = ScopeSpans { spans: vec![own.clone(), long, span(3, 0, vec![])], ..Default::default() };
    let group = ResourceSpans { resource: resource.clone(), scope_spans: vec![scope], ..Default::default() };
    let traces = TracesData { resource_spans: vec![group] }.encode_to_vec();
    let message = LogRecord {
        event_name: "gen_ai.user.message".to_owned(),
        time_unix_nano: 1_795_213_948_000_000_000,
        trace_id: vec![1; 16],
        span_id: vec![1; 8],
        attributes: own.attributes,
        ..Default::default()
    };
    let scope_logs = vec![ScopeLogs { log_records: vec![message], ..Default::default() }];
    let logs = LogsData { resource_logs: vec![ResourceLogs { resource, scope_logs, ..Default::default() }] };
    let names =
        [("app.team", "dims.team"), ("tier", "dims.tier"), ("customer.id", "tenant"), ("k8s.deployment.name", "app")];
    let names = names.iter().map(|(key, dimension)| ((*key).to_owned(), (*dimension).to_owned())).collect();
    let options = Options { attributes: names, ..Options::new(1 << 20, 64, UserKey::new([0; 32])) };
    let mut read = Dimensions(Vec::new());
    for message in [traces, logs.encode_to_vec()] {
        let mut scratch = Scratch::new(options.clone());
        Reader::default().decode(&message, &Headers::default(), &mut scratch, &mut read).unwrap();
    }
    let long = "x".repeat(MAX_LABEL);
    assert_eq!(
        read.0,
        [
            ["acme", "shop", "search", "3"],
            ["default", "shop", "of the resource", &long],
            ["default", "shop", "of the resource", ""],
            ["acme", "shop", "search", "3"],
        ]
    );
}

#[test]
fn absurd_attributes_reject_their_span_alone() {
    use any_value::Value::{BytesValue, DoubleValue, IntValue, StringValue};
    let input = "gen_ai.usage.input_tokens";
    let bad = vec![
        span(1, 0, vec![(input, IntValue(-4))]),
        span(2, 0, vec![(input, BytesValue(vec![1]))]),
        span(3, 0, vec![(input, DoubleValue(f64::NAN))]),
        span(4, 0, vec![(input, StringValue("many".into()))]),
        Span { end_time_unix_nano: 0, ..span(5, 0, vec![]) },
        span(6, 0, vec![("gen_ai.response.id", StringValue("x".repeat(300)))]),
        span(7, 0, vec![(input, StringValue("52".into()))]),
    ];
    let seen = read(&spans(bad)).unwrap();
    let codes: Vec<_> = seen.rejects.iter().map(Reject::code).collect();
    assert_eq!(codes, ["negative_count", "wrong_type", "wrong_type", "wrong_type", "no_time", "too_large"]);
    assert_eq!((seen.calls.len(), seen.calls[0].tokens.input), (1, Some(52)));
}

#[test]
fn a_flood_of_empty_spans_is_refused_before_it_is_made() {
    let mut scope = Vec::new();
    (0..MAX_RECORDS + 1).for_each(|_| scope.extend([0x12, 0]));
    let wrap = |field: u8, inner: &[u8]| {
        let mut outer = vec![field << 3 | 2];
        prost::encoding::encode_varint(inner.len() as u64, &mut outer);
        outer.extend(inner);
        outer
    };
    let flood = wrap(1, &wrap(2, &scope));
    assert_eq!(read(&flood).unwrap_err(), Reject::TooLarge);
    // Empty groups, and empty values of one attribute of one span.
    let groups: Vec<u8> = (0..1_000_001).flat_map(|_| [0x0A, 0]).collect();
    assert_eq!(read(&groups).unwrap_err(), Reject::TooLarge);
    let values = wrap(5, &groups);
    let span = wrap(9, &wrap(2, &values));
    assert_eq!(read(&wrap(1, &wrap(2, &wrap(2, &span)))).unwrap_err(), Reject::TooLarge);
}

/// The length of the first group may be the code of a brace, a bracket or a blank.
#[test]
fn protobuf_of_any_length_is_no_json() {
    let seen = (0..200).map(|padding| {
        let message = spans(vec![Span { name: "x".repeat(padding), ..span(1, 0, vec![]) }]);
        assert_eq!(read(&message).map(|seen| seen.calls.len()), Ok(1), "{padding}");
        let mut own = Seen::default();
        crate::OtlpTraces.decode(&message, &mut scratch(), &mut own).unwrap();
        assert_eq!(own.calls.len(), 1, "{padding}");
        message[1]
    });
    let lengths: std::collections::BTreeSet<u8> = seen.collect();
    assert!(lengths.contains(&b'{') && lengths.contains(&b'['));
}

#[test]
fn a_bad_span_of_a_json_batch_rejects_itself_alone() {
    let good = r#"{"trace_id":"01010101010101010101010101010101","span_id":"0202020202020202","end_time_unix_nano":"1795213948000000000",
        "status":{"code":"STATUS_CODE_ERROR"},"parent_span_id":null,"attributes":[{"key":"gen_ai.operation.name","value":{"string_value":"chat"}},
        {"key":"n","value":{"doubleValue":"NaN"}},{"key":"e","value":{"arrayValue":{}}}]}"#;
    let bad = [
        good.replace("\"chat\"", "\"chat\",\"x\":1").replace("\"0202020202020202\"", "\"02\""),
        good.replace("{\"doubleValue\":\"NaN\"}", "{\"intValue\":\"many\"}"),
        good.replace("1795213948000000000", "soon"),
    ];
    let message = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{},{good}]}}]}}]}}"#, bad.join(","));
    let seen = read(message.as_bytes()).unwrap();
    assert_eq!((seen.calls.len(), seen.rejects.len()), (1, 3), "{:?}", seen.rejects);
    let base64 = good
        .replace("\"01010101010101010101010101010101\"", "\"AQEBAQEBAQEBAQEBAQEBAQ==\"")
        .replace("\"0202020202020202\"", "\"AgICAgICAgI=\"");
    let message = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{base64}]}}]}}]}}"#);
    assert_eq!(read(message.as_bytes()).unwrap().calls[0].names, seen.calls[0].names);
}

/// A retry that went well, and an empty error type, are no failures; usage beside its cache is made whole.
#[test]
fn what_went_well_in_the_end_is_no_error() {
    use any_value::Value::StringValue;
    use opentelemetry_proto::tonic::trace::v1::span::Event;
    let raised = Event {
        name: "exception".into(),
        attributes: vec![attribute("exception.type", StringValue("RateLimitError".into()))],
        ..Event::default()
    };
    let retried = Span { events: vec![raised], ..span(1, 0, vec![("error.type", StringValue(String::new()))]) };
    let seen = read(&spans(vec![retried])).unwrap();
    assert_eq!(seen.calls[0].class, None);
    // The model that was asked for is the attribute's, where it has one; the settings' otherwise.
    let settings = ("llm.invocation_parameters", StringValue(r#"{"model":"other"}"#.into()));
    let asked = span(1, 0, vec![("gen_ai.request.model", StringValue("asked".into())), settings.clone()]);
    assert_eq!(read(&spans(vec![asked])).unwrap().calls[0].model, "asked");
    assert_eq!(read(&spans(vec![span(1, 0, vec![settings])])).unwrap().calls[0].model, "other");
    let usage =
        r#"{"input_tokens":100,"cache_read_input_tokens":900,"cache_creation_input_tokens":30,"output_tokens":7}"#;
    let usage = span(1, 0, vec![("langfuse.observation.usage_details", StringValue(usage.into()))]);
    assert_eq!(read(&spans(vec![usage])).unwrap().calls[0].tokens.input, Some(1030));
}

/// Attributes of a deployer's own are no words of the failure.
#[test]
fn a_failure_is_told_by_its_type_and_text_alone() {
    use any_value::Value::StringValue;
    let text = |name, text: &str| (name, StringValue(text.into()));
    let failed = span(
        1,
        0,
        vec![
            text("error.type", "context_length_exceeded"),
            text("exception.message", "too many tokens"),
            text("customer.note", "refund for Anna"),
        ],
    );
    let call = &read(&spans(vec![failed])).unwrap().calls[0];
    assert_eq!(call.failure[0], "context_length_exceeded");
    assert!(!call.failure.concat().contains("Anna") && call.texts.iter().any(|(_, text)| text.contains("Anna")));
    assert!(fixture("openinference/on/err500.traces.pb").calls[0].failure.iter().any(|text| !text.is_empty()));
}

#[test]
fn texts_that_are_cut_hidden_or_no_texts_leave_origins_open() {
    use any_value::Value::StringValue;
    let input = |text: &str| {
        vec![
            ("gen_ai.input.messages", StringValue(text.into())),
            (
                "gen_ai.output.messages",
                StringValue(r#"[{"role":"assistant","parts":[{"type":"text","content":"a@b.io"}]}]"#.into()),
            ),
        ]
    };
    let whole = r#"[{"role":"user","parts":[{"type":"text","content":"hi"}]}]"#;
    let tool = r#"[{"role":"tool","parts":[{"type":"tool_call_response","response":{"mail":"a@b.io"}}]}]"#;
    let hidden = r#"[{"role":"user","parts":[{"type":"text","content":"__REDACTED__"}]}]"#;
    let message = spans(vec![
        span(1, 0, input(whole)),
        span(2, 0, input(&whole[..40])),
        span(3, 0, input(tool)),
        span(4, 0, input(hidden)),
        Span { dropped_attributes_count: 1, ..span(5, 0, input(whole)) },
    ]);
    let open: Vec<bool> = read(&message).unwrap().calls.iter().map(|call| call.incomplete).collect();
    assert_eq!(open, [false, true, true, true, true]);
}

#[test]
fn zeros_are_no_ids_and_a_resource_speaks_of_no_call() {
    let zeros = Span { trace_id: vec![0; 16], span_id: vec![0; 8], ..span(1, 0, vec![]) };
    assert_eq!(read(&spans(vec![zeros])).unwrap().calls[0].names.len(), 0);
}

#[test]
fn truncated_or_random_bytes_are_undecodable_and_never_panic() {
    let whole = std::fs::read(fixtures().join("genai-openai/exp_both/chat.traces.pb")).unwrap();
    for length in 1..whole.len() {
        // A cut at the end of a field is a shorter message; no cut may panic.
        let _ = read(&whole[..length]);
    }
    assert_eq!(read(&whole[..whole.len() / 2]).unwrap_err(), Reject::Undecodable);
    let mut noise = whole;
    for (place, byte) in noise.iter_mut().enumerate() {
        *byte ^= (place as u8).wrapping_mul(167);
    }
    noise[0] = 0x0A;
    assert!(read(&noise).is_err());
}

#[test]
fn json_is_told_from_protobuf() {
    let mut seen = Seen::default();
    Reader::default().decode(b"\n{\"time\":1795225535}", &Headers::default(), &mut scratch(), &mut seen).unwrap();
    assert!(seen.calls[0].brings.whole);
}

#[test]
fn an_empty_error_type_of_a_log_record_is_no_failure() {
    use any_value::Value::StringValue;
    use opentelemetry_proto::tonic::logs::v1::{ResourceLogs, ScopeLogs};
    let record = |kind: &str| LogRecord {
        time_unix_nano: 1_795_213_948_000_000_000,
        event_name: DETAILS_EVENT.into(),
        trace_id: vec![1; 16],
        span_id: vec![1; 8],
        attributes: vec![
            attribute("gen_ai.operation.name", StringValue("chat".into())),
            attribute("error.type", StringValue(kind.into())),
        ],
        ..LogRecord::default()
    };
    let scope = ScopeLogs { log_records: vec![record(""), record("timeout")], ..ScopeLogs::default() };
    let logs = LogsData { resource_logs: vec![ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() }] };
    let seen = read(&logs.encode_to_vec()).unwrap();
    assert_eq!(seen.calls.iter().map(|call| call.class.is_some()).collect::<Vec<_>>(), [false, true]);
}
