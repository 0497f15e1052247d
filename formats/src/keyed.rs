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
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return String::new() };
        mac.update(person.as_bytes());
        mac.finalize().into_bytes()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl std::fmt::Debug for UserKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<secret>")
    }
}
