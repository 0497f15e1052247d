//! Passwords that people chose: shorter than what is random, known by the name before them and by what they are made of.

use std::borrow::Cow;
use std::ops::Range;

use leeway_core::scan::Entity;

use super::super::find::Finding;
use super::super::kinds::{Edges, Kind, Shape};
use super::placeholder;

/// The shape is the name alone; what follows it is looked at by `password`.
pub(super) const KIND: Kind = Kind {
    entity: Entity::Password,
    shapes: &[Shape(
        r"(?i-u:(?:db|pg|user|admin|smtp|mysql|new|old|root|current|master|client|key|keystore|truststore|ssh|ftp|ldap|account|redis|postgres|service)?pass(?:word|wort|wd|phrase|code)?|(?:db)?pwd|pswd|psk|requirepass|storepass|kennwort|contrase(?:\xC3[\xB1\x91]|n)a|senha|wachtwoord|mot de passe|mdp|parola|has(?:\xC5[\x81\x82]|l)o|heslo|l\xC3[\x96\xB6]senord|salasana|adgangskode)",
        0.0,
    )],
    words: &["password"],
    edges: Edges::Token,
    named: Some(password),
    ..Kind::NUMBER
};

/// Shortest and longest password, bytes; and what may stand between it and its name.
const SHORTEST: usize = 6;
const LONGEST: usize = 64;
const GAP: usize = 56;

/// What says that a value follows, and what may stand between that and the value.
const VERBS: [&[u8]; 10] = [b"is", b"was", b"be", b"ist", b"lautet", b"war", b"est", b"es", b"era", "é".as_bytes()];
const STILL: [&[u8]; 8] = [b"now", b"set", b"still", b"currently", b"changed", b"reset", b"jetzt", b"maintenant"];
/// Words after the name that make it another thing's.
const STOPS: [&[u8]; 16] = [
    b"policy",
    b"hint",
    b"manager",
    b"strength",
    b"expires",
    b"expired",
    b"changed",
    b"confirm",
    b"rules",
    b"reset",
    b"length",
    b"must",
    b"should",
    b"last",
    b"field",
    b"on",
];

/// Examples that manuals give.
const PUBLISHED: [&[u8]; 8] =
    [b"p@ssw0rd", b"p@$$w0rd", b"pa$$w0rd", b"passw0rd", b"test123", b"secret123", b"admin123", b"welcome123"];
const MONTHS: [&[u8]; 12] =
    [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];

/// Parts of names of algorithms, types and versions, which are no passwords.
const TECHNICAL: [&[u8]; 21] = [
    b"sha1", b"sha2", b"sha3", b"sha5", b"md5", b"base64", b"base32", b"argon2", b"utf8", b"utf16", b"aes", b"pbkdf2",
    b"oauth2", b"http", b"x509", b"ipv4", b"ipv6", b"int32", b"int64", b"ed25519", b"bcrypt",
];

/// Evidence of letters, digits and signs, bits.
const STRONG: f32 = 1.0;

/// Evidence of a weak one: together with a name and a sign it is for review.
const WEAK: f32 = -4.5;

/// How a value is tied to its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tie {
    /// By a sign, or as an option's value.
    Assigned,
    /// By words: "the password of the router is".
    Spoken,
    /// It stands right behind, or after "to".
    Beside,
}

/// The password that a name at a place is followed by.
fn password(text: &[u8], name: &Range<usize>) -> Option<Finding> {
    let (mut start, tie) = begins(text, name)?;
    let quote = text[..start].last().filter(|byte| quotes(**byte));
    let end = start + reads(&text[start..], quote.copied())?;
    // `user/password: bob/…`
    let pair = text[..name.start].ends_with(b"/");
    start += text[start..end].iter().position(|byte| pair && *byte == b'/').map_or(0, |at| at + 1);
    let value = &text[start..end];
    let strength = strength(&unescaped(value))?;
    let least = match tie {
        _ if verb(&text[name.clone()]) => STRONG,
        Tie::Assigned => WEAK,
        Tie::Spoken => 0.0,
        Tie::Beside => STRONG,
    };
    if strength < least || placeholder(value) {
        return None;
    }
    let plain = value.trim_ascii_end().to_ascii_lowercase();
    let plain = plain.strip_suffix(b"!").unwrap_or(&plain);
    Some(Finding {
        entity: Entity::Password,
        range: start..end,
        canonical: String::from_utf8_lossy(value).into_owned(),
        shape: strength,
        check: 0.0,
        words: if tie == Tie::Assigned { 7.0 } else { 6.0 },
        word: "password",
        name: None,
        test: PUBLISHED.contains(&plain),
    })
}

