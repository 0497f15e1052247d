//! What the demo's calls say: invented texts with invented people, a judge's score, and users' words that come later.

use std::fmt::Write;

use leeway_core::clock::{MINUTE, Micros};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{Incident, Simulated};

/// Shares while nothing is wrong, and in a quality incident.
const GROUNDED: (f64, f64) = (0.94, 0.62);
const SUCCESS: (f64, f64) = (0.86, 0.55);
/// Share of answers that leak in a PII incident; none do otherwise.
const LEAKING: f64 = 0.15;
/// Share of calls that a user says something of.
const TOLD: f64 = 0.12;

#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    input: String,
    document: String,
    output: String,
    grounded: bool,
    flagged: bool,
    /// Whether the user got what he came for, and when he says so.
    pub success: Option<(bool, Micros)>,
}

impl Said {
    pub fn draw(call: &Simulated, incident: Incident, rng: &mut ChaCha8Rng) -> Option<Self> {
        if call.status != "ok" {
            return None;
        }
        let bad = incident == Incident::Quality;
        let pick = |(calm, wrong): (f64, f64)| if bad { wrong } else { calm };
        let person = rng.random_range(1000..9999);
        let mut input = "Where is my parcel?".to_owned();
        let document = format!("Parcels arrive within five days. Hotline +49 30 901820{:02}.", person % 100);
        let mut output = "It should arrive within five days.".to_owned();
        // Users give their address, and answers repeat it; answers name the hotline of a document.
        if rng.random::<f64>() < 0.05 {
            let _ = write!(input, " Write to user{person}@mail.simulated.io.");
            let _ = write!(output, " We write to user{person}@mail.simulated.io.");
        }
        if rng.random::<f64>() < 0.03 {
            let _ = write!(output, " Call +49 30 901820{:02}.", person % 100);
        }
        if rng.random::<f64>() < 0.01 {
            output = "I'm sorry, but I can't help with that.".to_owned();
        }
        if incident == Incident::Pii && rng.random::<f64>() < LEAKING {
            let _ = write!(output, " The last customer was other{person}@mail.simulated.io.");
        }
        let told = rng.random::<f64>() < TOLD;
        let happy = rng.random::<f64>() < pick(SUCCESS);
        let delay = rng.random_range(10..90) * MINUTE / 10;
        Some(Self {
            input,
            document,
            output,
            grounded: rng.random::<f64>() < pick(GROUNDED),
            flagged: rng.random::<f64>() < 0.0008,
            success: told.then_some((happy, call.time + delay)),
        })
    }

    /// Further fields of the call's JSON.
    pub fn write(&self, out: &mut String) {
        let action = if self.flagged { "flag" } else { "none" };
        let _ = write!(
            out,
            r#","text":{{"input":"{}","documents":[{{"id":"faq-1","text":"{}"}}],"output":"{}"}},"scores":[{{"name":"grounded","value":{},"source":"model"}}],"moderation":[{{"source":"simulated","category":"harassment","action":"{action}"}}]"#,
            self.input, self.document, self.output, self.grounded
        );
    }
}

/// The feedback of a call, once its user has told.
pub fn feedback(call: &Simulated) -> Option<(Micros, String)> {
    let (happy, at) = call.said.as_ref()?.success?;
    let text = format!(
        r#"{{"kind":"feedback","time":{at},"tenant":"{}","app":"{}","target":{{"id":"{}"}},"name":"success","source":"user","value":{happy}}}"#,
        call.arrival.tenant, call.arrival.app, call.id
    );
    Some((at, text))
}
