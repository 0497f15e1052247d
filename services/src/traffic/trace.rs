//! Real trace files: Azure 2023 (CSV), Mooncake (JSON lines), ServeGen (rates and token distributions); plain or gzip.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};
use leeway_core::clock::{MILLISECOND, Micros, SECOND, parse_rfc3339};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Gamma, Weibull};
use serde::Deserialize;

use super::Arrival;

/// Which part of a ServeGen trace to draw, and from which seed.
#[derive(Debug, Clone, Copy)]
pub struct Draw {
    pub seed: u64,
    /// Seconds from the trace's start.
    pub from_s: f64,
    pub seconds: f64,
}

/// Reads a trace file, telling its kind by name and head. For ServeGen name the `…-rates.csv[.gz]`; the
/// `…-tokens.jsonl[.gz]` lies beside it.
pub fn load(path: &Path, draw: Draw) -> Result<Vec<Arrival>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut lines = lines(path)?;
    let head = lines.next().with_context(|| format!("{} is empty", path.display()))??;
    let arrivals = if name.contains("-rates.csv") {
        servegen(path, &name, lines, draw)?
    } else if head.starts_with('{') {
        mooncake(std::iter::once(Ok(head)).chain(lines), &name)?
    } else if head.to_lowercase().starts_with("timestamp,") {
        azure(lines, &name)?
    } else {
        bail!(
            "{}: not a trace that is known: Azure CSV starts with `timestamp,`, Mooncake has a JSON object a line, ServeGen's file ends in -rates.csv",
            path.display()
        );
    };
    if arrivals.is_empty() {
        bail!("{} holds no requests", path.display());
    }
    Ok(arrivals)
}

type Lines = Box<dyn Iterator<Item = Result<String>>>;

fn lines(path: &Path) -> Result<Lines> {
    let file = std::fs::File::open(path).with_context(|| format!("open {}", path.display()))?;
    let zipped = path.extension().is_some_and(|extension| extension == "gz");
    let reader: Box<dyn Read> = if zipped { Box::new(flate2::read::GzDecoder::new(file)) } else { Box::new(file) };
    let shown = path.display().to_string();
    Ok(Box::new(BufReader::new(reader).lines().map(move |line| line.with_context(|| format!("read {shown}")))))
}

fn arrival(at: Micros, app: &str, input_tokens: u64, output_tokens: u64) -> Arrival {
    Arrival {
        at,
        tenant: "trace".into(),
        app: app.to_owned(),
        route: String::new(),
        provider: "openai",
        model: "gpt-4o",
        input_tokens,
        output_tokens,
        cache_read: None,
        reasoning: None,
    }
}

/// The file's name without folder and endings: the app that its calls belong to.
fn stem(name: &str) -> String {
    name.split('.').next().unwrap_or(name).to_owned()
}

fn azure(lines: impl Iterator<Item = Result<String>>, name: &str) -> Result<Vec<Arrival>> {
    let app = stem(name);
    let mut arrivals: Vec<Arrival> = Vec::new();
    for (number, line) in lines.enumerate() {
        let line = line?;
        let fields: Vec<&str> = line.trim_end().split(',').collect();
        let [stamp, input, output] = fields[..] else {
            bail!("{name} line {}: expected timestamp,context,generated", number + 2)
        };
        let at = parse_rfc3339(&format!("{}Z", stamp.replace(' ', "T")))
            .with_context(|| format!("{name} line {}: time `{stamp}`", number + 2))?;
        let count =
            |text: &str| text.parse().with_context(|| format!("{name} line {}: token count `{text}`", number + 2));
        arrivals.push(arrival(at, &app, count(input)?, count(output)?));
    }
    let first = arrivals.iter().map(|arrival| arrival.at).min().unwrap_or(0);
    arrivals.iter_mut().for_each(|arrival| arrival.at -= first);
    Ok(arrivals)
}

#[derive(Deserialize)]
struct Mooncake {
    #[serde(alias = "timestamp")]
    t_ms: i64,
    #[serde(alias = "input_length")]
    input_tokens: u64,
    #[serde(alias = "output_length")]
    output_tokens: u64,
    #[serde(default)]
    cached_input_tokens_upper: Option<u64>,
}

fn mooncake(lines: impl Iterator<Item = Result<String>>, name: &str) -> Result<Vec<Arrival>> {
    let app = format!("mooncake-{}", stem(name));
    lines
        .enumerate()
        .map(|(number, line)| {
            let row: Mooncake = serde_json::from_str(&line?).with_context(|| format!("{name} line {}", number + 1))?;
            let mut arrival = arrival(row.t_ms * MILLISECOND, &app, row.input_tokens, row.output_tokens);
            arrival.cache_read = row.cached_input_tokens_upper.map(|cached| cached.min(row.input_tokens));
            Ok(arrival)
        })
        .collect()
}