/// Whether a name is what one does with tests and arguments, too.
fn verb(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"pass")
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
        let at = skip(from, |byte| blank(byte) || matches!(byte, b'*' | b'\r'));
        let at = skip(at + usize::from(rest.get(at) == Some(&b'\n')), |byte| blank(byte) || byte == b'\\');
        let at = at + usize::from(rest.get(at).is_some_and(|byte| quotes(*byte)));
        (at < rest.len()).then_some((name.end + at, tie))
    };
    let before = name.start.checked_sub(1).map(|at| text[at]);
    // `--- PASS: TestParse2`
    if &text[name.clone()] == b"PASS" && before != Some(b'_') {
        return None;
    }
    let closed = skip(0, |byte| blank(byte) || quotes(byte) || matches!(byte, b'*' | b')' | b']' | b'\\'));
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
    // To pass something is no name, and an attribute's value is none of the next attribute's.
    if verb(&text[name.clone()]) || before.is_some_and(quotes) {
        return None;
    }
    if closed > 0 && !wordy(&rest[closed..]) && rest[closed] != b'(' {
        return value(0, Tie::Beside);
    }
    let apart = |byte| blank(byte) || matches!(byte, b'(' | b')');
    let (mut at, mut said, mut tie) = (skip(closed, apart), false, Tie::Spoken);
    while at < rest.len() {
        let end = skip(at, |byte| byte.is_ascii_alphabetic() || !byte.is_ascii());
        let word = rest[at..end].to_ascii_lowercase();
        let is = |words: &[&[u8]]| words.contains(&&word[..]);
        if !said && is(&STOPS) {
            return None;
        }
        said = is(&VERBS) || said && is(&STILL) || word == b"to";
        tie = if word == b"to" { Tie::Beside } else { tie };
        let next = skip(end, apart);
        match rest.get(next) {
            Some(b':' | b'=') if end > at => return value(next + 1, Tie::Assigned),
            Some(byte) if said && (next > end) && !byte.is_ascii_lowercase() => return value(next, tie),
            // A word with a sign or a digit in it ends what is spoken.
            Some(_) if end == at || next == end => return None,
            Some(_) if said && !wordy(&rest[next..]) => return value(next, tie),
            _ => at = next,
        }
    }
    None
}

/// Whether a word of letters alone stands at the beginning.
fn wordy(text: &[u8]) -> bool {
    let end = text.iter().take_while(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii()).count();
    text.get(end).is_none_or(|byte| {
        blank(*byte) || matches!(byte, b':' | b'=' | b'.' | b',' | b'\n' | b'!' | b'?' | b')' | b'"')
    })
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
    // A quote within quotes.
    if quote.is_some() {
        value = value.strip_suffix(b"\\").unwrap_or(value);
    } else {
        // `password=…&user=…`, `password: …, user: …`
        let other = |at: &usize| matches!(value[*at], b'&' | b',' | b';') && value[*at..].contains(&b'=');
        value = &value[..(0..value.len()).find(other).unwrap_or(value.len())];
        while let [rest @ .., b'.' | b',' | b';' | b':' | b')' | b']' | b'}' | b'*' | b'?'] = value {
            value = rest;
        }
    }
    (SHORTEST..=LONGEST).contains(&value.len()).then_some(value.len())
}

/// A value of a URL without what is written as `%20`.
fn unescaped(value: &[u8]) -> Cow<'_, [u8]> {
    let escape = |at: usize| matches!(value[at..], [b'%', a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit());
    if !(0..value.len()).any(escape) {
        return Cow::Borrowed(value);
    }
    let (mut plain, mut at) = (Vec::new(), 0);
    while at < value.len() {
        if escape(at) {
            at += 3;
        } else {
            plain.push(value[at]);
            at += 1;
        }
    }
    Cow::Owned(plain)
}

/// Evidence, in bits, of what a value is made of that somebody chose; `None` of what is rather a word, a name, a path or code.
fn strength(value: &[u8]) -> Option<f32> {
    let count = |of: fn(&u8) -> bool| value.iter().filter(|byte| of(byte)).count();
    let (small, capital) = (count(u8::is_ascii_lowercase), count(u8::is_ascii_uppercase));
    let digits = count(u8::is_ascii_digit);
    let special = count(|byte| matches!(byte, b'!' | b'@' | b'#' | b'$' | b'%' | b'^' | b'&' | b'*' | b'?'));
    let joins = count(|byte| matches!(byte, b'-' | b'_' | b'.' | b'/' | b':' | b',' | b'+' | b'~'));
    // Brackets, blanks, signs of code; and writing other than ASCII.
    if value.len() < SHORTEST || small + capital + digits + special + joins < value.len() || small + capital == 0 {
        return None;
    }
    let begins = !matches!(value[0], b'%' | b'/' | b'~' | b'.' | b':' | b'-' | b'&' | b'*' | b'+' | b'^' | b'?');
    let at = value.iter().position(|byte| *byte == b'@');
    let mail = at.is_some_and(|at| value[at..].contains(&b'.'));
    let path = value.windows(2).any(|two| matches!(two, b"//" | b"::" | b"..")) || joins > 2;
    let lower = value.to_ascii_lowercase();
    let technical = TECHNICAL.iter().any(|name| memchr::memmem::find(&lower, name).is_some());
    if digits == 0 || !begins || mail || path || technical || variable(value) {
        return None;
    }
    // Beside a name with dots and the like a sign at its end is one of code or of speech.
    let end = value.iter().rev().take_while(|byte| matches!(byte, b'!' | b'?' | b'*')).count();
    let special = special - if joins > 0 { end.min(special) } else { 0 };
    let classes = [small, capital, digits, special].into_iter().filter(|n| *n > 0).count();
    let rises = value.windows(2).filter(|two| two[0].is_ascii_lowercase() && two[1].is_ascii_uppercase()).count();
    let groups = value.chunk_by(|one, other| one.is_ascii_digit() == other.is_ascii_digit());
    let groups = groups.filter(|group| group[0].is_ascii_digit()).count();
    let year = value[value.len() - 2..].iter().all(u8::is_ascii_digit);
    let letters: Vec<u8> = lower.iter().copied().filter(u8::is_ascii_alphabetic).collect();
    let date = value[0].is_ascii_digit() && MONTHS.iter().any(|month| letters.starts_with(month) && letters.len() < 10);
    match (classes, special) {
        (3.., 1..) => Some(STRONG),
        _ if joins > 0 || value.len() < 8 || date => None,
        // Names in code have digits, too: as a rule in one place, and after a word that rises.
        (3.., 0) if year && rises == 0 || groups > 1 => Some(0.0),
        (2.., 0) if digits > 1 => Some(WEAK),
        _ => None,
    }
}

