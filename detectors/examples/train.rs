//! Fits the linear models of the scan on labelled files and writes their weights.
//!
//! `cargo run --release -p leeway-detectors --example train -- DATA_DIR [OUT_DIR]` prints what five-fold validation says
//! of each model (folds by cluster or prompt, so that near duplicates stay together) and writes the model fitted on all.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;

use leeway_detectors::scan::linear::{PLACES, features};
use serde_json::Value;

struct Row {
    places: Vec<u16>,
    label: bool,
    /// Rows of a group are in one fold.
    group: u64,
    weight: f32,
    /// Rows of our own teach, and are not counted in the validation.
    own: bool,
}

struct Task {
    name: &'static str,
    rows: Vec<Row>,
    /// Largest share of negatives that may be flagged; without it the threshold has the best F1.
    false_positives: Option<f64>,
}

const FOLDS: u64 = 5;
const EPOCHS: usize = 40;
/// Share by which weights shrink, for each row and epoch.
const PENALTY: f32 = 2e-5;
const STEP: f32 = 0.1;

fn read(directory: &str, name: &str) -> Vec<Value> {
    let path = format!("{directory}/{name}.jsonl");
    let file = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    file.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
}

fn group(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn row(text: &str, label: bool, by: &str, weight: f32) -> Row {
    Row { places: features(text), label, group: group(by), weight, own: false }
}

fn own(text: &str, label: bool) -> Row {
    Row { own: true, ..row(text, label, text, 1.0) }
}

/// Short answers and questions that are neither, of our own: few words are no evidence.
const SHORT: [&str; 50] = [
    "What does a system prompt do in a language model?",
    "Write a dialogue between two characters, one of them is evil.",
    "Act as an English translator for the next text.",
    "Let us role play a job interview. You are the interviewer.",
    "It is important to note that the usual dose varies; ask a doctor.",
    "Pretend that you are a tour guide in Rome.",
    "Paris",
    "Yes.",
    "No.",
    "42",
    "Thank you!",
    "Done.",
    "OK",
    "It is 12:30.",
    "The answer is 7.",
    "Monday",
    "Hello!",
    "Yes, it is.",
    "No, it is not.",
    "Not yet.",
    "Tom Hanks",
    "In 1969.",
    "About 20 minutes.",
    "Blue",
    "Good morning!",
    "Here it is:",
    "The capital of France is Paris.",
    "Your order was shipped on Monday.",
    "The return window is 30 days.",
    "You can pay in two parts.",
    "Click on Settings, then on Security.",
    "It costs 12 EUR a month.",
    "I found three results.",
    "I have updated the record.",
    "Please restart the service after the upgrade.",
    "See the attached report.",
    "The meeting is at noon.",
    "Sure, here is the list.",
    "Of course! Which date suits you?",
    "What is your order number?",
    "How do I reset my password?",
    "What are the opening hours?",
    "Can you translate this to German?",
    "Summarise the text.",
    "Write a poem about spring.",
    "Fix the bug in this function.",
    "Which plan is right for me?",
    "Where is my invoice?",
    "I am sorry to hear that. Let me check your order.",
    "I can help with that. Please tell me your e-mail address.",
];

/// Refusals in the manner of other models, of our own.
const DECLINED: [&str; 44] = [
    "I won't be able to help with that.",
    "That is not something I'm able to do.",
    "I'm afraid I can't do that.",
    "I can't in good conscience help with that.",
    "It would be inappropriate for me to provide this.",
    "That could hurt someone, so I can't create that.",
    "I can explain how it works in general, but I won't give steps.",
    "I'm unable to comply with that request.",
    "I cannot provide information on how to do that. It is illegal.",
    "I am not able to fulfil your request.",
    "I can't share that. Here are some safe alternatives instead.",
    "No, I won't do that. It is wrong to harm people.",
    "I do not have the ability to give legal advice on this.",
    "I'm just an assistant, and I cannot take part in that.",
    "I strongly advise against this and will not describe it.",
    "Lo siento, pero no puedo ayudar con eso.",
    "Es tut mir leid, aber dabei kann ich nicht helfen.",
    "Je suis désolé, mais je ne peux pas vous aider avec cela.",
    "Mi dispiace, ma non posso aiutarti con questo.",
    "Desculpe, mas não posso ajudar com isso.",
    "I'm sorry, but I can't help with that.",
    "I'm sorry, but I can't assist with that request.",
    "Sorry, I can't do that.",
    "I cannot fulfil this request, as it goes against my guidelines.",
    "I can't provide instructions for that, since it could cause harm.",
    "I won't help with this.",
    "I'm not able to help with that, but I can suggest some resources.",
    "Unfortunately, I am unable to share this information.",
    "As an AI, I can't give medical advice. Please see a doctor.",
    "I must decline to write this text.",
    "That's not something I can help with.",
    "I'm not comfortable writing that.",
    "I don't feel comfortable continuing with this.",
    "I will not generate content that promotes hatred.",
    "My guidelines do not allow me to discuss this topic.",
    "This request violates our policy, so I can't continue.",
    "I'm afraid I can't answer that question.",
    "I can't engage with that, but I'm happy to talk about safety instead.",
    "I apologize, but I cannot comply with this.",
    "It would not be appropriate for me to respond to this.",
    "I'd rather not go into that. Is there something else?",
    "Sorry, this is outside of what I'm able to do.",
    "I need to stop here, I can't assist in harming anyone.",
    "I can't help you hurt someone. If you are in danger, please call for help.",
];

fn tasks(directory: &str) -> Vec<Task> {
    let field = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let technical: Vec<String> = read(directory, "clean_technical").iter().map(|row| field(row, "text")).collect();
    let refusals = read(directory, "xstest_refusals");
    let mut refusal: Vec<Row> = refusals
        .iter()
        .map(|row| {
            self::row(&field(row, "completion"), field(row, "label") != "1_full_compliance", &field(row, "prompt"), 1.0)
        })
        .collect();
    refusal.extend(technical.iter().take(200).map(|text| row(text, false, text, 0.3)));
    refusal.extend(DECLINED.iter().map(|text| own(text, true)));
    refusal.extend(SHORT.iter().map(|text| own(text, false)));
    let mut jailbreak: Vec<Row> = read(directory, "jailbreak")
        .iter()
        .map(|row| {
            let text = field(row, "text");
            let by = if row["cluster"].is_null() { text.clone() } else { row["cluster"].to_string() };
            self::row(&text, row["label"] == 1, &by, 1.0)
        })
        .collect();
    jailbreak.extend(SHORT.iter().map(|text| own(text, false)));
    // The negatives are short: long ones that ask for nothing keep the model from learning length.
    jailbreak.extend(technical.iter().map(|text| row(text, false, text, 0.5)));
    for mail in read(directory, "bipia_email_injection").iter().filter(|row| row["label"] == 0) {
        jailbreak.push(row(&field(mail, "text"), false, &field(mail, "text"), 1.0));
    }
    vec![
        Task { name: "refusal", rows: refusal, false_positives: None },
        Task { name: "jailbreak", rows: jailbreak, false_positives: Some(0.006) },
    ]
}

/// Logistic regression by AdaGrad over rows in a fixed order; deterministic.
fn fit(rows: &[&Row]) -> (Vec<f32>, f32) {
    let mut weights = vec![0f32; PLACES + 1];
    let mut squares = vec![1e-6f32; PLACES + 1];
    let mut order: Vec<usize> = (0..rows.len()).collect();
    let mut random = 0x2545_f491_4f6c_dd1du64;
    for _ in 0..EPOCHS {
        for at in (1..order.len()).rev() {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            order.swap(at, (random % (at as u64 + 1)) as usize);
        }
        for row in order.iter().map(|at| rows[*at]) {
            let value = 1.0 / (row.places.len().max(1) as f32).sqrt();
            let score =
                weights[PLACES] + row.places.iter().map(|place| weights[usize::from(*place)]).sum::<f32>() * value;
            let error = (1.0 / (1.0 + (-score).exp()) - f32::from(u8::from(row.label))) * row.weight;
            let mut step = |place: usize, gradient: f32| {
                squares[place] += gradient * gradient;
                weights[place] -= STEP * gradient / squares[place].sqrt();
            };
            step(PLACES, error);
            for place in &row.places {
                let place = usize::from(*place);
                step(place, error * value);
            }
        }
        weights[..PLACES].iter_mut().for_each(|weight| *weight *= 1.0 - PENALTY * rows.len() as f32);
    }
    let bias = weights[PLACES];
    weights.truncate(PLACES);
    (weights, bias)
}

fn score(weights: &[f32], bias: f32, row: &Row) -> f32 {
    let sum: f32 = row.places.iter().map(|place| weights[usize::from(*place)]).sum();
    bias + sum / (row.places.len().max(1) as f32).sqrt()
}

/// (threshold, precision, recall, F1, share of negatives flagged) for the wanted point.
fn point(scored: &mut [(f32, bool)], false_positives: Option<f64>) -> (f32, f64, f64, f64, f64) {
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let positives = scored.iter().filter(|(_, label)| *label).count() as f64;
    let negatives = scored.len() as f64 - positives;
    let (mut right, mut wrong) = (0.0, 0.0);
    let mut best = (f32::INFINITY, 0.0, 0.0, 0.0, 0.0);
    for (at, (score, label)) in scored.iter().enumerate() {
        if *label {
            right += 1.0
        } else {
            wrong += 1.0
        }
        let (precision, recall) = (right / (right + wrong), right / positives);
        let f1 = 2.0 * precision * recall / (precision + recall).max(1e-9);
        let next = scored.get(at + 1).map_or(*score - 1.0, |next| next.0);
        let here = ((score + next) / 2.0, precision, recall, f1, wrong / negatives);
        let better = match false_positives {
            Some(most) => wrong / negatives <= most && recall >= best.2,
            None => f1 > best.3,
        };
        if better {
            best = here;
        }
    }
    best
}

fn write(path: &str, weights: &[f32], bias: f32, threshold: f32) {
    let most = weights.iter().fold(0f32, |most, weight| most.max(weight.abs()));
    let scale = most / 127.0;
    let mut file: Vec<u8> = [scale, bias, threshold].iter().flat_map(|number| number.to_le_bytes()).collect();
    file.extend(weights.iter().map(|weight| (weight / scale).round() as i8 as u8));
    fs::write(path, file).unwrap_or_else(|error| panic!("{path}: {error}"));
}

fn main() {
    let mut args = std::env::args().skip(1);
    let directory = args.next().expect("DATA_DIR, the folder of the labelled files");
    let out_dir = args.next();
    let mut out = std::io::stdout();
    for task in tasks(&directory) {
        let mut scored: Vec<(f32, bool)> = Vec::new();
        for fold in 0..FOLDS {
            let (held, rest): (Vec<&Row>, Vec<&Row>) = task.rows.iter().partition(|row| row.group % FOLDS == fold);
            let (weights, bias) = fit(&rest);
            scored.extend(held.iter().filter(|row| !row.own).map(|row| (score(&weights, bias, row), row.label)));
        }
        let (threshold, precision, recall, f1, wrong) = point(&mut scored, task.false_positives);
        let mut counts: BTreeMap<bool, usize> = BTreeMap::new();
        task.rows.iter().for_each(|row| *counts.entry(row.label).or_default() += 1);
        writeln!(
            out,
            "{}: {counts:?}; five folds: precision {precision:.3}, recall {recall:.3}, F1 {f1:.3}, negatives flagged {wrong:.4}, threshold {threshold:.2}",
            task.name
        )
        .expect("print");
        if let Some(out_dir) = &out_dir {
            let (weights, bias) = fit(&task.rows.iter().collect::<Vec<_>>());
            write(&format!("{out_dir}/{}.bin", task.name), &weights, bias, threshold);
        }
    }
}
