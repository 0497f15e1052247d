//! Series: who a number belongs to.
//!
//! A series is the values of the configured dimensions, always with `operation` and `served`. Its id is the
//! first 16 bytes of SHA-256 over `v1:<level>:<labels as JSON with sorted keys>`, so every worker, in every
//! version, names the same series alike without asking anybody.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Dimensions that a call carries by itself, in the order of the settings' default.
pub const STANDARD: [&str; 7] = ["tenant", "app", "route", "provider", "model", "release", "environment"];
/// Dimensions that can be switched on.
pub const OPTIONAL: [&str; 3] = ["prompt_version", "index_version", "region"];
/// At most this many `dims.<name>` dimensions.
pub const MAX_CUSTOM: usize = 4;

pub type SeriesId = [u8; 16];

/// How much of the labels a series keeps: the whole, or one of its parents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    All,
    Tenant,
    App,
    Model,
    Leaf,
}

impl Level {
    /// Parents before children: a cap is spent on totals first.
    pub const ALL: [Self; 5] = [Self::All, Self::Tenant, Self::App, Self::Model, Self::Leaf];

    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Tenant => "tenant",
            Self::App => "app",
            Self::Model => "model",
            Self::Leaf => "leaf",
        }
    }

    /// The dimensions that a parent keeps; `None` for the leaf, which keeps all.
    pub fn dimensions(self) -> Option<&'static [&'static str]> {
        match self {
            Self::All => Some(&[]),
            Self::Tenant => Some(&["tenant"]),
            Self::App => Some(&["tenant", "app"]),
            Self::Model => Some(&["tenant", "app", "model"]),
            Self::Leaf => None,
        }
    }
}

/// The configured dimensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dimensions(Vec<String>);

#[derive(Debug, Error, PartialEq, Eq)]
pub enum DimensionError {
    #[error("unknown dimension `{0}`; valid are {names}, and up to {MAX_CUSTOM} of the form dims.NAME", names = [&STANDARD[..], &OPTIONAL[..]].concat().join(", "))]
    Unknown(String),
    #[error("dimension `{0}` is listed twice")]
    Twice(String),
    #[error("dimension `tenant` must be listed: every row is kept by tenant")]
    NoTenant,
    #[error("at most {MAX_CUSTOM} dimensions may start with dims.")]
    TooManyCustom,
}

impl Dimensions {
    pub fn new(names: Vec<String>) -> Result<Self, DimensionError> {
        let custom = names.iter().filter(|name| name.starts_with("dims.")).count();
        if custom > MAX_CUSTOM {
            return Err(DimensionError::TooManyCustom);
        }
        if !names.iter().any(|name| name == "tenant") {
            return Err(DimensionError::NoTenant);
        }
        for (position, name) in names.iter().enumerate() {
            let known = STANDARD.contains(&name.as_str()) || OPTIONAL.contains(&name.as_str());
            if !known && name.strip_prefix("dims.").is_none_or(str::is_empty) {
                return Err(DimensionError::Unknown(name.clone()));
            }
            if names[..position].contains(name) {
                return Err(DimensionError::Twice(name.clone()));
            }
        }
        Ok(Self(names))
    }

    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// Tells other dimensions from these: a series key means something under its own alone.
    pub fn digest(&self) -> u32 {
        let bytes = Sha256::digest(self.0.join("\n").as_bytes());
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }
}

impl Default for Dimensions {
    fn default() -> Self {
        Self(STANDARD.iter().map(ToString::to_string).collect())
    }
}

/// A series' labels at one level.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels {
    pub level: Level,
    /// Sorted by name; `operation` and `served` are always there, missing values are "".
    pub values: BTreeMap<String, String>,
}

impl Labels {
    pub fn tenant(&self) -> &str {
        self.values.get("tenant").map_or("", String::as_str)
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// JSON with sorted keys; part of the identity.
    pub fn json(&self) -> String {
        serde_json::to_string(&self.values).unwrap_or_default()
    }

    pub fn id(&self) -> SeriesId {
        let text = format!("v1:{}:{}", self.level.name(), self.json());
        let digest = Sha256::digest(text.as_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        id
    }

    /// The same call, seen from `level`; `None` where a configured dimension is missing.
    pub fn at(&self, level: Level) -> Self {
        let Some(kept) = level.dimensions() else { return Self { level, values: self.values.clone() } };
        let keep = |name: &str| kept.contains(&name) || name == "operation" || name == "served";
        let values = self.values.iter().filter(|(name, _)| keep(name));
        Self { level, values: values.map(|(k, v)| (k.clone(), v.clone())).collect() }
    }

    /// The series that takes what exceeds the cap: same operation and served, and the labels of the finest of its parents
    /// that the cap admitted; all else is `other`.
    pub fn overflow(&self, within: Level) -> Self {
        let kept = within.dimensions().unwrap_or_default();
        let keep = |name: &str| name == "tenant" || kept.contains(&name) || name == "operation" || name == "served";
        let fold = |(name, value): (&String, &String)| {
            let value = if keep(name) { value.clone() } else { "other".to_owned() };
            (name.clone(), value)
        };
        let mut values: BTreeMap<_, _> = self.values.iter().map(fold).collect();
        // Nobody else can have this label, so a model that is really called "other" stays apart.
        values.insert("overflow".to_owned(), "true".to_owned());
        Self { level: self.level, values }
    }

    pub fn parse(level: Level, json: &str) -> Option<Self> {
        Some(Self { level, values: serde_json::from_str(json).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Labels {
        let pairs = [("operation", "chat"), ("served", "true"), ("tenant", "acme"), ("app", "a\"b"), ("model", "m")];
        let values = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Labels { level: Level::Leaf, values }
    }

    #[test]
    fn identity_is_sha256_of_the_versioned_text() {
        let app = labels().at(Level::App);
        assert_eq!(app.json(), r#"{"app":"a\"b","operation":"chat","served":"true","tenant":"acme"}"#);
        // printf '%s' 'v1:app:{"app":"a\"b","operation":"chat","served":"true","tenant":"acme"}' | sha256sum
        let hex: String = app.id().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "11c33a7553e6a4c3c2cf25d14f3604de");
    }

    #[test]
    fn levels_and_overflow_have_ids_of_their_own() {
        let all: Vec<_> = Level::ALL.iter().map(|level| labels().at(*level)).collect();
        let others = [Level::All, Level::Tenant, Level::App, Level::Model].map(|within| labels().overflow(within));
        assert_eq!(others[0], others[1], "the tenant stays");
        assert_eq!((others[2].get("app"), others[2].get("model")), (Some("a\"b"), Some("other")));
        assert_eq!((others[3].get("model"), others[3].get("overflow")), (Some("m"), Some("true")));
        let mut ids: Vec<_> = all.iter().chain(&others).map(Labels::id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 8);
        assert_eq!(labels().at(Level::All).tenant(), "");
    }

    #[test]
    fn a_wrong_dimension_says_which_are_right() {
        let error = Dimensions::new(vec!["tenant".into(), "modle".into()]).unwrap_err().to_string();
        assert!(error.contains("modle") && error.contains("environment"), "{error}");
        assert_eq!(Dimensions::new(vec!["app".into()]), Err(DimensionError::NoTenant));
    }
}
