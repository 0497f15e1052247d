//! How strange a row of a column is, and which rows are one incident.
//!
//! Null: the row's quantities (how far it is from the forecast; how far it and the means of the last rows are from the
//! baseline; how widely recent rows scatter; how long a value has stood still) are as rare as [`Tail`] says of
//! quantities of this column's past. The evidence is −log₁₀ of the smallest of these probabilities times their number
//! (Bonferroni), so a threshold on it is a rate of false alarms per row that means the same for every column.
//!
//! Guarantee: that of [`Tail`]: in the limit, for a column whose ways do not change. Assumptions beyond that: none on
//! the law of the values. The first [`WARM_UP`] rows are not judged.

use std::collections::VecDeque;

use super::outlook::{Expected, Mean};
use super::tail::Tail;

/// Rows that are learned from and not judged.
pub const WARM_UP: u64 = 20;
/// Rows that centre and spread remember.
const MEMORY: f64 = 1_000.0;
/// A normal law's standard deviation in mean absolute ones: √(π/2).
const DEVIATION: f64 = 1.253_314_137_315_500_3;
/// Rows of the means.
const WINDOWS: [usize; 3] = [4, 16, 64];
/// Levels of what is expected, each with errors of its own size.
const LEVELS: usize = 8;
/// Rows that the size of all errors counts for at a level.
const LEVEL_PRIOR: f64 = 6.0;
/// Rows whose scatter is looked at.
const SCATTER: usize = 20;
/// Evidence that an incident begins with.
pub const OPENS: f64 = 1.7;
/// What a row of an open incident needs to speak again: so many times the evidence so far, and so much more.
const LOUDER: (f64, f64) = (1.5, 0.5);
/// An incident lasts at most so many times the rows that end one.
const LONGEST: u64 = 12;
/// Fewer rows than this that differed from their centre say nothing of a tail.
const SHAPED: u64 = 8;
/// Probabilities of a row: of each quantity two, of a standstill one.
const QUANTITIES: f64 = (1 + 2 * (3 + WINDOWS.len())) as f64;
/// Errors are averaged up to this many usual ones.
const WIDEST: f64 = 50.0;
/// Evidence that makes half a score.
const HALF: f64 = 3.0;
/// What is beyond this in evidence is learned as less, by the fourth root of the excess: one incident does not become
/// the rule at once, and a law with heavy tails is learned all the same.
const LEARNED: f64 = 3.0;

/// One quantity, standardised by its own past, with both its tails.
#[derive(Debug, Clone)]
struct Quantity {
    centre: Mean,
    spread: Mean,
    up: Tail,
    down: Tail,
    /// Rows, and those that were not at the centre.
    rows: u64,
    moved: u64,
}

impl Quantity {
    /// `gap`: rows over which it depends on itself.
    fn new(gap: usize) -> Self {
        let tail = Tail::new(gap as u64);
        Self { centre: Mean::over(MEMORY), spread: Mean::over(MEMORY), up: tail.clone(), down: tail, rows: 0, moved: 0 }
    }

    /// Evidence of this value, before any correction; then learns it.
    fn step(&mut self, value: f64) -> f64 {
        if self.centre.rows() < 5.0 {
            self.learn(value);
            return 0.0;
        }
        let spread = self.spread.value.max(1e-9);
        let standard = (value - self.centre.value) / (spread * DEVIATION);
        let up = -self.up.ln_p(standard);
        let down = -self.down.ln_p(-standard);
        let evidence = up.max(down) / std::f64::consts::LN_10;
        // After n rows that were all alike another one has a chance of 1/(n + 1) or so (Laplace), whatever its size.
        let most = if self.moved < SHAPED { ((self.rows + 1) as f64 * QUANTITIES).log10() } else { f64::INFINITY };
        let evidence = evidence.min(most);
        let learned = if evidence > LEARNED { standard * (LEARNED / evidence).sqrt().sqrt() } else { standard };
        self.up.push(learned);
        self.down.push(-learned);
        self.learn(self.centre.value + learned.clamp(-8.0, 8.0) * spread * DEVIATION);
        evidence
    }

