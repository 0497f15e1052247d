//! What a tenant's app may say: which values and hazards are allowed, count as leaks, or are severe.

use crate::hazard::{Hazard, Moderated};
use crate::pane::Beside;
use crate::scan::{Entity, Origin, Scanned};

/// What the policy says of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ruling {
    /// It is counted by kind and origin, and is no leak.
    Allowed,
    /// It is a leak.
    Counts,
    /// It is a leak, and its call is severe.
    Severe,
}

impl Ruling {
    pub const NAMES: [(&'static str, Self); 3] =
        [("allowed", Self::Allowed), ("counts", Self::Counts), ("severe", Self::Severe)];
}

/// One row: whom it is about, what it is about, and what it says. Without kinds it is about all kinds, without origins
/// about what is unexplained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// `None` is every tenant.
    pub tenant: Option<String>,
    pub app: Option<String>,
    pub kinds: Vec<Entity>,
    pub origins: Vec<Origin>,
    /// A row about hazards is about no values.
    pub hazards: Vec<Hazard>,
    pub ruling: Ruling,
}

/// Rows in their order: the last one that speaks of a value decides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    pub rows: Vec<Row>,
}

/// Origins that a leak has where no row says otherwise.
pub const LEAKS: [Origin; 1] = [Origin::Unexplained];

impl Policy {
    fn of<'p>(&'p self, tenant: &'p str, app: &'p str) -> impl Iterator<Item = &'p Row> {
        let fits = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|wanted| wanted == is);
        self.rows.iter().rev().filter(move |row| fits(&row.tenant, tenant) && fits(&row.app, app))
    }

    pub fn value(&self, tenant: &str, app: &str, entity: Entity, origin: Origin) -> Ruling {
        let speaks = |row: &&Row| {
            let origins = if row.origins.is_empty() { &LEAKS[..] } else { &row.origins[..] };
            row.hazards.is_empty() && (row.kinds.is_empty() || row.kinds.contains(&entity)) && origins.contains(&origin)
        };
        let built_in = if LEAKS.contains(&origin) && entity.personal() { Ruling::Counts } else { Ruling::Allowed };
        self.of(tenant, app).find(speaks).map_or(built_in, |row| row.ruling)
    }

    pub fn hazard(&self, tenant: &str, app: &str, hazard: Hazard) -> Ruling {
        self.of(tenant, app).find(|row| row.hazards.contains(&hazard)).map_or(Ruling::Counts, |row| row.ruling)
    }

    /// Says which of the values of a scan are leaks.
    pub fn judge(&self, tenant: &str, app: &str, scanned: &mut Scanned) {
        for (entity, origin, n) in scanned.hits.values() {
            // A foreign document's value is a retrieved one too: the closer word decides.
            let foreign =
                if origin == Origin::Retrieved { scanned.hits.get(entity, Origin::ForeignDocument) } else { 0 };
            let n = n.saturating_sub(foreign);
            let ruling = if n == 0 { Ruling::Allowed } else { self.value(tenant, app, entity, origin) };
            scanned.leaks += if ruling >= Ruling::Counts { n } else { 0 };
            scanned.severe |= ruling == Ruling::Severe;
        }
    }

    /// Takes back labels that the policy allows, and says whether one is severe.
    pub fn judge_labels(&self, tenant: &str, app: &str, moderated: &mut Moderated) -> bool {
        if self.rows.is_empty() {
            return false;
        }
        let mut severe = false;
        for judged in &mut moderated.judged {
            for hazard in Hazard::ALL.into_iter().filter(|hazard| judged.hazards & hazard.bit() != 0) {
                match self.hazard(tenant, app, hazard) {
                    Ruling::Allowed => judged.allowed |= hazard.bit(),
                    Ruling::Counts => {}
                    Ruling::Severe => severe = true,
                }
            }
        }
        severe
    }

    /// Says whether a value of the telemetry itself is severe.
    pub fn judge_beside(&self, tenant: &str, app: &str, beside: &mut Beside) {
        let severe = |(entity, origin, _)| self.value(tenant, app, entity, origin) == Ruling::Severe;
        beside.severe |= beside.hits.values().any(severe);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(tenant: Option<&str>, kinds: &[Entity], origins: &[Origin], ruling: Ruling) -> Row {
        Row {
            tenant: tenant.map(str::to_owned),
            app: None,
            kinds: kinds.to_vec(),
            origins: origins.to_vec(),
            hazards: Vec::new(),
            ruling,
        }
    }

    #[test]
    fn the_last_row_that_speaks_of_a_value_decides() {
        let policy = Policy {
            rows: vec![
                row(None, &[Entity::Secret], &[], Ruling::Severe),
                row(Some("acme"), &[Entity::Phone], &[], Ruling::Allowed),
                row(Some("acme"), &[], &[Origin::Retrieved], Ruling::Counts),
            ],
        };
        let of = |tenant, entity, origin| policy.value(tenant, "app", entity, origin);
        assert_eq!(of("acme", Entity::Phone, Origin::Unexplained), Ruling::Allowed);
        assert_eq!(of("other", Entity::Phone, Origin::Unexplained), Ruling::Counts);
        assert_eq!(of("other", Entity::Ip, Origin::Unexplained), Ruling::Allowed, "machines are no people");
        assert_eq!(of("acme", Entity::Secret, Origin::Unexplained), Ruling::Severe);
        assert_eq!(of("acme", Entity::Secret, Origin::Retrieved), Ruling::Counts);
        assert_eq!(of("other", Entity::Secret, Origin::Retrieved), Ruling::Allowed);
        let mut scanned = Scanned::default();
        scanned.hits.add(Entity::Phone, Origin::Unexplained, 2);
        scanned.hits.add(Entity::Email, Origin::Unexplained, 1);
        policy.judge("acme", "app", &mut scanned);
        assert_eq!((scanned.leaks, scanned.severe), (1, false));
        let both = Policy { rows: vec![row(None, &[], &[Origin::Retrieved, Origin::ForeignDocument], Ruling::Counts)] };
        let mut scanned = Scanned::default();
        scanned.hits.add(Entity::Email, Origin::Retrieved, 3);
        scanned.hits.add(Entity::Email, Origin::ForeignDocument, 1);
        both.judge("acme", "app", &mut scanned);
        assert_eq!(scanned.leaks, 3, "one of three is foreign");
    }
}
