//! Rules: one strict file. An unknown key is an error that names the valid ones.

use std::collections::{BTreeMap, BTreeSet};

use leeway_core::alert::{AlertLabels, Severity};
use leeway_core::clock::{HOUR, MINUTE, Micros, SECOND};
use leeway_core::drift::{Direction, Test};
use leeway_core::labels::{Dimensions, Labels, Level};
use leeway_core::measure::Measure;
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::reference::{self, Reference, ReferenceText};

#[derive(Debug, Error)]
pub enum RuleError {
    #[error("{file}: {problem}")]
    Syntax { file: String, problem: String },
    #[error("{file}: rule `{rule}`: {problem}")]
    Rule { file: String, rule: String, problem: String },
}

/// What a rule does when an instance has no events in a complete window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoData {
    /// A visible state that pages nobody.
    #[default]
    Show,
    Alert,
    Ok,
}

/// What a rule asks of its window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A value against a bound.
    Threshold,
    /// A window against a reference; the rule's bound is the least effect.
    Drift(Drift),
    /// Blocks against what is usual at that hour of the week; the rule's bound is the least change.
    Anomaly(Anomaly),
}

/// How a stream is held against what is usual.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Anomaly {
    /// The changes that the rule is about.
    pub direction: Direction,
    /// Of the fleet's budget of false pages, relative to the other anomaly rules; where none is given, by severity.
    pub weight: f64,
}

/// How a window is compared with its reference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drift {
    pub reference: Reference,
    pub alpha: f64,
    pub test: Test,
    /// The effects that the rule is about.
    pub direction: Direction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KindText {
    Threshold,
    Drift,
    Anomaly,
}

/// Level of a drift test that has none of its own.
const ALPHA: f64 = 0.001;

/// Which side of the bound is bad.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    Above(f64),
    Below(f64),
}

impl Bound {
    pub fn breached(self, value: f64) -> bool {
        match self {
            Self::Above(limit) => value > limit,
            Self::Below(limit) => value < limit,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Above(_) => "above",
            Self::Below(_) => "below",
        }
    }

    pub fn limit(self) -> f64 {
        match self {
            Self::Above(limit) | Self::Below(limit) => limit,
        }
    }
}

/// A rule that has passed every check.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    pub id: String,
    /// First 12 hex digits of SHA-256 over the rule's text form: another text is another version.
    pub version: String,
    pub kind: Kind,
    pub measure: Measure,
    pub quantile: Option<f64>,
    /// Label → allowed values.
    pub matches: BTreeMap<String, Vec<String>>,
    /// The same of a reference that is another slice, where it differs; empty elsewhere.
    pub against: BTreeMap<String, Vec<String>>,
    /// The suite of a reference that is a golden set; empty elsewhere.
    pub suite: String,
    pub by: Vec<String>,
    pub window: Micros,
    pub bound: Bound,
    pub hold: Micros,
    pub keep_firing: Micros,
    pub min_events: u64,
    pub no_data: NoData,
    pub severity: Severity,
    pub receivers: Vec<String>,
    pub annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, rename = "rule")]
    rules: Vec<toml::Table>,
}

/// The text form of a rule.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    id: String,
    kind: KindText,
    measure: String,
    quantile: Option<f64>,
    #[serde(default, rename = "where")]
    matches: BTreeMap<String, OneOrMore>,
    #[serde(default)]
    by: Vec<String>,
    #[serde(default = "five_minutes")]
    window: Span,
    above: Option<f64>,
    below: Option<f64>,
    reference: Option<ReferenceText>,
    alpha: Option<f64>,
    min_effect: Option<f64>,
    test: Option<String>,
    direction: Option<String>,
    weight: Option<f64>,
    #[serde(default, rename = "for")]
    hold: Span,
    #[serde(default)]
    keep_firing_for: Span,
    min_events: Option<u64>,
    #[serde(default)]
    no_data: NoData,
    severity: Severity,
    #[serde(default)]
    receivers: Vec<String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// Events that a window needs where a rule says nothing.
const MIN_EVENTS: u64 = 100;

fn five_minutes() -> Span {
    Span(5 * MINUTE)
}

/// One value, or a list of them.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text or a list of texts")]
pub(crate) enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn values(self) -> Vec<String> {
        match self {
            Self::One(value) => vec![value],
            Self::More(values) => values,
        }
    }
}

/// `90s`, `5m`, `2h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span(pub Micros);

