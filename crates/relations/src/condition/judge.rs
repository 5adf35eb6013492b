//! Evaluation of an expression, with a bound on what it may cost.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::parse::{Expr, Function, Macro, Operator};
use super::time;
use super::value::{Value, address, in_cidr};

/// Why an expression has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// A value of the wrong kind, an overflow, a division by zero, a key that is not there.
    Value,
    /// The cost is spent.
    Cost,
}

pub(super) struct Judge<'c> {
    variables: &'c BTreeMap<Arc<str>, Value>,
    locals: Vec<(Arc<str>, Value)>,
    patterns: &'c BTreeMap<Arc<str>, regex::Regex>,
    left: u32,
}

type Judged = Result<Value, Failure>;

impl<'c> Judge<'c> {
    pub(super) const fn new(
        variables: &'c BTreeMap<Arc<str>, Value>,
        patterns: &'c BTreeMap<Arc<str>, regex::Regex>,
        cost: u32,
    ) -> Self {
        Self { variables, locals: Vec::new(), patterns, left: cost }
    }

    pub(super) fn truth(&mut self, expression: &Expr) -> Result<bool, Failure> {
        match self.value(expression)? {
            Value::Bool(truth) => Ok(truth),
            _ => Err(Failure::Value),
        }
    }

    fn spend(&mut self, units: usize) -> Result<(), Failure> {
        let units = u32::try_from(units).map_err(|_| Failure::Cost)?;
        self.left = self.left.checked_sub(units).ok_or(Failure::Cost)?;
        Ok(())
    }

