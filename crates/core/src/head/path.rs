use smallvec::SmallVec;
use std::fmt::{self, Write as _};

/// Segments of a path; more are refused.
pub const MAX_SEGMENTS: usize = 64;

/// A path in the one form in which it is matched, authorized, logged and printed.
///
/// It keeps decoded segments. `~` and `%7e`, `1` and `%31` are one path. Of the other characters only the
/// delimiters at which a parameter's style may split (`,` `;` `=`) remember whether they came literally or
/// encoded, because there the two mean different values (OpenAPI styles simple and matrix; RFC 3986,
/// section 2.2). Law: `parse(print(p)) == p`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CanonicalPath {
    text: String,
    segments: SmallVec<[Bounds; 8]>,
    /// Places in `text` of delimiters that came percent-encoded; ascending, nearly always empty.
    encoded: SmallVec<[u32; 2]>,
    trailing_slash: bool,
}

/// Where a segment ends in the text, and what it contains.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Bounds {
    end: u32,
    marks: Marks,
}

/// What a segment contains that only a parameter that says so may contain.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Marks(u8);

/// One decoded segment.
#[derive(Clone, Copy)]
pub struct Segment<'a> {
    /// The segment, decoded once. Valid UTF-8 without controls; may contain a `/` when marked.
    pub text: &'a str,
    /// Route refuses a marked segment unless the parameter that it fills allows the mark.
    pub marks: Marks,
    encoded: &'a [u32],
    start: u32,
}

/// Why a path has no canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// A byte that no path may contain (`wire.md`, sections 5.1 and 6.2, step 1).
    Byte,
    /// No leading slash (CVE-2026-33186).
    NotAbsolute,
    /// `//`: neither merged nor passed (CVE-2021-31920).
    EmptySegment,
    /// `%` without two hex digits.
    Escape,
    /// Not UTF-8 after decoding.
    Utf8,
    /// Backslash, control character or non-character after decoding (CVE-2026-41059).
    Character,
    /// Encoded twice.
    DoubleEncoding,
    /// Dots and spaces only, also before a `;` (CVE-2021-43557, CVE-2026-73511).
    DotSegment,
    /// More than [`MAX_SEGMENTS`].
    TooMany,
}

impl PathError {
    /// Whether the request is not HTTP at all, and not only a path that is refused.
    pub const fn is_malformed(self) -> bool {
        matches!(self, Self::Byte | Self::NotAbsolute)
    }

    /// Stable words for the private reason.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Byte => "a byte that no target may contain",
            Self::NotAbsolute => "the path does not begin with a slash",
            Self::EmptySegment => "an empty path segment",
            Self::Escape => "a percent sign without two hex digits in the path",
            Self::Utf8 => "the decoded path is not UTF-8",
            Self::Character => "a backslash, control or non-character in the decoded path",
            Self::DoubleEncoding => "the path is percent-encoded twice",
            Self::DotSegment => "a path segment of dots or spaces",
            Self::TooMany => "too many path segments",
        }
    }
}

impl CanonicalPath {
    /// Reads the path of an origin-form target: what stands before the first `?`.
    ///
    /// # Errors
    /// The first step of `wire.md`, section 6.2, that fails.
    pub fn parse(raw: &str) -> Result<Self, PathError> {
        if !raw.bytes().all(|b| is_target_byte(b) && b != b'?') {
            return Err(PathError::Byte);
        }
        Self::parse_checked(raw)
    }

    /// As `parse`, for bytes that have passed [`is_target_byte`] and contain no `?`.
    pub(super) fn parse_checked(raw: &str) -> Result<Self, PathError> {
        let Some(rest) = raw.strip_prefix('/') else { return Err(PathError::NotAbsolute) };
        let mut path = Self {
            text: String::with_capacity(rest.len()),
            segments: SmallVec::new(),
            encoded: SmallVec::new(),
            trailing_slash: rest.is_empty(),
        };
        let mut pieces = rest.split('/').peekable();
        while let Some(piece) = pieces.next() {
            if piece.is_empty() {
                if pieces.peek().is_some() {
                    return Err(PathError::EmptySegment);
                }
                path.trailing_slash = true;
                break;
            }
            if path.segments.len() == MAX_SEGMENTS {
                return Err(PathError::TooMany);
            }
            path.push(piece)?;
        }
        Ok(path)
    }

