//! Which URLs may be asked (egress.md § 3). Pure; parsed once, and only what was parsed is used afterwards.

use std::net::IpAddr;
use url::{Host, Url};

/// What is wrong with a URL. All that a stranger is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlRule {
    /// The way it is written.
    Form,
    /// Its scheme.
    Scheme,
    /// Its host or port.
    Host,
    /// Where it leads: denied, unresolvable and timed out alike.
    Address,
}

impl UrlRule {
    /// Stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Scheme => "scheme",
            Self::Host => "host",
            Self::Address => "address",
        }
    }
}

/// Rules for URLs that come as data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlPolicy {
    /// Lower case.
    pub schemes: Vec<Box<str>>,
    /// Explicit or the scheme's own.
    pub ports: Vec<u16>,
    /// Hosts that may be named; empty: none.
    pub allow: Vec<HostPattern>,
    /// Wins over `allow`.
    pub deny: Vec<HostPattern>,
    /// Names are resolved and their addresses judged.
    pub resolve: bool,
    /// Addresses may stand in place of a name, and are judged.
    pub literal_ip: bool,
}

impl UrlPolicy {
    /// `https`, port 443, any public name: `webhook` and `public`.
    pub fn public() -> Self {
        Self {
            schemes: vec!["https".into()],
            ports: vec![443],
            allow: vec![HostPattern::Any],
            deny: Vec::new(),
            resolve: true,
            literal_ip: false,
        }
    }

    /// Judges a URL, step by step in the order of § 3; nothing is asked of anybody.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(&self, url: &str) -> Result<Target, UrlRule> {
        // 1. Printable ASCII without a backslash.
        let fine = |b: u8| (0x21..=0x7e).contains(&b) && b != b'\\';
        if url.is_empty() || url.len() > 2_048 || !url.bytes().all(fine) {
            return Err(UrlRule::Form);
        }
        // 2. Scheme and authority.
        let (scheme, rest) = url.split_once("://").ok_or(UrlRule::Form)?;
        let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
        if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.bytes().all(word) {
            return Err(UrlRule::Form);
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let authority = rest.get(..end).filter(|text| !text.is_empty()).ok_or(UrlRule::Form)?;
        if !self.schemes.iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return Err(UrlRule::Scheme);
        }
        // 3. No userinfo, fragment, or encoding in the authority.
        if authority.contains(['@', '%']) || url.contains('#') {
            return Err(UrlRule::Form);
        }
        // 4. One reading. Every other spelling of an address is turned into the address here, and so differs.
        let parsed = Url::parse(url).map_err(|_| UrlRule::Form)?;
        let (raw, port) = split(authority).ok_or(UrlRule::Form)?;
        let host = parsed.host().ok_or(UrlRule::Form)?;
        if parsed.host_str() != Some(&*raw.to_ascii_lowercase()) {
            return Err(UrlRule::Host);
        }
        // 5, 6. Who it is.
        let place = match host {
            Host::Ipv4(ip) => Place::Address(ip.into()),
            Host::Ipv6(ip) => Place::Address(ip.into()),
            Host::Domain(name) => Place::Name(name.into()),
        };
        match &place {
            Place::Address(_) if !self.literal_ip => return Err(UrlRule::Host),
            Place::Address(_) => {}
            Place::Name(name) => {
                let named = |list: &[HostPattern]| list.iter().any(|pattern| pattern.matches(name));
                if !is_public_name(name) || !named(&self.allow) || named(&self.deny) {
                    return Err(UrlRule::Host);
                }
            }
        }
        // 7. The port, in its one spelling.
        let number = parsed.port_or_known_default().filter(|port| *port != 0).ok_or(UrlRule::Host)?;
        if !self.ports.contains(&number) || port.is_some_and(|text| text != number.to_string()) {
            return Err(UrlRule::Host);
        }
        Ok(Target { place, port: number })
    }
}

/// A URL that a policy lets through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Whom it names.
    pub place: Place,
    /// At which port.
    pub port: u16,
}

/// Whom a URL names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// An address, not yet judged.
    Address(IpAddr),
    /// A name in lower case, not yet resolved.
    Name(Box<str>),
}

