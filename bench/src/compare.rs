//! The run: every proxy is started, then takes its turn in every round.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use portcullis_testkit::{Algorithm, Key};

use crate::cost::cpu_micros;
use crate::peers::{Peer, Running};
use crate::work::{self, Work};
use crate::{Result, report, text};

/// Connections that are kept busy.
pub(crate) const CONNECTIONS: usize = 32;

/// What the command line says.
pub(crate) struct Options {
    /// This program, as released.
    pub(crate) program: PathBuf,
    /// Turns of each proxy.
    pub(crate) rounds: usize,
    /// Length of a turn.
    pub(crate) seconds: f64,
    only: Option<Vec<String>>,
    dry: bool,
}

/// One turn of one proxy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    /// Microseconds of CPU that the proxy spent for a request.
    pub(crate) micros: f64,
    /// Requests a second, with the proxy on one core.
    pub(crate) rate: f64,
    /// Half of the requests were answered within so many microseconds.
    pub(crate) p50: f64,
    /// 99 in 100.
    pub(crate) p99: f64,
}

/// All turns of one proxy at one kind of work.
#[derive(Debug)]
pub(crate) struct Row {
    /// Who.
    pub(crate) peer: Peer,
    /// Its version.
    pub(crate) version: String,
    /// At what.
    pub(crate) work: Work,
    /// In the order of the rounds.
    pub(crate) turns: Vec<Turn>,
}

/// Who does what, in the order of the table.
const FIELD: [(Work, Peer); 10] = [
    (Work::Plain, Peer::Portcullis),
    (Work::Plain, Peer::Haproxy),
    (Work::Plain, Peer::Nginx),
    (Work::Plain, Peer::Envoy),
    (Work::Jwt, Peer::Portcullis),
    (Work::ApiKey, Peer::Portcullis),
    (Work::Post, Peer::Portcullis),
    (Work::Hmac, Peer::Portcullis),
    (Work::Secured, Peer::Portcullis),
    (Work::Secured, Peer::Envoy),
];

/// Measures and writes the table.
pub(crate) fn run(words: &[&str]) -> Result {
    let options = Options::parse(words)?;
    let key = Key::generate(Algorithm::Rs256, "bench");
    let jwks = serde_json::json!({ "keys": [key.jwk()] }).to_string();
    let token = work::token(&key);
    let (mut ends, backend_address) = Ends::start()?;
    let mut rows = Vec::new();
    let mut running = Vec::new();
    for (work, peer) in FIELD {
        if options.only.as_ref().is_some_and(|only| !only.iter().any(|name| name == peer.name())) {
            continue;
        }
        let found = if peer == Peer::Portcullis { Some(options.program.clone()) } else { peer.find() };
        let Some(program) = found else {
            note(&format!("{} is not here and left out ({})", peer.name(), peer.advice()));
            continue;
        };
        let proxy = Running::start(peer, &program, work, backend_address, &jwks)?;
        check(peer, work, proxy.address, proxy.credential.as_deref().unwrap_or(&token))?;
        rows.push(Row { peer, version: peer.version(&program), work, turns: Vec::new() });
        running.push(proxy);
    }
    for round in 1..=options.rounds {
        for (row, proxy) in rows.iter_mut().zip(&running) {
            // Warm: pools, caches, branch predictors, and the token's place in a cache of verified ones.
            let credential = proxy.credential.as_deref().unwrap_or(&token);
            ends.load(proxy.address, row.work, options.seconds / 4.0, credential)?;
            let before = cpu_micros(proxy.pid())?;
            let said = ends.load(proxy.address, row.work, options.seconds, credential)?;
            let spent = cpu_micros(proxy.pid())? - before;
            let turn = turn(&said, spent)?;
            note(&format!(
                "round {round}/{} {} {:<10} {:>6.1} µs  {:>7.0}/s",
                options.rounds,
                row.work.name(),
                row.peer.name(),
                turn.micros,
                turn.rate
            ));
            row.turns.push(turn);
        }
    }
    drop(running);
    drop(ends);
    // A part of the field is no comparison: the page keeps the last whole one.
    report::write(&rows, &options, options.dry || options.only.is_some())
}

