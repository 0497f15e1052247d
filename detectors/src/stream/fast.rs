//! FOCuS: the likelihood ratio of one change, maximised over its time and size, row by row.
//!
//! For a one-parameter exponential family the best time of a change is a vertex of the convex hull of (k, S_k), the sums
//! before each row: of the lower hull for a rise, of the upper one for a fall (Romano, Eckley, Fearnhead and Rigaill, J. Mach. Learn. Res. 24,
//! 2023; Ward, Dilillo, Eckley and Fearnhead 2023). Both hulls are kept as stacks: amortised constant time to keep them, and about as many
//! vertices as the logarithm of the rows to look at. Null: rows are independent values of the family with the parameter given, or with one
//! unknown mean. Guarantee: none of itself; the mean distance between false alarms at a threshold is found by simulation.

/// The family of the rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Family {
    /// Variance 1, this mean.
    Normal(f64),
    /// Variance 1, a mean that nobody knows.
    NormalUnknown,
    /// 0 or 1, with this probability of 1.
    Bernoulli(f64),
    /// Counts with this mean.
    Poisson(f64),
}

/// Vertices of a hull that are kept: with more, the oldest times are no longer looked at.
const MOST: usize = 512;

/// The state of one stream.
#[derive(Debug, Clone)]
pub struct Fast {
    family: Family,
    rows: f64,
    sum: f64,
    /// (k, S_k): before rises, and before falls.
    hulls: [Vec<(f64, f64)>; 2],
}

/// What is most likely, if anything changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peak {
    /// The logarithm of the likelihood ratio.
    pub statistic: f64,
    /// Rows since the change.
    pub rows: f64,
}

impl Fast {
    pub fn new(family: Family) -> Self {
        Self { family, rows: 0.0, sum: 0.0, hulls: [Vec::new(), Vec::new()] }
    }

    /// Takes a row. What is no finite number is left out and says nothing.
    pub fn step(&mut self, value: f64) -> Option<Peak> {
        if !value.is_finite() {
            return None;
        }
        let point = (self.rows, self.sum);
        for (hull, sign) in self.hulls.iter_mut().zip([1.0, -1.0]) {
            // The middle one of three is no vertex unless the path turns the hull's way there.
            while let [.., first, middle] = hull[..]
                && sign * ((middle.1 - first.1) * (point.0 - middle.0) - (point.1 - middle.1) * (middle.0 - first.0))
                    >= 0.0
            {
                hull.pop();
            }
            if hull.len() == MOST {
                hull.remove(0);
            }
            hull.push(point);
        }
        self.rows += 1.0;
        self.sum += value;
        let all = self.hulls.iter().flatten();
        let peaks = all.filter_map(|split| Some(Peak { statistic: self.ratio(*split)?, rows: self.rows - split.0 }));
        let none = Peak { statistic: 0.0, rows: self.rows };
        Some(peaks.fold(none, |best, peak| if peak.statistic > best.statistic { peak } else { best }))
    }

    /// ln of the likelihood ratio of a change at the split; `None` where it cannot be told.
    fn ratio(&self, (before, sum): (f64, f64)) -> Option<f64> {
        let (n, s) = (self.rows - before, self.sum - sum);
        // x ln(x/y), which is 0 for x = 0.
        let term = |x: f64, y: f64| if x > 0.0 { x * (x / y).ln() } else { 0.0 };
        match self.family {
            Family::Normal(mean) => Some((s - n * mean).powi(2) / (2.0 * n)),
            Family::NormalUnknown if before == 0.0 => None,
            Family::NormalUnknown => Some((s / n - sum / before).powi(2) * n * before / (2.0 * self.rows)),
            Family::Bernoulli(p) => Some(term(s, n * p) + term(n - s, n * (1.0 - p))),
            Family::Poisson(mean) => Some(term(s, n * mean) - (s - n * mean)),
        }
    }

    /// Vertices kept, of both hulls.
    pub fn size(&self) -> usize {
        self.hulls.iter().map(Vec::len).sum()
    }
}
