//! Alert states, findings, notices and their deliveries.
//!
//! One evaluation of one rule at one window is one transaction: states, findings, notices and the rule's progress.

use std::collections::HashMap;

use leeway_core::alert::{Evidence, Finding, Notice, Severity, State};
use leeway_core::clock::Micros;

use crate::streams::DetectorState;
use crate::{Lease, Row, Store, StoreError, args};

/// How far a rule has been evaluated: the end of its last window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleProgress {
    pub rule: String,
    pub version: String,
    pub through: Micros,
}

/// One alert instance.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertRow {
    pub fingerprint: String,
    pub rule: String,
    pub rule_version: String,
    pub severity: Severity,
    /// Labels as sorted JSON.
    pub labels: String,
    pub state: State,
    pub active_at: Option<Micros>,
    pub fired_at: Option<Micros>,
    pub resolved_at: Option<Micros>,
    pub keep_firing_since: Option<Micros>,
    /// Window end of the last evaluation.
    pub last_at: Micros,
    /// Window end at which the instance last had events.
    pub last_seen_at: Micros,
    /// Notices so far, over all episodes.
    pub sequence: u64,
    /// Sequence of the notice that opened the current episode.
    pub episode: u64,
    pub evidence: Evidence,
}

/// What one evaluation changes.
#[derive(Debug, Default)]
pub struct EvaluationWrite {
    pub alerts: Vec<AlertRow>,
    pub findings: Vec<Finding>,
    pub notices: Vec<Notice>,
    /// Of a rule with detectors.
    pub state: Option<DetectorState>,
}

#[derive(Debug, Clone)]
pub struct NoticeRow {
    pub notice: Notice,
    pub state: String,
    pub attempts: u64,
    pub created_at: Micros,
    pub next_attempt_at: Micros,
    pub done_at: Option<Micros>,
}

/// A notice that a courier holds for a while.
#[derive(Debug, Clone)]
pub struct Claimed {
    pub notice: Notice,
    /// Of this attempt, from 1.
    pub attempt: u64,
    pub created_at: Micros,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Accepted,
    /// Again at this time.
    Retry(Micros),
    /// Never again.
    Refused,
    /// Never again, and nothing else to this receiver.
    Gone,
}

impl Outcome {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Retry(_) => "retry",
            Self::Refused => "refused",
            Self::Gone => "gone",
        }
    }
}

#[derive(Debug, Clone)]
pub struct DeliveryRow {
    pub notice: String,
    pub receiver: String,
    pub status: String,
    pub attempt: i64,
    pub at: Micros,
    pub outcome: String,
    pub code: Option<i64>,
    pub latency_ms: i64,
    pub detail: String,
}

/// Notices that one receiver may have under way at once: a hanging one leaves room for the others.
const PER_RECEIVER: u64 = 4;
/// Due notices that a claim looks at.
const CANDIDATES: i64 = 500;

const ALERT: &str = "SELECT fingerprint, rule, rule_version, severity, labels, state, active_at, fired_at, resolved_at, \
                     keep_firing_since, last_at, last_seen_at, sequence, episode, evidence FROM alert";
const NOTICE: &str = "SELECT body, state, attempts, created_at, next_attempt_at, done_at FROM notice";

impl Store {
    pub async fn rule_progress(&self) -> Result<Vec<RuleProgress>, StoreError> {
        let rows = self.conn().await?.query("SELECT rule, version, through FROM rule_progress", &[]).await?;
        rows.iter()
            .map(|row| Ok(RuleProgress { rule: row.text(0)?, version: row.text(1)?, through: row.int(2)? }))
            .collect()
    }

    pub async fn alerts_of_rule(&self, rule: &str) -> Result<Vec<AlertRow>, StoreError> {
        let rows = self.conn().await?.query(&format!("{ALERT} WHERE rule = $1"), args![rule]).await?;
        rows.iter().map(alert).collect()
    }

    /// Instances that fire or are about to.
    pub async fn open_alerts(&self) -> Result<Vec<AlertRow>, StoreError> {
        let rows = self.conn().await?.query(&format!("{ALERT} WHERE state IN ('firing', 'pending')"), &[]).await?;
        rows.iter().map(alert).collect()
    }

