//! `leeway run`: starts the roles of this process and waits for the end.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use leeway_alerts::channel::Channel;
use leeway_alerts::courier::Courier;
use leeway_alerts::rule::Rule;
use leeway_core::clock::{Clock, HOUR};
use leeway_detectors::scan::Scanner;
use leeway_detectors::scan::fingerprint::Keyring;
use leeway_formats::UserKey;
use leeway_store::{Location, Store};
use tokio::runtime::Handle;

use crate::accumulate::Rules;
use crate::deliver::Deliverer;
use crate::evaluate::Evaluator;
use crate::feedback::Resolver;
use crate::flush::Flusher;
use crate::mentions::Outlet;
use crate::metrics::Metrics;
use crate::pipeline::{self, Shared};
use crate::receive::{Intake, Receive};
use crate::registry::Registry;
use crate::settings::{Settings, Topic};
use crate::tasks::{Tasks, interrupted};
use crate::weekly::Weekly;
use crate::{consume, dead_letters, watch, web};

/// What a process does; any number of processes may share the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Consume Kafka into panes.
    Ingest,
    /// Evaluate rules.
    Evaluate,
    /// Deliver notices.
    Notify,
    /// Serve pages and the API.
    Web,
}

/// What a start needs beyond the settings.
#[derive(Debug)]
pub struct Start {
    pub settings: Settings,
    pub clock: Clock,
    pub roles: Vec<Role>,
    /// The demo's parts; `None` in production.
    pub demo: Option<web::DemoReceivers>,
    /// An open port, where the caller took one.
    pub listener: Option<tokio::net::TcpListener>,
}

/// Holds this host's slot for as long as the process lives.
#[derive(Debug)]
pub struct Host {
    pub name: String,
    _lock: File,
}

impl Host {
    /// A stable name of this process on this host: an id in the data folder, and the first slot that no other process
    /// of the same folder holds. Kafka's static membership needs the same name after a restart.
    pub fn claim(data_dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(data_dir).with_context(|| format!("create store.data_dir {}", data_dir.display()))?;
        let path = data_dir.join("host.id");
        let id = match std::fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => text.trim().to_owned(),
            _ => {
                let mut bytes = [0; 4];
                getrandom::fill(&mut bytes).context("draw a host id")?;
                let id: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                crate::settings::write_private(&path, &id)?;
                id
            }
        };
        for slot in 0..1000 {
            let lock = File::create(data_dir.join(format!("process-{slot}.lock")))
                .context("open a lock file in store.data_dir")?;
            if lock.try_lock().is_ok() {
                return Ok(Self { name: format!("leeway-{id}-{slot}"), _lock: lock });
            }
        }
        bail!("1000 processes share store.data_dir {}", data_dir.display())
    }
}

pub async fn run(settings: Settings, clock: Clock, roles: Vec<Role>, insecure: bool) -> Result<()> {
    if !settings.web.bind.ip().is_loopback() && !insecure && roles.contains(&Role::Web) {
        bail!(
            "web.bind = {} is reachable from elsewhere and there are no tokens yet: bind to 127.0.0.1 behind a proxy that authenticates, or pass --insecure",
            settings.web.bind
        );
    }
    let host = Host::claim(&settings.store.data_dir)?;
    let mut tasks = Tasks::default();
    let start = Start { settings, clock, roles, demo: None, listener: None };
    let (store, address) = start_roles(start, &host, &mut tasks).await?;
    if let Some(address) = address {
        tracing::info!("pages at http://{address}");
    }
    let outcome = tasks.run_until(async { interrupted().await.unwrap_or(()) }).await;
    store.close().await;
    outcome
}

