//! Whether the level of a column has changed for good: a Shiryaev–Roberts e-detector on recursive residuals.
//!
//! Null: since the regime began, values are independent and normal with one mean and one variance, both unknown. Then
//! the recursive residuals (Brown, Durbin and Evans, J. R. Statist. Soc. B 37, 1975) follow Student's t with growing
//! degrees of freedom, independently, and their normal scores z are independent standard normal values. For each tilt λ
//! of a grid E exp(λz − λ²/2) = 1, so that M ← (1 + M)·exp(λz − λ²/2), averaged over the grid, is an e-detector:
//! the mean number of rows until M ≥ A under the null is at least A (Shin, Ramdas and Rinaldo, 2022, arXiv 2203.03532).
//!
//! Assumptions, and what is done where they fail: residuals are cut at [`CUT`] deviations, so that one outlier is no
//! change; where neighbours depend on one another with correlation ρ the log-likelihoods are divided by (1 + ρ)/(1 − ρ),
//! the ratio of the long-run variance to the variance, which is right for autoregression of order one and large numbers
//! only. A column that wanders has ρ near 1 and says nothing here. The guarantee is exact without these two steps.

use std::collections::VecDeque;

use leeway_core::interval::{Interval, normal_mixture};
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// Tilts, for both directions: changes of a twentieth of a deviation to one and a half.
const TILTS: [f64; 6] = [0.05, 0.1, 0.2, 0.4, 0.8, 1.6];
/// Residuals count for at most so many deviations.
const CUT: f64 = 3.5;
/// Changes of up to so many deviations are none.
const TOLERANCE: f64 = 0.5;
/// Rows of a regime before it is judged.
const LEAST: usize = 12;
/// A row teaches at most so many deviations: it may be an outlier, or the next regime.
const TAUGHT: f64 = 4.0;
/// A normal law's standard deviation in median absolute deviations.
const NORMAL_MAD: f64 = 1.482_602_218_505_602;
/// Rows kept to say when the change was.
const KEPT: usize = 2_048;
/// More dependence than this is a walk: no level to test.
const WALK: f64 = 0.95;
/// The interval is narrowest where so many independent rows are compared.
const INTERVAL_ROWS: f64 = 20.0;

/// A lasting change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// Rows since the change, as estimated: the split that explains the values best.
    pub rows: usize,
    /// The new level less the old one.
    pub effect: f64,
    /// Of the effect, given the split; 95 %, whenever it is looked at.
    pub interval: Interval,
    /// log₁₀ of the e-detector's value.
    pub evidence: f64,
}

/// The state of one column.
#[derive(Debug, Clone)]
pub struct Level {
    n: f64,
    mean: f64,
    squares: f64,
    /// Sum of squared differences of neighbours.
    steps: f64,
    last: f64,
    /// ln M for each tilt and direction.
    logs: [[f64; TILTS.len()]; 2],
    recent: VecDeque<f64>,
}

impl Default for Level {
    fn default() -> Self {
        let logs = [[f64::NEG_INFINITY; TILTS.len()]; 2];
        Self { n: 0.0, mean: 0.0, squares: 0.0, steps: 0.0, last: 0.0, logs, recent: VecDeque::new() }
    }
}

impl Level {
    /// Takes a row; `bar` is the mean number of rows between false alarms.
    pub fn step(&mut self, value: f64, bar: f64) -> Option<Change> {
        if self.n >= LEAST as f64 {
            self.weigh(value);
        }
        self.learn(value);
        let evidence = self.evidence();
        (evidence >= bar.ln()).then(|| self.change(evidence))
    }

    /// The mean of the e-detectors, as a logarithm.
    fn evidence(&self) -> f64 {
        let all = self.logs.as_flattened();
        let most = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if most == f64::NEG_INFINITY {
            return most;
        }
        most + (all.iter().map(|log| (log - most).exp()).sum::<f64>() / all.len() as f64).ln()
    }

