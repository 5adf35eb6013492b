//! Schemas of the document, compiled: closed, in a direction, and asked about tapes.

mod bounds;
mod check;
mod close;
mod decimal;
mod format;
pub(crate) mod keywords;
mod locate;
mod marks;
mod over_tape;
mod pattern;
mod plan;
mod translate;

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use portcullis_core::finding::{Finding, Severity};

pub use bounds::Guards;

use self::check::Check;
use self::plan::{Id, Schema};
use self::translate::{Role, Translator};
use crate::document::{Bundle, Node, Version};
use crate::duty::Duty;
use crate::json::Tape;
use crate::model::TextRule;
use crate::response::{Kept, NeverLeak};
use crate::violation::{Place, Rule, Violation};

pub(crate) use self::check::{Check as Checker, has_type};
pub(crate) use self::pattern::Matched;
pub(crate) use self::plan::{Id as SchemaId, Schema as Rules};

/// Which way a body goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// From the client.
    Request,
    /// From the upstream.
    Response,
}

/// How schemas of one API are read. `Default` is the strictest.
#[derive(Clone, Debug)]
pub struct Options {
    /// `request.unknown: strip`: undeclared members are left out instead of refused.
    pub strip_unknown: bool,
    /// Loosening: undeclared members pass.
    pub allow_unknown: bool,
    /// `request.read_only: strip`: read-only members are left out instead of refused.
    pub strip_read_only: bool,
    /// Loosening `lenient_integers`: `1.0` is an integer.
    pub lenient_integers: bool,
    /// Loosening `shapeless`: a whole body may be any object.
    pub shapeless: bool,
    /// Distinct patterns of the API.
    pub patterns: usize,
    /// Schema objects of the documents that are reached.
    pub schemas: usize,
    /// Bounds by name.
    pub guards: Guards,
    /// Names that no response shows unless they are declared.
    pub never_leak: Arc<NeverLeak>,
    /// `request.default_text`: text of a property can be told apart more strictly, never less.
    pub text: TextRule,
    /// Policies for URLs that a document may name (`egress.policies`, `for: [url_field]`).
    pub url_policies: Arc<[Box<str>]>,
    /// `type` is inferred from other keywords (§ 2.2). Off for the vectors of JSON Schema only.
    infer: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            strip_unknown: false,
            allow_unknown: false,
            strip_read_only: false,
            lenient_integers: false,
            shapeless: false,
            patterns: 5_000,
            schemas: 20_000,
            guards: Guards::default(),
            never_leak: Arc::new(NeverLeak::default()),
            text: TextRule::None,
            url_policies: default_policies(),
            infer: true,
        }
    }
}

/// The built-in policies.
pub(crate) fn default_policies() -> Arc<[Box<str>]> {
    Arc::from(["webhook".into(), "public".into()])
}

/// Compiles the schemas of one API, on a thread whose stack is as deep as its documents may be (16 MiB). What several operations use is compiled once. The schemas it returned can be asked
/// once the compiler is dropped; before, everything is refused.
pub struct Compiler<'b> {
    translator: Translator<'b>,
    library: Arc<OnceLock<Library>>,
    told: HashSet<(&'static str, portcullis_core::finding::Span, String)>,
    findings: Vec<Finding>,
}

/// All schemas of one API.
struct Library {
    schemas: Vec<Schema>,
    never_leak: Arc<NeverLeak>,
}

impl<'b> Compiler<'b> {
    /// For the schemas of one document.
    pub fn new(bundle: &'b Bundle, version: Version, options: Options) -> Self {
        Self {
            translator: Translator::new(bundle, version, options),
            library: Arc::default(),
            told: HashSet::new(),
            findings: Vec::new(),
        }
    }

    /// The schema of a whole request body.
    ///
    /// # Errors
    /// All errors in it and in what it refers to.
    pub fn request(&mut self, schema: &'b Node) -> Result<CompiledSchema, Vec<Finding>> {
        self.compile(schema, Direction::Request, Role::Body)
    }

    /// The schema of a parameter, header, form field or another part of a request. `guarded` is its name where
    /// bounds by name apply (§ 9).
    ///
    /// # Errors
    /// All errors in it and in what it refers to.
    pub fn part(&mut self, schema: &'b Node, guarded: Option<&str>) -> Result<CompiledSchema, Vec<Finding>> {
        let bound = guarded.and_then(|name| self.translator.options.guards.maximum(name));
        self.compile(schema, Direction::Request, Role::Part(bound))
    }

    /// The schema of a whole response body.
    ///
    /// # Errors
    /// All errors in it and in what it refers to.
    pub fn response(&mut self, schema: &'b Node) -> Result<CompiledSchema, Vec<Finding>> {
        self.compile(schema, Direction::Response, Role::Body)
    }

