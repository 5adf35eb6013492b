//! Attacks on API keys (callers.md § 22).

use super::{Shop, ask, is, told, until};
use portcullis_core::opaque::{ApiKey, Env, Id16};
use portcullis_testkit::{Response, request, send};
use std::time::Instant;

/// A text with a right checksum, as anybody can make one.
fn forged(id: [u8; 10], secret: u8) -> String {
    ApiKey::new(Env::Live, id, [secret; 32]).text().expose().clone()
}

/// The ten bytes that an id was made of.
fn bits(id: &str) -> [u8; 10] {
    const DIGITS: &[u8] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let value = |b: u8| DIGITS.iter().position(|d| *d == b).unwrap() as u128;
    let number = id.bytes().fold(0_u128, |acc, b| acc << 5 | value(b));
    let bytes: [u8; 10] = number.to_be_bytes()[6..].try_into().unwrap();
    assert_eq!(Id16::from_random(bytes).as_str(), id);
    bytes
}

fn without_instance(response: &Response) -> String {
    let mut json = response.json();
    json.as_object_mut().unwrap().remove("instance");
    json.to_string()
}

#[tokio::test]
async fn a_key_opens_what_it_is_for_and_does_not_arrive_at_the_upstream() {
    let shop = Shop::new();
    let (key, id) = shop.make(&["--attribute", "org=acme"]);
    for fields in [("X-API-Key", key.clone()), ("Authorization", format!("ApiKey {key}"))] {
        let answer = shop.ask(&[(fields.0, &fields.1)]).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let line = shop.line_of(&answer);
        assert_eq!(
            (&line["portcullis.caller"], &line["portcullis.key.id"]),
            (&"key".into(), &id.as_str().into())
        );
        assert!(line.get("portcullis.key.state").is_none(), "an active key needs no word");
    }
    let seen = shop.upstream.received(2).await.unwrap();
    for recorded in &seen {
        let text = String::from_utf8_lossy(&recorded.message.raw).into_owned();
        assert!(!text.contains("pck_") && recorded.header("x-api-key").is_none(), "{text}");
    }
    let both = shop.ask(&[("X-API-Key", &key), ("Authorization", &format!("ApiKey {key}"))]).await;
    is(&both, 400, "credential-ambiguous");
    is(&shop.ask(&[("Authorization", "Basic YTpi")]).await, 401, "credential-unsupported");
    is(&shop.ask(&[("Authorization", &format!("Bearer {key}"))]).await, 401, "token-invalid");
}

#[tokio::test]
async fn bad_checksum_prefix_length_or_digit_is_refused_without_a_look_up() {
    let shop = Shop::new();
    let (key, _) = shop.make(&[]);
    let cut: String = key.chars().take(key.len() - 1).collect();
    let other_digit = if key.ends_with('0') { '1' } else { '0' };
    let flipped = format!("{cut}{other_digit}");
    let test = ApiKey::new(Env::Test, [1; 10], [2; 32]).text().expose().clone();
    let wrong = [
        flipped.as_str(),
        &cut,
        &format!("{key}0"),
        &key.replace("pck_", "pcs_"),
        &key.to_uppercase(),
        &key.replace("_live_", "_test_"),
        &test,
        "hunter2",
        "pck_live_",
        &"x".repeat(4_000),
    ];
    for text in wrong {
        let answer = shop.with_key(text).await;
        is(&answer, 401, "key-invalid");
        assert_eq!(answer.header("www-authenticate").map(|v| v.contains("invalid_token")), Some(false));
    }
    assert_eq!(shop.metric("portcullis_api_key_lookups_total").await, 0);
    assert_eq!(shop.with_key(&key).await.status, 200);
    assert_eq!(shop.metric("portcullis_api_key_lookups_total").await, 1);
    assert_eq!(
        shop.metric("portcullis_identify_total{kind=\"api_key\",result=\"opaque-checksum\"}").await,
        2
    );
    assert_eq!(shop.metric("portcullis_identify_total{kind=\"api_key\",result=\"ok\"}").await, 1);
}

