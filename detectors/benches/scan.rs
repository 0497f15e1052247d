//! What the scan costs: MB/s of the whole detector over several texts, beside all its shapes as one regular expression
//! that only searches, in the same run.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use leeway_core::event::{Call, Part, Text};
use leeway_core::words::{Vocabulary, Words};
use leeway_detectors::scan::fingerprint::Keyring;
use leeway_detectors::scan::{Scanner, find, safety};
use regex_automata::meta::Regex;
use regex_automata::util::syntax;
use regex_automata::{Input, MatchKind, PatternSet};

/// Best of so many rounds, each at least so long.
const ROUNDS: usize = 7;
const SECONDS: f64 = 0.3;

fn rate(texts: &[String], mut scan: impl FnMut(&str)) -> f64 {
    let bytes: usize = texts.iter().map(String::len).sum();
    let round = |scan: &mut dyn FnMut(&str)| {
        let (began, mut n) = (Instant::now(), 0);
        while began.elapsed().as_secs_f64() < SECONDS {
            texts.iter().for_each(|text| scan(text));
            n += 1;
        }
        (bytes * n) as f64 / began.elapsed().as_secs_f64() / 1e6
    };
    (0..ROUNDS).map(|_| round(&mut scan)).fold(0.0, f64::max)
}

/// Texts of a labelled file, where it lies beside the project.
fn rows(name: &str) -> Vec<String> {
    let path = format!("{}/../../shared/data/pii-safety/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let Ok(file) = std::fs::read_to_string(path) else { return Vec::new() };
    file.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|row| row["text"].as_str().map(str::to_owned))
        .collect()
}

/// A call of so many bytes of text: a prompt, a document and an answer with an address and a number in it.
fn call(bytes: usize) -> [String; 3] {
    let words = "The customer asked how the invoice of the last month could be paid in two parts without a fee. ";
    let part = |share: usize| words.repeat(bytes * share / 100 / words.len() + 1)[..bytes * share / 100].to_owned();
    [part(30), part(40), format!("{} Write to jane.roe@acme.io or call +44 20 7183 8750.", &part(30)[54..])]
}

/// Microseconds that the scan of a call takes, best of all rounds.
fn cost(texts: &[String; 3], scanner: &Scanner) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for n in 0..4_000i64 {
            let text = |part, text| Text::new(part, text);
            let texts = vec![
                text(Part::Input, texts[0].as_str()),
                text(Part::Document, texts[1].as_str()),
                text(Part::Output, texts[2].as_str()),
            ];
            black_box(scanner.scan(&Call { texts, time: n * 7_919, ..Call::default() }));
        }
        best = best.min(began.elapsed().as_secs_f64() * 1e6 / 4_000.0);
    }
    best
}

/// Calls of three texts, a question, a document and an answer, of which one in so many is examined for marks.
fn whole(texts: &[String]) {
    let calls: Vec<String> = texts.chunks_exact(3).map(|three| three.join("\0")).collect();
    let [values, sampled, all] = [0, 16, 1].map(|examine_every| {
        let (scanner, mut time) = (Scanner { examine_every, ..Scanner::default() }, 0);
        rate(&calls, |call| {
            time += 7_919;
            let parts = [Part::Input, Part::Document, Part::Output].into_iter().zip(call.split('\0'));
            let texts = parts.map(|(part, text)| Text::new(part, text)).collect();
            black_box(scanner.scan(&Call { texts, time, ..Call::default() }));
        })
    });
    println!(
        "calls of mixed texts: values {values:.0} MB/s, with marks of one call in 16 {sampled:.0} MB/s, of all {all:.0} MB/s"
    );
}

/// All patterns as one set that only says which of them are somewhere in a text: no places, no checks, no words beside.
fn set() -> Regex {
    let syntax = syntax::Config::new().unicode(false).utf8(false);
    let config = Regex::config().utf8_empty(false).match_kind(MatchKind::All).nfa_size_limit(None);
    let patterns = leeway_detectors::scan::patterns();
    Regex::builder().syntax(syntax).configure(config).build_many(&patterns).expect("the scan's own patterns")
}

