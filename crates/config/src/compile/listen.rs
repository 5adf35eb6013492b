//! Listeners, bounds, drain, and who may tell the client's address.

use super::desk::{Desk, Terms};
use crate::words::listen::{self as words, ClientAddress, ClientMode, Serve, TlsVersion};
use crate::words::{At, Document, Reference, Short};
use portcullis_core::finding::Span;
use portcullis_core::head::names;
use portcullis_plan::bounds::{Bounds, Drain};
use portcullis_plan::edge::{ClientHeader, EdgePolicy, TrustedProxies};
use portcullis_plan::listen::{self as plan, Certificate, Clients, Listener, Tls};
use std::net::SocketAddr;
use std::time::Duration;

/// Where a configuration without `listen` listens.
pub(crate) const DEFAULT_ADDRESS: &str = "127.0.0.1:8080";

pub(crate) fn listeners(desk: &mut Desk<'_>, document: &Document, bounds: &Bounds) -> Vec<Listener> {
    let default = At::nowhere(words::Listen::default());
    let listen = document.listen.as_ref().unwrap_or(&default);
    let mut made: Vec<(Listener, Span)> = Vec::new();
    if document.listen.is_none() {
        made.extend(short(desk, document, DEFAULT_ADDRESS, listen.at, bounds).map(|l| (l, listen.at)));
    }
    let mut shorts = document.listen.is_none();
    for one in listen.value.iter() {
        match one {
            Short::Text(address) => {
                shorts = true;
                made.extend(short(desk, document, address, listen.at, bounds).map(|l| (l, listen.at)));
            }
            Short::Full(one) => {
                let at = one.address.at;
                made.extend(full(desk, document, one, bounds).map(|listener| (listener, at)));
            }
        }
    }
    if let (Some(tls), false) = (&document.tls, shorts) {
        let help = "put `tls` into the listener, or write  listen: ADDRESS";
        desk.error(
            "tls-unused",
            tls.at,
            "`tls` stands beside listeners that have settings of their own",
            help,
        );
    }
    if let Some((admin, at)) = super::administration::address(document)
        && let Some(address) = address(desk, admin, at)
    {
        if !address.ip().is_loopback() {
            admin_exposed(desk, at);
        }
        made.push((Listener::plain("admin", address, vec![plan::Serve::Admin]), at));
    }
    unique(desk, &mut made);
    made.into_iter().map(|(listener, _)| listener).collect()
}

fn short(
    desk: &mut Desk<'_>,
    document: &Document,
    text: &str,
    at: Span,
    bounds: &Bounds,
) -> Option<Listener> {
    let address = address(desk, text, at)?;
    let tls = match &document.tls {
        Some(tls) => Some(self::tls(desk, tls)?),
        None => None,
    };
    let listener =
        Listener { tls, bounds: bounds.clone(), ..Listener::plain("", address, vec![plan::Serve::Apis]) };
    if listener.tls.is_none() && !address.ip().is_loopback() {
        plaintext(desk, at);
    }
    Some(listener)
}

