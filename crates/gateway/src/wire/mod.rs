//! The edge: sockets, TLS, framing, connections of upstreams. What the gates need of it:
//!
//! **In.** [`Wire::start`]`(listeners, Options, |worker| handler)` spawns one named thread per core, each with a
//! current-thread runtime (`spawn_local` works everywhere), and returns a [`Handle`] (`addresses`, `apply`, `drain`,
//! `stop`, `wait`, `ready`, `census`). Each request reaches [`Handler::call`] as a [`Raw`]; bytes that are no request
//! reach [`Handler::refuse`] with a [`Rule`] (`rule.code()` is the problem). Both answer with `Response<OutBody>`. The
//! handler is made once per worker, and may hold `Rc`s. `Connection: close` is added here where it is needed.
//!
//! **Bodies.** [`InBody`] is polled by whoever may read it: `collect(limit)`, `next()`; its errors have `code()`.
//! [`OutBody`] is `Empty`, `Full(Bytes)`, `Upstream(UpstreamBody)` or `Stream(boxed)`; an error of a body cuts the
//! connection or resets the stream.
//!
//! **Out.** [`upstream::Upstream::new`]`(plan)` makes what all threads share, [`upstream::Pool::new`]`(door)` what one
//! thread owns (make it inside `make`); `pool.send(&upstream, Request<SendBody>, How)` gives `Response<UpstreamBody>`
//! or an [`upstream::UpstreamError`] (`code()`, `retry_after()`, `name()`). Retries, time-outs, health, circuit and
//! limits in flight are inside. [`upstream::probe`] runs active probes; spawn it once per upstream, on one thread.
//!
//! **WebSocket.** See [`upgrade`].

pub mod acme;
pub mod body;
pub mod census;
pub(crate) mod client_cert;
mod frames;
pub mod guard;
mod h2guard;
pub mod hello;
pub mod listen;
pub mod peer;
pub mod pins;
pub mod serve;
mod sock;
pub mod tls;
mod tunnel;
pub mod upgrade;
pub mod upstream;
pub mod x509;

pub use body::{Arrival, Cut, InBody, InBodyError, OutBody};
pub use client_cert::ClientCert;
pub use guard::Rule;
pub use listen::{Handle, Options, StartError, Wire};
pub use peer::Peer;
pub use serve::{Handler, Raw, Refused};
pub use tls::Handshake;

#[cfg(test)]
mod tests;
