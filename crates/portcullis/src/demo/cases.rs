//! The attacks and the honest calls. Whether one succeeded is judged by what came back and by what stands in
//! the shop's books afterwards, never by a status alone where the content can be looked at.

use std::io;

use super::case::{Case, Kind, Owasp, Side};
use super::issuer::Forgery;

const fn attack(item: Owasp, name: &'static str, run: fn(&Side<'_>) -> io::Result<bool>) -> Case {
    Case { name, kind: Kind::Attack(item), run }
}

const fn honest(name: &'static str, run: fn(&Side<'_>) -> io::Result<bool>) -> Case {
    Case { name, kind: Kind::Honest, run }
}

/// All cases in the order in which they run: honest calls first, then the attacks, those last that use up budgets,
/// and one more honest call: a gate that had fallen over would have let nothing in either.
pub(super) fn all() -> Vec<Case> {
    [
        honest_calls(),
        objects(),
        authentication(),
        properties(),
        functions(),
        forgery(),
        configuration(),
        floods(),
    ]
    .concat()
}

fn honest_calls() -> Vec<Case> {
    vec![
        honest("browse the catalogue", |s| Ok(s.stranger("/products?limit=20")?.gives("sku-0020"))),
        honest("look at an article", |s| Ok(s.stranger("/products/sku-0007")?.gives("Article 7"))),
        honest("read its reviews", |s| Ok(s.stranger("/products/sku-0007/reviews")?.gives("is fine"))),
        honest("sign in with the right PIN", |s| {
            Ok(s.anonymous("/login", "{\"user\":\"bob\",\"pin\":\"7311\"}")?.gives("session-of-bob"))
        }),
        honest("ask for a new PIN", |s| {
            s.anonymous("/password-reset", "{\"user\":\"bob\"}")?;
            Ok(s.shop.look(|shop| shop.mails.len() == 1))
        }),
        honest("read one's own profile", |s| Ok(s.get("alice", "/users/alice")?.gives("Alice Archer"))),
        honest("change one's own name", |s| {
            Ok(s.call("alice", "PATCH", "/users/alice", "{\"name\":\"Alice B. Archer\"}")?
                .gives("Alice B. Archer"))
        }),
        honest("list one's own orders", |s| {
            Ok(s.get("alice", "/users/alice/orders?limit=10")?.gives("neighbour"))
        }),
        honest("read one's own order", |s| Ok(s.get("alice", "/users/alice/orders/2")?.gives("present"))),
        honest("order something", |s| {
            let body = "{\"sku\":\"sku-0009\",\"quantity\":2,\"note\":\"thanks\"}";
            let answer = s.call("alice", "POST", "/users/alice/orders", body)?;
            Ok(answer.status == 201 && s.has_order("alice", 3))
        }),
        honest("cancel one's own order", |s| {
            let answer = s.call("alice", "DELETE", "/users/alice/orders/1", "")?;
            Ok(answer.status == 204 && !s.has_order("alice", 1))
        }),
        honest("pay a friend", |s| {
            s.call("alice", "POST", "/transfers", "{\"from\":\"alice\",\"to\":\"bob\",\"cents\":500}")?;
            Ok(s.cents("bob") == 12_500)
        }),
        honest("list one's own invoices", |s| Ok(s.get("bob", "/invoices?customer=bob")?.gives("bob-1"))),
        honest("keep a note", |s| Ok(s.call("bob", "POST", "/notes", "{\"text\":\"milk\"}")?.gives("kept"))),
        honest("buy one pair of sneakers", |s| {
            Ok(s.call("bob", "POST", "/drops/sneakers/purchase", "")?.gives("\"left\":9"))
        }),
        honest("a vendor imports an article", |s| {
            s.import("https://images.shop.example/hats/blue.png", "images.shop.example/hats/blue.png")
        }),
        honest("compute a sales report", |s| Ok(s.get("bob", "/reports/sales")?.gives("1234567"))),
        honest("an administrator lists users", |s| Ok(s.get("admin", "/admin/users")?.gives("Bob Baker"))),
        honest("an administrator deletes a user", |s| {
            s.call("admin", "DELETE", "/admin/users/bob", "")?;
            Ok(s.shop.look(|shop| !shop.users.contains_key("bob")))
        }),
    ]
}

