//! `leeway loadgen`: writes calls to Kafka and says, per minute and series, what it wrote: the truth for recounts.
//! The manifest is counted from what was drawn; no decoder of Leeway's has a part in it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use leeway_core::clock::{Clock, MINUTE, Micros, SECOND, minute_of, parse_rfc3339, rfc3339};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use crate::produce::Producer;
use crate::traffic::figures::Figures;
use crate::traffic::trace::{Draw, load};
use crate::traffic::{Arrival, ENVIRONMENT, ERROR_SHARE, Incident, Outcomes, RELEASE, Simulated, simulate, write_json};

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
    /// Event time of the last call: `now`, or RFC 3339
    #[arg(long, default_value = "now")]
    shift_to: String,
    /// Pad each event with invented text to this many bytes
    #[arg(long, default_value_t = 0)]
    bytes: usize,
    /// Where to write the manifest (JSON); without it, standard output
    #[arg(long)]
    manifest: Option<PathBuf>,
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
    let producer = Producer::new(config, &args.topic)?;
    let mut manifest = Manifest::new();
    let mut payload = String::new();
    // µs from a call's due time to its place in the queue, when a rate is set.
    let mut delay = Histogram::<u64>::new_with_bounds(1, 3_600_000_000, 2).context("make a histogram")?;
    let started = Instant::now();
    let mut said = Instant::now();
    for (index, call) in calls.iter().enumerate() {
        if args.rate > 0.0 {
            let due = started + Duration::from_secs_f64(index as f64 / args.rate);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            delay.saturating_record(due.elapsed().as_micros() as u64);
        }
        write_json(call, args.bytes, &mut payload);
        producer.send(None, None, payload.as_bytes(), call.time)?;
        count(&mut manifest, call);
        if said.elapsed() > Duration::from_secs(5) {
            tracing::info!(written = index + 1, of = calls.len(), "writing");
            said = Instant::now();
        }
    }
    let acknowledged = producer.flush()?;
    let seconds = started.elapsed().as_secs_f64();
    let text = report(args, &manifest, acknowledged, seconds, &delay).to_string();
    match &args.manifest {
        Some(path) => std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?,
        None => {
            use std::io::Write;
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

fn count(manifest: &mut Manifest, call: &Simulated) {
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
    acknowledged: u64,
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
    let (first, last) = (manifest.keys().next().map(|(m, _)| *m), manifest.keys().next_back().map(|(m, _)| m + MINUTE));
    json!({
        "topic": args.topic, "seed": args.seed, "trace": args.trace, "calls": acknowledged,
        "from": first.map(rfc3339), "to": last.map(rfc3339),
        "seconds": seconds, "calls_per_second": acknowledged as f64 / seconds.max(1.0 / SECOND as f64),
        "delay_p99_us": if args.rate > 0.0 { Some(delay.value_at_quantile(0.99)) } else { None },
        "minutes": minutes,
    })
}
