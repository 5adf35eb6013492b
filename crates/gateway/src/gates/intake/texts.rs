//! Strings that no upstream should see (contract.md § 10).

use super::super::route::Matched;
use super::refusal::report_or_refuse;
use crate::passage::Passage;
use portcullis_contract::body::text::{self, TextRules};
use portcullis_contract::json::Tape;
use portcullis_contract::model::TextRule;
use portcullis_contract::schema::CompiledSchema;
use portcullis_contract::violation::Violation;
use portcullis_core::verdict::Stop;

/// Nothing that a rule about text could refuse: visible ASCII without an escape, and no rule about markup. Controls are
/// the scanner's to refuse.
pub(super) fn is_harmless(bytes: &[u8], rules: TextRules) -> bool {
    rules.markup == TextRule::None && bytes.iter().fold(true, |fine, b| fine & (*b < 0x7f) & (*b != b'\\'))
}

/// Strings that no upstream should see (contract.md § 10).
pub(super) fn texts(
    tape: &Tape,
    rules: TextRules,
    matched: &Matched<'_>,
    passage: &Passage,
) -> Result<(), Stop> {
    let nodes = (0..u32::try_from(tape.len()).unwrap_or(u32::MAX)).filter_map(|at| tape.node(at));
    for node in nodes {
        if let Some(Err(rule)) = node.as_str().map(|string| text::check(string, rules)) {
            return report_or_refuse(
                vec![Violation::pointer(rule, node.location(), "text")],
                matched,
                passage,
            );
        }
    }
    Ok(())
}

/// Rules about the text of single properties, and about the schemes of URLs where text is `plain`.
pub(super) fn marked(
    schema: &CompiledSchema,
    tape: &Tape,
    matched: &Matched<'_>,
    passage: &Passage,
) -> Result<(), Stop> {
    let found = schema.texts(tape, matched.operation().request.text);
    if found.is_empty() { Ok(()) } else { report_or_refuse(found, matched, passage) }
}
