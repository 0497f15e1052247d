//! Events that no store holds, for rules to be tried on: files of them, or what the topics still keep. The service's own decoders and
//! once-only rules read them into a store that is thrown away at the end.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use leeway_alerts::secret::Secret;
use leeway_core::clock::{Clock, HOUR, Micros, minute_of, readable, rfc3339};
use leeway_core::event::{Event, Reject};
use leeway_formats::{Headers, Reader, Scratch, Sink, UserKey};
use leeway_store::{LogRange, PartWrite, PartitionKey, Store};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _};
use rdkafka::{Message, Offset, TopicPartitionList};
use serde::de::IgnoredAny;
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::runtime::Handle;

use crate::accumulate::{Buffer, Feed, Origin, Rules};
use crate::consume::{SOURCE, client, unanswered};
use crate::feedback::Resolver;
use crate::flush::{Flusher, PartBatch};
use crate::metrics::Metrics;
use crate::registry::Registry;
use crate::settings::{Settings, StoreSettings, Topic};
use crate::tasks::Tasks;

const FILE: &str = "file";
const OWNER: &str = "backtest";
const POLL: Duration = Duration::from_millis(100);
/// A broker that sends nothing for this long is gone.
const SILENT: Duration = Duration::from_secs(30);
const ASK: Duration = Duration::from_secs(15);
const SAY: Duration = Duration::from_secs(5);
/// Messages are read up to this long after the end of the time that is looked at.
const TOLD_WITHIN: Micros = HOUR;
/// Lines by which a file of lines is known.
const LINES: usize = 20;

/// What was read, in a store of its own.
pub struct Events {
    pub store: Store,
    /// The first event's minute.
    pub from: Micros,
    told: Told,
    /// Holds the store; gone when this is.
    _folder: TempDir,
}

/// What became of the records.
#[derive(Debug, Default)]
struct Told {
    seen: u64,
    counted: u64,
    kept: u64,
    duplicates: u64,
    skipped: u64,
    refused: Vec<(String, u64)>,
}

/// Where events come from.
pub enum From<'a> {
    Files {
        files: &'a [PathBuf],
        format: Option<&'a str>,
    },
    /// What the settings' topics hold, from a time on.
    Topics {
        since: Option<Micros>,
        to: Option<Micros>,
    },
}

/// Reads all of it. Files are one stream, so that what is told twice counts once.
pub async fn read(settings: &Settings, from: From<'_>) -> Result<Events> {
    let folder =
        tempfile::Builder::new().prefix("leeway-backtest-").tempdir().context("make a folder for the events")?;
    let mut own = settings.clone();
    own.store = StoreSettings { url: Secret::new(String::new()), data_dir: folder.path().to_owned() };
    let store = Store::open(&own.location()).await.context("open a store for the events")?;
    // Users are told apart by the service's own key where this machine has it; any other tells them apart as well.
    let keyed = !settings.ingest.user_key.expose().is_empty()
        || settings.store.data_dir.exists() && settings.store.url.expose().is_empty();
    let user_key = UserKey::new(if keyed { settings.user_key()? } else { own.user_key()? });
    let schemas = Registry::open(&settings.kafka.registry, Handle::current())?;
    let mut topics = settings.topics()?;
    topics.iter_mut().for_each(|topic| topic.reader.schemas.clone_from(&schemas));
    let loading = Loading { settings: settings.clone(), store: store.clone(), user_key, handle: Handle::current() };
    let oldest = match from {
        From::Files { files, format } => {
            let name = &settings.kafka.topic;
            let mut topic = topics.into_iter().find(|topic| topic.name == *name).context("kafka.topic is no topic")?;
            if let Some(id) = format {
                topic.reader.format = crate::settings::format(id).context("--format")?;
            }
            let files = files.to_vec();
            tokio::task::spawn_blocking(move || loading.files(&topic, &files)).await
        }
        From::Topics { since, to } => tokio::task::spawn_blocking(move || loading.topics(topics, (since, to))).await,
    };
    let oldest = oldest.context("the reading of events ended")??;
    join(settings, &store).await?;
    let told = told(&store).await?;
    let Some(from) = oldest else {
        bail!("no event was counted: {}", told.text());
    };
    Ok(Events { store, from: minute_of(from), told, _folder: folder })
}

