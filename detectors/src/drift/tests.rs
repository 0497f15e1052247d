//! What every test of the catalogue owes, and its numbers beside scipy's.

use serde_json::Value as Json;

use super::*;

fn table(before: &[u64], now: &[u64]) -> Vec<Cell> {
    let cell = |(place, (reference, current)): (usize, (&u64, &u64))| Cell {
        value: place as f64,
        reference: *reference,
        current: *current,
    };
    before.iter().zip(now).enumerate().map(cell).collect()
}

/// Tests of counts at values; embeddings have none.
fn of_cells() -> impl Iterator<Item = Test> {
    Test::ALL.into_iter().filter(|test| test.takes() != Takes::Embeddings)
}

#[test]
fn every_test_keeps_the_contract() {
    for test in of_cells() {
        let id = test.id();
        let bell = [10, 40, 90, 160, 250, 280, 200, 120, 60, 25, 10, 5];
        let (calm, moved) = if matches!(compare(test, &table(&bell, &bell), 0), Err(Inconclusive::NotTwo(12))) {
            (table(&[900, 100], &[905, 95]), table(&[900, 100], &[700, 300]))
        } else {
            let near = [12, 37, 93, 155, 254, 283, 196, 122, 58, 26, 9, 5];
            let far = [0, 0, 10, 40, 90, 160, 250, 280, 200, 120, 60, 40];
            (table(&bell, &near), table(&bell, &far))
        };
        let (same, other) = (compare(test, &calm, 0).unwrap(), compare(test, &moved, 0).unwrap());
        assert!(same.p > 0.2, "{id} alarms on chance: {same:?}");
        // Anderson and Darling's table and the drawn bridges end at a thousandth.
        assert!(other.p <= 0.001, "{id} misses a plain change: {other:?}");
        assert!(other.effect.abs() > same.effect.abs(), "{id}: {same:?} {other:?}");
        if let (Some(low), Some(high)) = (other.interval.low, other.interval.high) {
            assert!(low <= other.effect && other.effect <= high && (low > 0.0 || high < 0.0), "{id}: {other:?}");
        }
        let refused = |cells: &[Cell]| compare(test, cells, 0).unwrap_err();
        assert_eq!(refused(&[]), Inconclusive::NoData, "{id}");
        assert_eq!(refused(&table(&[500, 100], &[0, 0])), Inconclusive::NoData, "{id}");
        assert_eq!(refused(&table(&[500], &[500])), Inconclusive::Alike, "{id}");
        assert!(matches!(refused(&table(&[0, 0], &[50, 60])), Inconclusive::TooLittle { reference: 0, .. }), "{id}");
        let nan = [Cell { value: f64::NAN, reference: 500, current: 500 }, moved[0]];
        assert_eq!(refused(&nan), Inconclusive::NotFinite, "{id}");
        assert!(compare(test, &moved, 1 << 40).is_err(), "{id} ignores the least number");
        // Order of the cells and how often a value stands there are nothing.
        let mut shuffled: Vec<Cell> = moved.iter().rev().copied().collect();
        let part = Cell { reference: shuffled[0].reference / 2, current: shuffled[0].current / 3, ..shuffled[0] };
        shuffled[0] = Cell {
            reference: shuffled[0].reference - part.reference,
            current: shuffled[0].current - part.current,
            ..shuffled[0]
        };
        shuffled.push(part);
        assert_eq!(compare(test, &shuffled, 0), Ok(other), "{id}");
    }
}

/// Latencies in a sketch's buckets are ties by the thousand, in windows of very different size.
#[test]
fn tied_windows_of_one_law_are_no_drift() {
    let sketch = |n: u64, start: u64| {
        let mut sketch = Sketch::default();
        let spread = (0..n).map(|i| ((i + start) as f64 * 0.618_033_988_749_894_9).fract());
        spread.for_each(|u| sketch.push((400e3 * (1.0 / (1.0 - 0.99 * u)).powf(0.5)) as u64));
        sketch
    };
    let cells = cells(&sketch(200_000, 0), &sketch(5_000, 77), 1e-3);
    for test in Test::ALL.into_iter().filter(|test| test.takes() == Takes::Values) {
        let same = compare(test, &cells, 0).unwrap();
        let least = test.least_effect(&leeway_core::measure::Measure::Duration).unwrap_or(5.0);
        assert!(same.p > 0.05 && same.effect.abs() < least, "{}: {same:?}", test.id());
    }
    for (before, now) in [([600, 300, 100], [302, 149, 49]), ([190, 5, 5], [143, 4, 3])] {
        let same = compare(Test::CramerVonMises, &table(&before, &now), 0).unwrap();
        assert!(same.p > 0.2 && same.effect < 0.05, "{same:?}");
    }
}

