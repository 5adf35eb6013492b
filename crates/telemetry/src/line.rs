//! One request in the log: a fixed struct, and nothing that is not a field of it.

use crate::json::{self, Object};
use portcullis_core::caller::Kind;
use portcullis_core::finding::SourceMap;
use portcullis_core::id::RequestId;
use portcullis_core::problem::Code;
use portcullis_core::time::Now;
use portcullis_core::trail::{Step, Trail};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

/// What is written about one request (watch.md § 1). Cheap to make: nothing is formatted on the request's thread.
#[derive(Debug)]
pub struct Line {
    /// When the request came.
    pub at: Now,
    /// Our correlation id.
    pub id: RequestId,
    /// The client's own `X-Request-Id`.
    pub client_request_id: Option<ClientRequestId>,
    /// W3C trace id.
    pub trace: Option<[u8; 16]>,
    /// The client's address.
    pub source: Option<IpAddr>,
    /// How the address was found: `peer`, `forwarded`, `x-forwarded-for`, `proxy-protocol`.
    pub source_how: &'static str,
    /// `1.2` or `1.3`; nothing without TLS.
    pub tls: Option<&'static str>,
    /// `1.1` or `2`.
    pub http: &'static str,
    /// What kind of caller.
    pub caller: Option<Kind>,
    /// Public id of the API key.
    pub key_id: Option<Arc<str>>,
    /// `due`, `deprecated`; nothing for an active key.
    pub key_state: Option<&'static str>,
    /// Public id of the deprecated key's successor.
    pub key_successor: Option<Arc<str>>,
    /// Seconds until the deprecated key ends.
    pub key_grace_left_s: Option<u64>,
    /// OAuth client.
    pub client: Option<Arc<str>>,
    /// Keyed hash of (issuer, subject); never the subject.
    pub user_hash: Option<[u8; 8]>,
    /// Tenant.
    pub tenant: Option<Arc<str>>,
    /// Method; `_OTHER` for one that is not known.
    pub method: &'static str,
    /// Route template; nothing when no route was found. Never the raw path.
    pub route: Option<Arc<str>>,
    /// Operation id of the document.
    pub operation: Option<Arc<str>>,
    /// API.
    pub api: Option<Arc<str>>,
    /// Status of the answer; 0 when the connection ended before one.
    pub status: u16,
    /// Problem code.
    pub problem: Option<Code>,
    /// Private reason: our own words, never a value of the request.
    pub reason: Option<Cow<'static, str>>,
    /// From the first byte to the last.
    pub total_us: u64,
    /// Our own part of it.
    pub inside_us: u64,
    /// The upstream's part; nothing when it was not asked.
    pub upstream_us: Option<u64>,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the answer's body.
    pub response_bytes: u64,
    /// Limits that were touched.
    pub limits: SmallVec<[Touched; 4]>,
    /// What the gates decided.
    pub decisions: Trail,
    /// The plan that judged.
    pub plan: Arc<PlanMark>,
}

/// Which plan judged, and the names of the files that its rules stand in.
#[derive(Debug, Default)]
pub struct PlanMark {
    /// Digest of the plan.
    pub digest: Arc<str>,
    /// File names for `file:line`, by the index in spans.
    pub files: Box<[Box<str>]>,
}

impl PlanMark {
    /// The mark of a plan; made once when it is loaded.
    pub fn new(digest: Arc<str>, sources: &SourceMap) -> Arc<Self> {
        let files =
            (0..sources.len()).map(|i| sources.name(u16::try_from(i).unwrap_or(u16::MAX)).into()).collect();
        Arc::new(Self { digest, files })
    }
}

/// One limit that was touched.
#[derive(Clone, Copy, Debug)]
pub struct Touched {
    /// Layer.
    pub layer: &'static str,
    /// Whole requests left.
    pub remaining: u32,
    /// It had room.
    pub admitted: bool,
    /// It only reports.
    pub shadow: bool,
}

