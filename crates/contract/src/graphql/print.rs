//! A document written again: what goes to the upstream, and what safelists compare.

use super::ast::{Directive, Document, Fragment, Selection, Type, Value, Variable};
use crate::json::write_string;
use std::collections::BTreeSet;

/// The alias under which the place of a field that the caller may not see is marked (authorization.md § 8). Clients
/// may not use it.
pub(super) const RESERVED: &str = "_pcz";

/// The whole document, in the fewest bytes: documents that differ in ignored characters alone print the same.
pub(super) fn whole(document: &Document<'_>) -> String {
    let mut printer = Printer::new(document, &|_| None);
    for operation in 0..document.operations.len() {
        printer.operation(operation, &|_| true);
    }
    for fragment in &document.fragments {
        printer.fragment(fragment);
    }
    printer.finish()
}

/// One operation with the fragments that it reaches and the variables that it uses. A field for which `cut` gives a
/// number is not sent: `__typename` marks its place. Also says which variables were used.
pub(super) fn selected<'t>(
    document: &Document<'t>,
    operation: usize,
    cut: &dyn Fn(u32) -> Option<u32>,
) -> (String, BTreeSet<&'t str>) {
    // The first pass finds out what is used, the second writes it.
    let mut probe = Printer::new(document, cut);
    probe.operation(operation, &|_| true);
    probe.reached();
    let used = probe.used;
    let mut printer = Printer::new(document, cut);
    printer.operation(operation, &|name| used.contains(name));
    printer.reached();
    (printer.finish(), used)
}

struct Printer<'d, 't> {
    document: &'d Document<'t>,
    cut: &'d dyn Fn(u32) -> Option<u32>,
    out: Vec<u8>,
    used: BTreeSet<&'t str>,
    spreads: Vec<&'t str>,
}

impl<'d, 't> Printer<'d, 't> {
    fn new(document: &'d Document<'t>, cut: &'d dyn Fn(u32) -> Option<u32>) -> Self {
        Self { document, cut, out: Vec::with_capacity(256), used: BTreeSet::new(), spreads: Vec::new() }
    }

    fn finish(self) -> String {
        String::from_utf8(self.out).unwrap_or_default()
    }

    fn text(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn operation(&mut self, index: usize, declares: &dyn Fn(&str) -> bool) {
        let Some(operation) = self.document.operations.get(index) else { return };
        self.text(operation.kind.word());
        if let Some(name) = operation.name {
            self.text(" ");
            self.text(name);
        }
        let mut begun = false;
        for variable in operation.variables.iter().filter(|variable| declares(variable.name)) {
            self.text(if begun { "," } else { "(" });
            begun = true;
            self.variable(variable);
        }
        if begun {
            self.text(")");
        }
        // What default values and directives of the definition hold is constant.
        self.directives(&operation.directives);
        self.selection(&operation.selection);
    }

    /// The fragments that were spread, each once.
    fn reached(&mut self) {
        let mut next = 0;
        while let Some(name) = self.spreads.get(next).copied() {
            next += 1;
            if let Some(fragment) = self.document.fragments.iter().find(|fragment| fragment.name == name) {
                self.fragment(fragment);
            }
        }
    }

    fn fragment(&mut self, fragment: &'d Fragment<'t>) {
        self.text("fragment ");
        self.text(fragment.name);
        self.text(" on ");
        self.text(fragment.on);
        self.directives(&fragment.directives);
        self.selection(&fragment.selection);
    }

    fn variable(&mut self, variable: &Variable<'t>) {
        self.text("$");
        self.text(variable.name);
        self.text(":");
        self.ty(&variable.ty);
        if let Some(default) = &variable.default {
            self.text("=");
            self.value(default);
        }
        self.directives(&variable.directives);
    }

    fn ty(&mut self, ty: &Type<'t>) {
        let required = match ty {
            Type::Named(name, required) => {
                self.text(name);
                *required
            }
            Type::List(inner, required) => {
                self.text("[");
                self.ty(inner);
                self.text("]");
                *required
            }
        };
        if required {
            self.text("!");
        }
    }

    fn selection(&mut self, selection: &[Selection<'t>]) {
        self.text("{");
        for (at, selection) in selection.iter().enumerate() {
            if at > 0 {
                self.text(" ");
            }
            match selection {
                Selection::Field(field) => {
                    if let Some(number) = (self.cut)(field.id) {
                        self.text(&format!("{RESERVED}{number}:__typename"));
                        self.directives(&field.directives);
                        continue;
                    }
                    if let Some(alias) = field.alias {
                        self.text(alias);
                        self.text(":");
                    }
                    self.text(field.name);
                    self.arguments(&field.arguments);
                    self.directives(&field.directives);
                    if !field.selection.is_empty() {
                        self.selection(&field.selection);
                    }
                }
                Selection::Spread { name, directives } => {
                    self.text("...");
                    self.text(name);
                    if !self.spreads.contains(name) {
                        self.spreads.push(name);
                    }
                    self.directives(directives);
                }
                Selection::Inline { on, directives, selection } => {
                    self.text("...");
                    if let Some(on) = on {
                        self.text("on ");
                        self.text(on);
                    }
                    self.directives(directives);
                    self.selection(selection);
                }
            }
        }
        self.text("}");
    }

    fn directives(&mut self, directives: &[Directive<'t>]) {
        for directive in directives {
            self.text("@");
            self.text(directive.name);
            self.arguments(&directive.arguments);
        }
    }

    fn arguments(&mut self, arguments: &[(&'t str, Value<'t>)]) {
        for (at, (name, value)) in arguments.iter().enumerate() {
            self.text(if at == 0 { "(" } else { "," });
            self.text(name);
            self.text(":");
            self.value(value);
        }
        if !arguments.is_empty() {
            self.text(")");
        }
    }

    fn value(&mut self, value: &Value<'t>) {
        match value {
            Value::Null => self.text("null"),
            Value::Variable(name) => {
                self.used.insert(name);
                self.text("$");
                self.text(name);
            }
            Value::Int(text) | Value::Float(text) | Value::Enum(text) => self.text(text),
            // JSON's escapes are GraphQL's.
            Value::Str(text) => write_string(text, &mut self.out),
            Value::Bool(true) => self.text("true"),
            Value::Bool(false) => self.text("false"),
            Value::List(items) => {
                self.text("[");
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        self.text(",");
                    }
                    self.value(item);
                }
                self.text("]");
            }
            Value::Object(members) => {
                self.text("{");
                for (at, (name, value)) in members.iter().enumerate() {
                    if at > 0 {
                        self.text(",");
                    }
                    self.text(name);
                    self.text(":");
                    self.value(value);
                }
                self.text("}");
            }
        }
    }
}
