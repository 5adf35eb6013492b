//! What a signature of `portcullis-v1` covers, and how it is written (callers.md § 9).

use super::draft::{Draft, With};
use super::gate::{Gate, HOST, SECRET, told};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_testkit::{Connection, send};

const OK: &str = "200";

#[tokio::test]
async fn covered_fields_stay_as_they_were() {
    let gate = Gate::new().await;
    let draft = || Draft::post().field("X-Batch", "first").also("\"x-batch\"");
    assert_eq!(draft().sign().told(&gate).await, OK);
    assert_eq!(draft().sign().field("X-Batch", "second").told(&gate).await, "signature-invalid");
    assert_eq!(draft().sign().field("X-Batch", "").told(&gate).await, "signature-coverage");
    assert_eq!(draft().sign().field("X-Batch", " first ").told(&gate).await, OK, "trimmed");
    // Equal names: added twice, and in another order.
    let list = || {
        let mut draft = Draft::post().also("\"accept\"");
        for value in ["application/json", "application/problem+json"] {
            draft.fields.push(("Accept".to_owned(), value.to_owned()));
        }
        draft
    };
    assert_eq!(list().sign().told(&gate).await, OK);
    let joined = list().sign().field("Accept", "application/json, application/problem+json");
    assert_eq!(joined.told(&gate).await, OK, "one line or two is the same list");
    let swapped = list().sign().field("Accept", "application/problem+json, application/json");
    assert_eq!(swapped.told(&gate).await, "signature-invalid");
    assert_eq!(list().sign().add("Accept", "*/*").told(&gate).await, "signature-invalid");
}

#[tokio::test]
async fn path_and_query_are_those_on_the_wire() {
    let gate = Gate::new().await;
    let signed = |target: &str| Draft::get(target).sign();
    assert_eq!(signed("/v1/items/%41").told(&gate).await, OK, "what is sent is signed");
    assert_eq!(signed("/v1/items/a?dry=%2F&dry=+&b=%20").told(&gate).await, OK);
    for (from, to, told) in [
        ("/v1/items/a%2Fb", "/v1/items/a/b", "operation-undeclared"),
        ("/v1/items/a", "/v1/items//a", "path-refused"),
        ("/v1/items/a", "/v1/./items/a", "path-refused"),
        ("/v1/items/a", "/v1/items/a/", "operation-undeclared"),
        ("/v1/items/%41", "/v1/items/A", "signature-invalid"),
        ("/v1/items/A", "/v1/items/%41", "signature-invalid"),
        ("/v1/items/a", "/v1/items/b", "signature-invalid"),
        ("/v1/items/a?dry=1&b=2", "/v1/items/a?b=2&dry=1", "signature-invalid"),
        ("/v1/items/a?b=1+2", "/v1/items/a?b=1%202", "signature-invalid"),
        ("/v1/items/a?dry=1", "/v1/items/a?dry=1&dry=1", "signature-invalid"),
        ("/v1/items/a?dry=1", "/v1/items/a", "signature-invalid"),
        ("/v1/items/a", "/v1/items/a?dry=1", "signature-invalid"),
        // RFC 9421 § 2.2.7: an absent query and an empty one are one value.
        ("/v1/items/a", "/v1/items/a?", OK),
    ] {
        assert_eq!(signed(from).target(to).told(&gate).await, told, "{from} {to}");
    }
    // The other way to cover the target.
    let whole = |target: &str| Draft::get(target).cover(&["\"@method\"", "\"@target-uri\""]).sign();
    assert_eq!(whole("/v1/items/a?b=1").told(&gate).await, OK);
    assert_eq!(whole("/v1/items/a?b=1").target("/v1/items/a?b=2").told(&gate).await, "signature-invalid");
    // The authority is the one that was asked for.
    let elsewhere = signed("/v1/items/a").field("Host", "other.example.com");
    assert_eq!(elsewhere.told(&gate).await, "signature-invalid");
    let spelled = Draft::get("/v1/items/a").sign().field("Host", "API.example.com:80");
    assert_eq!(spelled.told(&gate).await, OK, "lower case, and without the scheme's own port");
}

