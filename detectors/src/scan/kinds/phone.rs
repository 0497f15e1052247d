//! Phone numbers: with `+` by the plan of the country, others by how they are written or the words beside them.

use std::sync::LazyLock;

use leeway_core::scan::Entity;
use rlibphonenumber::enums::Region;
use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumber, PhoneNumberFormat};

use super::super::candidate::Candidate;
use super::super::check::number;
use super::super::test_values;
use super::{Edges, Kind, Shape};

pub(super) static KINDS: &[Kind] = &[Kind {
    entity: Entity::Phone,
    shapes: &[
        Shape(r"\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,5}(?:[ .-]?\d{1,5}){1,5}", 0.0),
        Shape(r"00[ .-]?[1-9]\d{0,2}(?:[ .-]?\d{2,5}){2,5}", -6.0),
        Shape(r"\(\d{3}\) ?\d{3}[ .-]\d{4}(?:x\d{2,5})?", 0.5),
        Shape(r"\(\d{1,5}\)[ -]?\d{2,5}(?:[ -]\d{2,4}){0,3}", -4.0),
        Shape(r"(?:1[.-])?\d{3}[.-]\d{3}[.-]\d{4}", -0.6),
        Shape(r"(?:1 )?\d{3} \d{3} \d{4}", -2.5),
        Shape(r"(?:(?:\+?1|001)-)?\d{3}[.-]\d{3}[.-]\d{4}x\d{2,5}", 4.0),
        Shape(r"001-\d{3}-\d{3}-\d{4}", 1.0),
        Shape(r"0\d(?:[. ]\d{2}){4}", -2.0),
        Shape(r"0\d{1,4}[ /-]\d{2,4}(?:[ -]?\d{2,4}){0,3}", -6.0),
        Shape(r"\d{1,4}(?:[ -]\d{2,4}){1,4}", -9.0),
        Shape(r"\d{2}[ -]\d{6,8}", -9.0),
        Shape(r"\d{4}[ -]\d{6,7}", -9.0),
        Shape(r"\d{5} \d{5,6}", -9.0),
        Shape(r"\d{7,12}", -9.5),
    ],
    words: WORDS,
    check: phone,
    canonical: dialled,
    edges: Edges::Number,
    ..Kind::NUMBER
}];

const WORDS: &[&str] = &[
    "phone",
    "tel",
    "telephone",
    "call",
    "call me",
    "cell",
    "mobile",
    "whatsapp",
    "fax",
    "telefon",
    "teléfono",
    "telefono",
    "téléphone",
    "portable",
    "handy",
    "celular",
    "móvil",
    "cellphone",
    "phone_number",
    "reach me",
    "reach us",
    "reach you",
    "text me",
    "sms",
    "contact number",
    "dial",
    "hotline",
    "messages to",
    "answering at",
    "registered",
    "office",
    "my number",
    "landline",
    "ring me",
    "ring on",
    "text me on",
    "a ring",
    "numéro de téléphone",
    "numéro de portable",
    "erreichbar unter",
    "rufen sie mich",
    "ligue para",
    "rufnummer",
    "handynummer",
    "mobilnummer",
    "erreichen sie",
    "appelez",
    "appelle-moi",
    "joignable",
    "llámame",
    "llámeme",
    "chiamami",
    "chiami",
    "bel me",
    "bel mij",
    "bereikbaar",
    "dzwoń",
    "zadzwoń",
    "me liga",
    "ring mig",
    "emergency contact",
    "contact no",
    "电话",
    "手机",
    "電話",
    "전화",
    "телефон",
];

fn national(candidate: &Candidate<'_>) -> Option<[u8; 10]> {
    let digits = candidate.digits()?;
    let digits = match digits {
        [1, rest @ ..] if digits.len() == 11 => rest,
        [0, 0, 1, rest @ ..] if digits.len() == 13 => rest,
        _ => digits,
    };
    digits.try_into().ok()
}

/// Area and exchange begin with 2 to 9.
fn american(digits: [u8; 10]) -> bool {
    digits[0] >= 2 && digits[3] >= 2
}

/// The largest country of each code.
static LARGEST: LazyLock<Vec<Option<Region>>> =
    LazyLock::new(|| (0..1_000).map(|code| PHONE_NUMBER_UTIL.get_region_for_country_code(code)).collect());

/// Whether a number is by the plan of the largest country of its code just as its digits stand: most are, and need no parser.
fn as_written(digits: &[u8]) -> bool {
    let code = |n: &usize| digits.get(..*n).and_then(|code| Some((number(code), LARGEST[number(code) as usize]?)));
    let Some((code, largest)) = (1..=3).filter(|_| digits[0] != 0).find_map(|n| code(&n)) else { return false };
    // A first zero is dialled in some countries alone.
    let national = &digits[code.ilog10() as usize + 1..];
    if national.first().is_none_or(|first| *first == 0) || national.len() > 15 {
        return false;
    }
    let national_number = national.iter().fold(0, |number, digit| number * 10 + u64::from(*digit));
    let written = PhoneNumber { country_code: code as i32, national_number, ..PhoneNumber::default() };
    written.is_valid_for_region(largest)
}

/// Whether it is by the plan of its country; of countries that share a code the largest is asked first.
fn valid(number: &PhoneNumber) -> bool {
    let largest = PHONE_NUMBER_UTIL.get_region_for_country_code(number.country_code);
    largest.is_some_and(|region| number.is_valid_for_region(region)) || number.is_valid()
}

