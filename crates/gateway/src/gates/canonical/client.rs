//! Who is the client (wire.md § 8). Empty by default: no header is read, whatever it is called.

use super::Connection;
use http::header::{FORWARDED, HeaderMap};
use portcullis_core::head::{Client, How, Scheme};
use portcullis_plan::edge::{ClientHeader, TrustedProxies};
use smallvec::SmallVec;
use std::net::{IpAddr, Ipv6Addr};

const MAX_HOPS: usize = 32;

/// The client and the scheme that it used.
pub(super) fn find(
    headers: &HeaderMap,
    connection: &Connection<'_>,
    trusted: &TrustedProxies,
) -> (Client, Scheme) {
    let peer = Client { how: connection.how, ..Client::peer(connection.peer) };
    if !trusted.contains(peer.address) {
        return (peer, connection.scheme);
    }
    let peer = Client { through_proxy: true, ..peer };
    let (client, scheme) = match trusted.header() {
        ClientHeader::XForwardedFor => {
            (by_x_forwarded_for(headers, peer, trusted), x_forwarded_proto(headers))
        }
        ClientHeader::Forwarded => by_forwarded(headers, peer, trusted),
    };
    (client, scheme.unwrap_or(connection.scheme))
}

fn by_x_forwarded_for(headers: &HeaderMap, peer: Client, trusted: &TrustedProxies) -> Client {
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    let hops = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
    walk(hops.map(|hop| address(hop.trim_matches([' ', '\t']))), How::XForwardedFor, peer, trusted).0
}

/// From the right: the first address that is no trusted proxy is the client. Also tells how many hops were read.
fn walk(
    hops: impl Iterator<Item = Option<IpAddr>>,
    how: How,
    mut client: Client,
    trusted: &TrustedProxies,
) -> (Client, usize) {
    for (read, hop) in hops.enumerate() {
        let Some(address) = hop.filter(|_| read < MAX_HOPS) else {
            return (Client { malformed: true, ..client }, read);
        };
        client = Client { address, how, ..client };
        if !trusted.contains(address) {
            return (client, read + 1);
        }
    }
    (client, usize::MAX)
}

/// One value only; a list would have to be believed by position.
fn x_forwarded_proto(headers: &HeaderMap) -> Option<Scheme> {
    let mut lines = headers.get_all("x-forwarded-proto").iter();
    let value = lines.next()?.to_str().ok()?;
    if lines.next().is_some() { None } else { scheme(value) }
}

fn scheme(text: &str) -> Option<Scheme> {
    [Scheme::Http, Scheme::Https].into_iter().find(|scheme| text.eq_ignore_ascii_case(scheme.text()))
}

/// RFC 7239. `proto` is that of the element that names the client.
fn by_forwarded(headers: &HeaderMap, peer: Client, trusted: &TrustedProxies) -> (Client, Option<Scheme>) {
    let mut elements: SmallVec<[Element; 4]> = SmallVec::new();
    for line in headers.get_all(FORWARDED) {
        read_line(line.to_str().unwrap_or("\""), &mut elements);
    }
    let hops = elements.iter().rev().map(|element| element.address);
    let (client, read) = walk(hops, How::Forwarded, peer, trusted);
    let named = match client.how {
        How::Forwarded if read == usize::MAX => elements.first(),
        // A malformed hop is not counted in `address`, and its proto is not believed either.
        How::Forwarded => elements.iter().rev().nth(read.saturating_sub(1)),
        _ => None,
    };
    (client, named.and_then(|element| element.scheme))
}

/// One element of `Forwarded`; a malformed one has no address.
#[derive(Clone, Copy, Default)]
struct Element {
    address: Option<IpAddr>,
    scheme: Option<Scheme>,
}

fn read_line(line: &str, elements: &mut SmallVec<[Element; 4]>) {
    let mut rest = line;
    loop {
        let Some((element, after)) = read_element(rest) else {
            elements.push(Element::default());
            return;
        };
        elements.push(element);
        match after {
            Some(after) => rest = after,
            None => return,
        }
    }
}

/// An element and what follows its comma. `None` when the grammar is left; nothing on this line is believed then.
fn read_element(mut rest: &str) -> Option<(Element, Option<&str>)> {
    let mut element = Element::default();
    let (mut has_for, mut has_proto) = (false, false);
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        let (name, after) = rest.split_once('=')?;
        let (value, after) = read_value(after)?;
        if name.eq_ignore_ascii_case("for") {
            if std::mem::replace(&mut has_for, true) {
                return None;
            }
            element.address = node(&value);
        } else if name.eq_ignore_ascii_case("proto") {
            if std::mem::replace(&mut has_proto, true) {
                return None;
            }
            element.scheme = scheme(&value);
        } else if !is_token(name) {
            return None;
        }
        let after = after.trim_start_matches([' ', '\t']);
        match after.as_bytes().first() {
            None => return Some((element, None)),
            Some(b',') => return Some((element, after.get(1..))),
            Some(b';') => rest = after.get(1..)?,
            Some(_) => return None,
        }
    }
}

/// A token or a quoted string, and what follows it.
fn read_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ';', ' ', '\t']).unwrap_or(text.len());
        let (value, after) = text.split_at_checked(end)?;
        return is_token(value).then(|| (value.to_owned(), after));
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(chars.next()?),
            other => value.push(other),
        }
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// `1.2.3.4`, `[::1]`, each perhaps with a port. IPv6 stands in brackets (RFC 7239, section 6).
fn node(text: &str) -> Option<IpAddr> {
    if text.starts_with('[') { address(text) } else { address(text).filter(IpAddr::is_ipv4) }
}

/// An address, port and brackets allowed; no zone, name, `unknown` or `_hidden`.
fn address(text: &str) -> Option<IpAddr> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let (inside, after) = bracketed.split_once(']')?;
        let address: Ipv6Addr = inside.parse().ok()?;
        let fits = after.is_empty() || after.strip_prefix(':').is_some_and(is_port);
        return fits.then(|| IpAddr::V6(address).to_canonical());
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    let (address, port) = text.split_once(':')?;
    let address: std::net::Ipv4Addr = address.parse().ok()?;
    is_port(port).then_some(IpAddr::V4(address))
}

fn is_port(text: &str) -> bool {
    text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    mod laws {
        use super::super::{Client, ClientHeader, Connection, How, Scheme, TrustedProxies, find};

        fn look(headers: &http::HeaderMap, peer: &str, trusted: &TrustedProxies) -> (Client, Scheme) {
            let connection = Connection {
                peer: peer.parse().unwrap(),
                how: How::Peer,
                scheme: Scheme::Http,
                listener: "public",
                sni: None,
                public_port: None,
                websocket: false,
                body: false,
            };
            find(headers, &connection, trusted)
        }

        include!("../../../../../fuzz/laws/forwarded.rs");
    }

    /// What the fuzzer has kept.
    #[test]
    fn corpus() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/forwarded");
        for entry in std::fs::read_dir(folder).unwrap() {
            laws::forwarded(&std::fs::read(entry.unwrap().path()).unwrap());
        }
    }
}
