//! United States: SSN, ITIN, routing number, NPI, MBI, DEA, driver's licence.

use leeway_core::scan::Entity;

use super::super::candidate::Candidate;
use super::super::check::{luhn, number, weighted};
use super::{Kind, Shape};

pub(super) static KINDS: &[Kind] = &[
    Kind {
        entity: Entity::UsSsn,
        shapes: &[
            Shape(r"\d{3}\.\d{2}\.\d{4}", -3.0),
            Shape(r"\d{3} - \d{2} - \d{4}", -3.0),
            Shape(r"\d{3}-\d{2}-\d{4}", 2.5),
            Shape(r"\d{3} \d{2} \d{4}", -2.0),
            Shape(r"\d{9}", -9.0),
        ],
        words: &[
            "ss num",
            "soc",
            "social no",
            "social number",
            "s.s.n",
            "ssn",
            "ssns",
            "social security",
            "social sec",
            "ss #",
            "patient ssn",
            "soc sec",
            "social",
            "ss number",
            "ss no",
            "ss#",
            "ssn#",
            "taxpayer id",
            "seguro social",
        ],
        check: |candidate| {
            let digits = candidate.digits()?;
            let (area, group, serial) = (number(&digits[..3]), number(&digits[3..5]), number(&digits[5..]));
            (!matches!(area, 0 | 666 | 900..) && group != 0 && serial != 0).then_some(0.2)
        },
        ..Kind::NUMBER
    },
    Kind {
        entity: Entity::UsItin,
        shapes: &[Shape(r"9\d{2}-\d{2}-\d{4}", 0.0), Shape(r"9\d{2} \d{2} \d{4}", -2.0), Shape(r"9\d{8}", -9.0)],
        words: &[
            "tin",
            "taxpayer no",
            "tax identification",
            "tax number",
            "itin",
            "individual taxpayer",
            "taxpayer number",
            "taxpayer identification",
            "taxpayer id",
            "tax id",
        ],
        check: |candidate| {
            let group = number(&candidate.digits()?[3..5]);
            matches!(group, 50..=65 | 70..=88 | 90..=92 | 94..=99).then_some(1.2)
        },
        ..Kind::NUMBER
    },
    Kind {
        entity: Entity::UsAbaRouting,
        shapes: &[Shape(r"\d{3}[ -]\d{3}[ -]\d{3}", -8.5), Shape(r"\d{9}", -9.0), Shape(r"\d{4}-\d{4}-\d", -4.0)],
        words: &[
            "rt#",
            "r/t number",
            "rt no",
            "routing transit",
            "transit routing",
            "rt number",
            "ach",
            "bank routing",
            "routing",
            "aba",
            "rtn",
            "bank routing number",
            "aba number",
            "routing no",
            "routing nr",
            "transit number",
            "bank code",
            "wire transfer",
        ],
        check: |candidate| {
            let digits = candidate.digits()?;
            let prefix = matches!(number(&digits[..2]), 0..=12 | 21..=32 | 61..=72 | 80);
            (prefix && weighted(digits, &[3, 7, 1, 3, 7, 1, 3, 7, 1]).is_multiple_of(10)).then_some(4.7)
        },
        ..Kind::NUMBER
    },
    Kind {
        entity: Entity::UsNpi,
        shapes: &[Shape(r"[12]\d{2}[ -]\d{3}[ -]\d{4}", -8.0), Shape(r"[12]\d{9}", -10.0)],
        words: &["physician", "practitioner", "doctor id", "npi", "national provider", "provider"],
        check: |candidate| {
            let mut prefixed = [8, 0, 8, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            prefixed[5..].copy_from_slice(candidate.digits()?);
            luhn(&prefixed).then_some(5.6)
        },
        ..Kind::NUMBER
    },
    Kind {
        entity: Entity::UsMbi,
        shapes: &[
            Shape(
                r"(?i-u:[1-9][AC-HJKMNP-RT-Y][0-9AC-HJKMNP-RT-Y]\d [AC-HJKMNP-RT-Y][0-9AC-HJKMNP-RT-Y]\d [AC-HJKMNP-RT-Y]{2}\d{2})",
                -2.0,
            ),
            Shape(
                r"(?i-u:[1-9][AC-HJKMNP-RT-Y][0-9AC-HJKMNP-RT-Y]\d[AC-HJKMNP-RT-Y][0-9AC-HJKMNP-RT-Y]\d[AC-HJKMNP-RT-Y]{2}\d{2})",
                -4.0,
            ),
            Shape(
                r"(?i-u:[1-9][AC-HJKMNP-RT-Y][0-9AC-HJKMNP-RT-Y]\d-[AC-HJKMNP-RT-Y][0-9AC-HJKMNP-RT-Y]\d-[AC-HJKMNP-RT-Y]{2}\d{2})",
                2.0,
            ),
        ],
        words: &["medicare id", "medicare number", "medicare", "mbi", "beneficiary"],
        check: |_| Some(2.0),
        ..Kind::WORD
    },
    Kind {
        entity: Entity::UsDea,
        shapes: &[Shape(r"[ABCDEFGHJKLMPRSTUX][A-Z9]\d{7}", -7.0)],
        words: &["dea", "prescriber", "drug enforcement"],
        check: |candidate| {
            let d = candidate.digits_of(2..9)?;
            let sum = weighted(d, &[1, 2, 1, 2, 1, 2]);
            (sum % 10 == u32::from(d[6])).then_some(3.3)
        },
        ..Kind::WORD
    },
    Kind {
        entity: Entity::UsDl,
        shapes: &[
            Shape(r"[A-Z] \d{3} \d{3} \d{3} \d{3}", -6.0),
            Shape(r"[A-Z]\d{4} \d{5} \d{5}", -6.0),
            Shape(r"[A-Z]\d{14}", -8.0),
            Shape(r"WDL[A-Z0-9]{9}", -4.0),
            Shape(r"\d{2}-\d{3}-\d{4}", -8.0),
            Shape(r"[A-Z]{2}\d{6}[A-Z]", -8.5),
            Shape(r"\d{3}[A-Z]{2}\d{4}", -8.5),
            Shape(r"[A-Z]\d{2}-\d{3}-\d{3}", -6.0),
            Shape(r"\d{7}[A-Z]", -8.8),
            Shape(r"[A-Z]\d{3}-\d{4}-\d{4}(?:-\d{2})?", -4.0),
            Shape(r"[A-Z]\d{3}-\d{3}-\d{2}-\d{3}-\d", -3.0),
            Shape(r"[A-Z]\d{2}-\d{2}-\d{4}", -5.0),
            Shape(r"[A-Z]{1,2}\d{5,13}", -8.5),
            Shape(r"[A-Z]{3}\d{6}", -9.0),
            Shape(r"\d{7,10}", -9.5),
            Shape(r"\d{3} \d{3} \d{3}", -9.0),
            Shape(r"\d{2}[A-Z]{3}\d{4,5}", -8.0),
            Shape(r"[A-Z]\d{4}-\d{5}-\d{5}", -3.0),
        ],
        words: &[
            "cdl",
            "lic#",
            "lic no",
            "driver's permit",
            "driver permit",
            "driver id",
            "operator license",
            "dln",
            "driving permit",
            "driver's license",
            "drivers license",
            "driver license",
            "driver’s license",
            "driver's licence",
            "drivers licence",
            "driver licence",
            "driving license",
            "dl number",
            "dl no",
            "dl#",
            "DL",
            "license number",
            "licence number",
            "license no",
            "dmv",
            "driver's lic",
            "driver_license",
            "drivers_license",
            "driver_licence",
            "license_number",
            "driver lic",
            "driver's lic. no",
            "dmv no",
        ],
        check: plausible,
        ..Kind::WORD
    },
];

/// No check digit is published: only that the number is not one digit over and over.
fn plausible(candidate: &Candidate<'_>) -> Option<f32> {
    let digits = candidate.compact().iter().filter(|byte| byte.is_ascii_digit());
    let first = digits.clone().next()?;
    digits.clone().any(|digit| digit != first).then_some(0.0)
}
