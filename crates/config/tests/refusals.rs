//! What the compiler refuses, as people see it. Each case names the codes that must come; the whole text is a
//! snapshot, so that no message changes unseen.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::*;

/// Name, codes of the errors, configuration beside `common::SPEC`.
type Case = (&'static str, &'static [&'static str], &'static str);

fn judge(snapshot: &str, cases: &[Case]) {
    let (mut shown, mut wrong) = (String::new(), String::new());
    for (name, codes, config) in cases {
        let folder =
            Folder::with(&[("portcullis.yaml", config), ("shop.yaml", SPEC), ("key.txt", "not a key\n")]);
        let outcome = folder.compile();
        let text = folder.shown(&outcome);
        if errors(&outcome) != *codes || outcome.plan.is_none() == codes.is_empty() {
            wrong.push_str(&format!("## {name}: {codes:?} expected, {:?} found\n{text}\n", errors(&outcome)));
        }
        for finding in outcome.findings.iter().filter(|finding| finding.help.is_none()) {
            // What the document's own readers say carries its own words.
            let ours = !finding.code.starts_with("document-") && !finding.code.starts_with("yaml-");
            if ours {
                wrong.push_str(&format!("## {name}: {} has no way out\n", finding.code));
            }
        }
        shown.push_str(&format!("## {name}\n\n{text}\n\n"));
    }
    assert!(wrong.is_empty(), "{wrong}");
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(snapshot, shown);
    });
}

macro_rules! api {
    ($($rest:literal),* $(,)?) => {
        concat!(
            "apis:\n  shop:\n    spec: shop.yaml\n    upstream: http://127.0.0.1:3000\n    authenticate: { jwt: { issuer: \
             https://login.example.com/, audience: shop } }\n    anonymous: [{ allow: getHealth, because: probe }]\n",
            $("    ", $rest, "\n",)*
        )
    };
}

macro_rules! top {
    ($($line:literal),* $(,)?) => { concat!($($line, "\n",)* "apis:\n  shop:\n    spec: shop.yaml\n    upstream: http://127.0.0.1:3000\n    authenticate: { jwt: { issuer: https://login.example.com/, audience: shop } }\n    anonymous: [{ allow: getHealth, because: probe }]\n") };
}

/// Another `authenticate` than the usual one, under a top level of its own.
macro_rules! who {
    ($top:literal, $authenticate:literal) => {
        concat!(
            $top,
            "\napis:\n  shop:\n    spec: shop.yaml\n    upstream: http://127.0.0.1:3000\n    authenticate: ",
            $authenticate,
            "\n    anonymous: [{ allow: getHealth, because: probe }]\n"
        )
    };
}

#[test]
fn words() {
    judge(
        "words",
        &[
            ("a misspelt key at the top", &["key-unknown"], top!("lisen: 127.0.0.1:1")),
            (
                "a misspelt key deep inside",
                &["key-unknown"],
                api!("browsers: { origin: [https://a.example] }"),
            ),
            ("a key that nothing resembles", &["key-unknown"], top!("plugins: []")),
            (
                "several errors at once",
                &["key-unknown", "value-form", "word-unknown", "value-range"],
                top!(
                    "lisen: 127.0.0.1:1",
                    "drain: { delay: 5 }",
                    "client_address: x_real_ip",
                    "bounds: { headers: -1 }",
                ),
            ),
            ("a word of another type", &["value-type"], top!("listen: 8443")),
            ("a list in place of a mapping", &["value-type"], top!("bounds: [1]")),
            ("no value", &["value-missing"], top!("trusted_proxies:")),
            ("an empty list", &["value-missing"], top!("listen: []")),
            ("a duration without a unit", &["value-form"], top!("drain: { timeout: 30 }")),
            ("a size that is none", &["value-form"], top!("bounds: { header_bytes: 32KB/s }")),
            ("a network with host bits", &["value-form"], top!("trusted_proxies: [10.0.0.1/24]")),
            (
                "a day that does not exist",
                &["value-form"],
                api!("loosen: [{ allow: lenient_integers, because: b, until: 2027-02-30 }]",),
            ),
            ("a missing key", &["key-missing"], top!("introspection: { a: { url: https://a.example/ } }")),
            (
                "a secret written out",
                &["secret-literal"],
                top!(
                    "introspection: { a: { url: https://a.example/, client: { id: x, secret: hunter2-hunter2 } } }",
                ),
            ),
            ("a key twice", &["document-duplicate-key"], "listen: 127.0.0.1:1\nlisten: 127.0.0.1:2\n"),
            ("a tag", &["yaml-tag"], "listen: !!python/object:os.system x\n"),
            ("a merge key", &["yaml-merge-key"], "a: &a {x: 1}\napis: { <<: *a }\n"),
            ("no YAML", &["document-syntax"], "listen: [1, 2\n"),
            ("an empty file", &["configuration-empty"], "# nothing yet\n"),
            ("no API", &["apis-missing"], "listen: 127.0.0.1:8080\n"),
            ("a room that is not there yet", &["key-unknown"], api!("soap: { path: /soap }")),
        ],
    );
}

