//! Values against input types: literals are judged, variables are coerced and written anew.

use super::ast::{Type, Value, Variable};
use super::refused::{Judged, invalid};
use super::schema::{Scalar, Schema, Shape, Ty};
use crate::json::{Kind, Node, write_string};

/// Where a variable is used, as far as its type is concerned.
pub(super) struct Place<'a> {
    pub(super) ty: &'a Ty,
    /// The place has a default of its own.
    pub(super) has_default: bool,
}

/// Judges a literal. `used` is told of each variable and where it stands.
pub(super) fn literal<'t>(
    schema: &Schema,
    value: &Value<'t>,
    place: &Place<'_>,
    used: &mut dyn FnMut(&'t str, &Place<'_>) -> Judged<()>,
) -> Judged<()> {
    if let Value::Variable(name) = value {
        return used(name, place);
    }
    if *value == Value::Null {
        return if place.ty.required() { Err(invalid("null-for-non-null")) } else { Ok(()) };
    }
    match (place.ty, value) {
        (Ty::List(inner, _), Value::List(items)) => {
            for item in items {
                literal(schema, item, &Place { ty: inner, has_default: false }, used)?;
            }
            Ok(())
        }
        // One value stands for a list of it.
        (Ty::List(inner, _), value) => literal(schema, value, &Place { ty: inner, has_default: false }, used),
        (Ty::Named(id, _), value) => {
            let Some(ty) = schema.ty(*id) else { return Err(invalid("type-unknown")) };
            match (&ty.shape, value) {
                (Shape::Scalar(scalar), value) => {
                    if literal_fits(*scalar, value) {
                        return match value {
                            Value::List(_) | Value::Object(_) => opaque(value),
                            _ => Ok(()),
                        };
                    }
                    Err(invalid("value-of-another-type"))
                }
                (Shape::Enum(values), Value::Enum(name)) => {
                    let known = values.iter().any(|value| **value == **name);
                    if known { Ok(()) } else { Err(invalid("enum-value-unknown")) }
                }
                (Shape::Input(one_of), Value::Object(members)) => {
                    for (at, (name, value)) in members.iter().enumerate() {
                        if members.iter().take(at).any(|(other, _)| other == name) {
                            return Err(invalid("input-field-twice"));
                        }
                        let field = schema.field(*id, name).ok_or(invalid("input-field-unknown"))?.1;
                        let inner = Place { ty: &field.ty, has_default: field.has_default };
                        literal(schema, value, &inner, used)?;
                    }
                    for field in &ty.fields {
                        let given = members.iter().any(|(name, _)| **name == *field.name);
                        if field.ty.required() && !field.has_default && !given {
                            return Err(invalid("input-field-missing"));
                        }
                    }
                    if *one_of
                        && (members.len() != 1 || members.iter().any(|(_, value)| *value == Value::Null))
                    {
                        return Err(invalid("one-of"));
                    }
                    Ok(())
                }
                _ => Err(invalid("value-of-another-type")),
            }
        }
    }
}

/// Inside a custom scalar anything may stand but a variable, whose type nothing would be compared with.
fn opaque(value: &Value<'_>) -> Judged<()> {
    match value {
        Value::List(items) => items.iter().try_for_each(opaque),
        Value::Object(members) => members.iter().enumerate().try_for_each(|(at, (name, value))| {
            if members.iter().take(at).any(|(other, _)| other == name) {
                return Err(invalid("input-field-twice"));
            }
            opaque(value)
        }),
        Value::Variable(_) => Err(invalid("variable-in-a-scalar")),
        _ => Ok(()),
    }
}

fn literal_fits(scalar: Scalar, value: &Value<'_>) -> bool {
    match (scalar, value) {
        (Scalar::Custom, _)
        | (Scalar::String, Value::Str(_))
        | (Scalar::Boolean, Value::Bool(_))
        | (Scalar::Id, Value::Str(_) | Value::Int(_)) => true,
        (Scalar::Int, Value::Int(text)) => *text != "-0" && text.parse::<i32>().is_ok(),
        (Scalar::Float, Value::Int(text) | Value::Float(text)) => {
            text.parse::<f64>().is_ok_and(f64::is_finite)
        }
        _ => false,
    }
}

/// The type that a variable is declared with.
pub(super) fn declared(schema: &Schema, ty: &Type<'_>) -> Judged<Ty> {
    match ty {
        Type::List(inner, required) => Ok(Ty::List(Box::new(declared(schema, inner)?), *required)),
        Type::Named(name, required) => {
            let id = schema.find(name).filter(|id| schema.is_input(*id));
            Ok(Ty::Named(id.ok_or(invalid("variable-type-unknown"))?, *required))
        }
    }
}

/// `IsVariableUsageAllowed` (GraphQL § 5.8.5).
pub(super) fn usable(variable: &Variable<'_>, ty: &Ty, place: &Place<'_>) -> bool {
    let defaulted =
        place.has_default || variable.default.as_ref().is_some_and(|default| *default != Value::Null);
    if place.ty.required() && !ty.required() {
        return defaulted && fits(ty, place.ty, true);
    }
    fits(ty, place.ty, false)
}

