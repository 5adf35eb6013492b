//! Who is at the other end of the socket: the PROXY protocol, versions 1 and 2.
//!
//! It is read before TLS, mandatory where it is configured, and never sent to upstreams. Trusted proxies' headers
//! are `canonical`'s.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The socket's peer; an IPv4-mapped address is given as IPv4.
    pub socket: SocketAddr,
    /// The client that a PROXY header named, from a peer that may name one.
    pub proxied: Option<SocketAddr>,
    /// The connection is TLS.
    pub tls: bool,
}

impl Peer {
    /// The address to count and log, as far as the connection knows.
    pub fn address(&self) -> IpAddr {
        self.proxied.unwrap_or(self.socket).ip()
    }
}

/// `::ffff:a.b.c.d` is a.b.c.d.
pub fn unmapped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

const V2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V1_MAX: usize = 107;
const V2_MAX: usize = 4096;

/// Reads the header that must stand first. The peer must lie in `from`.
///
/// # Errors
/// The peer may not send one, it is malformed, or it did not come within `limit`.
pub(crate) async fn proxy_header(
    tcp: &mut TcpStream,
    peer: SocketAddr,
    from: &[IpNet],
    limit: Duration,
) -> io::Result<Option<SocketAddr>> {
    if !from.iter().any(|net| net.contains(&peer.ip())) {
        return Err(bad("a peer that may not speak the PROXY protocol"));
    }
    tokio::time::timeout(limit, read_header(tcp)).await.map_err(|_| bad("the PROXY header did not arrive"))?
}

async fn read_header(tcp: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut first = [0u8; 16];
    // Version 1 is at least `PROXY UNKNOWN\r\n`, 15 bytes; version 2 begins with 16. So 12 can be read for sure.
    let (start, rest) = first.split_at_mut(12);
    tcp.read_exact(start).await?;
    if start == V2 {
        tcp.read_exact(rest).await?;
        let &mut [verb, family, high, low] = rest else { return Err(bad("v2")) };
        let len = usize::from(u16::from_be_bytes([high, low]));
        if len > V2_MAX - 16 {
            return Err(bad("the PROXY header is too long"));
        }
        let mut body = vec![0u8; len];
        tcp.read_exact(&mut body).await?;
        return parse_v2(verb, family, &body);
    }
    if !start.starts_with(b"PROXY ") {
        return Err(bad("no PROXY header"));
    }
    let mut line = start.to_vec();
    while !line.ends_with(b"\n") {
        if line.len() >= V1_MAX {
            return Err(bad("the PROXY header is too long"));
        }
        line.push(tcp.read_u8().await?);
    }
    parse_v1(&line)
}

/// Version 1: `PROXY TCP4|TCP6 source destination sport dport CRLF`, or `PROXY UNKNOWN … CRLF`.
pub fn parse_v1(line: &[u8]) -> io::Result<Option<SocketAddr>> {
    let line = line.strip_suffix(b"\r\n").ok_or_else(|| bad("line end"))?;
    let line = std::str::from_utf8(line).map_err(|_| bad("not ASCII"))?;
    let mut words = line.split(' ');
    if words.next() != Some("PROXY") {
        return Err(bad("no PROXY header"));
    }
    let family = words.next();
    if family == Some("UNKNOWN") {
        return Ok(None);
    }
    let mut word = || words.next().ok_or_else(|| bad("too few words"));
    let (source, destination, sport, dport) = (word()?, word()?, word()?, word()?);
    if words.next().is_some() {
        return Err(bad("too many words"));
    }
    let port = |text: &str| {
        (!text.is_empty()
            && text.bytes().all(|b| b.is_ascii_digit())
            && (text.len() == 1 || !text.starts_with('0')))
        .then(|| text.parse::<u16>().ok())
        .flatten()
        .ok_or_else(|| bad("port"))
    };
    let (sport, _) = (port(sport)?, port(dport)?);
    let address = match family {
        Some("TCP4") => {
            destination.parse::<Ipv4Addr>().map_err(|_| bad("address"))?;
            IpAddr::V4(source.parse().map_err(|_| bad("address"))?)
        }
        Some("TCP6") => {
            destination.parse::<Ipv6Addr>().map_err(|_| bad("address"))?;
            IpAddr::V6(source.parse().map_err(|_| bad("address"))?)
        }
        _ => return Err(bad("family")),
    };
    Ok(Some(unmapped(SocketAddr::new(address, sport))))
}

