//! The listeners themselves: certificates that come, go and are pinned; what is said without TLS; sockets of the service
//! manager.

use crate::world::{BINARY, SPEC, World, items};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_testkit::acme::{Pebble, Terms, free_port};
use portcullis_testkit::certs::Authority;
use portcullis_testkit::client::send_tls;
use portcullis_testkit::program::Signal;
use portcullis_testkit::{Algorithm, Connection, Key, Program, Response, TempDir, Upstream, request, send};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const HOST: &str = "api.example.com";

/// A configuration with an API for anybody, after these lines.
fn with_api(lines: &str, upstream: &str) -> String {
    format!(
        "{lines}admin: 127.0.0.1:0\ndrain: {{ delay: 0s, timeout: 5s }}\nlimits: {{ global: off, address: off, key: off, user: off }}\n\
         issuers:\n\x20 corp: {{ url: \"https://login.example.com/\", discovery: {{ file: issuer.json }}, algorithms: [ES256] }}\n\
         apis:\n\x20 shop:\n\x20   spec: openapi.yaml\n\x20   upstream: {upstream}\n\
         \x20   authenticate: {{ jwt: {{ issuer: corp, audience: shop }}, api_key: {{ env: live }} }}\n\
         \x20   anonymous: [{{ allow: listItems, because: the catalogue is public, until: 2099-12-31 }}]\n"
    )
}

/// Keys of an issuer that nobody has tokens of.
fn keys() -> String {
    let key = Key::generate(Algorithm::Es256, "key-1").jwk();
    serde_json::json!({ "keys": [key] }).to_string()
}

fn spki(leaf: &[u8]) -> String {
    STANDARD.encode(digest(&SHA256, portcullis_gateway::wire::x509::public_key(leaf).unwrap()))
}

fn trusting(pem: &str) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(root.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

/// The chain that is served for a name.
async fn chain(address: SocketAddr, name: &str, config: &Arc<ClientConfig>) -> Vec<CertificateDer<'static>> {
    let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let stream = tokio_rustls::TlsConnector::from(config.clone()).connect(name, tcp).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap().iter().map(|one| one.clone().into_owned()).collect()
}

fn roles<'v>(pins: &'v Value, role: &str) -> Vec<&'v str> {
    let keys = pins["keys"].as_array().unwrap();
    keys.iter().filter(|key| key["role"] == role).map(|key| key["spki_sha256"].as_str().unwrap()).collect()
}

/// From nothing to a certificate of a real ACME server, pins that say what is served, and a backup key that becomes the
/// key that was published.
#[tokio::test]
async fn a_certificate_comes_by_acme_and_its_pins_are_those_of_the_served_chain() {
    let (secure, plain) = (free_port(), free_port());
    let Some(pebble) = Pebble::start(secure, plain, &Terms::default()) else { return };
    let upstream = Upstream::start(|_| items());
    let dir = Arc::new(TempDir::new("acme"));
    let lines = format!(
        "listen:\n\
         \x20 - name: public\n\
         \x20   address: \"127.0.0.1:{secure}\"\n\
         \x20   publish_pins: true\n\
         \x20   tls:\n\
         \x20     acme:\n\
         \x20       directory: {}\n\
         \x20       hosts: [{HOST}]\n\
         \x20       contact: [keys@example.com]\n\
         \x20       reuse_key: true\n\
         \x20       ca: {{ file: pebble.pem }}\n\
         \x20 - {{ name: plain, address: \"127.0.0.1:{plain}\", serve: [acme, docs] }}\n\
         store: {{ folder: store }}\n",
        pebble.directory()
    );
    dir.write("portcullis.yaml", with_api(&lines, &upstream.url()));
    dir.write("openapi.yaml", SPEC);
    dir.write("issuer.json", keys());
    dir.write("pebble.pem", pebble.ca());
    let mut gate = Program::serve_in(BINARY, dir.clone()).unwrap();
    gate.stderr_until(|text| text.contains("\"acme.issued\"")).unwrap();
    let trust = trusting(&pebble.root().await.unwrap());
    let ask = async |path: &str| -> Response {
        send_tls(gate.public(), HOST, trust.clone(), &request("GET", path, &[("Host", HOST)], b""))
            .await
            .unwrap()
    };
    assert_eq!(ask("/items").await.status, 200);
    let leaf = spki(&chain(gate.public(), HOST, &trust).await[0]);
    let shown = ask("/.well-known/portcullis/pins").await.json();
    assert_eq!((shown["host"].as_str().unwrap(), roles(&shown, "current")), (HOST, vec![leaf.as_str()]));
    let backup = roles(&shown, "backup")[0].to_owned();
    let verb = |arguments: &[&str]| Program::run(BINARY, dir.path(), arguments).unwrap();
    let pins = verb(&["keys", "pins", "--listener", "public", "--format", "json"]);
    assert_eq!(pins.code, Some(0), "{}", pins.stderr);
    let said: Value = serde_json::from_str(&pins.stdout).unwrap();
    assert_eq!(said["keys"], shown["keys"]);
    assert_eq!(verb(&["keys", "pins", "--listener", "plain"]).code, Some(2), "no TLS there");
    assert_eq!(verb(&["keys", "pins", "--listener", "nowhere"]).code, Some(3));

    let promoted = verb(&["keys", "promote-backup", "--listener", "public"]);
    assert_eq!((promoted.code, promoted.stdout.trim()), (Some(0), backup.as_str()), "{}", promoted.stderr);
    assert_eq!(gate.terminate().unwrap().code, Some(0));
    let gate = Program::serve_in(BINARY, dir.clone()).unwrap();
    gate.stderr_until(|text| text.contains("\"acme.issued\"")).unwrap();
    assert_eq!(spki(&chain(gate.public(), HOST, &trust).await[0]), backup, "the key that was published");
    let metrics = send(gate.admin(), &request("GET", "/metrics", &[], b"")).await.unwrap().text();
    assert!(
        metrics.contains(
            "portcullis_tls_handshakes_total{version=\"1.3\",group=\"X25519MLKEM768\",result=\"done\"}"
        ),
        "{metrics}"
    );
}

