//! Multipart bodies: what a document says of each part, and what is made of it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use portcullis_contract::body::MediaType;
use portcullis_contract::body::multipart::{
    Event, Malformed, Multipart, MultipartBody, Parser, SentPart, Takes,
};
use portcullis_contract::json::Bounds;
use portcullis_contract::model::{BodyPlan, Terms, Unknown};
use portcullis_contract::violation::{Place, Violation};
use std::sync::Arc;
use support::{compiled, findings};

fn text(version: &str, media: &str) -> String {
    format!(
        "openapi: {version}\ninfo: {{title: t, version: '1'}}\npaths:\n  /a:\n    post:\n      operationId: a\n      requestBody: {{required: true, content: {{multipart/form-data: {media}}}}}\n      responses: {{'204': {{description: none}}}}\n"
    )
}

fn plan(version: &str, media: &str, terms: &Terms) -> Arc<Multipart> {
    let contract = compiled(&text(version, media), terms).unwrap().contract;
    let form = MediaType::parse("multipart/form-data; boundary=b").unwrap();
    let (_, plan) = contract.operation("a").unwrap().body(&form).unwrap();
    let BodyPlan::Multipart(plan) = plan else { panic!() };
    plan
}

/// Everything that is wrong with a document, by code.
fn wrong(version: &str, media: &str) -> Vec<&'static str> {
    findings(&text(version, media), &Terms::default()).iter().map(|finding| finding.code).collect()
}