impl Span {
    pub fn parse(text: &str) -> Option<Self> {
        let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
        let factor = match unit {
            "s" => SECOND,
            "m" => MINUTE,
            "h" => HOUR,
            "d" => 24 * HOUR,
            _ => return None,
        };
        digits.parse::<i64>().ok()?.checked_mul(factor).map(Self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| serde::de::Error::custom(format!("`{text}` is no duration; write 90s, 5m, 2h or 1d")))
    }
}

/// Reads a rules file; `receivers` are the names that the settings define.
pub fn parse(
    file: &str,
    text: &str,
    dimensions: &Dimensions,
    receivers: &BTreeSet<String>,
) -> Result<Vec<Rule>, RuleError> {
    let syntax = |error: toml::de::Error| RuleError::Syntax {
        file: file.to_owned(),
        problem: error.to_string().trim_end().to_owned(),
    };
    let parsed: File = toml::from_str(text).map_err(syntax)?;
    let mut rules: Vec<Rule> = Vec::new();
    for (index, table) in parsed.rules.into_iter().enumerate() {
        let name =
            table.get("id").and_then(|id| id.as_str()).map_or_else(|| format!("number {}", index + 1), str::to_owned);
        let fail = |problem: String| RuleError::Rule { file: file.to_owned(), rule: name.clone(), problem };
        let version = version(&table);
        let text: RuleText = table.try_into().map_err(|error: toml::de::Error| fail(error.message().to_owned()))?;
        let rule = check(text, version, dimensions, receivers).map_err(&fail)?;
        if rules.iter().any(|other| other.id == rule.id) {
            return Err(fail("the id is used twice".to_owned()));
        }
        rules.push(rule);
    }
    Ok(rules)
}

