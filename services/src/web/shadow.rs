//! Calls that no user saw, beside those that users saw, over HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Query, State};
use axum::response::Html;
use leeway_core::clock::{DAY, HOUR, Micros, minute_of};
use leeway_core::event::HEADLINE_OPERATIONS;
use leeway_core::labels::Level;
use leeway_core::pane::Pane;
use leeway_dashboards::shadow as view;
use leeway_store::headline;

use super::App;
use super::kpis::{APPS, Asked, window};
use super::response::{HttpError, rendered};

/// An app's period is read once for all viewers of this while.
const FRESH: Duration = Duration::from_secs(20);
/// Models that are shown, most calls first.
const MODELS: usize = 20;

pub type Shadows = tokio::sync::Mutex<Option<((String, String, Micros), Instant, Arc<view::Input>)>>;

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
        if let Some((of, at, input)) = &*known
            && *of == key
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(input));
        }
        let input = Arc::new(self.read_shadow(&key.0, &key.1, key.2).await?);
        *known = Some((key, Instant::now(), Arc::clone(&input)));
        Ok(input)
    }

    async fn read_shadow(&self, tenant: &str, app: &str, window: Micros) -> Result<view::Input, HttpError> {
        let store = &self.0.store;
        let scopes = store.unserved_apps(APPS).await?;
        // Without a wish the first.
        let first = scopes.iter().find(|(of, _)| app.is_empty() && (tenant.is_empty() || of == tenant));
        let (tenant, app) = first.map_or((tenant, app), |(tenant, app)| (tenant, app));
        let now = minute_of(self.0.clock.now());
        let from = if window >= DAY { (now - window).div_euclid(HOUR) * HOUR } else { now - window };
        let (mut served, mut models) = (Pane::default(), BTreeMap::<String, Pane>::new());
        let mut start = from;
        while start < now && !tenant.is_empty() {
            let end = (start + DAY).min(now);
            for series in store.hours(Level::Model, Some(tenant), start, end).await? {
                let label = |name: &str| series.labels.get(name).unwrap_or_default();
                if label("app") != app || !HEADLINE_OPERATIONS.contains(&label("operation")) {
                    continue;
                }
                let side = if headline(&series.labels) {
                    &mut served
                } else {
                    models.entry(label("model").to_owned()).or_default()
                };
                side.merge(&series.pane);
            }
            start = end;
        }
        let mut models: Vec<(String, Pane)> = models.into_iter().collect();
        models.sort_by_key(|(_, pane)| std::cmp::Reverse(pane.calls()));
        let more = models.len().saturating_sub(MODELS);
        models.truncate(MODELS);
        let notes = store.imported(from, now).await?;
        Ok(view::Input {
            from,
            now,
            window,
            tenant: tenant.to_owned(),
            app: app.to_owned(),
            scopes: scopes.clone(),
            served,
            models,
            more,
            imported: (!notes.is_empty()).then(|| notes.join(" ")),
        })
    }
}
