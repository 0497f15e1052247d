//! Asks a schema registry (Confluent's API) for schemas, once each.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use leeway_alerts::secret::Secret;
use leeway_core::event::Reject;
use leeway_formats::{Schema, SchemaId, SchemaSource, Schemas};
use reqwest::StatusCode;
use serde::Deserialize;
use tokio::runtime::Handle;

/// Asked again this often for an id that it does not have, since a new schema may be on its way to this replica; but
/// only once in a while: who sends ids at random must not hold up everybody.
const TRIES: usize = 3;
const BETWEEN: Duration = Duration::from_millis(300);
const PATIENT_EVERY: Duration = Duration::from_secs(30);
/// An id that it does not have is not asked for again for this long.
const UNKNOWN_FOR: Duration = Duration::from_secs(60);
/// After no answer, nobody asks for this long; each further time twice as long, up to the last.
const AWAY_FOR: Duration = Duration::from_secs(2);
const AWAY_LONGEST: Duration = Duration::from_secs(30);
/// A thread that asks reads nothing meanwhile.
const CONNECT: Duration = Duration::from_secs(1);
const TOTAL: Duration = Duration::from_secs(3);
/// Schemas and unknown ids that are kept; more begin anew.
const MOST: usize = 10_000;
/// Schemas that one schema may refer to, at any depth.
const MOST_REFERENCES: usize = 64;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistrySettings {
    pub url: String,
    pub username: String,
    pub password: Secret,
}

#[derive(Debug)]
pub struct Registry {
    settings: RegistrySettings,
    http: reqwest::Client,
    handle: Handle,
    cache: RwLock<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    known: HashMap<SchemaId, Arc<Schema>>,
    unknown: HashMap<SchemaId, Instant>,
    /// Since when it does not answer, and for how long nobody asks.
    away: Option<(Instant, Duration)>,
    patient_at: Option<Instant>,
}

/// What the registry says of an id or a version.
#[derive(Debug, Deserialize)]
struct Answer {
    schema: String,
    #[serde(default = "avro", rename = "schemaType")]
    kind: String,
    #[serde(default)]
    references: Vec<Reference>,
}

#[derive(Debug, Clone, Deserialize)]
struct Reference {
    name: String,
    subject: String,
    version: u32,
}

fn avro() -> String {
    "AVRO".to_owned()
}

/// Why there is no schema.
enum Missing {
    Unknown,
    Unusable(String),
    Away(String),
}