/// Tables print with sorted keys, so order and comments do not make a version.
fn version(table: &toml::Table) -> String {
    Sha256::digest(table.to_string().as_bytes())[..6].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check(
    text: RuleText,
    version: String,
    dimensions: &Dimensions,
    receivers: &BTreeSet<String>,
) -> Result<Rule, String> {
    let id_fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if text.id.is_empty() || text.id.len() > 64 || !text.id.chars().all(id_fits) {
        return Err("`id` takes 1 to 64 letters, digits, - and _".to_owned());
    }
    let measure = Measure::parse(&text.measure).map_err(|error| error.to_string())?;
    let (kind, bound) = match text.kind {
        KindText::Threshold => threshold(&text, &measure)?,
        KindText::Drift => drift(&text, &measure)?,
        KindText::Anomaly => anomaly(&text, &measure)?,
    };
    if text.window.0 < MINUTE || text.window.0 % MINUTE != 0 || text.window.0 > 24 * HOUR {
        return Err("`window` is a whole number of minutes, 1m to 24h".to_owned());
    }
    let label = |name: &String| dimensions.names().contains(name) || name == "operation" || name == "served";
    let others = text.reference.iter().flat_map(ReferenceText::labels);
    let named = text.by.iter().chain(text.matches.keys()).chain(others);
    if let Some(unknown) = named.into_iter().find(|name| !label(name)) {
        let names = dimensions.names().join(", ");
        return Err(format!("unknown label `{unknown}`; valid are operation, served, {names}"));
    }
    if let Some(unknown) = text.receivers.iter().find(|name| !receivers.contains(*name)) {
        let known = if receivers.is_empty() {
            "none are defined".to_owned()
        } else {
            receivers.iter().cloned().collect::<Vec<_>>().join(", ")
        };
        return Err(format!("unknown receiver `{unknown}`; the settings define: {known}"));
    }
    let (against, suite) = text.reference.map(ReferenceText::parts).unwrap_or_default();
    let matches = of_labels(text.matches);
    if let Some((name, _)) = matches.iter().chain(&against).find(|(_, values)| values.is_empty()) {
        return Err(format!("`where`: `{name}` names no value, so nothing would match"));
    }
    if let Kind::Drift(asked) = kind {
        reference::fits(asked.reference, &against, (&matches, &text.by), dimensions)?;
    }
    Ok(Rule {
        id: text.id,
        version,
        kind,
        measure,
        quantile: text.quantile,
        matches,
        against,
        suite,
        by: text.by,
        window: text.window.0,
        bound,
        hold: text.hold.0,
        keep_firing: text.keep_firing_for.0,
        // What is usual is learnt, and how much it takes with it.
        min_events: if matches!(kind, Kind::Anomaly(_)) { 0 } else { text.min_events.unwrap_or(MIN_EVENTS) },
        no_data: text.no_data,
        severity: text.severity,
        receivers: text.receivers,
        annotations: text.annotations,
    })
}

pub(crate) fn of_labels(text: BTreeMap<String, OneOrMore>) -> BTreeMap<String, Vec<String>> {
    text.into_iter().map(|(name, value)| (name, value.values())).collect()
}

fn threshold(text: &RuleText, measure: &Measure) -> Result<(Kind, Bound), String> {
    compared_alone(measure)?;
    if text.weight.is_some() {
        return Err("`weight` belongs to rules of kind `anomaly`".to_owned());
    }
    let drift = [&text.test, &text.direction];
    if text.reference.is_some()
        || text.alpha.is_some()
        || text.min_effect.is_some()
        || drift.iter().any(|field| field.is_some())
    {
        return Err(
            "`reference`, `alpha`, `min_effect`, `test` and `direction` belong to rules of kind `drift`".to_owned()
        );
    }
    match text.quantile {
        Some(_) if !measure.takes_quantile() => return Err(format!("`quantile` does not go with measure `{measure}`")),
        Some(q) if !(0.0..=1.0).contains(&q) => {
            return Err(format!("`quantile` is {q}, it lies between 0 and 1 (p95 is 0.95)"));
        }
        None if measure.needs_quantile() => {
            return Err(format!("measure `{measure}` needs a `quantile`, for example 0.95"));
        }
        _ => {}
    }
    let bound = match (text.above, text.below) {
        (Some(limit), None) if limit.is_finite() => Bound::Above(limit),
        (None, Some(limit)) if limit.is_finite() => Bound::Below(limit),
        _ => return Err("give exactly one of `above` and `below`, a finite number".to_owned()),
    };
    Ok((Kind::Threshold, bound))
}

fn drift(text: &RuleText, measure: &Measure) -> Result<(Kind, Bound), String> {
    if text.above.is_some() || text.below.is_some() || text.quantile.is_some() {
        return Err(
            "`above`, `below` and `quantile` belong to rules of kind `threshold`; a drift rule has `min_effect`"
                .to_owned(),
        );
    }
    if text.weight.is_some() {
        return Err("`weight` belongs to rules of kind `anomaly`".to_owned());
    }
    let (test, direction) = (test(text, measure)?, direction(text)?);
    if direction != Direction::Both && !test.signed() {
        return Err(format!("`direction` goes with tests whose effect has a sign: {}", ids(Test::signed)));
    }
    let reference = reference::read(text.reference.as_ref())?;
    if let (Some(what), Reference::GoldenSet) = (compared_by(measure), reference) {
        return Err(format!("`reference`: a golden set keeps no {what} to compare with"));
    }
    if test == Test::Classifier {
        classified(text, reference)?;
    }
    let alpha = text.alpha.unwrap_or(ALPHA);
    let Some(effect) = text.min_effect.or_else(|| test.least_effect(measure)) else {
        return Err(format!("test `{}` needs a `min_effect`: from which difference on does it matter?", test.id()));
    };
    if !(1e-12..=0.2).contains(&alpha) || !effect.is_finite() || effect < 0.0 {
        return Err("`alpha` lies between 1e-12 and 0.2, `min_effect` is 0 or more".to_owned());
    }
    if alpha < test.least_p() {
        return Err(format!("`alpha` is {alpha}, and test `{}` gives no p below {}", test.id(), test.least_p()));
    }
    Ok((Kind::Drift(Drift { reference, alpha, test, direction }), Bound::Above(effect)))
}

/// What a classifier is learnt from: stretches of both windows.
fn classified(text: &RuleText, reference: Reference) -> Result<(), String> {
    if let Reference::Previous(_) = reference {
        return Err("test `classifier` compares times and slices; beside an earlier version words are tested one by one: `test = \"words\"`".to_owned());
    }
    if matches!(reference, Reference::Fixed { from, to } if to - from < CLASSIFIED) {
        return Err(
            "test `classifier` cuts its windows into sixteen stretches and more: the reference is 20m or longer"
                .to_owned(),
        );
    }
    if text.window.0 < CLASSIFIED {
        return Err(
            "test `classifier` cuts its windows into sixteen stretches and more: `window` is 20m or longer".to_owned()
        );
    }
    Ok(())
}

/// The least change of a rate and of values that matters where a rule says none: drift.md's defaults.
const LEAST_CHANGE: (f64, f64) = (0.25, 0.1);
/// The shortest window of a classifier.
const CLASSIFIED: Micros = 20 * MINUTE;
/// Weights beyond these would leave the other rules nothing.
const WEIGHTS: std::ops::RangeInclusive<f64> = 0.001..=1_000.0;

fn anomaly(text: &RuleText, measure: &Measure) -> Result<(Kind, Bound), String> {
    compared_alone(measure)?;
    let foreign = [
        ("above", text.above.is_some()),
        ("below", text.below.is_some()),
        ("quantile", text.quantile.is_some()),
        ("reference", text.reference.is_some()),
        ("alpha", text.alpha.is_some()),
        ("test", text.test.is_some()),
        ("min_events", text.min_events.is_some()),
    ];
    if let Some((name, _)) = foreign.iter().find(|(_, given)| *given) {
        return Err(format!(
            "`{name}` does not belong to rules of kind `anomaly`; these take `min_effect`, `direction`, `weight` and `window`"
        ));
    }
    late(measure)?;
    if Test::usual(measure).is_none() && !matches!(measure, Measure::Calls) {
        return Err(format!(
            "measure `{measure}` is no distribution, rate or mean, nor `calls`, so there is nothing usual to learn"
        ));
    }
    if text.window.0 > HOUR || HOUR % text.window.0.max(1) != 0 {
        return Err(
            "`window` of an anomaly rule is its block and divides the hour: 1m, 5m, 10m, 15m, 30m, 1h".to_owned()
        );
    }
    let usual = if measure.is_rate() { LEAST_CHANGE.0 } else { LEAST_CHANGE.1 };
    let Some(effect) = text.min_effect.or(Some(usual).filter(|_| !measure.is_mean())) else {
        return Err(format!(
            "`{measure}` needs a `min_effect`, in its own unit: from which difference on does it matter?"
        ));
    };
    // Who is woken is to be told first.
    let usual = match text.severity {
        Severity::Page => 1.0,
        Severity::Ticket => 0.5,
        Severity::Info => 0.25,
    };
    let weight = text.weight.unwrap_or(usual);
    if !effect.is_finite() || effect < 0.0 || !WEIGHTS.contains(&weight) {
        return Err("`min_effect` is 0 or more (0.25: a quarter), `weight` lies between 0.001 and 1000".to_owned());
    }
    Ok((Kind::Anomaly(Anomaly { direction: direction(text)?, weight }), Bound::Above(effect)))
}

fn ids(wanted: impl Fn(Test) -> bool) -> String {
    let found: Vec<&str> = Test::ALL.into_iter().filter(|test| wanted(*test)).map(Test::id).collect();
    found.join(", ")
}

/// What two windows are compared by, of a measure that is no number.
fn compared_by(measure: &Measure) -> Option<&'static str> {
    match measure {
        Measure::Words(_) => Some("words"),
        Measure::Embedding(_) => Some("embeddings"),
        Measure::Table(_) => Some("categories"),
        _ => None,
    }
}