fn objects() -> Vec<Case> {
    use Owasp::Api1;
    vec![
        attack(Api1, "read somebody else's order", |s| {
            Ok(s.get("mallory", "/users/alice/orders/1")?.gives("neighbour"))
        }),
        attack(Api1, "list somebody else's orders", |s| {
            Ok(s.get("mallory", "/users/alice/orders?limit=10")?.gives("present"))
        }),
        attack(Api1, "cancel somebody else's order", |s| {
            s.call("mallory", "DELETE", "/users/alice/orders/1", "")?;
            Ok(!s.has_order("alice", 1))
        }),
        attack(Api1, "redirect somebody else's mail", |s| {
            Ok(s.call("mallory", "PATCH", "/users/alice", "{\"email\":\"m@evil.example\"}")?
                .gives("evil.example"))
        }),
        attack(Api1, "pay from somebody else's account", |s| {
            let body = "{\"from\":\"alice\",\"to\":\"mallory\",\"cents\":50000}";
            s.call("mallory", "POST", "/transfers", body)?;
            Ok(s.cents("mallory") > 100)
        }),
        attack(Api1, "name the own account and somebody else's in one body", |s| {
            let body = "{\"from\":\"mallory\",\"from\":\"alice\",\"to\":\"mallory\",\"cents\":50000}";
            s.call("mallory", "POST", "/transfers", body)?;
            Ok(s.cents("mallory") > 100)
        }),
        attack(Api1, "name the own id and somebody else's in one query", |s| {
            Ok(s.get("mallory", "/invoices?customer=mallory&customer=alice")?.gives("alice-1"))
        }),
        attack(Api1, "walk to somebody else's order by dot segments", |s| {
            Ok(s.get("mallory", "/users/mallory/../alice/orders/2")?.gives("present"))
        }),
        attack(Api1, "the same, encoded", |s| {
            Ok(s.get("mallory", "/users/mallory%2f%2e%2e%2falice/orders/2")?.gives("present"))
        }),
    ]
}

fn authentication() -> Vec<Case> {
    use Owasp::Api2;
    vec![
        attack(Api2, "no token, but a header that says who calls", |s| {
            let answer = s.send("GET", "/me", &["X-User-Id: alice".to_owned()], "")?;
            Ok(answer.gives("alice@shop.example"))
        }),
        attack(Api2, "an own token, and a header that says otherwise", |s| {
            Ok(s.get_with("mallory", "/me", "X-User-Id: alice")?.gives("alice@shop.example"))
        }),
        attack(Api2, "an unsigned token (alg none)", |s| s.forged(Forgery::Unsigned)),
        attack(Api2, "the public key as HMAC secret (alg HS256)", |s| s.forged(Forgery::PublicKeyAsSecret)),
        attack(Api2, "a token signed by a stranger", |s| s.forged(Forgery::StrangersKey)),
        attack(Api2, "an expired token", |s| s.forged(Forgery::Expired)),
        attack(Api2, "a token for another API", |s| s.forged(Forgery::OtherAudience)),
        attack(Api2, "a token in the URL, where proxies log it", |s| {
            let target = format!("/me?access_token={}", s.issuer.token("alice")?);
            Ok(s.stranger(&target)?.gives("alice@shop.example"))
        }),
        attack(Api2, "a condition in place of the PIN", |s| {
            Ok(s.anonymous("/login", "{\"user\":\"alice\",\"pin\":{\"$ne\":\"\"}}")?
                .gives("session-of-alice"))
        }),
    ]
}

fn properties() -> Vec<Case> {
    use Owasp::Api3;
    vec![
        attack(Api3, "make oneself an administrator", |s| {
            s.call("mallory", "PATCH", "/users/mallory", "{\"name\":\"M\",\"is_admin\":true}")?;
            Ok(s.shop.look(|shop| shop.is_admin("mallory")))
        }),
        attack(Api3, "name the price", |s| {
            let body = "{\"sku\":\"sku-0009\",\"quantity\":1,\"price_cents\":1}";
            s.call("mallory", "POST", "/users/mallory/orders", body)?;
            Ok(s.cents("mallory") == 99)
        }),
        attack(Api3, "read a password hash from a profile", |s| {
            Ok(s.get("mallory", "/users/mallory")?.gives("password_hash"))
        }),
        attack(Api3, "read margins and fraud scores from an order", |s| {
            Ok(s.get("mallory", "/users/mallory/orders/1")?.gives("fraud_score"))
        }),
    ]
}

