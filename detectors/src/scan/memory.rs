//! Who else had this value: fingerprints of values that answers and inputs held, for a day.
//!
//! A table is bounded: at its bound the day before today goes first, then new values are not taken, and
//! [`Memory::complete_since`] says since when the memory is whole.

use std::collections::{HashMap, HashSet, VecDeque};

use foldhash::fast::RandomState;
use leeway_core::clock::{DAY, HOUR, MINUTE, Micros};
use leeway_core::scan::{ENTITIES, Entity, Print};

use super::fingerprint::KEEPERS;

/// How long another's value counts.
pub const WINDOW: Micros = DAY;

/// How long a day's values are kept beyond that, for calls that come late.
const GRACE: Micros = HOUR;

/// A value that so many tenants had is nobody's: a hotline, a public address.
const COMMON: u64 = 3;

/// Who had a value.
#[derive(Debug, Clone, Copy)]
pub struct Holder<'t> {
    pub tenant: &'t str,
    /// Keyed hashes; zero where nobody says.
    pub user: u64,
    pub session: u64,
}

/// What the memory says of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Another tenant had it within the window.
    pub elsewhere: bool,
    /// So many tenants had it that it is nobody's.
    pub common: bool,
    /// Another user of the tenant had it within the window.
    pub other_user: bool,
    /// So many users of the tenant had it that it is nobody's.
    pub of_many_users: bool,
    /// The same conversation had it within the window.
    pub session: bool,
}