/// A pattern of host names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// `*`: any public name.
    Any,
    /// `*.example.com`: one label or more under it, never itself.
    Under(Box<str>),
    /// One name.
    Exact(Box<str>),
}

impl HostPattern {
    /// Reads one, as the configuration writes it.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        match text.strip_prefix("*.") {
            _ if text == "*" => Some(Self::Any),
            Some(parent) => is_ldh(parent).then(|| Self::Under(parent.into())),
            None => is_ldh(&text).then(|| Self::Exact(text.into())),
        }
    }

    /// By labels, in lower case.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Under(parent) => {
                name.strip_suffix(&**parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            Self::Exact(own) => **own == *name,
        }
    }
}

/// Whether a name may be looked up for a stranger: two labels, LDH, and not one that means something inside only.
pub fn is_public_name(name: &str) -> bool {
    const DENIED: [&str; 3] = ["localhost", "metadata", "metadata.google.internal"];
    const UNDER: [&str; 9] = [
        "localhost",
        "local",
        "internal",
        "intranet",
        "corp",
        "home.arpa",
        "svc",
        "cluster.local",
        "localdomain",
    ];
    let lower = name.to_ascii_lowercase();
    let under = |suffix: &str| lower.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.'));
    let last = lower.rsplit('.').next().unwrap_or_default();
    lower.contains('.')
        && is_ldh(&lower)
        && !last.bytes().all(|b| b.is_ascii_digit())
        && !DENIED.contains(&&*lower)
        && !UNDER.iter().any(|suffix| under(suffix))
}