fn functions() -> Vec<Case> {
    use Owasp::{Api5, Api9};
    vec![
        attack(Api5, "list all users", |s| Ok(s.get("mallory", "/admin/users")?.gives("Alice Archer"))),
        attack(Api5, "delete a user", |s| {
            s.call("mallory", "DELETE", "/admin/users/alice", "")?;
            Ok(s.shop.look(|shop| !shop.users.contains_key("alice")))
        }),
        attack(Api5, "promote oneself", |s| {
            s.call("mallory", "POST", "/admin/users/mallory/promote", "")?;
            Ok(s.shop.look(|shop| shop.is_admin("mallory")))
        }),
        attack(Api5, "a method that nobody declared", |s| {
            Ok(s.call("mallory", "DELETE", "/products/sku-0001", "")?.gives("deleted"))
        }),
        attack(Api9, "the debug route", |s| Ok(s.stranger("/debug/config")?.gives("jwt_secret"))),
        attack(Api9, "the internal route", |s| Ok(s.stranger("/internal/users")?.gives("password_hash"))),
        attack(Api9, "the old version, still alive", |s| {
            Ok(s.get("mallory", "/v0/users/alice")?.gives("national_id"))
        }),
    ]
}

fn forgery() -> Vec<Case> {
    use Owasp::{Api7, Api10};
    vec![
        attack(Api7, "let it fetch the cloud's credentials", |s| {
            s.import("http://169.254.169.254/latest/meta-data/iam/", "169.254.169.254")
        }),
        attack(Api7, "the trusted host as user name", |s| {
            s.import("https://images.shop.example@127.0.0.1/x.png", "127.0.0.1")
        }),
        attack(Api7, "a file in place of a URL", |s| s.import("file:///etc/passwd", "/etc/passwd")),
        attack(Api10, "a partner's script in its reviews", |s| {
            Ok(s.stranger("/products/sku-0001/reviews")?.gives("evil.example"))
        }),
        attack(Api10, "the name of a partner's machine", |s| {
            Ok(s.stranger("/products/sku-0001/reviews")?.gives("partner-db-7"))
        }),
        attack(Api10, "a partner's token in a response header", |s| {
            Ok(s.stranger("/products/sku-0001/reviews")?.header("x-partner-token").is_some())
        }),
    ]
}