#[test]
fn a_written_secret_is_never_shown() {
    let config =
        top!("introspection: { a: { url: https://a.example/, client: { id: x, secret: hunter2-hunter2 } } }");
    let (folder, outcome) = shop(config);
    let shown = folder.shown(&outcome);
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(!format!("{:?}", outcome.sources).contains("hunter2"));

    let config = CONFIG.replace("http://127.0.0.1:3000", "https://shop:hunter2@shop.internal");
    let (folder, outcome) = shop(&config);
    let shown = folder.shown(&outcome);
    assert_eq!(errors(&outcome), ["url-invalid"]);
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(!format!("{:?}", outcome.sources).contains("hunter2"));
}

#[test]
fn listeners() {
    judge(
        "listeners",
        &[
            ("off loopback without TLS", &["plaintext-listener"], top!("listen: 0.0.0.0:8080")),
            (
                "off loopback without TLS, in full",
                &["plaintext-listener"],
                top!("listen: [{ address: 10.0.0.1:8080 }]"),
            ),
            (
                "loosened without a reason",
                &["because-missing", "plaintext-listener"],
                top!(
                    "listen: [{ address: 0.0.0.0:8080, loosen: [{ allow: plaintext, until: 2027-01-01 }] }]",
                ),
            ),
            (
                "loosened without an end",
                &["until-missing", "plaintext-listener"],
                top!(
                    "listen: [{ address: 0.0.0.0:8080, loosen: [{ allow: plaintext, because: TLS ends at the balancer }] }]",
                ),
            ),
            (
                "loosened too long",
                &["loosening-expired", "plaintext-listener"],
                top!(
                    "listen: [{ address: 0.0.0.0:8080, loosen: [{ allow: plaintext, because: b, until: 2026-11-22 }] }]",
                ),
            ),
            (
                "loosened to this very day",
                &[],
                top!(
                    "listen: [{ address: 0.0.0.0:8080, loosen: [{ allow: plaintext, because: b, until: 2026-11-23 }] }]",
                ),
            ),
            ("admin for everybody", &["admin-exposed"], top!("listen: 127.0.0.1:1", "admin: 0.0.0.0:9443")),
            (
                "admin for everybody, in full",
                &["admin-exposed"],
                top!("listen: [{ address: 0.0.0.0:9, serve: [admin] }]"),
            ),
            (
                "admin beside the APIs",
                &["admin-shared"],
                top!("listen: [{ address: 127.0.0.1:9, serve: [apis, admin] }]"),
            ),
            ("a name in place of an address", &["address-invalid"], top!("listen: localhost:8080")),
            ("a port alone", &["address-invalid"], top!("listen: \":8443\"")),
            ("one address twice", &["address-twice"], top!("listen: [127.0.0.1:1, 127.0.0.1:1]")),
            (
                "one name twice",
                &["name-twice"],
                top!("listen: [{ name: a, address: 127.0.0.1:1 }, { name: a, address: 127.0.0.1:2 }]",),
            ),
            (
                "a certificate without a key",
                &["certificate-missing"],
                top!("listen: 0.0.0.0:8443", "tls: { cert: { file: key.txt } }",),
            ),
            (
                "a certificate that is none",
                &["certificate-invalid"],
                top!("listen: 0.0.0.0:8443", "tls: { cert: { file: key.txt }, key: { file: key.txt } }",),
            ),
            (
                "a certificate that is not there",
                &["file-unreadable", "variable-missing"],
                top!("listen: 0.0.0.0:8443", "tls: { cert: { file: tls/cert.pem }, key: { env: NOT_SET } }",),
            ),
            (
                "an empty variable",
                &["certificate-invalid", "secret-empty"],
                top!("listen: 0.0.0.0:8443", "tls: { cert: { file: key.txt }, key: { env: EMPTY } }",),
            ),
            (
                "tls for nobody",
                &["tls-unused"],
                top!(
                    "listen: [{ address: 127.0.0.1:1 }]",
                    "tls: { cert: { file: key.txt }, key: { file: key.txt } }",
                ),
            ),
            (
                "h2c off loopback",
                &["plaintext-listener", "h2c-exposed"],
                top!("listen: [{ address: 0.0.0.0:1, h2c: true }]"),
            ),
            ("everybody is a proxy", &["trusted-everybody"], top!("trusted_proxies: [0.0.0.0/0, \"::/0\"]")),
            (
                "everybody speaks PROXY",
                &["trusted-everybody"],
                top!("listen: [{ address: 127.0.0.1:1, proxy_protocol: { from: [0.0.0.0/0] } }]",),
            ),
            (
                "a bound beyond its hard limit",
                &["bound-too-large"],
                top!("bounds: { headers: 501, head: 61s }"),
            ),
            ("a bound of zero", &["bound-too-large"], top!("bounds: { header_bytes: 0B }")),
            ("a reserved header that is no name", &["header-name"], top!("reserved_headers: [X_Bad]")),
        ],
    );
}

