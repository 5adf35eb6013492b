//! The order of contract.md § 4, presence, media types and sizes.

use super::*;
use portcullis_testkit::{Connection, request};

#[tokio::test]
async fn presence() {
    let world = world();
    is_refused(&world, &post(&world, "/json", &[JSON], b"").await, 400, "body-missing");
    let empty_chunks = [JSON, ("Transfer-Encoding", "chunked")];
    is_refused(&world, &post(&world, "/json", &empty_chunks, b"0\r\n\r\n").await, 400, "body-missing");
    let seen = arrived(&world, &post(&world, "/optional", &[], b"").await);
    assert_eq!((seen.message.body.len(), seen.header("content-type")), (0, None));
    arrived(&world, &post(&world, "/optional", &empty_chunks, b"0\r\n\r\n").await);
    for method in ["POST", "DELETE", "GET"] {
        let response = world.ask(method, "/none", &[JSON], b"{}").await;
        is_refused(&world, &response, 400, "body-unexpected");
        let chunked = [("Transfer-Encoding", "chunked")];
        let response = world.ask(method, "/none", &chunked, b"2\r\n{}\r\n0\r\n\r\n").await;
        is_refused(&world, &response, 400, "body-unexpected");
        // Chunks without a byte are no body.
        let seen = arrived(&world, &world.ask(method, "/none", &chunked, b"0\r\n\r\n").await);
        assert!(seen.message.body.is_empty());
    }
    let chunked = [JSON, ("Transfer-Encoding", "chunked")];
    let response = post(&world, "/measured", &chunked, b"2\r\n{}\r\n0\r\n\r\n").await;
    is_refused(&world, &response, 411, "length-required");
    arrived(&world, &post(&world, "/measured", &[JSON], b"{}").await);
}

#[tokio::test]
async fn media_types() {
    let world = world();
    for media in [
        "text/plain",
        "text/json",
        "application/jsonx",
        "application/json; charset=utf-7",
        "application/json; charset=utf-16",
        "application/json, application/json",
        "application/json;",
        "application/json; a=1; a=2",
        "application /json",
        "json",
        "*/*",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=b",
    ] {
        let response = post(&world, "/json", &[("Content-Type", media)], b"{}").await;
        is_refused(&world, &response, 415, "unsupported-media-type");
    }
    is_refused(&world, &post(&world, "/json", &[], b"{}").await, 415, "unsupported-media-type");
    let long = format!("application/json; a={}", "x".repeat(300));
    let response = post(&world, "/json", &[("Content-Type", &long)], b"{}").await;
    is_refused(&world, &response, 415, "unsupported-media-type");
    // The upstream gets our spelling.
    let media = ("Content-Type", "Application/JSON ; Charset=\"UTF-8\"");
    let seen = arrived(&world, &post(&world, "/json", &[media], b" {} ").await);
    assert_eq!(
        (seen.header("content-type"), seen.message.body.as_slice()),
        (Some("application/json"), b"{}".as_slice())
    );
}

#[tokio::test]
async fn a_length_over_the_limit_is_refused_before_a_byte_is_asked_for() {
    let world = world();
    for (target, media, length) in [
        ("/json", "application/json", 10_485_761u64),
        ("/json", "application/json", 1_048_577),
        ("/multi", "multipart/form-data; boundary=b", 5_242_881),
        ("/fields", "multipart/form-data; boundary=b", 1_048_577),
        ("/json", "application/json", u64::MAX / 2),
    ] {
        let length = length.to_string();
        let headers =
            [("Content-Type", media), ("Content-Length", length.as_str()), ("Expect", "100-continue")];
        let mut connection = Connection::open(world.public()).await.unwrap();
        connection.write(&request("POST", target, &headers, b"")).await.unwrap();
        // No 100 comes before it.
        let response = connection.response().await.unwrap();
        is_refused(&world, &response, 413, "payload-too-large");
    }
}

#[tokio::test]
async fn no_body_byte_is_asked_for_before_the_head_is_judged() {
    let world = world();
    for (target, headers, status) in [
        ("/json?x=1", vec![JSON, ("Content-Length", "2")], 400),
        ("/json", vec![("Content-Length", "2")], 415),
        ("/json", vec![JSON, ("Content-Length", "2"), ("Content-Encoding", "lzma")], 415),
        ("/measured", vec![JSON, ("Transfer-Encoding", "chunked")], 411),
        ("/none", vec![JSON, ("Content-Length", "2")], 400),
        ("/nothing", vec![JSON, ("Content-Length", "2")], 404),
    ] {
        let mut headers = headers;
        headers.push(("Expect", "100-continue"));
        let mut connection = Connection::open(world.public()).await.unwrap();
        connection.write(&request("POST", target, &headers, b"")).await.unwrap();
        assert_eq!(connection.response().await.unwrap().status, status, "{target} {headers:?}");
    }
    assert!(world.upstream.requests().is_empty());
}

