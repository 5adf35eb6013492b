//! The compiler: every object of the document is read by exactly one reader.

use std::collections::{HashMap, HashSet};

use portcullis_core::head::Method;

use super::annotations;
use super::contract::{Contract, Route};
use super::extension::{self, Extension, Level, Principal, Source};
use super::keys::Kind;
use super::media;
use super::operation::Operation;
use super::parameter::{self, Field, Parameter};
use super::paths::{Piece, Template, Tree};
use super::reader::Reader;
use super::security::{self, Security, SecurityScheme};
use super::servers;
use super::shape;
use super::terms::{OnError, ReadOnly, RequestTerms, ResponseTerms, Terms, Unknown, Word as _};
use crate::document::{Document, Finding, Key, Node, Span, Value, Version};
use crate::param::query::Names;
use crate::param::style::Style;
use crate::response::NeverLeak;
use crate::schema::{Compiler, Guards, Options};
use crate::violation::In;

/// Which options schemas are compiled under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Manner {
    unknown: u8,
    strip_read_only: bool,
    shapeless: bool,
}

impl Manner {
    fn of_parts(self) -> Self {
        let unknown = if self.unknown == Unknown::Allow as u8 { self.unknown } else { Unknown::Reject as u8 };
        Self { unknown, strip_read_only: false, ..self }
    }
}

pub(crate) struct Compile<'d> {
    reader: Reader<'d>,
    /// Of bodies.
    compilers: HashMap<Manner, Compiler<'d>>,
    /// Of parameters and forms: what they do not declare is told apart before the schema, so theirs never strip.
    parts: HashMap<Manner, Compiler<'d>>,
    cached: HashMap<(*const Node, Manner), Option<Parameter>>,
    tree: Tree<Route>,
    operations: Vec<Operation>,
    by_id: HashMap<Box<str>, u32>,
    schemes: Vec<SecurityScheme>,
    /// An error above the operations.
    fatal: bool,
}

const METHODS: [(&str, Method); 7] = [
    ("get", Method::Get),
    ("head", Method::Head),
    ("post", Method::Post),
    ("put", Method::Put),
    ("patch", Method::Patch),
    ("delete", Method::Delete),
    ("options", Method::Options),
];

impl<'d> Compile<'d> {
    pub(crate) fn new(document: &'d Document, terms: &'d Terms) -> Self {
        Self {
            reader: Reader::new(document, terms),
            compilers: HashMap::new(),
            parts: HashMap::new(),
            cached: HashMap::new(),
            tree: Tree::new(),
            operations: Vec::new(),
            by_id: HashMap::new(),
            schemes: Vec::new(),
            fatal: false,
        }
    }

    /// The contract, whether an error stands above the operations, and all findings.
    pub(crate) fn run(mut self) -> (Option<Contract>, bool, Vec<Finding>) {
        self.reader.findings.extend(self.reader.document.findings.iter().cloned());
        let Some(root) = self.reader.document.bundle.root() else { return (None, true, Vec::new()) };
        let base = self.root(root);
        for compiler in self.compilers.values_mut().chain(self.parts.values_mut()) {
            self.reader.findings.extend(compiler.take_findings());
        }
        let known: HashSet<Span> = self.reader.findings.iter().map(|finding| finding.at).collect();
        self.reader.findings.extend(super::coverage::unread(self.reader.document, &known));
        // The schemas answer once their compiler is gone.
        self.compilers.clear();
        self.parts.clear();
        for route in self.tree.ends_mut() {
            route.finish(&self.operations, self.reader.terms.head_from_get);
        }
        let contract = base.map(|base_path| Contract {
            base_path,
            operations: self.operations,
            by_id: self.by_id,
            tree: self.tree,
            schemes: self.schemes,
        });
        (contract, self.fatal, self.reader.findings)
    }

