//! Drift of embeddings through the whole system: new topics are told with where they come from, and no vector is kept.

use serde_json::Value;

use crate::harness::{Database, Node, address, call, get, kafka, now_us, refused, topic, two_windows};

const MINUTE: i64 = 60_000_000;
const LENGTH: usize = 48;

/// Numbers between -1 and 1 of a fixed sequence.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// An embedding of a text about a topic.
fn vector(topic: u64, noise: &mut Noise) -> Vec<f32> {
    let mut middle = Noise(topic.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    (0..LENGTH).map(|_| middle.next() + 0.7 * noise.next()).collect()
}

/// Calls about eight topics; of every hundred `novel` are about one more, all on one route. Two of three say their embedding.
fn calls(at: i64, (name, n): (&str, usize), novel: usize) -> Vec<String> {
    let mut noise = Noise(at as u64);
    let one = |i: usize| {
        let new = i * 37 % 100 < novel;
        let (topic, route) = if new { (77, "returns") } else { (i as u64 % 8 + 1, "chat") };
        let call = call(&format!("{name}-{i}"), at + i as i64 * 20_000, "shop", 100.0);
        let embedding = match i % 3 {
            0 => String::new(),
            _ => format!("\"embedding\":{},", serde_json::json!({"space": "e5", "vector": vector(topic, &mut noise)})),
        };
        call.replacen("\"status\"", &format!("\"route\":\"{route}\",{embedding}\"status\""), 1)
    };
    (0..n).map(one).collect()
}

fn rules(start: i64) -> String {
    let time = |at: i64| leeway_core::clock::rfc3339(at);
    let reference = format!("{{ from = \"{}\", to = \"{}\" }}", time(start - 10 * MINUTE), time(start));
    [("moved", "e5", 0.1), ("huge", "e5", 1.5), ("other", "ada", 0.1)]
        .map(|(id, space, effect)| {
            format!(
                "[[rule]]\nid = \"{id}\"\nkind = \"drift\"\nmeasure = \"embedding.{space}\"\nmin_effect = {effect}\nby = [\"app\"]\nwindow = \"5m\"\nreference = {reference}\nseverity = \"ticket\"\n\n"
            )
        })
        .concat()
}

#[test]
fn what_texts_are_about_is_told_by_their_embeddings() {
    kafka();
    let (database, topic) = (Database::new(), topic(2));
    let start = (now_us() - 120 * MINUTE) / MINUTE * MINUTE;
    let mut node = Node::new(&database, &topic);
    node.rules = rules(start);
    node.variables = vec![("LEEWAY_TEST_FAULT".into(), "clock=off".into())];
    node.extra = format!("[scan]\nembeddings = {{ e5 = {LENGTH}, ada = 8 }}\n");
    let process = node.start();
    let novel = |present: bool| if present { 30 } else { 0 };
    two_windows((&database, &topic, 3), start, |at, of, present| calls(at, of, novel(present)), 900);
    let moved = database.evidence("moved", "firing");
    println!("  {}", serde_json::to_string(&moved).unwrap());
    let number = |value: &Value| value.as_f64().unwrap();
    // Three of ten texts are about something else, as far off as the others are from one another.
    let (low, effect, high) = (number(&moved["low"]), number(&moved["value"]), number(&moved["high"]));
    assert!(0.1 < low && low < effect && effect < high && (0.12..0.4).contains(&effect), "{low} {effect} {high}");
    assert_eq!((&moved["unit"], &moved["drift"]["test"]), (&"deviations".into(), &"mmd".into()));
    assert!(number(&moved["drift"]["p"]) < 1e-6 && number(&moved["drift"]["reference_n"]) > 500.0, "{moved:#}");
    // Where they come from: along the way from what was to what is.
    assert_eq!(
        (&moved["moved"]["label"], &moved["moved"]["carriers"][0]["value"]),
        (&"route".into(), &"returns".into())
    );
    assert_eq!(database.evidence("huge", "inactive")["drift"]["p"], moved["drift"]["p"]);
    // A space that nothing was sent of has nothing to compare, which is said.
    assert_eq!(database.evidence("other", "no_data")["n"], 0);
    let print = database.query("SELECT fingerprint FROM alert WHERE rule = 'moved'").unwrap()[0][0].clone();
    let url = address(&process);
    let page = get(&format!("{url}/alerts/{print}"));
    assert!(page.contains("maximum mean discrepancy") && page.contains("embedding.e5"), "{page}");
    std::fs::write(std::path::Path::new(&std::env::var("LEEWAY_TEST_OUT").unwrap()).join("embedding.html"), page)
        .unwrap();
    // Sums of features are kept, a few kilobytes however many vectors: nothing that grows with them.
    let bytes = database.number("SELECT max(length(sketches)) FROM pane_delta");
    assert!(bytes < 6_000, "{bytes}");
}

#[test]
fn embeddings_are_counted_only_where_the_settings_say_so() {
    for (scan, says) in [
        ("", "rule moved: `embedding.e5` is counted only where the settings say scan.embeddings"),
        ("[scan]\nembeddings = { e5 = 48 }\n", "rule other: `embedding.ada` is counted only where"),
        ("[scan]\nembeddings = { e5 = 48 }\ncontent_free = true\n", "scan.content_free forbids that"),
        ("[scan]\nembeddings = { e5 = 0 }\n", "vectors of `e5` have 0 numbers; 1 to 16384"),
    ] {
        let error = refused(&rules(now_us()), scan);
        assert!(error.contains(says), "{scan}: {error}");
    }
}