#[test]
fn upstreams() {
    judge(
        "upstreams",
        &[
            (
                "none",
                &["upstream-missing"],
                "apis: { shop: { spec: shop.yaml, authenticate: { jwt: { issuer: https://login.example.com/, audience: shop } }, anonymous: [{ allow: getHealth, because: probe }] } }\n",
            ),
            (
                "plaintext over a network",
                &["plaintext-upstream"],
                concat!(
                    "apis:\n  shop:\n    spec: shop.yaml\n    upstream: http://shop.internal:8080\n",
                    "    authenticate: { jwt: { issuer: https://login.example.com/, audience: shop } }\n",
                    "    anonymous: [{ allow: getHealth, because: probe }]\n",
                ),
            ),
            (
                "plaintext, loosened",
                &[],
                concat!(
                    "apis:\n  shop:\n    spec: shop.yaml\n    upstream: http://shop.internal:8080\n",
                    "    loosen: [{ allow: plaintext_upstream, because: the network is encrypted, until: 2027-06-30 }]\n",
                    "    authenticate: { jwt: { issuer: https://login.example.com/, audience: shop } }\n",
                    "    anonymous: [{ allow: getHealth, because: probe }]\n",
                ),
            ),
            (
                "no URL",
                &["url-invalid"],
                "apis: { shop: { spec: shop.yaml, upstream: \"127.0.0.1:3000\", authenticate: { jwt: { issuer: https://login.example.com/, audience: shop } }, anonymous: [{ allow: getHealth, because: probe }] } }\n",
            ),
            (
                "a password in the URL",
                &["url-invalid"],
                "apis: { shop: { spec: shop.yaml, upstream: \"https://u:hunter2@a.example\", authenticate: { jwt: { issuer: https://login.example.com/, audience: shop } }, anonymous: [{ allow: getHealth, because: probe }] } }\n",
            ),
            (
                "servers under several paths",
                &["upstream-paths"],
                concat!(
                    "apis: { shop: { spec: shop.yaml, upstream: { servers: [{ url: https://a.example/v1 }, { url: ",
                    "https://b.example/v2 }] }, authenticate: { jwt: { issuer: https://login.example.com/, audience: shop } ",
                    "}, anonymous: [{ allow: getHealth, because: probe }] } }\n",
                ),
            ),
            (
                "a protocol that does not fit",
                &["protocol-mismatch"],
                concat!(
                    "apis: { shop: { spec: shop.yaml, upstream: { servers: [{ url: https://a.example }], protocol: h2c }, ",
                    "authenticate: { jwt: { issuer: https://login.example.com/, audience: shop } }, anonymous: [{ allow: ",
                    "getHealth, because: probe }] } }\n",
                ),
            ),
            (
                "a document that is not there",
                &["file-unreadable"],
                "apis: { shop: { spec: nowhere.yaml, upstream: https://a.example } }\n",
            ),
            ("neither spec nor grpc", &["spec-missing"], "apis: { shop: { upstream: https://a.example } }\n"),
        ],
    );
}

