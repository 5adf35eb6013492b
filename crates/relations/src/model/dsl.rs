//! The text form of a model: `OpenFGA`'s language, read by hand.
//!
//! The grammar is the one of openfga/language (`OpenFGAParser.g4`); white space and line ends are part of it. Reading
//! stops at the first breach, at the place where the reference parser reports its first.

use super::lex::{Lexer, Token};
use super::source::{
    ConditionSource, Flaw, Kind, Name, ParameterType, RelationSource, Restriction, RestrictionKind, Rewrite,
    Source, Span, TypeSource,
};

/// Deepest nesting of parentheses. The reference has none; a recursive reader needs one.
const MAX_DEPTH: usize = 64;

/// Reads a model or a module.
///
/// # Errors
/// The first breach of the grammar, or everything that is said twice.
pub fn parse(text: &str) -> Result<Source, Vec<Flaw>> {
    let cleaned = without_comments(text);
    let mut parser = Parser { lexer: Lexer::new(&cleaned), flaws: Vec::new(), depth: 0 };
    match parser.main() {
        Ok(source) if parser.flaws.is_empty() => Ok(source),
        Ok(_) => Err(parser.flaws),
        Err(flaw) => {
            parser.flaws.push(flaw);
            Err(parser.flaws)
        }
    }
}

