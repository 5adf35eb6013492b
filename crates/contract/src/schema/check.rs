//! Whether a value is valid: one answer, in time linear in schema times value.

use std::collections::HashMap;

use serde_json::Value;

use super::decimal::Decimal;
use super::pattern::Matched;
use super::plan::{
    ARRAY, Arrays, BOOLEAN, Bound, Compose, INTEGER, Id, NULL, NUMBER, Numbers, OBJECT, Objects, STRING,
    Schema, Strings, Values,
};
use crate::json::{Kind, Node, write_string};
use crate::violation::Rule;

/// From this many questions on, answers about containers are remembered. A schema that recurses through k branches
/// would cost k^depth otherwise; below, remembering costs more than asking again.
const REMEMBER_AFTER: u32 = 1024;

/// Questions inside one another: a stack's worth. Only a schema that piles up composition upon a deep body gets there,
/// and is refused.
pub(crate) const NESTED: u32 = 1_000;

#[cfg(test)]
thread_local! {
    /// Questions asked on this thread: tests count steps, for a clock says more about the machine.
    static STEPS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// How many questions `work` asks.
#[cfg(test)]
pub(crate) fn steps<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = STEPS.get();
    let done = work();
    (done, STEPS.get() - before)
}

/// Questions about one tape.
pub(crate) struct Check<'s> {
    schemas: &'s [Schema],
    asked: u32,
    depth: u32,
    answers: HashMap<(Id, u32), bool>,
    /// A pattern or the depth reached its limit: whatever stands around it, the value is refused.
    exceeded: bool,
}

impl<'s> Check<'s> {
    pub(crate) fn new(schemas: &'s [Schema]) -> Self {
        Self { schemas, asked: 0, depth: 0, answers: HashMap::new(), exceeded: false }
    }

    /// For many questions about the same nodes.
    pub(crate) fn remembering(schemas: &'s [Schema]) -> Self {
        Self { asked: REMEMBER_AFTER, ..Self::new(schemas) }
    }

    /// The answer for a whole value.
    pub(crate) fn is_valid(&mut self, id: Id, node: Node<'_>) -> bool {
        self.valid(id, node) && !self.exceeded
    }

