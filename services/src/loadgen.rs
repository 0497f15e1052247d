//! `leeway loadgen`: writes calls to Kafka and says, per minute and series, what it wrote: the truth for recounts.
//! The manifest is counted from what was drawn; no decoder of Leeway's has a part in it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use flate2::{Compression, write::GzEncoder};
use hdrhistogram::Histogram;
use leeway_core::clock::{Clock, MINUTE, Micros, SECOND, minute_of, parse_rfc3339, rfc3339};
use prost::Message;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use crate::produce::{OUTAGE, Producer};
use crate::traffic::figures::Figures;
use crate::traffic::trace::{Draw, load};
use crate::traffic::{
    Arrival, ENVIRONMENT, ERROR_SHARE, Incident, Outcomes, RELEASE, Simulated, otlp, simulate, write_json,
};

/// What to write.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Kafka brokers, host:port
    #[arg(long)]
    brokers: String,
    #[arg(long, default_value = "leeway.events")]
    topic: String,
    /// A trace file (Azure CSV, Mooncake JSONL, ServeGen -rates.csv; .gz is fine); without it, the built-in figures
    #[arg(long)]
    trace: Option<PathBuf>,
    /// Where a ServeGen trace starts, seconds
    #[arg(long, default_value_t = 0.0)]
    from_s: f64,
    /// How much of a ServeGen trace to draw, minutes
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// Stop after this many calls (0: the whole trace; required with the figures)
    #[arg(long, default_value_t = 0)]
    count: u64,
    /// Calls a second by the wall clock (0: as fast as it goes)
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
    /// Mean calls a second of event time, for the figures
    #[arg(long, default_value_t = 50.0)]
    density: f64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Share of calls that fail, which lose their output tokens (default: 0 for a trace, 0.006 for the figures)
    #[arg(long)]
    errors: Option<f64>,
    /// Stamp each call with the moment it is written
    #[arg(long, requires = "rate")]
    live: bool,
    /// Event time of the last call: `now`, or RFC 3339
    #[arg(long, default_value = "now")]
    shift_to: String,
    /// Pad each event with invented text to this many bytes
    #[arg(long, default_value_t = 0)]
    bytes: usize,
    /// Where to write the manifest (JSON); without it, standard output
    #[arg(long)]
    manifest: Option<PathBuf>,
    #[command(flatten)]
    trouble: Trouble,
}

/// What real traffic does to its readers. The manifest counts every call once, whatever it went through.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Trouble, as shares from 0 to 1")]
struct Trouble {
    /// Calls that are written twice
    #[arg(long, default_value_t = 0.0)]
    duplicates: f64,
    /// Calls that arrive seven minutes after they ended
    #[arg(long, default_value_t = 0.0)]
    late: f64,
    /// Messages more, by calls, that are no events
    #[arg(long, default_value_t = 0.0)]
    poison: f64,
    /// Calls that come as an OTLP span and an OTLP log record, on topics of their own
    #[arg(long, default_value_t = 0.0, requires_all = ["traces_topic", "logs_topic"])]
    pairs: f64,
    /// Calls that come gzipped or as a CloudEvent, and pairs in OTLP's JSON; of what is written twice the second alone
    #[arg(long, default_value_t = 0.0)]
    dressed: f64,
    #[arg(long)]
    traces_topic: Option<String>,
    #[arg(long)]
    logs_topic: Option<String>,
}

/// Arrives this long after it ended.
const LATE: Micros = 7 * MINUTE;
/// Begins like an event and ends too soon.
const POISON: &[u8] = b"{\"time\":";

/// What was written beside plain calls.
#[derive(Debug, Default, serde::Serialize)]
struct Written {
    /// On the main topic, all told.
    messages: u64,
    duplicates: u64,
    late: u64,
    poison: u64,
    /// Events in another form, and pairs.
    gzipped: u64,
    enveloped: u64,
    json_pairs: u64,
    pairs: u64,
    /// On each topic of pairs.
    spans: u64,
}

/// What one minute of one series must count.
#[derive(Debug, Default, Clone, Copy)]
struct Truth {
    calls: u64,
    errors: u64,
    input_tokens: u64,
    output_tokens: u64,
}

type Manifest = BTreeMap<(Micros, [String; 7]), Truth>;