/// A client's own request id: a UUID (RFC 9562) or a ULID, and no card number. A password or an opaque token cannot be
/// told from an id of any other form, and a part of a secret is one too; so anything else is not kept at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRequestId(Box<str>);

impl ClientRequestId {
    /// Reads the header's value.
    pub fn new(text: &str) -> Option<Self> {
        let uuid = text.len() == 36
            && text.bytes().enumerate().all(|(at, b)| match at {
                8 | 13 | 18 | 23 => b == b'-',
                _ => b.is_ascii_hexdigit(),
            });
        // Crockford's base32, 48 bits of time first.
        let ulid = text.len() == 26
            && text.starts_with('0')
            && text.bytes().all(|b| b.is_ascii_alphanumeric() && !b"ILOUilou".contains(&b));
        let fine = (uuid || ulid) && !has_card_number(text);
        fine.then(|| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Names of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// Elastic Common Schema 8, dotted names.
    #[default]
    Ecs,
    /// Short names.
    Flat,
}

macro_rules! fields {
    ($($name:ident: $ecs:literal, $flat:literal;)+) => {
        #[derive(Clone, Copy)]
        enum Field { $($name,)+ }

        impl Field {
            const fn name(self, format: Format) -> &'static str {
                match (self, format) {
                    $((Self::$name, Format::Ecs) => $ecs, (Self::$name, Format::Flat) => $flat,)+
                }
            }
        }

        /// Every field that a line can have: (ECS name, flat name). The reference page is made from it.
        pub const FIELDS: &[(&str, &str)] = &[$(($ecs, $flat),)+];
    };
}

fields! {
    At: "@timestamp", "time";
    Ecs: "ecs.version", "schema";
    Dataset: "event.dataset", "log";
    Id: "http.request.id", "id";
    ClientRequestId: "portcullis.client_request_id", "client_request_id";
    Trace: "trace.id", "trace";
    Source: "source.ip", "source";
    SourceHow: "portcullis.source_how", "source_how";
    Tls: "tls.version", "tls";
    Http: "http.version", "http";
    Caller: "portcullis.caller", "caller";
    KeyId: "portcullis.key.id", "key_id";
    KeyState: "portcullis.key.state", "key_state";
    KeySuccessor: "portcullis.key.successor", "successor";
    KeyGrace: "portcullis.key.grace_left_s", "grace_left_s";
    Client: "portcullis.client.id", "client_id";
    UserHash: "user.hash", "user_hash";
    Tenant: "organization.id", "tenant";
    Method: "http.request.method", "method";
    Route: "http.route", "route";
    Operation: "portcullis.operation", "operation";
    Api: "service.name", "api";
    Status: "http.response.status_code", "status";
    Outcome: "event.outcome", "outcome";
    Problem: "error.code", "problem";
    Reason: "portcullis.reason", "reason";
    Total: "event.duration", "total_ns";
    Inside: "portcullis.latency.inside_us", "inside_us";
    Upstream: "portcullis.latency.upstream_us", "upstream_us";
    RequestBytes: "http.request.body.bytes", "request_bytes";
    ResponseBytes: "http.response.body.bytes", "response_bytes";
    Limits: "portcullis.limits", "limits";
    Decisions: "portcullis.decisions", "decisions";
    Plan: "portcullis.plan", "plan";
    Dropped: "portcullis.log.dropped", "dropped";
    Message: "message", "message";
}

impl Line {
    /// Appends the line, with its end.
    pub(crate) fn write(&self, out: &mut Vec<u8>, format: Format, scratch: &mut Vec<u8>) {
        let n = |field: Field| field.name(format);
        let mut object = begin(out, self.at, format, scratch);
        object.text(n(Field::Dataset), "portcullis.request");
        object.text(n(Field::Id), std::str::from_utf8(&self.id.text()).unwrap_or_default());
        let optional = [
            (Field::ClientRequestId, self.client_request_id.as_ref().map(ClientRequestId::as_str)),
            (Field::SourceHow, Some(self.source_how)),
            (Field::Tls, self.tls),
            (Field::Http, Some(self.http)),
            (Field::Caller, self.caller.map(Kind::word)),
            (Field::KeyId, self.key_id.as_deref()),
            (Field::KeyState, self.key_state),
            (Field::KeySuccessor, self.key_successor.as_deref()),
            (Field::Client, self.client.as_deref()),
            (Field::Tenant, self.tenant.as_deref()),
            (Field::Method, Some(self.method)),
            (Field::Route, self.route.as_deref()),
            (Field::Operation, self.operation.as_deref()),
            (Field::Api, self.api.as_deref()),
            (Field::Problem, self.problem.map(Code::text)),
            (Field::Reason, self.reason.as_deref()),
            (Field::Plan, Some(&*self.plan.digest)),
        ];
        for (field, value) in optional {
            if let Some(value) = value.filter(|v| !v.is_empty()) {
                object.text(n(field), value);
            }
        }
        if let Some(trace) = &self.trace {
            object.text(n(Field::Trace), scratched(scratch, |s| json::hex(s, trace)));
        }
        if let Some(hash) = &self.user_hash {
            object.text(n(Field::UserHash), scratched(scratch, |s| json::hex(s, hash)));
        }
        if let Some(source) = self.source {
            object.text(n(Field::Source), scratched(scratch, |s| drop(write!(s, "{source}"))));
        }
        if let Some(left) = self.key_grace_left_s {
            object.number(n(Field::KeyGrace), left);
        }
        object.number(n(Field::Status), u64::from(self.status));
        let outcome = if (100..400).contains(&self.status) { "success" } else { "failure" };
        object.text(n(Field::Outcome), outcome);
        object.number(n(Field::Total), self.total_us.saturating_mul(1_000));
        object.number(n(Field::Inside), self.inside_us);
        if let Some(upstream) = self.upstream_us {
            object.number(n(Field::Upstream), upstream);
        }
        object.number(n(Field::RequestBytes), self.request_bytes);
        object.number(n(Field::ResponseBytes), self.response_bytes);
        if !self.limits.is_empty() {
            object.strings(n(Field::Limits), self.limits.iter(), touched);
        }
        if !self.decisions.steps().is_empty() {
            object.strings(n(Field::Decisions), self.decisions.steps().iter(), |out, step| {
                self.step(out, step)
            });
        }
        object.end();
        out.push(b'\n');
    }

