//! Papers of a person: passport, its machine-readable zone, date of birth, medical record.

use leeway_core::scan::Entity;

use super::super::candidate::Candidate;
use super::super::check::{base36, date};
use super::{Edges, Kind, Shape};

pub(super) static KINDS: &[Kind] = &[
    Kind {
        entity: Entity::Passport,
        shapes: &[
            Shape(r"\d{2} [A-Z]{2} \d{5}", -8.5),
            Shape(r"[A-Z]\d{6}", -9.0),
            Shape(r"\d{8}", -9.6),
            Shape(r"[A-Z]\d{3} \d{4}", -9.0),
            Shape(r"\d{2} \d{7}", -9.3),
            Shape(r"[A-Z]\d{7,8}", -8.5),
            Shape(r"\d{9}", -9.3),
            Shape(r"[A-Z]{2}\d{6,7}", -8.5),
            Shape(r"[A-Z0-9]{9}", -9.3),
            Shape(r"\d{2}[A-Z]{2}\d{5}", -8.5),
            Shape(r"[A-Z] \d{7,8}", -9.0),
            Shape(r"[A-Z]{2} \d{6,7}", -9.0),
        ],
        words: &[
            "reisepassnummer",
            "reisepassnr",
            "paspoortnummer",
            "passinumero",
            "paszportu",
            "паспорт",
            "паспорта",
            "護照",
            "旅券番号",
            "דרכון",
            "جواز",
            "pp no",
            "document number",
            "pass nr",
            "pasaport",
            "passport id",
            "travel doc",
            "passport no",
            "passport number",
            "passport report",
            "pasaportumun",
            "travel_document_no",
            "pass number",
            "pass-nr",
            "ppt no",
            "passport",
            "passeport",
            "pasaporte",
            "reisepass",
            "passaporto",
            "paspoort",
            "passaporte",
            "pass no",
            "paszport",
            "passnummer",
            "travel document",
            "护照",
            "여권",
            "パスポート",
        ],
        check: |candidate| candidate.has_digit().then_some(0.0),
        ..Kind::WORD
    },
    Kind {
        entity: Entity::Mrz,
        shapes: &[
            Shape(r"P[A-Z<][A-Z<]{3}[A-Z<]{39}\r?\n[A-Z0-9<]{9}\d[A-Z<]{3}\d{7}[MFX<]\d{7}[A-Z0-9<]{14}[0-9<]\d", 4.0),
            Shape(r"[ACIV][A-Z0-9<][A-Z<]{3}[A-Z<]{31}\r?\n[A-Z0-9<]{9}\d[A-Z<]{3}\d{7}[MFX<]\d{7}[A-Z0-9<]{8}", 4.0),
            Shape(
                r"[ACI][A-Z0-9<][A-Z<]{3}[A-Z0-9<]{9}\d[A-Z0-9<]{15}\r?\n\d{7}[MFX<]\d{7}[A-Z<]{3}[A-Z0-9<]{11}\d\r?\n[A-Z<]{30}",
                4.0,
            ),
        ],
        words: &["mrz", "machine readable", "passport"],
        check: zone,
        canonical: |candidate| {
            candidate.raw().iter().filter(|byte| !byte.is_ascii_whitespace()).map(|byte| char::from(*byte)).collect()
        },
        edges: Edges::Token,
        ..Kind::NUMBER
    },
    Kind {
        entity: Entity::Dob,
        shapes: &[
            Shape(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?Z?", -8.5),
            Shape(r"(?:19|20)\d{6}", -9.6),
            Shape(r"\d{1,2}(?:er|\.)? (?:de )?(?:[A-Za-z]|[\xC3-\xC5].){3,12}\.? (?:de )?(?:19|20)\d{2}", -8.5),
            Shape(r"\d{1,2}-[A-Za-z]{3}-(?:\d{2}|(?:19|20)\d{2})", -8.5),
            Shape(r"\d{1,2} \d{1,2} (?:19|20)\d{2}", -9.3),
            Shape(r"(?:19|20)\d{2}년 \d{1,2}월 \d{1,2}일", -8.0),
            Shape(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}", -8.5),
            Shape(r"\d{1,2}[-/.]\d{1,2}[-/.](?:19|20)\d{2}", -8.5),
            Shape(r"\d{1,2}[/.]\d{1,2}[/.]\d{2}", -9.5),
            Shape(
                r"\d{1,2}(?:st|nd|rd|th|\.)?(?: of)?[ -](?i-u:jan|feb|mar|apr|may|jun|jul|aug|sep|sept|oct|nov|dec|january|february|march|april|june|july|august|september|october|november|december|januar|februar|märz|mai|juni|juli|oktober|dezember)[a-z]{0,2}\.?,?[ -](?:19|20)\d{2}",
                -8.0,
            ),
            Shape(
                r"(?i-u:jan|feb|mar|apr|may|jun|jul|aug|sep|sept|oct|nov|dec|january|february|march|april|june|july|august|september|october|november|december)\.? \d{1,2}(?:st|nd|rd|th)?,? (?:19|20)\d{2}",
                -8.0,
            ),
            Shape(r"\d{1,2} de (?:[a-z]|ç){4,10} de (?:19|20)\d{2}", -8.0),
            Shape(r"(?:19|20)\d{2}年\d{1,2}月\d{1,2}日", -8.0),
        ],
        words: &[
            "geburtstag",
            "gebdat",
            "naiss",
            "fecha nac",
            "f. nac",
            "nascido",
            "nascida",
            "urodzenia",
            "fødselsdato",
            "doğum tarihi",
            "дата рождения",
            "תאריך לידה",
            "b-day",
            "bday",
            "birth",
            "birth day",
            "född",
            "syntynyt",
            "ur.",
            "출생",
            "ημερομηνία γέννησης",
            "जन्म तिथि",
            "день рождения",
            "d o b",
            "geb",
            "née",
            "nasc",
            "data de nascimento",
            "fecha de nacimiento",
            "data di nascita",
            "date naissance",
            "födelsedatum",
            "syntymäaika",
            "doğum",
            "urodzony",
            "urodzona",
            "data urodzenia",
            "geboren am",
            "naissance le",
            "born",
            "dob",
            "d.o.b",
            "date of birth",
            "birth date",
            "birthdate",
            "birthday",
            "date_of_birth",
            "birth_date",
            "geboren",
            "geburtsdatum",
            "geb.",
            "né le",
            "née le",
            "naissance",
            "nacimiento",
            "nascimento",
            "nacido",
            "nacida",
            "nato il",
            "nata il",
            "nascita",
            "geboortedatum",
            "出生",
            "生年月日",
            "생년월일",
        ],
        check: born,
        canonical: |candidate| String::from_utf8_lossy(candidate.raw()).to_lowercase(),
        edges: Edges::Number,
        ..Kind::NUMBER
    },
    Kind {
        entity: Entity::MedicalId,
        shapes: &[Shape(r"(?:[A-Z]{1,3}-?)?\d{6,12}", -9.0)],
        words: &["mrn", "medical record", "medical record number", "chart number"],
        ..Kind::WORD
    },
];

/// Check digits with weights 7, 3, 1 over characters of base 36, `<` as zero (ICAO Doc 9303).
fn zone(candidate: &Candidate<'_>) -> Option<f32> {
    let lines: Vec<&[u8]> = candidate.raw().split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end).collect();
    let right = |field: &[u8], check: u8| {
        let sum: u32 = field
            .iter()
            .zip([7, 3, 1].into_iter().cycle())
            .map(|(byte, weight)| if *byte == b'<' { 0 } else { base36(*byte) * weight })
            .sum();
        b'0' + (sum % 10) as u8 == check
    };
    let (number, numbered, birth, born, expiry, expires) = match lines.len() {
        2 => (&lines[1][..9], lines[1][9], &lines[1][13..19], lines[1][19], &lines[1][21..27], lines[1][27]),
        _ => (&lines[0][5..14], lines[0][14], &lines[1][..6], lines[1][6], &lines[1][8..14], lines[1][14]),
    };
    (right(number, numbered) && right(birth, born) && right(expiry, expires)).then_some(10.0)
}

/// A day between 1900 and now, in the order of any country.
fn born(candidate: &Candidate<'_>) -> Option<f32> {
    let raw = candidate.raw();
    let numbers: Vec<u32> = raw
        .split(|byte| !byte.is_ascii_digit())
        .filter(|part| !part.is_empty())
        .map(|part| part.iter().fold(0, |n, byte| n * 10 + u32::from(byte - b'0')))
        .collect();
    let year = |year: u32| (1900..=2030).contains(&year);
    let named = raw.iter().any(u8::is_ascii_alphabetic);
    let right = match numbers[..] {
        // `19840512`
        [whole] => year(whole / 10_000) && date(whole / 10_000, whole / 100 % 100, whole % 100),
        // `05-Mar-84`
        [day, y] => (year(y) || named && y < 100) && (1..=31).contains(&day),
        // A day, or a moment that begins with it.
        [a, b, c, ..] if a > 31 => year(a) && date(a, b, c),
        [a, b, c] if c > 99 => year(c) && (date(c, a, b) || date(c, b, a)),
        [a, b, c] => date(2000 + c, a, b) || date(2000 + c, b, a),
        _ => false,
    };
    right.then_some(0.0)
}
