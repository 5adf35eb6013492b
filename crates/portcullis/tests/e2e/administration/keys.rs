//! What the admin API does, and that it does what the command line does.

use super::{BOTH, MANAGE, Office, READ, order, refused};
use portcullis_testkit::PATIENCE;
use serde_json::{Value, json};
use std::time::Instant;

const KEYS: &str = "/portcullis/v1/keys";

#[tokio::test]
async fn a_key_from_its_making_to_its_end() {
    let office = Office::new();
    let made = office.post(KEYS, &order()).await;
    assert_eq!((made.status, made.header("cache-control")), (201, Some("no-store")));
    let made = made.json();
    let (key, id) = (made["secret"].as_str().unwrap(), made["id"].as_str().unwrap());
    assert!(key.starts_with(&format!("pck_live_{id}_")));
    assert_eq!(
        (&made["state"], &made["owner"], &made["kind"], &made["env"]),
        (&"active".into(), &"acme".into(), &"bearer".into(), &"live".into())
    );
    assert_eq!(office.orders(key).await.status, 200);

    let one = office.get(&format!("{KEYS}/{id}")).await;
    assert_eq!((one.status, one.header("cache-control")), (200, Some("no-store")));
    assert_eq!((&one.json()["id"], one.json().get("secret")), (&made["id"], None));

    let suspended = office.post(&format!("{KEYS}/{id}/suspend"), &json!({ "reason": "looked at" })).await;
    assert_eq!((suspended.status, &suspended.json()["state"]), (200, &"suspended".into()));
    refused(&office.orders(key).await, 401, "key-invalid");
    refused(&office.post(&format!("{KEYS}/{id}/rotate"), &json!({})).await, 409, "key-not-rotatable");
    assert_eq!(office.post(&format!("{KEYS}/{id}/suspend"), &json!({})).await.status, 200, "again: nothing");
    assert_eq!(office.post(&format!("{KEYS}/{id}/resume"), &json!({})).await.status, 200);
    refused(&office.post(&format!("{KEYS}/{id}/resume"), &json!({})).await, 409, "key-not-suspended");
    assert_eq!(office.orders(key).await.status, 200);

    let rotated = office.post(&format!("{KEYS}/{id}/rotate"), &json!({ "grace_hours": 24 })).await;
    assert_eq!(rotated.status, 201);
    let next = rotated.json();
    assert_eq!(next["predecessor"], *id);
    let (new_key, new_id) = (next["secret"].as_str().unwrap(), next["id"].as_str().unwrap());
    let old = office.orders(key).await;
    assert_eq!(old.status, 200, "during the grace");
    assert!(old.header("deprecation").is_some());
    assert_eq!(office.orders(new_key).await.status, 200);
    let again = office.post(&format!("{KEYS}/{id}/rotate"), &json!({})).await;
    refused(&again, 409, "key-rotation-in-progress");

    let hacked = json!({ "reason": "compromised" });
    assert_eq!(office.post(&format!("{KEYS}/{new_id}/rotate"), &hacked).await.status, 201);
    refused(&office.orders(new_key).await, 401, "key-invalid");

    let end = json!({ "reason": "left the company" });
    for _ in 0..2 {
        let ended = office.post(&format!("{KEYS}/{id}/revoke"), &end).await;
        assert_eq!((ended.status, &ended.json()["state"]), (200, &"revoked".into()), "again: nothing");
    }
    refused(&office.orders(key).await, 401, "key-invalid");
    refused(&office.post(&format!("{KEYS}/{id}/suspend"), &json!({})).await, 409, "key-has-ended");
    let events: Vec<Value> = office.ledger().iter().map(|entry| entry["event"].clone()).collect();
    let expected = [
        "program.started",
        "key.created",
        "key.suspended",
        "key.resumed",
        "key.rotated",
        "key.rotated",
        "key.revoked",
    ];
    assert_eq!(events, expected);
}

#[tokio::test]
async fn what_there_is_not_is_404_and_what_cannot_be_422() {
    let office = Office::new();
    refused(&office.get(&format!("{KEYS}/008j4ct4ank7f24s")).await, 404, "not-found");
    for what in ["rotate", "suspend", "resume"] {
        let answer = office.post(&format!("{KEYS}/008j4ct4ank7f24s/{what}"), &json!({})).await;
        refused(&answer, 404, "not-found");
    }
    let with = |name: &str, value: Value| {
        let mut order = order();
        order[name] = value;
        order
    };
    for (body, says) in [
        (with("apis", json!(["shop", "shopp"])), "apis"),
        (with("apis", json!(["shop:dropTable"])), "apis"),
        (with("ip_allow", json!(["10.0.0.0/33"])), "ip_allow"),
        (with("attributes", json!({ "sub": "root" })), "sub"),
        (with("kind", json!("jwk")), "public key"),
        (with("expires_at", json!("2020-01-01T00:00:00Z")), "end before"),
        (with("scopes", json!(["a b"])), "scope"),
    ] {
        let answer = office.post(KEYS, &body).await;
        refused(&answer, 422, "order-refused");
        assert!(answer.json()["detail"].as_str().unwrap().contains(says), "{}", answer.text());
    }
    let unknown = json!({ "issuer": "nobody", "kind": "jti", "id": "x" });
    refused(&office.post("/portcullis/v1/revocations", &unknown).await, 422, "order-refused");
}