#[tokio::test]
async fn unknown_id_wrong_secret_and_unusable_keys_are_answered_alike() {
    let shop = Shop::new();
    let (key, id) = shop.make(&[]);
    let (revoked, revoked_id) = shop.make(&[]);
    let hmac = shop.cli(&[
        "keys",
        "create",
        "--name",
        "sign",
        "--owner",
        "acme",
        "--kind",
        "hmac",
        "--scope",
        "orders:read",
        "--api",
        "shop",
        "--format",
        "json",
    ]);
    // A word of warning may stand before it: the shop takes no signatures.
    let json = hmac.stderr.find('{').map(|at| hmac.stderr.split_at(at).1).unwrap();
    let hmac: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(shop.cli(&["keys", "revoke", &revoked_id, "--reason", "left"]).code, Some(0));
    assert_eq!(shop.with_key(&key).await.status, 200, "its row is in memory now");
    let answers = [
        shop.with_key(&forged([0xee; 10], 1)).await,
        shop.with_key(&forged(bits(&id), 1)).await,
        shop.with_key(&forged(bits(hmac["id"].as_str().unwrap()), 1)).await,
        shop.with_key(&revoked).await,
    ];
    for answer in &answers {
        is(answer, 401, "key-invalid");
        assert_eq!(without_instance(answer), without_instance(&answers[0]));
        assert_eq!(answer.header("www-authenticate"), answers[0].header("www-authenticate"));
    }
    let reason = |n: usize| shop.line_of(&answers[n])["portcullis.reason"].as_str().unwrap().to_owned();
    assert_eq!((reason(0), reason(3)), ("key-unknown-or-secret-wrong".to_owned(), "revoked".to_owned()));
}

#[tokio::test]
async fn the_thirty_first_failure_of_a_minute_is_429_and_a_good_key_is_still_served() {
    let shop = Shop::with(|config| {
        config.replace(
            "limits: { global: off, address: off,",
            "limits: { global: off, address: { rate: 30/min, burst: 30 },",
        )
    });
    let (key, _) = shop.make(&[]);
    let mut failures = 0;
    loop {
        let answer = shop.with_key(&forged([7; 10], failures as u8)).await;
        if answer.status == 429 {
            assert!(answer.header("retry-after").is_some());
            break;
        }
        is(&answer, 401, "key-invalid");
        failures += 1;
        assert!(failures < 60, "nothing stops the guessing");
    }
    assert!(failures >= 30, "{failures}");
    assert_eq!(shop.with_key(&key).await.status, 200, "nobody locks out his neighbours");
}

#[tokio::test]
async fn an_address_that_has_nothing_left_burdens_the_store_by_a_trickle_alone() {
    let shop = Shop::with(|config| {
        config.replace(
            "limits: { global: off, address: off,",
            "limits: { global: off, address: { rate: 30/min, burst: 30 },",
        )
    });
    let (key, _) = shop.make(&[]);
    assert_eq!(shop.with_key(&key).await.status, 200);
    let (before, began) = (shop.metric("portcullis_api_key_lookups_total").await, Instant::now());
    for id in 0..300_u16 {
        let [high, low] = id.to_be_bytes();
        let answer = shop.with_key(&forged([9, 9, 9, 9, 9, 9, 9, 9, high, low], 1)).await;
        assert!(matches!(told(&answer), (401, _) | (429, _)), "{:?}", told(&answer));
    }
    // Thirty were paid for, and some are since; of the rest each worker makes four a second.
    let workers = std::thread::available_parallelism().unwrap().get() as u64;
    let seconds = began.elapsed().as_secs() + 2;
    let made = shop.metric("portcullis_api_key_lookups_total").await - before;
    assert!(made <= 31 + seconds / 2 + 4 * workers * seconds, "{made} in {seconds} s");
    // A key that was good a while ago is known, whatever others behind the same address do.
    assert_eq!(shop.with_key(&key).await.status, 200);
}

#[tokio::test]
async fn a_key_in_query_path_or_cookie_is_refused_and_its_owner_told() {
    let shop = Shop::new();
    let (key, id) = shop.make(&[]);
    for target in [format!("/orders?key={key}"), format!("/orders?q={key}"), format!("/orders/{key}")] {
        is(&ask(&shop.gate, &target, &[]).await, 400, "secret-in-url");
    }
    is(&shop.ask(&[("Cookie", &format!("a=b; k={key}"))]).await, 400, "credential-misplaced");
    // A forged one with the public id shows nothing.
    is(&ask(&shop.gate, &format!("/orders?q={}", forged(bits(&id), 3)), &[]).await, 400, "secret-in-url");
    shop.gate.stderr_until(|text| text.contains("\"credential.in_url\"")).unwrap();
    shop.gate.stderr_until(|text| text.contains("\"credential.in_cookie\"")).unwrap();
    let notice = shop.hook.received(1).await.unwrap()[0].json();
    assert_eq!(notice["type"], "portcullis.apikey.exposed");
    assert_eq!(notice["data"]["key"], id.as_str());
    assert!(shop.row(&id)["exposed_at"].is_string());
    assert_eq!(shop.with_key(&key).await.status, 200, "it goes on working");
    assert!(!shop.gate.stderr().contains(&key) && !shop.gate.stdout().contains(&key));
    assert!(!notice.to_string().contains(&key));
}

