//! Which columns of somebody's CSV hold times and numbers, told from its names and first rows.

use std::path::Path;

use anyhow::{Context, Result, bail};
use csv::StringRecord;
use leeway_core::stamp::Stamp;

use super::Args;

/// What parts the columns of the first line.
pub(super) fn delimiter(start: &[u8]) -> u8 {
    let line = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let count = |delimiter: u8| line.iter().filter(|byte| **byte == delimiter).count();
    // The comma where it is as good as any.
    [b'|', b'\t', b';', b','].into_iter().max_by_key(|delimiter| count(*delimiter)).unwrap_or(b',')
}

/// Where a number comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Column(usize),
    /// The mean: sum over count.
    Mean {
        count: usize,
        sum: usize,
    },
}

/// Which columns are read.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) time: Option<(usize, Stamp)>,
    pub(super) source: Source,
    pub(super) name: String,
}

/// Names that columns of times go by.
const TIMES: [&str; 8] = ["timestamp", "time", "datetime", "date", "ts", "ds", "month", "year"];

impl Layout {
    /// From the names and the first rows; also whether the first line holds no names.
    pub(super) fn new(head: &StringRecord, sample: &[StringRecord], args: &Args, file: &Path) -> Result<(Self, bool)> {
        let names: Vec<String> =
            head.iter().map(|name| name.trim().trim_start_matches('\u{feff}').to_owned()).collect();
        let headless = names.iter().all(|name| number(name).is_some() || Stamp::of(name).is_some());
        let columns = Columns { names: &names, head: headless.then_some(head), sample, file };
        let time = match columns.asked(args.time.as_deref())? {
            Some(place) if sample.is_empty() => Some((place, Stamp::Place)),
            Some(place) => {
                let first = sample[0].get(place).unwrap_or_default();
                Some((place, columns.form(place).with_context(|| unreadable(first))?))
            }
            None if headless => columns.form(0).filter(|_| names.len() > 1).map(|form| (0, form)),
            None => columns.time(),
        };
        let (source, name) = columns.source(args.value.as_deref(), time.map(|(place, _)| place))?;
        Ok((Self { time, source, name }, headless))
    }

    /// The number of a row; `None` where there is none.
    pub(super) fn value(&self, record: &StringRecord) -> Option<f64> {
        let get = |place: usize| record.get(place).and_then(number).filter(|value| value.is_finite());
        match self.source {
            Source::Column(place) => get(place),
            Source::Mean { count, sum } => Some(get(sum)? / get(count).filter(|count| *count > 0.0)?),
        }
    }
}

/// What the first lines hold.
struct Columns<'f> {
    names: &'f [String],
    /// The first line, where it holds no names.
    head: Option<&'f StringRecord>,
    sample: &'f [StringRecord],
    file: &'f Path,
}

impl Columns<'_> {
    fn place(&self, wanted: &str) -> Option<usize> {
        self.names.iter().position(|name| name.eq_ignore_ascii_case(wanted)).filter(|_| self.head.is_none())
    }

    fn asked(&self, wanted: Option<&str>) -> Result<Option<usize>> {
        let Some(name) = wanted else { return Ok(None) };
        let missing = || format!("{} has no column `{name}`; it has {}", self.file.display(), self.names.join(", "));
        self.place(name).with_context(missing).map(Some)
    }

    /// What stands in a column, where something does.
    fn texts(&self, place: usize) -> Vec<&str> {
        let rows = self.head.into_iter().chain(self.sample);
        rows.filter_map(|record| record.get(place)).filter(|text| !text.trim().is_empty()).collect()
    }

    fn form(&self, place: usize) -> Option<Stamp> {
        Stamp::of_all(&self.texts(place))
    }

    fn time(&self) -> Option<(usize, Stamp)> {
        let form = |place: usize| self.form(place).map(|form| (place, form));
        let named = TIMES.iter().filter_map(|name| self.place(name)).find_map(form);
        // A number is a time only where the column says so.
        let text = |(_, form): &(usize, Stamp)| !matches!(form, Stamp::Place | Stamp::Epoch(_));
        named.or_else(|| (0..self.names.len()).filter_map(form).find(text))
    }

    /// Whether more of the column is numbers than not.
    fn numeric(&self, place: usize) -> bool {
        let texts = self.texts(place);
        2 * texts.iter().filter(|text| number(text).is_some()).count() > texts.len()
    }

    fn source(&self, wanted: Option<&str>, time: Option<usize>) -> Result<(Source, String)> {
        let column = |place: usize| {
            let name = if self.head.is_some() { format!("column {}", place + 1) } else { self.names[place].clone() };
            (Source::Column(place), name)
        };
        if let Some(place) = self.asked(wanted)?.or_else(|| self.place("value")) {
            if !self.sample.is_empty() && !self.numeric(place) {
                bail!("column `{}` of {} holds no numbers in its first rows", self.names[place], self.file.display());
            }
            return Ok(column(place));
        }
        if let (Some(count), Some(sum)) = (self.place("count"), self.place("sum")) {
            return Ok((Source::Mean { count, sum }, "sum/count".to_owned()));
        }
        let free = || (0..self.names.len()).filter(|place| time != Some(*place));
        // A table's row numbers have no name.
        let named = |place: &usize| !self.names[*place].is_empty() && !self.names[*place].starts_with("Unnamed");
        let found = free().filter(named).chain(free()).find(|place| self.numeric(*place));
        match found.or_else(|| free().next_back().filter(|_| self.sample.is_empty())) {
            Some(place) => Ok(column(place)),
            None => bail!(
                "{} has no column of numbers: name it by --value; its columns are {}",
                self.file.display(),
                self.names.join(", ")
            ),
        }
    }
}

/// Rows that tell what columns hold.
pub(super) const SAMPLE: usize = 100;

/// A number as people write it: with a percent sign, or with commas between thousands.
fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let text = text.strip_suffix('%').map_or(text, str::trim_end);
    if let Ok(value) = text.parse() {
        return Some(value);
    }
    let (whole, rest) = text.split_once('.').unwrap_or((text, "0"));
    let mut groups = whole.trim_start_matches(['-', '+']).split(',');
    let first = groups.next().is_some_and(|group| (1..=3).contains(&group.len()));
    let digits = |group: &str| group.bytes().all(|byte| byte.is_ascii_digit());
    let fits = first && digits(rest) && groups.all(|group| group.len() == 3 && digits(group));
    if fits { text.replace(',', "").parse().ok() } else { None }
}

pub(super) fn unreadable(text: &str) -> String {
    format!(
        "`{text}` is no time: write RFC 3339 (2026-11-21T10:00:00Z), 2026-11-21 10:00:00, a date, or seconds since 1970"
    )
}
