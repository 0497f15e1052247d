//! Keyed hashes: people appear in stored data only as these.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The key of user and author hashes; never printed.
#[derive(Clone)]
pub struct UserKey([u8; 32]);

impl UserKey {
    pub fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// 32 hex digits of HMAC-SHA256.
    pub fn hash(&self, person: &str) -> String {
        self.digest(person.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The first 16 bytes of HMAC-SHA256.
    pub fn digest(&self, bytes: &[u8]) -> [u8; 16] {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { unreachable!("any length is a key") };
        mac.update(bytes);
        let mut first = [0; 16];
        first.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        first
    }
}

impl std::fmt::Debug for UserKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<secret>")
    }
}
