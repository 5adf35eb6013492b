//! Conditions of tuples: expressions over typed parameters, as `OpenFGA` takes them from CEL.
//!
//! Our own reader and evaluator of the part of CEL that conditions use. The crate for CEL brings a parser generator's
//! runtime and has no bound on cost; a condition here is judged within [`MAX_COST`] units, comprehensions included.

mod infer;
mod judge;
mod parse;
mod time;
mod value;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use crate::model::source::{ConditionSource, ParameterType};
use infer::Type;
use judge::{Failure, Judge};
use parse::{Expr, Function};

/// Units that one evaluation may cost: about one for each name, operator, call, and step over a list.
pub const MAX_COST: u32 = 100;

/// A compiled condition.
#[derive(Clone, Debug)]
pub struct Condition {
    parameters: Vec<(Arc<str>, ParameterType)>,
    expression: Expr,
    patterns: BTreeMap<Arc<str>, regex::Regex>,
}

/// Why a condition cannot be judged. Both are `OpenFGA`'s error 2000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unjudged {
    /// A parameter that the context lacks, or a value that does not convert.
    Context,
    /// The expression fails on these values, or costs too much.
    Evaluation,
}

impl Condition {
    pub(crate) fn compile(source: &ConditionSource) -> Result<Self, String> {
        let expression = parse::parse(&source.expression)?;
        let scope = source
            .parameters
            .iter()
            .map(|(name, of)| (Arc::from(name.text.as_str()), Type::of(of)))
            .collect();
        if !matches!(infer::infer(&expression, &scope)?, Type::Bool | Type::Any) {
            return Err("the expression is not true or false".to_owned());
        }
        let mut patterns = BTreeMap::new();
        gather_patterns(&expression, &mut patterns)?;
        let parameters =
            source.parameters.iter().map(|(name, of)| (name.text.as_str().into(), of.clone())).collect();
        Ok(Self { parameters, expression, patterns })
    }

    /// Whether a stored context fits: only parameters, and values that convert.
    pub(crate) fn accepts(&self, context: &Map<String, Json>) -> bool {
        context.iter().all(|(key, json)| {
            let of = self.parameters.iter().find(|(name, _)| **name == **key);
            of.is_some_and(|(_, of)| value::convert(json, of, 0).is_some())
        })
    }

    /// Judges: values of the tuple win over values of the request. Every parameter must be there, also where the
    /// expression could be decided without it.
    ///
    /// # Errors
    /// [`Unjudged`].
    pub fn judge(
        &self,
        request: &Map<String, Json>,
        tuple: Option<&Map<String, Json>>,
    ) -> Result<bool, Unjudged> {
        let mut variables = BTreeMap::new();
        for (name, of) in &self.parameters {
            let json = tuple.and_then(|tuple| tuple.get(&**name)).or_else(|| request.get(&**name));
            let found = json.and_then(|json| value::convert(json, of, 0)).ok_or(Unjudged::Context)?;
            variables.insert(Arc::clone(name), found);
        }
        Judge::new(&variables, &self.patterns, MAX_COST).truth(&self.expression).map_err(|failure| {
            match failure {
                Failure::Value | Failure::Cost => Unjudged::Evaluation,
            }
        })
    }
}

