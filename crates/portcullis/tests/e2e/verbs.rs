//! Every verb as a person or a program would use it: what it says, where, and how it ends.

use crate::world::{BINARY, CONFIG, SPEC, World, items};
use portcullis_testkit::program::{Finished, Signal};
use portcullis_testkit::{
    Algorithm, Answer, Connection, Key, Latch, Program, TempDir, Upstream, request, send,
};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

fn run(dir: &TempDir, arguments: &[&str]) -> Finished {
    Program::run(BINARY, dir.path(), arguments).unwrap()
}

/// A folder in which [`CONFIG`] compiles.
fn folder() -> (TempDir, Key) {
    let dir = TempDir::new("verbs");
    let key = Key::generate(Algorithm::Es256, "key-1");
    let certificate = portcullis_testkit::certs::Authority::new().server(&["localhost"]);
    dir.write("cert.pem", certificate.cert_pem);
    dir.write("key.pem", certificate.key_pem);
    dir.write("issuer.json", serde_json::json!({ "keys": [key.jwk()] }).to_string());
    dir.write("openapi.yaml", SPEC);
    dir.write("portcullis.yaml", CONFIG.replace("UPSTREAM", "http://127.0.0.1:3000"));
    (dir, key)
}

const OPEN: &str = r#"openapi: 3.0.3
info: { title: Open, version: "1" }
paths:
  /items:
    get:
      operationId: listItems
      security: []
      responses: { "200": { description: ok, content: { application/json: { schema: { type: object, properties: { items: { type: array, items: {} } } } } } } }
"#;