    fn weigh(&mut self, value: f64) {
        let freedom = self.n - 1.0;
        let error = ((self.squares / freedom) * (1.0 + 1.0 / self.n)).sqrt();
        // After values that were all the same, any other is as far out as can be told.
        let residual = if value == self.mean { 0.0 } else { (value - self.mean) / error };
        let score = StudentsT::new(0.0, 1.0, freedom).map_or(0.0, |law| {
            // The lower tail of the smaller side, so that no digits are lost far out.
            let tail = if residual.is_finite() { law.cdf(-residual.abs()).max(1e-300) } else { 1e-300 };
            -Normal::standard().inverse_cdf(tail) * residual.signum()
        });
        let score = score.clamp(-CUT, CUT);
        let dependence = self.dependence();
        if dependence >= WALK {
            return;
        }
        let share = (1.0 - dependence) / (1.0 + dependence);
        for (logs, sign) in self.logs.iter_mut().zip([1.0, -1.0]) {
            for (log, tilt) in logs.iter_mut().zip(TILTS) {
                let gain = share * (tilt * (sign * score - TOLERANCE) - tilt * tilt / 2.0);
                // ln(1 + M) + gain, for M from nothing to far beyond all bars.
                let before = if *log > 0.0 { *log + (-*log).exp().ln_1p() } else { log.exp().ln_1p() };
                *log = before + gain;
            }
        }
    }

    /// Correlation of neighbours, from von Neumann's ratio; none below zero is believed.
    fn dependence(&self) -> f64 {
        if self.squares > 0.0 { (1.0 - self.steps / (2.0 * self.squares)).clamp(0.0, 1.0) } else { 0.0 }
    }

    fn learn(&mut self, value: f64) {
        if self.recent.len() == KEPT {
            self.recent.pop_front();
        }
        self.recent.push_back(value);
        match self.recent.len() {
            0..LEAST => {}
            LEAST if self.n == 0.0 => self.begin(),
            _ => {
                let most = TAUGHT * (self.squares / (self.n - 1.0)).sqrt();
                self.add(value.clamp(self.mean - most, self.mean + most));
            }
        }
    }

    /// The first rows together, so that an outlier among them teaches no more than one later.
    fn begin(&mut self) {
        let median = |values: &mut Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let middle = median(&mut self.recent.iter().copied().collect());
        let deviation = median(&mut self.recent.iter().map(|value| (value - middle).abs()).collect());
        let most = TAUGHT * deviation * NORMAL_MAD;
        let first: Vec<f64> = self.recent.iter().map(|value| value.clamp(middle - most, middle + most)).collect();
        first.into_iter().for_each(|value| self.add(value));
    }

    fn add(&mut self, value: f64) {
        if self.n > 0.0 {
            self.steps += (value - self.last).powi(2);
        }
        self.n += 1.0;
        let off = value - self.mean;
        self.mean += off / self.n;
        self.squares += off * (value - self.mean);
        self.last = value;
    }

    fn change(&self, evidence: f64) -> Change {
        // The split of the rows kept at which the two means differ most, in units of their error.
        let kept = self.recent.len() as f64;
        let total: f64 = self.recent.iter().sum();
        let (mut sum, mut best, mut place) = (0.0, -1.0, 1);
        for (index, value) in self.recent.iter().enumerate().take(self.recent.len() - 1) {
            sum += value;
            let (before, after) = ((index + 1) as f64, kept - (index + 1) as f64);
            let gain = (sum / before - (total - sum) / after).powi(2) * before * after / kept;
            if gain > best {
                (best, place) = (gain, index + 1);
            }
        }
        let mean = |values: &mut dyn Iterator<Item = &f64>, n: f64| values.sum::<f64>() / n;
        let (before, after) = (place as f64, kept - place as f64);
        let (old, new) =
            (mean(&mut self.recent.iter().take(place), before), mean(&mut self.recent.iter().skip(place), after));
        let within = |(index, value): (usize, &f64)| (value - if index < place { old } else { new }).powi(2);
        let variance = self.recent.iter().enumerate().map(within).sum::<f64>() / (kept - 2.0).max(1.0);
        let dependence = self.dependence().min(WALK);
        let rows = before * after / kept * (1.0 - dependence) / (1.0 + dependence);
        let half = normal_mixture(rows, INTERVAL_ROWS, 0.05) / rows * variance.sqrt();
        let effect = new - old;
        Change {
            rows: self.recent.len() - place,
            effect,
            interval: Interval::between(effect - half, effect + half),
            evidence: evidence / std::f64::consts::LN_10,
        }
    }

    /// Forgets the evidence so far, and not the regime.
    pub fn calm(&mut self) {
        self.logs = [[f64::NEG_INFINITY; TILTS.len()]; 2];
    }

    /// Begins a new regime with the last `rows` rows, lowered by `effect`.
    pub fn restart(&mut self, rows: usize, effect: f64) {
        let skip = self.recent.len().saturating_sub(rows);
        let kept: Vec<f64> = self.recent.iter().skip(skip).map(|value| value - effect).collect();
        *self = Self::default();
        kept.into_iter().for_each(|value| self.learn(value));
    }
}
