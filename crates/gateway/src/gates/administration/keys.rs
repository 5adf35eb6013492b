//! API keys.

use super::{Desk, answer, cannot, refused, unavailable};
use crate::gates::intake::Input;
use portcullis_core::opaque::{Env, Id16};
use portcullis_core::problem::Code;
use portcullis_core::time::rfc3339;
use portcullis_core::verdict::{Answer, Refusal, Stop};
use portcullis_jose::api_key::Rotation;
use portcullis_plan::api::BindSource;
use portcullis_store::keys::{Filter, KeyRow};
use portcullis_vault::issue::{self, Issued, Order, Use};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// Keys of one page, when none are asked for.
const PAGE: u32 = 50;
/// Rows that are read at once to find those of a state.
const BATCH: u32 = 200;

/// `POST /keys`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewKey {
    name: String,
    owner: String,
    #[serde(default)]
    kind: Kind,
    #[serde(default)]
    env: Environment,
    tenant: Option<String>,
    scopes: Vec<String>,
    apis: Vec<String>,
    #[serde(default)]
    ip_allow: Vec<String>,
    #[serde(default)]
    attributes: Map<String, Value>,
    jwk: Option<Value>,
    activate_at: Option<String>,
    expires_at: Option<String>,
    contact: Option<String>,
    grace_hours: Option<i64>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Bearer,
    Hmac,
    Jwk,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Environment {
    #[default]
    Live,
    Test,
}

/// `POST /keys/{key}/rotate`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotate {
    grace_hours: Option<i64>,
    reason: Option<String>,
    #[serde(default)]
    on_first_use: bool,
    jwk: Option<Value>,
}

/// Why.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Why {
    reason: Option<String>,
}

