// What holds for the head of a request. Shared, by `include!`, by the fuzz target and by the replay of its corpus
// in `cargo test`.

use portcullis_core::head::{
    Authority, CanonicalPath, FieldRules, Fields, MAX_SEGMENTS, SecretRules, Target, TraceParent, Version,
    secret_in_url,
};

/// The first line is a target, the second an authority, the others are `name:value`.
pub(crate) fn head(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let text = |line: Option<&[u8]>| line.and_then(|line| String::from_utf8(line.to_vec()).ok());
    if let Some(raw) = text(lines.next()) {
        target(&raw);
    }
    if let Some(raw) = text(lines.next()) {
        authority(&raw);
        if let Some(trace) = TraceParent::parse(&raw) {
            assert_eq!(TraceParent::parse(&trace.to_string()), Some(trace));
        }
    }
    let mut map = http::HeaderMap::new();
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default();
        if let (Ok(name), Ok(value)) =
            (http::HeaderName::from_bytes(name), http::HeaderValue::from_bytes(value))
        {
            map.append(name, value);
        }
    }
    for version in [Version::Http11, Version::Http2] {
        fields(&map, version);
    }
}

/// What is printed reads as the same path, and leaves nothing for a second reader to interpret.
fn target(raw: &str) {
    let Ok(target) = Target::parse(raw) else { return };
    let (path, printed) = (target.path(), target.path().to_string());
    assert_eq!(CanonicalPath::parse(&printed).as_ref(), Ok(path), "{raw}");
    assert_eq!(CanonicalPath::parse(raw.split('?').next().unwrap_or("")).as_ref(), Ok(path), "{raw}");
    assert!(path.count() <= MAX_SEGMENTS);
    assert!(printed.starts_with('/') && !printed.contains("//"), "{printed}");
    assert!(printed.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~/%,;=".contains(&b)), "{printed}");
    for (index, segment) in path.segments().enumerate() {
        assert_eq!(path.segment(index).map(|found| found.text), Some(segment.text));
        assert!(!segment.text.is_empty() && segment.text.chars().all(|c| c != '\\' && !c.is_control()));
        let first = segment.text.split(';').next().unwrap_or("");
        assert!(first.is_empty() || first.chars().any(|c| c != '.' && c != ' '), "{printed}");
    }
    assert_eq!(raw.split_once('?').map(|(_, query)| query), target.query());
    let _ = secret_in_url(&target, &SecretRules::new());
}

/// One spelling of a host, and every other reader takes it for the same host.
pub(crate) fn authority(raw: &str) {
    let Ok(authority) = Authority::parse(raw) else { return };
    let printed = authority.to_string();
    assert_eq!(Authority::parse(&printed).as_ref(), Ok(&authority), "{raw}");
    assert!(printed.len() <= raw.len() + 45 && !printed.bytes().any(|b| b.is_ascii_uppercase()), "{printed}");
    let theirs = printed.parse::<http::uri::Authority>().ok();
    let theirs = theirs.as_ref().map(|theirs| (theirs.host(), theirs.port_u16()));
    assert_eq!(theirs, Some((authority.host(), authority.port())), "{raw}");
}

/// What is admitted has each name once and nothing that only we may say, and is admitted again unchanged.
fn fields(map: &http::HeaderMap, version: Version) {
    let rules = FieldRules::default();
    let Ok(fields) = Fields::admit(map.clone(), version, &rules) else { return };
    assert!(fields.map().len() == fields.map().keys_len() && fields.map().len() <= rules.count);
    for (name, value) in fields.map() {
        let hop =
            ["connection", "te", "transfer-encoding", "upgrade", "keep-alive", "host", "content-length"];
        assert!(!rules.reserves(name.as_str()) && !hop.contains(&name.as_str()), "{name}");
        assert!(value.to_str().is_ok_and(|text| Some(text) == fields.get(name.as_str())));
    }
    // Joined lines may be longer than one line may be.
    if fields.map().values().all(|value| value.len() <= rules.value) {
        let again = Fields::admit(fields.map().clone(), version, &rules);
        assert_eq!(again.map(|again| again.map().clone()).ok().as_ref(), Some(fields.map()));
    }
}
