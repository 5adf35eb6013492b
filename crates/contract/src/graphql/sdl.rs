//! From SDL to a schema: parsed, then linked.

use std::collections::HashMap;

use portcullis_core::finding::{Severity, did_you_mean};

use super::ast::{Directive, OperationKind, Type, Value};
use super::lexer::{Lexeme, lex};
use super::limits::Limits;
use super::parse::Parser;
use super::refused::{Judged, malformed};
use super::schema::{
    AccessRule, DirectiveDef, FieldDef, InputDef, ListRule, OnDenied, Scalar, Schema, Shape, Ty, TypeDef,
    TypeId,
};
use crate::document::{Finding, Span};

/// What every schema has (GraphQL § 3.5, § 3.13, § 4.2).
const BUILT_IN: &str = "
scalar Int scalar Float scalar String scalar Boolean scalar ID
directive @skip(if: Boolean!) on FIELD | FRAGMENT_SPREAD | INLINE_FRAGMENT
directive @include(if: Boolean!) on FIELD | FRAGMENT_SPREAD | INLINE_FRAGMENT
type __Schema { description: String types: [__Type!]! queryType: __Type! mutationType: __Type
  subscriptionType: __Type directives: [__Directive!]! }
type __Type { kind: __TypeKind! name: String description: String specifiedByURL: String isOneOf: Boolean
  fields(includeDeprecated: Boolean = false): [__Field!] interfaces: [__Type!] possibleTypes: [__Type!]
  enumValues(includeDeprecated: Boolean = false): [__EnumValue!]
  inputFields(includeDeprecated: Boolean = false): [__InputValue!] ofType: __Type }
enum __TypeKind { SCALAR OBJECT INTERFACE UNION ENUM INPUT_OBJECT LIST NON_NULL }
type __Field { name: String! description: String args(includeDeprecated: Boolean = false): [__InputValue!]!
  type: __Type! isDeprecated: Boolean! deprecationReason: String }
type __InputValue { name: String! description: String type: __Type! defaultValue: String isDeprecated: Boolean!
  deprecationReason: String }
type __EnumValue { name: String! description: String isDeprecated: Boolean! deprecationReason: String }
type __Directive { name: String! description: String locations: [__DirectiveLocation!]!
  args(includeDeprecated: Boolean = false): [__InputValue!]! isRepeatable: Boolean! }
enum __DirectiveLocation { QUERY MUTATION SUBSCRIPTION FIELD FRAGMENT_DEFINITION FRAGMENT_SPREAD INLINE_FRAGMENT
  VARIABLE_DEFINITION SCHEMA SCALAR OBJECT FIELD_DEFINITION ARGUMENT_DEFINITION INTERFACE UNION ENUM ENUM_VALUE
  INPUT_OBJECT INPUT_FIELD_DEFINITION }
";

/// Our directive; it is read here and says nothing to the upstream.
const OURS: &str = "portcullis";

pub(super) fn compile(
    text: &str,
    span: &dyn Fn(usize, usize) -> Span,
) -> Result<(Schema, Vec<Finding>), Vec<Finding>> {
    let mut raw = Raw::default();
    let mut findings = Vec::new();
    let tokens = lex(BUILT_IN, &Limits::SCHEMA).unwrap_or_default();
    // Our own text: that it parses is a test's to say.
    let _ = Reader { parser: Parser::new(&tokens), raw: &mut raw, built_in: true }.all();
    let tokens = match lex(text, &Limits::SCHEMA) {
        Ok(tokens) => tokens,
        Err(stopped) => {
            let at = span(stopped.at, stopped.at + 1);
            let message = format!("the schema stops being GraphQL here: {}", stopped.refused.reason);
            return Err(vec![Finding::error("graphql-syntax", at, message)]);
        }
    };
    let mut reader = Reader { parser: Parser::new(&tokens), raw: &mut raw, built_in: false };
    if let Err(refused) = reader.all() {
        let at = usize::try_from(reader.parser.at()).unwrap_or(0);
        let message = format!("the schema stops being GraphQL here: {}", refused.reason);
        return Err(vec![Finding::error("graphql-syntax", span(at, at + 1), message)]);
    }
    let schema = Linker { raw: &raw, findings: &mut findings, span, rules: Vec::new() }.link();
    if findings.iter().any(|finding| finding.severity == Severity::Error) {
        return Err(findings);
    }
    Ok((schema, findings))
}

