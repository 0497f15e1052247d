//! The road of an event: Kafka → decode → (scan) → accumulate → flush. One thread polls, decodes and accumulates;
//! one flushes; messages are borrowed and no payload crosses a thread.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use leeway_core::clock::{Clock, Micros, SECOND};
use leeway_core::event::Reject;
use leeway_formats::{Headers, Reader, Scratch, Sink as _, UserKey};
use leeway_store::{Acquired, LogRange, PartWrite, PartitionKey, Store, StoreError};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _};
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio::runtime::Handle;

use crate::accumulate::{Buffer, Feed, Origin, Rules};
use crate::consume::{Assigner, Change, Log, consumer};
use crate::flush::{Alone, Flushed, Flusher, PartBatch};
use crate::mentions::{Outlet, Tracer};
use crate::metrics::Metrics;
use crate::produce::{OUTAGE, Producer};
use crate::settings::Settings;
use crate::tasks::Stop;

/// A watermark trails the newest event by this bound on disorder.
pub const DISORDER: Micros = 30 * SECOND;
/// A partition that is caught up and quiet for this long follows the clock.
const QUIET: Micros = 60 * SECOND;
/// A caught-up partition trails the clock by this at most, however slow its producers' clocks are.
const SLOWEST: Micros = 120 * SECOND;
/// The watch asks every five seconds; an older word on the log's end is none.
const PROBE_FRESH: Duration = Duration::from_secs(12);
/// How often quiet partitions tell the store that they are alive.
const HEARTBEAT: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(20);
/// Messages and bytes that are read before the next look at clocks, buffers and answers.
const TOGETHER: usize = 32;
const TOGETHER_BYTES: usize = 256 << 10;
/// A partition with unread messages that gets none for this long makes a new consumer.
const STUCK: Duration = Duration::from_secs(30);
/// How long a partition waits before it asks the schema registry again.
const REGISTRY_WAIT: Duration = Duration::from_secs(3);
/// From this many acquisitions at one offset on, a partition goes message by message.
const CAREFUL_FROM: i64 = 3;
/// A span read with care is this part of what was read with care before it.
const SPAN_SHARE: usize = 8;
/// A static member's name may be told twice: by a join whose answer was lost, or by what a process sent before it died.
/// Then a new consumer goes on. Fenced this often within this time, two processes have one name.
const FENCED_AT: usize = 5;
const FENCED_WITHIN: Duration = Duration::from_secs(300);
/// Pause before a new consumer, and the longest one where nobody answers.
const AGAIN: Duration = Duration::from_secs(1);
const AWAY: Duration = Duration::from_secs(16);
/// A mark that the store has not answered by then is set again.
const MARK_WITHIN: Duration = Duration::from_secs(30);
/// A message that was marked this often, and no mark of it cleared, is quarantined: one death between marks may be
/// somebody else's doing, and so may two.
const QUARANTINE_AT: i64 = 3;

/// Ends of the broker's log by partition, as the coverage watch saw them last, and when that was.
#[derive(Debug, Clone, Default)]
pub struct Probe {
    /// Of which life of the topic.
    pub incarnation: Option<String>,
    pub ends: HashMap<i32, i64>,
    pub at: Option<Instant>,
}

pub type LogEnds = Arc<Mutex<Probe>>;

/// What all consumer threads share.
#[derive(Debug, Clone)]
pub struct Shared {
    pub settings: Arc<Settings>,
    pub reader: Reader,
    pub store: Store,
    pub handle: Handle,
    pub rules: Arc<Rules>,
    pub user_key: UserKey,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    pub log_ends: LogEnds,
    /// Asks the broker about the topic; shared by threads.
    pub log: Arc<Log>,
    /// Partitions that the topic has, as last seen by the coverage watch; 0 = unknown.
    pub partition_count: Arc<std::sync::atomic::AtomicUsize>,
    pub host: String,
    /// This is the topic of mentions: what it holds is looked up, so many values of a partition at most.
    pub traces: Option<usize>,
    pub alone: Alone,
}

