//! Money: payment card, IBAN, BIC.

use leeway_core::scan::Entity;

use super::super::candidate::Candidate;
use super::super::check::{base36, luhn, number};
use super::{Kind, Shape};

pub(super) static KINDS: &[Kind] = &[
    Kind {
        entity: Entity::Card,
        shapes: &[
            Shape(r"\d{4}[ -]\d{4}[ -]\d{4}[ -]\d{4}", 1.0),
            Shape(r"\d{4}[ -]\d{6}[ -]\d{4,5}", 1.0),
            Shape(r"\d{4}(?:[ -]\d{4}){2,3}[ -]\d{1,3}", -1.0),
            Shape(r"\d{4}[ -]\d{4}[ -]\d{4}", -4.0),
            Shape(r"\d{12,19}", -2.0),
        ],
        words: &[
            "card",
            "visa",
            "mastercard",
            "amex",
            "american express",
            "PAN",
            "cc",
            "charge",
            "paid",
            "credit",
            "debit",
            "carte",
            "tarjeta",
            "cartão",
            "kreditkarte",
            "karte",
            "discover",
            "maestro",
            "payment",
            "cardnumber",
            "ccn",
        ],
        check: card,
        ..Kind::NUMBER
    },
    Kind {
        entity: Entity::Iban,
        shapes: &[
            Shape(r"(?i-u:[A-Z]{2}\d{2}[A-Z0-9]{11,29})", 0.0),
            Shape(r"(?i-u:[A-Z]{2}\d{2}(?:[ -][A-Z0-9]{4}){2,7}(?:[ -][A-Z0-9]{1,3})?)", 0.0),
        ],
        words: &[
            "iban", "account", "transfer", "konto", "wire", "bank", "cuenta", "compte", "conto", "conta", "rekening",
        ],
        check: iban,
        ..Kind::WORD
    },
    Kind {
        entity: Entity::Swift,
        shapes: &[Shape(r"[A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?", -9.0)],
        words: &["bic/swift", "swift code", "bic code", "swift-code", "bank code", "swift", "bic", "bank identifier"],
        check: |candidate| COUNTRIES.contains(&&candidate.compact()[4..6]).then_some(1.0),
        ..Kind::WORD
    },
];

/// Luhn, and a range that a network has with that length.
fn card(candidate: &Candidate<'_>) -> Option<f32> {
    let digits = candidate.digits()?;
    let n = digits.len();
    let [one, two, three, four] = [1, 2, 3, 4].map(|n| number(&digits[..n]));
    let grouped = n != candidate.range.len();
    let (issued, common) = match one {
        4 => (matches!(n, 13 | 16 | 19), true),
        5 if (51..=55).contains(&two) => (n == 16, true),
        2 if (2221..=2720).contains(&four) => (n == 16, true),
        3 if matches!(two, 34 | 37) => (n == 15, true),
        3 if (3528..=3589).contains(&four) => ((16..=19).contains(&n), true),
        3 if matches!(two, 36 | 38 | 39) || (300..=305).contains(&three) => (n == 14 || n == 16, n == 14),
        6 if four == 6011 || (644..=649).contains(&three) || two == 65 => ((16..=19).contains(&n), n == 16),
        6 if two == 62 => ((16..=19).contains(&n), n == 16),
        3 if two == 35 => (n == 16, false),
        _ if matches!(four, 1800 | 2131) => (n == 15, false),
        _ if two == 50 || (56..=69).contains(&two) => ((12..=19).contains(&n), false),
        _ => (false, false),
    };
    // A range that is seldom seen, or an old length, is less evidence.
    let rare = !common || matches!(n, 13 | 19);
    let evidence = if rare && !grouped { 1.0 } else { 5.5 };
    (issued && luhn(digits)).then_some(evidence)
}

/// Country, its length, and the number with the first four characters at its end modulo 97 = 1 (ISO 13616).
fn iban(candidate: &Candidate<'_>) -> Option<f32> {
    let text = candidate.compact();
    if text.len() != length([text[0], text[1]])? {
        return None;
    }
    let rest = text[4..].iter().chain(&text[..4]).fold(0, |rest, byte| match base36(*byte) {
        digit @ 0..=9 => (rest * 10 + digit) % 97,
        letter => (rest * 100 + letter) % 97,
    });
    (rest == 1).then_some(10.0)
}

