//! Texts: UTF-8 without characters that deceive; tables without formulas; JSON that is JSON.

use super::read::Reader;
use super::{Checked, Rejected, Why};
use crate::body::text::{self, TextRules};
use crate::json::{self, Bounds};
use std::hash::{DefaultHasher, Hasher};

/// Bytes of a JSON file: as many as the largest JSON body.
const JSON: usize = 10 << 20;

/// UTF-8 and contract.md § 10.
pub(super) fn plain(reader: &mut Reader<'_>) -> Checked {
    lines(reader, |_| Ok(()))
}

fn lines(reader: &mut Reader<'_>, mut each: impl FnMut(&str) -> Checked) -> Checked {
    let not_utf8 = Rejected::kind("text-not-utf-8");
    let mut begun: Vec<u8> = Vec::new();
    let len = reader.len();
    reader.each(0, len, |piece| {
        begun.extend_from_slice(piece);
        let whole = match std::str::from_utf8(&begun) {
            Ok(text) => text.len(),
            // The end of a piece may cut a character.
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => return Err(not_utf8),
        };
        let text = begun.get(..whole).and_then(|bytes| std::str::from_utf8(bytes).ok()).ok_or(not_utf8)?;
        text::check(text, TextRules::default()).map_err(|_| Rejected::kind("text-characters"))?;
        each(text)?;
        begun.drain(..whole);
        Ok(())
    })?;
    if begun.is_empty() { Ok(()) } else { Err(not_utf8) }
}

/// Where a reader of CSV is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cell {
    /// Before its first character; quoted or not.
    Start(bool),
    /// Behind a `+` or `-`: what follows must be a number.
    Signed { quoted: bool, digits: bool },
    /// In it, and it is harmless.
    Inside(bool),
    /// Behind a quote in a quoted cell: the end, or half of a doubled one.
    Quote,
}

/// RFC 4180 with `,`, `;` or tabs. A cell that a spreadsheet would compute is refused (OWASP: CSV injection).
pub(super) fn csv(reader: &mut Reader<'_>, formulas: bool) -> Checked {
    let formula = Rejected::kind("csv-formula");
    let mut cell = Cell::Start(false);
    let mut first = true;
    lines(reader, |text| {
        let text = if first { text.strip_prefix('\u{feff}').unwrap_or(text) } else { text };
        first = false;
        if formulas {
            return Ok(());
        }
        for c in text.chars() {
            cell = next(cell, c).ok_or(formula)?;
        }
        Ok(())
    })?;
    let open = matches!(cell, Cell::Signed { digits: false, .. });
    if open { Err(formula) } else { Ok(()) }
}

/// Nothing: a formula.
fn next(cell: Cell, c: char) -> Option<Cell> {
    // What other readers take for a separator is one; only in quotes it is none.
    let ends = |c: char| matches!(c, ',' | ';' | '\t' | '\r' | '\n' | '|');
    match (cell, c) {
        (Cell::Start(false), '"') => Some(Cell::Start(true)),
        (Cell::Start(true), '"') => Some(Cell::Quote),
        (Cell::Start(_), '=' | '@' | '＝' | '＠') => None,
        (Cell::Start(true), '\t') => None,
        (Cell::Start(quoted), '+' | '-' | '＋' | '－') => Some(Cell::Signed { quoted, digits: false }),
        // Spreadsheets cut white space in front.
        (Cell::Start(quoted), c) if c.is_whitespace() && (quoted || !ends(c)) => Some(Cell::Start(quoted)),
        (Cell::Start(false), c) if ends(c) => Some(Cell::Start(false)),
        (Cell::Start(quoted), _) => Some(Cell::Inside(quoted)),
        (Cell::Signed { quoted: true, digits: true }, '"') => Some(Cell::Quote),
        (Cell::Signed { quoted: false, digits }, ',') if !digits => None,
        (Cell::Signed { quoted: false, digits: true }, c) if ends(c) => Some(Cell::Start(false)),
        (Cell::Signed { quoted, .. }, '0'..='9') => Some(Cell::Signed { quoted, digits: true }),
        (
            Cell::Signed { digits, quoted },
            '.' | ',' | ' ' | '(' | ')' | '/' | '-' | '\'' | '\u{a0}' | '\u{202f}' | '€' | '$' | '£',
        ) => Some(Cell::Signed { quoted, digits }),
        (Cell::Signed { quoted, digits: true }, 'e' | 'E' | '+' | '%' | ':') => {
            Some(Cell::Signed { quoted, digits: true })
        }
        (Cell::Signed { .. }, _) => None,
        (Cell::Inside(true), '"') => Some(Cell::Quote),
        (Cell::Inside(false), c) if ends(c) => Some(Cell::Start(false)),
        (Cell::Inside(quoted), _) => Some(Cell::Inside(quoted)),
        (Cell::Quote, '"') => Some(Cell::Inside(true)),
        (Cell::Quote, c) if ends(c) => Some(Cell::Start(false)),
        // Behind a closed quote nothing may follow: readers do not agree on what it is.
        (Cell::Quote, ' ') => Some(Cell::Quote),
        (Cell::Quote, _) => None,
    }
}

/// Strict JSON, as in bodies.
pub(super) fn json(reader: &mut Reader<'_>) -> Checked {
    let len = reader.len();
    let bytes = reader.whole(0, len, JSON)?;
    // Keys that depend on every byte: whoever looks for names that collide changes them by each try.
    let key = |seed: u8| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(seed);
        hasher.write(&bytes);
        hasher.finish()
    };
    let keys = [key(1), key(2)];
    let bounds = Bounds { values: 1_000_000, ..Bounds::default() };
    match json::scan(bytes, &bounds, keys) {
        Ok(_) => plain(reader),
        Err(_) => Err(Rejected { why: Why::Type, reason: "file-not-json" }),
    }
}
