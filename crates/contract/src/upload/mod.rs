//! Files: what they are is decided by their content (contract.md § 13).

use crate::body::MediaType;

/// The bytes of a file, wherever they are.
pub trait Content: Send + Sync {
    /// How many.
    fn len(&self) -> u64;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads from `at` on; fewer bytes than asked for only at the end. `None`: they cannot be read.
    fn read_at(&self, at: u64, into: &mut [u8]) -> Option<usize>;
}

impl Content for [u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> Option<usize> {
        let rest = usize::try_from(at).ok().and_then(|at| self.get(at..)).unwrap_or_default();
        let count = rest.len().min(into.len());
        into.get_mut(..count)?.copy_from_slice(rest.get(..count)?);
        Some(count)
    }
}

/// What the document and the configuration say of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadRules {
    /// Bytes of the file.
    pub max_bytes: u64,
    /// Types that it may have.
    pub types: Vec<Box<str>>,
    /// How it is called when it goes on.
    pub rename: Rename,
    /// The form field that gets the cleaned name.
    pub original_name: Option<Box<str>>,
}

/// How a file is called when it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Rename {
    /// `<uuid>.<ext>`.
    #[default]
    Uuid,
    /// The cleaned name.
    Keep,
}

/// What the client says of a file.
#[derive(Clone, Copy, Debug)]
pub struct Declared<'a> {
    /// Its `Content-Type`.
    pub media: Option<&'a MediaType>,
    /// Its name, decoded and not cleaned.
    pub file_name: Option<&'a str>,
}

/// What a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its type.
    pub media: Box<str>,
    /// The extension that belongs to it, without the dot.
    pub extension: Box<str>,
    /// The client's name for it, cleaned.
    pub name: Option<Box<str>>,
}

/// Why a file is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// `malformed-body` and not `file-type-rejected`.
    pub malformed: bool,
    /// For the operator.
    pub reason: &'static str,
}

/// Judges a whole file.
///
/// # Errors
/// See [`Rejected`].
pub fn inspect(
    rules: &UploadRules,
    content: &dyn Content,
    declared: Declared<'_>,
) -> Result<Accepted, Rejected> {
    let wrong = |reason| Rejected { malformed: false, reason };
    if content.len() > rules.max_bytes {
        return Err(wrong("file-too-large"));
    }
    let plain = declared.media.is_none_or(|media| media.essence() == "text/plain");
    if !plain || !rules.types.iter().any(|known| **known == *"text/plain") {
        return Err(wrong("type-not-known"));
    }
    Ok(Accepted {
        media: "text/plain".into(),
        extension: "txt".into(),
        name: declared.file_name.map(Into::into),
    })
}
