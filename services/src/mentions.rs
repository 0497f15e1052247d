//! The second look at values that nothing of their call explains: who else had them. A flush says what its calls held,
//! as keyed fingerprints, before it commits; whoever keeps that part of the values compares, and counts what it finds
//! under the same law of offsets. With Kafka that is the topic of mentions, read like any other; without it the store.
//!
//! A flush that died before its commit says it again, and so does another one that counts the same call instead: a
//! mention has a name, made of the call's own, and is looked up once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::Result;
use leeway_core::clock::{DAY, MINUTE, Micros, day_of};
use leeway_core::event::Reject;
use leeway_core::scan::{Entity, Hits, Mention, Origin, Print};
use leeway_core::varint::{self, Corrupt, Reader};
use leeway_detectors::scan::memory::{Holder, Memory};
use leeway_detectors::scan::provenance::foreign;
use leeway_store::{FlushTx, MentionRow, StoreError};
use sha2::{Digest, Sha256};

use crate::accumulate::Buffer;
use crate::produce::{ANSWER, Producer};

const VERSION: u8 = 1;
/// Bytes of one message: brokers take a million by default.
const TOGETHER: usize = 500_000;
/// How often the broker's word is looked for.
const ASK_AGAIN: Duration = Duration::from_millis(2);
const SPEAK: Duration = Duration::from_millis(500);

/// A value that a counted call held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Of the mention: the same however often it is told.
    pub name: u64,
    /// The call's minute.
    pub at: Micros,
    pub tenant: String,
    pub user: u64,
    pub session: u64,
    pub mention: Mention,
    /// Of an unexplained one: the key of the series in which it is counted.
    pub key: Vec<u8>,
}

/// The name of a mention: of the call, and of the value.
pub fn name(call: &[u8], tenant: &str, print: Print) -> u64 {
    let mut hash = Sha256::new();
    for part in [call, tenant.as_bytes(), &print.day.to_le_bytes()] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let bytes = hash.finalize();
    u64::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]])
}

/// Where a flush says what its calls held.
#[derive(Debug)]
pub enum Outlet {
    Kafka(Producer),
    Store,
}

/// Hits of unexplained values by series key and minute.
pub type Traced = BTreeMap<(Vec<u8>, Micros), Hits>;

impl Outlet {
    /// Says it, and hears the broker's word; without Kafka it is looked up at once.
    pub async fn tell(
        &self,
        told: &[Told],
        dimensions: u32,
        tx: &mut FlushTx,
        now: Micros,
    ) -> Result<Traced, StoreError> {
        if told.is_empty() {
            return Ok(Traced::new());
        }
        match self {
            Self::Kafka(producer) => {
                let away = |error| StoreError::Beside(format!("kafka.mentions_topic: {error:#}"));
                send(producer, told, dimensions, now).map_err(away)?;
                let (began, mut spoke) = (Instant::now(), Instant::now());
                // The transaction is open: a database takes one that says nothing for a dead one.
                loop {
                    if let Some(settled) = producer.settled() {
                        return settled.map(|()| Traced::new()).map_err(away);
                    }
                    if began.elapsed() > ANSWER {
                        return Err(away(anyhow::anyhow!("no answer within {} s", ANSWER.as_secs())));
                    }
                    tokio::time::sleep(ASK_AGAIN).await;
                    if spoke.elapsed() > SPEAK {
                        tx.alive().await?;
                        spoke = Instant::now();
                    }
                }
            }
            Self::Store => look_in_store(told, tx, now).await,
        }
    }
}

fn send(producer: &Producer, told: &[Told], dimensions: u32, now: Micros) -> Result<()> {
    let mut groups: BTreeMap<u16, Vec<&Told>> = BTreeMap::new();
    for told in told {
        groups.entry(told.mention.print.keeper).or_default().push(told);
    }
    for (group, told) in groups {
        for message in encode(&told, dimensions) {
            producer.send(Some(&group.to_string()), None, &message, now)?;
        }
    }
    Ok(())
}

