//! `multipart/form-data` (contract.md § 11.5).

use super::*;
use portcullis_testkit::{Connection, request};
use std::path::PathBuf;

const BOUNDARY: &str = "multipart/form-data; boundary=b";

fn part(disposition: &str, headers: &str, body: &str) -> String {
    format!("--b\r\nContent-Disposition: form-data; {disposition}\r\n{headers}\r\n{body}\r\n")
}

fn field(name: &str, body: &str) -> String {
    part(&format!("name=\"{name}\""), "", body)
}

async fn multi(world: &World, parts: &[String]) -> Response {
    let body = format!("{}--b--\r\n", parts.concat());
    post(world, "/multi", &[("Content-Type", BOUNDARY)], body.as_bytes()).await
}

/// Headers and body of each part that arrived, under a boundary of the gateway's.
fn parts(seen: &Recorded) -> Vec<(String, Vec<u8>)> {
    let media = seen.header("content-type").unwrap();
    let boundary = media.strip_prefix("multipart/form-data; boundary=").unwrap();
    assert_eq!(boundary.len(), 32, "{boundary}");
    let delimiter = format!("\r\n--{boundary}");
    let body = [b"\r\n", seen.message.body.as_slice()].concat();
    let find = |from: usize| {
        (from..=body.len() - delimiter.len()).find(|at| body[*at..].starts_with(delimiter.as_bytes()))
    };
    let mut out = Vec::new();
    let mut at = find(0).unwrap() + delimiter.len();
    loop {
        if &body[at..] == b"--\r\n" {
            return out;
        }
        let end = find(at).unwrap();
        let text = &body[at + 2..end];
        let split = (0..text.len()).find(|at| text[*at..].starts_with(b"\r\n\r\n")).unwrap();
        out.push((String::from_utf8(text[..split].to_vec()).unwrap(), text[split + 4..].to_vec()));
        at = end + delimiter.len();
    }
}

#[tokio::test]
async fn a_form_is_written_anew() {
    let world = world();
    let sent = [
        part("name=title", "content-transfer-encoding: 8BIT\r\n", "zwölf\r\n--x"),
        field("count", "7"),
        field("key", "0192F0C1-0000-7000-8000-00000000ABCD"),
        field("tags", "a"),
        part("name=\"meta\"; filename=\"blob\"", "Content-Type: application/json\r\n", "{ \"level\": 3 }"),
        part(
            "filename=\"../../notes.txt\"; name=\"file\"",
            "content-type:TEXT/plain\r\nx-page: 4\r\n",
            "some text",
        ),
        field("tags", "b"),
    ];
    let seen = arrived(&world, &multi(&world, &sent).await);
    let parts = parts(&seen);
    let texts: Vec<(&str, String)> =
        parts.iter().map(|(head, body)| (head.as_str(), String::from_utf8(body.clone()).unwrap())).collect();
    assert_eq!(texts[0], ("Content-Disposition: form-data; name=\"title\"", "zwölf\r\n--x".to_owned()));
    assert_eq!(texts[1].1, "7");
    assert_eq!(texts[2].1, "0192f0c1-0000-7000-8000-00000000abcd");
    assert_eq!(texts[3], ("Content-Disposition: form-data; name=\"tags\"", "a".to_owned()));
    assert_eq!(
        texts[4],
        (
            "Content-Disposition: form-data; name=\"meta\"\r\nContent-Type: application/json",
            "{\"level\":3}".to_owned()
        )
    );
    let (head, body) = &texts[5];
    assert!(head.starts_with("Content-Disposition: form-data; name=\"file\"; filename=\""), "{head}");
    assert!(head.ends_with(".txt\"\r\nContent-Type: text/plain\r\nX-Page: 4"), "{head}");
    assert!(!head.contains("notes") && !head.contains(".."), "{head}");
    assert_eq!(body, "some text");
    assert_eq!(texts[6].1, "b");
    assert_eq!(seen.header("content-length"), Some(seen.message.body.len().to_string().as_str()));
    // Each time under another boundary.
    let again = arrived(&world, &multi(&world, &sent).await);
    assert_ne!(again.header("content-type"), seen.header("content-type"));
}

