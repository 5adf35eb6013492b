//! Every cell of the table of styles in both directions, the attacks on values, and the laws of writing again.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use portcullis_contract::model::{Contract, Found, OnError, Over, RequestTerms, Terms, Unknown};
use portcullis_contract::param::{Scalar, ScalarKind, Value};
use portcullis_contract::violation::In;
use portcullis_core::head::Method;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use support::{compiled, contract, findings, get};

fn document(location: &str, more: &str, schema: &str) -> String {
    let path = if location == "path" { "/t/{c}" } else { "/t" };
    format!(
        "openapi: 3.0.3\ninfo: {{title: t, version: '1'}}\npaths:\n  {path}:\n    get:\n      operationId: t\n      parameters:\n        - {{name: c, in: {location}, required: true{more}, schema: {schema}}}\n      responses: {{'204': {{description: none}}}}\n"
    )
}

const ONE: &str = "{type: string}";
const LIST: &str = "{type: array, items: {type: string}}";
const MAP: &str = "{type: object, properties: {R: {type: integer}, G: {type: integer}}}";

fn text(text: &str) -> Scalar {
    Scalar { kind: ScalarKind::String, text: text.into() }
}

fn number(number: &str) -> Scalar {
    Scalar { kind: ScalarKind::Integer, text: number.into() }
}

fn one() -> Value {
    Value::Scalar(text("blue"))
}

fn list() -> Value {
    Value::Array(vec![text("blue"), text("black")])
}

fn map() -> Value {
    Value::Object(vec![("R".into(), number("100")), ("G".into(), number("200"))])
}

/// What the request says, in the place of the parameter.
fn read(contract: &Contract, location: &str, wire: &str) -> Result<(Value, String), Vec<String>> {
    let (target, lines) = match location {
        "path" => (format!("/t/{wire}"), vec![]),
        "query" => (format!("/t?{wire}"), vec![]),
        "header" => ("/t".to_owned(), vec![("c", wire)]),
        _ => ("/t".to_owned(), vec![("cookie", wire)]),
    };
    let place = match location {
        "path" => In::Path,
        "query" => In::Query,
        "header" => In::Header,
        _ => In::Cookie,
    };
    let (operation, values) = get(contract, &target, &lines)
        .map_err(|v| v.iter().map(|v| v.rule.to_string()).collect::<Vec<_>>())?;
    let written = match location {
        "path" => operation.target("", &values).strip_prefix("/t/").unwrap().to_owned(),
        "query" => operation.target("", &values).strip_prefix("/t?").unwrap_or("").to_owned(),
        "header" => operation.headers(&values).next().unwrap().1,
        _ => operation.cookies(&values).unwrap(),
    };
    Ok((operation.value(&values, place, "c").unwrap().clone(), written))
}

