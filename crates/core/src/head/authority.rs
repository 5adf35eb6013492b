use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A host and perhaps a port, in lower case: the one spelling in which hosts are compared.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Authority {
    host: Box<str>,
    kind: HostKind,
    port: Option<u16>,
}

/// What a host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostKind {
    /// Labels.
    Name,
    /// Four decimal numbers.
    V4,
    /// Brackets.
    V6,
}

/// Why a text is no authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorityError {
    /// Nothing, or only a port.
    Empty,
    /// A label is empty, longer than 63, or has a character outside `[a-z0-9-]`; also a trailing dot, userinfo
    /// and `%`.
    Label,
    /// Longer than 253.
    TooLong,
    /// Ends in a number without being a dotted quad: resolvers would read it as an address.
    Number,
    /// Brackets without a plain IPv6 address; zones are refused (CVE-2026-26310).
    Address,
    /// Not 1–65535, or not in its one spelling.
    Port,
}

impl AuthorityError {
    /// Stable words for the private reason.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Empty => "the authority is empty",
            Self::Label => "the authority is not a host name",
            Self::TooLong => "the authority is too long",
            Self::Number => "the authority ends in a number and is no IPv4 address",
            Self::Address => "the authority is not an IPv6 address",
            Self::Port => "the authority has no valid port",
        }
    }
}

impl Authority {
    /// Reads `host`, `host:port`, `1.2.3.4` or `[::1]:8443`. No userinfo, no `%`, no zone, no trailing dot.
    ///
    /// # Errors
    /// The first thing wrong.
    pub fn parse(text: &str) -> Result<Self, AuthorityError> {
        if let Some(rest) = text.strip_prefix('[') {
            let (address, after) = rest.split_once(']').ok_or(AuthorityError::Address)?;
            let address: Ipv6Addr = address.parse().map_err(|_| AuthorityError::Address)?;
            let port = match after {
                "" => None,
                _ => Some(parse_port(after.strip_prefix(':').ok_or(AuthorityError::Port)?)?),
            };
            return Ok(Self { host: format!("[{address}]").into(), kind: HostKind::V6, port });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(parse_port(port)?)),
            None => (text, None),
        };
        let kind = judge_name(host)?;
        let mut host: Box<str> = host.into();
        host.make_ascii_lowercase();
        Ok(Self { host, kind, port })
    }

    /// The host in lower case; an IPv6 address in brackets.
    pub const fn host(&self) -> &str {
        &self.host
    }

    /// What the host is.
    pub const fn kind(&self) -> HostKind {
        self.kind
    }

    /// The port, where one was written.
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// The port, or the scheme's.
    pub fn port_or(&self, default: u16) -> u16 {
        self.port.unwrap_or(default)
    }

    /// The same host without a port.
    #[must_use]
    pub fn without_port(mut self) -> Self {
        self.port = None;
        self
    }

    /// The same host with a port.
    #[must_use]
    pub const fn with_port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({self})")
    }
}

fn parse_port(text: &str) -> Result<u16, AuthorityError> {
    if text.starts_with('0') || text.len() > 5 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(AuthorityError::Port);
    }
    text.parse().map_err(|_| AuthorityError::Port)
}

fn judge_name(host: &str) -> Result<HostKind, AuthorityError> {
    if host.is_empty() {
        return Err(AuthorityError::Empty);
    }
    if host.len() > 253 {
        return Err(AuthorityError::TooLong);
    }
    let mut last = "";
    for label in host.split('.') {
        let fits =
            (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !fits {
            return Err(AuthorityError::Label);
        }
        last = label;
    }
    // WHATWG URL, "ends in a number": `1.2.3`, `0x7f.1` and `2130706433` are addresses to many resolvers.
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    let numeric = match hex {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_hexdigit()),
        None => last.bytes().all(|b| b.is_ascii_digit()),
    };
    if !numeric {
        return Ok(HostKind::Name);
    }
    host.parse::<Ipv4Addr>().map(|_| HostKind::V4).map_err(|_| AuthorityError::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn authority_has_one_spelling() {
        let cases = [
            ("API.Example.com", "api.example.com", None),
            ("api.example.com:8443", "api.example.com", Some(8443)),
            ("127.0.0.1:80", "127.0.0.1", Some(80)),
            ("[::1]", "[::1]", None),
            ("[0:0::0001]:443", "[::1]", Some(443)),
            ("[2001:DB8::A]", "[2001:db8::a]", None),
            ("localhost", "localhost", None),
        ];
        for (text, host, port) in cases {
            let authority = Authority::parse(text).unwrap();
            assert_eq!((authority.host(), authority.port()), (host, port), "{text}");
            assert_eq!(Authority::parse(&authority.to_string()).unwrap(), authority);
        }
    }

    #[test]
    fn authority_refuses_other_readings() {
        use AuthorityError::*;
        let cases = [
            ("", Empty),
            (":80", Empty),
            ("user@host", Label),
            ("user:pw@host", Port),
            ("host.", Label),
            (".host", Label),
            ("a..b", Label),
            ("h%6fst", Label),
            ("ho_st", Label),
            ("host:", Port),
            ("host:0", Port),
            ("host:080", Port),
            ("host:65536", Port),
            ("host:+80", Port),
            ("host:80:80", Port),
            ("[fe80::1%25eth0]", Address),
            ("[fe80::1%eth0]", Address),
            ("[::1", Address),
            ("[::1]80", Port),
            ("[1.2.3.4]", Address),
            ("::1", Port),
            ("1.2.3", Number),
            ("127.1", Number),
            ("0x7f.0.0.1", Number),
            ("0x7f000001", Number),
            ("010.0.0.1", Number),
            ("2130706433", Number),
            ("a.0x", Number),
            ("host/path", Label),
            ("host\\evil", Label),
            ("höst", Label),
        ];
        for (text, error) in cases {
            assert_eq!(Authority::parse(text), Err(error), "{text:?}");
        }
        assert_eq!(Authority::parse(&format!("{}.com", "a".repeat(64))), Err(Label));
        assert_eq!(Authority::parse(&vec!["a".repeat(49); 6].join(".")), Err(TooLong));
    }

    proptest! {
        #[test]
        fn authority_law_parse_of_print_is_identity(text in "[a-zA-Z0-9.:\\[\\]-]{0,20}") {
            if let Ok(authority) = Authority::parse(&text) {
                prop_assert_eq!(Authority::parse(&authority.to_string()).unwrap(), authority);
            }
        }
    }
}
