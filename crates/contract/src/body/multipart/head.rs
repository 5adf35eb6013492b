//! The header lines of one part (RFC 7578 § 4).

use super::parser::{HEADER_BYTES, HEADERS, Malformed, head_end};
use crate::body::MediaType;

/// What stands before a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartHead {
    /// `name`.
    pub name: Box<str>,
    /// `filename` or `filename*`, decoded and not cleaned.
    pub file_name: Option<Box<str>>,
    /// `Content-Type`.
    pub media: Option<MediaType>,
    /// Other header lines, names in lower case; no name twice.
    pub others: Vec<(Box<str>, Box<str>)>,
}

impl PartHead {
    /// Reads from the first header line to behind the empty line: the head, and its length. `None`: more is needed.
    pub(super) fn read(text: &[u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let Some(end) = head_end(text) else {
            return if text.len() > HEADER_BYTES { Err(Malformed("part-head-too-large")) } else { Ok(None) };
        };
        if end > HEADER_BYTES {
            return Err(Malformed("part-head-too-large"));
        }
        let lines = text.get(..end.saturating_sub(4)).unwrap_or_default();
        let lines = std::str::from_utf8(lines).map_err(|_| Malformed("part-head-not-ascii"))?;
        Self::of_lines(lines).map(|head| Some((head, end)))
    }

    fn of_lines(lines: &str) -> Result<Self, Malformed> {
        let (mut disposition, mut media) = (None, None);
        let mut others: Vec<(Box<str>, Box<str>)> = Vec::new();
        let mut seen: Vec<String> = Vec::new();
        for line in lines.split("\r\n").filter(|line| !(line.is_empty() && lines.is_empty())) {
            let (name, value) = field(line)?;
            if seen.contains(&name) {
                return Err(Malformed("part-header-twice"));
            }
            match name.as_str() {
                "content-disposition" => disposition = Some(self::disposition(value)?),
                "content-type" => {
                    let read = MediaType::parse(value).map_err(|_| Malformed("part-media-type"))?;
                    if read.kind() == "multipart" {
                        return Err(Malformed("multipart-nested"));
                    }
                    media = Some(read);
                }
                "content-transfer-encoding" => {
                    // RFC 7578 § 4.7: deprecated; what would change the bytes is nobody's to guess.
                    let plain = ["7bit", "8bit", "binary"];
                    if !plain.iter().any(|known| value.eq_ignore_ascii_case(known)) {
                        return Err(Malformed("transfer-encoding"));
                    }
                }
                _ => others.push((name.as_str().into(), value.into())),
            }
            seen.push(name);
            if seen.len() > HEADERS {
                return Err(Malformed("too-many-part-headers"));
            }
        }
        let (name, file_name) = disposition.ok_or(Malformed("disposition-missing"))?;
        Ok(Self { name, file_name, media, others })
    }
}

/// `Name: value`; the name in lower case.
fn field(line: &str) -> Result<(String, &str), Malformed> {
    if line.starts_with([' ', '\t']) {
        return Err(Malformed("part-header-folded"));
    }
    // No CR, LF, NUL or other control but the tab, and nothing beyond ASCII: its encoding is anybody's guess.
    if !line.bytes().all(|b| (0x20..0x7f).contains(&b) || b == b'\t') {
        return Err(Malformed("part-header-characters"));
    }
    let (name, value) = line.split_once(':').ok_or(Malformed("part-header-nameless"))?;
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(Malformed("part-header-nameless"));
    }
    Ok((name.to_ascii_lowercase(), value.trim_matches([' ', '\t'])))
}

/// The parameters of a `Content-Disposition` (RFC 6266 § 4.1, RFC 7578 § 4.2): name, and the file's name.
fn disposition(value: &str) -> Result<(Box<str>, Option<Box<str>>), Malformed> {
    let (kind, mut rest) = match value.find(';') {
        Some(at) => value.split_at(at),
        None => (value, ""),
    };
    if !kind.trim_matches([' ', '\t']).eq_ignore_ascii_case("form-data") {
        return Err(Malformed("disposition-not-form-data"));
    }
    let (mut name, mut plain, mut extended) = (None, None, None);
    let mut seen: Vec<String> = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        if rest.is_empty() {
            break;
        }
        let (key, value, after) = parameter(rest)?;
        rest = after;
        if seen.contains(&key) {
            return Err(Malformed("disposition-parameter-twice"));
        }
        match key.as_str() {
            "name" => name = Some(value),
            "filename" => plain = Some(value),
            "filename*" => extended = Some(ext_value(&value)?),
            // `name*` (RFC 5987) names a part a second time, in some readers.
            _ => return Err(Malformed("disposition-parameter-unknown")),
        }
        seen.push(key);
    }
    if plain.is_some() && extended.is_some() {
        return Err(Malformed("filename-twice"));
    }
    let name = name.filter(|name| !name.is_empty()).ok_or(Malformed("part-nameless"))?;
    Ok((name.into(), plain.or(extended).map(Into::into)))
}