/// Why a consumer ended.
enum End {
    Stopped,
    /// Make a new one.
    Restart(&'static str),
    /// Another member of the group has this one's name.
    Fenced,
    /// The store or a broker did not answer while partitions were taken.
    Away,
}

struct Partition {
    key: PartitionKey,
    epoch: i64,
    /// Start of the unflushed part.
    from: i64,
    /// Next offset to read.
    position: i64,
    high: i64,
    buffer: Buffer,
    watermark: Micros,
    newest_at: Micros,
    at_end: bool,
    /// The log end that is known to hold nothing unread: control records take offsets that no message has.
    read_end: i64,
    last_end: Instant,
    /// When the watch last saw this partition's log end.
    probed: Option<Instant>,
    last_message_at: Micros,
    last_progress: Instant,
    /// Since the last check.
    progressed: bool,
    last_flush: Instant,
    care: Option<Care>,
    quarantine: Option<i64>,
    taken_at: Instant,
    /// Paused until then: the schema registry does not answer.
    waits: Option<Instant>,
    /// Of the topic of mentions.
    tracer: Option<Tracer>,
}

/// How a partition goes on from an offset that no owner got past: first message by message, then in spans that grow
/// with what went well. Who dies inside a span leaves an offset that is known to be dangerous, and the next owner goes
/// alone from there: a message that kills is found in a few lives, and thousands that do not cost a few flushes.
#[derive(Debug)]
struct Care {
    /// What the owners before may have read and not flushed.
    bytes: usize,
    passed: usize,
    /// Messages of this span that are read and not flushed.
    open: usize,
}

impl Care {
    /// Whether the next message goes alone.
    fn alone(&self) -> bool {
        self.passed < 2 * SPAN_SHARE
    }

    /// Books a message; `true` where its span ends.
    fn read(&mut self, bytes: usize) -> bool {
        self.bytes = self.bytes.saturating_sub(bytes.max(1));
        self.open += 1;
        let ends = self.open >= (self.passed / SPAN_SHARE).max(1);
        if ends {
            self.passed += std::mem::take(&mut self.open);
        }
        ends
    }
}

impl Shared {
    /// How many partitions the topic has; none where nobody knows yet.
    fn partitions(&self) -> usize {
        use std::sync::atomic::Ordering::Relaxed;
        let known = self.partition_count.load(Relaxed);
        if known != 0 {
            return known;
        }
        // The watch has not looked yet: a member's name must not depend on who is faster.
        let count = self.log.partitions().map_or(0, |partitions| partitions.len());
        let _ = self.partition_count.compare_exchange(0, count, Relaxed, Relaxed);
        count
    }

    /// Where this topic's flushes say what calls held.
    fn outlet(&self) -> Result<Option<Outlet>> {
        let kafka = &self.settings.kafka;
        if self.traces.is_some() || kafka.mentions_topic.is_empty() {
            return Ok(None);
        }
        let producer = Producer::new(crate::consume::client(kafka), &kafka.mentions_topic, OUTAGE);
        Ok(Some(Outlet::Kafka(producer.context("kafka.mentions_topic")?)))
    }
}

/// A message, as far as it is read.
struct Arrived<'m> {
    /// `None` is a tombstone.
    value: Option<&'m [u8]>,
    headers: Headers<'m>,
    origin: Origin,
}

/// What became of a message.
enum Touched {
    Done,
    /// Nothing yet: the schema registry does not answer.
    Later,
    /// Another owner has the partition.
    Lost,
}

