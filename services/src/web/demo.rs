//! The demo's own receivers: a mailbox to look into, and a webhook endpoint that verifies what it gets.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse};
use leeway_alerts::signing::Received;
use leeway_core::clock::{SECOND, readable};
use leeway_dashboards::demo_pages::{self, Hook, MailLine};

use super::App;
use super::response::{HttpError, rendered};
use crate::mailbox;

/// Webhooks that the log keeps.
const KEPT: usize = 100;
/// A mail's own markup has inline styles; it runs no script and loads nothing.
const MAIL_CSP: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'self'";

pub async fn mailbox(State(app): State<App>) -> Result<Html<String>, HttpError> {
    let mut mails: Vec<MailLine> = app.0.demo.iter().flat_map(|demo| mailbox::list(&demo.mailbox)).map(line).collect();
    mails.reverse();
    rendered(demo_pages::mailbox(&app.frame("mailbox"), &mails))
}

pub async fn mail(State(app): State<App>, Path(id): Path<String>) -> Result<impl IntoResponse, HttpError> {
    let mail = app
        .0
        .demo
        .as_ref()
        .and_then(|demo| mailbox::get(&demo.mailbox, &id))
        .ok_or(HttpError::NotFound("no such mail"))?;
    Ok(([(header::CONTENT_SECURITY_POLICY, MAIL_CSP)], Html(mail.html)))
}

pub async fn webhooks(State(app): State<App>) -> Result<Html<String>, HttpError> {
    let hooks: Vec<Hook> = match &app.0.demo {
        Some(demo) => demo.hooks.lock().map(|hooks| hooks.iter().rev().cloned().collect()).unwrap_or_default(),
        None => Vec::new(),
    };
    rendered(demo_pages::webhooks(&app.frame("webhooks"), &hooks))
}

/// What a receiver does: verify, take, answer.
pub async fn hook(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<StatusCode, HttpError> {
    let Some(demo) = &app.0.demo else { return Err(HttpError::NotFound("no such page")) };
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let (id, stamp, signature) = (text("webhook-id"), text("webhook-timestamp"), text("webhook-signature"));
    let wall = app.0.clock.wall();
    let received = |timestamp| Received { id: &id, timestamp, body: &body, signature: &signature };
    let verified = stamp.parse().is_ok_and(|stamp| demo.key.verify(&received(stamp), wall / SECOND));
    let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let hook = Hook {
        id: id.clone(),
        received: readable(wall),
        verified,
        kind: json["type"].as_str().unwrap_or("unreadable").to_owned(),
        headers: format!("webhook-id: {id}\nwebhook-timestamp: {stamp}\nwebhook-signature: {signature}"),
        body: serde_json::to_string_pretty(&json).unwrap_or_default(),
    };
    if let Ok(mut hooks) = demo.hooks.lock() {
        // The same id again is the same notice.
        if !hooks.iter().any(|known| known.id == hook.id && known.verified) {
            hooks.push(hook);
        }
        let surplus = hooks.len().saturating_sub(KEPT);
        hooks.drain(..surplus);
    }
    Ok(if verified { StatusCode::NO_CONTENT } else { StatusCode::UNAUTHORIZED })
}

fn line(mail: mailbox::Mail) -> MailLine {
    MailLine { id: mail.id, subject: mail.subject, from: mail.from, to: mail.to, text: mail.text }
}
