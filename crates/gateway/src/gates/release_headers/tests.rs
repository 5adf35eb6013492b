//! Tables for § 12, and the law that an answer carries ours whatever the upstream said.

use super::*;
use crate::gates::canonical::tests::{run, with_headers};
use portcullis_core::head::Authority;
use portcullis_core::time::Now;
use portcullis_plan::edge::{Browsers, Names};
use proptest::prelude::*;

fn policy() -> HeaderPolicy {
    let response = ResponseHeaderPolicy {
        admitted: Names::new([HeaderName::from_static("x-total-count")]),
        cookies: true,
        upstreams: vec![
            (Scheme::Https, Authority::parse("shop.internal:8443").unwrap()),
            (Scheme::Http, Authority::parse("10.0.0.5").unwrap()),
        ],
        ..ResponseHeaderPolicy::default()
    };
    HeaderPolicy { hosts: vec!["api.example.com".into()], response, ..HeaderPolicy::default() }
}

fn map(lines: &[(&str, &[u8])]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_bytes(value).unwrap());
    }
    map
}

struct Given<'a> {
    policy: &'a HeaderPolicy,
    proof: Proof<'a>,
    judged: bool,
}

fn released(upstream: &HeaderMap, given: &Given<'_>) -> HeaderMap {
    let head = run(&with_headers(&[])).unwrap();
    release(
        upstream,
        Release {
            head: &head,
            policy: given.policy,
            declared: &[HeaderName::from_static("x-declared")],
            proof: given.proof,
            body_judged: given.judged,
            content_type: Some(HeaderValue::from_static("application/json")),
            allowed_origin: None,
            id: RequestId::new(Now::from_micros(0), [0; 10]),
        },
    )
    .unwrap()
    .headers
}

fn open(upstream: &[(&str, &[u8])]) -> HeaderMap {
    released(&map(upstream), &Given { policy: &policy(), proof: Proof::None, judged: false })
}

const OURS: [&str; 7] = [
    "strict-transport-security",
    "x-content-type-options",
    "x-frame-options",
    "content-security-policy",
    "referrer-policy",
    "permissions-policy",
    "cross-origin-resource-policy",
];

#[test]
fn release_begins_with_nothing_and_adds_ours() {
    let headers = open(&[]);
    for name in OURS {
        assert!(headers.contains_key(name), "{name}");
    }
    assert_eq!(headers.get("strict-transport-security").unwrap(), "max-age=63072000; includeSubDomains");
    assert_eq!(headers.get("content-security-policy").unwrap(), "default-src 'none'; frame-ancestors 'none'");
    assert_eq!(headers.get("x-request-id").unwrap(), "00000000-0000-7000-8000-000000000000");
    assert_eq!(headers.get("cache-control").unwrap(), "no-cache");
    // Ours, the media type and caching; nothing else, and no Server.
    assert_eq!(headers.len(), OURS.len() + 3);
}

#[test]
fn release_has_hsts_over_tls_only() {
    let mut headers = HeaderMap::new();
    of_our_own(&mut headers, None, Scheme::Http, RequestId::new(Now::from_micros(0), [0; 10]));
    assert!(!headers.contains_key("strict-transport-security"));
    assert_eq!(headers.get("cache-control").unwrap(), "no-store");
    assert_eq!(headers.get("x-frame-options").unwrap(), "DENY");
    let hsts = ResponseHeaderPolicy::hsts(63_072_000, true).unwrap();
    let policy = ResponseHeaderPolicy { hsts, ..ResponseHeaderPolicy::default() };
    of_our_own(&mut headers, Some(&policy), Scheme::Https, RequestId::new(Now::from_micros(0), [0; 10]));
    assert!(headers.get("strict-transport-security").unwrap().to_str().unwrap().ends_with("preload"));
}

