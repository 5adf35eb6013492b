//! Rows of API keys.

use super::durable::{add_notice, append, one};
use super::ledger::record;
use crate::StoreError;
use crate::adapter::Result;
use crate::keys::{Filter, KeyRow, MAX_USES, Material, Owner, RotateError, Successor, Touch, Use};
use crate::ledger::{By, Deed};
use crate::notices::Notice;
use crate::revocation::{Revocation, RevocationKind};
use portcullis_core::opaque::{Env, Id16};
use portcullis_jose::api_key::{Dates, MAX_GRACE, MAX_ROTATE, Rotation, State};
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

const COLUMNS: &str = "id, env, kind, name, owner, tenant, mac, pepper_version, secret_sealed, jwk, alg, scopes, \
    attributes, apis, ip_allow, created, activate_at, rotate_at, expires_at, grace_s, predecessor, successor, \
    on_first_use, deprecated_at, first_used, last_used, revoked_at, revoked_reason, suspended_at, exposed_at";

pub(super) fn by_id(db: &Connection, id: &Id16) -> Result<Option<KeyRow>> {
    let sql = format!("SELECT {COLUMNS} FROM api_key WHERE id = ?1");
    db.prepare_cached(&sql)?.query_row([id.as_str()], |row| Ok(read(row))).optional()?.transpose()
}

pub(super) fn list(db: &Connection, filter: &Filter) -> Result<Vec<KeyRow>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM api_key WHERE (?1 IS NULL OR owner = ?1
         OR owner IN (SELECT id FROM api_key_owner WHERE name = ?1)) AND (?2 IS NULL OR tenant = ?2)
         AND (?3 IS NULL OR (created, id) > (SELECT created, id FROM api_key WHERE id = ?3))
         ORDER BY created, id LIMIT ?4"
    );
    let mut select = db.prepare_cached(&sql)?;
    let rows = select.query_map(
        params![
            filter.owner,
            filter.tenant,
            filter.after.as_ref().map(Id16::as_str),
            filter.most.map_or(-1, i64::from)
        ],
        |row| Ok(read(row)),
    )?;
    rows.map(|row| row?).collect()
}

/// Nodes that were asked for this id before remember that there is none: the feed tells them.
pub(super) fn create(tx: &Transaction<'_>, row: &KeyRow, by: &By) -> Result<()> {
    insert(tx, row)?;
    changed(tx, &row.id, row.dates.created)?;
    let mut detail = about(row);
    detail.extend([("apis", row.apis.join(" ")), ("scopes", row.scopes.join(" "))]);
    told(tx, ("key.created", &row.id), row.dates.created, None, detail, by)
}

/// What of a key is told in the ledger.
fn about(row: &KeyRow) -> Vec<(&'static str, String)> {
    let mut detail = vec![
        ("kind", row.material.kind().to_owned()),
        ("env", row.env.text().to_owned()),
        ("owner", row.owner.clone()),
        ("name", row.name.clone()),
    ];
    detail.extend(row.tenant.clone().map(|tenant| ("tenant", tenant)));
    detail
}

