//! Telemetry by HTTP: into Kafka and its acknowledgement, or (without Kafka) into the store and its commit. Whoever gets
//! a good answer need not send again; whoever gets none may, since a call that has a name counts once.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::body::Bytes;
use leeway_core::clock::{Clock, Micros, SECOND};
use leeway_core::event::{Event, Reject};
use leeway_formats::{Format, Headers, LeewayJson, Options, OtlpLogs, OtlpTraces, Reader, Scratch, Sink, UserKey};
use leeway_store::{LogRange, PartWrite, PartitionKey, Store};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::accumulate::{Buffer, Feed, Origin, Rules, in_time};
use crate::flush::{Flusher, PartBatch};
use crate::pipeline::DISORDER;
use crate::produce::{ANSWER, Producer};
use crate::settings::Settings;
use crate::tasks::Stop;

/// The source name of what comes by HTTP into the store.
pub const SOURCE: &str = "http";
/// Requests that wait for their commit.
const MAX_WAITING: usize = 256;
/// Bytes of bodies in memory, in units of this many.
const UNIT: usize = 1024;
/// A packed body is charged for this many times its size.
const UNPACKED: usize = 20;
/// Requests share a commit for this long.
const GROUP: Duration = Duration::from_millis(100);
/// How often a quiet source tells the store that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// A source that is quiet for this long follows the clock; a busy one trails it by the second at most.
const QUIET: Micros = 60 * SECOND;
const SLOWEST: Micros = 120 * SECOND;
/// A process that was silent for this long is gone.
const GONE: Micros = 60 * SECOND;
/// How long a commit or an acknowledgement may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a request brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    Traces,
    Logs,
    /// Leeway JSON.
    Events,
}

impl Signal {
    fn format(self) -> &'static dyn Format {
        match self {
            Self::Traces => &OtlpTraces,
            Self::Logs => &OtlpLogs,
            Self::Events => &LeewayJson,
        }
    }

    fn reader(self) -> Reader {
        Reader::of(self.format())
    }
}

/// What became of a request's records.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Taken {
    pub accepted: u64,
    /// Records that are dead letters: number in the message, and why.
    pub rejected: Vec<(u32, Reject)>,
}

/// Why a request was not taken.
#[derive(Debug)]
pub enum Refused {
    /// The body is none of its format; sending it again changes nothing.
    Body(Reject),
    /// Too much is under way; later may be better.
    Busy,
    /// No place to put it, and what would help.
    Nowhere(String),
    /// The broker or the store did not answer; later may be better.
    Away(String),
}

/// Counts records without keeping them.
struct Check {
    taken: Taken,
    now: Micros,
}

impl Check {
    fn new(now: Micros) -> Self {
        Self { taken: Taken::default(), now }
    }
}

impl Sink for Check {
    fn record(&mut self, index: u32, decoded: Result<Event<'_>, Reject>) {
        match decoded.and_then(|event| in_time(event, self.now)) {
            Ok(_) => self.taken.accepted += 1,
            Err(reason) => self.taken.rejected.push((index, reason)),
        }
    }
    fn unknown_fields(&mut self, _: u32) {}
    fn skipped(&mut self, _: u32) {}
}

/// The way in.
#[derive(Debug)]
pub struct Intake {
    way: Way,
    options: Options,
    clock: Clock,
    /// Room for bodies, in units of [`UNIT`] bytes.
    room: Arc<Semaphore>,
    /// Bodies that are checked at once.
    checks: Arc<Semaphore>,
}

#[derive(Debug)]
enum Way {
    /// Topics with the id of their format.
    Kafka {
        topics: Vec<(&'static str, Producer)>,
    },
    Store(SyncSender<Request>),
}

#[derive(Debug)]
struct Request {
    signal: Signal,
    body: Bytes,
    answer: oneshot::Sender<Result<Taken, Refused>>,
    _room: OwnedSemaphorePermit,
}

impl Intake {
    fn new(settings: &Settings, user_key: UserKey, clock: Clock, way: Way) -> Self {
        let ingest = &settings.ingest;
        let options = settings.decoding(user_key);
        let room = (4 * ingest.max_message_bytes).div_ceil(UNIT).min(Semaphore::MAX_PERMITS);
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let (room, checks) = (Arc::new(Semaphore::new(room)), Arc::new(Semaphore::new(cores)));
        Self { way, options, clock, room, checks }
    }

    /// Requests become messages of the configured topics.
    pub fn kafka(settings: &Settings, user_key: UserKey, clock: Clock) -> Result<Self> {
        let mut topics = Vec::new();
        // Where fields are another's, nothing of Leeway's own belongs.
        for topic in settings.topics()?.into_iter().filter(|topic| topic.reader.mapping.is_none()) {
            topics.push((
                topic.reader.id(),
                Producer::new(crate::consume::client(&settings.kafka), &topic.name, ANSWER)?,
            ));
        }
        Ok(Self::new(settings, user_key, clock, Way::Kafka { topics }))
    }

