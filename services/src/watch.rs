//! The coverage watch: every partition of the topic has an owner and a recent flush, and its log end is known.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use leeway_core::clock::{MINUTE, SECOND};
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::consume::{SOURCE, client};
use crate::pipeline::{Probe, Shared};
use crate::tasks::Stop;

const EVERY: Duration = Duration::from_secs(5);
const ASK: Duration = Duration::from_secs(5);

pub async fn run(shared: Shared, mut stop: Stop) -> Result<()> {
    let probe: BaseConsumer = client(&shared.settings.kafka).create().context("make a Kafka client")?;
    let probe = std::sync::Arc::new(probe);
    let mut complained = 0;
    loop {
        let topic = shared.settings.kafka.topic.clone();
        let asked = std::sync::Arc::clone(&probe);
        let ends = tokio::task::spawn_blocking(move || log_ends(&asked, &topic)).await.context("ask for log ends")?;
        match ends {
            Ok(ends) => {
                shared.partition_count.store(ends.len(), Relaxed);
                let uncovered = uncovered(&shared, &ends).await;
                shared.metrics.uncovered(uncovered.len());
                if uncovered.is_empty() {
                    complained = 0;
                } else {
                    complained += 1;
                    // A rebalance passes; what lasts half a minute is a fault.
                    if complained % 6 == 0 {
                        tracing::error!(
                            topic = shared.settings.kafka.topic,
                            ?uncovered,
                            "partitions without an owner or a recent flush"
                        );
                    }
                }
                if let Ok(mut known) = shared.log_ends.lock() {
                    *known = Probe { ends: ends.into_iter().collect(), at: Some(Instant::now()) };
                }
            }
            Err(error) => tracing::debug!(%error, "the broker did not tell its log ends"),
        }
        if stop.within(EVERY).await {
            return Ok(());
        }
    }
}

fn log_ends(probe: &BaseConsumer, topic: &str) -> Result<Vec<(i32, i64)>> {
    let metadata = probe.fetch_metadata(Some(topic), ASK).context("ask for metadata")?;
    let partitions = metadata.topics().iter().flat_map(rdkafka::metadata::MetadataTopic::partitions);
    let ids: Vec<i32> = partitions.map(rdkafka::metadata::MetadataPartition::id).collect();
    ids.into_iter().map(|id| Ok((id, probe.fetch_watermarks(topic, id, ASK)?.1))).collect()
}

async fn uncovered(shared: &Shared, ends: &[(i32, i64)]) -> Vec<i32> {
    let Ok(rows) = shared.store.partitions().await else { return Vec::new() };
    // `flushed_at` is event time's clock, which may be scaled in a demo.
    let fresh = shared.clock.now() - MINUTE.max(10 * SECOND);
    let covered = |id: i32| {
        let mut mine = rows.iter().filter(|row| row.source == SOURCE && row.topic == shared.settings.kafka.topic);
        mine.any(|row| row.partition == i64::from(id) && row.flushed_at >= fresh)
    };
    ends.iter().map(|(id, _)| *id).filter(|id| !covered(*id)).collect()
}
