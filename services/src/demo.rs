//! `leeway demo`: the whole product on this machine with nothing installed. An in-process Kafka (librdkafka's mock
//! cluster) carries simulated traffic through the real consumers into SQLite; an incident comes and goes; its mail
//! and its webhook are received by the demo itself.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use leeway_alerts::secret::Secret;
use leeway_alerts::signing::SigningKey;
use leeway_core::clock::{Clock, HOUR, MINUTE, Micros, SECOND};
use leeway_store::Store;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rdkafka::mocking::MockCluster;

use crate::produce::{ANSWER, Producer};
use crate::run::{Host, Role, Start, start_roles};
use crate::settings::Settings;
use crate::tasks::{Stop, Tasks, interrupted};
use crate::traffic::figures::Figures;
use crate::traffic::history;
use crate::traffic::said::{self, Said};
use crate::traffic::trace::{Draw, load};
use crate::traffic::{Arrival, ERROR_SHARE, Incident, Outcomes, simulate, write_json};
use crate::web;

/// What the demo shows.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What goes wrong, about half a minute after the start
    #[arg(long, value_enum, default_value = "latency")]
    incident: Incident,
    /// Seed of the simulated traffic
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Replay the arrivals and tokens of a real trace (Azure CSV, Mooncake JSONL, ServeGen -rates.csv) instead
    #[arg(long)]
    trace: Option<PathBuf>,
    /// Event time's speed through the first hour
    #[arg(long, default_value_t = SPEED, hide = true)]
    speed: f64,
    /// Emptied at every start; nothing is written elsewhere
    #[arg(long, default_value = "./leeway-demo-data")]
    data_dir: PathBuf,
    /// The next free port is taken where this one is in use
    #[arg(long, default_value = "127.0.0.1:8470")]
    bind: SocketAddr,
}

const TOPIC: &str = "leeway.events";
const PARTITIONS: i32 = 2;
/// The mock cluster keeps 5 MB a partition: the producer stays this far ahead of the consumer at most.
const AHEAD_BYTES: usize = 2_000_000;
const SPEED: f64 = 30.0;
const LAG: Micros = HOUR;
/// Mean calls a second of event time.
const DENSITY: f64 = 14.0;
/// The incident, in event time after the start.
const INCIDENT_FROM: Micros = 16 * MINUTE;
const INCIDENT_TO: Micros = 28 * MINUTE;
const MARKER: &str = "leeway-demo";

/// Thresholds far from what calm traffic does, so that only its own incident fires a rule.
const RULES: &str = r#"
[[rule]]
id = "latency"
kind = "threshold"
measure = "duration_ms"
quantile = 0.95
by = ["tenant", "app"]
above = 15000
for = "2m"
min_events = 50
severity = "page"
receivers = ["oncall-webhook", "oncall-mail"]
annotations = { summary = "answers are slow (p95)", description = "The slowest twentieth of the answers takes longer than 15 s.", runbook = "https://example.com/runbooks/slow-answers" }

[[rule]]
id = "cost"
kind = "threshold"
measure = "cost_usd"
quantile = 0.5
by = ["tenant", "app"]
above = 0.02
for = "2m"
min_events = 50
severity = "page"
receivers = ["oncall-webhook", "oncall-mail"]
annotations = { summary = "calls are dear (median cost)", description = "Half of the calls cost more than 2 cents.", runbook = "https://example.com/runbooks/cost" }

[[rule]]
id = "quality"
kind = "threshold"
measure = "score.grounded"
by = ["tenant", "app"]
below = 0.80
for = "2m"
min_events = 100
severity = "page"
receivers = ["oncall-webhook", "oncall-mail"]
annotations = { summary = "answers lose their ground", description = "Fewer than four answers of five are judged to rest on their documents.", runbook = "https://example.com/runbooks/quality" }

[[rule]]
id = "pii"
kind = "threshold"
measure = "pii_leaks"
by = ["tenant", "app"]
above = 3
min_events = 1
severity = "page"
receivers = ["oncall-webhook", "oncall-mail"]
annotations = { summary = "answers give away personal data", description = "Answers hold e-mail addresses, numbers or secrets that none of their inputs explains.", runbook = "https://example.com/runbooks/pii" }

[[rule]]
id = "errors"
kind = "threshold"
measure = "error_rate"
by = ["tenant", "app"]
above = 0.10
for = "2m"
min_events = 50
severity = "page"
receivers = ["oncall-webhook", "oncall-mail"]
annotations = { summary = "calls fail", runbook = "https://example.com/runbooks/errors" }
"#;

