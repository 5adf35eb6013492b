//! The demo is a test: every attack gets in directly and none through the gate, and honest callers notice nothing.

use portcullis_testkit::{Program, TempDir};
use serde_json::Value;

#[test]
fn every_attack_gets_in_directly_and_none_through_the_gate() {
    let folder = TempDir::new("demo");
    let end =
        Program::run(env!("CARGO_BIN_EXE_portcullis"), folder.path(), &["demo", "--format", "json"]).unwrap();
    let board: Value = serde_json::from_str(&end.stdout).unwrap();
    let count = |kind: &str, what: &str| board[kind][what].as_u64().unwrap();
    let wrong: Vec<&Value> = board["cases"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|case| {
            let attack = case["kind"] == "attack";
            case["direct"]["succeeded"] != true || case["through"]["succeeded"] == attack
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", end.stderr);
    assert!(count("attacks", "total") >= 20 && count("legitimate", "total") >= 10);
    assert_eq!(count("attacks", "direct"), count("attacks", "total"));
    assert_eq!(count("attacks", "through"), 0);
    assert_eq!(count("legitimate", "direct"), count("legitimate", "total"));
    assert_eq!(count("legitimate", "through"), count("legitimate", "total"));
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    assert!(!end.stdout.contains('\u{1b}'), "colour without a terminal");
}

/// A refusal for the wrong reason proves little: these are the codes that the gates in question give.
#[test]
fn attacks_fail_at_the_gate_that_is_there_for_them() {
    let folder = TempDir::new("demo");
    let end =
        Program::run(env!("CARGO_BIN_EXE_portcullis"), folder.path(), &["demo", "--format", "json"]).unwrap();
    let board: Value = serde_json::from_str(&end.stdout).unwrap();
    for (name, code) in [
        ("read somebody else's order", "not-found"),
        ("pay from somebody else's account", "not-found"),
        ("name the own account and somebody else's in one body", "duplicate-key"),
        ("name the own id and somebody else's in one query", "duplicate-parameter"),
        ("walk to somebody else's order by dot segments", "path-refused"),
        ("no token, but a header that says who calls", "credential-missing"),
        ("an unsigned token (alg none)", "token-invalid"),
        ("an expired token", "token-expired"),
        ("a token in the URL, where proxies log it", "secret-in-url"),
        ("guess a PIN by trying", "quota-spent"),
        ("make oneself an administrator", "schema-violation"),
        ("a note of four megabytes", "payload-too-large"),
        ("thirty costly reports in a row", "quota-spent"),
        ("promote oneself", "scope-missing"),
        ("a method that nobody declared", "method-not-allowed"),
        ("let it fetch the cloud's credentials", "schema-violation"),
        ("read a stack trace", "upstream-error"),
        ("another method by a header", "header-refused"),
        ("a body of a type that a web form can send", "unsupported-media-type"),
        ("the debug route", "operation-undeclared"),
    ] {
        let cases = board["cases"].as_array().unwrap();
        let case = cases.iter().find(|case| case["name"] == name).unwrap();
        assert_eq!(case["through"]["problem"], code, "{name}");
    }
}
