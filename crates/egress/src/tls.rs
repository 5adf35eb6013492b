//! TLS towards servers: whom to trust, and who we are.

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::EgressError;

/// Whose certificates are believed. Verification against the name that was asked for always happens.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'a> {
    /// The public authorities.
    Public,
    /// These and no others, as PEM.
    Private(&'a [u8]),
}

/// The public authorities.
pub const fn public_authorities() -> &'static [rustls::pki_types::TrustAnchor<'static>] {
    webpki_roots::TLS_SERVER_ROOTS
}

/// The configuration of connections that share trust, identity (chain and key as PEM) and protocols.
///
/// # Errors
/// What is wrong with the PEM.
pub fn client_config(
    trust: Trust<'_>,
    identity: Option<(&[u8], &[u8])>,
    alpn: &[&[u8]],
) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    match trust {
        Trust::Public => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Trust::Private(pem) => {
            for certificate in chain(pem)? {
                roots.add(certificate).map_err(|e| format!("not a certificate authority: {e}"))?;
            }
        }
    }
    if roots.is_empty() {
        return Err("contains no certificate authority".to_owned());
    }
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((certificates, key)) => {
            let key = PrivateKeyDer::from_pem_slice(key)
                .map_err(|_| "contains no private key in PEM".to_owned())?;
            builder.with_client_auth_cert(chain(certificates)?, key).map_err(|e| e.to_string())?
        }
    };
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.enable_early_data = false;
    Ok(Arc::new(config))
}

/// A handshake, verified against `host`.
///
/// # Errors
/// [`EgressError::Tls`], [`EgressError::Timeout`].
pub async fn handshake(
    config: Arc<ClientConfig>,
    host: &str,
    tcp: TcpStream,
    limit: Duration,
) -> Result<TlsStream<TcpStream>, EgressError> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| EgressError::Tls)?;
    tokio::time::timeout(limit, tokio_rustls::TlsConnector::from(config).connect(name, tcp))
        .await
        .map_err(|_| EgressError::Timeout)?
        .map_err(|_| EgressError::Tls)
}

fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| "is not PEM".to_owned())?;
    if chain.is_empty() { Err("contains no certificate".to_owned()) } else { Ok(chain) }
}

fn provider() -> Arc<CryptoProvider> {
    use aws_lc_rs::kx_group as group;
    Arc::new(CryptoProvider {
        kx_groups: vec![group::X25519MLKEM768, group::X25519, group::SECP256R1, group::SECP384R1],
        ..aws_lc_rs::default_provider()
    })
}
