//! `portcullis detect`: rules of an operator's own over logs of other programs, and the six triggers over ours.

use crate::world::BINARY;
use portcullis_testkit::program::Finished;
use portcullis_testkit::{Program, TempDir, vectors};
use serde_json::Value;

/// The scenarios of the public logs, with the same parameters, in our words.
const RULES: &str = r#"
formats:
  - '^(?<address>\S+) \S+ \S+ \[(?<time>[^\]]+)\] "(?<method>\S+) (?<path>\S+)[^"]*" (?<status>\d+)'
  - '^(?<time>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) \[error\] .*(?<kind>was not found in|limiting requests).* client: (?<address>[^,]+),'
  - '^\[(?<time>[^\]]+)\] \S+:\s+\{"type":"(?<kind>[^"]+)","ip":"(?<address>[^"]+)"'
rules:
  probing:
    match:
      status: { is: [400, 403, 404] }
      path: { contains: "?" }
    group_by: [address]
    distinct: path
    capacity: 10
    leak: 10s
    cooldown: 5m
  brute-force:
    match: { kind: { is: "was not found in" } }
    group_by: [address]
    capacity: 5
    leak: 10s
    cooldown: 1m
    severity: high
  brute-force-401:
    match: { status: { is: 401 } }
    group_by: [address]
    capacity: 5
    leak: 10s
    cooldown: 1m
    severity: high
  payment-testing:
    match: { kind: { is: PAYMENT_FAILED } }
    group_by: [address]
    capacity: 3
    leak: 1h
  limit-exceeded:
    match: { kind: { is: "limiting requests" } }
    group_by: [address]
    capacity: 5
    leak: 60s
"#;

fn run(dir: &TempDir, arguments: &[&str]) -> Finished {
    Program::run(BINARY, dir.path(), arguments).unwrap()
}

fn alerts(finished: &Finished) -> Vec<(String, String)> {
    let lines = finished.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .map(|line| (line["rule"].as_str().unwrap().to_owned(), line["entity"].as_str().unwrap().to_owned()))
        .collect()
}

#[test]
fn public_logs_raise_exactly_what_is_known_to_be_in_them() {
    let Some(folder) = vectors("detection-logs") else { return };
    let dir = TempDir::new("detect");
    dir.write("rules.yaml", RULES);
    for (log, expected) in [
        ("apache-http-probing", vec![("probing", "172.17.0.1")]),
        ("nginx-http-generic-bf", vec![("brute-force", "127.0.0.1"), ("brute-force-401", "127.0.0.1")]),
        ("magento-ccs", vec![("payment-testing", "1.2.3.4")]),
        ("nginx_req_limit_exceeded", vec![("limit-exceeded", "::1")]),
    ] {
        let path = folder.join(log).join(format!("{log}.log"));
        let done = run(
            &dir,
            &[
                "detect",
                "replay",
                "--log",
                path.to_str().unwrap(),
                "--rules",
                "rules.yaml",
                "--format",
                "json",
            ],
        );
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        let expected: Vec<_> =
            expected.into_iter().map(|(rule, entity)| (rule.to_owned(), entity.to_owned())).collect();
        assert_eq!(alerts(&done), expected, "{log}: {}", done.stderr);
        assert!(!done.stderr.contains("could not be read"), "{log}: {}", done.stderr);
    }
}

#[test]
fn the_request_log_replays_through_the_triggers() {
    let dir = TempDir::new("detect");
    let line = |second: u32, status: u16, code: &str| {
        format!(
            "{{\"@timestamp\":\"2026-11-24T09:00:{second:02}.000Z\",\"event.dataset\":\"portcullis.request\",\
             \"source.ip\":\"198.51.100.7\",\"http.response.status_code\":{status},\"error.code\":\"{code}\",\
             \"portcullis.operation\":\"listOrders\"}}\n"
        )
    };
    let ten: String = (0..10).map(|second| line(second, 401, "token-invalid")).collect();
    dir.write("access.log", &ten);
    let quiet = run(&dir, &["detect", "replay", "--log", "access.log", "--format", "json"]);
    assert!(!quiet.stdout.contains("credential_attack"), "{}", quiet.stdout);
    dir.write("access.log", format!("{ten}{}", line(11, 401, "token-invalid")));
    let done = run(&dir, &["detect", "replay", "--log", "access.log", "--format", "json"]);
    assert!(
        alerts(&done).contains(&("credential_attack".to_owned(), "address 198.51.100.7".to_owned())),
        "{}",
        done.stdout
    );
    assert!(!done.stdout.contains("listOrders\",\"credential"), "an alert names no values of requests");
}

#[test]
fn rules_that_say_nothing_or_misspell_are_shown_with_their_place() {
    let dir = TempDir::new("detect");
    dir.write("access.log", "");
    for (rules, code, place) in [
        ("rules: { a: { match: { status: { is: 404 } } } }", "rule-amount", "rules.yaml:1"),
        ("rules: { a: { match: { status: {} }, count: 5, window: 1m } }", "rule-amount", "rules.yaml:1"),
        ("rules: { a: { count: 5, window: 1m, capacity: 3, leak: 1s } }", "rule-amount", "rules.yaml:1"),
        ("rules: { a: { count: 0, window: 1m } }", "rule-amount", "rules.yaml:1"),
        ("rules: { a: { count: 5, windov: 1m } }", "window", "rules.yaml:1"),
        ("formats: []", "rules-empty", "rules.yaml"),
    ] {
        dir.write("rules.yaml", rules);
        let done = run(&dir, &["detect", "replay", "--log", "access.log", "--rules", "rules.yaml"]);
        assert_eq!(done.code, Some(1), "{rules}");
        assert!(done.stderr.contains(code) && done.stderr.contains(place), "{rules}: {}", done.stderr);
    }
    dir.write("rules.yaml", "formats: ['(']\nrules: { a: { count: 5, window: 1m } }");
    let done = run(&dir, &["detect", "replay", "--log", "access.log", "--rules", "rules.yaml"]);
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.contains("is not a pattern"), "{}", done.stderr);
    dir.write("rules.yaml", "rules: { a: { count: 5, window: 1m } }");
    let done = run(&dir, &["detect", "replay", "--log", "nowhere.log", "--rules", "rules.yaml"]);
    assert_eq!(done.code, Some(1));
    dir.write("access.log", "one\ntwo\n");
    let done = run(&dir, &["detect", "replay", "--log", "access.log", "--rules", "rules.yaml"]);
    assert!(done.stderr.contains("the first is line 1"), "{}", done.stderr);
}

#[test]
fn made_up_traffic_prints_its_figures() {
    let dir = TempDir::new("detect");
    let done = run(
        &dir,
        &[
            "detect",
            "simulate",
            "--days",
            "10",
            "--principals",
            "10",
            "--seed",
            "3",
            "--benign",
            "--format",
            "json",
        ],
    );
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let score: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!((score["wrong"].as_u64(), score["seed"].as_u64()), (Some(0), Some(3)), "{score}");
    assert!(score["events"].as_u64().unwrap() > 1_000);
}
