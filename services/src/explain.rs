//! `leeway ingest explain`: what becomes of messages, record by record, by the same decoders and the same once-only
//! rules as the service's. Several files are one stream. Texts are looked at and never shown.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use leeway_core::call_key::CallKey;
use leeway_core::event::{Call, ERROR_CLASSES, Event, FINISH_REASONS, Record, RecordKind, Reject, Status, Tokens};
use leeway_formats::{Headers, Options, Reader, Scratch, Sink, UserKey};
use leeway_store::{PartWrite, PartitionKey};
use serde_json::{Value as Json, json};

use crate::accumulate::{Buffer, Contribution, Origin, Rules};
use crate::flush::PartBatch;
use crate::once::{self, Verdict};
use crate::registry::Registry;
use crate::settings::{CallIndex, Settings};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files with one message each, as it stands in Kafka or in an HTTP body; `-` is standard input
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// How the messages are read: auto, or a format of kafka.format; without it as the settings say of the topic
    #[arg(long)]
    format: Option<String>,
    /// The topic of the settings whose format, mapping and sniffing apply; without it kafka.topic
    #[arg(long)]
    topic: Option<String>,
    /// The messages' content-type header
    #[arg(long)]
    content_type: Option<String>,
    /// A further header of the messages, KEY=VALUE; may be repeated. __value_schema_id is a GUID or the header's bytes in hex or base64
    #[arg(long, value_name = "K=V")]
    header: Vec<String>,
    /// One line of JSON a record, and a last one with the totals
    #[arg(long)]
    json: bool,
    /// Settings file, for dimensions, prices and scores
    #[arg(long)]
    config: Option<PathBuf>,
}

/// One record, as far as it may be shown.
#[derive(Debug, Default)]
struct Line {
    file: String,
    kind: &'static str,
    tenant: String,
    /// Why it does not count by itself.
    dropped: Option<String>,
    names: Vec<CallKey>,
    call: Option<Shown>,
    feedback: Option<Json>,
}

/// The fields of a call that may be shown.
#[derive(Debug, Default, Clone)]
struct Shown {
    operation: String,
    provider: String,
    request_model: String,
    response_model: String,
    stream: Option<bool>,
    status: Status,
    error_class: Option<u8>,
    finish_reasons: Vec<u8>,
    tokens: Tokens,
    duration_us: Option<u64>,
    ttft_us: Option<u64>,
    texts: usize,
    incomplete: bool,
    trace_id: Option<String>,
    span_id: Option<String>,
    response_id: Option<String>,
}

impl Shown {
    fn of(call: &Call<'_>) -> Self {
        Self {
            operation: call.operation.to_owned(),
            provider: call.provider.to_owned(),
            request_model: call.request_model.to_owned(),
            response_model: call.response_model.to_owned(),
            stream: call.stream,
            status: call.status,
            error_class: call.error_class,
            finish_reasons: call.finish_reasons.clone(),
            tokens: call.tokens,
            duration_us: call.duration_us,
            ttft_us: call.ttft_us,
            texts: call.own_texts().count(),
            incomplete: call.incomplete,
            trace_id: call.trace_id.map(str::to_owned),
            span_id: call.span_id.map(str::to_owned),
            response_id: call.response_id.map(str::to_owned),
        }
    }

    /// Takes what another record of the same call knows more.
    fn fill(&mut self, other: &Self) {
        let text = |mine: &mut String, theirs: &String| {
            if mine.is_empty() {
                mine.clone_from(theirs);
            }
        };
        text(&mut self.provider, &other.provider);
        text(&mut self.request_model, &other.request_model);
        text(&mut self.response_model, &other.response_model);
        self.stream = self.stream.or(other.stream);
        self.error_class = self.error_class.or(other.error_class);
        if self.finish_reasons.is_empty() {
            self.finish_reasons.clone_from(&other.finish_reasons);
        }
        let (mine, theirs) = (self.tokens.by_index(), other.tokens.by_index());
        for ((name, mine), theirs) in Tokens::NAMES.iter().zip(mine).zip(theirs) {
            if let Some(slot) = self.tokens.slot(name) {
                *slot = mine.or(theirs);
            }
        }
        self.duration_us = self.duration_us.or(other.duration_us);
        self.ttft_us = self.ttft_us.or(other.ttft_us);
        if self.texts == 0 {
            (self.texts, self.incomplete) = (other.texts, other.incomplete);
        }
        self.trace_id = self.trace_id.take().or_else(|| other.trace_id.clone());
        self.span_id = self.span_id.take().or_else(|| other.span_id.clone());
        self.response_id = self.response_id.take().or_else(|| other.response_id.clone());
    }

