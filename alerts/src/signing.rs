//! Standard Webhooks 1.0.0: `v1` is HMAC-SHA256 over `id.timestamp.body`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;

use crate::secret::Secret;

/// The key behind `whsec_…`.
#[derive(Clone)]
pub struct SigningKey(Vec<u8>);

/// A webhook as its receiver sees it; times in Unix seconds.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    pub id: &'a str,
    pub timestamp: i64,
    pub body: &'a [u8],
    /// The `webhook-signature` header.
    pub signature: &'a str,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    #[error("a signing key starts with whsec_ and goes on in base64")]
    Form,
    #[error("a signing key has 24 to 64 random bytes, this one has {0}; make one with `leeway token --webhook`")]
    Length(usize),
}

impl SigningKey {
    pub fn parse(secret: &Secret) -> Result<Self, KeyError> {
        let text = secret.expose().strip_prefix("whsec_").ok_or(KeyError::Form)?;
        let key = STANDARD.decode(text).map_err(|_| KeyError::Form)?;
        if (24..=64).contains(&key.len()) { Ok(Self(key)) } else { Err(KeyError::Length(key.len())) }
    }

    /// The `webhook-signature` header for these bytes, stamped with Unix seconds.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        format!("v1,{}", STANDARD.encode(self.mac(id, timestamp, body).finalize().into_bytes()))
    }

    /// Whether one of the header's signatures is right and the stamp is within five minutes of `now`.
    pub fn verify(&self, received: &Received<'_>, now: i64) -> bool {
        let Received { id, timestamp, body, signature } = *received;
        let right = |text: &str| {
            STANDARD.decode(text).is_ok_and(|bytes| self.mac(id, timestamp, body).verify_slice(&bytes).is_ok())
        };
        let mut signatures = signature.split(' ').filter_map(|part| part.strip_prefix("v1,"));
        (now - timestamp).abs() <= 300 && signatures.any(right)
    }

    fn mac(&self, id: &str, timestamp: i64, body: &[u8]) -> Hmac<Sha256> {
        // HMAC takes a key of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).unwrap_or_else(|_| unreachable!("HMAC takes any key"));
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        mac
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<secret>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> SigningKey {
        SigningKey::parse(&Secret::new(text)).unwrap()
    }

    #[test]
    fn signatures_match_the_published_vectors() {
        let first = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signature = first.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let second = key("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD");
        let body = br#"{"email":"test@example.com","username":"test_user"}"#;
        let signature = second.sign("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1_649_367_553, body);
        assert_eq!(signature, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
    }

    #[test]
    fn verification_refuses_what_the_libraries_refuse() {
        let key = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let good = key.sign("msg_1", 1000, b"x");
        let verify = |body: &[u8], signature: &str, now| {
            key.verify(&Received { id: "msg_1", timestamp: 1000, body, signature }, now)
        };
        assert!(verify(b"x", &good, 1300));
        assert!(verify(b"x", &format!("v1,AAAA v2,x {good}"), 1000));
        assert!(!verify(b"x", &good, 1301));
        assert!(!verify(b"x", &good, 699));
        assert!(!verify(b"y", &good, 1000));
        assert!(!verify(b"x", &good[..11], 1000));
        assert!(!verify(b"x", "", 1000));
    }

    #[test]
    fn a_weak_key_is_an_error() {
        let parse = |text| SigningKey::parse(&Secret::new(text)).err();
        assert_eq!(parse("whsec_AAAA"), Some(KeyError::Length(3)));
        assert_eq!(parse("AAAA"), Some(KeyError::Form));
        assert_eq!(format!("{:?}", Secret::new("x")), "<secret>");
    }
}
