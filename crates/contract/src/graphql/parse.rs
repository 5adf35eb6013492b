//! Tokens to a document. Recursion is bounded by the lexer's nesting.

use super::ast::{
    Directive, Document, Field, Fragment, Operation, OperationKind, Selection, Type, Value, Variable,
};
use super::lexer::{Lexeme, Token};
use super::refused::{Judged, malformed};

/// Parses an executable document; definitions of a schema in it are malformed.
pub(super) fn document<'t>(tokens: &[Token<'t>]) -> Judged<Document<'t>> {
    let mut parser = Parser::new(tokens);
    let mut document = Document::default();
    while let Some(lexeme) = parser.peek() {
        match lexeme {
            Lexeme::Punct(b'{') => {
                let selection = parser.selection_set()?;
                document.operations.push(Operation {
                    kind: OperationKind::Query,
                    name: None,
                    variables: Vec::new(),
                    directives: Vec::new(),
                    selection,
                });
            }
            Lexeme::Name("fragment") => {
                parser.skip();
                let name = parser.name()?;
                if name == "on" {
                    return Err(malformed("fragment-named-on"));
                }
                parser.word("on")?;
                let on = parser.name()?;
                let directives = parser.directives(false)?;
                let selection = parser.selection_set()?;
                document.fragments.push(Fragment { name, on, directives, selection });
            }
            Lexeme::Name(word) => {
                let kind = match *word {
                    "query" => OperationKind::Query,
                    "mutation" => OperationKind::Mutation,
                    "subscription" => OperationKind::Subscription,
                    _ => return Err(malformed("definition-unknown")),
                };
                parser.skip();
                let name = parser.name_if_any();
                let variables = parser.variables()?;
                let directives = parser.directives(false)?;
                let selection = parser.selection_set()?;
                document.operations.push(Operation { kind, name, variables, directives, selection });
            }
            _ => return Err(malformed("definition-unknown")),
        }
    }
    if document.operations.is_empty() {
        return Err(malformed("no-operation"));
    }
    Ok(document)
}

/// Reads along the tokens; the reader of schemas goes on from here.
pub(super) struct Parser<'t, 'k> {
    tokens: &'k [Token<'t>],
    next: usize,
    fields: u32,
}