/// Compiles the patterns of `matches`, which must be written out: one from a context could be of any size.
fn gather_patterns(expression: &Expr, found: &mut BTreeMap<Arc<str>, regex::Regex>) -> Result<(), String> {
    let mut go = |inner: &Expr| gather_patterns(inner, found);
    match expression {
        Expr::Call(target, function, arguments) => {
            let all: Vec<&Expr> = target.as_deref().into_iter().chain(arguments).collect();
            for each in &all {
                gather_patterns(each, found)?;
            }
            if *function != Function::Matches {
                return Ok(());
            }
            let Some(Expr::String(pattern)) = all.get(1) else {
                return Err("the pattern of matches() must be a literal".to_owned());
            };
            let compiled =
                regex::RegexBuilder::new(pattern).size_limit(1 << 20).dfa_size_limit(2 << 20).build();
            found.insert(Arc::clone(pattern), compiled.map_err(|_| format!("`{pattern}` is not a pattern"))?);
            Ok(())
        }
        Expr::Field(inner, _) | Expr::Not(inner) | Expr::Negate(inner) => go(inner),
        Expr::Index(a, b) | Expr::Binary(_, a, b) | Expr::Each(a, _, _, b) => go(a).and_then(|()| go(b)),
        Expr::Conditional(a, b, c) => go(a).and_then(|()| go(b)).and_then(|()| go(c)),
        Expr::List(elements) => elements.iter().try_for_each(go),
        Expr::Map(entries) => entries.iter().try_for_each(|(key, value)| go(key).and_then(|()| go(value))),
        Expr::Null
        | Expr::Bool(_)
        | Expr::Int(_)
        | Expr::Uint(_)
        | Expr::Double(_)
        | Expr::String(_)
        | Expr::Name(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parse as parse_model;
    use serde_json::json;

    fn condition(parameters: &str, expression: &str) -> Result<Condition, String> {
        let text = format!("model\n  schema 1.1\ncondition c({parameters}) {{\n  {expression}\n}}\n");
        let source = parse_model(&text).map_err(|flaws| format!("{flaws:?}"))?;
        Condition::compile(source.conditions.first().unwrap())
    }

    fn judge(parameters: &str, expression: &str, context: Json) -> Result<bool, Unjudged> {
        condition(parameters, expression).unwrap().judge(context.as_object().unwrap(), None)
    }

    #[test]
    fn a_condition_that_is_no_truth_does_not_compile() {
        for (parameters, expression) in [
            ("x: int", "x + 1"),
            ("x: int", "x < \"1\""),
            ("x: int", "y < 1"),
            ("x: string", "x.matches(x)"),
            ("x: string", "x.matches(\"(\")"),
            ("x: int", "x <"),
            ("x: int", "x < 1)"),
            ("x: int", "unknown(x)"),
            ("x: list<int>", "x.exists(y, y + 1)"),
            ("x: int", "!x"),
        ] {
            assert!(condition(parameters, expression).is_err(), "{expression}");
        }
    }

    #[test]
    fn deep_and_long_expressions_are_refused_without_a_deep_stack() {
        let deep = format!("{}true{}", "(".repeat(2_000), ")".repeat(2_000));
        assert!(condition("x: int", &deep).is_err());
        let chain = vec!["true"; 700].join(" && ");
        assert!(condition("x: int", &chain).is_err());
        assert!(condition("x: int", &format!("{}true", "!".repeat(3_000))).is_err());
        assert!(condition("x: int", &format!("x == {}", "1".repeat(5_000))).is_err());
    }

    #[test]
    fn cost_is_bounded() {
        let elements: Vec<i32> = (0..200).collect();
        assert_eq!(
            judge("x: list<int>", "x.all(y, y >= 0)", json!({ "x": elements })),
            Err(Unjudged::Evaluation)
        );
        assert_eq!(judge("x: list<int>", "x.all(y, y >= 0)", json!({ "x": [1, 2, 3] })), Ok(true));
        let text = "a".repeat(2_000);
        assert_eq!(judge("x: string", "x.contains(\"b\")", json!({ "x": text })), Err(Unjudged::Evaluation));
    }

    #[test]
    fn a_missing_parameter_is_an_error_even_where_it_does_not_matter() {
        assert_eq!(judge("x: int, y: int", "x < 1 || y < 1", json!({ "x": 0 })), Err(Unjudged::Context));
        assert_eq!(judge("x: int, y: int", "x < 1 || y < 1", json!({ "x": 0, "y": 5 })), Ok(true));
    }

    #[test]
    fn overflow_and_division_by_zero_are_errors() {
        assert_eq!(judge("x: int", "x + 1 > 0", json!({ "x": i64::MAX })), Err(Unjudged::Evaluation));
        assert_eq!(judge("x: int", "1 / x > 0", json!({ "x": 0 })), Err(Unjudged::Evaluation));
        assert_eq!(judge("x: int", "1 / x > 0 || true", json!({ "x": 0 })), Ok(true), "masked, as in CEL");
    }

    #[test]
    fn values_of_the_tuple_win() {
        let condition = condition("x: int", "x < 10").unwrap();
        let (request, tuple) = (json!({ "x": 5 }), json!({ "x": 50 }));
        assert_eq!(condition.judge(request.as_object().unwrap(), tuple.as_object()), Ok(false));
    }
}
