//! Rules about the repository itself that neither compiler nor clippy knows.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Result, floors, note, process, root};

/// A source file above this is mentioned: it wants to become two.
const WANTS_TO_BE_TWO: usize = 500;

/// All checks; every finding is shown.
pub(crate) fn run() -> Result {
    let mut findings = floors::breaches()?;
    let files = tracked()?;
    for file in &files {
        let Ok(text) = fs::read_to_string(root().join(file)) else { continue };
        let name = file.to_string_lossy();
        findings.extend(words(&name, &text));
        if name.ends_with(".md") {
            findings.extend(links(file, &text));
        }
        let lines = text.lines().count();
        if name.ends_with(".rs") && lines > WANTS_TO_BE_TWO {
            note(&format!("hint: {name} has {lines} lines and wants to become two"));
        }
    }
    findings.extend(pages(&files));
    if findings.is_empty() {
        return Ok(());
    }
    for finding in &findings {
        note(&format!("tidy: {finding}"));
    }
    Err(format!("{} findings", findings.len()))
}

/// Files that are or are about to be in the repository.
fn tracked() -> Result<Vec<PathBuf>> {
    let mut command = Command::new("git");
    command.args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"]).current_dir(root());
    let bytes = process::output(&mut command)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(text.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect())
}

/// Text that has no place in the repository. The patterns are put together here, so that this file may hold them.
fn words(name: &str, text: &str) -> Vec<String> {
    let rust = name.ends_with(".rs");
    let lock = name.ends_with("Cargo.lock");
    let patterns: [(String, &str, bool); 12] = [
        (["/wor", "k/"].concat(), "a path of one machine", true),
        (["/roo", "t/"].concat(), "a path of one machine", true),
        (["crates", ".io"].concat(), "a registry's host", !lock),
        (["registry.npm", "js"].concat(), "a registry's host", true),
        (["pypi", ".org"].concat(), "a registry's host", true),
        (["pythonhosted", ".org"].concat(), "a registry's host", true),
        (["<<<<", "<<< "].concat(), "a conflict marker", true),
        (["TO", "DO"].concat(), "work that is not done", true),
        (["FIX", "ME"].concat(), "work that is not done", true),
        (["#[ign", "ore"].concat(), "a test that does not run", rust),
        (["#[all", "ow("].concat(), "#[expect(…, reason)] is the way", rust),
        (["unsafe", " {"].concat(), "unsafe code", rust),
    ];
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for (pattern, why, _) in
            patterns.iter().filter(|(pattern, _, on)| *on && line.contains(pattern.as_str()))
        {
            found.push(format!("{name}:{}: `{pattern}`: {why}", number + 1));
        }
    }
    if !text.is_empty() && !text.ends_with('\n') && (rust || name.ends_with(".md") || name.ends_with(".toml"))
    {
        found.push(format!("{name}: no line end at its end"));
    }
    found
}

/// Relative links of a page must lead somewhere.
fn links(file: &Path, text: &str) -> Vec<String> {
    let folder = root().join(file.parent().unwrap_or(Path::new("")));
    let mut found = Vec::new();
    let mut fenced = false;
    for (number, line) in text.lines().enumerate() {
        fenced ^= line.trim_start().starts_with("```");
        if fenced {
            continue;
        }
        for piece in line.split("](").skip(1) {
            let target = piece.split(')').next().unwrap_or_default();
            let path = target.split('#').next().unwrap_or_default();
            let elsewhere = path.is_empty() || path.contains("://") || path.starts_with("mailto:");
            if !elsewhere && !folder.join(path).exists() {
                found.push(format!("{}:{}: the link to {target} leads nowhere", file.display(), number + 1));
            }
        }
    }
    found
}

/// Every page of the book stands in its summary.
fn pages(files: &[PathBuf]) -> Vec<String> {
    let source = Path::new("docs");
    let Ok(summary) = fs::read_to_string(root().join(source).join("SUMMARY.md")) else { return Vec::new() };
    let listed: BTreeSet<&str> =
        summary.split("](").skip(1).filter_map(|piece| piece.split(')').next()).collect();
    files
        .iter()
        .filter_map(|file| file.strip_prefix(source).ok())
        .filter_map(Path::to_str)
        .filter(|page| page.ends_with(".md") && *page != "SUMMARY.md" && !listed.contains(page))
        .map(|page| format!("docs/{page} is not in SUMMARY.md"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misplaced_words_are_found() {
        let path = ["see /wor", "k/x\n"].concat();
        assert_eq!(words("a.md", &path).len(), 1);
        assert_eq!(words("a.rs", &["#[ign", "ore]\nfn x() {}\n"].concat()).len(), 1);
        assert_eq!(words("Cargo.lock", &["crates", ".io\n"].concat()).len(), 0);
        assert_eq!(words("a.rs", "fn x() {}\n").len(), 0);
        assert_eq!(words("a.rs", "fn x() {}").len(), 1);
    }

    #[test]
    fn dead_links_are_found_outside_of_fences() {
        let text = "[a](Cargo.toml) [b](nowhere.md#x) [c](https://x)\n```\n[d](nowhere)\n```\n";
        assert_eq!(links(Path::new("README.md"), text).len(), 1);
    }
}