#[test]
fn release_admits_the_fixed_list_and_what_is_named() {
    let given: [(&str, &[u8]); 18] = [
        ("content-language", b"de"),
        ("content-range", b"bytes 0-1/2"),
        ("accept-ranges", b"bytes"),
        ("etag", b"\"a\""),
        ("last-modified", b"Wed, 21 Oct 2015 07:28:00 GMT"),
        ("expires", b"0"),
        ("cache-control", b"max-age=60"),
        ("age", b"3"),
        ("vary", b"Accept"),
        ("retry-after", b"3"),
        ("allow", b"GET"),
        ("www-authenticate", b"Bearer"),
        ("ratelimit-policy", b"x"),
        ("deprecation", b"@1"),
        ("sunset", b"x"),
        ("idempotency-replayed", b"true"),
        ("x-declared", b"v"),
        ("x-total-count", b"7"),
    ];
    let headers = open(&given);
    for (name, value) in given {
        assert_eq!(headers.get(name).map(HeaderValue::as_bytes), Some(value), "{name}");
    }
}

#[test]
fn release_drops_all_else() {
    let names = [
        "server",
        "x-powered-by",
        "x-aspnet-version",
        "x-aspnetmvc-version",
        "x-runtime",
        "x-debug-token",
        "x-envoy-upstream",
        "via",
        "x-backend-server",
        "alt-svc",
        "refresh",
        "sourcemap",
        "nel",
        "report-to",
        "connection",
        "keep-alive",
        "transfer-encoding",
        "trailer",
        "upgrade",
        "access-control-allow-origin",
        "access-control-allow-credentials",
        "access-control-allow-private-network",
        "portcullis-identity",
        "x-accel-redirect",
        "x-whatever",
        "date",
        "clear-site-data",
        "proxy-authenticate",
        "content-security-policy-report-only",
    ];
    let given: Vec<(&str, &[u8])> = names.iter().map(|name| (*name, b"theirs".as_slice())).collect();
    let policy = HeaderPolicy {
        response: ResponseHeaderPolicy {
            // Not even when somebody names them, but for the one that is nobody's.
            admitted: names
                .iter()
                .filter(|n| **n != "x-whatever")
                .map(|n| HeaderName::from_static(n))
                .collect(),
            ..policy().response
        },
        ..policy()
    };
    let headers = released(&map(&given), &Given { policy: &policy, proof: Proof::None, judged: false });
    assert!(headers.values().all(|value| value != "theirs"), "{headers:?}");
    assert_eq!(headers.len(), OURS.len() + 3);
}

#[test]
fn release_drops_bytes_and_doubles_that_have_two_readings() {
    let headers = open(&[
        ("x-declared", b"caf\xe9"),
        ("etag", b"\"a\""),
        ("etag", b"\"b\""),
        ("location", b"/a"),
        ("location", b"/b"),
        ("content-disposition", b"attachment; filename=\"caf\xc3\xa9\""),
    ]);
    assert!(
        !headers.contains_key("x-declared")
            && !headers.contains_key("etag")
            && !headers.contains_key("location")
    );
    assert_eq!(
        headers.get("content-disposition").unwrap(),
        "attachment; filename=\"caf_\"; filename*=UTF-8''caf%C3%A9"
    );
}

#[test]
fn release_refuses_a_flood_of_fields() {
    let head = run(&with_headers(&[])).unwrap();
    let policy = policy();
    let refused = |upstream: &HeaderMap| {
        let stop = release(
            upstream,
            Release {
                head: &head,
                policy: &policy,
                declared: &[],
                proof: Proof::None,
                body_judged: false,
                content_type: None,
                allowed_origin: None,
                id: RequestId::new(Now::from_micros(0), [0; 10]),
            },
        );
        matches!(stop, Err(Stop::Fault(fault)) if fault.code == Code::UpstreamError)
    };
    assert!(refused(&map(&vec![("x-a", b"1".as_slice()); 101])));
    assert!(!refused(&map(&vec![("x-a", b"1".as_slice()); 100])));
    let large = vec![b'v'; 33 << 10];
    assert!(refused(&map(&[("x-a", &large)])));
}

