//! Characters that nobody sees: runs that hide text, not the single ones that scripts and emoji need.

/// Most characters of one kind of width nothing that stand together in honest text.
const TOGETHER: usize = 3;

/// Most tags of a flag: six, and the one that ends it.
const FLAG: usize = 7;

fn tag(letter: char) -> bool {
    matches!(letter, '\u{e0000}'..='\u{e007f}')
}

fn selector(letter: char) -> bool {
    matches!(letter, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

fn zero_width(letter: char) -> bool {
    matches!(letter, '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{180e}' | '\u{00ad}' | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}')
}

/// Whether the text hides characters: tags outside a flag, selectors in a row or without a base, runs of width nothing,
/// letters whose direction is overridden.
pub fn hides(text: &str) -> bool {
    if text.is_ascii() {
        return false;
    }
    let (mut before, mut flag, mut tags, mut selectors, mut widths, mut between) = (' ', false, 0, 0, 0, 0);
    let mut overridden = false;
    for letter in text.chars() {
        // A flag has a few tags: the letters of a region.
        tags = if tag(letter) { tags + 1 } else { 0 };
        if tags > if flag { FLAG } else { 0 } {
            return true;
        }
        flag = letter == '\u{1f3f4}' || flag && tag(letter);
        selectors = if selector(letter) { selectors + 1 } else { 0 };
        // A selector needs a base that has variants; a second one has none.
        if selectors > 1 || selectors == 1 && (before.is_ascii_alphabetic() || before.is_whitespace()) {
            return true;
        }
        widths = if zero_width(letter) { widths + 1 } else { 0 };
        between += usize::from(zero_width(letter) && letter != '\u{ad}' && before.is_ascii_alphanumeric());
        if widths > TOGETHER || between > 2 * TOGETHER {
            return true;
        }
        match letter {
            '\u{202d}' | '\u{202e}' => overridden = true,
            '\u{202c}' | '\u{2069}' | '\n' => overridden = false,
            letter if overridden && letter.is_ascii_alphabetic() => return true,
            _ => {}
        }
        before = letter;
    }
    false
}
