//! What names a call: the keys of the call index, the same for the call and for the feedback about it.

use sha2::{Digest, Sha256};

/// First 16 bytes of SHA-256 over the kind of name and its parts, each with its length.
pub type CallKey = [u8; 16];

/// A name that a producer gave a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name<'a> {
    /// The event's own id.
    Id(&'a str),
    /// Trace and span id, hex.
    Span(&'a str, &'a str),
    /// All calls of one trace; the index holds the first that was counted.
    Trace(&'a str),
    /// A provider and its response id: the same call seen by two instrumentations has one. Some servers count ids up
    /// from nothing again and again, so it names a call only where the numbers agree.
    Response(&'a str, &'a str),
    /// The response id alone, as feedback has it.
    ResponseId(&'a str),
    /// All calls of one conversation or session; the index holds the first that was counted.
    Conversation(&'a str),
}

impl Name<'_> {
    pub fn key(self) -> CallKey {
        let mut hash = Sha256::new();
        let mut part = |text: &str| {
            hash.update((text.len() as u32).to_le_bytes());
            hash.update(text.as_bytes());
        };
        match self {
            Self::Id(id) => ["id", id].iter().for_each(|text| part(text)),
            Self::Span(trace, span) => {
                part("span");
                part(&trace.to_ascii_lowercase());
                part(&span.to_ascii_lowercase());
            }
            Self::Trace(trace) => {
                part("trace");
                part(&trace.to_ascii_lowercase());
            }
            Self::Response(provider, id) => ["response", provider, id].iter().for_each(|text| part(text)),
            Self::ResponseId(id) => ["response-id", id].iter().for_each(|text| part(text)),
            Self::Conversation(id) => ["conversation", id].iter().for_each(|text| part(text)),
        }
        let mut key = [0; 16];
        key.copy_from_slice(&hash.finalize()[..16]);
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_parts_do_not_run_into_each_other() {
        let names = [
            Name::Id("ab"),
            Name::Trace("ab"),
            Name::ResponseId("ab"),
            Name::Conversation("ab"),
            Name::Response("a", "b"),
            Name::Span("a", "b"),
            Name::Span("", "ab"),
        ];
        let keys: std::collections::BTreeSet<_> = names.iter().map(|name| name.key()).collect();
        assert_eq!(keys.len(), names.len());
        assert_eq!(Name::Span("AB", "C").key(), Name::Span("ab", "c").key());
    }
}