    fn root(&mut self, root: &'d Node) -> Option<Box<str>> {
        let before = self.reader.errors();
        super::keys::check(root, Kind::Root, self.reader.version(), &mut self.reader.findings);
        annotations::root(&mut self.reader, root);
        self.dialect(root);
        let base = servers::base_path(&mut self.reader, root);
        let components = root.get("components").and_then(|node| self.reader.object(node, Kind::Components));
        self.schemes = security::schemes(&mut self.reader, components);
        let schemes = std::mem::take(&mut self.schemes);
        let security =
            security::security(&mut self.reader, root, &schemes, &|name| declared(components, name));
        self.schemes = schemes;
        let (level, principal) = extension::root(&mut self.reader, root);
        if let Some((key, _)) = root.entry("webhooks") {
            self.reader.remark("callbacks-ignored", key.at, "calls that the upstream makes do not pass here");
        }
        self.fatal = self.reader.errors() > before || base.is_none();

        let outer = Outer { security: security.unwrap_or_default(), level, principal, components };
        let base = base?;
        let paths = root.get("paths");
        if paths.is_none() {
            let message = "the document has no `paths`: nothing is let in";
            self.reader.warning("paths-missing", root.at, message);
        }
        for (key, item) in self.reader.members(root, "paths") {
            if !key.text.starts_with("x-") {
                self.path(&base, key, item, &outer);
            }
        }
        annotations::components(&mut self.reader, components);
        Some(base.text)
    }

    /// `jsonSchemaDialect` of 3.1.
    fn dialect(&mut self, root: &'d Node) {
        const KNOWN: [&str; 3] = [
            "https://json-schema.org/draft/2020-12/schema",
            "https://spec.openapis.org/oas/3.1/dialect/base",
            "https://spec.openapis.org/oas/3.1/dialect/2024-11-10",
        ];
        if self.reader.version() == Version::V31
            && let Some(node) = root.get("jsonSchemaDialect")
            && !node.as_str().is_some_and(|text| KNOWN.contains(&text.trim_end_matches('#')))
        {
            self.reader.error(
                "dialect-unsupported",
                node.at,
                "schemas are JSON Schema 2020-12 or the OpenAPI base dialect",
            );
        }
    }

    fn path(&mut self, base: &servers::Base, key: &'d Key, item: &'d Node, outer: &Outer<'d>) {
        let template = match Template::parse(&key.text) {
            Ok(template) => template,
            Err(reason) => {
                let message = format!("no request can be `{}`: {reason}", key.text);
                self.reader.error("path-unroutable", key.at, message);
                return;
            }
        };
        let before = self.reader.errors();
        self.reader.met_broken = false;
        let Some(item) = self.reader.object(item, Kind::PathItem) else { return };
        let level = extension::path_item(&mut self.reader, item);
        servers::same(&mut self.reader, item, base);
        if let Some((key, _)) = item.entry("trace") {
            self.reader.remark("method-never", key.at, "TRACE is never let in");
        }
        let broken = self.reader.errors() > before || self.reader.met_broken;
        let shared: Vec<&'d Node> = self.reader.items(item, "parameters").iter().collect();
        let full = template.under(&base.template);
        for (name, method) in METHODS {
            let Some((at, node)) = item.entry(name) else { continue };
            if self.operations.len() >= self.reader.document.bounds.operations {
                if !std::mem::replace(&mut self.fatal, true) {
                    let most = self.reader.document.bounds.operations;
                    let message = format!("the document has more than {most} operations");
                    self.reader.error("document-bounds", at.at, message);
                }
                return;
            }
            let place =
                Place { key, at, base, template: &template, method, shared: &shared, level: &level, broken };
            let Some(operation) = self.operation(node, &place, outer) else { continue };
            self.enter(operation, &full, method);
        }
    }

    /// Puts an operation into the table. Two that are one path, or have one id, are both in error.
    fn enter(&mut self, mut operation: Operation, full: &Template, method: Method) {
        let index = u32::try_from(self.operations.len()).unwrap_or(u32::MAX);
        let taken = match self.tree.entry(full, Route::default) {
            Some(route) => match route.methods.get_mut(usize::from(method as u8)) {
                Some(place @ None) => {
                    *place = Some(index);
                    None
                }
                place => place.and_then(|other| *other),
            },
            None => None,
        };
        if let Some(other) = self.at(taken) {
            let message = format!(
                "`{method} {}` and `{}` are one path: nothing says which of them a request is",
                operation.template, other.template
            );
            self.both("route-ambiguous", operation.path_at, message, taken, &mut operation);
        }
        let namesake = self.by_id.get(&operation.id).copied();
        if namesake.is_some() {
            let message = format!("another operation is called `{}`, too", operation.id);
            self.both("operation-id-duplicate", operation.at, message, namesake, &mut operation);
        } else {
            self.by_id.insert(operation.id.clone(), index);
        }
        self.operations.push(operation);
    }

