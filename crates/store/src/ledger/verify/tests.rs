//! What somebody could do to a ledger, and what is said of it.

use super::super::{By, Deed, chain};
use super::*;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

const LEDGER: [u8; 16] = [5; 16];

struct Book {
    lines: Vec<Line>,
    end: End,
    checkpoints: Vec<Checkpoint>,
    key: Ed25519KeyPair,
}

fn deed(n: i64) -> Deed {
    Deed {
        at: 1_770_000_000 + n,
        event: "key.created",
        by: By::program(),
        target: format!("key {n}"),
        reason: None,
        detail: Vec::new(),
    }
}

/// `entries` of them, with checkpoints after some.
fn book(entries: i64, signed: &[i64]) -> Book {
    let key = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap();
    let mut book = Book {
        lines: Vec::new(),
        end: End { ledger: LEDGER, seq: entries, hash: chain::genesis(&LEDGER) },
        checkpoints: Vec::new(),
        key,
    };
    for seq in 1..=entries {
        book.lines.push(Line { seq, entry: Some(deed(seq).entry(seq)), hash: None });
    }
    book.chain();
    let mut previous = 0;
    for seq in signed {
        let checkpoint = book.checkpoint(*seq, previous);
        book.checkpoints.push(checkpoint);
        previous = *seq;
    }
    book
}

impl Book {
    /// Hashes everything anew, as somebody would who can write to the disk.
    fn chain(&mut self) {
        let mut hash = chain::genesis(&LEDGER);
        for line in &mut self.lines {
            hash = chain::next(&hash, line.entry.as_deref().unwrap());
            line.hash = Some(hash);
        }
        self.end.hash = hash;
        self.end.seq = self.lines.last().map_or(0, |line| line.seq);
    }

    fn checkpoint(&self, seq: i64, previous: i64) -> Checkpoint {
        let hash = self.lines.iter().find(|line| line.seq == seq).unwrap().hash.unwrap();
        let mut checkpoint = Checkpoint {
            ledger: LEDGER,
            seq,
            hash,
            at: 1_770_000_100,
            previous,
            key: "k".to_owned(),
            signature: Vec::new(),
        };
        checkpoint.signature = self.key.sign(checkpoint.statement().as_bytes()).as_ref().to_vec();
        checkpoint
    }

    fn report(&self) -> Report {
        self.against(&[])
    }

    fn against(&self, shipped: &[Checkpoint]) -> Report {
        let keys = [PublicKey { id: "k".to_owned(), bytes: self.key.public_key().as_ref().to_vec() }];
        let mut verifier = Verifier::new(Some(self.end.clone()), &keys, &self.checkpoints, shipped);
        for line in &self.lines {
            verifier.line(line);
        }
        verifier.finish()
    }

    fn faults(&self) -> Vec<Fault> {
        self.report().faults
    }
}

#[test]
fn an_untouched_ledger_is_intact_and_says_what_is_unsigned() {
    let report = book(9, &[3, 7]).report();
    assert!(report.is_intact(), "{:?}", report.faults);
    assert_eq!((report.entries, report.checkpoints), (9, 2));
    assert_eq!(report.signed, Some((7, 1_770_000_100)));
    assert_eq!(report.unsigned, Some((8, 9)));
    let whole = book(9, &[9]).report();
    assert_eq!((whole.unsigned, whole.is_intact()), (None, true));
    let nothing = Verifier::new(None, &[], &[], &[]).finish();
    assert!(nothing.is_intact() && nothing.entries == 0);
}

#[test]
fn every_changed_byte_is_found() {
    let whole = book(4, &[4]);
    for index in 0..4 {
        let seq = whole.lines[index].seq;
        let text = whole.lines[index].entry.clone().unwrap();
        for at in 0..text.len() {
            let mut bent = book(4, &[4]);
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            bent.lines[index].entry = String::from_utf8(bytes).ok();
            let faults = bent.faults();
            assert!(faults.iter().all(|fault| fault.seq() == Some(seq)), "{at}: {faults:?}");
            assert_eq!(faults.len(), 1, "byte {at} of entry {seq}");
        }
        for at in 0..32 {
            let mut bent = book(4, &[2]);
            bent.lines[index].hash.as_mut().unwrap()[at] ^= 0x80;
            assert!(bent.faults().contains(&Fault::Changed(seq)), "hash byte {at} of entry {seq}");
            assert!(!bent.faults().contains(&Fault::Changed(seq + 1)), "and nothing else is blamed");
        }
    }
}

#[test]
fn a_removed_line_is_found() {
    for index in 0..5 {
        let mut cut = book(6, &[6]);
        cut.lines.remove(index);
        let seq = i64::try_from(index).unwrap() + 1;
        assert_eq!(cut.faults(), [Fault::Removed(seq, seq)]);
    }
    let mut cut = book(9, &[]);
    cut.lines.drain(2..5);
    assert_eq!(cut.faults(), [Fault::Removed(3, 5)], "also where nothing is signed");
}

#[test]
fn a_removed_line_is_found_when_the_rest_is_numbered_and_hashed_anew() {
    let mut cut = book(6, &[2, 5]);
    cut.lines.remove(3);
    for (line, seq) in cut.lines.iter_mut().zip(1..) {
        let says = format!("{{\"seq\":{seq},");
        let rest = line.entry.as_deref().unwrap().split_once(',').unwrap().1;
        *line = Line { seq, entry: Some(format!("{says}{rest}")), hash: None };
    }
    cut.chain();
    assert_eq!(cut.faults(), [Fault::Rewritten(5)]);
}

