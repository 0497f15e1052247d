//! Walks a parsed JSON tape, field by field, and reads typed values; null is missing.

use leeway_core::clock::{Micros, parse_rfc3339};
use leeway_core::event::Reject;
use leeway_core::money::{NanoDollars, parse_decimal};
use simd_json::{Node, StaticNode};

/// The nodes of one JSON value.
#[derive(Debug, Clone, Copy)]
pub struct Value<'t, 'i>(pub &'t [Node<'i>]);

type Read<T> = Result<Option<T>, Reject>;

/// Nodes that one value takes.
fn span(node: &Node<'_>) -> usize {
    match node {
        Node::Object { count, .. } | Node::Array { count, .. } => count + 1,
        Node::String(_) | Node::Static(_) => 1,
    }
}

impl<'t, 'i> Value<'t, 'i> {
    pub fn node(self) -> Node<'i> {
        self.0.first().copied().unwrap_or(Node::Static(StaticNode::Null))
    }

    pub fn null(self) -> bool {
        matches!(self.node(), Node::Static(StaticNode::Null))
    }

    /// Keys and values of an object; `None` where it is none.
    pub fn fields(self) -> Option<Fields<'t, 'i>> {
        matches!(self.node(), Node::Object { .. }).then(|| Fields(&self.0[1..]))
    }

    /// Elements of an array; `None` where it is none.
    pub fn items(self) -> Option<Items<'t, 'i>> {
        matches!(self.node(), Node::Array { .. }).then(|| Items(&self.0[1..]))
    }

    pub fn text(self, field: &'static str) -> Read<&'i str> {
        match self.node() {
            Node::Static(StaticNode::Null) => Ok(None),
            // No label or id has one, and Postgres takes none in a text.
            Node::String(text) if text.as_bytes().contains(&0) => Err(Reject::WrongType(field)),
            Node::String(text) => Ok(Some(text)),
            _ => Err(Reject::WrongType(field)),
        }
    }

    /// A text that is read and not kept, so it may hold anything.
    pub fn prose(self) -> Option<&'i str> {
        match self.node() {
            Node::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn bool(self, field: &'static str) -> Read<bool> {
        match self.node() {
            Node::Static(StaticNode::Null) => Ok(None),
            Node::Static(StaticNode::Bool(value)) => Ok(Some(value)),
            _ => Err(Reject::WrongType(field)),
        }
    }

    /// A count: an integer that is not negative. `12.0` is one, `12.5` and `"12"` are not.
    pub fn count(self, field: &'static str) -> Read<u64> {
        match self.node() {
            Node::Static(StaticNode::Null) => Ok(None),
            Node::Static(StaticNode::U64(value)) => Ok(Some(value)),
            Node::Static(StaticNode::I64(value)) => u64::try_from(value).map(Some).map_err(|_| Reject::NegativeCount),
            Node::Static(StaticNode::F64(value)) if value < 0.0 => Err(Reject::NegativeCount),
            Node::Static(StaticNode::F64(value)) if value.fract() == 0.0 && value < 9e15 => Ok(Some(value as u64)),
            _ => Err(Reject::WrongType(field)),
        }
    }

    pub fn number(self, field: &'static str) -> Read<f64> {
        match self.node() {
            Node::Static(StaticNode::Null) => Ok(None),
            Node::Static(StaticNode::I64(value)) => Ok(Some(value as f64)),
            Node::Static(StaticNode::U64(value)) => Ok(Some(value as f64)),
            Node::Static(StaticNode::F64(value)) => Ok(Some(value)),
            _ => Err(Reject::WrongType(field)),
        }
    }

    /// Milliseconds, kept as µs; negative durations are rejected, absurd ones (over a year) too.
    pub fn duration(self, field: &'static str) -> Read<u64> {
        const YEAR_MS: f64 = 366.0 * 86_400_000.0;
        match self.number(field)? {
            None => Ok(None),
            Some(ms) if ms < 0.0 => Err(Reject::NegativeCount),
            Some(ms) if ms <= YEAR_MS => Ok(Some((ms * 1000.0).round() as u64)),
            Some(_) => Err(Reject::WrongType(field)),
        }
    }

    /// Dollars as decimal text or a JSON number. A number's shortest text is what its producer wrote (up to 15
    /// digits), so nano-dollars come out exact.
    pub fn money(self, field: &'static str) -> Read<NanoDollars> {
        let wrong = Reject::WrongType(field);
        let nano = match self.node() {
            Node::Static(StaticNode::Null) => return Ok(None),
            Node::String(text) => parse_decimal(text, 9).ok_or(wrong)?,
            Node::Static(StaticNode::F64(value)) => parse_decimal(&format!("{value}"), 9).ok_or(wrong)?,
            Node::Static(StaticNode::I64(value)) => value.checked_mul(1_000_000_000).ok_or(wrong)?,
            Node::Static(StaticNode::U64(value)) => {
                i64::try_from(value).ok().and_then(|v| v.checked_mul(1_000_000_000)).ok_or(wrong)?
            }
            _ => return Err(wrong),
        };
        if nano < 0 { Err(Reject::NegativeCount) } else { Ok(Some(nano)) }
    }

    /// RFC 3339 text, or an integer of Unix seconds, milli-, micro- or nanoseconds told apart by magnitude.
    pub fn time(self, field: &'static str) -> Read<Micros> {
        let wrong = Reject::WrongType(field);
        match self.node() {
            Node::Static(StaticNode::Null) => Ok(None),
            Node::String(text) => parse_rfc3339(text).map(Some).ok_or(wrong),
            Node::Static(StaticNode::I64(value)) => Ok(Some(by_magnitude(value))),
            Node::Static(StaticNode::U64(value)) => {
                i64::try_from(value).map(|v| Some(by_magnitude(v))).map_err(|_| wrong)
            }
            _ => Err(wrong),
        }
    }

    /// A label or score: bool as 0 or 1, number, or (as `None`) a label; in millionths.
    pub fn score(self, field: &'static str) -> Result<Option<i64>, Reject> {
        match self.node() {
            Node::String(_) | Node::Static(StaticNode::Null) => Ok(None),
            Node::Static(StaticNode::Bool(value)) => Ok(Some(i64::from(value) * 1_000_000)),
            Node::Static(_) => {
                let value = self.number(field)?.unwrap_or_default() * 1e6;
                if value.abs() < 9e18 { Ok(Some(value.round() as i64)) } else { Err(Reject::WrongType(field)) }
            }
            _ => Err(Reject::WrongType(field)),
        }
    }

    /// The value for the tables of rare kinds. Depth is bounded by the parser.
    pub fn to_json(self) -> serde_json::Value {
        use serde_json::Value as Json;
        if let Some(fields) = self.fields() {
            return Json::Object(fields.map(|(key, value)| (key.to_owned(), value.to_json())).collect());
        }
        if let Some(items) = self.items() {
            return Json::Array(items.map(Self::to_json).collect());
        }
        match self.node() {
            Node::String(text) => Json::String(text.to_owned()),
            Node::Static(StaticNode::Bool(value)) => Json::Bool(value),
            Node::Static(StaticNode::I64(value)) => value.into(),
            Node::Static(StaticNode::U64(value)) => value.into(),
            Node::Static(StaticNode::F64(value)) => value.into(),
            _ => Json::Null,
        }
    }
}

fn by_magnitude(value: i64) -> Micros {
    match value.unsigned_abs() {
        0..=99_999_999_999 => value * 1_000_000,
        100_000_000_000..=99_999_999_999_999 => value * 1_000,
        100_000_000_000_000..=99_999_999_999_999_999 => value,
        _ => value.div_euclid(1_000),
    }
}

#[derive(Debug)]
pub struct Fields<'t, 'i>(&'t [Node<'i>]);

