//! The flush thread: takes swapped-out buffers, asks the call index, aggregates, and commits offsets and panes in one
//! transaction. A partition that another owner took is left out and its buffer thrown away.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, RwLock, TryLockError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use leeway_core::clock::{Clock, Micros, day_of};
use leeway_core::event::{Brings, Reject};
use leeway_core::labels::{Dimensions, Labels, Level, SeriesId};
use leeway_core::ledger::Ledger;
use leeway_core::pane::{Numbers, Pane};
use leeway_core::scan::Mention;
use leeway_store::{DeadLetter, FlushTx, LedgerRow, PaneRow, PartWrite, PartitionKey, SeriesRef, Store, StoreError};
use tokio::runtime::Handle;

use crate::accumulate::{Buffer, Contribution, Origin, Rules, labels_of};
use crate::consume::Log;
use crate::mentions::{self, Outlet, Told, Traced};
use crate::metrics::Metrics;
use crate::once;
use crate::settings::CallIndex;
use crate::tasks::Stop;

/// Series whose ids and parents' ids a flush thread remembers; beyond, it forgets all and learns again.
const MAX_KNOWN: usize = 100_000;
/// Pause between attempts while the database is away.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A database that says nothing for this long is gone; the flush is tried again, and the compare-and-set keeps it single.
const ATTEMPT_WITHIN: Duration = Duration::from_secs(90);
/// A stop waits this long for a store that is away; what is unflushed then is read again by the next owner.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// One partition's part of a flush.
#[derive(Debug)]
pub struct PartBatch {
    pub write: PartWrite,
    pub buffer: Buffer,
    /// Whether the buffer stands for a message that the store refused.
    pub quarantined: bool,
}

impl PartBatch {
    /// Puts a dead letter in the place of what the message said.
    fn quarantine(&mut self) {
        let letter = self.buffer.ledger.iter().next().map(|(minute, _)| *minute).unwrap_or_default();
        let origin = Origin {
            offset: self.write.to - 1,
            bytes: 0,
            received: letter,
            partition: self.write.key.partition,
            record: 0,
        };
        self.buffer = Buffer::default();
        self.buffer.undecodable(origin, &Reject::Quarantined);
        self.quarantined = true;
    }
}

/// The part of a flush that holds a single message, where no other part holds any.
fn single(parts: &mut [PartBatch]) -> Option<&mut PartBatch> {
    let consumed = |part: &PartBatch| part.buffer.ledger.values().map(|ledger| ledger.consumed).sum::<u64>();
    if parts.iter().map(consumed).sum::<u64>() != 1 {
        return None;
    }
    parts.iter_mut().find(|part| consumed(part) == 1 && !part.quarantined)
}

/// What the poll thread hears back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flushed {
    pub key: PartitionKey,
    pub epoch: i64,
    /// Whether another owner had taken the partition.
    pub fenced: bool,
    /// Whether the store refused its one message, which is a dead letter now.
    pub quarantined: bool,
}

/// Everything a flush needs.
#[derive(Debug)]
pub struct Flusher {
    pub store: Store,
    pub handle: Handle,
    pub rules: Arc<Rules>,
    pub owner: String,
    pub series_cap: u64,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    pub stop: Stop,
    pub memory: Memory,
    /// Where the parts were read from; requests by HTTP have no log.
    pub log: Option<Arc<Log>>,
    /// Where it says what calls held; `None` where nobody compares.
    pub outlet: Option<Outlet>,
    pub alone: Alone,
}

/// Held for writing by the one thread that touches a message alone, and for reading by every attempt of a flush of the
/// process: what dies between two marks is none of a flush's fault.
pub type Alone = Arc<RwLock<()>>;

/// Series that this thread has seen: their families, and whether a day admitted them.
#[derive(Debug, Default)]
pub struct Memory {
    known: HashMap<Arc<[u8]>, Arc<Family>>,
    admitted: HashMap<(SeriesId, i64), bool>,
}

/// A leaf and its parents, parents first. Their labels are made anew where they are wanted: once, for most series.
#[derive(Debug)]
struct Family {
    key: Arc<[u8]>,
    tenant: Box<str>,
    series: [(SeriesId, Level); Level::ALL.len()],
}

type Panes = BTreeMap<(SeriesId, Micros), Pane>;

