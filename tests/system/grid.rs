//! The stream detectors over runs that another process draws: `leeway-grid` reads runs from standard input and says of each, in
//! a line of JSON, where it alarms. `tests/tools/grid.py` draws LEEWAY-GRID-1 and judges the answers. `leeway-grid cost` reads two windows
//! (u32 and u32 numbers of values, the values) and says how many seconds each window test takes of their sketches.
//!
//! A run, little-endian: u8 what values are (0 numbers, 1 hits, 2 positive numbers whose logarithms are looked at), u8 whether there is a
//! week, f64 the bar in blocks, u32 blocks of the reference, u32 blocks after it, u32 the size of each block, f64 each value.

use std::io::{BufRead, BufReader, Read, Write};
use std::time::Instant;

use leeway_core::clock::MINUTE;
use leeway_core::drift::{Direction, Takes, Test};
use leeway_core::sketch::Sketch;
use leeway_detectors::drift;
use leeway_detectors::stream::{Baseline, Block, Edges, Kind, Season, Watch};
use serde_json::json;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// A value a minute, 1,440 a day, in blocks of 25.
const BLOCK: i64 = 25 * MINUTE;

#[derive(Clone, Copy, PartialEq)]
enum What {
    Numbers,
    Hits,
    Positive,
}

struct Run {
    what: What,
    season: Season,
    bar: f64,
    reference: usize,
    sizes: Vec<usize>,
    values: Vec<f64>,
}

fn number(input: &mut impl Read) -> Outcome<usize> {
    let mut bytes = [0; 4];
    input.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes) as usize)
}

fn double(input: &mut impl Read) -> Outcome<f64> {
    let mut bytes = [0; 8];
    input.read_exact(&mut bytes)?;
    Ok(f64::from_le_bytes(bytes))
}

impl Run {
    /// `None` at the end of the input.
    fn read(input: &mut impl BufRead) -> Outcome<Option<Self>> {
        if input.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let mut head = [0; 2];
        input.read_exact(&mut head)?;
        let what = match head[0] {
            0 => What::Numbers,
            1 => What::Hits,
            2 => What::Positive,
            other => return Err(format!("{other} is no kind of values").into()),
        };
        let season = if head[1] == 0 { Season::None } else { Season::Week };
        let (bar, reference) = (double(input)?, number(input)?);
        let after = number(input)?;
        let sizes = (0..reference + after).map(|_| number(input)).collect::<Outcome<Vec<usize>>>()?;
        let values = (0..sizes.iter().sum()).map(|_| double(input)).collect::<Outcome<Vec<f64>>>()?;
        Ok(Some(Self { what, season, bar, reference, sizes, values }))
    }

    /// Values by block.
    fn cut(&self) -> Vec<&[f64]> {
        let mut rest = &self.values[..];
        let mut cut = Vec::with_capacity(self.sizes.len());
        for size in &self.sizes {
            let (block, more) = rest.split_at(*size);
            cut.push(block);
            rest = more;
        }
        cut
    }

    fn kind(&self) -> Kind {
        if self.what == What::Hits { Kind::Rate } else { Kind::Values }
    }
}

/// How a run's values become blocks.
enum Way {
    Values(Edges),
    /// As a service does: by sketches, in thousandths.
    Sketches(Edges),
    Hits,
}

fn sketch(values: &[f64]) -> Sketch {
    let mut sketch = Sketch::default();
    values.iter().for_each(|value| sketch.push((value * 1000.0).round() as u64));
    sketch
}

/// As sketches have them: less than half a thousandth is that.
fn logarithm(value: &f64) -> f64 {
    (value * 1000.0).round().max(0.5).ln()
}

impl Way {
    fn block(&self, number: usize, values: &[f64], logarithms: bool) -> Block {
        let at = number as i64 * BLOCK;
        match self {
            Self::Hits => Block::rate(at, values.iter().sum(), values.len() as f64),
            Self::Sketches(edges) => Block::sketch(at, &sketch(values), edges),
            Self::Values(edges) if logarithms => {
                Block::values(at, &values.iter().map(logarithm).collect::<Vec<_>>(), edges)
            }
            Self::Values(edges) => Block::values(at, values, edges),
        }
    }
}

/// Where a run alarmed: numbers of blocks after the reference.
struct Told {
    alarms: Vec<usize>,
    ns: u128,
    bytes: usize,
    baseline_us: u128,
}

fn walk(run: &Run, way: &Way) -> Result<Told, String> {
    let (cut, logarithms) = (run.cut(), run.what == What::Positive);
    let block = |number: usize| way.block(number, cut[number], logarithms);
    let reference: Vec<Block> = (0..run.reference).map(block).collect();
    let began = Instant::now();
    // Any change matters: what is nothing unusual is what the reference cannot tell.
    let baseline =
        Baseline::learn(run.kind(), run.season, 0.0, &reference, &[]).map_err(|reason| reason.to_string())?;
    let baseline_us = began.elapsed().as_micros();
    let (mut watch, mut alarms, began) = (Watch::new(), Vec::new(), Instant::now());
    for number in run.reference..run.sizes.len() {
        watch.step(&block(number), &baseline);
        if watch.evidence(run.kind(), Direction::Both).value >= run.bar {
            alarms.push(number - run.reference);
            watch.calm();
        }
    }
    let ns = began.elapsed().as_nanos();
    Ok(Told { alarms, ns, bytes: watch.encode().len() + baseline.size(), baseline_us })
}

