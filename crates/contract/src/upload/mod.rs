//! Files: what they are is decided by their content, and what they are must hold to its end (contract.md § 13).
//!
//! Nothing is decoded: structures are walked, headers are read, entries of archives are inflated and thrown away. Memory
//! is a few pages, however long the file is.

mod archive;
mod image;
mod inflate;
mod magic;
mod media;
mod name;
mod office;
mod pdf;
mod read;
mod text;
mod tiff;
mod zip;

use crate::body::MediaType;
use read::Reader;

pub use magic::FileType;
pub use name::clean;

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

impl Content for Vec<u8> {
    fn len(&self) -> u64 {
        Content::len(self.as_slice())
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> Option<usize> {
        self.as_slice().read_at(at, into)
    }
}

/// What the document and the configuration say of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadRules {
    /// Bytes of the file.
    pub max_bytes: u64,
    /// Types that it may have.
    pub types: Vec<FileType>,
    /// Pixels of an image, or of one frame of it.
    pub max_pixels: u64,
    /// Types of what an archive (`application/zip`) may hold; none of them: archives are refused.
    pub entries: Vec<FileType>,
    /// How it is called when it goes on.
    pub rename: Rename,
    /// The form field that gets the cleaned name.
    pub original_name: Option<Box<str>>,
    /// It never passes unscanned, whatever is loosened.
    pub scan_required: bool,
    /// PDF files may be active (loosening `active_pdf`).
    pub active_pdf: bool,
    /// Cells of CSV files may be formulas (loosening `csv_formulas`).
    pub csv_formulas: bool,
}

/// Pixels of an image, where nothing else is said.
pub const MAX_PIXELS: u64 = 50_000_000;
/// Frames of an animation, pages of a TIFF.
pub(crate) const MAX_FRAMES: u32 = 1_000;

impl UploadRules {
    /// Files of these types, at most so long; everything else as strict as it can be.
    pub fn new(types: Vec<FileType>, max_bytes: u64) -> Self {
        Self {
            max_bytes,
            types,
            max_pixels: MAX_PIXELS,
            entries: Vec::new(),
            rename: Rename::Uuid,
            original_name: None,
            scan_required: false,
            active_pdf: false,
            csv_formulas: false,
        }
    }
}

/// How a file is called when it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
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
    /// Of which kind.
    pub why: Why,
    /// For the operator.
    pub reason: &'static str,
}

/// What a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The file: `file-type-rejected`.
    Type,
    /// How it was sent: `malformed-body`.
    Malformed,
    /// Ours: its bytes cannot be read.
    Unreadable,
}

impl Rejected {
    pub(crate) const fn kind(reason: &'static str) -> Self {
        Self { why: Why::Type, reason }
    }
}

pub(crate) type Checked<T = ()> = Result<T, Rejected>;

/// Judges a whole file.
///
/// # Errors
/// See [`Rejected`].
pub fn inspect(rules: &UploadRules, content: &dyn Content, declared: Declared<'_>) -> Checked<Accepted> {
    let original = declared.file_name.map(name::well_formed).transpose()?;
    if content.len() > rules.max_bytes {
        return Err(Rejected::kind("file-too-large"));
    }
    let mut reader = Reader::new(content);
    magic::never(&mut reader, original)?;
    let found = find(&mut reader, declared.media, original)?;
    if !rules.types.contains(&found) {
        return Err(Rejected::kind("type-not-allowed"));
    }
    agrees(found, declared)?;
    let name = original.map(|original| clean(original, found)).transpose()?;
    structure(found, &mut reader, rules)?;
    read::no_phar(&mut reader)?;
    Ok(Accepted { media: found.media().into(), extension: found.extension().into(), name })
}

/// What the content is. Texts have no magic: which of them it is, is what the client says, and then it must hold.
fn find(reader: &mut Reader<'_>, media: Option<&MediaType>, name: Option<&str>) -> Checked<FileType> {
    if let Some(found) = magic::of(reader)? {
        return if found == FileType::Zip { office::which(reader) } else { Ok(found) };
    }
    let by_media =
        media.and_then(|media| FileType::of_media(media.essence())).filter(|found| found.is_text());
    let by_name =
        name.and_then(name::extension).and_then(|e| FileType::of_extension(&e)).filter(|f| f.is_text());
    match by_media.or(by_name) {
        Some(found) => Ok(found),
        None if media.is_none() && name.is_none() => Ok(FileType::Txt),
        None => Err(Rejected::kind("type-unknown")),
    }
}

/// The client's type must be the content's, or say nothing.
fn agrees(found: FileType, declared: Declared<'_>) -> Checked {
    let agrees = match declared.media {
        Some(media) => media.essence() == "application/octet-stream" || found.is(media.essence()),
        // RFC 7578 § 4.4: a part without a type is text.
        None => declared.file_name.is_none() || found == FileType::Txt,
    };
    if agrees { Ok(()) } else { Err(Rejected::kind("type-disagrees")) }
}

fn structure(found: FileType, reader: &mut Reader<'_>, rules: &UploadRules) -> Checked {
    match found {
        FileType::Zip => archive::check(reader, rules),
        FileType::Docx | FileType::Xlsx | FileType::Pptx | FileType::Odt | FileType::Ods | FileType::Odp => {
            office::check(reader, found)
        }
        plain => plain_structure(plain, reader, rules),
    }
}

/// The structure of what is no archive; entries of archives are judged by it, too.
fn plain_structure(found: FileType, reader: &mut Reader<'_>, rules: &UploadRules) -> Checked {
    match found {
        FileType::Png => image::png(reader, rules.max_pixels),
        FileType::Jpeg => image::jpeg(reader, rules.max_pixels),
        FileType::Gif => image::gif(reader, rules.max_pixels),
        FileType::Webp => image::webp(reader, rules.max_pixels),
        FileType::Bmp => image::bmp(reader, rules.max_pixels),
        FileType::Tiff => tiff::check(reader, rules.max_pixels),
        FileType::Pdf => pdf::check(reader, rules.active_pdf),
        FileType::Mp3 => media::mp3(reader),
        FileType::Wav => media::wav(reader),
        FileType::Mp4 => media::mp4(reader),
        FileType::Webm => media::webm(reader),
        FileType::Txt => text::plain(reader),
        FileType::Csv => text::csv(reader, rules.csv_formulas),
        FileType::Json => text::json(reader),
        FileType::Zip
        | FileType::Docx
        | FileType::Xlsx
        | FileType::Pptx
        | FileType::Odt
        | FileType::Ods
        | FileType::Odp => Err(Rejected::kind("archive-in-archive")),
    }
}
