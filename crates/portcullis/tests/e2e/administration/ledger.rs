//! The ledger of a running program: who writes, when it is signed, what a crash leaves behind.

use super::{Office, order};
use crate::world::BINARY;
use portcullis_testkit::{PATIENCE, Program, request, send};
use serde_json::{Value, json};
use std::time::Instant;

const KEYS: &str = "/portcullis/v1/keys";

fn create() -> [&'static str; 10] {
    ["keys", "create", "--name", "n", "--owner", "acme", "--api", "shop", "--scope", "s"]
}

#[test]
fn start_reloads_and_stop_are_in_it() {
    let mut office = Office::new();
    let config = std::fs::read_to_string(office.dir.path().join("portcullis.yaml")).unwrap();
    let wait = |office: &Office, event: &str| {
        let began = Instant::now();
        while !office.ledger().iter().any(|entry| entry["event"] == event) {
            assert!(began.elapsed() < PATIENCE, "{event} does not come: {:#?}", office.ledger());
        }
    };
    office.dir.write("portcullis.yaml", format!("{config}nonsense: true\n"));
    office.gate.signal(portcullis_testkit::program::Signal::Hup).unwrap();
    wait(&office, "plan.refused");
    office.dir.write("portcullis.yaml", format!("{config}revocation: {{ max_staleness: 50s }}\n"));
    office.gate.signal(portcullis_testkit::program::Signal::Hup).unwrap();
    wait(&office, "plan.reloaded");
    assert_eq!(office.gate.terminate().unwrap().code, Some(0));
    let ledger = office.ledger();
    let events: Vec<&str> = ledger.iter().map(|entry| entry["event"].as_str().unwrap()).collect();
    assert_eq!((events.first(), events.last()), (Some(&"program.started"), Some(&"program.stopped")));
    let find = |event: &str| ledger.iter().find(|entry| entry["event"] == event).unwrap();
    assert!(
        find("plan.refused")["reason"].as_str().unwrap().contains("unknown"),
        "{:#}",
        find("plan.refused")
    );
    assert_eq!(find("plan.reloaded")["before"], find("program.started")["plan"]);
    assert!(ledger.iter().all(|entry| entry["actor"] == "program" && entry["how"] == "program"));
    let said = office.intact();
    assert_eq!(said["unsigned"], Value::Null, "signed at the stop");
}

#[tokio::test]
async fn command_lines_and_a_running_gate_write_one_ledger_at_the_same_time() {
    let office = Office::new();
    let folder = office.dir.path().to_owned();
    let lines: Vec<_> = (0..3)
        .map(|_| {
            let folder = folder.clone();
            std::thread::spawn(move || {
                for _ in 0..4 {
                    // A store that is busy for too long says so (5), and has changed nothing.
                    let end = loop {
                        let end = Program::run(BINARY, &folder, &create()).unwrap();
                        if end.code != Some(5) {
                            break end;
                        }
                    };
                    assert_eq!(end.code, Some(0), "{}", end.stderr);
                }
            })
        })
        .collect();
    let mut made = 0;
    while made < 20 {
        match office.post(KEYS, &order()).await.status {
            201 => made += 1,
            503 => {}
            other => panic!("{other}"),
        }
    }
    for line in lines {
        line.join().unwrap();
    }
    office.intact();
    let ledger = office.ledger();
    let count = |how: &str| ledger.iter().filter(|e| e["event"] == "key.created" && e["how"] == how).count();
    assert_eq!((count("cli"), count("admin-api")), (12, 20));
    let listed = office.cli(&["keys", "list", "--format", "json"]).stdout;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 32, "no key without its entry, no entry without its key");
}

