//! A connection's bytes: plaintext or TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The bytes that may come before the handshake's first message is complete.
const CLIENT_HELLO: usize = 16 << 10;

/// A TCP stream that reads at most a budget, and remembers what it read, until it is lifted.
pub(crate) struct Budget {
    tcp: TcpStream,
    left: usize,
    read: Vec<u8>,
}

impl Budget {
    pub(crate) const fn hello(tcp: TcpStream) -> Self {
        Self { tcp, left: CLIENT_HELLO, read: Vec::new() }
    }

    /// From here on nothing is counted. What was read so far: the ClientHello in its records.
    pub(crate) fn lift(&mut self) -> Vec<u8> {
        self.left = usize::MAX;
        std::mem::take(&mut self.read)
    }
}

/// What hyper (through the guard) reads and writes.
pub(crate) enum Sock {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::server::TlsStream<Budget>>),
}

macro_rules! both {
    ($self:expr, $io:ident => $call:expr) => {
        match $self {
            Sock::Plain(io) => {
                let $io = Pin::new(io);
                $call
            }
            Sock::Tls(io) => {
                let $io = Pin::new(&mut **io);
                $call
            }
        }
    };
}

impl AsyncRead for Sock {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        both!(self.get_mut(), io => io.poll_read(cx, buf))
    }
}

impl AsyncWrite for Sock {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        both!(self.get_mut(), io => io.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        both!(self.get_mut(), io => io.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(io) => io.is_write_vectored(),
            Self::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        both!(self.get_mut(), io => io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        both!(self.get_mut(), io => io.poll_shutdown(cx))
    }
}

impl AsyncRead for Budget {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        if me.left == 0 {
            return Poll::Ready(Err(io::Error::other("the ClientHello is too large")));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut me.tcp).poll_read(cx, buf))?;
        if me.left != usize::MAX {
            let fresh = buf.filled().get(before..).unwrap_or_default();
            me.left = me.left.saturating_sub(fresh.len());
            me.read.extend_from_slice(fresh);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Budget {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}

/// Bytes that were read too early, then the rest.
pub(crate) struct Prefixed<S> {
    pub(crate) early: Vec<u8>,
    pub(crate) io: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefixed<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        if me.early.is_empty() {
            return Pin::new(&mut me.io).poll_read(cx, buf);
        }
        let n = me.early.len().min(buf.remaining());
        buf.put_slice(me.early.get(..n).unwrap_or_default());
        me.early.drain(..n);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefixed<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