impl<'t, 'k> Parser<'t, 'k> {
    pub(super) const fn new(tokens: &'k [Token<'t>]) -> Self {
        Self { tokens, next: 0, fields: 0 }
    }

    pub(super) fn peek(&self) -> Option<&'k Lexeme<'t>> {
        self.tokens.get(self.next).map(|token| &token.lexeme)
    }

    /// Where the next token begins, or the last one did.
    pub(super) fn at(&self) -> u32 {
        self.tokens.get(self.next).or(self.tokens.last()).map_or(0, |token| token.at)
    }

    pub(super) const fn skip(&mut self) {
        self.next += 1;
    }

    pub(super) fn take(&mut self, punct: u8) -> bool {
        let is = self.peek() == Some(&Lexeme::Punct(punct));
        self.next += usize::from(is);
        is
    }

    pub(super) fn expect(&mut self, punct: u8) -> Judged<()> {
        if self.take(punct) { Ok(()) } else { Err(malformed("punctuation-missing")) }
    }

    pub(super) fn word(&mut self, word: &str) -> Judged<()> {
        if self.take_word(word) { Ok(()) } else { Err(malformed("keyword-missing")) }
    }

    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let is = matches!(self.peek(), Some(Lexeme::Name(name)) if *name == word);
        self.next += usize::from(is);
        is
    }

    pub(super) fn name(&mut self) -> Judged<&'t str> {
        self.name_if_any().ok_or(malformed("name-missing"))
    }

    fn name_if_any(&mut self) -> Option<&'t str> {
        match self.peek() {
            Some(Lexeme::Name(name)) => {
                self.next += 1;
                Some(name)
            }
            _ => None,
        }
    }

    fn selection_set(&mut self) -> Judged<Vec<Selection<'t>>> {
        self.expect(b'{')?;
        let mut list = Vec::new();
        while !self.take(b'}') {
            list.push(self.selection()?);
        }
        if list.is_empty() { Err(malformed("selection-empty")) } else { Ok(list) }
    }

    fn selection(&mut self) -> Judged<Selection<'t>> {
        if self.peek() == Some(&Lexeme::Spread) {
            self.skip();
            return match self.peek() {
                Some(Lexeme::Name(name)) if *name != "on" => {
                    self.skip();
                    Ok(Selection::Spread { name, directives: self.directives(false)? })
                }
                _ => {
                    let on = if self.take_word("on") { Some(self.name()?) } else { None };
                    let directives = self.directives(false)?;
                    Ok(Selection::Inline { on, directives, selection: self.selection_set()? })
                }
            };
        }
        let first = self.name()?;
        let (alias, name) = if self.take(b':') { (Some(first), self.name()?) } else { (None, first) };
        let id = self.fields;
        self.fields += 1;
        let arguments = self.arguments(false)?;
        let directives = self.directives(false)?;
        let selection =
            if self.peek() == Some(&Lexeme::Punct(b'{')) { self.selection_set()? } else { Vec::new() };
        Ok(Selection::Field(Field { id, alias, name, arguments, directives, selection }))
    }

    fn variables(&mut self) -> Judged<Vec<Variable<'t>>> {
        let mut list = Vec::new();
        if !self.take(b'(') {
            return Ok(list);
        }
        while !self.take(b')') {
            self.expect(b'$')?;
            let name = self.name()?;
            self.expect(b':')?;
            let ty = self.ty()?;
            let default = if self.take(b'=') { Some(self.value(true)?) } else { None };
            list.push(Variable { name, ty, default, directives: self.directives(true)? });
        }
        if list.is_empty() { Err(malformed("variables-empty")) } else { Ok(list) }
    }

    pub(super) fn ty(&mut self) -> Judged<Type<'t>> {
        if self.take(b'[') {
            let inner = self.ty()?;
            self.expect(b']')?;
            return Ok(Type::List(Box::new(inner), self.take(b'!')));
        }
        Ok(Type::Named(self.name()?, self.take(b'!')))
    }

    fn arguments(&mut self, constant: bool) -> Judged<Vec<(&'t str, Value<'t>)>> {
        let mut list: Vec<(&'t str, Value<'t>)> = Vec::new();
        if !self.take(b'(') {
            return Ok(list);
        }
        while !self.take(b')') {
            let name = self.name()?;
            self.expect(b':')?;
            list.push((name, self.value(constant)?));
        }
        if list.is_empty() { Err(malformed("arguments-empty")) } else { Ok(list) }
    }

    pub(super) fn directives(&mut self, constant: bool) -> Judged<Vec<Directive<'t>>> {
        let mut list = Vec::new();
        while self.take(b'@') {
            let name = self.name()?;
            list.push(Directive { name, arguments: self.arguments(constant)? });
        }
        Ok(list)
    }

    pub(super) fn value(&mut self, constant: bool) -> Judged<Value<'t>> {
        let Some(lexeme) = self.peek() else { return Err(malformed("value-missing")) };
        self.skip();
        Ok(match lexeme {
            Lexeme::Int(text) => Value::Int(text),
            Lexeme::Float(text) => Value::Float(text),
            Lexeme::Str(text) => Value::Str(text.clone()),
            Lexeme::Name("true") => Value::Bool(true),
            Lexeme::Name("false") => Value::Bool(false),
            Lexeme::Name("null") => Value::Null,
            Lexeme::Name(name) => Value::Enum(name),
            Lexeme::Punct(b'$') if !constant => Value::Variable(self.name()?),
            Lexeme::Punct(b'[') => {
                let mut list = Vec::new();
                while !self.take(b']') {
                    list.push(self.value(constant)?);
                }
                Value::List(list)
            }
            Lexeme::Punct(b'{') => {
                let mut members = Vec::new();
                while !self.take(b'}') {
                    let name = self.name()?;
                    self.expect(b':')?;
                    members.push((name, self.value(constant)?));
                }
                Value::Object(members)
            }
            _ => return Err(malformed("value-missing")),
        })
    }
}
