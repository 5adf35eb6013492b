//! One operation, ready to judge requests.

use portcullis_core::head::{Head, Method};

use super::extension::Extension;
use super::media::{BodyPlan, Content, RequestBody, Response};
use super::parameter::Parameter;
use super::paths::{Piece, Segments, Template};
use super::security::Security;
use super::terms::{RequestTerms, ResponseTerms};
use crate::body::{MediaRange, MediaType};
use crate::document::Span;
use crate::duty::Duty;
use crate::param::encode::{self, Set};
use crate::param::query::Names;
use crate::param::read::Reading;
use crate::param::{Parameters, Value};
use crate::violation::{In, Place, Violation};

/// An operation of a contract.
#[derive(Debug)]
pub struct Operation {
    /// `operationId`, or one made from method and path.
    pub id: Box<str>,
    /// The method.
    pub method: Method,
    /// The path as the document writes it.
    pub template: Box<str>,
    /// Where the operation stands (its method).
    pub at: Span,
    /// Where its path stands.
    pub path_at: Span,
    /// Its tags.
    pub tags: Vec<Box<str>>,
    /// Whether the document says that it will go.
    pub deprecated: bool,
    /// Who may call it.
    pub security: Security,
    /// What it takes beside the body, in the order of the document.
    pub parameters: Vec<Parameter>,
    /// The body that it takes.
    pub body: Option<RequestBody>,
    /// What it answers.
    pub responses: Vec<Response>,
    /// Its `x-portcullis`.
    pub extension: Extension,
    /// What holds for its requests: `portcullis.yaml` and document, the tighter of both.
    pub request: RequestTerms,
    /// What holds for its responses.
    pub response: ResponseTerms,
    /// It has an error and `on_error: close_operation`, or `portcullis.yaml` closes it: it answers as if it were
    /// not declared.
    pub closed: bool,
    pub(crate) parsed: Template,
    pub(crate) names: Names,
}

impl Operation {
    /// Decodes and checks the parameters of a request. `path` is what [`super::Contract::find`] gave.
    ///
    /// # Errors
    /// At most 20 violations, each at a parameter.
    pub fn parameters(&self, head: &Head, path: &Segments) -> Result<Parameters, Vec<Violation>> {
        Reading { parameters: &self.parameters, names: &self.names, unknown: self.request.unknown_parameters }
            .read(head, path)
    }

    /// The value of one parameter; `None` when it was absent or is not declared. Header names in any case.
    pub fn value<'v>(&self, values: &'v Parameters, location: In, name: &str) -> Option<&'v Value> {
        let index = self.parameters.iter().position(|parameter| {
            parameter.location == location
                && (*parameter.name == *name
                    || (location == In::Header && parameter.name.eq_ignore_ascii_case(name)))
        })?;
        values.values.get(index)?.as_ref()
    }

    /// The URLs among the parameters that somebody will fetch or be sent to (§ 12).
    pub fn parameter_urls(&self, values: &Parameters) -> Vec<Duty> {
        let mut duties = Vec::new();
        for (parameter, value) in self.given(values).filter(|(parameter, _)| parameter.may_hold_urls()) {
            let name = crate::violation::shown(&parameter.name);
            let at = Place::Parameter { name, within: parameter.location };
            match (&parameter.url, value.tape()) {
                (Some(policy), Some(tape)) => duties.extend((0..tape.len() as u32).filter_map(|index| {
                    let text = tape.node(index)?.as_str()?;
                    Some(Duty::Url { at: at.clone(), value: text.into(), policy: Some(policy.clone()) })
                })),
                (None, Some(tape)) => {
                    duties.extend(parameter.check.schema.urls_of(&tape, &parameter.name, &at));
                }
                (_, None) => {}
            }
        }
        duties
    }

    /// Each parameter that was given, with its value, in the order of the document.
    pub fn given<'a>(&'a self, values: &'a Parameters) -> impl Iterator<Item = (&'a Parameter, &'a Value)> {
        self.parameters
            .iter()
            .zip(&values.values)
            .filter_map(|(parameter, value)| Some((parameter, value.as_ref()?)))
    }

    /// Path and query written again from the checked values, under `base` (no trailing slash): literals as the
    /// document writes them, everything in a value but unreserved characters encoded, parameters in the order of
    /// the document.
    pub fn target(&self, base: &str, values: &Parameters) -> String {
        let mut out = String::with_capacity(base.len() + self.template.len() + 64);
        out.push_str(base);
        let mut slot = 0u16;
        for piece in &self.parsed.segments {
            out.push('/');
            match piece {
                Piece::Literal { print, .. } => out.push_str(print),
                Piece::Variables { print, .. } => {
                    let mut literals = print.iter();
                    out.push_str(literals.next().map_or("", |text| text));
                    for literal in literals {
                        let filled = self
                            .given(values)
                            .find(|(parameter, _)| parameter.location == In::Path && parameter.slot == slot);
                        if let Some((parameter, value)) = filled {
                            parameter.writing().value(&mut out, value);
                        }
                        out.push_str(literal);
                        slot = slot.saturating_add(1);
                    }
                }
            }
        }
        if self.parsed.trailing_slash {
            out.push('/');
        }
        let mut first = true;
        let path = out.len();
        for (parameter, value) in self.given(values) {
            if parameter.location == In::Query {
                if out.len() == path {
                    out.push('?');
                }
                parameter.writing().pairs(&mut out, value, &mut first);
            }
        }
        for (name, value) in &values.others {
            out.push(if out.len() == path { '?' } else { '&' });
            encode::push(&mut out, name, Set::Unreserved);
            out.push('=');
            encode::push(&mut out, value, Set::Unreserved);
        }
        out
    }

    /// The declared header parameters that were given: name, and value written again.
    pub fn headers<'a>(&'a self, values: &'a Parameters) -> impl Iterator<Item = (&'a str, String)> {
        self.given(values).filter(|(parameter, _)| parameter.location == In::Header).map(
            |(parameter, value)| {
                let mut out = String::new();
                parameter.writing().value(&mut out, value);
                (&*parameter.name, out)
            },
        )
    }

    /// The value of a `Cookie` header with the declared cookies that were given; `None` when there is none.
    pub fn cookies(&self, values: &Parameters) -> Option<String> {
        let mut out = String::new();
        for (parameter, value) in self.given(values).filter(|(parameter, _)| parameter.location == In::Cookie)
        {
            if !out.is_empty() {
                out.push_str("; ");
            }
            out.push_str(&parameter.name);
            out.push('=');
            parameter.writing().value(&mut out, value);
        }
        (!out.is_empty()).then_some(out)
    }

    /// How a body of this media type is read; `None` is 415, or no body is declared at all.
    pub fn body(&self, media: &MediaType) -> Option<(&Content, BodyPlan)> {
        self.body.as_ref()?.plan(media)
    }

    /// What the document says about responses of this status: exact, then `2XX`, then `default`.
    pub fn response(&self, status: u16) -> Option<&Response> {
        let fits = |response: &&Response| response.status.fits(status);
        self.responses.iter().filter(|response| fits(response).is_some()).max_by_key(fits)
    }

    /// The media types of its successes, for `Accept`; empty when no success has a body.
    pub fn produces(&self) -> impl Iterator<Item = &MediaRange> {
        let success = |response: &&Response| match response.status {
            super::media::StatusRange::Exact(status) => (200..300).contains(&status),
            super::media::StatusRange::Class(class) => class == 2,
            super::media::StatusRange::Default => true,
        };
        self.responses
            .iter()
            .filter(success)
            .flat_map(|response| response.contents.iter().map(|content| &content.range))
    }
}