/// A reference of one value is left by everything that is another one.
#[test]
fn a_constant_reference_can_be_left() {
    let cells = [Cell { value: 1.0, reference: 500, current: 0 }, Cell { value: 500.0, reference: 0, current: 500 }];
    for test in Test::ALL.into_iter().filter(|test| test.takes() == Takes::Values) {
        let moved = compare(test, &cells, 0).unwrap();
        assert!(moved.p <= 0.001 && moved.effect > 0.1, "{}: {moved:?}", test.id());
        assert_eq!(compare(test, &cells[..1], 0).unwrap_err(), Inconclusive::NoData);
    }
}

/// One value with nine tenths of the reference and more leaves room for one decile alone: the present may still move.
#[test]
fn a_reference_that_is_nearly_one_value_can_be_left_for_its_rarer_ones() {
    for (before, now) in [([50, 950], [950, 50]), ([950, 50], [50, 950])] {
        for test in Test::ALL.into_iter().filter(|test| test.takes() == Takes::Values) {
            let moved = compare(test, &table(&before, &now), 0).unwrap();
            assert!(moved.p <= 0.001, "{}: {moved:?}", test.id());
            let same = compare(test, &table(&before, &before), 0).unwrap();
            assert!(same.p > 0.2, "{}: {same:?}", test.id());
        }
    }
}

#[test]
fn large_windows_take_no_longer_than_small_ones() {
    let many: Vec<Cell> = (1..2_000u32)
        .map(|value| Cell { value: f64::from(value), reference: 1_000_000, current: 1_000_000 + u64::from(value % 7) })
        .collect();
    let rate = rates((500_000_000, 1_000_000_000), (500_000_900, 1_000_000_000));
    for test in of_cells() {
        let cells = if test.takes() == Takes::Values { &many[..] } else { &rate };
        let verdict = compare(test, cells, 0).unwrap();
        assert!(verdict.p > 0.05, "{}: {verdict:?}", test.id());
    }
}

#[test]
fn a_rate_of_nothing_in_both_windows_has_not_moved() {
    for test in of_cells() {
        let never = compare(test, &rates((0, 2_000), (0, 600)), 0);
        match test.takes() {
            Takes::Values => assert_eq!(never, Err(Inconclusive::Alike)),
            // Of words it is a table of its own.
            Takes::Words | Takes::Embeddings => {}
            Takes::Categories => {
                let few = compare(test, &rates((3, 100), (0, 100)), 0);
                assert!(!test.needs_five() || few == Err(Inconclusive::Sparse), "{}: {few:?}", test.id());
                let never = never.unwrap();
                assert_eq!((never.effect, never.p), (0.0, 1.0));
                assert!(!test.signed() || (0.003..0.01).contains(&never.interval.high.unwrap()), "{never:?}");
            }
        }
    }
    let rare = compare(Test::Fisher, &rates((2, 2_000), (9, 600)), 0).unwrap();
    assert!(rare.p < 0.001 && rare.interval.low.unwrap() > 0.0, "{rare:?}");
}

fn close(ours: f64, theirs: f64) -> bool {
    (ours - theirs).abs() <= 1e-9 * theirs.abs().max(1e-12)
}

/// Statistic and logarithm of the p-value within 10⁻⁹ of scipy's.
fn agrees(case: &str, id: &str, cells: &[Cell], (statistic, p): (f64, Option<f64>)) -> Result<(), String> {
    let test = of(Test::parse(id).unwrap());
    let ours = match test.measure(cells) {
        Ok(ours) => ours,
        Err(error) => return Err(format!("{case}: {id}: {error}")),
    };
    if !close(ours.statistic, statistic) && (ours.statistic - statistic).abs() > 1e-13 {
        return Err(format!("{case}: {id}: statistic {} and {statistic}", ours.statistic));
    }
    // Near p = 1 a relative bound on its logarithm would be one on rounding; and where scipy takes 1 − cdf, its own
    // digits end at 10⁻¹⁵.
    let same = |p: f64| (ours.p.ln() - p.ln()).abs() <= 1e-9 * p.ln().abs().max(1.0) || (ours.p - p).abs() <= 1e-14;
    // scipy's p of tied windows rejects what has not changed; the statistic is the same.
    let tied = id == "cvm" && cells.iter().any(|cell| cell.reference + cell.current > 1);
    match p.filter(|_| !tied) {
        Some(p) if !same(p) => Err(format!("{case}: {id}: p {:e} and {p:e}", ours.p)),
        _ => Ok(()),
    }
}

