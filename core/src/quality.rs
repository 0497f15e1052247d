//! What is measured of texts without a model: one number a call, summed in the pane.

/// One measured quality; the place is stored, so it never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Quality {
    /// Characters of the answer.
    Length = 0,
    /// Bytes of the answer after DEFLATE, of those before: repetition makes it small.
    Compression = 1,
    /// A finished call whose answer holds no text, and which called no tool.
    Empty = 2,
    /// An answer that begins as JSON is JSON.
    JsonValid = 3,
    /// The application found that the answer fits its schema.
    SchemaValid = 4,
    /// The answer is in the language of the question.
    LanguageMatch = 5,
    /// Of the answer's words, those that stand in the documents.
    Grounded = 6,
    /// Of the question's words, those that stand in the answer.
    Overlap = 7,
    /// Of the answer's citations, those that name a document that was there.
    CitationsValid = 8,
    /// Of the answer's citations, those that name a document again.
    CitationsRepeated = 9,
    /// Where the cited documents stood: 0 the first, 1 the last.
    CitationPosition = 10,
    /// Of the answer's quotations, those that stand in a document.
    QuotesFound = 11,
}

impl Quality {
    pub const ALL: [Self; 12] = [
        Self::Length,
        Self::Compression,
        Self::Empty,
        Self::JsonValid,
        Self::SchemaValid,
        Self::LanguageMatch,
        Self::Grounded,
        Self::Overlap,
        Self::CitationsValid,
        Self::CitationsRepeated,
        Self::CitationPosition,
        Self::QuotesFound,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::Compression => "compression",
            Self::Empty => "empty",
            Self::JsonValid => "json_valid",
            Self::SchemaValid => "schema_valid",
            Self::LanguageMatch => "language_match",
            Self::Grounded => "grounded",
            Self::Overlap => "overlap",
            Self::CitationsValid => "citations_valid",
            Self::CitationsRepeated => "citations_repeated",
            Self::CitationPosition => "citation_position",
            Self::QuotesFound => "quotes_found",
        }
    }

    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|quality| quality.name() == name)
    }

    /// Every value is 0 or 1.
    pub fn yes_or_no(self) -> bool {
        matches!(self, Self::Empty | Self::JsonValid | Self::SchemaValid | Self::LanguageMatch)
    }
}

/// Sums of one quality over calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QualitySum {
    pub n: u64,
    pub sum_micro: u128,
    /// Σ value², in millionths.
    pub sum_squares_micro: u128,
}

impl QualitySum {
    pub fn add(&mut self, micro: u64) {
        self.n += 1;
        self.sum_micro += u128::from(micro);
        self.sum_squares_micro += u128::from(micro).pow(2) / 1_000_000;
    }

    pub fn merge(&mut self, other: Self) {
        self.n += other.n;
        self.sum_micro = self.sum_micro.saturating_add(other.sum_micro);
        self.sum_squares_micro = self.sum_squares_micro.saturating_add(other.sum_squares_micro);
    }
}
