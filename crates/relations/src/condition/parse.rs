//! Expressions of conditions: the part of CEL that speaks of values. No messages, no bytes, no octal escapes.

use std::sync::Arc;

/// Deepest nesting.
const MAX_DEPTH: usize = 48;
/// Longest expression, in bytes.
const MAX_LENGTH: usize = 4 << 10;

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expr {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Arc<str>),
    Name(Arc<str>),
    Field(Box<Expr>, Arc<str>),
    Index(Box<Expr>, Box<Expr>),
    List(Vec<Expr>),
    Map(Vec<(Expr, Expr)>),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    Binary(Operator, Box<Expr>, Box<Expr>),
    Conditional(Box<Expr>, Box<Expr>, Box<Expr>),
    /// A function, perhaps of a target.
    Call(Option<Box<Expr>>, Function, Vec<Expr>),
    /// `list.all(x, predicate)` and its kin.
    Each(Box<Expr>, Macro, Arc<str>, Box<Expr>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Size,
    Has,
    StartsWith,
    EndsWith,
    Contains,
    Matches,
    Int,
    Uint,
    Double,
    String,
    Timestamp,
    Duration,
    IpAddress,
    InCidr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Macro {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
}

/// Reads an expression.
pub(super) fn parse(text: &str) -> Result<Expr, String> {
    if text.len() > MAX_LENGTH {
        return Err(format!("an expression has at most {MAX_LENGTH} bytes"));
    }
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0 };
    let found = parser.conditional()?;
    match parser.peek() {
        None => Ok(found),
        Some(token) => Err(format!("unexpected {token:?}")),
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Arc<str>),
    Name(Arc<str>),
    Symbol(&'static str),
}

/// Longer ones first.
const SYMBOLS: &[&str] = &[
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", ".", ",", "(", ")",
    "[", "]", "{", "}",
];

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if let Some(comment) = rest.strip_prefix("//") {
            rest = comment.split_once('\n').map_or("", |(_, after)| after);
            continue;
        }
        let Some(first) = rest.chars().next() else { return Ok(found) };
        let (token, length) = if first.is_ascii_digit() {
            number(rest)?
        } else if first == '"' || first == '\'' {
            string(rest, first)?
        } else if first.is_ascii_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            (Token::Name(rest.get(..end).unwrap_or_default().into()), end)
        } else {
            let symbol = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol));
            let symbol = symbol.ok_or_else(|| format!("unexpected `{}`", first.escape_debug()))?;
            (Token::Symbol(symbol), symbol.len())
        };
        found.push(token);
        rest = rest.get(length..).unwrap_or_default();
    }
}

