//! Brazil: CPF and CNPJ (with letters since July 2026: the value of a character is its code less 48).

use leeway_core::scan::Entity;

use super::{Kind, Shape};

pub(super) static KINDS: &[Kind] = &[
    Kind {
        entity: Entity::BrCpf,
        shapes: &[
            Shape(r"\d{3}\.\d{3}\.\d{3}\.\d{2}", -3.0),
            Shape(r"\d{9}/\d{2}", -4.0),
            Shape(r"\d{3}\.\d{3}\.\d{3}-\d{2}", 2.0),
            Shape(r"\d{3} \d{3} \d{3}[ -]\d{2}", -4.0),
            Shape(r"\d{9}-\d{2}", -4.0),
            Shape(r"\d{11}", -9.0),
        ],
        words: &[
            "cpf/mf",
            "brazilian tax",
            "tax id",
            "documento",
            "cpf",
            "cadastro de pessoas",
            "contribuinte",
            "pessoa física",
        ],
        check: |candidate| two_digits(candidate.compact(), 11),
        ..Kind::NUMBER
    },
    Kind {
        entity: Entity::BrCnpj,
        shapes: &[
            Shape(r"\d{8}-\d{4}-\d{2}", -4.0),
            Shape(r"(?i-u:[0-9A-Z]{2}\.[0-9A-Z]{3}\.[0-9A-Z]{3}/[0-9A-Z]{4}-\d{2})", 3.0),
            Shape(r"\d{8}/\d{4}-\d{2}", 0.0),
            Shape(r"\d{2} \d{3} \d{3} \d{4}[ -]\d{2}", -4.0),
            Shape(r"(?i-u:[0-9A-Z]{12}\d{2})", -9.0),
        ],
        words: &[
            "company tax",
            "brazilian company",
            "razão social",
            "cnpj",
            "cadastro nacional",
            "pessoa jurídica",
            "empresa",
        ],
        check: |candidate| two_digits(candidate.compact(), 9),
        ..Kind::WORD
    },
];

/// Two digits modulo 11; weights count from 2 at the right and start again after `most`.
fn two_digits(text: &[u8], most: u32) -> Option<f32> {
    let value = |byte: u8| u32::from(byte) - 48;
    let digit = |n: usize| {
        let weights = (0u32..).map(|place| 2 + place % (most - 1));
        let sum: u32 = text[..n].iter().rev().zip(weights).map(|(byte, weight)| value(*byte) * weight).sum();
        if sum % 11 < 2 { 0 } else { 11 - sum % 11 }
    };
    let n = text.len();
    let alike = text.iter().all(|byte| *byte == text[0]);
    (!alike && digit(n - 2) == value(text[n - 2]) && digit(n - 1) == value(text[n - 1])).then_some(6.6)
}