    fn learn(&mut self, value: f64) {
        self.rows += 1;
        self.moved += u64::from((value - self.centre.value).abs() > 1e-9 * (1.0 + value.abs()));
        if self.centre.rows() > 0.0 {
            self.spread.push((value - self.centre.value).abs());
        }
        self.centre.push(value);
    }
}

/// The sum of the last so many.
#[derive(Debug, Clone)]
struct Window {
    rows: usize,
    values: VecDeque<f64>,
}

impl Window {
    fn new(rows: usize) -> Self {
        Self { rows, values: VecDeque::with_capacity(rows) }
    }

    /// The mean, once the window is full.
    fn push(&mut self, value: f64) -> Option<f64> {
        if self.values.len() == self.rows {
            self.values.pop_front();
        }
        self.values.push_back(value);
        (self.values.len() == self.rows).then(|| self.values.iter().sum::<f64>() / self.rows as f64)
    }
}

/// How long the value has stood still: a first repeat has one chance, each further one another.
#[derive(Debug, Clone, Default)]
struct Still {
    last: Option<f64>,
    run: u32,
    /// Rows, and how many of them repeated their predecessor: after a new value, and after a repeat.
    rows: [f64; 2],
    repeats: [f64; 2],
}

impl Still {
    fn step(&mut self, value: f64) -> f64 {
        let (after_repeat, repeats) = (usize::from(self.run > 0), self.last == Some(value));
        let first = (self.repeats[0] + 0.5) / (self.rows[0] + 1.0);
        let further = (self.repeats[1] + 4.0) / (self.rows[1] + 5.0);
        self.run = if repeats { self.run + 1 } else { 0 };
        self.last = Some(value);
        let evidence: f64 = if repeats { -(first.log10() + f64::from(self.run - 1) * further.log10()) } else { 0.0 };
        // A long standstill is one event, not a new rule.
        if evidence < LEARNED {
            self.rows[after_repeat] += 1.0;
            self.repeats[after_repeat] += f64::from(u8::from(repeats));
        }
        evidence.min(6.0)
    }
}

/// How large errors are where so much is expected: busy hours err by more than quiet ones.
#[derive(Debug, Clone)]
struct Size {
    all: Mean,
    /// Upper edges of the levels, and the errors there.
    edges: Vec<f64>,
    levels: Vec<Mean>,
    seen: VecDeque<f64>,
    rows: u64,
}

impl Size {
    fn over(rows: f64) -> Self {
        let levels = vec![Mean::over(rows / 4.0); LEVELS];
        Self { all: Mean::over(rows), edges: Vec::new(), levels, seen: VecDeque::new(), rows: 0 }
    }

    /// The error in usual errors at this level, and a usual error; then learns it.
    fn scaled(&mut self, error: f64, level: f64) -> (f64, f64) {
        let least = (error.abs() + level.abs()) * 1e-9 + 1e-12;
        let place = self.edges.partition_point(|edge| *edge < level);
        let all = self.all.known().unwrap_or(error.abs()).max(least);
        let here = self.levels[place];
        let size = (here.value * here.rows() + all * LEVEL_PRIOR) / (here.rows() + LEVEL_PRIOR);
        self.all.push(error.abs().min(all * 6.0));
        self.levels[place].push(error.abs().min(size * 6.0));
        self.rows += 1;
        if self.seen.len() == 512 {
            self.seen.pop_front();
        }
        self.seen.push_back(level);
        if self.rows.is_power_of_two() && self.rows >= 64 && self.rows <= 4_096 {
            let mut sorted: Vec<f64> = self.seen.iter().copied().collect();
            sorted.sort_by(f64::total_cmp);
            self.edges = (1..LEVELS).map(|place| sorted[place * sorted.len() / LEVELS]).collect();
            self.levels = vec![Mean::over(self.all.most() / 4.0); LEVELS];
        }
        (error / size, size)
    }
}

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Judged {
    /// −log₁₀ of the probability of a row at least this strange.
    pub evidence: f64,
    /// 0 to 1; the rows of an incident after its first speak again only where they are stranger by far.
    pub score: f64,
    /// The row is the first of an incident, or far stranger than those before it.
    pub speaks: bool,
    pub in_incident: bool,
    /// The usual error of a forecast of this size.
    pub usual: f64,
}

