//! Several proofs of one request, none at all, and where a client learns what is taken.

use super::draft::{Draft, With};
use super::gate::{Gate, HOST, ISSUER, NO_SCOPE, told};
use portcullis_testkit::{Algorithm, IdentityProvider, request, send};
use serde_json::json;

fn both(gate: &Gate, scope: &str) -> Draft {
    let bearer = format!("Bearer {}", gate.token(scope).sign(&gate.issuer));
    Draft::with_body("POST", "/v1/both", "application/json", b"{}").field("Authorization", &bearer)
}

#[tokio::test]
async fn all_of_token_and_signature() {
    let gate = Gate::new().await;
    let covered = both(&gate, "both").also("\"authorization\"");
    let response = covered.sign().send(&gate).await;
    assert_eq!(told(&response), (200, String::new()));
    let line = gate.line_of(&response).to_string();
    assert!(line.contains("\"user\"") || line.contains("user"), "the subject is the token's: {line}");
    // The token is part of what is signed: nobody puts his own beside my signature.
    assert_eq!(both(&gate, "both").sign().told(&gate).await, "signature-coverage");
    let other = format!("Bearer {}", gate.token("both").claim("sub", "mallory").sign(&gate.issuer));
    let swapped = covered.clone().nonce("the-token-is-swapped").sign().field("Authorization", &other);
    assert_eq!(swapped.told(&gate).await, "signature-invalid");
    // One of the two is not both.
    let only_signed = Draft::with_body("POST", "/v1/both", "application/json", b"{}").sign();
    assert_eq!(only_signed.told(&gate).await, "credential-missing");
    let bearer = covered.sign();
    let only_token = bearer.clone().field("Signature", "").field("Signature-Input", "");
    assert_eq!(only_token.told(&gate).await, "signature-missing");
    // One valid and one invalid is invalid.
    let forged = covered.clone().nonce("a-forged-signature-1").sign_with(With::Mac([1; 32]));
    assert_eq!(forged.told(&gate).await, "signature-invalid");
    let expired = format!("Bearer {}", gate.token("both").claim("exp", 1).claim("iat", 0).sign(&gate.issuer));
    let expired = both(&gate, "both").field("Authorization", &expired).also("\"authorization\"").sign();
    assert_eq!(told(&expired.send(&gate).await).0, 401);
    // Scopes are those that both have.
    let less = both(&gate, "read").also("\"authorization\"").sign();
    assert_eq!(less.told(&gate).await, "scope-missing");
    let key_without = both(&gate, "both").also("\"authorization\"").key(NO_SCOPE).sign();
    assert_eq!(key_without.told(&gate).await, "scope-missing");
}

#[tokio::test]
async fn an_invalid_credential_never_becomes_anonymous() {
    let gate = Gate::new().await;
    let ask = async |fields: &[(&str, &str)]| {
        let response = gate.ask("GET", "/v1/public", fields, b"").await;
        response.problem().unwrap_or_else(|| response.status.to_string())
    };
    assert_eq!(ask(&[]).await, "200");
    assert_eq!(ask(&[("Authorization", "Bearer a.b.c")]).await, "token-invalid");
    assert_eq!(ask(&[("Authorization", "Basic YTpi")]).await, "credential-unsupported");
    let good = Draft::get("/v1/public").sign();
    assert_eq!(good.told(&gate).await, "200");
    assert_eq!(good.told(&gate).await, "signature-replay");
    assert_eq!(Draft::get("/v1/public").sign_with(With::Mac([1; 32])).told(&gate).await, "signature-invalid");
    let dpop = format!("DPoP {}", gate.token("read").sign(&gate.issuer));
    assert_eq!(ask(&[("Authorization", &dpop)]).await, "token-invalid");
}

