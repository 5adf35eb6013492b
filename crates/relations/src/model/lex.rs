//! Tokens of the model language. White space and line ends are tokens.

use super::source::Span;

/// A token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'t> {
    /// Blanks within a line.
    Space,
    /// One or more line ends, with the blanks around them.
    Newline,
    /// A name or a keyword.
    Word(&'t str),
    /// `but not`, with one blank: the reference's token.
    ButNot,
    /// `1.1`.
    Version(&'t str),
    /// Digits.
    Number(&'t str),
    /// Anything else, one character.
    Symbol(char),
    /// The end of the text.
    End,
}

impl Token<'_> {
    pub(super) fn describe(self) -> String {
        match self {
            Self::Space => "a space".to_owned(),
            Self::Newline => "the end of the line".to_owned(),
            Self::Word(text) | Self::Version(text) | Self::Number(text) => format!("`{text}`"),
            Self::ButNot => "`but not`".to_owned(),
            Self::Symbol(c) => format!("`{}`", c.escape_debug()),
            Self::End => "the end of the text".to_owned(),
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Lexer<'t> {
    rest: &'t str,
    line: usize,
    column: usize,
}

impl<'t> Lexer<'t> {
    pub(super) const fn new(text: &'t str) -> Self {
        Self { rest: text, line: 0, column: 0 }
    }

    /// The next token, which stays.
    pub(super) fn peek(&self) -> (Token<'t>, Span) {
        let (token, length) = scan(self.rest);
        let text = self.rest.get(..length).unwrap_or_default();
        let width = if token == Token::End { 0 } else { text.chars().count() };
        (token, Span { line: self.line, start: self.column, end: self.column + width })
    }

    /// Takes the next token.
    pub(super) fn next(&mut self) -> Token<'t> {
        let (token, length) = scan(self.rest);
        self.advance(length);
        token
    }

    /// What follows, if the next token is a line end; or the end itself.
    pub(super) fn peek_after_newline(&self) -> Option<Token<'t>> {
        let mut ahead = *self;
        match ahead.next() {
            Token::Newline => Some(ahead.peek().0),
            Token::End => Some(Token::End),
            _ => None,
        }
    }

    /// What follows, if the next token is a space.
    pub(super) fn peek_after_space(&self) -> Option<Token<'t>> {
        let mut ahead = *self;
        (ahead.next() == Token::Space).then(|| ahead.peek().0)
    }

    /// The text up to the `}` that is not in a string, which is taken too. A nested `{` is not balanced: the language
    /// ends an expression at the first closing brace.
    pub(super) fn raw_until_brace(&mut self) -> Option<&'t str> {
        let mut quote = None;
        let mut escaped = false;
        for (at, c) in self.rest.char_indices() {
            match quote {
                Some(_) if escaped => escaped = false,
                Some(_) if c == '\\' => escaped = true,
                Some(open) if c == open => quote = None,
                Some(_) => {}
                None if c == '"' || c == '\'' => quote = Some(c),
                None if c == '}' => {
                    let text = self.rest.get(..at)?;
                    self.advance(at + 1);
                    return Some(text);
                }
                None => {}
            }
        }
        None
    }

    fn advance(&mut self, length: usize) {
        let taken = self.rest.get(..length).unwrap_or_default();
        for c in taken.chars() {
            if c == '\n' {
                self.line += 1;
                self.column = 0;
            } else {
                self.column += 1;
            }
        }
        self.rest = self.rest.get(length..).unwrap_or_default();
    }
}

/// The token at the beginning of `rest`, and its length in bytes.
fn scan(rest: &str) -> (Token<'_>, usize) {
    let Some(first) = rest.chars().next() else { return (Token::End, 0) };
    let blanks = run(rest, |c| matches!(c, ' ' | '\t' | '\x0c'));
    let after = rest.get(blanks..).unwrap_or_default();
    if after.starts_with(['\n', '\r']) {
        return (Token::Newline, run(rest, |c| matches!(c, ' ' | '\t' | '\x0c' | '\n' | '\r')));
    }
    if blanks > 0 {
        return (Token::Space, blanks);
    }
    if first.is_ascii_alphabetic() || first == '_' {
        if rest.starts_with("but not") {
            return (Token::ButNot, "but not".len());
        }
        let length = word(rest);
        return (Token::Word(rest.get(..length).unwrap_or_default()), length);
    }
    if first.is_ascii_digit() {
        let whole = run(rest, |c| c.is_ascii_digit());
        let fraction = rest
            .get(whole..)
            .and_then(|after| after.strip_prefix('.'))
            .map_or(0, |after| run(after, |c| c.is_ascii_digit()));
        if fraction > 0 {
            let length = whole + 1 + fraction;
            return (Token::Version(rest.get(..length).unwrap_or_default()), length);
        }
        return (Token::Number(rest.get(..whole).unwrap_or_default()), whole);
    }
    (Token::Symbol(first), first.len_utf8())
}

/// `IDENTIFIER` or `EXTENDED_IDENTIFIER`, whichever is longer: `/` and `.` only before another letter or digit.
fn word(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let mut at = 0;
    while let Some(&b) = bytes.get(at) {
        let inside = is_name(b) || b == b'-';
        let joins = matches!(b, b'/' | b'.') && bytes.get(at + 1).copied().is_some_and(is_name);
        if !inside && !joins {
            break;
        }
        at += 1;
    }
    at
}

fn run(text: &str, matches: impl Fn(char) -> bool) -> usize {
    text.find(|c| !matches(c)).unwrap_or(text.len())
}