#[tokio::test]
async fn coverage_is_never_less_than_must_be() {
    let gate = Gate::new().await;
    let get = |cover: &[&str]| Draft::get("/v1/items/a").cover(cover).sign();
    for cover in [
        &[][..],
        &["\"@method\""],
        &["\"@authority\"", "\"@path\"", "\"@query\""],
        &["\"@method\"", "\"@authority\"", "\"@path\""],
        &["\"@method\"", "\"@path\"", "\"@query\""],
        &["\"@method\"", "\"@request-target\"", "\"@authority\""],
        &["\"@method\";req", "\"@authority\"", "\"@path\"", "\"@query\""],
        &["\"@method\"", "\"@authority\"", "\"@path\"", "\"@query\"", "\"@status\""],
        &["\"@method\"", "\"@authority\"", "\"@path\"", "\"@query\"", "\"@new\""],
        &["\"@method\"", "\"@authority\"", "\"@path\"", "\"@query\"", "\"@query-param\";name=\"b\""],
        &["\"@method\"", "\"@authority\"", "\"@path\"", "\"@query\"", "\"host\";tr"],
        &["\"@method\"", "\"@authority\"", "\"@path\"", "\"@query\"", "\"host\";req"],
        &["\"@method\"", "\"@authority\"", "\"@path\"", "\"@query\"", "\"x-absent\""],
    ] {
        assert_eq!(get(cover).told(&gate).await, "signature-coverage", "{cover:?}");
    }
    let twice = get(&["\"@method\"", "\"@authority\"", "\"@path\"", "\"@query\"", "\"@method\""]);
    assert_eq!(twice.told(&gate).await, "signature-malformed");
    // Authorization is covered wherever it stands, and what the API's `cover` names.
    let gate = Gate::with(|config| {
        config.replace("[portcullis-v1, pc1]", "[portcullis-v1], cover: [idempotency-key]")
    })
    .await;
    assert_eq!(Draft::post().sign().told(&gate).await, "signature-coverage");
    let keyed = Draft::post().field("Idempotency-Key", "k-1");
    assert_eq!(keyed.sign().told(&gate).await, "signature-coverage", "there, and not signed");
    assert_eq!(Draft::post().also("\"idempotency-key\"").sign().told(&gate).await, "signature-coverage");
    assert_eq!(keyed.also("\"idempotency-key\"").sign().told(&gate).await, OK);
}

#[tokio::test]
async fn parameters_in_every_order_and_unknown_ones_pass_when_so_signed() {
    let gate = Gate::new().await;
    let mut order = vec![0, 1, 2, 3, 4];
    let mut connection = Connection::open(gate.public()).await.unwrap();
    for _ in 0..120 {
        next_permutation(&mut order);
        let mut draft = Draft::get("/v1/items/a");
        draft.parameters = order.iter().map(|at| draft.parameters[*at].clone()).collect();
        connection.write(&draft.sign().bytes()).await.unwrap();
        assert_eq!(told(&connection.response().await.unwrap()).0, 200, "{order:?}");
    }
    let unknown = Draft::get("/v1/items/a").parameter("x-new", "(1)");
    assert_eq!(unknown.sign().told(&gate).await, "signature-malformed", "no inner list among parameters");
    let mut unknown = Draft::get("/v1/items/a").parameter("x-new", "\"yes\"");
    unknown.parameters.insert(0, "flag".to_owned());
    assert_eq!(unknown.sign().told(&gate).await, OK);
    // Sent in another order than signed.
    let mut request = Draft::get("/v1/items/a").sign();
    let input = request.value("signature-input").replace(";alg=\"hmac-sha256\"", "");
    request = request.field("Signature-Input", &format!("{input};alg=\"hmac-sha256\""));
    assert_eq!(request.told(&gate).await, "signature-invalid");
}

/// Knuth's algorithm L, round and round.
fn next_permutation(order: &mut [usize]) {
    let Some(at) = (1..order.len()).rev().find(|at| order[at - 1] < order[*at]) else {
        order.reverse();
        return;
    };
    let with = (at..order.len()).rev().find(|with| order[*with] > order[at - 1]).unwrap();
    order.swap(at - 1, with);
    order[at..].reverse();
}

