//! The JSON form of a model, as `OpenFGA`'s API and tools write it.

use serde_json::{Map, Value, json};

use super::source::{
    ConditionSource, Flaw, Kind, Name, ParameterType, RelationSource, Restriction, RestrictionKind, Rewrite,
    Source, Span, TypeSource,
};

/// Deepest nesting of rewrites.
const MAX_DEPTH: usize = 64;

/// Reads the JSON form.
///
/// # Errors
/// The first thing that is not of the form; a relation or condition whose parts name different modules or files.
pub fn from_json(value: &Value) -> Result<Source, Flaw> {
    let model = value.as_object().ok_or_else(|| malformed("a model is an object"))?;
    let schema = model.get("schema_version").and_then(Value::as_str).filter(|version| !version.is_empty());
    let mut source = Source { schema: schema.map(name), ..Source::default() };
    for each in list(model, "type_definitions")? {
        source.types.push(type_definition(each)?);
    }
    for (key, each) in object(model, "conditions")?.into_iter().flatten() {
        source.conditions.push(condition(key, each)?);
    }
    one_module_a_file(model)?;
    Ok(source)
}

/// Writes the JSON form.
#[must_use]
pub fn to_json(source: &Source) -> Value {
    let types: Vec<Value> = source.types.iter().map(type_value).collect();
    let mut model = Map::new();
    if let Some(schema) = &source.schema {
        model.insert("schema_version".to_owned(), json!(schema.text));
    }
    model.insert("type_definitions".to_owned(), Value::Array(types));
    if !source.conditions.is_empty() {
        let conditions: Map<String, Value> =
            source.conditions.iter().map(|each| (each.name.text.clone(), condition_value(each))).collect();
        model.insert("conditions".to_owned(), Value::Object(conditions));
    }
    Value::Object(model)
}

fn type_definition(value: &Value) -> Result<TypeSource, Flaw> {
    let each = value.as_object().ok_or_else(|| malformed("a type definition is an object"))?;
    let type_name = each.get("type").and_then(Value::as_str).ok_or_else(|| malformed("a type has a name"))?;
    let metadata =
        object(each, "metadata")?.map(|metadata| object(metadata, "relations")).transpose()?.flatten();
    let mut found = TypeSource { name: name(type_name), extends: false, relations: Vec::new() };
    for (key, value) in object(each, "relations")?.into_iter().flatten() {
        let about = metadata.and_then(|metadata| metadata.get(key)).and_then(Value::as_object);
        let mut restrictions = Vec::new();
        for entry in about.map_or(Ok(&[][..]), |about| list(about, "directly_related_user_types"))? {
            restrictions.push(restriction(entry)?);
        }
        found.relations.push(RelationSource { name: name(key), rewrite: rewrite(value, 0)?, restrictions });
    }
    Ok(found)
}

fn restriction(value: &Value) -> Result<Restriction, Flaw> {
    let each = value.as_object().ok_or_else(|| malformed("a type restriction is an object"))?;
    let type_name = each
        .get("type")
        .and_then(Value::as_str)
        .ok_or_else(|| malformed("a type restriction names a type"))?;
    let text = |key: &str| each.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let kind = match (text("relation"), each.get("wildcard")) {
        (Some(relation), None) => RestrictionKind::Userset(name(relation)),
        (None, Some(_)) => RestrictionKind::Wildcard,
        (None, None) => RestrictionKind::Object,
        (Some(_), Some(_)) => {
            return Err(malformed("a type restriction is a wildcard or a userset, not both"));
        }
    };
    Ok(Restriction {
        type_name: name(type_name),
        kind,
        condition: text("condition").map(name),
        span: Span::default(),
    })
}

