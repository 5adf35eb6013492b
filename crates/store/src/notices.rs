//! Notices to be delivered: each (subject, type, bucket) once, whoever asks, however often.

use crate::StoreError;
use crate::adapter::Durable;
use crate::worker::Worker;

/// A notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Key or client that it is about.
    pub subject: String,
    /// `apikey.rotation_due`, ….
    pub kind: String,
    /// Which of its occasions: `7d`, an hour, `once`.
    pub bucket: String,
    /// When it is to be sent, unix seconds.
    pub due: i64,
    /// JSON.
    pub payload: String,
}

/// A notice that this process is to deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// Its id: the same at every attempt, for `webhook-id` and `Message-ID`.
    pub id: i64,
    /// Earlier attempts.
    pub attempts: u32,
    /// What.
    pub notice: Notice,
}

/// The outbox.
pub struct Outbox<'a> {
    pub(crate) durable: &'a Worker<dyn Durable>,
}

impl Outbox<'_> {
    /// Adds a notice. False when it was there already.
    pub async fn add(&self, notice: Notice) -> Result<bool, StoreError> {
        self.durable.ask(move |d| d.add_notice(&notice)).await
    }

    /// Takes up to `most` due notices for `lease` seconds; after that others may take them.
    pub async fn claim(&self, now: i64, lease: i64, most: u32) -> Result<Vec<Claimed>, StoreError> {
        self.durable.ask(move |d| d.claim_notices(now, lease, most)).await
    }

    /// Delivered.
    pub async fn sent(&self, id: i64, now: i64) -> Result<(), StoreError> {
        self.durable.ask(move |d| d.notice_sent(id, now)).await
    }

    /// Not delivered; to be tried again at `due`.
    pub async fn later(&self, id: i64, due: i64) -> Result<(), StoreError> {
        self.durable.ask(move |d| d.notice_later(id, due)).await
    }

    /// Given up.
    pub async fn dead(&self, id: i64, now: i64) -> Result<(), StoreError> {
        self.durable.ask(move |d| d.notice_dead(id, now)).await
    }
}
