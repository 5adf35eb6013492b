//! A second, independent reader of HTTP/1.1, written to notice what a forgiving one forgets.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// A message as it was on the wire.
#[derive(Debug, Clone, Default)]
pub struct Message {
    /// Request line or status line, without its line end.
    pub start: String,
    /// Fields in the order received, names as written.
    pub headers: Vec<(String, String)>,
    /// The body, after removing chunked framing.
    pub body: Vec<u8>,
    /// Trailer fields of a chunked body.
    pub trailers: Vec<(String, String)>,
    /// Every byte of it: head, framing and body.
    pub raw: Vec<u8>,
    /// What RFC 9112 forbids or what two readers could read differently.
    pub anomalies: Vec<String>,
}

impl Message {
    /// The first value of a field, by name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// All values of a field.
    pub fn values(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }
}

/// Which framing rules apply (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A request: no length means no body.
    Request,
    /// A response: no length means until the connection closes.
    Response,
    /// A response that has no body, whatever its fields say: to HEAD, or 1xx, 204, 304.
    Bodiless,
}

/// Reads one message. `buffer` holds what was read beyond it, before and after. `Ok(None)`: the peer closed
/// between messages.
pub async fn read<R: AsyncRead + Unpin>(
    stream: &mut R,
    buffer: &mut Vec<u8>,
    kind: Kind,
) -> io::Result<Option<Message>> {
    let end = loop {
        if let Some(end) = find(buffer, b"\r\n\r\n") {
            break end + 4;
        }
        if buffer.len() > 4 << 20 {
            return Err(io::Error::other("head above 4 MiB"));
        }
        if fill(stream, buffer).await? == 0 {
            if buffer.is_empty() {
                return Ok(None);
            }
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed inside a head"));
        }
    };
    let mut message = Message { raw: buffer.drain(..end).collect(), ..Message::default() };
    head(&mut message);
    let status = message.start.split(' ').nth(1).and_then(|s| s.parse::<u16>().ok()).unwrap_or(0);
    let bodiless = kind == Kind::Bodiless
        || (kind == Kind::Response && (status / 100 == 1 || status == 204 || status == 304));
    if !bodiless {
        body(stream, buffer, kind, &mut message).await?;
    }
    Ok(Some(message))
}

fn head(message: &mut Message) {
    let text = String::from_utf8_lossy(&message.raw).into_owned();
    let mut lines = text.trim_end_matches("\r\n").split("\r\n");
    message.start = lines.next().unwrap_or_default().to_owned();
    for line in lines {
        match line.split_once(':') {
            Some((name, value)) => {
                if name.is_empty() || name.bytes().any(|b| b <= b' ' || b == 0x7f) {
                    message.anomalies.push(format!("field name {name:?}"));
                }
                message.headers.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
            }
            None => message.anomalies.push(format!("field line without colon {line:?}")),
        }
    }
    if text.replace("\r\n", "").contains(['\r', '\n', '\0']) {
        message.anomalies.push("bare CR, LF or NUL in a head".to_owned());
    }
    for name in ["content-length", "transfer-encoding", "host"] {
        if message.values(name).len() > 1 {
            message.anomalies.push(format!("{name} more than once"));
        }
    }
    if message.header("content-length").is_some() && message.header("transfer-encoding").is_some() {
        message.anomalies.push("content-length beside transfer-encoding".to_owned());
    }
}

async fn body<R: AsyncRead + Unpin>(
    stream: &mut R,
    buffer: &mut Vec<u8>,
    kind: Kind,
    message: &mut Message,
) -> io::Result<()> {
    if message.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
        return chunks(stream, buffer, message).await;
    }
    if let Some(length) = message.header("content-length") {
        let length: usize = length.parse().map_err(|_| io::Error::other(format!("length {length:?}")))?;
        message.body = take(stream, buffer, length).await?;
        message.raw.extend_from_slice(&message.body);
    } else if kind == Kind::Response {
        while fill(stream, buffer).await? != 0 {}
        message.body = std::mem::take(buffer);
        message.raw.extend_from_slice(&message.body);
    }
    Ok(())
}

