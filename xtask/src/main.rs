//! `cargo xtask VERB`: everything about this repository that is not the program itself.

mod bench;
mod conformance;
mod documents;
mod floors;
mod fuzz;
mod process;
mod schema;
mod test;
mod tidy;

use std::io::{self, Write as _};
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask VERB

  test [FILTER]   all tests: format, lints, tidy, schema, documentation examples, then every other test;
                  with FILTER only the tests whose name contains it
  tidy            the table of floors, banned dependencies, text rules, links in the documentation
  schema          write portcullis.schema.json and the generated pages of docs/reference anew
  conformance     other people's work against the program, in parts (needs node and npm):
                  `callers` (clients and issuers), `documents` (public OpenAPI documents, --all for every one),
                  `slow` (10,000 slow connections beside ordinary ones; --connections N, --seconds N)
  fuzz [TARGET…]  run the fuzz targets and keep small corpora (--seconds N each, 600; --sanitizer address|none)
  bench           measure against nginx, HAProxy and Envoy, and write docs/reference/performance.md
                  (--seconds N per round, --rounds N, --only NAME[,NAME], --dry or --only leave the page alone;
                  --micro: the micro benches of the crates instead)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["test"] => test::all(),
        ["test", filter] => test::some(filter),
        ["tidy"] => tidy::run(),
        ["schema"] => schema::write(),
        ["conformance"] => conformance::run().and_then(|()| documents::run(&[])),
        ["conformance", "callers"] => conformance::run(),
        ["conformance", "documents", rest @ ..] => documents::run(rest),
        ["conformance", "slow", rest @ ..] => conformance::slow(rest),
        ["fuzz", rest @ ..] => fuzz::run_with(rest),
        ["bench", rest @ ..] => bench::run_with(rest),
        [] | ["help" | "--help" | "-h"] => say(HELP),
        _ => say(HELP).and(Err("no such verb".to_owned())),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = writeln!(io::stderr(), "xtask: {why}");
            ExitCode::FAILURE
        }
    }
}

/// What went wrong, for a person.
type Result<T = ()> = std::result::Result<T, String>;

/// Writes to stdout; a closed pipe is not our problem.
fn say(text: &str) -> Result {
    let _ = write!(io::stdout(), "{text}");
    let _ = io::stdout().flush();
    Ok(())
}

/// Writes a line to stderr.
fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// The root of the repository.
fn root() -> std::path::PathBuf {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}