/// Three digits, three, and four, with those of the country or not.
fn like_american(raw: &[u8]) -> bool {
    let mut groups = raw.split(|byte| !byte.is_ascii_digit()).filter(|part| !part.is_empty()).map(<[u8]>::len);
    let groups = [(); 5].map(|()| groups.next().unwrap_or_default());
    matches!(groups, [3, 3, 4, 0, 0] | [1, 3, 3, 4, 0] | [3, 3, 3, 4, 0])
}

fn phone(candidate: &Candidate<'_>) -> Option<f32> {
    // An extension is not part of the number.
    let raw = candidate.raw();
    if raw.contains(&b'x') {
        return Some(0.0);
    }
    let digits = candidate.digits()?;
    if raw[0] == b'+' {
        // A number that seems to go on is looked up where it may be whole: that takes two microseconds.
        let rest = &candidate.text[candidate.range.end..];
        let goes_on = matches!(rest, [b' ' | b'-' | b'.', digit, ..] if digit.is_ascii_digit());
        if digits.len() < if goes_on { 10 } else { 7 } {
            return None;
        }
        if as_written(digits) {
            return Some(7.0);
        }
        let text = std::str::from_utf8(raw).ok()?;
        let number = PHONE_NUMBER_UTIL.parse(text, None::<Region>).ok()?;
        return (valid(&number) || test_values::fiction(candidate.compact())).then_some(7.0);
    }
    let alike = digits.iter().all(|digit| *digit == digits[0]);
    if alike || !(6..=15).contains(&digits.len()) {
        return None;
    }
    if let Some(digits) = national(candidate)
        && like_american(raw)
    {
        return Some(if american(digits) { 3.5 } else { -1.0 });
    }
    Some(if digits.len() < 8 { -0.5 } else { 0.5 })
}

/// As dialled from anywhere (E.164) where the country is known, else the digits.
fn dialled(candidate: &Candidate<'_>) -> String {
    let raw = candidate.raw();
    // An extension is not part of the number.
    if let Some(place) = raw.iter().position(|byte| *byte == b'x') {
        let whole = candidate.range.start..candidate.range.start + place;
        return dialled(&Candidate::new(candidate.text, &whole));
    }
    if raw[0] == b'+' && !raw.contains(&b'(') {
        return candidate.compact_text();
    }
    // A trunk prefix in brackets is not dialled from abroad.
    if raw[0] == b'+'
        && let Ok(text) = std::str::from_utf8(raw)
        && let Ok(number) = PHONE_NUMBER_UTIL.parse(text, None::<Region>)
    {
        return number.format_as(PhoneNumberFormat::E164).trim_start_matches('+').to_owned();
    }
    match national(candidate) {
        Some(digits) if american(digits) => {
            format!("1{}", digits.iter().map(|digit| char::from(digit + b'0')).collect::<String>())
        }
        _ => candidate.compact_text().trim_start_matches('0').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rlibphonenumber::PhoneNumberType;

    #[test]
    fn what_is_by_the_plan_as_written_is_so_as_parsed() {
        let mut valid = 0;
        for region in PHONE_NUMBER_UTIL.get_supported_regions() {
            let Ok(example) = PHONE_NUMBER_UTIL.get_example_number(region) else { continue };
            let text = format!("+{}{}", example.country_code, example.get_national_significant_number());
            let digits: Vec<u8> = text.bytes().skip(1).map(|byte| byte - b'0').collect();
            valid += usize::from(as_written(&digits));
        }
        // Of the others most begin with a zero, or share their code with a larger country.
        assert!(valid > 180, "{valid}");
    }

    /// Digits of a number with its country's code, as the library's example of a kind has them.
    fn example() -> impl Strategy<Value = String> {
        let regions: Vec<Region> = PHONE_NUMBER_UTIL.get_supported_regions().collect();
        let kinds =
            [PhoneNumberType::FixedLine, PhoneNumberType::Mobile, PhoneNumberType::TollFree, PhoneNumberType::VoIP];
        let example = |(region, kind)| PHONE_NUMBER_UTIL.get_example_number_for_type_and_region(region, kind).ok();
        let written =
            |number: PhoneNumber| format!("{}{}", number.country_code, number.get_national_significant_number());
        (proptest::sample::select(regions), proptest::sample::select(kinds.to_vec()))
            .prop_filter_map("no example", move |of| example(of).map(written))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn no_parser_says_less(
            text in prop_oneof!["[1-9][0-9]{6,14}", example()],
            other in proptest::collection::vec((3usize..15, 0u8..10), 0..3),
            more in "[0-9]{0,1}",
        ) {
            let mut text = text + &more;
            // A number of the plan with a digit or two that are others.
            for (place, digit) in other.into_iter().filter(|(place, _)| *place < text.len()).collect::<Vec<_>>() {
                text.replace_range(place..place + 1, &digit.to_string());
            }
            prop_assume!(text.len() <= 15);
            let digits: Vec<u8> = text.bytes().map(|byte| byte - b'0').collect();
            let parsed = || PHONE_NUMBER_UTIL.parse(format!("+{text}"), None::<Region>).is_ok_and(|number| valid(&number));
            prop_assert!(!as_written(&digits) || parsed(), "+{text}");
        }
    }
}
