//! Tests between two windows, a reference and the present, each from counts at values: sketches and tables of counts.
//!
//! Values come in cells, ascending: a bucket of a sketch by its middle, a category by its number. Boundaries that are
//! fixed before the data are seen leave every test here exactly valid on the cells; what is lost is power against
//! differences inside a cell. Equal values are ties and treated as such.
//!
//! Every p-value is that of one test, looked at once; a rule that looks every minute has more chances.

mod anderson_darling;
mod chi_square;
pub mod classifier;
mod cramer_von_mises;
mod divergence;
mod fisher;
mod kolmogorov_smirnov;
mod mann_whitney;
pub mod mmd;
pub mod psi;
pub mod tables;
mod two_proportions;
mod wasserstein;
mod welch;
pub mod words;

use std::borrow::Cow;

use leeway_core::drift::{Takes, Test};
use leeway_core::embedding::Embeddings;
use leeway_core::interval::Interval;
use leeway_core::measure::{Moments, Sample};
use leeway_core::sketch::Sketch;
use thiserror::Error;

/// One value and how often it came.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    pub value: f64,
    pub reference: u64,
    pub current: u64,
}

/// What a test says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// How large the difference is, in the test's own unit.
    pub effect: f64,
    /// 95 %; a missing bound is one that the test does not give.
    pub interval: Interval,
    pub statistic: f64,
    /// Probability of a statistic at least this far out, if nothing changed.
    pub p: f64,
}

/// Why there is no verdict; never a quiet "no drift".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Inconclusive {
    #[error("there are no values now")]
    NoData,
    #[error("the reference has {reference} values and the present {current}; the test needs {needed} in each")]
    TooLittle { reference: u64, current: u64, needed: u64 },
    #[error("all values are alike")]
    Alike,
    #[error("nearly all texts are one: the smaller window has room for fewer than {needed} others")]
    NearlyAlike { needed: u64 },
    #[error("a value is not a finite number")]
    NotFinite,
    #[error("a category expects fewer than five values, too few for this test; of a rate fisher takes any")]
    Sparse,
    #[error("the sources that are measured by are others than in the reference, or other versions of them")]
    OtherSource,
    #[error("the test is one for two categories, and there are {0}")]
    NotTwo(usize),
    #[error("no word is in {needed} of the texts")]
    NoWords { needed: u64 },
    #[error(
        "the reference has texts in {reference} stretches of time and the present in {current}; the test needs {needed} in each: a longer window"
    )]
    FewStretches { reference: u64, current: u64, needed: u64 },
}

/// A test of the catalogue.
pub trait WindowTest: Sync {
    /// Values that each side needs.
    fn needs(&self) -> u64;
    /// Of cells with both sides present and at least two of them.
    fn measure(&self, cells: &[Cell]) -> Result<Verdict, Inconclusive>;
}

/// The catalogue.
pub fn of(test: Test) -> &'static dyn WindowTest {
    match test {
        Test::Psi => &psi::Index,
        Test::KolmogorovSmirnov => &kolmogorov_smirnov::KolmogorovSmirnov,
        Test::CramerVonMises => &cramer_von_mises::CramerVonMises,
        Test::AndersonDarling => &anderson_darling::AndersonDarling,
        Test::MannWhitney => &mann_whitney::MannWhitney,
        Test::Welch => &welch::Welch,
        Test::Wasserstein => &wasserstein::Wasserstein,
        Test::ChiSquare => &chi_square::ChiSquare,
        Test::G => &chi_square::GTest,
        Test::JensenShannon => &divergence::JensenShannon,
        Test::Hellinger => &divergence::Hellinger,
        Test::TotalVariation => &divergence::TotalVariation,
        Test::TwoProportions => &two_proportions::TwoProportions,
        Test::Fisher => &fisher::Fisher,
        Test::Words => &words::ByWord,
        Test::Classifier => &classifier::Classifier,
        Test::Discrepancy => &mmd::Discrepancy,
    }
}

/// Compares; every refusal has its reason.
pub fn compare(kind: Test, cells: &[Cell], min_events: u64) -> Result<Verdict, Inconclusive> {
    let test = of(kind);
    let (reference, current) = totals(cells);
    enough(test, (reference, current), min_events)?;
    if cells.iter().any(|cell| !cell.value.is_finite()) {
        return Err(Inconclusive::NotFinite);
    }
    let sorted = if ordered(cells) { Cow::Borrowed(cells) } else { Cow::Owned(merged(cells.to_vec())) };
    match sorted[..] {
        [] => Err(Inconclusive::NoData),
        // A rate that is 0 or 1 in both windows: nothing differs, and how sure that is the interval says.
        [_] if cells.len() == 2 && kind.takes() == Takes::Categories => {
            let (n, m) = (reference as f64, current as f64);
            let interval =
                if kind.signed() { two_proportions::difference(&cells[1], n, m) } else { Interval::default() };
            Ok(Verdict { effect: 0.0, interval, statistic: 0.0, p: 1.0 })
        }
        [_] => Err(Inconclusive::Alike),
        _ if kind.needs_five() && sparse(&sorted) => Err(Inconclusive::Sparse),
        _ => test.measure(&sorted),
    }
}