#[derive(Debug, PartialEq)]
enum Failed {
    Malformed(&'static str),
    Json(&'static str),
    Violations(Vec<String>),
}

fn places(violations: &[Violation]) -> Failed {
    let place = |v: &Violation| match &v.at {
        Place::Pointer(pointer) => format!("{pointer} {}", v.rule),
        other => format!("{other:?}"),
    };
    Failed::Violations(violations.iter().map(place).collect())
}

fn read(plan: &Multipart, parts: &[(&str, &str, &str)]) -> Result<(String, Vec<SentPart>), Failed> {
    let malformed = |Malformed(reason)| Failed::Malformed(reason);
    let mut body = String::new();
    for (disposition, headers, content) in parts {
        body.push_str(&format!(
            "--b\r\nContent-Disposition: form-data; {disposition}\r\n{headers}\r\n{content}\r\n"
        ));
    }
    body.push_str("--b--");
    let mut parser = Parser::new(Some("b")).unwrap();
    let mut gathering = plan.gather();
    let mut coming: Option<(Takes<'_>, Vec<u8>)> = None;
    parser.push(body.as_bytes());
    while let Some(event) = parser.next().map_err(malformed)? {
        match event {
            Event::Begin(head) => coming = Some((gathering.begin(head).map_err(malformed)?, Vec::new())),
            Event::Data(data) => coming.as_mut().unwrap().1.extend_from_slice(data),
            Event::End => match coming.take().unwrap() {
                (Takes::Bytes(_), bytes) => {
                    gathering.bytes(bytes, &Bounds::default(), [1, 2]).map_err(|error| match error {
                        portcullis_contract::body::multipart::PartError::Malformed(m) => malformed(m),
                        portcullis_contract::body::multipart::PartError::Json(e) => {
                            Failed::Json(e.problem.code())
                        }
                    })?
                }
                (Takes::File(_), bytes) => gathering.file(bytes.len() as u64),
                (Takes::Nothing, _) => {}
            },
        }
    }
    parser.finish().map_err(malformed)?;
    let body: MultipartBody = gathering.finish().map_err(|violations| places(&violations))?;
    if !body.violations().is_empty() {
        return Err(places(body.violations()));
    }
    let (tape, sent) = body.into_parts();
    let mut json = Vec::new();
    portcullis_contract::json::write(&tape, None, &mut json);
    Ok((String::from_utf8(json).unwrap(), sent))
}

fn one(violation: &str) -> Failed {
    Failed::Violations(vec![violation.to_owned()])
}

#[test]
fn each_part_is_read_by_its_type() {
    let media = "{schema: {type: object, properties: {
        s: {type: string}, n: {type: integer}, x: {type: number}, b: {type: boolean}, e: {type: string, enum: [a, b]},
        l: {type: array, items: {type: integer}}, o: {type: object, properties: {y: {type: integer}}},
        p: {type: array, items: {type: object, properties: {y: {type: integer}}}},
        f: {type: string, format: binary}, d: {type: string, format: date}, j: {type: string}}},
        encoding: {f: {contentType: text/plain}, j: {contentType: application/json}}}"
        .replace('\n', " ");
    let plan = plan("3.0.3", &media, &Terms::default());
    assert!(plan.takes_files());
    let (json, sent) = read(
        &plan,
        &[
            ("name=s", "", "a\r\nb"),
            ("name=n", "", "-4"),
            ("name=x", "", "1.50"),
            ("name=b", "", "true"),
            ("name=e", "Content-Type: text/plain; charset=UTF-8\r\n", "b"),
            ("name=l", "", "1"),
            ("name=p", "", "{\"y\": 1}"),
            ("name=l", "", "2"),
            ("name=o", "Content-Type: application/json\r\n", "{ \"y\" : 2 }"),
            ("name=p", "", "{\"y\":3}"),
            ("name=f; filename=a.txt", "", "anything"),
            ("name=j", "Content-Type: application/json\r\n", "{\"this\": \"is text\"}"),
        ],
    )
    .unwrap();
    assert_eq!(
        json,
        r#"{"s":"a\r\nb","n":-4,"x":1.50,"b":true,"e":"b","l":[1,2],"p":[{"y":1},{"y":3}],"o":{"y":2},"f":"f","j":"{\"this\": \"is text\"}"}"#
    );
    let names: Vec<&str> = sent.iter().map(|part| &*part.name).collect();
    assert_eq!(names, ["s", "n", "x", "b", "e", "l", "p", "l", "o", "p", "f", "j"], "the order received");
    assert_eq!(
        (sent[8].media.as_deref(), sent[8].bytes.as_deref()),
        (Some("application/json"), Some(b"{\"y\":2}".as_slice()))
    );
    assert_eq!((sent[10].media.as_deref(), sent[10].bytes.as_deref()), (None, None));
    assert_eq!(sent[11].media.as_deref(), Some("application/json"));
    for (part, expected) in [
        (("name=n", "", "04"), "/n type"),
        (("name=n", "", "1e3"), "/n type"),
        (("name=n", "", " 1"), "/n type"),
        (("name=b", "", "True"), "/b type"),
        (("name=e", "", "c"), "/e enum"),
        (("name=l", "", "x"), "/l type"),
        (("name=d", "", "2024-02-30"), "/d format"),
        (("name=s", "", "a\0"), "/s characters"),
        (("name=s", "", "a\u{1b}"), "/s characters"),
        (("name=S", "", "a"), "/S unknown-property"),
        (("name=s", "Content-Type: text/html\r\n", "a"), "/s media-type"),
        (("name=s", "Content-Type: text/plain; charset=utf-16\r\n", "a"), "/s media-type"),
        (("name=o", "Content-Type: text/plain\r\n", "{}"), "/o media-type"),
        (("name=f; filename=a", "Content-Type: image/png\r\n", "x"), "/f media-type"),
        (("name=o", "", "{\"z\":1}"), "/o/z unknown-property"),
    ] {
        assert_eq!(read(&plan, &[part]).map(|_| ()), Err(one(expected)), "{part:?}");
    }
    assert_eq!(
        read(&plan, &[("name=o", "", "{\"y\":1,\"y\":2}")]).map(|_| ()),
        Err(Failed::Json("duplicate-key"))
    );
    assert_eq!(read(&plan, &[("name=o", "", "")]).map(|_| ()), Err(Failed::Json("malformed-json")));
    let headed = ("name=s", "X-A: 1\r\n", "a");
    assert_eq!(read(&plan, &[headed]).map(|_| ()), Err(Failed::Malformed("part-header-undeclared")));
    assert_eq!(
        read(&plan, &[("name=role", "X-A: 1\r\n", "a")]).map(|_| ()),
        Err(Failed::Malformed("part-header-undeclared"))
    );
}

