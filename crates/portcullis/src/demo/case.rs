//! What a case is, and how one is run on one side.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;

use portcullis_shop::Shop;

use super::client::{Answer, exchange};
use super::issuer::{Forgery, Issuer};

/// An item of the OWASP API Security Top 10, edition 2023.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owasp {
    /// Broken object level authorization.
    Api1,
    /// Broken authentication.
    Api2,
    /// Broken object property level authorization.
    Api3,
    /// Unrestricted resource consumption.
    Api4,
    /// Broken function level authorization.
    Api5,
    /// Unrestricted access to sensitive business flows.
    Api6,
    /// Server side request forgery.
    Api7,
    /// Security misconfiguration.
    Api8,
    /// Improper inventory management.
    Api9,
    /// Unsafe consumption of APIs.
    Api10,
}

impl Owasp {
    /// All of them, in order.
    pub(super) const ALL: [Self; 10] = [
        Self::Api1,
        Self::Api2,
        Self::Api3,
        Self::Api4,
        Self::Api5,
        Self::Api6,
        Self::Api7,
        Self::Api8,
        Self::Api9,
        Self::Api10,
    ];

    /// `API1:2023` and so on.
    pub(super) fn code(self) -> String {
        format!("API{}:2023", self as usize + 1)
    }

    /// Its title.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Api1 => "Broken object level authorization",
            Self::Api2 => "Broken authentication",
            Self::Api3 => "Broken object property level authorization",
            Self::Api4 => "Unrestricted resource consumption",
            Self::Api5 => "Broken function level authorization",
            Self::Api6 => "Unrestricted access to sensitive business flows",
            Self::Api7 => "Server side request forgery",
            Self::Api8 => "Security misconfiguration",
            Self::Api9 => "Improper inventory management",
            Self::Api10 => "Unsafe consumption of APIs",
        }
    }
}

/// What a case is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It must not succeed through the gate.
    Attack(Owasp),
    /// It must succeed.
    Honest,
}

/// One case. It finds the shop as on its first day.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    /// A line for people.
    pub(super) name: &'static str,
    /// What it is.
    pub(super) kind: Kind,
    /// Whether it obtained or changed what it is about.
    pub(super) run: fn(&Side<'_>) -> io::Result<bool>,
}

/// How a case ended on one side.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// Whether the caller obtained or changed what the case is about.
    pub(super) succeeded: bool,
    /// Status of the last answer, 0 when there was none.
    pub(super) status: u16,
    /// Code of the last refusal of the gate.
    pub(super) problem: Option<String>,
    /// Why there was no answer.
    pub(super) error: Option<String>,
}

/// The shop itself, or the gate in front of a shop.
pub(super) struct Side<'a> {
    address: SocketAddr,
    /// The shop whose books change.
    pub(super) shop: &'a Shop,
    /// Who makes the tokens.
    pub(super) issuer: &'a Issuer,
    last: RefCell<Seen>,
}

impl<'a> Side<'a> {
    /// Requests go to `address`; `shop` is whose books change.
    pub(super) fn new(address: SocketAddr, shop: &'a Shop, issuer: &'a Issuer) -> Self {
        Self { address, shop, issuer, last: RefCell::default() }
    }

    /// Runs one case.
    pub(super) fn run(&self, case: &Case) -> Seen {
        self.shop.reset();
        self.last.replace(Seen::default());
        let result = (case.run)(self);
        let mut seen = self.last.take();
        match result {
            Ok(succeeded) => seen.succeeded = succeeded,
            Err(error) => seen.error = Some(error.to_string()),
        }
        seen
    }

    /// Sends one request with these lines of head beside `Host`, `Connection` and `Content-Length`.
    pub(super) fn send(
        &self,
        method: &str,
        target: &str,
        lines: &[String],
        body: &str,
    ) -> io::Result<Answer> {
        let mut head =
            format!("{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        for line in lines {
            head.push_str(line);
            head.push_str("\r\n");
        }
        if !body.is_empty() {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        let answer = exchange(self.address, format!("{head}\r\n{body}").as_bytes())?;
        let seen = Seen { status: answer.status, problem: answer.problem(), ..Seen::default() };
        self.last.replace(seen);
        Ok(answer)
    }

    /// The line that says who calls.
    pub(super) fn bearer(&self, person: &str) -> io::Result<String> {
        Ok(format!("Authorization: Bearer {}", self.issuer.token(person)?))
    }

    /// GET as this person.
    pub(super) fn get(&self, person: &str, target: &str) -> io::Result<Answer> {
        self.send("GET", target, &[self.bearer(person)?], "")
    }

    /// GET as this person, with one more line of head.
    pub(super) fn get_with(&self, person: &str, target: &str, line: &str) -> io::Result<Answer> {
        self.send("GET", target, &[self.bearer(person)?, line.to_owned()], "")
    }

    /// GET as nobody.
    pub(super) fn stranger(&self, target: &str) -> io::Result<Answer> {
        self.send("GET", target, &[], "")
    }

    /// Whether a forged token in Alice's name opens her profile.
    pub(super) fn forged(&self, how: Forgery) -> io::Result<bool> {
        let line = format!("Authorization: Bearer {}", self.issuer.forged("alice", how)?);
        Ok(self.send("GET", "/me", &[line], "")?.gives("alice@shop.example"))
    }

    /// Any method as this person, with a JSON body or none.
    pub(super) fn call(&self, person: &str, method: &str, target: &str, body: &str) -> io::Result<Answer> {
        let mut lines = vec![self.bearer(person)?];
        if !body.is_empty() {
            lines.push("Content-Type: application/json".to_owned());
        }
        self.send(method, target, &lines, body)
    }

    /// POST of JSON as nobody.
    pub(super) fn anonymous(&self, target: &str, body: &str) -> io::Result<Answer> {
        self.send("POST", target, &["Content-Type: application/json".to_owned()], body)
    }

    /// Whether an import makes the shop fetch what contains `reached`.
    pub(super) fn import(&self, url: &str, reached: &str) -> io::Result<bool> {
        let body = format!("{{\"name\":\"Hat\",\"image_url\":\"{url}\"}}");
        self.call("vendor", "POST", "/products/import", &body)?;
        Ok(self.shop.look(|shop| shop.fetched.iter().any(|fetched| fetched.contains(reached))))
    }

    /// Whether the order stands in the books.
    pub(super) fn has_order(&self, user: &str, number: u64) -> bool {
        self.shop.look(|shop| shop.orders.contains_key(&(user.to_owned(), number)))
    }

    /// What the books say that the user has.
    pub(super) fn cents(&self, user: &str) -> i64 {
        self.shop.look(|shop| shop.cents(user))
    }
}