#[derive(Default)]
struct Raw<'t> {
    types: Vec<RawType<'t>>,
    extensions: Vec<RawType<'t>>,
    directives: Vec<RawDirective<'t>>,
    roots: Vec<(OperationKind, &'t str, u32)>,
    explicit_roots: bool,
}

struct RawType<'t> {
    name: &'t str,
    at: u32,
    what: What,
    interfaces: Vec<(&'t str, u32)>,
    fields: Vec<RawField<'t>>,
    /// Enum values or union members.
    names: Vec<(&'t str, u32)>,
    directives: Vec<Directive<'t>>,
    built_in: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Scalar,
    Object,
    Interface,
    Union,
    Enum,
    Input,
}

struct RawField<'t> {
    name: &'t str,
    at: u32,
    ty: Type<'t>,
    arguments: Vec<RawField<'t>>,
    has_default: bool,
    directives: Vec<Directive<'t>>,
}

struct RawDirective<'t> {
    name: &'t str,
    at: u32,
    arguments: Vec<RawField<'t>>,
    repeatable: bool,
    locations: Vec<&'t str>,
}

struct Reader<'t, 'k, 'r> {
    parser: Parser<'t, 'k>,
    raw: &'r mut Raw<'t>,
    built_in: bool,
}

impl<'t> Reader<'t, '_, '_> {
    fn all(&mut self) -> Judged<()> {
        while self.parser.peek().is_some() {
            self.description();
            let extends = self.parser.take_word("extend");
            let at = self.parser.at();
            let what = match self.parser.name()? {
                "schema" => {
                    self.schema()?;
                    continue;
                }
                "directive" if !extends => {
                    self.directive(at)?;
                    continue;
                }
                "scalar" => What::Scalar,
                "type" => What::Object,
                "interface" => What::Interface,
                "union" => What::Union,
                "enum" => What::Enum,
                "input" => What::Input,
                _ => return Err(malformed("definition-unknown")),
            };
            let made = self.definition(what)?;
            if extends { self.raw.extensions.push(made) } else { self.raw.types.push(made) }
        }
        Ok(())
    }

    fn description(&mut self) {
        if matches!(self.parser.peek(), Some(Lexeme::Str(_))) {
            self.parser.skip();
        }
    }

    fn schema(&mut self) -> Judged<()> {
        self.parser.directives(true)?;
        if !self.parser.take(b'{') {
            return Ok(());
        }
        self.raw.explicit_roots = true;
        while !self.parser.take(b'}') {
            self.description();
            let at = self.parser.at();
            let kind = match self.parser.name()? {
                "query" => OperationKind::Query,
                "mutation" => OperationKind::Mutation,
                "subscription" => OperationKind::Subscription,
                _ => return Err(malformed("root-unknown")),
            };
            self.parser.expect(b':')?;
            let name = self.parser.name()?;
            self.raw.roots.push((kind, name, at));
        }
        Ok(())
    }

    fn directive(&mut self, at: u32) -> Judged<()> {
        self.parser.expect(b'@')?;
        let name = self.parser.name()?;
        let arguments = if self.parser.take(b'(') { self.fields(b')')? } else { Vec::new() };
        let repeatable = self.parser.take_word("repeatable");
        self.parser.word("on")?;
        let mut locations = Vec::new();
        self.parser.take(b'|');
        loop {
            locations.push(self.parser.name()?);
            if !self.parser.take(b'|') {
                break;
            }
        }
        self.raw.directives.push(RawDirective { name, at, arguments, repeatable, locations });
        Ok(())
    }

