//! `vectors/head.yaml`, `vectors/headers.yaml` and `vectors/forwarded.yaml`, and the laws of the page.

use super::*;
use http::{HeaderName, HeaderValue, Uri};
use portcullis_core::head::SecretRules;
use portcullis_plan::edge::{ClientHeader, TrustedProxies, Via};
use proptest::prelude::*;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A request as a vector tells it; what is absent has an innocent default.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::gates) struct Case {
    pub(in crate::gates) name: String,
    #[serde(default = "get")]
    method: String,
    #[serde(default = "orders")]
    target: String,
    #[serde(default = "http11")]
    version: String,
    #[serde(default = "https")]
    scheme: String,
    /// `Host` lines; over HTTP/2 `:authority` is the first, and `host` lines stand among the headers.
    hosts: Option<Vec<String>>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    sni: Option<String>,
    public_port: Option<u16>,
    #[serde(default = "stranger")]
    peer: String,
    #[serde(default)]
    trusted: Vec<String>,
    #[serde(default)]
    client_header: String,
    #[serde(default)]
    proxy_protocol: bool,
    #[serde(default)]
    websocket: bool,
    pub(in crate::gates) expect: Expect,
}

/// What must come of it. Absent members are not looked at, but for `code`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::gates) struct Expect {
    code: Option<String>,
    reason: Option<String>,
    method: Option<String>,
    path: Option<String>,
    segments: Option<Vec<String>>,
    marks: Option<String>,
    query: Option<String>,
    authority: Option<String>,
    scheme: Option<String>,
    client: Option<String>,
    how: Option<String>,
    malformed: Option<bool>,
    request_id: Option<String>,
    /// Fields of the Head: a value, or null for a field that must be absent.
    head: BTreeMap<String, Option<String>>,
    /// Fields at the upstream, for `gates::headers`.
    pub(in crate::gates) upstream: BTreeMap<String, Option<String>>,
}

impl Case {
    /// The same request from a trusted proxy.
    pub(in crate::gates) fn through_trusted(self) -> Self {
        Self { peer: "10.0.0.1".into(), trusted: vec!["10.0.0.0/24".into()], ..self }
    }
}

fn get() -> String {
    "GET".into()
}
fn orders() -> String {
    "/orders/1".into()
}
fn http11() -> String {
    "1.1".into()
}
fn https() -> String {
    "https".into()
}
fn stranger() -> String {
    "203.0.113.9".into()
}

pub(in crate::gates) fn cases(yaml: &str) -> Vec<Case> {
    serde_saphyr::from_str(yaml).expect("the vectors parse")
}

/// Vectors write bytes as the characters U+0000 to U+00FF.
fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).expect("a byte")).collect()
}

/// Runs the gate. What hyper could not even represent is what it answers 400 to by itself.
pub(in crate::gates) fn run(case: &Case) -> Result<Head, (String, String)> {
    let malformed = |why: String| ("malformed-request".to_owned(), why);
    let http2 = case.version == "2";
    let hosts = case.hosts.clone().unwrap_or_else(|| vec!["api.example.com".into()]);
    let mut target = case.target.clone();
    if http2
        && target != "*"
        && let Some(authority) = hosts.first()
    {
        target = format!("{}://{authority}{target}", case.scheme);
    }
    let mut parts = http::Request::new(()).into_parts().0;
    parts.uri = Uri::try_from(target.as_str()).map_err(|e| malformed(e.to_string()))?;
    parts.method = http::Method::from_bytes(case.method.as_bytes()).map_err(|e| malformed(e.to_string()))?;
    parts.version = if http2 { http::Version::HTTP_2 } else { http::Version::HTTP_11 };
    let host_lines = hosts.iter().filter(|_| !http2).map(|host| ("host".to_owned(), host.clone()));
    for (name, value) in host_lines.chain(case.headers.iter().cloned()) {
        let name = HeaderName::from_bytes(&latin1(&name)).map_err(|e| malformed(e.to_string()))?;
        let value = HeaderValue::from_bytes(&latin1(&value)).map_err(|e| malformed(e.to_string()))?;
        parts.headers.append(name, value);
    }
    let connection = Connection {
        peer: case.peer.parse().unwrap(),
        how: if case.proxy_protocol { How::Proxy } else { How::Peer },
        scheme: if case.scheme == "http" { Scheme::Http } else { Scheme::Https },
        listener: "",
        sni: case.sni.as_deref(),
        public_port: Some(case.public_port.unwrap_or(443)),
        websocket: case.websocket,
        body: false,
    };
    let edge = edge(&case.trusted, &case.client_header);
    let found = client::find(&parts.headers, &connection, &edge.trusted);
    read(parts, &connection, found, &edge, &hosts_table(), &declared).map_err(|stop| match stop {
        Stop::Refusal(refusal) => (refusal.code.text().to_owned(), refusal.reason.into_owned()),
        other => panic!("{other:?}"),
    })
}

