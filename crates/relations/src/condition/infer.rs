//! Types of expressions, judged when a model is compiled: a condition is of type bool, and mixes no types.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::parse::{Expr, Function, Macro, Operator};
use crate::model::source::ParameterType;

/// The type of an expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Type {
    /// Known when it is judged.
    Any,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Duration,
    Timestamp,
    Ip,
    List(Box<Type>),
    Map(Box<Type>),
}

impl Type {
    pub(super) fn of(parameter: &ParameterType) -> Self {
        match parameter {
            ParameterType::Bool => Self::Bool,
            ParameterType::String => Self::String,
            ParameterType::Int => Self::Int,
            ParameterType::Uint => Self::Uint,
            ParameterType::Double => Self::Double,
            ParameterType::Duration => Self::Duration,
            ParameterType::Timestamp => Self::Timestamp,
            ParameterType::IpAddress => Self::Ip,
            ParameterType::Any => Self::Any,
            ParameterType::Map(of) => Self::Map(Box::new(Self::of(of))),
            ParameterType::List(of) => Self::List(Box::new(Self::of(of))),
        }
    }

    fn fits(&self, other: &Self) -> bool {
        match (self, other) {
            // Anything may be compared with null, as in the reference.
            (Self::Any | Self::Null, _) | (_, Self::Any | Self::Null) => true,
            (Self::List(a), Self::List(b)) | (Self::Map(a), Self::Map(b)) => a.fits(b),
            _ => self == other,
        }
    }
}

type Scope = BTreeMap<Arc<str>, Type>;

/// The type of `expression`, or what is wrong with it.
pub(super) fn infer(expression: &Expr, scope: &Scope) -> Result<Type, String> {
    Ok(match expression {
        Expr::Null => Type::Null,
        Expr::Bool(_) => Type::Bool,
        Expr::Int(_) => Type::Int,
        Expr::Uint(_) => Type::Uint,
        Expr::Double(_) => Type::Double,
        Expr::String(_) => Type::String,
        Expr::Name(name) => scope.get(name).cloned().ok_or_else(|| format!("`{name}` is not a parameter"))?,
        Expr::Field(target, name) => match infer(target, scope)? {
            Type::Map(of) => *of,
            Type::Any => Type::Any,
            _ => return Err(format!("only a map has a field `{name}`")),
        },
        Expr::Index(target, index) => match (infer(target, scope)?, infer(index, scope)?) {
            (Type::List(of), Type::Int | Type::Uint | Type::Any)
            | (Type::Map(of), Type::String | Type::Any) => *of,
            (Type::Any, _) => Type::Any,
            _ => return Err("an index is a number for a list, and a text for a map".to_owned()),
        },
        Expr::List(elements) => Type::List(Box::new(common(elements, scope)?)),
        Expr::Map(entries) => {
            for (key, _) in entries {
                expect(key, &Type::String, scope)?;
            }
            let mut of = None;
            for (_, value) in entries {
                of = Some(join(of, infer(value, scope)?));
            }
            Type::Map(Box::new(of.unwrap_or(Type::Any)))
        }
        Expr::Not(inner) => expect(inner, &Type::Bool, scope)?,
        Expr::Negate(inner) => match infer(inner, scope)? {
            found @ (Type::Int | Type::Double | Type::Duration | Type::Any) => found,
            _ => return Err("only a number can be negated".to_owned()),
        },
        Expr::Binary(operator, left, right) => binary(*operator, infer(left, scope)?, infer(right, scope)?)?,
        Expr::Conditional(condition, yes, no) => {
            expect(condition, &Type::Bool, scope)?;
            join(Some(infer(yes, scope)?), infer(no, scope)?)
        }
        Expr::Call(target, function, arguments) => call(target.as_deref(), *function, arguments, scope)?,
        Expr::Each(target, each, variable, body) => {
            let of = match infer(target, scope)? {
                Type::List(of) => *of,
                Type::Map(_) => Type::String,
                Type::Any => Type::Any,
                _ => return Err("only a list or a map has elements".to_owned()),
            };
            let mut inner = scope.clone();
            inner.insert(Arc::clone(variable), of.clone());
            let found = infer(body, &inner)?;
            match each {
                Macro::Map => Type::List(Box::new(found)),
                _ if !found.fits(&Type::Bool) => return Err("a predicate is true or false".to_owned()),
                Macro::Filter => Type::List(Box::new(of)),
                Macro::All | Macro::Exists | Macro::ExistsOne => Type::Bool,
            }
        }
    })
}

