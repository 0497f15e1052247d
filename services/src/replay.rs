//! `leeway ingest dead-letters` and `leeway ingest replay`: what was refused and why, and once the cause is mended (a
//! registry, a mapping, a format) the same messages once more. The store has no message: they are read where they lie.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use leeway_core::clock::{Clock, Micros, parse_rfc3339, rfc3339};
use leeway_core::event::{Event, Reject};
use leeway_formats::{Headers, Reader, Scratch, Sink, UserKey};
use leeway_store::{DeadLetterRow, LetterFilter, Store};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Header, Headers as _, OwnedHeaders};
use rdkafka::{Message, Offset, TopicPartitionList};
use serde_json::json;

use crate::accumulate::in_time;
use crate::consume::{Log, SOURCE, client};
use crate::produce::{OUTAGE, Producer};
use crate::registry::Registry;
use crate::settings::{CallIndex, Settings, Topic};

/// What a message that is sent again bears: where it lay.
const REPLAYED: &str = "leeway-replayed";
/// How long a message may take to come from the broker.
const PATIENCE: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, clap::Args)]
pub struct Filter {
    /// Of this topic alone
    #[arg(long, default_value = "")]
    topic: String,
    /// With this reason alone, such as undecodable or unknown_schema
    #[arg(long, default_value = "")]
    reason: String,
    /// Received since then (RFC 3339)
    #[arg(long)]
    since: Option<String>,
    /// No more than so many, newest first
    #[arg(long, default_value_t = 1000)]
    limit: i64,
    /// Settings file; variables LEEWAY_SECTION__KEY win over it
    #[arg(long)]
    config: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct ListArgs {
    #[command(flatten)]
    filter: Filter,
    /// One line of JSON a letter
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub struct ReplayArgs {
    #[command(flatten)]
    filter: Filter,
    /// Say what would happen, send nothing
    #[arg(long)]
    dry_run: bool,
    /// Also messages whose other records were taken and have no id: those count twice
    #[arg(long)]
    twice: bool,
}

impl Filter {
    fn letters(&self, not_replayed: bool) -> Result<LetterFilter> {
        let since = match &self.since {
            Some(text) => parse_rfc3339(text).with_context(|| format!("--since `{text}` is no RFC 3339 time"))?,
            None => 0,
        };
        let (topic, reason) = (self.topic.clone(), self.reason.clone());
        Ok(LetterFilter { topic, reason, since, not_replayed, limit: self.limit })
    }
}

async fn open(filter: &Filter) -> Result<(Settings, Store)> {
    let settings = Settings::load(filter.config.as_deref())?;
    let store = Store::open(&settings.location()).await.context("open the store (store.url)")?;
    Ok((settings, store))
}

pub async fn list(args: ListArgs) -> Result<()> {
    let (_, store) = open(&args.filter).await?;
    let letters = store.letters(&args.filter.letters(false)?).await?;
    store.close().await;
    let out = &mut std::io::stdout();
    for letter in &letters {
        let line = if args.json { as_json(letter) } else { as_text(letter) };
        writeln!(out, "{line}").context("print")?;
    }
    if !args.json {
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        letters.iter().for_each(|letter| *reasons.entry(&letter.reason).or_default() += 1);
        let reasons: Vec<String> = reasons.iter().map(|(reason, n)| format!("{n} {reason}")).collect();
        let said = if letters.is_empty() { "no dead letters".to_owned() } else { reasons.join(", ") };
        let more = if letters.len() as i64 == args.filter.limit { "; --limit cut the list" } else { "" };
        writeln!(out, "{said}{more}").context("print")?;
    }
    Ok(())
}

fn as_json(letter: &DeadLetterRow) -> String {
    json!({
        "source": letter.source, "topic": letter.topic, "incarnation": letter.incarnation, "partition": letter.partition,
        "offset": letter.offset, "record": letter.record, "whole_message": letter.whole, "reason": letter.reason,
        "field": letter.field, "bytes": letter.bytes, "received_at": rfc3339(letter.received_at),
        "replayed_at": letter.replayed_at.map(rfc3339),
    })
    .to_string()
}

fn as_text(letter: &DeadLetterRow) -> String {
    let what = if letter.whole { "message".to_owned() } else { format!("record {}", letter.record) };
    let field = if letter.field.is_empty() { String::new() } else { format!(" (field `{}`)", letter.field) };
    let again = if letter.replayed_at.is_some() { ", replayed" } else { "" };
    format!(
        "{}  {}/{}@{}  {what}, {} bytes: {}{field}{again}",
        rfc3339(letter.received_at),
        letter.topic,
        letter.partition,
        letter.offset,
        letter.bytes,
        letter.reason
    )
}

/// What a message would be now.
#[derive(Default)]
struct Look {
    taken: usize,
    refused: Option<Reject>,
    /// Calls without a name that the index could know them by.
    nameless: usize,
    received: Micros,
    first_day: Micros,
}

impl Sink for Look {
    fn record(&mut self, _: u32, decoded: Result<Event<'_>, Reject>) {
        match decoded.and_then(|event| in_time(event, self.received)) {
            Ok(event) => {
                self.taken += 1;
                if let Event::Call(call) = event {
                    self.nameless += usize::from(call.name().is_none() || call.time < self.first_day);
                }
            }
            Err(reason) => self.refused = Some(reason),
        }
    }
    fn unknown_fields(&mut self, _: u32) {}
    fn skipped(&mut self, records: u32) {
        self.taken += records as usize;
    }
}

/// How replays ended, by what to say.
type Tally = BTreeMap<String, usize>;

pub async fn replay(args: ReplayArgs) -> Result<()> {
    let (settings, store) = open(&args.filter).await?;
    let letters = store.letters(&args.filter.letters(true)?).await?;
    // By place, each message once; a letter of the whole message stands for it.
    let mut messages: BTreeMap<(String, String, i64, i64), DeadLetterRow> = BTreeMap::new();
    let mut tally = Tally::new();
    for letter in letters {
        if letter.source != SOURCE {
            *tally.entry("came by HTTP: its sender has it, the store has not".into()).or_default() += 1;
            continue;
        }
        let place = (letter.topic.clone(), letter.incarnation.clone(), letter.partition, letter.offset);
        if letter.reason == "quarantined" && args.filter.reason != letter.reason {
            *tally.entry("quarantined: left, unless --reason quarantined asks for them".into()).or_default() += 1;
            continue;
        }
        let known = messages.entry(place).or_insert_with(|| letter.clone());
        known.whole |= letter.whole;
    }
    let schemas = Registry::open(&settings.kafka.registry, tokio::runtime::Handle::current())?;
    let user_key = UserKey::new(settings.user_key()?);
    for mut topic in settings.topics()? {
        topic.reader.schemas.clone_from(&schemas);
        let mine: Vec<DeadLetterRow> = messages.values().filter(|letter| letter.topic == topic.name).cloned().collect();
        messages.retain(|(name, ..), _| *name != topic.name);
        if !mine.is_empty() {
            let one = OneTopic {
                settings: settings.clone(),
                topic,
                user_key: user_key.clone(),
                sending: !args.dry_run,
                twice: args.twice,
            };
            // The client blocks, so it has a thread of its own.
            let handle = tokio::runtime::Handle::current();
            let (store, work) = (store.clone(), move |store: Store| one.replay(&mine, &store, &handle));
            let done = tokio::task::spawn_blocking(move || work(store)).await.context("replay")??;
            done.into_iter().for_each(|(said, n)| *tally.entry(said).or_default() += n);
        }
    }
    if !messages.is_empty() {
        *tally.entry("of a topic that the settings do not read".into()).or_default() += messages.len();
    }
    store.close().await;
    let out = &mut std::io::stdout();
    for (said, n) in &tally {
        writeln!(out, "{n} {said}").context("print")?;
    }
    if tally.is_empty() {
        writeln!(out, "nothing to replay").context("print")?;
    }
    Ok(())
}

/// The letters of one topic.
struct OneTopic {
    settings: Settings,
    topic: Topic,
    user_key: UserKey,
    sending: bool,
    twice: bool,
}

impl OneTopic {
    fn replay(&self, letters: &[DeadLetterRow], store: &Store, handle: &tokio::runtime::Handle) -> Result<Tally> {
        let mut kafka = self.settings.kafka.clone();
        kafka.topic.clone_from(&self.topic.name);
        let now = Log::new(&kafka, None)?.incarnation()?;
        let consumer: BaseConsumer = client(&kafka)
            .set("group.id", &kafka.group)
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .create()
            .context("make a Kafka client")?;
        let producer = Producer::new(client(&kafka), &self.topic.name, OUTAGE)?;
        let mut tally = Tally::new();
        for letter in letters {
            let gone = "gone: the broker no longer has the message";
            let said = if now.as_ref() != Some(&letter.incarnation) {
                "gone: the topic was created anew since".to_owned()
            } else {
                match self.fetch(&consumer, letter, |message| self.judge(letter, message, &producer))? {
                    None => gone.to_owned(),
                    Some(Err(said)) => said,
                    Some(Ok(())) if !self.sending => "would be sent again".to_owned(),
                    Some(Ok(())) => {
                        producer.flush()?;
                        // A crash right here sends it once more; calls with ids count once all the same.
                        handle.block_on(store.mark_replayed(letter, Clock::System.wall())).context("mark a letter")?;
                        "sent again".to_owned()
                    }
                }
            };
            *tally.entry(said).or_default() += 1;
        }
        Ok(tally)
    }

    /// Shows the message of a letter to `see`; `None` where the broker has it no more.
    fn fetch<T>(
        &self,
        consumer: &BaseConsumer,
        letter: &DeadLetterRow,
        see: impl FnOnce(&BorrowedMessage<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        let partition = i32::try_from(letter.partition).context("a partition's number")?;
        let (low, high) =
            consumer.fetch_watermarks(&letter.topic, partition, PATIENCE).context("ask for the topic's offsets")?;
        if letter.offset < low || letter.offset >= high {
            return Ok(None);
        }
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&letter.topic, partition, Offset::Offset(letter.offset)).context("assign")?;
        consumer.assign(&list).context("assign")?;
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            match consumer.poll(POLL) {
                // What the client still held of the partition before this one.
                Some(Ok(message)) if message.partition() != partition || message.topic() != letter.topic => {}
                Some(Ok(message)) if message.offset() == letter.offset => return see(&message).map(Some),
                // The broker has later ones only: compaction took it.
                Some(Ok(message)) if message.offset() > letter.offset => return Ok(None),
                Some(Err(error)) => bail!("read {}/{partition}@{}: {error}", letter.topic, letter.offset),
                _ => {}
            }
        }
        bail!("the broker did not send {}/{partition}@{} in time", letter.topic, letter.offset)
    }

    /// `Err` says why the message is not sent again.
    fn judge(
        &self,
        letter: &DeadLetterRow,
        message: &BorrowedMessage<'_>,
        producer: &Producer,
    ) -> Result<std::result::Result<(), String>> {
        let Some(value) = message.payload() else { return Ok(Err("still refused: it has no value".into())) };
        let mut headers = Headers::default();
        let mut kept = OwnedHeaders::new();
        for header in message.headers().iter().flat_map(|headers| headers.iter()) {
            headers.take(header.key, header.value.unwrap_or_default());
            if header.key != REPLAYED {
                kept = kept.insert(header);
            }
        }
        let now = Clock::System.wall();
        let stamped = message.timestamp().to_millis().map_or(now, |ms| ms.saturating_mul(1000).clamp(0, now));
        let options = self.settings.decoding(self.user_key.clone());
        let remembered = self.topic.index_days * leeway_core::clock::DAY;
        let first_day = stamped - remembered;
        let mut look = Look { received: stamped, first_day, ..Look::default() };
        let reader: &Reader = &self.topic.reader;
        let decoded = reader.decode(value, &headers, &mut Scratch::new(options), &mut look);
        if let Some(reason) = decoded.err().or(look.refused.clone().filter(|_| look.taken == 0)) {
            return Ok(Err(format!("still refused: {}", reason.code())));
        }
        // What the index has forgotten meanwhile, it would take for new.
        let indexed = self.topic.call_index == CallIndex::On && now - stamped < remembered - leeway_core::clock::DAY;
        let unsafe_calls = if indexed { look.nameless } else { look.taken };
        if !letter.whole && unsafe_calls > 0 && !self.twice {
            return Ok(Err(
                "left: its other records were taken, and without ids, or after the index forgot them, they would count twice (--twice)".into()
            ));
        }
        if !letter.whole && look.refused.is_some() {
            return Ok(Err("still refused: some of its records are as they were".into()));
        }
        if self.sending {
            let place = format!("{}/{}@{}", letter.topic, letter.partition, letter.offset);
            let kept = kept.insert(Header { key: REPLAYED, value: Some(&place) });
            producer.forward(message.key(), kept, value, stamped / 1000)?;
        }
        Ok(Ok(()))
    }
}
