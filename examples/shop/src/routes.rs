//! The routes, each with its fault.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::http::request::Parts;
use hyper::{Method, Response};
use serde_json::{Map, Value, json};

use crate::state::{PRODUCTS, State, order};

type Answer = Response<Full<Bytes>>;

/// Judges nothing, serves everything.
pub(crate) fn answer(state: &mut State, parts: &Parts, body: &[u8]) -> Answer {
    let path = normalise(parts.uri.path());
    let query = Query(parts.uri.query().unwrap_or_default());
    // Any method can pretend to be another: API8.
    let method = header(parts, "x-http-method-override").unwrap_or(parts.method.as_str()).to_owned();
    // Whatever the content type says, and the last of equal keys wins: API8.
    let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let call =
        Call { parts, query, body, method: Method::from_bytes(method.as_bytes()).unwrap_or(Method::GET) };
    route(state, &call, &segments)
}

struct Call<'a> {
    parts: &'a Parts,
    query: Query<'a>,
    body: Value,
    method: Method,
}

impl Call<'_> {
    fn text(&self, name: &str) -> &str {
        self.body.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn integer(&self, name: &str) -> i64 {
        self.body.get(name).and_then(Value::as_i64).unwrap_or_default()
    }

    /// Who calls: a header that anybody can send, else the subject of a token whose signature, issuer and
    /// expiry nobody looks at, else a token in the URL: API2.
    fn caller(&self) -> Option<String> {
        if let Some(user) = header(self.parts, "x-user-id") {
            return Some(user.to_owned());
        }
        let token = header(self.parts, "authorization")
            .and_then(|value| value.strip_prefix("Bearer "))
            .or_else(|| self.query.last("access_token"))?;
        let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
        let claims: Value = serde_json::from_slice(&payload).ok()?;
        claims.get("sub")?.as_str().map(str::to_owned)
    }
}

fn route(state: &mut State, call: &Call<'_>, segments: &[&str]) -> Answer {
    let method = call.method.as_str();
    match (method, segments) {
        ("POST", ["login"]) => login(state, call),
        ("POST", ["password-reset"]) => password_reset(state, call),
        ("GET", ["me"]) => match call.caller().and_then(|id| state.users.get(&id).cloned()) {
            Some(user) => json_answer(200, &Value::Object(user)),
            None => json_answer(401, &json!({ "error": "who are you?" })),
        },
        // The id in the path decides whose data it is; nobody asks who calls: API1.
        ("GET", ["users", id]) => found(state.users.get(*id)),
        ("PATCH", ["users", id]) => patch_user(state, call, id),
        ("GET", ["users", id, "orders"]) => orders(state, call, id),
        ("POST", ["users", id, "orders"]) => create_order(state, call, id),
        ("GET", ["users", id, "orders", number]) => {
            found(state.orders.get(&((*id).to_owned(), number.parse().unwrap_or(0))))
        }
        ("DELETE", ["users", id, "orders", number]) => {
            match state.orders.remove(&((*id).to_owned(), number.parse().unwrap_or(0))) {
                Some(_) => empty(204),
                None => not_found(),
            }
        }
        ("POST", ["transfers"]) => {
            state.transfer(call.text("from"), call.text("to"), call.integer("cents"));
            json_answer(200, &json!({ "done": true }))
        }
        ("GET", ["invoices"]) => invoices(state, call),
        ("POST", ["notes"]) => {
            state.note_bytes += call.text("text").len();
            json_answer(201, &json!({ "kept": true }))
        }
        ("GET", ["products"]) => products(call),
        ("GET", ["products", sku]) => product(sku),
        ("DELETE", ["products", _]) => json_answer(200, &json!({ "deleted": true })),
        ("POST", ["products", "import"]) => import(state, call),
        ("GET", ["products", sku, "reviews"]) => reviews(sku),
        ("POST", ["drops", "sneakers", "purchase"]) => purchase(state),
        ("GET", ["reports", "sales"]) => {
            state.reports += 1;
            json_answer(200, &json!({ "orders": state.orders.len(), "cents": 1_234_567 }))
        }
        ("GET", ["warehouse"]) => warehouse(call),
        _ => management(state, method, segments),
    }
}

/// Administration without a check of the role (API5), and what nobody knew to be there (API9).
fn management(state: &mut State, method: &str, segments: &[&str]) -> Answer {
    match (method, segments) {
        ("GET", ["admin", "users"]) | ("GET", ["internal", "users"]) => {
            let users: Vec<Value> = state.users.values().cloned().map(Value::Object).collect();
            json_answer(200, &json!({ "items": users }))
        }
        ("DELETE", ["admin", "users", id]) => {
            state.users.remove(*id);
            empty(204)
        }
        ("POST", ["admin", "users", id, "promote"]) => {
            if let Some(user) = state.users.get_mut(*id) {
                user.insert("is_admin".to_owned(), json!(true));
            }
            json_answer(200, &json!({ "is_admin": state.is_admin(id) }))
        }
        ("GET", ["debug", "config"]) => json_answer(
            200,
            &json!({ "database": "postgres://shop:hunter2@db/shop", "jwt_secret": "changeme" }),
        ),
        ("GET", ["v0", "users", id]) => found(state.users.get(*id)),
        _ => not_found(),
    }
}