    fn at(&self, index: Option<u32>) -> Option<&Operation> {
        index.and_then(|i| usize::try_from(i).ok()).and_then(|i| self.operations.get(i))
    }

    /// An error that is about two operations.
    fn both(
        &mut self,
        code: &'static str,
        at: Span,
        message: String,
        other: Option<u32>,
        own: &mut Operation,
    ) {
        let line = self.at(other).map_or(0, |other| other.at.line);
        let finding = Finding::error(code, at, message).help(format!("the other is on line {line}"));
        self.reader.findings.push(finding);
        if self.reader.terms.on_error == OnError::CloseOperation {
            own.closed = true;
            let other = other.and_then(|i| usize::try_from(i).ok()).and_then(|i| self.operations.get_mut(i));
            if let Some(other) = other {
                other.closed = true;
            }
        }
    }

    fn operation(&mut self, node: &'d Node, place: &Place<'_, 'd>, outer: &Outer<'d>) -> Option<Operation> {
        let before = self.reader.errors();
        self.reader.met_broken = false;
        let Some(node) = self.reader.object(node, Kind::Operation) else {
            // It is no object, but it is in the table, closed.
            return None;
        };
        let id: Box<str> = match self.reader.text(node, "operationId") {
            Some(id) if !id.is_empty() => id.into(),
            _ => format!("{} {}", place.method, place.key.text).into(),
        };
        servers::same(&mut self.reader, node, place.base);
        annotations::external_docs(&mut self.reader, node);
        if let Some((key, _)) = node.entry("callbacks") {
            self.reader.remark("callbacks-ignored", key.at, "calls that the upstream makes do not pass here");
        }
        let schemes = std::mem::take(&mut self.schemes);
        let components = outer.components;
        let security =
            security::security(&mut self.reader, node, &schemes, &|name| declared(components, name));
        self.schemes = schemes;
        let (level, extension) = extension::operation(&mut self.reader, node, &outer.principal);
        let (request, response) = self.merge(&id, place.at.at, &[&level, place.level, &outer.level]);
        let manner = Manner {
            unknown: request.unknown as u8,
            strip_read_only: request.read_only == ReadOnly::Strip,
            shapeless: self.reader.terms.shapeless.iter().any(|l| l.covers(&id)),
        };
        let (parameters, names) = self.parameters(node, place, &id, manner);
        let parts = compiler(&mut self.parts, &self.reader, manner.of_parts());
        let bodies = compiler(&mut self.compilers, &self.reader, manner);
        self.reader.patch_of =
            [&level, place.level, &outer.level].into_iter().find_map(|level| level.patch_of.clone());
        let body = node.get("requestBody").and_then(|body| {
            media::request_body(&mut self.reader, bodies, parts, body, &id, request.unknown)
        });
        let responses = media::responses(&mut self.reader, bodies, node, &id);
        self.bound(node, &extension, &parameters);
        let failed = self.reader.errors() > before || self.reader.met_broken || place.broken;
        let close = failed && self.reader.terms.on_error == OnError::CloseOperation;
        Some(Operation {
            closed: close || self.reader.terms.closed.iter().any(|closed| **closed == *id),
            id,
            method: place.method,
            template: place.key.text.clone(),
            at: place.at.at,
            path_at: place.key.at,
            tags: self.reader.items(node, "tags").iter().filter_map(Node::as_str).map(Box::from).collect(),
            deprecated: self.reader.flag(node, "deprecated").unwrap_or(false),
            security: security.unwrap_or_else(|| outer.security.clone()),
            parameters,
            body,
            responses,
            extension,
            request,
            response,
            parsed: place.template.clone(),
            names,
        })
    }

