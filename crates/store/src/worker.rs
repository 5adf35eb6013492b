//! A thread that owns an adapter, and a bounded queue in front of it.

use crate::StoreError;
use crate::adapter::Result;
use std::io;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

type Job<A> = Box<dyn FnOnce(&mut A) + Send>;

/// Runs closures on an adapter, one after the other.
pub(crate) struct Worker<A: ?Sized> {
    jobs: Mutex<Option<SyncSender<Job<A>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    patience: Duration,
}

impl<A: ?Sized + Send + 'static> Worker<A> {
    /// `tick` runs at least every `every` and once more at the end.
    pub(crate) fn start(
        name: &str,
        queue: usize,
        patience: Duration,
        every: Duration,
        mut adapter: Box<A>,
        mut tick: impl FnMut(&mut A, bool) + Send + 'static,
    ) -> io::Result<Self> {
        let (jobs, receive): (SyncSender<Job<A>>, Receiver<Job<A>>) = sync_channel(queue);
        let run = move || {
            let mut ticked = Instant::now();
            loop {
                // By the clock and not by idleness: a queue that is asked twice a second must not starve the tick.
                let left = every.saturating_sub(ticked.elapsed());
                match receive.recv_timeout(left) {
                    Ok(job) => job(&mut adapter),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                }
                if ticked.elapsed() >= every {
                    tick(&mut adapter, false);
                    ticked = Instant::now();
                }
            }
            tick(&mut adapter, true);
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(Self { jobs: Mutex::new(Some(jobs)), thread: Mutex::new(Some(thread)), patience })
    }

    /// Does `work` and waits for its answer, at most the patience.
    pub(crate) async fn ask<T: Send + 'static, E: From<StoreError> + Send + 'static>(
        &self,
        work: impl FnOnce(&mut A) -> std::result::Result<T, E> + Send + 'static,
    ) -> std::result::Result<T, E> {
        let (tell, answer) = oneshot::channel();
        self.send(Box::new(move |adapter| drop(tell.send(work(adapter)))))?;
        match tokio::time::timeout(self.patience, answer).await {
            Ok(Ok(result)) => result,
            _ => Err(StoreError::Unavailable.into()),
        }
    }

    /// Does `work` some time; nobody waits for it.
    pub(crate) fn tell(&self, work: impl FnOnce(&mut A) + Send + 'static) -> Result<()> {
        self.send(Box::new(work))
    }

    /// Does what is queued, then ends the thread.
    pub(crate) fn close(&self) {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
    }

    fn send(&self, job: Job<A>) -> Result<()> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.as_ref().and_then(|jobs| jobs.try_send(job).ok()).ok_or(StoreError::Unavailable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn a_queue_that_never_rests_still_ticks() {
        let ticks = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&ticks);
        let every = Duration::from_millis(20);
        let tick = move |_: &mut u32, _| {
            seen.fetch_add(1, Ordering::SeqCst);
        };
        let worker = Worker::start("test", 8, Duration::from_secs(5), every, Box::new(0_u32), tick).unwrap();
        let began = Instant::now();
        while ticks.load(Ordering::SeqCst) < 3 {
            // Never idle for as long as a tick waits.
            let _ = worker.tell(|count| *count += 1);
            assert!(began.elapsed() < Duration::from_secs(10), "no tick");
            std::thread::yield_now();
        }
        worker.close();
    }
}
