//! Telemetry by HTTP: into Kafka and its acknowledgement, or (without Kafka) into the store and its commit. Whoever gets
//! a good answer need not send again; whoever gets none may, since a call counts once.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::body::Bytes;
use leeway_core::clock::{Clock, Micros, SECOND};
use leeway_core::event::{Event, Reject};
use leeway_formats::{Format, LeewayJson, Options, OtlpLogs, OtlpTraces, Scratch, Sink, UserKey};
use leeway_store::{LogRange, PartWrite, PartitionKey, Store};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::accumulate::{Buffer, Feed, Origin, Rules};
use crate::flush::{Flusher, PartBatch};
use crate::pipeline::DISORDER;
use crate::produce::Producer;
use crate::settings::Settings;
use crate::tasks::Stop;

/// The source name of what comes by HTTP into the store.
pub const SOURCE: &str = "http";
/// Requests that wait for their commit.
const MAX_WAITING: usize = 256;
/// Bytes of bodies in memory, in units of this many.
const UNIT: usize = 1024;
/// Requests share a commit for this long.
const GROUP: Duration = Duration::from_millis(100);
/// How often a quiet source tells the store that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// A source that is quiet for this long follows the clock; a busy one trails it by the second at most.
const QUIET: Micros = 60 * SECOND;
const SLOWEST: Micros = 120 * SECOND;
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
#[derive(Default)]
struct Check(Taken);

