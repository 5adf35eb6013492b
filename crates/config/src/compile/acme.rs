//! Certificates by ACME: what is asked for, of whom, and how the names are proved.

use super::desk::Desk;
use super::listen::pem;
use crate::words::{At, Document, listen as words};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_core::head::{Authority, HostKind};
use portcullis_core::secret::Secret;
use portcullis_plan::listen::{Acme, AcmeChallenge, ExternalAccount, Listener, Serve};

pub(crate) fn acme(desk: &mut Desk<'_>, acme: &At<words::Acme>) -> Option<Acme> {
    let url = acme.directory.strip_prefix("https://").or_else(|| loopback(&acme.directory));
    let mut good = url.is_some_and(|rest| rest.len() > 3 && rest.bytes().all(|b| b.is_ascii_graphic()));
    if !good {
        let message = format!("`{}` is not the URL of a directory", acme.directory.value);
        let help = "write it with https, such as https://acme-v02.api.letsencrypt.org/directory";
        desk.error("acme-directory", acme.directory.at, message, help);
    }
    let mut hosts: Vec<String> = Vec::new();
    for host in &acme.hosts {
        let lower = host.to_ascii_lowercase();
        let name = Authority::parse(&lower).is_ok_and(|a| a.port().is_none() && a.kind() == HostKind::Name);
        if name {
            hosts.push(lower);
        } else {
            let message = format!("`{}` cannot be proved to a certificate authority", host.value);
            let help = "write whole names; a wildcard would need changes in your DNS, which this program does not make";
            desk.error("acme-host", host.at, message, help);
            good = false;
        }
    }
    hosts.sort();
    hosts.dedup();
    if acme.hosts.is_empty() || hosts.len() > MOST_HOSTS {
        let message = format!("a certificate has 1 to {MOST_HOSTS} names");
        desk.error("acme-host", acme.at, message, "write  hosts: [api.example.com]");
        good = false;
    }
    let mut contact = Vec::new();
    for mail in &acme.contact {
        if mail.contains('@') && mail.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\<>?&,".contains(&b)) {
            contact.push(format!("mailto:{}", mail.value));
        } else {
            let message = format!("`{}` is no mail address", mail.value);
            desk.error("acme-contact", mail.at, message, "write it like keys@example.com");
            good = false;
        }
    }
    let external_account = match &acme.external_account {
        None => None,
        Some(account) => Some(external(desk, account)?),
    };
    let ca = match &acme.ca {
        None => None,
        Some(ca) => Some(pem(desk, ca, "CERTIFICATE")?),
    };
    let challenge = match acme.challenge {
        words::AcmeChallenge::TlsAlpn01 => AcmeChallenge::TlsAlpn01,
        words::AcmeChallenge::Http01 => AcmeChallenge::Http01,
    };
    let directory = acme.directory.value.clone();
    let reuse_key = acme.reuse_key;
    good.then_some(Acme { directory, ca, hosts, contact, challenge, reuse_key, external_account })
}

/// Names of one certificate; authorities have such a limit too.
const MOST_HOSTS: usize = 100;

/// A directory on this machine, for tests and private authorities behind a tunnel.
fn loopback(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("http://")?;
    ["127.0.0.1:", "localhost:", "[::1]:"].iter().any(|host| rest.starts_with(host)).then_some(rest)
}

fn external(desk: &mut Desk<'_>, account: &At<words::ExternalAccount>) -> Option<ExternalAccount> {
    let text = desk.secret_text(&account.key)?;
    let key =
        URL_SAFE_NO_PAD.decode(text.expose().trim().trim_end_matches('=')).ok().filter(|k| k.len() >= 16);
    if key.is_none() {
        let message = format!("`{}` holds no key in base64url of at least 16 bytes", account.key.shown());
        desk.error("acme-external-account", account.key.at, message, "it is what the authority shows once");
    }
    Some(ExternalAccount { kid: account.kid.value.clone(), key: Secret::new(key?) })
}

/// What only the whole configuration shows: a place to keep keys, and somebody who answers http-01.
pub(crate) fn whole(desk: &mut Desk<'_>, document: &Document, listeners: &[Listener]) {
    let all = || listeners.iter().filter_map(|listener| listener.tls.as_ref()?.acme.as_ref());
    let at = document.listen.as_ref().map(|listen| listen.at).unwrap_or_default();
    if all().next().is_some() && document.store.is_none() {
        let message = "`acme` makes keys and certificates, and there is no place to keep them";
        desk.error("store-missing", at, message, "add  store: { folder: /var/lib/portcullis }");
    }
    let answers = listeners.iter().any(|listener| listener.serve.contains(&Serve::Acme));
    if all().any(|acme| acme.challenge == AcmeChallenge::Http01) && !answers {
        let message = "`challenge: http_01` is asked about over plain HTTP, and no listener answers there";
        desk.error("acme-unanswered", at, message, "add  { address: 0.0.0.0:80, serve: [acme] }");
    }
}
