//! Bytes to tokens, with the bounds that hold before anything is parsed (contract.md § 16.1).

use super::limits::Limits;
use super::refused::{Bound, Judged, malformed, too_complex};
use std::borrow::Cow;

/// One token and where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token<'t> {
    pub(super) lexeme: Lexeme<'t>,
    pub(super) at: u32,
}

/// What a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lexeme<'t> {
    Name(&'t str),
    Int(&'t str),
    Float(&'t str),
    Str(Cow<'t, str>),
    /// One of `! $ & ( ) : = @ [ ] { | }`.
    Punct(u8),
    /// `...`
    Spread,
}

/// Where a text stops being one, for people who write schemas.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopped {
    pub(super) refused: super::refused::Refused,
    pub(super) at: usize,
}

/// Reads all tokens. One pass, stops at the first bound; memory is a token for each byte at most, and no more than
/// `limits.tokens`.
pub(super) fn lex<'t>(text: &'t str, limits: &Limits) -> Result<Vec<Token<'t>>, Stopped> {
    let mut lexer =
        Lexer { text, bytes: text.as_bytes(), at: 0, nesting: 0, limits, tokens: Vec::with_capacity(64) };
    match lexer.run() {
        Ok(()) => Ok(lexer.tokens),
        Err(refused) => Err(Stopped { refused, at: lexer.at }),
    }
}

struct Lexer<'t, 'l> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
    nesting: usize,
    limits: &'l Limits,
    tokens: Vec<Token<'t>>,
}

