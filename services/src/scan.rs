//! `leeway scan`: what the scan finds in a text, with its evidence; the tool to tune it by.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use leeway_core::clock::SECOND;
use leeway_core::scan::{Entity, Marker};
use leeway_detectors::scan::fingerprint::Keyring;
use leeway_detectors::scan::memory::Memory;
use leeway_detectors::scan::provenance::{Exchange, tell};
use leeway_detectors::scan::{Finding, MAX_TEXT, find, partial, safety};
use serde_json::{Value as Json, json};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A text; `-` is standard input
    #[arg(value_name = "FILE", required_unless_present = "jsonl", conflicts_with = "jsonl")]
    file: Option<PathBuf>,
    /// Labelled rows, one JSON object a line: prints one prediction a line
    #[arg(long, value_name = "FILE")]
    jsonl: Option<PathBuf>,
    /// What the rows are, by the name of their file; without it the file's own name
    #[arg(long = "as", value_name = "NAME", requires = "jsonl")]
    name: Option<String>,
    /// Print the values themselves, not masked
    #[arg(long)]
    unmask: bool,
    /// Print one JSON object a finding
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    match (&args.file, &args.jsonl) {
        (Some(path), _) => text(args, path, &mut out)?,
        (_, Some(path)) => rows(args, path, &mut out)?,
        _ => bail!("name a FILE, or `-` for standard input, or rows with --jsonl FILE"),
    }
    out.flush().context("print")
}

fn open(path: &Path) -> Result<Box<dyn BufRead>> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Box::new(BufReader::new(file)))
}

fn text(args: &Args, path: &Path, out: &mut impl Write) -> Result<()> {
    let mut bytes = Vec::new();
    open(path)?
        .take(MAX_TEXT as u64 + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let read = &bytes[..bytes.len().min(MAX_TEXT)];
    let findings = find(read);
    let mut told: Vec<(Range<usize>, Result<&Finding, Entity>)> =
        findings.iter().map(|finding| (finding.range.clone(), Ok(finding))).collect();
    told.extend(partial(read).into_iter().map(|(entity, range)| (range, Err(entity))));
    told.sort_by_key(|(range, _)| range.start);
    // Row, its first byte, and how far rows are counted.
    let (mut row, mut begins, mut counted) = (1, 0, 0);
    for (range, told) in &told {
        for (place, _) in bytes[counted..range.start].iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
            (row, begins) = (row + 1, counted + place + 1);
        }
        counted = range.start;
        let value = String::from_utf8_lossy(&bytes[range.clone()]).into_owned();
        let shown = if args.unmask { value } else { masked(&value) };
        let column = range.start - begins + 1;
        let said = match (told, args.json) {
            (Ok(finding), true) => object(finding, &shown).to_string(),
            (Ok(finding), false) => line(finding, row, column, &shown),
            (Err(entity), true) => json!({
                "entity": entity.name(), "start": range.start, "end": range.end, "value": shown, "verdict": "partial",
            })
            .to_string(),
            (Err(entity), false) => format!("{row}:{column} {} {shown}: partial, no leak", entity.name()),
        };
        writeln!(out, "{said}").context("print")?;
    }
    if bytes.len() > MAX_TEXT {
        bail!("read the first {MAX_TEXT} bytes alone: a longer text of a call is cut there too");
    }
    if told.is_empty() && !args.json {
        writeln!(out, "nothing found").context("print")?;
    }
    Ok(())
}

/// Letters and digits as signs, but the last two of a long value.
fn masked(value: &str) -> String {
    let n = value.chars().count();
    let keep = if n >= 8 { 2 } else { 0 };
    value
        .chars()
        .enumerate()
        .map(|(place, letter)| if letter.is_alphanumeric() && place + keep < n { '*' } else { letter })
        .collect()
}

fn verdict(finding: &Finding) -> &'static str {
    match (finding.test, finding.counts()) {
        (true, _) => "test value",
        (_, true) => "counts",
        _ => "review",
    }
}

fn line(finding: &Finding, row: usize, column: usize, shown: &str) -> String {
    let word = if finding.word.is_empty() { String::new() } else { format!(" ({})", finding.word) };
    let name = finding.name.map_or_else(String::new, |name| format!(" [{name}]"));
    format!(
        "{row}:{column} {}{name} {shown}: {}, p = {:.3}; bits: form {:+.1}, check {:+.1}, words {:+.1}{word}",
        finding.entity.name(),
        verdict(finding),
        finding.probability(),
        finding.shape,
        finding.check,
        finding.words,
    )
}

fn object(finding: &Finding, shown: &str) -> Json {
    json!({
        "entity": finding.entity.name(),
        "name": finding.name,
        "start": finding.range.start,
        "end": finding.range.end,
        "value": shown,
        "verdict": verdict(finding),
        "probability": finding.probability(),
        "bits": {"form": finding.shape, "check": finding.check, "words": finding.words},
        "word": (!finding.word.is_empty()).then_some(finding.word),
    })
}

/// Names of kinds in labelled files.
fn label(entity: Entity) -> String {
    match entity {
        Entity::Card => "CREDIT_CARD".to_owned(),
        entity => entity.name().to_uppercase(),
    }
}

