//! Names of files (contract.md § 13.3).

use super::{Checked, FileType, Rejected, Why};
use icu_normalizer::ComposingNormalizerBorrowed;

/// Bytes of a cleaned name.
const LONGEST: usize = 100;

/// Extensions of what a web server or a desktop runs: none of them may stand before the last one.
const ACTIVE: &[&str] = &[
    "php", "php3", "php4", "php5", "php7", "php8", "pht", "phtml", "phps", "phar", "asp", "aspx", "ashx",
    "asmx", "asa", "cer", "jsp", "jspx", "jspf", "jsw", "jsv", "cgi", "fcgi", "pl", "py", "rb", "sh", "bash",
    "exe", "dll", "bat", "cmd", "ps1", "psm1", "vbs", "vbe", "js", "mjs", "jse", "wsf", "wsh", "hta", "scr",
    "msi", "cpl", "lnk", "jar", "war", "class", "svg", "svgz", "html", "htm", "xhtml", "shtml", "xht", "xml",
    "xsl", "xslt", "swf", "htaccess", "config", "reg", "elf",
];

/// The name as sent, if nothing in it deceives.
pub(super) fn well_formed(name: &str) -> Checked<&str> {
    let deceives = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if name.chars().any(deceives) {
        return Err(Rejected { why: Why::Malformed, reason: "file-name-controls" });
    }
    Ok(name)
}

/// The last component, by both separators.
pub(super) fn last(name: &str) -> &str {
    name.rsplit(['/', '\\']).next().unwrap_or(name)
}

/// NFC.
pub(super) fn composed(text: &str) -> std::borrow::Cow<'_, str> {
    ComposingNormalizerBorrowed::new_nfc().normalize(text)
}

/// Letters, digits and `._-`; no dot in front, no dot or space at the end.
fn plain(name: &str) -> String {
    let name = composed(last(name));
    let name = name.trim_end_matches(['.', ' ']).trim_start_matches(['.', ' ']);
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' })
        .collect()
}

/// The extension, in lower case.
pub(super) fn extension(name: &str) -> Option<String> {
    let name = plain(name);
    let (stem, extension) = name.rsplit_once('.')?;
    (!stem.is_empty() && !extension.is_empty()).then(|| extension.to_ascii_lowercase())
}

/// A name that no file system and no web server reads in another way: the last component, `[A-Za-z0-9._-]`, at most 100
/// bytes, with the one extension that belongs to the type.
///
/// # Errors
/// The extension is another type's, or an active one stands before it (`a.php.png`).
pub fn clean(name: &str, kind: FileType) -> Result<Box<str>, Rejected> {
    let name = plain(well_formed(name)?);
    let (stem, extension) = name.rsplit_once('.').ok_or(Rejected::kind("extension-missing"))?;
    let extension = extension.to_ascii_lowercase();
    if !kind.extensions().contains(&&*extension) {
        return Err(Rejected::kind("extension-disagrees"));
    }
    // `a.php;.png`, `a.php%00.png`: what stands behind the word does not matter to the one who is deceived.
    let word = |part: &str| {
        let end = part.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(part.len());
        part.get(..end).unwrap_or(part).to_ascii_lowercase()
    };
    if stem.split('.').skip(1).any(|part| ACTIVE.contains(&&*word(part))) {
        return Err(Rejected::kind("extension-active"));
    }
    let stem = stem.replace('.', "_");
    let room = LONGEST.saturating_sub(extension.len() + 1);
    let stem = stem.get(..room.min(stem.len())).unwrap_or_default();
    let stem = if stem.trim_matches('_').is_empty() { "file" } else { stem };
    let reserved = is_device(stem);
    let mark = if reserved { "_" } else { "" };
    Ok(format!("{mark}{stem}.{extension}").into())
}

/// Names that are devices on Windows, with any extension.
pub(super) fn is_device(stem: &str) -> bool {
    let upper = stem.to_ascii_uppercase();
    matches!(&*upper, "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$" | "CLOCK$")
        || upper
            .strip_prefix("COM")
            .or_else(|| upper.strip_prefix("LPT"))
            .is_some_and(|rest| matches!(rest.as_bytes(), [b'0'..=b'9']))
}
