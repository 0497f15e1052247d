//! What a stream can see at its present traffic: the change that it tells within a time in nine cases of ten.

use super::{Baseline, Block, Kind, level, rate};

/// The normal law's 90 % point.
const NINETY: f64 = 1.281_551_565_544_600_4;

/// The least rise, relative to what is usual (of values as they are the difference), whose evidence passes `bar` within so many blocks like `block` with a probability of
/// 90 %, by the normal law of the evidence's logarithm. `None` where no rise does.
pub fn sees(block: &Block, baseline: &Baseline, bar: f64, blocks: f64) -> Option<f64> {
    let (usual, _) = baseline.usual(block.at);
    let (_, high) = baseline.band(block.at);
    if block.n <= 0.0 {
        return None;
    }
    let least = match baseline.kind() {
        Kind::Rate | Kind::YesNo => {
            // Alternatives of both sides share the evidence.
            let needed = (bar * 2.0 * rate::FACTORS.len() as f64).ln();
            let share = baseline.share(block);
            let of =
                |factor: f64| rising(high, rate::alternative(high, factor), (needed, share * blocks * block.n, share));
            let least = rate::FACTORS.into_iter().map(of).fold(f64::INFINITY, f64::min);
            let relative = baseline.kind() == Kind::Rate;
            (least <= 1.0).then(|| if relative { least / usual.max(high / 4.0) - 1.0 } else { least - usual })
        }
        Kind::Values | Kind::Volume | Kind::Means => {
            let detectors = if baseline.kind() == Kind::Values { 3.0 } else { 1.0 };
            let needed = (bar * 2.0 * detectors * level::TILTS.len() as f64).ln() / baseline.independent();
            let of = |(place, tilt): (usize, f64)| {
                let excess = baseline.excess(place) / baseline.independent();
                needed / (blocks * tilt) + tilt / 2.0 + excess / tilt + NINETY / blocks.sqrt()
            };
            let z = level::TILTS.into_iter().enumerate().map(of).fold(f64::INFINITY, f64::min);
            // Beyond the cut no block counts for more.
            let rise = z * baseline.deviation(block) + high - usual;
            (z <= level::CUT).then(|| if baseline.kind() == Kind::Means { rise } else { rise.exp_m1() })
        }
    };
    least.filter(|least| least.is_finite())
}

/// The share of hits at which an alternative gathers what is needed over so many effective calls, 90 % of the time: by halving.
fn rising(p0: f64, q: f64, (needed, n, share): (f64, f64, f64)) -> f64 {
    let (hit, miss) = ((q / p0).ln(), ((1.0 - q) / (1.0 - p0)).ln());
    let short = |p: f64| {
        let noise = NINETY * (n * share * p * (1.0 - p)).max(0.0).sqrt() * (hit - miss);
        n * (p * hit + (1.0 - p) * miss) - noise < needed
    };
    let (mut low, mut high) = (p0, 1.0);
    if short(high) {
        return f64::INFINITY;
    }
    for _ in 0..40 {
        let middle = (low + high) / 2.0;
        if short(middle) { low = middle } else { high = middle }
    }
    high
}