#[test]
fn callers() {
    judge(
        "callers",
        &[
            (
                "jwt without audience",
                &["audience-missing"],
                who!("", "{ jwt: { issuer: https://login.example.com/ } }"),
            ),
            (
                "an empty audience",
                &["audience-missing"],
                who!("", "{ jwt: { issuer: https://login.example.com/, audience: \"\" } }"),
            ),
            (
                "an issuer without TLS",
                &["issuer-not-https"],
                who!("", "{ jwt: { issuer: http://login.example.com/, audience: a } }"),
            ),
            (
                "an issuer on this machine",
                &[],
                who!("", "{ jwt: { issuer: http://127.0.0.1:9000, audience: a } }"),
            ),
            (
                "an issuer that nobody knows",
                &["issuer-unknown"],
                who!(
                    "issuers: { corp: { url: https://login.example.com/ } }",
                    "{ jwt: { issuer: crop, audience: a } }"
                ),
            ),
            (
                "one issuer twice",
                &["issuer-twice"],
                who!(
                    "",
                    "{ jwt: [{ issuer: https://a.example/, audience: a }, { issuer: https://a.example/, audience: b }] }"
                ),
            ),
            (
                "a symmetric algorithm",
                &["algorithm-unsupported"],
                who!(
                    "issuers: { corp: { url: https://login.example.com/, algorithms: [HS256] } }",
                    "{ jwt: { issuer: corp, audience: a } }"
                ),
            ),
            (
                "an algorithm in lower case",
                &["algorithm-unsupported"],
                who!(
                    "issuers: { corp: { url: https://login.example.com/, algorithms: [es256] } }",
                    "{ jwt: { issuer: corp, audience: a } }"
                ),
            ),
            (
                "none",
                &["algorithm-unsupported"],
                who!(
                    "issuers: { corp: { url: https://login.example.com/, algorithms: [none] } }",
                    "{ jwt: { issuer: corp, audience: a } }"
                ),
            ),
            (
                "too much skew",
                &["skew-too-large"],
                who!(
                    "issuers: { corp: { url: https://login.example.com/, skew: 121s } }",
                    "{ jwt: { issuer: corp, audience: a } }"
                ),
            ),
            (
                "a pointer that is none",
                &["pointer-invalid"],
                who!(
                    "issuers: { corp: { url: https://login.example.com/, claims: { scope: scp } } }",
                    "{ jwt: { issuer: corp, audience: a } }"
                ),
            ),
            (
                "a key set that is none",
                &["keys-invalid"],
                who!(
                    "issuers: { corp: { url: https://login.example.com/, discovery: { file: key.txt } } }",
                    "{ jwt: { issuer: corp, audience: a } }"
                ),
            ),
            (
                "a key set without TLS",
                &["issuer-not-https"],
                who!(
                    "issuers: { corp: { url: https://login.example.com/, discovery: { jwks: http://a.example/keys } } }",
                    "{ jwt: { issuer: corp, audience: a } }"
                ),
            ),
            (
                "introspection without TLS, with key and secret",
                &["introspection-not-https", "client-authentication"],
                who!(
                    "introspection: { a: { url: http://a.example/, client: { id: x, secret: { env: INTROSPECTION_SECRET } } }, b: { url: https://a.example/, client: { id: x } } }",
                    "{ jwt: { issuer: https://a.example/, audience: a } }"
                ),
            ),
            (
                "a private key that is none",
                &["key-form"],
                who!(
                    "introspection: { a: { url: https://a.example/, client: { id: x, key: { file: key.txt } } } }",
                    "{ jwt: { issuer: https://a.example/, audience: a } }"
                ),
            ),
            (
                "introspection that nobody knows",
                &["introspection-unknown"],
                who!(
                    "introspection: { legacy: { url: https://a.example/, client: { id: x, secret: { env: INTROSPECTION_SECRET } } } }",
                    "{ opaque: { introspection: legcy, issuer: https://a.example/, audience: a } }"
                ),
            ),
            ("keys that live too long", &["rotation-too-rare"], top!("keys: { rotate_every: 91d }")),
            ("a grace too short", &["grace-out-of-range"], top!("keys: { grace: 23h }")),
            ("a grace too long", &["grace-out-of-range"], top!("keys: { grace: 73h }")),
            (
                "a webhook without a right secret",
                &["secret-form"],
                top!(
                    "keys: { notify: [{ webhook: { url: https://a.example/h, secret: { file: key.txt } } }] }",
                ),
            ),
            (
                "mail over a network without TLS",
                &["relay-invalid"],
                top!("keys: { notify: [{ email: { relay: mailto://mail.example.com:25, from: a@b } }] }",),
            ),
            (
                "keys without a store",
                &["store-missing"],
                who!("", "{ jwt: { issuer: https://a.example/, audience: a }, api_key: {} }"),
            ),
            (
                "a certificate holder with two names",
                &["mtls-client-name"],
                who!(
                    "",
                    "{ jwt: { issuer: https://a.example/, audience: a }, mtls: { clients: { p: { san_uri: a, san_dns: b } } } }"
                ),
            ),
            (
                "a thumbprint that is none",
                &["thumbprint-form"],
                who!(
                    "",
                    "{ jwt: { issuer: https://a.example/, audience: a }, mtls: { clients: { p: { thumbprint: abc } } } }"
                ),
            ),
            (
                "signatures under no scheme",
                &["signature-schemes"],
                who!(
                    "store: { folder: s }",
                    "{ jwt: { issuer: https://a.example/, audience: a }, signature: { schemes: [] } }"
                ),
            ),
        ],
    );
}