impl Flusher {
    /// Runs until the poll thread hangs up.
    pub fn run(mut self, batches: &Receiver<Vec<PartBatch>>, answers: &SyncSender<Vec<Flushed>>) -> Result<()> {
        while let Ok(batch) = batches.recv() {
            let answer = self.flush(batch)?;
            if answers.send(answer).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Flushes until the store has it, or an error says that it never will.
    pub fn flush(&mut self, mut parts: Vec<PartBatch>) -> Result<Vec<Flushed>> {
        let mut answers = Vec::with_capacity(parts.len());
        let mut pause = FIRST_PAUSE;
        let mut flush_id = random_id()?;
        let mut stopping: Option<Instant> = None;
        if parts.iter().any(|part| part.write.from < part.write.to) {
            self.leave_other_lives(&mut parts, &mut answers)?;
            crate::faults::point("before_begin");
        }
        loop {
            if parts.is_empty() {
                return Ok(answers);
            }
            match self.attempt_beside(flush_id, &parts) {
                Ok(Ok(())) => {
                    answers.extend(parts.iter().map(|part| answer(part, false)));
                    self.metrics.flushed(&parts, self.clock.wall());
                    return Ok(answers);
                }
                Ok(Err(fenced)) => {
                    for place in fenced.iter().rev() {
                        answers.push(self.leave_out(parts.remove(*place), "another owner took the partition"));
                    }
                    flush_id = random_id()?;
                }
                Err(error) if error.passing() => {
                    // The commit may have gone through although its answer was lost.
                    if self.handle.block_on(self.store.flushed(flush_id)).unwrap_or(false) {
                        answers.extend(parts.iter().map(|part| answer(part, false)));
                        return Ok(answers);
                    }
                    tracing::warn!(%error, pause_ms = pause.as_millis() as u64, "flush failed; the buffer is kept and tried again");
                    self.metrics.flush_failed();
                    self.memory.admitted.clear();
                    if self.stop.stopped() && stopping.get_or_insert_with(Instant::now).elapsed() > STOP_WITHIN {
                        return Err(error)
                            .context("the last flush found no store; its part is read again at the next start");
                    }
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(error) => match single(&mut parts) {
                    // The store refuses what one message says: that message is the fault, and it goes alone.
                    Some(part) => {
                        tracing::error!(%error, topic = part.write.key.topic, partition = part.write.key.partition, offset = part.write.from, "the store refuses this message; it is quarantined");
                        part.quarantine();
                        self.memory.admitted.clear();
                        flush_id = random_id()?;
                    }
                    None => {
                        // What this attempt registered was rolled back; whoever goes on must not believe in it.
                        self.memory.admitted.clear();
                        return Err(error).context("flush");
                    }
                },
            }
        }
    }

    /// Leaves out what was read of a topic that was created anew since: the new log's offsets say nothing of the old
    /// one's. The broker is asked after the reading, so that what was read is of the life that it names, or of none.
    fn leave_other_lives(&self, parts: &mut Vec<PartBatch>, answers: &mut Vec<Flushed>) -> Result<()> {
        let (mut pause, mut stopping) = (FIRST_PAUSE, None);
        let Some(log) = &self.log else { return Ok(()) };
        let now = loop {
            match log.incarnation() {
                // A topic that is gone was still there when it was read.
                Ok(None) => return Ok(()),
                Ok(Some(now)) => break now,
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "flush waits for the broker's word on the topic");
                    if self.stop.stopped() && stopping.get_or_insert_with(Instant::now).elapsed() > STOP_WITHIN {
                        return Err(error)
                            .context("the last flush found no broker; its part is read again at the next start");
                    }
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        };
        let (same, other) = parts.drain(..).partition(|part| part.write.key.incarnation == now);
        *parts = same;
        let other: Vec<PartBatch> = other;
        answers.extend(other.into_iter().map(|part| self.leave_out(part, "the topic was created anew")));
        Ok(())
    }

    fn leave_out(&self, part: PartBatch, reason: &str) -> Flushed {
        let (topic, partition) = (&part.write.key.topic, part.write.key.partition);
        tracing::warn!(topic, partition, reason, "the partition is no longer ours; its buffer is dropped");
        self.metrics.fenced();
        answer(&part, true)
    }

    /// One attempt, for as long as one may take, while no message is touched alone.
    fn attempt_beside(&mut self, flush_id: i64, parts: &[PartBatch]) -> Result<Result<(), Vec<usize>>, StoreError> {
        let (alone, handle) = (Arc::clone(&self.alone), self.handle.clone());
        let until = Instant::now() + ATTEMPT_WITHIN;
        // Who touches a message alone may wait for the store as long as it is away.
        let _beside = loop {
            match alone.try_read() {
                Err(TryLockError::WouldBlock) if Instant::now() > until => return Err(StoreError::silent()),
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
                beside => break beside,
            }
        };
        handle.block_on(async {
            let within = tokio::time::timeout(ATTEMPT_WITHIN, self.attempt(flush_id, parts)).await;
            within.unwrap_or_else(|_| Err(StoreError::silent()))
        })
    }

    async fn attempt(&mut self, flush_id: i64, parts: &[PartBatch]) -> Result<Result<(), Vec<usize>>, StoreError> {
        let now = self.clock.now();
        let writes: Vec<PartWrite> = parts.iter().map(|part| part.write.clone()).collect();
        let mut tx = match self.store.begin_flush(flush_id, &self.owner, &writes, now).await? {
            Ok(tx) => tx,
            Err(fenced) => return Ok(Err(fenced)),
        };
        let mut ledgers: Vec<BTreeMap<Micros, Ledger>> = parts.iter().map(|part| part.buffer.ledger.clone()).collect();
        self.admit(&mut tx, parts, now).await?;
        let counted = self.resolve(&mut tx, parts, &mut ledgers, now).await?;
        let traced = match &self.outlet {
            None => Traced::new(),
            Some(outlet) => {
                let told = told(parts, &counted, &self.rules.dimensions);
                let traced = outlet.tell(&told, self.rules.dimensions.digest(), &mut tx, now).await?;
                crate::faults::point("after_told");
                traced
            }
        };
        let panes = self.aggregate(parts, &counted, &traced);
        let rows = self.spread(&mut tx, panes, now).await?;
        tx.panes(&rows).await?;
        tx.ledger(&writes, &ledger_rows(&ledgers)).await?;
        tx.dead_letters(&writes, &letters(parts)).await?;
        for part in parts {
            tx.records(&part.buffer.records, now).await?;
        }
        tx.touch_windows(&rows).await?;
        crate::faults::point("before_commit");
        tx.commit().await?;
        crate::faults::point("after_commit");
        self.metrics.rows(rows.len());
        Ok(Ok(()))
    }

    /// Decides what of each contribution counts: each part of a call once, from the fullest record of this flush, if no
    /// earlier flush had it.
    async fn resolve<'a>(
        &mut self,
        tx: &mut FlushTx,
        parts: &'a [PartBatch],
        ledgers: &mut [BTreeMap<Micros, Ledger>],
        now: Micros,
    ) -> Result<Vec<(usize, &'a Contribution, Brings)>, leeway_store::StoreError> {
        let mut candidates = once::candidates(parts);
        for candidate in &mut candidates {
            let buffer = &parts[candidate.place].buffer;
            let (tenant, series) =
                self.home(buffer.series.key(candidate.contribution.series), candidate.contribution.minute);
            (candidate.tenant, candidate.series) = (tenant, series);
        }
        once::within(&mut candidates);
        if self.rules.call_index == CallIndex::On && !candidates.is_empty() {
            let claimed = tx.claim_calls(&once::claims(&candidates, day_of(now))).await?;
            tx.give_back(&once::across(&mut candidates, &claimed)).await?;
        }
        Ok(once::count(candidates, ledgers))
    }

    /// A leaf's tenant, and the finest of its series that the cap admitted: feedback goes there and to its parents.
    fn home(&mut self, key: &[u8], minute: Micros) -> (String, SeriesId) {
        let family = self.family(key);
        let day = day_of(minute);
        let admitted = |(id, _): &&(SeriesId, Level)| self.memory.admitted.get(&(*id, day)) != Some(&false);
        // A tenant's own series is always admitted; everything's belongs to no tenant.
        let own = family.series.iter().filter(|(_, level)| *level != Level::All).rev().find(admitted);
        (family.tenant.to_string(), own.map_or([0; 16], |(id, _)| *id))
    }

    /// Leaf panes of all partitions, merged, and their parents.
    fn aggregate(
        &mut self,
        parts: &[PartBatch],
        counted: &[(usize, &Contribution, Brings)],
        traced: &Traced,
    ) -> Vec<(Arc<Family>, Micros, Pane)> {
        let mut leaves: BTreeMap<(SeriesId, Micros), (Arc<Family>, Pane)> = BTreeMap::new();
        for part in parts {
            for ((series, minute), pane) in &part.buffer.panes {
                let family = self.family(part.buffer.series.key(*series));
                leaves.entry((family.leaf(), *minute)).or_insert_with(|| (family, Pane::default())).1.merge(pane);
            }
        }
        for (place, contribution, brings) in counted {
            let family = self.family(parts[*place].buffer.series.key(contribution.series));
            let slot = leaves.entry((family.leaf(), contribution.minute)).or_insert_with(|| (family, Pane::default()));
            if *brings == contribution.numbers.brings {
                slot.1.add(&contribution.numbers);
            } else {
                slot.1.add(&Numbers { brings: *brings, ..contribution.numbers.clone() });
            }
        }
        for ((key, minute), hits) in traced {
            let family = self.family(key);
            let slot = leaves.entry((family.leaf(), *minute)).or_insert_with(|| (family, Pane::default()));
            slot.1.hits.merge(hits);
        }
        leaves.into_iter().map(|((_, minute), (family, pane))| (family, minute, pane)).collect()
    }

    fn family(&mut self, key: &[u8]) -> Arc<Family> {
        if let Some(family) = self.memory.known.get(key) {
            return Arc::clone(family);
        }
        if self.memory.known.len() >= MAX_KNOWN {
            self.memory.known.clear();
        }
        let leaf = labels_of(key, &self.rules.dimensions);
        let key: Arc<[u8]> = key.into();
        let series = Level::ALL.map(|level| (leaf.at(level).id(), level));
        let family = Arc::new(Family { key: Arc::clone(&key), tenant: leaf.tenant().into(), series });
        self.memory.known.insert(key, Arc::clone(&family));
        family
    }

    /// Registers the series of this flush under the cap.
    async fn admit(
        &mut self,
        tx: &mut FlushTx,
        parts: &[PartBatch],
        now: Micros,
    ) -> Result<(), leeway_store::StoreError> {
        // Before the first question: what this flush needs is asked for again, and none of it is forgotten later.
        if self.memory.admitted.len() > 10 * MAX_KNOWN {
            self.memory.admitted.clear();
        }
        let mut seen: HashSet<(SeriesId, i64)> = HashSet::new();
        let mut wanted = Vec::new();
        for buffer in parts.iter().map(|part| &part.buffer) {
            let panes = buffer.panes.keys().copied();
            let contributions = buffer.contributions.iter().map(|waiting| (waiting.series, waiting.minute));
            let days: HashSet<(u32, i64)> =
                panes.chain(contributions).map(|(series, minute)| (series, day_of(minute))).collect();
            for (series, day) in days {
                let family = self.family(buffer.series.key(series));
                for (id, level) in family.series {
                    if !self.memory.admitted.contains_key(&(id, day)) && seen.insert((id, day)) {
                        wanted.push(SeriesRef { id, day, labels: family.labels(level, &self.rules.dimensions) });
                    }
                }
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let folded = tx.admit(&wanted, self.series_cap, now).await?;
        for series in &wanted {
            self.memory.admitted.insert((series.id, series.day), !folded.contains(&(series.id, series.day)));
        }
        Ok(())
    }

    /// Gives each leaf's pane to its parents, folds what the cap did not admit, and makes rows.
    async fn spread(
        &mut self,
        tx: &mut FlushTx,
        leaves: Vec<(Arc<Family>, Micros, Pane)>,
        now: Micros,
    ) -> Result<Vec<PaneRow>, leeway_store::StoreError> {
        let mut panes: Panes = BTreeMap::new();
        let mut tenants: HashMap<SeriesId, String> = HashMap::new();
        let mut overflow: HashMap<(SeriesId, i64), SeriesRef> = HashMap::new();
        let mut folded_calls: BTreeMap<(String, i64), u64> = BTreeMap::new();
        for (family, minute, pane) in &leaves {
            let (day, mut within) = (day_of(*minute), Level::All);
            for (id, level) in family.series {
                let tenant = if level == Level::All { "" } else { &*family.tenant };
                let mut target = id;
                if self.memory.admitted.get(&(id, day)) != Some(&false) {
                    within = level;
                } else {
                    let other = family.labels(level, &self.rules.dimensions).overflow(within);
                    target = other.id();
                    overflow.entry((target, day)).or_insert(SeriesRef { id: target, day, labels: other });
                    if level == Level::Leaf {
                        *folded_calls.entry((tenant.to_owned(), day)).or_default() += pane.calls();
                    }
                }
                tenants.entry(target).or_insert_with(|| tenant.to_owned());
                panes.entry((target, *minute)).or_default().merge(pane);
            }
        }
        let overflow: Vec<SeriesRef> = overflow.into_values().collect();
        let folded: Vec<(String, i64, u64)> =
            folded_calls.into_iter().map(|((tenant, day), calls)| (tenant, day, calls)).collect();
        tx.fold(&overflow, &folded, now).await?;
        Ok(panes.iter().map(|((id, minute), pane)| PaneRow::of(&tenants[id], *id, *minute, pane)).collect())
    }
}

/// What the counted calls held.
fn told(parts: &[PartBatch], counted: &[(usize, &Contribution, Brings)], dimensions: &Dimensions) -> Vec<Told> {
    let mut told = Vec::new();
    let mut tell = |call: &[u8], at: Micros, key: &[u8], (user, session, mentions): (u64, u64, &[Mention])| {
        let tenant = if mentions.is_empty() { String::new() } else { labels_of(key, dimensions).tenant().to_owned() };
        told.extend(mentions.iter().map(|mention| Told {
            name: mentions::name(call, &tenant, mention.print),
            at,
            tenant: tenant.clone(),
            user,
            session,
            mention: *mention,
            key: if mention.unexplained { key.to_vec() } else { Vec::new() },
        }));
    };
    for (place, contribution, _) in counted.iter().filter(|(_, _, brings)| brings.text) {
        if let Some(scanned) = &contribution.numbers.scanned {
            let key = parts[*place].buffer.series.key(contribution.series);
            let held = (scanned.user, scanned.session, &scanned.mentions[..]);
            tell(&contribution.name, contribution.minute, key, held);
        }
    }
    for part in parts {
        let PartitionKey { topic, incarnation, partition, .. } = &part.write.key;
        for loose in &part.buffer.loose {
            let call = format!("{topic}/{incarnation}/{partition}/{}/{}", loose.offset, loose.record);
            let held = (loose.user, loose.session, &loose.mentions[..]);
            tell(call.as_bytes(), loose.minute, part.buffer.series.key(loose.series), held);
        }
    }
    told
}

impl Family {
    fn leaf(&self) -> SeriesId {
        self.series.last().map_or([0; 16], |(id, _)| *id)
    }

    fn labels(&self, level: Level, dimensions: &Dimensions) -> Labels {
        labels_of(&self.key, dimensions).at(level)
    }
}

fn ledger_rows(ledgers: &[BTreeMap<Micros, Ledger>]) -> Vec<LedgerRow> {
    let rows = |(part, ledger): (usize, &BTreeMap<Micros, Ledger>)| {
        ledger
            .iter()
            .map(move |(minute, ledger)| LedgerRow { part, minute: *minute, ledger: *ledger })
            .collect::<Vec<_>>()
    };
    ledgers.iter().enumerate().flat_map(rows).collect()
}

fn letters(parts: &[PartBatch]) -> Vec<DeadLetter> {
    let letters = |(place, part): (usize, &PartBatch)| {
        let make = |letter: &crate::accumulate::Letter| DeadLetter {
            part: place,
            offset: letter.offset,
            record: letter.record,
            whole: letter.whole,
            reason: letter.reason,
            field: letter.field,
            bytes: letter.bytes,
            received_at: letter.received_at,
        };
        part.buffer.letters.iter().map(make).collect::<Vec<_>>()
    };
    parts.iter().enumerate().flat_map(letters).collect()
}

fn answer(part: &PartBatch, fenced: bool) -> Flushed {
    Flushed { key: part.write.key.clone(), epoch: part.write.epoch, fenced, quarantined: part.quarantined }
}

/// A flush's id: positive, drawn from 63 random bits, so no two workers need to agree.
pub fn random_id() -> Result<i64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).context("draw a random flush id")?;
    Ok((i64::from_le_bytes(bytes) & i64::MAX).max(1))
}
