#![expect(clippy::string_slice, reason = "tests")]

use super::*;
use crate::issue::{self, Issued, Order};
use crate::revocation::Revoked;
use portcullis_core::opaque::Kind;
use portcullis_core::time::{Clock as _, ManualClock};
use portcullis_jose::api_key::{MAX_ROTATE, Rotation};
use portcullis_store::ledger::By;
use portcullis_store::{Options, Place as StorePlace};

const BORN: i64 = 1_767_225_600;
const DAY: i64 = 86_400;
const HOUR: i64 = 3_600;

fn by() -> By {
    By::job()
}

fn at(secs: i64) -> Now {
    Now::from_secs(secs)
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
}

async fn open() -> (Store, ApiKeys) {
    let patience = std::time::Duration::from_secs(20);
    let store = Store::open(&StorePlace::Memory, Options { patience, ..Options::default() }, BORN).unwrap();
    let keys = ApiKeys::open(store.clone(), at(BORN)).await.unwrap();
    (store, keys)
}

fn order() -> Order {
    Order {
        used: issue::Use::Bearer,
        env: Env::Live,
        name: "billing".to_owned(),
        owner: "acme".to_owned(),
        tenant: None,
        scopes: vec!["orders.read".to_owned()],
        apis: vec!["shop:listOrders".to_owned(), "admin".to_owned()],
        ip_allow: Vec::new(),
        attributes: r#"{"plan":"gold","org":7}"#.to_owned(),
        activate_at: None,
        expires_at: None,
        contact: None,
        rotate_every: MAX_ROTATE,
        grace: 48 * HOUR,
    }
}

fn text(issued: &Issued) -> String {
    issued.secret.as_ref().unwrap().expose().clone()
}

async fn verdict(keys: &ApiKeys, text: &str, now: i64) -> String {
    match keys.verify(text, Env::Live, at(now)).await {
        Ok((_, state)) => state.text().to_owned(),
        Err(NotAccepted::Invalid(reason)) => format!("invalid {reason}"),
        Err(NotAccepted::Expired) => "expired, told".to_owned(),
        Err(NotAccepted::Unavailable(error)) => error.text().to_owned(),
    }
}

/// No job, no feed, no notice: the row and the clock alone.
#[test]
fn a_key_passes_through_all_states_at_the_exact_second_with_every_job_dead() {
    run(async {
        let (store, keys) = open().await;
        let clock = ManualClock::new(at(BORN));
        let issued = issue::create(&store, Order { activate_at: Some(BORN + HOUR), ..order() }, BORN, by())
            .await
            .unwrap();
        let key = text(&issued);
        let edges = [
            (BORN, "invalid pending"),
            (BORN + HOUR, "active"),
            (BORN + 83 * DAY, "due"),
            (BORN + 90 * DAY, "deprecated"),
            (BORN + 92 * DAY, "expired, told"),
            (BORN + 122 * DAY, "invalid purged"),
        ];
        for (place, (edge, state)) in edges.iter().enumerate() {
            if let Some((_, before)) = place.checked_sub(1).map(|p| edges[p]) {
                clock.set(at(edge - 1));
                assert_eq!(verdict(&keys, &key, clock.now().secs()).await, before, "a second before {state}");
            }
            clock.set(at(*edge));
            assert_eq!(verdict(&keys, &key, clock.now().secs()).await, *state);
        }
        store.keys().purge(BORN + 122 * DAY).await.unwrap();
        keys.changed(&issued.row.id);
        let purged = "invalid key-unknown-or-secret-wrong";
        assert_eq!(verdict(&keys, &key, BORN + 122 * DAY).await, purged, "and nothing secret is left");
        assert!(store.keys().by_id(issued.row.id).await.unwrap().is_some(), "but the id, for the audit");
    });
}

