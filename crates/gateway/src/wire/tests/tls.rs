//! Handshakes.

use std::io::BufReader;

use portcullis_core::secret::Secret;
use portcullis_plan::bounds::Drain;
use portcullis_plan::listen::{Certificate, ClientMode, Clients, Tls, TlsVersion};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::*;

type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca() -> Ca {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(rcgen::DnType::CommonName, "test");
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A leaf: its certificate with the names given (URIs contain `:`), changed as wished.
fn leaf(ca: &Ca, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Certificate {
    let mut params = CertificateParams::default();
    for name in names {
        params.subject_alt_names.push(if name.contains(':') {
            SanType::URI((*name).try_into().unwrap())
        } else {
            SanType::DnsName((*name).try_into().unwrap())
        });
    }
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let chain = params.signed_by(&key, ca).unwrap().pem();
    Certificate {
        source: "test.pem".into(),
        chain: chain.into_bytes(),
        key: Secret::new(key.serialize_pem().into_bytes()),
    }
}

fn secure(certificates: Vec<Certificate>) -> Listener {
    let mut listener = listener();
    listener.tls =
        Some(Tls { certificates, acme: None, min: TlsVersion::V1_2, clients: None, hosts: Vec::new() });
    listener
}

struct Client {
    ca: Vec<u8>,
    identity: Option<Certificate>,
    versions: Vec<&'static rustls::SupportedProtocolVersion>,
    alpn: Vec<Vec<u8>>,
    groups: Vec<&'static dyn rustls::crypto::SupportedKxGroup>,
}

impl Client {
    fn new(ca: &Ca) -> Self {
        Self {
            ca: ca.pem().into_bytes(),
            identity: None,
            versions: vec![&rustls::version::TLS13, &rustls::version::TLS12],
            alpn: Vec::new(),
            groups: rustls::crypto::aws_lc_rs::default_provider().kx_groups,
        }
    }

    fn config(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&self.ca).unwrap()).unwrap();
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.kx_groups.clone_from(&self.groups);
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(id) => builder
                .with_client_auth_cert(
                    vec![CertificateDer::from_pem_slice(&id.chain).unwrap()],
                    PrivateKeyDer::from_pem_slice(id.key.expose()).unwrap(),
                )
                .unwrap(),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        Arc::new(config)
    }

    fn get(&self, address: SocketAddr, name: &str, path: &str) -> Result<String, String> {
        ask(self.config(), address, name, path).map(|(answer, _)| answer)
    }
}

fn ask(
    config: Arc<ClientConfig>,
    address: SocketAddr,
    name: &str,
    path: &str,
) -> Result<(String, rustls::HandshakeKind), String> {
    let connection = ClientConnection::new(config, ServerName::try_from(name.to_owned()).unwrap()).unwrap();
    let mut stream = BufReader::new(StreamOwned::new(connection, connect(address)));
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.get_mut().write_all(request.as_bytes()).map_err(|e| e.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|e| e.to_string())?;
    if answer.is_empty() {
        return Err("no answer".into());
    }
    let kind = stream.get_ref().conn.handshake_kind().unwrap();
    Ok((answer, kind))
}