    fn definition(&mut self, what: What) -> Judged<RawType<'t>> {
        let at = self.parser.at();
        let name = self.parser.name()?;
        let mut made = RawType {
            name,
            at,
            what,
            interfaces: Vec::new(),
            fields: Vec::new(),
            names: Vec::new(),
            directives: Vec::new(),
            built_in: self.built_in,
        };
        if matches!(what, What::Object | What::Interface) && self.parser.take_word("implements") {
            self.parser.take(b'&');
            loop {
                let at = self.parser.at();
                made.interfaces.push((self.parser.name()?, at));
                // The form of old documents lists them without `&`.
                if !self.parser.take(b'&') && !matches!(self.parser.peek(), Some(Lexeme::Name(_))) {
                    break;
                }
            }
        }
        made.directives = self.parser.directives(true)?;
        match what {
            What::Scalar => {}
            What::Object | What::Interface | What::Input => {
                if self.parser.take(b'{') {
                    made.fields = self.fields(b'}')?;
                }
            }
            What::Enum => {
                if self.parser.take(b'{') {
                    while !self.parser.take(b'}') {
                        self.description();
                        let at = self.parser.at();
                        made.names.push((self.parser.name()?, at));
                        self.parser.directives(true)?;
                    }
                }
            }
            What::Union => {
                if self.parser.take(b'=') {
                    self.parser.take(b'|');
                    loop {
                        let at = self.parser.at();
                        made.names.push((self.parser.name()?, at));
                        if !self.parser.take(b'|') {
                            break;
                        }
                    }
                }
            }
        }
        Ok(made)
    }

    fn fields(&mut self, end: u8) -> Judged<Vec<RawField<'t>>> {
        let mut list = Vec::new();
        while !self.parser.take(end) {
            self.description();
            let at = self.parser.at();
            let name = self.parser.name()?;
            let arguments = if self.parser.take(b'(') { self.fields(b')')? } else { Vec::new() };
            self.parser.expect(b':')?;
            let ty = self.parser.ty()?;
            let has_default = self.parser.take(b'=');
            if has_default {
                self.parser.value(true)?;
            }
            let directives = self.parser.directives(true)?;
            list.push(RawField { name, at, ty, arguments, has_default, directives });
        }
        Ok(list)
    }
}

struct Linker<'t, 'r, 'f> {
    raw: &'r Raw<'t>,
    findings: &'f mut Vec<Finding>,
    span: &'f dyn Fn(usize, usize) -> Span,
    rules: Vec<AccessRule>,
}

/// What `@portcullis` says at one place.
#[derive(Default)]
struct Ours {
    cost: Option<u64>,
    list: Option<ListRule>,
    rule: Option<u32>,
}

impl<'t> Linker<'t, '_, '_> {
    fn link(mut self) -> Schema {
        let mut by_name: HashMap<Box<str>, TypeId> = HashMap::new();
        for (raw, id) in self.raw.types.iter().zip(0u32..) {
            if raw.name.starts_with("__") && !raw.built_in {
                self.error(raw.at, raw.name, format!("`{}` is a name of GraphQL's own", raw.name));
            }
            if by_name.insert(raw.name.into(), id).is_some() {
                self.error(raw.at, raw.name, format!("the type `{}` is defined twice", raw.name));
            }
        }
        for raw in &self.raw.extensions {
            let base = by_name.get(raw.name).and_then(|id| self.raw_type(*id));
            match base.map(|base| base.what) {
                Some(what) if what == raw.what => {}
                _ => self.error(raw.at, raw.name, format!("there is no such type `{}` to extend", raw.name)),
            }
        }
        let mut types = Vec::new();
        let mut type_rules: Vec<Vec<u32>> = Vec::new();
        for raw in &self.raw.types {
            let (made, rules) = self.ty(raw, &by_name);
            types.push(made);
            type_rules.push(rules);
        }
        self.possible(&mut types, &by_name);
        self.implementations(&types, &by_name);
        let directives = self.directives(&by_name);
        let roots = self.roots(&by_name, &types);
        if let Some(query) = roots.first().copied().flatten() {
            introspectable(&mut types, query, &by_name);
        }
        let mut schema = Schema { types, by_name, roots, directives, rules: std::mem::take(&mut self.rules) };
        self.spread_rules(&mut schema, &type_rules);
        schema
    }

    fn raw_type(&self, id: TypeId) -> Option<&'_ RawType<'t>> {
        self.raw.types.get(usize::try_from(id).ok()?)
    }

    fn error(&mut self, at: u32, word: &str, message: String) {
        let start = usize::try_from(at).unwrap_or(0);
        let finding = Finding::error("graphql-schema", (self.span)(start, start + word.len()), message);
        self.findings.push(finding);
    }

    fn with_extensions(&self, raw: &'_ RawType<'t>) -> Vec<&'_ RawType<'t>>
    where
        't: 't,
    {
        self.raw.extensions.iter().filter(|extension| extension.name == raw.name).collect()
    }