#[test]
fn grace_of_24_48_and_72_hours_ends_to_the_second() {
    run(async {
        let (store, keys) = open().await;
        for hours in [24, 48, 72] {
            let old = issue::create(&store, order(), BORN, by()).await.unwrap();
            let rotation = Rotation { grace: Some(hours * HOUR), ..Rotation::default() };
            let every = (MAX_ROTATE, 48 * HOUR);
            let next =
                issue::rotate(&store, old.row.id, rotation, None, every, BORN + DAY, by()).await.unwrap();
            let end = BORN + DAY + hours * HOUR;
            assert_eq!(verdict(&keys, &text(&old), end - 1).await, "deprecated");
            assert_eq!(verdict(&keys, &text(&old), end).await, "expired, told");
            assert_eq!(verdict(&keys, &text(&next), end).await, "active");
        }
        let bad = Rotation { grace: Some(73 * HOUR), ..Rotation::default() };
        let key = issue::create(&store, order(), BORN, by()).await.unwrap();
        let refused = issue::rotate(&store, key.row.id, bad, None, (MAX_ROTATE, 48 * HOUR), BORN, by()).await;
        assert!(matches!(refused, Err(issue::IssueError::Order(_))));
    });
}

#[test]
fn garbage_costs_no_look_up() {
    run(async {
        let (store, keys) = open().await;
        let key = text(&issue::create(&store, order(), BORN, by()).await.unwrap());
        let last = if key.ends_with('0') { "1" } else { "0" };
        let flipped = format!("{}{last}", &key[..key.len() - 1]);
        let test_key = ApiKey::new(Env::Test, [1; 10], [2; 32]).text().expose().clone();
        let long = format!("{key}0");
        let wrong = [
            "",
            "pck_live_",
            "Bearer x",
            &flipped,
            &key[..74],
            &long,
            &key.to_uppercase(),
            &key.replace("live", "test"),
            &key.replace("pck", "pch"),
            &test_key,
            &format!(" {key}"),
            &"x".repeat(1 << 20),
        ];
        for text in wrong {
            assert!(
                verdict(&keys, text, BORN).await.starts_with("invalid "),
                "{}",
                &text[..text.len().min(80)]
            );
        }
        for n in 0..1_000 {
            let mut bytes = key.clone().into_bytes();
            bytes[26 + n % 43] = if bytes[26 + n % 43] == b'A' { b'B' } else { b'A' };
            assert!(verdict(&keys, std::str::from_utf8(&bytes).unwrap(), BORN).await.starts_with("invalid"));
        }
        assert_eq!(keys.lookups(), 0, "a bad checksum costs no store access");
        assert_eq!(verdict(&keys, &key, BORN).await, "active");
        assert_eq!(keys.lookups(), 1);
    });
}

#[test]
fn unknown_ids_wrong_secrets_and_other_kinds_are_the_same_to_a_stranger() {
    run(async {
        let (store, keys) = open().await;
        let known = issue::create(&store, order(), BORN, by()).await.unwrap();
        let hmac =
            issue::create(&store, Order { used: issue::Use::Hmac, ..order() }, BORN, by()).await.unwrap();
        let forged = |id: &Id16| {
            // Anybody can make a right checksum for an id that stands in a log.
            let crafted = ApiKey::new(Env::Live, bits(id), [9; 32]);
            assert_eq!(crafted.id(), *id);
            crafted.text().expose().clone()
        };
        let unknown = Id16::from_random([0xee; 10]);
        let same = "invalid key-unknown-or-secret-wrong";
        for id in [&known.row.id, &unknown, &hmac.row.id] {
            assert_eq!(verdict(&keys, &forged(id), BORN).await, same);
        }
        let signing = Kind::SigningSecret.parse(&text(&hmac)).unwrap();
        let as_bearer = ApiKey::new(Env::Live, bits(&hmac.row.id), *signing.expose());
        assert_eq!(verdict(&keys, as_bearer.text().expose(), BORN).await, same, "what signs is never sent");
        store.keys().revoke(known.row.id, BORN + 1, "left".to_owned(), by()).await.unwrap();
        keys.changed(&known.row.id);
        assert_eq!(verdict(&keys, &text(&known), BORN + 1).await, "invalid revoked");
        assert_eq!(
            verdict(&keys, &forged(&known.row.id), BORN + 200 * DAY).await,
            same,
            "expired: told to its owner alone"
        );
    });
}