/// Words and embeddings are no number: two windows of them can be compared, and no more.
fn compared_alone(measure: &Measure) -> Result<(), String> {
    let Some(what) = compared_by(measure) else { return Ok(()) };
    Err(format!("measure `{measure}` goes with rules of kind `drift` alone: {what} are compared, and are no number"))
}

/// Labels that came early are another sample than all of them.
fn late(measure: &Measure) -> Result<(), String> {
    if !matches!(measure, Measure::Feedback(_)) {
        return Ok(());
    }
    Err(format!(
        "`{measure}` comes late, and what came early is not held against what is complete: use a rule of kind `threshold`, or a `score.NAME` that comes with the call"
    ))
}

/// The test asked for, or the one that goes with the measure.
fn test(text: &RuleText, measure: &Measure) -> Result<Test, String> {
    late(measure)?;
    let Some(usual) = Test::usual(measure) else {
        return Err(format!(
            "measure `{measure}` is no distribution, rate or mean, so there is nothing to compare; valid are duration_ms, ttft_ms, input_tokens, output_tokens, cost_usd, score.NAME, text.NAME, words.NAME, embedding.SPACE, finish_reasons, error_classes, and the rates"
        ));
    };
    let fits = |test: Test| test.fits(measure);
    match &text.test {
        None => Ok(usual),
        Some(id) => Test::parse(id)
            .filter(|test| fits(*test))
            .ok_or_else(|| format!("`test` is `{id}`; for measure `{measure}` valid are {}", ids(fits))),
    }
}

fn direction(text: &RuleText) -> Result<Direction, String> {
    let Some(direction) = &text.direction else { return Ok(Direction::Both) };
    Direction::parse(direction).ok_or_else(|| format!("`direction` is `{direction}`; valid are up, down and both"))
}

impl Rule {
    /// Whether a series belongs to the rule. Without a word on `operation` or `served`, headline calls do.
    pub fn matches(&self, labels: &Labels) -> bool {
        let fits = |(name, values): (&String, &Vec<String>)| {
            values.iter().any(|value| labels.get(name).unwrap_or("") == value)
        };
        let names = |name: &str| self.matches.contains_key(name) || self.by.iter().any(|by| by == name);
        let operation = names("operation")
            || leeway_core::event::HEADLINE_OPERATIONS.contains(&labels.get("operation").unwrap_or(""));
        let served = names("served") || labels.get("served") == Some("true");
        operation && served && self.matches.iter().all(fits)
    }

