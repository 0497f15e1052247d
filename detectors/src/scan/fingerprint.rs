//! Who else had this value: keyed fingerprints of values that answers and inputs held, for a day.
//!
//! A value is hashed with the key of its day (SipHash-2-4 of 128 bits, the day's key from the master key by HMAC-SHA-256)
//! and forgotten. Dropping a day drops its key with it: what is left can be tested by nobody. Personal numbers have few
//! bits, so whoever holds the key can find them by trying: the key comes from a file or the environment, and is neither
//! stored nor printed.
//!
//! A table is bounded: at its bound the day before today goes first, then new values are not taken, and
//! [`Fingerprints::complete_since`] says since when the memory is whole.

use std::collections::{HashMap, VecDeque};
use std::hash::Hasher;

use foldhash::fast::RandomState;
use hmac::{Hmac, KeyInit, Mac};
use leeway_core::clock::{DAY, MINUTE, Micros};
use leeway_core::scan::Entity;
use sha2::Sha256;
use siphasher::sip128::{Hasher128, SipHasher24};

/// How long another's value counts.
pub const WINDOW: Micros = DAY;

/// A value that so many tenants had is nobody's: a hotline, a public address.
const COMMON: u64 = 3;

/// The key of all fingerprints; never printed.
pub struct Key([u8; 32]);

impl Key {
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

/// What the memory says of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Another tenant had it within the window.
    pub elsewhere: bool,
    /// So many tenants had it that it is nobody's.
    pub common: bool,
}

/// One value of one day: the two last tenants that had it, the minute of each, and how many tenants there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry(u64);

const TENANT: u32 = 20;
const CLOCK: u32 = 11;

impl Entry {
    fn new(tenant: u64, minute: u64) -> Self {
        Self(tenant << CLOCK | minute).tenants(1)
    }

    fn tenants(self, n: u64) -> Self {
        Self(self.0 & !(3 << 62) | n.min(3) << 62)
    }

    fn count(self) -> u64 {
        self.0 >> 62
    }

    /// (tenant, minute) of the last tenant, and of the one before it.
    fn last(self) -> (u64, u64) {
        (self.0 >> CLOCK & ((1 << TENANT) - 1), self.0 & ((1 << CLOCK) - 1))
    }

    fn before(self) -> (u64, u64) {
        let rest = self.0 >> (TENANT + CLOCK);
        (rest >> CLOCK & ((1 << TENANT) - 1), rest & ((1 << CLOCK) - 1))
    }

    fn with(self, tenant: u64, minute: u64) -> Self {
        let (last, at) = self.last();
        let (before, before_at) = self.before();
        let pack = |tenant: u64, minute: u64| tenant << CLOCK | minute;
        if last == tenant {
            return Self(pack(before, before_at) << (TENANT + CLOCK) | pack(tenant, minute.max(at)))
                .tenants(self.count());
        }
        // The tenant that was neither of the last two is counted as new: from three on a value is common anyway.
        let known = self.count() >= 2 && before == tenant;
        let count = if known { self.count() } else { self.count() + 1 };
        Self(pack(last, at) << (TENANT + CLOCK) | pack(tenant, minute)).tenants(count)
    }

    /// The last minute at which another tenant had it.
    fn elsewhere(self, tenant: u64) -> Option<u64> {
        let (last, at) = self.last();
        if last != tenant {
            return Some(at);
        }
        (self.count() >= 2).then(|| self.before().1)
    }
}

/// Open addressing with steps of one; it grows by a quarter, so that an entry takes 24 bytes at most.
#[derive(Debug, Default)]
struct Table {
    slots: Vec<(u64, u64)>,
    n: usize,
}

impl Table {
    const SMALLEST: usize = 64;

    fn place(&self, fingerprint: u64) -> usize {
        // The top of a product: the slot in proportion, without a division.
        let mut place = ((u128::from(fingerprint) * self.slots.len() as u128) >> 64) as usize;
        while self.slots[place].0 != 0 && self.slots[place].0 != fingerprint {
            place = if place + 1 == self.slots.len() { 0 } else { place + 1 };
        }
        place
    }

    fn get(&self, fingerprint: u64) -> Option<Entry> {
        if self.slots.is_empty() {
            return None;
        }
        let slot = self.slots[self.place(fingerprint)];
        (slot.0 != 0).then_some(Entry(slot.1))
    }