/// Joins feedback with its calls.
async fn join(settings: &Settings, store: &Store) -> Result<()> {
    let resolver = Resolver {
        store: store.clone(),
        owner: OWNER.to_owned(),
        clock: Clock::System,
        wait: 0,
        names: settings.scores.keys().cloned().collect(),
        metrics: Arc::new(Metrics::default()),
    };
    while resolver.round().await.context("join feedback with calls")? > 0 {}
    Ok(())
}

async fn told(store: &Store) -> Result<Told> {
    let all = store.ledger_since(Micros::MIN).await?.ledger;
    Ok(Told {
        seen: all.seen + all.undecodable,
        counted: all.on_time + all.late,
        kept: all.kept,
        duplicates: all.duplicate + all.merged,
        skipped: all.skipped,
        refused: store.dead_letter_reasons(Micros::MIN).await?,
    })
}

impl Told {
    fn text(&self) -> String {
        let refused: Vec<String> = self.refused.iter().map(|(reason, n)| format!("{n} {reason}")).collect();
        let refused =
            if refused.is_empty() { "none refused".to_owned() } else { format!("refused: {}", refused.join(", ")) };
        format!(
            "{} records: {} calls counted, {} of other kinds kept, {} told before, {} no model calls, {refused}",
            self.seen, self.counted, self.kept, self.duplicates, self.skipped
        )
    }
}

impl Events {
    pub fn text(&self) -> String {
        self.told.text()
    }

    pub fn json(&self) -> Json {
        let told = &self.told;
        let refused: HashMap<&str, u64> = told.refused.iter().map(|(reason, n)| (reason.as_str(), *n)).collect();
        json!({
            "records": told.seen, "calls": told.counted, "other_kinds": told.kept, "told_before": told.duplicates,
            "no_model_calls": told.skipped, "refused": refused, "first": rfc3339(self.from),
        })
    }
}

/// What all parts share.
struct Loading {
    settings: Settings,
    store: Store,
    user_key: UserKey,
    handle: Handle,
}

impl Loading {
    fn files(self, topic: &Topic, files: &[PathBuf]) -> Result<Option<Micros>> {
        let mut oldest = None;
        for (place, path) in files.iter().enumerate() {
            let partition = i32::try_from(place).context("too many files")?;
            let key =
                PartitionKey { source: FILE.into(), topic: topic.name.clone(), incarnation: String::new(), partition };
            let mut part = Part::new(&self, topic, key, 0)?;
            part.at_once = true;
            part.file(path).with_context(|| format!("read {}", path.display()))?;
            if part.taken == 0 && part.offset > 0 {
                let n = part.offset;
                bail!(
                    "{}: not one of its {n} messages could be read; `leeway ingest explain` says why",
                    path.display()
                );
            }
            oldest = part.finish()?.into_iter().chain(oldest).min();
        }
        Ok(oldest)
    }

    fn topics(self, topics: Vec<Topic>, span: (Option<Micros>, Option<Micros>)) -> Result<Option<Micros>> {
        if self.settings.kafka.brokers.is_empty() {
            bail!("--kafka reads the settings' topics: kafka.brokers is not set");
        }
        let mut oldest = None;
        for topic in topics {
            oldest = self.topic(&topic, span)?.into_iter().chain(oldest).min();
        }
        Ok(oldest)
    }