/// What the words of so many texts take in a pane.
fn counted(texts: &[String]) {
    let vocabulary = Vocabulary::default();
    for n in [1, 30, 1_000] {
        let (mut words, mut bytes) = (Words::default(), Vec::new());
        let of = texts.iter().cycle().take(n);
        of.clone().for_each(|text| words.add(&vocabulary.places([text.as_str()].into_iter())));
        words.encode(&mut bytes);
        let mean = of.map(String::len).sum::<usize>() / n;
        println!("words of {n} mixed texts of {mean} bytes: {} bytes in a pane", bytes.len());
    }
}

fn main() {
    let words = "The customer asked how the invoice of the last month could be paid in two parts without a fee, and whether the plan would change. ";
    let prose = vec![words.repeat(16); 64];
    let mut mixed = rows("clean_technical");
    mixed.extend(rows("presidio_research").into_iter().take(800));
    mixed.extend(rows("gen_hard_negative").into_iter().take(400));
    let set = set();
    println!("{:>16} {:>12} {:>16} {:>14}", "text", "values MB/s", "bare set MB/s", "marks MB/s");
    let hostile: Vec<(&str, String)> =
        ["a@", "1 ", "1-", "+1", "DE89 ", "ghp_", "(2", "9", "eyJ", "A-", "key=", "token: 1a"]
            .into_iter()
            .map(|unit| (unit, unit.repeat(400_000 / unit.len())))
            .collect();
    let dense = rows("gen_pii");
    // As lines of one text, and each alone: then a third of the time is spent on beginning and ending.
    let lines = Some(dense.join("\n")).filter(|lines| !lines.is_empty()).into_iter().collect();
    let sets = [("prose", prose), ("mixed", mixed), ("dense", dense), ("dense lines", lines)];
    let hostile = hostile.into_iter().map(|(name, text)| (name, vec![text]));
    // `-- dense 500` looks for values alone, in one text, so many times: for a profiler.
    let mut arguments = std::env::args().skip(1).filter(|only| !only.starts_with('-'));
    let (only, times) = (arguments.next(), arguments.next().and_then(|times| times.parse::<usize>().ok()));
    for bytes in [1_024, 4_096].into_iter().filter(|_| only.is_none()) {
        let texts = call(bytes);
        let scanner = |examine_every| Scanner { examine_every, ..Scanner::default() };
        let [values, sampled, all] = [0, 16, 1].map(|every| cost(&texts, &scanner(every)));
        let compared = cost(&texts, &Scanner { keys: Some(Keyring::new([1; 32])), ..scanner(16) });
        let worded = cost(&texts, &Scanner { words: Some(Arc::default()), ..scanner(1) });
        println!(
            "a call of {bytes} bytes: values {values:.2} us, with marks of one call in 16 {sampled:.2} us, of all {all:.2} us; one in 16 and fingerprints {compared:.2} us; all, with their words {worded:.2} us"
        );
    }
    if only.is_none() {
        counted(&sets[1].1);
        whole(&sets[1].1);
    }
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    for (name, texts) in sets.into_iter().chain(hostile).filter(|(name, _)| wanted(name)) {
        if texts.is_empty() {
            println!("{name:>16} skipped: no labelled files beside the project");
            continue;
        }
        if let Some(times) = times {
            texts.iter().cycle().take(times * texts.len()).for_each(|text| {
                black_box(find(text.as_bytes()));
            });
            continue;
        }
        let scan = rate(&texts, |text| {
            black_box(find(text.as_bytes()));
        });
        let marks = rate(&texts, |text| {
            black_box(safety::answer(text, &[]).chain(safety::input(text)).count());
        });
        let mut which = PatternSet::new(set.pattern_len());
        let bare = rate(&texts, |text| {
            which.clear();
            set.which_overlapping_matches(&Input::new(text), &mut which);
            black_box(which.len());
        });
        println!("{name:>16} {scan:>12.1} {bare:>16.1} {marks:>14.1}");
    }
}