    fn text_state(&self) -> &'static str {
        match (self.texts > 0, self.incomplete) {
            (true, false) => "present",
            (true, true) => "truncated",
            (false, true) => "redacted",
            (false, false) => "absent",
        }
    }

    fn status(&self) -> &'static str {
        Status::NAMES.iter().find(|(_, status)| *status == self.status).map_or("unknown", |(name, _)| name)
    }

    fn class(&self) -> Option<&'static str> {
        self.error_class.map(|class| ERROR_CLASSES[usize::from(class)])
    }
}

/// Takes what the decoders make of all files.
struct Stream<'a> {
    rules: &'a Rules,
    buffer: Buffer,
    lines: Vec<Line>,
    /// Line of each contribution of the buffer.
    places: Vec<usize>,
    /// Upsert keys of records that were seen.
    seen: HashMap<String, ()>,
    file: String,
    skipped: u64,
    unknown_fields: u64,
}

impl Sink for Stream<'_> {
    fn record(&mut self, _: u32, decoded: Result<Event<'_>, Reject>) {
        match decoded {
            Ok(Event::Call(call)) => self.call(&call),
            Ok(Event::Record(record)) => self.kept(&record),
            Err(reason) => self.rejected(&reason),
        }
    }

    fn unknown_fields(&mut self, fields: u32) {
        self.unknown_fields += u64::from(fields);
    }

    fn skipped(&mut self, records: u32) {
        self.skipped += u64::from(records);
    }
}

impl Stream<'_> {
    fn line(&self, kind: &'static str) -> Line {
        Line { file: self.file.clone(), kind, ..Line::default() }
    }

    fn call(&mut self, call: &Call<'_>) {
        let mut line = self.line("call");
        line.tenant = call.tenant.to_owned();
        line.names = call.name().into_iter().chain(call.copy_name()).collect();
        line.call = Some(Shown::of(call));
        let before = self.buffer.contributions.len();
        // As if it had arrived at once: how old a file is says nothing of its producer.
        let origin = Origin { offset: 0, bytes: 0, received: call.time, partition: 0, record: 0 };
        self.buffer.call(origin, call, self.rules);
        if self.buffer.contributions.len() > before {
            self.places.push(self.lines.len());
        } else if !call.brings.call {
            line.dropped = Some("texts without a name of their call".into());
        }
        self.lines.push(line);
    }

    fn kept(&mut self, record: &Record) {
        let mut line = self.line(record.kind.name());
        line.tenant.clone_from(&record.tenant);
        let key = format!("{}|{}|{}", record.kind.name(), record.tenant, record.id);
        if self.seen.insert(key, ()).is_some() {
            line.dropped = Some("duplicate: the same was told before, the newest word stands".into());
        }
        if record.kind == RecordKind::Feedback {
            let body: Json = serde_json::from_str(&record.body).unwrap_or_default();
            let value = &body["value"];
            line.feedback = Some(json!({
                "name": record.name,
                "value": if value.is_string() { &Json::Null } else { value },
                "label": if value.is_string() { value } else { &Json::Null },
                "source": body["source"],
                "target": body["target"],
            }));
        }
        self.lines.push(line);
    }

    fn rejected(&mut self, reason: &Reject) {
        let mut line = self.line("rejected");
        let field = reason.field();
        let at = if field.is_empty() { String::new() } else { format!(" (field `{field}`)") };
        let hint = match reason {
            Reject::NoSchema => ": no kafka.registry.url is set, or that registry has no such id",
            Reject::UnknownFormat => ": give it a content-type header, or its topic a format",
            _ => "",
        };
        line.dropped = Some(format!("{}{at}{hint}", reason.code()));
        self.lines.push(line);
    }
}