    /// A consumer at the beginning of each partition's part, with where that ends. It belongs to no group: nobody's offsets move.
    fn begin<'a>(
        &self,
        topic: &'a Topic,
        (since, to): (Option<Micros>, Option<Micros>),
    ) -> Result<(BaseConsumer, Parts<'a>)> {
        let consumer: BaseConsumer = client(&self.settings.kafka)
            .set("group.id", OWNER)
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            // What retention took meanwhile is no reason to read nothing.
            .set("auto.offset.reset", "error")
            .create()
            .context("make a Kafka client")?;
        let mut spans = spans(&consumer, &topic.name, since, to)?;
        spans.retain(|(_, low, high)| low < high);
        let count = spans.len();
        let mut list = TopicPartitionList::new();
        let mut parts = Parts::new();
        for (partition, low, high) in spans {
            let key = PartitionKey {
                source: SOURCE.into(),
                topic: topic.name.clone(),
                incarnation: String::new(),
                partition,
            };
            list.add_partition_offset(&topic.name, partition, Offset::Offset(low)).context("assign")?;
            let mut part = Part::new(self, topic, key, low)?;
            // All of them together hold what one partition of a service may.
            part.flush_bytes /= count;
            parts.insert(partition, (part, high));
        }
        consumer.assign(&list).context("assign")?;
        Ok((consumer, parts))
    }

    /// Reads a topic up to where it ends now, or where a time begins.
    fn topic(&self, topic: &Topic, span: (Option<Micros>, Option<Micros>)) -> Result<Option<Micros>> {
        let (consumer, mut parts) = self.begin(topic, span)?;
        let (mut oldest, mut heard, mut said) = (None, Instant::now(), Instant::now());
        while !parts.is_empty() {
            let over = match consumer.poll(POLL) {
                Some(Ok(message)) => {
                    let Some((part, high)) = parts.get_mut(&message.partition()) else { continue };
                    if message.offset() < *high {
                        let stamped = part.take(&message)?;
                        if said.elapsed() > SAY {
                            let line = format!("{}/{}: at {}", topic.name, message.partition(), readable(stamped));
                            // Nobody to tell is no reason to stop.
                            let _ = writeln!(std::io::stderr(), "{line}");
                            said = Instant::now();
                        }
                    }
                    // After the flush that it may have needed.
                    heard = Instant::now();
                    (message.offset() + 1 >= *high).then(|| message.partition())
                }
                // What stands before the end may be marks of transactions, which no message has.
                Some(Err(KafkaError::PartitionEOF(partition))) => Some(partition),
                Some(Err(error)) if unanswered(&error) && heard.elapsed() <= SILENT => {
                    tracing::warn!(topic = topic.name, %error, "the broker is asked again");
                    None
                }
                Some(Err(error)) => bail!("read {}: {error}", topic.name),
                None if heard.elapsed() > SILENT => bail!("the broker sends nothing more of {}", topic.name),
                None => None,
            };
            if let Some((part, _)) = over.and_then(|partition| parts.remove(&partition)) {
                oldest = part.finish()?.into_iter().chain(oldest).min();
            }
        }
        Ok(oldest)
    }
}

/// Each partition with the first offset to read and the one before which to stop.
fn spans(
    consumer: &BaseConsumer,
    topic: &str,
    since: Option<Micros>,
    to: Option<Micros>,
) -> Result<Vec<(i32, i64, i64)>> {
    let metadata = consumer.fetch_metadata(Some(topic), ASK).context("ask for the topic's partitions")?;
    let known = metadata.topics().iter().flat_map(rdkafka::metadata::MetadataTopic::partitions);
    let partitions: Vec<i32> = known.map(rdkafka::metadata::MetadataPartition::id).collect();
    if partitions.is_empty() {
        bail!("there is no topic {topic}");
    }
    let at = |time: Option<Micros>| -> Result<HashMap<i32, i64>> {
        let Some(time) = time else { return Ok(HashMap::new()) };
        let mut list = TopicPartitionList::new();
        for partition in &partitions {
            list.add_partition_offset(topic, *partition, Offset::Offset(time / 1000)).context("ask for offsets")?;
        }
        let found = consumer.offsets_for_times(list, ASK).context("ask for the offsets of a time")?;
        let elements = found.elements();
        let offset = |offset| if let Offset::Offset(offset) = offset { Some(offset) } else { None };
        Ok(elements.iter().filter_map(|one| Some((one.partition(), offset(one.offset())?))).collect())
    };
    // What happened before the end may have been told a while after it.
    let (first, last) = (at(since)?, at(to.map(|to| to + TOLD_WITHIN))?);
    let mut spans = Vec::new();
    for partition in partitions {
        let (low, high) = consumer.fetch_watermarks(topic, partition, ASK).context("ask for the topic's offsets")?;
        // A time after the last message has no offset: all, or nothing, lies before it.
        let from = if since.is_some() { first.get(&partition).copied().unwrap_or(high) } else { low };
        spans.push((partition, from, last.get(&partition).copied().unwrap_or(high)));
    }
    Ok(spans)
}

