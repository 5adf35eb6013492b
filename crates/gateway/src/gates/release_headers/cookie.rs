//! `Set-Cookie` of an upstream (RFC 6265): only where `browsers.cookies: pass`.

use http::header::HeaderValue;

/// Names of our own sign-in cookies.
const OURS: [&str; 2] = ["__host-portcullis", "__host-pc_"];

/// The cookie with `Secure`, with `SameSite` when it has none; nothing when it imitates ours or reaches beyond
/// the API's hosts.
pub(super) fn rewrite(text: &str, hosts: &[Box<str>]) -> Option<HeaderValue> {
    let mut parts = text.split(';');
    let pair = parts.next()?.trim_matches([' ', '\t']);
    let (name, _) = pair.split_once('=')?;
    let name = name.trim_matches([' ', '\t']);
    let folded = name.to_ascii_lowercase();
    if name.is_empty() || OURS.iter().any(|ours| folded.starts_with(ours)) {
        return None;
    }
    let (mut secure, mut same_site) = (false, false);
    let mut out = String::with_capacity(text.len() + 24);
    out.push_str(pair);
    for attribute in parts.map(|part| part.trim_matches([' ', '\t'])).filter(|part| !part.is_empty()) {
        let (key, value) = attribute.split_once('=').unwrap_or((attribute, ""));
        match key.trim_matches([' ', '\t']).to_ascii_lowercase().as_str() {
            "secure" => secure = true,
            "samesite" => same_site = true,
            "domain" if !lies_within(value.trim_matches([' ', '\t']), hosts) => return None,
            _ => {}
        }
        out.push_str("; ");
        out.push_str(attribute);
    }
    if !secure {
        out.push_str("; Secure");
    }
    if !same_site {
        out.push_str("; SameSite=Lax");
    }
    HeaderValue::try_from(out).ok()
}

/// A leading dot is ignored by browsers (RFC 6265, section 5.2.3); an empty domain is the host itself.
fn lies_within(domain: &str, hosts: &[Box<str>]) -> bool {
    let domain = domain.strip_prefix('.').unwrap_or(domain).to_ascii_lowercase();
    domain.is_empty()
        || hosts.iter().any(|host| {
            domain == **host || domain.strip_suffix(&**host).is_some_and(|below| below.ends_with('.'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_leave_tightened() {
        let hosts = ["api.example.com".into()];
        let cases = [
            ("a=1", Some("a=1; Secure; SameSite=Lax")),
            ("a=1; Path=/; HttpOnly", Some("a=1; Path=/; HttpOnly; Secure; SameSite=Lax")),
            ("a=1; secure; SameSite=Strict", Some("a=1; secure; SameSite=Strict")),
            ("a=1; Domain=api.example.com", Some("a=1; Domain=api.example.com; Secure; SameSite=Lax")),
            ("a=1; domain=.API.example.com", Some("a=1; domain=.API.example.com; Secure; SameSite=Lax")),
            ("a=1; Domain=example.com", None),
            ("a=1; Domain=evil-api.example.com", None),
            ("a=1; Domain=com", None),
            ("__Host-portcullis=1; Secure", None),
            ("__host-Portcullis-sid=1; Secure", None),
            ("__Host-pc_sid=1; Secure", None),
            ("=1", None),
            ("novalue", None),
        ];
        for (given, expected) in cases {
            let got = rewrite(given, &hosts);
            assert_eq!(got.as_ref().map(|v| v.to_str().unwrap()), expected, "{given}");
        }
        assert!(rewrite("a=1; Domain=api.example.com", &[]).is_none());
    }
}
