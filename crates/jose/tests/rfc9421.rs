//! The examples of RFC 9421 appendix B: our bases carry its signatures. The profile refuses most of
//! them for coverage, and says so.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use portcullis_jose::alg::{Algorithm, Algorithms};
use portcullis_jose::jwk::{KeyPolicy, VerifyKey};
use portcullis_jose::mac::MacKey;
use portcullis_jose::message::{Label, Received, Refusal, Signed};
use serde_json::{Value, json};

const DIGEST: &str =
    "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";
const CERT: &str = ":MIIBqDCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjA6MRswGQYDVQQKDBJMZXQncyBBdXRoZW50aWNhdGUxGzAZBgNVBAMMEkxBIEludGVybWVkaWF0ZSBDQTAeFw0yMDAxMTQyMjU1MzNaFw0yMTAxMjMyMjU1MzNaMA0xCzAJBgNVBAMMAkJDMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8YnXXfaUgmnMtOXU/IncWalRhebrXmckC8vdgJ1p5Be5F/3YC8OthxM4+k1M6aEAEFcGzkJiNy6J84y7uzo9M6NyMHAwCQYDVR0TBAIwADAfBgNVHSMEGDAWgBRm3WjLa38lbEYCuiCPct0ZaSED2DAOBgNVHQ8BAf8EBAMCBsAwEwYDVR0lBAwwCgYIKwYBBQUHAwIwHQYDVR0RAQH/BBMwEYEPYmRjQGV4YW1wbGUuY29tMAoGCCqGSM49BAMCA0gAMEUCIBHda/r1vaL6G3VliL4/Di6YK0Q6bMjeSkC3dFCOOB8TAiEAx/kHSB4urmiZ0NX5r5XarmPk0wmuydBVoU4hBVZ1yhk=:";

/// `test-request` of B.2.
fn test_request() -> Received {
    Received::new(
        "POST",
        true,
        "example.com",
        "/foo?param=Value&Pet=dog",
        [
            ("Host", "example.com"),
            ("Date", "Tue, 20 Apr 2021 02:07:55 GMT"),
            ("Content-Type", "application/json"),
            ("Content-Digest", DIGEST),
            ("Content-Length", "18"),
        ],
    )
}

fn base(input: &str, request: &Received) -> Result<String, Refusal> {
    let label = Label::read_all(&[input.as_bytes()]).unwrap().remove(0);
    label.base(request).map(|base| String::from_utf8(base).unwrap())
}

fn key(jwk: Value) -> VerifyKey {
    let policy = KeyPolicy { algorithms: Algorithms::ALL, ..KeyPolicy::default() };
    VerifyKey::parse(jwk.to_string().as_bytes(), &policy).unwrap()
}

fn base64(text: &str) -> Vec<u8> {
    portcullis_jose::b64u::decode(text.replace('+', "-").replace('/', "_").trim_end_matches('=')).unwrap()
}

/// `test-key-rsa-pss`; rsa-pss-sha512 is PS512.
fn rsa_pss(base: &str, signature: &str) -> bool {
    let key = key(json!({
        "kty": "RSA", "e": "AQAB",
        "n": "r4tmm3r20Wd_PbqvP1s2-QEtvpuRaV8Yq40gjUR8y2Rjxa6dpG2GXHbPfvMs8ct-Lh1GH45x28Rw3Ry53mm-oAXjyQ86OnDkZ5N8lYbggD4O3w6M6pAvLkhk95AndTrifbIFPNU8PPMO7OyrFAHqgDsznjPFmTOtCEcN2Z1FpWgchwuYLPL-Wokqltd11nqqzi-bJ9cvSKADYdUAAN5WUtzdpiy6LbTgSxP7ociU4Tn0g5I6aDZJ7A8Lzo0KSyZYoA485mqcO0GVAdVw9lq4aOT9v6d-nb4bnNkQVklLQ3fVAvJm-xdDOp9LCNCN48V2pnDOkFV6-U9nV5oyc6XI2w"
    }));
    key.verify(Algorithm::Ps512, base.as_bytes(), &base64(signature)).is_ok()
}

fn profile(input: &str) -> Option<Refusal> {
    Signed::read(&[input.as_bytes()], &[b"x=:AAAA:"]).err()
}

#[test]
fn b_2_1_minimal() {
    let input = r#"sig-b21=();created=1618884473;keyid="test-key-rsa-pss";nonce="b3k2pp5k7z-50gnwp.yemd""#;
    let base = base(input, &test_request()).unwrap();
    assert_eq!(
        base,
        r#""@signature-params": ();created=1618884473;keyid="test-key-rsa-pss";nonce="b3k2pp5k7z-50gnwp.yemd""#
    );
    assert!(rsa_pss(
        &base,
        "d2pmTvmbncD3xQm8E9ZV2828BjQWGgiwAaw5bAkgibUopemLJcWDy/lkbbHAve4cRAtx31Iq786U7it++wgGxbtRxf8Udx7zFZsckzXaJMkA7ChG52eSkFxykJeNqsrWH5S+oxNFlD4dzVuwe8DhTSja8xxbR/Z2cOGdCbzR72rgFWhzx2VjBqJzsPLMIQKhO4DGezXehhWwE56YCE+O6c0mKZsfxVrogUvA4HELjVKWmAvtl6UnCh8jYzuVG5WSb/QEVPnP5TmcAnLH1g+s++v6d4s8m0gCw1fV5/SITLq9mhho8K3+7EPYTU8IU1bLhdxO5Nyt8C8ssinQ98Xw9Q=="
    ));
    assert_eq!(profile(input), Some(Refusal::Missing), "not our tag");
    let ours = input.replace("50gnwp.yemd", "50gnwp-yemd") + r#";alg="hmac-sha256";tag="portcullis-v1""#;
    let signed = Signed::read(&[ours.as_bytes()], &[b"sig-b21=:AAAA:"]).unwrap();
    assert_eq!(signed.covers(&test_request(), &Default::default()), Err(Refusal::Coverage("@method")));
}