    fn ty(&mut self, raw: &RawType<'t>, names: &HashMap<Box<str>, TypeId>) -> (TypeDef, Vec<u32>) {
        let raws = self.raw;
        let parts: Vec<&RawType<'t>> = std::iter::once(raw)
            .chain(raws.extensions.iter().filter(|extension| extension.name == raw.name))
            .collect();
        let mut fields: Vec<FieldDef> = Vec::new();
        let mut by_name = HashMap::new();
        let mut values: Vec<Box<str>> = Vec::new();
        let mut rules = Vec::new();
        let mut one_of = false;
        for part in parts {
            let ours = self.ours(&part.directives, part.at, part.name);
            rules.extend(ours.rule);
            if ours.cost.is_some() || ours.list.is_some() {
                self.error(part.at, part.name, "`cost` and `list` belong to fields".to_owned());
            }
            one_of |= part.directives.iter().any(|directive| directive.name == "oneOf");
            for field in &part.fields {
                let output = part.what != What::Input;
                let Some(made) = self.field(field, names, output) else { continue };
                if field.name.starts_with("__") && !part.built_in {
                    self.error(field.at, field.name, format!("`{}` is a name of GraphQL's own", field.name));
                }
                let index = u32::try_from(fields.len()).unwrap_or(u32::MAX);
                if by_name.insert(Box::from(field.name), index).is_some() {
                    self.error(field.at, field.name, format!("the field `{}` is defined twice", field.name));
                }
                fields.push(made);
            }
            for (name, at) in &part.names {
                if part.what == What::Enum && matches!(*name, "true" | "false" | "null") {
                    self.error(*at, name, format!("`{name}` is no value of an enum"));
                }
                values.push((*name).into());
            }
        }
        let shape = match raw.what {
            What::Scalar => Shape::Scalar(match raw.name {
                "Int" => Scalar::Int,
                "Float" => Scalar::Float,
                "String" => Scalar::String,
                "Boolean" => Scalar::Boolean,
                "ID" => Scalar::Id,
                _ => Scalar::Custom,
            }),
            What::Object => Shape::Object,
            What::Interface => Shape::Interface,
            What::Union => Shape::Union,
            What::Enum => Shape::Enum(values),
            What::Input => Shape::Input(one_of),
        };
        let empty = match &shape {
            Shape::Object | Shape::Interface | Shape::Input(_) => fields.is_empty(),
            Shape::Enum(values) => values.is_empty(),
            Shape::Union => {
                raw.names.is_empty() && self.with_extensions(raw).iter().all(|e| e.names.is_empty())
            }
            Shape::Scalar(_) => false,
        };
        if empty {
            self.error(raw.at, raw.name, format!("the type `{}` has nothing in it", raw.name));
        }
        (TypeDef { name: raw.name.into(), shape, fields, by_name, possible: Vec::new() }, rules)
    }

    fn field(
        &mut self,
        raw: &RawField<'t>,
        names: &HashMap<Box<str>, TypeId>,
        output: bool,
    ) -> Option<FieldDef> {
        let ty = self.link_ty(&raw.ty, raw, names)?;
        self.direction(ty.named(), raw, output);
        let mut arguments: Vec<InputDef> = Vec::new();
        for argument in &raw.arguments {
            let Some(ty) = self.link_ty(&argument.ty, argument, names) else { continue };
            self.direction(ty.named(), argument, false);
            if arguments.iter().any(|known| *known.name == *argument.name) {
                self.error(argument.at, argument.name, format!("`{}` is an argument twice", argument.name));
            }
            self.not_here(argument);
            let is_int =
                matches!(ty, Ty::Named(id, _) if self.raw_type(id).is_some_and(|ty| ty.name == "Int"));
            let has_default = argument.has_default;
            arguments.push(InputDef { name: argument.name.into(), ty, has_default, is_int });
        }
        let mut ours = Ours::default();
        if output {
            ours = self.ours(&raw.directives, raw.at, raw.name);
            if let Some(list) = &ours.list {
                for name in &list.slicing {
                    if !arguments.iter().any(|argument| argument.name == *name) {
                        let message = format!("`{}` has no argument `{name}` to slice by", raw.name);
                        self.error(raw.at, raw.name, message);
                    }
                }
            }
            if let Some(rule) = ours.rule.and_then(|rule| self.rules.get(usize::try_from(rule).ok()?))
                && rule.on_denied == OnDenied::Null
                && ty.required()
            {
                let message = format!("`{}` is never null, so `on_denied: null` cannot hold", raw.name);
                self.error(raw.at, raw.name, message);
            }
        } else {
            self.not_here(raw);
        }
        Some(FieldDef {
            name: raw.name.into(),
            ty,
            arguments,
            has_default: raw.has_default,
            cost: ours.cost,
            list: ours.list,
            rules: ours.rule.into_iter().collect(),
        })
    }

