use leeway_core::embedding::Features;
use leeway_core::event::RecordKind;

use super::*;
use crate::UserKey;

/// Id, time, status, input tokens, cost.
type Seen = (String, i64, Status, Option<u64>, Option<i64>);

/// Owned copies of what the sink saw.
#[derive(Default)]
struct Taken {
    calls: Vec<Seen>,
    records: Vec<leeway_core::event::Record>,
    rejects: Vec<(u32, &'static str, &'static str)>,
    unknown: u32,
}

impl Sink for Taken {
    fn skipped(&mut self, _: u32) {}
    fn record(&mut self, index: u32, decoded: Result<Event<'_>, Reject>) {
        match decoded {
            Ok(Event::Call(c)) => {
                self.calls.push((c.id.unwrap_or("").to_owned(), c.time, c.status, c.tokens.input, c.cost));
            }
            Ok(Event::Record(record)) => self.records.push(record),
            Err(reject) => self.rejects.push((index, reject.code(), reject.field())),
        }
    }
    fn unknown_fields(&mut self, fields: u32) {
        self.unknown += fields;
    }
}

fn scratch() -> Scratch {
    Scratch::new(Options::new(1 << 20, 64, UserKey::new([7; 32])))
}

fn decode(message: &str) -> Result<Taken, Reject> {
    let mut taken = Taken::default();
    LeewayJson.decode(message.as_bytes(), &mut scratch(), &mut taken)?;
    Ok(taken)
}

const T: i64 = 1_795_225_535_000_000;

#[test]
fn an_object_an_array_and_lines_are_the_same_events() {
    let one = r#"{"id":"a","time":"2026-11-21T01:45:35Z","tokens":{"input":3}}"#;
    let pretty = "{\n \"id\": \"a\",\n \"time\": 1795225535,\n \"tokens\": {\"input\": 3}\n}";
    for message in [one.to_owned(), format!("[{one}]"), format!("{one}\n"), format!("{one}\n{one}"), pretty.to_owned()]
    {
        let taken = decode(&message).unwrap();
        assert_eq!(taken.calls[0], ("a".to_owned(), T, Status::Unknown, Some(3), None), "{message}");
        assert!(taken.rejects.is_empty());
    }
}

#[test]
fn one_bad_event_rejects_itself_alone() {
    let lines = "{\"id\":\"a\",\"time\":1795225535}\n{broken\n{\"id\":\"b\",\"time\":1795225535}\n";
    let taken = decode(lines).unwrap();
    assert_eq!((taken.calls.len(), taken.rejects), (2, vec![(1, "undecodable", "")]));
    let array = r#"[{"id":"a","time":1795225535},{"id":"b"},7,{"time":1,"tokens":{"input":-1}}]"#;
    let taken = decode(array).unwrap();
    assert_eq!(taken.calls.len(), 1);
    assert_eq!(taken.rejects, vec![(1, "no_time", "time"), (2, "undecodable", ""), (3, "negative_count", "")]);
}

