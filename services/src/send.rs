//! `leeway ingest send`: calls, feedback, changes and the other kinds, from files or the command line, to a running
//! service; each file is one request, and one that is sent again counts nothing twice where its records have ids.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use leeway_core::clock::{Clock, rfc3339};
use reqwest::StatusCode;
use serde_json::{Map, Value as Json};

use crate::settings::Settings;

/// Longest wait for an answer: the service answers after a commit or an acknowledgement.
const PATIENCE: Duration = Duration::from_secs(90);
/// Tries while the service says that later is better.
const TRIES: u32 = 5;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files of events: one object, an array, or one on each line; `-` is standard input
    #[arg(required_unless_present = "set", conflicts_with = "set")]
    files: Vec<PathBuf>,
    /// A field of one event that is made here: type=release, to=2.4.1, target.trace_id=…; may be repeated. Without time it is now
    #[arg(long, value_name = "FIELD=VALUE")]
    set: Vec<String>,
    /// What the events are where they do not say: call, feedback, change, evaluation, incident, experiment or figure
    #[arg(long)]
    kind: Option<String>,
    /// Where the service is; without it, web.bind of the settings
    #[arg(long)]
    url: Option<String>,
    /// Settings file
    #[arg(long)]
    config: Option<PathBuf>,
}

pub async fn run(args: Args) -> Result<()> {
    let base = match &args.url {
        Some(url) => url.clone(),
        None => format!("http://{}", Settings::load(args.config.as_deref())?.web.bind),
    };
    let url = format!("{}/v1/events", base.trim_end_matches('/'));
    let http = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build().context("make an HTTP client")?;
    let mut refused = 0;
    if args.files.is_empty() {
        let event = event(&args.set, args.kind.as_deref())?;
        refused += post(&http, &url, "--set", vec![event]).await?;
    }
    for path in &args.files {
        let events = read(path, args.kind.as_deref())?;
        refused += post(&http, &url, &path.display().to_string(), events).await?;
    }
    if refused > 0 {
        bail!("{refused} events were refused; the lines above say why");
    }
    Ok(())
}

/// One event of the command line: a value is JSON where it reads as such, and a text elsewhere.
fn event(set: &[String], kind: Option<&str>) -> Result<Json> {
    let mut event = Map::new();
    for pair in set {
        let Some((path, text)) = pair.split_once('=') else { bail!("--set takes FIELD=VALUE, not `{pair}`") };
        // A version such as 2.10 is a name, not a number.
        let value = match serde_json::from_str(text) {
            Ok(Json::Number(number)) if number.to_string() != text => text.into(),
            Ok(Json::Number(_)) if textual(path) => text.into(),
            Ok(value) => value,
            Err(_) => text.into(),
        };
        put(&mut event, path, value)
            .with_context(|| format!("--set {path}: an earlier --set made it a plain value"))?;
    }
    if !event.contains_key("time") && !event.contains_key("started_at") {
        event.insert("time".into(), rfc3339(Clock::System.wall()).into());
    }
    Ok(of_kind(Json::Object(event), kind))
}

/// Fields whose values are texts also where they look like numbers.
fn textual(path: &str) -> bool {
    let name = path.rsplit('.').next().unwrap_or_default();
    matches!(name, "from" | "to" | "ticket" | "release" | "version" | "prompt_version" | "index_version")
        || name == "id"
        || name.ends_with("_id")
}

fn put(object: &mut Map<String, Json>, path: &str, value: Json) -> Option<()> {
    match path.split_once('.') {
        None => drop(object.insert(path.to_owned(), value)),
        Some((name, rest)) => {
            let inner = object.entry(name).or_insert_with(|| Json::Object(Map::new()));
            put(inner.as_object_mut()?, rest, value)?;
        }
    }
    Some(())
}

fn of_kind(mut event: Json, kind: Option<&str>) -> Json {
    if let (Some(kind), Some(fields)) = (kind, event.as_object_mut()) {
        fields.entry("kind").or_insert_with(|| kind.into());
    }
    event
}

fn read(path: &Path, kind: Option<&str>) -> Result<Vec<Json>> {
    let mut text = String::new();
    if path.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text).context("read standard input")?;
    } else {
        text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    }
    let read: Result<Vec<Json>, _> = serde_json::Deserializer::from_str(&text).into_iter().collect();
    let mut events = read.with_context(|| format!("{} is no JSON", path.display()))?;
    if let [Json::Array(list)] = &mut events[..] {
        events = std::mem::take(list);
    }
    if events.is_empty() {
        bail!("{} holds no events", path.display());
    }
    Ok(events.into_iter().map(|event| of_kind(event, kind)).collect())
}

/// Answers how many were refused.
async fn post(http: &reqwest::Client, url: &str, of: &str, events: Vec<Json>) -> Result<usize> {
    let body = Json::Array(events).to_string();
    let mut attempt = 1;
    loop {
        let request = http.post(url).header("content-type", "application/json").body(body.clone());
        let response = request
            .send()
            .await
            .with_context(|| format!("no service answers at {url}: start one with `leeway run`, or say --url"))?;
        let (status, answer) = (response.status(), response.text().await.context("read the answer")?);
        let later = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        if later && attempt < TRIES {
            tokio::time::sleep(Duration::from_secs(1 << attempt)).await;
            attempt += 1;
            continue;
        }
        let said: Json = serde_json::from_str(&answer).unwrap_or_default();
        let (Some(accepted), Some(rejected)) = (said["accepted"].as_u64(), said["rejected"].as_u64()) else {
            bail!("{of}: the service answered {status}: {answer}");
        };
        let out = &mut std::io::stdout();
        writeln!(out, "{of}: {accepted} taken, {rejected} refused").context("print")?;
        for refusal in said["rejections"].as_array().into_iter().flatten() {
            let text = |name: &str| refusal[name].as_str().unwrap_or_default().to_owned();
            let field = if text("field").is_empty() { String::new() } else { format!(" (field `{}`)", text("field")) };
            writeln!(out, "  record {}: {}{field}", refusal["record"], text("reason")).context("print")?;
        }
        return Ok(rejected as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_command_line_make_an_event() {
        let set =
            ["type=release", "to=2.10", "tokens.input=5", "served=false", "target.trace_id=123", "time=1795225535"];
        let set: Vec<String> = set.map(str::to_owned).to_vec();
        let expected = serde_json::json!({"type": "release", "to": "2.10", "tokens": {"input": 5}, "served": false,
            "target": {"trace_id": "123"}, "time": 1_795_225_535, "kind": "change"});
        assert_eq!(event(&set, Some("change")).unwrap(), expected);
        assert!(event(&["a".to_owned()], None).is_err());
        assert!(event(&["a=1".to_owned(), "a.b=2".to_owned()], None).is_err());
        assert!(event(&["a=1".to_owned()], None).unwrap()["time"].is_string());
    }
}
