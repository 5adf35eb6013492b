//! Reading the parameters of one request.

use std::borrow::Cow;

use portcullis_core::head::{CanonicalPath, Head};
use smallvec::SmallVec;

use super::grammar::{self, Types, decode};
use super::query::{Names, Owner};
use super::style::{self, ITEMS, Members, Style};
use super::{Parameters, Scalar, ScalarKind, Value};
use crate::body::text;
use crate::model::{Over, Parameter, Segments, TextRule, Unknown};
use crate::violation::{In, MOST, Rule, Violation};

/// Most pairs of a query.
const PAIRS: usize = 100;
/// Most pairs of a form.
pub(crate) const FORM_PAIRS: usize = 1000;
/// Most cookies.
const COOKIES: usize = 50;

/// Everything that reading needs of an operation.
pub(crate) struct Reading<'o> {
    pub(crate) parameters: &'o [Parameter],
    pub(crate) names: &'o Names,
    pub(crate) unknown: Unknown,
}

/// A pair of a query or form, its value still raw.
type Pair<'q> = (u16, Option<Cow<'q, str>>, &'q str);
type PairList<'q> = SmallVec<[Pair<'q>; 8]>;

impl Reading<'_> {
    /// Decodes and checks all parameters; up to 20 violations together.
    pub(crate) fn read(&self, head: &Head, path: &Segments) -> Result<Parameters, Vec<Violation>> {
        let mut out =
            Parameters { values: Vec::with_capacity(self.parameters.len()), ..Parameters::default() };
        let mut violations = Vec::new();
        let pairs = self.query(head, &mut out, &mut violations);
        for (index, parameter) in self.parameters.iter().enumerate() {
            let value = match parameter.location {
                In::Path => parameter.in_path(head.path(), path).map(Some),
                In::Query => parameter.in_pairs(index, &pairs),
                In::Header => parameter.in_header(head),
                In::Cookie => parameter.in_cookie(head),
            };
            let value = value.and_then(|value| match value {
                None if parameter.required => Err(Rule::Required.into()),
                None => Ok(None),
                Some(value) => parameter.check(value).map(Some),
            });
            match value {
                Ok(value) => out.values.push(value),
                Err(Wrong::Rule(rule)) => {
                    out.values.push(None);
                    violations.push(parameter.violation(rule));
                }
                Err(Wrong::Schema(value)) => {
                    out.values.push(None);
                    violations.extend(parameter.check.violations(
                        &value,
                        &parameter.name,
                        parameter.location,
                    ));
                }
            }
        }
        if violations.is_empty() {
            Ok(out)
        } else {
            violations.truncate(MOST);
            Err(violations)
        }
    }

    /// Gives each pair of the query to its parameter; undeclared ones are judged here.
    fn query<'h>(
        &self,
        head: &'h Head,
        out: &mut Parameters,
        violations: &mut Vec<Violation>,
    ) -> PairList<'h> {
        let mut owned = PairList::new();
        if head.query().is_none_or(str::is_empty) {
            return owned;
        }
        for (count, (name, value)) in head.target().query_pairs().enumerate() {
            if count >= PAIRS || violations.len() >= MOST {
                violations.push(Violation::parameter(Rule::TooMany, "", In::Query, "pairs of the query"));
                break;
            }
            if name.is_empty() {
                violations.push(Violation::parameter(Rule::Syntax, "", In::Query, "a pair without a name"));
                continue;
            }
            let name = match decode(name, true) {
                Ok(name) => name,
                Err(rule) => {
                    violations.push(Violation::parameter(rule, "", In::Query, "the name of a pair"));
                    continue;
                }
            };
            let raw = value.unwrap_or("");
            let owner = self.names.owner(&name);
            match owner {
                Owner::Whole(index) => owned.push((index, None, raw)),
                Owner::Property(index, property) => {
                    let property = property.to_owned();
                    owned.push((index, Some(Cow::Owned(property)), raw));
                }
                Owner::Nobody => {
                    if let Err(rule) = self.undeclared(&name, raw, out) {
                        violations.push(Violation::parameter(rule, &name, In::Query, "not declared"));
                    }
                }
            }
        }
        owned
    }

    fn undeclared(&self, name: &str, raw: &str, out: &mut Parameters) -> Result<(), Rule> {
        match self.unknown {
            Unknown::Reject => Err(Rule::UnknownParameter),
            Unknown::Strip => {
                out.stripped = out.stripped.saturating_add(1);
                Ok(())
            }
            Unknown::Allow => {
                self.names.may_pass(name)?;
                let value = decode(raw, true)?;
                text::check(&value, text::TextRules::default())?;
                out.others.push((name.into(), (*value).into()));
                Ok(())
            }
        }
    }
}

