//! Exports the dead-letter table to a topic, at least once: where each event lies and why it was refused, never what
//! it holds.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use leeway_core::clock::rfc3339;
use leeway_store::{DeadLetterRow, Store};

use crate::consume::client;
use crate::produce::{ANSWER, Producer};
use crate::settings::Kafka;
use crate::tasks::Stop;

const EVERY: Duration = Duration::from_secs(1);
const BATCH: i64 = 500;

pub async fn export(store: Store, kafka: Kafka, mut stop: Stop) -> Result<()> {
    let producer = Arc::new(Producer::new(client(&kafka), &kafka.dead_letter_topic, ANSWER)?);
    loop {
        let more = match step(&store, &producer).await {
            Ok(sent) => sent as i64 == BATCH,
            Err(error) => {
                tracing::warn!(
                    topic = kafka.dead_letter_topic,
                    "dead letters could not be exported and are tried again: {error:#}"
                );
                false
            }
        };
        if stop.stopped() || (!more && stop.within(EVERY).await) {
            return Ok(());
        }
    }
}

/// Exports one batch; a crash between the broker's answer and the mark sends it again.
async fn step(store: &Store, producer: &Arc<Producer>) -> Result<usize> {
    let letters = store.unexported_dead_letters(BATCH).await.context("read dead letters")?;
    if letters.is_empty() {
        return Ok(0);
    }
    let bodies: Vec<(String, String, i64)> = letters.iter().map(body).collect();
    let sending = Arc::clone(producer);
    let sent = tokio::task::spawn_blocking(move || {
        for (key, body, at) in &bodies {
            sending.send(Some(key), None, body.as_bytes(), *at)?;
        }
        sending.flush()
    });
    sent.await.context("send dead letters")??;
    store.mark_exported(&letters).await.context("mark dead letters")?;
    Ok(letters.len())
}

fn body(letter: &DeadLetterRow) -> (String, String, i64) {
    let body = serde_json::json!({
        "source": letter.source, "topic": letter.topic, "incarnation": letter.incarnation, "partition": letter.partition,
        "offset": letter.offset, "record": letter.record, "reason": letter.reason, "field": letter.field,
        "bytes": letter.bytes, "received_at": rfc3339(letter.received_at),
    });
    (format!("{}/{}/{}", letter.topic, letter.partition, letter.offset), body.to_string(), letter.received_at)
}