    /// Decodes one raw, non-empty segment and adds it.
    fn push(&mut self, raw: &str) -> Result<(), PathError> {
        let start = self.text.len();
        if raw.as_bytes().contains(&b'%') {
            self.push_decoded(raw)?;
        } else {
            self.text.push_str(raw);
        }
        let text = self.text.get(start..).unwrap_or_default();
        let marks = Marks::of(text);
        if marks.contains(Marks::PERCENT) && holds_escape(text.as_bytes()) {
            return Err(PathError::DoubleEncoding);
        }
        let before_semicolon = text.split(';').next().unwrap_or(text);
        if !before_semicolon.is_empty() && before_semicolon.bytes().all(|b| b == b'.' || b == b' ') {
            return Err(PathError::DotSegment);
        }
        let end = u32::try_from(self.text.len()).map_err(|_| PathError::TooMany)?;
        self.segments.push(Bounds { end, marks: marks.public() });
        Ok(())
    }

    fn push_decoded(&mut self, raw: &str) -> Result<(), PathError> {
        let start = self.text.len();
        let mut decoded: SmallVec<[u8; 128]> = SmallVec::new();
        let mut bytes = raw.bytes();
        while let Some(byte) = bytes.next() {
            if byte != b'%' {
                decoded.push(byte);
                continue;
            }
            let (Some(high), Some(low)) =
                (bytes.next().and_then(hex_value), bytes.next().and_then(hex_value))
            else {
                return Err(PathError::Escape);
            };
            let byte = high << 4 | low;
            if is_delimiter(byte) {
                let at = u32::try_from(start + decoded.len()).map_err(|_| PathError::TooMany)?;
                self.encoded.push(at);
            }
            decoded.push(byte);
        }
        let text = std::str::from_utf8(&decoded).map_err(|_| PathError::Utf8)?;
        if text.chars().any(|c| c == '\\' || c.is_control() || is_noncharacter(c)) {
            return Err(PathError::Character);
        }
        self.text.push_str(text);
        Ok(())
    }

    /// The segments in order; a trailing slash is not one of them.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = Segment<'_>> + Clone {
        let mut start = 0;
        self.segments.iter().map(move |bounds| {
            let segment = self.cut(start, *bounds);
            start = bounds.end;
            segment
        })
    }

    /// The segment at a place, from 0.
    pub fn segment(&self, index: usize) -> Option<Segment<'_>> {
        let bounds = *self.segments.get(index)?;
        let start = index.checked_sub(1).and_then(|before| self.segments.get(before)).map_or(0, |b| b.end);
        Some(self.cut(start, bounds))
    }

    fn cut(&self, start: u32, bounds: Bounds) -> Segment<'_> {
        let text = self.text.get(start as usize..bounds.end as usize).unwrap_or_default();
        let encoded = if self.encoded.is_empty() {
            &[][..]
        } else {
            let from = self.encoded.partition_point(|at| *at < start);
            let to = self.encoded.partition_point(|at| *at < bounds.end);
            self.encoded.get(from..to).unwrap_or_default()
        };
        Segment { text, marks: bounds.marks, encoded, start }
    }

    /// How many segments there are; 0 for `/`.
    pub fn count(&self) -> usize {
        self.segments.len()
    }

    /// Whether the path ends in a slash. It is part of the path: `/a` and `/a/` are two paths. True for `/`.
    pub const fn trailing_slash(&self) -> bool {
        self.trailing_slash
    }

    /// Whether any segment carries a mark.
    pub fn is_marked(&self) -> bool {
        self.segments.iter().any(|bounds| !bounds.marks.is_empty())
    }
}

impl fmt::Display for CanonicalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in self.segments() {
            f.write_char('/')?;
            segment.write_encoded(f)?;
        }
        if self.trailing_slash { f.write_char('/') } else { Ok(()) }
    }
}

impl fmt::Debug for CanonicalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CanonicalPath({self})")
    }
}

