//! The one suite that every adapter passes.

use crate::handle::{Options, Place, Store};
use crate::keys::{Filter, KeyRow, MAX_USES, Material, RotateError, Successor, Use};
use crate::ledger::{By, How};
use crate::notices::Notice;
use crate::replay::{Presented, ReplayKey, ReplayKind};
use crate::revocation::{Revocation, RevocationKind};
use crate::{OpenError, StoreError};
use portcullis_core::opaque::{Env, Id16};
use portcullis_jose::api_key::{Conflict, Dates, Rotation, State};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const NOW: i64 = 1_770_000_000;
const DAY: i64 = 86_400;

/// A folder that goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("portcullis-store-{}-{n}", std::process::id())))
    }
    fn place(&self) -> Place {
        Place::Folder(self.0.clone())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Tests share two cores with others: patience is not what they are about.
fn options() -> Options {
    Options {
        replay_patience: Duration::from_secs(10),
        patience: Duration::from_secs(20),
        ..Options::default()
    }
}

fn open(place: &Place) -> Store {
    Store::open(place, options(), NOW).unwrap()
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
}

/// Runs a test on every adapter.
fn everywhere(test: impl AsyncFn(&Store)) {
    let folder = Folder::new();
    for place in [Place::Memory, folder.place()] {
        let store = open(&place);
        run(test(&store));
    }
}

fn id(n: u8) -> Id16 {
    Id16::from_random([n; 10])
}

async fn row(store: &Store, n: u8) -> KeyRow {
    let owner = store.keys().owner_named("acme".to_owned(), None, Some("keys@acme.example")).await.unwrap();
    KeyRow {
        id: id(n),
        env: Env::Test,
        material: Material::Bearer { mac: [n; 32], pepper_version: 1 },
        name: format!("key {n}"),
        owner: owner.id,
        tenant: Some("t1".to_owned()),
        scopes: vec!["orders.read".to_owned(), "orders.write".to_owned()],
        attributes: r#"{"org_id":"acme"}"#.to_owned(),
        apis: vec!["shop:createTransfer".to_owned()],
        ip_allow: vec!["10.0.0.0/8".to_owned()],
        dates: Dates::new(NOW + i64::from(n), 90 * DAY, 2 * DAY),
        predecessor: None,
        successor: None,
        on_first_use: false,
        first_used: None,
        last_used: None,
        revoked_reason: None,
        exposed_at: None,
    }
}

fn by() -> By {
    By { actor: "uid:1000".to_owned(), how: How::Cli, correlation: None }
}

fn successor(n: u8, now: i64) -> Successor {
    let material = Material::Bearer { mac: [n; 32], pepper_version: 2 };
    Successor { id: id(n), material, dates: Dates::new(now, 90 * DAY, 2 * DAY) }
}

#[test]
fn keys_are_kept_as_they_are() {
    everywhere(async |store| {
        let keys = store.keys();
        let bearer = row(store, 1).await;
        let hmac = KeyRow {
            material: Material::Hmac { sealed: keys.seal_secret(id(2), &[7; 32]).unwrap() },
            ..row(store, 2).await
        };
        let material = Material::Jwk { jwk: r#"{"kty":"OKP"}"#.to_owned(), alg: "EdDSA".to_owned() };
        let jwk =
            KeyRow { material, env: Env::Live, tenant: None, ip_allow: Vec::new(), ..row(store, 3).await };
        for key in [&bearer, &hmac, &jwk] {
            keys.insert(key.clone(), by()).await.unwrap();
            assert_eq!(keys.by_id(key.id).await.unwrap().as_ref(), Some(key));
        }
        let Material::Hmac { sealed } = &hmac.material else { panic!() };
        assert_eq!(keys.open_secret(id(2), sealed).unwrap().expose(), &[7; 32]);
        assert_eq!(keys.open_secret(id(3), sealed).unwrap_err(), StoreError::Sealed, "moved to another row");

        assert_eq!(keys.insert(bearer.clone(), by()).await, Err(StoreError::Exists));
        let orphan = KeyRow { id: id(9), owner: "own_nobody".to_owned(), ..bearer.clone() };
        assert_eq!(keys.insert(orphan, by()).await, Err(StoreError::Missing));
        let spaced = KeyRow { id: id(9), scopes: vec!["a b".to_owned()], ..bearer.clone() };
        assert_eq!(keys.insert(spaced, by()).await, Err(StoreError::Broken));
        assert_eq!(keys.by_id(id(9)).await, Ok(None));

        let ids = |rows: Vec<KeyRow>| rows.iter().map(|r| r.id).collect::<Vec<_>>();
        assert_eq!(ids(keys.list(Filter::default()).await.unwrap()), [id(1), id(2), id(3)]);
        let of = |owner: Option<&str>, tenant: Option<&str>| Filter {
            owner: owner.map(Into::into),
            tenant: tenant.map(Into::into),
            ..Filter::default()
        };
        assert_eq!(ids(keys.list(of(Some("acme"), Some("t1"))).await.unwrap()), [id(1), id(2)]);
        assert_eq!(ids(keys.list(of(Some(&bearer.owner), None)).await.unwrap()).len(), 3);
        assert!(keys.list(of(Some("nobody' OR 1=1 --"), None)).await.unwrap().is_empty());
        assert!(!format!("{bearer:?}").contains("[1, 1"), "the MAC is not printed");
    });
}

#[test]
fn owners_have_one_name_and_a_sealed_contact() {
    everywhere(async |store| {
        let keys = store.keys();
        let owner = keys.owner_named("acme".to_owned(), None, Some("keys@acme.example")).await.unwrap();
        assert!(owner.id.starts_with("own_") && owner.id.len() == 30);
        assert!(!owner.email_sealed.as_ref().unwrap().windows(4).any(|w| w == b"acme"));
        assert_eq!(keys.contact(&owner).unwrap().unwrap().expose(), "keys@acme.example");
        let again = keys.owner_named("acme".to_owned(), None, Some("other@acme.example")).await.unwrap();
        assert_eq!(again, owner);
        let elsewhere = keys.owner_named("acme".to_owned(), Some("t1".to_owned()), None).await.unwrap();
        assert_ne!(elsewhere.id, owner.id);
        assert_eq!(keys.owner(owner.id.clone()).await.unwrap(), Some(owner));
    });
}

#[test]
fn revoked_and_suspended_at_once_and_told_once() {
    everywhere(async |store| {
        let keys = store.keys();
        keys.insert(row(store, 1).await, by()).await.unwrap();
        let state = async || keys.by_id(id(1)).await.unwrap().unwrap().dates.state(NOW + 100);
        keys.suspend(id(1), NOW + 10, None, by()).await.unwrap();
        assert_eq!(state().await, State::Suspended);
        keys.resume(id(1), NOW + 20, None, by()).await.unwrap();
        assert_eq!(state().await, State::Active);
        keys.revoke(id(1), NOW + 30, "left the company".to_owned(), by()).await.unwrap();
        keys.revoke(id(1), NOW + 40, "again".to_owned(), by()).await.unwrap();
        assert_eq!(state().await, State::Revoked);
        let row = keys.by_id(id(1)).await.unwrap().unwrap();
        assert_eq!(
            (row.dates.revoked_at, row.revoked_reason.as_deref()),
            (Some(NOW + 30), Some("left the company"))
        );
        let feed = store.revocation().since(0, 100).await.unwrap();
        assert_eq!(feed.len(), 4, "made, suspended, resumed, revoked");
        assert!(feed.iter().all(|e| e.what.kind == RevocationKind::ApiKey && e.what.id == id(1).as_str()));
        let told = store.outbox().claim(NOW + 100, 60, 10).await.unwrap();
        assert_eq!(told.iter().map(|n| n.notice.kind.as_str()).collect::<Vec<_>>(), ["apikey.revoked"]);
        for result in [
            keys.revoke(id(8), NOW, String::new(), by()).await,
            keys.suspend(id(8), NOW, None, by()).await,
            keys.exposed(id(8), NOW).await,
        ] {
            assert_eq!(result, Err(StoreError::Missing));
        }
    });
}

#[test]
fn rotation_is_one_transaction() {
    everywhere(async |store| {
        let keys = store.keys();
        keys.insert(row(store, 1).await, by()).await.unwrap();
        let plain = Rotation::default();
        let at = NOW + DAY;
        let next = keys.rotate(id(1), at, plain, successor(2, at), by()).await.unwrap();
        assert_eq!(
            (next.predecessor, &next.scopes, next.env),
            (Some(id(1)), &vec!["orders.read".to_owned(), "orders.write".to_owned()], Env::Test)
        );
        let old = keys.by_id(id(1)).await.unwrap().unwrap();
        assert_eq!((old.successor, old.dates.deprecated_at), (Some(id(2)), Some(at)));
        assert_eq!(old.dates.state(at), State::Deprecated);
        assert_eq!(old.dates.state(at + 2 * DAY), State::Expired);

        let again = keys.rotate(id(1), at + 1, plain, successor(3, at), by()).await;
        assert_eq!(again, Err(RotateError::Conflict(Conflict::InProgress)));
        assert_eq!(keys.by_id(id(3)).await, Ok(None), "nothing of a refused rotation stays");
        let over = keys.rotate(id(1), at + 3 * DAY, plain, successor(3, at), by()).await;
        assert_eq!(over, Err(RotateError::Conflict(Conflict::NotRotatable)));
        let kind = Successor { material: Material::Hmac { sealed: vec![1] }, ..successor(3, at) };
        assert_eq!(keys.rotate(id(2), at, plain, kind, by()).await, Err(RotateError::OtherKind));
        assert_eq!(
            keys.rotate(id(8), at, plain, successor(3, at), by()).await,
            Err(RotateError::Store(StoreError::Missing))
        );
        assert_eq!(
            keys.rotate(id(2), at, plain, successor(1, at), by()).await,
            Err(RotateError::Store(StoreError::Exists))
        );
        let unchanged = keys.by_id(id(2)).await.unwrap().unwrap();
        assert_eq!((unchanged.successor, unchanged.dates.deprecated_at), (None, None), "rolled back");

        let compromised = Rotation { compromised: true, ..plain };
        keys.rotate(id(2), at + 5, compromised, successor(4, at + 5), by()).await.unwrap();
        let bad = keys.by_id(id(2)).await.unwrap().unwrap();
        assert_eq!(
            (bad.dates.state(at + 5), bad.revoked_reason.as_deref()),
            (State::Revoked, Some("compromised"))
        );
        let feed = store.revocation().since(0, 10).await.unwrap();
        assert_eq!(
            feed.iter().map(|e| e.what.id.as_str()).collect::<Vec<_>>(),
            [1, 1, 2, 2, 4].map(|n| id(n).as_str().to_owned()),
            "made, replaced by, made, replaced by, made"
        );
        let mut told: Vec<_> = store
            .outbox()
            .claim(NOW + 10 * DAY, 60, 10)
            .await
            .unwrap()
            .into_iter()
            .map(|n| (n.notice.subject, n.notice.kind))
            .collect();
        told.sort();
        let rotated = |n| (id(n).as_str().to_owned(), "apikey.rotated".to_owned());
        assert_eq!(
            told,
            [rotated(1), (id(2).as_str().to_owned(), "apikey.revoked".to_owned()), rotated(2)]
                .into_iter()
                .collect::<std::collections::BTreeSet<_>>()
                .into_iter()
                .collect::<Vec<_>>()
        );
    });
}

#[test]
fn rotation_on_first_use() {
    everywhere(async |store| {
        let keys = store.keys();
        keys.insert(row(store, 1).await, by()).await.unwrap();
        let rotation = Rotation { on_first_use: true, ..Rotation::default() };
        keys.rotate(id(1), NOW + 10, rotation, successor(2, NOW + 10), by()).await.unwrap();
        assert_eq!(keys.by_id(id(1)).await.unwrap().unwrap().dates.state(NOW + DAY), State::Active);
        let before = store.revocation().since(0, 10).await.unwrap().len();
        keys.touch(id(2), NOW + 2 * DAY);
        keys.flush_touches().await.unwrap();
        let old = keys.by_id(id(1)).await.unwrap().unwrap();
        assert_eq!((old.dates.deprecated_at, old.on_first_use), (Some(NOW + 2 * DAY), false));
        let new = keys.by_id(id(2)).await.unwrap().unwrap();
        assert_eq!((new.first_used, new.last_used), (Some(NOW + 2 * DAY), Some(NOW + 2 * DAY)));
        assert_eq!(
            store.revocation().since(0, 10).await.unwrap().len(),
            before + 1,
            "the predecessor's row is read again"
        );
        keys.touch(id(2), NOW + 3 * DAY);
        keys.flush_touches().await.unwrap();
        let new = keys.by_id(id(2)).await.unwrap().unwrap();
        assert_eq!((new.first_used, new.last_used), (Some(NOW + 2 * DAY), Some(NOW + 3 * DAY)));
        assert_eq!(keys.by_id(id(1)).await.unwrap().unwrap().dates.deprecated_at, Some(NOW + 2 * DAY));
    });
}

#[test]
fn use_is_counted_and_bounded() {
    everywhere(async |store| {
        let keys = store.keys();
        keys.insert(row(store, 1).await, by()).await.unwrap();
        let one = |source: String| Use {
            key: id(1),
            day: 20_000,
            source,
            user_agent_hash: "ua".to_owned(),
            count: 2,
        };
        keys.used((0..100).map(|n| one(format!("10.0.0.{n}"))).collect()).unwrap();
        keys.used(vec![one("10.0.0.1".to_owned())]).unwrap();
        let uses = keys.uses(id(1), 20_000).await.unwrap();
        assert_eq!(uses.len(), MAX_USES as usize);
        assert_eq!((uses[0].source.as_str(), uses[0].count), ("other", 2 * (100 - u64::from(MAX_USES) + 1)));
        assert_eq!((uses[1].source.as_str(), uses[1].count), ("10.0.0.1", 4));
        assert_eq!(uses.iter().map(|u| u.count).sum::<u64>(), 202);
        assert!(keys.uses(id(1), 20_001).await.unwrap().is_empty());
    });
}

#[test]
fn secrets_of_ended_keys_are_erased_after_thirty_days() {
    everywhere(async |store| {
        let keys = store.keys();
        keys.insert(row(store, 1).await, by()).await.unwrap();
        keys.insert(row(store, 2).await, by()).await.unwrap();
        keys.revoke(id(2), NOW + 100, "x".to_owned(), by()).await.unwrap();
        assert_eq!(keys.purge(NOW + 29 * DAY).await, Ok(0));
        assert_eq!(keys.purge(NOW + 100 + 30 * DAY).await, Ok(1), "revoked thirty days ago");
        let end = keys.by_id(id(1)).await.unwrap().unwrap().dates.ends_at();
        assert_eq!(keys.purge(end + 30 * DAY - 1).await, Ok(0));
        assert_eq!(keys.purge(end + 30 * DAY).await, Ok(1));
        assert_eq!(keys.purge(end + 30 * DAY).await, Ok(0));
        let row = keys.by_id(id(1)).await.unwrap().unwrap();
        assert_eq!(row.material, Material::Purged { kind: "bearer" });
    });
}

#[test]
fn the_feed_is_in_order() {
    everywhere(async |store| {
        let feed = store.revocation();
        let entry = |kind, id: &str, until| Revocation {
            kind,
            issuer: "https://as.example/".to_owned(),
            id: id.to_owned(),
            not_before: Some(NOW),
            until,
        };
        let kinds = [
            RevocationKind::Jti,
            RevocationKind::Sid,
            RevocationKind::Subject,
            RevocationKind::Client,
            RevocationKind::SigningKey,
        ];
        let first: Vec<_> = kinds.iter().map(|k| entry(*k, k.text(), NOW + 10)).collect();
        let last = feed.append(first.clone(), NOW, None, by()).await.unwrap();
        let more =
            feed.append(vec![entry(RevocationKind::Jti, "later", NOW + 20)], NOW, None, by()).await.unwrap();
        assert!(more > last);
        let all = feed.since(0, 100).await.unwrap();
        assert_eq!(all.iter().take(5).map(|e| e.what.clone()).collect::<Vec<_>>(), first);
        assert!(all.windows(2).all(|w| w[0].seq < w[1].seq));
        assert_eq!(feed.since(last, 100).await.unwrap().len(), 1);
        assert_eq!(feed.since(0, 2).await.unwrap().len(), 2);
        assert_eq!(feed.forget(NOW + 11).await, Ok(5));
        assert_eq!(feed.forget(NOW + 21).await, Ok(1));
        let next =
            feed.append(vec![entry(RevocationKind::Jti, "x", NOW + 30)], NOW, None, by()).await.unwrap();
        assert!(next > more, "numbers are never used again: {next} after {more}");
    });
}

#[test]
fn notices_once_each_and_leased() {
    everywhere(async |store| {
        let outbox = store.outbox();
        let notice = |bucket: &str, due| Notice {
            subject: "k1".to_owned(),
            kind: "apikey.rotation_due".to_owned(),
            bucket: bucket.to_owned(),
            due,
            payload: "{}".to_owned(),
        };
        assert_eq!(outbox.add(notice("7d", NOW)).await, Ok(true));
        assert_eq!(outbox.add(notice("7d", NOW + 5)).await, Ok(false));
        assert_eq!(outbox.add(notice("3d", NOW + 100)).await, Ok(true));
        let first = outbox.claim(NOW, 60, 10).await.unwrap();
        assert_eq!((first.len(), first[0].attempts, first[0].notice.clone()), (1, 0, notice("7d", NOW)));
        assert!(outbox.claim(NOW + 59, 60, 10).await.unwrap().is_empty(), "leased");
        let again = outbox.claim(NOW + 60, 60, 10).await.unwrap();
        assert_eq!((again[0].id, again[0].attempts), (first[0].id, 1), "after a crash, with the same id");
        outbox.later(first[0].id, NOW + 90).await.unwrap();
        assert!(outbox.claim(NOW + 89, 60, 10).await.unwrap().is_empty());
        let both = outbox.claim(NOW + 100, 60, 10).await.unwrap();
        assert_eq!(both.iter().map(|c| c.notice.bucket.as_str()).collect::<Vec<_>>(), ["7d", "3d"]);
        outbox.sent(both[0].id, NOW + 101).await.unwrap();
        outbox.dead(both[1].id, NOW + 101).await.unwrap();
        assert!(outbox.claim(NOW + 9_999, 60, 10).await.unwrap().is_empty());
        assert_eq!(outbox.add(notice("7d", NOW)).await, Ok(false), "never again");
        assert_eq!(outbox.sent(999, NOW).await, Err(StoreError::Missing));
    });
}

#[test]
fn system_secrets_are_born_once_and_versioned() {
    everywhere(async |store| {
        let secrets = store.secrets();
        let first = secrets.newest("api_key", NOW).await.unwrap();
        let again = secrets.newest("api_key", NOW + 1).await.unwrap();
        assert_eq!((first.version, again.version), (1, 1));
        assert_eq!(first.value.expose(), again.value.expose());
        assert_ne!(secrets.newest("csrf", NOW).await.unwrap().value.expose(), first.value.expose());
        let second = secrets.renew("api_key", NOW + 2).await.unwrap();
        assert_eq!(second.version, 2);
        assert_eq!(secrets.newest("api_key", NOW).await.unwrap().value.expose(), second.value.expose());
        let all = secrets.all("api_key").await.unwrap();
        assert_eq!(all.iter().map(|s| s.version).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(all[0].value.expose(), first.value.expose());
    });
}

#[test]
fn single_use() {
    everywhere(async |store| {
        let replay = store.replay();
        assert_eq!(replay.lost_at(), None, "a first start has lost nothing");
        for kind in [
            ReplayKind::Signature,
            ReplayKind::Dpop,
            ReplayKind::ClientAssertion,
            ReplayKind::LogoutToken,
            ReplayKind::SamlAssertion,
        ] {
            let key = ReplayKey::new(kind, &["k1", "n1"]);
            let put = async |now| replay.put_if_absent(kind, key, now + 100, now).await;
            assert_eq!(put(NOW).await, Presented::Fresh, "{kind:?}");
            assert_eq!(put(NOW).await, Presented::Seen);
            assert_eq!(put(NOW + 100).await, Presented::Seen, "until its very end");
            assert_eq!(put(NOW + 101).await, Presented::Fresh, "then its time has refused it before");
            assert_eq!(put(NOW + 101).await, Presented::Seen);
            let other = ReplayKey::new(kind, &["k1", "n2"]);
            assert_eq!(replay.put_if_absent(kind, other, NOW + 9, NOW).await, Presented::Fresh);
        }
    });
}

#[test]
fn of_sixty_four_parallel_replays_one_is_fresh() {
    everywhere(async |store| {
        for kind in [ReplayKind::Signature, ReplayKind::ClientAssertion] {
            for round in 0..20 {
                let key = ReplayKey::new(kind, &["k1", &round.to_string()]);
                let fresh = AtomicU32::new(0);
                std::thread::scope(|s| {
                    for _ in 0..8 {
                        s.spawn(|| {
                            run(async {
                                let replay = store.replay();
                                let one = || replay.put_if_absent(kind, key, NOW + 630, NOW);
                                let (a, b, c, d) = tokio::join!(one(), one(), one(), one());
                                let (e, f, g, h) = tokio::join!(one(), one(), one(), one());
                                let all = [a, b, c, d, e, f, g, h];
                                assert!(!all.contains(&Presented::Unavailable));
                                let n = all.iter().filter(|p| **p == Presented::Fresh).count();
                                fresh.fetch_add(n as u32, Ordering::SeqCst);
                            });
                        });
                    }
                });
                assert_eq!(fresh.load(Ordering::SeqCst), 1, "{kind:?}");
            }
        }
    });
}

#[test]
fn a_full_replay_store_accepts_nothing() {
    let folder = Folder::new();
    for place in [Place::Memory, folder.place()] {
        let store = Store::open(&place, Options { replay_capacity: 100, ..options() }, NOW).unwrap();
        run(async {
            let replay = store.replay();
            let put = async |n: u32, now| {
                let key = ReplayKey::new(ReplayKind::Signature, &["k", &n.to_string()]);
                replay.put_if_absent(ReplayKind::Signature, key, NOW + 100, now).await
            };
            for n in 0..100 {
                assert_eq!(put(n, NOW).await, Presented::Fresh);
            }
            for n in 100..110 {
                assert_eq!(put(n, NOW + 50).await, Presented::Unavailable);
            }
            assert_eq!(put(200, NOW + 101).await, Presented::Fresh, "what has expired makes room");
        });
    }
}

#[test]
fn a_slow_replay_store_is_unavailable_in_time() {
    let folder = Folder::new();
    let patience = Duration::from_millis(50);
    let store =
        Store::open(&folder.place(), Options { replay_patience: patience, ..options() }, NOW).unwrap();
    let blocker = rusqlite::Connection::open(folder.0.join("replay.db")).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let key = ReplayKey::new(ReplayKind::Signature, &["k", "n"]);
    let put =
        |key| run(async { store.replay().put_if_absent(ReplayKind::Signature, key, NOW + 630, NOW).await });
    let begin = std::time::Instant::now();
    assert_eq!(put(key), Presented::Unavailable);
    let waited = begin.elapsed();
    assert!(waited < Duration::from_millis(500), "{waited:?}");
    blocker.execute_batch("COMMIT").unwrap();
    std::thread::sleep(Duration::from_millis(100));
    // What was answered "unavailable" is fresh or seen later, and never fresh twice.
    let answers = [put(key), put(key)];
    assert!(
        answers == [Presented::Fresh, Presented::Seen] || answers == [Presented::Seen, Presented::Seen],
        "{answers:?}"
    );
    println!("a locked replay store was unavailable after {waited:?}");
}

#[test]
fn a_closed_store_is_unavailable() {
    everywhere(async |store| {
        store.close();
        assert_eq!(store.keys().by_id(id(1)).await, Err(StoreError::Unavailable));
        let key = ReplayKey::new(ReplayKind::Dpop, &["k", "n"]);
        assert_eq!(
            store.replay().put_if_absent(ReplayKind::Dpop, key, NOW + 1, NOW).await,
            Presented::Unavailable
        );
    });
}

#[test]
fn everything_outlives_a_restart() {
    let folder = Folder::new();
    let key = ReplayKey::new(ReplayKind::Signature, &["k", "n"]);
    let secret = {
        let store = open(&folder.place());
        assert!(store.is_durable());
        run(async {
            store.keys().insert(row(&store, 1).await, by()).await.unwrap();
            store.keys().touch(id(1), NOW + 7);
            assert_eq!(
                store.replay().put_if_absent(ReplayKind::Signature, key, NOW + 630, NOW).await,
                Presented::Fresh
            );
            store.secrets().newest("api_key", NOW).await.unwrap()
        })
    };
    let store = open(&folder.place());
    run(async {
        assert_eq!(
            store.replay().put_if_absent(ReplayKind::Signature, key, NOW + 630, NOW).await,
            Presented::Seen
        );
        assert_eq!(store.replay().lost_at(), None);
        assert_eq!(
            store.secrets().newest("api_key", NOW).await.unwrap().value.expose(),
            secret.value.expose()
        );
        let row = store.keys().by_id(id(1)).await.unwrap().unwrap();
        assert_eq!(row.last_used, Some(NOW + 7), "uses are written at the end");
        let owner = store.keys().owner(row.owner).await.unwrap().unwrap();
        assert_eq!(store.keys().contact(&owner).unwrap().unwrap().expose(), "keys@acme.example");
    });
}

#[test]
fn two_handles_on_the_same_files() {
    let folder = Folder::new();
    let (a, b) = (open(&folder.place()), open(&folder.place()));
    run(async {
        a.keys().insert(row(&a, 1).await, by()).await.unwrap();
        assert!(b.keys().by_id(id(1)).await.unwrap().is_some());
        b.keys().revoke(id(1), NOW + 5, "x".to_owned(), by()).await.unwrap();
        assert_eq!(a.revocation().since(0, 10).await.unwrap().len(), 2, "the feed tells the other");
        assert_eq!(a.keys().by_id(id(1)).await.unwrap().unwrap().dates.state(NOW + 6), State::Revoked);
        let (x, y) = (
            a.secrets().newest("api_key", NOW).await.unwrap(),
            b.secrets().newest("api_key", NOW).await.unwrap(),
        );
        assert_eq!(x.value.expose(), y.value.expose());
    });
    let fresh = AtomicU32::new(0);
    std::thread::scope(|s| {
        for store in [&a, &b] {
            let fresh = &fresh;
            s.spawn(move || {
                run(async {
                    for n in 0..300 {
                        let key = ReplayKey::new(ReplayKind::Dpop, &["k", &n.to_string()]);
                        // The other handle may hold the file: refused, so it may be tried again.
                        let mut told = Presented::Unavailable;
                        while told == Presented::Unavailable {
                            told = store.replay().put_if_absent(ReplayKind::Dpop, key, NOW + 130, NOW).await;
                        }
                        fresh.fetch_add(u32::from(told == Presented::Fresh), Ordering::SeqCst);
                    }
                });
            });
        }
    });
    assert_eq!(fresh.load(Ordering::SeqCst), 300);
}

#[test]
fn a_lost_replay_memory_is_noticed() {
    let folder = Folder::new();
    drop(open(&folder.place()));
    for name in ["replay.db", "replay.db-wal", "replay.db-shm"] {
        let _ = std::fs::remove_file(folder.0.join(name));
    }
    let lost = NOW + 1_000;
    let store = Store::open(&folder.place(), options(), lost).unwrap();
    assert_eq!(store.replay().lost_at(), Some(lost));
    drop(store);
    let store = Store::open(&folder.place(), options(), lost + 5).unwrap();
    assert_eq!(store.replay().lost_at(), Some(lost), "also after a restart within the time");
    drop(store);
    // An older copy of the file is a loss too.
    let other = Folder::new();
    drop(open(&other.place()));
    std::fs::copy(other.0.join("replay.db"), folder.0.join("replay.db")).unwrap();
    let store = Store::open(&folder.place(), options(), lost + 9).unwrap();
    assert_eq!(store.replay().lost_at(), Some(lost + 9));
}

#[test]
fn files_are_private_and_newer_schemas_refused() {
    let folder = Folder::new();
    drop(open(&folder.place()));
    #[cfg(unix)]
    for entry in std::fs::read_dir(&folder.0).unwrap() {
        use std::os::unix::fs::PermissionsExt as _;
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", entry.path());
    }
    let db = rusqlite::Connection::open(folder.0.join("portcullis.db")).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    drop(db);
    assert!(matches!(Store::open(&folder.place(), options(), NOW), Err(OpenError::Database(_))));
}

#[test]
fn nothing_secret_lies_open_in_the_file() {
    let folder = Folder::new();
    let store = open(&folder.place());
    let pepper = run(async {
        let sealed = store.keys().seal_secret(id(2), b"0123456789abcdef0123456789abcdef").unwrap();
        let hmac = KeyRow { material: Material::Hmac { sealed }, ..row(&store, 2).await };
        store.keys().insert(hmac, by()).await.unwrap();
        store.secrets().newest("api_key", NOW).await.unwrap()
    });
    drop(store);
    for entry in std::fs::read_dir(&folder.0).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        for secret in [b"0123456789abcdef".as_slice(), b"keys@acme", pepper.value.expose().as_slice()] {
            assert!(!bytes.windows(secret.len()).any(|w| w == secret), "{path:?}");
        }
    }
}

/// The child of the next test: presents nonces and says so until it is killed.
#[test]
fn child_that_is_killed() {
    let Ok(folder) = std::env::var("PORTCULLIS_STORE_TEST_CHILD") else { return };
    let store = Arc::new(open(&Place::Folder(PathBuf::from(folder))));
    run(async {
        for n in 0_u64.. {
            let key = ReplayKey::new(ReplayKind::Signature, &["k", &n.to_string()]);
            let told = store.replay().put_if_absent(ReplayKind::Signature, key, NOW + 630, NOW).await;
            let durable = ReplayKey::new(ReplayKind::ClientAssertion, &["k", &n.to_string()]);
            let also =
                store.replay().put_if_absent(ReplayKind::ClientAssertion, durable, NOW + 630, NOW).await;
            if (told, also) == (Presented::Fresh, Presented::Fresh) {
                eprintln!("fresh {n}");
            }
        }
    });
}

#[test]
fn kill_nine_forgets_no_nonce() {
    use std::io::{BufRead as _, BufReader};
    let folder = Folder::new();
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "contract::child_that_is_killed", "--nocapture"])
        .env("PORTCULLIS_STORE_TEST_CHILD", &folder.0)
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut told = Vec::new();
    for line in lines {
        let line = line.unwrap();
        if let Some(n) = line.strip_prefix("fresh ") {
            told.push(n.to_owned());
        }
        if told.len() == 100 {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(told.len() >= 100, "{}", told.len());
    let store = open(&folder.place());
    assert_eq!(store.replay().lost_at(), None);
    run(async {
        for n in &told {
            for kind in [ReplayKind::Signature, ReplayKind::ClientAssertion] {
                let key = ReplayKey::new(kind, &["k", n]);
                assert_eq!(
                    store.replay().put_if_absent(kind, key, NOW + 630, NOW + 1).await,
                    Presented::Seen,
                    "{n}"
                );
            }
        }
    });
    println!("{} nonces of a killed process are all seen", told.len());
}

#[test]
fn documents_are_sealed_and_versioned_and_a_lease_has_one_holder() {
    everywhere(async |store| {
        let kept = store.kept();
        assert!(kept.get("certificate").await.unwrap().is_none());
        assert_eq!(kept.put("certificate", b"one", NOW).await, Ok(1));
        assert_eq!(kept.put("certificate", b"two", NOW + 1).await, Ok(2));
        let document = kept.get("certificate").await.unwrap().unwrap();
        assert_eq!((document.version, document.written), (2, NOW + 1));
        assert_eq!(document.value.expose(), b"two");
        assert_eq!(kept.first("certificate", b"three", NOW).await.unwrap().value.expose(), b"two");
        assert_eq!(kept.first("backup", b"mine", NOW).await.unwrap().value.expose(), b"mine");
        assert_eq!(
            kept.put("large", &vec![0; crate::kept::MAX_DOCUMENT + 1], NOW).await,
            Err(StoreError::Broken)
        );
        assert_eq!(kept.remove("backup").await, Ok(true));
        assert_eq!(kept.remove("backup").await, Ok(false));

        assert_eq!(kept.lease("acme", "a", NOW, 60).await, Ok(true));
        assert_eq!(kept.lease("acme", "b", NOW + 59, 60).await, Ok(false));
        assert_eq!(kept.lease("acme", "a", NOW + 59, 60).await, Ok(true), "prolonged");
        assert_eq!(kept.lease("acme", "b", NOW + 61, 60).await, Ok(false));
        assert_eq!(kept.lease("acme", "b", NOW + 119, 60).await, Ok(true), "the first holder is gone");
        kept.end_lease("acme", "a").await.unwrap();
        assert_eq!(kept.lease("acme", "c", NOW + 120, 60).await, Ok(false), "not his to give back");
        kept.end_lease("acme", "b").await.unwrap();
        assert_eq!(kept.lease("acme", "c", NOW + 120, 60).await, Ok(true));
    });
}

/// Event, target and reason of each entry.
fn told(folder: &Folder) -> Vec<(String, String)> {
    let mut entries = Vec::new();
    let take = |line: crate::ledger::verify::Line| {
        let entry = line.entry.unwrap();
        let member = |name: &str| {
            let (_, rest) = entry.split_once(&format!("\"{name}\":\"")).unwrap();
            rest.split('"').next().unwrap().to_owned()
        };
        entries.push((member("event"), member("target")));
    };
    crate::ledger::Transcript::open(&folder.0).unwrap().entries(0, take).unwrap();
    entries
}

#[test]
fn every_change_is_in_the_ledger_once_and_what_changes_nothing_is_not() {
    let folder = Folder::new();
    let store = open(&folder.place());
    run(async {
        let keys = store.keys();
        keys.insert(row(&store, 1).await, by()).await.unwrap();
        assert_eq!(keys.insert(row(&store, 1).await, by()).await, Err(StoreError::Exists));
        for _ in 0..2 {
            keys.suspend(id(1), NOW + 1, Some("looked at".to_owned()), by()).await.unwrap();
        }
        for _ in 0..2 {
            keys.resume(id(1), NOW + 2, None, by()).await.unwrap();
        }
        keys.rotate(id(1), NOW + 3, Rotation::default(), successor(2, NOW + 3), by()).await.unwrap();
        let again = keys.rotate(id(1), NOW + 3, Rotation::default(), successor(3, NOW + 3), by()).await;
        assert_eq!(again, Err(RotateError::Conflict(Conflict::InProgress)));
        for _ in 0..2 {
            keys.exposed(id(2), NOW + 4).await.unwrap();
            keys.revoke(id(2), NOW + 5, "x".to_owned(), by()).await.unwrap();
        }
        assert_eq!(keys.revoke(id(9), NOW, "x".to_owned(), by()).await, Err(StoreError::Missing));
        let token = Revocation {
            kind: RevocationKind::Jti,
            issuer: "https://login.example.com/".to_owned(),
            id: "t-1".to_owned(),
            not_before: None,
            until: NOW + DAY,
        };
        store.revocation().append(vec![token], NOW + 6, None, by()).await.unwrap();
        assert_eq!(keys.purge(NOW + 40 * DAY).await, Ok(2));
    });
    let (one, two) = (id(1).to_string(), id(2).to_string());
    let expected = [
        ("key.created", &one),
        ("key.suspended", &one),
        ("key.resumed", &one),
        ("key.rotated", &one),
        ("key.exposed", &two),
        ("key.revoked", &two),
        ("token.revoked", &"t-1".to_owned()),
        ("key.purged", &one),
        ("key.purged", &two),
    ];
    assert_eq!(told(&folder), expected.map(|(event, target)| (event.to_owned(), target.clone())));
    let report = crate::ledger::Transcript::open(&folder.0).unwrap().verify(&[], &[]).unwrap();
    assert!(report.is_intact(), "{:?}", report.faults);
    assert_eq!(report.unsigned, Some((1, 9)));
}

#[test]
fn handles_that_write_at_the_same_time_make_one_chain() {
    let folder = Folder::new();
    drop(open(&folder.place()));
    let deed = |n: i64| crate::ledger::Deed {
        at: NOW + n,
        event: "plan.reloaded",
        by: By::program(),
        target: n.to_string(),
        reason: None,
        detail: Vec::new(),
    };
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let place = folder.place();
            scope.spawn(move || {
                let store = open(&place);
                run(async {
                    for n in 0..25 {
                        // A lock that is held for long is told as such, and asked for again.
                        while store.ledger().append(deed(writer * 100 + n)).await
                            == Err(StoreError::Unavailable)
                        {}
                    }
                });
            });
        }
    });
    let mut seen: Vec<String> = told(&folder).into_iter().map(|(_, target)| target).collect();
    assert_eq!(seen.len(), 100);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 100, "each once");
    let report = crate::ledger::Transcript::open(&folder.0).unwrap().verify(&[], &[]).unwrap();
    assert!(report.is_intact(), "{:?}", report.faults);
}

#[test]
fn the_ledger_is_append_only_for_the_program_too() {
    let folder = Folder::new();
    let store = open(&folder.place());
    run(async { store.keys().insert(row(&store, 1).await, by()).await.unwrap() });
    let db = rusqlite::Connection::open(folder.0.join("portcullis.db")).unwrap();
    for sql in ["DELETE FROM ledger", "UPDATE ledger SET entry = '{}'"] {
        let error = db.execute(sql, []).unwrap_err().to_string();
        assert!(error.contains("append-only"), "{error}");
    }
}
