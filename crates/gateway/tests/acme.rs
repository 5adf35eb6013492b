//! Certificates from an honest ACME server (Pebble, where it is installed), for a listener of this program, with a hand on
//! the clock.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and open sockets of their own"
)]

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use http::Response;
use portcullis_core::secret::Secret;
use portcullis_core::time::{Clock, ManualClock, Now, SystemClock};
use portcullis_egress::Door;
use portcullis_gateway::wire::acme::{Book, Keeper, Told, next_key_name};
use portcullis_gateway::wire::{self, Handle, Handler, Options, OutBody, Raw, Refused, Wire, pins};
use portcullis_plan::listen::{Acme, AcmeChallenge, ExternalAccount, Listener, Serve, Tls, TlsVersion};
use portcullis_store::{Options as StoreOptions, Place, Store};
use portcullis_testkit::acme::{Pebble, Terms, free_port};
use portcullis_testkit::{Answer, TempDir, Upstream};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use std::cell::RefCell;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

const HOST: &str = "api.example.com";
const DAY: i64 = 86_400;

/// Answers http-01 as the program does, and everything else with 200.
struct Plain(Arc<Book>);

impl Handler for Plain {
    async fn call(&self, raw: Raw) -> Response<OutBody> {
        let token = raw.parts.uri.path().strip_prefix("/.well-known/acme-challenge/").map(str::to_owned);
        match token.map(|token| self.0.token(&token)) {
            Some(None) => {
                let mut none = Response::new(OutBody::Empty);
                *none.status_mut() = http::StatusCode::NOT_FOUND;
                none
            }
            Some(Some(proof)) => Response::new(OutBody::from(proof.into_bytes())),
            None => Response::new(OutBody::from(b"served".to_vec())),
        }
    }

    fn refuse(&self, _: Refused) -> Response<OutBody> {
        Response::new(OutBody::Empty)
    }
}

/// A listener, an authority, a store and a clock.
struct Place_ {
    pebble: Pebble,
    acme: Acme,
    tls_port: u16,
    http_port: u16,
    store: Store,
    dir: TempDir,
    clock: Arc<ManualClock>,
}

/// What one node has.
struct Node {
    keeper: Keeper,
    book: Arc<Book>,
    handle: Option<Handle>,
    told: RefCell<Vec<String>>,
}

impl Place_ {
    fn new(change: impl FnOnce(&mut Acme), terms: &Terms) -> Option<Self> {
        let (tls_port, http_port) = (free_port(), free_port());
        let pebble = Pebble::start(tls_port, http_port, terms)?;
        let mut acme = Acme {
            directory: pebble.directory(),
            ca: Some(pebble.ca().as_bytes().to_vec()),
            hosts: vec![HOST.to_owned()],
            contact: vec!["mailto:keys@example.com".to_owned()],
            challenge: AcmeChallenge::TlsAlpn01,
            reuse_key: false,
            external_account: None,
        };
        change(&mut acme);
        let dir = TempDir::new("acme");
        let clock = Arc::new(ManualClock::new(SystemClock.now()));
        let place = Place::Folder(dir.path().join("store"));
        let store = Store::open(&place, StoreOptions::default(), clock.now().secs()).unwrap();
        Some(Self { pebble, acme, tls_port, http_port, store, dir, clock })
    }

    /// The listener of a node; only one of them can have the port that the authority asks.
    fn listeners(&self, tls_port: u16, http_port: u16) -> Vec<Listener> {
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut secure = Listener::plain("secure", at(tls_port), vec![Serve::Apis]);
        secure.tls = Some(Tls {
            certificates: Vec::new(),
            acme: Some(self.acme.clone()),
            min: TlsVersion::V1_2,
            clients: None,
            hosts: vec![HOST.to_owned()],
        });
        vec![secure, Listener::plain("challenges", at(http_port), vec![Serve::Acme])]
    }

    fn node(&self, name: &str, listens: bool) -> Node {
        self.node_with(name, listens, Arc::default())
    }