/// One value of one day: the two last holders that had it, the minute of each, and how many there were. A holder is
/// a tenant, or one of its users.
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

    /// The last minute at which another one had it.
    fn elsewhere(self, holder: u64) -> Option<u64> {
        let before = (self.count() >= 2).then(|| self.before());
        std::iter::once(self.last()).chain(before).filter(|(other, _)| *other != holder).map(|(_, at)| at).max()
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

#[derive(Debug)]
struct Day {
    /// Days since the epoch.
    day: i64,
    table: Table,
    /// Names of what was told, so that it is told once.
    told: HashSet<u64, RandomState>,
    /// Values by keeper and kind.
    live: Vec<u32>,
}

/// The memory of one part of the values.
#[derive(Debug)]
pub struct Memory {
    days: VecDeque<Day>,
    tenants: HashMap<Box<str>, u64, RandomState>,
    most: usize,
    newest: Micros,
    complete_since: Micros,
    /// Values elsewhere of which nobody says the kind; `None` where nobody knows how many.
    others: Option<u64>,
}

/// A value of one tenant alone, or of one of its conversations.
fn within(print: u64, tenant: u64, session: u64) -> u64 {
    let mixed = print ^ (tenant + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ session.rotate_left(17);
    (mixed ^ mixed >> 31).wrapping_mul(0xD6E8_FEB8_6659_FD93).max(1)
}

fn live_place(print: Print, entity: Entity) -> usize {
    usize::from(print.keeper) % KEEPERS as usize * ENTITIES + entity as usize
}

/// A user as the entry of a value has room for it.
fn short(user: u64) -> u64 {
    user & ((1 << TENANT) - 1)
}

impl Memory {
    /// A memory of at most so many entries; a value has one, and one more for a user and for a conversation.
    pub fn new(most: usize) -> Self {
        Self {
            days: VecDeque::new(),
            tenants: HashMap::default(),
            most,
            newest: 0,
            complete_since: Micros::MIN,
            others: Some(0),
        }
    }

    /// Entries, and names of what was told.
    pub fn len(&self) -> usize {
        self.days.iter().map(|day| day.table.n + day.told.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> usize {
        let day = |day: &Day| {
            day.table.slots.capacity() * size_of::<(u64, u64)>() + day.told.capacity() * 9 + day.live.capacity() * 4
        };
        self.days.iter().map(day).sum()
    }

    /// Since when every value is remembered: what was seen before may be missing.
    pub fn complete_since(&self) -> Micros {
        self.complete_since
    }

    /// What was seen before then is missing.
    pub fn begin_at(&mut self, at: Micros) {
        self.complete_since = self.complete_since.max(at);
    }

    /// Whether all that anybody had within the window before `at` is remembered.
    pub fn complete(&self, at: Micros) -> bool {
        self.complete_since <= at - WINDOW && (at - WINDOW).div_euclid(DAY) >= self.oldest()
    }

    /// The oldest day that is kept.
    fn oldest(&self) -> i64 {
        (self.newest - WINDOW - GRACE).div_euclid(DAY)
    }

    /// Who had the value within the window before `at`.
    pub fn seen(&mut self, who: &Holder<'_>, at: Micros, print: Print) -> Seen {
        let tenant = self.tenant(who.tenant);
        let (minute, today) = (at.div_euclid(MINUTE), at.div_euclid(DAY));
        let mut seen = Seen::default();
        for day in &self.days {
            let print = match today - day.day {
                0 => print.day,
                1 => print.day_before,
                _ => continue,
            };
            let first = day.day * (DAY / MINUTE);
            // What is told earlier may be of a later minute: partitions are not in step.
            let recent = |at: u64| first + at as i64 >= minute - WINDOW / MINUTE;
            if let Some(entry) = day.table.get(print) {
                seen.elsewhere |= entry.elsewhere(tenant).is_some_and(recent);
                seen.common |= entry.count() >= COMMON;
            }
            if who.user != 0
                && let Some(entry) = day.table.get(within(print, tenant, 0))
            {
                seen.other_user |= entry.elsewhere(short(who.user)).is_some_and(recent);
                seen.of_many_users |= entry.count() >= COMMON;
            }
            if who.session != 0
                && let Some(entry) = day.table.get(within(print, tenant, who.session))
            {
                seen.session |= recent(entry.last().1);
            }
        }
        seen
    }

    /// How likely a value that somebody makes up is one of those that live; what a tenant has itself counts too, so that this is
    /// rather too much. A keeper has one part in [`KEEPERS`] of all.
    pub fn chance(&self, print: Print, entity: Entity) -> Option<f64> {
        let place = live_place(print, entity);
        let kept: u64 = self.days.iter().map(|day| u64::from(day.live[place])).sum();
        self.others.map(|others| ((kept * KEEPERS + others) as f64 / entity.possible()).min(1.0))
    }

    /// So many values live elsewhere, of any kind; or nobody knows how many.
    pub fn suppose(&mut self, others: Option<u64>) {
        self.others = others;
    }

    /// Remembers that somebody had the value.
    pub fn keep(&mut self, who: &Holder<'_>, at: Micros, print: Print, entity: Entity) {
        let live = live_place(print, entity);
        let tenant = self.tenant(who.tenant);
        let Some(place) = self.day(at) else { return };
        let minute = at.rem_euclid(DAY) as u64 / MINUTE as u64;
        let users = (who.user != 0).then(|| (within(print.day, tenant, 0), short(who.user)));
        let sessions = (who.session != 0).then(|| (within(print.day, tenant, who.session), 0));
        let mut value = true;
        for (print, holder) in std::iter::once((print.day, tenant)).chain(users).chain(sessions) {
            let full = self.len() >= self.most;
            // A day that went to make room may have been this one.
            let Some(day) = self.days.get_mut(place) else { return };
            match day.table.get(print) {
                Some(entry) => day.table.set(print, entry.with(holder, minute)),
                None if full => return self.give_up(at),
                None => {
                    day.table.set(print, Entry::new(holder, minute));
                    day.live[live] = day.live[live].saturating_add(u32::from(value));
                }
            }
            value = false;
        }
    }

    /// Whether something of that name was told; from now on it was. What cannot be remembered is taken for told: nothing
    /// counts twice.
    pub fn told(&mut self, at: Micros, name: u64) -> bool {
        if self.days.iter().any(|day| day.told.contains(&name)) {
            return true;
        }
        if self.len() >= self.most {
            self.give_up(at);
            return true;
        }
        let Some(place) = self.day(at) else { return true };
        self.days[place].told.insert(name);
        false
    }

    /// Makes room: the older day goes; where there is none, what comes now is not kept.
    fn give_up(&mut self, at: Micros) {
        self.complete_since = self.complete_since.max(at);
        if self.days.len() > 1 {
            self.days.pop_front();
        }
    }

    /// The place of a day; days that no window reaches are forgotten, and take nothing more.
    fn day(&mut self, at: Micros) -> Option<usize> {
        let number = at.div_euclid(DAY);
        self.newest = self.newest.max(at);
        let oldest = self.oldest();
        if number < oldest {
            return None;
        }
        if let Some(place) = self.days.iter().position(|day| day.day == number) {
            return Some(place);
        }
        while self.days.front().is_some_and(|day| day.day < oldest) {
            self.days.pop_front();
        }
        let place = self.days.iter().take_while(|day| day.day < number).count();
        let live = vec![0; KEEPERS as usize * ENTITIES];
        self.days.insert(place, Day { day: number, table: Table::default(), told: HashSet::default(), live });
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

#[cfg(test)]
mod tests {
    use super::super::fingerprint::Keyring;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn chance_is_what_lives_of_what_may_be() {
        let mut memory = Memory::new(1_000_000);
        let all: Vec<Print> = (0..20_000).map(|n| print(HOUR, Entity::UkNhs, &n.to_string())).collect();
        for value in &all {
            // Whoever else has it, it is one value.
            for tenant in ["one", "two"] {
                memory.keep(&Holder { tenant, user: 7, session: 8 }, HOUR, *value, Entity::UkNhs);
            }
        }
        let mean = all.iter().map(|value| memory.chance(*value, Entity::UkNhs).unwrap()).sum::<f64>() / 20_000.0;
        assert!((mean * Entity::UkNhs.possible() / 20_000.0 - 1.0).abs() < 0.02, "{mean}");
        assert_eq!(memory.chance(all[0], Entity::UsSsn), Some(0.0), "none of that kind lives");
        memory.suppose(Some(400_000_000));
        assert_eq!(memory.chance(all[0], Entity::UsSsn), Some(0.5));
        memory.suppose(None);
        assert_eq!(memory.chance(all[0], Entity::UsSsn), None);
    }

    fn of(tenant: &str) -> Holder<'_> {
        Holder { tenant, user: 0, session: 0 }
    }

    fn print(at: Micros, entity: Entity, canonical: &str) -> Print {
        Keyring::new([7; 32]).at(at).print(entity, canonical)
    }

    fn keep(memory: &mut Memory, who: Holder<'_>, at: Micros, value: &str) {
        memory.keep(&who, at, print(at, Entity::Email, value), Entity::Email);
    }

    fn seen(memory: &mut Memory, who: Holder<'_>, at: Micros, value: &str) -> Seen {
        memory.seen(&who, at, print(at, Entity::Email, value))
    }

    #[test]
    fn another_tenants_value_counts_for_a_day() {
        let mut memory = Memory::new(100);
        let elsewhere = |memory: &mut Memory, tenant: &str, at| seen(memory, of(tenant), at, "a@b.io").elsewhere;
        keep(&mut memory, of("one"), 10 * HOUR, "a@b.io");
        assert!(!elsewhere(&mut memory, "one", 11 * HOUR), "one's own");
        assert!(elsewhere(&mut memory, "two", 11 * HOUR));
        let phone = print(11 * HOUR, Entity::Phone, "a@b.io");
        assert!(!memory.seen(&of("two"), 11 * HOUR, phone).elsewhere, "of another kind");
        keep(&mut memory, of("two"), 12 * HOUR, "a@b.io");
        keep(&mut memory, of("two"), 13 * HOUR, "a@b.io");
        assert!(elsewhere(&mut memory, "two", 14 * HOUR), "the other's is not forgotten for one's own");
        assert!(elsewhere(&mut memory, "three", DAY + 12 * HOUR), "across midnight");
        assert!(!elsewhere(&mut memory, "two", DAY + 11 * HOUR), "a day and an hour after the other's");
        assert!(!elsewhere(&mut memory, "three", DAY + 14 * HOUR));
    }

    #[test]
    fn users_and_conversations_are_told_apart_within_a_tenant() {
        let mut memory = Memory::new(100);
        let who = |user, session| Holder { tenant: "one", user, session };
        keep(&mut memory, who(1, 10), HOUR, "a@b.io");
        let of = |memory: &mut Memory, who| {
            let seen = seen(memory, who, 2 * HOUR, "a@b.io");
            (seen.elsewhere, seen.other_user, seen.session)
        };
        assert_eq!(of(&mut memory, who(1, 10)), (false, false, true));
        assert_eq!(of(&mut memory, who(1, 11)), (false, false, false));
        assert_eq!(of(&mut memory, who(2, 12)), (false, true, false));
        assert_eq!(of(&mut memory, who(0, 0)), (false, false, false), "without names nobody can say");
        assert_eq!(of(&mut memory, Holder { tenant: "two", user: 1, session: 10 }), (true, false, false));
    }

    #[test]
    fn what_many_have_is_common() {
        let mut memory = Memory::new(100);
        for tenant in ["one", "two", "one", "two"] {
            keep(&mut memory, of(tenant), HOUR, "1800");
        }
        assert!(!seen(&mut memory, of("one"), HOUR, "1800").common);
        keep(&mut memory, of("three"), HOUR, "1800");
        assert!(seen(&mut memory, of("one"), HOUR, "1800").common);
    }

    #[test]
    fn memory_is_bounded_and_says_what_it_lost() {
        let mut memory = Memory::new(1_000);
        assert!(memory.complete(0));
        for n in 0..5_000 {
            keep(&mut memory, of("one"), n * MINUTE, &n.to_string());
            memory.told(n * MINUTE, n as u64 + 1);
            assert!(memory.len() <= 1_000, "{}", memory.len());
        }
        assert!(memory.complete_since() > 0 && !memory.complete(5_000 * MINUTE));
    }

    #[test]
    fn a_call_that_comes_after_midnight_is_compared_with_the_whole_day_before_it() {
        let mut memory = Memory::new(100);
        memory.begin_at(0);
        keep(&mut memory, of("one"), DAY + 2 * HOUR, "a@b.io");
        keep(&mut memory, of("one"), 3 * DAY + MINUTE, "else");
        let late = 3 * DAY - MINUTE;
        assert!(memory.complete(late) && !seen(&mut memory, of("two"), late, "a@b.io").elsewhere, "two days before");
        assert!(seen(&mut memory, of("two"), 2 * DAY + HOUR, "a@b.io").elsewhere);
        keep(&mut memory, of("one"), 3 * DAY + 2 * HOUR, "else");
        assert!(!memory.complete(late), "two hours later its window is gone");
        assert!(!memory.complete(HOUR), "before the memory began");
    }

    #[test]
    fn partitions_that_are_not_in_step_hide_nothing() {
        let mut memory = Memory::new(100);
        keep(&mut memory, of("one"), 11 * HOUR, "a@b.io");
        keep(&mut memory, of("one"), 12 * HOUR, "a@b.io");
        assert!(
            seen(&mut memory, of("two"), 12 * HOUR - MINUTE, "a@b.io").elsewhere,
            "one had it again a minute later"
        );
        keep(&mut memory, of("two"), 10 * HOUR, "a@b.io");
        assert!(
            seen(&mut memory, of("three"), DAY + 11 * HOUR, "a@b.io").elsewhere,
            "the latest counts, not the last told"
        );
    }

    #[test]
    fn what_many_users_have_is_no_users() {
        let mut memory = Memory::new(100);
        let who = |user| Holder { tenant: "one", user, session: 0 };
        (1..=3).for_each(|user| keep(&mut memory, who(user), HOUR, "desk@b.io"));
        let seen = seen(&mut memory, who(4), 2 * HOUR, "desk@b.io");
        assert!(seen.other_user && seen.of_many_users && !seen.elsewhere);
    }

    #[test]
    fn what_was_told_is_told_once() {
        let mut memory = Memory::new(1_000);
        assert_eq!([memory.told(HOUR, 5), memory.told(HOUR, 5), memory.told(DAY, 5)], [false, true, true]);
        assert!(!memory.told(3 * DAY, 6));
        assert!(!memory.told(3 * DAY, 5), "after its day and the next it is forgotten");
    }

    #[test]
    fn a_value_takes_at_most_24_bytes() {
        let mut memory = Memory::new(1 << 20);
        for n in 0..300_000 {
            keep(&mut memory, of("one"), HOUR, &n.to_string());
            if n > 1_000 {
                assert!(
                    memory.bytes() <= 24 * memory.len() + 4 * KEEPERS as usize * ENTITIES,
                    "{} bytes for {}",
                    memory.bytes(),
                    memory.len()
                );
            }
        }
    }

    proptest! {
        #[test]
        fn the_memory_says_what_a_list_says(events in prop::collection::vec((0u8..4, 0i64..3_000, 0u8..6), 1..60)) {
            let mut memory = Memory::new(10_000);
            let mut list: Vec<(u8, i64, u8)> = Vec::new();
            let mut events = events;
            events.sort_by_key(|event| event.1);
            for (tenant, minute, value) in events {
                let (name, text) = (tenant.to_string(), value.to_string());
                let expected = list.iter().any(|(t, m, v)| *v == value && *t != tenant && minute - m <= 1_440 && m / 1_440 >= minute / 1_440 - 1);
                prop_assert_eq!(seen(&mut memory, of(&name), minute * MINUTE, &text).elsewhere, expected);
                keep(&mut memory, of(&name), minute * MINUTE, &text);
                list.push((tenant, minute, value));
            }
        }
    }
}