#[tokio::test]
async fn explain_spends_no_nonce() {
    let gate = Gate::new().await;
    let request = Draft::get("/v1/items/a").sign();
    let mut arguments = vec!["explain", "GET", "http://api.example.com/v1/items/a"];
    let lines: Vec<String> =
        request.fields.iter().filter(|(n, _)| n != "Host").map(|(n, v)| format!("{n}: {v}")).collect();
    for line in &lines {
        arguments.extend(["-H", line]);
    }
    let end = portcullis_testkit::Program::run(crate::world::BINARY, gate.dir().path(), &arguments).unwrap();
    assert!(end.stdout.contains("signature, portcullis-v1"), "{}{}", end.stdout, end.stderr);
    assert_eq!(request.told(&gate).await, "200");
}

#[tokio::test]
async fn the_gateway_tells_which_tokens_an_api_takes() {
    let gate = Gate::new().await;
    let missing = gate.ask("GET", "/v1/mine", &[], b"").await;
    assert_eq!(told(&missing), (401, "credential-missing".to_owned()));
    let challenges = missing.message.values("www-authenticate").join("\n");
    let url = format!("http://{HOST}/.well-known/oauth-protected-resource/v1");
    assert!(
        challenges.contains(&format!("Bearer realm=\"partners\", resource_metadata=\"{url}\"")),
        "{challenges}"
    );
    let told_ = gate.ask("GET", "/.well-known/oauth-protected-resource/v1", &[], b"").await;
    assert_eq!((told_.status, told_.header("content-type")), (200, Some("application/json")));
    assert_eq!(
        told_.json(),
        json!({
            "resource": format!("http://{HOST}/v1"),
            "authorization_servers": [ISSUER],
            "scopes_supported": ["both", "read", "transfers.write"],
            "bearer_methods_supported": ["header"],
            "dpop_signing_alg_values_supported": ["ES256", "EdDSA", "PS256", "RS256"],
            "tls_client_certificate_bound_access_tokens": true,
        })
    );
    for (method, path) in [
        ("GET", "/.well-known/oauth-protected-resource"),
        ("GET", "/.well-known/oauth-protected-resource/v2"),
        ("GET", "/.well-known/oauth-protected-resource/v1/"),
        ("GET", "/.well-known/oauth-protected-resource/v1/mine"),
        ("POST", "/.well-known/oauth-protected-resource/v1"),
    ] {
        let other = gate.ask(method, path, &[], b"").await;
        assert_eq!(told(&other), (404, "operation-undeclared".to_owned()), "{method} {path}");
    }
    // Where no tokens are taken there is nothing to tell.
    let silent = Gate::with(|config| {
        config
            .replace("      jwt: { issuer: corp, audience: shop }\n", "")
            .replace("    anonymous:", "    require: { default: { any_of: [signature] } }\n    anonymous:")
    });
    drop(silent);
}

#[tokio::test]
async fn a_client_that_follows_the_challenge_reaches_a_token() {
    let issuer = IdentityProvider::start(Algorithm::Es256);
    let url = issuer.issuer();
    let gate = Gate::with(|config| {
        config.replace(
            "corp: { url: \"https://login.example.com/\", discovery: { file: issuer.json }, algorithms: [ES256] }",
            &format!("corp: {{ url: \"{url}\", algorithms: [ES256] }}"),
        )
    })
    .await;
    let missing = gate.ask("GET", "/v1/mine", &[], b"").await;
    let challenge = missing.message.values("www-authenticate").join("\n");
    let metadata = challenge.split("resource_metadata=\"").nth(1).unwrap().split('"').next().unwrap();
    let path = metadata.strip_prefix(&format!("http://{HOST}")).unwrap();
    let server = gate.ask("GET", path, &[], b"").await.json()["authorization_servers"][0].clone();
    assert_eq!(server.as_str(), Some(url.as_str()));
    // There it asks for a token; this issuer gives one without a word.
    let address = url.trim_start_matches("http://").trim_end_matches('/').parse().unwrap();
    let discovery =
        send(address, &request("GET", "/.well-known/openid-configuration", &[], b"")).await.unwrap();
    assert_eq!(discovery.json()["issuer"], server);
    let token = issuer.token("shop", "alice").claim("scope", "read").sign(&issuer.key());
    let response = gate.ask("GET", "/v1/mine", &[("Authorization", &format!("Bearer {token}"))], b"").await;
    assert_eq!(told(&response), (200, String::new()));
}
