//! Traffic from published figures: per-client rates, burstiness and day waves of ServeGen, tokens of Azure 2023.
//! The figures and their sources stand in `figures.json`.

use anyhow::{Context, Result};
use leeway_core::clock::{HOUR, Micros, SECOND};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Gamma};
use serde::Deserialize;

use super::Arrival;

const FIGURES: &str = include_str!("figures.json");

#[derive(Debug, Clone, Deserialize)]
pub struct Figures {
    pub source_arrivals: String,
    pub source_tokens: String,
    clients: Vec<Client>,
    hour_factor: Vec<f64>,
    percentiles: Vec<f64>,
    conversation: Tokens,
    code: Tokens,
}

#[derive(Debug, Clone, Deserialize)]
struct Client {
    rate_rps: f64,
    cv: f64,
}

#[derive(Debug, Clone, Deserialize)]
struct Tokens {
    input: Vec<f64>,
    output: Vec<f64>,
}

/// Names for the figures' anonymous clients: tenant, app, route, provider, model, whether it writes code.
const NAMES: [(&str, &str, &str, &str, &str, bool); 12] = [
    ("acme", "checkout", "assist", "openai", "gpt-4o", false),
    ("acme", "support", "answer", "anthropic", "claude-sonnet-4-5", false),
    ("globex", "search", "summarise", "openai", "gpt-4o-mini", false),
    ("acme", "ide", "complete", "anthropic", "claude-haiku-4-5", true),
    ("globex", "support", "answer", "openai", "gpt-4o", false),
    ("initech", "reports", "draft", "openai", "gpt-4o-mini", false),
    ("initech", "ide", "complete", "openai", "gpt-4o-mini", true),
    ("globex", "ide", "complete", "anthropic", "claude-haiku-4-5", true),
    ("umbrella", "triage", "classify", "openai", "gpt-4o-mini", false),
    ("umbrella", "intake", "extract", "anthropic", "claude-haiku-4-5", false),
    ("hooli", "chat", "answer", "openai", "gpt-4o", false),
    ("hooli", "mail", "draft", "anthropic", "claude-sonnet-4-5", false),
];

impl Figures {
    pub fn load() -> Result<Self> {
        serde_json::from_str(FIGURES).context("read the built-in traffic figures")
    }

    /// Endless arrivals in order of time, `rate` a second on average over the day; the shares of the clients, their
    /// burstiness and the wave over the day are the figures' own.
    pub fn arrivals(&self, seed: u64, rate: f64) -> impl Iterator<Item = Arrival> + Send + use<> {
        self.arrivals_from(seed, rate, 0)
    }

    /// As `arrivals`; `hour` is the hour of day at which the traffic starts.
    pub fn arrivals_from(&self, seed: u64, rate: f64, hour: usize) -> impl Iterator<Item = Arrival> + Send + use<> {
        let total: f64 = self.clients.iter().map(|client| client.rate_rps).sum();
        let mut streams: Vec<Stream> = self
            .clients
            .iter()
            .enumerate()
            .map(|(index, client)| Stream::new(self, index, rate * client.rate_rps / total, seed, hour))
            .collect();
        std::iter::from_fn(move || {
            let first = streams.iter_mut().min_by_key(|stream| stream.next_at)?;
            Some(first.take())
        })
    }
}

/// One client: a renewal process with Gamma gaps of the figure's coefficient of variation.
struct Stream {
    rng: ChaCha8Rng,
    gaps: Gamma<f64>,
    hour_factor: Vec<f64>,
    hour: usize,
    percentiles: Vec<f64>,
    tokens: Tokens,
    next_at: Micros,
    name: (&'static str, &'static str, &'static str, &'static str, &'static str, bool),
}

impl Stream {
    fn new(figures: &Figures, index: usize, rate: f64, seed: u64, hour: usize) -> Self {
        let client = &figures.clients[index];
        let name = NAMES[index % NAMES.len()];
        let shape = 1.0 / (client.cv * client.cv).max(1e-3);
        let scale = 1.0 / (rate.max(1e-9) * shape);
        let gaps = Gamma::new(shape, scale).unwrap_or_else(|_| unreachable!("shape and scale are positive"));
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(index as u64 + 1);
        let tokens = if name.5 { figures.code.clone() } else { figures.conversation.clone() };
        let (hour_factor, percentiles) = (figures.hour_factor.clone(), figures.percentiles.clone());
        let mut stream = Self { rng, gaps, hour_factor, hour, percentiles, tokens, next_at: 0, name };
        stream.step();
        stream
    }

    fn step(&mut self) {
        let hour = (self.hour + (self.next_at / HOUR) as usize) % self.hour_factor.len();
        let gap = self.gaps.sample(&mut self.rng) / self.hour_factor[hour].max(0.05);
        self.next_at += ((gap * SECOND as f64) as Micros).max(1);
    }

    fn take(&mut self) -> Arrival {
        let at = self.next_at;
        let (tenant, app, route, provider, model, _) = self.name;
        let (u, v) = (self.rng.random::<f64>(), self.rng.random::<f64>());
        let input_tokens = interpolate(&self.percentiles, &self.tokens.input, u);
        let output_tokens = interpolate(&self.percentiles, &self.tokens.output, v).max(1);
        self.step();
        Arrival {
            at,
            tenant: tenant.to_owned(),
            app: app.to_owned(),
            route: route.to_owned(),
            provider,
            model,
            input_tokens,
            output_tokens,
            cache_read: None,
            reasoning: None,
        }
    }
}

/// The inverse distribution function, linear between its percentiles.
fn interpolate(percentiles: &[f64], values: &[f64], u: f64) -> u64 {
    let above = percentiles.partition_point(|p| *p < u).clamp(1, percentiles.len() - 1);
    let (p0, p1) = (percentiles[above - 1], percentiles[above]);
    let (v0, v1) = (values[above - 1], values[above]);
    (v0 + (v1 - v0) * ((u - p0) / (p1 - p0)).clamp(0.0, 1.0)).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_keep_order_rate_and_the_published_tokens() {
        let figures = Figures::load().unwrap();
        let arrivals: Vec<Arrival> = figures.arrivals(7, 50.0).take_while(|a| a.at < 24 * HOUR).take(400_000).collect();
        assert!(arrivals.windows(2).all(|pair| pair[0].at <= pair[1].at));
        let hours = arrivals.last().unwrap().at as f64 / HOUR as f64;
        let rate = arrivals.len() as f64 / hours / 3600.0;
        assert!((20.0..100.0).contains(&rate), "{rate}/s");
        let mut inputs: Vec<u64> = arrivals.iter().filter(|a| a.app == "checkout").map(|a| a.input_tokens).collect();
        inputs.sort_unstable();
        let median = inputs[inputs.len() / 2];
        // Azure conversation, first 36 minutes: the median context is 1,020 tokens.
        assert!((950..1100).contains(&median), "{median}");
        let again: Vec<Arrival> = figures.arrivals(7, 50.0).take(100).collect();
        assert_eq!(again, arrivals[..100]);
    }
}
