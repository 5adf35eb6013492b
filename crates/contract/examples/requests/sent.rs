//! One request as it would be sent, how it is judged, and how it is broken.

use portcullis_contract::body::MediaType;
use portcullis_contract::body::form::FormError;
use portcullis_contract::document::Node;
use portcullis_contract::json::{self, Bounds};
use portcullis_contract::model::{BodyPlan, Contract, Found, Operation};
use portcullis_contract::violation::{Place, Violation};
use portcullis_core::head::{
    Authority, Client, FieldRules, Fields, Head, HeadParts, Scheme, Target, Version,
};
use serde_json::{Value, json};

use crate::make::{Flat, Maker, plain};

/// A parameter with what it was given.
#[derive(Clone)]
struct Given {
    name: String,
    place: String,
    style: String,
    explode: bool,
    json: bool,
    value: Value,
    /// Only integers, or only listed values, are valid.
    narrow: bool,
}

/// A request.
#[derive(Clone)]
pub(crate) struct Request {
    method: portcullis_core::head::Method,
    base: String,
    template: String,
    parameters: Vec<Given>,
    /// A pair that nobody declares.
    stray: Option<&'static str>,
    body: Option<(String, Value)>,
    /// Members of the body that can be broken, by what is known of them.
    required: Vec<String>,
    plain_members: Vec<String>,
    closed: bool,
    open_query: bool,
}

/// What the contract says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    /// Refused at these places, for the rule of the first.
    Refused {
        rule: String,
        at: Vec<String>,
    },
    /// Something else: not found, no plan, no JSON.
    Odd(&'static str),
}