#[tokio::test]
async fn a_large_file_arrives_whole_and_leaves_nothing_behind() {
    let world = world();
    let text: String = (0..300_000).map(|n| format!("{n:09}\n")).collect();
    let sent = [
        field("title", "a"),
        part("name=\"file\"; filename=\"a.txt\"", "Content-Type: text/plain\r\n", &text),
    ];
    let before = std::fs::read_dir(world.program.dir().path()).unwrap().count();
    let seen = arrived(&world, &multi(&world, &sent).await);
    assert!(parts(&seen)[1].1 == text.as_bytes(), "the file is another");
    assert_eq!(std::fs::read_dir(world.program.dir().path()).unwrap().count(), before);
    // One byte of text over 4 MB, as the document says; then over the bound of uploads.
    let long = "x".repeat(4_000_001);
    let sent = [
        field("title", "a"),
        part("name=\"file\"; filename=\"a.txt\"", "Content-Type: text/plain\r\n", &long),
    ];
    let response = multi(&world, &sent).await;
    is_refused(&world, &response, 400, "schema-violation");
    assert_eq!(errors(&response), ["/file max-length"]);
    let long = "x".repeat(5_300_000);
    let sent = [
        field("title", "a"),
        part("name=\"file\"; filename=\"a.txt\"", "Content-Type: text/plain\r\n", &long),
    ];
    // The answer comes while the client still sends.
    let body = format!("{}--b--\r\n", sent.concat());
    let mut connection = Connection::open(world.public()).await.unwrap();
    let sent = request("POST", "/multi", &[("Content-Type", BOUNDARY)], body.as_bytes());
    let _ = connection.write(&sent).await;
    is_refused(&world, &connection.response().await.unwrap(), 413, "payload-too-large");
}

#[tokio::test]
async fn violations_are_told_at_the_part() {
    let world = world();
    let title = || field("title", "a");
    for (sent, expected) in [
        (vec![], vec!["/title required"]),
        (vec![title(), field("role", "admin")], vec!["/role unknown-property"]),
        (vec![title(), field("Title", "b")], vec!["/Title unknown-property"]),
        (vec![title(), title()], vec!["/title duplicate-parameter"]),
        (vec![title(), field("count", "1"), field("count", "2")], vec!["/count duplicate-parameter"]),
        (vec![title(), field("count", "1.0")], vec!["/count type"]),
        (vec![title(), field("count", "")], vec!["/count type"]),
        (vec![title(), field("count", "99999999999999999999999999")], vec!["/count type"]),
        (vec![title(), field("count", "10")], vec!["/count maximum"]),
        (vec![title(), field("key", "{0192f0c1-0000-7000-8000-00000000abcd}")], vec!["/key format"]),
        (
            vec![title(), field("tags", "a"), field("tags", "a"), field("tags", "a"), field("tags", "a")],
            vec!["/tags max-items"],
        ),
        (vec![title(), field("meta", "{\"is_admin\":true}")], vec!["/meta/is_admin unknown-property"]),
        (vec![title(), field("meta", "3")], vec!["/meta type"]),
        (
            vec![title(), part("name=count", "Content-Type: application/json\r\n", "1")],
            vec!["/count media-type"],
        ),
        (vec![title(), part("name=meta", "Content-Type: text/plain\r\n", "{}")], vec!["/meta media-type"]),
        (
            vec![title(), part("name=title2", "Content-Type: image/png\r\n", "x")],
            vec!["/title2 unknown-property"],
        ),
        (vec![title(), part("name=file; filename=a.txt", "X-Page: one\r\n", "x")], vec!["/file type"]),
        (vec![field("title", ""), field("role", "x")], vec!["/role unknown-property"]),
        (vec![field("title", "")], vec!["/title min-length"]),
        (vec![field("title", "a\u{202e}b")], vec!["/title characters"]),
    ] {
        let response = multi(&world, &sent).await;
        is_refused(&world, &response, 400, "schema-violation");
        assert_eq!(errors(&response), expected, "{sent:?}");
    }
    for (body, code) in [
        ("{\"level\":1,\"level\":2}", "duplicate-key"),
        ("{\"level\":01}", "malformed-json"),
        (&*"[".repeat(5000), "json-too-complex"),
    ] {
        is_refused(&world, &multi(&world, &[title(), field("meta", body)]).await, 400, code);
    }
    let long = "x".repeat(262_145);
    is_refused(&world, &multi(&world, &[field("title", &long)]).await, 413, "payload-too-large");
}

