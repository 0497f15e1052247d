//! `leeway finding verify`: a finding's evidence, computed again from what the store holds.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use leeway_alerts::rule::Kind;
use leeway_core::alert::{DriftEvidence, Evidence, Finding, UsualEvidence};
use leeway_core::clock::{MINUTE, readable};
use leeway_store::Store;
use serde_json::Value as Json;

use super::rules;
use crate::settings::Settings;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The finding: 16 hex digits of its alert, a dash, the second of its window's end
    id: String,
    /// The file of rules as it was; without it the settings' one
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Settings file, for the store
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub async fn run(args: &Args) -> Result<()> {
    let mut settings = Settings::load(args.config.as_deref())?;
    if let Some(rules) = &args.rules {
        rules.clone_into(&mut settings.rules.file);
    }
    let store = Store::open(&settings.location()).await.context("open the store (store.url)")?;
    let Some(finding) = store.finding(&args.id).await? else { bail!("there is no finding `{}`", args.id) };
    let all = settings.rules()?;
    let file = settings.rules.file.display();
    let Some(rule) = all.iter().find(|rule| rule.id == finding.rule) else {
        bail!("the finding is of rule `{}`, which {file} does not have", finding.rule);
    };
    if rule.version != finding.rule_version {
        bail!(
            "the finding is of version {} of rule `{}`, and {file} has {}: give the file as it was with --rules",
            finding.rule_version,
            rule.id,
            rule.version
        );
    }
    // The evidence of one window; of detectors all that they held.
    let from = match (rule.kind, &finding.evidence.usual) {
        (Kind::Anomaly(_), Some(usual)) => usual.weighed_from,
        _ => finding.at - MINUTE,
    };
    let again = rules::again(&store, &settings, &all, &finding, from).await?;
    answer(&finding, again, Path::new(&settings.rules.file))
}

fn answer(finding: &Finding, again: Option<Evidence>, file: &Path) -> Result<()> {
    let Some(again) = again else {
        bail!("the store no longer holds what {} was found from ({})", finding.id, file.display());
    };
    // How many partitions had reported, which other streams were affected, and what had been changed, are of that moment.
    let own = |evidence: &Evidence| {
        let usual =
            evidence.usual.clone().map(|usual| UsualEvidence { affected: Vec::new(), affected_count: 0, ..usual });
        // Once nothing was said of why.
        let drift = evidence.drift.clone().map(|drift| DriftEvidence { untested: String::new(), ..drift });
        serde_json::to_value(Evidence { coverage: 1.0, usual, drift, moved: None, ..evidence.clone() })
    };
    let (before, now) = (own(&finding.evidence)?, own(&again)?);
    let differs = |name: &&String| !same(&before[name.as_str()], &now[name.as_str()]);
    let names = before.as_object().into_iter().chain(now.as_object()).flat_map(|fields| fields.keys());
    let mut different: Vec<&String> = names.filter(differs).collect();
    different.sort();
    different.dedup();
    if different.is_empty() {
        let what = format!("{} {}", finding.evidence.what(), finding.evidence.shown_value());
        say(&format!("{}: {what} at {}, the same again", finding.id, readable(finding.at)))
    } else {
        let line = |name: &&String| format!("  {name}: {} then, {} now", before[name.as_str()], now[name.as_str()]);
        let lines: Vec<String> = different.iter().map(line).collect();
        bail!("{} comes out otherwise: calls came after it, or are gone\n{}", finding.id, lines.join("\n"))
    }
}

/// Whether two JSON values are the same; numbers to 14 digits, since reading a stored one may cost its last bit.
fn same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-14 * a.abs().max(b.abs()),
            _ => a == b,
        },
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

fn say(line: &str) -> Result<()> {
    use std::io::Write;
    writeln!(std::io::stdout().lock(), "{line}").context("print")
}
