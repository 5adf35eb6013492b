//! The members `upstream` of `vectors/headers.yaml`, and the laws of § 18: the reserved names at the upstream are
//! exactly ours, and for any `Connection` value nothing of ours is missing.

use super::*;
use crate::gates::canonical::tests::{cases, run, with_headers};
use http::HeaderName;
use portcullis_core::head::names::is_reserved;
use portcullis_core::time::Now;
use portcullis_plan::edge::Names;
use proptest::prelude::*;

fn policy() -> HeaderPolicy {
    HeaderPolicy {
        forward: Names::new([HeaderName::from_static("x-shop-region")]),
        credentials: Names::new([header::AUTHORIZATION, HeaderName::from_static("x-api-key")]),
        hosts: vec!["api.example.com".into()],
        ..HeaderPolicy::default()
    }
}

fn admitted(
    head: &Head,
    policy: &HeaderPolicy,
    credential: Option<&HeaderName>,
    reads_answer: bool,
) -> Admitted {
    let declared = [HeaderName::from_static("x-declared"), HeaderName::from_static("content-type-hint")];
    let via = Via::new("one").unwrap();
    let body = head.method() == portcullis_core::head::Method::Post;
    admit_request_headers(Admission {
        head,
        policy,
        declared: &declared,
        credential,
        ours: Ours {
            id: RequestId::new(Now::from_micros(0), [0; 10]),
            trace: TraceParent { trace_id: 1, parent_id: 2, flags: 1 },
            via: &via,
            host: Some(HeaderValue::from_static("shop.internal:8443")),
            reads_answer,
            content_type: body.then(|| HeaderValue::from_static("application/json")),
            cookie: None,
            identity: Some(HeaderValue::from_static("ours")),
        },
    })
}

