//! Who must not administer.

use super::{BOTH, MANAGE, Office, READ, order, refused};
use crate::world::BINARY;
use portcullis_testkit::{Program, request, send};
use serde_json::json;

const KEYS: &str = "/portcullis/v1/keys";

/// Every route, with a body that it would take.
fn routes(id: &str) -> Vec<(&'static str, String, String)> {
    let key = |what: &str| format!("{KEYS}/{id}{what}");
    let reason = json!({ "reason": "test" }).to_string();
    vec![
        ("GET", KEYS.to_owned(), String::new()),
        ("GET", key(""), String::new()),
        ("POST", KEYS.to_owned(), order().to_string()),
        ("POST", key("/rotate"), "{}".to_owned()),
        ("POST", key("/revoke"), reason.clone()),
        ("POST", key("/suspend"), reason.clone()),
        ("POST", key("/resume"), reason),
        (
            "POST",
            "/portcullis/v1/revocations".to_owned(),
            json!({ "issuer": "corp", "kind": "sub", "id": "eve" }).to_string(),
        ),
    ]
}

#[tokio::test]
async fn without_a_credential_every_route_is_401_and_nothing_is_done() {
    let office = Office::new();
    let (_, id) = office.make(&json!({})).await;
    let before = office.ledger().len();
    for (method, path, body) in routes(&id) {
        let fields = if body.is_empty() { vec![] } else { vec![("Content-Type", "application/json")] };
        let answer = office.raw(method, &path, &fields, body.as_bytes()).await;
        refused(&answer, 401, "credential-missing");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("Bearer realm=\"portcullis\""), "{challenge}");
    }
    assert_eq!(office.ledger().len(), before);
}

#[tokio::test]
async fn a_token_of_another_audience_issuer_or_time_is_refused() {
    let office = Office::new();
    let bad = [
        office.token(BOTH).claim("aud", "shop"),
        office.token(BOTH).without("aud"),
        office.token(BOTH).claim("iss", "https://login.example.org/"),
        office.token(BOTH).claim("nonce", "an ID token has one").header("typ", "JWT"),
    ];
    for token in bad {
        let bearer = format!("Bearer {}", token.sign(&office.key));
        refused(&office.raw("GET", KEYS, &[("Authorization", &bearer)], b"").await, 401, "token-invalid");
    }
    let old = office.token(BOTH).claim("exp", 1_700_000_000).claim("iat", 1_699_999_000).sign(&office.key);
    let bearer = format!("Bearer {old}");
    refused(&office.raw("GET", KEYS, &[("Authorization", &bearer)], b"").await, 401, "token-expired");
    let stranger = portcullis_testkit::Key::generate(portcullis_testkit::Algorithm::Es256, "key-1");
    let bearer = format!("Bearer {}", office.token(BOTH).sign(&stranger));
    refused(&office.raw("GET", KEYS, &[("Authorization", &bearer)], b"").await, 401, "token-invalid");
}

#[tokio::test]
async fn reading_is_not_managing_and_managing_is_not_reading() {
    let office = Office::new();
    let (_, id) = office.make(&json!({})).await;
    let before = office.ledger().len();
    for (method, path, body) in routes(&id) {
        let wrong = if method == "GET" {
            [MANAGE, "orders:read", "", "portcullis.keys"]
        } else {
            [READ, "orders:read", "", "portcullis.keys.manager"]
        };
        for scope in wrong {
            let bearer = office.bearer(scope);
            let mut fields = vec![("Authorization", bearer.as_str())];
            if !body.is_empty() {
                fields.push(("Content-Type", "application/json"));
            }
            let answer = office.raw(method, &path, &fields, body.as_bytes()).await;
            refused(&answer, 403, "scope-missing");
        }
    }
    assert_eq!(office.ledger().len(), before, "nothing was done");
}

#[tokio::test]
async fn a_key_of_an_api_administers_nothing() {
    let office = Office::new();
    let (key, _) = office.make(&json!({ "scopes": ["orders:read", READ, MANAGE] })).await;
    assert_eq!(office.orders(&key).await.status, 200);
    refused(&office.raw("GET", KEYS, &[("X-API-Key", &key)], b"").await, 403, "key-not-allowed");
    // And one of the admin API opens no other.
    let (admin, _) = office.make(&json!({ "scopes": ["orders:read", READ], "apis": ["portcullis"] })).await;
    assert_eq!(office.raw("GET", KEYS, &[("X-API-Key", &admin)], b"").await.status, 200);
    refused(&office.orders(&admin).await, 403, "key-not-allowed");
    let fields = [("X-API-Key", admin.as_str()), ("Content-Type", "application/json")];
    let made = office.raw("POST", KEYS, &fields, order().to_string().as_bytes()).await;
    refused(&made, 403, "scope-missing");
}

