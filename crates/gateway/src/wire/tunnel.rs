//! Frames between a client and a server.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWrite as _};
use tokio::time::{Instant, sleep_until};

use super::frames::{self, Frame, FrameLimits, Op, Reader, code};
use super::serve::Leave;
use super::upgrade::Duplex;

/// Bounds of a tunnel.
#[derive(Clone, Copy, Debug)]
pub struct TunnelLimits {
    /// Of the frames, both ways.
    pub frames: FrameLimits,
    /// Without a frame from either side.
    pub idle: Duration,
    /// Between our pings.
    pub ping: Duration,
}

impl Default for TunnelLimits {
    fn default() -> Self {
        Self { frames: FrameLimits::default(), idle: Duration::from_secs(60), ping: Duration::from_secs(20) }
    }
}

/// Bytes that wait for a side before the other is no longer read.
const WAITING: usize = 128 << 10;
/// Time for the last bytes after a close.
const FAREWELL: Duration = Duration::from_secs(1);

struct Side {
    io: Box<dyn Duplex>,
    reader: Reader,
    read: BytesMut,
    write: BytesMut,
    /// A close frame was put into `write`.
    closing: bool,
    /// The side has sent its close, or its end.
    done: bool,
    server: bool,
}

impl Side {
    fn new(io: Box<dyn Duplex>, server: bool, early: &[u8], limits: FrameLimits) -> Self {
        Self {
            io,
            reader: Reader::new(!server, limits),
            read: BytesMut::from(early),
            write: BytesMut::new(),
            closing: false,
            done: false,
            server,
        }
    }

    fn send(&mut self, frame: &Frame, dice: &mut u64) {
        if self.closing {
            return;
        }
        self.closing = frame.op == Op::Close;
        frames::write(frame, self.server.then(|| mask(dice)), &mut self.write);
    }

    /// Writes what can be written; an error is the end of the side.
    fn flush(&mut self, cx: &mut Context<'_>) {
        while !self.write.is_empty() {
            match Pin::new(&mut self.io).poll_write(cx, &self.write) {
                Poll::Ready(Ok(n)) if n > 0 => self.write.advance(n),
                Poll::Ready(_) => {
                    self.write.clear();
                    self.done = true;
                    self.closing = true;
                }
                Poll::Pending => return,
            }
        }
        let _ = Pin::new(&mut self.io).poll_flush(cx);
    }
}

fn mask(dice: &mut u64) -> [u8; 4] {
    // Masks protect old proxies from scripts in browsers (RFC 6455 § 10.3); behind us stands the server alone.
    *dice ^= *dice << 13;
    *dice ^= *dice >> 7;
    *dice ^= *dice << 17;
    let [a, b, c, d, ..] = dice.to_le_bytes();
    [a, b, c, d]
}

/// Both sides.
pub(crate) struct Pump {
    client: Side,
    server: Side,
    limits: TunnelLimits,
    dice: u64,
    started: Instant,
    last: Instant,
    pinged: Instant,
}

