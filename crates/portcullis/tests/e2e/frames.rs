//! HTTP/2 frames by hand: what no library would send.

use crate::world::World;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// Frame types (RFC 9113, section 6).
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;
/// Flags.
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// One frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Fields as HPACK literals that need no state (RFC 7541, section 6.2.2).
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            integer(text.len(), &mut out);
            out.extend_from_slice(text.as_bytes());
        }
    }
    out
}

/// With a prefix of seven bits (RFC 7541, section 5.1).
fn integer(number: usize, out: &mut Vec<u8>) {
    match u8::try_from(number) {
        Ok(small) if small < 127 => out.push(small),
        _ => {
            out.push(127);
            let mut rest = number - 127;
            while rest >= 128 {
                out.push(u8::try_from(rest % 128 + 128).unwrap());
                rest /= 128;
            }
            out.push(u8::try_from(rest).unwrap());
        }
    }
}

/// What came back for a stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Back {
    /// First byte of the answer's header block: `0x88` is 200, `0x8c` is 400, `0x8d` is 404 (RFC 7541, appendix A).
    pub(crate) status: Option<u8>,
    /// Its body.
    pub(crate) body: Vec<u8>,
    /// RST_STREAM came.
    pub(crate) reset: bool,
    /// GOAWAY came, or the connection was closed.
    pub(crate) gone: bool,
}

/// A TLS connection on which frames are written as they are.
pub(crate) struct Frames {
    stream: TlsStream<TcpStream>,
}

impl Frames {
    /// With the preface and empty settings sent.
    pub(crate) async fn open(world: &World) -> Self {
        let stream = TcpStream::connect(world.secure()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let tls = tokio_rustls::TlsConnector::from(world.tls(&[b"h2"]));
        let mut frames = Self { stream: tls.connect(name, stream).await.unwrap() };
        let mut start = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        start.extend(frame(SETTINGS, 0, 0, &[]));
        frames.write(&start).await.unwrap();
        frames
    }

    /// Bytes as they are.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// The next frame: kind, flags, stream, payload; nothing once the connection is closed.
    pub(crate) async fn next(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0_u8; 9];
        self.stream.read_exact(&mut head).await.ok()?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await.ok()?;
        Some((head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
    }

    /// Everything about one stream until it has ended, one way or another.
    pub(crate) async fn end_of(&mut self, stream: u32) -> Back {
        let mut back = Back::default();
        loop {
            let Some((kind, flags, on, payload)) = self.next().await else {
                back.gone = true;
                return back;
            };
            match kind {
                GOAWAY => back.gone = true,
                RST_STREAM if on == stream => back.reset = true,
                HEADERS if on == stream => back.status = back.status.or(payload.first().copied()),
                DATA if on == stream => back.body.extend(payload),
                _ => continue,
            }
            let ended = on == stream && matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0;
            if back.reset || back.gone || ended {
                return back;
            }
        }
    }
}