/// Rows that belong together.
#[derive(Debug, Clone, Copy)]
struct Incident {
    /// Evidence of its loudest row.
    loudest: f64,
    /// Rows since the last strange one, and since the first.
    since: u64,
    rows: u64,
}

/// The state for one column.
#[derive(Debug, Clone)]
pub struct Anomaly {
    rows: u64,
    size: Size,
    off: Size,
    surprise: Quantity,
    departure: Quantity,
    means: Vec<(Window, Quantity)>,
    scatter: (Window, Quantity),
    still: Still,
    incident: Option<Incident>,
}

impl Default for Anomaly {
    fn default() -> Self {
        Self {
            rows: 0,
            size: Size::over(1_000.0),
            off: Size::over(1_000.0),
            surprise: Quantity::new(5),
            departure: Quantity::new(5),
            means: WINDOWS.iter().map(|rows| (Window::new(*rows), Quantity::new(*rows))).collect(),
            scatter: (Window::new(SCATTER), Quantity::new(SCATTER)),
            still: Still::default(),
            incident: None,
        }
    }
}

impl Anomaly {
    /// Judges a row from the rows before it, then learns it. An incident is over after `quiet` ordinary rows.
    pub fn step(&mut self, value: f64, expected: &Expected, quiet: u64) -> Judged {
        let (surprise, usual) = self.size.scaled(value - expected.next, expected.next);
        let evidence = self.evidence(value, surprise, expected.base);
        self.rows += 1;
        let evidence = if self.rows < WARM_UP { 0.0 } else { evidence };
        let speaks = self.speaks(evidence, quiet);
        let score = evidence / (evidence + HALF);
        let score = if speaks || self.incident.is_none() { score } else { score / 3.0 };
        Judged { evidence, score, speaks, in_incident: self.incident.is_some(), usual }
    }

    fn evidence(&mut self, value: f64, surprise: f64, base: Option<f64>) -> f64 {
        let mut most = self.surprise.step(surprise).max(self.still.step(value));
        if let Some(base) = base {
            let (departure, _) = self.off.scaled(value - base, base);
            most = most.max(self.departure.step(departure));
            for (window, quantity) in &mut self.means {
                if let Some(mean) = window.push(departure.clamp(-WIDEST, WIDEST)) {
                    most = most.max(quantity.step(mean));
                }
            }
        }
        let (window, quantity) = &mut self.scatter;
        if let Some(mean) = window.push(surprise.abs().min(WIDEST)) {
            // Logarithms: half as wide is as strange as twice. The addend keeps a perfect forecast finite.
            most = most.max(quantity.step((mean + 0.02).ln()));
        }
        (most - QUANTITIES.log10()).max(0.0)
    }

    /// Whether the first row of an incident, or one that is far stranger than its rows so far.
    fn speaks(&mut self, evidence: f64, quiet: u64) -> bool {
        let Some(incident) = &mut self.incident else {
            let begun = Incident { loudest: evidence, since: 0, rows: 0 };
            self.incident = (evidence >= OPENS).then_some(begun);
            return self.incident.is_some();
        };
        incident.rows += 1;
        incident.since = if evidence >= OPENS { 0 } else { incident.since + 1 };
        let louder = evidence >= incident.loudest * LOUDER.0 + LOUDER.1;
        if louder {
            incident.loudest = evidence;
        } else if incident.since >= quiet || incident.rows >= LONGEST * quiet {
            // What goes on for so long is how things are now.
            self.incident = None;
        }
        louder
    }
}