impl<'t> Lexer<'t, '_> {
    fn run(&mut self) -> Judged<()> {
        if self.bytes.len() > self.limits.query_bytes {
            return Err(too_complex(Bound::QueryBytes));
        }
        while let Some(byte) = self.peek(0) {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | b',' => self.at += 1,
                b'#' => self.comment()?,
                _ => {
                    if self.tokens.len() >= self.limits.tokens {
                        return Err(too_complex(Bound::Tokens));
                    }
                    let at = u32::try_from(self.at).unwrap_or(u32::MAX);
                    let lexeme = self.lexeme(byte)?;
                    self.tokens.push(Token { lexeme, at });
                }
            }
        }
        if self.nesting > 0 {
            return Err(malformed("brackets-left-open"));
        }
        Ok(())
    }

    fn lexeme(&mut self, byte: u8) -> Judged<Lexeme<'t>> {
        match byte {
            b'{' | b'[' | b'(' => {
                self.nesting += 1;
                if self.nesting > self.limits.nesting {
                    return Err(too_complex(Bound::Nesting));
                }
                self.punct(byte)
            }
            b'}' | b']' | b')' => {
                self.nesting = self.nesting.checked_sub(1).ok_or(malformed("bracket-without-beginning"))?;
                self.punct(byte)
            }
            b'!' | b'$' | b'&' | b':' | b'=' | b'@' | b'|' => self.punct(byte),
            b'.' if self.peek(1) == Some(b'.') && self.peek(2) == Some(b'.') => {
                self.at += 3;
                Ok(Lexeme::Spread)
            }
            b'"' if self.peek(1) == Some(b'"') && self.peek(2) == Some(b'"') => self.block(),
            b'"' => self.string(),
            b'-' | b'0'..=b'9' => self.number(),
            b'_' | b'a'..=b'z' | b'A'..=b'Z' => {
                let start = self.at;
                while self.peek(0).is_some_and(|b| b == b'_' || b.is_ascii_alphanumeric()) {
                    self.at += 1;
                }
                if self.at - start > 256 {
                    return Err(too_complex(Bound::StringBytes));
                }
                Ok(Lexeme::Name(self.slice(start)))
            }
            _ => Err(malformed("no-token")),
        }
    }

    fn punct(&mut self, byte: u8) -> Judged<Lexeme<'t>> {
        self.at += 1;
        Ok(Lexeme::Punct(byte))
    }

    fn comment(&mut self) -> Judged<()> {
        while let Some(byte) = self.peek(0).filter(|b| !matches!(b, b'\n' | b'\r')) {
            if byte < 0x20 && byte != b'\t' {
                return Err(malformed("control-character"));
            }
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Judged<Lexeme<'t>> {
        let start = self.at;
        if self.peek(0) == Some(b'-') {
            self.at += 1;
        }
        let first = self.peek(0);
        if self.digits()? > 1 && first == Some(b'0') {
            return Err(malformed("number-with-leading-zero"));
        }
        let mut float = false;
        if self.peek(0) == Some(b'.') && self.peek(1).is_some_and(|b| b.is_ascii_digit()) {
            float = true;
            self.at += 1;
            self.digits()?;
        }
        if self.peek(0).is_some_and(|b| matches!(b, b'e' | b'E')) {
            float = true;
            self.at += 1;
            if self.peek(0).is_some_and(|b| matches!(b, b'+' | b'-')) {
                self.at += 1;
            }
            let from = self.at;
            self.digits()?;
            if self.slice(from).parse::<u32>().map_or(true, |exponent| exponent > 400) {
                return Err(too_complex(Bound::StringBytes));
            }
        }
        if self.peek(0).is_some_and(|b| b == b'_' || b == b'.' || b.is_ascii_alphanumeric()) {
            return Err(malformed("number-runs-into-something"));
        }
        let text = self.slice(start);
        if text.len() > 64 {
            return Err(too_complex(Bound::StringBytes));
        }
        Ok(if float { Lexeme::Float(text) } else { Lexeme::Int(text) })
    }

    fn digits(&mut self) -> Judged<usize> {
        let start = self.at;
        while self.peek(0).is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(malformed("number-without-digits")) } else { Ok(self.at - start) }
    }

    fn string(&mut self) -> Judged<Lexeme<'t>> {
        self.at += 1;
        let start = self.at;
        let mut written: Option<String> = None;
        loop {
            if self.at - start > self.limits.string_bytes {
                return Err(too_complex(Bound::StringBytes));
            }
            let byte = self.peek(0).ok_or(malformed("string-without-end"))?;
            match byte {
                b'"' => break,
                b'\\' => {
                    let before = self.slice(start);
                    let mut out = written.take().unwrap_or_else(|| before.to_owned());
                    out.push(self.escape()?);
                    written = Some(out);
                }
                0..=8 | 10..=31 => return Err(malformed("control-character")),
                _ => {
                    let from = self.at;
                    self.at += 1;
                    while self.peek(0).is_some_and(|b| b & 0xc0 == 0x80) {
                        self.at += 1;
                    }
                    let part = self.slice(from);
                    if let Some(out) = &mut written {
                        out.push_str(part);
                    }
                }
            }
        }
        let text = written.map_or_else(|| Cow::Borrowed(self.slice(start)), Cow::Owned);
        self.at += 1;
        Ok(Lexeme::Str(text))
    }

    /// At a backslash.
    fn escape(&mut self) -> Judged<char> {
        self.at += 1;
        let byte = self.peek(0).ok_or(malformed("string-without-end"))?;
        self.at += 1;
        let plain = match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => self.unicode()?,
            _ => return Err(malformed("escape-unknown")),
        };
        if plain == '\0' { Err(malformed("nul")) } else { Ok(plain) }
    }

    fn unicode(&mut self) -> Judged<char> {
        if self.peek(0) == Some(b'{') {
            self.at += 1;
            let start = self.at;
            while self.peek(0).is_some_and(|b| b.is_ascii_hexdigit()) {
                self.at += 1;
            }
            let code = u32::from_str_radix(self.slice(start), 16);
            if self.peek(0) != Some(b'}') || self.at - start > 8 {
                return Err(malformed("escape-malformed"));
            }
            self.at += 1;
            return code.ok().and_then(char::from_u32).ok_or(malformed("escape-malformed"));
        }
        let high = self.four()?;
        if !(0xd800..0xdc00).contains(&high) {
            return char::from_u32(high).ok_or(malformed("lone-surrogate"));
        }
        if self.peek(0) != Some(b'\\') || self.peek(1) != Some(b'u') {
            return Err(malformed("lone-surrogate"));
        }
        self.at += 2;
        let low = self.four()?;
        if !(0xdc00..0xe000).contains(&low) {
            return Err(malformed("lone-surrogate"));
        }
        char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)).ok_or(malformed("lone-surrogate"))
    }

    fn four(&mut self) -> Judged<u32> {
        let start = self.at;
        for _ in 0..4 {
            if !self.peek(0).is_some_and(|b| b.is_ascii_hexdigit()) {
                return Err(malformed("escape-malformed"));
            }
            self.at += 1;
        }
        u32::from_str_radix(self.slice(start), 16).map_err(|_| malformed("escape-malformed"))
    }

    fn block(&mut self) -> Judged<Lexeme<'t>> {
        self.at += 3;
        let start = self.at;
        let mut raw = String::new();
        loop {
            if self.at - start > self.limits.string_bytes {
                return Err(too_complex(Bound::StringBytes));
            }
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            if rest.starts_with(b"\"\"\"") {
                break;
            }
            if rest.starts_with(b"\\\"\"\"") {
                raw.push_str("\"\"\"");
                self.at += 4;
                continue;
            }
            let byte = *rest.first().ok_or(malformed("string-without-end"))?;
            if byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r') {
                return Err(malformed("control-character"));
            }
            let from = self.at;
            self.at += 1;
            while self.peek(0).is_some_and(|b| b & 0xc0 == 0x80) {
                self.at += 1;
            }
            raw.push_str(self.slice(from));
        }
        self.at += 3;
        Ok(Lexeme::Str(Cow::Owned(dedent(&raw))))
    }

    fn slice(&self, from: usize) -> &'t str {
        self.text.get(from..self.at).unwrap_or("")
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }
}

