//! The rules for claims. A claim of the wrong JSON type refuses the token; it is never "absent".

use super::MAX_SKEW;
use crate::b64u;
use crate::json::{Json, Kind, Pointer, Value};
use crate::reason::Reason;
use portcullis_core::caller::{Binding, ClaimSource, TokenRef};
use std::borrow::Cow;
use std::sync::Arc;

const MAX_AUDIENCES: usize = 16;
const MAX_SCOPES: usize = 64;
const MAX_NAME: usize = 255;

/// The claims of a token that broke no rule. No `Debug`: they are personal.
#[derive(Clone)]
pub struct Claims {
    json: Json,
    exp: i64,
    iat: Option<i64>,
    client: Option<Arc<str>>,
    scopes: Arc<[Box<str>]>,
    binding: Binding,
}

/// What every context asks of the registered claims.
pub(super) struct Rules<'p> {
    pub(super) now: i64,
    pub(super) skew: i64,
    pub(super) max_lifetime: i64,
    /// What an absent `exp` stands for; nothing: it is required.
    pub(super) exp_default: Option<i64>,
    pub(super) max_age: Option<i64>,
    pub(super) audience: Audience<'p>,
    pub(super) iat_required: bool,
    pub(super) jti_required: bool,
    pub(super) sub_required: bool,
}

pub(super) enum Audience<'p> {
    /// One of these is in `aud`.
    OneOf(&'p [String]),
    /// This is in `aud`.
    Has(&'p str),
    /// `aud` is this and nothing else.
    Only(&'p str),
}

impl Claims {
    /// Applies the rules; `exp` in the past is reported last, when nothing else is wrong.
    pub(super) fn judge(
        json: Json,
        rules: &Rules<'_>,
        scope: Option<&Pointer>,
        client: Option<&Pointer>,
    ) -> Result<Self, Reason> {
        let root = json.root();
        audience(root, &rules.audience)?;
        let skew = rules.skew.clamp(0, MAX_SKEW);
        let exp = time(root, "exp", Reason::ClaimExp)?.or(rules.exp_default).ok_or(Reason::ClaimExp)?;
        let nbf = time(root, "nbf", Reason::ClaimNbf)?;
        let iat = time(root, "iat", Reason::ClaimIat)?;
        let latest = rules.now.saturating_add(skew);
        if nbf.is_some_and(|nbf| nbf > latest) {
            return Err(Reason::ClaimNbf);
        }
        if iat.is_some_and(|iat| iat > latest) || (rules.iat_required && iat.is_none()) {
            return Err(Reason::ClaimIat);
        }
        if let Some(max_age) = rules.max_age {
            let age = rules.now.saturating_sub(iat.ok_or(Reason::ClaimIat)?);
            if age > max_age.saturating_add(skew) {
                return Err(Reason::ClaimIat);
            }
        }
        if exp.saturating_sub(iat.unwrap_or(rules.now)) > rules.max_lifetime {
            return Err(Reason::Lifetime);
        }
        let sub = text(root, "sub", 1, Reason::ClaimSub)?;
        if sub.is_none() && rules.sub_required {
            return Err(Reason::ClaimSub);
        }
        let jti = text(root, "jti", 0, Reason::ClaimJti)?;
        if jti.is_none_or(str::is_empty) && rules.jti_required {
            return Err(Reason::ClaimJti);
        }
        text(root, "sid", 1, Reason::ClaimSid)?;
        let scopes = match scope.and_then(|pointer| root.pointer(pointer)) {
            Some(value) => scopes(value)?,
            None => Arc::from([]),
        };
        let client = match client.and_then(|pointer| root.pointer(pointer)) {
            Some(value) => Some(value.as_str().ok_or(Reason::ClaimClientId)?.into()),
            None => None,
        };
        let binding = binding(root)?;
        if exp <= rules.now.saturating_sub(skew) {
            return Err(Reason::Expired);
        }
        Ok(Self { exp, iat, client, scopes, binding, json })
    }

    /// All claims, as the strict reader left them.
    pub const fn root(&self) -> Value<'_> {
        self.json.root()
    }

    /// `iss`, which is the policy's.
    pub fn issuer(&self) -> &str {
        self.text("iss").unwrap_or_default()
    }

    /// `sub`: never compared without its issuer.
    pub fn subject(&self) -> Option<&str> {
        self.text("sub")
    }

    /// `jti`.
    pub fn jti(&self) -> Option<&str> {
        self.text("jti")
    }

    /// `sid`.
    pub fn sid(&self) -> Option<&str> {
        self.text("sid")
    }

    /// `exp`, unix seconds.
    pub const fn exp(&self) -> i64 {
        self.exp
    }

    /// `iat`, unix seconds.
    pub const fn iat(&self) -> Option<i64> {
        self.iat
    }

    /// The client's id, from where the policy says it stands.
    pub const fn client(&self) -> Option<&Arc<str>> {
        self.client.as_ref()
    }

    /// The scopes, from where the policy says they stand; none when the member is absent.
    pub const fn scopes(&self) -> &Arc<[Box<str>]> {
        &self.scopes
    }

    /// `cnf`: what must come along with the token. The gateway checks that it did.
    pub const fn binding(&self) -> &Binding {
        &self.binding
    }

    /// What logs, streams and the revocation set need.
    pub fn token_ref(&self) -> TokenRef {
        TokenRef {
            jti: self.jti().map(Into::into),
            sid: self.sid().map(Into::into),
            iat: self.iat,
            exp: self.exp,
        }
    }

    /// Whether `exp` has passed meanwhile: for a cached token, with the issuer's skew.
    pub fn expired(&self, now: i64, skew: i64) -> bool {
        self.exp <= now.saturating_sub(skew.clamp(0, MAX_SKEW))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.root().get(name).and_then(Value::as_str)
    }
}

impl ClaimSource for Claims {
    fn text_at(&self, pointer: &str) -> Option<Cow<'_, str>> {
        let value = self.root().pointer(&Pointer::parse(pointer)?)?;
        match value.as_str() {
            Some(text) => Some(Cow::Borrowed(text)),
            None => value.as_integer().map(|number| Cow::Owned(number.to_string())),
        }
    }

    fn texts_at(&self, pointer: &str) -> Vec<String> {
        let Some(value) = Pointer::parse(pointer).and_then(|pointer| self.root().pointer(&pointer)) else {
            return Vec::new();
        };
        match value.as_str() {
            Some(text) => vec![text.to_owned()],
            // Half an array is no array: what cannot be read must not look like less.
            None => value
                .items()
                .map(|v| v.as_str().map(str::to_owned))
                .collect::<Option<_>>()
                .unwrap_or_default(),
        }
    }
}