/// Consumes until told to stop; a consumer that is stuck or fenced is replaced by a new one.
pub fn run(shared: &Shared, thread: usize, stop: &Stop) -> Result<()> {
    let (mut replaced, mut fenced, mut away) = (0, Vec::new(), AGAIN);
    loop {
        let began = Instant::now();
        let (batches, to_flush) = sync_channel::<Vec<PartBatch>>(1);
        let (answers, flushed) = sync_channel::<Vec<Flushed>>(2);
        let owner = format!("{}-{thread}", shared.host);
        let flusher = Flusher {
            store: shared.store.clone(),
            handle: shared.handle.clone(),
            rules: Arc::clone(&shared.rules),
            owner: owner.clone(),
            series_cap: shared.settings.ingest.max_series_per_tenant,
            clock: shared.clock,
            metrics: Arc::clone(&shared.metrics),
            stop: stop.clone(),
            memory: crate::flush::Memory::default(),
            log: Some(Arc::clone(&shared.log)),
            outlet: shared.outlet()?,
            alone: Arc::clone(&shared.alone),
        };
        let end = std::thread::scope(|scope| {
            let name = format!("flush-{thread}");
            let flushing = std::thread::Builder::new()
                .name(name)
                .spawn_scoped(scope, move || flusher.run(&to_flush, &answers))
                .context("start a thread")?;
            let mut worker = Worker::new(shared, batches, flushed);
            worker.consumers_before = replaced;
            let end = worker.consume(thread, owner, stop);
            let flush = flushing.join().map_err(|_| anyhow::anyhow!("the flush thread panicked"))?;
            flush.and(end)
        })?;
        if began.elapsed() > 4 * AWAY {
            away = AGAIN;
        }
        let (pause, reason) = match end {
            End::Stopped => return Ok(()),
            End::Restart(reason) => (AGAIN, reason),
            End::Fenced => {
                note_fenced(&mut fenced, &shared.host)?;
                (AGAIN, "another consumer joined the group under this one's name")
            }
            End::Away => {
                let pause = away;
                away = (away * 2).min(AWAY);
                (pause, "the store or a broker did not answer while partitions were taken")
            }
        };
        tracing::warn!(thread, reason, "making a new consumer");
        shared.metrics.restarted();
        replaced += 1;
        let until = Instant::now() + pause;
        while Instant::now() < until && !stop.stopped() {
            std::thread::sleep(POLL);
        }
    }
}

/// An error where two processes have one name, and would fence each other for ever.
fn note_fenced(fenced: &mut Vec<Instant>, host: &str) -> Result<()> {
    fenced.retain(|at| at.elapsed() < FENCED_WITHIN);
    fenced.push(Instant::now());
    if fenced.len() >= FENCED_AT {
        bail!(
            "Kafka fenced this consumer {FENCED_AT} times: another process of the group is named `{host}` too. The name is of store.data_dir/host.id: where that folder was copied, delete the file in one of the copies; or set kafka.static_membership = false"
        );
    }
    Ok(())
}

struct Worker<'a> {
    shared: &'a Shared,
    batches: SyncSender<Vec<PartBatch>>,
    flushed: Receiver<Vec<Flushed>>,
    outstanding: usize,
    partitions: HashMap<i32, Partition>,
    scratch: Scratch,
    last_swap: Instant,
    last_commit: Instant,
    last_check: Instant,
    transport_error_at: Option<Instant>,
    paused: bool,
    /// Consumers of this thread that were replaced.
    consumers_before: usize,
}

impl<'a> Worker<'a> {
    fn new(shared: &'a Shared, batches: SyncSender<Vec<PartBatch>>, flushed: Receiver<Vec<Flushed>>) -> Self {
        let options = shared.settings.decoding(shared.user_key.clone());
        let now = Instant::now();
        Self {
            shared,
            batches,
            flushed,
            outstanding: 0,
            partitions: HashMap::new(),
            scratch: Scratch::new(options),
            last_swap: now,
            last_commit: now,
            last_check: now,
            transport_error_at: None,
            paused: false,
            consumers_before: 0,
        }
    }