    /// Warnings and remarks since the last call, each once.
    pub fn take_findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.findings)
    }

    /// How many definitions there are.
    #[cfg(test)]
    fn definitions(&self) -> usize {
        self.translator.definitions()
    }

    fn compile(
        &mut self,
        schema: &'b Node,
        direction: Direction,
        role: Role,
    ) -> Result<CompiledSchema, Vec<Finding>> {
        let open = self.translator.options.allow_unknown && direction == Direction::Request;
        let strips = self.translator.options.strip_unknown || self.translator.options.strip_read_only;
        let loose = self.translator.root(schema, direction, role, true);
        let (strict, kept) = match direction {
            Direction::Request if open => (loose, None),
            Direction::Request => {
                let closed = self.translator.root(schema, direction, role, false);
                let strict = if self.translator.options.strip_unknown { loose } else { closed };
                (strict, strips.then_some(loose))
            }
            Direction::Response => (self.translator.root(schema, direction, role, false), Some(loose)),
        };
        let roots = [Some(strict), kept];
        let found = self.translator.findings(roots.into_iter().flatten());
        let (errors, others): (Vec<Finding>, Vec<Finding>) =
            found.into_iter().partition(|finding| finding.severity == Severity::Error);
        for finding in others {
            if self.told.insert((finding.code, finding.at, finding.message.clone())) {
                self.findings.push(finding);
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(CompiledSchema {
            library: Arc::clone(&self.library),
            strict: self.translator.planned(strict),
            kept: kept.map(|kept| self.translator.planned(kept)),
            holds_data: direction == Direction::Request || self.translator.holds_data(strict),
            marked: direction == Direction::Request && self.translator.is_marked(strict),
        })
    }
}

impl Drop for Compiler<'_> {
    fn drop(&mut self) {
        let schemas = self.translator.take_schemas();
        let never_leak = Arc::clone(&self.translator.options.never_leak);
        // Set once, by the only compiler of this library.
        let _ = self.library.set(Library { schemas, never_leak });
    }
}

/// One compiled schema. Cheap to clone.
#[derive(Clone)]
pub struct CompiledSchema {
    library: Arc<OnceLock<Library>>,
    strict: Id,
    /// What `keep` walks: nothing closed. None where nothing is ever left out.
    kept: Option<Id>,
    /// Open or shapeless objects are part of it, so a valid body still has to be walked.
    holds_data: bool,
    /// Rules about single strings are part of it.
    marked: bool,
}

impl CompiledSchema {
    /// Whether a body (or a parameter's tape) keeps the contract. Linear in schema times value.
    pub fn is_valid(&self, tape: &Tape) -> bool {
        self.library
            .get()
            .is_some_and(|library| Check::new(&library.schemas).is_valid(self.strict, tape.root()))
    }

    /// The first rule that a part of a body breaks, standing for itself; `None` when it keeps them all.
    pub(crate) fn broken_at(&self, node: crate::json::Node<'_>) -> Option<Rule> {
        match self.library.get() {
            Some(library) => locate::first(&library.schemas, self.strict, node),
            None => Some(Rule::Schema),
        }
    }

    /// What is wrong and where: at most [`crate::violation::MOST`], and at least one when the value is not valid.
    /// Slower than [`Self::is_valid`], to be asked only after it; bounded in time as well.
    pub fn violations(&self, tape: &Tape) -> Vec<Violation> {
        match self.library.get() {
            Some(library) => locate::violations(&library.schemas, self.strict, tape),
            None => vec![Violation::pointer(
                Rule::Schema,
                String::new(),
                "the compiler of this schema is still at work",
            )],
        }
    }

    /// Violations of rules about the text of single properties (§ 10); `default` holds for all others, and is checked
    /// here for URLs alone.
    pub fn texts(&self, tape: &Tape, default: TextRule) -> Vec<Violation> {
        match self.library.get().filter(|_| self.marked) {
            Some(library) => marks::texts(&library.schemas, self.strict, tape, default),
            None => Vec::new(),
        }
    }

    /// The URLs in a body that somebody will fetch or be sent to (§ 12).
    pub fn urls(&self, tape: &Tape) -> Vec<Duty> {
        match self.library.get().filter(|_| self.marked) {
            Some(library) => marks::urls(&library.schemas, self.strict, tape, "", &marks::pointer),
            None => Vec::new(),
        }
    }

    pub(crate) const fn is_marked(&self) -> bool {
        self.marked
    }

    /// The same of a parameter's value.
    pub(crate) fn urls_of(&self, tape: &Tape, name: &str, at: &Place) -> Vec<Duty> {
        match self.library.get().filter(|_| self.marked) {
            Some(library) => marks::urls(&library.schemas, self.strict, tape, name, &|_| at.clone()),
            None => Vec::new(),
        }
    }

    /// What may be written of a body (§ 15.2). Everything, where this schema leaves nothing out.
    pub fn keep(&self, tape: &Tape) -> Kept {
        match (self.library.get(), self.kept) {
            (None, _) => Kept::nothing(),
            (Some(_), None) => Kept::everything(),
            (Some(library), Some(kept)) => {
                let whole = !self.holds_data && self.is_valid(tape);
                if whole {
                    return Kept::everything();
                }
                crate::response::keep(&library.schemas, kept, &library.never_leak, tape)
            }
        }
    }
}

impl std::fmt::Debug for CompiledSchema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompiledSchema").field("strict", &self.strict).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
