//! What the upstream is told, by whom, and what it cannot be told by a client.

use crate::world::{CONFIG, World, items};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_testkit::{Answer, Connection, Recorded, Upstream};
use serde_json::Value;

const FORGED: [(&str, &str); 14] = [
    ("X-Forwarded-For", "198.51.100.7"),
    ("X-Forwarded-Host", "admin.example.com"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Prefix", "/admin"),
    ("Forwarded", "for=198.51.100.7;host=admin.example.com"),
    ("X-Real-IP", "198.51.100.7"),
    ("X-Original-URL", "/admin"),
    ("X-Rewrite-URL", "/admin"),
    ("X-User", "root"),
    ("Remote-User", "root"),
    ("X-Auth-Roles", "admin"),
    ("Client-Cert", ":YQ==:"),
    ("Portcullis-Identity", "forged"),
    ("Portcullis-Tenant", "acme"),
];

#[tokio::test]
async fn what_a_stranger_says_about_himself_reaches_neither_log_nor_upstream() {
    let world = World::new();
    let answer = world.ask("GET", "/items?limit=3&tag=a%20b", &FORGED, b"").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = &world.upstream.requests()[0];
    let text = String::from_utf8_lossy(&seen.message.raw).into_owned();
    for lie in ["198.51.100.7", "admin", "root", "YQ==", "forged", "acme"] {
        assert!(!text.contains(lie), "{lie}: {text}");
    }
    assert_eq!(seen.message.values("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.header("x-request-id"), answer.header("x-request-id"));
    assert!(seen.header("traceparent").is_some_and(|value| value.starts_with("00-")));
    assert_eq!(seen.target, "/items?limit=3&tag=a%20b");
    assert!(seen.message.anomalies.is_empty(), "{:?}", seen.message.anomalies);
    let line = world.line_of(&answer);
    assert_eq!(
        (line["source.ip"].as_str(), line["portcullis.source_how"].as_str()),
        (Some("127.0.0.1"), Some("peer"))
    );
    assert_eq!(line["trace.id"], seen.header("traceparent").unwrap().split('-').nth(1).unwrap());
    // Connection cannot name what we add, and aliases are no way round.
    for fields in [
        [("Connection", "X-Forwarded-For")],
        [("Connection", "close, Authorization")],
        [("X_Forwarded_For", "1.2.3.4")],
        [("X.Real.IP", "1.2.3.4")],
    ] {
        let refused = world.ask("GET", "/items", &fields, b"").await;
        assert_eq!(
            (refused.status, refused.problem().as_deref()),
            (400, Some("header-refused")),
            "{fields:?}"
        );
    }
    // Nor are trailers, over HTTP/1.1.
    let bearer = world.bearer("alice", "orders:write");
    let bytes = format!(
        "POST /orders HTTP/1.1\r\nHost: localhost\r\nAuthorization: {bearer}\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\nTrailer: X-User\r\n\r\nc\r\n{{\"item\":\"a\"}}\r\n0\r\nX-User: root\r\n\
         X-Forwarded-For: 198.51.100.7\r\n\r\n"
    );
    let mut connection = Connection::open(world.public()).await.unwrap();
    connection.write(bytes.as_bytes()).await.unwrap();
    connection.response().await.unwrap();
    let seen = world.upstream.received(2).await.unwrap().pop().unwrap();
    let text = String::from_utf8_lossy(&seen.message.raw).into_owned();
    assert!(!text.contains("root") && !text.contains("198.51.100.7") && !text.contains("railer"), "{text}");
    assert_eq!(seen.header("content-length"), Some("12"));
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_up_to_the_first_stranger() {
    let config = CONFIG
        .replace("issuers:", "trusted_proxies: [127.0.0.1/32, 10.0.0.0/8]\nissuers:")
        .replace("address: off", "address: { rate: 2/day, burst: 2 }");
    let world = World::with(&config, |_| items());
    for (number, (value, client, how)) in [
        ("203.0.113.9", "203.0.113.9", "x-forwarded-for"),
        ("198.51.100.7, 203.0.113.10", "203.0.113.10", "x-forwarded-for"),
        ("198.51.100.7, 203.0.113.11, 10.1.2.3", "203.0.113.11", "x-forwarded-for"),
        ("2001:db8::1, 10.1.2.3", "2001:db8::1", "x-forwarded-for"),
        ("nonsense", "127.0.0.1", "peer"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = world
            .ask("GET", "/items", &[("X-Forwarded-For", value), ("X-Forwarded-Proto", "https")], b"")
            .await;
        assert_eq!(answer.status, 200, "{value}");
        let line = world.line_of(&answer);
        assert_eq!(line["source.ip"], client, "{line}");
        if how != "peer" {
            assert!(
                line["portcullis.source_how"].as_str().unwrap().replace('_', "-").contains(how),
                "{line}"
            );
        }
        let seen = world.upstream.requests()[number].clone();
        assert_eq!(seen.message.values("x-forwarded-for"), [client], "{value}");
        assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
        assert!(answer.header("strict-transport-security").is_some(), "the outer scheme is https");
    }
    // Limits are of the derived address.
    let ask =
        async |client: &str| world.ask("GET", "/items", &[("X-Forwarded-For", client)], b"").await.status;
    assert_eq!(ask("203.0.113.9").await, 200);
    assert_eq!(ask("203.0.113.9").await, 429);
    assert_eq!(ask("1.2.3.4, 203.0.113.9").await, 429, "more lies on the left are no other client");
    assert_eq!(ask("203.0.113.99").await, 200);
}

fn part(token: &str, index: usize) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(token.split('.').nth(index).unwrap()).unwrap()
}

/// What an API behind does: the published key, the audience, the time, and that it is about this very request.
fn accepts(
    jwks: &Value,
    seen: &Recorded,
    authority: &str,
    audience: &str,
    now: u64,
) -> Result<Value, &'static str> {
    let token = seen.header("portcullis-identity").ok_or("no identity")?;
    let header: Value = serde_json::from_slice(&part(token, 0)).unwrap();
    if header["alg"] != "EdDSA" || header["typ"] != "portcullis-id+jwt" {
        return Err("header");
    }
    let key = jwks["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"]).ok_or("key")?;
    let public = URL_SAFE_NO_PAD.decode(key["x"].as_str().unwrap()).unwrap();
    let signed = token.rsplit_once('.').unwrap().0;
    UnparsedPublicKey::new(&ED25519, public)
        .verify(signed.as_bytes(), &part(token, 2))
        .map_err(|_| "signature")?;
    let claims: Value = serde_json::from_slice(&part(token, 1)).unwrap();
    let bound = digest(&SHA256, format!("{}\n{authority}\n{}", seen.method, seen.target).as_bytes());
    if claims["aud"] != audience {
        return Err("audience");
    }
    if claims["exp"].as_u64().unwrap() <= now
        || claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap() != 30
    {
        return Err("time");
    }
    if claims["req"] != URL_SAFE_NO_PAD.encode(bound) {
        return Err("request");
    }
    Ok(claims)
}

#[tokio::test]
async fn the_upstream_can_verify_who_calls_and_no_client_can_say_it() {
    let config = CONFIG
        .replace("    anonymous:", "    identity: { sign: true, audience: shop-backend }\n    anonymous:");
    let world = World::with(&config, |_| Answer::json("{}"));
    let bearer = world.bearer("alice", "orders:read");
    let fields = [("Authorization", bearer.as_str()), ("Portcullis-Identity", "eyJmb3JnZWQiOnRydWV9.e30.x")];
    let answer = world.ask("GET", "/orders/7?owner=alice", &fields, b"").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = world.upstream.requests().pop().unwrap();
    assert_eq!(seen.message.values("portcullis-identity").len(), 1);
    assert_eq!(seen.header("authorization"), None, "the token ends here");
    let jwks = world.admin("/identity.jwks").await.json();
    let authority = world.upstream.address().to_string();
    let now = portcullis_testkit::idp::unix_now();
    let claims = accepts(&jwks, &seen, &authority, "shop-backend", now).unwrap();
    assert_eq!((claims["sub"].as_str(), claims["act"].as_str()), (Some("alice"), Some("getOrder")));
    assert_eq!(claims["client"], "app");
    assert!(claims["scope"].as_str().unwrap().contains("orders:read"), "{claims}");
    // Another target, audience, authority or time: refused.
    let mut other = seen.clone();
    other.target = other.target.replace("/7", "/8");
    assert_eq!(accepts(&jwks, &other, &authority, "shop-backend", now), Err("request"));
    assert_eq!(accepts(&jwks, &seen, "other:1", "shop-backend", now), Err("request"));
    assert_eq!(accepts(&jwks, &seen, &authority, "billing", now), Err("audience"));
    assert_eq!(accepts(&jwks, &seen, &authority, "shop-backend", now + 60), Err("time"));
    // Nobody is somebody too; and each request has an identity of its own.
    let open = world.ask("GET", "/items", &[("Portcullis-Identity", "forged")], b"").await;
    assert_eq!(open.status, 200);
    let seen = world.upstream.requests().pop().unwrap();
    match seen.header("portcullis-identity") {
        None => {}
        Some(_) => {
            let claims = accepts(&jwks, &seen, &authority, "shop-backend", now).unwrap();
            assert!(claims["sub"].is_null(), "{claims}");
        }
    }
}

/// Which of several servers is known when one is chosen: the identity is about the request that this one gets.
#[tokio::test]
async fn with_several_servers_the_identity_is_bound_to_the_one_that_was_chosen() {
    let second = Upstream::start(|_| Answer::json("{}"));
    let servers = format!("upstream: {{ servers: [{{ url: UPSTREAM }}, {{ url: \"{}\" }}] }}", second.url());
    let config = CONFIG
        .replace("upstream: UPSTREAM", &servers)
        .replace("    anonymous:", "    identity: { sign: true, audience: shop-backend }\n    anonymous:");
    let world = World::with(&config, |_| Answer::json("{}"));
    let bearer = world.bearer("alice", "orders:read");
    for _ in 0..24 {
        let answer =
            world.ask("GET", "/orders/7?owner=alice", &[("Authorization", bearer.as_str())], b"").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let jwks = world.admin("/identity.jwks").await.json();
    let now = portcullis_testkit::idp::unix_now();
    let mut served = [0, 0];
    for (number, upstream) in [&world.upstream, &second].into_iter().enumerate() {
        for seen in upstream.requests() {
            let own = upstream.address().to_string();
            assert!(accepts(&jwks, &seen, &own, "shop-backend", now).is_ok(), "{own}");
            assert_eq!(seen.message.values("portcullis-identity").len(), 1);
            served[number] += 1;
        }
    }
    assert!(served[0] > 0 && served[1] > 0 && served[0] + served[1] == 24, "{served:?}");
}

#[tokio::test]
async fn without_an_identity_the_verified_token_goes_on_and_nothing_else_does() {
    let world = World::with(CONFIG, |_| Answer::json("{}"));
    let bearer = world.bearer("alice", "orders:read");
    let fields = [
        ("Authorization", bearer.as_str()),
        ("Proxy-Authorization", "Basic YTpi"),
        ("Cookie", "session=1"),
        ("Referer", "https://a.example/"),
        ("X-Undeclared", "1"),
        ("Accept-Encoding", "gzip"),
        ("User-Agent", "test"),
    ];
    assert_eq!(world.ask("GET", "/orders/7?owner=alice", &fields, b"").await.status, 200);
    let seen = &world.upstream.requests()[0];
    assert_eq!(seen.header("authorization"), Some(bearer.as_str()));
    assert_eq!(seen.header("user-agent"), Some("test"));
    for name in ["proxy-authorization", "cookie", "referer", "x-undeclared"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    assert_eq!(seen.header("accept-encoding"), Some("identity"), "the answer is read here");
}

/// Whose object: in the path, in the query and in the body.
#[tokio::test]
async fn somebody_elses_object_looks_like_none_at_all_wherever_it_is_named() {
    let world =
        World::with(
            CONFIG,
            |seen| if seen.method == "POST" { Answer::status(201) } else { Answer::json("{}") },
        );
    let bearer = world.bearer("alice", "orders:read");
    let fields = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let get = [fields[0]];
    for (method, target, body, mine) in [
        ("GET", "/users/alice", "", true),
        ("GET", "/users/%61lice", "", true),
        ("GET", "/users/bob", "", false),
        ("GET", "/users/ALICE", "", false),
        ("GET", "/users/alice%20", "", false),
        ("GET", "/orders/7?owner=alice", "", true),
        ("GET", "/orders/7?owner=bob", "", false),
        ("GET", "/orders/7?owner=%61lice", "", true),
        ("POST", "/transfers", r#"{"from":"alice","to":"bob"}"#, true),
        ("POST", "/transfers", r#"{"from":"\u0061lice","to":"bob"}"#, true),
        ("POST", "/transfers", r#"{"from":"bob","to":"alice"}"#, false),
    ] {
        let fields = if method == "GET" { &get[..] } else { &fields[..] };
        let before = world.upstream.requests().len();
        let answer = world.ask(method, target, fields, body.as_bytes()).await;
        let reached = world.upstream.requests().len() - before;
        if mine {
            assert!(answer.status < 300, "{method} {target} {body}: {}", answer.text());
            assert_eq!(reached, 1);
        } else {
            assert_eq!(
                (answer.status, answer.problem().as_deref()),
                (404, Some("not-found")),
                "{target} {body}"
            );
            assert_eq!(reached, 0, "{method} {target} {body}");
            assert_eq!(world.line_of(&answer)["error.code"], "object-not-yours");
        }
    }
}
