use std::borrow::Cow;
use std::fmt::Write;

use leeway_core::event::Text;
use proptest::prelude::*;

use super::*;

fn found(text: &str) -> Vec<(Entity, String)> {
    let mut all = Vec::new();
    values(text.as_bytes(), |value| all.push((value.entity, value.canonical)));
    all
}

fn token() -> String {
    let body = b"Zx81kQwertyUiop0123456789AbCdE";
    let check = secret::base62(secret::crc32(body));
    format!("ghp_{}{}", std::str::from_utf8(body).unwrap(), std::str::from_utf8(&check).unwrap())
}

#[test]
fn each_kind_is_found_in_its_spellings() {
    for (text, entity, canonical) in [
        ("write to Jane.Doe+x@Mail.Acme.co.uk.", Entity::Email, "jane.doe+x@mail.acme.co.uk"),
        ("<m\u{fc}ller@stra\u{df}e.de>", Entity::Email, "m\u{fc}ller@stra\u{df}e.de"),
        ("call +44 20 7946 0018 now", Entity::Phone, "442079460018"),
        ("(212) 736-5000", Entity::Phone, "12127365000"),
        ("212.736.5000,", Entity::Phone, "12127365000"),
        ("1-212-736-5000", Entity::Phone, "12127365000"),
        ("mobile: 0171 2345678", Entity::Phone, "01712345678"),
        ("card 4539 1488 0343 6467 12/29", Entity::Card, "4539148803436467"),
        ("3714-496353-98431", Entity::Card, "371449635398431"),
        ("6011000990139424", Entity::Card, "6011000990139424"),
        ("IBAN DE89 3704 0044 0532 0130 00.", Entity::Iban, "DE89370400440532013000"),
        ("GB82WEST12345698765432", Entity::Iban, "GB82WEST12345698765432"),
        ("her SSN is 536-22-8726", Entity::UsSsn, "536228726"),
        ("ssn: 536228726", Entity::UsSsn, "536228726"),
        (&token(), Entity::Secret, &token()),
    ] {
        assert_eq!(found(text), [(entity, canonical.to_owned())], "{text}");
    }
}

#[test]
fn what_only_looks_like_it_is_not_found() {
    let wrong_token = token().replace("Zx81", "Zx82");
    for text in [
        "git@github.com:acme/app.git",
        "icon@2x.png and user@host and @scope/pkg@1.2.3",
        "jane@example.com",
        "4111 1111 1111 1111",
        "4539 1488 0343 6468",
        "order 1234567890123456",
        "epoch 1795213948060318213 ns",
        "DE89370400440532013001",
        "000-12-3456 and 666-12-3456 and 912-12-3456 and 078-05-1120",
        "536228726",
        "version 1.536-22-8726",
        "(212) 555-0123",
        "2026-11-21 04:48:22",
        "3.14159265358979",
        "192.168.100.200",
        &wrong_token,
    ] {
        assert_eq!(found(text), [], "{text}");
    }
}

fn call<'a>(texts: &[(Part, &'a str)]) -> Call<'a> {
    let texts = texts.iter().map(|(part, text)| Text { part: *part, text: Cow::Borrowed(*text) }).collect();
    Call { texts, ..Call::default() }
}

#[test]
fn the_origin_is_the_first_text_that_holds_the_value() {
    let mail = "mail jane@acme.io";
    let origin = |texts: &[(Part, &str)]| {
        let scanned = scan(&call(texts)).unwrap();
        Origin::ALL.into_iter().find(|origin| scanned.hits.get(Entity::Email, *origin) == 1)
    };
    let (answer, other) = ((Part::Output, "JANE@acme.io it is"), (Part::Input, "who?"));
    assert_eq!(origin(&[answer, (Part::Input, mail), (Part::Document, mail)]), Some(Origin::Echo));
    assert_eq!(origin(&[answer, other, (Part::Document, mail), (Part::System, mail)]), Some(Origin::Retrieved));
    assert_eq!(origin(&[answer, other, (Part::System, mail)]), Some(Origin::System));
    assert_eq!(origin(&[answer, other]), Some(Origin::Unexplained));
    assert_eq!(origin(&[answer]), Some(Origin::Unattributed), "without an input nobody can say");
    assert_eq!(origin(&[answer, other, (Part::History, mail)]), Some(Origin::Unattributed));
    let cut = Call { incomplete: true, ..call(&[answer, other]) };
    assert_eq!(scan(&cut).unwrap().hits.of_origin(Origin::Unattributed), 1);
    assert_eq!(scan(&call(&[other])), None, "no answer, no scan");
}

#[test]
fn refusals_open_an_answer() {
    for answer in ["I\u{2019}m sorry, but I can\u{2019}t help with that.", "Unfortunately I am unable to share this."] {
        assert!(scan(&call(&[(Part::Output, answer)])).unwrap().refused, "{answer}");
    }
    let late = format!("{}I am unable to go on.", "All of it is here. ".repeat(20));
    for answer in ["Here is how you can do it.", late.as_str(), ""] {
        assert!(scan(&call(&[(Part::Output, answer)])).is_none_or(|scanned| !scanned.refused), "{answer}");
    }
}

#[test]
fn hostile_text_takes_linear_time() {
    // A scan that looks at a text once for each of its bytes would not end within a day.
    for unit in ["a@", "1 ", "1-", "+1", "DE89 ", "ghp_", "a.a.a.a@a.", "(2", "9"] {
        let text = unit.repeat(MAX_TEXT / unit.len());
        found(&text);
    }
}

proptest! {
    #[test]
    fn any_text_is_scanned_without_a_panic(text in "\\PC{0,80}", digits in "[0-9 .()+@_-]{0,60}", place in 0usize..80) {
        found(&text);
        let mut mixed = text.clone();
        mixed.insert_str(mixed.floor_char_boundary(place), &digits);
        found(&mixed);
    }

    #[test]
    fn any_card_with_a_right_check_digit_is_found(body in 0u64..100_000_000_000_000) {
        let mut text = String::new();
        write!(text, "4{body:014}").unwrap();
        let digits: Vec<u8> = text.bytes().map(|byte| byte - b'0').collect();
        let check = (0..10).find(|check| card::luhn(&[&digits[..], &[*check]].concat())).unwrap();
        write!(text, "{check}").unwrap();
        prop_assert_eq!(found(&format!("card {text}!")), [(Entity::Card, text)]);
    }
}
