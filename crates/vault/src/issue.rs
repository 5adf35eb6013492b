//! Making, replacing and ending API keys. A secret leaves here once, when it is made.

use crate::api_keys::PEPPER;
use crate::notices::rfc3339;
use portcullis_core::opaque::{self, ApiKey, Env, Id16, Kind};
use portcullis_core::secret::Secret;
use portcullis_jose::alg::Algorithm;
use portcullis_jose::api_key::{Dates, MAX_GRACE, MIN_GRACE, Rotation, State, mac, partner_key};
use portcullis_jose::json::{Json, Limits};
use portcullis_jose::mac::MacKey;
use portcullis_store::keys::{KeyRow, Material, RotateError, Successor};
use portcullis_store::ledger::By;
use portcullis_store::{Store, StoreError};
use serde_json::{Value, json};
use std::fmt;

/// How a key is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Use {
    /// The key itself is sent.
    Bearer,
    /// `pch_…` signs and is never sent.
    Hmac,
    /// The partner keeps the private key; this is the public one (JWK: Ed25519 or P-256).
    Jwk(String),
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Order {
    /// How it is used.
    pub used: Use,
    /// Which environment it opens.
    pub env: Env,
    /// For people.
    pub name: String,
    /// The owner's name; made if there is none of it in the tenant.
    pub owner: String,
    /// Tenant.
    pub tenant: Option<String>,
    /// Scopes; at least one.
    pub scopes: Vec<String>,
    /// APIs, or operations as `api:operation`; at least one.
    pub apis: Vec<String>,
    /// Networks; none: everywhere.
    pub ip_allow: Vec<String>,
    /// Claims of the caller: JSON text of an object.
    pub attributes: String,
    /// Works from here, unix seconds; now without.
    pub activate_at: Option<i64>,
    /// Ends here, unix seconds, if before its rotation.
    pub expires_at: Option<i64>,
    /// The owner's e-mail, for a new owner.
    pub contact: Option<String>,
    /// Seconds until it must be replaced: at most 90 days.
    pub rotate_every: i64,
    /// Seconds of overlap: 24–72 h.
    pub grace: i64,
}

/// A key that was made.
pub struct Issued {
    /// Its row.
    pub row: KeyRow,
    /// What its owner is given, once; nothing for a public key.
    pub secret: Option<Secret<String>>,
}

/// Why no key was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssueError {
    /// What was asked for cannot be: which part, and why.
    Order(&'static str),
    /// 409.
    Conflict(&'static str),
    /// There is no such key.
    Missing,
    /// The store.
    Store(StoreError),
}

impl fmt::Display for IssueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Order(why) | Self::Conflict(why) => f.write_str(why),
            Self::Missing => f.write_str("there is no such key"),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for IssueError {}

impl From<StoreError> for IssueError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Missing => Self::Missing,
            other => Self::Store(other),
        }
    }
}

/// Makes a key.
///
/// # Errors
/// [`IssueError::Order`] for what cannot be; [`IssueError::Store`].
pub async fn create(store: &Store, order: Order, now: i64, by: By) -> Result<Issued, IssueError> {
    let dates = dates(&order, now)?;
    judge(&order)?;
    let (id, material, secret) = material(store, &order.used, order.env, now).await?;
    let owner = store.keys().owner_named(order.owner, order.tenant.clone(), order.contact.as_deref()).await?;
    let row = KeyRow {
        id,
        env: order.env,
        material,
        name: order.name,
        owner: owner.id,
        tenant: order.tenant,
        scopes: order.scopes,
        attributes: order.attributes,
        apis: order.apis,
        ip_allow: order.ip_allow,
        dates,
        predecessor: None,
        successor: None,
        on_first_use: false,
        first_used: None,
        last_used: None,
        revoked_reason: None,
        exposed_at: None,
    };
    store.keys().insert(row.clone(), by).await?;
    Ok(Issued { row, secret })
}