#[test]
fn access() {
    const OPEN: &str = "apis:\n  shop:\n    spec: shop.yaml\n    upstream: http://127.0.0.1:3000\n    authenticate: { \
                        jwt: { issuer: https://login.example.com/, audience: shop } }\n";
    judge(
        "access",
        &[
            ("open and not named anonymous", &["security-missing"], OPEN),
            (
                "anonymous without a reason",
                &["because-missing"],
                concat!(
                    "apis:\n  shop:\n    spec: shop.yaml\n    upstream: http://127.0.0.1:3000\n",
                    "    authenticate: { jwt: { issuer: https://login.example.com/, audience: shop } }\n",
                    "    anonymous: [{ allow: getHealth }]\n",
                ),
            ),
            (
                "anonymous until yesterday",
                &["loosening-expired"],
                concat!(
                    "apis:\n  shop:\n    spec: shop.yaml\n    upstream: http://127.0.0.1:3000\n",
                    "    authenticate: { jwt: { issuer: https://login.example.com/, audience: shop } }\n",
                    "    anonymous: [{ allow: getHealth, because: probe, until: 2026-11-22 }]\n",
                ),
            ),
            (
                "an operation that nobody knows",
                &["security-missing", "operation-unknown"],
                concat!(
                    "apis:\n  shop:\n    spec: shop.yaml\n    upstream: http://127.0.0.1:3000\n",
                    "    authenticate: { jwt: { issuer: https://login.example.com/, audience: shop } }\n",
                    "    anonymous: [{ allow: getHaelth, because: probe }]\n    operations: { listOrder: { closed: true } }\n",
                ),
            ),
            (
                "anonymous twice",
                &["anonymous-twice"],
                concat!(
                    "apis:\n  shop:\n    spec: shop.yaml\n    upstream: http://127.0.0.1:3000\n",
                    "    authenticate: { jwt: { issuer: https://login.example.com/, audience: shop } }\n",
                    "    anonymous: [{ allow: getHealth, because: a }, { allow: getHealth, because: b }]\n",
                ),
            ),
            (
                "nothing verifies tokens",
                &["authenticator-missing"],
                concat!(
                    "apis:\n  shop:\n    spec: shop.yaml\n    upstream: http://127.0.0.1:3000\n",
                    "    anonymous: [{ allow: getHealth, because: probe }]\n",
                ),
            ),
            (
                "anonymous over the document's head",
                &[],
                concat!(
                    "apis:\n  shop:\n    spec: shop.yaml\n    upstream: http://127.0.0.1:3000\n",
                    "    authenticate: { jwt: { issuer: https://login.example.com/, audience: shop } }\n",
                    "    anonymous: [{ allow: getHealth, because: a }, { allow: listOrders, because: b }]\n",
                ),
            ),
            (
                "anonymous with an object rule",
                &["authorize-anonymous"],
                concat!(
                    "apis:\n  shop:\n    spec: shop.yaml\n    upstream: http://127.0.0.1:3000\n",
                    "    authenticate: { jwt: { issuer: https://login.example.com/, audience: shop } }\n",
                    "    anonymous: [{ allow: getHealth, because: a }, { allow: getUser, because: b }]\n",
                ),
            ),
            (
                "a demand that nothing meets",
                &["authenticator-missing"],
                api!("require: { operations: { createOrder: { all_of: [jwt, signature] } } }",),
            ),
            (
                "a scheme that the document lacks",
                &["scheme-unknown"],
                who!("", "{ jwt: { issuer: https://a.example/, audience: a }, schemes: { baerer: jwt } }"),
            ),
            (
                "two issuers and one id",
                &["principal-ambiguous"],
                who!(
                    "",
                    "{ jwt: [{ issuer: https://a.example/, audience: a }, { issuer: https://b.example/, audience: a }] }"
                ),
            ),
        ],
    );
}