    fn node_with(&self, name: &str, listens: bool, book: Arc<Book>) -> Node {
        let handle = listens.then(|| {
            let options = Options { workers: Some(1), book: book.clone(), ..Options::default() };
            let own = book.clone();
            let made = Wire::start(self.listeners(self.tls_port, self.http_port), options, move |_| {
                Plain(own.clone())
            });
            made.unwrap()
        });
        let keeper = Keeper::new(
            self.acme.clone(),
            book.clone(),
            self.store.clone(),
            Arc::new(Door::new()),
            self.clock.clone(),
            name.to_owned(),
            || 0.5,
        );
        Node { keeper, book, handle, told: RefCell::default() }
    }

    /// The leaf that is served, verified against the authority's root.
    async fn served(&self) -> Result<CertificateDer<'static>, String> {
        let mut roots = RootCertStore::empty();
        let root = self.pebble.root().await.unwrap();
        roots.add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(wire::tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tcp = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.tls_port)).await.unwrap();
        let name = ServerName::try_from(HOST).unwrap();
        let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
        let stream = stream.map_err(|error| error.to_string())?;
        Ok(stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned())
    }

    fn pass(&self, secs: i64) {
        self.clock.set(Now::from_secs(self.clock.now().secs() + secs));
    }
}

impl Node {
    /// Its ports are free again.
    fn end(self) {
        if let Some(handle) = &self.handle {
            handle.stop();
            assert!(handle.wait(Duration::from_secs(15)));
        }
    }

    async fn turn(&mut self) -> Vec<String> {
        let told = &self.told;
        self.keeper
            .turn(&|news: Told<'_>| {
                told.borrow_mut().push(match news {
                    Told::Issued { .. } => "issued".to_owned(),
                    Told::Loaded { .. } => "loaded".to_owned(),
                    Told::Failed { failures, retry_s, why } => {
                        let _ = writeln!(std::io::stderr(), "the authority: {why}");
                        format!("failed {failures} {retry_s}")
                    }
                    Told::Store(why) => format!("store {}", why.text()),
                });
            })
            .await;
        self.told.take()
    }
}

fn hash(leaf: &[u8]) -> String {
    let key = wire::x509::public_key(leaf).unwrap();
    base64::engine::general_purpose::STANDARD.encode(digest(&SHA256, key))
}

/// The first issue, in the handshake of the listener itself; nothing before it, the same after a restart; renewal when a
/// third of the life is left, with another key; and no proof is left lying about.
#[tokio::test]
async fn acme_first_issue_restart_and_renewal_by_tls_alpn() {
    let Some(place) = Place_::new(|_| {}, &Terms::default()) else { return };
    let mut node = place.node("a", true);
    let none = place.served().await.unwrap_err();
    assert!(none.contains("UnrecognisedName") || none.contains("UnrecognizedName"), "{none}");
    assert_eq!(node.turn().await, ["issued"]);
    let first = place.served().await.unwrap();
    assert_eq!(node.turn().await, [""; 0], "once is enough");
    node.end();

    let mut again = place.node("a", true);
    again.keeper.load(|_| {}).await;
    assert_eq!(place.served().await.unwrap(), first, "a restart asks nobody");
    let facts = wire::x509::read(&first).unwrap();
    let third = (facts.not_after - facts.not_before) / 3;
    place.clock.set(Now::from_secs(facts.not_after - third - 10));
    assert_eq!(again.turn().await, [""; 0], "not yet");
    place.pass(20);
    assert_eq!(again.turn().await, ["issued"]);
    let second = place.served().await.unwrap();
    assert_ne!(second, first);
    assert_ne!(hash(&second), hash(&first), "a new key each time");
    assert!(again.handle.is_some());
    let proof = again.book.token("x");
    assert_eq!(proof, None);
    // The private key is nowhere in the clear.
    for entry in std::fs::read_dir(place.dir.path().join("store")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(11).any(|window| window == b"PRIVATE KEY"), "a key lies open in the store");
    }
}

