//! Bytes by their place, a page at a time.

use super::{Checked, Content, Rejected, Why};
use memchr::memmem;

/// Bytes that are read at once.
pub(super) const PAGE: usize = 64 << 10;

pub(super) struct Reader<'a> {
    content: &'a dyn Content,
    len: u64,
    page: Vec<u8>,
    at: u64,
}

const CUT: Rejected = Rejected::kind("structure-cut");

impl<'a> Reader<'a> {
    pub(super) fn new(content: &'a dyn Content) -> Self {
        Self { content, len: content.len(), page: Vec::new(), at: 0 }
    }

    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// The content itself.
    pub(super) fn content(&self) -> &'a dyn Content {
        self.content
    }

    /// Exactly so many bytes, at most a page of them.
    pub(super) fn slice(&mut self, at: u64, count: usize) -> Checked<&[u8]> {
        let offset = self.offset(at, count).map_or_else(|| self.fill(at), Ok)?;
        self.page.get(offset..offset.saturating_add(count)).ok_or(CUT)
    }

    /// All that there is from here on, at most a page and at least a byte.
    pub(super) fn some(&mut self, at: u64) -> Checked<&[u8]> {
        let offset = self.offset(at, 1).map_or_else(|| self.fill(at), Ok)?;
        self.page.get(offset..).filter(|rest| !rest.is_empty()).ok_or(CUT)
    }

    pub(super) fn array<const N: usize>(&mut self, at: u64) -> Checked<[u8; N]> {
        self.slice(at, N)?.first_chunk().copied().ok_or(CUT)
    }

    pub(super) fn byte(&mut self, at: u64) -> Checked<u8> {
        self.array::<1>(at).map(|[byte]| byte)
    }

    pub(super) fn be16(&mut self, at: u64) -> Checked<u64> {
        self.array(at).map(|bytes| u64::from(u16::from_be_bytes(bytes)))
    }

    pub(super) fn be32(&mut self, at: u64) -> Checked<u64> {
        self.array(at).map(|bytes| u64::from(u32::from_be_bytes(bytes)))
    }

    pub(super) fn le16(&mut self, at: u64) -> Checked<u64> {
        self.array(at).map(|bytes| u64::from(u16::from_le_bytes(bytes)))
    }

    pub(super) fn le32(&mut self, at: u64) -> Checked<u64> {
        self.array(at).map(|bytes| u64::from(u32::from_le_bytes(bytes)))
    }

    /// `each` sees the bytes of a range, in order, in pieces.
    pub(super) fn each(&mut self, from: u64, to: u64, mut each: impl FnMut(&[u8]) -> Checked) -> Checked {
        if from > to || to > self.len {
            return Err(CUT);
        }
        let mut at = from;
        while at < to {
            let left = usize::try_from(to - at).unwrap_or(usize::MAX);
            let piece = self.some(at)?;
            let piece = piece.get(..left).unwrap_or(piece);
            each(piece)?;
            at = at.saturating_add(piece.len() as u64);
        }
        Ok(())
    }

    /// The bytes of a small range.
    pub(super) fn whole(&mut self, from: u64, to: u64, most: usize) -> Checked<Vec<u8>> {
        if to.saturating_sub(from) > most as u64 {
            return Err(Rejected::kind("structure-too-large"));
        }
        let mut out = Vec::new();
        self.each(from, to, |piece| {
            out.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(out)
    }

    fn offset(&self, at: u64, count: usize) -> Option<usize> {
        let offset = usize::try_from(at.checked_sub(self.at)?).ok()?;
        (offset.checked_add(count)? <= self.page.len()).then_some(offset)
    }

    fn fill(&mut self, at: u64) -> Checked<usize> {
        if at >= self.len {
            return Err(CUT);
        }
        let want = usize::try_from(self.len - at).unwrap_or(PAGE).min(PAGE);
        self.page.resize(want, 0);
        self.at = at;
        let mut got = 0;
        while got < want {
            let rest = self.page.get_mut(got..).unwrap_or_default();
            match self.content.read_at(at.saturating_add(got as u64), rest) {
                Some(0) | None => {
                    self.page.clear();
                    return Err(Rejected { why: Why::Unreadable, reason: "file-unreadable" });
                }
                Some(more) => got += more,
            }
        }
        Ok(0)
    }
}

/// Looks for words that make a file a program to somebody, over the borders of pieces.
#[derive(Default)]
pub(super) struct Hunt {
    tail: Vec<u8>,
}

/// The longest word less one.
const OVERLAP: usize = 15;

impl Hunt {
    pub(super) fn piece(&mut self, piece: &[u8]) -> Checked {
        self.look(piece, holds_code)
    }

    fn look(&mut self, piece: &[u8], bad: fn(&[u8]) -> Option<&'static str>) -> Checked {
        let refuse = |found: Option<&'static str>| found.map_or(Ok(()), |reason| Err(Rejected::kind(reason)));
        if !self.tail.is_empty() {
            let head = piece.get(..OVERLAP).unwrap_or(piece);
            self.tail.extend_from_slice(head);
            refuse(bad(&self.tail))?;
        }
        refuse(bad(piece))?;
        if piece.len() >= OVERLAP {
            self.tail.clear();
            self.tail.extend_from_slice(piece.get(piece.len() - OVERLAP..).unwrap_or_default());
        } else {
            if self.tail.is_empty() {
                self.tail.extend_from_slice(piece);
            }
            let extra = self.tail.len().saturating_sub(OVERLAP);
            self.tail.drain(..extra);
        }
        Ok(())
    }
}

/// Words of scripts; a web server that is told to run a picture runs them.
fn holds_code(bytes: &[u8]) -> Option<&'static str> {
    let is_word = |at: usize| {
        let rest = bytes.get(at + 1..).unwrap_or_default();
        [b"?php".as_slice(), b"script", b"svg"]
            .iter()
            .any(|word| rest.get(..word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word)))
    };
    memchr::memchr_iter(b'<', bytes).any(is_word).then_some("script-in-metadata")
}

/// A PHAR is any file that holds this; PHP then reads objects from it (CVE-2018-1000888 and many more).
fn holds_phar(bytes: &[u8]) -> Option<&'static str> {
    const WORD: &[u8] = b"__halt_compiler";
    let found = memmem::find_iter(bytes, b"__")
        .any(|at| bytes.get(at..at + WORD.len()).is_some_and(|found| found.eq_ignore_ascii_case(WORD)));
    found.then_some("phar")
}

/// The whole file, for the word that makes it a PHAR.
pub(super) fn no_phar(reader: &mut Reader<'_>) -> Checked {
    let (mut hunt, len) = (Hunt::default(), reader.len());
    reader.each(0, len, |piece| hunt.look(piece, holds_phar))
}

/// White space or zeros, at most 64 of them, up to the end.
pub(super) fn only_padding(reader: &mut Reader<'_>, from: u64) -> Checked {
    let len = reader.len();
    if len.saturating_sub(from) > 64 {
        return Err(Rejected::kind("data-after-structure"));
    }
    reader.each(from, len, |piece| {
        let blank = piece.iter().all(|b| matches!(b, 0 | b' ' | b'\t' | b'\r' | b'\n'));
        if blank { Ok(()) } else { Err(Rejected::kind("data-after-structure")) }
    })
}
