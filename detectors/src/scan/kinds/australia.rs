//! Australia: TFN, ABN, Medicare.

use leeway_core::scan::Entity;

use super::super::check::weighted;
use super::{Kind, Shape};

pub(super) static KINDS: &[Kind] = &[
    Kind {
        entity: Entity::AuTfn,
        shapes: &[Shape(r"\d{9}", -9.0), Shape(r"\d{3} \d{3} \d{3}", -6.0), Shape(r"\d{3}-\d{3}-\d{3}", -6.0)],
        words: &["australian tax", "t.f.n", "tax file no", "tax file", "tfn", "taxfile"],
        check: |candidate| {
            weighted(candidate.digits()?, &[1, 4, 3, 7, 5, 8, 6, 9, 10]).is_multiple_of(11).then_some(3.5)
        },
        ..Kind::NUMBER
    },
    Kind {
        entity: Entity::AuAbn,
        shapes: &[
            Shape(r"[1-9]\d-\d{3}-\d{3}-\d{3}", -4.0),
            Shape(r"[1-9]\d{10}", -9.0),
            Shape(r"[1-9]\d \d{3} \d{3} \d{3}", -3.0),
        ],
        words: &[
            "business no",
            "a.b.n",
            "business registration",
            "company number",
            "abn",
            "business number",
            "australian business",
        ],
        check: |candidate| {
            let digits = candidate.digits()?;
            let sum = weighted(digits, &[10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19]);
            (sum >= 10 && (sum - 10).is_multiple_of(89)).then_some(6.5)
        },
        ..Kind::NUMBER
    },
    Kind {
        entity: Entity::AuMedicare,
        shapes: &[
            Shape(r"[2-6]\d{10}", -10.0),
            Shape(r"[2-6]\d{9}", -9.5),
            Shape(r"[2-6]\d{3} \d{5} \d", -2.0),
            Shape(r"[2-6]\d{3}-\d{5}-\d", -3.0),
            Shape(r"[2-6]\d{3} \d{5} \d[ /-]?\d", -3.0),
        ],
        words: &["medicare no", "health card", "medicare", "medicare card", "irn"],
        check: |candidate| {
            let digits = candidate.digits()?;
            let sum = weighted(digits, &[1, 3, 7, 9, 1, 3, 7, 9]);
            (sum % 10 == u32::from(digits[8]) && digits[9] != 0).then_some(3.3)
        },
        ..Kind::NUMBER
    },
];
