//! Headers and bytes tell: the first byte chooses a content type.
#![no_main]
use leeway_formats::{Headers, Reader};

const KINDS: [&str; 6] = [
    "",
    "application/json",
    "application/x-protobuf",
    "application/cloudevents+json",
    "application/avro",
    "application/x-ndjson",
];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let mut headers = Headers::default();
    headers.take("content-type", KINDS[usize::from(*first) % KINDS.len()].as_bytes());
    if first & 0x40 != 0 {
        headers.take("ce_specversion", b"1.0");
        headers.take("ce_id", b"1");
        headers.take("ce_time", b"2026-11-20T23:10:00Z");
    }
    let reader = Reader::default();
    let _ = reader.decode(bytes, &headers, &mut leeway_fuzz::scratch(), &mut leeway_fuzz::Use::default());
});
