//! What it costs to hold streams against what is usual: nanoseconds per event by the size of blocks, beside the making of the block
//! alone in the same run; milliseconds for a baseline of four weeks; bytes per stream.

use std::hint::black_box;
use std::time::Instant;

use leeway_core::clock::MINUTE;
use leeway_core::drift::Direction;
use leeway_core::sketch::Sketch;
use leeway_detectors::stream::{Baseline, Block, Edges, Kind, Season, Watch};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const BLOCK: i64 = 5 * MINUTE;
const WEEKS: i64 = 4 * 7 * 288;
const ROUNDS: usize = 7;

/// Best of so many rounds, in seconds.
fn best(mut work: impl FnMut()) -> f64 {
    let round = |work: &mut dyn FnMut()| {
        let began = Instant::now();
        work();
        began.elapsed().as_secs_f64()
    };
    (0..ROUNDS).map(|_| round(&mut work)).fold(f64::INFINITY, f64::min)
}

/// Sketches of so many durations each, lognormal by the sum of twelve.
fn sketches(rng: &mut ChaCha8Rng, blocks: i64, each: usize) -> Vec<Sketch> {
    let one = |rng: &mut ChaCha8Rng| {
        let normal = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
        (400_000.0 * (0.6 * normal).exp()) as u64
    };
    let sketch = |_| {
        let mut sketch = Sketch::default();
        (0..each).for_each(|_| sketch.push(one(rng)));
        sketch
    };
    (0..blocks).map(sketch).collect()
}

fn main() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let whole = sketches(&mut rng, 1, 20_000);
    let edges = Edges::of(&whole[0]);
    println!("{:>8} {:>16} {:>22} {:>20}", "events", "block ns/event", "level+shape+tail ns/e", "rate ns/event");
    for each in [10, 30, 100, 1_000] {
        let sketches = sketches(&mut rng, 2_000, each);
        let made = |number: usize| Block::sketch(number as i64 * BLOCK, &sketches[number], &edges);
        let blocks: Vec<Block> = (0..sketches.len()).map(made).collect();
        let hits: Vec<Block> =
            (0..2_000).map(|number| Block::rate(number * BLOCK, f64::from(number % 7 == 0), each as f64)).collect();
        let values = Baseline::learn(Kind::Values, Season::Week, 0.1, &blocks, &[]).expect("a reference");
        let rate = Baseline::learn(Kind::Rate, Season::Week, 0.1, &hits, &[]).expect("a reference");
        let per_event = |seconds: f64| seconds * 1e9 / (blocks.len() * each) as f64;
        let making = best(|| (0..sketches.len()).for_each(|number| _ = black_box(made(number))));
        let mut watch = Watch::new();
        let weighing = best(|| blocks.iter().for_each(|block| watch.step(block, &values)));
        let rating = best(|| hits.iter().for_each(|block| watch.step(block, &rate)));
        black_box(watch.evidence(Kind::Values, Direction::Both));
        let (making, weighing, rating) = (per_event(making), per_event(weighing), per_event(rating));
        println!("{each:>8} {making:>16.1} {weighing:>22.1} {rating:>20.1}");
    }
    let blocks: Vec<Block> = sketches(&mut rng, WEEKS, 30)
        .iter()
        .enumerate()
        .map(|(number, sketch)| Block::sketch(number as i64 * BLOCK, sketch, &edges))
        .collect();
    // More by day than by night, so that every hour has a limit of its own.
    let hit = |number: i64| {
        let p = 0.05 + 0.03 * (std::f64::consts::TAU * number as f64 / 288.0).sin();
        let hits = (0..30).filter(|_| rng.random::<f64>() < p).count();
        Block::rate(number * BLOCK, hits as f64, 30.0)
    };
    let hits: Vec<Block> = (0..WEEKS).map(hit).collect();
    for (name, kind, blocks) in [("values", Kind::Values, &blocks), ("rate", Kind::Rate, &hits)] {
        let learning = best(|| drop(black_box(Baseline::learn(kind, Season::Week, 0.1, blocks, &[]))));
        let baseline = Baseline::learn(kind, Season::Week, 0.1, blocks, &[]).expect("a reference");
        let (state, memory) = (Watch::new().encode().len(), baseline.size());
        println!(
            "{name}: four weeks of {WEEKS} blocks learnt in {:.2} ms; baseline {memory} bytes, detectors {state} bytes",
            learning * 1e3
        );
    }
}