/// Partitions with the offset before which each ends.
type Parts<'a> = HashMap<i32, (Part<'a>, i64)>;

/// One file or partition on its way into the store.
struct Part<'a> {
    topic: &'a Topic,
    rules: Arc<Rules>,
    scratch: Scratch,
    flusher: Flusher,
    write: PartWrite,
    buffer: Buffer,
    flush_bytes: usize,
    offset: i64,
    /// Messages that were decoded.
    taken: u64,
    /// Records are as if each had arrived when it happened: how old a file is says nothing of its producer.
    at_once: bool,
    oldest: Option<Micros>,
    most: usize,
}

impl<'a> Part<'a> {
    fn new(of: &Loading, topic: &'a Topic, key: PartitionKey, low: i64) -> Result<Self> {
        let rules = Rules {
            call_index: topic.call_index,
            index_days: topic.index_days,
            ..crate::run::aggregation(&of.settings)?
        };
        let (rules, log) = (Arc::new(rules), LogRange { low, high: low, first: low });
        let acquired =
            of.handle.block_on(of.store.acquire(&key, OWNER, log, Clock::System.now())).context("begin a part")?;
        let flusher = Flusher {
            store: of.store.clone(),
            handle: of.handle.clone(),
            rules: Arc::clone(&rules),
            owner: OWNER.to_owned(),
            series_cap: of.settings.ingest.max_series_per_tenant,
            clock: Clock::System,
            metrics: Arc::new(Metrics::default()),
            stop: Tasks::default().stop(),
            memory: crate::flush::Memory::default(),
            log: None,
            outlet: None,
            alone: Arc::default(),
        };
        let (epoch, from) = (acquired.epoch, acquired.next_offset);
        Ok(Self {
            topic,
            rules,
            scratch: Scratch::new(of.settings.decoding(of.user_key.clone())),
            flusher,
            write: PartWrite { key, epoch, from, to: from, watermark: 0, newest_at: 0, high: from, attempts: 0 },
            buffer: Buffer::default(),
            flush_bytes: of.settings.ingest.flush_bytes,
            offset: from,
            taken: 0,
            at_once: false,
            oldest: None,
            most: of.settings.ingest.max_message_bytes,
        })
    }

    /// A message on each line; a file whose first line is no whole JSON is one message.
    fn file(&mut self, path: &Path) -> Result<()> {
        let input: Box<dyn BufRead> = if path.as_os_str() == "-" {
            Box::new(BufReader::new(std::io::stdin()))
        } else {
            let mut file = File::open(path)?;
            if !by_lines(&file)? {
                let mut whole = Vec::new();
                file.seek(SeekFrom::Start(0))?;
                (&file).take(self.most as u64 + 1).read_to_end(&mut whole)?;
                return self.message(Some(&whole), &Headers::default(), Clock::System.now());
            }
            file.seek(SeekFrom::Start(0))?;
            Box::new(BufReader::new(file))
        };
        self.lines(input)
    }

    fn lines(&mut self, mut input: Box<dyn BufRead>) -> Result<()> {
        let (mut line, mut said) = (Vec::new(), Instant::now());
        loop {
            line.clear();
            // A longer line than a message may be is a dead letter, and no reason to hold all of it.
            let read = (&mut input).take(self.most as u64 + 2).read_until(b'\n', &mut line)?;
            if read == 0 {
                return Ok(());
            }
            if line.len() > self.most && line.last() != Some(&b'\n') {
                input.skip_until(b'\n')?;
            }
            let text = line.trim_ascii();
            if text.is_empty() {
                continue;
            }
            self.message(Some(text), &Headers::default(), Clock::System.now())?;
            if said.elapsed() > SAY {
                let _ = writeln!(std::io::stderr(), "{} messages read", self.offset);
                said = Instant::now();
            }
        }
    }