/// `/orders/1` takes GET and POST, `/feed` takes GET; nothing else is declared.
fn declared(_: &Authority, path: &CanonicalPath, method: Method) -> bool {
    matches!(
        (path.to_string().as_str(), method),
        ("/orders/1", Method::Get | Method::Post) | ("/feed", Method::Get)
    )
}

fn edge(trusted: &[String], header: &str) -> EdgePolicy {
    let nets = trusted.iter().map(|net| net.parse().unwrap()).collect();
    let header = if header == "forwarded" { ClientHeader::Forwarded } else { ClientHeader::XForwardedFor };
    let mut secrets = SecretRules::new();
    secrets.add_name("sig");
    secrets.add_integer_name("account");
    EdgePolicy {
        trusted: TrustedProxies::new(nets, header).unwrap(),
        secrets,
        via: Via::new("one").unwrap(),
        ..EdgePolicy::default()
    }
}

fn hosts_table() -> HostTable {
    HostTable {
        named: vec![
            ("api.example.com".into(), vec![0]),
            ("other.example.com".into(), vec![1]),
            ("www.example.com".into(), vec![0]),
        ],
        any: Vec::new(),
    }
}

fn compare(case: &Case, got: &Result<Head, (String, String)>) -> Result<(), String> {
    let want = &case.expect;
    let head = match (got, &want.code) {
        (Err((code, reason)), Some(wanted)) => {
            if code != wanted {
                return Err(format!("{code} ({reason}), not {wanted}"));
            }
            return match &want.reason {
                Some(part) if !reason.contains(part) => Err(format!("reason {reason:?} without {part:?}")),
                _ => Ok(()),
            };
        }
        (Err((code, reason)), None) => return Err(format!("refused: {code} ({reason})")),
        (Ok(head), Some(wanted)) => return Err(format!("{wanted} expected, but passed as {}", head.path())),
        (Ok(head), None) => head,
    };
    let client = head.client();
    let facts = [
        ("method", want.method.clone(), head.method().to_string()),
        ("path", want.path.clone(), head.path().to_string()),
        ("query", want.query.clone(), head.query().unwrap_or("(none)").to_owned()),
        ("authority", want.authority.clone(), head.authority().to_string()),
        ("scheme", want.scheme.clone(), head.scheme().text().to_owned()),
        ("client", want.client.clone(), client.address.to_string()),
        ("how", want.how.clone(), client.how.word().to_owned()),
        ("malformed", want.malformed.map(|m| m.to_string()), client.malformed.to_string()),
        ("request_id", want.request_id.clone(), head.client_request_id().unwrap_or("(none)").to_owned()),
        (
            "marks",
            want.marks.clone(),
            format!("{:?}", head.path().segments().map(|s| s.marks).collect::<Vec<_>>()),
        ),
    ];
    for (what, wanted, got) in facts {
        if wanted.as_ref().is_some_and(|wanted| *wanted != got) {
            return Err(format!("{what} is {got:?}, not {wanted:?}"));
        }
    }
    let segments: Vec<String> = head.path().segments().map(|s| s.text.to_owned()).collect();
    if want.segments.as_ref().is_some_and(|wanted| *wanted != segments) {
        return Err(format!("segments are {segments:?}, not {:?}", want.segments));
    }
    for (name, value) in &want.head {
        if head.header(name) != value.as_deref() {
            return Err(format!("{name} is {:?}, not {value:?}", head.header(name)));
        }
    }
    Ok(())
}

fn check(file: &str, yaml: &str) {
    let cases = cases(yaml);
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| compare(case, &run(case)).err().map(|why| format!("{file}#{}: {why}", case.name)))
        .collect();
    let names: std::collections::BTreeSet<_> = cases.iter().map(|case| &case.name).collect();
    assert_eq!(names.len(), cases.len(), "{file}: a name occurs twice");
    assert!(wrong.is_empty(), "\n{}\n({} of {} cases)", wrong.join("\n"), wrong.len(), cases.len());
}

#[test]
fn canonical_vectors_head() {
    check("head", include_str!("../../../vectors/head.yaml"));
}

#[test]
fn canonical_vectors_headers() {
    check("headers", include_str!("../../../vectors/headers.yaml"));
}

