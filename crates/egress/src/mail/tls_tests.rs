//! Mail over TLS, against a relay that does it right and others between that do it wrong. Nothing that matters is ever
//! said in the clear.

use super::*;
use portcullis_testkit::certs::Authority;
use portcullis_testkit::smtp::{Conversation, Relay as Server, Way};

const PASSWORD: &str = "correct horse";

const MAIL: Mail<'static> = Mail {
    from: "gate@example.com",
    to: &["keys@acme.example"],
    subject: "rotate",
    message_id: "n1@portcullis",
    date: "Thu, 01 Jan 2026 00:00:00 +0000",
    body: "a key must be replaced",
};

fn login(password: &str) -> Login {
    Login { user: "gate".to_owned(), password: Secret::new(password.to_owned()) }
}

/// Hands a mail in, to a relay that is off loopback as far as the client knows.
async fn hand_in(
    server: &Server,
    trust: &Authority,
    login: Option<&Login>,
    implicit: bool,
) -> Result<(), MailError> {
    let place = Place { implicit, loopback: false, host: "localhost", port: server.address().port() };
    let relay = Relay { url: "", trust: Trust::Private(trust.pem().as_bytes()), login };
    let message = message(&MAIL).unwrap();
    Door::new().hand_in(&place, relay, &MAIL, &message).await
}

/// What no stranger on the way may read.
fn nothing_in_the_clear(seen: &Conversation) {
    for word in ["AUTH", "MAIL", "RCPT", "acme", "replaced", &STANDARD.encode(format!("\0gate\0{PASSWORD}"))]
    {
        assert!(!seen.clear.contains(word), "{word}: {}", seen.clear);
    }
}

#[tokio::test]
async fn starttls_with_a_login_hands_the_message_in() {
    let authority = Authority::new();
    let server =
        Server::start(Way::StartTls, authority.server_config(&["localhost"]), Some("gate:correct horse"));
    assert_eq!(hand_in(&server, &authority, Some(&login(PASSWORD)), false).await, Ok(()));
    let seen = server.first().await.unwrap();
    nothing_in_the_clear(&seen);
    assert_eq!(seen.clear, "EHLO portcullis.localdomain\r\nSTARTTLS\r\n");
    assert_eq!(seen.handshake, Some(true));
    assert!(seen.within.starts_with("EHLO "), "what was said before counts no more: {}", seen.within);
    assert_eq!(seen.login.as_deref(), Some("gate:correct horse"));
    assert!(seen.messages[0].contains("a key must be replaced"));
}

#[tokio::test]
async fn implicit_tls_with_a_login_hands_the_message_in() {
    let authority = Authority::new();
    let server =
        Server::start(Way::Implicit, authority.server_config(&["localhost"]), Some("gate:correct horse"));
    assert_eq!(hand_in(&server, &authority, Some(&login(PASSWORD)), true).await, Ok(()));
    let seen = server.first().await.unwrap();
    assert_eq!((seen.clear.as_str(), seen.handshake, seen.messages.len()), ("", Some(true), 1));
    assert_eq!(seen.login.as_deref(), Some("gate:correct horse"));
}