#[tokio::test]
async fn fifty_mebibytes_in_chunks_end_at_the_limit() {
    let world = world();
    let headers = [JSON, ("Transfer-Encoding", "chunked")];
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 65_536], b"\r\n"].concat();
    let mut resident = Vec::new();
    for _ in 0..24 {
        let mut connection = Connection::open(world.public()).await.unwrap();
        connection.write(&request("POST", "/json", &headers, b"")).await.unwrap();
        for _ in 0..800 {
            if connection.write(&chunk).await.is_err() {
                break;
            }
        }
        is_refused(&world, &connection.response().await.unwrap(), 413, "payload-too-large");
        resident.push(world.program.resident_bytes().unwrap());
    }
    // The first rounds warm the allocator of each worker; no later one adds what was sent.
    let grown = resident[23].saturating_sub(resident[11]);
    assert!(grown < 8 << 20, "{resident:?}");
}

#[tokio::test]
async fn parameters_come_before_the_body_and_all_together() {
    let world = world();
    let query: Vec<String> = (0..25).map(|n| format!("p{n}=1")).collect();
    // The body is as wrong as the query: the query is told, with twenty of its violations.
    let response = post(&world, &format!("/json?{}", query.join("&")), &[JSON], b"no json").await;
    is_refused(&world, &response, 400, "unknown-parameter");
    assert_eq!(response.json()["errors"].as_array().unwrap().len(), 20);
}

#[tokio::test]
async fn lines_and_texts() {
    let world = world();
    let lines = ("Content-Type", "application/x-ndjson");
    let seen = arrived(&world, &post(&world, "/lines", &[lines], b"{ \"n\": 1 }\n{\"n\": 2.50}").await);
    assert_eq!(seen.message.body, b"{\"n\":1}\n{\"n\":2.50}\n");
    for (body, code) in [
        (b"{\"n\":1}\n{\"x\":2}\n".as_slice(), "schema-violation"),
        (b"{\"n\":1}\n{\"n\":2", "malformed-json"),
        (b"{\"n\":1}{\"n\":2}", "malformed-json"),
        (b"{\"n\":1,\"n\":2}", "duplicate-key"),
    ] {
        is_refused(&world, &post(&world, "/lines", &[lines], body).await, 400, code);
    }
    let text = ("Content-Type", "text/plain");
    let seen = arrived(&world, &post(&world, "/text", &[text], "zwölf\r\n\tBoxkämpfer".as_bytes()).await);
    assert_eq!(seen.message.body, "zwölf\r\n\tBoxkämpfer".as_bytes());
    for (body, code) in [
        (b"a\0b".as_slice(), "schema-violation"),
        (b"a\x1b[31m", "schema-violation"),
        ("a\u{202e}b".as_bytes(), "schema-violation"),
        (b"\xff\xfe", "malformed-body"),
        (b"\xc0\xaf", "malformed-body"),
    ] {
        is_refused(&world, &post(&world, "/text", &[text], body).await, 400, code);
    }
}

#[tokio::test]
async fn json_that_two_readers_read_in_two_ways() {
    let world = world();
    let deep = "[".repeat(100_000);
    let million = format!("{{{}}}", (0..100_000).map(|n| format!("\"{n}\":1")).collect::<Vec<_>>().join(","));
    let digits = format!("{{\"n\":{}}}", "9".repeat(100_000));
    for (body, code) in [
        (deep.as_bytes(), "json-too-complex"),
        (million.as_bytes(), "json-too-complex"),
        (digits.as_bytes(), "json-too-complex"),
        (b"{\"n\":1e401}", "json-too-complex"),
        (b"{\"n\":1,\"n\":2}", "duplicate-key"),
        (b"{\"n\":1,\"\\u006e\":2}", "duplicate-key"),
        (b"\xef\xbb\xbf{}", "malformed-json"),
        (b"{} {}", "malformed-json"),
        (b"{\"n\":01}", "malformed-json"),
        (b"{\"n\":NaN}", "malformed-json"),
        (b"{'n':1}", "malformed-json"),
        (b"{\"n\":1,}", "malformed-json"),
        (b"/**/{}", "malformed-json"),
        (b"{\"text\":\"\\ud800\"}", "malformed-json"),
        (b"{\"text\":\"\xed\xa0\x80\"}", "malformed-json"),
        (b"{\"text\":\"\\u0000\"}", "malformed-json"),
    ] {
        is_refused(&world, &post(&world, "/json", &[JSON], body).await, 400, code);
    }
    let seen = arrived(&world, &post(&world, "/json", &[JSON], b"{\"n\":9007199254740993}").await);
    assert_eq!(seen.message.body, b"{\"n\":9007199254740993}");
}

