//! Argentina: CUIT and CUIL. Chile: RUT.

use leeway_core::scan::Entity;

use super::super::check::weighted;
use super::{Kind, Shape};

pub(super) static KINDS: &[Kind] = &[
    Kind {
        entity: Entity::ArCuit,
        shapes: &[
            Shape(r"(?:2[03-7]|3[034])-\d{2}\.\d{3}\.\d{3}-\d", 0.0),
            Shape(r"(?:2[03-7]|3[034])/\d{8}/\d", -2.0),
            Shape(r"(?:2[03-7]|3[034])[- ]\d{8}[- ]\d", 0.0),
            Shape(r"(?:2[03-7]|3[034])\d{9}", -9.0),
        ],
        words: &[
            "argentine tax",
            "argentinian",
            "clave unica",
            "clave fiscal",
            "cuil/cuit",
            "tax id",
            "argentine",
            "cuit",
            "cuil",
            "clave única",
            "identificación tributaria",
        ],
        check: |candidate| {
            let digits = candidate.digits()?;
            let sum = weighted(digits, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]);
            // A remainder of one, which no digit can say, is written as nine.
            let expected = match 11 - sum % 11 {
                11 => 0,
                10 => 9,
                digit => digit,
            };
            (expected == u32::from(digits[10])).then_some(3.5)
        },
        ..Kind::NUMBER
    },
    Kind {
        entity: Entity::ClRut,
        shapes: &[
            Shape(r"\d{1,2}\.\d{3}\.\d{3}-[0-9Kk]", 1.0),
            Shape(r"\d{7,8}-[0-9Kk]", -4.5),
            Shape(r"\d{7,8}[0-9Kk]", -9.5),
        ],
        words: &[
            "r.u.t",
            "chilean",
            "chilean national",
            "chile id",
            "rol único tributario",
            "carnet",
            "cedula",
            "cédula",
            "rut nº",
            "rol",
            "rut",
            "RUN",
            "rol único",
            "rol unico",
            "cédula de identidad",
        ],
        check: |candidate| {
            let text = candidate.compact();
            let (check, body) = text.split_last()?;
            let sum: u32 = body
                .iter()
                .rev()
                .zip((2..=7).cycle())
                .map(|(byte, weight)| u32::from(byte.wrapping_sub(b'0')) * weight)
                .sum();
            let expected = match 11 - sum % 11 {
                11 => b'0',
                10 => b'K',
                digit => b'0' + digit as u8,
            };
            (expected == *check).then_some(3.5)
        },
        ..Kind::WORD
    },
];
