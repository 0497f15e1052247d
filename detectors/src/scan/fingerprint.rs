//! A value as a keyed hash, by which other calls' values are compared with it.
//!
//! A value is hashed with the key of its day (SipHash-2-4 of 128 bits, the day's key from the master key by HMAC-SHA-512,
//! which makes nothing else in Leeway)
//! and forgotten; what is kept of a day goes with the day. Personal numbers have few bits, so whoever holds the master
//! key can find them by trying: the key comes from a file or the environment, and is neither stored nor printed, nor
//! sent anywhere.

use std::hash::Hasher;

use hmac::{Hmac, KeyInit, Mac};
use leeway_core::clock::{DAY, Micros};
use leeway_core::scan::{Entity, Print};
use sha2::Sha512;
use siphasher::sip128::{Hasher128, SipHasher24};

/// The keys of all fingerprints; never printed.
#[derive(Clone)]
pub struct Keyring {
    master: [u8; 32],
    /// Says which keeper a value has, and names holders: the same on all days.
    lasting: Keys,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keyring(…)")
    }
}

type Keys = (u64, u64);

/// Keepers of values: few, so that what stays the same from day to day tells little.
pub(super) const KEEPERS: u64 = 64;

/// The keys of a day and of the one before.
#[derive(Clone, Copy)]
pub struct DayKeys {
    day: Keys,
    day_before: Keys,
    lasting: Keys,
}

impl std::fmt::Debug for DayKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DayKeys(…)")
    }
}

impl Keyring {
    pub fn new(master: [u8; 32]) -> Self {
        let ring = Self { master, lasting: (0, 0) };
        Self { lasting: ring.derive(b"lasting"), ..ring }
    }

    /// The keys for values of an instant.
    pub fn at(&self, at: Micros) -> DayKeys {
        let of = |day: i64| self.derive(&day.to_be_bytes());
        let day = at.div_euclid(DAY);
        DayKeys { day: of(day), day_before: of(day - 1), lasting: self.lasting }
    }

    /// A user or a conversation, under a key; never zero, which stands for none.
    pub fn holder(&self, name: Option<&str>) -> u64 {
        name.map_or(0, |name| hash(self.lasting, b"holder", name))
    }

    fn derive(&self, purpose: &[u8]) -> Keys {
        let Ok(mut mac) = Hmac::<Sha512>::new_from_slice(&self.master) else { unreachable!("any length is a key") };
        mac.update(b"leeway.mentions");
        mac.update(purpose);
        let bytes = mac.finalize().into_bytes();
        let part = |from: usize| bytes[from..from + 8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        (part(0), part(8))
    }
}

impl DayKeys {
    pub fn print(&self, entity: Entity, canonical: &str) -> Print {
        let of = |keys| hash(keys, &[entity as u8], canonical);
        Print { day: of(self.day), day_before: of(self.day_before), keeper: (of(self.lasting) % KEEPERS) as u16 }
    }
}

/// Never zero, which stands for an empty slot.
fn hash(keys: Keys, kind: &[u8], text: &str) -> u64 {
    let mut hasher = SipHasher24::new_with_keys(keys.0, keys.1);
    hasher.write(kind);
    hasher.write(text.as_bytes());
    hasher.finish128().h1.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use leeway_core::clock::HOUR;

    #[test]
    fn a_days_print_is_the_next_days_print_of_the_day_before() {
        let ring = Keyring::new([7; 32]);
        let [today, tomorrow] = [HOUR, DAY + HOUR].map(|at| ring.at(at).print(Entity::Phone, "1800"));
        assert_eq!((today.day, today.keeper), (tomorrow.day_before, tomorrow.keeper));
        assert!(today.day != tomorrow.day && today.day != ring.at(0).print(Entity::Email, "1800").day);
        let other = Keyring::new([8; 32]);
        assert_ne!(other.at(HOUR).print(Entity::Phone, "1800").day, today.day, "of another key");
        assert_eq!(format!("{ring:?} {:?}", ring.at(0)), "Keyring(…) DayKeys(…)");
        assert!(ring.holder(None) == 0 && ring.holder(Some("a")) != ring.holder(Some("b")));
    }
}
