//! `portcullis keys` (callers.md § 20). A secret is shown once: alone on standard output, or in a file that only its owner
//! reads. Everything else goes to standard error.

use super::remembered::{Wrong, ask, by, change, moment, now, open};
use super::{say, tell};
use crate::cli::{Format, KeyCreate, KeyEnv, KeyKind, KeyList, KeyReason, KeyRotate, KeyVerb, Keys};
use portcullis_core::finding::did_you_mean;
use portcullis_core::opaque::{Env, Id16};
use portcullis_core::secret::Secret;
use portcullis_core::units;
use portcullis_jose::api_key::{Rotation, State};
use portcullis_plan::Plan;
use portcullis_store::Store;
use portcullis_store::keys::{Filter, KeyRow};
use portcullis_vault::issue::{self, Issued, Order, Use};
use portcullis_vault::notices::rfc3339;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Exit code 0; 2: what was asked for cannot be; 3: no such key; 4: not in its state; 5: the store cannot be reached.
pub(crate) fn run(keys: Keys) -> ExitCode {
    match done(keys) {
        Ok(()) => ExitCode::SUCCESS,
        Err(wrong) => wrong.end(),
    }
}

fn done(keys: Keys) -> Result<(), Wrong> {
    match &keys.verb {
        KeyVerb::Pins(asked) => return super::pins::pins(&keys.config, asked, keys.format),
        KeyVerb::PromoteBackup(asked) => return super::pins::promote(&keys.config, asked),
        _ => {}
    }
    let (plan, store) = open(&keys.config)?;
    let format = keys.format;
    match keys.verb {
        KeyVerb::Create(create) => change(&store, make(&plan, &store, create, format)),
        KeyVerb::Pins(_) | KeyVerb::PromoteBackup(_) => Ok(()),
        KeyVerb::List(list) => ask(&store, self::list(&store, list, format)),
        KeyVerb::Rotate(rotate) => change(&store, self::rotate(&plan, &store, rotate, format)),
        KeyVerb::Revoke { id, reason } => change(&store, async {
            let id = public_id(&id)?;
            if reason.trim().is_empty() {
                return Err(Wrong::usage("--reason says why"));
            }
            issue::revoke(&store, id, reason, now(), by()).await?;
            changed(&store, id, "revoked", format).await
        }),
        KeyVerb::Suspend { id, reason } => change(&store, async {
            let id = public_id(&id)?;
            issue::suspend(&store, id, reason, now(), by()).await?;
            changed(&store, id, "suspended", format).await
        }),
        KeyVerb::Resume { id, reason } => change(&store, async {
            let id = public_id(&id)?;
            issue::resume(&store, id, reason, now(), by()).await?;
            changed(&store, id, "resumed", format).await
        }),
    }
}

async fn make(plan: &Plan, store: &Store, create: KeyCreate, format: Format) -> Result<(), Wrong> {
    let used = match (create.kind, &create.jwk) {
        (KeyKind::Bearer, None) => Use::Bearer,
        (KeyKind::Hmac, None) => Use::Hmac,
        (KeyKind::Jwk, Some(path)) => Use::Jwk(read(path)?),
        (KeyKind::Jwk, None) => {
            return Err(Wrong::usage("a key of kind jwk needs  --jwk FILE  with the public key"));
        }
        (_, Some(_)) => return Err(Wrong::usage("--jwk goes with  --kind jwk")),
    };
    let env = match create.env {
        KeyEnv::Live => Env::Live,
        KeyEnv::Test => Env::Test,
    };
    for entry in &create.apis {
        opens(plan, entry, &used, env)?;
    }
    if let Some(contact) = create.contact.as_deref().filter(|contact| !portcullis_egress::is_address(contact))
    {
        return Err(Wrong::Usage(format!("`{contact}` is no e-mail address")));
    }
    let order = Order {
        used,
        env,
        name: create.name,
        owner: create.owner,
        tenant: create.tenant,
        scopes: create.scopes,
        apis: create.apis,
        ip_allow: create.ips.iter().map(|net| network(net)).collect::<Result<_, _>>()?,
        attributes: attributes(&create.attributes)?,
        activate_at: create.activate_at.as_deref().map(moment).transpose()?,
        expires_at: create.expires_at.as_deref().map(moment).transpose()?,
        contact: create.contact,
        rotate_every: plan.keys.rotate_every_s,
        grace: create.grace.as_deref().map(grace).transpose()?.unwrap_or(plan.keys.grace_s),
    };
    let hand = Hand::open(create.out)?;
    let issued = hand.keep(issue::create(store, order, now(), by()).await)?;
    hand.over(issued.secret.as_ref())?;
    describe(store, &issued, None, format).await
}

