//! A model as text again.

use super::source::{ParameterType, RelationSource, Rewrite, Source};
use super::validate::{describe, operands};

/// The model in the model language: relations and conditions by name, one blank line between definitions.
#[must_use]
pub fn to_text(source: &Source) -> String {
    let mut out = String::new();
    if let Some(module) = &source.module {
        out.push_str(&format!("module {}\n", module.text));
    } else if let Some(schema) = &source.schema {
        out.push_str(&format!("model\n  schema {}\n", schema.text));
    }
    for each in &source.types {
        let extend = if each.extends { "extend " } else { "" };
        out.push_str(&format!("\n{extend}type {}\n", each.name.text));
        let mut relations: Vec<_> = each.relations.iter().collect();
        relations.sort_by(|a, b| a.name.text.cmp(&b.name.text));
        if !relations.is_empty() {
            out.push_str("  relations\n");
        }
        for relation in relations {
            out.push_str(&format!(
                "    define {}: {}\n",
                relation.name.text,
                phrase(relation, &relation.rewrite)
            ));
        }
    }
    let mut conditions: Vec<_> = source.conditions.iter().collect();
    conditions.sort_by(|a, b| a.name.text.cmp(&b.name.text));
    for condition in conditions {
        let mut parameters: Vec<_> =
            condition.parameters.iter().map(|(name, of)| format!("{}: {}", name.text, word(of))).collect();
        parameters.sort();
        out.push_str(&format!(
            "\ncondition {}({}) {{\n  {}\n}}\n",
            condition.name.text,
            parameters.join(", "),
            condition.expression
        ));
    }
    out
}

fn phrase(relation: &RelationSource, rewrite: &Rewrite) -> String {
    let operator = match rewrite {
        Rewrite::This => {
            let entries: Vec<_> = relation.restrictions.iter().map(|each| describe(each, true)).collect();
            return format!("[{}]", entries.join(", "));
        }
        Rewrite::Computed(name) => return name.text.clone(),
        Rewrite::From { relation, tupleset, .. } => {
            return format!("{} from {}", relation.text, tupleset.text);
        }
        Rewrite::Union(_) => " or ",
        Rewrite::Intersection(_) => " and ",
        Rewrite::Difference(..) => " but not ",
    };
    let mut parts = operands(rewrite);
    if !matches!(rewrite, Rewrite::Difference(..)) {
        // A direct assignment can only be said first.
        parts.sort_by_key(|operand| **operand != Rewrite::This);
    }
    let parts = parts.into_iter().map(|operand| {
        let text = phrase(relation, operand);
        if operands(operand).is_empty() { text } else { format!("({text})") }
    });
    parts.collect::<Vec<_>>().join(operator)
}

fn word(of: &ParameterType) -> String {
    of.of().map_or_else(|| of.word().to_owned(), |inner| format!("{}<{}>", of.word(), word(inner)))
}