#[test]
fn two_swapped_lines_are_found() {
    let mut swapped = book(6, &[]);
    let (a, b) = (swapped.lines[1].clone(), swapped.lines[2].clone());
    swapped.lines[1] = Line { seq: 2, ..b };
    swapped.lines[2] = Line { seq: 3, ..a };
    let faults = swapped.faults();
    assert!(faults.contains(&Fault::Moved { stands: 2, says: 3 }), "{faults:?}");
    assert!(faults.contains(&Fault::Moved { stands: 3, says: 2 }), "{faults:?}");
    // With their numbers put right, too.
    let mut bent = book(6, &[]);
    let text = |line: &Line, seq: i64| {
        let rest = line.entry.as_deref().unwrap().split_once(',').unwrap().1;
        Some(format!("{{\"seq\":{seq},{rest}"))
    };
    let (a, b) = (text(&bent.lines[1], 3), text(&bent.lines[2], 2));
    (bent.lines[1].entry, bent.lines[2].entry) = (b, a);
    assert_eq!(bent.faults(), [Fault::Changed(2), Fault::Changed(3)]);
}

#[test]
fn any_other_order_is_found() {
    let mut turned = book(7, &[7]);
    turned.lines.reverse();
    for (line, seq) in turned.lines.iter_mut().zip(1..) {
        line.seq = seq;
    }
    let faults = turned.faults();
    assert!(faults.contains(&Fault::Moved { stands: 1, says: 7 }), "{faults:?}");
    assert!(faults.len() >= 6);
}

#[test]
fn a_truncated_tail_is_found() {
    let mut cut = book(6, &[4]);
    cut.lines.truncate(4);
    assert_eq!(cut.faults(), [Fault::Truncated(5, 6)], "the end knows");
    cut.end = End { seq: 4, hash: cut.lines[3].hash.unwrap(), ..cut.end };
    assert!(cut.report().is_intact(), "what was never signed nor shipped, and is forgotten by the end");
    cut.lines.truncate(3);
    cut.end = End { seq: 3, hash: cut.lines[2].hash.unwrap(), ..cut.end };
    assert_eq!(cut.faults(), [Fault::Truncated(4, 4)], "the checkpoint knows");
}

#[test]
fn a_tail_that_is_cut_off_with_its_checkpoints_is_found_by_those_that_were_shipped() {
    let whole = book(6, &[2, 4, 6]);
    let shipped = whole.checkpoints.clone();
    let mut cut = book(6, &[2, 4, 6]);
    cut.lines.truncate(3);
    cut.checkpoints.truncate(1);
    cut.end = End { seq: 3, hash: cut.lines[2].hash.unwrap(), ..cut.end };
    assert!(cut.report().is_intact(), "by itself it cannot know");
    let faults = cut.against(&shipped).faults;
    assert!(faults.contains(&Fault::Truncated(4, 6)), "{faults:?}");
    assert!(faults.contains(&Fault::CheckpointRemoved(6)), "{faults:?}");
    assert!(whole.against(&shipped).is_intact());
}

#[test]
fn a_chain_written_anew_is_not_the_one_that_was_signed() {
    let mut anew = book(6, &[3, 6]);
    anew.lines[0].entry = Some(deed(99).entry(1));
    anew.chain();
    assert_eq!(anew.faults(), [Fault::Rewritten(3), Fault::Rewritten(6)]);
}

#[test]
fn a_forged_removed_or_foreign_checkpoint_is_found() {
    let mut forged = book(6, &[3, 6]);
    forged.checkpoints[1].at += 1;
    assert_eq!(forged.faults(), [Fault::Forged(6)]);
    assert_eq!(forged.report().signed.unwrap().0, 3, "and signs nothing");

    let mut removed = book(6, &[2, 4, 6]);
    removed.checkpoints.remove(1);
    assert_eq!(removed.faults(), [Fault::CheckpointRemoved(4)]);

    let mut unknown = book(6, &[6]);
    unknown.checkpoints[0].key = "other".to_owned();
    assert_eq!(unknown.faults(), [Fault::KeyUnknown(6, "other".to_owned())]);

    let mut foreign = book(6, &[6]);
    foreign.end.ledger = [6; 16];
    let faults = foreign.faults();
    assert!(faults.contains(&Fault::OtherLedger(6)) && faults.contains(&Fault::Changed(1)), "{faults:?}");

    let added = {
        let mut book = book(6, &[4]);
        book.end = End { seq: 5, hash: book.lines[4].hash.unwrap(), ..book.end };
        book
    };
    assert_eq!(added.faults(), [Fault::Added(6, 6)]);
    let homeless = Verifier::new(None, &[], &added.checkpoints, &[]).finish();
    assert!(homeless.faults.contains(&Fault::NoLedger));
}

#[test]
fn faults_are_bounded_and_counted() {
    let mut bent = book(500, &[]);
    for line in &mut bent.lines {
        line.hash.as_mut().unwrap()[0] ^= 1;
    }
    let report = bent.report();
    assert_eq!(report.faults.len(), 100);
    assert!(report.more >= 300, "{}", report.more);
}
