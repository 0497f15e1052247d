//! The delivery loop: takes due notices from the outbox, lets the courier send them, writes down what came of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use leeway_alerts::channel::{Channel, Judgement, Outgoing};
use leeway_alerts::courier::{Attempt, Courier, next_attempt};
use leeway_core::clock::{Clock, DAY, MINUTE, Micros};
use leeway_store::{Claimed, DeliveryRow, Outcome, Store};

use tokio::task::{JoinError, JoinSet};

use crate::metrics::Metrics;
use crate::tasks::Stop;

const EVERY: Duration = Duration::from_millis(200);
/// Longer than an attempt may take: a second courier must not start the same one meanwhile.
const CLAIM: Micros = MINUTE;
const AT_ONCE: i64 = 16;
/// An undelivered notice is given up after this.
const GIVE_UP: Micros = DAY;

#[derive(Debug)]
pub struct Deliverer {
    pub store: Store,
    pub channels: Arc<BTreeMap<String, Channel>>,
    pub courier: Courier,
    pub clock: Clock,
    pub owner: String,
    pub metrics: Arc<Metrics>,
    /// A mail folder of the demo; mail goes there and not to a server.
    pub mailbox: Option<std::path::PathBuf>,
}

impl Deliverer {
    /// Runs until told to stop. Receivers do not wait for one another: one that hangs holds its own notices alone.
    pub async fn run(self, mut stop: Stop) -> Result<()> {
        let this = Arc::new(self);
        // Tasks, not futures of this loop: one that holds the store's only writer must go on while the loop waits for it.
        let mut running = JoinSet::new();
        loop {
            let room = AT_ONCE - running.len() as i64;
            let wall = this.clock.wall();
            match this.store.claim_notices(&this.owner, wall, wall + CLAIM, room).await {
                Ok(claimed) => {
                    for claimed in claimed {
                        let this = Arc::clone(&this);
                        running.spawn(async move { this.deliver(claimed).await });
                    }
                }
                Err(error) if error.passing() => tracing::warn!(%error, "the outbox cannot be read; trying again"),
                Err(error) => return Err(error.into()),
            }
            let stopped = tokio::select! {
                Some(done) = running.join_next() => { report(done); false }
                stopped = stop.within(EVERY) => stopped,
            };
            if stopped {
                break;
            }
        }
        while let Some(done) = running.join_next().await {
            report(done);
        }
        Ok(())
    }

    async fn deliver(&self, claimed: Claimed) -> Result<()> {
        let attempt = self.attempt(&claimed).await;
        crate::faults::point("after_post");
        let wall = self.clock.wall();
        let outcome = match attempt.judgement {
            Judgement::Accepted => Outcome::Accepted,
            Judgement::Again { .. } if wall - claimed.created_at > GIVE_UP => Outcome::Refused,
            Judgement::Again { after_s } => Outcome::Retry(next_attempt(wall, claimed.attempt, after_s)),
            Judgement::Refused => Outcome::Refused,
            Judgement::Gone => Outcome::Gone,
        };
        let notice = &claimed.notice;
        match &outcome {
            Outcome::Accepted => tracing::info!(
                id = notice.id,
                receiver = notice.receiver,
                status = notice.status.name(),
                attempt = claimed.attempt,
                "delivered"
            ),
            other => tracing::warn!(
                id = notice.id,
                receiver = notice.receiver,
                attempt = claimed.attempt,
                outcome = other.name(),
                detail = attempt.detail,
                "not delivered"
            ),
        }
        self.metrics.delivered(outcome.name());
        let delivery = DeliveryRow {
            notice: notice.id.clone(),
            receiver: notice.receiver.clone(),
            status: notice.status.name().to_owned(),
            attempt: claimed.attempt as i64,
            at: wall,
            outcome: outcome.name().to_owned(),
            code: attempt.code.map(i64::from),
            latency_ms: attempt.latency.as_millis() as i64,
            detail: attempt.detail,
        };
        self.store.delivered(&claimed, &delivery, &outcome).await?;
        Ok(())
    }

    async fn attempt(&self, claimed: &Claimed) -> Attempt {
        let refused =
            |detail: String| Attempt { judgement: Judgement::Refused, code: None, detail, latency: Duration::ZERO };
        let Some(channel) = self.channels.get(&claimed.notice.receiver) else {
            // Another process may have newer settings; the notice waits for it, a day at most.
            let detail = format!("receiver `{}` is not in this process's settings", claimed.notice.receiver);
            return Attempt { judgement: Judgement::Again { after_s: None }, ..refused(detail) };
        };
        match (channel.render(&claimed.notice), &self.mailbox) {
            (Ok(Outgoing::Mail(message)), Some(folder)) => {
                match crate::mailbox::put(folder, &claimed.notice.id, &message.formatted()) {
                    Ok(()) => Attempt {
                        judgement: Judgement::Accepted,
                        code: None,
                        detail: "in the demo's mailbox".into(),
                        latency: Duration::ZERO,
                    },
                    Err(error) => refused(format!("{error:#}")),
                }
            }
            (Ok(outgoing), _) => self.courier.deliver(outgoing).await,
            (Err(error), _) => refused(error.to_string()),
        }
    }
}

fn report(done: Result<Result<()>, JoinError>) {
    if let Err(error) = done.context("a delivery panicked").and_then(|done| done) {
        tracing::warn!("a delivery could not be written down and may be repeated under the same id: {error:#}");
    }
}