    /// Requests go to the thread that [`Receive::run`] is.
    pub fn store(settings: &Settings, user_key: UserKey, clock: Clock) -> (Self, Requests) {
        let (sender, requests) = sync_channel(MAX_WAITING);
        (Self::new(settings, user_key, clock, Way::Store(sender)), Requests(requests))
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Room for a body of so many bytes; packed ones are charged for what they may become.
    pub fn room(&self, bytes: usize, packed: bool) -> Result<OwnedSemaphorePermit, Refused> {
        let most = self.options.max_message_bytes;
        if bytes > most {
            return Err(Refused::Body(Reject::TooLarge));
        }
        let bytes = if packed { bytes.saturating_mul(UNPACKED).min(most) } else { bytes };
        let units = u32::try_from(bytes.div_ceil(UNIT).max(1)).map_err(|_| Refused::Body(Reject::TooLarge))?;
        Arc::clone(&self.room).try_acquire_many_owned(units).map_err(|_| Refused::Busy)
    }

    /// Takes a body, with the room that it has.
    pub async fn take(&self, signal: Signal, body: Bytes, room: OwnedSemaphorePermit) -> Result<Taken, Refused> {
        match &self.way {
            Way::Kafka { topics } => self.produce(topics, signal, body, room).await,
            Way::Store(requests) => {
                let (answer, answered) = oneshot::channel();
                requests.try_send(Request { signal, body, answer, _room: room }).map_err(|_| Refused::Busy)?;
                let answered = tokio::time::timeout(PATIENCE, answered).await;
                answered
                    .map_err(|_| Refused::Away("the store did not commit in time".into()))?
                    .map_err(|_| Refused::Away("this process is stopping".into()))?
            }
        }
    }

    async fn produce(
        &self,
        topics: &[(&'static str, Producer)],
        signal: Signal,
        body: Bytes,
        room: OwnedSemaphorePermit,
    ) -> Result<Taken, Refused> {
        let wanted = signal.format().id();
        let fits = |id: &str| topics.iter().find(|(format, _)| *format == id);
        let Some((_, producer)) = fits(wanted).or_else(|| fits("auto")) else {
            return Err(Refused::Nowhere(format!(
                "no topic takes {wanted}: name one in kafka.sources with format = \"{wanted}\" or \"auto\""
            )));
        };
        // What is nothing is refused here, where its sender can hear it; bad records of a good body are dead letters there.
        let turn = Arc::clone(&self.checks).acquire_owned().await.map_err(|_| Refused::Busy)?;
        let (options, now) = (self.options.clone(), self.clock.now());
        let checked = tokio::task::spawn_blocking(move || {
            // Who hangs up does not stop the check: its room is free when it is over.
            let held = (turn, room);
            let mut check = Check::new(now);
            let decoded = signal.reader().decode(&body, &Headers::default(), &mut Scratch::new(options), &mut check);
            decoded.map(|()| (check.taken, body, held.1))
        });
        let (taken, body, _room) =
            checked.await.map_err(|error| Refused::Away(error.to_string()))?.map_err(Refused::Body)?;
        let acknowledged = producer.offer(&body, self.clock.wall()).map_err(|error| refused(&error))?;
        match tokio::time::timeout(PATIENCE, acknowledged).await {
            Ok(Ok(Ok(()))) => Ok(taken),
            Ok(Ok(Err(error))) => Err(refused(&error)),
            Ok(Err(_)) | Err(_) => Err(Refused::Away("Kafka did not acknowledge in time".into())),
        }
    }
}

/// What Kafka's error means for the sender: whether later is better.
fn refused(error: &KafkaError) -> Refused {
    use RDKafkaErrorCode::{InvalidMessageSize, MessageSizeTooLarge, QueueFull};
    match error.rdkafka_error_code() {
        Some(MessageSizeTooLarge | InvalidMessageSize) => Refused::Body(Reject::TooLarge),
        Some(QueueFull) => Refused::Busy,
        _ => Refused::Away(format!("Kafka did not take it: {error}")),
    }
}

/// What waits to be read into the store.
#[derive(Debug)]
pub struct Requests(Receiver<Request>);

/// Reads requests into the store: decode, accumulate, and one commit for all that came within a tenth of a second.
#[derive(Debug)]
pub struct Receive {
    pub settings: Arc<Settings>,
    pub store: Store,
    pub rules: Arc<Rules>,
    pub user_key: UserKey,
    pub clock: Clock,
    pub flusher: Flusher,
    /// Names this process; its source has an offset of its own.
    pub owner: String,
}

/// Requests that share a commit.
#[derive(Default)]
struct Group {
    buffer: Buffer,
    requests: Vec<(Request, Taken)>,
}

impl Receive {
    pub fn run(mut self, requests: &Requests, stop: &Stop) -> Result<()> {
        let mut part = self.acquire()?;
        let (mut last_flush, mut last_request) = (Instant::now(), 0);
        let mut retired = self.clock.now();
        loop {
            let wait = HEARTBEAT.saturating_sub(last_flush.elapsed()).min(Duration::from_millis(200));
            let first = match requests.0.recv_timeout(wait) {
                Ok(request) => Some(request),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            if first.is_none() && stop.stopped() {
                return Ok(());
            }
            if first.is_none() && last_flush.elapsed() < HEARTBEAT {
                continue;
            }
            let mut group = Group::default();
            if let Some(first) = first {
                last_request = self.clock.now();
                self.gather(first, requests, &mut part, &mut group);
            }
            self.commit(&mut part, group, last_request)?;
            last_flush = Instant::now();
            let now = self.clock.now();
            if now - retired >= GONE {
                retired = now;
                self.retire(now);
            }
        }
    }

    /// Each process has a partition of its own: those of processes that are gone would stand in the tables for ever.
    fn retire(&self, now: Micros) {
        if let Err(error) = self.flusher.handle.block_on(self.store.retire(SOURCE, now - GONE)) {
            tracing::warn!(%error, "sources of processes that are gone are retired later");
        }
    }

    /// Commits a group and answers its requests; one that the store refuses is told so, and the others are not held up.
    fn commit(&mut self, part: &mut PartWrite, mut group: Group, last_request: Micros) -> Result<()> {
        let now = self.clock.now();
        part.newest_at = part.newest_at.max(group.buffer.newest_at);
        let trail = if now - last_request >= QUIET { DISORDER } else { SLOWEST };
        part.watermark = part.watermark.max((part.newest_at - DISORDER).max(now - trail).min(now));
        part.high = part.to;
        let buffer = std::mem::take(&mut group.buffer);
        let flushed = self.flusher.flush(vec![PartBatch { write: part.clone(), buffer, quarantined: false }]);
        let outcome = match flushed {
            Ok(answers) => answers.into_iter().next(),
            // Something of it is nothing that a store can hold: each request for itself shows which.
            Err(_) if group.requests.len() > 1 => {
                part.to = part.from;
                for (request, _) in group.requests {
                    let mut alone = Group::default();
                    self.read(request, part, &mut alone, &mut Scratch::new(self.options()));
                    self.commit(part, alone, last_request)?;
                }
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let fenced = outcome.as_ref().is_none_or(|outcome| outcome.fenced);
        let quarantined = outcome.is_some_and(|outcome| outcome.quarantined);
        for (request, taken) in group.requests {
            let said = match (fenced, quarantined) {
                (true, _) => Err(Refused::Away("the store did not commit".into())),
                (_, true) => Err(Refused::Body(Reject::Quarantined)),
                _ => Ok(taken),
            };
            // Who hung up does not hear it; what was committed is counted all the same.
            let _ = request.answer.send(said);
        }
        if fenced {
            *part = self.acquire()?;
        }
        part.from = part.to;
        Ok(())
    }

    fn options(&self) -> Options {
        self.settings.decoding(self.user_key.clone())
    }

    /// Takes this process's own partition of the source.
    fn acquire(&self) -> Result<PartWrite> {
        let key =
            PartitionKey { source: SOURCE.into(), topic: self.owner.clone(), incarnation: String::new(), partition: 0 };
        let handle = &self.flusher.handle;
        let next = handle.block_on(self.store.next_offset(&key)).context("read where HTTP requests stand")?;
        let log = LogRange { low: 0, high: next, first: 0 };
        let acquired = handle
            .block_on(self.store.acquire(&key, &self.owner, log, self.clock.now()))
            .context("take the source of HTTP requests")?;
        Ok(PartWrite {
            key,
            epoch: acquired.epoch,
            from: acquired.next_offset,
            to: acquired.next_offset,
            watermark: acquired.watermark,
            newest_at: 0,
            high: next,
            attempts: 0,
        })
    }

    /// Decodes requests until the group's time or memory is over.
    fn gather(&self, first: Request, requests: &Requests, part: &mut PartWrite, group: &mut Group) {
        let (mut scratch, until) = (Scratch::new(self.options()), Instant::now() + GROUP);
        let mut next = Some(first);
        while let Some(request) = next {
            self.read(request, part, group, &mut scratch);
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || group.buffer.bytes() >= self.settings.ingest.flush_bytes {
                return;
            }
            next = requests.0.recv_timeout(left).ok();
        }
    }

    fn read(&self, request: Request, part: &mut PartWrite, group: &mut Group, scratch: &mut Scratch) {
        // Who gave up waiting sends again: what was not begun is not done for him.
        if request.answer.is_closed() {
            return;
        }
        let received = self.clock.now();
        let origin = Origin { offset: part.to, bytes: request.body.len(), received, partition: 0, record: 0 };
        let reader = request.signal.reader();
        let mut check = Check::new(received);
        // Twice read is simpler than a sink that does two things; what comes by HTTP is little.
        if let Err(reason) = reader.decode(&request.body, &Headers::default(), scratch, &mut check) {
            let _ = request.answer.send(Err(Refused::Body(reason)));
            return;
        }
        let mut feed = Feed { buffer: &mut group.buffer, origin, rules: &self.rules };
        if reader.decode(&request.body, &Headers::default(), scratch, &mut feed).is_ok() {
            group.buffer.decoded(origin);
        }
        part.to += 1;
        group.requests.push((request, check.taken));
    }
}
