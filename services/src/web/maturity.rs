//! `/api/v1/maturity`: of each window, how many labels are in, of how many calls, and how many are to come.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Query, State};
use leeway_core::clock::{DAY, HOUR, Micros, SECOND, rfc3339};
use leeway_core::labels::Level;
use leeway_detectors::maturity::{BOUNDS, Cohort, LEAST, Share, at, curve};
use leeway_store::{DelayQuestion, headline};
use serde_json::{Value, json};

use super::App;
use super::records::time;
use super::response::HttpError;

/// Windows of one answer at most.
const MOST: Micros = 800;

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    tenant: String,
    #[serde(default)]
    app: String,
    /// The label, such as success.
    name: String,
    /// RFC 3339; without them the last 30 days.
    #[serde(default)]
    from: String,
    #[serde(default)]
    to: String,
    /// hour or day.
    #[serde(default)]
    window: String,
}

pub async fn api(State(app): State<App>, Query(asked): Query<Asked>) -> Result<Json<Value>, HttpError> {
    let width = match asked.window.as_str() {
        "" | "day" => DAY,
        "hour" => HOUR,
        other => return Err(HttpError::Asked(format!("window is hour or day, not `{other}`"))),
    };
    let now = app.0.clock.now();
    let down = |at: Micros| at.div_euclid(width) * width;
    let to = down(time(&asked.to, "to", now)?.min(now) + width - 1);
    let from = down(time(&asked.from, "from", to - 30 * DAY)?);
    if from >= to || (to - from) / width > MOST {
        return Err(HttpError::Asked(format!("from must lie before to, by {MOST} windows at most")));
    }
    let question = DelayQuestion { tenant: &asked.tenant, app: &asked.app, name: &asked.name, from, to, width };
    let store = &app.0.store;
    let mut windows: BTreeMap<Micros, (u64, Cohort)> = BTreeMap::new();
    let level = if asked.app.is_empty() { Level::Tenant } else { Level::App };
    for series in store.hours(level, Some(&asked.tenant), from, to).await? {
        let wanted = asked.app.is_empty() || series.labels.get("app") == Some(&asked.app);
        if wanted && headline(&series.labels) {
            windows.entry(down(series.window_start)).or_default().0 += series.pane.calls();
        }
    }
    for (cell, class, n) in store.label_delays(&question, &BOUNDS).await? {
        windows.entry(cell).or_default().1.labels[class] += n;
    }
    for (start, (_, cohort)) in &mut windows {
        cohort.age = now - (start + width);
    }
    let cohorts: Vec<Cohort> = windows.values().map(|(_, cohort)| cohort.clone()).collect();
    let curve = curve(&cohorts);
    let windows: Vec<Value> =
        windows.iter().map(|(start, (calls, cohort))| window(*start, *calls, cohort, curve.as_deref())).collect();
    Ok(Json(json!({
        "tenant": asked.tenant, "app": asked.app, "name": asked.name, "window_seconds": width / SECOND,
        "curve": curve.as_ref().map(|curve| curve.iter().map(point).collect::<Vec<_>>()),
        "too_little": curve.is_none().then(|| format!("fewer than {LEAST} labels came within a time that a window is old enough to show")),
        "windows": windows,
    })))
}

fn point(share: &Share) -> Value {
    json!({
        "within_seconds": share.within / SECOND, "share": share.share, "low": share.low, "high": share.high, "n": share.n,
    })
}

/// `mature` is the share of the labels to come that is in, at least; null where nobody can tell.
fn window(start: Micros, calls: u64, cohort: &Cohort, curve: Option<&[Share]>) -> Value {
    let labels: u64 = cohort.labels.iter().sum();
    let share = curve.and_then(|curve| at(curve, cohort.age)).filter(|share| share.share > 0.0);
    json!({
        "start": rfc3339(start), "calls": calls, "labels": labels,
        "labelled": (calls > 0).then(|| labels as f64 / calls as f64),
        "mature": share.map(|share| json!({"share": share.share, "low": share.low, "high": share.high})),
    })
}