/// Comments become nothing; lines keep their numbers and columns.
fn without_comments(text: &str) -> String {
    let lines = text.split('\n').map(|line| {
        if line.trim_start().starts_with('#') {
            ""
        } else {
            line.get(..comment_start(line)).unwrap_or(line).trim_end()
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Where ` #` begins outside quotes (a condition's expression may hold `#` in a string).
fn comment_start(line: &str) -> usize {
    let (mut quote, mut blank) = (None, None);
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (None, '#') => {
                if let Some(from) = blank {
                    return from;
                }
            }
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            _ => {}
        }
        if quote.is_none() && c.is_whitespace() {
            blank.get_or_insert(at);
        } else {
            blank = None;
        }
    }
    line.len()
}

struct Parser<'t> {
    lexer: Lexer<'t>,
    flaws: Vec<Flaw>,
    depth: usize,
}

type Parsed<T> = Result<T, Flaw>;

impl Parser<'_> {
    fn main(&mut self) -> Parsed<Source> {
        let mut source = Source::default();
        self.skip_blank();
        match self.lexer.peek().0 {
            Token::Word("model") => {
                self.lexer.next();
                self.expect_newline()?;
                self.keyword("schema")?;
                self.expect_blank()?;
                source.schema = Some(self.version()?);
            }
            Token::Word("module") => {
                self.lexer.next();
                self.expect_blank()?;
                source.module = Some(self.name()?);
            }
            _ => return Err(self.unexpected("expected `model` or `module`")),
        }
        self.skip_space();
        while self.newline_or_end()? {
            match self.lexer.peek().0 {
                Token::End => break,
                Token::Word("type" | "extend") if source.conditions.is_empty() => {
                    let found = self.type_definition(&source)?;
                    source.types.push(found);
                }
                Token::Word("condition") => {
                    let found = self.condition(&source)?;
                    source.conditions.push(found);
                }
                _ => return Err(self.unexpected("expected `type` or `condition`")),
            }
        }
        Ok(source)
    }

    fn type_definition(&mut self, source: &Source) -> Parsed<TypeSource> {
        let extends = matches!(self.lexer.peek().0, Token::Word("extend"));
        if extends {
            self.lexer.next();
            self.expect_blank()?;
        }
        self.keyword("type")?;
        self.expect_blank()?;
        let name = self.name()?;
        if extends && source.module.is_none() {
            self.flaws.push(Flaw::new(Kind::Syntax, name.span, "extend can only be used in a modular model"));
        }
        if extends && source.types.iter().any(|other| other.extends && other.name.text == name.text) {
            let text = format!("'{}' is already extended in file.", name.text);
            self.flaws.push(Flaw::new(Kind::Duplicated, name.span, text));
        }
        let mut found = TypeSource { name, extends, relations: Vec::new() };
        match self.lexer.peek_after_newline() {
            Some(Token::Word("relations")) => {
                self.lexer.next();
                self.lexer.next();
            }
            Some(Token::Word("type" | "extend" | "condition") | Token::End) | None => return Ok(found),
            Some(_) => {
                self.lexer.next();
                return Err(self.unexpected("expected `relations`"));
            }
        }
        let mut any = false;
        loop {
            match self.lexer.peek_after_newline() {
                Some(Token::Word("define")) => {
                    self.lexer.next();
                    let relation = self.relation()?;
                    if found.relations.iter().any(|other| other.name.text == relation.name.text) {
                        let text =
                            format!("'{}' is already defined in '{}'", relation.name.text, found.name.text);
                        self.flaws.push(Flaw::new(Kind::Duplicated, relation.name.span, text));
                    }
                    found.relations.push(relation);
                    any = true;
                }
                Some(Token::Word("type" | "extend" | "condition") | Token::End) | None if any => {
                    return Ok(found);
                }
                Some(_) => {
                    self.lexer.next();
                    return Err(self.unexpected("expected `define`"));
                }
                None => return Err(self.unexpected("expected a line end and `define`")),
            }
        }
    }

    fn relation(&mut self) -> Parsed<RelationSource> {
        self.keyword("define")?;
        self.expect_blank()?;
        let name = self.name()?;
        self.skip_space();
        self.symbol(':')?;
        self.skip_space();
        let mut restrictions = Vec::new();
        let rewrite = self.definition(true, &mut restrictions)?;
        match self.lexer.peek().0 {
            Token::Newline | Token::End => Ok(RelationSource { name, rewrite, restrictions }),
            _ => Err(self.unexpected("expected the end of the line")),
        }
    }

    /// `relationDef`: an operand, and more of them with one operator. A direct assignment only comes first.
    fn definition(&mut self, direct: bool, restrictions: &mut Vec<Restriction>) -> Parsed<Rewrite> {
        let first = if direct && matches!(self.lexer.peek().0, Token::Symbol('[')) {
            *restrictions = self.restrictions()?;
            Rewrite::This
        } else {
            self.operand(direct, restrictions)?
        };
        let Some(operator) = self.operator() else { return Ok(first) };
        let mut operands = vec![first];
        while self.operator() == Some(operator) {
            self.lexer.next();
            self.lexer.next();
            self.expect_blank()?;
            operands.push(self.operand(false, restrictions)?);
            if operator == Operator::ButNot {
                break;
            }
        }
        Ok(match operator {
            Operator::Or => Rewrite::Union(operands),
            Operator::And => Rewrite::Intersection(operands),
            Operator::ButNot => {
                let subtract = operands.pop().unwrap_or(Rewrite::This);
                let base = operands.pop().unwrap_or(Rewrite::This);
                Rewrite::Difference(Box::new(base), Box::new(subtract))
            }
        })
    }

    /// The operator behind the next blank, which is left where it is.
    fn operator(&self) -> Option<Operator> {
        match self.lexer.peek_after_space()? {
            Token::Word("or") => Some(Operator::Or),
            Token::Word("and") => Some(Operator::And),
            Token::ButNot => Some(Operator::ButNot),
            _ => None,
        }
    }

    fn operand(&mut self, direct: bool, restrictions: &mut Vec<Restriction>) -> Parsed<Rewrite> {
        if !matches!(self.lexer.peek().0, Token::Symbol('(')) {
            return self.rewrite();
        }
        if self.depth >= MAX_DEPTH {
            return Err(self.unexpected("parentheses are nested too deep"));
        }
        self.lexer.next();
        self.skip_space();
        self.depth += 1;
        let inner = self.definition(direct, restrictions)?;
        self.depth -= 1;
        self.skip_space();
        self.symbol(')')?;
        Ok(inner)
    }

    fn rewrite(&mut self) -> Parsed<Rewrite> {
        let relation = self.name()?;
        if self.lexer.peek_after_space() != Some(Token::Word("from")) {
            return Ok(Rewrite::Computed(relation));
        }
        self.lexer.next();
        self.lexer.next();
        self.expect_blank()?;
        let tupleset = self.name()?;
        let span = Span { line: relation.span.line, start: relation.span.start, end: tupleset.span.end };
        Ok(Rewrite::From { relation, tupleset, span })
    }

    fn restrictions(&mut self) -> Parsed<Vec<Restriction>> {
        self.symbol('[')?;
        let mut found = Vec::new();
        loop {
            self.skip_space();
            found.push(self.restriction()?);
            self.skip_space();
            match self.lexer.peek().0 {
                Token::Symbol(',') => {
                    self.lexer.next();
                }
                Token::Symbol(']') => {
                    self.lexer.next();
                    return Ok(found);
                }
                _ => return Err(self.unexpected("expected `,` or `]`")),
            }
        }
    }

    fn restriction(&mut self) -> Parsed<Restriction> {
        self.skip_newline();
        let type_name = self.name()?;
        let mut span = type_name.span;
        let kind = match self.lexer.peek().0 {
            Token::Symbol(':') => {
                self.lexer.next();
                self.symbol('*')?;
                span.end += 2;
                RestrictionKind::Wildcard
            }
            Token::Symbol('#') => {
                self.lexer.next();
                let relation = self.name()?;
                span.end = relation.span.end;
                RestrictionKind::Userset(relation)
            }
            _ => RestrictionKind::Object,
        };
        let mut condition = None;
        if self.lexer.peek_after_space() == Some(Token::Word("with")) {
            self.lexer.next();
            self.lexer.next();
            self.expect_blank()?;
            condition = Some(self.name()?);
        }
        self.skip_newline();
        Ok(Restriction { type_name, kind, condition, span })
    }

    fn condition(&mut self, source: &Source) -> Parsed<ConditionSource> {
        self.keyword("condition")?;
        self.expect_blank()?;
        let name = self.name()?;
        if source.conditions.iter().any(|other| other.name.text == name.text) {
            let text = format!("condition '{}' is already defined in the model", name.text);
            self.flaws.push(Flaw::new(Kind::Duplicated, name.span, text));
        }
        self.skip_space();
        self.symbol('(')?;
        let mut parameters: Vec<(Name, ParameterType)> = Vec::new();
        loop {
            self.skip_blank();
            let (parameter, of) = self.parameter()?;
            if parameters.iter().any(|(other, _)| other.text == parameter.text) {
                let text = format!(
                    "parameter '{}' is already defined in the condition '{}'",
                    parameter.text, name.text
                );
                self.flaws.push(Flaw::new(Kind::Duplicated, parameter.span, text));
            }
            parameters.push((parameter, of));
            self.skip_blank();
            match self.lexer.peek().0 {
                Token::Symbol(',') => {
                    self.lexer.next();
                }
                _ => break,
            }
        }
        self.symbol(')')?;
        self.skip_space();
        self.symbol('{')?;
        let Some(expression) = self.lexer.raw_until_brace() else {
            return Err(self.unexpected("expected `}`"));
        };
        Ok(ConditionSource { name, nested_name: None, parameters, expression: expression.trim().to_owned() })
    }

    fn parameter(&mut self) -> Parsed<(Name, ParameterType)> {
        // Words of types are tokens of their own here, so no parameter bears such a name.
        if let Token::Word(word) = self.lexer.peek().0
            && (ParameterType::simple(word).is_some() || word == "map" || word == "list")
        {
            return Err(self.unexpected("expected a parameter's name"));
        }
        let name = self.name()?;
        self.skip_space();
        self.symbol(':')?;
        self.skip_space();
        let container = match self.lexer.peek().0 {
            Token::Word("map") => Some(true),
            Token::Word("list") => Some(false),
            _ => None,
        };
        let Some(map) = container else { return Ok((name, self.simple_type()?)) };
        self.lexer.next();
        self.symbol('<')?;
        let of = Box::new(self.simple_type()?);
        self.symbol('>')?;
        Ok((name, if map { ParameterType::Map(of) } else { ParameterType::List(of) }))
    }

    fn simple_type(&mut self) -> Parsed<ParameterType> {
        let found = match self.lexer.peek().0 {
            Token::Word(word) => ParameterType::simple(word),
            _ => None,
        };
        let Some(found) = found else { return Err(self.unexpected("expected a parameter's type")) };
        self.lexer.next();
        Ok(found)
    }

    fn name(&mut self) -> Parsed<Name> {
        match self.lexer.peek() {
            (Token::Word(word), span) if !is_reserved(word) => {
                let text = word.to_owned();
                self.lexer.next();
                Ok(Name { text, span })
            }
            _ => Err(self.unexpected("expected a name")),
        }
    }

    fn version(&mut self) -> Parsed<Name> {
        match self.lexer.peek() {
            (Token::Version(text), span) => {
                let text = text.to_owned();
                self.lexer.next();
                Ok(Name { text, span })
            }
            _ => Err(self.unexpected("expected a schema version such as 1.1")),
        }
    }

    fn keyword(&mut self, word: &str) -> Parsed<()> {
        match self.lexer.peek().0 {
            Token::Word(found) if found == word => {
                self.lexer.next();
                Ok(())
            }
            _ => Err(self.unexpected(&format!("expected `{word}`"))),
        }
    }

    fn symbol(&mut self, symbol: char) -> Parsed<()> {
        if self.lexer.peek().0 == Token::Symbol(symbol) {
            self.lexer.next();
            return Ok(());
        }
        Err(self.unexpected(&format!("expected `{symbol}`")))
    }

    fn expect_blank(&mut self) -> Parsed<()> {
        if self.lexer.peek().0 == Token::Space {
            self.lexer.next();
            return Ok(());
        }
        Err(self.unexpected("expected a space"))
    }

    fn expect_newline(&mut self) -> Parsed<()> {
        if self.lexer.peek().0 == Token::Newline {
            self.lexer.next();
            return Ok(());
        }
        Err(self.unexpected("expected the end of the line"))
    }

    /// Whether there may be more: behind a line end. At the end of the text there is not.
    fn newline_or_end(&mut self) -> Parsed<bool> {
        match self.lexer.peek().0 {
            Token::End => Ok(false),
            _ => self.expect_newline().map(|()| true),
        }
    }

    fn skip_space(&mut self) {
        if self.lexer.peek().0 == Token::Space {
            self.lexer.next();
        }
    }

    fn skip_newline(&mut self) {
        if self.lexer.peek().0 == Token::Newline {
            self.lexer.next();
        }
    }

    fn skip_blank(&mut self) {
        self.skip_space();
        self.skip_newline();
        self.skip_space();
    }

    fn unexpected(&self, expected: &str) -> Flaw {
        let (token, span) = self.lexer.peek();
        Flaw::new(Kind::Syntax, span, format!("{expected}, found {}", token.describe()))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operator {
    Or,
    And,
    ButNot,
}

/// Words of the language that cannot be names.
fn is_reserved(word: &str) -> bool {
    const RESERVED: &[&str] =
        &["and", "or", "from", "with", "define", "relations", "condition", "in", "true", "false", "null"];
    RESERVED.contains(&word)
}