/// Why a value was not taken.
pub(crate) enum Wrong {
    /// By the way it is written.
    Rule(Rule),
    /// By its schema.
    Schema(Value),
}

impl From<Rule> for Wrong {
    fn from(rule: Rule) -> Self {
        Self::Rule(rule)
    }
}

impl Parameter {
    fn violation(&self, rule: Rule) -> Violation {
        Violation::parameter(
            rule,
            &self.name,
            self.location,
            format!("the parameter on line {}", self.at.line),
        )
    }

    fn in_path(&self, path: &CanonicalPath, found: &Segments) -> Result<Value, Wrong> {
        let slot = found.slots.get(usize::from(self.slot)).ok_or(Rule::Required)?;
        let segment = path.segment(usize::from(slot.segment)).ok_or(Rule::Required)?;
        let whole = slot.end == u32::MAX;
        if whole && self.style == Style::Simple && self.shape.array.is_none() && self.shape.object.is_none() {
            // The segment is decoded already, once.
            return Ok(self.one(Cow::Borrowed(segment.text))?);
        }
        let encoded = segment.encoded();
        let text = if whole {
            &*encoded
        } else {
            let (start, end) = (usize::try_from(slot.start), usize::try_from(slot.end));
            start.ok().zip(end.ok()).and_then(|(start, end)| encoded.get(start..end)).ok_or(Rule::Syntax)?
        };
        self.one_text(text, false)
    }

    fn in_header(&self, head: &Head) -> Result<Option<Value>, Wrong> {
        let Some(text) = head.header(&self.name) else { return Ok(None) };
        let list = self.shape.array.is_some() || self.shape.object.is_some();
        if !list && head.fields().was_repeated(&self.name) {
            return Err(Rule::DuplicateParameter.into());
        }
        if !list && !self.json {
            // Header values are not percent-encoded (OpenAPI 3.1.1, appendix D).
            return Ok(Some(self.one(Cow::Borrowed(text))?));
        }
        self.one_text(text, false).map(Some)
    }

    fn in_cookie(&self, head: &Head) -> Result<Option<Value>, Wrong> {
        let mut found = None;
        for (count, (name, value)) in head.cookies().enumerate() {
            if count >= COOKIES {
                return Err(Rule::TooMany.into());
            }
            if *name == *self.name && found.replace(value).is_some() {
                return Err(Rule::DuplicateParameter.into());
            }
        }
        let Some(text) = found else { return Ok(None) };
        let list = self.shape.array.is_some() || self.shape.object.is_some();
        // RFC 6265 § 4.1.1; a list has commas between its items.
        let octet = |b: u8| {
            matches!(b, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e) || (list && b == b',')
        };
        if !text.bytes().all(octet) {
            return Err(Rule::Characters.into());
        }
        self.one_text(text, false).map(Some)
    }

