//! Message boundaries over slices: what passes, what is held back, what is refused. No I/O.

use super::chunk::{ChunkScan, Fate};
use super::{After, HeadScan, Limits, Mode, Progress, Rule};

/// Follows one connection's requests.
#[derive(Debug)]
pub(crate) struct Filter {
    state: State,
}

#[derive(Debug)]
enum State {
    Head(HeadScan),
    Length(u64),
    Chunked(ChunkScan),
    Upgrade,
}

/// What became of a slice. Its first `passed` bytes are to be passed on, its last `held` bytes belong to an
/// incomplete head and come again, in front of what is read next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) passed: usize,
    pub(crate) held: usize,
    /// Heads completed.
    pub(crate) heads: u64,
    pub(crate) verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fine,
    /// The next head is refused.
    Head(Rule),
    /// The present body is refused.
    Body(Rule),
}

impl Filter {
    pub(crate) const fn new() -> Self {
        Self { state: State::Head(HeadScan::new(Mode::Request)) }
    }

    /// A WebSocket upgrade was offered: nothing may be read before it is answered.
    pub(crate) const fn upgrading(&self) -> bool {
        matches!(self.state, State::Upgrade)
    }

    /// Reads a slice in place. Bytes move towards its front only where framing was dropped before them.
    pub(crate) fn run(&mut self, data: &mut [u8], limits: &Limits) -> Done {
        let (mut read, mut write, mut heads) = (0, 0, 0);
        let verdict = loop {
            let left = data.len() - read;
            if left == 0 {
                break Verdict::Fine;
            }
            let n = match &mut self.state {
                State::Upgrade => break Verdict::Fine,
                State::Head(scan) => {
                    match scan.feed(data.get(read..).unwrap_or_default(), limits, &mut |_| {}) {
                        Progress::More => break Verdict::Fine,
                        Progress::Bad(rule) => break Verdict::Head(rule),
                        Progress::Done(n, after) => {
                            heads += 1;
                            self.state = match after {
                                After::Nothing => State::Head(HeadScan::new(Mode::Request)),
                                After::Length(length) => State::Length(length),
                                After::Chunked => State::Chunked(ChunkScan::new()),
                                After::Upgrade => State::Upgrade,
                            };
                            n
                        }
                    }
                }
                State::Length(length) => {
                    let n = usize::try_from(*length).unwrap_or(usize::MAX).min(left);
                    *length -= n as u64;
                    if *length == 0 {
                        self.state = State::Head(HeadScan::new(Mode::Request));
                    }
                    n
                }
                State::Chunked(scan) => {
                    let n = scan.data().min(left);
                    if n > 0 {
                        scan.took(n);
                        n
                    } else {
                        let byte = data.get(read).copied().unwrap_or_default();
                        match scan.byte(byte) {
                            Ok(Fate::Keep) => 1,
                            Ok(Fate::End) => {
                                self.state = State::Head(HeadScan::new(Mode::Request));
                                1
                            }
                            Ok(Fate::Drop) => {
                                read += 1;
                                continue;
                            }
                            Err(rule) => break Verdict::Body(rule),
                        }
                    }
                }
            };
            if read != write {
                data.copy_within(read..read + n, write);
            }
            read += n;
            write += n;
        };
        let held = if verdict == Verdict::Fine { data.len() - read } else { 0 };
        Done { passed: write, held, heads, verdict }
    }
}
