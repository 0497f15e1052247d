//! The only place that reads the clock.
//!
//! `now` is event time's clock: it drives windows, `for`, `keep_firing_for` and lateness, and may run
//! faster than the wall. `wall` is the real one: stamps, signatures, leases, retries, time-outs.

use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds since 1970-01-01T00:00:00Z.
pub type Micros = i64;

pub const MILLISECOND: Micros = 1_000;
pub const SECOND: Micros = 1_000_000;
pub const MINUTE: Micros = 60 * SECOND;
pub const HOUR: Micros = 60 * MINUTE;
pub const DAY: Micros = 24 * HOUR;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Clock {
    System,
    /// Starts `lag` behind the wall at `started_at`, runs `speed` times as fast, and follows the wall once it has caught up.
    CatchUp {
        started_at: Micros,
        lag: Micros,
        speed: f64,
    },
    /// Stands still; tests move it by making another.
    Fixed(Micros),
}

impl Clock {
    /// A clock that begins `lag` in the past and catches up with the wall at `speed`.
    pub fn catching_up(lag: Micros, speed: f64) -> Self {
        Self::CatchUp { started_at: wall(), lag, speed }
    }

    pub fn now(&self) -> Micros {
        match *self {
            Self::System => wall(),
            Self::Fixed(at) => at,
            Self::CatchUp { started_at, lag, speed } => {
                let wall = wall();
                let run = ((wall - started_at) as f64 * speed) as Micros;
                (started_at - lag).saturating_add(run).min(wall)
            }
        }
    }

    /// The real time, whatever `now` says; a fixed clock fixes both.
    pub fn wall(&self) -> Micros {
        match *self {
            Self::Fixed(at) => at,
            _ => wall(),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
fn wall() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// RFC 3339 in UTC, to the millisecond: `2026-11-21T01:38:59.123Z`.
pub fn rfc3339(at: Micros) -> String {
    jiff::Timestamp::from_microsecond(at).map_or_else(|_| at.to_string(), |t| format!("{t:.3}"))
}

/// `2026-11-21 01:38:59 UTC`, for people.
pub fn readable(at: Micros) -> String {
    let text = rfc3339(at);
    match (text.get(..10), text.get(11..19)) {
        (Some(day), Some(time)) => format!("{day} {time} UTC"),
        _ => text,
    }
}

/// `1 h 05 min`, `3 min 20 s`, `12 s`.
pub fn readable_span(span: Micros) -> String {
    let seconds = span.max(0) / SECOND;
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (h, m) {
        (0, 0) => format!("{s} s"),
        (0, _) if s == 0 => format!("{m} min"),
        (0, _) => format!("{m} min {s:02} s"),
        _ => format!("{h} h {m:02} min"),
    }
}

pub fn parse_rfc3339(text: &str) -> Option<Micros> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond)
}

/// The ISO week (Monday to Sunday, UTC) that holds `at`: `2026-W46`.
pub fn week_of(at: Micros) -> String {
    let zoned = jiff::Timestamp::from_microsecond(at).map(|t| t.to_zoned(jiff::tz::TimeZone::UTC));
    zoned.map_or_else(
        |_| String::new(),
        |zoned| {
            let week = zoned.date().iso_week_date();
            format!("{}-W{:02}", week.year(), week.week())
        },
    )
}

/// Start and end of an ISO week written `2026-W46`; `None` where there is no such week.
pub fn week(text: &str) -> Option<(Micros, Micros)> {
    let (year, week) = text.split_once("-W")?;
    let (year, week): (i16, i8) = (year.parse().ok()?, week.parse().ok()?);
    let monday = jiff::civil::ISOWeekDate::new(year, week, jiff::civil::Weekday::Monday).ok()?.date();
    let start = monday.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_microsecond();
    Some((start, start + 7 * DAY))
}

/// The start of the minute that holds `at`.
pub fn minute_of(at: Micros) -> Micros {
    at.div_euclid(MINUTE) * MINUTE
}

/// Days since the epoch, in UTC.
pub fn day_of(at: Micros) -> i64 {
    at.div_euclid(DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catching_up_clock_never_overtakes_the_wall() {
        let clock = Clock::CatchUp { started_at: wall() - 10 * SECOND, lag: HOUR, speed: 30.0 };
        let expected = wall() - 10 * SECOND - HOUR + 300 * SECOND;
        assert!((clock.now() - expected).abs() < SECOND);
        let done = Clock::CatchUp { started_at: wall() - HOUR, lag: HOUR, speed: 30.0 };
        assert!((done.now() - wall()).abs() < SECOND);
    }

    #[test]
    fn weeks_begin_on_monday_and_years_may_have_53() {
        let (from, to) = week("2026-W46").unwrap();
        assert_eq!((readable(from), to - from), ("2026-11-09 00:00:00 UTC".to_owned(), 7 * DAY));
        assert_eq!(
            (week_of(from), week_of(to - 1), week_of(to)),
            ("2026-W46".into(), "2026-W46".into(), "2026-W47".into())
        );
        assert_eq!(readable(week("2026-W01").unwrap().0), "2025-12-29 00:00:00 UTC");
        assert!(week("2026-W53").is_some() && week("2025-W53").is_none());
        assert_eq!((week("2026"), week("2026-W0"), week("x-W1")), (None, None, None));
    }

    #[test]
    fn times_print_in_utc_and_read_back() {
        let at = 1_795_225_535_123_456;
        assert_eq!(rfc3339(at), "2026-11-21T01:45:35.123Z");
        assert_eq!(readable(at), "2026-11-21 01:45:35 UTC");
        assert_eq!(parse_rfc3339("2026-11-21T02:45:35.123456+01:00"), Some(at));
        assert_eq!(minute_of(-1), -MINUTE);
        assert_eq!(readable_span(200 * SECOND), "3 min 20 s");
    }
}
