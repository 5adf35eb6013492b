//! Where an answer points to (§ 12, step 3): our upstream's names become the public one, inner names do not leave.

use http::header::HeaderValue;
use portcullis_core::head::{Authority, Head, HostKind, Scheme};
use portcullis_plan::edge::HeaderPolicy;
use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) struct Place<'a> {
    pub(super) head: &'a Head,
    pub(super) policy: &'a HeaderPolicy,
}

/// A value that stays, or one that was written anew.
pub(super) struct Pointed<'v>(Cow<'v, str>);

impl Pointed<'_> {
    pub(super) fn into_value(self, original: &HeaderValue) -> HeaderValue {
        match self.0 {
            Cow::Borrowed(_) => original.clone(),
            Cow::Owned(text) => HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("/")),
        }
    }
}

impl Place<'_> {
    /// One URI reference; nothing when it may not leave.
    pub(super) fn target<'v>(&self, text: &'v str) -> Option<Pointed<'v>> {
        self.reference(text).map(Pointed)
    }

    fn reference<'v>(&self, text: &'v str) -> Option<Cow<'v, str>> {
        // Browsers take a backslash for a slash, so `/\evil.example` would be an authority.
        if text.bytes().any(|b| matches!(b, b'\\' | b' ' | b'\t' | b'<' | b'>' | b'"')) {
            return None;
        }
        let path_starts = text.find(['/', '?', '#']).unwrap_or(text.len());
        let (scheme, after) = match text.split_once(':') {
            Some((scheme, after)) if scheme.len() < path_starts => (Some(scheme.to_ascii_lowercase()), after),
            _ => (None, text),
        };
        let scheme = match scheme.as_deref() {
            // Scheme-relative, or relative altogether.
            None => self.head.scheme(),
            Some(other) => Scheme::parse(other)?,
        };
        let Some(rest) = after.strip_prefix("//") else {
            // `https:path` is relative to some readers and absolute to others.
            return (after.len() == text.len()).then_some(Cow::Borrowed(text));
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (written, tail) = rest.split_at_checked(end)?;
        let authority = Authority::parse(written).ok()?;
        if self.is_upstream(scheme, &authority) {
            return Some(Cow::Owned(format!(
                "{}://{}{tail}",
                self.head.scheme().text(),
                self.head.authority()
            )));
        }
        if is_inner(&authority) && authority.host() != self.head.authority().host() {
            return None;
        }
        Some(Cow::Borrowed(text))
    }

    fn is_upstream(&self, scheme: Scheme, authority: &Authority) -> bool {
        let port = authority.port_or(scheme.default_port());
        self.policy.response.upstreams.iter().any(|(s, upstream)| {
            upstream.host() == authority.host() && upstream.port_or(s.default_port()) == port
        })
    }

    /// `Link`: each target; nothing when one of them may not leave, or the list does not parse.
    pub(super) fn links<'v>(&self, text: &'v str) -> Option<Pointed<'v>> {
        let mut out = String::with_capacity(text.len());
        let mut rewritten = false;
        let mut rest = text;
        loop {
            let (before, after) = rest.split_once('<')?;
            if !before.trim_matches([' ', '\t', ',']).is_empty() {
                return None;
            }
            let (target, after) = after.split_once('>')?;
            let target = self.reference(target)?;
            rewritten |= matches!(target, Cow::Owned(_));
            let (parameters, next) = split_at_comma(after);
            out.push_str(before);
            out.push('<');
            out.push_str(&target);
            out.push('>');
            out.push_str(parameters);
            match next {
                Some(next) => {
                    out.push(',');
                    rest = next;
                }
                None => break,
            }
        }
        Some(Pointed(if rewritten { Cow::Owned(out) } else { Cow::Borrowed(text) }))
    }
}

/// The parameters of a link, to the next comma outside of quotes.
fn split_at_comma(text: &str) -> (&str, Option<&str>) {
    let (mut quoted, mut escaped) = (false, false);
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                return match (text.get(..place), text.get(place + 1..)) {
                    (Some(before), Some(after)) => (before, Some(after)),
                    _ => (text, None),
                };
            }
            _ => {}
        }
    }
    (text, None)
}

/// A private address or a name that means something inside only.
fn is_inner(authority: &Authority) -> bool {
    const SUFFIXES: [&str; 14] = [
        ".internal",
        ".local",
        ".localhost",
        ".localdomain",
        ".lan",
        ".home",
        ".home.arpa",
        ".corp",
        ".intranet",
        ".private",
        ".svc",
        ".cluster",
        ".test",
        ".invalid",
    ];
    let host = authority.host();
    match authority.kind() {
        HostKind::Name => !host.contains('.') || SUFFIXES.iter().any(|suffix| host.ends_with(suffix)),
        HostKind::V4 => host.parse::<Ipv4Addr>().map_or(true, is_inner_v4),
        HostKind::V6 => host.trim_matches(['[', ']']).parse::<Ipv6Addr>().map_or(true, is_inner_v6),
    }
}

fn is_inner_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || matches!(
            (a, b, c),
            (0, ..) | (100, 64..=127, _) | (192, 0, 0) | (198, 18..=19, _) | (240..=255, ..)
        )
}

fn is_inner_v6(address: Ipv6Addr) -> bool {
    match IpAddr::V6(address).to_canonical() {
        IpAddr::V4(mapped) => is_inner_v4(mapped),
        // Only 2000::/3 is global unicast; of it, 6to4 and NAT64 carry addresses of version 4.
        IpAddr::V6(address) => match address.segments() {
            [0x2002, high, low, ..] => {
                let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
                is_inner_v4(Ipv4Addr::new(a, b, c, d))
            }
            [first, ..] => first & 0xe000 != 0x2000,
        },
    }
}
