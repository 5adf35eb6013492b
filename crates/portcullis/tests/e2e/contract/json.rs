//! nst/JSONTestSuite as bodies of the running program.

use super::{all, open, post, vectors};

const SPEC: &str = "openapi: 3.1.0\ninfo: { title: t, version: '1' }\npaths:\n  /json:\n    post:\n      operationId: any\n      requestBody: { required: true, content: { application/json: { schema: {} } } }\n      responses: { '204': { description: ok } }\n";

/// `y_` cases that are refused on purpose: grammatical, and beyond what may cross the gateway.
const REFUSED: [(&str, &str); 5] = [
    ("y_object_duplicated_key.json", "duplicate-key"),
    ("y_object_duplicated_key_and_value.json", "duplicate-key"),
    // U+0000 ends a string in half of the languages behind us.
    ("y_object_escaped_null_in_key.json", "malformed-json"),
    ("y_string_null_escape.json", "malformed-json"),
    // 80 characters; a number has at most 64.
    ("y_number_double_close_to_zero.json", "json-too-complex"),
];

/// … and strings that hold what no upstream should see (§ 10): controls, and code points that are no characters.
const CHARACTERS: [&str; 12] = [
    "y_string_allowed_escapes.json",
    "y_string_escaped_control_character.json",
    "y_string_escaped_noncharacter.json",
    "y_string_last_surrogates_1_and_2.json",
    "y_string_nonCharacterInUTF-8_U+10FFFF.json",
    "y_string_nonCharacterInUTF-8_U+FFFF.json",
    "y_string_unescaped_char_delete.json",
    "y_string_unicode_U+10FFFE_nonchar.json",
    "y_string_unicode_U+1FFFE_nonchar.json",
    "y_string_unicode_U+FDD0_nonchar.json",
    "y_string_unicode_U+FFFE_nonchar.json",
    "y_string_with_del_character.json",
];

#[tokio::test]
async fn every_text_of_the_json_suite_is_judged_as_it_is_named() {
    let Some(folder) = vectors("json/test_parsing") else { return };
    let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    let world =
        open(SPEC, &["any"], "    loosen: [{ allow: shapeless, because: a test, until: 2099-12-31 }]\n");
    let requests = files.iter().map(|(_, body)| post("/json", body)).collect();
    let answers = all(&world, requests, 4).await;
    let mut counts = [0; 3];
    let mut wrong = Vec::new();
    for ((name, body), answer) in files.iter().zip(&answers) {
        let problem = answer.problem();
        let fine = match name.as_bytes().first() {
            Some(b'y') => {
                counts[0] += 1;
                match REFUSED.iter().find(|(known, _)| known == name) {
                    Some((_, code)) => answer.status == 400 && problem.as_deref() == Some(*code),
                    None if CHARACTERS.contains(&&**name) => problem.as_deref() == Some("schema-violation"),
                    None => answer.status == 204,
                }
            }
            Some(b'n') => {
                counts[1] += 1;
                // A text of no bytes is no body at all.
                if body.is_empty() {
                    problem.as_deref() == Some("body-missing")
                } else {
                    answer.status == 400
                }
            }
            _ => {
                counts[2] += 1;
                matches!(answer.status, 204 | 400)
            }
        };
        if !fine {
            wrong.push(format!("{name}: {} {problem:?}", answer.status));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(counts[0] >= 95 && counts[1] >= 188 && counts[2] >= 35, "{counts:?}");
    // What went on is one strict JSON text of the same value.
    for recorded in world.upstream.requests() {
        assert!(
            serde_json::from_slice::<serde_json::Value>(&recorded.message.body).is_ok()
                || recorded.message.body.len() > 20
        );
    }
    assert_eq!(world.upstream.requests().len(), answers.iter().filter(|answer| answer.status == 204).count());
}