fn number(rest: &str) -> Result<(Token, usize), String> {
    let wrong = || "a number that cannot be read".to_owned();
    if let Some(hex) = rest.strip_prefix("0x") {
        let end = hex.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(hex.len());
        let digits = hex.get(..end).unwrap_or_default();
        if hex.get(end..).is_some_and(|after| after.starts_with(['u', 'U'])) {
            return Ok((Token::Uint(u64::from_str_radix(digits, 16).map_err(|_| wrong())?), end + 3));
        }
        return Ok((Token::Int(i64::from_str_radix(digits, 16).map_err(|_| wrong())?), end + 2));
    }
    let bytes = rest.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let run = |mut at: usize| {
        while digit(at) {
            at += 1;
        }
        at
    };
    let mut end = run(0);
    let mut double = false;
    if bytes.get(end) == Some(&b'.') && digit(end + 1) {
        double = true;
        end = run(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let signed = end + 1 + usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        if digit(signed) {
            double = true;
            end = run(signed);
        }
    }
    let text = rest.get(..end).unwrap_or_default();
    if double {
        let value: f64 = text.parse().map_err(|_| wrong())?;
        return if value.is_finite() { Ok((Token::Double(value), end)) } else { Err(wrong()) };
    }
    if matches!(bytes.get(end), Some(b'u' | b'U')) {
        return Ok((Token::Uint(text.parse().map_err(|_| wrong())?), end + 1));
    }
    Ok((Token::Int(text.parse().map_err(|_| wrong())?), end))
}

fn string(rest: &str, quote: char) -> Result<(Token, usize), String> {
    let mut value = String::new();
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        match c {
            _ if c == quote => return Ok((Token::String(value.into()), at + 1)),
            '\n' | '\r' => break,
            '\\' => {
                let (_, escaped) = characters.next().ok_or("a string that does not end")?;
                let long = match escaped {
                    'n' => Ok('\n'),
                    'r' => Ok('\r'),
                    't' => Ok('\t'),
                    '\\' | '"' | '\'' | '?' | '`' => Ok(escaped),
                    'x' => Err(2),
                    'u' => Err(4),
                    'U' => Err(8),
                    _ => return Err(format!("the escape `\\{}` is not known", escaped.escape_debug())),
                };
                value.push(match long {
                    Ok(c) => c,
                    Err(digits) => {
                        let hex: String = characters.by_ref().take(digits).map(|(_, c)| c).collect();
                        let code = u32::from_str_radix(&hex, 16).ok().filter(|_| hex.len() == digits);
                        code.and_then(char::from_u32).ok_or("an escape that is no character")?
                    }
                });
            }
            _ => value.push(c),
        }
    }
    Err("a string that does not end".to_owned())
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

type Parsed = Result<Expr, String>;

impl Parser {
    fn conditional(&mut self) -> Parsed {
        if self.depth >= MAX_DEPTH {
            return Err("an expression that is nested too deep".to_owned());
        }
        self.depth += 1;
        let condition = self.binary(0)?;
        let found = if self.take("?") {
            let yes = self.binary(0)?;
            self.expect(":")?;
            let no = self.conditional()?;
            Expr::Conditional(Box::new(condition), Box::new(yes), Box::new(no))
        } else {
            condition
        };
        self.depth -= 1;
        Ok(found)
    }

    fn binary(&mut self, level: usize) -> Parsed {
        const LEVELS: &[&[(&str, Operator)]] = &[
            &[("||", Operator::Or)],
            &[("&&", Operator::And)],
            &[
                ("==", Operator::Equal),
                ("!=", Operator::NotEqual),
                ("<=", Operator::LessEqual),
                (">=", Operator::GreaterEqual),
                ("<", Operator::Less),
                (">", Operator::Greater),
                ("in", Operator::In),
            ],
            &[("+", Operator::Add), ("-", Operator::Subtract)],
            &[("*", Operator::Multiply), ("/", Operator::Divide), ("%", Operator::Modulo)],
        ];
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        while let Some((_, operator)) = operators.iter().find(|(symbol, _)| self.is(symbol)) {
            self.at += 1;
            let right = self.binary(level + 1)?;
            left = Expr::Binary(*operator, Box::new(left), Box::new(right));
            // A chain is as deep as it is long, for whoever walks it.
            self.nested(&left)?;
        }
        Ok(left)
    }

    /// Bounds how deep a chain of operators on the left may grow.
    fn nested(&self, mut left: &Expr) -> Result<(), String> {
        let mut depth = self.depth;
        while let Expr::Binary(_, inner, _) = left {
            depth += 1;
            left = inner;
        }
        if depth > MAX_DEPTH * 2 { Err("an expression that is nested too deep".to_owned()) } else { Ok(()) }
    }

    fn unary(&mut self) -> Parsed {
        let mut signs = Vec::new();
        while let Some(sign) = ["!", "-"].into_iter().find(|sign| self.is(sign)) {
            self.at += 1;
            signs.push(sign);
            if signs.len() > 8 {
                return Err("too many signs".to_owned());
            }
        }
        let mut found = self.member()?;
        for sign in signs.into_iter().rev() {
            found = match (sign, found) {
                ("!", inner) => Expr::Not(Box::new(inner)),
                (_, Expr::Int(value)) => Expr::Int(value.wrapping_neg()),
                (_, Expr::Double(value)) => Expr::Double(-value),
                (_, inner) => Expr::Negate(Box::new(inner)),
            };
        }
        Ok(found)
    }

    fn member(&mut self) -> Parsed {
        let mut found = self.primary()?;
        let mut length = 0;
        loop {
            length += 1;
            if length > MAX_DEPTH {
                return Err("an expression that is nested too deep".to_owned());
            }
            if self.take(".") {
                let name = self.name()?;
                if !self.take("(") {
                    found = Expr::Field(Box::new(found), name);
                    continue;
                }
                if let Some(each) = each_macro(&name) {
                    let variable = self.name()?;
                    self.expect(",")?;
                    let body = self.conditional()?;
                    self.expect(")")?;
                    found = Expr::Each(Box::new(found), each, variable, Box::new(body));
                    continue;
                }
                let function = method(&name).ok_or_else(|| format!("the function `{name}` is not known"))?;
                let arguments = self.list(")")?;
                found = Expr::Call(Some(Box::new(found)), function, arguments);
            } else if self.take("[") {
                let index = self.conditional()?;
                self.expect("]")?;
                found = Expr::Index(Box::new(found), Box::new(index));
            } else {
                return Ok(found);
            }
        }
    }

    fn primary(&mut self) -> Parsed {
        let Some(token) = self.tokens.get(self.at).cloned() else {
            return Err("the expression ends too early".to_owned());
        };
        self.at += 1;
        match token {
            Token::Int(value) => Ok(Expr::Int(value)),
            Token::Uint(value) => Ok(Expr::Uint(value)),
            Token::Double(value) => Ok(Expr::Double(value)),
            Token::String(value) => Ok(Expr::String(value)),
            Token::Symbol("(") => {
                let inner = self.conditional()?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Symbol("[") => Ok(Expr::List(self.list("]")?)),
            Token::Symbol("{") => self.map(),
            Token::Symbol(symbol) => Err(format!("unexpected `{symbol}`")),
            Token::Name(name) => match &*name {
                "true" => Ok(Expr::Bool(true)),
                "false" => Ok(Expr::Bool(false)),
                "null" => Ok(Expr::Null),
                "in" => Err("unexpected `in`".to_owned()),
                _ if self.take("(") => {
                    let function =
                        function(&name).ok_or_else(|| format!("the function `{name}` is not known"))?;
                    Ok(Expr::Call(None, function, self.list(")")?))
                }
                _ => Ok(Expr::Name(name)),
            },
        }
    }

    fn list(&mut self, end: &str) -> Result<Vec<Expr>, String> {
        let mut found = Vec::new();
        while !self.take(end) {
            found.push(self.conditional()?);
            if !self.is(end) {
                self.expect(",")?;
            }
        }
        Ok(found)
    }

    fn map(&mut self) -> Parsed {
        let mut found = Vec::new();
        while !self.take("}") {
            let key = self.conditional()?;
            self.expect(":")?;
            found.push((key, self.conditional()?));
            if !self.is("}") {
                self.expect(",")?;
            }
        }
        Ok(Expr::Map(found))
    }

    fn name(&mut self) -> Result<Arc<str>, String> {
        let Some(Token::Name(name)) = self.peek() else { return Err("expected a name".to_owned()) };
        let name = Arc::clone(name);
        self.at += 1;
        Ok(name)
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn is(&self, symbol: &str) -> bool {
        match self.peek() {
            Some(Token::Symbol(found)) => *found == symbol,
            Some(Token::Name(name)) => &**name == symbol,
            _ => false,
        }
    }

    fn take(&mut self, symbol: &str) -> bool {
        let found = self.is(symbol);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, symbol: &str) -> Result<(), String> {
        if self.take(symbol) { Ok(()) } else { Err(format!("expected `{symbol}`")) }
    }
}

fn each_macro(name: &str) -> Option<Macro> {
    Some(match name {
        "all" => Macro::All,
        "exists" => Macro::Exists,
        "exists_one" => Macro::ExistsOne,
        "filter" => Macro::Filter,
        "map" => Macro::Map,
        _ => return None,
    })
}

fn method(name: &str) -> Option<Function> {
    Some(match name {
        "size" => Function::Size,
        "startsWith" => Function::StartsWith,
        "endsWith" => Function::EndsWith,
        "contains" => Function::Contains,
        "matches" => Function::Matches,
        "in_cidr" => Function::InCidr,
        _ => return None,
    })
}

fn function(name: &str) -> Option<Function> {
    Some(match name {
        "size" => Function::Size,
        "has" => Function::Has,
        "int" => Function::Int,
        "uint" => Function::Uint,
        "double" => Function::Double,
        "string" => Function::String,
        "timestamp" => Function::Timestamp,
        "duration" => Function::Duration,
        "ipaddress" => Function::IpAddress,
        "matches" => Function::Matches,
        _ => return None,
    })
}
