//! The grammar of heads: one reader for requests and for responses, line by line, each byte once.
//!
//! RFC 9112 §§ 2–6, with everything that it leaves to the recipient refused.

use super::{Limits, Rule};

/// Which kind of head is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A request line, and `Host`.
    Request,
    /// A status line; bytes ≥ 0x80 pass in values.
    Response,
}

/// How far a head has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The head is not complete.
    More,
    /// The head is complete: its length in bytes and what follows it.
    Done(usize, After),
    /// The head is refused.
    Bad(Rule),
}

/// What follows a request's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// No body.
    Nothing,
    /// A body of so many bytes.
    Length(u64),
    /// A chunked body.
    Chunked,
    /// Nothing, until the answer to `Upgrade: websocket` is known.
    Upgrade,
}

/// A field's place in the head: name and value, in bytes from the head's first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) name: (usize, usize),
    pub(crate) value: (usize, usize),
}

/// A response's start line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    /// 100–599.
    pub(crate) code: u16,
    /// HTTP/1.0.
    pub(crate) old: bool,
}

/// The state of one head between two reads.
#[derive(Clone, Debug)]
pub(crate) struct HeadScan {
    mode: Mode,
    /// First byte of the line that is not complete.
    line: usize,
    /// Bytes in which no LF was found.
    seen: usize,
    started: bool,
    empty_line: bool,
    /// First byte after the start line.
    fields_from: usize,
    fields: usize,
    host: bool,
    length: Option<u64>,
    chunked: bool,
    upgrade: Option<bool>,
    /// `Connection: close` or `keep-alive` was there.
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    pub(crate) status: Status,
}

impl HeadScan {
    pub(crate) const fn new(mode: Mode) -> Self {
        Self {
            mode,
            line: 0,
            seen: 0,
            started: false,
            empty_line: false,
            fields_from: 0,
            fields: 0,
            host: false,
            length: None,
            chunked: false,
            upgrade: None,
            close: false,
            keep_alive: false,
            status: Status { code: 0, old: false },
        }
    }

    /// The declared length of a body.
    pub(crate) const fn length(&self) -> Option<u64> {
        self.length
    }

    /// A chunked body was declared.
    pub(crate) const fn chunked(&self) -> bool {
        self.chunked
    }

    /// Reads on. `data` holds everything from the head's first byte; lines that were read are not read again.
    pub(crate) fn feed(&mut self, data: &[u8], limits: &Limits, sink: &mut impl FnMut(Place)) -> Progress {
        loop {
            let Some(rest) = data.get(self.seen..) else { return Progress::More };
            let Some(at) = memchr::memchr(b'\n', rest) else {
                self.seen = data.len();
                return match self.overlong(data, limits) {
                    Some(rule) => Progress::Bad(rule),
                    None => Progress::More,
                };
            };
            let end = self.seen + at;
            let start = self.line;
            self.seen = end + 1;
            self.line = end + 1;
            let Some(line) = data.get(start..end).and_then(|line| line.strip_suffix(b"\r")) else {
                return Progress::Bad(Rule::LineEnd);
            };
            let step = if !self.started {
                if line.is_empty() && self.mode == Mode::Request {
                    if self.empty_line {
                        return Progress::Bad(Rule::EmptyLine);
                    }
                    self.empty_line = true;
                    continue;
                }
                self.started = true;
                self.fields_from = end + 1;
                match self.mode {
                    Mode::Request => request_line(line, limits).map(|old| self.status.old = old),
                    Mode::Response => status_line(line).map(|status| self.status = status),
                }
            } else if line.is_empty() {
                return match self.finish() {
                    Ok(after) => Progress::Done(end + 1, after),
                    Err(rule) => Progress::Bad(rule),
                };
            } else {
                self.field(line, start, limits, sink)
            };
            if let Err(rule) = step {
                return Progress::Bad(rule);
            }
        }
    }

