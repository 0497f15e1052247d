//! A Kafka producer that knows what became of every message it was given.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use leeway_core::clock::Micros;
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use tokio::sync::oneshot;

#[derive(Debug, Default)]
struct Outcomes {
    acknowledged: AtomicU64,
    failed: AtomicU64,
    /// Why the last one that failed did.
    last: Mutex<Option<String>>,
}

#[derive(Debug, Clone)]
struct Counting(Arc<Outcomes>);

impl ClientContext for Counting {}

/// Where somebody waits for a message's fate.
type Ack = Option<oneshot::Sender<Fate>>;
type Fate = std::result::Result<(), KafkaError>;

impl ProducerContext for Counting {
    type DeliveryOpaque = Box<Ack>;
    fn delivery(&self, result: &DeliveryResult<'_>, ack: Box<Ack>) {
        match result {
            Ok(_) => self.0.acknowledged.fetch_add(1, Relaxed),
            Err((error, _)) => {
                tracing::debug!(%error, "a message was not delivered");
                if let Ok(mut last) = self.0.last.lock() {
                    *last = Some(error.to_string());
                }
                self.0.failed.fetch_add(1, Relaxed)
            }
        };
        if let Some(waiting) = *ack {
            // Who no longer waits has given up on the answer, not on the message.
            let _ = waiting.send(result.as_ref().map(|_| ()).map_err(|(error, _)| error.clone()));
        }
    }
}

/// How long a message waits for its broker where somebody waits for the answer.
pub const ANSWER: Duration = Duration::from_secs(30);
/// And where a broker may be begun anew in between: its start alone may take half a minute on a busy machine.
pub const OUTAGE: Duration = Duration::from_secs(120);

/// Bounded by librdkafka's own queue; a full queue makes `send` wait.
pub struct Producer {
    inner: ThreadedProducer<Counting>,
    outcomes: Arc<Outcomes>,
    topic: String,
    patience: Duration,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl Producer {
    /// `patience`: how long a message may wait for its broker before it counts as refused.
    pub fn new(mut config: ClientConfig, topic: &str, patience: Duration) -> Result<Self> {
        config
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", patience.as_millis().to_string())
            .set("linger.ms", "20")
            // A topic may grow while it is written.
            .set("topic.metadata.refresh.interval.ms", "10000")
            .set("batch.size", "1000000")
            .set("message.max.bytes", "16777216")
            .set("queue.buffering.max.messages", "200000")
            .set("queue.buffering.max.kbytes", "262144");
        let outcomes = Arc::new(Outcomes::default());
        let inner = config.create_with_context(Counting(Arc::clone(&outcomes))).context("make a Kafka producer")?;
        Ok(Self { inner, outcomes, topic: topic.to_owned(), patience })
    }

    /// Queues a message, stamped with event time; blocks while the queue is full.
    pub fn send(&self, key: Option<&str>, partition: Option<i32>, payload: &[u8], at: Micros) -> Result<()> {
        loop {
            let record = BaseRecord::<str, [u8], Box<Ack>>::with_opaque_to(&self.topic, Box::new(None));
            let mut record = record.payload(payload).timestamp(at / 1000);
            record.key = key;
            record.partition = partition;
            match self.inner.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    std::thread::sleep(Duration::from_millis(5))
                }
                Err((error, _)) => return Err(error).context("produce"),
            }
        }
    }

    /// Queues a message, if there is room; the answer is the broker's word on it.
    pub fn offer(&self, payload: &[u8], at: Micros) -> std::result::Result<oneshot::Receiver<Fate>, KafkaError> {
        let (ack, acknowledged) = oneshot::channel();
        let record = BaseRecord::<str, [u8], Box<Ack>>::with_opaque_to(&self.topic, Box::new(Some(ack)));
        self.inner.send(record.payload(payload).timestamp(at / 1000)).map_err(|(error, _)| error)?;
        Ok(acknowledged)
    }

    /// Queues a message that was read elsewhere, with its key and headers.
    pub fn forward(&self, key: Option<&[u8]>, headers: OwnedHeaders, payload: &[u8], at_ms: i64) -> Result<()> {
        let mut record = BaseRecord::<[u8], [u8], Box<Ack>>::with_opaque_to(&self.topic, Box::new(None));
        record.key = key;
        self.inner
            .send(record.payload(payload).timestamp(at_ms).headers(headers))
            .map_err(|(error, _)| error)
            .context("produce")
    }

    /// The broker's word on everything that was sent; `None` while it has not answered for all of it.
    pub fn settled(&self) -> Option<Result<()>> {
        if self.inner.in_flight_count() > 0 {
            return None;
        }
        let failed = self.outcomes.failed.swap(0, Relaxed);
        let last = || self.outcomes.last.lock().ok().and_then(|mut last| last.take()).unwrap_or_default();
        Some(if failed == 0 {
            Ok(())
        } else {
            Err(anyhow::anyhow!("{failed} messages were not taken, the last one because of: {}", last()))
        })
    }

    /// Waits until the broker has answered for every message; an error if it refused one.
    pub fn flush(&self) -> Result<u64> {
        self.inner
            .flush(self.patience + Duration::from_secs(10))
            .context("the broker did not take every message in time")?;
        let failed = self.outcomes.failed.swap(0, Relaxed);
        if failed > 0 {
            let last = self.outcomes.last.lock().ok().and_then(|mut last| last.take()).unwrap_or_default();
            bail!(
                "the broker did not take {failed} messages of topic {}, the last one because of: {last} (does it exist, and is it writable?)",
                self.topic
            );
        }
        Ok(self.outcomes.acknowledged.load(Relaxed))
    }
}
