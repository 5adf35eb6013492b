//! `cargo xtask fuzz`: every target for a while, and a small corpus kept.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::process::{cargo, output, works};
use crate::{Result, note, root, say};

/// Inputs of one target that are kept in the repository, and bytes of one.
const KEPT: usize = 200;
const SMALL: u64 = 4 << 10;

struct Options<'a> {
    seconds: u64,
    sanitizer: &'a str,
    targets: Vec<String>,
}

/// What a run came to.
struct Run {
    executions: u64,
    rate: u64,
    seconds: u64,
    /// The panic, or what else the fuzzer stopped at, and where the input lies.
    finding: Option<String>,
}

/// Runs the named targets, or all, one after the other; fails when one of them finds something.
pub(crate) fn run_with(words: &[&str]) -> Result {
    if !works(&["fuzz", "--version"]) {
        return Err("cargo-fuzz is missing: cargo install --locked cargo-fuzz".to_owned());
    }
    let options = read(words)?;
    let mut found = Vec::new();
    for target in &options.targets {
        note(&format!("{target}: building, then {} s …", options.seconds));
        let run = fuzz(target, &options)?;
        let kept = keep(target, &options)?;
        let verdict = run.finding.as_deref().unwrap_or("nothing found");
        say(&format!(
            "{target}: {} runs in {} s ({}/s), {kept} inputs kept: {verdict}\n",
            run.executions, run.seconds, run.rate
        ))?;
        if run.finding.is_some() {
            found.push(target.as_str());
        }
    }
    if found.is_empty() { Ok(()) } else { Err(format!("findings in {}", found.join(", "))) }
}

fn read<'a>(words: &[&'a str]) -> Result<Options<'a>> {
    let known = output(&mut command(&["list"]))?;
    let known = String::from_utf8_lossy(&known).into_owned();
    let mut options = Options { seconds: 600, sanitizer: "address", targets: Vec::new() };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--seconds" => {
                let text = words.next().ok_or("--seconds needs a number")?;
                options.seconds = text.parse().map_err(|_| format!("`{text}` is no number of seconds"))?;
            }
            "--sanitizer" => options.sanitizer = words.next().ok_or("--sanitizer needs a name, or none")?,
            target if known.lines().any(|line| line == target) => options.targets.push(target.to_owned()),
            other => {
                let targets = known.lines().collect::<Vec<_>>().join(", ");
                return Err(format!("`{other}` is no target; there are: {targets}"));
            }
        }
    }
    if options.targets.is_empty() {
        options.targets = known.lines().map(str::to_owned).collect();
    }
    Ok(options)
}

/// `cargo fuzz …`. Coverage instrumentation is unstable; this lets a stable toolchain do it, for fuzzing alone.
fn command(arguments: &[&str]) -> Command {
    let mut command = cargo(&[&["fuzz"], arguments].concat());
    command.env("RUSTC_BOOTSTRAP", "1");
    command
}

/// Runs one target over what it has found before and over the corpus.
fn fuzz(target: &str, options: &Options<'_>) -> Result<Run> {
    let (work, corpus) = (work(target), corpus(target));
    for folder in [&work, &corpus] {
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let seconds = format!("-max_total_time={}", options.seconds.max(1));
    let log = work.with_extension("log");
    let file = fs::File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    let mut command = command(&["run", "--sanitizer", options.sanitizer, target]);
    command.arg(&work).arg(&corpus).arg("--").arg(&seconds);
    command.args(["-max_len=9000", "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"]);
    let clock = Instant::now();
    let status =
        command.stdout(Stdio::null()).stderr(file).status().map_err(|e| format!("cargo fuzz: {e}"))?;
    let text = fs::read(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    let text = String::from_utf8_lossy(&text);
    let executions = statistic(&text, "number_of_executed_units");
    if !status.success() && executions.is_none() {
        let end: Vec<&str> = text.lines().rev().take(20).collect();
        let end: Vec<&str> = end.into_iter().rev().collect();
        return Err(format!("{target} did not run:\n{}", end.join("\n")));
    }
    Ok(Run {
        executions: executions.unwrap_or(0),
        rate: statistic(&text, "average_exec_per_sec").unwrap_or(0),
        seconds: options.seconds.min(clock.elapsed().as_secs()),
        finding: (!status.success()).then(|| finding(&text, &log)),
    })
}

/// `stat::NAME: NUMBER`, as libFuzzer prints it at its end.
fn statistic(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().rev().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name))?;
    line.trim_start_matches(':').trim().parse().ok()
}

