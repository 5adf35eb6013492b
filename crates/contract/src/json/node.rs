//! Reading a tape.

use super::tape::{Entry, INTEGER_FORM, KEY, Kind, NONE, SMALL, TRUE, Tape};

/// One value of a tape. Two words, copied freely.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    tape: &'a Tape,
    index: u32,
}

impl<'a> Node<'a> {
    pub(super) const fn new(tape: &'a Tape, index: u32) -> Self {
        Self { tape, index }
    }

    /// The tape it is on.
    pub const fn tape(self) -> &'a Tape {
        self.tape
    }

    /// Its place on the tape; stable for the tape's life.
    pub const fn index(self) -> u32 {
        self.index
    }

    /// What it is.
    pub fn kind(self) -> Kind {
        self.entry().kind
    }

    /// Whether it is `null`.
    pub fn is_null(self) -> bool {
        self.kind() == Kind::Null
    }

    /// A boolean's value.
    pub fn as_bool(self) -> Option<bool> {
        let entry = self.entry();
        (entry.kind == Kind::Bool).then(|| entry.has(TRUE))
    }

    /// A string's text, unescaped.
    pub fn as_str(self) -> Option<&'a str> {
        let entry = self.entry();
        (entry.kind == Kind::String).then(|| self.tape.string(entry))
    }

    /// A number's literal, as written.
    pub fn number_text(self) -> Option<&'a str> {
        let entry = self.entry();
        (entry.kind == Kind::Number).then(|| self.tape.raw(entry))
    }

    /// The literal is `0` or `-?[1-9][0-9]*`.
    pub fn is_integer_form(self) -> bool {
        self.entry().has(INTEGER_FORM)
    }

    /// A number written as an integer that `i64` holds.
    pub fn as_i64(self) -> Option<i64> {
        let entry = self.entry();
        if entry.kind != Kind::Number {
            return None;
        }
        if entry.has(SMALL) { Some(entry.small()) } else { self.tape.raw(entry).parse().ok() }
    }

    /// A number written as an integer that `u64` holds.
    pub fn as_u64(self) -> Option<u64> {
        let entry = self.entry();
        if entry.kind != Kind::Number {
            return None;
        }
        if entry.has(SMALL) { u64::try_from(entry.small()).ok() } else { self.tape.raw(entry).parse().ok() }
    }

    /// A number's nearest double; infinite beyond its range.
    pub fn as_f64(self) -> Option<f64> {
        self.number_text().and_then(|text| text.parse().ok())
    }

    /// Members of an object, items of an array; 0 for the rest.
    pub fn len(self) -> u32 {
        let entry = self.entry();
        if entry.is_container() { entry.b } else { 0 }
    }

    /// Whether it holds nothing.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The value of an object's member. Linear in the members.
    pub fn get(self, key: &str) -> Option<Node<'a>> {
        self.members().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// An array's item. Linear in the index.
    pub fn at(self, index: usize) -> Option<Node<'a>> {
        self.items().nth(index)
    }

    /// An object's members in the order received; of anything else, nothing.
    pub fn members(self) -> Members<'a> {
        let entry = self.entry();
        let left = if entry.kind == Kind::Object { entry.b } else { 0 };
        Members { tape: self.tape, next: self.index + 1, left }
    }

    /// An array's items; of anything else, nothing.
    pub fn items(self) -> Items<'a> {
        let entry = self.entry();
        let left = if entry.kind == Kind::Array { entry.b } else { 0 };
        Items { tape: self.tape, next: self.index + 1, left }
    }

    /// Entries of this value and all below it (its own, keys and values): what a walk over it costs at most.
    pub fn weight(self) -> u32 {
        self.entry().next(self.index) - self.index
    }

    /// The value at an RFC 6901 pointer below this one. An index with a leading zero names nothing.
    pub fn pointer(self, pointer: &str) -> Option<Node<'a>> {
        if pointer.is_empty() {
            return Some(self);
        }
        let mut at = self;
        for token in pointer.strip_prefix('/')?.split('/') {
            at = match at.kind() {
                Kind::Object if token.contains('~') => {
                    at.get(&token.replace("~1", "/").replace("~0", "~"))?
                }
                Kind::Object => at.get(token)?,
                Kind::Array => {
                    let plain = token == "0" || (!token.starts_with('0') && !token.starts_with('+'));
                    at.at(plain.then(|| token.parse().ok()).flatten()?)?
                }
                _ => return None,
            };
        }
        Some(at)
    }

    /// The container this is in.
    pub fn parent(self) -> Option<Node<'a>> {
        let parent = self.entry().parent;
        (parent != NONE).then(|| Node::new(self.tape, parent))
    }

    /// The name under which an object holds this value.
    pub fn name(self) -> Option<&'a str> {
        let key = self.tape.entry(self.index.checked_sub(1)?);
        (key.has(KEY) && !self.entry().has(KEY)).then(|| self.tape.string(key))
    }

    /// The RFC 6901 pointer from the root to here. For reports: linear in the siblings.
    pub fn location(self) -> String {
        let mut tokens = Vec::new();
        let mut at = self;
        while let Some(parent) = at.parent() {
            match at.name() {
                Some(name) => tokens.push(name.replace('~', "~0").replace('/', "~1")),
                None => tokens.push(
                    parent.items().position(|item| item.index == at.index).unwrap_or_default().to_string(),
                ),
            }
            at = parent;
        }
        tokens.iter().rev().fold(String::new(), |mut pointer, token| {
            pointer.push('/');
            pointer.push_str(token);
            pointer
        })
    }

    fn entry(self) -> Entry {
        self.tape.entry(self.index)
    }
}

