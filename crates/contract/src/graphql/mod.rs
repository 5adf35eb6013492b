//! GraphQL as it may cross the gateway (contract.md § 16): the schema is the contract.
//!
//! A request is read, lexed and measured within bounds before any rule of the schema is asked; then the one operation
//! that was selected is checked, cut to what the caller may see, and written anew with the variables that it uses.
//! The answer is walked with that operation.

mod answer;
mod ast;
mod cost;
mod fields;
mod lexer;
mod limits;
mod measure;
mod parse;
mod persisted;
mod print;
mod refused;
mod request;
mod schema;
mod sdl;
#[cfg(test)]
mod tests;
mod value;

pub use answer::Written;
pub use ast::OperationKind;
pub use fields::Scopes;
pub use limits::Limits;
pub use measure::Weight;
pub use persisted::{Mode, Persisted};
pub use refused::{Bound, Kind, Refused};
pub use schema::Schema;

use crate::body::text::{self, TextRules};
use crate::json::{Bounds, Tape, write_string};
use fields::Form;
use lexer::Lexeme;
use measure::Given;
use refused::{Judged, forbidden, invalid, malformed, too_complex};
use request::Request;
use value::write;

/// The scope that opens introspection for its holder.
pub const INTROSPECT: &str = "portcullis.introspect";

/// A GraphQL end point, ready to judge requests.
#[derive(Debug)]
pub struct GraphQl {
    /// The contract; nothing only under the loosening `no_schema`.
    pub schema: Option<Schema>,
    /// Bounds.
    pub limits: Limits,
    /// Larger costs for callers with a scope.
    pub costs: Vec<(Box<str>, u64)>,
    /// Requests in one body; 0 is none in an array.
    pub batch: u32,
    /// Everybody may ask about the schema (loosening `introspection`).
    pub introspection: bool,
    /// Operations known beforehand.
    pub persisted: Persisted,
    /// Codes of the upstream's errors whose messages are kept.
    pub keep_codes: Vec<Box<str>>,
    /// Rules for strings.
    pub text: TextRules,
}

/// A body that may go on.
#[derive(Debug)]
pub struct Accepted {
    /// Written anew.
    pub body: Vec<u8>,
    /// Of all its operations.
    pub cost: u64,
    /// Of each operation: what it does and its name, a name of GraphQL.
    pub operations: Vec<(OperationKind, Option<Box<str>>)>,
    /// How many were not on the list (mode `log`).
    pub unlisted: u32,
    /// How many fields were cut out.
    pub cut: u32,
    /// What the answer is walked with.
    pub answering: Answering,
}

/// The form that the answer of an accepted body must have.
#[derive(Debug)]
pub struct Answering {
    forms: Vec<Option<Form>>,
    batch: bool,
}

impl GraphQl {
    /// The bounds with which a body is scanned.
    pub fn body_bounds(&self) -> Bounds {
        let depth = self.limits.variables_depth.saturating_add(3);
        let string_length = u32::try_from(self.limits.query_bytes).unwrap_or(u32::MAX).max(256 << 10);
        Bounds { depth, string_length, ..Bounds::default() }
    }

    /// Judges a body that was scanned.
    ///
    /// # Errors
    /// The first reason to refuse all of it: of a batch, nothing goes on alone.
    pub fn judge(&self, tape: &Tape, scopes: &Scopes<'_>) -> Result<Accepted, Refused> {
        let requests = request::read(tape.root(), self.batch)?;
        let batch = tape.root().kind() == crate::json::Kind::Array;
        let mut accepted = Accepted {
            body: Vec::with_capacity(512),
            cost: 0,
            operations: Vec::new(),
            unlisted: 0,
            cut: 0,
            answering: Answering { forms: Vec::new(), batch },
        };
        if batch {
            accepted.body.push(b'[');
        }
        for (at, request) in requests.iter().enumerate() {
            if at > 0 {
                accepted.body.push(b',');
            }
            self.one(request, scopes, &mut accepted)?;
        }
        if batch {
            accepted.body.push(b']');
        }
        let limit = self.costs.iter().filter(|(scope, _)| scopes(scope)).map(|(_, cost)| *cost);
        if accepted.cost > limit.fold(self.limits.cost, u64::max) {
            return Err(too_complex(Bound::Cost));
        }
        Ok(accepted)
    }