impl Pump {
    pub(crate) fn new(
        client: Box<dyn Duplex>,
        server: Box<dyn Duplex>,
        early: &[u8],
        limits: TunnelLimits,
    ) -> Self {
        let now = Instant::now();
        Self {
            client: Side::new(client, false, &[], limits.frames),
            server: Side::new(server, true, early, limits.frames),
            limits,
            dice: std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 1u8) | 1,
            started: now,
            last: now,
            pinged: now,
        }
    }

    /// Ends both sides with a code.
    fn close(&mut self, code: u16) {
        let frame = frames::close(code);
        self.client.send(&frame, &mut self.dice);
        self.server.send(&frame, &mut self.dice);
    }

    /// Moves what can be moved. True when the tunnel has begun to end.
    fn turn(&mut self, cx: &mut Context<'_>) -> bool {
        let second = self.started.elapsed().as_secs();
        for up in [true, false] {
            let (from, to) =
                if up { (&mut self.client, &mut self.server) } else { (&mut self.server, &mut self.client) };
            while !from.done && !from.closing && to.write.len() < WAITING {
                match from.reader.next(&mut from.read, second) {
                    Ok(Some(frame)) => {
                        self.last = Instant::now();
                        match frame.op {
                            Op::Ping => from.send(&Frame { op: Op::Pong, ..frame }, &mut self.dice),
                            Op::Pong => {}
                            Op::Close => {
                                from.done = true;
                                to.send(&frame, &mut self.dice);
                                from.send(&frame, &mut self.dice);
                            }
                            _ => to.send(&frame, &mut self.dice),
                        }
                        continue;
                    }
                    Ok(None) => {}
                    Err(code) => {
                        from.done = true;
                        from.send(&frames::close(code), &mut self.dice);
                        // The other side did nothing wrong.
                        to.send(&frames::close(code::GOING_AWAY), &mut self.dice);
                        continue;
                    }
                }
                from.read.reserve(8 << 10);
                match pin!(from.io.read_buf(&mut from.read)).poll(cx) {
                    Poll::Pending => break,
                    Poll::Ready(Ok(n)) if n > 0 => {}
                    Poll::Ready(_) => {
                        from.done = true;
                        to.send(&frames::close(code::GOING_AWAY), &mut self.dice);
                    }
                }
            }
        }
        self.client.flush(cx);
        self.server.flush(cx);
        self.client.closing || self.server.closing
    }

    fn flushed(&self) -> bool {
        self.client.write.is_empty() && self.server.write.is_empty()
    }

    /// Pings, and the end of idleness. Returns when to look again.
    fn clock(&mut self, now: Instant) -> Instant {
        if now >= self.last + self.limits.idle {
            self.close(code::GOING_AWAY);
            return now + FAREWELL;
        }
        if now >= self.pinged + self.limits.ping {
            self.pinged = now;
            let ping = Frame { op: Op::Ping, fin: true, payload: Bytes::new() };
            self.client.send(&ping, &mut self.dice);
            self.server.send(&ping, &mut self.dice);
        }
        (self.pinged + self.limits.ping).min(self.last + self.limits.idle)
    }
}

/// Runs a tunnel to its end.
pub(crate) async fn run(mut pump: Pump, leave: Rc<Leave>, mut end: Pin<Box<dyn Future<Output = u16>>>) {
    let presence = poll_fn(|cx| Poll::Ready(leave.register(cx.waker().clone()))).await;
    let mut sleep = pin!(sleep_until(pump.last));
    poll_fn(|cx| {
        loop {
            if pump.turn(cx) {
                return Poll::Ready(());
            }
            if leave.asked() {
                pump.close(code::GOING_AWAY);
                continue;
            }
            if let Poll::Ready(code) = end.as_mut().poll(cx) {
                pump.close(code);
                continue;
            }
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let next = pump.clock(Instant::now());
            sleep.as_mut().reset(next);
        }
    })
    .await;
    // What was said last is written, and the connections end in order.
    let farewell = poll_fn(|cx| {
        pump.client.flush(cx);
        pump.server.flush(cx);
        if !pump.flushed() {
            return Poll::Pending;
        }
        let client = Pin::new(&mut pump.client.io).poll_shutdown(cx);
        let server = Pin::new(&mut pump.server.io).poll_shutdown(cx);
        if client.is_ready() && server.is_ready() { Poll::Ready(()) } else { Poll::Pending }
    });
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
    // Closing a socket with unread bytes would reset it and lose the close frame.
    let drained = poll_fn(|cx| {
        let mut scratch = [0u8; 1024];
        for _ in 0..64 {
            let mut buf = tokio::io::ReadBuf::new(&mut scratch);
            match Pin::new(&mut pump.client.io).poll_read(cx, &mut buf) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {}
                Poll::Ready(_) => break,
            }
        }
        Poll::Ready(())
    });
    let _ = tokio::time::timeout(FAREWELL, drained).await;
    drop(presence);
}