    pub(crate) fn schema(&self, id: Id) -> Option<&'s Schema> {
        self.schemas.get(id as usize)
    }

    pub(crate) const fn exceeded(&self) -> bool {
        self.exceeded
    }

    pub(crate) fn valid(&mut self, id: Id, node: Node<'_>) -> bool {
        #[cfg(test)]
        STEPS.set(STEPS.get() + 1);
        let Some(schema) = self.schemas.get(id as usize) else { return false };
        if let Some(always) = schema.always {
            return always;
        }
        if self.depth >= NESTED {
            self.exceeded = true;
            return false;
        }
        self.depth += 1;
        let answer = self.answer(id, schema, node);
        self.depth -= 1;
        answer
    }

    fn answer(&mut self, id: Id, schema: &'s Schema, node: Node<'_>) -> bool {
        self.asked = self.asked.saturating_add(1);
        let remembers = self.asked > REMEMBER_AFTER
            && (schema.compose.is_some() || matches!(node.kind(), Kind::Array | Kind::Object));
        if !remembers {
            return self.holds(schema, node);
        }
        if let Some(answer) = self.answers.get(&(id, node.index())) {
            return *answer;
        }
        let answer = self.holds(schema, node);
        self.answers.insert((id, node.index()), answer);
        answer
    }

    fn holds(&mut self, schema: &'s Schema, node: Node<'_>) -> bool {
        if !has_type(schema.types, node) {
            return false;
        }
        let mut rest = Vec::new();
        let local = match node.kind() {
            Kind::Number => schema.number.as_ref().is_none_or(|rules| number(rules, node).is_none()),
            Kind::String => schema.string.as_ref().is_none_or(|rules| self.string(rules, node).is_none()),
            Kind::Object => match schema.object.as_deref() {
                Some(rules) => self.object(schema, rules, node, &mut rest),
                None => true,
            },
            Kind::Array => match schema.array.as_deref() {
                Some(rules) => self.array(schema, rules, node, &mut rest),
                None => true,
            },
            Kind::Null | Kind::Bool => true,
        };
        local
            && schema.values.iter().all(|values| is_one_of(values, node))
            && schema.compose.as_deref().is_none_or(|compose| self.composed(compose, node))
            && (rest.is_empty() || self.unevaluated(schema, node, &rest).is_empty())
    }

    /// The first rule that a string breaks.
    pub(crate) fn string(&mut self, rules: &Strings, node: Node<'_>) -> Option<Rule> {
        let text = node.as_str()?;
        let bytes = text.len() as u64;
        // A character has one to four bytes; only between is there something to count.
        if rules.longest.is_some_and(|most| bytes > most) || bytes / 4 < rules.shortest {
            let length = text.chars().count() as u64;
            if length < rules.shortest {
                return Some(Rule::MinLength);
            }
            if rules.longest.is_some_and(|most| length > most) {
                return Some(Rule::MaxLength);
            }
        }
        if let Some(pattern) = &rules.pattern {
            match pattern.search(text) {
                Matched::Yes => {}
                Matched::No => return Some(Rule::Pattern),
                Matched::Exceeded => {
                    self.exceeded = true;
                    return Some(Rule::Pattern);
                }
            }
        }
        rules.format.as_ref().is_some_and(|format| !format.holds(node)).then_some(Rule::Format)
    }

    /// Everything but what composition adds; members that only composition can evaluate go to `rest`.
    fn object<'n>(
        &mut self,
        schema: &Schema,
        rules: &Objects,
        node: Node<'n>,
        rest: &mut Vec<Node<'n>>,
    ) -> bool {
        if object_counts(rules, node).is_some() {
            return false;
        }
        let composed = schema.compose.is_some() || !rules.dependent_schemas.is_empty();
        let mut required = 0;
        for (name, value) in node.members() {
            let mut covered = false;
            if let Some(property) = rules.find(name) {
                required += u32::from(property.required);
                if let Some(id) = property.schema {
                    covered = true;
                    if !self.valid(id, value) {
                        return false;
                    }
                }
            }
            for (pattern, id) in &rules.patterns {
                match pattern.search(name) {
                    Matched::No => {}
                    Matched::Yes => {
                        covered = true;
                        if !self.valid(*id, value) {
                            return false;
                        }
                    }
                    Matched::Exceeded => {
                        self.exceeded = true;
                        return false;
                    }
                }
            }
            if !covered {
                if rules.fold && folds(rules, name) {
                    return false;
                }
                match (rules.additional, rules.unevaluated) {
                    (Some(id), _) if !self.valid(id, value) => return false,
                    (None, Some(_)) if composed => rest.push(value),
                    (None, Some(id)) if !self.valid(id, value) => return false,
                    _ => {}
                }
            }
            // The name's own entry stands before the value's.
            if let Some(id) = rules.names
                && !node.tape().node(value.index() - 1).is_some_and(|name| self.valid(id, name))
            {
                return false;
            }
        }
        required == rules.required
            && missing_dependent(rules, node).is_none()
            && rules
                .dependent_schemas
                .iter()
                .all(|(name, id)| node.get(name).is_none() || self.valid(*id, node))
    }

    fn array<'n>(
        &mut self,
        schema: &Schema,
        rules: &Arrays,
        node: Node<'n>,
        rest: &mut Vec<Node<'n>>,
    ) -> bool {
        if array_counts(rules, node).is_some() {
            return false;
        }
        for (i, item) in node.items().enumerate() {
            match rules.prefix.get(i).copied().or(rules.items) {
                Some(id) if !self.valid(id, item) => return false,
                Some(_) => {}
                None if rules.unevaluated.is_some() => rest.push(item),
                None => {}
            }
        }
        if rules.contains.is_some() && !self.contains(rules, node) {
            return false;
        }
        if rules.unique && !is_unique(node) {
            return false;
        }
        if schema.compose.is_none() && rules.contains.is_none() && !rest.is_empty() {
            let id = rules.unevaluated.unwrap_or_default();
            return rest.drain(..).all(|item| self.valid(id, item));
        }
        true
    }

    pub(crate) fn contains(&mut self, rules: &Arrays, node: Node<'_>) -> bool {
        let Some(contains) = &rules.contains else { return true };
        let found = node.items().filter(|item| self.valid(contains.schema, *item)).count() as u64;
        found >= contains.fewest && contains.most.is_none_or(|most| found <= most)
    }

    fn composed(&mut self, compose: &Compose, node: Node<'_>) -> bool {
        if !compose.all.iter().all(|id| self.valid(*id, node)) {
            return false;
        }
        if !compose.any.is_empty() && !compose.any.iter().any(|id| self.valid(*id, node)) {
            return false;
        }
        if !compose.one.is_empty() {
            let mut found = 0;
            for id in &compose.one {
                found += u32::from(self.valid(*id, node));
                if found > 1 {
                    return false;
                }
            }
            if found == 0 {
                return false;
            }
        }
        if compose.not.is_some_and(|id| self.valid(id, node)) {
            return false;
        }
        if let Some(condition) = &compose.condition {
            let branch = if self.valid(condition.when, node) { condition.then } else { condition.otherwise };
            if branch.is_some_and(|id| !self.valid(id, node)) {
                return false;
            }
        }
        match &compose.select {
            Some(select) if node.kind() == Kind::Object => {
                let value = node.get(&select.property).and_then(Node::as_str);
                value.and_then(|v| select.branch(v)).is_some_and(|id| self.valid(id, node))
            }
            _ => true,
        }
    }

    /// Of `rest`, what no part of the schema evaluates and `unevaluated…` refuses. To be asked of valid nodes.
    pub(crate) fn unevaluated<'n>(
        &mut self,
        schema: &Schema,
        node: Node<'n>,
        rest: &[Node<'n>],
    ) -> Vec<Node<'n>> {
        let id = match node.kind() {
            Kind::Object => schema.object.as_ref().and_then(|rules| rules.unevaluated),
            _ => schema.array.as_ref().and_then(|rules| rules.unevaluated),
        };
        let Some(id) = id else { return Vec::new() };
        let mut covered = vec![false; rest.len()];
        self.cover_here(schema, node, rest, &mut covered);
        let left: Vec<Node<'n>> =
            rest.iter().zip(covered).filter(|(_, covered)| !covered).map(|(node, _)| *node).collect();
        left.into_iter().filter(|value| !self.valid(id, *value)).collect()
    }

    /// What the composition of a schema evaluates (2020-12, core § 10.3 and § 11).
    fn cover_here(&mut self, schema: &Schema, node: Node<'_>, rest: &[Node<'_>], covered: &mut [bool]) {
        if let Some(rules) = schema.object.as_deref() {
            for (name, id) in &rules.dependent_schemas {
                if node.get(name).is_some() {
                    self.cover(*id, node, rest, covered);
                }
            }
        }
        if node.kind() == Kind::Array
            && let Some(contains) = schema.array.as_deref().and_then(|rules| rules.contains.as_ref())
        {
            for (item, covered) in rest.iter().zip(covered.iter_mut()) {
                *covered |= self.valid(contains.schema, *item);
            }
        }
        let Some(compose) = schema.compose.as_deref() else { return };
        for id in &compose.all {
            self.cover(*id, node, rest, covered);
        }
        for id in compose.any.iter().chain(&compose.one) {
            if self.valid(*id, node) {
                self.cover(*id, node, rest, covered);
            }
        }
        if let Some(condition) = &compose.condition {
            let branch = if self.valid(condition.when, node) {
                self.cover(condition.when, node, rest, covered);
                condition.then
            } else {
                condition.otherwise
            };
            if let Some(id) = branch {
                self.cover(id, node, rest, covered);
            }
        }
        if let Some(select) = &compose.select {
            let value = node.get(&select.property).and_then(Node::as_str);
            if let Some(id) = value.and_then(|v| select.branch(v)) {
                self.cover(id, node, rest, covered);
            }
            for (value, covered) in rest.iter().zip(covered.iter_mut()) {
                *covered |= value.name() == Some(&*select.property);
            }
        }
    }

    fn cover(&mut self, id: Id, node: Node<'_>, rest: &[Node<'_>], covered: &mut [bool]) {
        let Some(schema) = self.schemas.get(id as usize) else { return };
        match (node.kind(), schema.object.as_deref(), schema.array.as_deref()) {
            (Kind::Object, Some(rules), _) => {
                for (value, covered) in rest.iter().zip(covered.iter_mut()).filter(|(_, covered)| !**covered)
                {
                    *covered =
                        declares(rules, value.name().unwrap_or_default()) || rules.unevaluated.is_some();
                }
            }
            (Kind::Array, _, Some(rules)) => {
                if rules.items.is_some() || rules.unevaluated.is_some() {
                    covered.fill(true);
                    return;
                }
                let first = node.items().take(rules.prefix.len()).last().map(Node::index);
                for (item, covered) in rest.iter().zip(covered.iter_mut()) {
                    *covered |= first.is_some_and(|last| item.index() <= last);
                }
            }
            _ => {}
        }
        self.cover_here(schema, node, rest, covered);
    }
}