/// Whether a value is a name that something else puts a value for: `$NAME`, `@Name`, `!NAME!`, `#name#`.
fn variable(value: &[u8]) -> bool {
    let (first, name) = (value[0], &value[1..]);
    let name = if matches!(first, b'!' | b'#') { name.strip_suffix(&[first]).unwrap_or(b"-") } else { name };
    matches!(first, b'$' | b'@' | b'!' | b'#') && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::super::super::find::find;
    use super::*;

    /// What is found in a text as a password, and whether it alerts.
    fn found(text: &str) -> Option<(String, bool)> {
        let found = find(text.as_bytes()).into_iter().find(|finding| finding.entity == Entity::Password)?;
        assert_eq!(found.canonical.as_bytes(), &text.as_bytes()[found.range.clone()]);
        Some((found.canonical.clone(), found.counts()))
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
            ("I set the password to Gr8t!Wall", "Gr8t!Wall"),
            ("mysqldump --password Zx9!kk2P shop", "Zx9!kk2P"),
            ("https://x.io/login?user=a&password=Zx9!kk2P&next=1", "Zx9!kk2P"),
            ("<password>Zx9!kk2P</password>", "Zx9!kk2P"),
            ("| password | Zx9!kk2P |", "Zx9!kk2P"),
            ("the password for staging: Blue42Horse7", "Blue42Horse7"),
            ("pwd = Zx9!kk2P", "Zx9!kk2P"),
            ("DB_PWD='Zx9!kk2P'", "Zx9!kk2P"),
            ("mdp : Zx9!kk2P", "Zx9!kk2P"),
            ("pswd is Winter2024", "Winter2024"),
            ("{\"arguments\":\"{\\\"user\\\":\\\"bob\\\",\\\"password\\\":\\\"Zx9!kk2P\\\"}\"}", "Zx9!kk2P"),
            ("{\"newPassword\":\"Zx9!kk2P\"}", "Zx9!kk2P"),
            ("keyStorePassword=\"Zx9!kk2P\"", "Zx9!kk2P"),
            ("Password:\r\nZx9!kk2P", "Zx9!kk2P"),
            ("{\"content\":\"Password:\\nZx9!kk2P\"}", "Zx9!kk2P"),
            ("Username/Password: bob/Zx9!kk2P", "Zx9!kk2P"),
            ("password: $ecret9Xy!", "$ecret9Xy!"),
            ("the password (for the staging db) is Zx9!kk2P", "Zx9!kk2P"),
            ("log in as bob with password Zx9!kk2P please", "Zx9!kk2P"),
            ("PGPASSWORD='Zx9!kk2P' psql", "Zx9!kk2P"),
        ] {
            assert_eq!(found(text), Some((value.to_owned(), true)), "{text}");
        }
        assert_eq!(found("an example password is P@ssw0rd!"), Some(("P@ssw0rd!".to_owned(), false)), "published");
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
            "mutation Login($email: String!, $password: String!)",
            "password: config.db2Password!",
            "Password: Incorrect!",
            "Your Password Expired!",
            "Your password is Expired!",
            "UPDATE Users SET Password = @NewPassword1",
            "password=!Password1!",
            "password: #Form.Password1#",
            "--- PASS: TestRFC3339Parse (0.00s)",
            "pass: Vertex2Fragment3",
            "Reset your password to Office365 today",
            "password on Windows11",
            "type=\"password\" class=\"FormControl42!\"",
            "Password last changed: 12Mar2024",
            "password expires on 31Dec2024!",
            "Password policy: Min12Chars!",
            "username=user&password=secure%20password",
            "password: !GetAtt Db2.Password",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }
}
