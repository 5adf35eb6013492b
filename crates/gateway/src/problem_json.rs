//! RFC 9457 problem details, written by hand into one buffer.

use portcullis_core::id::RequestId;
use portcullis_core::problem::Code;
use portcullis_core::verdict::ErrorItem;

/// The body of a refusal. A fixed set of members; never a value of the request.
pub fn write(
    code: Code,
    status: u16,
    id: RequestId,
    errors: &[ErrorItem],
    members: &[(&str, String)],
) -> Vec<u8> {
    let shown = code.disclosed();
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"{\"type\":\"urn:portcullis:problem:");
    out.extend_from_slice(shown.text().as_bytes());
    out.extend_from_slice(b"\",\"title\":\"");
    out.extend_from_slice(shown.title().as_bytes());
    out.extend_from_slice(b"\",\"status\":");
    out.extend_from_slice(status.to_string().as_bytes());
    out.extend_from_slice(b",\"instance\":\"urn:uuid:");
    out.extend_from_slice(&id.text());
    out.push(b'"');
    for (i, item) in errors.iter().take(20).enumerate() {
        out.extend_from_slice(if i == 0 { b",\"errors\":[" } else { b"," });
        write_item(item, &mut out);
    }
    if !errors.is_empty() {
        out.push(b']');
    }
    for (name, json) in members {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        out.extend_from_slice(json.as_bytes());
    }
    out.push(b'}');
    out
}

/// The same in the form of GraphQL: what was asked in its words is refused in its words (contract.md § 16.5).
pub fn graphql(code: Code, id: RequestId, members: &[(&str, String)]) -> Vec<u8> {
    let shown = code.disclosed();
    let mut out = b"{\"errors\":[{\"message\":".to_vec();
    match members.iter().find(|(name, _)| *name == "message") {
        Some((_, json)) => out.extend_from_slice(json.as_bytes()),
        None => write_text(shown.title(), &mut out),
    }
    out.extend_from_slice(b",\"extensions\":{\"code\":\"");
    out.extend_from_slice(shown.text().as_bytes());
    out.extend_from_slice(b"\",\"problem\":\"urn:portcullis:problem:");
    out.extend_from_slice(shown.text().as_bytes());
    out.extend_from_slice(b"\",\"request_id\":\"");
    out.extend_from_slice(&id.text());
    out.push(b'"');
    for (name, json) in members.iter().filter(|(name, _)| *name != "message") {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        out.extend_from_slice(json.as_bytes());
    }
    out.extend_from_slice(b"}}]}");
    out
}

fn write_item(item: &ErrorItem, out: &mut Vec<u8>) {
    out.push(b'{');
    if let Some(pointer) = &item.pointer {
        out.extend_from_slice(b"\"pointer\":");
        write_text(pointer, out);
        out.push(b',');
    }
    if let Some((name, place)) = &item.parameter {
        out.extend_from_slice(b"\"parameter\":");
        write_text(name, out);
        out.extend_from_slice(b",\"in\":\"");
        out.extend_from_slice(place.as_bytes());
        out.extend_from_slice(b"\",");
    }
    out.extend_from_slice(b"\"rule\":\"");
    out.extend_from_slice(item.rule.as_bytes());
    out.extend_from_slice(b"\",\"message\":");
    write_text(item.message, out);
    out.push(b'}');
}

/// A JSON string. Names that the client sent appear in pointers: escaped, controls and line separators included.
pub fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for c in text.chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            c if u32::from(c) < 0x20 || matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}') => {
                out.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes());
            }
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_core::time::Now;

    #[test]
    fn is_json_and_conceals() {
        let id = RequestId::new(Now::from_secs(1_767_225_600), [1; 10]);
        let item = ErrorItem {
            pointer: Some("/a\"\n\u{2028}".into()),
            parameter: Some(("x".into(), "query")),
            rule: "maximum",
            message: "must not be larger than allowed",
        };
        let body =
            write(Code::ObjectNotYours, 404, id, &[item.clone(), item], &[("server_time", "17".into())]);
        let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(value["type"], "urn:portcullis:problem:not-found");
        assert_eq!(value["errors"].as_array().unwrap().len(), 2);
        assert_eq!(value["errors"][0]["pointer"], "/a\"\n\u{2028}");
        assert_eq!(value["server_time"], 17);
        assert_eq!(value["instance"], format!("urn:uuid:{id}"));
    }
}