/// Whether an object's rules say something about a member of that name.
pub(crate) fn declares(rules: &Objects, name: &str) -> bool {
    rules.additional.is_some()
        || rules.find(name).is_some_and(|property| property.schema.is_some())
        || rules.patterns.iter().any(|(pattern, _)| pattern.search(name) == Matched::Yes)
}

/// Whether an undeclared name is a declared one in another case.
pub(crate) fn folds(rules: &Objects, name: &str) -> bool {
    let declared = rules.properties.iter().filter(|property| property.schema.is_some());
    declared.into_iter().any(|property| *property.name != *name && property.name.eq_ignore_ascii_case(name))
}

pub(crate) fn has_type(types: u8, node: Node<'_>) -> bool {
    let bit = match node.kind() {
        Kind::Null => NULL,
        Kind::Bool => BOOLEAN,
        Kind::String => STRING,
        Kind::Array => ARRAY,
        Kind::Object => OBJECT,
        Kind::Number if types & NUMBER != 0 => return true,
        Kind::Number => {
            return types & INTEGER != 0
                && (node.is_integer_form()
                    || node.number_text().is_some_and(|text| Decimal::parse(text).is_whole()));
        }
    };
    types & bit != 0
}

/// The first rule that a number breaks.
pub(crate) fn number(rules: &Numbers, node: Node<'_>) -> Option<Rule> {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let text = node.number_text()?;
    if rules.integer_form && !node.is_integer_form() {
        return Some(Rule::IntegerForm);
    }
    let small = node.as_i64();
    let bounds = [
        (&rules.minimum, Less, Less),
        (&rules.maximum, Greater, Greater),
        (&rules.above, Less, Equal),
        (&rules.below, Greater, Equal),
    ];
    let mut exact = None;
    if rules.precise && small.is_none() {
        let decimal = *exact.get_or_insert_with(|| Decimal::parse(text));
        if !decimal.is_precise(text) {
            return Some(Rule::NumberPrecision);
        }
    }
    for (bound, wrong, also) in bounds {
        let Some(Bound { small: limit, exact: limit_exact }) = bound else { continue };
        let order = match (small, limit) {
            (Some(value), Some(limit)) => value.cmp(limit),
            _ => exact.get_or_insert_with(|| Decimal::parse(text)).compare(*limit_exact),
        };
        if order == wrong || order == also {
            return Some(if wrong == Less { Rule::Minimum } else { Rule::Maximum });
        }
    }
    if let Some(step) = rules.multiple_of
        && !exact.get_or_insert_with(|| Decimal::parse(text)).is_multiple_of(step)
    {
        return Some(Rule::MultipleOf);
    }
    let finite = match rules.float {
        Some(true) => text.parse::<f32>().is_ok_and(f32::is_finite),
        Some(false) => text.parse::<f64>().is_ok_and(f64::is_finite),
        None => true,
    };
    (!finite).then_some(Rule::NumberRange)
}

