//! Floods over HTTP/2: frames are counted before h2 acts on them.
//!
//! Rapid reset (CVE-2023-44487), MadeYouReset (CVE-2025-8671), floods of PING, SETTINGS, PRIORITY, CONTINUATION and
//! empty DATA (CVE-2019-9512 and its kin, RUSTSEC-2024-0332, RUSTSEC-2026-0258). h2 has bounds of its own for some;
//! these hold whatever its version. h2 has no clock for a header block that never ends; the one of HTTP/1.1 heads runs
//! here too.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

const WINDOW: Duration = Duration::from_secs(10);
const PREFACE: usize = 24;
/// CONTINUATION frames of one header block; 32 KiB of fields need two.
const CONTINUATIONS: u32 = 16;
/// GOAWAY, last stream 2³¹−1, ENHANCE_YOUR_CALM (RFC 9113 §§ 6.8, 7).
const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 11];

/// Counts frames of one connection.
#[derive(Debug)]
pub(crate) struct FrameCount {
    resets_max: u32,
    control_max: u32,
    skip: usize,
    head: [u8; 9],
    have: usize,
    resets: u32,
    control: u32,
    continuations: u32,
    since: Option<Instant>,
    /// A header block has begun and not ended; and whether the present frame ends it.
    block: bool,
    ends: bool,
}

impl FrameCount {
    pub(crate) const fn new(resets_max: u32, control_max: u32) -> Self {
        Self {
            resets_max,
            control_max,
            skip: PREFACE,
            head: [0; 9],
            have: 0,
            resets: 0,
            control: 0,
            continuations: 0,
            since: None,
            block: false,
            ends: false,
        }
    }

    /// Follows the bytes; true when the client must calm down.
    pub(crate) fn flood(&mut self, mut data: &[u8]) -> bool {
        loop {
            if self.skip > 0 {
                let n = self.skip.min(data.len());
                self.skip -= n;
                data = data.get(n..).unwrap_or_default();
                if self.skip > 0 {
                    return false;
                }
            }
            if std::mem::take(&mut self.ends) {
                self.block = false;
            }
            let n = (9 - self.have).min(data.len());
            let (now, rest) = data.split_at_checked(n).unwrap_or((data, &[]));
            if let Some(slot) = self.head.get_mut(self.have..self.have + n) {
                slot.copy_from_slice(now);
            }
            self.have += n;
            data = rest;
            if self.have < 9 {
                return false;
            }
            self.have = 0;
            let [a, b, c, kind, flags, ..] = self.head;
            self.skip = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            if self.frame(kind, flags) {
                return true;
            }
        }
    }

    fn frame(&mut self, kind: u8, flags: u8) -> bool {
        const END_STREAM: u8 = 1;
        const ACK: u8 = 1;
        const END_HEADERS: u8 = 4;
        if kind == 1 || kind == 9 {
            self.block = true;
            self.ends = flags & END_HEADERS != 0;
        }
        if kind == 9 {
            self.continuations += 1;
            return self.continuations > CONTINUATIONS;
        }
        self.continuations = 0;
        match kind {
            3 => self.resets += 1,
            // SETTINGS and PING; their acknowledgements answer ours.
            4 | 6 if flags & ACK == 0 => self.control += 1,
            2 => self.control += 1,
            0 if self.skip == 0 && flags & END_STREAM == 0 => self.control += 1,
            _ => return false,
        }
        // The clock is read for frames that count, and not for every request.
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) > WINDOW {
            self.since = Some(now);
            (self.resets, self.control) = (0, 1);
        }
        self.resets > self.resets_max || self.control > self.control_max
    }
}

/// The counter around a connection.
pub(crate) struct H2Guard<S> {
    io: S,
    count: FrameCount,
    aligned: bool,
    pub(crate) slot: std::rc::Rc<super::guard::Slot>,
    pub(crate) flooded: std::rc::Rc<std::cell::Cell<bool>>,
}

impl<S> H2Guard<S> {
    pub(crate) fn new(
        io: S,
        count: FrameCount,
        slot: std::rc::Rc<super::guard::Slot>,
        flooded: std::rc::Rc<std::cell::Cell<bool>>,
    ) -> Self {
        Self { io, count, aligned: true, slot, flooded }
    }

    fn note(&mut self, poll: &Poll<io::Result<usize>>, offered: usize) {
        match poll {
            Poll::Ready(Ok(n)) => {
                self.aligned = *n == offered;
                self.slot.writes.wrote(*n, offered);
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.slot.writes.blocked(),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for H2Guard<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut me.io).poll_read(cx, buf))?;
        if me.count.flood(buf.filled().get(before..).unwrap_or_default()) {
            me.flooded.set(true);
            if me.aligned {
                let _ = Pin::new(&mut me.io).poll_write(cx, &GOAWAY);
                let _ = Pin::new(&mut me.io).poll_flush(cx);
            }
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "too many control frames")));
        }
        me.slot.block(me.count.block);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for H2Guard<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let me = self.get_mut();
        let poll = Pin::new(&mut me.io).poll_write(cx, buf);
        me.note(&poll, buf.len());
        poll
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let me = self.get_mut();
        let poll = Pin::new(&mut me.io).poll_write_vectored(cx, bufs);
        me.note(&poll, bufs.iter().map(|buf| buf.len()).sum());
        poll
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, len: usize) -> Vec<u8> {
        let mut bytes = vec![0, 0, u8::try_from(len).unwrap(), kind, flags, 0, 0, 0, 1];
        bytes.extend(vec![0; len]);
        bytes
    }

    fn run(max: u32, bytes: &[u8], step: usize) -> bool {
        let mut count = FrameCount::new(max, max);
        let mut all = vec![0u8; 24];
        all.extend_from_slice(bytes);
        all.chunks(step).any(|piece| count.flood(piece))
    }

    #[test]
    fn frames_are_counted_however_they_are_cut() {
        for step in [1, 2, 8, 9, 10, 13, 1000] {
            for (kind, flags, len) in [(3, 0, 4), (6, 0, 8), (4, 0, 6), (2, 0, 5), (0, 0, 0)] {
                assert!(!run(20, &frame(kind, flags, len).repeat(20), step));
                assert!(run(20, &frame(kind, flags, len).repeat(21), step));
            }
            assert!(!run(20, &frame(6, 1, 8).repeat(100), step), "acknowledgements");
            assert!(!run(20, &frame(0, 1, 0).repeat(100), step), "ends of streams");
            assert!(!run(20, &frame(0, 0, 3).repeat(100), step), "data");
            assert!(!run(20, &frame(1, 4, 9).repeat(100), step), "requests");
            assert!(run(20, &frame(9, 0, 9).repeat(17), step), "continuations");
        }
    }

    #[test]
    fn a_header_block_is_open_until_its_last_byte() {
        let whole = [vec![0; 24], frame(1, 0, 3), frame(9, 4, 3)].concat();
        let mut count = FrameCount::new(20, 20);
        for (at, byte) in whole.iter().enumerate() {
            assert!(!count.flood(&[*byte]));
            assert_eq!(count.block, (24 + 8..whole.len() - 1).contains(&at), "byte {at}");
        }
        count.flood(&frame(1, 4, 9));
        assert!(!count.block, "a block in one frame");
    }
}