#[tokio::test]
async fn wrong_address_api_scope_or_environment_does_not_open() {
    let shop = Shop::new();
    let (elsewhere, _) = shop.make(&["--ip", "192.0.2.0/24"]);
    is(&shop.with_key(&elsewhere).await, 403, "key-not-allowed");
    let (here, _) = shop.make(&["--ip", "192.0.2.0/24", "--ip", "127.0.0.0/8"]);
    assert_eq!(shop.with_key(&here).await.status, 200);
    let one = shop.cli(&[
        "keys",
        "create",
        "--name",
        "one",
        "--owner",
        "acme",
        "--scope",
        "orders:read",
        "--api",
        "shop:dropOrders",
    ]);
    let one = one.stdout.trim_end();
    is(&shop.with_key(one).await, 403, "key-not-allowed");
    let drop =
        send(shop.gate.public(), &request("DELETE", "/orders", &[("X-API-Key", one)], b"")).await.unwrap();
    is(&drop, 403, "scope-missing");
    let (test, _) = shop.make(&["--env", "test"]);
    assert!(test.starts_with("pck_test_"));
    is(&shop.with_key(&test).await, 401, "key-invalid");
}

#[tokio::test]
async fn a_key_of_another_tenant_does_not_open_an_api_of_one_tenant() {
    let spec = super::SPEC
        .replace("principal: { id: token.sub }", "principal: { id: token.sub, tenant: token.org }");
    let shop = Shop::with_files(&[("openapi.yaml", &spec)], |config| {
        config.replace("    authenticate:\n", "    tenant: acme\n    authenticate:\n")
    });
    for (tenant, allowed) in
        [(Some("acme"), true), (Some("globex"), false), (Some("ACME"), false), (None, false)]
    {
        let (key, _) = match tenant {
            Some(tenant) => shop.make(&["--tenant", tenant]),
            None => shop.make(&[]),
        };
        let answer = shop.with_key(&key).await;
        let expected = if allowed { (200, String::new()) } else { (403, "key-not-allowed".to_owned()) };
        assert_eq!(told(&answer), expected, "{tenant:?}");
    }
    for (tenant, allowed) in [(Some("acme"), true), (Some("globex"), false), (None, false)] {
        let token = shop.token("ann");
        let token = match tenant {
            Some(tenant) => token.claim("org", tenant),
            None => token,
        };
        let answer = shop.ask(&[("Authorization", &format!("Bearer {}", token.sign(&shop.key)))]).await;
        let expected = if allowed { (200, String::new()) } else { (403, "credential-conflict".to_owned()) };
        assert_eq!(told(&answer), expected, "{tenant:?}");
    }
}

#[tokio::test]
async fn a_deprecated_key_works_and_is_marked_on_every_answer_and_in_every_line() {
    let shop = Shop::new();
    let (key, id) = shop.make(&[]);
    let end = shop.cli(&["keys", "rotate", &id, "--grace", "24h"]);
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    let next = end.stdout.trim_end().to_owned();
    let successor = next.split('_').nth(2).unwrap().to_owned();
    let elapsed = {
        let began = std::time::Instant::now();
        while shop.with_key(&key).await.header("deprecation").is_none() {
            assert!(began.elapsed().as_secs() < 10);
        }
        began.elapsed()
    };
    assert!(elapsed.as_secs_f32() < 2.0, "{elapsed:?}");
    let answer = shop.with_key(&key).await;
    assert_eq!(answer.status, 200);
    let row = shop.row(&id);
    assert!(answer.header("deprecation").unwrap().starts_with('@'));
    assert!(answer.header("sunset").unwrap().ends_with(" GMT"));
    assert_eq!(
        answer.header("link").unwrap(),
        "<https://developer.example.com/rotate>; rel=\"deprecation\", <https://developer.example.com/rotate>; rel=\"successor-version\""
    );
    let line = shop.line_of(&answer);
    assert_eq!(line["portcullis.key.state"], "deprecated");
    assert_eq!(line["portcullis.key.successor"], successor.as_str());
    let left = line["portcullis.key.grace_left_s"].as_u64().unwrap();
    assert!((86_000..=86_400).contains(&left), "{left}");
    assert_eq!((&row["state"], &row["successor"]), (&"deprecated".into(), &successor.as_str().into()));
    let fresh = shop.with_key(&next).await;
    assert_eq!((fresh.status, fresh.header("deprecation")), (200, None));
    // Told at the sink: that it was rotated, and that it is in use all the same.
    let types: Vec<String> = shop
        .hook
        .received(2)
        .await
        .unwrap()
        .iter()
        .map(|d| d.json()["type"].as_str().unwrap().to_owned())
        .collect();
    assert!(types.contains(&"portcullis.apikey.rotated".to_owned()), "{types:?}");
    assert!(types.contains(&"portcullis.apikey.deprecated_use".to_owned()), "{types:?}");
    // A refusal of another gate is marked too: the caller is known.
    let refused =
        send(shop.gate.public(), &request("DELETE", "/orders", &[("X-API-Key", &key)], b"")).await.unwrap();
    is(&refused, 403, "scope-missing");
    assert!(refused.header("deprecation").is_some());
}

