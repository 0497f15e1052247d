//! Tables of counts: how answers ended, and how calls failed. Their categories are few and fixed; every provider's word has its place in one.

use crate::event::{ERROR_CLASSES, FINISH_REASONS};
use crate::pane::{Count, Pane};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// By finish reason, each call that told one once.
    Finish,
    /// By error class, each failed call.
    Error,
}

impl Table {
    pub const ALL: [Self; 2] = [Self::Finish, Self::Error];

    /// What the share of one category is called before the dot: `finish.length`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Finish => "finish",
            Self::Error => "error",
        }
    }

    /// The whole table as a measure.
    pub fn id(self) -> &'static str {
        match self {
            Self::Finish => "finish_reasons",
            Self::Error => "error_classes",
        }
    }

    /// The categories, in their order.
    pub fn categories(self) -> &'static [&'static str] {
        match self {
            Self::Finish => &FINISH_REASONS,
            Self::Error => &ERROR_CLASSES,
        }
    }

    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    /// The place of a category.
    pub fn place(self, category: &str) -> Option<u8> {
        let place = self.categories().iter().position(|known| *known == category)?;
        u8::try_from(place).ok()
    }

    pub fn category(self, place: u8) -> &'static str {
        self.categories().get(usize::from(place)).copied().unwrap_or("other")
    }

    pub fn count(self, pane: &Pane, place: u8) -> Count {
        match self {
            Self::Finish => pane.finish(place),
            Self::Error => pane.class(place.into()),
        }
    }

    /// All of the table.
    pub fn whole(self, pane: &Pane) -> Count {
        let mut whole = Count::default();
        for place in 0..self.categories().len() as u8 {
            whole.merge(self.count(pane, place));
        }
        whole
    }

    /// The counts by category, in effective numbers where calls were sampled.
    pub fn counts(self, pane: &Pane) -> Vec<u64> {
        // Kish's effective number of calls beside the weighted one.
        let worth = pane.effective_calls() / pane.get(crate::pane::Counter::Calls).weight().max(f64::MIN_POSITIVE);
        let count = |place| (self.count(pane, place).weight() * worth).round() as u64;
        (0..self.categories().len() as u8).map(count).collect()
    }
}

/// The reason that a call with several answers is counted under: the one furthest from a plain end.
pub fn foremost(reasons: &[u8]) -> Option<u8> {
    // content_filter, error, length, other, tool_call, stop
    const RANK: [u8; FINISH_REASONS.len()] = [0, 3, 1, 5, 4, 2];
    let rank = |reason: &u8| RANK.get(usize::from(*reason)).copied();
    reasons.iter().copied().filter(|reason| rank(reason).is_some()).max_by_key(rank)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_answers_the_one_furthest_from_a_plain_end_counts() {
        let of = |words: &[&str]| {
            let reasons: Vec<u8> = words.iter().map(|word| crate::event::finish_reason(word)).collect();
            foremost(&reasons).map(|reason| Table::Finish.category(reason))
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["stop", "tool_use", "stop"]), Some("tool_call"));
        assert_eq!(of(&["stop", "max_tokens"]), Some("length"));
        assert_eq!(of(&["length", "SAFETY", "stop"]), Some("content_filter"));
        assert_eq!(of(&["end_turn", "never heard of"]), Some("other"));
        assert_eq!(foremost(&[200]), None, "no place of the table");
    }

    #[test]
    fn categories_are_found_by_their_names() {
        for table in Table::ALL {
            assert_eq!(Table::find(table.name()), Some(table));
            for (place, category) in table.categories().iter().enumerate() {
                assert_eq!(table.place(category).map(usize::from), Some(place));
                assert_eq!(table.category(place as u8), *category);
            }
            assert_eq!(table.place("nope"), None);
        }
    }
}
