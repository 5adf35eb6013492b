//! A mail relay that speaks as much SMTP as a client needs, with TLS in every right and wrong way.

use rustls::ServerConfig;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// How the relay comes to TLS, or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Never.
    Plain,
    /// From the first byte (RFC 8314).
    Implicit,
    /// By STARTTLS (RFC 3207).
    StartTls,
    /// Somebody between takes STARTTLS out of the answer to EHLO.
    Stripped,
    /// STARTTLS is offered, and refused when it is asked for.
    Refused,
    /// Somebody between appends an answer of his own to that of STARTTLS, before the handshake (CVE-2011-0411).
    Injected,
    /// The same, a moment later.
    InjectedLater,
}

/// What one client said.
#[derive(Clone, Debug, Default)]
pub struct Conversation {
    /// In the clear.
    pub clear: String,
    /// Within TLS.
    pub within: String,
    /// Whether the handshake was completed; nothing where there was none.
    pub handshake: Option<bool>,
    /// User and password as they were told (`AUTH PLAIN`), if they were.
    pub login: Option<String>,
    /// Messages as they came, dots and all.
    pub messages: Vec<String>,
    /// The client has gone.
    pub ended: bool,
}

/// A relay on a free port of loopback.
pub struct Relay {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Conversation>>>,
}

impl Relay {
    /// Starts it on a thread of its own. `login` is `user:password`, and the only one that is let in.
    pub fn start(way: Way, tls: Arc<ServerConfig>, login: Option<&'static str>) -> Self {
        let seen: Arc<Mutex<Vec<Conversation>>> = Arc::default();
        let (told, address) = std::sync::mpsc::channel();
        let all = Arc::clone(&seen);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
                let _ = told.send(listener.local_addr().expect("an address"));
                while let Ok((client, _)) = listener.accept().await {
                    let place = {
                        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                        all.push(Conversation::default());
                        all.len() - 1
                    };
                    let desk = Desk { way, tls: Arc::clone(&tls), login, seen: Arc::clone(&all), place };
                    tokio::spawn(async move {
                        let _ = desk.serve(client).await;
                        desk.note(|one| one.ended = true);
                    });
                }
            });
        });
        Self { address: address.recv().expect("the relay has started"), seen }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything said so far, by connection.
    pub fn conversations(&self) -> Vec<Conversation> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first conversation, once its client has gone.
    ///
    /// # Errors
    /// Nobody came, or nobody went.
    pub async fn first(&self) -> io::Result<Conversation> {
        let deadline = Instant::now() + crate::PATIENCE;
        while Instant::now() < deadline {
            if let Some(one) = self.conversations().into_iter().next().filter(|one| one.ended) {
                return Ok(one);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Err(io::Error::other(format!("no conversation has ended: {:?}", self.conversations())))
    }
}

struct Desk {
    way: Way,
    tls: Arc<ServerConfig>,
    login: Option<&'static str>,
    seen: Arc<Mutex<Vec<Conversation>>>,
    place: usize,
}

impl Desk {
    async fn serve(&self, client: TcpStream) -> io::Result<()> {
        if self.way == Way::Implicit {
            let client = self.handshake(client).await?;
            return self.talk(client, true, true).await.map(drop);
        }
        let Some(client) = self.talk(client, false, true).await? else { return Ok(()) };
        let client = self.handshake(client).await?;
        self.talk(client, true, false).await.map(drop)
    }

    async fn handshake(&self, client: TcpStream) -> io::Result<tokio_rustls::server::TlsStream<TcpStream>> {
        let done = TlsAcceptor::from(Arc::clone(&self.tls)).accept(client).await;
        self.note(|one| one.handshake = Some(done.is_ok()));
        done
    }

    /// Talks until the client leaves, or until STARTTLS, which gives the connection back.
    async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut client: S,
        within: bool,
        greet: bool,
    ) -> io::Result<Option<S>> {
        if greet {
            client.write_all(b"220 relay.example.com ready\r\n").await?;
        }
        loop {
            let Some(line) = self.line(&mut client, within, "\r\n").await? else { return Ok(None) };
            let command = line.trim_end().to_owned();
            let word = command.split(' ').next().unwrap_or_default().to_ascii_uppercase();
            let reply = match word.as_str() {
                "EHLO" => {
                    let offers = !within && !matches!(self.way, Way::Plain | Way::Stripped | Way::Implicit);
                    let tls = if offers { "250-STARTTLS\r\n" } else { "" };
                    format!("250-relay.example.com\r\n{tls}250-AUTH PLAIN LOGIN\r\n250 8BITMIME\r\n")
                }
                "STARTTLS" if within || self.way == Way::Refused => "454 not now\r\n".to_owned(),
                "STARTTLS" => {
                    let injected: &[u8] = b"250-relay.example.com\r\n250 AUTH PLAIN\r\n235 welcome\r\n";
                    let mut answer = b"220 go ahead\r\n".to_vec();
                    if self.way == Way::Injected {
                        answer.extend_from_slice(injected);
                    }
                    client.write_all(&answer).await?;
                    client.flush().await?;
                    if self.way == Way::InjectedLater {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        client.write_all(injected).await?;
                    }
                    return Ok(Some(client));
                }
                "AUTH" => {
                    let given = command.rsplit(' ').next().and_then(decode);
                    let good = given.is_some() && given.as_deref() == self.login;
                    self.note(|one| one.login = given);
                    if good { "235 welcome\r\n" } else { "535 wrong\r\n" }.to_owned()
                }
                "MAIL" | "RCPT" => "250 ok\r\n".to_owned(),
                "DATA" => {
                    client.write_all(b"354 go on\r\n").await?;
                    let Some(message) = self.line(&mut client, within, "\r\n.\r\n").await? else {
                        return Ok(None);
                    };
                    self.note(|one| one.messages.push(message));
                    "250 taken\r\n".to_owned()
                }
                "QUIT" => {
                    client.write_all(b"221 bye\r\n").await?;
                    return Ok(None);
                }
                _ => "500 what?\r\n".to_owned(),
            };
            client.write_all(reply.as_bytes()).await?;
            client.flush().await?;
        }
    }

    /// Byte by byte, so that nothing that belongs to a handshake is taken.
    async fn line<S: AsyncRead + Unpin>(
        &self,
        client: &mut S,
        within: bool,
        end: &str,
    ) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        while !line.ends_with(end.as_bytes()) {
            let mut byte = [0];
            if client.read(&mut byte).await? == 0 {
                return Ok(None);
            }
            line.extend_from_slice(&byte);
            let text = String::from_utf8_lossy(&byte);
            self.note(|one| if within { one.within.push_str(&text) } else { one.clear.push_str(&text) });
        }
        Ok(Some(String::from_utf8_lossy(&line).into_owned()))
    }

    fn note(&self, write: impl FnOnce(&mut Conversation)) {
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        write(&mut all[self.place]);
    }
}

/// `\0user\0password` in base64, as `user:password`.
fn decode(text: &str) -> Option<String> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.strip_prefix('\0')?.split_once('\0')?;
    Some(format!("{user}:{password}"))
}
