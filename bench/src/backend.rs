//! The API behind: answers at once, the same bytes every time, on one thread.

use std::io::{self, Write as _};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::{Result, text};

const SMALL: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 64\r\n\r\n\
    0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const ORDER: &str = "{\"id\":4711,\"status\":\"open\",\"total_cents\":5391,\"margin_cents\":1804,\
    \"fraud_score\":0.03,\"warehouse\":{\"id\":7,\"shelf\":\"B-12\",\"picker\":\"anna\"},\
    \"history\":[{\"at\":\"2026-01-01T00:00:00Z\",\"by\":\"system\"}]}";

/// Listens on `address` and says so on stdout.
pub(crate) async fn start(address: &str) -> Result {
    let listener = TcpListener::bind(address).await.map_err(text)?;
    writeln!(io::stdout(), "{}", listener.local_addr().map_err(text)?).map_err(text)?;
    let order = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{ORDER}",
        ORDER.len()
    );
    let order: &'static [u8] = Vec::leak(order.into_bytes());
    tokio::task::spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if stream.set_nodelay(true).is_ok() {
                drop(tokio::task::spawn_local(converse(stream, order)));
            }
        }
    });
    Ok(())
}

async fn converse(mut stream: TcpStream, order: &[u8]) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(16 << 10);
    loop {
        let Some(length) = complete(&buffer) else {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let answer = if buffer.starts_with(b"POST") { order } else { SMALL };
        buffer.drain(..length);
        stream.write_all(answer).await?;
    }
}

/// Length of the first request, when it is there in full. Peers send `Content-Length` or chunks; both end here.
fn complete(buffer: &[u8]) -> Option<usize> {
    let end = buffer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let (head, rest) = buffer.split_at_checked(end)?;
    let head = std::str::from_utf8(head).ok()?;
    for line in head.split("\r\n") {
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("content-length") {
            let length: usize = value.trim().parse().ok()?;
            return (rest.len() >= length).then_some(end + length);
        }
        if name.eq_ignore_ascii_case("transfer-encoding") {
            let last = rest.windows(5).position(|window| window == b"0\r\n\r\n")?;
            return Some(end + last + 5);
        }
    }
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_end_where_they_end() {
        assert_eq!(complete(b"GET / HTTP/1.1\r\n\r\nGET"), Some(18));
        assert_eq!(complete(b"GET / HTTP/1.1\r\n"), None);
        assert_eq!(complete(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\na"), None);
        assert_eq!(complete(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nab"), Some(40));
        assert_eq!(
            complete(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"),
            Some(58)
        );
    }
}