#[test]
fn violations_come_together_and_end_at_twenty() {
    let plan = plan("3.0.3", "{schema: {type: object, properties: {a: {type: string}}}}", &Terms::default());
    let names: Vec<String> = (0..20).map(|n| format!("name=x{n}")).collect();
    let parts: Vec<(&str, &str, &str)> = names.iter().map(|name| (name.as_str(), "", "1")).collect();
    let Err(Failed::Violations(violations)) = read(&plan, &parts) else { panic!() };
    assert_eq!((violations.len(), violations[19].as_str()), (20, "/x19 unknown-property"));
}

#[test]
fn bounds_of_a_file_are_bytes() {
    let media = "{schema: {type: object, properties: {f: {type: string, format: binary, minLength: 3, maxLength: 5}}}, encoding: {f: {contentType: text/plain}}}";
    let plan = plan("3.0.3", media, &Terms::default());
    let file = |text: &'static str| [("name=f; filename=a", "", text)];
    assert_eq!(read(&plan, &file("ab")).map(|_| ()), Err(one("/f min-length")));
    assert_eq!(read(&plan, &file("abcdef")).map(|_| ()), Err(one("/f max-length")));
    assert_eq!(read(&plan, &file("abcd")).unwrap().0, r#"{"f":"fff"}"#);
}

#[test]
fn headers_of_parts_are_those_that_are_declared() {
    let media = "{schema: {type: object, properties: {a: {type: string}}}, encoding: {a: {headers: {X-Page: {required: true, schema: {type: integer}}, X-Tags: {schema: {type: array, items: {type: string}}}, Content-Type: {schema: {type: string}}}}}}";
    let plan = plan("3.0.3", media, &Terms::default());
    let (_, sent) = read(&plan, &[("name=a", "x-page: 4\r\nX-TAGS: a , b\r\n", "x")]).unwrap();
    assert_eq!(sent[0].headers, [("X-Page".into(), "4".to_owned()), ("X-Tags".into(), "a,b".to_owned())]);
    let mut out = Vec::new();
    sent[0].write_head("c", None, None, &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "--c\r\nContent-Disposition: form-data; name=\"a\"\r\nX-Page: 4\r\nX-Tags: a,b\r\n\r\n"
    );
    assert_eq!(read(&plan, &[("name=a", "", "x")]).map(|_| ()), Err(one("/a required")));
    assert_eq!(read(&plan, &[("name=a", "X-Page: 04\r\n", "x")]).map(|_| ()), Err(one("/a type")));
}

#[test]
fn what_is_undeclared_follows_the_words() {
    let media = "{schema: {type: object, properties: {user_id: {type: string}}}}";
    let mut terms = Terms::default();
    terms.request.unknown = Unknown::Strip;
    let strip = plan("3.0.3", media, &terms);
    let (json, sent) = read(&strip, &[("name=role", "", "admin"), ("name=user_id", "", "a")]).unwrap();
    assert_eq!((json.as_str(), sent.len()), (r#"{"user_id":"a"}"#, 1));
    terms.request.unknown = Unknown::Allow;
    let allow = plan("3.0.3", media, &terms);
    let (json, sent) = read(&allow, &[("name=role", "", "admin"), ("name=user_id", "", "a")]).unwrap();
    assert_eq!((json.as_str(), sent.len()), (r#"{"role":"admin","user_id":"a"}"#, 2));
    for (part, expected) in [
        (("name=\"user.id\"", "", "x"), "/user.id ambiguous-name"),
        (("name=USER_ID", "", "x"), "/USER_ID ambiguous-name"),
        // A file that nobody has looked at does not pass.
        (("name=role; filename=a.php", "", "x"), "/role unknown-property"),
        (("name=role", "Content-Type: image/png\r\n", "x"), "/role unknown-property"),
    ] {
        assert_eq!(read(&allow, &[part]).map(|_| ()), Err(one(expected)), "{part:?}");
    }
}

#[test]
fn in_3_1_bytes_need_no_format() {
    let media = "{schema: {type: object, properties: {a: {}, b: {contentMediaType: text/plain}, c: {type: string, contentEncoding: base64}}}, encoding: {a: {contentType: text/plain}, b: {contentType: text/plain}}}";
    let plan = plan("3.1.0", media, &Terms::default());
    let (_, sent) = read(
        &plan,
        &[("name=a; filename=a", "", "x"), ("name=b; filename=a", "", "x"), ("name=c", "", "eA==")],
    )
    .unwrap();
    assert_eq!(sent.iter().map(|part| part.bytes.is_none()).collect::<Vec<_>>(), [true, true, false]);
}

#[test]
fn what_cannot_be_enforced_is_a_finding() {
    let schema = "schema: {type: object, properties: {a: {type: string}, f: {type: string, format: binary}, o: {type: object, properties: {x: {type: string}}}}}";
    let typed = "f: {contentType: text/plain}";
    assert_eq!(wrong("3.0.3", &format!("{{{schema}, encoding: {{{typed}}}}}")), Vec::<&str>::new());
    for (version, encoding, expected) in [
        ("3.0.3", format!("{typed}, a: {{style: form}}"), "keyword-idle"),
        ("3.1.0", format!("{typed}, a: {{style: form}}"), "style-undefined"),
        ("3.0.3", format!("{typed}, b: {{contentType: text/plain}}"), "keyword-idle"),
        ("3.0.3", format!("{typed}, a: {{contentType: text}}"), "media-invalid"),
        ("3.0.3", format!("{typed}, o: {{contentType: application/xml}}"), "media-opaque"),
        ("3.0.3", format!("{typed}, a: {{headers: {{X-A: {{description: none}}}}}}"), "parameter-invalid"),
        ("3.0.3", "a: {contentType: text/plain}".to_owned(), "upload-types-missing"),
    ] {
        let found = wrong(version, &format!("{{{schema}, encoding: {{{encoding}}}}}"));
        assert!(found.contains(&expected), "{encoding}: {found:?}");
    }
    let huge = "{schema: {type: object, properties: {f: {type: string, format: binary, minLength: 100000}}}, encoding: {f: {contentType: text/plain}}}";
    assert_eq!(wrong("3.0.3", huge), ["bound-too-large"]);
    assert_eq!(wrong("3.0.3", "{}"), ["body-shapeless"]);
}

#[test]
fn the_public_vectors_through_the_parser() {
    let root = std::env::var_os("PORTCULLIS_VECTORS").map_or_else(
        || std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors")),
        std::path::PathBuf::from,
    );
    let Ok(files) = std::fs::read_dir(root.join("multipart/http")) else {
        println!("no vectors at {}: skipped", root.display());
        return;
    };
    let (mut whole, mut refused) = (0, 0);
    for path in
        files.flatten().map(|file| file.path()).filter(|path| path.extension().is_some_and(|e| e == "yaml"))
    {
        let said = std::fs::read_to_string(&path).unwrap();
        let boundary = said.lines().find_map(|line| line.strip_prefix("boundary: ")).unwrap();
        let names: Vec<&str> =
            said.lines().filter_map(|line| line.trim_start().strip_prefix("- name: ")).collect();
        let body = std::fs::read(path.with_extension("http")).unwrap();
        let parse = |step: usize| -> Result<Vec<String>, Malformed> {
            let mut parser = Parser::new(Some(boundary.trim_matches('"')))?;
            let mut names = Vec::new();
            for piece in body.chunks(step) {
                parser.push(piece);
                while let Some(event) = parser.next()? {
                    if let Event::Begin(head) = event {
                        names.push(head.name.into());
                    }
                }
            }
            parser.finish().map(|()| names)
        };
        let read = parse(body.len());
        for step in [1, 5, 64] {
            assert_eq!(parse(step), read, "{}", path.display());
        }
        match read {
            Ok(read) => {
                assert!(!said.contains("error:"), "{} is no form", path.display());
                assert_eq!(read, names, "{}", path.display());
                whole += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(whole >= 15 && refused >= 12, "{whole} and {refused}");
}
