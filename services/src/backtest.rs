//! `leeway backtest`: what the detectors would have said of the past, row by row, with nothing of what came later.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use csv::{ByteRecord, StringRecord};
use leeway_core::clock::{DAY, Micros};
use leeway_core::interval::Interval;
use leeway_core::stamp::Stamp;
use leeway_detectors::online::column::{Alarm, Column, DETECTORS, Watch};
use serde_json::{Value as Json, json};

mod columns;
mod events;
mod rules;
pub mod verify;

use columns::{Layout, SAMPLE, Source, delimiter, unreadable};

/// What to run over what.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rows in order of time, with a line of column names: timestamp,value or timestamp,count,sum; `-` is standard input
    #[arg(long, value_name = "FILE", required_unless_present = "rules", conflicts_with = "rules")]
    csv: Option<PathBuf>,
    /// A file of rules: each window of the time is judged over what the store holds, with the rules' whole state machine
    #[arg(long, value_name = "FILE", conflicts_with_all = ["value", "time", "detector", "scores"])]
    rules: Option<PathBuf>,
    /// One rule of the file alone
    #[arg(long, value_name = "ID", requires = "rules")]
    rule: Option<String>,
    /// Where the time begins (RFC 3339); without it a week before its end, of --events and --kafka with the first call
    #[arg(long, value_name = "TIME", requires = "rules")]
    from: Option<String>,
    /// Where the time ends; without it where the stored calls do
    #[arg(long, value_name = "TIME", requires = "rules")]
    to: Option<String>,
    /// Judge these files of events instead of the store: one event, array or OTLP request on each line (`-` is standard input), all of
    /// them one stream; a file none of whose first lines is a JSON text is one message
    #[arg(long, value_name = "FILE", requires = "rules", num_args = 1.., conflicts_with = "kafka")]
    events: Vec<PathBuf>,
    /// How the files' messages are read: auto, or a format of kafka.format; without it as the settings say of kafka.topic
    #[arg(long, value_name = "ID", requires = "events")]
    format: Option<String>,
    /// Judge what the settings' topics hold instead of the store; no group's offsets move
    #[arg(long, requires = "rules")]
    kafka: bool,
    /// Read the topics from messages of this time on (RFC 3339), so that what rules compare with is there too; without it from their beginning
    #[arg(long, value_name = "TIME", requires = "kafka")]
    since: Option<String>,
    /// Settings file: for the store, and for how events are read
    #[arg(long, value_name = "FILE", requires = "rules")]
    config: Option<PathBuf>,
    /// The column that is watched; without it `value`, else sum/count, else the first column of numbers
    #[arg(long, value_name = "COLUMN")]
    value: Option<String>,
    /// The column of times; without it `timestamp` or one of its like, else the first one that holds times
    #[arg(long, value_name = "COLUMN")]
    time: Option<String>,
    /// One detector alone: anomaly (rows that are rare for this past) or level (lasting changes); without it both
    #[arg(long, value_name = "ID")]
    detector: Option<String>,
    /// Mean number of rows between false alarms of a detector while nothing changes
    #[arg(long, value_name = "ROWS", default_value_t = 1_000.0)]
    false_alarm_every: f64,
    /// Known incidents, CSV with the columns start,end in the form of the file's own times: says which were found, and when
    #[arg(long, value_name = "FILE")]
    incidents: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Write timestamp,value,anomaly_score here; the score is 0 to 1, from this row and those before it
    #[arg(long, value_name = "OUT")]
    scores: Option<PathBuf>,
}

/// Rows whose times are kept as they were written: alarms name their rows so. No alarm is told later.
const NAMED: usize = 8_192;

