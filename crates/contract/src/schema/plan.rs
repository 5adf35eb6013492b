//! Schemas as they are asked: from translated 2020-12 to flat rules in one arena, all references resolved.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::decimal::Decimal;
use super::format::{Format, Formats, Meaning};
use super::marks::{Marks, UrlForm};
use super::pattern::{Pattern, Patterns};
use crate::model::TextRule;

/// Index of a schema in the arena.
pub(crate) type Id = u32;

/// The schema `false`.
pub(crate) const NEVER: Id = 0;
/// The schema `true`.
pub(crate) const ANY: Id = 1;

pub(crate) const NULL: u8 = 1;
pub(crate) const BOOLEAN: u8 = 2;
pub(crate) const NUMBER: u8 = 4;
pub(crate) const INTEGER: u8 = 8;
pub(crate) const STRING: u8 = 16;
pub(crate) const ARRAY: u8 = 32;
pub(crate) const OBJECT: u8 = 64;
pub(crate) const ALL: u8 = 127;

/// One schema. Keywords that are not there cost a null check.
#[derive(Debug)]
pub(crate) struct Schema {
    pub(crate) always: Option<bool>,
    pub(crate) types: u8,
    /// Shapeless: what it holds is data, not structure (§ 8.6).
    pub(crate) open: bool,
    /// Never written: read-only in a request, write-only in a response.
    pub(crate) dropped: bool,
    /// File and line of the schema in the documents.
    pub(crate) file: u16,
    pub(crate) line: u32,
    pub(crate) number: Option<Box<Numbers>>,
    pub(crate) string: Option<Box<Strings>>,
    pub(crate) values: Vec<Values>,
    pub(crate) array: Option<Box<Arrays>>,
    pub(crate) object: Option<Box<Objects>>,
    pub(crate) compose: Option<Box<Compose>>,
    pub(crate) marks: Option<Box<Marks>>,
}

#[derive(Debug, Default)]
pub(crate) struct Numbers {
    pub(crate) integer_form: bool,
    pub(crate) precise: bool,
    /// Finite as a single (`true`) or double.
    pub(crate) float: Option<bool>,
    pub(crate) minimum: Option<Bound>,
    pub(crate) maximum: Option<Bound>,
    pub(crate) above: Option<Bound>,
    pub(crate) below: Option<Bound>,
    pub(crate) multiple_of: Option<Decimal>,
}

/// A bound, twice: most values and bounds are small integers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) small: Option<i64>,
    pub(crate) exact: Decimal,
}

#[derive(Debug, Default)]
pub(crate) struct Strings {
    pub(crate) shortest: u64,
    pub(crate) longest: Option<u64>,
    pub(crate) pattern: Option<Arc<Pattern>>,
    pub(crate) format: Option<Format>,
}

/// `enum`, or `const` as an enum of one.
#[derive(Debug, Default)]
pub(crate) struct Values {
    /// Sorted.
    pub(crate) strings: Vec<Box<str>>,
    pub(crate) others: Vec<Value>,
}

#[derive(Debug, Default)]
pub(crate) struct Arrays {
    pub(crate) prefix: Vec<Id>,
    pub(crate) items: Option<Id>,
    pub(crate) fewest: u64,
    pub(crate) most: Option<u64>,
    pub(crate) unique: bool,
    pub(crate) contains: Option<Contains>,
    pub(crate) unevaluated: Option<Id>,
}

#[derive(Debug)]
pub(crate) struct Contains {
    pub(crate) schema: Id,
    pub(crate) fewest: u64,
    pub(crate) most: Option<u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Objects {
    /// Sorted by length, then text.
    pub(crate) properties: Vec<Property>,
    /// How many of `properties` are required.
    pub(crate) required: u32,
    pub(crate) patterns: Vec<(Arc<Pattern>, Id)>,
    pub(crate) additional: Option<Id>,
    pub(crate) names: Option<Id>,
    pub(crate) fewest: u64,
    pub(crate) most: Option<u64>,
    pub(crate) dependent_required: Vec<(Box<str>, Vec<Box<str>>)>,
    pub(crate) dependent_schemas: Vec<(Box<str>, Id)>,
    pub(crate) unevaluated: Option<Id>,
    /// Undeclared names must differ from declared ones by more than case (§ 6).
    pub(crate) fold: bool,
}

#[derive(Debug)]
pub(crate) struct Property {
    pub(crate) name: Box<str>,
    /// None when only `required` names it.
    pub(crate) schema: Option<Id>,
    pub(crate) required: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Compose {
    /// `$ref` and `allOf`.
    pub(crate) all: Vec<Id>,
    pub(crate) any: Vec<Id>,
    pub(crate) one: Vec<Id>,
    /// The branches of `one`, closed: which of several is meant.
    pub(crate) one_closed: Vec<Id>,
    pub(crate) not: Option<Id>,
    pub(crate) condition: Option<Condition>,
    pub(crate) select: Option<Select>,
}

#[derive(Debug)]
pub(crate) struct Condition {
    pub(crate) when: Id,
    pub(crate) then: Option<Id>,
    pub(crate) otherwise: Option<Id>,
}

/// A discriminator: one branch by the value of one property.
#[derive(Debug)]
pub(crate) struct Select {
    pub(crate) property: Box<str>,
    /// Sorted by value.
    pub(crate) branches: Vec<(Box<str>, Id)>,
}

impl Schema {
    pub(crate) fn always(value: bool) -> Self {
        Self { always: Some(value), ..Self::blank() }
    }

