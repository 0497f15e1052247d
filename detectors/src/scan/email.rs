//! What stands around an `@`: e-mail addresses, and addresses of servers with a user and a password.

use leeway_core::scan::Entity;

use super::find::Finding;

/// Longest local part and domain (RFC 5321), and longest server address.
const LOCAL: usize = 64;
const DOMAIN: usize = 253;
const SERVER: usize = 256;
/// Ends of file names (`icon@2x.png`), not of domains.
const FILES: [&str; 12] =
    ["png", "jpg", "jpeg", "gif", "svg", "webp", "js", "css", "local", "internal", "service", "lan"];
/// Domains that are nobody's (RFC 2606, RFC 6761).
const NOBODY: [&str; 7] = ["example.com", "example.org", "example.net", "example", "test", "invalid", "localhost"];
/// Passwords that stand for one.
const PLACEHOLDERS: [&str; 16] = [
    "pass", "password", "passwd", "pwd", "secret", "postgres", "root", "admin", "user", "guest", "test", "changeme",
    "token", "example", "mysql", "xxx",
];

fn local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'%' | b'+' | b'-' | b'\'') || byte >= 0x80
}

fn domain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-') || byte >= 0x80
}

/// The value around the `@` at a place.
pub(super) fn at(text: &[u8], at: usize) -> Option<Finding> {
    server(text, at).or_else(|| address(text, at))
}

fn finding(entity: Entity, range: std::ops::Range<usize>, canonical: String, test: bool) -> Finding {
    Finding { entity, range, canonical, shape: 6.0, check: 3.0, words: 0.0, word: "", name: None, test }
}

fn nobody(host: &str) -> bool {
    NOBODY.iter().any(|of| host.strip_suffix(of).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

/// `scheme://user:password@host`
fn server(text: &[u8], at: usize) -> Option<Finding> {
    let from = at.saturating_sub(SERVER);
    let credentials = text[from..at]
        .iter()
        .rev()
        .take_while(|byte| !matches!(byte, b'/' | b'@' | b' ' | b'\n' | b'"' | b'<' | b'>'))
        .count();
    let user = at - credentials;
    let scheme_end = user.checked_sub(3).filter(|end| text[*end..].starts_with(b"://"))?;
    let letters = text[..scheme_end]
        .iter()
        .rev()
        .take(24)
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
        .count();
    let start = scheme_end - letters;
    let (name, password) = std::str::from_utf8(&text[user..at]).ok()?.split_once(':')?;
    let placeholder = PLACEHOLDERS.iter().any(|known| password.eq_ignore_ascii_case(known))
        || password == name
        || password.starts_with(['<', '$', '{', '%', '*', '['])
        || password.contains("...")
        || password.bytes().all(|byte| matches!(byte, b'x' | b'X' | b'*' | b'.'));
    let rest = text[at + 1..].iter().take(DOMAIN).take_while(|byte| domain(**byte)).count();
    let host = String::from_utf8_lossy(&text[at + 1..at + 1 + rest]);
    let tail = &text[at + 1 + rest..text.len().min(at + 1 + rest + SERVER)];
    let path = tail
        .iter()
        .take_while(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'/' | b'_' | b'-' | b'.' | b'?' | b'=' | b'&' | b'%')
        })
        .count();
    let mut end = at + 1 + rest + path;
    while matches!(text[end - 1], b'.' | b':' | b'?') {
        end -= 1;
    }
    if letters == 0 || password.is_empty() || placeholder || rest == 0 {
        return None;
    }
    let canonical = String::from_utf8_lossy(&text[start..end]).into_owned();
    Some(finding(Entity::UrlCred, start..end, canonical, nobody(&host.to_lowercase())))
}

fn address(text: &[u8], at: usize) -> Option<Finding> {
    let least = at.saturating_sub(LOCAL);
    let length = text[least..at].iter().rev().take_while(|byte| local(**byte)).count();
    let name = &text[at - length..at];
    let name = &name[name.iter().take_while(|byte| matches!(byte, b'.' | b'\'' | b'-')).count()..];
    // `写信给a@b.c`: what is not ASCII before the address belongs to the sentence, unless it touches the `@`.
    let name = match name.iter().rposition(|byte| *byte >= 0x80) {
        Some(place) if place + 1 < name.len() && std::str::from_utf8(name).is_ok_and(cjk) => &name[place + 1..],
        _ => name,
    };
    let end = at + 1 + host_length(&text[at + 1..]);
    let host = std::str::from_utf8(&text[at + 1..end]).ok()?.to_lowercase();
    let (_, last) = host.rsplit_once('.')?;
    let letters = last.chars().count() >= 2 && last.chars().all(char::is_alphabetic) || last.starts_with("xn--");
    let labels = host.split('.').all(|label| !label.is_empty() && !label.starts_with('-'));
    // `git@host:path` is an address of a repository.
    let repository = text.get(end) == Some(&b':') && name == b"git";
    if name.is_empty() || !letters || !labels || repository || FILES.contains(&last) {
        return None;
    }
    let name_text = String::from_utf8_lossy(name).to_lowercase();
    let canonical = format!("{name_text}@{host}");
    Some(finding(Entity::Email, at - name.len()..end, canonical, nobody(&host)))
}

/// Bytes of the domain at the beginning of a text: letters of any script, but where the last label changes script
/// (`b.com谢谢`) the sentence goes on; a full stop or dash at the end belongs to it too.
fn host_length(text: &[u8]) -> usize {
    let text = &text[..text.len().min(DOMAIN)];
    let valid = match std::str::from_utf8(text) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&text[..error.valid_up_to()]).unwrap_or_default(),
    };
    let domain = |letter: char| letter.is_alphanumeric() || matches!(letter, '.' | '-');
    let host = &valid[..valid.find(|letter| !domain(letter)).unwrap_or(valid.len())];
    let label = host.trim_end_matches(['.', '-']).rfind('.').map_or(0, |place| place + 1);
    let last = &host[label..];
    let cut = match last.find(|letter: char| !letter.is_ascii()) {
        Some(place) if place > 0 => &host[..label + place],
        _ => host,
    };
    cut.trim_end_matches(['.', '-']).len()
}

fn cjk(text: &str) -> bool {
    text.chars().any(|letter| matches!(letter, '\u{3000}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}'))
}
