//! Which addresses a webhook may reach: public ones, unless a setting opens private networks.
//!
//! Every address of a name is checked, and the connection goes to a checked address, so that a second answer of the
//! name server cannot swap it. Redirects are never followed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use thiserror::Error;
use url::Url;

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Forbidden {
    #[error("a webhook url starts with https:// (http:// needs webhook.allow_http = true)")]
    Scheme,
    #[error("a webhook url holds no user name or password: use a signing key")]
    UserInfo,
    #[error("a webhook url names a host")]
    Host,
    #[error("{0} is no public address (private targets need webhook.allow_private = true)")]
    Address(String),
}

/// What is open beyond public https.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Guard {
    pub allow_private: bool,
    pub allow_http: bool,
}

impl Guard {
    /// Checks the url when settings are read; names are resolved and checked at each attempt.
    pub fn check_url(self, url: &Url) -> Result<(), Forbidden> {
        match url.scheme() {
            "https" => {}
            "http" if self.allow_http => {}
            _ => return Err(Forbidden::Scheme),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Forbidden::UserInfo);
        }
        match url.host() {
            None => Err(Forbidden::Host),
            Some(url::Host::Ipv4(ip)) => self.check(ip.into()),
            Some(url::Host::Ipv6(ip)) => self.check(ip.into()),
            Some(url::Host::Domain(_)) => Ok(()),
        }
    }

    fn check(self, ip: IpAddr) -> Result<(), Forbidden> {
        if self.allow_private || public(ip) { Ok(()) } else { Err(Forbidden::Address(ip.to_string())) }
    }
}

/// Whether an address belongs to the public internet; IPv4 inside IPv6 is judged as IPv4.
fn public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => public_v4(ip),
        IpAddr::V6(ip) => embedded_v4(ip).map_or_else(|| public_v6(ip), public_v4),
    }
}

fn public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let benchmark = a == 198 && (b == 18 || b == 19);
    let protocol = a == 192 && b == 0 && c == 0;
    !(a == 0 || a >= 240 || shared || benchmark || protocol)
        && !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_multicast() || ip.is_documentation())
}

fn public_v6(ip: Ipv6Addr) -> bool {
    let first = ip.segments()[0];
    // Global unicast is 2000::/3; 2001:db8::/32 is for books.
    (0x2000..0x4000).contains(&first) && !(first == 0x2001 && ip.segments()[1] == 0xdb8)
}

/// The IPv4 address inside mapped, compatible, NAT64 and 6to4 forms.
fn embedded_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = ip.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match s {
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] => Some(v4(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

/// The resolver of the courier's HTTP client: refuses a name any of whose addresses is not allowed.
#[derive(Debug)]
pub struct GuardedResolver(pub Guard);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.0;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            for address in &found {
                guard.check(address.ip())?;
            }
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_refused_in_every_spelling() {
        let refused = [
            "https://127.0.0.1/",
            "https://10.1.2.3/",
            "https://192.168.1.1/",
            "https://172.16.0.1/",
            "https://169.254.169.254/",
            "https://100.64.0.1/",
            "https://0.0.0.0/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[64:ff9b::a00:1]/",
            "https://[2002:7f00:1::]/",
            "https://[fd00:ec2::254]/",
            "https://[fe80::1]/",
            "https://255.255.255.255/",
            "https://224.0.0.1/",
        ];
        for text in refused {
            let url = Url::parse(text).unwrap();
            let answer = Guard::default().check_url(&url);
            assert!(matches!(answer, Err(Forbidden::Address(_))), "{text}: {answer:?}");
            assert_eq!(Guard { allow_private: true, allow_http: false }.check_url(&url), Ok(()), "{text}");
        }
        for text in ["https://8.8.8.8/", "https://[2606:4700::1111]/", "https://example.com/x"] {
            assert_eq!(Guard::default().check_url(&Url::parse(text).unwrap()), Ok(()), "{text}");
        }
    }

    #[test]
    fn only_https_without_user_info() {
        let check = |text: &str| Guard::default().check_url(&Url::parse(text).unwrap());
        assert_eq!(check("http://example.com"), Err(Forbidden::Scheme));
        assert_eq!(check("ftp://example.com"), Err(Forbidden::Scheme));
        assert_eq!(check("https://a:b@example.com"), Err(Forbidden::UserInfo));
    }

    #[tokio::test]
    async fn a_name_that_leads_home_is_refused_at_the_attempt() {
        let resolver = GuardedResolver(Guard::default());
        assert!(resolver.resolve("localhost".parse().unwrap()).await.is_err());
        let open = GuardedResolver(Guard { allow_private: true, allow_http: false });
        assert!(open.resolve("localhost".parse().unwrap()).await.is_ok());
    }
}
