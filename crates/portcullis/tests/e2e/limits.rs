//! Limits to the last request and the last second, and nobody pays for another.

use crate::h2::H2;
use crate::world::{CONFIG, World, items};
use portcullis_testkit::{Answer, Connection, Response, request};
use std::net::Ipv4Addr;
use std::time::Instant;
use tokio::net::TcpSocket;

fn with(limits: &str) -> String {
    CONFIG.replace("limits: { global: off, address: off, key: off, user: off }", limits)
}

fn is_spent(response: &Response, layer: &str) -> u64 {
    assert_eq!(
        (response.status, response.problem().as_deref()),
        (429, Some("quota-spent")),
        "{}",
        response.text()
    );
    assert_eq!(response.json()["violated-policies"], serde_json::json!([layer]), "{}", response.text());
    response.header("retry-after").unwrap().parse().unwrap()
}

/// One request from another address of loopback.
async fn from(world: &World, last: u8, bytes: &[u8]) -> Response {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into()).unwrap();
    let mut connection = Connection::over(socket.connect(world.public()).await.unwrap());
    connection.write(bytes).await.unwrap();
    connection.response().await.unwrap()
}

#[tokio::test]
async fn the_thirty_first_request_of_an_address_waits_exactly_as_long_as_it_is_told() {
    let world = World::with(
        &with("limits: { global: off, address: { rate: 30/min, burst: 30 }, key: off, user: off }"),
        |_| items(),
    );
    let bytes = request("GET", "/items", &[], b"");
    let began = Instant::now();
    // One comes back in two seconds: on a machine that takes so long for thirty, there are some more.
    let mut number = 0;
    let refused = loop {
        let answer = from(&world, 2, &bytes).await;
        if answer.status != 200 {
            break answer;
        }
        number += 1;
        let back = began.elapsed().as_secs() / 2 + 1;
        let left: u64 = answer.header("x-ratelimit-remaining").unwrap().parse().unwrap();
        assert!(
            number <= 30 + back && (30_u64.saturating_sub(number)..=30 + back - number).contains(&left),
            "{number}: {left}"
        );
    };
    assert!(number >= 30, "{number}");
    let elapsed = began.elapsed();
    // Two seconds after the first; what has passed is taken off, and the rest rounded up.
    let exact = |passed: u128| 2_000_u128.saturating_sub(passed).div_ceil(1_000).max(1);
    let wait = u128::from(is_spent(&refused, "address"));
    assert!((exact(elapsed.as_millis())..=exact(0)).contains(&wait), "{wait} s after {elapsed:?}");
    assert_eq!(refused.header("x-ratelimit-remaining"), Some("0"));
    // Another address has its own, and whoever proves who he is does not need one.
    assert_eq!(from(&world, 3, &bytes).await.status, 200);
    let bearer = world.bearer("alice", "");
    let known = request("GET", "/users/alice", &[("Authorization", &bearer)], b"");
    assert_eq!(from(&world, 2, &known).await.status, 200);
    // Failed credentials are charged to the address: guessing ends where asking ends.
    let guess = request("GET", "/users/alice", &[("Authorization", "Bearer guess")], b"");
    is_spent(&from(&world, 2, &guess).await, "address");
    assert_eq!(from(&world, 3, &guess).await.status, 401);
    // What a stranger says about his address changes nothing.
    for name in ["X-Forwarded-For", "Forwarded", "X-Real-IP", "True-Client-IP", "CF-Connecting-IP"] {
        let value = if name == "Forwarded" { "for=198.51.100.7" } else { "198.51.100.7" };
        is_spent(&from(&world, 2, &request("GET", "/items", &[(name, value)], b"")).await, "address");
    }
}

#[tokio::test]
async fn each_layer_refuses_by_itself_and_takes_nothing_from_the_others() {
    let limits = "limits:\n  global: off\n  address: off\n  key: { rate: 6/day, burst: 6 }\n  user: { rate: 3/day, burst: 3 }\n  \
                  sensitive: { match: [{ tag: sensitive }], rate: 2/day, burst: 2 }";
    let world = World::with(&with(limits), |seen| match seen.method.as_str() {
        "POST" => Answer::status(201),
        _ => Answer::json("{}"),
    });
    let ask = async |subject: &str| {
        let bearer = world.bearer(subject, "");
        world.ask("GET", &format!("/users/{subject}"), &[("Authorization", &bearer)], b"").await
    };
    for number in 0..3 {
        let answer = ask("alice").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("x-ratelimit-remaining"), Some((2 - number).to_string().as_str()));
        let state = answer.header("ratelimit").unwrap();
        assert!(state.contains(&format!("\"user\";r={}", 2 - number)), "{state}");
        assert!(state.contains(&format!("\"key\";r={}", 5 - number)), "{state}");
    }
    // One user more than enough; the client that both use pays nothing for what was refused.
    for _ in 0..5 {
        let wait = is_spent(&ask("alice").await, "user");
        assert!((28_790..=28_800).contains(&wait), "{wait}");
    }
    for _ in 0..3 {
        assert_eq!(ask("bob").await.status, 200);
    }
    let refused = ask("carol").await;
    assert_eq!(refused.json()["violated-policies"], serde_json::json!(["key"]), "{}", refused.text());
    // An operation of its own, by another client.
    let transfer = async |subject: &str, client: &str| {
        let token = world.claims(subject, "").claim("client_id", client).sign(&world.key);
        let bearer = format!("Bearer {token}");
        let body = format!("{{\"from\":\"{subject}\",\"to\":\"x\"}}");
        let fields = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        world.ask("POST", "/transfers", &fields, body.as_bytes()).await
    };
    for _ in 0..2 {
        assert_eq!(transfer("dave", "other").await.status, 201);
    }
    let refused = transfer("dave", "other").await;
    assert_eq!((refused.status, refused.problem().as_deref()), (429, Some("quota-spent")));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((43_190..=43_200).contains(&wait), "{wait}");
    assert_eq!(transfer("erin", "other").await.status, 201, "another caller has another budget");
    let line = world.line_of(&refused);
    assert!(line["portcullis.limits"].to_string().contains("refused"), "{line}");
}

/// Over twenty connections and both workers.
#[tokio::test]
async fn two_thousand_concurrent_requests_on_a_budget_of_one_hundred_admit_exactly_one_hundred() {
    for (limits, advertised) in [
        ("limits: { global: { rate: 100/day, burst: 100 }, address: off, key: off, user: off }", false),
        ("limits: { global: off, address: { rate: 100/day, burst: 100 }, key: off, user: off }", true),
    ] {
        let world = World::with(&with(limits), |_| items());
        let tls = world.tls(&[b"h2"]);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let connection = H2::open(world.secure(), tls.clone()).await.unwrap();
            for _ in 0..100 {
                let connection = connection.clone();
                tasks.spawn(async move { connection.send("GET", "/items", &[], b"").await.unwrap() });
            }
        }
        let answers = tasks.join_all().await;
        let admitted = answers.iter().filter(|answer| answer.status == 200).count();
        let refused = answers.iter().filter(|answer| answer.status == 429).count();
        assert_eq!((admitted, refused), (100, 1_900));
        assert_eq!(world.upstream.requests().len(), 100);
        for answer in answers.iter().filter(|answer| answer.status == 429) {
            assert_eq!(answer.problem().as_deref(), Some("quota-spent"));
            assert!(answer.header("retry-after").is_some());
            assert_eq!(
                answer.header("x-ratelimit-limit").is_some(),
                advertised,
                "the global budget is told to nobody"
            );
        }
    }
}