fn turn(said: &serde_json::Value, spent: u64) -> Result<Turn> {
    let number = |name: &str| said.get(name).and_then(serde_json::Value::as_f64).ok_or("no such number");
    let (answered, failed) = (number("answered")?, number("failed")?);
    if failed > 0.0 || answered < 1.0 {
        return Err(format!("{failed} requests failed, {answered} were answered: nothing to compare"));
    }
    Ok(Turn {
        micros: spent as f64 / answered,
        rate: answered / number("seconds")?,
        p50: number("p50_us")?,
        p99: number("p99_us")?,
    })
}

/// A figure is worth nothing when the work was not done: one good request, and, where security is claimed, one
/// without a token and one with a body that breaks the schema.
fn check(peer: Peer, work: Work, address: SocketAddr, credential: &str) -> Result {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(text)?;
    let status = |bytes: &[u8]| {
        let answer = runtime.block_on(portcullis_testkit::send(address, bytes));
        answer.map(|answer| answer.status).map_err(|error| format!("{}: {error}", peer.name()))
    };
    let good = work.request(credential)?;
    let mut wanted = vec![(good.clone(), vec![200], "a good request")];
    if work == Work::Hmac {
        wanted.push((good, vec![401], "the same request again"));
    } else if matches!(work, Work::Jwt | Work::ApiKey) {
        wanted.push((work.request("no.valid.token")?, vec![401], "a bad credential"));
    } else if work == Work::Secured {
        wanted.push((work.request("no.valid.token")?, vec![401], "a bad token"));
        if peer == Peer::Portcullis {
            let broken = String::from_utf8_lossy(&good).replace("\"EUR\"", "\"XXX\"");
            wanted.push((broken.into_bytes(), vec![400, 422], "a body that breaks the schema"));
        }
    }
    for (bytes, accepted, what) in wanted {
        let got = status(&bytes)?;
        if !accepted.contains(&got) {
            return Err(format!("{} ({}) answers {what} with {got}", peer.name(), work.name()));
        }
    }
    Ok(())
}

/// Clients and backend, as a process of their own.
struct Ends {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ends {
    /// Starts them; the address is the backend's.
    fn start() -> Result<(Self, SocketAddr)> {
        let mut child = beside()?
            .args(["ends", "127.0.0.1:0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(text)?;
        let (Some(orders), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("no pipes".to_owned());
        };
        let mut ends = Self { child, orders, answers: BufReader::new(stdout) };
        let address = ends.line()?.trim().parse().map_err(text)?;
        Ok((ends, address))
    }

    fn load(
        &mut self,
        address: SocketAddr,
        work: Work,
        seconds: f64,
        credential: &str,
    ) -> Result<serde_json::Value> {
        writeln!(self.orders, "{address} {} {CONNECTIONS} {seconds} {credential}", work.name())
            .map_err(text)?;
        let line = self.line()?;
        serde_json::from_str(&line).map_err(|error| format!("the load generator: {error}"))
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(text)?;
        Ok(line)
    }
}

/// Ourselves, on the cores that the proxy does not have.
fn beside() -> Result<Command> {
    let cores = std::fs::read_to_string("/proc/cpuinfo").map_err(text)?.matches("processor\t").count();
    if cores < 2 {
        return Err("two cores are needed: one for the proxy, one for load and backend".to_owned());
    }
    let mut command = Command::new("taskset");
    command.args(["-c", &format!("1-{}", cores - 1)]).arg(std::env::current_exe().map_err(text)?);
    command.stdin(Stdio::null());
    Ok(command)
}

impl Options {
    fn parse(words: &[&str]) -> Result<Self> {
        let mut options = Self { program: PathBuf::new(), rounds: 5, seconds: 4.0, only: None, dry: false };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().copied().ok_or_else(|| format!("{word} needs a value"));
            match *word {
                "--program" => options.program = PathBuf::from(value()?),
                "--rounds" => options.rounds = value()?.parse().map_err(text)?,
                "--seconds" => options.seconds = value()?.parse().map_err(text)?,
                "--only" => options.only = Some(value()?.split(',').map(str::to_owned).collect()),
                "--dry" => options.dry = true,
                other => return Err(format!("no such option: {other}")),
            }
        }
        Ok(options)
    }
}

fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
