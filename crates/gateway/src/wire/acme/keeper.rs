//! When a certificate is due, who asks for it, and what happens when it does not come.

use super::super::x509;
use super::order::{self, AcmeError};
use super::{Book, Slot};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use instant_acme::{Account, CertificateIdentifier};
use portcullis_core::secret::Secret;
use portcullis_core::time::Clock;
use portcullis_egress::Door;
use portcullis_plan::listen::Acme;
use portcullis_store::{Store, StoreError};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

const HOUR: i64 = 3_600;
/// How often the store is looked at: another node may have renewed.
const LOOK: i64 = 60;
/// How long a node may take for an order before another one may try.
const LEASE: i64 = 600;
/// How often renewal information is asked for, unless the authority says otherwise within these bounds.
const ARI: i64 = 6 * HOUR;
const ARI_LEAST: i64 = 60;
const ARI_MOST: i64 = 24 * HOUR;

/// What is worth telling.
#[derive(Debug)]
pub enum Told<'a> {
    /// There is a new certificate.
    Issued {
        /// Its end, Unix seconds.
        not_after: i64,
    },
    /// Another node, or this one before a restart, brought it.
    Loaded {
        /// Its end, Unix seconds.
        not_after: i64,
    },
    /// It did not come; the present one, if any, serves on.
    Failed {
        /// In the words of the authority or of the way there.
        why: &'a str,
        /// In a row.
        failures: u32,
        /// Seconds until the next attempt.
        retry_s: i64,
    },
    /// The store cannot be read or written.
    Store(StoreError),
}

/// Looks after one certificate.
pub struct Keeper {
    acme: Acme,
    name: String,
    slot: Arc<Slot>,
    book: Arc<Book>,
    store: Store,
    door: Arc<Door>,
    clock: Arc<dyn Clock>,
    /// This node among others on the same store.
    node: String,
    /// Between 0 and 1; spreads what many nodes do.
    random: fn() -> f64,
    loaded: Option<Loaded>,
}

/// What this node knows of the certificate that it serves.
struct Loaded {
    version: i64,
    due: i64,
    /// What the authority says (RFC 9773), and when it is to be asked again.
    window: Option<(i64, i64)>,
    ask_at: i64,
    replaces: Option<(String, String)>,
}

/// A certificate as it is kept.
#[derive(Serialize, Deserialize)]
struct Stored {
    chain: String,
    key: String,
}

/// What failed, as it is kept: a restart does not make the authority more patient.
#[derive(Default, Serialize, Deserialize)]
struct Attempts {
    failures: u32,
    next_at: i64,
}

impl Keeper {
    /// For one certificate of the plan.
    pub fn new(
        acme: Acme,
        book: Arc<Book>,
        store: Store,
        door: Arc<Door>,
        clock: Arc<dyn Clock>,
        node: String,
        random: fn() -> f64,
    ) -> Self {
        let name = acme.name();
        let slot = book.slot(&name);
        Self { acme, name, slot, book, store, door, clock, node, random, loaded: None }
    }

