//! Traffic: who calls which model when, with how many tokens. Arrivals and tokens come from real traces or their
//! published figures; texts, latencies and errors are invented and marked as simulated.

pub mod figures;
pub mod history;
pub mod otlp;
pub mod said;
pub mod trace;

use std::fmt::Write;

use leeway_core::clock::{Micros, rfc3339};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, LogNormal};

/// One call, before its outcome is drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrival {
    /// µs since the start of the traffic.
    pub at: Micros,
    pub tenant: String,
    pub app: String,
    pub route: String,
    pub provider: &'static str,
    pub model: &'static str,
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cache_read: Option<u64>,
    pub reasoning: Option<u64>,
}

/// A call as it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulated {
    pub arrival: Arrival,
    pub id: String,
    /// Completion.
    pub time: Micros,
    pub status: &'static str,
    pub error_class: Option<&'static str>,
    pub duration_ms: f64,
    pub ttft_ms: f64,
    /// What the demo's calls say, and what is thought of it.
    pub said: Option<said::Said>,
}

/// What goes wrong in a simulated incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Incident {
    None,
    /// Calls of one app take several times as long.
    Latency,
    /// Answers of one app lose their ground: fewer are judged grounded, fewer users get what they came for.
    Quality,
    /// Answers of one app give away personal data that nobody asked about.
    Pii,
    /// One app's prompts grow sixteen-fold: cost rises, answers and latency hardly change.
    Cost,
}

pub const RELEASE: &str = "2026.11.3";
pub const ENVIRONMENT: &str = "production";
/// Share of simulated calls that fail while nothing is wrong.
pub const ERROR_SHARE: f64 = 0.006;

/// How outcomes are drawn.
#[derive(Debug, Clone, Copy)]
pub struct Outcomes {
    pub seed: u64,
    pub incident: Incident,
    /// Share of calls that fail.
    pub errors: f64,
}

/// Draws the outcome of an arrival: time to first token grows with the input, the rest with the output.
pub fn simulate(
    mut arrival: Arrival,
    start: Micros,
    sequence: u64,
    outcomes: Outcomes,
    rng: &mut ChaCha8Rng,
) -> Simulated {
    let Outcomes { seed, incident, errors } = outcomes;
    let asked = arrival.input_tokens as f64;
    let stuffed = if incident == Incident::Cost { 15 * arrival.input_tokens } else { 0 };
    arrival.input_tokens += stuffed;
    let noise = LogNormal::new(0.0, 0.35).map_or(1.0, |distribution| distribution.sample(rng));
    let slow = if incident == Incident::Latency { 6.0 } else { 1.0 };
    let ttft_ms = (180.0 + 0.04 * asked + 0.01 * stuffed as f64) * noise * slow;
    let mut duration_ms = ttft_ms + 9.0 * arrival.output_tokens as f64 * noise * slow.min(3.0);
    let mut failure = None;
    if rng.random::<f64>() < errors {
        failure = Some(if rng.random::<f64>() < 0.6 { "rate_limit" } else { "server" });
        duration_ms = 120.0 * noise;
        arrival.output_tokens = 0;
    }
    let (ttft_ms, duration_ms) = ((ttft_ms * 1000.0).round() / 1000.0, (duration_ms * 1000.0).round() / 1000.0);
    let time = start + arrival.at + (duration_ms * 1000.0) as Micros;
    Simulated {
        id: format!("sim-{seed}-{sequence}"),
        time,
        status: if failure.is_some() { "error" } else { "ok" },
        error_class: failure,
        duration_ms,
        ttft_ms,
        arrival,
        said: None,
    }
}

