//! Client certificates (RFC 8705, callers.md § 13).

use super::gate::{Gate, HOST, b64u, told};
use aws_lc_rs::digest::{SHA256, digest};
use portcullis_testkit::certs::{Authority, Certificate};
use portcullis_testkit::client::send_tls;
use portcullis_testkit::{Response, request};
use serde_json::json;
use std::io;
use std::sync::Arc;

fn thumbprint(certificate: &Certificate) -> String {
    b64u(digest(&SHA256, &certificate.leaf()).as_ref())
}

async fn ask(
    gate: &Gate,
    certificate: Option<&Certificate>,
    target: &str,
    fields: &[(&str, &str)],
) -> io::Result<Response> {
    let config = match certificate {
        Some(certificate) => gate.authority.client_config_with(certificate),
        None => gate.authority.client_config(),
    };
    let fields = [&[("Host", HOST)], fields].concat();
    send_tls(gate.secure(), HOST, Arc::new(config), &request("GET", target, &fields, b"")).await
}

async fn verdict(
    gate: &Gate,
    certificate: Option<&Certificate>,
    target: &str,
    fields: &[(&str, &str)],
) -> String {
    match ask(gate, certificate, target, fields).await {
        Ok(response) => response.problem().unwrap_or_else(|| response.status.to_string()),
        Err(_) => "handshake".to_owned(),
    }
}

#[tokio::test]
async fn a_certificate_names_exactly_one_client() {
    let printed = std::cell::OnceCell::new();
    let gate = Gate::certified(
        |config| config,
        |clients| {
            let certificate = printed.get_or_init(|| clients.client(&["printed.example"]));
            (thumbprint(certificate), Vec::new())
        },
    )
    .await;
    let named = gate.clients.client(&["orders.acme.example"]);
    assert_eq!(verdict(&gate, Some(&named), "/v1/certified", &[]).await, "200");
    let by_uri = gate.clients.client_uri("spiffe://acme/orders");
    assert_eq!(verdict(&gate, Some(&by_uri), "/v1/certified", &[]).await, "200");
    assert_eq!(verdict(&gate, printed.get(), "/v1/certified", &[]).await, "200");
    let subject = gate.clients.client_subject("billing", "Acme, Inc.", "DE");
    assert_eq!(verdict(&gate, Some(&subject), "/v1/certified", &[]).await, "200");
    for (cn, o, c) in [
        ("Billing", "Acme, Inc.", "DE"),
        ("billing", "Acme", "DE"),
        ("billing", "Acme, Inc.", "AT"),
        ("billing,O=Acme", "x", "DE"),
    ] {
        let other = gate.clients.client_subject(cn, o, c);
        let told = verdict(&gate, Some(&other), "/v1/certified", &[]).await;
        assert_eq!(told, "certificate-invalid", "{cn} {o} {c}");
    }
    let reissued = gate.clients.client(&["printed.example"]);
    assert_eq!(
        verdict(&gate, Some(&reissued), "/v1/certified", &[]).await,
        "certificate-invalid",
        "another thumbprint"
    );
    for names in [&["nobody.example"][..], &["acme.example"], &["x.orders.acme.example"], &[]] {
        let stranger = gate.clients.client(names);
        assert_eq!(
            verdict(&gate, Some(&stranger), "/v1/certified", &[]).await,
            "certificate-invalid",
            "{names:?}"
        );
    }
    let two = gate.clients.client(&["orders.acme.example", "twin.example"]);
    assert_eq!(
        verdict(&gate, Some(&two), "/v1/certified", &[]).await,
        "certificate-invalid",
        "of two clients"
    );
    let both_names = gate.clients.client(&["orders.acme.example", "harmless.example"]);
    assert_eq!(verdict(&gate, Some(&both_names), "/v1/certified", &[]).await, "200");
    assert_eq!(verdict(&gate, None, "/v1/certified", &[]).await, "certificate-missing");
}

