// What holds for JSON texts, OpenAPI documents, parameters and forms. Shared, by `include!`, by the fuzz targets and
// by the replay of their corpora in `cargo test`.

use portcullis_contract::body::MediaType;
use portcullis_contract::document::{self, Files, Loading};
use portcullis_contract::json::{self, JsonProblem, Keep};
use portcullis_contract::model::{BodyPlan, Contract, Found, OnError, Terms, compile};
use portcullis_contract::param::Value;
use portcullis_contract::violation::In;
use portcullis_core::finding::{Finding, Severity, SourceMap};
use portcullis_core::head::{
    Authority, CanonicalPath, Client, FieldRules, Fields, Head, HeadParts, Method, Scheme, Target, Version,
};
use std::sync::LazyLock;

const HASH_KEY: [u64; 2] = [7, 11];

/// The strict reader against serde_json, and the writer against the reader.
pub(crate) fn json_text(data: &[u8]) {
    let scan = |bytes: &[u8], bounds: &json::Bounds| json::scan(bytes, bounds, HASH_KEY);
    let written = |tape: &json::Tape, keep: Option<&Keep>| {
        let mut out = Vec::new();
        json::write(tape, keep, &mut out);
        out
    };
    let bounds = json::Bounds::default();
    let theirs = serde_json::from_slice::<serde_json::Value>(data);
    let tape = match (scan(data, &bounds), &theirs) {
        (Ok(tape), _) => tape,
        (Err(error), Ok(_)) => {
            // What is stricter than RFC 8259 has a name; U+0000 is refused as malformed.
            assert!(error.problem != JsonProblem::Malformed || error.reason == "U+0000", "{error:?}");
            return;
        }
        (Err(_), Err(_)) => return,
    };
    let out = written(&tape, None);
    let again = scan(&out, &bounds);
    assert_eq!(again.as_ref().map(|tape| written(tape, None)).as_ref(), Ok(&out), "a fixed point");
    match theirs {
        Ok(value) => assert_eq!(serde_json::from_slice::<serde_json::Value>(&out).ok(), Some(value)),
        Err(error) => assert!(error.to_string().contains("number out of range"), "{error}"),
    }
    let mut keep = Keep::all(&tape);
    let mut index = 0u32;
    while (index as usize) < tape.len() {
        if (index.wrapping_mul(0x9e37_79b9) ^ data.len() as u32).is_multiple_of(3) {
            keep.drop_value(&tape, index);
        }
        index += 1;
    }
    let kept = written(&tape, Some(&keep));
    assert!(kept.len() <= out.len() && scan(&kept, &bounds).is_ok(), "{}", String::from_utf8_lossy(&kept));
    let tight = json::Bounds { depth: 3, keys: 4, values: 20, elements: 5, key_length: 8, string_length: 16 };
    match scan(data, &tight) {
        Ok(tape) => assert_eq!(written(&tape, None), out),
        Err(error) => assert_eq!(error.problem, JsonProblem::TooComplex, "only the bounds differ"),
    }
}

/// A document of one file: loaded and compiled, or refused with findings that can be shown.
pub(crate) fn openapi(data: &[u8]) {
    let name = if data.first() == Some(&b'{') { "api.json" } else { "api.yaml" };
    let bounds = document::Bounds {
        bytes: 64 << 10,
        files: 4,
        nodes: 5_000,
        depth: 32,
        schemas: 200,
        operations: 50,
        parameters: 20,
        patterns: 50,
    };
    let mut map = SourceMap::default();
    let id = map.add(name, &String::from_utf8_lossy(data));
    let show = |findings: &[Finding]| {
        for finding in findings {
            assert!(!finding.message.is_empty() && finding.at.start <= finding.at.end, "{finding:?}");
            assert!(map.render(finding, false).contains(finding.code));
        }
    };
    let mut files = Files::new(bounds);
    files.add(id, name, data);
    let mut rounds = 0;
    let document = loop {
        rounds += 1;
        assert!(rounds <= 4, "what is missing is asked for once");
        match document::load(&mut files) {
            Loading::Needs(names) => names.iter().for_each(|name| files.missing(name)),
            Loading::Loaded(document) => break document,
            Loading::Refused(findings) => {
                assert!(!findings.is_empty());
                return show(&findings);
            }
        }
    };
    let strict = compile(&document, &Terms::default());
    let lenient = compile(&document, &Terms { on_error: OnError::CloseOperation, ..Terms::default() });
    match strict {
        Ok(done) => {
            show(&done.findings);
            assert!(lenient.is_ok_and(|same| same.findings == done.findings));
            contract_law(&done.contract);
        }
        Err(findings) => {
            assert!(findings.iter().any(|finding| finding.severity == Severity::Error));
            show(&findings);
            if let Ok(done) = lenient {
                contract_law(&done.contract);
            }
        }
    }
}