/// An optional time (whole non-negative seconds).
pub(super) fn time(root: Value<'_>, name: &str, wrong: Reason) -> Result<Option<i64>, Reason> {
    root.get(name).map(|value| value.as_time().ok_or(wrong)).transpose()
}

/// An optional string of `min` to 255 characters.
pub(super) fn text<'a>(
    root: Value<'a>,
    name: &str,
    min: usize,
    wrong: Reason,
) -> Result<Option<&'a str>, Reason> {
    let Some(value) = root.get(name) else { return Ok(None) };
    let text = value.as_str().ok_or(wrong)?;
    if (min..=MAX_NAME).contains(&text.chars().count()) { Ok(Some(text)) } else { Err(wrong) }
}

/// The texts of `aud`: one string, or an array of 1–16 strings.
pub(super) fn audiences(root: Value<'_>) -> Result<Vec<&str>, Reason> {
    let aud = root.get("aud").ok_or(Reason::ClaimAud)?;
    if let Some(one) = aud.as_str() {
        return Ok(vec![one]);
    }
    let all = aud.items().map(Value::as_str).take(MAX_AUDIENCES + 1).collect::<Option<Vec<_>>>();
    all.filter(|all| (1..=MAX_AUDIENCES).contains(&all.len())).ok_or(Reason::ClaimAud)
}

fn audience(root: Value<'_>, rule: &Audience<'_>) -> Result<(), Reason> {
    let told = audiences(root)?;
    let ours = match rule {
        Audience::OneOf(ours) => ours.iter().any(|one| told.contains(&one.as_str())),
        Audience::Has(one) => told.contains(one),
        Audience::Only(one) => told == [*one],
    };
    if ours { Ok(()) } else { Err(Reason::ClaimAud) }
}

/// RFC 6749 § 3.3: single spaces between tokens of printable ASCII without `"` and `\`.
fn scopes(value: Value<'_>) -> Result<Arc<[Box<str>]>, Reason> {
    let of = |scope: &str| -> Result<Box<str>, Reason> {
        let sound = !scope.is_empty() && scope.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
        if sound { Ok(scope.into()) } else { Err(Reason::ClaimScope) }
    };
    let all: Vec<_> = match value.as_str() {
        Some("") => Vec::new(),
        Some(text) => text.split(' ').take(MAX_SCOPES + 1).map(of).collect::<Result<_, _>>()?,
        None if value.kind() == Kind::Array => {
            let one = |item: Value<'_>| item.as_str().ok_or(Reason::ClaimScope).and_then(of);
            value.items().take(MAX_SCOPES + 1).map(one).collect::<Result<_, _>>()?
        }
        None => return Err(Reason::ClaimScope),
    };
    if all.len() > MAX_SCOPES { Err(Reason::ClaimScope) } else { Ok(all.into()) }
}

/// `cnf` (RFC 7800): exactly one member, and one that we can check.
fn binding(root: Value<'_>) -> Result<Binding, Reason> {
    let Some(cnf) = root.get("cnf") else { return Ok(Binding::None) };
    let mut members = cnf.members();
    let (Some((name, value)), None) = (members.next(), members.next()) else { return Err(Reason::Binding) };
    let thumbprint = value.as_str().filter(|text| b64u::is_sha256(text)).ok_or(Reason::Binding)?;
    match name {
        "jkt" => Ok(Binding::Dpop(thumbprint.into())),
        "x5t#S256" => Ok(Binding::Certificate(thumbprint.into())),
        _ => Err(Reason::Binding),
    }
}
