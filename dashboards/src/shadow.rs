//! Calls that no user saw (shadow and replayed traffic) beside those that users saw: each model of an app that was tried
//! so, against all that the app served by the same operation in the same period.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use leeway_core::clock::{Micros, readable, rfc3339};
use leeway_core::interval::{self, Interval};
use leeway_core::kpi::{ALL, Reading};
use leeway_core::measure::{Estimate, Measure, Unit};
use leeway_core::pane::Pane;

use crate::kpis::{WINDOWS, escape};
use crate::{Frame, RenderError};

/// What was tried on calls that no user saw.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tried {
    pub operation: String,
    pub model: String,
    /// All models for which the cap of series had no room.
    pub beyond_cap: bool,
}

impl Tried {
    fn title(&self) -> String {
        let model = match self.model.as_str() {
            _ if self.beyond_cap => "models beyond the cap of series",
            "" => "no model named",
            model => model,
        };
        format!("{model}, {}", self.operation)
    }
}

/// What the page is made from.
#[derive(Debug, Clone)]
pub struct Input {
    pub from: Micros,
    pub now: Micros,
    pub window: Micros,
    /// The app that is shown; both empty where there is none.
    pub tenant: String,
    pub app: String,
    /// Every (tenant, app) that ever had such calls, for the choice.
    pub scopes: Vec<(String, String)>,
    /// Whether there are more of them than are listed.
    pub more_apps: bool,
    /// All that the app served in this time, by operation.
    pub served: BTreeMap<String, Pane>,
    /// Each model's calls that no user saw, most first.
    pub tried: Vec<(Tried, Pane)>,
    /// Models with fewer such calls, which are not shown.
    pub more: usize,
    /// Set where some of the period was imported: what and from where.
    pub imported: Option<String>,
}

impl Input {
    fn served_by(&self, tried: &Tried) -> Pane {
        self.served.get(&tried.operation).cloned().unwrap_or_default()
    }

    fn window_id(&self) -> &'static str {
        WINDOWS.iter().find(|(.., span)| *span == self.window).map_or("", |(id, ..)| id)
    }
}

/// One figure of both.
#[derive(Debug, Clone)]
struct Line {
    id: String,
    title: String,
    unit: Unit,
    /// Whether the number is all there is, without an interval.
    exact: bool,
    /// Whether its interval tells all by which it may be off, so that a difference has one too.
    sure: bool,
    unserved: Result<Estimate, &'static str>,
    served: Result<Estimate, &'static str>,
}

impl Line {
    fn difference(&self) -> Option<(f64, Interval)> {
        // Nobody chose to try as many calls as were served.
        let (Ok(new), Ok(old)) = (self.unserved, self.served) else { return None };
        if self.unit == Unit::Count {
            return None;
        }
        // The normal interval of a mean says little of a few values, and nothing of a few equal ones.
        let few = self.unit == Unit::Score && new.n.min(old.n) < FEW;
        let interval = if self.exact || !self.sure || few {
            Interval::default()
        } else {
            interval::difference((new.value, new.interval), (old.value, old.interval))
        };
        Some((new.value - old.value, interval))
    }

    /// What the difference says.
    fn verdict(&self) -> &'static str {
        match self.difference() {
            None if self.unit == Unit::Count => "a count",
            None => "cannot be compared",
            Some(_) if self.exact || !self.sure => "no interval",
            Some((_, Interval { low: Some(low), high: Some(high) })) if low > 0.0 || high < 0.0 => "differs",
            Some((_, Interval { low: Some(_), high: Some(_) })) => "no difference shown",
            Some(_) => "too few to say",
        }
    }

    fn show(&self, figure: Result<Estimate, &'static str>) -> (String, String) {
        match figure {
            Err(reason) => ("not computable".to_owned(), reason.to_owned()),
            Ok(e) if self.exact => (self.unit.show(e.value), "exact".to_owned()),
            Ok(e) => (self.unit.show(e.value), self.unit.show_interval(e.interval)),
        }
    }

    fn shown(&self) -> Shown {
        // Points for shares, the unit of the figure for all else.
        let signed = |value: f64| match self.unit {
            Unit::Share => format!("{:+.2} points", value * 100.0).replace('-', "\u{2212}"),
            unit if value < 0.0 => format!("\u{2212}{}", unit.show(-value)),
            unit => format!("+{}", unit.show(value)),
        };
        let difference = self.difference().map_or_else(Default::default, |(by, of)| {
            let bounds = of.low.zip(of.high).map(|(low, high)| format!("{} to {}", signed(low), signed(high)));
            (signed(by), bounds.unwrap_or_default())
        });
        Shown {
            title: self.title.clone(),
            served: self.show(self.served),
            unserved: self.show(self.unserved),
            difference,
            verdict: self.verdict(),
        }
    }
}