/// On a plaintext listener; with an account at the authority; and a key that stays.
#[tokio::test]
async fn acme_http_01_with_an_external_account_and_a_key_that_stays() {
    const KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let terms = Terms { external_account: Some(("kid-1", KEY)) };
    let bound = |acme: &mut Acme| {
        acme.challenge = AcmeChallenge::Http01;
        acme.reuse_key = true;
        let key = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(KEY).unwrap();
        acme.external_account = Some(ExternalAccount { kid: "kid-1".into(), key: Secret::new(key) });
    };
    let Some(place) = Place_::new(bound, &terms) else { return };
    let mut node = place.node("a", true);
    assert_eq!(node.turn().await, ["issued"]);
    let first = place.served().await.unwrap();
    let facts = wire::x509::read(&first).unwrap();
    place.clock.set(Now::from_secs(facts.not_after - DAY));
    assert_eq!(node.turn().await, ["issued"]);
    let second = place.served().await.unwrap();
    assert_ne!(second, first);
    assert_eq!(hash(&second), hash(&first), "reuse_key");
    drop(place);

    // Without the binding the same authority gives nothing.
    let unbound = |acme: &mut Acme| acme.challenge = AcmeChallenge::Http01;
    let place = Place_::new(unbound, &terms).unwrap();
    let mut node = place.node("a", true);
    assert_eq!(node.turn().await, ["failed 1 5400"]);
}

/// An authority that finds nobody at the name: attempts wait longer each time, over restarts too, and what is served is
/// served on. Once it finds us again, the next attempt succeeds.
#[tokio::test]
async fn acme_failures_back_off_and_the_present_certificate_serves_on() {
    let Some(place) = Place_::new(|_| {}, &Terms::default()) else { return };
    let mut node = place.node("a", true);
    assert_eq!(node.turn().await, ["issued"]);
    let first = place.served().await.unwrap();
    place.pebble.point(HOST, Ipv4Addr::new(127, 0, 0, 99)).unwrap();
    let facts = wire::x509::read(&first).unwrap();
    place.clock.set(Now::from_secs(facts.not_after - DAY));
    assert_eq!(node.turn().await, ["failed 1 5400"]);
    assert_eq!(node.turn().await, [""; 0], "the authority is left alone");
    place.pass(5_399);
    assert_eq!(node.turn().await, [""; 0]);
    place.pass(2);
    assert_eq!(node.turn().await, ["failed 2 9000"]);
    assert_eq!(place.served().await.unwrap(), first, "the old one serves on");
    node.end();
    let mut node = place.node("a", true);
    assert_eq!(node.turn().await, ["loaded"], "a restart does not shorten the wait");
    place.pass(9_001);
    place.pebble.point(HOST, Ipv4Addr::LOCALHOST).unwrap();
    assert_eq!(node.turn().await, ["issued"]);
    assert_ne!(place.served().await.unwrap(), first);
    // An authority that cannot be reached at all is a failure as any other.
    let mut acme = place.acme.clone();
    acme.directory = format!("https://127.0.0.1:{}/dir", free_port());
    let gone = Place_ { acme, ..place };
    let mut node = gone.node("b", false);
    assert_eq!(node.turn().await, ["failed 1 5400"]);
}

/// Two nodes on one store: one orders, the other loads; while one has the lease the other asks nobody.
#[tokio::test]
async fn acme_two_nodes_make_one_order() {
    let Some(place) = Place_::new(|_| {}, &Terms::default()) else { return };
    let mut one = place.node("one", true);
    // The authority asks at one port: what either of them proves is shown there.
    let mut other = place.node_with("other", false, one.book.clone());
    let (a, b) = tokio::join!(one.turn(), other.turn());
    let all: Vec<String> = a.into_iter().chain(b).collect();
    assert_eq!(all.iter().filter(|word| *word == "issued").count(), 1, "{all:?}");
    let mut later = other.turn().await;
    later.extend(one.turn().await);
    let loaded = all.iter().chain(&later).filter(|word| *word == "loaded").count();
    assert_eq!(loaded, 1, "the other one loads the result: {all:?} {later:?}");
    let served = place.served().await.unwrap();

    let facts = wire::x509::read(&served).unwrap();
    place.clock.set(Now::from_secs(facts.not_after - DAY));
    let kept = place.store.kept();
    let lease = format!("acme {}", place.acme.name());
    assert!(kept.lease(&lease, "a third", place.clock.now().secs(), 600).await.unwrap());
    assert_eq!(one.turn().await, [""; 0], "another one is at it");
    assert_eq!(other.turn().await, [""; 0]);
    place.pass(601);
    assert_eq!(one.turn().await, ["issued"], "whoever took it is gone");
    // The authority lives in the present, and so does what it issues.
    place.clock.set(SystemClock.now());
    assert_eq!(other.turn().await, ["loaded"]);
}