async fn look_in_store(told: &[Told], tx: &mut FlushTx, now: Micros) -> Result<Traced, StoreError> {
    let mut memory = Memory::new(usize::MAX);
    let mut asked: BTreeMap<i64, BTreeSet<u64>> = BTreeMap::new();
    for told in told.iter().filter(|told| told.mention.unexplained) {
        let day = day_of(told.at);
        asked.entry(day).or_default().insert(told.mention.print.day);
        asked.entry(day - 1).or_default().insert(told.mention.print.day_before);
    }
    if !asked.is_empty() {
        // The first day began somewhere in its middle.
        memory.begin_at(tx.first_mention_day().await?.map_or(now, |day| (day + 1) * DAY));
        // The store does not know of what kind its values are: chance is what it would be if all were of one.
        let first = asked.keys().next().copied().unwrap_or_default();
        memory.suppose(tx.mentions_since(first).await?);
    }
    for (day, prints) in asked {
        for row in tx.mentions(day, &prints.into_iter().collect::<Vec<_>>()).await? {
            let who = Holder { tenant: &row.tenant, user: row.user, session: row.session };
            memory.keep(&who, row.at, Print { day: row.print, day_before: 0, keeper: 0 }, Entity::Secret);
        }
    }
    let mut traced = Traced::new();
    for told in told {
        let found = look(&mut memory, told);
        if found.any() {
            found.add_to(told.mention.entity, traced.entry((told.key.clone(), told.at)).or_default());
        }
    }
    let row = |told: &Told| MentionRow {
        day: day_of(told.at),
        print: told.mention.print.day,
        tenant: told.tenant.clone(),
        user: told.user,
        session: told.session,
        at: told.at,
    };
    tx.keep_mentions(&told.iter().map(row).collect::<Vec<_>>()).await?;
    Ok(traced)
}

/// What was found out of a value: who else had it, and how likely chance would find it with another tenant.
#[derive(Debug, Default, PartialEq)]
pub struct Found {
    origins: Vec<(Origin, u64)>,
    /// Another tenant had it; how likely chance would say so. `None` where it was not looked up, or nobody knows.
    compared: Option<(bool, f64)>,
}

impl Found {
    pub fn any(&self) -> bool {
        !self.origins.is_empty() || self.compared.is_some()
    }

    pub fn add_to(&self, entity: Entity, hits: &mut Hits) {
        self.origins.iter().for_each(|(origin, n)| hits.add(entity, *origin, *n));
        if let Some((foreign, chance)) = self.compared {
            hits.compare(entity, foreign, chance);
        }
    }
}

/// Who else had an unexplained value, as counts; remembers that this call had it.
fn look(memory: &mut Memory, told: &Told) -> Found {
    let who = Holder { tenant: &told.tenant, user: told.user, session: told.session };
    let mut found = Found::default();
    if told.mention.unexplained && !memory.told(told.at, told.name) {
        let seen = memory.seen(&who, told.at, told.mention.print);
        let n = u64::from(told.mention.n);
        let origin = if seen.session {
            Some(Origin::Recalled)
        } else if foreign(seen) {
            Some(Origin::CrossTenant)
        } else if seen.other_user && !seen.common && !seen.of_many_users {
            Some(Origin::CrossUser)
        } else {
            None
        };
        // What was found was found; nothing is a finding only where everything was remembered.
        if origin.is_some() || memory.complete(told.at) {
            found.origins.push((Origin::Traced, n));
            found.origins.extend(origin.map(|origin| (origin, n)));
        }
        // Whether found or not, and however much is remembered: chance is of that much.
        let chance = memory.chance(told.mention.print, told.mention.entity);
        found.compared = chance.map(|chance| (origin == Some(Origin::CrossTenant), chance));
    }
    memory.keep(&who, told.at, told.mention.print, told.mention.entity);
    found
}

/// Keeps one partition's part of the values.
#[derive(Debug)]
pub struct Tracer {
    memory: Memory,
    /// The dimensions that series keys are made of.
    dimensions: u32,
    /// Mentions that say since when the memory knows: a late one among them claims nothing.
    first: usize,
}

/// So many mentions show where the memory begins.
const FIRST: usize = 100;

impl Tracer {
    /// Remembers so many values at most.
    pub fn new(most: usize, dimensions: u32) -> Self {
        Self { memory: Memory::new(most), dimensions, first: FIRST }
    }

    /// Takes one message; what it finds goes into the buffer, where there is one. Without one the message was counted
    /// by an earlier owner, and is only remembered.
    pub fn take(&mut self, message: &[u8], buffer: Option<(&mut Buffer, Micros)>) -> Result<(), Reject> {
        let (dimensions, told) = decode(message).map_err(|_| Reject::Undecodable)?;
        if dimensions != self.dimensions {
            return Err(Reject::UnknownSchema);
        }
        let mut buffer = buffer;
        for told in told {
            if self.first > 0 {
                self.first -= 1;
                self.memory.begin_at(told.at);
            }
            let found = look(&mut self.memory, &told);
            if let Some((buffer, received)) = &mut buffer {
                buffer.traced(&told, &found, *received);
            }
        }
        Ok(())
    }
}

