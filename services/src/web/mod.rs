//! HTTP: pages, live streams, the API, metrics, and the demo's receivers.

mod demo;
mod intake;
mod kpis;
mod maturity;
mod pages;
mod records;
mod response;
mod shadow;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::Router;
use axum::routing::{get, post};
use leeway_alerts::rule::Rule;
use leeway_alerts::signing::SigningKey;
use leeway_core::clock::{Clock, readable};
use leeway_dashboards::demo_pages::Hook;
use leeway_dashboards::{Frame, overview};
use leeway_store::Store;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::metrics::Metrics;
use crate::receive::Intake;
use crate::report::Wanted;
use crate::tasks::Stop;

/// Open live streams at most; each asks the shared summary once a second.
const MAX_STREAMS: usize = 256;
/// A summary is computed once for all viewers of this while.
const FRESH: Duration = Duration::from_millis(900);
const TRIES: u16 = 50;

/// What every handler can ask.
#[derive(Debug, Clone)]
pub struct App(Arc<Inner>);

#[derive(Debug)]
pub struct Inner {
    pub store: Store,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    pub rules: Vec<Rule>,
    pub series_cap: u64,
    pub demo: Option<DemoReceivers>,
    /// The way in for telemetry by HTTP.
    pub intake: Option<Intake>,
    pub stop: Stop,
    pub wanted: Wanted,
    periods: kpis::Periods,
    reports: kpis::Reports,
    shadows: shadow::Shadows,
    summary: tokio::sync::Mutex<Option<(Instant, Arc<overview::Input>)>>,
    /// By tenant: the label with most values, and when it was counted.
    spread: tokio::sync::Mutex<pages::Spread>,
    streams: Arc<Semaphore>,
}

/// The demo's mailbox and webhook log.
#[derive(Debug)]
pub struct DemoReceivers {
    pub mailbox: PathBuf,
    pub key: SigningKey,
    pub hooks: Mutex<Vec<Hook>>,
}

/// What comes in beside pages.
#[derive(Debug, Default)]
pub struct Sides {
    pub demo: Option<DemoReceivers>,
    pub intake: Option<Intake>,
}

/// What the web server is made from.
#[derive(Debug)]
pub struct Parts {
    pub store: Store,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    pub rules: Vec<Rule>,
    pub series_cap: u64,
    pub wanted: Wanted,
    pub demo: Option<DemoReceivers>,
    pub intake: Option<Intake>,
    pub stop: Stop,
}

impl App {
    pub fn new(parts: Parts) -> Self {
        let Parts { store, clock, metrics, rules, series_cap, wanted, demo, intake, stop } = parts;
        let (summary, streams) = (tokio::sync::Mutex::default(), Arc::new(Semaphore::new(MAX_STREAMS)));
        let (periods, reports, shadows) =
            (kpis::Periods::default(), kpis::Reports::default(), shadow::Shadows::default());
        Self(Arc::new(Inner {
            store,
            clock,
            metrics,
            rules,
            series_cap,
            demo,
            intake,
            stop,
            wanted,
            periods,
            reports,
            shadows,
            summary,
            spread: tokio::sync::Mutex::default(),
            streams,
        }))
    }

    fn frame(&self, here: &'static str) -> Frame {
        Frame { here, demo: self.0.demo.is_some(), now: readable(self.0.clock.now()) }
    }
}

pub fn router(app: App) -> Router {
    let demo = app.0.demo.is_some();
    let mut router = Router::new()
        .route("/", get(pages::overview))
        .route("/overview.csv", get(pages::overview_csv))
        .route("/kpis", get(kpis::page))
        .route("/kpis.csv", get(kpis::csv))
        .route("/api/v1/kpis", get(kpis::api))
        .route("/shadow", get(shadow::page))
        .route("/api/v1/shadow", get(shadow::api))
        .route("/reports", get(kpis::reports))
        .route("/reports/{week}", get(kpis::report))
        .route("/alerts", get(pages::alerts))
        .route("/alerts/{fingerprint}", get(pages::alert))
        .route("/live/overview", get(pages::live_overview))
        .route("/live/tables", get(pages::live_tables))
        .route("/live/alerts", get(pages::live_alerts))
        .route("/live/alerts/{fingerprint}", get(pages::live_alert))
        .route("/api/v1/overview", get(pages::api_overview))
        .route("/api/v1/alerts", get(pages::api_alerts))
        .route("/api/v1/inventory", get(records::running))
        .route("/api/v1/maturity", get(maturity::api))
        .route("/api/v1/{kind}", get(records::kept))
        .route("/metrics", get(pages::metrics))
        .route("/healthz", get(pages::healthz))
        .route("/readyz", get(pages::readyz))
        .route("/assets/{name}", get(pages::asset));
    if demo {
        router = router
            .route("/demo/mailbox", get(demo::mailbox))
            .route("/demo/mailbox/{id}", get(demo::mail))
            .route("/demo/webhooks", get(demo::webhooks))
            .route("/demo/hook", post(demo::hook));
    }
    let intake = Router::new()
        .route("/v1/traces", post(intake::traces))
        .route("/v1/logs", post(intake::logs))
        .route("/v1/events", post(intake::events))
        .route("/v1/feedback", post(intake::feedback))
        .route("/v1/changes", post(intake::changes));
    router
        .fallback(pages::not_found)
        .layer(axum::extract::DefaultBodyLimit::max(1 << 20))
        .merge(intake)
        .layer(axum::middleware::from_fn(response::protect))
        .with_state(app)
}

/// Binds `address`, or with `search` the next free port after it.
pub async fn bind(address: SocketAddr, search: bool) -> Result<TcpListener> {
    let mut candidate = address;
    for step in 0..if search { TRIES } else { 1 } {
        candidate.set_port(address.port().saturating_add(step));
        match TcpListener::bind(candidate).await {
            Ok(listener) => return Ok(listener),
            Err(error) if !search => {
                return Err(error).with_context(|| format!("listen on web.bind = {address}: is the port in use?"));
            }
            Err(_) => {}
        }
    }
    anyhow::bail!("no free port from {address} to {candidate}")
}

pub async fn serve(listener: TcpListener, app: App, mut stop: Stop) -> Result<()> {
    let served = axum::serve(listener, router(app)).with_graceful_shutdown(async move { stop.wait().await });
    served.await.context("serve HTTP")
}