#[tokio::test]
async fn without_a_login_none_is_told() {
    let authority = Authority::new();
    let server = Server::start(Way::StartTls, authority.server_config(&["localhost"]), None);
    assert_eq!(hand_in(&server, &authority, None, false).await, Ok(()));
    let seen = server.first().await.unwrap();
    assert!(!seen.within.contains("AUTH"));
    assert_eq!(seen.messages.len(), 1);
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_nothing_is_handed_in() {
    let authority = Authority::new();
    for (way, implicit) in [(Way::StartTls, false), (Way::Implicit, true)] {
        let server = Server::start(way, authority.server_config(&["localhost"]), Some("gate:correct horse"));
        let result = hand_in(&server, &authority, Some(&login("battery staple")), implicit).await;
        assert_eq!(result, Err(MailError::Refused("the login", 535)));
        assert!(server.first().await.unwrap().messages.is_empty());
    }
}

#[tokio::test]
async fn starttls_that_was_stripped_ends_the_call_before_anything_is_said() {
    let authority = Authority::new();
    let server =
        Server::start(Way::Stripped, authority.server_config(&["localhost"]), Some("gate:correct horse"));
    let result = hand_in(&server, &authority, Some(&login(PASSWORD)), false).await;
    assert_eq!(result, Err(MailError::Egress(EgressError::Tls)));
    let seen = server.first().await.unwrap();
    nothing_in_the_clear(&seen);
    assert_eq!((seen.clear.as_str(), seen.handshake), ("EHLO portcullis.localdomain\r\n", None));
}

#[tokio::test]
async fn starttls_that_is_refused_is_no_reason_to_go_on_without() {
    let authority = Authority::new();
    let server =
        Server::start(Way::Refused, authority.server_config(&["localhost"]), Some("gate:correct horse"));
    let result = hand_in(&server, &authority, Some(&login(PASSWORD)), false).await;
    assert_eq!(result, Err(MailError::Later(454)));
    let seen = server.first().await.unwrap();
    nothing_in_the_clear(&seen);
    assert_eq!(seen.handshake, None);
}

#[tokio::test]
async fn a_relay_with_a_wrong_certificate_is_told_nothing() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    for (way, implicit) in [(Way::StartTls, false), (Way::Implicit, true)] {
        for config in [theirs.server_config(&["localhost"]), ours.server_config(&["mail.example.com"])] {
            let server = Server::start(way, config, Some("gate:correct horse"));
            let result = hand_in(&server, &ours, Some(&login(PASSWORD)), implicit).await;
            assert_eq!(result, Err(MailError::Egress(EgressError::Tls)));
            let seen = server.first().await.unwrap();
            nothing_in_the_clear(&seen);
            assert_eq!((seen.within.as_str(), seen.login, seen.messages.len()), ("", None, 0));
        }
    }
}

#[tokio::test]
async fn what_was_injected_before_the_handshake_ends_the_call() {
    // CVE-2011-0411: an answer that came in the clear would be taken for one that came within TLS.
    let authority = Authority::new();
    for way in [Way::Injected, Way::InjectedLater] {
        let server = Server::start(way, authority.server_config(&["localhost"]), Some("gate:correct horse"));
        let result = hand_in(&server, &authority, Some(&login(PASSWORD)), false).await;
        assert!(
            matches!(result, Err(MailError::Egress(EgressError::Protocol | EgressError::Tls))),
            "{way:?}: {result:?}"
        );
        let seen = server.first().await.unwrap();
        nothing_in_the_clear(&seen);
        assert_eq!((seen.within.as_str(), seen.login, seen.messages.len()), ("", None, 0), "{way:?}");
    }
}

#[tokio::test]
async fn a_plain_relay_is_spoken_to_on_loopback_alone_and_never_with_a_login() {
    let authority = Authority::new();
    let server = Server::start(Way::Plain, authority.server_config(&["localhost"]), None);
    let url = format!("smtp://{}", server.address());
    let relay = Relay { url: &url, trust: Trust::Public, login: Some(&login(PASSWORD)) };
    assert_eq!(Door::new().mail(relay, &MAIL).await, Ok(()));
    let seen = server.first().await.unwrap();
    assert!(!seen.clear.contains("AUTH"), "{}", seen.clear);
    assert_eq!((seen.login, seen.messages.len()), (None, 1));
    let off = Server::start(Way::Plain, authority.server_config(&["localhost"]), None);
    let result = hand_in(&off, &authority, None, false).await;
    assert_eq!(
        result,
        Err(MailError::Egress(EgressError::Tls)),
        "off loopback there is TLS, or there is no mail"
    );
    nothing_in_the_clear(&off.first().await.unwrap());
}
