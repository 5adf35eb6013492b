//! Names to addresses to sockets.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Why a connection is opened. Written at the call site, never read from data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// An API behind the gateway.
    Upstream,
    /// An issuer's keys.
    Keys,
    /// What an issuer says of an opaque token.
    Introspection,
    /// A signed webhook.
    Webhook,
    /// Mail to a relay.
    Mail,
    /// Certificates (RFC 8555).
    Acme,
    /// Traces and metrics to a collector.
    Otlp,
}

/// Why a connection or a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EgressError {
    /// The URL is not one that may be asked.
    Denied(&'static str),
    /// The name has no address.
    Dns,
    /// Nobody answered at any address.
    Connect,
    /// The handshake or the verification failed.
    Tls,
    /// It took too long.
    Timeout,
    /// More bytes than the limit.
    TooLarge,
    /// Not the HTTP that was asked for.
    Protocol,
    /// An answer other than 200.
    Status(u16),
}

impl fmt::Display for EgressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(why) => write!(f, "denied: {why}"),
            Self::Dns => f.write_str("the name cannot be resolved"),
            Self::Connect => f.write_str("the server cannot be reached"),
            Self::Tls => f.write_str("the TLS handshake failed"),
            Self::Timeout => f.write_str("the server did not answer in time"),
            Self::TooLarge => f.write_str("the answer is too large"),
            Self::Protocol => f.write_str("the answer is not the HTTP that was asked for"),
            Self::Status(status) => write!(f, "the answer's status is {status}"),
        }
    }
}

impl std::error::Error for EgressError {}

/// How long an answer of the resolver is believed.
const BELIEVED: Duration = Duration::from_secs(10);
/// Addresses of one name that are looked at.
const ADDRESSES: usize = 16;
/// Addresses that are tried, and the head start of each.
const ATTEMPTS: usize = 4;
const STAGGER: Duration = Duration::from_millis(250);
/// Names that are remembered.
const NAMES: usize = 1024;

/// Opens connections. Cheap to share; holds no connection.
#[derive(Debug, Default)]
pub struct Door {
    names: Mutex<HashMap<(String, u16), Known>>,
}

/// An answer of the resolver, and when it came.
type Known = (Instant, Vec<SocketAddr>);

impl Door {
    /// With the system's resolver.
    pub fn new() -> Self {
        Self::default()
    }

    /// A TCP connection to a host (name or address, without brackets), with `TCP_NODELAY`, within `limit` in all.
    ///
    /// # Errors
    /// [`EgressError::Dns`], [`EgressError::Connect`], [`EgressError::Timeout`].
    pub async fn dial(
        &self,
        purpose: Purpose,
        host: &str,
        port: u16,
        limit: Duration,
    ) -> Result<TcpStream, EgressError> {
        let _ = purpose;
        tokio::time::timeout(limit, async {
            let addresses = self.resolve(host, port).await?;
            connect(&addresses).await
        })
        .await
        .map_err(|_| EgressError::Timeout)?
    }

    /// The addresses of a name, families interleaved; an address is its own.
    ///
    /// # Errors
    /// [`EgressError::Dns`] when there is none.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, EgressError> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        if host.eq_ignore_ascii_case("localhost") {
            // The loopback without a query: a resolver must not decide what it is.
            return Ok(vec![
                SocketAddr::from(([127, 0, 0, 1], port)),
                SocketAddr::from(([0u16, 0, 0, 0, 0, 0, 0, 1], port)),
            ]);
        }
        let key = (host.to_ascii_lowercase(), port);
        let now = Instant::now();
        if let Some((at, addresses)) = self.names.lock().unwrap_or_else(PoisonError::into_inner).get(&key)
            && now.saturating_duration_since(*at) < BELIEVED
        {
            return Ok(addresses.clone());
        }
        #[expect(clippy::disallowed_methods, reason = "this is the one door out")]
        let found = tokio::net::lookup_host((host, port)).await.map_err(|_| EgressError::Dns)?;
        let addresses = interleave(found.take(ADDRESSES));
        if addresses.is_empty() {
            return Err(EgressError::Dns);
        }
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() >= NAMES {
            names.retain(|_, (at, _)| now.saturating_duration_since(*at) < BELIEVED);
        }
        if names.len() < NAMES {
            names.insert(key, (now, addresses.clone()));
        }
        Ok(addresses)
    }
}

fn interleave(addresses: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let (four, six): (Vec<_>, Vec<_>) = addresses.partition(SocketAddr::is_ipv4);
    let (mut four, mut six) = (four.into_iter(), six.into_iter());
    let mut all = Vec::new();
    loop {
        let (a, b) = (six.next(), four.next());
        if a.is_none() && b.is_none() {
            return all;
        }
        all.extend(a.into_iter().chain(b));
    }
}

/// The first address that answers; each has a head start before the next (RFC 8305).
async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, EgressError> {
    let mut racing: FuturesUnordered<_> = addresses
        .iter()
        .take(ATTEMPTS)
        .zip(0u32..)
        .map(|(&address, place)| async move {
            if place > 0 {
                tokio::time::sleep(STAGGER * place).await;
            }
            #[expect(clippy::disallowed_methods, reason = "this is the one door out")]
            let stream = TcpStream::connect(address).await?;
            // What was judged is what is spoken to.
            if stream.peer_addr()? != address {
                return Err(std::io::Error::other("another peer"));
            }
            stream.set_nodelay(true)?;
            Ok::<_, std::io::Error>(stream)
        })
        .collect();
    while let Some(result) = racing.next().await {
        if let Ok(stream) = result {
            return Ok(stream);
        }
    }
    Err(EgressError::Connect)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn dials_what_listens_and_nothing_else() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let door = Door::new();
        let limit = Duration::from_secs(2);
        for host in ["127.0.0.1", "localhost"] {
            let stream = door.dial(Purpose::Upstream, host, port, limit).await.unwrap();
            assert!(stream.nodelay().unwrap());
        }
        drop(listener);
        let error = door.dial(Purpose::Upstream, "127.0.0.1", port, limit).await.unwrap_err();
        assert_eq!(error, EgressError::Connect);
    }

    #[test]
    fn families_take_turns() {
        let all = ["192.0.2.1:1", "192.0.2.2:1", "[2001:db8::1]:1"].map(|a| a.parse().unwrap());
        let order: Vec<String> = interleave(all.into_iter()).iter().map(ToString::to_string).collect();
        assert_eq!(order, ["[2001:db8::1]:1", "192.0.2.1:1", "192.0.2.2:1"]);
    }
}
