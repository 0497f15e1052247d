//! United Kingdom: NHS number, National Insurance number, driving licence.

use leeway_core::scan::Entity;

use super::super::check::{number, weighted};
use super::{Kind, Shape};

pub(super) static KINDS: &[Kind] = &[
    Kind {
        entity: Entity::UkNhs,
        shapes: &[
            Shape(r"\d{3}\.\d{3}\.\d{4}", -7.5),
            Shape(r"\d{10}", -9.5),
            Shape(r"\d{3} \d{3} \d{4}", -6.0),
            Shape(r"\d{3}-\d{3}-\d{4}", -7.0),
        ],
        words: &[
            "nhsno",
            "health number",
            "nhs no",
            "nhs id",
            "nhs",
            "medical card",
            "national health",
            "patient",
            "chi number",
            "health service",
        ],
        check: |candidate| {
            let digits = candidate.digits()?;
            let check = (11 - weighted(digits, &[10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11) % 11;
            (check == u32::from(digits[9])).then_some(3.5)
        },
        ..Kind::NUMBER
    },
    Kind {
        entity: Entity::UkNino,
        shapes: &[
            Shape(r"(?i-u:[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]\d{6}[A-D])", -2.0),
            Shape(r"(?i-u:[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z][ -]\d{2}[ -]\d{2}[ -]\d{2}[ -][A-D])", 3.0),
            Shape(r"(?i-u:[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] \d{6} [A-D])", 0.0),
            Shape(r"(?i-u:[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]\d{6} [A-D])", 0.0),
        ],
        words: &[
            "nat ins",
            "insurance no",
            "national ins",
            "national insurance",
            "nino",
            "ni number",
            "ni no",
            "NI",
            "insurance number",
            "n.i.",
        ],
        check: |candidate| {
            (!matches!(&candidate.compact()[..2], b"BG" | b"GB" | b"KN" | b"NK" | b"NT" | b"TN" | b"ZZ")).then_some(0.5)
        },
        ..Kind::WORD
    },
    Kind {
        entity: Entity::UkDl,
        shapes: &[
            Shape(r"(?i-u:[A-Z][A-Z9]{4}\d{6}[A-Z][A-Z9][0-9][A-Z]{2}(?:\d{2})?)", -1.0),
            Shape(r"(?i-u:[A-Z][A-Z9]{4}[ -]\d{6}[ -][A-Z][A-Z9][0-9][A-Z]{2})", -1.0),
        ],
        words: &[
            "uk dl",
            "driver licence",
            "driver's license",
            "drivers licence",
            "drivers license",
            "dl no",
            "dl number",
            "driving licence",
            "dvla",
            "driver number",
            "licence number",
            "licence no",
            "driving license",
            "driver's licence",
            "licence",
        ],
        // Five of the name, decade, month (plus 50 for women), day, year.
        check: |candidate| {
            let digits = candidate.digits_of(5..11)?;
            let month = number(&digits[1..3]) % 50;
            let padded = candidate.compact()[..5].iter().skip_while(|byte| **byte != b'9').all(|byte| *byte == b'9');
            let day = (1..=31).contains(&number(&digits[3..5]));
            (day && (1..=12).contains(&month) && padded && number(&digits[1..3]) < 63).then_some(5.0)
        },
        ..Kind::WORD
    },
];
