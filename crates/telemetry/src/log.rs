//! The request log: rings, one writer thread, and no waiting.

use crate::line::{self, Format, Line};
use crate::sink::Out;
pub use crate::sink::Sink;
use portcullis_core::time::Now;
use rtrb::{Consumer, Producer, PushError, RingBuffer};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Lines that a worker's ring holds unless told otherwise.
pub const RING: usize = 8_192;
/// How long the writer rests once the rings are empty: lines are written in batches, and a wake-up costs more than a
/// line. At 40,000 requests a second a worker's ring is a tenth full by then.
const REST: Duration = Duration::from_millis(20);
/// Bytes formatted before they are written.
const BATCH: usize = 64 * 1024;

/// The request log. One per process; [`Log::recorder`] once per worker.
pub struct Log {
    shared: Arc<Shared>,
    ring: usize,
    done: Mutex<Option<Receiver<()>>>,
    writer: thread::Thread,
}

/// A worker's end of the log. Recording takes well under a microsecond and never waits.
#[derive(Debug)]
pub struct Recorder {
    ring: Mutex<Producer<Line>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    new_rings: Mutex<Vec<Consumer<Line>>>,
    written: AtomicU64,
    dropped: AtomicU64,
    write_errors: AtomicU64,
    closing: AtomicBool,
    off: bool,
}

impl Log {
    /// Opens the sink and starts the writer thread. `ring` is the number of lines per worker ([`RING`]).
    pub fn open(sink: Sink, format: Format, ring: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared { off: matches!(sink, Sink::Off), ..Shared::default() });
        let out = sink.open()?;
        let (tell, done) = sync_channel(1);
        let writer = Writer {
            out,
            format,
            shared: Arc::clone(&shared),
            rings: Vec::new(),
            announced: 0,
            last: Now::default(),
        };
        let handle =
            thread::Builder::new().name("request-log".to_owned()).spawn(move || writer.run(&tell))?;
        Ok(Self {
            shared,
            ring: ring.clamp(1, 1 << 20),
            done: Mutex::new(Some(done)),
            writer: handle.thread().clone(),
        })
    }

    /// A ring of its own for one worker thread.
    pub fn recorder(&self) -> Recorder {
        let (producer, consumer) = RingBuffer::new(self.ring);
        self.shared.new_rings.lock().unwrap_or_else(PoisonError::into_inner).push(consumer);
        Recorder { ring: Mutex::new(producer), shared: Arc::clone(&self.shared) }
    }

    /// Lines written (`log_lines_total`).
    pub fn written_total(&self) -> u64 {
        self.shared.written.load(Ordering::Relaxed)
    }

    /// Lines dropped because a ring was full or the sink failed (`log_dropped_total`).
    pub fn dropped_total(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Writes that the sink refused (`log_write_errors_total`).
    pub fn write_errors_total(&self) -> u64 {
        self.shared.write_errors.load(Ordering::Relaxed)
    }

    /// The log's own counters among the metrics.
    pub(crate) fn count_in(&self, metrics: &crate::metrics::Metrics) {
        let count = |name, help, read: fn(&Shared) -> &AtomicU64| {
            let shared = Arc::clone(&self.shared);
            metrics.watch_counter(name, help, move || read(&shared).load(Ordering::Relaxed));
        };
        count("log_lines", "Request lines written", |s| &s.written);
        count("log_dropped", "Request lines dropped: full ring or broken sink", |s| &s.dropped);
        count("log_write_errors", "Writes that the log's sink refused", |s| &s.write_errors);
    }

    /// Writes what the rings hold and ends the writer. Waits at most `patience`; a stalled sink does not hold up the
    /// end of the program. Returns whether everything was written.
    pub fn close(&self, patience: Duration) -> bool {
        self.shared.closing.store(true, Ordering::Release);
        self.writer.unpark();
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner).take();
        done.is_none_or(|done| done.recv_timeout(patience).is_ok())
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Release);
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("dropped", &self.dropped_total()).finish_non_exhaustive()
    }
}

impl Recorder {
    /// Whether lines go nowhere: then none need be made.
    pub fn is_off(&self) -> bool {
        self.shared.off
    }

    /// Hands a line over. When the ring is full the line is dropped and counted.
    pub fn record(&self, line: Line) {
        // The lock is the worker's own; it is there so that a recorder may be shared, and is not contended.
        let pushed = self.ring.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        if let Err(PushError::Full(line)) = pushed {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            drop(line);
        }
    }
}

struct Writer {
    out: Out,
    format: Format,
    shared: Arc<Shared>,
    rings: Vec<Consumer<Line>>,
    announced: u64,
    last: Now,
}

impl Writer {
    fn run(mut self, tell: &SyncSender<()>) {
        let mut buffer = Vec::with_capacity(BATCH + 8 * 1024);
        let mut scratch = Vec::with_capacity(64);
        loop {
            // Read before the rings: what was recorded before the end is still written.
            let closing = self.shared.closing.load(Ordering::Acquire);
            let moved = self.pass(&mut buffer, &mut scratch);
            if !moved && closing {
                break;
            }
            if !closing && buffer.len() < BATCH {
                thread::park_timeout(REST);
            }
        }
        let _ = tell.try_send(());
    }

    /// Takes what is there, up to one batch. False when there was nothing.
    fn pass(&mut self, buffer: &mut Vec<u8>, scratch: &mut Vec<u8>) -> bool {
        self.rings.append(&mut self.shared.new_rings.lock().unwrap_or_else(PoisonError::into_inner));
        let dropped = self.shared.dropped.load(Ordering::Relaxed);
        buffer.clear();
        let mut lines = 0_u64;
        // Fair between workers: a line from each in turn.
        loop {
            let before = lines;
            for ring in &mut self.rings {
                if let Ok(line) = ring.pop() {
                    self.last = self.last.max(line.at);
                    line.write(buffer, self.format, scratch);
                    lines += 1;
                }
            }
            if lines == before || buffer.len() >= BATCH {
                break;
            }
        }
        self.rings.retain(|ring| !(ring.is_abandoned() && ring.is_empty()));
        if dropped > self.announced {
            line::dropped(buffer, self.format, self.last, dropped - self.announced, scratch);
        }
        if buffer.is_empty() {
            return false;
        }
        match self.out.write(buffer, self.last.secs()) {
            Ok(()) => {
                self.announced = dropped.max(self.announced);
                self.shared.written.fetch_add(lines, Ordering::Relaxed);
            }
            Err(_) => {
                // A part may have been written; the lines count as lost, and the next good write says how many.
                self.shared.write_errors.fetch_add(1, Ordering::Relaxed);
                self.shared.dropped.fetch_add(lines, Ordering::Relaxed);
                if lines == 0 {
                    // Only the announcement itself failed: do not spin on a broken sink.
                    thread::park_timeout(Duration::from_millis(200));
                    return false;
                }
            }
        }
        true
    }
}
