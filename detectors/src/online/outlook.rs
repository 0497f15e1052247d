//! What a column of numbers is expected to do next, from its past alone.
//!
//! A few simple forecasts run side by side: the last value, a mean of recent ones, and for each season (day, week,
//! year, or a cycle found by autocorrelation) the profile of its slots, with and without the present level. The one
//! whose absolute errors were smallest lately is believed. The same holds for the slow baseline, against which lasting
//! departures show, from the long mean and the profiles.

use std::collections::VecDeque;

use leeway_core::clock::{DAY, Micros};

/// Rows after which the distance of rows is known.
const SETTLE: usize = 12;
/// Rows kept for the search of cycles.
const RECENT: usize = 2_048;
/// The autocorrelation that makes a cycle.
const CYCLE: f64 = 0.5;
/// Errors beyond this many times their mean count as so many: one outlier does not unseat a forecast.
const CLIP: f64 = 4.0;
/// A season whose profile errs less than this share of the mean's error is one.
const SEASONAL: f64 = 0.7;
/// Most slots of a profile.
const SLOTS: i64 = 2_016;

/// A mean that forgets: plain at first, exponentially weighted once it has seen enough.
#[derive(Debug, Clone, Copy)]
pub struct Mean {
    pub value: f64,
    n: f64,
    most: f64,
}

impl Mean {
    /// `most`: rows that it remembers.
    pub fn over(most: f64) -> Self {
        Self { value: 0.0, n: 0.0, most }
    }

    pub fn push(&mut self, value: f64) {
        self.n = (self.n + 1.0).min(self.most);
        self.value += (value - self.value) / self.n;
    }

    pub fn known(&self) -> Option<f64> {
        (self.n > 0.0).then_some(self.value)
    }

    pub fn most(&self) -> f64 {
        self.most
    }

    pub fn rows(&self) -> f64 {
        self.n
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// A period of the clock, in so many slots.
    Clock(Micros, i64),
    /// Months of the year, for rows days or weeks apart.
    Year(i64),
    /// A cycle of so many rows.
    Rows(usize),
}

#[derive(Debug, Clone)]
struct Season {
    turn: Turn,
    slots: Vec<Mean>,
    /// How far the present is above the profile.
    level: Mean,
}

/// Length of the mean year.
const YEAR: Micros = 31_556_952_000_000;
/// Turns that a profile remembers.
const TURNS: f64 = 6.0;

impl Season {
    fn new(turn: Turn) -> Self {
        let slots = match turn {
            Turn::Clock(_, slots) | Turn::Year(slots) => slots as usize,
            Turn::Rows(rows) => rows,
        };
        Self { turn, slots: vec![Mean::over(TURNS); slots], level: Mean::over(10.0) }
    }

    fn slot(&self, at: Micros, row: u64) -> usize {
        match self.turn {
            Turn::Clock(period, slots) => {
                (at.rem_euclid(period) as i128 * i128::from(slots) / i128::from(period)) as usize
            }
            // Rows stand in the middle of a slot: months differ in length, and years in their first second.
            Turn::Year(slots) => {
                let within = at.saturating_add(YEAR / (2 * slots)).rem_euclid(YEAR);
                (i128::from(within) * i128::from(slots) / i128::from(YEAR)) as usize
            }
            Turn::Rows(rows) => (row % rows as u64) as usize,
        }
    }

    fn push(&mut self, at: Micros, row: u64, value: f64) {
        let slot = self.slot(at, row);
        if let Some(profile) = self.slots[slot].known() {
            self.level.push(value - profile);
        }
        self.slots[slot].push(value);
    }
}

/// Mean absolute errors of competing forecasts.
#[derive(Debug, Clone)]
struct Contest {
    errors: Vec<Mean>,
}

impl Contest {
    fn best(&self, forecasts: &[Option<f64>]) -> Option<f64> {
        self.place(forecasts).and_then(|place| forecasts[place]).or(forecasts.first().copied().flatten())
    }

    /// Which forecast erred least.
    fn place(&self, forecasts: &[Option<f64>]) -> Option<usize> {
        let able = |place: &usize| {
            forecasts[*place].is_some() && self.errors.get(*place).is_some_and(|error| error.rows() >= 3.0)
        };
        (0..forecasts.len()).filter(able).min_by(|a, b| self.errors[*a].value.total_cmp(&self.errors[*b].value))
    }

