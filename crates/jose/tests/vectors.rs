//! Public vectors, read in place: Wycheproof, the JOSE cookbook, RFC 7515, structured fields.

mod common;

use common::{hex, vector_json, vectors};
use portcullis_jose::alg::{Algorithm, Algorithms};
use portcullis_jose::json::{Json, Limits};
use portcullis_jose::jwk::{KeyPolicy, VerifyKey};
use portcullis_jose::jws::{Compact, EmbeddedKey};
use portcullis_jose::mac::MacKey;
use serde_json::{Value, json};

fn all() -> KeyPolicy {
    KeyPolicy { algorithms: Algorithms::ALL, ..KeyPolicy::default() }
}

fn import(jwk: &Value) -> Option<VerifyKey> {
    VerifyKey::parse(jwk.to_string().as_bytes(), &all()).ok()
}

/// The raw JWS function: shape, header, signature. Payloads of vectors need not be claims.
fn verify(jws: &str, key: &VerifyKey) -> bool {
    Compact::open(jws, EmbeddedKey::Refused).and_then(|compact| compact.verify(key)).is_ok()
}

#[test]
fn wycheproof_json_web_signature() {
    let Some(file) = vector_json("wycheproof/json_web_signature_test.json") else { return };
    let (mut judged, mut accepted, mut narrower) = (0, 0, Vec::new());
    for group in file["testGroups"].as_array().unwrap() {
        let public = &group["public"];
        let key = if public.is_null() { None } else { import(public) };
        // Keys that cannot be represented here: HMAC, P-521 (which the vectors call ES521), encryption.
        let foreign = public.is_null()
            || public["crv"] == "P-521"
            || public["use"] == "enc"
            || public["key_ops"] == json!(["encrypt"]);
        assert_eq!(key.is_none(), foreign, "{public}");
        for test in group["tests"].as_array().unwrap() {
            let jws = test["jws"].as_str().map_or_else(|| test["jws"].to_string(), str::to_owned);
            let got = key.as_ref().is_some_and(|key| verify(&jws, key));
            let valid = test["result"] == "valid";
            judged += 1;
            accepted += usize::from(got);
            assert!(valid || !got, "{} {} accepted", test["tcId"], test["comment"]);
            if valid && !got && !foreign {
                narrower.push((test["tcId"].as_u64().unwrap(), test["comment"].as_str().unwrap().to_owned()));
            }
        }
    }
    // Valid by RFC 7515 and refused here, each for a rule of ours: a JWT has no empty payload, and a
    // key whose `alg` is PS256 does not verify PS384.
    narrower.retain(|(_, comment)| comment != "emptyPayload");
    assert_eq!(narrower, [(346, "Figure20".to_owned()), (350, "Figure20".to_owned())]);
    assert_eq!(judged, file["numberOfTests"].as_u64().unwrap());
    assert!(accepted > 20, "{accepted}");
}

#[test]
fn wycheproof_primitives_through_our_keys() {
    let parts = [
        ("wycheproof/ecdsa_secp256r1_sha256_p1363_test.json", "publicKeyJwk", Algorithm::Es256),
        ("wycheproof/rsa_signature_2048_sha256_test.json", "keyJwk", Algorithm::Rs256),
        ("wycheproof/ed25519_test.json", "publicKeyJwk", Algorithm::EdDsa),
    ];
    for (path, jwk, algorithm) in parts {
        let Some(file) = vector_json(path) else { return };
        let (mut judged, mut accepted) = (0, 0);
        for group in file["testGroups"].as_array().unwrap() {
            let jwk = &group[jwk];
            if jwk.is_null() {
                continue;
            }
            let key = import(jwk);
            assert_eq!(key.is_none(), jwk["e"] == "Aw", "an exponent of 3 is the one thing refused");
            for test in group["tests"].as_array().unwrap() {
                let text = |name: &str| hex(test[name].as_str().unwrap());
                let got =
                    key.as_ref().is_some_and(|k| k.verify(algorithm, &text("msg"), &text("sig")).is_ok());
                let wanted = test["result"] == "valid" && key.is_some();
                judged += 1;
                accepted += usize::from(got);
                assert!(got == wanted || test["result"] == "acceptable", "{path} {}", test["tcId"]);
            }
        }
        assert!(judged > 50 && accepted > 0, "{path}: {judged} judged, {accepted} accepted");
    }
}

#[test]
fn wycheproof_hmac() {
    let Some(file) = vector_json("wycheproof/hmac_sha256_test.json") else { return };
    let mut judged = 0;
    for group in file["testGroups"].as_array().unwrap() {
        // We compare whole MACs only: the truncated ones are refused.
        let whole = group["tagSize"] == 256;
        for test in group["tests"].as_array().unwrap() {
            let text = |name: &str| hex(test[name].as_str().unwrap());
            let got = MacKey::new(&text("key")).verify(&text("msg"), &text("tag"));
            assert_eq!(got, whole && test["result"] == "valid", "{}", test["tcId"]);
            judged += 1;
        }
    }
    assert!(judged > 100, "{judged}");
}

