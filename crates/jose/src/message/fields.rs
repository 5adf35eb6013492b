//! `Signature-Input` and `Signature` as structured fields, each occurrence seen.
//!
//! Structured fields let the last of a repeated label or parameter win; a filter in front that takes
//! the first would see another signature. So a repetition is refused.

use super::Refusal;
use super::received::Received;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sfv::visitor::{
    DictionaryVisitor, EntryVisitor, Ignored, InnerListVisitor, ItemVisitor, ParameterVisitor,
};
use sfv::{BareItem, BareItemFromInput, ItemSerializer, Key, KeyRef, Parser};
use std::fmt;

/// Bytes of all lines of one of the two headers.
const MAX_BYTES: usize = 4_096;
/// Labels in one of the two headers.
const MAX_LABELS: usize = 4;

/// All labels of `Signature-Input`.
pub(super) fn inputs(lines: &[&[u8]]) -> Result<Vec<Label>, Refusal> {
    let joined = join(lines)?;
    let reader = Inputs { labels: Vec::new() };
    Parser::new(&joined)
        .parse_dictionary_with_visitor(reader)
        .map_err(|_| Refusal::Malformed("signature-input"))
}

/// The signature of one label of `Signature`; `None` when the label is not there.
pub(super) fn signature(lines: &[&[u8]], label: &str) -> Result<Option<Vec<u8>>, Refusal> {
    let malformed = Refusal::Malformed("signature");
    let joined = join(lines)?;
    let reader = Signatures { wanted: label, seen: Vec::new(), found: None };
    let found = Parser::new(&joined).parse_dictionary_with_visitor(reader).map_err(|_| malformed)?;
    let Some(bytes) = found else { return Ok(None) };
    // Parsers may take base64 without padding or with stray bits (RFC 9651 § 4.2.7); one signature has
    // one spelling here.
    let spelled = format!("{label}=:{}:", STANDARD.encode(&bytes));
    if !joined.windows(spelled.len()).any(|window| window == spelled.as_bytes()) {
        return Err(malformed);
    }
    Ok(Some(bytes))
}

fn join(lines: &[&[u8]]) -> Result<Vec<u8>, Refusal> {
    let joined = lines.join(&b", "[..]);
    if joined.len() > MAX_BYTES { Err(Refusal::Malformed("size")) } else { Ok(joined) }
}

/// One label of `Signature-Input`: what is covered, and the parameters in the order received.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    pub(super) name: String,
    pub(super) components: Vec<Component>,
    pub(super) parameters: Vec<(Key, BareItem)>,
}

impl Label {
    /// All labels of `Signature-Input`, whatever their tags: for other profiles, and for tests.
    ///
    /// # Errors
    /// [`Refusal::Malformed`].
    pub fn read_all(lines: &[&[u8]]) -> Result<Vec<Self>, Refusal> {
        inputs(lines)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value of `@signature-params`: the inner list with the received order of parameters, and
    /// unknown ones kept. Also what stands behind the label in `Signature-Input`.
    pub fn text(&self) -> String {
        let mut out = String::with_capacity(256);
        out.push('(');
        for (at, component) in self.components.iter().enumerate() {
            if at > 0 {
                out.push(' ');
            }
            component.push(&mut out);
        }
        out.push(')');
        write_parameters(&mut out, &self.parameters);
        out
    }

    /// The bytes that are signed (RFC 9421 § 2.5).
    ///
    /// # Errors
    /// [`Refusal::Coverage`] for a component that is absent or cannot be computed.
    pub fn base(&self, received: &Received) -> Result<Vec<u8>, Refusal> {
        let mut out = Vec::with_capacity(512);
        received.lines(&self.components, &mut out)?;
        out.extend_from_slice(b"\"@signature-params\": ");
        out.extend_from_slice(self.text().as_bytes());
        Ok(out)
    }

    pub(super) fn parameter(&self, name: &str) -> Option<&BareItem> {
        self.parameters.iter().find(|(key, _)| key.as_str() == name).map(|(_, value)| value)
    }

    /// Is this component covered, without parameters?
    pub(super) fn covers(&self, name: &str) -> bool {
        self.components.iter().any(|c| c.name == name && c.parameters.is_empty())
    }
}

/// A covered component.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Component {
    name: String,
    parameters: Vec<(Key, BareItem)>,
}

/// How the value of a field is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form<'c> {
    /// As received, trimmed and joined.
    Plain,
    /// `;sf`
    Strict,
    /// `;bs`
    Bytes,
    /// `;key="…"`
    Member(&'c str),
}

impl Component {
    /// A component without parameters.
    pub(super) fn plain(name: &str) -> Self {
        Self { name: name.to_owned(), parameters: Vec::new() }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// `None` for parameters that a request may not have (`tr`, `req`), that contradict each other, or
    /// that nobody knows.
    pub(super) fn form(&self) -> Option<Form<'_>> {
        let mut form = Form::Plain;
        for (key, value) in &self.parameters {
            form = match (key.as_str(), value, form) {
                ("sf", BareItem::Boolean(true), Form::Plain) => Form::Strict,
                ("bs", BareItem::Boolean(true), Form::Plain) => Form::Bytes,
                // `key` is strict by itself (RFC 9421 § 2.1.2)
                ("key", BareItem::String(key), Form::Plain | Form::Strict) => Form::Member(key.as_str()),
                ("sf", BareItem::Boolean(true), Form::Member(key)) => Form::Member(key),
                _ => return None,
            };
        }
        Some(form)
    }

    /// `"name";parameters`
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut text = String::with_capacity(32);
        self.push(&mut text);
        out.extend_from_slice(text.as_bytes());
    }

    fn push(&self, out: &mut String) {
        out.push('"');
        out.push_str(&self.name);
        out.push('"');
        write_parameters(out, &self.parameters);
    }
}

