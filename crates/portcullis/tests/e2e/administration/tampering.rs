//! Somebody writes into the database's file. Whatever he does, `audit verify-ledger` ends with 1 and names the place.

use super::Office;
use rusqlite::{Connection, params};
use serde_json::Value;
use std::path::PathBuf;

/// A ledger of about a dozen entries, signed to its end, with nobody at work.
fn office() -> Office {
    let mut office = Office::new();
    for _ in 0..6 {
        let end =
            office.cli(&["keys", "create", "--name", "n", "--owner", "o", "--api", "shop", "--scope", "s"]);
        assert_eq!(end.code, Some(0), "{}", end.stderr);
    }
    assert_eq!(office.gate.terminate().unwrap().code, Some(0));
    assert_eq!(office.intact()["unsigned"], Value::Null);
    office
}

fn file(office: &Office) -> PathBuf {
    office.dir.path().join("store/portcullis.db")
}

/// As an attacker: without our triggers.
fn sql(office: &Office, work: impl FnOnce(&Connection)) {
    let db = Connection::open(file(office)).unwrap();
    db.execute_batch("DROP TRIGGER ledger_never_changed; DROP TRIGGER ledger_never_shortened;").unwrap();
    work(&db);
    db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
}

#[track_caller]
fn found(office: &Office, fault: &str, entry: i64) {
    let (said, code) = office.verify(&[]);
    assert_eq!(code, Some(1), "{said:#}");
    let faults = said["faults"].as_array().unwrap();
    let named = faults.iter().any(|one| one["fault"] == fault && one["entry"].as_i64() == Some(entry));
    assert!(named, "{fault} {entry}: {said:#}");
    let text = office.cli(&["audit", "verify-ledger"]);
    assert!(text.code == Some(1) && text.stdout.ends_with("NOT INTACT\n"), "{}", text.stdout);
}

fn entry(db: &Connection, seq: i64) -> (String, Vec<u8>) {
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    db.query_row("SELECT entry, hash FROM ledger WHERE seq = ?1", [seq], read).unwrap()
}

#[test]
fn a_changed_byte_is_found() {
    let office = office();
    sql(&office, |db| {
        let (text, _) = entry(db, 4);
        let bent = text.replacen("\"how\":\"cli\"", "\"how\":\"job\"", 1);
        assert_ne!(bent, text);
        db.execute("UPDATE ledger SET entry = ?2 WHERE seq = ?1", params![4, bent]).unwrap();
    });
    found(&office, "changed", 4);
}

#[test]
fn a_byte_changed_in_the_file_itself_is_found() {
    let office = office();
    // Everything into the one file first.
    Connection::open(file(&office)).unwrap().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let mut bytes = std::fs::read(file(&office)).unwrap();
    let needle = b"{\"seq\":3,\"at\":";
    let at = bytes.windows(needle.len()).position(|part| part == needle).unwrap() + needle.len() + 2;
    bytes[at] ^= 1;
    std::fs::write(file(&office), bytes).unwrap();
    found(&office, "changed", 3);
}

#[test]
fn a_removed_line_is_found() {
    let office = office();
    sql(&office, |db| assert_eq!(db.execute("DELETE FROM ledger WHERE seq = 3", []).unwrap(), 1));
    found(&office, "removed", 3);
}

#[test]
fn two_swapped_lines_are_found() {
    let office = office();
    sql(&office, |db| {
        db.execute_batch(
            "UPDATE ledger SET seq = -1 WHERE seq = 4; UPDATE ledger SET seq = 4 WHERE seq = 5;
             UPDATE ledger SET seq = 5 WHERE seq = -1;",
        )
        .unwrap();
    });
    found(&office, "moved", 4);
    found(&office, "moved", 5);
}

#[test]
fn any_other_order_is_found() {
    let office = office();
    sql(&office, |db| {
        db.execute_batch("UPDATE ledger SET seq = -seq; UPDATE ledger SET seq = 9 + seq WHERE seq > -9;")
            .unwrap();
        assert_eq!(
            db.query_row("SELECT count(*) FROM ledger WHERE seq > 0", [], |r| r.get::<_, i64>(0)).unwrap(),
            8
        );
    });
    found(&office, "moved", 1);
}

