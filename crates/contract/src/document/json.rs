//! JSON documents, strictly (RFC 8259), with places.

use super::tree::{Stop, Tree};
use super::yaml::is_json_number;
use super::{Bounds, Finding, Node, Span, Value};

/// Reads one value and nothing after it.
pub(super) fn read(file: u16, text: &str, bounds: &Bounds) -> Result<Node, Vec<Finding>> {
    let mut tree = Tree::new(bounds);
    // A byte order mark in front of a document says nothing wrong (RFC 8259 § 8.1 lets readers ignore it).
    let mut cursor = Cursor { file, text, at: 0, line: 1, line_start: 0 };
    if text.starts_with('\u{feff}') {
        cursor.at = 3;
        cursor.line_start = 3;
    }
    match document(&mut cursor, &mut tree) {
        Err(stop) => Err(tree.stopped(stop)),
        Ok(()) => match tree.finish()? {
            Some(node) => Ok(node),
            None => Err(vec![cursor.unexpected("a value")]),
        },
    }
}

struct Cursor<'t> {
    file: u16,
    text: &'t str,
    at: usize,
    line: u32,
    line_start: usize,
}

/// What an open container waits for.
#[derive(Clone, Copy, PartialEq)]
enum Wait {
    FirstKey,
    Key,
    FirstItem,
    Item,
    /// A comma or the end.
    ObjectNext,
    ArrayNext,
}

fn document(cursor: &mut Cursor<'_>, tree: &mut Tree) -> Result<(), Stop> {
    let mut waits: Vec<Wait> = Vec::new();
    value(cursor, tree, &mut waits)?;
    while let Some(wait) = waits.last_mut() {
        cursor.space();
        match (*wait, cursor.peek()) {
            (Wait::FirstKey, Some(b'}')) | (Wait::ObjectNext, Some(b'}')) => {
                cursor.at += 1;
                tree.end(cursor.offset())?;
                waits.pop();
            }
            (Wait::FirstItem, Some(b']')) | (Wait::ArrayNext, Some(b']')) => {
                cursor.at += 1;
                tree.end(cursor.offset())?;
                waits.pop();
            }
            (Wait::ObjectNext, Some(b',')) => {
                cursor.at += 1;
                *wait = Wait::Key;
            }
            (Wait::ArrayNext, Some(b',')) => {
                cursor.at += 1;
                *wait = Wait::Item;
            }
            (Wait::FirstKey | Wait::Key, Some(b'"')) => {
                *wait = Wait::ObjectNext;
                let (key, at) = cursor.string()?;
                tree.key(&key, at);
                cursor.space();
                if cursor.peek() != Some(b':') {
                    return Err(cursor.unexpected("`:`"));
                }
                cursor.at += 1;
                value(cursor, tree, &mut waits)?;
            }
            (Wait::FirstItem | Wait::Item, Some(_)) => {
                *wait = Wait::ArrayNext;
                value(cursor, tree, &mut waits)?;
            }
            (Wait::FirstKey | Wait::Key, _) => return Err(cursor.unexpected("a key in double quotes")),
            (Wait::ObjectNext, _) => return Err(cursor.unexpected("`,` or `}`")),
            (Wait::ArrayNext | Wait::FirstItem | Wait::Item, _) => {
                return Err(cursor.unexpected("`,` or `]`"));
            }
        }
    }
    cursor.space();
    if cursor.at < cursor.text.len() { Err(cursor.unexpected("the end of the file")) } else { Ok(()) }
}

