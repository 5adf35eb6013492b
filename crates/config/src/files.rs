//! Reading files: the configuration, what it names, and secrets.

use crate::date::Date;
use crate::words::{At, Reference};
use portcullis_core::finding::{Finding, SourceMap, Span};
use portcullis_core::secret::Secret;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

/// What the compiler is told about the world besides files: it reads no clock and no environment of its own.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    /// The day (UTC) on which loosenings are judged.
    pub today: Date,
    /// The value of an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// Whether every key of the documents is wanted with its class.
    pub coverage: bool,
}

/// Largest secret, certificate or key set, in bytes.
const MAX_SECRET: u64 = 1 << 20;

pub(crate) struct Files<'a> {
    /// Relative names are relative to this folder.
    folder: PathBuf,
    pub(crate) sources: SourceMap,
    /// Everything that was read or looked for, for whoever watches files.
    pub(crate) watched: Vec<PathBuf>,
    given: Given<'a>,
}

impl<'a> Files<'a> {
    /// Whether every key of the documents is wanted with its class.
    pub(crate) fn wants_coverage(&self) -> bool {
        self.given.coverage
    }

    pub(crate) fn new(folder: PathBuf, given: Given<'a>) -> Self {
        Self { folder, sources: SourceMap::default(), watched: Vec::new(), given }
    }

    pub(crate) fn today(&self) -> Date {
        self.given.today
    }

    /// A name of the configuration as a path.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        tidy(&self.folder.join(name))
    }

    /// Reads a text whose places are shown, and adds it to the sources.
    pub(crate) fn text(&mut self, path: &Path, max: u64, at: Span) -> Result<(u16, String), Box<Finding>> {
        let bytes = self.bytes(path, max, at)?;
        let shown = path.display().to_string();
        let text = String::from_utf8(bytes).map_err(|_| {
            let message = format!("`{shown}` is not UTF-8 text");
            Box::new(Finding::error("file-unreadable", at, message).help("save it as UTF-8"))
        })?;
        Ok((self.sources.add(&shown, &text), text))
    }

    /// Reads a file whose content is never shown.
    pub(crate) fn bytes(&mut self, path: &Path, max: u64, at: Span) -> Result<Vec<u8>, Box<Finding>> {
        self.watched.push(path.to_owned());
        let shown = path.display();
        let wrong = |why: String| {
            let help = "names are relative to the folder of the configuration";
            Box::new(
                Finding::error("file-unreadable", at, format!("`{shown}` cannot be read: {why}")).help(help),
            )
        };
        let file = std::fs::File::open(path).map_err(|error| wrong(reason(&error)))?;
        if file.metadata().is_ok_and(|meta| meta.is_dir()) {
            return Err(wrong("it is a folder".to_owned()));
        }
        let mut bytes = Vec::new();
        file.take(max.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| wrong(reason(&error)))?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > max {
            return Err(wrong(format!("it is larger than {max} bytes")));
        }
        Ok(bytes)
    }

    /// What a reference refers to. Line ends at the end are no part of a secret.
    pub(crate) fn secret(&mut self, reference: &At<Reference>) -> Result<Secret<Vec<u8>>, Box<Finding>> {
        let bytes = match &reference.value {
            Reference::File(name) => {
                let path = self.path(name);
                self.bytes(&path, MAX_SECRET, reference.at)?
            }
            Reference::Env(name) => match (self.given.variable)(name) {
                Some(value) => value.into_bytes(),
                None => {
                    let message = format!("the environment variable `{name}` is not set");
                    let help = format!("start the program with {name}=…, or use {{ file: PATH }}");
                    return Err(Box::new(
                        Finding::error("variable-missing", reference.at, message).help(help),
                    ));
                }
            },
        };
        let end =
            bytes.iter().rposition(|b| !matches!(b, b'\r' | b'\n')).map_or(0, |last| last.saturating_add(1));
        if end == 0 {
            let message = format!("`{}` is empty", reference.shown());
            let help = "put the secret there, or refer to another place";
            return Err(Box::new(Finding::error("secret-empty", reference.at, message).help(help)));
        }
        Ok(Secret::new(bytes.get(..end).unwrap_or_default().to_vec()))
    }

    /// The text of a file of a document, by its name relative to the folder of the root document. Nothing outside
    /// that folder is read, also not through a symbolic link.
    pub(crate) fn beside(&mut self, root: &Path, name: &str, max: u64) -> Option<(u16, String)> {
        let folder = root.parent()?;
        let path = folder.join(name);
        let inside =
            |path: &Path| Some(path.canonicalize().ok()?.starts_with(folder_of(folder).canonicalize().ok()?));
        if inside(&path) != Some(true) {
            self.watched.push(path);
            return None;
        }
        self.text(&tidy(&path), max, Span::default()).ok()
    }
}

/// The sources with what must not be shown struck out.
pub(crate) fn redacted(sources: &SourceMap, secrets: &[Span]) -> SourceMap {
    let mut clean = SourceMap::default();
    for file in 0..u16::try_from(sources.len()).unwrap_or(u16::MAX) {
        let mut bytes = sources.text(file).as_bytes().to_vec();
        for at in secrets.iter().filter(|at| at.file == file) {
            let range = usize::try_from(at.start).unwrap_or(0)..usize::try_from(at.end).unwrap_or(0);
            for byte in bytes.get_mut(range).into_iter().flatten().filter(|b| **b != b'\n') {
                *byte = b'*';
            }
        }
        clean.add(sources.name(file), &String::from_utf8_lossy(&bytes));
    }
    clean
}

/// `a/./b/../c` is `a/c`, as far as names alone tell.
fn tidy(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(out.components().next_back(), Some(Component::Normal(_))) => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}

/// An empty path is the current folder.
pub(crate) fn folder_of(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}
