use leeway_core::event::{ERROR_CLASSES, Event, FINISH_REASONS, Reject, Status, Tokens};

use crate::{Headers, Options, Reader, Scratch, Sink, UserKey};

#[derive(Debug)]
struct Told {
    status: Status,
    class: &'static str,
    tokens: Tokens,
    finish: Vec<&'static str>,
    texts: usize,
    /// A first piece was timed.
    first: bool,
}

#[derive(Default)]
struct Seen {
    calls: Vec<Told>,
    names: Vec<[u8; 16]>,
    feedback: Vec<(String, serde_json::Value)>,
}

impl Sink for Seen {
    fn record(&mut self, _: u32, decoded: Result<Event<'_>, Reject>) {
        match decoded.unwrap() {
            Event::Call(call) => {
                self.names.extend(call.name());
                self.calls.push(Told {
                    status: call.status,
                    class: call.error_class.map_or("", |class| ERROR_CLASSES[usize::from(class)]),
                    tokens: call.tokens,
                    finish: call.finish_reasons.iter().map(|reason| FINISH_REASONS[usize::from(*reason)]).collect(),
                    texts: call.texts.len(),
                    first: call.ttft_us.is_some(),
                });
                assert!(call.duration_us.is_some() && call.provider == "openai" && call.time > 0);
            }
            Event::Record(record) => {
                let body: serde_json::Value = serde_json::from_str(&record.body).unwrap();
                self.feedback.push((record.name, body));
            }
        }
    }
    fn unknown_fields(&mut self, _: u32) {}
    fn skipped(&mut self, _: u32) {}
}

fn read(files: &[&str]) -> Seen {
    let (mut seen, root) = (Seen::default(), std::path::Path::new(env!("CARGO_MANIFEST_DIR")));
    for file in files {
        let bytes = std::fs::read(root.join("../tests/data/otlp").join(file)).unwrap();
        let options = Options::new(16 << 20, 64, UserKey::new([0; 32]));
        Reader::default().decode(&bytes, &Headers::default(), &mut Scratch::new(options), &mut seen).unwrap();
    }
    seen
}

/// Eight calls through one proxy: five went well (one streamed, one with 1,024 cached tokens), three failed.
#[test]
fn captured_payloads_equal_the_truth() {
    let seen = read(&[
        "litellm/generic_api/mix.log.json",
        "litellm/generic_api/mix.2.log.json",
        "litellm/generic_api/mix.3.log.json",
        "litellm/generic_api/mix.4.log.json",
    ]);
    assert_eq!(seen.calls.len(), 8);
    let sum = |of: fn(&Tokens) -> Option<u64>| seen.calls.iter().filter_map(|call| of(&call.tokens)).sum::<u64>();
    assert_eq!((sum(|t| t.input), sum(|t| t.output), sum(|t| t.cache_read)), (2012, 124, 1024));
    let (failed, well): (Vec<&Told>, Vec<&Told>) = seen.calls.iter().partition(|call| call.status.failed());
    let mut classes: Vec<&str> = failed.iter().map(|call| call.class).collect();
    classes.sort_unstable();
    assert_eq!(classes, ["rate_limit", "server", "timeout"]);
    assert!(failed.iter().all(|call| call.tokens == Tokens::default()), "zeros of failed calls are unknown");
    let finish: Vec<&str> = well.iter().flat_map(|call| call.finish.iter().copied()).collect();
    assert_eq!((finish.iter().filter(|word| **word == "stop").count(), finish.len()), (3, 4));
    assert!(well.iter().all(|call| call.texts > 0), "texts are read");
    assert_eq!(seen.calls.iter().filter(|call| call.first).count(), 1, "the stream alone has a first piece");
}

/// The proxy's own log and its spans are two records of each call that has a response.
#[test]
fn a_response_names_the_call_in_both_telemetries() {
    let seen = read(&["litellm/generic_api/mix.log.json", "litellm/generic_api/mix.log.json"]);
    assert_eq!(seen.names.len(), 2);
    assert_eq!(seen.names[0], seen.names[1]);
}

#[test]
fn captured_langfuse_scores_are_feedback() {
    let seen = read(&["langfuse/on/score.scores.json"]);
    let told: Vec<(&str, String, Vec<String>)> = seen
        .feedback
        .iter()
        .map(|(name, body)| {
            (name.as_str(), body["value"].to_string(), body["target"].as_object().unwrap().keys().cloned().collect())
        })
        .collect();
    let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        told,
        [
            ("user_feedback", "true".to_owned(), keys(&["trace_id"])),
            ("faithfulness", "0.83".to_owned(), keys(&["span_id", "trace_id"])),
            ("tone", "\"formal\"".to_owned(), keys(&["trace_id"])),
            ("csat", "4.0".to_owned(), keys(&["session"])),
        ]
    );
}
