//! What is wrong with a document, where, and the way out.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

/// A place in a source file. `file` indexes the [`SourceMap`]; `start` and `end` are byte offsets; `line` and
/// `column` count from one (columns in characters).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Span {
    /// Index of the file in the [`SourceMap`].
    pub file: u16,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
    /// Line, from one; zero when there is no place.
    pub line: u32,
    /// Column, from one.
    pub column: u32,
}

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing.
    Remark,
    /// Probably not meant; an error under `strict: true`.
    Warning,
    /// The plan is not made.
    Error,
}

impl Severity {
    /// The word in front of a diagnostic.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Remark => "remark",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One diagnostic: a stable code, a sentence, a place, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Weight.
    pub severity: Severity,
    /// Stable, kebab-case.
    pub code: &'static str,
    /// One sentence.
    pub message: String,
    /// Where.
    pub at: Span,
    /// The other place that it is about, if there are two.
    pub also: Option<Span>,
    /// The way out.
    pub help: Option<String>,
}

impl Finding {
    /// An error.
    pub fn error(code: &'static str, at: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code, message: message.into(), at, also: None, help: None }
    }

    /// A warning.
    pub fn warning(code: &'static str, at: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, code, message: message.into(), at, also: None, help: None }
    }

    /// A remark.
    pub fn remark(code: &'static str, at: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Remark, code, message: message.into(), at, also: None, help: None }
    }

    /// With the other place that it is about; nothing when that stands in no file.
    #[must_use]
    pub fn also(mut self, at: Span) -> Self {
        self.also = (at.line > 0).then_some(at);
        self
    }

    /// With the way out.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// The files that a plan was made from: name as shown to people, and text.
#[derive(Clone, Debug, Default)]
pub struct SourceMap {
    files: Vec<Source>,
}

#[derive(Clone, Debug)]
struct Source {
    name: Arc<str>,
    text: Arc<str>,
    /// Where each line begins, once somebody asks: thousands of findings in a large file must not each count its
    /// lines anew.
    lines: OnceLock<Arc<[usize]>>,
}

impl Source {
    /// A line by its number, from one, without its end.
    fn line(&self, number: u32) -> Option<&str> {
        let lines = self.lines.get_or_init(|| {
            std::iter::once(0).chain(self.text.match_indices('\n').map(|(at, _)| at + 1)).collect()
        });
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        let rest = self.text.get(*lines.get(index)?..)?;
        rest.lines().next()
    }
}

impl SourceMap {
    /// Adds a file and returns its index; at most 65,535 (further files share the last index).
    pub fn add(&mut self, name: &str, text: &str) -> u16 {
        self.files.push(Source { name: Arc::from(name), text: Arc::from(text), lines: OnceLock::new() });
        u16::try_from(self.files.len().saturating_sub(1)).unwrap_or(u16::MAX)
    }

    /// The name of a file.
    pub fn name(&self, file: u16) -> &str {
        self.files.get(usize::from(file)).map_or("", |source| &source.name)
    }

    /// The text of a file.
    pub fn text(&self, file: u16) -> &str {
        self.files.get(usize::from(file)).map_or("", |source| &source.text)
    }

    /// How many files.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// `file:line`, or the file's name alone when there is no line.
    pub fn place(&self, at: Span) -> String {
        if at.line == 0 {
            self.name(at.file).to_owned()
        } else {
            format!("{}:{}", self.name(at.file), at.line)
        }
    }

    /// The finding as people read it: word, code, message, the line with a caret, help.
    pub fn render(&self, finding: &Finding, colour: bool) -> String {
        let tone = match finding.severity {
            Severity::Error => "1;31",
            Severity::Warning => "1;33",
            Severity::Remark => "1;36",
        };
        let mut out = String::new();
        let head = format!("{}[{}]", finding.severity.word(), finding.code);
        let _ = writeln!(out, "{}: {}", paint(tone, &head, colour), finding.message);
        self.shown_place(&mut out, finding.at, tone, colour);
        if let Some(also) = finding.also {
            self.shown_place(&mut out, also, tone, colour);
        }
        if let Some(help) = &finding.help {
            let _ = writeln!(out, "{}: {help}", paint("1;32", "help", colour));
        }
        out
    }