/// The ten bytes that an id was made of.
fn bits(id: &Id16) -> [u8; 10] {
    const DIGITS: &[u8] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let number = id
        .as_str()
        .bytes()
        .fold(0_u128, |acc, b| acc << 5 | DIGITS.iter().position(|d| *d == b).unwrap() as u128);
    number.to_be_bytes()[6..].try_into().unwrap()
}

#[test]
fn rows_serve_a_minute_and_unknown_ids_half_of_it() {
    run(async {
        let (store, keys) = open().await;
        let key = text(&issue::create(&store, order(), BORN, by()).await.unwrap());
        let stranger = ApiKey::new(Env::Live, [7; 10], [7; 32]).text().expose().clone();
        for (now, looked) in [(0, 2), (29, 2), (30, 3), (59, 3), (60, 5), (89, 5), (90, 6)] {
            verdict(&keys, &key, BORN + now).await;
            verdict(&keys, &stranger, BORN + now).await;
            assert_eq!(keys.lookups(), looked, "after {now} s");
        }
    });
}

#[test]
fn the_feed_drops_a_row_and_a_new_key_clears_its_own_absence() {
    run(async {
        let (store, keys) = open().await;
        let revoked = Revoked::new();
        let catch_up = async || {
            revoked.catch_up(&store, at(BORN), &|id| keys.changed(id)).await.unwrap();
        };
        let issued = issue::create(&store, order(), BORN, by()).await.unwrap();
        let key = text(&issued);
        assert_eq!(verdict(&keys, &key, BORN).await, "active");
        issue::suspend(&store, issued.row.id, None, BORN, by()).await.unwrap();
        assert_eq!(verdict(&keys, &key, BORN).await, "active", "nobody has told this node yet");
        catch_up().await;
        assert_eq!(verdict(&keys, &key, BORN).await, "invalid suspended");
        issue::resume(&store, issued.row.id, None, BORN, by()).await.unwrap();
        catch_up().await;
        assert_eq!(verdict(&keys, &key, BORN).await, "active");
        issue::revoke(&store, issued.row.id, "left".to_owned(), BORN, by()).await.unwrap();
        catch_up().await;
        assert_eq!(verdict(&keys, &key, BORN).await, "invalid revoked");
        assert!(matches!(
            issue::resume(&store, issued.row.id, None, BORN, by()).await,
            Err(issue::IssueError::Conflict("key-has-ended"))
        ));

        // Asked for before it exists: by a client that was quicker than the feed.
        let (early, row) = {
            let mut row = issued.row.clone();
            row.id = Id16::from_random([3; 10]);
            row.dates = portcullis_jose::api_key::Dates::new(BORN, MAX_ROTATE, 48 * HOUR);
            (ApiKey::new(Env::Live, [3; 10], [4; 32]), row)
        };
        let pepper = store.secrets().newest(PEPPER, BORN).await.unwrap();
        let mac = portcullis_jose::api_key::mac(&MacKey::new(pepper.value.expose()), &early);
        let row = KeyRow { material: Material::Bearer { mac, pepper_version: pepper.version }, ..row };
        let early = early.text().expose().clone();
        assert!(verdict(&keys, &early, BORN).await.starts_with("invalid"));
        store.keys().insert(row.clone(), by()).await.unwrap();
        assert!(verdict(&keys, &early, BORN).await.starts_with("invalid"), "remembered not to exist");
        keys.changed(&row.id);
        assert_eq!(verdict(&keys, &early, BORN).await, "active");
    });
}

