use std::fmt::Write;

use leeway_core::event::Text;
use leeway_core::scan::Entity;
use proptest::prelude::*;

use super::*;

fn found(text: &str) -> Vec<Value> {
    let counted = find(text.as_bytes()).into_iter().filter(Finding::counts);
    counted.map(|finding| (finding.entity, finding.canonical)).collect()
}

fn token() -> String {
    secret::github(b"Zx81kQw7rtyUiop9147258bBxDeRGh")
}

#[test]
fn each_kind_is_found_in_its_spellings() {
    for (text, entity, canonical) in [
        ("write to Jane.Doe+x@Mail.Acme.co.uk.", Entity::Email, "jane.doe+x@mail.acme.co.uk"),
        ("<m\u{fc}ller@stra\u{df}e.de>", Entity::Email, "m\u{fc}ller@stra\u{df}e.de"),
        ("call +44 20 7946 1018 now", Entity::Phone, "442079461018"),
        ("(212) 736-5000", Entity::Phone, "12127365000"),
        ("call 212.736.5000,", Entity::Phone, "12127365000"),
        ("phone 1-212-736-5000", Entity::Phone, "12127365000"),
        ("mobile: 0171 2345678", Entity::Phone, "1712345678"),
        ("card 4539 1488 0343 6467 12/29", Entity::Card, "4539148803436467"),
        ("3714-496353-98423", Entity::Card, "371449635398423"),
        ("6011000990139424", Entity::Card, "6011000990139424"),
        ("IBAN nl91 abna 0417 1643 00.", Entity::Iban, "NL91ABNA0417164300"),
        ("GB33BUKB20201555555555", Entity::Iban, "GB33BUKB20201555555555"),
        ("DOB: 19840512", Entity::Dob, "19840512"),
        ("DOB: 05-Mar-84", Entity::Dob, "05-mar-84"),
        ("date of birth 1984-05-12T10:20:30Z", Entity::Dob, "1984-05-12t10:20:30z"),
        ("her SSN is 536-22-8726", Entity::UsSsn, "536228726"),
        ("ssn: 536228726", Entity::UsSsn, "536228726"),
        (&token(), Entity::Secret, &token()),
    ] {
        assert_eq!(found(text), [(entity, canonical.to_owned())], "{text}");
    }
}

/// A word of another kind, or of a thing, takes nothing from a value that has a form of its own; a name far off or after it says what it is.
#[test]
fn what_stands_about_a_value_says_what_it_is_and_takes_nothing_that_is_sure() {
    let aws = format!("AKIA{}", "3Q7LZ2MB5XNTD4WK");
    for (text, entity) in [
        (format!("aws account {aws}"), Entity::Secret),
        (format!("the client said {aws}"), Entity::Secret),
        ("Bluetooth address 18:6a:71:28:58:05".into(), Entity::Mac),
        ("link/ether 9a:c3:1f:40:7b:22".into(), Entity::Mac),
        ("MAC:7F-B6-7C-8C-CB-00".into(), Entity::Mac),
        ("Email from Ana: +48 602 407 802".into(), Entity::Phone),
        ("From the ticket: +47 932 70 383".into(), Entity::Phone),
        ("Patient says 84.203.124.32".into(), Entity::Ip),
        ("Ticket #48213: 4539 1488 0343 6467".into(), Entity::Card),
        ("Account update: 4539-1488-0343-6467".into(), Entity::Card),
        ("Is 72101359813 her PESEL?".into(), Entity::PlPesel),
        ("saved 72101359813 as the PESEL of".into(), Entity::PlPesel),
        ("found 72101359813 looking like a PESEL".into(), Entity::PlPesel),
        (
            "| Name | Note | PESEL | City |\n|---|---|---|---|\n| Roe | none | 72101359813 | Lodz |".into(),
            Entity::PlPesel,
        ),
        ("name,ssn,city\nMara Voss,492980507,Ghent".into(), Entity::UsSsn),
        (r"Hi\nssn: 492980507\nBest".into(), Entity::UsSsn),
        ("UPDATE people SET sin = '528-079-791'".into(), Entity::CaSin),
        ("IMEI 355914-38-909909-7".into(), Entity::Imei),
        ("NINO SZ281359 D".into(), Entity::UkNino),
        ("Give me a ring on 07456 463369".into(), Entity::Phone),
    ] {
        let told: Vec<Entity> = found(&text).into_iter().map(|(entity, _)| entity).collect();
        assert_eq!(told, [entity], "{text}");
    }
    assert_eq!(found(r"Hi\nbram@ziggo.nl"), [(Entity::Email, "bram@ziggo.nl".to_owned())]);
    // Paths and names of Windows are no line ends.
    assert_eq!(found(r"C:\users\nora@corp-mail.com"), found(r"x:\users\nora@corp-mail.com"));
    assert_eq!(found(r"CORP\rita.k@corp-mail.com").len(), 1);
    assert!(found(r"CORP\rita.k@corp-mail.com")[0].1.contains("rita.k@"));
    for text in [
        "social media reach 533207812",
        "social score 422782422",
        "call id 2525027261",
        "call count: 3583480523",
        "phone case sku 7951104476",
        "my clave CURP is XIRM741114HPLBJQ29",
        "serial 29:fd:93:8e:b7:2a:8c:0a:34:50:01:b2:d8:0e:57:e0",
        "uid ba:85:44:53:2d:f2:db:05",
        "server build 23.6.21.179",
        "{\n  \"channel\": \"mobile\",\n  \"sessions\": 48210457,\n}",
        "For calls, see below.\nWe had 4021457788, more or less.",
        "| Endpoint | Calls | p99 |\n|---|---|---|\n| /v1 | 48210457 | 20 |",
        "{\"contact_id\": 4155523671}",
        "Full text: 30214577 results",
        "numéro de commande 0612345678",
        "uid = 234567890124",
        "let sin = 130692544;",
        "48210457 as mobile users",
        "2023-06-13 as the birth rate fell",
        "ISBN-13 4539148803436467",
        "const secret = readSecretFromVaultV2(path)",
        "password = getPasswordFromK8sSecret()",
    ] {
        assert_eq!(found(text), [], "{text}");
    }
}