    /// A value that stands in one text, still encoded.
    fn one_text(&self, raw: &str, plus: bool) -> Result<Value, Wrong> {
        if self.json {
            return Ok(self.json_text(&self.decode(raw, plus)?)?);
        }
        let mut wrong = Wrong::Rule(Rule::Syntax);
        let name = self.encoded_name();
        if !self.shape.scalar.is_empty() {
            match style::scalar(self.style, &name, raw).and_then(|text| self.one(self.decode(text, plus)?)) {
                // Several shapes: the first that validates.
                Ok(value) if self.is_plain() || self.check.accepts(&value) => return Ok(value),
                Ok(value) => wrong = Wrong::Schema(value),
                Err(rule) => wrong = rule.into(),
            }
        }
        if let Some(types) = self.shape.array {
            let items = style::array(self.style, self.explode, &name, raw);
            match items.and_then(|items| self.items(&items, types, plus)) {
                Ok(value) if self.shape.object.is_none() || self.check.accepts(&value) => return Ok(value),
                Ok(value) => wrong = Wrong::Schema(value),
                Err(rule) => wrong = rule.into(),
            }
        }
        if self.shape.object.is_some() {
            let pairs = style::object(self.style, self.explode, &name, raw);
            match pairs.and_then(|pairs| {
                let pairs =
                    pairs.iter().map(|(name, value)| Ok((self.decode(self.trim(name), plus)?, *value)));
                self.members(pairs.collect::<Result<SmallVec<[_; 4]>, Rule>>()?, plus)
            }) {
                Ok(value) => return Ok(value),
                Err(rule) => wrong = rule.into(),
            }
        }
        Err(wrong)
    }

