//! The admin API as it is configured: who may use it, and that nobody else can reach it.

#![expect(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{CONFIG, Folder, SPEC};
use portcullis_plan::access::Access;
use portcullis_plan::listen::Serve;

const STORE: &str = "store: { folder: store }\n";

fn codes(config: &str) -> Vec<&'static str> {
    let folder = Folder::with(&[("shop.yaml", SPEC), ("portcullis.yaml", config)]);
    folder.compile().findings.iter().map(|finding| finding.code).collect()
}

#[test]
fn it_is_an_api_of_admin_listeners_alone() {
    let admin = "admin: { address: 127.0.0.1:9443, authenticate: { jwt: { issuer: \"https://login.example.com/\", audience: ops }, api_key: {} } }\n";
    let folder =
        Folder::with(&[("shop.yaml", SPEC), ("portcullis.yaml", &format!("{CONFIG}{STORE}{admin}"))]);
    let outcome = folder.compile();
    let plan = outcome.plan.unwrap_or_else(|| panic!("{:?}", outcome.findings));
    let index = plan.administration.apis("anything").unwrap()[0];
    let api = plan.api(index).unwrap();
    assert_eq!(&*api.name, portcullis_plan::ADMINISTRATION);
    assert!(!plan.hosts.any.contains(&index) && plan.hosts.named.is_empty());
    assert!(plan.listeners.iter().any(|listener| listener.serve == [Serve::Admin]));
    assert_eq!(api.operations.len(), 8);
    for (operation, declared) in api.operations.iter().zip(api.contract.operations()) {
        let Access::AnyOf(alternatives) = &operation.access else { panic!("{} is open", declared.id) };
        assert_eq!(alternatives.len(), 2, "{}", declared.id);
        let read = declared.method.text() == "GET";
        let scope = if read { "portcullis.keys.read" } else { "portcullis.keys.manage" };
        assert!(
            alternatives.iter().all(|one| one.scopes.iter().any(|has| **has == *scope)),
            "{}",
            declared.id
        );
    }
    assert!(plan.upstreams.len() == 1, "nothing is forwarded by it");
}

#[test]
fn an_alternative_that_nobody_could_meet_is_not_there() {
    let admin = "admin: { address: 127.0.0.1:9443, authenticate: { api_key: {} } }\n";
    let folder =
        Folder::with(&[("shop.yaml", SPEC), ("portcullis.yaml", &format!("{CONFIG}{STORE}{admin}"))]);
    let outcome = folder.compile();
    let plan = outcome.plan.unwrap_or_else(|| panic!("{:?}", outcome.findings));
    let api = plan.api(plan.administration.any[0]).unwrap();
    for operation in &api.operations {
        let Access::AnyOf(alternatives) = &operation.access else { panic!("open") };
        assert_eq!(alternatives.len(), 1);
    }
}

#[test]
fn without_administrators_there_is_none() {
    for admin in ["admin: 127.0.0.1:9443\n", "admin: { address: 127.0.0.1:9443 }\n", ""] {
        let folder = Folder::with(&[("shop.yaml", SPEC), ("portcullis.yaml", &format!("{CONFIG}{admin}"))]);
        let plan = folder.compile().plan.unwrap();
        assert!(plan.administration.apis("localhost").is_none(), "{admin}");
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let key = "authenticate: { api_key: {} }";
    let cases: [(&str, String); 7] = [
        ("admin-nobody", format!("{CONFIG}{STORE}admin: {{ address: 127.0.0.1:1, authenticate: {{}} }}\n")),
        ("store-missing", format!("{CONFIG}admin: {{ address: 127.0.0.1:1, {key} }}\n")),
        ("admin-nowhere", format!("{CONFIG}{STORE}admin: {{ {key} }}\n")),
        ("admin-exposed", format!("{CONFIG}{STORE}admin: {{ address: \"0.0.0.0:1\", {key} }}\n")),
        ("key-unknown", format!("{CONFIG}{STORE}admin: {{ address: 127.0.0.1:1, autenticate: {{}} }}\n")),
        (
            "key-unknown",
            format!("{CONFIG}{STORE}admin: {{ address: 127.0.0.1:1, authenticate: {{ basic: {{}} }} }}\n"),
        ),
        ("name-reserved", CONFIG.replace("  shop:\n", "  portcullis:\n")),
    ];
    for (code, config) in cases {
        assert!(codes(&config).contains(&code), "{code}: {:?}\n{config}", codes(&config));
    }
    let no_audience = format!(
        "{CONFIG}{STORE}admin: {{ address: 127.0.0.1:1, authenticate: {{ jwt: {{ issuer: \"https://login.example.com/\" }} }} }}\n"
    );
    assert!(codes(&no_audience).contains(&"audience-missing"), "{:?}", codes(&no_audience));
}

#[test]
fn checkpoints_go_where_it_is_said() {
    let audit = "audit: { checkpoints: { file: out/checkpoints.log, webhook: { url: \"https://ops.example.com/\", secret: { file: hook } } } }\n";
    let config = format!("{CONFIG}{audit}");
    let folder = Folder::with(&[
        ("shop.yaml", SPEC),
        ("portcullis.yaml", &config),
        ("hook", "whsec_ERERERERERERERERERERERERERERERERERERERERERE=\n"),
    ]);
    let plan = folder.compile().plan.unwrap();
    assert!(plan.audit.file.unwrap().ends_with("out/checkpoints.log"));
    assert_eq!(&*plan.audit.webhook.unwrap().0, "https://ops.example.com/");
    let plain = config.replace("https://ops", "http://ops");
    assert!(codes(&plain).contains(&"webhook-not-https"));
}
