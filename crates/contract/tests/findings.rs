//! What is found in a document: each row of `contract.md`, section 2.2 and after, with the diagnostic as people read it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use std::fmt::Write as _;

use portcullis_contract::document::{Bounds, Files, Loading, load};
use portcullis_contract::model::{Found, Loosened, OnError, Source, Terms, compile};
use portcullis_contract::violation::In;
use portcullis_core::finding::{Severity, SourceMap};
use portcullis_core::head::Method;
use support::{compiled, findings, head, rendered};

/// A document with one path.
fn with(path: &str, item: &str, more: &str) -> String {
    format!("openapi: 3.0.3\ninfo: {{title: t, version: '1'}}\npaths:\n  {path}:\n{item}\n{more}")
}

fn get(operation: &str) -> String {
    with("/a", &format!("    get: {{{operation}, responses: {{'204': {{description: none}}}}}}"), "")
}

fn post(body: &str) -> String {
    with(
        "/a",
        &format!(
            "    post: {{requestBody: {{content: {body}}}, responses: {{'204': {{description: none}}}}}}"
        ),
        "",
    )
}

fn modern(text: &str) -> String {
    text.replacen("3.0.3", "3.1.0", 1)
}

const OK: &str = "    get: {responses: {'204': {description: none}}}";

#[test]
fn each_row_of_the_table_as_people_read_it() {
    let path = |path: &str| with(path, OK, "");
    let rows: Vec<(&str, String)> = vec![
        ("unknown key near a constraint", get("parametrs: []")),
        ("unknown key", get("sproing: 1")),
        (
            "unknown schema keyword near a constraint",
            post(
                "{application/json: {schema: {type: object, properties: {a: {type: string, maxlength: 3}}}}}",
            ),
        ),
        ("unknown key under x-portcullis", get("x-portcullis: {autorize: {}}")),
        (
            "x-portcullis where nobody reads it",
            with("/a", OK, "components: {responses: {x: {description: d, x-portcullis: {}}}}\n"),
        ),
        (
            "siblings of $ref",
            with(
                "/a",
                "    get: {parameters: [{$ref: '#/components/parameters/p', required: true}], responses: {'204': {description: none}}}",
                "components: {parameters: {p: {name: p, in: query, schema: {type: string}}}}\n",
            ),
        ),
        ("template variable without a parameter", path("/a/{id}")),
        (
            "parameter without a variable",
            get("parameters: [{name: id, in: path, required: true, schema: {type: string}}]"),
        ),
        (
            "path parameter not required",
            with(
                "/a/{id}",
                "    get: {parameters: [{name: id, in: path, schema: {type: string}}], responses: {'204': {description: none}}}",
                "",
            ),
        ),
        (
            "two equal operation ids",
            with(
                "/a",
                "    get: {operationId: x, responses: {'204': {description: none}}}\n    post: {operationId: x, responses: {'204': {description: none}}}",
                "",
            ),
        ),
        ("two templates of one shape", with("/a/{x}", OK, &format!("  /a/{{y}}:\n{OK}\n"))),
        ("path with a question mark", path("'/a?b=1'")),
        ("path with a hash", path("'/a#b'")),
        ("path that is never let in", path("/a//b")),
        ("two variables side by side", path("'/{a}{b}'")),
        ("Swagger", "swagger: '2.0'\ninfo: {title: t, version: '1'}\npaths: {}\n".into()),
        ("Swagger's body parameter", get("parameters: [{name: b, in: body, schema: {type: object}}]")),
        (
            "header parameters that OpenAPI ignores",
            get("parameters: [{name: Authorization, in: header, schema: {type: string}}]"),
        ),
        (
            "header that only a gateway sets",
            get("parameters: [{name: X-Forwarded-For, in: header, schema: {type: string}}]"),
        ),
        ("secret in the query", get("parameters: [{name: access_token, in: query, schema: {type: string}}]")),
        (
            "style that is not defined",
            get(
                "parameters: [{name: c, in: query, style: deepObject, schema: {type: array, items: {type: string}}}]",
            ),
        ),
        (
            "nested object in deepObject",
            get(
                "parameters: [{name: c, in: query, style: deepObject, schema: {type: object, properties: {a: {type: object, properties: {b: {type: string}}}}}}]",
            ),
        ),
        (
            "name claimed twice",
            get(
                "parameters: [{name: R, in: query, schema: {type: string}}, {name: c, in: query, schema: {type: object, properties: {R: {type: string}}}}]",
            ),
        ),
        (
            "object that takes every name",
            get(
                "parameters: [{name: c, in: query, schema: {type: object, additionalProperties: {type: string}}}]",
            ),
        ),
        ("parameter without a schema", get("parameters: [{name: c, in: query}]")),
        ("opaque body", post("{application/xml: {schema: {type: object, properties: {a: {type: string}}}}}")),
        ("body without a schema", post("{application/json: {}}")),
        (
            "JSON patch",
            post(
                "{application/json-patch+json: {schema: {type: array, items: {type: object, properties: {op: {type: string}}}}}}",
            ),
        ),
        ("callbacks", get("callbacks: {}")),
        ("TRACE", with("/a", "    trace: {responses: {'204': {description: none}}}", "")),
        (
            "servers with different paths",
            with("/a", OK, "servers: [{url: 'https://a.example/v1'}, {url: 'https://a.example/v2'}]\n"),
        ),
        ("unknown security scheme", get("security: [{nobody: []}]")),
        ("reference to a host", get("parameters: [{$ref: 'http://169.254.169.254/latest'}]")),
        ("reference out of the folder", get("parameters: [{$ref: '../../etc/passwd'}]")),
        ("reference to a file", get("parameters: [{$ref: 'file:///etc/passwd'}]")),
        ("reference to nothing", get("parameters: [{$ref: '#/components/parameters/no'}]")),
        (
            "reference to itself",
            with(
                "/a",
                "    get: {parameters: [{$ref: '#/components/parameters/p'}], responses: {'204': {description: none}}}",
                "components: {parameters: {p: {$ref: '#/components/parameters/p'}}}\n",
            ),
        ),
        ("bind to what is not there", get("x-portcullis: {authorize: {bind: {path.id: principal.id}}}")),
        (
            "bind to nothing of the caller",
            get(
                "parameters: [{name: q, in: query, schema: {type: string}}], x-portcullis: {authorize: {bind: {query.q: principal.shoe}}}",
            ),
        ),
        ("a rule that is not enforced", get("x-portcullis: {authorize: {need: owner}}")),
        ("looser than portcullis.yaml", get("x-portcullis: {request: {max_bytes: 2MiB}}")),
        ("a construct of 3.2", with("/a", "    query: {responses: {'204': {description: none}}}", "")),
        (
            "properties without type",
            post("{application/json: {schema: {properties: {a: {type: string}}, required: [a]}}}"),
        ),
        ("items without type", post("{application/json: {schema: {items: {type: string}}}}")),
        (
            "required inside a property",
            post(
                "{application/json: {schema: {type: object, properties: {a: {type: string, required: true}}}}}",
            ),
        ),
        (
            "constraint of another type",
            post(
                "{application/json: {schema: {type: object, properties: {a: {type: integer, maxLength: 3}}}}}",
            ),
        ),
        (
            "siblings of $ref in a schema",
            post("{application/json: {schema: {$ref: '#/components/schemas/S', required: [a]}}}")
                + "components: {schemas: {S: {type: object, properties: {a: {type: string}}}}}\n",
        ),
        (
            "nullable without type",
            post(
                "{application/json: {schema: {type: object, properties: {a: {nullable: true, enum: [a]}}}}}",
            ),
        ),
        (
            "Swagger's file",
            post("{application/json: {schema: {type: object, properties: {a: {type: file}}}}}"),
        ),
        (
            "a type that is none",
            post("{application/json: {schema: {type: object, properties: {a: {type: sting}}}}}"),
        ),
        ("empty enum", get("parameters: [{name: c, in: query, schema: {type: string, enum: []}}]")),
        (
            "minimum above maximum",
            get("parameters: [{name: c, in: query, schema: {type: integer, minimum: 5, maximum: 4}}]"),
        ),
        (
            "minLength above maxLength",
            get("parameters: [{name: c, in: query, schema: {type: string, minLength: 5, maxLength: 4}}]"),
        ),
        (
            "pattern that no engine reads",
            get("parameters: [{name: c, in: query, schema: {type: string, pattern: '[a'}}]"),
        ),
        (
            "pattern that backtracks",
            get("parameters: [{name: c, in: query, schema: {type: string, pattern: '^(?=.*[A-Z]).{8,}$'}}]"),
        ),
        (
            "pattern that is too large",
            get("parameters: [{name: c, in: query, schema: {type: string, pattern: '^.{0,1000000000}$'}}]"),
        ),
        (
            "bound with too many digits",
            get("parameters: [{name: c, in: query, schema: {type: number, maximum: 0.12345678901234567}}]"),
        ),
        ("unknown format", get("parameters: [{name: c, in: query, schema: {type: string, format: colour}}]")),
        (
            "numbers among the strings of an enum",
            get("parameters: [{name: c, in: query, schema: {type: string, enum: [no, true, 1.10]}}]"),
        ),
        (
            "mapping that names no schema",
            post(
                "{application/json: {schema: {oneOf: [{$ref: '#/components/schemas/S'}], discriminator: {propertyName: a, mapping: {x: '#/components/schemas/T'}}}}}",
            ) + "components: {schemas: {S: {type: object, properties: {a: {type: string}}}}}\n",
        ),
        (
            "schema that is itself",
            post("{application/json: {schema: {$ref: '#/components/schemas/S'}}}")
                + "components: {schemas: {S: {$ref: '#/components/schemas/S'}}}\n",
        ),
        (
            "open object",
            post(
                "{application/json: {schema: {type: object, properties: {a: {type: string}}, additionalProperties: true}}}",
            ),
        ),
        (
            "nested object of no shape",
            post("{application/json: {schema: {type: object, properties: {a: {type: object}}}}}"),
        ),
        ("body of no shape", post("{application/json: {schema: {type: object}}}")),
        (
            "webhooks",
            modern(&with("/a", OK, "webhooks: {w: {post: {responses: {'200': {description: d}}}}}\n")),
        ),
        (
            "reference that is dynamic",
            modern(&post(
                "{application/json: {schema: {type: object, properties: {a: {$dynamicRef: '#x'}}}}}",
            )),
        ),
        (
            "schema of another dialect",
            modern(&post(
                "{application/json: {schema: {$schema: 'http://json-schema.org/draft-07/schema#', type: object, properties: {a: {type: string}}}}}",
            )),
        ),
        (
            "document of another dialect",
            modern(&with("/a", OK, "jsonSchemaDialect: 'http://json-schema.org/draft-07/schema#'\n")),
        ),
        (
            "additionalOperations of 3.2",
            with("/a", "    additionalOperations: {COPY: {responses: {'204': {description: d}}}}", ""),
        ),
        (
            "in: querystring of 3.2",
            get(
                "parameters: [{name: c, in: querystring, content: {application/json: {schema: {type: string}}}}]",
            ),
        ),
        (
            "style: cookie of 3.2",
            get("parameters: [{name: c, in: cookie, style: cookie, schema: {type: string}}]"),
        ),
        ("itemSchema of 3.2", post("{application/jsonl: {itemSchema: {type: string}}}")),
        (
            "never_in_request that is not true",
            post(
                "{application/json: {schema: {type: object, properties: {a: {type: string, x-portcullis: {never_in_request: 'true'}}}}}}",
            ),
        ),
        ("duplicate key", "openapi: 3.0.3\npaths: {}\npaths: {}\n".into()),
        ("a tag of YAML", "openapi: 3.0.3\npaths: !include paths.yaml\n".into()),
        ("a merge key of YAML", "openapi: 3.0.3\nx: &x {a: 1}\npaths:\n  <<: *x\n".into()),
        ("two documents in a file", "openapi: 3.0.3\n---\nopenapi: 3.0.3\n".into()),
        ("a version of the past", "openapi: 2.0.0\n".into()),
        ("a status that is none", with("/a", "    get: {responses: {'2000': {description: none}}}", "")),
        ("a version of the future", "openapi: 3.2.0\ninfo: {title: t, version: '1'}\npaths: {}\n".into()),
    ];
    let mut out = String::new();
    for (row, text) in rows {
        let found = findings(&text, &Terms::default());
        assert!(!found.is_empty(), "{row}");
        assert!(found.iter().all(|finding| finding.at.line > 0), "{row}: {found:?}");
        writeln!(out, "## {row}\n{}", rendered(&text, &found)).unwrap();
    }
    insta::assert_snapshot!(out);
}

