//! Where in a text some pattern may begin: blocks are compared with ranges of bytes by vector instructions.

use std::sync::LazyLock;

use wide::u8x16;

use super::NEEDS;

/// Bytes of a block, one bit each.
const BLOCK: usize = 64;

/// Bytes that some pattern needs, as ranges: the first byte, and how many follow it.
static RANGES: LazyLock<Vec<(u8x16, u8x16)>> = LazyLock::new(|| {
    let mut ranges: Vec<(u8, u8)> = Vec::new();
    for byte in (0..=u8::MAX).filter(|byte| NEEDS[usize::from(*byte)] != 0) {
        match ranges.last_mut() {
            Some((first, more)) if *first + *more + 1 == byte => *more += 1,
            _ => ranges.push((byte, 0)),
        }
    }
    ranges.into_iter().map(|(first, more)| (u8x16::splat(first), u8x16::splat(more))).collect()
});

/// Finds the needed bytes of a text, in order.
pub(super) struct Gate<'t> {
    text: &'t [u8],
    ranges: &'static [(u8x16, u8x16)],
    /// Where the block begins whose bits are known.
    start: usize,
    bits: u64,
}

impl<'t> Gate<'t> {
    pub fn new(text: &'t [u8]) -> Self {
        let mut gate = Self { text, ranges: &RANGES, start: 0, bits: 0 };
        gate.read(0);
        gate
    }

    /// The first needed byte at `at` or later; `at` never goes back.
    pub fn next(&mut self, at: usize) -> Option<usize> {
        if at >= self.start + BLOCK {
            self.read(at / BLOCK * BLOCK);
        }
        let before = at.saturating_sub(self.start);
        let mut bits = self.bits & u64::MAX.checked_shl(before as u32).unwrap_or(0);
        while bits == 0 {
            if self.start + BLOCK >= self.text.len() {
                return None;
            }
            self.read(self.start + BLOCK);
            bits = self.bits;
        }
        Some(self.start + bits.trailing_zeros() as usize)
    }

    fn read(&mut self, start: usize) {
        self.start = start;
        let rest = self.text.get(start..).unwrap_or_default();
        self.bits = match rest.first_chunk::<BLOCK>() {
            Some(block) => self.bits_of(block),
            None => {
                // Zeros are needed by no pattern.
                let mut block = [0; BLOCK];
                block[..rest.len()].copy_from_slice(rest);
                self.bits_of(&block)
            }
        };
    }

    fn bits_of(&self, block: &[u8; BLOCK]) -> u64 {
        let mut bits = 0;
        for (place, part) in block.as_chunks::<16>().0.iter().enumerate() {
            let bytes = u8x16::new(*part);
            let mut hit = u8x16::splat(0);
            for (first, more) in self.ranges {
                let from = bytes - *first;
                hit |= from.min(*more).simd_eq(from);
            }
            bits |= u64::from(hit.to_bitmask()) << (16 * place);
        }
        bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_pattern_needs_what_fills_the_last_block() {
        assert_eq!(NEEDS[0], 0);
    }

    proptest! {
        #[test]
        fn the_gate_finds_what_a_look_at_each_byte_finds(text in prop::collection::vec(any::<u8>(), 0..400), skip in 1usize..90) {
            let mut gate = Gate::new(&text);
            let mut at = 0;
            loop {
                let plain = text[at.min(text.len())..].iter().position(|byte| NEEDS[usize::from(*byte)] != 0);
                prop_assert_eq!(gate.next(at), plain.map(|place| place + at));
                match plain {
                    Some(place) => at += place + skip,
                    None => break,
                }
            }
        }
    }
}