    fn consume(mut self, thread: usize, owner: String, stop: &Stop) -> Result<End> {
        let shared = self.shared;
        let kafka = &shared.settings.kafka;
        let count = shared.partitions();
        // Another partition count is another member: a static member's assignment would leave new partitions orphaned.
        let instance = format!("{owner}-{}-{count}", kafka.topic);
        let assigner = Assigner::new(shared, owner);
        let consumer = consumer(kafka, &instance, assigner)?;
        tracing::info!(thread, topic = kafka.topic, group = kafka.group, instance, "consuming");
        let (mut messages, mut bytes) = (0, 0);
        loop {
            if stop.stopped() {
                self.finish()?;
                return Ok(End::Stopped);
            }
            let polled = consumer.poll(POLL).filter(|_| !crate::faults::starved(self.consumers_before));
            for change in consumer.context().changes() {
                let assigned = matches!(change, Change::Assigned(_));
                if let Some(end) = self.apply(&consumer, change)? {
                    return Ok(end);
                }
                // A pause outlives a re-assignment in the client: new partitions begin awake, and pause again if need be.
                if assigned {
                    consumer.resume(&self.awake()).context("resume")?;
                    self.paused = false;
                }
            }
            let got = matches!(polled, Some(Ok(_)));
            let end = match polled {
                Some(Ok(message)) => {
                    (messages, bytes) = (messages + 1, bytes + message.payload_len());
                    self.take(&consumer, &message)?
                }
                Some(Err(error)) => self.trouble(&consumer, &error)?,
                None => None,
            };
            if end.is_none() && got && messages < TOGETHER && bytes < TOGETHER_BYTES {
                continue;
            }
            (messages, bytes) = (0, 0);
            if let Some(end) = end.or(self.hear(&consumer)?) {
                return Ok(end);
            }
            self.swap_if_due(&consumer)?;
            if let Some(end) = self.check(&consumer, count)? {
                return Ok(end);
            }
        }
    }

    fn apply(&mut self, consumer: &BaseConsumer<Assigner>, change: Change) -> Result<Option<End>> {
        match change {
            Change::Failed(error) => {
                // Nothing was read of what could not be taken: a new consumer asks again.
                if let Some(end) = ended(consumer)? {
                    return Ok(Some(end));
                }
                if !crate::consume::passes(&error) {
                    return Err(error.context("cannot take partitions"));
                }
                tracing::warn!("cannot take partitions now: {error:#}");
                return Ok(Some(End::Away));
            }
            Change::Revoked(partitions) => {
                partitions.iter().for_each(|partition| drop(self.partitions.remove(partition)))
            }
            Change::Assigned(taken) => {
                for (key, acquired, log) in taken {
                    let partition = self.partition(key, &acquired, log);
                    self.partitions.insert(partition.key.partition, partition);
                }
            }
        }
        Ok(None)
    }

    fn partition(&self, key: PartitionKey, acquired: &Acquired, log: LogRange) -> Partition {
        let careful = acquired.attempts >= CAREFUL_FROM;
        if careful {
            tracing::warn!(
                partition = key.partition,
                offset = acquired.next_offset,
                attempts = acquired.attempts,
                "no owner got past this offset; going on with care, first message by message"
            );
        }
        let now = Instant::now();
        Partition {
            key,
            epoch: acquired.epoch,
            from: acquired.next_offset,
            position: acquired.next_offset,
            high: log.high,
            buffer: Buffer::default(),
            watermark: acquired.watermark,
            newest_at: 0,
            at_end: acquired.next_offset >= log.high,
            read_end: acquired.next_offset,
            last_end: now,
            probed: None,
            last_message_at: self.shared.clock.now(),
            last_progress: now,
            progressed: false,
            last_flush: now,
            // What was read and not flushed is at most one buffer filling, one queued and one being flushed.
            care: careful.then(|| Care { bytes: 3 * self.shared.settings.ingest.flush_bytes, passed: 0, open: 0 }),
            quarantine: acquired.marker.filter(|_| acquired.marker_hits >= QUARANTINE_AT),
            taken_at: now,
            waits: None,
            tracer: self.shared.traces.map(|most| Tracer::new(most, self.shared.rules.dimensions.digest())),
        }
    }