async fn rotate(plan: &Plan, store: &Store, rotate: KeyRotate, format: Format) -> Result<(), Wrong> {
    let id = public_id(&rotate.id)?;
    let rotation = Rotation {
        grace: rotate.grace.as_deref().map(grace).transpose()?,
        compromised: rotate.reason == KeyReason::Compromised,
        on_first_use: rotate.on_first_use,
    };
    let jwk = rotate.jwk.as_deref().map(read).transpose()?;
    let every = (plan.keys.rotate_every_s, plan.keys.grace_s);
    let hand = Hand::open(rotate.out)?;
    let issued = hand.keep(issue::rotate(store, id, rotation, jwk, every, now(), by()).await)?;
    hand.over(issued.secret.as_ref())?;
    describe(store, &issued, Some(id), format).await
}

async fn list(store: &Store, list: KeyList, format: Format) -> Result<(), Wrong> {
    if let Some(word) = &list.state
        && !STATES.iter().any(|state| state.text() == word)
    {
        let known = STATES.map(State::text);
        let help = did_you_mean(word, known)
            .map_or_else(|| known.join(", "), |word| format!("did you mean `{word}`?"));
        return Err(Wrong::Usage(format!("there is no state `{word}`; {help}")));
    }
    let now = now();
    let mut rows =
        store.keys().list(Filter { owner: list.owner, tenant: list.tenant, ..Filter::default() }).await?;
    rows.retain(|row| list.state.as_deref().is_none_or(|word| row.dates.state(now).text() == word));
    let mut owners: HashMap<String, String> = HashMap::new();
    for row in &rows {
        if !owners.contains_key(&row.owner)
            && let Some(owner) = store.keys().owner(row.owner.clone()).await?
        {
            owners.insert(owner.id, owner.name);
        }
    }
    let owner = |row: &KeyRow| owners.get(&row.owner).cloned().unwrap_or_default();
    if format == Format::Json {
        let all: Vec<Value> = rows.iter().map(|row| issue::describe(row, &owner(row), now)).collect();
        say(&format!("{:#}\n", Value::Array(all)));
        return Ok(());
    }
    let head = ["ID", "KIND", "ENV", "STATE", "NAME", "OWNER", "TENANT", "APIS", "ENDS", "LAST USED"];
    let mut table: Vec<Vec<String>> = vec![head.map(str::to_owned).to_vec()];
    for row in &rows {
        let used = row.last_used.map_or_else(|| "never".to_owned(), day);
        table.push(vec![
            row.id.to_string(),
            row.material.kind().to_owned(),
            row.env.text().to_owned(),
            row.dates.state(now).text().to_owned(),
            clean(&row.name),
            clean(&owner(row)),
            row.tenant.as_deref().map_or_else(|| "-".to_owned(), clean),
            row.apis.join(","),
            day(row.dates.ends_at()),
            used,
        ]);
    }
    say(&columns(&table));
    Ok(())
}

/// What a new key is, on standard error; the secret is not among it.
async fn describe(
    store: &Store,
    issued: &Issued,
    predecessor: Option<Id16>,
    format: Format,
) -> Result<(), Wrong> {
    let row = &issued.row;
    let owner = store.keys().owner(row.owner.clone()).await?.map(|owner| owner.name).unwrap_or_default();
    if format == Format::Json {
        tell(&format!("{:#}\n", issue::describe(row, &owner, now())));
        return Ok(());
    }
    let mut text = format!(
        "key {} ({}, {}) of {}\n  replace it by {}, or it ends on {}\n",
        row.id,
        row.material.kind(),
        row.env.text(),
        clean(&owner),
        rfc3339(row.dates.deprecated_from()),
        rfc3339(row.dates.ends_at()),
    );
    if let Some(old) = predecessor
        && let Some(old) = store.keys().by_id(old).await?
    {
        let state = old.dates.state(now());
        let until = match state {
            State::Revoked => "has ended".to_owned(),
            _ if old.on_first_use => "works on until this one is used, and its grace after that".to_owned(),
            _ => format!("works until {}", rfc3339(old.dates.ends_at())),
        };
        text.push_str(&format!("  its predecessor {} {until}\n", old.id));
    }
    if issued.secret.is_some() {
        text.push_str("  the secret is shown this once and kept nowhere\n");
    }
    tell(&text);
    Ok(())
}

async fn changed(store: &Store, id: Id16, what: &str, format: Format) -> Result<(), Wrong> {
    let row =
        store.keys().by_id(id).await?.ok_or_else(|| Wrong::Missing("there is no such key".to_owned()))?;
    if format == Format::Json {
        let owner = store.keys().owner(row.owner.clone()).await?.map(|owner| owner.name).unwrap_or_default();
        say(&format!("{:#}\n", issue::describe(&row, &owner, now())));
    } else {
        tell(&format!("key {id} is {what}; running nodes follow within 2 seconds\n"));
    }
    Ok(())
}

/// Where a secret goes. The file is made before the key, so that no key is made whose secret cannot be kept.
struct Hand(Option<(PathBuf, File)>);

