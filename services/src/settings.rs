//! Settings: built-in `leeway.toml`, then `--config`, then `LEEWAY_SECTION__KEY`. Unknown keys are errors.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use leeway_alerts::channel::Channel;
use leeway_alerts::channel::email::Email;
use leeway_alerts::channel::webhook::Webhook;
use leeway_alerts::courier::{Smtp, Tls};
use leeway_alerts::guard::Guard;
use leeway_alerts::secret::Secret;
use leeway_alerts::signing::SigningKey;
use leeway_core::embedding::LONGEST;
use leeway_core::hazard::Hazard;
use leeway_core::labels::Dimensions;
use leeway_core::measure::Measure;
use leeway_core::policy::{self, Policy};
use leeway_core::price::PriceBook;
use leeway_core::scan::{Entity, Origin};
use leeway_core::words::{Of, Vocabulary};
use leeway_formats::{Format, Mapping, Options, Reader, Rows, UserKey};
use leeway_store::Location;
use serde::Deserialize;

use crate::registry::RegistrySettings;
use crate::relabel::Relabel;

/// The built-in settings, with a comment on each.
pub const BUILT_IN: &str = include_str!("leeway.toml");
const PREFIX: &str = "LEEWAY_";
/// Calls are taken for a month, and for another one nobody doubts what is gone.
const LEAST_HOURS_DAYS: i64 = 62;
/// Rules learn from two months of findings, and feedback may be revised for one.
const LEAST_RECORDS_DAYS: i64 = 90;
const INDEX_DAYS: std::ops::RangeInclusive<i64> = 1..=365;
/// Variables of the program's surroundings that are no settings.
const NOT_SETTINGS: [&str; 3] = ["LEEWAY_TEST_", "LEEWAY_SHARED", "LEEWAY_REQUIRE_SHARED"];

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub store: StoreSettings,
    pub kafka: Kafka,
    pub ingest: Ingest,
    pub retention: Retention,
    pub scan: Scan,
    #[serde(default)]
    pub scores: BTreeMap<String, ScoreType>,
    #[serde(default)]
    pub targets: BTreeMap<String, f64>,
    pub report: ReportSettings,
    pub rules: RulesFile,
    pub web: Web,
    pub smtp: SmtpSettings,
    pub webhook: WebhookGuard,
    #[serde(default, rename = "receiver")]
    pub receivers: Vec<Receiver>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreSettings {
    pub url: Secret,
    pub data_dir: PathBuf,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kafka {
    pub brokers: String,
    pub topic: String,
    pub format: String,
    pub mapping: PathBuf,
    pub sniff: bool,
    pub sources: Vec<Source>,
    pub group: String,
    pub dead_letter_topic: String,
    pub mentions_topic: String,
    pub threads: usize,
    pub start: Start,
    pub session_timeout_ms: u32,
    pub static_membership: bool,
    pub options: BTreeMap<String, Secret>,
    pub registry: RegistrySettings,
}

/// One topic, what its messages are, and how they count; what is not said is as everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    pub topic: String,
    #[serde(default = "auto")]
    pub format: String,
    #[serde(default)]
    pub mapping: PathBuf,
    pub sniff: Option<bool>,
    pub call_index: Option<CallIndex>,
    pub index_days: Option<i64>,
}

/// How the messages of a topic are read and counted.
#[derive(Debug, Clone)]
pub struct Topic {
    pub name: String,
    /// Without a registry: that needs a runtime.
    pub reader: Reader,
    pub call_index: CallIndex,
    pub index_days: i64,
}

fn auto() -> String {
    "auto".to_owned()
}

/// The format with that id; `None` is `auto`.
pub fn format(id: &str) -> Result<Option<&'static dyn Format>> {
    if id == "auto" {
        return Ok(None);
    }
    let ids = leeway_formats::ALL.map(Format::id).join(", ");
    leeway_formats::find(id).map(Some).with_context(|| format!("format `{id}`; valid are auto, {ids}"))
}