pub fn run(args: &Args) -> Result<()> {
    let given = headers(args)?;
    let mut headers = Headers::default();
    given.iter().for_each(|(name, value)| headers.take(name, value));
    let settings = Settings::load(args.config.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let reader = reader(args, &settings, runtime.handle())?;
    let mut rules = crate::run::aggregation(&settings)?;
    rules.call_index = CallIndex::On;
    let mut stream = Stream {
        rules: &rules,
        buffer: Buffer::default(),
        lines: Vec::new(),
        places: Vec::new(),
        seen: HashMap::new(),
        file: String::new(),
        skipped: 0,
        unknown_fields: 0,
    };
    for path in &args.files {
        let bytes = read(path)?;
        stream.file = path.display().to_string();
        let most = bytes.len().max(16 << 20);
        let options = Options { max_message_bytes: most, max_depth: 64, ..settings.decoding(UserKey::new([0; 32])) };
        match reader.decode(&bytes, &headers, &mut Scratch::new(options), &mut stream) {
            Ok(()) => {}
            Err(Reject::RegistryAway) => {
                bail!(
                    "the schema registry at {} does not answer; the log line above says why",
                    settings.kafka.registry.url
                )
            }
            Err(reason) => stream.rejected(&reason),
        }
    }
    let stream = judged(stream);
    let text = if args.json { as_json(&stream, args.files.len()) } else { as_text(&stream, args.files.len()) };
    std::io::stdout().write_all(text.as_bytes()).context("print")
}

/// What stands in for Kafka's headers: names and bytes.
fn headers(args: &Args) -> Result<Vec<(String, Vec<u8>)>> {
    let mut headers = Vec::new();
    for header in &args.header {
        let Some((name, value)) = header.split_once('=') else { bail!("--header takes KEY=VALUE, not `{header}`") };
        let schema = name.eq_ignore_ascii_case("__value_schema_id");
        let bytes = if schema {
            schema_id(value).with_context(|| {
                format!("--header {name} takes a GUID, a number, or the header's bytes in hex, not `{value}`")
            })?
        } else {
            value.as_bytes().to_vec()
        };
        headers.push((name.to_owned(), bytes));
    }
    if let Some(kind) = &args.content_type {
        headers.insert(0, ("content-type".to_owned(), kind.clone().into_bytes()));
    }
    Ok(headers)
}

/// The bytes of a schema id's header: they are no text, so it is written as a GUID, a number, hex or base64.
fn schema_id(text: &str) -> Option<Vec<u8>> {
    use base64::Engine;
    let digits = text.replace('-', "");
    let hex = |digits: &str| -> Option<Vec<u8>> {
        let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
        pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
    };
    let tagged = |tag: u8, bytes: Vec<u8>| std::iter::once(tag).chain(bytes).collect();
    match digits.len() {
        32 => hex(&digits).map(|guid| tagged(1, guid)),
        34 if digits.starts_with("01") => hex(&digits),
        10 if digits.starts_with("00") => hex(&digits),
        _ => match text.parse::<u32>() {
            Ok(number) => Some(tagged(0, number.to_be_bytes().to_vec())),
            Err(_) => {
                let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
                (bytes.len() == 17 && bytes[0] == 1).then_some(bytes)
            }
        },
    }
}

/// As the topic would be read: its own mapping and format, or those that the command line names.
fn reader(args: &Args, settings: &Settings, handle: &tokio::runtime::Handle) -> Result<Reader> {
    let mut topics = settings.topics()?;
    let wanted = args.topic.as_ref().unwrap_or(&settings.kafka.topic);
    let names: Vec<String> = topics.iter().map(|topic| topic.name.clone()).collect();
    let Some(place) = names.iter().position(|name| name == wanted) else {
        bail!("--topic `{wanted}` is none of the settings' topics: {}", names.join(", "));
    };
    let mut reader = topics.swap_remove(place).reader;
    if let Some(id) = &args.format {
        reader.format = crate::settings::format(id).context("--format")?;
    }
    reader.schemas = Registry::open(&settings.kafka.registry, handle.clone())?;
    Ok(reader)
}

fn read(path: &PathBuf) -> Result<Vec<u8>> {
    if path.as_os_str() != "-" {
        return std::fs::read(path).with_context(|| format!("read {}", path.display()));
    }
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).context("read standard input")?;
    Ok(bytes)
}