/// Leeway JSON, padded with invented text to at least `bytes`.
pub fn write_json(call: &Simulated, bytes: usize, out: &mut String) {
    let a = &call.arrival;
    out.clear();
    let _ = write!(
        out,
        r#"{{"v":1,"kind":"call","id":"{}","time":"{}","tenant":"{}","app":"{}","route":"{}","environment":"{ENVIRONMENT}","release":"{RELEASE}","operation":"chat","provider":"{}","request_model":"{}","status":"{}","duration_ms":{},"#,
        call.id,
        rfc3339_micro(call.time),
        a.tenant,
        a.app,
        a.route,
        a.provider,
        a.model,
        call.status,
        call.duration_ms
    );
    if let Some(class) = call.error_class {
        let _ = write!(out, r#""error_class":"{class}","#);
    } else {
        let _ = write!(out, r#""ttft_ms":{},"stream":true,"finish_reasons":["stop"],"#, call.ttft_ms);
    }
    let _ = write!(out, r#""tokens":{{"input":{},"output":{}"#, a.input_tokens, a.output_tokens);
    for (name, value) in [("cache_read", a.cache_read), ("reasoning", a.reasoning.map(|r| r.min(a.output_tokens)))] {
        if let Some(value) = value {
            let _ = write!(out, r#","{name}":{value}"#);
        }
    }
    out.push_str("}}");
    if let Some(said) = &call.said {
        out.pop();
        said.write(out);
        out.push('}');
    }
    if out.len() + 140 < bytes {
        out.pop();
        out.push_str(r#","text":{"input":"Where is order 4711?","output":""#);
        said_at_length(call.time as u64, bytes, out);
        out.push_str("\"}}");
    }
}

/// Invented sentences, drawn by a seed: six numbers in a thousand bytes, between talk (two) and technical texts (ten).
const SENTENCES: [&str; 10] = [
    "Thank you for asking about your order, which left our store in the afternoon. ",
    "It should reach you within three working days, sooner if you live in the city. ",
    "Order 4711 was packed on 2026-11-03 together with the spare parts that you asked for. ",
    "If nobody is at home, the driver leaves a card, and you can choose another day on our page until 18:00. ",
    "Please keep the box for as long as you may want to send something back. ",
    "The parcel weighs 2.35 kg, so one person can carry it up the stairs. ",
    "Our colleagues in the workshop will look at the old part and tell you what it was that broke. ",
    "You pay nothing for the repair, since the warranty covers this kind of damage. ",
    "Should the noise come back, write to us again and say at which speed you hear it. ",
    "The manual tells on page 12 how the cover is closed, and there is a short film about it. ",
];

/// An answer that fills the event up to `bytes`; one in ten gives an address and a number away.
fn said_at_length(seed: u64, bytes: usize, out: &mut String) {
    // Knuth's MMIX generator.
    let next = |state: u64| state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let mut state = next(seed);
    if (state >> 33).is_multiple_of(10) {
        out.push_str("We wrote to ann@mail.simulated.io, and the hotline +49 30 90182001 knows more. ");
    }
    while out.len() + 3 < bytes {
        state = next(state);
        let sentence = SENTENCES[(state >> 33) as usize % SENTENCES.len()];
        out.push_str(&sentence[..(bytes - out.len() - 3).min(sentence.len())]);
    }
}

/// The hot loop's RFC 3339, to the microsecond.
fn rfc3339_micro(at: Micros) -> String {
    let text = rfc3339(at);
    format!("{}.{:06}Z", &text[..19], at.rem_euclid(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn written_calls_are_of_the_asked_size_and_parse() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let arrival = figures::Figures::load().unwrap().arrivals(1, 5.0).next().unwrap();
        let outcomes = Outcomes { seed: 1, incident: Incident::None, errors: 0.0 };
        let call = simulate(arrival, 1_795_225_535_000_000, 7, outcomes, &mut rng);
        for bytes in [0, 1024, 4096] {
            let mut out = String::new();
            write_json(&call, bytes, &mut out);
            assert!(out.len() >= bytes && out.len() <= bytes.max(700), "{} for {bytes}", out.len());
            let json: serde_json::Value = serde_json::from_str(&out).unwrap();
            assert_eq!(json["tokens"]["input"].as_u64(), Some(call.arrival.input_tokens));
            assert_eq!(leeway_core::clock::parse_rfc3339(json["time"].as_str().unwrap()), Some(call.time));
        }
    }
}