impl Request {
    /// A request for an operation, of generated values or of the document's own examples. `None`: a part of it cannot be
    /// made; or there is no example in it.
    pub(crate) fn made<'d>(
        operation: &Operation,
        maker: &Maker<'d>,
        item: &'d Node,
        node: &'d Node,
        examples: bool,
    ) -> Option<Self> {
        let mut exampled = false;
        let mut parameters = Vec::new();
        let mut open_query = false;
        let declared =
            [node, item].into_iter().filter_map(|n| n.get("parameters")).filter_map(Node::as_array);
        for parameter in declared.flatten() {
            let parameter = maker.follow(parameter);
            let (name, place) = (parameter.get("name")?.as_str()?, parameter.get("in")?.as_str()?);
            let ignored = place == "header"
                && ["accept", "content-type", "authorization", "x-request-id"]
                    .contains(&&*name.to_ascii_lowercase());
            let known = |p: &Given| p.name == name && p.place == place;
            if ignored || parameters.iter().any(known) {
                continue;
            }
            let content = parameter.get("content").and_then(Node::as_object).and_then(<[_]>::first);
            let schema =
                parameter.get("schema").or_else(|| content.and_then(|(_, media)| media.get("schema")))?;
            let flat = maker.flat(schema);
            open_query |= place == "query" && (flat.types.contains(&"object") || !flat.properties.is_empty());
            let required = place == "path" || parameter.get("required").and_then(Node::as_bool) == Some(true);
            let own = parameter.get("example").or_else(|| first_example(maker, parameter));
            let value = match own.filter(|_| examples) {
                Some(example) => {
                    exampled = true;
                    Some(plain(example))
                }
                None => maker.value(schema, examples),
            };
            let composite = matches!(value, Some(Value::Object(_) | Value::Array(_)));
            if !required && (composite || parameters.len() > 6 || value.is_none()) {
                continue;
            }
            let style = parameter.get("style").and_then(Node::as_str);
            let style = style.unwrap_or(if matches!(place, "path" | "header") { "simple" } else { "form" });
            let explode = parameter.get("explode").and_then(Node::as_bool).unwrap_or(style == "form");
            parameters.push(Given {
                name: name.to_owned(),
                place: place.to_owned(),
                style: style.to_owned(),
                explode,
                json: content.is_some(),
                narrow: !flat.composed && flat.types == ["integer"],
                value: value?,
            });
        }
        let mut request = Self {
            method: operation.method,
            base: String::new(),
            template: operation.template.to_string(),
            parameters,
            stray: None,
            body: None,
            required: Vec::new(),
            plain_members: Vec::new(),
            closed: false,
            open_query,
        };
        if let Some(body) = node.get("requestBody") {
            exampled |= request.fill(maker, maker.follow(body), examples)?;
        }
        (!examples || exampled).then_some(request)
    }

    /// Gives it a body; whether that is an example. `None`: there must be one and none can be made.
    fn fill<'d>(&mut self, maker: &Maker<'d>, body: &'d Node, examples: bool) -> Option<bool> {
        let required = body.get("required").and_then(Node::as_bool) == Some(true);
        let contents = body.get("content").and_then(Node::as_object).unwrap_or_default();
        let is_json = |text: &str| {
            MediaType::parse(text).is_ok_and(|m| {
                m.family() == portcullis_contract::body::Family::Json
                    && m.essence() != "application/json-patch+json"
            })
        };
        let Some((key, media)) = contents.iter().find(|(key, _)| is_json(&key.text)) else {
            return (!required).then_some(false);
        };
        let media = maker.follow(media);
        let schema = media.get("schema")?;
        let own = media.get("example").or_else(|| first_example(maker, media));
        let made = match own.filter(|_| examples) {
            Some(example) => Some(plain(example)),
            None => maker.value(schema, examples),
        };
        let flat: Flat<'d> = maker.flat(schema);
        let Some(value) = made else { return (!required).then_some(false) };
        if let Value::Object(members) = &value {
            self.closed = !flat.open && !flat.composed && !flat.properties.is_empty();
            if !flat.composed {
                self.required = flat
                    .required
                    .iter()
                    .filter(|name| members.contains_key(**name))
                    .map(|n| (*n).to_owned())
                    .collect();
                for (name, schemas) in &flat.properties {
                    let [one] = &schemas[..] else { continue };
                    let inner = maker.flat(one);
                    let scalar = !inner.composed
                        && !inner.types.is_empty()
                        && inner
                            .types
                            .iter()
                            .all(|t| ["string", "integer", "boolean", "number", "null"].contains(t));
                    if scalar && members.contains_key(*name) {
                        self.plain_members.push((*name).to_owned());
                    }
                }
            }
        }
        self.body = Some((key.text.split(';').next().unwrap_or_default().to_owned(), value));
        Some(own.is_some() && examples)
    }

    fn target(&self) -> Option<String> {
        let mut path = self.template.clone();
        for given in self.parameters.iter().filter(|given| given.place == "path") {
            let text = simple(given, given.style.as_str())?;
            path = path.replace(&format!("{{{}}}", given.name), &text);
        }
        let mut query: Vec<String> = Vec::new();
        for given in self.parameters.iter().filter(|given| given.place == "query") {
            pairs(given, &mut query)?;
        }
        query.extend(self.stray.map(str::to_owned));
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        // Variables without a parameter are text.
        let mut out = String::new();
        let mut rest = &*path;
        while let Some((before, after)) = rest.split_once('{') {
            let (_, after) = after.split_once('}')?;
            out.push_str(before);
            out.push('a');
            rest = after;
        }
        Some(format!("{}{out}{rest}{query}", self.base))
    }

    fn lines(&self) -> Option<Vec<(String, String)>> {
        let mut lines = Vec::new();
        let mut cookies = Vec::new();
        for given in &self.parameters {
            match &*given.place {
                "header" => lines.push((given.name.clone(), simple(given, "simple")?)),
                "cookie" => cookies.push(format!("{}={}", given.name, simple(given, "simple")?)),
                _ => {}
            }
        }
        if !cookies.is_empty() {
            lines.push(("cookie".to_owned(), cookies.join("; ")));
        }
        if let Some((media, _)) = &self.body {
            lines.push(("content-type".to_owned(), media.clone()));
        }
        Some(lines)
    }

    /// For people.
    pub(crate) fn shown(&self) -> String {
        let mut text = format!("{} {}", self.target().unwrap_or_default(), self.emitted(true)["body"]);
        text.truncate(text.char_indices().nth(400).map_or(text.len(), |(at, _)| at));
        text
    }

    /// For the running program.
    pub(crate) fn emitted(&self, valid: bool) -> Value {
        json!({
            "method": self.method.text(), "target": self.target(), "headers": self.lines(),
            "body": self.body.as_ref().map(|(_, value)| value.to_string()), "valid": valid,
        })
    }

    /// What the contract says of it.
    pub(crate) fn judged(&self, contract: &Contract, operation: &Operation) -> Verdict {
        let (Some(target), Some(lines)) = (self.target(), self.lines()) else {
            return Verdict::Odd("unwritten");
        };
        let Ok(target) = Target::parse(&format!("{}{target}", contract.base_path())) else {
            return Verdict::Odd("target");
        };
        let mut map = http::HeaderMap::new();
        for (name, value) in &lines {
            let (Ok(name), Ok(value)) =
                (http::HeaderName::try_from(name), http::HeaderValue::try_from(value))
            else {
                return Verdict::Odd("field");
            };
            map.append(name, value);
        }
        let Ok(fields) = Fields::admit(map, Version::Http11, &FieldRules::default()) else {
            return Verdict::Odd("fields");
        };
        let Ok(authority) = Authority::parse("api.example.com") else { return Verdict::Odd("authority") };
        let head = Head::new(HeadParts {
            method: self.method,
            version: Version::Http11,
            scheme: Scheme::Https,
            authority,
            target,
            fields,
            public_port: 443,
            client: Client::peer([127, 0, 0, 1].into()),
            websocket: false,
        });
        let Found::Operation { operation: found, path, .. } = contract.find(head.method(), head.path())
        else {
            return Verdict::Odd("not found");
        };
        if found.id != operation.id {
            return Verdict::Odd("another operation");
        }
        if let Err(violations) = operation.parameters(&head, &path) {
            return refused(&violations);
        }
        let Some((media, value)) = &self.body else { return Verdict::Passed };
        let media = MediaType::parse(media).ok();
        let Some((_, plan)) = media.as_ref().and_then(|media| operation.body(media)) else {
            return Verdict::Odd("no plan");
        };
        match plan {
            BodyPlan::Json(schema) => match json::scan(value.to_string(), &Bounds::default(), [0, 1]) {
                Ok(tape) if schema.is_valid(&tape) => Verdict::Passed,
                Ok(tape) => refused(&schema.violations(&tape)),
                Err(_) => Verdict::Odd("no JSON"),
            },
            BodyPlan::Form(form) => match form.read(value.to_string().as_bytes()) {
                Ok(_) => Verdict::Passed,
                Err(FormError::Violations(violations)) => refused(&violations),
                Err(FormError::Malformed(_)) => Verdict::Odd("no form"),
            },
            _ => Verdict::Odd("another plan"),
        }
    }

    /// Broken ones: the kind, the request, and where it is broken.
    pub(crate) fn mutations(&self) -> Vec<(&'static str, Self, String)> {
        let mut out = Vec::new();
        if !self.open_query {
            let broken = Self { stray: Some("portcullisUnknown=1"), ..self.clone() };
            out.push(("undeclared parameter", broken, "query portcullisUnknown".to_owned()));
        }
        for (index, given) in self.parameters.iter().enumerate() {
            if given.narrow && matches!(&*given.place, "path" | "query") && given.style != "label" {
                let mut broken = self.clone();
                broken.parameters[index].value = json!("x1");
                out.push(("text for an integer", broken, format!("{} {}", given.place, given.name)));
            }
        }
        let pointer = |name: &str| format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        let with = |change: &dyn Fn(&mut serde_json::Map<String, Value>)| {
            let mut broken = self.clone();
            if let Some((_, Value::Object(members))) = &mut broken.body {
                change(members);
            }
            broken
        };
        if self.closed {
            let broken = with(&|members| drop(members.insert("portcullisUnknown".to_owned(), json!(true))));
            out.push(("undeclared property", broken, "/portcullisUnknown".to_owned()));
        }
        if let Some(name) = self.required.first() {
            let broken = with(&|members| drop(members.remove(name)));
            out.push(("missing property", broken, pointer(name)));
        }
        if let Some(name) = self.plain_members.first() {
            let broken = with(&|members| drop(members.insert(name.clone(), json!({ "x": 1 }))));
            out.push(("object for a scalar", broken, pointer(name)));
        }
        out
    }
}