    fn set(&mut self, fingerprint: u64, entry: Entry) {
        if (self.n + 1) * 20 > self.slots.len() * 17 {
            let size = (self.slots.len() * 5 / 4).max(Self::SMALLEST);
            let old = std::mem::replace(&mut self.slots, vec![(0, 0); size]);
            for slot in old.into_iter().filter(|slot| slot.0 != 0) {
                let place = self.place(slot.0);
                self.slots[place] = slot;
            }
        }
        let place = self.place(fingerprint);
        self.n += usize::from(self.slots[place].0 == 0);
        self.slots[place] = (fingerprint, entry.0);
    }
}

struct Day {
    /// Days since the epoch.
    day: i64,
    keys: (u64, u64),
    table: Table,
}

/// The memory of one process.
pub struct Fingerprints {
    key: Key,
    days: VecDeque<Day>,
    tenants: HashMap<Box<str>, u64, RandomState>,
    most: usize,
    complete_since: Micros,
}

impl std::fmt::Debug for Fingerprints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fingerprints").field("values", &self.len()).field("most", &self.most).finish_non_exhaustive()
    }
}

impl Fingerprints {
    /// A memory of at most so many values.
    pub fn new(key: Key, most: usize) -> Self {
        Self { key, days: VecDeque::new(), tenants: HashMap::default(), most, complete_since: Micros::MIN }
    }

