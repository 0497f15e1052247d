//! The Kafka consumer: who gets which partition, and where it goes on. Offsets live in the store; the group only
//! assigns.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use leeway_core::clock::{Clock, DAY, HOUR};
use leeway_store::{Acquired, LogRange, PartitionKey, Store, StoreError};
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use tokio::runtime::Handle;

use crate::pipeline::{Probe, Shared};
use crate::settings::{Kafka, Start};
use crate::topic_id::topic_id;

/// How often, and how far apart, a client asks for a partition that it has not heard of.
const UNHEARD_TRIES: usize = 10;
const UNHEARD_WAIT: Duration = Duration::from_millis(200);
/// The source name of Kafka partitions in the store.
pub const SOURCE: &str = "kafka";
/// And of those of the topic of mentions, which holds no telemetry.
pub const MENTIONS: &str = leeway_store::MENTIONS;
const ASK: Duration = Duration::from_secs(10);
/// What a broker takes at least where it cannot be asked.
const MIN_SESSION_TIMEOUT_MS: u32 = 6000;

/// What the group did since the poll thread last looked.
#[derive(Debug)]
pub enum Change {
    Assigned(Vec<(PartitionKey, Acquired, LogRange)>),
    Revoked(Vec<i32>),
    /// The partitions could not be taken: nothing may be read.
    Failed(anyhow::Error),
}

/// Whether a later try may go well: the store or the brokers did not answer, or not in time.
pub fn passes(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<StoreError>().is_some_and(StoreError::passing)
            || cause.is::<tokio::time::error::Elapsed>()
            || cause.downcast_ref::<KafkaError>().is_some_and(unanswered)
    })
}

pub fn unanswered(error: &KafkaError) -> bool {
    use rdkafka::error::RDKafkaErrorCode::{
        AllBrokersDown, BrokerTransportFailure, LeaderNotAvailable, NotLeaderForPartition, OperationTimedOut,
        RequestTimedOut, Resolve,
    };
    let passing = [
        AllBrokersDown,
        BrokerTransportFailure,
        LeaderNotAvailable,
        NotLeaderForPartition,
        OperationTimedOut,
        RequestTimedOut,
        Resolve,
    ];
    error.rdkafka_error_code().is_some_and(|code| passing.contains(&code))
}

/// Runs inside `poll`, on the poll thread.
#[derive(Debug)]
pub struct Assigner {
    pub store: Store,
    pub handle: Handle,
    pub owner: String,
    pub topic: String,
    pub start: Start,
    pub clock: Clock,
    /// What was counted is read again, to be remembered: the two days before.
    recall: bool,
    log: Arc<Log>,
    changes: Mutex<Vec<Change>>,
    changed: AtomicBool,
}

impl Assigner {
    pub fn new(shared: &Shared, owner: String) -> Self {
        let kafka = &shared.settings.kafka;
        Self {
            store: shared.store.clone(),
            handle: shared.handle.clone(),
            owner,
            topic: kafka.topic.clone(),
            start: kafka.start,
            clock: shared.clock,
            recall: shared.traces.is_some(),
            log: Arc::clone(&shared.log),
            changes: Mutex::default(),
            changed: AtomicBool::new(false),
        }
    }

    /// What was assigned and revoked since; asked after each poll, so it locks nothing where there is nothing.
    pub fn changes(&self) -> Vec<Change> {
        if !self.changed.swap(false, Ordering::Acquire) {
            return Vec::new();
        }
        self.changes.lock().map(|mut changes| std::mem::take(&mut *changes)).unwrap_or_default()
    }

    fn tell(&self, change: Change) {
        if let Ok(mut changes) = self.changes.lock() {
            changes.push(change);
        }
        self.changed.store(true, Ordering::Release);
    }