    fn value(&mut self, expression: &Expr) -> Judged {
        Ok(match expression {
            Expr::Null => Value::Null,
            Expr::Bool(truth) => Value::Bool(*truth),
            Expr::Int(value) => Value::Int(*value),
            Expr::Uint(value) => Value::Uint(*value),
            Expr::Double(value) => Value::Double(*value),
            Expr::String(text) => Value::String(Arc::clone(text)),
            Expr::Name(name) => {
                self.spend(1)?;
                let local = self.locals.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value);
                local.or_else(|| self.variables.get(name)).cloned().ok_or(Failure::Value)?
            }
            Expr::Field(target, name) => {
                self.spend(1)?;
                match self.value(target)? {
                    Value::Map(map) => map.get(&**name).cloned().ok_or(Failure::Value)?,
                    _ => return Err(Failure::Value),
                }
            }
            Expr::Index(target, index) => {
                self.spend(1)?;
                let (target, index) = (self.value(target)?, self.value(index)?);
                match (target, index) {
                    (Value::List(list), Value::Int(at)) => at_index(&list, usize::try_from(at).ok())?,
                    (Value::List(list), Value::Uint(at)) => at_index(&list, usize::try_from(at).ok())?,
                    (Value::Map(map), Value::String(key)) => map.get(&*key).cloned().ok_or(Failure::Value)?,
                    _ => return Err(Failure::Value),
                }
            }
            Expr::List(elements) => {
                self.spend(1 + elements.len())?;
                let all =
                    elements.iter().map(|element| self.value(element)).collect::<Result<Vec<_>, _>>()?;
                Value::List(Arc::new(all))
            }
            Expr::Map(entries) => {
                self.spend(1 + entries.len())?;
                let mut map = BTreeMap::new();
                for (key, value) in entries {
                    let Value::String(key) = self.value(key)? else { return Err(Failure::Value) };
                    if map.insert(key.to_string(), self.value(value)?).is_some() {
                        return Err(Failure::Value);
                    }
                }
                Value::Map(Arc::new(map))
            }
            Expr::Not(inner) => {
                self.spend(1)?;
                Value::Bool(!self.truth(inner)?)
            }
            Expr::Negate(inner) => {
                self.spend(1)?;
                match self.value(inner)? {
                    Value::Int(value) => Value::Int(value.checked_neg().ok_or(Failure::Value)?),
                    Value::Double(value) => Value::Double(-value),
                    Value::Duration(value) => Value::Duration(-value),
                    _ => return Err(Failure::Value),
                }
            }
            Expr::Binary(operator, left, right) => self.binary(*operator, left, right)?,
            Expr::Conditional(condition, yes, no) => {
                self.spend(1)?;
                let branch = if self.truth(condition)? { yes } else { no };
                self.value(branch)?
            }
            Expr::Call(target, function, arguments) => self.call(target.as_deref(), *function, arguments)?,
            Expr::Each(target, each, variable, body) => self.each(target, *each, variable, body)?,
        })
    }

    fn binary(&mut self, operator: Operator, left: &Expr, right: &Expr) -> Judged {
        self.spend(1)?;
        // CEL: an error on one side is masked where the other side decides.
        if let Operator::And | Operator::Or = operator {
            let decides = operator == Operator::Or;
            let left = self.truth(left);
            if left == Ok(decides) {
                return Ok(Value::Bool(decides));
            }
            let right = self.truth(right);
            if right == Ok(decides) {
                return Ok(Value::Bool(decides));
            }
            left?;
            right?;
            return Ok(Value::Bool(!decides));
        }
        let (left, right) = (self.value(left)?, self.value(right)?);
        self.spend(weight(&left).min(weight(&right)))?;
        Ok(match operator {
            Operator::Equal => Value::Bool(equal(&left, &right)),
            Operator::NotEqual => Value::Bool(!equal(&left, &right)),
            Operator::Less => Value::Bool(compare(&left, &right)? == Ordering::Less),
            Operator::LessEqual => Value::Bool(compare(&left, &right)? != Ordering::Greater),
            Operator::Greater => Value::Bool(compare(&left, &right)? == Ordering::Greater),
            Operator::GreaterEqual => Value::Bool(compare(&left, &right)? != Ordering::Less),
            Operator::In => match &right {
                Value::List(list) => {
                    self.spend(list.len() / 10)?;
                    Value::Bool(list.iter().any(|element| equal(element, &left)))
                }
                Value::Map(map) => match &left {
                    Value::String(key) => Value::Bool(map.contains_key(&**key)),
                    _ => return Err(Failure::Value),
                },
                _ => return Err(Failure::Value),
            },
            Operator::Add => match (&left, &right) {
                (Value::String(a), Value::String(b)) => Value::String(format!("{a}{b}").into()),
                (Value::List(a), Value::List(b)) => {
                    Value::List(Arc::new(a.iter().chain(&**b).cloned().collect()))
                }
                _ => arithmetic(operator, left, right).ok_or(Failure::Value)?,
            },
            _ => arithmetic(operator, left, right).ok_or(Failure::Value)?,
        })
    }

    fn call(&mut self, target: Option<&Expr>, function: Function, arguments: &[Expr]) -> Judged {
        self.spend(1)?;
        if function == Function::Has {
            let [Expr::Field(inner, name)] = arguments else { return Err(Failure::Value) };
            return match self.value(inner)? {
                Value::Map(map) => Ok(Value::Bool(map.contains_key(&**name))),
                _ => Err(Failure::Value),
            };
        }
        let mut values = target.into_iter().chain(arguments);
        let first = self.value(values.next().ok_or(Failure::Value)?)?;
        let second = values.next().map(|second| self.value(second)).transpose()?;
        self.spend(weight(&first))?;
        let found = match (function, first, second) {
            (Function::Size, Value::String(text), None) => whole(text.chars().count()),
            (Function::Size, Value::List(list), None) => whole(list.len()),
            (Function::Size, Value::Map(map), None) => whole(map.len()),
            (Function::StartsWith, Value::String(a), Some(Value::String(b))) => {
                Some(Value::Bool(a.starts_with(&*b)))
            }
            (Function::EndsWith, Value::String(a), Some(Value::String(b))) => {
                Some(Value::Bool(a.ends_with(&*b)))
            }
            (Function::Contains, Value::String(a), Some(Value::String(b))) => {
                Some(Value::Bool(a.contains(&*b)))
            }
            (Function::Matches, Value::String(a), Some(Value::String(b))) => {
                self.patterns.get(&b).map(|pattern| Value::Bool(pattern.is_match(&a)))
            }
            (Function::InCidr, Value::Ip(a), Some(Value::String(b))) => in_cidr(a, &b).map(Value::Bool),
            (function, value, None) => convert(function, value),
            _ => None,
        };
        found.ok_or(Failure::Value)
    }

    fn each(&mut self, target: &Expr, each: Macro, variable: &Arc<str>, body: &Expr) -> Judged {
        self.spend(1)?;
        let elements: Vec<Value> = match self.value(target)? {
            Value::List(list) => list.to_vec(),
            Value::Map(map) => map.keys().map(|key| Value::String(key.as_str().into())).collect(),
            _ => return Err(Failure::Value),
        };
        let (mut hits, mut failure, mut kept) = (0_usize, None, Vec::new());
        let count = elements.len();
        for element in elements {
            self.spend(1)?;
            self.locals.push((Arc::clone(variable), element.clone()));
            let found = if each == Macro::Map { self.value(body) } else { self.truth(body).map(Value::Bool) };
            self.locals.pop();
            match (each, found) {
                (_, Err(Failure::Cost)) => return Err(Failure::Cost),
                (Macro::Map, Ok(value)) => kept.push(value),
                (_, Ok(Value::Bool(true))) => {
                    if each == Macro::Exists {
                        return Ok(Value::Bool(true));
                    }
                    hits += 1;
                    kept.push(element);
                }
                (_, Ok(_)) => {
                    if each == Macro::All {
                        return Ok(Value::Bool(false));
                    }
                }
                (_, Err(error)) => failure = Some(error),
            }
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        Ok(match each {
            Macro::All => Value::Bool(hits == count),
            Macro::Exists => Value::Bool(false),
            Macro::ExistsOne => Value::Bool(hits == 1),
            Macro::Filter | Macro::Map => Value::List(Arc::new(kept)),
        })
    }
}