    fn blank() -> Self {
        Self {
            always: None,
            types: ALL,
            open: false,
            dropped: false,
            file: 0,
            line: 0,
            number: None,
            string: None,
            values: Vec::new(),
            array: None,
            object: None,
            compose: None,
            marks: None,
        }
    }

    /// The schemas that are asked about the same value.
    pub(crate) fn in_place(&self) -> impl Iterator<Item = Id> {
        let compose = self.compose.as_deref();
        let condition = compose.and_then(|c| c.condition.as_ref());
        let dependent = self.object.iter().flat_map(|o| o.dependent_schemas.iter().map(|(_, id)| *id));
        compose
            .into_iter()
            .flat_map(|c| {
                let selected = c.select.iter().flat_map(|s| s.branches.iter().map(|(_, id)| *id));
                c.all.iter().chain(&c.any).chain(&c.one).copied().chain(c.not).chain(selected)
            })
            .chain(
                condition.into_iter().flat_map(|c| [Some(c.when), c.then, c.otherwise].into_iter().flatten()),
            )
            .chain(dependent)
    }
}

impl Objects {
    pub(crate) fn find(&self, name: &str) -> Option<&Property> {
        self.properties.binary_search_by(|p| order(&p.name, name)).ok().and_then(|at| self.properties.get(at))
    }
}

impl Select {
    pub(crate) fn branch(&self, value: &str) -> Option<Id> {
        let at = self.branches.binary_search_by(|(v, _)| (**v).cmp(value)).ok()?;
        self.branches.get(at).map(|(_, id)| *id)
    }
}

fn order(a: &str, b: &str) -> std::cmp::Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// Fills the arena.
pub(crate) struct Planner {
    pub(crate) schemas: Vec<Schema>,
    /// The arena's index of each definition.
    pub(crate) definitions: Vec<Id>,
}

impl Planner {
    pub(crate) fn new() -> Self {
        Self { schemas: vec![Schema::always(false), Schema::always(true)], definitions: Vec::new() }
    }

    /// Room for the next definition, so that others may point to it.
    pub(crate) fn reserve(&mut self) -> Id {
        let id = self.schemas.len() as Id;
        self.schemas.push(Schema::always(false));
        self.definitions.push(id);
        id
    }

    /// Gives the definition its schema.
    pub(crate) fn define(&mut self, definition: u32, value: &Value, with: &mut (Patterns, Formats)) {
        let schema = match value {
            Value::Object(map) => self.schema(map, with),
            Value::Bool(value) => Schema::always(*value),
            _ => Schema::always(false),
        };
        let slot = self.definitions.get(definition as usize).copied();
        if let Some(slot) = slot.and_then(|id| self.schemas.get_mut(id as usize)) {
            *slot = schema;
        }
    }

    fn id(&mut self, value: &Value, with: &mut (Patterns, Formats)) -> Id {
        match value {
            Value::Bool(true) => ANY,
            Value::Object(map) => {
                if map.is_empty() {
                    return ANY;
                }
                if let (1, Some(Value::String(target))) = (map.len(), map.get("$ref")) {
                    return self.target(target);
                }
                let schema = self.schema(map, with);
                self.schemas.push(schema);
                self.schemas.len() as Id - 1
            }
            _ => NEVER,
        }
    }

    fn target(&self, reference: &str) -> Id {
        let index = reference.strip_prefix("#/$defs/").and_then(|index| index.parse::<usize>().ok());
        index.and_then(|index| self.definitions.get(index)).copied().unwrap_or(NEVER)
    }

    fn ids(&mut self, value: Option<&Value>, with: &mut (Patterns, Formats)) -> Vec<Id> {
        value.and_then(Value::as_array).into_iter().flatten().map(|v| self.id(v, with)).collect()
    }

    fn maybe(&mut self, value: Option<&Value>, with: &mut (Patterns, Formats)) -> Option<Id> {
        value.map(|v| self.id(v, with))
    }

