//! Documents and heads for tests.
#![allow(dead_code, reason = "each test file uses a part of it")]

use portcullis_contract::Operation;
use portcullis_contract::document::{Bounds, Document, Files, Finding, Loading, load};
use portcullis_contract::model::{Compiled, Contract, Found, Terms, compile};
use portcullis_contract::param::Parameters;
use portcullis_contract::violation::Violation;
use portcullis_core::finding::SourceMap;
use portcullis_core::head::{
    Authority, Client, FieldRules, Fields, Head, HeadParts, Method, Scheme, Target, Version,
};

/// The head of a request.
pub(crate) fn head(method: Method, target: &str, lines: &[(&str, &str)]) -> Head {
    let mut map = http::HeaderMap::new();
    for (name, value) in lines {
        map.append(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    Head::new(HeadParts {
        method,
        version: Version::Http11,
        scheme: Scheme::Https,
        authority: Authority::parse("api.example.com").unwrap(),
        target: Target::parse(target).unwrap(),
        fields: Fields::admit(map, Version::Http11, &FieldRules::default()).unwrap(),
        public_port: 443,
        client: Client::peer([127, 0, 0, 1].into()),
        websocket: false,
    })
}

/// A document of one file.
pub(crate) fn document(text: &str) -> Result<Document, Vec<Finding>> {
    let mut files = Files::new(Bounds::default());
    files.add(0, "api.yaml", text.as_bytes());
    loop {
        match load(&mut files) {
            Loading::Needs(names) => names.iter().for_each(|name| files.missing(name)),
            Loading::Loaded(document) => return Ok(document),
            Loading::Refused(findings) => return Err(findings),
        }
    }
}

/// Loads and compiles.
pub(crate) fn compiled(text: &str, terms: &Terms) -> Result<Compiled, Vec<Finding>> {
    compile(&document(text)?, terms)
}

/// A contract without errors.
pub(crate) fn contract(text: &str) -> Contract {
    match compiled(text, &Terms::default()) {
        Ok(done) => done.contract,
        Err(findings) => panic!("{}\n{}", rendered(text, &findings), text),
    }
}

/// All findings, whether they refuse or not.
pub(crate) fn findings(text: &str, terms: &Terms) -> Vec<Finding> {
    match compiled(text, terms) {
        Ok(done) => done.findings,
        Err(findings) => findings,
    }
}

/// The diagnostics as people read them.
pub(crate) fn rendered(text: &str, findings: &[Finding]) -> String {
    let mut map = SourceMap::default();
    map.add("api.yaml", text);
    findings.iter().map(|finding| map.render(finding, false)).collect()
}

/// The operation that a request is.
pub(crate) fn matched<'c>(
    contract: &'c Contract,
    head: &Head,
) -> Option<(&'c Operation, portcullis_contract::model::Segments)> {
    match contract.find(head.method(), head.path()) {
        Found::Operation { operation, path, .. } => Some((operation, path)),
        _ => None,
    }
}

/// Reads the parameters of a GET.
pub(crate) fn get<'c>(
    contract: &'c Contract,
    target: &str,
    lines: &[(&str, &str)],
) -> Result<(&'c Operation, Parameters), Vec<Violation>> {
    let head = head(Method::Get, target, lines);
    let (operation, path) = matched(contract, &head).unwrap_or_else(|| panic!("{target} is not declared"));
    operation.parameters(&head, &path).map(|values| (operation, values))
}
