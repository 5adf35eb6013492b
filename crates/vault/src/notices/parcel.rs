//! One delivery: a signed webhook, or a mail.

use super::Sink;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_core::secret::Secret;
use portcullis_egress::tls::Trust;
use portcullis_egress::{Door, FetchLimits, Login, Mail, MailError, Post, Purpose, Relay};
use serde_json::Value;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// Something to deliver.
#[derive(Clone, Debug)]
pub enum Parcel {
    /// Standard Webhooks.
    Webhook {
        /// Where.
        url: Arc<str>,
        /// `webhook-id`: the same at every attempt.
        id: String,
        /// `webhook-timestamp`: of this attempt.
        timestamp: String,
        /// `webhook-signature`.
        signature: String,
        /// JSON.
        body: String,
    },
    /// A mail.
    Mail {
        /// Where it is handed in.
        relay: Arc<str>,
        /// Who we are there.
        login: Option<Arc<Login>>,
        /// Sender.
        from: Arc<str>,
        /// Recipients.
        to: Vec<String>,
        /// Subject.
        subject: String,
        /// The same at every attempt.
        message_id: String,
        /// RFC 5322.
        date: String,
        /// Text.
        body: String,
    },
}

/// Why it did not arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// It may arrive later.
    Later(String),
    /// It never will.
    Never(String),
}

/// The door out, as far as notices need it.
pub trait Deliver {
    /// Delivers once.
    fn deliver<'a>(&'a self, parcel: &'a Parcel) -> Delivering<'a>;
}

/// A delivery under way.
pub type Delivering<'a> = Pin<Box<dyn Future<Output = Result<(), Failed>> + 'a>>;

impl Deliver for Door {
    fn deliver<'a>(&'a self, parcel: &'a Parcel) -> Delivering<'a> {
        Box::pin(async move {
            match parcel {
                Parcel::Webhook { url, id, timestamp, signature, body } => {
                    let headers = [
                        ("webhook-id", id.as_str()),
                        ("webhook-timestamp", timestamp),
                        ("webhook-signature", signature),
                    ];
                    let post =
                        Post { content_type: "application/json", headers: &headers, body: body.as_bytes() };
                    let limits = FetchLimits {
                        body: 64 << 10,
                        total: Duration::from_secs(10),
                        ..FetchLimits::default()
                    };
                    match self.post(Purpose::Webhook, url, Trust::Public, limits, post).await {
                        Ok(answer) if (200..300).contains(&answer.status) => Ok(()),
                        // 410: the receiver wants no more (Standard Webhooks).
                        Ok(answer) if answer.status == 410 => Err(Failed::Never("status 410".to_owned())),
                        Ok(answer) => Err(Failed::Later(format!("status {}", answer.status))),
                        Err(error) => Err(Failed::Later(error.to_string())),
                    }
                }
                Parcel::Mail { relay, login, from, to, subject, message_id, date, body } => {
                    let to: Vec<&str> = to.iter().map(String::as_str).collect();
                    let mail = Mail { from, to: &to, subject, message_id, date, body };
                    let relay = Relay { url: relay, trust: Trust::Public, login: login.as_deref() };
                    self.mail(relay, &mail).await.map_err(|error| match error {
                        MailError::Refused(..) => Failed::Never(error.to_string()),
                        MailError::Later(_) | MailError::Egress(_) => Failed::Later(error.to_string()),
                    })
                }
            }
        })
    }
}

impl Parcel {
    pub(super) fn webhook(url: &Arc<str>, secret: &Secret<Vec<u8>>, id: &str, now: i64, body: &str) -> Self {
        let id = format!("msg_{id}");
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
        let mac = hmac::sign(&key, format!("{id}.{now}.{body}").as_bytes());
        Self::Webhook {
            url: Arc::clone(url),
            timestamp: now.to_string(),
            signature: format!("v1,{}", STANDARD.encode(mac)),
            id,
            body: body.to_owned(),
        }
    }

    /// `sink` is one for mail.
    pub(super) fn mail(sink: &Sink, to: Vec<String>, id: &str, now: i64, payload: &str) -> Self {
        let (relay, from, login) = match sink {
            Sink::Email { relay, from, login, .. } => (relay.clone(), from.clone(), login.clone()),
            Sink::Webhook { url, .. } => (url.clone(), "".into(), None),
        };
        let domain = from.split_once('@').map_or("portcullis", |(_, domain)| domain);
        let (subject, body) = words(&serde_json::from_str(payload).unwrap_or_default());
        let since = Duration::from_secs(u64::try_from(now).unwrap_or(0));
        Self::Mail {
            message_id: format!("{id}@{domain}"),
            date: httpdate::fmt_http_date(UNIX_EPOCH + since).replace("GMT", "+0000"),
            relay,
            login,
            from,
            to,
            subject,
            body,
        }
    }
}