    /// The rule over its reference's series: itself, but for a reference that is another slice.
    pub fn of_reference(&self) -> Self {
        let mut other = self.clone();
        other.matches.extend(self.against.clone());
        other
    }

    /// The reference in words, where its time does not say all; so many of its windows `held` anything.
    pub fn reference_words(&self, held: usize) -> String {
        match self.kind {
            Kind::Drift(Drift { reference: Reference::Weeks(n), .. }) if n > 1 => {
                format!("the same time of {n} weeks, together; {held} of them have data")
            }
            Kind::Drift(Drift { reference: Reference::Slice, .. }) => {
                let labels = self.against.iter().map(|(name, values)| format!("{name} = {}", values.join(" or ")));
                labels.collect::<Vec<_>>().join(", ")
            }
            _ => String::new(),
        }
    }

    /// Where the window, or of an anomaly rule the block, begins that is judged at a time.
    pub fn begin(&self, end: Micros) -> Micros {
        match self.kind {
            Kind::Anomaly(_) => (end - 1).div_euclid(self.window) * self.window,
            _ => end - self.window,
        }
    }

    /// Minutes between looks of an anomaly rule into its open block: a twelfth of it. What is to come of a number of calls is no
    /// drop, so there it is not looked at.
    fn glance_every(&self) -> Option<Micros> {
        let minutes = (self.window / MINUTE + 11) / 12;
        let looks = matches!(self.kind, Kind::Anomaly(_)) && !matches!(self.measure, Measure::Calls);
        Some(minutes * MINUTE).filter(|every| looks && *every < self.window)
    }

    /// How often an open block is looked into before its end.
    pub fn glances(&self) -> usize {
        self.glance_every().map_or(0, |every| ((self.window - 1) / every) as usize)
    }

    /// Whether something is judged at a time.
    pub fn judges(&self, end: Micros) -> bool {
        let anomaly = matches!(self.kind, Kind::Anomaly(_));
        !anomaly
            || end % self.window == 0
            || self.glance_every().is_some_and(|every| (end - self.begin(end)) % every == 0)
    }

    /// The instance that a series belongs to.
    pub fn instance(&self, labels: &Labels) -> AlertLabels {
        self.by.iter().map(|name| (name.clone(), labels.get(name).unwrap_or("").to_owned())).collect()
    }

    /// The only tenant whose series the rule reads; `None`: any.
    pub fn tenant(&self) -> Option<&str> {
        self.matches.get("tenant").filter(|values| values.len() == 1).map(|values| values[0].as_str())
    }

