//! The flat form of one JSON text.

use super::node::Node;

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// A number, kept as its text.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

/// One JSON text, checked: entries in document order, a member being its key's entry followed by its value's.
/// The keys of each object are distinct. Holds no recursion, so dropping it has none either.
pub struct Tape {
    pub(super) text: String,
    /// Strings that held an escape, unescaped, one after the other.
    pub(super) unescaped: String,
    pub(super) entries: Vec<Entry>,
    /// Whether the text is already what `write` would make of it (no white space, no escape).
    pub(super) minimal: bool,
}

impl Tape {
    /// The one value of the text.
    pub fn root(&self) -> Node<'_> {
        Node::new(self, 0)
    }

    /// Entries on the tape: values and keys.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Never: a text holds a value. (Here because `len` is.)
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The node at an index that [`Node::index`] gave.
    pub fn node(&self, index: u32) -> Option<Node<'_>> {
        ((index as usize) < self.entries.len()).then(|| Node::new(self, index))
    }

    pub(super) fn entry(&self, index: u32) -> Entry {
        self.entries.get(index as usize).copied().unwrap_or(Entry::NULL)
    }

    pub(super) fn string(&self, entry: Entry) -> &str {
        let found = if entry.has(ESCAPED) {
            self.unescaped.get(entry.a as usize..entry.b as usize)
        } else {
            self.text.get(entry.start as usize..entry.end as usize)
        };
        found.unwrap_or("")
    }

    pub(super) fn raw(&self, entry: Entry) -> &str {
        self.text.get(entry.start as usize..entry.end as usize).unwrap_or("")
    }
}

impl std::fmt::Debug for Tape {
    /// The shape alone: a body is nobody's log line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tape").field("entries", &self.entries.len()).finish_non_exhaustive()
    }
}

/// One value or key. 24 bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// First byte in the text; a string's first byte after its quote.
    pub(super) start: u32,
    /// One past the last byte; a string's closing quote.
    pub(super) end: u32,
    /// The container's index; `NONE` at the root.
    pub(super) parent: u32,
    /// Container: index after its last descendant. Escaped string: start in `unescaped`. Small integer: low half.
    pub(super) a: u32,
    /// Container: number of members or items. Escaped string: end in `unescaped`. Small integer: high half.
    pub(super) b: u32,
    pub(super) kind: Kind,
    pub(super) flags: u8,
}

pub(super) const NONE: u32 = u32::MAX;
/// A string whose text is in `unescaped`.
pub(super) const ESCAPED: u8 = 1;
/// The name of a member, not a value.
pub(super) const KEY: u8 = 2;
/// `true`.
pub(super) const TRUE: u8 = 4;
/// Written as `0` or `-?[1-9][0-9]*`.
pub(super) const INTEGER_FORM: u8 = 8;
/// An integer of at most 18 digits, held in `a` and `b`.
pub(super) const SMALL: u8 = 16;

impl Entry {
    pub(super) const NULL: Self =
        Self { start: 0, end: 0, parent: NONE, a: 0, b: 0, kind: Kind::Null, flags: 0 };

    pub(super) const fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(super) const fn is_container(self) -> bool {
        matches!(self.kind, Kind::Array | Kind::Object)
    }

    /// Index after this entry and all below it.
    pub(super) const fn next(self, index: u32) -> u32 {
        if self.is_container() { self.a } else { index + 1 }
    }

    pub(super) const fn small(self) -> i64 {
        (((self.b as u64) << 32) | self.a as u64) as i64
    }

    pub(super) const fn set_small(&mut self, value: i64) {
        self.a = value as u64 as u32;
        self.b = ((value as u64) >> 32) as u32;
        self.flags |= SMALL;
    }
}