impl<'a> Segment<'a> {
    /// The canonical encoding, in which a delimiter that is data stands encoded (`%2C`) and one that separates
    /// stands literally. Split this where a parameter's style splits, then decode each piece once.
    pub fn encoded(&self) -> std::borrow::Cow<'a, str> {
        if self.encoded.is_empty() && self.text.bytes().all(|b| is_unreserved(b) || is_delimiter(b)) {
            return std::borrow::Cow::Borrowed(self.text);
        }
        let mut out = String::with_capacity(self.text.len() * 2);
        // Writing to a String cannot fail.
        let _ = self.write_encoded(&mut out);
        std::borrow::Cow::Owned(out)
    }

    fn write_encoded(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let mut encoded = self.encoded.iter().map(|at| (*at - self.start) as usize).peekable();
        for (place, byte) in self.text.bytes().enumerate() {
            let literal = if encoded.next_if_eq(&place).is_some() {
                false
            } else {
                is_unreserved(byte) || is_delimiter(byte)
            };
            if literal {
                out.write_char(char::from(byte))?;
            } else {
                write_escape(out, byte)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Segment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Segment({:?}, {:?})", self.text, self.marks)
    }
}

impl Marks {
    /// An encoded `/`.
    pub const SLASH: Self = Self(1);
    /// An encoded `?`.
    pub const QUESTION: Self = Self(2);
    /// An encoded `#`.
    pub const HASH: Self = Self(4);
    /// A `;`, literal or encoded.
    pub const SEMICOLON: Self = Self(8);
    /// Only while parsing.
    const PERCENT: Self = Self(16);

    const fn of(text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut marks = 0;
        let mut rest = bytes;
        while let [byte, tail @ ..] = rest {
            marks |= match *byte {
                b'/' => 1,
                b'?' => 2,
                b'#' => 4,
                b';' => 8,
                b'%' => 16,
                _ => 0,
            };
            rest = tail;
        }
        Self(marks)
    }

    const fn public(self) -> Self {
        Self(self.0 & 15)
    }

    /// Nothing is marked.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of `other` is here.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// What is here and not in `allowed`.
    #[must_use]
    pub const fn without(self, allowed: Self) -> Self {
        Self(self.0 & !allowed.0)
    }
}

impl std::ops::BitOr for Marks {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [(Self::SLASH, "/"), (Self::QUESTION, "?"), (Self::HASH, "#"), (Self::SEMICOLON, ";")];
        f.write_str("Marks(")?;
        for (mark, name) in names {
            if self.contains(mark) {
                f.write_str(name)?;
            }
        }
        f.write_char(')')
    }
}

/// Bytes that a target may contain: visible ASCII without `" # < > \ ^ { }` and the back-tick. `[ ] |` are let
/// in for parameter styles.
pub(super) const fn is_target_byte(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e)
        && !matches!(byte, b'"' | b'#' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'}')
}

/// RFC 3986, section 2.3.
pub(super) const fn is_unreserved(byte: u8) -> bool {
    matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~')
}

const fn is_delimiter(byte: u8) -> bool {
    matches!(byte, b',' | b';' | b'=')
}

