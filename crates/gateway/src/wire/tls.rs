//! TLS towards clients: parameters, certificates by SNI, client certificates.
//!
//! rustls with aws-lc-rs through an explicit provider; there is no process default. No resumption where client
//! certificates are asked for: a resumed connection would skip today's CRL and expiry (CVE-2025-23419).

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use portcullis_plan::listen::{Certificate, ClientMode, Clients, Tls, TlsVersion};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
};

use super::acme::{Book, Slot};
use super::client_cert::ClientCert;
use super::x509::{self, San};

/// Why a listener's TLS cannot be built. Names the file, never content.
#[derive(Debug)]
pub struct TlsError {
    /// Where the certificate or list came from.
    pub source: String,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.why)
    }
}

impl std::error::Error for TlsError {}

fn error(source: &str, why: impl Into<String>) -> TlsError {
    TlsError { source: source.to_owned(), why: why.into() }
}

/// The facts of a finished handshake.
#[derive(Clone, Debug, Default)]
pub struct Handshake {
    /// `TLSv1.3`, `TLSv1.2`; `None` in plaintext.
    pub version: Option<&'static str>,
    /// The cipher suite's name.
    pub suite: Option<&'static str>,
    /// The key exchange group's name.
    pub group: Option<&'static str>,
    /// HTTP/2 was agreed on.
    pub h2: bool,
    /// JA4 of the ClientHello (see [`super::hello`]).
    pub ja4: Option<Box<str>>,
    /// The server name that the client asked for, in lower case.
    pub sni: Option<String>,
    /// The verified client certificate.
    pub client_cert: Option<Rc<ClientCert>>,
}

/// A listener's TLS, ready for handshakes.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) config: Arc<ServerConfig>,
    resolver: Arc<BySni>,
}

impl Built {
    /// Every certificate that is served here now.
    pub(crate) fn shown(&self) -> Vec<Shown> {
        let mut all = self.resolver.facts.clone();
        if let Some((hosts, slot)) = &self.resolver.acme
            && let Some(present) = slot.present()
        {
            let (key, not_after) = (present.key.clone(), present.not_after);
            all.push(Shown { source: format!("acme {}", hosts.join(",")), key, not_after });
        }
        all
    }

    /// Whether a handshake with this server name can be answered; else the alert is `unrecognized_name`.
    pub(crate) fn knows(&self, sni: Option<&str>) -> bool {
        self.resolver.find(sni).is_some()
    }
}

/// Cipher suites and groups of this program, in order of preference.
pub fn provider() -> Arc<CryptoProvider> {
    use aws_lc_rs::cipher_suite as suite;
    use aws_lc_rs::kx_group as group;
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            suite::TLS13_AES_256_GCM_SHA384,
            suite::TLS13_AES_128_GCM_SHA256,
            suite::TLS13_CHACHA20_POLY1305_SHA256,
            suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![group::X25519MLKEM768, group::X25519, group::SECP256R1, group::SECP384R1],
        ..aws_lc_rs::default_provider()
    })
}

/// Checks and builds.
///
/// # Errors
/// A certificate, key, CA or list that cannot be used; a host that no certificate covers.
pub(crate) fn build(tls: &Tls, book: &Book) -> Result<Built, TlsError> {
    let provider = provider();
    let resolver = Arc::new(BySni::new(tls, &provider, book)?);
    let versions: &[&rustls::SupportedProtocolVersion] = match tls.min {
        TlsVersion::V1_2 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersion::V1_3 => &[&rustls::version::TLS13],
    };
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .map_err(|e| error("tls", e.to_string()))?;
    let builder = match &tls.clients {
        None => builder.with_no_client_auth(),
        Some(clients) => builder.with_client_cert_verifier(client_verifier(clients, &provider)?),
    };
    let mut config = builder.with_cert_resolver(resolver.clone());
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.max_early_data_size = 0;
    config.require_ems = true;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if tls.clients.is_some() {
        config.send_tls13_tickets = 0;
    } else {
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(|e| error("tls", e.to_string()))?;
        config.send_tls13_tickets = 2;
    }
    Ok(Built { config: Arc::new(config), resolver })
}