    /// One message: decoded and accumulated in place.
    fn take(&mut self, consumer: &BaseConsumer<Assigner>, message: &BorrowedMessage<'_>) -> Result<Option<End>> {
        let Some(partition) = self.partitions.get_mut(&message.partition()) else { return Ok(None) };
        // What was fetched before its partition began to wait comes again after it.
        if message.offset() < partition.position || partition.waits.is_some() {
            partition.recall(message.payload());
            return Ok(None);
        }
        let mut headers = Headers::default();
        for header in message.headers().iter().flat_map(|headers| headers.iter()) {
            headers.take(header.key, header.value.unwrap_or_default());
        }
        crate::faults::read(&partition.key.topic, message.partition(), message.offset());
        let now = self.shared.clock.now();
        // A producer may stamp anything: nonsense in the future is now, nonsense in the past is the epoch.
        let stamped = message.timestamp().to_millis().map_or(now, |ms| ms.saturating_mul(1000).max(0));
        let origin = Origin {
            offset: message.offset(),
            bytes: message.payload_len(),
            received: stamped.min(now),
            partition: message.partition(),
            record: 0,
        };
        let arrived = Arrived { value: message.payload(), headers, origin };
        let touched = if partition.care.as_ref().is_some_and(Care::alone) {
            touch_alone(self.shared, partition, &arrived, &mut self.scratch)?
        } else {
            decode(self.shared, &arrived, partition, &mut self.scratch)
        };
        match touched {
            Touched::Done => {}
            Touched::Later => {
                partition.wait(consumer, message.offset())?;
                return Ok(None);
            }
            Touched::Lost => return Ok(Some(End::Restart("another owner took a partition"))),
        }
        partition.position = message.offset() + 1;
        partition.high = partition.high.max(partition.position);
        partition.at_end = false;
        (partition.last_message_at, partition.progressed) = (now, true);
        let Some(care) = &mut partition.care else { return Ok(None) };
        let ends = care.read(origin.bytes);
        if care.bytes == 0 {
            partition.care = None;
        }
        if ends && self.flush_now()? {
            return Ok(Some(End::Restart("a partition is no longer this consumer's")));
        }
        Ok(None)
    }

    fn trouble(&mut self, consumer: &BaseConsumer<Assigner>, error: &KafkaError) -> Result<Option<End>> {
        if let Some(end) = ended(consumer)? {
            return Ok(Some(end));
        }
        match error {
            KafkaError::PartitionEOF(partition) => {
                if let Some(partition) =
                    self.partitions.get_mut(partition).filter(|partition| partition.waits.is_none())
                {
                    partition.at_end = true;
                    partition.read_end = partition.position;
                    (partition.last_end, partition.last_progress) = (Instant::now(), Instant::now());
                }
            }
            KafkaError::MessageConsumption(code) => match code {
                RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => {
                    return Ok(Some(End::Restart("an offset is out of the broker's range")));
                }
                RDKafkaErrorCode::UnknownTopicOrPartition => {
                    self.complain("the topic does not exist yet; waiting for it")
                }
                code => self.complain(&format!("kafka: {code}")),
            },
            other => self.complain(&format!("kafka: {other}")),
        }
        Ok(None)
    }

    /// Transport errors come twenty a second while all brokers are down: one line in ten seconds.
    fn complain(&mut self, what: &str) {
        if self.transport_error_at.is_none_or(|at| at.elapsed() > Duration::from_secs(10)) {
            tracing::warn!(topic = self.shared.settings.kafka.topic, "{what}");
            self.transport_error_at = Some(Instant::now());
        }
    }

    /// Takes the flush thread's answers.
    fn hear(&mut self, consumer: &BaseConsumer<Assigner>) -> Result<Option<End>> {
        loop {
            match self.flushed.try_recv() {
                Ok(answers) => {
                    self.outstanding -= 1;
                    if self.lost(&answers) {
                        return Ok(Some(End::Restart("a partition is no longer this consumer's")));
                    }
                    self.commit_for_lag_tools(consumer);
                }
                Err(TryRecvError::Empty) => return Ok(None),
                Err(TryRecvError::Disconnected) => bail!("the flush thread ended"),
            }
        }
    }

    fn lost(&self, answers: &[Flushed]) -> bool {
        answers.iter().any(|answer| {
            let mine = self.partitions.get(&answer.key.partition);
            answer.fenced && mine.is_some_and(|mine| mine.key == answer.key && mine.epoch == answer.epoch)
        })
    }

