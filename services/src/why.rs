//! Why a key figure moved: how much is mix, how much behaviour, which slices carry it, and what was changed there.

use std::collections::BTreeMap;

use anyhow::Result;
use leeway_core::clock::{DAY, Micros, readable};
use leeway_core::interval::{LEVEL, z};
use leeway_core::kpi::{Kpi, Reading};
use leeway_core::labels::{Labels, Level};
use leeway_core::measure::Estimate;
use leeway_core::pane::Pane;
use leeway_dashboards::report::{Carrier, Share, Why};
use leeway_detectors::decompose::{Part, Side, Slice, decompose};
use leeway_store::{Store, headline};

use crate::report::{Change, change_line};

/// Slices that are told by name.
const TOLD: usize = 3;
/// A slice that carries less of the change is not told.
const CARRIES: f64 = 0.1;
/// How far the slices may miss the figure, as a part of its change: beyond it they are not its parts.
const MISSES: f64 = 0.05;
/// Changes that are told.
const CHANGES: usize = 3;

/// A tenant's app and its model, as they are told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    tenant: String,
    app: String,
    model: String,
}

impl Cell {
    fn of(labels: &Labels) -> Self {
        let label = |name: &str| labels.get(name).unwrap_or("").to_owned();
        let folded = labels.get("overflow").is_some();
        let of = |name: &str| if folded { "others".to_owned() } else { label(name) };
        Self { tenant: labels.tenant().to_owned(), app: of("app"), model: of("model") }
    }

    fn name(&self) -> String {
        [&self.tenant, &self.app, &self.model]
            .map(|part| if part.is_empty() { "unknown" } else { part.as_str() })
            .join(" / ")
    }
}

/// The cells of two periods: this one and the one before.
#[derive(Debug)]
pub struct Cells(BTreeMap<Cell, [Pane; 2]>);

impl Cells {
    /// Reads both periods, a day at a time.
    pub async fn read(store: &Store, periods: [(Micros, Micros); 2]) -> Result<Self> {
        let mut cells: BTreeMap<Cell, [Pane; 2]> = BTreeMap::new();
        for (place, (from, to)) in periods.into_iter().enumerate() {
            let mut start = from;
            while start < to {
                let end = (start + DAY).min(to);
                for series in store.hours(Level::Model, None, start, end).await? {
                    if headline(&series.labels) {
                        cells.entry(Cell::of(&series.labels)).or_default()[place].merge(&series.pane);
                    }
                }
                start = end;
            }
        }
        Ok(Self(cells))
    }

    /// Why the figure moved; `None` where it is no mean, did not move, or its slices do not add up to it (sampled calls, calls of
    /// which a label is missing, another score).
    pub fn why(&self, reading: &Reading, changes: &[Change]) -> Option<Why> {
        let kpi = Kpi::find(reading.id).filter(|kpi| kpi.is_mean())?;
        let slices: Vec<Slice> = self.0.values().map(|[now, before]| slice(kpi, now, before)).collect();
        let found = decompose(&slices)?;
        let moved = reading.value? - reading.before?;
        let near = |own: f64, told: f64| (own - told).abs() <= MISSES * moved.abs();
        // Slices that count something else than the figure does are not its parts.
        let total: f64 = slices.iter().map(|slice| slice.now.n).sum();
        let same = (total - reading.n as f64).abs() < 0.5;
        if moved == 0.0 || !same || !near(found.now, reading.value?) || !near(found.before, reading.before?) {
            return None;
        }
        let mut ranked: Vec<(f64, &Cell, &Slice)> = found
            .slices
            .iter()
            .zip(self.0.keys())
            .zip(&slices)
            .map(|((part, cell), slice)| (*part, cell, slice))
            .collect();
        ranked.sort_by(|a, b| b.0.abs().total_cmp(&a.0.abs()).then_with(|| a.1.cmp(b.1)));
        ranked.retain(|(part, ..)| part.abs() >= CARRIES * moved.abs());
        ranked.truncate(TOLD);
        let carriers = ranked.iter().map(|(part, cell, slice)| Carrier {
            slice: cell.name(),
            part: *part,
            before: slice.before.level,
            now: slice.now.level,
            share: slice.now.n / total,
        });
        Some(Why {
            mix: share(found.mix),
            behaviour: share(found.behaviour),
            carriers: carriers.collect(),
            changes: near_changes(&ranked.iter().map(|(_, cell, _)| *cell).collect::<Vec<_>>(), changes),
        })
    }
}

