//! Delivers one rendered request and judges the answer. The only file of this crate that touches the network.

use std::time::{Duration, Instant};

use leeway_core::clock::{Clock, MINUTE, Micros, SECOND};
use lettre::transport::smtp::authentication::Credentials;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use reqwest::redirect::Policy;

use crate::channel::{HttpPost, Judgement, Outgoing, webhook};
use crate::guard::{Guard, GuardedResolver};
use crate::secret::Secret;

const CONNECT: Duration = Duration::from_secs(5);
const TOTAL: Duration = Duration::from_secs(15);
/// First pause of the back-off; doubles with each attempt.
const FIRST_PAUSE: Micros = SECOND;
const LONGEST_PAUSE: Micros = 5 * MINUTE;

/// How mail leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Smtp {
    pub host: String,
    pub port: u16,
    pub tls: Tls,
    pub username: Option<String>,
    pub password: Option<Secret>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// Plain text: only for a server on this machine.
    None,
    StartTls,
    /// TLS from the first byte, usually port 465.
    Wrapped,
}

/// What came of one attempt.
#[derive(Debug)]
pub struct Attempt {
    pub judgement: Judgement,
    pub code: Option<u16>,
    /// For the delivery log; never the receiver's own text.
    pub detail: String,
    pub latency: Duration,
}

/// The clients that all deliveries share.
#[derive(Debug, Clone)]
pub struct Courier {
    http: reqwest::Client,
    mail: Option<AsyncSmtpTransport<Tokio1Executor>>,
    clock: Clock,
}

impl Courier {
    pub fn new(guard: Guard, smtp: Option<&Smtp>, clock: Clock) -> Result<Self, String> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("Leeway/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .timeout(TOTAL)
            .redirect(Policy::none())
            .no_proxy()
            .dns_resolver(std::sync::Arc::new(GuardedResolver(guard)))
            .build()
            .map_err(|error| format!("cannot make an HTTP client: {error}"))?;
        let mail = smtp.map(transport).transpose()?;
        Ok(Self { http, mail, clock })
    }

    pub async fn deliver(&self, outgoing: Outgoing) -> Attempt {
        let started = Instant::now();
        let (judgement, code, detail) = match outgoing {
            Outgoing::Http(post) => self.post(post).await,
            Outgoing::Mail(message) => self.send(*message).await,
        };
        Attempt { judgement, code, detail, latency: started.elapsed() }
    }

    async fn post(&self, post: HttpPost) -> (Judgement, Option<u16>, String) {
        // The stamp belongs to the attempt: receivers reject one older than five minutes.
        let timestamp = self.clock.wall() / SECOND;
        let signature = post.key.sign(&post.id, timestamp, &post.body);
        let request = self
            .http
            .post(post.url)
            .header("content-type", "application/json")
            .header("webhook-id", &post.id)
            .header("webhook-timestamp", timestamp.to_string())
            .header("webhook-signature", signature)
            .body(post.body);
        match request.send().await {
            Ok(answer) => {
                let status = answer.status().as_u16();
                let retry_after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
                (webhook::judge(status, retry_after, timestamp), Some(status), format!("HTTP {status}"))
            }
            Err(error) => (Judgement::Again { after_s: None }, None, plain(&error)),
        }
    }

    async fn send(&self, message: lettre::Message) -> (Judgement, Option<u16>, String) {
        let Some(mail) = &self.mail else {
            return (Judgement::Refused, None, "no [smtp] in the settings".to_owned());
        };
        match mail.send(message).await {
            Ok(answer) => (Judgement::Accepted, Some(answer.code().into()), "accepted by the mail server".to_owned()),
            Err(error) => {
                let code = error.status().map(u16::from);
                let judgement =
                    if error.is_permanent() { Judgement::Refused } else { Judgement::Again { after_s: None } };
                let detail =
                    code.map_or_else(|| "the mail server cannot be reached".to_owned(), |code| format!("SMTP {code}"));
                (judgement, code, detail)
            }
        }
    }
}

fn transport(smtp: &Smtp) -> Result<AsyncSmtpTransport<Tokio1Executor>, String> {
    let fail = |error| format!("smtp.host `{}`: {error}", smtp.host);
    let builder = match smtp.tls {
        Tls::None => AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&smtp.host),
        Tls::StartTls => AsyncSmtpTransport::<Tokio1Executor>::starttls_relay(&smtp.host).map_err(fail)?,
        Tls::Wrapped => AsyncSmtpTransport::<Tokio1Executor>::relay(&smtp.host).map_err(fail)?,
    };
    let builder = builder.port(smtp.port).timeout(Some(TOTAL));
    Ok(match (&smtp.username, &smtp.password) {
        (Some(user), Some(password)) => {
            builder.credentials(Credentials::new(user.clone(), password.expose().to_owned())).build()
        }
        _ => builder.build(),
    })
}

/// The kind of failure, without the url: it may hold a secret path.
fn plain(error: &reqwest::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    let kind = if error.is_timeout() { "timeout" } else { "connection failed" };
    format!("{kind}: {deepest}")
}

/// When to try again after `attempt` (from 1): full jitter over 1 s · 2ⁿ, at most 5 min; not before the receiver said.
pub fn next_attempt(now: Micros, attempt: u64, after_s: Option<u64>) -> Micros {
    let ceiling = FIRST_PAUSE.saturating_mul(1 << attempt.min(20)).min(LONGEST_PAUSE);
    let mut random = [0; 8];
    // Without randomness every sender waits the ceiling: slower, never wrong.
    let jitter =
        getrandom::fill(&mut random).map_or(ceiling, |()| (u64::from_le_bytes(random) % ceiling as u64) as i64);
    let asked = after_s.map_or(0, |seconds| seconds as i64 * SECOND);
    now + asked + jitter.max(200_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_is_bounded_and_obeys_the_receiver() {
        for attempt in 1..70 {
            let pause = next_attempt(0, attempt, None);
            assert!((200_000..=LONGEST_PAUSE).contains(&pause), "{attempt}: {pause}");
            assert!(next_attempt(0, attempt, Some(60)) >= 60 * SECOND);
        }
    }
}