    /// The parameters of an operation: its own before those of its path item, by name and place.
    fn parameters(
        &mut self,
        node: &'d Node,
        place: &Place<'_, 'd>,
        id: &str,
        manner: Manner,
    ) -> (Vec<Parameter>, Names) {
        let own: Vec<&'d Node> = self.reader.items(node, "parameters").iter().collect();
        let mut parameters: Vec<Parameter> = Vec::new();
        for (i, node) in place.shared.iter().chain(&own).enumerate() {
            let overridden =
                i < place.shared.len() && own.iter().any(|other| self.same_parameter(node, other));
            if overridden {
                continue;
            }
            let Some(parameter) = self.parameter(node, id, manner) else { continue };
            let twice = parameters
                .iter()
                .any(|known| known.location == parameter.location && known.name == parameter.name);
            if twice {
                let message = format!("the parameter `{}` stands here twice", parameter.name);
                self.reader.error("parameter-ambiguous", node.at, message);
                continue;
            }
            parameters.push(parameter);
        }
        if parameters.len() > self.reader.document.bounds.parameters {
            let message =
                format!("an operation has at most {} parameters", self.reader.document.bounds.parameters);
            self.reader.error("document-bounds", node.at, message);
        }
        self.variables(place, &mut parameters, manner);
        let mut names = Names::default();
        for (index, parameter) in (0u16..).zip(&parameters) {
            if parameter.location == In::Query {
                if media::claim(&mut names, parameter, index).is_err() {
                    let message =
                        format!("a name that `{}` claims in the query is claimed twice", parameter.name);
                    self.reader.error("parameter-ambiguous", parameter.at, message);
                }
                if parameter.takes_rest() {
                    let message = format!("`{}` takes every undeclared query parameter", parameter.name);
                    self.reader.warning("object-open", parameter.at, message);
                }
            }
        }
        (parameters, names)
    }

    /// Gives each path parameter its variable; each needs the other.
    fn variables(&mut self, place: &Place<'_, 'd>, parameters: &mut Vec<Parameter>, manner: Manner) {
        let mixed = |variable: &str| {
            place.template.segments.iter().any(|piece| match piece {
                Piece::Variables { literals, names, .. } => {
                    names.iter().any(|name| &**name == variable)
                        && literals.iter().any(|literal| !literal.is_empty())
                }
                Piece::Literal { .. } => false,
            })
        };
        for (slot, variable) in (0u16..).zip(place.template.variables()) {
            let declared = parameters.iter_mut().find(|p| p.location == In::Path && *p.name == *variable);
            match declared {
                Some(parameter) => {
                    parameter.slot = slot;
                    if mixed(variable) && parameter.style != Style::Simple {
                        let message =
                            format!("`style: {}` is not defined within a segment", parameter.style.text());
                        let at = parameter.at;
                        self.reader.error("style-undefined", at, message);
                    }
                }
                None => {
                    let message =
                        format!("nothing says what `{{{variable}}}` is: any text of 1 to 256 characters");
                    self.reader.warning("path-parameter-undeclared", place.key.at, message);
                    let compiler = compiler(&mut self.parts, &self.reader, manner.of_parts());
                    let made = Field {
                        name: variable,
                        schema: any_segment(),
                        json: false,
                        location: In::Path,
                        style: Style::Simple,
                        explode: false,
                        at: place.key.at,
                    };
                    if let Some(mut parameter) = parameter::field(&mut self.reader, compiler, made) {
                        parameter.required = true;
                        parameter.slot = slot;
                        parameters.push(parameter);
                    }
                }
            }
        }
        for parameter in parameters.iter().filter(|p| p.location == In::Path) {
            if !place.template.variables().any(|variable| *variable == *parameter.name) {
                let message = format!("`{}` has no variable `{{{}}}`", place.key.text, parameter.name);
                self.reader.error("path-parameter-unused", parameter.at, message);
            }
        }
    }

