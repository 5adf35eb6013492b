// Files under their own names: judging one never panics and stays within its bounds, and what is accepted is accepted
// again, from memory that is read in small pieces, and refused with a tail behind it.

use portcullis_contract::upload::{Content, Declared, FileType, UploadRules, inspect};

/// Reads at most so many bytes at once.
struct Slow<'a>(&'a [u8], usize);

impl Content for Slow<'_> {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> Option<usize> {
        let most = into.len().min(self.1);
        self.0.read_at(at, &mut into[..most])
    }
}

fn upload_rules() -> UploadRules {
    let entries = vec![FileType::Png, FileType::Jpeg, FileType::Gif, FileType::Pdf, FileType::Tiff, FileType::Txt, FileType::Csv];
    UploadRules { entries, ..UploadRules::new(FileType::ALL.to_vec(), 1 << 20) }
}

/// The first byte says how many bytes are read at once; the rest is the file.
pub(crate) fn upload(data: &[u8]) {
    let Some((step, bytes)) = data.split_first() else { return };
    let rules = upload_rules();
    let nothing = Declared { media: None, file_name: None };
    let whole = inspect(&rules, &bytes.to_vec(), nothing);
    let slow = inspect(&rules, &Slow(bytes, usize::from(*step) + 1), nothing);
    assert_eq!(whole, slow, "pieces change nothing");
    let Ok(accepted) = whole else { return };
    let kind = FileType::of_media(&accepted.media).expect("a type of the table");
    assert_eq!(kind.extension(), &*accepted.extension);
    if !kind.is_text() {
        let mut tail = bytes.to_vec();
        tail.extend_from_slice(b"PK\x05\x06<?php");
        // Frames of sound may follow each other without end, and what follows these is none.
        assert!(inspect(&rules, &tail, nothing).is_err(), "{kind:?} with a tail");
    }
    let only = UploadRules { types: vec![kind], ..rules };
    assert!(inspect(&only, &bytes.to_vec(), nothing).is_ok(), "{kind:?} alone");
}

/// A name and, behind a line feed, nothing: what is cleaned is clean.
pub(crate) fn file_name(name: &str) {
    for kind in [FileType::Png, FileType::Txt] {
        let Ok(cleaned) = portcullis_contract::upload::clean(name, kind) else { continue };
        assert!(cleaned.len() <= 100 && !cleaned.starts_with('.'));
        assert!(cleaned.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)));
        assert_eq!(cleaned.matches('.').count(), 1);
        let again = portcullis_contract::upload::clean(&cleaned, kind).expect("clean");
        assert_eq!(again, cleaned);
    }
}

/// Both: what begins with a NUL is a name.
pub(crate) fn file(data: &[u8]) {
    match data.split_first() {
        Some((0, name)) => {
            if let Ok(name) = std::str::from_utf8(name) {
                file_name(name);
            }
        }
        _ => upload(data),
    }
}
