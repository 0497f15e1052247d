//! India: Aadhaar, PAN, GSTIN.

use leeway_core::scan::Entity;

use super::super::candidate::Candidate;
use super::super::check::{base36, number, verhoeff};
use super::{Kind, Shape};

pub(super) static KINDS: &[Kind] = &[
    Kind {
        entity: Entity::InAadhaar,
        shapes: &[
            Shape(r"[2-9]\d{3} \d{4} \d{4}", -3.0),
            Shape(r"[2-9]\d{3}-\d{4}-\d{4}", -3.0),
            Shape(r"[2-9]\d{11}", -9.0),
        ],
        words: &[
            "adhar",
            "aadhaar card",
            "uid number",
            "aadhaar",
            "aadhar",
            "uidai",
            "UID",
            "unique identification",
            "आधार नंबर",
            "adhaar",
            "आधार",
        ],
        check: |candidate| verhoeff(candidate.digits()?).then_some(3.6),
        ..Kind::NUMBER
    },
    Kind {
        entity: Entity::InPan,
        shapes: &[Shape(r"(?i-u:[A-Z]{3}[ABCFGHJLPT][A-Z]\d{4}[A-Z])", -2.0)],
        words: &[
            "पैन",
            "tax pan",
            "pan id",
            "p.a.n.",
            "pan is",
            "pan:",
            "indian tax",
            "permanent account",
            "PAN",
            "income tax",
            "pan card",
            "pan number",
            "pan no",
        ],
        check: |candidate| (number(candidate.digits_of(5..9)?) > 0).then_some(0.5),
        ..Kind::WORD
    },
    Kind {
        entity: Entity::InGstin,
        shapes: &[Shape(r"(?i-u:\d{2}[A-Z]{3}[ABCFGHJLPT][A-Z]\d{4}[A-Z][0-9A-Z]Z[0-9A-Z])", 1.0)],
        words: &[
            "gst no",
            "gst id",
            "tax id",
            "tax registration",
            "gst",
            "gstin",
            "goods and services",
            "goods and services tax",
        ],
        check: gstin,
        ..Kind::WORD
    },
];

/// Modulo 36: weights 1 and 2 in turn, quotient and remainder added.
fn gstin(candidate: &Candidate<'_>) -> Option<f32> {
    let text = candidate.compact();
    let sum: u32 = text[..14]
        .iter()
        .enumerate()
        .map(|(place, byte)| {
            let product = base36(*byte) * (1 + place as u32 % 2);
            product / 36 + product % 36
        })
        .sum();
    let state = number(candidate.digits_of(0..2)?);
    ((1..=38).contains(&state) && (36 - sum % 36) % 36 == base36(text[14])).then_some(5.2)
}