fn binary(operator: Operator, left: Type, right: Type) -> Result<Type, String> {
    use Type::{Any, Bool, Double, Duration, Int, List, Map, String as Text, Timestamp, Uint};
    let mixed = || Err(format!("{operator:?} cannot take {left:?} and {right:?}"));
    match operator {
        Operator::Or | Operator::And => match (&left, &right) {
            (Bool | Any, Bool | Any) => Ok(Bool),
            _ => mixed(),
        },
        Operator::Equal | Operator::NotEqual if left.fits(&right) => Ok(Bool),
        Operator::Less | Operator::LessEqual | Operator::Greater | Operator::GreaterEqual => {
            match (&left, &right) {
                (Any, Any | Bool | Int | Uint | Double | Text | Duration | Timestamp)
                | (Bool | Int | Uint | Double | Text | Duration | Timestamp, Any) => Ok(Bool),
                (Bool | Int | Uint | Double | Text | Duration | Timestamp, _) if left == right => Ok(Bool),
                _ => mixed(),
            }
        }
        Operator::In => match &right {
            List(of) if left.fits(of) => Ok(Bool),
            Map(_) if left.fits(&Text) => Ok(Bool),
            Any => Ok(Bool),
            _ => mixed(),
        },
        Operator::Add => match (&left, &right) {
            (Any, _) | (_, Any) => Ok(Any),
            (Timestamp, Duration) | (Duration, Timestamp) => Ok(Timestamp),
            (Int | Uint | Double | Text | Duration | List(_), _) if left.fits(&right) => Ok(left),
            _ => mixed(),
        },
        Operator::Subtract => match (&left, &right) {
            (Any, _) | (_, Any) => Ok(Any),
            (Timestamp, Duration) => Ok(Timestamp),
            (Timestamp, Timestamp) => Ok(Duration),
            (Int | Uint | Double | Duration, _) if left == right => Ok(left),
            _ => mixed(),
        },
        Operator::Multiply | Operator::Divide => match (&left, &right) {
            (Any, _) | (_, Any) => Ok(Any),
            (Int | Uint | Double, _) if left == right => Ok(left),
            _ => mixed(),
        },
        Operator::Modulo => match (&left, &right) {
            (Any, _) | (_, Any) => Ok(Any),
            (Int | Uint, _) if left == right => Ok(left),
            _ => mixed(),
        },
        Operator::Equal | Operator::NotEqual => mixed(),
    }
}

fn call(
    target: Option<&Expr>,
    function: Function,
    arguments: &[Expr],
    scope: &Scope,
) -> Result<Type, String> {
    let all: Vec<&Expr> = target.into_iter().chain(arguments).collect();
    let count = |wanted: usize| {
        if all.len() == wanted {
            Ok(())
        } else {
            Err(format!("{function:?} takes another number of arguments"))
        }
    };
    let one = || match all.as_slice() {
        [only] => infer(only, scope),
        _ => Err(format!("{function:?} takes one argument")),
    };
    let texts = |found: Type| {
        count(2)?;
        for each in &all {
            expect(each, &Type::String, scope)?;
        }
        Ok(found)
    };
    match function {
        Function::Size => match one()? {
            Type::String | Type::List(_) | Type::Map(_) | Type::Any => Ok(Type::Int),
            _ => Err("only a text, a list or a map has a size".to_owned()),
        },
        Function::Has => match all.as_slice() {
            [Expr::Field(inner, _)] => {
                infer(inner, scope)?;
                Ok(Type::Bool)
            }
            _ => Err("has() takes a field".to_owned()),
        },
        Function::StartsWith | Function::EndsWith | Function::Contains | Function::Matches => {
            texts(Type::Bool)
        }
        Function::InCidr => {
            count(2)?;
            let (Some(address), Some(block)) = (all.first(), all.get(1)) else {
                return count(2).map(|()| Type::Bool);
            };
            expect(address, &Type::Ip, scope)?;
            expect(block, &Type::String, scope)?;
            Ok(Type::Bool)
        }
        Function::Int => one().map(|_| Type::Int),
        Function::Uint => one().map(|_| Type::Uint),
        Function::Double => one().map(|_| Type::Double),
        Function::String => one().map(|_| Type::String),
        Function::Timestamp => one().map(|_| Type::Timestamp),
        Function::Duration => one().map(|_| Type::Duration),
        Function::IpAddress => one().map(|_| Type::Ip),
    }
}

fn expect(expression: &Expr, wanted: &Type, scope: &Scope) -> Result<Type, String> {
    let found = infer(expression, scope)?;
    if found.fits(wanted) { Ok(wanted.clone()) } else { Err(format!("expected {wanted:?}, found {found:?}")) }
}

fn common(elements: &[Expr], scope: &Scope) -> Result<Type, String> {
    let mut of = None;
    for element in elements {
        of = Some(join(of, infer(element, scope)?));
    }
    Ok(of.unwrap_or(Type::Any))
}

fn join(known: Option<Type>, next: Type) -> Type {
    match known {
        None => next,
        Some(known) if known == next => known,
        Some(_) => Type::Any,
    }
}
