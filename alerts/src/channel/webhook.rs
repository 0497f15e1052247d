//! A JSON POST, signed as Standard Webhooks 1.0.0 asks.

use leeway_core::alert::{Notice, State};
use leeway_core::clock::{parse_rfc3339, rfc3339};
use serde_json::{Value, json};
use url::Url;

use super::{HttpPost, Judgement, Outgoing, RenderError};
use crate::signing::SigningKey;

/// Longest that a receiver may ask us to wait.
const MAX_RETRY_AFTER_S: u64 = 3600;

#[derive(Debug, Clone)]
pub struct Webhook {
    pub url: Url,
    pub key: SigningKey,
}

impl Webhook {
    pub fn render(&self, notice: &Notice) -> Result<Outgoing, RenderError> {
        let body = serde_json::to_vec(&body(notice)).map_err(|error| RenderError(error.to_string()))?;
        Ok(Outgoing::Http(HttpPost { url: self.url.clone(), id: notice.id.clone(), body, key: self.key.clone() }))
    }
}

/// `type`, `timestamp`, `data`; times in RFC 3339, numbers with their unit. Same notice, same bytes.
pub fn body(notice: &Notice) -> Value {
    let kind = if notice.status == State::Resolved { "leeway.alert.resolved" } else { "leeway.alert.firing" };
    let e = &notice.evidence;
    json!({
        "type": kind,
        "timestamp": rfc3339(notice.detected_at),
        "data": {
            "alert_id": notice.fingerprint,
            "group_key": notice.group_key,
            "receiver": notice.receiver,
            "sequence": notice.sequence,
            "status": notice.status.name(),
            "reason": notice.reason,
            "severity": notice.severity.name(),
            "title": notice.title,
            "rule": { "id": notice.rule, "version": notice.rule_version },
            "labels": notice.labels,
            "annotations": notice.annotations,
            "active_at": rfc3339(notice.active_at),
            "fired_at": rfc3339(notice.fired_at),
            "resolved_at": notice.resolved_at.map(rfc3339),
            "detected_at": rfc3339(notice.detected_at),
            "evidence": {
                "measure": e.measure,
                "quantile": e.quantile,
                "unit": e.unit,
                "value": e.value,
                "interval_95": { "low": e.low, "high": e.high },
                "sketch_relative_error": e.sketch_error,
                "n": e.n,
                "min_events": e.min_events,
                "bound": { "direction": e.direction, "threshold": e.threshold },
                "window": { "from": rfc3339(e.window_start), "to": rfc3339(e.window_end) },
                "coverage": e.coverage,
                "drift": e.drift,
                "usual": e.usual,
                "moved": e.moved,
                "text": format!("{} was {}, {}", e.what(), e.shown_value(), e.shown_threshold()),
            },
            "links": notice.links,
            "simulated": notice.simulated,
        },
    })
}

/// Judges an answer by its status and its `Retry-After` header (seconds or an HTTP date); `now` in Unix seconds.
pub fn judge(status: u16, retry_after: Option<&str>, now: i64) -> Judgement {
    match status {
        200..=299 => Judgement::Accepted,
        410 => Judgement::Gone,
        408 | 425 | 429 | 500..=599 => Judgement::Again { after_s: retry_after.and_then(|text| seconds(text, now)) },
        // A redirect is not followed: the owner corrects the url.
        _ => Judgement::Refused,
    }
}

fn seconds(text: &str, now: i64) -> Option<u64> {
    let wait = match text.trim().parse::<u64>() {
        Ok(seconds) => seconds,
        Err(_) => u64::try_from(http_date(text.trim())? - now).unwrap_or(0),
    };
    Some(wait.min(MAX_RETRY_AFTER_S))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7) to Unix seconds.
fn http_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let parts: Vec<&str> = text.split_whitespace().collect();
    let [_, day, month, year, time, "GMT"] = parts[..] else { return None };
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    parse_rfc3339(&format!("{year}-{month:02}-{day:0>2}T{time}Z")).map(|at| at / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_mean_what_the_delivery_policy_says() {
        assert_eq!(judge(204, None, 0), Judgement::Accepted);
        assert_eq!(judge(410, None, 0), Judgement::Gone);
        for refused in [301, 302, 400, 401, 404, 413, 422] {
            assert_eq!(judge(refused, None, 0), Judgement::Refused);
        }
        for again in [408, 425, 429, 500, 503] {
            assert_eq!(judge(again, None, 0), Judgement::Again { after_s: None });
        }
        assert_eq!(judge(429, Some("17"), 0), Judgement::Again { after_s: Some(17) });
        assert_eq!(judge(503, Some("999999"), 0), Judgement::Again { after_s: Some(3600) });
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(judge(503, Some(date), 784_111_777 - 30), Judgement::Again { after_s: Some(30) });
        assert_eq!(judge(503, Some(date), 784_111_777 + 30), Judgement::Again { after_s: Some(0) });
        assert_eq!(judge(503, Some("soon"), 0), Judgement::Again { after_s: None });
    }
}
