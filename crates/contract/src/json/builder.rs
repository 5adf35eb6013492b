//! A tape made of values that were decoded elsewhere (parameters, form fields), so that one validator serves all.

use super::scan::is_number;
use super::tape::{ESCAPED, Entry, INTEGER_FORM, KEY, Kind, NONE, TRUE, Tape};

/// Puts a tape together. Calls come in document order; a member is [`Builder::key`] and then one value.
#[derive(Debug, Default)]
pub struct Builder {
    text: String,
    unescaped: String,
    entries: Vec<Entry>,
    open: Vec<u32>,
    wrong: Option<BuildError>,
}

/// Why no tape was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildError {
    /// Not a JSON number.
    Number,
    /// A name given twice in one object.
    DuplicateKey,
    /// The calls do not make one value, or more than 4 GiB.
    Shape,
}

impl Builder {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A tape of one string.
    pub fn one_string(text: &str) -> Tape {
        let mut builder = Self::new();
        builder.string(text);
        builder.finish().unwrap_or_else(|_| Tape {
            text: String::new(),
            unescaped: String::new(),
            entries: vec![Entry::NULL],
            minimal: false,
        })
    }

    /// `null`.
    pub fn null(&mut self) -> &mut Self {
        self.push(Kind::Null, 0, "null")
    }