    /// `flood admitted`, `operation scope orders.read portcullis.yaml:14`.
    fn step(&self, out: &mut Vec<u8>, step: &Step) {
        out.extend_from_slice(step.gate.word().as_bytes());
        out.push(b' ');
        json::escape(out, &step.decision);
        if let Some(rule) = step.rule.filter(|r| r.line > 0)
            && let Some(file) = self.plan.files.get(usize::from(rule.file))
        {
            out.push(b' ');
            json::escape(out, file);
            out.push(b':');
            json::number(out, u64::from(rule.line));
        }
    }
}

/// The line that says that lines are missing.
pub(crate) fn dropped(out: &mut Vec<u8>, format: Format, at: Now, count: u64, scratch: &mut Vec<u8>) {
    let mut object = begin(out, at, format, scratch);
    object.text(Field::Dataset.name(format), "portcullis.log");
    object.number(Field::Dropped.name(format), count);
    object.text(
        Field::Message.name(format),
        "request lines were dropped here: the log could not be written in time",
    );
    object.end();
    out.push(b'\n');
}

fn begin<'a>(out: &'a mut Vec<u8>, at: Now, format: Format, scratch: &mut Vec<u8>) -> Object<'a> {
    let mut object = Object::begin(out);
    object.text(Field::At.name(format), scratched(scratch, |s| json::timestamp(s, at.micros())));
    object.text(Field::Ecs.name(format), if format == Format::Ecs { "8.17" } else { "1" });
    object
}