    fn one(&self, request: &Request<'_>, scopes: &Scopes<'_>, accepted: &mut Accepted) -> Judged<()> {
        let limits = &self.limits;
        // Before the list is asked: a normalised one reads the text.
        if request.query.is_some_and(|query| query.len() > limits.query_bytes) {
            return Err(too_complex(Bound::QueryBytes));
        }
        let (text, listed) = self.persisted.text(request)?;
        accepted.unlisted += u32::from(!listed);
        let tokens = lexer::lex(text, limits).map_err(|stopped| stopped.refused)?;
        for token in &tokens {
            if let Lexeme::Str(string) = &token.lexeme {
                text::check(string, self.text).map_err(|_| invalid("text"))?;
            }
        }
        let document = parse::document(&tokens)?;
        measure::structure(&document, limits)?;
        let index = match request.operation_name {
            Some(name) => document.operations.iter().position(|operation| operation.name == Some(name)),
            None => (document.operations.len() == 1).then_some(0),
        };
        let index = index.ok_or(invalid("operation-not-selected"))?;
        let Some(operation) = document.operations.get(index) else { return Err(malformed("no-operation")) };
        if operation.kind == OperationKind::Subscription {
            return Err(invalid("subscription"));
        }
        if let Some(variables) = request.variables {
            if value::depth(variables) > limits.variables_depth {
                return Err(too_complex(Bound::VariablesDepth));
            }
            let mut written = Vec::new();
            write(variables, &mut written);
            if written.len() > limits.variables_bytes {
                return Err(too_complex(Bound::VariablesBytes));
            }
        }
        let given = Given { variables: &operation.variables, values: request.variables };
        let weight = measure::operation(&document, index, &given, self.schema.as_ref(), limits)?;
        measure::within(&weight, limits)?;
        accepted.cost = accepted.cost.saturating_add(weight.cost);
        if weight.introspects && !self.introspection && !scopes(INTROSPECT) {
            return Err(forbidden("introspection"));
        }
        let checked = match &self.schema {
            Some(schema) => Some(fields::check(schema, &document, operation, scopes)?),
            None => None,
        };
        let cut = |id: u32| checked.as_ref().and_then(|checked| checked.cut.get(&id).copied());
        let (query, used) = print::selected(&document, index, &cut);
        let out = &mut accepted.body;
        out.extend_from_slice(b"{\"query\":");
        write_string(&query, out);
        if let Some(name) = operation.name {
            out.extend_from_slice(b",\"operationName\":");
            write_string(name, out);
        }
        let mut variables = Vec::new();
        for (at, variable) in operation.variables.iter().enumerate() {
            let value = request.variables.and_then(|values| values.get(variable.name));
            let mut written = Vec::new();
            match (&self.schema, checked.as_ref().and_then(|checked| checked.variables.get(at)), value) {
                (Some(schema), Some(ty), Some(value)) => value::coerce(schema, value, ty, &mut written)?,
                (Some(_), Some(ty), None) if ty.required() && variable.default.is_none() => {
                    return Err(invalid("variable-missing"));
                }
                (_, _, Some(value)) => write(value, &mut written),
                (_, _, None) => continue,
            }
            strings(value, self.text)?;
            if used.contains(variable.name) {
                variables.push(if variables.is_empty() { b'{' } else { b',' });
                write_string(variable.name, &mut variables);
                variables.push(b':');
                variables.extend_from_slice(&written);
            }
        }
        if !variables.is_empty() {
            variables.push(b'}');
            out.extend_from_slice(b",\"variables\":");
            out.extend_from_slice(&variables);
        }
        out.push(b'}');
        accepted.operations.push((operation.kind, operation.name.map(Box::from)));
        accepted.cut +=
            checked.as_ref().map_or(0, |checked| u32::try_from(checked.cut.len()).unwrap_or(u32::MAX));
        accepted.answering.forms.push(checked.map(|checked| checked.form));
        Ok(())
    }

    /// How many selections measuring looks at for the first operation of a document: the law is that it is never more
    /// than the document has. Nothing where there is nothing to measure.
    pub fn steps(&self, query: &str) -> Option<u64> {
        let tokens = lexer::lex(query, &self.limits).ok()?;
        let document = parse::document(&tokens).ok()?;
        measure::structure(&document, &self.limits).ok()?;
        let variables = document.operations.first().map_or(&[][..], |operation| &operation.variables);
        let given = Given { variables, values: None };
        measure::operation(&document, 0, &given, self.schema.as_ref(), &self.limits)
            .ok()
            .map(|weight| weight.steps)
    }

    /// Walks an answer and writes it anew.
    ///
    /// # Errors
    /// Why it does not leave; holds nothing of it.
    pub fn release(&self, answering: &Answering, tape: &Tape) -> Result<Written, &'static str> {
        let root = tape.root();
        let mut out = Written::default();
        let walk = |form: Option<&Option<Form>>, node, out: &mut Written| {
            let form = form.and_then(Option::as_ref);
            answer::Walk { schema: self.schema.as_ref(), form, keep_codes: &self.keep_codes }
                .response(node, out)
        };
        // A server may refuse a whole batch with one object.
        if !answering.batch || root.kind() != crate::json::Kind::Array {
            walk(answering.forms.first(), root, &mut out)?;
            return Ok(out);
        }
        if usize::try_from(root.len()).unwrap_or(usize::MAX) != answering.forms.len() {
            return Err("graphql-batch-of-another-length");
        }
        out.body.push(b'[');
        for (at, (node, form)) in root.items().zip(&answering.forms).enumerate() {
            if at > 0 {
                out.body.push(b',');
            }
            walk(Some(form), node, &mut out)?;
        }
        out.body.push(b']');
        Ok(out)
    }
}

/// Every string of a variable, names included (contract.md § 10).
fn strings(value: Option<crate::json::Node<'_>>, rules: TextRules) -> Judged<()> {
    let Some(value) = value else { return Ok(()) };
    if let Some(string) = value.as_str() {
        return text::check(string, rules).map_err(|_| invalid("text"));
    }
    for (name, value) in value.members() {
        text::check(name, rules).map_err(|_| invalid("text"))?;
        strings(Some(value), rules)?;
    }
    value.items().try_for_each(|item| strings(Some(item), rules))
}
