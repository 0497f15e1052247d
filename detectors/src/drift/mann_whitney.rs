//! Mann and Whitney's test, with Hodges and Lehmann's shift.
//!
//! Null: both windows are independent values of one law. U counts the pairs in which the reference's value is the
//! larger one, half for ties; its normal limit with the variance corrected for ties and for continuity gives the
//! p-value (Lehmann, Nonparametrics, 1975, 1.3–1.4). The effect is the median difference of all pairs, present less
//! reference, in units of the values; its interval comes from the order statistics of the differences (Hodges and
//! Lehmann, Ann. Math. Stat. 34, 1963) and assumes that the laws differ by a shift alone.

use leeway_core::interval::Interval;

use super::{Cell, Inconclusive, Verdict, WindowTest, Z, totals, two_sided};

pub(super) struct MannWhitney;

impl WindowTest for MannWhitney {
    fn id(&self) -> &'static str {
        "mann_whitney"
    }

    fn title(&self) -> &'static str {
        "Mann–Whitney"
    }

    fn effect(&self) -> &'static str {
        "median difference of pairs (Hodges–Lehmann)"
    }

    fn needs(&self) -> u64 {
        10
    }

    fn measure(&self, cells: &[Cell]) -> Result<Verdict, Inconclusive> {
        let (n, m) = totals(cells);
        let (n, m) = (n as f64, m as f64);
        let (all, pairs) = (n + m, n * m);
        let (mut below, mut u, mut ties) = (0.0, 0.0, 0.0);
        for cell in cells {
            let (a, b) = (cell.reference as f64, cell.current as f64);
            u += a * (below + b / 2.0);
            below += b;
            let tied = a + b;
            ties += tied * tied * tied - tied;
        }
        let deviation = (pairs / 12.0 * (all + 1.0 - ties / (all * (all - 1.0)))).sqrt();
        let far = u.max(pairs - u) - pairs / 2.0 - 0.5;
        let p = two_sided(far.max(0.0) / deviation).min(1.0);
        let p = if far <= 0.0 { 1.0 } else { p };
        let half = Z * deviation;
        let [low, effect, high] = shifts(cells, pairs, half);
        Ok(Verdict { effect, interval: Interval::between(low, high), statistic: u, p })
    }
}

/// The differences of all pairs at ranks half − `half`, half and half + `half`.
fn shifts(cells: &[Cell], pairs: f64, half: f64) -> [f64; 3] {
    let mut differences: Vec<(f64, f64)> = Vec::new();
    for before in cells.iter().filter(|cell| cell.reference > 0) {
        for now in cells.iter().filter(|cell| cell.current > 0) {
            differences.push((now.value - before.value, before.reference as f64 * now.current as f64));
        }
    }
    differences.sort_by(|a, b| a.0.total_cmp(&b.0));
    let at = |rank: f64| {
        let mut seen = 0.0;
        let mut last = 0.0;
        for (difference, weight) in &differences {
            (seen, last) = (seen + weight, *difference);
            if seen >= rank {
                break;
            }
        }
        last
    };
    // An even number of pairs has two in the middle.
    let middle = f64::midpoint(
        at((pairs / 2.0).floor().max(1.0)),
        at((pairs / 2.0 + 0.5).floor() + if pairs % 2.0 == 0.0 { 1.0 } else { 0.0 }),
    );
    [at((pairs / 2.0 - half).floor().max(1.0)), middle, at((pairs / 2.0 + half).ceil().min(pairs))]
}