/// `y_` cases that are refused on purpose: two readings, or more than may cross the gateway.
const REFUSED: &[(&str, &str)] = &[
    ("y_object_duplicated_key.json", "duplicate-key"),
    ("y_object_duplicated_key_and_value.json", "duplicate-key"),
    ("y_object_escaped_null_in_key.json", "malformed-json"),
    ("y_string_null_escape.json", "malformed-json"),
    ("y_number_double_close_to_zero.json", "json-too-complex"),
];

#[tokio::test]
async fn the_public_json_cases_through_the_running_program() {
    let root = std::env::var_os("PORTCULLIS_VECTORS").map_or_else(
        || std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors")),
        std::path::PathBuf::from,
    );
    let Ok(files) = std::fs::read_dir(root.join("json/test_parsing")) else {
        println!("no vectors at {}: skipped", root.display());
        return;
    };
    let world = world();
    let mut counts = [0; 3];
    for file in files.flatten() {
        let name = file.file_name().into_string().unwrap();
        let body = std::fs::read(file.path()).unwrap();
        let response = post(&world, "/any", &[JSON], &body).await;
        let told = response.problem();
        let refused = REFUSED.iter().find(|(known, _)| *known == name);
        match name.as_bytes()[0] {
            b'y' if refused.is_none() => {
                counts[0] += 1;
                // Characters that no text may hold are refused by their own rule.
                if told.as_deref() == Some("schema-violation") {
                    assert_eq!(
                        errors(&response).iter().filter(|e| e.ends_with(" characters")).count(),
                        1,
                        "{name}"
                    );
                    continue;
                }
                let seen = arrived(&world, &response);
                let theirs: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
                assert_eq!(serde_json::from_slice(&seen.message.body).ok(), theirs, "{name}");
            }
            b'y' => assert_eq!(told.as_deref(), refused.map(|(_, code)| *code), "{name}"),
            b'n' => {
                counts[1] += 1;
                assert_eq!(response.status, 400, "{name}: {}", response.text());
                assert!(world.upstream.requests().is_empty(), "{name}");
            }
            _ => {
                counts[2] += 1;
                assert!(matches!(response.status, 204 | 400), "{name}: {}", response.text());
                world.upstream.clear();
            }
        }
    }
    assert!(counts[0] > 80 && counts[1] > 150 && counts[2] > 20, "{counts:?}");
}

#[tokio::test]
async fn what_is_learnt_passes_where_it_can_be_written_anew() {
    let world = world();
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let multi = ("Content-Type", "multipart/form-data; boundary=b");
    let part = |name: &str, text: &str| {
        format!("--b\r\nContent-Disposition: form-data; name={name}\r\n\r\n{text}\r\n--b--")
    };
    // Step 9 is reported ...
    for (media, body) in [
        (JSON, "{\"a\":\"too long\"}".to_owned()),
        (JSON, "{\"x\":1}".to_owned()),
        (form, "a=too+long".to_owned()),
        (multi, part("a", "too long")),
        (multi, part("b", "1")),
    ] {
        arrived(&world, &post(&world, "/learning", &[media], body.as_bytes()).await);
    }
    // ... and what cannot be read is refused as ever.
    for (media, body, code) in [
        (JSON, "{\"a\":1,\"a\":2}".to_owned(), "duplicate-key"),
        (form, "a=1&&b=2".to_owned(), "malformed-body"),
        (form, "a=1&b=x".to_owned(), "schema-violation"),
        (form, "a=1&role=x".to_owned(), "schema-violation"),
        (multi, part("b", "x"), "schema-violation"),
        (multi, part("role", "x"), "schema-violation"),
        (multi, part("a", "x") + "tail", "malformed-body"),
    ] {
        let response = post(&world, "/learning", &[media], body.as_bytes()).await;
        is_refused(&world, &response, 400, code);
    }
    let response = post(&world, "/learning", &[("Content-Type", "text/plain")], b"a").await;
    is_refused(&world, &response, 415, "unsupported-media-type");
}
