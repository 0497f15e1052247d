//! Tables of two windows: how answers ended, how calls failed. The tests are those of homogeneity; here are the cells that they are given.
//!
//! Categories that expect fewer than five on a side are one cell together, and the least of the others with them where they still expect fewer:
//! χ² is no law of rarer ones. Which are joined is read from both windows together, which says nothing of how they differ.

use leeway_core::drift::Test;
use leeway_core::interval::Interval;

use super::{Cell, Inconclusive, Verdict, enough, of, sparse, totals};

/// A category and its shares of both windows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moved {
    pub place: usize,
    pub before: f64,
    pub now: f64,
}

/// Compares two tables of the same categories; a shorter one has none of the others.
pub fn compare(kind: Test, before: &[u64], now: &[u64], min_events: u64) -> Result<Verdict, Inconclusive> {
    let cells = cells(before, now);
    enough(of(kind), totals(&cells), min_events)?;
    match joined(cells)[..] {
        [] => Err(Inconclusive::NoData),
        // All in one category, in both windows: what may have stayed unseen is the rule of three's.
        [Cell { value, reference, current }] if value >= 0.0 => {
            let unseen = 3.0 / reference as f64 + 3.0 / current as f64;
            let interval = Interval::between(0.0, unseen.min(1.0));
            Ok(Verdict { effect: 0.0, interval, statistic: 0.0, p: 1.0 })
        }
        // What there is beside the commonest category is too little to test.
        [_] => Err(Inconclusive::Sparse),
        ref cells => super::compare(kind, cells, min_events),
    }
}

/// Categories whose shares differ, furthest first.
pub fn moved(before: &[u64], now: &[u64]) -> Vec<Moved> {
    let cells = cells(before, now);
    let (n, m) = totals(&cells);
    let share = |count: u64, of: u64| count as f64 / of.max(1) as f64;
    let mut moved: Vec<Moved> = cells
        .iter()
        .map(|cell| Moved { place: cell.value as usize, before: share(cell.reference, n), now: share(cell.current, m) })
        .filter(|moved| moved.before != moved.now)
        .collect();
    moved.sort_by(|a, b| (b.now - b.before).abs().total_cmp(&(a.now - a.before).abs()));
    moved
}

/// By place; without those of which neither window has any.
fn cells(before: &[u64], now: &[u64]) -> Vec<Cell> {
    let count = |table: &[u64], place: usize| table.get(place).copied().unwrap_or(0);
    (0..before.len().max(now.len()))
        .map(|place| Cell { value: place as f64, reference: count(before, place), current: count(now, place) })
        .filter(|cell| cell.reference + cell.current > 0)
        .collect()
}