#[test]
fn what_is_read_without_a_word() {
    // `operationId` is made from method and path, and two templates of one shape without a common method are merged.
    let text = with(
        "/a/{x}",
        "    parameters: [{name: x, in: path, required: true, schema: {type: string}}]\n    get: {responses: {'204': {description: none}}}",
        "  /a/{y}:\n    parameters: [{name: y, in: path, required: true, schema: {type: integer}}]\n    put: {responses: {'204': {description: none}}}\n",
    );
    let done = compiled(&text, &Terms::default()).unwrap();
    assert_eq!(rendered(&text, &done.findings), "");
    let ids: Vec<_> = done.contract.operations().iter().map(|o| &*o.id).collect();
    assert_eq!(ids, ["GET /a/{x}", "PUT /a/{y}"]);
    for (method, template) in [(Method::Get, "/a/{x}"), (Method::Put, "/a/{y}")] {
        let head = head(method, "/a/1", &[]);
        assert_eq!(&*support::matched(&done.contract, &head).unwrap().0.template, template);
    }
}

/// Each bound of section 2.1, one below and one above.
#[test]
fn every_bound_of_a_document() {
    let judge = |bounds: Bounds, files: &[(&str, &str)]| {
        let mut gathered = Files::new(bounds);
        for (id, (name, text)) in (0u16..).zip(files) {
            gathered.add(id, name, text.as_bytes());
        }
        let found = match load(&mut gathered) {
            Loading::Loaded(document) => match compile(&document, &Terms::default()) {
                Ok(done) => done.findings,
                Err(findings) => findings,
            },
            Loading::Refused(findings) => findings,
            Loading::Needs(names) => panic!("{names:?}"),
        };
        let errors: Vec<_> = found.into_iter().filter(|f| f.severity == Severity::Error).collect();
        assert!(errors.iter().all(|f| f.code == "document-bounds"), "{errors:?}");
        errors.is_empty()
    };
    let small = with("/a", OK, "");
    let two = with(
        "/a",
        "    get: {parameters: [{name: p, in: query, schema: {$ref: b.yaml}}], responses: {'204': {description: none}}}",
        "",
    );
    let b = "type: string\n";
    let bytes = |bytes| Bounds { bytes, ..Bounds::default() };
    assert!(judge(bytes(small.len()), &[("a.yaml", &small)]));
    assert!(!judge(bytes(small.len() - 1), &[("a.yaml", &small)]));
    // All files together, too.
    assert!(judge(bytes(two.len() + b.len()), &[("a.yaml", &two), ("b.yaml", b)]));
    assert!(!judge(bytes(two.len() + b.len() - 1), &[("a.yaml", &two), ("b.yaml", b)]));
    let files = |files| Bounds { files, ..Bounds::default() };
    assert!(judge(files(2), &[("a.yaml", &two), ("b.yaml", b)]));
    assert!(!judge(files(1), &[("a.yaml", &two), ("b.yaml", b)]));
    // An alias counts as a copy of what it names.
    let copies =
        |n: usize| with("/a", OK, &format!("x-a: &a [1, 2, 3]\nx-b: [{}]\n", vec!["*a"; n].join(", ")));
    let nodes = Bounds { nodes: 200, ..Bounds::default() };
    assert!(judge(nodes, &[("a.yaml", &copies(30))]));
    assert!(!judge(nodes, &[("a.yaml", &copies(60))]));
    let deep = |n: usize| with("/a", OK, &format!("x-a: {}{}\n", "[".repeat(n), "]".repeat(n)));
    let depth = Bounds { depth: 20, ..Bounds::default() };
    assert!(judge(depth, &[("a.yaml", &deep(19))]));
    assert!(!judge(depth, &[("a.yaml", &deep(20))]));
    let schemas = |n: usize| {
        let properties: Vec<String> = (0..n - 1).map(|i| format!("p{i}: {{type: string}}")).collect();
        post(&format!(
            "{{application/json: {{schema: {{type: object, properties: {{{}}}}}}}}}",
            properties.join(", ")
        ))
    };
    let bounds = Bounds { schemas: 10, ..Bounds::default() };
    assert!(judge(bounds, &[("a.yaml", &schemas(10))]));
    assert!(!judge(bounds, &[("a.yaml", &schemas(11))]));
    let operations = |n: usize| (1..n).fold(with("/a", OK, ""), |text, i| format!("{text}  /a{i}:\n{OK}\n"));
    let bounds = Bounds { operations: 10, ..Bounds::default() };
    assert!(judge(bounds, &[("a.yaml", &operations(10))]));
    assert!(!judge(bounds, &[("a.yaml", &operations(11))]));
    let parameters = |n: usize| {
        let list: Vec<String> =
            (0..n).map(|i| format!("{{name: p{i}, in: query, schema: {{type: string}}}}")).collect();
        get(&format!("parameters: [{}]", list.join(", ")))
    };
    assert!(judge(Bounds::default(), &[("a.yaml", &parameters(200))]));
    assert!(!judge(Bounds::default(), &[("a.yaml", &parameters(201))]));
    let patterns = |n: usize| {
        let list: Vec<String> = (0..n)
            .map(|i| format!("{{name: p{i}, in: query, schema: {{type: string, pattern: '^{i}$'}}}}"))
            .collect();
        get(&format!("parameters: [{}]", list.join(", ")))
    };
    let bounds = Bounds { patterns: 5, ..Bounds::default() };
    assert!(judge(bounds, &[("a.yaml", &patterns(5))]));
    assert!(!judge(bounds, &[("a.yaml", &patterns(6))]));

    // A chain of references: 64 hops, and a finding of its own.
    let chain = |n: usize| {
        let links: Vec<String> =
            (1..n).map(|i| format!("p{i}: {{$ref: '#/components/parameters/p{}'}}", i + 1)).collect();
        get("parameters: [{$ref: '#/components/parameters/p1'}]")
            + &format!(
                "components: {{parameters: {{{}, p{n}: {{name: p, in: query, schema: {{type: string}}}}}}}}\n",
                links.join(", ")
            )
    };
    let codes = |text: &str| findings(text, &Terms::default()).iter().map(|f| f.code).collect::<Vec<_>>();
    assert_eq!(codes(&chain(64)), [""; 0]);
    assert_eq!(codes(&chain(65)), ["ref-unresolved"]);

    // The defaults and what they may be raised to.
    let (default, hard) = (Bounds::default(), Bounds::HARD);
    assert_eq!((default.bytes, hard.bytes), (10 << 20, 64 << 20));
    assert_eq!((default.files, hard.files), (256, 1024));
    assert_eq!((default.nodes, hard.nodes), (2_000_000, 20_000_000));
    assert_eq!((default.depth, hard.depth), (128, 256));
    assert_eq!((default.schemas, hard.schemas), (20_000, 200_000));
    assert_eq!((default.operations, default.parameters), (10_000, 200));
    assert_eq!((default.patterns, hard.patterns), (5_000, 50_000));
}

