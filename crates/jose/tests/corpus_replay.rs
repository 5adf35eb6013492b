//! Every input that the fuzzer has kept, through the laws that it is run against.
#![expect(clippy::expect_used, reason = "tests")]

include!("../../../fuzz/laws/jose.rs");

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
fn jwt_corpus() {
    replay("jwt", token);
}

#[test]
fn jwk_set_corpus() {
    replay("jwk_set", key_set);
}

#[test]
fn signature_input_corpus() {
    replay("signature_input", signature);
}

#[test]
fn api_key_corpus() {
    replay("api_key", opaque_text);
}
