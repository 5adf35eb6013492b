//! Attacks on signed requests (callers.md § 22), `portcullis-v1` and PC1, and their known answers.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{KEYS, NOW, Signer};
use portcullis_core::opaque::Id16;
use portcullis_jose::alg::Algorithms;
use portcullis_jose::digest::content_digest;
use portcullis_jose::jwk::{KeyPolicy, VerifyKey};
use portcullis_jose::mac::MacKey;
use portcullis_jose::message::{self, Demands, Draft, Key, Received, Refusal, SignatureAlgorithm, Signed};
use portcullis_jose::pc1::{self, Pc1};

const ID: &str = "008j4ct4ank7f24s";
const NONCE: &str = "b3J1d2kzdzd0Zmo0";
const BODY: &str = r#"{"amount":1250,"to":"acct_7"}"#;
const TARGET: &str = "/v1/transfers?dry=%2Ftrue&dry=0";
const INPUT: &str = r#"sig1=("@method" "@authority" "@path" "@query" "content-digest" "content-type");created=1767225600;keyid="008j4ct4ank7f24s";nonce="b3J1d2kzdzd0Zmo0";alg="hmac-sha256";tag="portcullis-v1""#;
const SIGNATURE: &str = "sig1=:CIsTZ1MH1quoKhmu4WjQxXu5O0yMhpoGZavlL4h7peY=:";

fn secret() -> MacKey {
    MacKey::new(&std::array::from_fn::<u8, 32, _>(|i| u8::try_from(i).unwrap()))
}

fn fields() -> Vec<(&'static str, String)> {
    vec![("Content-Type", "application/json".into()), ("Content-Digest", content_digest(BODY.as_bytes()))]
}

fn received(method: &str, target: &str, fields: Vec<(&'static str, String)>) -> Received {
    Received::new(method, true, "api.example.com", target, fields)
}

fn request() -> Received {
    received("POST", TARGET, fields())
}

const WITH_BODY: Demands<'static> = Demands { body: true, fields: &[] };
const BARE: Demands<'static> = Demands { body: false, fields: &[] };

/// Steps 1–5, 7 and 8.
fn judge(
    input: &[&str],
    signature: &[&str],
    request: &Received,
    demands: &Demands<'_>,
    key: Key<'_>,
) -> Result<(), Refusal> {
    fn lines<'l>(all: &[&'l str]) -> Vec<&'l [u8]> {
        all.iter().map(|line| line.as_bytes()).collect()
    }
    let signed = Signed::read(&lines(input), &lines(signature))?;
    signed.fresh(NOW, None)?;
    signed.covers(request, demands)?;
    signed.verify(key, &signed.base(request)?)
}

/// Signs whatever the label says, as a client who holds the secret can.
fn resign(input: &str, request: &Received) -> String {
    let label = message::Label::read_all(&[input.as_bytes()]).unwrap().remove(0);
    let base = label.base(request).unwrap();
    message::headers(&label, &secret().sign(&base)).1
}

/// Judged with the right secret, over a base that was signed with it.
fn honest(input: &str, request: &Received, demands: &Demands<'_>) -> Result<(), Refusal> {
    judge(&[input], &[&resign(input, request)], request, demands, Key::Mac(&secret()))
}

