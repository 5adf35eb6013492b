//! URLs of the configuration: upstreams, issuers, end points.

use super::desk::Desk;
use portcullis_core::finding::Span;
use portcullis_core::head::{Authority, Scheme};
use std::net::IpAddr;

/// An absolute `http` or `https` URL without user, query or fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    /// Lower case, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Without a trailing slash; empty for the root.
    pub(crate) path: String,
}

impl Url {
    /// Reads one; the error is the rest of a sentence about it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or("does not begin with https:// or http://")?;
        let scheme = Scheme::parse(&scheme.to_ascii_lowercase()).ok_or("is neither https nor http")?;
        if rest.contains('@') {
            return Err("has a user name; credentials do not belong into URLs");
        }
        if rest.contains(['?', '#']) {
            return Err("has a query or fragment");
        }
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at_checked(at).unwrap_or((rest, "")),
            None => (rest, ""),
        };
        let authority = Authority::parse(&authority.to_ascii_lowercase()).map_err(|_| "has no valid host")?;
        let clean = |b: u8| {
            b.is_ascii_graphic() && !matches!(b, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'}')
        };
        let dots = path.split('/').any(|part| part == "." || part == "..");
        if !path.bytes().all(clean) || path.contains("//") || dots {
            return Err("has a path that is not canonical");
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let port = authority.port_or(scheme.default_port());
        Ok(Self { scheme, authority, host, port, path: path.trim_end_matches('/').to_owned() })
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.scheme == Scheme::Https
    }

    /// Whether it stays on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => self.host == "localhost" || self.host.ends_with(".localhost"),
        }
    }

    /// `scheme://authority`.
    pub(crate) fn origin(&self) -> String {
        let host = self.authority.host();
        let scheme = if self.is_tls() { "https" } else { "http" };
        match self.authority.port() {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        }
    }
}

/// Says that a URL cannot be used. One with a user name holds a password as a rule, and is not shown.
pub(crate) fn invalid(desk: &mut Desk<'_>, text: &str, at: Span, why: &str, help: &str) {
    let shown = match text.rsplit_once('@') {
        Some((_, host)) => {
            desk.secrets.push(at);
            format!("…@{host}")
        }
        None => text.to_owned(),
    };
    desk.error("url-invalid", at, format!("`{shown}` {why}"), help);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let url = Url::parse("http://127.0.0.1:3000/base/").unwrap();
        assert_eq!((url.host.as_str(), url.port, url.path.as_str()), ("127.0.0.1", 3000, "/base"));
        assert!(url.is_loopback() && !url.is_tls());
        let url = Url::parse("https://Shop.Internal").unwrap();
        assert_eq!(
            (url.host.as_str(), url.port, url.origin().as_str()),
            ("shop.internal", 443, "https://shop.internal")
        );
        assert!(Url::parse("http://[::1]:1").unwrap().is_loopback());
        assert!(Url::parse("http://a.localhost").unwrap().is_loopback());
        assert!(!Url::parse("http://127.0.0.1.example.com").unwrap().is_loopback());
        for text in [
            "127.0.0.1:3000",
            "ftp://a",
            "https://",
            "https://u:p@a",
            "https://a?x",
            "https://a#x",
            "https://a/../b",
            "https://a//b",
            "https://a b/",
            "/relative",
            "https://a/\u{e9}",
        ] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
    }
}
