//! The tests between two windows, by name: what rules can ask for, and in what their effects are counted.

use crate::measure::{Measure, Unit};

/// A test; ids are public and never renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    Psi,
    KolmogorovSmirnov,
    CramerVonMises,
    AndersonDarling,
    MannWhitney,
    Welch,
    Wasserstein,
    ChiSquare,
    G,
    JensenShannon,
    Hellinger,
    TotalVariation,
    TwoProportions,
    Fisher,
    Words,
    Classifier,
    Discrepancy,
}

/// What a test compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Distributions of values.
    Values,
    /// Counts of categories, of which a rate has two.
    Categories,
    /// Texts by their words.
    Words,
    /// Texts by their embeddings.
    Embeddings,
}

/// Which changes a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Up,
    Down,
    Both,
}

impl Test {
    pub const ALL: [Self; 17] = [
        Self::Psi,
        Self::KolmogorovSmirnov,
        Self::CramerVonMises,
        Self::AndersonDarling,
        Self::MannWhitney,
        Self::Welch,
        Self::Wasserstein,
        Self::ChiSquare,
        Self::G,
        Self::JensenShannon,
        Self::Hellinger,
        Self::TotalVariation,
        Self::TwoProportions,
        Self::Fisher,
        Self::Words,
        Self::Classifier,
        Self::Discrepancy,
    ];

    pub fn parse(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|test| test.id() == id)
    }

    pub fn id(self) -> &'static str {
        match self {
            Self::Psi => "psi",
            Self::KolmogorovSmirnov => "ks",
            Self::CramerVonMises => "cvm",
            Self::AndersonDarling => "ad",
            Self::MannWhitney => "mann_whitney",
            Self::Welch => "welch",
            Self::Wasserstein => "wasserstein",
            Self::ChiSquare => "chi_square",
            Self::G => "g",
            Self::JensenShannon => "jensen_shannon",
            Self::Hellinger => "hellinger",
            Self::TotalVariation => "total_variation",
            Self::TwoProportions => "two_proportions",
            Self::Fisher => "fisher",
            Self::Words => "words",
            Self::Classifier => "classifier",
            Self::Discrepancy => "mmd",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::Psi => "population stability index",
            Self::KolmogorovSmirnov => "Kolmogorov–Smirnov test",
            Self::CramerVonMises => "Cramér–von Mises test",
            Self::AndersonDarling => "Anderson–Darling test",
            Self::MannWhitney => "Mann–Whitney test, median difference",
            Self::Welch => "Welch's test, difference of means",
            Self::Wasserstein => "Wasserstein distance",
            Self::ChiSquare => "χ² test of homogeneity, Cramér's V",
            Self::G => "G test of homogeneity, Cramér's V",
            Self::JensenShannon => "Jensen–Shannon distance",
            Self::Hellinger => "Hellinger distance",
            Self::TotalVariation => "total variation distance",
            Self::TwoProportions => "test of two proportions, difference of shares",
            Self::Fisher => "Fisher's exact test, difference of shares",
            Self::Words => "Fisher's exact test of each word, difference of the shares of texts that have it",
            Self::Classifier => "domain classifier of words, difference of its scores",
            Self::Discrepancy => "maximum mean discrepancy of embeddings, by random Fourier features",
        }
    }

    pub fn takes(self) -> Takes {
        match self {
            Self::Psi
            | Self::KolmogorovSmirnov
            | Self::CramerVonMises
            | Self::AndersonDarling
            | Self::MannWhitney
            | Self::Welch
            | Self::Wasserstein => Takes::Values,
            Self::Words | Self::Classifier => Takes::Words,
            Self::Discrepancy => Takes::Embeddings,
            _ => Takes::Categories,
        }
    }

    /// Whether it compares what the measure has: values, a share, or the moments of values.
    pub fn fits(self, measure: &Measure) -> bool {
        match self.takes() {
            Takes::Values => measure.takes_quantile() || (measure.is_mean() && self == Self::Welch),
            // A table of more than two has no direction.
            Takes::Categories => measure.is_rate() || (matches!(measure, Measure::Table(_)) && !self.signed()),
            Takes::Words => matches!(measure, Measure::Words(_)),
            Takes::Embeddings => matches!(measure, Measure::Embedding(_)),
        }
    }

    /// The test of a measure where a rule names none; `None` where there is nothing to compare.
    pub fn usual(measure: &Measure) -> Option<Self> {
        [Self::Psi, Self::Fisher, Self::Welch, Self::Words, Self::Discrepancy, Self::TotalVariation]
            .into_iter()
            .find(|test| test.fits(measure))
    }

    /// Whether a rise and a fall have effects of different sign.
    pub fn signed(self) -> bool {
        matches!(self, Self::MannWhitney | Self::Welch | Self::TwoProportions | Self::Fisher | Self::Words)
    }

    /// Whether its law needs five expected values in each category.
    pub fn needs_five(self) -> bool {
        matches!(self, Self::ChiSquare | Self::G | Self::JensenShannon | Self::Hellinger | Self::TotalVariation)
    }

    /// The smallest p-value that it can give.
    pub fn least_p(self) -> f64 {
        match self {
            Self::AndersonDarling | Self::Wasserstein => 0.001,
            Self::CramerVonMises => 1e-8,
            _ => 0.0,
        }
    }

    /// The effect that matters where a rule says none; `None` where only the rule can know.
    pub fn least_effect(self, measure: &Measure) -> Option<f64> {
        match self {
            // Three calls of a hundred that end, or fail, otherwise.
            Self::TotalVariation if matches!(measure, Measure::Table(_)) => Some(0.03),
            Self::Psi | Self::KolmogorovSmirnov | Self::Wasserstein | Self::Discrepancy => Some(0.1),
            Self::ChiSquare | Self::G | Self::JensenShannon | Self::Hellinger | Self::TotalVariation => Some(0.1),
            Self::CramerVonMises => Some(0.05),
            Self::TwoProportions | Self::Fisher => Some(0.01),
            Self::Words => Some(0.05),
            Self::Classifier => Some(0.2),
            Self::AndersonDarling | Self::MannWhitney | Self::Welch => None,
        }
    }

    /// What an effect is counted in.
    pub fn unit(self, measure: &Measure) -> Unit {
        match self {
            Self::Psi => Unit::Psi,
            Self::MannWhitney | Self::Welch => measure.unit(),
            Self::TwoProportions | Self::Fisher | Self::Words | Self::TotalVariation => Unit::Share,
            Self::Wasserstein | Self::Classifier | Self::Discrepancy => Unit::Deviations,
            _ => Unit::Distance,
        }
    }
}

impl Direction {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "up" => Some(Self::Up),
            "down" => Some(Self::Down),
            "both" => Some(Self::Both),
            _ => None,
        }
    }

    /// How far an effect goes in this direction.
    pub fn size(self, effect: f64) -> f64 {
        match self {
            Self::Up => effect,
            Self::Down => -effect,
            Self::Both => effect.abs(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_and_are_each_one_tests() {
        for test in Test::ALL {
            assert_eq!(Test::parse(test.id()), Some(test));
        }
        assert_eq!(Test::parse("nope"), None);
    }
}