#[test]
fn what_only_looks_like_it_is_not_found() {
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
        "DE89370400440532013000 and 371449635398431 are published examples",
        "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx and api_key = YOUR_API_KEY_HERE_12345",
        "version 1.536-22-8726",
        "(212) 555-0123",
        "2026-11-21 04:48:22",
        "3.14159265358979",
        "192.168.100.200",
    ] {
        assert_eq!(found(text), [], "{text}");
    }
}

fn call<'a>(texts: &[(Part, &'a str)]) -> Call<'a> {
    Call { texts: texts.iter().map(|(part, text)| Text::new(*part, *text)).collect(), ..Call::default() }
}

/// A scan of every call, without fingerprints.
fn scan(call: &Call<'_>, examine_every: u32) -> Option<Scanned> {
    Scanner { examine_every, ..Scanner::default() }.scan(call)
}

#[test]
fn the_origin_is_the_first_text_that_holds_the_value() {
    let mail = "mail jane@acme.io";
    let origin = |texts: &[(Part, &str)]| {
        let scanned = scan(&call(texts), 1).unwrap();
        Origin::ALL.into_iter().find(|origin| scanned.hits.get(Entity::Email, *origin) == 1)
    };
    let (answer, other) = ((Part::Output, "JANE@acme.io it is"), (Part::Input, "who?"));
    assert_eq!(origin(&[answer, (Part::Input, mail), (Part::Document, mail)]), Some(Origin::Echo));
    assert_eq!(origin(&[answer, other, (Part::Document, mail), (Part::System, mail)]), Some(Origin::Retrieved));
    assert_eq!(origin(&[answer, other, (Part::System, mail)]), Some(Origin::System));
    assert_eq!(origin(&[answer, other]), Some(Origin::Unexplained));
    // A bare number in the question has no word beside it, and explains the answer all the same.
    let texts = [(Part::Output, "Your NHS number is 943 476 5870."), (Part::Input, "is it 9434765870?")];
    assert_eq!(scan(&call(&texts), 1).unwrap().hits.get(Entity::UkNhs, Origin::Echo), 1);
    for (answer, input, kind) in [
        ("Your NHS number is 943 476 5870.", "look up patient_9434765870", Entity::UkNhs),
        ("call 0171 2345678", "mine is +49 171 2345678", Entity::Phone),
        ("personnummer 640823-3234", "196408233234?", Entity::SePersonnummer),
    ] {
        let scanned = scan(&call(&[(Part::Output, answer), (Part::Input, input)]), 1).unwrap();
        assert_eq!(scanned.hits.get(kind, Origin::Echo), 1, "{answer}: {:?}", scanned.hits);
    }
    let texts = [(Part::Output, "api_key = chiiihzhntxm9cu6dnkg"), (Part::Input, "what is chiiihzhntxm9cu6dnkg?")];
    assert_eq!(scan(&call(&texts), 1).unwrap().hits.get(Entity::Secret, Origin::Echo), 1);
    assert_eq!(origin(&[answer]), Some(Origin::Unattributed), "without an input nobody can say");
    assert_eq!(origin(&[answer, other, (Part::History, mail)]), Some(Origin::History));
    let cut = Call { incomplete: true, ..call(&[answer, other]) };
    assert_eq!(scan(&cut, 1).unwrap().hits.of_origin(Origin::Unattributed), 1);
    assert_eq!(scan(&call(&[other]), 1), None, "no answer, no scan");
}

#[test]
fn a_document_of_another_tenant_is_told() {
    let mail = "mail jane@acme.io";
    let of = |owners: &[&'static str]| {
        let mut call = Call { tenant: "us", ..call(&[(Part::Output, mail), (Part::Input, "who?")]) };
        call.texts.extend(owners.iter().map(|owner| Text { owner, ..Text::new(Part::Document, mail) }));
        let hits = scan(&call, 1).unwrap().hits;
        (hits.of_origin(Origin::Retrieved), hits.of_origin(Origin::ForeignDocument))
    };
    assert_eq!(of(&["them"]), (1, 1));
    assert_eq!(of(&["us"]), (1, 0));
    assert_eq!(of(&[""]), (1, 0), "nobody says whose it is");
    assert_eq!(of(&["them", "us"]), (1, 0), "the own one holds it too");
}