impl Sink for Check {
    fn record(&mut self, index: u32, decoded: Result<Event<'_>, Reject>) {
        match decoded {
            Ok(_) => self.0.accepted += 1,
            Err(reason) => self.0.rejected.push((index, reason)),
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
    /// Room for bodies, in units of [`UNIT`] bytes.
    room: Arc<Semaphore>,
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
    fn new(settings: &Settings, user_key: UserKey, way: Way) -> Self {
        let ingest = &settings.ingest;
        let options = Options { max_message_bytes: ingest.max_message_bytes, max_depth: ingest.max_depth, user_key };
        let room = (4 * ingest.max_message_bytes).div_ceil(UNIT).min(Semaphore::MAX_PERMITS);
        Self { way, options, room: Arc::new(Semaphore::new(room)) }
    }

    /// Requests become messages of the configured topics.
    pub fn kafka(settings: &Settings, user_key: UserKey) -> Result<Self> {
        let kafka = &settings.kafka;
        let mut topics = Vec::new();
        for (topic, format) in kafka.formats()? {
            topics.push((format.id(), Producer::new(crate::consume::client(kafka), &topic)?));
        }
        Ok(Self::new(settings, user_key, Way::Kafka { topics }))
    }

    /// Requests go to the thread that [`Receive::run`] is.
    pub fn store(settings: &Settings, user_key: UserKey) -> (Self, Requests) {
        let (sender, requests) = sync_channel(MAX_WAITING);
        (Self::new(settings, user_key, Way::Store(sender)), Requests(requests))
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    pub async fn take(&self, signal: Signal, body: Bytes) -> Result<Taken, Refused> {
        let units = u32::try_from(body.len().div_ceil(UNIT).max(1)).map_err(|_| Refused::Body(Reject::TooLarge))?;
        let room = Arc::clone(&self.room).try_acquire_many_owned(units).map_err(|_| Refused::Busy)?;
        match &self.way {
            Way::Kafka { topics } => self.produce(topics, signal, &body).await,
            Way::Store(requests) => {
                let (answer, answered) = oneshot::channel();
                let request = Request { signal, body, answer, _room: room };
                requests.try_send(request).map_err(|_| Refused::Busy)?;
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
        body: &Bytes,
    ) -> Result<Taken, Refused> {
        let wanted = signal.format().id();
        let fits = |id: &str| topics.iter().find(|(format, _)| *format == id);
        let Some((_, producer)) = fits(wanted).or_else(|| fits("auto")) else {
            return Err(Refused::Nowhere(format!(
                "no topic takes {wanted}: name one in kafka.sources with format = \"{wanted}\" or \"auto\""
            )));
        };
        // What is nothing is refused here, where its sender can hear it; bad records of a good body are dead letters there.
        let (options, body) = (self.options.clone(), body.clone());
        let checked = tokio::task::spawn_blocking(move || {
            let mut check = Check::default();
            let decoded = leeway_formats::decode(signal.format(), &body, &mut Scratch::new(options), &mut check);
            decoded.map(|()| (check.0, body))
        });
        let (taken, body) = checked.await.map_err(|error| Refused::Away(error.to_string()))?.map_err(Refused::Body)?;
        let acknowledged = producer.offer(&body, Clock::System.wall()).map_err(|_| Refused::Busy)?;
        let acknowledged = tokio::time::timeout(PATIENCE, acknowledged).await;
        match acknowledged {
            Ok(Ok(Ok(()))) => Ok(taken),
            Ok(Ok(Err(error))) => Err(Refused::Away(format!("Kafka did not take it: {error}"))),
            Ok(Err(_)) | Err(_) => Err(Refused::Away("Kafka did not acknowledge in time".into())),
        }
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
    answers: Vec<(oneshot::Sender<Result<Taken, Refused>>, Taken)>,
}

impl Receive {
    pub fn run(mut self, requests: &Requests, stop: &Stop) -> Result<()> {
        let mut part = self.acquire()?;
        let (mut last_flush, mut last_request) = (Instant::now(), 0);
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
            let now = self.clock.now();
            part.newest_at = part.newest_at.max(group.buffer.newest_at);
            let trail = if now - last_request >= QUIET { DISORDER } else { SLOWEST };
            let watermark = (part.newest_at - DISORDER).max(now - trail).min(now);
            part.watermark = part.watermark.max(watermark);
            part.high = part.to;
            let buffer = std::mem::take(&mut group.buffer);
            let flushed = self.flusher.flush(vec![PartBatch { write: part.clone(), buffer, quarantined: false }]);
            let fenced = !matches!(&flushed, Ok(answers) if answers.iter().all(|answer| !answer.fenced));
            for (answer, taken) in group.answers {
                let said = if fenced { Err(Refused::Away("the store did not commit".into())) } else { Ok(taken) };
                // Who hung up does not hear it; what was committed is counted all the same.
                let _ = answer.send(said);
            }
            flushed?;
            if fenced {
                part = self.acquire()?;
            }
            part.from = part.to;
            last_flush = Instant::now();
        }
    }

    /// Takes this process's own partition of the source.
    fn acquire(&self) -> Result<PartWrite> {
        let key =
            PartitionKey { source: SOURCE.into(), topic: self.owner.clone(), incarnation: String::new(), partition: 0 };
        let handle = &self.flusher.handle;
        let rows = handle.block_on(self.store.partitions()).context("read where HTTP requests stand")?;
        let mine = rows.iter().find(|row| row.source == SOURCE && row.topic == key.topic);
        let next = mine.map_or(0, |row| row.next_offset);
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
        })
    }

    /// Decodes requests until the group's time or memory is over.
    fn gather(&self, first: Request, requests: &Requests, part: &mut PartWrite, group: &mut Group) {
        let ingest = &self.settings.ingest;
        let user_key = self.user_key.clone();
        let options = Options { max_message_bytes: ingest.max_message_bytes, max_depth: ingest.max_depth, user_key };
        let (mut scratch, until) = (Scratch::new(options), Instant::now() + GROUP);
        let mut next = Some(first);
        while let Some(request) = next {
            self.read(request, part, group, &mut scratch);
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || group.buffer.bytes() >= ingest.flush_bytes {
                return;
            }
            next = requests.0.recv_timeout(left).ok();
        }
    }

    fn read(&self, request: Request, part: &mut PartWrite, group: &mut Group, scratch: &mut Scratch) {
        let origin = Origin { offset: part.to, bytes: request.body.len(), received: self.clock.now(), partition: 0 };
        let format = request.signal.format();
        let mut check = Check::default();
        // Twice read is simpler than a sink that does two things; what comes by HTTP is little.
        if let Err(reason) = leeway_formats::decode(format, &request.body, scratch, &mut check) {
            let _ = request.answer.send(Err(Refused::Body(reason)));
            return;
        }
        let mut feed = Feed { buffer: &mut group.buffer, origin, rules: &self.rules };
        if leeway_formats::decode(format, &request.body, scratch, &mut feed).is_ok() {
            group.buffer.decoded(origin);
        }
        part.to += 1;
        group.answers.push((request.answer, check.0));
    }
}
