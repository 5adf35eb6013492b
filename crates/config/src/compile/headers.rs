//! Header rules of one API: what goes on, what goes back, pages that may call.

use super::desk::Desk;
use crate::words::At;
use crate::words::api::{Api, Browsers, Cookies, Host};
use http::HeaderName;
use portcullis_core::finding::Span;
use portcullis_core::head::{Authority, HostKind, Scheme, names};
use portcullis_plan::edge::{self, BrowsersError, HeaderPolicy, Names, OriginError, ResponseHeaderPolicy};

/// The rules of an API. `credentials` are the headers of its security schemes, `upstreams` for Location headers.
pub(crate) fn policy(
    desk: &mut Desk<'_>,
    api: &Api,
    hosts: Vec<Box<str>>,
    credentials: Vec<HeaderName>,
    upstreams: Vec<(Scheme, Authority)>,
) -> HeaderPolicy {
    let mut response = ResponseHeaderPolicy { upstreams, ..ResponseHeaderPolicy::default() };
    response.admitted = header_names(desk, &api.return_headers, false);
    if let Some(hsts) = &api.hsts {
        let max_age = hsts.max_age.map_or(63_072_000, crate::words::Duration::secs);
        match ResponseHeaderPolicy::hsts(max_age, hsts.preload) {
            Some(value) => response.hsts = value,
            None => {
                let message = "HSTS below one year protects nobody who comes rarely";
                desk.error("hsts-too-short", hsts.at, message, "write  max_age: 730d");
            }
        }
    }
    let browsers = api.browsers.as_ref().and_then(|browsers| {
        response.cookies = browsers.cookies == Cookies::Pass;
        self::browsers(desk, browsers, browsers.at)
    });
    HeaderPolicy {
        forward: header_names(desk, &api.forward_headers, true),
        credentials: Names::new(credentials),
        preserve_host: api.host == Host::Preserve,
        hosts,
        response,
        browsers,
    }
}

/// The hosts of an API, in lower case.
pub(crate) fn hosts(desk: &mut Desk<'_>, api: &Api) -> Vec<Box<str>> {
    let mut hosts: Vec<Box<str>> = Vec::new();
    for host in &api.hosts {
        let lower = host.to_ascii_lowercase();
        let good = Authority::parse(&lower)
            .is_ok_and(|a| a.port().is_none() && a.kind() == HostKind::Name || is_ip(&a));
        if !good {
            let message = format!("`{}` is not a host name", host.value);
            desk.error("host-invalid", host.at, message, "write the name alone, such as api.example.com");
        } else if hosts.iter().any(|known| **known == *lower) {
            desk.error("host-twice", host.at, format!("`{lower}` stands here twice"), "keep one of them");
        } else {
            hosts.push(lower.into());
        }
    }
    hosts
}

fn is_ip(authority: &Authority) -> bool {
    authority.port().is_none() && authority.kind() != HostKind::Name
}

/// Names of headers; reserved ones are ours alone.
fn header_names(desk: &mut Desk<'_>, words: &[At<String>], request: bool) -> Names {
    let mut made = Vec::new();
    for word in words {
        let name = HeaderName::try_from(word.as_str()).ok().filter(|_| names::is_plain(word));
        let hop = [
            "connection",
            "transfer-encoding",
            "content-length",
            "upgrade",
            "te",
            "trailer",
            "host",
            "keep-alive",
        ];
        match name {
            Some(name) if hop.contains(&name.as_str()) => {
                let message = format!("`{}` belongs to one connection and never passes", word.value);
                desk.error("header-hop-by-hop", word.at, message, "remove it");
            }
            Some(name) if request && names::is_reserved(name.as_str()) => {
                let message =
                    format!("`{}` is a name that only the gateway may say to the upstream", word.value);
                desk.error("header-reserved", word.at, message, "choose another name, such as X-Shop-Region");
            }
            Some(name) if !request && name.as_str().starts_with("access-control-") => {
                let message = format!("`{}` of the upstream is always replaced", word.value);
                desk.error("header-reserved", word.at, message, "say which pages may call under `browsers`");
            }
            Some(name) => made.push(name),
            None => {
                let message = format!("`{}` is not a header name", word.value);
                desk.error("header-name", word.at, message, "a name has letters, digits and hyphens");
            }
        }
    }
    Names::new(made)
}

fn browsers(desk: &mut Desk<'_>, words: &Browsers, at: Span) -> Option<edge::Browsers> {
    let max_age = words.max_age.map_or(600, crate::words::Duration::secs);
    let origins = words.origins.iter().map(|origin| origin.as_str());
    let expose = words.expose.iter().map(|name| name.as_str());
    let error = match edge::Browsers::new(origins, words.credentials, expose, max_age) {
        Ok(browsers) => return Some(browsers),
        Err(error) => error,
    };
    let place = |text: &str| {
        words.origins.iter().chain(&words.expose).find(|word| word.value == *text).map_or(at, |word| word.at)
    };
    match &error {
        BrowsersError::Origin(origin, why) => {
            let (sentence, help) = match why {
                OriginError::Null => {
                    ("is the origin of every sandboxed frame", "name the pages that may call")
                }
                OriginError::Form => {
                    ("is not an origin", "write scheme and host alone: https://shop.example.com")
                }
                OriginError::Scheme => ("is not https", "plain http is for pages on loopback alone"),
                OriginError::Wildcard => {
                    ("has `*` in a place where it means nothing", "`*.` stands for one whole label")
                }
                OriginError::PublicSuffix => {
                    ("lets in names that strangers can register", "put `*.` below a domain of your own")
                }
            };
            desk.error("origin-invalid", place(origin), format!("`{origin}` {sentence}"), help);
        }
        BrowsersError::AnyWithMore => {
            let help = "name the pages that may call; `*` is for anonymous operations alone";
            desk.error(
                "origin-any",
                place("*"),
                "`*` stands beside other origins or `credentials: true`",
                help,
            );
        }
        BrowsersError::Empty => {
            desk.error("origin-missing", at, "no page may call", "add  origins: [https://shop.example.com]");
        }
        BrowsersError::Expose(name) => {
            let message = format!("`{name}` is not a header name");
            desk.error("header-name", place(name), message, "a name has letters, digits and hyphens");
        }
    }
    None
}