    /// Loads what the store has, without asking anybody: at the start, before the listeners open.
    pub async fn load(&mut self, tell: impl Fn(Told<'_>)) {
        if let Err(why) = self.follow().await {
            tell(Told::Store(why));
        }
    }

    /// Looks after it for ever. One task per certificate.
    pub async fn run(mut self, tell: impl Fn(Told<'_>)) {
        loop {
            let wait = self.turn(&tell).await;
            tokio::time::sleep(wait).await;
        }
    }

    /// One look: follows the store, and renews when it is time. When to look again.
    pub async fn turn(&mut self, tell: &impl Fn(Told<'_>)) -> Duration {
        let look = Duration::from_secs(LOOK.unsigned_abs());
        match self.look(tell).await {
            Ok(()) => look,
            Err(why) => {
                tell(Told::Store(why));
                look
            }
        }
    }

    async fn look(&mut self, tell: &impl Fn(Told<'_>)) -> Result<(), StoreError> {
        if let Some(not_after) = self.follow().await? {
            tell(Told::Loaded { not_after });
        }
        let now = self.clock.now().secs();
        self.ask_when(now).await?;
        let next_key = self.store.kept().get(&self.next_key()).await?;
        let due = self.loaded.as_ref().is_none_or(|loaded| now >= loaded.due) || next_key.is_some();
        if !due || self.attempts().await?.next_at > now {
            return Ok(());
        }
        let lease = format!("acme {}", self.name);
        if !self.store.kept().lease(&lease, &self.node, now, LEASE).await? {
            return Ok(());
        }
        // Whoever had the lease before may have brought it.
        let done = match self.follow().await? {
            Some(not_after) => {
                tell(Told::Loaded { not_after });
                Ok(())
            }
            None => self.renew(now, next_key.map(|kept| kept.value), tell).await,
        };
        self.store.kept().end_lease(&lease, &self.node).await?;
        done
    }

    async fn renew(
        &mut self,
        now: i64,
        next_key: Option<Secret<Vec<u8>>>,
        tell: &impl Fn(Told<'_>),
    ) -> Result<(), StoreError> {
        let next_key = next_key.and_then(|key| String::from_utf8(key.expose().clone()).ok()).map(Secret::new);
        let promoted = next_key.is_some();
        let issued = match self.stored().await? {
            stored if next_key.is_none() && self.acme.reuse_key => {
                let key = stored.map(|stored| Secret::new(stored.key));
                self.order(now, key.as_ref()).await
            }
            _ => self.order(now, next_key.as_ref()).await,
        };
        let issued = match issued {
            Ok(issued) => {
                // Checked as it will be when it is loaded: a bad answer must not take the place of a good certificate.
                let key = issued.key.expose().as_bytes();
                match self.slot.put(&self.name, issued.chain.as_bytes(), key) {
                    Ok(()) => Ok(issued),
                    Err(why) => Err(AcmeError(why.to_string())),
                }
            }
            Err(why) => Err(why),
        };
        match issued {
            Ok(issued) => {
                let stored = Stored { chain: issued.chain, key: issued.key.expose().clone() };
                let bytes = serde_json::to_vec(&stored).unwrap_or_default();
                self.store.kept().put(&self.certificate(), &bytes, now).await?;
                self.store.kept().remove(&self.failed()).await?;
                if promoted {
                    self.store.kept().remove(&self.next_key()).await?;
                }
                if let Some(not_after) = self.follow().await? {
                    tell(Told::Issued { not_after });
                }
                Ok(())
            }
            Err(why) => {
                let failures = self.attempts().await?.failures.saturating_add(1);
                let retry_s = back_off(failures, (self.random)());
                let attempts = Attempts { failures, next_at: now.saturating_add(retry_s) };
                let bytes = serde_json::to_vec(&attempts).unwrap_or_default();
                self.store.kept().put(&self.failed(), &bytes, now).await?;
                tell(Told::Failed { why: &why.0, failures, retry_s });
                Ok(())
            }
        }
    }

    async fn order(&self, now: i64, key: Option<&Secret<String>>) -> Result<order::Issued, AcmeError> {
        let account = self.account(now).await?;
        let replaces = self.loaded.as_ref().filter(|l| l.window.is_some()).and_then(|l| l.replaces.as_ref());
        let replaces = replaces.map(|(authority, serial)| identifier(authority, serial));
        order::issue(&account, &self.acme, key, replaces, &self.book).await
    }

    /// The account at the directory; made once for all nodes, under the lease.
    async fn account(&self, now: i64) -> Result<Account, AcmeError> {
        let store = |error: StoreError| AcmeError(error.to_string());
        let name = format!("acme-account {}", self.acme.directory);
        if let Some(kept) = self.store.kept().get(&name).await.map_err(store)? {
            return order::account(&self.door, &self.acme, kept.value.expose()).await;
        }
        let (account, kept) = order::new_account(&self.door, &self.acme).await?;
        self.store.kept().put(&name, kept.expose(), now).await.map_err(store)?;
        Ok(account)
    }

    /// Serves what the store has, if it is another certificate than the one that is served. Its end, then.
    async fn follow(&mut self) -> Result<Option<i64>, StoreError> {
        let Some(kept) = self.store.kept().get(&self.certificate()).await? else { return Ok(None) };
        if self.loaded.as_ref().is_some_and(|loaded| loaded.version == kept.version) {
            return Ok(None);
        }
        let stored: Stored = serde_json::from_slice(kept.value.expose()).map_err(|_| StoreError::Broken)?;
        if self.slot.put(&self.name, stored.chain.as_bytes(), stored.key.as_bytes()).is_err() {
            // Past its end, most likely: it is renewed as if there were none.
            return Ok(None);
        }
        let Some(present) = self.slot.present() else { return Ok(None) };
        let leaf = CertificateDer::from_pem_slice(stored.chain.as_bytes()).ok();
        let replaces = leaf.as_deref().and_then(x509::identifier);
        let due = due(present.not_before, present.not_after, (self.random)());
        self.loaded = Some(Loaded { version: kept.version, due, window: None, ask_at: 0, replaces });
        Ok(Some(present.not_after))
    }

    /// Asks the authority when it would renew (RFC 9773), now and then. An authority that does not know is no failure.
    async fn ask_when(&mut self, now: i64) -> Result<(), StoreError> {
        let Some(loaded) = self.loaded.as_ref().filter(|loaded| now >= loaded.ask_at) else { return Ok(()) };
        let account_name = format!("acme-account {}", self.acme.directory);
        let Some(kept) = self.store.kept().get(&account_name).await? else { return Ok(()) };
        let Some((authority, serial)) = loaded.replaces.clone() else { return Ok(()) };
        let (window, again) = match order::account(&self.door, &self.acme, kept.value.expose()).await {
            Ok(account) => match account.renewal_info(&identifier(&authority, &serial)).await {
                Ok((info, again)) => {
                    let window = &info.suggested_window;
                    let window = (window.start.unix_timestamp(), window.end.unix_timestamp());
                    (
                        Some(window).filter(|(start, end)| start < end),
                        i64::try_from(again.as_secs()).unwrap_or(ARI),
                    )
                }
                Err(instant_acme::Error::Unsupported(_)) => (None, ARI_MOST),
                Err(_) => (None, ARI),
            },
            Err(_) => (None, ARI),
        };
        let random = (self.random)();
        if let Some(loaded) = &mut self.loaded {
            loaded.ask_at = now.saturating_add(again.clamp(ARI_LEAST, ARI_MOST));
            if window.is_some() && window != loaded.window {
                loaded.window = window;
                loaded.due = loaded.due.min(within(window.unwrap_or_default(), random));
            }
        }
        Ok(())
    }

    async fn stored(&self) -> Result<Option<Stored>, StoreError> {
        let kept = self.store.kept().get(&self.certificate()).await?;
        Ok(kept.and_then(|kept| serde_json::from_slice(kept.value.expose()).ok()))
    }

    async fn attempts(&self) -> Result<Attempts, StoreError> {
        let kept = self.store.kept().get(&self.failed()).await?;
        Ok(kept.and_then(|kept| serde_json::from_slice(kept.value.expose()).ok()).unwrap_or_default())
    }

    fn certificate(&self) -> String {
        format!("certificate {}", self.name)
    }

    fn failed(&self) -> String {
        format!("acme-attempts {}", self.name)
    }

    /// A backup key that was promoted: the next order is made with it, at once.
    fn next_key(&self) -> String {
        next_key_name(&self.acme)
    }
}

/// Where a key lies that the next certificate shall have.
pub fn next_key_name(acme: &Acme) -> String {
    format!("acme-next-key {}", acme.name())
}

fn identifier<'a>(authority: &'a str, serial: &'a str) -> CertificateIdentifier<'a> {
    CertificateIdentifier { authority_key_identifier: authority.into(), serial: serial.into() }
}

/// base64url, as renewal information names certificates.
pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// When a certificate is renewed: one third of its life is left, ± 10 % of that third.
fn due(not_before: i64, not_after: i64, random: f64) -> i64 {
    let third = not_after.saturating_sub(not_before).max(0) / 3;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "seconds of a few years"
    )]
    let left = (third as f64 * (0.9 + 0.2 * random)) as i64;
    not_after.saturating_sub(left)
}

/// A moment within a window, each as likely (RFC 9773 § 4.2).
fn within((start, end): (i64, i64), random: f64) -> i64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "seconds of a few years"
    )]
    let part = (end.saturating_sub(start) as f64 * random) as i64;
    start.saturating_add(part)
}

