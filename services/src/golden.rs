//! Golden sets: runs of an offline suite, as evaluations tell them, that live traffic is held beside.

use std::collections::{BTreeMap, BTreeSet};

use leeway_core::alert::Uncovered;
use leeway_core::clock::{Micros, parse_rfc3339};
use leeway_core::measure::{Measure, Moments, Sample};
use leeway_core::sketch::Sketch;
use leeway_store::Kept;
use serde_json::Value as Json;

use crate::beside::Slices;

/// What is rarer among the calls is not told as uncovered.
const LEAST_SHARE: f64 = 0.01;
/// A run is of what runs when this share of the calls is of what it tested: half would be crossed by chance in a roll-out.
const LIVE: f64 = 0.25;
/// Slices that are told.
const TOLD: usize = 10;
/// Labels that say whose a call is, not what it is about.
const IDENTITY: [&str; 9] =
    ["tenant", "app", "operation", "served", "provider", "model", "release", "environment", "overflow"];

/// Labels of what a run tested.
const TESTED: [&str; 5] = ["release", "model", "prompt_version", "index_version", "environment"];

/// A finished run.
#[derive(Debug)]
pub(crate) struct Golden {
    tenant: String,
    app: String,
    /// Suite and version.
    pub name: String,
    /// From its beginning to its end.
    pub times: (Micros, Micros),
    /// Labels of what was tested: release, model and their like.
    of: Vec<(&'static str, String)>,
    items: Vec<Item>,
    /// (metric, n, value, standard error).
    summary: Vec<(String, f64, f64, Option<f64>)>,
}

#[derive(Debug)]
struct Item {
    metric: String,
    value: f64,
    /// Label and value; a slice that names no label has an empty one.
    slice: Vec<(String, String)>,
}

impl Golden {
    /// Runs of a tenant and app that are looked through for the newest that goes with the calls.
    pub const RUNS: i64 = 25;

    /// `None` of what is no finished run of a golden set.
    pub fn of(kept: &Kept) -> Option<Self> {
        let body: Json = serde_json::from_str(&kept.body).ok()?;
        let text = |name: &str| body[name].as_str().unwrap_or("");
        let finished = match text("status") {
            "passed" | "failed" => true,
            "" => !body["ended_at"].is_null(),
            _ => false,
        };
        if text("type") != "golden_set" || !finished {
            return None;
        }
        let version = text("suite_version");
        let name = if version.is_empty() { kept.name.clone() } else { format!("{} {version}", kept.name) };
        let at = |name: &str| parse_rfc3339(text(name)).or_else(|| body[name].as_i64());
        let list = |name: &str| body[name].as_array().map_or(&[][..], Vec::as_slice);
        let summary = list("summary").iter().filter_map(|row| {
            Some((row["metric"].as_str()?.to_owned(), row["n"].as_f64()?, number(&row["value"])?, row["se"].as_f64()))
        });
        Some(Self {
            tenant: kept.tenant.clone(),
            app: kept.app.clone(),
            name,
            times: (at("started_at").unwrap_or(kept.time), at("ended_at").unwrap_or(kept.time)),
            of: TESTED
                .into_iter()
                .filter_map(|label| Some((label, body[label].as_str()?.to_owned())))
                .filter(|(_, value)| !value.is_empty())
                .collect(),
            items: list("items").iter().filter_map(Item::of).collect(),
            summary: summary.collect(),
        })
    }

    /// Whether it is of the tenant and app that a scope names.
    pub fn is_of(&self, scope: &BTreeMap<&str, &str>) -> bool {
        let fits = |name: &str, own: &str| own.is_empty() || scope.get(name).is_none_or(|asked| *asked == own);
        fits("tenant", &self.tenant) && fits("app", &self.app)
    }

    /// In words, of what it is and hardly any of the live calls are.
    pub fn elsewhere(&self, live: &Slices) -> Option<String> {
        let other = |of: &&(&str, String)| {
            let Some(values) = live.get(of.0) else { return live.is_empty() };
            let all: u64 = values.values().sum();
            (values.get(&of.1).copied().unwrap_or(0) as f64) < LIVE * all as f64
        };
        self.of.iter().find(other).map(|(label, value)| format!("it is of {label} {value}, and hardly a call is"))
    }

