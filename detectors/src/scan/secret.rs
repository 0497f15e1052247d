//! GitHub and npm tokens: a prefix, thirty characters, and six that are the CRC-32 of the thirty in base 62, so a hit
//! is a token and no accident.

use leeway_core::scan::Entity;

use super::{Found, Pattern, Site};

pub(super) struct Secret;

const PREFIXES: [&[u8; 3]; 6] = [b"ghp", b"gho", b"ghu", b"ghs", b"ghr", b"npm"];
const BODY: usize = 30;
const CHECK: usize = 6;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

impl Pattern for Secret {
    fn entity(&self) -> Entity {
        Entity::Secret
    }

    fn needs(&self, byte: u8) -> bool {
        byte == b'_'
    }

    fn after(&self, before: u8) -> bool {
        PREFIXES.iter().any(|prefix| prefix[2] == before)
    }

    fn parse(&self, site: &Site<'_>) -> Option<Found> {
        let Site { text, at, from, .. } = *site;
        let start = at.checked_sub(3).filter(|start| *start >= from)?;
        if !PREFIXES.iter().any(|prefix| text[start..at] == prefix[..]) {
            return None;
        }
        let end = at + 1 + BODY + CHECK;
        let token = text.get(at + 1..end).filter(|token| token.iter().all(u8::is_ascii_alphanumeric))?;
        let (body, check) = token.split_at(BODY);
        let longer = text.get(end).is_some_and(u8::is_ascii_alphanumeric);
        let canonical = String::from_utf8_lossy(&text[start..end]).into_owned();
        (!longer && check == base62(crc32(body))).then_some(Found { end, canonical })
    }
}

pub(super) fn base62(mut n: u32) -> [u8; CHECK] {
    let mut text = [b'0'; CHECK];
    for digit in text.iter_mut().rev() {
        *digit = BASE62[(n % 62) as usize];
        n /= 62;
    }
    text
}

/// CRC-32 (ISO 3309), bit by bit: thirty bytes of a rare candidate need no table.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}