fn bare(parameters: &str) -> String {
    format!(r#"sig1=("@method" "@authority" "@path" "@query"){parameters}"#)
}

fn parameters(created: i64, nonce: &str) -> String {
    format!(r#";created={created};keyid="{ID}";nonce="{nonce}";alg="hmac-sha256";tag="portcullis-v1""#)
}

fn get() -> Received {
    received("GET", "/v1/accounts?a=1&b=2", Vec::new())
}

// ---- known answers ----------------------------------------------------------------------------

#[test]
fn known_answer() {
    assert_eq!(fields()[1].1, "sha-256=:MZKn4ztm8LUPtuNJo1XW3ANbUZdnv5Bae03kS/2dIRk=:");
    assert_eq!(judge(&[INPUT], &[SIGNATURE], &request(), &WITH_BODY, Key::Mac(&secret())), Ok(()));
    let signed = Signed::read(&[INPUT.as_bytes()], &[SIGNATURE.as_bytes()]).unwrap();
    assert_eq!((signed.key_id(), signed.nonce(), signed.created()), (ID, NONCE, 1_767_225_600));
    assert_eq!(signed.algorithm(), SignatureAlgorithm::HmacSha256);
    assert!(signed.covers_digest());
}

#[test]
fn a_draft_makes_the_known_answer() {
    let algorithm = SignatureAlgorithm::HmacSha256;
    let draft = Draft { cover: Draft::BODY, created: NOW, key_id: ID, nonce: NONCE, algorithm };
    let label = draft.label().unwrap();
    let mac = secret().sign(&label.base(&request()).unwrap());
    assert_eq!(message::headers(&label, &mac), (INPUT.to_owned(), SIGNATURE.to_owned()));
    let broken = Draft { key_id: "é", ..draft };
    assert_eq!(broken.label().err(), Some(Refusal::Malformed("draft")));
}

#[test]
fn known_answers_of_pc1() {
    let id = Id16::parse(ID).unwrap();
    let post = pc1::header(&request(), &secret(), id, NOW, NONCE, Some(BODY.as_bytes()));
    assert_eq!(
        post,
        format!(
            "v1;k={ID};t={NOW};n={NONCE};b=3192a7e33b66f0b50fb6e349a355d6dc035b519767bf905a7b4de44bfd9d2119;\
             s=f198c19a4de0945b549b6d1286d4778b70c6466f163b583af480fb3580c8d3d5"
        )
    );
    let root = received("GET", "/", Vec::new());
    let get = pc1::header(&root, &secret(), id, NOW, NONCE, None);
    assert_eq!(
        get,
        format!(
            "v1;k={ID};t={NOW};n={NONCE};s=9237d6ead454c9085c6403add472f8341d8d6ffd4df61dcff539491b1de05833"
        )
    );
    assert_eq!(pc1(&post, &request(), true), Ok(()));
    assert_eq!(pc1(&get, &root, false), Ok(()));
    assert_eq!(pc1(&get, &received("GET", "", Vec::new()), false), Ok(()), "an empty path is /");
}

// ---- time, nonce, parameters ------------------------------------------------------------------

#[test]
fn created_outside_the_window() {
    let at = |created: i64| honest(&bare(&parameters(created, NONCE)), &get(), &BARE);
    for (created, passes) in
        [(NOW - 300, true), (NOW - 301, false), (NOW + 30, true), (NOW + 31, false), (-5, false)]
    {
        assert_eq!(at(created), if passes { Ok(()) } else { Err(Refusal::Stale) }, "{}", created - NOW);
    }
    for created in
        ["1767225600.0", "\"1767225600\"", "9223372036854775808", "?1", ":AAAA:", "@1767225600", "soon"]
    {
        let input = bare(&parameters(0, NONCE)).replace("created=0", &format!("created={created}"));
        let refused = judge(&[&input], &[SIGNATURE], &get(), &BARE, Key::Mac(&secret()));
        assert!(matches!(refused, Err(Refusal::Malformed(_))), "{created} {refused:?}");
    }
    let missing = bare(&parameters(0, NONCE)).replace(";created=0", "");
    assert_eq!(honest(&missing, &get(), &BARE), Err(Refusal::Malformed("created")));
}

#[test]
fn expires_is_honoured_and_bounded() {
    let until = |expires: i64, created: i64| {
        honest(&bare(&format!("{};expires={expires}", parameters(created, NONCE))), &get(), &BARE)
    };
    assert_eq!(until(NOW, NOW - 10), Ok(()));
    assert_eq!(until(NOW - 1, NOW - 10), Err(Refusal::Stale));
    assert_eq!(until(NOW + 300, NOW), Ok(()));
    assert_eq!(until(NOW + 301, NOW), Err(Refusal::Malformed("expires")));
    assert_eq!(
        honest(&bare(&format!("{};expires=\"x\"", parameters(NOW, NONCE))), &get(), &BARE),
        Err(Refusal::Malformed("expires"))
    );
}

#[test]
fn a_signature_from_before_what_is_remembered() {
    let input = bare(&parameters(NOW, NONCE));
    let signed = Signed::read(&[input.as_bytes()], &[SIGNATURE.as_bytes()]).unwrap();
    assert_eq!(signed.fresh(NOW, Some(NOW)), Err(Refusal::Stale));
    assert_eq!(signed.fresh(NOW, Some(NOW - 30)), Err(Refusal::Stale));
    assert_eq!(signed.fresh(NOW, Some(NOW - 31)), Ok(()), "new clients are served again after 30 seconds");
}

#[test]
fn nonces_of_another_form() {
    for nonce in
        ["", "123456789012345", &"n".repeat(65), "b3J1d2kzdzd0Zmo=", "b3J1d2kzdzd0Zm o", "b3J1d2kzdzd0.mo0"]
    {
        let refused = honest(&bare(&parameters(NOW, nonce)), &get(), &BARE);
        assert_eq!(refused, Err(Refusal::Malformed("nonce")), "{nonce}");
    }
    for nonce in ["1234567890123456", &"n".repeat(64), "b3J1d2kzdzd0Zm_-"] {
        assert_eq!(honest(&bare(&parameters(NOW, nonce)), &get(), &BARE), Ok(()), "{nonce}");
    }
    let unicode = bare(&parameters(NOW, "ééééééééé"));
    let refused = judge(&[&unicode], &[SIGNATURE], &get(), &BARE, Key::Dummy);
    assert_eq!(refused, Err(Refusal::Malformed("signature-input")));
    let missing = bare(&parameters(NOW, NONCE)).replace(&format!(";nonce=\"{NONCE}\""), "");
    assert_eq!(honest(&missing, &get(), &BARE), Err(Refusal::Malformed("nonce")));
}

#[test]
fn parameters_in_every_order_and_unknown_ones_pass() {
    let order = |text: &str| honest(&bare(text), &get(), &BARE);
    assert_eq!(
        order(&format!(
            r#";tag="portcullis-v1";alg="hmac-sha256";nonce="{NONCE}";keyid="{ID}";created={NOW}"#
        )),
        Ok(())
    );
    assert_eq!(order(&format!(r#";x;y=1.5;z=:AAAA:{};w=tok"#, parameters(NOW, NONCE))), Ok(()));
    let input = bare(&format!("{};x=1", parameters(NOW, NONCE)));
    let signature = resign(&input, &get());
    let without = bare(&parameters(NOW, NONCE));
    assert_eq!(
        judge(&[&without], &[&signature], &get(), &BARE, Key::Mac(&secret())),
        Err(Refusal::Invalid),
        "they are part of the base"
    );
}

#[test]
fn keyid_and_tag_and_alg_are_strings() {
    for (from, to, what) in [
        (format!("keyid=\"{ID}\""), "keyid=8".to_owned(), Refusal::Malformed("keyid")),
        (format!(";keyid=\"{ID}\""), String::new(), Refusal::Malformed("keyid")),
        ("alg=\"hmac-sha256\"".into(), "alg=hmac-sha256".into(), Refusal::Malformed("alg")),
        ("alg=\"hmac-sha256\"".into(), "alg=\"none\"".into(), Refusal::Malformed("alg")),
        ("alg=\"hmac-sha256\"".into(), "alg=\"rsa-v1_5-sha256\"".into(), Refusal::Malformed("alg")),
        (";alg=\"hmac-sha256\"".into(), String::new(), Refusal::Malformed("alg")),
        ("tag=\"portcullis-v1\"".into(), "tag=portcullis-v1".into(), Refusal::Missing),
        ("tag=\"portcullis-v1\"".into(), "tag=\"portcullis-v2\"".into(), Refusal::Missing),
        (";tag=\"portcullis-v1\"".into(), String::new(), Refusal::Missing),
    ] {
        let input = bare(&parameters(NOW, NONCE)).replace(&from, &to);
        assert_eq!(honest(&input, &get(), &BARE), Err(what), "{to}");
    }
}

// ---- labels -----------------------------------------------------------------------------------

#[test]
fn a_repeated_parameter_or_label() {
    let read =
        |input: &str, signature: &str| Signed::read(&[input.as_bytes()], &[signature.as_bytes()]).err();
    let twice = bare(&format!("{};created={NOW}", parameters(NOW, NONCE)));
    assert_eq!(read(&twice, SIGNATURE), Some(Refusal::Malformed("signature-input")));
    let good = bare(&parameters(NOW, NONCE));
    assert_eq!(read(&format!("{good}, {good}"), SIGNATURE), Some(Refusal::Malformed("signature-input")));
    assert_eq!(read(&good, &format!("{SIGNATURE}, {SIGNATURE}")), Some(Refusal::Malformed("signature")));
    let component = good.replace("\"@path\"", "\"@path\";sf;sf");
    assert_eq!(read(&component, SIGNATURE), Some(Refusal::Malformed("signature-input")));
    let lines = [good.as_bytes(), good.as_bytes()];
    let refused = Signed::read(&lines, &[SIGNATURE.as_bytes()]).err();
    assert_eq!(refused, Some(Refusal::Malformed("signature-input")), "in two lines");
    assert_eq!(read(&good, SIGNATURE), None);
}

#[test]
fn two_labels_with_our_tag() {
    let one = bare(&parameters(NOW, NONCE));
    let two = one.replace("sig1=", "sig2=");
    let both = format!("{one}, {two}");
    let signatures = format!("{SIGNATURE}, {}", SIGNATURE.replace("sig1", "sig2"));
    let refused = Signed::read(&[both.as_bytes()], &[signatures.as_bytes()]).err();
    assert_eq!(refused, Some(Refusal::Malformed("tag-twice")));
}

#[test]
fn labels_with_other_tags_are_ignored() {
    let ours = bare(&parameters(NOW, NONCE));
    let others = r#"proxy=("@method");created=1;tag="other", x=()"#;
    let input = format!("{others}, {ours}");
    let signature = format!("x=:AAAA:, {}, proxy=tok;a=1", resign(&ours, &get()));
    assert_eq!(judge(&[&input], &[&signature], &get(), &BARE, Key::Mac(&secret())), Ok(()));
    assert_eq!(
        judge(&[others, &ours], &[&signature], &get(), &BARE, Key::Mac(&secret())),
        Ok(()),
        "in two lines"
    );
    assert_eq!(judge(&[others], &[&signature], &get(), &BARE, Key::Mac(&secret())), Err(Refusal::Missing));
}

#[test]
fn a_label_in_one_header_only() {
    let read = |input: &[&[u8]], signature: &[&[u8]]| Signed::read(input, signature).err();
    let good = bare(&parameters(NOW, NONCE));
    assert_eq!(read(&[], &[]), Some(Refusal::Missing));
    assert_eq!(read(&[], &[SIGNATURE.as_bytes()]), Some(Refusal::Missing));
    let without = Some(Refusal::Malformed("label-without-signature"));
    assert_eq!(read(&[good.as_bytes()], &[]), without);
    assert_eq!(read(&[good.as_bytes()], &[b"sig2=:AAAA:"]), without);
}

#[test]
fn labels_without_end() {
    let many: Vec<_> = (0..100).map(|i| format!("s{i}=()")).collect();
    let read =
        |input: &str, signature: &str| Signed::read(&[input.as_bytes()], &[signature.as_bytes()]).err();
    assert_eq!(read(&many.join(", "), SIGNATURE), Some(Refusal::Malformed("signature-input")));
    assert_eq!(read(&many[..5].join(", "), SIGNATURE), Some(Refusal::Malformed("signature-input")));
    assert_eq!(read(&many[..4].join(", "), SIGNATURE), Some(Refusal::Missing));
    let good = bare(&parameters(NOW, NONCE));
    let signatures: Vec<_> = (0..5).map(|i| format!("s{i}=:AAAA:")).collect();
    assert_eq!(read(&good, &signatures.join(", ")), Some(Refusal::Malformed("signature")));
    assert_eq!(
        read(&format!("{good};x=\"{}\"", "x".repeat(4_096)), SIGNATURE),
        Some(Refusal::Malformed("size"))
    );
}

#[test]
fn what_is_no_signature() {
    let good = bare(&parameters(NOW, NONCE));
    for signature in
        ["sig1=AAAA", "sig1=\"AAAA\"", "sig1=(:AAAA:)", "sig1", "sig1=:AA AA:", "sig1=:AAAA", "sig1=1"]
    {
        let refused = Signed::read(&[good.as_bytes()], &[signature.as_bytes()]).err();
        assert_eq!(refused, Some(Refusal::Malformed("signature")), "{signature}");
    }
    for input in [
        "sig1",
        "sig1=1",
        "sig1=\"x\"",
        "sig1=(1)",
        "sig1=(tok)",
        "sig1=(\"\")",
        "sig1=(\"Content-Type\")",
        "sig1=(\"a b\")",
        "(",
        "sig1=(\"@method\" \"@method\")",
        "SIG=()",
    ] {
        let refused = Signed::read(&[input.as_bytes()], &[SIGNATURE.as_bytes()]).err();
        assert_eq!(refused, Some(Refusal::Malformed("signature-input")), "{input}");
    }
}

// ---- keys and signatures ----------------------------------------------------------------------

#[test]
fn a_mac_of_another_length_or_in_hex() {
    let input = bare(&parameters(NOW, NONCE));
    let label = message::Label::read_all(&[input.as_bytes()]).unwrap().remove(0);
    let mac = secret().sign(&label.base(&get()).unwrap());
    let hex: String = mac.iter().map(|b| format!("{b:02x}")).collect();
    for wrong in [&mac[..31], &[&mac[..], &[0]].concat(), hex.as_bytes(), &[], &[0; 32]] {
        let (_, signature) = message::headers(&label, wrong);
        let refused = judge(&[&input], &[&signature], &get(), &BARE, Key::Mac(&secret()));
        assert_eq!(refused, Err(Refusal::Invalid));
    }
}

#[test]
fn unknown_keys_and_wrong_macs_are_the_same() {
    let input = bare(&parameters(NOW, NONCE));
    let signature = resign(&input, &get());
    let judge = |key: Key<'_>| judge(&[&input], &[&signature], &get(), &BARE, key);
    assert_eq!(judge(Key::Mac(&secret())), Ok(()));
    assert_eq!(judge(Key::Dummy), Err(Refusal::Invalid));
    assert_eq!(judge(Key::Mac(&MacKey::new(&[9; 32]))), Err(Refusal::Invalid));
    // A dummy is never right, even for one who signs with the dummy's own bytes.
    let label = message::Label::read_all(&[input.as_bytes()]).unwrap().remove(0);
    let dummy = MacKey::new(&[0; 32]).sign(&label.base(&get()).unwrap());
    let (_, forged) = message::headers(&label, &dummy);
    assert_eq!(self::judge(&[&input], &[&forged], &get(), &BARE, Key::Dummy), Err(Refusal::Invalid));
}

#[test]
fn public_keys_and_algorithms_that_are_not_theirs() {
    let import = |key: &Signer| {
        let policy = KeyPolicy { algorithms: Algorithms::ALL, ..KeyPolicy::default() };
        VerifyKey::parse(key.jwk().to_string().as_bytes(), &policy).unwrap()
    };
    let keys = [("ed25519", &KEYS.ed, import(&KEYS.ed)), ("ecdsa-p256-sha256", &KEYS.ec, import(&KEYS.ec))];
    for (name, signer, _) in &keys {
        let input = bare(&parameters(NOW, NONCE)).replace("hmac-sha256", name);
        let label = message::Label::read_all(&[input.as_bytes()]).unwrap().remove(0);
        let base = label.base(&get()).unwrap();
        let (_, signature) = message::headers(&label, &signer.sign("", &base));
        for (other, _, key) in &keys {
            let verdict = judge(&[&input], &[&signature], &get(), &BARE, Key::Public(key));
            assert_eq!(verdict.is_ok(), other == name, "{name} {other}");
        }
        for key in [Key::Dummy, Key::Mac(&secret())] {
            assert_eq!(judge(&[&input], &[&signature], &get(), &BARE, key), Err(Refusal::Invalid));
        }
        for length in [63, 65] {
            let mut bytes = signer.sign("", &base);
            bytes.resize(length, 0);
            let (_, signature) = message::headers(&label, &bytes);
            assert_eq!(
                judge(&[&input], &[&signature], &get(), &BARE, Key::Public(&keys[0].2)),
                Err(Refusal::Invalid)
            );
        }
    }
    // The public key's text as HMAC secret: `alg` never selects.
    let input = bare(&parameters(NOW, NONCE));
    assert_eq!(judge(&[&input], &[SIGNATURE], &get(), &BARE, Key::Public(&keys[0].2)), Err(Refusal::Invalid));
}

// ---- coverage ---------------------------------------------------------------------------------

fn covering(components: &str, request: &Received, demands: &Demands<'_>) -> Result<(), Refusal> {
    let input = format!("sig1=({components}){}", parameters(NOW, NONCE));
    let label = message::Label::read_all(&[input.as_bytes()]).unwrap().remove(0);
    let signature = match label.base(request) {
        Ok(base) => message::headers(&label, &secret().sign(&base)).1,
        Err(_) => SIGNATURE.to_owned(),
    };
    judge(&[&input], &[&signature], request, demands, Key::Mac(&secret()))
}

#[test]
fn what_must_be_covered() {
    let cover = |components: &str| covering(components, &get(), &BARE);
    assert_eq!(cover(r#""@method" "@authority" "@path" "@query""#), Ok(()));
    assert_eq!(cover(r#""@method" "@target-uri""#), Ok(()));
    assert_eq!(cover(r#""@target-uri" "@scheme" "@request-target" "@method" "@path""#), Ok(()));
    assert_eq!(cover(""), Err(Refusal::Coverage("@method")), "the default of some libraries covers nothing");
    assert_eq!(cover(r#""@authority" "@path" "@query""#), Err(Refusal::Coverage("@method")));
    for partial in [
        r#""@method""#,
        r#""@method" "@path" "@query""#,
        r#""@method" "@authority" "@path""#,
        r#""@method" "@request-target""#,
    ] {
        assert_eq!(cover(partial), Err(Refusal::Coverage("target")), "{partial}");
    }
    assert_eq!(
        cover(r#""@method";sf "@target-uri""#),
        Err(Refusal::Coverage("@method")),
        "with a parameter it is another"
    );
}

#[test]
fn a_body_and_its_digest() {
    let post = request();
    let bare = r#""@method" "@target-uri""#;
    assert_eq!(covering(bare, &post, &WITH_BODY), Err(Refusal::Coverage("body")));
    assert_eq!(
        covering(&format!("{bare} \"content-digest\""), &post, &WITH_BODY),
        Err(Refusal::Coverage("body"))
    );
    assert_eq!(
        covering(&format!("{bare} \"content-digest\";sf \"content-type\""), &post, &WITH_BODY),
        Err(Refusal::Coverage("body"))
    );
    assert_eq!(covering(&format!("{bare} \"content-digest\" \"content-type\""), &post, &WITH_BODY), Ok(()));
    let untyped = received("POST", "/", vec![fields().remove(1)]);
    let all = format!("{bare} \"content-digest\" \"content-type\"");
    assert_eq!(covering(&all, &untyped, &WITH_BODY), Err(Refusal::Coverage("component-absent")));
}

#[test]
fn authorization_and_the_apis_own_fields() {
    let with = |fields| received("GET", "/", fields);
    let bearer = with(vec![("Authorization", "Bearer x".to_owned())]);
    let bare = r#""@method" "@target-uri""#;
    assert_eq!(covering(bare, &bearer, &BARE), Err(Refusal::Coverage("authorization")));
    assert_eq!(covering(&format!("{bare} \"authorization\""), &bearer, &BARE), Ok(()));
    let demands = Demands { body: false, fields: &["idempotency-key"] };
    assert_eq!(covering(bare, &get(), &demands), Err(Refusal::Coverage("cover")));
    let covered = format!("{bare} \"idempotency-key\"");
    assert_eq!(covering(&covered, &get(), &demands), Err(Refusal::Coverage("component-absent")));
    assert_eq!(covering(&covered, &with(vec![("Idempotency-Key", "k-1".to_owned())]), &demands), Ok(()));
}

#[test]
fn components_that_are_refused() {
    for component in [
        r#""@status""#,
        r#""@query-param";name="a""#,
        r#""@query-params""#,
        r#""@made-up""#,
        r#""@signature-params""#,
        r#""@path";req"#,
        r#""content-type";req"#,
        r#""content-type";tr"#,
        r#""content-type";sf"#,
        r#""content-type";key="a""#,
        r#""content-digest";key="sha-512""#,
        r#""content-digest";sf=?0"#,
        r#""content-digest";sf;bs"#,
        r#""content-digest";bs;key="sha-256""#,
        r#""content-digest";made-up"#,
        r#""absent""#,
    ] {
        let refused = covering(&format!(r#""@method" "@target-uri" {component}"#), &request(), &BARE);
        assert!(matches!(refused, Err(Refusal::Coverage(_))), "{component} {refused:?}");
    }
    let many: Vec<_> = (0..31).map(|i| format!("\"x-{i}\"")).collect();
    let refused = covering(&format!(r#""@method" "@target-uri" {}"#, many.join(" ")), &get(), &BARE);
    assert_eq!(refused, Err(Refusal::Coverage("too-many")));
}

#[test]
fn structured_components() {
    let base = |component: &str| {
        let input = format!("sig1=({component})");
        let label = message::Label::read_all(&[input.as_bytes()]).unwrap().remove(0);
        let fields = vec![
            ("Priority", " u=1 ,  i ".to_owned()),
            ("Content-Digest", "sha-256=:AAAA:;a,  x=(1   2)".to_owned()),
            ("X-Lines", "a, b".to_owned()),
            ("X-Lines", "\t c  ".to_owned()),
            ("X-Empty", "  ".to_owned()),
        ];
        let base = label.base(&received("GET", "/", fields)).unwrap();
        let text = String::from_utf8(base).unwrap();
        text.lines().next().unwrap().split_once(": ").unwrap().1.to_owned()
    };
    assert_eq!(base(r#""priority";sf"#), "u=1, i");
    assert_eq!(base(r#""priority""#), "u=1 ,  i");
    assert_eq!(base(r#""priority";key="i""#), "?1");
    assert_eq!(base(r#""content-digest";key="x""#), "(1 2)");
    assert_eq!(base(r#""content-digest";key="sha-256";sf"#), ":AAAA:;a");
    assert_eq!(base(r#""x-lines""#), "a, b, c");
    assert_eq!(base(r#""x-lines";bs"#), ":YSwgYg==:, :Yw==:", "two lines are not one with a comma");
    assert_eq!(base(r#""x-empty""#), "");
}

// ---- the request that was signed, and no other ------------------------------------------------

#[test]
fn the_path_and_query_are_signed_as_they_are() {
    let input = bare(&parameters(NOW, NONCE));
    let signed = received("GET", "/a/b?x=1&y=2", Vec::new());
    let signature = resign(&input, &signed);
    let judge = |request: &Received| judge(&[&input], &[&signature], request, &BARE, Key::Mac(&secret()));
    assert_eq!(judge(&signed), Ok(()));
    for target in [
        "/a%2Fb?x=1&y=2",
        "/a//b?x=1&y=2",
        "/a/./b?x=1&y=2",
        "/a/b/?x=1&y=2",
        "/%61/b?x=1&y=2",
        "/A/b?x=1&y=2",
        "/a/b?y=2&x=1",
        "/a/b?x=1&y=2&",
        "/a/b?x=1&x=1&y=2",
        "/a/b?x=%31&y=2",
        "/a/b",
        "/a/b?",
        "/a/b?x=1&y=2?",
        "/a/b?x=1;y=2",
    ] {
        assert_eq!(judge(&received("GET", target, Vec::new())), Err(Refusal::Invalid), "{target}");
    }
    assert_eq!(judge(&received("HEAD", "/a/b?x=1&y=2", Vec::new())), Err(Refusal::Invalid));
    assert_eq!(judge(&received("get", "/a/b?x=1&y=2", Vec::new())), Err(Refusal::Invalid));
    let at = |tls, authority: &str| {
        Received::new("GET", tls, authority, "/a/b?x=1&y=2", Vec::<(String, String)>::new())
    };
    assert_eq!(judge(&at(true, "API.example.com:443")), Ok(()), "lower case, default port removed");
    for authority in ["api.example.com:8443", "api.example.com.", "api.example.org", "api.example.com:80"] {
        assert_eq!(judge(&at(true, authority)), Err(Refusal::Invalid), "{authority}");
    }
    assert_eq!(
        judge(&Received::new(
            "GET",
            true,
            "api.example.com",
            "https://api.example.com/a/b?x=1&y=2",
            Vec::<(String, String)>::new()
        )),
        Ok(()),
        "absolute form"
    );
}

#[test]
fn a_bare_question_mark_is_no_other_than_no_query() {
    // RFC 9421 § 2.2.7 writes both as `?`; `@target-uri` tells them apart.
    let bare_input = bare(&parameters(NOW, NONCE));
    let signature = resign(&bare_input, &received("GET", "/a", Vec::new()));
    let verdict = |input: &str, signature: &str| {
        judge(&[input], &[signature], &received("GET", "/a?", Vec::new()), &BARE, Key::Mac(&secret()))
    };
    assert_eq!(verdict(&bare_input, &signature), Ok(()));
    let uri = format!(r#"sig1=("@method" "@target-uri"){}"#, parameters(NOW, NONCE));
    let signature = resign(&uri, &received("GET", "/a", Vec::new()));
    assert_eq!(verdict(&uri, &signature), Err(Refusal::Invalid));
}

#[test]
fn plus_and_percent_20_are_not_the_same() {
    let input = bare(&parameters(NOW, NONCE));
    let signature = resign(&input, &received("GET", "/?q=a+b", Vec::new()));
    let other = received("GET", "/?q=a%20b", Vec::new());
    assert_eq!(judge(&[&input], &[&signature], &other, &BARE, Key::Mac(&secret())), Err(Refusal::Invalid));
}

#[test]
fn covered_headers_swapped_added_or_reordered() {
    let input = format!(r#"sig1=("@method" "@target-uri" "x-a" "x-b"){}"#, parameters(NOW, NONCE));
    let with = |fields: &[(&'static str, &str)]| {
        received("GET", "/", fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect())
    };
    let signed = with(&[("X-A", "1"), ("X-A", "2"), ("X-B", "3"), ("X-C", "free")]);
    let signature = resign(&input, &signed);
    let judge = |request: &Received| judge(&[&input], &[&signature], request, &BARE, Key::Mac(&secret()));
    for same in [
        with(&[("X-A", "1"), ("X-A", "2"), ("X-B", "3"), ("X-C", "other")]),
        with(&[("x-b", "3"), ("x-a", " 1"), ("X-a", "2\t")]),
        with(&[("X-A", "1, 2"), ("X-B", "3")]),
    ] {
        assert_eq!(judge(&same), Ok(()));
    }
    for other in [
        with(&[("X-A", "2"), ("X-A", "1"), ("X-B", "3")]),
        with(&[("X-A", "1"), ("X-A", "2"), ("X-B", "4")]),
        with(&[("X-A", "1"), ("X-A", "2"), ("X-A", "2"), ("X-B", "3")]),
        with(&[("X-A", "1"), ("X-B", "3")]),
        with(&[("X-A", "3"), ("X-B", "1, 2")]),
    ] {
        assert_eq!(judge(&other), Err(Refusal::Invalid));
    }
    assert_eq!(judge(&with(&[("X-A", "1, 2")])), Err(Refusal::Coverage("component-absent")));
    // A value that brings its own line would be a component that nobody covered.
    let broken = with(&[("X-A", "1, 2\n\"x-b\": 3"), ("X-B", "3")]);
    assert_eq!(judge(&broken), Err(Refusal::Coverage("line-break")));
}

#[test]
fn every_byte_of_the_signed_request_counts() {
    let base_target = TARGET.as_bytes();
    for at in 1..base_target.len() {
        for flip in [0x01, 0x20] {
            let mut target = base_target.to_vec();
            target[at] ^= flip;
            let target = String::from_utf8(target).unwrap();
            let request = received("POST", &target, fields());
            let refused = judge(&[INPUT], &[SIGNATURE], &request, &WITH_BODY, Key::Mac(&secret()));
            assert_eq!(refused, Err(Refusal::Invalid), "{target}");
        }
    }
}

// ---- PC1 --------------------------------------------------------------------------------------

fn pc1(header: &str, request: &Received, body: bool) -> Result<(), Refusal> {
    let pc1 = Pc1::read(&[header.as_bytes()])?;
    pc1.fresh(NOW, None)?;
    pc1.covers(request, body)?;
    pc1.verify(Some(&secret()), request)
}

fn pc1_header(request: &Received, body: Option<&[u8]>) -> String {
    pc1::header(request, &secret(), Id16::parse(ID).unwrap(), NOW, NONCE, body)
}

#[test]
fn pc1_has_exactly_one_form() {
    let good = pc1_header(&request(), Some(BODY.as_bytes()));
    assert_eq!(pc1(&good, &request(), true), Ok(()));
    let parsed = Pc1::read(&[good.as_bytes()]).unwrap();
    assert_eq!((parsed.key_id().as_str(), parsed.nonce(), parsed.created()), (ID, NONCE, NOW));
    let mut check = parsed.digests().unwrap().check();
    check.update(BODY.as_bytes());
    assert!(check.finish());
    let swap = |from: &str, to: &str| good.replacen(from, to, 1);
    for wrong in [
        String::new(),
        swap("v1;", "v2;"),
        swap("v1;", ""),
        swap(";t=", ";T="),
        swap("v1;", "v1; "),
        swap(&format!("t={NOW}"), &format!("t=0{NOW}")),
        swap(&format!("t={NOW}"), &format!("t=+{NOW}")),
        swap(&format!("t={NOW}"), "t=-5"),
        swap(&format!("t={NOW}"), "t="),
        swap(&format!("t={NOW}"), "t=9999999999999"),
        swap(&format!("t={NOW};n={NONCE}"), &format!("n={NONCE};t={NOW}")),
        swap(NONCE, "short"),
        swap(ID, &ID.to_uppercase()),
        swap(ID, "008j4ct4ank7f24"),
        swap("b=3192a7", "b=3192A7"),
        swap("b=3192a7", "b=3192a"),
        swap(";s=f1", ";s=F1"),
        swap(";s=f1", ";s="),
        format!("{good};x=1"),
        format!("{good};"),
        format!(" {good}"),
        good.replacen(";b=", ";b=;b=", 1),
        good.split(";s=").next().unwrap().to_owned(),
    ] {
        let refused = pc1(&wrong, &request(), true);
        assert!(matches!(refused, Err(Refusal::Malformed(_))), "{wrong} {refused:?}");
    }
    assert_eq!(Pc1::read(&[]).err(), Some(Refusal::Missing));
    assert_eq!(Pc1::read(&[good.as_bytes(), good.as_bytes()]).err(), Some(Refusal::Malformed("pc1-twice")));
    assert!(matches!(Pc1::read(&[b"\xff"]).err(), Some(Refusal::Malformed(_))));
}

#[test]
fn pc1_signs_what_is_on_the_wire() {
    let good = pc1_header(&request(), Some(BODY.as_bytes()));
    let judge = |request: &Received| pc1(&good, request, true);
    for other in [
        received("PUT", TARGET, fields()),
        received("POST", "/v1/transfers?dry=/true&dry=0", fields()),
        received("POST", "/v1/transfers?dry=0&dry=%2Ftrue", fields()),
        received("POST", "/v1//transfers?dry=%2Ftrue&dry=0", fields()),
        received("POST", TARGET, vec![("Content-Type", "text/plain".to_owned())]),
        received("POST", TARGET, Vec::new()),
        Received::new("POST", true, "api.example.org", TARGET, fields()),
    ] {
        assert_eq!(judge(&other), Err(Refusal::Invalid));
    }
    let padded = received("POST", TARGET, vec![("content-type", "  application/json\t".to_owned())]);
    assert_eq!(judge(&padded), Ok(()));
    assert_eq!(
        Pc1::read(&[good.as_bytes()]).unwrap().verify(None, &request()),
        Err(Refusal::Invalid),
        "no key"
    );
    let forged = received("POST", "/v1", vec![("Content-Type", "a\nb".to_owned())]);
    assert_eq!(judge(&forged), Err(Refusal::Coverage("line-break")));
}

#[test]
fn pc1_window_body_and_authorization() {
    let get = received("GET", "/", Vec::new());
    let at =
        |time| pc1(&pc1::header(&get, &secret(), Id16::parse(ID).unwrap(), time, NONCE, None), &get, false);
    assert_eq!((at(NOW - 300), at(NOW + 30)), (Ok(()), Ok(())));
    assert_eq!((at(NOW - 301), at(NOW + 31)), (Err(Refusal::Stale), Err(Refusal::Stale)));
    let without = pc1_header(&request(), None);
    assert_eq!(pc1(&without, &request(), true), Err(Refusal::Coverage("body")));
    assert_eq!(pc1(&without, &request(), false), Ok(()));
    let bearer = received("GET", "/", vec![("Authorization", "Bearer x".to_owned())]);
    assert_eq!(pc1(&pc1_header(&bearer, None), &bearer, false), Err(Refusal::Coverage("authorization")));
    let with_empty = pc1_header(&get, Some(b""));
    assert!(with_empty.contains(";b=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855;"));
    assert_eq!(pc1(&with_empty, &get, false), Ok(()));
}