/// Texts and lists cost by their size, as in the reference.
fn weight(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() / 10,
        Value::List(list) => list.len() / 10,
        Value::Map(map) => map.len() / 10,
        _ => 0,
    }
}

fn at_index(list: &[Value], at: Option<usize>) -> Judged {
    at.and_then(|at| list.get(at)).cloned().ok_or(Failure::Value)
}

fn whole(count: usize) -> Option<Value> {
    i64::try_from(count).ok().map(Value::Int)
}

fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(&**b).all(|(a, b)| equal(a, b))
        }
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| equal(value, other)))
        }
        _ => compare(left, right).map_or_else(|_| left == right, |order| order == Ordering::Equal),
    }
}

/// Numbers compare by value whatever their kind, for a value of type `any` comes as a double.
fn compare(left: &Value, right: &Value) -> Result<Ordering, Failure> {
    use Value::{Bool, Double, Duration, Int, String, Timestamp, Uint};
    let found = match (left, right) {
        (Bool(a), Bool(b)) => Some(a.cmp(b)),
        (Int(a), Int(b)) => Some(a.cmp(b)),
        (Uint(a), Uint(b)) => Some(a.cmp(b)),
        (Int(a), Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Uint(a), Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Double(a), Double(b)) => a.partial_cmp(b),
        (Int(a), Double(b)) => (*a as f64).partial_cmp(b),
        (Uint(a), Double(b)) => (*a as f64).partial_cmp(b),
        (Double(a), Int(b)) => a.partial_cmp(&(*b as f64)),
        (Double(a), Uint(b)) => a.partial_cmp(&(*b as f64)),
        (String(a), String(b)) => Some(a.cmp(b)),
        (Duration(a), Duration(b)) | (Timestamp(a), Timestamp(b)) => Some(a.cmp(b)),
        _ => None,
    };
    found.ok_or(Failure::Value)
}