/// Certificates by server name.
#[derive(Debug)]
struct BySni {
    /// Lower-case name, or the parent of a wildcard; the certificate's index.
    exact: Vec<(String, usize)>,
    wild: Vec<(String, usize)>,
    keys: Vec<Arc<CertifiedKey>>,
    /// What each of them is, for operators and pins.
    facts: Vec<Shown>,
    /// Names that ACME brings a certificate for, and its place.
    acme: Option<(Vec<String>, Arc<Slot>)>,
    /// For handshakes without a name, where no API names hosts.
    default: Option<usize>,
}

impl BySni {
    fn new(tls: &Tls, provider: &CryptoProvider, book: &Book) -> Result<Self, TlsError> {
        let (mut exact, mut wild, mut keys, mut sans) = (vec![], vec![], vec![], vec![]);
        let mut shown = Vec::new();
        for (index, certificate) in tls.certificates.iter().enumerate() {
            let (key, facts) = certified(certificate, provider)?;
            let key = Arc::new(key);
            shown.push(Shown {
                source: certificate.source.clone(),
                key: key.clone(),
                not_after: facts.not_after,
            });
            keys.push(key);
            for san in &facts.sans {
                if let San::Dns(name) = san {
                    let name = name.to_ascii_lowercase();
                    match name.strip_prefix("*.") {
                        Some(parent) => wild.push((parent.to_owned(), index)),
                        None => exact.push((name, index)),
                    }
                }
            }
            sans.extend(facts.sans);
        }
        let acme = tls.acme.as_ref().map(|acme| (acme.hosts.clone(), book.slot(&acme.name())));
        if keys.is_empty() && acme.is_none() {
            return Err(error("tls", "no certificate"));
        }
        let brought = acme.iter().flat_map(|(hosts, _)| hosts);
        sans.extend(brought.map(|host| San::Dns(host.clone())));
        if let Some(host) = tls.hosts.iter().find(|host| !sans.iter().any(|san| x509::covers(san, host))) {
            return Err(error("tls", format!("no certificate covers the host `{host}`")));
        }
        Ok(Self { exact, wild, keys, facts: shown, acme, default: tls.hosts.is_empty().then_some(0) })
    }

    fn find(&self, sni: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let index = match sni {
            // Where no API names hosts: the first file, or else what ACME brought.
            None => match self.default? {
                _ if self.keys.is_empty() => return self.brought(),
                first => first,
            },
            Some(name) => {
                let name = name.to_ascii_lowercase();
                if self.acme.as_ref().is_some_and(|(hosts, _)| hosts.contains(&name))
                    && let Some(key) = self.brought()
                {
                    return Some(key);
                }
                let exact = self.exact.iter().find(|(known, _)| *known == name);
                let parent = name.split_once('.').map_or("", |(_, parent)| parent);
                exact.or_else(|| self.wild.iter().find(|(known, _)| known == parent))?.1
            }
        };
        self.keys.get(index).cloned()
    }

    /// The certificate that ACME brought, once it is there.
    fn brought(&self) -> Option<Arc<CertifiedKey>> {
        Some(self.acme.as_ref()?.1.present()?.key.clone())
    }
}

/// A certificate that is served.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Where it came from.
    pub source: String,
    /// Its chain.
    pub(crate) key: Arc<CertifiedKey>,
    /// Its last second, Unix time.
    pub not_after: i64,
}

impl Shown {
    /// The chain, DER, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.key.cert
    }
}

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name())
    }
}

pub(super) fn certified(
    certificate: &Certificate,
    provider: &CryptoProvider,
) -> Result<(CertifiedKey, x509::Facts), TlsError> {
    let source = certificate.source.as_str();
    let chain = certificates(&certificate.chain, source)?;
    let leaf = chain.first().ok_or_else(|| error(source, "contains no certificate"))?;
    let facts = x509::read(leaf).ok_or_else(|| error(source, "the certificate cannot be read"))?;
    let key = private_key(certificate)?;
    let signing = provider
        .key_provider
        .load_private_key(key)
        .map_err(|_| error(source, "the private key is of a kind that is not supported"))?;
    let key = CertifiedKey::new(chain, signing);
    key.keys_match().map_err(|_| error(source, "the private key does not belong to the certificate"))?;
    if let Some(weak) = facts.weak {
        return Err(error(source, format!("the certificate {weak}")));
    }
    let now = unix_now();
    if now < facts.not_before || now > facts.not_after {
        return Err(error(source, "the certificate is not valid today"));
    }
    Ok((key, facts))
}