    /// A line that has not ended may already be too long.
    fn overlong(&self, data: &[u8], limits: &Limits) -> Option<Rule> {
        let partial = data.len().saturating_sub(self.line);
        if !self.started {
            // Method, version and separators need less than 40 bytes.
            (partial > limits.target + 40).then_some(Rule::TargetSize)
        } else if partial > limits.header_value + limits.header_name + 16
            || data.len().saturating_sub(self.fields_from) > limits.header_bytes
        {
            Some(Rule::HeaderSize)
        } else {
            None
        }
    }

    fn field(
        &mut self,
        line: &[u8],
        start: usize,
        limits: &Limits,
        sink: &mut impl FnMut(Place),
    ) -> Result<(), Rule> {
        self.fields += 1;
        if self.fields > limits.headers || self.line - self.fields_from > limits.header_bytes {
            return Err(Rule::HeaderSize);
        }
        let colon = memchr::memchr(b':', line).ok_or(Rule::Field)?;
        let (name, raw) = line.split_at_checked(colon).ok_or(Rule::Field)?;
        if name.is_empty() || name.len() > limits.header_name || !name.iter().all(|&b| is_token(b)) {
            return Err(Rule::FieldName);
        }
        let raw = raw.get(1..).unwrap_or_default();
        let value = raw.trim_ascii_start_ows();
        let from = start + colon + 1 + (raw.len() - value.len());
        let value = value.trim_ascii_end_ows();
        if value.len() > limits.header_value {
            return Err(Rule::HeaderSize);
        }
        let clean = match self.mode {
            Mode::Request => is_visible(value),
            Mode::Response => is_text(value),
        };
        if !clean {
            return Err(Rule::FieldValue);
        }
        self.known(name, value)?;
        sink(Place { name: (start, start + colon), value: (from, from + value.len()) });
        Ok(())
    }

    /// The fields that decide where a message ends.
    fn known(&mut self, name: &[u8], value: &[u8]) -> Result<(), Rule> {
        match name.len() {
            4 if self.mode == Mode::Request && name.eq_ignore_ascii_case(b"host") => {
                if self.host || !is_authority(value) {
                    return Err(Rule::Host);
                }
                self.host = true;
            }
            7 if self.mode == Mode::Request && name.eq_ignore_ascii_case(b"upgrade") => {
                let websocket = value.eq_ignore_ascii_case(b"websocket");
                self.upgrade = Some(websocket || self.upgrade == Some(true));
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                for option in value.split(|&b| b == b',') {
                    let option = option.trim_ascii();
                    self.close |= option.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if self.length.is_some() {
                    return Err(Rule::Length);
                }
                self.length = Some(length(value).ok_or(Rule::Length)?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Rule::Coding);
                }
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(&self) -> Result<After, Rule> {
        if self.chunked && self.length.is_some() {
            return Err(Rule::BothLengths);
        }
        if self.mode == Mode::Response {
            return if self.chunked && self.status.old { Err(Rule::Coding) } else { Ok(After::Nothing) };
        }
        if !self.host {
            return Err(Rule::Host);
        }
        if self.status.old && (self.chunked || self.upgrade.is_some()) {
            // RFC 9112 § 6.1, RFC 9110 § 7.8: neither exists in HTTP/1.0, and whoever sends them has two readings.
            return Err(if self.chunked { Rule::Coding } else { Rule::Version });
        }
        let body = self.chunked || self.length.is_some_and(|length| length > 0);
        match self.upgrade {
            Some(_) if body => Err(Rule::UpgradeBody),
            Some(true) => Ok(After::Upgrade),
            _ if self.chunked => Ok(After::Chunked),
            _ => Ok(self.length.filter(|&length| length > 0).map_or(After::Nothing, After::Length)),
        }
    }
}

/// `METHOD SP target SP HTTP/1.1`, nothing more. Whether it is HTTP/1.0, where that is let in.
fn request_line(line: &[u8], limits: &Limits) -> Result<bool, Rule> {
    if line.starts_with(b"PRI * HTTP/2.0") {
        return Err(Rule::Preface);
    }
    let mut parts = line.split(|&b| b == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Rule::RequestLine);
    };
    if method.is_empty() || method.len() > 16 || !method.iter().all(u8::is_ascii_uppercase) {
        return Err(Rule::RequestLine);
    }
    if target.is_empty() {
        return Err(Rule::RequestLine);
    }
    if method == b"CONNECT" && version == b"HTTP/1.1" {
        return Err(Rule::Connect);
    }
    if target.len() > limits.target {
        return Err(Rule::TargetSize);
    }
    if !target.iter().all(|&b| is_target(b)) || !(target.starts_with(b"/") || is_absolute(target)) {
        return Err(Rule::Target);
    }
    if limits.http_1_0 && version == b"HTTP/1.0" {
        return Ok(true);
    }
    if version != b"HTTP/1.1" {
        return Err(match version {
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Rule::Version,
            _ => Rule::RequestLine,
        });
    }
    Ok(false)
}

/// `HTTP/1.x SP 3DIGIT [SP reason]`.
fn status_line(line: &[u8]) -> Result<Status, Rule> {
    let (old, rest) = match line {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ (b'0' | b'1'), b' ', rest @ ..] => {
            (*minor == b'0', rest)
        }
        _ => return Err(Rule::RequestLine),
    };
    let (&[a @ b'1'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9'], reason) =
        rest.split_first_chunk::<3>().ok_or(Rule::RequestLine)?
    else {
        return Err(Rule::RequestLine);
    };
    if !(reason.is_empty() || (reason.starts_with(b" ") && is_text(reason))) {
        return Err(Rule::RequestLine);
    }
    let digit = |b: u8| u16::from(b - b'0');
    Ok(Status { code: digit(a) * 100 + digit(b) * 10 + digit(c), old })
}

fn length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0u64, |n, b| n * 10 + u64::from(b - b'0')))
}

