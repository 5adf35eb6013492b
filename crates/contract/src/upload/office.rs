//! Office documents: archives whose parts say what they are, without macros, controls and links to templates.

use super::read::Reader;
use super::zip::{self, Entry};
use super::{Checked, FileType, Rejected};

/// Bytes of a part that is read (`[Content_Types].xml`, relations, `mimetype`).
const PART: usize = 4 << 20;

/// Which archive it is: by `[Content_Types].xml`, by a stored `mimetype` in front, else plainly a ZIP.
pub(super) fn which(reader: &mut Reader<'_>) -> Checked<FileType> {
    let entries = zip::entries(reader)?;
    if let Some(first) =
        entries.first().filter(|first| first.name == "mimetype" && !first.deflated && first.size < 128)
    {
        let media = part(reader, first)?;
        let media = std::str::from_utf8(&media).unwrap_or_default();
        let known =
            [FileType::Odt, FileType::Ods, FileType::Odp].into_iter().find(|kind| kind.media() == media);
        return known.ok_or(Rejected::kind("type-unknown"));
    }
    let Some(types) = entries.iter().find(|entry| entry.name.eq_ignore_ascii_case("[Content_Types].xml"))
    else {
        return Ok(FileType::Zip);
    };
    let xml = part(reader, types)?;
    let mut found = None;
    for tag in tags(&xml)? {
        let Some(kind) = attribute(&tag, "ContentType").and_then(|media| main(&media)) else { continue };
        if found.replace(kind?).is_some() {
            return Err(Rejected::kind("document-with-two-types"));
        }
    }
    found.ok_or(Rejected::kind("type-unknown"))
}

/// The type of a document by its main part; macros have types of their own.
fn main(media: &str) -> Option<Checked<FileType>> {
    let lower = media.to_ascii_lowercase();
    if lower.contains("macroenabled") || lower.contains("vbaproject") || lower.contains("activex") {
        return Some(Err(Rejected::kind("document-macros")));
    }
    let kind = match lower.strip_prefix("application/vnd.openxmlformats-officedocument.")? {
        "wordprocessingml.document.main+xml" => FileType::Docx,
        "spreadsheetml.sheet.main+xml" => FileType::Xlsx,
        "presentationml.presentation.main+xml" => FileType::Pptx,
        _ => return None,
    };
    Some(Ok(kind))
}

/// The rules of archives, and no part that runs or fetches something.
pub(super) fn check(reader: &mut Reader<'_>, found: FileType) -> Checked {
    let open_document = matches!(found, FileType::Odt | FileType::Ods | FileType::Odp);
    let entries = zip::entries(reader)?;
    for entry in entries.iter().filter(|entry| !entry.folder) {
        active(entry, open_document)?;
        let mut head: Vec<u8> = Vec::new();
        zip::unpack(reader, entry, |piece| {
            let room = 8_usize.saturating_sub(head.len());
            head.extend_from_slice(piece.get(..room).unwrap_or(piece));
            Ok(())
        })?;
        let inside: [&[u8]; 8] = [
            b"PK\x03\x04",
            b"PK\x05\x06",
            b"Rar!",
            b"7z\xbc\xaf",
            b"\x1f\x8b\x08",
            b"\x7fELF",
            b"MZ\x90\0",
            // OLE: where macros and packages live.
            b"\xd0\xcf\x11\xe0",
        ];
        if inside.iter().any(|magic| head.starts_with(magic)) {
            return Err(Rejected::kind("archive-in-archive"));
        }
        if entry.name.to_ascii_lowercase().ends_with(".rels") {
            let xml = part(reader, entry)?;
            relations(&xml)?;
        }
    }
    Ok(())
}

/// Parts that run.
fn active(entry: &Entry, open_document: bool) -> Checked {
    let name = entry.name.to_ascii_lowercase();
    let last = super::name::last(&name);
    let office = last.starts_with("vbaproject")
        || last == "vbadata.xml"
        || ["activex/", "macrosheets/", "dialogsheets/"].iter().any(|folder| name.contains(folder));
    let open =
        open_document && ["basic/", "scripts/", "object "].iter().any(|folder| name.starts_with(folder));
    let program =
        [".exe", ".dll", ".js", ".vbs", ".hta", ".lnk", ".jar", ".class", ".bat", ".cmd", ".ps1", ".scr"]
            .iter()
            .any(|extension| name.ends_with(extension));
    if office || open || program || name.split('/').any(|part| part == ".phar") {
        Err(Rejected::kind("document-macros"))
    } else {
        Ok(())
    }
}