fn fits(of: &Ty, to: &Ty, forgive: bool) -> bool {
    let required = !to.required() || of.required() || forgive;
    match (of, to) {
        (Ty::Named(a, _), Ty::Named(b, _)) => required && a == b,
        (Ty::List(a, _), Ty::List(b, _)) => required && fits(a, b, false),
        _ => false,
    }
}

/// Coerces what was given for a variable and writes it as it goes on.
pub(super) fn coerce(schema: &Schema, node: Node<'_>, ty: &Ty, out: &mut Vec<u8>) -> Judged<()> {
    if node.is_null() {
        out.extend_from_slice(b"null");
        return if ty.required() { Err(invalid("null-for-non-null")) } else { Ok(()) };
    }
    match ty {
        Ty::List(inner, _) if node.kind() == Kind::Array => {
            out.push(b'[');
            for (at, item) in node.items().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                coerce(schema, item, inner, out)?;
            }
            out.push(b']');
            Ok(())
        }
        // One value becomes the list of it, so that everybody behind reads the same.
        Ty::List(inner, _) => {
            out.push(b'[');
            coerce(schema, node, inner, out)?;
            out.push(b']');
            Ok(())
        }
        Ty::Named(id, _) => {
            let Some(ty) = schema.ty(*id) else { return Err(invalid("type-unknown")) };
            match &ty.shape {
                Shape::Scalar(scalar) => {
                    if !json_fits(*scalar, node, true) {
                        return Err(invalid("value-of-another-type"));
                    }
                    match (scalar, node.number_text()) {
                        (Scalar::Id, Some(number)) => write_string(number, out),
                        _ => write(node, out),
                    }
                    Ok(())
                }
                Shape::Enum(values) => match node.as_str() {
                    Some(name) if values.iter().any(|value| **value == *name) => {
                        write_string(name, out);
                        Ok(())
                    }
                    _ => Err(invalid("enum-value-unknown")),
                },
                Shape::Input(one_of) if node.kind() == Kind::Object => {
                    out.push(b'{');
                    for (at, (name, value)) in node.members().enumerate() {
                        let field = schema.field(*id, name).ok_or(invalid("input-field-unknown"))?.1;
                        if at > 0 {
                            out.push(b',');
                        }
                        write_string(name, out);
                        out.push(b':');
                        coerce(schema, value, &field.ty, out)?;
                    }
                    out.push(b'}');
                    for field in &ty.fields {
                        if field.ty.required() && !field.has_default && node.get(&field.name).is_none() {
                            return Err(invalid("input-field-missing"));
                        }
                    }
                    if *one_of && (node.len() != 1 || node.members().any(|(_, value)| value.is_null())) {
                        return Err(invalid("one-of"));
                    }
                    Ok(())
                }
                _ => Err(invalid("value-of-another-type")),
            }
        }
    }
}

/// Whether a JSON value is of a scalar's kind, as a request (`input`) or an answer has it.
pub(super) fn json_fits(scalar: Scalar, node: Node<'_>, input: bool) -> bool {
    match scalar {
        Scalar::Custom => true,
        Scalar::Int => {
            node.is_integer_form() && node.as_i64().is_some_and(|value| i32::try_from(value).is_ok())
        }
        Scalar::Float => node.as_f64().is_some_and(f64::is_finite),
        Scalar::String => node.as_str().is_some(),
        Scalar::Boolean => node.as_bool().is_some(),
        Scalar::Id => {
            node.as_str().is_some() || (node.is_integer_form() && (input || node.number_text().is_some()))
        }
    }
}

/// Writes a value as it is. Recursion is bounded by the scanner's depth.
pub(super) fn write(node: Node<'_>, out: &mut Vec<u8>) {
    match node.kind() {
        Kind::Null => out.extend_from_slice(b"null"),
        Kind::Bool => {
            let text: &[u8] = if node.as_bool() == Some(true) { b"true" } else { b"false" };
            out.extend_from_slice(text);
        }
        Kind::Number => out.extend_from_slice(node.number_text().unwrap_or("0").as_bytes()),
        Kind::String => write_string(node.as_str().unwrap_or(""), out),
        Kind::Array => {
            out.push(b'[');
            for (at, item) in node.items().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        Kind::Object => {
            out.push(b'{');
            for (at, (name, value)) in node.members().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_string(name, out);
                out.push(b':');
                write(value, out);
            }
            out.push(b'}');
        }
    }
}

/// How deep a value is nested.
pub(super) fn depth(node: Node<'_>) -> u32 {
    match node.kind() {
        Kind::Array => node.items().map(depth).max().unwrap_or(0).saturating_add(1),
        Kind::Object => node.members().map(|(_, value)| depth(value)).max().unwrap_or(0).saturating_add(1),
        _ => 0,
    }
}
