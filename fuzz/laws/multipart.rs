// What holds for multipart bodies. Shared, by `include!`, by the fuzz target and by the replay of its corpus.

use portcullis_contract::body::MediaType;
use portcullis_contract::body::multipart::{Event, Malformed, Multipart, Parser, PartHead, SentPart, Takes};
use portcullis_contract::document::{self, Files, Loading};
use portcullis_contract::json;
use portcullis_contract::model::{BodyPlan, Contract, Terms, compile};
use std::sync::{Arc, LazyLock};

const DOCUMENT: &str = r#"{"openapi":"3.0.3","info":{"title":"t","version":"1"},"paths":{"/":{"post":{"operationId":"m",
"requestBody":{"content":{"multipart/form-data":{"schema":{"type":"object","properties":{
"t":{"type":"string"},"n":{"type":"integer"},"b":{"type":"boolean"},"u":{"type":"string","format":"uuid"},
"l":{"type":"array","items":{"type":"number"}},"o":{"type":"object","properties":{"x":{"type":"string"},"y":{"type":"array","items":{"type":"integer"}}}},
"f":{"type":"string","format":"binary"}}},
"encoding":{"f":{"contentType":"text/plain","headers":{"X-N":{"schema":{"type":"integer"}},"X-L":{"schema":{"type":"array","items":{"type":"string"}}}}}}}}},
"responses":{"204":{"description":"-"}}}}}}"#;

static CONTRACT: LazyLock<Contract> = LazyLock::new(|| {
    let mut files = Files::new(document::Bounds::default());
    files.add(0, "m.json", DOCUMENT.as_bytes());
    let Loading::Loaded(document) = document::load(&mut files) else { unreachable!("it loads") };
    let compiled = compile(&document, &Terms::default());
    compiled.unwrap_or_else(|findings| unreachable!("it compiles: {findings:?}")).contract
});

fn plan() -> Arc<Multipart> {
    let operation = CONTRACT.operation("m");
    let media = MediaType::parse("multipart/form-data");
    match operation.zip(media.ok()).and_then(|(operation, media)| operation.body(&media)) {
        Some((_, BodyPlan::Multipart(plan))) => plan,
        _ => unreachable!("it declares a form"),
    }
}

/// The parts of a body that is pushed in pieces of `step`.
fn read(boundary: &str, body: &[u8], step: usize) -> Result<Vec<(PartHead, Vec<u8>)>, Malformed> {
    let mut parser = Parser::new(Some(boundary))?;
    let mut parts: Vec<(PartHead, Vec<u8>)> = Vec::new();
    for piece in body.chunks(step.max(1)) {
        parser.push(piece);
        while let Some(event) = parser.next()? {
            match (event, parts.last_mut()) {
                (Event::Begin(head), _) => parts.push((head, Vec::new())),
                (Event::Data(bytes), Some((_, whole))) => whole.extend_from_slice(bytes),
                (Event::Data(_), None) => unreachable!("data of no part"),
                (Event::End, _) => {}
            }
        }
    }
    parser.finish().map(|()| parts)
}

/// What goes on: the object, and the body under another boundary.
fn written(plan: &Multipart, parts: &[(PartHead, Vec<u8>)]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut gathering = plan.gather();
    let mut files = Vec::new();
    for (head, bytes) in parts {
        match gathering.begin(head.clone()).ok()? {
            Takes::Bytes(most) if bytes.len() > most => return None,
            Takes::Bytes(_) => gathering.bytes(bytes.clone(), &json::Bounds::default(), [3, 5]).ok()?,
            Takes::File(_) => {
                gathering.file(bytes.len() as u64);
                files.push((bytes, head.file_name.is_some()));
            }
            Takes::Nothing => {}
        }
    }
    assert_eq!(gathering.files(), files.len());
    let body = gathering.finish().ok()?;
    let mut object = Vec::new();
    json::write(body.tape(), None, &mut object);
    let (_, sent): (_, Vec<SentPart>) = body.into_parts();
    let (mut out, mut files) = (Vec::new(), files.into_iter());
    for part in &sent {
        let (bytes, name) = match (&part.bytes, part.bytes.is_none().then(|| files.next()).flatten()) {
            (Some(bytes), _) => (bytes.as_slice(), None),
            (None, Some((bytes, named))) => (bytes.as_slice(), named.then_some("a.txt")),
            (None, None) => unreachable!("a file that nobody took"),
        };
        let media = part.bytes.is_none().then_some("text/plain");
        part.write_head("another", name, media, &mut out);
        out.extend_from_slice(bytes);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"--another--\r\n");
    Some((object, out))
}

/// The size of pieces, then a body with the boundary `b`.
pub(crate) fn multipart(data: &[u8]) {
    let Some((step, body)) = data.split_first() else { return };
    let parts = read("b", body, body.len());
    assert_eq!(parts, read("b", body, usize::from(*step)), "pieces change nothing");
    let Ok(parts) = parts else { return };
    let plan = plan();
    let Some((object, out)) = written(&plan, &parts) else { return };
    if body.windows(9).any(|w| w == b"--another") {
        return;
    }
    let again = read("another", &out, 7).expect("what was written is read");
    let (second, twice) = written(&plan, &again).expect("and kept");
    assert_eq!(String::from_utf8_lossy(&second), String::from_utf8_lossy(&object), "the same object");
    assert_eq!(String::from_utf8_lossy(&twice), String::from_utf8_lossy(&out), "written the same way");
}
