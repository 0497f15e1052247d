//! The pages and their live streams: read, hand to the renderer, answer.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse};
use futures_util::stream::{self, Stream};
use leeway_alerts::rule::Kind;
use leeway_core::alert::{AlertLabels, State as AlertState};
use leeway_core::clock::{DAY, HOUR, Micros, SECOND, day_of, readable_span};
use leeway_core::labels::Level;
use leeway_core::pane::Pane;
use leeway_dashboards::alert_pages::{self, Alert, Delivery, Detail, RuleLine, Waiting};
use leeway_dashboards::{assets, overview as view};
use leeway_store::{AlertRow, headline};

use super::response::{HttpError, rendered};
use super::{App, FRESH};

const SLICES: usize = 50;
const ALERTS: i64 = 500;
const FINDINGS: i64 = 100;
const LIVE: Duration = Duration::from_secs(1);
/// Tenants near their cap whose labels are counted, and for how long the count stands.
const SPREAD_TENANTS: usize = 3;
const SPREAD_FRESH: Duration = Duration::from_secs(300);

/// By tenant: when its labels were counted, and the one with most values.
pub type Spread = std::collections::BTreeMap<String, (Instant, Option<(String, u64)>)>;

type Page = Result<Html<String>, HttpError>;

pub async fn overview(State(app): State<App>) -> Page {
    rendered(view::page(&app.frame("overview"), &*app.summary().await?))
}