impl Desk<'_> {
    /// A page of keys, in the order of their creation.
    pub(super) async fn list(&self, input: &Input<'_>) -> Result<Answer, Stop> {
        let query = |name: &str| input.text_at(&BindSource::Query(name.into())).map(|text| text.into_owned());
        let most = query("limit").and_then(|text| text.parse().ok()).unwrap_or(PAGE);
        let most = usize::try_from(most).unwrap_or(1).clamp(1, 100);
        let asked = query("tenant");
        let page = |keys: Vec<Value>, next: Option<Id16>| {
            answer(200, &json!({ "keys": keys, "next": next.map(|id| id.to_string()) }))
        };
        let tenant = match (self.tenant, asked) {
            (Some(mine), Some(asked)) if mine != asked => return page(Vec::new(), None),
            (Some(mine), _) => Some(mine.to_owned()),
            (None, asked) => asked,
        };
        let (owner, state) = (query("owner"), query("state"));
        let mut after = query("after").and_then(|text| Id16::parse(&text).ok());
        let now = self.passage.now.secs();
        let mut found: Vec<KeyRow> = Vec::new();
        // One more than asked for tells whether there is a next page.
        while found.len() <= most {
            let filter = Filter { owner: owner.clone(), tenant: tenant.clone(), after, most: Some(BATCH) };
            let rows = self.services.shared.store.keys().list(filter).await.map_err(unavailable)?;
            let last = rows.len() < usize::try_from(BATCH).unwrap_or(usize::MAX);
            after = rows.last().map(|row| row.id).or(after);
            found.extend(
                rows.into_iter()
                    .filter(|row| state.as_deref().is_none_or(|word| row.dates.state(now).text() == word)),
            );
            if last {
                break;
            }
        }
        let more = found.len() > most;
        found.truncate(most);
        let next = found.last().map(|row| row.id).filter(|_| more);
        let mut names: HashMap<String, String> = HashMap::new();
        let mut keys = Vec::with_capacity(found.len());
        for row in &found {
            if !names.contains_key(&row.owner) {
                names.insert(row.owner.clone(), self.owner(row).await?);
            }
            let name = names.get(&row.owner).map_or("", String::as_str);
            keys.push(issue::describe(row, name, now));
        }
        page(keys, next)
    }

    pub(super) async fn get(&self, id: Id16) -> Result<Answer, Stop> {
        let row = self.row(id).await?;
        answer(200, &self.shown(&row).await?)
    }

    pub(super) async fn create(&self, words: NewKey) -> Result<Answer, Stop> {
        let used = match (words.kind, &words.jwk) {
            (Kind::Bearer, None) => Use::Bearer,
            (Kind::Hmac, None) => Use::Hmac,
            (Kind::Jwk, Some(jwk)) => Use::Jwk(jwk.to_string()),
            (Kind::Jwk, None) => return Err(cannot("a key of kind jwk needs its public key in `jwk`")),
            (_, Some(_)) => return Err(cannot("only keys of kind jwk have a public key")),
        };
        let plan = &self.passage.plan;
        if words.apis.iter().any(|entry| !plan.has(entry)) {
            return Err(cannot("`apis` names an API or an operation that there is not"));
        }
        if words.attributes.contains_key("sub") {
            return Err(cannot("the attribute `sub` is the owner's id"));
        }
        if words.contact.as_deref().is_some_and(|contact| !portcullis_egress::is_address(contact)) {
            return Err(cannot("`contact` is no e-mail address"));
        }
        let tenant = match (self.tenant, words.tenant) {
            (Some(mine), Some(asked)) if mine != asked => {
                return Err(Refusal::new(Code::KeyNotAllowed, "key-of-another-tenant").into());
            }
            (Some(mine), _) => Some(mine.to_owned()),
            (None, asked) => asked,
        };
        let order = Order {
            used,
            env: match words.env {
                Environment::Live => Env::Live,
                Environment::Test => Env::Test,
            },
            name: words.name,
            owner: words.owner,
            tenant,
            scopes: words.scopes,
            apis: words.apis,
            ip_allow: words.ip_allow.iter().map(|net| network(net)).collect::<Result<_, _>>()?,
            attributes: Value::Object(words.attributes).to_string(),
            activate_at: words.activate_at.as_deref().map(moment).transpose()?,
            expires_at: words.expires_at.as_deref().map(moment).transpose()?,
            contact: words.contact,
            rotate_every: plan.keys.rotate_every_s,
            grace: words.grace_hours.map_or(plan.keys.grace_s, hours),
        };
        let (store, now) = (&self.services.shared.store, self.passage.now.secs());
        let issued = issue::create(store, order, now, self.by.clone()).await.map_err(refused)?;
        self.issued(&issued).await
    }

    pub(super) async fn rotate(&self, id: Id16, words: Rotate) -> Result<Answer, Stop> {
        self.row(id).await?;
        let rotation = Rotation {
            grace: words.grace_hours.map(hours),
            compromised: words.reason.as_deref() == Some("compromised"),
            on_first_use: words.on_first_use,
        };
        let keys = &self.passage.plan.keys;
        let every = (keys.rotate_every_s, keys.grace_s);
        let jwk = words.jwk.map(|jwk| jwk.to_string());
        let (store, now) = (&self.services.shared.store, self.passage.now.secs());
        let issued =
            issue::rotate(store, id, rotation, jwk, every, now, self.by.clone()).await.map_err(refused)?;
        self.services.shared.keys.changed(&id);
        self.issued(&issued).await
    }

    pub(super) async fn end(&self, id: Id16, words: Why) -> Result<Answer, Stop> {
        self.row(id).await?;
        let reason = words.reason.unwrap_or_default();
        if reason.trim().is_empty() {
            return Err(cannot("`reason` says why"));
        }
        let (store, now) = (&self.services.shared.store, self.passage.now.secs());
        issue::revoke(store, id, reason, now, self.by.clone()).await.map_err(refused)?;
        self.changed(id).await
    }

    pub(super) async fn suspend(&self, id: Id16, words: Why) -> Result<Answer, Stop> {
        self.row(id).await?;
        let (store, now) = (&self.services.shared.store, self.passage.now.secs());
        issue::suspend(store, id, words.reason, now, self.by.clone()).await.map_err(refused)?;
        self.changed(id).await
    }

    pub(super) async fn resume(&self, id: Id16, words: Why) -> Result<Answer, Stop> {
        self.row(id).await?;
        let (store, now) = (&self.services.shared.store, self.passage.now.secs());
        issue::resume(store, id, words.reason, now, self.by.clone()).await.map_err(refused)?;
        self.changed(id).await
    }

    /// A key that the administrator may know of. One of another tenant is told like one that is missing.
    async fn row(&self, id: Id16) -> Result<KeyRow, Stop> {
        let row = self.services.shared.store.keys().by_id(id).await.map_err(unavailable)?;
        let row = row.ok_or_else(|| Stop::from(Refusal::new(Code::NotFound, "key-unknown")))?;
        if self.tenant.is_some_and(|mine| row.tenant.as_deref() != Some(mine)) {
            return Err(Refusal::new(Code::NotFound, "key-of-another-tenant").into());
        }
        Ok(row)
    }

    async fn owner(&self, row: &KeyRow) -> Result<String, Stop> {
        let owner = self.services.shared.store.keys().owner(row.owner.clone()).await.map_err(unavailable)?;
        Ok(owner.map(|owner| owner.name).unwrap_or_default())
    }

    async fn shown(&self, row: &KeyRow) -> Result<Value, Stop> {
        Ok(issue::describe(row, &self.owner(row).await?, self.passage.now.secs()))
    }

    /// This node need not wait for the feed.
    async fn changed(&self, id: Id16) -> Result<Answer, Stop> {
        self.services.shared.keys.changed(&id);
        self.get(id).await
    }

    /// The only answer that holds a secret.
    async fn issued(&self, issued: &Issued) -> Result<Answer, Stop> {
        self.services.shared.keys.changed(&issued.row.id);
        let mut shown = self.shown(&issued.row).await?;
        if let (Some(secret), Value::Object(members)) = (&issued.secret, &mut shown) {
            members.insert("secret".to_owned(), Value::from(secret.expose().as_str()));
        }
        answer(201, &shown)
    }
}

fn hours(hours: i64) -> i64 {
    hours.saturating_mul(3_600)
}

/// In CIDR form; one address is a network of its own.
fn network(text: &str) -> Result<String, Stop> {
    let net =
        text.parse::<ipnet::IpNet>().or_else(|_| text.parse::<std::net::IpAddr>().map(ipnet::IpNet::from));
    net.map(|net| net.trunc().to_string()).map_err(|_| cannot("`ip_allow` has networks like 192.0.2.0/24"))
}

pub(super) fn moment(text: &str) -> Result<i64, Stop> {
    rfc3339(text).ok_or_else(|| cannot("a moment is written like 2027-01-31T12:00:00Z"))
}