pub async fn run(args: Args) -> Result<()> {
    prepare(&args.data_dir)?;
    let arrivals = arrivals(&args)?;
    let cluster = MockCluster::new(1).context("start the in-process Kafka")?;
    cluster.create_topic(TOPIC, PARTITIONS, 1).context("create the demo's topic")?;
    cluster.create_topic("leeway.dlq", 1, 1).context("create the dead-letter topic")?;
    cluster.create_topic("leeway.mentions", 1, 1).context("create the topic of mentions")?;
    let listener = web::bind(args.bind, true).await?;
    let address = listener.local_addr().context("read the bound address")?;
    let (settings, key) = settings(&args.data_dir, &cluster.bootstrap_servers(), address)?;
    let clock = Clock::catching_up(LAG, args.speed.clamp(1.0, 240.0));
    let host = Host::claim(&args.data_dir)?;
    // Before anybody else writes.
    let past = Store::open(&settings.location()).await.context("open the demo's store")?;
    history::import(&past, args.seed, clock.now()).await?;
    past.close().await;
    let demo = web::DemoReceivers { mailbox: args.data_dir.join("mailbox"), key, hooks: Mutex::default() };
    let roles = vec![Role::Ingest, Role::Evaluate, Role::Notify, Role::Web];
    let mut tasks = Tasks::default();
    let start = Start { settings, clock, roles, demo: Some(demo), listener: Some(listener) };
    let (store, _) = start_roles(start, &host, &mut tasks).await?;
    let feed = Feed {
        brokers: cluster.bootstrap_servers(),
        store: store.clone(),
        clock,
        incident: args.incident,
        seed: args.seed,
        start: clock.now(),
    };
    let (handle, stop) = (tokio::runtime::Handle::current(), tasks.stop());
    tasks.thread("traffic".to_owned(), move || feed.run(arrivals, &handle, stop))?;
    announce(address, args.incident)?;
    let outcome = tasks.run_until(async { interrupted().await.unwrap_or(()) }).await;
    store.close().await;
    drop(cluster);
    outcome
}

fn announce(address: SocketAddr, incident: Incident) -> Result<()> {
    use std::io::Write;
    let story = match incident {
        Incident::None => "calm traffic, nothing fires",
        Incident::Latency => {
            "slow answers begin in about 30 s, the alert and its mail follow, all is well again within two minutes"
        }
        Incident::Quality => {
            "worse answers begin in about 30 s, the alert and its mail follow, all is well again within two minutes"
        }
        Incident::Pii => {
            "leaking answers begin in about 30 s, the alert and its mail follow, all is well again within two minutes"
        }
        Incident::Cost => {
            "dear calls begin in about 30 s, the alert and its mail follow, all is well again within two minutes"
        }
    };
    let mut out = std::io::stdout();
    writeln!(out, "Leeway demo: http://{address}/ ({story}; Ctrl-C ends it)").context("print the address")?;
    out.flush().context("print the address")
}

/// Empties the data folder, if it is the demo's.
fn prepare(folder: &Path) -> Result<()> {
    if folder.exists() {
        let foreign =
            !folder.join(MARKER).exists() && std::fs::read_dir(folder).context("read --data-dir")?.next().is_some();
        if foreign {
            bail!("--data-dir {} is not empty and was not made by a demo: name another folder", folder.display());
        }
        std::fs::remove_dir_all(folder).with_context(|| format!("empty {}", folder.display()))?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    std::fs::write(folder.join(MARKER), "made by `leeway demo`, emptied at its next start\n").context("mark --data-dir")
}

fn settings(folder: &Path, brokers: &str, address: SocketAddr) -> Result<(Settings, SigningKey)> {
    let rules = folder.join("rules.toml");
    std::fs::write(&rules, RULES).context("write the demo's rules")?;
    let secret = new_signing_key()?;
    let key = SigningKey::parse(&Secret::new(secret.clone()))?;
    let text = format!(
        "[store]\ndata_dir = {folder:?}\n[kafka]\nbrokers = {brokers:?}\nthreads = 1\nmentions_topic = \"leeway.mentions\"\n[ingest]\nflush_ms = 250\n[scores]\ngrounded = {{ type = \"bool\" }}\n[rules]\nfile = {rules:?}\n\
         [webhook]\nallow_private = true\nallow_http = true\n[smtp]\nhost = \"mailbox.invalid\"\nfrom = \"Leeway <leeway@example.com>\"\n\
         [[receiver]]\nname = \"oncall-webhook\"\nwebhook = {{ url = \"http://{address}/demo/hook\", signing_key = \"{secret}\" }}\n\
         [[receiver]]\nname = \"oncall-mail\"\nemail = {{ to = [\"oncall@example.com\"] }}\n"
    );
    let config = folder.join("demo.toml");
    crate::settings::write_private(&config, &text)?;
    Ok((Settings::load(Some(&config))?, key))
}

/// `whsec_` and 32 random bytes.
pub fn new_signing_key() -> Result<String> {
    use base64::Engine;
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).context("draw a signing key")?;
    Ok(format!("whsec_{}", base64::engine::general_purpose::STANDARD.encode(bytes)))
}

type Arrivals = Box<dyn Iterator<Item = Arrival> + Send>;

