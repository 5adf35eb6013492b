//! `portcullis keys pins` and `keys promote-backup` (wire.md § 3.5): which keys apps may pin, and what becomes of the
//! backup key when the present one is lost.

use super::remembered::{Wrong, ask, change, now, open};
use super::{say, tell};
use crate::cli::{Format, KeyPins, KeyPromote};
use portcullis_core::time::{Clock, SystemClock};
use portcullis_egress::Door;
use portcullis_gateway::outside::document;
use portcullis_gateway::wire::acme::{Book, next_key_name};
use portcullis_gateway::wire::pins::{self, Pins};
use portcullis_gateway::wire::x509::{self, San};
use portcullis_plan::Plan;
use portcullis_plan::listen::{Listener, Tls};
use portcullis_store::Store;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

/// Shows them; the backup key is made when it is asked for the first time.
pub(crate) fn pins(config: &Path, asked: &KeyPins, format: Format) -> Result<(), Wrong> {
    let (plan, store) = open(config)?;
    let (listener, tls) = find(&plan, &asked.listener)?;
    let all = ask(&store, async {
        let backup = pins::backup(&store, listener, now()).await?;
        served(&plan, &store, tls, Some(&backup)).await
    })?;
    if format == Format::Json {
        say(&format!("{:#}\n", document(&all, now())));
        return Ok(());
    }
    for pins in &all {
        say(&format!("{}\n", pins.host));
        for pin in &pins.keys {
            let end = pin.not_after.map(|end| format!("  until {}", portcullis_vault::notices::rfc3339(end)));
            say(&format!("  {:8}{}{}\n", pin.role.word(), pin.spki_sha256, end.unwrap_or_default()));
        }
    }
    tell("pin the roots and the backup; never a leaf or an intermediate alone\n");
    Ok(())
}

/// The backup key becomes the key of the next certificate.
pub(crate) fn promote(config: &Path, asked: &KeyPromote) -> Result<(), Wrong> {
    let (plan, store) = open(config)?;
    let (listener, tls) = find(&plan, &asked.listener)?;
    let files = match (&asked.key_file, &asked.csr_file, &tls.acme) {
        (Some(key), Some(request), None) => Some((key, request)),
        (None, None, Some(_)) => None,
        (_, _, None) => {
            return Err(Wrong::usage("where certificates are files, write  --key-file FILE --csr-file FILE"));
        }
        (_, _, Some(_)) => {
            return Err(Wrong::usage("ACME makes the certificate; leave --key-file and --csr-file out"));
        }
    };
    change(&store, async {
        let hosts = match &tls.acme {
            Some(acme) => acme.hosts.clone(),
            None => names(&served(&plan, &store, tls, None).await?, tls),
        };
        let promoted = pins::promote(&store, listener, &hosts).await?;
        match (files, &tls.acme) {
            (Some((key, request)), _) => {
                write(key, promoted.key.expose())?;
                write(request, &promoted.request)?;
            }
            (None, Some(acme)) => {
                let key = promoted.key.expose().as_bytes();
                store.kept().put(&next_key_name(acme), key, now()).await?;
            }
            (None, None) => {}
        }
        pins::forget_backup(&store, listener).await?;
        say(&format!("{}\n", promoted.spki_sha256));
        tell(if files.is_some() {
            "have the request signed, put key and certificate into the configuration's files, and publish new pins\n"
        } else {
            "running nodes order a certificate with it within a minute; publish new pins\n"
        });
        Ok(())
    })
}

fn find<'p>(plan: &'p Plan, name: &str) -> Result<(&'p Listener, &'p Tls), Wrong> {
    let listener = plan.listeners.iter().find(|listener| listener.name == name);
    let listener = listener.ok_or_else(|| {
        let names: Vec<&str> = plan.listeners.iter().map(|listener| listener.name.as_str()).collect();
        Wrong::Missing(format!("no listener is called `{name}`; there are: {}", names.join(", ")))
    })?;
    let tls = listener.tls.as_ref().ok_or_else(|| Wrong::Usage(format!("`{name}` has no TLS")))?;
    Ok((listener, tls))
}

/// What a node with this configuration serves: its files, and what the store has of ACME.
async fn served(plan: &Plan, store: &Store, tls: &Tls, backup: Option<&str>) -> Result<Vec<Pins>, Wrong> {
    let book: Arc<Book> = Arc::default();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    crate::certificates::load(plan, &book, store, &Arc::new(Door::new()), &clock).await;
    pins::of_plan(tls, &book, backup).map_err(|why| Wrong::Conflict(why.to_string()))
}

/// Every DNS name of the certificates, for a request that replaces them.
fn names(all: &[Pins], tls: &Tls) -> Vec<String> {
    let mut names: Vec<String> = all.iter().map(|pins| pins.host.clone()).collect();
    for certificate in &tls.certificates {
        let leaf = portcullis_gateway::wire::tls::leaf(certificate);
        for san in leaf.as_deref().and_then(x509::read).map(|facts| facts.sans).unwrap_or_default() {
            if let San::Dns(name) = san
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
    }
    names
}

/// A file that was not there, for its owner alone.
fn write(path: &Path, text: &str) -> Result<(), Wrong> {
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|error| Wrong::Usage(format!("{}: {error}", path.display())))
}