/// `strict: true`: a warning refuses as an error does; a remark does not.
#[test]
fn under_strict_a_warning_is_an_error() {
    let strict = Terms { strict: true, ..Terms::default() };
    let warned = get("sproing: 1");
    assert!(compiled(&warned, &Terms::default()).is_ok());
    assert!(
        compiled(&warned, &strict)
            .is_err_and(|f| f[0].severity == Severity::Error && f[0].code == "key-unknown")
    );
    // It is no error of one operation that could be closed.
    let closing = Terms { on_error: OnError::CloseOperation, ..strict.clone() };
    assert!(compiled(&warned, &closing).is_err());
    assert!(compiled(&get("callbacks: {}"), &strict).is_ok());
}

#[test]
fn a_clean_document_has_no_finding() {
    let text = "openapi: 3.0.3\ninfo: {title: t, version: '1', contact: {name: n}, license: {name: l}}\nservers: [{url: 'https://{host}/v1', variables: {host: {default: a.example}}}]\ntags: [{name: orders}]\nsecurity: [{oauth: [orders:read]}, {}]\npaths:\n  /orders/{id}:\n    parameters: [{name: id, in: path, required: true, schema: {type: integer, format: int64}}]\n    get:\n      operationId: getOrder\n      tags: [orders]\n      responses:\n        '200': {description: ok, content: {application/json: {schema: {$ref: '#/components/schemas/Order'}}}}\n        4XX: {description: no}\ncomponents:\n  securitySchemes:\n    oauth: {type: oauth2, flows: {clientCredentials: {tokenUrl: 'https://a.example/t', scopes: {'orders:read': r}}}}\n  schemas:\n    Order: {type: object, properties: {id: {type: integer, format: int64}}}\n";
    let done = compiled(text, &Terms { strict: true, ..Terms::default() })
        .unwrap_or_else(|f| panic!("{}", rendered(text, &f)));
    assert_eq!(rendered(text, &done.findings), "");
    let operation = done.contract.operation("getOrder").unwrap();
    assert_eq!((operation.at.line, operation.path_at.line), (9, 7));
    assert_eq!(&*operation.tags[0], "orders");
    assert_eq!(operation.security.alternatives.len(), 2);
    assert_eq!(&*operation.security.alternatives[0].requirements[0].scopes[0], "orders:read");
    assert!(operation.security.alternatives[1].requirements.is_empty());
    assert_eq!(done.contract.base_path(), "/v1");
    assert!(
        operation.response(200).is_some()
            && operation.response(404).is_some()
            && operation.response(500).is_none()
    );
}