/// The first of the fields that holds text.
fn field<'r>(row: &'r Json, names: &[&str]) -> Option<&'r str> {
    names.iter().find_map(|name| row[*name].as_str())
}

/// The text of a row that is looked at; `text_rev` holds it back to front.
fn row_text(row: &Json) -> Option<String> {
    if let Some(reversed) = row["text_rev"].as_str() {
        return Some(reversed.chars().rev().collect());
    }
    field(row, &["text", "completion", "prompt", "output"]).map(str::to_owned)
}

fn rows(args: &Args, path: &Path, out: &mut impl Write) -> Result<()> {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let name = args.name.clone().unwrap_or(stem);
    let mut memory = memory()?;
    let (mut reader, mut line, mut n) = (open(path)?, Vec::new(), 0);
    // How many rows, and the first: its place and why.
    let mut unread: (usize, Option<(usize, anyhow::Error)>) = (0, None);
    while reader.read_until(b'\n', &mut line).with_context(|| format!("cannot read {}", path.display()))? > 0 {
        n += 1;
        let text = String::from_utf8_lossy(&line);
        if !text.trim().is_empty() {
            match serde_json::from_str(&text).context("not JSON").and_then(|row| predict(&name, &row, &mut memory)) {
                Ok(prediction) => writeln!(out, "{prediction}").context("print")?,
                Err(error) => {
                    unread.0 += 1;
                    unread.1.get_or_insert((n, error));
                }
            }
        }
        line.clear();
    }
    // The other rows are told all the same.
    if let (rows, Some((n, error))) = unread {
        bail!("{}: {rows} of the rows could not be read; the first is line {n}: {error:#}", path.display());
    }
    Ok(())
}

/// Values of other tenants that are remembered while rows are read.
const REMEMBERED: usize = 4_000_000;

type Remembered = (Keyring, Memory);

fn memory() -> Result<Remembered> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| anyhow::anyhow!("no random key: {error}"))?;
    Ok((Keyring::new(key), Memory::new(REMEMBERED)))
}

fn predict(name: &str, row: &Json, memory: &mut Remembered) -> Result<Json> {
    if row["completion"].is_string() && row["tenant"].is_string() {
        return Ok(mentions(name, row, memory));
    }
    let text = row_text(row).context("has none of the fields text, text_rev, completion, prompt, output")?;
    let findings: Vec<Finding> = find(text.as_bytes()).into_iter().filter(Finding::counts).collect();
    let spans: Vec<Json> = findings.iter().map(|finding| span(finding, &[])).collect();
    let flag = flag(name, row, &text, &findings);
    Ok(json!({"file": name, "id": row["id"], "unit": "byte", "spans": spans, "flag": i32::from(flag)}))
}

/// What the label of a row asks for: a refusal, a jailbreak, the mark that the row names, else a secret.
fn flag(name: &str, row: &Json, text: &str, findings: &[Finding]) -> bool {
    let has = |wanted: Marker| safety::answer(text, &[]).chain(safety::input(text)).any(|marker| marker == wanted);
    let kind = row["kind"].as_str().unwrap_or_default();
    match (name, kind) {
        ("xstest_refusals", _) => has(Marker::Refusal),
        ("jailbreak" | "bipia_email_injection", _) => has(Marker::Jailbreak),
        (_, "sysprompt_leak") => safety::leaks_prompt(field(row, &["system"]).unwrap_or_default(), text),
        (_, "md_exfil") => has(Marker::Exfiltration),
        (_, kind) if Marker::ALL.iter().any(|marker| marker.name() == kind) => {
            Marker::ALL.into_iter().any(|marker| marker.name() == kind && has(marker))
        }
        _ => findings.iter().any(|finding| finding.entity.opens()),
    }
}

fn span(finding: &Finding, more: &[&str]) -> Json {
    let mut span = vec![json!(finding.range.start), json!(finding.range.end), json!(label(finding.entity))];
    span.extend(more.iter().map(|more| json!(more)));
    Json::Array(span)
}

/// Rows are calls of a stream, in order of time: what the answer holds, and where it came from.
fn mentions(name: &str, row: &Json, memory: &mut Remembered) -> Json {
    let text = |field: &str| row[field].as_str().unwrap_or_default();
    let answer = text("completion");
    let call = Exchange {
        tenant: text("tenant"),
        at: (row["ts"].as_f64().unwrap_or_default() * SECOND as f64) as i64,
        input: text("prompt"),
        documents: text("context"),
        system: text("system"),
        answer,
    };
    let mentions: Vec<Json> = tell(&memory.0, &mut memory.1, &call)
        .into_iter()
        .map(|(mut finding, provenance)| {
            // Places of mentions are counted in characters.
            let characters = |at: usize| answer[..answer.floor_char_boundary(at)].chars().count();
            finding.range = characters(finding.range.start)..characters(finding.range.end);
            span(&finding, &[provenance.name()])
        })
        .collect();
    json!({"file": name, "id": row["id"], "mentions": mentions})
}
