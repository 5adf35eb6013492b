//! This program as a child process, on the example's own configuration.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use portcullis_shop::Shop;

use super::issuer::Issuer;

const DOCUMENT: &str = include_str!("../../../../examples/shop/openapi.yaml");
const CONFIGURATION: &str = include_str!("../../../../examples/shop/portcullis.yaml");
const PATIENCE: Duration = Duration::from_secs(20);

/// A running gate; it and its folder are gone when this is dropped.
pub(super) struct Gate {
    child: Child,
    folder: PathBuf,
    address: SocketAddr,
}

impl Gate {
    /// Starts `serve` of this executable in front of the shop.
    pub(super) fn start(shop: &Shop, issuer: &Issuer) -> io::Result<Self> {
        let folder = fresh_folder()?;
        fs::write(folder.join("openapi.yaml"), DOCUMENT)?;
        fs::write(folder.join("portcullis.yaml"), configuration(shop.address()))?;
        fs::write(folder.join("issuer.jwks.json"), issuer.jwks())?;
        let log = fs::File::create(folder.join("access.log"))?;
        let errors = fs::File::create(folder.join("errors.log"))?;
        let child = Command::new(std::env::current_exe()?)
            .args(["serve", "--config", "portcullis.yaml", "--ready-file", "ready.json"])
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()?;
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut gate = Self { child, folder, address };
        gate.address = gate.wait()?;
        Ok(gate)
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its access log.
    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("access.log")
    }

    fn wait(&mut self) -> io::Result<SocketAddr> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(address) = ready(&self.folder.join("ready.json")) {
                return Ok(address);
            }
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let said = fs::read_to_string(self.folder.join("errors.log")).unwrap_or_default();
                return Err(io::Error::other(format!("the gate did not start ({ended:?})\n{said}")));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The example's configuration with the ports of this run.
fn configuration(shop: SocketAddr) -> String {
    CONFIGURATION.replace("127.0.0.1:8080", "127.0.0.1:0").replace("127.0.0.1:3000", &shop.to_string())
}

fn ready(path: &Path) -> Option<SocketAddr> {
    let text = fs::read_to_string(path).ok()?;
    let value: serde_json::Value = serde_json::from_str(&text).ok()?;
    value.get("listeners")?.get("public")?.as_str()?.parse().ok()
}

fn fresh_folder() -> io::Result<PathBuf> {
    for number in 0..1_000 {
        let path = std::env::temp_dir().join(format!("portcullis-demo-{}-{number}", std::process::id()));
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|()| path),
        }
    }
    Err(io::Error::other("no free name for a temporary folder"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_used_with_the_ports_of_the_run() {
        let text = configuration(SocketAddr::from(([127, 0, 0, 1], 4567)));
        assert!(text.contains("listen: 127.0.0.1:0\n") && text.contains("upstream: http://127.0.0.1:4567\n"));
        assert!(!text.contains(":8080") && !text.contains(":3000"));
    }
}
