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

/// Asked again this often for an id that it does not have: a new schema may be on its way to this replica.
const TRIES: usize = 3;
const BETWEEN: Duration = Duration::from_millis(300);
/// An id that it does not have is not asked for again for this long.
const UNKNOWN_FOR: Duration = Duration::from_secs(60);
/// After no answer, nobody asks for this long.
const AWAY_FOR: Duration = Duration::from_secs(2);
const CONNECT: Duration = Duration::from_secs(2);
const TOTAL: Duration = Duration::from_secs(5);
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
    away_since: Option<Instant>,
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
        if !matches!(url.scheme(), "http" | "https") || url.query().is_some() {
            bail!(
                "kafka.registry.url is http://host:port or https://host:port, with a path where the registry has one"
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
        cache.away_since.is_some_and(|at| at.elapsed() < AWAY_FOR).then_some(Err(Reject::RegistryAway))
    }

    async fn fetch(&self, id: &SchemaId) -> Result<Schema, Missing> {
        let path = match id {
            SchemaId::Number(number) => format!("schemas/ids/{number}"),
            SchemaId::Guid(guid) => format!("schemas/guids/{guid}"),
        };
        let mut answer = self.ask(&path).await;
        for _ in 1..TRIES {
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
                    .map_err(|error| Missing::Away(format!("its answer is no schema: {error}")))
            }
            status => Err(Missing::Away(format!("it answered {status}"))),
        }
    }
}

impl Schemas for Registry {
    fn get(&self, id: &SchemaId) -> Result<Arc<Schema>, Reject> {
        if let Some(known) = self.cached(id) {
            return known;
        }
        let fetched = self.handle.block_on(self.fetch(id));
        let mut cache = self.cache.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if cache.known.len() + cache.unknown.len() >= MOST {
            (cache.known, cache.unknown) = (HashMap::new(), HashMap::new());
        }
        match fetched {
            Ok(schema) => {
                let schema = Arc::new(schema);
                cache.known.insert(id.clone(), Arc::clone(&schema));
                cache.away_since = None;
                Ok(schema)
            }
            Err(Missing::Away(reason)) => {
                cache.away_since = Some(Instant::now());
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
