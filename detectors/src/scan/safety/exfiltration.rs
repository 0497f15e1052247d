//! Addresses that carry text away when a page shows them: Markdown and HTML images and links with a value in their
//! query, fragment, path or host that is encoded text, an address or a number of somebody.

use percent_encoding::percent_decode_str;

use super::super::find::{REVIEW_BITS, find};
use super::encoded::readable;

/// Shortest value looked at.
const SHORTEST: usize = 8;

/// Whether a shown address carries something that is not an address's own.
pub fn sends(text: &str) -> bool {
    let mut rest = text;
    while let Some(place) = rest.find("://") {
        let scheme = rest[..place].bytes().rev().take_while(u8::is_ascii_alphanumeric).count();
        let start = place - scheme;
        let end = rest[place + 3..]
            .find(|letter: char| letter.is_whitespace() || matches!(letter, ')' | '"' | '\'' | '>' | ']' | '<' | '`'))
            .map_or(rest.len(), |end| place + 3 + end);
        if shown(&rest[..start]) && carries(&rest[place + 3..end]) {
            return true;
        }
        rest = &rest[end..];
    }
    false
}

/// Whether what stands before an address makes a page fetch it or offer it: `](`, `]: `, `src="`, `href="`, `url(`.
fn shown(before: &str) -> bool {
    let before = &before[before.floor_char_boundary(before.len().saturating_sub(8))..];
    let trimmed = before.trim_end_matches([' ', '"', '\'', '<']);
    let lower = trimmed.to_ascii_lowercase();
    ["](", "]:", "src=", "href=", "url(", "data=", "action=", "srcset=", "poster="]
        .iter()
        .any(|end| lower.ends_with(end))
}

fn carries(address: &str) -> bool {
    let (place, query) = match address.find(['?', '#']) {
        Some(at) => (&address[..at], &address[at + 1..]),
        None => (address, ""),
    };
    let values = query.split(['&', '#', ';', '?']).map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value));
    let parts = place.split('/').skip(1);
    // A host's own label may carry it too.
    let labels = place.split('/').next().unwrap_or_default().split('.');
    values.chain(parts).chain(labels).any(|value| value.len() >= SHORTEST && foreign(value))
}

/// Encoded text, or plain text with an address or a value in it.
fn foreign(value: &str) -> bool {
    // `value.gif` is the value.
    let value = value.rsplit_once('.').filter(|(_, end)| end.len() <= 4).map_or(value, |(value, _)| value);
    let decoded = percent_decode_str(value).decode_utf8_lossy();
    // An address, or any value: a card, a number of a person.
    let plain = decoded.contains('@') || find(decoded.as_bytes()).iter().any(|finding| finding.bits() >= REVIEW_BITS);
    plain || readable(value) || readable(&decoded)
}
