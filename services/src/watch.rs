//! The coverage watch: every partition of the topic has an owner and a recent flush, and its log end is known.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::{Context, Result};
use leeway_core::clock::{MINUTE, SECOND};

use crate::consume::{MENTIONS, SOURCE};
use crate::pipeline::{Probe, Shared};
use crate::tasks::Stop;

const EVERY: Duration = Duration::from_secs(5);

pub async fn run(shared: Shared, mut stop: Stop) -> Result<()> {
    let mut complained = 0;
    loop {
        let log = std::sync::Arc::clone(&shared.log);
        let probe = tokio::task::spawn_blocking(move || log.probe()).await.context("ask for log ends")?;
        match probe {
            Ok(probe) => {
                shared.partition_count.store(probe.ends.len(), Relaxed);
                let uncovered = uncovered(&shared, &probe).await;
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
                    *known = probe;
                }
            }
            Err(error) => tracing::debug!(%error, "the broker did not tell its log ends"),
        }
        if stop.within(EVERY).await {
            return Ok(());
        }
    }
}

async fn uncovered(shared: &Shared, probe: &Probe) -> Vec<i32> {
    let Ok(rows) = shared.store.partitions().await else { return Vec::new() };
    // `flushed_at` is event time's clock, which may be scaled in a demo.
    let fresh = shared.clock.now() - MINUTE.max(10 * SECOND);
    let covered = |id: i32| {
        let mut mine = rows
            .iter()
            .filter(|row| (row.source == SOURCE || row.source == MENTIONS) && row.topic == shared.settings.kafka.topic);
        mine.any(|row| row.partition == i64::from(id) && row.flushed_at >= fresh)
    };
    let mut uncovered: Vec<i32> = probe.ends.keys().copied().filter(|id| !covered(*id)).collect();
    uncovered.sort_unstable();
    uncovered
}
