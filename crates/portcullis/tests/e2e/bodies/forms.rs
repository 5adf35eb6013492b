//! Urlencoded forms (contract.md § 11.4).

use super::*;

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

#[tokio::test]
async fn a_form_goes_on_as_it_was_judged() {
    let world = world();
    let body = b"age=7&tags=a&name=J%c3%bcrgen+K.%0d%0a2&tags=b%26c&ids=1,2&at=%7B%22x%22:1%7D";
    let seen = arrived(&world, &post(&world, "/form", &[FORM], body).await);
    assert_eq!(
        String::from_utf8(seen.message.body.clone()).unwrap(),
        "name=J%C3%BCrgen%20K.%0D%0A2&age=7&tags=a&tags=b%26c&ids=1,2&at=%7B%22x%22%3A1%7D"
    );
    assert_eq!(seen.header("content-type"), Some("application/x-www-form-urlencoded"));
}

#[tokio::test]
async fn a_form_of_another_shape_is_refused() {
    let world = world();
    for (body, expected) in [
        ("name=a&is_admin=true", "/is_admin unknown-property"),
        ("name=a&NAME=b", "/NAME unknown-property"),
        ("name=a&name=b", "/name duplicate-parameter"),
        ("name[]=a", "/name[] unknown-property"),
        ("name=a&age=07", "/age type"),
        ("name=a&age=151", "/age maximum"),
        ("name=a&age=1e1", "/age type"),
        ("name=a&_method=DELETE", "/_method unknown-property"),
        ("name=a&at=%7B%22y%22:1%7D", "/at/y unknown-property"),
        ("age=1", "/name required"),
        ("name=%00", "/name characters"),
        ("name=%ff", "/name encoding"),
        ("name=%zz", "/name encoding"),
    ] {
        let response = post(&world, "/form", &[FORM], body.as_bytes()).await;
        is_refused(&world, &response, 400, "schema-violation");
        assert_eq!(errors(&response).first().map(String::as_str), Some(expected), "{body}");
    }
    for body in [b"name=a&&age=1".as_slice(), b"name=a&", b"&name=a", b"=a", b"name=a;age=1&=", b"n\xffame=a"]
    {
        is_refused(&world, &post(&world, "/form", &[FORM], body).await, 400, "malformed-body");
    }
    let many = vec!["tags=a"; 1001].join("&");
    is_refused(&world, &post(&world, "/form", &[FORM], many.as_bytes()).await, 400, "malformed-body");
    // A form is not what JSON says it is.
    let response = post(&world, "/json", &[FORM], b"{}").await;
    is_refused(&world, &response, 415, "unsupported-media-type");
}
