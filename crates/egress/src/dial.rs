//! Names to addresses to sockets.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::address::{OwnAddresses, Reach, judge};
use crate::policy::{Place, UrlPolicy, UrlRule};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use std::path::Path;
use tokio::net::{TcpStream, UnixStream};
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
    /// Files to a scanner.
    Scanner,
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
/// A stranger's name is waited for so long.
const PATIENCE: Duration = Duration::from_secs(5);
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
            // One denied address denies the name: a mixed answer is an attack or a mistake.
            for address in &addresses {
                judge(address.ip(), Reach::Named, &OwnAddresses::default())
                    .map_err(|_| EgressError::Denied("address"))?;
            }
            connect(&addresses).await
        })
        .await
        .map_err(|_| EgressError::Timeout)?
    }

    /// A connection to a Unix socket, within `limit`.
    ///
    /// # Errors
    /// [`EgressError::Connect`], [`EgressError::Timeout`].
    pub async fn dial_unix(
        &self,
        purpose: Purpose,
        path: &Path,
        limit: Duration,
    ) -> Result<UnixStream, EgressError> {
        let _ = purpose;
        let dialled = tokio::time::timeout(limit, UnixStream::connect(path)).await;
        dialled.map_err(|_| EgressError::Timeout)?.map_err(|_| EgressError::Connect)
    }

    /// Whether a URL that came as data may be handed on (egress.md § 5): by the policy, and by every address that its
    /// name has now. Nothing is fetched. What a name resolves to is believed for 10 s.
    ///
    /// # Errors
    /// The first rule that it breaks. [`UrlRule::Address`] says nothing about which address, or whether there is one.
    pub async fn judge_url(&self, policy: &UrlPolicy, own: &OwnAddresses, url: &str) -> Result<(), UrlRule> {
        let target = policy.check(url)?;
        let foreign = |ip| judge(ip, Reach::Foreign, own).map(drop).map_err(|_| UrlRule::Address);
        match target.place {
            Place::Address(ip) => foreign(ip),
            Place::Name(_) if !policy.resolve => Ok(()),
            Place::Name(name) => {
                // With its last dot: no search list makes another name of it.
                let absolute = format!("{name}.");
                let lookup = self.resolve_most(&absolute, target.port, ADDRESSES + 1);
                let found = tokio::time::timeout(PATIENCE, lookup).await;
                let addresses = found.ok().and_then(Result::ok).ok_or(UrlRule::Address)?;
                if addresses.len() > ADDRESSES {
                    return Err(UrlRule::Address);
                }
                addresses.iter().try_for_each(|address| foreign(address.ip()))
            }
        }
    }

    /// The addresses of a name, families interleaved; an address is its own.
    ///
    /// # Errors
    /// [`EgressError::Dns`] when there is none.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, EgressError> {
        self.resolve_most(host, port, ADDRESSES).await
    }

    async fn resolve_most(&self, host: &str, port: u16, most: usize) -> Result<Vec<SocketAddr>, EgressError> {
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
        let addresses = interleave(found.take(most));
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

    #[tokio::test]
    async fn no_configuration_leads_to_metadata_addresses() {
        let door = Door::new();
        for host in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "168.63.129.16",
            "fd00:ec2::254",
            "0.0.0.0",
            "64:ff9b::a9fe:a9fe",
        ] {
            let dialled = door.dial(Purpose::Upstream, host, 80, Duration::from_secs(2)).await;
            assert_eq!(dialled.unwrap_err(), EgressError::Denied("address"), "{host}");
        }
    }

    #[tokio::test]
    async fn a_url_that_came_as_data_reaches_the_public_only() {
        let door = Door::new();
        let policy = UrlPolicy { literal_ip: true, ..UrlPolicy::public() };
        let own = OwnAddresses { opened: vec!["10.9.0.0/16".parse().unwrap()], ..OwnAddresses::default() };
        for (url, verdict) in [
            ("https://10.0.0.1/", Err(UrlRule::Address)),
            ("https://10.9.0.1/", Ok(())),
            ("https://[::1]/", Err(UrlRule::Address)),
            ("https://[64:ff9b::a9fe:a9fe]/", Err(UrlRule::Address)),
            ("https://169.254.169.254/", Err(UrlRule::Address)),
            ("https://198.41.0.4/", Ok(())),
            // Nobody has this name (RFC 6761 § 6.4), and nobody is told so.
            ("https://nobody.invalid/", Err(UrlRule::Address)),
            ("http://198.41.0.4/", Err(UrlRule::Scheme)),
        ] {
            assert_eq!(door.judge_url(&policy, &own, url).await, verdict, "{url}");
        }
        let names = UrlPolicy { resolve: false, ..UrlPolicy::public() };
        assert_eq!(door.judge_url(&names, &own, "https://nobody.invalid/").await, Ok(()));
    }

    #[test]
    fn families_take_turns() {
        let all = ["192.0.2.1:1", "192.0.2.2:1", "[2001:db8::1]:1"].map(|a| a.parse().unwrap());
        let order: Vec<String> = interleave(all.into_iter()).iter().map(ToString::to_string).collect();
        assert_eq!(order, ["[2001:db8::1]:1", "192.0.2.1:1", "192.0.2.2:1"]);
    }
}
