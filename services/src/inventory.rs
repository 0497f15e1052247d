//! What runs now, by app: models, releases and prompt versions, and the changes that nobody registered.
//!
//! A value that an app's traffic shows for the first time, some while after the app itself, is a change. Where no change
//! event names it, a derived one marked `unregistered` stands in for it, until somebody registers it.

use std::collections::BTreeMap;

use leeway_core::clock::{DAY, HOUR, MINUTE, Micros};
use leeway_core::event::{Record, RecordKind};
use leeway_store::{Kept, Running, Store, StoreError};
use serde_json::{Value as Json, json};

/// Labels that are watched, and the type of their changes.
const WATCHED: [(&str, &str); 4] =
    [("model", "model"), ("release", "release"), ("prompt_version", "prompt"), ("index_version", "retrieval_index")];
/// What an app shows in its first minutes is no change.
const GRACE: Micros = 10 * MINUTE;
/// What was first seen longer before the newest is no news: of what is older the first series may be forgotten.
const RECENT: Micros = 35 * DAY;
/// A label of an app with more values is no version, and has no changes.
const MAX_VALUES: usize = 200;
/// Shares are of the calls of this while.
pub const SHARE_OF: Micros = HOUR;

/// One value that an app runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    pub tenant: String,
    pub app: String,
    /// model, release or prompt.
    pub kind: &'static str,
    pub value: String,
    pub first_seen_at: Micros,
    /// Day number.
    pub last_day: i64,
    /// Calls of the last hour.
    pub calls: u64,
    /// Of the app's calls of the last hour; `None`: there were none.
    pub share: Option<f64>,
}

/// The values of each app of every tenant, with their calls since a time. A tenant at a time: a million series need not
/// be in memory at once.
pub async fn read(store: &Store, since: Micros) -> Result<Vec<Item>, StoreError> {
    let mut all = Vec::new();
    for tenant in store.with_series().await? {
        all.extend(items(&store.running(&tenant, since).await?));
    }
    Ok(all)
}