#[tokio::test]
async fn certificates_that_the_listener_does_not_take() {
    let revoked = std::cell::OnceCell::new();
    let gate = Gate::certified(
        |config| config,
        |clients| {
            let certificate = revoked.get_or_init(|| clients.client(&["orders.acme.example"]));
            (String::new(), vec![certificate.clone()])
        },
    )
    .await;
    let names = &["orders.acme.example"];
    for (what, certificate) in [
        ("expired", gate.clients.expired_client(names)),
        ("of another authority", Authority::new().client(names)),
        ("only for servers", gate.clients.server(names)),
        ("on the list", revoked.get().unwrap().clone()),
    ] {
        assert_eq!(verdict(&gate, Some(&certificate), "/v1/certified", &[]).await, "handshake", "{what}");
        // Presented and bad is never anonymous.
        assert_eq!(verdict(&gate, Some(&certificate), "/v1/public", &[]).await, "handshake", "{what}");
    }
    assert_eq!(verdict(&gate, None, "/v1/public", &[]).await, "200");
    assert_eq!(verdict(&gate, Some(&gate.clients.client(names)), "/v1/certified", &[]).await, "200");
}

#[tokio::test]
async fn a_forged_client_cert_header_is_nothing_and_goes_nowhere() {
    let gate = Gate::new().await;
    let der = gate.clients.client(&["orders.acme.example"]).leaf();
    use base64::Engine as _;
    let forged = format!(":{}:", base64::engine::general_purpose::STANDARD.encode(der));
    for name in
        ["Client-Cert", "X-Client-Cert", "X-SSL-Client-Cert", "SSL-Client-Cert", "X-Forwarded-Client-Cert"]
    {
        let fields = [(name, forged.as_str())];
        assert_eq!(verdict(&gate, None, "/v1/certified", &fields).await, "certificate-missing", "{name}");
        assert_eq!(verdict(&gate, None, "/v1/public", &fields).await, "200", "{name}");
    }
    for one in gate.upstream.received(5).await.unwrap() {
        let raw = String::from_utf8_lossy(&one.message.raw).to_lowercase();
        assert!(!raw.contains("client-cert"), "{raw}");
    }
}

#[tokio::test]
async fn a_token_bound_to_a_certificate_comes_with_it_or_not_at_all() {
    let gate = Gate::new().await;
    let own = gate.clients.client(&["own.example"]);
    let other = gate.clients.client(&["own.example"]);
    let bound = gate.token("read").claim("cnf", json!({ "x5t#S256": thumbprint(&own) })).sign(&gate.issuer);
    let bearer = format!("Bearer {bound}");
    let fields = [("Authorization", bearer.as_str())];
    assert_eq!(verdict(&gate, Some(&own), "/v1/mine", &fields).await, "200");
    assert_eq!(verdict(&gate, Some(&own), "/v1/mine", &fields).await, "200", "from the cache");
    assert_eq!(
        verdict(&gate, Some(&other), "/v1/mine", &fields).await,
        "token-invalid",
        "another certificate"
    );
    assert_eq!(verdict(&gate, None, "/v1/mine", &fields).await, "token-invalid", "none");
    let plain = gate.ask("GET", "/v1/mine", &fields, b"").await;
    assert_eq!(told(&plain), (401, "token-invalid".to_owned()), "in plaintext");
    let dpop = format!("DPoP {bound}");
    assert_eq!(verdict(&gate, Some(&own), "/v1/mine", &[("Authorization", &dpop)]).await, "token-invalid");
    // A certificate is ambient: beside a token that is not bound it changes nothing.
    let free = format!("Bearer {}", gate.token("read").sign(&gate.issuer));
    assert_eq!(verdict(&gate, Some(&other), "/v1/mine", &[("Authorization", &free)]).await, "200");
}

#[tokio::test]
async fn a_token_and_a_certificate_together() {
    let gate = Gate::new().await;
    let acme = gate.clients.client(&["orders.acme.example"]);
    let bearer = format!("Bearer {}", gate.token("read").sign(&gate.issuer));
    let fields = [("Authorization", bearer.as_str())];
    let target = "/v1/token-and-certificate";
    assert_eq!(verdict(&gate, Some(&acme), target, &fields).await, "200");
    assert_eq!(verdict(&gate, None, target, &fields).await, "certificate-missing");
    assert_eq!(verdict(&gate, Some(&acme), target, &[]).await, "credential-missing");
    let stranger = gate.clients.client(&["nobody.example"]);
    assert_eq!(verdict(&gate, Some(&stranger), target, &fields).await, "certificate-invalid");
}