fn arithmetic(operator: Operator, left: Value, right: Value) -> Option<Value> {
    use Value::{Double, Duration, Int, Timestamp, Uint};
    let span = |value: i128| i64::try_from(value).ok().map(|_| Duration(value));
    Some(match (operator, left, right) {
        (Operator::Add, Int(a), Int(b)) => Int(a.checked_add(b)?),
        (Operator::Subtract, Int(a), Int(b)) => Int(a.checked_sub(b)?),
        (Operator::Multiply, Int(a), Int(b)) => Int(a.checked_mul(b)?),
        (Operator::Divide, Int(a), Int(b)) => Int(a.checked_div(b)?),
        (Operator::Modulo, Int(a), Int(b)) => Int(a.checked_rem(b)?),
        (Operator::Add, Uint(a), Uint(b)) => Uint(a.checked_add(b)?),
        (Operator::Subtract, Uint(a), Uint(b)) => Uint(a.checked_sub(b)?),
        (Operator::Multiply, Uint(a), Uint(b)) => Uint(a.checked_mul(b)?),
        (Operator::Divide, Uint(a), Uint(b)) => Uint(a.checked_div(b)?),
        (Operator::Modulo, Uint(a), Uint(b)) => Uint(a.checked_rem(b)?),
        (Operator::Add, Double(a), Double(b)) => Double(a + b),
        (Operator::Subtract, Double(a), Double(b)) => Double(a - b),
        (Operator::Multiply, Double(a), Double(b)) => Double(a * b),
        (Operator::Divide, Double(a), Double(b)) => Double(a / b),
        (Operator::Add, Duration(a), Duration(b)) => span(a + b)?,
        (Operator::Subtract, Duration(a), Duration(b)) => span(a - b)?,
        (Operator::Add, Timestamp(a), Duration(b)) | (Operator::Add, Duration(b), Timestamp(a)) => {
            Timestamp(a + b)
        }
        (Operator::Subtract, Timestamp(a), Duration(b)) => Timestamp(a - b),
        (Operator::Subtract, Timestamp(a), Timestamp(b)) => span(a - b)?,
        _ => return None,
    })
}

fn convert(function: Function, value: Value) -> Option<Value> {
    Some(match (function, value) {
        (Function::Int, value @ Value::Int(_))
        | (Function::Uint, value @ Value::Uint(_))
        | (Function::Double, value @ Value::Double(_))
        | (Function::String, value @ Value::String(_))
        | (Function::Timestamp, value @ Value::Timestamp(_))
        | (Function::Duration, value @ Value::Duration(_))
        | (Function::IpAddress, value @ Value::Ip(_)) => value,
        (Function::Int, Value::Uint(value)) => Value::Int(i64::try_from(value).ok()?),
        (Function::Int, Value::String(text)) => Value::Int(text.parse().ok()?),
        (Function::Int, Value::Timestamp(value)) => {
            Value::Int(i64::try_from(value.div_euclid(1_000_000_000)).ok()?)
        }
        (Function::Int, Value::Double(value)) if value.abs() < 9.2e18 => Value::Int(value as i64),
        (Function::Uint, Value::Int(value)) => Value::Uint(u64::try_from(value).ok()?),
        (Function::Uint, Value::String(text)) => Value::Uint(text.parse().ok()?),
        (Function::Double, Value::Int(value)) => Value::Double(value as f64),
        (Function::Double, Value::Uint(value)) => Value::Double(value as f64),
        (Function::Double, Value::String(text)) => {
            Value::Double(text.parse().ok().filter(|value: &f64| value.is_finite())?)
        }
        (Function::String, Value::Int(value)) => Value::String(value.to_string().into()),
        (Function::String, Value::Uint(value)) => Value::String(value.to_string().into()),
        (Function::String, Value::Bool(value)) => Value::String(value.to_string().into()),
        (Function::String, Value::Ip(value)) => Value::String(value.to_string().into()),
        (Function::Timestamp, Value::String(text)) => Value::Timestamp(time::timestamp(&text)?),
        (Function::Duration, Value::String(text)) => Value::Duration(time::duration(&text)?),
        (Function::IpAddress, Value::String(text)) => Value::Ip(address(&text)?),
        _ => return None,
    })
}
