//! The line in the log and the counters, once an exchange has ended.

use crate::live::RouteMark;
use crate::passage::{Passage, Seen};
use crate::services::Services;
use crate::wire::{Cut, OutBody, Raw, Refused};
use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use portcullis_core::time::Now;
use portcullis_telemetry::line::{ClientRequestId, Line, Touched};
use portcullis_telemetry::metrics::{Metrics, Request};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// What is known at arrival.
pub struct Arrived {
    ticks: u64,
    method: &'static str,
    http: &'static str,
    tls: Option<&'static str>,
}

impl Arrived {
    /// Of a request.
    pub fn new(raw: &Raw, services: &Services) -> Self {
        let method = match raw.parts.method {
            http::Method::GET => "GET",
            http::Method::HEAD => "HEAD",
            http::Method::POST => "POST",
            http::Method::PUT => "PUT",
            http::Method::PATCH => "PATCH",
            http::Method::DELETE => "DELETE",
            http::Method::OPTIONS => "OPTIONS",
            _ => "_OTHER",
        };
        let http = match raw.parts.version {
            http::Version::HTTP_2 => "2",
            http::Version::HTTP_10 => "1.0",
            _ => "1.1",
        };
        Self { ticks: services.ticks(), method, http, tls: tls(raw.handshake.version) }
    }

    /// Of bytes that were no request.
    pub fn of_refused(refused: &Refused, services: &Services) -> Self {
        Self { ticks: services.ticks(), method: "_OTHER", http: "1.1", tls: tls(refused.handshake.version) }
    }
}

fn tls(version: Option<&'static str>) -> Option<&'static str> {
    version.map(|v| v.strip_prefix("TLSv").unwrap_or(v))
}

/// Writes the line: at once for an answer in memory, when its last byte has gone for a stream.
pub fn finish(
    response: Response<OutBody>,
    passage: Passage,
    arrived: Arrived,
    services: &Rc<Services>,
) -> Response<OutBody> {
    let status = response.status().as_u16();
    let mut pending = Pending { passage, arrived, status, sent: 0, services: services.clone() };
    match response.body() {
        OutBody::Empty => {
            drop(pending);
            response
        }
        OutBody::Full(bytes) => {
            pending.sent = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            drop(pending);
            response
        }
        OutBody::Upstream(_) | OutBody::Stream(_) => {
            response.map(|body| OutBody::Stream(Box::pin(Counted { body, pending })))
        }
    }
}

/// Writes its line when it is dropped.
struct Pending {
    passage: Passage,
    arrived: Arrived,
    status: u16,
    sent: u64,
    services: Rc<Services>,
}

struct Counted {
    body: OutBody,
    pending: Pending,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.pending.sent =
                self.pending.sent.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let services = &self.services;
        let total_us = services.ticks().saturating_sub(self.arrived.ticks);
        let trail = self.passage.take_trail();
        let mut seen = std::mem::take(&mut *self.passage.seen());
        if let Some(streamed) = seen.streamed.take() {
            let streamed = streamed.borrow();
            seen.dropped_fields = seen.dropped_fields.saturating_add(streamed.tally.dropped);
            if streamed.tally.violations > 0 {
                seen.broke("schema");
            }
            if let Some(end) = streamed.end {
                seen.broke(end.word());
            }
        }
        let upstream_us = seen.upstream_us;
        let inside_us = total_us.saturating_sub(upstream_us.unwrap_or(0));
        let marks = seen.matched.and_then(|place| self.passage.plan.route(place));
        let request = Request {
            status: self.status,
            total_us,
            inside_us,
            upstream_us,
            request_bytes: seen.request_bytes,
            response_bytes: self.sent,
        };
        let route = marks.map_or(services.shared.metrics.no_route(), |m| m.id);
        services.counters.request(route, &request);
        if let Some((code, _)) = &seen.problem {
            let gate = trail.steps().last().map_or("edge", |s| s.gate.word());
            services.shared.metrics.refused(gate, code.text());
        }
        contract(&seen, marks, &self.passage, &services.shared.metrics);
        if services.recorder.is_off() {
            return;
        }
        let caller = seen.caller;
        let key = caller.as_ref().and_then(|c| c.key.clone());
        let left =
            key.as_ref().filter(|k| k.state == "deprecated").map(|k| left(k.ends_at, self.passage.now));
        let (problem, reason) =
            seen.problem.map_or((None, None), |(code, reason)| (Some(code), Some(reason)));
        services.recorder.record(Line {
            at: self.passage.now,
            id: self.passage.id,
            client_request_id: seen.client_request_id.as_deref().and_then(ClientRequestId::new),
            trace: seen.trace,
            source: seen.client.map(|(address, _)| address),
            source_how: seen.client.map_or("peer", |(_, how)| how),
            tls: self.arrived.tls,
            http: self.arrived.http,
            caller: caller.as_ref().map(|c| c.kind),
            key_id: key.as_ref().map(|k| k.id.clone()),
            key_state: key.as_ref().map(|k| k.state).filter(|s| *s != "active"),
            key_successor: key.as_ref().and_then(|k| k.successor.clone()),
            key_grace_left_s: left,
            client: caller.as_ref().and_then(|c| c.client.clone()),
            user_hash: caller.as_ref().and_then(|c| c.hash),
            tenant: caller.as_ref().and_then(|c| c.tenant.clone()),
            method: self.arrived.method,
            route: marks.map(|m| m.route.clone()),
            operation: marks.map(|m| m.operation.clone()),
            api: marks.map(|m| m.api.clone()),
            status: self.status,
            problem,
            reason,
            total_us,
            inside_us,
            upstream_us,
            request_bytes: seen.request_bytes,
            response_bytes: self.sent,
            limits: seen
                .decisions
                .iter()
                .map(|d| Touched {
                    layer: d.layer.word(),
                    remaining: d.remaining,
                    admitted: d.admitted,
                    shadow: d.shadow,
                })
                .collect(),
            decisions: trail,
            plan: self.passage.plan.mark(),
        });
    }
}

/// What the contract said about the exchange. Labels are names of the configuration and words of ours.
fn contract(seen: &Seen, marks: Option<&RouteMark>, passage: &Passage, metrics: &Metrics) {
    if let Some(mark) = seen.closed.and_then(|place| passage.plan.route(place)) {
        metrics.closed(&mark.api, &mark.operation);
    }
    let Some(mark) = marks else { return };
    let (api, operation) = (&*mark.api, &*mark.operation);
    if let Some(graphql) = &seen.graphql {
        metrics.graphql_cost(api, operation, graphql.cost);
    }
    for rule in &seen.violations {
        metrics.violated(api, operation, rule);
    }
    for rule in &seen.reported {
        metrics.reported(api, operation, rule);
    }
    for rule in &seen.response_violations {
        metrics.response_violated(api, operation, rule);
    }
    for (direction, count) in [("request", seen.stripped), ("response", seen.dropped_fields)] {
        if count > 0 {
            metrics.fields_dropped(api, operation, direction, count);
        }
    }
}

fn left(ends_at: i64, now: Now) -> u64 {
    u64::try_from(ends_at.saturating_sub(now.secs())).unwrap_or(0)
}
