use portcullis_core::head::{Authority, HostKind, Scheme};

/// Where a page comes from (RFC 6454): scheme, host, port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: Scheme,
    host: Authority,
    port: u16,
}

/// An origin of the configuration; `*.` stands for one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern {
    origin: Origin,
    any_label: bool,
}

/// Why a text is no origin, or not one that may be configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginError {
    /// `null`: every sandboxed frame and local file has it.
    Null,
    /// Not `scheme://host[:port]` alone.
    Form,
    /// Neither `https` nor, on loopback, `http`.
    Scheme,
    /// `*` anywhere but as the whole first label.
    Wildcard,
    /// `*.` above a public suffix: strangers register names there.
    PublicSuffix,
}

impl Origin {
    /// Reads an `Origin` header. `null` and anything opaque is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let scheme = Scheme::parse(&scheme.to_ascii_lowercase())?;
        let authority = Authority::parse(authority).ok()?;
        Some(Self::new(scheme, &authority))
    }

    /// Of a scheme and an authority; the scheme's port where none is written.
    pub fn new(scheme: Scheme, authority: &Authority) -> Self {
        let port = authority.port_or(scheme.default_port());
        Self { scheme, host: authority.clone().without_port(), port }
    }

    /// Same scheme, host and port.
    pub fn is(&self, scheme: Scheme, host: &str, port: u16) -> bool {
        self.scheme == scheme && self.host.host() == host && self.port == port
    }

    fn is_loopback(&self) -> bool {
        match self.host.kind() {
            HostKind::Name => self.host.host() == "localhost" || self.host.host().ends_with(".localhost"),
            HostKind::V4 => self.host.host().starts_with("127."),
            HostKind::V6 => self.host.host() == "[::1]",
        }
    }
}

impl OriginPattern {
    /// Reads an origin as the configuration writes it.
    ///
    /// # Errors
    /// What may not be configured; regular expressions are no hosts and fail as such.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        if text.eq_ignore_ascii_case("null") {
            return Err(OriginError::Null);
        }
        let (scheme, rest) = text.split_once("://").ok_or(OriginError::Form)?;
        let (any_label, host) = match rest.strip_prefix("*.") {
            Some(host) => (true, host),
            None if rest.contains('*') => return Err(OriginError::Wildcard),
            None => (false, rest),
        };
        let origin = Origin::parse(&format!("{scheme}://{host}")).ok_or(OriginError::Form)?;
        if origin.scheme == Scheme::Http && !origin.is_loopback() {
            return Err(OriginError::Scheme);
        }
        let name = origin.host.host();
        if any_label && (origin.host.kind() != HostKind::Name || !name.contains('.')) {
            return Err(OriginError::Wildcard);
        }
        if any_label && is_public_suffix(name) {
            return Err(OriginError::PublicSuffix);
        }
        Ok(Self { origin, any_label })
    }

    /// Whether a page's origin is meant.
    pub fn matches(&self, origin: &Origin) -> bool {
        if !self.any_label {
            return *origin == self.origin;
        }
        let Some((label, parent)) = origin.host.host().split_once('.') else { return false };
        !label.is_empty() && origin.is_at(&self.origin, parent)
    }
}

impl Origin {
    fn is_at(&self, pattern: &Self, parent: &str) -> bool {
        self.host.kind() == HostKind::Name && pattern.is(self.scheme, parent, self.port)
    }
}

/// Whether names are registered right under this one, as far as the list below knows: a pattern over it would be
/// everybody's.
pub fn is_registry(name: &str) -> bool {
    !name.contains('.') || is_public_suffix(name)
}

/// Suffixes of two labels and more under which anybody gets a name. A list of the common ones: the compiler
/// refuses these mistakes, it does not replace the operator's knowledge of his own names.
fn is_public_suffix(name: &str) -> bool {
    const SECOND: [&str; 12] =
        ["ac", "co", "com", "edu", "go", "gob", "gov", "ltd", "mil", "ne", "net", "org"];
    const HOSTERS: [&str; 36] = [
        "amazonaws.com",
        "amplifyapp.com",
        "appspot.com",
        "azureedge.net",
        "azurewebsites.net",
        "blogspot.com",
        "cloudapp.net",
        "cloudfront.net",
        "codesandbox.io",
        "csb.app",
        "deno.dev",
        "edgecompute.app",
        "firebaseapp.com",
        "fly.dev",
        "fly.io",
        "gitbook.io",
        "github.io",
        "githubusercontent.com",
        "gitlab.io",
        "glitch.me",
        "herokuapp.com",
        "myshopify.com",
        "netlify.app",
        "ngrok.app",
        "ngrok.io",
        "ngrok-free.app",
        "onrender.com",
        "pages.dev",
        "railway.app",
        "replit.app",
        "replit.dev",
        "run.app",
        "surge.sh",
        "vercel.app",
        "web.app",
        "workers.dev",
    ];
    let labels: Vec<&str> = name.split('.').collect();
    match labels.as_slice() {
        // `co.uk`, `com.au`: a generic second level under a country.
        [second, country] if country.len() == 2 && SECOND.contains(second) => true,
        _ => HOSTERS.contains(&name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_patterns_refuse_at_load() {
        use OriginError::*;
        let cases = [
            ("null", Null),
            ("shop.example.com", Form),
            ("https://", Form),
            ("https://shop.example.com/", Form),
            ("https://shop.example.com/path", Form),
            ("https://user@shop.example.com", Form),
            ("https://.*\\.example\\.com", Wildcard),
            ("https://(a|b).example.com", Form),
            ("ftp://shop.example.com", Form),
            ("http://shop.example.com", Scheme),
            ("https://shop.*.com", Wildcard),
            ("https://*", Wildcard),
            ("https://*.com", Wildcard),
            ("https://*shop.example.com", Wildcard),
            ("https://*.*.example.com", Form),
            ("https://*.10.0.0.1", Wildcard),
            ("https://*.co.uk", PublicSuffix),
            ("https://*.github.io", PublicSuffix),
        ];
        for (text, error) in cases {
            assert_eq!(OriginPattern::parse(text), Err(error), "{text}");
        }
        for text in
            ["https://shop.example.com", "https://*.example.com", "http://localhost:3000", "http://[::1]:80"]
        {
            assert!(OriginPattern::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn origin_wildcard_is_one_label() {
        let pattern = OriginPattern::parse("https://*.Shop.example.com:443").unwrap();
        let matches = |text| Origin::parse(text).is_some_and(|origin| pattern.matches(&origin));
        assert!(matches("https://a.shop.example.com"));
        assert!(matches("https://A.SHOP.example.com:443"));
        for text in [
            "https://shop.example.com",
            "https://a.b.shop.example.com",
            "https://ashop.example.com",
            "http://a.shop.example.com",
            "https://a.shop.example.com:8443",
            "https://a.shop.example.com.attacker.io",
            "null",
        ] {
            assert!(!matches(text), "{text}");
        }
    }
}