#[test]
fn versions_groups_and_resumption() {
    let ca = ca();
    let (_handle, address) = serve(vec![secure(vec![leaf(&ca, &["a.example"], |_| {})])], None);
    let client = Client::new(&ca);
    let answer = client.get(address, "a.example", "/tls").unwrap();
    assert!(answer.contains(r#"Some("TLSv1.3") Some("X25519MLKEM768") Some("a.example")"#), "{answer}");
    let old = Client {
        versions: vec![&rustls::version::TLS12],
        groups: vec![rustls::crypto::aws_lc_rs::kx_group::SECP256R1],
        ..Client::new(&ca)
    };
    let answer = old.get(address, "a.example", "/tls").unwrap();
    assert!(answer.contains(r#"Some("TLSv1.2") Some("secp256r1")"#), "{answer}");
    let config = client.config();
    ask(config.clone(), address, "a.example", "/hello").unwrap();
    let (_, kind) = ask(config, address, "a.example", "/hello").unwrap();
    assert_eq!(kind, rustls::HandshakeKind::Resumed);
}

/// The same client looks the same each time, and what it offers changes its fingerprint; plaintext has none.
#[test]
fn a_client_has_a_fingerprint() {
    let ca = ca();
    let (_handle, address) = serve(vec![secure(vec![leaf(&ca, &["a.example"], |_| {})])], None);
    let ja4 = |client: &Client| {
        let answer = client.get(address, "a.example", "/ja4").unwrap();
        answer.rsplit("\r\n").next().unwrap().to_owned()
    };
    let new = Client { alpn: vec![b"http/1.1".to_vec()], ..Client::new(&ca) };
    let first = ja4(&new);
    assert!(first.starts_with("t13d") && first.get(8..11) == Some("h1_"), "{first}");
    assert_eq!(ja4(&new), first, "rustls shuffles its extensions; the fingerprint sorts them");
    let old = Client { versions: vec![&rustls::version::TLS12], ..Client::new(&ca) };
    assert!(ja4(&old).starts_with("t12d") && ja4(&old).get(8..11) == Some("00_"), "{}", ja4(&old));
    let (_handle, plain) = serve(vec![listener()], None);
    assert_eq!(get(plain, "/ja4").1, "none");
}

/// A ClientHello of an old version, by hand.
fn hello(version: [u8; 2], suites: &[u8]) -> Vec<u8> {
    let len = u16::try_from(suites.len()).unwrap().to_be_bytes();
    let body = [&version[..], &[7; 32], &[0], &len, suites, &[1, 0]].concat();
    let handshake = [&[1, 0][..], &u16::try_from(body.len()).unwrap().to_be_bytes(), &body].concat();
    [&[22, 3, 1][..], &u16::try_from(handshake.len()).unwrap().to_be_bytes(), &handshake].concat()
}

#[test]
fn what_is_old_gets_an_alert_and_no_handshake() {
    let ca = ca();
    let (handle, address) = serve(vec![secure(vec![leaf(&ca, &["a.example"], |_| {})])], None);
    // SSL 3.0, TLS 1.0 and 1.1 with CBC and RC4; TLS 1.2 with RSA key exchange, CBC and RC4 alone.
    for (version, suites) in [
        ([3, 0], &[0x00, 0x2f, 0x00, 0x05][..]),
        ([3, 1], &[0xc0, 0x13, 0x00, 0x2f]),
        ([3, 2], &[0xc0, 0x14, 0x00, 0x35]),
        ([3, 3], &[0x00, 0x05, 0x00, 0x2f, 0x00, 0x9c, 0xc0, 0x13]),
    ] {
        let mut stream = connect(address);
        stream.write_all(&hello(version, suites)).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.first() == Some(&21) && answer[5] == 2, "a fatal alert: {answer:?}");
        assert!(!answer.contains(&22), "no handshake record: {answer:?}");
    }
    // Not TLS at all; a ClientHello without end; silence.
    assert!(!raw(address, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").contains("HTTP/1.1"));
    let mut stream = connect(address);
    let endless = [&[22, 3, 1, 0x40, 0][..], &[1, 0, 0xff, 0xff], &vec![0; 0x3ffc]].concat();
    for _ in 0..10 {
        let _ = stream.write_all(&endless);
    }
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    // A peer can see its end before the worker has counted it.
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while handle.census().handshakes_failed() < 6 {
        assert!(std::time::Instant::now() < deadline, "{} were counted", handle.census().handshakes_failed());
        std::thread::yield_now();
    }
    assert!(Client::new(&ca).get(address, "a.example", "/hello").is_ok());
}

#[test]
fn a_handshake_has_its_time() {
    let ca = ca();
    let mut listener = secure(vec![leaf(&ca, &["a.example"], |_| {})]);
    listener.bounds.handshake = Duration::from_millis(200);
    let (_handle, address) = serve(vec![listener], None);
    assert!(closed(&mut connect(address)));
}

#[test]
fn names_select_certificates() {
    let (ca1, ca2) = (ca(), ca());
    let mut listener =
        secure(vec![leaf(&ca1, &["a.example", "*.w.example"], |_| {}), leaf(&ca2, &["b.example"], |_| {})]);
    let (handle, address) = serve(vec![listener.clone()], None);
    for (ca, name, fine) in [
        (&ca1, "a.example", true),
        (&ca1, "A.Example", true),
        (&ca1, "x.w.example", true),
        (&ca2, "b.example", true),
        (&ca1, "b.example", false),
        (&ca1, "y.x.w.example", false),
        (&ca1, "c.example", false),
    ] {
        assert_eq!(Client::new(ca).get(address, name, "/hello").is_ok(), fine, "{name}");
    }
    let unknown = Client::new(&ca1).get(address, "c.example", "/hello").unwrap_err();
    assert!(unknown.contains("UnrecognisedName") || unknown.contains("UnrecognizedName"), "{unknown}");
    // A host that no certificate covers is refused at load.
    if let Some(tls) = &mut listener.tls {
        tls.hosts = vec!["a.example".into(), "c.example".into()];
    }
    let errors = handle.apply(vec![listener], Drain::default());
    assert!(errors[0].to_string().contains("c.example"), "{}", errors[0]);
}

#[test]
fn alpn() {
    let ca = ca();
    let (_handle, address) = serve(vec![secure(vec![leaf(&ca, &["a.example"], |_| {})])], None);
    let with = |names: &[&str]| Client {
        alpn: names.iter().map(|n| n.as_bytes().to_vec()).collect(),
        ..Client::new(&ca)
    };
    assert!(with(&["http/1.1"]).get(address, "a.example", "/hello").is_ok());
    assert!(with(&["h3"]).get(address, "a.example", "/hello").is_err());
    // h2 is chosen where it is offered: an HTTP/1.1 request is then no HTTP.
    let answer = with(&["h2", "http/1.1"]).get(address, "a.example", "/hello");
    assert!(!answer.is_ok_and(|answer| answer.contains("hello")));
}

#[test]
fn certificates_are_replaced_under_load_and_broken_ones_are_not_served() {
    let ca1 = ca();
    let first = secure(vec![leaf(&ca1, &["a.example"], |_| {})]);
    let (handle, address) = serve(vec![first.clone()], None);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let load = {
        let (stop, config) = (stop.clone(), Client::new(&ca1).config());
        std::thread::spawn(move || {
            let mut served = 0;
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                ask(config.clone(), address, "a.example", "/hello").unwrap();
                served += 1;
            }
            served
        })
    };
    let second = secure(vec![leaf(&ca1, &["a.example"], |_| {})]);
    for n in 0..100 {
        let next = if n % 2 == 0 { &second } else { &first };
        assert!(handle.apply(vec![next.clone()], Drain::default()).is_empty());
        std::thread::sleep(Duration::from_millis(2));
    }
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    assert!(load.join().unwrap() > 5);
    // Broken in every way: the first stays.
    let mismatched =
        Certificate { key: leaf(&ca1, &["a.example"], |_| {}).key, ..leaf(&ca1, &["a.example"], |_| {}) };
    let no_key = Certificate { key: Secret::new(b"nothing".to_vec()), ..leaf(&ca1, &["a.example"], |_| {}) };
    let empty = Certificate { chain: Vec::new(), ..leaf(&ca1, &["a.example"], |_| {}) };
    let expired = leaf(&ca1, &["a.example"], |p| p.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let early = leaf(&ca1, &["a.example"], |p| p.not_before = rcgen::date_time_ymd(2090, 1, 1));
    for bad in [mismatched, no_key, empty, expired, early] {
        let errors = handle.apply(vec![secure(vec![bad])], Drain::default());
        assert!(matches!(errors[..], [StartError::Tls(..)]));
        assert!(!errors[0].to_string().contains("PRIVATE"));
        assert!(Client::new(&ca1).get(address, "a.example", "/hello").is_ok());
    }
    assert!(
        Wire::start(
            vec![secure(vec![])],
            Options { workers: Some(1), ..Options::default() },
            |_| -> Forward { unreachable!() }
        )
        .is_err()
    );
}

#[test]
fn a_client_certificate_on_an_old_connection_is_looked_at_again() {
    let (ca, other) = (ca(), ca());
    let clients = |ca: &Ca, crl: Option<&[u64]>| Clients {
        ca: ca.pem().into_bytes(),
        crl: crl.map(|serials| {
            let revoked = |serial: &u64| rcgen::RevokedCertParams {
                serial_number: (*serial).into(),
                revocation_time: rcgen::date_time_ymd(2020, 1, 1),
                reason_code: None,
                invalidity_date: None,
            };
            let params = rcgen::CertificateRevocationListParams {
                this_update: rcgen::date_time_ymd(2020, 1, 1),
                next_update: rcgen::date_time_ymd(2090, 1, 1),
                crl_number: 1u64.into(),
                issuing_distribution_point: None,
                revoked_certs: serials.iter().map(revoked).collect(),
                key_identifier_method: rcgen::KeyIdMethod::Sha256,
            };
            params.signed_by(&**ca).unwrap().pem().unwrap().into_bytes()
        }),
        mode: ClientMode::Optional,
        san: Vec::new(),
    };
    let made = leaf(&ca, &["a.partner.example"], |p| {
        p.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        p.serial_number = Some(77u64.into());
        p.not_before = rcgen::date_time_ymd(2025, 1, 1);
        p.not_after = rcgen::date_time_ymd(2026, 1, 1);
    });
    // 2025-06-01, and the moment after the last of the certificate.
    let (verified, ended) = (1_748_736_000, 1_767_225_601);
    let certificate = || {
        let leaf = CertificateDer::from_pem_slice(&made.chain).unwrap();
        ClientCert::of_handshake(leaf, Vec::new(), "public", verified).unwrap()
    };
    let good = |clients: Option<&Clients>, now| certificate().still_good(clients, now);
    let (clear, listed) = (clients(&ca, Some(&[1])), clients(&ca, Some(&[1, 77])));
    assert!(good(Some(&listed), verified + 299), "not yet");
    assert!(good(Some(&clear), verified + 300));
    assert!(!good(Some(&listed), verified + 300), "on the list since");
    assert!(!good(Some(&clear), ended), "expired since");
    assert!(!good(Some(&clients(&other, None)), verified + 300), "the authority was replaced");
    assert!(!good(None, verified + 300), "the listener asks nobody any more");
    let again = certificate();
    assert!(again.still_good(Some(&clear), verified + 300));
    assert!(again.still_good(Some(&listed), verified + 500), "and every five minutes from there");
    assert!(!again.still_good(Some(&listed), verified + 600));
}

#[test]
fn client_certificates() {
    let (server_ca, ca, other) = (ca(), ca(), ca());
    let make = |mode, crl: Option<Vec<u8>>| {
        let mut listener = secure(vec![leaf(&server_ca, &["a.example"], |_| {})]);
        if let Some(tls) = &mut listener.tls {
            let san = vec!["spiffe://partner/*".to_owned(), "*.partner.example".to_owned()];
            tls.clients = Some(Clients { ca: ca.pem().into_bytes(), crl, mode, san });
        }
        listener
    };
    let client_eku =
        |p: &mut CertificateParams| p.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let revoked = leaf(&ca, &["spiffe://partner/bad"], |p| {
        client_eku(p);
        p.serial_number = Some(77u64.into());
    });
    let list = |until: i32| {
        let params = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2020, 1, 1),
            next_update: rcgen::date_time_ymd(until, 1, 1),
            crl_number: 1u64.into(),
            issuing_distribution_point: None,
            revoked_certs: vec![rcgen::RevokedCertParams {
                serial_number: 77u64.into(),
                revocation_time: rcgen::date_time_ymd(2020, 1, 1),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        params.signed_by(&*ca).unwrap().pem().unwrap().into_bytes()
    };
    let (handle, address) = serve(vec![make(ClientMode::Required, Some(list(2090)))], None);
    let with = |identity: Option<Certificate>| {
        let config = Client { identity, ..Client::new(&server_ca) }.config();
        let first = ask(config.clone(), address, "a.example", "/tls");
        if first.is_ok() {
            let (_, kind) = ask(config, address, "a.example", "/tls").unwrap();
            assert_eq!(kind, rustls::HandshakeKind::Full, "no resumption with client certificates");
        }
        first.map(|(answer, _)| answer)
    };
    let good = leaf(&ca, &["spiffe://partner/a"], client_eku);
    let answer = with(Some(good.clone())).unwrap();
    assert!(answer.contains(r#"[Uri("spiffe://partner/a")]"#), "{answer}");
    assert!(with(Some(leaf(&ca, &["x.partner.example"], client_eku))).is_ok());
    assert!(with(None).is_err(), "absent");
    let bad = [
        leaf(&other, &["spiffe://partner/a"], client_eku),
        leaf(&ca, &["spiffe://other/a"], client_eku),
        leaf(&ca, &["spiffe://partner/a/b"], client_eku),
        leaf(&ca, &["partner.example"], client_eku),
        leaf(&ca, &[], client_eku),
        leaf(&ca, &["spiffe://partner/a"], |p| {
            p.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        }),
        leaf(&ca, &["spiffe://partner/a"], |p| {
            client_eku(p);
            p.not_after = rcgen::date_time_ymd(2021, 1, 1);
        }),
        revoked,
    ];
    for (n, identity) in bad.iter().enumerate() {
        assert!(with(Some(identity.clone())).is_err(), "{n}");
    }
    assert!(handle.apply(vec![make(ClientMode::Optional, None)], Drain::default()).is_empty());
    assert!(with(None).unwrap().contains("[]"), "optional: absent is fine");
    assert!(with(Some(good.clone())).unwrap().contains("partner/a"));
    assert!(with(Some(bad[0].clone())).is_err(), "optional: bad is not anonymous");
    assert!(handle.apply(vec![make(ClientMode::Required, Some(list(2021)))], Drain::default()).is_empty());
    assert!(with(Some(good)).is_err(), "a list past its next update refuses");
    for broken in [&b""[..], b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let mut listener = make(ClientMode::Required, None);
        if let Some(clients) = listener.tls.as_mut().and_then(|tls| tls.clients.as_mut()) {
            clients.ca = broken.to_vec();
        }
        assert!(matches!(handle.apply(vec![listener], Drain::default())[..], [StartError::Tls(..)]));
    }
}

#[test]
fn upstream_certificates_are_verified() {
    let (ca1, ca2) = (ca(), ca());
    let (_inner, inner) = serve(vec![secure(vec![leaf(&ca1, &["localhost"], |_| {})])], None);
    let to = |ca: &Ca, host: &str| {
        let target = plan::Server { tls: true, host: host.into(), port: inner.port(), weight: 1 };
        let mut plan = plan::Upstream::single("tls", target);
        plan.tls.ca = Some(ca.pem().into_bytes());
        let (handle, address) = serve(vec![listener()], Some(plan));
        let status = get(address, "/x").0;
        drop(handle);
        status
    };
    // The inner handler has no upstream: it panics or fails on `/x`, but it was reached.
    assert_ne!(to(&ca1, "localhost"), 503);
    assert_eq!(to(&ca2, "localhost"), 503, "another authority");
    assert_eq!(to(&ca1, "127.0.0.1"), 503, "another name");
}

/// `vectors/tls.yaml`, against the wire alone.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    sni: String,
    #[serde(default)]
    serves: Option<usize>,
    #[serde(default)]
    clients: Option<String>,
    #[serde(default)]
    brings: Option<String>,
    #[serde(default)]
    offers: Vec<String>,
    #[serde(default)]
    version: Option<String>,
}

#[test]
fn tls_vectors() {
    let (server_ca, client_ca, stranger) = (ca(), ca(), ca());
    let purpose = |client: bool| {
        move |p: &mut CertificateParams| {
            p.extended_key_usages = vec![if client {
                rcgen::ExtendedKeyUsagePurpose::ClientAuth
            } else {
                rcgen::ExtendedKeyUsagePurpose::ServerAuth
            }];
        }
    };
    let revoked = leaf(&client_ca, &["client.example.com"], |p| {
        purpose(true)(p);
        p.serial_number = Some(78u64.into());
    });
    let list = rcgen::CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2020, 1, 1),
        next_update: rcgen::date_time_ymd(2090, 1, 1),
        crl_number: 1u64.into(),
        issuing_distribution_point: None,
        revoked_certs: vec![rcgen::RevokedCertParams {
            serial_number: 78u64.into(),
            revocation_time: rcgen::date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&*client_ca).unwrap().pem().unwrap().into_bytes();
    let brings = |what: &str| match what {
        "none" => None,
        "good" => Some(leaf(&client_ca, &["client.example.com"], purpose(true))),
        "uri" => Some(leaf(&client_ca, &["spiffe://partner/a"], purpose(true))),
        "longer-uri" => Some(leaf(&client_ca, &["spiffe://partner/a/b"], purpose(true))),
        "other-name" => Some(leaf(&client_ca, &["other.example.com"], purpose(true))),
        "server" => Some(leaf(&client_ca, &["client.example.com"], purpose(false))),
        "stranger" => Some(leaf(&stranger, &["client.example.com"], purpose(true))),
        "revoked" => Some(revoked.clone()),
        "expired" => Some(leaf(&client_ca, &["client.example.com"], |p| {
            purpose(true)(p);
            p.not_after = rcgen::date_time_ymd(2021, 1, 1);
        })),
        other => panic!("{other}"),
    };
    let names = ["api.example.com", "*.shop.example.com", "www.shop.example.com"];
    let certificates: Vec<Certificate> = names.iter().map(|name| leaf(&server_ca, &[name], |_| {})).collect();
    let leaves: Vec<_> =
        certificates.iter().map(|one| CertificateDer::from_pem_slice(&one.chain).unwrap()).collect();
    let cases: Vec<Case> = serde_saphyr::from_str(include_str!("../../../vectors/tls.yaml")).unwrap();
    assert!(cases.len() > 25);
    for case in cases {
        let mut listener = secure(certificates.clone());
        let tls = listener.tls.as_mut().unwrap();
        tls.hosts = vec!["api.example.com".into(), "www.shop.example.com".into()];
        tls.clients = case.clients.as_deref().map(|mode| Clients {
            ca: client_ca.pem().into_bytes(),
            crl: Some(list.clone()),
            mode: if mode == "required" { ClientMode::Required } else { ClientMode::Optional },
            san: vec!["client.example.com".into(), "spiffe://partner/*".into()],
        });
        let (_handle, address) = serve(vec![listener], None);
        let mut client = Client {
            identity: case.brings.as_deref().and_then(brings),
            alpn: case.offers.iter().map(|name| name.as_bytes().to_vec()).collect(),
            ..Client::new(&server_ca)
        };
        match case.version.as_deref() {
            Some("1.2") => client.versions = vec![&rustls::version::TLS12],
            Some(_) => client.versions = vec![&rustls::version::TLS13],
            None => {}
        }
        let mut config = (*client.config()).clone();
        config.enable_sni = !case.sni.is_empty();
        let name = if case.sni.is_empty() { "api.example.com" } else { &case.sni };
        // What is shown, whatever the client thinks of it: a certificate for another name would be a mistake of ours.
        let connection =
            ClientConnection::new(Arc::new(config), ServerName::try_from(name.to_owned()).unwrap());
        let mut stream = StreamOwned::new(connection.unwrap(), connect(address));
        let h2 = case.offers.first().is_some_and(|first| first == "h2");
        let request: &[u8] = b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let sent = stream.write_all(if h2 {
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"
        } else {
            request
        });
        let mut first = [0; 9];
        let answered = sent.is_ok() && stream.read_exact(&mut first).is_ok();
        let served = answered.then(|| {
            let shown = stream.conn.peer_certificates().unwrap();
            leaves.iter().position(|leaf| leaf.as_ref() == shown[0].as_ref()).unwrap()
        });
        assert_eq!(served, case.serves, "tls#{}", case.name);
        if answered && h2 {
            assert_eq!(first[3], 4, "tls#{}: SETTINGS come first", case.name);
        } else if answered {
            assert_eq!(&first, b"HTTP/1.1 ", "tls#{}", case.name);
        }
    }
}