#[test]
fn the_golden_file_is_met() {
    let Some(oracle) = crate::golden::shared("oracles/oracle_two_sample.json") else { return };
    let mut wrong = Vec::new();
    let pair = |value: &Json| (value[0].as_f64().unwrap(), value[1].as_f64());
    for (number, case) in oracle["two_sample"].as_array().unwrap().iter().enumerate() {
        let values = |name: &str| -> Vec<f64> {
            case[name].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
        };
        let cells = merged(raw(&values("x"), &values("y")));
        let name = format!("{} {number}", case["family"].as_str().unwrap());
        for (id, key) in [
            ("ks", "ks"),
            ("cvm", "cvm_asymptotic"),
            ("ad", "anderson_midrank_true"),
            ("mann_whitney", "mwu_asymptotic_cc_true"),
            ("welch", "welch"),
        ] {
            if case[key].is_array() {
                wrong.extend(agrees(&name, id, &cells, pair(&case[key])).err());
            }
        }
        wrong.extend(agrees(&name, "wasserstein", &cells, (case["wasserstein"].as_f64().unwrap(), None)).err());
    }
    for (number, case) in oracle["tables"].as_array().unwrap().iter().enumerate() {
        let row = |place: usize| -> Vec<u64> {
            case["table"][place].as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).collect()
        };
        let cells = table(&row(0), &row(1));
        let name = format!("table {number}");
        wrong.extend(agrees(&name, "chi_square", &cells, pair(&case["chi2"])).err());
        wrong.extend(agrees(&name, "g", &cells, pair(&case["g_test"])).err());
        for (id, key) in
            [("jensen_shannon", "jensen_shannon_base2"), ("hellinger", "hellinger"), ("total_variation", "tvd")]
        {
            wrong.extend(agrees(&name, id, &cells, (case[key].as_f64().unwrap(), None)).err());
        }
        if case["fisher_two-sided"].is_array() {
            wrong.extend(agrees(&name, "fisher", &cells, pair(&case["fisher_two-sided"])).err());
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differ\n{}",
        wrong.len(),
        wrong.iter().take(40).cloned().collect::<Vec<_>>().join("\n")
    );
}

/// Of windows of latencies a test decides by the sketches' buckets as it does by the values themselves: of unmoved ones, and of those
/// that moved by up to a sixth, where every other p lies near the limit. `LEEWAY_TEST_LONG=1` takes 20,000 windows instead of 300.
#[test]
fn a_sketch_decides_as_its_values_do() {
    use rand::{RngExt, SeedableRng};
    let long = std::env::var_os("LEEWAY_TEST_LONG").is_some();
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(33);
    let mut window = |n: usize, moved: f64| -> (Vec<f64>, Sketch) {
        let (mut values, mut sketch) = (Vec::with_capacity(n), Sketch::default());
        for _ in 0..n {
            let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
            let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
            let micros = (800_000.0 * (moved + 0.8 * normal).exp()) as u64;
            sketch.push(micros);
            values.push(micros as f64);
        }
        (values, sketch)
    };
    let tests: Vec<Test> = Test::ALL.into_iter().filter(|test| test.takes() == Takes::Values).collect();
    // Unmoved, moved.
    let (mut alike, mut all) = (vec![[0usize; 2]; tests.len()], [0usize; 2]);
    for round in 0..if long { 20_000 } else { 300 } {
        let n = [300, 1_000, 2_500][round % 3];
        let moved = if round % 2 == 0 { 0.0 } else { (round % 150) as f64 / 1_000.0 };
        let ((before, old), (now, new)) = (window(n, 0.0), window(n, moved));
        let (values, buckets) = (raw(&before, &now), cells(&old, &new, 1.0));
        all[round % 2] += 1;
        for (place, test) in tests.iter().enumerate() {
            let decides = |cells: &[Cell]| compare(*test, cells, 0).is_ok_and(|verdict| verdict.p < 0.001);
            alike[place][round % 2] += usize::from(decides(&values) == decides(&buckets));
        }
    }
    for (test, [unmoved, moved]) in tests.iter().zip(&alike) {
        println!(
            "  {}: {unmoved} of {} unmoved and {moved} of {} moved windows decided alike",
            test.id(),
            all[0],
            all[1]
        );
        assert!(*unmoved as f64 >= 0.999 * all[0] as f64 && *moved as f64 >= 0.97 * all[1] as f64, "{}", test.id());
    }
}

#[test]
fn moments_alone_say_what_their_values_say() {
    let side = |values: &[f64]| {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        Some(Moments { n, mean, squares: values.iter().map(|value| (value - mean).powi(2)).sum() })
    };
    let (before, now): (Vec<f64>, Vec<f64>) =
        ((0..60).map(|i| f64::from(i % 7) - 3.0).collect(), (0..50).map(|i| f64::from(i % 5) - 1.5).collect());
    let by_values = compare(Test::Welch, &raw(&before, &now), 0).unwrap();
    let by_moments = compare_means(side(&before), side(&now), 0).unwrap();
    for (a, b) in [(by_values.p, by_moments.p), (by_values.effect, by_moments.effect)] {
        assert!((a - b).abs() <= 1e-12 * a.abs(), "{a} {b}");
    }
    assert_eq!(compare_means(side(&before), None, 0), Err(Inconclusive::NoData));
    let little = Inconclusive::TooLittle { reference: 0, current: 50, needed: 10 };
    assert_eq!(compare_means(None, side(&now), 0), Err(little));
    assert_eq!(compare_means(side(&[1.0; 20]), side(&[1.0; 20]), 0), Err(Inconclusive::Alike));
    let apart = compare_means(side(&[1.0; 20]), side(&[0.5; 20]), 0).unwrap();
    assert_eq!((apart.effect, apart.p), (-0.5, 0.0));
}