struct Shown {
    title: String,
    served: (String, String),
    unserved: (String, String),
    difference: (String, String),
    verdict: &'static str,
}

impl Shown {
    fn cells(&self) -> [&(String, String); 3] {
        [&self.served, &self.unserved, &self.difference]
    }
}

/// Every key figure, and the mean of each score that the calls which no user saw have.
fn lines(unserved: &Pane, served: &Pane) -> Vec<Line> {
    let figure = |kpi: &leeway_core::kpi::Kpi| {
        let reading: Reading = kpi.read(unserved, served, None);
        Line {
            id: reading.id.to_owned(),
            title: reading.title.to_owned(),
            unit: reading.unit,
            exact: reading.exact,
            // Its interval takes the cost as known.
            sure: reading.id != "cost_per_success",
            unserved: kpi.of(unserved),
            served: kpi.of(served),
        }
    };
    let score = |name: &str| {
        let measure = Measure::Score(name.to_owned());
        let of = |pane: &Pane| measure.of(pane, None).ok_or("no such score in this period");
        let (id, title) = (measure.to_string(), format!("Score {name}"));
        Line { id, title, unit: Unit::Score, exact: false, sure: true, unserved: of(unserved), served: of(served) }
    };
    // Scores that the settings do not declare are names without values.
    let names: BTreeSet<&str> = [unserved, served]
        .into_iter()
        .flat_map(|pane| pane.scores().iter().filter(|(_, sum)| sum.valued > 0).map(|(name, _)| name.as_str()))
        .collect();
    ALL.iter().map(figure).chain(names.into_iter().map(score)).collect()
}

