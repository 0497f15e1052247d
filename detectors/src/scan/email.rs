//! E-mail addresses: a local part, and a domain of at least two labels that ends in letters.

use leeway_core::scan::Entity;

use super::{Found, Pattern, Site};

pub(super) struct Email;

/// Longest local part and domain (RFC 5321).
const LOCAL: usize = 64;
const DOMAIN: usize = 253;
/// Ends of file names (`icon@2x.png`), not of domains.
const FILES: [&str; 8] = ["png", "jpg", "jpeg", "gif", "svg", "webp", "js", "css"];
/// Domains that are nobody's (RFC 2606).
const NOBODY: [&str; 7] = ["example.com", "example.org", "example.net", "example", "test", "invalid", "localhost"];

fn local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'%' | b'+' | b'-' | b'\'') || byte >= 0x80
}

fn domain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-') || byte >= 0x80
}

impl Pattern for Email {
    fn entity(&self) -> Entity {
        Entity::Email
    }

    fn needs(&self, byte: u8) -> bool {
        byte == b'@'
    }

    fn after(&self, before: u8) -> bool {
        local(before)
    }

    fn parse(&self, site: &Site<'_>) -> Option<Found> {
        let Site { text, at, from, .. } = *site;
        let least = at.saturating_sub(LOCAL).max(from);
        let length = text[least..at].iter().rev().take_while(|byte| local(**byte)).count();
        let name = text[at - length..at].trim_ascii_start();
        let name = &name[name.iter().take_while(|byte| matches!(byte, b'.' | b'\'' | b'-')).count()..];
        let most = text.len().min(at + 1 + DOMAIN);
        let length = text[at + 1..most].iter().take_while(|byte| domain(**byte)).count();
        let mut end = at + 1 + length;
        // A full stop or dash at the end belongs to the sentence.
        while end > at + 1 && matches!(text[end - 1], b'.' | b'-') {
            end -= 1;
        }
        let host = std::str::from_utf8(&text[at + 1..end]).ok()?.to_lowercase();
        let (_, last) = host.rsplit_once('.')?;
        let letters = last.chars().count() >= 2 && last.chars().all(char::is_alphabetic) || last.starts_with("xn--");
        let labels = host.split('.').all(|label| !label.is_empty() && !label.starts_with('-'));
        // `git@host:path` is an address of a repository.
        let repository = text.get(end) == Some(&b':') && name == b"git";
        if name.is_empty() || !letters || !labels || repository || FILES.contains(&last) {
            return None;
        }
        let under = |of: &str| host.strip_suffix(of).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        let nobody = NOBODY.iter().any(|of| under(of));
        let name = String::from_utf8_lossy(name).to_lowercase();
        (!nobody).then(|| Found { end, canonical: format!("{name}@{host}") })
    }
}