    /// The partition's log. Another member may assign a partition that this client has not heard of yet.
    fn watermarks(&self, consumer: &BaseConsumer<Self>, partition: i32) -> Result<(i64, i64), KafkaError> {
        for _ in 0..UNHEARD_TRIES {
            match consumer.fetch_watermarks(&self.topic, partition, ASK) {
                Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownPartition) => {
                    consumer.fetch_metadata(Some(&self.topic), ASK)?;
                    std::thread::sleep(UNHEARD_WAIT);
                }
                told => return told,
            }
        }
        consumer.fetch_watermarks(&self.topic, partition, ASK)
    }

    fn source(&self) -> &'static str {
        if self.recall { MENTIONS } else { SOURCE }
    }

    /// Where a reader begins who must know what came within two days before the first message that is not counted.
    fn before(&self, consumer: &BaseConsumer<Self>, partition: i32, acquired: &Acquired, low: i64) -> Result<i64> {
        let next = acquired.next_offset;
        let from_ms = (acquired.watermark.min(self.clock.now()) - 2 * DAY - HOUR) / 1_000;
        if from_ms <= 0 {
            return Ok(low.min(next));
        }
        let mut asked = TopicPartitionList::new();
        asked.add_partition_offset(&self.topic, partition, Offset::Offset(from_ms)).context("ask for a time")?;
        let told = consumer.offsets_for_times(asked, ASK).context("ask for the offset of a time")?;
        let offset = told
            .elements_for_topic(&self.topic)
            .first()
            .map(rdkafka::topic_partition_list::TopicPartitionListElem::offset);
        Ok(match offset {
            Some(Offset::Offset(offset)) => offset.clamp(low.min(next), next),
            // Nothing is as young as that.
            _ => next,
        })
    }

    /// Takes every partition of the list from the store, and sets where reading starts.
    fn acquire(
        &self,
        consumer: &BaseConsumer<Self>,
        list: &mut TopicPartitionList,
    ) -> Result<Vec<(PartitionKey, Acquired, LogRange)>> {
        if list.count() == 0 {
            return Ok(Vec::new());
        }
        let incarnation = self.log.incarnation()?.with_context(|| format!("there is no topic {}", self.topic))?;
        let earlier = self
            .handle
            .block_on(self.store.incarnations(self.source(), &self.topic))
            .context("read the topic's history")?;
        // Also where another thread has registered the new life already: its partitions are no news to this one.
        let recreated = earlier.iter().any(|other| *other != incarnation);
        if recreated {
            tracing::error!(
                topic = self.topic,
                incarnation,
                "the topic was created anew since it was last read; the new one is read from its beginning"
            );
        }
        let partitions: Vec<i32> =
            list.elements().iter().map(rdkafka::topic_partition_list::TopicPartitionListElem::partition).collect();
        // All are asked for before any is taken: what is taken and not read looks like a death.
        let ask = |partition| {
            let asked = self.watermarks(consumer, partition);
            let (low, high) = asked.with_context(|| format!("ask for the offsets of partition {partition}"))?;
            Ok((partition, low, high))
        };
        let asked = partitions.into_iter().map(ask).collect::<Result<Vec<_>>>()?;
        let mut taken = Vec::with_capacity(asked.len());
        for (partition, low, high) in asked {
            let first = if self.start == Start::Latest && !recreated { high } else { low };
            let key = PartitionKey {
                source: self.source().into(),
                topic: self.topic.clone(),
                incarnation: incarnation.clone(),
                partition,
            };
            let log = LogRange { low, high, first };
            let asked =
                async { tokio::time::timeout(ASK, self.store.acquire(&key, &self.owner, log, self.clock.now())).await };
            let acquired =
                self.handle.block_on(asked).context("the store did not hand over the partition in time")??;
            if acquired.lost > 0 {
                tracing::error!(
                    topic = self.topic,
                    partition,
                    lost = acquired.lost,
                    "the broker dropped messages before they were read; the gap is in the ledger"
                );
            }
            let begin =
                if self.recall { self.before(consumer, partition, &acquired, low)? } else { acquired.next_offset };
            list.set_partition_offset(&self.topic, partition, Offset::Offset(begin)).context("set the start offset")?;
            taken.push((key, acquired, log));
        }
        Ok(taken)
    }
}

impl ClientContext for Assigner {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::warn!(facility, "kafka: {message}");
            }
            _ => tracing::debug!(facility, "kafka: {message}"),
        }
    }
    // Errors come back from `poll`, where they are handled.
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ConsumerContext for Assigner {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let done = if err == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            match self.acquire(consumer, list) {
                Ok(taken) => {
                    self.tell(Change::Assigned(taken));
                    if cooperative { consumer.incremental_assign(list) } else { consumer.assign(list) }
                }
                Err(error) => return self.tell(Change::Failed(error)),
            }
        } else {
            // Drop, never drain: the next owner reads the unflushed part again.
            let partitions =
                list.elements().iter().map(rdkafka::topic_partition_list::TopicPartitionListElem::partition).collect();
            self.tell(Change::Revoked(partitions));
            if cooperative { consumer.incremental_unassign(list) } else { consumer.unassign() }
        };
        if let Err(error) = done {
            self.tell(Change::Failed(anyhow::Error::new(error).context("rebalance")));
        }
    }
}

