//! Passwords that people chose: shorter than what is random, known by the name before them and by what they are made of.

use std::ops::Range;

use leeway_core::scan::Entity;

use super::super::find::Finding;
use super::super::kinds::{Edges, Kind, Shape};
use super::placeholder;

/// The shape is the name alone; what follows it is looked at by `password`.
pub(super) const NAME: Kind = Kind {
    entity: Entity::Password,
    shapes: &[Shape(
        r"(?i-u:(?:db|pg|user|admin|smtp|mysql)?pass(?:word|wort|wd|phrase|code)?|(?:db)?pwd|pswd|kennwort|contrase(?:\xC3[\xB1\x91]|n)a|senha|wachtwoord|mot de passe|mdp|parola|has(?:\xC5[\x81\x82]|l)o|heslo|l\xC3[\x96\xB6]senord|salasana|adgangskode)",
        0.0,
    )],
    words: &["password"],
    check: |_| None,
    canonical: |_| String::new(),
    edges: Edges::Token,
};

/// Shortest and longest password, bytes; and what may stand between it and its name.
const SHORTEST: usize = 6;
const LONGEST: usize = 64;
const GAP: usize = 56;

/// What says that a value follows, and what may stand between that and the value.
const VERBS: [&[u8]; 12] =
    [b"is", b"was", b"to", b"be", b"ist", b"lautet", b"war", b"est", b"es", b"era", b"on", "é".as_bytes()];
const STILL: [&[u8]; 9] =
    [b"now", b"set", b"to", b"still", b"currently", b"changed", b"reset", b"jetzt", b"maintenant"];

/// Parts of names of algorithms, types and versions, which are no passwords.
const TECHNICAL: [&[u8]; 21] = [
    b"sha1", b"sha2", b"sha3", b"sha5", b"md5", b"base64", b"base32", b"argon2", b"utf8", b"utf16", b"aes", b"pbkdf2",
    b"oauth2", b"http", b"x509", b"ipv4", b"ipv6", b"int32", b"int64", b"ed25519", b"bcrypt",
];

/// Evidence of letters, digits and signs, bits.
const STRONG: f32 = 1.0;

/// How a value is tied to its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tie {
    /// By a sign, or as an option's value.
    Assigned,
    /// By words: "the password of the router is".
    Spoken,
    /// It stands right behind.
    Beside,
}

/// The password that a name at a place is followed by.
pub(in crate::scan) fn password(text: &[u8], name: &Range<usize>) -> Option<Finding> {
    let (start, tie) = begins(text, name)?;
    let quote = text[..start].last().filter(|byte| quotes(**byte));
    let value = &text[start..start + reads(&text[start..], quote.copied())?];
    let strength = strength(value)?;
    let least = match tie {
        Tie::Assigned => f32::MIN,
        Tie::Spoken => 0.0,
        Tie::Beside => STRONG,
    };
    if strength < least || placeholder(value) {
        return None;
    }
    Some(Finding {
        entity: Entity::Password,
        range: start..start + value.len(),
        canonical: String::from_utf8_lossy(value).into_owned(),
        shape: strength,
        check: 0.0,
        words: if tie == Tie::Assigned { 7.0 } else { 6.0 },
        word: "password",
        name: None,
        test: false,
    })
}

fn quotes(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'`')
}

