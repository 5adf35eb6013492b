//! The JSON Schema of `portcullis.yaml`, and the reference page made from it.

use crate::words::Document;
use crate::words::detect::Detection;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;
use std::fmt::Write as _;
use std::sync::LazyLock;

/// The JSON Schema (2020-12) of `portcullis.yaml`, for editors; committed as `portcullis.schema.json`.
pub fn schema() -> String {
    let mut text = serde_json::to_string_pretty(root()).unwrap_or_default();
    text.push('\n');
    text
}

/// The schema as a value; what [`crate::read`] checks files with.
pub(crate) fn root() -> &'static Value {
    static ROOT: LazyLock<Value> = LazyLock::new(|| of::<Document>("portcullis.yaml"));
    &ROOT
}

/// The schema of a file of rules.
pub(crate) fn detection() -> &'static Value {
    static ROOT: LazyLock<Value> = LazyLock::new(|| of::<Detection>("rules of detection"));
    &ROOT
}

fn of<T: JsonSchema>(title: &str) -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut root = generator.into_root_schema_for::<T>().to_value();
    tidy(&mut root);
    if let Value::Object(members) = &mut root {
        members.insert("title".to_owned(), Value::from(title));
    }
    root
}

/// `null` is never written: absent is absent. Rust's sizes of integers mean nothing to people.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Object(members) => {
            if let Some(Value::Array(types)) = members.get_mut("type") {
                types.retain(|one| one != "null");
                if let [one] = types.as_slice() {
                    let one = one.clone();
                    members.insert("type".to_owned(), one);
                }
            }
            if let Some(Value::Array(words)) = members.get_mut("enum") {
                words.retain(|word| !word.is_null());
            }
            for key in ["anyOf", "oneOf"] {
                let Some(Value::Array(several)) = members.get_mut(key) else { continue };
                several.retain(|one| one.get("type").is_none_or(|t| t != "null"));
                several.iter_mut().for_each(describe);
                if let [Value::Object(one)] = several.as_slice() {
                    let one = one.clone();
                    members.remove(key);
                    for (name, value) in one {
                        members.entry(name).or_insert(value);
                    }
                }
            }
            members.values_mut().for_each(tidy);
        }
        _ => {}
    }
}

/// What is said about a variant with one key is said about that key.
fn describe(variant: &mut Value) {
    let Some(text) = variant.get("description").cloned() else { return };
    if let Some(Value::Object(properties)) = variant.get_mut("properties")
        && properties.len() == 1
    {
        for value in properties.values_mut().filter_map(Value::as_object_mut) {
            value.entry("description").or_insert_with(|| text.clone());
        }
    }
}

/// The reference page `docs/reference/configuration.md`: every key with its form and meaning.
pub fn reference() -> String {
    let mut page = String::from(
        "# Configuration\n\n<!-- generated from crates/config/src/words by `cargo xtask schema` -->\n\n\
         Every key of `portcullis.yaml`. Unknown keys are errors. Sizes are written `1MiB`, durations `15m`, rates \
         `100/min`, days `2027-12-31`. Secrets are references: `{ file: PATH }` or `{ env: NAME }`.\n",
    );
    let root = root();
    section(&mut page, "The file", root);
    if let Some(Value::Object(defs)) = root.get("$defs") {
        for (name, schema) in defs {
            section(&mut page, name, schema);
        }
    }
    page
}

fn section(page: &mut String, name: &str, schema: &Value) {
    let _ = writeln!(page, "\n## {name}\n");
    if let Some(text) = schema.get("description").and_then(Value::as_str) {
        let _ = writeln!(page, "{text}\n");
    }
    let alternatives = schema.get("oneOf").or_else(|| schema.get("anyOf")).and_then(Value::as_array);
    for one in alternatives.into_iter().flatten() {
        let words = one
            .get("const")
            .into_iter()
            .chain(one.get("enum").and_then(Value::as_array).into_iter().flatten());
        for word in words.filter_map(Value::as_str) {
            let _ = writeln!(page, "- `{word}`: {}", described(one));
        }
        if let Some(Value::Object(properties)) = one.get("properties") {
            for (key, value) in properties {
                let text = if one.get("description").is_some() { described(one) } else { described(value) };
                let _ = writeln!(page, "- `{{ {key}: … }}`: {text}");
            }
        }
    }
    for word in schema.get("enum").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        let _ = writeln!(page, "- `{word}`");
    }
    let Some(Value::Object(properties)) = schema.get("properties") else { return };
    let _ = writeln!(page, "| key | form | meaning |\n|---|---|---|");
    let required = schema.get("required").and_then(Value::as_array);
    for (key, value) in properties {
        let needed = required.is_some_and(|all| all.iter().any(|one| one == key));
        let mark = if needed { " (required)" } else { "" };
        let _ = writeln!(page, "| `{key}`{mark} | {} | {} |", form(value), described(value));
    }
}

fn described(schema: &Value) -> String {
    schema.get("description").and_then(Value::as_str).unwrap_or("").replace('\n', " ").replace('|', "\\|")
}

fn form(schema: &Value) -> String {
    let text = |name: &str| schema.get(name).and_then(Value::as_str);
    if let Some(name) = text("$ref") {
        let name = name.rsplit('/').next().unwrap_or(name);
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(several) = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array) {
        let mut parts: Vec<String> = several.iter().map(form).collect();
        parts.dedup();
        return parts.join(" or ");
    }
    if let Some(word) = text("const") {
        return format!("`{word}`");
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        let words: Vec<String> = words.iter().filter_map(Value::as_str).map(|w| format!("`{w}`")).collect();
        return words.join(", ");
    }
    if let Some(example) = schema.get("examples").and_then(|e| e.get(0)).and_then(Value::as_str) {
        return format!("`{example}`");
    }
    match (text("type"), schema.get("items"), schema.get("additionalProperties")) {
        (Some("array"), Some(items), _) => format!("list of {}", form(items)),
        (Some("object"), _, Some(values @ Value::Object(_))) => format!("NAME: {}", form(values)),
        (Some("string"), _, _) => "text".to_owned(),
        (Some("integer"), _, _) => "number".to_owned(),
        (Some("boolean"), _, _) => "true or false".to_owned(),
        (Some(other), _, _) => other.to_owned(),
        _ => String::new(),
    }
}