#[test]
fn release_points_outward_only() {
    let cases = [
        ("/orders/1?a=b#c", Some("/orders/1?a=b#c")),
        ("orders/1", Some("orders/1")),
        ("?page=2", Some("?page=2")),
        ("/a:b", Some("/a:b")),
        ("https://shop.internal:8443/orders/1", Some("https://api.example.com/orders/1")),
        ("HTTPS://SHOP.internal:8443/orders/1", Some("https://api.example.com/orders/1")),
        ("//shop.internal:8443/orders/1", Some("https://api.example.com/orders/1")),
        ("http://10.0.0.5/x", Some("https://api.example.com/x")),
        ("http://10.0.0.5", Some("https://api.example.com")),
        ("https://api.example.com/x", Some("https://api.example.com/x")),
        ("https://login.example.org/x?y", Some("https://login.example.org/x?y")),
        ("https://8.8.8.8/", Some("https://8.8.8.8/")),
        ("https://shop.internal/orders", None),
        ("https://db/orders", None),
        ("http://localhost:3000/", None),
        ("http://127.0.0.1:3000/", None),
        ("http://10.1.2.3/", None),
        ("http://169.254.169.254/latest", None),
        ("http://100.64.0.1/", None),
        ("http://[::1]/", None),
        ("http://[fd00::1]/", None),
        ("http://[::ffff:10.0.0.1]/", None),
        ("http://[2002:a00:1::]/", None),
        ("https://user:pw@api.example.com/", None),
        ("https://2130706433/", None),
        ("//evil.local/", None),
        ("/\\evil.example", None),
        ("https:/\\evil.example", None),
        ("https:orders", None),
        ("javascript:alert(1)", None),
        ("data:text/html,x", None),
        ("https://svc.cluster.local/", None),
    ];
    for (given, expected) in cases {
        let headers = open(&[("location", given.as_bytes()), ("content-location", given.as_bytes())]);
        for name in ["location", "content-location"] {
            assert_eq!(headers.get(name).map(|v| v.to_str().unwrap()), expected, "{name}: {given}");
        }
    }
}

#[test]
fn release_judges_each_link() {
    let cases = [
        ("</a?page=2>; rel=\"next\"", Some("</a?page=2>; rel=\"next\"")),
        (
            "<https://shop.internal:8443/a>; rel=next, </b>; rel=\"prev, <x>\"; title=\"a\\\"b\"",
            Some("<https://api.example.com/a>; rel=next, </b>; rel=\"prev, <x>\"; title=\"a\\\"b\""),
        ),
        ("</a>; rel=next, <http://10.9.9.9/b>; rel=prev", None),
        ("/a; rel=next", None),
        ("<javascript:x>; rel=next", None),
        ("</a", None),
    ];
    for (given, expected) in cases {
        let headers = open(&[("link", given.as_bytes())]);
        assert_eq!(headers.get("link").map(|v| v.to_str().unwrap()), expected, "{given}");
    }
}

#[test]
fn release_lets_no_connection_be_authenticated() {
    let headers = open(&[
        ("www-authenticate", b"Negotiate"),
        ("www-authenticate", b"NTLM TlRMTVNT"),
        ("www-authenticate", b"Bearer realm=\"a\", negotiate"),
        ("www-authenticate", b"Bearer"),
    ]);
    let left: Vec<_> = headers.get_all("www-authenticate").iter().collect();
    assert_eq!(left, ["Bearer"]);
}

#[test]
fn release_passes_cookies_only_where_it_is_said() {
    let set: &[(&str, &[u8])] =
        &[("set-cookie", b"a=1"), ("set-cookie", b"b=2"), ("set-cookie", b"__Host-pc_sid=x")];
    let headers = open(set);
    let left: Vec<_> = headers.get_all("set-cookie").iter().collect();
    assert_eq!(left, ["a=1; Secure; SameSite=Lax", "b=2; Secure; SameSite=Lax"]);
    let closed = HeaderPolicy::default();
    let headers = released(&map(set), &Given { policy: &closed, proof: Proof::None, judged: false });
    assert!(!headers.contains_key("set-cookie"));
}

