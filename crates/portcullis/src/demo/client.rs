//! A client that sends the bytes it is told, also those that no polite library would send.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);
const LARGEST_ANSWER: u64 = 32 << 20;

/// An answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    /// Status code.
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    /// The body as text.
    pub(super) body: String,
}

impl Answer {
    /// The first value of a field, by name in any case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Whether it is 2xx and contains this text.
    pub(super) fn gives(&self, text: &str) -> bool {
        self.success() && self.body.contains(text)
    }

    /// Whether it is 2xx.
    pub(super) fn success(&self) -> bool {
        self.status / 100 == 2
    }

    /// The code of the problem, when the gate refused.
    pub(super) fn problem(&self) -> Option<String> {
        let value: serde_json::Value = serde_json::from_str(&self.body).ok()?;
        value.get("type")?.as_str()?.strip_prefix("urn:portcullis:problem:").map(str::to_owned)
    }
}

/// One request on a connection of its own.
pub(super) fn exchange(address: SocketAddr, request: &[u8]) -> io::Result<Answer> {
    #[expect(clippy::disallowed_methods, reason = "the demo is a client, and sends what no polite one would")]
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // A gate that refuses before it has read a large body closes while we still write: its answer is there.
    let written = stream.write_all(request);
    let mut bytes = Vec::new();
    let read = (&mut stream).take(LARGEST_ANSWER).read_to_end(&mut bytes);
    match parse(&bytes) {
        Some(answer) => Ok(answer),
        None => {
            written?;
            read?;
            Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed without an answer"))
        }
    }
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, rest) = bytes.split_at_checked(end + 4)?;
    let head = String::from_utf8_lossy(head);
    let mut lines = head.trim_end().split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    if status == 100 {
        return parse(rest);
    }
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let mut answer = Answer { status, headers, body: String::new() };
    let chunked = answer.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked"));
    let body = if chunked { dechunk(rest)? } else { rest.to_vec() };
    answer.body = String::from_utf8_lossy(&body).into_owned();
    Some(answer)
}

fn dechunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let (line, after) = rest.split_at_checked(end)?;
        let size =
            usize::from_str_radix(std::str::from_utf8(line).ok()?.split(';').next()?.trim(), 16).ok()?;
        let after = after.get(2..)?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(after.get(..size)?);
        rest = after.get(size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_in_both_framings() {
        let plain = parse(b"HTTP/1.1 404 X\r\nA: b\r\nContent-Length: 2\r\n\r\nhi").unwrap();
        assert_eq!((plain.status, plain.header("a"), plain.body.as_str()), (404, Some("b"), "hi"));
        let bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
        assert!(parse(bytes).unwrap().gives("abc"));
        assert!(parse(b"HTTP/1.1 200").is_none());
        let problem =
            parse(b"HTTP/1.1 403 X\r\n\r\n{\"type\":\"urn:portcullis:problem:scope-missing\"}").unwrap();
        assert_eq!(problem.problem().as_deref(), Some("scope-missing"));
    }
}