fn rewrite(value: &Value, depth: usize) -> Result<Rewrite, Flaw> {
    if depth > MAX_DEPTH {
        return Err(malformed("rewrites are nested too deep"));
    }
    let each = value.as_object().ok_or_else(|| malformed("a rewrite is an object"))?;
    let mut entries = each.iter();
    let (Some((key, value)), None) = (entries.next(), entries.next()) else {
        return Err(malformed("a rewrite has exactly one member"));
    };
    let children = |value: &Value| {
        let holder = value.as_object().ok_or_else(|| malformed("operands stand in an object"))?;
        list(holder, "child")?.iter().map(|child| rewrite(child, depth + 1)).collect::<Result<Vec<_>, _>>()
    };
    match key.as_str() {
        "this" => Ok(Rewrite::This),
        "computedUserset" => Ok(Rewrite::Computed(relation_of(value)?)),
        "tupleToUserset" => {
            let part = |key: &str| value.get(key).ok_or_else(|| malformed("tupleToUserset lacks a part"));
            let (tupleset, relation) =
                (relation_of(part("tupleset")?)?, relation_of(part("computedUserset")?)?);
            Ok(Rewrite::From { relation, tupleset, span: Span::default() })
        }
        "union" => children(value).map(Rewrite::Union),
        "intersection" => children(value).map(Rewrite::Intersection),
        "difference" => {
            let part =
                |key: &str| value.get(key).ok_or_else(|| malformed("a difference has base and subtract"));
            let base = rewrite(part("base")?, depth + 1)?;
            Ok(Rewrite::Difference(Box::new(base), Box::new(rewrite(part("subtract")?, depth + 1)?)))
        }
        other => Err(malformed(&format!("`{other}` is not a rewrite"))),
    }
}

fn relation_of(value: &Value) -> Result<Name, Flaw> {
    value
        .get("relation")
        .and_then(Value::as_str)
        .map(name)
        .ok_or_else(|| malformed("a userset names a relation"))
}

fn condition(key: &str, value: &Value) -> Result<ConditionSource, Flaw> {
    let each = value.as_object().ok_or_else(|| malformed("a condition is an object"))?;
    let expression = each.get("expression").and_then(Value::as_str).unwrap_or_default().trim().to_owned();
    let nested_name = each.get("name").and_then(Value::as_str).map(str::to_owned);
    let mut parameters = Vec::new();
    for (parameter, of) in object(each, "parameters")?.into_iter().flatten() {
        parameters.push((name(parameter), parameter_type(of, 0)?));
    }
    Ok(ConditionSource { name: name(key), nested_name, parameters, expression })
}

fn parameter_type(value: &Value, depth: usize) -> Result<ParameterType, Flaw> {
    let word =
        value.get("type_name").and_then(Value::as_str).and_then(|word| word.strip_prefix("TYPE_NAME_"));
    let word = word.ok_or_else(|| malformed("a parameter has a type"))?.to_ascii_lowercase();
    let generic = value.get("generic_types").and_then(Value::as_array).and_then(|generic| generic.first());
    match (word.as_str(), generic) {
        ("map" | "list", Some(of)) if depth < 4 => {
            let of = Box::new(parameter_type(of, depth + 1)?);
            Ok(if word == "map" { ParameterType::Map(of) } else { ParameterType::List(of) })
        }
        _ => ParameterType::simple(&word)
            .ok_or_else(|| malformed(&format!("`{word}` is not a parameter's type"))),
    }
}

/// A relation, or a condition, that says another module than its file's others.
fn one_module_a_file(model: &Map<String, Value>) -> Result<(), Flaw> {
    let mut files: std::collections::BTreeMap<String, String> = std::collections::BTreeMap::new();
    let mut pairs = Vec::new();
    collect_modules(&Value::Object(model.clone()), &mut pairs, 0);
    for (file, module) in pairs {
        let known = files.entry(file.clone()).or_insert_with(|| module.clone());
        if *known != module {
            let text = format!(
                "file {file} would contain multiple module definitions ({known}, {module}) when transforming to DSL. Only one module can be defined per file."
            );
            return Err(Flaw::new(Kind::MultipleModulesInFile, Span::default(), text));
        }
    }
    Ok(())
}

