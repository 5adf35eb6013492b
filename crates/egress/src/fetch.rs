//! A small bounded call: GET for key sets, POST for introspection and webhooks.
//!
//! No redirects, no cookies, no coded answers, one connection for one call.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::tls::{self, Trust};
use crate::{Door, EgressError, Purpose};

/// The bounds of one call.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    /// Bytes of the body.
    pub body: usize,
    /// Resolving and connecting.
    pub connect: Duration,
    /// The whole call.
    pub total: Duration,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self { body: 256 << 10, connect: Duration::from_secs(3), total: Duration::from_secs(5) }
    }
}

/// An answer with status 200.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The body.
    pub body: Bytes,
    /// `Content-Type`, if there was one in ASCII.
    pub content_type: Option<String>,
    /// `max-age` of `Cache-Control`, in seconds.
    pub max_age: Option<u64>,
}

/// What a POST carries.
#[derive(Clone, Copy, Debug)]
pub struct Post<'a> {
    /// `Content-Type`.
    pub content_type: &'a str,
    /// Further header fields.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
}

/// An answer of any status.
#[derive(Clone, Debug)]
pub struct Answered {
    /// Its status.
    pub status: u16,
    /// `Retry-After` in seconds, if it was a number.
    pub retry_after: Option<u64>,
    /// Its body.
    pub body: Bytes,
}

impl Door {
    /// `POST url`, under the rules of [`Door::fetch`]. The status is the caller's to judge; nothing is followed.
    ///
    /// # Errors
    /// See [`EgressError`].
    pub async fn post(
        &self,
        purpose: Purpose,
        url: &str,
        trust: Trust<'_>,
        limits: FetchLimits,
        post: Post<'_>,
    ) -> Result<Answered, EgressError> {
        let target = Target::parse(url)?;
        let mut request = target
            .request(Method::POST)
            .header(header::CONTENT_TYPE, post.content_type)
            .header(header::CONTENT_LENGTH, post.body.len());
        for (name, value) in post.headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::new(Bytes::copy_from_slice(post.body)))
            .map_err(|_| EgressError::Denied("the header fields"))?;
        let answer = self.call(purpose, &target, trust, limits, request).await?;
        let retry_after = answer.retry_after.and_then(|text| text.parse().ok());
        Ok(Answered { status: answer.status.as_u16(), retry_after, body: answer.body })
    }

    /// `GET url`, `https` against the public authorities or a private one; `http` on loopback only.
    ///
    /// # Errors
    /// See [`EgressError`]; any status but 200 is [`EgressError::Status`].
    pub async fn fetch(
        &self,
        purpose: Purpose,
        url: &str,
        trust: Trust<'_>,
        limits: FetchLimits,
    ) -> Result<Fetched, EgressError> {
        let target = Target::parse(url)?;
        let request =
            target.request(Method::GET).body(Full::default()).map_err(|_| EgressError::Denied("the path"))?;
        let answer = self.call(purpose, &target, trust, limits, request).await?;
        if answer.status != StatusCode::OK {
            return Err(EgressError::Status(answer.status.as_u16()));
        }
        let max_age = answer.cache_control.as_deref().and_then(max_age);
        Ok(Fetched { body: answer.body, content_type: answer.content_type, max_age })
    }

    /// Any small call: what is asked and answered is the caller's protocol (ACME). The target is that of `request`,
    /// an absolute URL under the rules of [`Door::fetch`]; `Host`, `Accept-Encoding` and the length are ours.
    ///
    /// # Errors
    /// See [`EgressError`]; no status is an error, and nothing is followed.
    pub async fn exchange(
        &self,
        purpose: Purpose,
        trust: Trust<'_>,
        limits: FetchLimits,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, EgressError> {
        let url = request.uri().to_string();
        let target = Target::parse(&url)?;
        let (parts, body) = request.into_parts();
        let mut ours = Request::builder().method(parts.method).uri(target.path);
        if let Some(headers) = ours.headers_mut() {
            *headers = parts.headers;
            headers.remove(header::CONTENT_LENGTH);
            headers.remove(header::TRANSFER_ENCODING);
            let host = target.authority.parse().map_err(|_| EgressError::Denied("authority"))?;
            headers.insert(header::HOST, host);
            headers.insert(header::ACCEPT_ENCODING, header::HeaderValue::from_static("identity"));
        }
        let ours = ours.body(Full::new(body)).map_err(|_| EgressError::Denied("the header fields"))?;
        let answer = self.call(purpose, &target, trust, limits, ours).await?;
        let mut response = Response::new(answer.body);
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        Ok(response)
    }

    async fn call(
        &self,
        purpose: Purpose,
        target: &Target<'_>,
        trust: Trust<'_>,
        limits: FetchLimits,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, EgressError> {
        let config = if target.tls {
            Some(tls::client_config(trust, None, &[b"http/1.1"]).map_err(|_| EgressError::Tls)?)
        } else {
            None
        };
        let call = async {
            let tcp = self.dial(purpose, target.host, target.port, limits.connect).await?;
            match config {
                None => exchange(tcp, request, limits.body).await,
                Some(config) => {
                    let tls = tls::handshake(config, target.host, tcp, limits.total).await?;
                    exchange(tls, request, limits.body).await
                }
            }
        };
        tokio::time::timeout(limits.total, call).await.map_err(|_| EgressError::Timeout)?
    }
}

struct Answer {
    status: StatusCode,
    headers: header::HeaderMap,
    content_type: Option<String>,
    cache_control: Option<String>,
    retry_after: Option<String>,
    body: Bytes,
}

async fn exchange<S>(io: S, request: Request<Full<Bytes>>, limit: usize) -> Result<Answer, EgressError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_headers(100)
        .max_buf_size(32 << 10)
        .handshake(TokioIo::new(io))
        .await
        .map_err(|_| EgressError::Protocol)?;
    let call = async {
        let response = sender.send_request(request).await.map_err(|_| EgressError::Protocol)?;
        let status = response.status();
        let text = |name| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        if text(header::CONTENT_ENCODING).is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
            return Err(EgressError::Protocol);
        }
        let (content_type, cache_control) = (text(header::CONTENT_TYPE), text(header::CACHE_CONTROL));
        let retry_after = text(header::RETRY_AFTER);
        let (head, mut body) = response.into_parts();
        let headers = head.headers;
        if usize::try_from(hyper::body::Body::size_hint(&body).lower()).map_or(true, |known| known > limit) {
            return Err(EgressError::TooLarge);
        }
        let mut all = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| EgressError::Protocol)?.into_data() else { continue };
            if all.len() + data.len() > limit {
                return Err(EgressError::TooLarge);
            }
            all.extend_from_slice(&data);
        }
        Ok(Answer { status, headers, content_type, cache_control, retry_after, body: all.freeze() })
    };
    // The connection is driven here and not by a task of its own: it ends with the call.
    let mut connection = std::pin::pin!(connection);
    let mut call = std::pin::pin!(call);
    let mut open = true;
    std::future::poll_fn(move |cx| {
        loop {
            if let std::task::Poll::Ready(result) = call.as_mut().poll(cx) {
                return std::task::Poll::Ready(result);
            }
            if !open || connection.as_mut().poll(cx).is_pending() {
                return std::task::Poll::Pending;
            }
            open = false;
        }
    })
    .await
}