/// Certificates by file: what the verb says is what is served, with the root where it is in the chain; and the backup
/// comes out as a key and a request for it, once.
#[tokio::test]
async fn pins_of_a_certificate_by_file_and_a_backup_in_files() {
    let lines = "listen: { name: public, address: \"127.0.0.1:0\", publish_pins: true, tls: { cert: { file: cert.pem }, key: { file: key.pem } } }\n\
                 store: { folder: store }\n";
    let authority = Authority::new();
    let certificate = authority.server(&[HOST, "www.example.com"]);
    let whole = format!("{}{}", certificate.cert_pem, authority.pem());
    let files = [("cert.pem", whole.as_str()), ("key.pem", certificate.key_pem.as_str())];
    let upstream = Upstream::start(|_| items());
    let config = with_api(lines, &upstream.url());
    let world = World::behind(upstream, &config, &files);
    let trust = Arc::new(authority.client_config());
    let served = chain(world.public(), HOST, &trust).await;
    assert_eq!(served.len(), 2);
    let dir = world.program.dir().path().to_owned();
    let verb = |arguments: &[&str]| Program::run(BINARY, &dir, arguments).unwrap();
    let said: Value = serde_json::from_str(&verb(&["keys", "pins", "--format", "json"]).stdout).unwrap();
    assert_eq!(roles(&said, "current"), [spki(&served[0])]);
    assert_eq!(roles(&said, "root"), [spki(&served[1])]);
    let backup = roles(&said, "backup")[0].to_owned();
    let text = verb(&["keys", "pins"]);
    assert!(text.stdout.contains(&backup) && text.stderr.contains("never a leaf"), "{}", text.stdout);
    let asked = request("GET", "/.well-known/portcullis/pins", &[("Host", HOST)], b"");
    let shown = send_tls(world.public(), HOST, trust, &asked).await.unwrap();
    assert_eq!(shown.json()["keys"], said["keys"]);

    let without = verb(&["keys", "promote-backup"]);
    assert_eq!(without.code, Some(2), "{}", without.stderr);
    let promote = ["keys", "promote-backup", "--key-file", "next.pem", "--csr-file", "next.csr"];
    let promoted = verb(&promote);
    assert_eq!((promoted.code, promoted.stdout.trim()), (Some(0), backup.as_str()), "{}", promoted.stderr);
    let openssl = |arguments: &[&str]| {
        let out = Command::new("openssl").args(arguments).current_dir(&dir).output().unwrap();
        (out.status.success(), out.stdout)
    };
    let key = openssl(&["pkey", "-in", "next.pem", "-pubout", "-outform", "DER"]);
    assert_eq!(STANDARD.encode(digest(&SHA256, &key.1)), backup, "as openssl reads it");
    let request =
        String::from_utf8(openssl(&["req", "-in", "next.csr", "-noout", "-verify", "-text"]).1).unwrap();
    assert!(request.contains("DNS:api.example.com") && request.contains("DNS:www.example.com"), "{request}");
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(dir.join("next.pem")).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    assert_ne!(verb(&promote).code, Some(0), "there is none behind it, and the files are there");
}

