//! The one pass.

use super::hash::sip13;
use super::tape::{ESCAPED, Entry, INTEGER_FORM, KEY, Kind, NONE, TRUE, Tape};

/// What a JSON text may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Objects and arrays inside one another.
    pub depth: u32,
    /// Members of one object.
    pub keys: u32,
    /// Values in all.
    pub values: u32,
    /// Items of one array.
    pub elements: u32,
    /// Bytes of one name, unescaped.
    pub key_length: u32,
    /// Bytes of one string, unescaped.
    pub string_length: u32,
}

impl Bounds {
    /// What configuration may raise the bounds to. Strings are then bounded by the body alone.
    pub const HARD_MAXIMUM: Self = Self {
        depth: 128,
        keys: 10_000,
        values: 1_000_000,
        elements: 100_000,
        key_length: 1024,
        string_length: u32::MAX,
    };

    /// Each bound, or its hard maximum where it is above that.
    #[must_use]
    pub fn capped(self) -> Self {
        let hard = Self::HARD_MAXIMUM;
        Self {
            depth: self.depth.min(hard.depth),
            keys: self.keys.min(hard.keys),
            values: self.values.min(hard.values),
            elements: self.elements.min(hard.elements),
            key_length: self.key_length.min(hard.key_length),
            string_length: self.string_length,
        }
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            depth: 32,
            keys: 1_000,
            values: 50_000,
            elements: 10_000,
            key_length: 256,
            string_length: 256 * 1024,
        }
    }
}

/// Characters of a number literal.
const NUMBER_LENGTH: usize = 64;
/// Magnitude of a number's exponent.
const EXPONENT: u32 = 400;
/// Up to this many members are compared with one another; beyond, through a keyed hash.
const COMPARED: u32 = 16;

/// Which problem the client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JsonProblem {
    /// `malformed-json`.
    Malformed,
    /// `duplicate-key`.
    DuplicateKey,
    /// `json-too-complex`.
    TooComplex,
}

impl JsonProblem {
    /// The problem's code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed-json",
            Self::DuplicateKey => "duplicate-key",
            Self::TooComplex => "json-too-complex",
        }
    }
}

/// Why a text is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// The public part.
    pub problem: JsonProblem,
    /// Byte at which it was noticed. Private.
    pub at: u32,
    /// What was noticed. Private; holds nothing of the text.
    pub reason: &'static str,
}

/// Reads one JSON text. Time and memory are linear in the bytes read, and reading stops at the first bound that is
/// passed; there is no recursion. `hash_key` is secret and random: it keeps a client from choosing names that collide.
pub fn scan(bytes: impl Into<Vec<u8>>, bounds: &Bounds, hash_key: [u64; 2]) -> Result<Tape, JsonError> {
    let malformed = |at: usize, reason| JsonError { problem: JsonProblem::Malformed, at: at as u32, reason };
    let bytes = bytes.into();
    if bytes.len() >= (u32::MAX / 2) as usize {
        return Err(JsonError { problem: JsonProblem::TooComplex, at: 0, reason: "text too long" });
    }
    let text = String::from_utf8(bytes).map_err(|e| malformed(e.utf8_error().valid_up_to(), "not UTF-8"))?;
    let mut scanner = Scanner {
        bytes: text.as_bytes(),
        text: &text,
        at: 0,
        entries: Vec::with_capacity((text.len() / 8).clamp(4, 65_536)),
        unescaped: String::new(),
        bounds: bounds.capped(),
        values: 0,
        hash_key,
        table: Vec::new(),
        spaces: false,
    };
    scanner.document()?;
    let Scanner { entries, unescaped, spaces, .. } = scanner;
    let minimal = !spaces && unescaped.is_empty();
    Ok(Tape { text, unescaped, entries, minimal })
}

/// Whether `literal` is a JSON number within the bounds of § 6.
pub(super) fn is_number(literal: &str) -> bool {
    number(literal.as_bytes(), 0).is_ok_and(|found| found.end == literal.len())
}