/// Seconds until the next attempt: anything between one hour and a limit that doubles up to twelve.
fn back_off(failures: u32, random: f64) -> i64 {
    let most = (HOUR << failures.clamp(1, 4)).min(12 * HOUR);
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "half a day of seconds")]
    let part = ((most - HOUR) as f64 * random) as i64;
    HOUR + part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_is_at_one_third_with_jitter() {
        const DAY: i64 = 86_400;
        let (start, end) = (1_000_000, 1_000_000 + 90 * DAY);
        assert_eq!(due(start, end, 0.5), end - 30 * DAY);
        assert_eq!(due(start, end, 0.0), end - 27 * DAY);
        assert_eq!(due(start, end, 1.0), end - 33 * DAY);
        // Six days, as short-lived certificates have.
        assert_eq!(due(start, start + 6 * DAY, 0.5), start + 4 * DAY);
        assert_eq!(due(5, 5, 1.0), 5);
    }

    #[test]
    fn the_authoritys_window_is_met_anywhere_in_it() {
        assert_eq!(within((100, 200), 0.0), 100);
        assert_eq!(within((100, 200), 0.5), 150);
        assert_eq!(within((100, 200), 1.0), 200);
    }

    #[test]
    fn failures_wait_between_one_and_twelve_hours() {
        for failures in [1, 2, 3, 4, 5, 100] {
            assert_eq!(back_off(failures, 0.0), HOUR);
        }
        let most: Vec<i64> = [1, 2, 3, 4, 5, 100].iter().map(|n| back_off(*n, 1.0) / HOUR).collect();
        assert_eq!(most, [2, 4, 8, 12, 12, 12]);
    }
}