fn slice(kpi: &Kpi, now: &Pane, before: &Pane) -> Slice {
    let side = |pane: &Pane| kpi.of(pane).map(side_of).unwrap_or_default();
    Slice { before: side(before), now: side(now) }
}

/// What an estimate counts, its level, and the variance that its interval tells.
pub fn side_of(estimate: Estimate) -> Side {
    let deviation =
        estimate.interval.low.zip(estimate.interval.high).map(|(low, high)| (high - low) / (2.0 * z(LEVEL)));
    Side {
        n: estimate.n as f64,
        level: Some(estimate.value),
        variance: deviation.map(|deviation| deviation * deviation),
    }
}

fn share(part: Part) -> Share {
    let half = part.deviation.map(|deviation| z(LEVEL) * deviation);
    Share { value: part.value, low: half.map(|half| part.value - half), high: half.map(|half| part.value + half) }
}

/// What was changed where the change is: the newest first.
fn near_changes(cells: &[&Cell], changes: &[Change]) -> Vec<String> {
    let fits = |tenant: &str, app: &str| {
        let of = |cell: &&&Cell| (tenant.is_empty() || cell.tenant == tenant) && (app.is_empty() || cell.app == app);
        cells.iter().any(|cell| of(&cell))
    };
    let told = changes.iter().rev().filter(|(_, tenant, app, ..)| fits(tenant, app));
    told.take(CHANGES).map(|change| format!("{} ({})", change_line(change).what, readable(change.0))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use leeway_core::event::Status;
    use leeway_core::pane::{Numbers, UNIT_WEIGHT};

    fn pane(ok: usize, failed: usize) -> Pane {
        let mut pane = Pane::default();
        let call = |status| Numbers { status, weight_micro: UNIT_WEIGHT, ..Numbers::default() };
        (0..ok).for_each(|_| pane.add(&call(Status::Ok)));
        (0..failed).for_each(|_| pane.add(&call(Status::Error)));
        pane
    }

    #[test]
    fn the_slice_that_carries_a_change_is_named_with_what_was_changed_there() {
        let cell = |app: &str| Cell { tenant: "acme".into(), app: app.into(), model: "gpt-4o".into() };
        let panes = [("chat", pane(880, 120), pane(990, 10)), ("mail", pane(495, 5), pane(495, 5))];
        let mut totals = [Pane::default(), Pane::default()];
        for (_, now, before) in &panes {
            totals[0].merge(now);
            totals[1].merge(before);
        }
        let cells = Cells(panes.into_iter().map(|(app, now, before)| (cell(app), [now, before])).collect());
        let reading = Kpi::find("error_rate").unwrap().read(&totals[0], &totals[1], None);
        let change = |at, app: &str, to: &str| {
            (at, "acme".to_owned(), app.to_owned(), "prompt".to_owned(), format!("{{\"to\":\"{to}\"}}"))
        };
        let why = cells.why(&reading, &[change(0, "chat", "v2"), change(1, "mail", "v9")]).unwrap();
        assert!((why.behaviour.value - 0.11 * 2.0 / 3.0).abs() < 1e-12 && why.mix.value.abs() < 1e-12, "{why:?}");
        assert!(why.behaviour.low.unwrap() > 0.05 && why.behaviour.high.unwrap() < 0.1, "{why:?}");
        let named: Vec<&str> = why.carriers.iter().map(|carrier| carrier.slice.as_str()).collect();
        assert_eq!(named, ["acme / chat / gpt-4o"]);
        assert_eq!(why.changes, ["prompt change to v2 (1970-01-01 00:00:00 UTC)"]);
        // A figure that is another than its slices are has no parts.
        let other = Kpi::find("error_rate").unwrap().read(&pane(10, 90), &totals[1], None);
        assert_eq!(cells.why(&other, &[]), None);
        let p95 = Kpi::find("latency_p95_ms").unwrap().read(&totals[0], &totals[1], None);
        assert_eq!(cells.why(&p95, &[]), None);
    }
}
