use super::names::{self, Kind};
use super::trace::TraceParent;
use super::{Version, odd_name_reason};
use crate::problem::Code;
use crate::verdict::{Refusal, Stop};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

/// The header fields of a request after `wire.md`, section 7.2, steps 1 to 6: names and values of one grammar,
/// each name once, nothing of one connection, nothing that only we may say.
#[derive(Clone, Default)]
pub struct Fields {
    map: HeaderMap,
    repeated: SmallVec<[HeaderName; 1]>,
    aside: Aside,
    removed: Removed,
}

/// What was read before its header was removed.
#[derive(Clone, Default)]
struct Aside {
    request_id: Option<HeaderValue>,
    min_rev: Option<HeaderValue>,
    content_length: Option<u64>,
    trace: Option<TraceParent>,
    expects_continue: bool,
    offers_websocket: bool,
}

/// How many header fields were removed, for `headers_dropped_total{kind}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Of one connection.
    pub hop_by_hop: u16,
    /// Names that only we may write.
    pub reserved: u16,
}

/// Bounds and named exceptions of the header fields.
#[derive(Clone, Debug)]
pub struct FieldRules {
    /// Fields at most.
    pub count: usize,
    /// Bytes of names and values at most.
    pub bytes: usize,
    /// Bytes of one value at most.
    pub value: usize,
    /// Cookies at most; their bytes are bounded by `value`.
    pub cookies: usize,
    legacy: Vec<Box<str>>,
    reserved: Vec<Box<str>>,
    released: Vec<Box<str>>,
}

impl Default for FieldRules {
    /// `wire.md`, section 4.
    fn default() -> Self {
        Self {
            count: 100,
            bytes: 32 << 10,
            value: 8 << 10,
            cookies: 50,
            legacy: Vec::new(),
            reserved: Vec::new(),
            released: Vec::new(),
        }
    }
}

impl FieldRules {
    /// Lets one name outside the grammar in (loosening `header_names`). False, and not added, when it folds to a
    /// reserved name or is no header name at all.
    #[must_use]
    pub fn add_legacy(&mut self, name: &str) -> bool {
        let fits = (1..=64).contains(&name.len())
            && HeaderName::from_bytes(name.as_bytes()).is_ok()
            && !self.reserves(&names::folded(name));
        if fits {
            self.legacy.push(name.to_ascii_lowercase().into());
        }
        fits
    }

    /// Reserves one more name (`reserved_headers`).
    pub fn add_reserved(&mut self, name: &str) {
        self.reserved.push(name.to_ascii_lowercase().into());
    }

    /// Lets one reserved name through as an ordinary one (loosening `reserved_header`).
    pub fn release(&mut self, name: &str) {
        self.released.push(name.to_ascii_lowercase().into());
    }

    /// Whether a name in lower case is reserved under these rules.
    pub fn reserves(&self, name: &str) -> bool {
        (names::is_reserved(name) && !holds(&self.released, name)) || holds(&self.reserved, name)
    }

    fn kind_of(&self, name: &str) -> Kind {
        match names::kind_of(name) {
            Kind::Reserved if holds(&self.released, name) => Kind::Single,
            Kind::List if holds(&self.reserved, name) => Kind::Reserved,
            kind => kind,
        }
    }
}

impl Fields {
    /// Judges and cleans the header fields of a request.
    ///
    /// # Errors
    /// The first step that fails: 431 `header-too-large`, 400 `header-refused`, `malformed-request` or
    /// `duplicate-header`, 417 `expectation-failed`.
    pub fn admit(map: HeaderMap, version: Version, rules: &FieldRules) -> Result<Self, Stop> {
        judge_grammar(&map, rules)?;
        let mut fields = Self { map, ..Self::default() };
        let mut gone: SmallVec<[HeaderName; 12]> = SmallVec::new();
        let has_repeated = fields.map.len() != fields.map.keys_len();
        for name in fields.map.keys() {
            let kind = rules.kind_of(name.as_str());
            let repeated = has_repeated && fields.map.get_all(name).iter().nth(1).is_some();
            match kind {
                Kind::MethodOverride => return Err(refused("a method override header")),
                Kind::Single | Kind::Reserved if repeated && is_single(name.as_str(), kind, version) => {
                    return Err(refuse(Code::DuplicateHeader, format!("{name} occurs more than once")));
                }
                Kind::List | Kind::Single if repeated => fields.repeated.push(name.clone()),
                Kind::HopByHop | Kind::Reserved => gone.push(name.clone()),
                _ => {}
            }
        }
        fields.judge_connection(version)?;
        fields.set_aside()?;
        for name in gone {
            let counter = match rules.kind_of(name.as_str()) {
                Kind::HopByHop => &mut fields.removed.hop_by_hop,
                _ => &mut fields.removed.reserved,
            };
            *counter = counter.saturating_add(1);
            fields.map.remove(&name);
        }
        // Each of these has one reading, and it is a typed one.
        for name in [header::HOST, header::CONTENT_LENGTH, header::EXPECT] {
            fields.map.remove(name);
        }
        fields.join_repeated();
        fields.judge_cookies(rules)?;
        Ok(fields)
    }