#[test]
fn the_first_use_of_a_successor_deprecates_its_predecessor() {
    run(async {
        let (store, keys) = open().await;
        let old = issue::create(&store, order(), BORN, by()).await.unwrap();
        let rotation = Rotation { on_first_use: true, ..Rotation::default() };
        let every = (MAX_ROTATE, 48 * HOUR);
        let next = issue::rotate(&store, old.row.id, rotation, None, every, BORN + DAY, by()).await.unwrap();
        assert_eq!(verdict(&keys, &text(&old), BORN + 5 * DAY).await, "active");
        let now = BORN + 6 * DAY;
        let (known, state) = keys.verify(&text(&next), Env::Live, at(now)).await.ok().unwrap();
        keys.used(&known, state, at(now), "192.0.2.7".parse().unwrap(), b"curl");
        store.keys().flush_touches().await.unwrap();
        keys.changed(&old.row.id);
        assert_eq!(verdict(&keys, &text(&old), now).await, "deprecated");
        assert_eq!(verdict(&keys, &text(&old), now + 48 * HOUR).await, "expired, told");
        let again = issue::rotate(&store, old.row.id, rotation, None, every, now, by()).await;
        assert!(matches!(again, Err(issue::IssueError::Conflict("key-rotation-in-progress"))));
        let compromised = Rotation { compromised: true, ..Rotation::default() };
        issue::rotate(&store, next.row.id, compromised, None, every, now, by()).await.unwrap();
        keys.changed(&next.row.id);
        assert_eq!(verdict(&keys, &text(&next), now).await, "invalid revoked", "grace 0");
        let dead = issue::rotate(&store, next.row.id, Rotation::default(), None, every, now, by()).await;
        assert!(matches!(dead, Err(issue::IssueError::Conflict("key-not-rotatable"))));
    });
}

#[test]
fn a_new_pepper_serves_new_keys_and_the_old_one_the_old() {
    run(async {
        let (store, keys) = open().await;
        let old = text(&issue::create(&store, order(), BORN, by()).await.unwrap());
        store.secrets().renew(PEPPER, BORN).await.unwrap();
        let new = issue::create(&store, order(), BORN, by()).await.unwrap();
        assert!(matches!(new.row.material, Material::Bearer { pepper_version: 2, .. }));
        assert_eq!(verdict(&keys, &text(&new), BORN).await, "active");
        assert_eq!(verdict(&keys, &old, BORN).await, "active");
    });
}

#[test]
fn where_and_for_what_it_may_be_used() {
    run(async {
        let (store, keys) = open().await;
        let networks = vec!["10.0.0.0/8".to_owned(), "2001:db8::/32".to_owned()];
        let key =
            text(&issue::create(&store, Order { ip_allow: networks, ..order() }, BORN, by()).await.unwrap());
        let (known, _) = keys.verify(&key, Env::Live, at(BORN)).await.ok().unwrap();
        for (address, may) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("2001:db8::1", true),
            ("192.0.2.7", false),
            ("::1", false),
        ] {
            assert_eq!(known.may_come_from(address.parse().unwrap()), may, "{address}");
        }
        for (api, operation, may) in [
            ("shop", "listOrders", true),
            ("shop", "createOrder", false),
            ("admin", "anything", true),
            ("sho", "listOrders", false),
        ] {
            assert_eq!(known.is_for(api, operation), may, "{api}:{operation}");
        }
        let claims = &known.claims;
        assert_eq!(claims.text_at("/plan").as_deref(), Some("gold"));
        assert_eq!(claims.text_at("/org").as_deref(), Some("7"));
        assert_eq!(claims.text_at("/sub").as_deref(), Some(known.row.owner.as_str()));
        let bent =
            RegisteredKey::new(KeyRow { ip_allow: vec!["10.0.0.0/99".to_owned()], ..known.row.clone() });
        assert!(!bent.may_come_from("10.0.0.1".parse().unwrap()), "what cannot be read allows nothing");
    });
}

#[test]
fn a_key_that_is_shown_is_marked_once_and_goes_on_working() {
    run(async {
        let (store, keys) = open().await;
        let issued = issue::create(&store, order(), BORN, by()).await.unwrap();
        let key = text(&issued);
        let forged = ApiKey::new(Env::Live, bits(&issued.row.id), [9; 32]);
        keys.found_exposed(forged, Place::Url);
        keys.found_exposed(ApiKey::new(Env::Live, [8; 10], [8; 32]), Place::Url);
        assert!(keys.mark_exposed(at(BORN)).await.unwrap().is_empty(), "an id alone is no secret");
        for _ in 0..3 {
            keys.found_exposed(ApiKey::parse(&key).ok().unwrap(), Place::Cookie);
        }
        let ours = keys.mark_exposed(at(BORN + 1)).await.unwrap();
        assert_eq!(ours, vec![(issued.row.id, Place::Cookie); 3]);
        assert_eq!(verdict(&keys, &key, BORN + 2).await, "active");
        let row = store.keys().by_id(issued.row.id).await.unwrap().unwrap();
        assert_eq!(row.exposed_at, Some(BORN + 1));
        let notices = store.outbox().claim(BORN + 2, 60, 10).await.unwrap();
        assert_eq!(notices.iter().map(|n| n.notice.kind.as_str()).collect::<Vec<_>>(), ["apikey.exposed"]);
    });
}

