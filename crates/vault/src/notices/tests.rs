use super::*;
use crate::issue::{self, Order, Use};
use portcullis_core::opaque::Env;
use portcullis_jose::api_key::{MAX_ROTATE, Rotation};
use portcullis_store::ledger::By;
use portcullis_store::{Options, Place};
use std::cell::{Cell, RefCell};
use std::path::PathBuf;

const BORN: i64 = 1_767_225_600;

/// What the program does every minute.
async fn turn(notifier: &mut Notifier, now: i64, rules: &Rules, used: &[Id16], door: &dyn Deliver) -> Report {
    notifier.compute(now).await.unwrap();
    notifier.deprecated_uses(used, now).await.unwrap();
    notifier.deliver_all(now, rules, door).await.unwrap()
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("portcullis-notices-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn open(&self, now: i64) -> Store {
        let patience = std::time::Duration::from_secs(20);
        Store::open(&Place::Folder(self.0.clone()), Options { patience, ..Options::default() }, now).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn by() -> By {
    By::job()
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
}

fn order() -> Order {
    Order {
        used: Use::Bearer,
        env: Env::Live,
        name: "billing".to_owned(),
        owner: "acme".to_owned(),
        tenant: None,
        scopes: vec!["orders.read".to_owned()],
        apis: vec!["shop".to_owned()],
        ip_allow: Vec::new(),
        attributes: "{}".to_owned(),
        activate_at: None,
        expires_at: None,
        contact: Some("keys@acme.example".to_owned()),
        rotate_every: MAX_ROTATE,
        grace: 48 * HOUR,
    }
}

fn rules() -> Rules {
    let hook = Sink::Webhook {
        url: "https://ops.example.com/hook".into(),
        secret: Arc::new(Secret::new(vec![7; 32])),
    };
    let mail = Sink::Email {
        relay: "smtps://mail.example.com".into(),
        from: "gate@example.com".into(),
        to: vec!["ops@example.com".into()],
        login: None,
    };
    Rules { sinks: vec![hook, mail], docs: Some("https://developer.example.com/rotate".into()) }
}

/// Keeps what was delivered; refuses as long as it is told to.
#[derive(Default)]
struct Post {
    got: RefCell<Vec<(String, String, String)>>,
    ids: RefCell<Vec<String>>,
    refusing: Cell<bool>,
    attempts: Cell<u32>,
}

impl Deliver for Post {
    fn deliver<'a>(&'a self, parcel: &'a Parcel) -> Delivering<'a> {
        Box::pin(async move {
            self.attempts.set(self.attempts.get() + 1);
            if self.refusing.get() {
                return Err(Failed::Later("down".to_owned()));
            }
            let (to, what, id) = match parcel {
                Parcel::Webhook { url, body, id, .. } => {
                    let body: Value = serde_json::from_str(body).unwrap();
                    let text =
                        |p: &str| body.pointer(p).and_then(Value::as_str).unwrap_or_default().to_owned();
                    (url.to_string(), format!("{} {}", text("/type"), text("/data/occasion")), id)
                }
                Parcel::Mail { to, subject, message_id, .. } => (to.join(","), subject.clone(), message_id),
            };
            self.ids.borrow_mut().push(id.clone());
            self.got.borrow_mut().push((to, what, id.clone()));
            Ok(())
        })
    }
}

impl Post {
    fn of(&self, to: &str) -> Vec<String> {
        self.got.borrow().iter().filter(|(t, ..)| t == to).map(|(_, what, _)| what.clone()).collect()
    }
}

/// Ninety-three days by the hour, the program restarted twice and killed once with a claimed notice in its hands.
#[test]
fn each_notice_arrives_exactly_once_over_restarts_and_a_crash() {
    let folder = Folder::new("walk");
    let (post, rules) = (Post::default(), rules());
    let mut store = folder.open(BORN);
    run(issue::create(&store, order(), BORN, by())).unwrap();
    let mut notifier = Notifier::new(store.clone());
    for hour in 0..=93 * 24 {
        let now = BORN + hour * HOUR;
        if matches!(hour, 1_000 | 2_100) {
            // Two restarts; of the second it is not even told.
            drop(notifier);
            store.close();
            store = folder.open(now);
            notifier = Notifier::new(store.clone());
        }
        if hour == 87 * 24 {
            // Killed after the notice was made and claimed, before anything was delivered.
            run(async {
                let row = store.keys().list(Filter::default()).await.unwrap().remove(0);
                notifier.due(&row, now).await.unwrap();
                assert_eq!(store.outbox().claim(now, LEASE_S, BATCH).await.unwrap().len(), 1);
            });
            drop(notifier);
            store.close();
            store = folder.open(now);
            notifier = Notifier::new(store.clone());
        }
        // Two nodes on one store.
        let mut other = Notifier::new(store.clone());
        run(async {
            turn(&mut notifier, now, &rules, &[], &post).await;
            turn(&mut other, now, &rules, &[], &post).await;
        });
    }
    let types = [
        "portcullis.apikey.rotation_due 7d",
        "portcullis.apikey.rotation_due 3d",
        "portcullis.apikey.rotation_due 1d",
        "portcullis.apikey.expiring_grace 12h",
        "portcullis.apikey.expired once",
    ];
    assert_eq!(post.of("https://ops.example.com/hook"), types);
    assert_eq!(post.of("keys@acme.example").len(), 5);
    assert_eq!(post.of("ops@example.com").len(), 5);
    let ids: HashSet<String> = post.ids.borrow().iter().cloned().collect();
    assert_eq!(ids.len(), 15);
}

#[test]
fn what_was_missed_is_told_once_and_late_is_better_than_never() {
    let folder = Folder::new("missed");
    let (post, rules) = (Post::default(), rules());
    let store = folder.open(BORN);
    run(async {
        issue::create(&store, order(), BORN, by()).await.unwrap();
        let mut notifier = Notifier::new(store.clone());
        let report = turn(&mut notifier, BORN + 89 * DAY + 1, &rules, &[], &post).await;
        assert_eq!(report.told.len(), 1);
        let states = notifier.compute(BORN + 89 * DAY + 1).await.unwrap();
        assert_eq!(states.iter().find(|(s, _)| *s == State::Due).unwrap().1, 1);
    });
    assert_eq!(post.of("https://ops.example.com/hook"), ["portcullis.apikey.rotation_due 1d"]);
}

#[test]
fn a_receiver_that_is_down_is_tried_for_a_day_and_then_given_up_aloud() {
    let folder = Folder::new("down");
    let (post, rules) = (Post::default(), Rules { sinks: rules().sinks[..1].to_vec(), docs: None });
    let store = folder.open(BORN);
    run(async {
        let key = issue::create(&store, order(), BORN, by()).await.unwrap().row.id;
        store.keys().revoke(key, BORN + 60, "left".to_owned(), by()).await.unwrap();
        let mut notifier = Notifier::new(store.clone());
        post.refusing.set(true);
        let (mut dead, mut now) = (None, BORN + 60);
        while dead.is_none() && now < BORN + 3 * DAY {
            let report = turn(&mut notifier, now, &rules, &[], &post).await;
            assert!(report.sent == 0);
            dead = report.failed.iter().any(|(.., given_up)| *given_up).then_some(now - BORN);
            now += 30;
        }
        let lived = dead.unwrap();
        assert!((23 * HOUR..=26 * HOUR).contains(&lived), "{lived}");
        assert_eq!(post.attempts.get(), ATTEMPTS + 1);
        post.refusing.set(false);
        assert_eq!(turn(&mut notifier, now + DAY, &rules, &[], &post).await.sent, 0, "dead is dead");

        let next = issue::create(&store, order(), BORN, by()).await.unwrap().row.id;
        post.refusing.set(true);
        store.keys().exposed(next, now).await.unwrap();
        turn(&mut notifier, now, &rules, &[], &post).await;
        post.refusing.set(false);
        turn(&mut notifier, now + 30, &rules, &[], &post).await;
        assert_eq!(post.of("https://ops.example.com/hook"), ["portcullis.apikey.exposed once"]);
    });
}

#[test]
fn one_receiver_that_is_down_does_not_make_another_hear_twice() {
    struct Half(Post);
    impl Deliver for Half {
        fn deliver<'a>(&'a self, parcel: &'a Parcel) -> Delivering<'a> {
            self.0.refusing.set(matches!(parcel, Parcel::Webhook { .. }) && self.0.attempts.get() < 5);
            self.0.deliver(parcel)
        }
    }
    let folder = Folder::new("half");
    let (half, rules) = (Half(Post::default()), rules());
    let store = folder.open(BORN);
    run(async {
        let key = issue::create(&store, order(), BORN, by()).await.unwrap().row.id;
        store.keys().revoke(key, BORN, "left".to_owned(), by()).await.unwrap();
        let mut notifier = Notifier::new(store.clone());
        for minute in 0..120 {
            turn(&mut notifier, BORN + minute * 60, &rules, &[], &half).await;
        }
    });
    for to in ["https://ops.example.com/hook", "ops@example.com", "keys@acme.example"] {
        assert_eq!(half.0.of(to).len(), 1, "{to}");
    }
}

#[test]
fn use_of_a_deprecated_key_is_told_once_an_hour_and_summed_up_the_next_day() {
    let folder = Folder::new("use");
    let (post, rules) = (Post::default(), Rules { sinks: rules().sinks[..1].to_vec(), docs: None });
    let store = folder.open(BORN);
    run(async {
        let key = issue::create(&store, order(), BORN, by()).await.unwrap().row.id;
        let every = (MAX_ROTATE, 48 * HOUR);
        issue::rotate(&store, key, Rotation::default(), None, every, BORN + HOUR, by()).await.unwrap();
        let one = portcullis_store::keys::Use {
            key,
            day: BORN / DAY,
            source: "192.0.2.7".to_owned(),
            user_agent_hash: "00".to_owned(),
            count: 5,
        };
        store.keys().used(vec![one]).unwrap();
        let mut notifier = Notifier::new(store.clone());
        for minute in 60..48 * 60 {
            let used: &[Id16] = if minute < 180 { &[key] } else { &[] };
            turn(&mut notifier, BORN + minute * 60, &rules, used, &post).await;
        }
    });
    let hours = BORN / HOUR;
    assert_eq!(
        post.of("https://ops.example.com/hook"),
        [
            format!(
                "portcullis.apikey.rotated {}",
                post.of("https://ops.example.com/hook")[0].split(' ').nth(1).unwrap()
            ),
            format!("portcullis.apikey.deprecated_use h{}", hours + 1),
            format!("portcullis.apikey.deprecated_use h{}", hours + 2),
            format!("portcullis.apikey.deprecated_use digest-{}", BORN / DAY),
            "portcullis.apikey.expiring_grace 12h".to_owned(),
        ]
    );
}