    /// A value out of the pairs of a query or form that belong to parameter `index`.
    pub(crate) fn in_pairs(&self, index: usize, pairs: &[Pair<'_>]) -> Result<Option<Value>, Wrong> {
        let mut own = pairs.iter().filter(|(owner, ..)| usize::from(*owner) == index);
        let Some(first) = own.next() else { return Ok(None) };
        if first.1.is_some() {
            // An exploded or deep object, perhaps beside the whole, which would be a second reading.
            let mut members = SmallVec::<[_; 4]>::new();
            for (_, property, raw) in std::iter::once(first).chain(own) {
                let property = property.as_deref().ok_or(Rule::DuplicateParameter)?;
                members.push((Cow::Borrowed(property), *raw));
            }
            return Ok(Some(self.members(members, true)?));
        }
        let repeats = self.explode && self.shape.array.is_some() && !self.json;
        let mut rest = own.peekable();
        if !repeats {
            if rest.peek().is_some() {
                return Err(Rule::DuplicateParameter.into());
            }
            return self.one_text(first.2, true).map(Some);
        }
        let raws: SmallVec<[&str; 8]> = std::iter::once(first).chain(rest).map(|(_, _, raw)| *raw).collect();
        if pairs.iter().any(|(owner, property, _)| usize::from(*owner) == index && property.is_some()) {
            return Err(Rule::DuplicateParameter.into());
        }
        if let [raw] = raws.as_slice()
            && !self.shape.scalar.is_empty()
        {
            // One pair may be the scalar or an array of one: the first that validates.
            if let Ok(value) = self.one(self.decode(raw, true)?)
                && self.check.accepts(&value)
            {
                return Ok(Some(value));
            }
        }
        Ok(Some(self.items(&raws, self.shape.array.unwrap_or(Types::ALL), true)?))
    }

    /// A value out of the parts of a multipart body that have this name: texts, not encoded, at least one.
    pub(crate) fn in_parts(&self, texts: &[&str]) -> Result<Value, Rule> {
        match (texts, self.shape.array) {
            ([text], None) => self.one(Cow::Borrowed(text)),
            (_, None) => Err(Rule::DuplicateParameter),
            (_, Some(types)) => {
                let texts: SmallVec<[Cow<'_, str>; 8]> =
                    texts.iter().map(|text| Cow::Borrowed(*text)).collect();
                if let ([text], false) = (texts.as_slice(), self.shape.scalar.is_empty())
                    && let Ok(value) = self.one(text.clone())
                    && self.check.accepts(&value)
                {
                    return Ok(value);
                }
                self.texts(&texts, types)
            }
        }
    }

    /// A header line that stands alone: of a part.
    pub(crate) fn in_line(&self, text: &str) -> Result<Value, Wrong> {
        let list = self.shape.array.is_some() || self.shape.object.is_some();
        let value =
            if list || self.json { self.one_text(text, false)? } else { self.one(Cow::Borrowed(text))? };
        self.check(value)
    }

    /// A decoded scalar.
    fn one(&self, text: Cow<'_, str>) -> Result<Value, Rule> {
        if self.json {
            return self.json_text(&text);
        }
        self.judge(&text)?;
        let types = self.shape.scalar;
        if types == Types::of(ScalarKind::String) {
            return Ok(Value::Scalar(self.canonical(ScalarKind::String, &text)));
        }
        let mut readings = grammar::readings(&text, types);
        let first = readings.next().ok_or(Rule::Type)?;
        let mut value = Value::Scalar(self.canonical(first, &text));
        // Several types: the first that validates, else the narrowest is reported.
        for kind in readings {
            if self.check.accepts(&value) {
                break;
            }
            let next = Value::Scalar(self.canonical(kind, &text));
            if self.check.accepts(&next) {
                value = next;
                break;
            }
        }
        Ok(value)
    }

    fn items(&self, raws: &[&str], types: Types, plus: bool) -> Result<Value, Rule> {
        if raws.len() > ITEMS {
            return Err(Rule::TooMany);
        }
        if let [raw] = raws
            && self.trim(raw).is_empty()
        {
            // `c=`: no item, where the document lets it be empty.
            return if self.allow_empty { Ok(Value::Array(Vec::new())) } else { Err(Rule::Empty) };
        }
        let decoded: Result<SmallVec<[Cow<'_, str>; 8]>, Rule> =
            raws.iter().map(|raw| self.decode(self.trim(raw), plus)).collect();
        self.texts(&decoded?, types)
    }

    /// Items that are decoded.
    fn texts(&self, decoded: &[Cow<'_, str>], types: Types) -> Result<Value, Rule> {
        let mut narrow = Vec::with_capacity(decoded.len());
        for text in decoded {
            self.judge(text)?;
            narrow.push(grammar::narrowest(text, types).ok_or(Rule::Type)?);
        }
        if types.has(ScalarKind::String) && narrow.iter().any(|item| item.kind != ScalarKind::String) {
            // Where text is allowed, `1` may be text: the first reading that validates.
            let narrow = Value::Array(narrow);
            if self.check.accepts(&narrow) {
                return Ok(narrow);
            }
            let texts = decoded.iter().map(|text| self.canonical(ScalarKind::String, text));
            return Ok(Value::Array(texts.collect()));
        }
        for item in &mut narrow {
            self.fold_uuid(item);
        }
        Ok(Value::Array(narrow))
    }

    fn members(&self, pairs: SmallVec<[(Cow<'_, str>, &str); 4]>, plus: bool) -> Result<Value, Rule> {
        let Some(shape) = &self.shape.object else { return Err(Rule::Type) };
        if pairs.len() > ITEMS {
            return Err(Rule::TooMany);
        }
        let mut members: Vec<(Box<str>, Scalar)> = Vec::with_capacity(pairs.len());
        for (name, raw) in pairs {
            text::check(&name, self.text)?;
            if members.iter().any(|(known, _)| **known == *name) {
                return Err(Rule::DuplicateParameter);
            }
            let text = self.decode(self.trim(raw), plus)?;
            self.judge(&text)?;
            let scalar = grammar::narrowest(&text, shape.types(&name)).ok_or(Rule::Type)?;
            members.push((name.into(), scalar));
        }
        if Self::text_is_allowed(shape, &members) {
            // Where text is allowed, `1` may be text: the first reading that validates.
            let narrow = Value::Object(members);
            if self.check.accepts(&narrow) {
                return Ok(narrow);
            }
            let Value::Object(mut members) = narrow else { return Err(Rule::Type) };
            for (name, scalar) in &mut members {
                if shape.types(name).has(ScalarKind::String) {
                    scalar.kind = ScalarKind::String;
                }
            }
            return Ok(Value::Object(members));
        }
        Ok(Value::Object(members))
    }

    /// Whether a member that was read as something narrower may be text.
    fn text_is_allowed(shape: &Members, members: &[(Box<str>, Scalar)]) -> bool {
        members.iter().any(|(name, scalar)| {
            scalar.kind != ScalarKind::String && shape.types(name).has(ScalarKind::String)
        })
    }

    fn json_text(&self, text: &str) -> Result<Value, Rule> {
        if text.len() > self.max_length {
            return Err(Rule::MaxLength);
        }
        text::check(text, self.text)?;
        let tape = grammar::json(text)?;
        let mut out = Vec::with_capacity(text.len());
        crate::json::write(&tape, None, &mut out);
        String::from_utf8(out).map(|text| Value::Json(text.into())).map_err(|_| Rule::Encoding)
    }

    fn decode<'t>(&self, raw: &'t str, plus: bool) -> Result<Cow<'t, str>, Rule> {
        if self.lines { grammar::decode_lines(raw) } else { decode(raw, plus) }
    }

    /// Length, emptiness and characters of one decoded text.
    fn judge(&self, text: &str) -> Result<(), Rule> {
        if text.len() > self.max_length {
            return Err(Rule::MaxLength);
        }
        if text.is_empty() && !self.allow_empty {
            return Err(Rule::Empty);
        }
        // Parameters hold no control at all, not even a tab or a line end.
        if !self.lines && text.bytes().any(|b| b < 0x20) {
            return Err(Rule::Characters);
        }
        if self.uri && self.text.markup == TextRule::Plain && !text::plain_scheme(text) {
            return Err(Rule::Markup);
        }
        text::check(text, self.text)
    }

    /// Bounds of pagination, then the schema.
    fn check(&self, value: Value) -> Result<Value, Wrong> {
        let value = match (&self.guard, &value) {
            (Some(guard), Value::Scalar(Scalar { kind: ScalarKind::Integer, text })) => {
                let number =
                    text.parse::<i64>().unwrap_or(if text.starts_with('-') { i64::MIN } else { i64::MAX });
                if (guard.minimum..=guard.maximum).contains(&number) {
                    value
                } else if guard.over == Over::Clamp {
                    let bound = number.clamp(guard.minimum, guard.maximum);
                    Value::Scalar(Scalar { kind: ScalarKind::Integer, text: bound.to_string().into() })
                } else {
                    return Err(if number < guard.minimum { Rule::Minimum } else { Rule::Maximum }.into());
                }
            }
            _ => value,
        };
        if self.check.accepts(&value) { Ok(value) } else { Err(Wrong::Schema(value)) }
    }

    fn canonical(&self, kind: ScalarKind, text: &str) -> Scalar {
        let mut scalar = Scalar { kind, text: text.into() };
        self.fold_uuid(&mut scalar);
        scalar
    }

    fn fold_uuid(&self, scalar: &mut Scalar) {
        if self.uuid && super::check::is_uuid(&scalar.text) {
            scalar.text.make_ascii_lowercase();
        }
    }

    /// Items of a list in a header may have spaces around them (RFC 9110 § 5.6.1).
    fn trim<'t>(&self, raw: &'t str) -> &'t str {
        if self.location == In::Header { raw.trim_matches([' ', '\t']) } else { raw }
    }

    fn is_plain(&self) -> bool {
        self.shape.array.is_none() && self.shape.object.is_none()
    }

    /// The name as it stands in a matrix segment.
    fn encoded_name(&self) -> Cow<'_, str> {
        if self.style != Style::Matrix {
            return Cow::Borrowed(&self.name);
        }
        let mut out = String::new();
        super::encode::push(&mut out, &self.name, super::encode::Set::Unreserved);
        Cow::Owned(out)
    }
}

/// The pairs of an urlencoded form by owner, for `body::form`.
pub(crate) fn form_pairs<'b>(
    body: &'b str,
    names: &Names,
    mut nobody: impl FnMut(&str, &str),
) -> Result<PairList<'b>, Rule> {
    let mut owned = PairList::new();
    for (count, pair) in body.split('&').enumerate() {
        if count >= FORM_PAIRS {
            return Err(Rule::TooMany);
        }
        let (name, raw) = pair.split_once('=').unwrap_or((pair, ""));
        if name.is_empty() {
            return Err(Rule::Syntax);
        }
        let name = decode(name, true)?;
        match names.owner(&name) {
            Owner::Whole(index) => owned.push((index, None, raw)),
            Owner::Property(index, property) => {
                owned.push((index, Some(Cow::Owned(property.to_owned())), raw))
            }
            Owner::Nobody => nobody(&name, raw),
        }
    }
    Ok(owned)
}