    /// A place: file and line, the line with a caret.
    fn shown_place(&self, out: &mut String, at: Span, tone: &str, colour: bool) {
        let name = self.name(at.file);
        if at.line > 0 {
            let place = format!("  {name}:{}", at.line);
            match self.files.get(usize::from(at.file)).and_then(|source| source.line(at.line)) {
                Some(line) => {
                    let (shown, caret) = caret_line(line, at);
                    let _ = writeln!(out, "{place}  {shown}");
                    let pad = " ".repeat(place.chars().count().saturating_add(2));
                    let _ = writeln!(out, "{pad}{}", paint(tone, &caret, colour));
                }
                None => {
                    let _ = writeln!(out, "{place}");
                }
            }
        } else if !name.is_empty() {
            let _ = writeln!(out, "  {name}");
        }
    }
}

fn paint(code: &str, text: &str, colour: bool) -> String {
    if colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// The line cut to a width that fits, without its indent, and the caret line under it.
fn caret_line(line: &str, at: Span) -> (String, String) {
    const WIDTH: usize = 100;
    let column = usize::try_from(at.column).unwrap_or(1).max(1).saturating_sub(1);
    let span = usize::try_from(at.end.saturating_sub(at.start)).unwrap_or(1).max(1);
    let indent = line.chars().take_while(|c| c.is_whitespace()).count().min(column);
    let from = if column.saturating_sub(indent) > 60 { column.saturating_sub(30) } else { indent };
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let shown: String = line.chars().skip(from).take(WIDTH).map(clean).collect();
    let left = column.saturating_sub(from);
    let room = shown.chars().count().saturating_sub(left).max(1);
    let caret = format!("{}{}", " ".repeat(left), "^".repeat(span.min(room)));
    (shown.trim_end().to_owned(), caret)
}

/// The closest of `known` to `word` within edit distance 2 (and less than half of the word's length).
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = 2.min(word.chars().count().saturating_sub(1) / 2 + 1);
    known
        .into_iter()
        .map(|candidate| (edit_distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Optimal string alignment distance (a transposition counts once).
pub fn edit_distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().flat_map(char::to_lowercase).collect();
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
    if a.len().abs_diff(b.len()) > 3 {
        return a.len().abs_diff(b.len());
    }
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let cell = |r: &Vec<usize>, k: usize| r.get(k).copied().unwrap_or(usize::MAX / 2);
            let mut best =
                (cell(&row, j) + usize::from(x != y)).min(cell(&row, j + 1) + 1).min(cell(&next, j) + 1);
            if i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x) {
                best = best.min(cell(&before, j - 1) + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_line_and_caret() {
        let mut map = SourceMap::default();
        let file = map.add("openapi/shop.yaml", "a: 1\n  operationId: getOrder\n");
        let at = Span { file, start: 20, end: 28, line: 2, column: 16 };
        let finding =
            Finding::error("object-rule-missing", at, "nothing says whose order it is").help("add it");
        assert_eq!(
            map.render(&finding, false),
            "error[object-rule-missing]: nothing says whose order it is\n  openapi/shop.yaml:2  operationId: getOrder\n                                    ^^^^^^^^\nhelp: add it\n"
        );
    }

    #[test]
    fn many_findings_in_a_large_file_cost_one_pass() {
        let mut map = SourceMap::default();
        let lines = 200_000u32;
        let file = map.add("a.yaml", &"key: value\n".repeat(lines as usize));
        let clock = std::time::Instant::now();
        for line in (1..=lines).step_by(20) {
            let at = Span { file, start: (line - 1) * 11, end: (line - 1) * 11 + 3, line, column: 1 };
            let shown = map.render(&Finding::warning("x", at, "y"), false);
            assert!(shown.contains(&format!("a.yaml:{line}  key: value\n")), "{shown}");
        }
        // Counting lines anew for each of the 10,000 would read 11 GB.
        assert!(clock.elapsed() < std::time::Duration::from_secs(5), "{:?}", clock.elapsed());
        let past = Span { file, line: lines + 2, column: 1, ..Span::default() };
        assert_eq!(map.render(&Finding::error("x", past, "y"), false), "error[x]: y\n  a.yaml:200002\n");
    }

    #[test]
    fn suggests() {
        assert_eq!(did_you_mean("requried", ["required", "properties"]), Some("required"));
        assert_eq!(did_you_mean("upstraem", ["upstream", "spec"]), Some("upstream"));
        assert_eq!(did_you_mean("xyz", ["required"]), None);
    }
}