#[test]
fn one_broken_operation_refuses_or_is_closed() {
    let text = with(
        "/a",
        "    get: {responses: {'204': {description: none}}}\n    post: {parametrs: [], responses: {'204': {description: none}}}",
        "  /b:\n    get: {parameters: [{$ref: '#/components/parameters/p'}], responses: {'204': {description: none}}}\n  /c:\n    get: {parameters: [{$ref: '#/components/parameters/p'}], responses: {'204': {description: none}}}\n  /d:\n    put: {responses: {'204': {description: none}}}\ncomponents: {parameters: {p: {name: p, in: query, requried: true, schema: {type: string}}}}\n",
    );
    let found = compiled(&text, &Terms::default()).unwrap_err();
    let place = found.iter().find(|f| f.code == "keyword-suspect").unwrap().at;
    assert_eq!((place.line, place.column), (6, 12));

    let terms = Terms { on_error: OnError::CloseOperation, ..Terms::default() };
    let done = compiled(&text, &terms).unwrap();
    let found = |method, path: &str| {
        let head = head(method, path, &[]);
        match done.contract.find(method, head.path()) {
            Found::Operation { .. } => "operation".to_owned(),
            Found::MethodNotAllowed { allow } => format!("405 {allow}"),
            Found::Closed { .. } => "404".to_owned(),
            Found::Undeclared => "404 undeclared".to_owned(),
            Found::Marked => "400".to_owned(),
        }
    };
    assert_eq!(found(Method::Get, "/a"), "operation");
    assert_eq!(found(Method::Post, "/a"), "404");
    assert_eq!(found(Method::Put, "/a"), "405 GET");
    // A broken parameter that two operations share closes both.
    assert_eq!(found(Method::Get, "/b"), "404");
    assert_eq!(found(Method::Get, "/c"), "404");
    assert_eq!(found(Method::Post, "/c"), "404 undeclared");
    assert_eq!(found(Method::Put, "/d"), "operation");
    assert_eq!(done.contract.operations().iter().filter(|o| o.closed).count(), 3);
    assert_eq!(done.findings.iter().filter(|f| f.severity == Severity::Error).count(), 2);

    // Of two operations that are one, neither is open.
    let twins = with(
        "/a/{x}",
        OK,
        &format!(
            "  /a/{{y}}:\n{OK}\n  /c:\n    get: {{operationId: z, responses: {{}}}}\n    put: {{operationId: z, responses: {{}}}}\n"
        ),
    );
    let done = compiled(&twins, &terms).unwrap();
    assert!(done.contract.operations().iter().all(|operation| operation.closed));
    assert!(matches!(
        done.contract.find(Method::Get, head(Method::Get, "/a/1", &[]).path()),
        Found::Closed { .. }
    ));

    // Errors above the operations always refuse.
    let fatal = with("/a", OK, "x-portcullis: {requst: {}}\n");
    assert!(compiled(&fatal, &terms).is_err());
}