#[test]
fn every_reason_has_its_code() {
    let cases = [
        (r#"{"time":true}"#, "wrong_type", "time"),
        (r#"{"time":"yesterday"}"#, "wrong_type", "time"),
        (r#"{"time":1,"tokens":{"input":"5"}}"#, "wrong_type", "tokens"),
        (r#"{"time":1,"tokens":{"input":18446744073709551615}}"#, "wrong_type", "tokens"),
        (r#"{"time":1,"status":"fine"}"#, "wrong_type", "status"),
        (r#"{"time":1,"kind":"banana"}"#, "unknown_kind", "kind"),
        (r#"{"time":1,"v":2}"#, "unknown_schema", "v"),
        (r#"{"time":1,"duration_ms":-1}"#, "negative_count", ""),
        (r#"{"time":1,"cost_usd":"-0.1"}"#, "negative_count", ""),
        (r#"{"time":1,"kind":"feedback","name":"thumbs","value":1}"#, "no_target", "target"),
        (r#"{"time":1,"kind":"feedback","target":{"span_id":"x"},"name":"thumbs"}"#, "no_target", "target"),
        (r#"{"kind":"change","type":"release"}"#, "no_time", "time"),
        (r#"{"kind":"change","time":1,"type":"vibes"}"#, "wrong_type", "type"),
        (r#"{"time":1,"text":"hello"}"#, "wrong_type", "text"),
        (r#"{"time":1,"sample_probability":0}"#, "wrong_type", "sample_probability"),
    ];
    for (message, code, field) in cases {
        assert_eq!(decode(message).unwrap().rejects, vec![(0, code, field)], "{message}");
    }
    for nul in [r#"{"time":1,"tenant":"a\u0000"}"#, r#"{"time":1,"kind":"change","type":"release","id":"\u0000"}"#] {
        assert_eq!(decode(nul).unwrap().rejects[0].1, "wrong_type", "{nul}");
    }
    assert_eq!(decode(&format!("[{}0]", "0,".repeat(100_000))).err(), Some(Reject::TooLarge));
    let target = format!(r#"{{"time":1,"kind":"feedback","name":"n","target":{{"id":"{}"}}}}"#, "x".repeat(100_000));
    assert_eq!(decode(&target).unwrap().records[0].id.len(), 64, "a long key is hashed");
    let long = format!(r#"{{"time":1,"id":"{}"}}"#, "x".repeat(257));
    assert_eq!(decode(&long).unwrap().rejects, vec![(0, "too_large", "")]);
    for bad in ["", "7", "\"x\"", "{", "\u{feff}{}", "{\"time\":1}garbage"] {
        assert_eq!(decode(bad).err(), Some(Reject::Undecodable), "{bad}");
    }
    assert_eq!(decode(&"[".repeat(100_000)).err(), Some(Reject::TooDeep));
    assert_eq!(decode(&" ".repeat((1 << 20) + 1)).err(), Some(Reject::TooLarge));
}

#[test]
fn invalid_utf8_is_undecodable() {
    let mut taken = Taken::default();
    let message = b"{\"time\":1,\"app\":\"\xff\xfe\"}";
    assert_eq!(LeewayJson.decode(message, &mut scratch(), &mut taken), Err(Reject::Undecodable));
}

#[test]
fn the_six_other_kinds_become_rows_with_their_keys() {
    let message = r#"[
      {"kind":"feedback","time":1795225535,"target":{"id":"a"},"name":"thumbs","value":true,"source":"user","author":"ann@example.com"},
      {"kind":"change","time":1795225535,"id":"c1","type":"release","from":"1","to":"2","app":"x"},
      {"kind":"evaluation","time":1795225535,"id":"e1","suite":"s","type":"regression","items":[{"id":"i","value":1}]},
      {"kind":"incident","time":1795225535,"id":"i1","class":"latency","severity":2},
      {"kind":"experiment","time":1795225535,"name":"n","arms":["a","b"]},
      {"kind":"figure","time":1795225535,"name":"eligible_users","value":12}]"#;
    let taken = decode(message).unwrap();
    assert!(taken.rejects.is_empty(), "{:?}", taken.rejects);
    let kinds: Vec<_> = taken.records.iter().map(|record| record.kind).collect();
    assert_eq!(kinds, RecordKind::ALL);
    let feedback = &taken.records[0];
    assert_eq!(feedback.id, r#"{"id":"a"}|thumbs|"user"|"#);
    assert!(!feedback.body.contains("ann@"), "a person is kept as a hash only: {}", feedback.body);
    assert_eq!(taken.records[1].id, "c1");
    assert!(!taken.records[4].id.is_empty());
}

#[test]
fn unknown_fields_are_counted_and_known_ones_are_not() {
    assert_eq!(decode(r#"{"time":1,"nonsense":1,"foo":{"bar":[1]}}"#).unwrap().unknown, 2);
    let every = r#"{"v":1,"kind":"call","id":"i","time":1,"started_at":1,"tenant":"t","app":"a","environment":"e","region":"r","dims":{},
      "operation":"chat","served":true,"route":"r","release":"r","prompt":"p","prompt_version":"1","index_version":"1","policy_version":"1",
      "provider":"p","request_model":"m","response_model":"m","trace_id":"t","span_id":"s","parent_span_id":"p","response_id":"r","call_id":"c",
      "session":"s","task":"t","conversation":"c","user":"u","stream":true,"status":"ok","error_type":"x","error_class":"server","http_status":500,
      "attempt":1,"fallback":false,"fallback_from":"m","routed_by":"r","explored":false,"finish_reasons":["stop"],"tokens":{"input":1},
      "tokens_source":"provider","duration_ms":1,"ttft_ms":1,"queue_ms":1,"retrieval_ms":1,"guardrail_ms":1,"cost_usd":0.1,"cache":[],
      "retrieval":{},"citations":{},"claims":{},"tool":{},"schema_valid":true,"confidence":0.5,"text":{},"text_state":"absent","moderation":[],
      "scores":[],"features":{},"embedding":{},"sample_probability":1,"links":{}}"#;
    let taken = decode(every).unwrap();
    assert_eq!((taken.unknown, taken.rejects.len(), taken.calls.len()), (0, 0, 1));
}

#[test]
fn money_is_exact_and_a_label_is_cut_not_rejected() {
    let taken = decode(r#"[{"time":1,"cost_usd":0.1},{"time":1,"cost_usd":"0.000000001"},{"time":1,"cost_usd":1e-7}]"#)
        .unwrap();
    let costs: Vec<_> = taken.calls.iter().map(|call| call.4).collect();
    assert_eq!(costs, [Some(100_000_000), Some(1), Some(100)]);
    let mut seen = Cut(0, String::new());
    let message = format!(r#"{{"time":1,"app":"{}"}}"#, "é".repeat(100));
    LeewayJson.decode(message.as_bytes(), &mut scratch(), &mut seen).unwrap();
    assert_eq!((seen.0, seen.1.len()), (1, 128));
}

struct Cut(u32, String);
impl Sink for Cut {
    fn skipped(&mut self, _: u32) {}
    fn record(&mut self, _: u32, decoded: Result<Event<'_>, Reject>) {
        if let Ok(Event::Call(call)) = decoded {
            *self = Self(call.cut_labels, call.app.to_owned());
        }
    }
    fn unknown_fields(&mut self, _: u32) {}
}

#[test]
fn a_class_is_derived_where_none_is_given() {
    let cases = [
        (Status::Timeout, None, "", 1),
        (Status::Error, Some(429), "", 0),
        (Status::Error, None, "APIConnectionError", 7),
    ];
    for (status, http, kind, class) in cases {
        assert_eq!(classify(status, http, kind), class);
    }
}

#[test]
fn hostile_json_agrees_with_serde_json() {
    let Some(folder) = leeway_core_shared("corpora/json-test-suite/test_parsing") else { return };
    let mut tried = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let parsed = scratch().parse(&bytes, |_, _| ());
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        match &name[..2] {
            "n_" => assert!(parsed.is_err(), "{name} must be rejected"),
            "y_" => assert!(parsed.is_ok(), "{name} must be accepted"),
            _ => {}
        }
        tried += 1;
    }
    assert!(tried > 300, "{tried} files");
}

fn leeway_core_shared(path: &str) -> Option<std::path::PathBuf> {
    let root =
        std::env::var("LEEWAY_SHARED").unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared").into());
    let path = std::path::Path::new(&root).join("data").join(path);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("LEEWAY_REQUIRE_SHARED").is_none(), "{} is missing", path.display());
    println!("SKIPPED: {} is not here", path.display());
    None
}

proptest::proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let _ = LeewayJson.decode(&bytes, &mut scratch(), &mut Taken::default());
    }
}

#[test]
fn an_embedding_is_a_space_and_a_vector_of_numbers_and_goes_no_further_than_its_features() {
    struct Spaces(Vec<Option<(String, Features)>>, u32);
    impl Sink for Spaces {
        fn skipped(&mut self, _: u32) {}
        fn record(&mut self, _: u32, decoded: Result<Event<'_>, Reject>) {
            if let Event::Call(call) = decoded.unwrap() {
                self.0.push(call.embedding.map(|(space, features)| (space.to_owned(), features)));
            }
        }
        fn unknown_fields(&mut self, unknown: u32) {
            self.1 += unknown;
        }
    }
    let spaces = [("e5".to_owned(), 3), ("zero".to_owned(), 2)].into();
    let mut scratch = Scratch::new(Options { spaces, ..Options::new(1 << 20, 64, UserKey::new([7; 32])) });
    let mut seen = Spaces(Vec::new(), 0);
    let message = r#"[{"time":1,"embedding":{"space":"e5","vector":[0.25,-1,3e-2],"model":"e5-large"}},{"time":1,"embedding":null},
        {"time":1,"embedding":{"space":"another","vector":[1]}},{"time":1,"embedding":{"space":"zero","vector":[0,0]}}]"#;
    LeewayJson.decode(message.as_bytes(), &mut scratch, &mut seen).unwrap();
    let of = |space: &str, vector: &[f32]| Some((space.to_owned(), Features::of(vector).unwrap()));
    assert_eq!((seen.0, seen.1), (vec![of("e5", &[0.25, -1.0, 0.03]), None, None, of("zero", &[0.0, 0.0])], 0));
    // What is none of its space costs no call, and is counted.
    let wrong = [
        r#"{"space":"e5","vector":"AAAA"}"#,
        r#"{"space":"e5","vector":[1,2,null]}"#,
        r#"{"space":"e5","vector":[1,2,"3"]}"#,
        r#"{"space":"e5","vector":[1,2,1e39]}"#,
        r#"{"space":"e5","vector":[1,2]}"#,
        r#"{"space":"e5","vector":[1,2,3,4]}"#,
        r#"{"space":"e5"}"#,
        r#"{"space":7,"vector":[1,2,3]}"#,
        r#"{"space":null,"vector":[1,2,3]}"#,
        r#"{"vector":[1,2,3]}"#,
    ];
    for embedding in wrong {
        let mut seen = Spaces(Vec::new(), 0);
        let message = format!(r#"{{"time":1,"embedding":{embedding}}}"#);
        LeewayJson.decode(message.as_bytes(), &mut scratch, &mut seen).unwrap();
        assert_eq!((seen.0, seen.1), (vec![None], 1), "{embedding}");
    }
    // Where none is counted nothing of one is looked at but that it is one.
    assert_eq!(decode(r#"{"time":1,"embedding":{"vector":"AAAA"}}"#).unwrap().unknown, 0);
    let list = decode(r#"{"time":1,"embedding":[1,2]}"#).unwrap();
    assert_eq!((list.calls.len(), list.rejects[0].1), (0, "wrong_type"));
}