#[test]
fn release_keeps_nothing_of_a_callers_answer_in_caches() {
    let policy = policy();
    let upstream = map(&[
        ("cache-control", b"public, max-age=600"),
        ("expires", b"Wed, 21 Oct 2099 07:28:00 GMT"),
        ("age", b"1"),
        ("vary", b"Accept"),
    ]);
    for (proof, vary) in [
        (Proof::Authorization, "Authorization"),
        (Proof::Cookie, "Cookie"),
        (Proof::Header("X-API-Key"), "X-API-Key"),
    ] {
        let headers = released(&upstream, &Given { policy: &policy, proof, judged: false });
        let values: Vec<_> = headers.get_all("cache-control").iter().collect();
        assert_eq!(values, ["no-store"], "{proof:?}");
        assert!(!headers.contains_key("expires") && !headers.contains_key("age"));
        let named: Vec<_> = headers.get_all("vary").iter().collect();
        assert_eq!(named, ["Accept", vary]);
    }
}

#[test]
fn release_says_nothing_about_bytes_that_were_judged() {
    let policy = policy();
    let upstream = map(&[
        ("etag", b"\"a\""),
        ("last-modified", b"x"),
        ("content-length", b"5"),
        ("content-encoding", b"gzip"),
        ("content-language", b"de"),
    ]);
    let headers = released(&upstream, &Given { policy: &policy, proof: Proof::None, judged: true });
    for name in ["etag", "last-modified", "content-length", "content-encoding"] {
        assert!(!headers.contains_key(name), "{name}");
    }
    assert!(headers.contains_key("content-language"));
    let headers = released(&upstream, &Given { policy: &policy, proof: Proof::None, judged: false });
    assert!(headers.contains_key("etag") && headers.contains_key("content-length"));
}

#[test]
fn release_replaces_what_the_upstream_says_about_origins() {
    let none: [&str; 0] = [];
    let browsers = Browsers::new(["https://shop.example.com"], true, none, 600).unwrap();
    let policy = HeaderPolicy { browsers: Some(browsers), ..policy() };
    let upstream = map(&[
        ("access-control-allow-origin", b"*"),
        ("access-control-allow-credentials", b"true"),
        ("access-control-expose-headers", b"*"),
    ]);
    let headers = released(&upstream, &Given { policy: &policy, proof: Proof::None, judged: false });
    assert!(headers.keys().all(|name| !name.as_str().starts_with("access-control")), "{headers:?}");
    assert_eq!(headers.get("vary").unwrap(), "Origin");
}

proptest! {
    #[test]
    fn release_law_ours_are_there_once_whatever_the_upstream_says(
        lines in prop::collection::vec((
            prop_oneof![
                "[a-z0-9-]{1,16}",
                prop::sample::select(OURS.to_vec()).prop_map(str::to_owned),
                prop::sample::select(vec!["x-request-id", "cache-control", "vary", "location", "link", "set-cookie",
                    "content-disposition", "content-type"]).prop_map(str::to_owned),
            ],
            prop::collection::vec(0x20u8..=0xff, 0..24),
        ), 0..20),
        proof in prop::sample::select(vec![Proof::None, Proof::Authorization, Proof::Cookie]),
    ) {
        let mut upstream = HeaderMap::new();
        for (name, value) in &lines {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_str()), HeaderValue::from_bytes(value)) {
                upstream.append(name, value);
            }
        }
        let policy = policy();
        let headers = released(&upstream, &Given { policy: &policy, proof, judged: false });
        let fresh = open(&[]);
        for name in OURS.into_iter().chain(["x-request-id", "content-type"]) {
            prop_assert_eq!(headers.get_all(name).iter().count(), 1, "{}", name);
            prop_assert_eq!(headers.get(name), fresh.get(name));
        }
        for value in headers.values() {
            prop_assert!(value.to_str().is_ok());
        }
        if proof != Proof::None {
            prop_assert_eq!(headers.get("cache-control").unwrap(), "no-store");
        }
    }
}
