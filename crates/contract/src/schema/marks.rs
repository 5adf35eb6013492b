//! What a schema says about single strings of a request beside their form: rules about text (§ 10), and places whose
//! value is a URL that somebody will fetch (§ 12).

use std::collections::HashSet;

use super::check::Check;
use super::pattern::Matched;
use super::plan::{Id, Schema};
use crate::body::text;
use crate::duty::Duty;
use crate::json::{Kind, Node, Tape};
use crate::model::TextRule;
use crate::violation::{Place, Rule, Violation, shown};

/// What `x-portcullis` says of a string.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    pub(crate) text: Option<TextRule>,
    /// `url: {policy}`.
    pub(crate) policy: Option<Box<str>>,
    /// By its `format`.
    pub(crate) url: Option<UrlForm>,
}

/// Formats of URLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UrlForm {
    /// `uri`
    Uri,
    /// `uri-reference`
    Reference,
}

/// Names that say: somebody will go there (`egress.md`, section 5).
const GOES_THERE: [&str; 10] =
    ["url", "uri", "callback", "webhook", "redirect", "endpoint", "avatar", "image", "feed", "hook"];

/// Violations of the rules about text that single properties have, or that URLs have where text is `plain`.
pub(super) fn texts(schemas: &[Schema], id: Id, tape: &Tape, default: TextRule) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut walk = Walk::new(schemas, |schema, node, _| {
        let own = schema.marks.as_deref().and_then(|marks| marks.text).unwrap_or(default).min(default);
        let Some(value) = node.as_str().filter(|_| own == TextRule::Plain) else { return };
        let wrong = text::holds_markup(value.as_bytes())
            || (url_format(schema).is_some() && !text::plain_scheme(value));
        if wrong && found.len() < crate::violation::MOST {
            found.push(Violation::pointer(Rule::Markup, node.location(), "text: plain"));
        }
    });
    walk.value(id, tape.root(), "");
    found
}

/// The URLs at marked places and at those whose name and format say so. `name` is that of the whole value, where it
/// has one.
pub(super) fn urls(
    schemas: &[Schema],
    id: Id,
    tape: &Tape,
    name: &str,
    at: &dyn Fn(Node<'_>) -> Place,
) -> Vec<Duty> {
    let mut found: Vec<(u32, Duty)> = Vec::new();
    let mut walk = Walk::new(schemas, |schema, node, name| {
        let Some(value) = node.as_str() else { return };
        let policy = schema.marks.as_deref().and_then(|marks| marks.policy.as_ref());
        let format = url_format(schema);
        if policy.is_none() && !(format == Some(UrlForm::Uri) && goes_there(name)) {
            return;
        }
        // Of several that speak about one value the marked one counts.
        let known = found.iter().position(|(index, _)| *index == node.index());
        if let Some(known) = known {
            if policy.is_some()
                && let Some((_, Duty::Url { policy: slot, .. })) = found.get_mut(known)
            {
                slot.get_or_insert_with(|| policy.cloned().unwrap_or_default());
            }
            return;
        }
        if format == Some(UrlForm::Reference) && is_path(value) {
            return;
        }
        found.push((node.index(), Duty::Url { at: at(node), value: value.into(), policy: policy.cloned() }));
    });
    walk.value(id, tape.root(), name);
    found.into_iter().map(|(_, duty)| duty).collect()
}

/// A reference that stays on the host that it stands on: exactly one leading slash, and no backslash, which browsers
/// take for one.
pub(crate) fn is_path(value: &str) -> bool {
    value.starts_with('/') && !value.starts_with("//") && !value.contains('\\')
}

fn url_format(schema: &Schema) -> Option<UrlForm> {
    schema.marks.as_deref()?.url
}

pub(crate) fn goes_there(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    GOES_THERE.iter().any(|word| name.contains(word))
}

/// The place of a value, for duties.
pub(super) fn pointer(node: Node<'_>) -> Place {
    let location = node.location();
    Place::Pointer(location.split('/').map(shown).collect::<Vec<_>>().join("/"))
}

/// Visits each string with each schema that describes it. Of alternatives those that are valid, all of them when none
/// is: a body that is only reported has its URLs judged as well.
struct Walk<'s, F> {
    check: Check<'s>,
    seen: HashSet<(Id, u32)>,
    visit: F,
    depth: u32,
}

impl<'s, F: FnMut(&'s Schema, Node<'_>, &str)> Walk<'s, F> {
    fn new(schemas: &'s [Schema], visit: F) -> Self {
        Self { check: Check::remembering(schemas), seen: HashSet::new(), visit, depth: 0 }
    }

    fn value(&mut self, id: Id, node: Node<'_>, name: &str) {
        let Some(schema) = self.check.schema(id) else { return };
        if schema.always.is_some() || self.depth > 500 || !self.seen.insert((id, node.index())) {
            return;
        }
        self.depth += 1;
        match node.kind() {
            Kind::String => (self.visit)(schema, node, name),
            Kind::Object => self.members(schema, node),
            Kind::Array => {
                if let Some(rules) = schema.array.as_deref() {
                    for (i, item) in node.items().enumerate() {
                        let declared = rules.prefix.get(i).copied().or(rules.items).or(rules.unevaluated);
                        if let Some(id) = declared {
                            self.value(id, item, name);
                        }
                    }
                }
            }
            Kind::Null | Kind::Bool | Kind::Number => {}
        }
        self.composed(schema, node, name);
        self.depth -= 1;
    }