/// `BlockStringValue` of the GraphQL specification, § 2.9.4.
fn dedent(raw: &str) -> String {
    let raw = raw.replace("\r\n", "\n").replace('\r', "\n");
    let lines: Vec<&str> = raw.split('\n').collect();
    let blank = |line: &&str| line.bytes().all(|b| matches!(b, b' ' | b'\t'));
    let indent = |line: &str| line.bytes().take_while(|b| matches!(b, b' ' | b'\t')).count();
    let common = lines.iter().skip(1).filter(|line| !blank(line)).map(|line| indent(line)).min().unwrap_or(0);
    let first = lines.iter().position(|line| !blank(line)).unwrap_or(lines.len());
    let last = lines.iter().rposition(|line| !blank(line)).map_or(0, |at| at + 1);
    let mut out = String::with_capacity(raw.len());
    for (at, line) in lines.iter().enumerate().take(last).skip(first) {
        if at > first {
            out.push('\n');
        }
        out.push_str(if at == 0 { line } else { line.get(common.min(line.len())..).unwrap_or("") });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lexemes(text: &str) -> Result<Vec<Lexeme<'_>>, super::super::refused::Refused> {
        lex(text, &Limits::default())
            .map(|tokens| tokens.into_iter().map(|t| t.lexeme).collect())
            .map_err(|stopped| stopped.refused)
    }

    #[test]
    fn tokens_are_those_of_the_specification() {
        use Lexeme::{Float, Int, Name, Punct, Spread};
        assert_eq!(
            lexemes("query($a:[Int!]=-1,b:1.5e+3)#c\n{...F}").unwrap(),
            [
                Name("query"),
                Punct(b'('),
                Punct(b'$'),
                Name("a"),
                Punct(b':'),
                Punct(b'['),
                Name("Int"),
                Punct(b'!'),
                Punct(b']'),
                Punct(b'='),
                Int("-1"),
                Name("b"),
                Punct(b':'),
                Float("1.5e+3"),
                Punct(b')'),
                Punct(b'{'),
                Spread,
                Name("F"),
                Punct(b'}'),
            ]
        );
        for (text, value) in [
            (r#""a\n\u00e9\ud83d\ude00\u{1F600}\/""#, "a\né😀😀/"),
            ("\"\"\"\n    one\n      two\n\n    \\\"\"\" three\n  \"\"\"", "one\n  two\n\n\"\"\" three"),
            ("\"\"", ""),
            ("\"é\"", "é"),
        ] {
            assert_eq!(lexemes(text).unwrap(), [Lexeme::Str(value.into())], "{text}");
        }
    }

    #[test]
    fn what_is_no_token_is_malformed() {
        for text in [
            "\"a",
            "\"a\nb\"",
            "\"\\x\"",
            "\"\\ud800\"",
            "\"\\ude00\"",
            "\"\\u0000\"",
            "\"\\u{110000}\"",
            "01",
            "1.",
            "1.e3",
            ".5",
            "-",
            "1a",
            "0x1",
            "1e",
            "1_0",
            "..",
            "?",
            "\u{feff}{a}",
            "{",
            "}",
            "é",
            "\"\"\"a",
            "\u{0}",
            "#\u{1}",
        ] {
            assert_eq!(lexemes(text).unwrap_err().kind, super::super::refused::Kind::Malformed, "{text:?}");
        }
    }

    #[test]
    fn bounds_come_before_the_parser() {
        let bound = |text: &str| lexemes(text).unwrap_err();
        assert_eq!(bound(&" ".repeat(15_001)), too_complex(Bound::QueryBytes));
        assert!(lexemes(&" ".repeat(15_000)).is_ok());
        assert_eq!(bound(&"a ".repeat(2_001)), too_complex(Bound::Tokens));
        assert!(lexemes(&"a ".repeat(2_000)).is_ok());
        assert_eq!(bound(&format!("\"{}\"", "a".repeat(4_097))), too_complex(Bound::StringBytes));
        assert_eq!(bound(&format!("\"\"\"{}\"\"\"", "a".repeat(4_097))), too_complex(Bound::StringBytes));
        assert!(lexemes(&format!("\"{}\"", "a".repeat(4_096))).is_ok());
        for open in ["[", "{", "("] {
            assert_eq!(bound(&open.repeat(65)), too_complex(Bound::Nesting));
        }
    }
}
