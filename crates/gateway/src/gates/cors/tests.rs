//! `vectors/cors.yaml`.

use super::*;
use crate::gates::canonical::tests::{run, with_request};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    any: bool,
    #[serde(default)]
    cookie_caller: bool,
    #[serde(default)]
    websocket: bool,
    expect: Expect,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    code: Option<String>,
    status: Option<u16>,
    #[serde(default)]
    headers: BTreeMap<String, Option<String>>,
}

fn browsers(any: bool) -> Browsers {
    let none: [&str; 0] = [];
    if any {
        Browsers::new(["*"], false, none, 600).unwrap()
    } else {
        Browsers::new(["https://shop.example.com", "https://*.shop.example.com"], true, none, 600).unwrap()
    }
}

/// What the gates do with these functions, in their order: preflight, WebSocket, cookies, the answer.
fn judge(case: &Case) -> Result<(Option<u16>, HeaderMap), Stop> {
    let method = case.method.as_deref().unwrap_or("GET");
    let head = run(&with_request(method, case.headers.clone(), case.websocket)).unwrap();
    let browsers = browsers(case.any);
    let methods = [(Method::Get, true), (Method::Post, false)];
    let may_send = |name: &str| matches!(name, "content-type" | "authorization" | "x-shop-region");
    if is_preflight(&head) {
        let offer = Offer { browsers: &browsers, methods: &methods, header: &may_send };
        let answer = Answer::from(preflight(&head, &offer)?);
        return Ok((Some(answer.status), answer.headers));
    }
    if case.websocket {
        websocket(&head, Some(&browsers))?;
    }
    if case.cookie_caller {
        cookie_caller(&head, Some(&browsers))?;
    }
    let mut headers = HeaderMap::new();
    decorate(&mut headers, &browsers, allowed_origin(&head, &browsers, case.any));
    Ok((None, headers))
}

fn compare(case: &Case) -> Result<(), String> {
    match (judge(case), &case.expect.code) {
        (Err(Stop::Refusal(refusal)), Some(code)) if refusal.code.text() == code => {
            // The page learns nothing, not even from the refusal.
            let told = refusal.headers.keys().any(|name| name.as_str().starts_with("access-control"));
            if told { Err("a CORS header on a refusal".to_owned()) } else { Ok(()) }
        }
        (Ok((status, headers)), None) => {
            if status != case.expect.status {
                return Err(format!("status {status:?}, not {:?}", case.expect.status));
            }
            for (name, wanted) in &case.expect.headers {
                let got: Vec<_> = headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect();
                if got != wanted.as_deref().into_iter().collect::<Vec<_>>() {
                    return Err(format!("{name} is {got:?}, not {wanted:?}"));
                }
            }
            Ok(())
        }
        (got, _) => Err(format!("{got:?}, not {:?}", case.expect.code)),
    }
}

#[test]
fn cors_vectors() {
    let cases: Vec<Case> = serde_saphyr::from_str(include_str!("../../../vectors/cors.yaml")).unwrap();
    let wrong: Vec<String> =
        cases.iter().filter_map(|c| compare(c).err().map(|why| format!("cors#{}: {why}", c.name))).collect();
    assert!(wrong.is_empty(), "\n{}\n({} of {} cases)", wrong.join("\n"), wrong.len(), cases.len());
}

#[test]
fn cors_without_browsers_the_same_origin_alone_passes() {
    let judge = |origin: &str| {
        let headers = vec![("Origin".to_owned(), origin.to_owned())];
        cookie_caller(&run(&with_request("POST", headers, false)).unwrap(), None).is_ok()
    };
    assert!(judge("https://api.example.com"));
    assert!(!judge("https://shop.example.com"));
}

#[test]
fn cors_vary_keeps_what_is_there() {
    let mut headers = HeaderMap::new();
    headers.insert(header::VARY, HeaderValue::from_static("Accept, origin"));
    vary(&mut headers, "Origin");
    assert_eq!(headers.get_all(header::VARY).iter().count(), 1);
    vary(&mut headers, "Authorization");
    assert_eq!(headers.get_all(header::VARY).iter().count(), 2);
}
