//! `Content-Disposition` (RFC 6266), parsed and written anew: a name from behind becomes a file on the client's
//! disk.

use http::header::HeaderValue;
use std::fmt::Write as _;

const MAX_NAME: usize = 255;

/// `attachment` or `inline` with a safe name; nothing when it does not parse.
pub(super) fn rewrite(value: &[u8]) -> Option<HeaderValue> {
    // Field values are bytes; names come in UTF-8 from nearly everybody, and in Latin-1 from the rest.
    let text = match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_) => value.iter().copied().map(char::from).collect(),
    };
    let (kind, mut rest) = match text.split_once(';') {
        Some((kind, rest)) => (kind, Some(rest.to_owned())),
        None => (text.as_str(), None),
    };
    let mut out = match kind.trim().to_ascii_lowercase().as_str() {
        "attachment" => String::from("attachment"),
        "inline" => String::from("inline"),
        _ => return None,
    };
    let (mut plain, mut extended) = (None, None);
    while let Some(parameters) = rest.take() {
        let (name, value, after) = parameter(&parameters)?;
        let slot = match name.as_str() {
            "filename" => &mut plain,
            "filename*" => &mut extended,
            // Sizes and dates tell nobody anything.
            _ => &mut None,
        };
        if slot.replace(value).is_some() && name.starts_with("filename") {
            return None;
        }
        rest = after;
    }
    let name = match extended {
        Some(extended) => Some(decode_extended(&extended)?),
        None => plain,
    };
    if let Some(name) = name.as_deref().and_then(safe_name) {
        write_name(&mut out, &name);
    }
    HeaderValue::try_from(out).ok()
}

/// Name in lower case, value, and what follows the semicolon.
fn parameter(text: &str) -> Option<(String, String, Option<String>)> {
    if text.trim().is_empty() {
        return Some((String::new(), String::new(), None));
    }
    let (name, rest) = text.split_once('=')?;
    let name = name.trim().to_ascii_lowercase();
    let rest = rest.trim_start();
    let (value, after) = match rest.strip_prefix('"') {
        None => match rest.split_once(';') {
            Some((value, after)) => (value.trim().to_owned(), Some(after.to_owned())),
            None => (rest.trim().to_owned(), None),
        },
        Some(quoted) => {
            let mut value = String::new();
            let mut chars = quoted.chars();
            loop {
                match chars.next()? {
                    '"' => break,
                    '\\' => value.push(chars.next()?),
                    other => value.push(other),
                }
            }
            let after = chars.as_str().trim_start();
            match after.strip_prefix(';') {
                Some(after) => (value, Some(after.to_owned())),
                None if after.is_empty() => (value, None),
                None => return None,
            }
        }
    };
    Some((name, value, after))
}

/// `UTF-8'language'percent-encoded` (RFC 8187).
fn decode_extended(text: &str) -> Option<String> {
    let mut parts = text.splitn(3, '\'');
    let charset = parts.next()?;
    let (_language, encoded) = (parts.next()?, parts.next()?);
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high << 4 | low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    if charset.eq_ignore_ascii_case("utf-8") {
        String::from_utf8(bytes).ok()
    } else if charset.eq_ignore_ascii_case("iso-8859-1") {
        Some(bytes.into_iter().map(char::from).collect())
    } else {
        None
    }
}

/// The last path component, without what file systems and terminals obey: controls, separators, reserved
/// characters, directions of writing, leading and trailing dots.
fn safe_name(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut safe: String = last
        .chars()
        .filter(|c| !c.is_control() && !is_direction(*c))
        .map(|c| if matches!(c, '"' | '<' | '>' | '|' | ':' | '*' | '?') { '_' } else { c })
        .collect();
    while safe.len() > MAX_NAME {
        safe.pop();
    }
    let safe = safe.trim_matches(['.', ' ']);
    (!safe.is_empty()).then(|| safe.to_owned())
}

/// With U+202E, `exe.png` can be shown where `gnp.exe` is meant (as in CVE-2021-42574).
const fn is_direction(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn write_name(out: &mut String, name: &str) {
    out.push_str("; filename=\"");
    out.extend(name.chars().map(|c| if matches!(c, ' '..='~') && c != '%' { c } else { '_' }));
    out.push('"');
    if name.bytes().any(|b| !matches!(b, b' '..=b'~') || b == b'%') {
        out.push_str("; filename*=UTF-8''");
        for byte in name.bytes() {
            if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
                out.push(char::from(byte));
            } else {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disposition_is_written_anew() {
        let cases: [(&[u8], Option<&str>); 18] = [
            (b"attachment", Some("attachment")),
            (b"INLINE; filename=a.txt", Some("inline; filename=\"a.txt\"")),
            (b"attachment; filename=\"a b.txt\"; size=3", Some("attachment; filename=\"a b.txt\"")),
            (b"attachment; filename=\"../../etc/passwd\"", Some("attachment; filename=\"passwd\"")),
            (b"attachment; filename=\"C:\\\\x\\\\run.exe\"", Some("attachment; filename=\"run.exe\"")),
            (b"attachment; filename=\"a\\\"b\"", Some("attachment; filename=\"a_b\"")),
            (b"attachment; filename=\"..\"", Some("attachment")),
            (
                "attachment; filename=\"r\u{e9}sum\u{e9}.pdf\"".as_bytes(),
                Some("attachment; filename=\"r_sum_.pdf\"; filename*=UTF-8''r%C3%A9sum%C3%A9.pdf"),
            ),
            (
                b"attachment; filename=\"r\xe9.pdf\"",
                Some("attachment; filename=\"r_.pdf\"; filename*=UTF-8''r%C3%A9.pdf"),
            ),
            (
                b"attachment; filename=x; filename*=UTF-8''%e2%82%ac.txt",
                Some("attachment; filename=\"_.txt\"; filename*=UTF-8''%E2%82%AC.txt"),
            ),
            (
                "attachment; filename=\"invoice\u{202e}gnp.exe\"".as_bytes(),
                Some("attachment; filename=\"invoicegnp.exe\""),
            ),
            (
                b"attachment; filename*=UTF-8''a%0d%0aSet-Cookie:x",
                Some("attachment; filename=\"aSet-Cookie_x\""),
            ),
            (b"attachment; filename*=UTF-16''a", None),
            (b"attachment; filename*=UTF-8''%ff", None),
            (b"attachment; filename=a; filename=b", None),
            (b"attachment; filename=\"a", None),
            (b"form-data; name=a", None),
            (b"", None),
        ];
        for (given, expected) in cases {
            let got = rewrite(given);
            assert_eq!(
                got.as_ref().map(|v| v.to_str().unwrap()),
                expected,
                "{}",
                String::from_utf8_lossy(given)
            );
        }
    }
}