#[test]
fn uses_of_a_deprecated_key_are_counted_by_source() {
    run(async {
        let (store, keys) = open().await;
        let old = issue::create(&store, order(), BORN, by()).await.unwrap();
        let (fresh, state) = keys.verify(&text(&old), Env::Live, at(BORN)).await.ok().unwrap();
        keys.used(&fresh, state, at(BORN), "192.0.2.7".parse().unwrap(), b"curl");
        assert!(keys.flush_uses().unwrap().is_empty(), "an active key is not watched");
        let now = BORN + 91 * DAY;
        let (known, state) = keys.verify(&text(&old), Env::Live, at(now)).await.ok().unwrap();
        for n in 0..10_u32 {
            let source = if n < 7 { "192.0.2.7" } else { "2001:db8::1" };
            keys.used(&known, state, at(now), source.parse().unwrap(), b"curl");
        }
        assert_eq!(keys.flush_uses().unwrap(), [old.row.id]);
        let uses = store.keys().uses(old.row.id, now / DAY).await.unwrap();
        let told: Vec<_> = uses.iter().map(|u| (u.source.as_str(), u.count)).collect();
        assert_eq!(told, [("192.0.2.7", 7), ("2001:db8::1", 3)]);
        assert!(uses.iter().all(|u| u.user_agent_hash.len() == 16));
    });
}

#[test]
fn a_store_that_is_closed_is_no_verdict_on_a_key() {
    run(async {
        let (store, keys) = open().await;
        let key = text(&issue::create(&store, order(), BORN, by()).await.unwrap());
        store.close();
        assert_eq!(verdict(&keys, &key, BORN).await, "store-unavailable");
    });
}

#[test]
fn the_cache_is_bounded() {
    let row = |shard: &mut Shard, n: u32| {
        let mut random = [0; 10];
        random[..4].copy_from_slice(&n.to_be_bytes());
        shard.miss(Id16::from_random(random), BORN);
    };
    let mut shard = Shard::default();
    for n in 0..100_000 {
        row(&mut shard, n);
        assert!(shard.unknown.len() <= UNKNOWN);
    }
}

#[test]
fn what_cannot_be_made_is_refused() {
    run(async {
        let (store, _) = open().await;
        for bad in [
            Order { scopes: Vec::new(), ..order() },
            Order { scopes: vec!["a b".to_owned()], ..order() },
            Order { apis: Vec::new(), ..order() },
            Order { ip_allow: vec!["10.0.0.0".to_owned()], ..order() },
            Order { attributes: "[]".to_owned(), ..order() },
            Order { name: " ".to_owned(), ..order() },
            Order { grace: 12 * HOUR, ..order() },
            Order { activate_at: Some(BORN + 91 * DAY), ..order() },
            Order { expires_at: Some(BORN), ..order() },
            Order { used: issue::Use::Jwk(r#"{"kty":"oct","k":"AAAA"}"#.to_owned()), ..order() },
        ] {
            assert!(matches!(issue::create(&store, bad, BORN, by()).await, Err(issue::IssueError::Order(_))));
        }
        let ed = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        let jwk = issue::Use::Jwk(ed.to_owned());
        let issued = issue::create(&store, Order { used: jwk, ..order() }, BORN, by()).await.unwrap();
        assert!(issued.secret.is_none());
        assert!(matches!(issued.row.material, Material::Jwk { ref alg, .. } if alg == "EdDSA"));
    });
}