fn full(
    desk: &mut Desk<'_>,
    document: &Document,
    one: &words::Listener,
    bounds: &Bounds,
) -> Option<Listener> {
    let at = one.address.at;
    let inherited = one.address.strip_prefix("systemd:").map(str::to_owned);
    let address = match &inherited {
        // What it is bound to is the service manager's; whoever could reach it is not known.
        Some(name) => inherited_address(desk, name, at)?,
        None => address(desk, &one.address, at)?,
    };
    let loopback = address.ip().is_loopback();
    let serve: Vec<Serve> = if one.serve.is_empty() {
        vec![Serve::Apis]
    } else {
        one.serve.iter().map(|serve| serve.value).collect()
    };
    let (apis, admin) = (serve.contains(&Serve::Apis), serve.contains(&Serve::Admin));
    if apis && admin {
        // CVE-2020-11710, CVE-2022-24112: administration on the port of the data.
        let help = "give `admin` a listener of its own on a loopback address";
        desk.error("admin-shared", at, "`apis` and `admin` never share a listener", help);
    }
    let tls = match &one.tls {
        Some(tls) => Some(self::tls(desk, tls)?),
        None => None,
    };
    let (mut plaintext_allowed, mut http_1_0) = (false, false);
    for loosen in &one.loosen {
        let terms = Terms { because: &loosen.because, until: &loosen.until, at: loosen.at };
        let place = format!("listener {}", one.address.value);
        match loosen.allow.value {
            words::ListenerLoosening::Plaintext => {
                plaintext_allowed |= desk.loosen("plaintext", place, terms)
            }
            words::ListenerLoosening::Http10 => http_1_0 |= desk.loosen("http_1_0", place, terms),
        }
    }
    if apis && tls.is_none() && !loopback && !plaintext_allowed {
        plaintext(desk, at);
    }
    let certified = tls.as_ref().and_then(|tls| tls.clients.as_ref()).map(|clients| clients.mode);
    if admin && !loopback && certified != Some(plan::ClientMode::Required) {
        admin_exposed(desk, at);
    }
    if one.h2c && (!loopback || tls.is_some()) {
        let message = "`h2c` is HTTP/2 without TLS, and for loopback addresses only";
        desk.error("h2c-exposed", at, message, "remove `h2c`; over TLS HTTP/2 is offered anyway");
    }
    let client_cert_from_proxy = from_proxy(desk, document, one, tls.as_ref());
    let name = one.name.as_ref().map(|name| name.value.clone()).unwrap_or_default();
    let from = one.proxy_protocol.as_ref().map(|proxy| &proxy.from);
    for network in from.into_iter().flatten() {
        everybody(desk, network.value.0.prefix_len(), network.at);
    }
    Some(Listener {
        name,
        address,
        inherited,
        serve: serve
            .iter()
            .map(|serve| match serve {
                Serve::Apis => plan::Serve::Apis,
                Serve::Admin => plan::Serve::Admin,
                Serve::Acme => plan::Serve::Acme,
                Serve::Docs => plan::Serve::Docs,
            })
            .collect(),
        tls,
        public_port: one.public_port,
        proxy_protocol: from.map(|from| from.iter().map(|network| network.value.0).collect()),
        h2c: one.h2c,
        http_1_0,
        publish_pins: one.publish_pins,
        extended_connect: false,
        client_cert_from_proxy,
        bounds: match &one.bounds {
            Some(own) => self::bounds(desk, own, bounds),
            None => bounds.clone(),
        },
    })
}

/// What `Client-Cert` is judged by, where it is read (RFC 9440).
fn from_proxy(
    desk: &mut Desk<'_>,
    document: &Document,
    one: &words::Listener,
    tls: Option<&Tls>,
) -> Option<Clients> {
    let read = &one.client_cert_from_proxy;
    let own = match &one.clients {
        Some(clients) => {
            if one.tls.is_some() || !read.value {
                let help =
                    "with TLS write  tls: { clients: … };  behind a proxy  client_cert_from_proxy: true";
                desk.error(
                    "clients-misplaced",
                    clients.at,
                    "nobody would ever be judged by these `clients`",
                    help,
                );
            }
            Some(self::clients(desk, clients)?)
        }
        // Who must show a certificate in the handshake is the proxy; of its clients some may have none.
        None => tls
            .and_then(|tls| tls.clients.clone())
            .map(|clients| Clients { mode: plan::ClientMode::Optional, ..clients }),
    };
    if !read.value {
        return None;
    }
    if own.is_none() {
        let help = "add  clients: { ca: { file: … } }  with the authority of the clients";
        desk.error(
            "client-cert-unchecked",
            read.at,
            "certificates that a proxy tells of are checked here too",
            help,
        );
    }
    if document.trusted_proxies.is_empty() {
        let help = "add  trusted_proxies: [10.0.0.0/24]  with the networks of your own proxies";
        desk.error(
            "client-cert-from-nobody",
            read.at,
            "no proxy is trusted: `Client-Cert` would never be read",
            help,
        );
    }
    own
}

/// `systemd:NAME`. The address itself is a place-holder off loopback, so that nothing is taken for private.
fn inherited_address(desk: &mut Desk<'_>, name: &str, at: Span) -> Option<SocketAddr> {
    let fine =
        !name.is_empty() && name.len() <= 255 && name.bytes().all(|b| b.is_ascii_graphic() && b != b':');
    if !fine {
        let help = "write the `FileDescriptorName=` of the socket unit, such as  systemd:portcullis.socket";
        desk.error("address-invalid", at, format!("`systemd:{name}` names no socket"), help);
    }
    fine.then(|| SocketAddr::from(([0, 0, 0, 0], 0)))
}

fn address(desk: &mut Desk<'_>, text: &str, at: Span) -> Option<SocketAddr> {
    let parsed = text.parse().ok();
    if parsed.is_none() {
        let message = format!("`{text}` is not an IP address with a port");
        let help = match text.rsplit_once(':') {
            Some(("localhost", port)) => format!("write 127.0.0.1:{port}"),
            Some(("" | "*", port)) => {
                format!("write 0.0.0.0:{port} for every interface, 127.0.0.1:{port} for none")
            }
            _ => "write it like 0.0.0.0:8443 or [::1]:8443".to_owned(),
        };
        desk.error("address-invalid", at, message, help);
    }
    parsed
}