    fn push(&mut self, forecasts: &[Option<f64>], value: f64, memory: f64) {
        self.errors.resize(forecasts.len(), Mean::over(memory));
        for (error, forecast) in self.errors.iter_mut().zip(forecasts) {
            let Some(forecast) = forecast else { continue };
            let size = (value - forecast).abs();
            let most = if error.rows() >= 10.0 && error.value > 0.0 { error.value * CLIP } else { f64::INFINITY };
            error.push(size.min(most));
        }
    }
}

/// The forecasts' state.
#[derive(Debug, Clone)]
pub struct Outlook {
    row: u64,
    last: Option<f64>,
    fast: Mean,
    slow: Mean,
    seasons: Vec<Season>,
    next: Contest,
    base: Contest,
    recent: VecDeque<f64>,
    /// Times of the first rows, until their distance is known.
    times: Vec<Micros>,
    interval: Option<Micros>,
    clock: bool,
}

/// What the next row should be.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    pub next: f64,
    /// Slow: lasting departures from it show. `None` until its season was seen twice.
    pub base: Option<f64>,
    /// The season's profile here, where it tells much more than the mean.
    pub profile: Option<f64>,
}

impl Outlook {
    /// Without a clock, times say nothing of days, weeks and years.
    pub fn new(clock: bool) -> Self {
        let contest = Contest { errors: Vec::new() };
        Self {
            row: 0,
            last: None,
            fast: Mean::over(6.0),
            slow: Mean::over(400.0),
            seasons: Vec::new(),
            next: contest.clone(),
            base: contest,
            recent: VecDeque::new(),
            times: Vec::new(),
            interval: None,
            clock,
        }
    }

    /// `None` before the first row.
    pub fn expect(&self, at: Micros) -> Option<Expected> {
        let (next, base) = self.forecasts(at);
        let place = self.base.place(&base);
        let tells = |place: &usize| *place > 0 && self.base.errors[*place].value < SEASONAL * self.base.errors[0].value;
        Some(Expected {
            next: self.next.best(&next)?,
            base: self.base.best(&base).filter(|_| self.settled()),
            profile: place.filter(tells).and_then(|place| base[place]),
        })
    }

    /// Whether the shortest season of the clock was seen twice, so that the baseline is one.
    fn settled(&self) -> bool {
        let shortest = self.seasons.first().map_or(0, |season| match season.turn {
            Turn::Clock(period, _) => period,
            Turn::Year(_) | Turn::Rows(_) => 0,
        });
        self.interval.is_some_and(|interval| {
            (self.row as i64).saturating_mul(interval) >= (2 * shortest).saturating_add(interval)
        })
    }

    /// Ordinary rows after which an incident is over: a day of them, within bounds.
    pub fn quiet(&self) -> u64 {
        self.interval.filter(|_| self.clock).map_or(50, |interval| (DAY / interval).clamp(20, 150) as u64)
    }

    /// A lasting change is accepted: the profiles are higher by so much, or they would learn it bit by bit and call it
    /// further changes.
    pub fn shift(&mut self, effect: f64) {
        for slot in self.seasons.iter_mut().flat_map(|season| &mut season.slots).filter(|slot| slot.n > 0.0) {
            slot.value += effect;
        }
    }

    fn forecasts(&self, at: Micros) -> (Vec<Option<f64>>, Vec<Option<f64>>) {
        let mut next = vec![self.last, self.fast.known()];
        let mut base = vec![self.slow.known()];
        for season in &self.seasons {
            let slot = season.slots[season.slot(at, self.row)];
            let profile = slot.known();
            next.extend([profile, profile.and_then(|profile| Some(profile + season.level.known()?))]);
            base.push(profile.filter(|_| slot.rows() >= 2.0));
        }
        (next, base)
    }