#[test]
fn apis() {
    judge(
        "apis",
        &[
            ("HSTS below a year", &["hsts-too-short"], api!("hsts: { max_age: 30d }")),
            (
                "any page with cookies",
                &["origin-any"],
                api!("browsers: { origins: [\"*\"], credentials: true }"),
            ),
            ("null", &["origin-invalid"], api!("browsers: { origins: [\"null\"] }")),
            (
                "a regular expression",
                &["origin-invalid"],
                api!("browsers: { origins: [\"https://.*\\\\.example\\\\.com\"] }"),
            ),
            (
                "plain http pages",
                &["origin-invalid"],
                api!("browsers: { origins: [http://shop.example.com] }"),
            ),
            ("a public suffix", &["origin-invalid"], api!("browsers: { origins: [\"https://*.com\"] }")),
            ("no page at all", &["origin-missing"], api!("browsers: { origins: [] }")),
            ("a reserved header", &["header-reserved"], api!("forward_headers: [X-Forwarded-For]")),
            ("a hop-by-hop header", &["header-hop-by-hop"], api!("return_headers: [Transfer-Encoding]")),
            ("a header that is no name", &["header-name"], api!("forward_headers: [\"X Shop\"]")),
            (
                "CORS of the upstream",
                &["header-reserved"],
                api!("return_headers: [Access-Control-Allow-Origin]"),
            ),
            ("a host with a port", &["host-invalid"], api!("hosts: [\"api.example.com:443\"]")),
            ("a host twice", &["host-twice"], api!("hosts: [api.example.com, API.example.com]")),
            (
                "two APIs in one place",
                &["base-path-twice"],
                concat!(
                    "apis:\n",
                    "  a: { spec: shop.yaml, upstream: https://a.example, authenticate: &who { jwt: { issuer: https://l.example/, audience: a } }, anonymous: &any [{ allow: getHealth, because: b }] }\n",
                    "  b: { spec: shop.yaml, upstream: https://b.example, authenticate: *who, anonymous: *any }\n",
                ),
            ),
            ("a limit without a rate", &["limit-empty"], top!("limits: { key: { burst: 3 } }")),
            (
                "a strict window without room",
                &["limit-invalid"],
                top!("limits: { key: { rate: 10/min, burst: 10, strict_window: true } }",),
            ),
            (
                "a cost that never fits",
                &["cost-exceeds-burst"],
                api!("operations: { listOrders: { limits: { cost: 1000 } } }"),
            ),
            (
                "sensitive in name only",
                &["sensitive-unmatched"],
                top!(
                    "limits: { sensitive: { match: [{ tag: auth }, { operation: pay }, { tag: sensitive }] } }",
                ),
            ),
            ("a body beyond its hard limit", &["bound-too-large"], api!("request: { max_bytes: 11MiB }")),
            (
                "a loosening about names without names",
                &["loosening-names"],
                api!("loosen: [{ allow: reserved_header, because: b, until: 2027-01-01 }]",),
            ),
            (
                "a loosening that is not about names",
                &["loosening-names"],
                api!("loosen: [{ allow: shapeless, of: [x], because: b, until: 2027-01-01 }]",),
            ),
            (
                "a loosening of the whole API",
                &["loosening-operations"],
                api!(
                    "loosen: [{ allow: lenient_integers, operations: [listOrders], because: b, until: 2027-01-01 }]",
                ),
            ),
            (
                "a header that folds to a reserved one",
                &["header-reserved"],
                api!(
                    "loosen: [{ allow: header_names, of: [X_Forwarded_For], because: b, until: 2027-01-01 }]",
                ),
            ),
            (
                "opaque without an end",
                &["until-missing"],
                api!(
                    "operations: { createOrder: { request: { opaque: { allow: [application/xml], because: b } } } }",
                ),
            ),
            (
                "a WebSocket that is no GET",
                &["websocket-method"],
                api!(
                    "operations: { createOrder: { websocket: { opaque: { allow: messages, because: b, until: 2027-01-01 } } } }",
                ),
            ),
            (
                "a WebSocket unread without a word",
                &["media-opaque"],
                api!("operations: { listOrders: { websocket: {} } }"),
            ),
            (
                "gRPC unread without a word",
                &["media-opaque"],
                "apis: { g: { grpc: { methods: [shop.v1.Orders/Get] }, upstream: https://a.example } }\n",
            ),
            (
                "a gRPC method that is none",
                &["grpc-method"],
                concat!(
                    "apis: { g: { grpc: { methods: [Get, a/b, a/b], opaque: { allow: [application/grpc], because: b, until: ",
                    "2027-01-01 } }, upstream: https://a.example } }\n",
                ),
            ),
            ("bounds of documents", &["bound-too-large"], top!("documents: { max_bytes: 65MiB }")),
            (
                "a name that is none",
                &["name-invalid"],
                concat!(
                    "apis:\n  \"my shop\": { spec: shop.yaml, upstream: https://a.example, authenticate: { jwt: { issuer: ",
                    "https://l.example/, audience: a } }, anonymous: [{ allow: getHealth, because: b }] }\n",
                ),
            ),
        ],
    );
}