struct Scanner<'a> {
    bytes: &'a [u8],
    text: &'a str,
    at: usize,
    entries: Vec<Entry>,
    unescaped: String,
    bounds: Bounds,
    values: u32,
    hash_key: [u64; 2],
    /// For names of large objects: indices of key entries by hash, `NONE` where free.
    table: Vec<u32>,
    spaces: bool,
}

type Scanned<T> = Result<T, JsonError>;

impl Scanner<'_> {
    fn document(&mut self) -> Scanned<()> {
        let mut parent = NONE;
        let mut depth = 0;
        self.space();
        'value: loop {
            self.values += 1;
            if self.values > self.bounds.values {
                return Err(self.complex("too many values"));
            }
            match self.peek() {
                open @ (b'{' | b'[') => {
                    depth += 1;
                    if depth > self.bounds.depth {
                        return Err(self.complex("nested too deep"));
                    }
                    let kind = if open == b'{' { Kind::Object } else { Kind::Array };
                    let here = self.entries.len() as u32;
                    self.push(kind, self.at, 0, parent, 0);
                    parent = here;
                    self.at += 1;
                    self.space();
                    match (self.peek(), kind) {
                        (b'}', Kind::Object) | (b']', Kind::Array) => {}
                        (_, Kind::Object) => {
                            self.key(parent)?;
                            continue 'value;
                        }
                        _ => {
                            self.count(parent, self.bounds.elements, "array too long")?;
                            continue 'value;
                        }
                    }
                }
                b'"' => self.string(parent, 0, self.bounds.string_length)?,
                b't' => self.literal(b"true", Kind::Bool, TRUE, parent)?,
                b'f' => self.literal(b"false", Kind::Bool, 0, parent)?,
                b'n' => self.literal(b"null", Kind::Null, 0, parent)?,
                _ => self.number(parent)?,
            }
            // After a value, or inside a container that turned out empty.
            loop {
                self.space();
                let kind = match self.entries.get(parent as usize) {
                    Some(container) => container.kind,
                    None if self.at == self.bytes.len() => return Ok(()),
                    None => return Err(self.malformed("something after the value")),
                };
                match (self.peek(), kind) {
                    (b',', Kind::Object) => {
                        self.at += 1;
                        self.space();
                        self.key(parent)?;
                        continue 'value;
                    }
                    (b',', _) => {
                        self.at += 1;
                        self.space();
                        self.count(parent, self.bounds.elements, "array too long")?;
                        continue 'value;
                    }
                    (b'}', Kind::Object) | (b']', Kind::Array) => {
                        self.at += 1;
                        depth -= 1;
                        parent = self.close(parent)?;
                    }
                    _ => return Err(self.malformed("neither a comma nor the end of the container")),
                }
            }
        }
    }

    fn close(&mut self, container: u32) -> Scanned<u32> {
        let (next, end) = (self.entries.len() as u32, self.at as u32);
        let Some(entry) = self.entries.get_mut(container as usize) else { return Ok(NONE) };
        entry.a = next;
        entry.end = end;
        let (kind, members, parent) = (entry.kind, entry.b, entry.parent);
        if kind == Kind::Object && members > 1 && !self.distinct(container, members) {
            return Err(JsonError {
                problem: JsonProblem::DuplicateKey,
                at: end,
                reason: "a name twice in one object",
            });
        }
        Ok(parent)
    }

    fn key(&mut self, object: u32) -> Scanned<()> {
        self.count(object, self.bounds.keys, "object with too many members")?;
        if self.peek() != b'"' {
            return Err(self.malformed("a name was expected"));
        }
        self.string(object, KEY, self.bounds.key_length)?;
        self.space();
        if self.peek() != b':' {
            return Err(self.malformed("a colon was expected"));
        }
        self.at += 1;
        self.space();
        Ok(())
    }

    fn count(&mut self, container: u32, bound: u32, reason: &'static str) -> Scanned<()> {
        if let Some(entry) = self.entries.get_mut(container as usize) {
            entry.b += 1;
            if entry.b > bound {
                return Err(self.complex(reason));
            }
        }
        Ok(())
    }

    fn literal(&mut self, word: &[u8], kind: Kind, flags: u8, parent: u32) -> Scanned<()> {
        let end = self.at + word.len();
        if self.bytes.get(self.at..end) != Some(word) {
            return Err(self.malformed("not a value"));
        }
        self.push(kind, self.at, end, parent, flags);
        self.at = end;
        Ok(())
    }

    fn number(&mut self, parent: u32) -> Scanned<()> {
        let start = self.at;
        let found = number(self.bytes, start).map_err(|(problem, reason)| JsonError {
            problem,
            at: start as u32,
            reason,
        })?;
        self.push(Kind::Number, start, found.end, parent, if found.integer { INTEGER_FORM } else { 0 });
        if let (Some(value), Some(entry)) = (found.small, self.entries.last_mut()) {
            entry.set_small(value);
        }
        self.at = found.end;
        Ok(())
    }

    /// At the opening quote.
    fn string(&mut self, parent: u32, flags: u8, bound: u32) -> Scanned<()> {
        let start = self.at + 1;
        let stop = plain(self.bytes, start);
        if self.bytes.get(stop) == Some(&b'"') {
            if stop - start > bound as usize {
                return Err(self.complex("string too long"));
            }
            self.push(Kind::String, start, stop, parent, flags);
            self.at = stop + 1;
            return Ok(());
        }
        let from = self.unescaped.len();
        let end = self.escaped(start, stop)?;
        let to = self.unescaped.len();
        if to - from > bound as usize {
            return Err(self.complex("string too long"));
        }
        self.push(Kind::String, start, end, parent, flags | ESCAPED);
        if let Some(entry) = self.entries.last_mut() {
            entry.a = from as u32;
            entry.b = to as u32;
        }
        self.at = end + 1;
        Ok(())
    }

    /// Unescapes from `start`, plain up to `stop`; the closing quote's place.
    #[cold]
    fn escaped(&mut self, start: usize, stop: usize) -> Scanned<usize> {
        let (mut from, mut stop) = (start, stop);
        loop {
            self.unescaped.push_str(self.text.get(from..stop).unwrap_or_default());
            self.at = stop;
            match self.peek() {
                b'"' if stop < self.bytes.len() => return Ok(stop),
                b'\\' => {}
                _ if stop >= self.bytes.len() => return Err(self.malformed("string without an end")),
                _ => return Err(self.malformed("bare control character")),
            }
            let (c, length) = match self.bytes.get(stop + 1) {
                Some(b'"') => ('"', 2),
                Some(b'\\') => ('\\', 2),
                Some(b'/') => ('/', 2),
                Some(b'b') => ('\u{8}', 2),
                Some(b'f') => ('\u{c}', 2),
                Some(b'n') => ('\n', 2),
                Some(b'r') => ('\r', 2),
                Some(b't') => ('\t', 2),
                Some(b'u') => self.unicode(stop + 2)?,
                _ => return Err(self.malformed("no such escape")),
            };
            self.unescaped.push(c);
            from = stop + length;
            stop = plain(self.bytes, from);
        }
    }

    /// At the digits of `\u`. The character, and the length of the whole escape.
    fn unicode(&self, at: usize) -> Scanned<(char, usize)> {
        let wrong = |reason| self.malformed(reason);
        let first = self.hex(at).ok_or_else(|| wrong("four hex digits were expected"))?;
        match first {
            0 => Err(wrong("U+0000")),
            0xd800..0xdc00 => {
                let second = match self.bytes.get(at + 4..at + 6) {
                    Some(b"\\u") => self.hex(at + 6).filter(|low| (0xdc00..0xe000).contains(low)),
                    _ => None,
                };
                let second = second.ok_or_else(|| wrong("lone surrogate"))?;
                let c = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                Ok((char::from_u32(c).ok_or_else(|| wrong("lone surrogate"))?, 12))
            }
            _ => Ok((char::from_u32(first).ok_or_else(|| wrong("lone surrogate"))?, 6)),
        }
    }

    fn hex(&self, at: usize) -> Option<u32> {
        self.bytes
            .get(at..at + 4)?
            .iter()
            .try_fold(0, |sum, byte| Some(sum << 4 | char::from(*byte).to_digit(16)?))
    }

    /// Whether the names of an object differ from one another.
    fn distinct(&mut self, object: u32, members: u32) -> bool {
        if members > COMPARED {
            return self.distinct_by_hash(object, members);
        }
        // A name whose bit is new equals none before it; only then is there something to compare.
        let mut seen = [(0u32, ""); COMPARED as usize];
        let mut bits = 0u64;
        let mut at = object + 1;
        for i in 0..members as usize {
            let name = self.name(at);
            let bytes = name.as_bytes();
            let mixed = bytes.len()
                ^ usize::from(bytes.first().copied().unwrap_or(0)).wrapping_mul(7)
                ^ usize::from(bytes.last().copied().unwrap_or(0)).wrapping_mul(29)
                ^ usize::from(bytes.get(bytes.len() / 2).copied().unwrap_or(0)).wrapping_mul(13);
            let bit = 1u64 << (mixed & 63);
            if bits & bit != 0
                && seen
                    .get(..i)
                    .is_some_and(|seen| seen.iter().any(|(m, s)| *m == mixed as u32 && *s == name))
            {
                return false;
            }
            bits |= bit;
            if let Some(slot) = seen.get_mut(i) {
                *slot = (mixed as u32, name);
            }
            at = self.after_member(at);
        }
        true
    }

    fn distinct_by_hash(&mut self, object: u32, members: u32) -> bool {
        let size = (members as usize * 2).next_power_of_two();
        let mut table = std::mem::take(&mut self.table);
        table.clear();
        table.resize(size, NONE);
        let mut at = object + 1;
        let mut distinct = true;
        'names: for _ in 0..members {
            let name = self.name(at);
            let mut slot = sip13(self.hash_key, name.as_bytes()) as usize & (size - 1);
            while let Some(&taken) = table.get(slot)
                && taken != NONE
            {
                if self.name(taken) == name {
                    distinct = false;
                    break 'names;
                }
                slot = (slot + 1) & (size - 1);
            }
            if let Some(free) = table.get_mut(slot) {
                *free = at;
            }
            at = self.after_member(at);
        }
        self.table = table;
        distinct
    }

    fn name(&self, at: u32) -> &str {
        let Some(entry) = self.entries.get(at as usize) else { return "" };
        let found = if entry.has(ESCAPED) {
            self.unescaped.get(entry.a as usize..entry.b as usize)
        } else {
            self.text.get(entry.start as usize..entry.end as usize)
        };
        found.unwrap_or("")
    }

    fn after_member(&self, key: u32) -> u32 {
        self.entries.get(key as usize + 1).map_or(u32::MAX, |value| value.next(key + 1))
    }

    #[inline]
    fn push(&mut self, kind: Kind, start: usize, end: usize, parent: u32, flags: u8) {
        self.entries.push(Entry { start: start as u32, end: end as u32, parent, a: 0, b: 0, kind, flags });
    }

    /// The byte here; 0, which no token begins with, at the end.
    #[inline]
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    #[inline]
    fn space(&mut self) {
        while let b' ' | b'\n' | b'\r' | b'\t' = self.peek() {
            self.spaces = true;
            self.at += 1;
        }
    }

    #[cold]
    fn malformed(&self, reason: &'static str) -> JsonError {
        JsonError { problem: JsonProblem::Malformed, at: self.at as u32, reason }
    }

    #[cold]
    fn complex(&self, reason: &'static str) -> JsonError {
        JsonError { problem: JsonProblem::TooComplex, at: self.at as u32, reason }
    }
}

