//! Labels as they are kept: values renamed, shortened or dropped by rows of the settings, before they make a series.

use std::borrow::Cow;

use anyhow::{Context, Result, bail};
use leeway_core::labels::Dimensions;
use regex::Regex;
use serde::Deserialize;

/// What a replacement is cut to: as long as a label may be.
const LONGEST: usize = 128;

/// One row of `ingest.relabel`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    pub dimension: String,
    /// Of the whole value.
    pub regex: String,
    /// `$1` or `${name}` for groups; empty: the value is dropped.
    #[serde(default)]
    pub replacement: String,
}

/// The rows by dimension, in their order: each sees what the one before it made.
#[derive(Debug, Clone, Default)]
pub struct Relabel(Vec<(String, Regex, String)>);

impl Relabel {
    /// Errors name the row and say what to correct.
    pub fn new(rows: &[Row], dimensions: &Dimensions) -> Result<Self> {
        let mut made = Vec::new();
        for (place, row) in rows.iter().enumerate() {
            let of = || format!("ingest.relabel, row {}", place + 1);
            if row.dimension == "tenant" {
                bail!("{}: a tenant is not renamed: every row is kept under its name", of());
            }
            if !dimensions.names().contains(&row.dimension) {
                let known = dimensions.names().join(", ");
                bail!("{}: `{}` is none of ingest.dimensions ({known})", of(), row.dimension);
            }
            // By itself first: `a)(b` is none, whatever stands around it.
            Regex::new(&row.regex).with_context(of)?;
            let regex = Regex::new(&format!("^(?s:{})$", row.regex)).with_context(of)?;
            made.push((row.dimension.clone(), regex, row.replacement.clone()));
        }
        Ok(Self(made))
    }

    /// The value of a dimension as it is kept.
    pub fn of<'v>(&self, dimension: &str, value: &'v str) -> Cow<'v, str> {
        let mut kept = Cow::Borrowed(value);
        for (_, regex, replacement) in self.0.iter().filter(|(name, ..)| name == dimension) {
            if let Some(groups) = regex.captures(&kept) {
                let mut made = String::new();
                groups.expand(replacement, &mut made);
                made.truncate(made.floor_char_boundary(LONGEST));
                kept = Cow::Owned(made);
            }
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relabel(rows: &[(&str, &str, &str)]) -> Result<Relabel> {
        let row = |(dimension, regex, replacement): &(&str, &str, &str)| Row {
            dimension: (*dimension).into(),
            regex: (*regex).into(),
            replacement: (*replacement).into(),
        };
        Relabel::new(&rows.iter().map(row).collect::<Vec<_>>(), &Dimensions::default())
    }

    #[test]
    fn values_are_renamed_shortened_dropped_and_given() {
        let rows = [
            ("model", r"(.+)-\d{4}-\d{2}-\d{2}", "$1"),
            ("model", "gpt-4o", "four-o"),
            ("route", "/users/[^/]+(/.*)?", "/users/:id$1"),
            ("release", ".*-dirty", ""),
            ("environment", "", "unknown"),
        ];
        let relabel = relabel(&rows).unwrap();
        let cases = [
            ("model", "gpt-4o-2024-08-06", "four-o"),
            ("model", "gpt-4o-mini", "gpt-4o-mini"),
            ("route", "/users/7/orders", "/users/:id/orders"),
            ("route", "/admin/users/7", "/admin/users/7"),
            ("release", "1.2-dirty", ""),
            ("release", "gpt-4o", "gpt-4o"),
            ("environment", "", "unknown"),
            ("app", "a", "a"),
        ];
        for (dimension, value, kept) in cases {
            assert_eq!(relabel.of(dimension, value), kept, "{dimension}={value}");
        }
    }

    #[test]
    fn a_replacement_is_as_long_as_a_label() {
        let relabel = relabel(&[("route", "(.*)", "\u{fc}$1$1")]).unwrap();
        let kept = relabel.of("route", &"\u{fc}".repeat(100)).into_owned();
        assert!(kept.len() <= LONGEST && kept.len() > LONGEST - 2, "{}", kept.len());
    }

    #[test]
    fn what_is_no_row_is_told() {
        let told = |rows: &[(&str, &str, &str)]| format!("{:#}", relabel(rows).unwrap_err());
        assert!(told(&[("app", "a", ""), ("tenant", "a", "b")]).contains("row 2: a tenant is not renamed"));
        assert!(told(&[("region", "a", "b")]).contains("none of ingest.dimensions (tenant, app"));
        assert!(told(&[("app", "(", "b")]).contains("unclosed group"));
        assert!(told(&[("app", "a)(b", "b")]).contains("unopened group"));
    }
}
