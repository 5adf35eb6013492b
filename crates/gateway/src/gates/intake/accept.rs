//! `Accept` (RFC 9110 § 12.5.1), as far as the question goes whether anything is left.

use portcullis_contract::body::MediaRange;
use portcullis_contract::model::Operation;

/// Whether at least one declared success media type is acceptable. Absent and `*/*` accept all; an operation without
/// response bodies is not asked.
pub(super) fn leaves_any(accept: Option<&str>, operation: &Operation) -> bool {
    let Some(accept) = accept else { return true };
    if accept.trim() == "*/*" {
        return true;
    }
    let mut any = false;
    for produced in operation.produces() {
        any = true;
        if fits(accept, produced) {
            return true;
        }
    }
    !any
}

fn fits(accept: &str, produced: &MediaRange) -> bool {
    accept.split(',').any(|range| {
        let mut parts = range.split(';');
        let name = parts.next().unwrap_or_default().trim();
        let refused = parts.any(|p| {
            p.trim().split_once('=').is_some_and(|(n, v)| {
                n.trim().eq_ignore_ascii_case("q") && v.trim().bytes().all(|b| matches!(b, b'0' | b'.'))
            })
        });
        !refused && matches(name, produced)
    })
}

fn matches(name: &str, produced: &MediaRange) -> bool {
    let Some((kind, sub)) = name.split_once('/') else { return false };
    let (own_kind, own_sub) = match produced {
        MediaRange::Exact(media) => (media.kind(), media.subtype()),
        MediaRange::Kind(own) => (&**own, "*"),
        MediaRange::Any => return true,
    };
    let same = |a: &str, b: &str| a == "*" || b == "*" || a.eq_ignore_ascii_case(b);
    same(kind, own_kind) && same(sub, own_sub)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_q() {
        let json = MediaRange::parse("application/json").unwrap();
        for (accept, expect) in [
            ("application/json", true),
            ("application/*", true),
            ("text/html, application/json;q=0.5", true),
            ("text/html, */*;q=0.1", true),
            ("text/html", false),
            ("application/json;q=0", false),
            ("application/json; q=0.000", false),
            ("APPLICATION/JSON", true),
        ] {
            assert_eq!(fits(accept, &json), expect, "{accept}");
        }
    }
}