/// An API is not served without TLS and nobody is redirected to it: a client that follows would show its credential twice.
#[tokio::test]
async fn an_api_without_tls_is_refused_and_documentation_is_elsewhere() {
    let lines = "listen:\n\
                 \x20 - { name: public, address: \"127.0.0.1:0\", tls: { cert: { file: cert.pem }, key: { file: key.pem } } }\n\
                 \x20 - { name: plain, address: \"127.0.0.1:0\", serve: [acme, docs] }\n\
                 store: { folder: store }\n";
    let upstream = Upstream::start(|_| items());
    let config = with_api(lines, &upstream.url());
    let world = World::behind(upstream, &config, &[]);
    let plain = world.program.listener("plain");
    let key = Program::run(
        BINARY,
        world.program.dir().path(),
        &["keys", "create", "--name", "n", "--owner", "acme", "--scope", "orders:read", "--api", "shop"],
    )
    .unwrap();
    assert_eq!(key.code, Some(0), "{}", key.stderr);
    let key = key.stdout.trim().to_owned();
    let id = key.split('_').nth(2).unwrap().to_owned();
    type Fields<'a> = Vec<(&'a str, &'a str)>;
    let refused: [(&str, &str, Fields<'_>); 8] = [
        ("GET", "/items", vec![]),
        ("GET", "/items?limit=3", vec![]),
        ("POST", "/guide", vec![]),
        ("GET", "/guide", vec![("Authorization", "Bearer abc")]),
        ("GET", "/guide", vec![("Cookie", "session=1")]),
        ("GET", "/guide", vec![("X-API-Key", &key)]),
        ("GET", "/guide/../items", vec![]),
        ("DELETE", "/items", vec![]),
    ];
    for (method, target, fields) in refused {
        let mut connection = Connection::open(plain).await.unwrap();
        connection.write(&request(method, target, &fields, b"")).await.unwrap();
        let answer = connection.response().await.unwrap();
        assert_eq!(
            (answer.status, answer.problem().as_deref()),
            (403, Some("https-required")),
            "{method} {target}"
        );
        assert!(answer.header("location").is_none());
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(connection.rest().await.unwrap(), b"", "closed");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert!(answer.header("strict-transport-security").is_none(), "not without TLS (RFC 6797 § 7.2)");
    }
    let note = world.program.stderr_until(|text| text.contains("\"credential.on_plaintext\"")).unwrap();
    assert!(
        note.lines().any(|line| line.contains("credential.on_plaintext") && line.contains(&id)),
        "{note}"
    );
    assert!(!note.contains(&key), "the key itself is nowhere");
    let moved = send(plain, &request("GET", "/guide/start?a=1", &[("Host", "docs.example.com:8080")], b""))
        .await
        .unwrap();
    assert_eq!(
        (moved.status, moved.header("location")),
        (308, Some("https://docs.example.com/guide/start?a=1"))
    );
    let unknown = send(plain, &request("GET", "/.well-known/acme-challenge/abc", &[], b"")).await.unwrap();
    assert_eq!(unknown.status, 404, "no order in progress");
    assert!(world.upstream.requests().is_empty(), "nothing reached the upstream");
}

/// The files of a certificate are replaced a hundred times while clients come and go: none is turned away. A replacement
/// that is broken is not served, and somebody is told.
#[test]
fn a_hundred_certificates_by_file_under_load_and_a_broken_one_changes_nothing() {
    let lines = "listen: { name: public, address: \"127.0.0.1:0\", tls: { cert: { file: both.pem }, key: { file: both.pem } } }\n\
                 store: { folder: store }\n";
    let upstream = Upstream::start(|_| items());
    let config = with_api(lines, &upstream.url());
    let world = World::behind(upstream, &config, &[]);
    let (address, trust) = (world.public(), Arc::new(world.authority.client_config()));
    let (stop, served): (Arc<AtomicBool>, Arc<AtomicUsize>) = Default::default();
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (stop, served, trust) = (stop.clone(), served.clone(), trust.clone());
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                while !stop.load(Ordering::SeqCst) {
                    let asked = request("GET", "/items", &[], b"");
                    let answer =
                        runtime.block_on(send_tls(address, "localhost", trust.clone(), &asked)).unwrap();
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    served.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let names = ["localhost", crate::world::HOST, "strict.example.com"];
    let reloads = |text: &str| text.matches("\"plan.reloaded\"").count();
    let mut last = String::new();
    for number in 1..=100 {
        let next = world.authority.server(&names);
        last = spki(&next.leaf());
        world.program.dir().replace("both.pem", format!("{}{}", next.cert_pem, next.key_pem));
        world.program.signal(Signal::Hup).unwrap();
        world.program.stderr_until(|text| reloads(text) >= number).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let serves = || spki(&runtime.block_on(chain(address, "localhost", &trust))[0]);
    assert_eq!(serves(), last);
    // A key that is another's: the pair does not fit.
    let (one, other) = (world.authority.server(&names), world.authority.server(&names));
    world.program.dir().replace("both.pem", format!("{}{}", one.cert_pem, other.key_pem));
    world.program.signal(Signal::Hup).unwrap();
    world.program.stderr_until(|text| text.contains("\"tls.reload_failed\"")).unwrap();
    assert_eq!(serves(), last, "the old one stays");
    stop.store(true, Ordering::SeqCst);
    for thread in load {
        thread.join().unwrap();
    }
    assert!(served.load(Ordering::SeqCst) >= 100, "{served:?} requests were served meanwhile");
}

/// `systemd:NAME`: the socket was opened by somebody else, before the program was.
#[tokio::test]
async fn a_socket_of_the_service_manager_is_served() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let upstream = Upstream::start(|_| items());
    let dir = TempDir::new("systemd");
    let lines = "listen: { name: public, address: \"systemd:web\", loosen: [{ allow: plaintext, because: a test, until: 2099-12-31 }] }\n\
                 store: { folder: store }\n";
    dir.write("portcullis.yaml", with_api(lines, &upstream.url()));
    dir.write("openapi.yaml", SPEC);
    dir.write("issuer.json", keys());
    // As sd_listen_fds(3) has it: descriptor 3, and the process that it is for.
    let script = "export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web; exec \"$0\" serve --ready-file ready.json 3<&0 0</dev/null";
    let mut gate = Command::new("sh")
        .args(["-c", script, BINARY])
        .current_dir(dir.path())
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !dir.path().join("ready.json").exists() && Instant::now() < deadline {
        assert!(gate.try_wait().unwrap().is_none(), "it ended");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let ready: Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("ready.json")).unwrap()).unwrap();
    assert_eq!(ready["listeners"]["public"], address.to_string());
    for _ in 0..8 {
        let answer = send(address, &request("GET", "/items", &[("Host", HOST)], b"")).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let _ = gate.kill();
    let _ = gate.wait();
    // Without it, nothing listens.
    let end = Program::run(BINARY, dir.path(), &["serve"]).unwrap();
    assert_eq!(end.code, Some(1));
    assert!(end.stderr.contains("opened no socket named `web`"), "{}", end.stderr);
}

/// Without a usable CA for clients' certificates, or with none in the file, nothing listens: no platform roots instead.
#[test]
fn a_listener_whose_client_authority_is_missing_does_not_start() {
    let authority = Authority::new();
    let certificate = authority.server(&["localhost"]);
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (name, ca) in [
        ("missing", None),
        ("empty", Some("")),
        ("broken", Some(broken)),
        ("a leaf's key", Some(certificate.key_pem.as_str())),
    ] {
        let dir = TempDir::new("ca");
        let lines = "listen: { name: public, address: \"127.0.0.1:0\", tls: { cert: { file: cert.pem }, key: { file: key.pem }, clients: { ca: { file: ca.pem } } } }\n\
                     store: { folder: store }\n";
        dir.write("portcullis.yaml", with_api(lines, "http://127.0.0.1:9"));
        dir.write("openapi.yaml", SPEC);
        dir.write("issuer.json", keys());
        dir.write("cert.pem", &certificate.cert_pem);
        dir.write("key.pem", &certificate.key_pem);
        if let Some(ca) = ca {
            dir.write("ca.pem", ca);
        }
        let end = Program::run(BINARY, dir.path(), &["serve"]).unwrap();
        assert_eq!(end.code, Some(1), "{name}: {}", end.stderr);
        assert!(end.stderr.contains("nothing listens"), "{name}: {}", end.stderr);
    }
}