    /// What it has of a measure within a scope; in words, why that is nothing.
    pub fn sample(&self, measure: &Measure, scope: &BTreeMap<&str, &str>) -> (Option<Sample>, String) {
        let id = measure.to_string();
        let named = |metric: &str| is_of(&id, metric);
        let of_metric: Vec<&Item> = self.items.iter().filter(|item| named(&item.metric)).collect();
        let values: Vec<f64> = of_metric.iter().filter(|item| item.is_in(scope)).map(|item| item.value).collect();
        if !values.is_empty() {
            return match sample(measure, &values) {
                Ok(sample) => (Some(sample), String::new()),
                Err(reason) => (None, format!(": {reason}")),
            };
        }
        if !of_metric.is_empty() {
            return (None, format!(": none of its {} items of {id} is of this slice", of_metric.len()));
        }
        match self.summary.iter().find(|(metric, ..)| named(metric)) {
            Some((_, n, ..)) if !(1.0..1e12).contains(n) || n.fract() != 0.0 => {
                (None, format!(": the n of its summary of {id} is {n}, and is a whole number from 1 on"))
            }
            Some((_, _, value, _)) if measure.is_rate() && !(0.0..=1.0).contains(value) => {
                (None, format!(": {id} in its summary is {value}; a rate lies between 0 and 1"))
            }
            Some((_, n, value, _)) if measure.is_rate() => {
                (Some(Sample::Rate((value * n).round() as u64, *n as u64)), String::new())
            }
            Some((_, n, value, Some(se))) if measure.is_mean() => {
                let moments = Moments { n: *n, mean: *value, squares: se * se * n * (n - 1.0).max(0.0) };
                (Some(Sample::Means(Some(moments))), String::new())
            }
            Some(_) => (None, format!(": its summary alone does not say how {id} is spread; send its items")),
            None => (None, format!(": it has no item with the metric {id}")),
        }
    }

    /// Live slices that none of its items of the measure is of, the busiest first, and in words the labels of its slices that calls do not have.
    pub fn uncovered(&self, measure: &Measure, live: &Slices) -> (Vec<Uncovered>, String) {
        let mut covered: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let id = measure.to_string();
        let items = self.items.iter().filter(|item| is_of(&id, &item.metric));
        for (label, value) in items.flat_map(|item| &item.slice) {
            covered.entry(label).or_default().insert(value);
        }
        let bare = covered.remove("").unwrap_or_default();
        let unknown: Vec<&str> = covered.keys().copied().filter(|label| !live.contains_key(*label)).collect();
        let unknown = if unknown.is_empty() || live.is_empty() {
            String::new()
        } else {
            format!("; its slices by {} are no label of the calls", unknown.join(", "))
        };
        let mut found = Vec::new();
        for (label, values) in live {
            let about = !IDENTITY.contains(&label.as_str()) && values.keys().any(|value| bare.contains(value.as_str()));
            let Some(known) = covered.get(label.as_str()).or(about.then_some(&bare)) else { continue };
            let all: u64 = values.values().sum();
            for (value, calls) in values.iter().filter(|(value, _)| !known.contains(value.as_str())) {
                let share = *calls as f64 / all.max(1) as f64;
                if share >= LEAST_SHARE {
                    let value = if value.is_empty() { "(none)" } else { value };
                    found.push(Uncovered { label: label.clone(), value: value.to_owned(), share });
                }
            }
        }
        found.sort_by(|a, b| b.share.total_cmp(&a.share).then_with(|| (&a.label, &a.value).cmp(&(&b.label, &b.value))));
        found.truncate(TOLD);
        (found, unknown)
    }
}

impl Item {
    /// `None` of what has no metric or no number.
    fn of(row: &Json) -> Option<Self> {
        let value = number(&row["value"]).or_else(|| number(&row["passed"]))?;
        let slice = match &row["slice"] {
            Json::String(text) => text
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(|part| part.split_once('=').unwrap_or(("", part)))
                .map(|(label, value)| (label.trim().to_owned(), value.trim().to_owned()))
                .collect(),
            Json::Object(labels) => {
                labels.iter().filter_map(|(label, value)| Some((label.clone(), value.as_str()?.to_owned()))).collect()
            }
            _ => Vec::new(),
        };
        Some(Self { metric: row["metric"].as_str()?.to_owned(), value, slice })
    }

