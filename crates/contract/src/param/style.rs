//! The styles of OpenAPI: how an array or an object becomes text (`contract.md`, section 5.1).

use smallvec::SmallVec;

use super::grammar::Types;
use crate::violation::{In, Rule};

/// A style.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Style {
    /// `blue,black`
    Simple,
    /// `.blue.black`
    Label,
    /// `;c=blue`
    Matrix,
    /// `c=blue&c=black`
    Form,
    /// `c=blue%20black`
    SpaceDelimited,
    /// `c=blue%7Cblack`
    PipeDelimited,
    /// `c[R]=100`
    DeepObject,
}

impl Style {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "simple" => Self::Simple,
            "label" => Self::Label,
            "matrix" => Self::Matrix,
            "form" => Self::Form,
            "spaceDelimited" => Self::SpaceDelimited,
            "pipeDelimited" => Self::PipeDelimited,
            "deepObject" => Self::DeepObject,
            _ => return None,
        })
    }

    /// What a parameter has that names none.
    pub(crate) fn default_of(location: In) -> Self {
        match location {
            In::Path | In::Header => Self::Simple,
            In::Query | In::Cookie => Self::Form,
        }
    }

    /// As the document names it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Label => "label",
            Self::Matrix => "matrix",
            Self::Form => "form",
            Self::SpaceDelimited => "spaceDelimited",
            Self::PipeDelimited => "pipeDelimited",
            Self::DeepObject => "deepObject",
        }
    }
}

/// What a schema lets a parameter be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) scalar: Types,
    /// Types of the items.
    pub(crate) array: Option<Types>,
    pub(crate) object: Option<Members>,
    /// Something that no style can write: an array in an array, an object in an object.
    pub(crate) nested: bool,
}

/// Properties with their types.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Members {
    pub(crate) properties: Vec<(Box<str>, Types)>,
    /// Types of other properties, when the schema says that there may be some.
    pub(crate) others: Option<Types>,
}

impl Members {
    /// Types of the property `name`; an undeclared one may have any, and is left to the schema to refuse.
    pub(crate) fn types(&self, name: &str) -> Types {
        let declared = self.properties.iter().find(|(n, _)| **n == *name).map(|(_, types)| *types);
        declared.or(self.others).unwrap_or(Types::ALL)
    }
}

/// Whether there is a cell for it in the table of styles; else a word for what has none.
pub(crate) fn defined(location: In, style: Style, explode: bool, shape: &Shape) -> Result<(), &'static str> {
    let scalar = !shape.scalar.is_empty();
    let fits = match location {
        In::Path => matches!(style, Style::Simple | Style::Label | Style::Matrix),
        In::Header => style == Style::Simple,
        In::Cookie => style == Style::Form,
        In::Query => !matches!(style, Style::Simple | Style::Label | Style::Matrix),
    };
    if !fits {
        return Err("in this place");
    }
    if shape.nested {
        return Err("for arrays or objects inside others");
    }
    match style {
        // An object that may also be a scalar is written `c=…` then; the two cannot be confused.
        Style::DeepObject if shape.object.is_none() => Err("for anything but an object"),
        Style::DeepObject if shape.array.is_some() => Err("for an array"),
        Style::SpaceDelimited | Style::PipeDelimited
            if scalar && shape.array.is_none() && shape.object.is_none() =>
        {
            Err("for a single value")
        }
        Style::SpaceDelimited | Style::PipeDelimited if shape.object.is_some() && explode => {
            Err("for an object with `explode: true`")
        }
        Style::Form
            if location == In::Cookie && explode && (shape.array.is_some() || shape.object.is_some()) =>
        {
            Err("for an array or object with `explode: true` in a cookie")
        }
        _ => Ok(()),
    }
}

/// Raw pieces, not decoded yet.
pub(crate) type Pieces<'t> = SmallVec<[&'t str; 8]>;
/// Raw names and values, not decoded yet.
pub(crate) type Pairs<'t> = SmallVec<[(&'t str, &'t str); 4]>;

/// Most items of an array, and most members of an object.
pub(crate) const ITEMS: usize = 100;

