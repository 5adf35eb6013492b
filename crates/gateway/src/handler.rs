//! One worker's handler: from a request off the wire to its answer, and the line in the log.

use crate::admin;
use crate::admit::admit;
use crate::gates::canonical::Connection;
use crate::gates::intake::Payload;
use crate::passage::Passage;
use crate::record::{self, Arrived};
use crate::respond::{self, To};
use crate::services::Services;
use crate::wire::upgrade::Offer;
use crate::wire::{Handler, Handshake, OutBody, Raw, Refused};
use http::{Method, Response, Version};
use portcullis_core::head::Scheme;
use portcullis_core::id::RequestId;
use portcullis_core::trail::Gate;
use portcullis_core::verdict::{Refusal, Stop};
use portcullis_plan::api::Exchange;
use portcullis_plan::listen::Serve;
use std::rc::Rc;

/// The data plane of one worker thread.
pub struct Worker {
    services: Rc<Services>,
}

impl Worker {
    /// With its services.
    pub fn new(services: Rc<Services>) -> Self {
        Self { services }
    }

    fn passage(&self, handshake: Rc<Handshake>) -> Passage {
        let now = self.services.now();
        Passage::new(RequestId::new(now, self.services.random()), now, self.services.in_force(), handshake)
    }
}

impl Handler for Worker {
    async fn call(&self, raw: Raw) -> Response<OutBody> {
        if !raw.listener.serve.contains(&Serve::Apis) {
            return admin::answer(&raw, &self.services);
        }
        let passage = self.passage(raw.handshake.clone());
        let arrived = Arrived::new(&raw, &self.services);
        let mut to = To {
            scheme: if raw.peer.tls { Scheme::Https } else { Scheme::Http },
            head_only: raw.parts.method == Method::HEAD,
            http1: raw.parts.version < Version::HTTP_2,
            grpc: false,
        };
        let Raw { parts, body, peer, handshake, listener, upgrade, .. } = raw;
        let connection = Connection::new(&peer, &handshake, &listener, upgrade.is_some(), !body.is_empty());
        let offer = upgrade.and_then(|upgrade| Offer::read(&parts.headers, upgrade).ok());
        let outcome =
            admit(parts, &connection, Payload { body, upgrade: offer }, &passage, &self.services).await;
        if let Some((key, place)) = passage.seen().exposed.take() {
            self.services.shared.keys.found_exposed(key, place);
        }
        let response = match outcome {
            Ok(released) => released.into_response(&passage),
            Err(stop) => {
                to.grpc =
                    passage.matched().is_some_and(|(_, operation)| operation.exchange == Exchange::Grpc);
                respond::stopped(stop, &passage, to)
            }
        };
        record::finish(response, passage, arrived, &self.services)
    }

    fn refuse(&self, refused: Refused) -> Response<OutBody> {
        let passage = self.passage(refused.handshake.clone());
        let arrived = Arrived::of_refused(&refused, &self.services);
        passage.note(Gate::Canonical, refused.rule.name(), None);
        passage.seen().client = Some((refused.peer.address(), "peer"));
        let to = To {
            scheme: if refused.peer.tls { Scheme::Https } else { Scheme::Http },
            head_only: false,
            http1: true,
            grpc: false,
        };
        let stop = Stop::from(Refusal::new(refused.rule.code(), refused.rule.name()).close());
        let response = respond::stopped(stop, &passage, to);
        record::finish(response, passage, arrived, &self.services)
    }
}