/// The values of each app, the oldest first.
pub fn items(running: &[Running]) -> Vec<Item> {
    let mut items: BTreeMap<(&str, &str, &'static str, &str), Item> = BTreeMap::new();
    let mut calls: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for series in running {
        let app = series.labels.get("app").unwrap_or_default();
        *calls.entry((&series.tenant, app)).or_default() += series.calls;
        for (label, kind) in WATCHED {
            let Some(value) = series.labels.get(label).filter(|value| !value.is_empty()) else { continue };
            let item = items.entry((&series.tenant, app, kind, value)).or_insert_with(|| Item {
                tenant: series.tenant.clone(),
                app: app.to_owned(),
                kind,
                value: value.to_owned(),
                first_seen_at: series.first_seen_at,
                last_day: series.last_day,
                calls: 0,
                share: None,
            });
            item.first_seen_at = item.first_seen_at.min(series.first_seen_at);
            item.last_day = item.last_day.max(series.last_day);
            item.calls += series.calls;
        }
    }
    let mut items: Vec<Item> = items.into_values().collect();
    for item in &mut items {
        let all = calls.get(&(item.tenant.as_str(), item.app.as_str())).copied().unwrap_or(0);
        item.share = (all > 0).then(|| item.calls as f64 / all as f64);
    }
    let key = |item: &Item| (item.tenant.clone(), item.app.clone(), item.kind, item.first_seen_at, item.value.clone());
    items.sort_by_key(key);
    items
}

pub fn as_json(item: &Item) -> Json {
    json!({
        "tenant": item.tenant, "app": item.app, "kind": item.kind, "value": item.value,
        "first_seen_at": leeway_core::clock::rfc3339(item.first_seen_at),
        "last_seen_on": leeway_core::clock::rfc3339(item.last_day * DAY).get(..10),
        "calls_last_hour": item.calls, "share_last_hour": item.share,
    })
}

/// Derived changes that are due, and (tenant, id) of those that somebody registered since.
pub fn unregistered(items: &[Item], changes: &[Kept]) -> (Vec<Record>, Vec<(String, String)>) {
    let (mut new, mut gone) = (Vec::new(), Vec::new());
    let newest = items.iter().map(|item| item.first_seen_at).max().unwrap_or_default();
    let mut began: BTreeMap<(&str, &str), Micros> = BTreeMap::new();
    for item in items {
        let began = began.entry((&item.tenant, &item.app)).or_insert(item.first_seen_at);
        *began = (*began).min(item.first_seen_at);
    }
    let told: Vec<(&Kept, Json)> =
        changes.iter().map(|change| (change, serde_json::from_str(&change.body).unwrap_or_default())).collect();
    for group in items.chunk_by(|a, b| (&a.tenant, &a.app, a.kind) == (&b.tenant, &b.app, b.kind)) {
        if group.len() > MAX_VALUES {
            continue;
        }
        for (place, item) in group.iter().enumerate() {
            let id = format!("unregistered|{}|{}|{}", item.app, item.kind, item.value);
            let of_item = |change: &&(&Kept, Json)| {
                let (change, body) = change;
                change.tenant == item.tenant
                    && (change.app.is_empty() || change.app == item.app)
                    && change.name == item.kind
                    && body["to"] == item.value.as_str()
            };
            let derived = told.iter().any(|(change, _)| change.tenant == item.tenant && change.id == id);
            let registered = told.iter().filter(of_item).any(|(change, _)| change.id != id);
            if registered && derived {
                gone.push((item.tenant.clone(), id));
            } else if !registered
                && !derived
                && item.first_seen_at >= newest - RECENT
                && item.first_seen_at > began[&(item.tenant.as_str(), item.app.as_str())] + GRACE
            {
                new.push(change(item, id, place.checked_sub(1).map(|before| group[before].value.as_str())));
            }
        }
    }
    (new, gone)
}

fn change(item: &Item, id: String, from: Option<&str>) -> Record {
    let body = json!({"type": item.kind, "from": from, "to": item.value, "unregistered": true});
    Record {
        kind: RecordKind::Change,
        tenant: item.tenant.clone(),
        id,
        time: item.first_seen_at,
        app: item.app.clone(),
        name: item.kind.to_owned(),
        body: body.to_string(),
        label: None,
    }
}

/// Derives what is due since the last look; `seen` is what that look saw. Registered changes may come at any time, so a
/// look without new series still checks every `recheck`th time.
pub async fn derive(store: &Store, seen: &mut (Micros, u32)) -> Result<(), StoreError> {
    const RECHECK: u32 = 12;
    let newest = store.newest_series().await?;
    seen.1 += 1;
    if newest == seen.0 && seen.1 < RECHECK {
        return Ok(());
    }
    let (new, gone) =
        unregistered(&read(store, i64::MAX).await?, &store.changes_of(WATCHED.map(|(_, kind)| kind)).await?);
    store.derive_changes(&new, &gone).await?;
    *seen = (newest, 0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use leeway_core::labels::{Labels, Level};

    fn series(app: &str, model: &str, release: &str, first: Micros, calls: u64) -> Running {
        let pairs = [("tenant", "acme"), ("app", app), ("model", model), ("release", release)];
        let values = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let labels = Labels { level: Level::Leaf, values };
        Running { tenant: "acme".into(), labels, first_seen_at: first, first_day: 0, last_day: 1, calls }
    }

    fn told(id: &str, app: &str, name: &str, body: &str) -> Kept {
        let text = str::to_owned;
        Kept { tenant: "acme".into(), id: text(id), time: 0, app: text(app), name: text(name), body: text(body) }
    }

    #[test]
    fn a_value_that_comes_later_is_a_change_until_somebody_registers_it() {
        let running = [
            series("shop", "gpt-4o", "1", 0, 30),
            series("shop", "gpt-4o-mini", "1", 5 * MINUTE, 10),
            series("shop", "gpt-4o", "2", 2 * HOUR, 20),
            series("shop", "gpt-5", "2", 3 * HOUR, 0),
            // A new app's first values are none.
            series("new", "gpt-5", "9", 3 * HOUR, 0),
        ];
        let items = items(&running);
        let shares: Vec<_> =
            items.iter().filter(|item| item.app == "shop").map(|i| (i.value.as_str(), i.share)).collect();
        assert_eq!(
            shares,
            [
                ("gpt-4o", Some(50.0 / 60.0)),
                ("gpt-4o-mini", Some(10.0 / 60.0)),
                ("gpt-5", Some(0.0)),
                ("1", Some(40.0 / 60.0)),
                ("2", Some(20.0 / 60.0)),
            ]
        );
        assert_eq!(items.iter().find(|item| item.app == "new").unwrap().share, None);
        let mut indexed = series("rag", "gpt-5", "1", 0, 1);
        indexed.labels.values.insert("index_version".into(), "docs-7".into());
        let kinds: Vec<_> = super::items(&[indexed]).into_iter().map(|item| (item.kind, item.value)).collect();
        assert!(kinds.contains(&("retrieval_index", "docs-7".into())), "{kinds:?}");
        let (new, gone) = unregistered(&items, &[]);
        let said: Vec<(&str, &str, &str)> =
            new.iter().map(|change| (change.app.as_str(), change.name.as_str(), change.body.as_str())).collect();
        assert_eq!(
            said,
            [
                ("shop", "model", r#"{"from":"gpt-4o-mini","to":"gpt-5","type":"model","unregistered":true}"#),
                ("shop", "release", r#"{"from":"1","to":"2","type":"release","unregistered":true}"#),
            ]
        );
        assert!(gone.is_empty());
        let mut changes: Vec<Kept> = new.iter().map(|c| told(&c.id, &c.app, &c.name, &c.body)).collect();
        assert_eq!(unregistered(&items, &changes), (Vec::new(), Vec::new()), "derived once");
        changes.push(told("r-2", "", "release", r#"{"type":"release","to":"2"}"#));
        let (new, gone) = unregistered(&items, &changes);
        assert_eq!((new.len(), gone), (0, vec![("acme".to_owned(), "unregistered|shop|release|2".to_owned())]));
    }

    #[test]
    fn a_label_that_is_no_version_has_no_changes() {
        let running: Vec<Running> = (0..300).map(|i| series("shop", "m", &format!("build-{i}"), i * HOUR, 1)).collect();
        assert!(unregistered(&items(&running), &[]).0.is_empty());
    }
}
