//! Population stability index between a reference and the present, with a test and an interval.
//!
//! Null: the present's values fall into the reference's deciles as the reference's do. Statistic: PSI = Σ (p − q) ln
//! (p / q) over at most ten bins whose edges are the reference's own bucket edges, so the present never moves them;
//! half a count is added to every bin. Under the null PSI / (1/n + 1/m) is χ² with (bins − 1) degrees of freedom, which
//! is where the p-value comes from; with a true PSI of ψ it is non-central χ² with non-centrality ψ / (1/n + 1/m),
//! which is where the interval comes from. The effect shown is debiased: max(0, PSI − (bins − 1)(1/n + 1/m)).
//!
//! Assumptions: values are independent of one another. Bursts of one session are not, and make the test eager; the
//! minimum effect stands against that, and against differences that are real and do not matter. The level is that of
//! one test: a rule that is evaluated every minute has more than one chance.
//!
//! Source: B. Yurdakul, J. Naranjo, Statistical properties of the population stability index, J. Risk Model Validation
//! 14 (2020).

use super::{Cell, Inconclusive, Verdict, WindowTest, merged};
use leeway_core::interval::Interval;
use leeway_core::sketch::Sketch;
use leeway_core::special::normal_tail;
use statrs::distribution::{ChiSquared, ContinuousCDF, Discrete, Poisson};
use statrs::function::gamma::ln_gamma;

/// Bins of the comparison, where the reference has that many different values.
const BINS: u64 = 10;
/// Below this the χ² law is no good approximation, whatever a rule asks for.
pub const MIN_EVENTS: u64 = 50;

/// Counts between two of the reference's deciles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bin {
    pub reference: u64,
    pub current: u64,
}

/// What the comparison says.
#[derive(Debug, Clone, PartialEq)]
pub struct Psi {
    /// As the formula gives it.
    pub raw: f64,
    /// What chance alone adds is taken off.
    pub effect: f64,
    /// Of the true PSI, at 95 %.
    pub interval: Interval,
    /// Probability of a PSI at least this large, if nothing changed.
    pub p: f64,
    pub bins: Vec<Bin>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Judged {
    /// The present is empty.
    NoData,
    /// The present or the reference has too few values to compare, or all of them are alike.
    TooLittle,
    Measured(Psi),
}

/// Compares; both sides need `min_events` values, and never fewer than [`MIN_EVENTS`].
pub fn judge(reference: &Sketch, current: &Sketch, min_events: u64) -> Judged {
    let least = min_events.max(MIN_EVENTS);
    if current.n() == 0 {
        return Judged::NoData;
    }
    let bins = bins(&merged(super::cells(reference, current, 1.0)));
    if current.n() < least || reference.n() < least || bins.len() < 2 {
        return Judged::TooLittle;
    }
    Judged::Measured(psi(bins))
}

/// The index as one of the catalogue's tests: on any cells, in at most ten bins.
pub(super) struct Index;

impl WindowTest for Index {
    fn needs(&self) -> u64 {
        MIN_EVENTS
    }