/// Blocks of which two ways decide otherwise; once one of them alarms both begin anew, so that each difference counts once.
fn differ(run: &Run, one: &Way, other: &Way) -> usize {
    let (cut, logarithms) = (run.cut(), run.what == What::Positive);
    let learnt = |way: &Way| {
        let blocks: Vec<Block> = (0..run.reference).map(|number| way.block(number, cut[number], logarithms)).collect();
        Baseline::learn(run.kind(), run.season, 0.0, &blocks, &[]).map(|baseline| (baseline, Watch::new()))
    };
    let (Ok(mut first), Ok(mut second)) = (learnt(one), learnt(other)) else { return run.sizes.len() - run.reference };
    let mut differ = 0;
    for (number, values) in cut.iter().enumerate().skip(run.reference) {
        let decide = |(baseline, watch): &mut (Baseline, Watch), way: &Way| {
            watch.step(&way.block(number, values, logarithms), baseline);
            watch.evidence(run.kind(), Direction::Both).value >= run.bar
        };
        let (a, b) = (decide(&mut first, one), decide(&mut second, other));
        differ += usize::from(a != b);
        if a || b {
            first.1.calm();
            second.1.calm();
        }
    }
    differ
}

fn judge(run: &Run) -> Outcome<String> {
    let events: usize = run.sizes[run.reference..].iter().sum();
    let before: usize = run.sizes[..run.reference].iter().sum();
    let reference = &run.values[..before];
    let (way, plain) = match run.what {
        What::Hits => (Way::Hits, None),
        What::Numbers => (Way::Values(Edges::of_values(reference)), None),
        What::Positive => {
            let logarithms: Vec<f64> = reference.iter().map(logarithm).collect();
            let edges = Edges::of(&sketch(reference));
            // Values in bins of their own, and in those that the sketch cuts.
            let ways = [Edges::of_values(&logarithms), Edges(edges.0.map(|edge| logarithm(&(edge / 1000.0))))];
            (Way::Sketches(edges), Some(ways.map(Way::Values)))
        }
    };
    let told = match walk(run, &way) {
        Ok(told) => told,
        Err(reason) => return Ok(json!({ "untestable": reason, "events": events }).to_string()),
    };
    // The last value of an alarm's block, counted from the reference on.
    let mut ends = Vec::with_capacity(run.sizes.len());
    let mut end = 0;
    for size in &run.sizes[run.reference..] {
        end += size;
        ends.push(end);
    }
    let at: Vec<usize> = told.alarms.iter().map(|block| ends[*block]).collect();
    let differ = plain.map(|plain| plain.map(|plain| differ(run, &way, &plain)));
    let [differ, same_bins] = differ.map_or([None; 2], |differ| differ.map(Some));
    Ok(json!({
        "alarms": at, "events": events, "blocks": ends.len(), "differ": differ, "differ_same_bins": same_bins, "ns": told.ns as u64, "bytes": told.bytes,
        "baseline_us": told.baseline_us as u64,
    })
    .to_string())
}

/// Seconds of one comparison, the least of some: of values by their sketches, of categories as a rate.
fn cost(input: &mut impl Read) -> Outcome<String> {
    let (n, m) = (number(input)?, number(input)?);
    let mut window = |n: usize| (0..n).map(|_| double(input)).collect::<Outcome<Vec<f64>>>();
    let (before, now) = (sketch(&window(n)?), sketch(&window(m)?));
    let mut seconds = serde_json::Map::new();
    // Words are many of Fisher's tests, and embeddings have no cells.
    let of_cells = |test: &Test| matches!(test.takes(), Takes::Values | Takes::Categories);
    for test in Test::ALL.into_iter().filter(of_cells) {
        let cells = match test.takes() {
            Takes::Values => drift::cells(&before, &now, 1e-3),
            _ => drift::rates((n as u64 / 20, n as u64), (m as u64 / 18, m as u64)).to_vec(),
        };
        let (mut least, began) = (f64::INFINITY, Instant::now());
        while began.elapsed().as_secs_f64() < 0.3 {
            let one = Instant::now();
            // Making cells of sketches belongs to it.
            let cells = if test.takes() == Takes::Values { drift::cells(&before, &now, 1e-3) } else { cells.clone() };
            std::hint::black_box(drift::compare(test, &cells, 0).map_err(|reason| reason.to_string())?);
            least = least.min(one.elapsed().as_secs_f64());
        }
        seconds.insert(test.id().to_owned(), least.into());
    }
    Ok(serde_json::Value::Object(seconds).to_string())
}

fn main() -> Outcome<()> {
    let mut input = BufReader::with_capacity(1 << 20, std::io::stdin().lock());
    let mut output = std::io::stdout().lock();
    if std::env::args().nth(1).as_deref() == Some("cost") {
        writeln!(output, "{}", cost(&mut input)?)?;
        return Ok(());
    }
    while let Some(run) = Run::read(&mut input)? {
        writeln!(output, "{}", judge(&run)?)?;
        output.flush()?;
    }
    Ok(())
}