#[test]
fn documents() {
    let (mut shown, mut wrong) = (String::new(), String::new());
    let head = "openapi: 3.0.3\ninfo: { title: T, version: \"1\" }\n";
    let body = |security: &str, schemes: &str| {
        format!(
            "{head}paths:\n  /a:\n    get: {{ operationId: a{security}, responses: {{ \"200\": {{ description: ok }} }} }}\n{schemes}"
        )
    };
    let scheme = |scheme: &str| format!("components: {{ securitySchemes: {{ s: {scheme} }} }}\n");
    let cases: Vec<(&str, &[&str], String, &str)> = vec![
        ("basic authentication", &["scheme-not-supported"], body(", security: [{ s: [] }]", &scheme("{ type: http, scheme: basic }")), ""),
        ("digest authentication", &["scheme-not-supported"], body(", security: [{ s: [] }]", &scheme("{ type: http, scheme: digest }")), ""),
        ("a key in the query", &["scheme-not-supported"], body(", security: [{ s: [] }]", &scheme("{ type: apiKey, in: query, name: key }")), ""),
        ("a key in a cookie", &["scheme-not-supported"], body(", security: [{ s: [] }]", &scheme("{ type: apiKey, in: cookie, name: sid }")), ""),
        ("a key in Authorization", &["scheme-not-supported"], body(", security: [{ s: [] }]", &scheme("{ type: apiKey, in: header, name: Authorization }")), ""),
        ("basic, with something in its place", &[], body(", security: [{ s: [] }]", &scheme("{ type: http, scheme: basic }")),
            "    authenticate: { jwt: { issuer: https://a.example/, audience: a }, schemes: { s: jwt } }\n"),
        ("keys, and nothing that takes them", &["authenticator-missing"], body(", security: [{ s: [] }]", &scheme("{ type: apiKey, in: header, name: X-Key }")), ""),
        ("certificates, and nothing that takes them", &["authenticator-missing"], body(", security: [{ s: [] }]", &scheme("{ type: mutualTLS }")).replace("3.0.3", "3.1.0"), ""),
        ("says nothing", &["security-missing"], body("", ""), ""),
        ("says nothing, and a default does", &[], body("", ""),
            "    authenticate: { jwt: { issuer: https://a.example/, audience: a } }\n    require: { default: { any_of: [jwt] } }\n"),
        ("an empty alternative beside a token", &[], body(", security: [{}, { s: [] }]", &scheme("{ type: http, scheme: bearer }")),
            "    authenticate: { jwt: { issuer: https://a.example/, audience: a } }\n"),
        ("an object without a rule, strictly", &["object-rule-missing"],
            body(", parameters: [{ name: orderId, in: path, required: true, schema: { type: string, maxLength: 9 } }], security: [{ s: [] }]",
                &scheme("{ type: http, scheme: bearer }")).replace("/a:", "/a/{orderId}:"),
            "    strict: true\n    authenticate: { jwt: { issuer: https://a.example/, audience: a } }\n"),
        ("an object without a rule, loosened", &[],
            body(", parameters: [{ name: orderId, in: path, required: true, schema: { type: string, maxLength: 9 } }], security: [{ s: [] }]",
                &scheme("{ type: http, scheme: bearer }")).replace("/a:", "/a/{orderId}:"),
            "    strict: true\n    authenticate: { jwt: { issuer: https://a.example/, audience: a } }\n    loosen: [{ allow: \
             object_without_rule, operations: [a], because: everybody reads it, until: 2027-01-01 }]\n"),
        ("an open operation, closed", &[], body("", ""), "    on_error: close_operation\n"),
        ("a rule of a later version", &["extension-unsupported"],
            body(", security: [{ s: [] }], x-portcullis: { authorize: { need: owner, of: Order, id: path.id } }", &scheme("{ type: http, scheme: bearer }")),
            "    authenticate: { jwt: { issuer: https://a.example/, audience: a } }\n"),
        ("a bound value that is not declared", &["bind-undeclared"],
            body(", security: [{ s: [] }], x-portcullis: { authorize: { bind: { path.id: principal.id } } }", &scheme("{ type: http, scheme: bearer }")),
            "    authenticate: { jwt: { issuer: https://a.example/, audience: a } }\n"),
        ("a secret in the query", &["secret-parameter"],
            body(", parameters: [{ name: access_token, in: query, schema: { type: string, maxLength: 9 } }], security: [{ s: [] }]", &scheme("{ type: http, scheme: bearer }")),
            "    authenticate: { jwt: { issuer: https://a.example/, audience: a } }\n"),
        ("a reserved header", &["header-reserved"],
            body(", parameters: [{ name: X-Forwarded-For, in: header, schema: { type: string, maxLength: 9 } }], security: [{ s: [] }]", &scheme("{ type: http, scheme: bearer }")),
            "    authenticate: { jwt: { issuer: https://a.example/, audience: a } }\n"),
    ];
    for (name, codes, spec, extra) in cases {
        let config = format!("apis:\n  a:\n    spec: a.yaml\n    upstream: http://127.0.0.1:1\n{extra}");
        let folder = Folder::with(&[("portcullis.yaml", &config), ("a.yaml", &spec)]);
        let outcome = folder.compile();
        let text = folder.shown(&outcome);
        if errors(&outcome) != codes {
            wrong.push_str(&format!("## {name}: {codes:?} expected, {:?} found\n{text}\n", errors(&outcome)));
        }
        shown.push_str(&format!("## {name}\n\n{text}\n\n"));
    }
    assert!(wrong.is_empty(), "{wrong}");
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("documents", shown);
    });
}