    /// Step 2: `Connection` names nothing but what belongs to it.
    fn judge_connection(&mut self, version: Version) -> Result<(), Stop> {
        let mut upgrade = false;
        for value in self.map.get_all(header::CONNECTION) {
            if version == Version::Http2 {
                return Err(refuse(Code::MalformedRequest, "a Connection header over HTTP/2"));
            }
            for option in
                text(value).split(',').map(|o| o.trim_matches([' ', '\t'])).filter(|o| !o.is_empty())
            {
                if !names::is_connection_option(option) {
                    return Err(refused("Connection names an option that is not accepted"));
                }
                upgrade |= option.eq_ignore_ascii_case("upgrade");
            }
        }
        let mut offers = self.map.get_all(header::UPGRADE).iter();
        self.aside.offers_websocket = upgrade
            && offers.next().is_some_and(|v| text(v).eq_ignore_ascii_case("websocket"))
            && offers.next().is_none();
        Ok(())
    }

    /// Steps 4 to 6: what is read of headers that do not stay.
    fn set_aside(&mut self) -> Result<(), Stop> {
        if let Some(expect) = self.map.get(header::EXPECT) {
            if !text(expect).eq_ignore_ascii_case("100-continue") {
                return Err(refuse(Code::ExpectationFailed, "an expectation other than 100-continue"));
            }
            self.aside.expects_continue = true;
        }
        if let Some(length) = self.map.get(header::CONTENT_LENGTH) {
            let digits = text(length);
            let fits = (1..=19).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
            self.aside.content_length = if fits { digits.parse().ok() } else { None };
            if self.aside.content_length.is_none() {
                return Err(refuse(Code::MalformedRequest, "Content-Length is not a number"));
            }
        }
        self.aside.request_id = self.map.get("x-request-id").cloned();
        self.aside.min_rev = self.map.get("portcullis-min-rev").cloned();
        self.read_trace();
        Ok(())
    }

    /// A repeated or malformed traceparent starts a new trace.
    fn read_trace(&mut self) {
        let mut parents = self.map.get_all("traceparent").iter();
        let parent = match (parents.next(), parents.next()) {
            (Some(parent), None) => TraceParent::parse(text(parent)),
            (None, _) if !self.map.contains_key("tracestate") => return,
            _ => None,
        };
        self.aside.trace = parent;
        if parent.is_none() {
            for name in ["traceparent", "tracestate"] {
                self.map.remove(name);
                self.repeated.retain(|known| known.as_str() != name);
            }
        }
    }

    /// Repeated lists are joined once, here; nobody behind sees two lines (CVE-2021-32777).
    fn join_repeated(&mut self) {
        for name in &self.repeated {
            let separator = if name == header::COOKIE { "; " } else { ", " };
            let mut joined = String::new();
            for value in self.map.get_all(name) {
                if !joined.is_empty() {
                    joined.push_str(separator);
                }
                joined.push_str(text(value));
            }
            // Joining values of the grammar gives a value of the grammar.
            let value = HeaderValue::try_from(joined).unwrap_or_else(|_| HeaderValue::from_static(""));
            self.map.insert(name.clone(), value);
        }
    }

    fn judge_cookies(&self, rules: &FieldRules) -> Result<(), Stop> {
        let Some(cookies) = self.map.get(header::COOKIE) else { return Ok(()) };
        if cookies.len() > rules.value || text(cookies).split(';').count() > rules.cookies {
            return Err(refuse(Code::HeaderTooLarge, "too many or too large cookies"));
        }
        Ok(())
    }

