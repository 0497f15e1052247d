//! What the detectors of one column owe: their rate of false alarms, and what they find.

use leeway_core::clock::{DAY, MINUTE};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::column::{Alarm, Column, Step, Watch};
use super::level::Level;
use super::tail::Tail;

fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (u, v): (f64, f64) = (rng.random::<f64>().max(1e-300), rng.random());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

fn exponential(rng: &mut ChaCha8Rng) -> f64 {
    -rng.random::<f64>().max(1e-300).ln()
}

type Law = fn(&mut ChaCha8Rng, u64, f64) -> f64;

/// Columns whose ways do not change: name, and the next value from the row and the last value. Rows are five minutes
/// apart.
const NULLS: [(&str, Law); 9] = [
    ("normal", |rng, _, _| normal(rng)),
    ("lognormal", |rng, _, _| (6.0 + 0.6 * normal(rng)).exp()),
    ("uniform", |rng, _, _| rng.random::<f64>() * 6.0 + 17.0),
    ("exponential", |rng, _, _| exponential(rng)),
    ("autoregressive 0.5", |rng, _, last| 0.5 * last + normal(rng)),
    ("autoregressive 0.9", |rng, _, last| 0.9 * last + normal(rng)),
    ("daily cycle", |rng, row, _| 50.0 + 25.0 * (row as f64 / 288.0 * std::f64::consts::TAU).sin() + 2.0 * normal(rng)),
    ("rare spikes", |rng, _, _| {
        exponential(rng) + if rng.random::<f64>() < 0.02 { 100.0 * exponential(rng) } else { 0.0 }
    }),
    ("ratings", |rng, _, _| f64::from([1, 2, 3, 3, 4, 4, 4, 5, 5, 5][rng.random_range(0..10)])),
];

fn watch(values: &[f64], watch: Watch, bar: f64) -> (Vec<Alarm>, Vec<Step>) {
    let mut column = Column::new(watch, bar, true);
    let steps: Vec<Step> = (0i64..)
        .zip(values)
        .map(|(row, value)| column.step(1_700_000_000_000_000 + row * 5 * MINUTE, *value))
        .collect();
    let mut alarms: Vec<Alarm> = steps.iter().flat_map(|step| step.closed.clone()).collect();
    alarms.extend(column.finish());
    (alarms, steps)
}

fn draw(law: Law, rows: u64, seed: u64) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut last = 0.0;
    (0..rows)
        .map(|row| {
            last = law(&mut rng, row, last);
            last
        })
        .collect()
}

/// The setting is a bound on the rate of each detector's false alarms, and it is kept.
#[test]
fn false_alarms_stay_within_the_setting() {
    let (rows, columns, bar) = (5_000, 12, 1_000.0);
    for (name, law) in NULLS {
        for (id, which) in [("anomaly", Watch::Anomaly), ("level", Watch::Level)] {
            let alarms: usize = (0..columns).map(|seed| watch(&draw(law, rows, seed), which, bar).0.len()).sum();
            let every = (rows * columns) as f64 / alarms.max(1) as f64;
            println!("  {name}: {id}: {alarms} false alarms, one in {every:.0} rows");
            assert!(every >= bar, "{name}: {id}: {alarms} false alarms in {} rows", rows * columns);
        }
    }
}

/// The e-detector alone: its mean distance between false alarms is at least what is asked for, exactly so for
/// independent normal values.
#[test]
fn the_level_keeps_its_bound_on_normal_values() {
    let (rows, columns, bar) = (4_000, 20, 100.0);
    let mut alarms = 0;
    for seed in 0..columns {
        let mut level = Level::default();
        for value in draw(NULLS[0].1, rows, seed) {
            if level.step(value, bar).is_some() {
                alarms += 1;
                level = Level::default();
            }
        }
    }
    println!(
        "  level: one false alarm in {:.0} rows, asked for {bar}",
        (rows * columns) as f64 / f64::from(alarms.max(1))
    );
    assert!(f64::from(alarms) <= (rows * columns) as f64 / bar, "{alarms}");
}

/// A column of two weeks with a daily cycle, and what happens to it from a row on.
fn column_with(happens: impl Fn(usize, f64) -> f64, seed: u64) -> Vec<f64> {
    draw(NULLS[6].1, 4_032, seed).into_iter().enumerate().map(|(row, value)| happens(row, value)).collect()
}

const ROW: usize = 2_500;

