//! An identity provider that can rotate its keys, stall, die and lie.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::server::{Answer, Latch, Upstream};
use crate::token::{Algorithm, Key, Token};

/// How it behaves at the moment.
#[derive(Debug, Clone)]
enum Mood {
    Well,
    Stalled(Latch),
    Dead,
    Says(Answer),
}

struct State {
    keys: Vec<Arc<Key>>,
    mood: Mood,
    issuer: String,
    max_age: Option<u64>,
    extra: Vec<Value>,
}

/// Serves discovery and a JWK set over http on loopback, and mints tokens.
pub struct IdentityProvider {
    server: Upstream,
    state: Arc<Mutex<State>>,
    key_fetches: Arc<AtomicUsize>,
    discoveries: Arc<AtomicUsize>,
}

impl IdentityProvider {
    /// With one key of this algorithm. The issuer is the server's own URL.
    pub fn start(algorithm: Algorithm) -> Self {
        let key = Arc::new(Key::generate(algorithm, "key-1"));
        let state = Arc::new(Mutex::new(State {
            keys: vec![key],
            mood: Mood::Well,
            issuer: String::new(),
            max_age: None,
            extra: Vec::new(),
        }));
        let key_fetches = Arc::new(AtomicUsize::new(0));
        let discoveries = Arc::new(AtomicUsize::new(0));
        let (inside, fetched, discovered) =
            (Arc::clone(&state), Arc::clone(&key_fetches), Arc::clone(&discoveries));
        let server = Upstream::start(move |request| {
            let keys = request.target == "/jwks";
            if keys { &fetched } else { &discovered }.fetch_add(1, Ordering::SeqCst);
            let state = lock(&inside);
            let body = if keys {
                let all = state.keys.iter().map(|key| key.jwk()).chain(state.extra.iter().cloned());
                json!({ "keys": all.collect::<Vec<_>>() })
            } else {
                json!({ "issuer": state.issuer, "jwks_uri": format!("{}/jwks", state.issuer) })
            };
            let mut answer = Answer::json(body.to_string());
            if let Some(seconds) = state.max_age {
                answer = answer.header("Cache-Control", &format!("max-age={seconds}"));
            }
            match &state.mood {
                Mood::Well => answer,
                Mood::Stalled(latch) => answer.held_by(latch),
                Mood::Dead => Answer::hang_up(),
                Mood::Says(other) => other.clone(),
            }
        });
        lock(&state).issuer = server.url();
        Self { server, state, key_fetches, discoveries }
    }

    /// The issuer's identifier, and the base of discovery.
    pub fn issuer(&self) -> String {
        lock(&self.state).issuer.clone()
    }

    /// The URL of the JWK set.
    pub fn jwks_url(&self) -> String {
        format!("{}/jwks", self.server.url())
    }

    /// The JWK set as text, for configurations that take a file.
    pub fn jwks(&self) -> String {
        let state = lock(&self.state);
        json!({ "keys": state.keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() }).to_string()
    }

    /// The newest key.
    pub fn key(&self) -> Arc<Key> {
        Arc::clone(lock(&self.state).keys.last().expect("there is always a key"))
    }

    /// An honest token of the newest key's issuer for `audience` and `subject`, valid for five minutes.
    /// Change it, then sign it with [`IdentityProvider::key`] or forge its signature.
    pub fn token(&self, audience: &str, subject: &str) -> Token {
        let now = unix_now();
        Token::new()
            .header("typ", "at+jwt")
            .claim("iss", self.issuer())
            .claim("aud", audience)
            .claim("sub", subject)
            .claim("iat", now)
            .claim("exp", now + 300)
            .claim("jti", format!("{subject}-{now}"))
    }

    /// Adds a key and signs with it from now on; the old ones stay published.
    pub fn add_key(&self, algorithm: Algorithm) -> Arc<Key> {
        let mut state = lock(&self.state);
        let key = Arc::new(Key::generate(algorithm, &format!("key-{}", state.keys.len() + 1)));
        state.keys.push(Arc::clone(&key));
        key
    }

    /// Publishes a fresh key alone: the old ones are withdrawn.
    pub fn rotate(&self, algorithm: Algorithm, id: &str) -> Arc<Key> {
        let key = Arc::new(Key::generate(algorithm, id));
        lock(&self.state).keys = vec![Arc::clone(&key)];
        key
    }

    /// Publishes this beside the keys, whatever it is.
    pub fn publish(&self, jwk: Value) {
        lock(&self.state).extra.push(jwk);
    }

    /// `Cache-Control: max-age` of its answers.
    pub fn max_age(&self, seconds: u64) {
        lock(&self.state).max_age = Some(seconds);
    }

    /// Accepts connections and says nothing until the latch is released.
    pub fn stall(&self) -> Latch {
        let latch = Latch::new();
        lock(&self.state).mood = Mood::Stalled(latch.clone());
        latch
    }

    /// Closes every connection without an answer.
    pub fn die(&self) {
        lock(&self.state).mood = Mood::Dead;
    }

    /// Gives this answer to everything.
    pub fn say(&self, answer: Answer) {
        lock(&self.state).mood = Mood::Says(answer);
    }

    /// Behaves again.
    pub fn recover(&self) {
        lock(&self.state).mood = Mood::Well;
    }

    /// How often the key set was asked for.
    pub fn key_fetches(&self) -> usize {
        self.key_fetches.load(Ordering::SeqCst)
    }

    /// How often discovery was asked for.
    pub fn discoveries(&self) -> usize {
        self.discoveries.load(Ordering::SeqCst)
    }
}

/// Whole seconds since 1970, for claims.
pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |past| past.as_secs())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{request, send};

    async fn keys(idp: &IdentityProvider) -> std::io::Result<Value> {
        Ok(send(idp.server.address(), &request("GET", "/jwks", &[], b"")).await?.json())
    }

    #[tokio::test]
    async fn serves_discovery_and_keys_and_counts() {
        let idp = IdentityProvider::start(Algorithm::EdDsa);
        let bytes = request("GET", "/.well-known/openid-configuration", &[], b"");
        let discovery = send(idp.server.address(), &bytes).await.unwrap().json();
        assert_eq!(discovery["issuer"], idp.issuer());
        assert_eq!(discovery["jwks_uri"], idp.jwks_url());
        assert_eq!(keys(&idp).await.unwrap()["keys"][0]["kid"], "key-1");
        idp.add_key(Algorithm::Es256);
        assert_eq!(keys(&idp).await.unwrap()["keys"][1]["kid"], "key-2");
        idp.rotate(Algorithm::Es256, "only");
        assert_eq!(keys(&idp).await.unwrap()["keys"].as_array().unwrap().len(), 1);
        assert_eq!((idp.discoveries(), idp.key_fetches()), (1, 3));
    }

    #[tokio::test]
    async fn stalls_dies_and_recovers() {
        let idp = IdentityProvider::start(Algorithm::EdDsa);
        idp.die();
        assert!(keys(&idp).await.is_err());
        let latch = idp.stall();
        let stalled = keys(&idp);
        let released = async {
            idp.server.received(2).await.unwrap();
            latch.release();
        };
        let (answer, ()) = tokio::join!(stalled, released);
        assert_eq!(answer.unwrap()["keys"].as_array().unwrap().len(), 1);
        idp.say(Answer::status(500));
        assert!(keys(&idp).await.unwrap().is_null());
        idp.recover();
        assert!(keys(&idp).await.unwrap().is_object());
    }
}
