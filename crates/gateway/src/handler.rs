//! One worker's handler: from a request off the wire to its answer, and the line in the log.

use crate::admin;
use crate::administer::{self, administer};
use crate::admit::admit;
use crate::events::{self, Event};
use crate::gates::canonical::Connection;
use crate::gates::intake::Payload;
use crate::gates::release::Released;
use crate::outside;
use crate::passage::Passage;
use crate::record::{self, Arrived};
use crate::respond::{self, To};
use crate::services::Services;
use crate::wire::upgrade::Offer;
use crate::wire::{Handler, Handshake, OutBody, Raw, Refused};
use http::{Method, Response, Version};
use portcullis_core::head::Scheme;
use portcullis_core::id::RequestId;
use portcullis_core::problem::Code;
use portcullis_core::trail::Gate;
use portcullis_core::verdict::{Answer, Refusal, Stop};
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

/// What came of a request that nothing stopped.
enum Done {
    /// The upstream's answer, judged.
    Released(Released),
    /// The admin API's.
    Answered(Answer),
}

impl Handler for Worker {
    async fn call(&self, raw: Raw) -> Response<OutBody> {
        let admin = raw.listener.serve.contains(&Serve::Admin);
        if admin && !administer::is_for(raw.parts.uri.path()) {
            return admin::answer(&raw, &self.services);
        }
        let passage = self.passage(raw.handshake.clone());
        let passage = if admin { passage.administrative() } else { passage };
        let arrived = Arrived::new(&raw, &self.services);
        let mut to = To {
            scheme: if raw.peer.tls { Scheme::Https } else { Scheme::Http },
            head_only: raw.parts.method == Method::HEAD,
            http1: raw.parts.version < Version::HTTP_2,
            grpc: false,
        };
        let ours =
            if admin { admin::closed(&passage) } else { outside::answer(&raw, &passage, &self.services) };
        if let Some(stop) = ours {
            passage.seen().client = Some((raw.peer.address(), "peer"));
            let response = respond::stopped(stop, &passage, to);
            return record::finish(response, passage, arrived, &self.services);
        }
        let Raw { parts, body, peer, handshake, listener, upgrade, .. } = raw;
        let connection = Connection::new(&peer, &handshake, &listener, upgrade.is_some(), !body.is_empty());
        let offer = upgrade.and_then(|upgrade| Offer::read(&parts.headers, upgrade).ok());
        let payload = Payload { body, upgrade: offer };
        let outcome = if admin {
            administer(parts, &connection, payload, &passage, &self.services).await.map(Done::Answered)
        } else {
            admit(parts, &connection, payload, &passage, &self.services).await.map(Done::Released)
        };
        if let Some((key, place)) = passage.seen().exposed.take() {
            self.services.shared.keys.found_exposed(key, place);
        }
        let response = match outcome {
            Ok(Done::Released(released)) => released.into_response(&passage),
            Ok(Done::Answered(answer)) => respond::stopped(answer.into(), &passage, to),
            Err(stop) => {
                if matches!(&stop, Stop::Refusal(refusal) if refusal.code == Code::SecretInUrl) {
                    events::tell(Event::SecretInUrl, None, &passage, &self.services);
                }
                to.grpc =
                    passage.matched().is_some_and(|(_, operation)| operation.exchange == Exchange::Grpc);
                respond::stopped(stop, &passage, to)
            }
        };
        record::finish(response, passage, arrived, &self.services)
    }

    fn shaken(&self, handshake: Option<&Handshake>) {
        let metrics = &self.services.shared.metrics;
        match handshake {
            None => metrics.handshake("none", "none", "failed"),
            Some(done) => metrics.handshake(tls_word(done.version), done.group.unwrap_or("none"), "done"),
        }
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

fn tls_word(version: Option<&'static str>) -> &'static str {
    version.map_or("none", |version| version.strip_prefix("TLSv").unwrap_or(version))
}
