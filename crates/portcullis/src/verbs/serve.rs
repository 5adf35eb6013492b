//! `portcullis serve`.

use super::{colour_of_errors, fail, tell};
use crate::assemble::{self, Compile, Running, given, variable};
use crate::cli::{Serve, Source};
use crate::scribe::deed;
use notify::{RecursiveMode, Watcher as _};
use portcullis_config::Outcome;
use portcullis_core::finding::Severity;
use portcullis_telemetry::note;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Changes are read once the folder has been quiet for so long: editors and mounts write in several steps.
const SETTLE: Duration = Duration::from_millis(300);

pub(crate) fn run(serve: Serve) -> ExitCode {
    let compile = compiler(serve.source);
    let outcome = compile();
    tell(&outcome.render(colour_of_errors()));
    let files = outcome.files.clone();
    let errors = outcome.count(Severity::Error);
    let Some(plan) = outcome.plan else {
        return fail(&format!("{errors} errors; nothing listens"));
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("a runtime: {error}")),
    };
    // Before anybody is told that it is ready: until a handler is there, a SIGHUP ends the program.
    let ears = runtime.block_on(async { Ears::open(&files) });
    let Ok(ears) = ears else { return fail("signals cannot be heard; nothing listens") };
    let running = match assemble::start(plan, serve.workers) {
        Ok(running) => running,
        Err(trouble) => return fail(&format!("{trouble}; nothing listens")),
    };
    record(&running, "program.started", env!("CARGO_PKG_VERSION"), None, plan_in_force(&running));
    // Nobody is told of a program whose start nobody could find later.
    running.scribe.settle(Duration::from_secs(5));
    let json = assemble::ready_json(&running);
    if let Some(path) = &serve.ready_file
        && let Err(error) = assemble::write_atomically(path, &json)
    {
        return fail(&format!("{}: {error}", path.display()));
    }
    announce(&running);
    runtime.block_on(reign(&running, &compile, ears))
}

/// Into the audit ledger.
fn record(
    running: &Running,
    event: &'static str,
    target: &str,
    reason: Option<String>,
    detail: Vec<(&'static str, String)>,
) {
    let now = running.shared.clock.now().secs();
    running.scribe.wrote(deed(now, event, target, reason, detail));
}

fn plan_in_force(running: &Running) -> Vec<(&'static str, String)> {
    vec![
        ("plan", running.shared.live.load().plan.digest.to_string()),
        ("pid", std::process::id().to_string()),
    ]
}

/// A closure that makes the plan, now and at every reload.
fn compiler(source: Source) -> Compile {
    Box::new(move || match &source.spec {
        None => portcullis_config::compile(&source.config, given(&variable)),
        Some(spec) => {
            let direct = &source.direct;
            let options = portcullis_config::Options {
                upstream: direct.upstream.as_deref().unwrap_or_default(),
                listen: Some(&direct.listen),
                issuer: direct.issuer.as_deref(),
                audience: direct.audience.as_deref(),
                jwks: direct.jwks.as_deref(),
                anonymous: direct.anonymous,
                quiet: false,
            };
            portcullis_config::from_spec(spec, options, given(&variable))
        }
    })
}

fn announce(running: &Running) {
    let live = running.shared.live.load();
    let operations: usize = live.plan.apis.iter().map(|api| api.contract.operations().len()).sum();
    let mut listening = String::new();
    if let Some(edge) = running.shared.edge.get() {
        for (name, address) in edge.addresses() {
            let tls = live.plan.listeners.iter().any(|l| l.name == name && l.tls.is_some());
            let scheme = if tls { "https" } else { "http" };
            listening.push_str(&format!(" {name}={scheme}://{address}"));
        }
    }
    let operations = u64::try_from(operations).unwrap_or(u64::MAX);
    note::info(
        "ready",
        "serving",
        &[
            ("listeners", listening.trim().into()),
            ("operations", operations.into()),
            ("plan", (*live.plan.digest).into()),
        ],
    );
}

/// Where the program is spoken to while it runs.
struct Ears {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    changes: UnboundedReceiver<()>,
    watch: Watch,
}

impl Ears {
    /// Within a runtime.
    fn open(files: &[PathBuf]) -> std::io::Result<Self> {
        let (tell_change, changes) = unbounded_channel();
        let mut watch = Watch::new(tell_change);
        watch.on(files);
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            changes,
            watch,
        })
    }
}