#[derive(Deserialize)]
struct TokenLine {
    client: u32,
    t_s: f64,
    field: String,
    values: Vec<f64>,
    p: Vec<f64>,
}

/// A distribution by its cumulative weights.
struct Empirical {
    values: Vec<f64>,
    cumulative: Vec<f64>,
}

impl Empirical {
    fn new(values: Vec<f64>, p: &[f64]) -> Self {
        let mut sum = 0.0;
        let cumulative = p.iter().map(|p| {
            sum += p;
            sum
        });
        Self { cumulative: cumulative.collect(), values }
    }

    fn sample(&self, rng: &mut ChaCha8Rng) -> f64 {
        let total = self.cumulative.last().copied().unwrap_or(0.0);
        let u = rng.random::<f64>() * total;
        let place = self.cumulative.partition_point(|c| *c < u).min(self.values.len().saturating_sub(1));
        self.values.get(place).copied().unwrap_or(0.0)
    }
}

/// Field → 6 h window → distribution, of one client.
type ClientTokens = BTreeMap<String, BTreeMap<i64, Empirical>>;

/// A window of a client's rate.
struct Window {
    client: u32,
    from_s: f64,
    rate: f64,
    arrival: String,
    shape: f64,
    scale: f64,
}

const RATE_WINDOW_S: f64 = 600.0;

fn servegen(path: &Path, name: &str, lines: Lines, draw: Draw) -> Result<Vec<Arrival>> {
    let tokens = servegen_tokens(&path.with_file_name(name.replace("-rates.csv", "-tokens.jsonl")))?;
    let lenders: Vec<&ClientTokens> = tokens.values().collect();
    if lenders.is_empty() {
        bail!("{name}: the token file beside it is empty");
    }
    let model = name.split("-rates").next().unwrap_or(name).to_owned();
    let (from, to) = (draw.from_s, draw.from_s + draw.seconds);
    let mut arrivals = Vec::new();
    for (number, line) in lines.enumerate() {
        let window = rate_window(&line?).with_context(|| format!("{name} line {}", number + 2))?;
        if window.from_s + RATE_WINDOW_S <= from || window.from_s >= to {
            continue;
        }
        // A client without tokens borrows another's distribution; which one, its number decides.
        let own = tokens.get(&window.client).unwrap_or(lenders[window.client as usize % lenders.len()]);
        let mut rng = ChaCha8Rng::seed_from_u64(draw.seed);
        rng.set_stream((u64::from(window.client) << 32) | window.from_s as u64);
        for at_s in renewal(&window, &mut rng).into_iter().filter(|at| *at >= from && *at < to) {
            let mut arrival = servegen_arrival(&model, window.client, at_s, own, &mut rng);
            arrival.at = ((at_s - from) * SECOND as f64) as Micros;
            arrivals.push(arrival);
        }
    }
    arrivals.sort_by(|a: &Arrival, b| a.at.cmp(&b.at).then_with(|| a.app.cmp(&b.app)));
    Ok(arrivals)
}

fn rate_window(line: &str) -> Result<Window> {
    let fields: Vec<&str> = line.trim_end().split(',').collect();
    let [client, t_s, rate, _, arrival, first, second] = fields[..] else {
        bail!("expected client,t_s,rate_rps,cv,arrival,param1,param2")
    };
    let number = |text: &str| text.parse::<f64>().with_context(|| format!("number `{text}`"));
    let given = |text: &str| if text.is_empty() { Ok(0.0) } else { number(text) };
    Ok(Window {
        client: client.parse().with_context(|| format!("client `{client}`"))?,
        from_s: number(t_s)?,
        rate: number(rate)?,
        arrival: arrival.to_owned(),
        shape: given(first)?,
        scale: given(second)?,
    })
}

