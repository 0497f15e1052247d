//! Times as people's files have them. What has no zone is read as UTC.

use jiff::civil::{Date, DateTime};
use jiff::fmt::strtime;

use crate::clock::{Micros, SECOND, parse_rfc3339};

/// How one file writes its times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamp {
    /// RFC 3339, with a zone.
    Rfc3339,
    /// A date and a time of day, in this form.
    Moment(&'static str),
    /// A date alone.
    Day(&'static str),
    /// A month, by its first day.
    Month(&'static str),
    /// Whole or fractional numbers since 1970, so many to a second.
    Epoch(i64),
    /// Numbers that are no times of our days: places in a sequence, or years.
    Place,
}

const MOMENTS: [&str; 9] = [
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%Y%m%d%H%M%S",
];
const DAYS: [&str; 8] = ["%Y-%m-%d", "%Y/%m/%d", "%m/%d/%Y", "%d.%m.%Y", "%d-%b-%Y", "%b %d, %Y", "%b-%d-%Y", DIGITS];
/// A day in eight digits, of the years 1800 to 2199.
const DIGITS: &str = "%Y%m%d";
const MONTHS: [&str; 5] = ["%Y-%m", "%Y-%b", "%b-%Y", "%Y/%m", "%b %Y"];

impl Stamp {
    /// The form of `text`; `None` where it is no time.
    pub fn of(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(number) = text.parse::<f64>() {
            // From 1973 on, and before the year 5138: seconds, milliseconds, microseconds or nanoseconds.
            return match number {
                n if !n.is_finite() => None,
                n if (1.8e7..2.2e7).contains(&n) && Self::Day(DIGITS).at(text).is_some() => Some(Self::Day(DIGITS)),
                n if (1e8..1e11).contains(&n) => Some(Self::Epoch(1)),
                n if (1e11..1e14).contains(&n) && Self::Moment(MOMENTS[8]).at(text).is_none() => {
                    Some(Self::Epoch(1_000))
                }
                n if (1e14..1e17).contains(&n) => Some(Self::Epoch(1_000_000)),
                n if (1e17..1e20).contains(&n) => Some(Self::Epoch(1_000_000_000)),
                n if (1e11..1e14).contains(&n) => Some(Self::Moment(MOMENTS[8])),
                _ => Some(Self::Place),
            };
        }
        let forms = std::iter::once(Self::Rfc3339)
            .chain(MOMENTS.map(Self::Moment))
            .chain(DAYS.map(Self::Day))
            .chain(MONTHS.map(Self::Month));
        forms.into_iter().find(|form| form.at(text).is_some())
    }

    /// When `text` is, in this form; a place counts as so many seconds.
    pub fn at(self, text: &str) -> Option<Micros> {
        let text = text.trim();
        match self {
            Self::Rfc3339 => parse_rfc3339(text),
            Self::Moment(form) => moment(DateTime::strptime(form, text).ok()?),
            Self::Day(form) => moment(Date::strptime(form, text).ok()?.at(0, 0, 0, 0)),
            Self::Month(form) => {
                let parts = strtime::parse(form, text).ok()?;
                moment(Date::new(parts.year()?, parts.month()?, 1).ok()?.at(0, 0, 0, 0))
            }
            Self::Epoch(1) | Self::Place => scaled(text, SECOND as f64),
            Self::Epoch(per_second) => scaled(text, SECOND as f64 / per_second as f64),
        }
    }

    /// Whether days, weeks and years mean something.
    pub fn has_clock(self) -> bool {
        self != Self::Place
    }
}

fn scaled(text: &str, micros: f64) -> Option<Micros> {
    let at = text.parse::<f64>().ok()? * micros;
    (at.abs() < 9e18).then_some(at as Micros)
}

fn moment(time: DateTime) -> Option<Micros> {
    time.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp().as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_forms_are_told_apart() {
        let first_april = 1_396_310_400_000_000;
        for (text, at) in [
            ("2014-04-01 00:00:00", first_april),
            ("2014-04-01T00:00:00Z", first_april),
            ("2014-04-01T02:00:00+02:00", first_april),
            ("2014-04-01 00:00:00.000000", first_april),
            ("2014-04-01 00:00", first_april),
            ("2014-04-01", first_april),
            ("2014/04/01", first_april),
            ("04/01/2014", first_april),
            ("04/01/2014 00:00", first_april),
            ("01.04.2014", first_april),
            ("Apr-1-2014", first_april),
            ("20140401", first_april),
            ("2014-04", first_april),
            ("2014-Apr", first_april),
            ("1396310400", first_april),
            ("1396310400.0", first_april),
            ("1396310400000", first_april),
            ("1396310400000000", first_april),
            ("1396310400000000000", first_april),
            ("20140401000000", first_april),
            ("1913", 1_913 * SECOND),
            ("0", 0),
        ] {
            let stamp = Stamp::of(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(stamp.at(text), Some(at), "{text} as {stamp:?}");
        }
        for text in ["", "noon", "2014-13-01", "NaN", "inf"] {
            assert_eq!(Stamp::of(text), None, "{text}");
        }
        assert!(!Stamp::of("1913").unwrap().has_clock());
    }
}