/// Reads a scalar, or opens a container.
fn value(cursor: &mut Cursor<'_>, tree: &mut Tree, waits: &mut Vec<Wait>) -> Result<(), Stop> {
    cursor.space();
    match cursor.peek() {
        Some(b'{') => {
            tree.begin_object(cursor.place(1), 0)?;
            cursor.at += 1;
            waits.push(Wait::FirstKey);
            Ok(())
        }
        Some(b'[') => {
            tree.begin_array(cursor.place(1), 0)?;
            cursor.at += 1;
            waits.push(Wait::FirstItem);
            Ok(())
        }
        Some(b'"') => {
            let (text, at) = cursor.string()?;
            tree.scalar(at, Value::String(text.into()), 0)
        }
        _ => {
            let rest = cursor.rest();
            let end = rest
                .bytes()
                .position(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.')))
                .unwrap_or(rest.len());
            let word = rest.get(..end).unwrap_or("");
            let value = match word {
                "null" => Value::Null,
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                word if is_json_number(word) => Value::Number(word.into()),
                _ => return Err(cursor.unexpected("a value")),
            };
            let at = cursor.place(end);
            cursor.at += end;
            tree.scalar(at, value, 0)
        }
    }
}

impl<'t> Cursor<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn offset(&self) -> u32 {
        u32::try_from(self.at).unwrap_or(u32::MAX)
    }

    fn space(&mut self) {
        while let Some(b) = self.peek() {
            match b {
                b'\n' => {
                    self.at += 1;
                    self.line = self.line.saturating_add(1);
                    self.line_start = self.at;
                }
                b' ' | b'\t' | b'\r' => self.at += 1,
                _ => break,
            }
        }
    }

    /// The place of the next `length` bytes.
    fn place(&self, length: usize) -> Span {
        let start = self.offset();
        // Long lines (minified documents) count bytes: a caret there is no use, and counting would be quadratic.
        let column = match self.text.get(self.line_start..self.at) {
            Some(before) if before.len() <= 1000 => before.chars().count(),
            _ => self.at.saturating_sub(self.line_start),
        };
        Span {
            file: self.file,
            start,
            end: start.saturating_add(u32::try_from(length).unwrap_or(u32::MAX)),
            line: self.line,
            column: u32::try_from(column).unwrap_or(u32::MAX).saturating_add(1),
        }
    }

    fn unexpected(&self, expected: &str) -> Stop {
        let found = match self.rest().chars().next() {
            None => "the file ends".to_owned(),
            Some(c) if c.is_control() => format!("U+{:04X}", u32::from(c)),
            Some(c) => format!("`{c}`"),
        };
        Finding::error("document-syntax", self.place(1), format!("expected {expected}, found {found}"))
    }

    /// A string in double quotes, unescaped.
    fn string(&mut self) -> Result<(String, Span), Stop> {
        let bytes = self.text.as_bytes();
        let open = self.at;
        let mut out = String::new();
        let mut from = open + 1;
        let mut here = from;
        loop {
            match bytes.get(here) {
                Some(b'"') => break,
                Some(b'\\') => {
                    out.push_str(self.text.get(from..here).unwrap_or(""));
                    let (c, length) = escape(self.text.get(here..).unwrap_or("")).ok_or_else(|| {
                        self.at = here;
                        Finding::error("document-syntax", self.place(2), "not an escape of JSON")
                    })?;
                    out.push(c);
                    here += length;
                    from = here;
                }
                Some(b) if *b < 0x20 => {
                    self.at = here;
                    return Err(self.unexpected("a character, or an escape for it"));
                }
                Some(_) => here += 1,
                None => {
                    return Err(Finding::error("document-syntax", self.place(1), "the string does not end"));
                }
            }
        }
        out.push_str(self.text.get(from..here).unwrap_or(""));
        let at = self.place(here + 1 - open);
        self.at = here + 1;
        Ok((out, at))
    }
}

/// The character that an escape at the start of `text` means, and its length in bytes.
fn escape(text: &str) -> Option<(char, usize)> {
    let hex = |from: usize| -> Option<u32> {
        let digits = text.get(from..from + 4)?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        u32::from_str_radix(digits, 16).ok()
    };
    let simple = match text.as_bytes().get(1)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let high = hex(2)?;
            if let Some(c) = char::from_u32(high) {
                return Some((c, 6));
            }
            // A surrogate: only a pair is a character.
            if !(0xD800..0xDC00).contains(&high) || text.get(6..8) != Some("\\u") {
                return None;
            }
            let low = hex(8)?;
            if !(0xDC00..0xE000).contains(&low) {
                return None;
            }
            return char::from_u32(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)).map(|c| (c, 12));
        }
        _ => return None,
    };
    Some((simple, 2))
}
