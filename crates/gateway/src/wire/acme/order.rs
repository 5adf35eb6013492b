//! One order, from the account to the chain. Every call goes through the one door out.

use super::super::hello::ACME_TLS;
use super::super::tls;
use super::{Book, Proof};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, BodyWrapper, BytesResponse, CertificateIdentifier,
    ChallengeType, ExternalAccountKey, HttpClient, Identifier, NewAccount, NewOrder, OrderStatus,
    RetryPolicy,
};
use portcullis_core::secret::Secret;
use portcullis_egress::tls::Trust;
use portcullis_egress::{Door, FetchLimits, Purpose};
use portcullis_plan::listen::{Acme, AcmeChallenge};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// What a CA may take for its checks of one order.
const PATIENCE: Duration = Duration::from_secs(90);

/// Why there is no certificate.
#[derive(Debug)]
pub(super) struct AcmeError(pub(super) String);

impl fmt::Display for AcmeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<instant_acme::Error> for AcmeError {
    fn from(error: instant_acme::Error) -> Self {
        // The server's own words are written by strangers: bounded, and on one line.
        let text: String = error.to_string().chars().filter(|c| !c.is_control()).take(300).collect();
        Self(text)
    }
}

fn error(why: &str) -> AcmeError {
    AcmeError(why.to_owned())
}

/// A chain and its key, PEM.
pub(super) struct Issued {
    pub(super) chain: String,
    pub(super) key: Secret<String>,
}

/// Calls of one ACME client.
struct Line {
    door: Arc<Door>,
    ca: Option<Vec<u8>>,
}

impl HttpClient for Line {
    fn request(
        &self,
        request: http::Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let (door, ca) = (self.door.clone(), self.ca.clone());
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            #[expect(clippy::disallowed_methods, reason = "our own request, which is in memory")]
            let body = match body.collect().await {
                Ok(body) => body.to_bytes(),
                Err(never) => match never {},
            };
            let limits = FetchLimits {
                body: 1 << 20,
                connect: Duration::from_secs(10),
                total: Duration::from_secs(30),
            };
            let trust = ca.as_deref().map_or(Trust::Public, Trust::Private);
            let request = http::Request::from_parts(parts, body);
            match door.exchange(Purpose::Acme, trust, limits, request).await {
                Ok(response) => {
                    let (parts, body) = response.into_parts();
                    Ok(BytesResponse { parts, body: Box::new(body) })
                }
                Err(why) => Err(instant_acme::Error::Other(Box::new(why))),
            }
        })
    }
}

/// The account that was made before.
pub(super) async fn account(door: &Arc<Door>, acme: &Acme, kept: &[u8]) -> Result<Account, AcmeError> {
    let credentials: AccountCredentials =
        serde_json::from_slice(kept).map_err(|_| error("the account that was kept cannot be read"))?;
    let line = Box::new(Line { door: door.clone(), ca: acme.ca.clone() });
    Ok(Account::builder_with_http(line).from_credentials(credentials).await?)
}

/// A new account, and what is to be kept of it.
pub(super) async fn new_account(
    door: &Arc<Door>,
    acme: &Acme,
) -> Result<(Account, Secret<Vec<u8>>), AcmeError> {
    let contact: Vec<&str> = acme.contact.iter().map(String::as_str).collect();
    let wanted = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let external =
        acme.external_account.as_ref().map(|e| ExternalAccountKey::new(e.kid.clone(), e.key.expose()));
    let line = Box::new(Line { door: door.clone(), ca: acme.ca.clone() });
    let made = Account::builder_with_http(line).create(&wanted, acme.directory.clone(), external.as_ref());
    let (account, credentials) = made.await?;
    let kept = serde_json::to_vec(&credentials).map_err(|_| error("the account cannot be written"))?;
    Ok((account, Secret::new(kept)))
}

