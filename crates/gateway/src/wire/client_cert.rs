//! A client's certificate: of the handshake, or told by a proxy that ended TLS (RFC 9440).

use std::cell::Cell;
use std::time::Duration;

use portcullis_core::dn::Dn;
use portcullis_plan::Plan;
use portcullis_plan::listen::Clients;
use rustls::pki_types::{CertificateDer, UnixTime};

use super::tls;
use super::x509::{self, San};

/// Seconds after which a certificate on an open connection is verified again.
const LOOK_AGAIN: i64 = 300;

/// A certificate whose chain, purpose, validity and revocation were checked.
#[derive(Clone, Debug)]
pub struct ClientCert {
    /// The certificate, DER.
    pub leaf: CertificateDer<'static>,
    /// What stood between it and the authority, DER.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its subject alternative names.
    pub sans: Vec<San>,
    /// Its subject, where it is one that can be named.
    pub subject: Option<Dn>,
    /// Last second of its validity, Unix time.
    pub not_after: i64,
    /// The listener whose rules it was verified by.
    pub listener: String,
    /// A proxy told of it.
    pub forwarded: bool,
    /// When it was last verified, Unix seconds.
    checked: Cell<i64>,
}

impl ClientCert {
    /// What rustls has verified in the handshake at `now` (Unix seconds). Nothing for one that cannot be read; the
    /// verifier has refused such a one.
    pub(crate) fn of_handshake(
        leaf: CertificateDer<'static>,
        chain: Vec<CertificateDer<'static>>,
        listener: &str,
        now: i64,
    ) -> Option<Self> {
        let facts = x509::read(&leaf)?;
        Some(Self {
            leaf,
            chain,
            sans: facts.sans,
            subject: facts.subject,
            not_after: facts.not_after,
            listener: listener.to_owned(),
            forwarded: false,
            checked: Cell::new(now),
        })
    }

    /// What a proxy tells, verified here as if the handshake had been ours.
    pub(crate) fn of_proxy(
        leaf: CertificateDer<'static>,
        chain: Vec<CertificateDer<'static>>,
        (listener, clients): (&str, &Clients),
        now: i64,
    ) -> Option<Self> {
        let made = Self { forwarded: true, ..Self::of_handshake(leaf, chain, listener, now)? };
        made.verify(clients, now).then_some(made)
    }

    /// Whether it is still good: validity and revocation lists are looked at again when the last look is older than five
    /// minutes, by the rules that are in force now. `now` in Unix seconds.
    pub(crate) fn still_good(&self, clients: Option<&Clients>, now: i64) -> bool {
        if now.saturating_sub(self.checked.get()) < LOOK_AGAIN {
            return true;
        }
        let good = clients.is_some_and(|clients| self.verify(clients, now));
        if good {
            self.checked.set(now);
        }
        good
    }

    /// The rules of its listener that a plan has for it.
    pub(crate) fn rules<'p>(&self, plan: &'p Plan) -> Option<&'p Clients> {
        let listener = plan.listeners.iter().find(|listener| listener.name == self.listener)?;
        match self.forwarded {
            true => listener.client_cert_from_proxy.as_ref(),
            false => listener.tls.as_ref()?.clients.as_ref(),
        }
    }

    fn verify(&self, clients: &Clients, now: i64) -> bool {
        let Ok(secs) = u64::try_from(now) else { return false };
        let now = UnixTime::since_unix_epoch(Duration::from_secs(secs));
        tls::client_verifier(clients, &tls::provider())
            .is_ok_and(|verifier| verifier.verify_client_cert(&self.leaf, &self.chain, now).is_ok())
    }
}
