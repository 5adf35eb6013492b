//! Whether a model means something: `OpenFGA`'s rules for schema 1.1 and 1.2, by its names of errors.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{
    Flaw, Kind, Name, RelationSource, Restriction, RestrictionKind, Rewrite, Source, Span, TypeSource,
};

/// Everything that is wrong with `source`, in the order of the rules.
#[must_use]
pub fn validate(source: &Source) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    match source.schema.as_ref() {
        None => {
            return vec![Flaw::new(Kind::SchemaVersionRequired, Span::default(), "schema version required")];
        }
        Some(version) if !matches!(version.text.as_str(), "1.1" | "1.2") => {
            return vec![Flaw::new(
                Kind::InvalidSchema,
                version.span,
                format!("invalid schema {}", version.text),
            )];
        }
        Some(_) => {}
    }
    names(source, &mut flaws);
    duplicates(source, &mut flaws);
    let types = Types::of(source);
    for each in &source.types {
        for relation in &each.relations {
            types.definition(each, relation, &relation.rewrite, source, &mut flaws);
        }
    }
    conditions(source, &mut flaws);
    if flaws.is_empty() {
        types.entry_points(source, &mut flaws);
    }
    flaws
}

fn names(source: &Source, flaws: &mut Vec<Flaw>) {
    for each in &source.types {
        let name = &each.name;
        if is_reserved(&name.text) {
            flaws.push(Flaw::new(Kind::ReservedType, name.span, "a type cannot be named 'self' or 'this'."));
        }
        if !fits(&name.text, 254) {
            let text = format!("type '{}' does not match naming rule: '^[^:#@\\*\\s]{{1,254}}$'.", name.text);
            flaws.push(Flaw::new(Kind::InvalidName, name.span, text));
        }
        for relation in &each.relations {
            let name = &relation.name;
            if is_reserved(&name.text) {
                let text = "a relation cannot be named 'self' or 'this'.";
                flaws.push(Flaw::new(Kind::ReservedRelation, name.span, text));
            }
            if !fits(&name.text, 50) {
                let text = format!(
                    "relation '{}' of type '{}' does not match naming rule: '^[^:#@\\*\\s]{{1,50}}$'.",
                    name.text, each.name.text
                );
                flaws.push(Flaw::new(Kind::InvalidName, name.span, text));
            }
        }
    }
    for condition in &source.conditions {
        if !fits(&condition.name.text, 256) {
            let text = format!("condition '{}' does not match the naming rule.", condition.name.text);
            flaws.push(Flaw::new(Kind::InvalidName, condition.name.span, text));
        }
    }
}

fn is_reserved(name: &str) -> bool {
    matches!(name, "self" | "this")
}

fn fits(name: &str, limit: usize) -> bool {
    (1..=limit).contains(&name.chars().count())
        && !name.chars().any(|c| matches!(c, ':' | '#' | '@' | '*') || c.is_whitespace())
}

fn duplicates(source: &Source, flaws: &mut Vec<Flaw>) {
    let mut types = BTreeMap::new();
    for each in &source.types {
        let key = (&each.name.text, each.extends);
        if let Some(first) = types.get(&key) {
            let text = format!("the type `{}` is a duplicate.", each.name.text);
            flaws.push(Flaw::new(Kind::Duplicated, *first, text));
        } else {
            types.insert(key, each.name.span);
        }
        for relation in &each.relations {
            let mut seen: BTreeMap<String, Span> = BTreeMap::new();
            for restriction in &relation.restrictions {
                let text = describe(restriction, true);
                let Some(first) = seen.get(&text) else {
                    seen.insert(text, restriction.span);
                    continue;
                };
                let text = format!(
                    "the type restriction `{text}` is a duplicate in the relation `{}`.",
                    relation.name.text
                );
                flaws.push(Flaw::new(Kind::Duplicated, *first, text));
            }
            duplicate_operands(relation, &relation.rewrite, flaws);
        }
    }
}

fn duplicate_operands(relation: &RelationSource, rewrite: &Rewrite, flaws: &mut Vec<Flaw>) {
    let mut seen: BTreeMap<String, Span> = BTreeMap::new();
    for operand in operands(rewrite) {
        duplicate_operands(relation, operand, flaws);
        let (text, span) = match operand {
            Rewrite::Computed(name) => (name.text.clone(), name.span),
            Rewrite::From { relation, tupleset, span } => {
                (format!("{} from {}", relation.text, tupleset.text), *span)
            }
            _ => continue,
        };
        let Some(first) = seen.get(&text) else {
            seen.insert(text, span);
            continue;
        };
        let text = format!(
            "the partial relation definition `{text}` is a duplicate in the relation `{}`.",
            relation.name.text
        );
        flaws.push(Flaw::new(Kind::Duplicated, *first, text));
    }
}

