//! Money as integers: nano-dollars (10⁻⁹ $) for amounts; decimal text in, never a float.

/// Billionths of a US dollar.
pub type NanoDollars = i64;

/// Parses decimal text (`0.00123`, `1.5e-6`) to a power-of-ten fraction of a dollar, rounding half to even.
///
/// `None` where the text is no decimal number, or too large for 64 bits.
pub fn parse_decimal(text: &str, decimals: i32) -> Option<i64> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut digits: i128 = 0;
    for byte in whole.bytes().chain(fraction.bytes()) {
        if !byte.is_ascii_digit() {
            return None;
        }
        digits = digits.checked_mul(10)?.checked_add(i128::from(byte - b'0'))?;
    }
    let shift = exponent.checked_add(decimals)?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let scaled = match u32::try_from(shift) {
        Ok(up) => digits.checked_mul(10i128.checked_pow(up)?)?,
        Err(_) => match 10i128.checked_pow(shift.unsigned_abs()) {
            Some(divisor) => divide_half_even(digits, divisor),
            None => 0,
        },
    };
    i64::try_from(if negative { -scaled } else { scaled }).ok()
}

/// Integer division that rounds half to even; `divisor` is positive.
pub fn divide_half_even(value: i128, divisor: i128) -> i128 {
    let (quotient, rest) = (value.div_euclid(divisor), value.rem_euclid(divisor));
    let up = match rest.cmp(&(divisor - rest)) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Equal => quotient % 2 != 0,
    };
    quotient + i128::from(up)
}

/// `$12.34`, `$0.0012`, `$1,234,567.00`: two significant decimals or cents, whichever is finer.
pub fn readable_usd(nano: f64) -> String {
    let usd = nano / 1e9;
    let decimals = match usd.abs() {
        0.0 => 2,
        a if a >= 1.0 => 2,
        a => (1 - a.log10().floor() as i32).clamp(2, 9),
    };
    let text = format!("{:.*}", decimals as usize, usd.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, "00"));
    let sign = if usd < 0.0 { "−" } else { "" };
    format!("{sign}${}.{fraction}", group_digits(whole))
}

/// `1234567` → `1,234,567`.
pub fn group_digits(digits: &str) -> String {
    let mut out = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact_and_halves_go_to_even() {
        assert_eq!(parse_decimal("0.1", 9), Some(100_000_000));
        assert_eq!(parse_decimal("1.5e-6", 9), Some(1_500));
        assert_eq!(parse_decimal("-2", 9), Some(-2_000_000_000));
        assert_eq!(parse_decimal("0.0000000005", 9), Some(0));
        assert_eq!(parse_decimal("0.0000000015", 9), Some(2));
        assert_eq!(parse_decimal("1e-400", 9), Some(0));
        assert_eq!(parse_decimal("99999999999999999999999999999999999999e-47", 9), Some(1));
        for bad in ["", ".", "1,5", "NaN", "1e400", "0x10", "--1", "99999999999999999999999999999999999999999"] {
            assert_eq!(parse_decimal(bad, 9), None, "{bad}");
        }
    }

    #[test]
    fn people_see_dollars() {
        assert_eq!(readable_usd(1_234_567_891_000_000.0), "$1,234,567.89");
        assert_eq!(readable_usd(1_234_000.0), "$0.0012");
        assert_eq!(readable_usd(0.0), "$0.00");
    }
}