pub(super) fn hex_value(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn holds_escape(bytes: &[u8]) -> bool {
    bytes
        .windows(3)
        .any(|w| matches!(w, [b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit()))
}

const fn is_noncharacter(c: char) -> bool {
    let code = c as u32;
    matches!(code, 0xfdd0..=0xfdef) || code & 0xfffe == 0xfffe
}

pub(super) fn write_escape(out: &mut impl fmt::Write, byte: u8) -> fmt::Result {
    write!(out, "%{byte:02X}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(raw: &str) -> Vec<String> {
        CanonicalPath::parse(raw).unwrap().segments().map(|s| s.text.to_owned()).collect()
    }

    #[test]
    fn path_decodes_once_and_prints_one_spelling() {
        let cases = [
            ("/", "/", vec![]),
            ("/a", "/a", vec!["a"]),
            ("/a/", "/a/", vec!["a"]),
            ("/%7euser/%31", "/~user/1", vec!["~user", "1"]),
            ("/caf%c3%a9/x%20y", "/caf%C3%A9/x%20y", vec!["café", "x y"]),
            ("/a:b@c", "/a%3Ab%40c", vec!["a:b@c"]),
            ("/a%3ab%40c", "/a%3Ab%40c", vec!["a:b@c"]),
            ("/a|[b]", "/a%7C%5Bb%5D", vec!["a|[b]"]),
            ("/100%25", "/100%25", vec!["100%"]),
        ];
        for (raw, printed, segments) in cases {
            let path = CanonicalPath::parse(raw).unwrap();
            assert_eq!(path.to_string(), printed, "{raw}");
            assert_eq!(texts(raw), segments, "{raw}");
            assert_eq!(CanonicalPath::parse(printed).unwrap(), path, "{raw}");
            assert_eq!(path.count(), segments.len());
            for (index, text) in segments.iter().enumerate() {
                assert_eq!(path.segment(index).unwrap().text, *text);
            }
            assert!(path.segment(segments.len()).is_none());
        }
    }

    #[test]
    fn path_keeps_apart_delimiters_and_data() {
        let list = CanonicalPath::parse("/c/blue,black").unwrap();
        let one = CanonicalPath::parse("/c/blue%2cblack").unwrap();
        assert_ne!(list, one);
        assert_eq!(list.segment(1).unwrap().text, one.segment(1).unwrap().text);
        assert_eq!(list.segment(1).unwrap().encoded(), "blue,black");
        assert_eq!(one.segment(1).unwrap().encoded(), "blue%2Cblack");
        assert_eq!(CanonicalPath::parse("/x%3D/a%3Bb;c=d").unwrap().to_string(), "/x%3D/a%3Bb;c=d");
        assert_eq!(
            CanonicalPath::parse("/x%3D/a%3Bb;c=d").unwrap().segment(1).unwrap().encoded(),
            "a%3Bb;c=d"
        );
    }

    #[test]
    fn path_marks_what_route_must_judge() {
        let path = CanonicalPath::parse("/a%2Fb/c%3Fd/e%23f/g;h/plain").unwrap();
        let marks: Vec<_> = path.segments().map(|s| s.marks).collect();
        assert_eq!(marks, [Marks::SLASH, Marks::QUESTION, Marks::HASH, Marks::SEMICOLON, Marks::default()]);
        assert!(path.is_marked());
        assert!((Marks::SLASH | Marks::HASH).without(Marks::SLASH).contains(Marks::HASH));
        assert!(!CanonicalPath::parse("/plain").unwrap().is_marked());
    }

    #[test]
    fn path_bounds_its_segments() {
        assert!(CanonicalPath::parse(&"/a".repeat(64)).is_ok());
        assert_eq!(CanonicalPath::parse(&"/a".repeat(65)), Err(PathError::TooMany));
    }

    #[test]
    fn path_refuses_a_second_reading() {
        use PathError::*;
        let cases = [
            ("", NotAbsolute),
            ("a", NotAbsolute),
            ("/a?b", Byte),
            ("/a b", Byte),
            ("/a\\b", Byte),
            ("/é", Byte),
            ("//", EmptySegment),
            ("//a", EmptySegment),
            ("/a//", EmptySegment),
            ("/a//b", EmptySegment),
            ("/%", Escape),
            ("/a%2", Escape),
            ("/%g1", Escape),
            ("/%2/a", Escape),
            ("/%ff", Utf8),
            ("/%c0%af", Utf8),
            ("/%ed%a0%80", Utf8),
            ("/%00", Character),
            ("/%7f", Character),
            ("/%c2%85", Character),
            ("/a%5cb", Character),
            ("/%ef%bf%bf", Character),
            ("/%ef%b7%90", Character),
            ("/%252e", DoubleEncoding),
            ("/%25%32%65", DoubleEncoding),
            ("/.", DotSegment),
            ("/a/../b", DotSegment),
            ("/%2e%2E", DotSegment),
            ("/...", DotSegment),
            ("/..;x/a", DotSegment),
            ("/..%3bx/a", DotSegment),
            ("/..%20/a", DotSegment),
            ("/%20", DotSegment),
        ];
        for (raw, error) in cases {
            assert_eq!(CanonicalPath::parse(raw), Err(error), "{raw:?}");
        }
        for raw in ["/.a", "/a.", "/..a", "/;v=1", "/a;..", "/%25", "/%25zz"] {
            assert!(CanonicalPath::parse(raw).is_ok(), "{raw:?}");
        }
    }

    proptest! {
        #[test]
        fn path_law_parse_of_print_is_identity(raw in "/([a-zA-Z0-9%/.;,=:@~|_!\\[\\]-]|%[0-9a-fA-F]{2}){0,40}") {
            if let Ok(path) = CanonicalPath::parse(&raw) {
                let printed = path.to_string();
                let again = CanonicalPath::parse(&printed).unwrap();
                prop_assert_eq!(&again, &path);
                prop_assert_eq!(again.to_string(), printed);
            }
        }

        #[test]
        fn path_law_any_text_in_one_segment_stays_one_segment(text in "\\PC{1,20}") {
            let mut raw = String::from("/before/");
            for byte in text.bytes() { write_escape(&mut raw, byte).unwrap(); }
            raw.push_str("/after");
            if let Ok(path) = CanonicalPath::parse(&raw) {
                prop_assert_eq!(path.count(), 3);
                prop_assert_eq!(path.segment(1).unwrap().text, text);
            }
        }

        #[test]
        fn path_never_panics(raw in "\\PC{0,40}") {
            let _ = CanonicalPath::parse(&raw);
        }
    }
}