#[test]
fn canonical_vectors_forwarded() {
    check("forwarded", include_str!("../../../vectors/forwarded.yaml"));
}

/// The page of past failures promises cases; a case that is renamed or lost breaks the promise.
#[test]
fn canonical_every_case_that_past_failures_names_exists() {
    let page = include_str!("../../../../../docs/past-failures.md");
    let tables = [
        ("head", include_str!("../../../vectors/head.yaml")),
        ("headers", include_str!("../../../vectors/headers.yaml")),
        ("forwarded", include_str!("../../../vectors/forwarded.yaml")),
        ("forward", include_str!("../../../vectors/forward.yaml")),
        ("framing", include_str!("../../../vectors/framing.yaml")),
        ("cors", include_str!("../../../vectors/cors.yaml")),
    ];
    let mut promised = 0;
    for (file, case) in page.split('`').filter_map(|code| code.split_once('#')) {
        let Some((_, table)) = tables.iter().find(|(name, _)| *name == file) else { continue };
        let name = match case.strip_suffix('*') {
            Some(beginning) => format!("name: {beginning}"),
            None => format!("name: {case}"),
        };
        assert!(case == "*" || table.contains(&name), "{file}#{case}");
        promised += 1;
    }
    assert!(promised >= 25, "only {promised} cases are named");
}

fn with_target(target: &str) -> Case {
    Case { target: target.into(), ..innocent() }
}

pub(in crate::gates) fn innocent() -> Case {
    serde_saphyr::from_str("name: innocent\nexpect: {}\n").unwrap()
}

pub(in crate::gates) fn with_headers(headers: &[(&str, &str)]) -> Case {
    let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    Case { headers, ..innocent() }
}

pub(in crate::gates) fn with_request(method: &str, headers: Vec<(String, String)>, websocket: bool) -> Case {
    Case { method: method.into(), headers, websocket, ..innocent() }
}

pub(in crate::gates) fn with_method(method: &str, target: &str) -> Case {
    Case { method: method.into(), ..with_target(target) }
}

