//! The alternatives of an operation against what was presented (callers.md § 15). Pure.

use portcullis_core::problem::Code;
use portcullis_plan::access::{Access, Alternative, Kinds};

/// What to do with the credentials of a request.
#[derive(Debug)]
pub(crate) enum Choice<'p> {
    /// Verify these kinds, for this alternative.
    Verify(&'p Alternative, Kinds),
    /// An anonymous operation, and something was presented all the same: it must be valid.
    VerifyAny(Kinds),
    /// Nobody, by name.
    Anonymous,
    /// Refused.
    Refuse(Code, &'static str),
}

/// `explicit` are the kinds in header fields, `ambient` what the connection carries besides (a certificate),
/// `accepted` all kinds that the API is configured for.
pub(crate) fn choose<'p>(access: &'p Access, explicit: Kinds, ambient: Kinds, accepted: Kinds) -> Choice<'p> {
    let alternatives = match access {
        Access::Anonymous { .. } => {
            return match explicit {
                Kinds::NONE => Choice::Anonymous,
                kinds if accepted.contains(kinds) && single(kinds) => Choice::VerifyAny(kinds),
                kinds if accepted.intersects(kinds) => {
                    Choice::Refuse(Code::CredentialAmbiguous, "several-kinds")
                }
                _ => Choice::Refuse(Code::CredentialUnsupported, "kind-not-accepted"),
            };
        }
        Access::AnyOf(alternatives) => alternatives,
    };
    // An ambient credential counts only where an alternative asks for it; the explicit one wins.
    let exact = |kinds: Kinds| alternatives.iter().find(|a| a.kinds == kinds);
    if let Some(found) = exact(explicit).filter(|_| !explicit.is_empty()) {
        return Choice::Verify(found, explicit);
    }
    let all = explicit.with(ambient);
    if let Some(found) = exact(all).filter(|_| !all.is_empty()) {
        return Choice::Verify(found, all);
    }
    if explicit.is_empty() {
        return Choice::Refuse(missing(alternatives, ambient), "nothing-presented");
    }
    if let Some(part_of) = alternatives.iter().find(|a| a.kinds.contains(explicit)) {
        return Choice::Refuse(member(part_of.kinds.without(all)), "part-of-an-alternative");
    }
    if !alternatives.iter().any(|a| a.kinds.intersects(explicit)) {
        return Choice::Refuse(Code::CredentialUnsupported, "kind-not-accepted");
    }
    Choice::Refuse(Code::CredentialAmbiguous, "no-alternative-has-these-kinds")
}

fn single(kinds: Kinds) -> bool {
    [Kinds::TOKEN, Kinds::API_KEY, Kinds::SIGNATURE, Kinds::CERTIFICATE].contains(&kinds)
}

/// The code for nothing at all: that of the one thing asked for, or the general one.
fn missing(alternatives: &[Alternative], ambient: Kinds) -> Code {
    match alternatives {
        [only] => member(only.kinds.without(ambient)),
        _ => Code::CredentialMissing,
    }
}

/// The code of a missing member.
fn member(kinds: Kinds) -> Code {
    if kinds == Kinds::SIGNATURE {
        Code::SignatureMissing
    } else if kinds == Kinds::CERTIFICATE {
        Code::CertificateMissing
    } else {
        Code::CredentialMissing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_core::finding::Span;

    fn any_of(kinds: &[Kinds]) -> Access {
        let one = |kinds: &Kinds| Alternative { kinds: *kinds, scopes: Box::default(), at: Span::default() };
        Access::AnyOf(kinds.iter().map(one).collect())
    }

    const T: Kinds = Kinds::TOKEN;
    const K: Kinds = Kinds::API_KEY;
    const S: Kinds = Kinds::SIGNATURE;
    const C: Kinds = Kinds::CERTIFICATE;
    const NONE: Kinds = Kinds::NONE;

    fn word(access: &Access, explicit: Kinds, ambient: Kinds) -> &'static str {
        match choose(access, explicit, ambient, T.with(K).with(S)) {
            Choice::Verify(..) => "verify",
            Choice::VerifyAny(_) => "verify-any",
            Choice::Anonymous => "anonymous",
            Choice::Refuse(code, _) => code.text(),
        }
    }

    #[test]
    fn the_table_of_section_15() {
        let jwt_or_key = any_of(&[T, K]);
        let jwt_and_sig = any_of(&[T.with(S)]);
        let jwt_and_cert = any_of(&[T.with(C)]);
        let cert = any_of(&[C]);
        let nobody = Access::Anonymous { because: "probe".into(), at: Span::default() };
        for (access, explicit, ambient, expect) in [
            (&jwt_or_key, T, NONE, "verify"),
            (&jwt_or_key, K, NONE, "verify"),
            (&jwt_or_key, NONE, NONE, "credential-missing"),
            (&jwt_or_key, T.with(K), NONE, "credential-ambiguous"),
            (&jwt_or_key, S, NONE, "credential-unsupported"),
            (&jwt_or_key, T.with(S), NONE, "credential-ambiguous"),
            (&jwt_and_sig, T, NONE, "signature-missing"),
            (&jwt_and_sig, S, NONE, "credential-missing"),
            (&jwt_and_sig, T.with(S), NONE, "verify"),
            // Ambient: ignored unless asked for; the explicit credential wins.
            (&jwt_or_key, T, C, "verify"),
            (&jwt_or_key, NONE, C, "credential-missing"),
            (&jwt_and_cert, T, C, "verify"),
            (&jwt_and_cert, T, NONE, "certificate-missing"),
            (&cert, NONE, C, "verify"),
            (&cert, NONE, NONE, "certificate-missing"),
            (&cert, T, C, "credential-unsupported"),
            // Anonymous: nothing is fine, something must be valid.
            (&nobody, NONE, C, "anonymous"),
            (&nobody, T, NONE, "verify-any"),
            (&nobody, C, NONE, "credential-unsupported"),
            (&nobody, T.with(K), NONE, "credential-ambiguous"),
        ] {
            assert_eq!(
                word(access, explicit, ambient),
                expect,
                "{explicit:?} with {ambient:?} on {access:?}"
            );
        }
    }
}
