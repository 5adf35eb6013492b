//! URLs in requests, and text (contract.md §§ 10, 12; egress.md § 5): in every spelling, with an upstream that records
//! that nothing arrived.

use super::{HEAD, all, api, post};
use crate::world::World;
use portcullis_testkit::{Answer, Upstream};
use serde_json::Value;

const SPEC: &str = "openapi: 3.0.3
info: { title: t, version: '1' }
paths:
  /hooks:
    get:
      operationId: probe
      parameters: [{ name: target, in: query, schema: { type: string, maxLength: 200 }, x-portcullis: { url: { policy: names } } }]
      responses: { '204': { description: none } }
    post:
      operationId: hook
      requestBody:
        content:
          application/json:
            schema:
              type: object
              properties:
                callbackUrl: { type: string, format: uri }
                homepage: { type: string, format: uri }
                images: { type: array, items: { type: string, format: uri } }
                target: { type: string, x-portcullis: { url: { policy: names } } }
                avatarUrl: { type: string, format: uri }
                title: { type: string, x-portcullis: { text: plain } }
                body: { type: string }
          application/x-www-form-urlencoded:
            schema: { type: object, properties: { callbackUrl: { type: string, format: uri }, title: { type: string, x-portcullis: { text: plain } } } }
      responses: { '204': { description: none } }
";

fn world() -> World {
    let words = api("shop", "openapi.yaml", &["probe", "hook"], "");
    let egress = "egress:
  policies:
    names: { hosts: { allow: [api.partner.example, '*.cdn.example'] }, resolve: false }
  fields:
    unchecked: [{ at: hook/avatarUrl, allow: unchecked_url, because: browsers only, until: 2099-12-31 }]
";
    let config = format!("{HEAD}{egress}apis:\n{words}");
    World::behind(Upstream::start(|_| Answer::status(204)), &config, &[("openapi.yaml", SPEC)])
}

#[tokio::test]
async fn no_spelling_of_an_inner_address_reaches_the_upstream() {
    let world = world();
    let mut requests = Vec::new();
    let urls = [
        ("https://127.1/", "host"),
        ("https://0x7f000001/", "host"),
        ("https://2130706433/", "host"),
        ("https://0177.0.0.1/", "host"),
        ("https://127.0.0.1/", "host"),
        ("https://[::ffff:127.0.0.1]/", "host"),
        ("https://[::127.0.0.1]/", "host"),
        ("https://[64:ff9b::a9fe:a9fe]/", "host"),
        ("https://[64:ff9b:1::a9fe:a9fe]/", "host"),
        ("https://169.254.169.254/latest/meta-data/", "host"),
        ("https://168.63.129.16/", "host"),
        ("https://100.100.100.200/", "host"),
        ("https://192.0.0.192/", "host"),
        ("https://[fd00:ec2::254]/", "host"),
        ("https://localhost./", "host"),
        ("https://metadata.google.internal/", "host"),
        ("https://intranet/", "host"),
        ("https://x.svc.cluster.local/", "host"),
        ("https://user@example.com/", "form"),
        ("https://example.com/#@evil", "form"),
        ("http://example.com/", "scheme"),
        ("gopher://example.com/", "scheme"),
        ("ftp://example.com/", "scheme"),
        ("https://nobody.invalid/", "address"),
        ("https://example.com:22/", "host"),
    ];
    for (url, _) in urls {
        requests.push(post("/hooks", format!("{{\"callbackUrl\":\"{url}\"}}").as_bytes()));
        requests.push(post("/hooks", format!("{{\"images\":[\"{url}\"]}}").as_bytes()));
    }
    let answers = all(&world, requests, 4).await;
    for (n, answer) in answers.iter().enumerate() {
        let (url, rule) = urls[n / 2];
        let problem: Value = serde_json::from_str(&answer.text()).unwrap();
        assert_eq!(answer.status, 422, "{url}: {problem}");
        assert_eq!(problem["type"], "urn:portcullis:problem:url-not-allowed", "{url}");
        assert_eq!(problem["errors"][0]["pointer"], ["/callbackUrl", "/images/0"][n % 2], "{url}");
        assert_eq!(problem["errors"][0]["rule"], rule, "{url}");
        assert!(!answer.text().contains("127.0") && !answer.text().contains("169.254"), "{problem}");
    }
    assert!(world.upstream.requests().is_empty());
}

