//! What all targets share: a reader of messages, and a sink that does with a record what the service does with it.

use leeway_core::event::{Event, Reject};
use leeway_core::pane::{Numbers, Pane};
use leeway_formats::{Format, Headers, Options, Reader, Scratch, Sink, UserKey};

/// Uses every part of a record, so that a wrong borrow or an overflow shows.
#[derive(Default)]
pub struct Use {
    pane: Pane,
}

impl Sink for Use {
    fn record(&mut self, _: u32, decoded: Result<Event<'_>, Reject>) {
        match decoded {
            Ok(Event::Call(call)) => {
                let mut numbers = Numbers::of(&call, None, false, |_| true);
                let scanner = leeway_detectors::scan::Scanner { examine_every: 1, ..Default::default() };
                numbers.scanned = scanner.scan(&call).map(Box::new);
                let _ = (call.name(), call.copy_name(), call.aliases().count());
                self.pane.add(&numbers);
            }
            Ok(Event::Record(record)) => assert!(record.body.len() < 1 << 24),
            Err(reason) => assert!(!reason.code().is_empty() && reason != Reject::RegistryAway),
        }
    }
    fn unknown_fields(&mut self, _: u32) {}
    fn skipped(&mut self, _: u32) {}
}

pub fn scratch() -> Scratch {
    let spaces = [("e5".to_owned(), 3)].into();
    Scratch::new(Options { spaces, ..Options::new(1 << 20, 64, UserKey::new([7; 32])) })
}

/// One message of one format.
pub fn message(format: &'static dyn Format, bytes: &[u8]) {
    let mut taken = Use::default();
    let _ = Reader::of(format).decode(bytes, &Headers::default(), &mut scratch(), &mut taken);
    let (counts, sketches) = (taken.pane.encode_counts(), taken.pane.encode_sketches());
    assert!(Pane::decode(&counts, &sketches).is_ok(), "what was counted cannot be read back");
}