/// Gives a key a successor of its own kind. `jwk` is the successor's public key, for a key of kind `jwk`.
///
/// # Errors
/// [`IssueError`].
pub async fn rotate(
    store: &Store,
    id: Id16,
    rotation: Rotation,
    jwk: Option<String>,
    (rotate_every, grace): (i64, i64),
    now: i64,
    by: By,
) -> Result<Issued, IssueError> {
    if rotation.grace.is_some_and(|grace| !(MIN_GRACE..=MAX_GRACE).contains(&grace)) {
        return Err(IssueError::Order("the grace is 24 to 72 hours"));
    }
    let old = store.keys().by_id(id).await?.ok_or(IssueError::Missing)?;
    let used = match (&old.material, jwk) {
        (Material::Bearer { .. }, None) => Use::Bearer,
        (Material::Hmac { .. }, None) => Use::Hmac,
        (Material::Jwk { .. }, Some(jwk)) => Use::Jwk(jwk),
        (Material::Jwk { .. }, None) => {
            return Err(IssueError::Order("a key of kind jwk is replaced by another public key"));
        }
        (Material::Purged { .. }, _) => return Err(IssueError::Conflict("key-not-rotatable")),
        (_, Some(_)) => return Err(IssueError::Order("only keys of kind jwk have a public key")),
    };
    // No secret is made for what would be refused; the store decides again, in its transaction.
    if !old.dates.state(now).works() {
        return Err(IssueError::Conflict("key-not-rotatable"));
    }
    let (next, material, secret) = material(store, &used, old.env, now).await?;
    let successor = Successor { id: next, material, dates: Dates::new(now, rotate_every, grace) };
    let row = store.keys().rotate(id, now, rotation, successor, by).await.map_err(|error| match error {
        RotateError::Conflict(conflict) => IssueError::Conflict(conflict.text()),
        RotateError::Store(error) => error.into(),
        RotateError::OtherKind => IssueError::Conflict("key-not-rotatable"),
    })?;
    Ok(Issued { row, secret })
}

/// Ends a key at once, for good. Again: nothing.
///
/// # Errors
/// [`IssueError::Missing`], [`IssueError::Store`].
pub async fn revoke(store: &Store, id: Id16, reason: String, now: i64, by: By) -> Result<(), IssueError> {
    // It is shown to whoever lists keys, and people paste.
    if opaque::find(reason.as_bytes()).is_some() {
        return Err(IssueError::Order("the reason holds a secret"));
    }
    Ok(store.keys().revoke(id, now, reason, by).await?)
}

/// Stops a key for now.
///
/// # Errors
/// [`IssueError::Conflict`] for one that has ended.
pub async fn suspend(
    store: &Store,
    id: Id16,
    reason: Option<String>,
    now: i64,
    by: By,
) -> Result<(), IssueError> {
    living(store, id, now).await?;
    Ok(store.keys().suspend(id, now, reason, by).await?)
}

/// Lets a suspended key work again.
///
/// # Errors
/// [`IssueError::Conflict`] for one that is not suspended.
pub async fn resume(
    store: &Store,
    id: Id16,
    reason: Option<String>,
    now: i64,
    by: By,
) -> Result<(), IssueError> {
    match living(store, id, now).await? {
        State::Suspended => Ok(store.keys().resume(id, now, reason, by).await?),
        _ => Err(IssueError::Conflict("key-not-suspended")),
    }
}

/// A key for people and programs; never its secret. `owner` is the name of its owner.
pub fn describe(row: &KeyRow, owner: &str, now: i64) -> Value {
    let moment = |at: Option<i64>| at.map(rfc3339);
    let attributes: Value = serde_json::from_str(&row.attributes).unwrap_or_default();
    json!({
        "id": row.id.as_str(),
        "kind": row.material.kind(),
        "env": row.env.text(),
        "state": row.dates.state(now).text(),
        "name": row.name,
        "owner": owner,
        "owner_id": row.owner,
        "tenant": row.tenant,
        "scopes": row.scopes,
        "apis": row.apis,
        "ip_allow": row.ip_allow,
        "attributes": attributes,
        "created": rfc3339(row.dates.created),
        "activate_at": rfc3339(row.dates.activate_at),
        "deprecated_from": rfc3339(row.dates.deprecated_from()),
        "ends_at": rfc3339(row.dates.ends_at()),
        "revoked_at": moment(row.dates.revoked_at),
        "revoked_reason": row.revoked_reason,
        "suspended_at": moment(row.dates.suspended_at),
        "exposed_at": moment(row.exposed_at),
        "first_used": moment(row.first_used),
        "last_used": moment(row.last_used),
        "predecessor": row.predecessor.map(|id| id.as_str().to_owned()),
        "successor": row.successor.map(|id| id.as_str().to_owned()),
        "on_first_use": row.on_first_use,
    })
}

