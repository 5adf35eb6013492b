use super::*;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, KeyPair as _, UnparsedPublicKey};
use portcullis_core::time::ManualClock;
use std::cell::RefCell;
use std::rc::Rc;

const NOW: i64 = 1_767_225_600;

/// An issuer that a test scripts; it keeps what it was asked.
struct Peer {
    says: Mutex<Result<&'static str, &'static str>>,
    asked: Mutex<Vec<(Option<String>, String)>>,
    gate: Semaphore,
}

impl Peer {
    fn saying(says: &'static str) -> Arc<Self> {
        Arc::new(Self { says: Mutex::new(Ok(says)), asked: Mutex::default(), gate: Semaphore::new(10_000) })
    }

    fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Ask for Peer {
    fn post<'a>(&'a self, _url: &'a str, authorization: Option<&'a str>, form: &'a str) -> Asking<'a> {
        Box::pin(async move {
            self.asked.lock().unwrap().push((authorization.map(str::to_owned), form.to_owned()));
            self.gate.acquire().await.unwrap().forget();
            let says = *self.says.lock().unwrap();
            says.map(|text| text.as_bytes().to_vec()).map_err(str::to_owned)
        })
    }
}

fn policy() -> Arc<Policy> {
    Arc::new(Policy::new("https://login.example.com/", ["shop".to_owned()]))
}

fn secret() -> ClientAuth {
    ClientAuth::Secret(Arc::new(Secret::new("s e:cret".to_owned())))
}

struct Bench {
    of: Arc<Introspector>,
    clock: Arc<ManualClock>,
    policy: Arc<Policy>,
    told: Rc<RefCell<Vec<Option<String>>>>,
}

impl Bench {
    async fn ask(&self, token: &str) -> Result<Answer, Unavailable> {
        self.of.ask(token, (7, &self.policy), self.clock.now()).await
    }
}

fn with(peer: &Arc<Peer>, auth: ClientAuth, test: impl AsyncFnOnce(Bench)) {
    let of = Introspector::new("legacy".into(), "https://login.example.com/i".into(), "gate".into(), auth);
    let of = Arc::new(of.unwrap());
    let clock = Arc::new(ManualClock::new(Now::from_secs(NOW)));
    let told = Rc::new(RefCell::new(Vec::new()));
    let heard = told.clone();
    let run = of.clone().run(peer.clone(), clock.clone(), move |why| {
        heard.borrow_mut().push(why.map(str::to_owned));
    });
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        let task = tokio::task::spawn_local(run);
        test(Bench { of, clock, policy: policy(), told }).await;
        task.abort();
    });
}

const ACTIVE: &str = r#"{"active":true,"aud":"shop","sub":"ann","exp":1767225650}"#;

