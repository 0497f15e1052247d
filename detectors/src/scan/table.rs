//! Tables in a text, Markdown's and of separated values: what the first row says of a value further down.

use std::ops::Range;

use memchr::{memchr, memrchr};

/// Bytes of a line, of all lines, and lines that are looked at.
const LINE: usize = 512;
const ALL: usize = 2_048;
const LINES: usize = 32;

/// The cell of the first row above a place, without blanks; `None` where that is no table, or its first row has numbers.
pub(super) fn header(text: &[u8], at: usize) -> Option<Range<usize>> {
    let line = line(text, at).filter(|line| line.start > 0)?;
    let separator = *b"|\t;,".iter().find(|separator| memchr(**separator, &text[line.clone()]).is_some())?;
    let cells = |line: &Range<usize>| memchr::memchr_iter(separator, &text[line.clone()]).count();
    let wanted = cells(&line);
    let (mut top, mut left) = (line.clone(), LINES);
    while left > 0 && top.start > 0 && at - top.start < ALL {
        let Some(above) = self::line(text, top.start - 1).filter(|above| cells(above) == wanted) else { break };
        (top, left) = (above, left - 1);
    }
    if top == line {
        return None;
    }
    // Code and JSON have a comma at the end of a line, and names in quotes.
    let code = |byte: &u8| b"\"'`:=(){}[]".contains(byte);
    if separator == b',' && (wanted < 2 || text[..top.end].ends_with(b",") || text[top.clone()].iter().any(code)) {
        return None;
    }
    let column = memchr::memchr_iter(separator, &text[line.start..at]).count();
    let mut ends = memchr::memchr_iter(separator, &text[top.clone()]).map(|place| top.start + place);
    let start = if column == 0 { top.start } else { ends.nth(column - 1)? + 1 };
    let end = ends.next().unwrap_or(top.end);
    let cell = &text[start..end];
    let blanks = |cell: &[u8]| cell.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let numbers = cell.windows(4).any(|four| four.iter().all(u8::is_ascii_digit));
    let cell = start + blanks(cell)..start + cell.trim_ascii_end().len().max(blanks(cell));
    (!cell.is_empty() && !numbers).then_some(cell)
}

/// The line in which a place is; `None` of a long one.
fn line(text: &[u8], at: usize) -> Option<Range<usize>> {
    let from = at.saturating_sub(LINE);
    let start = match memrchr(b'\n', &text[from..at]) {
        Some(place) => from + place + 1,
        None if from == 0 => 0,
        None => return None,
    };
    let to = text.len().min(at + LINE);
    match memchr(b'\n', &text[at..to]) {
        Some(place) => Some(start..at + place),
        None if to == text.len() => Some(start..to),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_is_a_part_of_a_line_above(text in "[|,;\t\n a1é]{0,120}", at in 0usize..140) {
            let at = text.floor_char_boundary(at);
            if let Some(cell) = header(text.as_bytes(), at) {
                let name = &text[cell.clone()];
                prop_assert!(text[cell.end..at].contains('\n') && !name.is_empty() && name.trim_ascii() == name, "{name:?}");
                prop_assert!(!name.contains('\n'));
            }
        }
    }

    #[test]
    fn the_first_row_says_what_a_column_is() {
        let above = |text: &str, value: &str| {
            let at = text.find(value).unwrap();
            header(text.as_bytes(), at).map(|cell| text[cell].to_owned())
        };
        let table =
            "As asked:\n\n| Name | Tax file no | Joined |\n|---|---|---|\n| Roe | 111 | May |\n| Doe | 222 | June |\n";
        assert_eq!(above(table, "111").as_deref(), Some("Tax file no"));
        assert_eq!(above(table, "222").as_deref(), Some("Tax file no"));
        assert_eq!(above(table, "June").as_deref(), Some("Joined"));
        assert_eq!(above("name,ssn,city\nRoe,333,Ghent\nDoe,444,Rome", "444").as_deref(), Some("ssn"));
        assert_eq!(above("ssn;name\n333;Doe", "333").as_deref(), Some("ssn"));
        assert_eq!(above("ssn\tname\n333\tDoe\n", "Doe").as_deref(), Some("name"));
        assert_eq!(above("333,Doe", "333"), None, "no row above");
        assert_eq!(above("channel,ssn\n333,Doe", "333"), None, "two words are no table");
        assert_eq!(above("{\n  \"type\": \"text\",\n  \"index\": 333,\n", "333"), None, "code");
        assert_eq!(above("a, b, and\n333, Doe", "333"), None, "another number of cells");
        assert_eq!(above("1234,b\n333,Doe", "333"), None, "numbers are no names");
        assert_eq!(above("\n\n333", "333"), None);
        assert_eq!(above(",,\n333,,", "333"), None);
        let long = format!("ssn,name\n{}333,Doe", " ".repeat(600));
        assert_eq!(above(&long, "333"), None);
    }

    #[test]
    fn a_long_table_is_looked_at_as_far_as_it_is_allowed_to() {
        let rows = "333333333333,Doe,Rome\n".repeat(10_000);
        let text = format!("ssn,name,city\n{rows}");
        assert!(header(text.as_bytes(), text.len() - 10).is_none());
        let near = 14 + 22 * 20;
        assert_eq!(header(text.as_bytes(), near), Some(0..3));
    }
}
