//! Mail to a relay (RFC 5321): one message, one connection, and no word of it in the clear off loopback.
//!
//! `smtps://` is TLS from the first byte (RFC 8314); `smtp://` is plain on loopback and demands STARTTLS (RFC 3207)
//! elsewhere. After STARTTLS nothing that was said before it counts, and bytes that came with the answer to it end the
//! call: they were injected (CVE-2011-0411).

use crate::tls::{self, Trust};
use crate::{Door, EgressError, Purpose};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_core::secret::Secret;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

/// Where mail is handed in.
#[derive(Clone, Copy, Debug)]
pub struct Relay<'a> {
    /// `smtps://host[:465]` or `smtp://host[:587]` (25 on loopback).
    pub url: &'a str,
    /// Whose certificates are believed.
    pub trust: Trust<'a>,
    /// Who we are there; told over TLS alone.
    pub login: Option<&'a Login>,
}

/// User and password (`AUTH PLAIN`, RFC 4616).
#[derive(Clone, Debug)]
pub struct Login {
    /// User.
    pub user: String,
    /// Password.
    pub password: Secret<String>,
}

/// A message in plain text. Line ends in header fields and in addresses are refused, not repaired.
#[derive(Clone, Copy, Debug)]
pub struct Mail<'a> {
    /// Sender, of envelope and header: an address.
    pub from: &'a str,
    /// Recipients: addresses.
    pub to: &'a [&'a str],
    /// Subject; ASCII.
    pub subject: &'a str,
    /// Without angle brackets; the same at every attempt, so that a receiver can tell a repetition.
    pub message_id: &'a str,
    /// RFC 5322 date.
    pub date: &'a str,
    /// Text, lines ended by LF.
    pub body: &'a str,
}

/// Why a message was not handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailError {
    /// Not for another attempt: an address or field that cannot be sent, or a final answer (5xx).
    Refused(&'static str, u16),
    /// Perhaps later: a passing answer (4xx).
    Later(u16),
    /// The relay could not be spoken to.
    Egress(EgressError),
}

impl From<EgressError> for MailError {
    fn from(error: EgressError) -> Self {
        Self::Egress(error)
    }
}

impl fmt::Display for MailError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(what, 0) => write!(f, "the message cannot be sent: {what}"),
            Self::Refused(what, code) => write!(f, "the relay refused {what} with {code}"),
            Self::Later(code) => write!(f, "the relay put it off with {code}"),
            Self::Egress(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for MailError {}

const CONNECT: Duration = Duration::from_secs(5);
const TOTAL: Duration = Duration::from_secs(60);
/// Bytes of one answer of the relay, in all its lines.
const MAX_REPLY: usize = 16 << 10;
const MAX_RECIPIENTS: usize = 64;

impl Door {
    /// Hands a message in.
    ///
    /// # Errors
    /// [`MailError`]; when it is none of the first kind the message may be tried again.
    pub async fn mail(&self, relay: Relay<'_>, mail: &Mail<'_>) -> Result<(), MailError> {
        let message = message(mail)?;
        let place = Place::parse(relay.url)?;
        timeout(TOTAL, self.hand_in(&place, relay, mail, &message)).await.map_err(|_| EgressError::Timeout)?
    }

    async fn hand_in(
        &self,
        place: &Place<'_>,
        relay: Relay<'_>,
        mail: &Mail<'_>,
        message: &[u8],
    ) -> Result<(), MailError> {
        let tcp = self.dial(Purpose::Mail, place.host, place.port, CONNECT).await?;
        let config = || tls::client_config(relay.trust, None, &[]).map_err(|_| EgressError::Tls);
        if place.implicit {
            let stream = tls::handshake(config()?, place.host, tcp, TOTAL).await?;
            return converse(stream, relay.login, mail, message, true).await;
        }
        if place.loopback {
            return converse(tcp, None, mail, message, true).await;
        }
        let mut plain = Line { io: tcp, ahead: Vec::new() };
        plain.expect(220, "the greeting").await?;
        let offered = plain.hello().await?;
        if !offered.iter().any(|word| word == "STARTTLS") {
            return Err(EgressError::Tls.into());
        }
        plain.say("STARTTLS", 220, "STARTTLS").await?;
        if !plain.ahead.is_empty() {
            return Err(EgressError::Protocol.into());
        }
        let stream = tls::handshake(config()?, place.host, plain.io, TOTAL).await?;
        converse(stream, relay.login, mail, message, false).await
    }
}

/// The conversation, from the greeting (or after STARTTLS, where there is none) to the end.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    io: S,
    login: Option<&Login>,
    mail: &Mail<'_>,
    message: &[u8],
    greeting: bool,
) -> Result<(), MailError> {
    let mut line = Line { io, ahead: Vec::new() };
    if greeting {
        line.expect(220, "the greeting").await?;
    }
    line.hello().await?;
    if let Some(login) = login {
        let plain = format!("\0{}\0{}", login.user, login.password.expose());
        line.say(&format!("AUTH PLAIN {}", STANDARD.encode(plain)), 235, "the login").await?;
    }
    line.say(&format!("MAIL FROM:<{}>", mail.from), 250, "the sender").await?;
    for to in mail.to {
        line.say(&format!("RCPT TO:<{to}>"), 250, "a recipient").await?;
    }
    line.say("DATA", 354, "the message").await?;
    line.write(message).await?;
    line.expect(250, "the message").await?;
    // It is handed in; how the relay says good-bye changes nothing.
    let _ = line.write(b"QUIT\r\n").await;
    Ok(())
}