/// Starts every role as tasks and threads; answers the store and the web address.
pub async fn start_roles(start: Start, host: &Host, tasks: &mut Tasks) -> Result<(Store, Option<SocketAddr>)> {
    let Start { settings, clock, roles, demo, listener } = start;
    // Everything that a person can get wrong is read before anything starts.
    let (rules, channels, mut aggregation) = (settings.rules()?, settings.channels()?, aggregation(&settings)?);
    settings.targets()?;
    let key = settings.user_key()?;
    let user_key = UserKey::new(key);
    aggregation.scanner.keys = settings.compares().then(|| Keyring::new(key));
    aggregation.withhold = settings.scan.content_free.then(|| user_key.clone());
    let location = settings.location();
    if let Location::Sqlite(path) = &location {
        tracing::info!("no store.url: single-node store in {}", path.display());
    }
    let store = Store::open(&location).await.context("open the store (store.url)")?;
    let listener = match listener {
        Some(listener) => Some(listener),
        None if roles.contains(&Role::Web) => Some(web::bind(settings.web.bind, false).await?),
        None => None,
    };
    let address =
        listener.as_ref().map(tokio::net::TcpListener::local_addr).transpose().context("read the bound address")?;
    let external_url = settings.external_url(address.unwrap_or(settings.web.bind));
    let (settings, metrics, owner) = (Arc::new(settings), Arc::default(), host.name.clone());
    let node = Node { settings, store: store.clone(), clock, metrics, owner };
    let mut intake = None;
    if roles.contains(&Role::Ingest) {
        let incarnation = demo.as_ref().map(|_| "demo".to_owned());
        if !node.settings.kafka.brokers.is_empty() {
            node.ingest(Arc::new(aggregation), user_key.clone(), incarnation, tasks).await?;
        } else if listener.is_some() {
            intake = Some(node.receive(Arc::new(aggregation), user_key.clone(), tasks)?);
        } else {
            bail!(
                "kafka.brokers is empty: set LEEWAY_KAFKA__BROKERS=host:port, or add the role web to take events by HTTP"
            );
        }
    }
    if intake.is_none() && listener.is_some() && !node.settings.kafka.brokers.is_empty() {
        intake = Some(Intake::kafka(&node.settings, user_key, clock)?);
    }
    if roles.contains(&Role::Evaluate) {
        node.evaluate(rules.clone(), external_url, demo.is_some(), tasks);
    }
    if roles.contains(&Role::Notify) {
        node.notify(channels, demo.as_ref().map(|demo| demo.mailbox.clone()), tasks)?;
    }
    if let Some(listener) = listener {
        node.web(listener, rules, web::Sides { demo, intake }, tasks);
    }
    Ok((store, address))
}

/// What all topics share.
struct Common {
    rules: Arc<Rules>,
    user_key: UserKey,
    incarnation: Option<String>,
    alone: crate::flush::Alone,
}

/// What all roles of a process share.
struct Node {
    settings: Arc<Settings>,
    store: Store,
    clock: Clock,
    metrics: Arc<Metrics>,
    owner: String,
}

impl Node {
    async fn ingest(
        &self,
        rules: Arc<Rules>,
        user_key: UserKey,
        incarnation: Option<String>,
        tasks: &mut Tasks,
    ) -> Result<()> {
        let kafka = &self.settings.kafka;
        consume::check(kafka).await?;
        let common = Common { rules, user_key, incarnation, alone: Arc::default() };
        let schemas = Registry::open(&kafka.registry, Handle::current())?;
        for mut topic in self.settings.topics()? {
            topic.reader.schemas.clone_from(&schemas);
            let shared = self.shared(topic, &common)?;
            self.consume(shared, tasks)?;
        }
        if let Some(topic) = self.settings.mentions() {
            let shared = self.shared(topic, &common)?;
            self.consume(Shared { traces: Some(self.settings.scan.remembered), ..shared }, tasks)?;
        }
        if !kafka.dead_letter_topic.is_empty() {
            tasks.spawn("dead-letters", dead_letters::export(self.store.clone(), kafka.clone(), tasks.stop()));
        }
        Ok(())
    }

    /// Without Kafka: the thread that reads HTTP requests into the store.
    fn receive(&self, rules: Arc<Rules>, user_key: UserKey, tasks: &mut Tasks) -> Result<Intake> {
        tracing::info!("no kafka.brokers: events come by HTTP only");
        let (intake, requests) = Intake::store(&self.settings, user_key.clone(), self.clock);
        let flusher = Flusher {
            store: self.store.clone(),
            handle: Handle::current(),
            rules: Arc::clone(&rules),
            owner: self.owner.clone(),
            series_cap: self.settings.ingest.max_series_per_tenant,
            clock: self.clock,
            metrics: Arc::clone(&self.metrics),
            stop: tasks.stop(),
            memory: crate::flush::Memory::default(),
            log: None,
            outlet: rules.scanner.keys.is_some().then_some(Outlet::Store),
            alone: Arc::default(),
        };
        let receive = Receive {
            settings: Arc::clone(&self.settings),
            store: self.store.clone(),
            rules,
            user_key,
            clock: self.clock,
            flusher,
            owner: self.owner.clone(),
        };
        let stop = tasks.stop();
        tasks.thread("receive".to_owned(), move || receive.run(&requests, &stop))?;
        Ok(intake)
    }

    /// What the consumer threads of one topic share.
    fn shared(&self, topic: Topic, common: &Common) -> Result<Shared> {
        let mut settings = Settings::clone(&self.settings);
        settings.kafka.topic = topic.name;
        let rules = Rules { call_index: topic.call_index, index_days: topic.index_days, ..Rules::clone(&common.rules) };
        let log = consume::Log::new(&settings.kafka, common.incarnation.clone())?;
        Ok(Shared {
            settings: Arc::new(settings),
            reader: topic.reader,
            store: self.store.clone(),
            handle: Handle::current(),
            rules: Arc::new(rules),
            user_key: common.user_key.clone(),
            clock: self.clock,
            metrics: Arc::clone(&self.metrics),
            log_ends: Arc::default(),
            log: Arc::new(log),
            partition_count: Arc::default(),
            host: self.owner.clone(),
            traces: None,
            alone: Arc::clone(&common.alone),
        })
    }

