//! What is revoked on one node is refused on the other within two seconds (callers.md §§ 7, 22).

use super::{Shop, TWO_SECONDS, ask, is, until};
use portcullis_testkit::{Key, Program};

#[tokio::test]
async fn a_revoked_key_is_refused_on_both_nodes_within_two_seconds() {
    let shop = Shop::new();
    let second = shop.second();
    let (key, id) = shop.make(&[]);
    for gate in [&shop.gate, &second] {
        assert_eq!(ask(gate, "/orders", &[("X-API-Key", &key)]).await.status, 200);
    }
    assert_eq!(shop.cli(&["keys", "revoke", &id, "--reason", "left"]).code, Some(0));
    for gate in [&shop.gate, &second] {
        let took = until(gate, &[("X-API-Key", &key)], (401, "key-invalid")).await;
        assert!(took < TWO_SECONDS, "{took:?}");
    }
    assert_eq!(shop.row(&id)["revoked_reason"], "left");
}

fn bearer(shop: &Shop, subject: &str, key: &Key) -> String {
    format!("Bearer {}", shop.token(subject).sign(key))
}

#[tokio::test]
async fn tokens_are_revoked_by_id_login_subject_and_client_also_when_they_are_in_the_cache() {
    let shop = Shop::new();
    let second = shop.second();
    let nodes: [&Program; 2] = [&shop.gate, &second];
    for (option, name) in
        [("--jti", "token-of-ann"), ("--sid", "login-of-bob"), ("--sub", "cyd"), ("--client", "app-of-dan")]
    {
        let subject = name.rsplit('-').next().unwrap();
        let (token, other) = (bearer(&shop, subject, &shop.key), bearer(&shop, "eve", &shop.key));
        for gate in nodes {
            for _ in 0..2 {
                assert_eq!(ask(gate, "/orders", &[("Authorization", &token)]).await.status, 200, "{subject}");
            }
        }
        let end = shop.cli(&["revoke", "--issuer", "corp", option, name]);
        assert_eq!(end.code, Some(0), "{}", end.stderr);
        for gate in nodes {
            let took = until(gate, &[("Authorization", &token)], (401, "token-invalid")).await;
            assert!(took < TWO_SECONDS, "{option}: {took:?}");
            assert_eq!(
                ask(gate, "/orders", &[("Authorization", &other)]).await.status,
                200,
                "of somebody else"
            );
        }
    }
    assert!(shop.metric("portcullis_verify_cache_hits_total").await > 0);
    assert_eq!(shop.metric("portcullis_revocations").await, 4);
    assert!(shop.metric("portcullis_revocation_lag_seconds").await <= 2);
    let refused = shop.ask(&[("Authorization", &bearer(&shop, "ann", &shop.key))]).await;
    assert_eq!(shop.line_of(&refused)["portcullis.reason"], "revoked");
    shop.gate.stderr_until(|text| text.contains("\"token.revoked_presented\"")).unwrap();
}

#[tokio::test]
async fn what_a_signing_key_signed_until_a_moment_is_revoked_and_later_tokens_live() {
    let shop = Shop::new();
    let early = shop.token("ann");
    let iat = portcullis_testkit::idp::unix_now();
    let early = format!("Bearer {}", early.claim("iat", iat - 60).sign(&shop.key));
    let late = format!("Bearer {}", shop.token("bob").claim("iat", iat + 5).sign(&shop.key));
    let moment = (iat - 30).to_string();
    let end = shop.cli(&[
        "revoke",
        "--issuer",
        "https://login.example.com/",
        "--signing-key",
        "key-1",
        "--before",
        &moment,
        "--format",
        "json",
    ]);
    let told: serde_json::Value = serde_json::from_str(&end.stdout).unwrap();
    assert_eq!(told["kind"], "signing_key");
    let took = until(&shop.gate, &[("Authorization", &early)], (401, "token-invalid")).await;
    assert!(took < TWO_SECONDS, "{took:?}");
    assert_eq!(shop.ask(&[("Authorization", &late)]).await.status, 200);
}

#[tokio::test]
async fn a_restart_forgets_no_revocation() {
    let mut shop = Shop::new();
    let token = bearer(&shop, "ann", &shop.key);
    assert_eq!(shop.cli(&["revoke", "--issuer", "corp", "--sub", "ann"]).code, Some(0));
    shop.gate.terminate().unwrap();
    shop.gate = Program::serve_in(crate::world::BINARY, shop.dir.clone()).unwrap();
    is(&shop.ask(&[("Authorization", &token)]).await, 401, "token-invalid");
}

/// The database turns into noise under a running gate.
#[tokio::test]
async fn a_node_that_cannot_read_the_feed_refuses_keys_and_tokens_of_revocable_issuers() {
    let shop = Shop::with(|config| config.replace("keys:\n", "revocation: { max_staleness: 2s }\nkeys:\n"));
    let (key, _) = shop.make(&[]);
    let token = bearer(&shop, "ann", &shop.key);
    assert_eq!(shop.with_key(&key).await.status, 200);
    assert_eq!(shop.ask(&[("Authorization", &token)]).await.status, 200);
    for name in ["portcullis.db", "portcullis.db-wal", "portcullis.db-shm"] {
        let path = std::path::Path::new(&shop.store).join(name);
        let length = std::fs::metadata(&path).unwrap().len();
        let noise: Vec<u8> = (0..length).map(|n| (n % 251) as u8 ^ 0x5a).collect();
        // In place: the running program has these very files open.
        use std::os::unix::fs::FileExt as _;
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&noise, 0).unwrap();
    }
    until(&shop.gate, &[("X-API-Key", &key)], (503, "revocation-unavailable")).await;
    is(&shop.ask(&[("Authorization", &token)]).await, 503, "revocation-unavailable");
    let refused = shop.ask(&[("Authorization", &token)]).await;
    assert!(refused.header("retry-after").is_some());
    shop.gate.stderr_until(|text| text.contains("\"revocation.stale\"")).unwrap();
}
