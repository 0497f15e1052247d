//! What a drift rule compares its window with: the text form, checked.

use std::collections::BTreeMap;

use leeway_core::clock::{HOUR, Micros, parse_rfc3339};
use leeway_core::labels::Dimensions;
use serde::Deserialize;

use crate::rule::{OneOrMore, of_labels};

/// Label → allowed values.
type Labels = BTreeMap<String, Vec<String>>;

/// What the present is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reference {
    /// The same window, a day earlier.
    PreviousDay,
    /// The same window of each of so many weeks before, together: the hour of the week is no change.
    Weeks(u8),
    Fixed {
        from: Micros,
        to: Micros,
    },
    /// The same window of other series: the rule's own labels, but for those of [`crate::rule::Rule::against`].
    Slice,
    /// The newest version of a label beside the one before it, at the same hours of the days before the newest came.
    Previous(&'static str),
    /// The newest run of the suite that [`crate::rule::Rule::suite`] names.
    GoldenSet,
}

/// Labels that tell what runs.
const VERSIONS: [&str; 4] = ["release", "model", "prompt_version", "index_version"];

/// Weeks that a reference has at most.
const WEEKS: std::ops::RangeInclusive<u8> = 1..=5;
const WEEK: Micros = 7 * 24 * HOUR;

impl Reference {
    /// The reference's times for a window, the earliest first.
    pub fn windows(self, from: Micros, to: Micros) -> Vec<(Micros, Micros)> {
        match self {
            Self::PreviousDay => vec![(from - 24 * HOUR, to - 24 * HOUR)],
            Self::Weeks(n) => (1..=i64::from(n)).rev().map(|back| (from - back * WEEK, to - back * WEEK)).collect(),
            Self::Fixed { from, to } => vec![(from, to)],
            Self::Slice => vec![(from, to)],
            // Each instance has its own.
            Self::Previous(_) | Self::GoldenSet => Vec::new(),
        }
    }
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected \"previous_day\", \"previous_week\", \"previous_release\", { weeks = N }, { from = TIME, to = TIME }, { where = { LABEL = VALUE } }, { previous = LABEL } or { golden_set = SUITE }"
)]
pub(crate) enum ReferenceText {
    Named(String),
    Fixed(FixedText),
    Weeks(WeeksText),
    Slice(SliceText),
    Previous(PreviousText),
    GoldenSet(GoldenText),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PreviousText {
    previous: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GoldenText {
    golden_set: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WeeksText {
    weeks: u8,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SliceText {
    #[serde(rename = "where")]
    matches: BTreeMap<String, OneOrMore>,
}

/// What a reference may be, in words.
const REFERENCES: &str = "\"previous_day\", \"previous_week\", \"previous_release\", { weeks = N }, { from = TIME, to = TIME }, { where = { LABEL = VALUE } }, { previous = LABEL } and { golden_set = SUITE }";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FixedText {
    from: String,
    to: String,
}

impl ReferenceText {
    /// Labels that it names.
    pub fn labels(&self) -> impl Iterator<Item = &String> {
        let slice = if let Self::Slice(slice) = self { Some(&slice.matches) } else { None };
        slice.into_iter().flat_map(BTreeMap::keys)
    }

    /// Another slice's labels, and a golden set's suite.
    pub fn parts(self) -> (Labels, String) {
        match self {
            Self::Slice(slice) => (of_labels(slice.matches), String::new()),
            Self::GoldenSet(named) => (Labels::new(), named.golden_set),
            _ => <_>::default(),
        }
    }
}

/// Reads it; every error says what would be right.
pub(crate) fn read(text: Option<&ReferenceText>) -> Result<Reference, String> {
    let time = |text: &str| {
        parse_rfc3339(text).ok_or_else(|| format!("`reference`: `{text}` is no time such as 2026-11-01T00:00:00Z"))
    };
    match text {
        Some(ReferenceText::Named(name)) if name == "previous_day" => Ok(Reference::PreviousDay),
        Some(ReferenceText::Named(name)) if name == "previous_week" => Ok(Reference::Weeks(1)),
        Some(ReferenceText::Named(name)) if name == "previous_release" => Ok(Reference::Previous("release")),
        Some(ReferenceText::Named(name)) => Err(format!("`reference` is `{name}`; valid are {REFERENCES}")),
        Some(ReferenceText::Weeks(WeeksText { weeks })) if WEEKS.contains(weeks) => Ok(Reference::Weeks(*weeks)),
        Some(ReferenceText::Weeks(_)) => {
            Err(format!("`reference`: `weeks` lies between {} and {}", WEEKS.start(), WEEKS.end()))
        }
        Some(ReferenceText::Slice(slice)) if slice.matches.is_empty() => {
            Err("`reference`: `where` names at least one label, such as { model = \"gpt-4o\" }".to_owned())
        }
        Some(ReferenceText::Slice(_)) => Ok(Reference::Slice),
        Some(ReferenceText::Previous(PreviousText { previous })) => {
            let known = VERSIONS.into_iter().find(|label| label == previous);
            known.map(Reference::Previous).ok_or_else(|| {
                format!("`reference`: `previous` is `{previous}`; labels with versions are {}", VERSIONS.join(", "))
            })
        }
        Some(ReferenceText::GoldenSet(GoldenText { golden_set })) if golden_set.is_empty() => {
            Err("`reference`: `golden_set` names the suite of its evaluations".to_owned())
        }
        Some(ReferenceText::GoldenSet(_)) => Ok(Reference::GoldenSet),
        Some(ReferenceText::Fixed(fixed)) => {
            let (from, to) = (time(&fixed.from)?, time(&fixed.to)?);
            if from >= to || to - from > 31 * 24 * HOUR {
                return Err("`reference`: `from` lies before `to`, by 31 days at most".to_owned());
            }
            Ok(Reference::Fixed { from, to })
        }
        None => Err(format!("a drift rule needs a `reference`; valid are {REFERENCES}")),
    }
}

/// Whether a rule's labels go with its reference.
pub(crate) fn fits(
    reference: Reference,
    against: &Labels,
    (matches, by): (&Labels, &[String]),
    dimensions: &Dimensions,
) -> Result<(), String> {
    apart(against, matches, by)?;
    match reference {
        Reference::Previous(label) if !dimensions.names().iter().any(|name| name == label) => {
            Err(format!("`reference`: `{label}` is no dimension of the settings, so its versions are not known"))
        }
        Reference::Previous(label) => versioned(label, matches, by),
        _ => Ok(()),
    }
}

/// Another slice differs in labels that the rule names, and in each of their values.
fn apart(against: &Labels, matches: &Labels, by: &[String]) -> Result<(), String> {
    for (name, values) in against {
        let Some(own) = matches.get(name) else {
            return Err(format!(
                "`reference`: say in the rule's own `where` which `{name}` is compared with {name} = {}",
                values.join(", ")
            ));
        };
        if let Some(both) = values.iter().find(|value| own.contains(value)) {
            return Err(format!(
                "`reference`: {name} = {both} is in the rule's own `where` too: it would be compared with itself"
            ));
        }
        if by.contains(name) {
            return Err(format!("`reference`: `{name}` is in `by`, so no instance would find its counterpart"));
        }
    }
    Ok(())
}

/// Versions are chosen by the rule, of one app.
fn versioned(label: &str, matches: &Labels, by: &[String]) -> Result<(), String> {
    if matches.contains_key(label) || by.iter().any(|name| name == label) {
        return Err(format!("`reference`: the rule chooses the `{label}`: leave it out of `where` and `by`"));
    }
    let one = matches.get("app").is_some_and(|apps| apps.len() == 1);
    if !one && !by.iter().any(|name| name == "app") {
        return Err(format!(
            "`reference`: each app has versions of its own: put `app` into `by`, or name one in `where`, to compare its `{label}` with the one before"
        ));
    }
    Ok(())
}
