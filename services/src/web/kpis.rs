//! Key figures and reports over HTTP.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{Html, IntoResponse};
use leeway_core::clock::{DAY, Micros, minute_of, week, week_of};
use leeway_core::pane::Pane;
use leeway_dashboards::report::Report;
use leeway_dashboards::{kpis as view, report as report_view};
use serde::Deserialize;

use super::App;
use super::response::{HttpError, rendered};
use crate::periods::{self, Scope};
use crate::report;

/// A period is read once for all viewers of this while.
const FRESH: Duration = Duration::from_secs(20);
/// Periods that are remembered.
pub const REMEMBERED: usize = 64;
pub const APPS: i64 = 200;
/// Weeks that the list of reports offers.
const WEEKS: i64 = 8;

pub type Reports = tokio::sync::Mutex<std::collections::HashMap<String, (Instant, Arc<Report>)>>;
pub type Key = (Scope, Micros);
pub type Periods = tokio::sync::Mutex<std::collections::HashMap<Key, (Instant, Arc<view::Input>)>>;

#[derive(Debug, Deserialize)]
pub struct Asked {
    #[serde(default)]
    pub window: String,
    #[serde(default)]
    pub tenant: String,
    #[serde(default)]
    pub app: String,
}

/// The window that was asked for.
pub fn window(asked: &Asked) -> Result<Micros, HttpError> {
    let id = if asked.window.is_empty() { "24h" } else { &asked.window };
    let window = view::WINDOWS.iter().find(|(known, ..)| *known == id);
    let (.., window) = window.ok_or(HttpError::NotFound("`window` is 1h, 24h or 7d"))?;
    if asked.tenant.is_empty() && !asked.app.is_empty() {
        return Err(HttpError::NotFound("`app` needs its `tenant`: two tenants may have apps of one name"));
    }
    Ok(*window)
}

pub async fn page(State(app): State<App>, Query(asked): Query<Asked>) -> Result<Html<String>, HttpError> {
    let input = app.period(asked).await?;
    rendered(view::page(&app.frame("kpis"), &input))
}

pub async fn csv(State(app): State<App>, Query(asked): Query<Asked>) -> Result<impl IntoResponse, HttpError> {
    let csv = view::csv(&*app.period(asked).await?);
    let file = "attachment; filename=\"leeway-kpis.csv\"";
    Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8"), (header::CONTENT_DISPOSITION, file)], csv))
}

pub async fn api(State(app): State<App>, Query(asked): Query<Asked>) -> Result<Json<serde_json::Value>, HttpError> {
    Ok(Json(view::json(&*app.period(asked).await?)))
}

pub async fn reports(State(app): State<App>) -> Result<Html<String>, HttpError> {
    let now = app.0.clock.now();
    let weeks: Vec<String> = (0..WEEKS).map(|back| week_of(now - back * 7 * DAY)).collect();
    rendered(report_view::list(&app.frame("reports"), &weeks))
}

/// `/reports/2026-W46`, with `.json` or `.md` as data.
pub async fn report(State(app): State<App>, Path(name): Path<String>) -> Result<axum::response::Response, HttpError> {
    let (name, format) = name.rsplit_once('.').unwrap_or((&name, "html"));
    if week(name).is_none() {
        return Err(HttpError::NotFound("a report is named by its ISO week, such as /reports/2026-W46"));
    }
    let report = app.week(name).await?;
    Ok(match format {
        "json" => Json(serde_json::to_value(&*report).map_err(anyhow::Error::from)?).into_response(),
        "md" => {
            ([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], report_view::markdown(&report)).into_response()
        }
        "html" => rendered(report_view::page(&app.frame("reports"), &report))?.into_response(),
        _ => return Err(HttpError::NotFound("a report has the formats .json and .md beside its page")),
    })
}

impl App {
    /// One reader at a time: a report reads weeks of panes.
    async fn week(&self, name: &str) -> Result<Arc<Report>, HttpError> {
        let mut reports = self.0.reports.lock().await;
        if let Some((_, report)) = reports.get(name).filter(|(at, _)| at.elapsed() < FRESH) {
            return Ok(Arc::clone(report));
        }
        let made = report::make(&self.0.store, name, self.0.clock.now(), &self.0.wanted).await;
        let report = Arc::new(made.map_err(HttpError::Inner)?);
        if reports.len() >= WEEKS as usize {
            reports.clear();
        }
        reports.insert(name.to_owned(), (Instant::now(), Arc::clone(&report)));
        Ok(report)
    }

    async fn period(&self, asked: Asked) -> Result<Arc<view::Input>, HttpError> {
        let window = window(&asked)?;
        let key = (Scope { tenant: asked.tenant, app: asked.app }, window);
        let mut periods = self.0.periods.lock().await;
        if let Some((_, input)) = periods.get(&key).filter(|(at, _)| at.elapsed() < FRESH) {
            return Ok(Arc::clone(input));
        }
        let input = Arc::new(self.read_period(&key.0, window).await?);
        if periods.len() >= REMEMBERED {
            periods.clear();
        }
        periods.insert(key, (Instant::now(), Arc::clone(&input)));
        Ok(input)
    }

    async fn read_period(&self, scope: &Scope, window: Micros) -> Result<view::Input, HttpError> {
        let store = &self.0.store;
        let now = minute_of(self.0.clock.now());
        let from = periods::start(now, window);
        let parts = periods::parts(store, scope, from, now, periods::step(window)).await?;
        let before: Pane = periods::whole(store, scope, from - window, from).await?;
        let counts = store.feedback_counts().await?;
        let count = |state: &str| counts.get(state).copied().unwrap_or(0);
        let notes = store.imported(from - window, now).await?;
        Ok(view::Input {
            now,
            from,
            window,
            tenant: scope.tenant.clone(),
            app: scope.app.clone(),
            scopes: store.apps(APPS).await?,
            parts,
            before,
            targets: self.0.wanted.targets.clone(),
            waiting: count("pending"),
            orphans: count("orphan"),
            imported: (!notes.is_empty()).then(|| notes.join(" ")),
        })
    }
}
