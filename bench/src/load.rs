//! The clients: each keeps one connection and sends the next request when the last was answered.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::work::{Sender, Work};
use crate::{Result, text};

/// What came back.
#[derive(Debug, Default)]
struct Tally {
    answered: u64,
    failed: u64,
    micros: Vec<u32>,
}

/// Drives `address` and gives `{"answered":…,"failed":…,"seconds":…,"p50_us":…,"p99_us":…}`.
pub(crate) async fn run(
    address: &str,
    work: &str,
    connections: &str,
    seconds: &str,
    credential: &str,
) -> Result<serde_json::Value> {
    let work = Work::named(work).ok_or("no such work")?;
    let connections: usize = connections.parse().map_err(text)?;
    let seconds: f64 = seconds.parse().map_err(text)?;
    let tally = Rc::new(RefCell::new(Tally::default()));
    let sender = Rc::new(RefCell::new(Sender::new(work, credential)?));
    let began = Instant::now();
    let end = began + Duration::from_secs_f64(seconds);
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let (address, sender, tally) = (address.to_owned(), Rc::clone(&sender), Rc::clone(&tally));
        clients.spawn_local(async move {
            while Instant::now() < end {
                // A connection that was closed is opened again; the request that it cost is counted.
                if converse(&address, &sender, end, &tally).await.is_err() {
                    tally.borrow_mut().failed += 1;
                }
            }
        });
    }
    while clients.join_next().await.is_some() {}
    let mut tally = tally.take();
    tally.micros.sort_unstable();
    let at = |part: f64| {
        let index = (tally.micros.len() as f64 * part) as usize;
        tally.micros.get(index.min(tally.micros.len().saturating_sub(1))).copied().unwrap_or(0)
    };
    Ok(serde_json::json!({
        "answered": tally.answered, "failed": tally.failed, "seconds": began.elapsed().as_secs_f64(),
        "p50_us": at(0.50), "p99_us": at(0.99),
    }))
}

async fn converse(
    address: &str,
    sender: &RefCell<Sender>,
    end: Instant,
    tally: &RefCell<Tally>,
) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(16 << 10);
    while Instant::now() < end {
        let bytes = sender.borrow_mut().next().map_err(io::Error::other)?.to_vec();
        let sent = Instant::now();
        stream.write_all(&bytes).await?;
        let (length, good, last) = loop {
            if let Some(answer) = complete(&buffer) {
                break answer;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        buffer.drain(..length);
        let mut tally = tally.borrow_mut();
        if good {
            tally.answered += 1;
            tally.micros.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX));
        } else {
            tally.failed += 1;
        }
        if last {
            return Ok(());
        }
    }
    Ok(())
}

/// Length of the first answer when it is there in full, whether it is 200, and whether the connection ends.
fn complete(buffer: &[u8]) -> Option<(usize, bool, bool)> {
    let end = buffer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let (head, rest) = buffer.split_at_checked(end)?;
    let head = std::str::from_utf8(head).ok()?;
    let (mut length, mut last, mut chunked) = (0, false, false);
    for line in head.split("\r\n") {
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = true;
        } else if name.eq_ignore_ascii_case("connection") {
            last = value.trim().eq_ignore_ascii_case("close");
        }
    }
    if chunked {
        length = rest.windows(5).position(|window| window == b"0\r\n\r\n")? + 5;
    }
    (rest.len() >= length).then_some((end + length, head.starts_with("HTTP/1.1 200"), last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_end_where_they_end() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab";
        assert_eq!(complete(whole), Some((whole.len(), true, false)));
        assert_eq!(complete(&whole[..whole.len() - 1]), None);
        let refused =
            b"HTTP/1.1 429 No\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n";
        assert_eq!(complete(refused), Some((refused.len(), false, true)));
    }
}