/// The operands of an operator; nothing for a leaf.
pub(super) fn operands(rewrite: &Rewrite) -> Vec<&Rewrite> {
    match rewrite {
        Rewrite::Union(operands) | Rewrite::Intersection(operands) => operands.iter().collect(),
        Rewrite::Difference(base, subtract) => vec![base, subtract],
        Rewrite::This | Rewrite::Computed(_) | Rewrite::From { .. } => Vec::new(),
    }
}

/// `group#member with until`.
pub(super) fn describe(restriction: &Restriction, condition: bool) -> String {
    let mut text = restriction.type_name.text.clone();
    match &restriction.kind {
        RestrictionKind::Object => {}
        RestrictionKind::Wildcard => text.push_str(":*"),
        RestrictionKind::Userset(relation) => {
            text.push('#');
            text.push_str(&relation.text);
        }
    }
    if let (true, Some(name)) = (condition, &restriction.condition) {
        text.push_str(" with ");
        text.push_str(&name.text);
    }
    text
}

fn conditions(source: &Source, flaws: &mut Vec<Flaw>) {
    let used: BTreeSet<&str> = source
        .types
        .iter()
        .flat_map(|each| &each.relations)
        .flat_map(|relation| &relation.restrictions)
        .filter_map(|restriction| restriction.condition.as_ref().map(|name| name.text.as_str()))
        .collect();
    for condition in &source.conditions {
        let name = &condition.name;
        if let Some(nested) = condition.nested_name.as_ref().filter(|nested| **nested != name.text) {
            let text = format!("condition key is `{}` but nested name property is {nested}", name.text);
            flaws.push(Flaw::new(Kind::DifferentNestedConditionName, name.span, text));
        }
        if !used.contains(name.text.as_str()) {
            let text = format!("`{}` condition is not used in the model.", name.text);
            flaws.push(Flaw::new(Kind::ConditionNotUsed, name.span, text));
        }
    }
}

/// Relations by type and name. Types that extend add to what they extend.
struct Types<'s>(BTreeMap<&'s str, BTreeMap<&'s str, &'s RelationSource>>);

impl<'s> Types<'s> {
    fn of(source: &'s Source) -> Self {
        let mut types: BTreeMap<&str, BTreeMap<&str, &RelationSource>> = BTreeMap::new();
        for each in &source.types {
            let relations = types.entry(&each.name.text).or_default();
            for relation in &each.relations {
                relations.entry(&relation.name.text).or_insert(relation);
            }
        }
        Self(types)
    }

