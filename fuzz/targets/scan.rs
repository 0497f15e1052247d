//! Texts of any kind: what is found lies in the text, and nothing overlaps; marks and origins are told without a panic.
#![no_main]

use leeway_detectors::scan::{find, safety};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut end = 0;
    for finding in find(bytes) {
        assert!(finding.range.start >= end && finding.range.end <= bytes.len() && !finding.range.is_empty());
        assert!(!finding.canonical.is_empty() && finding.bits().is_finite());
        end = finding.range.end;
    }
    let text = String::from_utf8_lossy(bytes);
    safety::answer(&text).chain(safety::input(&text)).count();
    let half = text.floor_char_boundary(text.len() / 2);
    safety::leaks_prompt(&text[..half], &text[half..]);
});