fn told(
    tx: &Transaction<'_>,
    (event, id): (&'static str, &Id16),
    at: i64,
    reason: Option<&str>,
    detail: Vec<(&'static str, String)>,
    by: &By,
) -> Result<()> {
    let (target, reason) = (id.as_str().to_owned(), reason.map(str::to_owned));
    record(tx, &Deed { at, event, by: by.clone(), target, reason, detail }).map(drop)
}

fn insert(tx: &Transaction<'_>, row: &KeyRow) -> Result<()> {
    // Joined by spaces: none of these may hold one.
    let lists = [&row.scopes, &row.apis, &row.ip_allow];
    if lists.into_iter().flatten().any(|t| t.is_empty() || t.contains(char::is_whitespace)) {
        return Err(StoreError::Broken);
    }
    let (mac, pepper, sealed, jwk, alg) = match &row.material {
        Material::Bearer { mac, pepper_version } => {
            (Some(mac.as_slice()), Some(*pepper_version), None, None, None)
        }
        Material::Hmac { sealed } => (None, None, Some(sealed.as_slice()), None, None),
        Material::Jwk { jwk, alg } => (None, None, None, Some(jwk), Some(alg)),
        Material::Purged { .. } => (None, None, None, None, None),
    };
    let d = &row.dates;
    let sql = format!(
        "INSERT INTO api_key ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16,
         ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30)"
    );
    tx.prepare_cached(&sql)?.execute(params![
        row.id.as_str(),
        row.env.text(),
        row.material.kind(),
        row.name,
        row.owner,
        row.tenant,
        mac,
        pepper,
        sealed,
        jwk,
        alg,
        row.scopes.join(" "),
        row.attributes,
        row.apis.join(" "),
        row.ip_allow.join(" "),
        d.created,
        d.activate_at,
        d.rotate_at,
        d.expires_at,
        d.grace,
        row.predecessor.as_ref().map(Id16::as_str),
        row.successor.as_ref().map(Id16::as_str),
        row.on_first_use,
        d.deprecated_at,
        row.first_used,
        row.last_used,
        d.revoked_at,
        row.revoked_reason,
        d.suspended_at,
        row.exposed_at,
    ])?;
    Ok(())
}

pub(super) fn revoke(tx: &Transaction<'_>, id: &Id16, now: i64, reason: &str, by: &By) -> Result<()> {
    let row = by_id(tx, id)?.ok_or(StoreError::Missing)?;
    if row.dates.revoked_at.is_some() {
        return Ok(());
    }
    let sql = "UPDATE api_key SET revoked_at = ?2, revoked_reason = ?3 WHERE id = ?1";
    one(tx.execute(sql, params![id.as_str(), now, reason])?)?;
    changed(tx, id, now)?;
    told(tx, ("key.revoked", id), now, Some(reason), Vec::new(), by)?;
    notice(tx, id, "apikey.revoked", "once", now, None)
}

pub(super) fn suspend(
    tx: &Transaction<'_>,
    id: &Id16,
    now: i64,
    reason: Option<&str>,
    by: &By,
) -> Result<()> {
    if by_id(tx, id)?.ok_or(StoreError::Missing)?.dates.suspended_at.is_some() {
        return Ok(());
    }
    set_suspended(tx, id, Some(now))?;
    changed(tx, id, now)?;
    told(tx, ("key.suspended", id), now, reason, Vec::new(), by)
}

pub(super) fn resume(tx: &Transaction<'_>, id: &Id16, now: i64, reason: Option<&str>, by: &By) -> Result<()> {
    if by_id(tx, id)?.ok_or(StoreError::Missing)?.dates.suspended_at.is_none() {
        return Ok(());
    }
    set_suspended(tx, id, None)?;
    changed(tx, id, now)?;
    told(tx, ("key.resumed", id), now, reason, Vec::new(), by)
}

fn set_suspended(tx: &Transaction<'_>, id: &Id16, at: Option<i64>) -> Result<()> {
    one(tx.execute("UPDATE api_key SET suspended_at = ?2 WHERE id = ?1", params![id.as_str(), at])?)
}

pub(super) fn expose(tx: &Transaction<'_>, id: &Id16, now: i64) -> Result<()> {
    if by_id(tx, id)?.ok_or(StoreError::Missing)?.exposed_at.is_some() {
        return Ok(());
    }
    let sql = "UPDATE api_key SET exposed_at = ?2 WHERE id = ?1";
    one(tx.execute(sql, params![id.as_str(), now])?)?;
    told(tx, ("key.exposed", id), now, None, Vec::new(), &By::job())?;
    notice(tx, id, "apikey.exposed", "once", now, None)
}

pub(super) fn rotate(
    tx: &Transaction<'_>,
    id: &Id16,
    now: i64,
    (rotation, successor): (&Rotation, &Successor),
    by: &By,
) -> std::result::Result<KeyRow, RotateError> {
    let row = by_id(tx, id)?.ok_or(StoreError::Missing)?;
    if row.material.kind() != successor.material.kind() {
        return Err(RotateError::OtherKind);
    }
    let living = match &row.successor {
        Some(id) => by_id(tx, id)?.map(|row| row.dates.state(now)),
        None => None,
    };
    let dates = row.dates.rotate(now, rotation, living).map_err(RotateError::Conflict)?;
    let next = KeyRow {
        id: successor.id,
        material: successor.material.clone(),
        dates: successor.dates,
        predecessor: Some(*id),
        successor: None,
        on_first_use: false,
        first_used: None,
        last_used: None,
        revoked_reason: None,
        exposed_at: None,
        ..row
    };
    insert(tx, &next)?;
    let reason = rotation.compromised.then_some("compromised");
    let sql = "UPDATE api_key SET successor = ?2, on_first_use = ?3, deprecated_at = ?4, grace_s = ?5, revoked_at = ?6,
               revoked_reason = ?7 WHERE id = ?1";
    let on_first_use = rotation.on_first_use && !rotation.compromised;
    let values = params![
        id.as_str(),
        next.id.as_str(),
        on_first_use,
        dates.deprecated_at,
        dates.grace,
        dates.revoked_at,
        reason
    ];
    one(tx.execute(sql, values).map_err(StoreError::from)?)?;
    changed(tx, id, now)?;
    // Nodes that were asked for the successor before it was made.
    changed(tx, &next.id, now)?;
    let mut detail = about(&next);
    detail.push(("successor", next.id.as_str().to_owned()));
    detail.extend(on_first_use.then(|| ("deprecated", "on first use".to_owned())));
    told(tx, ("key.rotated", id), now, reason, detail, by)?;
    notice(tx, id, "apikey.rotated", next.id.as_str(), now, Some(&next.id))?;
    if rotation.compromised {
        notice(tx, id, "apikey.revoked", "once", now, Some(&next.id))?;
    }
    Ok(next)
}

/// The first use of a successor deprecates a predecessor that waits for it.
pub(super) fn touch(tx: &Transaction<'_>, touches: &[Touch]) -> Result<()> {
    for Touch { id, at } in touches {
        let sql = "UPDATE api_key SET first_used = ifnull(first_used, ?2), last_used = max(ifnull(last_used, ?2), ?2)
                   WHERE id = ?1";
        tx.prepare_cached(sql)?.execute(params![id.as_str(), at])?;
        let sql = "UPDATE api_key SET on_first_use = 0, deprecated_at = min(ifnull(deprecated_at, ?2), ?2)
                   WHERE on_first_use AND successor = ?1 RETURNING id";
        let waiting = tx
            .prepare_cached(sql)?
            .query_map(params![id.as_str(), at], |row| row.get::<_, String>(0))?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        for predecessor in waiting {
            changed(tx, &id16(&predecessor)?, *at)?;
        }
    }
    Ok(())
}

pub(super) fn record_uses(tx: &Transaction<'_>, uses: &[Use]) -> Result<()> {
    for one in uses {
        let add = |source: &str, agent: &str, only_known: bool| -> Result<bool> {
            let sql = if only_known {
                "UPDATE api_key_use SET count = count + ?5 WHERE key = ?1 AND day = ?2 AND source = ?3 AND user_agent_hash = ?4"
            } else {
                "INSERT INTO api_key_use (key, day, source, user_agent_hash, count) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (key, day, source, user_agent_hash) DO UPDATE SET count = count + excluded.count"
            };
            let count = i64::try_from(one.count).unwrap_or(i64::MAX);
            Ok(tx.prepare_cached(sql)?.execute(params![one.key.as_str(), one.day, source, agent, count])?
                == 1)
        };
        if add(&one.source, &one.user_agent_hash, true)? {
            continue;
        }
        let sql = "SELECT count(*) FROM api_key_use WHERE key = ?1 AND day = ?2";
        let rows: u32 =
            tx.prepare_cached(sql)?.query_row(params![one.key.as_str(), one.day], |row| row.get(0))?;
        // The last row is for all others.
        if rows < MAX_USES - 1 {
            add(&one.source, &one.user_agent_hash, false)?;
        } else {
            add("other", "other", false)?;
        }
    }
    Ok(())
}

pub(super) fn uses(db: &Connection, key: &Id16, day: i64) -> Result<Vec<Use>> {
    let sql = "SELECT source, user_agent_hash, count FROM api_key_use WHERE key = ?1 AND day = ?2 ORDER BY count DESC, source";
    let read = |row: &Row<'_>| {
        let count: i64 = row.get(2)?;
        Ok(Use {
            key: *key,
            day,
            source: row.get(0)?,
            user_agent_hash: row.get(1)?,
            count: count.unsigned_abs(),
        })
    };
    Ok(db
        .prepare_cached(sql)?
        .query_map(params![key.as_str(), day], read)?
        .collect::<rusqlite::Result<_>>()?)
}