#[tokio::test]
async fn marked_places_go_by_their_policy_and_others_are_left_alone() {
    let world = world();
    let many: Vec<String> = (0..21).map(|n| format!("\"https://a{n}.invalid/\"")).collect();
    let many = format!("{{\"images\":[{}]}}", many.join(","));
    for (body, status) in [
        ("{\"target\":\"https://api.partner.example/x\"}", 204),
        ("{\"target\":\"https://a.b.cdn.example/\"}", 204),
        ("{\"target\":\"https://cdn.example/\"}", 422),
        ("{\"target\":\"https://evilcdn.example/\"}", 422),
        ("{\"target\":\"https://api.partner.example.evil.example/\"}", 422),
        ("{\"target\":\"javascript:alert(1)\"}", 422),
        // Not marked, and the name says nothing of going there.
        ("{\"homepage\":\"http://10.0.0.1/\"}", 204),
        // Loosened by name.
        ("{\"avatarUrl\":\"http://10.0.0.1/\"}", 204),
        (&*many, 422),
    ] {
        let answer = all(&world, vec![post("/hooks", body.as_bytes())], 1).await.pop().unwrap();
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
    }
    let arrived = world.upstream.requests().len();
    for (query, status) in
        [("target=https%3A%2F%2Fapi.partner.example%2F", 204), ("target=https%3A%2F%2F127.0.0.1%2F", 422)]
    {
        let answer = world.get(&format!("/hooks?{query}")).await;
        assert_eq!(answer.status, status, "{query}: {}", answer.text());
    }
    let form = b"callbackUrl=https%3A%2F%2F127.1%2F";
    let answer = world
        .ask(
            "POST",
            "/hooks",
            &[("Content-Type", "application/x-www-form-urlencoded"), ("Content-Length", "34")],
            form,
        )
        .await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert_eq!(world.upstream.requests().len(), arrived + 1);
}

#[tokio::test]
async fn text_that_deceives_is_refused_and_plain_text_holds_no_markup() {
    let world = world();
    for (body, status) in [
        ("{\"title\":\"a < b, 1<2 & 'x'\"}", 204),
        ("{\"title\":\"<script>alert(1)</script>\"}", 400),
        ("{\"title\":\"a</b>\"}", 400),
        ("{\"title\":\"<!--\"}", 400),
        ("{\"body\":\"<b>bold</b>\"}", 204),
        ("{\"body\":\"abc\\u202egpj.exe\"}", 400),
        ("{\"body\":\"\u{2066}x\"}", 400),
        ("{\"body\":\"a\\u001b[31m\"}", 400),
        ("{\"body\":\"\\u0000\"}", 400),
        ("{\"body\":\"\\ufffe\"}", 400),
        ("{\"body\":\"\u{fdd0}\"}", 400),
        ("{\"body\":\"Z\u{300}\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}\u{307}\u{308}\"}", 400),
        ("{\"body\":\"e\u{301} naïve 日本語 👩‍👩‍👧\"}", 204),
    ] {
        let answer = all(&world, vec![post("/hooks", body.as_bytes())], 1).await.pop().unwrap();
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
    }
    let form = b"title=%3Cb%3E";
    let answer = world
        .ask(
            "POST",
            "/hooks",
            &[("Content-Type", "application/x-www-form-urlencoded"), ("Content-Length", "13")],
            form,
        )
        .await;
    assert_eq!(answer.status, 400, "{}", answer.text());
}