    fn measure(&self, cells: &[Cell]) -> Result<Verdict, Inconclusive> {
        let bins = bins(cells);
        if bins.len() < 2 {
            return Err(Inconclusive::Alike);
        }
        let Psi { raw, effect, interval, p, .. } = psi(bins);
        Ok(Verdict { effect, interval, statistic: raw, p })
    }
}

/// Counts of both sides between the reference's deciles, for charts.
pub fn deciles(cells: &[Cell]) -> Vec<(u64, u64)> {
    bins(&merged(cells.to_vec())).iter().map(|bin| (bin.reference, bin.current)).collect()
}

/// Bins with about a tenth of the reference each; cells are ascending.
fn bins(cells: &[Cell]) -> Vec<Bin> {
    let n: u64 = cells.iter().map(|cell| cell.reference).sum();
    let mut bins: Vec<Bin> = Vec::new();
    let (mut seen, mut open) = (0, Bin::default());
    for cell in cells {
        seen += cell.reference;
        (open.reference, open.current) = (open.reference + cell.reference, open.current + cell.current);
        if cell.reference > 0 && seen * BINS >= n * (bins.len() as u64 + 1) {
            bins.push(std::mem::take(&mut open));
        }
    }
    // What lies above the reference's largest value belongs to its last bin.
    if let Some(last) = bins.last_mut() {
        last.current += open.current;
    }
    let heaviest = cells.iter().max_by_key(|cell| cell.reference);
    if let ([all], Some(heaviest), true) = (&bins[..], heaviest, cells.len() > 1) {
        // One value is nearly all of the reference: it is one bin, and what is not that value the other.
        let most = Bin { reference: heaviest.reference, current: heaviest.current };
        let rest = Bin { reference: all.reference - most.reference, current: all.current - most.current };
        bins = vec![most, rest];
    }
    bins
}

fn psi(bins: Vec<Bin>) -> Psi {
    let n: u64 = bins.iter().map(|bin| bin.reference).sum();
    let m: u64 = bins.iter().map(|bin| bin.current).sum();
    let (n, m, count) = (n as f64, m as f64, bins.len() as f64);
    let term = |bin: &Bin| {
        let p = (bin.reference as f64 + 0.5) / (n + count / 2.0);
        let q = (bin.current as f64 + 0.5) / (m + count / 2.0);
        (p - q) * (p / q).ln()
    };
    let raw: f64 = bins.iter().map(term).sum();
    let (scale, freedom) = (1.0 / n + 1.0 / m, count - 1.0);
    let statistic = raw / scale;
    let p = ChiSquared::new(freedom).map_or(1.0, |law| law.sf(statistic));
    let bound = |tail: f64| noncentrality(statistic, freedom, tail) * scale;
    let interval = Interval::between(bound(0.975), bound(0.025));
    Psi { raw, effect: (raw - freedom * scale).max(0.0), interval, p, bins }
}

/// The non-centrality at which the statistic's distribution function is `level`; 0 where none is so small.
pub(super) fn noncentrality(statistic: f64, freedom: f64, level: f64) -> f64 {
    let at = |centre: f64| noncentral(statistic, freedom, centre);
    if at(0.0).0 <= level {
        return 0.0;
    }
    let (mut low, mut high) = (0.0, statistic + 50.0);
    while at(high).0 > level {
        high *= 2.0;
    }
    // Where the roots of both would differ by two deviations.
    let root = statistic.sqrt() + if level < 0.5 { 2.0 } else { -2.0 };
    let mut centre = if root > 0.0 && root * root < high { root * root } else { f64::midpoint(low, high) };
    // Newton's steps, halving where these leave the bracket.
    for _ in 0..200 {
        let (share, slope) = at(centre);
        if share > level {
            low = centre
        } else {
            high = centre
        }
        let step = (share - level) / slope;
        // Steps are squared from one to the next: after this one only rounding is left.
        if step.abs() <= 1e-12 * centre.max(1.0) || high - low <= 1e-14 * high {
            return (centre - step).clamp(low, high);
        }
        let next = centre - step;
        let next = if next > low && next < high { next } else { f64::midpoint(low, high) };
        centre = next;
    }
    centre
}

/// Above this non-centrality the approximation is closer than 10⁻⁴, and the mixture would take seconds.
const LARGE: f64 = 1_000.0;

/// The same for one degree of freedom, where it is the law of a squared normal value about the root of `centre`.
fn shifted(x: f64, centre: f64) -> (f64, f64) {
    let (x, at) = (x.sqrt(), centre.sqrt());
    let density = |z: f64| (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt();
    let share = normal_tail(at - x) - normal_tail(at + x);
    let slope = if at > 0.0 { (density(x + at) - density(x - at)) / (2.0 * at) } else { -x * density(x) };
    (share, slope)
}

/// Distribution function of non-central χ², a Poisson mixture of central ones, and its slope in the non-centrality: half the difference to
/// the one with two degrees of freedom more.
fn noncentral(x: f64, freedom: f64, centre: f64) -> (f64, f64) {
    if freedom == 1.0 {
        return shifted(x, centre);
    }
    if centre > LARGE {
        // A small part of a deviation of the law.
        let step = 1e-3 * centre.sqrt();
        let (at, next) = (sankaran(x, freedom, centre), sankaran(x, freedom, centre + step));
        return (at, (next - at) / step);
    }
    let half = centre / 2.0;
    // Eight deviations either side of the mean hold all that a double can show.
    let spread = 8.0 * half.sqrt() + 20.0;
    let (first, last) = ((half - spread).max(0.0) as u64, (half + spread) as u64);
    let mut weight = Poisson::new(half).map_or(1.0, |law| law.pmf(first));
    // With two degrees of freedom more a central one is less by y^a e^(−y)/Γ(a + 1), y half of x, a half the freedom.
    let (y, mut a) = (x / 2.0, freedom / 2.0 + first as f64);
    let mut central = ChiSquared::new(2.0 * a).map_or(0.0, |law| law.cdf(x));
    let mut less = (a * y.ln() - y - ln_gamma(a + 1.0)).exp();
    let (mut share, mut fall) = (0.0, 0.0);
    for j in first..=last {
        share += weight * central;
        fall += weight * less.min(central);
        central = (central - less).max(0.0);
        a += 1.0;
        less *= y / a;
        weight *= half / (j + 1) as f64;
    }
    (share.clamp(0.0, 1.0), -fall / 2.0)
}

/// Sankaran's normal approximation (Biometrika 50, 1963).
fn sankaran(x: f64, k: f64, l: f64) -> f64 {
    let h = 1.0 - 2.0 / 3.0 * (k + l) * (k + 3.0 * l) / (k + 2.0 * l).powi(2);
    let p = (k + 2.0 * l) / (k + l).powi(2);
    let m = (h - 1.0) * (1.0 - 3.0 * h);
    let mean = 1.0 + h * p * (h - 1.0 - 0.5 * (2.0 - h) * m * p);
    let z = ((x / (k + l)).powf(h) - mean) / (h * (2.0 * p).sqrt() * (1.0 + 0.5 * m * p));
    normal_tail(-z)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sketch(values: impl IntoIterator<Item = u64>) -> Sketch {
        let mut sketch = Sketch::default();
        values.into_iter().for_each(|value| sketch.push(value));
        sketch
    }

    /// Values of a fixed sequence that spreads evenly over (0, 1): no randomness, no seed.
    fn spread(n: u64, start: u64) -> impl Iterator<Item = f64> {
        (0..n).map(move |i| ((i + start) as f64 * 0.618_033_988_749_894_9).fract())
    }

    fn latency(n: u64, start: u64, factor: f64) -> Sketch {
        sketch(spread(n, start).map(|u| (1000.0 * factor * (1.0 / (1.0 - 0.999 * u)).powf(0.8)) as u64))
    }

    #[test]
    fn psi_p_and_interval_equal_scipy() {
        let current = [130, 120, 110, 100, 100, 100, 90, 90, 80, 80];
        let bins = current.iter().map(|current| Bin { reference: 100, current: *current });
        let psi = psi(bins.collect());
        // scipy 1.17.1: chi2.sf, and ncx2 inverted by brentq.
        for (ours, scipy) in [
            (psi.raw, 0.023_270_709_134_304_877),
            (psi.p, 0.234_655_359_315_688_68),
            (psi.effect, 0.005_270_709_134_304_875),
            (psi.interval.low.unwrap(), 0.0),
            (psi.interval.high.unwrap(), 0.037_322_633_716_425_066),
        ] {
            assert!((ours - scipy).abs() <= 1e-9 + 1e-7 * scipy.abs(), "{ours} {scipy}");
        }
        for (x, freedom, centre, scipy) in [
            (10.0, 9.0, 3.5, 0.372_928_220_487_531_44),
            (80.0, 9.0, 40.0, 0.981_674_272_368_181_9),
            (200.0, 4.0, 150.0, 0.962_519_766_789_031),
            (5.0, 9.0, 0.0, 0.165_691_739_806_592_52),
            (3.0, 1.0, 2.0, 0.623_868_949_278_209_8),
            (0.4, 1.0, 0.0, 0.472_910_743_134_461_96),
            (2_500.0, 1.0, 2_400.0, 0.843_801_492_438_674_9),
        ] {
            let (ours, slope) = noncentral(x, freedom, centre);
            assert!((ours - scipy).abs() < 1e-9, "{x} {freedom} {centre}: {ours} {scipy}");
            let (next, _) = noncentral(x, freedom, centre + 1e-6);
            assert!(((next - ours) / 1e-6 - slope).abs() < 1e-7, "{x} {freedom} {centre}: {slope}");
        }
        for (x, freedom, centre, scipy) in
            [(2100.0, 9.0, 2000.0, 0.845_193_456_215_823_1), (52_000.0, 9.0, 51_500.0, 0.860_237_508_031_295_8)]
        {
            let (ours, _) = noncentral(x, freedom, centre);
            assert!((ours - scipy).abs() < 1e-4, "{x} {freedom} {centre}: {ours} {scipy}");
        }
    }

    #[test]
    fn the_same_distribution_has_no_effect_and_another_one_has() {
        let reference = latency(5000, 0, 1.0);
        let Judged::Measured(same) = judge(&reference, &latency(2000, 9_999, 1.0), 100) else { panic!() };
        assert!(same.p > 0.05 && same.effect < 0.005 && same.interval.low == Some(0.0), "{same:?}");
        let Judged::Measured(slower) = judge(&reference, &latency(2000, 9_999, 1.5), 100) else { panic!() };
        assert!(slower.p < 1e-6 && slower.effect > 0.1, "{slower:?}");
        assert!(slower.interval.low.unwrap() < slower.effect && slower.effect < slower.interval.high.unwrap());
        assert_eq!(slower.bins.iter().map(|bin| bin.current).sum::<u64>(), 2000, "every value has a bin");
        assert_eq!(slower.bins.len(), 10);
    }

    #[test]
    fn too_little_is_an_answer() {
        let reference = latency(5000, 0, 1.0);
        assert_eq!(judge(&reference, &Sketch::default(), 0), Judged::NoData);
        assert_eq!(judge(&reference, &latency(49, 0, 1.0), 0), Judged::TooLittle);
        assert_eq!(judge(&reference, &latency(99, 0, 1.0), 100), Judged::TooLittle);
        assert_eq!(judge(&latency(40, 0, 1.0), &reference, 0), Judged::TooLittle);
        let constant = sketch((0..500).map(|_| 7));
        assert_eq!(judge(&constant, &constant, 0), Judged::TooLittle, "one bin tells nothing");
    }

    #[test]
    fn the_level_holds_on_independent_values() {
        use rand::{RngExt, SeedableRng};
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        let mut draw = |n: u64| sketch((0..n).map(|_| (1e4 * -rng.random::<f64>().max(1e-12).ln()) as u64));
        let rounds = 1_500;
        let alarms = (0..rounds)
            .filter(|_| match judge(&draw(1500), &draw(600), 100) {
                Judged::Measured(psi) => psi.p < 0.05,
                _ => false,
            })
            .count();
        // 5 % of 1,500 is 75; four deviations of a binomial are 34.
        assert!((41..=109).contains(&alarms), "{alarms} of {rounds}");
    }
}