pub fn run(args: &Args) -> Result<()> {
    let calls = draw(args)?;
    let mut config = rdkafka::config::ClientConfig::new();
    config.set("bootstrap.servers", &args.brokers);
    let mut writer = Writer::new(args, config)?;
    let mut manifest = Manifest::new();
    // µs from a call's due time to its place in the queue, when a rate is set.
    let mut delay = Histogram::<u64>::new_with_bounds(1, 3_600_000_000, 2).context("make a histogram")?;
    let started = Instant::now();
    let mut said = Instant::now();
    let total = calls.len();
    for (index, mut call) in calls.into_iter().enumerate() {
        if args.rate > 0.0 {
            let due = started + Duration::from_secs_f64(index as f64 / args.rate);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            delay.saturating_record(due.elapsed().as_micros() as u64);
        }
        if args.live {
            call.time = Clock::System.wall();
        }
        count(&mut manifest, writer.write(call, index as u64)?);
        if said.elapsed() > Duration::from_secs(5) {
            tracing::info!(written = index + 1, of = total, "writing");
            said = Instant::now();
        }
    }
    writer.flush()?;
    let seconds = started.elapsed().as_secs_f64();
    let text = report(args, &manifest, &writer.written, seconds, &delay).to_string();
    match &args.manifest {
        Some(path) => std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?,
        None => {
            std::io::stdout().write_all(text.as_bytes()).context("write the manifest")?;
        }
    }
    Ok(())
}

fn draw(args: &Args) -> Result<Vec<Simulated>> {
    let limit = if args.count == 0 { usize::MAX } else { args.count as usize };
    let arrivals: Vec<Arrival> = match &args.trace {
        Some(path) => {
            let draw = Draw { seed: args.seed, from_s: args.from_s, seconds: args.minutes * 60.0 };
            load(path, draw)?.into_iter().take(limit).collect()
        }
        None if args.count == 0 => bail!("give --count with the built-in figures: they have no end"),
        None => Figures::load()?.arrivals(args.seed, args.density).take(limit).collect(),
    };
    let errors = args.errors.unwrap_or(if args.trace.is_some() { 0.0 } else { ERROR_SHARE });
    let outcomes = Outcomes { seed: args.seed, incident: Incident::None, errors };
    let mut rng = ChaCha8Rng::seed_from_u64(args.seed);
    let mut calls: Vec<Simulated> = Vec::with_capacity(arrivals.len());
    for (index, arrival) in arrivals.into_iter().enumerate() {
        calls.push(simulate(arrival, 0, index as u64, outcomes, &mut rng));
    }
    calls.sort_by_key(|call| call.time);
    let to = match args.shift_to.as_str() {
        "now" => Clock::System.wall(),
        text => parse_rfc3339(text).with_context(|| format!("--shift-to takes `now` or RFC 3339, not `{text}`"))?,
    };
    let shift = to - calls.last().map_or(0, |call| call.time);
    calls.iter_mut().for_each(|call| call.time += shift);
    Ok(calls)
}

/// Writes calls, and what the trouble makes of them.
struct Writer<'a> {
    args: &'a Args,
    main: Producer,
    /// Spans and log records.
    otlp: Option<(Producer, Producer)>,
    rng: ChaCha8Rng,
    payload: String,
    written: Written,
}

impl<'a> Writer<'a> {
    fn new(args: &'a Args, config: rdkafka::config::ClientConfig) -> Result<Self> {
        let trouble = &args.trouble;
        for share in [trouble.duplicates, trouble.late, trouble.poison, trouble.pairs, trouble.dressed] {
            if !(0.0..=1.0).contains(&share) {
                bail!("a share is from 0 to 1, not {share}");
            }
        }
        let otlp = match (&trouble.traces_topic, &trouble.logs_topic) {
            (Some(traces), Some(logs)) => {
                Some((Producer::new(config.clone(), traces, OUTAGE)?, Producer::new(config.clone(), logs, OUTAGE)?))
            }
            _ => None,
        };
        let mut rng = ChaCha8Rng::seed_from_u64(args.seed);
        rng.set_stream(1 << 32);
        let main = Producer::new(config, &args.topic, OUTAGE)?;
        Ok(Self { args, main, otlp, rng, payload: String::new(), written: Written::default() })
    }

