//! Archives: what they hold is judged entry by entry, as if each were a file (contract.md § 13.2).

use super::read::Reader;
use super::zip::{self, Entry, SUM};
use super::{Checked, Content, FileType, Rejected, UploadRules, magic, name, plain_structure, read};
use flate2::{Decompress, FlushDecompress, Status};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What may be inflated to judge one archive, over all passes: what jumps to and fro is begun anew each time.
const WORK: u64 = 5 * SUM;

/// Every entry is of a type that is named, holds that type's structure, and is no archive.
pub(super) fn check(reader: &mut Reader<'_>, rules: &UploadRules) -> Checked {
    if rules.entries.is_empty() {
        return Err(Rejected::kind("archives-not-allowed"));
    }
    let entries = zip::entries(reader)?;
    let work = AtomicU64::new(0);
    for entry in entries.iter().filter(|entry| !entry.folder) {
        zip::unpack(reader, entry, |piece| spend(&work, piece.len() as u64))?;
        let inside =
            Inside { archive: reader.content(), entry, work: &work, state: Mutex::new(State::new(entry)) };
        judge(&inside, entry, rules)?;
    }
    Ok(())
}

fn spend(work: &AtomicU64, bytes: u64) -> Checked {
    let spent = work.fetch_add(bytes, Ordering::Relaxed);
    if spent.saturating_add(bytes) > WORK { Err(Rejected::kind("archive-work")) } else { Ok(()) }
}

fn judge(inside: &Inside<'_>, entry: &Entry, rules: &UploadRules) -> Checked {
    let mut reader = Reader::new(inside);
    let last = name::last(&entry.name);
    // A folder of this name makes an archive a program to PHP.
    if entry.name.to_ascii_lowercase().split('/').any(|part| part == ".phar") {
        return Err(Rejected::kind("phar"));
    }
    let judged = magic::never(&mut reader, Some(last)).and_then(|()| {
        let extension = name::extension(last).ok_or(Rejected::kind("extension-missing"))?;
        let kind = match magic::of(&mut reader)? {
            Some(FileType::Zip) => return Err(Rejected::kind("archive-in-archive")),
            Some(kind) => kind,
            None => FileType::of_extension(&extension)
                .filter(|kind| kind.is_text())
                .ok_or(Rejected::kind("type-unknown"))?,
        };
        if !rules.entries.contains(&kind) {
            return Err(Rejected::kind("archive-entry-type"));
        }
        name::clean(last, kind)?;
        plain_structure(kind, &mut reader, rules)?;
        read::no_phar(&mut reader)
    });
    // Inflating fails in the second pass only because there was too much of it.
    judged.map_err(|rejected| match rejected.why {
        super::Why::Unreadable => Rejected::kind("archive-work"),
        _ => rejected,
    })
}

/// An entry as a file. It is inflated forwards; who asks for what lies behind begins anew, at the archive's cost.
struct Inside<'a> {
    archive: &'a dyn Content,
    entry: &'a Entry,
    work: &'a AtomicU64,
    state: Mutex<State>,
}

struct State {
    inflate: Option<Decompress>,
    /// Where the next packed bytes stand.
    input: u64,
    /// How much has come out.
    at: u64,
}

impl State {
    fn new(entry: &Entry) -> Self {
        Self { inflate: entry.deflated.then(|| Decompress::new(false)), input: entry.data.0, at: 0 }
    }
}

impl Content for Inside<'_> {
    fn len(&self) -> u64 {
        self.entry.size
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> Option<usize> {
        let left = usize::try_from(self.entry.size.checked_sub(at)?).unwrap_or(usize::MAX);
        let count = left.min(into.len());
        self.inflated(at, into.get_mut(..count)?)
    }
}

impl Inside<'_> {
    fn inflated(&self, at: u64, into: &mut [u8]) -> Option<usize> {
        if !self.entry.deflated {
            return self.archive.read_at(self.entry.data.0.checked_add(at)?, into);
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.at > at {
            *state = State::new(self.entry);
        }
        let mut skip = vec![0; read::PAGE / 2];
        while state.at < at {
            let step = usize::try_from(at - state.at).unwrap_or(usize::MAX).min(skip.len());
            if self.step(&mut state, skip.get_mut(..step)?)? == 0 {
                return None;
            }
        }
        let mut done = 0;
        while done < into.len() {
            match self.step(&mut state, into.get_mut(done..)?)? {
                0 => break,
                more => done += more,
            }
        }
        Some(done)
    }

    /// Some more bytes, none only at the end.
    fn step(&self, state: &mut State, out: &mut [u8]) -> Option<usize> {
        let mut packed = [0; 8 << 10];
        let inflate = state.inflate.as_mut()?;
        loop {
            let left = usize::try_from(self.entry.data.1 - state.input).unwrap_or(usize::MAX);
            let want = left.min(packed.len());
            let got = self.archive.read_at(state.input, packed.get_mut(..want)?)?;
            let (read, made) = (inflate.total_in(), inflate.total_out());
            let status = inflate.decompress(packed.get(..got)?, out, FlushDecompress::None).ok()?;
            let (read, made) = (inflate.total_in() - read, inflate.total_out() - made);
            state.input += read;
            state.at += made;
            spend(self.work, made).ok()?;
            if made > 0 || status == Status::StreamEnd {
                return usize::try_from(made).ok();
            }
            if read == 0 {
                return None;
            }
        }
    }
}