#[test]
fn methods_and_head() {
    let text = with("/a", OK, "");
    let find = |terms: &Terms, method| {
        let contract = compiled(&text, terms).unwrap().contract;
        match contract.find(method, head(method, "/a", &[]).path()) {
            Found::Operation { operation, .. } => operation.method.text().to_owned(),
            Found::MethodNotAllowed { allow } => allow.to_owned(),
            _ => String::new(),
        }
    };
    assert_eq!(find(&Terms::default(), Method::Head), "GET");
    assert_eq!(find(&Terms::default(), Method::Delete), "GET");
    let terms = Terms { head_from_get: true, ..Terms::default() };
    assert_eq!(find(&terms, Method::Head), "GET");
    assert_eq!(find(&terms, Method::Delete), "GET, HEAD");
}

#[test]
fn bind_rules_in_both_spellings() {
    for (rule, claim) in [
        ("{path.id: principal.id}", "/sub"),
        ("{path.id: principal.tenant}", "/org_id"),
        ("{path.id: principal.attributes.region}", "/https:~1~1x.example~1region"),
        ("{path.id: token.user_id}", "/user_id"),
        ("{claim: /sub, to: path.id}", "/sub"),
    ] {
        let text = with(
            "/a/{id}",
            &format!(
                "    get:\n      x-portcullis: {{authorize: {{scope: [a, b], bind: {rule}}}, limits: {{cost: 5, sensitive: true}}}}\n      parameters: [{{name: id, in: path, required: true, schema: {{type: integer}}}}]\n      responses: {{'204': {{description: none}}}}"
            ),
            "x-portcullis: {principal: {tenant: token.org_id, attributes: {region: 'token.https://x.example/region'}}}\n",
        );
        let done = compiled(&text, &Terms::default()).unwrap_or_else(|f| panic!("{}", rendered(&text, &f)));
        let extension = &done.contract.operations()[0].extension;
        assert_eq!(&*extension.binds[0].claim, claim);
        assert_eq!(extension.binds[0].from, Source::Parameter { location: In::Path, name: "id".into() });
        assert_eq!(extension.binds[0].at.line, 6);
        assert_eq!((extension.cost, extension.sensitive, extension.scopes.len()), (5, true, 2));
    }
    let body = |pointer: &str| {
        let text = with(
            "/a",
            &format!(
                "    post:\n      x-portcullis: {{authorize: {{bind: {{body.{pointer}: principal.id}}}}}}\n      requestBody: {{content: {{application/json: {{schema: {{type: object, properties: {{user: {{type: object, properties: {{id: {{type: string}}}}}}, ids: {{type: array, items: {{type: string}}}}}}}}}}}}}}\n      responses: {{'204': {{description: none}}}}"
            ),
            "",
        );
        findings(&text, &Terms::default()).iter().map(|f| f.code).collect::<Vec<_>>()
    };
    assert_eq!(body("/user/id"), [""; 0]);
    assert_eq!(body("/ids/*"), [""; 0]);
    assert_eq!(body("/user/name"), ["bind-undeclared"]);
    assert_eq!(body("user"), ["extension-invalid"]);
}