pub fn run(args: &Args) -> Result<()> {
    match (&args.rules, &args.csv) {
        (Some(rules), _) => {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
            let outcome = runtime.block_on(async {
                tokio::select! {
                    // First, so that no signal ends the process before somebody listens.
                    biased;
                    stopped = crate::tasks::interrupted() => stopped.and_then(|()| bail!("interrupted")),
                    // Dropped, it takes its own store with it.
                    done = rules::run(args, rules) => done,
                }
            });
            // A thread that reads waits for more, which nobody asks for any longer.
            runtime.shutdown_background();
            outcome
        }
        (None, Some(csv)) => column(args, csv),
        (None, None) => bail!("give --csv FILE or --rules FILE"),
    }
}

/// A column of a file.
fn column(args: &Args, csv: &Path) -> Result<()> {
    let began = Instant::now();
    let told = replay(args, csv)?;
    let starts: Vec<Micros> = told.alarms.iter().map(|told| told.when).collect();
    let incidents = args.incidents.as_deref().map(|path| judged(path, told.form, &starts)).transpose()?;
    let mut out = io::stdout().lock();
    if args.json {
        let mut report = told.json(began.elapsed().as_secs_f64(), args.false_alarm_every);
        report["incidents"] = incidents.map_or(Json::Null, |incidents| incidents.json());
        writeln!(out, "{report}").context("print")
    } else {
        out.write_all(told.text(args.false_alarm_every, incidents.as_ref()).as_bytes()).context("print")
    }
}

/// An alarm with its times as the file has them.
#[derive(Debug)]
struct Told {
    alarm: Alarm,
    at: String,
    when: Micros,
    until: Option<String>,
    since: Option<String>,
}

#[derive(Debug, Default)]
struct Report {
    alarms: Vec<Told>,
    column: String,
    rows: u64,
    missing: u64,
    untimed: u64,
    first_untimed: Option<String>,
    disordered: u64,
    first: Option<(String, Micros)>,
    last: Option<(String, Micros)>,
    form: Option<Stamp>,
}

/// Runs the detectors over the file.
fn replay(args: &Args, csv: &Path) -> Result<Report> {
    if !(args.false_alarm_every >= 2.0 && args.false_alarm_every <= 1e12) {
        bail!("--false-alarm-every is a number of rows from 2 to 10^12, not {}", args.false_alarm_every);
    }
    let watch = match &args.detector {
        None => Watch::Both,
        Some(id) => Watch::parse(id).with_context(|| {
            let known: Vec<String> = DETECTORS.iter().map(|(id, what)| format!("  {id}: {what}")).collect();
            format!("there is no detector `{id}`; there are\n{}", known.join("\n"))
        })?,
    };
    let mut input = BufReader::new(open(csv)?);
    let delimiter = delimiter(input.fill_buf().with_context(|| format!("read {}", csv.display()))?);
    let mut reader =
        csv::ReaderBuilder::new().flexible(true).has_headers(false).delimiter(delimiter).from_reader(input);
    let mut bytes = ByteRecord::new();
    let mut next = || -> Result<Option<StringRecord>> {
        let more = reader.read_byte_record(&mut bytes).with_context(|| format!("read {}", csv.display()))?;
        // Names in other encodings are no reason to stop: numbers and times are ASCII.
        Ok(more.then(|| StringRecord::from_byte_record_lossy(bytes.clone())))
    };
    let Some(head) = next()? else { bail!("{} is empty: it needs a line of column names", csv.display()) };
    let mut pending = VecDeque::new();
    while pending.len() < SAMPLE
        && let Some(record) = next()?
    {
        pending.push_back(record);
    }
    let (layout, headless) = Layout::new(&head, pending.make_contiguous(), args, csv)?;
    if headless {
        pending.push_front(head);
    }
    let mut scores = args.scores.as_deref().map(|path| Scores::create(path, csv)).transpose()?;
    let mut run = Run::new(&layout, watch, args.false_alarm_every);
    let mut line = u64::from(!headless);
    while let Some(record) = match pending.pop_front() {
        Some(record) => Some(record),
        None => next()?,
    } {
        line += 1;
        let score = run.row(&record, line);
        if let Some(scores) = &mut scores {
            scores.write(&layout, &record, run.report.rows, score)?;
        }
    }
    if let Some(scores) = scores {
        scores.finish()?;
    }
    Ok(run.finish())
}