    fn parameter(&mut self, node: &'d Node, id: &str, manner: Manner) -> Option<Parameter> {
        let target = self.reader.document.bundle.follow(node).unwrap_or(node);
        let key = (std::ptr::from_ref(target), manner);
        // A loosening of one operation makes a parameter of its own.
        let own = self
            .reader
            .terms
            .secret_parameter
            .iter()
            .chain(&self.reader.terms.reserved_header)
            .any(|l| l.covers(id));
        if !own && let Some(Some(known)) = self.cached.get(&key) {
            return Some(known.clone());
        }
        let before = self.reader.errors();
        let compiler = compiler(&mut self.parts, &self.reader, manner.of_parts());
        let parameter = parameter::parameter(&mut self.reader, compiler, node, id);
        if !own && self.reader.errors() == before {
            self.cached.insert(key, parameter.clone());
        }
        parameter
    }

    /// Whether two Parameter objects have one name and place.
    fn same_parameter(&self, a: &Node, b: &Node) -> bool {
        let bundle = &self.reader.document.bundle;
        match (bundle.follow(a), bundle.follow(b)) {
            (Ok(a), Ok(b)) => ["name", "in"].iter().all(|key| {
                let (a, b) = (a.get(key).and_then(Node::as_str), b.get(key).and_then(Node::as_str));
                a.is_some() && a == b
            }),
            _ => false,
        }
    }

    /// Every bound value is declared, and one that can be compared.
    fn bound(&mut self, node: &'d Node, extension: &Extension, parameters: &[Parameter]) {
        for rule in &extension.binds {
            match &rule.from {
                Source::Parameter { location, name } => {
                    let declared = parameters.iter().find(|parameter| {
                        parameter.location == *location
                            && (parameter.name == *name
                                || (*location == In::Header && parameter.name.eq_ignore_ascii_case(name)))
                    });
                    match declared {
                        Some(parameter) if parameter.is_scalar() => {}
                        Some(_) => {
                            let message = format!("`{name}` is no single value, so it equals none");
                            self.reader.error("bind-undeclared", rule.at, message);
                        }
                        None => {
                            let message =
                                format!("this operation has no {} parameter `{name}`", location.text());
                            self.reader.error("bind-undeclared", rule.at, message);
                        }
                    }
                }
                Source::Body { pointer } => {
                    let bundle = &self.reader.document.bundle;
                    let body = node.get("requestBody").map(|body| bundle.follow(body).unwrap_or(body));
                    let content = body.and_then(|body| body.get("content")).and_then(Node::as_object);
                    let content = content.unwrap_or_default();
                    let tokens: Vec<&str> = pointer.split('/').skip(1).collect();
                    let declared = |media: &Node| {
                        media.get("schema").is_some_and(|s| shape::declares(bundle, s, &tokens, 0))
                    };
                    if content.is_empty() || !content.iter().all(|(_, media)| declared(media)) {
                        let message = format!("a body of this operation has no `{pointer}`");
                        self.reader.error("bind-undeclared", rule.at, message);
                    }
                }
            }
        }
    }

    /// `portcullis.yaml` and the document: the innermost word of the document, which may only tighten.
    fn merge(&mut self, id: &str, at: Span, levels: &[&Level]) -> (RequestTerms, ResponseTerms) {
        let terms = self.reader.terms;
        let (mut request, mut response) = (terms.request, terms.response);
        macro_rules! meet {
            ($target:expr, $field:ident, $name:literal) => {
                if let Some((value, at)) = levels.iter().find_map(|level| level.$field) {
                    if value > $target {
                        parameter::loosens(&mut self.reader, at, $name, $name, $target.word());
                    } else {
                        $target = value;
                    }
                }
            };
        }
        meet!(request.max_bytes, max_bytes, "request.max_bytes");
        meet!(request.max_depth, max_depth, "request.max_depth");
        meet!(request.max_values, max_values, "request.max_values");
        meet!(request.unknown, unknown, "request.unknown");
        meet!(request.read_only, read_only, "request.read_only");
        meet!(request.text, text, "request.text");
        meet!(response.mode, mode, "response.mode");
        meet!(response.unknown, response_unknown, "response.unknown");
        meet!(response.errors, errors, "response.errors");
        meet!(response.max_bytes, response_bytes, "response.max_bytes");
        request.unknown_parameters = request.unknown;
        if let Some((value, at)) = levels.iter().find_map(|level| level.require_length) {
            if request.require_length && !value {
                let says = request.require_length.word();
                parameter::loosens(
                    &mut self.reader,
                    at,
                    "request.require_length",
                    "request.require_length",
                    says,
                );
            }
            request.require_length |= value;
        }
        // Loosenings are by operation, and only in portcullis.yaml.
        if terms.unknown_properties.iter().any(|loosened| loosened.covers(id)) {
            request.unknown = Unknown::Allow;
        }
        request.verbatim |= terms.verbatim.iter().any(|loosened| loosened.covers(id));
        if request.verbatim && (request.unknown == Unknown::Strip || request.read_only == ReadOnly::Strip) {
            let message = format!("`{id}` forwards its body as it came, so nothing can be stripped from it");
            self.reader.findings.push(
                Finding::error("verbatim-strips", at, message)
                    .also(terms.place("request.unknown"))
                    .help("loosen `verbatim_body` for operations that reject what is undeclared"),
            );
        }
        if terms.unknown_parameters.iter().any(|loosened| loosened.covers(id)) {
            request.unknown_parameters = Unknown::Allow;
        }
        (request, response)
    }
}

