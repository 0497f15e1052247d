//! Kinds of values: what they look like, which check they pass, which words stand beside them. A kind is one entry of
//! its country's or topic's file, and that file's one line here.

mod argentina_chile;
mod asia;
mod australia;
mod bank;
mod brazil;
mod canada_mexico;
mod crypto;
mod device;
mod europe;
mod india;
mod network;
mod nordic;
mod person;
mod phone;
mod united_kingdom;
mod united_states;

use std::ops::Range;
use std::sync::LazyLock;

use leeway_core::scan::Entity;

use super::candidate::Candidate;
use super::find::Finding;

/// A form of a kind's values: a regular expression over bytes, and the evidence in bits (log2 of the odds) that text of
/// this form is such a value before any check, in texts of language models.
pub(super) struct Shape(pub &'static str, pub f32);

/// What may stand beside a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edges {
    /// A number: not part of a longer one, of an identifier or of a path.
    Number,
    /// A word of letters and digits: not part of a longer one.
    Word,
    /// Anything that is neither letter, digit nor underscore.
    Token,
}

pub(super) struct Kind {
    pub entity: Entity,
    pub shapes: &'static [Shape],
    /// Words that say what stands beside them: small letters in any case; capitals only as capitals or as a key.
    pub words: &'static [&'static str],
    /// Evidence in bits that the check adds; `None` where it fails.
    pub check: fn(&Candidate<'_>) -> Option<f32>,
    /// One form for all spellings of a value.
    pub canonical: fn(&Candidate<'_>) -> String,
    pub edges: Edges,
    /// Where the shapes are names alone, what tells the value that one at a place is followed by.
    pub named: Option<Named>,
}

/// Of a text and the place of a name in it.
pub(in crate::scan) type Named = fn(&[u8], &Range<usize>) -> Option<Finding>;

impl Kind {
    /// A number without a check, written in digits and separators.
    pub(in crate::scan) const NUMBER: Self = Self {
        entity: Entity::Email,
        shapes: &[],
        words: &[],
        check: |_| Some(0.0),
        canonical: |candidate| candidate.compact_text(),
        edges: Edges::Number,
        named: None,
    };
    /// A word of letters and digits.
    const WORD: Self = Self { edges: Edges::Word, ..Self::NUMBER };
}

pub(in crate::scan) static KINDS: LazyLock<Vec<&'static Kind>> = LazyLock::new(|| {
    [
        argentina_chile::KINDS,
        asia::KINDS,
        australia::KINDS,
        bank::KINDS,
        brazil::KINDS,
        canada_mexico::KINDS,
        crypto::KINDS,
        device::KINDS,
        europe::KINDS,
        india::KINDS,
        network::KINDS,
        nordic::KINDS,
        person::KINDS,
        phone::KINDS,
        united_kingdom::KINDS,
        super::secret::KINDS,
        united_states::KINDS,
    ]
    .into_iter()
    .flatten()
    .collect()
});
