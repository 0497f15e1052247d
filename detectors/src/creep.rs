//! Slow change that no week shows by itself: the seasonal Kendall test over values of days, with the weekdays as seasons.
//!
//! Null: values of one weekday are exchangeable over the weeks, and days independent: what a whole week shares makes it eager (five weeks are too few
//! to estimate Hirsch and Slack's covariances of 1984). Statistic (Hirsch, Slack and Smith, Water Resources Research
//! 18, 1982): S = Σ over weekdays Σ_{i<j} sign(x_j − x_i), its variance that of Kendall's S with ties, p by the normal law with
//! continuity. Slope: the median of all (x_j − x_i)/(j − i) within weekdays, in values a week; its 95 % interval by the slopes'
//! order statistics (Gilbert, Statistical Methods for Environmental Pollution Monitoring, 1987, section 17.5). A step is a trend to this test:
//! `steepest` says how much of the change lies between two neighbouring weeks.

use leeway_core::special::normal_tail;

const SURE: f64 = 1.959_963_984_540_054;
/// Values of days that are needed, and the weeks that they span.
const DAYS: usize = 20;
const WEEKS: i64 = 4;
/// Days of a week whose median stands for it.
const FULL: usize = 5;

/// A slow change, or none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Creep {
    /// Two-sided.
    pub p: f64,
    /// By week, with its 95 % interval.
    pub slope: f64,
    pub low: f64,
    pub high: f64,
    /// Medians of the first and the last week of five days or more.
    pub first: f64,
    pub last: f64,
    /// Weeks from the first to the last of these.
    pub weeks: i64,
    /// The largest part of the way from the first to the last week that lies between two neighbours, and which the later one is: 0
    /// is the last week, −1 the one before.
    pub steepest: (f64, i64),
    /// The last day.
    pub until: i64,
    pub days: usize,
}

/// `days`: numbers of days with their values, in any order. `None`: fewer than 20 days, or less than four weeks.
pub fn creep(days: &[(i64, f64)]) -> Option<Creep> {
    let mut days: Vec<(i64, f64)> = days.iter().copied().filter(|(_, value)| value.is_finite()).collect();
    days.sort_by_key(|(day, _)| *day);
    let (first, last) = (days.first()?.0, days.last()?.0);
    // Weeks that end with the last day.
    let week = |day: i64| (day - last - 1).div_euclid(7) + 1;
    if days.len() < DAYS || last - first < 7 * (WEEKS - 1) {
        return None;
    }
    let (mut s, mut variance, mut slopes) = (0.0, 0.0, Vec::new());
    for weekday in 0..7 {
        let own: Vec<(i64, f64)> = days.iter().copied().filter(|(day, _)| day.rem_euclid(7) == weekday).collect();
        for (place, (day, value)) in own.iter().enumerate() {
            for (later, next) in &own[place + 1..] {
                s += (next - value).partial_cmp(&0.0).map_or(0.0, |order| f64::from(order as i8));
                slopes.push((next - value) / ((later - day) / 7) as f64);
            }
        }
        variance += variance_of(&own);
    }
    slopes.sort_by(f64::total_cmp);
    let deviation: f64 = variance.sqrt();
    let z = if s == 0.0 || deviation == 0.0 { 0.0 } else { (s.abs() - 1.0) / deviation };
    let n = slopes.len() as f64;
    let rank = |rank: f64| slopes[(rank.max(1.0) as usize).min(slopes.len()) - 1];
    let (low, high) =
        (rank(((n - SURE * deviation) / 2.0).floor()), rank(((n + SURE * deviation) / 2.0).floor() + 1.0));
    // A week of few days is another one by its weekdays.
    let of = |number: i64| {
        let own: Vec<f64> = days.iter().filter(|(day, _)| week(*day) == number).map(|(_, value)| *value).collect();
        if own.len() >= FULL { middle(own) } else { None }
    };
    let weeks: Vec<(i64, f64)> =
        (week(first)..=0).filter_map(|number| of(number).map(|median| (number, median))).collect();
    let (until, (from, first), (to, last)) = (last, *weeks.first()?, *weeks.last()?);
    let part = |from: f64, to: f64| if last == first { 0.0 } else { (to - from) / (last - first) };
    let steps = weeks.windows(2).map(|pair| (part(pair[0].1, pair[1].1), pair[1].0));
    let steepest = steps.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((0.0, 0));
    let p = (2.0 * normal_tail(z)).min(1.0);
    Some(Creep {
        p,
        slope: middle(slopes)?,
        low,
        high,
        first,
        last,
        steepest,
        until,
        weeks: to - from + 1,
        days: days.len(),
    })
}

/// Of Kendall's S of one season: n(n − 1)(2n + 5)/18, less what ties take.
fn variance_of(values: &[(i64, f64)]) -> f64 {
    let term = |n: f64| n * (n - 1.0) * (2.0 * n + 5.0);
    let mut sorted: Vec<f64> = values.iter().map(|(_, value)| *value).collect();
    sorted.sort_by(f64::total_cmp);
    let ties: f64 = sorted.chunk_by(|a, b| a == b).map(|tie| term(tie.len() as f64)).sum();
    (term(values.len() as f64) - ties) / 18.0
}