#[test]
fn after_kill_nine_it_verifies_and_says_what_is_unsigned() {
    let mut office = Office::new();
    for round in 0..3 {
        // Killed in the middle of writing, whenever that is.
        let before = office.ledger().len();
        let bearer = office.bearer(super::MANAGE);
        let address = office.gate.admin();
        let writers: Vec<_> = (0..4)
            .map(|_| {
                let bearer = bearer.clone();
                std::thread::spawn(move || {
                    let fields = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
                    let bytes = request("POST", KEYS, &fields, order().to_string().as_bytes());
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                    runtime.unwrap().block_on(async {
                        let mut acknowledged = Vec::new();
                        while let Ok(answer) = send(address, &bytes).await {
                            if answer.status == 201 {
                                acknowledged.push(answer.json()["id"].as_str().unwrap().to_owned());
                            }
                        }
                        acknowledged
                    })
                })
            })
            .collect();
        let began = Instant::now();
        while office.ledger().len() < before + 5 {
            assert!(began.elapsed() < PATIENCE, "nothing is written");
        }
        office.gate.signal(portcullis_testkit::program::Signal::Kill).unwrap();
        let _ = office.gate.finish();
        let mut acknowledged = Vec::new();
        for writer in writers {
            acknowledged.extend(writer.join().unwrap());
        }
        let said = office.intact();
        let ledger = office.ledger();
        let last = ledger.last().unwrap()["seq"].as_i64().unwrap();
        let signed = said["signed"]["entry"].as_i64().unwrap();
        let unsigned = &said["unsigned"];
        assert_eq!((&unsigned["from"], &unsigned["to"]), (&json!(signed + 1), &json!(last)), "round {round}");
        for id in &acknowledged {
            assert!(
                ledger.iter().any(|entry| entry["target"] == **id),
                "{id} was told, and is not in the ledger"
            );
        }
        office.again();
        let began = Instant::now();
        while office.intact()["signed"]["entry"].as_i64().unwrap() <= last {
            assert!(began.elapsed() < PATIENCE, "the next start signs what was left");
        }
    }
}

#[tokio::test]
async fn checkpoints_go_to_a_file_a_webhook_and_the_notes() {
    let mut office = Office::new();
    let made = office.cli(&create());
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    assert_eq!(office.intact()["unsigned"], Value::Null, "a command line signs what it wrote");
    let sent = office.hook.received(2).await.unwrap();
    for one in &sent {
        assert_eq!(one.json()["type"], "portcullis.ledger.checkpoint");
        assert!(one.header("webhook-signature").unwrap().starts_with("v1,"));
        assert!(one.header("webhook-id").unwrap().contains("ledger-"));
    }
    let end = office.gate.terminate().unwrap();
    let log = std::fs::read_to_string(office.dir.path().join("checkpoints.log")).unwrap();
    let seqs: Vec<i64> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_i64().unwrap())
        .collect();
    assert_eq!(seqs.last(), office.ledger().last().unwrap()["seq"].as_i64().as_ref(), "at the stop, too");
    assert!(seqs.windows(2).all(|pair| pair[0] <= pair[1]), "{seqs:?}");
    assert!(end.stderr.matches("ledger.checkpoint\"").count() >= seqs.len(), "{}", end.stderr);
    // The log alone is enough to compare with.
    let notes = office.dir.write("notes.log", &end.stderr).display().to_string();
    let (said, code) = office.verify(&["--checkpoints", &notes]);
    assert_eq!(code, Some(0), "{said:#}");
    assert!(said["shipped_compared"].as_u64().unwrap() > u64::try_from(seqs.len()).unwrap());
}

#[test]
fn the_public_key_is_printed_and_believed_only_if_it_is_the_one() {
    let office = Office::new();
    let printed = office.cli(&["audit", "public-key"]);
    let hex = printed.stdout.trim_end();
    assert_eq!((printed.code, hex.len()), (Some(0), 64));
    let began = Instant::now();
    while office.verify(&[]).0["signed"] == Value::Null {
        assert!(began.elapsed() < PATIENCE, "nothing is signed");
    }
    let (said, code) = office.verify(&["--public-key", hex]);
    assert_eq!(code, Some(0), "{said:#}");
    let (said, code) = office.verify(&["--public-key", &"11".repeat(32)]);
    assert_eq!(code, Some(1));
    assert_eq!(said["faults"][0]["fault"], "checkpoint-key-unknown");
    for bad in ["", "zz", &hex[1..]] {
        assert_eq!(office.cli(&["audit", "verify-ledger", "--public-key", bad]).code, Some(2), "{bad}");
    }
}

#[test]
fn where_there_is_no_ledger_it_is_said() {
    let office = Office::new();
    assert_eq!(office.cli(&["audit", "verify-ledger", "--store", "nowhere"]).code, Some(3));
    assert_eq!(office.cli(&["audit", "verify-ledger", "--config", "nothing.yaml"]).code, Some(2));
    assert_eq!(office.cli(&["audit", "verify-ledger", "--checkpoints", "nothing.log"]).code, Some(2));
    let text = office.cli(&["audit", "verify-ledger", "--store", "store"]);
    assert_eq!(text.code, Some(0), "{}{}", text.stdout, text.stderr);
    assert!(text.stdout.ends_with("intact\n"), "{}", text.stdout);
}