/// The first byte at or after `at` that is `"`, `\` or a control, eight at a time.
#[inline]
fn plain(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = ONES << 7;
    while let Some((chunk, _)) = bytes.get(at..).and_then(<[u8]>::split_first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk);
        let quote = word ^ (ONES * b'"' as u64);
        let backslash = word ^ (ONES * b'\\' as u64);
        // Exact for the lowest byte that hits; what is above it does not matter.
        let hits = (quote.wrapping_sub(ONES) & !quote)
            | (backslash.wrapping_sub(ONES) & !backslash)
            | (word.wrapping_sub(ONES * 0x20) & !word);
        let hits = hits & HIGH;
        if hits != 0 {
            return at + hits.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(|byte| *byte >= 0x20 && *byte != b'"' && *byte != b'\\') {
        at += 1;
    }
    at
}

struct FoundNumber {
    end: usize,
    /// `0` or `-?[1-9][0-9]*`.
    integer: bool,
    small: Option<i64>,
}

/// RFC 8259 § 6, within the bounds.
#[inline]
fn number(bytes: &[u8], start: usize) -> Result<FoundNumber, (JsonProblem, &'static str)> {
    let digit = |at: usize| bytes.get(at).map(|b| b.wrapping_sub(b'0')).filter(|d| *d < 10);
    let malformed = |reason| (JsonProblem::Malformed, reason);
    let negative = bytes.get(start) == Some(&b'-');
    let first = start + usize::from(negative);
    let mut at = first;
    let mut value = 0i64;
    while let Some(d) = digit(at) {
        value = value.wrapping_mul(10).wrapping_add(i64::from(d));
        at += 1;
    }
    let digits = at - first;
    if digits == 0 {
        return Err(malformed("not a value"));
    }
    if digits > 1 && bytes.get(first) == Some(&b'0') {
        return Err(malformed("leading zero"));
    }
    let mut integer = !(negative && bytes.get(first) == Some(&b'0'));
    let small = (integer && digits <= 18).then(|| if negative { -value } else { value });
    if bytes.get(at) == Some(&b'.') {
        integer = false;
        at += 1;
        let from = at;
        while digit(at).is_some() {
            at += 1;
        }
        if at == from {
            return Err(malformed("no digit after the point"));
        }
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        integer = false;
        at += 1;
        at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
        let from = at;
        let mut exponent = 0u32;
        while let Some(d) = digit(at) {
            exponent = exponent.saturating_mul(10).saturating_add(u32::from(d));
            at += 1;
        }
        if at == from {
            return Err(malformed("no digit in the exponent"));
        }
        if exponent > EXPONENT {
            return Err((JsonProblem::TooComplex, "exponent out of bounds"));
        }
    }
    if at - start > NUMBER_LENGTH {
        return Err((JsonProblem::TooComplex, "number too long"));
    }
    Ok(FoundNumber { end: at, integer, small: small.filter(|_| integer) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Node, write};
    use super::*;

    fn shape(node: Node<'_>) -> serde_json::Value {
        use serde_json::Value;
        match node.kind() {
            Kind::Null => Value::Null,
            Kind::Bool => Value::Bool(node.as_bool().unwrap()),
            Kind::Number => serde_json::from_str(node.number_text().unwrap()).unwrap(),
            Kind::String => Value::String(node.as_str().unwrap().into()),
            Kind::Array => Value::Array(node.items().map(shape).collect()),
            Kind::Object => Value::Object(node.members().map(|(k, v)| (k.to_owned(), shape(v))).collect()),
        }
    }

    const KEYS: [u64; 2] = [0x0123_4567, 0x89ab_cdef];

    fn problem(text: impl Into<Vec<u8>>) -> Option<JsonProblem> {
        scan(text, &Bounds::default(), KEYS).err().map(|error| error.problem)
    }

    #[test]
    fn attacks_on_the_scanner() {
        use JsonProblem::{DuplicateKey, Malformed, TooComplex};
        let million: String = (0..1_000_000).map(|i| format!("\"k{i}\":0,")).collect();
        for (name, text, expected) in [
            ("depth 33", "[".repeat(33) + &"]".repeat(33), TooComplex),
            ("duplicate", r#"{"role":"user","role":"admin"}"#.into(), DuplicateKey),
            ("duplicate by escape", r#"{"role":1,"\u0072ole":2}"#.into(), DuplicateKey),
            ("duplicate, nested", r#"[{"a":{"x":1,"y":{},"x":1}}]"#.into(), DuplicateKey),
            ("1e400 is the limit", "1e401".into(), TooComplex),
            ("exponent that wraps", "1e4294967297".into(), TooComplex),
            ("exponent that wraps 64 bits", "1e-18446744073709551617".into(), TooComplex),
            ("100,000 digits", "1".repeat(100_000), TooComplex),
            ("65 characters", "1".repeat(65), TooComplex),
            ("a million keys", format!("{{{million}\"z\":0}}"), TooComplex),
            ("10,001 items", format!("[{}0]", "0,".repeat(10_000)), TooComplex),
            ("50,001 values", format!("[{}0]", "[0,0,0,0,0,0,0,0,0],".repeat(5_000)), TooComplex),
            ("key of 257", format!("{{\"{}\":0}}", "k".repeat(257)), TooComplex),
            ("string too long", format!("\"{}\"", "s".repeat(256 * 1024 + 1)), TooComplex),
            ("byte order mark", "\u{feff}{}".into(), Malformed),
            ("comment", "[1/*x*/]".into(), Malformed),
            ("trailing comma", "[1,]".into(), Malformed),
            ("trailing comma in object", r#"{"a":1,}"#.into(), Malformed),
            ("single quotes", "{'a':1}".into(), Malformed),
            ("NaN", "[NaN]".into(), Malformed),
            ("Infinity", "[-Infinity]".into(), Malformed),
            ("leading zero", "[01]".into(), Malformed),
            ("plus", "[+1]".into(), Malformed),
            ("bare tab", "\"a\tb\"".into(), Malformed),
            ("raw NUL", "\"a\0b\"".into(), Malformed),
            ("NUL by escape", r#""\u0000""#.into(), Malformed),
            ("NUL in a key", r#"{"a\u0000":1}"#.into(), Malformed),
            ("lone high surrogate", r#""\ud800""#.into(), Malformed),
            ("lone low surrogate", r#""\udc00""#.into(), Malformed),
            ("high, high", r#""\ud800\ud800""#.into(), Malformed),
            ("high, letter", r#""\ud800A""#.into(), Malformed),
            ("two values", "{} {}".into(), Malformed),
            ("NUL after", "{}\0".into(), Malformed),
            ("nothing", "".into(), Malformed),
            ("space", " \n".into(), Malformed),
            ("mixed ends", "[}".into(), Malformed),
            ("no-break space", "\u{a0}1".into(), Malformed),
        ] {
            assert_eq!(problem(text), Some(expected), "{name}");
        }
        for raw in
            [&b"\"\xff\""[..], b"\"\xc0\x80\"", b"\"\xed\xa0\x80\"", b"\"\xf5\x80\x80\x80\"", b"\"\xe2\x82\""]
        {
            assert_eq!(problem(raw), Some(Malformed), "{raw:?}");
        }
    }

    #[test]
    fn what_may_pass_passes() {
        for text in
            ["1e400", "-1E-400", "0", "-0", "[[[]]]", r#""\ud83d\ude00""#, "\"\u{7f}\u{2028}\"", "\t1\r\n "]
        {
            assert_eq!(problem(text), None, "{text}");
        }
        assert_eq!(problem("[".repeat(32) + &"]".repeat(32)), None);
        let keys: String = (0..999).map(|i| format!("\"k{i}\":0,")).collect();
        assert_eq!(problem(format!("{{{keys}\"z\":0}}")), None);
        assert_eq!(problem(format!("{{{keys}\"k500\":0}}")), Some(JsonProblem::DuplicateKey));
        assert_eq!(problem(format!("{{{keys}\"\\u006b7\":0}}")), Some(JsonProblem::DuplicateKey));
    }

    #[test]
    fn a_hundred_thousand_brackets_fail_at_once() {
        for (bracket, length) in [("[", 1), ("{\"a\":", 5)] {
            let error = scan(bracket.repeat(100_000), &Bounds::default(), [0, 1]).unwrap_err();
            assert_eq!(error.problem, JsonProblem::TooComplex);
            // Not a byte is read past the 33rd.
            assert!(error.at <= 33 * length, "{}", error.at);
        }
    }

    #[test]
    fn every_member_count_around_the_two_ways_of_comparing() {
        for n in 2..40usize {
            for twice in [None, Some(0), Some((n - 1) / 2), Some(n - 2)] {
                let mut names: Vec<String> = (0..n).map(|i| format!("\"name{i}\":{i}")).collect();
                if let Some(i) = twice {
                    names[n - 1] = format!("\"name{i}\":true");
                }
                let expected = twice.map(|_| JsonProblem::DuplicateKey);
                assert_eq!(problem(format!("{{{}}}", names.join(","))), expected, "{n} {twice:?}");
            }
        }
    }

    #[test]
    fn numbers_remember_their_form() {
        for (text, integer, small) in [
            ("0", true, Some(0)),
            ("-0", false, Some(0)),
            ("-7", true, Some(-7)),
            ("1.0", false, None),
            ("1e2", false, None),
            ("9223372036854775807", true, Some(i64::MAX)),
            ("-9223372036854775808", true, Some(i64::MIN)),
            ("9223372036854775808", true, None),
            ("999999999999999999", true, Some(999_999_999_999_999_999)),
        ] {
            let tape = scan(text, &Bounds::default(), KEYS).unwrap();
            assert_eq!(tape.root().is_integer_form(), integer, "{text}");
            assert_eq!(tape.root().as_i64(), small, "{text}");
        }
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            (-1e9f64..1e9).prop_map(Into::into),
            "[ -~\u{e9}\u{1f600}\t\n\"\\\\]{0,20}".prop_map(Into::into),
        ];
        leaf.prop_recursive(6, 96, 24, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..24).prop_map(Into::into),
                proptest::collection::btree_map("[a-c\u{e9}\"\\\\]{0,4}", inner, 0..24)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn reads_what_serde_json_wrote(value in json(), pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let tape = scan(text.unwrap(), &Bounds::default(), KEYS).unwrap();
            prop_assert_eq!(shape(tape.root()), value.clone());
            // Written again it is the same, and writing is a fixed point.
            let mut once = Vec::new();
            write(&tape, None, &mut once);
            prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&once).unwrap(), value);
            let mut twice = Vec::new();
            write(&scan(once.clone(), &Bounds::default(), KEYS).unwrap(), None, &mut twice);
            prop_assert_eq!(once, twice);
        }

        #[test]
        fn never_takes_what_serde_json_refuses(mut text in json().prop_map(|v| v.to_string().into_bytes()),
                                               at: proptest::sample::Index, byte: u8) {
            if !text.is_empty() {
                let at = at.index(text.len());
                text[at] = byte;
            }
            if scan(text.clone(), &Bounds::default(), KEYS).is_ok() {
                prop_assert!(serde_json::from_slice::<serde_json::Value>(&text).is_ok());
            }
        }

        #[test]
        fn finds_the_first_special_byte(bytes in proptest::collection::vec(any::<u8>(), 0..40), from in 0usize..8) {
            let slow = (from..bytes.len())
                .find(|i| bytes[*i] < 0x20 || bytes[*i] == b'"' || bytes[*i] == b'\\')
                .unwrap_or(bytes.len().max(from));
            prop_assert_eq!(plain(&bytes, from), slow);
        }
    }
}
