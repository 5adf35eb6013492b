//! Starts the real program, waits for it without guessing, and leaves nothing running.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::PATIENCE;
use crate::dir::TempDir;

/// A signal that the harness can send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Drain and end.
    Term,
    /// Reload.
    Hup,
    /// End at once, without a chance to tidy up.
    Kill,
    /// Stand still.
    Stop,
    /// Go on.
    Cont,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Term => "TERM",
            Self::Hup => "HUP",
            Self::Kill => "KILL",
            Self::Stop => "STOP",
            Self::Cont => "CONT",
        }
    }
}

/// What ran to its end.
#[derive(Debug)]
pub struct Finished {
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Everything written to stdout.
    pub stdout: String,
    /// Everything written to stderr.
    pub stderr: String,
}

/// A running `portcullis serve` (or another verb), killed on drop.
pub struct Program {
    child: Child,
    stdout: Output,
    stderr: Output,
    ready_file: PathBuf,
    ready: Value,
    dir: Arc<TempDir>,
}

impl Program {
    /// Runs `binary ARGUMENTS` in `dir` to its end, with closed stdin. Fails when it takes longer than a minute.
    pub fn run(binary: impl AsRef<Path>, dir: &Path, arguments: &[&str]) -> io::Result<Finished> {
        let mut child = command(binary.as_ref(), dir, arguments, &[]).spawn()?;
        let stdout = Output::of(child.stdout.take());
        let stderr = Output::of(child.stderr.take());
        let status = wait(&mut child, Duration::from_secs(60))?;
        Ok(Finished { code: status.code(), stdout: stdout.end(), stderr: stderr.end() })
    }

    /// Writes `config` as `portcullis.yaml` into a fresh folder and serves it. Further files belong into `dir`
    /// beforehand: see [`Program::serve_in`].
    pub fn serve(binary: impl AsRef<Path>, config: &str) -> io::Result<Self> {
        let dir = Arc::new(TempDir::new("program"));
        dir.write("portcullis.yaml", config);
        Self::serve_in(binary, dir)
    }

    /// Serves the `portcullis.yaml` that stands in `dir`.
    pub fn serve_in(binary: impl AsRef<Path>, dir: Arc<TempDir>) -> io::Result<Self> {
        Self::start(binary, dir, &["serve", "--config", "portcullis.yaml"], &[])
    }

