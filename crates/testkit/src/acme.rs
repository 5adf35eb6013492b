//! An honest ACME server: Pebble, where it is installed (`pebble` and `pebble-challtestsrv` on `PATH`; distributions have
//! it as a package). It checks signatures, nonces and challenges as a public authority does, over real sockets.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::PATIENCE;
use crate::certs::Authority;
use crate::dir::TempDir;

/// A running Pebble and its name server; killed on drop.
pub struct Pebble {
    processes: Vec<Child>,
    authority: Authority,
    port: u16,
    management: u16,
    names: u16,
    _dir: TempDir,
}

/// How it behaves.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    /// Accounts must be bound to this account at the authority: its name, and its key in base64url.
    pub external_account: Option<(&'static str, &'static str)>,
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has ports");
    listener.local_addr().expect("it is bound").port()
}

fn installed(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

impl Pebble {
    /// Starts it, validating challenges at these ports of 127.0.0.1; `None` when it is not installed, which is said.
    pub fn start(tls_port: u16, http_port: u16, terms: &Terms) -> Option<Self> {
        if !installed("pebble") || !installed("pebble-challtestsrv") {
            let _ = writeln!(io::stderr(), "skipped: `pebble` is not installed");
            return None;
        }
        let dir = TempDir::new("pebble");
        let authority = Authority::new();
        let certificate = authority.server(&["127.0.0.1", "localhost"]);
        let (cert, key) =
            (dir.write("cert.pem", &certificate.cert_pem), dir.write("key.pem", &certificate.key_pem));
        let (port, management, dns, names) = (free_port(), free_port(), free_port(), free_port());
        let mut config = json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": cert, "privateKey": key,
            "httpPort": http_port, "tlsPort": tls_port,
            "ocspResponderURL": "", "externalAccountBindingRequired": terms.external_account.is_some(),
        } });
        if let Some((kid, key)) = terms.external_account {
            config["pebble"]["externalAccountMACKeys"] = json!({ kid: key });
        }
        let config = dir.write("config.json", config.to_string());
        let quiet = |command: &mut Command| {
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("it starts")
        };
        let challenges = quiet(Command::new("pebble-challtestsrv").args([
            "-defaultIPv4",
            "127.0.0.1",
            "-defaultIPv6",
            "",
            "-http01",
            "",
            "-https01",
            "",
            "-tlsalpn01",
            "",
            "-dns01",
            &format!("127.0.0.1:{dns}"),
            "-management",
            &format!("127.0.0.1:{names}"),
        ]));
        let server = quiet(
            Command::new("pebble")
                .args(["-strict", "-dnsserver", &format!("127.0.0.1:{dns}")])
                .arg("-config")
                .arg(&config)
                // At once, and with nonces that are refused now and then, as they are by busy servers.
                .envs([
                    ("PEBBLE_VA_NOSLEEP", "1"),
                    ("PEBBLE_AUTHZREUSE", "0"),
                    ("PEBBLE_WFE_NONCEREJECT", "2"),
                ]),
        );
        let pebble =
            Self { processes: vec![server, challenges], authority, port, management, names, _dir: dir };
        for port in [port, management, names] {
            wait_for(port).expect("it listens in time");
        }
        Some(pebble)
    }

    /// The URL of its directory.
    pub fn directory(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.port)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// The authority of its own TLS certificate, PEM.
    pub fn ca(&self) -> &str {
        self.authority.pem()
    }

    /// The authority of its own TLS certificate.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The root of the certificates that it issues, PEM.
    pub async fn root(&self) -> io::Result<String> {
        let config = Arc::new(self.authority.client_config());
        let bytes = crate::client::request("GET", "/roots/0", &[], b"");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.management));
        crate::client::send_tls(address, "localhost", config, &bytes).await.map(|answer| answer.text())
    }

    /// Where a name lies from now on.
    pub fn point(&self, name: &str, address: Ipv4Addr) -> io::Result<()> {
        let host = format!("{name}.");
        self.names_are("clear-a", &json!({ "host": host }).to_string())?;
        let addresses = json!({ "host": host, "addresses": [address.to_string()] });
        self.names_are("add-a", &addresses.to_string())
    }

    fn names_are(&self, what: &str, body: &str) -> io::Result<()> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.names))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let length = body.len();
        let head = format!(
            "POST /{what} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}"
        );
        write!(stream, "{head}\r\n\r\n{body}")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(io::Error::other(answer)) }
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn wait_for(port: u16) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}
