//! Devices and vehicles: IMEI, VIN.

use leeway_core::scan::Entity;

use super::super::candidate::Candidate;
use super::super::check::{luhn, number};
use super::{Kind, Shape};

pub(super) static KINDS: &[Kind] = &[
    Kind {
        entity: Entity::Imei,
        shapes: &[
            Shape(r"\d{15}", -9.5),
            Shape(r"\d{2}[- ]\d{6}[- ]\d{6}[- ]\d", -3.0),
            Shape(r"\d{6}[-/ ]\d{2}[-/ ]\d{6}[-/ ]\d", -3.0),
            Shape(r"\d{8}[-/ ]\d{6}[-/ ]\d", -3.0),
        ],
        words: &[
            "imei no",
            "imei1",
            "imei2",
            "serial imei",
            "phone id",
            "device number",
            "handset id",
            "meid",
            "imei",
            "device id",
            "equipment identity",
            "handset",
            "imei number",
        ],
        // The first two digits name the body that allotted the number.
        check: |candidate| {
            let digits = candidate.digits()?;
            let body = matches!(number(&digits[..2]), 1 | 10 | 30 | 33 | 35 | 44 | 45 | 49..=54 | 86 | 91 | 97..=99);
            (body && luhn(digits)).then_some(5.0)
        },
        ..Kind::NUMBER
    },
    Kind {
        entity: Entity::Vin,
        shapes: &[Shape(r"(?i-u:[A-HJ-NPR-Z0-9]{17})", -8.0)],
        words: &[
            "fahrgestell-nr",
            "fahrzeug-identifizierungsnummer",
            "fahrzeugidentifizierungsnummer",
            "FIN",
            "châssis",
            "telaio",
            "bastidor",
            "chassis no",
            "chassis number",
            "frame number",
            "frame no",
            "chassisnummer",
            "chassinummer",
            "chasis",
            "chassi",
            "nadwozia",
            "şasi",
            "fahrgestellnr",
            "fahrzeug-identnummer",
            "fahrzeug-ident",
            "fahrzeugidentifikationsnummer",
            "numéro de série du véhicule",
            "carfax",
            "vin number",
            "vin code",
            "car id",
            "vin",
            "vehicle identification",
            "chassis",
            "vehicle id",
            "fahrgestellnummer",
            "fin-nummer",
            "vehicle",
        ],
        check: vin,
        ..Kind::WORD
    },
];

/// Position 9 is the check digit, modulo 11 (obligatory in North America; others follow it often).
fn vin(candidate: &Candidate<'_>) -> Option<f32> {
    const WEIGHTS: [u32; 17] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
    let value = |byte: u8| match byte {
        b'0'..=b'9' => u32::from(byte - b'0'),
        b'A'..=b'H' => u32::from(byte - b'A') + 1,
        b'J'..=b'R' => u32::from(byte - b'J') + 1,
        _ => u32::from(byte - b'S') + 2,
    };
    let text = candidate.compact();
    let sum: u32 = text.iter().zip(WEIGHTS).map(|(byte, weight)| value(*byte) * weight).sum();
    let expected = if sum % 11 == 10 { b'X' } else { b'0' + (sum % 11) as u8 };
    // The serial number ends in digits.
    let serial = candidate.digits_of(13..17).is_some();
    (expected == text[8] && candidate.has_letter() && serial).then_some(6.0)
}