pub(super) fn write_parameters(out: &mut String, parameters: &[(Key, BareItem)]) {
    for (key, value) in parameters {
        out.push(';');
        out.push_str(key.as_str());
        if !matches!(value, BareItem::Boolean(true)) {
            out.push('=');
            out.push_str(&ItemSerializer::new().bare_item(value).finish());
        }
    }
}

/// What stops the parser; the place is told by the header that was read.
#[derive(Debug)]
struct Stop;

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused")
    }
}

impl std::error::Error for Stop {}

struct Inputs {
    labels: Vec<Label>,
}

impl<'de> DictionaryVisitor<'de> for Inputs {
    type Out = Vec<Label>;
    type Error = Stop;

    fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Stop> {
        if self.labels.len() == MAX_LABELS || self.labels.iter().any(|label| label.name == key.as_str()) {
            return Err(Stop);
        }
        let label = Label { name: key.as_str().to_owned(), components: Vec::new(), parameters: Vec::new() };
        self.labels.push(label);
        Ok(Covered(self.labels.last_mut().ok_or(Stop)?))
    }

    fn finish(self) -> Result<Vec<Label>, Stop> {
        Ok(self.labels)
    }
}

struct Covered<'r>(&'r mut Label);

impl<'de> EntryVisitor<'de> for Covered<'_> {
    type Error = Stop;

    fn item(self) -> Result<impl ItemVisitor<'de>, Stop> {
        Err::<Ignored, _>(Stop)
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Stop> {
        Ok(self)
    }
}

impl<'de> InnerListVisitor<'de> for Covered<'_> {
    type Error = Stop;

    fn item(&mut self) -> Result<impl ItemVisitor<'de>, Stop> {
        Ok(Name(&mut self.0.components))
    }

    fn finish(self) -> Result<impl ParameterVisitor<'de>, Stop> {
        Ok(Parameters {
            kept: Vec::new(),
            done: |kept| {
                self.0.parameters = kept;
                Ok(())
            },
        })
    }
}

struct Name<'r>(&'r mut Vec<Component>);

impl<'de> ItemVisitor<'de> for Name<'_> {
    type Out = ();
    type Error = Stop;

    fn bare_item(self, item: BareItemFromInput<'de>) -> Result<impl ParameterVisitor<'de, Out = ()>, Stop> {
        let BareItemFromInput::String(name) = item else { return Err(Stop) };
        let name = name.as_str().to_owned();
        let sound = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$%&'*+-.^_`|~@".contains(&b);
        if name.is_empty() || !name.bytes().all(sound) {
            return Err(Stop);
        }
        let done = |parameters| {
            let component = Component { name, parameters };
            // RFC 9421 § 2.5: a component identifier occurs once, whatever the order of its parameters.
            if self.0.iter().any(|other| same(other, &component)) {
                return Err(Stop);
            }
            self.0.push(component);
            Ok(())
        };
        Ok(Parameters { kept: Vec::new(), done })
    }
}

fn same(one: &Component, two: &Component) -> bool {
    one.name == two.name
        && one.parameters.len() == two.parameters.len()
        && one.parameters.iter().all(|parameter| two.parameters.contains(parameter))
}

/// Keeps parameters in order; the same one twice stops.
struct Parameters<F> {
    kept: Vec<(Key, BareItem)>,
    done: F,
}

impl<'de, F: FnOnce(Vec<(Key, BareItem)>) -> Result<(), Stop>> ParameterVisitor<'de> for Parameters<F> {
    type Out = ();
    type Error = Stop;

    fn parameter(&mut self, key: &'de KeyRef, value: BareItemFromInput<'de>) -> Result<(), Stop> {
        if self.kept.iter().any(|(other, _)| other.as_str() == key.as_str()) {
            return Err(Stop);
        }
        self.kept.push((key.to_owned(), value.into()));
        Ok(())
    }

    fn finish(self) -> Result<(), Stop> {
        (self.done)(self.kept)
    }
}

struct Signatures<'de, 'w> {
    wanted: &'w str,
    seen: Vec<&'de str>,
    found: Option<Vec<u8>>,
}

impl<'de> DictionaryVisitor<'de> for Signatures<'de, '_> {
    type Out = Option<Vec<u8>>;
    type Error = Stop;

    fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Stop> {
        if self.seen.len() == MAX_LABELS || self.seen.contains(&key.as_str()) {
            return Err(Stop);
        }
        self.seen.push(key.as_str());
        Ok(Bytes { ours: key.as_str() == self.wanted, found: &mut self.found })
    }

    fn finish(self) -> Result<Self::Out, Stop> {
        Ok(self.found)
    }
}

struct Bytes<'r> {
    ours: bool,
    found: &'r mut Option<Vec<u8>>,
}

impl<'de> EntryVisitor<'de> for Bytes<'_> {
    type Error = Stop;

    fn item(self) -> Result<impl ItemVisitor<'de>, Stop> {
        Ok(self)
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Stop> {
        if self.ours { Err(Stop) } else { Ok(Ignored) }
    }
}

impl<'de> ItemVisitor<'de> for Bytes<'_> {
    type Out = ();
    type Error = Stop;

    fn bare_item(self, item: BareItemFromInput<'de>) -> Result<impl ParameterVisitor<'de, Out = ()>, Stop> {
        match item {
            BareItemFromInput::ByteSequence(bytes) if self.ours => *self.found = Some(bytes),
            _ if self.ours => return Err(Stop),
            _ => {}
        }
        Ok(Parameters { kept: Vec::new(), done: |_| Ok(()) })
    }
}