#[tokio::test]
async fn bodies_that_can_be_cut_in_two_ways_are_malformed() {
    let world = world();
    let title = field("title", "a");
    let end = "--b--\r\n";
    let file = |disposition: &str| part(disposition, "", "x");
    let many_headers: String = (0..9).map(|n| format!("X-{n}: 1\r\n")).collect();
    let long_header = format!("X-A: {}\r\n", "a".repeat(5000));
    let mut cases: Vec<(&str, String, String)> = [
        ("no body but an end of line", "\r\n".to_owned()),
        ("a preamble", format!("preamble\r\n{title}{end}")),
        ("an empty line before", format!("\r\n{title}{end}")),
        ("an epilogue", format!("{title}{end}GET / HTTP/1.1\r\n\r\n")),
        ("a second body behind the end", format!("{title}{end}{title}{end}")),
        ("no final boundary", title.clone()),
        ("half of the final boundary", format!("{title}--b-")),
        ("line feeds only", format!("{title}{end}").replace("\r\n", "\n")),
        (
            "a line feed behind a delimiter",
            format!("{title}--b\nContent-Disposition: form-data; name=\"count\"\r\n\r\n1\r\n{end}"),
        ),
        ("a space behind the delimiter", format!("--b \r\n{}{end}", &title[5..])),
        (
            "a part without an empty line",
            format!("--b\r\nContent-Disposition: form-data; name=\"title\"\r\n{end}"),
        ),
        ("ten thousand parts", format!("{}{end}", title.repeat(10_000))),
        ("twenty-one parts", format!("{}{end}", field("tags", "a").repeat(21))),
        ("nine headers", format!("{}{end}", part("name=title", &many_headers, "a"))),
        ("5 KB of headers", format!("{}{end}", part("name=title", &long_header, "a"))),
        ("a folded header", format!("{}{end}", part("name=title", " folded\r\n", "a"))),
        ("a header without a name", format!("{}{end}", part("name=title", ": a\r\n", "a"))),
        ("a header beyond ASCII", format!("{}{end}", part("name=title", "X-Ü: a\r\n", "a"))),
        ("a carriage return in a header", format!("{}{end}", part("name=title", "X-A: a\rb\r\n", "a"))),
        ("a header that is not declared", format!("{}{end}", part("name=title", "X-A: a\r\n", "a"))),
        (
            "one header twice",
            format!(
                "{}{end}",
                part("name=title", "Content-Type: text/plain\r\ncontent-type: text/plain\r\n", "a")
            ),
        ),
        (
            "a nested multipart",
            format!("{}{end}", part("name=title", "Content-Type: multipart/mixed; boundary=c\r\n", "--c--")),
        ),
        ("base64", format!("{}{end}", part("name=title", "Content-Transfer-Encoding: base64\r\n", "YQ=="))),
        ("no disposition", format!("--b\r\nContent-Type: text/plain\r\n\r\na\r\n{end}")),
        ("another disposition", format!("{}{end}", title.replace("form-data", "attachment"))),
        ("no name", format!("{}{end}", file("filename=\"a\""))),
        ("two names", format!("{}{end}", file("name=\"title\"; name=\"role\""))),
        ("two file names", format!("{}{end}", file("name=\"file\"; filename=\"a.txt\"; filename=\"b.php\""))),
        (
            "filename and filename*",
            format!("{}{end}", file("name=\"file\"; filename=\"a.txt\"; filename*=UTF-8''b.php")),
        ),
        ("filename* in Latin-1", format!("{}{end}", file("name=\"file\"; filename*=ISO-8859-1''a.txt"))),
        ("filename* that is no UTF-8", format!("{}{end}", file("name=\"file\"; filename*=UTF-8''%ff.txt"))),
        ("single quotes", format!("{}{end}", file("name='title'"))),
        ("another escape", format!("{}{end}", file("name=\"ti\\tle\""))),
        ("NUL", format!("{}{end}", file("name=\"title\0\""))),
        ("text that is no UTF-8", String::new()),
    ]
    .into_iter()
    .map(|(what, body)| (what, BOUNDARY.to_owned(), body))
    .collect();
    for (what, media) in [
        ("no boundary", "multipart/form-data"),
        ("an empty boundary", "multipart/form-data; boundary=\"\""),
        ("two boundaries", "multipart/form-data; boundary=b; boundary=c"),
        ("two boundaries of other case", "multipart/form-data; boundary=b; Boundary=c"),
        ("a boundary of other characters", "multipart/form-data; boundary=\"b*\""),
        ("another boundary", "multipart/form-data; boundary=c"),
    ] {
        cases.push((what, media.to_owned(), format!("{title}{end}")));
    }
    cases.push((
        "a boundary of 71",
        format!("multipart/form-data; boundary={}", "b".repeat(71)),
        format!("{title}{end}"),
    ));
    for (what, media, body) in cases {
        let body = match what {
            "text that is no UTF-8" => [
                b"--b\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\n\xff\r\n".as_slice(),
                end.as_bytes(),
            ]
            .concat(),
            _ => body.into_bytes(),
        };
        let response = post(&world, "/multi", &[("Content-Type", &media)], &body).await;
        assert_eq!(response.problem().as_deref(), Some("malformed-body"), "{what}: {}", response.text());
        is_refused(&world, &response, 400, "malformed-body");
        assert_eq!(errors(&response), Vec::<String>::new());
    }
}