fn plaintext(desk: &mut Desk<'_>, at: Span) {
    let help = "add  tls: { cert: { file: … }, key: { file: … } }  or listen on 127.0.0.1; the loosening is `plaintext`";
    desk.error(
        "plaintext-listener",
        at,
        "APIs are served without TLS on an address that others can reach",
        help,
    );
}

fn admin_exposed(desk: &mut Desk<'_>, at: Span) {
    let help = "listen on 127.0.0.1, or demand client certificates with  tls: { clients: { ca: …, mode: required } }";
    desk.error("admin-exposed", at, "the admin listener can be reached by others", help);
}

fn everybody(desk: &mut Desk<'_>, prefix: u8, at: Span) {
    if prefix == 0 {
        // GHSA-vhr5-ggp3-qq85 and its kin: whoever connects may say who he is.
        let help = "name the networks of your own proxies";
        desk.error("trusted-everybody", at, "this network contains everybody", help);
    }
}

fn tls(desk: &mut Desk<'_>, tls: &At<words::Tls>) -> Option<Tls> {
    let mut certificates = Vec::new();
    let mut whole = true;
    match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => match certificate(desk, cert, key) {
            Some(made) => certificates.push(made),
            None => whole = false,
        },
        (None, None) if !tls.certificates.is_empty() || tls.acme.is_some() => {}
        _ => {
            let help = "write  tls: { cert: { file: tls/cert.pem }, key: { file: tls/key.pem } }, or `acme`";
            desk.error("certificate-missing", tls.at, "`tls` needs `cert` and `key`", help);
            whole = false;
        }
    }
    for pair in &tls.certificates {
        match certificate(desk, &pair.cert, &pair.key) {
            Some(made) => certificates.push(made),
            None => whole = false,
        }
    }
    let acme = match &tls.acme {
        Some(acme) => Some(super::acme::acme(desk, acme)?),
        None => None,
    };
    let clients = match &tls.clients {
        Some(clients) => Some(self::clients(desk, clients)?),
        None => None,
    };
    let min = match tls.min {
        TlsVersion::V1_2 => plan::TlsVersion::V1_2,
        TlsVersion::V1_3 => plan::TlsVersion::V1_3,
    };
    whole.then_some(Tls { certificates, acme, min, clients, hosts: Vec::new() })
}

/// A pair; chain and key are looked into where TLS is set up.
pub(crate) fn certificate(
    desk: &mut Desk<'_>,
    cert: &At<Reference>,
    key: &At<Reference>,
) -> Option<Certificate> {
    let chain = pem(desk, cert, "CERTIFICATE");
    let secret = desk.secret(key);
    let has_key = secret.as_ref().is_some_and(|secret| contains(secret.expose(), b"PRIVATE KEY-----"));
    if secret.is_some() && !has_key {
        let message = format!("`{}` holds no private key in PEM form", key.shown());
        let help = "it begins with -----BEGIN PRIVATE KEY-----; an encrypted key cannot be used";
        desk.error("certificate-invalid", key.at, message, help);
        return None;
    }
    Some(Certificate { source: cert.shown(), chain: chain?, key: secret? })
}