#[test]
fn every_cell_of_the_table_in_both_directions() {
    // in, style, explode, schema, as it may come, the value, as it goes on
    type Cell = (&'static str, &'static str, bool, &'static str, &'static str, fn() -> Value, &'static str);
    let cells: &[Cell] = &[
        ("path", "simple", false, ONE, "blue", one, "blue"),
        ("path", "simple", true, ONE, "blue", one, "blue"),
        ("path", "simple", false, LIST, "blue,black", list, "blue,black"),
        ("path", "simple", true, LIST, "blue,black", list, "blue,black"),
        ("path", "simple", false, MAP, "R,100,G,200", map, "R,100,G,200"),
        ("path", "simple", true, MAP, "R=100,G=200", map, "R=100,G=200"),
        ("path", "label", false, ONE, ".blue", one, ".blue"),
        ("path", "label", false, LIST, ".blue,black", list, ".blue,black"),
        ("path", "label", true, LIST, ".blue.black", list, ".blue.black"),
        ("path", "label", false, MAP, ".R,100,G,200", map, ".R,100,G,200"),
        ("path", "label", true, MAP, ".R=100.G=200", map, ".R=100.G=200"),
        ("path", "matrix", false, ONE, ";c=blue", one, ";c=blue"),
        ("path", "matrix", false, LIST, ";c=blue,black", list, ";c=blue,black"),
        ("path", "matrix", true, LIST, ";c=blue;c=black", list, ";c=blue;c=black"),
        ("path", "matrix", false, MAP, ";c=R,100,G,200", map, ";c=R,100,G,200"),
        ("path", "matrix", true, MAP, ";R=100;G=200", map, ";R=100;G=200"),
        ("header", "simple", false, ONE, "blue", one, "blue"),
        ("header", "simple", false, LIST, "blue,black", list, "blue,black"),
        ("header", "simple", false, LIST, "blue, black", list, "blue,black"),
        ("header", "simple", true, LIST, "blue,black", list, "blue,black"),
        ("header", "simple", false, MAP, "R,100,G,200", map, "R,100,G,200"),
        ("header", "simple", true, MAP, "R=100,G=200", map, "R=100,G=200"),
        ("query", "form", true, ONE, "c=blue", one, "c=blue"),
        ("query", "form", false, ONE, "%63=bl%75e", one, "c=blue"),
        ("query", "form", false, LIST, "c=blue,black", list, "c=blue,black"),
        ("query", "form", true, LIST, "c=blue&c=black", list, "c=blue&c=black"),
        ("query", "form", false, MAP, "c=R,100,G,200", map, "c=R,100,G,200"),
        ("query", "form", true, MAP, "R=100&G=200", map, "R=100&G=200"),
        ("query", "spaceDelimited", false, LIST, "c=blue%20black", list, "c=blue%20black"),
        ("query", "spaceDelimited", false, LIST, "c=blue+black", list, "c=blue%20black"),
        ("query", "spaceDelimited", true, LIST, "c=blue&c=black", list, "c=blue&c=black"),
        ("query", "spaceDelimited", false, MAP, "c=R%20100%20G%20200", map, "c=R%20100%20G%20200"),
        ("query", "pipeDelimited", false, LIST, "c=blue%7Cblack", list, "c=blue%7Cblack"),
        ("query", "pipeDelimited", false, LIST, "c=blue|black", list, "c=blue%7Cblack"),
        ("query", "pipeDelimited", true, LIST, "c=blue&c=black", list, "c=blue&c=black"),
        ("query", "pipeDelimited", false, MAP, "c=R%7C100%7CG%7C200", map, "c=R%7C100%7CG%7C200"),
        ("query", "deepObject", true, MAP, "c[R]=100&c[G]=200", map, "c%5BR%5D=100&c%5BG%5D=200"),
        ("query", "deepObject", true, MAP, "c%5BR%5D=100&c%5bG%5d=200", map, "c%5BR%5D=100&c%5BG%5D=200"),
        ("cookie", "form", false, ONE, "c=blue", one, "c=blue"),
        ("cookie", "form", false, LIST, "c=blue,black", list, "c=blue,black"),
        ("cookie", "form", false, MAP, "c=R,100,G,200", map, "c=R,100,G,200"),
    ];
    for (location, style, explode, schema, wire, value, written) in cells {
        let more = format!(", style: {style}, explode: {explode}");
        let contract = contract(&document(location, &more, schema));
        let got = read(&contract, location, wire);
        assert_eq!(got, Ok((value(), (*written).to_owned())), "{location} {style} {explode} {wire}");
        // What was written is read as the same value, and written the same way.
        assert_eq!(read(&contract, location, written), Ok((value(), (*written).to_owned())), "{wire}");
    }
}

#[test]
fn cells_that_are_empty_are_errors_at_load() {
    for (location, style, explode, schema) in [
        ("query", "spaceDelimited", false, ONE),
        ("query", "pipeDelimited", true, ONE),
        ("query", "spaceDelimited", true, MAP),
        ("query", "pipeDelimited", true, MAP),
        ("query", "deepObject", true, ONE),
        ("query", "deepObject", true, LIST),
        ("query", "simple", false, ONE),
        ("path", "form", false, ONE),
        ("header", "form", false, ONE),
        ("cookie", "form", true, LIST),
        ("cookie", "form", true, MAP),
        ("cookie", "cookie", false, ONE),
        ("query", "form", true, "{type: array, items: {type: array, items: {type: string}}}"),
        (
            "query",
            "deepObject",
            true,
            "{type: object, properties: {a: {type: object, properties: {b: {type: string}}}}}",
        ),
    ] {
        let text = document(location, &format!(", style: {style}, explode: {explode}"), schema);
        let found = findings(&text, &Terms::default());
        assert!(
            found.iter().any(|f| f.code == "style-undefined" && f.at.line == 8),
            "{location} {style}: {found:?}"
        );
    }
}

#[test]
fn delimiters_inside_items_are_data() {
    for (location, more, wire, items, written) in [
        ("path", "", "a%2Cb,c", ["a,b", "c"], "a%2Cb,c"),
        ("query", ", explode: false", "c=a%2Cb,c%26d", ["a,b", "c&d"], "c=a%2Cb,c%26d"),
        (
            "query",
            ", style: pipeDelimited, explode: false",
            "c=a%2Cb|%2541",
            ["a,b", "%41"],
            "c=a%2Cb%7C%2541",
        ),
        ("header", "", "a%2Cb, c d", ["a,b", "c d"], "a%2Cb,c d"),
        ("cookie", ", explode: false", "c=a%2Cb,c%20d", ["a,b", "c d"], "c=a%2Cb,c%20d"),
        ("query", "", "c=a%2bb&c=c+d", ["a+b", "c d"], "c=a%2Bb&c=c%20d"),
    ] {
        let contract = contract(&document(location, more, LIST));
        let value = Value::Array(items.iter().map(|item| text(item)).collect());
        assert_eq!(read(&contract, location, wire), Ok((value, written.to_owned())), "{wire}");
    }
    // A single value holds its commas, and in the path they are data, too.
    let contract = contract(&document("path", "", ONE));
    assert_eq!(read(&contract, "path", "a,b;".trim_end_matches(';')).unwrap().1, "a%2Cb");
}

#[test]
fn reserved_characters_stay_where_the_document_says_so() {
    let contract = contract(&document("query", ", allowReserved: true", ONE));
    let (value, written) = read(&contract, "query", "c=/a?b:c@d!$'()*,;%26=%2B%23%5B%5D").unwrap();
    assert_eq!(value, Value::Scalar(text("/a?b:c@d!$'()*,;&=+#[]")));
    assert_eq!(written, "c=/a?b:c@d!$'()*,%3B%26%3D%2B%23%5B%5D");
}

/// Attacks of `contract.md`, section 20: values of another shape than declared.
#[test]
fn values_of_another_shape_than_declared_are_refused() {
    let integer = "{type: integer, format: int32}";
    for (schema, refused) in [
        (
            integer,
            &[
                "[1]",
                "%7B%22id%22:1%7D",
                "%221%22",
                "null",
                "",
                "01",
                "+1",
                "1.0",
                "1_0",
                "1e9",
                "0x1",
                "-0",
                "--1",
                "%EF%BC%91",
                "%D9%A1",
                "9007199254740993",
                "9223372036854775808",
                "2147483648",
                "-2147483649",
                "1%00",
                "1%20",
                "%201",
                "1%0A",
                "99999999999999999999999",
                "true",
                "1,2",
            ][..],
        ),
        (
            "{type: integer, format: int64}",
            &["9223372036854775808", "-9223372036854775809", "18446744073709551615", "1.0", "1e3"],
        ),
        (
            "{type: string, format: uuid}",
            &[
                "%7B6ba7b810-9dad-11d1-80b4-00c04fd430c8%7D",
                "urn:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c8",
                "6ba7b8109dad11d180b400c04fd430c8",
                "6ba7b810-9dad-11d1-80b4-00c04fd430c8%00",
                "6ba7b810-9dad-11d1-80b4-00c04fd430c8%20",
                "6ba7b810-9dad-11d1-80b4-00c04fd430cg",
                "",
            ],
        ),
        ("{type: boolean}", &["1", "True", "yes", "", "on"]),
        ("{type: string}", &["a%00b", "a%0d%0ab", "%7f", "%E2%80%AEa", "", "%ff", "%c0%af", "%"]),
        ("{type: number}", &["1,5", ".5", "+1", "NaN", "Infinity", "0x1", "1_0", "1e"]),
    ] {
        for location in ["query", "path"] {
            let contract = contract(&document(location, "", schema));
            for wire in refused {
                let text = if location == "query" { format!("c={wire}") } else { (*wire).to_owned() };
                // The canonical path refuses some of these before the contract is asked.
                if location == "path"
                    && (portcullis_core::head::Target::parse(&format!("/t/{text}")).is_err()
                        || wire.is_empty())
                {
                    continue;
                }
                let got = read(&contract, location, &text);
                assert!(got.is_err(), "{location} {schema} {wire}: {got:?}");
            }
        }
    }
    let int64 = contract(&document("path", "", "{type: integer, format: int64}"));
    for value in ["0", "-1", "9007199254740993", "9223372036854775807", "-9223372036854775808"] {
        assert_eq!(read(&int64, "path", value).unwrap().1, value);
    }
    let uuid = contract(&document("path", "", "{type: string, format: uuid}"));
    let (value, written) = read(&uuid, "path", "6BA7B810-9dad-11D1-80b4-00C04FD430C8").unwrap();
    assert_eq!(value.as_text(), Some("6ba7b810-9dad-11d1-80b4-00c04fd430c8"));
    assert_eq!(written, "6ba7b810-9dad-11d1-80b4-00c04fd430c8");
}

#[test]
fn a_value_given_twice_is_refused() {
    let query = contract(&document("query", "", ONE));
    for wire in ["c=1&c=2", "c=1&c=1", "c=1&%63=2"] {
        assert_eq!(read(&query, "query", wire), Err(vec!["duplicate-parameter".into()]), "{wire}");
    }
    let header = contract(&document("header", "", ONE).replace("name: c,", "name: X-C,"));
    assert!(get(&header, "/t", &[("x-c", "1"), ("X-C", "2")]).is_err());
    let list = contract(&document("header", "", LIST).replace("name: c,", "name: X-C,"));
    let (operation, values) = get(&list, "/t", &[("x-c", "blue"), ("X-C", "black")]).unwrap();
    assert_eq!(operation.value(&values, In::Header, "x-c"), Some(&self::list()));
    let cookie = contract(&document("cookie", "", ONE));
    assert_eq!(read(&cookie, "cookie", "c=1; c=2"), Err(vec!["duplicate-parameter".into()]));
    assert_eq!(read(&cookie, "cookie", "c=\"1\""), Err(vec!["characters".into()]));
    let map = contract(&document("query", ", style: deepObject", MAP));
    assert_eq!(read(&map, "query", "c[R]=1&c[R]=2"), Err(vec!["duplicate-parameter".into()]));
    let exploded = contract(&document("query", "", MAP));
    assert_eq!(read(&exploded, "query", "R=1&R=2"), Err(vec!["duplicate-parameter".into()]));
}

#[test]
fn what_is_not_declared_is_refused_stripped_or_passed() {
    let plain = document("query", "", ONE);
    let refused = |wire: &str| read(&contract(&plain), "query", wire).unwrap_err();
    for wire in ["c=1&d=2", "c=1&C=2", "c=1&c[]=2", "c=1&c.x=1", "c=1&_method=DELETE", "c=1&%20c=2"] {
        assert_eq!(refused(wire), ["unknown-parameter"], "{wire}");
    }
    for wire in ["c=1&&d=2", "c=1&", "&c=1", "c=1&=2"] {
        assert!(refused(wire).contains(&"syntax".to_owned()), "{wire}");
    }
    let unknown = |unknown| {
        let terms =
            Terms { request: RequestTerms { unknown, ..RequestTerms::default() }, ..Terms::default() };
        compiled(&plain, &terms).unwrap().contract
    };
    assert_eq!(read(&unknown(Unknown::Strip), "query", "c=1&d=2").unwrap().1, "c=1");
    // A member that an object does not declare is refused also where undeclared parameters are stripped: it would go on.
    let deep = document("query", ", style: deepObject", MAP);
    let terms = Terms {
        request: RequestTerms { unknown: Unknown::Strip, ..RequestTerms::default() },
        ..Terms::default()
    };
    let deep = compiled(&deep, &terms).unwrap().contract;
    assert_eq!(read(&deep, "query", "c[R]=1&c[X]=2"), Err(vec!["unknown-property".into()]));
    assert_eq!(read(&deep, "query", "c[R]=1&x=2").unwrap().1, "c%5BR%5D=1");
    let passing = unknown(Unknown::Allow);
    assert_eq!(read(&passing, "query", "d%20e=%2f&c=1").unwrap().1, "c=1&d%20e=%2F");
    for wire in ["c=1&C=2", "c=1&c[]=2", "c=1&c.=2", "c=1&c[x]=2"] {
        assert_eq!(read(&passing, "query", wire), Err(vec!["ambiguous-name".into()]), "{wire}");
    }
    let members = contract(&document("query", ", style: deepObject", MAP));
    assert!(read(&members, "query", "c[R]=1&c[X]=2").is_err());
    assert!(read(&members, "query", "c[R][x]=1").is_err());
}

#[test]
fn counts_and_lengths_are_bounded() {
    let list = contract(&document("query", "", LIST));
    let pairs = |n: usize| vec!["c=a"; n].join("&");
    assert!(read(&list, "query", &pairs(100)).is_ok());
    assert!(read(&list, "query", &pairs(101)).is_err());
    let commas = contract(&document("query", ", explode: false", LIST));
    assert!(read(&commas, "query", &format!("c={}", vec!["a"; 100].join(","))).is_ok());
    assert_eq!(
        read(&commas, "query", &format!("c={}", vec!["a"; 101].join(","))),
        Err(vec!["too-many".into()])
    );
    let one = contract(&document("query", "", ONE));
    assert!(read(&one, "query", &format!("c={}", "a".repeat(4096))).is_ok());
    assert_eq!(read(&one, "query", &format!("c={}", "a".repeat(4097))), Err(vec!["max-length".into()]));
    let short = contract(&document("query", ", x-portcullis: {max_length: 3}", ONE));
    assert_eq!(read(&short, "query", "c=abcd"), Err(vec!["max-length".into()]));
    // At most twenty violations, however many there are.
    let many = (0..90).map(|i| format!("u{i}=1")).collect::<Vec<_>>().join("&");
    assert!(read(&one, "query", &many).unwrap_err().len() <= 20);
}

#[test]
fn empty_values_pass_only_where_the_document_names_them() {
    for (more, schema, ok) in [
        ("", ONE, false),
        (", allowEmptyValue: true", ONE, true),
        ("", "{type: string, minLength: 0}", true),
        ("", "{type: string, enum: ['', a]}", true),
        ("", "{type: string, enum: [a]}", false),
    ] {
        let contract = contract(&document("query", more, schema));
        assert_eq!(read(&contract, "query", "c=").is_ok(), ok, "{more} {schema}");
        assert_eq!(read(&contract, "query", "c").is_ok(), ok, "{more} {schema}");
    }
}

/// Found by the fuzz target `parameter`: an empty list was left out when written, and of a path its segment with it.
#[test]
fn a_list_without_items_stays_given() {
    for (location, style, explode, wire) in [
        ("query", "form", true, "c="),
        ("query", "form", false, "c="),
        ("query", "spaceDelimited", true, "c="),
        ("query", "pipeDelimited", false, "c="),
        ("path", "matrix", true, ";c="),
        ("path", "matrix", false, ";c="),
        ("cookie", "form", false, "c="),
        ("header", "simple", false, ""),
    ] {
        let more = format!(", style: {style}, explode: {explode}, allowEmptyValue: true");
        let contract = contract(&document(location, &more, LIST));
        let got = read(&contract, location, wire);
        assert_eq!(got, Ok((Value::Array(Vec::new()), wire.to_owned())), "{location} {style} {explode}");
        if location == "header" {
            // HTTP/2 does not strip what is around a value.
            assert_eq!(read(&contract, location, "\t"), got);
        }
    }
}

#[test]
fn pagination_is_bounded_by_name() {
    let limit = |schema: &str| document("query", "", schema).replace("name: c,", "name: page_size,");
    let read = |contract: &Contract, wire: &str| {
        get(contract, &format!("/t?page_size={wire}"), &[])
            .map(|(operation, values)| operation.target("", &values))
            .map_err(|v| v[0].rule.to_string())
    };
    let plain = contract(&limit("{type: integer}"));
    assert_eq!(read(&plain, "100"), Ok("/t?page_size=100".into()));
    assert_eq!(read(&plain, "999999999"), Err("maximum".into()));
    assert_eq!(read(&plain, "-1"), Err("minimum".into()));
    for wire in ["1e9", "+5", "%EF%BC%95"] {
        assert!(read(&plain, wire).is_err(), "{wire}");
    }
    // A document's own maximum wins.
    let own = contract(&limit("{type: integer, maximum: 500}"));
    assert_eq!(read(&own, "500"), Ok("/t?page_size=500".into()));
    let mut terms = Terms::default();
    terms.request.pagination.over = Over::Clamp;
    let clamped = compiled(&limit("{type: integer}"), &terms).unwrap().contract;
    assert_eq!(read(&clamped, "100000"), Ok("/t?page_size=100".into()));
    assert_eq!(read(&clamped, "-5"), Ok("/t?page_size=0".into()));
    let wide = findings(&limit("{type: integer, maximum: 50000}"), &Terms::default());
    assert!(wide.iter().any(|f| f.code == "pagination-wide"));
}

#[test]
fn json_in_a_parameter_is_scanned_checked_and_written_again() {
    let text = document("query", "", ONE).replace(
        ", schema: {type: string}",
        ", content: {application/json: {schema: {type: object, properties: {a: {type: integer}}}}}",
    );
    let contract = contract(&text);
    let (value, written) = read(&contract, "query", "c=%7B%20%22a%22%20:1%7D").unwrap();
    assert_eq!(value, Value::Json("{\"a\":1}".into()));
    assert_eq!(written, "c=%7B%22a%22%3A1%7D");
    for wire in [
        "%7B%22a%22:1,%22a%22:2%7D",
        "%7B%22b%22:1%7D",
        "%7B%22a%22:1.0%7D",
        "1",
        "%7B",
        "",
        "%7B%22a%22:%221%22%7D",
    ] {
        assert!(read(&contract, "query", &format!("c={wire}")).is_err(), "{wire}");
    }
}

#[test]
fn several_types_and_shapes_take_the_first_that_validates() {
    let c = |schema: &str, version: &str| contract(&document("query", "", schema).replace("3.0.3", version));
    let both = c("{type: [integer, string], maxLength: 3, maximum: 9}", "3.1.0");
    assert_eq!(read(&both, "query", "c=7").unwrap().0, Value::Scalar(number("7")));
    assert_eq!(read(&both, "query", "c=77").unwrap().0, Value::Scalar(text("77")));
    assert!(read(&both, "query", "c=7777").is_err());
    let either = c("{oneOf: [{type: integer}, {type: array, items: {type: integer}}]}", "3.0.3");
    assert_eq!(read(&either, "query", "c=7").unwrap().0, Value::Scalar(number("7")));
    assert_eq!(read(&either, "query", "c=7&c=8").unwrap().0, Value::Array(vec![number("7"), number("8")]));
    let deep = contract(&document(
        "query",
        ", style: deepObject",
        "{anyOf: [{type: object, properties: {gt: {type: integer}}}, {type: integer}]}",
    ));
    assert_eq!(read(&deep, "query", "c=7").unwrap().1, "c=7");
    assert_eq!(read(&deep, "query", "c[gt]=7").unwrap().1, "c%5Bgt%5D=7");
    assert!(read(&deep, "query", "c=7&c[gt]=7").is_err());
}

#[test]
fn the_target_is_written_from_template_and_values() {
    let text = "openapi: 3.0.3\ninfo: {title: t, version: '1'}\nservers: [{url: 'https://api.example.com/v1/'}]\npaths:\n  /a:b/{x}-{y}.json/~é/:\n    parameters:\n      - {name: y, in: path, required: true, schema: {type: integer}}\n      - {name: x, in: path, required: true, schema: {type: string}}\n      - {name: q, in: query, schema: {type: string}}\n      - {name: p, in: query, schema: {type: string}}\n    get:\n      responses: {'204': {description: none}}\n";
    let contract = contract(text);
    assert_eq!(contract.base_path(), "/v1");
    let slash = support::head(Method::Get, "/v1/a%3Ab/%2Fno-1.json/~%C3%A9/", &[]);
    assert!(matches!(contract.find(Method::Get, slash.path()), Found::Marked));
    let (operation, values) = get(&contract, "/v1/a%3Ab/no-1.json/~%C3%A9/?p=%7e&q=%2a", &[]).unwrap();
    assert_eq!(operation.target("/base", &values), "/base/a:b/no-1.json/~%C3%A9/?q=%2A&p=~");
    let (operation, values) = get(&contract, "/v1/a:b/no-1.json/~%C3%A9/", &[]).unwrap();
    assert_eq!(operation.target("", &values), "/a:b/no-1.json/~%C3%A9/");
    let (operation, values) = get(&contract, "/v1/a:b/no-1.json/~%C3%A9/?", &[]).unwrap();
    assert_eq!(operation.target("", &values), "/a:b/no-1.json/~%C3%A9/");
}

#[test]
fn closed_operations_answer_as_if_undeclared() {
    let text = document("query", "", ONE);
    let terms = Terms { closed: vec!["t".into()], on_error: OnError::Refuse, ..Terms::default() };
    let contract = compiled(&text, &terms).unwrap().contract;
    let head = support::head(Method::Get, "/t?c=1", &[]);
    assert!(support::matched(&contract, &head).is_none());
}

fn any_text(style: &'static str, location: &'static str) -> impl Strategy<Value = String> {
    let pattern = match (location, style) {
        // A canonical path cannot hold these at all.
        ("path", "label") => "[a-zA-Z0-9 ,=é~_-]{1,12}",
        ("path", _) => "[a-zA-Z0-9 ,=é~_:@!$-]{1,12}",
        ("query", "spaceDelimited") => "[a-zA-Z0-9,=&é%/?;|+#-]{1,12}",
        ("query", "pipeDelimited") => "[a-zA-Z0-9 ,=&é%/?;+#-]{1,12}",
        ("query", _) => "[a-zA-Z0-9 ,=&é%/?;|+#\\[\\]-]{1,12}",
        ("header", _) => "[a-zA-Z0-9,=&%/?;|+#\"-]{1,12}",
        _ => "[a-zA-Z0-9 ,=&é%/?;|+#\"-]{1,12}",
    };
    proptest::string::string_regex(pattern).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn law_what_is_written_is_read_as_the_same_value(
        cell in prop::sample::select(vec![
            ("path", "simple", false), ("path", "simple", true), ("path", "label", false), ("path", "label", true),
            ("path", "matrix", false), ("path", "matrix", true), ("header", "simple", false), ("header", "simple", true),
            ("query", "form", false), ("query", "form", true), ("query", "spaceDelimited", false),
            ("query", "pipeDelimited", false), ("query", "deepObject", true), ("cookie", "form", false),
        ]),
        shape in 0..3usize,
        seed in any::<u64>(),
    ) {
        let (location, style, explode) = cell;
        let shape = if style == "deepObject" { 2 } else if style.ends_with("Delimited") { 1 + shape % 2 } else { shape };
        let schema = ["{type: string}", "{type: array, items: {type: string}}",
            "{type: object, properties: {a: {type: string}, b: {type: string}, 'c d': {type: string}}}"][shape];
        let contract = contract(&document(location, &format!(", style: {style}, explode: {explode}"), schema));
        let mut runner = proptest::test_runner::TestRunner::new_with_rng(
            ProptestConfig::default(),
            proptest::test_runner::TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, &{
                let mut bytes = [0; 32];
                bytes[..8].copy_from_slice(&seed.to_le_bytes());
                bytes
            }),
        );
        let mut next = || any_text(style, location).new_tree(&mut runner).unwrap().current();
        let encode = |text: &str| -> String {
            text.bytes().map(|b| format!("%{b:02x}")).collect()
        };
        // One spelling that nobody would choose: every character encoded, delimiters as the style has them.
        let between = match (style, explode) { ("label", true) => ".", ("spaceDelimited", _) => "%20", ("pipeDelimited", _) => "%7C", _ => "," };
        let before = match style { "label" => ".".to_owned(), "matrix" => ";c=".to_owned(), "form" | "spaceDelimited" | "pipeDelimited" => "c=".to_owned(), _ => String::new() };
        let texts = [next(), next()];
        let trimmed: Vec<String> = texts.iter().map(|t| if location == "header" && shape == 0 { t.trim().to_owned() } else { t.clone() }).collect();
        prop_assume!(trimmed.iter().all(|t| !t.is_empty() && t.trim_matches(['.', ' ']) == t));
        let wire = match shape {
            0 if location == "header" => trimmed[0].clone(),
            0 => format!("{before}{}", encode(&trimmed[0])),
            1 => match (style, explode) {
                ("matrix", true) => format!(";c={};c={}", encode(&texts[0]), encode(&texts[1])),
                ("form", true) => format!("c={}&c={}", encode(&texts[0]), encode(&texts[1])),
                _ => format!("{before}{}{between}{}", encode(&texts[0]), encode(&texts[1])),
            },
            _ => match (style, explode) {
                ("deepObject", _) => format!("c[a]={}&c[c%20d]={}", encode(&texts[0]), encode(&texts[1])),
                ("form", true) => format!("a={}&c+d={}", encode(&texts[0]), encode(&texts[1])),
                ("matrix", true) => format!(";a={};c%20d={}", encode(&texts[0]), encode(&texts[1])),
                (_, true) => format!("{before}a={}{between}c%20d={}", encode(&texts[0]), encode(&texts[1])),
                // A space cannot stand in a name that spaces separate.
                ("spaceDelimited", _) => format!("{before}a{between}{}{between}b{between}{}", encode(&texts[0]), encode(&texts[1])),
                (_, false) => format!("{before}a{between}{}{between}c%20d{between}{}", encode(&texts[0]), encode(&texts[1])),
            },
        };
        let (value, written) = read(&contract, location, &wire).map_err(|e| TestCaseError::fail(format!("{wire}: {e:?}")))?;
        let scalars: Vec<&str> = value.scalars().map(|s| &*s.text).collect();
        let expected: Vec<&str> = trimmed.iter().map(String::as_str).take(if shape == 0 { 1 } else { 2 }).collect();
        prop_assert_eq!(scalars, expected, "{} {} {}", location, style, wire);
        prop_assert_eq!(read(&contract, location, &written), Ok((value, written.clone())), "{}", written);
    }
}