/// Proves every name and fetches the chain. `key` in PEM is used again; `replaces` tells a CA with renewal information
/// (RFC 9773 § 5) which certificate this one follows.
pub(super) async fn issue(
    account: &Account,
    acme: &Acme,
    key: Option<&Secret<String>>,
    replaces: Option<CertificateIdentifier<'_>>,
    book: &Arc<Book>,
) -> Result<Issued, AcmeError> {
    let key = match key {
        Some(pem) => KeyPair::from_pem(pem.expose()),
        None => KeyPair::generate(),
    };
    let key = key.map_err(|_| error("the certificate's key cannot be used"))?;
    let names: Vec<Identifier> = acme.hosts.iter().map(|host| Identifier::Dns(host.clone())).collect();
    let mut wanted = NewOrder::new(&names);
    if let Some(replaces) = replaces {
        wanted = wanted.replaces(replaces);
    }
    let mut order = account.new_order(&wanted).await?;
    let mut proofs: Vec<Proof> = Vec::new();
    let kind = match acme.challenge {
        AcmeChallenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
        AcmeChallenge::Http01 => ChallengeType::Http01,
    };
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        match authorization.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            _ => return Err(error("the authority refuses a name")),
        }
        let mut challenge = authorization
            .challenge(kind.clone())
            .ok_or_else(|| error("the authority does not offer the configured challenge"))?;
        let host = match challenge.identifier().identifier {
            Identifier::Dns(host) if acme.hosts.contains(host) => host.clone(),
            _ => return Err(error("the authority asks about a name that was not ordered")),
        };
        let answer = challenge.key_authorization();
        proofs.push(match acme.challenge {
            AcmeChallenge::TlsAlpn01 => {
                let config = proving(&host, answer.digest().as_ref())?;
                book.prove_by_handshake(&host, config)
            }
            AcmeChallenge::Http01 => {
                // RFC 8555 § 8.3: base64url; anything else would be a path of the authority's choice.
                let fine =
                    challenge.token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
                if !fine || challenge.token.is_empty() || challenge.token.len() > 256 {
                    return Err(error("the authority's token is not base64url"));
                }
                book.prove_by_token(&challenge.token, answer.as_str())
            }
        });
        challenge.set_ready().await?;
    }
    let retry = RetryPolicy::new().timeout(PATIENCE).backoff(1.5);
    if order.poll_ready(&retry).await? != OrderStatus::Ready {
        return Err(error("the authority could not prove the names"));
    }
    let csr = request(&acme.hosts, &key)?;
    order.finalize_csr(&csr).await?;
    let chain = order.poll_certificate(&retry).await?;
    drop(proofs);
    Ok(Issued { chain, key: Secret::new(key.serialize_pem()) })
}

/// A certificate signing request for names (RFC 2986), DER.
fn request(hosts: &[String], key: &KeyPair) -> Result<Vec<u8>, AcmeError> {
    let mut params = CertificateParams::new(hosts).map_err(|_| error("the names cannot be written"))?;
    params.distinguished_name = DistinguishedName::new();
    let csr = params.serialize_request(key).map_err(|_| error("the request cannot be signed"))?;
    Ok(csr.der().to_vec())
}

/// The handshake that proves a name: a self-signed certificate with the digest, and no other protocol (RFC 8737 § 3).
fn proving(host: &str, digest: &[u8]) -> Result<Arc<ServerConfig>, AcmeError> {
    let made = || -> Result<(rcgen::Certificate, KeyPair), rcgen::Error> {
        let mut params = CertificateParams::new([host.to_owned()])?;
        params.distinguished_name = DistinguishedName::new();
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let key = KeyPair::generate()?;
        Ok((params.self_signed(&key)?, key))
    };
    let (certificate, key) = made().map_err(|_| error("the proof cannot be made"))?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = tls::provider();
    let key = provider.key_provider.load_private_key(key).map_err(|_| error("the proof cannot be signed"))?;
    // As it is: to a reader of ordinary certificates its critical extension is a mistake.
    let shown = CertifiedKey::new(vec![certificate.der().clone()], key);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|_| error("the proof cannot be shown"))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    config.alpn_protocols = vec![ACME_TLS.to_vec()];
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}