/// Version 2, after its signature: the command, the family, and what follows the length. TLVs are not used.
pub fn parse_v2(verb: u8, family: u8, body: &[u8]) -> io::Result<Option<SocketAddr>> {
    match verb {
        0x20 => return Ok(None), // LOCAL
        0x21 => {}
        _ => return Err(bad("version or command")),
    }
    match family {
        0x11 => {
            let (&[a, b, c, d, _, _, _, _, p, q, _, _], _) =
                body.split_first_chunk::<12>().ok_or_else(|| bad("too short"))?;
            Ok(Some(SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([p, q]))))
        }
        0x21 => {
            let (source, rest) = body.split_first_chunk::<16>().ok_or_else(|| bad("too short"))?;
            let (_, rest) = rest.split_first_chunk::<16>().ok_or_else(|| bad("too short"))?;
            let (&[p, q, _, _], _) = rest.split_first_chunk::<4>().ok_or_else(|| bad("too short"))?;
            Ok(Some(unmapped(SocketAddr::new(Ipv6Addr::from(*source).into(), u16::from_be_bytes([p, q])))))
        }
        0x00 => Ok(None), // UNSPEC
        _ => Err(bad("family")),
    }
}

fn bad(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    mod laws {
        use crate::wire::peer::{parse_v1, parse_v2};
        include!("../../../../fuzz/laws/proxy.rs");
    }

    /// What the fuzzer has kept.
    #[test]
    fn corpus() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/proxy");
        for entry in std::fs::read_dir(folder).unwrap() {
            laws::proxy(&std::fs::read(entry.unwrap().path()).unwrap());
        }
    }

    fn v1(line: &str) -> Option<Option<String>> {
        parse_v1(line.as_bytes()).ok().map(|a| a.map(|a| a.to_string()))
    }

    #[test]
    fn version_1() {
        let some = |text: &str| Some(Some(text.to_owned()));
        assert_eq!(v1("PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\n"), some("192.0.2.1:1234"));
        assert_eq!(v1("PROXY TCP6 2001:db8::1 ::1 1 443\r\n"), some("[2001:db8::1]:1"));
        assert_eq!(v1("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 443\r\n"), some("192.0.2.1:1"));
        assert_eq!(v1("PROXY UNKNOWN\r\n"), Some(None));
        assert_eq!(v1("PROXY UNKNOWN ffff:: ::1 1 2\r\n"), Some(None));
        for bad in [
            "PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1234 443 x\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 01234 443\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 70000 443\r\n",
            "PROXY TCP4 ::1 192.0.2.2 1 443\r\n",
            "PROXY TCP6 fe80::1%eth0 ::1 1 443\r\n",
            "PROXY TCP4 192.0.2.1\r\n",
            "PROXY  TCP4 192.0.2.1 192.0.2.2 1234 443\r\n",
            "GET / HTTP/1.1\r\n",
        ] {
            assert_eq!(v1(bad), None, "{bad}");
        }
    }

    #[test]
    fn version_2() {
        let body = [192, 0, 2, 1, 192, 0, 2, 2, 4, 210, 1, 187];
        assert_eq!(parse_v2(0x21, 0x11, &body).unwrap().unwrap().to_string(), "192.0.2.1:1234");
        assert!(parse_v2(0x21, 0x11, &body[..11]).is_err());
        assert_eq!(parse_v2(0x20, 0x00, &[]).unwrap(), None);
        assert!(parse_v2(0x22, 0x11, &body).is_err());
        assert!(parse_v2(0x21, 0x31, &body).is_err());
        let mut six = [0u8; 36];
        six[15] = 1;
        six[33] = 80;
        assert_eq!(parse_v2(0x21, 0x21, &six).unwrap().unwrap().to_string(), "[::1]:80");
    }
}
