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
    let middle = (pairs / 2.0).floor().max(1.0);
    // An even number of pairs has two in the middle.
    let next = if pairs % 2.0 == 0.0 { middle + 1.0 } else { (pairs / 2.0).ceil() };
    let first = if pairs % 2.0 == 0.0 { middle } else { next };
    let one = at_rank(cells, first);
    // Of cells most pairs differ alike.
    let other = if Around::of(cells, one).pairs >= next { one } else { at_rank(cells, next) };
    [
        at_rank(cells, (pairs / 2.0 - half).floor().max(1.0)),
        f64::midpoint(one, other),
        at_rank(cells, (pairs / 2.0 + half).ceil().min(pairs)),
    ]
}

/// The difference of a pair with `rank` pairs at or below it, by halving the doubles from one difference to the next: the
/// pairs are too many to list.
fn at_rank(cells: &[Cell], rank: f64) -> f64 {
    let widest = cells[cells.len() - 1].value - cells[0].value;
    let (mut low, mut high) = (key(-widest), key(widest));
    while low < high {
        // The mean, rounded down, of numbers whose difference may not fit.
        let middle = (low & high) + ((low ^ high) >> 1);
        let around = Around::of(cells, value(middle));
        if around.pairs >= rank { high = key(around.below) } else { low = key(around.above) }
    }
    value(high)
}

/// Doubles in their order, as whole numbers.
fn key(value: f64) -> i64 {
    let bits = value.to_bits() as i64;
    if bits < 0 { i64::MIN - bits } else { bits }
}

fn value(key: i64) -> f64 {
    f64::from_bits(if key < 0 { (i64::MIN - key) as u64 } else { key as u64 })
}

/// What stands around a number among the differences of pairs of cells, present less reference.
struct Around {
    /// Pairs whose difference is at most the number.
    pairs: f64,
    /// The largest difference that is at most the number, and the smallest beyond it.
    below: f64,
    above: f64,
}

impl Around {
    fn of(cells: &[Cell], difference: f64) -> Self {
        let (mut place, mut seen) = (0, 0.0);
        let mut around = Self { pairs: 0.0, below: f64::NEG_INFINITY, above: f64::INFINITY };
        for before in cells {
            while let Some(now) = cells.get(place).filter(|now| now.value - before.value <= difference) {
                (seen, place) = (seen + now.current as f64, place + 1);
            }
            around.pairs += before.reference as f64 * seen;
            if place > 0 {
                around.below = around.below.max(cells[place - 1].value - before.value);
            }
            if let Some(now) = cells.get(place) {
                around.above = around.above.min(now.value - before.value);
            }
        }
        around
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shift_is_that_of_all_pairs_listed() {
        for (before, now) in [
            (&[1.0, 2.0, 4.0, 8.0][..], &[2.5, 3.0, 9.0][..]),
            (&[1.0, 2.0, 4.0, 8.0, 8.0], &[0.5, -3.0, 9.0]),
            (&[0.0, 0.0, 1.0], &[0.0, 1.0]),
        ] {
            let mut listed: Vec<f64> = before.iter().flat_map(|x| now.iter().map(move |y| y - x)).collect();
            listed.sort_by(f64::total_cmp);
            let cells = super::super::merged(super::super::raw(before, now));
            for (rank, difference) in listed.iter().enumerate() {
                assert_eq!(at_rank(&cells, rank as f64 + 1.0), *difference, "{before:?} {now:?} {rank}");
            }
            let n = listed.len();
            let median = f64::midpoint(listed[(n - 1) / 2], listed[n / 2]);
            assert_eq!(shifts(&cells, n as f64, 0.0)[1], median);
        }
    }
}