fn middle(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    (n > 0).then(|| f64::midpoint(values[(n - 1) / 2], values[n / 2]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    fn of(values: &[f64]) -> Option<Creep> {
        creep(&(0..).zip(values.iter().copied()).collect::<Vec<_>>())
    }

    #[test]
    fn it_is_pymannkendalls_seasonal_test() {
        // pymannkendall 1.4.3: seasonal_test(x, period=7): p and slope.
        let gap = f64::NAN;
        let cases: [(&[f64], f64, f64); 4] = [
            (
                &[
                    104.08, 104.89, 120.84, 128.86, 139.09, 149.57, 155.96, 101.54, 110.27, 128.65, 132.45, 141.29,
                    151.44, 160.66, 101.89, 113.22, 124.96, 133.52, 145.92, 153.6, 164.05, 109.09, 117.09, 124.99,
                    135.63, 147.08, 159.87, 165.46, 107.51, 120.0, 126.23, 137.42, 149.77, 159.16, 168.18,
                ],
                3.542_863_871_164_314_6e-07,
                2.398_750_000_000_003_3,
            ),
            (
                &[
                    1.0, -3.0, 1.0, -1.0, -2.0, 0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, -1.0, 1.0, 1.0,
                    0.0, -1.0, 0.0, -2.0, 1.0, 0.0, -2.0, 0.0, -1.0, 1.0, -2.0, -1.0, 1.0, 1.0, -2.0, 0.0,
                ],
                0.760_268_227_346_967_4,
                0.0,
            ),
            (
                &[
                    0.328, -0.609, 1.591, -1.191, 0.355, -1.048, 1.406, -0.022, -0.372, -1.718, 1.682, 0.753, 0.754,
                    1.138, 0.349, -0.639, -0.8, -0.8, 1.37, -1.46, -0.596, -0.321, 0.225, 0.575, -1.249, -1.73, -0.004,
                    1.214,
                ],
                0.700_115_585_111_098_5,
                -0.041_666_666_666_666_67,
            ),
            (
                &[
                    5.76, 5.22, 4.68, gap, 4.76, 5.82, 4.21, 5.43, 5.19, 5.84, gap, 7.85, 6.8, 6.8, 3.56, 5.26, 4.99,
                    6.13, 3.32, 6.77, gap, 4.6, 4.92, 5.1, 5.94, 6.54, 7.95, 5.7, 6.97, 6.36, 7.96, 6.94, 7.57, 5.12,
                    6.01,
                ],
                0.219_868_930_444_845_57,
                0.3025,
            ),
        ];
        for (values, p, slope) in cases {
            let found = of(values).unwrap();
            assert!((found.p.ln() - p.ln()).abs() < 1e-9 * p.ln().abs().max(1.0), "{found:?} {p}");
            assert!((found.slope - slope).abs() < 1e-12, "{found:?} {slope}");
            assert!(found.low <= found.slope && found.slope <= found.high, "{found:?}");
        }
    }

    #[test]
    fn a_step_is_told_from_a_slope_and_too_little_is_none() {
        let slope: Vec<f64> = (0..35).map(|day| f64::from(day / 7) + 10.0 * f64::from(day % 7)).collect();
        let found = of(&slope).unwrap();
        assert_eq!((found.slope, found.low, found.high), (1.0, 1.0, 1.0));
        assert_eq!((found.first, found.last, found.steepest.0), (30.0, 34.0, 0.25));
        let step: Vec<f64> = (0..35).map(|day| if day < 21 { 1.0 } else { 2.0 }).collect();
        assert_eq!(of(&step).unwrap().steepest, (1.0, -1));
        assert_eq!(of(&slope[..19]), None);
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[f64::INFINITY; 40]), None);
        let still = of(&[3.0; 35]).unwrap();
        assert_eq!((still.p, still.slope), (1.0, 0.0));
    }

    /// Of independent days with a week's cycle: the level of the test, and the coverage of the slope's interval.
    #[test]
    fn the_level_and_the_interval_hold() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(5);
        let rounds = 2_000;
        let (mut rejected, mut inside) = (0, 0);
        for _ in 0..rounds {
            let mut noise = || -> f64 { (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0 };
            let null: Vec<f64> = (0..35).map(|day| 3.0 * f64::from(day % 7) + noise()).collect();
            rejected += u32::from(of(&null).unwrap().p < 0.05);
            let moved: Vec<f64> = null.iter().enumerate().map(|(day, value)| value + 0.4 * (day / 7) as f64).collect();
            let found = of(&moved).unwrap();
            inside += u32::from(found.low <= 0.4 && 0.4 <= found.high);
        }
        let share = |count: u32| f64::from(count) / f64::from(rounds);
        println!("  rejected {:.3}, interval holds {:.3}", share(rejected), share(inside));
        assert!(share(rejected) < 0.06 && (0.93..0.98).contains(&share(inside)));
    }
}
