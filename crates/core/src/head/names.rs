//! Header names: which may come once, which end here, and which only we may write (`wire.md`, section 7).

/// What becomes of a request header by its name alone. Names are in lower case, as `http::HeaderMap` keeps them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Joined when repeated.
    List,
    /// Refused when repeated.
    Single,
    /// Belongs to one connection (RFC 9110, section 7.6.1).
    HopByHop,
    /// Only we may say it to an upstream.
    Reserved,
    /// Changes the method behind our back.
    MethodOverride,
}

/// By length first: a request has dozens of headers and this runs for each.
pub(super) fn kind_of(name: &str) -> Kind {
    let known = match name.len() {
        2 if name == "te" => Kind::HopByHop,
        4 if matches!(name, "host" | "date" | "dpop") => Kind::Single,
        5 if name == "range" => Kind::Single,
        6 if matches!(name, "cookie" | "origin" | "expect") => Kind::Single,
        7 if name == "referer" => Kind::Single,
        7 if matches!(name, "trailer" | "upgrade") => Kind::HopByHop,
        8 if name == "if-range" => Kind::Single,
        9 if name == "x-api-key" => Kind::Single,
        10 if name == "user-agent" => Kind::Single,
        10 if matches!(name, "connection" | "keep-alive") => Kind::HopByHop,
        12 if matches!(name, "content-type" | "max-forwards") => Kind::Single,
        13 if matches!(name, "authorization" | "last-event-id") => Kind::Single,
        13 if name == "x-http-method" => Kind::MethodOverride,
        14 if matches!(name, "content-length" | "x-pc-signature" | "sec-fetch-site") => Kind::Single,
        14 if name == "http2-settings" => Kind::HopByHop,
        15 if name == "idempotency-key" => Kind::Single,
        16 if name == "content-encoding" => Kind::Single,
        16 if name == "proxy-connection" => Kind::HopByHop,
        17 if matches!(name, "if-modified-since" | "sec-websocket-key") => Kind::Single,
        17 if name == "transfer-encoding" => Kind::HopByHop,
        17 if name == "x-method-override" => Kind::MethodOverride,
        18 if name == "proxy-authenticate" => Kind::HopByHop,
        19 if name == "if-unmodified-since" => Kind::Single,
        19 if name == "proxy-authorization" => Kind::HopByHop,
        21 if name == "sec-websocket-version" => Kind::Single,
        22 if name == "x-http-method-override" => Kind::MethodOverride,
        29 if name == "access-control-request-method" => Kind::Single,
        _ => Kind::List,
    };
    if known == Kind::List && is_reserved_lower(name) { Kind::Reserved } else { known }
}

/// Whether a name, in any case, is one that only Portcullis may say to an upstream. A document that declares it
/// as a parameter is an error at load.
pub fn is_reserved(name: &str) -> bool {
    is_reserved_lower(&name.to_ascii_lowercase())
}

/// Whether back ends that build variable names (CGI, WSGI, PHP) would take the name for a reserved one
/// (CVE-2025-64484, CVE-2026-39858).
pub fn folds_to_reserved(name: &str) -> bool {
    is_reserved_lower(&folded(name))
}

/// The name as such back ends see it: lower case, everything but letters and digits is `-`.
pub fn folded(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}

fn is_reserved_lower(name: &str) -> bool {
    // By the first byte, for most headers of a request are none of these.
    match name.as_bytes().first() {
        Some(b'x') => name.strip_prefix("x-").is_some_and(is_reserved_x),
        Some(b'p') => name.starts_with("portcullis-"),
        Some(b'f') => matches!(name, "forwarded" | "fastly-client-ip"),
        Some(b't') => name == "true-client-ip",
        Some(b'c') => matches!(name, "cf-connecting-ip" | "client-cert" | "client-cert-chain"),
        Some(b'r') => name.starts_with("remote-"),
        Some(b's') => name.starts_with("surrogate-") || name.starts_with("ssl-"),
        _ => false,
    }
}

fn is_reserved_x(rest: &str) -> bool {
    const EXACT: [&str; 8] = [
        "forwarded",
        "real-ip",
        "client-ip",
        "cluster-client-ip",
        "sendfile",
        "user",
        "request-id",
        "portcullis",
    ];
    const FAMILIES: [&str; 13] = [
        "forwarded-",
        "original-",
        "rewrite-",
        "envoy-",
        "middleware-",
        "accel-",
        "client-cert",
        "ssl-",
        "remote-",
        "user-",
        "auth-",
        "authenticated-",
        "portcullis-",
    ];
    EXACT.contains(&rest) || FAMILIES.iter().any(|family| rest.starts_with(family))
}

/// Options that `Connection` may name; another one would take a header away from whoever reads next
/// (CVE-2021-33197, CVE-2022-1388, CVE-2024-45410).
pub(super) fn is_connection_option(option: &str) -> bool {
    const OPTIONS: [&str; 5] = ["close", "keep-alive", "upgrade", "te", "http2-settings"];
    OPTIONS.iter().any(|known| option.eq_ignore_ascii_case(known))
}

/// Whether a name has the grammar `[A-Za-z0-9-]{1,64}`.
pub fn is_plain(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_kind_that_the_page_says() {
        let kinds = [
            (
                Kind::HopByHop,
                "connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer \
                 transfer-encoding upgrade http2-settings",
            ),
            (
                Kind::Single,
                "authorization content-type content-length content-encoding host cookie origin referer user-agent \
                 range if-range if-modified-since if-unmodified-since expect max-forwards date dpop \
                 idempotency-key x-api-key x-pc-signature access-control-request-method last-event-id \
                 sec-fetch-site sec-websocket-key sec-websocket-version",
            ),
            (Kind::MethodOverride, "x-http-method-override x-http-method x-method-override"),
            (Kind::List, "accept accept-language if-match via signature x-shop-region"),
        ];
        for (kind, list) in kinds {
            for name in list.split_whitespace() {
                assert_eq!(kind_of(name), kind, "{name}");
            }
        }
    }

    #[test]
    fn names_of_every_family_are_reserved() {
        for name in [
            "Portcullis-Identity",
            "Forwarded",
            "X-Forwarded",
            "X-Forwarded-For",
            "X-Forwarded-Anything",
            "X-Real-IP",
            "X-Client-IP",
            "X-Cluster-Client-IP",
            "True-Client-IP",
            "CF-Connecting-IP",
            "Fastly-Client-IP",
            "X-Original-URL",
            "X-Rewrite-URL",
            "X-Envoy-Original-Path",
            "X-Middleware-Subrequest",
            "X-Accel-Redirect",
            "X-Sendfile",
            "Surrogate-Capability",
            "Client-Cert",
            "Client-Cert-Chain",
            "X-Client-Cert",
            "X-Client-Certificate",
            "X-SSL-Client-CN",
            "SSL-Client-Cert",
            "Remote-User",
            "Remote-Groups",
            "X-Remote-User",
            "X-User",
            "X-User-Id",
            "X-Auth-Request-Email",
            "X-Authenticated-Groups",
            "X-Request-Id",
        ] {
            assert!(is_reserved(name), "{name}");
            assert_eq!(kind_of(&name.to_ascii_lowercase()), Kind::Reserved, "{name}");
            assert!(folds_to_reserved(&name.replace('-', "_")), "{name}");
            assert!(folds_to_reserved(&name.replace('-', ".")), "{name}");
        }
        for name in
            ["Authorization", "Accept", "X-Shop-Region", "X-Userland", "X-API-Key", "Forwarded-For", "Remote"]
        {
            assert!(!is_reserved(name), "{name}");
        }
    }
}