impl Registry {
    /// `None` where no registry is set.
    pub fn open(settings: &RegistrySettings, handle: Handle) -> Result<Option<Arc<dyn Schemas>>> {
        if settings.url.is_empty() {
            return Ok(None);
        }
        let url = reqwest::Url::parse(&settings.url).context("kafka.registry.url")?;
        if !matches!(url.scheme(), "http" | "https") || url.query().is_some() || !url.username().is_empty() {
            bail!(
                "kafka.registry.url is http://host:port or https://host:port, with a path where the registry has one; \
                 user and password have settings of their own"
            );
        }
        let http = reqwest::Client::builder()
            .user_agent(concat!("Leeway/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .timeout(TOTAL)
            .no_proxy()
            .build()
            .context("make an HTTP client for kafka.registry")?;
        Ok(Some(Arc::new(Self { settings: settings.clone(), http, handle, cache: RwLock::default() })))
    }

    fn cached(&self, id: &SchemaId) -> Option<Result<Arc<Schema>, Reject>> {
        let cache = self.cache.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(schema) = cache.known.get(id) {
            return Some(Ok(Arc::clone(schema)));
        }
        if cache.unknown.get(id).is_some_and(|at| at.elapsed() < UNKNOWN_FOR) {
            return Some(Err(Reject::NoSchema));
        }
        cache.away.is_some_and(|(at, wait)| at.elapsed() < wait).then_some(Err(Reject::RegistryAway))
    }

    async fn fetch(&self, id: &SchemaId, tries: usize) -> Result<Schema, Missing> {
        let path = match id {
            SchemaId::Number(number) => format!("schemas/ids/{number}"),
            SchemaId::Guid(guid) => format!("schemas/guids/{guid}"),
        };
        let mut answer = self.ask(&path).await;
        for _ in 1..tries {
            if !matches!(answer, Err(Missing::Unknown)) {
                break;
            }
            tokio::time::sleep(BETWEEN).await;
            answer = self.ask(&path).await;
        }
        let answer = answer?;
        let mut source = SchemaSource { kind: answer.kind, text: answer.schema, references: Vec::new() };
        let mut waiting = answer.references;
        while let Some(reference) = waiting.pop() {
            if source.references.iter().any(|(name, _)| *name == reference.name) {
                continue;
            }
            if source.references.len() == MOST_REFERENCES {
                return Err(Missing::Unusable(format!("it refers to more than {MOST_REFERENCES} schemas")));
            }
            let subject: String = url::form_urlencoded::byte_serialize(reference.subject.as_bytes()).collect();
            let path = format!("subjects/{}/versions/{}", subject.replace('+', "%20"), reference.version);
            let answer = self.ask(&path).await?;
            source.references.push((reference.name, answer.schema));
            waiting.extend(answer.references);
        }
        Schema::new(&source).map_err(|error| Missing::Unusable(error.to_string()))
    }

    async fn ask(&self, path: &str) -> Result<Answer, Missing> {
        let mut request = self.http.get(format!("{}/{path}", self.settings.url.trim_end_matches('/')));
        if !self.settings.username.is_empty() {
            request = request.basic_auth(&self.settings.username, Some(self.settings.password.expose()));
        }
        let away = |error: reqwest::Error| Missing::Away(error.without_url().to_string());
        let response = request.send().await.map_err(away)?;
        match response.status() {
            StatusCode::NOT_FOUND => Err(Missing::Unknown),
            status if status.is_success() => {
                let text = response.bytes().await.map_err(away)?;
                serde_json::from_slice(&text)
                    .map_err(|error| Missing::Unusable(format!("its answer is no schema: {error}")))
            }
            // Credentials that it refuses may be mended; a request that it does not understand may not.
            status @ (StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS) => Err(Missing::Away(format!("it answered {status}"))),
            status if status.is_server_error() => Err(Missing::Away(format!("it answered {status}"))),
            status => Err(Missing::Unusable(format!("it answered {status}"))),
        }
    }
}

impl Schemas for Registry {
    fn get(&self, id: &SchemaId) -> Result<Arc<Schema>, Reject> {
        if let Some(known) = self.cached(id) {
            return known;
        }
        let patient = {
            let mut cache = self.cache.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            let patient = cache.patient_at.is_none_or(|at| at.elapsed() > PATIENT_EVERY);
            cache.patient_at = if patient { Some(Instant::now()) } else { cache.patient_at };
            patient
        };
        let asked = async {
            let fetch = self.fetch(id, if patient { TRIES } else { 1 });
            let silent = Err(Missing::Away("it did not answer in time".into()));
            tokio::time::timeout(TOTAL, fetch).await.unwrap_or(silent)
        };
        let fetched = self.handle.block_on(asked);
        let mut cache = self.cache.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if cache.known.len() + cache.unknown.len() >= MOST {
            (cache.known, cache.unknown) = (HashMap::new(), HashMap::new());
        }
        match fetched {
            Ok(schema) => {
                let schema = Arc::new(schema);
                cache.known.insert(id.clone(), Arc::clone(&schema));
                cache.away = None;
                Ok(schema)
            }
            Err(Missing::Away(reason)) => {
                let wait = cache.away.map_or(AWAY_FOR, |(_, wait)| (wait * 2).min(AWAY_LONGEST));
                cache.away = Some((Instant::now(), wait));
                tracing::warn!(?id, reason, "the schema registry (kafka.registry) does not answer; its messages wait");
                Err(Reject::RegistryAway)
            }
            Err(missing) => {
                let reason = if let Missing::Unusable(reason) = missing { reason } else { "it has none".into() };
                tracing::warn!(?id, reason, "no schema for this id; its messages are dead letters");
                cache.unknown.insert(id.clone(), Instant::now());
                Err(Reject::NoSchema)
            }
        }
    }
}
