//! LEB128 integers: the bytes of stored panes and sketches.

use thiserror::Error;

/// The bytes are not what this version wrote.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Corrupt {
    #[error("stored bytes end early")]
    Truncated,
    #[error("stored bytes hold a number that is too large")]
    Overflow,
    #[error("stored bytes have version {0}, this program reads up to {1}")]
    Version(u8, u8),
    #[error("stored bytes hold an unknown tag {0}")]
    Tag(u64),
}

pub fn write(out: &mut Vec<u8>, mut value: u128) {
    while value >= 0x80 {
        out.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub fn write_text(out: &mut Vec<u8>, text: &str) {
    write(out, text.len() as u128);
    out.extend_from_slice(text.as_bytes());
}

/// Maps small negative numbers to small codes: 0, −1, 1, −2, …
pub fn zigzag(value: i128) -> u128 {
    ((value << 1) ^ (value >> 127)) as u128
}

pub fn unzigzag(value: u128) -> i128 {
    (value >> 1) as i128 ^ -((value & 1) as i128)
}

/// A count that no pane's window can hold is none.
pub fn counted(count: u64) -> Result<u64, Corrupt> {
    if count < 1 << 48 { Ok(count) } else { Err(Corrupt::Overflow) }
}

/// Takes numbers off the front of stored bytes; never panics on foreign bytes.
#[derive(Debug)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn version(&mut self, newest: u8) -> Result<u8, Corrupt> {
        let (&version, rest) = self.0.split_first().ok_or(Corrupt::Truncated)?;
        self.0 = rest;
        if version == 0 || version > newest {
            return Err(Corrupt::Version(version, newest));
        }
        Ok(version)
    }

    pub fn wide(&mut self) -> Result<u128, Corrupt> {
        let mut value = 0u128;
        for shift in (0..128).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or(Corrupt::Truncated)?;
            self.0 = rest;
            value |= u128::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Corrupt::Overflow)
    }

    pub fn number(&mut self) -> Result<u64, Corrupt> {
        u64::try_from(self.wide()?).map_err(|_| Corrupt::Overflow)
    }

    /// How often something was seen: below 2⁴⁸, so that the counts of any 65,536 panes add up without overflow.
    pub fn count(&mut self) -> Result<u64, Corrupt> {
        self.number().and_then(counted)
    }

    pub fn bytes(&mut self, length: usize) -> Result<&'a [u8], Corrupt> {
        if length > self.0.len() {
            return Err(Corrupt::Truncated);
        }
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        Ok(taken)
    }

    pub fn text(&mut self) -> Result<&'a str, Corrupt> {
        let length = usize::try_from(self.number()?).map_err(|_| Corrupt::Overflow)?;
        std::str::from_utf8(self.bytes(length)?).map_err(|_| Corrupt::Truncated)
    }

    pub fn done(&self) -> bool {
        self.0.is_empty()
    }
}