fn max_age(value: &str) -> Option<u64> {
    value.split(',').find_map(|part| part.trim().strip_prefix("max-age=")?.parse().ok())
}

/// A URL that may be asked: `https://host[:port]/path`, or `http` on loopback.
struct Target<'a> {
    tls: bool,
    authority: &'a str,
    host: &'a str,
    port: u16,
    path: &'a str,
}

impl<'a> Target<'a> {
    fn request(&self, method: Method) -> hyper::http::request::Builder {
        Request::builder()
            .method(method)
            .uri(self.path)
            .header(header::HOST, self.authority)
            .header(header::ACCEPT, "application/json")
            .header(header::ACCEPT_ENCODING, "identity")
            .header(header::USER_AGENT, "portcullis")
    }

    fn parse(url: &'a str) -> Result<Self, EgressError> {
        if url.len() > 2048 || !url.bytes().all(|b| matches!(b, 0x21..=0x7e) && !b"\\\"<>^`{|}#".contains(&b))
        {
            return Err(EgressError::Denied("characters"));
        }
        let (tls, rest) = match url.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err(EgressError::Denied("scheme")),
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).ok_or(EgressError::Denied("authority"))?;
        let path = if path.is_empty() { "/" } else { path };
        if path.starts_with('?') || authority.contains(['@', '%']) {
            return Err(EgressError::Denied("authority"));
        }
        let default = if tls { 443 } else { 80 };
        let (host, port) = match authority.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
            Some((host, "")) => (host, default),
            Some((host, port)) => (host, Self::port(port.strip_prefix(':'))?),
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Self::port(Some(port))?),
                None => (authority, default),
            },
        };
        if host.is_empty() {
            return Err(EgressError::Denied("host"));
        }
        let loopback = host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
        if !tls && !loopback {
            return Err(EgressError::Denied("plaintext off loopback"));
        }
        Ok(Self { tls, authority, host, port, path })
    }

    fn port(text: Option<&str>) -> Result<u16, EgressError> {
        text.and_then(|text| text.parse().ok()).filter(|&port| port != 0).ok_or(EgressError::Denied("port"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    async fn against(answer: impl Into<Vec<u8>>, limits: FetchLimits) -> Result<Fetched, EgressError> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys?x=1", listener.local_addr().unwrap());
        let answer = answer.into();
        let server = async move {
            let (mut peer, _) = listener.accept().await.unwrap();
            let mut seen = vec![0; 1024];
            let n = peer.read(&mut seen).await.unwrap();
            let head = String::from_utf8(seen[..n].to_vec()).unwrap();
            assert!(head.starts_with("GET /keys?x=1 HTTP/1.1\r\nhost: 127.0.0.1:"), "{head}");
            let _ = peer.write_all(&answer).await;
            let _ = peer.read(&mut [0; 1]).await;
        };
        let door = Door::new();
        let (result, ()) = tokio::join!(door.fetch(Purpose::Keys, &url, Trust::Public, limits), server);
        result
    }

    #[tokio::test]
    async fn fetches_and_is_bounded() {
        let limits = FetchLimits { total: Duration::from_millis(300), ..FetchLimits::default() };
        let ok = against("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncache-control: public, max-age=60\r\ncontent-length: 2\r\n\r\n{}", limits)
            .await
            .unwrap();
        assert_eq!((&ok.body[..], ok.max_age), (&b"{}"[..], Some(60)));
        assert_eq!(ok.content_type.as_deref(), Some("application/json"));
        let too_large = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", (256 << 10) + 1);
        assert_eq!(against(too_large, limits).await.unwrap_err(), EgressError::TooLarge);
        let mut endless = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        for _ in 0..5 {
            endless.extend(b"10000\r\n");
            endless.extend(vec![b'x'; 0x10000]);
            endless.extend(b"\r\n");
        }
        assert_eq!(against(endless, limits).await.unwrap_err(), EgressError::TooLarge);
        let moved = "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(against(moved, limits).await.unwrap_err(), EgressError::Status(302));
        let coded = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(against(coded, limits).await.unwrap_err(), EgressError::Protocol);
        assert_eq!(against("", limits).await.unwrap_err(), EgressError::Timeout);
    }

    #[tokio::test]
    async fn posts_once_and_follows_nothing() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let server = async move {
            let (mut peer, _) = listener.accept().await.unwrap();
            let mut seen = vec![0; 1024];
            let n = peer.read(&mut seen).await.unwrap();
            let answer =
                "HTTP/1.1 307 Temporary\r\nlocation: /other\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\nno";
            peer.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(seen[..n].to_vec()).unwrap()
        };
        let post = Post { content_type: "text/plain", headers: &[("webhook-id", "msg_1")], body: b"hello" };
        let door = Door::new();
        let call = door.post(Purpose::Webhook, &url, Trust::Public, FetchLimits::default(), post);
        let (answer, seen) = tokio::join!(call, server);
        let answer = answer.unwrap();
        assert_eq!((answer.status, answer.retry_after, &answer.body[..]), (307, Some(7), &b"no"[..]));
        assert!(seen.starts_with("POST /hook HTTP/1.1\r\n") && seen.ends_with("\r\n\r\nhello"), "{seen}");
        assert!(seen.contains("webhook-id: msg_1\r\n") && seen.contains("content-length: 5\r\n"), "{seen}");
        let bad = Post { content_type: "text/plain", headers: &[("a", "b\r\nc: d")], body: b"" };
        let refused = door.post(Purpose::Webhook, &url, Trust::Public, FetchLimits::default(), bad).await;
        assert!(matches!(refused, Err(EgressError::Denied(_))));
    }

    #[test]
    fn urls_that_are_not_asked() {
        for bad in [
            "http://example.com/",
            "ftp://127.0.0.1/",
            "https://user@example.com/",
            "https://example.com\\@evil/",
            "https://exa mple.com/",
            "https://example.com:0/",
            "https://example.com:x/",
            "https:///keys",
            "https://example.com/#f",
            "https://example.com?x",
            "http://2130706433/",
        ] {
            assert!(matches!(Target::parse(bad), Err(EgressError::Denied(_))), "{bad}");
        }
        let six = Target::parse("https://[2001:db8::1]:8443/x").unwrap();
        assert_eq!((six.host, six.port, six.path), ("2001:db8::1", 8443, "/x"));
    }
}
