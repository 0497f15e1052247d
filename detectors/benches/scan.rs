//! What the scan costs: MB/s of the whole detector over several texts, beside all its shapes as one regular expression
//! that only searches, in the same run.

use std::hint::black_box;
use std::time::Instant;

use leeway_detectors::scan::{find, safety};

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

fn main() {
    let words = "The customer asked how the invoice of the last month could be paid in two parts without a fee, and whether the plan would change. ";
    let prose = vec![words.repeat(16); 64];
    let mut mixed = rows("clean_technical");
    mixed.extend(rows("presidio_research").into_iter().take(800));
    mixed.extend(rows("gen_hard_negative").into_iter().take(400));
    println!("{:>16} {:>12} {:>14}", "text", "values MB/s", "marks MB/s");
    let hostile: Vec<(&str, String)> =
        ["a@", "1 ", "1-", "+1", "DE89 ", "ghp_", "(2", "9", "eyJ", "A-", "key=", "token: 1a"]
            .into_iter()
            .map(|unit| (unit, unit.repeat(400_000 / unit.len())))
            .collect();
    let sets = [("prose", prose), ("mixed", mixed), ("dense", rows("gen_pii"))];
    let hostile = hostile.into_iter().map(|(name, text)| (name, vec![text]));
    let only = std::env::args().nth(1).filter(|only| !only.starts_with('-'));
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    for (name, texts) in sets.into_iter().chain(hostile).filter(|(name, _)| wanted(name)) {
        if texts.is_empty() {
            println!("{name:>16} skipped: no labelled files beside the project");
            continue;
        }
        let scan = rate(&texts, |text| {
            black_box(find(text.as_bytes()));
        });
        let marks = rate(&texts, |text| {
            black_box(safety::answer(text).chain(safety::input(text)).count());
        });
        println!("{name:>16} {scan:>12.1} {marks:>14.1}");
    }
}
