//! Tokens that only their issuer understands (RFC 7662; callers.md § 7).
//!
//! Requests never call out themselves: a task beside them does, at most [`AT_ONCE`] at a time and once per token however
//! many ask. An issuer that does not answer opens a breaker, so that nobody waits for it in vain; that is a 503 and never
//! a 401, because clients must not throw good tokens away for our fault.

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as B64U};
use portcullis_core::secret::{Secret, constant_time_eq};
use portcullis_core::time::{Clock, Now};
use portcullis_jose::jwt::{Claims, Policy, introspected};
use portcullis_jose::reason::Reason;
use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, watch};

/// Calls under way at once.
pub const AT_ONCE: usize = 64;
/// Seconds for which a good answer serves.
const GOOD_S: i64 = 60;
/// Seconds for which a bad one does.
const BAD_S: i64 = 5;
/// Longest wait of a request: a call may take two seconds.
const WAIT: Duration = Duration::from_millis(2_500);
/// Questions that wait for a place.
const QUEUE: usize = 512;
/// Answers kept, in each of two generations.
const KEPT: usize = 16_384;
/// Longest answer that is kept, in bytes.
const KEPT_BYTES: usize = 8 << 10;
/// So many failures within so many microseconds open the breaker for as long.
const FAILURES: usize = 5;
const WINDOW_US: i64 = 10_000_000;

/// How we authenticate at the end point.
#[derive(Clone)]
pub enum ClientAuth {
    /// `private_key_jwt` (RFC 7523) with a P-256 key in PKCS#8 DER: the secret never travels.
    PrivateKey(Arc<Secret<Vec<u8>>>),
    /// `client_secret_basic` (RFC 6749 § 2.3.1).
    Secret(Arc<Secret<String>>),
}

/// The door out, as far as introspection needs it.
pub trait Ask: Send + Sync + 'static {
    /// POST of a form: 1 s to connect, 2 s in all, 64 KiB, status 200 only. The error is for the operator.
    fn post<'a>(&'a self, url: &'a str, authorization: Option<&'a str>, form: &'a str) -> Asking<'a>;
}

/// A call under way.
pub type Asking<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, String>> + Send + 'a>>;

/// What is known of a token.
#[derive(Clone)]
pub enum Answer {
    /// It is active, and its members break no rule.
    Active(Arc<Claims>),
    /// It is not active.
    Inactive,
    /// It is active and breaks a rule.
    Refused(Reason),
}

/// Nobody knows: 503.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable;

type Outcome = Result<Answer, Unavailable>;
/// SHA-256 over policy and token: the token itself is kept nowhere.
type Key = [u8; 32];

/// One end point. Shared by all threads.
pub struct Introspector {
    name: Arc<str>,
    url: Arc<str>,
    client_id: Arc<str>,
    auth: ClientAuth,
    signer: Option<EcdsaKeyPair>,
    kept: Mutex<Kept>,
    flights: Mutex<HashMap<Key, watch::Receiver<Option<Outcome>>>>,
    breaker: Mutex<Breaker>,
    questions: mpsc::Sender<Question>,
    asked: Mutex<Option<mpsc::Receiver<Question>>>,
}

struct Question {
    key: Key,
    token: Secret<String>,
    policy: Arc<Policy>,
    tell: watch::Sender<Option<Outcome>>,
}

#[derive(Default)]
struct Kept {
    young: HashMap<Key, (Answer, i64)>,
    old: HashMap<Key, (Answer, i64)>,
}

impl Introspector {
    /// For one end point.
    ///
    /// # Errors
    /// The key is not one of P-256 in PKCS#8.
    pub fn new(name: Arc<str>, url: Arc<str>, client_id: Arc<str>, auth: ClientAuth) -> Result<Self, String> {
        let signer = match &auth {
            ClientAuth::Secret(_) => None,
            ClientAuth::PrivateKey(der) => Some(
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.expose())
                    .map_err(|_| "the client's key is not a P-256 key in PKCS#8 form".to_owned())?,
            ),
        };
        let (questions, asked) = mpsc::channel(QUEUE);
        Ok(Self {
            name,
            url,
            client_id,
            auth,
            signer,
            kept: Mutex::default(),
            flights: Mutex::default(),
            breaker: Mutex::default(),
            questions,
            asked: Mutex::new(Some(asked)),
        })
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether it can go on serving for that configuration after a reload.
    pub fn serves(&self, url: &str, client_id: &str, auth: &ClientAuth) -> bool {
        let same = match (&self.auth, auth) {
            (ClientAuth::PrivateKey(a), ClientAuth::PrivateKey(b)) => {
                constant_time_eq(a.expose(), b.expose())
            }
            (ClientAuth::Secret(a), ClientAuth::Secret(b)) => {
                constant_time_eq(a.expose().as_bytes(), b.expose().as_bytes())
            }
            _ => false,
        };
        same && *self.url == *url && *self.client_id == *client_id
    }

