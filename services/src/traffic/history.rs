//! The demo's past: hourly panes of the weeks before, brought in through the import path and marked as simulated.
//!
//! Fewer calls than the live traffic has, each drawn by itself: intervals over them are as wide as they should be.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use leeway_core::clock::{DAY, HOUR, Micros, day_of, week, week_of};
use leeway_core::event::Status;
use leeway_core::labels::{Labels, Level, SeriesId};
use leeway_core::pane::{LabelSum, Numbers, Pane, UNIT_WEIGHT};
use leeway_core::price::PriceBook;
use leeway_core::scan::{Entity, Hits, Origin, Scanned};
use leeway_store::{Import, PaneRow, SeriesRef, Store};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::figures::Figures;
use super::{Arrival, ERROR_SHARE, Incident, Outcomes, simulate};

/// Whole weeks before the one that the demo plays in.
const WEEKS: i64 = 2;
/// Mean calls a second.
const DENSITY: f64 = 0.15;
pub const NOTE: &str = "Simulated history: hourly panes of the weeks before were drawn from published figures, at a hundredth of the live traffic's rate, and imported.";

/// Brings in the weeks before `now`, up to the last whole hour.
pub async fn import(store: &Store, seed: u64, now: Micros) -> Result<()> {
    let (start, _) = week(&week_of(now - WEEKS * 7 * DAY)).context("find the week")?;
    let end = now.div_euclid(HOUR) * HOUR;
    let panes = tokio::task::spawn_blocking(move || panes(seed, start, end)).await.context("make the history")??;
    let mut rows: Vec<PaneRow> = Vec::new();
    let mut series: BTreeMap<(SeriesId, i64), SeriesRef> = BTreeMap::new();
    for ((labels, hour), pane) in &panes {
        let (id, day) = (labels.id(), day_of(*hour));
        series.entry((id, day)).or_insert_with(|| SeriesRef { id, day, labels: labels.clone() });
        rows.push(PaneRow::of(labels.tenant(), id, *hour, pane));
    }
    let series: Vec<SeriesRef> = series.into_values().collect();
    store
        .import(&Import { id: "demo-history", note: NOTE, series: &series, rows: &rows }, now)
        .await
        .context("import the history")?;
    Ok(())
}

fn panes(seed: u64, start: Micros, end: Micros) -> Result<BTreeMap<(Labels, Micros), Pane>> {
    let prices = PriceBook::built_in().context("read the built-in price book")?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x415);
    let last = week_of(end - 7 * DAY);
    let mut by_model: BTreeMap<(String, String, String, Micros), Pane> = BTreeMap::new();
    let arrivals = Figures::load()?.arrivals(seed, DENSITY).take_while(|arrival| start + arrival.at < end);
    for arrival in arrivals {
        let hour = (start + arrival.at).div_euclid(HOUR) * HOUR;
        let key = (arrival.tenant.clone(), arrival.app.clone(), arrival.model.to_string(), hour);
        // One app answers at greater length in the last whole week: something for its report to find.
        let longer = arrival.app == "support" && arrival.tenant == "acme" && week_of(hour) == last;
        let output_tokens = arrival.output_tokens * if longer { 2 } else { 1 };
        let arrival = Arrival { output_tokens, ..arrival };
        call(arrival, start, &prices, by_model.entry(key).or_default(), &mut rng);
    }
    let mut panes: BTreeMap<(Labels, Micros), Pane> = BTreeMap::new();
    for ((tenant, app, model, hour), pane) in by_model {
        let values = [("operation", "chat"), ("served", "true"), ("tenant", &tenant), ("app", &app), ("model", &model)];
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let leaf = Labels { level: Level::Leaf, values };
        for level in [Level::All, Level::Tenant, Level::App, Level::Model] {
            panes.entry((leaf.at(level), hour)).or_default().merge(&pane);
        }
    }
    Ok(panes)
}

/// Draws the outcome of one call and counts it.
fn call(arrival: Arrival, start: Micros, prices: &PriceBook, pane: &mut Pane, rng: &mut ChaCha8Rng) {
    let outcomes = Outcomes { seed: 0, incident: Incident::None, errors: ERROR_SHARE };
    let call = simulate(arrival, start, 0, outcomes, rng);
    let (ok, a) = (call.status == "ok", &call.arrival);
    let tokens =
        leeway_core::event::Tokens { input: Some(a.input_tokens), output: Some(a.output_tokens), ..Default::default() };
    let mut hits = Hits::default();
    if rng.random::<f64>() < 0.05 {
        hits.add(Entity::Email, Origin::Echo, 1);
    }
    let scanned = ok.then(|| {
        Box::new(Scanned {
            leaks: hits.of_origin(Origin::Unexplained),
            hits,
            refused: rng.random::<f64>() < 0.01,
            ..Scanned::default()
        })
    });
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
    pane.add(&numbers);
    if ok && rng.random::<f64>() < 0.12 {
        let success = i64::from(rng.random::<f64>() < 0.86) * UNIT_WEIGHT as i64;
        pane.label("success", "user", LabelSum::of(Some(success), 1));
    }
}
