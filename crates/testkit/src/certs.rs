//! Certificates for tests: an authority of one's own, and what it issues.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// A certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    serials: AtomicU64,
}

/// A certificate with its key, both PEM.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The chain, leaf first.
    pub cert_pem: String,
    /// The private key, PKCS #8.
    pub key_pem: String,
    serial: u64,
}

impl Authority {
    /// A fresh authority.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "Portcullis test authority");
        let key = KeyPair::generate().expect("a key can be generated");
        let certificate = params.self_signed(&key).expect("an authority can sign itself");
        Self { pem: certificate.pem(), issuer: Issuer::new(params, key), serials: AtomicU64::new(1_000) }
    }

    /// Its certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A server certificate for these names (DNS names or IP addresses), valid now.
    pub fn server(&self, names: &[&str]) -> Certificate {
        self.issue(names, ExtendedKeyUsagePurpose::ServerAuth, None)
    }

    /// A client certificate for these names.
    pub fn client(&self, names: &[&str]) -> Certificate {
        self.issue(names, ExtendedKeyUsagePurpose::ClientAuth, None)
    }

    /// A client certificate that names its holder by a URI.
    pub fn client_uri(&self, uri: &str) -> Certificate {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("a URI is ASCII"))];
        self.sign(params, ExtendedKeyUsagePurpose::ClientAuth, None)
    }

    /// A client certificate with this subject: common name, organization, country, the most general first in it.
    pub fn client_subject(&self, common_name: &str, organization: &str, country: &str) -> Certificate {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CountryName, country);
        params.distinguished_name.push(DnType::OrganizationName, organization);
        params.distinguished_name.push(DnType::CommonName, common_name);
        self.sign(params, ExtendedKeyUsagePurpose::ClientAuth, None)
    }

    /// A client certificate that ends at a second of Unix time.
    pub fn client_until(&self, names: &[&str], end: u64) -> Certificate {
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut params = CertificateParams::new(names).expect("the names are valid");
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(end);
        self.sign(params, ExtendedKeyUsagePurpose::ClientAuth, None)
    }

    /// A client certificate that has expired.
    pub fn expired_client(&self, names: &[&str]) -> Certificate {
        self.issue(names, ExtendedKeyUsagePurpose::ClientAuth, Some((2001, 2002)))
    }

    /// A revocation list with these certificates, PEM, good for a long time.
    pub fn revoked(&self, certificates: &[&Certificate]) -> String {
        let revoked = |certificate: &&Certificate| RevokedCertParams {
            serial_number: SerialNumber::from(certificate.serial),
            revocation_time: rcgen::date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2024, 1, 1),
            next_update: rcgen::date_time_ymd(2099, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: certificates.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).expect("the authority can sign a list");
        list.pem().expect("a list can be written")
    }

    /// A server certificate that has expired.
    pub fn expired(&self, names: &[&str]) -> Certificate {
        self.issue(names, ExtendedKeyUsagePurpose::ServerAuth, Some((2001, 2002)))
    }

    fn issue(
        &self,
        names: &[&str],
        purpose: ExtendedKeyUsagePurpose,
        years: Option<(i32, i32)>,
    ) -> Certificate {
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        self.sign(CertificateParams::new(names).expect("the names are valid"), purpose, years)
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        purpose: ExtendedKeyUsagePurpose,
        years: Option<(i32, i32)>,
    ) -> Certificate {
        let serial = self.serials.fetch_add(1, Ordering::Relaxed);
        params.serial_number = Some(SerialNumber::from(serial));
        params.extended_key_usages = vec![purpose];
        if let Some((from, to)) = years {
            params.not_before = rcgen::date_time_ymd(from, 1, 1);
            params.not_after = rcgen::date_time_ymd(to, 1, 1);
        }
        let key = KeyPair::generate().expect("a key can be generated");
        let certificate = params.signed_by(&key, &self.issuer).expect("the authority can sign");
        Certificate { cert_pem: certificate.pem(), key_pem: key.serialize_pem(), serial }
    }

    /// A client that trusts this authority and nothing else.
    pub fn client_config(&self) -> ClientConfig {
        builder().with_root_certificates(self.roots()).with_no_client_auth()
    }

    /// As [`Authority::client_config`], presenting a certificate.
    pub fn client_config_with(&self, certificate: &Certificate) -> ClientConfig {
        let (chain, key) = certificate.der();
        builder()
            .with_root_certificates(self.roots())
            .with_client_auth_cert(chain, key)
            .expect("the certificate fits its key")
    }

    /// A server with a certificate for these names.
    pub fn server_config(&self, names: &[&str]) -> Arc<ServerConfig> {
        let (chain, key) = self.server(names).der();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider knows the default versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("the certificate fits its key");
        Arc::new(config)
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let der = CertificateDer::from_pem_slice(self.pem.as_bytes()).expect("our own PEM parses");
        roots.add(der).expect("our own certificate is an anchor");
        roots
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Certificate {
    /// As `Client-Cert` tells of it (RFC 9440).
    pub fn told(&self) -> String {
        use base64::Engine as _;
        format!(":{}:", base64::engine::general_purpose::STANDARD.encode(self.leaf()))
    }

    /// The leaf, DER.
    pub fn leaf(&self) -> Vec<u8> {
        self.der().0.first().expect("a chain has a leaf").to_vec()
    }

    fn der(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = CertificateDer::pem_slice_iter(self.cert_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .expect("our own PEM parses");
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).expect("our own PEM parses");
        (chain, key)
    }
}

fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows the default versions")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{request, send_tls};
    use crate::server::{Answer, Upstream};

    #[tokio::test]
    async fn only_the_right_authority_is_trusted() {
        let authority = Authority::new();
        let upstream = Upstream::start_tls(authority.server_config(&["localhost"]), |_| Answer::json("{}"));
        let bytes = request("GET", "/", &[], b"");
        let address = upstream.address();
        let good = Arc::new(authority.client_config());
        assert_eq!(send_tls(address, "localhost", Arc::clone(&good), &bytes).await.unwrap().status, 200);
        assert!(send_tls(address, "other.example", good, &bytes).await.is_err());
        let stranger = Arc::new(Authority::new().client_config());
        assert!(send_tls(address, "localhost", stranger, &bytes).await.is_err());
    }
}