    fn not_here(&mut self, raw: &RawField<'t>) {
        if raw.directives.iter().any(|directive| directive.name == OURS) {
            let message = format!("`@{OURS}` on the input `{}` is not known", raw.name);
            self.error(raw.at, raw.name, message);
        }
    }

    fn direction(&mut self, id: TypeId, raw: &RawField<'t>, output: bool) {
        let Some(what) = self.raw_type(id).map(|ty| ty.what) else { return };
        let fits = match what {
            What::Scalar | What::Enum => true,
            What::Input => !output,
            What::Object | What::Interface | What::Union => output,
        };
        if !fits {
            let side = if output { "an output" } else { "an input" };
            self.error(raw.at, raw.name, format!("the type of `{}` is not {side} type", raw.name));
        }
    }

    fn link_ty(
        &mut self,
        ty: &Type<'t>,
        raw: &RawField<'t>,
        names: &HashMap<Box<str>, TypeId>,
    ) -> Option<Ty> {
        match ty {
            Type::List(inner, required) => {
                Some(Ty::List(Box::new(self.link_ty(inner, raw, names)?), *required))
            }
            Type::Named(name, required) => match names.get(*name) {
                Some(id) => Some(Ty::Named(*id, *required)),
                None => {
                    self.error(raw.at, raw.name, format!("`{}` is of the unknown type `{name}`", raw.name));
                    None
                }
            },
        }
    }

    fn possible(&mut self, types: &mut [TypeDef], names: &HashMap<Box<str>, TypeId>) {
        let mut possible: Vec<Vec<TypeId>> = vec![Vec::new(); types.len()];
        let mut add = |of: TypeId, id: TypeId| {
            if let Some(list) = possible.get_mut(usize::try_from(of).unwrap_or(usize::MAX)) {
                list.push(id);
            }
        };
        let mut wrong: Vec<(u32, &str, String)> = Vec::new();
        let all = self.raw.types.iter().chain(&self.raw.extensions);
        for raw in all {
            let Some(id) = names.get(raw.name).copied() else { continue };
            if raw.what == What::Object {
                add(id, id);
                for (name, at) in &raw.interfaces {
                    match names.get(*name) {
                        Some(interface) => add(*interface, id),
                        None => wrong.push((*at, name, format!("there is no interface `{name}`"))),
                    }
                }
            }
            if raw.what == What::Union {
                for (name, at) in &raw.names {
                    match names.get(*name) {
                        Some(member) if self.raw_type(*member).is_some_and(|ty| ty.what == What::Object) => {
                            add(id, *member);
                        }
                        _ => wrong.push((*at, name, format!("`{name}` is no object type"))),
                    }
                }
            }
        }
        for (at, word, message) in wrong {
            self.error(at, word, message);
        }
        for (ty, mut list) in types.iter_mut().zip(possible) {
            list.sort_unstable();
            list.dedup();
            ty.possible = list;
        }
    }

    /// What implements an interface has its fields: else a rule on the one would not reach the other.
    fn implementations(&mut self, types: &[TypeDef], names: &HashMap<Box<str>, TypeId>) {
        let raws = self.raw;
        let def = |id: TypeId| types.get(usize::try_from(id).ok()?);
        for raw in raws.types.iter().chain(&raws.extensions) {
            let Some(own) = names.get(raw.name).and_then(|id| def(*id)) else { continue };
            for (name, at) in &raw.interfaces {
                let Some(interface) = names.get(*name).and_then(|id| def(*id)) else { continue };
                if interface.shape != Shape::Interface {
                    self.error(*at, name, format!("`{name}` is no interface"));
                }
                for field in &interface.fields {
                    if !own.by_name.contains_key(&field.name) {
                        let message =
                            format!("`{}` implements `{name}` without its field `{}`", raw.name, field.name);
                        self.error(raw.at, raw.name, message);
                    }
                }
            }
        }
    }

