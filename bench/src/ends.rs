//! Clients and backend in one process, on one thread, that never sleeps while it is measured.
//!
//! On loopback a send that wakes a sleeping process is charged to the sender. A slower proxy leaves the ends idle more
//! often, so it would pay for waking them and its figure would hold the bench's own cost. Behind a network nobody is
//! woken by the proxy. So during a turn the ends spin, for every proxy alike.

use std::io::{self, BufRead as _, BufReader, Write as _};

use tokio::sync::mpsc::unbounded_channel;
use tokio::task::{LocalSet, spawn_local, yield_now};

use crate::{Result, backend, load, text};

/// Serves `address`, says on stdout where, and then runs each load that a line of stdin asks for:
/// `ADDRESS WORK CONNECTIONS SECONDS CREDENTIAL`. Answers each with one line of JSON. Ends with stdin.
pub(crate) fn run(address: &str) -> Result {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(text)?;
    let (orders, mut asked) = unbounded_channel::<String>();
    std::thread::spawn(move || {
        for line in BufReader::new(io::stdin()).lines().map_while(std::result::Result::ok) {
            if orders.send(line).is_err() {
                return;
            }
        }
    });
    LocalSet::new().block_on(&runtime, async move {
        backend::start(address).await?;
        while let Some(order) = asked.recv().await {
            let words: Vec<&str> = order.split(' ').collect();
            let [address, work, connections, seconds, credential] = words.as_slice() else {
                return Err("ADDRESS WORK CONNECTIONS SECONDS CREDENTIAL".to_owned());
            };
            let awake = spawn_local(async {
                loop {
                    yield_now().await;
                }
            });
            let report = load::run(address, work, connections, seconds, credential).await?;
            awake.abort();
            writeln!(io::stdout(), "{report}").map_err(text)?;
        }
        Ok(())
    })
}
