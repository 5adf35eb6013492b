//! Active health probes: one task for an upstream, on one thread of the program.

use std::sync::{Arc, Weak};
use std::time::Duration;

use http::{Method, Request};
use portcullis_egress::Door;
use tokio::time::Instant;

use super::connect::connect;
use super::h1::{self, H1};
use super::{SendBody, Upstream, h2};

/// Probes the servers of an upstream until nobody else holds it. Returns at once when its plan asks for none.
pub async fn probe(weak: Weak<Upstream>, door: Arc<Door>) {
    let Some(plan) = weak.upgrade().and_then(|upstream| upstream.plan.health.clone()) else { return };
    let Ok(request) = Request::get(plan.path.as_str()).body(SendBody::Empty) else { return };
    let (parts, _) = request.into_parts();
    loop {
        let Some(upstream) = weak.upgrade() else { return };
        for server in &upstream.servers {
            let ask = ask(&upstream, server, &door, &parts, plan.timeout);
            let status = tokio::time::timeout(plan.timeout, ask).await.ok().flatten();
            let good = status.is_some_and(|status| plan.status.contains(&status));
            server.health.probed(good, plan.unhealthy_after.max(1), plan.healthy_after.max(1));
        }
        drop(upstream);
        tokio::time::sleep(plan.every.max(Duration::from_millis(100))).await;
    }
}

async fn ask(
    upstream: &Upstream,
    server: &super::Server,
    door: &Door,
    parts: &http::request::Parts,
    limit: Duration,
) -> Option<u16> {
    let fresh = connect(door, upstream, server, false).await.ok()?;
    if fresh.h2 {
        let connection = h2::H2::new(fresh.link).await.ok()?;
        let request = h2::request(parts.clone(), SendBody::Empty, server.plan.tls, &server.authority)?;
        return Some(h2::send(connection.sender(), request).await.ok()?.status().as_u16());
    }
    let request = Request::from_parts(parts.clone(), SendBody::Empty);
    let head = h1::encode(&request, &server.authority, false);
    let deadline = Instant::now() + limit;
    let answer =
        H1::new(fresh.link).exchange(&head, &Method::GET, &mut SendBody::Empty, deadline).await.ok()?;
    Some(answer.status.as_u16())
}
