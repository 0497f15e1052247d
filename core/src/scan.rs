//! What a scan of a call's texts says: counts, never the texts.

/// Kinds of personal data and secrets that are looked for; the place is stored, so it never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(usize)]
pub enum Entity {
    Email = 0,
    Phone = 1,
    Card = 2,
    Iban = 3,
    UsSsn = 4,
    Secret = 5,
}

impl Entity {
    pub const ALL: [Self; 6] = [Self::Email, Self::Phone, Self::Card, Self::Iban, Self::UsSsn, Self::Secret];

    pub fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Card => "card",
            Self::Iban => "iban",
            Self::UsSsn => "us_ssn",
            Self::Secret => "secret",
        }
    }
}

/// Where a value in an answer came from, as far as the call's own texts tell; the place is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(usize)]
pub enum Origin {
    /// The same value stands in the user's input.
    Echo = 0,
    /// It stands in a retrieved document.
    Retrieved = 1,
    /// It stands in the system prompt.
    System = 2,
    /// It stands in none of the inputs, all of which were there.
    Unexplained = 3,
    /// An input was absent or cut, so nobody can say.
    Unattributed = 4,
}

impl Origin {
    pub const ALL: [Self; 5] = [Self::Echo, Self::Retrieved, Self::System, Self::Unexplained, Self::Unattributed];

    pub fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Retrieved => "retrieved",
            Self::System => "system",
            Self::Unexplained => "unexplained",
            Self::Unattributed => "unattributed",
        }
    }
}

pub const ENTITIES: usize = Entity::ALL.len();
pub const ORIGINS: usize = Origin::ALL.len();

/// Hits of answers, by entity and origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hits([[u64; ORIGINS]; ENTITIES]);

impl Hits {
    pub fn add(&mut self, entity: Entity, origin: Origin, n: u64) {
        let slot = &mut self.0[entity as usize][origin as usize];
        *slot = slot.saturating_add(n);
    }

    pub fn get(&self, entity: Entity, origin: Origin) -> u64 {
        self.0[entity as usize][origin as usize]
    }

    pub fn of_origin(&self, origin: Origin) -> u64 {
        self.0.iter().map(|row| row[origin as usize]).sum()
    }

    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().flatten().zip(other.0.iter().flatten()) {
            *mine = mine.saturating_add(*theirs);
        }
    }

    /// (place in row-major order, count) of what is not zero.
    pub fn entries(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.0.iter().flatten().copied().enumerate().filter(|(_, n)| *n > 0)
    }

    /// `false` where no such place is known.
    pub fn set(&mut self, place: usize, n: u64) -> bool {
        let slot = self.0.get_mut(place / ORIGINS).and_then(|row| row.get_mut(place % ORIGINS));
        slot.map(|slot| *slot = n).is_some()
    }
}

/// The scan of one call's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scanned {
    pub hits: Hits,
    pub refused: bool,
}

/// Upstream moderation labels of one call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Moderated {
    /// `source:category` of each label that was raised.
    pub raised: Vec<Box<str>>,
    pub blocked: bool,
}
