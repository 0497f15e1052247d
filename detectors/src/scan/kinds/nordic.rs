//! Sweden: personnummer. Finland: henkilötunnus.

use leeway_core::scan::Entity;

use super::super::check::{date, luhn, number};
use super::{Kind, Shape};

pub(super) static KINDS: &[Kind] = &[
    Kind {
        entity: Entity::SePersonnummer,
        shapes: &[
            Shape(r"\d{8} \d{4}", -6.0),
            Shape(r"\d{6}[-+]\d{4}", -6.0),
            Shape(r"\d{8}[-+]\d{4}", -3.5),
            Shape(r"\d{12}", -10.5),
            Shape(r"\d{10}", -10.5),
        ],
        words: &[
            "personal identity number",
            "person number",
            "personal number",
            "personal identity",
            "social security",
            "sweden id",
            "pers.nr",
            "personnummret",
            "personnummer",
            "personnr",
            "pnr",
            "person nr",
            "samordningsnummer",
            "swedish id",
            "persnr",
            "swedish personal",
            "swedish national",
            "swedish identity",
            "swedish social",
            "swedish ssn",
            "personnumret",
            "pers_nr",
            "p.nr",
        ],
        check: |candidate| {
            let digits = candidate.digits()?;
            let short = &digits[digits.len() - 10..];
            // A co-ordination number has 60 added to the day.
            let day = number(&short[4..6]);
            let [year, month] = [&short[..2], &short[2..4]].map(number);
            let day = if day > 60 { day - 60 } else { day };
            let born = date(2000 + year, month, day) || date(1900 + year, month, day);
            let century = digits.len() == 10 || matches!(number(&digits[..2]), 18..=20);
            (born && century && luhn(short)).then_some(8.0)
        },
        canonical: |candidate| {
            let text = candidate.compact_text();
            text[text.len() - 10..].to_owned()
        },
        ..Kind::NUMBER
    },
    Kind {
        entity: Entity::FiHetu,
        shapes: &[Shape(r"\d{6}[-+A-FU-Ya-fu-y]\d{3}[0-9A-FHJ-NPR-Ya-fhj-npr-y]", -4.0)],
        words: &[
            "hetu-tunnus",
            "personal identity",
            "identity code",
            "finland id",
            "henkilötunnukseni",
            "hlötunnus",
            "henkilötunnus",
            "hetu",
            "henkilotunnus",
            "personbeteckning",
            "finnish id",
            "finnish personal",
            "finnish national",
            "finnish identity",
            "finnish social",
            "finnish ssn",
            "sotu",
        ],
        check: |candidate| {
            let raw = candidate.raw();
            let part = |from: usize, to: usize| raw[from..to].iter().fold(0, |n, byte| n * 10 + u32::from(byte - b'0'));
            let check = b"0123456789ABCDEFHJKLMNPRSTUVWXY"[((part(0, 6) * 1000 + part(7, 10)) % 31) as usize];
            let (day, month, year) = (part(0, 2), part(2, 4), part(4, 6));
            let born = date(2000 + year, month, day) || date(1900 + year, month, day);
            (born && raw[10].eq_ignore_ascii_case(&check) && part(7, 10) >= 2).then_some(9.5)
        },
        // The separator carries the century.
        canonical: |candidate| String::from_utf8_lossy(candidate.raw()).to_uppercase(),
        ..Kind::WORD
    },
];
