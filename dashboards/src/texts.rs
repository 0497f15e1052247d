//! What the texts of a period showed: personal data by origin, marks, qualities, and what moderation said.

use askama::Template;
use leeway_core::hazard::{Hazard, Moderator};
use leeway_core::measure::{Estimate, Measure};
use leeway_core::money::group_digits;
use leeway_core::pane::{Counter, Pane};
use leeway_core::quality::Quality;
use leeway_core::scan::{Entity, Marker, Origin};
use serde_json::{Map, Value as Json, json};

/// The sections of a page.
#[derive(Debug, Template)]
#[template(path = "texts.html")]
pub struct Texts {
    /// Columns of the table by origin: those that have something, and three that always stand.
    origins: Vec<&'static str>,
    kinds: Vec<(&'static str, Vec<String>)>,
    /// How much was read.
    scanned: String,
    /// What became of unexplained values.
    traced: String,
    /// Name, number with its interval, and of how many calls.
    marks: Vec<(&'static str, String, String)>,
    qualities: Vec<(&'static str, String, String)>,
    moderators: Vec<Judge>,
}

#[derive(Debug)]
struct Judge {
    source: String,
    calls: String,
    flagged: String,
    blocked: String,
    hazards: String,
}

fn count(n: u64) -> String {
    group_digits(&n.to_string())
}

/// `2.3 % (1.9 % to 2.8 %)`
fn shown(measure: &Measure, estimate: &Estimate) -> String {
    let interval = measure.unit().show_interval(estimate.interval);
    let value = measure.unit().show(estimate.value);
    if interval.is_empty() { value } else { format!("{value} ({interval})") }
}

fn measured(
    measures: impl Iterator<Item = (&'static str, Measure)>,
    pane: &Pane,
) -> Vec<(&'static str, String, String)> {
    measures
        .filter_map(|(name, measure)| {
            let estimate = measure.of(pane, None)?;
            Some((name, shown(&measure, &estimate), count(estimate.n)))
        })
        .collect()
}

fn scanned(pane: &Pane) -> String {
    match Measure::ScanCoverage.of(pane, None) {
        None => "No text of an answered call was seen.".to_owned(),
        Some(coverage) => {
            let seen = count(pane.get(Counter::BytesSeen).n);
            format!("{} of {seen} bytes of text were scanned.", Measure::ScanCoverage.unit().show(coverage.value))
        }
    }
}

fn traced(pane: &Pane) -> String {
    let of = |origin| pane.hits.of_origin(origin);
    let (unexplained, traced) = (of(Origin::Unexplained), of(Origin::Traced));
    if unexplained == 0 {
        return "No value was unexplained.".to_owned();
    }
    if traced == 0 {
        return format!(
            "None of {} unexplained values was compared with other calls: that takes kafka.mentions_topic, and a day's memory.",
            count(unexplained)
        );
    }
    let found = [Origin::CrossTenant, Origin::CrossUser, Origin::Recalled].map(of);
    let novel = traced.saturating_sub(found.iter().sum());
    let [tenants, users, recalled] = found.map(count);
    let excess = Measure::PiiCrossTenantExcess;
    let beyond = excess.of(pane, None).map_or_else(String::new, |estimate| {
        let chance = pane.hits.compared().chance;
        format!(
            " Chance alone would find {} with another tenant; beyond it are {}.",
            share_of_one(chance),
            shown(&excess, &estimate)
        )
    });
    format!(
        "Of {} unexplained values {} were compared with all calls of the day before: {tenants} another tenant had, {users} another user, {recalled} the same conversation; {} nobody had.{beyond}",
        count(unexplained),
        count(traced),
        count(novel)
    )
}

/// `at most 0.001`, `2.3`.
fn share_of_one(expected: f64) -> String {
    if expected < 0.001 { "at most 0.001".to_owned() } else { format!("{expected:.3}") }
}

fn judge((source, said): (&String, &Moderator)) -> Judge {
    let mut hazards: Vec<(Hazard, u64)> =
        Hazard::ALL.into_iter().map(|hazard| (hazard, said.hazards[hazard as usize])).filter(|(_, n)| *n > 0).collect();
    hazards.sort_by_key(|(hazard, n)| (std::cmp::Reverse(*n), *hazard));
    let words = hazards.iter().map(|(hazard, n)| format!("{} {}", hazard.name().replace('_', " "), count(*n)));
    Judge {
        source: source.clone(),
        calls: count(said.calls),
        flagged: count(said.flagged),
        blocked: count(said.blocked),
        hazards: words.collect::<Vec<_>>().join(", "),
    }
}

impl Texts {
    pub fn of(pane: &Pane) -> Self {
        let always = [Origin::Echo, Origin::Retrieved, Origin::Unexplained];
        let has = |origin: &Origin| always.contains(origin) || pane.hits.of(*origin, |_| true) > 0;
        let origins: Vec<Origin> = Origin::ALL.into_iter().filter(has).collect();
        let row = |entity: Entity| {
            let cells: Vec<u64> = origins.iter().map(|origin| pane.hits.get(entity, *origin)).collect();
            (cells.iter().any(|n| *n > 0)).then(|| (entity.name(), cells.into_iter().map(count).collect()))
        };
        Self {
            kinds: Entity::ALL.into_iter().filter_map(row).collect(),
            origins: origins.iter().map(|origin| origin.name()).collect(),
            scanned: scanned(pane),
            traced: traced(pane),
            marks: measured(Marker::ALL.into_iter().map(|mark| (mark.name(), Measure::Mark(mark))), pane),
            qualities: measured(Quality::ALL.into_iter().map(|of| (of.name(), Measure::Quality(of))), pane),
            moderators: pane.moderators().iter().map(judge).collect(),
        }
    }
}

/// The same for the API.
pub fn json(pane: &Pane) -> Json {
    let measured = |measures: Vec<(&'static str, Measure)>| -> Map<String, Json> {
        let one = |(name, measure): (&'static str, Measure)| {
            let told = measure.of(pane, None)?;
            let Estimate { value, interval, n } = told;
            Some((name.to_owned(), json!({"value": value, "low": interval.low, "high": interval.high, "n": n})))
        };
        measures.into_iter().filter_map(one).collect()
    };
    let moderator = |(source, said): (&String, &Moderator)| {
        let hazards: Map<String, Json> = Hazard::ALL
            .into_iter()
            .map(|hazard| (hazard.name().to_owned(), said.hazards[hazard as usize].into()))
            .collect();
        let said = json!({"calls": said.calls, "flagged": said.flagged, "blocked": said.blocked, "hazards": hazards});
        (source.clone(), said)
    };
    json!({
        "scan_coverage": Measure::ScanCoverage.of(pane, None).map(|coverage| coverage.value),
        "novel": Measure::PiiNovel.of(pane, None).map(|novel| novel.value),
        "marks": measured(Marker::ALL.into_iter().map(|mark| (mark.name(), Measure::Mark(mark))).collect()),
        "qualities": measured(Quality::ALL.into_iter().map(|of| (of.name(), Measure::Quality(of))).collect()),
        "moderation": pane.moderators().iter().map(moderator).collect::<Map<_, _>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use leeway_core::hazard::{Judged, Moderated};
    use leeway_core::pane::{Numbers, UNIT_WEIGHT};
    use leeway_core::scan::Scanned;

    #[test]
    fn every_number_has_its_interval_or_says_that_there_is_none() {
        let empty = Texts::of(&Pane::default()).render().unwrap();
        assert!(empty.contains("No text of an answered call was seen") && empty.contains("No moderation label"));
        let mut pane = Pane::default();
        let mut scanned = Scanned {
            bytes: (2_000, 1_000),
            marks: Some(Marker::Encoded.bit()),
            qualities: vec![(Quality::Grounded, 500_000)],
            ..Scanned::default()
        };
        scanned.hits.add(Entity::Card, Origin::Unexplained, 3);
        let judged = Judged {
            source: "openai@1".into(),
            flagged: true,
            blocked: false,
            hazards: Hazard::SelfHarm.bit(),
            allowed: 0,
        };
        pane.add(&Numbers {
            scanned: Some(Box::new(scanned)),
            moderated: Some(Box::new(Moderated { raised: vec![], judged: vec![judged] })),
            weight_micro: UNIT_WEIGHT,
            ..Numbers::default()
        });
        let told = Texts::of(&pane).render().unwrap();
        for words in
            ["50.00 % of 2,000 bytes", "None of 3 unexplained", "100.00 % (", "openai@1", "self harm 1", "card"]
        {
            assert!(told.contains(words), "{words}: {told}");
        }
        pane.hits.add(Entity::Card, Origin::Traced, 3);
        pane.hits.add(Entity::Card, Origin::CrossTenant, 1);
        let told = Texts::of(&pane).render().unwrap();
        assert!(told.contains("1 another tenant had") && told.contains("2 nobody had"), "{told}");
        assert!(!told.contains("Chance"), "nobody told it: {told}");
        (0..1_000).for_each(|n| pane.hits.compare(Entity::Card, n < 1, 0.0035));
        let told = Texts::of(&pane).render().unwrap();
        let beyond = "Chance alone would find 3.500 with another tenant; beyond it are -2 (-3 to 6)";
        assert!(told.contains(beyond), "{told}");
        assert_eq!(json(&pane)["novel"], 2.0);
    }
}
