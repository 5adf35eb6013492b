//! What the demo shows.

use std::io::{self, IsTerminal as _, Write};

use portcullis_shop::Shop;
use serde_json::{Value, json};

use super::case::{Case, Kind, Owasp, Seen};
use super::gate::Gate;
use super::issuer::Issuer;

/// One case on both sides.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    /// Which.
    pub(super) case: Case,
    /// Without the gate.
    pub(super) direct: Seen,
    /// With it.
    pub(super) through: Seen,
}

impl Outcome {
    /// An attack got in directly and not through the gate; an honest call passed both ways.
    fn as_it_should_be(&self) -> bool {
        match self.case.kind {
            Kind::Attack(_) => self.direct.succeeded && !self.through.succeeded,
            Kind::Honest => self.direct.succeeded && self.through.succeeded,
        }
    }
}

/// Whether everything is as it should be.
pub(super) fn good(results: &[Outcome]) -> bool {
    results.iter().all(Outcome::as_it_should_be)
}

/// Runs each case; on a terminal with a line that counts along.
pub(super) fn with_progress(
    wanted: bool,
    cases: &[Case],
    mut run: impl FnMut(&Case) -> Outcome,
) -> io::Result<Vec<Outcome>> {
    let mut terminal = io::stderr();
    let wanted = wanted && terminal.is_terminal();
    let mut results = Vec::with_capacity(cases.len());
    for (index, case) in cases.iter().enumerate() {
        if wanted {
            write!(terminal, "\r\x1b[2K{}/{} {}", index + 1, cases.len(), case.name)?;
            terminal.flush()?;
        }
        results.push(run(case));
    }
    if wanted {
        write!(terminal, "\r\x1b[2K")?;
    }
    Ok(results)
}

/// The object of `--format json`.
pub(super) fn json(results: &[Outcome]) -> io::Result<()> {
    writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&as_json(results)).map_err(io::Error::other)?)
}

fn as_json(results: &[Outcome]) -> Value {
    let counts = |attack: bool| {
        let of = || results.iter().filter(move |one| matches!(one.case.kind, Kind::Attack(_)) == attack);
        json!({ "total": of().count(), "direct": of().filter(|one| one.direct.succeeded).count(),
                "through": of().filter(|one| one.through.succeeded).count() })
    };
    let cases: Vec<Value> = results
        .iter()
        .map(|one| {
            let (kind, owasp) = match one.case.kind {
                Kind::Attack(item) => ("attack", Some(item.code())),
                Kind::Honest => ("legitimate", None),
            };
            json!({ "name": one.case.name, "kind": kind, "owasp": owasp,
                    "direct": seen(&one.direct), "through": seen(&one.through) })
        })
        .collect();
    json!({ "attacks": counts(true), "legitimate": counts(false), "cases": cases })
}

fn seen(seen: &Seen) -> Value {
    json!({ "succeeded": seen.succeeded, "status": seen.status, "problem": seen.problem, "error": seen.error })
}

/// The scoreboard for people, by item of the OWASP API Security Top 10 of 2023.
pub(super) fn scoreboard(results: &[Outcome]) -> io::Result<()> {
    let out = io::stdout();
    let paint = Paint { on: out.is_terminal() && std::env::var_os("NO_COLOR").is_none() };
    let mut out = out.lock();
    for item in Owasp::ALL {
        let of: Vec<&Outcome> = results.iter().filter(|one| one.case.kind == Kind::Attack(item)).collect();
        writeln!(out, "\n{}", paint.bold(&format!("{} {}", item.code(), item.title())))?;
        rows(&mut out, paint, &of)?;
    }
    let honest: Vec<&Outcome> = results.iter().filter(|one| one.case.kind == Kind::Honest).collect();
    writeln!(out, "\n{}", paint.bold("Honest calls"))?;
    rows(&mut out, paint, &honest)?;
    let attacks = results.len() - honest.len();
    let direct = |attack: bool, through: bool| {
        results
            .iter()
            .filter(|one| (one.case.kind != Kind::Honest) == attack)
            .filter(|one| if through { one.through.succeeded } else { one.direct.succeeded })
            .count()
    };
    writeln!(out, "\n{}", paint.bold("                     directly   through the gate"))?;
    writeln!(
        out,
        "attacks let in       {:>3} of {attacks}  {:>3} of {attacks}",
        direct(true, false),
        direct(true, true)
    )?;
    let total = honest.len();
    writeln!(
        out,
        "honest calls served  {:>3} of {total}  {:>3} of {total}",
        direct(false, false),
        direct(false, true)
    )?;
    let verdict = match good(results) {
        true => paint.green("The gate stands."),
        false => paint.red("Not as it should be: see the lines marked with !"),
    };
    writeln!(out, "\n{verdict}")
}

