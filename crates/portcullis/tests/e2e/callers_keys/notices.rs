//! Notices arrive: signed at the webhook, by mail at the relay, and again when the first attempt failed.

use super::{HOOK_SECRET, Shop, base64};
use aws_lc_rs::hmac;
use portcullis_testkit::WebhookSink;
use std::sync::mpsc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test]
async fn a_notice_is_a_standard_webhook_and_comes_again_under_the_same_id() {
    let hook = WebhookSink::failing_first(&[503]);
    let url = hook.url();
    let shop = Shop::with(|config| {
        let at = config.find("webhook: { url: \"").unwrap() + "webhook: { url: \"".len();
        let (head, rest) = config.split_at(at);
        format!("{head}{url}{}", rest.split_once('"').map(|(_, tail)| format!("\"{tail}")).unwrap())
    });
    let (_, id) = shop.make(&[]);
    assert_eq!(shop.cli(&["keys", "revoke", &id, "--reason", "left"]).code, Some(0));
    let first = hook.received(1).await.unwrap().remove(0);
    let header = |name: &str| first.header(name).unwrap().to_owned();
    let (message_id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
    let signed = [format!("{message_id}.{timestamp}.").into_bytes(), first.message.body.clone()].concat();
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &HOOK_SECRET), &signed);
    assert_eq!(header("webhook-signature"), format!("v1,{}", base64(mac.as_ref())));
    let body = first.json();
    assert_eq!(body["type"], "portcullis.apikey.revoked");
    assert_eq!((&body["data"]["key"], &body["data"]["owner"]), (&id.as_str().into(), &"acme".into()));
    shop.gate.stderr_until(|text| text.contains("\"notice.failed\"")).unwrap();
    shop.gate.stderr_until(|text| text.contains("\"apikey.revoked\"")).unwrap();
}

/// A relay on loopback that takes everything, and hands on what it was told.
fn relay() -> (u16, mpsc::Receiver<String>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((mut peer, _)) = listener.accept().await {
                let _ = peer.write_all(b"220 relay\r\n").await;
                let (mut all, mut piece, mut data) = (String::new(), [0; 4096], false);
                while let Ok(n @ 1..) = peer.read(&mut piece).await {
                    let text = String::from_utf8_lossy(piece.split_at(n).0).into_owned();
                    all.push_str(&text);
                    let answer = match text.get(..4) {
                        _ if data && !all.ends_with("\r\n.\r\n") => continue,
                        _ if data => "250 taken\r\n",
                        Some("DATA") => "354 go on\r\n",
                        Some("QUIT") => break,
                        _ => "250 ok\r\n",
                    };
                    data = answer.starts_with("354");
                    if answer.contains("taken") && tell.send(all.clone()).is_err() {
                        return;
                    }
                    let _ = peer.write_all(answer.as_bytes()).await;
                }
            }
        });
    });
    (port, told)
}

#[tokio::test]
async fn owners_and_operators_get_mail() {
    let (port, mails) = relay();
    let shop = Shop::with(|config| {
        config.replace(
            "limits:",
            &format!(
                "    - email: {{ relay: \"smtp://127.0.0.1:{port}\", from: gate@example.com, to: [ops@example.com] }}\nlimits:"
            ),
        )
    });
    let (key, id) = shop.make(&["--contact", "keys@acme.example"]);
    assert_eq!(shop.cli(&["keys", "rotate", &id]).code, Some(0));
    let wait = Duration::from_secs(20);
    let both = [mails.recv_timeout(wait).unwrap(), mails.recv_timeout(wait).unwrap()];
    for to in ["ops@example.com", "keys@acme.example"] {
        let mail = both.iter().find(|mail| mail.contains(&format!("RCPT TO:<{to}>"))).unwrap();
        assert!(mail.contains("MAIL FROM:<gate@example.com>"), "{mail}");
        assert!(mail.contains(&format!("Subject: API key {id} has a successor\r\n")), "{mail}");
        assert!(
            mail.contains("Message-ID: <")
                && mail.contains("How to replace it: https://developer.example.com/rotate")
        );
        assert!(!mail.contains(&key));
    }
    // The contact is in no file of the store in the clear.
    for file in std::fs::read_dir(&shop.store).unwrap().flatten() {
        let Ok(bytes) = std::fs::read(file.path()) else { continue };
        assert!(!bytes.windows(17).any(|w| w == b"keys@acme.example"), "{:?}", file.path());
    }
}
