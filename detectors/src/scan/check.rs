//! Check digits and dates, as the issuers define them. Digits are values 0 to 9.

/// Luhn (ISO/IEC 7812-1): every second digit from the right doubled.
pub fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let doubled = u32::from(*digit) << (place % 2);
            if doubled > 9 { doubled - 9 } else { doubled }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Sum of digits times weights.
pub fn weighted(digits: &[u8], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(digit, weight)| u32::from(*digit) * weight).sum()
}

/// The number modulo a small divisor.
pub fn modulo(digits: &[u8], divisor: u64) -> u64 {
    digits.iter().fold(0, |rest, digit| (rest * 10 + u64::from(*digit)) % divisor)
}

/// Dihedral group of order ten (Verhoeff 1969): the table of the group, and the permutation's powers.
pub fn verhoeff(digits: &[u8]) -> bool {
    const TURN: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let product = |a: u8, b: u8| match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => (a + b - 5) % 5 + 5,
        (false, true) => (a + 5 - b) % 5 + 5,
        (false, false) => (a + 5 - b) % 5,
    };
    let rest = digits.iter().rev().enumerate().fold(0, |rest, (place, digit)| {
        let turned = (0..place % 8).fold(*digit, |digit, _| TURN[usize::from(digit)]);
        product(rest, turned)
    });
    rest == 0
}

/// ISO 7064 pure system 11-2 over digits, the last may be X (ten).
pub fn iso_11_2(values: &[u8]) -> bool {
    let Some((check, body)) = values.split_last() else { return false };
    let rest = body.iter().fold(0u32, |rest, value| (rest + u32::from(*value)) * 2 % 11);
    (rest + u32::from(*check)) % 11 == 1
}

/// ISO 7064 hybrid system 11,10.
pub fn iso_11_10(digits: &[u8]) -> bool {
    let Some((check, body)) = digits.split_last() else { return false };
    let product = body.iter().fold(10, |product, digit| {
        let sum = (u32::from(*digit) + product) % 10;
        (if sum == 0 { 10 } else { sum }) * 2 % 11
    });
    (product + u32::from(*check)) % 10 == 1
}

/// Value of a letter or digit in base 36.
pub fn base36(byte: u8) -> u32 {
    match byte {
        b'0'..=b'9' => u32::from(byte - b'0'),
        _ => u32::from(byte.to_ascii_uppercase().wrapping_sub(b'A')) + 10,
    }
}

/// Whether a day of the Gregorian calendar.
pub fn date(year: u32, month: u32, day: u32) -> bool {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return false,
    };
    (1..=days).contains(&day)
}

/// Two or four digits as a number.
pub fn number(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |number, digit| number * 10 + u32::from(*digit))
}

/// Year in two digits, month, day: a day of one of the two centuries.
pub fn short_date(digits: &[u8]) -> bool {
    let [year, month, day] = [&digits[..2], &digits[2..4], &digits[4..6]].map(number);
    date(1900 + year, month, day) || date(2000 + year, month, day)
}

/// Year in four digits, month, day: a day on which a living person may have been born.
pub fn birth(digits: &[u8]) -> bool {
    let [year, month, day] = [&digits[..4], &digits[4..6], &digits[6..8]].map(number);
    (1900..=2030).contains(&year) && date(year, month, day)
}