#[tokio::test]
async fn serve_without_a_configuration_file_serves_what_the_document_declares() {
    let upstream = Upstream::start(|_| items());
    let dir = Arc::new(TempDir::new("verbs"));
    dir.write("openapi.yaml", OPEN);
    let url = upstream.url();
    let arguments = ["serve", "openapi.yaml", "--upstream", &url, "--listen", "127.0.0.1:0", "--anonymous"];
    let mut program = Program::start(BINARY, dir.clone(), &arguments, &[]).unwrap();
    assert_ne!(program.public().port(), 0);
    let answer = send(program.public(), &request("GET", "/items", &[], b"")).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = send(program.public(), &request("GET", "/admin", &[], b"")).await.unwrap();
    assert_eq!(answer.problem().as_deref(), Some("operation-undeclared"));
    assert_eq!(program.terminate().unwrap().code, Some(0));
    // And with an issuer, for a document that wants tokens.
    dir.write("openapi.yaml", SPEC);
    let key = Key::generate(Algorithm::Es256, "k");
    dir.write("keys.json", serde_json::json!({ "keys": [key.jwk()] }).to_string());
    dir.write(
        "open.yaml",
        OPEN.replace("security: []", "security: [{ bearer: [] }]").replace(
            "paths:",
            "components: { securitySchemes: { bearer: { type: http, scheme: bearer } } }\npaths:",
        ),
    );
    let arguments = [
        "serve",
        "open.yaml",
        "--upstream",
        &url,
        "--listen",
        "127.0.0.1:0",
        "--issuer",
        "https://login.example.com/",
        "--audience",
        "shop",
        "--jwks",
        "keys.json",
    ];
    let program = Program::start(BINARY, dir.clone(), &arguments, &[]).unwrap();
    let answer = send(program.public(), &request("GET", "/items", &[], b"")).await.unwrap();
    assert_eq!(answer.problem().as_deref(), Some("credential-missing"));
    let now = portcullis_testkit::idp::unix_now();
    let token = portcullis_testkit::Token::new()
        .claim("iss", "https://login.example.com/")
        .claim("aud", "shop")
        .claim("sub", "a")
        .claim("iat", now)
        .claim("exp", now + 60)
        .claim("client_id", "c")
        .claim("jti", "1")
        .header("typ", "at+jwt")
        .sign(&key);
    let fields = [("Authorization", format!("Bearer {token}"))];
    let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let answer = send(program.public(), &request("GET", "/items", &fields, b"")).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn serve_says_what_is_missing_and_nothing_listens() {
    let (dir, _) = folder();
    dir.write("open.yaml", OPEN);
    let upstream = ["--upstream", "http://127.0.0.1:9"];
    for (arguments, words) in [
        (vec!["serve", "--config", "none.yaml"], vec!["none.yaml", "portcullis init --from-spec"]),
        (vec!["serve", "none.yaml", upstream[0], upstream[1]], vec!["none.yaml", "no such file"]),
        (
            vec!["serve", "openapi.yaml", upstream[0], upstream[1]],
            vec!["authenticator-missing", "--issuer URL --audience NAME"],
        ),
        (
            vec!["serve", "open.yaml", upstream[0], upstream[1]],
            vec!["open.yaml:5", "security-missing", "^^^"],
        ),
        (
            vec!["serve", "open.yaml", upstream[0], upstream[1], "--listen", "0.0.0.0:0", "--anonymous"],
            vec!["plaintext-listener", "tls:", "listen on 127.0.0.1"],
        ),
        (
            vec![
                "serve",
                "open.yaml",
                "--upstream",
                "http://192.0.2.1",
                "--anonymous",
                "--listen",
                "127.0.0.1:0",
            ],
            vec!["upstream", "https"],
        ),
    ] {
        let end = run(&dir, &arguments);
        assert_eq!(end.code, Some(1), "{arguments:?}: {}", end.stderr);
        assert!(end.stdout.is_empty(), "{}", end.stdout);
        for word in words {
            assert!(end.stderr.contains(word), "{arguments:?}: {word} is missing in\n{}", end.stderr);
        }
        assert!(end.stderr.contains("nothing listens"), "{}", end.stderr);
        assert!(!end.stderr.contains('\u{1b}'), "colour without a terminal");
    }
    // A usage that makes no sense is another exit code, and shows the usage.
    let end = run(&dir, &["serve", "open.yaml"]);
    assert_eq!(end.code, Some(2));
    assert!(end.stderr.contains("--upstream") && end.stderr.contains("Usage"), "{}", end.stderr);
    // A port that is taken.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let end =
        run(&dir, &["serve", "open.yaml", upstream[0], upstream[1], "--anonymous", "--listen", &address]);
    assert_eq!(end.code, Some(1));
    assert!(end.stderr.contains(&format!("cannot listen on {address}")), "{}", end.stderr);
    // A certificate that does not fit its key.
    let (one, other) =
        (portcullis_testkit::certs::Authority::new(), portcullis_testkit::certs::Authority::new());
    dir.write("cert.pem", one.server(&["localhost"]).cert_pem);
    dir.write("key.pem", other.server(&["localhost"]).key_pem);
    let end = run(&dir, &["serve"]);
    assert_eq!(end.code, Some(1));
    assert!(end.stderr.contains("cert.pem") && end.stderr.contains("key"), "{}", end.stderr);
}

#[test]
fn check_tells_people_and_programs_and_ends_accordingly() {
    let (dir, _) = folder();
    let good = run(&dir, &["check"]);
    assert_eq!(good.code, Some(0), "{}{}", good.stdout, good.stderr);
    assert!(good.stdout.contains("portcullis.yaml: good: 5 operations, 0 errors"), "{}", good.stdout);
    let json: Value = serde_json::from_str(&run(&dir, &["check", "--format", "json"]).stdout).unwrap();
    assert_eq!((json[0]["good"].as_bool(), json[0]["operations"].as_u64()), (Some(true), Some(5)));
    // A misspelled key, with the way out, in both forms.
    let text = std::fs::read_to_string(dir.path().join("portcullis.yaml")).unwrap();
    dir.write("portcullis.yaml", text.replace("    authenticate:", "    authentciate:"));
    let bad = run(&dir, &["check"]);
    assert_eq!(bad.code, Some(1));
    let line = text.lines().position(|line| line.contains("authenticate:")).unwrap() + 1;
    for word in
        [&*format!("portcullis.yaml:{line}"), "^^^^^^^^^^^^", "authentciate", "authenticate", "refused"]
    {
        assert!(bad.stdout.contains(word), "{word}: {}", bad.stdout);
    }
    let end = run(&dir, &["check", "--format", "json"]);
    assert_eq!(end.code, Some(1));
    let json: Value = serde_json::from_str(&end.stdout).unwrap();
    let finding = &json[0]["findings"][0];
    assert_eq!((json[0]["good"].as_bool(), finding["severity"].as_str()), (Some(false), Some("error")));
    assert_eq!(finding["line"], line);
    assert!(finding["help"].as_str().unwrap().contains("authenticate"), "{finding}");
    // Documents by themselves: one good, one that is none, and one that is missing.
    dir.write("broken.yaml", "openapi: 3.0.3\npaths: [\n");
    let end = run(&dir, &["check", "openapi.yaml"]);
    assert_eq!(end.code, Some(0), "{}", end.stdout);
    for broken in ["broken.yaml", "missing.yaml", "portcullis.yaml"] {
        let end = run(&dir, &["check", "openapi.yaml", broken, "--format", "json"]);
        assert_eq!(end.code, Some(1), "{broken}");
        let json: Value = serde_json::from_str(&end.stdout).unwrap();
        assert_eq!(
            (json[0]["good"].as_bool(), json[1]["good"].as_bool()),
            (Some(true), Some(false)),
            "{broken}"
        );
        assert!(json[1]["findings"][0]["message"].as_str().is_some_and(|text| !text.is_empty()));
    }
}

fn token(key: &Key, subject: &str, scope: &str) -> String {
    let now = portcullis_testkit::idp::unix_now();
    portcullis_testkit::Token::new()
        .header("typ", "at+jwt")
        .claim("iss", crate::world::ISSUER)
        .claim("aud", "shop")
        .claim("sub", subject)
        .claim("scope", scope)
        .claim("client_id", "app")
        .claim("iat", now)
        .claim("exp", now + 300)
        .claim("jti", "1")
        .sign(key)
}

#[test]
fn explain_names_every_gate_its_decision_and_the_line_that_made_it() {
    let (dir, key) = folder();
    let alice = token(&key, "alice", "orders:read");
    let end = run(&dir, &["explain", "GET", "/orders/7?owner=alice", "--token", &alice, "--format", "json"]);
    assert_eq!(end.code, Some(0), "{}{}", end.stdout, end.stderr);
    let json: Value = serde_json::from_str(&end.stdout).unwrap();
    assert_eq!(json["forwarded"], true, "{json}");
    let steps = json["steps"].as_array().unwrap();
    let gates: Vec<&str> = steps.iter().map(|step| step["gate"].as_str().unwrap()).collect();
    for gate in
        ["canonical", "route", "flood", "identify", "quota", "operation", "intake", "object", "forward"]
    {
        assert!(gates.contains(&gate), "{gate}: {gates:?}");
    }
    let rule = |gate: &str| {
        let step = steps.iter().find(|step| step["gate"] == gate).unwrap();
        step["rule"].as_str().unwrap_or_default().to_owned()
    };
    let spec = |text: &str| SPEC.lines().position(|line| line.contains(text)).unwrap() + 1;
    assert!(rule("route").starts_with("openapi.yaml:"), "{}", rule("route"));
    assert_eq!(rule("object"), format!("openapi.yaml:{}", spec("query.owner: principal.id")));
    assert_eq!(rule("operation"), format!("openapi.yaml:{}", spec(r#"bearer: ["orders:read"]"#)));
    assert!(rule("forward").starts_with("portcullis.yaml:"), "{}", rule("forward"));
    for (arguments, code, gate, reason) in [
        (
            vec!["GET", "/orders/7?owner=bob", "--token", &alice],
            "object-not-yours",
            "object",
            "bind-mismatch",
        ),
        (vec!["GET", "/orders/7?owner=alice"], "credential-missing", "identify", ""),
        (vec!["GET", "/debug"], "operation-undeclared", "route", "path-undeclared"),
        (vec!["DELETE", "/items"], "method-not-allowed", "route", "method-undeclared"),
        (vec!["GET", "/items?limit=99"], "invalid-parameter", "intake", "maximum"),
        (vec!["GET", "/items?access_token=a"], "secret-in-url", "canonical", ""),
        (vec!["GET", "/items", "--header", "X_User: root"], "header-refused", "canonical", ""),
        (
            vec![
                "POST",
                "/orders",
                "--token",
                &alice,
                "--header",
                "Content-Type: application/json",
                "--data",
                "{\"item\":\"a\"}",
            ],
            "scope-missing",
            "operation",
            "scope-missing",
        ),
    ] {
        let end = run(&dir, &[&["explain"], &arguments[..]].concat());
        assert_eq!(end.code, Some(3), "{arguments:?}: {}{}", end.stdout, end.stderr);
        assert!(end.stdout.contains(code) && end.stdout.contains(reason), "{arguments:?}: {}", end.stdout);
        let last = end.stdout.lines().rfind(|line| line.starts_with('✗')).unwrap();
        assert!(last.contains(gate), "{arguments:?}: {}", end.stdout);
        assert!(!end.stdout.contains(&alice), "a token is shown");
    }
    let end = run(&dir, &["explain", "GET", "/items", "--config", "none.yaml"]);
    assert_eq!(end.code, Some(1));
    assert!(end.stdout.is_empty() && end.stderr.contains("none.yaml"), "{}", end.stderr);
}

#[test]
fn init_writes_a_file_that_compiles_once_its_questions_are_answered() {
    let dir = TempDir::new("verbs");
    dir.write("openapi.yaml", SPEC);
    let end = run(&dir, &["init", "--from-spec", "openapi.yaml", "--upstream", "http://127.0.0.1:3000"]);
    assert_eq!((end.code, end.stderr.as_str()), (Some(0), ""));
    assert!(end.stdout.contains("# ") && end.stdout.contains("listItems"), "{}", end.stdout);
    dir.write("portcullis.yaml", &end.stdout);
    assert_eq!(run(&dir, &["check"]).code, Some(1), "what must be decided is not decided for anybody");
    let answered: String = end
        .stdout
        .lines()
        .map(|line| match line.contains("anonymous:") || line.contains("{ allow:") {
            true => line.replacen('#', "", 1).replace('…', "the catalogue is public") + "\n",
            false => line.to_owned() + "\n",
        })
        .collect();
    dir.write("portcullis.yaml", &answered);
    let check = run(&dir, &["check"]);
    assert_eq!(check.code, Some(0), "{}\n{answered}", check.stdout);
    // An existing file is left alone.
    let end = run(&dir, &["init", "--from-spec", "openapi.yaml", "--out", "portcullis.yaml"]);
    assert_eq!(end.code, Some(1));
    assert!(end.stderr.contains("nothing was overwritten"), "{}", end.stderr);
    assert_eq!(std::fs::read_to_string(dir.path().join("portcullis.yaml")).unwrap(), answered);
    assert_eq!(run(&dir, &["init", "--from-spec", "openapi.yaml", "--out", "other.yaml"]).code, Some(0));
    assert!(dir.path().join("other.yaml").exists());
}

#[test]
fn the_schema_and_the_generated_pages_are_the_committed_ones() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let dir = TempDir::new("verbs");
    for (file, arguments) in [
        ("portcullis.schema.json", &["schema"][..]),
        ("docs/reference/configuration.md", &["schema", "--reference"]),
        ("docs/reference/problems.md", &["schema", "--problems"]),
    ] {
        let end = run(&dir, arguments);
        assert_eq!(end.code, Some(0));
        let committed = std::fs::read_to_string(root.join(file)).unwrap();
        assert!(committed == end.stdout, "{file} is not what the program prints: run `cargo xtask schema`");
    }
    let schema: Value = serde_json::from_str(&run(&dir, &["schema"]).stdout).unwrap();
    assert!(schema["properties"]["apis"].is_object());
}

#[test]
fn every_verb_has_help_with_an_example() {
    let dir = TempDir::new("verbs");
    for verb in ["serve", "check", "explain", "init", "schema", "keys", "demo"] {
        let end = run(&dir, &[verb, "--help"]);
        assert_eq!(end.code, Some(0), "{verb}");
        assert!(
            end.stdout.contains("Example") && end.stdout.contains(&format!("portcullis {verb}")),
            "{}",
            end.stdout
        );
    }
    let end = run(&dir, &["srve"]);
    assert_eq!(end.code, Some(2));
    assert!(end.stderr.contains("serve"), "did you mean: {}", end.stderr);
}

#[tokio::test]
async fn health_metrics_and_the_ready_file_tell_the_truth_until_the_end() {
    let latch = Latch::new();
    let held = latch.clone();
    let mut world = World::with(&CONFIG.replace("delay: 1s", "delay: 10s"), move |seen| {
        match seen.target.contains("held") {
            true => items().held_by(&held),
            false => items(),
        }
    });
    let ready = world.program.ready().clone();
    let names: Vec<&String> = ready["listeners"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["admin", "public", "secure"]);
    assert_eq!(ready["plan"].as_str().map(str::len), Some(16));
    assert_eq!(ready.as_object().unwrap().len(), 2);
    for (path, status, text) in [("/livez", 200, "ok"), ("/readyz", 200, "ready"), ("/none", 404, "/livez")] {
        let answer = world.admin(path).await;
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.text().contains(text), "{path}: {}", answer.text());
    }
    let post = send(world.program.admin(), &request("POST", "/livez", &[], b"")).await.unwrap();
    assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD")));
    // What is served to the world is not served there, and the other way round.
    assert_eq!(world.admin("/items").await.status, 404);
    assert_eq!(world.get("/metrics").await.problem().as_deref(), Some("operation-undeclared"));
    assert_eq!(world.get("/items").await.status, 200);
    let line = world.line_of(&world.get("/items").await);
    assert_eq!(line["portcullis.plan"], ready["plan"]);
    let metrics = world.admin("/metrics").await;
    assert!(metrics.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let text = metrics.text();
    for name in ["http_server_request_duration", "connections_open", "log_written", "/items"] {
        assert!(text.contains(name), "{name}: {text}");
    }
    assert!(text.ends_with("# EOF\n"));

    let mut connection = Connection::open(world.public()).await.unwrap();
    connection.write(&request("GET", "/items?tag=held", &[], b"")).await.unwrap();
    world.upstream.received(3).await.unwrap();
    world.program.signal(Signal::Term).unwrap();
    world.program.stderr_until(|text| text.contains("\"drain\"")).unwrap();
    // Red at once, while requests are still taken.
    let red = world.admin("/readyz").await;
    assert_eq!(red.status, 503);
    assert!(red.text().contains("draining"), "{}", red.text());
    assert_eq!(world.admin("/livez").await.status, 200);
    assert_eq!(world.get("/items").await.status, 200);
    // A second signal ends it at once, whatever is under way.
    world.program.signal(Signal::Term).unwrap();
    let end = world.program.finish().unwrap();
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    latch.release();
}

#[tokio::test]
async fn readiness_is_red_while_the_keys_of_an_issuer_cannot_be_had() {
    let config = CONFIG.replace("{ file: issuer.json }", "{ jwks: \"http://127.0.0.1:1/jwks\" }");
    let world = World::with(&config, |_| Answer::json("{}"));
    let red = world.admin("/readyz").await;
    assert_eq!(red.status, 503);
    assert!(red.text().contains("keys of issuer"), "{}", red.text());
    let refused =
        world.ask("GET", "/users/alice", &[("Authorization", &world.bearer("alice", ""))], b"").await;
    assert_eq!((refused.status, refused.problem().as_deref()), (503, Some("issuer-unavailable")));
    assert_eq!(world.get("/items").await.status, 200, "what needs no token is served");
}