/// A topic's log as the broker has it now: which life it is of, and where it ends.
pub struct Log {
    client: BaseConsumer,
    topic: String,
    /// Set where the broker gives no topic ids: the demo's in-process cluster, whose log lives as long as its reader.
    given: Option<String>,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl Log {
    pub fn new(kafka: &Kafka, given: Option<String>) -> Result<Self> {
        Ok(Self { client: client(kafka).create().map_err(plain)?, topic: kafka.topic.clone(), given })
    }

    /// Cluster id and topic id; `None` where there is no such topic now.
    pub fn incarnation(&self) -> Result<Option<String>> {
        if self.given.is_some() {
            return Ok(self.given.clone());
        }
        let client = self.client.client();
        let cluster = client.fetch_cluster_id(ASK).context("the broker did not tell its cluster id")?;
        let id =
            topic_id(client, &self.topic, ASK).with_context(|| format!("ask for the id of topic {}", self.topic))?;
        Ok(id.map(|id| format!("{cluster}/{id}")))
    }

    /// The partitions that there are; none where there is no such topic.
    pub fn partitions(&self) -> Result<Vec<i32>> {
        let metadata = self.client.fetch_metadata(Some(&self.topic), ASK).context("ask for metadata")?;
        let partitions = metadata.topics().iter().flat_map(rdkafka::metadata::MetadataTopic::partitions);
        Ok(partitions.map(rdkafka::metadata::MetadataPartition::id).collect())
    }

    /// Every partition's end, and the life that these are of: it is asked last, and no life comes back.
    pub fn probe(&self) -> Result<Probe> {
        let end = |id: i32| Ok((id, self.client.fetch_watermarks(&self.topic, id, ASK)?.1));
        let ends = self.partitions()?.into_iter().map(end).collect::<Result<_>>()?;
        Ok(Probe { incarnation: self.incarnation()?, ends, at: Some(Instant::now()) })
    }
}

/// The client settings that all Kafka clients of Leeway share.
pub fn client(kafka: &Kafka) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &kafka.brokers).set("client.id", "leeway");
    for (name, value) in &kafka.options {
        config.set(name, value.expose());
    }
    config
}

/// A member of the group; `instance` names it where membership is static.
pub fn consumer(kafka: &Kafka, instance: &str, assigner: Assigner) -> Result<BaseConsumer<Assigner>> {
    let mut config = client(kafka);
    if kafka.static_membership {
        config.set("group.instance.id", instance);
    }
    config
        .set("group.id", &kafka.group)
        .set("group.protocol", "classic")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", kafka.session_timeout_ms.to_string())
        .set("heartbeat.interval.ms", (kafka.session_timeout_ms / 10).max(200).to_string())
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("allow.auto.create.topics", "false")
        .set("topic.metadata.refresh.interval.ms", "10000")
        // The default of 1000 starves a consumer that is slower than the fetcher (measured: 3.8 times).
        .set("fetch.queue.backoff.ms", "20")
        .set("fetch.message.max.bytes", "8388608")
        .set("fetch.max.bytes", "16777216")
        .set("queued.max.messages.kbytes", "65536")
        .set("reconnect.backoff.max.ms", "2000");
    let consumer: BaseConsumer<Assigner> = config.create_with_context(assigner).map_err(plain)?;
    consumer.subscribe(&[&kafka.topic]).context("subscribe")?;
    Ok(consumer)
}

/// An option's value may be a password: the error names its key alone.
fn plain(error: KafkaError) -> anyhow::Error {
    match error {
        KafkaError::ClientConfig(_, reason, key, _) => anyhow::anyhow!("kafka.options: `{key}`: {reason}"),
        other => anyhow::Error::new(other).context("make a Kafka client"),
    }
}

/// Fails early, with words, where Kafka is not there or would refuse the session time-out for ever.
pub async fn check(kafka: &Kafka) -> Result<()> {
    let config = client(kafka);
    let probe: BaseConsumer = config.create().map_err(plain)?;
    let brokers = kafka.brokers.clone();
    let metadata =
        tokio::task::spawn_blocking(move || probe.fetch_metadata(None, ASK)).await.context("ask for metadata")?;
    let metadata = metadata.with_context(|| format!("cannot reach Kafka at kafka.brokers = `{brokers}`: check the address, that the broker runs, and what it advertises"))?;
    let mentions = &kafka.mentions_topic;
    if !mentions.is_empty() && !metadata.topics().iter().any(|topic| topic.name() == mentions) {
        bail!(
            "kafka.mentions_topic `{mentions}` does not exist: create it, with a retention of 50 hours or more, or leave it empty"
        );
    }
    let Some(broker) = metadata.brokers().first().map(rdkafka::metadata::MetadataBroker::id) else {
        bail!("the cluster names no broker")
    };
    let least = min_session_timeout(&config, broker).await.unwrap_or(MIN_SESSION_TIMEOUT_MS);
    if kafka.session_timeout_ms < least {
        bail!(
            "kafka.session_timeout_ms is {}, the broker takes at least {least} (group.min.session.timeout.ms)",
            kafka.session_timeout_ms
        );
    }
    Ok(())
}

async fn min_session_timeout(config: &ClientConfig, broker: i32) -> Option<u32> {
    let admin: AdminClient<DefaultClientContext> = config.create().ok()?;
    let options = AdminOptions::new().request_timeout(Some(ASK));
    let described = admin.describe_configs(&[ResourceSpecifier::Broker(broker)], &options).await.ok()?;
    let resource = described.into_iter().next()?.ok()?;
    resource.get("group.min.session.timeout.ms")?.value.as_ref()?.parse().ok()
}