#[tokio::test]
async fn keys_of_the_other_kinds() {
    let office = Office::new();
    let hmac = office.post(KEYS, &json!({ "name": "s", "owner": "acme", "scopes": ["a"], "apis": ["shop"], "kind": "hmac", "env": "test" })).await;
    assert_eq!(hmac.status, 201);
    assert!(hmac.json()["secret"].as_str().unwrap().starts_with("pch_"));
    let jwk = portcullis_testkit::Key::generate(portcullis_testkit::Algorithm::EdDsa, "p").jwk();
    let mut partner = order();
    partner["kind"] = "jwk".into();
    partner["jwk"] = jwk.clone();
    let made = office.post(KEYS, &partner).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    assert_eq!((&made["kind"], made.get("secret")), (&"jwk".into(), None), "there is no secret of ours");
    let id = made["id"].as_str().unwrap();
    refused(&office.post(&format!("{KEYS}/{id}/rotate"), &json!({})).await, 422, "order-refused");
    let next = office.post(&format!("{KEYS}/{id}/rotate"), &json!({ "jwk": jwk })).await;
    assert_eq!(next.status, 201, "{}", next.text());
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let office = Office::new();
    let mut made = Vec::new();
    for n in 0..7 {
        let tenant = if n % 2 == 0 { "even" } else { "odd" };
        made.push(office.make(&json!({ "tenant": tenant, "owner": format!("owner {}", n % 3) })).await.1);
    }
    office.post(&format!("{KEYS}/{}/suspend", made[3]), &json!({})).await;
    let list = async |query: &str| {
        let answer = office.get(&format!("{KEYS}{query}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        let mut ids: Vec<String> = answer["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| key["id"].as_str().unwrap().to_owned())
            .collect();
        ids.sort();
        (ids, answer["next"].as_str().map(str::to_owned))
    };
    let sorted = |which: &[usize]| {
        let mut ids: Vec<String> = which.iter().map(|n| made[*n].clone()).collect();
        ids.sort();
        ids
    };
    assert_eq!(list("").await, (sorted(&[0, 1, 2, 3, 4, 5, 6]), None));
    assert_eq!(list("?tenant=odd").await.0, sorted(&[1, 3, 5]));
    assert_eq!(list("?owner=owner%200").await.0, sorted(&[0, 3, 6]));
    assert_eq!(list("?owner=owner%200&tenant=odd").await.0, sorted(&[3]));
    assert_eq!(list("?state=suspended").await.0, sorted(&[3]));
    assert_eq!(list("?state=active&tenant=odd").await.0, sorted(&[1, 5]));
    assert_eq!(list("?owner=nobody%27%20OR%201%3D1").await.0, Vec::<String>::new());
    let (mut seen, mut next) = (Vec::new(), String::new());
    for page in 0.. {
        let (ids, more) = list(&format!("?limit=3{next}")).await;
        assert_eq!(ids.len(), if page < 2 { 3 } else { 1 });
        seen.extend(ids);
        match more {
            Some(id) => next = format!("&after={id}"),
            None => break,
        }
    }
    seen.sort();
    assert_eq!(seen, sorted(&[0, 1, 2, 3, 4, 5, 6]), "each once");
}

#[tokio::test]
async fn a_token_revoked_here_is_refused_there() {
    let office = Office::new();
    let good = office.token(READ).claim("sub", "eve").claim("jti", "t-1");
    let bearer = format!("Bearer {}", good.sign(&office.key));
    assert_eq!(office.raw("GET", KEYS, &[("Authorization", &bearer)], b"").await.status, 200);
    let revoke = json!({ "issuer": "corp", "kind": "jti", "id": "t-1", "reason": "stolen laptop" });
    let answer = office.post("/portcullis/v1/revocations", &revoke).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let began = Instant::now();
    loop {
        let answer = office.raw("GET", KEYS, &[("Authorization", &bearer)], b"").await;
        if answer.status == 401 {
            refused(&answer, 401, "token-invalid");
            break;
        }
        assert!(began.elapsed() < PATIENCE, "still {}", answer.status);
    }
    let entry = office.ledger().pop().unwrap();
    assert_eq!(
        (&entry["event"], &entry["target"], &entry["kind"], &entry["reason"]),
        (&"token.revoked".into(), &"t-1".into(), &"jti".into(), &"stolen laptop".into())
    );
    let before = json!({ "issuer": "corp", "kind": "jti", "id": "x", "before": "2027-01-01T00:00:00Z" });
    refused(&office.post("/portcullis/v1/revocations", &before).await, 422, "order-refused");
}

#[tokio::test]
async fn the_caller_is_the_actor_and_the_answers_id_the_correlation() {
    let office = Office::new();
    let made = office.post(KEYS, &order()).await;
    let correlation = made.header("x-request-id").unwrap().to_owned();
    let entry = office.ledger().pop().unwrap();
    assert_eq!(
        (&entry["event"], &entry["how"], &entry["actor"]),
        (&"key.created".into(), &"admin-api".into(), &"https://login.example.com/ ann".into())
    );
    assert_eq!((&entry["correlation"], &entry["target"]), (&correlation.into(), &made.json()["id"]));

    let (admin, admin_id) = office.make(&json!({ "scopes": [MANAGE], "apis": ["portcullis"] })).await;
    let fields = [("X-API-Key", admin.as_str()), ("Content-Type", "application/json")];
    assert_eq!(office.raw("POST", KEYS, &fields, order().to_string().as_bytes()).await.status, 201);
    assert_eq!(office.ledger().pop().unwrap()["actor"], format!("key:{admin_id}"));

    let made =
        office.cli(&["keys", "create", "--name", "n", "--owner", "o", "--api", "shop", "--scope", "s"]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let entry = office.ledger().pop().unwrap();
    assert_eq!(entry["how"], "cli");
    assert!(entry["actor"].as_str().unwrap().starts_with("uid:"));
}

#[tokio::test]
async fn no_secret_is_in_any_answer_but_the_first_nor_in_log_ledger_or_metrics() {
    let mut office = Office::new();
    let (key, id) = office.make(&json!({ "contact": "ops@example.com" })).await;
    let secret = &key[26..];
    let rotated = office.post(&format!("{KEYS}/{id}/rotate"), &json!({})).await.json();
    let next = rotated["secret"].as_str().unwrap().to_owned();
    // People paste.
    let pasted = json!({ "reason": format!("leaked as {key}") });
    assert_eq!(office.post(&format!("{KEYS}/{id}/suspend"), &pasted).await.status, 200);
    refused(&office.post(&format!("{KEYS}/{id}/revoke"), &pasted).await, 422, "order-refused");
    let bearer = office.bearer(BOTH);
    let mut said = String::new();
    for path in [KEYS.to_owned(), format!("{KEYS}/{id}"), format!("{KEYS}?state=active")] {
        said.push_str(&office.get(&path).await.text());
    }
    said.push_str(&office.post(&format!("{KEYS}/{id}/resume"), &json!({})).await.text());
    said.push_str(&office.post(&format!("{KEYS}/{id}/revoke"), &json!({ "reason": "x" })).await.text());
    said.push_str(&office.raw("GET", "/metrics", &[], b"").await.text());
    for format in ["text", "json"] {
        said.push_str(&office.cli(&["audit", "ledger", "--format", format]).stdout);
        said.push_str(&office.cli(&["audit", "verify-ledger", "--format", format]).stdout);
        said.push_str(&office.cli(&["keys", "list", "--format", format]).stdout);
    }
    let end = office.gate.terminate().unwrap();
    said.push_str(&end.stdout);
    said.push_str(&end.stderr);
    assert!(said.contains(&id), "there is something to look at");
    for hidden in [secret, &next[26..], "ops@example.com", bearer.strip_prefix("Bearer ").unwrap()] {
        assert!(!said.contains(hidden), "{hidden}");
    }
}

#[tokio::test]
async fn metadata_tells_which_tokens_administer() {
    let office = Office::new();
    let challenge = office.raw("GET", KEYS, &[], b"").await;
    let challenge = challenge.header("www-authenticate").unwrap().to_owned();
    assert!(challenge.contains("/.well-known/oauth-protected-resource/portcullis/v1"), "{challenge}");
    let answer = office.raw("GET", "/.well-known/oauth-protected-resource/portcullis/v1", &[], b"").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    assert_eq!(told["authorization_servers"], json!(["https://login.example.com/"]));
    assert_eq!(told["scopes_supported"], json!([MANAGE, READ]));
}
