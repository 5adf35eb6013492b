use std::net::IpAddr;

/// Who is the client, as far as addresses can tell (`wire.md`, section 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The address that limits, detection, logs and rules see. Never an IPv4-mapped IPv6 address.
    pub address: IpAddr,
    /// From where it is known.
    pub how: How,
    /// The header of a trusted proxy did not parse at some hop; the last good one counts.
    pub malformed: bool,
    /// The socket's peer is a trusted proxy.
    pub through_proxy: bool,
}

/// From where the client's address is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum How {
    /// The socket's peer.
    Peer,
    /// The PROXY protocol.
    Proxy,
    /// `X-Forwarded-For` from a trusted proxy.
    XForwardedFor,
    /// `Forwarded` (RFC 7239) from a trusted proxy.
    Forwarded,
}

impl How {
    /// As it stands in the log line.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Proxy => "proxy",
            Self::XForwardedFor => "x_forwarded_for",
            Self::Forwarded => "forwarded",
        }
    }
}

impl Client {
    /// The peer itself.
    pub fn peer(address: IpAddr) -> Self {
        Self { address: address.to_canonical(), how: How::Peer, malformed: false, through_proxy: false }
    }
}