    /// Every instance, the most pressing and newest first.
    pub async fn alerts(&self, limit: i64) -> Result<Vec<AlertRow>, StoreError> {
        let order = "ORDER BY CASE state WHEN 'firing' THEN 0 WHEN 'pending' THEN 1 WHEN 'error' THEN 2 WHEN 'insufficient_data' \
                     THEN 3 WHEN 'no_data' THEN 4 WHEN 'resolved' THEN 5 ELSE 6 END, COALESCE(fired_at, last_at) DESC, fingerprint LIMIT $1";
        let rows = self.conn().await?.query(&format!("{ALERT} {order}"), args![limit]).await?;
        rows.iter().map(alert).collect()
    }

    pub async fn alert(&self, fingerprint: &str) -> Result<Option<AlertRow>, StoreError> {
        let row = self.conn().await?.query_one(&format!("{ALERT} WHERE fingerprint = $1"), args![fingerprint]).await?;
        row.as_ref().map(alert).transpose()
    }

    /// Instances by state.
    pub async fn alert_counts(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let rows =
            self.conn().await?.query("SELECT state, COUNT(*) FROM alert GROUP BY state ORDER BY state", &[]).await?;
        rows.iter().map(|row| Ok((row.text(0)?, row.count(1)?))).collect()
    }

    pub async fn findings(&self, fingerprint: &str, limit: i64) -> Result<Vec<Finding>, StoreError> {
        let sql = "SELECT body FROM finding WHERE fingerprint = $1 ORDER BY at DESC, id DESC LIMIT $2";
        let rows = self.conn().await?.query(sql, args![fingerprint, limit]).await?;
        rows.iter().map(|row| read_json(&row.text(0)?)).collect()
    }

    /// Findings of `[from, to)`, in order of time.
    pub async fn findings_between(&self, from: Micros, to: Micros, limit: i64) -> Result<Vec<Finding>, StoreError> {
        let sql = "SELECT body FROM finding WHERE at >= $1 AND at < $2 ORDER BY at, id LIMIT $3";
        let rows = self.conn().await?.query(sql, args![from, to, limit]).await?;
        let read = |row: &Row| {
            serde_json::from_str(&row.text(0)?).map_err(|error| StoreError::Unreadable(format!("a finding: {error}")))
        };
        rows.iter().map(read).collect()
    }

    pub async fn finding(&self, id: &str) -> Result<Option<Finding>, StoreError> {
        let row = self.conn().await?.query_one("SELECT body FROM finding WHERE id = $1", args![id]).await?;
        row.map(|row| read_json(&row.text(0)?)).transpose()
    }

    /// A rule's findings of `[from, to)` in order of time.
    pub async fn findings_of_rule(&self, rule: &str, from: Micros, to: Micros) -> Result<Vec<Finding>, StoreError> {
        let sql = "SELECT body FROM finding WHERE rule = $1 AND at >= $2 AND at < $3 ORDER BY at, id";
        let rows = self.conn().await?.query(sql, args![rule, from, to]).await?;
        rows.iter().map(|row| read_json(&row.text(0)?)).collect()
    }

    pub async fn notices(&self, fingerprint: &str) -> Result<Vec<NoticeRow>, StoreError> {
        let sql = format!("{NOTICE} WHERE fingerprint = $1 ORDER BY sequence, receiver");
        let rows = self.conn().await?.query(&sql, args![fingerprint]).await?;
        rows.iter().map(notice).collect()
    }

