//! Where webhooks and alerts end up in a test.

use std::collections::VecDeque;
use std::io;
use std::sync::Mutex;

use crate::server::{Answer, Recorded, Upstream};

/// Keeps every delivery; answers 204, or first the statuses that it was given.
pub struct WebhookSink {
    server: Upstream,
}

impl WebhookSink {
    /// Answers 204 to everything.
    pub fn start() -> Self {
        Self::failing_first(&[])
    }

    /// Answers these statuses to the first deliveries, then 204.
    pub fn failing_first(statuses: &[u16]) -> Self {
        let script = Mutex::new(statuses.iter().copied().collect::<VecDeque<u16>>());
        let server = Upstream::start(move |_| {
            let next = script.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop_front();
            Answer::status(next.unwrap_or(204))
        });
        Self { server }
    }

    /// The URL to deliver to.
    pub fn url(&self) -> String {
        format!("{}/hook", self.server.url())
    }

    /// Waits for at least `count` deliveries.
    pub async fn received(&self, count: usize) -> io::Result<Vec<Recorded>> {
        self.server.received(count).await
    }

    /// Deliveries so far.
    pub fn deliveries(&self) -> Vec<Recorded> {
        self.server.requests()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{request, send};

    #[tokio::test]
    async fn fails_first_then_accepts() {
        let sink = WebhookSink::failing_first(&[503]);
        let bytes = request("POST", "/hook", &[], b"{\"a\":1}");
        assert_eq!(send(sink.server.address(), &bytes).await.unwrap().status, 503);
        assert_eq!(send(sink.server.address(), &bytes).await.unwrap().status, 204);
        assert_eq!(sink.received(2).await.unwrap()[1].json()["a"], 1);
    }
}
