//! ClamAV's own daemon, with one signature of ours; nothing is downloaded.

use super::*;
use portcullis_testkit::files::{self, Entry};
use portcullis_testkit::{PATIENCE, TempDir};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A daemon on a port of its own; it ends with this value.
struct Clamd {
    child: Child,
    dir: TempDir,
    port: u16,
}

/// `None` after saying so, where there is no clamd.
fn installed() -> bool {
    let there = std::path::Path::new("/usr/sbin/clamd").exists();
    if !there {
        let _ = writeln!(std::io::stderr(), "skipped: no /usr/sbin/clamd (apt-get install clamav-daemon)");
    }
    there
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Clamd {
    fn start(more: &str) -> Self {
        Self::on(free_port(), more)
    }

    fn on(port: u16, more: &str) -> Self {
        let dir = TempDir::new("clamd");
        let hex: String = files::eicar().iter().map(|byte| format!("{byte:02x}")).collect();
        dir.write("db/local.ndb", format!("Local.Eicar:0:*:{hex}\n"));
        let at = dir.path().display();
        let config = format!(
            "{more}\nForeground yes\nTCPSocket {port}\nTCPAddr 127.0.0.1\nDatabaseDirectory {at}/db\nTemporaryDirectory {at}\n\
             LogFile {at}/log\nMaxThreads 4\nStreamMaxLength 64M\n"
        );
        dir.write("clamd.conf", config);
        let child = Command::new("/usr/sbin/clamd")
            .arg("-c")
            .arg(dir.path().join("clamd.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let clamd = Self { child, dir, port };
        until("clamd answers", || {
            let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
            let mut answer = String::new();
            let asked = stream.write_all(b"zPING\0").is_ok() && stream.read_to_string(&mut answer).is_ok();
            asked && answer == "PONG\0"
        });
        clamd
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Clamd {
    fn drop(&mut self) {
        self.kill();
        let _ = self.dir.path();
    }
}

/// Waits for a condition, three times as long as for anything else: the daemon starts slowly.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE * 3, "waited for: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until the gate trusts its scanner, or no longer does.
async fn ready(world: &World, wanted: bool) {
    let began = Instant::now();
    loop {
        let answer = world.admin("/readyz").await;
        if (answer.status == 200) == wanted {
            assert!(wanted || answer.text().contains("scanner 127.0.0.1:"), "{}", answer.text());
            return;
        }
        assert!(
            began.elapsed() < PATIENCE * 3,
            "readiness stays {}: {}",
            answer.status,
            world.program.stderr()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn text(world: &World, bytes: &[u8]) -> Response {
    send(world, "/anything", "text/plain", "a.txt", bytes).await
}

#[tokio::test]
async fn what_the_scanner_finds_is_refused() {
    if !installed() {
        return;
    }
    let clamd = Clamd::start("AlertExceedsMax yes");
    let world = world(Some(&clamd.address()), "");
    ready(&world, true).await;
    let eicar = files::eicar();
    arrived(&world, &text(&world, b"harmless").await);
    let response = text(&world, &eicar).await;
    is_refused(&world, &response, 422, "malware-detected");
    assert!(!response.text().contains("Eicar"), "the signature is not for the client");
    let id = response.header("x-request-id").unwrap().to_owned();
    let noted = world.program.stderr_until(|text| text.contains(&id)).unwrap();
    let line = noted.lines().find(|line| line.contains(&id)).unwrap();
    assert!(line.contains("upload.malware") && line.contains("Local.Eicar"), "{line}");
    // In an archive, and in a file of 3 MB that waits on the disk.
    let zip = files::zip(&[Entry::new("a.txt", eicar.clone())]);
    is_refused(
        &world,
        &send(&world, "/anything", "application/zip", "a.zip", &zip).await,
        422,
        "malware-detected",
    );
    let long = [b"line of text\n".repeat(250_000), eicar.clone()].concat();
    is_refused(&world, &text(&world, &long).await, 422, "malware-detected");
    let clean = b"line of text\n".repeat(250_000);
    let seen = arrived(&world, &text(&world, &clean).await);
    assert!(seen.message.body.len() > clean.len());
    // Twenty deep: refused before anybody scans it.
    let deep = files::nested("a.txt", &eicar, 20);
    is_refused(
        &world,
        &send(&world, "/anything", "application/zip", "a.zip", &deep).await,
        422,
        "file-type-rejected",
    );
    let metrics = world.admin("/metrics").await.text();
    assert!(metrics.contains("portcullis_uploads_scanned_total{result=\"clean\"} 2"), "{metrics}");
    assert!(metrics.contains("portcullis_uploads_scanned_total{result=\"found\"} 3"), "{metrics}");
}

#[tokio::test]
async fn a_daemon_that_gives_up_silently_or_takes_too_little_is_not_trusted() {
    if !installed() {
        return;
    }
    // Without AlertExceedsMax deep archives come back clean; with a small StreamMaxLength our files do not fit.
    for (more, why) in [
        ("AlertExceedsMax no", "AlertExceedsMax yes"),
        ("AlertExceedsMax yes\nStreamMaxLength 1M", "StreamMaxLength"),
    ] {
        let clamd = Clamd::start(more);
        let world = world(Some(&clamd.address()), "");
        let noted = world.program.stderr_until(|text| text.contains("scanner.self_test_failed")).unwrap();
        assert!(noted.contains(why), "{noted}");
        is_refused(&world, &text(&world, b"harmless").await, 503, "scanner-unavailable");
        ready(&world, false).await;
    }
}

#[tokio::test]
async fn stopped_started_and_killed_in_the_middle_of_a_scan() {
    if !installed() {
        return;
    }
    let port = free_port();
    let world = world(Some(&format!("127.0.0.1:{port}")), "");
    let response = text(&world, b"harmless").await;
    is_refused(&world, &response, 503, "scanner-unavailable");
    assert!(response.header("retry-after").is_some());
    ready(&world, false).await;
    let clamd = Clamd::on(port, "AlertExceedsMax yes");
    ready(&world, true).await;
    arrived(&world, &text(&world, b"harmless").await);
    // A middleman forwards the head of a scan; then the daemon is killed.
    drop(clamd);
    let killed = std::sync::Arc::new(std::sync::Mutex::new(Some(Clamd::start("AlertExceedsMax yes"))));
    let behind = killed.lock().unwrap().as_ref().unwrap().port;
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let to_kill = killed.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut from) = stream else { return };
            let to_kill = to_kill.clone();
            std::thread::spawn(move || {
                let Ok(mut to) = TcpStream::connect(("127.0.0.1", behind)) else { return };
                let (mut back, mut answers) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                let returning = std::thread::spawn(move || {
                    let _ = std::io::copy(&mut answers, &mut back);
                    let _ = back.shutdown(std::net::Shutdown::Both);
                });
                let mut piece = [0; 4096];
                while let Ok(count) = from.read(&mut piece) {
                    if count == 0 || to.write_all(&piece[..count]).is_err() {
                        break;
                    }
                    // The mark stands in the middle of the file: more of it is still to come.
                    if piece[..count].windows(9).any(|part| part == b"kill here")
                        && let Some(mut clamd) = to_kill.lock().unwrap().take()
                    {
                        clamd.kill();
                    }
                }
                let _ = to.shutdown(std::net::Shutdown::Both);
                let _ = returning.join();
            });
        }
    });
    ready(&world, true).await;
    arrived(&world, &text(&world, b"harmless").await);
    let long =
        [b"line of text\n".repeat(100_000), b"kill here\n".to_vec(), b"line of text\n".repeat(100_000)]
            .concat();
    is_refused(&world, &text(&world, &long).await, 503, "scanner-unavailable");
    assert!(killed.lock().unwrap().is_none(), "the daemon was killed while it scanned");
    is_refused(&world, &text(&world, b"harmless").await, 503, "scanner-unavailable");
    ready(&world, false).await;
}

/// A daemon that passes every self-test and then answers a file as it is told.
fn odd(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut word = [0; 10];
                if stream.read_exact(&mut word[..9]).is_err() || &word[..9] == b"zVERSION\0" {
                    let _ = stream.write_all(b"ClamAV 1.4.6\0");
                    return;
                }
                let mut first: Vec<u8> = Vec::new();
                let _ = stream.read_exact(&mut word[9..]);
                loop {
                    let mut size = [0; 4];
                    if stream.read_exact(&mut size).is_err() || size == [0; 4] {
                        break;
                    }
                    let mut chunk = vec![0; u32::from_be_bytes(size) as usize];
                    if stream.read_exact(&mut chunk).is_err() {
                        return;
                    }
                    if first.is_empty() {
                        first = chunk;
                    }
                }
                let answer = if first == files::eicar() || first.starts_with(b"PK") {
                    b"stream: Eicar FOUND\0".as_slice()
                } else if first.iter().all(|byte| *byte == 0) {
                    b"stream: OK\0"
                } else {
                    answer
                };
                let _ = stream.write_all(answer);
            });
        }
    });
    address
}

