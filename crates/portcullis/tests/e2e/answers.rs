//! Answers that pass, and preflights: our headers, the declared ones, and no others.

use crate::tour::{CONFIG, MORE, Told, script};
use crate::world::{SPEC, World, items};
use portcullis_testkit::{Answer, Latch, Upstream, request};

/// What may pass is dressed the same, and nothing of the upstream's own comes along.
#[tokio::test]
async fn answers_have_our_headers_the_declared_ones_and_no_others() {
    let latch = Latch::new();
    let spec = SPEC.replace("components:\n", MORE);
    let world = World::behind(Upstream::start(script(&latch)), CONFIG, &[("openapi.yaml", &spec)]);
    let bearer = world.bearer("alice", "");
    world.upstream.answer(|seen| match seen.target.as_str() {
        "/users/alice" => Answer::json(r#"{"id":"alice","name":"Alice","password":"x","nested":{"a":1}}"#)
            .header("Cache-Control", "public, max-age=60")
            .header("ETag", "\"1\""),
        _ => script(&Latch::new())(seen),
    });
    for (target, fields) in [
        ("/items", vec![]),
        ("/users/alice", vec![("Authorization", bearer.as_str())]),
        ("/items", vec![("Origin", "https://shop.example.com")]),
    ] {
        let mut connection = world.tls_connection().await.unwrap();
        connection.write(&request("GET", target, &fields, b"")).await.unwrap();
        let answer = connection.response().await.unwrap();
        let told = Told::of(&answer);
        assert_eq!(told.status, 200, "{}", answer.text());
        told.is_dressed(true, target);
        let vary = answer.message.values("vary").join(", ").to_ascii_lowercase();
        assert!(vary.contains("origin"), "{target}: {vary:?}");
        if target == "/items" {
            assert_eq!(told.one("x-note"), Some("kept"));
            assert_eq!(told.one("x-total-count"), Some("1"));
            assert_eq!(
                told.one("cache-control"),
                Some("public, max-age=60"),
                "anonymous: the upstream's own"
            );
        } else {
            assert_eq!(told.one("cache-control"), Some("no-store"));
            assert!(vary.contains("authorization"), "{vary:?}");
            assert_eq!(
                answer.json(),
                serde_json::json!({"id": "alice", "name": "Alice"}),
                "declared fields only"
            );
        }
        let origin = fields.iter().find(|(name, _)| *name == "Origin").map(|(_, value)| *value);
        assert_eq!(told.one("access-control-allow-origin"), origin, "never the upstream's own");
        assert_eq!(told.one("access-control-allow-credentials"), origin.map(|_| "true"));
    }
    // Refusals of an API with browsers say so too.
    for (target, fields) in
        [("/users/alice", vec![]), ("/items?limit=0", vec![]), ("/items", vec![("Accept", "text/html")])]
    {
        let refused = world.ask("GET", target, &fields, b"").await;
        assert!(refused.status >= 400);
        assert!(refused.message.values("vary").join(",").to_ascii_lowercase().contains("origin"), "{target}");
    }
}

#[tokio::test]
async fn preflights_are_answered_for_allowed_origins_and_reach_nobody() {
    let world = World::behind(
        Upstream::start(|_| items()),
        CONFIG,
        &[("openapi.yaml", &SPEC.replace("components:\n", MORE))],
    );
    let ask = |origin: &'static str, method: &'static str, headers: &'static str| {
        let fields = [
            ("Origin", origin),
            ("Access-Control-Request-Method", method),
            ("Access-Control-Request-Headers", headers),
        ];
        request("OPTIONS", "/orders", &fields, b"")
    };
    let good = portcullis_testkit::send(
        world.public(),
        &ask("https://shop.example.com", "POST", "authorization, content-type, x-evil"),
    )
    .await
    .unwrap();
    assert_eq!(good.status, 204, "{}", good.text());
    assert_eq!(good.header("access-control-allow-origin"), Some("https://shop.example.com"));
    assert_eq!(good.header("access-control-allow-methods"), Some("POST"));
    let headers = good.header("access-control-allow-headers").unwrap().to_ascii_lowercase();
    assert!(
        headers.contains("authorization") && headers.contains("content-type") && !headers.contains("x-evil"),
        "{headers}"
    );
    assert_eq!(good.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(good.header("access-control-max-age"), Some("600"));
    assert!(good.message.values("vary").join(",").to_ascii_lowercase().contains("origin"));
    assert_eq!(good.header("x-content-type-options"), Some("nosniff"));
    for origin in [
        "null",
        "http://shop.example.com",
        "https://shop.example.com:8443",
        "https://shop.example.com.attacker.io",
        "https://shopXexample.com",
        "https://evil.example",
    ] {
        let bad =
            portcullis_testkit::send(world.public(), &ask(origin, "POST", "authorization")).await.unwrap();
        assert_eq!((bad.status, bad.problem().as_deref()), (403, Some("origin-refused")), "{origin}");
        assert!(!bad.message.headers.iter().any(|(name, _)| name.starts_with("access-control-")), "{origin}");
        let read = world.ask("GET", "/items", &[("Origin", origin)], b"").await;
        assert!(
            !read.message.headers.iter().any(|(name, _)| name.starts_with("access-control-")),
            "{origin}"
        );
    }
    assert!(
        world.upstream.requests().iter().all(|seen| seen.method == "GET"),
        "a preflight has reached the upstream"
    );
}
