//! The demo's mailbox: mails as files, as a mail server would have received them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use mail_parser::MessageParser;

/// A received mail, for the page.
#[derive(Debug, Clone)]
pub struct Mail {
    pub id: String,
    pub subject: String,
    pub from: String,
    pub to: String,
    pub text: String,
    pub html: String,
}

/// Stores a mail under its notice's id: a second copy replaces the first.
pub fn put(folder: &Path, id: &str, message: &[u8]) -> Result<()> {
    std::fs::create_dir_all(folder).context("make the mailbox")?;
    std::fs::write(folder.join(format!("{id}.eml")), message).context("write a mail")
}

/// All mails, oldest first.
pub fn list(folder: &Path) -> Vec<Mail> {
    let mut files: Vec<(std::time::SystemTime, PathBuf)> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    files.sort();
    files.iter().filter_map(|(_, path)| read(path)).collect()
}

pub fn get(folder: &Path, id: &str) -> Option<Mail> {
    let plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if plain { read(&folder.join(format!("{id}.eml"))) } else { None }
}

fn read(path: &Path) -> Option<Mail> {
    let bytes = std::fs::read(path).ok()?;
    let message = MessageParser::default().parse(&bytes)?;
    let address = |list: Option<&mail_parser::Address<'_>>| {
        let first = list.and_then(mail_parser::Address::first);
        first.and_then(mail_parser::Addr::address).unwrap_or_default().to_owned()
    };
    Some(Mail {
        id: path.file_stem()?.to_string_lossy().into_owned(),
        subject: message.subject().unwrap_or_default().to_owned(),
        from: address(message.from()),
        to: address(message.to()),
        text: message.body_text(0).unwrap_or_default().into_owned(),
        html: message.body_html(0).unwrap_or_default().into_owned(),
    })
}