fn open(path: &Path) -> Result<Box<dyn Read>> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(io::stdin()));
    }
    let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    Ok(Box::new(file))
}

/// The detectors on their way through the file.
struct Run<'l> {
    layout: &'l Layout,
    column: Column,
    report: Report,
    /// Rows that the detectors saw, and the times of the last of them as written.
    seen: u64,
    named: VecDeque<(String, Micros)>,
    last_at: Micros,
}

impl<'l> Run<'l> {
    fn new(layout: &'l Layout, watch: Watch, bar: f64) -> Self {
        let form = layout.time.map(|(_, form)| form);
        let column = Column::new(watch, bar, form.is_some_and(Stamp::has_clock));
        let report = Report { column: layout.name.clone(), form, ..Report::default() };
        Self { layout, column, report, seen: 0, named: VecDeque::new(), last_at: Micros::MIN }
    }

    /// Answers the row's score; 0 where it has no number or no time.
    fn row(&mut self, record: &StringRecord, line: u64) -> f64 {
        let row = self.report.rows;
        self.report.rows += 1;
        let (text, at) = match self.layout.time {
            None => (row.to_string(), Some(row as Micros * 1_000_000)),
            Some((place, form)) => {
                let text = record.get(place).unwrap_or_default().trim();
                // A file may write whole seconds in some rows and fractions in others.
                (text.to_owned(), form.at(text).or_else(|| Stamp::of(text)?.at(text)))
            }
        };
        let Some(at) = at else {
            self.report.untimed += 1;
            self.report.first_untimed.get_or_insert_with(|| format!("line {line}, `{text}`"));
            return 0.0;
        };
        self.report.disordered += u64::from(at <= self.last_at);
        self.last_at = at;
        self.report.first.get_or_insert_with(|| (text.clone(), at));
        self.report.last = Some((text.clone(), at));
        let Some(value) = self.layout.value(record) else {
            self.report.missing += 1;
            return 0.0;
        };
        if self.named.len() == NAMED {
            self.named.pop_front();
        }
        self.named.push_back((text, at));
        self.seen += 1;
        let step = self.column.step(at, value);
        for alarm in step.closed {
            let told = self.tell(alarm);
            self.report.alarms.push(told);
        }
        step.score
    }

    /// Names rows by their times.
    fn tell(&self, alarm: Alarm) -> Told {
        let first = self.seen - self.named.len() as u64;
        let name = |row: u64| self.named.get(row.saturating_sub(first) as usize).cloned().unwrap_or_default();
        let (at, when) = name(alarm.at);
        let until = alarm.until.map(|row| name(row).0);
        Told { at, when, until, since: alarm.change_estimated_at.map(|row| name(row).0), alarm }
    }

    fn finish(mut self) -> Report {
        let column = std::mem::replace(&mut self.column, Column::new(Watch::Both, 2.0, false));
        if let Some(alarm) = column.finish() {
            let told = self.tell(alarm);
            self.report.alarms.push(told);
        }
        self.report.alarms.sort_by_key(|told| told.alarm.at);
        self.report
    }
}

/// The file of scores.
struct Scores {
    path: PathBuf,
    out: csv::Writer<BufWriter<File>>,
}

impl Scores {
    fn create(path: &Path, input: &Path) -> Result<Self> {
        if path.canonicalize().ok().is_some_and(|path| Some(path) == input.canonicalize().ok()) {
            bail!("--scores would write over {}: name another file", input.display());
        }
        let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
        let mut scores = Self { path: path.to_owned(), out: csv::Writer::from_writer(BufWriter::new(file)) };
        scores.put(["timestamp", "value", "anomaly_score"])?;
        Ok(scores)
    }

    fn put(&mut self, fields: [&str; 3]) -> Result<()> {
        self.out.write_record(fields).with_context(|| format!("write {}", self.path.display()))
    }

