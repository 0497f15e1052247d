//! Addresses of machines: IP, MAC; tokens that name a person: JWT.

use std::net::{Ipv4Addr, Ipv6Addr};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use leeway_core::scan::Entity;

use super::super::candidate::Candidate;
use super::super::walk::WALK;
use super::{Edges, Kind, Shape};

pub(super) static KINDS: &[Kind] = &[
    Kind {
        entity: Entity::Ip,
        shapes: &[
            Shape(r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}", 2.5),
            Shape(r"[0-9a-fA-F]{1,4}(?::[0-9a-fA-F]{0,4}){2,7}", 1.0),
        ],
        words: &["ip", "client", "addr", "address", "logged in", "login", "host", "from", "remote", "ipv4", "ipv6"],
        check: ip,
        canonical: |candidate| {
            let text = String::from_utf8_lossy(candidate.raw());
            text.parse::<Ipv6Addr>().map_or_else(|_| text.into_owned(), |address| address.to_string())
        },
        edges: Edges::Number,
        ..Kind::NUMBER
    },
    Kind {
        entity: Entity::Mac,
        shapes: &[
            Shape(r"[0-9A-Fa-f]{12}", -10.0),
            Shape(r"[0-9A-Fa-f]{2}(?: [0-9A-Fa-f]{2}){5}", -5.0),
            Shape(r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}", 5.0),
            Shape(r"[0-9A-Fa-f]{2}(?:-[0-9A-Fa-f]{2}){5}", 5.0),
            Shape(r"[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}", 2.0),
        ],
        words: &[
            "mac addr",
            "physical address",
            "hw addr",
            "hwaddr",
            "wlan",
            "nic",
            "mac",
            "bt_addr",
            "bluetooth address",
            "bluetooth",
            "permanent address",
            "link/ether",
            "wake-on-lan",
            "station",
            "hostapd",
            "hardware address",
            "ethernet",
            "bssid",
        ],
        check: |candidate| {
            let text = candidate.compact();
            let nobody =
                text.iter().all(|byte| *byte == text[0]) || text.starts_with(b"01005E") || text.starts_with(b"3333");
            (!nobody && !goes_on(candidate)).then_some(0.0)
        },
        edges: Edges::Number,
        ..Kind::WORD
    },
    Kind {
        entity: Entity::Jwt,
        shapes: &[Shape(r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*", 0.0)],
        words: &["bearer", "token", "jwt", "authorization"],
        check: |candidate| {
            let mut parts = candidate.raw().split(|byte| *byte == b'.');
            let object = |part: Option<&[u8]>| -> Option<serde_json::Map<String, serde_json::Value>> {
                serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part?).ok()?).ok()
            };
            let header = object(parts.next())?;
            // A long token is cut, and its second part no whole object.
            let whole = object(parts.next()).is_some() || candidate.range.len() >= WALK;
            let right = header.contains_key("alg") && whole;
            right.then_some(15.0)
        },
        canonical: |candidate| String::from_utf8_lossy(candidate.raw()).into_owned(),
        edges: Edges::Token,
        ..Kind::NUMBER
    },
];

/// Whether more bytes in hexadecimal stand directly beside it.
fn goes_on(candidate: &Candidate<'_>) -> bool {
    let (before, after) = (&candidate.text[..candidate.range.start], &candidate.text[candidate.range.end..]);
    let hex = |pair: &[u8]| pair.iter().all(u8::is_ascii_hexdigit);
    let word = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    matches!(before, [rest @ .., one, two, b':'] if hex(&[*one, *two]) && !word(rest.last()))
        || matches!(after, [b':', one, two, rest @ ..] if hex(&[*one, *two]) && !word(rest.first()))
}

/// An address that somebody may have: neither private, loopback, documentation, multicast nor reserved.
fn ip(candidate: &Candidate<'_>) -> Option<f32> {
    let text = std::str::from_utf8(candidate.raw()).ok()?;
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        let [a, b, c, _] = address.octets();
        let nobody = address.is_private()
            || address.is_loopback()
            || address.is_link_local()
            || address.is_documentation()
            || address.is_multicast()
            || matches!(a, 0 | 240..)
            || a == 100 && (64..128).contains(&b)
            || a == 198 && matches!(b, 18 | 19)
            || a == 192 && b == 0 && c == 0;
        // `1.2.3.4` is a version more often than somebody's address.
        let version = address.octets().iter().all(|part| *part < 25);
        return (!nobody).then_some(if version { -3.0 } else { 2.5 });
    }
    let address: Ipv6Addr = text.parse().ok()?;
    // Bytes of a certificate's number, of a hash.
    if text.split(':').all(|group| group.len() == 2) || goes_on(candidate) {
        return None;
    }
    let first = address.segments()[0];
    let nobody = address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || first & 0xffc0 == 0xfe80
        || first & 0xfe00 == 0xfc00
        || first == 0x2001 && address.segments()[1] == 0x0db8;
    let whole = !text.contains("::");
    // `a::b` is a path of a programming language.
    let hex = text.bytes().filter(u8::is_ascii_hexdigit).count();
    (!nobody && (whole || first & 0xe000 == 0x2000 && hex >= 8)).then_some(4.0)
}
