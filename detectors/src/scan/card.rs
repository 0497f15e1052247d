//! Payment cards: 13 to 19 digits, known issuer range, Luhn (ISO/IEC 7812-1).

use leeway_core::scan::Entity;

use super::{Found, Pattern, Site};

pub(super) struct Card;

/// Numbers that networks publish for tests.
const TEST: [&str; 8] = [
    "4111111111111111",
    "4242424242424242",
    "4000056655665556",
    "5555555555554444",
    "5105105105105100",
    "378282246310005",
    "6011111111111117",
    "4012888888881881",
];

impl Pattern for Card {
    fn entity(&self) -> Entity {
        Entity::Card
    }

    fn needs(&self, byte: u8) -> bool {
        matches!(byte, b'2'..=b'6')
    }

    fn after(&self, before: u8) -> bool {
        !super::digits::inner(before)
    }

    fn of_numbers(&self) -> bool {
        true
    }

    fn parse(&self, site: &Site<'_>) -> Option<Found> {
        let run = site.run()?;
        let after_plus = site.at > 0 && site.text[site.at - 1] == b'+';
        if run.mixed || run.separator == Some(b'.') || after_plus {
            return None;
        }
        // A run may go on with something else: the longest whole groups that make a card.
        let mut length = run.digits().len();
        for group in run.groups().iter().rev() {
            let digits = &run.digits()[..length];
            if (13..=19).contains(&length) && issued(digits) && luhn(digits) {
                let canonical = run.text(length);
                let end = run.end(site.text, length)?;
                return (!TEST.contains(&canonical.as_str())).then_some(Found { end, canonical });
            }
            length -= usize::from(*group);
        }
        None
    }
}

/// Whether a network has the range and that length.
fn issued(digits: &[u8]) -> bool {
    let prefix = |n: usize| digits[..n].iter().fold(0u32, |sum, digit| sum * 10 + u32::from(*digit));
    let (two, three, four) = (prefix(2), prefix(3), prefix(4));
    match digits.len() {
        13 => digits[0] == 4,
        14 => matches!(three, 300..=305) || matches!(two, 36 | 38 | 39),
        15 => matches!(two, 34 | 37),
        16 => {
            digits[0] == 4
                || matches!(two, 51..=55 | 62 | 65)
                || matches!(four, 2221..=2720 | 6011 | 3528..=3589)
                || matches!(three, 644..=649)
                || matches!(two, 50 | 56..=58)
        }
        17 => matches!(two, 62 | 50 | 56..=58),
        _ => digits[0] == 4 || matches!(two, 62 | 50 | 56..=58 | 60),
    }
}

pub(super) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits.iter().rev().enumerate().map(|(place, digit)| luhn_digit(place, *digit)).sum();
    sum.is_multiple_of(10) && digits.iter().any(|digit| *digit != digits[0])
}

fn luhn_digit(place: usize, digit: u8) -> u32 {
    let digit = u32::from(digit);
    if place.is_multiple_of(2) { digit } else { digit * 2 - if digit > 4 { 9 } else { 0 } }
}
