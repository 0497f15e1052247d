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

const MOMENTS: [&str; 16] = [
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%Y%m%d%H%M%S",
    "%d/%m/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M",
    "%m/%d/%y %H:%M",
    "%Y-%m-%d %H:%M:%S UTC",
    "%Y-%m-%d %I:%M:%S %p",
    "%m/%d/%Y %I:%M:%S %p",
    "%m/%d/%Y %I:%M %p",
];
const DAYS: [&str; 10] = [
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%m/%d/%y",
    "%d.%m.%Y",
    "%d-%b-%Y",
    "%b %d, %Y",
    "%b-%d-%Y",
    DIGITS,
];
/// A day in eight digits, of the years 1800 to 2199.
const DIGITS: &str = "%Y%m%d";
const MONTHS: [&str; 5] = ["%Y-%m", "%Y-%b", "%b-%Y", "%Y/%m", "%b %Y"];

impl Stamp {
    /// The form of most of these texts, of several the one in which they ascend most evenly: 03/04 may be March
    /// or April. The month comes first where nothing tells.
    pub fn of_all(texts: &[&str]) -> Option<Self> {
        let mut best: Option<(usize, usize, i64, Self)> = None;
        let number = texts.iter().find(|text| text.trim().parse::<f64>().is_ok()).and_then(|text| Self::of(text));
        for form in number.into_iter().chain(Self::texts()) {
            let times: Vec<Micros> = texts.iter().filter_map(|text| form.at(text)).collect();
            let mut gaps: Vec<Micros> = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect();
            gaps.retain(|gap| *gap > 0);
            gaps.sort_unstable();
            let rising = gaps.len();
            // The widest gap in usual ones, less is better.
            let even = -gaps.last().map_or(0, |widest| widest / gaps[rising / 2]);
            let better = best.is_none_or(|(read, rose, evenly, _)| (times.len(), rising, even) > (read, rose, evenly));
            if !times.is_empty() && better {
                best = Some((times.len(), rising, even, form));
            }
        }
        best.filter(|(read, ..)| 2 * read > texts.len()).map(|(.., form)| form)
    }

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
        Self::texts().find(|form| form.at(text).is_some())
    }

    /// The forms that are no plain numbers.
    fn texts() -> impl Iterator<Item = Self> {
        std::iter::once(Self::Rfc3339)
            .chain(MOMENTS.map(Self::Moment))
            .chain(DAYS.map(Self::Day))
            .chain(MONTHS.map(Self::Month))
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

/// A year before 1800 is two digits that were taken for a year.
fn moment(time: DateTime) -> Option<Micros> {
    if time.year() < 1800 {
        return None;
    }
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
        let april = |form: Stamp| form.at("03/04/2014").map(|at| (at - first_april) / (86_400 * SECOND));
        let halves = ["01/04/2014 00:00", "01/04/2014 12:00", "02/04/2014 00:00", "02/04/2014 12:00"];
        let day =
            Stamp::of_all(&halves).unwrap().at("03/04/2014 00:00").map(|at| (at - first_april) / (86_400 * SECOND));
        assert_eq!(day, Some(2), "days first");
        let monthly = ["11/01/2013", "12/01/2013", "01/01/2014", "02/01/2014"];
        assert_eq!(Stamp::of_all(&monthly).map(april), Some(Some(-28)), "months first");
        assert_eq!(Stamp::of_all(&["12/31/2013", "01/01/2014"]).map(april), Some(Some(-28)), "months first");
        let short = ["04/01/14 00:00", "04/02/14 00:00"];
        assert_eq!(Stamp::of_all(&short).unwrap().at(short[0]), Some(first_april));
        assert_eq!(Stamp::of_all(&["10", "11"]), Some(Stamp::Place));
        assert_eq!(Stamp::of_all(&["a", "b", "2014-04-01"]), None);
        for text in ["", "noon", "2014-13-01", "NaN", "inf"] {
            assert_eq!(Stamp::of(text), None, "{text}");
        }
        assert!(!Stamp::of("1913").unwrap().has_clock());
    }
}
