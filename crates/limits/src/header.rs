//! What the client sees (limits.md § 4): `Retry-After`, `X-RateLimit-*` and the IETF fields of draft 11.
//!
//! Every function appends to a buffer of the caller's; none allocates when the buffer has room (256 bytes are ample
//! for five policies).

use crate::bucket::Layer;
use crate::verdict::Decision;

/// Which policies may be shown: the global one never; the address layer only to callers without a name; shadow ones
/// never.
pub fn shown(decisions: &[Decision], authenticated: bool) -> impl Iterator<Item = &Decision> {
    decisions.iter().filter(move |d| {
        let hidden = match d.layer {
            Layer::Global => true,
            Layer::Address | Layer::AddressWide => authenticated,
            Layer::Key | Layer::User | Layer::Endpoint | Layer::Tenant => false,
        };
        !hidden && !d.shadow
    })
}

/// `RateLimit-Policy`: `"key";q=600;w=60`, one List member per policy. Returns whether there is any.
pub fn policy<'a>(out: &mut String, decisions: impl Iterator<Item = &'a Decision>) -> bool {
    let mut any = false;
    for d in decisions {
        member(out, &mut any, d);
        out.push_str(";q=");
        number(out, u64::from(d.limit));
        out.push_str(";w=");
        number(out, d.period_us.div_ceil(1_000_000));
    }
    any
}

/// `RateLimit`: `"key";r=40;t=24`; `t` = ceil(r·P/L) while r > 0, else the wait. Returns whether there is any.
pub fn state<'a>(out: &mut String, decisions: impl Iterator<Item = &'a Decision>) -> bool {
    let mut any = false;
    for d in decisions {
        member(out, &mut any, d);
        out.push_str(";r=");
        number(out, u64::from(d.remaining));
        out.push_str(";t=");
        number(out, horizon(d));
    }
    any
}

/// `X-RateLimit-Limit`, `-Remaining`, `-Reset` of the most restrictive policy: a violated one first (the longest
/// wait), else the one with the fewest left. Reset is in seconds until full.
pub fn legacy<'a>(decisions: impl Iterator<Item = &'a Decision>) -> Option<Legacy> {
    let worst = decisions.min_by_key(|d| {
        (d.admitted, core::cmp::Reverse(d.retry_after_us), d.remaining, core::cmp::Reverse(d.reset_us))
    })?;
    Some(Legacy {
        limit: u64::from(worst.limit),
        remaining: if worst.admitted { u64::from(worst.remaining) } else { 0 },
        reset_secs: worst.reset_us.div_ceil(1_000_000),
    })
}

/// The three numbers of the `X-RateLimit-*` fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Legacy {
    /// `X-RateLimit-Limit`.
    pub limit: u64,
    /// `X-RateLimit-Remaining`.
    pub remaining: u64,
    /// `X-RateLimit-Reset`, delta-seconds until full; add the present unix time for `reset: epoch`.
    pub reset_secs: u64,
}

/// Seconds of the `t` parameter.
fn horizon(d: &Decision) -> u64 {
    if d.remaining > 0 {
        let us = u128::from(d.remaining) * u128::from(d.period_us);
        let per = u128::from(d.refill.max(1)) * 1_000_000;
        u64::try_from(us.div_ceil(per)).unwrap_or(u64::MAX).min(MAX_SF)
    } else {
        d.retry_after_us.max(d.next_us).div_ceil(1_000_000).max(1)
    }
}

/// RFC 9651 § 3.3.1: fifteen digits.
const MAX_SF: u64 = 999_999_999_999_999;

fn member(out: &mut String, any: &mut bool, d: &Decision) {
    if *any {
        out.push_str(", ");
    }
    *any = true;
    // A `Name` has no character that an sf-string must escape.
    out.push('"');
    out.push_str(d.name.as_str());
    out.push('"');
}

/// Appends a decimal number.
pub fn number(out: &mut String, mut n: u64) {
    let mut digits = [0_u8; 20];
    let mut len = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (n % 10) as u8;
        n /= 10;
        len += 1;
        if n == 0 {
            break;
        }
    }
    if let Some(text) = digits.get(20 - len..).and_then(|d| core::str::from_utf8(d).ok()) {
        out.push_str(text);
    }
}
