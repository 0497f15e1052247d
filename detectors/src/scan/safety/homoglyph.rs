//! Words that mix scripts to look like others: Latin with Cyrillic, Greek, Armenian or Cherokee letters that look alike.

/// Letters of other scripts that pass for Latin ones (Unicode UTS 39, the common part).
const ALIKE: &str = "аеорсухіјѕԁһԛԝѵгпткмвнАВЕКМНОРСТУХІЈЅԀԚԜαορνυικτεηΑΒΕΖΗΙΚΜΝΟΡΤΥΧօսոհցքԁᎪᎢᎳᏔᏙᏚᎬᎻᎷ";

/// Least letters of a word with a Greek one in it: `μm`, `Δt` are no disguise.
const SHORTEST: usize = 3;

/// Whether a word has Latin letters and letters that only look so.
pub fn mixes(text: &str) -> bool {
    if text.is_ascii() {
        return false;
    }
    text.split(|letter: char| !letter.is_alphabetic()).any(|word| {
        let latin = word.chars().filter(char::is_ascii_alphabetic).count();
        let alike = word.chars().filter(|letter| !letter.is_ascii() && ALIKE.contains(*letter)).count();
        let n = word.chars().count();
        let greek = word.chars().any(|letter| matches!(letter, '\u{370}'..='\u{3ff}'));
        alike > 0 && latin > 0 && latin + alike == n && (n >= SHORTEST || !greek)
    })
}
