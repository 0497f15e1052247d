//! FNV-1a, the same on every machine: for samples and places that are stored or must be found again, never for what is secret.

/// The 64-bit hash, its upper half folded into the lower, of which remainders are taken.
pub fn hash(bytes: impl Iterator<Item = u8>) -> u64 {
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    hash ^ hash >> 32
}
