//! Law 3: leaving a gate out of `admit.rs`, or swapping two, does not compile.
//!
//! Each line of the pipeline is removed, and each neighbouring pair swapped, in a copy that is compiled against the
//! real crate. The unchanged copy must compile, or the test would prove nothing.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn no_gate_can_be_left_out_and_no_two_swapped() {
    keeps_its_order("admit.rs", 10);
}

#[test]
fn nor_in_what_administers() {
    keeps_its_order("administer.rs", 9);
}

fn keeps_its_order(file: &str, count: usize) {
    let source =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file)).unwrap();
    let lines: Vec<&str> = source.lines().collect();
    let gates: Vec<usize> = (0..lines.len())
        .filter(|i| {
            lines[*i].contains("::")
                && lines[*i].contains("passage")
                && lines[*i].starts_with("    ")
                && !lines[*i].trim_start().starts_with("//")
        })
        .collect();
    assert_eq!(gates.len(), count, "the gates of {file}: {gates:?}");

    let bench = Bench::new(&source);
    for &gate in &gates {
        let mut without = lines.clone();
        without.remove(gate);
        bench.refuses(&without.join("\n"), &format!("without `{}`", lines[gate].trim()));
    }
    for pair in gates.windows(2) {
        let mut swapped = lines.clone();
        swapped.swap(pair[0], pair[1]);
        bench.refuses(
            &swapped.join("\n"),
            &format!("`{}` before `{}`", lines[pair[1]].trim(), lines[pair[0]].trim()),
        );
    }
}

#[test]
fn evidence_cannot_be_forged() {
    let source = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admit.rs")).unwrap();
    let bench = Bench::new(&source);
    for forged in [
        "pub fn f() -> crate::gates::flood::Calm { crate::gates::flood::Calm(()) }",
        "pub fn f() -> crate::gates::flood::Calm { Default::default() }",
        "pub fn f(c: &crate::gates::flood::Calm) -> crate::gates::flood::Calm { c.clone() }",
        "pub fn f() -> crate::gates::authorize::ObjectPermit { crate::gates::authorize::ObjectPermit { under_way: None } }",
        "pub fn f(p: &crate::gates::authorize::ObjectPermit) -> crate::gates::authorize::ObjectPermit { p.clone() }",
        "pub fn f(p: crate::gates::authorize::OperationPermit) -> crate::gates::authorize::ObjectPermit { p.into() }",
        "pub fn f() -> crate::gates::quota::Receipt { crate::gates::quota::Receipt { under_way: None } }",
        "pub fn f(p: crate::gates::identify::Provisional<'_>) -> crate::gates::identify::Identified<'_> { p.into() }",
        "pub fn f(p: crate::gates::identify::Provisional<'_>) -> crate::gates::identify::Identified<'_> { p.identified }",
        "pub fn f(p: &mut crate::gates::identify::Provisional<'_>) { p.duty = None }",
        "pub fn f(i: &crate::gates::intake::Input<'static>) -> crate::gates::intake::Input<'static> { i.clone() }",
        "pub fn f() -> crate::gates::intake::Input<'static> { Default::default() }",
        "pub fn f(i: crate::gates::intake::Input<'static>) { let _ = i.contents; }",
    ] {
        bench.refuses(forged, forged);
    }
}

struct Bench {
    dir: PathBuf,
    deps: PathBuf,
    externs: Vec<(&'static str, PathBuf)>,
}

impl Bench {
    /// Finds the crate's metadata beside this test, and proves with the unchanged file that the set-up works.
    fn new(source: &str) -> Self {
        let deps = std::env::current_exe().unwrap().parent().unwrap().to_owned();
        let dir = std::env::temp_dir().join(format!(
            "portcullis-order-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        let mut last = String::new();
        for gateway in candidates(&deps, "portcullis_gateway") {
            for core in candidates(&deps, "portcullis_core") {
                let externs = vec![("portcullis_gateway", gateway.clone()), ("portcullis_core", core)];
                let bench = Self { dir: dir.clone(), deps: deps.clone(), externs };
                match bench.compile(source) {
                    Ok(()) => return bench,
                    Err(error) => last = error,
                }
            }
        }
        panic!("the unchanged admit.rs does not compile against the crate: {last}");
    }

    fn refuses(&self, source: &str, what: &str) {
        match self.compile(source) {
            Ok(()) => panic!("compiles: {what}"),
            Err(error) => {
                let by_types = error.contains("error[E0");
                assert!(by_types, "refused for another reason ({what}): {error}");
            }
        }
    }

    fn compile(&self, source: &str) -> Result<(), String> {
        std::fs::create_dir_all(&self.dir).unwrap();
        std::fs::write(self.dir.join("admit.rs"), source).unwrap();
        let root = "#![allow(unused, missing_docs)]\npub use portcullis_gateway::{gates, passage, services, wire};\npub mod admit;\n";
        std::fs::write(self.dir.join("lib.rs"), root).unwrap();
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let mut command = Command::new(rustc);
        command.args([
            "--edition",
            "2024",
            "--crate-type",
            "lib",
            "--emit",
            "metadata",
            "--cap-lints",
            "allow",
        ]);
        command.arg("-L").arg(format!("dependency={}", self.deps.display()));
        for (name, path) in &self.externs {
            command.arg("--extern").arg(format!("{name}={}", path.display()));
        }
        let output = command.arg("--out-dir").arg(&self.dir).arg(self.dir.join("lib.rs")).output().unwrap();
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Libraries of that name, newest first: the tree may hold several builds.
fn candidates(deps: &Path, name: &str) -> Vec<PathBuf> {
    let prefix = format!("lib{name}-");
    let mut found: Vec<(std::time::SystemTime, PathBuf)> = std::fs::read_dir(deps)
        .unwrap()
        .flatten()
        .filter(|e| {
            let name = e.file_name().to_string_lossy().into_owned();
            name.starts_with(&prefix) && name.ends_with(".rlib")
        })
        .filter_map(|e| Some((e.metadata().ok()?.modified().ok()?, e.path())))
        .collect();
    found.sort();
    found.reverse();
    found.into_iter().map(|(_, path)| path).take(4).collect()
}
