//! `multipart/form-data` from pushed bytes (RFC 2046 § 5.1, RFC 7578), strictly: two readers of one body disagree in
//! the places that are refused here, and what goes on is written anew anyway.

use super::head::PartHead;
use memchr::memmem::{Finder, find};

/// Parts of one body.
pub const PARTS: usize = 20;
/// Header lines of one part.
pub const HEADERS: usize = 8;
/// Bytes of the header lines of one part.
pub const HEADER_BYTES: usize = 4 << 10;

/// Why a body is `malformed-body`. The text is for the operator and holds nothing of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Malformed {}

/// What comes next in a body.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'b> {
    /// A part begins.
    Begin(PartHead),
    /// Bytes of it.
    Data(&'b [u8]),
    /// It has ended.
    End,
}

/// Reads one body. Memory is that of the piece which was pushed last, and one head.
pub struct Parser {
    /// `CR LF -- boundary`.
    delimiter: Finder<'static>,
    buffer: Vec<u8>,
    /// Of `buffer`, what was read.
    at: usize,
    state: State,
    parts: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// At byte 0.
    Start,
    /// Behind a delimiter: a line end, or the end of all.
    Delimiter,
    Head,
    Data,
    /// The final delimiter was read.
    Epilogue,
}

impl Parser {
    /// For the `boundary` parameter of the media type.
    ///
    /// # Errors
    /// Absent, or outside RFC 2046 § 5.1.1.
    pub fn new(boundary: Option<&str>) -> Result<Self, Malformed> {
        let boundary = boundary.ok_or(Malformed("boundary-missing"))?;
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&b);
        if boundary.is_empty()
            || boundary.len() > 70
            || boundary.ends_with(' ')
            || !boundary.bytes().all(allowed)
        {
            return Err(Malformed("boundary-outside-rfc-2046"));
        }
        let delimiter = Finder::new(format!("\r\n--{boundary}").as_bytes()).into_owned();
        Ok(Self { delimiter, buffer: Vec::new(), at: 0, state: State::Start, parts: 0 })
    }

    /// More of the body.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.at);
        self.at = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next event; `None`: more bytes are needed.
    ///
    /// # Errors
    /// See [`Malformed`]; after one, the parser is of no use.
    #[expect(clippy::should_implement_trait, reason = "it lends what it holds")]
    pub fn next(&mut self) -> Result<Option<Event<'_>>, Malformed> {
        loop {
            let rest = self.buffer.get(self.at..).unwrap_or_default();
            match self.state {
                State::Start => {
                    let first = self.delimiter.needle().get(2..).unwrap_or_default();
                    if rest.len() < first.len() {
                        let begins = first.starts_with(rest);
                        return if begins { Ok(None) } else { Err(Malformed("no-boundary-at-byte-0")) };
                    }
                    if !rest.starts_with(first) {
                        return Err(Malformed("no-boundary-at-byte-0"));
                    }
                    self.at += first.len();
                    self.state = State::Delimiter;
                }
                State::Delimiter => match rest {
                    [b'\r', b'\n', ..] => {
                        self.parts += 1;
                        if self.parts > PARTS {
                            return Err(Malformed("too-many-parts"));
                        }
                        self.at += 2;
                        self.state = State::Head;
                    }
                    [b'-', b'-', ..] => {
                        self.at += 2;
                        self.state = State::Epilogue;
                    }
                    [] | [b'\r' | b'-'] => return Ok(None),
                    _ => return Err(Malformed("delimiter-line-goes-on")),
                },
                State::Head => {
                    let Some((head, length)) = PartHead::read(rest)? else { return Ok(None) };
                    self.at += length;
                    self.state = State::Data;
                    return Ok(Some(Event::Begin(head)));
                }
                State::Data => return self.data(),
                State::Epilogue => {
                    // An optional final line end, and nothing else.
                    return match rest {
                        [] | [b'\r'] | [b'\r', b'\n'] => Ok(None),
                        _ => Err(Malformed("bytes-after-the-final-boundary")),
                    };
                }
            }
        }
    }

    fn data(&mut self) -> Result<Option<Event<'_>>, Malformed> {
        let rest = self.buffer.get(self.at..).unwrap_or_default();
        let needle = self.delimiter.needle();
        let Some(found) = self.delimiter.find(rest) else {
            // What may be the beginning of a delimiter is kept back.
            let sure = rest.len() - tail(rest, needle);
            return Ok(self.give(sure));
        };
        let behind = rest.get(found + needle.len()..).unwrap_or_default();
        match behind {
            [b'\r', b'\n', ..] | [b'-', b'-', ..] => {
                if found > 0 {
                    return Ok(self.give(found));
                }
                self.at += needle.len();
                self.state = State::Delimiter;
                Ok(Some(Event::End))
            }
            [] | [b'\r' | b'-'] => Ok(self.give(found)),
            [b'\n', ..] => Err(Malformed("line-feed-in-framing")),
            // A longer line that begins like the delimiter is data.
            _ => Ok(self.give(found + needle.len())),
        }
    }

    /// `count` bytes of the part; none is a need for more.
    fn give(&mut self, count: usize) -> Option<Event<'_>> {
        let start = self.at;
        self.at += count;
        let bytes = self.buffer.get(start..self.at).filter(|bytes| !bytes.is_empty())?;
        Some(Event::Data(bytes))
    }

    /// The body has ended.
    ///
    /// # Errors
    /// Where its final delimiter has not come.
    pub fn finish(self) -> Result<(), Malformed> {
        match (self.state, self.buffer.get(self.at..)) {
            (State::Epilogue, Some([] | [b'\r', b'\n'])) => Ok(()),
            _ => Err(Malformed("final-boundary-missing")),
        }
    }
}

