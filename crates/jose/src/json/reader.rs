//! The one pass over the bytes.

use super::{Fault, Limits, Node, Span};

/// The nodes of a document in order, and the strings that had escapes, unescaped. Spans beyond the
/// document's length point into the latter.
pub(super) fn read(source: &str, limits: &Limits) -> Result<(String, Vec<Node>), Fault> {
    let mut reader =
        Reader { source, at: 0, unescaped: String::new(), nodes: Vec::with_capacity(32), members: 0, limits };
    reader.space();
    match reader.peek() {
        Some(b'{') => {}
        Some(b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => return Err(Fault::NotAnObject),
        _ => return Err(Fault::Syntax),
    }
    reader.value(1)?;
    reader.space();
    if reader.peek().is_some() {
        return Err(Fault::Syntax);
    }
    let Reader { unescaped, nodes, .. } = reader;
    Ok((unescaped, nodes))
}

struct Reader<'a> {
    source: &'a str,
    at: usize,
    unescaped: String,
    nodes: Vec<Node>,
    members: usize,
    limits: &'a Limits,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.source.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        if self.peek() != Some(byte) {
            return Err(Fault::Syntax);
        }
        self.at += 1;
        Ok(())
    }

    fn word(&mut self, word: &str, node: Node) -> Result<(), Fault> {
        if !self.source.as_bytes().get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes())) {
            return Err(Fault::Syntax);
        }
        self.at += word.len();
        self.nodes.push(node);
        Ok(())
    }

    /// Recursion is bounded by the depth.
    fn value(&mut self, depth: usize) -> Result<(), Fault> {
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => {
                let span = self.string()?;
                self.nodes.push(Node::String(span));
                Ok(())
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Node::Bool(true)),
            Some(b'f') => self.word("false", Node::Bool(false)),
            Some(b'n') => self.word("null", Node::Null),
            _ => Err(Fault::Syntax),
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), Fault> {
        let start = self.open(depth)?;
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return self.close(start, |end| Node::Object { end });
        }
        // Keys of this object, for duplicates; a name is compared as it reads, not as it is spelled.
        let mut keys: Vec<Span> = Vec::with_capacity(8);
        loop {
            self.members += 1;
            if self.members > self.limits.members {
                return Err(Fault::Members);
            }
            self.space();
            if self.peek() != Some(b'"') {
                return Err(Fault::Syntax);
            }
            let key = self.string()?;
            if keys.iter().any(|other| self.text(*other) == self.text(key)) {
                return Err(Fault::Duplicate);
            }
            keys.push(key);
            self.nodes.push(Node::String(key));
            self.space();
            self.expect(b':')?;
            self.space();
            self.value(depth + 1)?;
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return self.close(start, |end| Node::Object { end });
                }
                _ => return Err(Fault::Syntax),
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), Fault> {
        let start = self.open(depth)?;
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return self.close(start, |end| Node::Array { end });
        }
        loop {
            self.space();
            self.value(depth + 1)?;
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return self.close(start, |end| Node::Array { end });
                }
                _ => return Err(Fault::Syntax),
            }
        }
    }

    fn open(&mut self, depth: usize) -> Result<usize, Fault> {
        if depth > self.limits.depth {
            return Err(Fault::Depth);
        }
        self.at += 1;
        self.nodes.push(Node::Null);
        Ok(self.nodes.len() - 1)
    }

    fn close(&mut self, start: usize, node: impl Fn(u32) -> Node) -> Result<(), Fault> {
        let end = u32::try_from(self.nodes.len()).map_err(|_| Fault::Size)?;
        if let Some(slot) = self.nodes.get_mut(start) {
            *slot = node(end);
        }
        Ok(())
    }

    fn text(&self, span: Span) -> &str {
        let (start, len) = (span.start as usize, span.len as usize);
        match start.checked_sub(self.source.len()) {
            Some(start) => self.unescaped.get(start..start + len),
            None => self.source.get(start..start + len),
        }
        .unwrap_or_default()
    }

    fn span(start: usize, len: usize) -> Result<Span, Fault> {
        let number = |n: usize| u32::try_from(n).map_err(|_| Fault::Size);
        Ok(Span { start: number(start)?, len: number(len)? })
    }

    fn string(&mut self) -> Result<Span, Fault> {
        self.expect(b'"')?;
        let start = self.at;
        loop {
            match self.peek() {
                Some(b'"') => {
                    let len = self.at - start;
                    self.at += 1;
                    return if len > self.limits.string {
                        Err(Fault::String)
                    } else {
                        Self::span(start, len)
                    };
                }
                Some(b'\\') => return self.escaped(start),
                Some(0x20..) => self.at += 1,
                _ => return Err(Fault::Syntax),
            }
        }
    }

    /// The rest of a string that has an escape; what it says is kept behind the document.
    fn escaped(&mut self, start: usize) -> Result<Span, Fault> {
        let kept = self.unescaped.len();
        let mut plain = start;
        loop {
            match self.peek() {
                Some(end @ (b'"' | b'\\')) => {
                    self.unescaped.push_str(self.source.get(plain..self.at).ok_or(Fault::Syntax)?);
                    self.at += 1;
                    if self.unescaped.len() - kept > self.limits.string {
                        return Err(Fault::String);
                    }
                    if end == b'"' {
                        return Self::span(self.source.len() + kept, self.unescaped.len() - kept);
                    }
                    let c = self.escape()?;
                    self.unescaped.push(c);
                    plain = self.at;
                }
                Some(0x20..) => self.at += 1,
                _ => return Err(Fault::Syntax),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Fault> {
        let c = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(Fault::Syntax),
        };
        self.at += 1;
        Ok(c)
    }

    fn unicode(&mut self) -> Result<char, Fault> {
        let first = self.hex4()?;
        match first {
            0xd800..=0xdbff => {
                if self.peek() != Some(b'\\') || self.source.as_bytes().get(self.at + 1) != Some(&b'u') {
                    return Err(Fault::Surrogate);
                }
                self.at += 2;
                let second = self.hex4()?;
                if !(0xdc00..=0xdfff).contains(&second) {
                    return Err(Fault::Surrogate);
                }
                char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or(Fault::Surrogate)
            }
            _ => char::from_u32(first).ok_or(Fault::Surrogate),
        }
    }

    fn hex4(&mut self) -> Result<u32, Fault> {
        let digits = self.source.as_bytes().get(self.at..self.at + 4).ok_or(Fault::Syntax)?;
        let mut value = 0;
        for digit in digits {
            value = value << 4 | char::from(*digit).to_digit(16).ok_or(Fault::Syntax)?;
        }
        self.at += 4;
        Ok(value)
    }

    fn number(&mut self) -> Result<(), Fault> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return Err(Fault::Syntax),
        }
        let mut whole = true;
        if self.peek() == Some(b'.') {
            whole = false;
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            whole = false;
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        let span = Self::span(start, self.at - start)?;
        let text = self.text(span);
        let sound = if whole {
            text.parse::<i64>().is_ok_and(|n| n.unsigned_abs() <= 1 << 53)
        } else {
            text.parse::<f64>().is_ok_and(f64::is_finite)
        };
        if !sound {
            return Err(Fault::Number);
        }
        self.nodes.push(Node::Number(span));
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Fault> {
        if !self.peek().is_some_and(|b| b.is_ascii_digit()) {
            return Err(Fault::Syntax);
        }
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }
}