#[tokio::test]
async fn an_invalid_key_never_falls_through_to_another_credential() {
    let shop = Shop::new();
    let token = format!("Bearer {}", shop.token("ann").sign(&shop.key));
    assert_eq!(shop.ask(&[("Authorization", &token)]).await.status, 200);
    let both = shop.ask(&[("Authorization", &token), ("X-API-Key", "hunter2")]).await;
    is(&both, 400, "credential-ambiguous");
    is(&shop.ask(&[("X-API-Key", "")]).await, 401, "key-invalid");
}

#[tokio::test]
async fn the_secret_is_in_no_log_list_answer_metric_or_file() {
    let shop = Shop::new();
    let (key, id) = shop.make(&[]);
    let secret = key.rsplit('_').next().unwrap().to_owned();
    let mut said = String::new();
    for answer in [
        shop.with_key(&key).await,
        shop.with_key(&format!("{key}0")).await,
        shop.ask(&[("Cookie", &format!("k={key}"))]).await,
        ask(&shop.gate, &format!("/orders?q={key}"), &[]).await,
    ] {
        said.push_str(&String::from_utf8_lossy(&answer.message.raw));
        shop.line_of(&answer);
    }
    shop.hook.received(1).await.unwrap();
    for arguments in [
        &["keys", "list"][..],
        &["keys", "list", "--format", "json"],
        &["keys", "suspend", &id, "--format", "json"],
    ] {
        let end = shop.cli(arguments);
        said.push_str(&end.stdout);
        said.push_str(&end.stderr);
    }
    said.push_str(&shop.metrics().await);
    said.push_str(&shop.gate.stdout());
    said.push_str(&shop.gate.stderr());
    for delivery in shop.hook.deliveries() {
        said.push_str(&String::from_utf8_lossy(&delivery.message.raw));
    }
    assert!(!said.contains(&secret));
    for file in std::fs::read_dir(&shop.store).unwrap().flatten() {
        let Ok(bytes) = std::fs::read(file.path()) else { continue };
        assert!(!bytes.windows(secret.len()).any(|w| w == secret.as_bytes()), "{:?}", file.path());
    }
}

#[tokio::test]
async fn the_hash_of_a_caller_in_the_log_is_the_same_after_a_restart() {
    let mut shop = Shop::new();
    let token = format!("Bearer {}", shop.token("ann").sign(&shop.key));
    let before = shop.ask(&[("Authorization", &token)]).await;
    let before = shop.line_of(&before)["user.hash"].clone();
    assert_eq!(told(&shop.with_key("x").await).0, 401);
    shop.gate.terminate().unwrap();
    shop.gate = portcullis_testkit::Program::serve_in(crate::world::BINARY, shop.dir.clone()).unwrap();
    let after = shop.ask(&[("Authorization", &token)]).await;
    assert_eq!(shop.line_of(&after)["user.hash"], before);
    assert!(before.is_string());
}

#[tokio::test]
async fn a_key_ends_at_its_second_and_only_its_owner_is_told_so() {
    let shop = Shop::new();
    let end = portcullis_testkit::idp::unix_now() + 3;
    let (key, id) = shop.make(&["--expires-at", &end.to_string()]);
    assert_eq!(shop.with_key(&key).await.status, 200);
    until(&shop.gate, &[("X-API-Key", &key)], (401, "key-expired")).await;
    assert!(portcullis_testkit::idp::unix_now() >= end);
    is(&shop.with_key(&forged(bits(&id), 1)).await, 401, "key-invalid");
}

#[tokio::test]
async fn the_attribute_plan_chooses_the_limits_of_a_consumer_plan() {
    let shop = Shop::with(|config| {
        config.replace("key: off, user: off }", "key: { rate: 100/min, burst: 100 }, user: off, plans: { tiny: { key: { rate: 2/min, burst: 2 } } } }")
    });
    let (tiny, _) = shop.make(&["--attribute", "plan=tiny"]);
    let (usual, _) = shop.make(&[]);
    for (key, third) in [(&tiny, 429), (&usual, 200)] {
        for _ in 0..2 {
            assert_eq!(shop.with_key(key).await.status, 200);
        }
        assert_eq!(shop.with_key(key).await.status, third);
    }
}