#[test]
fn the_document_only_tightens() {
    let text = |level: &str, x: &str| match level {
        "root" => with("/a", OK, &format!("x-portcullis: {x}\n")),
        "path" => with("/a", &format!("    x-portcullis: {x}\n{OK}"), ""),
        _ => get(&format!("x-portcullis: {x}")),
    };
    for level in ["root", "path", "operation"] {
        let tight = text(
            level,
            "{request: {max_bytes: 10KiB, unknown: reject, text: plain, max_depth: 3, require_length: true}, response: {mode: enforce, max_bytes: 1KiB}}",
        );
        let done = compiled(&tight, &Terms::default()).unwrap_or_else(|f| panic!("{}", rendered(&tight, &f)));
        let operation = &done.contract.operations()[0];
        assert_eq!(
            (operation.request.max_bytes, operation.request.max_depth, operation.response.max_bytes),
            (10240, 3, 1024)
        );
        assert!(operation.request.require_length);
        for loose in [
            "{request: {max_bytes: 2MiB}}",
            "{request: {unknown: strip}}",
            "{request: {unknown: allow}}",
            "{response: {mode: report}}",
            "{request: {max_depth: 33}}",
            "{request: {read_only: strip}}",
            "{request: {max_values: 50001}}",
            "{response: {max_bytes: 11MiB}}",
            "{response: {unknown: allow}}",
        ] {
            let found = findings(&text(level, loose), &Terms::default());
            assert!(found.iter().any(|f| f.code == "extension-loosens"), "{level} {loose}: {found:?}");
        }
    }
    // The innermost word counts.
    let both = with(
        "/a",
        "    x-portcullis: {request: {max_bytes: 1KiB}}\n    get: {x-portcullis: {request: {max_bytes: 2KiB}}, responses: {'204': {description: none}}}",
        "",
    );
    assert_eq!(compiled(&both, &Terms::default()).unwrap().contract.operations()[0].request.max_bytes, 2048);
}