    fn relation(&self, type_name: &str, relation: &str) -> Option<&'s RelationSource> {
        self.0.get(type_name)?.get(relation).copied()
    }

    fn definition(
        &self,
        within: &TypeSource,
        relation: &RelationSource,
        rewrite: &Rewrite,
        source: &Source,
        flaws: &mut Vec<Flaw>,
    ) {
        match rewrite {
            Rewrite::This => self.restrictions(relation, source, flaws),
            Rewrite::Computed(name) => {
                if self.relation(&within.name.text, &name.text).is_none() {
                    let text = format!("the relation `{}` does not exist.", name.text);
                    flaws.push(Flaw::new(Kind::MissingDefinition, name.span, text));
                }
            }
            Rewrite::From { relation: asked, tupleset, span } => {
                self.from(within, asked, tupleset, *span, flaws)
            }
            _ => {
                for operand in operands(rewrite) {
                    self.definition(within, relation, operand, source, flaws);
                }
            }
        }
    }

    fn restrictions(&self, relation: &RelationSource, source: &Source, flaws: &mut Vec<Flaw>) {
        if relation.restrictions.is_empty() {
            let text = format!("assignable relation '{}' must have types", relation.name.text);
            flaws.push(Flaw::new(Kind::AssignableWithoutTypes, relation.name.span, text));
        }
        for restriction in &relation.restrictions {
            let type_name = &restriction.type_name;
            if !self.0.contains_key(type_name.text.as_str()) {
                let text = format!("`{}` is not a valid type.", type_name.text);
                flaws.push(Flaw::new(Kind::InvalidType, type_name.span, text));
            } else if let RestrictionKind::Userset(name) = &restriction.kind
                && self.relation(&type_name.text, &name.text).is_none()
            {
                let text = format!("`{}` is not a valid relation for `{}`.", name.text, type_name.text);
                flaws.push(Flaw::new(Kind::InvalidRelationType, restriction.span, text));
            }
            if let Some(name) = &restriction.condition
                && !source.conditions.iter().any(|condition| condition.name.text == name.text)
            {
                let text = format!("`{}` is not a defined condition in the model.", name.text);
                flaws.push(Flaw::new(Kind::ConditionNotDefined, name.span, text));
            }
        }
    }

    fn from(&self, within: &TypeSource, asked: &Name, tupleset: &Name, span: Span, flaws: &mut Vec<Flaw>) {
        let Some(leads) = self.relation(&within.name.text, &tupleset.text) else {
            let text = format!("`{}` is not a valid relation for `{}`.", tupleset.text, within.name.text);
            flaws.push(Flaw::new(Kind::InvalidRelationType, span, text));
            return;
        };
        let direct = leads.rewrite == Rewrite::This
            && leads.restrictions.iter().all(|restriction| restriction.kind == RestrictionKind::Object);
        if !direct {
            let text = format!("`{}` relation used inside from allows only direct relation.", tupleset.text);
            flaws.push(Flaw::new(Kind::TuplesetNotDirect, tupleset.span, text));
            return;
        }
        let lacking: Vec<&Restriction> = leads
            .restrictions
            .iter()
            .filter(|restriction| self.relation(&restriction.type_name.text, &asked.text).is_none())
            .collect();
        if lacking.len() < leads.restrictions.len() {
            return;
        }
        for restriction in lacking {
            let text = format!(
                "the `{0}` relation definition on type `{1}` is not valid: `{0}` does not exist on `{2}`, which is of type `{3}`.",
                asked.text, within.name.text, tupleset.text, restriction.type_name.text
            );
            flaws.push(Flaw::new(Kind::InvalidRelationOnTupleset, span, text));
        }
    }

    /// Relations that nobody can ever hold.
    fn entry_points(&self, source: &Source, flaws: &mut Vec<Flaw>) {
        for each in &source.types {
            for relation in &each.relations {
                let mut visited = BTreeSet::new();
                let entry = self.entry(&each.name.text, relation, &relation.rewrite, &mut visited);
                if entry == Entry::Found {
                    continue;
                }
                let why = if entry == Entry::Loop { "potential loop" } else { "no entrypoint" };
                let text = format!(
                    "`{}` is an impossible relation for `{}` ({why}).",
                    relation.name.text, each.name.text
                );
                flaws.push(Flaw::new(Kind::RelationNoEntryPoint, relation.name.span, text));
            }
        }
    }

    /// Whether some subject can hold `relation` by `rewrite`. `visited` are the relations on the way here: what was
    /// added below is taken out again, for each branch judges by its own way only.
    fn entry(
        &self,
        type_name: &'s str,
        relation: &'s RelationSource,
        rewrite: &'s Rewrite,
        visited: &mut BTreeSet<(&'s str, &'s str)>,
    ) -> Entry {
        let added = visited.insert((type_name, &relation.name.text));
        let found = match rewrite {
            Rewrite::This => {
                let mut found = Entry::None;
                for restriction in &relation.restrictions {
                    let RestrictionKind::Userset(name) = &restriction.kind else {
                        found = Entry::Found;
                        break;
                    };
                    if self.enters(&restriction.type_name.text, &name.text, visited) {
                        found = Entry::Found;
                        break;
                    }
                }
                found
            }
            Rewrite::Computed(name) => match self.relation(type_name, &name.text) {
                None => Entry::None,
                Some(_) if visited.contains(&(type_name, name.text.as_str())) => Entry::Loop,
                Some(target) => self.entry(type_name, target, &target.rewrite, visited),
            },
            Rewrite::From { relation: asked, tupleset, .. } => {
                let leads = self.relation(type_name, &tupleset.text);
                let any = leads.is_some_and(|leads| {
                    leads.restrictions.iter().any(|to| self.enters(&to.type_name.text, &asked.text, visited))
                });
                if any { Entry::Found } else { Entry::None }
            }
            Rewrite::Union(operands) => {
                let mut found = Entry::None;
                for operand in operands {
                    match self.entry(type_name, relation, operand, visited) {
                        Entry::Found => {
                            found = Entry::Found;
                            break;
                        }
                        Entry::Loop => found = Entry::Loop,
                        Entry::None => {}
                    }
                }
                found
            }
            Rewrite::Intersection(_) | Rewrite::Difference(..) => operands(rewrite)
                .into_iter()
                .map(|operand| self.entry(type_name, relation, operand, visited))
                .find(|entry| *entry != Entry::Found)
                .unwrap_or(Entry::Found),
        };
        if added {
            visited.remove(&(type_name, relation.name.text.as_str()));
        }
        found
    }

    fn enters(
        &self,
        type_name: &'s str,
        relation: &'s str,
        visited: &mut BTreeSet<(&'s str, &'s str)>,
    ) -> bool {
        self.relation(type_name, relation).is_some_and(|target| {
            !visited.contains(&(type_name, relation))
                && self.entry(type_name, target, &target.rewrite, visited) == Entry::Found
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    Found,
    None,
    Loop,
}
