use proptest::prelude::*;

use super::law::{answers, requests, same_requests, saw, yields};
use super::*;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    input: String,
    #[serde(default)]
    bodies: Vec<String>,
    rule: Option<String>,
    status: Option<u16>,
    body_rule: Option<String>,
}

fn cases() -> Vec<(Case, Vec<u8>)> {
    let text = include_str!("../../../vectors/framing.yaml");
    let cases: Vec<Case> = serde_saphyr::from_str(text).expect("framing.yaml");
    // `\xe9` in YAML is a character; the vectors mean the byte.
    cases.into_iter().map(|case| (u8s(&case.input), case)).map(|(bytes, case)| (case, bytes)).collect()
}

fn u8s(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}

#[test]
fn vectors() {
    let cases = cases();
    assert!(cases.len() > 90, "{}", cases.len());
    for (case, input) in cases {
        let whole = yields(vec![input.clone()]);
        let bodies: Vec<String> = whole
            .requests
            .iter()
            .filter_map(|seen| seen.body.clone().map(|body| String::from_utf8(body).unwrap()))
            .collect();
        assert_eq!(bodies, case.bodies, "{}", case.name);
        assert_eq!(whole.rule.map(Rule::name), case.rule.as_deref(), "{}", case.name);
        assert_eq!(whole.rule.map(|rule| rule.code().status()), case.status, "{}", case.name);
        assert_eq!(whole.body_rule.map(Rule::name), case.body_rule.as_deref(), "{}", case.name);
        assert_eq!(whole, saw(&input), "{}", case.name);
        let bytes = input.iter().map(|&b| vec![b]).collect();
        assert_eq!(yields(bytes), whole, "{} byte by byte", case.name);
        for cut in 1..input.len() {
            let (a, b) = input.split_at(cut);
            assert_eq!(yields(vec![a.to_vec(), b.to_vec()]), whole, "{} cut at {cut}", case.name);
        }
    }
}

#[test]
fn sizes() {
    let head = |fields: &str| format!("GET /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes();
    let rule = |input: Vec<u8>| yields(input.chunks(1000).map(<[u8]>::to_vec).collect()).rule;
    assert_eq!(rule(head(&"X: 1\r\n".repeat(99))), None);
    assert_eq!(rule(head(&"X: 1\r\n".repeat(100))), Some(Rule::HeaderSize));
    assert_eq!(rule(head(&"X: 1\r\n".repeat(10_000))), Some(Rule::HeaderSize));
    assert_eq!(rule(head(&format!("X: {}\r\n", "v".repeat(8192)))), None);
    assert_eq!(rule(head(&format!("X: {}\r\n", "v".repeat(8193)))), Some(Rule::HeaderSize));
    let total = |n: usize| head(&format!("X: {}\r\n", "v".repeat(n)).repeat(5));
    assert_eq!(rule(total(6000)), None);
    assert_eq!(rule(total(8000)), Some(Rule::HeaderSize));
    let target = |n: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(n)).into_bytes();
    assert_eq!(rule(target(8191)), None);
    assert_eq!(rule(target(8192)), Some(Rule::TargetSize));
    assert_eq!(rule(b"A".repeat(20_000)), Some(Rule::TargetSize), "a line that never ends");
    assert_eq!(Rule::TargetSize.code().status(), 414);
    assert_eq!(Rule::HeaderSize.code().status(), 431);
}

/// Pieces of requests, put together at random: most are nearly right.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop_oneof![
        Just(&b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"[..]),
        Just(&b"POST /a?b=c HTTP/1.1\r\nHost: a\r\n"[..]),
        Just(&b"Content-Length: 3\r\n"[..]),
        Just(&b"Content-Length: 5\r\n\r\nabcde"[..]),
        Just(&b"Transfer-Encoding: chunked\r\n\r\n"[..]),
        Just(&b"transfer-encoding:chunked\r\n"[..]),
        Just(&b"3\r\nabc\r\n"[..]),
        Just(&b"3;x=y\r\nabc\r\n"[..]),
        Just(&b"0\r\n\r\n"[..]),
        Just(&b"0\r\nX: y\r\n\r\n"[..]),
        Just(&b"\r\n"[..]),
        Just(&b"\n"[..]),
        Just(&b"\r"[..]),
        Just(&b" "[..]),
        Just(&b"X-A: b\r\n"[..]),
        Just(&b"X: \t y \r\n"[..]),
        Just(&b"Upgrade: websocket\r\n"[..]),
        Just(&b"Connection: close\r\n"[..]),
        Just(&b"Expect: 100-continue\r\n"[..]),
        Just(&b"GET / HTTP/1.1\r\n"[..]),
        Just(&b"Host: b\r\n"[..]),
        Just(&b"HTTP/1.1"[..]),
    ];
    let piece = prop_oneof![
        12 => fragment.prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    prop::collection::vec(piece, 1..14).prop_map(|pieces| pieces.concat())
}

/// Well-formed requests one after the other, with a few bytes replaced, inserted or removed.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let request = prop_oneof![
        Just(&b"GET /a HTTP/1.1\r\nHost: a\r\nX-B: c d\r\n\r\n"[..]),
        Just(&b"POST /a?b=c HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\nGET / HTTP/1."[..]),
        Just(&b"PUT /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\na;x=y\r\n0123456789\r\n0\r\nX: y\r\n\r\n"[..]),
        Just(&b"POST /e HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok"[..]),
        Just(&b"\r\nDELETE /d HTTP/1.1\r\nhost:a\r\nContent-Length: 0\r\n\r\n"[..]),
    ];
    let byte = prop_oneof![any::<u8>(), prop::sample::select(&b"\r\n \t:;,0123456789abcdefx+-\0"[..])];
    let change = (any::<prop::sample::Index>(), 0u8..3, byte);
    (prop::collection::vec(request, 1..5), prop::collection::vec(change, 0..3)).prop_map(
        |(requests, changes)| {
            let mut bytes = requests.concat();
            for (at, kind, byte) in changes {
                let at = at.index(bytes.len());
                match kind {
                    0 => bytes[at] = byte,
                    1 => bytes.insert(at, byte),
                    _ => drop(bytes.remove(at)),
                }
            }
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    /// The guard's law.
    #[test]
    fn hyper_yields_what_the_guard_saw(input in prop_oneof![soup(), nearly()], cuts in prop::collection::vec(1usize..40, 0..8)) {
        let mut pieces = Vec::new();
        let mut rest = &input[..];
        for cut in cuts {
            if cut < rest.len() {
                let (a, b) = rest.split_at(cut);
                pieces.push(a.to_vec());
                rest = b;
            }
        }
        pieces.push(rest.to_vec());
        same_requests(&input, pieces);
    }

    #[test]
    fn any_bytes(input in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(yields(vec![input.clone()]), saw(&input));
    }
}

/// What the fuzzer has kept.
#[test]
fn corpora() {
    for (target, law) in [("guard", requests as fn(&[u8])), ("answer", answers)] {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
        let mut inputs = 0;
        for entry in std::fs::read_dir(&folder).expect("the corpus is part of the project") {
            law(&std::fs::read(entry.expect("an entry").path()).expect("an input"));
            inputs += 1;
        }
        assert!(inputs >= 5, "{inputs} inputs in {}", folder.display());
    }
}