#[tokio::test]
async fn the_data_planes_listener_knows_nothing_of_it() {
    let office = Office::new();
    let bearer = office.bearer(BOTH);
    for (method, path, body) in routes("008j4ct4ank7f24s") {
        let fields = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let bytes = request(method, &path, &fields, body.as_bytes());
        let answer = send(office.gate.public(), &bytes).await.unwrap();
        refused(&answer, 404, "operation-undeclared");
    }
    // Nor does the admin listener know the APIs.
    let answer = office.raw("GET", "/orders", &[("Authorization", &bearer)], b"").await;
    assert_eq!(answer.status, 404);
    for path in [
        "/portcullis/v1/orders",
        "/portcullis/../orders",
        "/portcullis/v1/keys/%2e%2e/x",
        "//portcullis/v1/keys",
    ] {
        let answer = office.raw("GET", path, &[("Authorization", &bearer)], b"").await;
        assert!(matches!(answer.status, 400 | 404), "{path}: {}", answer.status);
    }
}

#[tokio::test]
async fn without_administrators_it_is_closed_and_never_open() {
    let closed = ["admin: 127.0.0.1:0", "admin: { address: \"127.0.0.1:0\" }"];
    for admin in closed {
        let office = Office::with(|config| {
            let (before, rest) = config.split_once("admin:\n").unwrap();
            let (_, after) = rest.split_once("audit:").unwrap();
            format!("{before}{admin}\naudit:{after}")
        });
        for (method, path, body) in routes("008j4ct4ank7f24s") {
            let bearer = office.bearer(BOTH);
            for fields in [vec![], vec![("Authorization", bearer.as_str())]] {
                let answer = office.raw(method, &path, &fields, body.as_bytes()).await;
                refused(&answer, 403, "administration-closed");
            }
        }
        assert_eq!(office.raw("GET", "/livez", &[], b"").await.status, 200, "health is nobody's secret");
    }
    let office = Office::new();
    let broken = "admin: { address: \"127.0.0.1:0\", authenticate: {} }\n";
    office.dir.write("nobody.yaml", broken);
    let end = Program::run(BINARY, office.dir.path(), &["check", "--config", "nobody.yaml"]).unwrap();
    assert!(
        end.stdout.contains("admin-nobody") || end.stderr.contains("admin-nobody"),
        "{}{}",
        end.stdout,
        end.stderr
    );
}

