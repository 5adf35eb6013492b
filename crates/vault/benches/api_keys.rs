//! What an API key costs once its row is in memory.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints, and ends where something is wrong"
)]

use portcullis_core::opaque::Env;
use portcullis_core::time::{Clock as _, Now, SystemClock};
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
        let key = issue::create(&store, order, now.secs()).await.unwrap().secret.unwrap();
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

fn report(what: &str, began: Now) {
    let ns = SystemClock.now().since(began) * 1_000 / u64::from(ROUNDS);
    println!("{what}: {ns} ns");
}
