//! Calls that no user saw, beside those that users saw, over HTTP.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Query, State};
use axum::response::Html;
use leeway_core::clock::{DAY, Micros, minute_of};
use leeway_core::event::HEADLINE_OPERATIONS;
use leeway_core::labels::Level;
use leeway_core::pane::Pane;
use leeway_dashboards::shadow as view;
use leeway_store::headline;

use super::App;
use super::kpis::{APPS, Asked, REMEMBERED, window};
use super::response::{HttpError, rendered};
use crate::periods;

/// An app's period is read once for all viewers of this while.
const FRESH: Duration = Duration::from_secs(20);
/// Models that are shown, most calls first.
const MODELS: usize = 20;

/// Tenant, app and window.
type Key = (String, String, Micros);
pub type Shadows = tokio::sync::Mutex<HashMap<Key, (Instant, Arc<view::Input>)>>;

pub async fn page(State(app): State<App>, Query(asked): Query<Asked>) -> Result<Html<String>, HttpError> {
    let input = app.shadow(asked).await?;
    rendered(view::page(&app.frame("shadow"), &input))
}

pub async fn api(State(app): State<App>, Query(asked): Query<Asked>) -> Result<Json<serde_json::Value>, HttpError> {
    Ok(Json(view::json(&*app.shadow(asked).await?)))
}

impl App {
    /// One reader at a time.
    async fn shadow(&self, asked: Asked) -> Result<Arc<view::Input>, HttpError> {
        let key = (asked.tenant.clone(), asked.app.clone(), window(&asked)?);
        let mut known = self.0.shadows.lock().await;
        if let Some((_, input)) = known.get(&key).filter(|(at, _)| at.elapsed() < FRESH) {
            return Ok(Arc::clone(input));
        }
        let input = Arc::new(self.read_shadow(&key.0, &key.1, key.2).await?);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(key, (Instant::now(), Arc::clone(&input)));
        Ok(input)
    }

    async fn read_shadow(&self, tenant: &str, app: &str, window: Micros) -> Result<view::Input, HttpError> {
        let store = &self.0.store;
        let scopes = store.unserved_apps(APPS).await?;
        // Without a wish the first.
        let first = scopes.iter().find(|(of, _)| app.is_empty() && (tenant.is_empty() || of == tenant));
        let (tenant, app) = first.map_or((tenant, app), |(tenant, app)| (tenant, app));
        let now = minute_of(self.0.clock.now());
        let from = periods::start(now, window);
        let (mut served, mut tried) = (BTreeMap::<String, Pane>::new(), BTreeMap::<view::Tried, Pane>::new());
        let mut start = from;
        while start < now && !tenant.is_empty() {
            let end = (start + DAY).min(now);
            for series in store.hours(Level::Model, Some(tenant), start, end).await? {
                let label = |name: &str| series.labels.get(name).unwrap_or_default();
                if label("app") != app || !HEADLINE_OPERATIONS.contains(&label("operation")) {
                    continue;
                }
                let operation = label("operation").to_owned();
                let side = if headline(&series.labels) {
                    served.entry(operation).or_default()
                } else {
                    let beyond_cap = series.labels.get("overflow").is_some();
                    tried.entry(view::Tried { operation, model: label("model").to_owned(), beyond_cap }).or_default()
                };
                side.merge(&series.pane);
            }
            start = end;
        }
        let mut tried: Vec<(view::Tried, Pane)> = tried.into_iter().collect();
        tried.sort_by_key(|(_, pane)| std::cmp::Reverse(pane.calls()));
        let more = tried.len().saturating_sub(MODELS);
        tried.truncate(MODELS);
        let notes = store.imported(from, now).await?;
        Ok(view::Input {
            from,
            now,
            window,
            tenant: tenant.to_owned(),
            app: app.to_owned(),
            more_apps: scopes.len() >= APPS as usize,
            scopes: scopes.clone(),
            served,
            tried,
            more,
            imported: (!notes.is_empty()).then(|| notes.join(" ")),
        })
    }
}
