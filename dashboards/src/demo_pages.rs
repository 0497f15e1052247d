//! The demo's receivers: a mailbox and a log of verified webhooks.

use askama::Template;

use crate::{Frame, RenderError};

#[derive(Debug, Clone)]
pub struct MailLine {
    pub id: String,
    pub subject: String,
    pub from: String,
    pub to: String,
    pub text: String,
}

#[derive(Debug, Clone)]
pub struct Hook {
    pub id: String,
    pub received: String,
    pub verified: bool,
    pub kind: String,
    pub headers: String,
    pub body: String,
}

#[derive(Template)]
#[template(path = "mailbox.html")]
struct Mailbox<'a> {
    frame: &'a Frame,
    mails: &'a [MailLine],
}

#[derive(Template)]
#[template(path = "webhooks.html")]
struct Webhooks<'a> {
    frame: &'a Frame,
    hooks: &'a [Hook],
}

pub fn mailbox(frame: &Frame, mails: &[MailLine]) -> Result<String, RenderError> {
    Ok(Mailbox { frame, mails }.render()?)
}

pub fn webhooks(frame: &Frame, hooks: &[Hook]) -> Result<String, RenderError> {
    Ok(Webhooks { frame, hooks }.render()?)
}
