//! What every gate would decide about a request: `admit.rs` itself, with services that forward nothing.

use crate::admit::admit;
use crate::gates::canonical::Connection;
use crate::gates::intake::Payload;
use crate::passage::Passage;
use crate::services::Services;
use crate::wire::{Handshake, InBody};
use http::request::Parts;
use portcullis_core::head::{How, Scheme};
use portcullis_core::id::RequestId;
use portcullis_core::trail::{Gate, Trail};
use portcullis_core::verdict::{Answer, Stop};
use std::net::IpAddr;
use std::rc::Rc;

/// A request that somebody asks about.
pub struct Asked {
    /// Method, target, header fields.
    pub parts: Parts,
    /// Body.
    pub body: Vec<u8>,
    /// The client's address.
    pub from: IpAddr,
    /// Whether it comes over TLS.
    pub tls: bool,
}

/// What would become of it.
pub struct Explained {
    /// How it ended; an [`Answer`] with the reason `explained` where it would be forwarded.
    pub stop: Stop,
    /// Every gate's decision.
    pub trail: Trail,
    /// Limits that apply: name, limit, what is left.
    pub limits: Vec<String>,
}

/// Asks every gate.
pub async fn explain(asked: Asked, services: &Services) -> Explained {
    let now = services.now();
    let id = RequestId::new(now, services.random());
    let passage = Passage::new(id, now, services.in_force(), Rc::new(Handshake::default()));
    let scheme = if asked.tls { Scheme::Https } else { Scheme::Http };
    let connection = Connection {
        peer: asked.from,
        how: How::Peer,
        scheme,
        listener: "",
        sni: None,
        public_port: None,
        websocket: false,
        body: !asked.body.is_empty(),
    };
    let payload = Payload { body: InBody::of(asked.body), upgrade: None };
    let stop = match admit(asked.parts, &connection, payload, &passage, services).await {
        Err(stop) => stop,
        Ok(_) => {
            Answer { status: 200, headers: http::HeaderMap::new(), body: Vec::new(), reason: "explained" }
                .into()
        }
    };
    let limits = passage
        .read()
        .decisions
        .iter()
        .map(|d| {
            let period = d.period_us / 1_000_000;
            format!("{}: {} in {period} s, burst {}, {} left", d.name.as_str(), d.limit, d.burst, d.remaining)
        })
        .collect();
    Explained { stop, trail: whole(passage.take_trail()), limits }
}

/// The log spares itself the gate that every line has passed; who asks is told of it.
fn whole(taken: Trail) -> Trail {
    if taken.steps().iter().any(|step| step.gate == Gate::Canonical) {
        return taken;
    }
    let mut trail = Trail::new();
    trail.note(Gate::Canonical, "can be read in one way only", None);
    for step in taken.steps() {
        trail.note(step.gate, step.decision.clone(), step.rule);
    }
    trail
}