fn configuration() -> Vec<Case> {
    use Owasp::{Api6, Api8};
    vec![
        attack(Api6, "order a negative quantity and be paid", |s| {
            let body = "{\"sku\":\"sku-0009\",\"quantity\":-100}";
            s.call("mallory", "POST", "/users/mallory/orders", body)?;
            Ok(s.cents("mallory") > 100)
        }),
        attack(Api6, "order a million pieces and block the stock", |s| {
            let body = "{\"sku\":\"sku-0009\",\"quantity\":1000000}";
            s.call("mallory", "POST", "/users/mallory/orders", body)?;
            Ok(s.has_order("mallory", 2))
        }),
        attack(Api8, "read a stack trace", |s| {
            Ok(s.stranger("/products/sku-4040")?.body.contains("stack backtrace"))
        }),
        attack(Api8, "learn what it runs on", |s| {
            let answer = s.stranger("/products/sku-0001")?;
            Ok(answer.header("server").is_some() || answer.header("x-powered-by").is_some())
        }),
        attack(Api8, "read answers from any web page (CORS)", |s| {
            let answer = s.get_with("alice", "/me", "Origin: https://evil.example")?;
            Ok(answer.success()
                && answer.header("access-control-allow-origin") == Some("https://evil.example"))
        }),
        attack(Api8, "find personal data in a shared cache", |s| {
            let answer = s.get("alice", "/me")?;
            Ok(answer.success() && !answer.header("cache-control").is_some_and(|v| v.contains("no-store")))
        }),
        attack(Api8, "another method by a header", |s| {
            let lines = [s.bearer("alice")?, "X-HTTP-Method-Override: DELETE".to_owned()];
            s.send("GET", "/users/alice/orders/1", &lines, "")?;
            Ok(!s.has_order("alice", 1))
        }),
        attack(Api8, "pose as the warehouse's network", |s| {
            Ok(s.get_with("vendor", "/warehouse", "X-Forwarded-For: 10.20.0.7")?.gives("4711"))
        }),
        attack(Api8, "point a password mail at another host", |s| {
            let lines = ["Content-Type: application/json", "X-Forwarded-Host: evil.example"];
            s.send("POST", "/password-reset", &lines.map(str::to_owned), "{\"user\":\"alice\"}")?;
            Ok(s.shop.look(|shop| shop.mails.iter().any(|mail| mail.contains("evil.example"))))
        }),
        attack(Api8, "a body of a type that a web form can send", |s| {
            let lines = [s.bearer("alice")?, "Content-Type: text/plain".to_owned()];
            s.send("POST", "/transfers", &lines, "{\"from\":\"alice\",\"to\":\"mallory\",\"cents\":500}")?;
            Ok(s.cents("mallory") > 100)
        }),
    ]
}

fn floods() -> Vec<Case> {
    use Owasp::{Api2, Api4, Api6};
    vec![
        attack(Api4, "the whole catalogue at once", |s| {
            Ok(s.stranger("/products?limit=100000")?.gives("sku-5000"))
        }),
        attack(Api4, "a note of four megabytes", |s| {
            let body = format!("{{\"text\":\"{}\"}}", "x".repeat(4 << 20));
            // A connection that is closed in the middle of the body is an answer too.
            let sent = s.call("mallory", "POST", "/notes", &body);
            let kept = s.shop.look(|shop| shop.note_bytes >= 4 << 20);
            if kept { Ok(true) } else { sent.map(|_| false) }
        }),
        attack(Api4, "thirty costly reports in a row", |s| {
            for _ in 0..30 {
                s.get("mallory", "/reports/sales")?;
            }
            Ok(s.shop.look(|shop| shop.reports > 10))
        }),
        attack(Api6, "a robot buys all sneakers", |s| {
            for _ in 0..10 {
                s.call("mallory", "POST", "/drops/sneakers/purchase", "")?;
            }
            Ok(s.shop.look(|shop| shop.sneakers == 0))
        }),
        attack(Api2, "guess a PIN by trying", |s| {
            for pin in 0..50 {
                let body = format!("{{\"user\":\"alice\",\"pin\":\"{pin:04}\"}}");
                if s.anonymous("/login", &body)?.gives("session-of-alice") {
                    return Ok(true);
                }
            }
            Ok(false)
        }),
        honest("be served as before, after all that", |s| {
            Ok(s.get("alice", "/me")?.gives("alice@shop.example"))
        }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::issuer::Issuer;
    use portcullis_shop::Shop;
    use std::net::SocketAddr;

    #[test]
    fn there_are_enough_of_each_and_no_two_are_the_same() {
        let cases = all();
        let attacks = cases.iter().filter(|case| case.kind != Kind::Honest).count();
        assert!(attacks >= 20 && cases.len() - attacks >= 10, "{attacks} of {}", cases.len());
        for item in Owasp::ALL {
            assert!(cases.iter().any(|case| case.kind == Kind::Attack(item)), "{item:?} has no attack");
        }
        let mut names: Vec<_> = cases.iter().map(|case| case.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), cases.len());
    }

    /// The shop must be as vulnerable as the scoreboard says, or the gate's column proves nothing.
    #[test]
    fn the_bare_shop_lets_every_case_in() {
        let shop = Shop::open(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let issuer = Issuer::new().unwrap();
        let side = Side::new(shop.address(), &shop, &issuer);
        for case in all() {
            let seen = side.run(&case);
            assert!(seen.succeeded, "{}: {seen:?}", case.name);
        }
    }
}
