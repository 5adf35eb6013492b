//! Certificates that a proxy tells of by `Client-Cert` (RFC 9440; callers.md § 13, wire.md § 3.4).

use super::gate::{Gate, b64u};
use aws_lc_rs::digest::{SHA256, digest};
use portcullis_testkit::certs::{Authority, Certificate};
use serde_json::json;
use std::cell::OnceCell;

const READS: &str = "  - { address: \"127.0.0.1:0\", client_cert_from_proxy: true, \
                     clients: { ca: { file: ca.pem }, crl: { file: crl.pem }, mode: optional } }\n  - name: secure";
const TRUSTED: &str = "trusted_proxies: [127.0.0.1/32]\nadmin:";

/// A gate behind a proxy that it trusts, and that tells of certificates; one certificate is on the list.
async fn behind(change: impl Fn(String) -> String) -> (Gate, Certificate) {
    let listed = OnceCell::new();
    let gate = Gate::certified(
        |config| {
            let plain = "  - { address: \"127.0.0.1:0\" }\n  - name: secure";
            assert!(config.contains(plain));
            change(config.replace(plain, READS).replace("admin:", TRUSTED))
        },
        |clients| {
            let certificate = listed.get_or_init(|| clients.client(&["orders.acme.example"]));
            (String::new(), vec![certificate.clone()])
        },
    )
    .await;
    let listed = listed.into_inner().unwrap();
    (gate, listed)
}

async fn verdict(gate: &Gate, target: &str, fields: &[(&str, &str)]) -> String {
    let response = gate.ask("GET", target, fields, b"").await;
    response.problem().unwrap_or_else(|| response.status.to_string())
}

#[tokio::test]
async fn a_trusted_proxy_tells_of_certificates_and_they_are_checked_again() {
    let (gate, listed) = behind(|config| config).await;
    let named = gate.clients.client(&["orders.acme.example"]);
    let told = named.told();
    for turn in ["first", "from memory"] {
        assert_eq!(verdict(&gate, "/v1/certified", &[("Client-Cert", &told)]).await, "200", "{turn}");
    }
    let subject = gate.clients.client_subject("billing", "Acme, Inc.", "DE").told();
    assert_eq!(verdict(&gate, "/v1/certified", &[("Client-Cert", &subject)]).await, "200");
    let nobody = gate.clients.client(&["nobody.example"]).told();
    assert_eq!(verdict(&gate, "/v1/certified", &[("Client-Cert", &nobody)]).await, "certificate-invalid");
    assert_eq!(verdict(&gate, "/v1/certified", &[]).await, "certificate-missing");
    assert_eq!(verdict(&gate, "/v1/public", &[]).await, "200", "absent is fine");
    let names = &["orders.acme.example"];
    for (what, certificate) in [
        ("expired", gate.clients.expired_client(names)),
        ("of another authority", Authority::new().client(names)),
        ("only for servers", gate.clients.server(names)),
        ("on the list", listed),
    ] {
        for target in ["/v1/certified", "/v1/public"] {
            let told = certificate.told();
            let verdict = verdict(&gate, target, &[("Client-Cert", &told)]).await;
            assert_eq!(verdict, "certificate-invalid", "{what}: present and bad is never anonymous");
        }
    }
    let issuers = format!("{told}, {}", gate.clients.server(names).told());
    for (what, fields, expected) in [
        ("twice", vec![("Client-Cert", told.as_str()), ("Client-Cert", told.as_str())], "duplicate-header"),
        ("a list of two", vec![("Client-Cert", issuers.as_str())], "certificate-invalid"),
        ("not a byte sequence", vec![("Client-Cert", "CN=orders.acme.example")], "certificate-invalid"),
        ("without colons", vec![("Client-Cert", told.trim_matches(':'))], "certificate-invalid"),
        ("no certificate", vec![("Client-Cert", ":AQID:")], "certificate-invalid"),
        ("empty", vec![("Client-Cert", "")], "certificate-invalid"),
        ("a chain alone", vec![("Client-Cert-Chain", told.as_str())], "certificate-invalid"),
        (
            "a bad chain",
            vec![("Client-Cert", told.as_str()), ("Client-Cert-Chain", "x")],
            "certificate-invalid",
        ),
        ("under another name", vec![("X-Client-Cert", told.as_str())], "certificate-missing"),
        ("under yet another name", vec![("X-SSL-Client-Cert", told.as_str())], "certificate-missing"),
        (
            "beside another name",
            vec![("Client-Cert", told.as_str()), ("X-Client-Cert", nobody.as_str())],
            "200",
        ),
    ] {
        assert_eq!(verdict(&gate, "/v1/certified", &fields).await, expected, "{what}");
    }
    let seen = gate.upstream.received(5).await.unwrap();
    for one in seen {
        let raw = String::from_utf8_lossy(&one.message.raw).to_lowercase();
        assert!(!raw.contains("client-cert"), "{raw}");
    }
}

#[tokio::test]
async fn a_stranger_tells_nothing_and_neither_does_a_proxy_on_another_listener() {
    let (gate, _) = behind(|config| config.replace("127.0.0.1/32", "192.0.2.0/24")).await;
    let told = gate.clients.client(&["orders.acme.example"]).told();
    assert_eq!(verdict(&gate, "/v1/certified", &[("Client-Cert", &told)]).await, "certificate-missing");
    assert_eq!(verdict(&gate, "/v1/public", &[("Client-Cert", &told)]).await, "200");
    let raw = gate.upstream.received(1).await.unwrap();
    assert!(!String::from_utf8_lossy(&raw[0].message.raw).to_lowercase().contains("client-cert"));

    // Trusted, but the listener does not read the field.
    let gate = Gate::with(|config| config.replace("admin:", TRUSTED)).await;
    let told = gate.clients.client(&["orders.acme.example"]).told();
    assert_eq!(verdict(&gate, "/v1/certified", &[("Client-Cert", &told)]).await, "certificate-missing");
    assert_eq!(verdict(&gate, "/v1/public", &[("Client-Cert", "nonsense")]).await, "200");
}

#[tokio::test]
async fn a_token_is_bound_to_the_certificate_that_the_proxy_tells_of() {
    let (gate, _) = behind(|config| config).await;
    let (own, other) = (gate.clients.client(&["own.example"]), gate.clients.client(&["own.example"]));
    let print = b64u(digest(&SHA256, &own.leaf()).as_ref());
    let token = gate.token("read").claim("cnf", json!({ "x5t#S256": print })).sign(&gate.issuer);
    let bearer = format!("Bearer {token}");
    for (certificate, expected) in
        [(Some(&own), "200"), (Some(&other), "token-invalid"), (None, "token-invalid")]
    {
        let told = certificate.map(Certificate::told);
        let mut fields = vec![("Authorization", bearer.as_str())];
        fields.extend(told.as_deref().map(|told| ("Client-Cert", told)));
        assert_eq!(verdict(&gate, "/v1/mine", &fields).await, expected);
    }
}

#[tokio::test]
async fn a_listener_that_demands_certificates_demands_them_of_the_proxys_clients() {
    let (gate, _) =
        behind(|config| config.replace("mode: optional } }\n  - name", "mode: required } }\n  - name")).await;
    let told = gate.clients.client(&["own.example"]).told();
    assert_eq!(verdict(&gate, "/v1/public", &[]).await, "certificate-missing");
    assert_eq!(verdict(&gate, "/v1/public", &[("Client-Cert", &told)]).await, "200");
}