impl std::fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("index", &self.index).field("kind", &self.kind()).finish()
    }
}

/// The members of an object.
#[derive(Clone, Debug)]
pub struct Members<'a> {
    tape: &'a Tape,
    next: u32,
    left: u32,
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a str, Node<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let key = self.tape.entry(self.next);
        let value = Node::new(self.tape, self.next + 1);
        self.next = value.entry().next(value.index);
        Some((self.tape.string(key), value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for Members<'_> {}

/// The items of an array.
#[derive(Clone, Debug)]
pub struct Items<'a> {
    tape: &'a Tape,
    next: u32,
    left: u32,
}

impl<'a> Iterator for Items<'a> {
    type Item = Node<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let item = Node::new(self.tape, self.next);
        self.next = item.entry().next(item.index);
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for Items<'_> {}

#[cfg(test)]
mod tests {
    use super::super::{Bounds, scan};

    #[test]
    fn walks_by_name_index_and_pointer() {
        let tape =
            scan(r#"{"a":[10,{"x/y":"é\n"},[]],"~":true,"n":-12.50}"#, &Bounds::default(), [1, 2]).unwrap();
        let root = tape.root();
        assert_eq!(root.len(), 3);
        assert_eq!(root.pointer("/a/0").unwrap().as_i64(), Some(10));
        assert_eq!(root.pointer("/a/1/x~1y").unwrap().as_str(), Some("é\n"));
        assert_eq!(root.pointer("/~0").unwrap().as_bool(), Some(true));
        assert_eq!(root.get("n").unwrap().number_text(), Some("-12.50"));
        for nowhere in ["a", "/a/00", "/a/+0", "/a/3", "/a/-", "/a/0/x", "/b"] {
            assert!(root.pointer(nowhere).is_none(), "{nowhere}");
        }
        for pointer in ["", "/a", "/a/0", "/a/1", "/a/1/x~1y", "/a/2", "/~0", "/n"] {
            assert_eq!(root.pointer(pointer).unwrap().location(), pointer);
        }
        assert_eq!(root.get("a").unwrap().weight(), 6);
    }
}