async fn living(store: &Store, id: Id16, now: i64) -> Result<State, IssueError> {
    let row = store.keys().by_id(id).await?.ok_or(IssueError::Missing)?;
    match row.dates.state(now) {
        State::Revoked | State::Expired | State::Purged => Err(IssueError::Conflict("key-has-ended")),
        state => Ok(state),
    }
}

fn dates(order: &Order, now: i64) -> Result<Dates, IssueError> {
    if !(MIN_GRACE..=MAX_GRACE).contains(&order.grace) {
        return Err(IssueError::Order("the grace is 24 to 72 hours"));
    }
    let dates = Dates::new(now, order.rotate_every, order.grace);
    let activate_at = order.activate_at.unwrap_or(now);
    if activate_at >= dates.rotate_at {
        return Err(IssueError::Order("it would have to be replaced before it begins to work"));
    }
    if order.expires_at.is_some_and(|end| end <= activate_at || end <= now) {
        return Err(IssueError::Order("it would end before it begins to work"));
    }
    Ok(Dates { activate_at, expires_at: order.expires_at, ..dates })
}

/// What a running node could not read would open nothing; better to say so here.
fn judge(order: &Order) -> Result<(), IssueError> {
    let good = |scope: &String| {
        !scope.is_empty() && scope.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
    };
    let named =
        |text: &str| !text.trim().is_empty() && text.len() <= 255 && !text.chars().any(char::is_control);
    let api = |entry: &String| named(entry) && !entry.contains(char::is_whitespace);
    let checks = [
        (named(&order.name), "the name is 1 to 255 characters"),
        (named(&order.owner), "the owner's name is 1 to 255 characters"),
        (!order.scopes.is_empty() && order.scopes.len() <= 64, "a key has 1 to 64 scopes"),
        (order.scopes.iter().all(good), "a scope is printable ASCII without spaces, quotes and backslashes"),
        (!order.apis.is_empty() && order.apis.iter().all(api), "an API is named `shop` or `shop:operation`"),
        (
            order.ip_allow.iter().all(|net| net.parse::<ipnet::IpNet>().is_ok()),
            "a network is written as 192.0.2.0/24",
        ),
        (
            Json::parse(order.attributes.clone().into_bytes(), &Limits::PAYLOAD).is_ok(),
            "the attributes cannot be read",
        ),
    ];
    match checks.into_iter().find(|(good, _)| !good) {
        Some((_, why)) => Err(IssueError::Order(why)),
        None => Ok(()),
    }
}

/// A public id, what is kept, and what is given away.
async fn material(
    store: &Store,
    used: &Use,
    env: Env,
    now: i64,
) -> Result<(Id16, Material, Option<Secret<String>>), IssueError> {
    let id_bits: [u8; 10] = random()?;
    let id = Id16::from_random(id_bits);
    match used {
        Use::Bearer => {
            let pepper = store.secrets().newest(PEPPER, now).await?;
            let key = ApiKey::new(env, id_bits, random()?);
            let mac = mac(&MacKey::new(pepper.value.expose()), &key);
            let text = key.text();
            Ok((id, Material::Bearer { mac, pepper_version: pepper.version }, Some(text)))
        }
        Use::Hmac => {
            let secret: [u8; 32] = random()?;
            let sealed = store.keys().seal_secret(id, &secret)?;
            Ok((id, Material::Hmac { sealed }, Some(Kind::SigningSecret.text(&secret))))
        }
        Use::Jwk(jwk) => {
            let key = partner_key(jwk.as_bytes())
                .map_err(|_| IssueError::Order("the JWK is not a public key of type Ed25519 or P-256"))?;
            let alg = if key.algorithms().contains(Algorithm::EdDsa) { "EdDSA" } else { "ES256" };
            Ok((id, Material::Jwk { jwk: jwk.clone(), alg: alg.to_owned() }, None))
        }
    }
}

fn random<const N: usize>() -> Result<[u8; N], IssueError> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| IssueError::Store(StoreError::Broken))?;
    Ok(bytes)
}
