//! One screen of mail: state and since when, value against bound with its interval, who is hit, links.
//!
//! The Message-ID is the notice's id, so that a retry's copy can be recognised; a resolve answers its trigger, and
//! both name a root id of their group, so they thread even where the first mail was lost.

use leeway_core::alert::{Notice, State};
use leeway_core::clock::{readable, readable_span};
use leeway_core::moved::Moved;
use lettre::Message;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};

use super::{Outgoing, RenderError};

#[derive(Debug, Clone)]
pub struct Email {
    pub from: Mailbox,
    pub to: Vec<Mailbox>,
}

/// `Auto-Submitted: auto-generated`: no holiday answers (RFC 3834).
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }
    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }
    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

impl Email {
    pub fn render(&self, notice: &Notice) -> Result<Outgoing, RenderError> {
        let domain = self.from.email.domain();
        let message_id = |id: &str| format!("<{id}@{domain}>");
        let root = message_id(&format!("group-{}", notice.fingerprint));
        let mut builder = Message::builder()
            .from(self.from.clone())
            .subject(format!("[Leeway] {} · {}", notice.severity.name(), one_line(&notice.title)))
            .message_id(Some(message_id(&notice.id)))
            .header(AutoSubmitted);
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        builder = match &notice.replies_to {
            Some(first) => builder.in_reply_to(message_id(first)).references(format!("{root} {}", message_id(first))),
            None => builder.references(root),
        };
        let text = SinglePart::builder().header(ContentType::TEXT_PLAIN).body(text(notice));
        let html = SinglePart::builder().header(ContentType::TEXT_HTML).body(html(notice));
        let body = MultiPart::alternative().singlepart(text).singlepart(html);
        let message = builder.multipart(body).map_err(|error| RenderError(error.to_string()))?;
        Ok(Outgoing::Mail(Box::new(message)))
    }
}

/// A report as mail: its Markdown to read in place, its file attached.
#[derive(Debug)]
pub struct ReportMail<'a> {
    /// Names every copy alike.
    pub id: &'a str,
    pub subject: &'a str,
    pub markdown: String,
    pub html: String,
    pub file_name: &'a str,
}

impl Email {
    pub fn report(&self, report: ReportMail<'_>) -> Result<Outgoing, RenderError> {
        let mut builder = Message::builder()
            .from(self.from.clone())
            .subject(one_line(report.subject))
            .message_id(Some(format!("<{}@{}>", report.id, self.from.email.domain())))
            .header(AutoSubmitted);
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        let text = SinglePart::builder().header(ContentType::TEXT_PLAIN).body(report.markdown);
        let file =
            lettre::message::Attachment::new(report.file_name.to_owned()).body(report.html, ContentType::TEXT_HTML);
        let body = MultiPart::mixed().singlepart(text).singlepart(file);
        let message = builder.multipart(body).map_err(|error| RenderError(error.to_string()))?;
        Ok(Outgoing::Mail(Box::new(message)))
    }
}

/// The lines of a notice: label and content, in reading order.
fn lines(notice: &Notice) -> Vec<(&'static str, String)> {
    let e = &notice.evidence;
    let mut lines = vec![("Value", format!("{} = {}", e.what(), e.shown_value()))];
    if !e.shown_interval().is_empty() {
        lines.push(("95 % interval", e.shown_interval()));
    }
    if e.sketch_error > 0.0 {
        lines.push(("Sketch error", format!("at most {:.2} % of the value", e.sketch_error * 100.0)));
    }
    lines.push(("Bound", e.shown_threshold()));
    lines.extend(e.shown_words().map(|words| ("Words", words)));
    lines.extend(e.shown_shares().map(|shares| ("Shares", shares)));
    lines.extend(e.shown_test().map(|test| ("Test", test)));
    lines.push(("Observations", e.shown_observations()));
    lines.push(("Window", format!("{} to {}", readable(e.window_start), readable(e.window_end))));
    let scope: Vec<String> =
        notice.labels.iter().map(|(name, value)| format!("{name} = {}", one_line(value))).collect();
    lines.push(("Who is hit", if scope.is_empty() { "all traffic".to_owned() } else { scope.join(", ") }));
    let moved = e.moved.iter().flat_map(Moved::shown);
    // Values of labels come from telemetry.
    lines.extend(moved.map(|(label, content)| (label, one_line(&content))));
    lines.push(("Active since", readable(notice.active_at)));
    lines.push(("Fired at", readable(notice.fired_at)));
    if let Some(at) = notice.resolved_at {
        lines.push(("Resolved at", format!("{} (after {})", readable(at), readable_span(at - notice.fired_at))));
    }
    if e.coverage < 1.0 {
        lines.push(("Coverage", format!("only {:.0} % of the partitions had reported", e.coverage * 100.0)));
    }
    lines.push(("Rule", format!("{} (version {})", notice.rule, notice.rule_version)));
    if let Some(description) = notice.annotations.get("description") {
        lines.push(("About", description.clone()));
    }
    lines
}

fn headline(notice: &Notice) -> String {
    let word = if notice.status == State::Resolved { "RESOLVED" } else { "FIRING" };
    format!("{word}: {}", one_line(&notice.title))
}

/// Labels come from telemetry: control characters would forge lines.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

const SIMULATED: &str = "These numbers come from simulated traffic.";