/// As messages that a broker takes.
fn encode(told: &[&Told], dimensions: u32) -> Vec<Vec<u8>> {
    let mut head = vec![VERSION];
    varint::write(&mut head, dimensions.into());
    let (mut messages, mut out) = (Vec::new(), head.clone());
    for told in told {
        if out.len() > TOGETHER {
            messages.push(std::mem::replace(&mut out, head.clone()));
        }
        let Mention { print, entity, unexplained, n } = told.mention;
        let minute = varint::zigzag((told.at / MINUTE).into());
        let numbers = [told.name.into(), minute, entity as u128, unexplained.into(), n.into(), print.day.into()];
        let holders = [print.day_before.into(), print.keeper.into(), told.user.into(), told.session.into()];
        numbers.into_iter().chain(holders).for_each(|number| varint::write(&mut out, number));
        varint::write_text(&mut out, &told.tenant);
        varint::write(&mut out, told.key.len() as u128);
        out.extend_from_slice(&told.key);
    }
    messages.push(out);
    messages
}

fn decode(message: &[u8]) -> Result<(u32, Vec<Told>), Corrupt> {
    let mut reader = Reader(message);
    reader.version(VERSION)?;
    let dimensions = u32::try_from(reader.number()?).map_err(|_| Corrupt::Overflow)?;
    let mut told = Vec::new();
    while !reader.done() {
        let name = reader.number()?;
        let minute = i64::try_from(varint::unzigzag(reader.wide()?)).map_err(|_| Corrupt::Overflow)?;
        let entity = reader.number()?;
        let known = usize::try_from(entity).ok().and_then(|entity| Entity::ALL.get(entity));
        let (unexplained, n) = (reader.number()? == 1, reader.number()?);
        let n = u16::try_from(n).map_err(|_| Corrupt::Overflow)?;
        let (day, day_before, keeper) = (reader.number()?, reader.number()?, reader.number()?);
        let print = Print { day, day_before, keeper: u16::try_from(keeper).map_err(|_| Corrupt::Overflow)? };
        let (user, session) = (reader.number()?, reader.number()?);
        let tenant = reader.text()?.to_owned();
        let length = usize::try_from(reader.number()?).map_err(|_| Corrupt::Overflow)?;
        told.push(Told {
            name,
            at: minute.checked_mul(MINUTE).ok_or(Corrupt::Overflow)?,
            tenant,
            user,
            session,
            mention: Mention { print, entity: *known.ok_or(Corrupt::Tag(entity))?, unexplained, n },
            key: reader.bytes(length)?.to_vec(),
        });
    }
    Ok((dimensions, told))
}

#[cfg(test)]
mod tests {
    use super::*;
    use leeway_core::clock::HOUR;

    fn told(name: u64, at: Micros, tenant: &str, print: u64, unexplained: bool) -> Told {
        let print = Print { day: print, day_before: print, keeper: 3 };
        let mention = Mention { print, entity: Entity::Email, unexplained, n: 2 };
        Told { name, at, tenant: tenant.into(), user: 0, session: 0, mention, key: b"\x01\x00a".to_vec() }
    }

    #[test]
    fn a_message_says_what_was_told_and_a_broken_one_is_refused_whole() {
        let all = [told(u64::MAX, -HOUR, "t", u64::MAX, true), told(1, DAY, "\u{fc}", 2, false)];
        let message = encode(&all.iter().collect::<Vec<_>>(), 7).remove(0);
        assert_eq!(decode(&message).unwrap(), (7, all.to_vec()));
        let mut tracer = Tracer::new(10, 8);
        assert_eq!(tracer.take(&message, None), Err(Reject::UnknownSchema), "other dimensions");
        for end in 1..message.len() {
            let mut tracer = Tracer::new(10, 7);
            // A cut between two mentions is a shorter message.
            let taken = tracer.take(&message[..end], None);
            assert!(taken.is_ok() || tracer.memory.is_empty(), "{end}");
        }
    }

    #[test]
    fn a_mention_is_looked_up_once_however_often_it_is_told() {
        let mut memory = Memory::new(1_000);
        let of = |memory: &mut Memory, told: &Told| look(memory, told).origins;
        assert_eq!(of(&mut memory, &told(1, HOUR, "one", 5, false)), []);
        let found = [(Origin::Traced, 2), (Origin::CrossTenant, 2)];
        let first = look(&mut memory, &told(2, 2 * HOUR, "two", 5, true));
        assert_eq!(first.origins, found);
        // One value lives with this keeper, so 64 in all; said twice it is one value.
        let entity = told(2, 2 * HOUR, "two", 5, true).mention.entity;
        assert_eq!(first.compared, Some((true, 64.0 / entity.possible())));
        assert_eq!(of(&mut memory, &told(2, 2 * HOUR, "two", 5, true)), [], "told again");
        assert_eq!(of(&mut memory, &told(3, 2 * HOUR, "two", 6, true)), [(Origin::Traced, 2)], "nobody had it");
        let mut young = Memory::new(1_000);
        young.begin_at(HOUR);
        assert_eq!(of(&mut young, &told(3, 2 * HOUR, "two", 6, true)), [], "nobody knows who had it");
    }
}