    fn swap_if_due(&mut self, consumer: &BaseConsumer<Assigner>) -> Result<()> {
        let ingest = &self.shared.settings.ingest;
        let bytes: usize = self.partitions.values().map(|partition| partition.buffer.bytes()).sum();
        let full = bytes >= ingest.flush_bytes;
        if !full && self.last_swap.elapsed() < Duration::from_millis(ingest.flush_ms) {
            return Ok(());
        }
        let sent = self.swap()?;
        if full && !sent && !self.paused {
            // The store is slow: stop fetching, go on polling, so that the group does not expel us.
            consumer.pause(&consumer.assignment().context("read the assignment")?).context("pause")?;
            self.paused = true;
        } else if sent && self.paused {
            consumer.resume(&self.awake()).context("resume")?;
            self.paused = false;
        }
        Ok(())
    }

    /// The partitions that do not wait for their schema registry.
    fn awake(&self) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for partition in self.partitions.values().filter(|partition| partition.waits.is_none()) {
            list.add_partition(&partition.key.topic, partition.key.partition);
        }
        list
    }

    /// Hands the buffers over; `false` while the flush thread is busy with two.
    fn swap(&mut self) -> Result<bool> {
        if self.outstanding >= 2 {
            return Ok(false);
        }
        let now = self.shared.clock.now();
        let batch: Vec<PartBatch> = self.partitions.values_mut().filter_map(|partition| partition.batch(now)).collect();
        self.last_swap = Instant::now();
        if batch.is_empty() {
            return Ok(true);
        }
        // With at most one outstanding this waits for no flush, only for the flush thread to take the one before.
        self.batches.send(batch).map_err(|_| anyhow::anyhow!("the flush thread ended"))?;
        self.outstanding += 1;
        Ok(true)
    }

    /// Swaps and waits for every answer; `true` where a partition was lost.
    fn flush_now(&mut self) -> Result<bool> {
        let mut lost = false;
        while self.outstanding > 0 {
            lost |= self.await_answer()?;
        }
        self.swap()?;
        while self.outstanding > 0 {
            lost |= self.await_answer()?;
        }
        Ok(lost)
    }

    /// Waits for one answer; `true` where a partition was lost.
    fn await_answer(&mut self) -> Result<bool> {
        let answers = self.flushed.recv().context("the flush thread ended")?;
        self.outstanding -= 1;
        Ok(self.lost(&answers))
    }

    /// A graceful end: one last flush, and a word that nobody died.
    fn finish(&mut self) -> Result<()> {
        self.flush_now()?;
        for partition in self.partitions.values() {
            // Everything is flushed; a mark that stays costs the next owner some care, nothing else.
            if let Err(error) = self.shared.handle.block_on(self.shared.store.release(&partition.key, partition.epoch))
            {
                tracing::warn!(%error, partition = partition.key.partition, "release");
            }
        }
        Ok(())
    }

    /// Once a second: does every partition with unread messages get some, and is the topic what it was?
    fn check(&mut self, consumer: &BaseConsumer<Assigner>, count: usize) -> Result<Option<End>> {
        if self.last_check.elapsed() < Duration::from_secs(1) {
            return Ok(None);
        }
        let slept = self.last_check.elapsed() > Duration::from_secs(5);
        self.last_check = Instant::now();
        let now_count = self.shared.partition_count.load(std::sync::atomic::Ordering::Relaxed);
        if count != 0 && now_count != count {
            return Ok(Some(End::Restart("the topic has another number of partitions")));
        }
        let away = self.transport_error_at.is_some_and(|at| at.elapsed() < STUCK);
        let probe = self.shared.log_ends.lock().map(|probe| probe.clone()).unwrap_or_default();
        // A client may follow a topic that was created anew, or get nothing of it and say nothing.
        if self.partitions.values().any(|partition| partition.over(&probe)) {
            return Ok(Some(End::Restart("the topic was created anew")));
        }
        let mut stuck = false;
        for partition in self.partitions.values_mut() {
            partition.see(&probe);
            if !self.paused {
                partition.wait_over(consumer)?;
            }
            // The clock stands still while brokers are away, while we pause, and after this process was stopped.
            // While the store is slow everybody waits for it.
            let waits = self.paused || partition.waits.is_some() || std::mem::take(&mut partition.progressed);
            if slept || away || waits || partition.high <= partition.read_end.max(partition.position) {
                partition.last_progress = Instant::now();
            }
            stuck |= partition.last_progress.elapsed() > STUCK;
        }
        self.shared.metrics.waiting(self.partitions.values().filter(|partition| partition.waits.is_some()).count());
        Ok(stuck.then_some(End::Restart("a partition with unread messages gets none")))
    }

    /// Best effort, at most once a second; never read back.
    fn commit_for_lag_tools(&mut self, consumer: &BaseConsumer<Assigner>) {
        let away = self.transport_error_at.is_some_and(|at| at.elapsed() < Duration::from_secs(15));
        if away || self.last_commit.elapsed() < Duration::from_secs(1) {
            return;
        }
        self.last_commit = Instant::now();
        let mut list = TopicPartitionList::new();
        for partition in self.partitions.values() {
            let added = list.add_partition_offset(
                &partition.key.topic,
                partition.key.partition,
                Offset::Offset(partition.from),
            );
            if added.is_err() {
                return;
            }
        }
        if let Err(error) = consumer.commit(&list, CommitMode::Async) {
            tracing::debug!(%error, "commit for lag tools");
        }
    }
}

