//! Poland, Spain, Italy, France, Germany, Netherlands, Belgium.

use leeway_core::scan::Entity;

use super::super::candidate::Candidate;
use super::super::check::{date, iso_11_10, modulo, number, weighted};
use super::{Kind, Shape};

pub(super) static KINDS: &[Kind] = &[
    Kind {
        entity: Entity::PlPesel,
        shapes: &[Shape(r"\d{11}", -9.0)],
        words: &[
            "nr pesel",
            "polish id",
            "polish national",
            "polish identification",
            "nr ewidencyjny",
            "pesel",
            "numer ewidencyjny",
        ],
        check: pesel,
        ..Kind::NUMBER
    },
    Kind {
        entity: Entity::EsDni,
        shapes: &[
            Shape(r"\d{2} \d{3} \d{3} [A-Za-z]", -3.0),
            Shape(r"\d{8}[A-Za-z]", -4.0),
            Shape(r"\d{8}[- ][A-Za-z]", -2.0),
            Shape(r"\d{2}\.\d{3}\.\d{3}-?[A-Za-z]", 0.0),
        ],
        words: &[
            "tarjeta de residencia",
            "documento de identidad",
            "spanish id",
            "spanish national",
            "spanish tax",
            "spanish identity",
            "identificación fiscal",
            "número de identificación",
            "d.n.i",
            "nº dni",
            "spain id",
            "dni",
            "nif",
            "documento nacional",
            "identidad",
        ],
        check: |candidate| letter(number(candidate.digits_of(0..8)?), candidate.compact()[8]),
        ..Kind::WORD
    },
    Kind {
        entity: Entity::EsNie,
        shapes: &[
            Shape(r"(?i-u:[XYZ]-\d\.\d{3}\.\d{3}-[A-Z])", 0.0),
            Shape(r"(?i-u:[XYZ]\d{7}[A-Z])", -2.5),
            Shape(r"(?i-u:[XYZ]-\d{7}-?[A-Z])", -1.0),
            Shape(r"(?i-u:[XYZ]\d{7}-[A-Z])", -1.0),
            Shape(r"(?i-u:[XYZ] \d{7} [A-Z])", -1.0),
        ],
        words: &[
            "tarjeta de residencia",
            "residencia",
            "identidad de extranjero",
            "foreigner id",
            "n.i.e",
            "spanish foreigner",
            "foreigner identification",
            "TIE",
            "tarjeta de extranjero",
            "nº nie",
            "nie",
            "nif",
            "extranjero",
            "identidad",
        ],
        check: |candidate| {
            let text = candidate.compact();
            letter(u32::from(text[0] - b'X') * 10_000_000 + number(candidate.digits_of(1..8)?), text[8])
        },
        ..Kind::WORD
    },
    Kind {
        entity: Entity::ItCf,
        shapes: &[
            Shape(r"(?i-u:[A-Z]{6}[0-9L-NP-V]{2}[A-EHLMPRST][0-9L-NP-V]{2}[A-Z][0-9L-NP-V]{3}[A-Z])", 0.0),
            Shape(r"(?i-u:[A-Z]{3} [A-Z]{3} \d{2}[A-EHLMPRST]\d{2} [A-Z]\d{3}[A-Z])", 1.0),
        ],
        words: &[
            "cod fiscale",
            "codice fisc",
            "italian tax",
            "italian fiscal",
            "fiscal code",
            "fiscalnumber",
            "tax code",
            "cod. fiscale",
            "codice fiscale",
            "c.f.",
            "CF",
            "cod. fisc",
            "fiscale",
        ],
        check: codice_fiscale,
        ..Kind::WORD
    },
    Kind {
        entity: Entity::FrNir,
        shapes: &[
            Shape(r"[12]\d{4}(?:\d{2}|2[ABab])\d{8}", -6.0),
            Shape(r"[12] \d{2} \d{2} (?:\d{2}|2[ABab]) \d{3} \d{3} ?\d{2}", 1.0),
            Shape(r"[12]\d{4}(?:\d{2}|2[ABab])\d{6} \d{2}", -2.0),
        ],
        words: &[
            "sécu",
            "secu",
            "n° ss",
            "numéro ss",
            "numero de securite",
            "social security",
            "assuré",
            "french social",
            "french national",
            "NSS",
            "n_ss",
            "no ss",
            "no sécurité",
            "num_assure",
            "matricule",
            "immatriculation",
            "sécurité sociale",
            "securite sociale",
            "NIR",
            "numéro de sécu",
            "insee",
            "carte vitale",
            "numéro de sécurité",
            "SÉCURITÉ SOCIALE",
        ],
        check: nir,
        ..Kind::WORD
    },
    Kind {
        entity: Entity::DeIdnr,
        shapes: &[Shape(r"[1-9]\d{10}", -9.0), Shape(r"[1-9]\d \d{3} \d{3} \d{3}", -4.0)],
        words: &[
            "steuer-ident",
            "steuerident",
            "steuer-identifikation",
            "steuerliche identifikation",
            "steuer-nr",
            "tax id",
            "tax number",
            "steueridentnummer",
            "idnummer",
            "identifikationsnr",
            "steuer-id",
            "steuer id",
            "steueridentifikationsnummer",
            "idnr",
            "steuernummer",
            "identifikationsnummer",
            "tin",
            "steuer-identifikationsnummer",
            "steuer-idnr",
            "steuerid",
            "german tax",
            "german tax id",
            "steuerliche id",
            "steuerliche",
            "steueridentifikationsnr",
            "steuer identifikation",
            "tax identification number",
        ],
        check: |candidate| {
            let digits = candidate.digits()?;
            let times =
                |n: usize| (0..10).filter(|digit| digits[..10].iter().filter(|d| *d == digit).count() == n).count();
            // One digit comes twice or three times, the others once at most.
            let doubled = times(2) == 1 && times(3) == 0 && times(1) == 8;
            let tripled = times(3) == 1 && times(2) == 0 && times(1) == 7;
            ((doubled || tripled) && iso_11_10(digits)).then_some(8.2)
        },
        ..Kind::NUMBER
    },
    Kind {
        entity: Entity::NlBsn,
        shapes: &[
            Shape(r"\d{9}", -9.0),
            Shape(r"\d{4}[. ]\d{2}[. ]\d{3}", -4.0),
            Shape(r"\d{3}[. ]\d{3}[. ]\d{3}", -6.0),
        ],
        words: &[
            "burger service nummer",
            "burgerservicenr",
            "bsnr",
            "bsn-nummer",
            "sofi-nummer",
            "dutch id",
            "dutch social",
            "dutch national",
            "dutch citizen",
            "burger_service_nr",
            "persoonsnummer",
            "citizen number",
            "bsn",
            "burgerservice",
            "burgerservicenummer",
            "sofinummer",
            "sofi",
            "citizen service",
        ],
        check: |candidate| {
            let digits = candidate.digits()?;
            let sum = weighted(digits, &[9, 8, 7, 6, 5, 4, 3, 2]) + 11 - u32::from(digits[8]);
            (number(digits) > 0 && sum.is_multiple_of(11)).then_some(3.5)
        },
        ..Kind::NUMBER
    },
    Kind {
        entity: Entity::BeNn,
        shapes: &[
            Shape(r"\d{2}[.-]\d{2}[.-]\d{2}[.-]\d{3}[.-]\d{2}", 0.0),
            Shape(r"\d{2} \d{2} \d{2} \d{3} \d{2}", -4.0),
            Shape(r"\d{2}\.\d{2}\.\d{2}[- ]\d{3}[. ]\d{2}", 2.0),
            Shape(r"\d{6}[- ]\d{3}[-. ]\d{2}", -4.0),
            Shape(r"\d{11}", -9.0),
        ],
        words: &[
            "rrn",
            "nrn",
            "rijksregisternr",
            "nn",
            "belgian national",
            "belgian id",
            "belgian identification",
            "national registration",
            "nationalnummer",
            "nationalregisternummer",
            "n° national",
            "no national",
            "rr-nummer",
            "national number",
            "insz-nummer",
            "registre",
            "rijksregister",
            "rijksregisternummer",
            "registre national",
            "numéro national",
            "national register",
            "numero national",
            "niss",
            "insz",
            "nationaal nummer",
            "numéro de registre",
        ],
        check: |candidate| {
            let digits = candidate.digits()?;
            let check = u64::from(number(&digits[9..]));
            let of = |century: u64| 97 - (century * 1_000_000_000 + u64::from(number(&digits[..9]))) % 97;
            // Month or day may be unknown, or month raised by 20 or 40 (bis).
            let (month, day) = (number(&digits[2..4]) % 20, number(&digits[4..6]));
            (month <= 12 && day <= 31 && (of(0) == check || of(2) == check)).then_some(6.5)
        },
        ..Kind::NUMBER
    },
];