#[test]
fn a_good_answer_serves_until_its_exp_and_a_bad_one_for_five_seconds() {
    let peer = Peer::saying(ACTIVE);
    with(&peer, secret(), async |bench| {
        for _ in 0..100 {
            let Ok(Answer::Active(claims)) = bench.ask("opaque").await else { panic!("not active") };
            assert_eq!(claims.subject(), Some("ann"));
        }
        assert_eq!(peer.count(), 1);
        bench.clock.advance_secs(49);
        assert!(bench.ask("opaque").await.is_ok());
        assert_eq!(peer.count(), 1);
        bench.clock.advance_secs(1);
        *peer.says.lock().unwrap() = Ok(r#"{"active":false}"#);
        for _ in 0..2 {
            assert!(matches!(bench.ask("opaque").await, Ok(Answer::Inactive)));
        }
        assert_eq!(peer.count(), 2, "exp has come");
        bench.clock.advance_secs(5);
        assert!(matches!(bench.ask("opaque").await, Ok(Answer::Inactive)));
        assert_eq!(peer.count(), 3);
        assert!(bench.of.ask("opaque", (8, &bench.policy), bench.clock.now()).await.is_ok());
        assert_eq!(peer.count(), 4, "another policy is another question");
        assert_eq!(*bench.told.borrow(), vec![None; 4]);
    });
}

#[test]
fn one_call_for_a_token_and_sixty_four_at_once() {
    let peer = Peer::saying(ACTIVE);
    peer.gate.forget_permits(10_000);
    with(&peer, secret(), async |bench| {
        let bench = Rc::new(bench);
        let mut asking = tokio::task::JoinSet::new();
        for n in 0..300 {
            let bench = bench.clone();
            asking.spawn_local(async move { bench.ask(&format!("t{}", n % 100)).await.is_ok() });
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(peer.count(), AT_ONCE);
        peer.gate.add_permits(10_000);
        assert_eq!(asking.join_all().await, vec![true; 300]);
        assert_eq!(peer.count(), 100);
    });
}

#[test]
fn an_issuer_that_fails_is_left_alone_for_ten_seconds() {
    let peer = Peer::saying("");
    *peer.says.lock().unwrap() = Err("status 500");
    with(&peer, secret(), async |bench| {
        for n in 0..20 {
            assert_eq!(bench.ask(&format!("t{n}")).await.err(), Some(Unavailable));
        }
        assert_eq!(peer.count(), 5);
        bench.clock.advance_secs(10);
        assert!(bench.ask("a").await.is_err() && bench.ask("b").await.is_err());
        assert_eq!(peer.count(), 6, "one trial");
        *peer.says.lock().unwrap() = Ok(ACTIVE);
        bench.clock.advance_secs(10);
        assert!(bench.ask("a").await.is_ok() && bench.ask("b").await.is_ok());
        assert_eq!(peer.count(), 8);
        assert_eq!(bench.told.borrow()[0].as_deref(), Some("status 500"));
    });
}

#[test]
fn an_answer_that_cannot_be_read_is_none_and_one_that_breaks_a_rule_refuses() {
    let peer = Peer::saying("<html>");
    with(&peer, secret(), async |bench| {
        assert_eq!(bench.ask("a").await.err(), Some(Unavailable));
        *peer.says.lock().unwrap() = Ok(r#"{"active":true,"aud":"other"}"#);
        assert!(matches!(bench.ask("a").await, Ok(Answer::Refused(Reason::ClaimAud))));
    });
}

#[test]
fn a_silent_issuer_costs_a_request_two_and_a_half_seconds_at_most() {
    let peer = Peer::saying(ACTIVE);
    peer.gate.forget_permits(10_000);
    with(&peer, secret(), async |bench| {
        let began = tokio::time::Instant::now();
        assert!(bench.ask("a").await.is_err());
        assert!(began.elapsed() <= WAIT + Duration::from_millis(1));
    });
}

#[test]
fn authenticates_by_a_signed_assertion_or_by_basic() {
    let peer = Peer::saying(ACTIVE);
    with(&peer, secret(), async |bench| drop(bench.ask("a+b/c=").await));
    let (authorization, form) = peer.asked.lock().unwrap().pop().unwrap();
    assert_eq!(authorization.unwrap(), format!("Basic {}", STANDARD.encode("gate:s%20e%3Acret")));
    assert_eq!(form, "token=a%2Bb%2Fc%3D&token_type_hint=access_token");

    let document =
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref()).unwrap();
    let auth = ClientAuth::PrivateKey(Arc::new(Secret::new(document.as_ref().to_vec())));
    with(&peer, auth, async |bench| drop(bench.ask("x").await));
    let (authorization, form) = peer.asked.lock().unwrap().pop().unwrap();
    assert_eq!(authorization, None);
    let assertion = form.split("client_assertion=").nth(1).unwrap();
    let (input, signature) = assertion.rsplit_once('.').unwrap();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref())
        .verify(input.as_bytes(), &B64U.decode(signature).unwrap())
        .unwrap();
    let claims = B64U.decode(input.split('.').nth(1).unwrap()).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!((&claims["iss"], &claims["sub"]), (&"gate".into(), &"gate".into()));
    assert_eq!(claims["aud"], "https://login.example.com/");
    assert_eq!(claims["exp"], NOW + 60);
    let wrong = ClientAuth::PrivateKey(Arc::new(Secret::new(vec![1, 2, 3])));
    assert!(Introspector::new("n".into(), "u".into(), "c".into(), wrong).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_is_no_failure_of_the_issuer() {
    let of = Introspector::new("a".into(), "https://a.example/i".into(), "gate".into(), secret()).unwrap();
    let (policy, now) = (policy(), Now::from_secs(NOW));
    // Nobody answers: 512 questions wait, the others find no place.
    for n in 0..QUEUE + 50 {
        let token = format!("made-up-{n}");
        let asked = of.ask(&token, (7, &policy), now);
        assert!(tokio::time::timeout(Duration::ZERO, asked).await.is_ok_and(|a| a.is_err()) == (n >= QUEUE));
    }
    assert!(lock(&of.breaker).admits(now), "the breaker is closed");
    assert!(lock(&of.flights).len() <= QUEUE);
}