/// The panic with its message, or libFuzzer's own summary, and the input.
fn finding(text: &str, log: &Path) -> String {
    let panic = text.lines().position(|line| line.contains("panicked at"));
    let what = match panic {
        Some(at) => text.lines().skip(at).take(4).collect::<Vec<_>>().join(" "),
        None => {
            text.lines().rev().find(|line| line.starts_with("SUMMARY")).unwrap_or("it stopped").to_owned()
        }
    };
    let input =
        text.lines().find_map(|line| line.split_once("Test unit written to ")).map_or("", |(_, path)| path);
    format!("FOUND {what}\n  input: {input}\n  log: {}", log.display())
}

/// Covers with as few inputs as possible what all of them cover, and adds the smallest to the corpus until it is full.
/// What is there stays: an input that once broke something is a test.
fn keep(target: &str, options: &Options<'_>) -> Result<usize> {
    let (work, corpus) = (work(target), corpus(target));
    let least = work.with_extension("least");
    let failed = |error: std::io::Error| format!("{target}: {error}");
    let _ = fs::remove_dir_all(&least);
    fs::create_dir_all(&least).map_err(failed)?;
    let mut command = command(&["run", "--sanitizer", options.sanitizer, target]);
    command.arg(&least).arg(&corpus).arg(&work).args(["--", "-set_cover_merge=1", "-timeout=10"]);
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().map_err(failed)?;
    if !status.success() {
        // A corpus that breaks the target cannot be made smaller; the finding has been told.
        return files(&corpus).map(|files| files.len()).map_err(failed);
    }
    let mut there: BTreeSet<Vec<u8>> = BTreeSet::new();
    for (_, path) in files(&corpus).map_err(failed)? {
        there.insert(fs::read(path).map_err(failed)?);
    }
    for (size, path) in files(&least).map_err(failed)? {
        let bytes = fs::read(&path).map_err(failed)?;
        if there.len() < KEPT && size <= SMALL && !there.contains(&bytes) {
            let name = path.file_name().unwrap_or_default();
            fs::write(corpus.join(name), &bytes).map_err(failed)?;
            there.insert(bytes);
        }
    }
    Ok(there.len())
}

/// Files of a folder with their sizes, the smallest first.
fn files(folder: &Path) -> std::io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        files.push((entry.metadata()?.len(), entry.path()));
    }
    files.sort();
    Ok(files)
}

fn corpus(target: &str) -> PathBuf {
    root().join("fuzz/corpus").join(target)
}

/// Everything that was found on the way; not part of the repository.
fn work(target: &str) -> PathBuf {
    root().join("target/fuzz").join(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "#2 INITED\nthread '<unnamed>' panicked at fuzz/laws/head.rs:9:5:\nassertion failed: a\n==1== ERROR: libFuzzer: deadly signal\nSUMMARY: libFuzzer: deadly signal\nTest unit written to fuzz/artifacts/head/crash-1\nstat::number_of_executed_units: 4711\nstat::average_exec_per_sec:     12\n";

    #[test]
    fn a_log_is_read() {
        assert_eq!(statistic(LOG, "number_of_executed_units"), Some(4711));
        assert_eq!(statistic(LOG, "average_exec_per_sec"), Some(12));
        assert_eq!(statistic(LOG, "peak_rss_mb"), None);
        let told = finding(LOG, Path::new("x.log"));
        assert!(
            told.contains("laws/head.rs:9:5: assertion failed: a") && told.contains("head/crash-1"),
            "{told}"
        );
        assert!(finding("SUMMARY: libFuzzer: timeout", Path::new("x")).contains("timeout"));
    }
}