fn blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Where the value begins to which a name belongs, beyond its opening quote.
fn begins(text: &[u8], name: &Range<usize>) -> Option<(usize, Tie)> {
    let rest = &text[name.end..text.len().min(name.end + GAP)];
    let goes_on = |byte: &u8| byte.is_ascii_alphanumeric() || !byte.is_ascii();
    // `password_hash`, `passwords`, `password-reset` name something else.
    match rest {
        [first, ..] if goes_on(first) => return None,
        [b'_' | b'-' | b'.', next, ..] if goes_on(next) => return None,
        _ => {}
    }
    let skip = |from: usize, of: fn(u8) -> bool| from + rest[from..].iter().take_while(|byte| of(**byte)).count();
    let value = |from: usize, tie| {
        // The value may stand in the next line, in quotes or in heavy letters.
        let at = skip(from, |byte| blank(byte) || byte == b'*');
        let at = skip(at + usize::from(rest.get(at) == Some(&b'\n')), blank);
        let at = at + usize::from(rest.get(at).is_some_and(|byte| quotes(*byte)));
        (at < rest.len()).then_some((name.end + at, tie))
    };
    let before = name.start.checked_sub(1).map(|at| text[at]);
    let closed = skip(0, |byte| blank(byte) || quotes(byte) || matches!(byte, b'*' | b')' | b']'));
    match &rest[closed..] {
        [b'=', b'=' | b'~', ..] | [b':', b':', ..] => return None,
        [b':', b'=', ..] | [b'=' | b'-', b'>', ..] => return value(closed + 2, Tie::Assigned),
        [0xEF, 0xBC, 0x9A, ..] => return value(closed + 3, Tie::Assigned),
        [b':' | b'=' | b'|', ..] => return value(closed + 1, Tie::Assigned),
        [b'>', ..] if before == Some(b'<') => return value(closed + 1, Tie::Assigned),
        _ => {}
    }
    if closed > 0 && (before == Some(b'-') || before == Some(b'_')) {
        return value(0, Tie::Assigned);
    }
    // To pass something is no name.
    if name.len() == "pass".len() {
        return None;
    }
    if closed > 0 && !wordy(&rest[closed..]) && rest[closed] != b'(' {
        return value(0, Tie::Beside);
    }
    let apart = |byte| blank(byte) || matches!(byte, b'(' | b')');
    let (mut at, mut said) = (skip(closed, apart), false);
    while at < rest.len() {
        let end = skip(at, |byte| byte.is_ascii_alphabetic() || !byte.is_ascii());
        let word = rest[at..end].to_ascii_lowercase();
        let is = |words: &[&[u8]]| words.contains(&&word[..]);
        said = is(&VERBS) || said && is(&STILL);
        let next = skip(end, apart);
        match rest.get(next) {
            Some(b':' | b'=') if end > at => return value(next + 1, Tie::Assigned),
            Some(byte) if said && (next > end) && !byte.is_ascii_lowercase() => return value(next, Tie::Spoken),
            // A word with a sign or a digit in it ends what is spoken.
            Some(_) if end == at || next == end => return None,
            Some(_) if said && !wordy(&rest[next..]) => return value(next, Tie::Spoken),
            _ => at = next,
        }
    }
    None
}

/// Whether a word of letters alone stands at the beginning.
fn wordy(text: &[u8]) -> bool {
    let end = text.iter().take_while(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii()).count();
    text.get(end).is_none_or(|byte| blank(*byte) || matches!(byte, b':' | b'=' | b'.' | b',' | b'\n'))
}

/// How long the value at the beginning is.
fn reads(text: &[u8], quote: Option<u8>) -> Option<usize> {
    let text = &text[..text.len().min(LONGEST + 1)];
    let ends = |byte: u8| byte.is_ascii_whitespace() || quotes(byte) || matches!(byte, b'<' | b'\\' | b'|');
    let end = text.iter().position(|byte| quote.map_or(ends(*byte), |quote| *byte == quote));
    let end = match end {
        Some(end) => end,
        None if text.len() <= LONGEST && quote.is_none() => text.len(),
        None => return None,
    };
    let mut value = &text[..end];
    if quote.is_none() {
        // `password=…&user=…`, `password: …, user: …`
        let other = |at: &usize| matches!(value[*at], b'&' | b',' | b';') && value[*at..].contains(&b'=');
        value = &value[..(0..value.len()).find(other).unwrap_or(value.len())];
        while let [rest @ .., b'.' | b',' | b';' | b':' | b')' | b']' | b'}' | b'*' | b'?'] = value {
            value = rest;
        }
    }
    (SHORTEST..=LONGEST).contains(&value.len()).then_some(value.len())
}