    fn directives(&mut self, names: &HashMap<Box<str>, TypeId>) -> Vec<DirectiveDef> {
        let raws = self.raw;
        let mut made: Vec<DirectiveDef> = Vec::new();
        for raw in &raws.directives {
            if made.iter().any(|known| *known.name == *raw.name) {
                // A schema may define what GraphQL has built in; the built-in definition stands.
                if !matches!(raw.name, "skip" | "include") {
                    self.error(raw.at, raw.name, format!("the directive `@{}` is defined twice", raw.name));
                }
                continue;
            }
            let mut arguments = Vec::new();
            for argument in &raw.arguments {
                let Some(ty) = self.link_ty(&argument.ty, argument, names) else { continue };
                let has_default = argument.has_default;
                arguments.push(InputDef { name: argument.name.into(), ty, has_default, is_int: false });
            }
            made.push(DirectiveDef {
                name: raw.name.into(),
                arguments,
                repeatable: raw.repeatable,
                locations: raw.locations.iter().map(|location| Box::from(*location)).collect(),
            });
        }
        made
    }

    fn roots(&mut self, names: &HashMap<Box<str>, TypeId>, types: &[TypeDef]) -> [Option<TypeId>; 3] {
        let raws = self.raw;
        let mut roots = [None; 3];
        let is_object = |id: &TypeId| {
            types.get(usize::try_from(*id).unwrap_or(usize::MAX)).is_some_and(|ty| ty.shape == Shape::Object)
        };
        if raws.explicit_roots {
            for (kind, name, at) in &raws.roots {
                match (names.get(*name).copied().filter(is_object), roots.get_mut(*kind as usize)) {
                    (Some(id), Some(slot)) if slot.is_none() => *slot = Some(id),
                    _ => self.error(*at, kind.word(), format!("`{name}` cannot be the {} type", kind.word())),
                }
            }
        } else {
            let names =
                ["Query", "Mutation", "Subscription"].map(|name| names.get(name).copied().filter(is_object));
            roots = names;
        }
        if roots.first().copied().flatten().is_none() {
            self.error(0, "", "the schema has no query type".to_owned());
        }
        roots
    }

    /// What must be met to see a field: its own rules, those of the type that has it, of the type that it returns, and,
    /// through interfaces and unions, those of every object type that it may turn out to be.
    fn spread_rules(&mut self, schema: &mut Schema, of_types: &[Vec<u32>]) {
        let own = |id: TypeId| {
            of_types.get(usize::try_from(id).unwrap_or(usize::MAX)).map_or(&[][..], Vec::as_slice)
        };
        // The types of which a type is one: a rule on an interface holds for what implements it.
        let above = |schema: &Schema, id: TypeId| -> Vec<TypeId> {
            (0u32..)
                .zip(&schema.types)
                .filter(|(other, ty)| {
                    *other != id && ty.shape == Shape::Interface && ty.possible.binary_search(&id).is_ok()
                })
                .map(|(other, _)| other)
                .collect()
        };
        if schema.rules.is_empty() {
            return;
        }
        let whole = |schema: &Schema, id: TypeId| -> Vec<u32> {
            let mut rules = own(id).to_vec();
            let possible = schema.ty(id).map(|ty| ty.possible.clone()).unwrap_or_default();
            for object in possible {
                rules.extend_from_slice(own(object));
                above(schema, object).iter().for_each(|interface| rules.extend_from_slice(own(*interface)));
            }
            rules
        };
        let of_whole: Vec<Vec<u32>> = (0u32..).zip(&schema.types).map(|(id, _)| whole(schema, id)).collect();
        let whole =
            |id: TypeId| of_whole.get(usize::try_from(id).unwrap_or(usize::MAX)).cloned().unwrap_or_default();
        let mut spread: Vec<Vec<Vec<u32>>> = Vec::new();
        for (id, ty) in (0u32..).zip(&schema.types) {
            let mut fields = Vec::new();
            if !matches!(ty.shape, Shape::Object | Shape::Interface) {
                spread.push(fields);
                continue;
            }
            let related: Vec<TypeId> = ty
                .possible
                .iter()
                .flat_map(|object| above(schema, *object).into_iter().chain([*object]))
                .collect();
            for field in &ty.fields {
                let mut rules = field.rules.clone();
                rules.extend(whole(id));
                rules.extend(whole(field.ty.named()));
                for other in &related {
                    if let Some((_, same)) = schema.field(*other, &field.name) {
                        rules.extend_from_slice(&same.rules);
                        rules.extend(whole(same.ty.named()));
                    }
                }
                rules.sort_unstable();
                rules.dedup();
                fields.push(rules);
            }
            spread.push(fields);
        }
        for (ty, fields) in schema.types.iter_mut().zip(spread) {
            for (field, rules) in ty.fields.iter_mut().zip(fields) {
                field.rules = rules;
            }
        }
    }