#[test]
fn the_jose_cookbook() {
    for (path, accepted) in [
        ("jose-cookbook/4_1.rsa_v15_signature.json", true),
        ("jose-cookbook/4_2.rsa-pss_signature.json", true),
        ("jose-cookbook/4_3.ecdsa_signature.json", false),
        ("jose-cookbook/4_4.hmac-sha2_integrity_protection.json", false),
    ] {
        let Some(file) = vector_json(path) else { return };
        let compact = file["output"]["compact"].as_str().unwrap();
        let mut jwk = file["input"]["key"].clone();
        assert!(import(&jwk).is_none(), "{path}: the private key is refused");
        for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            jwk.as_object_mut().unwrap().remove(private);
        }
        let got = import(&jwk).is_some_and(|key| verify(compact, &key));
        assert_eq!(got, accepted, "{path}");
        if accepted {
            let pinned = common::with(jwk, json!({"alg": "ES256"}));
            assert!(import(&pinned).is_none());
        }
    }
    for (path, usable) in [
        ("jose-cookbook/3_1.ec_public_key.json", false), // P-521
        ("jose-cookbook/3_2.ec_private_key.json", false),
        ("jose-cookbook/3_3.rsa_public_key.json", true),
        ("jose-cookbook/3_4.rsa_private_key.json", false),
    ] {
        let Some(jwk) = vector_json(path) else { return };
        assert_eq!(import(&jwk).is_some(), usable, "{path}");
    }
}

#[test]
fn rfc_7515_appendix_a() {
    // A.3: ES256, payload with CR LF inside.
    let es256 = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    let key = import(&json!({
        "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
    }))
    .unwrap();
    assert!(verify(es256, &key));
    assert!(!verify(&es256.replace("eyJpc3M", "eyJpc3N"), &key));
    // A.2: RS256.
    let rs256 = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    let key = import(&json!({
        "kty": "RSA", "e": "AQAB",
        "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
    }))
    .unwrap();
    assert!(verify(rs256, &key));
    // A.1 (HS256) and A.5 (none) cannot be represented; A.4 is ES512.
    for jws in [
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        "eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.",
        "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn",
    ] {
        assert!(Compact::open(jws, EmbeddedKey::Refused).is_err());
    }
}

#[test]
fn rfc_8037_appendix_a_4() {
    let key = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let jws = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert!(verify(jws, &import(&key).unwrap()));
}

#[test]
fn structured_fields() {
    let Some(folder) = vectors("structured-fields") else { return };
    let (mut judged, mut failed) = (0, Vec::new());
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "json") {
            continue;
        }
        let cases: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for case in cases.as_array().unwrap() {
            let raw: Vec<&str> =
                case["raw"].as_array().unwrap().iter().map(|l| l.as_str().unwrap()).collect();
            let joined = raw.join(", ");
            let parser = sfv::Parser::new(&joined);
            let got = match case["header_type"].as_str().unwrap() {
                "dictionary" => parser.parse::<sfv::Dictionary>().map(|d| sfv::FieldType::serialize(&d)),
                "list" => parser.parse::<sfv::List>().map(|l| sfv::FieldType::serialize(&l)),
                _ => parser.parse::<sfv::Item>().map(|i| Some(sfv::FieldType::serialize(&i))),
            };
            judged += 1;
            let name = format!("{}: {}", path.file_name().unwrap().display(), case["name"]);
            match (got, case["must_fail"] == true, case["can_fail"] == true) {
                (Ok(_), true, _) | (Err(_), false, false) => failed.push(name),
                (Ok(text), false, _) => {
                    let canonical = case["canonical"].as_array().map_or_else(
                        || joined.clone(),
                        |lines| lines.iter().map(|l| l.as_str().unwrap()).collect::<Vec<_>>().join(", "),
                    );
                    if text.unwrap_or_default() != canonical {
                        failed.push(name);
                    }
                }
                (Err(_), ..) => {}
            }
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
    assert!(judged > 1_000, "{judged}");
}

/// JSONTestSuite: nothing that must be refused is taken; what must be taken is, but for our own rules.
#[test]
fn json_test_suite() {
    let Some(folder) = vectors("json/test_parsing") else { return };
    let limits = Limits { bytes: 1 << 20, depth: 64, members: 4_096, string: 1 << 20 };
    let (mut judged, mut narrower) = (0, Vec::new());
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let bytes = std::fs::read(&path).unwrap();
        // The top level must be an object here: the case stands inside one too.
        let wrapped = [b"{\"k\":".as_slice(), &bytes, b"}"].concat();
        let taken = Json::parse(wrapped, &limits).is_ok();
        judged += 1;
        if name.starts_with("n_") {
            assert!(!taken && Json::parse(bytes, &limits).is_err(), "{name}");
        } else if name.starts_with("y_") && !taken {
            narrower.push(name);
        }
    }
    narrower.sort();
    assert_eq!(narrower, ["y_object_duplicated_key", "y_object_duplicated_key_and_value"]);
    assert!(judged > 250, "{judged}");
}
