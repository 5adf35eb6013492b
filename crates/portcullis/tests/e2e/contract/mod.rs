//! The contract through the running program: public suites, parameters, modes, and what `check` says.

mod check;
mod json;
mod modes;
mod parameters;
mod responses;
mod schemas;
mod strings;
mod urls;

use super::world::World;
use portcullis_testkit::{Answer, Connection, Response, Upstream, request};
use std::path::PathBuf;

/// A folder of public test vectors; without it the test says so and ends.
fn vectors(folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("PORTCULLIS_VECTORS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors"),
        PathBuf::from,
    );
    let path = root.join(folder);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: no test vectors at {}", path.display());
    None
}

/// A gate for one document `openapi.yaml` whose operations anybody may call. `extra` is indented by four.
fn open(spec: &str, operations: &[&str], extra: &str) -> World {
    open_with(spec, operations, extra, "", &[])
}

/// As [`open`], with further top-level words and files.
fn open_with(spec: &str, operations: &[&str], extra: &str, top: &str, files: &[(&str, &str)]) -> World {
    let config = format!("{}{top}apis:\n{}", HEAD, api("shop", "openapi.yaml", operations, extra));
    let mut all = vec![("openapi.yaml", spec)];
    all.extend_from_slice(files);
    World::behind(Upstream::start(|_| Answer::status(204)), &config, &all)
}

const HEAD: &str = "listen: [{ address: \"127.0.0.1:0\" }]\nadmin: 127.0.0.1:0\nlimits: { global: off, address: off, key: off, user: off }\n";

fn api(name: &str, spec: &str, operations: &[&str], extra: &str) -> String {
    let anonymous: Vec<String> =
        operations.iter().map(|id| format!("{{ allow: \"{id}\", because: a test }}")).collect();
    format!(
        "  {name}:\n    spec: {spec}\n    upstream: UPSTREAM\n    authenticate: {{ jwt: {{ issuer: https://login.example.com/, audience: shop }} }}\n    anonymous: [{}]\n{extra}",
        anonymous.join(", ")
    )
}

/// Requests in order over one connection each of `lanes`, reopened where the gate ends it; answers in order.
async fn all(world: &World, requests: Vec<Vec<u8>>, lanes: usize) -> Vec<Response> {
    let address = world.public();
    let share = requests.len().div_ceil(lanes).max(1);
    let mut tasks = Vec::new();
    for part in requests.chunks(share) {
        let part = part.to_vec();
        tasks.push(tokio::spawn(async move {
            let mut connection = Connection::open(address).await.unwrap();
            let mut answers = Vec::with_capacity(part.len());
            for bytes in part {
                connection.write(&bytes).await.unwrap();
                let answer = connection.response().await.unwrap();
                if answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
                    connection = Connection::open(address).await.unwrap();
                }
                answers.push(answer);
            }
            answers
        }));
    }
    let mut answers = Vec::new();
    for task in tasks {
        answers.extend(task.await.unwrap());
    }
    answers
}

/// A POST of JSON.
fn post(target: &str, body: &[u8]) -> Vec<u8> {
    request(
        "POST",
        target,
        &[("Content-Type", "application/json"), ("Content-Length", &body.len().to_string())],
        body,
    )
}