    /// Whether an answer about a token is at hand, or one that it was active a while ago.
    pub fn remembers(&self, token: &str, policy_id: u64, now: Now) -> bool {
        let key = key(policy_id, token);
        let kept = lock(&self.kept);
        let known = kept.young.get(&key).or_else(|| kept.old.get(&key));
        known.is_some_and(|(answer, until)| now.secs() < *until || matches!(answer, Answer::Active(_)))
    }

    /// What the issuer says of a token, from memory or by a call that this one joins or causes. `policy_id` names the
    /// policy, so that a lax API cannot answer for a strict one.
    ///
    /// # Errors
    /// [`Unavailable`] after 2.5 seconds at most.
    pub async fn ask(
        &self,
        token: &str,
        (policy_id, policy): (u64, &Arc<Policy>),
        now: Now,
    ) -> Result<Answer, Unavailable> {
        let key = key(policy_id, token);
        if let Some(answer) = lock(&self.kept).get(&key, now.secs()) {
            return Ok(answer);
        }
        let mut flight = {
            let mut flights = lock(&self.flights);
            match flights.get(&key) {
                Some(flight) => flight.clone(),
                None => {
                    if !lock(&self.breaker).admits(now) {
                        return Err(Unavailable);
                    }
                    let (tell, flight) = watch::channel(None);
                    let token = Secret::new(token.to_owned());
                    let question = Question { key, token, policy: Arc::clone(policy), tell };
                    if self.questions.try_send(question).is_err() {
                        // Strangers with made-up tokens can fill the queue: that says nothing about the issuer, and the
                        // breaker would refuse everybody else for it.
                        lock(&self.breaker).unasked();
                        return Err(Unavailable);
                    }
                    flights.insert(key, flight.clone());
                    flight
                }
            }
        };
        match tokio::time::timeout(WAIT, flight.wait_for(Option::is_some)).await {
            Ok(Ok(outcome)) => outcome.clone().unwrap_or(Err(Unavailable)),
            _ => Err(Unavailable),
        }
    }