    fn ours(&mut self, directives: &[Directive<'t>], at: u32, word: &str) -> Ours {
        let mut ours = Ours::default();
        for directive in directives {
            if directive.name != OURS {
                if did_you_mean(directive.name, [OURS]).is_some() {
                    self.error(at, word, format!("`@{}`: did you mean `@{OURS}`?", directive.name));
                }
                continue;
            }
            for (name, value) in &directive.arguments {
                let good = match *name {
                    "cost" => {
                        ours.cost = number(value);
                        ours.cost.is_some()
                    }
                    "list" => {
                        ours.list = list_rule(value);
                        ours.list.is_some()
                    }
                    "authorize" => match access_rule(value) {
                        Ok(rule) => {
                            ours.rule = u32::try_from(self.rules.len()).ok();
                            self.rules.push(rule);
                            true
                        }
                        Err(why) => {
                            self.error(at, word, format!("`authorize` at `{word}`: {why}"));
                            true
                        }
                    },
                    _ => false,
                };
                if !good {
                    let message = format!("`@{OURS}({name}: …)` at `{word}` is not understood");
                    self.error(at, word, message);
                }
            }
        }
        ours
    }
}

/// Introspection is a part of every query type; whether a caller may use it is asked elsewhere.
fn introspectable(types: &mut [TypeDef], query: TypeId, names: &HashMap<Box<str>, TypeId>) {
    let (Some(schema), Some(ty), Some(string)) =
        (names.get("__Schema"), names.get("__Type"), names.get("String"))
    else {
        return;
    };
    let Some(query) = types.get_mut(usize::try_from(query).unwrap_or(usize::MAX)) else { return };
    let name =
        InputDef { name: "name".into(), ty: Ty::Named(*string, true), has_default: false, is_int: false };
    for (field, ty, arguments) in
        [("__schema", Ty::Named(*schema, true), Vec::new()), ("__type", Ty::Named(*ty, false), vec![name])]
    {
        let index = u32::try_from(query.fields.len()).unwrap_or(u32::MAX);
        query.by_name.insert(field.into(), index);
        query.fields.push(FieldDef {
            name: field.into(),
            ty,
            arguments,
            has_default: false,
            cost: None,
            list: None,
            rules: Vec::new(),
        });
    }
}

fn number(value: &Value<'_>) -> Option<u64> {
    match value {
        Value::Int(text) => text.parse().ok(),
        _ => None,
    }
}

fn texts(value: &Value<'_>) -> Option<Vec<Box<str>>> {
    let Value::List(items) = value else { return None };
    items
        .iter()
        .map(|item| match item {
            Value::Str(text) => Some(Box::from(&**text)),
            _ => None,
        })
        .collect()
}

fn list_rule(value: &Value<'_>) -> Option<ListRule> {
    let Value::Object(members) = value else { return None };
    let mut made = ListRule { slicing: Vec::new(), assumed: 10, max: None };
    for (name, value) in members {
        match *name {
            "slicing" => made.slicing = texts(value)?,
            "assumed" => made.assumed = number(value)?,
            "max" => made.max = Some(number(value)?),
            _ => return None,
        }
    }
    Some(made)
}

fn access_rule(value: &Value<'_>) -> Result<AccessRule, String> {
    let Value::Object(members) = value else { return Err("write {scopes: [[\"…\"]]}".to_owned()) };
    let mut made = AccessRule { scopes: Vec::new(), on_denied: OnDenied::Reject };
    for (name, value) in members {
        match (*name, value) {
            ("scopes", Value::List(any)) => {
                made.scopes =
                    any.iter().map(texts).collect::<Option<_>>().ok_or("`scopes` is a list of lists")?;
            }
            ("on_denied", Value::Enum("reject")) => made.on_denied = OnDenied::Reject,
            ("on_denied", Value::Enum("null") | Value::Null) => made.on_denied = OnDenied::Null,
            _ => return Err(format!("`{name}` is not understood by this version")),
        }
    }
    if made.scopes.is_empty() || made.scopes.iter().any(Vec::is_empty) {
        // An empty list must not mean that everybody may.
        return Err("`scopes` names none".to_owned());
    }
    Ok(made)
}