/// What is declared is found where it is declared, and under no other method or path.
fn contract_law(contract: &Contract) {
    for operation in contract.operations() {
        let filled: String = operation
            .template
            .split('{')
            .enumerate()
            .map(|(at, piece)| match (at, piece.split_once('}')) {
                (0, _) | (_, None) => piece.to_owned(),
                (_, Some((_, rest))) => format!("x{rest}"),
            })
            .collect();
        let Ok(path) = CanonicalPath::parse(&format!("{}{filled}", contract.base_path())) else { continue };
        if operation.closed {
            continue;
        }
        // A more special template may take the path.
        assert!(!matches!(contract.find(operation.method, &path), Found::Undeclared), "{filled}");
    }
    if let Ok(path) = CanonicalPath::parse("/surely/nobody/declares/this/path/of/so/many/segments/1/2/3/4/5")
    {
        let _ = contract.find(Method::Get, &path);
    }
}

/// Where, style, explode, schema: each a contract of [`CELLS`].
const STYLES: [(&str, &str, bool); 16] = [
    ("path", "simple", false),
    ("path", "simple", true),
    ("path", "label", false),
    ("path", "label", true),
    ("path", "matrix", false),
    ("path", "matrix", true),
    ("header", "simple", false),
    ("header", "simple", true),
    ("query", "form", false),
    ("query", "form", true),
    ("query", "spaceDelimited", false),
    ("query", "spaceDelimited", true),
    ("query", "pipeDelimited", false),
    ("query", "pipeDelimited", true),
    ("query", "deepObject", true),
    ("cookie", "form", false),
];

const SCHEMAS: [&str; 9] = [
    "{type: string}",
    "{type: array, items: {type: string}}",
    "{type: object, properties: {a: {type: string}, b: {type: integer}, 'c d': {type: boolean}}}",
    "{type: integer, format: int32}",
    "{type: number}",
    "{type: boolean}",
    "{type: string, format: uuid}",
    "{type: string, format: date-time}",
    "{type: array, items: {type: integer}}",
];

/// One contract for each cell of the table of styles that exists.
static CELLS: LazyLock<Vec<(In, Contract)>> = LazyLock::new(|| {
    let mut cells = Vec::new();
    for (at, style, explode) in STYLES {
        for (index, schema) in SCHEMAS.into_iter().enumerate() {
            let empty = index % 2 == 1;
            let path = if at == "path" { "/t/{c}" } else { "/t" };
            let text = format!(
                "openapi: 3.0.3\ninfo: {{title: t, version: '1'}}\npaths:\n  {path}:\n    get:\n      operationId: t\n      \
                 parameters:\n        - {{name: c, in: {at}, required: true, style: {style}, explode: {explode}, allowEmptyValue: {empty}, schema: {schema}}}\n      \
                 responses: {{'204': {{description: none}}}}\n"
            );
            let place = match at {
                "path" => In::Path,
                "query" => In::Query,
                "header" => In::Header,
                _ => In::Cookie,
            };
            cells.extend(one_file(&text).map(|contract| (place, contract)));
        }
    }
    cells
});