    /// A header field by its name, in any case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.map.get(name).map(text)
    }

    /// A header field by its name.
    pub fn get_name(&self, name: &HeaderName) -> Option<&str> {
        self.map.get(name).map(text)
    }

    /// All of them; each name once, each value visible ASCII, spaces and tabs.
    pub const fn map(&self) -> &HeaderMap {
        &self.map
    }

    /// Whether a name occurred on several lines, which are joined here. Declared scalar headers, and headers that
    /// carry a credential, may not.
    pub fn was_repeated(&self, name: &str) -> bool {
        self.repeated.iter().any(|known| known.as_str().eq_ignore_ascii_case(name))
    }

    /// How many were removed.
    pub const fn removed(&self) -> Removed {
        self.removed
    }

    /// The client's own X-Request-Id: for the log only.
    pub fn request_id(&self) -> Option<&str> {
        self.aside.request_id.as_ref().map(text)
    }

    /// `Portcullis-Min-Rev`, for `authority`.
    pub fn min_rev(&self) -> Option<&str> {
        self.aside.min_rev.as_ref().map(text)
    }

    /// `Content-Length`.
    pub const fn content_length(&self) -> Option<u64> {
        self.aside.content_length
    }

    /// A well-formed `traceparent`.
    pub const fn trace(&self) -> Option<TraceParent> {
        self.aside.trace
    }

    /// `Expect: 100-continue`.
    pub const fn expects_continue(&self) -> bool {
        self.aside.expects_continue
    }

    /// `Connection: upgrade` and `Upgrade: websocket`, and no other protocol.
    pub const fn offers_websocket(&self) -> bool {
        self.aside.offers_websocket
    }
}

fn holds(names: &[Box<str>], name: &str) -> bool {
    names.iter().any(|known| **known == *name)
}

/// Bounds and § 7.1 for all fields, before any of them is believed.
fn judge_grammar(map: &HeaderMap, rules: &FieldRules) -> Result<(), Stop> {
    if map.len() > rules.count {
        return Err(refuse(Code::HeaderTooLarge, "too many header fields"));
    }
    let bytes: usize = map.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > rules.bytes {
        return Err(refuse(Code::HeaderTooLarge, "too many header bytes"));
    }
    for (name, value) in map {
        let name = name.as_str();
        if !names::is_plain(name) && !holds(&rules.legacy, name) {
            return Err(refused(odd_name_reason(name)));
        }
        if value.len() > rules.value {
            return Err(refuse(Code::HeaderTooLarge, "a header value is too long"));
        }
        if value.to_str().is_err() {
            return Err(refuse(Code::MalformedRequest, "a header value with bytes outside visible ASCII"));
        }
    }
    Ok(())
}

/// Reserved names are lists, and joined or ignored, but for our own; cookies come in crumbs over HTTP/2 (RFC 9113,
/// section 8.2.3).
fn is_single(name: &str, kind: Kind, version: Version) -> bool {
    match kind {
        Kind::Reserved => name.starts_with("portcullis-"),
        _ => name != "cookie" || version != Version::Http2,
    }
}

fn refused(reason: impl Into<std::borrow::Cow<'static, str>>) -> Stop {
    refuse(Code::HeaderRefused, reason)
}

fn refuse(code: Code, reason: impl Into<std::borrow::Cow<'static, str>>) -> Stop {
    Refusal::new(code, reason).into()
}