fn text(notice: &Notice) -> String {
    let mut out = format!("{}\n\n", headline(notice));
    if notice.simulated {
        out.push_str(&format!("{SIMULATED}\n\n"));
    }
    for (label, content) in lines(notice) {
        out.push_str(&format!("{:<14} {content}\n", format!("{label}:")));
    }
    out.push('\n');
    for (name, link) in &notice.links {
        out.push_str(&format!("{:<14} {link}\n", format!("{name}:")));
    }
    out.push_str("\nYou get this mail because a receiver of Leeway lists your address. Silencing it: change the rule's receivers.\n");
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

fn html(notice: &Notice) -> String {
    let (colour, word) = if notice.status == State::Resolved { ("#005a87", "Resolved") } else { ("#a33b00", "Firing") };
    let rows: String = lines(notice)
        .iter()
        .map(|(label, content)| {
            format!(
                "<tr><td style=\"padding:3px 12px 3px 0;color:#555;white-space:nowrap;vertical-align:top\">{label}</td>\
                 <td style=\"padding:3px 0\">{}</td></tr>",
                escape(content)
            )
        })
        .collect();
    let links: String = notice
        .links
        .iter()
        .map(|(name, link)| {
            format!(
                "<a href=\"{}\" style=\"color:#005a87;margin-right:16px\">Open the {}</a>",
                escape(link),
                escape(name)
            )
        })
        .collect();
    let simulated = if notice.simulated {
        format!("<p style=\"margin:0 0 12px\"><strong>{SIMULATED}</strong></p>")
    } else {
        String::new()
    };
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"color-scheme\" content=\"light dark\">\
         <title>{title}</title></head><body style=\"margin:0;padding:16px;background:#ffffff;color:#1a1a1a;\
         font:15px/1.5 Arial,Helvetica,sans-serif\"><div style=\"max-width:600px\">\
         <p style=\"margin:0 0 4px;color:{colour};font-weight:bold\">{word} · {severity}</p>\
         <h1 style=\"font-size:19px;margin:0 0 12px\">{title}</h1>{simulated}\
         <table role=\"presentation\" style=\"border-collapse:collapse;font-size:14px\">{rows}</table>\
         <p style=\"margin:16px 0\">{links}</p></div></body></html>\n",
        title = escape(&one_line(&notice.title)),
        severity = notice.severity.name(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use leeway_core::alert::{AlertLabels, Evidence, Severity};
    use leeway_core::measure::Unit;
    use std::collections::BTreeMap;

    fn notice(status: State) -> Notice {
        let evidence = Evidence {
            measure: "duration_ms".into(),
            quantile: Some(0.95),
            unit: Unit::Milliseconds,
            value: Some(8200.0),
            low: Some(7900.0),
            high: Some(8600.0),
            sketch_error: 1.0 / 128.0,
            n: 812,
            direction: "above".into(),
            threshold: 4000.0,
            min_events: 100,
            window_start: 1_795_225_200_000_000,
            window_end: 1_795_225_500_000_000,
            coverage: 1.0,
            drift: None,
            usual: None,
            moved: None,
        };
        Notice {
            id: "msg_2".into(),
            group_key: "slow:abc".into(),
            receiver: "oncall".into(),
            sequence: 2,
            status,
            reason: "r".into(),
            severity: Severity::Page,
            title: "acme / checkout: slow <answers>\r\nBcc: x@y.z".into(),
            rule: "slow".into(),
            rule_version: "1".into(),
            fingerprint: "abc".into(),
            labels: AlertLabels::from([("app".into(), "a&b".into())]),
            annotations: BTreeMap::new(),
            active_at: 1_795_225_200_000_000,
            fired_at: 1_795_225_500_000_000,
            resolved_at: (status == State::Resolved).then_some(1_795_225_800_000_000),
            detected_at: 0,
            evidence,
            links: BTreeMap::from([("alert".into(), "http://x/alerts/abc".into())]),
            simulated: true,
            replies_to: (status == State::Resolved).then(|| "msg_1".into()),
        }
    }

    fn render(status: State) -> String {
        let email = Email {
            from: "Leeway <leeway@example.com>".parse().unwrap(),
            to: vec!["ops@example.com".parse().unwrap()],
        };
        let Ok(Outgoing::Mail(message)) = email.render(&notice(status)) else { panic!("no mail") };
        String::from_utf8(message.formatted()).unwrap()
    }

    #[test]
    fn a_resolve_threads_under_its_trigger() {
        let (fired, resolved) = (render(State::Firing), render(State::Resolved));
        assert!(
            fired.contains("Message-ID: <msg_2@example.com>") && fired.contains("References: <group-abc@example.com>"),
            "{fired}"
        );
        assert!(!fired.contains("In-Reply-To"));
        assert!(resolved.contains("In-Reply-To: <msg_1@example.com>"), "{resolved}");
        assert!(resolved.contains("<group-abc@example.com> <msg_1@example.com>"));
        let subject = |mail: &str| mail.lines().find(|line| line.starts_with("Subject")).unwrap().to_owned();
        assert_eq!(subject(&fired), subject(&resolved));
    }

    #[test]
    fn data_cannot_add_headers_or_markup() {
        let mail = render(State::Firing);
        assert!(!mail.lines().any(|line| line.starts_with("Bcc")), "{mail}");
        assert!(mail.contains("text/plain") && mail.contains("text/html") && mail.contains("multipart/alternative"));
        assert!(!html(&notice(State::Firing)).contains("<answers>"));
        assert!(html(&notice(State::Firing)).contains("a&amp;b"));
    }

    #[test]
    fn the_text_says_what_since_when_how_big_and_who() {
        let text = text(&notice(State::Resolved));
        for part in [
            "RESOLVED",
            "p95 of duration_ms = 8.20 s",
            "7.90 s to 8.60 s",
            "above 4.00 s",
            "Observations:  812 (the rule asks for 100)",
            "app = a&b",
            "UTC",
            "after 5 min",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
