//! Aggregates as the store has them: the first two bytes say where counts end and sketches begin.
#![no_main]
use leeway_core::pane::Pane;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((cut, bytes)) = bytes.split_first_chunk::<2>() else { return };
    let (counts, sketches) = bytes.split_at(usize::from(u16::from_le_bytes(*cut)).min(bytes.len()));
    if let Ok(mut pane) = Pane::decode(counts, sketches) {
        let other = Pane::decode(counts, sketches).unwrap();
        pane.merge(&other);
        let _ = (pane.encode_counts(), pane.encode_sketches());
        assert_eq!(Pane::decode(&other.encode_counts(), &other.encode_sketches()), Ok(other));
    }
});
