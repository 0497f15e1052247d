//! Slow change: each figure's days over five weeks, of all traffic and of the busiest apps.

use anyhow::Result;
use leeway_core::clock::{DAY, Micros, day_of, readable};
use leeway_core::kpi::{ALL, Better, Kpi, matters};
use leeway_core::pane::Pane;
use leeway_dashboards::report::CreepRow;
use leeway_detectors::creep::creep;
use leeway_store::Store;

use crate::periods::{self, Scope};

/// Days that are looked at: five weeks.
const DAYS: i64 = 35;
/// What a day's value is made of, at least.
const LEAST: u64 = 30;
/// A change of which so much came between two weeks is a step.
const STEP: f64 = 2.0 / 3.0;

/// Figures with a good side and enough days, whatever they did; `p_adjusted` is not adjusted yet.
pub async fn rows(store: &Store, scopes: &[Scope], to: Micros) -> Result<Vec<CreepRow>> {
    // Days that are over.
    let end = day_of(to) * DAY;
    let mut rows = Vec::new();
    for scope in std::iter::once(&Scope::default()).chain(scopes) {
        let days = periods::parts(store, scope, end - DAYS * DAY, end, DAY).await?;
        rows.extend(ALL.iter().filter_map(|kpi| row(scope, kpi, &days)));
    }
    Ok(rows)
}

/// Whether a row is news: sure, in one direction, and large enough.
pub fn told(row: &CreepRow, level: f64) -> bool {
    let better = ALL.iter().find(|kpi| kpi.title == row.title).map_or(Better::Neither, |kpi| kpi.better);
    let one_way = row.low * row.high > 0.0 && row.slope * (row.last - row.first) > 0.0;
    row.p_adjusted < level && one_way && matters(row.unit, better, row.first, row.last)
}

fn row(scope: &Scope, kpi: &Kpi, days: &[(Micros, Pane)]) -> Option<CreepRow> {
    if kpi.better == Better::Neither {
        return None;
    }
    let value = |(at, pane): &(Micros, Pane)| {
        let estimate = kpi.of(pane).ok().filter(|estimate| estimate.n >= LEAST)?;
        Some((day_of(*at), estimate.value))
    };
    let found = creep(&days.iter().filter_map(value).collect::<Vec<_>>())?;
    let (part, week) = found.steepest;
    let step = (part >= STEP).then(|| format!("the week to {}", &readable((found.until + 7 * week) * DAY)[..10]));
    let scope =
        if scope.tenant.is_empty() { "all traffic".to_owned() } else { format!("{} / {}", scope.tenant, scope.app) };
    Some(CreepRow {
        scope,
        title: kpi.title,
        unit: kpi.unit,
        slope: found.slope,
        low: found.low,
        high: found.high,
        first: found.first,
        last: found.last,
        days: found.days,
        weeks: found.weeks,
        p_adjusted: found.p,
        step,
    })
}

#[cfg(test)]
mod tests {
    use leeway_core::event::Status;
    use leeway_core::pane::{Numbers, UNIT_WEIGHT};

    use super::*;

    fn day(failed: usize) -> Pane {
        let mut pane = Pane::default();
        let call = |status| Numbers { status, weight_micro: UNIT_WEIGHT, ..Numbers::default() };
        (0..1_000 - failed).for_each(|_| pane.add(&call(Status::Ok)));
        (0..failed).for_each(|_| pane.add(&call(Status::Error)));
        pane
    }

    #[test]
    fn a_rate_that_creeps_is_told_with_its_slope_and_one_that_stays_is_not() {
        let kpi = Kpi::find("error_rate").unwrap();
        let scope = Scope { tenant: "acme".into(), app: "chat".into() };
        let days = |failed: &dyn Fn(i64) -> i64| -> Vec<(Micros, Pane)> {
            (0..DAYS).map(|number| (number * DAY, day(failed(number) as usize))).collect()
        };
        // Seven more in a thousand each week, worse on one day of the week.
        let creeping = days(&|number| 20 + number + 10 * i64::from(number % 7 == 2));
        let found = row(&scope, kpi, &creeping).unwrap();
        assert!((found.slope - 0.007).abs() < 1e-9 && told(&found, 0.05) && found.step.is_none(), "{found:?}");
        assert_eq!((found.scope.as_str(), found.days), ("acme / chat", 35));
        let still = days(&|number| 20 + (number * 7) % 5 + 10 * i64::from(number % 7 == 2));
        assert!(!told(&row(&scope, kpi, &still).unwrap(), 0.05));
        let stepped = days(&|number| if number < 28 { 20 } else { 40 } + number % 3);
        assert_eq!(row(&scope, kpi, &stepped).unwrap().step.as_deref(), Some("the week to 1970-02-04"));
        // Days of too few calls are none.
        let mut few = days(&|_| 20);
        few.iter_mut().skip(10).for_each(|(_, pane)| *pane = Pane::default());
        assert!(row(&scope, kpi, &few).is_none());
    }
}
