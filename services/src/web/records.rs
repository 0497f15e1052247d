//! What is kept as rows, and what runs: `/api/v1/changes` and its kind, `/api/v1/inventory`.

use axum::Json;
use axum::extract::{Path, Query, State};
use leeway_core::clock::{Micros, parse_rfc3339, rfc3339};
use leeway_core::event::RecordKind;
use leeway_store::Which;
use serde_json::{Value, json};

use super::App;
use super::response::HttpError;
use crate::inventory;

/// Rows of one answer at most, and where nobody asks for a number.
const MOST: i64 = 1000;
const SOME: i64 = 100;

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    #[serde(default)]
    tenant: String,
    #[serde(default)]
    app: String,
    /// RFC 3339; whatever is left out is open.
    #[serde(default)]
    from: String,
    #[serde(default)]
    to: String,
    limit: Option<i64>,
}

pub fn time(text: &str, name: &'static str, open: Micros) -> Result<Micros, HttpError> {
    match (text, parse_rfc3339(text)) {
        ("", _) => Ok(open),
        (_, Some(time)) => Ok(time),
        _ => Err(HttpError::Asked(format!("{name} is RFC 3339, such as 2026-11-21T09:00:00Z, not `{text}`"))),
    }
}

/// Rows of a kind, newest first; `more` says that the limit cut them.
pub async fn kept(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Json<Value>, HttpError> {
    let kind = RecordKind::ALL.into_iter().find(|kind| plural(*kind) == name);
    let kind = kind.ok_or(HttpError::NotFound(
        "/api/v1 has changes, evaluations, experiments, feedback, figures, incidents, inventory, kpis, maturity, overview and alerts",
    ))?;
    let limit = asked.limit.unwrap_or(SOME);
    if !(1..=MOST).contains(&limit) {
        return Err(HttpError::Asked(format!("limit is 1 to {MOST}")));
    }
    let which = Which {
        tenant: &asked.tenant,
        app: &asked.app,
        from: time(&asked.from, "from", i64::MIN)?,
        to: time(&asked.to, "to", i64::MAX)?,
        limit: limit + 1,
    };
    let mut rows = app.0.store.kept(kind, which).await?;
    let more = rows.len() as i64 > limit;
    rows.truncate(limit as usize);
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "tenant": row.tenant, "id": row.id, "time": rfc3339(row.time), "app": row.app, "name": row.name,
                "body": serde_json::from_str::<Value>(&row.body).unwrap_or_default(),
            })
        })
        .collect();
    Ok(Json(json!({ name: rows, "more": more })))
}

fn plural(kind: RecordKind) -> String {
    match kind {
        RecordKind::Feedback => kind.name().to_owned(),
        _ => format!("{}s", kind.name()),
    }
}

/// What runs now, by app.
pub async fn running(State(app): State<App>, Query(asked): Query<Asked>) -> Result<Json<Value>, HttpError> {
    let since = app.0.clock.now() - inventory::SHARE_OF;
    let mut items = inventory::read(&app.0.store, since).await?;
    items.retain(|item| asked.tenant.is_empty() || item.tenant == asked.tenant);
    items.retain(|item| asked.app.is_empty() || item.app == asked.app);
    Ok(Json(json!({ "inventory": items.iter().map(inventory::as_json).collect::<Vec<_>>() })))
}