/// A case of the public vectors.
#[derive(serde::Deserialize)]
struct Vector {
    boundary: String,
    expected: Expected,
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Expected {
    Error {
        #[serde(rename = "error")]
        _at: u64,
    },
    Parts(Vec<Part>),
}

#[derive(serde::Deserialize)]
struct Part {
    name: String,
    data: String,
}

/// What we refuse on purpose, and why.
const REFUSED: &[(&str, &str)] = &[
    ("single_field_with_leading_newlines", "a preamble"),
    ("single_field_with_trailer", "an epilogue"),
    ("base64_encoding", "a transfer encoding"),
    ("quoted_printable_encoding", "a transfer encoding"),
    ("mixed_plain_and_base64_encoding", "a transfer encoding"),
    ("mixed_case_headers", "a transfer encoding"),
    ("single_field_blocks", "the body's boundary is not the one that is told"),
    ("header_with_number", "headers that are not declared"),
];

#[tokio::test]
async fn the_public_vectors_through_the_running_program() {
    let folder = std::env::var_os("PORTCULLIS_VECTORS")
        .map_or_else(
            || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors")),
            PathBuf::from,
        )
        .join("multipart/http");
    let Ok(files) = std::fs::read_dir(&folder) else {
        println!("no vectors at {}: skipped", folder.display());
        return;
    };
    let world = world();
    let (mut passed, mut refused) = (0, 0);
    for file in
        files.flatten().map(|file| file.path()).filter(|path| path.extension().is_some_and(|e| e == "yaml"))
    {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).unwrap().replace("!!binary ", "");
        let vector: Vector = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        let body = std::fs::read(file.with_extension("http")).unwrap();
        let media = format!("multipart/form-data; boundary=\"{}\"", vector.boundary);
        let response = post(&world, "/fields", &[("Content-Type", &media)], &body).await;
        match (&vector.expected, REFUSED.iter().find(|(known, _)| *known == name)) {
            (Expected::Parts(expected), None) => {
                assert_eq!(response.status, 204, "{name}: {}", response.text());
                let seen = arrived(&world, &response);
                let parts = parts(&seen);
                assert_eq!(parts.len(), expected.len(), "{name}");
                for ((head, body), part) in parts.iter().zip(expected) {
                    assert!(head.contains(&format!("name=\"{}\"", part.name)), "{name}: {head}");
                    assert_eq!(&base64(&part.data), body, "{name}");
                }
                passed += 1;
            }
            (_, why) => {
                assert_eq!(
                    response.problem().as_deref(),
                    Some("malformed-body"),
                    "{name} {why:?}: {}",
                    response.text()
                );
                is_refused(&world, &response, 400, "malformed-body");
                refused += 1;
            }
        }
    }
    assert!(passed >= 14 && refused >= 14, "{passed} passed, {refused} refused");
}

fn base64(text: &str) -> Vec<u8> {
    let (mut bits, mut held, mut out) = (0u32, 0, Vec::new());
    for byte in text.bytes().filter(|b| !b.is_ascii_whitespace() && *b != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            _ => 63,
        };
        (bits, held) = (bits << 6 | u32::from(value), held + 6);
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    out
}