pub(super) fn purge(tx: &Transaction<'_>, now: i64) -> Result<u64> {
    // The law decides which, row by row; SQL only finds candidates.
    let sql = format!(
        "SELECT {COLUMNS} FROM api_key WHERE (mac IS NOT NULL OR secret_sealed IS NOT NULL OR jwk IS NOT NULL)
         AND (created < ?1 OR expires_at < ?1 OR deprecated_at < ?1 OR revoked_at < ?1)"
    );
    let rows: Vec<KeyRow> = tx
        .prepare_cached(&sql)?
        .query_map([now], |row| Ok(read(row)))?
        .map(|row| row?)
        .collect::<Result<_>>()?;
    let mut purged = 0;
    for row in rows {
        let unrevoked = Dates { revoked_at: None, ..row.dates };
        let revoked_long = row.dates.revoked_at.is_some_and(|at| now >= at.saturating_add(30 * 86_400));
        if unrevoked.state(now) == State::Purged || revoked_long {
            let sql = "UPDATE api_key SET mac = NULL, pepper_version = NULL, secret_sealed = NULL, jwk = NULL WHERE id = ?1";
            one(tx.execute(sql, [row.id.as_str()])?)?;
            told(tx, ("key.purged", &row.id), now, None, Vec::new(), &By::job())?;
            purged += 1;
        }
    }
    Ok(purged)
}

