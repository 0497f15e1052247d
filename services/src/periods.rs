//! Panes of whole periods, for key figures and reports.

use std::collections::BTreeMap;

use leeway_core::clock::{DAY, HOUR, MINUTE, Micros};
use leeway_core::labels::Level;
use leeway_core::pane::Pane;
use leeway_store::{Store, StoreError, headline};

/// Tenant and app; both empty: everything.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Scope {
    pub tenant: String,
    pub app: String,
}

/// Headline panes of a scope in parts of `step`, every part of `[from, to)` there, empty or not.
pub async fn parts(
    store: &Store,
    scope: &Scope,
    from: Micros,
    to: Micros,
    step: Micros,
) -> Result<Vec<(Micros, Pane)>, StoreError> {
    let mut parts: BTreeMap<Micros, Pane> =
        (0..).map(|i| from + i * step).take_while(|at| *at < to).map(|at| (at, Pane::default())).collect();
    // Whole hours do, where no part ends inside one.
    let by_hour = from % HOUR == 0 && (step % HOUR == 0 || step >= to - from);
    // A day at a time: a week of minutes need not be in memory at once.
    let mut start = from;
    while start < to {
        let end = (start + DAY).min(to);
        for (minute, pane) in panes(store, scope, start..end, by_hour).await? {
            if let Some(part) = parts.get_mut(&(from + (minute - from).div_euclid(step) * step)) {
                part.merge(&pane);
            }
        }
        start = end;
    }
    Ok(parts.into_iter().collect())
}

async fn panes(
    store: &Store,
    scope: &Scope,
    of: std::ops::Range<Micros>,
    by_hour: bool,
) -> Result<Vec<(Micros, Pane)>, StoreError> {
    let (level, tenant) = match (scope.tenant.as_str(), scope.app.as_str()) {
        ("", _) => (Level::All, None),
        (tenant, "") => (Level::Tenant, Some(tenant)),
        (tenant, _) => (Level::App, Some(tenant)),
    };
    let series = if by_hour {
        store.hours(level, tenant, of.start, of.end).await?
    } else {
        store.panes(level, tenant, of.start, of.end).await?
    };
    let mine = |labels: &leeway_core::labels::Labels| {
        headline(labels) && (level != Level::App || labels.get("app") == Some(&scope.app))
    };
    Ok(series.into_iter().filter(|one| mine(&one.labels)).map(|one| (one.window_start, one.pane)).collect())
}

/// One pane of a whole period.
pub async fn whole(store: &Store, scope: &Scope, from: Micros, to: Micros) -> Result<Pane, StoreError> {
    let mut all = Pane::default();
    parts(store, scope, from, to, to - from).await?.iter().for_each(|(_, pane)| all.merge(pane));
    Ok(all)
}

/// Where a window that ends at a minute begins: long ones on the hour, so that rolled hours serve them.
pub fn start(now: Micros, window: Micros) -> Micros {
    let on = if window >= DAY { HOUR } else { MINUTE };
    (now - window).div_euclid(on) * on
}

/// The parts that a trend of a window has.
pub fn step(window: Micros) -> Micros {
    match window {
        window if window <= HOUR => 5 * MINUTE,
        window if window <= DAY => HOUR,
        _ => DAY,
    }
}