fn touched(out: &mut Vec<u8>, limit: &Touched) {
    json::escape(out, limit.layer);
    out.push(b' ');
    json::number(out, u64::from(limit.remaining));
    if !limit.admitted {
        out.extend_from_slice(if limit.shadow { b" shadow" } else { b" refused" });
    }
}

fn scratched(scratch: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> &str {
    scratch.clear();
    write(scratch);
    std::str::from_utf8(scratch).unwrap_or_default()
}

/// Whether neighbouring groups of digits together are a card number: 13–19 digits, first digit 2–6, Luhn's check.
fn has_card_number(text: &str) -> bool {
    let groups: SmallVec<[&str; 16]> = text.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let card = |digits: &[u8]| {
        (13..=19).contains(&digits.len()) && matches!(digits.first(), Some(2..=6)) && luhn(digits)
    };
    let alone = text.split(|c: char| !c.is_ascii_digit()).any(|run| {
        let digits: SmallVec<[u8; 20]> = run.bytes().map(|b| b - b'0').collect();
        card(&digits)
    });
    alone
        || (0..groups.len()).any(|from| {
            let mut digits: SmallVec<[u8; 20]> = SmallVec::new();
            groups.iter().skip(from).any(|group| {
                // A group that is not all digits begins or ends with some: `order4111…`.
                let head = group.bytes().take_while(u8::is_ascii_digit);
                let tail = group.bytes().rev().take_while(u8::is_ascii_digit);
                let whole = group.bytes().all(|b| b.is_ascii_digit());
                if digits.is_empty() && !whole {
                    digits.extend(tail.map(|b| b - b'0').collect::<SmallVec<[u8; 20]>>().into_iter().rev());
                } else {
                    digits.extend(head.map(|b| b - b'0'));
                }
                card(&digits)
            })
        })
}

fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, d)| {
            let d = u32::from(*d) * if i % 2 == 1 { 2 } else { 1 };
            if d > 9 { d - 9 } else { d }
        })
        .sum();
    sum.is_multiple_of(10) && digits.iter().any(|d| *d != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_request_ids() {
        for good in [
            "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            "F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6",
            "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        ] {
            assert_eq!(ClientRequestId::new(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "hunter2",
            "Tr0ub4dor-and-3",
            "f81d4fae7dec11d0a76500a0c91e6bf6",
            "f81d4fae-7dec-11d0-a765-00a0c91e6bf6x",
            "x81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            "41111111-1111-1111-0000-000000000000",
            "91ARZ3NDEKTSV4RRFFQ69G5FAV",
            "01ARZ3NDEKTSV4RRFFQ69G5FUU",
            "a b",
            "a\nb",
            "a\"b",
            "ä",
            "eyJhbGciOiJFUzI1NiJ9.e30.c2ln",
            "pck_test_008j4ct4ank7f24s_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf44jbxy",
            "x-pch_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf22eB1q",
            "4111111111111111",
            "4111-1111-1111-1111",
            "order:4111.1111.1111.1111",
            "order4111-1111-1111-1111",
            "1-4111111111111111-x",
            "x4111111111111111x",
        ] {
            assert_eq!(ClientRequestId::new(bad), None, "{bad}");
        }
    }

    #[test]
    fn field_names_are_unique() {
        for names in [FIELDS.iter().map(|f| f.0).collect::<Vec<_>>(), FIELDS.iter().map(|f| f.1).collect()] {
            let mut unique = names.clone();
            unique.sort_unstable();
            unique.dedup();
            assert_eq!(unique.len(), names.len());
            assert!(names.iter().all(|n| n.bytes().all(|b| b.is_ascii_lowercase() || b"@._".contains(&b))));
        }
    }
}