#[test]
fn headers_vectors_at_the_upstream() {
    let mut checked = 0;
    let mut wrong = Vec::new();
    for case in cases(include_str!("../../../vectors/headers.yaml")) {
        if case.expect.upstream.is_empty() {
            continue;
        }
        let head = run(&case).unwrap_or_else(|(code, why)| panic!("headers#{}: {code} ({why})", case.name));
        let headers = admitted(&head, &policy(), None, true).headers;
        for (name, wanted) in &case.expect.upstream {
            checked += 1;
            let got: Vec<_> = headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect();
            if got != wanted.as_deref().into_iter().collect::<Vec<_>>() {
                wrong.push(format!("headers#{}: {name} is {got:?}, not {wanted:?}", case.name));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(checked > 80, "only {checked} fields checked");
}

#[test]
fn headers_pass_the_verified_credential_and_no_other() {
    let head =
        run(&with_headers(&[("Authorization", "Bearer a"), ("X-API-Key", "k"), ("DPoP", "p")])).unwrap();
    let headers = admitted(&head, &policy(), Some(&header::AUTHORIZATION), true).headers;
    assert_eq!(headers.get("authorization").unwrap(), "Bearer a");
    assert!(headers.get("x-api-key").is_none() && headers.get("dpop").is_none());
    let name = HeaderName::from_static("x-api-key");
    let headers = admitted(&head, &policy(), Some(&name), true).headers;
    assert!(headers.get("authorization").is_none());
    assert_eq!(headers.get("x-api-key").unwrap(), "k");
}

#[test]
fn headers_name_what_was_dropped() {
    let head = run(&with_headers(&[("X-Other", "1"), ("Accept", "a/b"), ("Referer", "r")])).unwrap();
    let admitted = admitted(&head, &policy(), None, true);
    let mut dropped: Vec<_> = admitted.dropped.iter().map(HeaderName::as_str).collect();
    dropped.sort_unstable();
    assert_eq!(dropped, ["referer", "x-other"]);
}

#[test]
fn headers_never_pass_ours_even_when_forwarding_is_configured() {
    let names =
        ["via", "content-type", "content-encoding", "accept-encoding", "referer", "date", "from", "dpop"];
    let policy =
        HeaderPolicy { forward: names.map(HeaderName::from_static).into_iter().collect(), ..policy() };
    let given: Vec<_> = names.iter().map(|name| (*name, "theirs")).collect();
    let head = run(&with_headers(&given)).unwrap();
    let headers = admitted(&head, &policy, None, true).headers;
    assert!(headers.values().all(|value| value != "theirs"), "{headers:?}");
}

#[test]
fn headers_tell_the_host_only_where_hosts_are_configured() {
    let head = run(&with_headers(&[])).unwrap();
    let open = HeaderPolicy { hosts: Vec::new(), ..policy() };
    let headers = admitted(&head, &open, None, true).headers;
    assert!(headers.get("x-forwarded-host").is_none());
    assert_eq!(headers.get("forwarded").unwrap(), "for=203.0.113.9;proto=https");
    assert_eq!(headers.get("host").unwrap(), "shop.internal:8443");
}

#[test]
fn headers_continue_the_trace_of_a_trusted_proxy_only() {
    let state = |case: &crate::gates::canonical::tests::Case| {
        let headers = admitted(&run(case).unwrap(), &policy(), None, true).headers;
        headers.get("tracestate").map(|value| value.to_str().unwrap().to_owned())
    };
    // The trace id of `admitted` is 1.
    let lines = |id: u8| {
        let parent = format!("00-{id:032x}-b7ad6b7169203331-01");
        with_headers(&[("traceparent", &parent), ("tracestate", "a=b")])
    };
    assert_eq!(state(&lines(1)), None);
    assert_eq!(state(&lines(1).through_trusted()).as_deref(), Some("a=b"));
    assert_eq!(state(&lines(2).through_trusted()), None);
}

#[test]
fn headers_ask_for_codings_that_both_know() {
    for (client, ours) in [
        ("gzip, deflate, br", "gzip, br"),
        ("GZIP;q=0.5", "gzip"),
        ("br, gzip;q=0", "br"),
        ("gzip;q=0.0, br; q=0.000", "identity"),
        ("zstd, *", "identity"),
    ] {
        let head = run(&with_headers(&[("Accept-Encoding", client)])).unwrap();
        assert_eq!(
            admitted(&head, &policy(), None, false).headers.get("accept-encoding").unwrap(),
            ours,
            "{client}"
        );
        assert_eq!(
            admitted(&head, &policy(), None, true).headers.get("accept-encoding").unwrap(),
            "identity"
        );
    }
}

proptest! {
    #[test]
    fn headers_law_reserved_names_at_the_upstream_are_exactly_ours(
        lines in prop::collection::vec((
            prop_oneof![
                "[a-zA-Z0-9-]{1,20}",
                "(X-Forwarded-|X-User-|X-Auth-|Portcullis-|SSL-|Remote-|X-Original-)[a-z]{1,8}",
                prop::sample::select(vec!["Forwarded", "X-Forwarded-For", "Portcullis-Identity", "X-Request-Id", "Via",
                    "traceparent", "X-Real-IP", "Host-", "X-Forwarded-Port"]).prop_map(str::to_owned),
            ],
            "theirs[ -~]{0,10}",
        ), 0..10),
        connection in prop::option::of("(close|keep-alive|upgrade|te|http2-settings|X-Forwarded-For|Portcullis-Identity|Via| |,){0,6}"),
    ) {
        let mut given: Vec<_> = lines.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        given.extend(connection.as_deref().map(|value| ("Connection", value)));
        if let Ok(head) = run(&with_headers(&given)) {
            let headers = admitted(&head, &policy(), None, true).headers;
            let mut reserved: Vec<_> = headers.keys().map(HeaderName::as_str).filter(|name| is_reserved(name)).collect();
            reserved.sort_unstable();
            prop_assert_eq!(reserved, [
                "forwarded", "portcullis-identity", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port",
                "x-forwarded-proto", "x-request-id",
            ]);
            for name in ["forwarded", "portcullis-identity", "x-forwarded-for", "x-request-id", "via", "traceparent"] {
                prop_assert_eq!(headers.get_all(name).iter().count(), 1);
                prop_assert!(!headers.get(name).unwrap().to_str().unwrap().contains("theirs"));
            }
        }
    }
}