/// What stands above an operation.
struct Outer<'d> {
    security: Security,
    level: Level,
    principal: Principal,
    components: Option<&'d Node>,
}

/// Where an operation stands.
struct Place<'p, 'd> {
    key: &'d Key,
    at: &'d Key,
    base: &'p servers::Base,
    template: &'p Template,
    method: Method,
    shared: &'p [&'d Node],
    level: &'p Level,
    broken: bool,
}

impl Route {
    /// `Allow`, and HEAD from GET.
    fn finish(&mut self, operations: &[Operation], head_from_get: bool) {
        let get = self.methods.get(usize::from(Method::Get as u8)).copied().flatten();
        if let Some(head) = self.methods.get_mut(usize::from(Method::Head as u8))
            && head_from_get
            && head.is_none()
        {
            *head = get;
        }
        let open = |index: &Option<u32>| {
            index
                .and_then(|i| usize::try_from(i).ok())
                .and_then(|i| operations.get(i))
                .is_some_and(|o| !o.closed)
        };
        let allowed = Method::ALL.iter().zip(&self.methods).filter(|(_, index)| open(index));
        self.allow = allowed.map(|(method, _)| method.text()).collect::<Vec<_>>().join(", ");
    }
}

fn compiler<'c, 'd>(
    compilers: &'c mut HashMap<Manner, Compiler<'d>>,
    reader: &Reader<'d>,
    manner: Manner,
) -> &'c mut Compiler<'d> {
    compilers.entry(manner).or_insert_with(|| {
        let pagination = reader.terms.request.pagination;
        let mut options = Options::default();
        options.strip_unknown = manner.unknown == Unknown::Strip as u8;
        options.allow_unknown = manner.unknown == Unknown::Allow as u8;
        options.strip_read_only = manner.strip_read_only;
        options.lenient_integers = reader.terms.lenient_integers;
        options.shapeless = manner.shapeless;
        options.patterns = reader.document.bounds.patterns;
        options.schemas = reader.document.bounds.schemas;
        options.guards = Guards { page: pagination.maximum, offset: pagination.offset };
        options.text = reader.terms.request.text;
        if !reader.terms.url_policies.is_empty() {
            options.url_policies = reader.terms.url_policies.as_slice().into();
        }
        options.never_leak =
            std::sync::Arc::new(NeverLeak::with(reader.terms.never_leak.iter().map(String::as_str)));
        Compiler::new(&reader.document.bundle, reader.version(), options)
    })
}

/// Whether `components` names a security scheme, readable or not.
fn declared(components: Option<&Node>, name: &str) -> bool {
    components.and_then(|c| c.get("securitySchemes")).is_some_and(|schemes| schemes.get(name).is_some())
}

/// What a variable without a parameter may be.
fn any_segment() -> &'static Node {
    use std::sync::OnceLock;
    static SCHEMA: OnceLock<Node> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let node = |value| Node { at: Span::default(), value };
        let member = |key: &str, value| (Key { text: key.into(), at: Span::default() }, node(value));
        node(Value::Object(vec![
            member("type", Value::String("string".into())),
            member("minLength", Value::Number("1".into())),
            member("maxLength", Value::Number("256".into())),
        ]))
    })
}
