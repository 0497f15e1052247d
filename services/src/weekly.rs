//! Last week's report to each receiver, once: a row says that it went, and every copy has one Message-ID.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use leeway_alerts::channel::email::ReportMail;
use leeway_alerts::channel::{Channel, Judgement, Outgoing};
use leeway_alerts::courier::Courier;
use leeway_core::alert::notice_id;
use leeway_core::clock::{Clock, DAY, HOUR, MINUTE, Micros, week, week_of};
use leeway_store::Store;

use crate::report;
use crate::tasks::Stop;

const EVERY: Duration = Duration::from_secs(10);
const LEASE: &str = "weekly";
const LEASE_FOR: Micros = 5 * MINUTE;
/// A report that could not be sent is tried again after this.
const PAUSE: Micros = MINUTE / 2;
/// A week whose report could not be sent for this long has had its time.
const TOO_LATE: Micros = 5 * DAY;

#[derive(Debug)]
pub struct Weekly {
    pub store: Store,
    pub clock: Clock,
    pub owner: String,
    pub receivers: Vec<String>,
    pub channels: Arc<BTreeMap<String, Channel>>,
    pub courier: Courier,
    /// A mail folder of the demo; mail goes there and not to a server.
    pub mailbox: Option<PathBuf>,
    pub wanted: report::Wanted,
    /// Hours after Monday 00:00 UTC.
    pub hours: i64,
}

impl Weekly {
    pub async fn run(self, mut stop: Stop) -> Result<()> {
        if self.receivers.is_empty() {
            stop.wait().await;
            return Ok(());
        }
        let mut not_before = 0;
        loop {
            let wall = self.clock.wall();
            if wall >= not_before {
                match self.round().await {
                    Ok(true) => {}
                    Ok(false) => not_before = wall + PAUSE,
                    Err(error) => {
                        tracing::warn!("the weekly report failed and is tried again: {error:#}");
                        not_before = wall + PAUSE;
                    }
                }
            }
            if stop.within(EVERY).await {
                return Ok(());
            }
        }
    }

    /// Sends what is due; `false` where a receiver did not take it.
    async fn round(&self) -> Result<bool> {
        let now = self.clock.now();
        // The last week whose hour has come, also where that hour lies late in the week after.
        let name = week_of(now - self.hours * HOUR - 7 * DAY);
        let Some((_, end)) = week(&name) else { return Ok(true) };
        if now > end + self.hours * HOUR + TOO_LATE {
            return Ok(true);
        }
        let mut due = Vec::new();
        for receiver in &self.receivers {
            if !self.store.report_sent(&name, receiver).await? {
                due.push(receiver);
            }
        }
        if due.is_empty() || !self.held().await? {
            return Ok(true);
        }
        let report = report::make(&self.store, &name, now, &self.wanted).await?;
        let mut all = true;
        for receiver in due {
            // Making the report took its time: somebody else may have sent it meanwhile.
            if !self.held().await? || self.store.report_sent(&name, receiver).await? {
                continue;
            }
            match self.send(&name, receiver, &report).await {
                Ok(accepted) => all &= accepted,
                Err(error) => {
                    tracing::warn!(receiver, "the weekly report could not be sent and is tried again: {error:#}");
                    all = false;
                }
            }
        }
        Ok(all)
    }

    /// Takes or prolongs the lease.
    async fn held(&self) -> Result<bool> {
        let wall = self.clock.wall();
        Ok(self.store.lease(LEASE, &self.owner, wall, wall + LEASE_FOR).await?.is_some())
    }

    async fn send(&self, week: &str, receiver: &str, report: &leeway_dashboards::report::Report) -> Result<bool> {
        let Some(Channel::Email(email)) = self.channels.get(receiver) else { return Ok(true) };
        let id = notice_id(&format!("report:{week}"), receiver, 1);
        let html = leeway_dashboards::report::file(report).map_err(|error| anyhow::anyhow!("render: {}", error.0))?;
        let (subject, file_name) = (format!("[Leeway] Week {week}: {}", report.line()), format!("leeway-{week}.html"));
        let markdown = leeway_dashboards::report::markdown(report);
        let mail = ReportMail { id: &id, subject: &subject, markdown, html, file_name: &file_name };
        let outgoing = email.report(mail).map_err(|error| anyhow::anyhow!("{error}"))?;
        let accepted = match (outgoing, &self.mailbox) {
            (Outgoing::Mail(message), Some(folder)) => {
                crate::mailbox::put(folder, &id, &message.formatted())?;
                true
            }
            (outgoing, _) => {
                let attempt = self.courier.deliver(outgoing).await;
                if attempt.judgement != Judgement::Accepted {
                    tracing::warn!(
                        receiver,
                        week,
                        detail = attempt.detail,
                        "the weekly report was not taken; trying again"
                    );
                }
                attempt.judgement == Judgement::Accepted
            }
        };
        if accepted {
            self.store.mark_report(week, receiver, self.clock.now()).await.context("note that the report went")?;
            tracing::info!(receiver, week, "the weekly report went out");
        }
        Ok(accepted)
    }
}