/// Signals and file changes, until the end.
async fn reign(running: &Running, compile: &Compile, ears: Ears) -> ExitCode {
    let Ears { mut hangup, mut terminate, mut interrupt, mut changes, mut watch } = ears;
    loop {
        tokio::select! {
            _ = hangup.recv() => reload(running, compile, &mut watch, "SIGHUP"),
            () = settled(&mut changes) => {
                // Other files live in these folders too; the log may be one of them.
                if watch.changed() {
                    reload(running, compile, &mut watch, "files");
                }
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    let Some(edge) = running.shared.edge.get() else { return ExitCode::FAILURE };
    let drain = running.shared.live.load().plan.drain;
    // Readiness is red before anybody is told.
    edge.drain(drain);
    note::info("drain", "no new connections; what is in progress may end", &[]);
    let limit = drain.delay.saturating_add(drain.timeout).saturating_add(Duration::from_secs(2));
    let shared = running.shared.clone();
    let ended = tokio::task::spawn_blocking(move || shared.edge.get().is_none_or(|edge| edge.wait(limit)));
    tokio::select! {
        _ = ended => {}
        _ = terminate.recv() => edge.stop(),
        _ = interrupt.recv() => edge.stop(),
    }
    edge.wait(Duration::from_secs(1));
    record(running, "program.stopped", env!("CARGO_PKG_VERSION"), None, plan_in_force(running));
    running.scribe.close(Duration::from_secs(5));
    running.shared.log.close(Duration::from_secs(5));
    note::info("end", "drained", &[]);
    note::flush(Duration::from_secs(1));
    ExitCode::SUCCESS
}

/// Compiles again. With an error the last good plan stays.
fn reload(running: &Running, compile: &Compile, watch: &mut Watch, cause: &'static str) {
    // Taken before the files are read: what changes in between counts as a change next time.
    let prints = watch.prints();
    let outcome: Outcome = compile();
    let known = outcome.files == watch.files;
    watch.on(&outcome.files);
    if known {
        watch.seen.clone_from(&prints);
    }
    tell(&outcome.render(colour_of_errors()));
    let errors = outcome.count(Severity::Error);
    let Some(plan) = outcome.plan else {
        running.shared.metrics.reload("refused");
        let first = outcome.findings.iter().find(|finding| finding.severity == Severity::Error);
        let why = first.map(|finding| format!("{errors} errors, the first: {}", finding.code));
        record(running, "plan.refused", "-", why, vec![("cause", cause.to_owned())]);
        let errors = u64::try_from(errors).unwrap_or(u64::MAX);
        note::error("plan.reload_failed", "the last good plan stays", &[("errors", errors.into())]);
        return;
    };
    // The digest is of what people write; a certificate or a key set that was replaced shows in its file alone.
    let unchanged = known && watch.in_force.as_ref() == Some(&prints);
    if unchanged && plan.digest == running.shared.live.load().plan.digest {
        running.shared.metrics.reload("unchanged");
        note::info("plan.unchanged", "nothing to put in force", &[("plan", (*plan.digest).into())]);
        return;
    }
    let digest = plan.digest.clone();
    let before = running.shared.live.load().plan.digest.to_string();
    match running.reload(plan) {
        Ok(difference) => {
            watch.in_force = Some(prints);
            running.shared.metrics.reload("applied");
            for line in &difference {
                tell(&format!("  {line}\n"));
            }
            let detail = vec![
                ("before", before),
                ("changes", difference.len().to_string()),
                ("cause", cause.to_owned()),
            ];
            record(running, "plan.reloaded", &digest, None, detail);
            let changes = u64::try_from(difference.len()).unwrap_or(u64::MAX);
            note::info(
                "plan.reloaded",
                "a new plan is in force",
                &[("plan", (*digest).into()), ("changes", changes.into())],
            );
        }
        Err(trouble) => {
            running.shared.metrics.reload("refused");
            let why = trouble.to_string();
            let detail = vec![("cause", cause.to_owned())];
            record(running, "plan.refused", &digest, Some(why.clone()), detail);
            note::error("plan.reload_failed", "the last good plan stays", &[("why", why.as_str().into())]);
        }
    }
}

/// Ready once something changed and then nothing did for a moment.
async fn settled(changes: &mut UnboundedReceiver<()>) {
    if changes.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
    while let Ok(Some(())) = tokio::time::timeout(SETTLE, changes.recv()).await {}
}

/// Watches the folders of files, not the files: a replaced file, or a swapped symlink, is another file.
struct Watch {
    watcher: Option<notify::RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
    files: Vec<PathBuf>,
    seen: Vec<Print>,
    /// The files of the plan in force, as they were before it was made; nothing until the first reload.
    in_force: Option<Vec<Print>>,
}

/// What tells one state of a file from another: device, inode, size, time of change. Symlinks are followed.
type Print = Option<(u64, u64, u64, i64, i64)>;

fn print_of(file: &PathBuf) -> Print {
    use std::os::unix::fs::MetadataExt as _;
    let meta = std::fs::metadata(file).ok()?;
    Some((meta.dev(), meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
}

impl Watch {
    fn new(changed: UnboundedSender<()>) -> Self {
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|e| !e.kind.is_access()) {
                // The receiver lives as long as the program.
                let _ = changed.send(());
            }
        });
        if watcher.is_err() {
            note::warn("watch.failed", "files are not watched; SIGHUP reloads", &[]);
        }
        Self {
            watcher: watcher.ok(),
            folders: BTreeSet::new(),
            files: Vec::new(),
            seen: Vec::new(),
            in_force: None,
        }
    }

    /// The files as they are now.
    fn prints(&self) -> Vec<Print> {
        self.files.iter().map(print_of).collect()
    }

    /// Whether one of the files is another than it was when the plan was made.
    fn changed(&self) -> bool {
        self.prints() != self.seen
    }

    fn on(&mut self, files: &[PathBuf]) {
        self.files = files.to_vec();
        self.seen = self.prints();
        let Some(watcher) = &mut self.watcher else { return };
        for file in files {
            let folder = file.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if self.folders.insert(folder.to_owned()) {
                // A folder that is not there is looked at again at the next reload.
                if watcher.watch(folder, RecursiveMode::NonRecursive).is_err() {
                    self.folders.remove(folder);
                }
            }
        }
    }
}