fn length(country: [u8; 2]) -> Option<usize> {
    Some(match &country {
        b"NO" => 15,
        b"BE" => 16,
        b"DK" | b"FI" | b"FK" | b"FO" | b"GL" | b"NL" | b"SD" => 18,
        b"MK" | b"SI" => 19,
        b"AT" | b"BA" | b"EE" | b"KZ" | b"LT" | b"LU" | b"MN" | b"XK" => 20,
        b"CH" | b"HR" | b"LI" | b"LV" => 21,
        b"BG" | b"BH" | b"CR" | b"DE" | b"GB" | b"GE" | b"IE" | b"ME" | b"RS" | b"VA" => 22,
        b"AE" | b"GI" | b"IL" | b"IQ" | b"OM" | b"SO" | b"TL" => 23,
        b"AD" | b"CZ" | b"ES" | b"MD" | b"PK" | b"RO" | b"SA" | b"SE" | b"SK" | b"TN" | b"VG" => 24,
        b"LY" | b"PT" | b"ST" => 25,
        b"IS" | b"TR" => 26,
        b"BI" | b"DJ" | b"FR" | b"GR" | b"IT" | b"MC" | b"MR" | b"SM" => 27,
        b"AL" | b"AZ" | b"BY" | b"CY" | b"DO" | b"GT" | b"HN" | b"HU" | b"LB" | b"NI" | b"PL" | b"SV" => 28,
        b"BR" | b"EG" | b"PS" | b"QA" | b"UA" => 29,
        b"JO" | b"KW" | b"MU" | b"YE" => 30,
        b"MT" | b"SC" => 31,
        b"LC" => 32,
        b"RU" => 33,
        _ => return None,
    })
}

/// Countries of ISO 3166-1, and Kosovo.
const COUNTRIES: &[&[u8]] = &[
    b"AD", b"AE", b"AF", b"AG", b"AI", b"AL", b"AM", b"AO", b"AR", b"AS", b"AT", b"AU", b"AW", b"AX", b"AZ", b"BA",
    b"BB", b"BD", b"BE", b"BF", b"BG", b"BH", b"BI", b"BJ", b"BL", b"BM", b"BN", b"BO", b"BQ", b"BR", b"BS", b"BT",
    b"BW", b"BY", b"BZ", b"CA", b"CC", b"CD", b"CF", b"CG", b"CH", b"CI", b"CK", b"CL", b"CM", b"CN", b"CO", b"CR",
    b"CU", b"CV", b"CW", b"CX", b"CY", b"CZ", b"DE", b"DJ", b"DK", b"DM", b"DO", b"DZ", b"EC", b"EE", b"EG", b"EH",
    b"ER", b"ES", b"ET", b"FI", b"FJ", b"FK", b"FM", b"FO", b"FR", b"GA", b"GB", b"GD", b"GE", b"GF", b"GG", b"GH",
    b"GI", b"GL", b"GM", b"GN", b"GP", b"GQ", b"GR", b"GT", b"GU", b"GW", b"GY", b"HK", b"HN", b"HR", b"HT", b"HU",
    b"ID", b"IE", b"IL", b"IM", b"IN", b"IO", b"IQ", b"IR", b"IS", b"IT", b"JE", b"JM", b"JO", b"JP", b"KE", b"KG",
    b"KH", b"KI", b"KM", b"KN", b"KP", b"KR", b"KW", b"KY", b"KZ", b"LA", b"LB", b"LC", b"LI", b"LK", b"LR", b"LS",
    b"LT", b"LU", b"LV", b"LY", b"MA", b"MC", b"MD", b"ME", b"MF", b"MG", b"MH", b"MK", b"ML", b"MM", b"MN", b"MO",
    b"MP", b"MQ", b"MR", b"MS", b"MT", b"MU", b"MV", b"MW", b"MX", b"MY", b"MZ", b"NA", b"NC", b"NE", b"NF", b"NG",
    b"NI", b"NL", b"NO", b"NP", b"NR", b"NU", b"NZ", b"OM", b"PA", b"PE", b"PF", b"PG", b"PH", b"PK", b"PL", b"PM",
    b"PN", b"PR", b"PS", b"PT", b"PW", b"PY", b"QA", b"RE", b"RO", b"RS", b"RU", b"RW", b"SA", b"SB", b"SC", b"SD",
    b"SE", b"SG", b"SH", b"SI", b"SJ", b"SK", b"SL", b"SM", b"SN", b"SO", b"SR", b"SS", b"ST", b"SV", b"SX", b"SY",
    b"SZ", b"TC", b"TD", b"TG", b"TH", b"TJ", b"TK", b"TL", b"TM", b"TN", b"TO", b"TR", b"TT", b"TV", b"TW", b"TZ",
    b"UA", b"UG", b"US", b"UY", b"UZ", b"VA", b"VC", b"VE", b"VG", b"VI", b"VN", b"VU", b"WF", b"WS", b"XK", b"YE",
    b"YT", b"ZA", b"ZM", b"ZW",
];