/// No limit on tries, and an object instead of a PIN is a condition: API2.
fn login(state: &State, call: &Call<'_>) -> Answer {
    let user = call.text("user");
    let Some(row) = state.users.get(user) else { return json_answer(401, &json!({ "error": "wrong" })) };
    let given = call.body.get("pin").cloned().unwrap_or_default();
    let condition = given.get("$ne").is_some_and(|other| Some(other) != row.get("pin"));
    if condition || row.get("pin") == Some(&given) {
        return json_answer(200, &json!({ "session": format!("session-of-{user}") }));
    }
    json_answer(401, &json!({ "error": "wrong" }))
}

/// The link points wherever the request says that the shop is: API8.
fn password_reset(state: &mut State, call: &Call<'_>) -> Answer {
    let host =
        header(call.parts, "x-forwarded-host").or_else(|| header(call.parts, "host")).unwrap_or_default();
    let user = call.text("user");
    state.mails.push(format!("to {user}: set a new PIN at http://{host}/reset/one-time-code-of-{user}"));
    json_answer(202, &json!({ "sent": true }))
}

/// Every member that comes is written to the row: API3.
fn patch_user(state: &mut State, call: &Call<'_>, id: &str) -> Answer {
    let Some(user) = state.users.get_mut(id) else { return not_found() };
    for (name, value) in call.body.as_object().unwrap_or(&Map::new()) {
        user.insert(name.clone(), value.clone());
    }
    json_answer(200, &Value::Object(user.clone()))
}

fn orders(state: &State, call: &Call<'_>, id: &str) -> Answer {
    let limit = call.query.last("limit").and_then(|text| text.parse().ok()).unwrap_or(usize::MAX);
    let items: Vec<Value> = state
        .orders
        .iter()
        .filter(|((owner, _), _)| owner == id)
        .map(|(_, order)| Value::Object(order.clone()))
        .take(limit)
        .collect();
    json_answer(200, &json!({ "items": items }))
}

/// The customer may name the price, and a negative quantity is a gift: API3, API6.
fn create_order(state: &mut State, call: &Call<'_>, id: &str) -> Answer {
    let number = state.orders.keys().filter(|(owner, _)| owner == id).map(|(_, n)| n + 1).max().unwrap_or(1);
    let mut row = order(number, call.text("sku"), call.integer("quantity"), call.text("note"));
    for (name, value) in call.body.as_object().unwrap_or(&Map::new()) {
        row.insert(name.clone(), value.clone());
    }
    let total = row.get("price_cents").and_then(Value::as_i64).unwrap_or(0) * call.integer("quantity");
    state.transfer(id, "", total);
    state.orders.insert((id.to_owned(), number), row.clone());
    json_answer(201, &Value::Object(row))
}

/// Of two equal parameters the last one counts; other programs would take the first: API1.
fn invoices(state: &State, call: &Call<'_>) -> Answer {
    let customer = call.query.last("customer").unwrap_or_default();
    let items: Vec<Value> = state
        .orders
        .keys()
        .filter(|(owner, _)| owner == customer)
        .map(|(owner, number)| json!({ "invoice": format!("{owner}-{number}"), "cents": 1_999 }))
        .collect();
    json_answer(200, &json!({ "items": items }))
}

