//! `portcullis keys` and `portcullis revoke`: what they say, where, and how they end (callers.md § 20).

use super::{Shop, is, until};
use portcullis_testkit::program::Finished;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;

fn ends(end: &Finished, code: i32, says: &str) {
    assert_eq!(end.code, Some(code), "{}{}", end.stdout, end.stderr);
    assert!(end.stderr.contains(says), "{says}: {}", end.stderr);
    if code != 0 {
        assert!(end.stdout.is_empty(), "{}", end.stdout);
    }
}

#[tokio::test]
async fn create_says_the_secret_once_and_nothing_else_on_standard_output() {
    let shop = Shop::new();
    let base =
        ["keys", "create", "--name", "b", "--owner", "acme", "--scope", "orders:read", "--api", "shop"];
    let text = shop.cli(&base);
    ends(&text, 0, "replace it by");
    assert_eq!(text.stdout.lines().count(), 1);
    assert!(text.stdout.starts_with("pck_live_") && text.stdout.len() == 76);
    assert!(!text.stderr.contains(text.stdout.trim_end()));
    let json =
        shop.cli(&[&base[..], &["--format", "json", "--attribute", "plan=gold", "--tenant", "t1"]].concat());
    let row: Value = serde_json::from_str(&json.stderr).unwrap();
    assert_eq!(
        (&row["state"], &row["attributes"]["plan"], &row["tenant"]),
        (&"active".into(), &"gold".into(), &"t1".into())
    );
    assert!(json.stdout.starts_with("pck_live_") && json.stdout.lines().count() == 1);

    let out = shop.dir.path().join("key.txt").display().to_string();
    let file = shop.cli(&[&base[..], &["--out", &out]].concat());
    ends(&file, 0, "key ");
    assert!(file.stdout.is_empty());
    let kept = std::fs::read_to_string(&out).unwrap();
    assert_eq!(std::fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(shop.with_key(kept.trim_end()).await.status, 200);
    let before = shop.cli(&["keys", "list"]).stdout.lines().count();
    ends(&shop.cli(&[&base[..], &["--out", &out]].concat()), 2, "exists");
    assert_eq!(shop.cli(&["keys", "list"]).stdout.lines().count(), before, "no key was made");

    let jwk = portcullis_testkit::Key::generate(portcullis_testkit::Algorithm::EdDsa, "p").jwk().to_string();
    let path = shop.dir.write("partner.jwk", jwk).display().to_string();
    let partner = shop.cli(&[&base[..], &["--kind", "jwk", "--jwk", &path]].concat());
    ends(&partner, 0, "(jwk, live)");
    assert!(partner.stdout.is_empty(), "there is no secret of ours");
}

#[test]
fn what_cannot_be_is_a_usage_error() {
    let shop = Shop::new();
    let with = |more: &[&str]| {
        let base = ["keys", "create", "--name", "b", "--owner", "acme"];
        shop.cli(&[&base, more].concat())
    };
    let good = ["--scope", "orders:read", "--api", "shop"];
    let bad = |more: &[&str]| with(&[&good, more].concat());
    ends(&with(&["--scope", "orders:read"]), 2, "--api");
    ends(&with(&["--api", "shop"]), 2, "--scope");
    ends(&with(&["--scope", "orders:read", "--api", "shpo"]), 2, "did you mean `shop`?");
    ends(&with(&["--scope", "orders:read", "--api", "shop:listOrder"]), 2, "did you mean `listOrders`?");
    ends(&bad(&["--ip", "10.0.0.0/99"]), 2, "no network");
    ends(&bad(&["--grace", "12h"]), 2, "24h to 72h");
    ends(&bad(&["--expires-at", "yesterday"]), 2, "no moment");
    ends(&bad(&["--expires-at", "2001-01-01"]), 2, "end before");
    ends(&bad(&["--kind", "jwk"]), 2, "--jwk FILE");
    ends(&bad(&["--contact", "nobody"]), 2, "e-mail");
    ends(&bad(&["--attribute", "x"]), 2, "NAME=VALUE");
    ends(&bad(&["--scope", "a b"]), 2, "scope");
    ends(&shop.cli(&["keys", "list", "--state", "actve"]), 2, "did you mean `active`?");
    ends(&shop.cli(&["keys", "revoke", "short", "--reason", "x"]), 2, "16 characters");
    ends(&shop.cli(&["keys", "list", "--config", "nowhere.yaml"]), 2, "does not compile");
    ends(&shop.cli(&["revoke", "--issuer", "corp"]), 2, "--jti");
    ends(&shop.cli(&["revoke", "--issuer", "corp", "--jti", "a", "--sub", "b"]), 2, "cannot be used with");
    assert_eq!(shop.cli(&["keys", "list"]).stdout.lines().count(), 1, "a head and no key");
}

#[test]
fn what_is_not_there_is_3_what_cannot_now_is_4_and_a_store_out_of_reach_is_5() {
    let shop = Shop::new();
    let nobody = "0000000000000000";
    for arguments in [
        &["keys", "revoke", nobody, "--reason", "x"][..],
        &["keys", "suspend", nobody],
        &["keys", "resume", nobody],
        &["keys", "rotate", nobody],
    ] {
        ends(&shop.cli(arguments), 3, "no such key");
    }
    ends(&shop.cli(&["revoke", "--issuer", "crop", "--jti", "a"]), 3, "did you mean `corp`?");
    let (_, id) = shop.make(&[]);
    ends(&shop.cli(&["keys", "resume", &id]), 4, "key-not-suspended");
    ends(&shop.cli(&["keys", "rotate", &id]), 0, "its predecessor");
    ends(&shop.cli(&["keys", "rotate", &id]), 4, "key-rotation-in-progress");
    ends(&shop.cli(&["keys", "revoke", &id, "--reason", "left"]), 0, "within 2 seconds");
    ends(&shop.cli(&["keys", "revoke", &id, "--reason", "left"]), 0, "within 2 seconds");
    ends(&shop.cli(&["keys", "rotate", &id]), 4, "key-not-rotatable");
    ends(&shop.cli(&["keys", "suspend", &id]), 4, "key-has-ended");
    let broken = shop.dir.write("not-a-folder", "");
    let config = std::fs::read_to_string(shop.dir.path().join("portcullis.yaml")).unwrap();
    shop.dir.write("broken.yaml", config.replace(&shop.store, &broken.display().to_string()));
    ends(&shop.cli(&["keys", "list", "--config", "broken.yaml"]), 5, "store");
}

#[tokio::test]
async fn a_key_is_listed_rotated_suspended_and_resumed() {
    let shop = Shop::new();
    let (key, id) = shop.make(&["--tenant", "t1"]);
    assert_eq!(shop.with_key(&key).await.status, 200);
    let list = shop.cli(&["keys", "list", "--owner", "acme", "--state", "active"]);
    assert!(list.stdout.starts_with("ID ") && list.stdout.contains(&id), "{}", list.stdout);
    assert!(!shop.cli(&["keys", "list", "--tenant", "t2"]).stdout.contains(&id));
    assert!(!shop.cli(&["keys", "list", "--state", "due"]).stdout.contains(&id));

    assert_eq!(shop.cli(&["keys", "suspend", &id]).code, Some(0));
    until(&shop.gate, &[("X-API-Key", &key)], (401, "key-invalid")).await;
    assert_eq!(shop.row(&id)["state"], "suspended");
    let resumed = shop.cli(&["keys", "resume", &id, "--format", "json"]);
    let row: Value = serde_json::from_str(&resumed.stdout).unwrap();
    assert_eq!(row["state"], "active");
    until(&shop.gate, &[("X-API-Key", &key)], (200, "")).await;

    // On first use: both work, and the old one is deprecated once the new one has been seen.
    let next = shop.cli(&["keys", "rotate", &id, "--on-first-use"]);
    let next = next.stdout.trim_end();
    assert_eq!(shop.row(&id)["state"], "active");
    assert_eq!(shop.with_key(next).await.status, 200);
    let began = std::time::Instant::now();
    while shop.with_key(&key).await.header("deprecation").is_none() {
        assert!(began.elapsed().as_secs() < 15, "the first use of the successor changed nothing");
    }
    assert_eq!(shop.row(&id)["state"], "deprecated");
    assert!(shop.row(&id)["first_used"].is_string());

    // Compromised: no grace.
    let successor = next.split('_').nth(2).unwrap();
    let third = shop.cli(&["keys", "rotate", successor, "--reason", "compromised"]);
    assert_eq!(third.code, Some(0), "{}", third.stderr);
    let took = until(&shop.gate, &[("X-API-Key", next)], (401, "key-invalid")).await;
    assert!(took.as_secs_f32() < 2.0, "{took:?}");
    assert_eq!(shop.with_key(third.stdout.trim_end()).await.status, 200);
    is(&shop.with_key(next).await, 401, "key-invalid");
}
