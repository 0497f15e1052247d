//! US social security numbers: 3-2-4 with separators, or nine digits after a word that says so; areas, groups and
//! serials that were never given out are none (SSA, POMS RM 10201).

use leeway_core::scan::Entity;

use super::digits::context;
use super::{Found, Pattern, Site};

pub(super) struct Ssn;

const WORDS: [&str; 3] = ["ssn", "social security", "social security number"];
/// Printed in wallets and leaflets, and void since.
const VOID: [&str; 2] = ["078051120", "219099999"];

impl Pattern for Ssn {
    fn entity(&self) -> Entity {
        Entity::UsSsn
    }

    fn needs(&self, byte: u8) -> bool {
        byte.is_ascii_digit()
    }

    fn after(&self, before: u8) -> bool {
        !super::digits::inner(before)
    }

    fn of_numbers(&self) -> bool {
        true
    }

    fn parse(&self, site: &Site<'_>) -> Option<Found> {
        let run = site.run()?;
        let grouped = run.groups().starts_with(&[3, 2, 4]) && !run.mixed && run.separator != Some(b'.');
        // With blanks, as with none, the number could be anything else.
        let told = grouped && run.separator == Some(b'-');
        let fits = grouped || run.groups()[0] == 9;
        if !fits || !(told || context(site.text, site.at, &WORDS)) {
            return None;
        }
        let end = run.end(site.text, 9)?;
        let number =
            |range: std::ops::Range<usize>| run.digits()[range].iter().fold(0u32, |n, d| n * 10 + u32::from(*d));
        let (area, group, serial) = (number(0..3), number(3..5), number(5..9));
        let given_out = area != 0 && area != 666 && area < 900 && group != 0 && serial != 0;
        let canonical = run.text(9);
        (given_out && !VOID.contains(&canonical.as_str())).then_some(Found { end, canonical })
    }
}
