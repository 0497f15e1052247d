//! Canada: SIN. Mexico: CURP.

use leeway_core::scan::Entity;

use super::super::candidate::Candidate;
use super::super::check::{luhn, short_date};
use super::{Kind, Shape};

pub(super) static KINDS: &[Kind] = &[
    Kind {
        entity: Entity::CaSin,
        shapes: &[Shape(r"\d{3}-\d{3}-\d{3}", -3.5), Shape(r"\d{3} \d{3} \d{3}", -5.0), Shape(r"\d{9}", -9.0)],
        words: &[
            "social ins",
            "canadian sin",
            "numéro d'assurance sociale",
            "assurance sociale",
            "canada sin",
            "sin card",
            "social insurance",
            "SIN",
            "NAS",
            "sin number",
            "sin no",
            "sin#",
        ],
        check: |candidate| {
            let digits = candidate.digits()?;
            (!matches!(digits[0], 0 | 8) && luhn(digits)).then_some(3.6)
        },
        ..Kind::NUMBER
    },
    Kind {
        entity: Entity::MxCurp,
        shapes: &[Shape(r"(?i-u:[A-Z]{4}\d{6}[HMX][A-Z]{5}[0-9A-Z]\d)", 1.0)],
        words: &[
            "población",
            "mexican id",
            "clave de registro",
            "curp",
            "clave única",
            "clave unica",
            "registro de población",
        ],
        check: curp,
        ..Kind::WORD
    },
];

/// Modulo 10 over the 37 letters of the alphabet with Ñ (RENAPO).
fn curp(candidate: &Candidate<'_>) -> Option<f32> {
    let text = candidate.compact();
    let value = |byte: u8| match byte {
        b'0'..=b'9' => u32::from(byte - b'0'),
        b'A'..=b'N' => u32::from(byte - b'A') + 10,
        // Ñ is between N and O.
        _ => u32::from(byte - b'A') + 11,
    };
    let sum: u32 = text[..17].iter().zip((2..=18).rev()).map(|(byte, weight)| value(*byte) * weight).sum();
    let right = (10 - sum % 10) % 10 == u32::from(text[17] - b'0');
    (right && short_date(candidate.digits_of(4..10)?)).then_some(7.0)
}