    /// The highest parent whose labels answer the rule: fewer rows to read.
    pub fn level(&self) -> Level {
        let needed =
            || self.by.iter().chain(self.matches.keys()).filter(|name| *name != "operation" && *name != "served");
        let covers = |level: &&Level| match level.dimensions() {
            None => true,
            Some(dimensions) => needed().all(|name| dimensions.contains(&name.as_str())),
        };
        Level::ALL.iter().find(covers).copied().unwrap_or(Level::Leaf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEEK: Micros = 7 * 24 * HOUR;
    const GOOD: &str = r#"
[[rule]]
id = "slow"
kind = "threshold"
measure = "duration_ms"
quantile = 0.95
where = { tenant = "acme", route = ["a", "b"] }
by = ["app"]
above = 4000
for = "3m"
severity = "page"
receivers = ["oncall"]
"#;

    fn parse_text(text: &str) -> Result<Vec<Rule>, String> {
        let receivers = BTreeSet::from(["oncall".to_owned()]);
        parse("rules.toml", text, &Dimensions::default(), &receivers).map_err(|error| error.to_string())
    }

    fn drift(more: &str) -> Result<Rule, RuleError> {
        let measure = if more.contains("measure") { "" } else { "measure = \"duration_ms\"\n" };
        let text = format!("[[rule]]\nid = \"d\"\nkind = \"drift\"\n{measure}severity = \"ticket\"\n{more}");
        parse("rules.toml", &text, &Dimensions::default(), &BTreeSet::new()).map(|rules| rules[0].clone())
    }

    #[test]
    fn a_drift_rule_takes_what_goes_with_its_measure() {
        let rule = drift("reference = \"previous_day\"\nwindow = \"1h\"").unwrap();
        let (test, direction) = (Test::Psi, Direction::Both);
        assert_eq!(rule.kind, Kind::Drift(Drift { reference: Reference::PreviousDay, alpha: ALPHA, test, direction }));
        assert_eq!(rule.bound, Bound::Above(0.1));
        let means =
            drift("reference = \"previous_day\"\ntest = \"welch\"\nmin_effect = 50\ndirection = \"up\"").unwrap();
        let Kind::Drift(asked) = means.kind else { panic!() };
        assert_eq!((asked.test, asked.direction, means.bound), (Test::Welch, Direction::Up, Bound::Above(50.0)));
        for (measure, test) in [("score.x", Test::Welch), ("text.length", Test::Welch), ("text.empty", Test::Fisher)] {
            let text = format!("reference = \"previous_day\"\nmeasure = \"{measure}\"\nmin_effect = 0.1");
            let Kind::Drift(asked) = drift(&text).unwrap().kind else { panic!() };
            assert_eq!(asked.test, test, "{measure}");
        }
        let fixed = drift("reference = { from = \"2026-11-01T00:00:00Z\", to = \"2026-11-02T00:00:00Z\" }\nalpha = 0.01\nmin_effect = 0.2").unwrap();
        let Kind::Drift(Drift { reference: reference @ Reference::Fixed { from, to }, .. }) = fixed.kind else {
            panic!()
        };
        assert_eq!((reference.windows(5, 6), to - from), (vec![(from, to)], 24 * HOUR));
        let weeks = drift("reference = { weeks = 2 }").unwrap();
        let Kind::Drift(Drift { reference: weeks, .. }) = weeks.kind else { panic!("{weeks:?}") };
        assert_eq!(weeks.windows(5, 6), [(5 - 2 * WEEK, 6 - 2 * WEEK), (5 - WEEK, 6 - WEEK)]);
        let previous = drift("reference = \"previous_release\"\nby = [\"app\"]").unwrap();
        let Kind::Drift(Drift { reference, .. }) = previous.kind else { panic!() };
        assert_eq!((reference, reference.windows(5, 6)), (Reference::Previous("release"), Vec::new()));
        let golden = drift("reference = { golden_set = \"support\" }").unwrap();
        let Kind::Drift(Drift { reference, .. }) = golden.kind else { panic!() };
        assert_eq!((reference, golden.suite.as_str()), (Reference::GoldenSet, "support"));
        let slice =
            drift("reference = { where = { model = \"old\" } }\nwhere = { model = \"new\", app = \"a\" }").unwrap();
        let other = slice.of_reference();
        assert_eq!((&other.matches["model"][0][..], &other.matches["app"][0][..]), ("old", "a"));
        assert_eq!(slice.reference_words(1), "model = old");
    }

    #[test]
    fn a_drift_rule_says_what_it_needs() {
        for (more, says) in [
            ("", "needs a `reference`"),
            ("reference = \"last_week\"", "{ weeks = N }"),
            ("reference = { weeks = 6 }", "between 1 and 5"),
            ("reference = \"previous_release\"", "put `app` into `by`"),
            ("reference = \"previous_release\"\nwhere = { app = [\"a\", \"b\"] }", "put `app` into `by`"),
            ("reference = { previous = \"release\" }\nby = [\"app\", \"release\"]", "leave it out"),
            ("reference = { previous = \"route\" }\nby = [\"app\"]", "release, model, prompt_version, index_version"),
            ("reference = { previous = \"prompt_version\" }\nby = [\"app\"]", "no dimension of the settings"),
            ("reference = { golden_set = \"\" }", "names the suite"),
            ("reference = { golden = \"x\" }", "{ golden_set = SUITE }"),
            ("reference = { where = {} }", "at least one label"),
            ("reference = { where = { model = [] } }\nwhere = { model = \"new\" }", "names no value"),
            ("reference = { where = { model = \"old\" } }", "own `where`"),
            ("reference = { where = { model = \"old\" } }\nwhere = { model = [\"new\", \"old\"] }", "with itself"),
            (
                "reference = { where = { model = \"old\" } }\nwhere = { model = \"new\" }\nby = [\"model\"]",
                "counterpart",
            ),
            ("reference = { where = { colour = \"old\" } }\nwhere = { colour = \"new\" }", "unknown label"),
            ("reference = { from = \"2026-11-02T00:00:00Z\", to = \"2026-11-01T00:00:00Z\" }", "before"),
            ("reference = { from = \"yesterday\", to = \"today\" }", "is no time"),
            ("reference = \"previous_day\"\nabove = 3", "min_effect"),
            ("reference = \"previous_day\"\nalpha = 2.0", "alpha"),
            ("reference = \"previous_day\"\ntest = \"ad\"\nmin_effect = 3\nalpha = 0.0001", "gives no p below 0.001"),
            (
                "reference = \"previous_day\"\ntest = \"t\"",
                "valid are psi, ks, cvm, ad, mann_whitney, welch, wasserstein",
            ),
            ("reference = \"previous_day\"\ntest = \"fisher\"", "valid are psi"),
            ("reference = \"previous_day\"\ntest = \"welch\"", "needs a `min_effect`"),
            ("reference = \"previous_day\"\ndirection = \"up\"", "mann_whitney, welch, two_proportions, fisher"),
            ("reference = \"previous_day\"\nmeasure = \"score.grounded\"", "needs a `min_effect`"),
            (
                "reference = \"previous_day\"\nmeasure = \"score.grounded\"\ntest = \"psi\"",
                "for measure `score.grounded` valid are welch",
            ),
            ("reference = \"previous_day\"\nmeasure = \"feedback.thumbs\"", "comes late"),
            ("reference = \"previous_day\"\nmeasure = \"errors\"", "no distribution, rate or mean"),
            ("reference = \"previous_day\"\nmeasure = \"embedding.e5\"\ntest = \"psi\"", "valid are mmd"),
            ("reference = \"previous_day\"\nmeasure = \"embedding.e5\"\ndirection = \"up\"", "effect has a sign"),
            ("reference = { golden_set = \"s\" }\nmeasure = \"embedding.e5\"", "a golden set keeps no embeddings"),
            ("reference = \"previous_day\"\ndirection = \"sideways\"", "up, down and both"),
        ] {
            let error = drift(more).unwrap_err().to_string();
            assert!(error.contains(says), "{more}: {error}");
        }
    }

    #[test]
    fn a_classifier_says_what_it_needs() {
        for (more, says) in [
            (
                "reference = \"previous_release\"\nmeasure = \"words.input\"\nwindow = \"1h\"",
                "words are tested one by one",
            ),
            ("reference = \"previous_day\"\nmeasure = \"words.input\"\nwindow = \"5m\"", "`window` is 20m or longer"),
            (
                "reference = { from = \"2026-11-01T00:00:00Z\", to = \"2026-11-01T00:05:00Z\" }\nmeasure = \"words.input\"\nwindow = \"1h\"",
                "the reference is 20m or longer",
            ),
            ("reference = \"previous_day\"\nmeasure = \"duration_ms\"", "for measure `duration_ms` valid are"),
        ] {
            let error = drift(&format!("test = \"classifier\"\n{more}")).unwrap_err().to_string();
            assert!(error.contains(says), "{more}: {error}");
        }
    }

    #[test]
    fn an_anomaly_rule_takes_what_it_needs_and_nothing_else() {
        let anomaly = |more: &str| {
            let text = format!("[[rule]]\nid = \"a\"\nkind = \"anomaly\"\nseverity = \"page\"\n{more}");
            parse("rules.toml", &text, &Dimensions::default(), &BTreeSet::new()).map(|rules| rules[0].clone())
        };
        let rule = anomaly("measure = \"error_rate\"\ndirection = \"up\"\nby = [\"app\"]").unwrap();
        let expected = Kind::Anomaly(Anomaly { direction: Direction::Up, weight: 1.0 });
        assert_eq!((rule.kind, rule.bound, rule.window), (expected, Bound::Above(0.25), 5 * MINUTE));
        assert_eq!(anomaly("measure = \"duration_ms\"").unwrap().bound, Bound::Above(0.1));
        // Who is woken is told first, unless the rule says otherwise.
        for (severity, more, expected) in [("ticket", "", 0.5), ("info", "", 0.25), ("info", "weight = 3", 3.0)] {
            let text = format!(
                "[[rule]]\nid = \"a\"\nkind = \"anomaly\"\nseverity = \"{severity}\"\nmeasure = \"calls\"\n{more}"
            );
            let rules = parse("rules.toml", &text, &Dimensions::default(), &BTreeSet::new()).unwrap();
            assert!(matches!(rules[0].kind, Kind::Anomaly(Anomaly { weight, .. }) if weight == expected), "{severity}");
        }
        for (more, says) in [
            ("measure = \"cost_total_usd\"", "valid are"),
            ("measure = \"errors\"", "nothing usual to learn"),
            ("measure = \"calls\"\nabove = 3", "`above` does not belong"),
            ("measure = \"calls\"\nmin_events = 3", "`min_events` does not belong"),
            ("measure = \"calls\"\nwindow = \"7m\"", "divides the hour"),
            ("measure = \"calls\"\nwindow = \"2h\"", "divides the hour"),
            ("measure = \"calls\"\nweight = 0", "weight"),
            ("measure = \"calls\"\nmin_effect = -1", "min_effect"),
            ("measure = \"text.grounded\"", "in its own unit"),
            ("measure = \"feedback.thumbs\"", "comes late"),
            ("measure = \"words.input\"", "with rules of kind `drift` alone"),
            ("measure = \"embedding.e5\"", "embeddings are compared, and are no number"),
        ] {
            let error = anomaly(more).unwrap_err().to_string();
            assert!(error.contains(says), "{more}: {error}");
        }
        let error = parse_text(&GOOD.replace("above = 4000", "above = 4000\nweight = 2")).unwrap_err();
        assert!(error.contains("kind `anomaly`"), "{error}");
    }

    #[test]
    fn an_open_block_is_looked_into_a_dozen_times_at_most() {
        let anomaly = |measure: &str, window: &str| {
            let text = format!(
                "[[rule]]\nid = \"a\"\nkind = \"anomaly\"\nseverity = \"page\"\nmeasure = \"{measure}\"\nwindow = \"{window}\""
            );
            parse("rules.toml", &text, &Dimensions::default(), &BTreeSet::new()).unwrap().remove(0)
        };
        for (window, looks) in [("1m", 0), ("5m", 4), ("15m", 7), ("30m", 9), ("1h", 11)] {
            let rule = anomaly("error_rate", window);
            let hour = 7 * HOUR;
            let judged = (1..=60).filter(|minute| rule.judges(hour + minute * MINUTE)).count();
            assert_eq!((rule.glances(), judged), (looks, (looks + 1) * (HOUR / rule.window) as usize), "{window}");
            assert_eq!((rule.begin(hour), rule.begin(hour + MINUTE)), (hour - rule.window, hour));
        }
        let calls = anomaly("calls", "5m");
        assert!(calls.glances() == 0 && !calls.judges(MINUTE) && calls.judges(5 * MINUTE));
        assert!(parse_text(GOOD).unwrap()[0].judges(MINUTE));
    }

    #[test]
    fn a_good_rule_reads_with_its_defaults() {
        let rules = parse_text(GOOD).unwrap();
        let rule = &rules[0];
        assert_eq!((rule.window, rule.hold, rule.min_events), (5 * MINUTE, 3 * MINUTE, 100));
        assert_eq!((rule.level(), rule.bound), (Level::Leaf, Bound::Above(4000.0)));
        let again = parse_text(&format!("# a comment\n{GOOD}")).unwrap();
        assert_eq!(again[0].version, rule.version);
        assert_ne!(parse_text(&GOOD.replace("4000", "4001")).unwrap()[0].version, rule.version);
    }

    #[test]
    fn a_mistake_is_named_with_what_would_be_right() {
        let cases = [
            ("above = 4000", "abvoe = 4000", "abvoe"),
            ("duration_ms", "latency", "valid are calls, errors"),
            ("duration_ms", "words.output", "with rules of kind `drift` alone"),
            ("duration_ms", "embedding.e5", "with rules of kind `drift` alone"),
            ("duration_ms", "embedding.", "embedding.SPACE"),
            ("quantile = 0.95", "", "needs a `quantile`"),
            ("0.95", "95", "between 0 and 1"),
            ("above = 4000", "", "exactly one of"),
            ("above = 4000", "above = 1\nbelow = 2", "exactly one of"),
            ("\"3m\"", "\"3 minutes\"", "no duration"),
            ("[\"app\"]", "[\"ap\"]", "valid are operation, served, tenant"),
            ("oncall", "nobody", "the settings define: oncall"),
            ("threshold", "magic", "threshold"),
            ("\"slow\"", "\"sl ow\"", "letters"),
            ("severity = \"page\"", "severity = \"high\"", "page"),
            ("above = 4000", "above = 4000\nwindow = \"90s\"", "whole number of minutes"),
            ("above = 4000", "above = \"4000\"", "rule `slow`"),
        ];
        for (from, to, expected) in cases {
            let error = parse_text(&GOOD.replace(from, to)).unwrap_err();
            assert!(error.contains(expected), "{to}: {error}");
        }
        let unknown = parse_text(&GOOD.replace("severity", "colour = \"red\"\nseverity")).unwrap_err();
        assert!(unknown.contains("colour") && unknown.contains("keep_firing_for"), "{unknown}");
        assert!(parse_text(&format!("{GOOD}{GOOD}")).unwrap_err().contains("twice"));
        assert!(parse_text("[[rules]]").unwrap_err().contains("expected `rule`"));
    }
}
