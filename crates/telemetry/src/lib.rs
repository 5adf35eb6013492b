//! What happened, written down: the request log, metrics, and the program's own notes.
//!
//! Nothing here makes a request wait. A [`Line`](line::Line) goes into a ring as it is and is formatted by one writer
//! thread; a full ring drops the newest and says so. The log is an allow-list: what is no field of `Line` cannot be
//! logged. **Invariant:** no body, query value, cookie, credential header or raw URL has a place in any type of this
//! crate.

use std::io;
use std::sync::Arc;
use std::time::Duration;

mod json;
pub mod line;
pub mod log;
pub mod metrics;
pub mod note;
mod sink;
mod slab;

/// The log and the metrics of a process.
#[derive(Debug)]
pub struct Telemetry {
    /// The request log.
    pub log: log::Log,
    /// The metrics.
    pub metrics: Arc<metrics::Metrics>,
}

/// What one worker thread writes to.
#[derive(Debug)]
pub struct Desk {
    /// Its ring of the log.
    pub log: log::Recorder,
    /// Its counters.
    pub metrics: metrics::Worker,
}

impl Telemetry {
    /// Opens the sink and starts the log's thread. `ring` is the number of lines per worker ([`log::RING`]).
    ///
    /// # Errors
    /// The sink cannot be opened, or the thread not started.
    pub fn open(sink: log::Sink, format: line::Format, ring: usize) -> io::Result<Arc<Self>> {
        let log = log::Log::open(sink, format, ring)?;
        let metrics = metrics::Metrics::new();
        log.count_in(&metrics);
        metrics.watch_counter(
            "notes_dropped",
            "The program's own notes that could not be written",
            note::dropped_total,
        );
        Ok(Arc::new(Self { log, metrics }))
    }

    /// For one worker thread.
    pub fn desk(&self) -> Desk {
        Desk { log: self.log.recorder(), metrics: self.metrics.worker() }
    }

    /// Writes what is pending, at most for `patience` each. Returns whether all of it was written.
    pub fn close(&self, patience: Duration) -> bool {
        let lines = self.log.close(patience);
        note::flush(patience) && lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_counts_in_the_metrics() {
        let telemetry = Telemetry::open(log::Sink::Off, line::Format::Flat, 16).unwrap();
        let desk = telemetry.desk();
        let nothing = metrics::Request {
            status: 200,
            total_us: 1,
            inside_us: 1,
            upstream_us: None,
            request_bytes: 0,
            response_bytes: 0,
        };
        desk.metrics.request(telemetry.metrics.no_route(), &nothing);
        assert!(telemetry.close(Duration::from_secs(10)));
        let text = telemetry.metrics.render();
        for name in
            ["log_lines_total 0", "log_dropped_total 0", "log_write_errors_total 0", "notes_dropped_total 0"]
        {
            assert!(text.contains(&format!("portcullis_{name}")), "{name}\n{text}");
        }
    }
}