/// Whether Kafka has no more use for this consumer.
fn ended(consumer: &BaseConsumer<Assigner>) -> Result<Option<End>> {
    match consumer.client().fatal_error() {
        None => Ok(None),
        Some((RDKafkaErrorCode::FencedInstanceId, _)) => Ok(Some(End::Fenced)),
        Some((code, reason)) => bail!("Kafka says that this consumer is done: {code}: {reason}"),
    }
}

impl Partition {
    /// Of the topic of mentions: what an earlier owner counted is remembered.
    fn recall(&mut self, message: Option<&[u8]>) {
        if let (Some(tracer), Some(message)) = (&mut self.tracer, message) {
            // What cannot be read was a dead letter then.
            let _ = tracer.take(message, None);
            self.progressed = true;
        }
    }

    /// Stops fetching; the message comes again when the wait is over.
    fn wait(&mut self, consumer: &BaseConsumer<Assigner>, offset: i64) -> Result<()> {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.key.topic, self.key.partition);
        consumer.pause(&list).context("pause")?;
        (self.position, self.waits) = (offset, Some(Instant::now()));
        // It is unread: neither the end of the log nor quiet.
        (self.at_end, self.high) = (false, self.high.max(offset + 1));
        Ok(())
    }

    /// Reads on where the wait began, once it is over.
    fn wait_over(&mut self, consumer: &BaseConsumer<Assigner>) -> Result<()> {
        if self.waits.is_none_or(|since| since.elapsed() < REGISTRY_WAIT) {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.key.topic, self.key.partition);
        // A seek that fails (the partition is being revoked, its broker is away) is tried again in a second.
        let sought = consumer.seek(&self.key.topic, self.key.partition, Offset::Offset(self.position), POLL * 50);
        if let Err(error) = sought {
            tracing::debug!(%error, partition = self.key.partition, "seek");
            return Ok(());
        }
        self.waits = None;
        consumer.resume(&list).context("resume")
    }

    /// The topic was created anew since this partition was taken.
    fn over(&self, probe: &Probe) -> bool {
        let later = probe.at.is_some_and(|at| at > self.taken_at);
        later && probe.incarnation.as_ref().is_some_and(|life| *life != self.key.incarnation)
    }

    /// Takes the watch's word on the log's end. Right after the consumer came to the end, what is beyond its position
    /// is control records of transactions; later growth is unread messages until the consumer says otherwise.
    fn see(&mut self, probe: &Probe) {
        if probe.incarnation.as_ref() != Some(&self.key.incarnation) {
            return;
        }
        let Some(end) = probe.ends.get(&self.key.partition) else { return };
        self.high = self.high.max(*end);
        self.probed = probe.at;
        if self.at_end && self.last_end.elapsed() < PROBE_FRESH {
            self.read_end = self.read_end.max(*end);
        }
    }

    /// The unflushed part, or a sign of life where there is none.
    fn batch(&mut self, now: Micros) -> Option<PartBatch> {
        self.newest_at = self.newest_at.max(self.buffer.newest_at);
        let mut watermark = if self.newest_at > 0 { self.newest_at - DISORDER } else { 0 };
        // Without a fresh word from the broker, quiet may be an outage, and the clock proves nothing.
        let fresh = self.probed.is_some_and(|at| at.elapsed() < PROBE_FRESH) && !crate::faults::without_clock();
        if self.at_end && fresh && self.high <= self.read_end.max(self.position) {
            let quiet = now - self.last_message_at >= QUIET;
            // No producer's clock stands behind a mention.
            let trail = if quiet || self.tracer.is_some() { DISORDER } else { SLOWEST };
            watermark = watermark.max(now - trail);
        }
        // One producer with a fast clock must not close everybody's windows.
        self.watermark = self.watermark.max(watermark.min(now));
        if self.position == self.from && self.last_flush.elapsed() < HEARTBEAT {
            return None;
        }
        let write = PartWrite {
            key: self.key.clone(),
            epoch: self.epoch,
            from: self.from,
            to: self.position,
            watermark: self.watermark,
            newest_at: self.newest_at,
            high: self.high,
            attempts: if self.care.is_some() { CAREFUL_FROM - 1 } else { 0 },
        };
        self.from = self.position;
        self.last_flush = Instant::now();
        Some(PartBatch { write, buffer: std::mem::take(&mut self.buffer), quarantined: false })
    }
}