pub async fn overview_csv(State(app): State<App>) -> Result<impl IntoResponse, HttpError> {
    let csv = view::chart_csv(&*app.summary().await?);
    Ok((
        [
            (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
            (header::CONTENT_DISPOSITION, "attachment; filename=\"leeway-overview.csv\""),
        ],
        csv,
    ))
}

pub async fn api_overview(State(app): State<App>) -> Result<Json<serde_json::Value>, HttpError> {
    Ok(Json(view::json(&*app.summary().await?)))
}

pub async fn api_alerts(State(app): State<App>) -> Result<Json<serde_json::Value>, HttpError> {
    let rows = app.0.store.alerts(ALERTS).await?;
    let json = |row: &AlertRow| {
        let time = |at: Option<Micros>| at.map(leeway_core::clock::rfc3339);
        serde_json::json!({
            "fingerprint": row.fingerprint, "rule": row.rule, "rule_version": row.rule_version, "severity": row.severity,
            "labels": serde_json::from_str::<serde_json::Value>(&row.labels).unwrap_or_default(), "state": row.state,
            "active_at": time(row.active_at), "fired_at": time(row.fired_at), "resolved_at": time(row.resolved_at),
            "last_evaluated_at": time(Some(row.last_at)), "evidence": row.evidence,
        })
    };
    Ok(Json(serde_json::Value::Array(rows.iter().map(json).collect())))
}

pub async fn alerts(State(app): State<App>) -> Page {
    let rules: Vec<RuleLine> = app.0.rules.iter().map(rule_line).collect();
    rendered(alert_pages::list(&app.frame("alerts"), &app.alert_list().await?, &rules))
}

pub async fn alert(State(app): State<App>, Path(fingerprint): Path<String>) -> Page {
    let (alert, findings, deliveries, waiting) = app.one_alert(&fingerprint).await?;
    let detail = Detail { alert: &alert, findings: &findings, deliveries: &deliveries, waiting: &waiting };
    rendered(alert_pages::one(&app.frame("alerts"), &detail))
}

pub async fn live_overview(State(app): State<App>) -> Result<impl IntoResponse, HttpError> {
    let made = app.clone();
    live(&app, move |turn| {
        let app = made.clone();
        async move {
            let input = app.summary().await?;
            let html = view::live(&input).map_err(|error| HttpError::Inner(anyhow::anyhow!(error.0)))?;
            // The charts change once a minute of event time; every fourth message is soon enough.
            let chart = (turn % 4 == 0).then(|| Event::default().event("chart").data(view::chart_json(&input)));
            Ok(std::iter::once(Event::default().data(html)).chain(chart).collect())
        }
    })
}

pub async fn live_tables(State(app): State<App>) -> Result<impl IntoResponse, HttpError> {
    let made = app.clone();
    live(&app, move |_| {
        let app = made.clone();
        async move {
            let html =
                view::tables(&*app.summary().await?).map_err(|error| HttpError::Inner(anyhow::anyhow!(error.0)))?;
            Ok(vec![Event::default().data(html)])
        }
    })
}

pub async fn live_alerts(State(app): State<App>) -> Result<impl IntoResponse, HttpError> {
    let made = app.clone();
    live(&app, move |_| {
        let app = made.clone();
        async move {
            let html = alert_pages::list_live(&app.alert_list().await?)
                .map_err(|error| HttpError::Inner(anyhow::anyhow!(error.0)))?;
            Ok(vec![Event::default().data(html)])
        }
    })
}

pub async fn live_alert(
    State(app): State<App>,
    Path(fingerprint): Path<String>,
) -> Result<impl IntoResponse, HttpError> {
    let made = app.clone();
    live(&app, move |_| {
        let (app, fingerprint) = (made.clone(), fingerprint.clone());
        async move {
            let (alert, findings, deliveries, waiting) = app.one_alert(&fingerprint).await?;
            let detail = Detail { alert: &alert, findings: &findings, deliveries: &deliveries, waiting: &waiting };
            let html = alert_pages::one_live(&detail).map_err(|error| HttpError::Inner(anyhow::anyhow!(error.0)))?;
            Ok(vec![Event::default().data(html)])
        }
    })
}

/// A stream of fragments, one a second; ends with the program, or when a fragment cannot be made (the page reconnects).
fn live<F, M>(app: &App, make: M) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>> + use<F, M>>, HttpError>
where
    F: Future<Output = Result<Vec<Event>, HttpError>> + Send,
    M: Fn(u64) -> F + Send + 'static,
{
    use futures_util::StreamExt;
    let permit = Arc::clone(&app.0.streams).try_acquire_owned().map_err(|_| HttpError::Busy)?;
    let state = (app.0.stop.clone(), make, permit, 0u64);
    let events = stream::unfold(state, |(mut stop, make, permit, turn)| async move {
        if stop.within(LIVE).await {
            return None;
        }
        let events = make(turn).await.ok()?;
        Some((stream::iter(events.into_iter().map(Ok)), (stop, make, permit, turn + 1)))
    });
    Ok(Sse::new(events.flatten()).keep_alive(KeepAlive::new()))
}

pub async fn metrics(State(app): State<App>) -> Result<String, HttpError> {
    let (waiting, oldest) = app.0.store.outbox().await?;
    let oldest_age = oldest.map_or(0, |at| app.0.clock.wall() - at);
    let partitions = app.0.store.partitions().await?;
    let lag: i64 = partitions.iter().map(leeway_store::PartitionRow::lag).sum();
    let behind = partitions.iter().map(|row| app.0.clock.now() - row.watermark).max().unwrap_or(0);
    let lost = app.0.store.ledger_since(app.0.clock.now() - 7 * DAY).await?.lost;
    let counts = app.0.store.alert_counts().await?;
    let loads = app.0.store.tenant_loads(day_of(app.0.clock.now())).await?;
    let fullest = loads.first().map_or(0, |load| load.series) as f64 / app.0.series_cap.max(1) as f64;
    let firing = counts.iter().find(|(state, _)| state == AlertState::Firing.name()).map_or(0, |(_, n)| *n);
    Ok(app.0.metrics.text(&[
        ("leeway_outbox_notices", "Notices that wait for delivery.", waiting as f64),
        (
            "leeway_outbox_oldest_age_seconds",
            "Age of the oldest undelivered notice.",
            oldest_age as f64 / SECOND as f64,
        ),
        ("leeway_consumer_lag_messages", "Messages between the stored offsets and the broker's log ends.", lag as f64),
        (
            "leeway_watermark_behind_seconds",
            "Event time's clock minus the least watermark.",
            behind as f64 / SECOND as f64,
        ),
        ("leeway_series_cap_used_ratio", "Series today of the tenant with most, by the cap; alarm at 0.8.", fullest),
        ("leeway_alerts_firing", "Alert instances that fire.", firing as f64),
        (
            "leeway_lost_messages",
            "Messages that Kafka dropped, by retention or with their topic, before they were read; last 7 days.",
            lost as f64,
        ),
    ]))
}

/// The process runs.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// The process can do its work: the store answers.
pub async fn readyz(State(app): State<App>) -> impl IntoResponse {
    match app.0.store.ping().await {
        Ok(()) => (StatusCode::OK, "ready\n"),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n")
        }
    }
}

