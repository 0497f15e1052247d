//! Addresses that carry text away when a page shows them: Markdown and HTML images and links with a value in their
//! query, fragment, path or host that is encoded text, an address or a number of somebody.

use percent_encoding::percent_decode_str;

use super::super::find::{REVIEW_BITS, find};
use super::encoded::readable;

/// Shortest value looked at.
const SHORTEST: usize = 8;

/// Whether a shown address carries something that is not an address's own, to a host that is none of `hosts`: a name
/// stands for itself and all below it.
pub fn sends(text: &str, hosts: &[String]) -> bool {
    let mut rest = text;
    while let Some(place) = rest.find("//") {
        // With its scheme, or with that of the page.
        let scheme = match rest[..place].strip_suffix(':') {
            Some(before) => before.bytes().rev().take_while(u8::is_ascii_alphanumeric).count() + 1,
            None => 0,
        };
        let start = place - scheme;
        let end = rest[place + 2..]
            .find(|letter: char| letter.is_whitespace() || matches!(letter, ')' | '"' | '\'' | '>' | ']' | '<' | '`'))
            .map_or(rest.len(), |end| place + 2 + end);
        let address = &rest[place + 2..end];
        if shown(&rest[..start]) && !known(address, hosts) && carries(address) {
            return true;
        }
        rest = &rest[end..];
    }
    false
}

fn known(address: &str, hosts: &[String]) -> bool {
    let host = address.split(['/', '?', '#', ':']).next().unwrap_or_default().to_ascii_lowercase();
    // `https://ours.io@theirs.io` goes to theirs.
    let below =
        |name: &String| host.strip_suffix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    !host.contains('@') && hosts.iter().any(below)
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

/// Whether it has an address of a mailbox in it: `vue@3.4` is a version, `wght@400` a weight.
fn names_somebody(text: &str) -> bool {
    let mut parts = text.split('@');
    let mut before = parts.next().unwrap_or_default();
    for part in parts {
        let host = part.split(|letter: char| !(letter.is_alphanumeric() || matches!(letter, '.' | '-'))).next();
        let domain = host.and_then(|host| host.trim_end_matches('.').rsplit_once('.'));
        let named = before.ends_with(char::is_alphanumeric);
        if named && domain.is_some_and(|(_, top)| top.len() >= 2 && top.bytes().all(|byte| byte.is_ascii_alphabetic()))
        {
            return true;
        }
        before = part;
    }
    false
}

/// Encoded text, or plain text with an address or a value in it.
fn foreign(value: &str) -> bool {
    let somebody = names_somebody(&percent_decode_str(value).decode_utf8_lossy());
    // `value.gif` is the value.
    let value = value.rsplit_once('.').filter(|(_, end)| end.len() <= 4).map_or(value, |(value, _)| value);
    let decoded = percent_decode_str(value).decode_utf8_lossy();
    // An address, or any value: a card, a number of a person.
    let plain = somebody || find(decoded.as_bytes()).iter().any(|finding| finding.bits() >= REVIEW_BITS);
    plain || readable(value) || readable(&decoded)
}