/// `; key=value` at the start of `rest`: key in lower case, value, and what stands behind.
fn parameter(rest: &str) -> Result<(String, String, &str), Malformed> {
    const WRONG: Malformed = Malformed("disposition-syntax");
    let rest = rest.strip_prefix(';').ok_or(WRONG)?.trim_start_matches([' ', '\t']);
    let (key, rest) = rest.split_once('=').ok_or(WRONG)?;
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&*+-.^_`|~".contains(&b);
    if key.is_empty() || !key.bytes().all(token) {
        return Err(WRONG);
    }
    let key = key.to_ascii_lowercase();
    let Some(quoted) = rest.strip_prefix('"') else {
        let end = rest.find([';', ' ', '\t']).unwrap_or(rest.len());
        let (value, rest) = rest.split_at(end);
        // An apostrophe is a token's character (RFC 9110 § 5.6.2) and some readers' quote; only the extended
        // form needs it.
        let allowed = |b: u8| token(b) || (b == b'\'' && key == "filename*");
        if value.is_empty() || !value.bytes().all(allowed) {
            return Err(WRONG);
        }
        return Ok((key, value.to_owned(), rest));
    };
    if key.ends_with('*') {
        return Err(WRONG);
    }
    let mut value = String::with_capacity(quoted.len());
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((key, value, quoted.get(at + 1..).unwrap_or_default())),
            // Browsers of old sent C:\path\file without escaping: another escape has two readings.
            '\\' => match chars.next() {
                Some((_, c @ ('"' | '\\'))) => value.push(c),
                _ => return Err(Malformed("disposition-escape")),
            },
            c => value.push(c),
        }
    }
    Err(WRONG)
}

/// `UTF-8'language'text` (RFC 8187 § 3.2).
fn ext_value(text: &str) -> Result<String, Malformed> {
    const WRONG: Malformed = Malformed("filename-extended");
    let mut parts = text.splitn(3, '\'');
    let (charset, _, value) = (parts.next(), parts.next(), parts.next().ok_or(WRONG)?);
    if !charset.is_some_and(|charset| charset.eq_ignore_ascii_case("utf-8")) {
        return Err(Malformed("filename-not-utf-8"));
    }
    if value.contains('\'') {
        return Err(WRONG);
    }
    let decoded = crate::param::grammar::decode(value, false).map_err(|_| Malformed("filename-not-utf-8"))?;
    if decoded.chars().any(char::is_control) {
        return Err(Malformed("filename-control"));
    }
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &str) -> Result<PartHead, &'static str> {
        match PartHead::read(format!("{lines}\r\n\r\nbody").as_bytes()) {
            Ok(Some((head, length))) => {
                assert_eq!(length, lines.len() + 4);
                Ok(head)
            }
            Ok(None) => Err("more"),
            Err(malformed) => Err(malformed.0),
        }
    }

    fn disposition(parameters: &str) -> Result<PartHead, &'static str> {
        read(&format!("Content-Disposition: form-data{parameters}"))
    }

    #[test]
    fn heads_as_clients_send_them() {
        let head = read(
            "content-DISPOSITION:form-data ;name=\"a b\"; filename=\"it's \\\"x\\\\y\\\".txt\"\r\nContent-Type: Text/Plain; charset=utf-8\r\ncontent-transfer-encoding: BINARY\r\nX-A: 1\t2",
        )
        .unwrap();
        assert_eq!((&*head.name, head.file_name.as_deref()), ("a b", Some("it's \"x\\y\".txt")));
        assert_eq!(head.media.unwrap().essence(), "text/plain");
        assert_eq!(head.others, [("x-a".into(), "1\t2".into())]);
        let head = disposition("; filename*=utf-8'en'%e2%82%ac%20x.txt; name=a").unwrap();
        assert_eq!((&*head.name, head.file_name.as_deref()), ("a", Some("€ x.txt")));
    }

    #[test]
    fn dispositions_with_two_readings_are_refused() {
        for (parameters, reason) in [
            ("", "part-nameless"),
            ("; name=\"\"", "part-nameless"),
            ("; filename=\"x\"", "part-nameless"),
            ("; name=a; name=b", "disposition-parameter-twice"),
            ("; name=a; NAME=a", "disposition-parameter-twice"),
            ("; name=a; filename=x; filename=y", "disposition-parameter-twice"),
            ("; name=a; filename=x; filename*=UTF-8''y", "filename-twice"),
            ("; name=a; filename*=ISO-8859-1''y", "filename-not-utf-8"),
            ("; name=a; filename*=UTF-8''%ff", "filename-not-utf-8"),
            ("; name=a; filename*=UTF-8''a%00b", "filename-not-utf-8"),
            ("; name=a; filename*=UTF-8''%0d%0ax", "filename-not-utf-8"),
            ("; name=a; filename*=UTF-8", "filename-extended"),
            ("; name=a; filename*=UTF-8''a'b", "filename-extended"),
            ("; name=a; filename*=\"UTF-8''x\"", "disposition-syntax"),
            ("; name=a; name*=UTF-8''b", "disposition-syntax"),
            ("; name=a; name*=b", "disposition-parameter-unknown"),
            ("; name=a; size=3", "disposition-parameter-unknown"),
            ("; name='a'", "disposition-syntax"),
            ("; name=\"a", "disposition-syntax"),
            ("; name=a b", "disposition-syntax"),
            ("; name", "disposition-syntax"),
            ("; name =a", "disposition-syntax"),
            (";; name=a", "disposition-syntax"),
            ("; name=a;", "disposition-syntax"),
            ("; name=\"a\"x", "disposition-syntax"),
            ("; name=\"a\\n\"", "disposition-escape"),
            ("; name=a; filename=\"C:\\dir\\file\"", "disposition-escape"),
            ("; name=\"a\0\"", "part-header-characters"),
            ("; name=\"a\rb\"", "part-header-characters"),
            ("; name=\"a\nb\"", "part-header-characters"),
            ("; name=\"ü\"", "part-header-characters"),
        ] {
            assert_eq!(disposition(parameters).unwrap_err(), reason, "{parameters:?}");
        }
        assert_eq!(read("Content-Disposition: attachment; name=a").unwrap_err(), "disposition-not-form-data");
        assert_eq!(read("Content-Type: text/plain").unwrap_err(), "disposition-missing");
        assert_eq!(read("").unwrap_err(), "disposition-missing");
    }

    #[test]
    fn header_lines_are_strict() {
        let with = |line: &str| read(&format!("Content-Disposition: form-data; name=a\r\n{line}"));
        for (line, reason) in [
            (" folded: x", "part-header-folded"),
            ("\tfolded", "part-header-folded"),
            (": x", "part-header-nameless"),
            ("x", "part-header-nameless"),
            ("a b: x", "part-header-nameless"),
            ("a : x", "part-header-nameless"),
            ("ü: x", "part-header-characters"),
            ("X-A: ü", "part-header-characters"),
            ("X-A: a\rb", "part-header-characters"),
            ("X-A: a\nX-B: b", "part-header-characters"),
            ("X-A: a\0", "part-header-characters"),
            ("X-A: 1\r\nx-a: 2", "part-header-twice"),
            ("Content-Disposition: form-data; name=b", "part-header-twice"),
            ("Content-Type: multipart/mixed; boundary=c", "multipart-nested"),
            ("Content-Type: text", "part-media-type"),
            ("Content-Type: text/plain; a=1; a=2", "part-media-type"),
            ("Content-Transfer-Encoding: base64", "transfer-encoding"),
            ("Content-Transfer-Encoding: quoted-printable", "transfer-encoding"),
            ("Content-Transfer-Encoding: 8bit, base64", "transfer-encoding"),
        ] {
            assert_eq!(with(line).unwrap_err(), reason, "{line:?}");
        }
        assert_eq!(PartHead::read(b"\xff: x\r\n\r\n"), Err(Malformed("part-head-not-ascii")));
    }

    #[test]
    fn heads_are_bounded() {
        let lines = |count: usize| {
            let more: String = (1..count).map(|n| format!("\r\nX-{n}: 1")).collect();
            read(&format!("Content-Disposition: form-data; name=a{more}"))
        };
        assert_eq!(lines(8).unwrap().others.len(), 7);
        assert_eq!(lines(9).unwrap_err(), "too-many-part-headers");
        assert_eq!(
            disposition(&format!("; name=\"{}\"", "a".repeat(5000))).unwrap_err(),
            "part-head-too-large"
        );
        // Without its end it is refused as early.
        assert_eq!(PartHead::read(&[b'a'; 4096]), Ok(None));
        assert_eq!(PartHead::read(&[b'a'; 4097]), Err(Malformed("part-head-too-large")));
    }
}
