//! The same requests through the running program: what keeps the contract arrives at an upstream, and nothing else does.

#![expect(clippy::disallowed_methods, reason = "a client of the tests opens its own sockets")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use portcullis_testkit::{Answer, Program, TempDir, Upstream};
use serde_json::Value;

/// Counts of one document: passed, refused; and what went wrong.
#[derive(Debug, Default)]
pub(crate) struct Ran {
    pub(crate) passed: u64,
    pub(crate) refused: u64,
    pub(crate) failures: Vec<String>,
}

/// Serves a document and sends it requests; `None` when the program does not serve it (what it demands of callers is more
/// than a command line can say).
pub(crate) fn run(program: &str, file: &str, base: &str, requests: &[Value]) -> Option<Ran> {
    let upstream = Upstream::start(|_| Answer::json("{}"));
    let file = std::fs::canonicalize(file).ok()?;
    let url = upstream.url();
    let words = [
        "serve",
        file.to_str()?,
        "--upstream",
        &url,
        "--anonymous",
        "--listen",
        "127.0.0.1:0",
        "--workers",
        "1",
    ];
    let served = Program::start(program, Arc::new(TempDir::new("requests")), &words, &[]).ok()?;
    let mut ran = Ran::default();
    for request in requests {
        let before = upstream.requests().len();
        let target = format!("{base}{}", request["target"].as_str().unwrap_or_default());
        let Some(answer) = send(&served, request, &target) else {
            ran.failures.push(format!("{} {target}: no answer", file.display()));
            continue;
        };
        let arrived = upstream.requests().len() > before;
        let valid = request["valid"] == true;
        let limited = answer.starts_with("HTTP/1.1 429");
        match (valid, arrived) {
            _ if limited => {}
            (true, true) => ran.passed += 1,
            (false, false) if answer.starts_with("HTTP/1.1 400") => ran.refused += 1,
            _ => {
                let answer: String = answer.chars().filter(|c| !c.is_control()).take(900).collect();
                ran.failures
                    .push(format!("{} {target}: valid {valid}, arrived {arrived}: {answer}", file.display()));
            }
        }
    }
    Some(ran)
}

fn send(served: &Program, request: &Value, target: &str) -> Option<String> {
    let body = request["body"].as_str().unwrap_or_default();
    let mut head = format!(
        "{} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n",
        request["method"].as_str()?
    );
    for field in request["headers"].as_array()? {
        head.push_str(&format!("{}: {}\r\n", field[0].as_str()?, field[1].as_str()?));
    }
    if request["body"].is_string() {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    let mut stream = TcpStream::connect(served.public()).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned())
}