    /// Values that are remembered.
    pub fn len(&self) -> usize {
        self.days.iter().map(|day| day.table.n).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> usize {
        self.days.iter().map(|day| day.table.slots.capacity() * size_of::<(u64, u64)>()).sum()
    }

    /// Since when every value is remembered: what was seen before may be missing.
    pub fn complete_since(&self) -> Micros {
        self.complete_since
    }

    /// Whether another tenant had the value within the window before `at`.
    pub fn seen(&mut self, tenant: &str, at: Micros, entity: Entity, canonical: &str) -> Seen {
        let tenant = self.tenant(tenant);
        let minute = at.div_euclid(MINUTE);
        let mut seen = Seen::default();
        for day in &self.days {
            let Some(entry) = day.table.get(fingerprint(day.keys, entity, canonical)) else { continue };
            let first = day.day * (DAY / MINUTE);
            let within = |at: u64| (minute - WINDOW / MINUTE..=minute).contains(&(first + at as i64));
            seen.elsewhere |= entry.elsewhere(tenant).is_some_and(within);
            seen.common |= entry.count() >= COMMON;
        }
        seen
    }

    /// Remembers that a tenant had the value.
    pub fn keep(&mut self, tenant: &str, at: Micros, entity: Entity, canonical: &str) {
        let tenant = self.tenant(tenant);
        let number = at.div_euclid(DAY);
        let Some(place) = self.day(number) else { return };
        let minute = at.rem_euclid(DAY) as u64 / MINUTE as u64;
        let full = self.len() >= self.most;
        let day = &mut self.days[place];
        let fingerprint = fingerprint(day.keys, entity, canonical);
        let entry = match day.table.get(fingerprint) {
            Some(entry) => entry.with(tenant, minute),
            None if full => {
                self.give_up(at);
                return;
            }
            None => Entry::new(tenant, minute),
        };
        day.table.set(fingerprint, entry);
    }

    /// Makes room: the older day goes; where there is none, what comes now is not kept.
    fn give_up(&mut self, at: Micros) {
        self.complete_since = self.complete_since.max(at);
        if self.days.len() > 1 {
            self.days.pop_front();
        }
    }

    /// The place of a day; older days than yesterday are forgotten, and take nothing more.
    fn day(&mut self, number: i64) -> Option<usize> {
        let newest = self.days.back().map_or(number, |day| day.day);
        if number < newest - 1 {
            return None;
        }
        if let Some(place) = self.days.iter().position(|day| day.day == number) {
            return Some(place);
        }
        while self.days.front().is_some_and(|day| day.day < number - 1) {
            self.days.pop_front();
        }
        let place = self.days.iter().take_while(|day| day.day < number).count();
        self.days.insert(place, Day { day: number, keys: self.key.of_day(number), table: Table::default() });
        Some(place)
    }

    /// A number for each tenant; those beyond a million share the last, and count as one.
    fn tenant(&mut self, name: &str) -> u64 {
        let next = (self.tenants.len() as u64).min((1 << TENANT) - 1);
        match self.tenants.get(name) {
            Some(number) => *number,
            None if next + 1 == 1 << TENANT => next,
            None => {
                self.tenants.insert(name.into(), next);
                next
            }
        }
    }
}

impl Key {
    fn of_day(&self, day: i64) -> (u64, u64) {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { unreachable!("any length is a key") };
        mac.update(b"leeway.mentions");
        mac.update(&day.to_be_bytes());
        let bytes = mac.finalize().into_bytes();
        let part = |from: usize| bytes[from..from + 8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        (part(0), part(8))
    }
}

/// Never zero, which stands for an empty slot.
fn fingerprint(keys: (u64, u64), entity: Entity, canonical: &str) -> u64 {
    let mut hasher = SipHasher24::new_with_keys(keys.0, keys.1);
    hasher.write(&[entity as u8]);
    hasher.write(canonical.as_bytes());
    hasher.finish128().h1.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use leeway_core::clock::HOUR;
    use proptest::prelude::*;

    fn memory(most: usize) -> Fingerprints {
        Fingerprints::new(Key::new([7; 32]), most)
    }

    #[test]
    fn another_tenants_value_counts_for_a_day() {
        let mut memory = memory(100);
        let seen =
            |memory: &mut Fingerprints, tenant: &str, at| memory.seen(tenant, at, Entity::Email, "a@b.io").elsewhere;
        memory.keep("one", 10 * HOUR, Entity::Email, "a@b.io");
        assert!(!seen(&mut memory, "one", 11 * HOUR), "one's own");
        assert!(seen(&mut memory, "two", 11 * HOUR));
        assert!(!memory.seen("two", 11 * HOUR, Entity::Phone, "a@b.io").elsewhere, "of another kind");
        memory.keep("two", 12 * HOUR, Entity::Email, "a@b.io");
        memory.keep("two", 13 * HOUR, Entity::Email, "a@b.io");
        assert!(seen(&mut memory, "two", 14 * HOUR), "the other's is not forgotten for one's own");
        assert!(seen(&mut memory, "three", DAY + 12 * HOUR), "across midnight");
        assert!(!seen(&mut memory, "two", DAY + 11 * HOUR), "a day and an hour after the other's");
        assert!(!seen(&mut memory, "three", DAY + 14 * HOUR));
    }

    #[test]
    fn what_many_have_is_common() {
        let mut memory = memory(100);
        for tenant in ["one", "two", "one", "two"] {
            memory.keep(tenant, HOUR, Entity::Phone, "1800");
        }
        assert!(!memory.seen("one", HOUR, Entity::Phone, "1800").common);
        memory.keep("three", HOUR, Entity::Phone, "1800");
        assert!(memory.seen("one", HOUR, Entity::Phone, "1800").common);
    }

    #[test]
    fn memory_is_bounded_and_says_what_it_lost() {
        let mut memory = memory(1_000);
        for n in 0..5_000 {
            memory.keep("one", n * MINUTE, Entity::Phone, &n.to_string());
        }
        assert!(memory.len() <= 1_000 && memory.complete_since() > 0, "{memory:?}");
        assert_eq!(format!("{:?}", Key::new([1; 32])), "Key(…)");
    }

    #[test]
    fn a_value_takes_at_most_24_bytes() {
        let mut memory = memory(1 << 20);
        for n in 0..300_000 {
            memory.keep("one", HOUR, Entity::Phone, &n.to_string());
            if n > 1_000 {
                assert!(memory.bytes() <= 24 * memory.len(), "{} bytes for {}", memory.bytes(), memory.len());
            }
        }
    }

    proptest! {
        #[test]
        fn the_memory_says_what_a_list_says(events in prop::collection::vec((0u8..4, 0i64..3_000, 0u8..6), 1..60)) {
            let mut memory = memory(10_000);
            let mut list: Vec<(u8, i64, u8)> = Vec::new();
            let mut events = events;
            events.sort_by_key(|event| event.1);
            for (tenant, minute, value) in events {
                let (name, text) = (tenant.to_string(), value.to_string());
                let expected = list.iter().any(|(t, m, v)| *v == value && *t != tenant && minute - m <= 1_440 && m / 1_440 >= minute / 1_440 - 1);
                let seen = memory.seen(&name, minute * MINUTE, Entity::Phone, &text);
                prop_assert_eq!(seen.elsewhere, expected);
                memory.keep(&name, minute * MINUTE, Entity::Phone, &text);
                list.push((tenant, minute, value));
            }
        }
    }
}