#[test]
fn loosenings_are_by_operation_and_name() {
    let xml = post("{application/xml: {schema: {type: object, properties: {a: {type: string}}}}}")
        .replace("post: {", "post: {operationId: importLegacy, ");
    let opaque = |operation: &str, name: &str| Terms {
        opaque: vec![Loosened { operations: vec![operation.into()], names: vec![name.into()] }],
        ..Terms::default()
    };
    assert!(compiled(&xml, &opaque("importLegacy", "application/xml")).is_ok());
    assert!(compiled(&xml, &opaque("importLegacy", "text/xml")).is_err());
    assert!(compiled(&xml, &opaque("other", "application/xml")).is_err());
}

#[test]
fn files_and_overlays() {
    let mut files = Files::new(Bounds::default());
    files.overlay(9, "overlay.yaml", b"/paths/~1a/get: {limits: {cost: 7}}\n");
    files.add(0, "api.yaml", with("/a", "    $ref: 'paths/a.yaml'", "").as_bytes());
    // The pointer names nothing in the root file: the operation stands in another.
    assert!(
        matches!(load(&mut files), Loading::Refused(found) if found[0].code == "overlay-invalid" && found[0].at.file == 9)
    );

    let mut files = Files::new(Bounds::default());
    files.overlay(9, "overlay.yaml", b"/paths/~1b/get: {limits: {cost: 7}}\n");
    let text = with("/a", "    $ref: 'paths/a.yaml'", &format!("  /b:\n{OK}\n"));
    files.add(0, "api.yaml", text.as_bytes());
    assert!(matches!(load(&mut files), Loading::Needs(names) if names == ["paths/a.yaml"]));
    files.add(1, "paths/a.yaml", b"get:\n  parameters: [{$ref: '../api.yaml#/info'}]\n  responses: {'200': {description: d, content: {application/json: {schema: {$ref: s.yaml}}}}}\n");
    assert!(matches!(load(&mut files), Loading::Needs(names) if names == ["paths/s.yaml"]));
    files.add(2, "paths/s.yaml", b"type: object\nproperties: {a: {type: sting}}\n");
    let Loading::Loaded(document) = load(&mut files) else { panic!() };
    let found = compile(&document, &Terms::default()).unwrap_err();
    let mut map = SourceMap::default();
    map.add("api.yaml", "");
    assert!(found.iter().any(|f| f.at.file == 2 && f.at.line == 2), "{found:?}");
    assert!(found.iter().any(|f| f.at.file == 0 && f.code == "parameter-invalid"), "{found:?}");
    let terms = Terms { on_error: OnError::CloseOperation, ..Terms::default() };
    let done = compile(&document, &terms).unwrap();
    assert_eq!(done.contract.operations().iter().find(|o| &*o.template == "/b").unwrap().extension.cost, 7);
}