pub(super) fn owner_named(tx: &Transaction<'_>, new: &Owner) -> Result<Owner> {
    let sql = "SELECT id, name, tenant, email_sealed FROM api_key_owner WHERE name = ?1 AND ifnull(tenant, '') = ifnull(?2, '')";
    if let Some(known) = tx.query_row(sql, params![new.name, new.tenant], read_owner).optional()? {
        return Ok(known);
    }
    let sql = "INSERT INTO api_key_owner (id, name, tenant, email_sealed) VALUES (?1, ?2, ?3, ?4)";
    tx.execute(sql, params![new.id, new.name, new.tenant, new.email_sealed])?;
    Ok(new.clone())
}

pub(super) fn owner(db: &Connection, id: &str) -> Result<Option<Owner>> {
    let sql = "SELECT id, name, tenant, email_sealed FROM api_key_owner WHERE id = ?1";
    Ok(db.query_row(sql, [id], read_owner).optional()?)
}

/// Nodes drop their copy of the row within 2 s. The entry can go when the key is long over.
fn changed(tx: &Transaction<'_>, id: &Id16, now: i64) -> Result<()> {
    let until = now.saturating_add(MAX_ROTATE + MAX_GRACE);
    let id = id.as_str().to_owned();
    append(
        tx,
        &Revocation { kind: RevocationKind::ApiKey, issuer: String::new(), id, not_before: None, until },
    )
}

fn notice(
    tx: &Transaction<'_>,
    id: &Id16,
    kind: &str,
    bucket: &str,
    now: i64,
    successor: Option<&Id16>,
) -> Result<()> {
    // Ids are base32: nothing to escape.
    let payload = match successor {
        Some(successor) => format!("{{\"key\":\"{id}\",\"at\":{now},\"successor\":\"{successor}\"}}"),
        None => format!("{{\"key\":\"{id}\",\"at\":{now}}}"),
    };
    let subject = id.as_str().to_owned();
    add_notice(tx, &Notice { subject, kind: kind.to_owned(), bucket: bucket.to_owned(), due: now, payload })
        .map(drop)
}

fn read_owner(row: &Row<'_>) -> rusqlite::Result<Owner> {
    Ok(Owner { id: row.get(0)?, name: row.get(1)?, tenant: row.get(2)?, email_sealed: row.get(3)? })
}

fn read(row: &Row<'_>) -> Result<KeyRow> {
    let text = |name: &str| row.get::<_, String>(name);
    let words = |name: &str| -> Result<Vec<String>> {
        Ok(text(name)?.split_whitespace().map(str::to_owned).collect())
    };
    let other = |name: &str| -> Result<Option<Id16>> {
        row.get::<_, Option<String>>(name)?.map(|t| id16(&t)).transpose()
    };
    let mac: Option<[u8; 32]> = row.get("mac")?;
    let sealed: Option<Vec<u8>> = row.get("secret_sealed")?;
    let jwk: Option<String> = row.get("jwk")?;
    // A row whose secret is of another kind than it says opens nothing.
    let material = match (text("kind")?.as_str(), mac, sealed, jwk) {
        ("bearer", Some(mac), None, None) => {
            Material::Bearer { mac, pepper_version: row.get("pepper_version")? }
        }
        ("hmac", None, Some(sealed), None) => Material::Hmac { sealed },
        ("jwk", None, None, Some(jwk)) => Material::Jwk { jwk, alg: text("alg")? },
        ("bearer", None, None, None) => Material::Purged { kind: "bearer" },
        ("hmac", None, None, None) => Material::Purged { kind: "hmac" },
        ("jwk", None, None, None) => Material::Purged { kind: "jwk" },
        _ => return Err(StoreError::Broken),
    };
    Ok(KeyRow {
        id: id16(&text("id")?)?,
        env: match text("env")?.as_str() {
            "live" => Env::Live,
            "test" => Env::Test,
            _ => return Err(StoreError::Broken),
        },
        material,
        name: text("name")?,
        owner: text("owner")?,
        tenant: row.get("tenant")?,
        scopes: words("scopes")?,
        attributes: text("attributes")?,
        apis: words("apis")?,
        ip_allow: words("ip_allow")?,
        dates: Dates {
            created: row.get("created")?,
            activate_at: row.get("activate_at")?,
            rotate_at: row.get("rotate_at")?,
            expires_at: row.get("expires_at")?,
            grace: row.get("grace_s")?,
            deprecated_at: row.get("deprecated_at")?,
            revoked_at: row.get("revoked_at")?,
            suspended_at: row.get("suspended_at")?,
        },
        predecessor: other("predecessor")?,
        successor: other("successor")?,
        on_first_use: row.get("on_first_use")?,
        first_used: row.get("first_used")?,
        last_used: row.get("last_used")?,
        revoked_reason: row.get("revoked_reason")?,
        exposed_at: row.get("exposed_at")?,
    })
}

fn id16(text: &str) -> Result<Id16> {
    Id16::parse(text).map_err(|_| StoreError::Broken)
}