/// A file with at least one PEM block of a label.
pub(crate) fn pem(desk: &mut Desk<'_>, reference: &At<Reference>, label: &str) -> Option<Vec<u8>> {
    let bytes = desk.secret(reference)?.expose().clone();
    let begin = format!("-----BEGIN {label}-----");
    if !contains(&bytes, begin.as_bytes()) {
        let message = format!("`{}` holds no {label} in PEM form", reference.shown());
        desk.error("certificate-invalid", reference.at, message, format!("it begins with {begin}"));
        return None;
    }
    Some(bytes)
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn clients(desk: &mut Desk<'_>, clients: &At<words::Clients>) -> Option<Clients> {
    let ca = pem(desk, &clients.ca, "CERTIFICATE")?;
    let crl = match &clients.crl {
        Some(crl) => Some(pem(desk, crl, "X509 CRL")?),
        None => None,
    };
    let mode = match clients.mode {
        ClientMode::Required => plan::ClientMode::Required,
        ClientMode::Optional => plan::ClientMode::Optional,
    };
    Some(Clients { ca, crl, mode, san: clients.san.clone() })
}

/// Gives names to listeners that have none, and refuses doubles.
fn unique(desk: &mut Desk<'_>, made: &mut [(Listener, Span)]) {
    let mut names: Vec<String> =
        made.iter().map(|(l, _)| l.name.clone()).filter(|name| !name.is_empty()).collect();
    for (listener, _) in made.iter_mut().filter(|(listener, _)| listener.name.is_empty()) {
        let base = if listener.serve.contains(&plan::Serve::Admin) { "admin" } else { "public" };
        let free = |name: &String| !names.contains(name);
        let name = std::iter::once(base.to_owned()).chain((2..).map(|n| format!("{base}-{n}"))).find(free);
        listener.name = name.unwrap_or_default();
        names.push(listener.name.clone());
    }
    for (index, (listener, at)) in made.iter().enumerate() {
        let before = made.get(..index).unwrap_or_default();
        if before.iter().any(|(other, _)| other.name == listener.name) {
            let message = format!("two listeners are called `{}`", listener.name);
            desk.error("name-twice", *at, message, "give each a `name` of its own");
        }
        let port = listener.address.port();
        if port != 0 && before.iter().any(|(other, _)| other.address == listener.address) {
            let message = format!("two listeners stand on {}", listener.address);
            desk.error("address-twice", *at, message, "give each an address of its own");
        }
    }
}

/// Defaults, and what is written over them, within the hard limits.
pub(crate) fn bounds(desk: &mut Desk<'_>, words: &At<words::Bounds>, base: &Bounds) -> Bounds {
    let hard = Bounds::hard();
    let mut made = base.clone();
    let mut over: Vec<(&str, String)> = Vec::new();
    let count = |value: Option<u32>| value.map(|v| usize::try_from(v).unwrap_or(usize::MAX));
    let size = |value: Option<crate::words::Size>| value.map(|v| usize::try_from(v.0).unwrap_or(usize::MAX));
    let time = |value: Option<crate::words::Duration>| value.map(crate::words::Duration::std);
    macro_rules! set {
        ($($field:ident: $value:expr),+ $(,)?) => {
            $(if let Some(value) = $value {
                if outside(&value, &hard.$field) {
                    over.push((stringify!($field), shown(&hard.$field)));
                }
                made.$field = value;
            })+
        };
    }
    set! {
        connections: count(words.connections),
        connections_per_address: count(words.connections_per_address),
        handshakes: count(words.handshakes),
        handshake: time(words.handshake),
        head: time(words.head),
        idle: time(words.idle),
        age: time(words.age),
        requests_http1: words.requests_http1.map(u64::from),
        requests_http2: words.requests_http2.map(u64::from),
        headers: count(words.headers),
        header_bytes: size(words.header_bytes),
        header_value: size(words.header_value),
        target: size(words.target),
        segments: count(words.segments),
        cookies: count(words.cookies),
        cookie_bytes: size(words.cookie_bytes),
        unread: time(words.unread),
        body: time(words.body),
        streams: words.streams,
    }
    for (field, limit) in over {
        let message = format!("`bounds.{field}` is outside its hard limit");
        desk.error("bound-too-large", words.at, message, format!("it is at least 1 and at most {limit}"));
    }
    made
}

/// Beyond the hard limit, or nothing at all: no request works with a bound of zero.
fn outside<T: Least + PartialOrd>(value: &T, hard: &T) -> bool {
    value > hard || *value < T::LEAST
}

trait Least: Sized {
    const LEAST: Self;
}
impl Least for usize {
    const LEAST: Self = 1;
}
impl Least for u64 {
    const LEAST: Self = 1;
}
impl Least for u32 {
    const LEAST: Self = 1;
}
impl Least for Duration {
    const LEAST: Self = Self::from_millis(1);
}

fn shown<T: std::fmt::Debug>(value: &T) -> String {
    format!("{value:?}")
}

pub(crate) fn drain(words: &words::Drain) -> Drain {
    let default = Drain::default();
    Drain {
        delay: words.delay.map_or(default.delay, crate::words::Duration::std),
        timeout: words.timeout.map_or(default.timeout, crate::words::Duration::std),
    }
}

/// Who may tell the client's address, and which headers nobody may send.
pub(crate) fn edge(desk: &mut Desk<'_>, document: &Document, bounds: &Bounds) -> EdgePolicy {
    let mut edge = EdgePolicy::default();
    for network in &document.trusted_proxies {
        everybody(desk, network.value.0.prefix_len(), network.at);
    }
    let header = match document.client_address {
        ClientAddress::XForwardedFor => ClientHeader::XForwardedFor,
        ClientAddress::Forwarded => ClientHeader::Forwarded,
    };
    let networks = document.trusted_proxies.iter().map(|network| network.value.0).collect();
    if let Ok(trusted) = TrustedProxies::new(networks, header) {
        edge.trusted = trusted;
    }
    for name in &document.reserved_headers {
        if names::is_plain(name) {
            edge.fields.add_reserved(name);
        } else {
            let message = format!("`{}` is not a header name", name.value);
            desk.error("header-name", name.at, message, "a name has letters, digits and hyphens");
        }
    }
    edge.fields.count = bounds.headers;
    edge.fields.bytes = bounds.header_bytes;
    edge.fields.value = bounds.header_value;
    edge.fields.cookies = bounds.cookies;
    edge.target.0 = bounds.target;
    edge
}