/// As many as asked for: API4.
fn products(call: &Call<'_>) -> Answer {
    let number = |name: &str, default: u64| {
        call.query.last(name).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (limit, offset) = (number("limit", 20), number("offset", 0));
    let first = offset.min(PRODUCTS) + 1;
    let last = offset.saturating_add(limit).min(PRODUCTS);
    let items: Vec<Value> = (first..=last).map(product_row).collect();
    json_answer(200, &json!({ "items": items }))
}

fn product_row(number: u64) -> Value {
    json!({ "sku": format!("sku-{number:04}"), "name": format!("Article {number}"), "price_cents": 1_999,
            "supplier_cost_cents": 1_159 })
}

/// One article was never finished, and the error tells the stranger all about the inside: API8.
fn product(sku: &str) -> Answer {
    if sku == "sku-4040" {
        return text_answer(
            500,
            "thread 'worker-3' panicked at /srv/shop/src/pricing.rs:214: division by zero\nstack backtrace:\n  \
             0: shop::pricing::margin\n  1: shop::db::Pool::query (postgres://shop:hunter2@db/shop)\n",
        );
    }
    match sku.strip_prefix("sku-").and_then(|digits| digits.parse().ok()) {
        Some(number) if (1..=PRODUCTS).contains(&number) => json_answer(200, &product_row(number)),
        _ => not_found(),
    }
}

/// Fetches the picture from wherever it is told. Here it only notes that it would: API7.
fn import(state: &mut State, call: &Call<'_>) -> Answer {
    let url = call.text("image_url").to_owned();
    let preview = if url.contains("169.254.169.254") { "AKIAIOSFODNN7EXAMPLE" } else { "" };
    state.fetched.push(url);
    json_answer(201, &json!({ "sku": "sku-5001", "name": call.text("name"), "preview": preview }))
}

/// Passes on what a partner says, members, headers and all: API10.
fn reviews(sku: &str) -> Answer {
    let mut answer = json_answer(
        200,
        &json!({
            "items": [
                { "stars": 5, "text": format!("{sku} is fine") },
                { "stars": 1, "text": "broke", "author_email": "carol@partner.example",
                  "widget_html": "<script src=//evil.example/x.js></script>" },
            ],
            "partner_cursor": "partner-db-7:offset=2"
        }),
    );
    answer
        .headers_mut()
        .insert("x-partner-token", hyper::header::HeaderValue::from_static("partner-secret-token"));
    answer
}

/// First come, first served, to robots too: API6.
fn purchase(state: &mut State) -> Answer {
    if state.sneakers == 0 {
        return json_answer(409, &json!({ "error": "sold out" }));
    }
    state.sneakers -= 1;
    json_answer(201, &json!({ "left": state.sneakers }))
}

/// For the warehouse's own network, which is whatever a header says: API8.
fn warehouse(call: &Call<'_>) -> Answer {
    let inside = header(call.parts, "x-forwarded-for").is_some_and(|value| value.starts_with("10.20."));
    match inside {
        true => json_answer(200, &json!({ "alarm_code": "4711", "shelves": 12 })),
        false => json_answer(403, &json!({ "error": "warehouse network only" })),
    }
}

/// Decodes once and resolves dots, after whoever stood in front has looked at the raw path.
fn normalise(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits: Vec<u8> = rest.by_ref().take(2).collect();
        let text = String::from_utf8(digits).unwrap_or_default();
        bytes.push(u8::from_str_radix(&text, 16).unwrap_or(b'%'));
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let mut segments: Vec<&str> = Vec::new();
    for segment in text.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    format!("/{}", segments.join("/"))
}

struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    fn last(&self, name: &str) -> Option<&'a str> {
        self.0
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .filter(|(n, _)| *n == name)
            .map(|(_, v)| v)
            .next_back()
    }
}

fn header<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    parts.headers.get(name)?.to_str().ok()
}

fn found(row: Option<&Map<String, Value>>) -> Answer {
    match row {
        Some(row) => json_answer(200, &Value::Object(row.clone())),
        None => not_found(),
    }
}

fn not_found() -> Answer {
    json_answer(404, &json!({ "error": "not found" }))
}

fn empty(status: u16) -> Answer {
    build(status, None, Bytes::new())
}

fn json_answer(status: u16, value: &Value) -> Answer {
    build(status, Some("application/json"), Bytes::from(value.to_string()))
}

fn text_answer(status: u16, text: &str) -> Answer {
    build(status, Some("text/plain"), Bytes::from(text.to_owned()))
}

fn build(status: u16, media: Option<&'static str>, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    if let Ok(status) = hyper::StatusCode::from_u16(status) {
        *answer.status_mut() = status;
    }
    if let Some(media) = media {
        answer.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static(media));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(state: &mut State, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> u16 {
        let mut request = hyper::Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        answer(state, &parts, body.as_bytes()).status().as_u16()
    }

    #[test]
    fn it_is_as_vulnerable_as_it_says() {
        let state = &mut State::default();
        assert_eq!(ask(state, "GET", "/me", &[], ""), 401);
        assert_eq!(ask(state, "GET", "/me", &[("X-User-Id", "alice")], ""), 200);
        assert_eq!(ask(state, "GET", "/x/%2e%2e/users/alice/orders/2", &[], ""), 200);
        assert_eq!(ask(state, "PATCH", "/users/mallory", &[], "{\"is_admin\":true}"), 200);
        assert!(state.is_admin("mallory"));
        assert_eq!(ask(state, "POST", "/login", &[], "{\"user\":\"alice\",\"pin\":\"1\"}"), 401);
        assert_eq!(ask(state, "POST", "/login", &[], "{\"user\":\"alice\",\"pin\":{\"$ne\":\"\"}}"), 200);
        assert_eq!(ask(state, "GET", "/warehouse", &[], ""), 403);
        let body = "{\"sku\":\"sku-0009\",\"quantity\":-100}";
        assert_eq!(ask(state, "POST", "/users/mallory/orders", &[], body), 201);
        assert_eq!(state.cents("mallory"), 100 + 199_900);
        assert_eq!(
            ask(state, "POST", "/users/alice/orders/1", &[("X-HTTP-Method-Override", "DELETE")], ""),
            204
        );
        assert!(!state.orders.contains_key(&("alice".to_owned(), 1)));
    }
}
