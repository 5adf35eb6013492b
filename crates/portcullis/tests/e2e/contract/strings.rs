//! Strings of all kinds: each arrives as it was sent, or not at all.

use super::{all, open, post, vectors};
use portcullis_testkit::request;
use serde_json::{Value, json};

const SPEC: &str = "openapi: 3.0.3
info: { title: t, version: '1' }
paths:
  /text:
    get:
      operationId: ask
      parameters: [{ name: text, in: query, allowEmptyValue: true, schema: { type: string } }]
      responses: { '204': { description: none } }
    post:
      operationId: tell
      requestBody: { content: { application/json: { schema: { type: object, properties: { text: { type: string } } } } } }
      responses: { '204': { description: none } }
  /url:
    get:
      operationId: url
      parameters: [{ name: namespace, in: query, schema: { type: string, format: uri } }]
      responses: { '204': { description: none } }
";

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |out, byte| out + &format!("%{byte:02X}"))
}

fn decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
            out.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
        } else {
            out.push(byte);
        }
    }
    out
}

#[tokio::test]
async fn naughty_strings_arrive_as_they_are_or_not_at_all() {
    let Some(path) = vectors("strings/blns.json") else { return };
    let strings: Vec<String> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let world = open(SPEC, &["ask", "tell", "url"], "");
    let mut requests = Vec::new();
    for text in &strings {
        requests.push(request("GET", &format!("/text?text={}", encoded(text)), &[], b""));
        requests.push(post("/text", json!({ "text": text }).to_string().as_bytes()));
    }
    let answers = all(&world, requests, 1).await;
    let mut seen = world.upstream.requests().into_iter();
    let (mut passed, mut refused) = (0, 0);
    for (text, pair) in strings.iter().zip(answers.chunks(2)) {
        for (answer, by_query) in pair.iter().zip([true, false]) {
            match answer.status {
                204 => {
                    passed += 1;
                    let recorded = seen.next().unwrap();
                    let arrived = if by_query {
                        decoded(recorded.target.strip_prefix("/text?text=").unwrap())
                    } else {
                        recorded.json()["text"].as_str().unwrap().as_bytes().to_vec()
                    };
                    assert_eq!(arrived, text.as_bytes());
                }
                400 => {
                    refused += 1;
                    // Not a byte of the string comes back.
                    assert!(text.len() < 8 || !answer.text().contains(text.as_str()), "{text}");
                }
                status => panic!("{status}: {text:?}"),
            }
        }
    }
    assert!(seen.next().is_none());
    println!("{} strings: {passed} passed, {refused} refused", strings.len());
    assert!(passed > 800 && refused > 0, "{passed} {refused}");
}

#[tokio::test]
async fn urls_of_the_browsers_suite_arrive_as_they_are_or_not_at_all() {
    let Some(path) = vectors("urls/urltestdata.json") else { return };
    let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let inputs: Vec<(&str, bool)> = cases
        .iter()
        .filter_map(|case| Some((case["input"].as_str()?, case["failure"] == true)))
        .filter(|(input, _)| !input.is_empty() && input.len() < 900)
        .collect();
    let world = open(SPEC, &["ask", "tell", "url"], "");
    let requests = inputs
        .iter()
        .map(|(input, _)| request("GET", &format!("/url?namespace={}", encoded(input)), &[], b""));
    let answers = all(&world, requests.collect(), 1).await;
    let mut seen = world.upstream.requests().into_iter();
    let mut passed = 0;
    for ((input, _), answer) in inputs.iter().zip(&answers) {
        match answer.status {
            204 => {
                passed += 1;
                let recorded = seen.next().unwrap();
                assert_eq!(
                    decoded(recorded.target.strip_prefix("/url?namespace=").unwrap()),
                    input.as_bytes()
                );
                // RFC 3986 has no URI without a scheme, with white space, or with a backslash.
                let scheme = input.split(':').next().unwrap();
                assert!(
                    scheme.len() < input.len()
                        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)),
                    "{input}"
                );
                assert!(
                    !input.contains([' ', '\\', '\t', '\n', '<', '>', '"']) && input.is_ascii(),
                    "{input}"
                );
            }
            400 => assert_eq!(answer.problem().as_deref(), Some("invalid-parameter"), "{input}"),
            // Wherever a value is taken for an address, it must lead outside.
            422 => assert_eq!(answer.problem().as_deref(), Some("url-not-allowed"), "{input}"),
            status => panic!("{status}: {input:?}"),
        }
    }
    assert!(seen.next().is_none());
    println!("{} URLs: {passed} passed", inputs.len());
    assert!(answers.iter().any(|answer| answer.status == 400));
}