/// Evidence, in bits, of what a value is made of that somebody chose; `None` of what is rather a word, a name, a path or code.
fn strength(value: &[u8]) -> Option<f32> {
    let count = |of: fn(&u8) -> bool| value.iter().filter(|byte| of(byte)).count();
    let (small, capital) = (count(u8::is_ascii_lowercase), count(u8::is_ascii_uppercase));
    let digits = count(u8::is_ascii_digit);
    let special = count(|byte| matches!(byte, b'!' | b'@' | b'#' | b'$' | b'%' | b'^' | b'&' | b'*' | b'?'));
    let joins = count(|byte| matches!(byte, b'-' | b'_' | b'.' | b'/' | b':' | b',' | b'+' | b'~'));
    // Brackets, blanks, signs of code; and writing other than ASCII.
    if small + capital + digits + special + joins < value.len() || small + capital == 0 {
        return None;
    }
    let begins = !matches!(value[0], b'$' | b'%' | b'/' | b'~' | b'.' | b':' | b'-' | b'&' | b'*' | b'+' | b'^' | b'?');
    let at = value.iter().position(|byte| *byte == b'@');
    let mail = at.is_some_and(|at| value[at..].contains(&b'.'));
    let path = value.windows(2).any(|two| matches!(two, b"//" | b"::" | b"..")) || joins > 2;
    let lower = value.to_ascii_lowercase();
    let technical = TECHNICAL.iter().any(|name| memchr::memmem::find(&lower, name).is_some());
    if !begins || mail || path || technical {
        return None;
    }
    let classes = [small, capital, digits, special].into_iter().filter(|n| *n > 0).count();
    let rises = value.windows(2).filter(|two| two[0].is_ascii_lowercase() && two[1].is_ascii_uppercase()).count();
    match (classes, special) {
        (3.., 1..) => Some(STRONG),
        // Names in code have a digit, too.
        (3.., 0) if joins == 0 && value.len() > 7 && (digits > 1 || rises == 0) => Some(0.0),
        (2, 0) if joins == 0 && value.len() > 7 && digits > 1 => Some(-4.5),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::find::find;
    use super::*;

    /// What is found in a text as a password, and whether it alerts.
    fn found(text: &str) -> Option<(String, bool)> {
        let found = find(text.as_bytes()).into_iter().find(|finding| finding.entity == Entity::Password)?;
        assert_eq!(found.canonical.as_bytes(), &text.as_bytes()[found.range.clone()]);
        Some((found.canonical.clone(), found.bits() >= super::super::super::find::ALERT_BITS))
    }

    #[test]
    fn what_a_password_is_given_as_is_found() {
        for (text, value) in [
            ("DB_PASSWORD=Tr0ub4dor&3", "Tr0ub4dor&3"),
            ("password: hunter2!", "hunter2!"),
            ("my password is S3cr3t!pass, thanks", "S3cr3t!pass"),
            ("the root password of the old server is Xk9$mQ2p.", "Xk9$mQ2p"),
            ("passwd = \"kR7#vLq2\"", "kR7#vLq2"),
            ("**Password:** `Summer2024!`", "Summer2024!"),
            ("Password: Winter2024", "Winter2024"),
            ("{\"user\":\"bob\",\"password\":\"Qw3rty!9x\"}", "Qw3rty!9x"),
            ("login: bob / pass: Qw3rty!9x", "Qw3rty!9x"),
            ("Contraseña: Verano2024!", "Verano2024!"),
            ("Ihr Passwort lautet gT7$kkLp", "gT7$kkLp"),
            ("Votre mot de passe est Bleu#4821", "Bleu#4821"),
            ("I set the password to now Gr8t!Wall", "Gr8t!Wall"),
            ("mysqldump --password Zx9!kk2P shop", "Zx9!kk2P"),
            ("https://x.io/login?user=a&password=Zx9!kk2P&next=1", "Zx9!kk2P"),
            ("<password>Zx9!kk2P</password>", "Zx9!kk2P"),
            ("| password | Zx9!kk2P |", "Zx9!kk2P"),
            ("the password for staging: Blue42Horse", "Blue42Horse"),
            ("the password (for the staging db) is Zx9!kk2P", "Zx9!kk2P"),
            ("log in as bob with password Zx9!kk2P please", "Zx9!kk2P"),
            ("PGPASSWORD='Zx9!kk2P' psql", "Zx9!kk2P"),
        ] {
            assert_eq!(found(text), Some((value.to_owned(), true)), "{text}");
        }
        assert_eq!(found("password=horse4821"), Some(("horse4821".to_owned(), false)), "a weak one is looked at");
    }

    #[test]
    fn what_is_no_password_is_not() {
        for text in [
            "the password must contain 8 characters, 1 digit and a sign!",
            "password: required",
            "password: ********",
            "Password: string",
            "password: str = None",
            "if password == Other1Password!",
            "password: ${DB_PASSWORD_1}",
            "password = $PASS1word",
            "password = os.environ['X1']",
            "password: {{ .Values.db1.Password }}",
            "password_hash = Zx9!kk2P",
            "passwords: Zx9!kk2P",
            "the password is stored as SHA256!hash",
            "the password is at least 8 long",
            "password: Sha256Hash",
            "password is sent to Bob@example4.com",
            "pass the value to Xk9$mQ2p",
            "forgot your password? Write to Help4U!",
            "password: /etc/Secrets/db1",
            "password: User.find1",
            "password=changeme1!",
            "password: (see Box4!)",
            "your password Winter2024 edition",
            "the password (8 signs, 1 digit!) is new",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }
}