#[tokio::test]
async fn odd_answers_are_no_answers() {
    for (answer, passes) in [
        (b"stream: OK\0".as_slice(), true),
        (b"stream: OK", false),
        (b"stream: OK\n", false),
        (b"stream: (null) FOUND\0", false),
        (b"stream: OK\0stream: OK\0", false),
        (b"stream: OK and more\0", false),
        (b"stream: O", false),
        (b"", false),
        (b"INSTREAM size limit exceeded. ERROR\0", false),
        (b"stream: Can't open file ERROR\0", false),
    ] {
        let world = world(Some(&odd(answer)), "");
        ready(&world, true).await;
        let response = text(&world, b"harmless").await;
        if passes {
            arrived(&world, &response);
        } else {
            is_refused(&world, &response, 503, "scanner-unavailable");
        }
    }
}

#[tokio::test]
async fn unscanned_is_a_loosening_and_each_file_is_told() {
    let loosen = "    loosen: [{ allow: unscanned, because: the scanner moves, until: 2099-12-31, operations: [postAnything] }]\n";
    let world = world(Some(&format!("127.0.0.1:{}", free_port())), loosen);
    let response = text(&world, b"harmless").await;
    arrived(&world, &response);
    let id = response.header("x-request-id").unwrap().to_owned();
    let noted = world
        .program
        .stderr_until(|text| text.lines().any(|l| l.contains(&id) && l.contains("upload.unscanned")))
        .unwrap();
    assert!(noted.lines().any(|line| line.contains(&id) && line.contains("critical")), "{noted}");
    // Other operations are not loosened, and a file that says `scan: required` never is.
    let png = files::png(&[]);
    is_refused(&world, &send(&world, "/files", "image/png", "a.png", &png).await, 503, "scanner-unavailable");
    let metrics = world.admin("/metrics").await.text();
    assert!(metrics.contains("portcullis_uploads_scanned_total{result=\"unscanned\"} 1"), "{metrics}");
}
