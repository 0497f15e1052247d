//! IBAN (ISO 13616): country, length of the country, mod 97 = 1.

use leeway_core::scan::Entity;

use super::{Found, Pattern, Site};

pub(super) struct Iban;

/// Country and total length.
const COUNTRIES: [(&[u8; 2], usize); 58] = [
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BR", 29),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GR", 27),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MT", 31),
    (b"NL", 18),
    (b"NO", 15),
    (b"PK", 24),
    (b"PL", 28),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"SA", 24),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"TR", 26),
];

impl Pattern for Iban {
    fn entity(&self) -> Entity {
        Entity::Iban
    }

    fn needs(&self, byte: u8) -> bool {
        byte.is_ascii_digit()
    }

    fn after(&self, before: u8) -> bool {
        before.is_ascii_uppercase()
    }

    /// The site is the first check digit, after the country.
    fn parse(&self, site: &Site<'_>) -> Option<Found> {
        let text = site.text;
        let start = site.at.checked_sub(2).filter(|start| *start >= site.from)?;
        let country = text.get(start..site.at).filter(|country| country.iter().all(u8::is_ascii_uppercase))?;
        let (_, length) = COUNTRIES.iter().find(|(code, _)| &code[..] == country)?;
        if start > 0 && (text[start - 1].is_ascii_alphanumeric() || text[start - 1] == b'_') {
            return None;
        }
        let mut value = Vec::with_capacity(*length);
        let mut place = start;
        while value.len() < *length {
            let byte = *text.get(place)?;
            match byte {
                b'0'..=b'9' | b'A'..=b'Z' => value.push(byte),
                b' ' if text.get(place + 1).is_some_and(u8::is_ascii_alphanumeric) => {}
                _ => return None,
            }
            place += 1;
        }
        let ends = text.get(place).is_none_or(|next| !next.is_ascii_alphanumeric() && *next != b'_');
        let canonical = String::from_utf8(value).ok()?;
        (ends && mod97(canonical.as_bytes()) == 1).then_some(Found { end: place, canonical })
    }
}

/// The first four characters go to the end, letters count from A = 10.
fn mod97(iban: &[u8]) -> u32 {
    iban[4..].iter().chain(&iban[..4]).fold(0, |rest, byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        _ => (rest * 100 + u32::from(byte - b'A') + 10) % 97,
    })
}