struct Line<S> {
    io: S,
    ahead: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    async fn hello(&mut self) -> Result<Vec<String>, MailError> {
        self.write(b"EHLO portcullis.localdomain\r\n").await?;
        let text = self.expect(250, "EHLO").await?;
        let word = |line: &str| {
            line.get(4..).and_then(|l| l.split_ascii_whitespace().next()).map(str::to_ascii_uppercase)
        };
        Ok(text.lines().skip(1).filter_map(word).collect())
    }

    async fn say(&mut self, command: &str, code: u16, what: &'static str) -> Result<(), MailError> {
        self.write(format!("{command}\r\n").as_bytes()).await?;
        self.expect(code, what).await.map(drop)
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), MailError> {
        self.io.write_all(bytes).await.map_err(|_| EgressError::Protocol)?;
        self.io.flush().await.map_err(|_| EgressError::Protocol)?;
        Ok(())
    }

    /// One answer, all its lines.
    async fn expect(&mut self, wanted: u16, what: &'static str) -> Result<String, MailError> {
        let text = loop {
            if let Some(end) = whole(&self.ahead) {
                let rest = self.ahead.split_off(end);
                let reply = std::mem::replace(&mut self.ahead, rest);
                break String::from_utf8(reply).map_err(|_| EgressError::Protocol)?;
            }
            if self.ahead.len() > MAX_REPLY {
                return Err(EgressError::TooLarge.into());
            }
            if self.io.read_buf(&mut self.ahead).await.map_err(|_| EgressError::Protocol)? == 0 {
                return Err(EgressError::Protocol.into());
            }
        };
        let code: u16 = text.get(..3).and_then(|digits| digits.parse().ok()).ok_or(EgressError::Protocol)?;
        match code {
            _ if code == wanted => Ok(text),
            // 251: not local, will forward (RFC 5321 § 3.4).
            251 if wanted == 250 => Ok(text),
            400..=499 => Err(MailError::Later(code)),
            500..=599 => Err(MailError::Refused(what, code)),
            _ => Err(EgressError::Protocol.into()),
        }
    }
}

/// Where the first whole answer ends: after the line whose code is followed by a space, or by nothing.
fn whole(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(length) = bytes.get(at..)?.iter().position(|b| *b == b'\n') {
        let last = bytes.get(at + 3) != Some(&b'-');
        at += length + 1;
        if last {
            return Some(at);
        }
    }
    None
}

struct Place<'a> {
    implicit: bool,
    loopback: bool,
    host: &'a str,
    port: u16,
}