/// Fewest values of which the difference of two means has an interval.
const FEW: u64 = 30;
struct Table {
    model: String,
    lines: Vec<Shown>,
    /// Figures that neither side has, by reason.
    missing: Vec<(&'static str, String)>,
}

impl Table {
    fn of(tried: &Tried, unserved: &Pane, served: &Pane) -> Self {
        let (mut shown, mut missing) = (Vec::new(), Vec::<(&'static str, String)>::new());
        for line in lines(unserved, served) {
            match (line.unserved, line.served) {
                (Err(reason), Err(_)) => match missing.iter_mut().find(|(known, _)| *known == reason) {
                    Some((_, titles)) => titles.push_str(&format!(", {}", line.title)),
                    None => missing.push((reason, line.title)),
                },
                _ => shown.push(line.shown()),
            }
        }
        Self { model: tried.title(), lines: shown, missing }
    }
}

#[derive(Template)]
#[template(path = "shadow.html")]
struct Page<'a> {
    frame: &'a Frame,
    input: &'a Input,
    tables: Vec<Table>,
    period: String,
    window: &'static str,
    windows: [(&'static str, &'static str, bool); 3],
    scopes: Vec<(String, String, bool)>,
    /// The scope as part of an address.
    scope: String,
}

pub fn page(frame: &Frame, input: &Input) -> Result<String, RenderError> {
    let address = |tenant: &str, app: &str| format!("tenant={}&app={}", escape(tenant), escape(app));
    let scope = |(tenant, app): &(String, String)| {
        let here = *tenant == input.tenant && *app == input.app;
        (address(tenant, app), format!("{tenant} / {app}"), here)
    };
    let page = Page {
        frame,
        input,
        tables: input.tried.iter().map(|(tried, pane)| Table::of(tried, pane, &input.served_by(tried))).collect(),
        period: format!("{} to {}", readable(input.from), readable(input.now)),
        window: input.window_id(),
        windows: WINDOWS.map(|(id, name, span)| (id, name, span == input.window)),
        scopes: input.scopes.iter().map(scope).collect(),
        scope: address(&input.tenant, &input.app),
    };
    Ok(page.render()?)
}

/// The API's answer.
pub fn json(input: &Input) -> serde_json::Value {
    let number = |figure: Result<Estimate, &'static str>| match figure {
        Ok(e) => serde_json::json!({ "value": e.value, "low": e.interval.low, "high": e.interval.high, "n": e.n }),
        Err(reason) => serde_json::json!({ "value": null, "reason": reason }),
    };
    let line = |line: Line| {
        let difference =
            line.difference().map(|(by, of)| serde_json::json!({ "value": by, "low": of.low, "high": of.high }));
        serde_json::json!({
            "id": line.id, "unit": line.unit, "served": number(line.served), "unserved": number(line.unserved),
            "difference": difference, "verdict": line.verdict(),
        })
    };
    let model = |(tried, pane): &(Tried, Pane)| {
        let lines: Vec<_> = lines(pane, &input.served_by(tried)).into_iter().map(line).collect();
        let Tried { operation, model, beyond_cap } = tried;
        serde_json::json!({ "model": model, "operation": operation, "beyond_cap": beyond_cap, "figures": lines })
    };
    serde_json::json!({
        "schema": 1, "from": rfc3339(input.from), "to": rfc3339(input.now), "window": input.window_id(),
        "tenant": input.tenant, "app": input.app, "interval_level": interval::LEVEL,
        "apps": input.scopes.iter().map(|(tenant, app)| serde_json::json!({ "tenant": tenant, "app": app })).collect::<Vec<_>>(),
        "models": input.tried.iter().map(model).collect::<Vec<_>>(),
        "more_models": input.more, "more_apps": input.more_apps,
        "imported": input.imported,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use leeway_core::event::{Status, Tokens};
    use leeway_core::pane::{Numbers, UNIT_WEIGHT};

    fn pane(calls: u64, failed: u64) -> Pane {
        let mut pane = Pane::default();
        for i in 0..calls {
            pane.add(&Numbers {
                status: if i < failed { Status::Error } else { Status::Ok },
                tokens: Tokens { input: Some(10), output: Some(5), ..Tokens::default() },
                duration_us: Some(1_000 + i),
                weight_micro: UNIT_WEIGHT,
                ..Numbers::default()
            });
        }
        pane
    }

    fn input(models: Vec<(&str, Pane)>) -> Input {
        let (tenant, app) = ("acme".to_owned(), "a&b".to_owned());
        let tried = |(model, pane): (&str, Pane)| {
            (Tried { operation: "chat".into(), model: model.into(), beyond_cap: false }, pane)
        };
        Input {
            from: 0,
            now: WINDOWS[1].2,
            window: WINDOWS[1].2,
            scopes: vec![(tenant.clone(), app.clone())],
            tenant,
            app,
            more_apps: false,
            // Another operation's calls are nobody's measure here.
            served: BTreeMap::from([("chat".into(), pane(400, 20)), ("embeddings".into(), pane(4_000, 4_000))]),
            tried: models.into_iter().map(tried).collect(),
            more: 2,
            imported: None,
        }
    }

    #[test]
    fn a_model_that_fails_more_differs_and_one_with_few_calls_shows_nothing() {
        let input = input(vec![("worse", pane(200, 40)), ("few", pane(3, 0))]);
        let answer = json(&input);
        let figure = |model: usize, id: &str| {
            let figures = answer["models"][model]["figures"].as_array().unwrap();
            figures.iter().find(|figure| figure["id"] == id).unwrap().clone()
        };
        let error = figure(0, "error_rate");
        assert_eq!(error["verdict"], "differs");
        assert!((error["difference"]["value"].as_f64().unwrap() - 0.15).abs() < 1e-12, "{error}");
        assert!(error["difference"]["low"].as_f64().unwrap() > 0.0);
        assert_eq!(figure(1, "error_rate")["verdict"], "no difference shown");
        assert_eq!(figure(0, "task_success")["verdict"], "cannot be compared");
        let frame = Frame { here: "shadow", demo: false, now: String::new() };
        let html = page(&frame, &input).unwrap();
        assert!(
            html.contains("2 more models")
                && html.contains("+15.00 points")
                && html.contains("Task success, Cost per successful task")
                && html.contains("app=a%26b"),
            "{html}"
        );
    }

    #[test]
    fn two_equal_scores_show_no_difference_and_a_cost_has_no_interval() {
        let scored = |n: u64, micro: i64| {
            let mut pane = pane(n, 0);
            for _ in 0..n {
                pane.add(&Numbers { scores: vec![("helpful".into(), Some(micro))], ..Numbers::default() });
            }
            pane
        };
        let of = |n| {
            let lines = lines(&scored(n, 1_000_000), &scored(400, 900_000));
            let verdict = |id: &str| lines.iter().find(|line| line.id == id).unwrap().verdict();
            (verdict("score.helpful"), verdict("cost_per_call"))
        };
        assert_eq!(of(2), ("too few to say", "no interval"));
        assert_eq!(of(40), ("differs", "no interval"));
    }

    #[test]
    fn without_such_calls_the_page_says_how_to_send_them() {
        let frame = Frame { here: "shadow", demo: false, now: String::new() };
        let mut none = input(Vec::new());
        assert!(page(&frame, &none).unwrap().contains("in this period"));
        none.scopes.clear();
        assert!(page(&frame, &none).unwrap().contains("&#34;served&#34;: false"));
    }
}