#[tokio::test]
async fn a_page_that_posts_a_form_across_sites_does_nothing() {
    let office = Office::new();
    let (_, id) = office.make(&json!({})).await;
    let before = office.ledger().len();
    let bearer = office.bearer(BOTH);
    let path = format!("{KEYS}/{id}/revoke");
    let forms = [
        ("application/x-www-form-urlencoded", "reason=x"),
        ("text/plain", r#"{"reason":"x"}"#),
        (
            "multipart/form-data; boundary=b",
            "--b\r\nContent-Disposition: form-data; name=\"reason\"\r\n\r\nx\r\n--b--\r\n",
        ),
        ("application/jsonp", r#"{"reason":"x"}"#),
    ];
    for (kind, body) in forms {
        let page =
            [("Content-Type", kind), ("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")];
        let answer = office.raw("POST", &path, &page, body.as_bytes()).await;
        assert_eq!(answer.status, 401, "without a token, for {kind}: {}", answer.text());
        // Even if a page had a token: only JSON is read, and that a page cannot post without asking first.
        let with =
            [("Content-Type", kind), ("Authorization", bearer.as_str()), ("Origin", "https://evil.example")];
        refused(&office.raw("POST", &path, &with, body.as_bytes()).await, 415, "unsupported-media-type");
    }
    let none = office.raw("POST", &path, &[("Authorization", &bearer)], br#"{"reason":"x"}"#).await;
    refused(&none, 415, "unsupported-media-type");
    let ask = [
        ("Origin", "https://evil.example"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization,content-type"),
    ];
    let preflight = office.raw("OPTIONS", &path, &ask, b"").await;
    assert_eq!(preflight.status, 403);
    assert_eq!(preflight.header("access-control-allow-origin"), None);
    assert_eq!(office.ledger().len(), before);
}

#[tokio::test]
async fn what_the_contract_does_not_name_is_refused() {
    let office = Office::new();
    let (_, id) = office.make(&json!({})).await;
    let before = office.ledger().len();
    let with = |name: &str, value: serde_json::Value| {
        let mut order = order();
        order[name] = value;
        order
    };
    let bad = [
        with("role", "admin".into()),
        with("mac", "00".into()),
        with("id", "008j4ct4ank7f24s".into()),
        with("scopes", json!([])),
        with("scopes", json!("orders:read")),
        with("name", json!("")),
        with("name", json!(null)),
        with("kind", "root".into()),
        with("env", "LIVE".into()),
        with("grace_hours", json!(23)),
        with("grace_hours", json!(73)),
        with("grace_hours", json!("48")),
        with("attributes", json!({ "plan": 7 })),
        with("jwk", json!({ "kty": "OKP", "crv": "Ed25519", "x": "AA", "d": "AA" })),
        with("activate_at", "tomorrow".into()),
        json!([order()]),
        json!("x"),
    ];
    for body in bad {
        let answer = office.post(KEYS, &body).await;
        refused(&answer, 400, "schema-violation");
    }
    let bearer = office.bearer(MANAGE);
    let json = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    for (body, code) in [
        (r#"{"reason":"a","reason":"b"}"#, "duplicate-key"),
        (r#"{"reason":"a"} x"#, "malformed-json"),
        (r#"{"reason":"a",}"#, "malformed-json"),
        (r#"{'reason':'a'}"#, "malformed-json"),
        ("{\"reason\":\"\\ud800\"}", "malformed-json"),
        ("", "body-missing"),
    ] {
        let path = format!("{KEYS}/{id}/revoke");
        refused(&office.raw("POST", &path, &json, body.as_bytes()).await, 400, code);
    }
    for (path, code) in [
        (format!("{KEYS}?limit=0"), "invalid-parameter"),
        (format!("{KEYS}?limit=101"), "invalid-parameter"),
        (format!("{KEYS}?state=alive"), "invalid-parameter"),
        (format!("{KEYS}?after=x"), "invalid-parameter"),
        (format!("{KEYS}?all=true"), "unknown-parameter"),
        (format!("{KEYS}?owner=a&owner=b"), "duplicate-parameter"),
        (format!("{KEYS}/1"), "invalid-parameter"),
        (format!("{KEYS}/008J4CT4ANK7F24S"), "invalid-parameter"),
    ] {
        let answer = office.get(&path).await;
        assert_eq!(
            (answer.status, answer.problem().as_deref()),
            (400, Some(code)),
            "{path}: {}",
            answer.text()
        );
    }
    assert_eq!(office.ledger().len(), before);
}

#[tokio::test]
async fn a_huge_body_is_refused_before_it_is_read() {
    let office = Office::new();
    let bearer = office.bearer(MANAGE);
    let head = format!(
        "POST {KEYS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {bearer}\r\nContent-Type: application/json\r\nContent-Length: 1073741824\r\n\r\n"
    );
    let answer = send(office.gate.admin(), head.as_bytes()).await.unwrap();
    refused(&answer, 413, "payload-too-large");
    let long = json!({ "name": "x".repeat(100_000), "owner": "acme", "scopes": ["a"], "apis": ["shop"] });
    let answer = office.post(KEYS, &long).await;
    assert!(matches!(answer.status, 400 | 413), "{}", answer.text());
}

#[tokio::test]
async fn an_administrator_of_one_tenant_sees_and_touches_that_tenant_alone() {
    let office = Office::new();
    let (_, other) = office.make(&json!({ "tenant": "other" })).await;
    let (_, nobody) = office.make(&json!({})).await;
    let (admin, mine) =
        office.make(&json!({ "tenant": "acme", "scopes": [READ, MANAGE], "apis": ["portcullis"] })).await;
    let ask = async |method: &str, path: &str, body: &serde_json::Value| {
        let fields = [("X-API-Key", admin.as_str()), ("Content-Type", "application/json")];
        let body = if method == "GET" { String::new() } else { body.to_string() };
        let fields = if method == "GET" { &fields[..1] } else { &fields[..] };
        office.raw(method, path, fields, body.as_bytes()).await
    };
    let listed = ask("GET", KEYS, &json!({})).await.json();
    let ids: Vec<&str> =
        listed["keys"].as_array().unwrap().iter().map(|key| key["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [mine.as_str()]);
    assert_eq!(ask("GET", &format!("{KEYS}?tenant=other"), &json!({})).await.json()["keys"], json!([]));
    for id in [&other, &nobody] {
        refused(&ask("GET", &format!("{KEYS}/{id}"), &json!({})).await, 404, "not-found");
        for what in ["rotate", "revoke", "suspend", "resume"] {
            let body = if what == "rotate" { json!({}) } else { json!({ "reason": "x" }) };
            refused(&ask("POST", &format!("{KEYS}/{id}/{what}"), &body).await, 404, "not-found");
        }
    }
    let mut theirs = order();
    theirs["tenant"] = "other".into();
    refused(&ask("POST", KEYS, &theirs).await, 403, "key-not-allowed");
    let own = ask("POST", KEYS, &order()).await;
    assert_eq!((own.status, &own.json()["tenant"]), (201, &"acme".into()), "its own tenant, unasked");
    let revoke = json!({ "issuer": "corp", "kind": "sub", "id": "eve" });
    refused(&ask("POST", "/portcullis/v1/revocations", &revoke).await, 403, "key-not-allowed");
}