static FORM: LazyLock<Option<Contract>> = LazyLock::new(|| {
    one_file(
        "openapi: 3.0.3\ninfo: {title: t, version: '1'}\npaths:\n  /t:\n    post:\n      operationId: t\n      requestBody:\n        \
         content:\n          application/x-www-form-urlencoded:\n            schema: {type: object, additionalProperties: false, \
         properties: {a: {type: string}, b: {type: integer}, c: {type: array, items: {type: string}}, \
         d: {type: object, properties: {x: {type: string}}}}}\n      responses: {'204': {description: none}}\n",
    )
});

fn one_file(text: &str) -> Option<Contract> {
    let mut files = Files::new(document::Bounds::default());
    files.add(0, "api.yaml", text.as_bytes());
    match document::load(&mut files) {
        Loading::Loaded(document) => compile(&document, &Terms::default()).ok().map(|done| done.contract),
        _ => None,
    }
}

/// The first byte chooses a cell, or the form; the rest is what the request says there. What is read and written
/// again is read as the same value and written the same way: the program behind sees what was checked.
pub(crate) fn parameter(data: &[u8]) {
    assert!(CELLS.len() > 80, "{} cells", CELLS.len());
    let Some((&choice, rest)) = data.split_first() else { return };
    let Some((place, contract)) = CELLS.get(usize::from(choice)) else { return form(rest) };
    let Ok(wire) = std::str::from_utf8(rest) else { return };
    let Some((value, text)) = read(contract, *place, wire) else { return };
    assert_eq!(read(contract, *place, &text).as_ref(), Some(&(value, text.clone())), "{wire} {text}");
}

fn read(contract: &Contract, place: In, wire: &str) -> Option<(Value, String)> {
    let (target, line) = match place {
        In::Path => (format!("/t/{wire}"), None),
        In::Query => (format!("/t?{wire}"), None),
        In::Header => ("/t".to_owned(), Some("c")),
        In::Cookie => ("/t".to_owned(), Some("cookie")),
    };
    let mut map = http::HeaderMap::new();
    if let Some(name) = line {
        map.insert(name, http::HeaderValue::from_str(wire).ok()?);
    }
    let head = Head::new(HeadParts {
        method: Method::Get,
        version: Version::Http11,
        scheme: Scheme::Https,
        authority: Authority::parse("api.example.com").ok()?,
        target: Target::parse(&target).ok()?,
        fields: Fields::admit(map, Version::Http11, &FieldRules::default()).ok()?,
        public_port: 443,
        client: Client::peer([127, 0, 0, 1].into()),
        websocket: false,
    });
    let Found::Operation { operation, path, .. } = contract.find(head.method(), head.path()) else {
        return None;
    };
    let values = operation.parameters(&head, &path).ok()?;
    let text = match place {
        In::Path => operation.target("", &values).strip_prefix("/t/")?.to_owned(),
        In::Query => operation.target("", &values).strip_prefix("/t?").unwrap_or("").to_owned(),
        In::Header => operation.headers(&values).next().map(|(_, text)| text)?,
        In::Cookie => operation.cookies(&values)?,
    };
    Some((operation.value(&values, place, "c")?.clone(), text))
}

fn form(data: &[u8]) {
    let Some(operation) = FORM.as_ref().and_then(|contract| contract.operation("t")) else {
        unreachable!("the form's document compiles")
    };
    let media = MediaType::parse("application/x-www-form-urlencoded");
    let Some((_, BodyPlan::Form(form))) = media.ok().and_then(|media| operation.body(&media)) else {
        unreachable!("it declares a form")
    };
    let Ok(body) = form.read(data) else { return };
    let again = form.read(body.text().as_bytes());
    assert_eq!(again.as_ref().map(|again| again.text()).ok(), Some(body.text()));
    let json = |tape: &json::Tape| {
        let mut out = Vec::new();
        json::write(tape, None, &mut out);
        out
    };
    assert_eq!(again.map(|again| json(again.tape())).ok(), Some(json(body.tape())));
}
