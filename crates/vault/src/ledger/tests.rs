use super::*;
use crate::notices::{Delivering, Parcel};
use portcullis_store::ledger::{By, Deed, Transcript};
use portcullis_store::{Options, Place};
use std::cell::RefCell;

const NOW: i64 = 1_770_000_000;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("portcullis-ledger-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn store(&self) -> Store {
        let options = Options { patience: Duration::from_secs(20), ..Options::default() };
        Store::open(&Place::Folder(self.0.clone()), options, NOW).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
}

fn deed(n: i64) -> Deed {
    Deed {
        at: NOW + n,
        event: "plan.reloaded",
        by: By::program(),
        target: n.to_string(),
        reason: None,
        detail: Vec::new(),
    }
}

/// Takes webhooks while it is open.
#[derive(Default)]
struct Door(RefCell<Vec<String>>, std::cell::Cell<bool>);

impl Deliver for Door {
    fn deliver<'a>(&'a self, parcel: &'a Parcel) -> Delivering<'a> {
        Box::pin(async move {
            if !self.1.get() {
                return Err(Failed::Later("status 503".to_owned()));
            }
            let Parcel::Webhook { body, .. } = parcel else { return Err(Failed::Never("a mail".to_owned())) };
            self.0.borrow_mut().push(body.clone());
            Ok(())
        })
    }
}

#[test]
fn a_checkpoint_is_signed_when_something_changed_and_once() {
    let folder = Folder::new("once");
    let store = folder.store();
    run(async {
        let key = LedgerKey::open(Some(&folder.0)).unwrap();
        assert_eq!(checkpoint(&store, &key, NOW).await, Ok(None), "an empty ledger");
        store.ledger().append(deed(1)).await.unwrap();
        store.ledger().append(deed(2)).await.unwrap();
        let first = checkpoint(&store, &key, NOW).await.unwrap().unwrap();
        assert_eq!((first.seq, first.previous), (2, 0));
        assert!(first.is_signed_by(&key.public().bytes));
        assert_eq!(checkpoint(&store, &key, NOW + 60).await, Ok(None), "nothing changed");
        store.ledger().append(deed(3)).await.unwrap();
        let second = checkpoint(&store, &key, NOW + 120).await.unwrap().unwrap();
        assert_eq!((second.seq, second.previous), (3, 2));
        assert_eq!(store.ledger().sign(first).await, Ok(false), "it follows nothing");
    });
    store.close();
    let key = LedgerKey::read(&folder.0).unwrap().unwrap();
    let report = Transcript::open(&folder.0).unwrap().verify(&[key.public()], &[]).unwrap();
    assert!(report.is_intact(), "{:?}", report.faults);
    assert_eq!((report.entries, report.checkpoints, report.unsigned), (3, 2, None));
}

#[test]
fn checkpoints_wait_for_a_sink_that_is_down() {
    let folder = Folder::new("sink");
    let store = folder.store();
    run(async {
        let key = LedgerKey::open(Some(&folder.0)).unwrap();
        let door = Door::default();
        let file = folder.0.join("shipped.log");
        let sinks = Sinks {
            file: Some(file.clone()),
            webhook: Some(("https://hooks.example.com/".into(), Arc::new(Secret::new(vec![7; 32])))),
        };
        let told = RefCell::new(Vec::new());
        let ship = async || ship(&store, &sinks, &door, NOW, |one| told.borrow_mut().push(one.seq)).await;
        for n in 1..=2 {
            store.ledger().append(deed(n)).await.unwrap();
            checkpoint(&store, &key, NOW + n).await.unwrap().unwrap();
        }
        assert!(ship().await.unwrap_err().contains("503"));
        assert!(told.borrow().is_empty());
        door.1.set(true);
        ship().await.unwrap();
        ship().await.unwrap();
        assert_eq!(*told.borrow(), [1, 2], "each once");
        assert_eq!(door.0.borrow().len(), 2);
        let lines = std::fs::read_to_string(&file).unwrap();
        let shipped: Vec<Checkpoint> = lines.lines().map(|line| Checkpoint::parse(line).unwrap()).collect();
        assert!(shipped.iter().all(|one| one.is_signed_by(&key.public().bytes)));
        assert_eq!(shipped.last().unwrap().seq, 2);
    });
}

#[test]
fn two_processes_that_make_the_key_have_one() {
    let folder = Folder::new("key");
    std::fs::create_dir_all(&folder.0).unwrap();
    let ids: Vec<String> = (0..4).map(|_| LedgerKey::open(Some(&folder.0)).unwrap().public().id).collect();
    assert!(ids.iter().all(|id| *id == ids[0]));
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(file(&folder.0)).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::write(file(&folder.0), b"no key").unwrap();
    assert!(LedgerKey::open(Some(&folder.0)).is_err(), "a damaged key is not replaced in silence");
}
