//! Texts of any kind: what is found lies in the text, and nothing overlaps; marks, origins, qualities and fingerprints are
//! told without a panic, and of every value of the answer one origin.
#![no_main]

use leeway_core::event::{Call, Part, Status, Text};
use leeway_core::scan::Origin;
use leeway_detectors::scan::fingerprint::Keyring;
use leeway_detectors::scan::{Finding, Scanner, find, held_beside, quality};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut end = 0;
    for finding in find(bytes) {
        assert!(finding.range.start >= end && finding.range.end <= bytes.len() && !finding.range.is_empty());
        assert!(!finding.canonical.is_empty() && finding.bits().is_finite());
        end = finding.range.end;
    }
    let text = String::from_utf8_lossy(bytes);
    held_beside(&text);
    // The text as every part of a call.
    let at = |share: usize| text.floor_char_boundary(text.len() * share / 5);
    let parts = [Part::Input, Part::Output, Part::System, Part::Document, Part::History];
    let texts = parts.iter().enumerate().map(|(place, part)| Text {
        owner: if bytes.len() % 2 == 0 { "them" } else { "" },
        id: "1",
        ..Text::new(*part, &text[at(place)..at(place + 1)])
    });
    let call = Call { texts: texts.collect(), status: Status::Ok, operation: "chat", ..Call::default() };
    let scanner = Scanner { examine_every: 1, keys: Some(Keyring::new([1; 32])), hosts: vec!["acme.io".into()], words: Some(Default::default()) };
    quality::beside(&call);
    let Some(scanned) = scanner.scan(&call) else { return };
    let given = find(text[at(1)..at(2)].as_bytes()).iter().filter(|finding| Finding::counts(finding)).count();
    let apart = [Origin::ForeignDocument, Origin::Partial];
    let told: u64 = scanned.hits.values().filter(|(_, origin, _)| !apart.contains(origin)).map(|(.., n)| n).sum();
    assert_eq!(told, given as u64);
    assert!(scanned.mentions.len() <= 1_000 && scanned.bytes.1 <= scanned.bytes.0);
});