/// Lets the service's own rules say which record counts its call; the others give it what they know more.
fn judged(mut stream: Stream<'_>) -> Stream<'_> {
    let key = PartitionKey { source: String::new(), topic: String::new(), incarnation: String::new(), partition: 0 };
    let write = PartWrite { key, epoch: 0, from: 0, to: 0, watermark: 0, newest_at: 0, high: 0, attempts: 0 };
    let parts = [PartBatch { write, buffer: std::mem::take(&mut stream.buffer), quarantined: false }];
    // Candidates are in another order than their records.
    let contributions = parts[0].buffer.contributions.iter().map(std::ptr::from_ref);
    let places: HashMap<*const Contribution, usize> = contributions.zip(stream.places.iter().copied()).collect();
    let mut candidates = once::candidates(&parts);
    let line_of = |candidate: &once::Candidate<'_>| places[&std::ptr::from_ref(candidate.contribution)];
    for candidate in &mut candidates {
        let line = line_of(candidate);
        candidate.tenant.clone_from(&stream.lines[line].tenant);
    }
    once::within(&mut candidates);
    for candidate in &candidates {
        let reason = match candidate.verdict() {
            Verdict::Counted => continue,
            Verdict::Merged => "merged: another record of this call counts it",
            Verdict::Copy => "copy: another instrumentation told of the same response",
            Verdict::Duplicate => "duplicate: the call was told before",
        };
        let line = line_of(candidate);
        stream.lines[line].dropped = Some(reason.to_owned());
    }
    fill(&mut stream.lines);
    stream
}

/// Gives each counted call what its other records know.
fn fill(lines: &mut [Line]) {
    let mut winners: HashMap<(String, CallKey), usize> = HashMap::new();
    for (place, line) in lines.iter().enumerate().filter(|(_, line)| line.dropped.is_none()) {
        for name in &line.names {
            winners.insert((line.tenant.clone(), *name), place);
        }
    }
    for place in 0..lines.len() {
        let line = &lines[place];
        let winner = line.names.iter().find_map(|name| winners.get(&(line.tenant.clone(), *name)));
        if let (Some(&winner), Some(said)) = (winner.filter(|winner| **winner != place), line.call.clone())
            && let Some(call) = &mut lines[winner].call
        {
            call.fill(&said);
        }
    }
}

#[derive(Debug, Default)]
struct Totals {
    calls: u64,
    feedback: u64,
    other: u64,
    dropped: u64,
    rejected: u64,
    tokens: Tokens,
}

fn totals(stream: &Stream<'_>) -> Totals {
    let mut totals = Totals::default();
    for line in &stream.lines {
        match (line.kind, &line.dropped) {
            ("rejected", _) => totals.rejected += 1,
            (_, Some(_)) => totals.dropped += 1,
            ("call", None) => {
                totals.calls += 1;
                let told = line.call.as_ref().map(|call| call.tokens.by_index()).unwrap_or_default();
                for (name, count) in Tokens::NAMES.iter().zip(told) {
                    if let (Some(slot), Some(count)) = (totals.tokens.slot(name), count) {
                        *slot = Some(slot.unwrap_or(0) + count);
                    }
                }
            }
            ("feedback", None) => totals.feedback += 1,
            _ => totals.other += 1,
        }
    }
    totals
}

fn tokens_json(tokens: &Tokens) -> Json {
    json!({
        "input": tokens.input, "output": tokens.output, "cache_read": tokens.cache_read,
        "cache_write": tokens.cache_write, "reasoning": tokens.reasoning,
    })
}

fn as_json(stream: &Stream<'_>, files: usize) -> String {
    let mut out = String::new();
    for line in &stream.lines {
        let call = line.call.clone().unwrap_or_default();
        let is_call = line.call.is_some();
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let ms = |us: Option<u64>| us.map(|us| us as f64 / 1000.0);
        let reasons: Vec<&str> = call.finish_reasons.iter().map(|index| FINISH_REASONS[usize::from(*index)]).collect();
        let json = json!({
            "file": line.file, "kind": if line.kind == "rejected" { Json::Null } else { line.kind.into() },
            "counted": line.dropped.is_none(), "dropped_because": line.dropped,
            "provider": text(&call.provider), "request_model": text(&call.request_model),
            "response_model": text(&call.response_model), "operation": text(&call.operation), "stream": call.stream,
            "status": is_call.then(|| call.status()), "error_class": call.class(),
            "finish_reasons": if reasons.is_empty() { Json::Null } else { json!(reasons) },
            "tokens": tokens_json(&call.tokens), "duration_ms": ms(call.duration_us), "ttft_ms": ms(call.ttft_us),
            "text_state": is_call.then(|| call.text_state()),
            "trace_id": call.trace_id, "span_id": call.span_id, "response_id": call.response_id,
            "feedback": line.feedback,
        });
        let _ = writeln!(out, "{json}");
    }
    let totals = totals(stream);
    let json = json!({
        "kind": "totals", "files": files, "records": stream.lines.len(), "calls": totals.calls,
        "feedback": totals.feedback, "other": totals.other, "not_counted": totals.dropped, "rejected": totals.rejected,
        "skipped": stream.skipped, "unknown_fields": stream.unknown_fields, "tokens": tokens_json(&totals.tokens),
    });
    let _ = writeln!(out, "{json}");
    out
}

fn as_text(stream: &Stream<'_>, files: usize) -> String {
    let mut out = String::new();
    let mut file = "";
    for line in &stream.lines {
        if line.file != file {
            file = &line.file;
            let _ = writeln!(out, "{file}");
        }
        let said = match (&line.call, &line.feedback) {
            (Some(call), _) => describe(call),
            (None, Some(feedback)) => {
                let value = if feedback["label"].is_null() { &feedback["value"] } else { &feedback["label"] };
                format!("{} = {value} of {}", feedback["name"].as_str().unwrap_or_default(), feedback["target"])
            }
            (None, None) => String::new(),
        };
        let verdict = line.dropped.as_ref().map_or("counted".to_owned(), |reason| format!("not counted: {reason}"));
        let _ = writeln!(out, "  {:9} {verdict}", line.kind);
        if !said.is_empty() {
            let _ = writeln!(out, "            {said}");
        }
    }
    let t = totals(stream);
    let n = |count: Option<u64>| count.map_or("unknown".to_owned(), |count| count.to_string());
    let _ = writeln!(
        out,
        "{files} files, {} records: {} calls counted, {} feedback, {} other; {} not counted, {} rejected",
        stream.lines.len(),
        t.calls,
        t.feedback,
        t.other,
        t.dropped,
        t.rejected
    );
    let _ = writeln!(
        out,
        "tokens: {} in ({} from cache, {} to cache), {} out ({} reasoning)",
        n(t.tokens.input),
        n(t.tokens.cache_read),
        n(t.tokens.cache_write),
        n(t.tokens.output),
        n(t.tokens.reasoning)
    );
    let _ = writeln!(
        out,
        "{} further records are no model calls (agents, tools, databases); {} fields are unknown",
        stream.skipped, stream.unknown_fields
    );
    out
}

fn describe(call: &Shown) -> String {
    let mut said = format!("{} {}", call.provider, call.request_model);
    if !call.response_model.is_empty() && call.response_model != call.request_model {
        let _ = write!(said, " ({})", call.response_model);
    }
    let stream = if call.stream == Some(true) { ", streamed" } else { "" };
    let _ = write!(said, " {}{stream}: {}", call.operation, call.status());
    if let Some(class) = call.class() {
        let _ = write!(said, " {class}");
    }
    let reasons: Vec<&str> = call.finish_reasons.iter().map(|index| FINISH_REASONS[usize::from(*index)]).collect();
    if !reasons.is_empty() {
        let _ = write!(said, " ({})", reasons.join(", "));
    }
    let count = |count: Option<u64>, unit: &str| count.map_or(format!("? {unit}"), |count| format!("{count} {unit}"));
    let _ = write!(said, ", {}, {}", count(call.tokens.input, "in"), count(call.tokens.output, "out"));
    if let Some(us) = call.duration_us {
        let _ = write!(said, ", {:.0} ms", us as f64 / 1000.0);
    }
    if let Some(us) = call.ttft_us {
        let _ = write!(said, " (first token {:.0} ms)", us as f64 / 1000.0);
    }
    let _ = write!(said, ", text {}", call.text_state());
    said.trim_start().to_owned()
}
