//! What an API key costs once its row is in memory.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints, and ends where something is wrong"
)]

use portcullis_core::opaque::{ApiKey, Env, Id16};
use portcullis_core::time::{Clock as _, Now, SystemClock};
use portcullis_store::ledger::By;
use portcullis_store::{Options, Place, Store};
use portcullis_vault::api_keys::ApiKeys;
use portcullis_vault::issue::{self, Order, Use};
use portcullis_vault::revocation::{Revoked, TokenFacts};
use std::hint::black_box;

const ROUNDS: u32 = 200_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let now = SystemClock.now();
        let store = Store::open(&Place::Memory, Options::default(), now.secs()).unwrap();
        let keys = ApiKeys::open(store.clone(), now).await.unwrap();
        let order = Order {
            used: Use::Bearer,
            env: Env::Live,
            name: "bench".to_owned(),
            owner: "bench".to_owned(),
            tenant: None,
            scopes: vec!["a".to_owned()],
            apis: vec!["a".to_owned()],
            ip_allow: Vec::new(),
            attributes: "{}".to_owned(),
            activate_at: None,
            expires_at: None,
            contact: None,
            rotate_every: 86_400,
            grace: 86_400,
        };
        let key = issue::create(&store, order, now.secs(), By::program()).await.unwrap().secret.unwrap();
        let began = SystemClock.now();
        for _ in 0..ROUNDS {
            black_box(keys.verify(black_box(key.expose()), Env::Live, now).await.is_ok());
        }
        report("an API key, its row in memory", began);
        let garbage = key.expose().replace("pck_live", "pck_test");
        let began = SystemClock.now();
        for _ in 0..ROUNDS {
            black_box(keys.verify(black_box(&garbage), Env::Live, now).await.is_err());
        }
        report("a key with a wrong checksum", began);
        strangers(&keys, key.expose(), now).await;
        let revoked = Revoked::new();
        let token = TokenFacts {
            issuer: "https://login.example.com/",
            jti: Some("0191-abcd"),
            sid: Some("s"),
            subject: Some("ann"),
            client: Some("app"),
            signing_key: Some("k"),
            iat: Some(now.secs()),
        };
        let began = SystemClock.now();
        for _ in 0..ROUNDS {
            black_box(revoked.names(black_box(&token)));
        }
        report("a look at an empty revocation set", began);
    });
}

/// What a stranger can tell by the clock: samples of each case by turns, so that a change of the machine's speed falls on all
/// alike, and their medians.
async fn strangers(keys: &ApiKeys, text: &str, now: Now) {
    let right = ApiKey::parse(text).unwrap();
    let with = |id: [u8; 10]| ApiKey::new(Env::Live, id, [7; 32]).text();
    let (wrong, absent) = (with(bits(&right.id())), with([9; 10]));
    let cases = [
        "id unknown, remembered",
        "secret wrong, row in memory",
        "id unknown, looked up",
        "secret wrong, looked up",
    ];
    let mut samples: [Vec<u64>; 4] = Default::default();
    for turn in 0..20_000_u32 {
        let [a, b, c, d] = turn.to_be_bytes();
        let fresh = with([1, 1, 1, 1, 1, 1, a, b, c, d]);
        for (case, text) in [&absent, &wrong, &fresh, &wrong].into_iter().enumerate() {
            if case == 3 {
                keys.changed(&right.id());
            }
            let began = std::time::Instant::now();
            let refused = keys.verify(black_box(text.expose()), Env::Live, now).await.is_err();
            let took = began.elapsed();
            assert!(refused);
            if let Some(own) = samples.get_mut(case) {
                own.push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
            }
        }
    }
    for (case, own) in cases.into_iter().zip(&mut samples) {
        own.sort_unstable();
        let at = |part: usize| own.get(own.len() * part / 100).copied().unwrap_or(0);
        println!("{case}: median {} ns (10 %: {}, 90 %: {})", at(50), at(10), at(90));
    }
}

/// The ten bytes that an id was made of.
fn bits(id: &Id16) -> [u8; 10] {
    let digit = |c: u8| "0123456789abcdefghjkmnpqrstvwxyz".bytes().position(|d| d == c).unwrap_or(0) as u128;
    let number = id.as_str().bytes().fold(0_u128, |acc, c| acc << 5 | digit(c));
    number.to_be_bytes().last_chunk().copied().unwrap_or_default()
}

fn report(what: &str, began: Now) {
    let ns = SystemClock.now().since(began) * 1_000 / u64::from(ROUNDS);
    println!("{what}: {ns} ns");
}