    /// Learns a row.
    pub fn push(&mut self, at: Micros, value: f64) {
        let (next, base) = self.forecasts(at);
        self.next.push(&next, value, 300.0);
        self.base.push(&base, value, 1_000.0);
        self.last = Some(value);
        self.fast.push(value);
        self.slow.push(value);
        let row = self.row;
        self.seasons.iter_mut().for_each(|season| season.push(at, row, value));
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(value);
        self.row += 1;
        if self.interval.is_none() {
            self.times.push(at);
            if self.times.len() == SETTLE {
                self.settle();
            }
        }
        if self.row.is_power_of_two() && self.row >= 64 {
            self.seek_cycle();
        }
    }

    /// Learns how far rows are apart, and which periods of the clock are seasons for them.
    fn settle(&mut self) {
        let apart = self.times.windows(2).map(|pair| pair[1].saturating_sub(pair[0]).saturating_abs());
        let mut apart: Vec<Micros> = apart.filter(|apart| *apart > 0).collect();
        apart.sort_unstable();
        // Rows at one moment have no clock.
        self.clock &= !apart.is_empty();
        let interval = apart.get(apart.len() / 2).copied().unwrap_or(1);
        self.interval = Some(interval);
        self.times = Vec::new();
        if !self.clock {
            return;
        }
        let slots = |period: Micros| (period / interval).min(SLOTS);
        let mut turns = Vec::new();
        if interval <= DAY / 4 {
            turns.push(Turn::Clock(DAY, slots(DAY)));
        }
        if interval <= 7 * DAY / 4 {
            turns.push(Turn::Clock(7 * DAY, slots(7 * DAY)));
        }
        if (5 * DAY..=YEAR / 4).contains(&interval) {
            turns.push(Turn::Year((YEAR + interval / 2) / interval));
        }
        self.seasons = turns.into_iter().map(Season::new).collect();
    }

    /// Looks for a cycle that no clock knows of: the first high peak of the autocorrelation.
    fn seek_cycle(&mut self) {
        let Some(rows) = cycle(self.recent.make_contiguous()) else { return };
        let interval = self.interval.unwrap_or(1);
        let known = |season: &Season| match season.turn {
            Turn::Rows(other) => other == rows,
            Turn::Clock(period, _) => (period / interval).abs_diff(rows as i64) * 50 <= rows as u64,
            Turn::Year(slots) => slots.abs_diff(rows as i64) * 50 <= rows as u64,
        };
        if self.seasons.iter().any(known) {
            return;
        }
        self.seasons.retain(|season| !matches!(season.turn, Turn::Rows(_)));
        let mut season = Season::new(Turn::Rows(rows));
        let first = self.row - self.recent.len() as u64;
        for (row, value) in (first..).zip(&self.recent) {
            season.push(0, row, *value);
        }
        self.seasons.push(season);
        // Places in the contests have moved: the new season begins without a record.
        let seasons = self.seasons.len();
        self.next.errors.truncate(2 + 2 * (seasons - 1));
        self.base.errors.truncate(seasons);
    }
}

/// Rows of the cycle of `values`, where they have a plain one.
fn cycle(values: &[f64]) -> Option<usize> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted[sorted.len() / 50], sorted[sorted.len() - 1 - sorted.len() / 50]);
    let clipped: Vec<f64> = values.iter().map(|value| value.clamp(low, high)).collect();
    let mean = clipped.iter().sum::<f64>() / clipped.len() as f64;
    let centred: Vec<f64> = clipped.iter().map(|value| value - mean).collect();
    let power: f64 = centred.iter().map(|value| value * value).sum();
    if power <= 0.0 {
        return None;
    }
    let longest = values.len() / 3;
    let at = |lag: usize| {
        let sum: f64 = centred.iter().zip(&centred[lag..]).map(|(a, b)| a * b).sum();
        sum / power * values.len() as f64 / (values.len() - lag) as f64
    };
    let correlations: Vec<f64> = (0..=longest).map(at).collect();
    // A trend correlates at every lag: a cycle first falls away.
    let fallen = correlations.iter().position(|correlation| *correlation < 0.3 * CYCLE)?;
    let highest = correlations[fallen..].iter().copied().fold(0.0, f64::max);
    let peak = |lag: &usize| {
        let here = correlations[*lag];
        here >= CYCLE
            && here >= 0.9 * highest
            && here >= correlations[lag - 1]
            && correlations.get(lag + 1).is_none_or(|next| here >= *next)
    };
    (fallen.max(4)..=longest).find(peak)
}