    fn schema(&mut self, map: &Map<String, Value>, with: &mut (Patterns, Formats)) -> Schema {
        let mut schema = Schema::blank();
        if let Some(types) = map.get("type") {
            schema.types = types_of(types);
        }
        let flag = |name: &str| map.get(name) == Some(&Value::Bool(true));
        schema.open = flag("portcullisOpen");
        schema.dropped = flag("portcullisDrop");
        if let Some([file, line]) = map.get("portcullisAt").and_then(Value::as_array).map(Vec::as_slice) {
            schema.file = file.as_u64().unwrap_or(0) as u16;
            schema.line = line.as_u64().unwrap_or(0) as u32;
        }
        schema.number = numbers(map).map(Box::new);
        schema.string = strings(map, with).map(Box::new);
        for values in
            [map.get("enum").and_then(Value::as_array).cloned(), map.get("const").map(|v| vec![v.clone()])]
        {
            schema.values.extend(values.map(values_of));
        }
        schema.array = self.arrays(map, with).map(Box::new);
        schema.object = self.objects(map, with).map(Box::new);
        schema.compose = self.compose(map, with).map(Box::new);
        schema.marks = marks(map).map(Box::new);
        schema
    }

    fn arrays(&mut self, map: &Map<String, Value>, with: &mut (Patterns, Formats)) -> Option<Arrays> {
        const KEYWORDS: &[&str] =
            &["prefixItems", "items", "minItems", "maxItems", "uniqueItems", "contains", "unevaluatedItems"];
        KEYWORDS.iter().any(|k| map.contains_key(*k)).then(|| Arrays {
            prefix: self.ids(map.get("prefixItems"), with),
            items: self.maybe(map.get("items"), with),
            fewest: count(map, "minItems").unwrap_or(0),
            most: count(map, "maxItems"),
            unique: map.get("uniqueItems") == Some(&Value::Bool(true)),
            contains: map.get("contains").map(|v| Contains {
                schema: self.id(v, with),
                fewest: count(map, "minContains").unwrap_or(1),
                most: count(map, "maxContains"),
            }),
            unevaluated: self.maybe(map.get("unevaluatedItems"), with),
        })
    }

    fn objects(&mut self, map: &Map<String, Value>, with: &mut (Patterns, Formats)) -> Option<Objects> {
        const KEYWORDS: &[&str] = &[
            "properties",
            "required",
            "patternProperties",
            "additionalProperties",
            "propertyNames",
            "minProperties",
            "maxProperties",
            "dependentRequired",
            "dependentSchemas",
            "unevaluatedProperties",
        ];
        if !KEYWORDS.iter().any(|k| map.contains_key(*k)) {
            return None;
        }
        let members = |name: &str| map.get(name).and_then(Value::as_object).into_iter().flatten();
        let mut properties: Vec<Property> = members("properties")
            .map(|(name, v)| Property {
                name: name.as_str().into(),
                schema: Some(self.id(v, with)),
                required: false,
            })
            .collect();
        for name in names(map.get("required")) {
            match properties.iter_mut().find(|p| *p.name == *name) {
                Some(property) => property.required = true,
                None => properties.push(Property { name, schema: None, required: true }),
            }
        }
        properties.sort_by(|a, b| order(&a.name, &b.name));
        let mut patterns = Vec::new();
        for (source, v) in members("patternProperties") {
            let id = self.id(v, with);
            // The translator compiled it before; without it nothing would be covered, which is closed.
            if let Ok(pattern) = with.0.get(source) {
                patterns.push((pattern, id));
            }
        }
        Some(Objects {
            required: properties.iter().filter(|p| p.required).count() as u32,
            properties,
            patterns,
            additional: self.maybe(map.get("additionalProperties"), with),
            names: self.maybe(map.get("propertyNames"), with),
            fewest: count(map, "minProperties").unwrap_or(0),
            most: count(map, "maxProperties"),
            dependent_required: members("dependentRequired")
                .map(|(name, needs)| (name.as_str().into(), names(Some(needs))))
                .collect(),
            dependent_schemas: members("dependentSchemas")
                .map(|(name, v)| (name.as_str().into(), self.id(v, with)))
                .collect(),
            unevaluated: self.maybe(map.get("unevaluatedProperties"), with),
            fold: map.get("portcullisFold") == Some(&Value::Bool(true)),
        })
    }