fn collect_modules(value: &Value, pairs: &mut Vec<(String, String)>, depth: usize) {
    let Some(each) = value.as_object().filter(|_| depth < MAX_DEPTH) else {
        for child in value.as_array().into_iter().flatten() {
            collect_modules(child, pairs, depth + 1);
        }
        return;
    };
    let file = each.get("source_info").and_then(|info| info.get("file")).and_then(Value::as_str);
    if let (Some(module), Some(file)) = (each.get("module").and_then(Value::as_str), file) {
        pairs.push((file.to_owned(), module.to_owned()));
    }
    for child in each.values() {
        collect_modules(child, pairs, depth + 1);
    }
}

fn type_value(each: &TypeSource) -> Value {
    let relations: Map<String, Value> = each
        .relations
        .iter()
        .map(|relation| (relation.name.text.clone(), rewrite_value(&relation.rewrite)))
        .collect();
    let metadata: Map<String, Value> = each
        .relations
        .iter()
        .map(|relation| {
            let entries: Vec<Value> = relation.restrictions.iter().map(restriction_value).collect();
            (relation.name.text.clone(), json!({ "directly_related_user_types": entries }))
        })
        .collect();
    let metadata = if each.relations.is_empty() { Value::Null } else { json!({ "relations": metadata }) };
    json!({ "type": each.name.text, "relations": relations, "metadata": metadata })
}

fn restriction_value(restriction: &Restriction) -> Value {
    let mut each = Map::new();
    each.insert("type".to_owned(), json!(restriction.type_name.text));
    match &restriction.kind {
        RestrictionKind::Object => {}
        RestrictionKind::Wildcard => {
            each.insert("wildcard".to_owned(), json!({}));
        }
        RestrictionKind::Userset(relation) => {
            each.insert("relation".to_owned(), json!(relation.text));
        }
    }
    if let Some(condition) = &restriction.condition {
        each.insert("condition".to_owned(), json!(condition.text));
    }
    Value::Object(each)
}

fn rewrite_value(rewrite: &Rewrite) -> Value {
    let children =
        |operands: &[Rewrite]| json!({ "child": operands.iter().map(rewrite_value).collect::<Vec<_>>() });
    match rewrite {
        Rewrite::This => json!({ "this": {} }),
        Rewrite::Computed(relation) => json!({ "computedUserset": { "relation": relation.text } }),
        Rewrite::From { relation, tupleset, .. } => json!({ "tupleToUserset": {
            "tupleset": { "relation": tupleset.text }, "computedUserset": { "relation": relation.text },
        } }),
        Rewrite::Union(operands) => json!({ "union": children(operands) }),
        Rewrite::Intersection(operands) => json!({ "intersection": children(operands) }),
        Rewrite::Difference(base, subtract) => {
            json!({ "difference": { "base": rewrite_value(base), "subtract": rewrite_value(subtract) } })
        }
    }
}

fn condition_value(condition: &ConditionSource) -> Value {
    let parameters: Map<String, Value> =
        condition.parameters.iter().map(|(name, of)| (name.text.clone(), type_name_value(of))).collect();
    json!({ "name": condition.name.text, "expression": condition.expression, "parameters": parameters })
}

fn type_name_value(of: &ParameterType) -> Value {
    let word = format!("TYPE_NAME_{}", of.word().to_ascii_uppercase());
    of.of().map_or_else(
        || json!({ "type_name": word }),
        |inner| json!({ "type_name": word, "generic_types": [type_name_value(inner)] }),
    )
}

fn object<'v>(map: &'v Map<String, Value>, key: &str) -> Result<Option<&'v Map<String, Value>>, Flaw> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(found)) => Ok(Some(found)),
        Some(_) => Err(malformed(&format!("`{key}` is an object"))),
    }
}

fn list<'v>(map: &'v Map<String, Value>, key: &str) -> Result<&'v [Value], Flaw> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(found)) => Ok(found),
        Some(_) => Err(malformed(&format!("`{key}` is an array"))),
    }
}

fn name(text: &str) -> Name {
    Name { text: text.to_owned(), span: Span::default() }
}

fn malformed(text: &str) -> Flaw {
    Flaw::new(Kind::Syntax, Span::default(), text)
}