/// The leaf of a certificate's chain, DER.
pub fn leaf(certificate: &Certificate) -> Option<CertificateDer<'static>> {
    certificates(&certificate.chain, &certificate.source).ok()?.into_iter().next()
}

pub(crate) fn private_key(certificate: &Certificate) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(certificate.key.expose())
        .map_err(|_| error(&certificate.source, "contains no private key in PEM"))
}

pub(crate) fn certificates(pem: &[u8], source: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| error(source, "is not a chain of certificates in PEM"))
}

/// The certificate authorities of a file; at least one, and all of them usable.
pub(crate) fn roots(pem: &[u8], source: &str) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(pem, source)? {
        store
            .add(certificate)
            .map_err(|_| error(source, "holds a certificate that cannot be an authority"))?;
    }
    if store.is_empty() { Err(error(source, "contains no CA certificate")) } else { Ok(store) }
}

#[expect(clippy::disallowed_methods, reason = "validity of certificates is judged at load, not in a request")]
fn unix_now() -> i64 {
    let gap = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    i64::try_from(gap).unwrap_or(i64::MAX)
}

/// Whether clients can be judged by these rules at all.
pub(super) fn usable(clients: &Clients) -> Result<(), TlsError> {
    client_verifier(clients, &provider()).map(|_| ())
}

pub(super) fn client_verifier(
    clients: &Clients,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    const SOURCE: &str = "tls.clients";
    let roots = roots(&clients.ca, SOURCE)?;
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    if let Some(crl) = &clients.crl {
        let lists = CertificateRevocationListDer::pem_slice_iter(crl)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| error(SOURCE, "the CRL is not PEM"))?;
        if lists.is_empty() {
            return Err(error(SOURCE, "the CRL file contains no list"));
        }
        builder = builder.with_crls(lists).enforce_revocation_expiration();
    }
    if clients.mode == ClientMode::Optional {
        builder = builder.allow_unauthenticated();
    }
    let inner = builder.build().map_err(|e| error(SOURCE, e.to_string()))?;
    Ok(Arc::new(Named { inner, patterns: clients.san.clone() }))
}

/// webpki's verdict, and then ours on the names.
#[derive(Debug)]
struct Named {
    inner: Arc<dyn ClientCertVerifier>,
    patterns: Vec<String>,
}

impl ClientCertVerifier for Named {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now)?;
        let facts = x509::read(end_entity).ok_or(CertificateError::BadEncoding)?;
        if facts.weak.is_some() {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        let fits = |san: &San| self.patterns.iter().any(|pattern| x509::san_fits(san, pattern));
        if self.patterns.is_empty() || facts.sans.iter().any(fits) {
            Ok(verified)
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.inner.requires_raw_public_keys()
    }
}

/// The handshake's facts, once it is finished on a listener.
pub(crate) fn facts(connection: &rustls::ServerConnection, listener: &str) -> Handshake {
    let mut chain = connection.peer_certificates().unwrap_or_default().iter().map(|c| c.clone().into_owned());
    let client_cert = chain
        .next()
        .and_then(|leaf| ClientCert::of_handshake(leaf, chain.collect(), listener, unix_now()).map(Rc::new));
    Handshake {
        version: connection.protocol_version().and_then(|version| match version {
            rustls::ProtocolVersion::TLSv1_3 => Some("TLSv1.3"),
            rustls::ProtocolVersion::TLSv1_2 => Some("TLSv1.2"),
            _ => None,
        }),
        suite: connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()),
        group: connection.negotiated_key_exchange_group().and_then(|group| group.name().as_str()),
        ja4: None,
        h2: connection.alpn_protocol() == Some(b"h2"),
        sni: connection.server_name().map(str::to_ascii_lowercase),
        client_cert,
    }
}