fn letter(number: u32, letter: u8) -> Option<f32> {
    (b"TRWAGMYFPDXBNJZSQVHLCKE"[number as usize % 23] == letter).then_some(4.5)
}

/// The month carries the century: 80 for the 1800s, 0, 20, 40, 60 for those after.
fn pesel(candidate: &Candidate<'_>) -> Option<f32> {
    let digits = candidate.digits()?;
    let [year, month, day] = [&digits[..2], &digits[2..4], &digits[4..6]].map(number);
    let century = [1900, 2000, 2100, 2200, 1800][month as usize / 20];
    let sum = weighted(digits, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1]);
    (date(century + year, month % 20, day) && sum.is_multiple_of(10)).then_some(5.8)
}

fn codice_fiscale(candidate: &Candidate<'_>) -> Option<f32> {
    /// Values of the characters at odd places, digits then letters.
    const ODD: [u32; 26] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let text = candidate.compact();
    let value = |byte: u8| if byte.is_ascii_digit() { byte - b'0' } else { byte - b'A' };
    let sum: u32 = text[..15]
        .iter()
        .enumerate()
        .map(|(place, byte)| if place % 2 == 0 { ODD[usize::from(value(*byte))] } else { u32::from(value(*byte)) })
        .sum();
    (b'A' + (sum % 26) as u8 == text[15]).then_some(5.5)
}

/// 97 less the first thirteen modulo 97; Corsica's 2A and 2B count as 19 and 18.
fn nir(candidate: &Candidate<'_>) -> Option<f32> {
    let text = candidate.compact();
    let mut digits = [0u8; 15];
    for (digit, byte) in digits.iter_mut().zip(text) {
        *digit = byte.wrapping_sub(b'0');
    }
    match &text[5..7] {
        b"2A" => digits[5..7].copy_from_slice(&[1, 9]),
        b"2B" => digits[5..7].copy_from_slice(&[1, 8]),
        _ => {}
    }
    let month = number(&digits[3..5]);
    let plausible = (1..=12).contains(&month) || (20..=42).contains(&month) || month >= 50;
    (plausible && 97 - modulo(&digits[..13], 97) == u64::from(number(&digits[13..]))).then_some(7.5)
}