#[test]
fn a_billion_laughs_end_early() {
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..12 {
        let list = vec![format!("*a{}", i - 1); 10].join(", ");
        laughs.push_str(&format!("a{i}: &a{i} [{list}]\n"));
    }
    let clock = std::time::Instant::now();
    let (_, outcome) = shop(&laughs);
    assert_eq!(errors(&outcome), ["document-bounds"]);
    assert!(clock.elapsed().as_secs() < 5);
}

#[test]
fn nothing_outside_the_folder_is_read() {
    let folder = Folder::with(&[
        ("api/portcullis.yaml", CONFIG),
        ("secret.yaml", "Secret: { type: string }\n"),
        (
            "api/shop.yaml",
            &SPEC.replace("{ type: string, maxLength: 64 } }]", "{ $ref: \"../secret.yaml#/Secret\" } }]"),
        ),
    ]);
    let outcome = portcullis_config::compile(&folder.path().join("api/portcullis.yaml"), given());
    assert!(outcome.plan.is_none());
    assert!(folder.shown(&outcome).contains("leaves the folder"), "{}", folder.shown(&outcome));
    assert_eq!(outcome.sources.len(), 2, "the file outside was not opened");

    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("../secret.yaml", folder.path().join("api/link.yaml")).unwrap();
        folder.write(
            "api/shop.yaml",
            &SPEC.replace("{ type: string, maxLength: 64 } }]", "{ $ref: \"link.yaml#/Secret\" } }]"),
        );
        let outcome = portcullis_config::compile(&folder.path().join("api/portcullis.yaml"), given());
        assert!(outcome.plan.is_none());
        assert!(
            folder.shown(&outcome).contains("there is no file `link.yaml`"),
            "{}",
            folder.shown(&outcome)
        );
    }
}

#[test]
fn a_file_that_is_not_there_says_how_to_make_one() {
    let folder = Folder::new();
    let outcome = folder.compile();
    assert_eq!(errors(&outcome), ["file-unreadable"]);
    assert!(folder.shown(&outcome).contains("portcullis init"), "{}", folder.shown(&outcome));
}

#[test]
fn of_one_kind_ten_are_shown_and_the_others_counted() {
    let folder = Folder::new();
    let text: String = (0..25).map(|n| format!("zzzzzzzz{n}: 1\n")).collect();
    let outcome = portcullis_config::compile_text("portcullis.yaml", &text, folder.path(), given());
    let unknown = outcome.findings.iter().filter(|finding| finding.code == "key-unknown").count();
    assert_eq!(unknown, 25, "all of them are found");
    let shown = outcome.render(false);
    assert_eq!(shown.matches("error[key-unknown]: ").count(), 10, "{shown}");
    assert!(shown.contains("\n… and 15 more of this kind (error[key-unknown])\n"), "{shown}");
}

#[test]
fn whatever_is_written_there_is_an_answer() {
    // Each line of a whole configuration in turn missing, doubled, cut, and with another value.
    let lines: Vec<&str> = include_str!("full.yaml").lines().collect();
    let folder = Folder::with(&[("openapi/shop.yaml", SPEC)]);
    let mut answered = 0;
    for at in 0..lines.len() {
        let line = lines.get(at).copied().unwrap_or_default();
        let key = line.split_once(':').map_or(line, |(key, _)| key);
        let cut = line.get(..line.len() / 2).unwrap_or(line);
        let other = [
            String::new(),
            format!("{line}\n{line}"),
            cut.to_owned(),
            format!("{key}: [x]"),
            format!("{key}: 7"),
        ];
        for change in other {
            let mut text: Vec<&str> = lines.clone();
            if let Some(slot) = text.get_mut(at) {
                *slot = &change;
            }
            let outcome =
                portcullis_config::compile_text("portcullis.yaml", &text.join("\n"), folder.path(), given());
            let text = outcome.render(true);
            assert!(outcome.plan.is_none(), "files are missing");
            assert!(text.contains("error"), "{text}");
            answered += 1;
        }
    }
    assert!(answered > 600, "{answered}");
}
