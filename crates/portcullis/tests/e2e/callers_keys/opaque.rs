//! Opaque tokens, asked about at the issuer (callers.md § 7).

use super::{Shop, is, told};
use portcullis_testkit::idp::unix_now;
use portcullis_testkit::{Answer, Latch};
use std::time::Instant;

fn active(more: &str) -> String {
    let exp = unix_now() + 300;
    format!(
        r#"{{"active":true,"aud":"shop","sub":"ann","scope":"orders:read","client_id":"app","exp":{exp}{more}}}"#
    )
}

#[tokio::test]
async fn an_active_token_is_asked_about_once_and_an_inactive_one_is_refused() {
    let shop = Shop::new();
    is(&shop.ask(&[("Authorization", "Bearer opaque-1")]).await, 401, "token-invalid");
    let body = active("");
    shop.issuer.answer(move |_| Answer::json(body.clone()));
    for _ in 0..5 {
        let answer = shop.ask(&[("Authorization", "Bearer opaque-2")]).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let asked = shop.issuer.requests();
    assert_eq!(asked.len(), 2);
    assert_eq!((asked[1].method.as_str(), asked[1].target.as_str()), ("POST", "/introspect"));
    assert_eq!(
        asked[1].header("authorization").unwrap(),
        format!("Basic {}", super::base64(b"gate:between%20us"))
    );
    assert_eq!(asked[1].message.body, b"token=opaque-2&token_type_hint=access_token");
    assert_eq!(shop.metric("portcullis_identify_total{kind=\"opaque\",result=\"ok\"}").await, 5);
    assert_eq!(shop.metric("portcullis_identify_total{kind=\"opaque\",result=\"not-active\"}").await, 1);
    // The token goes nowhere else, and into no log.
    assert!(!shop.gate.stdout().contains("opaque-2") && !shop.gate.stderr().contains("opaque-2"));
}

#[tokio::test]
async fn the_rules_of_the_issuer_apply_and_a_jwt_is_never_asked_about() {
    let shop = Shop::new();
    for (n, body) in [
        active("").replace("\"shop\"", "\"other\""),
        active("").replace("true", "\"true\""),
        active(",\"iss\":\"https://evil.example/\""),
        active(",\"nbf\":4102444800"),
        active("").replace("\"orders:read\"", "7"),
        active(",\"aud\":\"shop\""),
    ]
    .into_iter()
    .enumerate()
    {
        shop.issuer.answer(move |_| Answer::json(body.clone()));
        let answer = shop.ask(&[("Authorization", &format!("Bearer t{n}"))]).await;
        let code = if n == 5 { (503, "issuer-unavailable") } else { (401, "token-invalid") };
        is(&answer, code.0, code.1);
    }
    let body = active("").replace("orders:read", "nothing");
    shop.issuer.answer(move |_| Answer::json(body.clone()));
    is(&shop.ask(&[("Authorization", "Bearer t-scope")]).await, 403, "scope-missing");
    let body = active(",\"cnf\":{\"jkt\":\"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs\"}");
    shop.issuer.answer(move |_| Answer::json(body.clone()));
    is(&shop.ask(&[("Authorization", "Bearer t-bound")]).await, 401, "token-invalid");
    let before = shop.issuer.requests().len();
    for token in ["a.b.c", "a.b.c.d.e", "with\"quote", &"x".repeat(5_000)] {
        is(&shop.ask(&[("Authorization", &format!("Bearer {token}"))]).await, 401, "token-invalid");
    }
    assert_eq!(shop.issuer.requests().len(), before, "the shape decides, and nothing is tried twice");
}

#[tokio::test]
async fn an_issuer_that_is_silent_or_broken_is_503_and_never_401() {
    let shop = Shop::new();
    let latch = Latch::new();
    let held = latch.clone();
    shop.issuer.answer(move |_| Answer::json("{}").held_by(&held));
    let began = Instant::now();
    is(&shop.ask(&[("Authorization", "Bearer slow")]).await, 503, "issuer-unavailable");
    assert!(began.elapsed().as_secs_f32() < 3.5, "{:?}", began.elapsed());
    latch.release();
    shop.issuer.answer(|_| Answer::status(500));
    let mut asked = 0;
    for n in 0..20 {
        let answer = shop.ask(&[("Authorization", &format!("Bearer broken-{n}"))]).await;
        assert_eq!(told(&answer), (503, "issuer-unavailable".to_owned()));
        assert!(answer.header("retry-after").is_some());
        asked = shop.issuer.requests().len();
    }
    assert!(asked <= 6, "the breaker stops asking: {asked}");
    shop.gate.stderr_until(|text| text.contains("\"issuer.unavailable\"")).unwrap();
    let ready = portcullis_testkit::request("GET", "/readyz", &[], b"");
    let ready = portcullis_testkit::send(shop.gate.admin(), &ready).await.unwrap();
    assert_eq!(ready.status, 200, "{}", ready.text());
}

#[tokio::test]
async fn an_opaque_token_is_revoked_like_any_other() {
    let shop = Shop::new();
    let body = active(",\"jti\":\"o-1\"");
    shop.issuer.answer(move |_| Answer::json(body.clone()));
    assert_eq!(shop.ask(&[("Authorization", "Bearer opaque")]).await.status, 200);
    assert_eq!(shop.cli(&["revoke", "--issuer", "corp", "--jti", "o-1"]).code, Some(0));
    let took = super::until(&shop.gate, &[("Authorization", "Bearer opaque")], (401, "token-invalid")).await;
    assert!(took.as_secs_f32() < 2.0, "{took:?}");
    assert_eq!(shop.issuer.requests().len(), 1, "although the answer is remembered");
}
