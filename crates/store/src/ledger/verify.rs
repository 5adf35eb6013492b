//! Is the ledger as it was written? A fold over what is there; pure.

use super::Checkpoint;
use super::chain::{self, Hash};
use std::collections::BTreeMap;

/// A public key that checkpoints may be signed with.
#[derive(Clone, Debug)]
pub struct PublicKey {
    /// Its id in checkpoints.
    pub id: String,
    /// 32 bytes.
    pub bytes: Vec<u8>,
}

/// An entry as it was found. What cannot be read is nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where it stands.
    pub seq: i64,
    /// Its text.
    pub entry: Option<String>,
    /// The hash beside it.
    pub hash: Option<Hash>,
}

/// Where the ledger says that it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Which ledger.
    pub ledger: [u8; 16],
    /// The last entry.
    pub seq: i64,
    /// Its hash.
    pub hash: Hash,
}

/// Something is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The text of an entry, or the hash beside it, is another.
    Changed(i64),
    /// An entry stands where another was: lines were swapped, or moved.
    Moved {
        /// Where it stands.
        stands: i64,
        /// What it says.
        says: i64,
    },
    /// Entries are missing in the middle.
    Removed(i64, i64),
    /// Entries are missing at the end.
    Truncated(i64, i64),
    /// Entries stand beyond the end.
    Added(i64, i64),
    /// An entry cannot be read.
    Unreadable(i64),
    /// The chain holds, but is not the one that was signed up to this entry: it was written anew.
    Rewritten(i64),
    /// The end that the ledger remembers is not the one that it has.
    End,
    /// A checkpoint's signature is not by its key.
    Forged(i64),
    /// A checkpoint is signed by a key that is not among those given.
    KeyUnknown(i64, String),
    /// The checkpoint that this one follows, or that was shipped, is not there.
    CheckpointRemoved(i64),
    /// A shipped checkpoint is of another ledger.
    OtherLedger(i64),
    /// There is something, and no ledger that it could be of.
    NoLedger,
}

impl Fault {
    /// Stable word.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Changed(_) => "changed",
            Self::Moved { .. } => "moved",
            Self::Removed(..) => "removed",
            Self::Truncated(..) => "truncated",
            Self::Added(..) => "added",
            Self::Unreadable(_) => "unreadable",
            Self::Rewritten(_) => "rewritten",
            Self::End => "end-differs",
            Self::Forged(_) => "checkpoint-forged",
            Self::KeyUnknown(..) => "checkpoint-key-unknown",
            Self::CheckpointRemoved(_) => "checkpoint-removed",
            Self::OtherLedger(_) => "other-ledger",
            Self::NoLedger => "no-ledger",
        }
    }

    /// The first entry that it is about.
    pub const fn seq(&self) -> Option<i64> {
        match self {
            Self::Changed(seq)
            | Self::Moved { stands: seq, .. }
            | Self::Removed(seq, _)
            | Self::Truncated(seq, _)
            | Self::Added(seq, _)
            | Self::Unreadable(seq)
            | Self::Rewritten(seq)
            | Self::Forged(seq)
            | Self::KeyUnknown(seq, _)
            | Self::CheckpointRemoved(seq)
            | Self::OtherLedger(seq) => Some(*seq),
            Self::End | Self::NoLedger => None,
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Changed(seq) => write!(f, "entry {seq} was changed"),
            Self::Moved { stands, says } => {
                write!(f, "in the place of entry {stands} stands entry {says}")
            }
            Self::Removed(from, to) => write!(f, "{} removed", entries(*from, *to)),
            Self::Truncated(from, to) => write!(f, "{} missing at the end", entries(*from, *to)),
            Self::Added(from, to) => write!(f, "{} added beyond the end", entries(*from, *to)),
            Self::Unreadable(seq) => write!(f, "entry {seq} cannot be read"),
            Self::Rewritten(seq) => write!(f, "what was signed up to entry {seq} is not what is there"),
            Self::End => f.write_str("the ledger remembers another end than it has"),
            Self::Forged(seq) => write!(f, "the checkpoint of entry {seq} has a wrong signature"),
            Self::KeyUnknown(seq, key) => {
                write!(f, "the checkpoint of entry {seq} is signed by the unknown key {key}")
            }
            Self::CheckpointRemoved(seq) => write!(f, "the checkpoint of entry {seq} was removed"),
            Self::OtherLedger(seq) => write!(f, "the shipped checkpoint of entry {seq} is of another ledger"),
            Self::NoLedger => f.write_str("there are entries or checkpoints, and no ledger that they are of"),
        }
    }
}

fn entries(from: i64, to: i64) -> String {
    if from == to { format!("entry {from} was") } else { format!("entries {from} to {to} were") }
}

/// Faults that are told one by one; further ones are counted.
const MOST: usize = 100;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Which ledger.
    pub ledger: Option<[u8; 16]>,
    /// Entries that are there.
    pub entries: u64,
    /// The last one.
    pub last: i64,
    /// Checkpoints that are there.
    pub checkpoints: u64,
    /// The last entry that a valid checkpoint covers, and when that was signed.
    pub signed: Option<(i64, i64)>,
    /// Entries after it: chained, and not signed yet.
    pub unsigned: Option<(i64, i64)>,
    /// What is wrong.
    pub faults: Vec<Fault>,
    /// Further faults.
    pub more: u64,
}