#[test]
fn canonical_tells_what_is_allowed_instead_of_an_unknown_method() {
    let refusal = |target: &str| {
        let mut parts = http::Request::new(()).into_parts().0;
        (parts.uri, parts.method) = (Uri::try_from(target).unwrap(), http::Method::TRACE);
        parts.headers.insert(HOST, HeaderValue::from_static("api.example.com"));
        let connection = Connection {
            peer: "203.0.113.9".parse().unwrap(),
            how: How::Peer,
            scheme: Scheme::Https,
            listener: "",
            sni: None,
            public_port: None,
            websocket: false,
            body: false,
        };
        let edge = EdgePolicy::default();
        let found = client::find(&parts.headers, &connection, &edge.trusted);
        match read(parts, &connection, found, &edge, &hosts_table(), &declared) {
            Err(Stop::Refusal(refusal)) => (refusal.code, refusal.headers.get(ALLOW).cloned()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refusal("/orders/1"), (Code::MethodNotAllowed, Some(HeaderValue::from_static("GET, POST"))));
    assert_eq!(refusal("/nowhere"), (Code::OperationUndeclared, None));
}

#[test]
fn canonical_bounds_its_target() {
    let long = format!("/{}", "a".repeat(8191));
    assert!(run(&with_target(&long)).is_ok());
    assert_eq!(run(&with_target(&format!("{long}b"))).err().unwrap().0, "uri-too-long");
}

/// A fragment never reaches anybody: the guard refuses it over HTTP/1.1; over HTTP/2 `http::Uri` cuts it before
/// anybody looks, and what is left is what is matched, authorized and forwarded (§ 5.2).
#[test]
fn canonical_fragment_over_http2_is_cut_before_anybody_looks() {
    let case = Case { version: "2".into(), ..with_target("/public#/../admin") };
    let head = run(&case).unwrap();
    assert_eq!((head.path().to_string().as_str(), head.query()), ("/public", None));
}

#[test]
fn canonical_host_case_does_not_depend_on_how_many_hosts_there_are() {
    for count in [1usize, 2, 99, 100, 101, 500] {
        let mut named: Vec<(Box<str>, Vec<u16>)> =
            (0..count).map(|n| (format!("h{n:03}.example.com").into(), vec![0])).collect();
        named.sort();
        let table = HostTable { named, any: Vec::new() };
        let connection = Connection {
            peer: "203.0.113.9".parse().unwrap(),
            how: How::Peer,
            scheme: Scheme::Https,
            listener: "",
            sni: None,
            public_port: Some(443),
            websocket: false,
            body: false,
        };
        for (host, known) in
            [("H000.Example.COM", true), ("h000.example.com", true), ("x000.example.com", false)]
        {
            let authority = Authority::parse(host).unwrap();
            assert_eq!(judge_authority(&authority, &connection, &table).is_ok(), known, "{host} of {count}");
        }
    }
}

/// Hostile inputs of the URL standard: never a panic, and what passes has one reading.
#[test]
fn canonical_reads_the_url_standards_inputs_in_one_way() {
    let root = std::env::var_os("PORTCULLIS_VECTORS").map_or_else(
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors"),
        std::path::PathBuf::from,
    );
    let Ok(text) = std::fs::read_to_string(root.join("urls/urltestdata.json")) else {
        println!("skipped: no vectors at {}", root.display());
        return;
    };
    let tests: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let (mut passed, mut refused) = (0, 0);
    for test in tests.iter().filter(|test| test.is_object()) {
        let field = |name: &str| test.get(name).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
        for target in [field("input"), field("pathname") + &field("search"), field("href")] {
            match run(&with_target(&target)) {
                Ok(head) => {
                    passed += 1;
                    let printed = head.path().to_string();
                    let again = run(&with_target(&printed)).unwrap();
                    assert_eq!(again.path(), head.path(), "{target:?}");
                    assert!(!printed.contains("//") && !printed.contains("/../"), "{target:?}");
                }
                Err(_) => refused += 1,
            }
        }
        for host in [field("input"), field("host"), field("hostname")] {
            if let Ok(authority) = Authority::parse(&host) {
                assert_eq!(Authority::parse(&authority.to_string()).as_ref(), Ok(&authority), "{host:?}");
            }
        }
    }
    println!("{passed} targets passed, {refused} were refused");
    assert!(passed > 100 && refused > 100, "{passed} passed, {refused} refused");
}

proptest! {
    #[test]
    fn canonical_law_a_head_is_its_own_canonical_form(target in "/[a-zA-Z0-9%/.;,=:@~?&|_-]{0,40}") {
        if let Ok(head) = run(&with_target(&target)) {
            let printed = match head.query() {
                Some(query) => format!("{}?{query}", head.path()),
                None => head.path().to_string(),
            };
            let again = run(&with_target(&printed)).unwrap();
            prop_assert_eq!(again.target(), head.target());
        }
    }

    #[test]
    fn canonical_law_strangers_never_move_the_client(
        name in prop::sample::select(vec!["x-forwarded-for", "forwarded", "x-real-ip", "true-client-ip", "x-client-ip",
            "cf-connecting-ip", "x-forwarded-proto"]),
        value in "[ -~]{0,30}",
    ) {
        if let Ok(head) = run(&with_headers(&[(name, &value)])) {
            prop_assert_eq!(head.client(), Client::peer("203.0.113.9".parse().unwrap()));
            prop_assert_eq!(head.scheme(), Scheme::Https);
            prop_assert_eq!(head.header(name), None);
        }
    }

    #[test]
    fn canonical_law_a_trusted_chain_ends_at_the_first_stranger(hops in prop::collection::vec(0u8..4, 0..8)) {
        // 10.0.0.x is trusted, 192.0.2.x is not.
        let text: Vec<String> =
            hops.iter().map(|h| if *h == 0 { "192.0.2.1".into() } else { format!("10.0.0.{h}") }).collect();
        let case = Case {
            peer: "10.0.0.9".into(),
            trusted: vec!["10.0.0.0/24".into()],
            ..with_headers(&[("x-forwarded-for", &text.join(", "))])
        };
        let client = run(&case).unwrap().client();
        let model = text.iter().rev().find(|hop| hop.starts_with("192")).or(text.first());
        let model = model.map_or("10.0.0.9", String::as_str);
        if text.is_empty() {
            // An empty line is a malformed hop: the peer counts.
            prop_assert!(client.malformed);
        }
        prop_assert_eq!(client.address.to_string(), model);
    }

    #[test]
    fn canonical_never_panics(
        target in "\\PC{0,60}", host in "\\PC{0,30}",
        headers in prop::collection::vec(("[ -~]{0,20}", "\\PC{0,20}"), 0..6),
    ) {
        let headers = headers.into_iter().filter(|(_, v)| v.chars().all(|c| u32::from(c) < 256)).collect();
        let case = Case { hosts: Some(vec![host]), headers, ..with_target(&target) };
        if case.hosts.iter().flatten().all(|h| h.chars().all(|c| u32::from(c) < 256)) {
            let _ = run(&case);
        }
    }
}
