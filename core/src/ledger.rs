//! The ledger: what became of every message and every record, by (partition, minute received).
//!
//! Messages: consumed = decoded + undecodable. Records: seen = on_time + late + kept + future + duplicate + merged
//! + skipped + dead_lettered. It is shown to users and is the invariant of every fault run.

/// Counts of one partition and minute; all add up when merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ledger {
    pub consumed: u64,
    pub decoded: u64,
    pub undecodable: u64,
    pub seen: u64,
    pub on_time: u64,
    pub late: u64,
    /// Feedback, changes and the other kinds that are rows.
    pub kept: u64,
    pub future: u64,
    pub duplicate: u64,
    pub merged: u64,
    pub skipped: u64,
    pub dead_lettered: u64,
    /// Accepted without de-duplication (no id, or older than the index); already within `on_time` and `late`.
    pub unindexed: u64,
    /// Duplicates that disagree with what was counted; already within `duplicate` and `merged`.
    pub conflicting: u64,
    /// Unknown fields that were ignored; fields, not records.
    pub unknown_fields: u64,
}

impl Ledger {
    pub const NAMES: [&'static str; 15] = [
        "consumed",
        "decoded",
        "undecodable",
        "seen",
        "on_time",
        "late",
        "kept",
        "future",
        "duplicate",
        "merged",
        "skipped",
        "dead_lettered",
        "unindexed",
        "conflicting",
        "unknown_fields",
    ];

    pub fn values(&self) -> [u64; 15] {
        [
            self.consumed,
            self.decoded,
            self.undecodable,
            self.seen,
            self.on_time,
            self.late,
            self.kept,
            self.future,
            self.duplicate,
            self.merged,
            self.skipped,
            self.dead_lettered,
            self.unindexed,
            self.conflicting,
            self.unknown_fields,
        ]
    }

    pub fn from_values(values: [u64; 15]) -> Self {
        let [
            consumed,
            decoded,
            undecodable,
            seen,
            on_time,
            late,
            kept,
            future,
            duplicate,
            merged,
            skipped,
            dead_lettered,
            unindexed,
            conflicting,
            unknown_fields,
        ] = values;
        Self {
            consumed,
            decoded,
            undecodable,
            seen,
            on_time,
            late,
            kept,
            future,
            duplicate,
            merged,
            skipped,
            dead_lettered,
            unindexed,
            conflicting,
            unknown_fields,
        }
    }

    pub fn merge(&mut self, other: &Self) {
        let mut sums = self.values();
        sums.iter_mut().zip(other.values()).for_each(|(mine, theirs)| *mine += theirs);
        *self = Self::from_values(sums);
    }

    pub fn accepted(&self) -> u64 {
        self.on_time + self.late + self.kept
    }

    /// Both equations of the module's head.
    pub fn balanced(&self) -> bool {
        let records = self.accepted() + self.future + self.duplicate + self.merged + self.skipped + self.dead_lettered;
        self.consumed == self.decoded + self.undecodable && self.seen == records
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_names_stay_in_step() {
        let values: [u64; 15] = std::array::from_fn(|i| i as u64 + 1);
        let ledger = Ledger::from_values(values);
        assert_eq!(ledger.values(), values);
        assert_eq!((ledger.consumed, ledger.conflicting), (1, 14));
        let mut twice = ledger;
        twice.merge(&ledger);
        assert_eq!(twice.values(), values.map(|v| 2 * v));
        assert!(!ledger.balanced());
    }
}
