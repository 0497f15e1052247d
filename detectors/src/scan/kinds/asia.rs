//! China, Korea, Singapore, Israel, Turkey, South Africa.

use leeway_core::scan::Entity;

use super::super::candidate::Candidate;
use super::super::check::{birth, iso_11_2, luhn, number, short_date, weighted};
use super::{Kind, Shape};

pub(super) static KINDS: &[Kind] = &[
    Kind {
        entity: Entity::CnRic,
        shapes: &[Shape(r"[1-9]\d{16}[0-9Xx]", -5.0), Shape(r"[1-9]\d{5} \d{8} \d{3}[0-9Xx]", -2.0)],
        words: &[
            "prc id",
            "证件号",
            "身份",
            "id number",
            "id no",
            "citizen id",
            "chinese id",
            "chinese national",
            "chinese citizen",
            "shenfenzheng",
            "证件号码",
            "身份证号",
            "china id",
            "resident card",
            "身份证",
            "居民身份证",
            "公民身份",
            "chinese resident",
            "resident id",
            "resident identity",
            "identity card",
            "id card",
            "sfz",
        ],
        check: |candidate| {
            let text = candidate.compact();
            let values: Vec<u8> = text.iter().map(|byte| if *byte == b'X' { 10 } else { byte - b'0' }).collect();
            (birth(candidate.digits_of(6..14)?) && iso_11_2(&values)).then_some(9.5)
        },
        ..Kind::WORD
    },
    Kind {
        entity: Entity::KrRrn,
        shapes: &[
            Shape(r"\d{6} - [0-9]\d{6}", -6.0),
            Shape(r"\d{6}-[0-9]\d{6}", -5.5),
            Shape(r"\d{6} [0-9]\d{6}", -7.0),
            Shape(r"\d{13}", -11.0),
        ],
        words: &[
            "주민 번호",
            "jumin",
            "resident number",
            "registration number",
            "주민",
            "korea id",
            "resident id",
            "주민등록",
            "주민번호",
            "등록번호",
            "resident registration",
            "rrn",
            "korean id",
            "korean national",
            "korean resident",
            "실명번호",
            "resident_no",
            "resident no",
            "외국인등록",
        ],
        check: |candidate| {
            let digits = candidate.digits()?;
            let sum = weighted(digits, &[2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5]);
            let checked = (11 - sum % 11) % 10 == u32::from(digits[12]);
            // Since October 2020 the last digits are random: an older person's number that fails the check is doubtful,
            // not wrong.
            let late = matches!(digits[6], 3 | 4 | 7 | 8) && (2010..=2912).contains(&number(&digits[..4]));
            let evidence = if checked {
                8.0
            } else if late {
                4.8
            } else {
                -5.5
            };
            (short_date(digits) && digits[6] != 9).then_some(evidence)
        },
        ..Kind::NUMBER
    },
    Kind {
        entity: Entity::SgNric,
        shapes: &[Shape(r"(?i-u:[STFGM]\d{7}[A-Z])", -3.0)],
        words: &[
            "ic number",
            "IC",
            "i/c no",
            "i/c",
            "UIN",
            "uinfin",
            "singpass",
            "ic no",
            "identification number",
            "s'pore",
            "singaporean",
            "nric",
            "FIN",
            "singapore",
            "identity card",
            "fin number",
        ],
        check: nric,
        ..Kind::WORD
    },
    Kind {
        entity: Entity::IlId,
        shapes: &[Shape(r"\d{9}", -9.0), Shape(r"\d{8}-\d", -6.0), Shape(r"\d \d{4} \d{3} \d", -6.0)],
        words: &[
            "ת\"ז",
            "תז",
            "t.z",
            "TZ",
            "israel",
            "מספר זהות",
            "teudat",
            "zehut",
            "israeli",
            "ת״ז",
            "israeli national",
            "מס' זהות",
            "israel id",
            "תעודת",
            "זהות",
            "ת.ז",
            "mispar zehut",
        ],
        check: |candidate| {
            let digits = candidate.digits()?;
            (luhn(digits) && digits.iter().any(|digit| *digit != 0)).then_some(3.3)
        },
        ..Kind::NUMBER
    },
    Kind {
        entity: Entity::TrTckn,
        shapes: &[
            Shape(r"[1-9]\d{2}-\d{3}-\d{3}-\d{2}", -5.0),
            Shape(r"[1-9]\d{10}", -9.5),
            Shape(r"[1-9]\d{2} \d{3} \d{3} \d{2}", -4.0),
        ],
        words: &[
            "tr id",
            "kimlik no",
            "t.c. kimlik",
            "turkey id",
            "turkish national",
            "tckimlik",
            "tcno",
            "nüfus cüzdanı",
            "turkish identification",
            "kimlik numarası",
            "identity number",
            "vatandas",
            "national id",
            "kimlik",
            "tckn",
            "t.c.",
            "TC",
            "tc no",
            "vatandaşlık",
            "turkish id",
            "turkish identity",
        ],
        check: |candidate| {
            let d: Vec<i32> = candidate.digits()?.iter().map(|digit| i32::from(*digit)).collect();
            let (odd, even) = (d[0] + d[2] + d[4] + d[6] + d[8], d[1] + d[3] + d[5] + d[7]);
            let tenth = (odd * 7 - even).rem_euclid(10) == d[9];
            (tenth && d[..10].iter().sum::<i32>() % 10 == d[10]).then_some(6.8)
        },
        ..Kind::NUMBER
    },
    Kind {
        entity: Entity::ZaId,
        shapes: &[Shape(r"\d{13}", -10.5), Shape(r"\d{6} \d{4} \d{3}", -5.0), Shape(r"\d{6} \d{4} \d{2} \d", -3.0)],
        words: &[
            "id-nommer",
            "id nommer",
            "identiteitsnommer",
            "identity document",
            "id book",
            "za id",
            "rsa id number",
            "s.a. id",
            "sa identity",
            "id nr",
            "identity no",
            "rsa identity",
            "national id",
            "rsa id",
            "south african",
            "smart id",
            "smart id card",
            "home affairs",
            "sassa",
            "south african national",
            "south africa",
            "sa id",
            "id number",
            "identity number",
            "id no",
        ],
        check: |candidate| {
            let digits = candidate.digits()?;
            (short_date(digits) && digits[10] < 2 && luhn(digits)).then_some(10.5)
        },
        ..Kind::NUMBER
    },
];

/// Modulo 11 tables by the first letter; T and G count 4 more, M 3 more.
fn nric(candidate: &Candidate<'_>) -> Option<f32> {
    let text = candidate.compact();
    let sum = weighted(candidate.digits_of(1..8)?, &[2, 7, 6, 5, 4, 3, 2]);
    let (more, table): (u32, &[u8; 11]) = match text[0] {
        b'S' => (0, b"JZIHGFEDCBA"),
        b'T' => (4, b"JZIHGFEDCBA"),
        b'F' => (0, b"XWUTRQPNMLK"),
        b'G' => (4, b"XWUTRQPNMLK"),
        _ => (3, b"XWUTRQPNJLK"),
    };
    (table[((sum + more) % 11) as usize] == text[8]).then_some(3.5)
}