fn rows(out: &mut impl Write, paint: Paint, results: &[&Outcome]) -> io::Result<()> {
    for one in results {
        let attack = one.case.kind != Kind::Honest;
        let cell = |seen: &Seen| {
            let word = match (attack, seen.succeeded) {
                (true, true) => "let in",
                // Answered, but without what the attack was after.
                (true, false) if seen.status / 100 == 2 => "disarmed",
                (true, false) => "kept out",
                (false, true) => "served",
                (false, false) => "failed",
            };
            let text = format!(
                "{word:<8} {}",
                if seen.status == 0 { "---".to_owned() } else { seen.status.to_string() }
            );
            if seen.succeeded == attack { paint.red(&text) } else { paint.green(&text) }
        };
        let mark = if one.as_it_should_be() { ' ' } else { '!' };
        let why = one.through.problem.as_deref().or(one.through.error.as_deref()).unwrap_or_default();
        let (direct, through) = (cell(&one.direct), cell(&one.through));
        writeln!(out, "{mark} {:<58} {direct}  {through}  {why}", one.case.name)?;
    }
    Ok(())
}

/// What to type while the gate is left running.
pub(super) fn curl_lines(gate: &Gate, bare: &Shop, issuer: &Issuer) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let (gate_url, shop_url) = (format!("http://{}", gate.address()), format!("http://{}", bare.address()));
    writeln!(out, "\nThe gate is at {gate_url}, an unguarded shop at {shop_url}.")?;
    writeln!(out, "The gate writes its log to {}\n", gate.log().display())?;
    for person in ["ALICE", "MALLORY", "ADMIN"] {
        writeln!(out, "{person}={}", issuer.token(&person.to_lowercase())?)?;
    }
    writeln!(
        out,
        "\n# Mallory reads Alice's order: from the shop, then through the gate\n\
         curl -i -H \"Authorization: Bearer $MALLORY\" {shop_url}/users/alice/orders/1\n\
         curl -i -H \"Authorization: Bearer $MALLORY\" {gate_url}/users/alice/orders/1\n\
         # Alice reads it herself\n\
         curl -i -H \"Authorization: Bearer $ALICE\" {gate_url}/users/alice/orders/1\n\
         # Mallory makes herself an administrator\n\
         curl -i -X PATCH -H \"Authorization: Bearer $MALLORY\" -H 'Content-Type: application/json' \\\n     \
         -d '{{\"is_admin\":true}}' {gate_url}/users/mallory\n\
         # What nobody declared\n\
         curl -i {shop_url}/debug/config\n\
         curl -i {gate_url}/debug/config\n\
         # An administrator's own call\n\
         curl -i -H \"Authorization: Bearer $ADMIN\" {gate_url}/admin/users\n\n\
         Ctrl-C ends both."
    )?;
    out.flush()
}

#[derive(Clone, Copy)]
struct Paint {
    on: bool,
}

impl Paint {
    fn wrap(self, code: &str, text: &str) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
    fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }
    fn red(self, text: &str) -> String {
        self.wrap("31", text)
    }
    fn green(self, text: &str) -> String {
        self.wrap("32", text)
    }
}