impl Report {
    /// Whether everything is as it was written.
    pub fn is_intact(&self) -> bool {
        self.faults.is_empty()
    }

    fn fault(&mut self, fault: Fault) {
        if self.faults.len() < MOST {
            self.faults.push(fault);
        } else {
            self.more = self.more.saturating_add(1);
        }
    }
}

/// Compares entries, in the order of their places, with the chain and with checkpoints.
pub struct Verifier {
    report: Report,
    end: Option<End>,
    /// By entry, those whose signature holds.
    checkpoints: BTreeMap<i64, Checkpoint>,
    /// What the next entry may follow: the hash that stands beside the last one, and the one that it should have.
    before: Vec<Hash>,
    newest: Option<Hash>,
}

impl Verifier {
    /// `kept` are the ledger's own checkpoints, in the order of their entries; `shipped` those from elsewhere.
    pub fn new(end: Option<End>, keys: &[PublicKey], kept: &[Checkpoint], shipped: &[Checkpoint]) -> Self {
        let mut report = Report { ledger: end.as_ref().map(|end| end.ledger), ..Report::default() };
        let mut checkpoints = BTreeMap::new();
        let mut previous = 0;
        for checkpoint in kept {
            report.checkpoints = report.checkpoints.saturating_add(1);
            if checkpoint.previous > previous {
                report.fault(Fault::CheckpointRemoved(checkpoint.previous));
            }
            previous = checkpoint.seq;
        }
        for checkpoint in kept.iter().chain(shipped) {
            let seq = checkpoint.seq;
            if report.ledger.is_some_and(|ledger| ledger != checkpoint.ledger) {
                report.fault(Fault::OtherLedger(seq));
                continue;
            }
            let Some(key) = keys.iter().find(|key| key.id == checkpoint.key) else {
                report.fault(Fault::KeyUnknown(seq, checkpoint.key.clone()));
                continue;
            };
            if !checkpoint.is_signed_by(&key.bytes) {
                report.fault(Fault::Forged(seq));
                continue;
            }
            match checkpoints.get(&seq) {
                Some(other) if other != checkpoint => report.fault(Fault::Rewritten(seq)),
                _ => {
                    checkpoints.insert(seq, checkpoint.clone());
                }
            }
        }
        for checkpoint in shipped.iter().filter(|one| !kept.contains(one)) {
            // One that does not hold was told already.
            if checkpoints.get(&checkpoint.seq) == Some(checkpoint) {
                report.fault(Fault::CheckpointRemoved(checkpoint.seq));
            }
        }
        if end.is_none() && !(kept.is_empty() && shipped.is_empty()) {
            report.fault(Fault::NoLedger);
        }
        let before = end.iter().map(|end| chain::genesis(&end.ledger)).collect();
        Self { report, end, checkpoints, before, newest: None }
    }

    /// The next entry.
    pub fn line(&mut self, line: &Line) {
        let seq = line.seq;
        let report = &mut self.report;
        if self.end.is_none() && report.entries == 0 {
            report.fault(Fault::NoLedger);
        }
        report.entries = report.entries.saturating_add(1);
        let expected = report.last.saturating_add(1);
        if seq > expected {
            report.fault(Fault::Removed(expected, seq.saturating_sub(1)));
            // What it follows is gone.
            self.before.clear();
        }
        report.last = seq;
        let (Some(entry), Some(hash)) = (&line.entry, line.hash) else {
            report.fault(Fault::Unreadable(seq));
            self.before = line.hash.into_iter().collect();
            self.newest = line.hash;
            return;
        };
        let says = chain::number(entry);
        let computed: Vec<Hash> = self.before.iter().map(|before| chain::next(before, entry)).collect();
        match says {
            Some(says) if says != seq => report.fault(Fault::Moved { stands: seq, says }),
            None => report.fault(Fault::Changed(seq)),
            Some(_) if !computed.is_empty() && !computed.contains(&hash) => report.fault(Fault::Changed(seq)),
            Some(_) => {}
        }
        if self.checkpoints.get(&seq).is_some_and(|checkpoint| checkpoint.hash != hash) {
            report.fault(Fault::Rewritten(seq));
        }
        // If only the hash beside it is another, the next entry follows the one that it should have.
        self.before = vec![hash];
        self.before.extend(computed.into_iter().filter(|one| *one != hash).take(1));
        self.newest = Some(hash);
    }

    /// There is no further entry.
    pub fn finish(self) -> Report {
        let Self { mut report, end, checkpoints, newest, .. } = self;
        let last = report.last;
        let promised = checkpoints.keys().next_back().copied().unwrap_or(0);
        let promised = promised.max(end.as_ref().map_or(0, |end| end.seq));
        if promised > last {
            report.fault(Fault::Truncated(last.saturating_add(1), promised));
        }
        if let Some(end) = &end {
            if end.seq < last {
                report.fault(Fault::Added(end.seq.saturating_add(1), last));
            } else if end.seq == last && newest.is_some_and(|hash| hash != end.hash) {
                report.fault(Fault::End);
            }
        }
        report.signed = checkpoints.range(..=last).next_back().map(|(seq, one)| (*seq, one.at));
        let signed = report.signed.map_or(0, |(seq, _)| seq);
        report.unsigned = (signed < last).then(|| (signed.saturating_add(1), last));
        report
    }
}

#[cfg(test)]
mod tests;