    /// `true` or `false`.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.push(Kind::Bool, if value { TRUE } else { 0 }, if value { "true" } else { "false" })
    }

    /// A number by its JSON literal.
    pub fn number(&mut self, literal: &str) -> &mut Self {
        if !is_number(literal) {
            self.wrong.get_or_insert(BuildError::Number);
            return self;
        }
        let digits = literal.strip_prefix('-').unwrap_or(literal);
        let plain = digits.bytes().all(|b| b.is_ascii_digit()) && literal != "-0";
        self.push(Kind::Number, if plain { INTEGER_FORM } else { 0 }, literal)
    }

    /// A string by its text, not escaped.
    pub fn string(&mut self, text: &str) -> &mut Self {
        self.text_entry(text, 0)
    }

    /// The name of the member whose value comes next.
    pub fn key(&mut self, name: &str) -> &mut Self {
        let in_object = self.open.last().and_then(|at| self.entries.get(*at as usize));
        if in_object.is_none_or(|entry| entry.kind != Kind::Object) || self.after_key() {
            self.wrong.get_or_insert(BuildError::Shape);
        }
        self.text_entry(name, KEY)
    }

    /// Begins an object.
    pub fn begin_object(&mut self) -> &mut Self {
        self.begin(Kind::Object)
    }

    /// Begins an array.
    pub fn begin_array(&mut self) -> &mut Self {
        self.begin(Kind::Array)
    }

    /// Ends the innermost object or array.
    pub fn end(&mut self) -> &mut Self {
        let next = self.entries.len() as u32;
        let dangling = self.after_key();
        match self.open.pop() {
            Some(at) if !dangling => {
                if let Some(entry) = self.entries.get_mut(at as usize) {
                    entry.a = next;
                }
            }
            _ => {
                self.wrong.get_or_insert(BuildError::Shape);
            }
        }
        self
    }

    /// The tape.
    pub fn finish(self) -> Result<Tape, BuildError> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        let whole = self.entries.first().map(|first| first.next(0));
        let size = self.text.len().max(self.unescaped.len());
        if !self.open.is_empty() || whole != Some(self.entries.len() as u32) || size > u32::MAX as usize {
            return Err(BuildError::Shape);
        }
        let tape = Tape { text: self.text, unescaped: self.unescaped, entries: self.entries, minimal: false };
        for (index, entry) in tape.entries.iter().enumerate() {
            if entry.kind == Kind::Object {
                let mut names: Vec<&str> =
                    super::Node::new(&tape, index as u32).members().map(|m| m.0).collect();
                names.sort_unstable();
                if names.windows(2).any(|pair| pair.first() == pair.last()) {
                    return Err(BuildError::DuplicateKey);
                }
            }
        }
        Ok(tape)
    }

    fn begin(&mut self, kind: Kind) -> &mut Self {
        let at = self.entries.len() as u32;
        self.push(kind, 0, "");
        self.open.push(at);
        self
    }

    fn text_entry(&mut self, text: &str, flags: u8) -> &mut Self {
        if !text.bytes().any(|b| b < 0x20 || b == b'"' || b == b'\\') {
            return self.push(Kind::String, flags, text);
        }
        let start = self.unescaped.len() as u32;
        self.unescaped.push_str(text);
        let end = self.unescaped.len() as u32;
        self.push(Kind::String, flags | ESCAPED, "");
        if let Some(entry) = self.entries.last_mut() {
            entry.a = start;
            entry.b = end;
        }
        self
    }

    fn push(&mut self, kind: Kind, flags: u8, text: &str) -> &mut Self {
        let parent = self.open.last().copied().unwrap_or(NONE);
        let after_key = self.after_key();
        if let Some(container) = self.entries.get_mut(parent as usize) {
            if flags & KEY == 0 {
                container.b += 1;
                if (container.kind == Kind::Object) != after_key {
                    self.wrong.get_or_insert(BuildError::Shape);
                }
            }
        } else if !self.entries.is_empty() {
            self.wrong.get_or_insert(BuildError::Shape);
        }
        let start = self.text.len() as u32;
        self.text.push_str(text);
        let end = self.text.len() as u32;
        self.entries.push(Entry { start, end, parent, a: 0, b: 0, kind, flags });
        self
    }

    fn after_key(&self) -> bool {
        self.entries.last().is_some_and(|last| last.has(KEY))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BuildError, Builder, write};

    #[test]
    fn makes_what_it_was_told() {
        let mut b = Builder::new();
        b.begin_object()
            .key("a")
            .number("-12")
            .key("q\"")
            .begin_array()
            .string("x\ny")
            .bool(true)
            .null()
            .end();
        b.key("e").begin_object().end().end();
        let tape = b.finish().unwrap();
        let mut out = Vec::new();
        write(&tape, None, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), r#"{"a":-12,"q\"":["x\ny",true,null],"e":{}}"#);
        assert_eq!(tape.root().get("a").unwrap().as_i64(), Some(-12));
        assert!(tape.root().get("a").unwrap().is_integer_form());
        assert_eq!(tape.root().pointer("/q\"/0").unwrap().as_str(), Some("x\ny"));
    }

    #[test]
    fn refuses_what_is_no_value() {
        let build = |f: &dyn Fn(&mut Builder)| {
            let mut b = Builder::new();
            f(&mut b);
            b.finish().map(|_| ())
        };
        assert_eq!(build(&|_| ()), Err(BuildError::Shape));
        assert_eq!(
            build(&|b| {
                b.null().null();
            }),
            Err(BuildError::Shape)
        );
        assert_eq!(
            build(&|b| {
                b.begin_array();
            }),
            Err(BuildError::Shape)
        );
        assert_eq!(
            build(&|b| {
                b.begin_object().null().end();
            }),
            Err(BuildError::Shape)
        );
        assert_eq!(
            build(&|b| {
                b.begin_object().key("a").end();
            }),
            Err(BuildError::Shape)
        );
        assert_eq!(
            build(&|b| {
                b.begin_object().key("a").key("b").null().end();
            }),
            Err(BuildError::Shape)
        );
        assert_eq!(
            build(&|b| {
                b.begin_array().key("a").null().end();
            }),
            Err(BuildError::Shape)
        );
        assert_eq!(
            build(&|b| {
                b.null().end();
            }),
            Err(BuildError::Shape)
        );
        assert_eq!(
            build(&|b| {
                b.begin_object().key("a").null().key("a").null().end();
            }),
            Err(BuildError::DuplicateKey)
        );
        for literal in ["01", "+1", "1.", ".5", "1e", "", "-", "NaN", "1 ", "0x1", "１"] {
            assert_eq!(
                build(&|b| {
                    b.number(literal);
                }),
                Err(BuildError::Number),
                "{literal}"
            );
        }
    }
}