pub(crate) fn object_counts(rules: &Objects, node: Node<'_>) -> Option<Rule> {
    let length = u64::from(node.len());
    if length < rules.fewest {
        return Some(Rule::MinProperties);
    }
    rules.most.is_some_and(|most| length > most).then_some(Rule::MaxProperties)
}

pub(crate) fn array_counts(rules: &Arrays, node: Node<'_>) -> Option<Rule> {
    let length = u64::from(node.len());
    if length < rules.fewest {
        return Some(Rule::MinItems);
    }
    rules.most.is_some_and(|most| length > most).then_some(Rule::MaxItems)
}

/// A member that another one needs and that is not there.
pub(crate) fn missing_dependent<'s>(rules: &'s Objects, node: Node<'_>) -> Option<&'s str> {
    let present = rules.dependent_required.iter().filter(|(name, _)| node.get(name).is_some());
    present.flat_map(|(_, needs)| needs).map(|name| &**name).find(|name| node.get(name).is_none())
}

pub(crate) fn is_one_of(values: &Values, node: Node<'_>) -> bool {
    match node.as_str() {
        Some(text) => values.strings.binary_search_by(|value| (**value).cmp(text)).is_ok(),
        None => values.others.iter().any(|value| equals(value, node)),
    }
}

/// Equality of JSON Schema: numbers by value, objects without order.
fn equals(value: &Value, node: Node<'_>) -> bool {
    match value {
        Value::Null => node.is_null(),
        Value::Bool(expected) => node.as_bool() == Some(*expected),
        Value::String(expected) => node.as_str() == Some(expected),
        Value::Number(expected) => node.number_text().is_some_and(|text| {
            Decimal::parse(text).compare(Decimal::parse(&expected.to_string())) == std::cmp::Ordering::Equal
        }),
        Value::Array(expected) => {
            node.kind() == Kind::Array
                && expected.len() == node.len() as usize
                && expected.iter().zip(node.items()).all(|(value, item)| equals(value, item))
        }
        Value::Object(expected) => {
            node.kind() == Kind::Object
                && expected.len() == node.len() as usize
                && node
                    .members()
                    .all(|(name, item)| expected.get(name).is_some_and(|value| equals(value, item)))
        }
    }
}