/// The backup key that was published is the one that is served once it is promoted, at once.
#[tokio::test]
async fn pins_of_the_served_chain_and_a_promoted_backup() {
    let Some(place) = Place_::new(|acme| acme.reuse_key = true, &Terms::default()) else { return };
    let mut node = place.node("a", true);
    assert_eq!(node.turn().await, ["issued"]);
    let leaf = place.served().await.unwrap();
    let listener = &place.listeners(place.tls_port, place.http_port)[0];
    let backup = pins::backup(&place.store, listener, place.clock.now().secs()).await.unwrap();
    let again = pins::backup(&place.store, listener, place.clock.now().secs()).await.unwrap();
    assert_eq!(backup, again, "made once");
    let tls = listener.tls.as_ref().unwrap();
    let shown = node.handle.as_ref().unwrap().certificates().remove(0).1;
    let pins = pins::of(&[shown], tls, Some(&backup)).remove(0);
    assert_eq!(pins.host, HOST);
    let of = |role| {
        pins.keys.iter().filter(|pin| pin.role == role).map(|pin| &pin.spki_sha256).collect::<Vec<_>>()
    };
    assert_eq!(of(pins::Role::Current), [&hash(&leaf)]);
    assert_eq!(of(pins::Role::Backup), [&backup]);

    let promoted = pins::promote(&place.store, listener, &place.acme.hosts).await.unwrap();
    assert_eq!(promoted.spki_sha256, backup);
    let now = place.clock.now().secs();
    place.store.kept().put(&next_key_name(&place.acme), promoted.key.expose().as_bytes(), now).await.unwrap();
    pins::forget_backup(&place.store, listener).await.unwrap();
    assert_eq!(node.turn().await, ["issued"], "not when it is due, but now");
    assert_eq!(hash(&place.served().await.unwrap()), backup);
    let next = pins::backup(&place.store, listener, now).await.unwrap();
    assert_ne!(next, backup, "and there is another one behind it");
    // It stays, for `reuse_key` says so.
    let facts = wire::x509::read(&place.served().await.unwrap()).unwrap();
    place.clock.set(Now::from_secs(facts.not_after - DAY));
    assert_eq!(node.turn().await, ["issued"]);
    assert_eq!(hash(&place.served().await.unwrap()), backup);
}

/// An authority with renewal information (RFC 9773): it wants us to renew now, though two thirds of the life are left,
/// and is told which certificate is replaced. Pebble does not know that part; a relay in front of it does.
#[tokio::test]
async fn acme_renews_when_the_authority_says_so() {
    let Some(place) = Place_::new(|_| {}, &Terms::default()) else { return };
    let relay = Relay::start(&place.pebble);
    let place = {
        let mut acme = place.acme.clone();
        acme.directory = relay.directory();
        Place_ { acme, ..place }
    };
    let mut node = place.node("a", true);
    assert_eq!(node.turn().await, ["issued"]);
    let first = place.served().await.unwrap();
    relay.suggest(None);
    assert_eq!(node.turn().await, [""; 0], "nothing is suggested");
    let now = place.clock.now().secs();
    relay.suggest(Some((now + 2 * DAY, now + 4 * DAY)));
    place.pass(7 * 3_600);
    assert_eq!(node.turn().await, [""; 0], "in three days");
    place.pass(3 * DAY);
    assert_eq!(node.turn().await, ["issued"]);
    assert_ne!(place.served().await.unwrap(), first);
    let asked = relay.asked();
    let names = asked.iter().filter_map(|target| target.strip_prefix("/ari/")).collect::<Vec<_>>();
    assert!(!names.is_empty() && names.iter().all(|name| name.split('.').count() == 2), "{names:?}");
    assert_eq!(relay.replaced(), [names[0]], "the order names what it replaces");
}

