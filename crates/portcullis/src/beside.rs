//! What runs beside the hot path, on a thread of its own: key sets, probes, introspection, and the jobs of `jobs.rs`.

use portcullis_egress::tls::Trust;
use portcullis_egress::{Door, FetchLimits, Post, Purpose};
use portcullis_gateway::live::Fresh;
use portcullis_gateway::scan::Scanner;
use portcullis_gateway::services::Shared;
use portcullis_gateway::wire::acme::Book;
use portcullis_gateway::wire::upstream::probe;
use portcullis_telemetry::note;
use portcullis_vault::introspection::{Ask, Asking};
use portcullis_vault::jwks::{Fetch, Fetched, Fetching, News};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// A way to hand work to the thread.
pub(crate) struct Beside {
    fresh: UnboundedSender<Fresh>,
}

impl Beside {
    /// Key sets to fetch and upstreams to probe, from now on.
    pub(crate) fn look_after(&self, fresh: Fresh) {
        // The thread lives as long as the program.
        let _ = self.fresh.send(fresh);
    }
}

/// Starts the thread; without a book of certificates, nothing that writes (`explain`).
pub(crate) fn start(
    shared: Arc<Shared>,
    door: Arc<Door>,
    book: Option<Arc<Book>>,
) -> std::io::Result<Beside> {
    let (fresh, mut receive) = unbounded_channel::<Fresh>();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("portcullis-beside".to_owned()).spawn(move || {
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async move {
            if let Some(book) = book {
                crate::jobs::start(&shared, &door);
                let watch = crate::certificates::watch(shared.clone(), door.clone(), book);
                tokio::task::spawn_local(watch);
            }
            while let Some(fresh) = receive.recv().await {
                for keys in fresh.issuers {
                    let fetch = Arc::new(IssuerDoor {
                        door: door.clone(),
                        shared: shared.clone(),
                        name: keys.name().clone(),
                    });
                    tokio::task::spawn_local(keys.run(fetch, shared.clock.clone(), jitter));
                }
                for introspector in fresh.introspectors {
                    let (asks, name) = (Arc::new(Introspection(door.clone())), introspector.name().clone());
                    let tell = move |why: Option<&str>| told(&name, why);
                    tokio::task::spawn_local(introspector.run(asks, shared.clock.clone(), tell));
                }
                for scanner in fresh.scanners {
                    let watch = Scanner::watch(Arc::downgrade(&scanner), shared.clock.clone());
                    tokio::task::spawn_local(watch);
                }
                for upstream in fresh.upstreams {
                    tokio::task::spawn_local(probe(Arc::downgrade(&upstream), door.clone()));
                }
            }
        });
    })?;
    Ok(Beside { fresh })
}

/// Between 0 and 1; spreads refreshes of many nodes.
fn jitter() -> f64 {
    let mut byte = [0_u8; 1];
    match aws_lc_rs::rand::fill(&mut byte) {
        Ok(()) => f64::from(byte[0]) / 255.0,
        Err(_) => 0.5,
    }
}

fn told(name: &str, why: Option<&str>) {
    if let Some(why) = why {
        let values = [("introspection", name.into()), ("why", why.into())];
        note::warn("issuer.unavailable", "an issuer could not be asked about a token", &values);
    }
}

/// Asks about opaque tokens (RFC 7662).
struct Introspection(Arc<Door>);

impl Ask for Introspection {
    fn post<'a>(&'a self, url: &'a str, authorization: Option<&'a str>, form: &'a str) -> Asking<'a> {
        Box::pin(async move {
            let headers: Vec<(&str, &str)> =
                authorization.map(|value| ("authorization", value)).into_iter().collect();
            let post = Post {
                content_type: "application/x-www-form-urlencoded",
                headers: &headers,
                body: form.as_bytes(),
            };
            let limits = FetchLimits {
                body: 64 << 10,
                connect: Duration::from_secs(1),
                total: Duration::from_secs(2),
            };
            match self.0.post(Purpose::Introspection, url, Trust::Public, limits, post).await {
                Ok(answer) if answer.status == 200 => Ok(answer.body.to_vec()),
                Ok(answer) => Err(format!("the answer's status is {}", answer.status)),
                Err(error) => Err(error.to_string()),
            }
        })
    }
}

/// Fetches key sets, and says so when one cannot be had.
struct IssuerDoor {
    door: Arc<Door>,
    shared: Arc<Shared>,
    name: Arc<str>,
}

impl Fetch for IssuerDoor {
    fn get<'a>(&'a self, url: &'a str) -> Fetching<'a> {
        Box::pin(async move {
            match self.door.fetch(Purpose::Keys, url, Trust::Public, FetchLimits::default()).await {
                Ok(fetched) => {
                    self.shared.metrics.key_set(&self.name, "ok");
                    Ok(Fetched { body: fetched.body.to_vec(), max_age: fetched.max_age })
                }
                Err(error) => {
                    self.shared.metrics.key_set(&self.name, "failed");
                    Err(error.to_string())
                }
            }
        })
    }

    fn news(&self, news: News<'_>) {
        let issuer = ("issuer", (*self.name).into());
        match news {
            News::Unusable { kid, why } => {
                let event = match why {
                    "private-material" => "jwks.private_material",
                    "duplicate-kid" => "jwks.duplicate_kid",
                    _ => "jwks.key_unusable",
                };
                let kid = kid.map(|kid| kid.chars().take(64).collect::<String>()).unwrap_or_default();
                let values = [issuer, ("kid", kid.as_str().into()), ("why", why.into())];
                note::warn(event, "a key of an issuer is not used", &values);
            }
            News::Failed(why) => {
                let values = [issuer, ("why", why.into())];
                note::warn("issuer.unavailable", "keys of an issuer could not be had", &values);
            }
            News::Stale(secs) => {
                let message = "keys of an issuer have not been renewed; after a day its tokens are refused";
                note::error("jwks.stale", message, &[issuer, ("seconds", secs.into())]);
            }
        }
    }
}