fn is_ldh(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// Host and port of an authority as written.
fn split(authority: &str) -> Option<(&str, Option<&str>)> {
    let at = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, rest) = (authority.get(..at)?, authority.get(at..)?);
    match rest.strip_prefix(':') {
        Some(port) => Some((host, Some(port))),
        None => rest.is_empty().then_some((host, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_spelling_is_refused() {
        let policy = UrlPolicy::public();
        let literal = UrlPolicy { literal_ip: true, ..UrlPolicy::public() };
        for (url, rule) in [
            ("https://127.1/", UrlRule::Host),
            ("https://0x7f000001/", UrlRule::Host),
            ("https://2130706433/", UrlRule::Host),
            ("https://0177.0.0.1/", UrlRule::Host),
            ("https://①②⑦.⓪.⓪.①/", UrlRule::Form),
            ("https://１２７.0.0.1/", UrlRule::Form),
            ("https://127.0.0.1/", UrlRule::Host),
            ("https://[::1]/", UrlRule::Host),
            ("https://[::ffff:127.0.0.1]/", UrlRule::Host),
            ("https://[::127.0.0.1]/", UrlRule::Host),
            ("https://[64:ff9b::a9fe:a9fe]/", UrlRule::Host),
            ("https://[64:ff9b:1::a9fe:a9fe]/", UrlRule::Host),
            ("https://169.254.169.254/latest/meta-data/", UrlRule::Host),
            ("https://168.63.129.16/", UrlRule::Host),
            ("https://localhost/", UrlRule::Host),
            ("https://localhost./", UrlRule::Host),
            ("https://metadata.google.internal./", UrlRule::Host),
            ("https://metadata.google.internal/", UrlRule::Host),
            ("https://intranet/", UrlRule::Host),
            ("https://x.svc.cluster.local/", UrlRule::Host),
            ("https://orders.svc/", UrlRule::Host),
            ("https://printer.local/", UrlRule::Host),
            ("https://a.home.arpa/", UrlRule::Host),
            ("https://a_b.example.com/", UrlRule::Host),
            ("https://-a.example.com/", UrlRule::Host),
            ("https://user@example.com/", UrlRule::Form),
            ("https://allowed.com\\@evil.example/", UrlRule::Form),
            ("https://allowed.com#@evil.example/", UrlRule::Form),
            ("https://example.com/#x", UrlRule::Form),
            ("https://exa%6dple.com/", UrlRule::Form),
            ("http:127.0.0.1/", UrlRule::Form),
            ("https:/example.com", UrlRule::Form),
            ("https:///example.com", UrlRule::Form),
            ("//example.com/", UrlRule::Form),
            ("/a", UrlRule::Form),
            ("", UrlRule::Form),
            ("http://example.com/", UrlRule::Scheme),
            ("gopher://example.com/", UrlRule::Scheme),
            ("file:///etc/passwd", UrlRule::Form),
            ("file://example.com/etc/passwd", UrlRule::Scheme),
            ("dict://example.com:11211/", UrlRule::Scheme),
            ("jar:http://example.com!/", UrlRule::Form),
            ("data:text/html,x", UrlRule::Form),
            ("ftp://example.com/", UrlRule::Scheme),
            ("https://example.com:22/", UrlRule::Host),
            ("https://example.com:0/", UrlRule::Host),
            ("https://example.com:0443/", UrlRule::Host),
            ("https://example.com:/", UrlRule::Host),
            ("https://example.com:99999/", UrlRule::Form),
            ("https://exa mple.com/", UrlRule::Form),
            ("https://example.com/\r\nHost: x", UrlRule::Form),
            ("https://example.com/\0", UrlRule::Form),
        ] {
            assert_eq!(policy.check(url), Err(rule), "{url}");
        }
        let long = format!("https://example.com/{}", "a".repeat(2_048));
        assert_eq!(policy.check(&long), Err(UrlRule::Form));
        for url in
            ["https://127.1/", "https://0x7f000001/", "https://2130706433/", "https://[::FFFF:127.0.0.1]/"]
        {
            assert_eq!(literal.check(url), Err(UrlRule::Host), "{url}");
        }
        let one = "198.41.0.4".parse().unwrap();
        assert_eq!(literal.check("https://198.41.0.4/").unwrap().place, Place::Address(one));
    }

    #[test]
    fn honest_urls_pass() {
        let policy = UrlPolicy::public();
        for url in [
            "https://example.com/",
            "https://example.com",
            "HTTPS://Example.COM/a?b=c",
            "https://example.com:443/a",
            "https://xn--bcher-kva.example/",
            "https://a.b.c.example.co.uk/x%20y",
        ] {
            assert!(policy.check(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn patterns_go_by_labels() {
        let policy = UrlPolicy {
            allow: vec![
                HostPattern::parse("api.partner.example").unwrap(),
                HostPattern::parse("*.CDN.example").unwrap(),
            ],
            deny: vec![HostPattern::parse("bad.cdn.example").unwrap()],
            ..UrlPolicy::public()
        };
        for (url, passes) in [
            ("https://api.partner.example/", true),
            ("https://x.api.partner.example/", false),
            ("https://a.cdn.example/", true),
            ("https://a.b.cdn.example/", true),
            ("https://cdn.example/", false),
            ("https://evilcdn.example/", false),
            ("https://bad.cdn.example/", false),
            ("https://example.com/", false),
        ] {
            assert_eq!(policy.check(url).is_ok(), passes, "{url}");
        }
        for text in ["", "*", "*.", "a..b", "*.*.example", "a b", "*example.com"] {
            assert_eq!(HostPattern::parse(text).is_some(), text == "*", "{text}");
        }
    }

    #[test]
    fn the_public_vectors_of_urls_are_judged_in_one_way() {
        let root =
            std::env::var_os("PORTCULLIS_VECTORS").map(std::path::PathBuf::from).unwrap_or_else(|| {
                std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors")
            });
        let Ok(text) = std::fs::read_to_string(root.join("urls/urltestdata.json")) else {
            println!("the vectors are not here: {}", root.display());
            return;
        };
        let cases: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        let policy = UrlPolicy {
            schemes: vec!["https".into(), "http".into()],
            ports: vec![80, 443],
            ..UrlPolicy::public()
        };
        let (mut allowed, mut all) = (0, 0);
        for case in &cases {
            let Some(input) = case["input"].as_str() else { continue };
            all += 1;
            let Ok(target) = policy.check(input) else { continue };
            allowed += 1;
            let Place::Name(name) = target.place else { panic!("{input}") };
            // What their own parser says is the host.
            assert_eq!(case["hostname"].as_str(), Some(&*name), "{input}");
            assert!(is_public_name(&name) && input.to_ascii_lowercase().contains(&*name), "{input}");
        }
        assert!(all > 500 && allowed > 5, "{allowed} of {all}");
    }
}