async fn chunks<R: AsyncRead + Unpin>(
    stream: &mut R,
    buffer: &mut Vec<u8>,
    message: &mut Message,
) -> io::Result<()> {
    loop {
        let size = line(stream, buffer, message).await?;
        let digits = size.split(';').next().unwrap_or_default();
        if digits != size {
            message.anomalies.push(format!("chunk extension {size:?}"));
        }
        let size = usize::from_str_radix(digits, 16)
            .map_err(|_| io::Error::other(format!("chunk size {size:?}")))?;
        if size == 0 {
            break;
        }
        let data = take(stream, buffer, size).await?;
        message.raw.extend_from_slice(&data);
        message.body.extend_from_slice(&data);
        if !line(stream, buffer, message).await?.is_empty() {
            return Err(io::Error::other("chunk data not followed by CRLF"));
        }
    }
    loop {
        let field = line(stream, buffer, message).await?;
        match field.split_once(':') {
            None if field.is_empty() => return Ok(()),
            None => message.anomalies.push(format!("trailer without colon {field:?}")),
            Some((name, value)) => message.trailers.push((name.to_owned(), value.trim().to_owned())),
        }
    }
}

async fn line<R: AsyncRead + Unpin>(
    stream: &mut R,
    buffer: &mut Vec<u8>,
    message: &mut Message,
) -> io::Result<String> {
    loop {
        if let Some(end) = find(buffer, b"\r\n") {
            let bytes: Vec<u8> = buffer.drain(..end + 2).collect();
            message.raw.extend_from_slice(&bytes);
            return Ok(String::from_utf8_lossy(&bytes[..end]).into_owned());
        }
        if fill(stream, buffer).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed inside a line"));
        }
    }
}

async fn take<R: AsyncRead + Unpin>(
    stream: &mut R,
    buffer: &mut Vec<u8>,
    length: usize,
) -> io::Result<Vec<u8>> {
    while buffer.len() < length {
        if fill(stream, buffer).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed inside a body"));
        }
    }
    Ok(buffer.drain(..length).collect())
}

async fn fill<R: AsyncRead + Unpin>(stream: &mut R, buffer: &mut Vec<u8>) -> io::Result<usize> {
    stream.read_buf(buffer).await
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn one(bytes: &str, kind: Kind) -> io::Result<Option<Message>> {
        read(&mut bytes.as_bytes(), &mut Vec::new(), kind).await
    }

    #[tokio::test]
    async fn lengths_chunks_and_closes() {
        let message = one("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET", Kind::Request)
            .await
            .unwrap()
            .unwrap();
        assert_eq!((message.body.as_slice(), message.anomalies.len()), (b"abc".as_slice(), 0));
        let message = one(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=1\r\nde\r\n0\r\nT: u\r\n\r\n",
            Kind::Response,
        )
        .await
        .unwrap()
        .unwrap();
        assert_eq!(message.body, b"abcde");
        assert_eq!(message.trailers, [("T".to_owned(), "u".to_owned())]);
        assert_eq!(message.anomalies.len(), 1, "{:?}", message.anomalies);
        let message = one("HTTP/1.1 200 OK\r\n\r\nrest", Kind::Response).await.unwrap().unwrap();
        assert_eq!(message.body, b"rest");
    }

    #[tokio::test]
    async fn what_readers_disagree_about_is_noticed() {
        for head in [
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 0\r\nTransfer-Encoding: gzip\r\n\r\n",
            "GET / HTTP/1.1\r\nX : b\r\n\r\n",
        ] {
            let message = one(head, Kind::Request).await.unwrap().unwrap();
            assert!(!message.anomalies.is_empty(), "{head:?}");
        }
        assert!(one("GET / HTTP/1.1\r\nHo", Kind::Request).await.is_err());
        assert!(one("", Kind::Request).await.unwrap().is_none());
    }
}