    fn compose(&mut self, map: &Map<String, Value>, with: &mut (Patterns, Formats)) -> Option<Compose> {
        const KEYWORDS: &[&str] = &["$ref", "allOf", "anyOf", "oneOf", "not", "if", "portcullisSelect"];
        if !KEYWORDS.iter().any(|k| map.contains_key(*k)) {
            return None;
        }
        let mut all = Vec::new();
        all.extend(map.get("$ref").and_then(Value::as_str).map(|target| self.target(target)));
        all.extend(self.ids(map.get("allOf"), with));
        let select = map.get("portcullisSelect").and_then(Value::as_object).map(|select| {
            let mut branches: Vec<(Box<str>, Id)> = select
                .get("branches")
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
                .map(|(value, v)| (value.as_str().into(), self.id(v, with)))
                .collect();
            branches.sort();
            Select {
                property: select.get("property").and_then(Value::as_str).unwrap_or_default().into(),
                branches,
            }
        });
        Some(Compose {
            all,
            any: self.ids(map.get("anyOf"), with),
            one: self.ids(map.get("oneOf"), with),
            one_closed: self.ids(map.get("portcullisClosed"), with),
            not: self.maybe(map.get("not"), with),
            condition: map.get("if").map(|when| Condition {
                when: self.id(when, with),
                then: self.maybe(map.get("then"), with),
                otherwise: self.maybe(map.get("else"), with),
            }),
            select,
        })
    }
}

fn marks(map: &Map<String, Value>) -> Option<Marks> {
    let word = |name: &str| map.get(name).and_then(Value::as_str);
    let text = match word("portcullisText") {
        Some("plain") => Some(TextRule::Plain),
        Some("code") => Some(TextRule::Code),
        _ => None,
    };
    let policy = word("portcullisUrl").map(Box::from);
    let url = match word("format") {
        Some("uri") => Some(UrlForm::Uri),
        Some("uri-reference") => Some(UrlForm::Reference),
        _ => None,
    };
    (text.is_some() || policy.is_some() || url.is_some()).then_some(Marks { text, policy, url })
}

fn numbers(map: &Map<String, Value>) -> Option<Numbers> {
    const KEYWORDS: &[&str] =
        &["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "portcullisNumber"];
    if !KEYWORDS.iter().any(|k| map.contains_key(*k)) {
        return None;
    }
    let bound = |name: &str| {
        map.get(name).and_then(Value::as_number).map(|number| {
            let literal = number.to_string();
            Bound { small: literal.parse().ok(), exact: Decimal::parse(&literal) }
        })
    };
    let guard = map.get("portcullisNumber");
    let guarded = |name: &str| guard.and_then(|g| g.get(name)) == Some(&Value::Bool(true));
    Some(Numbers {
        integer_form: guarded("integer"),
        precise: guarded("precise"),
        float: guard.and_then(|g| g.get("float")).map(|single| single == "single"),
        minimum: bound("minimum"),
        maximum: bound("maximum"),
        above: bound("exclusiveMinimum"),
        below: bound("exclusiveMaximum"),
        multiple_of: bound("multipleOf").map(|step| step.exact),
    })
}

fn strings(map: &Map<String, Value>, with: &mut (Patterns, Formats)) -> Option<Strings> {
    let pattern = map.get("pattern").and_then(Value::as_str).and_then(|source| with.0.get(source).ok());
    let format = match map.get("format").and_then(Value::as_str).map(|name| with.1.get(name)) {
        Some(Meaning::Text(format)) => Some(format),
        _ => None,
    };
    let (shortest, longest) = (count(map, "minLength").unwrap_or(0), count(map, "maxLength"));
    (pattern.is_some() || format.is_some() || shortest > 0 || longest.is_some()).then_some(Strings {
        shortest,
        longest,
        pattern,
        format,
    })
}

fn values_of(values: Vec<Value>) -> Values {
    let mut found = Values::default();
    for value in values {
        match value {
            Value::String(text) => found.strings.push(text.into()),
            other => found.others.push(other),
        }
    }
    found.strings.sort();
    found
}

fn types_of(value: &Value) -> u8 {
    let one = |name: &str| match name {
        "null" => NULL,
        "boolean" => BOOLEAN,
        "number" => NUMBER,
        "integer" => INTEGER,
        "string" => STRING,
        "array" => ARRAY,
        "object" => OBJECT,
        _ => 0,
    };
    match value {
        Value::String(name) => one(name),
        Value::Array(names) => names.iter().filter_map(Value::as_str).fold(0, |bits, name| bits | one(name)),
        _ => 0,
    }
}

/// A whole number, also where it is written `2.0`.
fn count(map: &Map<String, Value>, name: &str) -> Option<u64> {
    let value = map.get(name)?;
    value.as_u64().or_else(|| value.as_f64().map(|float| float as u64))
}

fn names(value: Option<&Value>) -> Vec<Box<str>> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(Into::into).collect()
}