/// The rare ones as one cell, whose value is −1.
fn joined(mut cells: Vec<Cell>) -> Vec<Cell> {
    if !sparse(&cells) {
        return cells;
    }
    cells.sort_by_key(|cell| cell.reference + cell.current);
    let (n, m) = totals(&cells);
    let least = n.min(m) as f64 / (n + m) as f64;
    let mut rare = Cell { value: -1.0, reference: 0, current: 0 };
    let mut taken = 0;
    for cell in &cells {
        let few = |cell: &Cell| ((cell.reference + cell.current) as f64) * least < 5.0;
        if !few(cell) && !few(&rare) {
            break;
        }
        (rare.reference, rare.current) = (rare.reference + cell.reference, rare.current + cell.current);
        taken += 1;
    }
    cells.splice(..taken, [rare]);
    cells
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const TESTS: [Test; 5] = [Test::ChiSquare, Test::G, Test::JensenShannon, Test::Hellinger, Test::TotalVariation];

    fn drawn(rng: &mut ChaCha8Rng, shares: &[f64], n: u64) -> Vec<u64> {
        let mut table = vec![0; shares.len()];
        for _ in 0..n {
            let (at, mut place): (f64, usize) = (rng.random(), 0);
            let mut below = shares[0];
            while at >= below && place + 1 < shares.len() {
                place += 1;
                below += shares[place];
            }
            table[place] += 1;
        }
        table
    }

    #[test]
    fn rare_categories_are_joined_and_nothing_is_lost() {
        // 2, 3 and 4 of both windows' 2,000 expect 1 to 2 on a side; together 4.5: with the 40 they are enough.
        let cells = joined(cells(&[950, 1, 2, 30, 3, 14], &[960, 1, 1, 10, 1, 27]));
        let of = |value: f64| cells.iter().find(|cell| cell.value == value).map(|cell| (cell.reference, cell.current));
        assert_eq!(of(-1.0), Some((1 + 2 + 3 + 30, 1 + 1 + 1 + 10)));
        assert_eq!((of(0.0), of(5.0), cells.len()), (Some((950, 960)), Some((14, 27)), 3));
        assert_eq!(totals(&cells), (1_000, 1_000));
    }

    #[test]
    fn every_refusal_has_its_reason() {
        for test in TESTS {
            let of = |before: &[u64], now: &[u64]| compare(test, before, now, 0);
            assert_eq!(of(&[500, 3], &[0, 0]), Err(Inconclusive::NoData));
            assert!(matches!(of(&[], &[500, 3]), Err(Inconclusive::TooLittle { reference: 0, current: 503, .. })));
            assert_eq!(of(&[900, 2, 0], &[800, 0, 1]), Err(Inconclusive::Sparse), "three of 1,703 tell nothing");
            let alike = of(&[900, 0], &[800]).unwrap();
            assert_eq!((alike.effect, alike.p), (0.0, 1.0));
            assert!(compare(test, &[900, 90], &[800, 95], 1_000).is_err());
        }
    }

    #[test]
    fn what_moved_furthest_comes_first() {
        let moved = moved(&[970, 20, 0, 10], &[880, 100, 0, 20]);
        let places: Vec<usize> = moved.iter().map(|moved| moved.place).collect();
        assert_eq!((places, moved[0].before, moved[0].now), (vec![0, 1, 3], 0.97, 0.88));
    }

    /// Half of the cells are rare, as of error classes; windows of different size.
    #[test]
    fn without_a_change_few_comparisons_find_one() {
        let shares = [0.62, 0.3, 0.05, 0.02, 0.004, 0.003, 0.002, 0.001];
        let rng = &mut ChaCha8Rng::seed_from_u64(20_261_124);
        let mut found = [0; TESTS.len()];
        const RUNS: usize = 600;
        for _ in 0..RUNS {
            let (before, now) = (drawn(rng, &shares, 3_000), drawn(rng, &shares, 400));
            for (found, test) in found.iter_mut().zip(TESTS) {
                *found += usize::from(compare(test, &before, &now, 0).unwrap().p <= 0.05);
            }
        }
        println!("p <= 0.05 in {found:?} of {RUNS} by {:?}", TESTS.map(Test::id));
        // 5 % and three deviations of it.
        assert!(found.iter().all(|found| *found <= 46), "{found:?}");
    }

    #[test]
    fn the_total_variation_s_interval_holds_it() {
        let rng = &mut ChaCha8Rng::seed_from_u64(7);
        let tables: [(&[f64], &[f64]); 4] = [
            (&[0.97, 0.02, 0.01], &[0.97, 0.02, 0.01]),
            (&[0.97, 0.02, 0.01], &[0.90, 0.08, 0.02]),
            (&[0.4, 0.3, 0.2, 0.1], &[0.3, 0.3, 0.2, 0.2]),
            (&[0.5, 0.25, 0.15, 0.06, 0.04], &[0.5, 0.25, 0.15, 0.06, 0.04]),
        ];
        for (before, now) in tables {
            let truth = before.iter().zip(now).map(|(p, q)| (p - q).abs()).sum::<f64>() / 2.0;
            let (mut missed, mut width, mut effect) = (0, 0.0, 0.0);
            for n in [800, 4_000].repeat(150) {
                let said = compare(Test::TotalVariation, &drawn(rng, before, n), &drawn(rng, now, n), 0).unwrap();
                let (low, high) = (said.interval.low.unwrap(), said.interval.high.unwrap());
                missed += usize::from(!(low..=high).contains(&truth));
                width += (high - low) / 300.0;
                effect += said.effect / 300.0;
            }
            println!("{truth:.2}: {missed} of 300 intervals miss it, {width:.3} wide; {effect:.3} told");
            assert!(missed <= 15 && (effect - truth).abs() < 0.02, "{missed} {effect}");
        }
    }
}