impl<'a> Place<'a> {
    fn parse(url: &'a str) -> Result<Self, MailError> {
        let denied = MailError::Egress(EgressError::Denied("the relay"));
        let (implicit, rest) = match url.split_once("://") {
            Some(("smtps", rest)) => (true, rest),
            Some(("smtp", rest)) => (false, rest),
            _ => return Err(denied),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
        };
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':');
        if host.is_empty() || !host.bytes().all(plain) {
            return Err(denied);
        }
        let loopback =
            host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
        let port = match port {
            Some(port) => port.parse().map_err(|_| denied)?,
            None if implicit => 465,
            None if loopback => 25,
            None => 587,
        };
        Ok(Self { implicit, loopback, host, port })
    }
}

/// The message with its header, lines ended by CRLF, leading dots doubled, and the dot that ends it.
fn message(mail: &Mail<'_>) -> Result<Vec<u8>, MailError> {
    if mail.to.is_empty() || mail.to.len() > MAX_RECIPIENTS {
        return Err(MailError::Refused("recipients", 0));
    }
    if !std::iter::once(&mail.from).chain(mail.to).all(|address| is_address(address)) {
        return Err(MailError::Refused("an address", 0));
    }
    // A line end in a field would be another field (header injection).
    let plain = |text: &str| text.len() <= 900 && text.bytes().all(|b| matches!(b, 0x20..=0x7e));
    if ![mail.subject, mail.message_id, mail.date].into_iter().all(plain) {
        return Err(MailError::Refused("a header field", 0));
    }
    let mut out = format!(
        "From: <{}>\r\nTo: {}\r\nSubject: {}\r\nDate: {}\r\nMessage-ID: <{}>\r\nAuto-Submitted: auto-generated\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
        mail.from,
        mail.to.iter().map(|to| format!("<{to}>")).collect::<Vec<_>>().join(", "),
        mail.subject,
        mail.date,
        mail.message_id
    );
    for line in mail.body.split('\n') {
        let line = line.trim_end_matches('\r');
        // A bare CR is read as a line end by some (SMTP smuggling, CVE-2023-51764); 998 is RFC 5321's longest line.
        if line.contains('\r') || line.contains('\0') || line.len() > 996 {
            return Err(MailError::Refused("the text", 0));
        }
        if line.starts_with('.') {
            out.push('.');
        }
        out.push_str(line);
        out.push_str("\r\n");
    }
    out.push_str(".\r\n");
    Ok(out.into_bytes())
}

/// A mailbox that needs no quoting: `local@domain` in printable ASCII.
pub fn is_address(text: &str) -> bool {
    let fine = |part: &str, more: &[u8]| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || more.contains(&b))
    };
    text.len() <= 254
        && text.split_once('@').is_some_and(|(local, domain)| {
            fine(local, b"!#$%&'*+-/=?^_`{|}~.") && fine(domain, b".-") && !domain.starts_with(['.', '-'])
        })
}

