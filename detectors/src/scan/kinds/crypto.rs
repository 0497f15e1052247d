//! Wallets: Bitcoin (base58check, bech32, bech32m) and Ethereum (EIP-55).

use leeway_core::scan::Entity;
use sha2::{Digest, Sha256};
use sha3::Keccak256;

use super::super::candidate::Candidate;
use super::{Edges, Kind, Shape};

pub(super) static KINDS: &[Kind] = &[
    Kind {
        entity: Entity::Btc,
        shapes: &[
            Shape(r"[13][1-9A-HJ-NP-Za-km-z]{24,34}", 0.0),
            Shape(r"bc1[02-9ac-hj-np-z]{11,71}", 0.0),
            Shape(r"BC1[02-9AC-HJ-NP-Z]{11,71}", 0.0),
        ],
        words: &["btc", "bitcoin", "wallet"],
        check: |candidate| {
            let raw = candidate.raw();
            let right = if matches!(raw[0], b'b' | b'B') { segwit(raw) } else { base58check(raw) };
            right.then_some(30.0)
        },
        canonical: |candidate| {
            let raw = String::from_utf8_lossy(candidate.raw());
            if raw.starts_with("BC1") { raw.to_lowercase() } else { raw.into_owned() }
        },
        edges: Edges::Word,
        ..Kind::NUMBER
    },
    Kind {
        entity: Entity::Eth,
        shapes: &[Shape(r"0x[0-9a-fA-F]{40}", 3.3)],
        words: &["ether", "address", "0x address", "eth", "ethereum", "wallet", "metamask", "erc20", "erc-20"],
        check: ethereum,
        canonical: |candidate| String::from_utf8_lossy(candidate.raw()).to_lowercase(),
        edges: Edges::Word,
        ..Kind::NUMBER
    },
];

/// Twenty-five bytes in base 58, the last four the head of a double SHA-256 of the others.
fn base58check(text: &[u8]) -> bool {
    const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut bytes = [0u8; 25];
    for byte in text {
        let Some(value) = ALPHABET.iter().position(|known| known == byte) else { return false };
        let mut carry = value as u32;
        for place in bytes.iter_mut().rev() {
            carry += u32::from(*place) * 58;
            *place = carry as u8;
            carry >>= 8;
        }
        if carry != 0 {
            return false;
        }
    }
    let hash = Sha256::digest(Sha256::digest(&bytes[..21]));
    hash[..4] == bytes[21..] && matches!(bytes[0], 0 | 5)
}

/// BIP 173 and BIP 350: version 0 with the first constant, later versions with the second.
fn segwit(text: &[u8]) -> bool {
    const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    const GENERATORS: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let step = |rest: u32, value: u32| {
        let top = rest >> 25;
        let next = (rest & 0x01ff_ffff) << 5 ^ value;
        (0..5).filter(|bit| top >> bit & 1 == 1).fold(next, |next, bit| next ^ GENERATORS[bit])
    };
    let mut rest = [3, 3, 0, 2, 3].into_iter().fold(1, step);
    let mut version = 0;
    for (place, byte) in text[3..].iter().enumerate() {
        let Some(value) = ALPHABET.iter().position(|known| *known == byte.to_ascii_lowercase()) else { return false };
        version = if place == 0 { value } else { version };
        rest = step(rest, value as u32);
    }
    let constant = if version == 0 { 1 } else { 0x2bc8_30a3 };
    // Twenty or thirty-two bytes in version 0.
    let length = version != 0 || matches!(text.len(), 42 | 62);
    version <= 16 && rest == constant && length
}

/// Capitals say the bits of a Keccak-256 of the small letters; where there is one case only, nothing is said.
fn ethereum(candidate: &Candidate<'_>) -> Option<f32> {
    let hex = &candidate.raw()[2..];
    if hex.iter().all(|byte| *byte == hex[0]) {
        return None;
    }
    let (upper, lower) = (hex.iter().any(u8::is_ascii_uppercase), hex.iter().any(u8::is_ascii_lowercase));
    if !(upper && lower) {
        return Some(0.0);
    }
    let hash = Keccak256::digest(hex.to_ascii_lowercase());
    let right = hex.iter().enumerate().all(|(place, byte)| {
        let nibble = hash[place / 2] >> (4 * (1 - place % 2)) & 15;
        !byte.is_ascii_alphabetic() || byte.is_ascii_uppercase() == (nibble > 7)
    });
    right.then_some(12.0)
}