#[test]
fn a_truncated_tail_is_found() {
    let office = office();
    let last = office.intact()["last"].as_i64().unwrap();
    sql(&office, |db| {
        db.execute("DELETE FROM ledger WHERE seq > ?1", [last - 2]).unwrap();
    });
    found(&office, "truncated", last - 1);
}

#[test]
fn a_tail_cut_off_with_everything_that_knew_of_it_is_found_by_what_was_shipped() {
    let office = office();
    let last = office.intact()["last"].as_i64().unwrap();
    let kept = last - 3;
    sql(&office, |db| {
        let (_, hash) = entry(db, kept);
        db.execute("DELETE FROM ledger WHERE seq > ?1", [kept]).unwrap();
        db.execute("DELETE FROM ledger_checkpoint WHERE seq > ?1", [kept]).unwrap();
        db.execute("UPDATE ledger_head SET seq = ?1, hash = ?2", params![kept, hash]).unwrap();
    });
    found(&office, "truncated", kept + 1);
    std::fs::rename(office.dir.path().join("checkpoints.log"), office.dir.path().join("elsewhere.log"))
        .unwrap();
    let (said, code) = office.verify(&[]);
    assert_eq!(code, Some(0), "without what was shipped nobody could know: {said:#}");
    let (_, code) = office.verify(&["--checkpoints", "elsewhere.log"]);
    assert_eq!(code, Some(1));
}

#[test]
fn a_ledger_written_anew_without_the_key_is_found() {
    let office = office();
    sql(&office, |db| {
        let id: Vec<u8> = db.query_row("SELECT id FROM ledger_head", [], |row| row.get(0)).unwrap();
        let count: i64 = db.query_row("SELECT max(seq) FROM ledger", [], |row| row.get(0)).unwrap();
        let sha = |parts: &[&[u8]]| {
            let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
            parts.iter().for_each(|part| context.update(part));
            context.finish().as_ref().to_vec()
        };
        let mut hash = sha(&[b"portcullis-ledger-v1\n", &id]);
        for seq in 1..=count {
            let text = entry(db, seq).0.replace("\"how\":\"cli\"", "\"how\":\"job\"");
            hash = sha(&[&hash, text.as_bytes()]);
            db.execute("UPDATE ledger SET entry = ?2, hash = ?3 WHERE seq = ?1", params![seq, text, hash])
                .unwrap();
        }
        db.execute("UPDATE ledger_head SET hash = ?1", [hash.clone()]).unwrap();
        db.execute("UPDATE ledger_checkpoint SET hash = ?1 WHERE seq = ?2", params![hash, count]).unwrap();
    });
    let last = office.verify(&[]).0["last"].as_i64().unwrap();
    found(&office, "checkpoint-forged", last);
    // With another key in the place of the one that signed, the shipped ones do not fit any more.
    std::fs::remove_file(office.dir.path().join("store/ledger-key.p8")).unwrap();
    let (said, code) = office.verify(&[]);
    assert_eq!(code, Some(1), "{said:#}");
    assert_eq!(said["signed"], Value::Null);
}

#[test]
fn a_database_that_cannot_be_read_is_no_intact_ledger() {
    let office = office();
    Connection::open(file(&office)).unwrap().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let mut bytes = std::fs::read(file(&office)).unwrap();
    let len = bytes.len();
    bytes.truncate(len / 2);
    std::fs::write(file(&office), &bytes).unwrap();
    let end = office.cli(&["audit", "verify-ledger"]);
    assert!(matches!(end.code, Some(1 | 5)), "{:?} {}{}", end.code, end.stdout, end.stderr);
    assert!(!end.stdout.contains("\nintact"));
    let _ = std::fs::remove_file(office.dir.path().join("store/portcullis.db-wal"));
    std::fs::write(file(&office), b"no database at all").unwrap();
    let end = office.cli(&["audit", "verify-ledger"]);
    assert!(matches!(end.code, Some(1 | 5)), "{:?} {}{}", end.code, end.stdout, end.stderr);
}
