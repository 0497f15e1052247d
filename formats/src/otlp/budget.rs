//! What a message holds, counted before it is made: an empty attribute takes two bytes here and a hundred in memory.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::MAX_RECORDS;

/// Messages inside a message, of all kinds.
const MAX_NODES: usize = 1_000_000;
/// Values inside values.
const MAX_DEPTH: usize = 32;

/// A kind of message, with the fields that hold messages. Spans and log records have one path; where one number means
/// a message in the one and a text in the other, the text is counted by whatever it looks like, which is harmless.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Data,
    Group,
    Resource,
    Scope,
    Record,
    Event,
    Pair,
    Value,
    List,
    Pairs,
    Leaf,
}

fn inside(kind: Kind, field: u32) -> Option<Kind> {
    Some(match (kind, field) {
        (Kind::Data, 1) => Kind::Group,
        (Kind::Group, 1) => Kind::Resource,
        (Kind::Group, 2) => Kind::Scope,
        (Kind::Resource, 1) => Kind::Pair,
        (Kind::Scope, 2) => Kind::Record,
        // Attributes of a span, of a log record and of an event; a log record's body.
        (Kind::Record, 9 | 6) | (Kind::Event, 3) => Kind::Pair,
        (Kind::Record, 5) => Kind::Value,
        (Kind::Record, 11) => Kind::Event,
        (Kind::Record, 13) => Kind::Leaf,
        (Kind::Pair, 2) => Kind::Value,
        (Kind::Value, 5) => Kind::List,
        (Kind::Value, 6) => Kind::Pairs,
        (Kind::List, 1) => Kind::Value,
        (Kind::Pairs, 1) => Kind::Pair,
        _ => return None,
    })
}

/// Whether a message holds more than is read.
pub fn too_many(message: &[u8]) -> bool {
    let mut counted = Counted::default();
    count(message, Kind::Data, 0, &mut counted);
    counted.nodes > MAX_NODES || counted.records > MAX_RECORDS
}

#[derive(Default)]
struct Counted {
    nodes: usize,
    records: usize,
}

fn count(mut message: &[u8], kind: Kind, depth: usize, counted: &mut Counted) {
    while counted.nodes <= MAX_NODES
        && depth < MAX_DEPTH
        && let Ok((field, wire)) = decode_key(&mut message)
    {
        if wire != WireType::LengthDelimited {
            if skip_field(wire, field, &mut message, DecodeContext::default()).is_err() {
                return;
            }
            continue;
        }
        let length = decode_varint(&mut message).ok().and_then(|length| usize::try_from(length).ok());
        let Some((inner, after)) = length.and_then(|length| message.split_at_checked(length)) else { return };
        if let Some(kind) = inside(kind, field) {
            counted.nodes += 1;
            counted.records += usize::from(kind == Kind::Record);
            count(inner, kind, depth + 1, counted);
        }
        message = after;
    }
}