fn arrivals(args: &Args) -> Result<Arrivals> {
    let Some(path) = &args.trace else {
        // The busy half of the figures' day.
        return Ok(Box::new(Figures::load()?.arrivals_from(args.seed, DENSITY, 10)));
    };
    let draw = Draw { seed: args.seed, from_s: 0.0, seconds: 24.0 * 3600.0 };
    let rows = load(path, draw)?;
    let length = rows.last().map_or(0, |row| row.at) + SECOND;
    // A trace that ends begins anew.
    let repeated = (0..).flat_map(move |round: i64| {
        rows.clone().into_iter().map(move |mut row| {
            row.at += round * length;
            row
        })
    });
    Ok(Box::new(repeated))
}

/// What went before the incident: a change that its owner registered.
fn change(at: Micros) -> String {
    format!(
        r#"{{"kind":"change","id":"simulated-change","time":{at},"tenant":"acme","app":"checkout","type":"prompt","from":"v12","to":"v13","ticket":"SIM-1"}}"#
    )
}

/// Produces the traffic as event time passes.
struct Feed {
    brokers: String,
    store: Store,
    clock: Clock,
    incident: Incident,
    seed: u64,
    start: Micros,
}

impl Feed {
    fn run(self, arrivals: Arrivals, handle: &tokio::runtime::Handle, mut stop: Stop) -> Result<()> {
        let mut config = rdkafka::config::ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        let producer = Producer::new(config, TOPIC, ANSWER)?;
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        // A stream of its own: what calls say does not change when they come.
        let mut words = ChaCha8Rng::seed_from_u64(self.seed ^ 0x5a1d);
        let mut payload = String::new();
        let (mut sent, mut bytes) = (0u64, 0usize);
        let mut sent_at: HashMap<u64, usize> = HashMap::new();
        // Events are sent when they happen: calls when they complete, feedback later. Bounded by the longest of both.
        let mut later: std::collections::BTreeMap<(Micros, u64), (Micros, String)> = std::collections::BTreeMap::new();
        if self.incident != Incident::None {
            let change = change(self.start + INCIDENT_FROM);
            later.insert((self.start + INCIDENT_FROM, u64::MAX), (self.start + INCIDENT_FROM, change));
        }
        for (sequence, arrival) in arrivals.enumerate() {
            let at = self.start + arrival.at;
            while self.clock.now() < at {
                if handle.block_on(stop.within(Duration::from_millis(20))) {
                    return Ok(());
                }
            }
            let incident = if self.hit(&arrival) { self.incident } else { Incident::None };
            let outcomes = Outcomes { seed: self.seed, incident, errors: ERROR_SHARE };
            let mut call = simulate(arrival, self.start, sequence as u64, outcomes, &mut rng);
            call.said = Said::draw(&call, incident, &mut words);
            if let Some((time, text)) = said::feedback(&call) {
                later.insert((time, 2 * sequence as u64 + 1), (time, text));
            }
            write_json(&call, 0, &mut payload);
            later.insert((call.time, 2 * sequence as u64), (call.time, payload.clone()));
            while let Some(entry) = later.first_entry()
                && entry.key().0 <= at
            {
                let (time, event) = entry.remove();
                producer.send(None, Some((sent % PARTITIONS as u64) as i32), event.as_bytes(), time)?;
                sent += 1;
                bytes += event.len();
                sent_at.insert(sent, bytes);
                if sent % 256 == 0 && !self.wait_for_consumer(&mut sent_at, bytes, handle, &mut stop)? {
                    return Ok(());
                }
            }
        }
        producer.flush().map(|_| ())
    }

    fn hit(&self, arrival: &Arrival) -> bool {
        let during = (INCIDENT_FROM..INCIDENT_TO).contains(&arrival.at);
        let traced = arrival.tenant == "trace" || arrival.tenant.starts_with("servegen");
        during && (traced || (arrival.tenant == "acme" && arrival.app == "checkout"))
    }

    /// Waits while the consumer is further behind than the mock cluster keeps; `false` when it is time to end.
    fn wait_for_consumer(
        &self,
        sent_at: &mut HashMap<u64, usize>,
        bytes: usize,
        handle: &tokio::runtime::Handle,
        stop: &mut Stop,
    ) -> Result<bool> {
        loop {
            let rows = handle.block_on(self.store.partitions()).context("read the consumer's position")?;
            let mine = rows.iter().filter(|row| row.topic == TOPIC);
            let read: u64 = mine.map(|row| row.next_offset.max(0).unsigned_abs()).sum();
            let read_bytes = sent_at.get(&read).copied().unwrap_or(0);
            sent_at.retain(|message, _| *message >= read);
            if bytes - read_bytes.min(bytes) < AHEAD_BYTES || (read_bytes == 0 && bytes < AHEAD_BYTES) {
                return Ok(true);
            }
            if handle.block_on(stop.within(Duration::from_millis(20))) {
                return Ok(false);
            }
        }
    }
}
