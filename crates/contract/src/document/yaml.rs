//! YAML 1.2, core schema, strictly: what two readers could understand differently is refused.

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Tag};

use super::tree::{Stop, Tree};
use super::{Bounds, Finding, Node, Span, Value};

/// Reads one document.
pub(super) fn read(file: u16, text: &str, bounds: &Bounds) -> Result<Node, Vec<Finding>> {
    let mut tree = Tree::new(bounds);
    match events(file, text, bounds, &mut tree) {
        Err(stop) => Err(tree.stopped(stop)),
        Ok(()) => match tree.finish()? {
            Some(node) => Ok(node),
            None => Ok(Node { at: Span { file, line: 1, column: 1, ..Span::default() }, value: Value::Null }),
        },
    }
}

fn events(file: u16, text: &str, bounds: &Bounds, tree: &mut Tree) -> Result<(), Stop> {
    let mut options = granit_parser::Options::default();
    options.flow_nesting_limit = bounds.depth + 1;
    options.block_nesting_limit = bounds.depth + 1;
    options.set_emit_comments(false);
    let mut documents = 0u32;
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| syntax(file, &error))?;
        let at = place(file, span);
        match event {
            Event::DocumentStart(..) => {
                documents += 1;
                if documents > 1 {
                    return Err(Finding::error("document-syntax", at, "a second document begins here")
                        .help("keep one document in a file"));
                }
            }
            Event::Scalar(value, style, anchor, tag) => {
                tagged(tag.as_deref(), at)?;
                scalar(tree, &value, style, anchor, at)?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                tagged(tag.as_deref(), at)?;
                container_key(tree, at)?;
                tree.begin_array(at, anchor)?;
            }
            Event::MappingStart(_, anchor, tag) => {
                tagged(tag.as_deref(), at)?;
                container_key(tree, at)?;
                tree.begin_object(at, anchor)?;
            }
            Event::SequenceEnd | Event::MappingEnd => tree.end(at.end)?,
            Event::Alias(id) => {
                container_key(tree, at)?;
                tree.alias(id, at)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn scalar(tree: &mut Tree, value: &str, style: ScalarStyle, anchor: usize, at: Span) -> Result<(), Stop> {
    let plain = matches!(style, ScalarStyle::Plain);
    if !tree.expects_key() {
        let value = if plain { resolve(value) } else { Value::String(value.into()) };
        return tree.scalar(at, value, anchor);
    }
    if plain && value == "<<" {
        return Err(Finding::error(
            "yaml-merge-key",
            at,
            "merge keys are not read: YAML readers disagree about them",
        )
        .help("write the keys out, or use `$ref` or an alias for a whole value"));
    }
    // An implicit null (`: x`) and an anchored key are legal and never meant.
    if anchor != 0 || (plain && value.is_empty()) || (plain && value == "~") {
        return Err(Finding::error("document-syntax", at, "keys are text without an anchor"));
    }
    tree.key(value, at);
    Ok(())
}

/// The core schema (YAML 1.2.2 § 10.3.2) for a plain scalar. Numbers that JSON cannot spell stay text.
fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        text if is_json_number(text) => Value::Number(text.into()),
        text => Value::String(text.into()),
    }
}

/// RFC 8259 § 6.
pub(super) fn is_json_number(text: &str) -> bool {
    let digits = |s: &str| s.bytes().take_while(u8::is_ascii_digit).count();
    let rest = text.strip_prefix('-').unwrap_or(text);
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest.starts_with('0')) {
        return false;
    }
    let mut rest = rest.get(whole..).unwrap_or("");
    if let Some(fraction) = rest.strip_prefix('.') {
        let n = digits(fraction);
        if n == 0 {
            return false;
        }
        rest = fraction.get(n..).unwrap_or("");
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let n = digits(exponent);
        if n == 0 {
            return false;
        }
        rest = exponent.get(n..).unwrap_or("");
    }
    rest.is_empty()
}

fn tagged(tag: Option<&Tag>, at: Span) -> Result<(), Stop> {
    match tag {
        None => Ok(()),
        Some(_) => Err(Finding::error("yaml-tag", at, "YAML tags are not read")
            .help("leave the tag out; quote the value if it is text")),
    }
}

fn container_key(tree: &Tree, at: Span) -> Result<(), Stop> {
    if tree.expects_key() {
        return Err(Finding::error(
            "document-syntax",
            at,
            "a key is text, not a list, a mapping or an alias",
        ));
    }
    Ok(())
}

fn place(file: u16, span: granit_parser::Span) -> Span {
    let bytes = span.byte_range().unwrap_or(0..0);
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Span {
        file,
        start: number(bytes.start),
        end: number(bytes.end),
        line: number(span.start.line()),
        column: number(span.start.col().saturating_add(1)),
    }
}

fn syntax(file: u16, error: &ScanError) -> Finding {
    let mark = error.marker();
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let start = number(mark.byte_offset().unwrap_or(0));
    let at = Span {
        file,
        start,
        end: start.saturating_add(1),
        line: number(mark.line()),
        column: number(mark.col().saturating_add(1)),
    };
    Finding::error("document-syntax", at, error.info())
}