impl Hand {
    fn open(out: Option<PathBuf>) -> Result<Self, Wrong> {
        let Some(path) = out else { return Ok(Self(None)) };
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path).map_err(|e| Wrong::Usage(format!("{}: {e}", path.display())))?;
        Ok(Self(Some((path, file))))
    }

    /// An order that failed leaves no empty file behind.
    fn keep<T, E>(&self, made: Result<T, E>) -> Result<T, E> {
        if let (Err(_), Some((path, _))) = (&made, &self.0) {
            let _ = std::fs::remove_file(path);
        }
        made
    }

    fn over(self, secret: Option<&Secret<String>>) -> Result<(), Wrong> {
        match (self.0, secret) {
            (Some((path, mut file)), Some(secret)) => {
                writeln!(file, "{}", secret.expose()).and_then(|()| file.sync_all()).map_err(|e| {
                    Wrong::Store(format!("{}: {e}; revoke the key and make another", path.display()))
                })
            }
            (Some((path, _)), None) => {
                let _ = std::fs::remove_file(path);
                Ok(())
            }
            (None, Some(secret)) => {
                say(&format!("{}\n", secret.expose()));
                Ok(())
            }
            (None, None) => Ok(()),
        }
    }
}

/// An API, or one of its operations, that there is; and a word when it would not take this key.
fn opens(plan: &Plan, entry: &str, used: &Use, env: Env) -> Result<(), Wrong> {
    let (name, operation) = match entry.split_once(':') {
        Some((name, operation)) => (name, Some(operation)),
        None => (entry, None),
    };
    let Some(api) = plan.apis.iter().find(|api| *api.name == *name) else {
        let known = plan.apis.iter().map(|api| &*api.name);
        let help =
            did_you_mean(name, known).map(|word| format!("; did you mean `{word}`?")).unwrap_or_default();
        return Err(Wrong::Usage(format!("there is no API `{name}`{help}")));
    };
    if let Some(operation) = operation {
        let known = || api.contract.operations().iter().map(|one| &*one.id);
        if !known().any(|id| id == operation) {
            let help = did_you_mean(operation, known()).map(|word| format!("; did you mean `{word}`?"));
            let help = help.unwrap_or_default();
            return Err(Wrong::Usage(format!("`{name}` has no operation `{operation}`{help}")));
        }
    }
    let live = env == Env::Live;
    let takes = match used {
        Use::Bearer => api.authenticate.api_key.as_ref().is_some_and(|policy| policy.live == live),
        Use::Hmac | Use::Jwk(_) => {
            api.authenticate.signature.as_ref().is_some_and(|policy| policy.live == live)
        }
    };
    if !takes {
        tell(&format!(
            "warning: `{name}` does not take keys of this kind and environment ({})\n",
            env.text()
        ));
    }
    Ok(())
}

const STATES: [State; 8] = [
    State::Pending,
    State::Active,
    State::Due,
    State::Deprecated,
    State::Expired,
    State::Purged,
    State::Revoked,
    State::Suspended,
];

fn public_id(text: &str) -> Result<Id16, Wrong> {
    Id16::parse(text)
        .map_err(|_| Wrong::usage("a key's public id is 16 characters; `portcullis keys list` shows it"))
}

fn grace(text: &str) -> Result<i64, Wrong> {
    let secs = units::parse_duration(text).and_then(|us| i64::try_from(us / 1_000_000).ok());
    secs.filter(|secs| (86_400..=3 * 86_400).contains(secs))
        .ok_or_else(|| Wrong::Usage(format!("`{text}`: the grace is 24h to 72h")))
}

/// In CIDR form; one address is a network of its own.
fn network(text: &str) -> Result<String, Wrong> {
    let net =
        text.parse::<ipnet::IpNet>().or_else(|_| text.parse::<std::net::IpAddr>().map(ipnet::IpNet::from));
    let net = net.map_err(|_| Wrong::Usage(format!("`{text}` is no network; write it like 192.0.2.0/24")))?;
    Ok(net.trunc().to_string())
}

fn attributes(pairs: &[String]) -> Result<String, Wrong> {
    let mut all = Map::new();
    for pair in pairs {
        let wrong = || Wrong::Usage(format!("`{pair}`: an attribute is NAME=VALUE"));
        let (name, value) = pair.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(wrong)?;
        if name == "sub" || all.insert(name.to_owned(), Value::from(value)).is_some() {
            return Err(Wrong::Usage(format!("the attribute `{name}` is the owner's id, or stands twice")));
        }
    }
    Ok(Value::Object(all).to_string())
}

fn read(path: &Path) -> Result<String, Wrong> {
    std::fs::read_to_string(path).map_err(|e| Wrong::Usage(format!("{}: {e}", path.display())))
}

fn day(secs: i64) -> String {
    rfc3339(secs).chars().take(10).collect()
}

/// Names are their owners' choice: nothing of them moves the cursor of whoever reads the list.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn columns(table: &[Vec<String>]) -> String {
    let width = |column: usize| {
        table.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..table.first().map_or(0, Vec::len)).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    table.iter().map(line).collect()
}