#[test]
fn what_a_call_holds_is_fingerprinted_for_the_search_among_others() {
    let texts = [
        (Part::Output, "write to jane@acme.io, JANE@acme.io or bob@acme.io"),
        (Part::Input, "who is bob@acme.io? not eve@acme.io"),
        (Part::System, "ops@acme.io"),
    ];
    let call = Call { user: Some("u"), ..call(&texts) };
    let keys = Keyring::new([1; 32]);
    let scanned = Scanner { keys: Some(keys.clone()), ..Scanner::default() }.scan(&call).unwrap();
    let mut mentions: Vec<(bool, u16)> =
        scanned.mentions.iter().map(|mention| (mention.unexplained, mention.n)).collect();
    mentions.sort_unstable();
    assert_eq!(mentions, [(false, 1), (false, 1), (true, 2)], "bob and eve were given, jane comes twice from nowhere");
    let jane = scanned.mentions.iter().find(|mention| mention.unexplained).unwrap();
    assert_eq!(jane.print, keys.at(call.time).print(Entity::Email, "jane@acme.io"));
    assert!(scanned.user != 0 && scanned.session == 0);
    assert_eq!(scan(&call, 1).unwrap().mentions, []);
}

#[test]
fn refusals_open_an_answer() {
    for answer in ["I\u{2019}m sorry, but I can\u{2019}t help with that.", "Unfortunately I am unable to share this."] {
        assert!(scan(&call(&[(Part::Output, answer)]), 1).unwrap().refused, "{answer}");
    }
    let late = format!("{}I am unable to go on.", "All of it is here. ".repeat(20));
    for answer in ["Here is how you can do it.", late.as_str(), ""] {
        assert!(scan(&call(&[(Part::Output, answer)]), 1).is_none_or(|scanned| !scanned.refused), "{answer}");
    }
}

#[test]
fn hostile_text_takes_linear_time() {
    // A scan that looks at a text once for each of its bytes would not end within a day.
    for unit in [
        "a@",
        "1 ",
        "1-",
        "+1",
        "DE89 ",
        "ghp_",
        "a.a.a.a@a.",
        "(2",
        "9",
        "eyJ-",
        "xoxb-",
        "x://a:b@a",
        "12 34 ",
        "5551234 ",
        "data:\n",
        "data:\nk: c2VjcmV0LXRva2VuLXZhbHVl\n",
        "sk-proj-T3BlbkFJ",
        "curl -u a:",
    ] {
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
        let check = (0..10).find(|check| check::luhn(&[&digits[..], &[*check]].concat())).unwrap();
        write!(text, "{check}").unwrap();
        prop_assert_eq!(found(&format!("card {text}!")), [(Entity::Card, text)]);
    }
}

#[test]
fn evidence_adds_up_and_is_told() {
    let one = |text: &str| find(text.as_bytes()).into_iter().next().unwrap();
    let (bare, named) = (one("943 476 5870 is hers, NHS"), one("her NHS number is 943 476 5870"));
    assert_eq!((bare.entity, named.entity), (Entity::UkNhs, Entity::UkNhs));
    assert!(!bare.counts() && named.counts() && named.word == "nhs", "{bare:?} {named:?}");
    assert!((named.check - 3.5).abs() < 1e-6 && named.probability() > 0.99);
    // A token whose check digits fail is doubted, not dropped: other issuers' forms have none.
    let (right, wrong) = (one(&token()), one(&token().replace("Zx81", "Zx82")));
    assert!(right.bits() > wrong.bits() + 20.0 && wrong.counts(), "{right:?} {wrong:?}");
}

#[test]
fn of_overlapping_kinds_the_one_that_the_words_name_is_told() {
    // Nine digits that pass the checks of a BSN, a SIN, a routing number… are what stands before them.
    for (text, entity) in [
        ("BSN 111222333", Entity::NlBsn),
        ("passport number 111222333", Entity::Passport),
        ("my social security number is 111222333", Entity::UsSsn),
        ("PESEL 44051401458", Entity::PlPesel),
    ] {
        let found = find(text.as_bytes());
        assert_eq!(found.iter().map(|finding| finding.entity).collect::<Vec<_>>(), [entity], "{text}: {found:?}");
    }
}

#[test]
fn every_kind_has_a_name_a_place_and_words() {
    let mut seen: Vec<Entity> = kinds::KINDS.iter().map(|kind| kind.entity).collect();
    seen.extend([Entity::Email, Entity::UrlCred]);
    seen.sort_unstable();
    assert_eq!(seen, Entity::ALL, "each kind once");
    for kind in kinds::KINDS.iter() {
        assert!(!kind.words.is_empty(), "{:?}", kind.entity);
    }
}
