//! Counters that only one worker writes: an increment is a load and a store in its own cache line, and a scrape adds
//! up all workers.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Upper bounds of the latency buckets in microseconds; the last bucket is open.
pub(crate) const BOUNDS_US: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];

/// The statuses counted by themselves; any other falls into its class (`1xx` … `5xx`).
pub(crate) const STATUSES: [u16; 40] = [
    101, 200, 201, 202, 204, 205, 206, 207, 301, 302, 303, 304, 307, 308, 400, 401, 402, 403, 404, 405, 406,
    408, 409, 410, 411, 412, 413, 414, 415, 417, 421, 422, 426, 428, 429, 431, 500, 502, 503, 504,
];
pub(crate) const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];
pub(crate) const STATUS_CELLS: usize = STATUSES.len() + CLASSES.len();

#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; BOUNDS_US.len() + 1], sum_us: AtomicU64::new(0) }
    }
}

impl Histogram {
    pub(crate) fn record(&self, us: u64) {
        let bucket = BOUNDS_US.partition_point(|bound| *bound < us);
        if let Some(cell) = self.buckets.get(bucket) {
            add(cell, 1);
        }
        add(&self.sum_us, us);
    }
}

/// What one worker counted on one route.
#[derive(Debug)]
pub(crate) struct Cells {
    status: [AtomicU64; STATUS_CELLS],
    pub(crate) total: Histogram,
    pub(crate) request_bytes: AtomicU64,
    pub(crate) response_bytes: AtomicU64,
}

impl Default for Cells {
    fn default() -> Self {
        Self {
            status: [const { AtomicU64::new(0) }; STATUS_CELLS],
            total: Histogram::default(),
            request_bytes: AtomicU64::new(0),
            response_bytes: AtomicU64::new(0),
        }
    }
}

impl Cells {
    pub(crate) fn status(&self, status: u16) {
        let cell = STATUSES.binary_search(&status).unwrap_or_else(|_| {
            STATUSES.len() + if (100..600).contains(&status) { usize::from(status / 100) - 1 } else { 5 }
        });
        if let Some(cell) = self.status.get(cell) {
            add(cell, 1);
        }
    }
}

/// A sum over workers.
#[derive(Clone, Debug, Default)]
pub(crate) struct HistogramSum {
    pub(crate) buckets: [u64; BOUNDS_US.len() + 1],
    pub(crate) sum_us: u64,
}

impl HistogramSum {
    pub(crate) fn add(&mut self, h: &Histogram) {
        for (sum, cell) in self.buckets.iter_mut().zip(&h.buckets) {
            *sum += cell.load(Relaxed);
        }
        self.sum_us += h.sum_us.load(Relaxed);
    }

    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct CellsSum {
    pub(crate) status: [u64; STATUS_CELLS],
    pub(crate) total: HistogramSum,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
}

impl Default for CellsSum {
    fn default() -> Self {
        Self {
            status: [0; STATUS_CELLS],
            total: HistogramSum::default(),
            request_bytes: 0,
            response_bytes: 0,
        }
    }
}

impl CellsSum {
    pub(crate) fn add(&mut self, cells: &Cells) {
        for (sum, cell) in self.status.iter_mut().zip(&cells.status) {
            *sum += cell.load(Relaxed);
        }
        self.total.add(&cells.total);
        self.request_bytes += cells.request_bytes.load(Relaxed);
        self.response_bytes += cells.response_bytes.load(Relaxed);
    }
}

/// Exact also when two threads share a worker's handle; without contention it costs a few nanoseconds.
pub(crate) fn add(cell: &AtomicU64, n: u64) {
    cell.fetch_add(n, Relaxed);
}

pub(crate) fn status_label(cell: usize) -> Option<std::borrow::Cow<'static, str>> {
    match STATUSES.get(cell) {
        Some(status) => Some(status.to_string().into()),
        None => CLASSES.get(cell.checked_sub(STATUSES.len())?).map(|c| (*c).into()),
    }
}
