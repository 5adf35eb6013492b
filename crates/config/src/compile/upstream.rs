//! Upstreams: where requests go.

use super::desk::{Desk, Terms};
use super::listen::{certificate, pem};
use super::url::{Url, invalid};
use crate::words::api::{Api, Rule};
use crate::words::upstream as words;
use crate::words::{At, Duration, Short};
use portcullis_core::finding::Span;
use portcullis_core::head::{Authority, Scheme};
use portcullis_plan::upstream::{Probe, Protocol, Server, Timeouts, Upstream, UpstreamTls};
use std::time::Duration as Time;

/// An upstream, and what belongs to the API that it serves.
pub(crate) struct Made {
    pub(crate) upstream: Upstream,
    /// Path of the base URLs, without a trailing slash.
    pub(crate) base: String,
    /// For Location headers.
    pub(crate) authorities: Vec<(Scheme, Authority)>,
}

/// The upstream of an API.
pub(crate) fn upstream(desk: &mut Desk<'_>, name: &str, api: &At<Api>) -> Option<Made> {
    let Some(words) = &api.upstream else {
        let help = "add  upstream: http://127.0.0.1:3000";
        desk.error("upstream-missing", api.at, format!("`apis.{name}` says nowhere where requests go"), help);
        return None;
    };
    let allowed = plaintext_allowed(desk, name, api);
    match &words.value {
        Short::Text(url) => {
            let url = url_of(desk, url, words.at, allowed)?;
            let authorities = vec![(url.scheme, url.authority.clone())];
            let upstream = Upstream::single(name, server(&url, 1));
            Some(Made { upstream, base: url.path, authorities })
        }
        Short::Full(full) => whole(desk, name, full, words.at, allowed),
    }
}

fn plaintext_allowed(desk: &mut Desk<'_>, name: &str, api: &Api) -> bool {
    let mut allowed = false;
    for loosen in api.loosen.iter().filter(|loosen| loosen.allow.value == Rule::PlaintextUpstream) {
        let terms = Terms { because: &loosen.because, until: &loosen.until, at: loosen.at };
        allowed |= desk.loosen("plaintext_upstream", name, terms);
    }
    allowed
}

fn url_of(desk: &mut Desk<'_>, text: &str, at: Span, plaintext: bool) -> Option<Url> {
    match Url::parse(text) {
        Ok(url) if url.is_tls() || url.is_loopback() || plaintext => Some(url),
        Ok(url) => {
            let message = format!("`{}` is reached without TLS over a network", url.origin());
            let help = "write https://…; where that cannot be yet, add  loosen: [{ allow: plaintext_upstream, because: \
                        \"…\", until: … }]";
            desk.error("plaintext-upstream", at, message, help);
            None
        }
        Err(why) => {
            invalid(desk, text, at, why, "write it like https://shop.internal:8443 or http://127.0.0.1:3000");
            None
        }
    }
}

fn server(url: &Url, weight: u32) -> Server {
    Server { tls: url.is_tls(), host: url.host.clone(), port: url.port, weight: weight.max(1) }
}

fn whole(
    desk: &mut Desk<'_>,
    name: &str,
    words: &words::Upstream,
    at: Span,
    plaintext: bool,
) -> Option<Made> {
    let mut servers = Vec::new();
    let mut authorities = Vec::new();
    let mut base: Option<String> = None;
    let mut good = true;
    for one in &words.servers {
        let Some(url) = url_of(desk, &one.url, one.url.at, plaintext) else {
            good = false;
            continue;
        };
        if base.as_ref().is_some_and(|base| *base != url.path) {
            let help = "all servers of an upstream answer under the same path";
            desk.error("upstream-paths", one.url.at, "this server has another path than the first one", help);
            good = false;
        }
        if words.protocol == words::Protocol::H2c && url.is_tls()
            || words.protocol == words::Protocol::Http2 && !url.is_tls()
        {
            let help = "`h2c` goes with http://, `http2` with https://; `auto` finds out by itself";
            desk.error("protocol-mismatch", one.url.at, "the protocol does not fit this URL", help);
            good = false;
        }
        servers.push(server(&url, one.weight.unwrap_or(1)));
        authorities.push((url.scheme, url.authority.clone()));
        base.get_or_insert(url.path);
    }
    if servers.is_empty() && good {
        let help = "write  servers: [{ url: https://… }]";
        desk.error("upstream-missing", at, "the upstream has no servers", help);
        good = false;
    }
    let ca = match &words.tls.ca {
        Some(ca) => Some(pem(desk, ca, "CERTIFICATE")?),
        None => None,
    };
    let identity = match &words.tls.client_cert {
        Some(pair) => Some(certificate(desk, &pair.cert, &pair.key)?),
        None => None,
    };
    let protocol = match words.protocol {
        words::Protocol::Auto => Protocol::Auto,
        words::Protocol::Http1 => Protocol::Http1,
        words::Protocol::Http2 => Protocol::Http2,
        words::Protocol::H2c => Protocol::H2c,
    };
    let health = match &words.health {
        Some(health) => Some(probe(desk, health)?),
        None => None,
    };
    let timeouts = timeouts(desk, &words.timeouts, at);
    let in_flight = words.in_flight.unwrap_or(1024).max(1);
    let tls = UpstreamTls { ca, identity };
    let upstream = Upstream { name: name.to_owned(), servers, tls, protocol, health, timeouts, in_flight };
    good.then(|| Made { upstream, base: base.unwrap_or_default(), authorities })
}

fn probe(desk: &mut Desk<'_>, words: &At<words::Health>) -> Option<Probe> {
    let path = &words.path;
    if !path.starts_with('/') || !path.bytes().all(|b| b.is_ascii_graphic()) {
        let message = format!("`{}` is not a path", path.value);
        desk.error("health-path", path.at, message, "it begins with `/`, such as /healthz");
        return None;
    }
    let std = |value: Option<Duration>, default| value.map_or(default, Duration::std);
    Some(Probe {
        path: path.value.clone(),
        every: std(words.every, Time::from_secs(10)).max(Time::from_millis(100)),
        timeout: std(words.timeout, Time::from_secs(2)).max(Time::from_millis(10)),
        unhealthy_after: words.unhealthy_after.unwrap_or(3).max(1),
        healthy_after: words.healthy_after.unwrap_or(2).max(1),
        status: if words.status.is_empty() { vec![200] } else { words.status.clone() },
    })
}

fn timeouts(desk: &mut Desk<'_>, words: &words::Timeouts, at: Span) -> Timeouts {
    const HARD: Time = Time::from_secs(600);
    let default = Timeouts::default();
    let std = |value: Option<Duration>, default| value.map_or(default, Duration::std);
    let made = Timeouts {
        connect: std(words.connect, default.connect),
        tls: std(words.tls, default.tls),
        first_byte: std(words.first_byte, default.first_byte),
        idle: std(words.idle, default.idle),
        total: std(words.total, default.total),
    };
    let all = [made.connect, made.tls, made.first_byte, made.idle, made.total];
    if all.iter().any(|time| time.is_zero() || *time > HARD) {
        let help = "each is at least 1ms and at most 10m";
        desk.error("bound-too-large", at, "a time-out of the upstream is outside its hard limit", help);
    }
    made
}