#[cfg(test)]
mod tls_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    const MAIL: Mail<'static> = Mail {
        from: "gate@example.com",
        to: &["keys@acme.example"],
        subject: "rotate",
        message_id: "n1@portcullis",
        date: "Thu, 01 Jan 2026 00:00:00 +0000",
        body: "hello\n.hidden\n..two\n.",
    };

    /// A relay that answers by script and returns all that it was told.
    async fn relay(
        script: &'static [(&'static str, &'static str)],
        mail: &Mail<'_>,
    ) -> (Result<(), MailError>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let server = async move {
            let (mut peer, _) = listener.accept().await.unwrap();
            let mut seen = String::new();
            for (until, answer) in script {
                let mut piece = [0; 4096];
                while !seen.ends_with(until) {
                    match peer.read(&mut piece).await {
                        Ok(n) if n > 0 => seen.push_str(std::str::from_utf8(&piece[..n]).unwrap()),
                        _ => return seen,
                    }
                }
                if peer.write_all(answer.as_bytes()).await.is_err() {
                    return seen;
                }
            }
            let mut rest = String::new();
            let _ = peer.read_to_string(&mut rest).await;
            seen + &rest
        };
        let door = Door::new();
        let client = async {
            let relay = Relay { url: &url, trust: Trust::Public, login: None };
            door.mail(relay, mail).await
        };
        let (result, seen) = tokio::join!(client, server);
        (result, seen)
    }

    const GOOD: &[(&str, &str)] = &[
        ("", "220-welcome\r\n220 to the relay\r\n"),
        ("EHLO portcullis.localdomain\r\n", "250-relay\r\n250-SIZE 1000\r\n250 8BITMIME\r\n"),
        ("MAIL FROM:<gate@example.com>\r\n", "250 ok\r\n"),
        ("RCPT TO:<keys@acme.example>\r\n", "251 will forward\r\n"),
        ("DATA\r\n", "354 go on\r\n"),
        ("\r\n.\r\n", "250 taken\r\n"),
    ];

    #[tokio::test]
    async fn a_message_is_handed_in_with_its_dots_stuffed() {
        let (result, seen) = relay(GOOD, &MAIL).await;
        assert_eq!(result, Ok(()));
        assert!(seen.contains("\r\nMessage-ID: <n1@portcullis>\r\n"), "{seen}");
        assert!(seen.contains("\r\n\r\nhello\r\n..hidden\r\n...two\r\n..\r\n.\r\n"), "{seen}");
        assert!(seen.ends_with("QUIT\r\n"), "{seen}");
    }

    #[tokio::test]
    async fn answers_of_the_relay_decide_whether_it_is_tried_again() {
        let (later, _) = relay(&[("", "421 busy\r\n")], &MAIL).await;
        assert_eq!(later, Err(MailError::Later(421)));
        let refusing: &[(&str, &str)] =
            &[("", "220 x\r\n"), ("EHLO portcullis.localdomain\r\n", "250 x\r\n"), ("\r\n", "550 no\r\n")];
        let (refused, _) = relay(refusing, &MAIL).await;
        assert_eq!(refused, Err(MailError::Refused("the sender", 550)));
        let (garbled, _) = relay(&[("", "hello\r\n")], &Mail { to: &["a@b.example"], ..MAIL }).await;
        assert!(matches!(garbled, Err(MailError::Egress(_))), "{garbled:?}");
    }

    #[test]
    fn what_would_inject_is_refused() {
        let refused = |mail: Mail<'_>| matches!(message(&mail), Err(MailError::Refused(_, 0)));
        assert!(refused(Mail { subject: "a\r\nBcc: x@y.example", ..MAIL }));
        assert!(refused(Mail { message_id: "a>\nX: y", ..MAIL }));
        assert!(refused(Mail { date: "\u{2028}", ..MAIL }));
        assert!(refused(Mail { body: "a\r.\r\nMAIL FROM:<x@y>", ..MAIL }));
        assert!(refused(Mail { to: &[], ..MAIL }));
        for address in ["", "a", "a@", "@b", "a@b>\r\nRCPT TO:<c@d", "a b@c", "\"a\"@b", "ä@b", "a@b@c"] {
            assert!(!is_address(address) && refused(Mail { to: &[address], ..MAIL }), "{address:?}");
        }
        assert!(is_address("o'neil+keys@mail.acme-corp.example"));
    }

    #[test]
    fn off_loopback_there_is_tls() {
        let place = |url| Place::parse(url).map(|p| (p.implicit, p.loopback, p.host.to_owned(), p.port)).ok();
        assert_eq!(place("smtps://mail.example.com"), Some((true, false, "mail.example.com".into(), 465)));
        assert_eq!(place("smtp://mail.example.com"), Some((false, false, "mail.example.com".into(), 587)));
        assert_eq!(place("smtp://[::1]:2525"), Some((false, true, "::1".into(), 2525)));
        assert_eq!(place("smtp://localhost"), Some((false, true, "localhost".into(), 25)));
        for bad in ["http://x", "smtp://", "smtp://a@b", "smtp://a:b", "smtp://a/b"] {
            assert_eq!(place(bad), None, "{bad}");
        }
    }
}
