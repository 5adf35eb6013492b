//! Law 6: ours or theirs is a type.

use crate::problem::Code;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::borrow::Cow;

/// A gate's way of stopping a request.
#[derive(Debug)]
pub enum Stop {
    /// A verdict on the request.
    Refusal(Box<Refusal>),
    /// Ours: something here or behind is broken. Answered closed.
    Fault(Box<Fault>),
    /// An answer that needs no upstream and is no error (a preflight).
    Answer(Box<Answer>),
}

/// A verdict on the request: a public problem and a private reason.
#[derive(Debug)]
pub struct Refusal {
    /// What the client is told.
    pub code: Code,
    /// What the operator is told: stable words, never a secret, never a value of the request.
    pub reason: Cow<'static, str>,
    /// Places in the request, for contract violations; at most 20.
    pub errors: Vec<ErrorItem>,
    /// Headers of the answer: `Allow`, `Retry-After`, `WWW-Authenticate`, …
    pub headers: HeaderMap,
    /// Overrides the status of the code (`upstream-refused`, `violation_status: 422`).
    pub status: Option<u16>,
    /// Members besides those of RFC 9457, already JSON texts: (name, value).
    pub members: Vec<(&'static str, String)>,
    /// Whether the connection must end after the answer.
    pub close: bool,
}

/// One place in the request that does not match the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorItem {
    /// JSON pointer into the body, or nothing.
    pub pointer: Option<String>,
    /// Parameter name and location (`path`, `query`, `header`, `cookie`), or nothing.
    pub parameter: Option<(String, &'static str)>,
    /// Stable rule word.
    pub rule: &'static str,
    /// Sentence of ours; never a value or text of the schema.
    pub message: &'static str,
}

/// Ours: closed, with a public problem of the 5xx class and a private reason.
#[derive(Debug)]
pub struct Fault {
    /// What the client is told (5xx).
    pub code: Code,
    /// What the operator is told.
    pub reason: Cow<'static, str>,
    /// Headers of the answer (`Retry-After`).
    pub headers: HeaderMap,
}

/// A complete answer of the gateway's own.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Header fields.
    pub headers: HeaderMap,
    /// Body; may be empty.
    pub body: Vec<u8>,
    /// Private reason, for the log.
    pub reason: &'static str,
}

impl Refusal {
    /// A refusal with a code and a private reason.
    pub fn new(code: Code, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            reason: reason.into(),
            errors: Vec::new(),
            headers: HeaderMap::new(),
            status: None,
            members: Vec::new(),
            close: false,
        }
    }

    /// With a header in the answer.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// With places in the request.
    #[must_use]
    pub fn errors(mut self, errors: Vec<ErrorItem>) -> Self {
        self.errors = errors;
        self
    }

    /// Ends the connection after the answer.
    #[must_use]
    pub fn close(mut self) -> Self {
        self.close = true;
        self
    }
}

impl Fault {
    /// A fault with a code and a private reason.
    pub fn new(code: Code, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { code, reason: reason.into(), headers: HeaderMap::new() }
    }

    /// With `Retry-After` in seconds.
    #[must_use]
    pub fn retry_after(mut self, secs: u32) -> Self {
        self.headers.insert(http::header::RETRY_AFTER, HeaderValue::from(secs));
        self
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(Box::new(refusal))
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(Box::new(fault))
    }
}

impl From<Answer> for Stop {
    fn from(answer: Answer) -> Self {
        Self::Answer(Box::new(answer))
    }
}