/// The text of a single value, without what the style puts in front. `name` is the raw name to expect.
pub(crate) fn scalar<'t>(style: Style, name: &str, raw: &'t str) -> Result<&'t str, Rule> {
    match style {
        Style::Label => raw.strip_prefix('.').ok_or(Rule::Syntax),
        Style::Matrix => {
            let rest = raw.strip_prefix(';').ok_or(Rule::Syntax)?;
            let (found, value) = rest.split_once('=').unwrap_or((rest, ""));
            if found == name { Ok(value) } else { Err(Rule::Syntax) }
        }
        _ => Ok(raw),
    }
}

/// The items of an array in one text (for `form` with `explode`, the text is one item).
pub(crate) fn array<'t>(style: Style, explode: bool, name: &str, raw: &'t str) -> Result<Pieces<'t>, Rule> {
    let pieces: Pieces<'t> = match (style, explode) {
        (Style::Form | Style::SpaceDelimited | Style::PipeDelimited | Style::DeepObject, true) => {
            std::iter::once(raw).collect()
        }
        (Style::Simple, _) | (Style::Form, false) => raw.split(',').collect(),
        (Style::SpaceDelimited, false) => split_any(raw, &["%20", "+"]),
        (Style::PipeDelimited, false) => split_any(raw, &["|", "%7C", "%7c"]),
        (Style::Label, false) => scalar(style, name, raw)?.split(',').collect(),
        (Style::Label, true) => scalar(style, name, raw)?.split('.').collect(),
        (Style::Matrix, false) => scalar(style, name, raw)?.split(',').collect(),
        (Style::Matrix, true) => {
            let rest = raw.strip_prefix(';').ok_or(Rule::Syntax)?;
            let mut pieces = Pieces::new();
            for part in rest.split(';') {
                let (found, value) = part.split_once('=').unwrap_or((part, ""));
                if found != name {
                    return Err(Rule::Syntax);
                }
                pieces.push(value);
                if pieces.len() > ITEMS {
                    return Err(Rule::TooMany);
                }
            }
            pieces
        }
        (Style::DeepObject, false) => return Err(Rule::Syntax),
    };
    if pieces.len() > ITEMS { Err(Rule::TooMany) } else { Ok(pieces) }
}

/// The members of an object in one text.
pub(crate) fn object<'t>(style: Style, explode: bool, name: &str, raw: &'t str) -> Result<Pairs<'t>, Rule> {
    let assigned = |pieces: std::str::Split<'t, char>| -> Result<Pairs<'t>, Rule> {
        let mut pairs = Pairs::new();
        for piece in pieces {
            pairs.push(piece.split_once('=').ok_or(Rule::Syntax)?);
            if pairs.len() > ITEMS {
                return Err(Rule::TooMany);
            }
        }
        Ok(pairs)
    };
    match (style, explode) {
        (Style::Simple, true) => assigned(raw.split(',')),
        (Style::Label, true) => assigned(scalar(style, name, raw)?.split('.')),
        (Style::Matrix, true) => assigned(raw.strip_prefix(';').ok_or(Rule::Syntax)?.split(';')),
        (Style::DeepObject, _) | (_, true) => Err(Rule::Syntax),
        (_, false) => {
            let pieces = array(style, false, name, raw)?;
            let (pairs, rest) = pieces.as_chunks::<2>();
            if rest.is_empty() {
                Ok(pairs.iter().map(|[k, v]| (*k, *v)).collect())
            } else {
                Err(Rule::Syntax)
            }
        }
    }
}

/// Splits at each of several delimiters.
fn split_any<'t>(raw: &'t str, delimiters: &[&str]) -> Pieces<'t> {
    let mut pieces = Pieces::new();
    let mut rest = raw;
    loop {
        let next = delimiters.iter().filter_map(|d| rest.find(d).map(|at| (at, d.len()))).min();
        match next {
            Some((at, length)) if pieces.len() <= ITEMS => {
                pieces.push(rest.get(..at).unwrap_or(""));
                rest = rest.get(at + length..).unwrap_or("");
            }
            _ => {
                pieces.push(rest);
                return pieces;
            }
        }
    }
}