impl<'t, 'i> Iterator for Fields<'t, 'i> {
    type Item = (&'i str, Value<'t, 'i>);

    fn next(&mut self) -> Option<Self::Item> {
        let Some(Node::String(key)) = self.0.first() else { return None };
        let value = take(&mut self.0, 1)?;
        Some((key, value))
    }
}

#[derive(Debug, Clone)]
pub struct Items<'t, 'i>(&'t [Node<'i>]);

impl<'t, 'i> Iterator for Items<'t, 'i> {
    type Item = Value<'t, 'i>;

    fn next(&mut self) -> Option<Self::Item> {
        take(&mut self.0, 0)
    }
}

/// Cuts the value that starts at `start` off the front.
fn take<'t, 'i>(nodes: &mut &'t [Node<'i>], start: usize) -> Option<Value<'t, 'i>> {
    let end = start + span(nodes.get(start)?);
    let value = nodes.get(start..end)?;
    *nodes = &nodes[end..];
    Some(Value(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_tell_their_unit_by_magnitude() {
        let expected = 1_795_225_535_000_000;
        for value in [1_795_225_535, 1_795_225_535_000, 1_795_225_535_000_000, 1_795_225_535_000_000_000] {
            assert_eq!(by_magnitude(value), expected);
        }
    }
}