/// Reads a mapping file: Leeway's fields by the source's.
fn mapping(path: &Path) -> Result<Option<Arc<Mapping>>> {
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let rows: Rows = toml::from_str(&text).map_err(|error| syntax(path, &text, &error))?;
    let mapping = Mapping::new(rows).with_context(|| path.display().to_string())?;
    Ok(Some(Arc::new(mapping)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    Earliest,
    Latest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CallIndex {
    On,
    Batch,
    Off,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scan {
    pub examine_every: u32,
    pub remembered: usize,
    pub hosts: Vec<String>,
    pub content_free: bool,
    pub words: bool,
    pub own_words: Vec<String>,
    pub embeddings: BTreeMap<String, usize>,
    #[serde(default)]
    pub policy: Vec<PolicyRow>,
}

/// What a tenant's app may say; without kinds of all kinds, without origins of what is unexplained.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyRow {
    pub tenant: String,
    pub app: String,
    pub kinds: Vec<String>,
    pub origins: Vec<String>,
    pub hazards: Vec<String>,
    pub ruling: String,
}

impl PolicyRow {
    fn read(&self) -> Result<policy::Row> {
        fn all<T>(names: &[String], what: &str, known: &str, find: impl Fn(&str) -> Option<T>) -> Result<Vec<T>> {
            let one = |name: &String| find(name).with_context(|| format!("{what}: `{name}`; valid are {known}"));
            names.iter().map(one).collect()
        }
        if self.origins.iter().any(|origin| origin == "telemetry") && self.ruling != "severe" {
            bail!("origin telemetry is in no answer, and no leak of one: its ruling is severe, or none");
        }
        let given = |name: &String| (!name.is_empty()).then(|| name.clone());
        let of_values = !self.kinds.is_empty() || !self.origins.is_empty();
        if of_values && !self.hazards.is_empty() {
            bail!("a row is about `hazards`, or about `kinds` and `origins`");
        }
        let ruling = policy::Ruling::NAMES.iter().find(|(name, _)| *name == self.ruling);
        let known = policy::Ruling::NAMES.map(|(name, _)| name).join(", ");
        Ok(policy::Row {
            tenant: given(&self.tenant),
            app: given(&self.app),
            kinds: all(&self.kinds, "kinds", &Entity::ALL.map(Entity::name).join(", "), Entity::find)?,
            origins: all(&self.origins, "origins", &Origin::TOLD.map(Origin::name).join(", "), |name| {
                Origin::find(name).filter(|origin| Origin::TOLD.contains(origin))
            })?,
            hazards: all(&self.hazards, "hazards", &Hazard::ALL.map(Hazard::name).join(", "), Hazard::find)?,
            ruling: ruling.with_context(|| format!("ruling: `{}`; valid are {known}", self.ruling))?.1,
        })
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ingest {
    pub call_index: CallIndex,
    pub index_days: i64,
    pub feedback_wait_hours: i64,
    pub flush_ms: u64,
    pub flush_bytes: usize,
    pub max_message_bytes: usize,
    pub max_depth: usize,
    pub max_series_per_tenant: u64,
    pub dimensions: Vec<String>,
    pub relabel: Vec<crate::relabel::Row>,
    /// The dimension of each OpenTelemetry attribute that is one.
    pub attributes: BTreeMap<String, String>,
    pub price_book: PathBuf,
    pub user_key: Secret,
}

/// The weekly report by mail.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportSettings {
    /// Names of e-mail receivers; empty: no mail.
    pub receivers: Vec<String>,
    /// Hours after Monday 00:00 UTC.
    pub hours_after_monday: i64,
}

/// What a declared inline score may be.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreType {
    #[serde(rename = "type")]
    pub kind: ScoreKind,
    #[serde(default)]
    pub min: Option<f64>,
    #[serde(default)]
    pub max: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScoreKind {
    Bool,
    Number,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RulesFile {
    pub file: PathBuf,
    /// Of all anomaly rules together, in expectation.
    pub false_pages_a_week: f64,
    /// Streams of anomaly rules that are tested at most.
    pub streams: usize,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Web {
    pub bind: SocketAddr,
    pub external_url: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmtpSettings {
    pub host: String,
    pub port: u16,
    pub tls: Tls,
    pub from: String,
    pub username: String,
    pub password: Secret,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookGuard {
    pub allow_private: bool,
    pub allow_http: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receiver {
    pub name: String,
    pub webhook: Option<WebhookReceiver>,
    pub email: Option<EmailReceiver>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookReceiver {
    pub url: Secret,
    pub signing_key: Secret,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmailReceiver {
    pub to: Vec<String>,
}

/// Days; 0 is for ever.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    pub minutes_days: i64,
    pub hours_days: i64,
    pub records_days: i64,
    pub ledger_days: i64,
}

impl Retention {
    fn check(self, index_days: i64) -> Result<()> {
        let Self { minutes_days, hours_days, records_days, ledger_days } = self;
        let days = [
            ("minutes_days", minutes_days, 2),
            ("hours_days", hours_days, LEAST_HOURS_DAYS.max(index_days + 31)),
            ("records_days", records_days, LEAST_RECORDS_DAYS),
            ("ledger_days", ledger_days, 8),
        ];
        for (name, given, least) in days {
            if given != 0 && !(least..=36_500).contains(&given) {
                bail!("retention.{name} is {given}; valid are {least} to 36500 days, and 0 for ever");
            }
        }
        if hours_days != 0 && (minutes_days == 0 || minutes_days > hours_days) {
            bail!("retention.minutes_days is at most retention.hours_days: an hour holds what its minutes held");
        }
        Ok(())
    }
}

impl Settings {
    /// Every topic that is read, `kafka.topic` first.
    pub fn topics(&self) -> Result<Vec<Topic>> {
        let (kafka, ingest) = (&self.kafka, &self.ingest);
        let first = Source {
            topic: kafka.topic.clone(),
            format: kafka.format.clone(),
            mapping: kafka.mapping.clone(),
            sniff: None,
            call_index: None,
            index_days: None,
        };
        let mut topics: Vec<Topic> = Vec::new();
        for source in std::iter::once(&first).chain(&kafka.sources) {
            let of = || format!("kafka: topic `{}`", source.topic);
            if topics.iter().any(|topic| topic.name == source.topic) {
                bail!("kafka.sources: topic `{}` is listed twice", source.topic);
            }
            let reader = Reader {
                format: format(&source.format).with_context(of)?,
                sniff: source.sniff.unwrap_or(kafka.sniff),
                mapping: mapping(&source.mapping).with_context(|| format!("{}: mapping", of()))?,
                schemas: None,
            };
            if reader.mapping.is_some() && reader.format.is_some_and(|format| format.id() != "leeway-json") {
                bail!("{}: a mapping makes Leeway JSON: leave `format` out, or say \"leeway-json\"", of());
            }
            let index_days = source.index_days.unwrap_or(ingest.index_days);
            if !INDEX_DAYS.contains(&index_days) {
                bail!("{}: index_days is 1 to 365", of());
            }
            let call_index = source.call_index.unwrap_or(ingest.call_index);
            topics.push(Topic { name: source.topic.clone(), reader, call_index, index_days });
        }
        Ok(topics)
    }

    /// How long the index of calls remembers: rows do not say whose they are, so the longest of all topics.
    pub fn longest_index_days(&self) -> i64 {
        let own = self.kafka.sources.iter().filter_map(|source| source.index_days);
        own.fold(self.ingest.index_days, i64::max)
    }

    /// Reads all layers; `config` is the file of `--config`.
    pub fn load(config: Option<&Path>) -> Result<Self> {
        let mut table: toml::Table = toml::from_str(BUILT_IN).context("read the built-in settings")?;
        if let Some(path) = config {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("read settings from {}", path.display()))?;
            let own: toml::Table = toml::from_str(&text).map_err(|error| syntax(path, &text, &error))?;
            merge(&mut table, own);
        }
        let mut variables: Vec<(String, String)> = std::env::vars().filter(|(name, _)| setting_name(name)).collect();
        variables.sort();
        for (name, value) in variables {
            set(&mut table, &name, &value)?;
        }
        read_secret_files(&mut table)?;
        let settings: Self = table
            .try_into()
            .map_err(|error: toml::de::Error| anyhow::anyhow!("settings: {}", error.to_string().trim_end()))?;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<()> {
        if self.ingest.flush_bytes < 65_536 || self.ingest.flush_ms == 0 {
            bail!("ingest.flush_bytes is at least 65536 and ingest.flush_ms at least 1");
        }
        if !(self.rules.false_pages_a_week > 0.0 && self.rules.false_pages_a_week <= 10_000.0)
            || self.rules.streams == 0
        {
            bail!(
                "rules.false_pages_a_week is more than 0 and at most 10000 (1: one in a week), rules.streams at least 1"
            );
        }
        self.retention.check(self.longest_index_days())?;
        if !INDEX_DAYS.contains(&self.ingest.index_days) {
            bail!("ingest.index_days is 1 to 365");
        }
        let topics = std::iter::once(&self.kafka.topic).chain(self.kafka.sources.iter().map(|source| &source.topic));
        if topics.into_iter().any(|topic| *topic == self.kafka.mentions_topic) {
            bail!("kafka.mentions_topic is a topic of its own: Leeway writes it and reads it");
        }
        self.policy()?;
        self.vocabulary()?;
        self.check_embeddings()?;
        self.relabel()?;
        self.check_attributes()?;
        if !(2..=1024).contains(&self.ingest.max_depth) {
            bail!("ingest.max_depth is 2 to 1024");
        }
        Ok(())
    }

    /// The topic on which calls' values are compared, where there is one.
    pub fn mentions(&self) -> Option<Topic> {
        let reader = Reader { format: None, sniff: false, mapping: None, schemas: None };
        let name = self.kafka.mentions_topic.clone();
        let topic = Topic { name, reader, call_index: CallIndex::Off, index_days: self.ingest.index_days };
        (!self.kafka.mentions_topic.is_empty()).then_some(topic)
    }

    /// Whether values of calls are compared with other calls' values.
    pub fn compares(&self) -> bool {
        self.scan.remembered > 0 && (self.kafka.brokers.is_empty() || !self.kafka.mentions_topic.is_empty())
    }

    pub fn policy(&self) -> Result<Policy> {
        let rows = self.scan.policy.iter().enumerate();
        let read =
            |(place, row): (usize, &PolicyRow)| row.read().with_context(|| format!("scan.policy, row {}", place + 1));
        Ok(Policy { rows: rows.map(read).collect::<Result<_>>()? })
    }

    pub fn location(&self) -> Location {
        match self.store.url.expose() {
            "" => Location::Sqlite(self.store.data_dir.join("leeway.sqlite")),
            url => Location::Postgres(url.to_owned()),
        }
    }

    /// How messages are decoded.
    pub fn decoding(&self, user_key: UserKey) -> Options {
        let Ingest { max_message_bytes, max_depth, attributes, .. } = &self.ingest;
        let named = attributes.iter().map(|(dimension, key)| (key.clone(), dimension.clone()));
        let spaces = self.scan.embeddings.iter().map(|(space, length)| (space.clone(), *length)).collect();
        Options { attributes: named.collect(), spaces, ..Options::new(*max_message_bytes, *max_depth, user_key) }
    }

    fn check_embeddings(&self) -> Result<()> {
        const MOST: usize = 8;
        const LONGEST_NAME: usize = 128;
        let spaces = &self.scan.embeddings;
        if self.scan.content_free && !spaces.is_empty() {
            bail!(
                "scan.embeddings keeps features of a call's embedding, which confirm a guess of its text; scan.content_free forbids that: choose one"
            );
        }
        if spaces.len() > MOST {
            bail!("scan.embeddings names {} spaces; {MOST} are the most", spaces.len());
        }
        for (space, length) in spaces {
            if !(1..=LONGEST_NAME).contains(&space.len()) {
                bail!("scan.embeddings: `{space}` is no space; a name has 1 to {LONGEST_NAME} bytes");
            }
            if !(1..=LONGEST).contains(length) {
                bail!("scan.embeddings: vectors of `{space}` have {length} numbers; 1 to {LONGEST} can be counted");
            }
        }
        Ok(())
    }

    fn check_attributes(&self) -> Result<()> {
        const NAMED: [&str; 8] =
            ["tenant", "app", "route", "release", "environment", "prompt_version", "index_version", "region"];
        let dimensions = self.dimensions()?;
        for (dimension, key) in &self.ingest.attributes {
            if !NAMED.contains(&dimension.as_str()) && !dimension.starts_with("dims.") {
                bail!("ingest.attributes: `{dimension}` is none of {}, dims.NAME", NAMED.join(", "));
            }
            if !dimensions.names().contains(dimension) {
                bail!("ingest.attributes: `{dimension}` is not listed in ingest.dimensions");
            }
            if key.is_empty() {
                bail!("ingest.attributes: `{dimension}` names no attribute");
            }
            if let Some((other, _)) = self.ingest.attributes.iter().find(|(other, of)| *of == key && *other < dimension)
            {
                bail!("ingest.attributes: `{key}` is both `{other}` and `{dimension}`: an attribute is one dimension");
            }
        }
        Ok(())
    }

    pub fn relabel(&self) -> Result<Relabel> {
        Relabel::new(&self.ingest.relabel, &self.dimensions()?)
    }

    pub fn dimensions(&self) -> Result<Dimensions> {
        Dimensions::new(self.ingest.dimensions.clone()).context("ingest.dimensions")
    }

    /// Targets of key figures that replace the defaults.
    /// What reports are made with.
    pub fn wanted(&self) -> Result<crate::report::Wanted> {
        Ok(crate::report::Wanted { targets: self.targets()?, words: self.vocabulary()? })
    }

    pub fn targets(&self) -> Result<BTreeMap<String, f64>> {
        for (id, target) in &self.targets {
            if leeway_core::kpi::Kpi::find(id).is_none() {
                let known = leeway_core::kpi::ALL.map(|kpi| kpi.id).join(", ");
                bail!("targets: `{id}` is no key figure; valid are {known}");
            }
            if !target.is_finite() {
                bail!("targets.{id} is no finite number");
            }
        }
        Ok(self.targets.clone())
    }

    /// Receivers of the weekly report, which are e-mail receivers.
    pub fn report_receivers(&self) -> Result<Vec<String>> {
        for name in &self.report.receivers {
            if !self.receivers.iter().any(|receiver| receiver.name == *name && receiver.email.is_some()) {
                bail!("report.receivers: `{name}` is no receiver with `email`");
            }
        }
        if !(0..168).contains(&self.report.hours_after_monday) {
            bail!("report.hours_after_monday lies between 0 and 167");
        }
        Ok(self.report.receivers.clone())
    }

    pub fn price_book(&self) -> Result<PriceBook> {
        let mut book = PriceBook::built_in().context("read the built-in price book")?;
        let path = &self.ingest.price_book;
        if !path.as_os_str().is_empty() {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("read ingest.price_book {}", path.display()))?;
            book.extend(PriceBook::parse(&text).with_context(|| format!("parse {}", path.display()))?);
        }
        Ok(book)
    }

    /// 32 bytes that key user hashes: given with Postgres, made once with mode 0600 with SQLite.
    pub fn user_key(&self) -> Result<[u8; 32]> {
        match (self.ingest.user_key.expose(), self.location()) {
            ("", Location::Postgres(_)) => {
                bail!(
                    "ingest.user_key is required with Postgres, the same on every process: set LEEWAY_INGEST__USER_KEY_FILE to a file with 64 hex digits (openssl rand -hex 32)"
                )
            }
            ("", Location::Sqlite(_)) => own_key(&self.store.data_dir),
            (text, _) => hex_key(text.trim()).context("ingest.user_key takes 64 hex digits"),
        }
    }

    pub fn smtp(&self) -> Option<Smtp> {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let smtp = &self.smtp;
        given(&smtp.host).map(|host| Smtp {
            host,
            port: smtp.port,
            tls: smtp.tls,
            username: given(&smtp.username),
            password: given(smtp.password.expose()).map(Secret::new),
        })
    }

    pub fn guard(&self) -> Guard {
        Guard { allow_private: self.webhook.allow_private, allow_http: self.webhook.allow_http }
    }

    pub fn channels(&self) -> Result<BTreeMap<String, Channel>> {
        let mut channels = BTreeMap::new();
        for receiver in &self.receivers {
            let channel = self.channel(receiver).with_context(|| format!("receiver `{}`", receiver.name))?;
            if channels.insert(receiver.name.clone(), channel).is_some() {
                bail!("receiver `{}` is defined twice", receiver.name);
            }
        }
        Ok(channels)
    }

    fn channel(&self, receiver: &Receiver) -> Result<Channel> {
        match (&receiver.webhook, &receiver.email) {
            (Some(webhook), None) => {
                let url = url::Url::parse(webhook.url.expose()).context("url")?;
                self.guard().check_url(&url)?;
                Ok(Channel::Webhook(Webhook { url, key: SigningKey::parse(&webhook.signing_key)? }))
            }
            (None, Some(email)) => {
                if self.smtp.host.is_empty() {
                    bail!("an e-mail receiver needs smtp.host");
                }
                let from = self.smtp.from.parse().with_context(|| format!("smtp.from `{}`", self.smtp.from))?;
                let to = email
                    .to
                    .iter()
                    .map(|to| to.parse().with_context(|| format!("`{to}` is no address")))
                    .collect::<Result<Vec<_>>>()?;
                if to.is_empty() {
                    bail!("`to` is empty");
                }
                Ok(Channel::Email(Email { from, to }))
            }
            _ => bail!("give exactly one of `webhook` and `email`"),
        }
    }

    pub fn rules(&self) -> Result<Vec<leeway_alerts::rule::Rule>> {
        let path = &self.rules.file;
        if path.as_os_str().is_empty() {
            return Ok(Vec::new());
        }
        let text = std::fs::read_to_string(path).with_context(|| format!("read rules.file {}", path.display()))?;
        let receivers: BTreeSet<String> = self.receivers.iter().map(|receiver| receiver.name.clone()).collect();
        let rules = leeway_alerts::rule::parse(&path.display().to_string(), &text, &self.dimensions()?, &receivers)?;
        let uncounted = |rule: &&leeway_alerts::rule::Rule| match rule.measure {
            Measure::Words(Of::Failure) => !self.scan.words,
            Measure::Words(_) => !self.scan.words || self.scan.examine_every == 0,
            Measure::Embedding(ref space) => !self.scan.embeddings.contains_key(space),
            _ => false,
        };
        if let Some(rule) = rules.iter().find(uncounted) {
            let needs = match rule.measure {
                Measure::Embedding(_) => "scan.embeddings, with the numbers of its vectors",
                _ if self.scan.words => "scan.examine_every of 1 or more",
                _ => "scan.words = true",
            };
            let path = path.display();
            bail!("{path}: rule {}: `{}` is counted only where the settings say {needs}", rule.id, rule.measure);
        }
        Ok(rules)
    }

    /// Names of words that are or were counted; own words were checked when the settings were read.
    pub fn names(&self) -> Vocabulary {
        Vocabulary::new(&self.scan.own_words).unwrap_or_default()
    }

    /// The words that are counted; `None` where none are.
    pub fn vocabulary(&self) -> Result<Option<Arc<Vocabulary>>> {
        if self.scan.words && self.scan.content_free {
            bail!(
                "scan.words keeps which words of a list a call's texts have, which scan.content_free forbids: choose one"
            );
        }
        let own = Vocabulary::new(&self.scan.own_words).map_err(|error| anyhow::anyhow!("scan.own_words: {error}"))?;
        Ok(self.scan.words.then(|| Arc::new(own)))
    }

    pub fn external_url(&self, bound: SocketAddr) -> String {
        match self.web.external_url.trim_end_matches('/') {
            "" => format!("http://{bound}"),
            url => url.to_owned(),
        }
    }
}

/// The line and what is wrong with it, without its text: it may hold a password.
fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> anyhow::Error {
    let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
    anyhow::anyhow!("{} line {line}: {}", path.display(), error.message())
}

fn setting_name(name: &str) -> bool {
    name.starts_with(PREFIX) && !NOT_SETTINGS.iter().any(|other| name.starts_with(other))
}

fn merge(base: &mut toml::Table, own: toml::Table) {
    for (key, value) in own {
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(value)) => merge(inner, value),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// `LEEWAY_KAFKA__BROKERS=x` sets `kafka.brokers`; a value that reads as a number, flag or list is one.
fn set(table: &mut toml::Table, name: &str, value: &str) -> Result<()> {
    let path = name[PREFIX.len()..].to_lowercase();
    let Some((sections, key)) = path.rsplit_once("__") else {
        bail!(
            "variable {name}: settings are LEEWAY_SECTION__KEY, with two underscores, for example LEEWAY_KAFKA__BROKERS"
        );
    };
    let mut inner = table;
    for section in sections.split("__") {
        let Some(toml::Value::Table(next)) = inner.get_mut(section) else {
            bail!("variable {name}: there is no section [{}]", sections.replace("__", "."));
        };
        inner = next;
    }
    let base = key.strip_suffix("_file").unwrap_or(key);
    // Only what is a text by default stays one whatever it looks like.
    let text = inner.get(base).is_none_or(toml::Value::is_str);
    let parsed = if text {
        None
    } else {
        toml::from_str::<toml::Table>(&format!("x = {value}")).ok().and_then(|mut t| t.remove("x"))
    };
    inner.insert(key.to_owned(), parsed.unwrap_or_else(|| toml::Value::String(value.to_owned())));
    Ok(())
}

/// `KEY_file` becomes KEY with the file's content, without its last line feed.
fn read_secret_files(table: &mut toml::Table) -> Result<()> {
    const SECRETS: [&str; 5] = ["url", "user_key", "password", "signing_key", "username"];
    for secret in SECRETS {
        let key = format!("{secret}_file");
        if let Some(path) = table.remove(&key) {
            let path = path.as_str().with_context(|| format!("{key} takes a path"))?.to_owned();
            let text = std::fs::read_to_string(&path).with_context(|| format!("read {key} {path}"))?;
            table.insert(secret.to_owned(), toml::Value::String(text.trim_end().to_owned()));
        }
    }
    for value in table.iter_mut().map(|(_, value)| value) {
        match value {
            toml::Value::Table(inner) => read_secret_files(inner)?,
            toml::Value::Array(items) => {
                for inner in items.iter_mut().filter_map(toml::Value::as_table_mut) {
                    read_secret_files(inner)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn hex_key(text: &str) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (place, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).ok()?;
    }
    Some(key)
}

fn own_key(data_dir: &Path) -> Result<[u8; 32]> {
    let path = data_dir.join("user.key");
    if let Ok(text) = std::fs::read_to_string(&path) {
        return hex_key(text.trim()).with_context(|| format!("{} does not hold 64 hex digits", path.display()));
    }
    let mut key = [0; 32];
    getrandom::fill(&mut key).context("draw a random key")?;
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    write_private(&path, &hex)?;
    Ok(key)
}

/// Writes a file that only its owner may read.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    }
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("write {}", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layered(own: &str, variables: &[(&str, &str)]) -> Result<Settings> {
        let mut table: toml::Table = toml::from_str(BUILT_IN)?;
        merge(&mut table, toml::from_str(own)?);
        for (name, value) in variables {
            set(&mut table, name, value)?;
        }
        read_secret_files(&mut table)?;
        let settings: Settings = table.try_into()?;
        settings.check()?;
        Ok(settings)
    }

    #[test]
    fn layers_win_in_order() {
        let variables =
            [("LEEWAY_KAFKA__BROKERS", "b:9092"), ("LEEWAY_INGEST__FLUSH_MS", "20"), ("LEEWAY_SMTP__PASSWORD", "123")];
        let settings = layered("[kafka]\ntopic = \"t\"\nbrokers = \"a\"", &variables).unwrap();
        assert_eq!((settings.kafka.topic.as_str(), settings.kafka.brokers.as_str()), ("t", "b:9092"));
        assert_eq!((settings.ingest.flush_ms, settings.smtp.password.expose()), (20, "123"));
    }

    #[test]
    fn mistakes_name_the_valid_keys() {
        let error = layered("[kafka]\nbroker = \"x\"", &[]).unwrap_err().to_string();
        assert!(error.contains("broker") && error.contains("brokers"), "{error}");
        let error = layered("", &[("LEEWAY_KAFKA_BROKERS", "x")]).unwrap_err().to_string();
        assert!(error.contains("two underscores"), "{error}");
        let error = layered("", &[("LEEWAY_KAFKAS__BROKERS", "x")]).unwrap_err().to_string();
        assert!(error.contains("[kafkas]"), "{error}");
    }

    #[test]
    fn a_secret_does_not_print() {
        let settings = layered("[store]\nurl = \"postgres://u:hunter2@h/d\"", &[]).unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
        assert!(settings.user_key().unwrap_err().to_string().contains("openssl rand -hex 32"));
    }

    #[test]
    fn a_syntax_error_names_its_line_and_not_its_text() {
        let path = std::env::temp_dir().join(format!("leeway-settings-{}.toml", std::process::id()));
        std::fs::write(&path, "[smtp]\npassword = \"hunter2\n").unwrap();
        let error = format!("{:#}", Settings::load(Some(&path)).unwrap_err());
        assert!(error.contains("line 2") && !error.contains("hunter2"), "{error}");
        let number = format!("{:#}", layered("[smtp]\npassword = 12345", &[]).unwrap_err());
        assert!(number.contains("in quotes") && !number.contains("12345"), "{number}");
    }

    #[test]
    fn receivers_are_checked_when_settings_are_read() {
        let receiver = |text: &str| layered(&format!("[[receiver]]\nname = \"r\"\n{text}"), &[]).unwrap().channels();
        let key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let private = receiver(&format!("webhook = {{ url = \"https://10.0.0.1/\", signing_key = \"{key}\" }}"));
        assert!(format!("{:#}", private.unwrap_err()).contains("no public address"));
        assert!(receiver(&format!("webhook = {{ url = \"https://example.com/\", signing_key = \"{key}\" }}")).is_ok());
        assert!(format!("{:#}", receiver("email = { to = [\"a@b.c\"] }").unwrap_err()).contains("smtp.host"));
        assert!(receiver("").is_err());
    }
}
