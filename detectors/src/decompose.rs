//! Why a figure moved: slices grew or shrank (mix), or behave differently inside (behaviour).
//!
//! Kitagawa's decomposition (J. Am. Stat. Assoc. 50, 1955): of R = Σ w·r, a slice's mix is Δw · (mean of its two levels − mean of the
//! two totals), its behaviour (mean of its two weights) · Δr; all of them add up to ΔR. A slice that is there on one side alone is mix.
//! It tells where a change is, not what caused it. Variances of levels are taken as independent, weights as known.

/// One slice of a figure that is a mean over what it counts.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Slice {
    pub before: Side,
    pub now: Side,
}

/// A slice in one period.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Side {
    /// What it counts: calls, labels.
    pub n: f64,
    /// Its level; `None` where it counts nothing.
    pub level: Option<f64>,
    /// The level's variance, where it is an estimate.
    pub variance: Option<f64>,
}

/// A part of a change and its standard deviation, where levels are estimates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part {
    pub value: f64,
    pub deviation: Option<f64>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Decomposed {
    pub before: f64,
    pub now: f64,
    pub mix: Part,
    pub behaviour: Part,
    /// What each slice adds to the change, in their order.
    pub slices: Vec<f64>,
}

/// `None` where a side counts nothing.
pub fn decompose(slices: &[Slice]) -> Option<Decomposed> {
    let total = |side: fn(&Slice) -> Side| -> Option<(f64, f64)> {
        let n: f64 = slices.iter().map(|slice| side(slice).n).sum();
        let sum: f64 = slices.iter().map(|slice| side(slice).n * side(slice).level.unwrap_or(0.0)).sum();
        (n > 0.0).then(|| (n, sum / n))
    };
    let ((n_before, before), (n_now, now)) = (total(|slice| slice.before)?, total(|slice| slice.now)?);
    let middle = (before + now) / 2.0;
    let (mut mix, mut behaviour, mut parts) = ([0.0; 2], [0.0; 2], Vec::new());
    // A level without a variance of its own (of one value) has that of the others, value by value.
    let known =
        || slices.iter().flat_map(|slice| [slice.before, slice.now]).filter_map(|side| Some((side.n, side.variance?)));
    let estimated = known().next().is_some();
    let (weighed, all) = known().fold((0.0, 0.0), |(sum, all), (n, variance)| (sum + n * n * variance, all + n));
    let variance = |side: &Side| side.variance.unwrap_or(if all > 0.0 { weighed / all / side.n.max(1.0) } else { 0.0 });
    for Slice { before, now } in slices {
        let (earlier, later) = (before.n / n_before, now.n / n_now);
        let (Some(was), Some(is)) = (before.level.or(now.level), now.level.or(before.level)) else {
            parts.push(0.0);
            continue;
        };
        let (grown, weight) = (later - earlier, (later + earlier) / 2.0);
        let (of_mix, of_behaviour) = (grown * ((was + is) / 2.0 - middle), weight * (is - was));
        let both = before.level.is_some() && now.level.is_some();
        let of = |side: &Side| if side.level.is_some() { variance(side) } else { 0.0 };
        let variance = of(before) + of(now);
        // A level that stands for both sides is one estimate, and twice in their mean.
        mix[1] += (grown / 2.0).powi(2) * if both { variance } else { 4.0 * variance };
        behaviour[1] += if both { weight * weight * variance } else { 0.0 };
        mix[0] += of_mix;
        behaviour[0] += of_behaviour;
        parts.push(of_mix + of_behaviour);
    }
    let part = |[value, variance]: [f64; 2]| Part { value, deviation: estimated.then(|| variance.sqrt()) };
    Some(Decomposed { before, now, mix: part(mix), behaviour: part(behaviour), slices: parts })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn side(n: f64, level: f64) -> Side {
        Side { n, level: (n > 0.0).then_some(level), variance: (n > 0.0).then(|| level * (1.0 - level) / n) }
    }

    #[test]
    fn a_moved_mix_and_a_moved_behaviour_are_told_apart() {
        // Two slices that fail as ever; the bad one has three times the calls.
        let mix = [
            Slice { before: side(900.0, 0.01), now: side(700.0, 0.01) },
            Slice { before: side(100.0, 0.2), now: side(300.0, 0.2) },
        ];
        let found = decompose(&mix).unwrap();
        assert!((found.mix.value - 0.038).abs() < 1e-12 && found.behaviour.value.abs() < 1e-12, "{found:?}");
        // The same weights; one slice fails more.
        let behaviour = [
            Slice { before: side(900.0, 0.01), now: side(900.0, 0.01) },
            Slice { before: side(100.0, 0.2), now: side(100.0, 0.5) },
        ];
        let found = decompose(&behaviour).unwrap();
        assert!((found.behaviour.value - 0.03).abs() < 1e-12 && found.mix.value.abs() < 1e-12, "{found:?}");
        assert!(found.slices[0].abs() < 1e-12 && (found.slices[1] - 0.03).abs() < 1e-12);
        // 0.1 · √(0.2·0.8/100 + 0.5·0.5/100), and the other slice's 0.9 · √(2·0.01·0.99/900).
        let deviation = (0.01f64 * 0.0041 + 0.81 * 2.0 * 0.0099 / 900.0).sqrt();
        assert!((found.behaviour.deviation.unwrap() - deviation).abs() < 1e-12);
    }

    #[test]
    fn a_new_slice_is_mix_and_nothing_is_nothing() {
        let slices = [
            Slice { before: side(100.0, 0.1), now: side(100.0, 0.1) },
            Slice { before: Side::default(), now: side(100.0, 0.5) },
        ];
        let found = decompose(&slices).unwrap();
        assert!(found.behaviour.value.abs() < 1e-12 && (found.mix.value - 0.2).abs() < 1e-12, "{found:?}");
        assert_eq!(decompose(&[]), None);
        assert_eq!(decompose(&[Slice { before: side(5.0, 0.1), now: Side::default() }]), None);
    }

    #[test]
    fn a_level_of_one_value_is_as_unsure_as_the_others() {
        let known = Slice { before: side(100.0, 0.5), now: side(100.0, 0.5) };
        let single = Side { n: 1.0, level: Some(0.5), variance: None };
        let slices = [known, Slice { before: single, now: single }];
        let deviation = decompose(&slices).unwrap().behaviour.deviation.unwrap();
        // Weights 100/101 and 1/101; variances 0.25/100 and 0.25, twice each.
        let expected = (2.0 * ((100.0f64 / 101.0).powi(2) * 0.0025 + (1.0f64 / 101.0).powi(2) * 0.25)).sqrt();
        assert!((deviation - expected).abs() < 1e-12, "{deviation}");
    }

    proptest! {
        #[test]
        fn parts_add_up_to_the_change(slices in proptest::collection::vec((0u32..50, 0.0f64..1.0, 0u32..50, 0.0f64..1.0), 1..9)) {
            let slices: Vec<Slice> = slices.into_iter()
                .map(|(n, level, m, other)| Slice { before: side(n.into(), level), now: side(m.into(), other) })
                .collect();
            if let Some(found) = decompose(&slices) {
                let sum = found.mix.value + found.behaviour.value;
                prop_assert!((sum - (found.now - found.before)).abs() < 1e-12);
                prop_assert!((found.slices.iter().sum::<f64>() - sum).abs() < 1e-12);
            }
        }
    }

    /// Coverage of the interval of the behaviour, under a change of nothing but chance.
    #[test]
    fn the_deviation_is_what_repetition_shows() {
        use rand::{RngExt, SeedableRng};
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        let mut draw = |n: u32, p: f64| {
            let hits = (0..n).filter(|_| rng.random::<f64>() < p).count();
            side(n.into(), hits as f64 / f64::from(n))
        };
        let rounds = 2_000;
        let inside = (0..rounds)
            .filter(|_| {
                let slices = [
                    Slice { before: draw(400, 0.3), now: draw(500, 0.3) },
                    Slice { before: draw(200, 0.1), now: draw(150, 0.1) },
                ];
                let found = decompose(&slices).unwrap().behaviour;
                found.value.abs() <= 1.96 * found.deviation.unwrap()
            })
            .count();
        assert!((0.93..0.97).contains(&(inside as f64 / f64::from(rounds))), "{inside}");
    }
}