#[test]
fn a_document_that_references_itself_in_circles_ends() {
    for text in [
        with("/a", "    $ref: '#/paths/~1a'", ""),
        with(
            "/a",
            OK,
            "components: {schemas: {A: {$ref: '#/components/schemas/B'}, B: {$ref: '#/components/schemas/A'}}}\n",
        ),
        post(
            "{application/json: {schema: {$ref: '#/paths/~1a/post/requestBody/content/application~1json/schema'}}}",
        ),
        post(
            "{application/x-www-form-urlencoded: {schema: {type: object, properties: {a: {$ref: '#/components/schemas/A'}}}}}",
        ) + "components: {schemas: {A: {type: array, items: {$ref: '#/components/schemas/A'}}}}\n",
        get("parameters: [{name: p, in: query, schema: {$ref: '#/components/schemas/A'}}]")
            + "components: {schemas: {A: {allOf: [{$ref: '#/components/schemas/A'}]}}}\n",
    ] {
        let _ = findings(&text, &Terms::default());
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(400))]

    /// Whatever a slip of the pen makes of a document, it is read or refused.
    #[test]
    fn law_no_document_is_a_panic(
        edits in proptest::collection::vec((proptest::prelude::any::<u16>(), 0..24usize, 0..4usize), 1..4),
        json in proptest::prelude::any::<bool>(),
    ) {
        const PIECES: [&str; 24] = [
            "", "\n", " ", ":", "{", "}", "[", "]", "'", "\"", "&a ", "*a", "null", "true", "-1", "1e999", "$ref: '#'", "$ref: '#/paths'",
            "in: query", "style: matrix", "type: [array, object]", "{x}", "\\u0000", "~1",
        ];
        let mut text = String::from(if json { JSON } else { YAML });
        for (at, piece, cut) in edits {
            let at = usize::from(at) % (text.len() + 1);
            let end = (at + cut).min(text.len());
            if text.is_char_boundary(at) && text.is_char_boundary(end) {
                text.replace_range(at..end, PIECES.get(piece).unwrap());
            }
        }
        for on_error in [OnError::Refuse, OnError::CloseOperation] {
            let mut files = Files::new(Bounds::default());
            files.add(0, if json { "a.json" } else { "a.yaml" }, text.as_bytes());
            loop {
                match load(&mut files) {
                    Loading::Needs(names) => names.iter().for_each(|name| files.missing(name)),
                    Loading::Loaded(document) => {
                        if let Ok(done) = compile(&document, &Terms { on_error, ..Terms::default() }) {
                            for target in ["/a/1?c=1&R=2&d[x]=1", "/a/;id=1", "/a"] {
                                let head = head(Method::Get, target, &[("cookie", "k=1"), ("x-h", "1,2")]);
                                if let Some((operation, path)) = support::matched(&done.contract, &head)
                                    && let Ok(values) = operation.parameters(&head, &path)
                                {
                                    let written = operation.target("", &values);
                                    proptest::prop_assert!(written.starts_with('/'), "{}", written);
                                }
                            }
                        }
                        break;
                    }
                    Loading::Refused(_) => break,
                }
            }
        }
    }
}

const YAML: &str = "openapi: 3.1.0
info: {title: t, version: '1'}
servers: [{url: 'https://{h}/', variables: {h: {default: x}}}]
x-portcullis: {principal: {tenant: token.t}}
paths:
  /a/{id}:
    parameters: [{$ref: '#/components/parameters/id'}]
    get:
      operationId: g
      x-portcullis: {authorize: {bind: {path.id: principal.id}}, limits: {cost: 2}}
      parameters:
        - {name: c, in: query, schema: {type: [integer, string]}}
        - {name: o, in: query, schema: {type: object, properties: {R: {type: integer}}}}
        - {name: d, in: query, style: deepObject, schema: &s {type: object, properties: {x: {type: string}}}}
        - {name: k, in: cookie, schema: {type: string}}
        - {name: X-H, in: header, schema: {type: array, items: {type: string}}}
      requestBody: {content: {application/x-www-form-urlencoded: {schema: *s, encoding: {x: {style: form}}}}}
      responses: {'200': {description: d, content: {application/json: {schema: {$ref: '#/components/schemas/S'}}}}}
components:
  parameters: {id: {name: id, in: path, required: true, schema: {type: string, format: uuid}}}
  schemas: {S: {type: object, properties: {s: {$ref: '#/components/schemas/S'}}}}
";

const JSON: &str = r##"{"openapi":"3.0.3","info":{"title":"t","version":"1"},"paths":{"/a/{id}":{"get":{"parameters":[{"name":"id","in":"path","required":true,"style":"matrix","schema":{"$ref":"#/components/schemas/I"}}],"responses":{"2XX":{"description":"d","content":{"application/json":{"schema":{"allOf":[{"$ref":"#/components/schemas/S"},{"type":"object","properties":{"y":{"type":"integer"}}}]}}}}}}}},"components":{"schemas":{"I":{"type":"integer","format":"int32"},"S":{"type":"object","required":["x"],"properties":{"x":{"type":"string","nullable":true}}}}}}"##;