    /// `row` counts from 1.
    fn write(&mut self, layout: &Layout, record: &StringRecord, row: u64, score: f64) -> Result<()> {
        let time = layout
            .time
            .map_or_else(|| (row - 1).to_string(), |(place, _)| record.get(place).unwrap_or_default().into());
        let value = match layout.source {
            Source::Column(place) => record.get(place).unwrap_or_default().to_owned(),
            Source::Mean { .. } => layout.value(record).map_or_else(String::new, |value| value.to_string()),
        };
        self.put([time.as_str(), value.as_str(), &format!("{score:.6}")])
    }

    fn finish(mut self) -> Result<()> {
        self.out.flush().with_context(|| format!("write {}", self.path.display()))
    }
}

/// Known incidents beside the alarms.
struct Incidents {
    /// Start as written, and the delay of the first alarm inside.
    found: Vec<(String, Option<Micros>)>,
    /// Alarms inside none.
    false_alarms: usize,
    alarms: usize,
}

fn judged(path: &Path, form: Option<Stamp>, alarms: &[Micros]) -> Result<Incidents> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_path(path)
        .with_context(|| format!("open {}", path.display()))?;
    let head = reader.headers().with_context(|| format!("read {}", path.display()))?.clone();
    let place = |name: &str| head.iter().position(|column| column.eq_ignore_ascii_case(name));
    let (Some(start), Some(end)) = (place("start"), place("end")) else {
        bail!("{} needs the columns start,end; it has {}", path.display(), head.iter().collect::<Vec<_>>().join(","));
    };
    let mut spans: Vec<(String, Micros, Micros)> = Vec::new();
    for (number, record) in reader.records().enumerate() {
        let record = record.with_context(|| format!("read {}", path.display()))?;
        let at = |place: usize| -> Result<Micros> {
            let text = record.get(place).unwrap_or_default();
            let at = form.and_then(|form| form.at(text)).or_else(|| Stamp::of(text)?.at(text));
            at.with_context(|| format!("{}, line {}: {}", path.display(), number + 2, unreadable(text)))
        };
        let (from, to) = (at(start)?, at(end)?);
        if to < from {
            bail!("{}, line {}: the end is before the start", path.display(), number + 2);
        }
        spans.push((record.get(start).unwrap_or_default().to_owned(), from, to));
    }
    let inside = |at: &&Micros, span: &(String, Micros, Micros)| (span.1..=span.2).contains(*at);
    let found = spans.iter().map(|span| {
        let first = alarms.iter().find(|at| inside(at, span));
        (span.0.clone(), first.map(|at| at - span.1))
    });
    let found: Vec<_> = found.collect();
    let false_alarms = alarms.iter().filter(|at| !spans.iter().any(|span| inside(at, span))).count();
    Ok(Incidents { found, false_alarms, alarms: alarms.len() })
}

impl Incidents {
    fn recall(&self) -> Option<f64> {
        let found = self.found.iter().filter(|(_, delay)| delay.is_some()).count();
        (!self.found.is_empty()).then(|| found as f64 / self.found.len() as f64)
    }

    fn precision(&self) -> Option<f64> {
        (self.alarms > 0).then(|| 1.0 - self.false_alarms as f64 / self.alarms as f64)
    }

    fn text(&self) -> String {
        let share =
            |share: Option<f64>| share.map_or("none to judge".into(), |share| format!("{:.0} %", share * 100.0));
        let mut lines = vec![format!(
            "known incidents: {}; found {}; alarms that are true {}; {} false",
            self.found.len(),
            share(self.recall()),
            share(self.precision()),
            self.false_alarms
        )];
        for (start, delay) in &self.found {
            let after = |delay: Micros| format!("found after {}", leeway_core::clock::readable_span(delay));
            lines.push(format!("  {start}  {}", delay.map_or("not found".to_owned(), after)));
        }
        lines.join("\n")
    }