/// Links out of a document are hyperlinks; a template, a frame or an object from elsewhere is fetched and run
/// (CVE-2017-0199, CVE-2022-30190).
fn relations(xml: &[u8]) -> Checked {
    for tag in tags(xml)? {
        let external =
            attribute(&tag, "TargetMode").is_some_and(|mode| !mode.trim().eq_ignore_ascii_case("Internal"));
        let kind = attribute(&tag, "Type").unwrap_or_default();
        let target = attribute(&tag, "Target").unwrap_or_default();
        let template = kind.ends_with("/attachedTemplate") && target.contains("://");
        if template || (external && !kind.ends_with("/hyperlink")) {
            return Err(Rejected::kind("document-external"));
        }
    }
    Ok(())
}

fn part(reader: &mut Reader<'_>, entry: &Entry) -> Checked<Vec<u8>> {
    let mut out = Vec::new();
    zip::unpack(reader, entry, |piece| {
        out.extend_from_slice(piece);
        if out.len() > PART { Err(Rejected::kind("document-part-too-large")) } else { Ok(()) }
    })?;
    Ok(out)
}

/// A tag's attributes by local name, values as a reader of XML would have them.
type Tag = Vec<(String, String)>;

fn attribute(tag: &Tag, name: &str) -> Option<String> {
    tag.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
}

/// All tags of a small XML text; what is unusual in these parts (declarations of types, CDATA) is refused.
fn tags(xml: &[u8]) -> Checked<Vec<Tag>> {
    let bad = Rejected::kind("document-xml");
    let text = std::str::from_utf8(xml).map_err(|_| bad)?;
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut tags = Vec::new();
    while let Some(at) = rest.find('<') {
        rest = rest.get(at + 1..).unwrap_or_default();
        if let Some(comment) = rest.strip_prefix("!--") {
            rest = comment.find("-->").and_then(|end| comment.get(end + 3..)).ok_or(bad)?;
            continue;
        }
        if rest.starts_with('!') {
            return Err(bad);
        }
        if rest.starts_with('?') {
            rest = rest.find("?>").and_then(|end| rest.get(end + 2..)).ok_or(bad)?;
            continue;
        }
        let name = rest.find(|c: char| c.is_whitespace() || matches!(c, '>' | '/')).ok_or(bad)?;
        let closing = rest.starts_with('/');
        rest = rest.get(if closing { 1 } else { name }..).unwrap_or_default();
        if closing {
            rest = rest.find('>').and_then(|end| rest.get(end + 1..)).ok_or(bad)?;
            continue;
        }
        let mut tag = Tag::new();
        loop {
            rest = rest.trim_start();
            if let Some(behind) = rest.strip_prefix("/>").or_else(|| rest.strip_prefix('>')) {
                rest = behind;
                break;
            }
            let equals = rest.find('=').ok_or(bad)?;
            let name = rest.get(..equals).unwrap_or_default().trim();
            let local = name.rsplit(':').next().unwrap_or(name);
            rest = rest.get(equals + 1..).unwrap_or_default().trim_start();
            let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\'')).ok_or(bad)?;
            rest = rest.get(1..).unwrap_or_default();
            let end = rest.find(quote).ok_or(bad)?;
            let value = rest.get(..end).unwrap_or_default();
            if name.is_empty() || name.contains(char::is_whitespace) || value.contains('<') {
                return Err(bad);
            }
            tag.push((local.to_owned(), unescaped(value).ok_or(bad)?));
            rest = rest.get(end + 1..).unwrap_or_default();
        }
        tags.push(tag);
    }
    Ok(tags)
}

fn unescaped(value: &str) -> Option<String> {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find('&') {
        out.push_str(rest.get(..at)?);
        rest = rest.get(at + 1..)?;
        let (name, behind) = rest.split_once(';')?;
        out.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => {
                let number = name.strip_prefix('#')?;
                let code = match number.strip_prefix(['x', 'X']) {
                    Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                    None => number.parse().ok()?,
                };
                char::from_u32(code)?
            }
        });
        rest = behind;
    }
    out.push_str(rest);
    Some(out)
}
