//! Taking the credential out of the request (callers.md § 3), before anything is decoded.

use http::header::AUTHORIZATION;
use portcullis_core::head::Head;
use portcullis_core::problem::Code;
use portcullis_core::verdict::Stop;
use portcullis_jose::message::{Label, TAG};
use portcullis_plan::access::{Authenticate, Kinds};

/// The credentials of one request, borrowed from its head.
#[derive(Default)]
pub(crate) struct Presented<'h> {
    /// A token.
    pub(crate) token: Option<Token<'h>>,
    /// An API key, from `Authorization: ApiKey` or its header.
    pub(crate) api_key: Option<&'h str>,
    /// `Signature-Input` and `Signature`, or `X-PC-Signature`.
    pub(crate) signature: Option<Signed>,
    /// An `Authorization` scheme that is not accepted anywhere (`Basic`, …).
    pub(crate) unsupported: bool,
}

/// A token as it was presented.
#[derive(Clone, Copy)]
pub(crate) struct Token<'h> {
    /// Under which scheme.
    pub(crate) scheme: Scheme,
    /// The token.
    pub(crate) text: &'h str,
    /// The DPoP proof beside it.
    pub(crate) proof: Option<&'h str>,
}

/// How a token was presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// RFC 6750.
    Bearer,
    /// RFC 9449.
    Dpop,
}

/// Which signature scheme was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signed {
    /// RFC 9421.
    Message,
    /// PC1.
    Pc1,
}

/// Why no credential was taken out.
pub(crate) enum Unreadable {
    /// A verdict on what was presented.
    Refused(Code, &'static str),
    /// A header that `canonical` should have refused.
    Stop(Stop),
}

impl From<Stop> for Unreadable {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl<'h> Presented<'h> {
    /// Reads the places where a credential may stand.
    pub(crate) fn take(head: &'h Head, accepts: &Authenticate) -> Result<Self, Unreadable> {
        let mut presented = Self::default();
        if let Some(value) = head.single(AUTHORIZATION.as_str())? {
            presented.authorization(value, head.single("dpop")?)?;
        }
        if let Some(policy) = &accepts.api_key
            && let Some(key) = head.single(&policy.header)?
        {
            if presented.api_key.is_some() {
                return Err(ambiguous("api-key-twice"));
            }
            presented.api_key = Some(key);
        }
        if accepts.signature.is_some() {
            let message = by_message(head);
            let pc1 = head.single("x-pc-signature")?.is_some();
            presented.signature = match (message, pc1) {
                (true, true) => return Err(ambiguous("two-signature-schemes")),
                (true, false) => Some(Signed::Message),
                (false, true) => Some(Signed::Pc1),
                (false, false) => None,
            };
        }
        for (_, value) in head.cookies() {
            if portcullis_core::opaque::find(value.as_bytes()).is_some() {
                return Err(Unreadable::Refused(Code::CredentialMisplaced, "credential-in-cookie"));
            }
        }
        Ok(presented)
    }

    /// `scheme SP credential`; the scheme in any case, exactly one space (RFC 9110 § 11.6.2, stricter).
    fn authorization(&mut self, value: &'h str, proof: Option<&'h str>) -> Result<(), Unreadable> {
        let (scheme, credential) = value.split_once(' ').unwrap_or((value, ""));
        let kind =
            [("bearer", 0), ("dpop", 1), ("apikey", 2)].iter().find(|(n, _)| scheme.eq_ignore_ascii_case(n));
        if kind.is_some()
            && (credential.is_empty() || credential.bytes().any(|b| matches!(b, b' ' | b'\t' | b',')))
        {
            return Err(Unreadable::Refused(Code::TokenInvalid, "authorization-shape"));
        }
        match kind {
            Some((_, 0)) => self.token = Some(Token { scheme: Scheme::Bearer, text: credential, proof }),
            Some((_, 1)) => self.token = Some(Token { scheme: Scheme::Dpop, text: credential, proof }),
            Some(_) => self.api_key = Some(credential),
            None => self.unsupported = true,
        }
        Ok(())
    }

    /// The explicit kinds.
    pub(crate) fn kinds(&self) -> Kinds {
        let mut kinds = Kinds::NONE;
        if self.token.is_some() {
            kinds = kinds.with(Kinds::TOKEN);
        }
        if self.api_key.is_some() {
            kinds = kinds.with(Kinds::API_KEY);
        }
        if self.signature.is_some() {
            kinds = kinds.with(Kinds::SIGNATURE);
        }
        kinds
    }
}

/// Whether a request carries a signature of ours. Anything else under these names buys nothing: such a request is
/// counted as one without a credential.
pub(crate) fn is_signed(head: &Head) -> bool {
    by_message(head) || head.header("x-pc-signature").is_some()
}

fn by_message(head: &Head) -> bool {
    head.header("signature-input").is_some_and(is_ours)
}

/// Signatures under other tags are other people's (RFC 9421 § 7.2.3). What cannot be read may be ours: it is refused
/// where signatures are read.
fn is_ours(input: &str) -> bool {
    input.contains(TAG) || Label::read_all(&[input.as_bytes()]).is_err()
}

fn ambiguous(reason: &'static str) -> Unreadable {
    Unreadable::Refused(Code::CredentialAmbiguous, reason)
}