    fn members(&mut self, schema: &'s Schema, node: Node<'_>) {
        let Some(rules) = schema.object.as_deref() else { return };
        for (name, value) in node.members() {
            let mut covered = false;
            if let Some(id) = rules.find(name).and_then(|property| property.schema) {
                covered = true;
                self.value(id, value, name);
            }
            for (pattern, id) in &rules.patterns {
                if pattern.search(name) == Matched::Yes {
                    covered = true;
                    self.value(*id, value, name);
                }
            }
            for id in [rules.additional, rules.unevaluated].into_iter().flatten().filter(|_| !covered) {
                self.value(id, value, name);
            }
        }
        for (name, id) in &rules.dependent_schemas {
            if node.get(name).is_some() {
                self.value(*id, node, "");
            }
        }
    }

    fn composed(&mut self, schema: &'s Schema, node: Node<'_>, name: &str) {
        let Some(compose) = schema.compose.as_deref() else { return };
        for id in &compose.all {
            self.value(*id, node, name);
        }
        for branches in [&compose.any, &compose.one] {
            let valid: Vec<Id> = branches.iter().copied().filter(|id| self.check.valid(*id, node)).collect();
            for id in if valid.is_empty() { branches.clone() } else { valid } {
                self.value(id, node, name);
            }
        }
        if let Some(condition) = &compose.condition {
            let branch =
                if self.check.valid(condition.when, node) { condition.then } else { condition.otherwise };
            if let Some(id) = branch {
                self.value(id, node, name);
            }
        }
        if let Some(select) = &compose.select {
            let chosen = node.get(&select.property).and_then(Node::as_str).and_then(|v| select.branch(v));
            if let Some(id) = chosen {
                self.value(id, node, name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{self, Bundle, Version, parse};
    use crate::json::{Bounds, scan};
    use crate::schema::{CompiledSchema, Compiler, Options};

    fn schema(text: &str) -> CompiledSchema {
        let mut bundle = Bundle::default();
        bundle.add(0, "s.yaml", parse(0, "s.yaml", text.as_bytes(), &document::Bounds::default()).unwrap());
        let node = bundle.root().unwrap();
        let mut compiler = Compiler::new(&bundle, Version::V31, Options::default());
        compiler.request(node).unwrap_or_else(|f| panic!("{text}: {f:?}"))
    }

    fn urls(schema_text: &str, body: &str) -> Vec<(String, String, Option<String>)> {
        let tape = scan(body, &Bounds::default(), [1, 2]).unwrap();
        let duties = schema(schema_text).urls(&tape);
        let one = |duty| match duty {
            Duty::Url { at: Place::Pointer(at), value, policy } => {
                (at, value.into(), policy.map(|p| p.into()))
            }
            Duty::Url { .. } => panic!("a place in a body"),
        };
        duties.into_iter().map(one).collect()
    }

    const SPEC: &str = "
type: object
properties:
  callbackUrl: {type: string, format: uri}
  homepage: {type: string, format: uri}
  images: {type: array, items: {type: string, format: uri}}
  target: {type: string, x-portcullis: {url: {policy: webhook}}}
  Redirect_To: {type: string, format: uri-reference, x-portcullis: {url: {policy: public}}}
  next:
    oneOf:
      - {type: object, required: [mail], properties: {mail: {type: string}}}
      - {type: object, required: [hook], properties: {hook: {type: string, format: uri}}}
  more: {type: object, additionalProperties: {type: string, format: uri, x-portcullis: {url: {policy: webhook}}}}
";

    #[test]
    fn marked_places_and_those_that_say_so_are_found() {
        let found = urls(
            SPEC,
            r#"{"callbackUrl":"https://a.example/","homepage":"https://b.example/","images":["https://c.example/","https://d.example/"],
                "target":"x","Redirect_To":"/home","next":{"hook":"https://e.example/"},"more":{"q/r":"https://f.example/"}}"#,
        );
        let of = |at: &str, value: &str, policy: Option<&str>| {
            (at.to_owned(), value.to_owned(), policy.map(str::to_owned))
        };
        assert_eq!(
            found,
            [
                of("/callbackUrl", "https://a.example/", None),
                of("/images/0", "https://c.example/", None),
                of("/images/1", "https://d.example/", None),
                of("/target", "x", Some("webhook")),
                of("/next/hook", "https://e.example/", None),
                of("/more/q~1r", "https://f.example/", Some("webhook")),
            ]
        );
        for (value, asked) in
            [("/a", false), ("//evil.example/a", true), ("/\\\\evil", true), ("a/b", true), ("", true)]
        {
            let body = format!(r#"{{"Redirect_To":"{value}"}}"#);
            assert_eq!(urls(SPEC, &body).len(), usize::from(asked), "{value}");
        }
        assert!(urls(SPEC, r#"{"next":{"mail":"https://x.example"}}"#).is_empty());
    }

    #[test]
    fn text_rules_of_single_properties_hold_there_alone() {
        let schema = schema(
            "{type: object, properties: {title: {type: string, x-portcullis: {text: plain}}, code: {type: string}, \
             link: {type: string, format: uri, x-portcullis: {text: plain}}}}",
        );
        let wrong = |body: &str, default| {
            let tape = scan(body, &Bounds::default(), [1, 2]).unwrap();
            schema.texts(&tape, default).len()
        };
        assert_eq!(wrong(r#"{"title":"<b>","code":"<b>"}"#, TextRule::None), 1);
        assert_eq!(wrong(r#"{"title":"a < b","code":"<b>"}"#, TextRule::None), 0);
        assert_eq!(wrong(r#"{"title":"<script>","code":"<b>"}"#, TextRule::Plain), 2);
        for (link, count) in [("https://a.example/", 0), ("javascript:alert(1)", 1), ("data:text/html,x", 1)]
        {
            assert_eq!(wrong(&format!(r#"{{"link":"{link}"}}"#), TextRule::None), count, "{link}");
        }
    }
}