/// Decodes a message of a partition that nobody got past, between two marks in the store. A death in between is the
/// message's own: other threads wait, and the mark is gone before the flush.
fn touch_alone(
    shared: &Shared,
    partition: &mut Partition,
    arrived: &Arrived<'_>,
    scratch: &mut Scratch,
) -> Result<Touched> {
    let origin = arrived.origin;
    if partition.quarantine == Some(origin.offset) {
        tracing::error!(
            partition = origin.partition,
            offset = origin.offset,
            "this message stopped the process three times and is quarantined"
        );
        partition.buffer.undecodable(origin, &Reject::Quarantined);
        return Ok(Touched::Done);
    }
    // Asked for before the mark: what happens while a registry is waited for is not the message's doing.
    if arrived.value.is_some_and(|value| !shared.reader.ready(value, &arrived.headers)) {
        return Ok(Touched::Later);
    }
    let _alone = shared.alone.write().map_err(|_| anyhow::anyhow!("another thread panicked on a message"))?;
    let (key, epoch) = (partition.key.clone(), partition.epoch);
    let mark = |offset| {
        let mut again = false;
        loop {
            let marked = async {
                let within = tokio::time::timeout(MARK_WITHIN, shared.store.mark(&key, epoch, offset, again)).await;
                within.unwrap_or_else(|_| Err(StoreError::silent()))
            };
            match shared.handle.block_on(marked) {
                // Leaving now would leave a mark on a message that did nothing.
                Err(error) if error.passing() => std::thread::sleep(Duration::from_millis(500)),
                marked => break marked.context("mark a message"),
            }
            again = true;
        }
    };
    if !mark(Some(origin.offset))? {
        return Ok(Touched::Lost);
    }
    let touched = decode(shared, arrived, partition, scratch);
    Ok(if mark(None)? { touched } else { Touched::Lost })
}

/// Decodes one message into its buffer.
fn decode(shared: &Shared, arrived: &Arrived<'_>, partition: &mut Partition, scratch: &mut Scratch) -> Touched {
    let (origin, buffer) = (arrived.origin, &mut partition.buffer);
    let mut feed = Feed { buffer, origin, rules: &shared.rules };
    let decoded = match (arrived.value, &mut partition.tracer) {
        (Some(value), Some(tracer)) => tracer.take(value, Some((feed.buffer, origin.received))),
        (Some(value), None) => {
            crate::faults::poison(value);
            shared.reader.decode(value, &arrived.headers, scratch, &mut feed)
        }
        // A tombstone of a compacted topic: there is no record in it.
        (None, _) => {
            feed.skipped(1);
            Ok(())
        }
    };
    match decoded {
        Ok(()) => buffer.decoded(origin),
        Err(Reject::RegistryAway) => return Touched::Later,
        Err(reason) => buffer.undecodable(origin, &reason),
    }
    Touched::Done
}