    /// Threads and the coverage watch of one topic.
    fn consume(&self, shared: Shared, tasks: &mut Tasks) -> Result<()> {
        let threads = match self.settings.kafka.threads {
            // Comparing numbers is little work.
            _ if shared.traces.is_some() => 1,
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            threads => threads,
        };
        let topic = &shared.settings.kafka.topic;
        for thread in 0..threads {
            let name = if *topic == self.settings.kafka.topic {
                format!("consume-{thread}")
            } else {
                format!("consume-{topic}-{thread}")
            };
            let (shared, stop) = (shared.clone(), tasks.stop());
            tasks.thread(name, move || pipeline::run(&shared, thread, &stop))?;
        }
        tasks.spawn("coverage", watch::run(shared, tasks.stop()));
        Ok(())
    }

    fn evaluate(&self, rules: Vec<Rule>, external_url: String, simulated: bool, tasks: &mut Tasks) {
        let evaluator = Evaluator {
            store: self.store.clone(),
            rules,
            clock: self.clock,
            owner: self.owner.clone(),
            external_url,
            simulated,
            metrics: Arc::clone(&self.metrics),
            false_pages_a_week: self.settings.rules.false_pages_a_week,
            streams: self.settings.rules.streams,
            words: self.settings.names(),
            memory: crate::evaluate::Memory::default(),
        };
        tasks.spawn("evaluate", evaluator.run(tasks.stop()));
        let resolver = Resolver {
            store: self.store.clone(),
            owner: self.owner.clone(),
            clock: self.clock,
            wait: self.settings.ingest.feedback_wait_hours * HOUR,
            names: self.settings.scores.keys().cloned().collect(),
            metrics: Arc::clone(&self.metrics),
        };
        tasks.spawn("feedback", resolver.run(tasks.stop()));
        let upkeep = crate::upkeep::Upkeep {
            store: self.store.clone(),
            clock: self.clock,
            owner: self.owner.clone(),
            index_days: self.settings.longest_index_days(),
            retention: self.settings.retention,
            metrics: Arc::clone(&self.metrics),
        };
        tasks.spawn("upkeep", upkeep.run(tasks.stop()));
    }

    fn notify(&self, channels: BTreeMap<String, Channel>, mailbox: Option<PathBuf>, tasks: &mut Tasks) -> Result<()> {
        let smtp = self.settings.smtp();
        let deliverer = Deliverer {
            store: self.store.clone(),
            channels: Arc::new(channels),
            courier: Courier::new(self.settings.guard(), smtp.as_ref(), self.clock).map_err(anyhow::Error::msg)?,
            clock: self.clock,
            owner: self.owner.clone(),
            metrics: Arc::clone(&self.metrics),
            mailbox,
        };
        let weekly = Weekly {
            store: self.store.clone(),
            clock: self.clock,
            owner: self.owner.clone(),
            receivers: self.settings.report_receivers()?,
            channels: Arc::clone(&deliverer.channels),
            courier: Courier::new(self.settings.guard(), smtp.as_ref(), self.clock).map_err(anyhow::Error::msg)?,
            mailbox: deliverer.mailbox.clone(),
            wanted: self.settings.wanted()?,
            hours: self.settings.report.hours_after_monday,
        };
        tasks.spawn("notify", deliverer.run(tasks.stop()));
        tasks.spawn("weekly", weekly.run(tasks.stop()));
        Ok(())
    }

    fn web(&self, listener: tokio::net::TcpListener, rules: Vec<Rule>, sides: web::Sides, tasks: &mut Tasks) {
        let web::Sides { demo, intake } = sides;
        let parts = web::Parts {
            store: self.store.clone(),
            clock: self.clock,
            metrics: Arc::clone(&self.metrics),
            rules,
            series_cap: self.settings.ingest.max_series_per_tenant,
            wanted: self.settings.wanted().unwrap_or_default(),
            demo,
            intake,
            stop: tasks.stop(),
        };
        tasks.spawn("web", web::serve(listener, web::App::new(parts), tasks.stop()));
    }
}

pub fn aggregation(settings: &Settings) -> Result<Rules> {
    let micro = |value: f64| (value * 1e6).round() as i64;
    let scores: BTreeMap<String, (i64, i64)> = settings
        .scores
        .iter()
        .map(|(name, score)| (name.clone(), (micro(score.min.unwrap_or(-9e9)), micro(score.max.unwrap_or(9e9)))))
        .collect();
    Ok(Rules {
        dimensions: settings.dimensions()?,
        relabel: settings.relabel()?,
        prices: settings.price_book()?,
        call_index: settings.ingest.call_index,
        index_days: settings.ingest.index_days,
        scanner: Scanner {
            examine_every: settings.scan.examine_every,
            keys: None,
            hosts: settings.scan.hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
            words: settings.vocabulary()?,
        },
        policy: settings.policy()?,
        withhold: None,
        scores,
    })
}
