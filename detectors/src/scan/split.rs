//! Texts cut at signs: by bytes as long as they are ASCII's, which most are.

/// What stands between the bytes that are no part of it. What no byte of it tells to be whole letters is left out.
pub(super) fn runs<'t>(text: &'t str, part: impl Fn(u8) -> bool + 't) -> impl Iterator<Item = &'t str> {
    text.as_bytes().split(move |byte| !part(*byte)).filter_map(|run| std::str::from_utf8(run).ok())
}

/// Calls `told` with what stands between the letters that are no part of it, empty ones too.
pub(super) fn words(text: &str, part: impl Fn(char) -> bool, mut told: impl FnMut(&str)) {
    // Between signs of ASCII there are whole letters.
    for run in runs(text, |byte| !byte.is_ascii() || part(char::from(byte))) {
        if run.is_ascii() {
            told(run);
        } else {
            run.split(|letter| !part(letter)).for_each(&mut told);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn words_are_what_a_look_at_each_letter_finds(text in "([a-zA-Z0-9'’éß密 ,.-]{0,12}|.{0,6}){0,6}") {
            for part in [char::is_alphanumeric as fn(char) -> bool, |letter| letter.is_alphanumeric() || matches!(letter, '\'' | '\u{2019}')] {
                let mut told = Vec::new();
                words(&text, part, |word| told.push(word.to_owned()));
                prop_assert_eq!(told, text.split(|letter| !part(letter)).collect::<Vec<_>>());
            }
        }
    }
}