    /// A message of a topic, as the service would take it; answers when it came.
    fn take(&mut self, message: &BorrowedMessage<'_>) -> Result<Micros> {
        let mut headers = Headers::default();
        for header in message.headers().iter().flat_map(|headers| headers.iter()) {
            headers.take(header.key, header.value.unwrap_or_default());
        }
        let now = Clock::System.wall();
        let stamped = message.timestamp().to_millis().map_or(now, |ms| ms.saturating_mul(1000).clamp(0, now));
        self.offset = message.offset();
        self.message(message.payload(), &headers, stamped)?;
        Ok(stamped)
    }

    fn message(&mut self, value: Option<&[u8]>, headers: &Headers<'_>, received: Micros) -> Result<()> {
        let (offset, partition) = (self.offset, self.write.key.partition);
        let origin = Origin { offset, bytes: value.map_or(0, <[u8]>::len), received, partition, record: 0 };
        let feed = Feed { buffer: &mut self.buffer, origin, rules: &self.rules };
        let mut past = Past { feed, at_once: self.at_once, oldest: &mut self.oldest };
        let reader: &Reader = &self.topic.reader;
        let decoded = match value {
            Some(value) => reader.decode(value, headers, &mut self.scratch, &mut past),
            None => {
                past.skipped(1);
                Ok(())
            }
        };
        match decoded {
            Ok(()) => {
                self.buffer.decoded(origin);
                self.taken += 1;
            }
            Err(Reject::RegistryAway) => bail!("the schema registry does not answer; the log line above says why"),
            Err(reason) => self.buffer.undecodable(origin, &reason),
        }
        self.offset += 1;
        self.write.to = self.offset;
        if self.buffer.bytes() >= self.flush_bytes { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        self.write.newest_at = self.write.newest_at.max(buffer.newest_at);
        // The last event's minute is over: nothing more comes.
        self.write.watermark = minute_of(self.write.newest_at) + leeway_core::clock::MINUTE;
        self.write.high = self.write.to;
        let batch = PartBatch { write: self.write.clone(), buffer, quarantined: false };
        let answers = self.flusher.flush(vec![batch])?;
        if answers.iter().any(|answer| answer.fenced) {
            bail!("another process writes into this backtest's own store");
        }
        self.write.from = self.write.to;
        Ok(())
    }

    /// The time of the oldest event that was taken.
    fn finish(mut self) -> Result<Option<Micros>> {
        if self.write.from < self.write.to {
            self.flush()?;
        }
        Ok(self.oldest)
    }
}

/// Whether any of the first lines stands for itself: one that is broken, or cut, is no reason to take all for one message.
fn by_lines(file: &File) -> Result<bool> {
    // Of longer lines it is not known; a file of such lines is no single message either.
    let (most, mut reader, mut seen) = (64 << 20, BufReader::new(file), 0);
    let mut line = Vec::new();
    for _ in 0..LINES {
        line.clear();
        let read = (&mut reader).take(most).read_until(b'\n', &mut line)?;
        let text = line.trim_ascii();
        // A brace or a bracket alone begins a text of many lines.
        if read as u64 == most || text.len() > 1 && serde_json::from_slice::<IgnoredAny>(text).is_ok() {
            return Ok(true);
        }
        seen += usize::from(!text.is_empty());
        if read == 0 {
            break;
        }
    }
    Ok(seen == 0)
}

/// Takes records with the time at which they are held to have arrived.
struct Past<'a> {
    feed: Feed<'a>,
    at_once: bool,
    oldest: &'a mut Option<Micros>,
}

impl Sink for Past<'_> {
    fn record(&mut self, index: u32, decoded: Result<Event<'_>, Reject>) {
        let (time, call) = match &decoded {
            Ok(Event::Call(call)) => (Some(call.time), true),
            Ok(Event::Record(record)) => (Some(record.time), false),
            Err(_) => (None, false),
        };
        let arrived = self.feed.origin.received;
        if let Some(time) = time.filter(|_| self.at_once) {
            self.feed.origin.received = time.min(arrived);
        }
        if let Some(time) = time.filter(|_| call) {
            *self.oldest = Some(self.oldest.map_or(time, |oldest| oldest.min(time)));
        }
        self.feed.record(index, decoded);
        self.feed.origin.received = arrived;
    }

    fn skipped(&mut self, records: u32) {
        self.feed.skipped(records);
    }

    fn unknown_fields(&mut self, fields: u32) {
        self.feed.unknown_fields(fields);
    }
}