#[tokio::test]
async fn labels() {
    let gate = Gate::new().await;
    let one = Draft::get("/v1/items/a").sign();
    let input = one.value("signature-input").to_owned();
    let signature = one.value("signature").to_owned();
    let second = Draft::get("/v1/items/a").sign();
    let (input2, signature2) = (
        second.value("signature-input").replacen("sig1", "sig2", 1),
        second.value("signature").replacen("sig1", "sig2", 1),
    );
    let with = |input: &str, signature: &str| {
        one.clone().field("Signature-Input", input).field("Signature", signature)
    };
    let foreign = "other=(\"@method\");created=1;tag=\"web-bot-auth\"";
    for (name, input, signature, expected) in [
        ("repeated label", format!("{input}, {input}"), signature.clone(), "signature-malformed"),
        ("repeated signature", input.clone(), format!("{signature}, {signature}"), "signature-malformed"),
        (
            "two with our tag",
            format!("{input}, {input2}"),
            format!("{signature}, {signature2}"),
            "signature-malformed",
        ),
        ("only in Signature-Input", input.clone(), "sig9=:AAAA:".to_owned(), "signature-malformed"),
        ("no Signature", input.clone(), String::new(), "signature-malformed"),
        ("no Signature-Input", String::new(), signature.clone(), "signature-missing"),
        ("only another tag", foreign.to_owned(), "other=:AAAA:".to_owned(), "signature-missing"),
        ("no label at all", "sig1=()".to_owned(), "sig1=:AAAA:".to_owned(), "signature-missing"),
        ("unreadable", "sig1=(".to_owned(), signature.clone(), "signature-malformed"),
        ("a string for a signature", input.clone(), "sig1=\"AAAA\"".to_owned(), "signature-malformed"),
        (
            "a repeated parameter",
            format!("{input};alg=\"hmac-sha256\""),
            signature.clone(),
            "signature-malformed",
        ),
        (
            "a repeated tag",
            format!("{input};tag=\"portcullis-v1\""),
            signature.clone(),
            "signature-malformed",
        ),
    ] {
        assert_eq!(with(&input, &signature).told(&gate).await, expected, "{name}");
    }
    let hundred: Vec<String> = (0..100).map(|n| format!("s{n}=(\"@method\");tag=\"x\"")).collect();
    let told = with(&format!("{}, {input}", hundred.join(", ")), &signature).told(&gate).await;
    assert_eq!(told, "signature-malformed");
    // Signatures of others beside ours are theirs.
    let beside = with(&format!("{foreign}, {input}"), &format!("other=:AAAA:, {signature}"));
    assert_eq!(beside.told(&gate).await, OK);
}

#[tokio::test]
async fn a_mac_is_32_bytes_in_one_spelling() {
    let gate = Gate::new().await;
    let draft = Draft::get("/v1/items/a");
    let mac = draft.signature(With::Mac(SECRET));
    let with = |bytes: &[u8]| draft.sign().field("Signature", &format!("sig1=:{}:", STANDARD.encode(bytes)));
    let hex: String = mac.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(with(&mac[..31]).told(&gate).await, "signature-invalid");
    assert_eq!(with(&[mac.as_slice(), &[0]].concat()).told(&gate).await, "signature-invalid");
    assert_eq!(with(&[]).told(&gate).await, "signature-invalid");
    assert_eq!(with(hex.as_bytes()).told(&gate).await, "signature-invalid");
    let text = draft.sign().field("Signature", &format!("sig1={hex}"));
    assert_eq!(text.told(&gate).await, "signature-malformed");
    let unpadded = STANDARD.encode(&mac).trim_end_matches('=').to_owned();
    let unpadded = draft.sign().field("Signature", &format!("sig1=:{unpadded}:"));
    assert_eq!(unpadded.told(&gate).await, "signature-malformed");
    assert_eq!(with(&mac).told(&gate).await, OK, "and the nonce was not burnt");
}

#[tokio::test]
async fn any_one_byte_change_of_what_is_signed_fails() {
    let gate = Gate::new().await;
    // Signed anew for each change, as a right MAC over another body spends the nonce.
    let fresh = || {
        let draft = Draft::with_body("POST", "/v1/transfers?dry=ab", "application/json", b"{\"a\":12}");
        draft.field("X-Batch", "batch-one").also("\"x-batch\"").sign()
    };
    let request = fresh();
    let text = String::from_utf8(request.bytes()).unwrap();
    let place = |what: &str| {
        let at = text.find(what).unwrap_or_else(|| panic!("{what}"));
        at..at + what.len()
    };
    let mut tried = 0;
    for range in [
        place("POST"),
        place("/v1/transfers"),
        place("dry=ab"),
        place("batch-one"),
        place(HOST),
        place("application/json"),
        place("{\"a\":12}"),
        place(request.value("content-digest")),
        place(request.value("signature-input")),
        place(request.value("signature")),
    ] {
        for at in range {
            for change in [1_u8, 0x20] {
                let mut changed = fresh().bytes();
                assert_eq!(changed.len(), text.len());
                changed[at] ^= change;
                if change == 0x20 && place(HOST).contains(&at) {
                    // The authority is one in any case.
                    continue;
                }
                let Ok(response) = send(gate.public(), &changed).await else { continue };
                assert_ne!(response.status, 200, "byte {at} of {}", String::from_utf8_lossy(&changed));
                tried += 1;
            }
        }
    }
    assert!(tried > 500, "{tried}");
    assert!(gate.upstream.requests().is_empty());
    assert_eq!(request.told(&gate).await, OK, "one that nobody changed");
}
