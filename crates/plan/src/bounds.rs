//! What one connection may cost. Defaults and hard limits are those of the reference page `bounds`.

use std::time::Duration;

/// The bounds of a listener. Every field has a default; configuration cannot exceed the hard limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Open connections in all.
    pub connections: usize,
    /// Open connections of one IPv4 address or IPv6 /64.
    pub connections_per_address: usize,
    /// TLS handshakes in progress; further connections are closed at accept.
    pub handshakes: usize,
    /// A TLS handshake, in all.
    pub handshake: Duration,
    /// A PROXY protocol header, in all.
    pub proxy_header: Duration,
    /// From a head's first byte to its last.
    pub head: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// Requests of one HTTP/1.1 connection.
    pub requests_http1: u64,
    /// Requests of one HTTP/2 connection.
    pub requests_http2: u64,
    /// Age of a connection, after which it is ended gracefully.
    pub age: Duration,
    /// Header fields of one head.
    pub headers: usize,
    /// Bytes of a head without its request line.
    pub header_bytes: usize,
    /// Bytes of one header value.
    pub header_value: usize,
    /// Bytes of one header name.
    pub header_name: usize,
    /// Bytes of the request target.
    pub target: usize,
    /// Path segments (for `canonical`).
    pub segments: usize,
    /// Cookies (for `canonical`).
    pub cookies: usize,
    /// Bytes of the Cookie header (for `canonical`).
    pub cookie_bytes: usize,
    /// Writing without progress, and the time after which `unread_rate` counts.
    pub unread: Duration,
    /// Bytes per second that a client must take, once it has been slow for `unread`.
    pub unread_rate: u64,
    /// A request body: the grace before `body_rate` counts.
    pub body_grace: Duration,
    /// Bytes per second at which a request body must arrive.
    pub body_rate: u64,
    /// A request body, in all.
    pub body: Duration,
    /// HTTP/2: concurrent streams of one connection.
    pub streams: u32,
    /// HTTP/2: resets by the client within ten seconds.
    pub resets: u32,
    /// HTTP/2: control frames within ten seconds.
    pub control_frames: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 20_000,
            connections_per_address: 200,
            handshakes: 1_000,
            handshake: Duration::from_secs(5),
            proxy_header: Duration::from_secs(2),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            requests_http1: 1_000,
            requests_http2: 10_000,
            age: Duration::from_secs(3_600),
            headers: 100,
            header_bytes: 32 << 10,
            header_value: 8 << 10,
            header_name: 64,
            target: 8 << 10,
            segments: 64,
            cookies: 50,
            cookie_bytes: 8 << 10,
            unread: Duration::from_secs(30),
            unread_rate: 500,
            body_grace: Duration::from_secs(5),
            body_rate: 500,
            body: Duration::from_secs(60),
            streams: 100,
            resets: 200,
            control_frames: 500,
        }
    }
}

impl Bounds {
    /// What configuration cannot exceed. Fields without a hard limit keep the largest value.
    pub fn hard() -> Self {
        Self {
            connections: usize::MAX,
            connections_per_address: usize::MAX,
            handshakes: usize::MAX,
            handshake: Duration::from_secs(60),
            proxy_header: Duration::from_secs(60),
            head: Duration::from_secs(60),
            idle: Duration::from_secs(600),
            requests_http1: u64::MAX,
            requests_http2: u64::MAX,
            age: Duration::MAX,
            headers: 500,
            header_bytes: 128 << 10,
            header_value: 32 << 10,
            header_name: 64,
            target: 64 << 10,
            segments: usize::MAX,
            cookies: usize::MAX,
            cookie_bytes: 32 << 10,
            unread: Duration::from_secs(600),
            unread_rate: u64::MAX,
            body_grace: Duration::from_secs(60),
            body_rate: u64::MAX,
            body: Duration::from_secs(1_800),
            streams: 1_000,
            resets: 10_000,
            control_frames: 10_000,
        }
    }
}

/// How the program ends, or a removed listener does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// Readiness is red and accepting goes on, so that balancers notice.
    pub delay: Duration,
    /// What exchanges in progress have after that.
    pub timeout: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self { delay: Duration::from_secs(5), timeout: Duration::from_secs(30) }
    }
}