pub async fn asset(Path(name): Path<String>) -> Result<impl IntoResponse, HttpError> {
    let asset = assets::find(&name).ok_or(HttpError::NotFound("no such file"))?;
    Ok(([(header::CONTENT_TYPE, asset.mime), (header::CACHE_CONTROL, "public, max-age=3600")], asset.bytes))
}

pub async fn not_found() -> HttpError {
    HttpError::NotFound("there is no such page; the overview is at /")
}

impl App {
    /// The overview's numbers, shared by all viewers for a second.
    async fn summary(&self) -> Result<Arc<view::Input>, HttpError> {
        let mut cached = self.0.summary.lock().await;
        if let Some((at, input)) = &*cached
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(input));
        }
        let input = Arc::new(self.read_summary().await?);
        *cached = Some((Instant::now(), Arc::clone(&input)));
        Ok(input)
    }

    async fn read_summary(&self) -> Result<view::Input, HttpError> {
        let (store, now) = (&self.0.store, self.0.clock.now());
        let partitions = store.partitions().await?;
        let totals = store.ledger_since(now - HOUR).await?;
        let firing = store.alerts(ALERTS).await?;
        let firing = firing.iter().filter(|row| row.state == AlertState::Firing).map(|row| {
            let shown = shown(row);
            (row.fingerprint.clone(), format!("{}: {}", shown.scope(), row.rule), row.fired_at.unwrap_or(row.last_at))
        });
        let mut loads = Vec::new();
        for load in store.tenant_loads(day_of(now)).await? {
            let mut load =
                view::Load { tenant: load.tenant, series: load.series, folded: load.folded_calls, widest: None };
            // A look at every series of the day: for few tenants, and not at once again.
            if load.nearly_full(self.0.series_cap).is_some() && loads.len() < SPREAD_TENANTS {
                load.widest = self.widest(&load.tenant, day_of(now)).await?;
            }
            loads.push(load);
        }
        Ok(view::Input {
            now,
            watermark: partitions.iter().map(|row| row.watermark).filter(|at| *at > 0).min(),
            minutes: store.headline(now - view::SPAN, now + HOUR).await?,
            slices: self.slices(now).await?,
            ledger: totals.ledger,
            lost: totals.lost,
            partitions: partitions.iter().map(partition).collect(),
            reasons: store.dead_letter_reasons(now - HOUR).await?,
            loads,
            series_cap: self.0.series_cap,
            firing: firing.collect(),
            undelivered: store.outbox().await?.0,
            disabled_receivers: store.disabled_receivers().await?.into_iter().map(|(name, ..)| name).collect(),
        })
    }

    /// The label with most values today, as it was seen in the last minutes.
    async fn widest(&self, tenant: &str, day: i64) -> Result<Option<(String, u64)>, HttpError> {
        let mut known = self.0.spread.lock().await;
        known.retain(|_, (at, _)| at.elapsed() < SPREAD_FRESH);
        if let Some((_, widest)) = known.get(tenant) {
            return Ok(widest.clone());
        }
        let widest = self.0.store.label_spread(tenant, day).await?.into_iter().next();
        known.insert(tenant.to_owned(), (Instant::now(), widest.clone()));
        Ok(widest)
    }

    /// Tenant, app and model with most calls of late.
    async fn slices(&self, now: Micros) -> Result<Vec<(String, String, String, Pane)>, HttpError> {
        let mut merged: std::collections::BTreeMap<[String; 3], Pane> = std::collections::BTreeMap::new();
        for series in self.0.store.panes(Level::Model, None, now - view::RECENT, now + HOUR).await? {
            if headline(&series.labels) {
                let label = |name: &str| series.labels.get(name).unwrap_or("").to_owned();
                merged.entry([label("tenant"), label("app"), label("model")]).or_default().merge(&series.pane);
            }
        }
        let mut slices: Vec<_> =
            merged.into_iter().map(|([tenant, app, model], pane)| (tenant, app, model, pane)).collect();
        slices.sort_by_key(|(_, _, _, pane)| std::cmp::Reverse(pane.calls()));
        slices.truncate(SLICES);
        Ok(slices)
    }

    async fn alert_list(&self) -> Result<Vec<Alert>, HttpError> {
        Ok(self.0.store.alerts(ALERTS).await?.iter().map(shown).collect())
    }

    async fn one_alert(
        &self,
        fingerprint: &str,
    ) -> Result<(Alert, Vec<leeway_core::alert::Finding>, Vec<Delivery>, Vec<Waiting>), HttpError> {
        let store = &self.0.store;
        let row =
            store.alert(fingerprint).await?.ok_or(HttpError::NotFound("no alert has this fingerprint; see /alerts"))?;
        let findings = store.findings(fingerprint, FINDINGS).await?;
        let deliveries = store.deliveries(fingerprint).await?.into_iter().map(|d| Delivery {
            receiver: d.receiver,
            status: d.status,
            attempt: d.attempt,
            at: d.at,
            outcome: d.outcome,
            code: d.code,
            latency_ms: d.latency_ms,
            detail: d.detail,
            notice: d.notice,
        });
        let waiting =
            store.notices(fingerprint).await?.into_iter().filter(|row| row.state == "waiting").map(|row| Waiting {
                receiver: row.notice.receiver,
                status: row.notice.status.name().to_owned(),
                attempts: row.attempts,
                next_attempt_at: row.next_attempt_at,
            });
        Ok((shown(&row), findings, deliveries.collect(), waiting.collect()))
    }
}

