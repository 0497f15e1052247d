//! Channels: pure functions from a notice to a request, and from an answer to a judgement. No I/O here.

pub mod email;
pub mod webhook;

use leeway_core::alert::Notice;
use lettre::Message;
use thiserror::Error;
use url::Url;

use crate::signing::SigningKey;

/// Where notices go.
#[derive(Debug, Clone)]
pub enum Channel {
    Webhook(webhook::Webhook),
    Email(email::Email),
}

/// A rendered request; the courier stamps, signs and sends it.
#[derive(Debug)]
pub enum Outgoing {
    Http(HttpPost),
    Mail(Box<Message>),
}

/// An HTTP POST whose stamp and signature belong to the attempt.
#[derive(Debug, Clone)]
pub struct HttpPost {
    pub url: Url,
    pub id: String,
    pub body: Vec<u8>,
    pub key: SigningKey,
}

#[derive(Debug, Error)]
#[error("cannot render the notice: {0}")]
pub struct RenderError(pub String);

impl Channel {
    pub fn render(&self, notice: &Notice) -> Result<Outgoing, RenderError> {
        match self {
            Self::Webhook(webhook) => webhook.render(notice),
            Self::Email(email) => email.render(notice),
        }
    }

    pub fn kind(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Email(_) => "email",
        }
    }
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    Accepted,
    /// Try again, not before so many seconds where the receiver named them.
    Again {
        after_s: Option<u64>,
    },
    Refused,
    /// The receiver wants nothing any more.
    Gone,
}