/// Compares what two windows have of one measure, as far as they have the same kind of it; `scale` is of the values.
/// With the cells that were compared: of moments and tables none.
pub fn compare_samples(
    kind: Test,
    (reference, current): (Option<&Sample>, &Sample),
    scale: f64,
    min_events: u64,
) -> (Result<Verdict, Inconclusive>, Vec<Cell>) {
    let cells = match (reference, current) {
        (Some(Sample::Means(before)), Sample::Means(now)) => {
            return (compare_means(*before, *now, min_events), Vec::new());
        }
        (None, Sample::Means(now)) => return (compare_means(None, *now, min_events), Vec::new()),
        (Some(Sample::Values(before)), Sample::Values(now)) => cells(before, now, scale),
        (_, Sample::Values(now)) => cells(&Sketch::default(), now, scale),
        (Some(Sample::Rate(hits, n)), Sample::Rate(hits_now, m)) => rates((*hits, *n), (*hits_now, *m)).to_vec(),
        (_, Sample::Rate(hits_now, m)) => rates((0, 0), (*hits_now, *m)).to_vec(),
        (before, Sample::Table(now)) => {
            let none = Vec::new();
            let before = if let Some(Sample::Table(before)) = before { before } else { &none };
            return (tables::compare(kind, before, now, min_events), Vec::new());
        }
        (before, Sample::Embeddings(now)) => {
            let none = Embeddings::default();
            let before = if let Some(Sample::Embeddings(before)) = before { before } else { &none };
            return (mmd::compare(before, now, min_events), Vec::new());
        }
        // Words are compared by `words`, with what is asked of each.
        (_, Sample::Words(_)) => return (Err(Inconclusive::OtherSource), Vec::new()),
        (Some(_), Sample::Means(_)) => return (Err(Inconclusive::OtherSource), Vec::new()),
    };
    (compare(kind, &cells, min_events), cells)
}

/// Compares the means of values of which no more than the moments are known, by Welch's test.
pub fn compare_means(
    reference: Option<Moments>,
    current: Option<Moments>,
    min_events: u64,
) -> Result<Verdict, Inconclusive> {
    let test = of(Test::Welch);
    let of = |side: Option<Moments>| side.map_or(0, |side| side.n as u64);
    let needed = enough(test, (of(reference), of(current)), min_events)?;
    match (reference, current) {
        (Some(before), Some(now)) if before.mean.is_finite() && now.mean.is_finite() => welch::between(before, now),
        (Some(_), Some(_)) => Err(Inconclusive::NotFinite),
        _ => Err(Inconclusive::TooLittle { reference: of(reference), current: of(current), needed }),
    }
}

/// How many values each side needs, where both have them.
fn enough(test: &dyn WindowTest, (reference, current): (u64, u64), min_events: u64) -> Result<u64, Inconclusive> {
    let needed = min_events.max(test.needs()).max(1);
    if current == 0 {
        return Err(Inconclusive::NoData);
    }
    if reference < needed || current < needed {
        return Err(Inconclusive::TooLittle { reference, current, needed });
    }
    Ok(needed)
}

/// Whether a cell expects fewer than five on a side, where χ² is no law of these statistics.
fn sparse(cells: &[Cell]) -> bool {
    let (n, m) = totals(cells);
    let least = n.min(m) as f64 / (n + m) as f64;
    cells.iter().any(|cell| (cell.reference + cell.current) as f64 * least < 5.0)
}

/// Whether cells are already as the tests want them: those of sketches are.
fn ordered(cells: &[Cell]) -> bool {
    cells.iter().all(|cell| cell.reference + cell.current > 0) && cells.is_sorted_by(|a, b| a.value < b.value)
}

/// Ascending, each value once, without the empty ones: what the tests rely on.
fn merged(mut cells: Vec<Cell>) -> Vec<Cell> {
    cells.retain(|cell| cell.reference + cell.current > 0);
    cells.sort_by(|a, b| a.value.total_cmp(&b.value));
    cells.dedup_by(|next, cell| {
        let same = next.value == cell.value;
        if same {
            (cell.reference, cell.current) = (cell.reference + next.reference, cell.current + next.current);
        }
        same
    });
    cells
}

/// Values of the reference and of the present.
fn totals(cells: &[Cell]) -> (u64, u64) {
    cells.iter().fold((0, 0), |(n, m), cell| (n + cell.reference, m + cell.current))
}

/// The cells of two rates, each as hits of a number.
pub fn rates((hits, n): (u64, u64), (hits_now, m): (u64, u64)) -> [Cell; 2] {
    let rest = |all: u64, hits: u64| all.saturating_sub(hits);
    [
        Cell { value: 0.0, reference: rest(n, hits), current: rest(m, hits_now) },
        Cell { value: 1.0, reference: hits, current: hits_now },
    ]
}

/// The cells of two sketches, their values times `scale`.
pub fn cells(reference: &Sketch, current: &Sketch, scale: f64) -> Vec<Cell> {
    let (before, now) = (reference.buckets(), current.buckets());
    let (mut before, mut now) = (before.into_iter().peekable(), now.into_iter().peekable());
    std::iter::from_fn(|| {
        let [first, second] = [&mut before, &mut now].map(|side| side.peek().map(|(bucket, _)| *bucket));
        let bucket = first.into_iter().chain(second).min()?;
        let [reference, current] =
            [&mut before, &mut now].map(|side| side.next_if(|(at, _)| *at == bucket).map_or(0, |(_, count)| count));
        Some(Cell { value: leeway_core::sketch::middle(bucket) * scale, reference, current })
    })
    .collect()
}

/// The cells of raw values.
pub fn raw(reference: &[f64], current: &[f64]) -> Vec<Cell> {
    let before = reference.iter().map(|value| Cell { value: *value, reference: 1, current: 0 });
    before.chain(current.iter().map(|value| Cell { value: *value, reference: 0, current: 1 })).collect()
}

/// The normal law's 97.5 % point.
const Z: f64 = 1.959_963_984_540_054;

/// 2 P(Z > |z|).
fn two_sided(z: f64) -> f64 {
    2.0 * leeway_core::special::normal_tail(z.abs())
}

#[cfg(test)]
mod tests;