    /// Writes one call; answers it with the time that was written.
    fn write(&mut self, mut call: Simulated, sequence: u64) -> Result<Simulated> {
        let trouble = &self.args.trouble;
        let mut happens = |share: f64| self.rng.random::<f64>() < share;
        let (late, twice, poison, pair) =
            (happens(trouble.late), happens(trouble.duplicates), happens(trouble.poison), happens(trouble.pairs));
        let dressed = trouble.dressed > 0.0 && happens(trouble.dressed);
        let arrived = call.time;
        if late {
            call.time -= LATE;
            self.written.late += 1;
        }
        let times = if twice { 2 } else { 1 };
        self.written.duplicates += times - 1;
        // Of two the second.
        let plain = times - u64::from(dressed);
        match &self.otlp {
            Some((traces, logs)) if pair => {
                let (span, record) = otlp::pair(&call, self.args.seed, sequence);
                for copy in 0..times {
                    let (span, record) = if copy < plain {
                        (span.encode_to_vec(), record.encode_to_vec())
                    } else {
                        (serde_json::to_vec(&span)?, serde_json::to_vec(&record)?)
                    };
                    traces.send(None, None, &span, arrived)?;
                    logs.send(None, None, &record, arrived)?;
                }
                self.written.json_pairs += u64::from(dressed);
                self.written.pairs += 1;
                self.written.spans += times;
            }
            _ => {
                write_json(&call, self.args.bytes, &mut self.payload);
                for copy in 0..times {
                    let payload = self.payload.as_bytes();
                    let payload = if copy < plain { Cow::Borrowed(payload) } else { dress(payload, sequence)?.into() };
                    self.main.send(None, None, &payload, arrived)?;
                }
                let packed = dressed && packs(sequence);
                self.written.gzipped += u64::from(packed);
                self.written.enveloped += u64::from(dressed && !packed);
                self.written.messages += times;
            }
        }
        if poison {
            self.main.send(None, None, POISON, arrived)?;
            self.written.messages += 1;
            self.written.poison += 1;
        }
        Ok(call)
    }

    /// Waits until the brokers have everything.
    fn flush(&self) -> Result<()> {
        self.main.flush()?;
        if let Some((traces, logs)) = &self.otlp {
            traces.flush()?;
            logs.flush()?;
        }
        Ok(())
    }
}

/// By turns an event is gzipped, or put into a CloudEvent.
fn packs(sequence: u64) -> bool {
    sequence.is_multiple_of(2)
}

fn dress(event: &[u8], sequence: u64) -> Result<Vec<u8>> {
    if packs(sequence) {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(event)?;
        return packed.finish().context("pack an event");
    }
    let mut envelope =
        format!(r#"{{"specversion":"1.0","id":"{sequence}","source":"loadgen","type":"call","data":"#).into_bytes();
    envelope.extend_from_slice(event);
    envelope.push(b'}');
    Ok(envelope)
}

fn count(manifest: &mut Manifest, call: Simulated) {
    let a = &call.arrival;
    let labels = [a.tenant.as_str(), &a.app, &a.route, a.provider, a.model, RELEASE, ENVIRONMENT].map(str::to_owned);
    let truth = manifest.entry((minute_of(call.time), labels)).or_default();
    truth.calls += 1;
    truth.errors += u64::from(call.status == "error");
    truth.input_tokens += a.input_tokens;
    truth.output_tokens += a.output_tokens;
}

fn report(
    args: &Args,
    manifest: &Manifest,
    written: &Written,
    seconds: f64,
    delay: &Histogram<u64>,
) -> serde_json::Value {
    let minutes: Vec<serde_json::Value> = manifest
        .iter()
        .map(|((minute, [tenant, app, route, provider, model, release, environment]), truth)| {
            json!({
                "minute": rfc3339(*minute), "minute_us": minute,
                "labels": {"tenant": tenant, "app": app, "route": route, "provider": provider, "model": model, "release": release, "environment": environment},
                "calls": truth.calls, "errors": truth.errors, "input_tokens": truth.input_tokens, "output_tokens": truth.output_tokens,
            })
        })
        .collect();
    let calls: u64 = manifest.values().map(|truth| truth.calls).sum();
    let (first, last) = (manifest.keys().next().map(|(m, _)| *m), manifest.keys().next_back().map(|(m, _)| m + MINUTE));
    json!({
        "topic": args.topic, "seed": args.seed, "trace": args.trace, "calls": calls, "written": written,
        "from": first.map(rfc3339), "to": last.map(rfc3339),
        "seconds": seconds, "calls_per_second": calls as f64 / seconds.max(1.0 / SECOND as f64),
        "delay_p99_us": if args.rate > 0.0 { Some(delay.value_at_quantile(0.99)) } else { None },
        "minutes": minutes,
    })
}
