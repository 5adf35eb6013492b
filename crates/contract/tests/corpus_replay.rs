//! Every input that the fuzzer has kept, through the laws that it is run against.
#![expect(clippy::expect_used, reason = "tests")]

include!("../../../fuzz/laws/contract.rs");

#[path = "../../../fuzz/laws/head.rs"]
mod heads;

mod forms {
    include!("../../../fuzz/laws/multipart.rs");
}

#[expect(clippy::indexing_slicing, reason = "shared with the fuzzer")]
mod uploads {
    include!("../../../fuzz/laws/upload.rs");
}

mod graphql {
    include!("../../../fuzz/laws/graphql.rs");
}

fn replay(target: &str, law: fn(&[u8])) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut inputs = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus is part of the project") {
        law(&std::fs::read(entry.expect("an entry").path()).expect("an input"));
        inputs += 1;
    }
    assert!(inputs >= 5, "{inputs} inputs in {}", folder.display());
}

#[test]
fn head_corpus() {
    replay("head", heads::head);
}

#[test]
fn authority_corpus() {
    replay("authority", |data| {
        if let Ok(text) = std::str::from_utf8(data) {
            heads::authority(text);
        }
    });
}

#[test]
fn json_corpus() {
    replay("json", json_text);
}

#[test]
fn document_corpus() {
    replay("document", openapi);
}

#[test]
fn parameter_corpus() {
    replay("parameter", parameter);
}

#[test]
fn upload_corpus() {
    replay("upload", uploads::file);
}

#[test]
fn multipart_corpus() {
    replay("multipart", forms::multipart);
}

#[test]
fn graphql_corpus() {
    replay("graphql", graphql::graphql_request);
}