/// Speaks for Pebble under its own certificate, and adds renewal information.
struct Relay {
    upstream: Upstream,
    window: Arc<std::sync::Mutex<Option<(i64, i64)>>>,
    replaced: Arc<std::sync::Mutex<Vec<String>>>,
}

impl Relay {
    fn start(pebble: &Pebble) -> Self {
        let (address, config) = (pebble.address(), Arc::new(pebble.authority().client_config()));
        let window: Arc<std::sync::Mutex<Option<(i64, i64)>>> = Arc::default();
        let replaced: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
        let (suggested, orders) = (window.clone(), replaced.clone());
        let tls = pebble.authority().server_config(&["127.0.0.1"]);
        let upstream = Upstream::start_tls(tls, move |seen| {
            if seen.target.starts_with("/ari/") {
                let window = *suggested.lock().unwrap();
                let Some((start, end)) = window else { return Answer::status(404) };
                let text = |secs: i64| portcullis_vault::notices::rfc3339(secs);
                let body =
                    serde_json::json!({ "suggestedWindow": { "start": text(start), "end": text(end) } });
                return Answer::json(body.to_string()).header("Retry-After", "21600");
            }
            let mut fields: Vec<(String, String)> = seen.message.headers.clone();
            fields.retain(|(name, _)| {
                !["content-length", "connection", "transfer-encoding"]
                    .contains(&name.to_ascii_lowercase().as_str())
            });
            let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            let bytes = raw(&seen.method, &seen.target, &fields, &seen.message.body);
            let (config, host) = (config.clone(), seen.header("host").unwrap().to_owned());
            // Pebble names itself by the Host that it is asked by, so that what is signed is true.
            let answer = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime
                    .block_on(portcullis_testkit::client::send_tls(address, "127.0.0.1", config, &bytes))
                    .unwrap()
            })
            .join()
            .unwrap();
            let mut body = answer.message.body.clone();
            if seen.target == "/dir" {
                let mut directory: Value = serde_json::from_slice(&body).unwrap();
                directory["renewalInfo"] = format!("https://{host}/ari").into();
                body = directory.to_string().into_bytes();
            }
            let payload = serde_json::from_slice::<Value>(&seen.message.body).ok();
            let payload = payload.and_then(|jws| {
                let text = jws["payload"].as_str()?;
                let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).ok()?;
                serde_json::from_slice::<Value>(&bytes).ok()
            });
            if let Some(replaces) = payload.as_ref().and_then(|payload| payload["replaces"].as_str())
                && answer.status == 201
            {
                orders.lock().unwrap().push(replaces.to_owned());
                let mut order: Value = serde_json::from_slice(&body).unwrap();
                order["replaces"] = replaces.into();
                body = order.to_string().into_bytes();
            }
            let mut out = Answer::status(answer.status).body(body);
            for (name, value) in &answer.message.headers {
                if !["content-length", "connection", "transfer-encoding"]
                    .contains(&name.to_ascii_lowercase().as_str())
                {
                    out = out.header(name, value);
                }
            }
            out
        });
        Self { upstream, window, replaced }
    }

    fn directory(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.upstream.address().port())
    }

    fn suggest(&self, window: Option<(i64, i64)>) {
        *self.window.lock().unwrap() = window;
    }

    fn asked(&self) -> Vec<String> {
        self.upstream.requests().into_iter().map(|seen| seen.target).collect()
    }

    fn replaced(&self) -> Vec<String> {
        self.replaced.lock().unwrap().clone()
    }
}

fn raw(method: &str, target: &str, fields: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n");
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if method == "POST" {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    [text.as_bytes(), body].concat()
}