#[test]
fn b_2_2_covers_a_query_parameter_which_is_refused() {
    let input = r#"sig-b22=("@authority" "content-digest" "@query-param";name="Pet");created=1618884473;keyid="test-key-rsa-pss";tag="header-example""#;
    assert_eq!(base(input, &test_request()), Err(Refusal::Coverage("component-parameter")));
    assert_eq!(profile(input), Some(Refusal::Missing));
}

#[test]
fn b_2_3_full_coverage() {
    let input = r#"sig-b23=("date" "@method" "@path" "@query" "@authority" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-rsa-pss""#;
    let base = base(input, &test_request()).unwrap();
    assert_eq!(
        base,
        format!(
            "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n\"@method\": POST\n\"@path\": /foo\n\
             \"@query\": ?param=Value&Pet=dog\n\"@authority\": example.com\n\"content-type\": application/json\n\
             \"content-digest\": {DIGEST}\n\"content-length\": 18\n\"@signature-params\": {}",
            input.strip_prefix("sig-b23=").unwrap()
        )
    );
    assert!(rsa_pss(
        &base,
        "bbN8oArOxYoyylQQUU6QYwrTuaxLwjAC9fbY2F6SVWvh0yBiMIRGOnMYwZ/5MR6fb0Kh1rIRASVxFkeGt683+qRpRRU5p2voTp768ZrCUb38K0fUxN0O0iC59DzYx8DFll5GmydPxSmme9v6ULbMFkl+V5B1TP/yPViV7KsLNmvKiLJH1pFkh/aYA2HXXZzNBXmIkoQoLd7YfW91kE9o/CCoC1xMy7JA1ipwvKvfrs65ldmlu9bpG6A9BmzhuzF8Eim5f8ui9eH8LZH896+QIF61ka39VBrohr9iyMUJpvRX2Zbhl5ZJzSRxpJyoEZAFL2FUo5fTIztsDZKEgM4cUA=="
    ));
}

#[test]
fn b_2_5_hmac() {
    let input =
        r#"sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret""#;
    let base = base(input, &test_request()).unwrap();
    assert_eq!(
        base,
        "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n\"@authority\": example.com\n\"content-type\": application/json\n\
         \"@signature-params\": (\"date\" \"@authority\" \"content-type\");created=1618884473;keyid=\"test-shared-secret\""
    );
    let secret =
        base64("uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==");
    let mac = base64("pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=");
    assert!(MacKey::new(&secret).verify(base.as_bytes(), &mac));
}

#[test]
fn b_2_6_ed25519() {
    let input = r#"sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519""#;
    let key =
        key(json!({"kty": "OKP", "crv": "Ed25519", "x": "JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs"}));
    let base = base(input, &test_request()).unwrap();
    let signature =
        base64("wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==");
    assert!(key.verify(Algorithm::EdDsa, base.as_bytes(), &signature).is_ok());
}

#[test]
fn b_3_behind_a_proxy() {
    let request = Received::new(
        "POST",
        true,
        "service.internal.example",
        "/foo?param=Value&Pet=dog",
        [("Host", "service.internal.example"), ("Client-Cert", CERT)],
    );
    let input = r#"ttrp=("@path" "@query" "@method" "@authority" "client-cert");created=1618884473;keyid="test-key-ecc-p256""#;
    let text = base(input, &request).unwrap();
    assert_eq!(
        text,
        format!(
            "\"@path\": /foo\n\"@query\": ?param=Value&Pet=dog\n\"@method\": POST\n\
             \"@authority\": service.internal.example\n\"client-cert\": {CERT}\n\"@signature-params\": {}",
            input.strip_prefix("ttrp=").unwrap()
        )
    );
    let key = key(json!({
        "kty": "EC", "crv": "P-256",
        "x": "qIVYZVLCrPZHGHjP17CTW0_-D9Lfw0EkjqF7xB4FivA",
        "y": "Mc4nN9LTDOBhfoUeg8Ye9WedFRhnZXZJA12Qp0zZ6F0"
    }));
    let signature =
        base64("xVMHVpawaAC/0SbHrKRs9i8I3eOs5RtTMGCWXm/9nvZzoHsIg6Mce9315T6xoklyy0yzhD9ah4JHRwMLOgmizw==");
    assert!(key.verify(Algorithm::Es256, text.as_bytes(), &signature).is_ok());
    let strict = base(&input.replace("\"client-cert\"", "\"client-cert\";sf"), &request).unwrap();
    assert!(strict.contains(&format!("\"client-cert\";sf: {CERT}\n")));
}