/// For people.
fn words(payload: &Value) -> (String, String) {
    let data = |name: &str| payload.get("data").and_then(|data| data.get(name));
    let text = |name: &str| data(name).and_then(Value::as_str).unwrap_or("-");
    let kind = payload.get("type").and_then(Value::as_str).unwrap_or_default();
    let what = match kind.strip_prefix("portcullis.apikey.").unwrap_or(kind) {
        "rotation_due" => "must be replaced soon",
        "rotated" => "has a successor",
        "deprecated_use" => "is in use although it is deprecated",
        "expiring_grace" => "ends in a few hours",
        "expired" => "has ended",
        "revoked" => "was revoked",
        "exposed" => "was seen in a URL or a cookie",
        _ => "needs attention",
    };
    // The name is its owner's choice: into the text it may go, into a header field only in ASCII.
    let subject = format!("API key {} {what}", text("key"));
    let mut body = format!(
        "The API key {} (\"{}\", {}) of {} {what}.\n\n",
        text("key"),
        text("name"),
        text("env"),
        text("owner")
    );
    for (label, name) in [
        ("State", "state"),
        ("Deprecated from", "deprecated_from"),
        ("Ends", "ends_at"),
        ("Successor", "successor"),
        ("How to replace it", "docs"),
    ] {
        if data(name).is_some_and(|value| !value.is_null()) {
            body.push_str(&format!("{label}: {}\n", text(name)));
        }
    }
    if let Some(uses) = data("uses").and_then(Value::as_array) {
        body.push_str(&format!("\nUsed on {}:\n", text("day")));
        for one in uses {
            let part = |name: &str| one.get(name).and_then(Value::as_str).unwrap_or("-");
            let count = one.get("count").and_then(Value::as_u64).unwrap_or(0);
            body.push_str(&format!(
                "  {count} times from {} (client {})\n",
                part("source"),
                part("user_agent")
            ));
        }
    }
    // Names are short, but no line of a mail may be long.
    let body = body.lines().map(|line| line.chars().take(300).collect::<String>() + "\n").collect();
    (subject, body)
}

/// 128 bits of SHA-256 over what makes a delivery unique.
pub(super) fn stable_id(subject: &str, kind: &str, bucket: &str) -> String {
    let text = format!("{subject}\0{kind}\0{bucket}");
    digest(&SHA256, text.as_bytes()).as_ref().iter().take(16).map(|b| format!("{b:02x}")).collect()
}

/// Unix seconds as `2026-01-01T00:00:00Z`.
pub fn rfc3339(secs: i64) -> String {
    let (days, second) = (secs.div_euclid(86_400), secs.rem_euclid(86_400));
    // Days since 0000-03-01 in eras of 400 years: a year that begins in March has its leap day at its end.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{date:02}T{:02}:{:02}:{:02}Z",
        second / 3_600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        for (secs, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(secs), text);
        }
    }

    /// The example of the Standard Webhooks specification.
    #[test]
    fn webhooks_are_signed_as_the_standard_says() {
        let secret = Secret::new(STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap());
        let body = r#"{"test": 2432232314}"#;
        let parcel = Parcel::webhook(&"u".into(), &secret, "p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        let Parcel::Webhook { id, signature, .. } = parcel else { panic!() };
        assert_eq!(id, "msg_p5jXN8AQM9LWM0D4loKWxJek");
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_mail_says_which_key_and_what_to_do() {
        let payload = serde_json::json!({"type": "portcullis.apikey.rotation_due", "data": {
            "key": "008j4ct4ank7f24s", "name": "billing\r\nBcc: x@y", "owner": "acme", "state": "due",
            "docs": "https://d.example/", "successor": null}});
        let (subject, body) = words(&payload);
        assert_eq!(subject, "API key 008j4ct4ank7f24s must be replaced soon");
        assert!(
            body.contains("How to replace it: https://d.example/\n") && !body.contains("Successor"),
            "{body}"
        );
    }
}