/// No two items are equal. Sorts one canonical spelling of each, so that no choice of items makes it quadratic.
pub(crate) fn is_unique(node: Node<'_>) -> bool {
    let mut spellings: Vec<Vec<u8>> = Vec::with_capacity(node.len() as usize);
    for item in node.items() {
        let mut out = Vec::new();
        spell(item, &mut out);
        spellings.push(out);
    }
    spellings.sort_unstable();
    spellings.windows(2).all(|pair| pair.first() != pair.last())
}

fn spell(node: Node<'_>, out: &mut Vec<u8>) {
    match node.kind() {
        Kind::Null => out.push(b'n'),
        Kind::Bool => out.push(if node.as_bool() == Some(true) { b't' } else { b'f' }),
        Kind::String => write_string(node.as_str().unwrap_or_default(), out),
        Kind::Number => {
            Decimal::parse(node.number_text().unwrap_or_default())
                .spell(node.number_text().unwrap_or_default(), out);
        }
        Kind::Array => {
            out.push(b'[');
            for item in node.items() {
                spell(item, out);
                out.push(b',');
            }
            out.push(b']');
        }
        Kind::Object => {
            let mut members: Vec<(&str, Node<'_>)> = node.members().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            out.push(b'{');
            for (name, value) in members {
                write_string(name, out);
                spell(value, out);
            }
            out.push(b'}');
        }
    }
}