    pub async fn deliveries(&self, fingerprint: &str) -> Result<Vec<DeliveryRow>, StoreError> {
        let sql = "SELECT d.notice, n.receiver, n.status, d.attempt, d.at, d.outcome, d.code, d.latency_ms, d.detail \
                   FROM delivery d JOIN notice n ON n.id = d.notice WHERE n.fingerprint = $1 ORDER BY d.at, d.attempt";
        let rows = self.conn().await?.query(sql, args![fingerprint]).await?;
        let read = |row: &Row| {
            Ok(DeliveryRow {
                notice: row.text(0)?,
                receiver: row.text(1)?,
                status: row.text(2)?,
                attempt: row.int(3)?,
                at: row.int(4)?,
                outcome: row.text(5)?,
                code: row.maybe_int(6)?,
                latency_ms: row.int(7)?,
                detail: row.text(8)?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Writes one evaluation and the rule's progress, unless the lease was lost.
    pub async fn write_evaluation(
        &self,
        lease: &Lease,
        progress: &RuleProgress,
        write: &EvaluationWrite,
        wall: Micros,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let conn = tx.conn()?;
        lease.check(conn).await?;
        let sql = "INSERT INTO rule_progress (rule, version, through) VALUES ($1, $2, $3) ON CONFLICT (rule) DO UPDATE SET \
                   version = excluded.version, through = excluded.through";
        conn.run(sql, args![&progress.rule, &progress.version, progress.through]).await?;
        if let Some(state) = &write.state {
            crate::streams::write_state(conn, &progress.rule, state).await?;
        }
        for row in &write.alerts {
            let evidence = to_json(&row.evidence);
            let sql = "INSERT INTO alert (fingerprint, rule, rule_version, severity, labels, state, active_at, fired_at, resolved_at, \
                       keep_firing_since, last_at, last_seen_at, sequence, episode, evidence) \
                       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) ON CONFLICT (fingerprint) DO UPDATE SET \
                       rule_version = excluded.rule_version, severity = excluded.severity, state = excluded.state, \
                       active_at = excluded.active_at, fired_at = excluded.fired_at, resolved_at = excluded.resolved_at, \
                       keep_firing_since = excluded.keep_firing_since, last_at = excluded.last_at, last_seen_at = excluded.last_seen_at, \
                       sequence = excluded.sequence, episode = excluded.episode, evidence = excluded.evidence";
            let params = args![
                &row.fingerprint,
                &row.rule,
                &row.rule_version,
                row.severity.name(),
                &row.labels,
                row.state.name(),
                row.active_at,
                row.fired_at,
                row.resolved_at,
                row.keep_firing_since,
                row.last_at,
                row.last_seen_at,
                row.sequence,
                row.episode,
                &evidence
            ];
            conn.run(sql, params).await?;
        }
        for finding in &write.findings {
            let sql = "INSERT INTO finding (id, fingerprint, rule, at, body) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
            conn.run(sql, args![&finding.id, &finding.fingerprint, &finding.rule, finding.at, &to_json(finding)])
                .await?;
        }
        for notice in &write.notices {
            insert_notice(conn, notice, wall).await?;
        }
        tx.commit().await
    }

    /// Puts notices into the outbox that no evaluation made: tests of a receiver.
    pub async fn post(&self, notice: &Notice, created_at: Micros) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        insert_notice(tx.conn()?, notice, created_at).await?;
        tx.commit().await
    }

    /// Takes due notices for delivery until `until`: at most one of each (group, receiver), the oldest first, so that
    /// a resolve cannot overtake its trigger.
    pub async fn claim_notices(
        &self,
        owner: &str,
        now: Micros,
        until: Micros,
        limit: i64,
    ) -> Result<Vec<Claimed>, StoreError> {
        let mut tx = self.begin().await?;
        let conn = tx.conn()?;
        // Two couriers at once skip what the other holds; SQLite has one writer and needs no words for it.
        let skip = if conn.postgres() { "FOR UPDATE SKIP LOCKED" } else { "" };
        let sql = format!(
            "SELECT id, body, attempts, created_at, receiver FROM notice n WHERE state = 'waiting' AND next_attempt_at <= $1 AND claimed_until < $1 \
             AND NOT EXISTS (SELECT 1 FROM notice older WHERE older.group_key = n.group_key AND older.receiver = n.receiver \
             AND older.sequence < n.sequence AND older.state = 'waiting') \
             AND NOT EXISTS (SELECT 1 FROM receiver_state r WHERE r.receiver = n.receiver AND r.disabled_at IS NOT NULL) \
             ORDER BY next_attempt_at LIMIT $2 {skip}"
        );
        let busy =
            "SELECT receiver, COUNT(*) FROM notice WHERE state = 'waiting' AND claimed_until >= $1 GROUP BY receiver";
        let mut held: HashMap<String, u64> = HashMap::new();
        for row in conn.query(busy, args![now]).await? {
            held.insert(row.text(0)?, row.count(1)?);
        }
        let rows = conn.query(&sql, args![now, CANDIDATES]).await?;
        let mut claimed = Vec::with_capacity(limit as usize);
        for row in rows {
            let mine = held.entry(row.text(4)?).or_default();
            if claimed.len() as i64 >= limit || *mine >= PER_RECEIVER {
                continue;
            }
            *mine += 1;
            let sql = "UPDATE notice SET claimed_by = $2, claimed_until = $3, attempts = attempts + 1 WHERE id = $1";
            conn.run(sql, args![&row.text(0)?, owner, until]).await?;
            claimed.push(Claimed {
                notice: read_json(&row.text(1)?)?,
                attempt: row.count(2)? + 1,
                created_at: row.int(3)?,
            });
        }
        tx.commit().await?;
        Ok(claimed)
    }

    /// Writes down how an attempt ended.
    pub async fn delivered(
        &self,
        claimed: &Claimed,
        delivery: &DeliveryRow,
        outcome: &Outcome,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let conn = tx.conn()?;
        let sql = "INSERT INTO delivery (notice, attempt, at, outcome, code, latency_ms, detail) VALUES ($1, $2, $3, $4, $5, $6, $7) \
                   ON CONFLICT (notice, attempt) DO NOTHING";
        let params = args![
            &delivery.notice,
            delivery.attempt,
            delivery.at,
            outcome.name(),
            delivery.code,
            delivery.latency_ms,
            &delivery.detail
        ];
        conn.run(sql, params).await?;
        let (state, next, done) = match outcome {
            Outcome::Accepted => ("sent", delivery.at, Some(delivery.at)),
            Outcome::Retry(at) => ("waiting", *at, None),
            Outcome::Refused | Outcome::Gone => ("failed", delivery.at, Some(delivery.at)),
        };
        // Another courier may have delivered it meanwhile: sent stays sent.
        let sql = "UPDATE notice SET state = $2, next_attempt_at = $3, claimed_until = 0, done_at = $4 WHERE id = $1 AND state = 'waiting'";
        conn.run(sql, args![&claimed.notice.id, state, next, done]).await?;
        if *outcome == Outcome::Gone {
            let sql = "INSERT INTO receiver_state (receiver, disabled_at, detail) VALUES ($1, $2, $3) ON CONFLICT (receiver) DO UPDATE \
                       SET disabled_at = excluded.disabled_at, detail = excluded.detail";
            conn.run(sql, args![&claimed.notice.receiver, delivery.at, &delivery.detail]).await?;
        }
        tx.commit().await
    }

    /// Receivers that answered 410 Gone, with when and why.
    pub async fn disabled_receivers(&self) -> Result<Vec<(String, Micros, String)>, StoreError> {
        let sql =
            "SELECT receiver, disabled_at, detail FROM receiver_state WHERE disabled_at IS NOT NULL ORDER BY receiver";
        let rows = self.conn().await?.query(sql, &[]).await?;
        rows.iter().map(|row| Ok((row.text(0)?, row.int(1)?, row.text(2)?))).collect()
    }

    /// Undelivered notices: how many, and since when the oldest waits.
    pub async fn outbox(&self) -> Result<(u64, Option<Micros>), StoreError> {
        let sql = "SELECT COUNT(*), MIN(created_at) FROM notice WHERE state = 'waiting'";
        let row = self.conn().await?.query_one(sql, &[]).await?;
        row.map_or(Ok((0, None)), |row| Ok((row.count(0)?, row.maybe_int(1)?)))
    }
}

async fn insert_notice(conn: &mut crate::Conn, notice: &Notice, created_at: Micros) -> Result<(), StoreError> {
    let sql = "INSERT INTO notice (id, group_key, receiver, sequence, fingerprint, status, body, created_at, state, attempts, \
               next_attempt_at, claimed_by, claimed_until, done_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'waiting', 0, $8, '', 0, NULL) \
               ON CONFLICT (id) DO NOTHING";
    let body = to_json(notice);
    let params = args![
        &notice.id,
        &notice.group_key,
        &notice.receiver,
        notice.sequence,
        &notice.fingerprint,
        notice.status.name(),
        &body,
        created_at
    ];
    conn.run(sql, params).await?;
    Ok(())
}

fn to_json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn read_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Unreadable(error.to_string()))
}

fn alert(row: &Row) -> Result<AlertRow, StoreError> {
    let state = row.text(5)?;
    let severity = read_json(&format!("\"{}\"", row.text(3)?))?;
    Ok(AlertRow {
        fingerprint: row.text(0)?,
        rule: row.text(1)?,
        rule_version: row.text(2)?,
        severity,
        labels: row.text(4)?,
        state: State::parse(&state).ok_or_else(|| StoreError::Unreadable(format!("alert state {state}")))?,
        active_at: row.maybe_int(6)?,
        fired_at: row.maybe_int(7)?,
        resolved_at: row.maybe_int(8)?,
        keep_firing_since: row.maybe_int(9)?,
        last_at: row.int(10)?,
        last_seen_at: row.int(11)?,
        sequence: row.count(12)?,
        episode: row.count(13)?,
        evidence: read_json(&row.text(14)?)?,
    })
}

fn notice(row: &Row) -> Result<NoticeRow, StoreError> {
    Ok(NoticeRow {
        notice: read_json(&row.text(0)?)?,
        state: row.text(1)?,
        attempts: row.count(2)?,
        created_at: row.int(3)?,
        next_attempt_at: row.int(4)?,
        done_at: row.maybe_int(5)?,
    })
}
