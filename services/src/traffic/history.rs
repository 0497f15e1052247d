//! The demo's past: hourly panes of the weeks before, brought in through the import path and marked as simulated.
//!
//! A few calls of each hour are drawn and their pane is doubled until it holds about as many as the live traffic
//! would, so totals fit and shapes are the figures' own. Intervals over it are too narrow; the mark says so.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use leeway_core::clock::{DAY, HOUR, Micros, day_of, week, week_of};
use leeway_core::event::Status;
use leeway_core::labels::{Labels, Level};
use leeway_core::pane::{LabelSum, Numbers, Pane, UNIT_WEIGHT};
use leeway_core::price::PriceBook;
use leeway_core::scan::{Entity, Hits, Origin, Scanned};
use leeway_store::{PaneRow, SeriesRef, Store};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::figures::Figures;
use super::{Arrival, ENVIRONMENT, ERROR_SHARE, Incident, Outcomes, RELEASE, simulate};
use crate::flush::row;

/// Whole weeks before the one that the demo plays in.
const WEEKS: i64 = 2;
/// Mean drawn calls a second; each stands for 2^DOUBLED.
const DENSITY: f64 = 0.05;
const DOUBLED: u32 = 8;
pub const NOTE: &str = "Simulated history: hourly panes of the weeks before were made up from the figures and imported; each drawn call stands for many, so intervals over them are too narrow.";

/// Brings in the weeks before `now`, up to the last whole hour.
pub async fn import(store: &Store, seed: u64, now: Micros) -> Result<()> {
    let (start, _) = week(&week_of(now - WEEKS * 7 * DAY)).context("find the week")?;
    let end = now.div_euclid(HOUR) * HOUR;
    let panes = tokio::task::spawn_blocking(move || panes(seed, start, end)).await.context("make the history")??;
    let (mut rows, mut series): (Vec<PaneRow>, BTreeMap<([u8; 16], i64), SeriesRef>) = (Vec::new(), BTreeMap::new());
    for ((labels, hour), pane) in &panes {
        let (id, day) = (labels.id(), day_of(*hour));
        series.entry((id, day)).or_insert_with(|| SeriesRef { id, day, labels: labels.clone() });
        rows.push(row(labels.tenant(), id, *hour, pane));
    }
    let series: Vec<SeriesRef> = series.into_values().collect();
    store.import("demo-history", NOTE, &series, &rows, now).await.context("import the history")?;
    Ok(())
}

fn panes(seed: u64, start: Micros, end: Micros) -> Result<BTreeMap<(Labels, Micros), Pane>> {
    let prices = PriceBook::built_in().context("read the built-in price book")?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x415);
    let mut panes: BTreeMap<(Labels, Micros), Pane> = BTreeMap::new();
    let arrivals = Figures::load()?.arrivals(seed, DENSITY).take_while(|arrival| start + arrival.at < end);
    for arrival in arrivals {
        let hour = (start + arrival.at).div_euclid(HOUR) * HOUR;
        let last_week = end - hour < 14 * DAY && hour >= end - end.rem_euclid(DAY) - 7 * DAY;
        let pane = call(arrival, start, &prices, last_week, &mut rng);
        for (labels, pane) in pane {
            panes.entry((labels, hour)).or_default().merge(&pane);
        }
    }
    for pane in panes.values_mut() {
        for _ in 0..DOUBLED {
            let same = pane.clone();
            pane.merge(&same);
        }
    }
    Ok(panes)
}

/// The panes of one drawn call: everything's, its tenant's, its app's and its model's.
fn call(
    arrival: Arrival,
    start: Micros,
    prices: &PriceBook,
    recent: bool,
    rng: &mut ChaCha8Rng,
) -> Vec<(Labels, Pane)> {
    let values = [
        ("operation", "chat"),
        ("served", "true"),
        ("tenant", &arrival.tenant),
        ("app", &arrival.app),
        ("route", &arrival.route),
        ("provider", arrival.provider),
        ("model", arrival.model),
        ("release", RELEASE),
        ("environment", ENVIRONMENT),
    ];
    let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let leaf = Labels { level: Level::Leaf, values };
    // One app answers at greater length from the last week on: something for the report to find.
    let longer = recent && arrival.app == "support" && arrival.tenant == "acme";
    let arrival = Arrival { output_tokens: arrival.output_tokens * if longer { 2 } else { 1 }, ..arrival };
    let outcomes = Outcomes { seed: 0, incident: Incident::None, errors: ERROR_SHARE };
    let call = simulate(arrival, start, 0, outcomes, rng);
    let (ok, a) = (call.status == "ok", &call.arrival);
    let tokens =
        leeway_core::event::Tokens { input: Some(a.input_tokens), output: Some(a.output_tokens), ..Default::default() };
    let mut hits = Hits::default();
    if rng.random::<f64>() < 0.05 {
        hits.add(Entity::Email, Origin::Echo, 1);
    }
    let scanned = ok.then(|| Box::new(Scanned { hits, refused: rng.random::<f64>() < 0.01 }));
    let grounded = i64::from(rng.random::<f64>() < 0.94) * UNIT_WEIGHT as i64;
    let numbers = Numbers {
        status: if ok { Status::Ok } else { Status::Error },
        billable: true,
        tokens,
        duration_us: Some((call.duration_ms * 1e3) as u64),
        ttft_us: ok.then_some((call.ttft_ms * 1e3) as u64),
        computed_cost: prices.cost(a.provider, a.model, call.time, &tokens),
        weight_micro: UNIT_WEIGHT,
        scores: if ok { vec![("grounded".into(), Some(grounded))] } else { Vec::new() },
        scanned,
        moderated: ok.then(Box::default),
        ..Numbers::default()
    };
    let mut pane = Pane::default();
    pane.add(&numbers);
    if ok && rng.random::<f64>() < 0.12 {
        let success = i64::from(rng.random::<f64>() < 0.86) * UNIT_WEIGHT as i64;
        pane.label("success", "user", LabelSum::of(Some(success), 1));
    }
    [Level::All, Level::Tenant, Level::App, Level::Model].map(|level| (leaf.at(level), pane.clone())).into()
}
