//! A deliberately vulnerable shop. Each fault below is one that real APIs had; `openapi.yaml` beside it says
//! what the shop *should* do, and the demo shows what happens with and without Portcullis in between.
//!
//! Everything lives in memory, nothing is fetched, nothing is random: the same requests do the same harm.

mod routes;
mod state;

pub use state::{Order, State, User};

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

/// A shop on a thread of its own, open until the process ends.
#[derive(Clone)]
pub struct Shop {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Shop {
    /// Opens on `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address cannot be bound, or the thread cannot be started.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let shop = Self { address: listener.local_addr()?, state: Arc::default() };
        let serving = shop.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new()
            .name("shop".to_owned())
            .spawn(move || runtime.block_on(serving.serve(listener)))?;
        Ok(shop)
    }

    async fn serve(self, listener: std::net::TcpListener) -> io::Result<Infallible> {
        let listener = TcpListener::from_std(listener)?;
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(self.clone().converse(TokioIo::new(stream)));
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Back to the first day.
    pub fn reset(&self) {
        *self.lock() = State::default();
    }

    /// Looks at the books: what an attack has changed is seen here.
    pub fn look<T>(&self, at: impl FnOnce(&State) -> T) -> T {
        at(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn converse(self, stream: TokioIo<tokio::net::TcpStream>) {
        let service = service_fn(|request: Request<Incoming>| {
            let shop = self.clone();
            async move {
                let (parts, body) = request.into_parts();
                // No limit on the size of a body: API4.
                let body = body.collect().await.map(|all| all.to_bytes()).unwrap_or_default();
                let answer = routes::answer(&mut shop.lock(), &parts, &body);
                Ok::<_, Infallible>(decorate(answer, parts.headers.get("origin")))
            }
        });
        let _ = http1::Builder::new().timer(TokioTimer::new()).serve_connection(stream, service).await;
    }
}

/// Tells everybody what it runs on, lets every page read every answer, and lets caches keep them: API8.
fn decorate(
    mut answer: Response<Full<Bytes>>,
    origin: Option<&hyper::header::HeaderValue>,
) -> Response<Full<Bytes>> {
    use hyper::header::HeaderValue;
    let headers = answer.headers_mut();
    headers.insert("server", HeaderValue::from_static("shop/0.9.1 (Debian) OpenSSL/1.0.2k"));
    headers.insert("x-powered-by", HeaderValue::from_static("ShopFramework 2.3.0"));
    headers.insert("cache-control", HeaderValue::from_static("public, max-age=3600"));
    let anyone = HeaderValue::from_static("*");
    headers.insert("access-control-allow-origin", origin.cloned().unwrap_or(anyone));
    headers.insert("access-control-allow-credentials", HeaderValue::from_static("true"));
    answer
}