/// Values were checked by `judge_grammar`.
fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(lines: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        map
    }

    fn refusal(stop: Stop) -> Refusal {
        match stop {
            Stop::Refusal(refusal) => *refusal,
            other => panic!("{other:?}"),
        }
    }

    fn admit(lines: &[(&str, &str)]) -> Result<Fields, Code> {
        Fields::admit(map(lines), Version::Http11, &FieldRules::default()).map_err(|stop| refusal(stop).code)
    }

    #[test]
    fn fields_take_aside_what_does_not_stay() {
        let fields = admit(&[
            ("Host", "a"),
            ("Content-Length", "12"),
            ("Expect", "100-Continue"),
            ("X-Request-Id", "mine"),
            ("Portcullis-Min-Rev", "7"),
            ("Connection", "Upgrade, keep-alive"),
            ("Upgrade", "websocket"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("X-Forwarded-For", "1.2.3.4"),
            ("X-Forwarded-For", "1.2.3.5"),
        ])
        .unwrap();
        assert_eq!(fields.map().len(), 1, "{:?}", fields.map());
        assert_eq!(fields.content_length(), Some(12));
        assert!(fields.expects_continue() && fields.offers_websocket());
        assert_eq!((fields.request_id(), fields.min_rev()), (Some("mine"), Some("7")));
        assert!(fields.trace().is_some());
        assert_eq!(fields.removed(), Removed { hop_by_hop: 2, reserved: 3 });
    }

    #[test]
    fn fields_join_lists_once_and_remember() {
        let fields =
            admit(&[("Accept", "a/b"), ("X-List", "1"), ("accept", "c/d"), ("X-List", "2, 3")]).unwrap();
        assert_eq!(fields.get("ACCEPT"), Some("a/b, c/d"));
        assert_eq!(fields.get("x-list"), Some("1, 2, 3"));
        assert_eq!(fields.map().len(), 2);
        assert!(fields.was_repeated("X-List") && !fields.was_repeated("Host"));
    }

    #[test]
    fn fields_cookies_come_in_crumbs_over_http2_only() {
        let crumbs = [("cookie", "a=1"), ("cookie", "b=2")];
        assert_eq!(admit(&crumbs).err(), Some(Code::DuplicateHeader));
        let fields = Fields::admit(map(&crumbs), Version::Http2, &FieldRules::default()).unwrap();
        assert_eq!(fields.get("cookie"), Some("a=1; b=2"));
        let many = vec!["a=1"; 51].join("; ");
        assert_eq!(admit(&[("cookie", &many)]).err(), Some(Code::HeaderTooLarge));
    }

    #[test]
    fn fields_bounds_hold() {
        let many = vec![("x-a", "1"); 101];
        assert_eq!(admit(&many).err(), Some(Code::HeaderTooLarge));
        assert_eq!(admit(&[("x-a", &"v".repeat(8193))]).err(), Some(Code::HeaderTooLarge));
        assert_eq!(admit(&[(&"x".repeat(65), "v")]).err(), Some(Code::HeaderRefused));
        let large = "v".repeat(8000);
        assert_eq!(admit(&[("x-a", large.as_str()); 5]).err(), Some(Code::HeaderTooLarge));
    }

    #[test]
    fn fields_legacy_names_never_imitate_ours() {
        let mut rules = FieldRules::default();
        rules.add_reserved("X-Tenant");
        assert!(rules.add_legacy("X_Legacy"));
        assert!(!rules.add_legacy("X_Forwarded_For"));
        assert!(!rules.add_legacy("X_Tenant"));
        assert!(!rules.add_legacy("x tenant"));
        assert!(Fields::admit(map(&[("X_LEGACY", "1")]), Version::Http11, &rules).is_ok());
        assert!(Fields::admit(map(&[("X_Other", "1")]), Version::Http11, &rules).is_err());
        rules.release("X-User-Locale");
        let fields = Fields::admit(
            map(&[("X-User-Locale", "de"), ("X-User-Id", "1"), ("X-Tenant", "t")]),
            Version::Http11,
            &rules,
        );
        assert_eq!(
            fields.unwrap().map().keys().map(HeaderName::as_str).collect::<Vec<_>>(),
            ["x-user-locale"]
        );
    }

    #[test]
    fn fields_a_strange_name_is_not_repeated_in_the_reason() {
        let refused = refusal(
            Fields::admit(map(&[("hunter2_secret", "1")]), Version::Http11, &FieldRules::default())
                .err()
                .unwrap(),
        );
        assert!(!refused.reason.contains("hunter2"), "{}", refused.reason);
        let refused = refusal(
            Fields::admit(map(&[("X_Forwarded.For", "1")]), Version::Http11, &FieldRules::default())
                .err()
                .unwrap(),
        );
        assert!(refused.reason.contains("x-forwarded-for"), "{}", refused.reason);
    }

    proptest! {
        #[test]
        fn fields_law_nothing_reserved_and_nothing_of_the_connection_survives(
            lines in prop::collection::vec((
                prop_oneof![
                    "[a-zA-Z0-9-]{1,20}",
                    "(X-Forwarded-|x-forwarded-|x-user-|x-auth-|x-remote-|portcullis-|ssl-|remote-|x-ssl-)[a-z]{1,8}",
                    Just("Forwarded".to_owned()), Just("TE".to_owned()), Just("Keep-Alive".to_owned()),
                ],
                "[ -~]{0,20}",
            ), 0..12)
        ) {
            let lines: Vec<_> = lines.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            if let Ok(fields) = admit(&lines) {
                prop_assert_eq!(fields.map().len(), fields.map().keys_len());
                for name in fields.map().keys() {
                    prop_assert!(!names::is_reserved(name.as_str()), "{}", name);
                    prop_assert!(names::kind_of(name.as_str()) != Kind::HopByHop);
                }
                // Idempotent: what was admitted is admitted unchanged.
                let again = Fields::admit(fields.map().clone(), Version::Http11, &FieldRules::default()).unwrap();
                prop_assert_eq!(again.map(), fields.map());
            }
        }
    }
}