/// Length of the longest end of `text` that `needle` begins with.
fn tail(text: &[u8], needle: &[u8]) -> usize {
    let most = text.len().min(needle.len().saturating_sub(1));
    let end = text.get(text.len() - most..).unwrap_or_default();
    // Each begins with CR, and there are few.
    let mut from = 0;
    while let Some(at) = end.get(from..).and_then(|rest| memchr::memchr(b'\r', rest)) {
        let start = from + at;
        if end.get(start..).is_some_and(|rest| needle.starts_with(rest)) {
            return end.len() - start;
        }
        from = start + 1;
    }
    0
}

/// Where the header lines end: behind the empty line. `None`: not within `text`.
pub(super) fn head_end(text: &[u8]) -> Option<usize> {
    if text.starts_with(b"\r\n") {
        return Some(2);
    }
    find(text, b"\r\n\r\n").map(|at| at + 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Read = Result<Vec<(String, Vec<u8>)>, Malformed>;

    /// All parts: name and bytes, with the body pushed in pieces of `step`.
    fn read(boundary: &str, body: &[u8], step: usize) -> Read {
        let mut parser = Parser::new(Some(boundary))?;
        let mut parts: Vec<(String, Vec<u8>)> = Vec::new();
        let mut open = false;
        for piece in body.chunks(step.max(1)) {
            parser.push(piece);
            while let Some(event) = parser.next()? {
                match event {
                    Event::Begin(head) => {
                        assert!(!std::mem::replace(&mut open, true));
                        parts.push((head.name.into(), Vec::new()));
                    }
                    Event::Data(bytes) => {
                        assert!(open && !bytes.is_empty());
                        parts.last_mut().unwrap().1.extend_from_slice(bytes);
                    }
                    Event::End => assert!(std::mem::take(&mut open)),
                }
            }
        }
        parser.finish().map(|()| parts)
    }

    fn part(name: &str, body: &str) -> String {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{body}\r\n")
    }

    fn error(body: &str) -> &'static str {
        let read_at_once = read("b", body.as_bytes(), body.len());
        for step in [1, 2, 3, 7] {
            assert_eq!(read("b", body.as_bytes(), step), read_at_once, "in pieces of {step}");
        }
        read_at_once.unwrap_err().0
    }

    #[test]
    fn boundaries_are_those_of_rfc_2046() {
        let new = |b: &str| Parser::new(Some(b)).map(|_| ()).map_err(|m| m.0);
        assert_eq!(Parser::new(None).err(), Some(Malformed("boundary-missing")));
        for good in ["b", "a b", "'()+_,-./:=?", &"x".repeat(70)] {
            assert_eq!(new(good), Ok(()), "{good}");
        }
        for bad in ["", "a ", &"x".repeat(71), "a\"b", "ü", "a;b", "a\r\nb", "a*b", "a\0"] {
            assert_eq!(new(bad), Err("boundary-outside-rfc-2046"), "{bad}");
        }
    }

    #[test]
    fn parts_of_any_bytes() {
        let body = format!("{}{}{}--b--", part("a", ""), part("b", "x\r\n\r\ny\n\r--b"), part("a", "\r\n--"));
        let expected = [("a", ""), ("b", "x\r\n\r\ny\n\r--b"), ("a", "\r\n--")];
        let expected: Vec<_> = expected.iter().map(|(n, v)| (n.to_string(), v.as_bytes().to_vec())).collect();
        for tail in ["", "\r\n"] {
            let body = format!("{body}{tail}");
            for step in 1..body.len() {
                assert_eq!(read("b", body.as_bytes(), step).unwrap(), expected);
            }
        }
        assert_eq!(read("b", b"--b--\r\n", 3).unwrap(), []);
    }

    #[test]
    fn framing_is_strict() {
        let one = part("a", "x");
        let after_delimiter = one.strip_prefix("--b\r\n").unwrap();
        for (body, reason) in [
            (String::new(), "final-boundary-missing"),
            (format!("\r\n{one}--b--"), "no-boundary-at-byte-0"),
            (format!("preamble\r\n{one}--b--"), "no-boundary-at-byte-0"),
            (format!("-{one}--b--"), "no-boundary-at-byte-0"),
            (one.clone(), "final-boundary-missing"),
            (format!("{one}--b"), "final-boundary-missing"),
            (format!("{one}--b-"), "final-boundary-missing"),
            (format!("{one}--b--\r"), "final-boundary-missing"),
            (format!("{one}--b--\n"), "bytes-after-the-final-boundary"),
            (format!("{one}--b--\r\n\r\n"), "bytes-after-the-final-boundary"),
            (format!("{one}--b--\r\nepilogue"), "bytes-after-the-final-boundary"),
            (format!("{one}--b--{one}"), "bytes-after-the-final-boundary"),
            (format!("--b--{one}"), "bytes-after-the-final-boundary"),
            (format!("--b \r\n{}", after_delimiter), "delimiter-line-goes-on"),
            (format!("--bx\r\n{}--b--", after_delimiter), "delimiter-line-goes-on"),
            (one.replace("\r\n", "\n") + "--b--", "delimiter-line-goes-on"),
            (format!("{}--b\n{}--b--", one, after_delimiter), "line-feed-in-framing"),
            (format!("{}--b--", one.repeat(21)), "too-many-parts"),
        ] {
            assert_eq!(error(&body), reason, "{body:?}");
        }
        assert_eq!(read("b", format!("{}--b--", one.repeat(20)).as_bytes(), 9).unwrap().len(), 20);
    }

    #[test]
    fn ten_thousand_parts_end_at_the_twenty_first() {
        let body = part("a", "").repeat(10_000);
        assert_eq!(read("b", body.as_bytes(), 4096), Err(Malformed("too-many-parts")));
    }

    proptest! {
        #[test]
        fn chunking_changes_nothing(
            bodies in proptest::collection::vec(proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'-'), Just(b'b'), any::<u8>()], 0..60), 0..6),
            cut in 0usize..400,
            step in 1usize..40,
        ) {
            let mut body = Vec::new();
            for part in &bodies {
                body.extend_from_slice(b"--b\r\nContent-Disposition: form-data; name=\"n\"\r\n\r\n");
                body.extend_from_slice(part);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"--b--");
            prop_assert_eq!(read("b", &body, step), read("b", &body, body.len()));
            body.truncate(cut);
            prop_assert_eq!(read("b", &body, step), read("b", &body, body.len()));
        }
    }
}