    /// Runs any verb that takes `--ready-file`, which is added, and waits until it is ready. The error tells
    /// what the program said, when it ended instead.
    pub fn start(
        binary: impl AsRef<Path>,
        dir: Arc<TempDir>,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> io::Result<Self> {
        let ready_file = dir.path().join("ready.json");
        let _ = std::fs::remove_file(&ready_file);
        let mut command = command(binary.as_ref(), dir.path(), arguments, environment);
        command.arg("--ready-file").arg(&ready_file);
        let mut child = command.spawn()?;
        let stdout = Output::of(child.stdout.take());
        let stderr = Output::of(child.stderr.take());
        let mut program = Self { child, stdout, stderr, ready_file, ready: Value::Null, dir };
        program.wait_ready()?;
        Ok(program)
    }

    fn wait_ready(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Written in one go or not: until it parses it is not there.
            if let Ok(text) = std::fs::read_to_string(&self.ready_file)
                && let Ok(value) = serde_json::from_str::<Value>(&text)
            {
                self.ready = value;
                return Ok(());
            }
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return Err(io::Error::other(format!(
                    "not ready ({ended:?})\nstdout: {}\nstderr: {}",
                    self.stdout.end(),
                    self.stderr.end()
                )));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// What it wrote when it was ready.
    pub fn ready(&self) -> &Value {
        &self.ready
    }

    /// The address of a listener by its name in the ready file.
    pub fn listener(&self, name: &str) -> SocketAddr {
        self.ready["listeners"][name]
            .as_str()
            .and_then(|text| text.parse().ok())
            .expect("the ready file names this listener")
    }

    /// The public listener.
    pub fn public(&self) -> SocketAddr {
        self.listener("public")
    }

    /// The admin listener.
    pub fn admin(&self) -> SocketAddr {
        self.listener("admin")
    }

    /// The folder that it runs in.
    pub fn dir(&self) -> &TempDir {
        &self.dir
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal. (By the shell's own `kill`: the system call would need `unsafe`.)
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let line = format!("kill -{} {}", signal.name(), self.child.id());
        let status = Command::new("sh").arg("-c").arg(line).status()?;
        if status.success() { Ok(()) } else { Err(io::Error::other("the signal was not delivered")) }
    }

    /// Everything written to stdout so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Everything written to stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits until stdout satisfies `enough`, and returns it.
    pub fn stdout_until(&self, enough: impl Fn(&str) -> bool) -> io::Result<String> {
        self.stdout.until(enough)
    }

    /// Waits until stderr satisfies `enough`, and returns it.
    pub fn stderr_until(&self, enough: impl Fn(&str) -> bool) -> io::Result<String> {
        self.stderr.until(enough)
    }

    /// Waits for its end, at most a minute.
    pub fn finish(&mut self) -> io::Result<Finished> {
        let status = wait(&mut self.child, Duration::from_secs(60))?;
        Ok(Finished { code: status.code(), stdout: self.stdout.end(), stderr: self.stderr.end() })
    }

    /// SIGTERM, then waits for the end.
    pub fn terminate(&mut self) -> io::Result<Finished> {
        self.signal(Signal::Term)?;
        self.finish()
    }

    /// Resident memory in bytes, from `/proc`.
    pub fn resident_bytes(&self) -> io::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
            .map(|kib| kib * 1024)
            .ok_or_else(|| io::Error::other("no VmRSS"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(binary: &Path, dir: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(binary);
    command
        .args(arguments)
        .current_dir(dir)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn wait(child: &mut Child, patience: Duration) -> io::Result<ExitStatus> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the program did not end in time"));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// One stream of the child, collected by a thread of its own so that the child never blocks on it.
struct Output {
    shared: Arc<(Mutex<Vec<u8>>, Condvar)>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Output {
    fn of(stream: Option<impl Read + Send + 'static>) -> Self {
        let shared: Arc<(Mutex<Vec<u8>>, Condvar)> = Arc::default();
        let inside = Arc::clone(&shared);
        let thread = stream.map(|mut stream| {
            std::thread::spawn(move || {
                let mut piece = [0_u8; 8192];
                while let Ok(length) = stream.read(&mut piece) {
                    if length == 0 {
                        break;
                    }
                    let (bytes, changed) = &*inside;
                    bytes.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&piece[..length]);
                    changed.notify_all();
                }
            })
        });
        Self { shared, thread: Mutex::new(thread) }
    }

    fn text(&self) -> String {
        let bytes = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn until(&self, enough: impl Fn(&str) -> bool) -> io::Result<String> {
        let (bytes, changed) = &*self.shared;
        let mut held = bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = String::from_utf8_lossy(&held).into_owned();
            if enough(&text) {
                return Ok(text);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("not said in time; so far: {text}"),
                ));
            }
            held = changed.wait_timeout(held, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn end(&self) -> String {
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
        self.text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(dir: &TempDir, text: &str) -> PathBuf {
        dir.write("fake.sh", text)
    }

    #[test]
    fn waits_for_the_ready_file_collects_output_and_ends_by_signal() {
        let dir = Arc::new(TempDir::new("program"));
        let path = script(
            &dir,
            "trap 'echo drained; exit 0' TERM\necho hello\n\
             echo '{\"listeners\":{\"public\":\"127.0.0.1:1\"},\"plan\":\"p\"}' > \"$2\"\n\
             while :; do sleep 0.02; done\n",
        );
        let mut program = Program::start("sh", dir, &[path.to_str().unwrap()], &[]).unwrap();
        assert_eq!(program.public().port(), 1);
        assert!(program.stdout_until(|text| text.contains("hello")).is_ok());
        assert!(program.resident_bytes().unwrap() > 0);
        let end = program.terminate().unwrap();
        assert_eq!((end.code, end.stdout.as_str()), (Some(0), "hello\ndrained\n"));
    }

    #[test]
    fn a_program_that_ends_early_tells_why() {
        let dir = Arc::new(TempDir::new("program"));
        let path = script(&dir, "echo 'no such plan' >&2; exit 1\n");
        let error = Program::start("sh", dir, &[path.to_str().unwrap()], &[]).err().unwrap();
        assert!(error.to_string().contains("no such plan"), "{error}");
    }

    #[test]
    fn run_returns_code_and_streams() {
        let dir = TempDir::new("program");
        let end = Program::run("sh", dir.path(), &["-c", "echo a; echo b >&2; exit 3"]).unwrap();
        assert_eq!((end.code, end.stdout.as_str(), end.stderr.as_str()), (Some(3), "a\n", "b\n"));
    }
}