    fn json(&self) -> Json {
        let found: Vec<Json> = self
            .found
            .iter()
            .map(|(start, delay)| json!({"start": start, "found": delay.is_some(), "delay_s": delay.map(|delay| delay as f64 / 1e6)}))
            .collect();
        json!({"known": found, "recall": self.recall(), "precision": self.precision(), "false_alarms": self.false_alarms})
    }
}

impl Report {
    /// Weeks from the first row to the last; `None` without a clock.
    fn weeks(&self) -> Option<f64> {
        let clock = self.form.is_some_and(Stamp::has_clock);
        let ((_, first), (_, last)) = (self.first.as_ref()?, self.last.as_ref()?);
        (clock && last > first).then(|| (last - first) as f64 / (7 * DAY) as f64)
    }

    fn json(&self, seconds: f64, every: f64) -> Json {
        let alarms: Vec<Json> = self
            .alarms
            .iter()
            .map(|told| {
                let Interval { low, high } = told.alarm.interval;
                json!({
                    "at": told.at, "until": told.until, "detector": told.alarm.detector, "effect": told.alarm.effect,
                    "interval": [low, high], "change_estimated_at": told.since, "evidence": told.alarm.evidence,
                })
            })
            .collect();
        json!({
            "alarms": alarms, "rows": self.rows, "seconds": seconds, "column": self.column, "missing": self.missing,
            "untimed": self.untimed, "disordered": self.disordered, "weeks": self.weeks(), "false_alarm_every_rows": every,
        })
    }

    fn text(&self, every: f64, incidents: Option<&Incidents>) -> String {
        use std::fmt::Write as _;
        let mut text = String::new();
        let mut line = |line: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{line}");
        };
        let span = match (&self.first, &self.last) {
            (Some((first, _)), Some((last, _))) => format!(", {first} to {last}"),
            _ => String::new(),
        };
        line(format!("{} rows of `{}`{span}", self.rows, self.column));
        if self.missing > 0 {
            line(format!("{} rows have no number and were left out", self.missing));
        }
        if let Some(first) = &self.first_untimed {
            line(format!(
                "{} rows have no time that can be read and were left out, the first in {first}",
                self.untimed
            ));
        }
        if self.disordered > 0 {
            line(format!(
                "{} rows are not later than the row before them; they were taken in the file's order",
                self.disordered
            ));
        }
        let per_week =
            self.weeks().map(|weeks| format!(", {:.2} a week", self.rows as f64 / every / weeks)).unwrap_or_default();
        line(format!("while nothing changes, each detector gives at most one false alarm in {every} rows{per_week}"));
        if self.rows - self.missing < leeway_detectors::online::anomaly::WARM_UP {
            line("too little data: the first rows are learned from and not judged".to_owned());
        }
        line(match self.alarms.len() {
            0 => "no alarm".to_owned(),
            1 => "1 alarm".to_owned(),
            n => format!("{n} alarms"),
        });
        self.alarms.iter().for_each(|told| line(told.text()));
        if let Some(incidents) = incidents {
            line(incidents.text());
        }
        text
    }
}

impl Told {
    fn text(&self) -> String {
        let Alarm { effect, interval, detector, .. } = &self.alarm;
        let bounds = match (interval.low, interval.high) {
            (Some(low), Some(high)) => format!(" ({} to {})", figure(low), figure(high)),
            _ => String::new(),
        };
        let until = self.until.as_ref().map_or("lasts".to_owned(), |until| format!("until {until}"));
        let since = self.since.as_ref().map_or(String::new(), |since| format!("; the level changed about {since}"));
        format!("  {}  {detector:<8}{:>10}{bounds}, {until}{since}", self.at, figure(*effect))
    }
}

/// Three digits that count, with a sign.
fn figure(value: f64) -> String {
    let size = value.abs();
    if size >= 1e7 || (size > 0.0 && size < 1e-3) {
        return format!("{value:+.2e}");
    }
    let digits = if size >= 100.0 {
        0
    } else if size >= 10.0 {
        1
    } else if size >= 1.0 {
        2
    } else {
        3
    };
    format!("{value:+.digits$}")
}