    /// Calls out beside the requests, as long as there is anybody who could ask. Needs a `LocalSet`. `tell` hears of
    /// every call: `None` when it was answered, else why not.
    pub async fn run(
        self: Arc<Self>,
        door: Arc<dyn Ask>,
        clock: Arc<dyn Clock>,
        tell: impl Fn(Option<&str>) + Clone + 'static,
    ) {
        let Some(mut asked) = lock(&self.asked).take() else { return };
        let places = Arc::new(Semaphore::new(AT_ONCE));
        // Weak: an end point that a reload has left behind ends when the last request has.
        let weak = Arc::downgrade(&self);
        drop(self);
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let question = loop {
                match tokio::time::timeout(Duration::from_secs(5), asked.recv()).await {
                    Ok(Some(question)) => break question,
                    Ok(None) => return,
                    Err(_) if weak.strong_count() == 0 => return,
                    Err(_) => {}
                }
            };
            let Some(this) = weak.upgrade() else { return };
            let (door, clock, tell) = (door.clone(), clock.clone(), tell.clone());
            tokio::task::spawn_local(async move {
                this.answer(question, &*door, &*clock, &tell).await;
                drop(place);
            });
        }
    }

    async fn answer(
        &self,
        question: Question,
        door: &dyn Ask,
        clock: &dyn Clock,
        tell: &impl Fn(Option<&str>),
    ) {
        let now = clock.now();
        let outcome = match self.call(&question, door, now).await {
            Ok((answer, bytes)) => {
                tell(None);
                lock(&self.breaker).succeeded();
                if bytes <= KEPT_BYTES {
                    let until = match &answer {
                        Answer::Active(claims) => claims.exp().min(now.secs().saturating_add(GOOD_S)),
                        Answer::Inactive | Answer::Refused(_) => now.secs().saturating_add(BAD_S),
                    };
                    lock(&self.kept).put(question.key, answer.clone(), until);
                }
                Ok(answer)
            }
            Err(why) => {
                tell(Some(&why));
                lock(&self.breaker).failed(clock.now());
                Err(Unavailable)
            }
        };
        lock(&self.flights).remove(&question.key);
        let _ = question.tell.send(Some(outcome));
    }

    async fn call(&self, question: &Question, door: &dyn Ask, now: Now) -> Result<(Answer, usize), String> {
        let mut form = format!("token={}&token_type_hint=access_token", encoded(question.token.expose()));
        let authorization = match (&self.auth, &self.signer) {
            (ClientAuth::Secret(secret), _) => {
                // Both are form-encoded before they are joined (RFC 6749 § 2.3.1).
                let pair = format!("{}:{}", encoded(&self.client_id), encoded(secret.expose()));
                Some(format!("Basic {}", STANDARD.encode(pair)))
            }
            (ClientAuth::PrivateKey(_), Some(signer)) => {
                let assertion = self.assertion(signer, &question.policy.issuer, now)?;
                let kind = encoded("urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
                let _ = write!(form, "&client_assertion_type={kind}&client_assertion={assertion}");
                None
            }
            (ClientAuth::PrivateKey(_), None) => return Err("no key".to_owned()),
        };
        let body = door.post(&self.url, authorization.as_deref(), &form).await?;
        let bytes = body.len();
        match introspected(now.secs(), &question.policy, body) {
            Ok(Some(claims)) => Ok((Answer::Active(Arc::new(claims)), bytes)),
            Ok(None) => Ok((Answer::Inactive, bytes)),
            Err(Reason::Json) => Err("the answer is not strict JSON".to_owned()),
            Err(reason) => Ok((Answer::Refused(reason), bytes)),
        }
    }

    /// RFC 7523 § 3, for the issuer as its one audience: a stolen one is of use nowhere else.
    fn assertion(&self, signer: &EcdsaKeyPair, audience: &str, now: Now) -> Result<String, String> {
        let mut jti = [0; 16];
        aws_lc_rs::rand::fill(&mut jti).map_err(|_| "no randomness".to_owned())?;
        let claims = serde_json::json!({
            "iss": &*self.client_id,
            "sub": &*self.client_id,
            "aud": audience,
            "iat": now.secs(),
            "exp": now.secs().saturating_add(60),
            "jti": B64U.encode(jti),
        });
        let header = B64U.encode(r#"{"alg":"ES256","typ":"JWT"}"#);
        let input = format!("{header}.{}", B64U.encode(claims.to_string()));
        let signature = signer
            .sign(&SystemRandom::new(), input.as_bytes())
            .map_err(|_| "the key does not sign".to_owned())?;
        Ok(format!("{input}.{}", B64U.encode(signature)))
    }
}

impl Kept {
    fn get(&mut self, key: &Key, now: i64) -> Option<Answer> {
        if let Some((answer, until)) = self.young.get(key) {
            return (now < *until).then(|| answer.clone());
        }
        let (answer, until) = self.old.get(key)?;
        let (answer, until) = (answer.clone(), *until);
        (now < until).then(|| {
            self.old.remove(key);
            self.put(*key, answer.clone(), until);
            answer
        })
    }

    fn put(&mut self, key: Key, answer: Answer, until: i64) {
        if self.young.len() >= KEPT {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, (answer, until));
    }
}

/// Five failures in ten seconds open it for ten seconds; then one trial decides.
#[derive(Default)]
struct Breaker {
    failures: VecDeque<i64>,
    open_until: Option<i64>,
    trial: bool,
}

impl Breaker {
    fn admits(&mut self, now: Now) -> bool {
        match self.open_until {
            None => true,
            Some(until) if now.micros() < until => false,
            // A trial of which nothing is heard any more is another.
            Some(until) if self.trial && now.micros() < until.saturating_add(WINDOW_US) => false,
            Some(_) => {
                self.trial = true;
                self.open_until = Some(now.micros());
                true
            }
        }
    }

    fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// What was admitted did not happen: the next one may be the trial.
    fn unasked(&mut self) {
        self.trial = false;
    }

    fn failed(&mut self, now: Now) {
        let now = now.micros();
        self.failures.push_back(now);
        while self.failures.front().is_some_and(|at| now.saturating_sub(*at) > WINDOW_US) {
            self.failures.pop_front();
        }
        if self.trial || self.failures.len() >= FAILURES {
            self.open_until = Some(now.saturating_add(WINDOW_US));
            self.trial = false;
            self.failures.clear();
        }
    }
}

fn key(policy_id: u64, token: &str) -> Key {
    let mut hash = Context::new(&SHA256);
    hash.update(&policy_id.to_le_bytes());
    hash.update(token.as_bytes());
    hash.finish().as_ref().first_chunk().copied().unwrap_or_default()
}

/// `application/x-www-form-urlencoded`.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