#[test]
fn spikes_standstills_noise_and_shifts_are_found_where_they_are() {
    let during = |rows: usize| move |row: usize| (ROW..ROW + rows).contains(&row);
    let (spike, short, long) = (during(1), during(36), during(600));
    type Happens<'a> = &'a dyn Fn(usize, f64) -> f64;
    let flat = column_with(|_, value| value, 4)[ROW];
    let cases: [(&str, usize, Happens<'_>); 5] = [
        ("a spike", 2, &|row, value| if spike(row) { value + 40.0 } else { value }),
        ("a dip", 2, &|row, value| if spike(row) { value - 40.0 } else { value }),
        ("a standstill", 25, &|row, value| if short(row) { flat } else { value }),
        ("a shift", 8, &|row, value| if long(row) { value + 12.0 } else { value }),
        ("noise", 20, &|row, value| if short(row) { value + if row % 2 == 0 { 12.0 } else { -12.0 } } else { value }),
    ];
    for (name, within, happens) in cases {
        let (alarms, steps) = watch(&column_with(happens, 4), Watch::Both, 1_000.0);
        let found = alarms.iter().any(|alarm| (ROW..ROW + within).contains(&(alarm.at as usize)));
        assert!(found, "{name}: {alarms:?}");
        let loudest = steps[ROW..ROW + within].iter().map(|step| step.score).fold(0.0, f64::max);
        let calm = steps[1_000..ROW].iter().map(|step| step.score).fold(0.0, f64::max);
        assert!(loudest > 0.5 && loudest > calm, "{name}: {loudest} against {calm}");
        assert!(steps.iter().all(|step| (0.0..=1.0).contains(&step.score)));
    }
}

#[test]
fn a_change_of_level_is_dated_and_sized() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let values: Vec<f64> = (0..300).map(|row| normal(&mut rng) + if row < 170 { 10.0 } else { 13.0 }).collect();
    let (alarms, _) = watch(&values, Watch::Level, 1_000.0);
    let [alarm] = &alarms[..] else { panic!("{alarms:?}") };
    assert!(alarm.at < 180 && alarm.change_estimated_at.unwrap().abs_diff(170) <= 2, "{alarm:?}");
    assert!(alarm.interval.low.unwrap() > 0.0 && (alarm.interval.low..=alarm.interval.high).contains(&Some(3.0)));
    // The same again in both together is one alarm, with its date.
    let (both, _) = watch(&values, Watch::Both, 1_000.0);
    assert_eq!(both.iter().filter(|alarm| alarm.change_estimated_at.is_some()).count(), 1, "{both:?}");
    // After values that were all the same, a new one is a change too.
    let steps: Vec<f64> = (0..200).map(|row| if row < 100 { 0.0 } else { 5.0 }).collect();
    let (alarms, _) = watch(&steps, Watch::Level, 1_000.0);
    assert_eq!(alarms.iter().map(|alarm| alarm.change_estimated_at).collect::<Vec<_>>(), [Some(100)], "{alarms:?}");
}

#[test]
fn strange_columns_are_no_reason_to_fall() {
    let huge = f64::MAX / 4.0;
    let columns: [Vec<f64>; 8] = [
        vec![],
        vec![1.0],
        vec![0.0; 3_000],
        vec![huge; 500],
        (0..500).map(|row| if row % 2 == 0 { huge } else { -huge }).collect(),
        (0..500).map(|row| if row % 100 == 99 { huge } else { 1.0 }).collect(),
        (0..500).map(|row| f64::from(row) * 1e300).collect(),
        (0..500).map(|row| f64::MIN_POSITIVE * f64::from(row % 7)).collect(),
    ];
    for values in &columns {
        let (_, steps) = watch(values, Watch::Both, 100.0);
        assert!(steps.iter().all(|step| (0.0..=1.0).contains(&step.score)), "{values:?}");
    }
    let (alarms, _) = watch(&columns[2], Watch::Both, 100.0);
    assert!(alarms.is_empty(), "nothing happened: {alarms:?}");
    // Times that stand still, run backwards or jump by a century.
    let mut column = Column::new(Watch::Both, 100.0, true);
    for row in 0..2_000i64 {
        let at = [row * MINUTE, 0, -row * DAY, i64::MAX / 2, i64::MIN / 2][(row % 5) as usize];
        let step = column.step(at, row as f64 % 9.0);
        assert!((0.0..=1.0).contains(&step.score));
    }
}

/// Where a law is known, the tail's probability is that of the law, give or take a factor.
#[test]
fn tails_are_as_rare_as_they_say() {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let mut tail = Tail::new(1);
    (0..8_000).for_each(|_| tail.push((exponential(&mut rng) - 1.0) / 1.0));
    for p in [1e-3f64, 1e-4, 1e-5, 1e-6] {
        let said = tail.ln_p(-p.ln() - 1.0).exp();
        assert!((p / 10.0..p * 10.0).contains(&said), "{said:e} for {p:e}");
    }
    assert!(tail.ln_p(f64::NAN) == 0.0 && tail.ln_p(1e300) >= -28.0);
}

#[test]
fn the_same_rows_give_the_same_bits() {
    let values = column_with(|row, value| if row % 977 == 0 { value * 3.0 } else { value }, 9);
    let (first, second) = (watch(&values, Watch::Both, 500.0), watch(&values, Watch::Both, 500.0));
    assert_eq!(first, second);
}
