//! What an RFC 7662 end point says of an opaque token, by the rules of its issuer.

use super::{Claims, Policy};
use crate::json::{Json, Limits, Value};
use crate::reason::Reason;

/// Seconds for which an answer without `exp` is believed.
const WITHOUT_EXP: i64 = 60;

/// Judges the body of an answer with status 200. Nothing: the token is not active, which only the boolean `true` says.
///
/// `aud` must name us, `iss` must be the issuer's where it is given; times and types are those of a JWT. How long an
/// opaque token lives is its issuer's affair: `max_lifetime` and `max_age` do not count, for it is asked about anew.
///
/// # Errors
/// [`Reason::Json`] when the answer cannot be read (which says nothing about the token); else the first rule that the
/// token breaks.
pub fn introspected(now: i64, policy: &Policy, body: Vec<u8>) -> Result<Option<Claims>, Reason> {
    let answer = Json::parse(body, &Limits::ANSWER).map_err(|_| Reason::Json)?;
    let root = answer.root();
    if root.get("active").and_then(Value::as_bool) != Some(true) {
        return Ok(None);
    }
    if root.get("iss").is_some_and(|iss| iss.as_str() != Some(&policy.issuer)) {
        return Err(Reason::Issuer);
    }
    let mut rules = policy.rules(now);
    rules.max_lifetime = i64::MAX;
    rules.max_age = None;
    rules.exp_default = Some(now.saturating_add(WITHOUT_EXP));
    Claims::judge(answer, &rules, Some(&policy.scope), Some(&policy.client)).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_core::caller::Binding;

    const NOW: i64 = 1_767_225_600;

    fn judge(members: &str) -> Result<Option<Claims>, Reason> {
        let policy = Policy::new("https://login.example.com/", ["shop".to_owned()]);
        introspected(NOW, &policy, format!("{{{members}}}").into_bytes())
    }

    #[test]
    fn active_is_the_boolean_true_and_nothing_else() {
        let claims = judge(r#""active":true,"aud":"shop","sub":"ann","scope":"a b","client_id":"app""#);
        let claims = claims.unwrap().unwrap();
        assert_eq!((claims.subject(), claims.exp()), (Some("ann"), NOW + 60));
        assert_eq!(claims.scopes().len(), 2);
        for inactive in
            [r#""active":false"#, r#""active":"true""#, r#""active":1"#, r#""active":null"#, r#""sub":"ann""#]
        {
            assert!(judge(&format!(r#"{inactive},"aud":"shop""#)).unwrap().is_none(), "{inactive}");
        }
        for unreadable in [r#""active":true,"active":false"#, r#""active":tru"#] {
            assert_eq!(judge(unreadable).err(), Some(Reason::Json), "{unreadable}");
        }
    }

    #[test]
    fn the_rules_of_the_issuer_apply_to_what_is_told() {
        let more = |members: &str| judge(&format!(r#""active":true,{members}"#));
        for (members, reason) in [
            (r#""sub":"ann""#, Reason::ClaimAud),
            (r#""aud":"shops""#, Reason::ClaimAud),
            (r#""aud":"shop","iss":"https://login.example.com""#, Reason::Issuer),
            (r#""aud":"shop","iss":1"#, Reason::Issuer),
            (r#""aud":"shop","exp":1767225570"#, Reason::Expired),
            (r#""aud":"shop","exp":"1767229200""#, Reason::ClaimExp),
            (r#""aud":"shop","nbf":1767225700"#, Reason::ClaimNbf),
            (r#""aud":"shop","scope":7"#, Reason::ClaimScope),
            (r#""aud":"shop","cnf":{"jkt":"x"}"#, Reason::Binding),
        ] {
            assert_eq!(more(members).err(), Some(reason), "{members}");
        }
        let bound = more(
            r#""aud":["other","shop"],"exp":1798761600,"cnf":{"jkt":"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"}"#,
        );
        assert!(
            matches!(bound.unwrap().unwrap().binding(), Binding::Dpop(_)),
            "a year of life is its own affair"
        );
    }
}
