//! Keeps the audit ledger of a running program: what the program itself does is written down, checkpoints are signed and
//! shipped. On a thread of its own, so that a sink that is slow holds up nothing.

use portcullis_egress::Door;
use portcullis_gateway::services::Shared;
use portcullis_store::ledger::{By, Checkpoint, Deed};
use portcullis_telemetry::note;
use portcullis_vault::ledger::{self, LedgerKey, Sinks};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// How often what is signed is shipped, and what could not be written is tried again.
const TURN: Duration = Duration::from_secs(5);
/// Entries that wait for a store that cannot be written.
const WAITING: usize = 256;

/// A way to the thread.
pub(crate) struct Scribe(UnboundedSender<Order>);

enum Order {
    Write(Box<Deed>),
    /// What was ordered before is written, if the store takes it.
    Settle(SyncSender<()>),
    /// Everything is written, signed and shipped before the answer.
    Close(SyncSender<()>),
}

impl Scribe {
    /// Starts the thread.
    ///
    /// # Errors
    /// There is no key to sign with, or no thread.
    pub(crate) fn start(shared: Arc<Shared>, door: Arc<Door>) -> Result<Self, String> {
        let key = LedgerKey::open(shared.store.folder())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("a runtime: {error}"))?;
        let (orders, receive) = unbounded_channel();
        std::thread::Builder::new()
            .name("portcullis-ledger".to_owned())
            .spawn(move || {
                let desk = Desk { shared, door, key, waiting: VecDeque::new() };
                runtime.block_on(desk.work(receive));
            })
            .map_err(|error| format!("a thread: {error}"))?;
        Ok(Self(orders))
    }

    /// Writes down what the program does. Does not wait.
    pub(crate) fn wrote(&self, deed: Deed) {
        // The thread lives until it is closed, which is the last that is asked of it.
        let _ = self.0.send(Order::Write(Box::new(deed)));
    }

    /// Waits until what was told before is written, for so long.
    pub(crate) fn settle(&self, limit: Duration) {
        let (done, wait) = sync_channel(1);
        if self.0.send(Order::Settle(done)).is_ok() {
            let _ = wait.recv_timeout(limit);
        }
    }

    /// Writes, signs and ships what is left, for so long.
    pub(crate) fn close(&self, limit: Duration) {
        let (done, wait) = sync_channel(1);
        if self.0.send(Order::Close(done)).is_ok() {
            let _ = wait.recv_timeout(limit);
        }
    }
}

/// A deed of the program itself.
pub(crate) fn deed(
    at: i64,
    event: &'static str,
    target: &str,
    reason: Option<String>,
    detail: Vec<(&'static str, String)>,
) -> Deed {
    Deed { at, event, by: By::program(), target: target.to_owned(), reason, detail }
}

struct Desk {
    shared: Arc<Shared>,
    door: Arc<Door>,
    key: LedgerKey,
    waiting: VecDeque<Deed>,
}

impl Desk {
    async fn work(mut self, mut orders: UnboundedReceiver<Order>) {
        let mut turns = tokio::time::interval(TURN);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut signed = tokio::time::Instant::now();
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Write(deed)) => {
                        // Of several programs on one store each says at once that it is there.
                        let first = deed.event == "program.started";
                        self.write(Some(*deed)).await;
                        if first {
                            self.sign().await;
                        }
                    }
                    Some(Order::Settle(done)) => drop(done.send(())),
                    Some(Order::Close(done)) => {
                        self.write(None).await;
                        self.sign().await;
                        self.ship().await;
                        let _ = done.send(());
                        return;
                    }
                    None => return,
                },
                _ = turns.tick() => {
                    self.write(None).await;
                    if signed.elapsed() >= ledger::EVERY {
                        signed = tokio::time::Instant::now();
                        self.sign().await;
                    }
                    self.ship().await;
                }
            }
        }
    }

    /// Writes what waits, in its order, and then this.
    async fn write(&mut self, deed: Option<Deed>) {
        if self.waiting.len() >= WAITING
            && let Some(lost) = self.waiting.pop_front()
        {
            let values = [("event", lost.event.into()), ("target", lost.target.as_str().into())];
            note::error("ledger.lost", "an entry of the audit ledger could not be written", &values);
        }
        self.waiting.extend(deed);
        while let Some(next) = self.waiting.front() {
            match self.shared.store.ledger().append(next.clone()).await {
                Ok(_) => drop(self.waiting.pop_front()),
                Err(error) => {
                    let values = [("event", next.event.into()), ("why", error.text().into())];
                    note::error("ledger.unavailable", "the audit ledger cannot be written", &values);
                    return;
                }
            }
        }
    }

    async fn sign(&self) {
        let now = self.shared.clock.now().secs();
        if let Err(error) = ledger::checkpoint(&self.shared.store, &self.key, now).await {
            let values = [("why", error.text().into())];
            note::error("ledger.unsigned", "the audit ledger could not be signed", &values);
        }
    }

    async fn ship(&self) {
        let audit = self.shared.live.load().plan.audit.clone();
        let sinks = Sinks { file: audit.file, webhook: audit.webhook };
        let now = self.shared.clock.now().secs();
        if let Err(why) = ledger::ship(&self.shared.store, &sinks, &*self.door, now, told).await {
            let values = [("why", why.as_str().into())];
            note::warn("ledger.unshipped", "checkpoints of the audit ledger wait for their sink", &values);
        }
    }
}

/// The notes go wherever the program's log goes: the one sink that there always is.
fn told(checkpoint: &Checkpoint) {
    let line = checkpoint.line();
    let seq = u64::try_from(checkpoint.seq).unwrap_or(0);
    let values = [("seq", seq.into()), ("checkpoint", line.as_str().into())];
    note::info("ledger.checkpoint", "the audit ledger was signed", &values);
}