/// Arrival times of a renewal process with the window's fitted gaps (Gamma or Weibull: shape, scale), else Poisson's.
/// The fit's mean differs from the measured rate for some Weibull windows; gaps are scaled to the measured rate.
fn renewal(window: &Window, rng: &mut ChaCha8Rng) -> Vec<f64> {
    let gamma = Gamma::new(window.shape, window.scale).ok().filter(|_| window.arrival == "Gamma");
    let weibull = Weibull::new(window.scale, window.shape).ok().filter(|_| window.arrival == "Weibull");
    let poisson = Gamma::new(1.0, 1.0 / window.rate.max(1e-9)).ok();
    let mean = match (&gamma, &weibull) {
        (Some(_), _) => window.shape * window.scale,
        (None, Some(_)) => window.scale * leeway_core::special::gamma(1.0 + 1.0 / window.shape),
        (None, None) => 1.0 / window.rate.max(1e-9),
    };
    let stretch = 1.0 / (window.rate.max(1e-9) * mean);
    let mut at = window.from_s;
    let mut times = Vec::new();
    loop {
        let gap = match (&gamma, &weibull, &poisson) {
            (Some(gaps), ..) => gaps.sample(rng),
            (None, Some(gaps), _) => gaps.sample(rng),
            (None, None, Some(gaps)) => gaps.sample(rng),
            (None, None, None) => return times,
        };
        at += (gap * stretch).max(1e-6);
        if at >= window.from_s + RATE_WINDOW_S {
            return times;
        }
        times.push(at);
    }
}

fn servegen_arrival(model: &str, client: u32, at_s: f64, tokens: &ClientTokens, rng: &mut ChaCha8Rng) -> Arrival {
    let mut draw = |field: &str| {
        let windows = tokens.get(field)?;
        let window = windows.range(..=at_s as i64).next_back().or_else(|| windows.iter().next())?;
        Some(window.1.sample(rng))
    };
    let input = draw("input_tokens").unwrap_or(0.0).round() as u64;
    let output = draw("output_tokens").unwrap_or(0.0).round() as u64;
    let reasoning = draw("reason_ratio").map(|ratio| (ratio * output as f64).round() as u64);
    let mut arrival = arrival(0, &format!("{model}-{client}"), input, output);
    arrival.tenant = format!("servegen-{}", client % 5);
    arrival.reasoning = reasoning;
    arrival
}

fn servegen_tokens(path: &Path) -> Result<BTreeMap<u32, ClientTokens>> {
    let mut tokens: BTreeMap<u32, ClientTokens> = BTreeMap::new();
    for line in lines(path).context("ServeGen needs its token file beside the rates")? {
        let row: TokenLine = serde_json::from_str(&line?).with_context(|| path.display().to_string())?;
        let client = tokens.entry(row.client).or_default();
        client.entry(row.field).or_default().insert(row.t_s as i64, Empirical::new(row.values, &row.p));
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const DRAW: Draw = Draw { seed: 3, from_s: 0.0, seconds: 600.0 };

    fn file(name: &str, text: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("leeway-trace-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn the_three_formats_read() {
        let azure = file(
            "conv.csv",
            "timestamp,context_tokens,generated_tokens\n2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n",
        );
        let rows = load(&azure, DRAW).unwrap();
        assert_eq!((rows.len(), rows[1].at, rows[1].output_tokens, rows[1].app.as_str()), (2, 4_314_579, 109, "conv"));
        let mooncake = file(
            "m.jsonl",
            "{\"t_ms\":0,\"input_tokens\":6758,\"output_tokens\":500,\"cached_input_tokens_upper\":512}\n",
        );
        assert_eq!(load(&mooncake, DRAW).unwrap()[0].cache_read, Some(512));
        let rates =
            file("x-rates.csv", "client,t_s,rate_rps,cv,arrival,param1,param2\n1,0,2,1,Gamma,1,0.5\n2,0,1,1,,,\n");
        file(
            "x-tokens.jsonl",
            "{\"client\":1,\"t_s\":0,\"field\":\"input_tokens\",\"values\":[10,20],\"p\":[0.5,0.5]}\n{\"client\":1,\"t_s\":0,\"field\":\"output_tokens\",\"values\":[5],\"p\":[1]}\n",
        );
        let rows = load(&rates, DRAW).unwrap();
        assert!((1500..2100).contains(&rows.len()), "{}", rows.len());
        assert!(rows.iter().all(|row| [10, 20].contains(&row.input_tokens) && row.output_tokens == 5));
        assert_eq!(rows, load(&rates, DRAW).unwrap());
    }

    #[test]
    fn a_bad_line_is_named() {
        let bad = file("bad.csv", "timestamp,context_tokens,generated_tokens\n2023-11-16 18:15:46.6805900,x,44\n");
        assert!(format!("{:#}", load(&bad, DRAW).unwrap_err()).contains("line 2"));
        let other = file("other.txt", "hello\n");
        assert!(format!("{:#}", load(&other, DRAW).unwrap_err()).contains("not a trace"));
    }
}