fn shown(row: &AlertRow) -> Alert {
    let labels: AlertLabels = serde_json::from_str(&row.labels).unwrap_or_default();
    Alert {
        fingerprint: row.fingerprint.clone(),
        rule: row.rule.clone(),
        rule_version: row.rule_version.clone(),
        severity: row.severity.name(),
        labels: labels.into_iter().collect(),
        state: row.state,
        active_at: row.active_at,
        fired_at: row.fired_at,
        resolved_at: row.resolved_at,
        keep_firing_since: row.keep_firing_since,
        last_at: row.last_at,
        evidence: row.evidence.clone(),
    }
}

fn partition(row: &leeway_store::PartitionRow) -> view::Partition {
    view::Partition {
        source: row.source.clone(),
        topic: row.topic.clone(),
        partition: row.partition,
        next_offset: row.next_offset,
        lag: row.lag(),
        watermark: row.watermark,
        owner: row.owner.clone(),
    }
}

fn rule_line(rule: &leeway_alerts::rule::Rule) -> RuleLine {
    let quantile = rule.quantile.map_or_else(String::new, |q| format!("p{} of ", q * 100.0));
    let by = if rule.by.is_empty() { "all traffic".to_owned() } else { format!("each {}", rule.by.join(", ")) };
    let (drift, unit) = match rule.kind {
        Kind::Drift(drift) => (format!("{} of ", drift.test.title()), drift.test.unit(&rule.measure)),
        Kind::Threshold => (String::new(), rule.measure.unit()),
        Kind::Anomaly(_) if rule.measure.is_mean() => ("change from the usual of ".to_owned(), rule.measure.unit()),
        Kind::Anomaly(_) => ("change from the usual of ".to_owned(), leeway_core::measure::Unit::Change),
    };
    let bound = unit.show(rule.bound.limit());
    let least = if rule.min_events > 0 { format!(", at least {} events", rule.min_events) } else { String::new() };
    RuleLine {
        id: rule.id.clone(),
        what: format!(
            "{drift}{quantile}{} {} {bound} over {}, {by}{least}",
            rule.measure,
            rule.bound.name(),
            readable_span(rule.window),
        ),
        hold: readable_span(rule.hold),
        receivers: rule.receivers.join(", "),
    }
}