/// RFC 9110 § 5.6.2. What `canonical` refuses beyond this (an underscore) it refuses with the header's name.
pub(super) const fn is_token(b: u8) -> bool {
    matches!(b, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'!' | b'#' | b'$' | b'%' | b'&'
        | b'\'' | b'*' | b'+' | b'^' | b'`' | b'|' | b'~')
}

const fn is_target(b: u8) -> bool {
    matches!(b, 0x21..=0x7e) && !matches!(b, b'"' | b'#' | b'<' | b'>' | b'\\' | b'^' | b'{' | b'}' | b'`')
}

/// Absolute-form, and the asterisk: `canonical` judges them. Anything else (`$/a` is an authority and a path to
/// `http::Uri`) has no reading here. CONNECT, whose target is an authority, has been refused before.
fn is_absolute(target: &[u8]) -> bool {
    let http =
        |prefix: &[u8]| target.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    target == b"*" || ((http(b"http://") || http(b"https://")) && http::Uri::try_from(target).is_ok())
}

/// HTAB and 0x20–0x7E. Without an early exit, so that the compiler makes vectors of it.
pub(super) fn is_visible(value: &[u8]) -> bool {
    value.iter().fold(true, |ok, &b| ok & ((b == b'\t') | (0x20..=0x7e).contains(&b)))
}

/// HTAB, and everything from 0x20 but DEL.
fn is_text(value: &[u8]) -> bool {
    value.iter().fold(true, |ok, &b| ok & ((b == b'\t') | ((b >= 0x20) & (b != 0x7f))))
}

/// Only the alphabet; the form is `canonical`'s.
fn is_authority(value: &[u8]) -> bool {
    !value.is_empty()
        && value.len() <= 300
        && value
            .iter()
            .all(|b| matches!(b, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b':' | b'[' | b']'))
}

/// Optional white space is SP and HTAB (RFC 9110 § 5.6.3), and not what else Rust takes for space.
trait Ows {
    fn trim_ascii_start_ows(&self) -> &Self;
    fn trim_ascii_end_ows(&self) -> &Self;
}

impl Ows for [u8] {
    fn trim_ascii_start_ows(&self) -> &Self {
        let mut rest = self;
        while let [b' ' | b'\t', tail @ ..] = rest {
            rest = tail;
        }
        rest
    }

    fn trim_ascii_end_ows(&self) -> &Self {
        let mut rest = self;
        while let [head @ .., b' ' | b'\t'] = rest {
            rest = head;
        }
        rest
    }
}
