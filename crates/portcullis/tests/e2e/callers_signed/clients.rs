//! The example clients and `portcullis sign`, run against the gate as people run them.

use super::draft::Request;
use super::gate::{ED25519, Gate, HMAC, HOST, P256, SECRET};
use crate::world::BINARY;
use portcullis_core::opaque::Kind;
use portcullis_signing_example::{Key, Request as Signing, Scheme};
use portcullis_testkit::Program;
use portcullis_testkit::idp::unix_now;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const TARGET: &str = "/v1/transfers?dry=%2Ftrue&dry=0";
const BODY: &str = r#"{"amount":1250,"to":"acct_7"}"#;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/clients")
}

/// Says so and returns false where a tool is not there.
fn has(tool: &str) -> bool {
    let there = Command::new(tool)
        .arg(if tool == "openssl" { "version" } else { "--version" })
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let there = there.is_ok_and(|status| status.success());
    if !there {
        let _ = std::io::Write::write_all(
            &mut std::io::stderr(),
            format!("skipped: {tool} is not installed\n").as_bytes(),
        );
    }
    there
}

/// Runs a client: prints the answer's body and, on the last line, its status.
fn run(gate: &Gate, program: &str, script: &str, scheme: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .arg(examples().join(script))
        .args(arguments)
        .env("PORTCULLIS_KEY_ID", HMAC)
        .env("PORTCULLIS_SECRET_FILE", gate.dir().path().join("billing.pch"))
        .env("PORTCULLIS_SCHEME", scheme)
        .env_remove("http_proxy")
        .env_remove("HTTP_PROXY")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{program}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text.lines().last().unwrap_or_default().to_owned()
        + if text.contains("\"ok\":true") { " ok" } else { &text }
}

async fn client(program: &str, script: &str) {
    // The clients take the authority from the URL, so this gate answers under its address.
    let gate = Gate::new().await;
    let base = format!("http://{}", gate.public());
    for scheme in ["portcullis-v1", "pc1"] {
        let post = run(&gate, program, script, scheme, &["POST", &format!("{base}{TARGET}"), BODY]);
        assert_eq!(post, "200 ok", "{script} {scheme}");
        let get = run(&gate, program, script, scheme, &["GET", &format!("{base}/v1/items/a%2Db?b=1")]);
        assert_eq!(get, "200 ok", "{script} {scheme}");
    }
    let seen = gate.upstream.received(4).await.unwrap();
    assert_eq!(seen[0].json(), serde_json::from_str::<serde_json::Value>(BODY).unwrap());
    // A client with another secret is refused: the test would notice a gate that lets everything through.
    std::fs::write(gate.dir().path().join("billing.pch"), Kind::SigningSecret.text(&[1; 32]).expose())
        .unwrap();
    let refused = run(&gate, program, script, "portcullis-v1", &["POST", &format!("{base}{TARGET}"), BODY]);
    assert!(refused.starts_with("401") && refused.contains("signature-invalid"), "{refused}");
}

#[tokio::test]
async fn the_shell_client() {
    if has("curl") && has("openssl") {
        client("sh", "shell/sign.sh").await;
    }
}

#[tokio::test]
async fn the_python_client() {
    if has("python3") {
        client("python3", "python/portcullis_signing.py").await;
    }
}

#[tokio::test]
async fn the_javascript_client() {
    if has("node") {
        client("node", "javascript/portcullis-signing.mjs").await;
    }
}

#[tokio::test]
async fn the_rust_client() {
    let gate = Gate::new().await;
    let key = Key::from_secret(HMAC, Kind::SigningSecret.text(&SECRET).expose()).unwrap();
    for (at, scheme) in [Scheme::PortcullisV1, Scheme::Pc1].into_iter().enumerate() {
        let url = format!("http://{HOST}{TARGET}");
        let post = Signing::new("POST", &url).body("application/json", BODY.as_bytes());
        let url = format!("http://{HOST}/v1/items/a");
        let get = Signing::new("GET", &url);
        for (n, (signing, target, body)) in
            [(post, TARGET, BODY), (get, "/v1/items/a", "")].into_iter().enumerate()
        {
            let mut fields =
                signing.sign(&key, scheme, unix_now(), &format!("rust-client-nonce-{at}{n}")).unwrap();
            fields.push(("Host".to_owned(), HOST.to_owned()));
            let method = if body.is_empty() { "GET" } else { "POST" }.to_owned();
            let request = Request { method, target: target.to_owned(), fields, body: body.into() };
            assert_eq!(request.told(&gate).await, "200", "{scheme:?} {target}");
        }
    }
}

/// `portcullis sign` prints the fields; what is sent are these.
async fn sign(gate: &Gate, arguments: &[&str], body: &str) -> String {
    let url = format!("http://{HOST}{TARGET}");
    let mut all = vec!["sign", "POST", &url, "-d", body];
    all.extend(arguments);
    let end = Program::run(BINARY, gate.dir().path(), &all).unwrap();
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    let mut fields: Vec<(String, String)> = end
        .stdout
        .lines()
        .map(|line| line.split_once(": ").map(|(n, v)| (n.to_owned(), v.to_owned())).unwrap())
        .collect();
    fields.push(("Host".to_owned(), HOST.to_owned()));
    let body = body.as_bytes().to_vec();
    Request { method: "POST".to_owned(), target: TARGET.to_owned(), fields, body }.told(gate).await
}

#[tokio::test]
async fn portcullis_sign() {
    let gate = Gate::new().await;
    let secret = ["--key-id", HMAC, "--secret-file", "billing.pch"];
    assert_eq!(sign(&gate, &secret, BODY).await, "200");
    assert_eq!(sign(&gate, &[&secret[..], &["--scheme", "pc1"]].concat(), BODY).await, "200");
    let batch = [&secret[..], &["-H", "X-Batch: 7", "--cover", "X-Batch"]].concat();
    assert_eq!(sign(&gate, &batch, BODY).await, "200");
    assert_eq!(sign(&gate, &["--key-id", HMAC, "--secret-file", "billing.pch"], "{}").await, "200");
    for (id, name) in [(ED25519, "ed25519"), (P256, "p256")] {
        let key = if name == "p256" { &gate.p256 } else { &gate.ed25519 };
        let Some(private) = key.private_jwk() else { panic!("{name}") };
        gate.dir().write("private.jwk", private.to_string());
        assert_eq!(sign(&gate, &["--key-id", id, "--jwk", "private.jwk"], BODY).await, "200", "{name}");
    }
    for bad in [
        vec!["sign", "GET", "http://a/", "--key-id", HMAC],
        vec!["sign", "GET", "http://a/", "--key-id", "short", "--secret-file", "billing.pch"],
        vec!["sign", "GET", "http://a/", "--key-id", HMAC, "--secret-file", "portcullis.yaml"],
        vec!["sign", "GET", "a/", "--key-id", HMAC, "--secret-file", "billing.pch"],
        vec!["sign", "GET", "http://a/", "--key-id", HMAC, "--jwk", "billing.pch"],
        vec![
            "sign",
            "GET",
            "http://a/",
            "--key-id",
            HMAC,
            "--secret-file",
            "billing.pch",
            "--cover",
            "x-none",
        ],
    ] {
        let end = Program::run(BINARY, gate.dir().path(), &bad).unwrap();
        assert_ne!(end.code, Some(0), "{bad:?}");
        assert!(end.stdout.is_empty() && !end.stderr.contains("pch_0"), "{}", end.stderr);
    }
}