fn first_example<'d>(maker: &Maker<'d>, node: &'d Node) -> Option<&'d Node> {
    maker.follow(&node.get("examples")?.as_object()?.first()?.1).get("value")
}

fn refused(violations: &[Violation]) -> Verdict {
    let at = violations.iter().map(|violation| match &violation.at {
        Place::Pointer(pointer) => pointer.clone(),
        Place::Parameter { name, within } => format!("{} {name}", within.text()),
    });
    Verdict::Refused {
        rule: violations.first().map_or_else(String::new, |violation| violation.rule.to_string()),
        at: at.collect(),
    }
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out + &char::from(byte).to_string()
        } else {
            out + &format!("%{byte:02X}")
        }
    })
}

fn scalar(value: &Value) -> Option<String> {
    Some(match value {
        Value::String(text) => encoded(text),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        _ => return None,
    })
}

/// In a path, a header or a cookie.
fn simple(given: &Given, style: &str) -> Option<String> {
    if given.json {
        return Some(encoded(&given.value.to_string()));
    }
    let list = |items: &[Value], between: &str| {
        items.iter().map(scalar).collect::<Option<Vec<_>>>().map(|items| items.join(between))
    };
    let members = |between: &str, within: &str| match &given.value {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| Some(format!("{}{within}{}", encoded(name), scalar(value)?)))
            .collect::<Option<Vec<_>>>()
            .map(|parts| parts.join(between)),
        _ => None,
    };
    let (prefix, between) = match style {
        "label" => (".", if given.explode { "." } else { "," }),
        "matrix" => (";", ","),
        _ => ("", ","),
    };
    let text = match (&given.value, style) {
        (Value::Array(items), "matrix") if given.explode => {
            let parts: Option<Vec<_>> =
                items.iter().map(|item| Some(format!("{}={}", given.name, scalar(item)?))).collect();
            parts?.join(";")
        }
        (Value::Array(items), "matrix") => format!("{}={}", given.name, list(items, ",")?),
        (Value::Array(items), _) => list(items, between)?,
        (Value::Object(_), "matrix") if given.explode => members(";", "=")?,
        (Value::Object(_), "matrix") => format!("{}={}", given.name, members(",", ",")?),
        (Value::Object(_), _) if given.explode => members(between, "=")?,
        (Value::Object(_), _) => members(",", ",")?,
        (value, "matrix") => format!("{}={}", given.name, scalar(value)?),
        (value, _) => scalar(value)?,
    };
    Some(format!("{prefix}{text}"))
}

fn pairs(given: &Given, query: &mut Vec<String>) -> Option<()> {
    let name = encoded(&given.name);
    if given.json {
        query.push(format!("{name}={}", encoded(&given.value.to_string())));
        return Some(());
    }
    match &given.value {
        Value::Array(items) if given.explode => {
            for item in items {
                query.push(format!("{name}={}", scalar(item)?));
            }
        }
        Value::Array(items) => {
            let between = match &*given.style {
                "spaceDelimited" => "%20",
                "pipeDelimited" => "%7C",
                _ => ",",
            };
            let items = items.iter().map(scalar).collect::<Option<Vec<_>>>()?;
            query.push(format!("{name}={}", items.join(between)));
        }
        Value::Object(members) => {
            for (member, value) in members {
                let value = scalar(value)?;
                match (&*given.style, given.explode) {
                    ("deepObject", _) => query.push(format!("{name}%5B{}%5D={value}", encoded(member))),
                    (_, true) => query.push(format!("{}={value}", encoded(member))),
                    _ => return None,
                }
            }
        }
        value => query.push(format!("{name}={}", scalar(value)?)),
    }
    Some(())
}