    /// An item that says nothing of a label is of all its values.
    fn is_in(&self, scope: &BTreeMap<&str, &str>) -> bool {
        self.slice.iter().all(|(label, value)| scope.get(label.as_str()).is_none_or(|asked| asked == value))
    }
}

/// Whether a metric is a measure's: its id, of a score its name as well.
fn is_of(id: &str, metric: &str) -> bool {
    metric == id || id.strip_prefix("score.") == Some(metric)
}

/// A yes is 1.
fn number(value: &Json) -> Option<f64> {
    value.as_f64().or_else(|| value.as_bool().map(|yes| f64::from(u8::from(yes)))).filter(|number| number.is_finite())
}

/// Values in the measure's own unit as its windows have them.
fn sample(measure: &Measure, values: &[f64]) -> Result<Sample, String> {
    if measure.takes_quantile() {
        if let Some(odd) = values.iter().find(|value| **value < 0.0) {
            return Err(format!("{measure} of an item is {odd}, and is never negative"));
        }
        let mut sketch = Sketch::default();
        values.iter().for_each(|value| sketch.push((value / measure.scale()).round() as u64));
        return Ok(Sample::Values(sketch));
    }
    if measure.is_rate() {
        if let Some(odd) = values.iter().find(|value| **value != 0.0 && **value != 1.0) {
            return Err(format!("{measure} of an item is {odd}; of a rate each item says 0 or 1"));
        }
        return Ok(Sample::Rate(values.iter().sum::<f64>() as u64, values.len() as u64));
    }
    Ok(Sample::Means(Moments::of_values(values)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(body: &Json) -> Option<Golden> {
        let text = str::to_owned;
        let (tenant, app, name) = (text("acme"), text("shop"), text("support"));
        Golden::of(&Kept { tenant, id: text("1"), time: 7, app, name, body: body.to_string() })
    }

    fn measure(id: &str) -> Measure {
        Measure::parse(id).unwrap()
    }

    #[test]
    fn items_are_samples_of_their_metric_and_slice() {
        let item = |slice: &str, metric: &str, value: Json| json!({"id": "i", "slice": slice, "metric": metric, "value": value});
        let golden = run(&json!({"type": "golden_set", "status": "failed", "suite_version": "3", "started_at": "1970-01-01T00:00:01Z", "items": [
            item("language=de, topic=billing", "grounded", json!(0.5)), item("language=en", "score.grounded", json!(1.0)),
            item("billing", "error_rate", json!(true)), item("", "error_rate", json!(0)), item("", "duration_ms", json!(120.5)),
            item("", "grounded", json!("none")), {"id": "j", "metric": "mark.refusal", "passed": false},
        ]})).unwrap();
        assert_eq!((golden.name.as_str(), golden.times), ("support 3", (1_000_000, 7)));
        let all = BTreeMap::from([("tenant", "acme"), ("app", "shop")]);
        assert!(golden.is_of(&all) && golden.is_of(&BTreeMap::new()) && !golden.is_of(&BTreeMap::from([("app", "x")])));
        let of = |id: &str, scope: &BTreeMap<&str, &str>| golden.sample(&measure(id), scope);
        assert_eq!(of("score.grounded", &all).0, Some(Sample::Means(Moments::of_values(&[0.5, 1.0]))));
        let german = BTreeMap::from([("language", "de")]);
        assert_eq!(of("score.grounded", &german).0.unwrap().n(), 1);
        let (none, words) = of("score.grounded", &BTreeMap::from([("language", "fr")]));
        assert!(none.is_none() && words.contains("none of its 2 items"), "{words}");
        assert_eq!(of("error_rate", &all).0, Some(Sample::Rate(1, 2)));
        assert_eq!(of("mark.refusal", &all).0, Some(Sample::Rate(0, 1)));
        let Some(Sample::Values(sketch)) = of("duration_ms", &all).0 else { panic!() };
        assert!((sketch.quantile(0.5).unwrap().value / 120_500.0 - 1.0).abs() < 0.01);
        assert!(of("ttft_ms", &all).1.contains("no item with the metric ttft_ms"));
        let odd =
            run(&json!({"type": "golden_set", "status": "passed", "items": [{"metric": "error_rate", "value": 0.5}]}))
                .unwrap();
        assert!(odd.sample(&measure("error_rate"), &all).1.contains("each item says 0 or 1"));
    }

    #[test]
    fn a_summary_is_enough_where_it_says_how_values_are_spread() {
        let golden = run(&json!({"type": "golden_set", "ended_at": "1970-01-01T00:00:01Z", "summary": [
            {"metric": "error_rate", "n": 200, "value": 0.05}, {"metric": "grounded", "n": 100, "value": 0.8, "se": 0.02},
            {"metric": "severe_rate", "n": 100, "value": 5}, {"metric": "text.grounded", "n": 0, "value": 1, "se": 0.1},
            {"metric": "duration_ms", "n": 100, "value": 800},
        ]}))
        .unwrap();
        let of = |id: &str| golden.sample(&measure(id), &BTreeMap::new());
        assert_eq!(of("error_rate").0, Some(Sample::Rate(10, 200)));
        let Some(Sample::Means(Some(moments))) = of("score.grounded").0 else { panic!() };
        assert!((moments.squares / 99.0 - 0.04).abs() < 1e-12, "a standard error of 0.02 of a hundred: {moments:?}");
        assert!(of("duration_ms").1.contains("send its items"));
        assert!(of("severe_rate").1.contains("between 0 and 1") && of("text.grounded").1.contains("whole number"));
        let odd = [json!({"type": "redteam", "status": "passed"}), json!({"type": "golden_set", "status": "missed"})];
        for body in odd.into_iter().chain([json!({"type": "golden_set"})]) {
            assert!(run(&body).is_none());
        }
    }

    #[test]
    fn what_live_traffic_has_and_the_set_has_not_is_told() {
        let item = |slice: Json| json!({"slice": slice, "metric": "grounded", "value": 1});
        let golden = run(&json!({"type": "golden_set", "status": "passed", "release": "3", "items": [
            item(json!("language=en")), item(json!({"language": "de"})), item(json!("billing")), item(json!("mood=glad")),
            {"slice": "language=fr", "metric": "duration_ms", "value": 1},
        ]}))
        .unwrap();
        let calls = |pairs: &[(&str, u64)]| pairs.iter().map(|(value, n)| ((*value).to_owned(), *n)).collect();
        let live = Slices::from([
            ("language".to_owned(), calls(&[("en", 500), ("de", 80), ("fr", 400), ("", 15), ("la", 5)])),
            ("route".to_owned(), calls(&[("billing", 700), ("legal", 300)])),
            ("model".to_owned(), calls(&[("billing", 1), ("gpt", 999)])),
            ("region".to_owned(), calls(&[("eu", 1_000)])),
        ]);
        let (found, unknown) = golden.uncovered(&measure("score.grounded"), &live);
        let told: Vec<(&str, &str, f64)> =
            found.iter().map(|slice| (slice.label.as_str(), slice.value.as_str(), slice.share)).collect();
        assert_eq!(told, [("language", "fr", 0.4), ("route", "legal", 0.3), ("language", "(none)", 0.015)]);
        assert!(unknown.contains("slices by mood"), "{unknown}");
        // A run of what is not deployed yet says nothing of what is.
        let releases = |pairs: &[(&str, u64)]| Slices::from([("release".to_owned(), calls(pairs))]);
        assert!(golden.elsewhere(&releases(&[("3", 100), ("2", 900)])).unwrap().contains("of release 3"));
        assert_eq!(golden.elsewhere(&releases(&[("3", 300), ("2", 700)])), None);
        assert!(golden.elsewhere(&Slices::new()).is_some(), "nothing says what runs");
        assert_eq!(golden.elsewhere(&live), None, "releases are no dimension");
    }
}
